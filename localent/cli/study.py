"""localent study: verdicts on the claims about reasoning."""

from __future__ import annotations

import click

from localent.cli.options import data_options, db_option, engine_options, format_options, prompt_options
from localent.cli.output import print_table, say
from localent.cli.progress import Bar

STAGE_NOTES = (
    "gain: slope of ln p(true answer) over the reasoning, nats per whole trace. left the answer: share of wrong traces"
    " in which the true answer had led before the end. beyond controls from: the t from which the true answer is"
    " likelier than under every control, to the end; untested: controls without an interval there. AUROC at half: among"
    " traces of equally many steps, two or more. gain by half: of those of two steps or more.",
)


@click.command("study")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--task", "names", multiple=True, help="May be repeated. Default: demo-number and demo-choice.")
@data_options
@click.option("-n", type=int, default=100, show_default=True, help="How many problems of each task.")
@click.option("--samples", type=int, default=3, show_default=True, help="Traces per problem.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampling.")
@click.option("--temperature", type=float, default=0.7, show_default=True, help="0: always the likeliest token.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Sample from the likeliest that hold this.")
@click.option("--top-k", type=int, default=0, show_default=True, help="Sample from the k likeliest; 0: all.")
@click.option("--max-tokens", type=int, help="Tokens a trace may have.")
@click.option("--shots", type=int, help="Worked examples in the prompt.")
@prompt_options
@click.option("--max-fed", type=int, default=24, show_default=True, help="Probes stop after so many tokens.")
@click.option("--lanes", type=int, default=16, show_default=True, help="Traces at a time.")
@engine_options
@click.option(
    "--controls-at",
    type=click.Choice(["every", "ends"]),
    default="every",
    show_default=True,
    help="Read controls after every step, or half-way and at the end.",
)
@click.option(
    "--control-samples",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of how many traces of a problem controls are read.",
)
@click.option("--rollouts", type=int, default=16, show_default=True, help="Continuations a prefix; 0: none.")
@click.option("--rolled", type=int, default=12, show_default=True, help="How many traces of a run are rolled out.")
@click.option("--curves", is_flag=True, help="Print what happens along the traces, at t = 0, 0.1, ..., 1, instead.")
@db_option
@format_options
def command(
    models, names, data, n, samples, rollouts, rolled, controls_at, control_samples, curves, db, form, **chosen
):
    """Does it gather information as it reasons? Verdicts on each claim, for each MODEL and for training.

    Give the stages of one family earlier first; without MODEL: the bundled family. What is not yet in the database is
    run first, with control probes; a finished study is only judged again. Studies of the same models and tasks under
    another --seed that the database has are compared: which verdicts differ.

    The defaults fit the bundled family, four models on two tasks, into about seven minutes on two cores that feed 4,000
    tokens a second: some 0.8 million tokens one by one and 0.9 million as prompts. Two fifths are attempts and their
    probes (-n, --samples), a quarter controls (--control-samples, --controls-at), a third rollouts (--rolled).

    \b
    localent study
    localent study --seed 1
    localent study base.gguf tuned.gguf --task gsm8k --data test.jsonl -n 200
    """
    from localent import runs, tasks
    from localent import study as science
    from localent.report.science import curve_table, mechanism_table, sentences, shape_table, stage_table

    loaded = [data.load(name) for name in names or tasks.BUNDLED]
    wanted = dict(at=controls_at, control_samples=control_samples, m=rollouts, n_rolled=rolled)
    design = science.Design(settings=runs.Settings(**chosen), n=n, samples=samples, **wanted)
    with Bar() as bar:
        found = science.study(models, loaded, design, db=db, listener=runs.Listener(bar, bar.say))
    machine = form in ("csv", "json")
    if curves:
        print_table(*curve_table(found.subjects), form)
    else:
        print_verdicts(found, form)
        for table in [] if machine else (stage_table, shape_table, mechanism_table):
            click.echo()
            print_table(*table(found.subjects), form)
    kept = f"Study {found.study_id}, kept in {db}."
    say([*STAGE_NOTES, *sentences(found.subjects), *found.notes, *seed_sentences(found), kept], form)


def print_verdicts(found, form: str | None) -> None:
    """The verdicts, with those of other seeds: a short table for people, every field for --json and --csv."""
    from localent.report.science import full_table, verdict_table

    if form not in ("csv", "json"):
        print_table(*verdict_table(found.verdicts, found.seeds), form)
        return
    columns, rows = full_table([verdict for _, verdict in found.verdicts])
    others = [f"verdict_seed_{other.seed}" for other in found.seeds]
    told = [[other.verdict_of(task, v) for other in found.seeds] for task, v in found.verdicts]
    rows = [[task, *row, *more] for (task, _), row, more in zip(found.verdicts, rows, told, strict=True)]
    print_table(["task", *columns, *others], rows, form)


def seed_sentences(found) -> list[str]:
    """How far studies of the same under other seeds agree."""
    said = []
    for other in found.seeds:
        same, opposite, n = other.agreement(found.verdicts)
        said.append(
            f"Under seed {other.seed} (study {other.study_id}) {same} of {n} verdicts are the same, {opposite} opposite"
            " (supported and refuted). Where they differ, rely on neither: the effect is near the smallest that counts,"
            " or the sample is too small."
        )
    return said
