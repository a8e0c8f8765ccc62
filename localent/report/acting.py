"""Rules that act while a model writes, in sentences: what was promised, what came of it. Returns the text."""

from __future__ import annotations

from localent.analysis.acting import Acted, Gains, Promise
from localent.records import Trace
from localent.report.numbers import brackets, fixed, percent
from localent.stopping import Stop

EARLY = "early"  # Trace.finish
LATE = "The time was up: the answer is the one that led after the last step."
LARGE = 1e300  # beyond it a quantity says "at once", no size
SPARSE = " That run was probed at some of its steps; here the rule is asked after each, so that it may stop sooner."


def promise(p: Promise) -> str:
    """The sentence on what replay promises."""
    over = f"{p.n_problems} problems of run {p.run_id} ({p.model} on {p.task})"
    said = f"Replay promises of {p.stop.words}, over {over} that the setting was not chosen on: {gains(p.gains)}."
    return said if p.every_step else said + SPARSE


def acted(stop: Stop, a: Acted, p: Promise | None) -> str:
    """The sentence on what a rule did in a run."""
    said = f"{a.n_stopped} of {a.n} traces were stopped ({stop.words})."
    if p is None:
        return f"{said} What that saved and cost is told beside whole traces: add --stop-from RUN."
    if not a.n_paired:
        return f"{said} What that saved and cost is not known: {a.gains.saved.reason} ({p.run_id})."
    of = "them" if a.n_paired == a.n else f"{a.n_paired} of them"
    return f"{said} Beside the whole traces of {of} in run {p.run_id}: {gains(a.gains)}."


def of_trace(stop: Stop, trace: Trace) -> str:
    """The sentence on what a rule did to one trace."""
    probes = trace.own_probes
    if trace.finish != EARLY or not probes:
        return f"It ran to its end: {stop.words} was never reached."
    if not stop.fires(probes):
        return LATE
    shown, n = stop.rule.shown(stop.quantity(probes)), probes[-1].k
    reached = "" if abs(shown) > LARGE else f" at {stop.rule.unit} {shown:.3g}"
    return f"Stopped after {n} {'step' if n == 1 else 'steps'}{reached} ({stop.words})."


def gains(g: Gains) -> str:
    """ "31.2 % [25.0, 37.1] of the tokens saved, 12.0 % with probes and answers paid for; accuracy -0.8 points"."""
    points = brackets(g.change, 100, 1)
    change = "unknown" if g.change.value is None else f"{100 * g.change.value:+.1f} points {points}".rstrip()
    net = "-" if g.saved_net.value is None else fixed(100 * g.saved_net.value, 1)
    return f"{percent(g.saved)} of the tokens saved, {net} % with probes and answers paid for; accuracy {change}"
