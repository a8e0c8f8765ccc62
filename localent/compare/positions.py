"""Measures of every scored position, computed from the logits rows of a reference and its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace

import numpy as np

from localent.compare.text import Text
from localent.engine import Row, Rows
from localent.measure.divergence import Divergence, PairMeter, Side

SIDE = tuple(f.name for f in fields(Side) if f.name != "top1_id")
MEASURES = tuple(f.name for f in fields(Divergence) if f.name != "candidate")
Array = np.ndarray
Columns = dict[str, Array]  # measure -> (n_positions,) float64
Fed = Rows | Sequence[Row]  # logits rows as a scorer returns them
Read = tuple[Side, list[Divergence]]  # of one position: the reference, each candidate against it


@dataclass(frozen=True, slots=True)
class Positions:
    """Every scored position: its place, the reference's measures, each candidate's own and its differences."""

    text: Array  # (n,) index of the text
    position: Array  # (n,) index of the predicted token in its text
    token_id: Array  # (n,)
    reference: Columns
    candidates: tuple[Columns, ...]

    def __len__(self) -> int:
        return len(self.text)

    @classmethod
    def empty(cls, texts: Sequence[Text], n_candidates: int) -> Positions:
        """Room for every scored position of the texts."""
        n = sum(text.n_rows for text in texts)

        def columns(names: Sequence[str]) -> Columns:
            return {name: np.full(n, np.nan) for name in names}

        text, position, token_id = (np.empty(n, np.int64) for _ in range(3))
        candidates = tuple(columns((*MEASURES, *SIDE)) for _ in range(n_candidates))
        return cls(text, position, token_id, columns(SIDE), candidates)

    def enter(self, at: int, place: tuple[int, int, int], read: Read) -> None:
        """Write one position. place: index of its text, index of the predicted token there, the token's id."""
        self.text[at], self.position[at], self.token_id[at] = place
        side, differences = read
        for name in SIDE:
            self.reference[name][at] = getattr(side, name)
        for columns, difference in zip(self.candidates, differences, strict=True):
            for name in MEASURES:
                columns[name][at] = getattr(difference, name)
            for name in SIDE:
                columns[name][at] = getattr(difference.candidate, name)


def part(found: Positions, first: int, end: int) -> Positions:
    """The positions of the texts [first, end), as if there were no others."""
    mask = (found.text >= first) & (found.text < end)

    def columns(named: Columns) -> Columns:
        return {name: values[mask] for name, values in named.items()}

    return Positions(
        text=found.text[mask] - first,
        position=found.position[mask],
        token_id=found.token_id[mask],
        reference=columns(found.reference),
        candidates=tuple(map(columns, found.candidates)),
    )


def joined(parts: Sequence[Positions]) -> Positions:
    """The positions of several passes over different texts, as if all had been one pass."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(int(part.text.max(initial=-1)) + 1 for part in parts[:-1])])

    def columns(named: Sequence[Columns]) -> Columns:
        return {name: np.concatenate([one[name] for one in named]) for name in named[0]}

    return Positions(
        text=np.concatenate([part.text + start for part, start in zip(parts, starts, strict=True)]),
        position=np.concatenate([part.position for part in parts]),
        token_id=np.concatenate([part.token_id for part in parts]),
        reference=columns([part.reference for part in parts]),
        candidates=tuple(columns(same) for same in zip(*(part.candidates for part in parts), strict=True)),
    )


def beside(parts: Sequence[Positions]) -> Positions:
    """The candidates of several passes over the same texts, as if all had been read in one pass."""
    return replace(parts[0], candidates=tuple(columns for part in parts for columns in part.candidates))


class Meters:
    """One meter per thread. A row is read by one meter only, so the number of threads changes no result."""

    def __init__(self, n_vocab: int, n_threads: int, *, normalised: bool) -> None:
        """normalised: the reference's rows are log-probabilities."""
        self._meters = [PairMeter(n_vocab) for _ in range(n_threads)]
        self._pool, self._normalised = ThreadPoolExecutor(n_threads), normalised

    def read(self, rows: Fed, others: Sequence[Fed], following: Sequence[int]) -> list[Read]:
        """Measures of each row of the reference and of the same row of the others. following: the tokens taken."""
        found: dict[int, Read] = {}

        def work(i: int) -> None:
            for j in range(i, len(following), len(self._meters)):
                pair = [other[j] for other in others]
                found[j] = self._meters[i].read(rows[j], pair, following[j], normalised=self._normalised)

        list(self._pool.map(work, range(len(self._meters))))
        return [found[j] for j in range(len(following))]

    def __enter__(self) -> Meters:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
