"""One small run as the store keeps it, and its file read past the store."""

from __future__ import annotations

import math
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from localent.records import Answer, Choice, Extraction, Model, Probe, Problem, Run, Step, Token, Trace
from localent.store import open_db

EURO = "€".encode()  # three bytes, which may come as three tokens
MODEL = Model("a" * 64, "demo", "/m/demo.gguf", "llama", "F16", 3, 4, 16.0, {"F32": 1, "F16": 2}, 512, 1024, "b", None)
NUMBER = Problem("00", "1", "How many €?", "18", solution="9 + 9 = 18", n_steps=2)
CHOICE = Problem("01", "2", "Which?", "B", choices=(Choice("A", "this"), Choice("B", "that")))
RUN = Run("0123456789ab", MODEL.sha256, "sums", {"temperature": 0.7, "lanes": 8, "seed": 1}, {"localent": "0.1"})


def a_token(piece: bytes, surprisal: float = 0.5, entropy: float = 1.0) -> Token:
    return Token(7, piece, surprisal, entropy, 0.25, 0.9, 0.5, 1.5, 2, math.inf)


def a_probe(k: int, k_last: int, p_true: float, leader: str | None = "18") -> Probe:
    answers = (Answer("18", p_true), Answer("3", 0.1))
    log_p = math.log(p_true) if p_true else None
    place = dict(k=k, n_tokens=2 * k, position=k / k_last, estimator="number", n_fed=11)
    shape = dict(answers=answers, invalid=0.02, residual=0.01, leader=leader)
    bounds = dict(entropy=1.0 - p_true, entropy_se=0.05, entropy_lower=0.1, entropy_upper=1.5)
    return Probe(**place, **shape, **bounds, p_true=p_true, log_p_true=log_p)


def a_trace(problem_id: str = "00", sample: int = 0, **changes: object) -> Trace:
    pieces = [b"Step 1:", b" 9 ", EURO[:1], EURO[1:], b"\n", b"18"]
    tokens = tuple(a_token(piece, surprisal=0.1 * n, entropy=float(n)) for n, piece in enumerate(pieces))
    steps = (Step(0, 0, 2, "Step 1: 9 ", "reasoning"), Step(1, 2, 5, "€\n", "reasoning"), Step(2, 5, 6, "18", "answer"))
    probes = (a_probe(0, 2, 0.0, None), a_probe(1, 2, 0.25, "3"), a_probe(2, 2, 0.5))
    read = Extraction("18", "18", "last number", None)
    trace = Trace(problem_id, sample, "Step 1: 9 €\n18", 12, "stop", read, True, tokens, steps, probes)
    return replace(trace, **changes)


def filled(path: Path):
    """A database with one run and no trace."""
    db = open_db(path)
    db.add_model(MODEL)
    db.add_task("sums", "number", source="made up")
    db.add_problems("sums", [NUMBER, CHOICE])
    db.add_run(RUN)
    return db


def sql(path: Path, statement: str, *values: object) -> list[tuple]:
    """Straight from the file, past the store."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("pragma foreign_keys = on")
        return conn.execute(statement, values).fetchall()


def tables(path: Path) -> dict[str, list[tuple]]:
    """All rows of all tables, sorted, but for sessions and which of them made a trace."""
    there = "select name from sqlite_master where type = 'table' and name not in ('sessions', 'origins')"
    names = [name for (name,) in sql(path, there)]
    return {name: sorted(sql(path, f"select * from {name}"), key=repr) for name in names}


@contextmanager
def without_permission(folder: Path, *read_only: Path):
    """Inside, these cannot be written to; root gives up its rights for a while."""
    user = os.geteuid()
    for path in read_only:
        path.chmod(0o555 if path.is_dir() else 0o444)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(0o777)
