"""A database without what tells where it was made: folders of this machine, and its name.

What a database holds of them: `models.path`, `tasks.source`, `sessions.host`, and texts that may quote them (findings
of doctor, settings and names of comparisons). Texts of problems and traces are data, and stay.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath

from localent.errors import UsageError
from localent.records import file_parts
from localent.store.connect import connect, explained
from localent.store.db import Database, open_db

HOST = "somewhere"  # in place of a machine's name
SHORTEST_HOST = 3  # letters: a shorter name is in every second word
QUOTING = {  # table -> the texts in it that may quote a place
    "models": ("name",),
    "comparisons": ("source_name", "settings", "figures"),
    "texts": ("name", "settings"),
    "checks": ("value", "note"),
    "verdicts": ("note",),
    "calibrations": ("figures",),
}


@dataclass(frozen=True, slots=True)
class Places:
    """The folders and machines that a database knows."""

    folders: tuple[str, ...]  # the longest first
    hosts: tuple[str, ...]

    def left_out_of(self, text: str) -> str:
        """The text with bare file names in place of these folders, and HOST in place of machines."""
        for folder in self.folders:
            text = re.sub(re.escape(folder) + r"[/\\]?", "", text)
        for host in self.hosts:
            text = re.sub(rf"(?<!\w){re.escape(host)}(?!\w)", HOST, text)
        return text


def places_of(store: Database) -> Places:
    """The folders and machines that are named in a database, and those of this user."""
    models = [row["path"] for row in store.query("select path from models")]
    paths = [*models, *(part for path in models for part in file_parts(path))]
    paths += [row["source"] for row in store.query("select source from tasks where source is not null")]
    hosts = {row["host"] for row in store.query("select distinct host from sessions")} | {platform.node()}
    folders = {str(parent) for path in paths if _is_absolute(path) for parent in _path(path).parents} | {
        str(Path.home())
    }
    long = {folder for folder in folders if len(_path(folder).parts) > 1}
    return Places(_longest_first(long), _longest_first(h for h in hosts if len(h) >= SHORTEST_HOST and h != HOST))


def scrub(path: Path, target: Path) -> None:
    """Write a copy of a database without places into `target`, a new file.

    Nothing of them is left in its free pages. Raises UsageError where the target is there already.
    """
    if target.exists():
        raise UsageError(f"{target} exists already: name a file that does not.")
    with explained(path), open_db(path, readonly=True):
        pass  # brought to the newest version
    with explained(path), closing(connect(path, "ro")) as conn:
        conn.execute("vacuum into ?", (str(target),))
    with explained(target), open_db(target) as store:
        places = places_of(store)
        store.conn.execute("pragma secure_delete = on")
        with store.writing():
            _replace(store, places)
        store.conn.execute("pragma wal_checkpoint(truncate)")
        store.conn.execute("vacuum")


def _replace(store: Database, places: Places) -> None:
    store.conn.create_function("name_of", 1, _name_of, deterministic=True)
    store.conn.create_function("left_out", 1, lambda text: text and places.left_out_of(text), deterministic=True)
    store.conn.execute("update models set path = name_of(path)")
    store.conn.execute("update tasks set source = name_of(source)")
    store.conn.execute("update sessions set host = ?", (HOST,))
    for table, columns in QUOTING.items():
        sets = ", ".join(f"{name} = left_out({name})" for name in columns)
        store.conn.execute(f"update {table} set {sets}")


def _name_of(path: str | None) -> str | None:
    """The last part of a path; what is no absolute path stays, as the address of a data set does."""
    return _path(path).name if path and _is_absolute(path) else path


def _path(path: str) -> PurePath:
    return PureWindowsPath(path) if re.match(r"[A-Za-z]:[\\/]", path) else PurePath(path)


def _is_absolute(path: str) -> bool:
    return _path(path).is_absolute()


def _longest_first(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))
