"""A dask cluster reached, or started on this machine; what dask says, in words."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localent.errors import LocalentError, UsageError
from localent.runs.progress import Listener

if TYPE_CHECKING:
    from distributed import Client

EXTRA = "Work on a cluster needs dask: pip install 'localent[cluster]', here and on every worker."
TIMEOUT_S = 30
PATIENCE = {"distributed.deploy.lost-worker-timeout": "1h"}  # 15 s by default: a busy machine starts none in that
OPEN = (
    "{address} is reached without TLS: whoever can reach its ports can run code on the workers. On any network that"
    " others share, give dask certificates and use a tls:// address."
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster: the address of a scheduler, or a number of processes on this machine."""

    address: str | None = None
    n_workers: int = 0
    fetch: bool = False  # workers that lack the model fetch it from the hub

    def __post_init__(self) -> None:
        if (self.address is None) == (self.n_workers == 0):
            raise UsageError("Name a scheduler with --dask, or a number of processes on this machine with --workers.")
        if self.n_workers < 0:
            raise UsageError(f"--workers must be at least 1, got {self.n_workers}.")

    @contextmanager
    def client(self, listener: Listener) -> Iterator[Client]:
        """A client of it. TLS is set in dask's own configuration. Raises LocalentError where it cannot be reached."""
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise LocalentError(EXTRA) from error
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by us, in a sentence
        if self.address is None:
            options = dict(threads_per_worker=1, dashboard_address=None, memory_limit=0, silence_logs=logging.CRITICAL)
            listener.status(f"starting {self.n_workers} workers")
            with (
                dask.config.set(PATIENCE),
                LocalCluster(n_workers=self.n_workers, **options) as local,
                Client(local) as client,
            ):
                yield client
            return
        if self.address.startswith("tcp://") and not is_loopback(self.address):
            listener.note(OPEN.format(address=self.address))
        try:
            client = Client(self.address, timeout=TIMEOUT_S)
        except (OSError, ValueError, TypeError) as error:
            raise LocalentError(
                f"No dask scheduler answers at {self.address}: 'dask scheduler' starts one and says its address."
            ) from error
        with client:
            yield client


def is_loopback(address: str) -> bool:
    """True for an address that only this machine can reach."""
    host = urlsplit(address).hostname or ""
    try:
        return all(ipaddress.ip_address(info[4][0]).is_loopback for info in socket.getaddrinfo(host, None))
    except (OSError, ValueError):
        return False
