"""The answer distribution at a prefix, computed from full logits, without touching the trace.

After the cue, the tokens of an answer form a tree whose branches have exact probabilities. The search expands the
likeliest branch first, until what is unexplored falls below `epsilon`, the budget of fed tokens ends, or no branch is
likely enough to deserve a share of it. A few paths drawn from the unexplored branches then estimate, without bias,
what they hold. Spellings of one value are merged.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from localent.engine import Feed, Request, Rewind, Row
from localent.measure.meter import Meter
from localent.records import Answer, Distribution
from localent.tasks.kinds.grammar import MAX_OPENING, Grammar, Moves
from localent.tasks.kinds.option_text import OptionTexts
from localent.tasks.kinds.summary import NOTHING_DRAWN, Drawn, Explored, plogp, summarise
from localent.tracing.option_text import common_length, probe_texts

LEAST_PATHS = 3
NEGLIGIBLE = 1e-5  # branches below this are drawn from, but not searched
DETOURS = 2  # the true answer is followed through as many tokens as so many plain spellings of it have
WORTHWHILE = 1e-2  # other spellings of the true answer are followed down to this share of what it has already

Reading = Generator[Request, Row, "_Node"]


@dataclass(frozen=True, slots=True)
class Effort:
    """The limits of a search, and how many paths to draw from what the search left open. Recorded with every run."""

    epsilon: float = 0.01  # stop when the unexplored probability is below this
    max_fed: int = 8  # or after so many tokens beyond the cue
    paths: int = 8  # drawn from what is unexplored, were it everything; 0: it is bounded, not estimated

    def n_paths(self, residual: float) -> int:
        """Paths for so much unexplored probability: in proportion to it, and three at least, for an error."""
        return max(LEAST_PATHS, math.ceil(self.paths * residual)) if self.paths else 0


@dataclass(frozen=True, slots=True)
class Asked:
    """The question of one probe: a cue, the answers that count, the true one."""

    cue: Sequence[int]  # tokens that ask for the answer now
    grammar: Grammar | OptionTexts  # what counts as an answer
    truth: str  # the true answer
    draws: np.random.Generator  # of the paths; a stream of its own


@dataclass(order=True, slots=True)
class _Branch:
    """An unfinished answer. Ordered by falling probability, then by age."""

    key: tuple[float, int]
    mass: float = field(compare=False)
    path: tuple[int, ...] = field(compare=False)
    phase: str = field(compare=False)
    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Node:
    """The row after a branch, read: shares of the branch's probability that sum to 1."""

    moves: Moves
    going_on: npt.NDArray[np.float64]  # of each token that continues the answer
    ends: Mapping[str | None, float]  # of each answer that it may end as; None: no answer


def probe(n_prefix: int, asked: Asked, effort: Effort, meter: Meter) -> Generator[Request, Row, Distribution]:
    """Coroutine: rewind the lane to `n_prefix` tokens, feed the cue, compute the answer distribution.

    The entropy and its bounds come from the search and the paths, which do not know the truth; only then is the true
    answer's own path followed to its end, so that its probability is known however small it is. `p_true` is
    that of all its spellings looked at: at least that of the plain one, " 18.". Answers that the grader takes for the
    true one ("0.667" for 2/3) count as it in `p_true`, the answers and the leader; the entropy does not know of it.
    """
    grammar = asked.grammar
    if isinstance(grammar, OptionTexts):
        return (yield from probe_texts(n_prefix, asked.cue, grammar, asked.truth, meter))
    yield Rewind(n_prefix)
    row = yield Feed(asked.cue)
    search = _Search(grammar, asked, n_prefix + len(asked.cue), meter)
    next_entropy = meter.read(row).entropy
    search.start(row)
    while search.is_worthwhile(effort):
        yield from search.visit(heapq.heappop(search.open))
    before = search.explored()
    drawn = yield from search.draw(effort.n_paths(before.residual))
    search.settle()
    blind = summarise(before, drawn, search.explored())
    leader = search.leader() if blind.answers else None
    answers = search.with_truth(blind.answers)
    p_true = answers.get(asked.truth, 0.0)
    if spelling := grammar.spelling(asked.truth):
        yield from search.follow_truth(spelling)
        p_true = min(1.0, search.with_truth(search.masses).get(asked.truth, 0.0) / blind.mass) if blind.mass else 0.0
    return Distribution(
        answers=tuple(Answer(value, min(1.0, prob)) for value, prob in answers.items()),
        invalid=blind.invalid,
        residual=blind.residual,
        entropy=blind.entropy,
        entropy_se=blind.entropy_se,
        entropy_lower=blind.entropy_lower,
        entropy_upper=blind.entropy_upper,
        leader=leader,
        p_true=p_true,
        log_p_true=math.log(p_true) if p_true else None,
        n_fed=len(asked.cue) + search.n_fed,
        next_entropy=next_entropy,
    )


@dataclass(frozen=True, slots=True)
class _Small:
    """The negligible children of one branch."""

    parent: _Branch
    moves: Moves
    which: npt.NDArray[np.int64]  # of the moves that go on
    masses: npt.NDArray[np.float64]


class _Search:
    def __init__(self, grammar: Grammar, asked: Asked, n_base: int, meter: Meter):
        self.grammar, self.truth, self.draws = grammar, asked.truth, asked.draws
        self.n_base, self.meter = n_base, meter
        self.open: list[_Branch] = []
        self._small: list[_Small] = []
        self._aside: list[_Branch] = []  # negligible branches that may lead to the truth; they are in _small as well
        self._visited: dict[tuple[int, ...], _Branch] = {}
        self._nodes: dict[tuple[int, ...], _Node] = {}
        self.masses: dict[str, float] = {}
        self.invalid = 0.0
        self.n_fed = 0
        self._fed: tuple[int, ...] = ()
        self._age = itertools.count()

    @property
    def residual(self) -> float:
        return math.fsum(self._open_masses())

    def is_worthwhile(self, effort: Effort) -> bool:
        """True while the next branch is worth searching: of more than `max_fed` so likely not all could be."""
        if not self.open or self.n_fed >= effort.max_fed:
            return False
        is_likely = self.open[0].mass * effort.max_fed >= 1 or not effort.paths
        return is_likely and self.residual > effort.epsilon  # last: the sum over all that is open takes longest

    def _open_masses(self) -> npt.NDArray[np.float64]:
        """(n,) of every unexplored branch."""
        kept = np.array([branch.mass for branch in self.open], np.float64)
        return np.concatenate([kept, *(small.masses for small in self._small)])

    # --- the search ---

    def start(self, row: Row) -> None:
        """Expand the root, whose row is that after the cue."""
        root = self._branch(1.0, (), "start", "")
        self._nodes[()] = self._read(root, row)
        self._expand(root, self._nodes[()])

    def visit(self, branch: _Branch) -> Generator[Request, Row, None]:
        """Feed what leads to a branch and expand it."""
        node = yield from self._node(branch)
        self._visited[branch.path] = branch
        self._expand(branch, node)

    def _node(self, branch: _Branch) -> Reading:
        """The row after a branch, read; fed unless it has been before."""
        if branch.path not in self._nodes:
            common = common_length(self._fed, branch.path[:-1])
            if common < len(self._fed):
                yield Rewind(self.n_base + common)
            for token in branch.path[common:]:  # one by one: so they share a decode with the other lanes
                row = yield token
                self.n_fed += 1
            self._fed, self._nodes[branch.path] = branch.path, self._read(branch, row)
        return self._nodes[branch.path]

    def _read(self, branch: _Branch, row: Row) -> _Node:
        """Share the branch's probability among what the row says may follow."""
        moves = self.grammar.moves(branch.phase)
        going_on, complete = self._probabilities(row, moves)
        ends: dict[str | None, float] = {}
        shares = np.bincount(moves.ending_of, complete, len(moves.endings))
        ended = max(0.0, 1.0 - float(going_on.sum()) - float(complete.sum()))
        for text, share in (*zip(moves.endings, shares.tolist(), strict=True), ("", ended)):
            value = self.grammar.value(branch.text + text)
            ends[value] = ends.get(value, 0.0) + share
        return _Node(moves, going_on, ends)

    def _expand(self, branch: _Branch, node: _Node) -> None:
        """Settle the answers that end here and open the branches that go on."""
        masses = node.going_on * branch.mass
        for i in np.flatnonzero(masses >= NEGLIGIBLE).tolist():
            heapq.heappush(self.open, self._child(branch, node.moves, i, float(node.going_on[i])))
        self._set_aside(branch, node, np.flatnonzero(masses < NEGLIGIBLE))
        for value, share in node.ends.items():
            if value is None:
                self.invalid += branch.mass * share
            elif share > 0:
                self.masses[value] = self.masses.get(value, 0.0) + branch.mass * share

    def _set_aside(self, branch: _Branch, node: _Node, which: npt.NDArray[np.int64]) -> None:
        """Keep the negligible children together; those that may lead to the truth also for when it is looked at."""
        some = which[node.going_on[which] > 0]
        if len(some):
            self._small.append(_Small(branch, node.moves, some, node.going_on[some] * branch.mass))
        if self._leads_to_truth(branch):
            children = (self._child(branch, node.moves, i, float(node.going_on[i])) for i in which.tolist())
            self._aside += [child for child in children if self._leads_to_truth(child)]

    # --- what the search left open ---

    def draw(self, n: int) -> Generator[Request, Row, Drawn]:
        """Follow n paths from unexplored branches, drawn in proportion to their probability, to their ends.

        One from each n-th of their probability, in the order of their texts: branches alike share a stratum, so that
        paths differ less from draw to draw than independent ones, and little is fed twice.
        """
        self.open.sort(key=lambda branch: (branch.text, branch.path))
        masses = self._open_masses()
        residual = math.fsum(masses)
        if not residual > 0:
            return NOTHING_DRAWN
        strata = (np.arange(n) + self.draws.random(n)) / n
        drawn = np.searchsorted(np.cumsum(masses), strata * residual, "right")
        corrections = []
        for i in drawn:
            corrections.append((yield from self._follow(self._unexplored(min(int(i), len(masses) - 1)))))
        mass, entropy = np.array(corrections, np.float64).reshape(-1, 2).T
        return Drawn(mass * residual, entropy * residual)

    def _unexplored(self, i: int) -> _Branch:
        """The i-th branch, in the order of `_open_masses`."""
        if i < len(self.open):
            return self.open[i]
        i -= len(self.open)
        for small in self._small:
            if i < len(small.which):
                at = int(small.which[i])
                return self._child(small.parent, small.moves, at, float(small.masses[i] / small.parent.mass))
            i -= len(small.which)
        raise AssertionError("unreachable: i is below the number of unexplored branches")

    def _follow(self, branch: _Branch) -> Generator[Request, Row, tuple[float, float]]:
        """Corrections to counting a branch as one answer, from one random path through it (see `Drawn`).

        Every row on the way adds its exact entropy (the chain rule). Where an answer ends that has been met already,
        both are one; what is no answer is taken out again. Two spellings of one number count as two where neither the
        search nor this path has met the other.
        """
        mass = entropy = 0.0
        met = dict[str, float]()
        while True:
            node = yield from self._node(branch)
            entropy += plogp(list(node.ends.values())) + plogp(node.going_on)
            for value, share in node.ends.items():
                if share > 0 and value is None:
                    mass, entropy = mass - share, entropy + share * math.log(branch.mass * share)
                elif share > 0 and value is not None:
                    beside = self.masses.get(value, 0.0) + met.get(value, 0.0)
                    met[value] = met.get(value, 0.0) + branch.mass * share
                    entropy += share * _merged(beside, branch.mass * share)
            at = int(np.searchsorted(np.cumsum(node.going_on), self.draws.random(), "right"))
            if at >= len(node.going_on):
                return mass, entropy
            branch = self._child(branch, node.moves, at, float(node.going_on[at]))

    def settle(self) -> None:
        """Expand the branches whose rows the paths have read: exact, though too late for the estimate."""
        while read := [branch for branch in self.open if branch.path in self._nodes]:
            for branch in read:
                self.open.remove(branch)
                self._visited[branch.path] = branch
                self._expand(branch, self._nodes[branch.path])

    def explored(self) -> Explored:
        """The state of the search by now; ask before the truth is followed."""
        return Explored(dict(self.masses), self.invalid, self._open_masses(), self.grammar.ln_answers)

    # --- the true answer ---

    def follow_truth(self, plainly: tuple[int, ...]) -> Generator[Request, Row, None]:
        """Expand the true answer's plain spelling to its end, then others that it may have, most promising first."""
        last = self.n_fed + DETOURS * (len(self.truth) + 2)
        reached = yield from self._spell(plainly)
        while self.n_fed < last:
            enough = WORTHWHILE * self.masses.get(self.truth, 0.0)
            others = [branch for branch in self._leading() if branch.mass > enough]
            if not others:
                return
            yield from self._visit_late(max(others, key=lambda branch: self._promise(branch, reached)))

    def _spell(self, path: tuple[int, ...]) -> Generator[Request, Row, dict[str, float]]:
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

    def _visit_late(self, branch: _Branch) -> Generator[Request, Row, None]:
        """Visit a branch that the search left open or set aside."""
        (self.open if branch in self.open else self._aside).remove(branch)
        yield from self.visit(branch)

    # --- parts ---

    def leader(self) -> str | None:
        """The answer that no other can overtake, wherever the unexplored probability goes (see Grammar.stem)."""
        if not self.masses:
            return None
        masses = self.with_truth(self.masses)
        best = max(masses, key=lambda value: (masses[value], value))
        within: dict[str, float] = {}  # what answers begin with -> the unexplored probability of those that do
        for branch in self.open:
            stem = self.grammar.stem(branch.text)
            within[stem] = within.get(stem, 0.0) + branch.mass
        met = [mass + self._may_add(value, within) for value, mass in masses.items() if value != best]
        most = max([*met, *(_on_the_way(stem, within) for stem in within)], default=0.0)
        return best if masses[best] > most + sum(float(small.masses.sum()) for small in self._small) else None

    def with_truth(self, masses: Mapping[str, float]) -> dict[str, float]:
        """Masses or probabilities of answers, most first, with those that the grader takes for the true one as it."""
        merged: dict[str, float] = {}
        for value, mass in masses.items():
            same = self.truth != "" and self.grammar.agree(value, self.truth)
            name = self.truth if same else value
            merged[name] = merged.get(name, 0.0) + mass
        return dict(sorted(merged.items(), key=lambda item: (-item[1], item[0])))

    def _may_add(self, value: str, within: dict[str, float]) -> float:
        """The unexplored probability that may yet fall to an answer: for a broken true one, of all numbers near it."""
        if value != self.truth or value.lstrip("-").isdigit() or not any(map(str.isdigit, value)):
            return _on_the_way(value, within)
        around = {f"{part}" for part in (math.floor(Fraction(value)), math.ceil(Fraction(value)), "")}
        near = (s for s in within if s.partition(".")[0] in around or s in ("-", "-0") or value.startswith(s))
        return math.fsum(within[stem] for stem in near)

    def _probabilities(self, row: Row, moves: Moves) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Full-softmax probabilities of the tokens that go on and of those that complete, float64."""
        reading = self.meter.read(row)
        shift = reading.max_logit + reading.log_normaliser
        return tuple(np.exp(row[ids].astype(np.float64) - shift) for ids in (moves.going_on, moves.complete))

    def _child(self, branch: _Branch, moves: Moves, i: int, share: float) -> _Branch:
        path = (*branch.path, int(moves.going_on[i]))
        return self._branch(branch.mass * share, path, moves.phases[i], branch.text + moves.texts[i])

    def _branch(self, mass: float, path: tuple[int, ...], phase: str, text: str) -> _Branch:
        return _Branch((-mass, next(self._age)), mass, path, phase, text)

    def _leads_to_truth(self, branch: _Branch) -> bool:
        plain = self.grammar.plain(branch.text)
        begins_so = self.truth.startswith(plain) or plain == f"{self.truth}."  # "18." may yet be 18
        return begins_so and len(branch.path) <= len(self.truth) + MAX_OPENING + 2


def _on_the_way(text: str, within: dict[str, float]) -> float:
    """The unexplored probability of all branches that may become an answer beginning with this text."""
    return math.fsum(within.get(text[:n], 0.0) for n in range(len(text) + 1))


def _merged(beside: float, mass: float) -> float:
    """Change of the sum of -m ln m for each unit of `mass` that is the same answer as `beside`; 0 beside nothing."""
    both = beside + mass
    return (plogp([both]) - plogp([beside, mass])) / mass
