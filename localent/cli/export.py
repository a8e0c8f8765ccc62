"""localent export: the tables of a run as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import PATH, db_option
from localent.cli.output import print_table, say
from localent.cli.progress import Bar
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.store.export import Written

FORMATS = ("parquet", "csv", "jsonl", "inspect")  # those of store.export, which help must not wait for


@dataclass(frozen=True, slots=True)
class Source:
    """The database to read, or a scrubbed copy of it."""

    db: Path
    all_: bool
    public: bool

    @contextmanager
    def path(self) -> Iterator[Path]:
        """Context: the database itself; for the public, a copy without places that is removed afterwards."""
        from localent.store.scrub import scrub

        if not self.public:
            yield self.db
            return
        with TemporaryDirectory(prefix="localent-") as folder:
            copy = Path(folder) / self.db.name
            scrub(self.db, copy)
            yield copy


@click.command("export")
@click.argument("run", required=False, shell_complete=complete.runs)
@click.option("--to", type=click.Choice(FORMATS), default="csv", show_default=True, help="Format.")
@click.option("-o", "--output", type=PATH, help="Folder. Default: the run's id; with --all the database's name.")
@click.option("--table", "tables", multiple=True, help="Only this table; may be repeated. Default: all.")
@Group(
    "source",
    Source,
    db_option,
    click.option("--all", "all_", is_flag=True, help="All runs, to Parquet files by table and run, with a manifest."),
    click.option("--public", is_flag=True, help="Without folders and names of machines, as 'localent scrub' does."),
)
@click.option("--json", "json_", is_flag=True, help="List the files as JSON.")
def command(
    run: str | None, to: str, output: Path | None, tables: tuple[str, ...], source: Source, json_: bool
) -> None:
    """Write the tables of one RUN to files: traces, texts, problems, steps, tokens, alternatives, probes, answers.

    SQLite, Datasette and DuckDB need no export: they read the database (attach 'localent.db' (type sqlite) in DuckDB).
    Parquet is read by pandas, polars and DuckDB. "inspect" writes one log of the whole run, which 'inspect view' opens.

    \b
    localent export 3fa9 --to parquet
    localent export 3fa9 --to inspect -o logs
    localent export 3fa9 --to csv --table tokens --table traces -o somewhere
    localent export --all --to parquet -o lake
    """
    from localent.store import open_db
    from localent.store.export import export, export_all
    from localent.store.inspect_log import part_of_name

    if source.all_:
        refuse_unused("--all", "run", "tables")
    if source.all_ and to != "parquet":
        raise UsageError("All runs are written as Parquet only: add --to parquet, or name one run.")
    if run is None and not source.all_:
        raise UsageError("Name a run ('localent runs' lists them), or write all of them with --all --to parquet.")
    with source.path() as db, open_db(db, readonly=True) as store, Bar("rows", "row", scale=True) as bar:
        if run is None:
            found = export_all(store, output or Path(f"{source.db.stem}-parquet"), bar.add)
        else:
            run_id = store.run(run).run_id
            found = export(store, run_id, output or Path(part_of_name(run_id)), to, tables=tables, report=bar.add)
    rows = [(str(one.path), one.n_rows, one.path.stat().st_size) for one in found]
    print_table(["file", "rows", "bytes"], rows, "json" if json_ else None, max_width=None)
    if sum(one.n_formulas for one in found):
        say([formulas(found)], "json" if json_ else None)


def formulas(found: Sequence[Written]) -> str:
    """A sentence on the texts that a spreadsheet would compute."""
    where = ", ".join(f"{one.n_formulas:,} in {one.path.name}" for one in found if one.n_formulas)
    return (
        f"Texts that begin with =, +, - or @, and that a spreadsheet would compute: {where}. They are written as they"
        " are: import these columns as text, or use --to parquet."
    )
