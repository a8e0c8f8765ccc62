"""A plugin for Datasette: ids of traces lead to a page that shows the trace, coloured, with its answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from datasette import Response, hookimpl
from markupsafe import Markup

from localent.errors import UsageError
from localent.report.page import trace_page
from localent.store import open_db
from localent.store.datasette import tilde

ADDRESS = r"^/-/localent/(?P<name>[^/]+)/(?P<trace_id>\d{1,18})$"


@hookimpl
def render_cell(value: Any, column: str, database: str, datasette: Any) -> Markup | None:
    """A link in the place of a trace's id."""
    if column != "trace_id" or not isinstance(value, int):
        return None
    return Markup('<a href="{}">{}</a>').format(datasette.urls.path(f"/-/localent/{tilde(database)}/{value}"), value)


@hookimpl
def register_routes() -> list[tuple[str, Any]]:
    """The address of a trace."""
    return [(ADDRESS, show)]


async def show(request: Any, datasette: Any) -> Response:
    """The page of one trace."""
    names = {tilde(name): db.path for name, db in datasette.databases.items() if db.path}
    name, trace_id = request.url_vars["name"], int(request.url_vars["trace_id"])
    if name not in names:
        return Response.text(f"No database '{name}'.", status=404)
    try:
        return Response.html(await asyncio.to_thread(page_of, Path(names[name]), trace_id))
    except UsageError as error:
        return Response.text(str(error), status=404)


def page_of(path: Path, trace_id: int) -> str:
    """The page of a trace of this file. Raises UsageError where it has none of this id."""
    with open_db(path, readonly=True) as db:
        db.known("traces", "trace_id", trace_id)
        return trace_page(db, trace_id)
