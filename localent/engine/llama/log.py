"""llama.cpp's log, kept instead of printed: it gives no other reason for a failure. Its warnings are passed on.

What Python raises inside a callback cannot pass through C: it is raised again after the call. Ctrl-C comes before a
callback's own `try` and needs `interrupts.held`.
"""

from __future__ import annotations

import collections
import ctypes
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from localent.engine.llama.bindings import C

WARN, CONT = 3, 5  # levels of ggml; CONT goes on with the line before
LONGEST = 300  # characters of a warning: it may quote what the file holds
REPAIRED = "its type will be overridden"  # llama.cpp sets right what it warns of; Qwen's and Gemma's files all have it

_LINES: collections.deque[str] = collections.deque(maxlen=40)
_WARNINGS: collections.deque[str] = collections.deque(maxlen=40)
_LEVEL = [0]  # of the line that CONT goes on with


def _append(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace")
    _LINES.append(line)
    _LEVEL[0] = _LEVEL[0] if level == CONT else level
    if _LEVEL[0] == WARN:
        _WARNINGS.append(line)


_KEEP = C.llama_log_callback(_append)  # referenced for as long as llama.cpp may call it
C.llama_log_set(_KEEP, ctypes.c_void_p(0))  # after the import of the bindings, which installs their own printer


def _mute() -> object:
    """A callback in C that ignores the text: libc's abs, which reads its first argument, the level, alone."""
    libc = ctypes.CDLL(None if sys.platform != "win32" else "msvcrt")
    return ctypes.cast(libc.abs, C.llama_log_callback)


_MUTE = _mute()


@contextmanager
def muted() -> Iterator[None]:
    """Context: nothing is heard, and so no Python runs inside of llama.cpp that a signal could fall into.

    For calls that come thousands of times a second: holding signals takes several system calls.
    """
    try:
        C.llama_log_set(_MUTE, ctypes.c_void_p(0))
        yield
    finally:
        C.llama_log_set(_KEEP, ctypes.c_void_p(0))


def clear() -> None:
    """Forget what was said before a call."""
    _LINES.clear()
    _WARNINGS.clear()


def warnings() -> str | None:
    """llama.cpp's warnings since `clear`, in one line without control characters; None if there are none."""
    lines = (re.sub(r"^\s*\w+:", "", line).strip() for line in "".join(_WARNINGS).splitlines())
    telling = dict.fromkeys(line for line in lines if re.search(r"\w", line) and REPAIRED not in line)
    text = "".join(c if c.isprintable() else "?" for c in "; ".join(telling))
    if not text:
        return None
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def last_words() -> str:
    """The end of the log, as a sentence."""
    lines = [line.strip() for line in "".join(_LINES).splitlines() if "error" in line.lower() or "fail" in line.lower()]
    return f"It said: {lines[0]}" if lines else "It gave no reason."


def line_with(words: str) -> str | None:
    """The last line of the log that holds these words, without the function that wrote it; None where none does."""
    lines = (line.strip() for line in "".join(_LINES).splitlines() if words in line.lower())
    last = list(lines)[-1:]
    return re.sub(r"^\w+:\s*", "", last[0]) if last else None


@contextmanager
def heard_by(hear: Callable[[str], object]) -> Iterator[None]:
    """Let `hear` listen to every line. What it raises is raised when the call inside has ended."""
    raised: list[BaseException] = []

    def listen(level: int, text: bytes, _: object) -> None:
        try:
            _append(level, text, _)
            hear(_LINES[-1])
        except BaseException as error:
            raised.append(error)

    callback = C.llama_log_callback(listen)
    clear()
    C.llama_log_set(callback, ctypes.c_void_p(0))
    try:
        yield
    finally:
        C.llama_log_set(_KEEP, ctypes.c_void_p(0))
    if raised:
        raise raised[0]
