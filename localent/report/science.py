"""The tables that signals, replay, study and score print: short ones for people, full ones for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from localent.analysis import entropy_law
from localent.analysis.beyond_controls import untested
from localent.analysis.claims import LENGTH, QUESTION, WITHHELD, Verdict
from localent.analysis.curves import Curve
from localent.analysis.gold import HumanStep
from localent.analysis.ideal import Beside
from localent.analysis.intervals import Estimate
from localent.analysis.replay import Outcome, RiskCoverage
from localent.analysis.sensitivity import MEANING
from localent.analysis.signals import Judged
from localent.report.numbers import short
from localent.report.table import p_cell
from localent.study import Agreement, OtherSeed, Study, Subject

Table = tuple[list[str], list[list[Any]]]  # columns, rows


def cell(value: object, decimals: int = 3) -> object:
    """A value as a person reads it in a table: floats rounded, an Estimate with its interval."""
    if isinstance(value, Estimate):
        return short(value, decimals)
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{decimals}f}"
    return "-" if value is None else value


def flat(record: Any) -> dict[str, object]:
    """A dataclass as one row for machines: an Estimate x becomes x, x_low, x_high, x_n, x_missing, x_reason."""
    row: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Estimate):
            parts: dict[str, object] = {"": value.value, "_low": value.low, "_high": value.high, "_n": value.n}
            parts |= {"_missing": value.n_missing, "_reason": value.reason}
            row |= {field.name + end: plain(part) for end, part in parts.items()}
        elif is_dataclass(value):
            row |= {f"{field.name}_{name}": part for name, part in flat(value).items()}
        else:
            row[field.name] = plain(value)
    return row


def plain(value: object) -> object:
    """numpy scalars as Python's; NaN, which JSON lacks, as None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def full_table(records: Sequence[object]) -> Table:
    """Every field of every record, one row each."""
    rows = [flat(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[row.get(name) for name in columns] for row in rows]


def signals_table(rows: Iterable[Judged]) -> Table:
    """The columns of `signals` that fit a terminal."""
    columns = ["signal", "kind", "AUROC", "p (Holm)", "within length", "within question", "PRR", "AURC", "ECE", "Brier"]
    columns += ["n", "missing", "reading"]
    found = []
    for row in rows:
        estimates = [short(row.auroc), p_cell(row.p_holm), short(row.within_length, 2), short(row.within_question, 2)]
        points = [cell(row.prr), cell(row.aurc), _ece(row), cell(row.brier)]
        found.append([row.name, row.family, *estimates, *points, row.auroc.n, row.auroc.n_missing, row.reading])
    return columns, found


def _ece(row: Judged) -> str:
    """ "0.081 (0.052)": the calibration error, and what chance alone would show."""
    return "-" if row.ece is None else f"{row.ece:.3f} ({cell(row.ece_by_chance)})"


def replay_table(rows: Iterable[Outcome]) -> Table:
    """The outcome of each policy on the half of the problems that its setting was not chosen on."""
    columns = ["policy", "setting", "accuracy", "answered", "change", "vs length cap", "vs majority"]
    columns += ["tokens saved", "net of probes"]
    found = []
    for row in rows:
        changes = [short(e) for e in (row.change, row.against_cap, row.against_majority)]
        saved = [cell(e.value) for e in (row.tokens_saved, row.tokens_saved_net)]
        found.append([row.policy, row.setting, short(row.accuracy), cell(row.coverage.value), *changes, *saved])
    return columns, found


def risk_coverage_table(found: Sequence[RiskCoverage], coverages: Sequence[float]) -> Table:
    """Accuracy among the most certain traces by each signal, the best at 80 % coverage first."""
    columns = ["accuracy when answering", *(f"{share:.0%}" for share in coverages)]
    at = list(coverages).index(0.8)
    ranked = sorted(found, key=lambda one: -one.accuracy[at])
    return columns, [[one.signal.title, *map(cell, one.accuracy)] for one in ranked]


def verdict_table(found: Iterable[tuple[str, Verdict]], seeds: Sequence[OtherSeed] = ()) -> Table:
    """One row per claim. A star marks comparisons of right and wrong traces. seeds: the study under other seeds."""
    columns = ["task", "model", "claim", "verdict", *(f"seed {other.seed}" for other in seeds)]
    columns += ["effect", "unit", "p (Holm)", "test", "n", "problems", "note"]
    rows = []
    for task, v in found:
        others = [_against(other.verdict_of(task, v), v.verdict) for other in seeds]
        counts = [p_cell(v.p_holm), v.test, v.effect.n, v.effect.n_problems, _note(v)]
        rows.append([task, v.subject, v.claim + "*" * v.selected, v.verdict, *others, short(v.effect), v.unit, *counts])
    return columns, rows


def under_other_thresholds(study: Study, task: str, v: Verdict) -> dict[str, str]:
    """ "verdict_floor_0.01" -> the verdict on the same claim about the same subject; empty where none was asked for."""
    return {
        f"verdict_{one.setting}_{one.choice}": one.verdict.verdict
        for of, one in study.alternatives
        if (of, one.verdict.subject, one.verdict.key) == (task, v.subject, v.key)
    }


def sensitivity_table(study: Study) -> Table:
    """The verdicts that another threshold, cue or effort moves. One is moved at a time; others move none."""
    told = {(task, v.subject, v.key): v.verdict for task, v in study.verdicts}
    columns, rows = ["task", "model", "claim", "verdict", "if", "is", "then"], []
    for task, one in study.alternatives:
        v = one.verdict
        now = told[task, v.subject, v.key]
        if v.verdict.split(" ")[0] != now.split(" ")[0]:
            rows.append([task, v.subject, v.claim, now, MEANING[one.setting], one.choice, v.verdict])
    return columns, rows


def _note(v: Verdict) -> str:
    left = {LENGTH: ("length", v.given_length), QUESTION: ("the question", v.given_question)}
    name, found = left.get(v.verdict, ("", None))
    if found is not None and v.effect.excludes(0):
        return f"with {name} held fixed: AUROC - 0.5 is {short(found, 2)}"
    return v.note if v.verdict == WITHHELD else v.effect.reason or v.note


def _against(there: str | None, here: str) -> str:
    """The verdict under another seed; "same" where it is this one, "-" where there is none."""
    return "-" if there is None else "same" if there == here else there


def stage_table(subjects: Iterable[Subject]) -> Table:
    """The models compared: accuracy, unusable traces, information, early warning, lock-in."""
    columns = [
        "task",
        "model",
        "accuracy",
        "chance",
        "truncated",
        "no answer parsed",
        "gain",
        "gain by half",
        "gain of controls",
    ]
    columns += ["beyond controls from", "AUROC at half*", "lock-in right*", "wrong*", "led, then lost*"]
    rows = []
    for s in subjects:
        controls = ", ".join(f"{name} {cell(e.value, 2)}" for name, e in s.gains_of_controls.items())
        rates = [f"{rate:.1%}" for rate in (s.truncated, s.no_answer)]
        gains = [short(s.gain, 2), short(s.gain_half, 2), controls, _beyond_from(s), short(s.auroc_half, 2)]
        locks = [lock(s.lock_right), lock(s.lock_wrong)]
        guessed = "-" if s.chance is None else cell(s.chance.level, 2)
        rows.append(
            [s.task, s.model, short(s.accuracy, 2), guessed, *rates, *gains, *locks, cell(s.abandoned.value, 2)]
        )
    return columns, rows


def ideal_table(found: Iterable[tuple[str, Beside]]) -> Table:
    """Models beside an ideal reader, (name, figures): raw and recalibrated, with what steps tell nothing as control."""
    columns = ["beside an ideal reader", "efficiency", "raw", "slope", "raw", "correlation", "useful step", "raw"]
    columns += ["useless step", "raw", "excess", "outside", "ahead", "beyond"]
    rows = []
    for name, b in found:
        pairs = [(getattr(b.recalibrated, of), getattr(b.raw, of)) for of in ("efficiency", "slope")]
        steps = [(getattr(b.recalibrated, of), getattr(b.raw, of)) for of in ("useful", "useless")]
        figures = [*(e for pair in pairs for e in pair), b.correlation, *(e for pair in steps for e in pair)]
        rows.append([name, *(short(e, 2) for e in (*figures, b.excess, b.outside, b.ahead, b.beyond))])
    return columns, rows


def ideal_sentences(beside: Beside) -> list[str]:
    """The meaning of the figures, and what they are of."""
    available = short(beside.available, 2)
    return [
        f"Beside an ideal reader: {beside.n_useful:,} steps have something to tell, {beside.n_useless:,} nothing;"
        f" {available} nats a step are available. efficiency: gained / available. slope: of the gain on what is"
        " available. useful, useless step: nats gained at steps that tell something, and nothing. raw: without"
        " recalibration, moved by confidence alone.",
        "correlation: of the model's and the ideal answer entropy over prefixes. excess: KL(ideal || model) in nats,"
        f" over {beside.excess.n:,} prefixes in which every possible answer was looked at (raise --max-fed if these are"
        " few). outside: probability of answers that were never possible. ahead: nats known before the first step"
        " beyond the ideal reader; beyond: over all prefixes, below 0 where the model lacks some.",
    ]


def _beyond_from(s: Subject) -> str:
    """The t from which the gain stays above every control's; the controls that are untested; or "never"."""
    unknown = untested(s.beyond_controls)
    if s.beyond_all_from is not None:
        return f"{s.beyond_all_from:g}"
    return "-" if not s.beyond_controls else f"untested: {', '.join(unknown)}" if unknown else "never"


def shape_table(subjects: Iterable[Subject]) -> Table:
    """Figures of each model's curves that no claim rests on."""
    columns = ["task", "model", "gain a step", "steps that gain", "separates from*", "gap area*", "monotone right*"]
    columns += ["wrong*", "drop right*", "wrong*", "tail slope", "drift at end"]
    rows = []
    for s in subjects:
        x = s.signatures
        start = "never" if x.earliest is None else f"{x.earliest:g}"
        gains = [short(e, 2) for e in (x.gain_per_step, x.share_positive)]
        rest = (x.gap_area, x.monotone_right, x.monotone_wrong, x.coherence_right, x.coherence_wrong, x.tail_slope)
        drift = cell(float(x.drift.value[-1]), 2)
        rows.append([s.task, s.model, *gains, start, *(short(e, 2) for e in rest), drift])
    return columns, rows


def curve_table(subjects: Iterable[Subject]) -> Table:
    """Every quantity along the traces in long form: one row per quantity and position."""
    columns = ["task", "model", "quantity", "unit", "t", "value", "low", "high", "n"]
    rows = []
    for s in subjects:
        for name, unit, curve in _curves(s):
            for point in zip(curve.at, curve.value, curve.low, curve.high, curve.n, strict=True):
                rows.append([s.task, s.model, name, unit, *map(plain, point)])
        for name, points in _points(s):
            rows += [[s.task, s.model, name, *point] for point in points]
    return columns, rows


def _curves(s: Subject) -> list[tuple[str, str, Curve]]:
    """(name, unit, curve) of the means over traces."""
    x = s.signatures
    found = [("answer entropy", "nats", x.entropy), ("answer entropy, right*", "nats", x.by_class.right)]
    found += [("answer entropy, wrong*", "nats", x.by_class.wrong), ("gap, wrong - right*", "nats", x.by_class.gap)]
    found += [("information gain", "nats", x.gain), ("probability of the true answer", "", x.p_true)]
    found += [("effective answers", "", x.support), ("calibration drift", "nats", x.drift)]
    return found + [(f"gain beyond {name}", "nats", curve) for name, curve in s.beyond_controls.items()]


def _points(s: Subject) -> Iterator[tuple[str, list[list[Any]]]]:
    """(name, rows from the unit on) of the quantities that are not means over traces."""
    x = s.signatures
    separation: list[list[Any]] = [
        ["", t, plain(e.value), e.low, e.high, e.n] for t, e in zip(x.t.tolist(), x.separation, strict=True)
    ]
    yield "AUROC of the answer entropy*", separation
    for name, values in (("error of the leading answer", x.error), ("Fano's bound on it", x.fano)):
        yield name, [["", t, plain(v), None, None, None] for t, v in zip(x.t.tolist(), values.tolist(), strict=True)]


def lock(median: float | None) -> str:
    """A median lock-in: "0.67", "never", or "-" where there are no such traces."""
    return "-" if median is None else "never" if math.isinf(median) else f"{median:.2f}"


def mechanism_table(subjects: Iterable[Subject]) -> Table:
    """Shares of the eight mechanisms, and the moves of the leading answer."""
    subjects = list(subjects)
    names = list(subjects[0].profile.mechanisms) if subjects else []
    columns = ["task", "model", *names, "switches", "returns", "path", "directness"]
    rows = []
    for s in subjects:
        shares = [cell(s.profile.mechanisms[name].value, 2) for name in names]
        moves = (s.profile.switches, s.profile.returns, s.profile.path_length, s.profile.directness)
        rows.append([s.task, s.model, *shares, *(cell(e.value, 2) for e in moves)])
    return columns, rows


def sentences(subjects: Sequence[Subject]) -> list[str]:
    """Findings that do not fit a table: loops, the fitted decay, Fano's bound, rollouts, the price of entropy."""
    found = []
    for s in subjects:
        name, shape = f"{s.model} on {s.task}", s.signatures
        found += [f"{name}: {sentence}" for sentence in s.variants]
        if s.n_others:
            found.append(
                f"{name}: run {s.run_id} has {s.n_traces + s.n_others:,} traces, of which this study judges"
                f" {s.n_traces:,}; 'localent show' and 'localent signals' speak of all of them."
            )
        if s.looped:
            found.append(f"{name}: {s.looped:.1%} of the traces repeat themselves; they count for the accuracy alone.")
        if shape.decay is not None:
            d = shape.decay
            fit = f"{d.plateau:.2f} + {d.start - d.plateau:.2f} exp(-{d.rate:.2f} t) nats, rmse {d.rmse:.3f}"
            found.append(f"{name}: mean answer entropy {fit}.")
        broken = [f"{t:g}" for t, bad in zip(shape.t, shape.fano_violated, strict=True) if bad]
        if broken:
            at = ", ".join(broken)
            found.append(f"{name}: Fano's bound exceeds the observed error at t = {at}, so answers are miscalibrated.")
        if s.agreement is not None:
            found.append(_agreement_sentence(name, s.agreement))
    return [*found, *law_sentences(subjects)]


def law_sentences(subjects: Sequence[Subject]) -> list[str]:
    """Accuracy against token entropy over the stages of each task."""
    found = []
    for task in dict.fromkeys(s.task for s in subjects):
        stages = [s for s in subjects if s.task == task]
        law = entropy_law.fit(_values(s.token_entropy for s in stages), _values(s.accuracy for s in stages))
        found += [] if law is None else [f"{task}: {law.sentence}"]
    return found


def _values(found: Iterable[Estimate | None]) -> np.ndarray:
    """The values of estimates, NaN for those that are not known."""
    return np.array([np.nan if one is None or one.value is None else one.value for one in found])


def _agreement_sentence(name: str, a: Agreement) -> str:
    r = "-" if a.correlation is None else f"{a.correlation:.2f}"
    return (
        f"{name}: over {a.n} prefixes, p(true) by rollouts and p(true) computed correlate at {r} and differ by"
        f" {a.gap:.3f} on average, after the last step by {a.gap_end:.3f}, where sampling alone would give"
        f" {a.expected_gap_end:.3f}; {a.unparseable:.1%} of the rollouts gave no answer that could be parsed."
    )


def gold_table(steps: Iterable[HumanStep]) -> Table:
    """Surprisal of each step of the worked solutions, and the information it gives about the answer."""
    columns = ["step", "solutions", "surprisal", "entropy", "rise of ln p(true)", "information", "answer entropy"]
    columns += ["p(true)"]
    rows = []
    for s in steps:
        found = (s.surprisal, s.entropy, s.log_prob, s.information, s.answer_entropy, s.p_true)
        rows.append([s.k, s.n, *(short(e) for e in found)])
    return columns, rows


def text_table(texts: Iterable[Any]) -> Table:
    """Token measures of texts: records of runs.text, a room that this one does not import."""
    columns = ["text", "tokens", "windows", "surprisal", "perplexity", "entropy", "varentropy", "top-1 accuracy"]
    rows = []
    for t in texts:
        cells = (t.surprisal, t.perplexity, t.entropy, t.varentropy, t.top1)
        rows.append([t.name, t.n_tokens, t.n_windows, *map(cell, cells)])
    return columns, rows
