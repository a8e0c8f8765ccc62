"""A vote among samples as a table and sentences. Returns the text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from localent.analysis.as_json import plain
from localent.analysis.electing import Ballot, Counted, Election, Record
from localent.report.numbers import brackets, fixed, percent

Table = tuple[list[str], list[list[Any]]]  # columns, rows
FEW = 5  # samples below which a vote says little


def votes_table(e: Election, truth: str = "") -> Table:
    """The answers with their votes. truth: marked with a star where it is known."""
    columns = ["answer", "samples", "votes"]
    rows = [[c.answer + "*" * (c.answer == truth), c.n, _share(c)] for c in e.answers]
    silent = sum(b.answer is None for b in e.ballots)
    return columns, rows + ([["(no answer)", silent, "-"]] if silent else [])


def ballots_table(e: Election) -> Table:
    """Every sample with its answer and the weight of its vote."""
    signal = e.vote.signal
    columns = ["sample", "answer", "tokens", *([signal] if signal else []), "vote"]
    rows = []
    for b in e.ballots:
        value = [] if not signal else ["-" if b.value is None else f"{b.value:.4g}"]
        rows.append([b.sample, "-" if b.answer is None else b.answer, b.n_tokens, *value, _weight(b)])
    return columns, rows


def sentences(e: Election, record: Record | None = None) -> list[str]:
    """Who wins, how certain that is, and how good such votes were on a stored run."""
    said = [outcome(e)]
    if len(e.ballots) < FEW:
        said.append(f"{len(e.ballots)} samples say little: ask for more with --samples.")
    if record is not None:
        over = f"{record.n_problems} problems of run {record.run_id} ({record.model} on {record.task})"
        gain, points = record.against_majority, brackets(record.against_majority, 100, 1)
        more = (
            "" if gain.value is None else f", {100 * gain.value:+.1f} points {points} beside the majority vote".rstrip()
        )
        said.append(f"On {over} that nothing was chosen on, this vote was right in {percent(record.accuracy)}{more}.")
    return said


def outcome(e: Election) -> str:
    """The winner in a sentence."""
    n, by = len(e.ballots), e.vote.key.replace("_", " ")
    if e.winner is None:
        tied = [c.answer for c in e.answers if e.answers and c.share >= e.answers[0].share - 1e-12]
        return f"A tie between {' and '.join(tied)} ({by})." if tied else f"None of {n} samples gave an answer."
    first = e.answers[0]
    wins = "" if e.wins is None else f"; it wins in {fixed(100 * e.wins, 0)} % of resamplings of the samples"
    return f"{e.winner} wins by {by}: {first.n} of {n} samples, {percent(e.share)} of the votes{wins}."


def everything(e: Election, record: Record | None) -> dict[str, object]:
    """The vote with its sentences, as JSON values."""
    found = plain(asdict(e))
    assert isinstance(found, dict)
    return found | {"record": record and plain(asdict(record)), "sentences": sentences(e, record)}


def _share(c: Counted) -> str:
    return f"{fixed(100 * c.share, 1)} %"


def _weight(b: Ballot) -> str:
    return f"{fixed(100 * b.weight, 1)} %"
