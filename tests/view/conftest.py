"""The site on a port of this machine, in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest


@contextmanager
def site_of(*databases):
    import uvicorn

    from localent.view import server
    from localent.view.app import Site

    with server.listening(0) as sock:
        site = Site(databases)
        running = uvicorn.Server(server.settings(site))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield server.address(databases, sock.getsockname()[1])
        finally:
            running.should_exit = True
            thread.join()
            site.close()


@pytest.fixture
def served():
    """Function: databases -> context with the address of their pages."""
    return site_of
