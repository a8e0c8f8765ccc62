"""localent doctor: what this machine does with a model."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from localent.cli.options import gpu_layers_option

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
MARK = {True: "+", False: "!", None: " "}


@click.command("doctor")
@click.argument("model", default="abacus-sft")
@click.option("--quick", is_flag=True, help="Look only, measure nothing.")
@gpu_layers_option
@click.option("--json", "json_", is_flag=True, help="Print it as JSON.")
def command(model: str, quick: bool, gpu_layers: int | None, json_: bool) -> None:
    """Examine this machine with MODEL: build, memory, GPU, speed, what repeats to the bit, and the noise floor.

    Lines that begin with ! need a look. The measured part is kept and stored with later runs of the model.

    \b
    localent doctor
    localent doctor qwen2.5-1.5b-instruct:Q4_K_M
    """
    from localent import doctor as library
    from localent import models

    report = library.examine(models.resolve(model), measure=not quick, layers=gpu_layers, status=_say)
    if not quick:
        library.save(report)
    if json_:
        click.echo(json.dumps(asdict(report), ensure_ascii=False))
        return
    for part, title in PARTS.items():
        _show(title, report.of(part))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{text} ...", err=True)


def _show(title: str, findings: list) -> None:
    if not findings:
        return
    click.echo(f"\n{title}")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        click.echo(f" {MARK[finding.ok]} {finding.name:<{width}}  {_line(finding)}")


def _line(finding) -> str:
    """What was found, its unit and what it means; a file's own words may hold escape sequences."""
    from localent.report.table import cell_text

    shown = "not known" if finding.value is None else str(finding.value)
    if isinstance(finding.value, int | float):
        shown = f"{finding.value:,}"
    unit, note = finding.unit and f" {finding.unit}", finding.note and f"  ({finding.note})"
    return cell_text(shown + (unit or "") + (note or ""))
