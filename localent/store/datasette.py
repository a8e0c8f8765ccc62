"""Metadata for Datasette: titles, units, facets, ready-made queries."""

from __future__ import annotations

import json
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
DESCRIPTION = "Every run, trace, token and answer distribution that localent has stored here. Entropies are in nats."


def metadata(db: Database) -> dict[str, object]:
    """Datasette's metadata for this file: of the database, its tables and views, their columns."""
    tables = {one.name: table_metadata(db, one) for one in describe.relations(db)}
    queries = {query.name: {"title": query.name, "description": query.about, "sql": query.sql} for query in QUERIES}
    about = {"title": f"localent: {db.path.name}", "description": DESCRIPTION}
    return about | {"databases": {db.path.stem: about | {"tables": tables, "queries": queries}}}


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


def write_metadata(db: Database, folder: Path) -> Path:
    """The metadata as a file for `datasette --metadata`."""
    path = folder / "metadata.json"
    path.write_text(json.dumps(metadata(db), ensure_ascii=False, indent=1), encoding="utf-8")
    return path
