"""The schema in words, and what it says of a probe computed again from the rows of real ones."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.made import made
from helpers.runs import SETTINGS, call
from helpers.stored import sql

from localent import tasks
from localent.runs.extend import Wanted, add_probes
from localent.runs.run import run
from localent.store import describe, migrations, open_db
from localent.tracing.rollout import miller_madow


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("describe") / "runs.db"
    made(path, n_runs=2, n_problems=4)
    return path


def test_every_column_of_the_schema_is_explained(db):
    with open_db(db, readonly=True) as store:
        columns = describe.columns(store)
    assert [f"{c.relation}.{c.column}" for c in columns if not c.about] == []
    units = {(c.relation, c.column): c.unit for c in columns}
    assert units["tokens", "varentropy"] == "nats squared"
    assert units["step_entropy", "entropy"] == units["trace_summary", "answer_entropy_half"] == "nats"
    assert units["models", "file_bytes"] == "bytes"


def test_schema_lists_relations_then_columns(db):
    code, out, _ = call("schema", "--db", db)
    assert code == 0
    assert "one token of a trace" in out
    code, out, _ = call("schema", "tokens", "--db", db, "--json")
    assert json.loads(out.splitlines()[5])["unit"] == "nats"
    code, out, _ = call("schema", "all", "--db", db, "--csv")
    assert out.startswith("relation,column,type,unit,about")
    code, _, err = call("schema", "tokenz", "--db", db)
    assert (code, "No table or view 'tokenz'" in err) == (2, True)


@pytest.mark.parametrize("table", [name for name, text in describe.ours().items() if text.startswith("CREATE TABLE")])
def test_every_column_of_a_table_is_explained_where_it_is_declared(table):
    """A comment under another table's column of the same name would say what is not so here."""
    text = describe.ours()[table]
    with closing(sqlite3.connect(":memory:")) as conn:
        migrations.migrate(conn)
        columns = [name for (name,) in conn.execute(f"select name from pragma_table_info('{table}')")]
    assert [column for column in columns if column not in describe.comments(text)] == []


def test_a_file_of_an_older_version_is_explained_in_the_words_of_today(db, tmp_path):
    """The file keeps the comments that it was made with."""
    with closing(sqlite3.connect(tmp_path / "old.db")) as conn:
        conn.executescript((Path(__file__).parent / "version_6.sql").read_text("utf-8"))
    with open_db(tmp_path / "old.db") as old, open_db(db, readonly=True) as new:
        assert describe.columns(old) == describe.columns(new)
        assert describe.relations(old) == describe.relations(new)


def test_a_table_of_the_users_own_is_listed_with_its_own_words(tmp_path):
    with open_db(tmp_path / "runs.db") as store:
        sql(store.path, "create table mine ( -- one idea\n  idea text -- bytes of it\n)")
    with open_db(tmp_path / "runs.db", readonly=True) as store:
        assert describe.columns(store, "mine") == [describe.Column("mine", "idea", "text", "bytes", "bytes of it")]
        assert describe.Relation("mine", "table", 1, "one idea") in describe.relations(store)


# --- what is said of a probe ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def probes(tmp_path_factory):
    """Probes of the bundled model on both kinds of task, with rollouts and little search: every form of a row."""
    path = tmp_path_factory.mktemp("probes") / "runs.db"
    for name in ("demo-number", "demo-choice"):
        task = tasks.load(name)
        done = run("abacus-sft", task.first(3), db=path, settings=SETTINGS)
        add_probes("abacus-sft", task, done.run_id, db=path, wanted=Wanted(controls=("filler",), m=16, n_rolled=1))
    with open_db(path, readonly=True) as store:
        ids = [trace_id for (trace_id,) in sql(path, "select trace_id from traces")]
        return [probe for trace_id in ids for probe in store.trace(trace_id).probes]


def entropy(masses):
    p = np.array(masses) / np.sum(masses)
    return float(-(p * np.log(np.where(p > 0, p, 1))).sum())


def said_of(column):
    return describe.comments(describe.ours()["probes"])[column]


def peaked(masses, residual):
    """All of the residual on the most likely outcome."""
    rising = sorted(masses)
    return [*rising[:-1], rising[-1] + residual]


def test_the_entropy_of_an_answer_is_what_the_schema_says(probes):
    """Of the answer given that there is one: exact where all was explored, between its bounds where it was not."""
    found = [p for p in probes if p.estimator in ("number", "choice")]
    assert {(p.estimator, p.control) for p in found} >= {("number", None), ("number", "filler"), ("choice", None)}
    assert any(p.residual > 0.01 for p in found)
    assert any(p.invalid > 0.01 for p in found)
    for p in found:
        if p.entropy is None:
            assert (p.entropy_se, p.entropy_lower, p.entropy_upper, p.probs) == (None, None, None, {})
            continue
        assert sum(p.probs.values()) <= 1 + 1e-9
        assert p.entropy_lower <= p.entropy <= p.entropy_upper
        assert p.entropy_se >= 0
    explored = [p for p in found if p.residual < 1e-4 and p.entropy is not None]
    assert explored
    for p in explored:
        assert sum(p.probs.values()) == pytest.approx(1, abs=1e-4)
        assert p.entropy == pytest.approx(entropy(list(p.probs.values())), abs=2e-3)
        assert p.entropy_se < 1e-3
    assert "given that there is one" in said_of("entropy")
    assert "the residual on the leading answer" in said_of("entropy_lower")
    assert "the residual over all answers" in said_of("entropy_upper")


def test_the_entropies_of_rollouts_are_what_the_schema_says(probes):
    """Plug-in, Miller and Madow's, ln m: nothing of it is certified."""
    found = [p for p in probes if p.estimator == "rollout"]
    assert found
    for p in found:
        m = p.n_rollouts
        n = round(m * (1 - p.invalid))
        counts = [round(n * share) for share in p.probs.values()]
        assert sum(counts) == n
        if not n:
            assert (p.entropy, p.entropy_lower, p.entropy_upper) == (None, None, None)
            continue
        assert p.entropy_lower == pytest.approx(entropy(counts), abs=1e-9)
        assert p.entropy == pytest.approx(miller_madow(counts), abs=1e-9)
        assert (p.entropy_upper, p.residual) == (pytest.approx(math.log(n)), 0.0)
        assert p.log_p_true == pytest.approx(math.log(max(p.p_true, 1 / (2 * m))))
    assert "rollout: Miller and Madow's" in said_of("entropy")
    assert "rollout: the plug-in entropy, which is biased low and no bound" in said_of("entropy_lower")
    assert "rollout: ln of those with an answer, the most that so many can show" in said_of("entropy_upper")
    assert "rollout: at least ln of 1 / (2 n_rollouts)" in said_of("log_p_true")
