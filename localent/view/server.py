"""The site on a port of this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import uvicorn

from localent.errors import LocalentError, UsageError
from localent.view.app import Site, application, named

HOST = "127.0.0.1"
PATIENCE_S = 1  # for requests that are being answered when it ends


def serve(databases: Sequence[Path], port: int, ready: Callable[[str], object]) -> None:
    """Serve the databases until the process is told to stop. ready: takes the address, once it can be asked.

    port: 0 for a free one. Raises UsageError for one that cannot be used.
    """
    with listening(port) as sock, ended_by_signals():
        site = Site(databases)
        ready(address(databases, sock.getsockname()[1]))
        try:
            uvicorn.Server(settings(site)).run(sockets=[sock])
        except KeyboardInterrupt:
            pass  # the usual way to end it
        finally:
            site.close()


def settings(site: Site) -> uvicorn.Config:
    """How the server runs."""
    return uvicorn.Config(
        application(site),
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=PATIENCE_S,
    )


def address(databases: Sequence[Path], port: int) -> str:
    """Where to begin."""
    names = list(named(databases))
    return f"http://{HOST}:{port}/" + (f"{quote(names[0])}/" if len(names) == 1 else "")


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Context: a socket that accepts connections from this machine only."""
    if not 0 <= port < 65536:
        raise UsageError(f"--port must be between 0 and 65535, got {port}.")
    with socket.socket() as sock:
        if os.name == "posix":  # elsewhere it would let two programs share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError as error:
            why = f"Cannot use port {port}: {error.strerror}. Choose another with --port, or 0 for any that is free."
            raise LocalentError(why) from error
        sock.listen()
        yield sock


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Context: uvicorn raises the signals that ended it once more; then SIGTERM is nothing but an end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_in_browser(url: str) -> None:
    """Open it in the user's browser, where there is a screen: a browser in the terminal would take the terminal."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
