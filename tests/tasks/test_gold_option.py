"""The true option of a row: refused where label, text and index name different options, unless the user says which."""

import json
from pathlib import Path

import pytest
from helpers.runs import call

from localent.errors import UsageError
from localent.tasks import Columns, load

DIGITS = ["4", "2", "1", "0"]
LETTERED = [{"label": label, "text": text} for label, text in zip("ABCD", DIGITS, strict=True)]
KEYED = [{"label": label, "text": text} for label, text in zip("1234", DIGITS, strict=True)]
BLOOD = ["O", "A", "B", "AB"]  # the texts are labels, too


def written(folder: Path, choices, answer) -> Path:
    path = folder / "rows.jsonl"
    path.write_text(json.dumps({"question": "Which?", "choices": choices, "answer": answer}), encoding="utf-8")
    return path


def answer_of(folder: Path, choices, answer, answer_is=None):
    return load("mine", written(folder, choices, answer), Columns(answer_is=answer_is)).problems[0].answer


@pytest.mark.parametrize(
    ("choices", "answer", "readings"),
    [
        (DIGITS, 1, r"option C \('1'\) by its text or option B \('2'\) counted from 0 or option A \('4'\) counted f"),
        (DIGITS, "1", r"option C \('1'\) by its text or option B"),
        (DIGITS, 1.0, r"'1\.0', which is option C \('1'\) by its text or option B"),
        (DIGITS, " 1 ", r"option C \('1'\) by its text"),
        (DIGITS, 0, r"option D \('0'\) by its text or option A \('4'\) counted from 0"),
        (DIGITS, "4", r"option A \('4'\) by its text or option D \('0'\) counted from 1"),
        (DIGITS, 2, r"option B \('2'\) by its text and counted from 1 or option C \('1'\) counted from 0"),
        (LETTERED, "1", r"option C \('1'\) by its text or option B"),
        (KEYED, "1", r"option 1 \('4'\) by its label or option 3 \('1'\) by its text"),
        (BLOOD, "B", r"option B \('A'\) by its label or option C \('B'\) by its text"),
        (["red", "green", "blue"], 1, r"option B \('green'\) counted from 0 or option A \('red'\) counted from 1"),
    ],
)
def test_an_ambiguous_answer_is_refused_with_its_readings(tmp_path, choices, answer, readings):
    with pytest.raises(UsageError, match=rf"rows\.jsonl, line 1 has the answer .*{readings}.*--answer-is label, text"):
        answer_of(tmp_path, choices, answer)


@pytest.mark.parametrize(
    ("choices", "answer", "label"),
    [
        (DIGITS, "C", "C"),
        (["12", "15", "40"], "15", "B"),
        (["12", "15", "40"], 15.0, "B"),
        (["1", "2", "3"], "C", "C"),
        (["red", "green"], " green ", "B"),
        (["Rr", "RR", "rr"], "rr", "C"),  # genotypes: case tells options apart
        (["b", "c"], "b", "A"),  # a text to the letter; the label is B
        ([{"label": str(i), "text": t} for i, t in enumerate(("red", "green", "blue", "7"), 1)], "1", "1"),
        ([{"label": str(i), "text": t} for i, t in enumerate(("red", "green", "blue", "7"), 1)], 2.0, "2"),
        ([True, False], "True", "A"),
        ("4 | 2 | 1 | 0", "D", "D"),
    ],
)
def test_a_clear_answer_loads(tmp_path, choices, answer, label):
    assert answer_of(tmp_path, choices, answer) == label


@pytest.mark.parametrize(
    ("choices", "answer", "answer_is", "label"),
    [
        (DIGITS, 1, "text", "C"),
        (DIGITS, 1, "index0", "B"),
        (DIGITS, 1.0, "index1", "A"),
        (DIGITS, "c", "label", "C"),
        (KEYED, 1, "label", "1"),
        (KEYED, 1, "text", "3"),
        (KEYED, "1", "index0", "2"),
        (BLOOD, "B", "label", "B"),
        (BLOOD, "B", "text", "C"),
        (["Red  wine", "green"], "red wine", "text", "A"),
        (["red", "green"], 0, "index0", "A"),
    ],
)
def test_the_option_says_which_reading_is_meant(tmp_path, choices, answer, answer_is, label):
    assert answer_of(tmp_path, choices, answer, answer_is) == label


@pytest.mark.parametrize(
    ("choices", "answer", "answer_is", "message"),
    [
        (DIGITS, 7, "index0", r"'7', which names no option counted from 0 \(there are A, B, C, D\): fix the row"),
        (DIGITS, 0, "index1", "names no option counted from 1"),
        (DIGITS, -1, "index0", "names no option counted from 0"),
        (DIGITS, "1", "label", "names no option by its label"),
        (["x", "x"], "x", "text", "names several options by its text"),
        (["RR", "rr"], "Rr", "text", "names several options by its text"),
        (DIGITS, True, "index0", "has the answer true: give a number"),
        ([], 1, "index1", "has no options, so --answer-is index1 has no effect: leave it out"),
    ],
)
def test_an_answer_that_the_reading_does_not_fit_is_refused(tmp_path, choices, answer, answer_is, message):
    with pytest.raises(UsageError, match=message):
        answer_of(tmp_path, choices, answer, answer_is)


@pytest.mark.parametrize(
    ("choices", "answer", "message"),
    [
        (["red", "green"], 0, "not an option label: expected one of A, B, or an index with --answer-is index0"),
        (["red", "green"], "b", "not an option label: expected one of A, B"),
        (["x", "x"], "x", "not an option label: expected one of A, B"),
        (DIGITS, True, "has the answer true: give a number"),
    ],
)
def test_an_answer_without_a_reading_is_refused(tmp_path, choices, answer, message):
    with pytest.raises(UsageError, match=message):
        answer_of(tmp_path, choices, answer)


def test_arc_names_the_label_of_an_option_whose_text_is_another_label(tmp_path):
    path = tmp_path / "ARC-Easy-Test.jsonl"
    path.write_text(json.dumps({"id": "x", "question": {"stem": "Which?", "choices": KEYED}, "answerKey": "1"}))
    assert load("arc-easy", path).problems[0].answer == "1"


def test_the_command_line_passes_the_option_on(tmp_path):
    path = written(tmp_path, DIGITS, 1)
    code, _, told = call("prompt", "abacus-sft", "mine", "--data", path)
    assert (code, "--answer-is label, text, index0 or index1" in told) == (2, True)
    code, out, told = call("prompt", "abacus-sft", "mine", "--data", path, "--answer-is", "text")
    assert (code, "Which?" in out) == (0, True), told


def test_the_help_knows_every_reading():
    from localent.cli.options import ANSWER_IS
    from localent.tasks import kinds

    assert ANSWER_IS == kinds.ANSWER_IS


def test_columns_know_no_other_reading():
    with pytest.raises(UsageError, match="one of label, text, index, index0, index1, got 'letter'"):
        Columns(answer_is="letter")
