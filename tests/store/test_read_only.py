"""A user's SQL reads everything and changes nothing."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from types import SimpleNamespace

import pytest
from helpers.stored import RUN, a_trace, filled, sql, without_permission

from localent.errors import LocalentError, UsageError
from localent.store import read_only, select

ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"


@pytest.fixture
def path(tmp_path):
    with filled(tmp_path / "runs.db") as db:
        db.add_trace(RUN.run_id, a_trace())
    return db.path


def answer(path, question, **options):
    return list(select(path, question, **options)[1])


def test_columns_and_rows(path):
    columns, rows = select(path, "select text, entropy as h from tokens order by token_index")
    assert columns == ["text", "h"]
    assert next(rows) == ("Step 1:", 0.0)
    assert len(list(rows)) == 5


def test_limit_stops_early(path):
    assert len(answer(path, "select * from tokens", limit=4)) == 4
    assert answer(path, "select * from tokens", limit=0) == []
    assert answer(path, ENDLESS.replace("count(*)", "i"), limit=3) == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    "question",
    [
        "with t as (select * from traces) select count(*) from t",
        "values (1), (2)",
        "explain query plan select * from tokens",
        "pragma table_info(tokens)",
        "pragma user_version",
        "select name from pragma_table_list",
        "select sql from sqlite_master",
        "select json_extract(settings, '$.seed') from runs",
        "  -- a comment\n select 1;",
    ],
)
def test_reading_of_every_kind_is_allowed(path, question):
    assert answer(path, question)


@pytest.mark.parametrize(
    "hostile",
    [
        "insert into tasks values ('x', 'number', null)",
        "update traces set correct = 1",
        "delete from traces",
        "replace into tasks values ('x', 'number', null)",
        "with t as (select 1) delete from traces",
        "insert into tasks values ('x', 'number', null) returning *",
        "drop table tokens",
        "drop view run_summary",
        "create table x (y)",
        "create temp table x as select * from traces",
        "create view temp.x as select 1",
        "create trigger x after insert on tasks begin delete from traces; end",
        "alter table tasks add column x",
        "attach '{other}' as other",
        "attach ':memory:' as other",
        "detach main",
        "vacuum",
        "vacuum into '{other}'",
        "reindex",
        "analyze",
        "begin",
        "begin immediate",
        "savepoint x",
        "pragma query_only = off",
        "pragma user_version = 9",
        "pragma application_id(9)",
        "pragma writable_schema = 1",
        "pragma journal_mode = delete",
        "pragma journal_mode",
        "pragma wal_checkpoint",
        "pragma optimize",
        "pragma temp_store_directory = '/'",
        "select load_extension('x')",
        "create virtual table x using fts5(y)",
        "select 1; delete from traces",
        "select * from pragma_journal_mode",
    ],
)
def test_no_statement_can_write(path, tmp_path, hostile):
    """The file keeps every byte, and no other file appears but those that SQLite reads a WAL file with."""
    before = path.read_bytes()
    with pytest.raises(UsageError):
        answer(path, hostile.format(other=tmp_path / "other.db"))
    assert path.read_bytes() == before
    assert set(os.listdir(tmp_path)) <= {"runs.db", "runs.db-shm", "runs.db-wal"}


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("select entropi from tokens", "No column 'entropi' in tokens; did you mean 'entropy'?"),
        ("select t.entropi from tokens t", "No column 'entropi' in tokens; did you mean 'entropy'?"),
        ("select entropi from tokens join steps", "No column 'entropi' in steps, tokens; did you mean 'entropy'?"),
        ("select zzzz from tokens", "No column 'zzzz' in tokens."),
        ("select zzzz", "No column 'zzzz'."),
        (
            "select entropy from traces",
            "No column 'entropy' in traces, but in probes, step_entropy, text_tokens, texts, tokens; did you mean"
            " 'max_entropy'?",
        ),
        (
            "select t.entropy, k.text from traces as t join tokens k using (trace_id)",
            "No column 'entropy' in traces, but in probes, step_entropy, text_tokens, texts, tokens; did you mean"
            " 'max_entropy'?",
        ),
        (
            "select main.traces.entropy from traces",
            "No column 'entropy' in traces, but in probes, step_entropy, text_tokens, texts, tokens; did you mean"
            " 'max_entropy'?",
        ),
        ("select x.entropy from tokens t", "No table or alias 'x' in this statement; it reads t."),
        ("select tokens.entropy from tokens t", "No table or alias 'tokens' in this statement; it reads t."),
        (
            "select entropy -- from tokens\nfrom traces where answer = 'tokens'",
            "No column 'entropy' in traces, but in probes, step_entropy, text_tokens, texts, tokens; did you mean"
            " 'max_entropy'?",
        ),
        (
            "with w as (select * from traces) select piece from w",
            "No column 'piece' in traces, but in text_tokens, tokens.",
        ),
        ("with w as (select * from traces) select w.piece from w", "No column 'piece' here; the 'with' or subquery"),
        ("select s.entropy from (select rank from tokens) s", "No column 'entropy' here; the 'with' or subquery"),
        ("select entropy from (select rank from tokens) s", "No column 'entropy' here; the 'with' or subquery"),
        ("select * from main.token", "No table 'token'; did you mean 'tokens'?"),
        ("select * from token", "No table 'token'; did you mean 'tokens'?"),
        ("select * from zzzz", "No table 'zzzz'. There are alternatives, "),
        ("selekt 1", 'SQLite says: near "selekt": syntax error.'),
        ("select 1; select 2", "One statement at a time"),
        ("", "Only SELECT statements are accepted"),
        ("-- nothing", "Only SELECT statements are accepted"),
        ("delete from tokens", "Only reading is allowed here"),
        ("select ?", "SQLite says: Incorrect number of bindings"),
        ("select abs(-9223372036854775808)", "SQLite says: integer overflow."),
    ],
)
def test_errors_say_what_to_do(path, question, says):
    with pytest.raises(UsageError) as error:
        answer(path, question)
    assert str(error.value).startswith(says)


def test_no_hint_names_what_is_missing(path):
    """For every column of every other table."""
    columns = answer(path, "select m.name, c.name from sqlite_master m join pragma_table_info(m.name) c")
    of_steps = {column for table, column in columns if table == "steps"}
    for column in {column for _, column in columns} - of_steps:
        with pytest.raises(UsageError) as error:
            answer(path, f"select [{column}] from steps")
        assert f"did you mean '{column}'" not in str(error.value)
        assert str(error.value).startswith(f"No column '{column}' in steps, but in ")


def test_time_limit_ends_an_endless_query(path, monkeypatch):
    """At the first check after the limit; here the clock moves by 0.25 s whenever it is read."""
    clock = itertools.count(step=0.25)
    monkeypatch.setattr(read_only, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with pytest.raises(UsageError, match=r"Stopped after 2 s"):
        select(path, ENDLESS, timeout_s=2)
    assert next(clock) < 4  # a few readings more, to name the reason


@pytest.mark.parametrize(
    "question",
    [
        "select zeroblob(20000000)",
        "select replace(printf('%.*c', 9000000, 'a'), 'a', 'bb')",
        "select group_concat(hex(zeroblob(1000000)), '') from tokens",
        "select " + " || ".join(["printf('%.*c', 9000000, 'x')"] * 2),
        "select 1 /* " + "x" * 2_000_000 + " */",
    ],
    ids=lambda question: question[:30],
)
def test_a_value_longer_than_any_is_refused(path, question):
    """Inside one function no time limit binds; a limit on what it makes does."""
    with pytest.raises(UsageError, match="longer than 10 MB here"):
        answer(path, question)


def test_printf_makes_nothing_of_what_is_too_long(path):
    """SQLite's own answer, and at once."""
    assert answer(path, "select printf('%.*c', 999999999, 'x')") == [(None,)]


def test_sorting_is_bound_in_memory_and_leaves_the_disk_alone(path):
    """In a process of its own: the limit is of all SQLite in one."""
    query = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9000)"
    query += " select randomblob(100000) as b from n order by b"
    code = "import sys; from localent.store import select; list(select(sys.argv[1], sys.argv[2], heap=50_000_000)[1])"
    done = subprocess.run([sys.executable, "-c", code, path, query], capture_output=True, text=True)
    assert "takes more memory than a query may have" in done.stderr


def test_a_pattern_that_takes_ages_is_refused(path):
    with pytest.raises(UsageError, match="LIKE or GLOB pattern too complex"):
        answer(path, f"select text like '{'%a' * 600}' from tokens")


def test_long_rows_are_fetched_few_at_a_time(path):
    """Or 500 values of 10 MB would be in memory at once."""
    _, rows = select(path, "select printf('%.*c', 5000000, 'x') from tokens")
    for row in rows:
        assert len(row[0]) == 5_000_000
        assert len(rows.gi_frame.f_locals["some"]) == 1
    assert [read_only.next_size(size, (1, "x")) for size in (1, 64, 500)] == [2, 128, 500]
    assert read_only.next_size(500, ("x" * 10**6,)) == 1


def test_who_waits_for_a_function_without_end_is_told(path, monkeypatch):
    """instr looks at every place of a text, and SQLite's clock stands still meanwhile."""
    told = threading.Event()
    monkeypatch.setattr(read_only, "GRACE_S", 0.0)
    slow = f"select instr(printf('%.*c', {400_000}, 'a'), printf('%.*c', {200_000}, 'a') || 'b')"
    with suppress(UsageError):
        list(select(path, slow, timeout_s=0.01, stuck=told.set)[1])
    assert told.wait(5)


def test_who_is_in_time_is_not_told(path):
    told = threading.Event()
    list(select(path, "select * from tokens", timeout_s=60, stuck=told.set)[1])
    assert not told.is_set()
    waiting = [t for t in threading.enumerate() if isinstance(t, threading.Timer) and t.function == told.set]
    assert all(timer.finished.is_set() for timer in waiting)


def test_time_limit_covers_all_rows_together(path):
    _, rows = select(path, ENDLESS.replace("count(*)", "i"), timeout_s=0.1)
    with pytest.raises(UsageError, match=r"Stopped after 0.1 s"):
        list(rows)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is put forward."""
    now = [0.0]
    monkeypatch.setattr(read_only, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_time_limit_does_not_count_what_the_caller_does(path, clock):
    _, rows = select(path, "select * from tokens a, tokens b, tokens c, tokens d, tokens e", timeout_s=1)
    next(rows)
    clock[0] += 100
    assert len(list(rows)) == 6**5 - 1


def test_time_limit_counts_all_that_sqlite_does(path, clock):
    def slow():
        clock[0] += 0.6
        return False

    sql = "select * from tokens a, tokens b, tokens c, tokens d, tokens e"
    guard = read_only.Guard(read_only.reader(path), path, sql, 1)
    for _ in range(2):
        guard(slow)
    with pytest.raises(UsageError, match="Stopped after 1 s"):
        list(read_only.fetch(guard, None))


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system cannot send itself Ctrl-C")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the signal may hit SQLite's callback
def test_ctrl_c_ends_an_endless_question(path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    main = threading.main_thread().ident
    timer = threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        select(path, ENDLESS)
    timer.join()
    signal.signal(signal.SIGINT, before)


def test_question_while_a_run_is_writing(tmp_path):
    """It sees all that was committed before it began, and waits for nobody."""
    with filled(tmp_path / "runs.db") as db:
        db.add_trace(RUN.run_id, a_trace())
        _, rows = select(db.path, "select token_index from tokens order by 1")
        assert next(rows) == (0,)
        db.add_trace(RUN.run_id, a_trace(sample=1))
        assert len(list(rows)) == 5
        with closing(sqlite3.connect(db.path, isolation_level=None)) as other:
            other.execute("begin immediate")
            assert answer(db.path, "select count(*) from traces") == [(2,)]


def test_question_leaves_the_writer_free(tmp_path):
    """Also one that was given up half-way."""
    with filled(tmp_path / "runs.db") as db:
        db.add_trace(RUN.run_id, a_trace())
        _, rows = select(db.path, "select * from tokens")
        next(rows)
        rows.close()
    assert os.listdir(tmp_path) == ["runs.db"]


def test_read_only_folder(open_folder):
    path = open_folder / "runs.db"
    with filled(path) as db:
        db.add_trace(RUN.run_id, a_trace())
    with without_permission(open_folder, path, open_folder):
        assert answer(path, "select count(*) from tokens") == [(6,)]


def test_unmerged_wal_in_a_read_only_folder_is_never_overlooked(open_folder, tmp_path):
    """After a kill the last traces are in the -wal file alone: show them or say so, but do not skip them."""
    with filled(tmp_path / "runs.db") as db:
        db.add_trace(RUN.run_id, a_trace())
        for name in ("runs.db", "runs.db-wal"):
            shutil.copy(tmp_path / name, open_folder / name)
    path = open_folder / "runs.db"
    refused = pytest.raises(LocalentError, match="has a -wal file in a read-only folder; copy both")
    with without_permission(open_folder, path, open_folder / "runs.db-wal", open_folder), refused:
        answer(path, "select count(*) from tokens")
    assert answer(path, "select count(*) from tokens") == [(6,)]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "is empty"), (b"no database at all", "is not an SQLite database"), (None, "No database")],
)
def test_file_that_is_no_database(tmp_path, content, says):
    path = tmp_path / "x.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        select(path, "select 1")


def test_database_of_another_program(tmp_path):
    sql(tmp_path / "x.db", "create table logs (id)")
    with pytest.raises(UsageError, match="another program's"):
        select(tmp_path / "x.db", "select 1")
