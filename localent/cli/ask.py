"""localent ask: one question to a model, watched while it reasons."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from localent.cli.drawing import dumped, style
from localent.cli.options import colour_option, gpu_layers_option, measure_option, prompt_options


@click.command("ask")
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
def command(model, question, answer, options, measure, color, json_, **chosen_):
    """Put one QUESTION to MODEL and watch: its tokens as they come, what it would answer after every step.

    QUESTION "-" is read from stdin. Nothing is stored.

    \b
    localent ask abacus-sft "Mia had 12 books and bought 7 more. How many books did she have then?"
    localent ask model.gguf "Which is a metal?" --option iron --option wood --answer A
    """
    from localent.runs import Settings
    from localent.runs import ask as asking
    from localent.tracing.watch import Watcher

    question = sys.stdin.read() if question == "-" else question
    problem = asking.problem_of(question, answer, options)
    how = style(measure, color)
    screen = Screen(how, problem.answer, silent=json_)
    trace = asking.ask(model, problem, Settings(**chosen_), Watcher(screen.token, screen.probe))
    click.echo(trace_json(trace) if json_ else screen.end(trace, problem), color=how.colour)


class Screen:
    """Prints a trace while it is written."""

    def __init__(self, how, truth: str, *, silent: bool) -> None:
        from codecs import getincrementaldecoder

        from localent.report.trace import Flow

        self.how, self.truth, self.silent, self.flow = how, truth, silent, Flow(how)
        self.decoder = getincrementaldecoder("utf-8")(errors="replace")

    def token(self, piece: bytes, measures: dict[str, float]) -> None:
        from localent.report.measures import level_of

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
    from localent.records import token_texts

    found = {"trace": asdict(trace), "texts": token_texts([token.text for token in trace.tokens])}
    return dumped(found)
