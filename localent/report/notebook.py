"""Traces, runs, databases and comparisons as HTML for notebooks: no script, all text escaped, light and dark.

The records call `as_html` through the package's front door, since rooms below this one may not import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from localent.compare import Comparison
from localent.errors import LocalentError
from localent.records import Probe, Run, Token, Trace, token_texts
from localent.report.measures import level_of
from localent.report.science import Table
from localent.report.table import cell_text, harmless
from localent.report.trace import n_tokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from localent.store import Database

OF_RUNS: tuple[str, ...] = (
    "run_id",
    "model",
    "quant",
    "task",
    "n_traces",
    "n_problems",
    "accuracy",
    "mean_entropy_right",
)
OF_RUNS += ("mean_entropy_wrong", "answer_entropy_half_right", "answer_entropy_half_wrong")
COLOURS = ("", "#fff3d6", "#ffdf9e", "#ffc266", "#f79a3e", "#d9601a")  # as in the report
N_ANSWERS = 3


def trace_html(trace: Trace) -> str:
    """The text coloured by entropy, with each token's measures on hover, and the answer distribution by step."""
    texts = token_texts([token.text for token in trace.tokens])
    words = "".join(map(word, trace.tokens, texts))
    answer = "nothing that could be parsed" if trace.extraction.value is None else trace.extraction.value
    said = f"answered {escape(harmless(answer))}, {n_tokens(trace)}"
    verdict = f"<b>{'right' if trace.correct else 'wrong'}</b>: {said}"
    return f'<div><p>{verdict}</p><p style="white-space:pre-wrap;line-height:1.7">{words}</p>{table(trace)}</div>'


def word(token: Token, text: str) -> str:
    """One token as a <span>; in italics and without colour where it came from outside."""
    if token.given:
        return f'<i title="from outside">{escape(harmless(text))}</i>'
    others = ", ".join(f"{other.text!r} {other.prob:.2f}" for other in token.alternatives)
    about = f"entropy {token.entropy:.3f} nats, surprisal {token.surprisal:.3f} nats, rank {token.rank}"
    title = escape(harmless(f"{about}{'; ' + others if others else ''}"))
    level = level_of(token.entropy, "entropy")
    style = f' style="background:{COLOURS[level]};color:#1b1c1e"' if level else ""
    return f'<span title="{title}"{style}>{escape(harmless(text))}</span>'


def table(trace: Trace) -> str:
    """The answer distribution by step; empty for a trace without probes."""
    if not trace.own_probes:
        return ""
    head = "<tr><th>step</th><th>answer entropy, nats</th><th>p(true)</th><th>leading answers</th></tr>"
    return f"<table>{head}{''.join(map(row, trace.own_probes))}</table>"


def row(probe: Probe) -> str:
    """One step as a table row."""
    leading = ", ".join(f"{escape(harmless(a.value))} {a.prob:.2f}" for a in probe.answers[:N_ANSWERS])
    entropy = "-" if probe.entropy is None else f"{probe.entropy:.3f}"
    return f"<tr><td>{probe.k}</td><td>{entropy}</td><td>{probe.p_true:.3f}</td><td>{leading}</td></tr>"


# --- tables ---------------------------------------------------------------------------------------------------------


def as_html(shown: Any) -> str:
    """A trace, a run, a database or a comparison as HTML."""
    if isinstance(shown, Trace):
        return trace_html(shown)
    if isinstance(shown, Run):
        return _titled(f"Run {shown.run_id} on {shown.task}", (["setting", "value"], _settings(shown)))
    if isinstance(shown, Comparison):
        return _comparison_html(shown)
    return _database_html(shown)


def _database_html(db: Database) -> str:
    runs = db.runs()
    return _titled(f"{db.path}: {len(runs)} runs", (list(OF_RUNS), [[run[name] for name in OF_RUNS] for run in runs]))


def _settings(run: Run) -> list[list[Any]]:
    return [["model", run.model_sha256[:16]], *([name, str(value)] for name, value in run.settings.items())]


def _comparison_html(c: Comparison) -> str:
    """The main figures of every candidate, and what is told apart."""
    from localent.analysis.quantities import KLD, SAME_TOP
    from localent.report.compare import sentences

    columns = ["quant", "bits per weight", "mean KLD, nats", "same top, %", "accuracy, %"]
    rows = [
        [
            one.model.quant,
            one.model.bits_per_weight,
            one.forced[KLD.key].value,
            100 * one.forced[SAME_TOP.key].value,
            None
            if one.free is None or one.free.accuracy_candidate.value is None
            else 100 * one.free.accuracy_candidate.value,
        ]
        for one in c.candidates
    ]
    name = "a base file" if c.reference is None else f"{c.reference.name} {c.reference.quant}"
    said = "".join(f"<p>{escape(harmless(sentence))}</p>" for sentence in sentences(c))
    return _titled(f"Compared with {name} on {c.source_name}", (columns, rows)) + said


def _titled(title: str, table: Table) -> str:
    columns, rows = table
    head = "".join(f"<th>{escape(harmless(name))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, cells))}</tr>" for cells in rows)
    return f"<div><p><b>{escape(harmless(title))}</b></p><table><tr>{head}</tr>{body}</table></div>"


def _cell(value: object) -> str:
    return f"<td>{escape(cell_text(value))}</td>"


# --- figures --------------------------------------------------------------------------------------------------------


def figure(db: Database, kind: str = "curves", runs: Sequence[str] = ()) -> Figure:
    """A figure of runs (default: all), as 'localent plot' draws it, for the notebook or for `savefig`."""
    from localent.report.figures import drawn, imported
    from localent.report.outcome_panels import panels
    from localent.report.panels import facts

    imported()
    found = panels(kind, facts(db, runs or [run["run_id"] for run in db.runs()]), db)
    if not found:
        raise LocalentError(f"These runs have no data for the figure '{kind}'.")
    return drawn(found)
