"""A new answer kind is one class: left or right, from the data file to the figures of a run."""

import json
import math

import numpy as np
import pytest
from helpers.stored import MODEL, RUN, sql

from localent import tasks
from localent.analysis import load
from localent.analysis.summary import summarise
from localent.engine import drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import LocalentError, UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.store import open_db
from localent.tasks import kinds
from localent.tasks.kinds import Gold, Kind, Worked
from localent.tasks.kinds.choice_grammar import ChoiceGrammar
from localent.tasks.text import Found
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.probe import Effort
from localent.tracing.prompt_tokens import continued, prompt_tokens

BOTH = ("left", "right")


class SideGrammar(ChoiceGrammar):
    kind = "side"


class Side(Kind):
    name, noun, statement = "side", "side", "The verdict is"
    instruction = 'Reason step by step. End with the line "The verdict is left." or "The verdict is right."'
    worked = (Worked("Where is west?", "North is up.", "left"), Worked("Where is east?", "North is up.", "right"))

    def fits(self, answer, choices):
        return not choices and answer.lower() in BOTH

    def normalise(self, gold: Gold):
        return gold.answer.lower()

    def chance(self, problem):
        return 0.5

    def ln_others(self, problems):
        return 0.0

    def stated(self, clause, choices):
        found = next((word for word in BOTH if clause.text.startswith(word, clause.begin)), None)
        return found and Found(found, clause.begin, clause.begin + len(found), "answer statement")

    def heads_solution(self, clause, found):
        return False

    def last(self, text, begin, choices):
        at, value = max((text.rfind(word), word) for word in BOTH)
        return Found(value, at, at + len(value), "last word") if at >= begin else None

    def grammar(self, pieces, choices):
        return SideGrammar(pieces, BOTH)


PIECES = [b"<end>", b"A step.\n", b" left", b" right", *(bytes([i]) for i in range(128))]
END, STEP, LEFT, RIGHT = range(4)
VOCAB = ScriptedVocab(PIECES, eog=frozenset([END]))
P_LEFT = {0: 0.5, 1: 0.7, 2: 0.9}  # probability of "left" after so many steps
ROWS = [{"id": f"q{i}", "question": f"Where is {i}?", "answer": a} for i, a in enumerate(("Left", "right", "left"))]


@pytest.fixture
def side_kind(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    kinds.register(Side())
    return kinds.named("side")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def engine_for(prompt):
    """Two steps, then the verdict: left at a probability that rises with the steps; after it the end."""

    def logits(tokens):
        written = b"".join(PIECES[i] for i in tokens)[len(prompt) :]
        probs = np.zeros(len(PIECES))
        if written.endswith(b"The verdict is"):
            share = P_LEFT[written.count(b"A step.")]
            probs[LEFT], probs[RIGHT] = share, 1 - share
        elif written.count(b"A step.") < 2:
            probs[STEP] = 1.0
        else:
            begun = written.rpartition(b"\n")[2]
            following = b"The verdict is"[len(begun) : len(begun) + 1]
            probs[PIECES.index(following) if following else END] = 1.0
        with np.errstate(divide="ignore"):
            return np.log(probs)

    return ScriptedEngine(VOCAB, logits, n_lanes=2)


def traced(task, problem):
    text = tasks.render(task, problem, tasks.PromptOptions(shots=1))
    question = Question(
        problem,
        prompt_tokens(text, VOCAB),
        lambda written: [t for s in tasks.cue_after(text, written) for t in continued(s.text, VOCAB)],
        task.kind.grammar(VOCAB.pieces, problem.choices),
        stops=text.stops,
    )
    setup = Setup(VOCAB, Meter(len(PIECES)), Sampler(0.0), 0, Limits(60), task.kind, Effort(1e-6, 20))
    return next(drive(engine_for(text.text.encode()), [attempt(question, 0, setup)]))


def test_a_file_of_sides_has_that_kind_and_its_own_prompt(side_kind, file):
    task = tasks.load("verdicts", file)
    assert task.kind is side_kind
    assert [p.answer for p in task.problems] == ["left", "right", "left"]
    prompt = tasks.render(task, task.problems[0], tasks.PromptOptions(shots=1))
    assert "The verdict is" in prompt.text
    assert tasks.cue_after(prompt, "A step.\n")[0].text == "The verdict is"
    chat = tasks.render(task, task.problems[0], tasks.PromptOptions("{{ messages[-1].content }}", shots=0))
    assert chat.text.endswith(side_kind.instruction)


def test_without_the_kind_the_same_file_is_refused(file):
    with pytest.raises(UsageError, match="'Left', which is not one number"):
        tasks.load("verdicts", file)


def test_an_unknown_kind_is_named():
    with pytest.raises(LocalentError, match="No answer kind 'side': this version of localent knows number, choice"):
        kinds.named("side")


def test_a_new_kind_goes_from_the_file_to_the_figures(side_kind, file, tmp_path):
    task = tasks.load("verdicts", file)
    traces = [traced(task, problem) for problem in task.problems]
    assert [(t.extraction.value, t.correct) for t in traces] == [("left", True), ("left", False), ("left", True)]
    with open_db(tmp_path / "x.db") as store:
        store.add_model(MODEL)
        store.add_task("sums", task.kind.name)
        store.add_problems("sums", task.problems)
        store.add_run(RUN)
        for trace in traces:
            store.add_trace(RUN.run_id, trace)
        rows = store.probe_rows(RUN.run_id, ("estimator", "k", "p_true", "entropy", "leader"))
        assert set(rows["estimator"]) == {"side"}
        assert sorted(rows["p_true"]) == pytest.approx([0.1, 0.3, *[0.5] * 3, 0.7, 0.7, 0.9, 0.9], abs=1e-6)
        found = summarise(load.traces(store, RUN.run_id), load.probes(store, RUN.run_id).own)
        ends = [p for (p,) in sql(tmp_path / "x.db", "select p_true_last from trace_summary")]
    assert sorted(ends) == pytest.approx([0.1, 0.9, 0.9], abs=1e-6)
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert (found.answers.estimator, found.answers.n_probed) == ("side", 3)
    assert found.answers.p_true_along.value[-1] == pytest.approx((0.9 + 0.1 + 0.9) / 3, abs=1e-6)
    entropy = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert sum(abs(h - entropy) < 1e-5 for h in rows["entropy"]) == 3


def test_chance_and_the_number_of_answers_belong_to_the_kind(side_kind, file):
    problem = tasks.load("verdicts", file).problems[0]
    assert (side_kind.chance(problem), side_kind.ln_others([problem])) == (0.5, 0.0)
    options = tasks.load("demo-choice").first(1).problems
    assert tasks.CHOICE.chance(options[0]) == 1 / len(options[0].choices)
    assert tasks.CHOICE.ln_others(options) == pytest.approx(math.log(len(options[0].choices) - 1))
    assert tasks.NUMBER.chance(problem) == 0.0
    assert tasks.NUMBER.ln_others([problem]) > math.log(10**18)
