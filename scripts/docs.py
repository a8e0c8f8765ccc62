"""Documentation that is run: its commands are executed in order, in one empty folder, and their output written in.

    .venv/bin/python scripts/docs.py            all of it: README.md and the pages of docs/ that have something to run
    .venv/bin/python scripts/docs.py README.md  one page

In a session, everything between <!-- session --> and <!-- end session -->, each ```sh and ```python block is run. A
block followed by <!-- output --> gets its output inserted there; <!-- output 12 --> keeps the first twelve lines.
<!-- help NAME --> is followed by the help of a command, <!-- table NAME --> by a table of docs_tables.py. Times of day
and folders of this machine are masked, and the number of lanes is fixed, so that the same models give the same text.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("commands", "numbers", "columns", "privacy")))
WIDTH = 100
SESSION = re.compile(r"<!-- session -->\n(.*?)<!-- end session -->", re.DOTALL)
BLOCK = re.compile(
    r"```(?P<kind>sh|python)\n(?P<code>.*?)```\n(?:\n(?P<head><!-- output ?(?P<lines>\d*) -->\n).*?<!-- end -->\n)?",
    re.DOTALL,
)
HELP = re.compile(r"(<!-- help (\w+) -->\n).*?<!-- end -->\n", re.DOTALL)
TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?<!-- end -->\n", re.DOTALL)
MASKS = (
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "2026-01-31T12:00:00.000000Z"),  # sessions say when they ran
    (r"\d+(\.\d+)? (tok/s|traces/s)", r"… \2"),
    (r"(?m)^About .* on this machine; --minutes M stops in time\.\n", ""),  # on a slow machine only
)
STEADY = """# localent as it is, but for what is measured, and may be another the next time: number of lanes, speeds
from localent.cli import main
from localent.compare import scoring
from localent.records import Speed
from localent.runs import room

room.fastest_lanes = lambda weights, options, what: 16
scoring.speed_of = lambda model, options: Speed(4000.0, 400.0)
main(prog_name="localent")
"""


def updated(page: str, folder: Path) -> str:
    """The page with every help, every table and every output as they are now."""
    page = with_tables(HELP.sub(lambda found: f"{found[1]}```\n{help_of(found[2])}\n```\n<!-- end -->\n", page))
    return SESSION.sub(lambda found: f"<!-- session -->\n{rerun(found[1], folder)}<!-- end session -->", page)


def with_tables(page: str) -> str:
    """The page with every table as the code has it now."""
    from docs_tables import TABLES

    return TABLE.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n<!-- end -->\n", page)


def help_of(name: str) -> str:
    """The output of `localent NAME --help` in a terminal of 100 columns."""
    from localent.cli import main

    group = click.Context(main, info_name="localent", terminal_width=WIDTH, **main.context_settings)
    return main.commands[name].get_help(click.Context(main.commands[name], group, name))


def rerun(session: str, folder: Path) -> str:
    """A session with what its blocks print now."""

    def fresh(found: re.Match) -> str:
        printed = run(found["kind"], found["code"], folder)
        block = f"```{found['kind']}\n{found['code']}```\n"
        return block + (f"\n{found['head']}{shown(printed, found['lines'])}<!-- end -->\n" if found["head"] else "")

    return BLOCK.sub(fresh, session)


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Kind and code of every block that is run, in order."""
    for session in SESSION.finditer(page):
        yield from ((block["kind"], block["code"]) for block in BLOCK.finditer(session[1]))


def run(kind: str, code: str, folder: Path) -> str:
    """Run one block in the folder; what it prints, errors included. A block that fails ends everything."""
    command = [sys.executable, "-c", code] if kind == "python" else ["bash", "-e", "-o", "pipefail", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"This ended with code {done.returncode}:\n{code}\n{done.stdout}")
    return masked(done.stdout, folder)


def environment(folder: Path) -> dict[str, str]:
    """`localent` and `python` are this checkout's; nothing is remembered from elsewhere, nothing is on this disk."""
    tools = folder / ".tools"
    tools.mkdir(exist_ok=True)
    (tools / "steady.py").write_text(STEADY)
    for name, words in (("localent", f'"{tools}/steady.py" '), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (tools / name).chmod(0o755)
    own = {name: str(tools / name.lower()) for name in ("HOME", "LOCALENT_CACHE", "LOCALENT_DATA", "HF_HOME")}
    paths = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return os.environ | own | paths | {"COLUMNS": str(WIDTH), "PYTHONUTF8": "1", "NO_COLOR": "1"}


def masked(text: str, folder: Path) -> str:
    """Without this machine's folders and this day's times; tables keep no spaces at the ends of their lines."""
    for place, name in ((folder / ".tools", "~"), (folder, "."), (ROOT, "~/localent")):
        text = text.replace(str(place), name)
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def shown(text: str, n_lines: str) -> str:
    """A fenced block of the first lines; "…" stands for the rest."""
    lines = text.splitlines()
    kept = lines if not n_lines or len(lines) <= int(n_lines) else [*lines[: int(n_lines)], "…"]
    return "\n".join(["```text", *kept, "```", ""])


def main(pages: Sequence[Path] = PAGES) -> None:
    """Each page in a folder of its own."""
    for page in pages:
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(updated(page.read_text("utf-8"), Path(folder).resolve()), "utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]] or PAGES)
