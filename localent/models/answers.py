"""What a hub says becomes names of files in the cache: it is checked in every answer, before the client uses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from localent.errors import LocalentError

COMMIT = "X-Repo-Commit"
NAMES = ("X-Linked-Etag", "X-Xet-Hash", COMMIT)
HEX = re.compile(r"[0-9a-fA-F]{32,128}")


def guard_client() -> None:
    """Have the hub's client refuse answers whose headers are no names. Safe to call again."""
    from huggingface_hub.utils import get_session

    client = get_session()
    hooks = client.event_hooks
    if check_answer not in hooks["response"]:
        client.event_hooks = hooks | {"response": [*hooks["response"], check_answer]}


def check_answer(response: Any) -> None:  # of the HTTP client that huggingface_hub uses, which changes
    """Raise LocalentError where an ETag or a commit is not hexadecimal. A plain ETag counts beside a commit only."""
    heads = response.headers
    for name in (*NAMES, "ETag") if COMMIT in heads else NAMES:
        value = heads.get(name)
        if value is not None and not HEX.fullmatch(value.lstrip("W/").strip('"')):
            raise LocalentError(
                f"{response.request.url.host} answered with {name} {value[:40]!r}, which names no file of a hub:"
                " nothing was written; look at HF_ENDPOINT."
            )


def remove_blob(path: Path, folder: Path) -> None:
    """Remove a file of a snapshot, and what it links to where that is in the folder of blobs: the user's own stays."""
    content = path.resolve()
    path.unlink(missing_ok=True)
    if content.parent == folder.resolve():
        content.unlink(missing_ok=True)
