"""localent models: the models known by name, and those on this disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import PATH, format_options
from localent.cli.output import echo, print_table
from localent.cli.progress import Bar
from localent.errors import LocalentError, UsageError

if TYPE_CHECKING:
    from localent.models import Entry
    from localent.models.disk import Details, Found

Row = tuple[Any, ...]
Table = tuple[str, tuple[str, ...], list[Row]]  # label, columns, rows

KNOWN = ("name", "size", "stage", "kind", "default", "licence", "gated", "context", "thinks", "here")
ALL_KNOWN = (*KNOWN, "family", "quants", "template", "bos", "recommended", "repo", "file", "revision", "of")
HERE = ("name", "GB", "quant", "fits", "arch", "params", "bits/weight", "needs GB", "chat", "place", "path")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The models to list, and the lanes that the column 'fits' allows for."""

    folders: tuple[Path, ...]
    only: str | None  # "known" | "here"
    family: str | None
    lanes: int
    ctx: int

    def __post_init__(self) -> None:
        if self.only == "known":
            refuse_unused("--known", "folders", "lanes", "ctx")


@click.command("models")
@click.argument("name", required=False, shell_complete=complete.models)
@Group(
    "wanted",
    Wanted,
    click.option("--in", "folders", multiple=True, type=PATH, help="Also look in this folder."),
    click.option("--known", "only", flag_value="known", help="Only the models of models.toml."),
    click.option("--here", "only", flag_value="here", help="Only the models on this disk."),
    click.option("--family", help="Only this family."),
    click.option(
        "--lanes",
        type=click.IntRange(1),
        default=4,
        show_default=True,
        help="Number of lanes for the column 'fits' ...",
    ),
    click.option("--ctx", type=click.IntRange(1), default=2048, show_default=True, help="... and tokens in each."),
)
@format_options
def command(name: str | None, wanted: Wanted, form: str | None) -> None:
    """List the models known by name, and those on this disk, whichever program put them there.

    The second table covers the caches of Hugging Face, LM Studio, Ollama and llama.cpp, LLM's plugin llm-gguf,
    installed Python packages that bring a model, and --in FOLDER; it leaves out adapters, projectors and importance
    matrices.
    With NAME, every known field of one model. --json and --csv give one table of all fields, with the column 'list'.

    Add models of your own in ~/.config/localent/models.toml, in the format of localent's models.toml.

    \b
    localent models
    localent models qwen2.5-1.5b-instruct
    localent models --here --in ~/Downloads --json
    """
    if name:
        refuse_unused(f"The model {name}", "folders", "only", "family", "lanes", "ctx")
        return _show_one(name, form)
    tables: list[Table] = []
    if wanted.only != "here":
        columns = ALL_KNOWN if form in ("json", "csv") else KNOWN
        tables.append(("known", columns, _known(wanted.family, columns)))
    if wanted.only != "known":
        tables.append(("here", HERE, _here(wanted)))
    _print(tables, form)


def _known(family: str | None, columns: tuple[str, ...]) -> list[Row]:
    from localent.models import entries

    places, known = _files(), entries().values()
    if family not in {None, *(families := dict.fromkeys(entry.family for entry in known))}:
        raise UsageError(f"No family {family!r} in models.toml: choose from {', '.join(families)}.")
    return [_known_row(entry, places, columns) for entry in known if family in (None, entry.family)]


def _known_row(entry: Entry, files: dict[str, Path], columns: tuple[str, ...]) -> Row:
    shown = asdict(entry) | {"kind": entry.kind, "here": _place(entry, files), "quants": " ".join(entry.quants) or None}
    shown |= {"recommended": entry.recommendation}
    words = {True: "yes", False: "no", None: None}
    shown |= {name: words[shown[name]] for name in ("gated", "thinks", "bos")}
    return tuple(shown[column] for column in columns)


def _files() -> dict[str, Path]:
    """GGUF files on this disk by lower-case name, from one search."""
    from localent.models import disk

    return {found.path.name.lower(): found.path for found in disk.discover()}


def _place(entry: Entry, files: dict[str, Path]) -> str | None:
    """The file of a known model's default quant; None: not on this disk."""
    from localent import models as known
    from localent.models import hub

    if entry.bundled:
        with suppress(LocalentError):  # a file missing from this installation must not hide the other models
            return str(known.resolve(entry.name))
        return None
    found = hub.from_cache(entry, entry.default, check=False) or files.get(entry.filename(entry.default).lower())
    return str(found) if found else None


def _here(wanted: Wanted) -> list[Row]:
    from localent.machine import hardware
    from localent.models import disk

    found, room, family = disk.discover(wanted.folders), hardware.available_memory(), wanted.family
    rows = []
    with Bar() as bar:  # a header with a large vocabulary takes up to half a second
        for i, one in enumerate(found):
            bar.show("reading headers", i, len(found), "file")
            rows.append(_here_row(one, disk.details(one, lanes=wanted.lanes, n_ctx=wanted.ctx), room))
    return [row for row in rows if family is None or family in row[0].lower() or family == row[1]]


def _here_row(found: Found, seen: Details, room: int | None) -> Row:
    fits = seen.problem or (None if room is None else "yes" if seen.needs_bytes <= room else "no")
    bits = None if seen.bits_per_weight is None else round(seen.bits_per_weight, 2)
    params = f"{seen.n_params / 1e9:.2f}B" if seen.n_params >= 1e8 else f"{seen.n_params / 1e6:.1f}M"
    size, needs = round(found.n_bytes / 1e9, 3), round(seen.needs_bytes / 1e9, 3)
    chat = "yes" if seen.has_template else "no"
    return (found.name, size, seen.quant, fits, seen.arch, params, bits, needs, chat, found.place, str(found.path))


def _show_one(name: str, form: str | None) -> None:
    from localent.models import find

    entry, _ = find(name)
    facts = {key: value for key, value in asdict(entry).items() if value not in (None, ())}
    facts |= {"recommended": entry.recommendation} if entry.recommended else {}
    facts |= {"kind": entry.kind, "here": _place(entry, _files())}
    rows = [
        (key, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)) for key, value in facts.items()
    ]
    print_table(("field", "value"), rows, form)


def _print(tables: Sequence[Table], form: str | None) -> None:
    if form in ("json", "csv"):  # one table of all columns
        columns = ("list", *dict.fromkeys(name for _, names, _ in tables for name in names))
        fields = [dict(zip(names, row, strict=True)) | {"list": label} for label, names, rows in tables for row in rows]
        return print_table(columns, [[row.get(name) for name in columns] for row in fields], form)
    for i, (label, names, rows) in enumerate(tables):
        echo("\n" * (i > 0) + {"known": "Known by name:", "here": "On this disk:"}[label])
        print_table(names, rows, form)
        if not rows:
            echo("nothing")
