"""localent models: the models known by name, and those on this disk."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from localent.cli.options import format_options
from localent.cli.output import print_table
from localent.cli.progress import Bar
from localent.errors import LocalentError, UsageError

KNOWN = ("name", "size", "stage", "kind", "default", "licence", "gated", "context", "thinks", "here")
ALL_KNOWN = (*KNOWN, "family", "quants", "template", "bos", "repo", "file", "revision", "of")
HERE = ("name", "arch", "quant", "params", "bits/weight", "GB", "needs GB", "fits", "chat", "place", "path")


@click.command("models")
@click.argument("name", required=False)
@click.option("--in", "folders", multiple=True, type=click.Path(path_type=Path), help="Also look in this folder.")
@click.option("--known", "only", flag_value="known", help="Only what models.toml knows.")
@click.option("--here", "only", flag_value="here", help="Only what is on this disk.")
@click.option("--family", help="Only this family.")
@click.option(
    "--lanes", type=click.IntRange(1), default=4, show_default=True, help="Does it fit with so many lanes ..."
)
@click.option("--ctx", type=click.IntRange(1), default=2048, show_default=True, help="of so many tokens?")
@format_options
def command(name, folders, only, family, lanes: int, ctx: int, form: str | None) -> None:
    """List the models known by name, and those on this disk, whichever program put them there.

    The second table looks into the caches of Hugging Face, LM Studio, Ollama and llama.cpp, and into --in FOLDER.
    With NAME: all that is known of one. --json and --csv give one table of every field; 'list' tells which.

    Names of your own go into ~/.config/localent/models.toml, in the form of localent's models.toml.

    \b
    localent models
    localent models qwen2.5-1.5b-instruct
    localent models --here --in ~/Downloads --json
    """
    if name:
        return _show_one(name, form)
    tables = []
    if only != "here":
        columns = ALL_KNOWN if form in ("json", "csv") else KNOWN
        tables.append(("known", columns, _known(family, columns)))
    if only != "known":
        tables.append(("here", HERE, _here(folders, family, lanes, ctx)))
    _print(tables, form)


def _known(family: str | None, columns: tuple[str, ...]) -> list[tuple]:
    from localent.models import entries

    places, known = _files(), entries().values()
    if family not in {None, *(families := dict.fromkeys(entry.family for entry in known))}:
        raise UsageError(f"No family {family!r} in models.toml: there are {', '.join(families)}.")
    return [_known_row(entry, places, columns) for entry in known if family in (None, entry.family)]


def _known_row(entry, files: dict[str, Path], columns: tuple[str, ...]) -> tuple:
    shown = asdict(entry) | {"kind": entry.kind, "here": _place(entry, files), "quants": " ".join(entry.quants) or None}
    words = {True: "yes", False: "no", None: None}
    shown |= {name: words[shown[name]] for name in ("gated", "thinks", "bos")}
    return tuple(shown[column] for column in columns)


def _files() -> dict[str, Path]:
    """GGUF files on this disk by lower-case name, from one look around."""
    from localent.models import disk

    return {found.path.name.lower(): found.path for found in disk.discover()}


def _place(entry, files: dict[str, Path]) -> str | None:
    """Where the default quant of a known model is; None: not on this disk."""
    from localent import models as known
    from localent.models import hub

    if entry.bundled:
        with suppress(LocalentError):  # missing from this installation: no reason not to list the others
            return str(known.resolve(entry.name))
        return None
    found = hub.from_cache(entry, entry.default, check=False) or files.get(entry.filename(entry.default).lower())
    return found and str(found)


def _here(folders: tuple[Path, ...], family: str | None, lanes: int, ctx: int) -> list[tuple]:
    from localent.machine import hardware
    from localent.models import disk

    found, room = disk.discover(folders), hardware.available_memory()
    rows = []
    with Bar() as bar:  # a header with a large vocabulary takes up to half a second
        for i, one in enumerate(found):
            bar.show("reading headers", i, len(found), "file")
            rows.append(_here_row(one, disk.details(one, lanes=lanes, n_ctx=ctx), room))
    return [row for row in rows if family is None or family in row[0].lower() or family == row[1]]


def _here_row(found, seen, room: int | None) -> tuple:
    fits = seen.problem or (None if room is None else "yes" if seen.needs_bytes <= room else "no")
    bits = None if seen.bits_per_weight is None else round(seen.bits_per_weight, 2)
    params = f"{seen.n_params / 1e9:.2f}B" if seen.n_params >= 1e8 else f"{seen.n_params / 1e6:.1f}M"
    sizes = (round(found.n_bytes / 1e9, 3), round(seen.needs_bytes / 1e9, 3))
    chat = "yes" if seen.has_template else "no"
    return (found.name, seen.arch, seen.quant, params, bits, *sizes, fits, chat, found.place, str(found.path))


def _show_one(name: str, form: str | None) -> None:
    from localent.models import find

    entry, _ = find(name)
    facts = {key: value for key, value in asdict(entry).items() if value not in (None, ())}
    facts |= {"kind": entry.kind, "here": _place(entry, _files())}
    rows = [
        (key, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)) for key, value in facts.items()
    ]
    print_table(("field", "value"), rows, form)


def _print(tables: list[tuple], form: str | None) -> None:
    if form in ("json", "csv"):  # one table of all columns
        columns = ("list", *dict.fromkeys(name for _, names, _ in tables for name in names))
        rows = [dict(zip(names, row, strict=True)) | {"list": label} for label, names, found in tables for row in found]
        return print_table(columns, [[row.get(name) for name in columns] for row in rows], form)
    for i, (label, names, rows) in enumerate(tables):
        click.echo("\n" * (i > 0) + {"known": "Known by name:", "here": "On this disk:"}[label])
        print_table(names, rows, form)
        if not rows:
            click.echo("nothing")
