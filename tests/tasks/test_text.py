"""Short answers in words: SQuAD's exact match and F1, lists of true answers, what a text states."""

import json
import random
import re
import string

import pytest

from localent import tasks
from localent.errors import UsageError
from localent.tasks.kinds.text import TEXT, normalised, token_f1


def official(text):
    """SQuAD's normalisation, written down after its paper: no case, punctuation, articles, extra blanks."""
    kept = "".join(char for char in text.lower() if char not in set(string.punctuation))
    return " ".join(word for word in kept.split() if word not in ("a", "an", "the"))


WORDS = ["The", "the", "a", "An", "cat", "Cat's", "sat,", "on", "U.S.", "1,000", "mat.", "(red)", "co-op", "é"]


def test_normalisation_is_squads():
    for seed in range(300):
        rng = random.Random(seed)
        text = rng.choice([" ", "  "]).join(rng.choices(WORDS, k=rng.randint(1, 6)))
        if official(text):
            assert normalised(text) == official(text), text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(A)", "a"),
        ("] ) >", "] ) >"),
        ("The", "the"),
        ("**Paris**.", "paris"),
        ("\\text{Paris}", "paris"),
        ("...", ""),
    ],
)
def test_an_answer_never_loses_all_that_it_has(text, value):
    assert normalised(text) == value


def f1(words, gold):
    """By counting matched words one by one."""
    left, shared = list(gold), 0
    for word in words:
        if word in left:
            left.remove(word)
            shared += 1
    return (
        2 * (shared / len(words)) * (shared / len(gold)) / (shared / len(words) + shared / len(gold)) if shared else 0
    )


def test_f1_is_the_best_overlap_with_an_accepted_answer():
    for seed in range(200):
        rng = random.Random(seed)
        said, *golds = (rng.choices("abcde", k=rng.randint(1, 5)) for _ in range(3))
        found = token_f1(" ".join(said), " | ".join(map(" ".join, golds)))
        assert found == pytest.approx(max(f1(said, gold) for gold in golds))
    assert token_f1(None, "x") == 0
    assert token_f1("x | y", "x | y") == 1  # a right answer is stored as the true one


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The Seine flows through it.\nThe answer is Paris.", "paris"),
        ("So the answer is: **The Eiffel Tower**.", "eiffel tower"),
        ("Answer: Dr. Smith", "dr smith"),
        ("Paris", "paris"),
        ("It may be Paris.\nOr Rome.", None),
        ("", None),
    ],
)
def test_what_a_text_states(text, value):
    assert tasks.extract(text, TEXT).value == value


def rows(folder, *given):
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, given)))
    return path


def test_a_list_of_true_answers_accepts_each(tmp_path):
    row = {
        "question": "Where?",
        "answers": {"text": ["Paris", "the city of Paris", "paris"], "answer_start": [1, 2, 3]},
    }
    task = tasks.load("mine", rows(tmp_path, row), tasks.Columns(answer="answers.text", kind="text"))
    (problem,) = task.problems
    assert (task.kind, problem.answer) == (TEXT, "paris | city of paris")
    for said, right in (("Paris", True), ("the City of Paris.", True), ("Rome", False)):
        read = tasks.extract(f"The answer is {said}", TEXT)
        assert tasks.grade(read, problem, TEXT) is right
    assert TEXT.merged(["city of paris", "rome", None, "paris"], problem.answer) == [
        problem.answer,
        "rome",
        None,
        problem.answer,
    ]


def test_words_are_a_text_only_where_that_is_asked_for(tmp_path):
    path = rows(tmp_path, {"question": "Where?", "answer": "Paris"})
    with pytest.raises(UsageError, match="'Paris', which is not one number"):
        tasks.load("mine", path)
    assert tasks.load("mine", path, tasks.Columns(kind="text")).problems[0].answer == "paris"
    with pytest.raises(UsageError, match=r"has the answer \"\", which|has an empty answer"):
        tasks.load("mine", rows(tmp_path, {"question": "Where?", "answer": "..."}), tasks.Columns(kind="text"))


def test_worked_examples_are_read_as_they_say():
    for example in TEXT.examples:
        assert tasks.extract(example.solution, TEXT).value == normalised(example.answer)
        assert re.search(r"The answer is \w+\.$", example.solution)
