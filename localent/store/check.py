"""A database examined: the file, its schema, and whether its rows agree with each other.

Sums that are stored beside what they sum up tell a damaged number from a sound one: the mean entropy of a trace is that
of its tokens, its text is theirs joined up, and its id is a hash of what it belongs to.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.store.connect import connect, explained, foreign
from localent.store.migrations import MIGRATIONS, migrate, version
from localent.store.rows import trace_id as id_of
from localent.store.schema import APPLICATION_ID

FILE, SCHEMA = "file", "schema"  # where a fault is that is of no table
MOST = 20  # messages of one kind
Report = Callable[[str, int, int], object]  # (what is looked at, done, to do)
Kinds = dict[str, tuple[str, tuple[str, ...]]]  # relation -> ("table" | "view", columns)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written."""

    where: str  # a table, FILE or SCHEMA
    what: str
    n_rows: int | None = None  # None: of no rows
    example: str | None = None  # key of the first of them


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows that cannot be: a condition in SQL on a table, which is called t."""

    table: str
    what: str
    bad: str


def outside(*columns: str, low: str = "-1e-6", high: str = "1e15") -> str:
    """Some column is outside of a range; null is not."""
    return " or ".join(f"t.{name} not between {low} and {high}" for name in columns)


def no_json(column: str, kind: str) -> str:
    return f"case when json_valid(t.{column}) then json_type(t.{column}) <> '{kind}' else 1 end"


def no_text(*columns: str) -> str:
    """Bytes that are no UTF-8 stand where a text should."""
    return " or ".join(f"not is_text(cast(t.{name} as blob))" for name in columns)


def is_text(raw: bytes | None) -> bool:
    try:
        if raw is not None:
            raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def far(one: str, other: str) -> str:
    """Two numbers differ by more than the order of a sum can do; one of them may be null."""
    return f"abs({one} - {other}) > 1e-6 * (1 + abs({one})) or ({one} is null) <> ({other} is null)"


def of_tokens(what: str, table: str = "tokens") -> str:
    return f"(select {what} from {table} k where k.trace_id = t.trace_id)"


BROKEN_CHOICE = """exists (
    select 1 from json_each(case when json_valid(t.choices) then t.choices else '[]' end) e
    where case when e.type <> 'object' then 1
      else json_type(e.value, '$.label') is not 'text' or json_type(e.value, '$.text') is not 'text' end)"""
SHARE = dict(low="-1e-6", high="1.000001")
GENERATED = "{}(case when k.given = 0 then {} end)"  # over the tokens that did not come from outside
IN_TEXT = (  # over the tokens of a text that count
    "(select {} from text_tokens k where k.text_id = t.text_id and k.given = 0 and k.surprisal is not null)"
)
JOINED = "select text from tokens where trace_id = t.trace_id order by token_index"
RULES = (
    Rule("models", "counts below zero", outside("n_params", "file_bytes", "bits_per_weight", "n_vocab", "n_ctx_train")),
    Rule("models", "types that are no JSON object", no_json("tensor_types", "object")),
    Rule("problems", "options without a label or a text", BROKEN_CHOICE),
    Rule("problems", "options that are no JSON list", no_json("choices", "array")),
    Rule("runs", "settings that are no JSON object", no_json("settings", "object")),
    Rule("runs", "a build that is no JSON object", no_json("build", "object")),
    Rule("sessions", "counts below zero", outside("seconds", "n_traces", "n_tokens", "n_probe_tokens", "n_todo")),
    Rule("sessions", "times that are none", "julianday(t.started) is null or julianday(t.ended) is null"),
    Rule("sessions", "an origin that is no JSON object", f"t.made_as is not null and {no_json('made_as', 'object')}"),
    Rule("attempts", "counts below zero", outside("samples")),
    Rule("traces", "an id that is not theirs", "trace_id_of(t.run_id, t.problem_id, t.sample) <> t.trace_id"),
    Rule("traces", "another task than their run", "t.task <> (select task from runs r where r.run_id = t.run_id)"),
    Rule("traces", "counts below zero", outside("sample", "n_prompt", "n_tokens", "n_given", "n_steps")),
    Rule("traces", "counts below zero", outside("n_probe_tokens")),
    Rule("traces", "tokens missing", f"t.n_tokens + t.n_given <> {of_tokens('count(*)')}"),
    Rule("traces", "tokens missing", f"t.n_tokens + t.n_given <> coalesce({of_tokens('max(token_index) + 1')}, 0)"),
    Rule("traces", "steps missing", f"t.n_steps <> {of_tokens('count(*)', 'steps')} - "
         "(select count(*) from steps k where k.trace_id = t.trace_id and k.kind <> 'reasoning')"),
    Rule("traces", "a text that is not their tokens'",
         f"t.text <> (select coalesce(group_concat(text, ''), '') from ({JOINED}))"),
    Rule("traces", "a mean entropy that is not their tokens'",
         far("t.mean_entropy", of_tokens(GENERATED.format("avg", "entropy")))),
    Rule("traces", "a maximum that is not their tokens'",
         far("t.max_entropy", of_tokens(GENERATED.format("max", "entropy")))),
    Rule("traces", "a surprisal that is not their tokens'",
         far("t.mean_surprisal", of_tokens(GENERATED.format("avg", "surprisal")))),
    Rule("tokens", "measures below zero",
         outside("token_id", "surprisal", "entropy", "varentropy", "renyi2", "margin", "self_certainty", high="1e999")),
    Rule("tokens", "probabilities outside 0 to 1", outside("top1_prob", **SHARE)),
    Rule("tokens", "a rank below 1", "t.rank < 1"),
    Rule("alternatives", "probabilities outside 0 to 1", outside("prob", **SHARE)),
    Rule("steps", "bounds that are none", "t.start_token < 0 or t.end_token < t.start_token"
         " or t.end_token > (select n_tokens + n_given from traces a where a.trace_id = t.trace_id)"),
    Rule("probes", "probabilities outside 0 to 1", outside("position", "residual", "invalid", "p_true", **SHARE)),
    Rule("probes", "entropies below zero", outside("entropy", "entropy_lower", "entropy_upper", "entropy_se")),
    Rule("probes", "a step that the trace does not have", "t.k < 0 or t.n_tokens < 0 or"
         " t.k > (select count(*) from steps a where a.trace_id = t.trace_id)"),
    Rule("answers", "probabilities outside 0 to 1", outside("prob", **SHARE)),
    Rule("comparisons", "settings or figures that are no JSON object",
         f"{no_json('settings', 'object')} or {no_json('figures', 'object')}"),
    Rule("comparisons", "shares outside 0 to 1",
         outside("same_top", "accuracy_reference", "accuracy_candidate", **SHARE)),
    Rule("divergences", "measures below zero",
         outside("kld", "kld_reverse", "jsd", "entropy_reference", "entropy_candidate", low="-1e-3", high="1e999")),
    Rule("texts", "settings or a build that are no JSON object",
         f"{no_json('settings', 'object')} or {no_json('build', 'object')}"),
    Rule("texts", "measures below zero",
         outside("n_tokens", "n_windows", "n_left", "surprisal", "entropy", "varentropy")),
    Rule("texts", "tokens missing", f"t.n_tokens <> {IN_TEXT.format('count(*)')}"),
    Rule("texts", "a mean entropy that is not their tokens'", far("t.entropy", IN_TEXT.format("avg(entropy)"))),
    Rule("text_tokens", "measures below zero",
         outside("token_id", "surprisal", "entropy", "varentropy", "renyi2", "margin", "self_certainty", high="1e999")),
    Rule("text_tokens", "probabilities outside 0 to 1", outside("top1_prob", **SHARE)),
    Rule("verdicts", "runs that are no JSON list", no_json("runs", "array")),
    Rule("calibrations", "figures that are no JSON object", no_json("figures", "object")),
)  # fmt: skip


def check(path: Path, report: Report = lambda *_: None) -> list[Fault]:
    """The faults of a database; none where it is sound. The file is only read.

    Raises UsageError for another program's file, for one that a newer localent made, and for an older one, which any
    command that reads it brings up to date.
    """
    with explained(path), closing(opened(path)) as conn:
        try:
            return _examined(conn, path, report)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorname", "") in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
                raise
            raise LocalentError(f"{path} cannot be examined: SQLite says {error}.") from error


def _examined(conn: sqlite3.Connection, path: Path, report: Report) -> list[Fault]:
    found = list(_of_file(conn)) + list(_of_schema(conn, path))
    if any(fault.where == SCHEMA and "lacks" in fault.what for fault in found):
        return found  # the rules would not be understood
    return [*found, *_orphans(conn), *_of_rows(conn, report)]


def opened(path: Path) -> sqlite3.Connection:
    """A connection that reads even a damaged file, with the functions that the rules use."""
    conn = connect(path, "ro")
    try:
        conn.execute("pragma query_only = on")
        conn.create_function("trace_id_of", 3, id_of, deterministic=True)
        conn.create_function("is_text", 1, is_text, deterministic=True)
        conn.text_factory = lambda raw: raw.decode("utf-8", "replace")
    except BaseException:
        conn.close()
        raise
    return conn


# ── the file and its schema ───────────────────────────────────────────────────────────────────────────────────────


def _of_file(conn: sqlite3.Connection) -> Iterator[Fault]:
    """SQLite's own check of pages, indices and constraints."""
    try:
        for (text,) in conn.execute(f"pragma integrity_check({MOST})").fetchall():
            if text != "ok":
                yield Fault(FILE, str(text).strip().replace("\n", "; "))
    except sqlite3.DatabaseError as error:
        yield Fault(FILE, f"SQLite says: {error}")


def _of_schema(conn: sqlite3.Connection, path: Path) -> Iterator[Fault]:
    """Tables, views and marks that differ from those of this version."""
    mark, seen = conn.execute("pragma application_id").fetchone()[0], kinds_of(conn)
    if mark != APPLICATION_ID and not {"runs", "traces", "tokens"} <= seen.keys():
        raise UsageError(f"{path} is another program's SQLite database, or empty; name one that localent made.")
    if mark != APPLICATION_ID:
        yield Fault(SCHEMA, "the mark that tells it is localent's is another")
    missing = list(_lacking(seen))
    if version(conn) != len(MIGRATIONS):
        if version(conn) > len(MIGRATIONS) and missing:
            raise UsageError(f"{path} was made by a newer localent; update with 'pip install --upgrade localent'.")
        if missing:
            raise UsageError(f"{path} was made by an older localent: 'localent runs --db {path}' brings it up to date.")
        yield Fault(SCHEMA, f"it says version {version(conn)}, but has the tables of version {len(MIGRATIONS)}")
    yield from missing
    yield from (Fault(SCHEMA, text) for text in foreign(conn))


def kinds_of(conn: sqlite3.Connection) -> Kinds:
    """The relations of a file."""
    kinds = dict(conn.execute("select name, type from sqlite_master where type in ('table', 'view')").fetchall())
    columns: dict[str, tuple[str, ...]] = {}
    for name in kinds:
        columns[name] = ()
        with suppress(sqlite3.OperationalError):  # a view of what is not there has none
            found = conn.execute("select name from pragma_table_info(?)", (name,))
            columns[name] = tuple(column for (column,) in found)
    return {name: (kind, columns[name]) for name, kind in kinds.items()}


@cache
def ours() -> Kinds:
    """The relations of this version."""
    with closing(sqlite3.connect(":memory:")) as conn:
        migrate(conn)
        return kinds_of(conn)


def _lacking(seen: Kinds) -> Iterator[Fault]:
    for name, (kind, columns) in ours().items():
        if name not in seen or seen[name][0] != kind:
            yield Fault(SCHEMA, f"it lacks the {kind} {name}")
        elif absent := [column for column in columns if column not in seen[name][1]]:
            yield Fault(SCHEMA, f"its {name} lacks {', '.join(absent)}")


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _orphans(conn: sqlite3.Connection) -> Iterator[Fault]:
    """Rows that refer to rows that are not there."""
    try:
        found = Counter((row[0], row[2]) for row in conn.execute("pragma foreign_key_check"))
    except sqlite3.DatabaseError as error:
        yield Fault(FILE, f"SQLite says: {error}")
        return
    for (table, parent), n in sorted(found.items()):
        yield Fault(table, f"of {parent} that are not there", n)


def _of_rows(conn: sqlite3.Connection, report: Report) -> Iterator[Fault]:
    for done, rule in enumerate(rules()):
        report(rule.table, done, len(rules()))
        try:
            sql = f"select count(*), min({key_of(rule.table)}) from {rule.table} t where {rule.bad}"
            n, example = conn.execute(sql).fetchone()
        except sqlite3.DatabaseError as error:
            yield Fault(rule.table, f"SQLite says: {error}")
            continue
        if n:
            yield Fault(rule.table, rule.what, n, example)


@cache
def rules() -> tuple[Rule, ...]:
    """All rules: those above, and that every text is one."""
    with closing(sqlite3.connect(":memory:")) as conn:
        migrate(conn)
        columns = {name: _texts(conn, name) for name, (kind, _) in kinds_of(conn).items() if kind == "table"}
    return (*(Rule(table, "texts that are none", no_text(*names)) for table, names in columns.items() if names), *RULES)


def _texts(conn: sqlite3.Connection, table: str) -> list[str]:
    rows = conn.execute("select name from pragma_table_info(?) where lower(type) = 'text'", (table,))
    return [name for (name,) in rows]


@cache
def keys_of(table: str) -> tuple[str, ...]:
    """The columns of a table's primary key."""
    with closing(sqlite3.connect(":memory:")) as conn:
        migrate(conn)
        rows = conn.execute(f"select name from pragma_table_info('{table}') where pk order by pk")
        return tuple(name for (name,) in rows)


def key_of(table: str) -> str:
    """The key of a row as text, in SQL: "12/0/number"."""
    return " || '/' || ".join(f"t.{name}" for name in keys_of(table))
