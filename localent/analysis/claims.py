"""The claims that a study judges, and when one is supported, smaller than a stated size, or undecided.

A claim is supported if its whole interval is on the claimed side of 0, the effect reaches the smallest size that would
count, and p is below 0.05 after Holm's correction. It is "smaller than X" if its whole interval is below that size X,
has a width (without variation nothing was tested), and the p that the effect is X is below 0.05 after the same
correction. It is undecided otherwise. Of a claim's two hypotheses, no effect and an effect of at least X, at most one
is true, so that a family has as many true hypotheses as claims, and Holm's rule over one p a claim bounds the chance of
any false verdict, supported or smaller [ours].

What measures confidence as well as knowledge, the raw probability of the true answer, is reported without a verdict.

If right and wrong are compared, an effect that passes but vanishes with length held fixed is "explained by length", one
that vanishes within questions "explained by the question": see held.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from localent.analysis import held
from localent.analysis.curves import FLOOR, FLOORED
from localent.analysis.intervals import MIN_TOLD, Estimate
from localent.analysis.signatures import LOCK, SLACK
from localent.analysis.significance import holm

SUPPORTED, UNDECIDED = "supported", "undecided"
REFUTED = "refuted"  # of a claim that there is no effect: one of at least the smallest size is shown
SMALLER = "smaller than"  # begins the verdict that names the size
REPORTED = "reported"  # an effect that is no claim: confidence alone moves it
LENGTH, QUESTION = held.LENGTH, held.QUESTION
WITHHELD = "withheld"  # the measurement itself does not work: see the note
FLIPS, DELONG, GAP, ORDER = (  # tests
    "sign flips of problem means", "clustered DeLong", "clustered t", "order of probes, sign flips",
)  # fmt: skip
NONE = "no test"
NO_SPREAD = "nothing varies"
ALPHA = held.ALPHA
SMALLEST = {  # the smallest effect that would count, by unit
    "nats a trace": 0.1, "nats": 0.05, "share": 0.05, "AUROC - 0.5": 0.05, "AUROC": 0.05,
    "Cliff's delta": 0.1,
}  # fmt: skip
OF_UNIT = {"share": "", "AUROC - 0.5": " in AUROC", "AUROC": " in AUROC", "Cliff's delta": " in Cliff's delta"}


@dataclass(frozen=True, slots=True)
class Rules:
    """The thresholds that verdicts rest on. All are ours; study --sensitivity moves them."""

    floor: float = FLOOR  # the probability of a blind guess where answers cannot be guessed
    lock: float = LOCK  # nats: an answer entropy at or below it is locked in
    slack: float = SLACK  # nats: smaller rises do not count
    scale: float = 1.0  # of all smallest effects that count

    def smallest(self, unit: str) -> float:
        """The smallest effect that would count, in this unit."""
        return self.scale * SMALLEST[unit]


DEFAULT_RULES = Rules()
_SIZES = ", ".join(f"{size:g} {unit}" for unit, size in SMALLEST.items())
_KNOBS = (
    f" Locked in: answer entropy of {LOCK:g} nats or less. A rise: more than {SLACK:g} nats and two standard errors."
    f" Smallest effects that count: {_SIZES}. Right and wrong are compared where each has traces of {MIN_TOLD} problems"
    " or more."
)
THRESHOLDS = (  # as people read them
    "Information is that of recalibrated distributions (see 'calibration' for the raw ones); a number that cannot be"
    f" guessed is one of {1 / FLOOR:,.0f}.{_KNOBS} 'localent study --sensitivity' shows the verdicts under others."
)
RULES = (  # part of the identity of every study: with other words, a stored study would not be found
    f"{FLOORED} Information: linear pool, cross-fitted by halves. Length: strata of steps and tokens. Question: pairs"
    f" of one question. Saturation: order of probes.{_KNOBS}"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim about a model. The key identifies it, also in the database; the title is what people read."""

    key: str
    title: str
    unit: str  # of its effect
    test: str  # where its p is from
    selected: bool = False  # compares right and wrong traces, which are selected on the outcome
    scale: float = 1.0  # effect = scale (AUROC - 0.5), where the claim is about an AUROC


GAIN_RISES = Claim("gain_rises", "information gain rises with steps", "nats a trace", FLIPS)
CALIBRATION = Claim("calibration", "calibration: raw ln p(true answer), rise", "nats a trace", NONE)
LEADER_RISES = Claim("leader_rises", "accuracy of the leading answer rises", "share", FLIPS)
GAIN_BY_HALF = Claim("gain_by_half", "gain by half of the steps", "nats", FLIPS)
P_TRUE_RISES = Claim("p_true_rises", "raw probability of the true answer, rise", "share", NONE)
GAIN_RISES_POOLED = Claim("gain_rises_pooled", "information gain rises, pooled", "nats a trace", FLIPS)
GAIN_RISES_ROLLOUTS = Claim("gain_rises_rollouts", "information gain rises, by rollouts", "nats a trace", FLIPS)
EXCEEDS_ALL = Claim("exceeds_controls", "exceeds every control", "nats", FLIPS)
EXCEEDS_ALL_HALF = Claim("exceeds_controls_half", "exceeds every control, t = 0.5", "nats", FLIPS)
LOCK_IN = Claim("lock_in", "lock-in: wrong traces lock in later", "Cliff's delta", DELONG, True, 2.0)
LOCK_IN_LEADER = Claim("lock_in_leader", "lock-in of the leading answer", "Cliff's delta", DELONG, True, 2.0)
SEPARABILITY = Claim("separability", "separability: wrong traces stay uncertain", "nats", GAP, True)
EARLY = Claim("early_separability", "early separability, t = 0.5", "AUROC - 0.5", DELONG, True)
EARLY_GAIN = Claim("early_separability_gain", "early separability beyond the start", "AUROC", DELONG, True)
EARLY_ANY = Claim("early_separability_any", "early separability, t = 0.5, any K", "AUROC - 0.5", DELONG, True)
WITHIN = Claim("within_question", "within-question separability, t = 0.5", "AUROC - 0.5", DELONG, True)
MONOTONICITY = Claim("monotonicity", "monotonicity: wrong traces rise more often", "share", GAP, True)
SATURATION = Claim("saturation", "saturation: falls early, then flattens", "nats", ORDER)
GAINS_USEFUL = Claim("gains_useful", "gains where there is something to gain", "nats", FLIPS)
GAINS_NOTHING = Claim("gains_nothing", "gains nothing where there is nothing", "nats", FLIPS)
RAW_USEFUL = Claim("gains_useful_raw", "raw gain where there is something to gain", "nats", NONE)
RAW_USELESS = Claim("gains_nothing_raw", "raw gain where there is nothing", "nats", NONE)
TRAINING = Claim("training", "training increases the gain", "nats a trace", FLIPS)


def exceeds(control: str, *, selected: bool) -> Claim:
    """That the gain exceeds one control's. selected: the control is chosen by how a trace ended."""
    return Claim(f"exceeds_control:{control}", f"exceeds control: {control}", "nats", FLIPS, selected)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim about one subject, judged."""

    claim: str  # the title
    key: str
    subject: str  # a model, or "earlier -> later"
    effect: Estimate  # positive: as claimed
    unit: str
    test: str
    p: float | None  # two-sided, that there is no effect; of a supported one: none beyond length and question
    verdict: str
    given_length: Estimate | None  # AUROC - 0.5, length held fixed; None: no such comparison
    selected: bool  # compares right and wrong traces, which are selected on the outcome
    note: str = ""
    p_holm: float | None = None  # of the verdict, adjusted over the claims about this subject
    given_question: Estimate | None = None  # AUROC - 0.5 among traces of one question
    p_smaller: float | None = None  # two-sided, that the effect is the smallest that would count; 1 where it is above
    smallest: float = 0.0  # that size
    n_family: int = 0  # claims in the family of p_holm

    @property
    def p_tested(self) -> float | None:
        """Its p in the family: that of its verdict."""
        return self.p_smaller if self.is_smaller else self.p

    @property
    def is_smaller(self) -> bool:
        """True if the effect is shown to be smaller than the smallest that would count."""
        return self.verdict.startswith(SMALLER)


@dataclass(frozen=True, slots=True)
class Ps:
    """The p-values of one claim, two-sided; None: none can be had."""

    none: float | None  # that there is no effect
    smaller: float | None  # that the effect is the smallest that would count; 1 where it is found to be above


def judged(
    claim: Claim, subject: str, effect: Estimate, ps: Ps, note: str = "", rules: Rules = DEFAULT_RULES
) -> Verdict:
    """The claim by its interval and the smallest effect that counts."""
    about = (claim.title, claim.key, subject, effect, claim.unit, claim.test, ps.none)
    found = Verdict(*about, decide(effect, claim.unit, rules), None, claim.selected, note)
    return replace(found, p_smaller=ps.smaller, smallest=rules.smallest(claim.unit))


def decide(effect: Estimate, unit: str, rules: Rules = DEFAULT_RULES) -> str:
    """Supported, smaller than the smallest effect that counts, or undecided, from the interval."""
    size = rules.smallest(unit)
    if effect.value is None or not effect.known:
        return UNDECIDED
    if effect.below(size):
        return UNDECIDED if effect.flat else smaller_than(size, unit)
    return SUPPORTED if effect.above(0) and effect.value >= size else UNDECIDED


def smaller_than(size: float, unit: str) -> str:
    """ "smaller than 0.1 nats a trace"."""
    return f"{SMALLER} {size:g}{OF_UNIT.get(unit, f' {unit}')}"


def on_gain(found: Mapping[str, Verdict]) -> Verdict | None:
    """The verdict, by key, on information gained: the pooled one where it supports what the other leaves open."""
    first, pooled = found.get(GAIN_RISES.key), found.get(GAIN_RISES_POOLED.key)
    if first and pooled and first.verdict == UNDECIDED and pooled.verdict == SUPPORTED:
        return pooled
    return first


def undecided(v: Verdict, why: str) -> Verdict:
    """The claim left open, with the reason."""
    return replace(v, verdict=UNDECIDED, note=why)


def reported(claim: Claim, subject: str, effect: Estimate, note: str) -> Verdict:
    """An effect without a verdict, outside the family of claims."""
    return replace(judged(claim, subject, effect, Ps(None, None), note), verdict=REPORTED)


def withheld(v: Verdict, why: str) -> Verdict:
    """The claim without a verdict: what was measured says nothing about it."""
    return replace(v, verdict=WITHHELD, note=why)


def varying(effect: Estimate) -> Estimate:
    """The effect; if its interval has no width, with the reason why nothing follows from it."""
    return replace(effect, reason=NO_SPREAD) if effect.flat else effect


def settled(family: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts after Holm's rule: each, also that an effect is small, needs an adjusted p below ALPHA.

    Each claim is in the family with the p of its verdict; claims without p stay as they are.
    """
    ps = [v.p_tested for v in family]
    n = sum(p is not None for p in ps)
    return [_settled(replace(v, n_family=n), p) for v, p in zip(family, holm(ps), strict=True)]


def _settled(v: Verdict, p_holm: float | None) -> Verdict:
    decided = v.is_smaller or v.verdict in (SUPPORTED, REFUTED, LENGTH, QUESTION)
    if decided and p_holm is not None and p_holm >= ALPHA:
        why = f"p is {p_holm:.2f} after Holm's rule over {v.n_family} claims"
        return replace(v, verdict=UNDECIDED, p_holm=p_holm, note=why)
    return replace(v, p_holm=p_holm)


def by_length(family: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts on separability at equal K: by length, where length explains that at any K and equal K show none."""
    if not any(v.key == EARLY_ANY.key and v.verdict == LENGTH for v in family):
        return list(family)
    none = [v.key == EARLY.key and v.effect.known and not v.effect.excludes(0) for v in family]
    note = "length separates at any K; at equal K nothing is shown"
    return [replace(v, verdict=LENGTH, note=note) if gone else v for v, gone in zip(family, none, strict=True)]
