"""Other runs of the same attempts whose probes asked with another cue, or with another effort.

Neither moves a token of a trace, so that such runs are the same traces, read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localent.records import Run
from localent.store import Database
from localent.store.rows import canonical
from localent.study.subjects import ModelRun

CUE, EFFORT = "cue", "effort"
SETTINGS = {CUE: ("cue", "prompt"), EFFORT: ("epsilon", "max_fed", "paths", "probes")}  # the prompt's hash has the cue
NO_MATTER = ("lanes", "threads")


@dataclass(frozen=True, slots=True)
class Otherwise:
    """A stored run that differs from a study's in its cue alone, or in the effort of its probes alone."""

    setting: str  # CUE | EFFORT
    value: str  # in words
    run_id: str


def otherwise(store: Database, of: ModelRun) -> Iterator[Otherwise]:
    """Those of one run, by id."""
    mine = store.run(of.run_id)
    for row in sorted(store.runs(), key=lambda row: str(row["run_id"])):
        other = store.run(row["run_id"]) if row["task"] == of.task and row["run_id"] != mine.run_id else None
        for setting in SETTINGS if other is not None and other.settings.get("probe") else ():
            if other is not None and _rest(other, setting) == _rest(mine, setting):
                yield Otherwise(setting, _value(other, mine, setting), other.run_id)


def _rest(run: Run, setting: str) -> str:
    """What two runs must have in common to differ in one setting alone."""
    left_out = (*SETTINGS[setting], *NO_MATTER)
    settings = {name: value for name, value in run.settings.items() if name not in left_out}
    return canonical([run.model_sha256, settings])


def _value(other: Run, mine: Run, setting: str) -> str:
    """The choice of the other run; of its effort what differs."""
    if setting == CUE:
        return str(other.settings.get("cue"))
    names = [name for name in SETTINGS[EFFORT] if other.settings.get(name) != mine.settings.get(name)]
    return ", ".join(f"{name} {'all' if (v := other.settings.get(name)) is None else v}" for name in names)


def none_stored(model: str, task: str, setting: str) -> str:
    """The sentence for a run that was not read otherwise."""
    how = "--cue NAME" if setting == CUE else "another --probes, --max-fed or --paths"
    return (
        f"{model} on {task}: the database has no run of it that differs in its {setting} alone, so no verdict was tried"
        f" under another; 'localent run' with {how} makes one, and reads the same traces again."
    )
