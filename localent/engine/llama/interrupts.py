"""Signals that arrive while llama.cpp is at work.

An exception that a Python handler raises inside a callback cannot pass through C, and the handler runs before the
callback's own `try`. So during a call the handlers only note the signal, which reaches its owner after the call.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

LOG = logging.getLogger("localent")
Handler = Callable[[int, FrameType | None], Any] | int  # as `signal.signal` takes it
NUMBERS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))  # Windows has no SIGHUP


@contextmanager
def held(clean_up: Callable[[], object] | None = None) -> Iterator[None]:
    """Deliver Ctrl-C when the block has ended, so that it stops what comes next.

    clean_up: called before SIGTERM, SIGHUP or a second Ctrl-C end the process, at llama.cpp's next callback.
    Without it these signals keep their effect.
    """
    taken = _owned(clean_up is not None) if threading.current_thread() is threading.main_thread() else {}
    noted: list[int] = []

    def note(number: int, _: object) -> None:
        if clean_up and (number in noted or taken[number] is signal.SIG_DFL):
            clean_up()
            os._exit(128 + number)
        if clean_up and not noted:
            LOG.warning("stopping when this file is finished; Ctrl-C again stops at once.")
        noted.append(number)

    for number in taken:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, owner in taken.items():
            signal.signal(number, owner)
        for number in sorted(set(noted), key=signal.SIGINT.__eq__):  # those that raise last
            signal.raise_signal(number)


def _owned(ends: bool) -> dict[int, Handler]:
    """Signal -> its handler now, for those that a Python handler answers or, with `ends`, that end the process.

    What is ignored stays ignored: Ctrl-C in the background, hanging up under nohup.
    """
    found = {number: signal.getsignal(number) for number in NUMBERS}
    answered = {n: owner for n, owner in found.items() if callable(owner) or (ends and owner is signal.SIG_DFL)}
    return {n: owner for n, owner in answered.items() if owner is not None}
