"""Verdicts on candidates: aspects that differ from the reference, and those that cannot be told apart from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from localent.analysis import quantities
from localent.analysis.divergence import TeacherForced
from localent.analysis.intervals import Estimate
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
        """The checks that found none."""
        return tuple(check for check in self.checks if not check.differs)

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


def verdicts(candidates: Sequence[Judged], floor: TeacherForced | None, *, stored: bool = False) -> list[Verdict]:
    """One verdict per candidate. Accuracy: McNemar, after Holm over the candidates; all else: 95 % intervals.

    floor: the reference against itself. stored: the reference is a base file.
    """
    adjusted = (p for p in holm([c.free.mcnemar_p for c in candidates if c.free]) if p is not None)
    n = sum(c.free is not None for c in candidates)
    rule = f" after Holm's rule over {n} candidates" if n > 1 else ""
    found = []
    for name, c in zip(labels([c.model for c in candidates]), candidates, strict=True):
        checks = [*_of_distributions(c.forced, floor, stored)]
        if c.free:
            checks += [_accuracy(c.free, next(adjusted), rule), *_of_free_runs(c.free, c.forced)]
        if c.trajectory:
            checks += _of_prefixes(c.trajectory)
        found.append(Verdict(name, tuple(checks), is_identical(c.forced) and _same_answers(c)))
    return found


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
    if change := f.get(quantities.ENTROPY_CHANGE.key):
        yield _token_entropy(change, floor)


def _from_file(kld: Figure) -> Check:
    numbers = f"mean KLD {kld.value:.3g}, of which rounding to 16 bits explains up to {STORED:g}"
    return Check(DISTRIBUTIONS, _low(kld) > STORED, numbers)


def _distributions(kld: Figure, floor: TeacherForced | None) -> Check:
    if floor is None:
        return Check(DISTRIBUTIONS, _low(kld) > 0, f"mean KLD {kld.value:.3g}, no noise floor measured")
    noise = floor[quantities.KLD.key]
    times = f"{times_noise(kld.value / noise.value)} times the noise floor" if noise.value else "the noise floor is 0"
    return Check(DISTRIBUTIONS, _low(kld) > _high(noise), f"mean KLD {kld.value:.3g}, {times}")


def _token_entropy(change: Figure, floor: TeacherForced | None) -> Check:
    noise = abs(floor[quantities.ENTROPY_CHANGE.key].value) if floor else 0.0
    differs = _low(change) > noise or _high(change) < -noise
    return Check(TOKEN_ENTROPY, differs, f"{change.value:+.3g} nats")


def _accuracy(free: FreeRunning, p: float, rule: str) -> Check:
    reference, candidate = _percent(free.accuracy_reference), _percent(free.accuracy_candidate)
    return Check(ACCURACY, p < ALPHA, f"{candidate} against {reference}, McNemar p = {p:.2g}{rule}")


def _of_free_runs(free: FreeRunning, f: TeacherForced) -> Iterator[Check]:
    ratio = free.length_ratio
    if ratio.known:
        yield Check(LENGTH, ratio.excludes(1.0), f"{ratio.value:.3f} times, [{ratio.low:.3f}, {ratio.high:.3f}]")
    # With equal distributions, noise cannot make free runs differ; another end token, for one, can.
    if is_identical(f) and free.identical.value is not None and free.identical.value != 1.0:
        yield Check(FREE_RUNS, True, f"{100 * free.identical.value:.1f} % the same to the last token")


def _of_prefixes(path: Trajectory) -> Iterator[Check]:
    for aspect, change in ((ANSWER_ENTROPY, path.delta_entropy), (INFORMATION, path.gain_change)):
        if change.known:
            yield Check(aspect, change.excludes(0.0), _in_nats(change))


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
