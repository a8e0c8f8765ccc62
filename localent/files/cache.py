"""What localent once chose for a model on this machine, so that the same command is the same run later."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

from localent.files.identity import cache_dir


def remembered(what: dict[str, object], choose: Callable[[], Any]) -> Any:
    """What was chosen for `what` (its circumstances) the first time, as JSON keeps it; chosen now if nothing was."""
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
    place = cache_dir() / "choices" / f"{key}.json"
    try:
        return json.loads(place.read_text())["chosen"]
    except (OSError, ValueError, KeyError, TypeError):
        chosen = choose()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"what": what, "chosen": chosen}))
        partial.replace(place)
    except OSError:
        pass  # in a read-only home the choice is made anew each time
    return chosen
