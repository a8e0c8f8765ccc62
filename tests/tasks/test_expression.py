"""Expressions in LaTeX: read from what a text states, compared by Math-Verify where it is installed."""

import json
import sys

import pytest

from localent import tasks
from localent.errors import LocalentError
from localent.tasks.kinds import expression
from localent.tasks.kinds.expression import EXPRESSION, plain


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("So \\boxed{\\dfrac{1}{2}}.", "\\frac{1}{2}"),
        ("The answer is $\\sqrt{13}$.", "\\sqrt{13}"),
        ("The answer is \\(9\\pi\\)", "9\\pi"),
        ("The answer is $x = 3$, so it is $\\left( 3, \\infty \\right)$.", "(3,\\infty)"),
        ("The answer is 3/4.", "3/4"),
        ("The answer is $\\$ 3040$.", "\\$3040"),
        ("It costs \\$5. The answer is $20$.", "20"),
        ("The answer is: **$7$**", "7"),
        ("I do not know, and it may be 4.", None),
        ("", None),
    ],
)
def test_what_a_text_states(text, value):
    assert tasks.extract(text, EXPRESSION).value == value


@pytest.mark.parametrize(
    ("text", "same"),
    [("$ \\tfrac{1}{2} $", "\\frac{1}{2}"), ("\\left[0,\\,1\\right)", "[0,1)"), ("\\rightarrow", "\\rightarrow")],
)
def test_marks_and_spaces_change_nothing(text, same):
    assert plain(text) == same


def write(folder, answer):
    path = folder / "rows.csv"
    path.write_text(f'question,answer\na?,"{answer}"\n')
    return path


@pytest.fixture
def library():
    return pytest.importorskip("math_verify")


def test_an_interval_is_no_list(tmp_path, library):
    task = tasks.load("mine", write(tmp_path, "[0, 1]"), tasks.Columns(kind="expression"))
    assert (task.kind, task.problems[0].answer) == (EXPRESSION, "[0,1]")


def test_without_math_verify_the_file_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(expression, "find_spec", lambda name: None)
    with pytest.raises(LocalentError, match=r"compared by Math-Verify: pip install 'localent\[math\]'"):
        tasks.load("mine", write(tmp_path, "1"), tasks.Columns(kind="expression"))


def test_equal_spellings_need_no_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "math_verify", None)
    assert EXPRESSION.agree("9\\pi", "9\\pi")


@pytest.mark.parametrize(
    ("value", "gold", "same"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("\\frac{2}{4}", "\\frac{1}{2}", True),
        ("2\\sqrt{2}", "\\sqrt{8}", True),
        ("x^2-9", "(x-3)(x+3)", True),
        ("\\sqrt{13}", "13", False),
        ("9\\pi", "9", False),
        ("(2,3)", "(3,2)", False),
        ("\\text{Navin}", "\\text{Navin}", True),
    ],
)
def test_equivalence_is_math_verifys(library, value, gold, same):
    assert EXPRESSION.agree(value, gold) is same


def test_rollouts_are_merged_by_equivalence(library):
    values = ["0.5", "\\frac{1}{2}", "3", None, "6/2", "\\frac{2}{4}"]
    half = "\\frac{1}{2}"
    assert EXPRESSION.merged(values, half) == [half, half, "3", None, "3", half]
    assert EXPRESSION.merged(values, "") == ["0.5", "0.5", "3", None, "3", "0.5"]


def test_worked_examples_are_read_as_they_say():
    for example in EXPRESSION.examples:
        assert tasks.extract(example.solution, EXPRESSION).value == plain(example.answer)
    assert json.dumps([e.solution for e in EXPRESSION.examples])
