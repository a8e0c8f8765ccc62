"""localent pull: fetch a model or a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.options import json_option
from localent.cli.output import echo, told
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.models import Entry
    from localent.models.hub import Fetched


@click.command("pull")
@click.argument("name", shell_complete=complete.models)
@click.option("--revision", help="Commit, tag or branch on the hub. Default: main.")
@json_option
def command(name: str, revision: str | None, json_: bool) -> None:
    """Fetch NAME: a model of models.toml (NAME or NAME:QUANT), any model of the hub (OWNER/REPO:QUANT), or a data set
    (gsm8k, svamp, arc, and others of tasks.toml: 'localent tasks' lists them).

    Of OWNER/REPO, QUANT is chosen from what the repository lists, or a file of it is named; without QUANT it is the
    repository's only model, or its Q4_K_M.

    Models go into the shared Hugging Face cache and are checked against the hub's sha256; an interrupted or damaged
    transfer leaves nothing behind. Gated models need a token: HF_TOKEN, or 'hf auth login'.

    \b
    localent pull qwen2.5-0.5b-instruct:Q8_0
    localent pull bartowski/Llama-3.2-1B-Instruct-GGUF:Q6_K
    localent pull gsm8k
    """
    from localent.models import datasets

    is_data = name in datasets.names()
    if is_data:
        _refuse_revision(revision, f"{name} is a data set")
    files = [str(path) for path in (datasets.pull(name) if is_data else [_model(name, revision)])]
    told("\n".join(files), {"name": name, "files": files}, json_)
    if is_data and (note := _note(name)):
        echo(note, err=True)


def _model(name: str, revision: str | None) -> Path:
    """The file of a model, fetched."""
    from localent.models import datasets, hub, names, repos

    if wanted := repos.parse(name):
        return _told(hub.pull_repo(wanted, revision, status=_say))
    return _pulled(*names.find(name, also=datasets.names()), revision)


def _note(name: str) -> str | None:
    """The note of a task on its data."""
    from localent import tasks

    task = tasks.known().get(name)
    return task.note if task else None


def _refuse_revision(revision: str | None, why: str) -> None:
    if revision:
        raise UsageError(f"--revision is for models on the hub: {why}.")


def _pulled(entry: Entry, quant: str, revision: str | None) -> Path:
    from localent import models as known
    from localent.models import hub

    if entry.bundled:
        _refuse_revision(revision, f"{entry.name} comes with localent")
        return known.resolve(f"{entry.name}:{quant}")
    return _told(hub.pull(entry, quant, revision, status=_say))


def _told(found: Fetched) -> Path:
    """The file that came, after a line about how it was checked."""
    checked = "sha256 checked" if found.sha256 else "the hub reports no sha256"
    parts = f" in {found.n_files} parts" if found.n_files > 1 else ""
    _say(f"{found.n_bytes / 1e9:.2f} GB{parts}, {checked}, commit {found.commit}")
    return found.path


def _say(text: str) -> None:
    if sys.stderr.isatty():
        echo(text, err=True)
