"""models.toml and tasks.toml: what localent knows by name. Ours come first, then the user's own, which win."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from localent.errors import UsageError

Kinds = dict[str, tuple[type, str]]  # field -> its type, and what to write, in words
TEXT = (str, "a text in quotes")


def ours(name: str) -> Path:
    """A list of ours: next to the package in a checkout, inside it when installed."""
    package = Path(str(resources.files("localent")))
    inside, beside = package / name, package.parent / name
    return inside if inside.is_file() else beside


def users(name: str) -> Path:
    """The list of that name in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "localent" / name


def tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, fields) of every table of a list. Raises UsageError for a file of another form."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"{path} cannot be read ({error}): see the format at the top of localent's {path.name}."
        ) from None
    for name, table in found.items():
        if not isinstance(table, dict):
            raise UsageError(f"{path}: '{name}' is not a table: write [{name}] and its fields below it.")
        yield name, table


def check_fields(path: Path, name: str, table: dict[str, Any], known: set[str], kinds: Kinds) -> None:
    """Raise UsageError for a field that is unknown or of another type; those not in `kinds` are texts."""
    if unknown := set(table) - known:
        raise UsageError(
            f"{path}: [{name}] has an unknown field '{min(unknown)}': see the top of localent's {path.name}."
        )
    for field, value in table.items():
        kind, words = kinds.get(field, TEXT)
        if not isinstance(value, kind):
            raise UsageError(f"{path}: [{name}] has {field} = {value!r}; write {words}.")
