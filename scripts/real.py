"""docs/real.md: what localent sees on real models, run and written anew.

    .venv/bin/python scripts/real.py MODELS DATA WORK

MODELS holds the files that the page names, DATA gsm8k/test.jsonl and the ARC file. WORK keeps the databases: a
stopped script continues where it was, and a second call only prints again. About an hour on one slow core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import docs

PAGE = docs.ROOT / "docs" / "real.md"


def linked(work: Path, name: str, target: Path) -> None:
    """Make the folder reachable from the commands of the page by a short name."""
    link = work / name
    if not link.exists():
        link.symlink_to(target.resolve(), target_is_directory=True)


def main(models: Path, data: Path, work: Path) -> None:
    """Run the page's commands in `work` and insert their output; figures go beside the page."""
    work.mkdir(parents=True, exist_ok=True)
    for name, target in (("models", models), ("data", data), ("real", PAGE.parent / "real")):
        target.mkdir(exist_ok=True)
        linked(work, name, target)
    PAGE.write_text(docs.updated(PAGE.read_text("utf-8"), work.resolve()), "utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
