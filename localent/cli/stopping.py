"""The options that let a rule stop traces while they are written, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Decorator, Group, refuse_unused

if TYPE_CHECKING:
    from localent.analysis.acting import Promise
    from localent.runs import Settings


@dataclass(frozen=True, slots=True)
class Stopping:
    """The rule that was asked for, the stored run on which replay chose its setting, and that run's database."""

    stop: str | None
    stop_from: str | None
    db: Path

    def applied(self, settings: Settings) -> tuple[Settings, Promise | None]:
        """The settings with the rule, and what replay promises of it."""
        from localent import stopping

        if self.stop is None:
            refuse_unused("A run without --stop", "stop_from")
            return settings, None
        refuse_unused("--stop asks for the answer after every step and", "probes")
        if self.stop_from is None:
            return replace(settings, stop=str(stopping.parse(self.stop)), probes=None), None
        found = promise(self.stop, self.stop_from, self.db)
        return replace(settings, stop=str(found.stop), stop_from=found.run_id, probes=None), found


def promise(stop: str, run_id: str, db: Path) -> Promise:
    """What replay promises of a rule on a stored run; without a setting, of the one that replay chooses."""
    from localent import stopping
    from localent.analysis import load
    from localent.analysis.acting import chosen, promised
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        run = load.run(store, run_id)
    return promised(run, stopping.parse(stop) if ":" in stop else chosen(run, stopping.named(stop)))


OPTIONS = (
    click.option(
        "--stop",
        metavar="RULE[:SETTING]",
        help="End a trace early by this rule, asked after every step: an open thought is closed, the leading answer"
        " given. 'localent replay RUN --policy stop' tries them and prints what to write here.",
    ),
    click.option(
        "--stop-from",
        metavar="RUN",
        shell_complete=complete.runs,
        help="With --stop: take the setting that replay chose on this stored run of --db, and tell what it promises.",
    ),
)


def stopping_options(db_option: Decorator) -> Group:
    """--stop and --stop-from, with the option that names the database."""
    return Group("stopping", Stopping, *OPTIONS, db_option)


def told(db: Path, run_id: str, found: Promise | None) -> list[str]:
    """The sentences on what was promised and what came of it, for a run that rules have stopped."""
    from localent import stopping
    from localent.analysis import load
    from localent.analysis.acting import acted
    from localent.report import acting as report
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        run, early = load.run(store, run_id), load.early(store, run_id)
        stop = stopping.parse(str(store.run(run_id).settings["stop"]))
        whole = load.traces(store, found.run_id) if found else None
    promises = [report.promise(found)] if found else []
    return [*promises, report.acted(stop, acted(run, early, whole), found)]
