"""Ready-made queries; what 'localent sql' refuses is in test_read_only.py."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from helpers.made import made
from helpers.runs import call
from helpers.stored import RUN, a_probe, a_trace, filled

from localent.store import select
from localent.store.saved_queries import QUERIES


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("queries") / "runs.db"
    made(path, n_runs=2, n_problems=40)
    return path


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_every_ready_made_query_runs_by_name_and_is_explained(db, query):
    code, out, _ = call("sql", query.name, "--db", db, "--json")
    assert code == 0
    assert query.about.endswith(".")
    assert "\n" not in query.about
    assert out or query.name in ("unread-answers", "flips")  # both runs solve the same problems here


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_no_ready_made_query_walks_over_all_tokens(db, query):
    """By SQLite's own plan: rows of tokens are looked up, or taken from an index that holds what is asked for."""
    assert not walks(db, query.sql)


def test_a_walk_over_all_tokens_is_seen(db):
    assert walks(db, "select sum(t.entropy) from tokens t")


def walks(db, sql):
    """The steps of SQLite's plan that read every row of the table of tokens."""
    names = "|".join(["tokens", *re.findall(r"\btokens (?:as )?(\w+)", sql)])
    with closing(sqlite3.connect(db)) as conn:
        plan = [detail for *_, detail in conn.execute(f"explain query plan {sql}")]
    return [step for step in plan if re.match(rf"SCAN ({names})(?! USING COVERING INDEX)\b", step)]


def test_confident_mistakes_are_wrong_and_sorted(db):
    columns, rows = select(db, next(q.sql for q in QUERIES if q.name == "confident-mistakes"))
    entropies = [row[columns.index("answer_entropy_last")] for row in rows]
    assert entropies == sorted(entropies)
    assert len(entropies) == 20


def test_operator_entropy_counts_every_operator(db):
    columns, rows = select(db, next(q.sql for q in QUERIES if q.name == "operator-entropy"))
    counts = {row[0]: row[columns.index("n")] for row in rows}
    assert counts["+"] == counts["="] == len(list(select(db, "select 1 from tokens where text = ' ='")[1]))


def test_a_turning_point_lies_between_neighbouring_probes_however_far_apart(tmp_path):
    """Probed at the start and the end of two steps: one stretch, and the text of both."""
    with filled(tmp_path / "runs.db") as store:
        store.add_trace(RUN.run_id, a_trace(probes=(a_probe(0, 2, 0.1), a_probe(2, 2, 0.7))))
    columns, [row] = select(tmp_path / "runs.db", next(q.sql for q in QUERIES if q.name == "turning-points"))
    found = dict(zip(columns, row, strict=True))
    assert (found["after_step"], found["to_step"], found["text"]) == (0, 2, "Step 1: 9 €\n")
    assert found["change"] == pytest.approx(0.6)


def test_flips_name_both_sides(tmp_path):
    runs = made(tmp_path / "runs.db", n_runs=2, n_problems=12)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as conn, conn:
        conn.execute("update traces set correct = 0, answer = '1' where run_id = ? and correct = 1", (runs[1],))
    columns, rows = select(tmp_path / "runs.db", next(q.sql for q in QUERIES if q.name == "flips"))
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert len(found) == 8
    assert {(row["right_run"], row["wrong_run"], row["wrong_answer"]) for row in found} == {(*runs, "1")}


def test_queries_are_listed_with_a_line_each():
    code, out, _ = call("sql", "--queries", "--json")
    assert code == 0
    assert [json.loads(line)["name"] for line in out.splitlines()] == [query.name for query in QUERIES]


def test_a_name_that_is_no_query_is_answered_with_the_nearest():
    code, _, err = call("sql", "confident-mistake")
    assert (code, "did you mean 'confident-mistakes'?" in err) == (2, True)
    code, _, err = call("sql")
    assert (code, "Give a query" in err) == (2, True)


@pytest.mark.parametrize("form", ["table", "csv", "json", "md"])
def test_every_form_of_a_table_can_be_asked_for(db, form):
    code, out, _ = call("sql", "select 1 as one", "--db", db, f"--{form}")
    assert code == 0
    assert "one" in out
