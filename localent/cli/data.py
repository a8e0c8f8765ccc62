"""localent models, localent pull: what there is by name, and fetching it."""

from __future__ import annotations

import click

from localent.cli.query import format_options
from localent.cli.show import print_table


@click.command()
@format_options
def models(form: str | None) -> None:
    """List the models known by name, and whether they are on this disk."""
    from localent import models as known
    from localent.errors import LocalentError

    def place(name: str) -> str:
        try:
            return str(known.resolve(name))
        except LocalentError:
            return ""

    rows = [(e.name, e.default, e.family, e.stage, e.licence, place(e.name)) for e in known.entries().values()]
    print_table(["name", "quant", "family", "stage", "licence", "on this disk"], rows, form)


@click.command()
@click.argument("model")
def pull(model: str) -> None:
    """Fetch MODEL (a name of models.toml, or NAME:QUANT) into the Hugging Face cache.

    \b
    localent pull qwen2.5-0.5b-instruct:Q8_0
    """
    from localent.models import pull as fetch

    click.echo(fetch(model))
