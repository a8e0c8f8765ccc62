"""Tables of the documentation that are made from the code: what a number means is written where it is computed.

A page holds <!-- table NAME --> ... <!-- end -->; scripts/docs.py writes the table in, and a test compares it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, one line a row."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(_cell(value) for value in line)} |\n" for line in lines)


def _cell(value: object) -> str:
    return re.sub(r"\s+", " ", str(value)).replace("|", "\\|").strip()


# --- from docstrings --------------------------------------------------------------------------------------------------


def definitions(*functions: Callable[..., Any]) -> str:
    """Name, definition and source of functions, from their docstrings."""
    return markdown(("function", "definition, unit, shape", "source"), map(definition, functions))


def definition(function: Callable[..., Any]) -> tuple[str, str, str]:
    """(name, what its docstring says but for errors and source, the source)."""
    text = inspect.cleandoc(function.__doc__ or "")
    said, _, source = re.sub(r"\s+", " ", text).partition("Source:")
    said = re.sub(r"\bRaises:? .*", "", said)
    return f"`{function.__name__}`", plain(said), plain(source).rstrip(".")


def plain(text: str) -> str:
    """Text of a docstring as Markdown: no HTML, no emphasis where a formula has a star or an underscore."""
    parts = re.split(r"(`[^`]*`)", text.strip())
    return "".join(part if part.startswith("`") else re.sub(r"([<*_])", r"\\\1", part) for part in parts)


def _measures() -> str:
    from localent.measure import divergence, entropy

    return definitions(
        entropy.entropy, entropy.varentropy, entropy.renyi2, divergence.kl, divergence.js, divergence.total_variation
    )


def _scores() -> str:
    from localent.analysis import profile, scores, signatures
    from localent.stopping import falls

    of_tokens = (scores.mean, scores.total, scores.largest, scores.std, scores.quantile, scores.spike_count)
    of_traces = (scores.forking_share, scores.edis, scores.envelope_area, scores.worst_window, scores.tail)
    of_answers = (signatures.coherence, signatures.violations, signatures.lock_time, signatures.modal_lock)
    of_moves = (signatures.slope, profile.bend, profile.switches, profile.path_length, falls)
    of_samples = (scores.disagreement, scores.n_distinct, scores.semantic_entropy, scores.pass_rate_of_others)
    return definitions(*of_tokens, *of_traces, *of_answers, *of_moves, *of_samples)


def _metrics() -> str:
    from localent.analysis import fano, information, intervals, metrics, significance

    ranks = (metrics.auroc, metrics.aurc, metrics.excess_aurc, metrics.prr)
    stated = (metrics.brier, metrics.ece, information.readable, fano.fano_bound)
    certain = (intervals.bootstrap, intervals.wilson, intervals.share)
    tests = (significance.separation_shift, significance.stratified_shift, significance.sign_flip_p, significance.holm)
    return definitions(*ranks, *stated, *certain, *tests)


# --- from lists -------------------------------------------------------------------------------------------------------


def _signals() -> str:
    from localent.analysis.trace_signals import signals_of

    all_measured: Any = SimpleNamespace(own=True, rolled=True)
    rows = ((f"`{one.key}`", one.title, one.family, one.missing) for one in signals_of(all_measured))
    return markdown(("key", "signal", "of", "missing where"), rows)


def _claims() -> str:
    from localent.analysis import claims

    found = [one for one in vars(claims).values() if isinstance(one, claims.Claim)]
    rows = ((one.title, one.unit, claims.SMALLEST.get(one.unit, ""), one.test) for one in found)
    return markdown(("claim", "unit of the effect", "smallest that counts", "test"), rows)


def _quantities() -> str:
    from localent.analysis.quantities import QUANTITIES

    itself = {None: "", 0.0: "0", 1.0: "1"}
    told = (one for one in QUANTITIES.values() if not re.match(r"[\d.]+%", one.key))  # percentiles: in the text
    rows = ((f"`{one.key}`", one.unit, itself[one.at_itself]) for one in told)
    return markdown(("key in `--json` and the database", "unit", "of a model and itself"), rows)


def _columns() -> str:
    """Every table and view with its columns."""
    from localent.store import describe, open_db

    with TemporaryDirectory() as folder, open_db(Path(folder) / "new.db") as db:
        parts = [
            f"## {one.name}\n\nA {one.kind}. One row: {plain(one.one_row)}.\n\n"
            + markdown(
                ("column", "unit", "meaning"),
                ((f"`{c.column}`", c.unit, plain(c.about)) for c in describe.columns(db, one.name)),
            )
            for one in describe.relations(db)
        ]
    return "\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    "measures": _measures, "scores": _scores, "metrics": _metrics, "signals": _signals,
    "claims": _claims, "quantities": _quantities, "columns": _columns,
}  # fmt: skip
