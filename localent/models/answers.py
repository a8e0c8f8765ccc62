"""What a hub says becomes names of files in the cache: it is checked in every answer, before the client uses it.

A hub may also send without end, pack its bodies, ask for a wait of years, or point to other hosts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from localent.errors import LocalentError
from localent.files.opening import real

COMMIT = "X-Repo-Commit"
NAMES = ("X-Linked-Etag", "X-Xet-Hash", COMMIT)
HEX = re.compile(r"[0-9a-fA-F]{32,128}")
LISTING = 1 << 26  # bytes of an answer that is no file
ANSWER_S = 30.0  # how long an answer may keep one waiting, where the client sets no limit
WAIT_S = 60  # how long a hub may ask to wait
WAITS = ("Retry-After", "RateLimit")
_most: ContextVar[int] = ContextVar("most", default=LISTING)  # bytes of a body


def guard_client(hub: str) -> None:
    """Have the hub's client refuse answers that name no file, or do not end. hub: its host. Safe to call again."""
    from huggingface_hub.utils import get_session

    client = get_session()
    client.headers["Accept-Encoding"] = "identity"  # what is packed may become a thousand times as large
    if not any(getattr(hook, "hub", None) == hub for hook in client.event_hooks["request"]):
        kept = {kind: [h for h in hooks if not hasattr(h, "hub")] for kind, hooks in client.event_hooks.items()}
        kept["request"].append(_for(hub, check_request))
        kept["response"].append(_for(hub, check_answer))
        client.event_hooks = kept


def _for(hub: str, check: Callable[[str, Any], None]) -> Callable[[Any], None]:
    def hook(message: Any) -> None:
        check(hub, message)

    hook.hub = hub  # type: ignore[attr-defined]
    return hook


@contextmanager
def at_most(n_bytes: int) -> Iterator[None]:
    """Context: bodies may have so many bytes."""
    before = _most.set(n_bytes)
    try:
        yield
    finally:
        _most.reset(before)


def check_request(hub: str, request: Any) -> None:  # of the HTTP client that huggingface_hub uses, which changes
    """Give every request a time limit, and the user's token to the hub alone, wherever its answers point."""
    limits = request.extensions.get("timeout") or {}
    kinds = ("connect", "read", "write", "pool")
    given = {kind: limits.get(kind) for kind in kinds}
    request.extensions["timeout"] = {k: ANSWER_S if seconds is None else seconds for k, seconds in given.items()}
    if request.url.host != hub:
        request.headers.pop("Authorization", None)


def check_answer(hub: str, response: Any) -> None:
    """Raise LocalentError for an answer that no hub gives; a body that does not end when it should raises it, too.

    An ETag or a commit must be hexadecimal. A plain ETag counts beside a commit only.
    """
    heads, host = response.headers, response.request.url.host
    for name in (*NAMES, "ETag") if COMMIT in heads else NAMES:
        value = heads.get(name)
        if value is not None and not HEX.fullmatch(value.lstrip("W/").strip('"')):
            raise LocalentError(
                f"{host} answered with {name} {value[:40]!r}, which names no file of a hub:"
                " nothing was written; look at HF_ENDPOINT."
            )
    if heads.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise LocalentError(
            f"{host} sends compressed data, which was not asked for: nothing was kept; look at HF_ENDPOINT."
        )
    if any(int(number[-9:]) > WAIT_S or len(number) > 9 for number in _waits(response)):
        raise LocalentError(f"{host} asks to wait for longer than {WAIT_S} s: try again later.")
    response.iter_raw = _ending(response.iter_raw, host)


def _waits(response: Any) -> list[str]:
    """The seconds that an answer asks to wait, as digits: "120", or t of "api";r=0;t=120."""
    if response.status_code < 400:
        return []
    texts = [response.headers.get(name, "") for name in WAITS]
    return re.findall(r"^\d+$", texts[0].strip()) + re.findall(r"t=(\d+)", texts[1])


def _ending(pieces: Callable[..., Iterator[bytes]], host: str) -> Callable[..., Iterator[bytes]]:
    """The pieces of a body, as long as it has no more bytes than it may have now."""

    def limited(*args: Any) -> Iterator[bytes]:
        left = _most.get()
        for piece in pieces(*args):
            left -= len(piece)
            if left < 0:
                raise LocalentError(f"{host} sends more than it announced: nothing was kept; look at HF_ENDPOINT.")
            yield piece

    return limited


def remove_blob(path: Path, folder: Path) -> None:
    """Remove a file of a snapshot, and what it links to where that is in the folder of blobs: the user's own stays."""
    content = real(path)
    path.unlink(missing_ok=True)
    if content.parent == real(folder):
        content.unlink(missing_ok=True)
