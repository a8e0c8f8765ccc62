"""Probes: the answer distribution at a prefix, computed from full logits. "What would you answer now?"

After the cue, the tokens of an answer form a tree whose branches have exact probabilities. The search expands
the most likely branch first, until the unexplored probability falls below `epsilon` or the budget of fed tokens ends.
Spellings of one value are merged. The lane is rewound afterwards, so that the trace does not change.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

import numpy as np

from localent.engine import Rewind
from localent.measure.meter import Meter
from localent.records import Answer, Distribution
from localent.tasks.kinds.grammar import MAX_OPENING, Grammar, Moves
from localent.tasks.kinds.option_text import OptionTexts
from localent.tasks.kinds.summary import Explored, Summary
from localent.tracing.option_text import common_length, probe_texts

NEGLIGIBLE = 1e-5  # branches below this are summed into the residual, not kept apart
DETOURS = 2  # the true answer is followed through as many tokens as so many plain spellings of it have
WORTHWHILE = 1e-2  # other spellings of the true answer are followed down to this share of what it has already


@dataclass(frozen=True, slots=True)
class Effort:
    """The limits of a search. Recorded with every run."""

    epsilon: float = 0.01  # stop when the unexplored probability is below this
    max_fed: int = 8  # or after so many tokens beyond the cue


@dataclass(order=True, slots=True)
class _Branch:
    """An unfinished answer. Ordered by falling probability, then by age."""

    key: tuple[float, int]
    mass: float = field(compare=False)
    path: tuple[int, ...] = field(compare=False)
    phase: str = field(compare=False)
    text: str = field(compare=False)


def probe(
    n_prefix: int, cue: Sequence[int], grammar: Grammar | OptionTexts, truth: str, effort: Effort, meter: Meter
) -> Generator[Rewind | int, np.ndarray, Distribution]:
    """Coroutine: rewind the lane to `n_prefix` tokens, feed the cue, compute the answer distribution.

    The entropy and its bounds come from the search that does not know the truth; only then is the true
    answer's own path followed to its end, so that its probability is known however small it is. `p_true` is
    that of all its spellings looked at: at least that of the plain one, " 18.".
    """
    if isinstance(grammar, OptionTexts):
        return (yield from probe_texts(n_prefix, cue, grammar, truth, meter))
    yield Rewind(n_prefix)
    for token in cue:
        row = yield token
    search = _Search(grammar, n_prefix + len(cue), truth, meter)
    search.expand(search.root, row)
    while search.open and search.residual > effort.epsilon and search.n_fed < effort.max_fed:
        yield from search.visit(heapq.heappop(search.open))
    blind, leader = search.summary(), search.leader()
    p_true = blind.answers.get(truth, 0.0)
    if spelling := grammar.spelling(truth):
        yield from search.follow_truth(spelling)
        p_true = search.masses.get(truth, 0.0)
    return Distribution(
        answers=tuple(Answer(value, prob) for value, prob in blind.answers.items()),
        invalid=blind.invalid,
        residual=blind.residual,
        entropy=blind.entropy,
        entropy_lower=blind.entropy_lower,
        entropy_upper=blind.entropy_upper,
        leader=leader,
        p_true=p_true,
        log_p_true=math.log(p_true) if p_true else None,
        n_fed=len(cue) + search.n_fed,
    )


class _Search:
    def __init__(self, grammar: Grammar, n_base: int, truth: str, meter: Meter):
        self.grammar, self.n_base, self.truth, self.meter = grammar, n_base, truth, meter
        self.open: list[_Branch] = []
        self._aside: list[_Branch] = []  # negligible branches that may lead to the truth; their mass is in `dropped`
        self._visited: dict[tuple[int, ...], _Branch] = {}
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
        common = common_length(self._fed, branch.path)
        if common < len(self._fed):
            yield Rewind(self.n_base + common)
        for token in branch.path[common:]:
            row = yield token
            self.n_fed += 1
        self._fed, self._visited[branch.path] = branch.path, branch
        self.expand(branch, row)

    def expand(self, branch: _Branch, row: np.ndarray) -> None:
        """Share the branch's mass among what the row says may follow."""
        moves = self.grammar.moves(branch.phase)
        going_on, complete = self._probabilities(row, moves)
        for i in np.flatnonzero(going_on * branch.mass >= NEGLIGIBLE).tolist():
            heapq.heappush(self.open, self._child(branch, moves, i, float(going_on[i])))
        self._set_aside(branch, moves, going_on)
        shares = np.bincount(moves.ending_of, complete, len(moves.endings))
        for share, text in zip(shares.tolist(), moves.endings, strict=True):
            self._settle(branch.text + text, branch.mass * share)
        ended = max(0.0, 1.0 - float(going_on.sum()) - float(complete.sum()))
        self._settle(branch.text, branch.mass * ended)

    def follow_truth(self, plainly: tuple[int, ...]) -> Generator[Rewind | int, np.ndarray, None]:
        """Expand the true answer's plain spelling to its end, then others that it may have, most promising first."""
        last = self.n_fed + DETOURS * (len(self.truth) + 2)
        reached = yield from self._spell(plainly)
        while self.n_fed < last:
            enough = WORTHWHILE * self.masses.get(self.truth, 0.0)
            others = [branch for branch in self._leading() if branch.mass > enough]
            if not others:
                return
            yield from self._visit_late(max(others, key=lambda branch: self._promise(branch, reached)))

    def _spell(self, path: tuple[int, ...]) -> Generator[Rewind | int, np.ndarray, dict[str, float]]:
        """Visit what is left of a path. Returns with which probability it came to each of its texts."""
        reached = {"": 1.0}
        for n in range(1, len(path) + 1):
            branch = self._visited.get(path[:n]) or next(b for b in self._leading() if b.path == path[:n])
            if branch.mass == 0.0:  # a model may rule a token out; none that follows has a probability then
                break
            if path[:n] not in self._visited:
                yield from self._visit_late(branch)
            reached[self.grammar.plain(branch.text)] = branch.mass
        return reached

    def _promise(self, branch: _Branch, reached: dict[str, float]) -> float:
        """A branch's expected mass relative to the plain spelling's, if both continued alike from here."""
        plain = self.grammar.plain(branch.text)
        return branch.mass / next(reached[plain[:n]] for n in range(len(plain), -1, -1) if plain[:n] in reached)

    def _leading(self) -> list[_Branch]:
        return [branch for branch in (*self.open, *self._aside) if self._leads_to_truth(branch)]

    def _visit_late(self, branch: _Branch) -> Generator[Rewind | int, np.ndarray, None]:
        """Visit a branch that the search left open or set aside."""
        (self.open if branch in self.open else self._aside).remove(branch)
        yield from self.visit(branch)

    def leader(self) -> str | None:
        """The answer that no other can overtake, wherever the unexplored probability goes (see Grammar.stem)."""
        if not self.masses:
            return None
        best = max(self.masses, key=lambda value: (self.masses[value], value))
        within: dict[str, float] = {}  # what answers begin with -> the unexplored probability of those that do
        for branch in self.open:
            stem = self.grammar.stem(branch.text)
            within[stem] = within.get(stem, 0.0) + branch.mass
        met = [mass + _on_the_way(value, within) for value, mass in self.masses.items() if value != best]
        most = max([*met, *(_on_the_way(stem, within) for stem in within)], default=0.0)
        return best if self.masses[best] > most + self.dropped else None

    def summary(self) -> Summary:
        """The distribution that the search has found so far; call it before the truth is followed."""
        answers = dict(sorted(self.masses.items(), key=lambda item: (-item[1], item[0])))
        branches = (*(branch.mass for branch in self.open), self.dropped)
        return self.grammar.summary(Explored(answers, self.invalid, branches, self.residual))

    def _probabilities(self, row: np.ndarray, moves: Moves) -> tuple[np.ndarray, np.ndarray]:
        """Full-softmax probabilities of the tokens that go on and of those that complete, float64."""
        reading = self.meter.read(row)
        shift = reading.max_logit + reading.log_normaliser
        return tuple(np.exp(row[ids].astype(np.float64) - shift) for ids in (moves.going_on, moves.complete))

    def _set_aside(self, branch: _Branch, moves: Moves, going_on: np.ndarray) -> None:
        """Sum the negligible children; keep those that may lead to the truth for when it is looked at."""
        small = np.flatnonzero(going_on * branch.mass < NEGLIGIBLE)
        self.dropped += branch.mass * float(going_on[small].sum())
        if self._leads_to_truth(branch):
            children = (self._child(branch, moves, i, float(going_on[i])) for i in small.tolist())
            self._aside += [child for child in children if self._leads_to_truth(child)]

    def _child(self, branch: _Branch, moves: Moves, i: int, share: float) -> _Branch:
        path = (*branch.path, int(moves.going_on[i]))
        return self._branch(branch.mass * share, path, moves.phases[i], branch.text + moves.texts[i])

    def _branch(self, mass: float, path: tuple[int, ...], phase: str, text: str) -> _Branch:
        return _Branch((-mass, next(self._age)), mass, path, phase, text)

    def _settle(self, text: str, mass: float) -> None:
        value = self.grammar.value(text)
        if value is None:
            self.invalid += mass
        elif mass > 0:
            self.masses[value] = self.masses.get(value, 0.0) + mass

    def _leads_to_truth(self, branch: _Branch) -> bool:
        plain = self.grammar.plain(branch.text)
        begins_so = self.truth.startswith(plain) or plain == f"{self.truth}."  # "18." may yet be 18
        return begins_so and len(branch.path) <= len(self.truth) + MAX_OPENING + 2


def _on_the_way(text: str, within: dict[str, float]) -> float:
    """The unexplored probability of all branches that may become an answer beginning with this text."""
    return math.fsum(within.get(text[:n], 0.0) for n in range(len(text) + 1))
