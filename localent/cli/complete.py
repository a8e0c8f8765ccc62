"""What TAB offers in a shell: models, tasks, runs and traces by name. Nothing where the names cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from localent.cli.options import DEFAULT_DB
from localent.errors import LocalentError, UsageError

Items = list[CompletionItem]
MOST = 200  # rows of a database
RUNS = "select run_id, model || ' ' || quant || ' on ' || task from run_summary"
TRACES = "select trace_id, model || ' on ' || task || ', ' || source_id from trace_summary"


def models(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """Files, and the names of models.toml."""
    from localent.models import entries

    files = [CompletionItem(begun, type="file")]  # first: bash forgets what came before it
    with suppress(LocalentError, UsageError):
        return files + _beginning(begun, ((entry.name, entry.size or "") for entry in entries().values()))
    return files


def tasks(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """The bundled tasks, and those of tasks.toml."""
    from localent.tasks import BUNDLED, known

    with suppress(LocalentError, UsageError):
        return _beginning(
            begun, [(name, "bundled") for name in BUNDLED] + [(t.name, t.about) for t in known().values()]
        )
    return []


def runs(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """The runs of the database of --db."""
    return _beginning(begun, _rows(ctx, RUNS))


def traces(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """Ready-made queries that find traces, and the first traces of the database of --db."""
    return _queries(begun, of_traces=True) + _beginning(begun, _rows(ctx, f"{TRACES} limit {MOST}"))


def queries(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """Ready-made queries."""
    return _queries(begun, of_traces=False)


def commands(ctx: click.Context, param: click.Parameter, begun: str) -> Items:
    """The commands."""
    group = ctx.find_root().command
    found = group.commands if isinstance(group, click.Group) else {}
    return _beginning(begun, ((name, command.short_help or "") for name, command in found.items()))


def _queries(begun: str, *, of_traces: bool) -> Items:
    from localent.store.saved_queries import QUERIES

    kept = [query for query in QUERIES if "trace_id" in query.sql.partition(" from ")[0] or not of_traces]
    return _beginning(begun, ((query.name, query.about) for query in kept))


def _rows(ctx: click.Context, sql: str) -> list[tuple[str, str]]:
    from localent.store import select

    with suppress(LocalentError, UsageError, OSError):
        _, rows = select(ctx.params.get("db") or DEFAULT_DB, sql, timeout_s=1.0)
        return [(str(name), str(about)) for name, about in rows]
    return []


def _beginning(begun: str, names: Iterable[tuple[str, str]]) -> Items:
    """Those that begin like what was typed, each with a line about it, which zsh and fish show."""
    return [CompletionItem(name, help=about) for name, about in names if name.startswith(begun)]
