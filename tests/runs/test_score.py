"""Scoring given text: token by token what the model says, and information that adds up along a worked solution."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.runs import query

from localent import tasks
from localent.analysis import load
from localent.analysis.curves import FLOORED
from localent.cli import main
from localent.engine import Options, Prompt, drive
from localent.engine import open as open_model
from localent.errors import UsageError
from localent.measure.entropy import entropy, log_softmax
from localent.runs import score
from localent.runs.run import Settings
from localent.store import open_db

SETTINGS = Settings(lanes=2, threads=1, max_fed=4)


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


@pytest.fixture
def worked(tmp_path):
    """Problems with worked solutions of one to three steps."""
    path = tmp_path / "worked.jsonl"
    steps = ["First 2 + 1 = 3.", "Then 3 + 4 = 7.", "So 7 + 1 = 8."]
    rows = [
        {
            "question": f"Sum {i}?",
            "answer": 3 + i,
            "solution": "\n".join([*steps[: 1 + i % 3], f"The answer is {3 + i}."]),
        }
        for i in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def rows_after(path, tokens):
    """Log-probabilities after each proper prefix, every prefix prefilled anew: slow and plain."""

    def one(n):
        return np.array((yield Prompt(tokens[:n])))

    with open_model(path) as weights, weights.lanes(Options(1, 256, 1)) as engine:
        return [log_softmax(next(drive(engine, [one(n)]))) for n in range(1, len(tokens))]


def test_a_plain_text_is_scored_as_the_model_reads_it(model):
    text = "Two and two is four."
    with open_model(model) as weights:
        tokens, bos = weights.vocab.tokenize(text), weights.vocab.bos
    fed = tokens if bos is None else [bos, *tokens]
    rows = rows_after(model, fed)
    found = score.score_text(model, text, lanes=2, threads=1)
    surprisal = [-row[token] for row, token in zip(rows, fed[1:], strict=True)]
    assert (found.n_tokens, found.n_windows) == (len(surprisal), 1)
    assert found.surprisal == pytest.approx(np.mean(surprisal), abs=1e-3)
    assert found.perplexity == pytest.approx(math.exp(found.surprisal))
    assert found.entropy == pytest.approx(np.mean([entropy(row) for row in rows]), abs=1e-3)


def test_windows_cover_the_text_and_begin_anew(model):
    found = score.score_text(model, "abc def ghi jkl " * 20, window=16, lanes=2, threads=1)
    assert found.n_windows > 3
    with pytest.raises(UsageError, match="fewer than two tokens"):
        score.score_text(model, "")


def test_worked_solutions_are_traces_of_their_own_task_read_once(model, worked, tmp_path):
    db, task = tmp_path / "runs.db", tasks.load("made", worked)
    first = score.score_gold(model, task, db=db, settings=SETTINGS)
    assert query(db, "select distinct task, finish, correct from traces") == [("made (gold)", "given", 1)]
    texts = {text.strip() for (text,) in query(db, "select text from traces")}
    assert texts == {p.solution.strip() for p in task.problems}
    before = query(db, "select * from probes order by trace_id, k")
    second = score.score_gold(model, task, db=db, settings=SETTINGS)
    assert (second.run_id, second.n_traces) == (first.run_id, 6)
    assert query(db, "select * from probes order by trace_id, k") == before


def test_information_of_the_steps_adds_up_to_the_gain(model, worked, tmp_path):
    db = tmp_path / "runs.db"
    found = score.score_gold(model, tasks.load("made", worked), db=db, settings=SETTINGS)
    with open_db(db) as store:
        p = load.probes(store, found.run_id).own
    total = sum(s.information.value * s.information.n for s in found.steps)
    gains = p.at_end(p.gain)
    assert total == pytest.approx(np.nansum(gains))
    assert [s.n for s in found.steps] == [6, 4, 2]


def test_more_solutions_are_the_same_run(model, worked, tmp_path):
    db, task = tmp_path / "runs.db", tasks.load("made", worked)
    some = score.score_gold(model, task, db=db, n=2, settings=SETTINGS)
    all_ = score.score_gold(model, task, db=db, settings=SETTINGS)
    assert (some.run_id, some.n_traces, all_.n_traces) == (all_.run_id, 2, 6)


def test_a_solution_that_does_not_fit_is_named(model, tmp_path):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"question": "1?", "answer": 1, "solution": "one " * 3000, "id": "long-one"}))
    with pytest.raises(UsageError, match=r"Problem long-one and its solution need \d+ tokens"):
        score.score_gold(model, tasks.load("made", path), db=tmp_path / "x.db", settings=SETTINGS)


def test_human_solutions_tell_a_trained_model_of_the_answer_and_an_untrained_one_nothing(bundled, untrained, tmp_path):
    """Where SIA is said to come from: the same worked solutions, read before and after maximum likelihood."""
    task, settings = tasks.load("demo-number"), Settings(lanes=8, threads=1, max_fed=8)
    options = dict(db=tmp_path / "runs.db", n=20, settings=settings)
    trained, random = (score.score_gold(str(path), task, **options) for path in (bundled, untrained))
    assert trained.surprisal.high < random.surprisal.low
    assert trained.gain.low > 0.5
    assert abs(random.gain.value) < 0.5


def test_the_human_solutions_of_gsm8k_are_read_by_the_bundled_model(bundled, shared, tmp_path):
    """Among them the longest question and the longest solution, which together would not fit the model's context."""
    whole = tasks.load("gsm8k", shared / "gsm8k" / "test.jsonl")
    by_question, by_solution = (
        sorted(whole.problems, key=key) for key in (lambda p: len(p.question), lambda p: len(p.solution))
    )
    task = replace(whole, problems=(by_question[-1], by_solution[-1], *whole.problems[:10]))
    found = score.score_gold(str(bundled), task, db=tmp_path / "runs.db", settings=replace(SETTINGS, lanes=4))
    assert found.n_traces == len(set(task.problems))
    assert found.surprisal.low > found.entropy.high > 0  # it never saw such texts, and does not know that it did not
    assert query(tmp_path / "runs.db", "select min(correct) from traces") == [(1,)]
    n_lines = [len(p.solution.split("\n")) for p in set(task.problems)]
    assert found.steps[0].n >= 0.9 * len(n_lines)
    assert found.gain.known


def test_a_task_without_worked_solutions_is_refused(model, tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text(json.dumps({"question": "1 + 1?", "answer": 2}))
    with pytest.raises(UsageError, match="has no worked solutions"):
        score.score_gold(model, tasks.load("bare", path), db=tmp_path / "x.db", settings=SETTINGS)


def test_score_on_the_command_line(model, worked, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("One and one is two.")
    options = ["--lanes", "2", "--threads", "1", "--db", str(tmp_path / "x.db")]
    plain = CliRunner().invoke(main, ["score", model, str(text), *options, "--json"])
    assert plain.exit_code == 0, plain.output
    assert json.loads(plain.output.splitlines()[0])["perplexity"] > 1
    gold = CliRunner().invoke(main, ["score", model, "made", "--gold", "--data", str(worked), *options])
    assert gold.exit_code == 0, gold.output
    assert "information on answer" in gold.output
    assert FLOORED in " ".join(gold.output.split())
    told = CliRunner().invoke(
        main, ["score", model, "made", "--gold", "--data", str(worked), *options, "--system", "Hi"]
    )
    assert told.exit_code == 0, told.output
    assert told.output.splitlines()[-1] != gold.output.splitlines()[-1]  # another run
    missing = CliRunner().invoke(main, ["score", model, "nowhere.txt", *options])
    assert missing.exit_code == 2
    assert "No file 'nowhere.txt'" in missing.output
