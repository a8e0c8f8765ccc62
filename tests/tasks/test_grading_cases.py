"""Texts of our own in which an answer is easily misread, with the answer that a reader sees in them, or none."""

import json
from pathlib import Path

import pytest

from localent.records import Choice
from localent.tasks import CHOICE, NUMBER, answer_start, extract

DATA = Path(__file__).parents[1] / "data"
CASES, LABELS = (
    [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]
    for name in ("grading.jsonl", "labels.jsonl")
)


def kind_and_choices(case):
    """labels: one letter an option; without them the answer is a number."""
    labels, texts = case.get("labels", ""), case.get("texts") or [""] * 26
    return CHOICE if labels else NUMBER, tuple(Choice(label, text) for label, text in zip(labels, texts, strict=False))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['fault'][:24]}: {case['text'][-40:]}")
def test_the_answer_that_a_reader_sees_is_read(case):
    kind, choices = kind_and_choices(case)
    found = extract(case["text"], kind, choices)
    assert (found.value, found.method == "none") == (case["expected"], case["expected"] is None)
    assert (found.value is None) == (found.problem is not None and "stated after" not in found.problem)


def read_wrongly(cases):
    """(text, what was read) of those in which a reader sees something else."""
    found = [(case, extract(case["text"], *kind_and_choices(case)).value) for case in cases]
    return [(case["text"], value) for case, value in found if value != case["expected"]]


def test_labels_are_invented_in_one_of_a_hundred_texts_without_an_answer_at_most():
    unanswered = [case for case in LABELS if case["expected"] is None]
    assert len(unanswered) > 700
    wrong = read_wrongly(unanswered)
    assert len(wrong) <= 0.01 * len(unanswered), wrong


def test_stated_and_settled_labels_are_read():
    answered = [case for case in LABELS if case["expected"] is not None]
    assert len(answered) > 400
    wrong = read_wrongly(answered)
    assert len(wrong) <= 0.01 * len(answered), wrong


@pytest.mark.parametrize("before", ["We start with 7 cups.\n", "First (A) and then 7.\n\n"])
def test_what_stands_in_an_earlier_line_changes_no_stated_answer(before):
    for case in CASES:
        kind, choices = kind_and_choices(case)
        if answer_start(case["text"], kind, choices) is not None and "think" not in case["text"].lower():
            assert extract(before + case["text"], kind, choices).value == case["expected"], case
