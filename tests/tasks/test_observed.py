"""Users' own data with lines from outside and an ideal reader: what is read, woven and refused."""

import json
import math

import pytest

from localent import tasks
from localent.errors import UsageError
from localent.tasks import observed
from localent.tasks.columns import Columns
from localent.tasks.prompt import PromptOptions

ROW = {
    "question": "Which of 12, 15, 18?",
    "answer": 18,
    "observations": ["It is even.", "It is large."],
    "solution": "12 and 18.\nOnly 18.\nThe answer is 18.",
}


def loaded(tmp_path, *rows, suffix="jsonl", **columns):
    path = tmp_path / f"mine.{suffix}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tasks.load("mine", path, Columns(**columns) if columns else None).problems


def refused(tmp_path, match, **changed):
    with pytest.raises(UsageError, match=match):
        loaded(tmp_path, ROW | changed)


def test_an_ideal_is_read_by_entropy_or_by_the_answers_that_are_left(tmp_path):
    by_entropy, by_answers = loaded(
        tmp_path,
        ROW | {"ideal_entropy": [1.0986122886681098, 0.69314718, 0]},
        ROW | {"question": "Another?", "ideal_answers": [[12, "15", 18.0], ["12", "18"], ["18"]]},
    )
    assert (by_entropy.ideal_entropy, by_entropy.ideal_answers) == ((math.log(3), 0.69314718, 0.0), ())
    assert by_answers.ideal_answers == (("12", "15", "18"), ("12", "18"), ("18",))
    assert by_answers.ideal_entropy == pytest.approx([math.log(3), math.log(2), 0])


def test_observations_make_another_problem_and_none_leave_its_id(tmp_path):
    with_them, others, without = loaded(
        tmp_path, ROW, ROW | {"observations": ["It is odd.", "It is large."]}, ROW | {"observations": []}
    )
    assert len({with_them.problem_id, others.problem_id, without.problem_id}) == 3
    assert without.problem_id == loaded(tmp_path, {k: v for k, v in ROW.items() if k != "observations"})[0].problem_id


def test_a_cell_of_csv_holds_a_list_as_json(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('question,answer,observations\nWhich?,18,"[""It is even."", ""It is large.""]"\nWhich not?,12,\n')
    first, second = tasks.load("mine", path).problems
    assert first.observations == ("It is even.", "It is large.")
    assert second.observations == ()


def test_labels_of_options_follow_the_options_when_these_are_shuffled(tmp_path):
    rows = [
        {"question": f"Which {i}?", "choices": ["red", "green", "blue"], "answer": "B"}
        | {"ideal_answers": [["A", "B"], ["B"]]}
        for i in range(6)
    ]  # fmt: skip
    for problem in loaded(tmp_path, *rows, shuffle=3):
        texts = {choice.label: choice.text for choice in problem.choices}
        assert [sorted(texts[label] for label in some) for some in problem.ideal_answers] == [
            ["green", "red"],
            ["green"],
        ]


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"observations": "It is even."}, "has \"It is even.\" in 'observations': write a JSON list"),
        ({"observations": ["It is even.", 3]}, "has the observation 3 in 'observations': each must be a line"),
        ({"observations": ["It is\neven."]}, "each must be a line of text"),
        ({"observations": ["a b c"] * 4}, "4 observations and fewer lines of solution"),
        ({"ideal_entropy": [1, 0]}, "2 observations and 2 entropies in 'ideal_entropy': expected 3"),
        ({"ideal_entropy": [1, -1, 0]}, "has -1 in 'ideal_entropy': each is a number of nats"),
        ({"ideal_entropy": [1, True, 0]}, "has true in 'ideal_entropy'"),
        ({"ideal_entropy": [1, float("inf"), 0]}, "has Infinity in 'ideal_entropy'"),
        ({"ideal_entropy": {"a": 1}}, "in 'ideal_entropy': write a JSON list, or give the column another name"),
        ({"ideal_answers": [[12, 18], [12], [12]]}, "rules its true answer '18' out in 'ideal_answers'"),
        ({"ideal_answers": ["18", "18", "18"]}, "has \"18\" in 'ideal_answers': each is a list of answers"),
        ({"ideal_answers": [[], [18], [18]]}, "each is a list of answers"),
        (
            {"ideal_answers": [[12, 18], [18], [18]], "ideal_entropy": [1, 0, 0]},
            "another entropy in 'ideal_entropy' than the equally likely answers",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_way_out(tmp_path, changed, match):
    refused(tmp_path, match, **changed)


def test_an_example_shows_each_line_where_it_would_arrive(tmp_path):
    rows = [ROW | {"question": f"Which of 12, 15, 18? {i}"} for i in range(8)]
    text = "It is even.\n12 and 18.\nIt is large.\nOnly 18.\nThe answer is 18."
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = tasks.load("mine", path)
    assert tasks.worked(task.problems[0]) == text
    prompt = tasks.render(task, task.problems[0], PromptOptions(shots=2)).text
    assert prompt.count(text) == 2
    assert prompt.endswith("Solution:")


def test_what_is_given_is_no_word_of_the_model():
    """Offsets stay, so that an answer is found where it stands."""
    texts, given = ["The answer", " is 5.\n", "So", " 7.\n"], [True, True, False, False]
    blanked = observed.own(texts, given)
    assert blanked == " " * 16 + "\nSo 7.\n"
    assert tasks.extract(blanked, tasks.NUMBER).value == "7"
    assert observed.own(texts, [False] * 4) == "".join(texts)
