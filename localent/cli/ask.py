"""localent ask: one question to a model, watched while it reasons."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from localent.cli.arguments import Group, refuse_unused
from localent.cli.drawing import dumped, style
from localent.cli.options import colour_option, measure_option
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
    from localent.report.trace import Style
    from localent.runs import Settings


def _problem(question: str, answer: str, options: tuple[str, ...]) -> Problem:
    from localent.runs.ask import problem_of

    return problem_of(sys.stdin.read() if question == "-" else question, answer, options)


@click.command("ask")
@click.argument("model")
@Group(
    "problem",
    _problem,
    click.argument("question"),
    click.option("--answer", default="", help="The true answer, where you know it."),
    click.option("--option", "options", multiple=True, help="An option of a multiple-choice question; give several."),
)
@settings_options(
    seed_option(),
    temperature_option(),
    trace_options,
    prompt_options,
    effort_options(),
    gpu_layers_option,
    click.option("--probe/--no-probe", default=True, show_default=True, help="Probe the answer after every step."),
)
@Group("how", style, measure_option, colour_option)
@click.option("--json", "json_", is_flag=True, help="Print the whole trace as JSON, at the end.")
def command(model: str, problem: Problem, settings: Settings, how: Style, json_: bool) -> None:
    """Put one QUESTION to MODEL and watch: its tokens as they come, and the answer it would give after every step.

    QUESTION "-" is read from stdin. Nothing is stored.

    \b
    localent ask abacus-sft "Mia had 12 books and bought 7 more. How many books did she have then?"
    localent ask model.gguf "Which is a metal?" --option iron --option wood --answer A
    """
    from localent.runs.ask import ask
    from localent.tracing.watch import Watcher

    if json_:
        refuse_unused("--json", "measure", "color")
    screen = Screen(how, problem.answer, silent=json_)
    trace = ask(model, problem, settings, Watcher(screen.token, screen.probe))
    click.echo(trace_json(trace) if json_ else screen.end(trace, problem), color=how.colour)


class Screen:
    """Prints a trace while it is written."""

    def __init__(self, how: Style, truth: str, *, silent: bool) -> None:
        from codecs import getincrementaldecoder

        from localent.report.trace import Flow

        self.how, self.truth, self.silent, self.flow = how, truth, silent, Flow(how)
        self.decoder = getincrementaldecoder("utf-8")(errors="replace")

    def token(self, piece: bytes, measures: dict[str, float]) -> None:
        from localent.report.measures import level_of

        level = level_of(measures[self.how.measure], self.how.measure)
        self.say(self.flow.add(self.decoder.decode(piece), level))

    def probe(self, probe: Probe) -> None:
        from localent.report.trace import aside

        self.say(self.flow.line() + aside(probe, self.truth, self.how) + "\n")

    def say(self, text: str) -> None:
        if not self.silent:
            text = text if self.how.unicode else text.encode("ascii", "backslashreplace").decode()
            click.echo(text, nl=False, color=self.how.colour)

    def end(self, trace: Trace, problem: Problem) -> str:
        from localent.report.trace import closing

        return self.flow.line() + "\n" + closing(trace, problem, self.how)


def trace_json(trace: Trace) -> str:
    """A trace that is in no database, as JSON."""
    from localent.records import token_texts

    found = {"trace": asdict(trace), "texts": token_texts([token.text for token in trace.tokens])}
    return dumped(found)
