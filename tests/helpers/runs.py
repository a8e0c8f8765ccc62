"""Small runs on the CPU, the command line called in process, and all rows that a repetition must reproduce."""

import sqlite3
from contextlib import closing

from click.testing import CliRunner

from localent.cli import main
from localent.runs import Settings

# on the CPU: a GPU's kernels may depend on the shape of the work
SETTINGS = Settings(lanes=4, threads=1, max_tokens=40, temperature=1.0, max_fed=6, gpu_layers=0)


def content(db, tables=("runs", "traces", "tokens", "steps", "probes", "answers")):
    """All rows of a database that a repetition must reproduce; `sessions` tells when, so it is left out."""
    return {table: sorted(query(db, f"select * from {table}"), key=repr) for table in tables}


def query(db, sql):
    with closing(sqlite3.connect(db)) as conn:
        return conn.execute(sql).fetchall()


def call(*arguments):
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr
