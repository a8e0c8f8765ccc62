"""localent run: traces, entropies and answer distributions of one model on one task."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.options import data_options, db_option, engine_options, prompt_options
from localent.cli.output import dump_summary, show_summary, summary_of
from localent.cli.progress import Bar


@click.command("run")
@click.argument("model")
@click.argument("task")
@click.option("-n", type=int, help="How many problems: the first n. Default: all.")
@click.option("--samples", type=int, default=1, show_default=True, help="Traces per problem.")
@data_options
@click.option("--seed", type=int, default=0, show_default=True, help="Of sampling and of the choice of shots.")
@click.option("--temperature", type=float, default=0.7, show_default=True, help="0: always the likeliest token.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Sample from the likeliest that hold this.")
@click.option("--top-k", type=int, default=0, show_default=True, help="Sample from the k likeliest; 0: all.")
@click.option("--max-tokens", type=int, help="Tokens a trace may have. Default: 512, less for models of short context.")
@click.option("--shots", type=int, help="Worked examples in the prompt. Default: 0 for chat models, 4 for others.")
@prompt_options
@click.option("--probe/--no-probe", default=True, show_default=True, help="Read the answer distribution at every step.")
@click.option("--epsilon", type=float, default=0.01, show_default=True, help="Probes stop below this unexplored mass.")
@click.option("--max-fed", type=int, default=8, show_default=True, help="Probes stop after so many tokens.")
@click.option("--measure-top-k", type=int, default=0, help="Also store measures over the k likeliest tokens.")
@click.option(
    "--alternatives", type=click.IntRange(0, 50), default=0, help="Also store the N likeliest tokens at every token."
)
@click.option("--lanes", type=int, help="Traces at a time. Default: the fastest, measured once and kept.")
@engine_options
@db_option
@click.option("--json", "json_", is_flag=True, help="Print the summary as JSON.")
def command(model, task, n, samples, data, db, json_, **chosen):
    """Run MODEL on TASK and store every trace, token, step and probe. Goes on where it was stopped.

    MODEL is a name of models.toml, NAME:QUANT, or a path to any GGUF. TASK is gsm8k, svamp, arc-easy,
    arc-challenge, demo-number, demo-choice, or any name with --data FILE.

    \b
    localent run abacus-sft demo-number -n 50
    localent run qwen2.5-0.5b-instruct:Q8_0 gsm8k -n 100 --samples 4
    localent run model.gguf mine --data mine.csv --question prompt --answer gold
    """
    from localent import runs

    loaded, settings = data.load(task), runs.Settings(**chosen)
    with Bar() as bar:
        heard = runs.Listener(bar, bar.say)
        outcome = runs.run(model, loaded, db=db, n=n, samples=samples, settings=settings, listener=heard)
    said = described(outcome, db)
    click.echo(said, err=True)
    (dump_summary if json_ else show_summary)(summary_of(db, outcome.run_id))


def described(outcome, db: Path) -> str:
    """One line on what an invocation did."""
    total = outcome.n_before + outcome.n_new
    if not outcome.n_new:
        return f"Run {outcome.run_id} has all {total} traces already: nothing to do. They are in {db}."
    before = f", {outcome.n_before} were there before" if outcome.n_before else ""
    return f"Run {outcome.run_id}: {outcome.n_new} new traces{before}. They are in {db}."
