"""The command line: the only place that prints. Heavy imports wait until a command needs them.

A command is a module of its own name with a function `command`, listed here.
"""

from __future__ import annotations

import logging
from pathlib import Path

import click

import localent
from localent.cli import (
    ask,
    calibrate,
    check,
    choose,
    compare,
    config,
    demo,
    doctor,
    export,
    help,
    importance,
    inspect,
    merge,
    models,
    plot,
    prompt,
    pull,
    quantize,
    replay,
    report,
    run,
    runs,
    schema,
    score,
    scrub,
    serve,
    show,
    signals,
    sql,
    study,
    tasks,
    view,
)
from localent.cli.group import Commands, Notes
from localent.cli.options import PATH

GROUPS = {  # in the order in which people meet them: title -> commands, each with a line for the list
    "Make and look at traces": {
        demo: "Tour the bundled models.",
        run: "Run a model on a task and store everything.",
        show: "Show one trace, coloured by its entropy.",
        ask: "Put one question to a model and watch.",
        score: "Measure existing text, or worked solutions.",
        runs: "List the runs in a database.",
        merge: "Join the parts of a run.",
    },
    "Question them": {
        sql: "Ask a database in SQL.",
        schema: "Explain every table, view and column.",
        signals: "Rank the signals that tell wrong traces from right.",
        calibrate: "Turn a signal into a probability of being right.",
        importance: "Find the steps that decide the answer.",
        replay: "Try abstaining, voting and early stopping.",
        study: "Judge the claims about reasoning.",
        view: "Follow runs in a browser.",
        report: "Write one HTML page of runs.",
        plot: "Draw a figure for print.",
        export: "Write the tables of a run to files.",
        serve: "Open a database in Datasette.",
        check: "Examine a database, and copy what is good.",
        scrub: "Copy a database without places.",
    },
    "Models, tasks, quants": {
        models: "List the models known and those on this disk.",
        pull: "Download a model or a task's file.",
        tasks: "List the tasks known by name.",
        prompt: "Show the prompt of a problem, and the cue.",
        inspect: "Show what GGUF files hold, side by side.",
        quantize: "Make quants of a model.",
        compare: "Measure what quantization changes.",
        choose: "Name the quant to run on this machine.",
        doctor: "Examine this machine.",
        help: "List the commands, or explain one.",
    },
}


GREETING = f"""Watch a language model's uncertainty while it reasons. (localent {localent.__version__})

  localent demo                             see it on bundled models, in minutes
  localent ask abacus-sft "2 + 3 * 4 = ?"   put a question to one, and watch
  localent run model.gguf gsm8k -n 100      your model on 100 problems

'localent help' lists the commands, 'localent help run' explains one."""


@click.group(
    "localent",
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--config", "file", type=PATH, help="Defaults for options. Default: localent.toml in the working folder.")
@click.option("--no-config", "none", is_flag=True, help="Take no defaults from a file.")
@click.version_option(localent.__version__, prog_name="localent")
@click.pass_context
def main(context: click.Context, file: Path | None, none: bool) -> None:
    """Watch a language model's uncertainty while it reasons: full-logit entropy of GGUF models, in SQLite.

    \b
    localent demo                               a tour on bundled models
    localent run model.gguf gsm8k -n 100        your model on 100 problems
    localent sql "select * from run_summary"    query the results
    """
    logging.getLogger("localent").handlers = [Notes()]
    if context.invoked_subcommand is None:
        click.echo(GREETING)
    elif path := config.found(file, none):
        config.take(context, config.read(path, main.commands), main.commands[context.invoked_subcommand])


for title, modules in GROUPS.items():
    for module, line in modules.items():
        main.add_to(title, module.command, line)
