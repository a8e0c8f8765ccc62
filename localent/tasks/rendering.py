"""Chat templates run by a child process with limits on time, memory and output; what came of it is remembered.

A template is a program that came with a model file. The child (`sandbox`) starts with the first template that the
cache does not know, and ends with this process.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from localent.errors import LocalentError
from localent.files import cache

SANDBOX = Path(__file__).with_name("sandbox.py")
RULES = 1  # the version of the sandbox: other rules, other outcomes
WAIT = 120.0  # seconds of waiting for an answer, on a machine that has other work: the sandbox limits its own computing
MOST = 1 << 20  # characters of a template
ANSWERS = {"text": str, "names": list, "refused": str, "broken": str, "stopped": str}
LONE = re.compile("[\ud800-\udfff]")  # surrogates, which are no characters
TOO_SLOW = "it computes for more than a second"
Answer = dict[str, Any]  # one of ANSWERS


class RefusedError(LocalentError):
    """The template itself does not want this dialogue; another form of it may do."""


def render(template: str, variables: Mapping[str, Any]) -> str:
    """A template's text. Raises RefusedError with its words; LocalentError where it is broken or passes a limit."""
    found = _answer(template, what="text", variables=dict(variables))
    if "refused" in found:
        raise RefusedError(found["refused"])
    text = str(found["text"])
    if LONE.search(text) and not LONE.search(json.dumps(variables, ensure_ascii=False)):
        raise LocalentError(_cannot("it writes a lone surrogate, which is no character"))
    return text


def names(template: str) -> frozenset[str]:
    """The variables that a template takes from outside. Raises LocalentError as `render` does."""
    found = _answer(template, what="names")
    if "refused" in found:
        raise RefusedError(found["refused"])
    return frozenset(found["names"])


def _answer(template: str, **request: Any) -> Answer:
    if len(template) > MOST:
        raise LocalentError(_cannot(f"it is longer than {MOST:,} characters"))
    found = _remembered(json.dumps({"template": template, **request}, sort_keys=True))
    if "broken" in found:
        raise LocalentError(
            f"The model's chat template is broken ({found['broken']}): give another one with --chat-template-file."
        )
    if "stopped" in found:
        raise LocalentError(_cannot(found["stopped"]))
    return found


def _cannot(why: str) -> str:
    return f"The model's chat template cannot be used ({why}): give another one with --chat-template-file."


@lru_cache(maxsize=32)
def _remembered(request: str) -> Answer:
    """The sandbox's answer: from the cache, where it was asked before under the same rules."""
    key = cache.key_of([RULES, version("jinja2"), request])
    known = cache.read("templates", key, _checked)
    if known is not None:
        return known
    found, lasting = _asked(request)
    if lasting:
        cache.write("templates", key, found)
    return found


def _checked(entry: Any) -> Answer:
    (name, value), *others = entry.items()
    if others or not isinstance(value, ANSWERS[name]):
        raise ValueError("not an answer")
    return {name: value}


# ── the child ─────────────────────────────────────────────────────────────────────────────────────────────────────

_LOCK = threading.Lock()
_CHILD: list[subprocess.Popen[bytes]] = []  # the one that answers; none before the first request


def _asked(request: str) -> tuple[Answer, bool]:
    """(the answer, True if it would be the same another time)."""
    with _LOCK:
        try:
            line = _exchanged(_child(), request.encode() + b"\n")
        except BaseException:
            _end()  # an answer that is still to come would be taken for that to the next request
            raise
        if line.endswith(b"\n"):
            found = _checked(json.loads(line))
            if "stopped" in found:
                _end()
            return found, True
        code = _end()
        too_slow = code == -getattr(signal, "SIGPROF", 0)
        return {"stopped": TOO_SLOW if too_slow else "it ends the process that runs it"}, too_slow


def _exchanged(child: subprocess.Popen[bytes], line: bytes) -> bytes:
    """The child's answer; nothing where it ended instead."""
    assert child.stdin is not None
    assert child.stdout is not None
    timer = threading.Timer(WAIT, child.kill)
    timer.start()
    try:
        with suppress(BrokenPipeError):
            child.stdin.write(line)
            child.stdin.flush()
        return child.stdout.readline()
    finally:
        timer.cancel()


def _child() -> subprocess.Popen[bytes]:
    if not _CHILD:
        env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-P", str(SANDBOX)]  # -P: its neighbours are named like modules of the library
        _CHILD.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env)
        )
    return _CHILD[0]


@atexit.register
def _end() -> int | None:
    """End the child; its exit code."""
    if not _CHILD:
        return None
    child = _CHILD.pop()
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            with suppress(OSError):
                pipe.close()
    return child.wait()
