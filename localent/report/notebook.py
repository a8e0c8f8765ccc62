"""A trace as HTML for notebooks: no script, all text escaped, readable on light and dark backgrounds."""

from __future__ import annotations

from html import escape

from localent.records import Probe, Token, Trace, token_texts
from localent.report.measures import level_of
from localent.report.table import harmless

COLOURS = ("", "#fff3d6", "#ffdf9e", "#ffc266", "#f79a3e", "#d9601a")  # as in the report
N_ANSWERS = 3


def trace_html(trace: Trace) -> str:
    """The text coloured by entropy, with each token's measures on hover, and the answer distribution by step."""
    texts = token_texts([token.text for token in trace.tokens])
    words = "".join(map(word, trace.tokens, texts))
    answer = "nothing that could be parsed" if trace.extraction.value is None else trace.extraction.value
    said = f"answered {escape(harmless(answer))}, {len(trace.tokens)} tokens"
    verdict = f"<b>{'right' if trace.correct else 'wrong'}</b>: {said}"
    return f'<div><p>{verdict}</p><p style="white-space:pre-wrap;line-height:1.7">{words}</p>{table(trace)}</div>'


def word(token: Token, text: str) -> str:
    """One token as a <span>."""
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
