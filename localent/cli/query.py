"""localent runs, sql, schema, export, serve: what is in a database, and how it gets out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

import click

from localent.cli.options import PATH, db_option
from localent.cli.show import print_table
from localent.errors import LocalentError, UsageError

SHOWN = ("run_id", "model", "quant", "task", "n_traces", "n_problems", "accuracy")
SHOWN += ("mean_entropy_right", "mean_entropy_wrong", "started")


def format_options(command):
    """--table, --csv, --json, --md: how a table is printed."""
    for form, text in (
        ("table", "Aligned columns: the default."),
        ("csv", "Comma-separated values."),
        ("json", "JSON, one object a line."),
        ("md", "Markdown."),
    ):
        command = click.option(f"--{form}", "form", flag_value=form, help=text)(command)
    return command


@click.command()
@db_option
@format_options
def runs(db: Path, form: str | None) -> None:
    """List the runs in a database.

    \b
    localent runs --db localent-demo.db
    """
    from localent.store import open_db
    from localent.store.traces import noise_floors

    with open_db(db, readonly=True) as store:
        found, floors = store.runs(), noise_floors(store)
    names = (*SHOWN, "note") if floors else SHOWN
    notes = {again: f"noise floor of {run}" for again, run in floors.items()}
    print_table(names, [[(run | {"note": notes.get(run["run_id"])})[name] for name in names] for run in found], form)


@click.command()
@click.argument("query", required=False)
@db_option
@format_options
@click.option("--queries", is_flag=True, help="List the ready-made queries.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds a query may take.")
@click.option("--limit", type=int, help="Rows to print at most.")
def sql(query: str | None, db: Path, form: str | None, queries: bool, timeout: float, limit: int | None) -> None:
    """Ask a database in SQL, read-only, also while a run is writing to it.

    QUERY is a statement, the name of a ready-made query, or "-" for stdin. The views trace_summary, step_entropy and
    run_summary are the place to start; `localent schema` explains every column.

    \b
    localent sql "select correct, avg(mean_entropy) from trace_summary group by correct"
    localent sql "select text, entropy from tokens order by entropy desc limit 20" --csv
    localent sql confident-mistakes
    """
    from localent.store import select
    from localent.store.queries import QUERIES

    if queries:
        print_table(["name", "what it finds"], [(known.name, known.about) for known in QUERIES], form, max_width=None)
        return
    print_table(*select(db, statement(query), limit=limit, timeout_s=timeout), form)


def statement(query: str | None) -> str:
    """The SQL that was asked for: itself, from stdin, or by name."""
    from localent.store.queries import QUERIES, named

    if query is None:
        raise UsageError("Give a query; 'localent sql --queries' lists ready-made ones.")
    if query == "-":
        return sys.stdin.read()
    if known := named(query):
        return known.sql
    if query.split() == [query] and query.isascii():
        close = get_close_matches(query, [known.name for known in QUERIES], n=1)
        meant = f"did you mean '{close[0]}'? " if close else ""
        raise UsageError(f"No ready-made query '{query}'; {meant}'localent sql --queries' lists them.")
    return query


@click.command()
@click.argument("relation", required=False)
@db_option
@format_options
def schema(relation: str | None, db: Path, form: str | None) -> None:
    """Explain every table and view, or the columns of one RELATION with their units ("all": of every one).

    \b
    localent schema
    localent schema tokens
    localent schema all --csv
    """
    from localent.store import describe, open_db

    with open_db(db, readonly=True) as store:
        found = describe.relations(store)
        names = [row["name"] for row in found]
        if relation not in (None, "all", *names):
            raise UsageError(f"No table or view '{relation}'; there are {', '.join(names)}.")
        columns = describe.columns(store, None if relation == "all" else relation)
    if relation is None:
        print_table(list(found[0]), [tuple(row.values()) for row in found], form, max_width=None)
        return
    header = ["relation", "column", "type", "unit", "about"]
    rows = [tuple(asdict(column).values()) for column in columns]
    start = 0 if relation == "all" else 1
    print_table(header[start:], [row[start:] for row in rows], form, max_width=None)


@click.command()
@click.argument("run")
@click.option("--to", type=click.Choice(("parquet", "csv", "jsonl")), default="csv", show_default=True)
@click.option("-o", "--output", type=PATH, help="Folder. Default: the run's id.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be given again. Default: all.")
@db_option
@click.option("--json", "json_", is_flag=True, help="What was written, as JSON.")
def export(run: str, to: str, output: Path | None, tables: tuple[str, ...], db: Path, json_: bool) -> None:
    """Write the tables of one RUN to files: traces, texts, problems, steps, tokens, alternatives, probes, answers.

    The database itself needs no export for SQLite, Datasette or DuckDB (attach 'localent.db' (type sqlite)).

    \b
    localent export 3fa9 --to parquet
    localent export 3fa9 --to csv --table tokens --table traces -o somewhere
    """
    from tqdm import tqdm

    from localent.store import open_db
    from localent.store.export import export as write

    with open_db(db, readonly=True) as store:
        run_id = store.run(run).run_id
        folder = output or Path(run_id)
        with tqdm(desc="rows", unit="row", unit_scale=True, disable=None, leave=False) as bar:
            found = write(store, run_id, folder, to, tables=tables, report=bar.update)
    rows = [(str(one.path), one.n_rows, one.path.stat().st_size) for one in found]
    print_table(["file", "rows", "bytes"], rows, "json" if json_ else None, max_width=None)


@click.command()
@click.option("--port", type=int, default=8001, show_default=True, help="Of the local address.")
@click.option("--open/--no-open", "open_", default=False, help="Open a browser.")
@click.option("--metadata", "only_metadata", is_flag=True, help="Print Datasette's metadata and stop.")
@db_option
def serve(port: int, open_: bool, only_metadata: bool, db: Path) -> None:
    """Open a database in Datasette on this machine: browse, facet, and run the ready-made queries.

    Needs Datasette: pip install "localent[serve]". Ctrl-C ends it.

    \b
    localent serve --db localent-demo.db --open
    localent serve --metadata > metadata.json
    """
    import json
    from tempfile import TemporaryDirectory

    from localent.store import open_db
    from localent.store.datasette import metadata, write_metadata

    with open_db(db, readonly=True) as store:
        if only_metadata:
            click.echo(json.dumps(metadata(store), ensure_ascii=False, indent=1))
            return
        with TemporaryDirectory(prefix="localent-") as folder:
            served(db, write_metadata(store, Path(folder)), port, open_)


def served(db: Path, metadata: Path, port: int, open_: bool) -> None:
    """Run Datasette until it is stopped; 5 s a query, on this machine's own address only."""
    import subprocess

    command = [*datasette(), "serve", str(db), "--metadata", str(metadata), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--setting", "sql_time_limit_ms", "5000", "--setting", "facet_time_limit_ms", "1000"]
    try:
        done = subprocess.run([*command, *(["--open"] if open_ else [])], check=False)
    except KeyboardInterrupt:
        return  # the way to end it
    if done.returncode:
        raise LocalentError(
            f"Datasette ended with code {done.returncode}: is port {port} taken? Choose another --port."
        )


def datasette() -> list[str]:
    """How to start Datasette: of this Python, else the one on the path."""
    import shutil
    from importlib.util import find_spec

    if find_spec("datasette"):
        return [sys.executable, "-m", "datasette"]
    if found := shutil.which("datasette"):
        return [found]
    raise LocalentError("This needs Datasette: pip install 'localent[serve]', or 'pipx install datasette'.")
