"""localent choose: which of several quants to run on this machine."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localent.cli import complete
from localent.cli.arguments import Finite, Group
from localent.cli.fail_on import Conditions, fail_on_option, failures
from localent.cli.options import PATH, ProblemFile, data_options, db_option
from localent.cli.output import echo
from localent.cli.progress import Bar
from localent.cli.settings import (
    answer_options,
    cache_options,
    gpu_layers_option,
    lanes_option,
    max_tokens_option,
    seed_option,
    settings_options,
    shots_option,
    temperature_option,
    threads_option,
)
from localent.errors import UsageError

if TYPE_CHECKING:
    from localent.compare import Choice, OnTask, OnText
    from localent.runs import Settings

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
N = 100  # problems or chunks at most


class Bytes(click.ParamType):
    """6GB, 800M, 6GiB -> bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]i?|)b?", str(value).strip().lower())
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a size such as 6GB or 800MB.", param, ctx)
        return int(float(match[1]) * UNITS[match[2]])


@dataclass(frozen=True, slots=True)
class Files:
    """The files to choose among, and what they must fit."""

    models: tuple[str, ...]
    reference: str | None
    memory: int | None
    min_speed: float | None
    ctx: int


@dataclass(frozen=True, slots=True)
class Basis:
    """What the files are compared on: a task, prompts of one's own, or a text."""

    task: str | None
    prompts: Path | None
    text: Path | None
    n: int
    data: ProblemFile

    def on(self, settings: Settings) -> OnTask | OnText:
        """The problems, or the text. Raises UsageError unless exactly one is named."""
        from localent import compare
        from localent.compare.choose import prompts

        named = {"--task": self.task, "--prompts": self.prompts, "--text": self.text}
        given = [name for name, value in named.items() if value]
        if len(given) != 1 or self.n < 1:
            got = f"got {' and '.join(given)}" if given else "for example --task demo-number"
            raise UsageError(f"Say what to compare on with one of {', '.join(named)}, and -n from 1 on; {got}.")
        if self.text:
            return compare.OnText(path=self.text, n=self.n)
        task = prompts(self.prompts) if self.prompts else self.data.load(self.task or "")
        n = min(self.n, len(task.problems))
        return compare.OnTask(task=task, n=n, settings=settings, graded=self.prompts is None)


@click.command("choose")
@Group(
    "files",
    Files,
    click.argument("models", nargs=-1, required=True, metavar="FOLDER|FILE|MODEL...", shell_complete=complete.models),
    click.option("--reference", help="Compare with this. Default: the file with most bits, which may be chosen."),
    click.option("--memory", type=Bytes(), help="Memory for weights, context and buffers: 6GB. Default: no limit."),
    click.option("--min-speed", type=Finite(min=0), help="Tokens written per second at least, measured here."),
    click.option("--ctx", type=int, default=4096, show_default=True, help="Tokens of context that must fit."),
)
@Group(
    "basis",
    Basis,
    click.option("--task", help="Compare on traces of this task, and on its answers."),
    click.option("--prompts", type=PATH, help="Compare on the answers to prompts of your own, one a line."),
    click.option("--text", type=PATH, help="Compare on a text alone."),
    click.option("-n", type=int, default=N, show_default=True, help="Problems, prompts or chunks of text at most."),
    data_options,
)
@settings_options(
    seed_option(),
    temperature_option(),
    max_tokens_option(),
    shots_option(),
    answer_options,
    lanes_option(),
    threads_option,
    gpu_layers_option,
    cache_options,
)
@db_option
@fail_on_option
@click.option("--json", "json_", is_flag=True, help="Print everything as JSON.")
def command(files: Files, basis: Basis, settings: Settings, db: Path, fail_on: Conditions, json_: bool) -> None:
    """Name the quant to run: the closest to the reference among those that fit memory and speed.

    Files are compared on growing portions of the text or the task. A file that is told apart from the one in front
    reads no further, and reading ends when the order is clear, by a rule that allows for repeated looks (5 % chance of
    error in all). What is not decided is told. With --prompts no true answers are needed: divergence, and how often a
    file answers as the reference does.

    \b
    localent choose quants/ --memory 6GB --min-speed 10 --task gsm8k -n 100
    localent choose Q8_0.gguf Q4_K_M.gguf --reference F16.gguf --text notes.txt
    localent choose quants/ --prompts mine.txt --fail-on "same-answer<0.9"
    """
    from dataclasses import replace

    from localent.compare import Limits, Plan, choose
    from localent.models import in_folders
    from localent.report.choice import render
    from localent.runs.clock import UNLIMITED

    on = basis.on(replace(settings, probe=False))
    limits = Limits(memory=files.memory, min_speed=files.min_speed, ctx=files.ctx)
    plan = Plan(threads=settings.threads, gpu_layers=settings.gpu_layers)
    plan = replace(plan, cache_type_k=settings.cache_type_k, cache_type_v=settings.cache_type_v)
    with Bar() as bar:
        listener = bar.listener(UNLIMITED)
        found = choose(
            in_folders(files.models), on, db=db, limits=limits, reference=files.reference, plan=plan, listener=listener
        )
    echo(as_json(found) if json_ else render(found, shutil.get_terminal_size((120, 24)).columns))
    _end(found, fail_on)


def _end(found: Choice, conditions: Conditions) -> None:
    """Exit with 1 where a condition holds of the file that was picked."""
    from localent.cli.group import fail

    if found.comparison is None or found.standing is None:
        return
    one = found.comparison.candidates[found.standing.leader]
    if said := failures(conditions, [(found.label, one)]):
        fail(" ".join(said), 1)


def as_json(found: Choice) -> str:
    """Everything, with the sentences, on one line."""
    from dataclasses import asdict

    from localent.analysis.as_json import plain
    from localent.report.choice import sentences
    from localent.report.table import json_text

    values = {name: plain(value) for name, value in asdict(found).items()}
    return json_text(values | {"sentences": sentences(found)})
