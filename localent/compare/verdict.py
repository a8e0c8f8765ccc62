"""What can and what cannot be told apart from the reference, in one sentence per candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localent.analysis import quantities
from localent.analysis.divergence import TeacherForced
from localent.analysis.intervals import Estimate
from localent.analysis.quantities import Figure
from localent.analysis.significance import holm

ALPHA = 0.05
STORED = 1e-4  # nats: what the 16 bits of a base file may add to or take from a KLD
Check = tuple[bool, str]  # whether it differs, and what, with its number


@dataclass(frozen=True, slots=True)
class Verdict:
    """One candidate: what differs, what does not, each with its number."""

    name: str
    differs: tuple[str, ...]
    same: tuple[str, ...]
    identical: bool  # every distribution, free run and answer on a prefix is the reference's, to the last bit

    @property
    def sentence(self) -> str:
        if self.identical and not self.differs:
            return f"{self.name} is the reference to the last bit in everything that was compared."
        parts = []
        if self.differs:
            parts.append(f"differs from the reference in {_listed(self.differs)}")
        if self.same:
            other = "it" if parts else "the reference"
            parts.append(f"cannot be told apart from {other} in {_listed(self.same)}")
        return f"{self.name} {'; it '.join(parts)}."


def verdicts(candidates: Sequence, floor: TeacherForced | None, *, stored: bool = False) -> list[Verdict]:
    """Verdicts on comparison.Candidates. Accuracy: McNemar, Holm over the candidates; all else: 95 % intervals.

    stored: the reference is a base file.
    """
    pairs = [c.free.mcnemar_p for c in candidates if c.free]
    rule = f" after Holm's rule over {len(pairs)} candidates" if len(pairs) > 1 else ""
    adjusted = iter(holm(pairs))
    names = labels([c.model for c in candidates])
    return [
        _verdict(name, c, floor, _accuracy(c.free, next(adjusted), rule) if c.free else None, stored)
        for name, c in zip(names, candidates, strict=True)
    ]


def times_noise(ratio: float) -> str:
    """Three digits, whole numbers from 100 on."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def labels(models: Sequence) -> list[str]:
    """A name for each column: the quant; with the file's hash where two have the same."""
    quants = [m.quant for m in models]
    return [m.quant if quants.count(m.quant) == 1 else f"{m.quant} {m.sha256[:6]}" for m in models]


def _verdict(name: str, candidate, floor: TeacherForced | None, accuracy: Check | None, stored: bool) -> Verdict:
    f = candidate.forced
    checks = [_from_file(f[quantities.KLD.key]) if stored else _distributions(f[quantities.KLD.key], floor)]
    if change := f.get(quantities.ENTROPY_CHANGE.key):
        checks.append(_uncertainty(change, floor))
    if candidate.free:
        checks += [accuracy, _length(candidate.free), _runs(candidate.free) if is_identical(f) else None]
    if candidate.trajectory:
        path = candidate.trajectory
        checks.append(_interval("answer entropy on the same prefixes", path.delta_entropy, "nats"))
        checks.append(_interval("information gained about the true answer", path.gain_change, "nats"))
    known = [check for check in checks if check]
    differs = tuple(text for different, text in known if different)
    same = tuple(text for different, text in known if not different)
    return Verdict(name, differs, same, is_identical(f) and _same_paths(candidate))


def is_identical(f: TeacherForced) -> bool:
    """No rounding can hide a difference in all of these: each token's own probability is among them."""
    return all(f[one.key].value == 0.0 for one in (quantities.KLD_MIN, quantities.KLD_MAX, quantities.DP_RMS))


def _same_paths(candidate) -> bool:
    """Whether free runs and answers on the same prefixes, where they were compared, are equal, too."""
    free, path = candidate.free, candidate.trajectory
    runs = free is None or free.identical.value == 1.0
    changes = (path.abs_delta_entropy, path.abs_delta_p_true) if path else ()
    return runs and all(c.value == 0.0 for c in changes) and (path is None or path.same_leader.value == 1.0)


def _from_file(kld: Figure) -> Check:
    text = f"its next-token distributions (mean KLD {kld.value:.3g}, of which 16 bits leave {STORED:g} open)"
    return _low(kld) > STORED, text


def _distributions(kld: Figure, floor: TeacherForced | None) -> Check:
    if floor is None:
        return _low(kld) > 0, f"its next-token distributions (mean KLD {kld.value:.3g}, no noise floor measured)"
    noise = floor[quantities.KLD.key]
    times = f"{times_noise(kld.value / noise.value)} times the noise floor" if noise.value else "the noise floor is 0"
    return _low(kld) > _high(noise), f"its next-token distributions (mean KLD {kld.value:.3g}, {times})"


def _uncertainty(change: Figure, floor: TeacherForced | None) -> Check:
    noise = abs(floor[quantities.ENTROPY_CHANGE.key].value) if floor else 0.0
    text = f"its token entropy ({change.value:+.3g} nats)"
    return _low(change) > noise or _high(change) < -noise, text


def _accuracy(free, p: float, rule: str) -> Check:
    a, b = free.accuracy_reference.value, free.accuracy_candidate.value
    return p < ALPHA, f"accuracy ({100 * b:.1f} % against {100 * a:.1f} %, McNemar p = {p:.2g}{rule})"


def _length(free) -> Check | None:
    ratio = free.length_ratio
    if not ratio.known:
        return None
    return ratio.excludes(1.0), f"length ({ratio.value:.3f} times, [{ratio.low:.3f}, {ratio.high:.3f}])"


def _runs(free) -> Check | None:
    """Where the distributions are the same bits, no noise makes a free run another: its end tokens do, for one."""
    if free.identical.value == 1.0:
        return None
    return True, f"its free runs ({100 * free.identical.value:.1f} % the same to the last token)"


def _interval(name: str, change: Estimate, unit: str) -> Check | None:
    if not change.known:
        return None
    return change.excludes(0.0), f"{name} ({change.value:+.3g} {unit}, [{change.low:.3g}, {change.high:.3g}])"


def _low(figure: Figure) -> float:
    return figure.value - 1.96 * (figure.uncertainty or 0.0) if figure.low is None else figure.low


def _high(figure: Figure) -> float:
    return figure.value + 1.96 * (figure.uncertainty or 0.0) if figure.high is None else figure.high


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
