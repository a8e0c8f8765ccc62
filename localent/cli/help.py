"""localent help: the commands, or the help of one of them."""

from __future__ import annotations

import click

from localent.cli import complete
from localent.cli.options import json_option
from localent.cli.output import told
from localent.errors import UsageError


@click.command("help")
@click.argument("name", metavar="[COMMAND]", required=False, shell_complete=complete.commands)
@json_option
@click.pass_context
def command(context: click.Context, name: str | None, json_: bool) -> None:
    """List the commands, or explain one COMMAND, as its --help does.

    \b
    localent help
    localent help ask
    """
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    if name is None:
        told(root.get_help(), {"commands": {one.name: one.short_help for one in root.command.commands.values()}}, json_)
        return
    found = root.command.get_command(root, name)
    if found is None:
        raise UsageError(f"No command '{name}': 'localent help' lists them.")
    its_own = click.Context(found, info_name=name, parent=root)
    told(found.get_help(its_own), its_own.to_info_dict()["command"] if json_ else {}, json_)
