"""The demo in some twenty lines: a trace with both uncertainties, a chart, and a sentence on each of its parts."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from localent.analysis import claims
from localent.analysis.intervals import MIN_TOLD, Estimate
from localent.analysis.quantities import KLD
from localent.analysis.summary import Summary
from localent.compare import Comparison
from localent.compare.verdict import ACCURACY, DISTRIBUTIONS
from localent.records import Probe
from localent.report import demo, terminal
from localent.report.chart import line_chart
from localent.report.measures import MEASURES
from localent.report.numbers import fixed, number
from localent.report.table import pad, text_width
from localent.report.trace import MARKED, Style, leading, marks, nats, painted, visible, wrapped_question
from localent.store.traces import Seen
from localent.study import Study

BESIDE = 34  # columns of the terminal for the answers beside a step, at least
ROWS = 5  # of the chart
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
START = "(before the first step)"
COLUMN = "answer entropy, answers (* true)"
LEAST = MEASURES["entropy"].levels[MARKED - 1]  # nats of a token that is marked
SIGNALS = {"mean_entropy": "token entropy", "answer_entropy_half": "answer entropy half-way"}


# --- the trace ------------------------------------------------------------------------------------------------------


def shortest(seen: Sequence[Seen], style: Style) -> list[str]:
    """The first of the traces that need the fewest lines, drawn; nothing where there is none."""
    return min((trace_lines(one, style) for one in seen), key=len, default=[])


def trace_lines(seen: Seen, style: Style) -> list[str]:
    """The question, and the text of a trace in colour, a step a line, with the answers that it would give beside it."""
    trace, truth = seen.trace, seen.problem.answer
    probes = {probe.k: probe for probe in trace.own_probes}
    lines, k = [*wrapped_question(seen.problem, style.width), *_beside([START], probes.get(0), truth, style)], 0
    for step in trace.steps:
        k += step.kind == "reasoning"
        some = slice(step.start, step.end)
        text = painted(trace.tokens[some], seen.texts[some], set(), replace(style, width=_left(style)))
        lines += _beside(text, probes.get(k) if step.kind == "reasoning" else None, truth, style)
    end = "right" if trace.correct else f"wrong: {visible(truth)} is true"
    lines[-1] = _padded(lines[-1], style) + " " * 6 + end
    return lines


def _left(style: Style) -> int:
    """Columns of the trace's text."""
    return style.width - max(BESIDE, style.width * 2 // 5) - 2


def _beside(text: Sequence[str], probe: Probe | None, truth: str, style: Style) -> list[str]:
    """The lines of a step, the last one with the answers beside it."""
    if probe is None or not text:
        return list(text)
    answers = f"{nats(probe.entropy):>4}  {_fitting(probe, truth, style)}"
    return [*text[:-1], _padded(text[-1], style) + (answers if style.unicode else answers.replace(" · ", ", "))]


def _padded(line: str, style: Style) -> str:
    return line + " " * (_left(style) + 2 - text_width(ESCAPE.sub("", line)))


def _fitting(probe: Probe, truth: str, style: Style) -> str:
    """As many leading answers as fit."""
    found, room = leading(probe, truth, 4), style.width - _left(style) - 8
    while text_width(found) > room and " · " in found:
        found = found.rpartition(" · ")[0]
    return found


def heading(summary: Summary, style: Style) -> list[str]:
    """The line above the trace: whose it is, and what the colours and the column beside are."""
    left, right = marks(style)
    how = "colour: token entropy" if style.colour else f"{left}token{right}: entropy ≥ {LEAST:g} nats"
    name = f"{visible(summary.model)}, {how if style.unicode else how.replace('≥', '>=')}"
    return [pad(name[: _left(style)], _left(style) + 2, False) + COLUMN]


# --- the chart ------------------------------------------------------------------------------------------------------


def chart(summary: Summary, style: Style) -> list[str]:
    """Answer entropy of right and of wrong traces, from the question to the last step."""
    if summary.answers is None:
        return []
    by = summary.answers.by_position
    series = {name: list(curve.value) for name, curve in (("wrong", by.wrong), ("right", by.right)) if curve.n.any()}
    if not series:
        return []
    how = ": wrong solid, right dotted" if style.unicode and len(series) == 2 else ""
    drawn = line_chart(list(by.right.at), series, width=style.width - 2, height=ROWS, unicode=style.unicode)
    title = f"answer entropy, nats, over the steps of {summary.n_traces:,} traces{how}"
    return [title[: style.width], *drawn[:-1]]


# --- the sentences --------------------------------------------------------------------------------------------------


def uncertainty(s: Summary, style: Style) -> list[str]:
    """Does token entropy tell wrong traces from right ones, and does answer entropy? As `signals` reads them."""
    return wrapped(_uncertainty(s), style)


def _uncertainty(s: Summary) -> str:
    judged, answers = s.judgement, s.answers
    doubtful = (s.chance and s.chance.at_chance) or (s.validity and s.validity.doubtful)
    if doubtful or judged is None or s.signal.auroc.value is None:
        return terminal.reading(s)[0]
    if judged.readings["mean_entropy"].n_rarer < MIN_TOLD:
        return terminal.reading(s)[0]
    aurocs = {"mean_entropy": s.signal.auroc} | ({"answer_entropy_half": answers.signal_half.auroc} if answers else {})
    parts = [
        f"{SIGNALS[key]} {number(found, 1, 2)}, {judged.readings[key].reading}"
        for key, found in aurocs.items()
        if key in judged.readings
    ]
    return f"Wrong traces told from right ones, AUROC: {'; '.join(parts)}."


def training(judged: Study, task: str, style: Style) -> list[str]:
    """What the reasoning of each stage gains about the true answer, and the verdict on all of training."""
    gains = [(demo.short_name(s.model), _gain(demo.gain_end(s))) for s in judged.subjects if s.task == task]
    names, values = (", ".join(parts) for parts in zip(*gains, strict=True))
    whole = [v for of, v in judged.verdicts if of == task and v.key == claims.TRAINING.key][-1:]  # from first to last
    adds = [f"; more from {_stages(v.subject)}: {v.verdict}" for v in whole]
    return wrapped(f"Training, {names}: the reasoning gains {values} nats about the answer{''.join(adds)}.", style)


def _stages(subject: str) -> str:
    """ "abacus-early -> abacus-rl" -> "early to rl"."""
    return " to ".join(map(demo.short_name, subject.split(" -> ")))


def quants(c: Comparison, style: Style) -> list[str]:
    """How far the quants are from the reference, and which of them are told apart from it."""
    ordered = sorted(c.candidates, key=lambda one: -one.model.bits_per_weight)
    klds = " to ".join(_plainly(one.forced[KLD.key].value) for one in (ordered[0], ordered[-1]))
    names = " to ".join(one.model.quant for one in (ordered[0], ordered[-1]))
    shown = (DISTRIBUTIONS, ACCURACY)
    told = ", ".join(f"by {aspect.title}: {found}" for aspect, found in demo.apart(c) if aspect in shown)
    reference = demo.reference_of(c).quant
    return wrapped(f"Quants, {names}: KLD {klds} nats. Told apart from {reference} {told}.", style)


def _plainly(kld: float) -> str:
    """Without a power of ten: "0.0001", "0.028"."""
    return f"{kld:.4f}" if kld < 1e-3 else f"{kld:.2g}"


def wrapped(sentence: str, style: Style) -> list[str]:
    """A sentence in lines that fit."""
    return textwrap.wrap(sentence, style.width, subsequent_indent="  ", break_on_hyphens=False)


def _gain(found: Estimate) -> str:
    return "-" if found.value is None else fixed(found.value, 2)
