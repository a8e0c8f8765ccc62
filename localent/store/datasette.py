"""What Datasette is told: titles, units, facets, ready-made queries, and where to begin."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

from localent.store import describe
from localent.store.db import Database
from localent.store.saved_queries import QUERIES

FACETS = {
    "trace_summary": ["model", "quant", "task", "correct", "finish"],
    "step_entropy": ["model", "quant", "k", "leader_true", "correct"],
    "traces": ["run_id", "correct", "finish", "extraction_method"],
    "steps": ["kind"],
    "problems": ["task", "n_steps"],
}
SORTS = {"trace_summary": "mean_entropy", "step_entropy": None, "traces": "mean_entropy"}
LABELS = {"problems": "source_id", "models": "name"}
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
DESCRIPTION = "Every run, trace, token and answer distribution that localent has stored here. Entropies are in nats."


def metadata(db: Database, name: str | None = None) -> dict[str, object]:
    """Datasette's metadata for this file: of the database, its tables and views, their columns.

    name: of the database in Datasette; None: as Datasette takes it from the file.
    """
    name = db.path.stem if name is None else name
    tables = {one.name: table_metadata(db, one) for one in describe.relations(db)}
    queries = {query.name: {"title": query.name, "description": query.about, "sql": query.sql} for query in QUERIES}
    about, first = {"title": f"localent: {db.path.name}", "description": DESCRIPTION}, beginning(db, name)
    this = about | {"tables": tables, "queries": queries, "description_html": first}
    return about | {"databases": {name: this}, "description_html": first}


def beginning(db: Database, name: str) -> str:
    """The views and the ready-made queries as HTML, each with its meaning: Datasette shows it before all tables."""
    views = [(one.name, one.one_row) for one in describe.relations(db) if one.kind == "view"]
    queries = [(query.name, query.about) for query in QUERIES]
    lists = "".join(
        f"<h2>{head}</h2>\n{linked(name, some)}" for head, some in (("Views", views), ("Questions", queries))
    )
    return f"<p>{escape(DESCRIPTION)}</p>\n{lists}"


def linked(name: str, relations: list[tuple[str, str]]) -> str:
    """A list of links to views or queries of the database of this name: (name, meaning)."""
    rows = (
        f'<li><a href="/{tilde(name)}/{tilde(one)}">{escape(one)}</a>: {escape(about)}</li>' for one, about in relations
    )
    return f'<ul class="bullets">{"".join(rows)}</ul>\n'


def tilde(text: str) -> str:
    """A name as it stands in Datasette's addresses: "a~23b" for "a#b"."""
    return "".join(chr(c) if chr(c) in SAFE else "+" if c == 32 else f"~{c:02X}" for c in text.encode())


def linkable(path: Path, folder: Path) -> Path:
    """A path that SQLite reads in an address: the file itself, or a link in this folder where it has #, ? or %."""
    if not set(str(path)) & set("#?%"):
        return path
    link = folder / f"{re.sub('[#?%]', '-', path.stem)}.db"
    link.symlink_to(path.absolute())
    return link


def table_metadata(db: Database, one: describe.Relation) -> dict[str, object]:
    """Title, columns with their meaning, units where Datasette knows them by name, facets."""
    name = one.name
    columns = describe.columns(db, name)
    found: dict[str, object] = {"description": one.one_row, "columns": {c.column: worded(c) for c in columns}}
    found |= {"facets": FACETS[name]} if name in FACETS else {}
    found |= {"sort_desc": SORTS[name]} if SORTS.get(name) else {}
    return found | ({"label_column": LABELS[name]} if name in LABELS else {})


def worded(column: describe.Column) -> str:
    """ "nats, of the full vocabulary"."""
    return column.about or column.column


def write_metadata(db: Database, folder: Path, name: str) -> Path:
    """The metadata as a file for `datasette --metadata`. name: of the database in Datasette."""
    path = folder / "metadata.json"
    path.write_text(json.dumps(metadata(db, name), ensure_ascii=False, indent=1), encoding="utf-8")
    return path
