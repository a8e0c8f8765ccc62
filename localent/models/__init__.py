"""Names to files: a path to a GGUF, NAME[:QUANT] of models.toml, OWNER/REPO:QUANT of the hub, or another program's.

`names` knows models.toml, `repos` chooses a repository's file, `hub` fetches and checks, `disk` finds what other
programs left here, `datasets` fetches the public problem sets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from localent.engine import QuantizeOptions, quantize
from localent.errors import LocalentError, UsageError
from localent.files import cache
from localent.files.header import read_header
from localent.files.identity import file_sha256
from localent.machine.hardware import usable_cores
from localent.models import disk, hub, repos
from localent.models.names import Entry, entries, find, recommended
from localent.records import Model

__all__ = ["Entry", "entries", "find", "in_folders", "is_bundled", "pull", "recommended", "resolve"]


def resolve(text: str) -> Path:
    """The file that `text` means: a path to any GGUF, NAME[:QUANT], OWNER/REPO:QUANT, or what another program calls it.

    Raises UsageError for an unknown name, LocalentError for a model that is not on this disk.
    """
    if _is_path(text):
        path = Path(text).expanduser()
        return path if path.exists() else disk.named(text) or _of_repo(text) or path
    try:
        entry, quant = find(text)
    except UsageError:
        if found := disk.named(text):
            return found
        raise
    return _bundled(entry, quant) if entry.bundled else _on_disk(entry, quant)


def in_folders(names: Sequence[str]) -> list[str]:
    """The models named; in place of a folder, the models in it. Raises UsageError for a folder without any."""
    found: list[str] = []
    for name in names:
        if not Path(name).is_dir():
            found.append(name)
            continue
        here = [str(path) for path in disk.in_folder(Path(name))]
        if not here:
            raise UsageError(f"{name} has no GGUF model: name a folder with quants of one model.")
        found += here
    return found


def pull(text: str, revision: str | None = None) -> Path:
    """Fetch a model of models.toml, or OWNER/REPO:QUANT, into the Hugging Face cache, checked; returns its file there.

    Raises LocalentError with what to do when the hub refuses, does not have it, or cannot be reached.
    """
    if wanted := repos.parse(text):
        return hub.pull_repo(wanted, revision).path
    entry, quant = find(text)
    return _bundled(entry, quant) if entry.bundled else hub.pull(entry, quant, revision).path


def is_bundled(model: Model) -> bool:
    """True for a model that comes with localent, and for every quant of one: a quant keeps its model's name."""
    return any(entry.bundled and entry.name == model.name for entry in entries().values())


def _on_disk(entry: Entry, quant: str) -> Path:
    """In the hub's cache, else the same file where another program keeps it."""
    found = hub.from_cache(entry, quant) or disk.same_file(entry.filename(quant))
    if found is None:
        if entry.repo is None:
            raise LocalentError(hub.nowhere(entry))
        text = f"{entry.name}:{quant}"
        raise LocalentError(f"{text} is not on this disk: fetch it with 'localent pull {text}'.")
    return found


def _of_repo(text: str) -> Path | None:
    """The file of a repository of the hub, in the hub's cache; None where the text names no repository."""
    wanted = repos.parse(text)
    if wanted is None:
        return None
    if found := hub.repo_from_cache(wanted):
        return found
    raise LocalentError(
        f"There is no file {text}, and no such model of the hub on this disk: fetch it with 'localent pull {text}'."
    )


def _bundled(entry: Entry, quant: str) -> Path:
    source = Path(str(resources.files("localent") / "demo" / str(entry.bundled)))
    if not source.is_file():
        raise LocalentError(f"{entry.name} is missing from this installation ({source}): install localent again.")
    return source if quant == entry.default else _made_quant(entry, source, quant)


def _made_quant(entry: Entry, source: Path, quant: str) -> Path:
    """A quant of a bundled model, made once and kept in the cache folder."""
    options = QuantizeOptions(n_threads=usable_cores())
    name = f"{entry.name}-{file_sha256(source)[:12]}-{quant}.gguf"
    return cache.made_file("quants", name, read_header, lambda target: quantize(source, target, quant, options))


def _is_path(text: str) -> bool:
    return text.endswith(".gguf") or os.sep in text or "/" in text or Path(text).is_file()
