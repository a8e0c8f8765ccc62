"""The manifest of a folder of Parquet files: which are complete, of which run, and how to know them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import localent
from localent.errors import LocalentError
from localent.store.db import Database
from localent.store.migrations import version

NAME = "manifest.json"
FORMAT = 1  # of the manifest itself


def add(folder: Path, db: Database, run_id: str, files: Mapping[str, tuple[Path, int]]) -> None:
    """Note the files of a run, table -> (path, rows), in place of those that it had before."""
    run = db.run(run_id)
    model = db.model(run.model_sha256)
    entry = {
        "model": f"{model.name} {model.quant}",
        "model_sha256": model.sha256,
        "task": run.task,
        "settings": run.settings,
        "build": run.build,
        "schema": version(db.conn),
        "files": {table: _file(folder, path, n_rows) for table, (path, n_rows) in files.items()},
    }
    whole = read(folder) or {"format": FORMAT, "localent": localent.__version__, "runs": {}}
    whole["runs"][run_id] = entry
    part = folder / f"{NAME}.part"
    part.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(folder / NAME)


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None where there is none. Raises LocalentError where it is not one of ours."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("runs"), dict):
        raise LocalentError(f"{path} is not a manifest that localent wrote: name another folder with -o.")
    return found


def _file(folder: Path, path: Path, n_rows: int) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"path": path.relative_to(folder).as_posix(), "rows": n_rows, "bytes": path.stat().st_size, "sha256": digest}
