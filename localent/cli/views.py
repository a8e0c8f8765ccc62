"""localent show, ask, report, plot: results to look at."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import asdict
from math import isinf
from pathlib import Path

import click

from localent.cli.options import PATH, db_option, gpu_layers_option, prompt_options
from localent.cli.show import print_table
from localent.errors import LocalentError, UsageError

MEASURES = ("entropy", "surprisal", "varentropy", "rank")
FIGURES = ("curves", "gain", "auroc", "risk", "quant", "signals")
LACKS = {"quant": "it takes two runs or more", "risk": "it takes right and wrong traces", "signals": "too few traces"}
N_LISTED = 12
measure_option = click.option(
    "--measure", type=click.Choice(MEASURES), default="entropy", show_default=True, help="What the colours show."
)
colour_option = click.option("--color/--no-color", default=None, help="Default: colour where a terminal shows it.")


@click.command()
@click.argument("trace", required=False)
@db_option
@measure_option
@colour_option
@click.option("--json", "json_", is_flag=True, help="The whole trace as JSON.")
def show(trace: str | None, db: Path, measure: str, color: bool | None, json_: bool) -> None:
    """Show one TRACE: its text coloured by entropy, and what it would have answered after each step.

    TRACE is a trace_id, its first digits, or a ready-made query that finds traces: the first of them. Without it: a
    list of traces to choose from.

    \b
    localent show confident-mistakes
    localent show 1234 --measure surprisal > trace.txt
    """
    from localent.store import open_db, traces

    with open_db(db, readonly=True) as store:
        if trace is None:
            columns, rows = traces.listing(store, N_LISTED)
            print_table(columns, rows, "json" if json_ else None)
            return
        seen = traces.seen(store, traces.find_trace(store, first_of(db, trace)))
    click.echo(as_json(seen) if json_ else view(seen, measure, color), color=color_wanted(color))


def first_of(db: Path, trace: str) -> str:
    """The first trace that a ready-made query of this name finds; else what was given."""
    from localent.store import select
    from localent.store.queries import named

    if not (query := named(trace)):
        return trace
    columns, rows = select(db, query.sql, limit=1)
    if "trace_id" not in columns:
        raise UsageError(f"'{trace}' finds no single traces; 'localent sql {trace} --db {db}' shows what it finds.")
    if not (found := dict(zip(columns, next(rows, ()), strict=False))):
        raise UsageError(f"'{trace}' finds nothing in {db}.")
    return str(found["trace_id"])


def view(seen, measure: str, color: bool | None) -> str:
    """A trace as text for this terminal."""
    from localent.report.trace import render_trace

    origin = f"{seen.model} ({seen.quant}) on {seen.task}, run {seen.run_id}"
    which = f"trace {seen.trace_id}: problem {seen.problem.source_id}, sample {seen.trace.sample}"
    return render_trace(seen.trace, seen.texts, seen.problem, [origin, which], style(measure, color)).rstrip("\n")


def style(measure: str, color: bool | None):
    """How to draw on this stdout."""
    from localent.report.chart import can_draw
    from localent.report.trace import Style

    width = min(shutil.get_terminal_size((80, 24)).columns, 100) if sys.stdout.isatty() else 80
    return Style(measure, color_wanted(color), can_draw(sys.stdout.encoding), max(width, 40))


def color_wanted(color: bool | None) -> bool:
    """As asked for; else where a terminal shows it and NO_COLOR is not set."""
    return color if color is not None else sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def as_json(seen) -> str:
    """The trace, its problem and its origin as one object."""
    return dumped(asdict(seen))


def dumped(found: dict) -> str:
    """JSON of a trace as a dict, with the text that each token completes in "texts"."""
    from localent.report.table import json_text

    for token, text in zip(found["trace"]["tokens"], found.pop("texts"), strict=True):
        token["text"] = text
        for name in ("self_certainty", "margin"):
            token[name] = str(token[name]) if isinf(token[name]) else token[name]  # JSON has no infinity
    return json_text(found)


@click.command()
@click.argument("run", nargs=-1)
@click.option("-o", "--output", type=PATH, default="report.html", show_default=True, help="The HTML file.")
@click.option("--title", help="Default: models and tasks.")
@db_option
def report(run: tuple[str, ...], output: Path, title: str | None, db: Path) -> None:
    """Write one self-contained HTML page of RUNs (default: all): findings, figures, and every trace to browse.

    The file needs no network: send it, keep it, open it on a phone.

    \b
    localent report
    localent report 3fa9 81c0 -o quants.html --db quants.db
    """
    from tqdm import tqdm

    from localent.report.page import write_page
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        runs = chosen(store, run)
        with tqdm(desc="traces", unit="trace", disable=None, leave=False) as bar:
            n_bytes = write_page(store, runs, output, title=title, report=bar.update)
    click.echo(f"{output}: {n_bytes / 1e6:.1f} MB, {len(runs)} {'run' if len(runs) == 1 else 'runs'}.")


@click.command()
@click.argument("run", nargs=-1)
@click.option("--kind", type=click.Choice(FIGURES), default="curves", show_default=True, help="Which figure.")
@click.option("-o", "--output", type=PATH, default="figure.svg", show_default=True, help="SVG, PNG or PDF.")
@db_option
def plot(run: tuple[str, ...], kind: str, output: Path, db: Path) -> None:
    """Draw a figure of RUNs (default: all) for paper: curves, gain, auroc, risk, quant, or signals.

    Needs matplotlib: pip install "localent[plot]".

    \b
    localent plot --kind curves -o curves.pdf
    localent plot 3fa9 81c0 --kind quant -o quant.svg --db quants.db
    """
    from localent.report.figures import imported, save_figure
    from localent.report.panels import facts, panels
    from localent.report.table import cell_text
    from localent.store import open_db

    imported()
    with open_db(db, readonly=True) as store:
        found = panels(kind, facts(store, chosen(store, run)), store)
    if not found:
        raise LocalentError(f"These runs have no data for '{kind}': {LACKS.get(kind, 'nothing was probed')}.")
    save_figure(found, output)
    click.echo(f"{output}: {', '.join(cell_text(panel.title) for panel in found)}.")


def chosen(store, given: tuple[str, ...]) -> tuple[str, ...]:
    """The runs that were named; where none was, all but the noise floors of comparisons, which repeat another."""
    from localent.store.traces import noise_floors

    floors = noise_floors(store)
    runs = given or tuple(row["run_id"] for row in store.runs() if row["run_id"] not in floors)
    if not runs:
        raise UsageError(f"{store.path} has no run; 'localent run MODEL TASK --db {store.path}' makes one.")
    return runs


@click.command()
@click.argument("model")
@click.argument("question")
@click.option("--answer", default="", help="The true answer, where you know it.")
@click.option("--option", "options", multiple=True, help="An option of a multiple-choice question; give several.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampling.")
@click.option("--temperature", type=float, default=0.7, show_default=True, help="0: always the likeliest token.")
@click.option("--max-tokens", type=int, help="Tokens it may think. Default: 512, less for models of short context.")
@click.option("--shots", type=int, help="Worked examples in the prompt. Default: as 'localent run'.")
@prompt_options
@gpu_layers_option
@click.option("--probe/--no-probe", default=True, show_default=True, help="Ask for the answer after every step.")
@measure_option
@colour_option
@click.option("--json", "json_", is_flag=True, help="The whole trace as JSON, at the end.")
def ask(model, question, answer, options, measure, color, json_, **chosen_):
    """Put one QUESTION to MODEL and watch: its tokens as they come, what it would answer after every step.

    QUESTION "-" is read from stdin. Nothing is stored.

    \b
    localent ask abacus-sft "Mia had 12 books and bought 7 more. How many books did she have then?"
    localent ask model.gguf "Which is a metal?" --option iron --option wood --answer A
    """
    from localent import runs
    from localent.runs import ask as asking

    question = sys.stdin.read() if question == "-" else question
    problem = asking.problem_of(question, answer, options)
    asking.check(problem, len(options))
    how = style(measure, color)
    screen = Screen(how, problem.answer, silent=json_)
    trace = asking.ask(model, problem, runs.Settings(**chosen_), asking.Watcher(screen.token, screen.probe))
    click.echo(trace_json(trace) if json_ else screen.end(trace, problem), color=how.colour)


class Screen:
    """Prints a trace while it is written."""

    def __init__(self, how, truth: str, *, silent: bool) -> None:
        from codecs import getincrementaldecoder

        from localent.report.trace import Flow

        self.how, self.truth, self.silent, self.flow = how, truth, silent, Flow(how)
        self.decoder = getincrementaldecoder("utf-8")(errors="replace")

    def token(self, piece: bytes, measures: dict[str, float]) -> None:
        from localent.report.trace import level_of

        level = level_of(measures[self.how.measure], self.how.measure)
        self.say(self.flow.add(self.decoder.decode(piece), level))

    def probe(self, probe) -> None:
        from localent.report.trace import aside

        self.say(self.flow.line() + aside(probe, self.truth, self.how) + "\n")

    def say(self, text: str) -> None:
        if not self.silent:
            text = text if self.how.unicode else text.encode("ascii", "backslashreplace").decode()
            click.echo(text, nl=False, color=self.how.colour)

    def end(self, trace, problem) -> str:
        from localent.report.trace import closing

        return self.flow.line() + "\n" + closing(trace, problem, self.how)


def trace_json(trace) -> str:
    """A trace that stands in no database."""
    from localent.store.rows import completed_texts

    found = {"trace": asdict(trace), "texts": completed_texts([token.text for token in trace.tokens])}
    return dumped(found)
