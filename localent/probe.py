"""What would you answer now? The answer distribution at a prefix, computed from full logits.

After the cue, the tokens of an answer form a tree whose branches have exact probabilities. The search expands
the likeliest branch first, until what is unexplored falls below `epsilon` or the budget of fed tokens ends.
Spellings of one value are merged. The lane is rewound afterwards: the trace never notices.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from localent.answers import Grammar, Moves
from localent.engine import Rewind
from localent.entropy import Meter, entropy_of_probs
from localent.errors import LocalentError

NEGLIGIBLE = 1e-5  # branches below this are summed into the residual, not kept apart
WORTHWHILE = 1e-2  # other spellings of the true answer are followed down to this share of what it has already


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to search. Recorded with every run."""

    epsilon: float = 0.01  # stop when the unexplored probability is below this
    max_fed: int = 12  # or after so many tokens beyond the cue


@dataclass(frozen=True, slots=True)
class Distribution:
    """The answer distribution at one prefix. Probabilities of answers, invalid and residual sum to 1."""

    answers: dict[str, float]  # normalised value -> probability, likeliest first
    invalid: float  # continuations that are no answer of this kind
    residual: float  # not explored
    entropy: float  # nats; every unexplored branch counts as one outcome of its own
    entropy_lower: float  # certified: the residual may all belong to the leading answer
    entropy_upper: float  # certified: the residual may be spread over all other answers there are
    p_true: float
    log_p_true: float | None  # None: the true answer cannot be spelled in this grammar
    n_fed: int  # tokens fed: cue, search and the true answer's path


@dataclass(order=True, slots=True)
class _Branch:
    """An unfinished answer. Ordered by falling probability, then by age."""

    key: tuple[float, int]
    mass: float = field(compare=False)
    path: tuple[int, ...] = field(compare=False)
    phase: str = field(compare=False)
    text: str = field(compare=False)


def probe(
    n_prefix: int, cue: Sequence[int], grammar: Grammar, truth: str, effort: Effort, meter: Meter
) -> Generator[Rewind | int, np.ndarray, Distribution]:
    """Coroutine: rewind the lane to `n_prefix` tokens, feed the cue, compute the answer distribution.

    The entropy and its bounds come from the search that does not know the truth; only then is the true
    answer's own path followed to its end, so that its probability is known however small it is.
    """
    yield Rewind(n_prefix)
    for token in cue:
        row = yield token
    search = _Search(grammar, n_prefix + len(cue), truth, meter)
    search.expand(search.root, row)
    while search.open and search.residual > effort.epsilon and search.n_fed < effort.max_fed:
        yield from search.visit(heapq.heappop(search.open))
    blind = search.summary()
    yield from search.follow_truth()
    p_true = search.p_true()
    log_p_true = math.log(p_true) if p_true else None
    return Distribution(**blind, p_true=p_true, log_p_true=log_p_true, n_fed=len(cue) + search.n_fed)


class _Search:
    def __init__(self, grammar: Grammar, n_base: int, truth: str, meter: Meter):
        self.grammar, self.n_base, self.truth, self.meter = grammar, n_base, truth, meter
        self.open: list[_Branch] = []
        self._aside: list[_Branch] = []  # negligible branches that may lead to the truth; their mass is in `dropped`
        self.masses: dict[str, float] = {}
        self.invalid = self.dropped = 0.0
        self.n_fed = 0
        self._fed: tuple[int, ...] = ()
        self._age = itertools.count()
        self.root = self._branch(1.0, (), "start", "")

    @property
    def residual(self) -> float:
        return self.dropped + math.fsum(branch.mass for branch in self.open)

    def visit(self, branch: _Branch) -> Generator[Rewind | int, np.ndarray, None]:
        """Feed what leads from the last branch to this one and expand it."""
        common = _common_length(self._fed, branch.path)
        if common < len(self._fed):
            yield Rewind(self.n_base + common)
        for token in branch.path[common:]:
            row = yield token
            self.n_fed += 1
        self._fed = branch.path
        self.expand(branch, row)

    def expand(self, branch: _Branch, row: np.ndarray) -> None:
        """Share the branch's mass among what the row says may follow."""
        moves = self.grammar.moves(branch.phase)
        going_on, complete = self._probabilities(row, moves)
        for i, share in enumerate(going_on.tolist()):
            self._grow(branch, moves, i, share * branch.mass)
        for share, text in zip(complete.tolist(), moves.endings, strict=True):
            self._settle(branch.text + text, branch.mass * share)
        ended = max(0.0, 1.0 - float(going_on.sum()) - float(complete.sum()))
        self._settle(branch.text, branch.mass * ended)

    def follow_truth(self) -> Generator[Rewind | int, np.ndarray, None]:
        """Expand the branches that can still become the true answer in its plain spelling."""
        while leading := [b for b in (*self.open, *self._aside) if self._leads_to_truth(b)]:
            branch = max(leading, key=lambda b: b.mass)
            if branch.mass < WORTHWHILE * self.masses.get(self.truth, 0.0):
                return
            (self.open if branch in self.open else self._aside).remove(branch)
            yield from self.visit(branch)

    def p_true(self) -> float:
        """Probability of the true answer; among the labels where the answer is a choice."""
        mass = self.masses.get(self.truth, 0.0)
        return mass / math.fsum(self.masses.values()) if mass and self.grammar.kind == "choice" else mass

    def summary(self) -> dict:
        """What the search knows now, before it looks at the truth."""
        answers = dict(sorted(self.masses.items(), key=lambda item: (-item[1], item[0])))
        masses, residual = [*answers.values(), self.invalid], self.residual
        if self.grammar.kind == "choice":
            return _choice_summary(answers, residual, self.grammar.ln_values)
        branches = [branch.mass for branch in self.open] + [self.dropped]
        return dict(
            answers=answers,
            invalid=self.invalid,
            residual=residual,
            entropy=_entropy([*masses, *branches]),
            entropy_lower=_entropy(_with_peak(masses, residual)),
            entropy_upper=_entropy([*masses, residual]) + residual * self.grammar.ln_values,
        )

    def _probabilities(self, row: np.ndarray, moves: Moves) -> tuple[np.ndarray, np.ndarray]:
        """Full-softmax probabilities of the tokens that go on and of those that complete, float64."""
        reading = self.meter.read(row)
        shift = reading.max_logit + reading.log_normaliser
        return tuple(np.exp(row[ids].astype(np.float64) - shift) for ids in (moves.going_on, moves.complete))

    def _grow(self, branch: _Branch, moves: Moves, i: int, mass: float) -> None:
        path = (*branch.path, int(moves.going_on[i]))
        child = self._branch(mass, path, moves.phases[i], branch.text + moves.texts[i])
        if mass >= NEGLIGIBLE:
            heapq.heappush(self.open, child)
        else:
            self.dropped += mass
            if self._leads_to_truth(child):
                self._aside.append(child)

    def _branch(self, mass: float, path: tuple[int, ...], phase: str, text: str) -> _Branch:
        return _Branch((-mass, next(self._age)), mass, path, phase, text)

    def _settle(self, text: str, mass: float) -> None:
        value = self.grammar.value(text)
        if value is None:
            self.invalid += mass
        elif mass > 0:
            self.masses[value] = self.masses.get(value, 0.0) + mass

    def _leads_to_truth(self, branch: _Branch) -> bool:
        plain = branch.text.strip(" ")
        return self.truth.startswith(plain) and len(branch.path) <= len(self.truth) + 1


def _choice_summary(answers: dict[str, float], residual: float, ln_values: float) -> dict:
    """Softmax over the option labels; what is neither label nor unexplored is reported as invalid."""
    labelled = math.fsum(answers.values())
    if labelled == 0.0:
        raise LocalentError("no option label got any probability after the cue: does this vocabulary have them?")
    masses = [*answers.values()] + [0.0] * (round(math.exp(ln_values)) - len(answers))
    return dict(
        answers={value: mass / labelled for value, mass in answers.items()},
        invalid=1.0 - labelled - residual,
        residual=residual,
        entropy=_normalised_entropy(masses),
        entropy_lower=_normalised_entropy(_with_peak(masses, residual)),
        entropy_upper=_normalised_entropy(_levelled(masses, residual)),
    )


def _normalised_entropy(masses: Sequence[float]) -> float:
    return _entropy(np.asarray(masses) / math.fsum(masses))


def _entropy(masses: Sequence[float]) -> float:
    return float(entropy_of_probs(masses))


def _with_peak(masses: Sequence[float], extra: float) -> list[float]:
    """All of `extra` on the largest mass: the least entropy any allocation can have."""
    peaked = sorted(masses, reverse=True)
    peaked[0] += extra
    return peaked


def _levelled(masses: Sequence[float], extra: float) -> list[float]:
    """`extra` poured over the smallest masses: the most entropy any allocation can have."""
    rising = sorted(masses)
    for n in range(1, len(rising) + 1):
        level = (math.fsum(rising[:n]) + extra) / n
        if n == len(rising) or level <= rising[n]:
            return [level] * n + rising[n:]
    raise AssertionError("unreachable: the last n always returns")


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
