"""localent doctor: an examination of this machine with a model."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from localent.cli import complete
from localent.cli.arguments import refuse_unused
from localent.cli.output import echo, room
from localent.cli.settings import gpu_layers_option, threads_option

if TYPE_CHECKING:
    from localent.machine.findings import Finding

PARTS = {
    "machine": "This machine",
    "build": "llama.cpp",
    "gpu": "GPU",
    "model": "The model",
    "speed": "Speed",
    "invariance": "The same work, done differently",
    "noise": "Other settings: largest change of a token's entropy",
    "advice": "Advice",
}
LEAST = 24  # columns of the terminal that a finding keeps
MARK = {True: "+", False: "!", None: " "}


@click.command("doctor")
@click.argument("model", default="abacus-sft", shell_complete=complete.models)
@click.option("--quick", is_flag=True, help="Inspect only; measure nothing.")
@threads_option
@gpu_layers_option
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(model: str, quick: bool, threads: int | None, gpu_layers: int | None, json_: bool) -> None:
    """Examine this machine with MODEL: build, memory, GPU, speed, bit-identical repetition, and the noise floor.

    Lines that begin with ! need attention. Measurements are remembered and stored with later runs of the model.

    \b
    localent doctor
    localent doctor qwen2.5-1.5b-instruct:Q4_K_M
    """
    from localent import doctor as library
    from localent import models
    from localent.report.table import json_text

    if quick:
        refuse_unused("--quick", "threads", "gpu_layers")
    path = models.resolve(model)
    report = library.examine(path, measure=not quick, layers=gpu_layers, threads=threads, status=_say)
    if json_:
        click.echo(json_text(asdict(report), nan=True))
    else:
        for part, title in PARTS.items():
            _show(title, report.of(part))
    if not quick:
        library.save(report)  # last: what was measured is on the screen even if the cache's disk is full or hangs


def _say(text: str) -> None:
    if sys.stderr.isatty():
        echo(f"{text} ...", err=True)


def _show(title: str, findings: Sequence[Finding]) -> None:
    if not findings:
        return
    echo(f"\n{title}")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        echo(f" {MARK[finding.ok]} {finding.name:<{width}}  {_fitting(_line(finding), width + 5)}")


def _fitting(text: str, indent: int) -> str:
    """The text in lines that fit the terminal, the later ones indented."""
    width = room()
    lines = [text] if width is None else textwrap.wrap(text, max(LEAST, width - indent))
    return f"\n{'':{indent}}".join(lines)


def _line(finding: Finding) -> str:
    """A finding with its unit and its meaning, without the escape sequences that a file's own text may hold."""
    from localent.report.table import cell_text

    shown = "not known" if finding.value is None else str(finding.value)
    if isinstance(finding.value, int | float):
        shown = f"{finding.value:,}"
    unit, note = finding.unit and f" {finding.unit}", finding.note and f"  ({finding.note})"
    return cell_text(shown + (unit or "") + (note or ""))
