"""A question from a notebook or a script."""

from __future__ import annotations

from collections.abc import Sequence

from localent.records import Trace
from localent.runs.ask import ask as asked
from localent.runs.ask import problem_of
from localent.runs.progress import ignore
from localent.runs.settings import DEFAULTS, Settings
from localent.tracing.watch import Watcher


def ask(
    model: str, question: str, *, answer: str = "", options: Sequence[str] = (), settings: Settings = DEFAULTS
) -> Trace:
    """Let a model reason about one question; the trace, which a notebook shows in colour. Nothing is stored.

    answer: the true one, where it is known. options: of a multiple-choice question, labelled A, B, C, ... Raises
    UsageError for a question that cannot be asked.
    """
    watcher = Watcher(token=lambda piece, measures: None, probe=ignore)
    return asked(model, problem_of(question, answer, options), settings, watcher)
