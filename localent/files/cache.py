"""The cache: results that could be computed again, kept to save time.

It never stops a command. An entry that is missing, damaged or unreadable counts as absent, and one that cannot be
written is not kept: no function here raises for the state of the disk.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from localent.errors import LocalentError

T = TypeVar("T")
DAMAGE = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError)  # an entry of the wrong form


def folder() -> Path:
    """The cache folder: $LOCALENT_CACHE, else localent's place in the user's cache."""
    if own := os.environ.get("LOCALENT_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "localent"


def key_of(value: object) -> str:
    """Name of an entry: a hash of everything that its content depends on, given as JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def file_key(*paths: Path) -> str:
    """Key for what is known of files: their paths, sizes and times of change."""
    states = [(str(path), stat.st_size, stat.st_mtime_ns) for path in paths for stat in [path.stat()]]
    return key_of(states)


def read(kind: str, key: str, parse: Callable[[Any], T]) -> T | None:
    """The entry as `parse` makes it from its JSON; None where it is absent or damaged."""
    try:
        return parse(json.loads(_place(kind, key).read_bytes()))
    except DAMAGE:
        return None


def write(kind: str, key: str, value: object) -> bool:
    """Keep a JSON value, whole or not at all. False where that is not possible."""
    text = json.dumps(value)
    place = _place(kind, key)
    partial = place.with_suffix(f".{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "ascii")
        partial.replace(place)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        return False
    return True


def choose_once(circumstances: dict[str, object], parse: Callable[[Any], T], choose: Callable[[], Any]) -> T:
    """The choice made the first time under these circumstances, so that the same command is the same run later.

    `choose` returns it as JSON values. In a cache that cannot be written, the choice is made each time.
    """
    key = key_of(circumstances)
    kept = read("choices", key, lambda entry: parse(entry["chosen"]))
    if kept is not None:
        return kept
    chosen = choose()
    write("choices", key, {"what": circumstances, "chosen": chosen})
    return parse(chosen)


def made_file(kind: str, name: str, check: Callable[[Path], object], make: Callable[[Path], object]) -> Path:
    """A file that `make` writes once; made again where `check` raises LocalentError for the one that is there.

    Where the cache cannot hold it, the file is in a temporary folder, removed when the process ends.
    """
    kept = folder() / kind / name
    if _is_sound(kept, check):
        return kept
    if _can_write(kept):
        with suppress(LocalentError, OSError):
            make(kept)
            return kept
    temporary = _scratch() / name
    if not _is_sound(temporary, check):
        make(temporary)
    return temporary


def _place(kind: str, key: str) -> Path:
    return folder() / kind / f"{key}.json"


def _is_sound(place: Path, check: Callable[[Path], object]) -> bool:
    try:
        check(place)
    except (LocalentError, OSError):
        return False
    return True


def _can_write(place: Path) -> bool:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place.parent):
            return not place.is_dir()
    except OSError:
        return False


@cache
def _scratch() -> Path:
    """This process's folder for files that the cache cannot hold."""
    found = Path(tempfile.mkdtemp(prefix="localent-"))
    atexit.register(shutil.rmtree, found, ignore_errors=True)
    return found
