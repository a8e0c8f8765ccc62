"""Files that may be opened: a pipe or a device may never begin, or never end, and links may lead round in a circle."""

from __future__ import annotations

import os
from pathlib import Path

from localent.errors import LocalentError


def refuse_special(path: Path) -> None:
    """Raise for a pipe, a socket or a device: opening it may wait for ever. A missing file is the caller's."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise LocalentError(f"{path} is a pipe or a device: save what it holds to a file, and name that.")


def real(path: Path) -> Path:
    """The path without links, as `Path.resolve`, which raises RuntimeError where links lead round in a circle."""
    return Path(os.path.realpath(path.expanduser()))
