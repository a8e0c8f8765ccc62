"""localent signals, replay, study, score: what the stored runs say about uncertainty and reasoning."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.options import data_options, db_option, engine_options, gpu_layers_option, prompt_options
from localent.cli.query import format_options
from localent.cli.run import Bar
from localent.cli.show import print_table

SIGNALS_NOTES = (
    "AUROC: how often a wrong trace scores above a right one; 0.5 is a coin. [ ]: 95 % interval, clustered by problem.",
    "given length: rank correlation with being wrong, length held fixed. within question: AUROC over pairs of one"
    " question. PRR: 1 is an oracle, 0 a coin. ECE, Brier: of signals that state a probability.",
    "explained by length: given length, the interval reaches 0. undecided beyond length: it has none, or Holm's rule"
    " does not pass it. too few: right or wrong traces of fewer than five problems.",
)


def print_records(records, table, form: str | None) -> None:
    """A short table for people, every field for --json and --csv."""
    from localent.report.science import full_table

    print_table(*(full_table(records) if form in ("csv", "json") else table(records)), form)


def say(lines, form: str | None) -> None:
    """Sentences below a table, wrapped; on stderr where the table is for machines."""
    from localent.report.terminal import paragraphs

    for line in ["", *paragraphs(list(lines), 100)]:
        click.echo(line, err=form in ("csv", "json"))


@click.command()
@click.argument("run_id", metavar="RUN")
@db_option
@format_options
@click.option("--finished-only", is_flag=True, help="Leave out traces that ran into the token limit.")
@click.option("--at", type=click.FloatRange(0, 1), default=1.0, help="See only this share of each trace.")
def signals(run_id: str, db: Path, form: str | None, finished_only: bool, at: float) -> None:
    """Which signals tell wrong traces from right ones, beside length and difficulty.

    RUN is a run's id, or its beginning ('localent runs' lists them). Baselines stand on top, of whole traces.

    \b
    localent signals 3f2a --db localent-demo.db
    localent signals 3f2a --at 0.5
    """
    from localent.analysis import signals as analysis
    from localent.report.science import signals_table
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        found = analysis.signals(store, run_id, finished_only=finished_only, at=at)
    which = "finished traces" if finished_only else "traces"
    counts = f"{found.n_traces:,} {which} of {found.n_problems:,} problems, {found.n_wrong:,} wrong"
    counts += "" if at == 1 else f"; signals of their first {at:.0%}"
    click.echo(f"Run {found.run_id}: {counts}.\n", err=form in ("csv", "json"))
    print_records(found.rows, signals_table, form)
    lacking = dict.fromkeys(f"{row.missing}: {row.auroc.n_missing} traces" for row in found.rows if row.missing)
    missing = (f"Missing values are left out, never filled in. {why}." for why in lacking)
    say([*SIGNALS_NOTES, *missing, *found.notes], form)


REPLAY_NOTES = (
    "change: accuracy minus that of whole traces (stop), of the majority vote (vote), of answering all (abstain)."
    " [ ]: 95 % interval, paired by problem. Tokens saved: of what that baseline generates.",
)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--policy", default="all", show_default=True, help="all, stop, vote, abstain, or the name of one.")
@click.option("--seed", type=int, default=0, show_default=True, help="Which half settings are chosen on.")
@db_option
@format_options
def replay(run_id: str, policy: str, seed: int, db: Path, form: str | None) -> None:
    """What abstaining, voting or stopping early would have gained, on a stored run. No model is needed.

    Settings are chosen on one half of the problems and reported on the other.

    \b
    localent replay 3f2a --db localent-demo.db
    localent replay 3f2a --policy stop
    """
    from localent.analysis.replay import COVERAGES, replay
    from localent.report.science import replay_table, risk_coverage_table
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        found = replay(store, run_id, policy=policy, seed=seed)
    machine = form in ("csv", "json")
    chosen, reported = found.n_chosen_on, found.n_reported_on
    click.echo(f"Run {found.run_id}: chosen on {chosen} problems, reported on {reported}.\n", err=machine)
    print_records(found.outcomes, replay_table, form)
    if not machine and policy in ("all", "abstain"):
        click.echo()
        print_table(*risk_coverage_table(found.risk_coverage, COVERAGES), form)
    say([*REPLAY_NOTES, *found.notes], form)


STAGE_NOTES = (
    "gain: slope of ln p(true answer) over the reasoning, nats per whole trace. left the answer: share of wrong traces"
    " in which the true answer had led before the end. beyond controls from: the t from which the true answer is"
    " likelier than under every control, to the end; untested: controls without an interval there. AUROC at half: among"
    " traces of equally many steps, two or more. gain by half: of those of two steps or more.",
)


@click.command()
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
def study(models, names, data, n, samples, rollouts, rolled, controls_at, control_samples, curves, db, form, **chosen):
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
    options = dict(n=n, samples=samples, settings=runs.Settings(**chosen), **wanted)
    with Bar() as bar:
        found = science.study(models, loaded, db=db, **options, report=bar, status=bar.say)
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


@click.command()
@click.argument("model")
@click.argument("source", metavar="FILE|TASK")
@click.option("--gold", is_flag=True, help="Read the worked solutions of TASK, asking for the answer after each step.")
@data_options
@click.option("-n", type=int, help="How many worked solutions: the first n. Default: all.")
@click.option("--shots", type=int, help="Worked examples in the prompt.")
@prompt_options
@click.option("--max-fed", type=int, default=24, show_default=True, help="Probes stop after so many tokens.")
@click.option("--window", type=int, default=512, show_default=True, help="Tokens of a plain text read at a time.")
@click.option("--lanes", type=int, default=8, show_default=True, help="Texts at a time.")
@click.option("--threads", type=int, help="Default: the physical cores this process may use.")
@gpu_layers_option
@db_option
@format_options
def score(model, source, gold, data, n, window, db, form, **chosen) -> None:
    """The same measures on text that exists: MODEL reads FILE, or with --gold the worked solutions of TASK.

    \b
    localent score abacus-sft notes.txt
    localent score abacus-sft demo-number --gold -n 50
    localent score model.gguf gsm8k --gold --data test.jsonl -n 100
    """
    from localent import runs
    from localent.analysis.family import caveat
    from localent.report.science import gold_table, text_table
    from localent.runs import score as scoring

    if not gold:
        how = {name: chosen[name] for name in ("lanes", "threads", "gpu_layers")}
        found = scoring.score_text(model, read_text(source), window=window, **how)
        print_records([found], text_table, form)
        return
    with Bar() as bar:
        options = dict(db=db, n=n, settings=runs.Settings(**chosen), report=bar, status=bar.say)
        found = scoring.score_gold(model, data.load(source), **options)
    print_records(found.steps, gold_table, form)
    say([*gold_sentences(found, db), *caveat([model])], form)


def read_text(source: str) -> str:
    """The text of a file; says what to do where there is none."""
    from localent.errors import UsageError

    path = Path(source)
    if not path.is_file():
        raise UsageError(f"No file '{source}': name a text file, or add --gold to read a task's worked solutions.")
    return path.read_text(encoding="utf-8", errors="replace")


def gold_sentences(found, db: Path) -> list[str]:
    """What the worked solutions come to."""
    from localent.analysis.curves import FLOORED
    from localent.report.science import short

    return [
        f"{found.n_traces:,} worked solutions, {found.n_tokens:,} tokens: surprisal {short(found.surprisal)} and"
        f" entropy {short(found.entropy)} nats a token.",
        f"Information about the true answer rises by {short(found.gain)} nats per whole solution (slope);"
        f" {short(found.share_positive)} of the steps make it likelier.",
        FLOORED,
        "Who wrote these texts knew the answer: nothing here was sampled from the model.",
        f"Run {found.run_id}, kept in {db}.",
    ]
