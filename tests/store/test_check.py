"""Damaged databases: told what is wrong, in every command a sentence, and what is good is copied."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from helpers.made import made
from helpers.runs import call
from helpers.stored import sql, tables

from localent.errors import UsageError
from localent.store import open_db
from localent.store.check import check, rules
from localent.store.migrations import migrate
from localent.store.repair import repair


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.db"
    made(path, n_runs=2, n_problems=6, alternatives=2)
    sql(path, "pragma wal_checkpoint(truncate)")
    return path


@pytest.fixture
def path(sound, tmp_path):
    return shutil.copy(sound, tmp_path / "a.db")


def changed(path, *statements):
    """As a program that knows nothing of our checks would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("pragma ignore_check_constraints = on")
        for statement in statements:
            conn.execute(statement)


def told(path):
    return [f"{fault.where}: {fault.what}" for fault in check(path)]


def test_a_sound_file_has_no_faults(path):
    assert check(path) == []


ONE = "(select min(trace_id) from traces)"
DAMAGE = [
    ("update models set n_params = -1", "models: counts below zero"),
    ("update models set tensor_types = '[]'", "models: types that are no JSON object"),
    ("update problems set choices = '{'", "problems: options that are no JSON list"),
    ("update runs set settings = 'x'", "runs: settings that are no JSON object"),
    ("update runs set build = '{\"a\": NaN}'", "runs: a build that is no JSON object"),
    ("update sessions set n_traces = -5", "sessions: counts below zero"),
    ("update sessions set started = 'yesterday'", "sessions: times that are none"),
    ("update traces set sample = sample + 5", "traces: an id that is not theirs"),
    ("update traces set n_steps = 99", "traces: steps missing"),
    ("update traces set text = text || '.'", "traces: a text that is not their tokens'"),
    ("update traces set mean_entropy = 0.1", "traces: a mean entropy that is not their tokens'"),
    ("update traces set max_entropy = null", "traces: a maximum that is not their tokens'"),
    ("update tokens set entropy = entropy + 1e-3 where token_index = 0", "traces: a mean entropy that is not"),
    ("update tokens set surprisal = -1", "tokens: measures below zero"),
    ("update tokens set top1_prob = 1.5", "tokens: probabilities outside 0 to 1"),
    ("update tokens set rank = 0", "tokens: a rank below 1"),
    (f"delete from tokens where trace_id = {ONE} and token_index = 2", "traces: tokens missing"),
    ("update alternatives set prob = -0.1", "alternatives: probabilities outside 0 to 1"),
    ("update steps set end_token = 10000 where step_index = 0", "steps: bounds that are none"),
    ("update probes set p_true = 9e999 where k = 0", "probes: probabilities outside 0 to 1"),
    ("update probes set entropy = -2", "probes: entropies below zero"),
    ("update probes set k = k + 50", "probes: a step that the trace does not have"),
    ("update answers set prob = 3", "answers: probabilities outside 0 to 1"),
    ("delete from problems", "traces: of problems that are not there"),
    ("delete from models", "runs: of models that are not there"),
    ("pragma user_version = 3", "schema: it says version 3, but has the tables of version"),
    ("pragma application_id = 7", "schema: the mark that tells"),
    ("drop table answers", "schema: it lacks the table answers"),
    ("create trigger t after insert on tasks begin delete from runs; end", "schema: its trigger t is not localent's"),
    ("drop view trace_summary", "schema: it lacks the view trace_summary"),
]


@pytest.mark.parametrize(("statement", "what"), DAMAGE, ids=[what for _, what in DAMAGE])
def test_damage_is_told(path, statement, what):
    changed(path, "pragma foreign_keys = off", statement)
    assert any(text.startswith(what) for text in told(path)), told(path)


def test_every_rule_can_be_read(path):
    """A misspelled rule would be a fault of every file; one that no row can break would be none of any."""
    assert check(path) == []
    assert {rule.table for rule in rules()} <= set(open_db(path).schema)


def texts():
    """(table, column) of every text that a sound file of these tests holds."""
    with closing(sqlite3.connect(":memory:")) as conn:
        migrate(conn)
        names = [name for (name,) in conn.execute("select name from sqlite_master where type = 'table'")]
        return [
            (t, c)
            for t in names
            for _, c, kind, *_ in conn.execute(f"pragma table_info({t})")
            if kind.lower() == "text"
        ]


@pytest.mark.parametrize(("table", "column"), texts(), ids="-".join)
def test_bytes_that_are_no_utf8_are_told_in_any_text(path, table, column):
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("pragma foreign_keys = off")
        conn.execute("pragma ignore_check_constraints = on")
        n = conn.execute(
            f"update or ignore {table} set {column} = cast(x'3cff' as text)"
            f" where {column} = (select max({column}) from {table})"
        ).rowcount
        conn.commit()
    assert (f"{table}: texts that are none" in told(path)) == (n > 0)


def test_a_torn_page_is_told_and_what_lies_around_it_is_copied(path, sound, tmp_path):
    content = bytearray(path.read_bytes())
    page = content.index(b" apples", len(content) // 2) // 4096  # of tokens or alternatives
    content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(content)
    assert any(text.startswith(("file: ", "tokens: SQLite", "traces: SQLite")) for text in told(path))
    kept = {one.table: one for one in repair(path, tmp_path / "new.db")}
    assert 0 < kept["traces"].n_kept <= 12
    assert check(tmp_path / "new.db") == []
    whole = tables(sound)
    for name, rows in tables(tmp_path / "new.db").items():
        assert set(map(repr, rows)) <= set(map(repr, whole[name]))


def test_a_sound_file_is_copied_whole(path, tmp_path):
    repair(path, tmp_path / "new.db")
    assert tables(tmp_path / "new.db") == tables(path)
    assert sql(tmp_path / "new.db", "select * from sessions") == sql(path, "select * from sessions")


def test_a_trace_is_whole_or_left_out(path, tmp_path):
    """A run that is continued makes it again."""
    changed(path, f"update tokens set entropy = entropy + 1 where trace_id = {ONE} and token_index = 3")
    kept = {one.table: (one.n_kept, one.n_left_out) for one in repair(path, tmp_path / "new.db")}
    assert kept["traces"] == (11, 1)
    assert kept["problems"][1] == kept["runs"][1] == 0
    ((bad,),) = sql(path, f"select {ONE}")
    assert sql(tmp_path / "new.db", "select count(*) from tokens where trace_id = ?", bad) == [(0,)]


def test_what_the_schema_refuses_is_left_out_and_no_more(path, tmp_path):
    """Of 3,000 problems two are named twice: the first of each stays, and all others."""
    many = "with recursive n(i) as (select 0 union all select i + 1 from n where i < 2999) insert into problems"
    changed(
        path,
        "pragma legacy_alter_table = on",
        "create table old as select * from problems",
        "drop table problems",
        "alter table old rename to problems",
        f"{many} select task, 'p' || (i - (i in (700, 2500))), 's' || i, question, answer, choices, solution, n_steps,"
        " observations, ideal_entropy, ideal_answers, variant_of from n, (select * from problems limit 1)",
    )
    n = sql(path, "select count(*) from problems")[0][0]
    kept = {one.table: one for one in repair(path, tmp_path / "b.db")}["problems"]
    assert (kept.n_kept, kept.n_left_out) == (n - 2, 2)
    assert sql(tmp_path / "b.db", "select source_id from problems where problem_id in ('p699', 'p2499')") == [
        ("s699",),
        ("s2499",),
    ]


def test_a_view_that_cannot_be_read_is_no_obstacle_to_what_is_good(path, tmp_path):
    changed(path, "drop view trace_summary", "create table trace_summary (x)")
    repair(path, tmp_path / "b.db")
    assert check(tmp_path / "b.db") == []
    assert sql(tmp_path / "b.db", "select count(*) from traces") == sql(path, "select count(*) from traces")


def test_only_a_new_file_is_written(path):
    with pytest.raises(UsageError, match="exists already"):
        repair(path, path)


@pytest.mark.parametrize("content", [b"", b"no database at all", None])
def test_what_is_no_database_is_refused(tmp_path, content):
    path = tmp_path / "x.db"
    if content is None:
        sql(path, "create table logs (id)")
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is not an SQLite database|another program"):
        check(path)


def test_a_newer_and_an_older_file_are_told_apart_from_damaged_ones(path):
    changed(path, "alter table tasks drop column source", "pragma user_version = 99")
    with pytest.raises(UsageError, match="newer localent"):
        check(path)
    changed(path, "pragma user_version = 3")
    with pytest.raises(UsageError, match="older localent"):
        check(path)


# ── the commands ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_tells_copies_and_ends_with_1_where_something_is_wrong(path, tmp_path):
    code, out, _ = call("check", path)
    assert code == 0
    assert "is sound." in out
    changed(path, "update tokens set rank = 0")
    code, out, _ = call("check", path)
    assert code == 1
    assert "a rank below 1" in out
    code, out, _ = call("check", path, "--json")
    assert (code, json.loads(out.splitlines()[0])["what"]) == (1, "a rank below 1")
    code, out, _ = call("check", path, "--repair", tmp_path / "new.db")
    assert code == 0
    assert "left out" in out
    assert call("check", tmp_path / "new.db")[0] == 0


READERS = [
    ("runs",),
    ("show",),
    ("show", "{trace}"),
    ("signals", "0012"),
    ("replay", "0012"),
    ("calibrate", "0012"),
    ("report", "-o", "report.html"),
    ("export", "0012", "-o", "out"),
]


@pytest.mark.parametrize(
    "statement",
    [
        "update runs set settings = '{'",
        "update runs set settings = '[]'",
        "update models set tensor_types = '3'",
        "update problems set choices = 'x'",
        "update problems set choices = '[1]'",
        "delete from problems",
        "delete from steps",
        "delete from tokens where token_index = 1",
        "update tokens set entropy = 9e999",
        "update probes set entropy = 9e999",
        "update probes set k = k + 7",
        "drop table answers",
        "alter table tokens rename column entropy to enthalpy",
    ],
)
def test_a_damaged_file_gets_a_sentence_from_every_command(path, tmp_path, monkeypatch, statement):
    """Or an answer, where what is damaged is not read."""
    monkeypatch.chdir(tmp_path)
    ((trace,),) = sql(path, f"select {ONE}")
    changed(path, "pragma legacy_alter_table = on", "pragma foreign_keys = off", statement)
    for words in READERS:
        code, _, err = call(*(word.replace("{trace}", str(trace)) for word in words), "--db", path)
        assert code in (0, 1, 2), words
        assert "Traceback" not in err
    assert call("merge", path, "-o", "all.db")[0] in (0, 1, 2)


def test_a_fault_of_ours_is_not_blamed_on_a_sound_file(path, monkeypatch):
    monkeypatch.setattr("localent.store.traces.noise_floors", lambda store: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        call("runs", "--db", path)
    changed(path, "update tokens set rank = 0")
    code, _, err = call("runs", "--db", path)
    assert code == 1
    assert "is damaged (tokens: a rank below 1); 'localent check" in err


ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select i as run_id from n"


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        (["drop view run_summary", f"create view run_summary as {ENDLESS}"], "its view run_summary is not localent's"),
        (["drop table answers", f"create view answers as {ENDLESS}"], "its answers is a view, not a table"),
        (["create trigger t after insert on sessions begin delete from traces; end"], "its trigger t is not"),
        (
            ["drop table answers", "create virtual table answers using fts5(answer)"],
            "its answers is a virtual table",
        ),
        (
            ["alter table runs add column more text as (hex(zeroblob(400000000)))"],
            "its runs.more is computed, not stored",
        ),
    ],
)
def test_a_schema_that_acts_or_never_ends_is_refused(path, statements, what):
    changed(path, *statements)
    for words in (("runs", "--db", path), ("sql", "select * from run_summary", "--db", path)):
        code, _, err = call(*words)
        assert code == 2
        assert what in err


def test_views_and_tables_of_the_users_own_are_welcome(path):
    changed(path, "create view mine as select 1", "create table notes (text)", "create index i on traces (answer)")
    assert check(path) == []
    assert call("runs", "--db", path)[0] == 0
