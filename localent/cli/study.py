"""localent study: verdicts on the claims about reasoning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import Group, refuse_unused
from localent.cli.options import (
    ProblemFile,
    data_options,
    db_option,
    format_options,
    minutes_option,
    n_option,
    samples_option,
)
from localent.cli.output import echo, print_table, say
from localent.cli.progress import Bar
from localent.cli.settings import (
    effort_options,
    file_of_part,
    filter_options,
    hardware_options,
    lanes_option,
    probes_option,
    prompt_options,
    seed_option,
    settings_options,
    shard_option,
    temperature_option,
    trace_options,
)

if TYPE_CHECKING:
    from localent.runs import Settings
    from localent.runs.clock import Time
    from localent.study import Design, Study
    from localent.tasks import Task

STAGE_NOTES = (
    "gain: slope of ln p(true answer) over the reasoning, nats per whole trace. left the answer: share of wrong traces"
    " in which the true answer led before the end. beyond controls from: the t from which the true answer stays more"
    " likely than under every control; untested: controls without an interval there. AUROC at half: among traces of the"
    " same number of steps, at least two. gain by half: over traces of at least two steps.",
)


@dataclass(frozen=True, slots=True)
class Tasks:
    """The problems of one or several tasks."""

    names: tuple[str, ...]
    data: ProblemFile
    n: int

    def load(self) -> list[Task]:
        """The tasks; without names, the bundled ones."""
        from localent import tasks

        return [self.data.load(name) for name in self.names or tasks.BUNDLED]


@dataclass(frozen=True, slots=True)
class Probing:
    """The number of traces per problem, and the probes added to them."""

    samples: int
    controls_at: str | None
    control_samples: int
    rollouts: int
    rolled: int
    time: Time  # for all of it

    def __post_init__(self) -> None:
        if not self.rollouts:
            refuse_unused("--rollouts 0", "rolled")

    @property
    def at(self) -> str:
        """Where controls are read."""
        return self.controls_at or ("ends" if self.time.is_limited else "every")


@dataclass(frozen=True, slots=True)
class Output:
    """Which tables are printed, and in which form."""

    curves: bool
    sensitivity: bool
    form: str | None

    def __post_init__(self) -> None:
        if self.curves:
            refuse_unused("--curves", "sensitivity")

    @property
    def for_machines(self) -> bool:
        return self.form in ("csv", "json")


@click.command("study")
@click.argument("models", metavar="[MODEL]...", nargs=-1, shell_complete=complete.models)
@Group(
    "problems",
    Tasks,
    click.option(
        "--task",
        "names",
        multiple=True,
        shell_complete=complete.tasks,
        help="May be repeated. Default: demo-number and demo-choice.",
    ),
    data_options,
    n_option("Number of problems of each task.", default=100),
)
@settings_options(
    seed_option(),
    temperature_option(),
    filter_options,
    trace_options,
    prompt_options,
    probes_option,
    effort_options(),
    lanes_option(default=16),
    hardware_options,
    shard_option,
)
@Group(
    "probing",
    Probing,
    samples_option(3),
    click.option(
        "--controls-at",
        type=click.Choice(["every", "ends"]),
        help="Probe controls wherever the trace is probed, or half-way and at the end. Default: every; with --minutes,"
        " ends.",
    ),
    click.option(
        "--control-samples",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Traces per problem that get controls.",
    ),
    click.option("--rollouts", type=int, default=16, show_default=True, help="Continuations per prefix; 0: none."),
    click.option("--rolled", type=int, default=12, show_default=True, help="Traces per run that are rolled out."),
    minutes_option(),
)
@db_option
@Group(
    "output",
    Output,
    click.option("--curves", is_flag=True, help="Print the course of the traces at t = 0, 0.1, ..., 1 instead."),
    click.option(
        "--sensitivity",
        is_flag=True,
        help="Add the verdicts that other thresholds, cues and efforts of probing move; in --json, always.",
    ),
    format_options,
)
def command(
    models: tuple[str, ...], problems: Tasks, settings: Settings, probing: Probing, db: Path, output: Output
) -> None:
    """Does a model gather information as it reasons? Verdicts on each claim, for each MODEL and for training.

    Name the stages of one family in order of training; without MODEL, the bundled family is studied. Runs that the
    database lacks are made first, with control probes; a finished study is only judged again. Verdicts are compared
    with those of studies of the same models and tasks under another --seed.

    The defaults fit the bundled family, four models on two tasks, into about seven minutes on two cores that feed 4,000
    tokens a second: some 0.8 million tokens one by one and 0.9 million as prompts. Two fifths are attempts and their
    probes (-n, --samples), a quarter controls (--control-samples, --controls-at), a third rollouts (--rolled).
    With --shard a part is made and nothing judged: first its attempts; on a copy of the merged parts, its controls and
    rollouts.
    With --minutes, half of the time is for attempts and three tenths for controls, the rest for rollouts; what one part
    does not use goes to the next.

    \b
    localent study
    localent study --seed 1
    localent study base.gguf tuned.gguf --task gsm8k --data test.jsonl -n 200
    localent study model.gguf --task gsm8k --data test.jsonl --minutes 30
    localent study model.gguf --task gsm8k --shard 3/16
    """
    from localent import study as science
    from localent.report.science import sentences

    design = science.Design(
        settings=settings,
        n=problems.n,
        samples=probing.samples,
        at=probing.at,
        control_samples=probing.control_samples,
        m=probing.rollouts,
        n_rolled=probing.rolled,
        sensitivity=output.sensitivity or output.form == "json",
    )
    db = file_of_part(db, settings)
    if settings.shard:
        make_part(models, problems.load(), design, db, probing.time)
        return
    with Bar() as bar:
        found = science.study(models, problems.load(), design, db=db, listener=bar.listener(probing.time))
    for sentence in found.unfinished:
        echo(sentence, err=True)
    print_study(found, output)
    stored = f"Study {found.study_id}, stored in {db}."
    say([*STAGE_NOTES, *sentences(found.subjects), *found.notes, *seed_sentences(found), stored], output.form)


def make_part(models: tuple[str, ...], tasks: list[Task], design: Design, db: Path, time: Time) -> None:
    """Make a part of a study, and say what is in its file now."""
    from localent import study as science

    with Bar() as bar:
        works = science.part(models, tasks, design, db=db, listener=bar.listener(time))
    shard = design.settings.shard
    for work in works:
        echo(work.unfinished(time) or f"{work.name}: part {shard} has its {work.n_traces} traces.", err=True)
    if all(work.is_whole() for work in works):
        echo(f"With their controls and rollouts they are in {db}: merge the parts, then 'localent study' judges.")
    else:
        echo(
            f"They are in {db}. Controls and rollouts need the traces of all parts: merge them, and run this again with"
            " --db COPY on a copy of the merged file; or leave --shard out to make them on one machine."
        )


def print_study(found: Study, output: Output) -> None:
    """The tables of a study."""
    from localent.report import science

    if output.curves:
        print_table(*science.curve_table(found.subjects), output.form)
        return
    print_verdicts(found, output.form)
    for table in [] if output.for_machines else (science.stage_table, science.shape_table, science.mechanism_table):
        echo()
        print_table(*table(found.subjects), output.form)
    beside = [(f"{s.model} on {s.task}", s.beside) for s in found.subjects if s.beside]
    if beside and not output.for_machines:
        echo()
        print_table(*science.ideal_table(beside), output.form)
        say(science.ideal_sentences(beside[0][1]), output.form)
    if output.sensitivity and not output.for_machines:
        click.echo()
        print_table(*science.sensitivity_table(found), output.form)


def print_verdicts(found: Study, form: str | None) -> None:
    """The verdicts, with those of other seeds: a short table for people, every field for --json and --csv."""
    from localent.report.science import full_table, under_other_thresholds, verdict_table

    if form not in ("csv", "json"):
        print_table(*verdict_table(found.verdicts, found.seeds), form)
        return
    columns, rows = full_table([verdict for _, verdict in found.verdicts])
    others = [f"verdict_seed_{other.seed}" for other in found.seeds]
    told = [[other.verdict_of(task, v) for other in found.seeds] for task, v in found.verdicts]
    under = [under_other_thresholds(found, task, v) for task, v in found.verdicts]
    names = list(dict.fromkeys(name for one in under for name in one))
    moved = [[one.get(name) for name in names] for one in under]
    rows = [
        [task, *row, *more, *others_]
        for (task, _), row, more, others_ in zip(found.verdicts, rows, told, moved, strict=True)
    ]
    print_table(["task", *columns, *others, *names], rows, form)


def seed_sentences(found: Study) -> list[str]:
    """The agreement with studies of the same models and tasks under other seeds."""
    said = []
    for other in found.seeds:
        same, opposite, n = other.agreement(found.verdicts)
        said.append(
            f"Under seed {other.seed} (study {other.study_id}) {same} of {n} verdicts are the same, {opposite} opposite"
            " (supported, and smaller than what counts). Where they differ, rely on neither: the effect is close to the"
            " threshold, or the sample is too small."
        )
    return said
