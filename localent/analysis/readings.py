"""What each signal of a run is shown to tell of the outcome: `run`, `show`, `signals` and `report` all say this.

A reading rests on p-values alone, by the rule that verdicts use (held.decide): that the signal separates at all, that
it does with length held fixed, that it does among traces of one question.

One quantity has one p. Some signals are what a claim of `study` is about. Those are judged as that claim, in the family
of the claims about the model; all others are a family of their own. In each, Holm's rule bounds the chance of any
false reading. A signal is in it with one p: the largest of the three where all three are shown by themselves, so that
"beyond length and question" is what would be said; else the p that it separates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from localent.analysis import claims, held, metrics
from localent.analysis.chance import Chance, against_chance
from localent.analysis.claims import Verdict
from localent.analysis.held import ALPHA, Compared, Held
from localent.analysis.intervals import MIN_TOLD, Estimate, n_rarer
from localent.analysis.metrics import Array, UndefinedError
from localent.analysis.recorded import Recorded, Traces
from localent.analysis.significance import holm_of, separation_shift
from localent.analysis.trace_signals import BASELINE, Score, read
from localent.analysis.validity import Validity, validity

AT_CHANCE = "at chance"  # in place of every reading: right and wrong are guesses
NO_ANSWER = "no answer"  # likewise: too often none follows the cue
BEYOND_BOTH, BEYOND_LENGTH = "beyond length and question", "beyond length, question open"
OPEN_LENGTH, OPEN_QUESTION = "undecided beyond length", "undecided beyond the question"
TOO_FEW, NOT_SHOWN, NOISE = "too few", "not shown", "inside the noise"
BEYOND = (BEYOND_BOTH, BEYOND_LENGTH)
CLAIM_OF = {  # key of a signal -> key of the claim that is about the same quantity
    "answer_entropy_half": claims.EARLY_ANY.key,
    "lock_in": claims.LOCK_IN.key,
    "leader_lock_in": claims.LOCK_IN_LEADER.key,
}
MIRRORS = "it leaves out the trace that it judges, and so mirrors its label within a question"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one signal is shown to tell of the outcome. All p-values are two-sided."""

    key: str  # of the signal
    title: str
    family: str
    auroc: float | None
    p: float | None  # that it separates nothing; None: undefined, or too few
    length: Held
    question: Held
    noise: float  # nats: root mean square standard error of the signal; 0: exact, or not in nats
    gap: float  # nats: mean of wrong minus mean of right traces; 0 where the signal has no standard error
    n_rarer: int  # problems with a right trace, or with a wrong one, whichever is smaller
    p_holm: float | None = None  # of the reading, adjusted over its family
    over: str = ""  # that family: "41 signals", or "14 claims" for one that a claim is about
    reading: str = ""

    @property
    def whole(self) -> float:
        """How far the AUROC is from one half."""
        return 0.0 if self.auroc is None else abs(self.auroc - 0.5)

    @property
    def p_beyond(self) -> float | None:
        """The p that nothing is left beyond length and question; None where what is left is not shown by itself."""
        if self.p is None or held.decide(self.whole, self.length, self.question) != ("", ""):
            return None
        return max(p for p in (self.p, self.length.p, self.question.p) if p is not None)

    @property
    def p_entry(self) -> float | None:
        """Its p in the family."""
        return self.p if self.p_beyond is None else self.p_beyond


@dataclass(frozen=True, slots=True)
class Seen:
    """The traces that count, their signals, and whether anything can be said of them."""

    traces: Traces
    scores: list[Score]
    chance: Chance | None  # None: no answer can be guessed
    validity: Validity | None  # None: not probed

    @classmethod
    def of(cls, run: Recorded, *, finished_only: bool = False, at: float = 1.0) -> Seen:
        """Those of a run, without the traces that repeat themselves; see signals.signals for the options."""
        kept = ~run.traces.looped & ~(run.traces.truncated & finished_only)
        scores, traces = [score.among(kept) for score in read(run, at)], run.traces.among(kept)
        return cls(traces, scores, against_chance(traces), validity(run.probes.own and run.probes.own.among(kept)))

    @property
    def instead(self) -> tuple[str, str]:
        """(in place of every reading, the sentence that says why); both empty where readings can be judged."""
        return unfit(self.chance, self.validity)

    def readings(self, proposed: Sequence[Verdict] = ()) -> list[Reading]:
        """The reading of every signal. proposed: the claims about the same traces, before Holm's rule."""
        found = family([tested(score, self.traces) for score in self.scores], proposed)
        return [replace(r, reading=self.instead[0] or r.reading) for r in found]


def unfit(chance: Chance | None, validity: Validity | None) -> tuple[str, str]:
    """(in place of every reading, the sentence that says why) for a model that guesses, or often gives no answer."""
    if chance is not None and chance.at_chance:
        return AT_CHANCE, chance.sentence
    return (NO_ANSWER, validity.sentence) if validity is not None and validity.doubtful else ("", "")


def tested(score: Score, traces: Traces) -> Reading:
    """One signal against the outcome, in the direction in which it separates; without its family and reading."""
    has = ~np.isnan(score.values)
    values, wrong, clusters = (array[has] for array in (score.values, traces.wrong, traces.clusters))
    auroc = _defined(values, wrong)
    sign = -1.0 if auroc is not None and auroc < 0.5 else 1.0
    x = Compared.of(sign * score.values, traces, traces.n_tokens.astype(float))
    nothing = Held(Estimate(None, reason=MIRRORS), None)
    both = bool(wrong.any()) and not wrong.all()
    noise = 0.0 if score.se is None or not has.any() else float(np.sqrt((np.nan_to_num(score.se[has]) ** 2).mean()))
    return Reading(
        key=score.signal.key,
        title=score.signal.title,
        family=score.signal.family,
        auroc=auroc,
        p=_p(values, wrong, clusters),
        length=held.by_length(x),
        question=nothing if score.signal.mirrors else held.by_question(x),
        noise=noise,
        gap=float(values[wrong].mean() - values[~wrong].mean()) if both and noise else 0.0,
        n_rarer=n_rarer(clusters, wrong) if both else 0,
    )


def _defined(values: Array, wrong: Array) -> float | None:
    """The AUROC; None where it is undefined for these traces."""
    try:
        return float(metrics.auroc(values, wrong))
    except UndefinedError:
        return None


def _p(values: Array, wrong: Array, clusters: Array) -> float | None:
    try:
        return separation_shift(values, wrong, clusters).p()
    except UndefinedError:
        return None


# --- families ---------------------------------------------------------------------------------------------------------


def family(found: Sequence[Reading], proposed: Sequence[Verdict] = ()) -> list[Reading]:
    """The readings, each judged with its family: the claims' where it is what a claim is about, else the others'."""
    of_claims, keys = [v.p_tested for v in proposed], [v.key for v in proposed]
    place = {r.key: keys.index(CLAIM_OF[r.key]) for r in found if CLAIM_OF.get(r.key) in keys}
    others = [r for r in found if r.key not in place]
    of_signals, at = [r.p_entry for r in others], {r.key: i for i, r in enumerate(others)}
    return [
        _read(r, of_claims, place[r.key], "claims") if r.key in place else _read(r, of_signals, at[r.key], "signals")
        for r in found
    ]


def _read(r: Reading, ps: Sequence[float | None], place: int, unit: str) -> Reading:
    """The reading of one signal at its place in a family of p-values."""
    n = sum(p is not None for i, p in enumerate(ps) if i != place) + (r.p is not None)
    p_whole, p_beyond = (holm_of(ps, place, p) for p in (r.p, r.p_beyond))
    reading = _reading(r, p_whole, p_beyond)
    return replace(r, p_holm=p_beyond if reading in BEYOND else p_whole, over=f"{n} {unit}", reading=reading)


def _reading(r: Reading, p_whole: float | None, p_beyond: float | None) -> str:
    """The conclusion: does the signal separate, and is anything left with length and with the question held fixed?

    Beyond length and question: both are shown by Holm's rule. Question open: length is, and too few questions have
    right and wrong traces. Explained by length, or by the question: with it held fixed nothing is shown, and less than
    the whole. Undecided: neither is shown. Inside the noise: right and wrong traces differ by less than the standard
    error of one estimate. Too few: right or wrong traces of fewer than MIN_TOLD problems.
    """
    if r.family == BASELINE or r.auroc is None:
        return "baseline" if r.family == BASELINE else "undefined"
    if p_whole is None or r.n_rarer < MIN_TOLD:
        return TOO_FEW
    if p_whole >= ALPHA:
        return NOT_SHOWN
    if 0 < abs(r.gap) <= r.noise:
        return NOISE
    return _beyond(r, p_beyond)


def _beyond(r: Reading, p_beyond: float | None) -> str:
    explained, why = held.decide(r.whole, r.length, r.question)
    if explained:
        return explained
    if why:
        return OPEN_QUESTION if r.length.shown else OPEN_LENGTH
    if p_beyond is None or p_beyond >= ALPHA:
        return OPEN_LENGTH if (r.length.p or 0.0) >= (r.question.p or 0.0) else OPEN_QUESTION
    return BEYOND_LENGTH if r.question.p is None else BEYOND_BOTH
