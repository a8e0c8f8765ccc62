"""A calibration as tables and sentences, and what it says of one answer. Returns the text."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from localent.analysis.as_json import plain
from localent.analysis.calibration import Calibration
from localent.analysis.folds import FOLDS
from localent.analysis.probability_maps import LEVEL, TITLES
from localent.records import Trace
from localent.report.numbers import short
from localent.report.science import Table, cell

HELPS = "It tells more than the share of right traces alone: Brier score lower by {gain}."
NOTHING = (
    "No signal is shown to tell more than the share of right traces alone, so that share is stated for every trace. A"
    " run with more problems may show more; --signal takes the map of one signal all the same."
)
USELESS = (
    "It is not shown to tell more than the share of right traces alone: Brier score lower by {gain}. A run with more"
    " problems may show it."
)
NOTES = (
    f"Figures are cross-fitted: the problems are dealt into {FOLDS} parts, and each part is judged by a map, and by a"
    " choice of signal and method, that were made on the others. Brier: mean squared error. ECE: mean distance between"
    " stated probability and share right, over tenths of the traces; by chance: what it would be if every probability"
    " were true. [ ]: 95 % interval, clustered by problem.",
)


def heading(c: Calibration) -> str:
    """The run, the signal and the form of its map, in one line."""
    left_out = f" ({c.left_out} without an answer or a signal left out)" if c.left_out else ""
    return f"Run {c.run_id}: {c.n:,} traces of {c.n_problems:,} problems, {c.n_wrong:,} wrong{left_out}.\n{_signal(c)}"


def _signal(c: Calibration) -> str:
    if c.map.method == LEVEL:
        return f"Signal: none of {c.n_signals} is shown to tell anything; the best is {c.title}."
    how = f"the best of {c.n_signals} signals" if c.chosen and c.n_signals > 1 else "as asked for"
    return f"Signal: {c.title}, {how}; {TITLES[c.map.method]} map."


def judged_table(c: Calibration) -> Table:
    """Each way to state a probability, and how true it was."""
    columns = ["probability of being right", "Brier", "better by", "ECE", "by chance"]
    rows = [[j.name, short(j.brier), short(j.gain), short(j.ece), cell(j.ece_by_chance)] for j in c.judged]
    return columns, rows


def bins_table(c: Calibration) -> Table:
    """Stated probability against the share that was right, in tenths of the traces."""
    return ["stated", "right", "traces"], [[cell(b.stated, 2), cell(b.right, 2), b.n] for b in c.bins]


def sentences(c: Calibration) -> list[str]:
    """The use of the map, and how the figures came about."""
    verdict = NOTHING if c.map.method == LEVEL else HELPS if c.helps else USELESS
    return [verdict.format(gain=short(c.judged[-1].gain)), *NOTES, *c.notes]


def everything(c: Calibration) -> dict[str, object]:
    """The calibration with its sentences, as JSON values."""
    found = plain(asdict(c))
    assert isinstance(found, dict)
    return found | {"helps": c.helps, "sentences": sentences(c)}


@dataclass(frozen=True, slots=True)
class Belief:
    """How likely one answer is right, by the calibration of a run. None: nothing can be said."""

    run_id: str
    task: str
    signal: str
    value: float | None  # of the signal
    p: float | None
    low: float | None
    high: float | None
    sentence: str


def belief(c: Calibration, value: float, trace: Trace, task: str) -> Belief:
    """The sentence of a calibration on a trace with this value of its signal."""
    if trace.extraction.value is None:
        return _silent(c, task, "There is no answer that could be right, so its probability is not stated.")
    if not math.isfinite(value):
        return _silent(c, task, f"The probability of being right is not stated: the trace has no '{c.title}'.")
    p, low, high = c.at(value)
    said = f"Right with probability {p:.2f} [{low:.2f}, {high:.2f}] on problems like these ({task}, run {c.run_id})"
    return Belief(c.run_id, task, c.signal, value, p, low, high, f"{said}, {_basis(c, value)}.")


def _basis(c: Calibration, value: float) -> str:
    """What the probability rests on."""
    if c.map.method == LEVEL:
        return "the same for every trace: no signal was shown to tell more"
    beyond = "" if c.map.at[0] <= value <= c.map.at[-1] else ", beyond all that the run has seen"
    return f"by its {c.title}, {value:.3g}{beyond}"


def _silent(c: Calibration, task: str, why: str) -> Belief:
    return Belief(c.run_id, task, c.signal, None, None, None, None, why)
