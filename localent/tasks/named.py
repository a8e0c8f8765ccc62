"""tasks.toml: the public tasks known by name, in their public layouts. A field that nobody has checked is absent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from localent import lists
from localent.errors import UsageError
from localent.tasks.columns import Columns

FILE = "tasks.toml"
LISTS = (list, "a list of texts in quotes")
KINDS: lists.Kinds = {"chance": ((int, float), "a probability"), "files": LISTS, "fetch": LISTS}  # type: ignore[dict-item]
KINDS |= {"layouts": (list, "a list of tables of columns")}  # all others are texts
OWN = ("kind", "shuffle")  # fields of Columns that are no column


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One task of tasks.toml."""

    name: str
    about: str  # a sentence on what it asks
    kind: str  # of its answers, as tasks.kinds names it
    chance: float  # accuracy of blind guesses
    licence: str
    home: str  # its page
    small: str  # a sentence on where small models stand
    files: tuple[str, ...]  # patterns of its file in a folder, best first
    layouts: tuple[Columns, ...] = (Columns(),)  # of its files, best first
    prompt: str | None = None  # a line before each question, where its text is not a question
    repo: str | None = None  # its data set on the Hugging Face hub
    revision: str | None = None  # the pinned commit there; None: not pinned
    fetch: tuple[str, ...] = ()  # its files in that repository
    url: str | None = None  # its file elsewhere, at a pinned commit
    sha256: str | None = None  # of that file, or of the one of `fetch`
    note: str | None = None  # a sentence for those who fetch it

    @property
    def is_pulled(self) -> bool:
        """True if 'localent pull' knows where its file lies."""
        return bool(self.url or (self.repo and self.fetch))


def known() -> dict[str, Known]:
    """All tasks of tasks.toml by name: ours, then the user's own, which win."""
    found: dict[str, Known] = {}
    for path in (lists.ours(FILE), lists.users(FILE)):
        if path.is_file():
            found |= dict(_parse(path, found))
    return found


def unknown(name: str, also: tuple[str, ...]) -> str:
    """The sentence for a name that is no task."""
    names = (*also, *known())
    near = get_close_matches(name.lower(), names, n=1)
    guess = f"Did you mean {near[0]!r}? " if near else ""
    return f"No task {name!r}. {guess}'localent tasks' lists those there are; any other name takes --data FILE."


def _parse(path: Path, before: dict[str, Known]) -> Iterator[tuple[str, Known]]:
    seen = dict(before)
    for name, table in lists.tables(path):
        lists.check_fields(path, name, table, {"like", *(f.name for f in fields(Known))} - {"name"}, KINDS)
        seen[name] = _task(path, name, table, seen)
        yield name, seen[name]


def _task(path: Path, name: str, table: dict[str, Any], seen: dict[str, Known]) -> Known:
    """A task; `like` takes over the fields that it does not give from an earlier one."""
    given: dict[str, Any] = {
        field: tuple(value) if isinstance(value, list) else value for field, value in table.items()
    }
    like = given.pop("like", None)
    if like is not None and like not in seen:
        raise UsageError(f"{path}: [{name}] is like {like!r}, which no earlier table defines: name one of those.")
    own = {"kind": given.get("kind") or (like and seen[like].kind)}
    if "layouts" in given:
        given["layouts"] = tuple(_layout(path, name, layout, own) for layout in given["layouts"])
    if like is not None:
        return replace(seen[like], name=name, **given)
    try:
        made = Known(name=name, **given)
    except TypeError as error:
        missing = str(error).partition("argument")[2].lstrip("s: ")
        raise UsageError(f"{path}: [{name}] is missing {missing}: see the top of localent's {FILE}.") from None
    return made if "layouts" in given else replace(made, layouts=(Columns(kind=made.kind),))


def _layout(path: Path, name: str, layout: Any, own: dict[str, Any]) -> Columns:
    names = {field.name for field in fields(Columns)} - {"kind"}
    if not isinstance(layout, dict) or set(layout) - names:
        raise UsageError(f"{path}: [{name}] has the layout {layout!r}; write a table of {', '.join(sorted(names))}.")
    header = tuple(layout.get("header", ()))
    return Columns(**{**layout, "header": header}, kind=own["kind"])
