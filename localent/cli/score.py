"""localent score: the same measures on text that exists."""

from __future__ import annotations

from pathlib import Path

import click

from localent.cli.options import data_options, db_option, format_options, gpu_layers_option, prompt_options
from localent.cli.output import print_records, say
from localent.cli.progress import Bar


@click.command("score")
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
def command(model, source, gold, data, n, window, db, form, **chosen) -> None:
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
