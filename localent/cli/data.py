"""localent models, localent pull: what there is by name and on this disk, and fetching it."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import click

from localent.cli.query import format_options
from localent.cli.show import print_table
from localent.errors import LocalentError, UsageError

KNOWN = ("name", "size", "stage", "kind", "default", "licence", "gated", "context", "thinks", "here")
ALL_KNOWN = (*KNOWN, "family", "quants", "template", "bos", "repo", "file", "revision", "of")
HERE = ("name", "arch", "quant", "params", "bits/weight", "GB", "needs GB", "fits", "chat", "place", "path")


@click.command()
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
def models(name, folders, only, family, lanes: int, ctx: int, form: str | None) -> None:
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


@click.command()
@click.argument("name")
@click.option("--revision", help="Commit, tag or branch on the hub. Default: main.")
def pull(name: str, revision: str | None) -> None:
    """Fetch NAME: a model (NAME or NAME:QUANT of models.toml), or a data set (gsm8k, svamp, arc).

    Models go into the shared Hugging Face cache and are checked against the hub's sha256; an interrupted or damaged
    transfer leaves nothing behind. Gated models need a token: HF_TOKEN, or 'hf auth login'.

    \b
    localent pull qwen2.5-0.5b-instruct:Q8_0
    localent pull gsm8k
    """
    from localent.models import datasets, names

    if name in datasets.NAMES:
        _refuse_revision(revision, f"the data set {name} is pinned")
        for path in datasets.pull(name):
            click.echo(path)
        return
    click.echo(_pulled(*names.find(name, also=datasets.NAMES), revision))


def _refuse_revision(revision: str | None, why: str) -> None:
    if revision:
        raise UsageError(f"--revision is for models on the hub: {why}.")


def _pulled(entry, quant: str, revision: str | None) -> Path:
    from localent import models as known
    from localent.models import hub

    if entry.bundled:
        _refuse_revision(revision, f"{entry.name} comes with localent")
        return known.resolve(f"{entry.name}:{quant}")
    found = hub.pull(entry, quant, revision, status=_say)
    checked = "sha256 checked" if found.sha256 else "the hub reports no sha256"
    parts = f" in {found.n_files} parts" if found.n_files > 1 else ""
    _say(f"{found.n_bytes / 1e9:.2f} GB{parts}, {checked}, commit {found.commit}")
    return found.path


def _say(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(text, err=True)


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
    rows = [_here_row(one, disk.details(one, lanes=lanes, n_ctx=ctx), room) for one in _watched(found)]
    return [row for row in rows if family is None or family in row[0].lower() or family == row[1]]


def _here_row(found, seen, room: int | None) -> tuple:
    fits = seen.problem or (None if room is None else "yes" if seen.needs_bytes <= room else "no")
    bits = None if seen.bits_per_weight is None else round(seen.bits_per_weight, 2)
    params = f"{seen.n_params / 1e9:.2f}B" if seen.n_params >= 1e8 else f"{seen.n_params / 1e6:.1f}M"
    sizes = (round(found.n_bytes / 1e9, 3), round(seen.needs_bytes / 1e9, 3))
    chat = "yes" if seen.has_template else "no"
    return (found.name, seen.arch, seen.quant, params, bits, *sizes, fits, chat, found.place, str(found.path))


def _watched(found: list) -> object:
    """The models with a bar: a header of a large vocabulary takes up to half a second."""
    from tqdm import tqdm

    return tqdm(found, desc="reading headers", unit="file", disable=None, leave=False, delay=1.0)


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
