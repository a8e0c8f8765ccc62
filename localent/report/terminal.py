"""The summary of a run as plain text for 80 columns, without colour. Returns the text; nothing is printed here."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from localent.analysis.claims import GAIN_RISES_POOLED, SUPPORTED, on_gain
from localent.analysis.curves import ByClass, Curve
from localent.analysis.held import LENGTH, QUESTION
from localent.analysis.information import RECALIBRATED
from localent.analysis.intervals import MIN_TOLD, Estimate
from localent.analysis.readings import (
    BEYOND,
    BEYOND_BOTH,
    BEYOND_LENGTH,
    NOISE,
    NOT_SHOWN,
    OPEN_LENGTH,
    OPEN_QUESTION,
    Reading,
)
from localent.analysis.signals import as_auroc
from localent.analysis.summary import SELECTION, Answers, Contrast, Summary
from localent.report.chart import line_chart
from localent.report.numbers import decimals_for, negated, number, percent, point
from localent.report.table import cell_text, p_cell

WIDTH = 80
UNITS = {"nats": 1.0, "bits": 1 / math.log(2)}
COLUMNS, ALONG = (80, 56, 35), (80, 68, 60, 32)  # where the columns of the two kinds of tables may end
MAX_STEPS = 10  # rows of the table by step
AUROC = (
    "AUROC: how often a wrong trace scores above a right one; 0.5 is chance. Last column: AUROC minus the AUROC of"
    " length, taken in the direction in which length separates better."
)
HALF_WAY = (
    "Half-way: after the last step in the first half of a trace's steps. In a trace of one step that is its start,"
    " where it may look uncertain. Equal steps: only pairs of a right and a wrong trace with the same number of steps."
)
NO_ANSWER = (
    "No answer: probability that none follows the cue, mean of traces; the entropy is that of the answers given."
)
TAILS = {  # the end of a sentence on a signal that separates, by its reading
    BEYOND_BOTH: "also with length held fixed ({length}) and among traces of one question ({question}), {p} {holm}",
    BEYOND_LENGTH: "also with length held fixed ({length}), {p} {holm}; the question is not held fixed: too few"
    " questions have right and wrong traces",
    LENGTH: "but length explains it: {length} among traces of like length",
    QUESTION: "but the question explains it: {question} among traces of one question",
    OPEN_LENGTH: "but not for certain beyond length: {length} among traces of like length",
    OPEN_QUESTION: "but not for certain beyond the question: {question} among traces of one question",
}
SMALL_CLASS = 20  # fewer right or wrong traces than this add a warning


def render(summary: Summary, *, unit: str = "nats", unicode: bool = True, width: int = WIDTH) -> str:
    """The whole summary. unit: "nats" or "bits"; unicode: False where the output cannot show braille."""
    answers = summary.answers
    blocks = [paragraphs(_heading(summary), width), _outcomes(summary), _difficulty(summary)]
    blocks += [_narrowed(lines, COLUMNS, width) for lines in (_entropies(summary, unit), _signals(summary))]
    if answers is not None:
        blocks += [_chart(answers.by_position, unit, unicode, width), _narrowed(_along(answers, unit), ALONG, width)]
    blocks += [paragraphs(reading(summary, unit), width), paragraphs(_footer(summary), width)]
    text = "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"
    return text if unicode else text.encode("ascii", "backslashreplace").decode()


def _narrowed(lines: Sequence[str], ends: Sequence[int], width: int) -> list[str]:
    """The columns of a table that fit, from the left. ends: where its columns may end, the last column first."""
    end = next((end for end in ends if end <= width), ends[-1])
    return [line[:end].rstrip() for line in lines]


def paragraphs(sentences: Sequence[str], width: int = WIDTH) -> list[str]:
    """Each sentence on lines of its own, wrapped."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, width, subsequent_indent="  ")]


# --- blocks ---------------------------------------------------------------------------------------------------------


def _heading(s: Summary) -> list[str]:
    where = "at every step" if s.answers and s.answers.every_step else "along the way"
    how = "rolled out" if s.answers and s.answers.estimator == "rollout" else "probed"
    probed = "" if s.answers is None else f", {s.answers.n_probed:,} of them {how} {where}"
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
    if s.token_f1 is not None:
        lines += [("token F1", s.token_f1)]
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
        _columns("entropy", "AUROC", "AUROC of length", "above length's"),
        *(_columns(name, *three) for (name, _), three in zip(rows, cells, strict=True)),
    ]


def _columns(name: str, first: str, second: str, third: str) -> str:
    return f"{name:<14}{first:>21}{second:>21}{third:>24}"


def _chart(by_position: ByClass, unit: str, unicode: bool, width: int) -> list[str]:
    scale, curves = UNITS[unit], {"wrong": by_position.wrong, "right": by_position.right}
    series = {name: list(curve.value * scale) for name, curve in curves.items() if curve.n.any()}
    style = ": wrong solid, right dotted" if unicode and len(series) == 2 else ""
    title = f"answer entropy, {unit}, mean of traces{style}"
    if not series:
        return ["No prefix has an answer distribution: no answer follows the cue."]
    chart = line_chart(list(by_position.right.at), series, width=min(width, WIDTH) - 4, unicode=unicode)
    return [
        *textwrap.wrap(title, width),
        *chart,
        f"{'share of the reasoning steps done':^{min(width, WIDTH) - 8}}".rstrip(),
    ]


def _along(answers: Answers, unit: str) -> list[str]:
    """The answers after each step; at shares of the steps where traces were probed after some of them only."""
    along, p_true, scale = answers.along, answers.p_true_along, UNITS[unit]
    invalid, name = answers.invalid_along.value, "step" if answers.every_step else "done"
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
    """The findings in plain words, a sentence or two for each: those of the run's judgement, and no others."""
    if not s.n_traces:
        return ["No trace is finished yet."]
    if s.chance is not None and s.chance.at_chance:
        return [s.chance.sentence]
    if s.validity is not None and s.validity.doubtful:
        return [s.validity.sentence]
    sentences = [*_comparisons(s, unit), *([] if s.answers is None else [_gain_sentence(s, s.answers, unit)])]
    return [sentence for sentence in [*sentences, _care_sentence(s)] if sentence]


def _comparisons(s: Summary, unit: str) -> list[str]:
    """Right against wrong traces; one sentence where they cannot be compared."""
    if s.signal.auroc.value is None:
        return [f"Right and wrong traces cannot be compared: {s.signal.auroc.reason}."]
    if s.judgement is None:
        return []
    token = s.judgement.readings["mean_entropy"]
    if token.n_rarer < MIN_TOLD:
        return [_few_sentence(s, token.n_rarer)]
    found = [_signal_sentence("the mean token entropy", token, s.signal.auroc)]
    half = s.judgement.readings.get("answer_entropy_half")
    if s.answers is not None and half is not None:
        answers = s.answers
        found += [_signal_sentence("the answer entropy half-way", half, answers.signal_half.auroc)]
        found += [_gap_sentence(answers.half.gap, unit)] if half.reading in BEYOND else []
    return found


def _few_sentence(s: Summary, n_problems: int) -> str:
    """In place of all sentences on right and wrong traces."""
    n, name = _smaller_class(s)
    which = f"Only {n} {name} {'trace' if n == 1 else 'traces'}, of {n_problems} problem{'s' * (n_problems != 1)}"
    return f"{which}: too few to say what tells right from wrong ({MIN_TOLD} problems with each are needed)."


def _gap_sentence(gap: Estimate, unit: str) -> str:
    if not gap.known or not gap.excludes(0):
        return ""
    if gap.above(0):
        size = _in_unit(gap, unit)
        return f"Wrong traces stay uncertain: half-way their answer entropy is {size} above that of right ones."
    size = _in_unit(negated(gap), unit)
    return f"Wrong traces are more certain: half-way their answer entropy is {size} below that of right ones."


def _signal_sentence(name: str, r: Reading, auroc: Estimate) -> str:
    """The reading of one signal, as 'localent signals' gives it."""
    found, holm = f"AUROC {number(auroc, 1, 2)}", f"after Holm's rule over {r.over}"
    if r.reading == NOT_SHOWN:
        return f"By {name}, wrong and right traces are not told apart: {found}, {_p(r.p_holm)} {holm}."
    if r.reading == NOISE:
        return f"{_capital(name)} differs by less than the standard error of one estimate: {found}."
    if r.reading not in TAILS:
        return f"The AUROC of {name} is undefined: {auroc.reason}." if auroc.value is None else ""
    below = auroc.value is not None and auroc.value < 0.5
    tells = "is lower in wrong traces than in right ones" if below else "tells wrong traces from right ones"
    return f"{_capital(name)} {tells}: {found}, {TAILS[r.reading].format(**_left(r), p=_p(r.p_holm), holm=holm)}."


def _p(p: float | None) -> str:
    """ "p = 0.031", "p <0.001": with as many digits as in the tables."""
    return "no p" if p is None else f"p {p_cell(p)}" if p < 0.001 else f"p = {p_cell(p)}"


def _left(r: Reading) -> dict[str, str]:
    """The AUROC with length and with the question held fixed, in words."""
    return {"length": number(as_auroc(r, r.length.left), 1, 2), "question": number(as_auroc(r, r.question.left), 1, 2)}


POOLED = (
    "Pooled with the answer distribution before the first step, the reasoning gathers information about the true answer"
)


def _gain_sentence(s: Summary, answers: Answers, unit: str) -> str:
    """The verdict on the gain, over all traces, so that nothing is selected on the outcome."""
    end = answers.gain_end
    if answers.every_step and len(answers.p_true_along.at) == 1:
        return "No trace reasons before its answer: the answer is read after the question alone."
    verdict = None if s.judgement is None else on_gain(s.judgement.verdicts)
    if not end.known or verdict is None:
        return ""
    size, half = _in_unit(end, unit), _in_words(answers.gain_half, UNITS[unit])
    both = f"{size} by its end, {half} half-way"
    p = f"{_p(verdict.p_holm)} after Holm's rule over {verdict.n_family} claims"
    if verdict.key == GAIN_RISES_POOLED.key:
        return f"{POOLED}: {_in_unit(verdict.effect, unit)} per trace, from its first step on, {p}."
    if verdict.verdict == SUPPORTED:
        return f"The reasoning gathers information about the true answer: {both}, {p}."
    if verdict.is_smaller and verdict.effect.below(-verdict.smallest) and end.below(-verdict.smallest):
        return f"The reasoning leads away from the true answer: {both}, {p}."
    if verdict.is_smaller:
        least = f"{verdict.smallest * UNITS[unit]:.2g} {unit}"
        return f"Over a trace the reasoning gathers less than {least} about the true answer: {size} by its end, {p}."
    told = f"No clear evidence that the reasoning gathers information about the true answer: {size} by its end"
    return f"{told}." if verdict.p_holm is None else f"{told}, {p}."


def _care_sentence(s: Summary) -> str:
    """A warning where one class is small."""
    n, name = _smaller_class(s)
    if s.judgement is not None and s.judgement.readings["mean_entropy"].n_rarer < MIN_TOLD:
        return ""  # said already
    return f"Only {n} {name} {'trace' if n == 1 else 'traces'}: a small sample." if 0 < n < SMALL_CLASS else ""


def _smaller_class(s: Summary) -> tuple[int, str]:
    n_right = round((s.accuracy.value or 0.0) * s.n_traces)
    return min((n_right, "right"), (s.n_traces - n_right, "wrong"))


def _footer(s: Summary) -> list[str]:
    """Explanations of the brackets, the measures, and the selection where right and wrong traces are compared."""
    if not s.n_traces:
        return []
    brackets = " ".join([f"[ ]: {s.level * 100:g} % interval, clustered by problem.", *s.variants])
    judged = s.answers is not None and s.judgement is not None and s.answers.gain_end.known
    read = [] if s.answers is None else [NO_ANSWER, *[RECALIBRATED] * judged]
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
