"""Yes or no: what a text says, what a row says, and every spelling of the words in tokens."""

import itertools
import json
import random

import numpy as np
import pytest
from helpers.runs import call

from localent import tasks
from localent.engine import Feed, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.tasks import kinds
from localent.tasks.kinds.word_grammar import WordGrammar
from localent.tasks.kinds.yes_no import VALUES, YES_NO
from localent.tracing.probe import Asked, Effort, probe


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The answer is yes.", "yes"),
        ("So the answer is **No**.", "no"),
        ("The answer is True.", "yes"),
        ("The final answer is $\\boxed{\\text{No}}$", "no"),
        ("Answer: (yes)", "yes"),
        ("Answer: No, because 51 is 3 * 17.", "no"),
        ("Yes. Three boxes hold 36 eggs.", "yes"),
        ("There are 36 eggs.\nYes, it is enough.", "yes"),
        ("Three boxes hold 36 eggs.\nNo.", "no"),
        ("The answer is yes or no.", None),
        ("The answer is that no one came.", None),
        ("The answer is not true.", None),
        ("No one came. There is yesterday.", None),
        ("Yes.\nBut then again:\nNo.", None),
        ("There is no reason to say yes here", None),
        ("", None),
    ],
)
def test_what_a_text_answers(text, value):
    assert tasks.extract(text, YES_NO).value == value


def test_worked_examples_are_read_as_they_say():
    for example in YES_NO.examples:
        assert tasks.extract(example.solution, YES_NO).value == example.answer
    assert {e.answer for e in YES_NO.examples} == {"yes", "no"}


@pytest.mark.parametrize("answers", [["yes", "No"], [True, False], ["true", "FALSE"]])
def test_a_file_of_yes_and_no_has_that_kind(tmp_path, answers):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{i}?", "answer": a}) for i, a in enumerate(answers)))
    task = tasks.load("mine", path)
    assert task.kind is YES_NO
    assert [p.answer for p in task.problems] == ["yes", "no"]
    assert YES_NO.chance(task.problems[0]) == 0.5


def test_a_row_that_is_neither_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "a?", "answer": "maybe"}')
    with pytest.raises(UsageError, match="line 1 has the answer 'maybe', which is neither yes nor no"):
        tasks.load("mine", path, tasks.Columns(kind="yes/no"))


def walked(text, cuts):
    """The answer of a text fed in pieces: as the search takes them, the last one with its end."""
    pieces = [text[a:b] for a, b in itertools.pairwise((0, *cuts, len(text)))]
    grammar = WordGrammar("yes/no", [piece.encode() for piece in pieces], VALUES)
    phase, so_far = "start", ""
    for i, piece in enumerate(pieces):
        moves = grammar.moves(phase)
        if i in moves.complete:
            return grammar.value(so_far + moves.endings[moves.ending_of[list(moves.complete).index(i)]])
        if i not in moves.going_on:
            return grammar.value(so_far)
        at = list(moves.going_on).index(i)
        phase, so_far = moves.phases[at], so_far + moves.texts[at]
        assert piece
    return grammar.value(so_far)


@pytest.mark.parametrize("text", [" yes", "Yes.", " **No**", "(True)", " \\boxed{no", "FALSE\n", "\n\nyes,"])
def test_a_word_counts_however_tokens_cut_it(text):
    word = "".join(filter(str.isalpha, text.replace("boxed", ""))).lower()
    for seed in range(50):
        rng = random.Random(seed)
        cuts = sorted(rng.sample(range(1, len(text)), rng.randrange(len(text) - 1)))
        assert walked(text, cuts) == VALUES[word], cuts


@pytest.mark.parametrize("text", ["not", " none", "yesterday", "-yes", " maybe", "x yes", "truer", "y", ""])
def test_other_words_count_for_nothing(text):
    assert walked(text, ()) is None


def test_a_probe_adds_up_the_spellings_and_leaves_the_rest_as_no_answer():
    """Against a sum by hand: yes 0.5 = " yes" + " Yes" + "Tr" "ue", no 0.2, other 0.3."""
    pieces = [b" yes", b" Yes", b"Tr", b"ue", b"y", b" no", b" not", b"cue", b" 12"]
    first = dict(zip(pieces, (0.2, 0.1, 0.25, 0, 0.05, 0.2, 0.1, 0, 0.1), strict=True))
    after_tr = dict.fromkeys(pieces, 0.0) | {b"ue": 0.8, b"y": 0.2}

    def logits(tokens):
        shown = (
            after_tr if tokens[-1] == 2 else dict.fromkeys(pieces, 0.0) | {b" 12": 1.0} if tokens[-1] == 4 else first
        )
        with np.errstate(divide="ignore"):
            return np.log(np.array([shown[piece] for piece in pieces]))

    vocab = ScriptedVocab(pieces, eog=frozenset())
    grammar = YES_NO.grammar(pieces, ())

    def asking():
        yield Feed([7])
        asked = Asked([7], grammar, "yes", np.random.default_rng(0))
        return (yield from probe(1, asked, Effort(1e-9, 50), Meter(len(pieces))))

    (seen,) = drive(ScriptedEngine(vocab, logits, n_lanes=1), [asking()])
    assert seen.invalid == pytest.approx(1 - 0.7, abs=1e-6)
    assert seen.probs == pytest.approx({"yes": 0.5 / 0.7, "no": 0.2 / 0.7}, abs=1e-6)
    assert seen.leader == "yes"
    assert grammar.ln_answers == pytest.approx(np.log(2))


def test_the_command_line_knows_the_kinds_that_a_file_can_have():
    from localent.cli.options import KINDS

    assert {name for name, kind in kinds.KINDS.items() if kind is not tasks.OPTION_TEXT} == set(KINDS)
    code, _, told = call("prompt", "abacus-sft", "mine", "--data", "x.csv", "--kind", "colour")
    assert (code, "'colour' is not one of" in told) == (2, True)
