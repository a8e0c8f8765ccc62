"""Watch the uncertainty of a language model while it reasons.

import localent
task = localent.load("demo-number")
outcome = localent.run("abacus-sft", task.first(50), db="runs.db")
localent.open_db("runs.db").traces(outcome.run_id)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
_HOMES = {
    "run": "runs", "Settings": "runs", "load": "tasks", "Columns": "tasks", "open_db": "store", "select": "store",
    "trace_html": "report.notebook",
}  # fmt: skip
__all__ = ["Columns", "Settings", "__version__", "load", "open_db", "run", "select", "trace_html"]


def __getattr__(name: str) -> Any:
    """Import on first use: `localent --help` must not wait for llama.cpp."""
    if name in _HOMES:
        return getattr(import_module(f"localent.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'localent' has no attribute '{name}'")
