"""Text that no one meant to write: a model that repeats one character until it is stopped."""

import pytest

from localent import tasks
from localent.compare.token_classes import OPERATOR, classes_of
from localent.records import Choice
from localent.tasks import kinds, steps

N = 100_000
CHOICES = tuple(Choice(label, text) for label, text in zip("ABC", ("red", "a cat", "12"), strict=True))
CHARACTERS = "*_#>-+=~ \n\t.,:;!?'\"`()[]{}<>|/\\$%^&@1aAé½。×"


@pytest.mark.parametrize("char", CHARACTERS)
def test_a_long_run_of_one_character_is_read(char):
    """Finishing is the claim: patterns that backtrack over such a run take years, or hours where they are quadratic."""
    run = char * N
    text = f"The blank is {run}x {run}^.\nSo 5."
    ranges = steps.split(text)
    assert [a for a, _ in ranges] == [0, *(b for _, b in ranges[:-1])]
    assert ranges[-1][1] == len(text)
    assert tasks.extract(text, tasks.NUMBER).value == "5"
    tasks.extract(text, tasks.CHOICE, CHOICES)
    tasks.normalise_number(text)
    assert len(classes_of([text.encode(), f"{run}x".encode()], ())) == 2


@pytest.mark.parametrize("kind", kinds.KINDS)
@pytest.mark.parametrize("block", ["*", "_", '"', "'", "(", "[", " ", "{", "$", "**__", "\\text{", "`\n"])
def test_nothing_but_decoration_is_read_by_every_kind(kind, block):
    """What opens an answer may be decorated: decoration without an answer is given up in linear time."""
    text = (block * N)[:N]
    assert tasks.extract(text, kinds.named(kind), CHOICES).value is None


@pytest.mark.parametrize("char", "=*+-")
def test_a_long_run_of_signs_is_an_operator_only_alone(char):
    assert OPERATOR.fullmatch(char * N)
    assert not OPERATOR.fullmatch(char * N + "x")


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("Go. **Step 1:** a **Step 2:** b", [4, 18]),
        ("Go. ## * Step 1: a", [4]),
        ("Go. __ a Step 1. b", [9]),
        ("Go. _Step 1: a", []),  # "_" is part of a word
        ("Go. ** **\tStep 1 : a", [4]),
    ],
)
def test_a_heading_begins_with_its_decoration(text, starts):
    assert steps._line_starts(text) == [0, *starts]
