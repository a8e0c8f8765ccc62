"""Odd files are loaded in a child process first: llama.cpp ends the whole process on a header that it asserts about.

A header is plain when everything in it is known to be good (see `plain`). Any other is odd, which is no fault: a child
process loads the file, tokenizes and decodes a little, and what passes is not tried again.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from localent.engine.llama import interrupts, plain
from localent.engine.llama.bindings import VERSION
from localent.errors import LocalentError
from localent.files import cache
from localent.files.header import parts, read_header
from localent.files.opening import real

SECONDS, BYTES_PER_SECOND = 60, 20_000_000  # time limit of a child: a base, and a slow disk
RULES = 2  # the version of what counts as plain: a file that passed older rules is looked at again
OUT_OF_TIME = getattr(signal, "SIGXCPU", 0)
USE, LOAD = "use", "load"  # what a child tries: all that a run does, or only what a quantization needs


def check(path: Path, purpose: str = USE) -> None:
    """Raise LocalentError for a file that is odd and that a child process could not use for this purpose."""
    path = real(Path(path))
    if not all(part.is_file() for part in parts(path)):
        return  # reported where the file is opened
    key = cache.key_of([cache.file_key(*parts(path)), VERSION, RULES])
    if cache.read("tried", key, bool) or (purpose == LOAD and cache.read("loaded", key, bool)):
        return
    if odd(path) and (refused := trial(path, purpose)):
        raise LocalentError(refused)
    cache.write("tried" if purpose == USE else "loaded", key, True)


def odd(path: Path) -> list[str]:
    """The oddities of a header; empty for a plain one."""
    try:
        return list(plain.oddities(read_header(path)))
    except LocalentError as error:
        return [str(error)]


def trial(path: Path, purpose: str = USE) -> str | None:
    """Load the file in a child process: None, or why it cannot be used, in one sentence."""
    seconds = SECONDS + path.stat().st_size // BYTES_PER_SECOND
    package = str(Path(__file__).parents[3])
    env = os.environ | {"PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    env["GGML_NO_BACKTRACE"] = "1"  # or an abort waits for a debugger to attach
    command = [sys.executable, "-m", "localent.engine.llama.trial", purpose, str(path)]
    try:
        code, out, err = _done(command, env, seconds)
    except subprocess.TimeoutExpired:
        return f"{path} did not load within {seconds} s: its header looks damaged, download it again."
    if code == 0:
        answer: str | None = json.loads(out.splitlines()[-1])
        return answer
    if code == -OUT_OF_TIME:
        return f"{path} takes too long to load: its header looks damaged, download it again."
    reason = _last_line(err.decode("utf-8", "replace"))
    return f"{path} makes llama.cpp crash ({reason}): it is damaged or not supported, download it again."


def _done(command: list[str], env: dict[str, str], seconds: float) -> tuple[int, bytes, bytes]:
    """Exit code, stdout and stderr of a process that never outlasts this call: not even where a signal begins it."""
    child: subprocess.Popen[bytes] | None = None
    try:
        with interrupts.held():
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
            )
        out, err = child.communicate(timeout=seconds)
    except BaseException:
        if child:
            child.kill()
            child.communicate()
        raise
    return child.returncode, out, err


def _last_line(text: str) -> str:
    """The most informative line of a crash."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "ASSERT" in line or "what()" in line or "Error" in line]
    return (telling or lines or ["without a word"])[-1][:160]
