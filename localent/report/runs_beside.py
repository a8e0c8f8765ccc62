"""Runs beside each other: a row per run, sentences, and a row per pair of traces for machines. Returns text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from localent.compare import BesideRun, RunsCompared, TracePair
from localent.report.numbers import short
from localent.report.science import Table
from localent.report.table import p_cell


def runs_table(found: RunsCompared) -> Table:
    """A row per run, the reference first."""
    columns = ["run", "model", "traces", "same bits", "same tokens", "first other token", "right", "lost, won"]
    columns += ["same answer", "answer entropy", "length"]
    reference = [found.reference, f"{found.model.name} {found.model.quant}"]
    free = found.candidates[0].free
    rows = [[*reference, free.n, "", "", "", short(free.accuracy_reference), "", "", "", ""]]
    return columns, [*rows, *map(_row, found.candidates)]


def _row(one: BesideRun) -> list[object]:
    free = one.free
    first = "" if free.first_divergence is None else f"{free.first_divergence:g}"
    return [
        *(one.run_id, f"{one.model.name} {one.model.quant}", free.n, one.n_same_bits, one.n_same_tokens, first),
        *(short(free.accuracy_candidate), f"-{free.right_to_wrong} +{free.wrong_to_right}", short(free.same_answer)),
        *(short(one.half), short(free.length_ratio)),
    ]


def pairs_table(found: RunsCompared) -> Table:
    """A row per pair of traces, for machines."""
    columns = ["run", "problem", "sample", "right_reference", "right", "answer_reference", "answer"]
    columns += ["tokens_reference", "tokens", "same_bits", "first_differing", "token_reference", "token"]
    columns += ["entropy_there", "largest_move", "answer_entropy_reference", "answer_entropy"]
    return columns, [_cells(one.run_id, pair) for one in found.candidates for pair in one.pairs]


def _cells(run_id: str, pair: TracePair) -> list[object]:
    return [
        *(run_id, pair.problem, pair.sample, *map(int, pair.right), *pair.answer, *pair.n_tokens),
        *(int(pair.same_bits), pair.first_differing, *pair.there, pair.entropy_there, pair.largest_move),
        *pair.answer_entropy,
    ]


def flips_table(found: RunsCompared) -> Table:
    """The pairs of which one is right and the other wrong."""
    columns = ["run", "problem", "sample", "reference", "candidate", "tokens", "parts at", "reference there"]
    columns += ["candidate there", "entropy there"]
    rows = [
        [one.run_id, p.problem, p.sample, *map(_answer, p.right, p.answer), "{} {}".format(*p.n_tokens),
         p.first_differing, *map(repr, p.there), "" if p.entropy_there is None else f"{p.entropy_there:.3f}"]
        for one in found.candidates for p in one.pairs if p.right[0] != p.right[1]
    ]  # fmt: skip
    return columns, rows


def _answer(right: bool, answer: str | None) -> str:
    return f"{'no answer' if answer is None else answer} {'right' if right else 'wrong'}"


def sentences(found: RunsCompared) -> list[str]:
    """Plainly for each run: whether it repeats the reference to the last bit, else what moved and what flipped."""
    return [sentence for one in found.candidates for sentence in _sentences(found.reference, one)]


def _sentences(reference: str, one: BesideRun) -> Iterator[str]:
    n, what = len(one.pairs), "; ".join(one.differs) or "nothing in the records"
    yield f"Run {one.run_id} beside {reference}: {what} {'differs' if len(one.differs) < 2 else 'differ'}."
    if any(one.n_alone):
        yield f"{one.n_alone[0]} traces are in the reference only, {one.n_alone[1]} in this run only: left out."
    if one.n_same_bits == n:
        yield f"Bit-identical: all {n:,} traces have the same tokens, measures and answer distributions."
        return
    yield f"Not bit-identical: {one.n_same_bits:,} of {n:,} traces are the same to the last bit. {_tokens(one)}"
    yield from _answers(one)
    yield from _distributions(one)


def _tokens(one: BesideRun) -> str:
    """How many have the same tokens, and where the others part."""
    n, apart = len(one.pairs), [p for p in one.pairs if p.first_differing is not None]
    moves = [p.largest_move for p in one.pairs if p.largest_move is not None]
    moved = f" Before, surprisals of the same tokens move by at most {max(moves):.2g} nats." if moves else ""
    if not apart:
        return f"All {n:,} have the same tokens.{moved.replace(' Before, surprisals', ' Surprisals')}"
    known = [p.entropy_there for p in apart if p.entropy_there is not None]
    entropy = f", where the reference's entropy is {statistics.median(known):.2f} nats (median)" if known else ""
    places = statistics.median(p.first_differing or 0 for p in apart)
    same = f"{one.n_same_tokens:,} have the same tokens, the others part after {places:g} tokens (median){entropy}."
    return same + moved


def _answers(one: BesideRun) -> Iterator[str]:
    free = one.free
    if free.accuracy_reference.value is None:
        yield f"The same answer in {short(free.same_answer)} of the pairs that have one."
        return
    flips = f"{free.right_to_wrong} lost, {free.wrong_to_right} won"
    p = "" if not (free.right_to_wrong or free.wrong_to_right) else f", p = {p_cell(free.mcnemar_p)} (McNemar)"
    yield (
        f"Accuracy {short(free.accuracy_reference)} and {short(free.accuracy_candidate)}: {flips}{p}; the same answer"
        f" in {short(free.same_answer)} of the pairs that have one."
    )


def _distributions(one: BesideRun) -> Iterator[str]:
    if one.path is not None and one.largest_answer_move is not None:
        path = one.path
        yield (
            f"On the {path.n:,} prefixes that both share, the answer entropy changes by {short(path.delta_entropy, 4)}"
            f" nats on average, by at most {one.largest_answer_move:.2g}; the same answer leads in"
            f" {short(path.same_leader)}."
        )
    if one.half.value is not None:
        yield f"Half-way, each in its own trace, the answer entropy changes by {short(one.half)} nats."


def everything(found: RunsCompared) -> dict[str, object]:
    """All of it as JSON values, with the sentences."""
    from dataclasses import asdict

    from localent.analysis.as_json import plain

    figures: dict[str, object] = {name: plain(value) for name, value in asdict(found).items()}
    return figures | {"sentences": sentences(found)}


def flips_shown(found: RunsCompared) -> Sequence[str]:
    """The heading of the table of flips; nothing where there is none."""
    return ["Traces of which one is right and the other wrong:"] if flips_table(found)[1] else []
