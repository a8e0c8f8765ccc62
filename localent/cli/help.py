"""localent help: the commands, or the help of one of them."""

from __future__ import annotations

import click

from localent.cli import complete
from localent.errors import UsageError


@click.command("help")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=complete.commands)
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """List the commands, or explain one COMMAND, as its --help does.

    \b
    localent help
    localent help ask
    """
    root = context.find_root()
    if name is None:
        click.echo(root.get_help())
        return
    assert isinstance(root.command, click.Group)
    found = root.command.get_command(root, name)
    if found is None:
        raise UsageError(f"No command '{name}': 'localent help' lists them.")
    click.echo(found.get_help(click.Context(found, info_name=name, parent=root)))
