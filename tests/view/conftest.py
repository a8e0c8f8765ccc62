"""The site on a port of this machine, in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest


@contextmanager
def running(*databases):
    import uvicorn

    from localent.view import server

    with server.listening(0) as sock:
        site = uvicorn.Server(server.settings(databases))
        thread = threading.Thread(target=site.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield server.address(databases, sock.getsockname()[1])
        finally:
            site.should_exit = True
            thread.join()


@pytest.fixture
def served():
    """Function: databases -> context with the address of their pages."""
    return running
