"""The runs of several files: which of them are one, and which do not belong together.

A run's id is a hash of everything that can change a bit of its rows. Two runs that differ in nothing but the machine
(its build and processor, threads, layers on the GPU) can be joined to a mixed run, whose sessions keep what they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from localent.errors import UsageError
from localent.records import Run
from localent.store.connect import check_ours, connect, explained
from localent.store.db import open_db
from localent.store.rows import canonical, run_of

OF_MACHINE = ("threads", "gpu_layers")  # settings that follow from the machine, as the build does
SHOWN = 24  # characters of a value in a sentence


@dataclass(frozen=True, slots=True)
class Known:
    """A run, and the name of its model."""

    run: Run
    model: str

    @property
    def facts(self) -> dict[str, object]:
        """Everything that makes it this run, flat."""
        return {"the model file": self.run.model_sha256, **self.run.settings, **self.run.build}

    @property
    def essence(self) -> str:
        """The same without what follows from the machine, as text."""
        settings = {name: value for name, value in self.run.settings.items() if name not in OF_MACHINE}
        return canonical([self.run.model_sha256, self.run.task, settings])

    @property
    def as_made(self) -> str:
        """What a session keeps of its own run when that is joined to another: JSON."""
        settings = {name: self.run.settings.get(name) for name in OF_MACHINE}
        return canonical({"run_id": self.run.run_id, "settings": settings, "build": dict(self.run.build)})


Runs = dict[str, Known]  # by id


@dataclass(frozen=True, slots=True)
class Joined:
    """The runs of all files, and the run that each of them becomes."""

    runs: Runs
    becomes: dict[str, str]  # run id -> run id


def runs_of(path: Path) -> Runs:
    """The runs of a file. An older file is brought to the newest version first."""
    sql = "select r.*, m.name as model from runs r join models m on m.sha256 = r.model_sha256"
    with open_db(path, readonly=True) as store:
        return {row["run_id"]: Known(run_of(row), row["model"]) for row in store.query(sql)}


def runs_there(path: Path) -> Runs:
    """The runs of a file to be merged into: none where it is not there, or was only just made."""
    if not path.exists():
        return {}
    with explained(path), closing(connect(path, "ro")) as conn:
        is_empty = not check_ours(conn, path)
    return {} if is_empty else runs_of(path)


def joined(files: Mapping[Path, Runs], *, apart: bool, mixed: bool) -> Joined:
    """The runs of these files, joined where that was asked for. The first file is the one to be merged into.

    Raises UsageError for runs of one model and task that differ, unless some file holds both: that is how those that
    belong together came to be. apart: keep such runs as they are. mixed: join those that differ in the machine alone.
    """
    known = {run_id: one for runs in files.values() for run_id, one in runs.items()}
    places = {run_id: path for path, runs in reversed(list(files.items())) for run_id in runs}
    strangers = [(a, b) for a, b in _strangers(files) if not (mixed and known[a].essence == known[b].essence)]
    if strangers and not apart:
        a, b = strangers[0]
        raise UsageError(_refusal((places[a], known[a]), (places[b], known[b])))
    return Joined(known, dict(_becomes(known, files)) if mixed else {run_id: run_id for run_id in known})


def _strangers(files: Mapping[Path, Runs]) -> Iterator[tuple[str, str]]:
    """Pairs of runs of one model and task in different files that no file holds together."""
    known = {run_id: one for runs in files.values() for run_id, one in runs.items()}
    together = {pair for runs in files.values() for pair in combinations(sorted(runs), 2)}
    kinds = {run_id: (one.model, one.run.task) for run_id, one in known.items()}
    for pair in combinations(sorted(known), 2):
        if kinds[pair[0]] == kinds[pair[1]] and pair not in together:
            yield pair


def _becomes(known: Runs, files: Mapping[Path, Runs]) -> Iterator[tuple[str, str]]:
    """Each run, and the one that it is joined to: one of the target where there is one, else the first by id.

    Runs that a file holds together stay apart; so does a run that could be joined to several of them.
    """
    target = next(iter(files.values()))
    groups: dict[str, list[str]] = {}
    for run_id in sorted(known, key=lambda run_id: (run_id not in target, run_id)):
        groups.setdefault(known[run_id].essence, []).append(run_id)
    for alike in groups.values():
        apart = any(len(runs.keys() & set(alike)) > 1 for runs in files.values())
        for run_id in alike:
            yield run_id, run_id if apart else alike[0]


def _refusal(one: tuple[Path, Known], other: tuple[Path, Known]) -> str:
    (path, a), (elsewhere, b) = one, other
    ways = "join them to one that is marked as mixed with --mixed, " if a.essence == b.essence else ""
    return (
        f"{elsewhere} has run {b.run.run_id} and {path} run {a.run.run_id} of the same model and task, but they differ"
        f" in {differing(a.facts, b.facts)}: make all parts with the same settings, {ways}or keep both runs with"
        " --apart."
    )


def differing(a: Mapping[str, object], b: Mapping[str, object]) -> str:
    """The facts in which two runs differ, with their values: "threads (2, 8)"."""
    names: Sequence[str] = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    return ", ".join(f"{name} ({_brief(a.get(name))}, {_brief(b.get(name))})" for name in names)


def _brief(value: object) -> str:
    text = "none" if value is None else value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN // 2]}…"
