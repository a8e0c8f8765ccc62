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
from localent.cli.group import note_databases
from localent.cli.options import DEFAULT_DB, PATH, colour_option, measure_option, minutes_option, samples_option
from localent.cli.output import echo, print_table, say
from localent.cli.progress import Bar
from localent.cli.settings import (
    cache_options,
    effort_options,
    gpu_layers_option,
    lora_option,
    prompt_options,
    seed_option,
    settings_options,
    temperature_option,
    threads_option,
    trace_options,
)
from localent.cli.stopping import OPTIONS, Stopping

if TYPE_CHECKING:
    from localent.analysis.acting import Promise
    from localent.records import Probe, Problem, Trace
    from localent.report.calibration import Belief
    from localent.report.trace import Style
    from localent.runs import Settings
    from localent.runs.clock import Time
    from localent.tracing.watch import Watcher


def _problem(question: str, answer: str, options: tuple[str, ...]) -> Problem:
    from localent.runs.ask import problem_of

    return problem_of(sys.stdin.read() if question == "-" else question, answer, options)


@dataclass(frozen=True, slots=True)
class Stored(Stopping):
    """Stored runs to lean on: one whose calibration tells how likely an answer is right, one for a rule that stops.

    Samples beyond one vote, in a way that may be chosen on a stored run, too.
    """

    calibrated: str | None
    samples: int
    vote: str
    vote_from: str | None
    time: Time


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
    threads_option,
    gpu_layers_option,
    cache_options,
    click.option("--probe/--no-probe", default=True, show_default=True, help="Probe the answer after every step."),
)


@click.command("ask")
@click.argument("model", shell_complete=complete.models)
@lora_option
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
    Stored,
    minutes_option("The thought is closed after the next step and the leading answer given; no sample is begun then."),
    samples_option(text="Ask so often, side by side, and let the answers vote."),
    click.option(
        "--vote",
        default="majority_vote",
        show_default=True,
        metavar="POLICY",
        help="With --samples: how they vote: majority_vote, best_of_n:SIGNAL, weighted_vote:SIGNAL, deepconf; as in"
        " 'localent replay RUN --policy vote'.",
    ),
    click.option(
        "--vote-from",
        metavar="RUN",
        shell_complete=complete.runs,
        help="With --samples: take the vote's setting and scale from this stored run, and tell how often it is right.",
    ),
    *OPTIONS,
    click.option(
        "--calibrated",
        metavar="RUN",
        shell_complete=complete.runs,
        help="Say how likely the answer is right, by the calibration of this stored run; ask as it did.",
    ),
    click.option(
        "--db",
        default=DEFAULT_DB,
        show_default=True,
        type=PATH,
        callback=note_databases,
        help="The SQLite file of the stored run.",
    ),
)
@Group("how", style, measure_option, colour_option)
@Group(
    "output",
    Output,
    image_option,
    click.option("--json", "json_", is_flag=True, help="Print the whole trace as JSON, at the end."),
)
def command(model: str, problem: Problem, settings: Settings, stored: Stored, how: Style, output: Output) -> None:
    """Put one QUESTION to MODEL and watch: its tokens as they come, and the answer it would give after every step.

    Any question will do. Answers by step are known where the answer is a number, yes or no (--answer yes), or one of
    the options. QUESTION "-" is read from stdin. Nothing is stored. With --stop, a rule ends the thought early; with
    --samples, the answers vote, and it is told how certain that is. With --calibrated, settings are those of the run,
    see 'localent calibrate'; a question of another kind than the run's is refused.

    \b
    localent ask abacus-sft "Mia had 12 books and bought 7. How many has she now?"
    localent ask model.gguf "Why is the sky blue?" --image sky.svg
    localent ask model.gguf "Metal?" --option iron --option wood --answer A
    localent ask model.gguf "Metal?" --option iron --option wood --calibrated 3f2a
    localent ask model.gguf "What is 17 times 23?" --stop certain_leader:0.98
    localent ask model.gguf "What is 17 times 23?" --samples 8 --vote deepconf
    """
    from localent.runs.ask import ask
    from localent.tracing.watch import Watcher

    if output.json_:
        refuse_unused("--json", *(("color",) if output.image else ("measure", "color")))
    if stored.samples != 1:
        refuse_unused("--samples", "image")
        voted(model, problem, settings, stored, output.json_)
        return
    refuse_unused("One sample", "vote", "vote_from")
    screen = Screen(how, problem.answer, silent=output.json_)
    watcher = Watcher(screen.token, screen.probe, screen.bar.say, lambda: stored.time.left <= 0)
    if not settings.probe:
        refuse_unused("--no-probe", "time")
    if stored.calibrated is None:
        if stored.stop_from is None:
            refuse_unused("A question without --calibrated and --stop-from", "db")
        settings, promise = stored.applied(settings)
        trace, belief = ask(model, problem, settings, watcher), None
        sentences = stopped(trace, settings, promise)
    else:
        refuse_unused("--calibrated", *SETTINGS.fields, "stop", "stop_from", "time")
        trace, belief = _calibrated(model, problem, stored, watcher)
        sentences = [belief.sentence]
    click.echo(trace_json(trace, belief) if output.json_ else screen.end(trace, problem), color=how.colour)
    if not trace.probes and settings.probe:
        sentences = [NO_ANSWERS]
    for sentence in [] if output.json_ else sentences:
        click.echo("\n".join(textwrap.wrap(sentence, how.width)))
    if output.image:
        draw(output.image, trace, problem, Path(model).name, how.measure)


def voted(model: str, problem: Problem, settings: Settings, stored: Stored, json_: bool) -> None:
    """Ask several times and print the votes."""
    from localent.analysis import electing, load
    from localent.errors import UsageError
    from localent.report import acting
    from localent.report import electing as report
    from localent.report.table import json_text
    from localent.runs.ask import ask_often
    from localent.store import open_db

    refuse_unused("--samples", "measure", "color", "calibrated")
    if not (stored.vote_from or stored.stop_from):
        refuse_unused("A vote without --vote-from and --stop-from", "db")
    vote, record = electing.parse(stored.vote), None
    settings, promise = stored.applied(settings)
    if stored.vote_from:
        with open_db(stored.db, readonly=True) as store:
            vote, record = electing.chosen(load.run(store, stored.vote_from), vote)
    with TemporaryDirectory() as folder, open_db(Path(folder) / "asked.db") as kept, Bar() as bar:
        done = ask_often(model, problem, settings, stored.samples, store=kept, listener=bar.listener(stored.time))
        if not done.n_new:
            raise UsageError(f"No sample was done in {stored.time.minutes:g} min: allow more --minutes.")
        found = electing.elect(load.run(kept, done.run_id), vote)
    if json_:
        click.echo(json_text(report.everything(found, record)))
        return
    print_table(*report.ballots_table(found), None)
    echo()
    print_table(*report.votes_table(found, problem.answer), None)
    say([*report.sentences(found, record), *([acting.promise(promise)] if promise else [])], None)


def stopped(trace: Trace, settings: Settings, found: Promise | None) -> list[str]:
    """The sentences on the rule that was to stop a trace; none where there was none."""
    from localent import stopping
    from localent.report import acting

    if settings.stop is None:
        return [acting.LATE] * (trace.finish == acting.EARLY)
    said = acting.of_trace(stopping.parse(settings.stop), trace)
    return [said, acting.promise(found)] if found else [said]


def _calibrated(model: str, problem: Problem, stored: Stored, watcher: Watcher) -> tuple[Trace, Belief]:
    """The trace of a question asked as a stored run asked, and how likely its answer is right."""
    from localent.analysis import load
    from localent.analysis.calibration import value_of
    from localent.report.calibration import belief
    from localent.runs.ask import Like, ask_like
    from localent.store import open_db

    assert stored.calibrated is not None
    with open_db(stored.db, readonly=True) as store:
        found, like = load.calibration(store, stored.calibrated), Like.of(store, stored.calibrated)
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
