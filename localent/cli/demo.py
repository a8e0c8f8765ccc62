"""localent demo: the main job, on what is bundled."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click

from localent.cli.options import PATH
from localent.cli.run import Bar, described
from localent.cli.show import show_summary

MODEL, TASK, N_PROBLEMS, LANES = "abacus-sft", "demo-number", 300, 16
NEXT = """Next:
  {localent} sql "select * from step_entropy limit 10" --db {db}
  {localent} run {model} demo-choice --db {db}
  {localent} run /path/to/your-model.gguf gsm8k --data test.jsonl -n 100"""


def command() -> str:
    """How localent is called here: by its name, or by its path in an environment that is not active."""
    return "localent" if shutil.which("localent") else os.path.relpath(Path(sys.executable).with_name("localent"))


@click.command()
@click.option("-n", type=int, default=N_PROBLEMS, show_default=True, help="How many of the bundled problems.")
@click.option("--db", default="localent-demo.db", show_default=True, type=PATH, help="SQLite file.")
def demo(n: int, db: Path) -> None:
    """Let the bundled model reason through its problems and see how its uncertainty moves."""
    from localent import runs, tasks

    click.echo(f"{MODEL} (a 3.5-million-parameter reasoner that comes with localent) works on {n} problems.", err=True)
    settings = runs.Settings(lanes=LANES, max_fed=24)
    with Bar() as bar:
        outcome = runs.run(MODEL, tasks.load(TASK), db=db, n=n, settings=settings, report=bar, status=bar.say)
    click.echo(described(outcome, db), err=True)
    show_summary(db, outcome.run_id)
    click.echo("\n" + NEXT.format(db=db, model=MODEL, localent=command()))
