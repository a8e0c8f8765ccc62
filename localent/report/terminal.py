"""The summary of a run as plain text for 80 columns, without colour. Returns the text; nothing is printed here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from localent.analysis.curves import FLOORED, ByClass, Curve
from localent.analysis.intervals import Estimate
from localent.analysis.summary import SELECTION, Answers, Contrast, Signal, Summary
from localent.report.chart import line_chart
from localent.report.numbers import decimals_for, negated, number, percent, point
from localent.report.table import cell_text

WIDTH = 80
UNITS = {"nats": 1.0, "bits": 1 / math.log(2)}
MAX_STEPS = 10  # rows of the table by step
AUROC = (
    "AUROC: how often a wrong trace scores above a right one; 0.5 is chance. Beyond length: AUROC minus the AUROC of"
    " length, taken in the direction in which length separates better."
)
HALF_WAY = (
    "Half-way: after the last step in the first half of a trace's steps. In a trace of one step that is its start,"
    " where it may look uncertain. Equal steps: only pairs of a right and a wrong trace with the same number of steps."
)
NO_ANSWER = (
    "No answer: probability that none follows the cue, mean of traces; the entropy is that of the answers given."
)
SMALL_CLASS = 20  # fewer right or wrong traces than this add a warning


def render(summary: Summary, *, unit: str = "nats", unicode: bool = True, width: int = WIDTH) -> str:
    """The whole summary. unit: "nats" or "bits"; unicode: False where the output cannot show braille."""
    answers = summary.answers
    blocks = [_heading(summary), _outcomes(summary), _difficulty(summary), _entropies(summary, unit), _signals(summary)]
    if answers is not None:
        blocks += [_chart(answers.by_position, unit, unicode, width), _along(answers, unit)]
    blocks += [paragraphs(reading(summary, unit), width), paragraphs(_footer(summary), width)]
    text = "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def paragraphs(sentences: Sequence[str], width: int = WIDTH) -> list[str]:
    """Each sentence on lines of its own, wrapped."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, width, subsequent_indent="  ")]


# --- blocks ---------------------------------------------------------------------------------------------------------


def _heading(s: Summary) -> list[str]:
    where = "at every step" if s.answers and s.answers.every_step else "along the way"
    probed = "" if s.answers is None else f", {s.answers.n_probed:,} of them probed {where}"
    return [
        cell_text(f"{s.model} ({s.quant}) on {s.task}, run {s.run_id}"),
        f"{s.n_traces:,} traces of {s.n_problems:,} problems, {s.n_tokens:,} tokens{probed}",
    ]


def _outcomes(s: Summary) -> list[str]:
    if not s.n_traces:
        return []
    lines = [("accuracy", s.accuracy)]
    if s.truncated.value and s.accuracy_finished.n:
        lines += [("accuracy without truncated traces", s.accuracy_finished)]
    lines += [("no answer found", s.extraction_failures), ("truncated at the token limit", s.truncated)]
    if s.looped.value:
        lines += [("ended because they repeat", s.looped)]
    cells = [(name, *_halves(percent(found))) for name, found in lines]
    told = [f"{name:<34}{value:>8} {interval}" for name, value, interval in cells]
    return told if s.chance is None else [f"{told[0]}  chance {100 * s.chance.level:.1f} %", *told[1:]]


def _difficulty(s: Summary) -> list[str]:
    if not s.accuracy_by_difficulty:
        return []
    cells = [("problem steps", "accuracy", "", "traces")]
    cells += [(str(a.n_steps), *_halves(percent(a.share)), f"{a.share.n:,}") for a in s.accuracy_by_difficulty]
    return [f"{n:>13}{value:>12} {interval:<14}{traces:>8}".rstrip() for n, value, interval, traces in cells]


def _halves(text: str) -> tuple[str, str]:
    """ "70.0 % [64.6, 74.9]" -> "70.0 %", "[64.6, 74.9]"."""
    value, _, interval = text.partition(" [")
    return value, f"[{interval}" if interval else ""


def _entropies(s: Summary, unit: str) -> list[str]:
    rows = [("token mean", s.token_entropy)]
    if s.answers is not None:
        rows += [("answer at half", s.answers.half)]
    if not s.n_traces:
        return []
    head = _columns(f"entropy, {unit}", "right", "wrong", "wrong - right")
    return [head, *(_columns(name, *_contrast_cells(contrast, UNITS[unit])) for name, contrast in rows)]


def _contrast_cells(contrast: Contrast, scale: float) -> list[str]:
    found = [contrast.right, contrast.wrong, contrast.gap]
    decimals = min(decimals_for(one, scale) for one in found[:2])
    return [number(one, scale, decimals) for one in found]


def _signals(s: Summary) -> list[str]:
    rows = [("token mean", s.signal)]
    if s.answers is not None:
        rows += [("answer at half", s.answers.signal_half), ("  equal steps", s.answers.signal_half_equal)]
    if s.signal.auroc.value is None:
        return []
    cells = [[number(found, 1, 3) for found in (x.auroc, x.length, x.advantage)] for _, x in rows]
    return [
        _columns("entropy", "AUROC", "AUROC of length", "beyond length"),
        *(_columns(name, *three) for (name, _), three in zip(rows, cells, strict=True)),
    ]


def _columns(name: str, first: str, second: str, third: str) -> str:
    return f"{name:<14}{first:>21}{second:>21}{third:>24}"


def _chart(by_position: ByClass, unit: str, unicode: bool, width: int) -> list[str]:
    scale, curves = UNITS[unit], {"wrong": by_position.wrong, "right": by_position.right}
    series = {name: list(curve.value * scale) for name, curve in curves.items() if curve.n.any()}
    style = ": wrong solid, right dotted" if unicode and len(series) == 2 else ""
    title = f"answer entropy, {unit}, mean of traces{style}"
    chart = line_chart(list(by_position.right.at), series, width=min(width, WIDTH) - 4, unicode=unicode)
    return [title, *chart, f"{'share of the reasoning steps done':^{min(width, WIDTH) - 8}}".rstrip()]


def _along(answers: Answers, unit: str) -> list[str]:
    """The answers after each step; at shares of the steps where traces were probed after some of them only."""
    along, p_true, scale = answers.along, answers.p_true_along, UNITS[unit]
    invalid, name = answers.invalid_along.value, "step" if answers.every_step else "of it"
    head = f"{name:>4}{'right':>7}  {'answer entropy':<19}{'wrong':>7}  {'answer entropy':<19}{'p(true)':>8}"
    head += f"{'no answer':>12}"
    rows = range(min(len(p_true.at), MAX_STEPS + 1))
    lines = [
        f"{_place(answers, i)}{_class_cells(along.right, i, scale)}{_class_cells(along.wrong, i, scale)}"
        f"{p_true.value[i]:>8.3f}{invalid[i]:>12.3f}"
        for i in rows
    ]
    left = len(p_true.at) - len(lines)
    return [
        head,
        *lines,
        *([f"  ... and {left} more steps, in {p_true.n[len(lines)]} traces or fewer"] if left else []),
    ]


def _place(answers: Answers, i: int) -> str:
    """A step, or a share of the steps, four wide."""
    at = answers.along.right.at[i]
    return f"{at:>4.0f}" if answers.every_step else f"{at:>4.0%}"


def _class_cells(curve: Curve, k: int, scale: float) -> str:
    return f"{curve.n[k]:>7}  {number(point(curve, k), scale, 2):<19}"


# --- the reading: sentences that say no more than the intervals allow ---------------------------------------------


def reading(s: Summary, unit: str = "nats") -> list[str]:
    """The findings in plain words, a sentence or two for each."""
    if not s.n_traces:
        return ["No trace is finished yet."]
    if s.chance is not None and s.chance.at_chance:
        return [s.chance.sentence]
    if s.validity is not None and s.validity.doubtful:
        return [s.validity.sentence]
    signals = [("the mean token entropy", s.signal)]
    if s.answers is not None:
        signals += [("the answer entropy half-way", s.answers.signal_half)]
        signals += [("the answer entropy half-way among traces of equally many steps", s.answers.signal_half_equal)]
    sentences = [] if s.answers is None else [_gap_sentence(s.answers.half.gap, unit)]
    if s.signal.auroc.value is None:
        sentences += [f"Right and wrong traces cannot be compared: {s.signal.auroc.reason}."]
    else:
        sentences += [_signal_sentence(name, signal) for name, signal in signals]
    sentences += [] if s.answers is None else [_gain_sentence(s.answers, unit)]
    return [sentence for sentence in [*sentences, _care_sentence(s)] if sentence]


def _gap_sentence(gap: Estimate, unit: str) -> str:
    if gap.value is None:
        return ""
    if not gap.known:
        return f"Half-way, answer entropy of wrong minus right traces is {_in_unit(gap, unit)}; {gap.reason}."
    if not gap.excludes(0):
        size = _in_unit(gap, unit)
        return f"Half-way, the answer entropy of wrong and right traces cannot be told apart: wrong minus right {size}."
    if gap.above(0):
        size = _in_unit(gap, unit)
        return f"Wrong traces stay uncertain: half-way their answer entropy is {size} above that of right ones."
    size = _in_unit(negated(gap), unit)
    return f"Wrong traces are more certain: half-way their answer entropy is {size} below that of right ones."


def _signal_sentence(name: str, signal: Signal) -> str:
    auroc, found = signal.auroc, f"AUROC {number(signal.auroc, 1, 2)}"
    if auroc.value is None:
        return f"The AUROC of {name} is undefined: {auroc.reason}."
    if not auroc.known:
        return f"No conclusion from {name}: {found}, {auroc.reason}."
    if not auroc.excludes(0.5):
        return f"By {name}, wrong and right traces cannot be told apart: {found} includes 0.5."
    if auroc.below(0.5):
        return f"{_capital(name)} is lower in wrong traces than in right ones: {found}."
    return f"{_capital(name)} tells wrong traces from right ones: {found}{_against_length(signal)}."


def _against_length(signal: Signal) -> str:
    length = f"the trace's length ({number(signal.length, 1, 2)})"
    if not signal.advantage.excludes(0):
        return f", but is not shown to beat {length}"
    return f", {'better' if signal.advantage.above(0) else 'worse'} than {length}"


def _gain_sentence(answers: Answers, unit: str) -> str:
    """The gain over all traces, so that nothing is selected on the outcome."""
    end = answers.gain_end
    if answers.every_step and len(answers.p_true_along.at) == 1:
        return "No trace reasons before its answer: the answer is read after the question alone."
    if not end.known:
        return ""
    size, half = _in_unit(end, unit), _in_words(answers.gain_half, UNITS[unit])
    if not end.excludes(0):
        return f"No clear evidence that the reasoning gathers information about the true answer: {size} by its end."
    if end.below(0):
        return f"The reasoning leads away from the true answer: {size} of information by its end, {half} half-way."
    return f"The reasoning gathers information about the true answer: {size} by its end, {half} half-way."


def _care_sentence(s: Summary) -> str:
    """A warning where one class is small."""
    n_right = round((s.accuracy.value or 0.0) * s.n_traces)
    n, name = min((n_right, "right"), (s.n_traces - n_right, "wrong"))
    return f"Only {n} {name} {'trace' if n == 1 else 'traces'}: a small sample." if 0 < n < SMALL_CLASS else ""


def _footer(s: Summary) -> list[str]:
    """Explanations of the brackets, the measures, and the selection where right and wrong traces are compared."""
    if not s.n_traces:
        return []
    brackets = f"[ ]: {s.level * 100:g} % interval, clustered by problem."
    read = [] if s.answers is None else [NO_ANSWER, FLOORED]
    if s.signal.auroc.value is None:
        return [" ".join([brackets, *read])]
    return [" ".join([brackets, AUROC, SELECTION]), *([] if s.answers is None else [HALF_WAY]), *read]


def _in_words(found: Estimate, scale: float) -> str:
    """As in a table, but with two decimals from 0.1 on."""
    return number(found, scale, 2 if found.value is not None and abs(found.value * scale) >= 0.1 else 3)


def _in_unit(found: Estimate, unit: str) -> str:
    """ "1.30 nats [1.10, 1.52]"."""
    value, _, interval = _in_words(found, UNITS[unit]).partition(" [")
    return f"{value} {unit}" + (f" [{interval}" if interval else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
