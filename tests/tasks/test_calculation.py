"""A calculation in a box whose result stands after it, read alike in an output and by a probe."""

import pytest

from localent.tasks import NUMBER, extract
from localent.tasks.kinds.number_grammar import NumberGrammar, _walk

BOXED = (
    ("129 + 92} = 221\\)", "221"),
    ("12 + 6} = 19", "19"),  # what the model says, right or wrong
    ("5 * 3} = 15 apples", "15"),
    ("20 / 4} = 5", "5"),
    ("1,000 - 5 * 3} = 985", "985"),
    ("5 + 3 = 8}", "8"),
    ("5 + 3 = 8} = 9", "8"),
    ("18}", "18"),
    ("18} = 19", "18"),
    ("129 + 92}\\).", None),
    ("129 + 92} = x", None),
    ("10 - 20}", None),
    ("5 + 3", None),
)


@pytest.mark.parametrize(("boxed", "value"), BOXED)
def test_a_probe_and_an_output_read_a_box_alike(boxed, value):
    assert extract(f"The final answer is \\(\\boxed{{{boxed}", NUMBER).value == value
    assert walked(boxed) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\(\\boxed{6 \\times 7} = 42\\)", "42"),
        ("$\\boxed{\\$12 \\cdot 3}$ = \\$36.", "36"),
        ("\\[\\boxed{160 + 25} \\approx 185\\]", "185"),
        ("\\boxed{2x} = 6", None),
        ("\\boxed{2, 3} = 5", None),
        ("\\boxed{5 + 3}\n= 8 + y", None),
    ],
)
def test_the_result_of_a_box_stands_after_it(text, value):
    assert extract(text, NUMBER).value == value


def test_a_box_is_left_for_a_result_alone():
    """After a number, or a result within the box, nothing is waited for."""
    assert phases("129 + 92} = 2")[-1] == "1=|int:1"
    assert phases("5 + 3 = 8}")[-1] == "end"
    assert phases("18}")[-1] == "end"
    assert phases("5 + 3}.")[-1] == "end"


def phases(text):
    phases = ["start"]
    for char in text:
        step = _walk(phases[-1], char)
        phases.append(step[0] if step else "end")
    return phases


def walked(text):
    """The value that a probe gives a text, character by character."""
    phase, done = "start", ""
    for char in text:
        step = _walk(phase, char)
        if step is None or step[0] == "end":
            return NumberGrammar([]).value(done + (step[1] if step else ""))
        phase, done = step[0], done + step[1]
    return NumberGrammar([]).value(done)
