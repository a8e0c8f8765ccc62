"""The process that runs commands for the campaign, one after the other; it may well be ended by one of them.

A request is a line of JSON, [argument, ...]; so is its answer.
"""

from __future__ import annotations

import io
import json
import os
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout

CONTROLS = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0))} - {"\n", "\t", "\r"}


def run(arguments: list[str]) -> dict[str, object]:
    """Run a command in this process: its exit code, what it printed, and the traceback that it should not have."""
    from localent.cli import main

    out, trace, code = io.StringIO(), None, 0
    try:
        with redirect_stdout(out), redirect_stderr(out):
            main.main(arguments, prog_name="localent", standalone_mode=True)
    except SystemExit as error:
        code = int(error.code) if isinstance(error.code, int) else 1
    except BaseException:
        trace = traceback.format_exc()
    text = out.getvalue()
    return {"code": code, "trace": trace, "output": text[-2000:], "controls": sorted(CONTROLS & set(text))}


def serve() -> None:
    """Answer requests until there are no more. llama.cpp's own words go nowhere: fd 1 is kept for answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.stdout = io.StringIO()
    for line in sys.stdin:
        answers.write(json.dumps(run(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve()
