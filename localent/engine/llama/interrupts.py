"""Signals that arrive while llama.cpp is at work.

An exception that a Python handler raises inside a callback cannot pass through C, and the handler runs before the
callback's own `try`: it would be lost. So during every call that may log, the handlers only note the signal, which
reaches its owner after the call.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

LOG = logging.getLogger("localent")
Handler = Callable[[int, FrameType | None], Any] | int  # as `signal.signal` takes it
NUMBERS = (*map(int, (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))),)  # Windows lacks it


class held:  # noqa: N801  used as a function
    """Context: deliver Ctrl-C when the block has ended, so that it stops what comes next.

    clean_up: called before SIGTERM, SIGHUP or a second Ctrl-C end the process, at llama.cpp's next callback.
    Without it these signals keep their effect.
    """

    def __init__(self, clean_up: Callable[[], object] | None = None) -> None:
        self.clean_up, self.noted = clean_up, list[int]()
        self.taken: dict[int, Handler] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.taken = _owned(self.clean_up is not None)
        try:
            for number in self.taken:  # Ctrl-C first: from then on it raises nothing here
                signal.signal(number, self._note)
        except BaseException:
            self._give_back()
            raise

    def __exit__(self, *_: object) -> None:
        self._give_back()
        for number in sorted(set(self.noted), key=signal.SIGINT.__eq__):  # those that raise last
            signal.raise_signal(number)

    def _give_back(self) -> None:
        for number in reversed(self.taken):  # Ctrl-C last: from then on it may raise here
            signal.signal(number, self.taken[number])

    def _note(self, number: int, _: object) -> None:
        if self.clean_up and (number in self.noted or _ends(self.taken[number])):
            self.clean_up()
            os._exit(128 + number)
        if self.clean_up and not self.noted:
            LOG.warning("stopping when this file is finished; Ctrl-C again stops at once.")
        self.noted.append(number)


def _ends(owner: Handler) -> bool:
    """True for a handler that ends the process in any case: the system's default, or a command's."""
    return owner == signal.SIG_DFL or getattr(owner, "ends_the_process", False)


def _owned(ends: bool) -> dict[int, Handler]:
    """Signal -> its handler now, for those that a Python handler answers or, with `ends`, that end the process.

    What is ignored stays ignored: Ctrl-C in the background, hanging up under nohup.
    """
    found = {number: signal.getsignal(number) for number in NUMBERS}
    answered = {n: owner for n, owner in found.items() if callable(owner) or (ends and owner == signal.SIG_DFL)}
    return {n: owner for n, owner in answered.items() if owner is not None}
