"""Ctrl-C in child processes: ignored where the tests run in the background, and children inherit that."""

from __future__ import annotations

import signal


def heard() -> None:
    """For `preexec_fn` of a child process that is to hear it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
