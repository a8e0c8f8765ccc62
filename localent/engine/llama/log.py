"""llama.cpp's log, kept instead of printed: it gives no other reason for a failure.

What Python raises inside a callback cannot pass through C: it is raised again after the call. Ctrl-C comes before a
callback's own `try` and needs `interrupts.held`.
"""

from __future__ import annotations

import collections
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from localent.engine.llama.bindings import C

_LINES: collections.deque[str] = collections.deque(maxlen=40)


@C.llama_log_callback
def _keep(level, text, _):
    _LINES.append(text.decode("utf-8", "replace"))


C.llama_log_set(_keep, ctypes.c_void_p(0))  # after the import of the bindings, which installs their own printer


def clear() -> None:
    """Forget what was said before a call."""
    _LINES.clear()


def last_words() -> str:
    """The end of the log, as a sentence."""
    lines = [line.strip() for line in "".join(_LINES).splitlines() if "error" in line.lower() or "fail" in line.lower()]
    return f"It said: {lines[0]}" if lines else "It gave no reason."


@contextmanager
def heard_by(hear: Callable[[str], object]) -> Iterator[None]:
    """Let `hear` listen to every line. What it raises is raised when the call inside has ended."""
    raised: list[BaseException] = []

    @C.llama_log_callback
    def listen(level, text, _):
        try:
            _LINES.append(text.decode("utf-8", "replace"))
            hear(_LINES[-1])
        except BaseException as error:
            raised.append(error)

    clear()
    C.llama_log_set(listen, ctypes.c_void_p(0))
    try:
        yield
    finally:
        C.llama_log_set(_keep, ctypes.c_void_p(0))
    if raised:
        raise raised[0]
