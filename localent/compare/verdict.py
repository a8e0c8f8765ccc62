"""Verdicts on candidates: aspects that differ from the reference, and those that cannot be told apart from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from localent.analysis import quantities
from localent.analysis.divergence import TeacherForced
from localent.analysis.intervals import MIN_PROBLEMS, Estimate
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.analysis.quantities import Figure
from localent.analysis.significance import holm
from localent.records import Model

ALPHA = 0.05
STORED = 1e-4  # nats: the most that the 16 bits of a base file change a KLD


@dataclass(frozen=True, slots=True)
class Aspect:
    """One way in which a candidate may differ from its reference."""

    key: str
    title: str
    article: str = ""  # before the title, in a sentence about the candidate


DISTRIBUTIONS = Aspect("distributions", "next-token distributions", "its ")
TOKEN_ENTROPY = Aspect("token_entropy", "token entropy", "its ")
ACCURACY = Aspect("accuracy", "accuracy")
LENGTH = Aspect("length", "length")
FREE_RUNS = Aspect("free_runs", "free runs", "its ")
ANSWER_ENTROPY = Aspect("answer_entropy", "answer entropy on the same prefixes")
INFORMATION = Aspect("information", "information gained about the true answer")


@dataclass(frozen=True, slots=True)
class Check:
    """One aspect, judged."""

    aspect: Aspect
    differs: bool
    numbers: str  # what the judgement rests on
    p: float | None = None  # that there is no difference; None: settled without a test
    few: str = ""  # why too little was seen for a difference to show

    @property
    def text(self) -> str:
        """ "accuracy (70.0 % against 72.5 %, McNemar p = 0.34)"."""
        return f"{self.aspect.article}{self.aspect.title} ({self.numbers})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The checks of one candidate."""

    name: str
    checks: tuple[Check, ...]
    identical: bool  # distributions, free runs and answers on prefixes all equal the reference's to the last bit

    @property
    def differs(self) -> tuple[Check, ...]:
        """The checks that found a difference."""
        return tuple(check for check in self.checks if check.differs)

    @property
    def same(self) -> tuple[Check, ...]:
        """The checks that found none, though one could have shown."""
        return tuple(check for check in self.checks if not check.differs and not check.few)

    @property
    def open(self) -> tuple[Check, ...]:
        """The checks in which none could have shown."""
        return tuple(check for check in self.checks if not check.differs and check.few)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.identical and not self.differs:
            return f"{self.name} is the reference to the last bit in everything that was compared."
        parts = []
        if self.differs:
            parts.append(f"differs from the reference in {_listed(self.differs)}")
        if self.same:
            other = "it" if parts else "the reference"
            parts.append(f"cannot be told apart from {other} in {_listed(self.same)}")
        parts += [f"shows too little to tell in {check.aspect.title}: {check.few}" for check in self.open]
        return f"{self.name} {'; it '.join(parts)}."


class Judged(Protocol):
    """The fields of result.Candidate that a verdict rests on."""

    @property
    def model(self) -> Model: ...
    @property
    def forced(self) -> TeacherForced: ...
    @property
    def free(self) -> FreeRunning | None: ...
    @property
    def trajectory(self) -> Trajectory | None: ...


def verdicts(
    candidates: Sequence[Judged],
    floor: TeacherForced | None,
    *,
    stored: bool = False,
    names: Sequence[str] | None = None,
) -> list[Verdict]:
    """One verdict per candidate: everything that is tested about it is one family, under Holm's rule.

    Accuracy: McNemar. Token entropy, length, answers on prefixes: the larger p of the interval, see `p_of`, and of sign
    flips. The KLD, which is held against the noise floor, and free runs that rounding cannot explain are outside of the
    family.
    floor: the reference against itself. stored: the reference is a base file. names: of the candidates; their quants.
    """
    names = labels([c.model for c in candidates]) if names is None else names
    return [
        Verdict(name, _settled(checks(c, floor, stored)), is_identical(c.forced) and _same_answers(c))
        for name, c in zip(names, candidates, strict=True)
    ]


def checks(c: Judged, floor: TeacherForced | None, stored: bool = False) -> list[Check]:
    """The checks of a candidate; those with a p are not settled yet."""
    found = [*_of_distributions(c.forced, floor, stored)]
    if c.free:
        found += [] if c.free.accuracy_candidate.value is None else [_accuracy(c.free)]
        found += _of_free_runs(c.free, c.forced)
    return [*found, *(_of_prefixes(c.trajectory) if c.trajectory else ())]


def _settled(found: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, those with a p judged together."""
    adjusted = holm([check.p for check in found])
    return tuple(_judged(check, p) for check, p in zip(found, adjusted, strict=True))


def _judged(check: Check, p: float | None) -> Check:
    return check if p is None else replace(check, differs=p < ALPHA, numbers=f"{check.numbers}, p = {p:.2g}", p=p)


def p_of(value: float, low: float, high: float, at: tuple[float, float]) -> float:
    """Two-sided p that a quantity is in the range `at`, from its 95 % interval: below 0.05 just where both are apart.

    The distance from the value to the end that faces the range is taken for 1.96 standard errors.
    """
    if at[0] <= value <= at[1]:
        return 1.0
    distance, facing = (value - at[1], value - low) if value > at[1] else (at[0] - value, high - value)
    return math.erfc(1.96 * distance / facing / math.sqrt(2)) if facing > 0 else 0.0


def times_noise(ratio: float) -> str:
    """Three digits, whole numbers from 100 on."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def labels(models: Sequence[Model]) -> list[str]:
    """A name for each column: the quant; with the file's hash where two have the same."""
    quants = [m.quant for m in models]
    return [m.quant if quants.count(m.quant) == 1 else f"{m.quant} {m.sha256[:6]}" for m in models]


# --- identity ---------------------------------------------------------------------------------------------------------


def is_identical(f: TeacherForced) -> bool:
    """True if all distributions are equal to the last bit.

    Rounding may hide a difference from the KLD, but not from the probability of the token taken, which counts too.
    """
    return all(f[one.key].value == 0.0 for one in (quantities.KLD_MIN, quantities.KLD_MAX, quantities.DP_RMS))


def _same_answers(candidate: Judged) -> bool:
    """True if free runs and answers on the same prefixes are equal, where they were compared."""
    free, path = candidate.free, candidate.trajectory
    runs = free is None or free.identical.value == 1.0
    changes = (path.abs_delta_entropy, path.abs_delta_p_true) if path else ()
    return runs and all(c.value == 0.0 for c in changes) and (path is None or path.same_leader.value == 1.0)


# --- checks -----------------------------------------------------------------------------------------------------------


def _of_distributions(f: TeacherForced, floor: TeacherForced | None, stored: bool) -> Iterator[Check]:
    kld = f[quantities.KLD.key]
    yield _from_file(kld) if stored else _distributions(kld, floor)
    change = f.get(quantities.ENTROPY_CHANGE.key)
    if change and change.low is not None and change.high is not None:
        yield _token_entropy(change, change.low, change.high, floor)


def _from_file(kld: Figure) -> Check:
    numbers = f"mean KLD {kld.value:.3g}, of which rounding to 16 bits explains up to {STORED:g}"
    return Check(DISTRIBUTIONS, _low(kld) > STORED, numbers)


def _distributions(kld: Figure, floor: TeacherForced | None) -> Check:
    if floor is None:
        return Check(DISTRIBUTIONS, _low(kld) > 0, f"mean KLD {kld.value:.3g}, no noise floor measured")
    noise = floor[quantities.KLD.key]
    times = f"{times_noise(kld.value / noise.value)} times the noise floor" if noise.value else "the noise floor is 0"
    return Check(DISTRIBUTIONS, _low(kld) > _high(noise), f"mean KLD {kld.value:.3g}, {times}")


def _token_entropy(change: Figure, low: float, high: float, floor: TeacherForced | None) -> Check:
    noise = abs(floor[quantities.ENTROPY_CHANGE.key].value) if floor else 0.0
    p = p_of(change.value, low, high, (-noise, noise))
    return Check(TOKEN_ENTROPY, False, f"{change.value:+.3g} nats", max(p, change.p or 0.0))


def _accuracy(free: FreeRunning) -> Check:
    reference, candidate = _percent(free.accuracy_reference), _percent(free.accuracy_candidate)
    return Check(ACCURACY, False, f"{candidate} against {reference}, McNemar's test", free.mcnemar_p, _few(free))


def _few(free: FreeRunning) -> str:
    """Why accuracies cannot be compared: "neither solved one"."""
    both = {free.accuracy_reference.value, free.accuracy_candidate.value}
    if both in ({0.0}, {1.0}):
        return "neither solved one" if both == {0.0} else "both solved all"
    return f"only {free.n_problems} problems" if free.n_problems < MIN_PROBLEMS else ""


def _of_free_runs(free: FreeRunning, f: TeacherForced) -> Iterator[Check]:
    ratio = free.length_ratio
    if (p := _p_at(ratio, 1.0, free.length_p)) is not None:
        yield Check(LENGTH, False, f"{ratio.value:.3f} times, [{ratio.low:.3f}, {ratio.high:.3f}]", p)
    # With equal distributions, noise cannot make free runs differ; another end token, for one, can.
    if is_identical(f) and free.identical.value is not None and free.identical.value != 1.0:
        yield Check(FREE_RUNS, True, f"{100 * free.identical.value:.1f} % the same to the last token")


def _of_prefixes(path: Trajectory) -> Iterator[Check]:
    tested = (
        (ANSWER_ENTROPY, path.delta_entropy, path.delta_entropy_p),
        (INFORMATION, path.information_change, path.information_change_p),
    )
    for aspect, change, flipped in tested:
        if (p := _p_at(change, 0.0, flipped)) is not None:
            yield Check(aspect, False, _in_nats(change), p)
    if path.information_change.value is None:
        yield Check(INFORMATION, False, "", few=path.information_change.reason or "")


def _p_at(found: Estimate, value: float, flipped: float | None) -> float | None:
    """p that an estimate is `value`; None where it has no interval. flipped: p by sign flips, if there is one."""
    if found.value is None or found.low is None or found.high is None:
        return None
    return max(p_of(found.value, found.low, found.high, (value, value)), flipped or 0.0)


def _percent(found: Estimate) -> str:
    return "-" if found.value is None else f"{100 * found.value:.1f} %"


def _in_nats(change: Estimate) -> str:
    return f"{change.value:+.3g} nats, [{change.low:.3g}, {change.high:.3g}]"


def _low(figure: Figure) -> float:
    return figure.value - 1.96 * (figure.uncertainty or 0.0) if figure.low is None else figure.low


def _high(figure: Figure) -> float:
    return figure.value + 1.96 * (figure.uncertainty or 0.0) if figure.high is None else figure.high


def _listed(checks: Sequence[Check]) -> str:
    parts = [check.text for check in checks]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
