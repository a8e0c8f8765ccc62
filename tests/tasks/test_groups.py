"""Problems that are variants of one another: named by a column, or by a text that differs in numbers alone."""

import json

import pytest

from localent import tasks
from localent.cli.options import COLUMNS
from localent.errors import UsageError
from localent.tasks import Columns
from localent.tasks.identity import variant_id


def written(tmp_path, rows):
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def rows_of(*groups, name="template"):
    return [{"question": f"How many are {i}?", "answer": i, name: group} for i, group in enumerate(groups)]


def test_a_column_names_what_problems_are_variants_of(tmp_path):
    """Also by the number 0, which is no empty cell."""
    task = tasks.load("mine", written(tmp_path, rows_of(0, 0, "b", "", None)), Columns(group="template"))
    assert [p.variant_of for p in task.problems] == ["0", "0", "b", None, None]
    clusters = [p.cluster for p in task.problems]
    assert clusters[0] == clusters[1]
    assert len(set(clusters)) == 4
    assert clusters[3:] == [p.problem_id for p in task.problems[3:]]


def test_texts_are_the_same_up_to_numbers():
    one = variant_id("Each pack of dvds costs 76 dollars. There is a discount of 25 dollars")
    assert one == variant_id("Each pack of DVDs costs 1,107 dollars.  There is a discount of 2.5 dollars.")
    assert one != variant_id("Each pack of dvds costs 76 dollars. There is a discount of 25 cents")


def test_a_text_column_groups_by_its_words(tmp_path):
    rows = rows_of("Ann has 3 eggs.", "Ann has 12 eggs", "Bo has 3 eggs.", name="story")
    columns = Columns(context="story", group_text="story")
    of = [p.variant_of for p in tasks.load("mine", written(tmp_path, rows), columns).problems]
    assert of[0] == of[1] != of[2]


def test_the_problems_themselves_do_not_depend_on_their_groups(tmp_path):
    path = written(tmp_path, rows_of("a", "a", "b"))
    plain, grouped = tasks.load("mine", path), tasks.load("mine", path, Columns(group="template"))
    assert plain.data == grouped.data
    assert [p.problem_id for p in plain.problems] == [p.problem_id for p in grouped.problems]


def test_svamp_is_grouped_by_its_stories(tmp_path):
    rows = [
        {"ID": f"chal-{i}", "Body": body, "Question": f"How many {what}?", "Answer": 4.0 + i}
        for i, (body, what) in enumerate([("Ann has 3 eggs.", "a"), ("Ann has 5 eggs", "b"), ("Bo has 3 eggs.", "a")])
    ]
    path = tmp_path / "SVAMP.json"
    path.write_text(json.dumps(rows))
    of = [p.variant_of for p in tasks.load("svamp", tmp_path).problems]
    assert of[0] == of[1] != of[2]


def test_gsm_symbolic_is_grouped_by_its_templates_where_the_file_names_them(tmp_path):
    row = {"question": "What is 1 + 1?", "answer": "1 + 1 = 2\n#### 2"}
    for name, extra, wanted in (("with", {"original_id": 0}, "0"), ("without", {}, None)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps(row | extra))
        assert [p.variant_of for p in tasks.load("gsm-symbolic", path).problems] == [wanted]


def test_what_cannot_be_grouped_is_refused(tmp_path):
    path = written(tmp_path, rows_of("a", "b"))
    with pytest.raises(UsageError, match="no column 'nothing'"):
        tasks.load("mine", path, Columns(group="nothing"))
    with pytest.raises(UsageError, match="leave out --group or --group-text"):
        Columns(group="a", group_text="b")
    with pytest.raises(UsageError, match="lone surrogate"):
        tasks.load("mine", written(tmp_path, rows_of("\ud83d")), Columns(group="template"))
    assert {"group", "group-text"} <= set(COLUMNS)
