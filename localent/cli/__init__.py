"""The command line: the only place that prints. Heavy imports wait until a command needs them.

A command is a module of its own name with a function `command`, listed here.
"""

from __future__ import annotations

import logging

import click

import localent
from localent.cli import (
    ask,
    calibrate,
    compare,
    demo,
    doctor,
    export,
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
    serve,
    show,
    signals,
    sql,
    study,
    tasks,
)
from localent.cli.group import Commands, Notes

COMMANDS = (
    *(demo, run, runs, sql, models, pull, tasks, prompt, doctor),
    *(study, signals, calibrate, replay, score, inspect, quantize, compare, show, schema),
    *(ask, plot, report, export, merge, serve),
)


@click.group(
    "localent", cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(localent.__version__, prog_name="localent")
def main() -> None:
    """Watch a language model's uncertainty while it reasons: full-logit entropy of GGUF models, in SQLite.

    \b
    localent demo                               a tour on bundled models, in minutes
    localent run model.gguf gsm8k -n 100        your model on 100 problems
    localent sql "select * from run_summary"    query the results
    """
    logging.getLogger("localent").handlers = [Notes()]


for module in COMMANDS:
    main.add_command(module.command)
