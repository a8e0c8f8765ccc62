"""The comparison of answer extraction with other libraries, on a small folder."""

import json
import sys

import grading
import pytest

ROWS = [
    {"text": "She has 3 * 4 = 12.\nThe answer is 12.", "expected": "12"},
    {"text": "We start with 7 cups. The answer cannot be determined.", "expected": None},
    {"text": "The answer is \\boxed{\\frac 54}.", "expected": "5/4"},
    {"text": "The answer is $1,000.", "expected": "1000"},
]
CHOICES = [
    {"text": "The answer is (B).", "answer": "B", "options": ["red", "blue"]},
    {"text": "(A) is out. The answer is (B).", "answer": "A", "options": {"A": "red", "B": "blue"}},
]


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_each_reader_has_a_row_with_the_share_that_it_reads(tmp_path, capsys):
    written(tmp_path / "numbers.jsonl", ROWS)
    grading.compare(tmp_path / "numbers.jsonl", sys.executable, show=0)
    lines = capsys.readouterr().out.splitlines()
    assert "numbers.jsonl: 4 texts, 1 of them without an answer" in lines
    shares = {line[2:24].strip(): line[24:].split()[:2] for line in lines if "%" in line}
    assert shares["localent"] == ["100.00%", "0.00%"]
    assert shares["lm-eval flexible"][1] == "100.00%"  # it takes the 7 of the first sentence
    assert set(shares) >= {"localent", "lm-eval flexible", "lm-eval strict"}


def test_true_answers_are_graded(tmp_path, capsys):
    grading.compare(written(tmp_path / "choices.jsonl", CHOICES), sys.executable, show=1)
    out = capsys.readouterr().out
    assert "correct" in out
    assert "localent                50.00%" in out
    assert "'B' ours, 'B' flexible, 'A' wanted" in out


def test_a_line_that_is_no_output_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"x.jsonl, line 1: expected 'text' and 'expected' or 'answer', got \['text'\]"
    ):
        list(grading.load(written(tmp_path / "x.jsonl", [{"text": "12"}])))
