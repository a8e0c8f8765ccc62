"""localent ask: one question to a model, watched while it reasons."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.drawing import draw, dumped, image_option, style
from localent.cli.options import DEFAULT_DB, PATH, colour_option, measure_option
from localent.cli.progress import Bar
from localent.cli.settings import (
    effort_options,
    gpu_layers_option,
    prompt_options,
    seed_option,
    settings_options,
    temperature_option,
    trace_options,
)

if TYPE_CHECKING:
    from localent.records import Probe, Problem, Trace
    from localent.report.calibration import Belief
    from localent.report.trace import Style
    from localent.runs import Settings
    from localent.tracing.watch import Watcher


def _problem(question: str, answer: str, options: tuple[str, ...]) -> Problem:
    from localent.runs.ask import problem_of

    return problem_of(sys.stdin.read() if question == "-" else question, answer, options)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The stored run whose calibration tells how likely an answer is right, and its database."""

    run: str | None
    db: Path


NO_ANSWERS = (
    "The answers by step are not known: the answer is neither a number nor one of given options. Give these with"
    " --option, or --answer yes; 'localent run --kind text --rollouts 16' samples answers in words."
)


@dataclass(frozen=True, slots=True)
class Output:
    """What is made of the trace beside what is watched."""

    image: Path | None
    json_: bool


SETTINGS = settings_options(
    seed_option(),
    temperature_option(),
    trace_options,
    prompt_options,
    effort_options(),
    gpu_layers_option,
    click.option("--probe/--no-probe", default=True, show_default=True, help="Probe the answer after every step."),
)


@click.command("ask")
@click.argument("model", shell_complete=complete.models)
@Group(
    "problem",
    _problem,
    click.argument("question"),
    click.option("--answer", default="", help="The true answer, where you know it."),
    click.option("--option", "options", multiple=True, help="An option of a multiple-choice question; give several."),
)
@SETTINGS
@Group(
    "stored",
    Calibrated,
    click.option(
        "--calibrated",
        "run",
        metavar="RUN",
        help="Say how likely the answer is right, by the calibration of this stored run; ask as it did.",
    ),
    click.option(
        "--db", default=DEFAULT_DB, show_default=True, type=PATH, help="With --calibrated: the run's SQLite file."
    ),
)
@Group("how", style, measure_option, colour_option)
@Group(
    "output",
    Output,
    image_option,
    click.option("--json", "json_", is_flag=True, help="Print the whole trace as JSON, at the end."),
)
def command(model: str, problem: Problem, settings: Settings, stored: Calibrated, how: Style, output: Output) -> None:
    """Put one QUESTION to MODEL and watch: its tokens as they come, and the answer it would give after every step.

    Any question will do. Answers by step are known where the answer is a number, yes or no (--answer yes), or one of
    the options. QUESTION "-" is read from stdin. Nothing is stored. With --calibrated, settings are those of the run,
    see 'localent calibrate'; a question of another kind than the run's is refused.

    \b
    localent ask abacus-sft "Mia had 12 books and bought 7 more. How many books did she have then?"
    localent ask model.gguf "Why is the sky blue?" --image sky.svg
    localent ask model.gguf "Which is a metal?" --option iron --option wood --answer A
    localent ask model.gguf "Which is a metal?" --option iron --option wood --calibrated 3f2a
    """
    from localent.runs.ask import ask
    from localent.tracing.watch import Watcher

    if output.json_:
        refuse_unused("--json", *(("color",) if output.image else ("measure", "color")))
    screen = Screen(how, problem.answer, silent=output.json_)
    watcher = Watcher(screen.token, screen.probe, screen.bar.say)
    if stored.run is None:
        refuse_unused("A question without --calibrated", "db")
        trace, belief = ask(model, problem, settings, watcher), None
    else:
        refuse_unused("--calibrated", *SETTINGS.fields)
        trace, belief = _calibrated(model, problem, stored, watcher)
    click.echo(trace_json(trace, belief) if output.json_ else screen.end(trace, problem), color=how.colour)
    if belief and not output.json_:
        click.echo("\n".join(textwrap.wrap(belief.sentence, how.width)))
    if not trace.probes and settings.probe and not output.json_:
        click.echo("\n".join(textwrap.wrap(NO_ANSWERS, how.width)))
    if output.image:
        draw(output.image, trace, problem, Path(model).name, how.measure)


def _calibrated(model: str, problem: Problem, stored: Calibrated, watcher: Watcher) -> tuple[Trace, Belief]:
    """The trace of a question asked as a stored run asked, and how likely its answer is right."""
    from localent.analysis import load
    from localent.analysis.calibration import value_of
    from localent.report.calibration import belief
    from localent.runs.ask import Like, ask_like
    from localent.store import open_db

    assert stored.run is not None
    with open_db(stored.db, readonly=True) as store:
        found, like = load.calibration(store, stored.run), Like.of(store, stored.run)
    with TemporaryDirectory() as folder, open_db(Path(folder) / "asked.db") as kept:
        asked_id, trace = ask_like(model, problem, like, watcher, kept)
        value = value_of(load.run(kept, asked_id), found.signal)
    return trace, belief(found, value, trace, like.run.task)


class Screen:
    """Prints a trace while it is written."""

    def __init__(self, how: Style, truth: str, *, silent: bool) -> None:
        from codecs import getincrementaldecoder

        from localent.report.trace import Flow

        self.how, self.truth, self.silent, self.flow = how, truth, silent, Flow(how)
        self.bar = Bar()  # until the first text
        self.decoder = getincrementaldecoder("utf-8")(errors="replace")

    def token(self, piece: bytes, measures: dict[str, float]) -> None:
        from localent.report.measures import level_of

        level = level_of(measures[self.how.measure], self.how.measure)
        self.say(self.flow.add(self.decoder.decode(piece), level))

    def probe(self, probe: Probe) -> None:
        from localent.report.trace import aside

        self.say(self.flow.line() + aside(probe, self.truth, self.how) + "\n")

    def say(self, text: str) -> None:
        self.bar.close()
        if not self.silent:
            text = text if self.how.unicode else text.encode("ascii", "backslashreplace").decode()
            click.echo(text, nl=False, color=self.how.colour)

    def end(self, trace: Trace, problem: Problem) -> str:
        from localent.records import token_texts
        from localent.report.trace import closing, unprobed

        if trace.probes or problem.answer:
            return self.flow.line() + "\n" + closing(trace, problem, self.how)
        texts = token_texts([token.text for token in trace.tokens])
        return self.flow.line() + "\n" + unprobed(trace, texts, self.how)


def trace_json(trace: Trace, belief: Belief | None = None) -> str:
    """A trace that is in no database, as JSON."""
    from localent.records import token_texts

    found = {"trace": asdict(trace), "texts": token_texts([token.text for token in trace.tokens])}
    found |= {"calibrated": asdict(belief)} if belief else {}
    return dumped(found)
