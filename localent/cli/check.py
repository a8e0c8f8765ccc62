"""localent check: is a database sound? And what is good of one that is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli.options import PATH
from localent.cli.output import print_table, say
from localent.cli.progress import Bar

if TYPE_CHECKING:
    from localent.store.check import Fault
    from localent.store.repair import Kept


@click.command("check")
@click.argument("db", type=PATH)
@click.option("--repair", "target", type=PATH, metavar="NEW", help="Copy what is good into NEW, which must not exist.")
@click.option("--json", "json_", is_flag=True, help="Print JSON, one object a line.")
def command(db: Path, target: Path | None, json_: bool) -> None:
    """Examine the database DB: its file, its schema, references, ranges, and sums beside what they sum up.

    DB is only read. The exit code is 1 where something is wrong and 0 where nothing is, or all that is good was copied.

    \b
    localent check localent.db
    localent check damaged.db --repair sound.db
    """
    from localent.store.check import check
    from localent.store.repair import repair

    form = "json" if json_ else None
    with Bar() as bar:
        faults = check(db, lambda table, done, todo: bar.show(table, done, todo, "rule"))
        kept = repair(db, target, lambda table, done, todo: bar.show(table, done, todo, "trace")) if target else []
    _show_faults(db, faults, form)
    if target:
        _show_kept(target, kept, form)
    sys.exit(int(bool(faults) and target is None))


def _show_faults(db: Path, faults: list[Fault], form: str | None) -> None:
    if faults:
        rows = [(fault.where, fault.what, fault.n_rows, fault.example) for fault in faults]
        print_table(["where", "what", "rows", "first"], rows, form, max_width=None)
    else:
        say([f"{db} is sound."], form)


def _show_kept(target: Path, kept: list[Kept], form: str | None) -> None:
    if form is None:
        click.echo()
    print_table(["table", "kept", "left out"], [(one.table, one.n_kept, one.n_left_out) for one in kept], form)
    say([f"{target} holds what is good. The commands that made the rest make it again."], form)
