"""Damaged and hostile databases: bytes turned, values that cannot be, orphans, other schemas, views without end."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from breaking.runner import Case

COMMANDS = (
    ("check", "{db}"),
    ("runs", "--db", "{db}"),
    ("show", "--db", "{db}"),
    ("show", "{trace}", "--db", "{db}"),
    ("sql", "select * from trace_summary", "--db", "{db}"),
    ("sql", "turning-points", "--db", "{db}"),
    ("schema", "--db", "{db}"),
    ("signals", "{run}", "--db", "{db}"),
    ("replay", "{run}", "--db", "{db}"),
    ("calibrate", "{run}", "--db", "{db}"),
    ("report", "--db", "{db}", "-o", "{folder}/report.html"),
    ("export", "{run}", "--to", "csv", "--db", "{db}", "-o", "{folder}/out"),
    ("merge", "{db}", "-o", "{folder}/all.db"),
    ("check", "{db}", "--repair", "{folder}/new.db"),
)
Damage = Callable[[Path, random.Random], None]


def bytes_turned(path: Path, draw: random.Random) -> None:
    """Some bytes anywhere."""
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 2, 8, 64])):
        content[draw.randrange(len(content))] = draw.randrange(256)
    path.write_bytes(content)


def page_lost(path: Path, draw: random.Random) -> None:
    """A page of zeros, or of another place."""
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    one, other = draw.randrange(1, pages), draw.randrange(pages)
    content[one * 4096 : (one + 1) * 4096] = draw.choice([bytes(4096), content[other * 4096 : (other + 1) * 4096]])
    path.write_bytes(content)


def cut(path: Path, draw: random.Random) -> None:
    """The end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(len(content))])


VALUES = ("null", "''", "'x'", "-1", "0", "1e308", "9e999", "-9e999", "9223372036854775807", "x'00ff'", "'{\"a\": 1'",
          "'[]'", "'{}'", "'{\"a\": NaN}'", "'\"text\"'", "'[[[[]]]]'", "'\x1b[2J'", "zeroblob(100000)")  # fmt: skip


def value_replaced(path: Path, draw: random.Random) -> None:
    """A value of any column, whatever the schema says: as a program without our checks would write it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("pragma foreign_keys = off")
        conn.execute("pragma ignore_check_constraints = on")
        tables = [name for (name,) in conn.execute("select name from sqlite_master where type = 'table'").fetchall()]
        table = draw.choice([name for name in tables if conn.execute(f"select 1 from {name} limit 1").fetchone()])
        column = draw.choice([row[1] for row in conn.execute(f"pragma table_info({table})")])
        where = draw.choice(["1", "abs(random()) % 3 = 0"])
        try:
            conn.execute(f"update {table} set {column} = {draw.choice(VALUES)} where {where}")
        except sqlite3.Error:  # of another type: as the schema forbids it, change the schema
            conn.execute("pragma writable_schema = on")
            conn.execute(
                "update sqlite_master set sql = replace(replace(sql, ' strict', ''), 'not null', '')"
                " where type = 'table' and name = ? and sql not like '%without rowid%'",
                (table,),
            )


def rows_removed(path: Path, draw: random.Random) -> None:
    """Orphans: some rows of a table are gone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        tables = ["models", "tasks", "problems", "runs", "traces", "tokens", "steps", "probes", "answers"]
        conn.execute(f"delete from {draw.choice(tables)} where {draw.choice(['1', 'abs(random()) % 3 = 0'])}")


def schema_changed(path: Path, draw: random.Random) -> None:
    """Another version, another mark, a table or view that is none of ours, a trigger."""
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    changes = [
        f"pragma user_version = {draw.choice([0, 1, 5, 9, 99, -1, 2**31 - 1])}",
        f"pragma application_id = {draw.choice([0, 1, 7])}",
        f"drop view trace_summary; create view trace_summary as {endless.replace('count(*)', 'i as trace_id')}",
        f"drop view run_summary; create view run_summary as {endless}",
        "drop view trace_summary; create table trace_summary (x)",
        "create trigger t after insert on sessions begin delete from traces; end",
        "drop table probes",
        "alter table tokens rename to token",
        "alter table tokens drop column entropy",
        "alter table traces add column extra text default 'x'",
        "create table other (x); insert into other values (1)",
        "drop index traces_by_problem",
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("pragma foreign_keys = off")
        try:
            conn.executescript(draw.choice(changes))
        except sqlite3.Error:
            return


def bomb(path: Path, draw: random.Random) -> None:
    """Very many rows, or very long ones."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("begin")
        many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < {n}) "
        changes = [
            many.format(n=200_000) + "insert into tasks (task, kind) select 'task' || i, 'number' from n",
            many.format(n=50_000) + "insert into problems (task, problem_id, source_id, question, answer, choices)"
            " select task, 'p' || i, 's', 'q', 'a', '[]' from n, tasks limit 50000",
            "update traces set text = printf('%.*c', 30000000, 'x') where rowid = (select min(rowid) from traces)",
            "update problems set question = printf('%.*c', 2000000, 'x')",
            "update runs set settings = printf('%.*c', 100000, '[') || printf('%.*c', 100000, ']')",
        ]
        conn.execute(draw.choice(changes))
        conn.execute("commit")


WAYS: tuple[Damage, ...] = (bytes_turned, bytes_turned, page_lost, cut, value_replaced, value_replaced, rows_removed)
WAYS += (schema_changed, bomb)


def cases(n: int, draw: random.Random, home: Path) -> Iterator[Case]:
    """A small database of made-up runs, damaged, and every command that reads one."""
    from helpers.made import made

    sound = home / "sound.db"
    run, *_ = made(sound, n_runs=2, n_problems=12, alternatives=2)
    with closing(sqlite3.connect(sound)) as conn:
        conn.execute("pragma wal_checkpoint(truncate)")
        trace = str(conn.execute("select trace_id from traces").fetchone()[0])
    for i in range(n):
        folder = home / f"case-{i}"
        folder.mkdir()
        path = folder / "a.db"
        shutil.copy(sound, path)
        way = draw.choice(WAYS)
        way(path, draw)
        values = {"{db}": str(path), "{folder}": str(folder), "{run}": run, "{trace}": trace}
        commands = tuple(tuple(_filled(word, values) for word in words) for words in COMMANDS)
        yield Case(f"{way.__name__}-{i}", folder, commands)


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(name, value)
    return word
