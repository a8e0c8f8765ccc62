"""Watch the uncertainty of a language model while it reasons.

import localent
task = localent.load("demo-number")
outcome = localent.run("abacus-sft", task.first(50), db="runs.db")
localent.open_db("runs.db").traces(outcome.run_id)
localent.ask("abacus-sft", "2 + 3 * 4 = ?", answer="14")

In a notebook, traces, runs, databases and comparisons show themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
_HOMES = {
    "ask": "runs.interactive", "run": "runs", "Settings": "runs", "load": "tasks", "Columns": "tasks",
    "open_db": "store", "select": "store", "compare_task": "compare", "write_page": "report.page",
    "figure": "report.notebook", "as_html": "report.notebook", "trace_html": "report.notebook",
}  # fmt: skip
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import on first use: `localent --help` must not wait for llama.cpp."""
    if name in _HOMES:
        return getattr(import_module(f"localent.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'localent' has no attribute '{name}'")


def __dir__() -> list[str]:
    """The public names: what TAB offers in a notebook."""
    return sorted(__all__)
