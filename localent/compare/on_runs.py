"""Runs of one task beside each other: the same work under another build, thread count, backend, cache or quant.

Nothing is computed by a model: all that is compared is in the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localent.analysis.intervals import Estimate, estimate
from localent.analysis.metrics import mean_of
from localent.analysis.pairs import FreeRunning, Pair, first_difference
from localent.analysis.pairs import free_running as figures_of
from localent.analysis.prefixes import Prefix, Trajectory, trajectory
from localent.compare.free_running import Key, ProfiledTrace, traces_of
from localent.compare.prefixes import leads
from localent.errors import UsageError
from localent.records import Model, Probe, Problem, Run, Token, Trace, text_of
from localent.store import Database, open_db
from localent.tasks import kinds

HALF = 0.5  # of the reasoning steps
UNTOLD = ("noise_of",)  # a setting that says what a run is for, and changes nothing in it
Traces = dict[Key, ProfiledTrace]


@dataclass(frozen=True, slots=True)
class TracePair:
    """One attempt in both runs; pairs are (reference, candidate)."""

    problem: str  # its id in the data
    sample: int
    right: tuple[bool, bool]
    answer: tuple[str | None, str | None]
    n_tokens: tuple[int, int]
    same_bits: bool  # tokens, their measures, steps and probes are equal to the last bit
    first_differing: int | None  # index of the first other token, or where the shorter ends; None: the same tokens
    there: tuple[str, str]  # the texts of these tokens; "": none, or it has ended
    entropy_there: float | None  # nats, of the reference's prediction there; None: it has ended, or nothing differs
    largest_move: float | None  # nats: of the surprisal of a token that both took before; None: there is none
    answer_entropy: tuple[float | None, float | None]  # nats, half-way in each trace; None: not probed


@dataclass(frozen=True, slots=True)
class BesideRun:
    """One candidate run beside the reference."""

    run_id: str
    model: Model
    differs: tuple[str, ...]  # what is known to differ, in words: "threads 1, 2"
    n_alone: tuple[int, int]  # attempts that only the reference, or only the candidate, made
    pairs: tuple[TracePair, ...]
    free: FreeRunning
    half: Estimate  # nats: change of the answer entropy half-way, each in its own trace
    path: Trajectory | None  # on the prefixes that both traces share; None: there is none with probes
    largest_answer_move: float | None  # nats: of the answer entropy on such a prefix

    @property
    def n_same_bits(self) -> int:
        """Pairs that are equal to the last bit."""
        return sum(pair.same_bits for pair in self.pairs)

    @property
    def n_same_tokens(self) -> int:
        """Pairs of the same tokens."""
        return sum(pair.first_differing is None for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class RunsCompared:
    """A reference run and others of its task."""

    reference: str  # run id
    model: Model
    task: str
    candidates: tuple[BesideRun, ...]


def are_runs(names: Sequence[str], db: Path) -> bool:
    """True if every name is the id of a run in the database, or a beginning of one."""
    if not db.is_file():
        return False
    with open_db(db, readonly=True) as store:
        known = [str(row["run_id"]) for row in store.query("select run_id from runs")]
    return all(any(run_id.startswith(name) for run_id in known) for name in names if name) and all(names)


def compare_runs(run_ids: Sequence[str], db: str | Path) -> RunsCompared:
    """Compare stored runs with the first of them, attempt by attempt.

    Raises UsageError for runs of other tasks, one that is named twice, and runs without an attempt in common.
    """
    with open_db(db, readonly=True) as store:
        first, *others = [store.run(run_id) for run_id in run_ids]
        _check(first, others)
        problems = {p.problem_id: p for p in store.problems(first.task)}
        base = traces_of(store, first.run_id)
        found = tuple(_beside(store, first, other, base, problems) for other in others)
        return RunsCompared(first.run_id, store.model(first.model_sha256), first.task, found)


def _check(first: Run, others: Sequence[Run]) -> None:
    for i, other in enumerate(others):
        if other.task != first.task:
            raise UsageError(
                f"Run {first.run_id} is of {first.task}, run {other.run_id} of {other.task}: name runs of one task."
            )
        if other.run_id in {first.run_id, *(one.run_id for one in others[:i])}:
            raise UsageError(f"Run {other.run_id} is named twice: name each run once.")


def _beside(store: Database, first: Run, other: Run, base: Traces, problems: Mapping[str, Problem]) -> BesideRun:
    theirs = traces_of(store, other.run_id)
    keys = [key for key in base if key in theirs]
    if not keys:
        raise UsageError(f"Runs {first.run_id} and {other.run_id} have no attempt in common: extend one of them.")
    both = [(base[key].trace, theirs[key].trace) for key in keys]
    pairs = tuple(_pair(problems[key[0]], *traces) for key, traces in zip(keys, both, strict=True))
    shared = [prefix for i, traces in enumerate(both) for prefix in _prefixes(i, problems[keys[i][0]], *traces)]
    moves = [abs(prefix.entropy[1] - prefix.entropy[0]) for prefix in shared]
    owners = np.array([problems[problem_id].cluster for problem_id, _ in keys])
    return BesideRun(
        run_id=other.run_id,
        model=store.model(other.model_sha256),
        differs=tuple(_differences(store, first, other)),
        n_alone=(len(base) - len(keys), len(theirs) - len(keys)),
        pairs=pairs,
        free=figures_of([_free(base[key], theirs[key]) for key in keys]),
        half=_half_way(pairs, owners),
        path=trajectory(shared) if shared else None,
        largest_answer_move=max(moves, default=None),
    )


def _differences(store: Database, first: Run, other: Run) -> Iterator[str]:
    """What the records of two runs say differs, in words."""
    if first.model_sha256 != other.model_sha256:
        one, two = (store.model(run.model_sha256) for run in (first, other))
        yield f"model {one.name} {one.quant}, {two.name} {two.quant}"
    for a, b in ((first.settings, other.settings), (first.build, other.build)):
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name) and name not in UNTOLD:
                yield f"{name.replace('_', ' ')} {_said(a.get(name))}, {_said(b.get(name))}"


def _said(value: object) -> str:
    return "as usual" if value is None else str(value)


# ── attempt by attempt ────────────────────────────────────────────────────────────────────────────────────────────


def _pair(problem: Problem, a: Trace, b: Trace) -> TracePair:
    at = first_difference(*_pieces(a, b))
    before = min(len(a.tokens), len(b.tokens)) if at is None else at
    moves = [abs(x.surprisal - y.surprisal) for x, y in zip(a.tokens[:before], b.tokens[:before], strict=True)]
    there = [] if at is None else [trace.tokens[at : at + 1] for trace in (a, b)]
    return TracePair(
        problem=problem.source_id,
        sample=a.sample,
        right=(a.correct, b.correct),
        answer=(a.extraction.value, b.extraction.value),
        n_tokens=(len(a.generated), len(b.generated)),
        same_bits=a == b,
        first_differing=at,
        there=(_text(there[0]), _text(there[1])) if there else ("", ""),
        entropy_there=there[0][0].entropy if there and there[0] else None,
        largest_move=max(moves, default=None),
        answer_entropy=(_entropy_half_way(a), _entropy_half_way(b)),
    )


def _text(tokens: Sequence[Token]) -> str:
    return text_of([token.text for token in tokens])


def _pieces(a: Trace, b: Trace) -> tuple[list[int], list[int]]:
    """Numbers for the tokens of two traces, by their bytes: models may number their tokens differently."""
    numbers: dict[bytes, int] = {}
    one, two = ([numbers.setdefault(token.text, len(numbers)) for token in trace.tokens] for trace in (a, b))
    return one, two


def _free(a: ProfiledTrace, b: ProfiledTrace) -> Pair:
    return Pair(
        problem=a.trace.problem_id,
        correct=(a.trace.correct, b.trace.correct),
        answer=(a.trace.extraction.value, b.trace.extraction.value),
        tokens=_pieces(a.trace, b.trace),
        mechanism=(a.mechanism, b.mechanism),
        abandoned=(a.abandoned, b.abandoned),
        variants=a.variants,
    )


# ── answer entropies ──────────────────────────────────────────────────────────────────────────────────────────────


def _entropy_half_way(trace: Trace) -> float | None:
    """That of the last probe at or before half of the steps."""
    known = [probe for probe in trace.own_probes if probe.position <= HALF]
    return max(known, key=lambda probe: probe.k).entropy if known else None


def _half_way(pairs: Sequence[TracePair], owners: np.ndarray) -> Estimate:
    """The mean change over the pairs that both know it of."""
    known = [(i, pair.answer_entropy) for i, pair in enumerate(pairs) if None not in pair.answer_entropy]
    if not known:
        return Estimate(None, reason="not probed")
    changes = np.array([float(b or 0.0) - float(a or 0.0) for _, (a, b) in known])
    return estimate(mean_of, changes, problems=owners[[i for i, _ in known]])


def _prefixes(index: int, problem: Problem, a: Trace, b: Trace) -> Iterator[Prefix]:
    """Both runs' answer distributions on the prefixes that the two traces share."""
    at = first_difference(*_pieces(a, b))
    same = min(len(a.tokens), len(b.tokens)) if at is None else at
    others = {(probe.k, probe.n_tokens, probe.estimator): probe for probe in b.own_probes}
    for probe in a.own_probes:
        other = others.get((probe.k, probe.n_tokens, probe.estimator))
        if other and probe.n_tokens <= same:
            yield from _prefix(index, problem, probe, other)


def _prefix(index: int, problem: Problem, a: Probe, b: Probe) -> Iterator[Prefix]:
    if a.entropy is not None and b.entropy is not None:
        yield Prefix(
            trace=index,
            problem=problem.cluster,
            position=a.position,
            entropy=(a.entropy, b.entropy),
            p_true=(a.p_true, b.p_true),
            leader=(a.leader, b.leader),
            leads=(leads(a, problem), leads(b, problem)),
            guess=kinds.named(a.estimator).chance(problem),
        )
