"""Databases of any size for measuring: a run of made-up traces, cut into files that hold equal parts of it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from localent.records import Answer, Extraction, Model, Probe, Problem, Run, Step, Token, Trace
from localent.store import open_db
from localent.store.rows import Rows, rows_of, trace_id

N_TOKENS, N_STEPS, N_ANSWERS = 200, 8, 3  # of a trace: 9 probes, 27 answers
WORDS = (" then", " there", " were", " 1", "2", " +", " 5", " =", " 17", " apples", ".", "\n")
MODEL = Model("a" * 64, "made-up", "made-up.gguf", "llama", "F16", 3, 4, 16.0, {"F16": 3}, 512, 1024, "b", None)
RUN = Run("0123456789ab", MODEL.sha256, "made up", {"temperature": 0.7, "lanes": 8, "seed": 1}, {"localent": "0"})
N_PROBLEMS = 1319
PROBLEMS = [Problem(f"{i:016x}", str(i), f"What is {i} + 5?", str(i + 5)) for i in range(N_PROBLEMS)]


def parts(folder: Path, n_files: int, n_tokens: int) -> Iterator[Path]:
    """Write files of a run with so many token rows together; yields them as they are made."""
    n_traces = n_tokens // N_TOKENS
    for k in range(n_files):
        path = folder / f"part-{k:03}.db"
        part(path, range(k * n_traces // n_files, (k + 1) * n_traces // n_files))
        yield path


def part(path: Path, attempts: range) -> None:
    """Write a file with these attempts, past the checks of the store: traces of a few kinds under their ids."""
    with open_db(path) as store:
        store.add_model(MODEL)
        store.add_task(RUN.task, "number")
        store.add_problems(RUN.task, PROBLEMS)
        store.add_run(RUN)
        store.ask(RUN.run_id, [problem.problem_id for problem in PROBLEMS], 1 + attempts.stop // N_PROBLEMS)
        session = store.start_session(RUN.run_id, host=path.stem)
        store.conn.execute("pragma foreign_keys = off")
        with store.writing():
            fill(store.conn, [(*attempt(i), i % len(KINDS)) for i in attempts])
            store.conn.execute("insert into origins select trace_id, ? from traces", (session,))
        store.end_session(session)


def attempt(i: int) -> tuple[str, int]:
    """(problem_id, sample) of the i-th trace."""
    return PROBLEMS[i % N_PROBLEMS].problem_id, i // N_PROBLEMS


def fill(conn: sqlite3.Connection, wanted: list[tuple[str, int, int]]) -> None:
    """Insert a trace for each (problem_id, sample, kind)."""
    conn.execute("create temp table wanted (trace_id integer primary key, problem_id, sample, kind)")
    rows = [(trace_id(RUN.run_id, problem, sample), problem, sample, kind) for problem, sample, kind in wanted]
    conn.executemany("insert into wanted values (?, ?, ?, ?)", rows)
    for table in KINDS[0]:
        names = ", ".join(table.columns)
        conn.execute(f"create temp table kinds ({names})")
        values = [(kind, *row[1:]) for kind, of in enumerate(KINDS) for one in of if one.table == table.table
                  for row in one.values]  # fmt: skip
        conn.executemany(f"insert into kinds values ({', '.join('?' * len(table.columns))})", values)
        conn.execute("create index temp.by_kind on kinds (trace_id)")
        found = ", ".join(f"{'w' if name in OWN else 'k'}.{name}" for name in table.columns)
        sql = f"select {found} from wanted w cross join kinds k on k.trace_id = w.kind order by w.trace_id, k.rowid"
        conn.execute(f"insert into main.{table.table} ({names}) {sql}")
        conn.execute("drop table kinds")
    conn.execute("drop table wanted")


def a_trace(rng: random.Random) -> Trace:
    """A trace of 200 tokens with eight steps, probed after each of them."""
    pieces = [rng.choice(WORDS) for _ in range(N_TOKENS)]
    tokens = tuple(a_token(piece, rng) for piece in pieces)
    size = N_TOKENS // N_STEPS
    steps = tuple(
        Step(k, k * size, (k + 1) * size, "".join(pieces[k * size : (k + 1) * size]), "reasoning")
        for k in range(N_STEPS)
    )
    probes = tuple(a_probe(k, k * size, rng) for k in range(N_STEPS + 1))
    read = Extraction("17", "17", "answer statement", None)
    return Trace(PROBLEMS[0].problem_id, 0, "".join(pieces), 90, "stop", read, True, tokens, steps, probes)


def a_token(piece: str, rng: random.Random) -> Token:
    token = Token(rng.randrange(150_000), piece.encode(), *(0.0,) * 6, 1, 0.0)
    names = ("surprisal", "entropy", "varentropy", "renyi2", "top1_prob", "margin", "self_certainty")
    return replace(token, **{name: rng.random() for name in names})


def a_probe(k: int, n_tokens: int, rng: random.Random) -> Probe:
    answers = tuple(Answer(str(i), rng.random()) for i in range(N_ANSWERS))
    place = dict(k=k, n_tokens=n_tokens, position=k / N_STEPS, estimator="number", n_fed=15)
    shape = dict(answers=answers, invalid=0.1, residual=0.1, leader="0", p_true=rng.random(), log_p_true=-2.3)
    return Probe(**place, **shape, entropy=rng.random(), entropy_se=0.1, entropy_lower=0.0, entropy_upper=2.0)


OWN = ("trace_id", "problem_id", "sample")  # columns in which traces of one kind differ
KINDS: list[tuple[Rows, ...]] = [rows_of(RUN, a_trace(random.Random(seed))) for seed in range(20)]
