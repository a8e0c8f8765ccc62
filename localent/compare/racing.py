"""What the files of a choice have read, each as far as it got, and how they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from localent.analysis import sequential
from localent.analysis.divergence import TeacherForced
from localent.analysis.sequential import Standing
from localent.compare.plan import Source
from localent.compare.positions import Positions, beside, joined
from localent.compare.scoring import figures
from localent.compare.text import Text, digest_of

NOTHING = Source("text", "", "")  # before the first portion


@dataclass(slots=True)
class Race:
    """Candidates that read the same texts in portions, until they are told apart from the one in front."""

    n_candidates: int
    source: Source = NOTHING
    texts: list[Text] = field(default_factory=list)
    standing: Standing | None = None
    parts: list[list[Positions]] = field(default_factory=list)  # of each candidate, one for each portion that it read

    def __post_init__(self) -> None:
        self.parts = [[] for _ in range(self.n_candidates)]

    @property
    def racing(self) -> Sequence[int]:
        """The candidates that read on."""
        return self.standing.racing if self.standing else range(self.n_candidates)

    def add(self, texts: Sequence[Text], found: Positions) -> None:
        """A portion, as those that read on have read it."""
        self.texts += texts
        for i, columns in zip(self.racing, found.candidates, strict=True):
            self.parts[i].append(replace(found, candidates=(columns,)))

    def look(self, level: float) -> Standing:
        """Test whether the one in front is told apart from the others. level: of this look."""
        self.standing = sequential.standing([self.klds(i) for i in range(self.n_candidates)], level, self.standing)
        return self.standing

    def positions(self, i: int) -> Positions:
        """All that candidate i has read."""
        return joined(self.parts[i])

    def n_texts(self, i: int) -> int:
        """The texts that candidate i has read."""
        return len(self.klds(i))

    def klds(self, i: int) -> np.ndarray:
        """The KLD of each text that candidate i has read, summed over its positions: -> (n_texts,)."""
        found = self.positions(i)
        return np.bincount(found.text, found.candidates[0]["kld"])

    def figures(self, i: int) -> TeacherForced:
        """The figures of candidate i on what it has read."""
        return figures(self.positions(i), 0, self.texts[: self.n_texts(i)], cut=self.source.kind == "text")

    def multiples(self) -> tuple[float | None, ...]:
        """The KLD of each candidate over the leader's on the texts that both read; None where the leader's is 0."""
        leads = self.klds(self.standing.leader if self.standing else 0)
        shared = [(klds, leads[: len(klds)]) for klds in map(self.klds, range(self.n_candidates))]
        return tuple(float(klds.sum() / first.sum()) if first.sum() else None for klds, first in shared)

    def by_length(self) -> list[tuple[int, list[int]]]:
        """(n texts, the candidates that read so many), the longest first."""
        lengths = [self.n_texts(i) for i in range(self.n_candidates)]
        return [(n, [i for i, own in enumerate(lengths) if own == n]) for n in sorted(set(lengths), reverse=True)]

    def first(self, n: int) -> Source:
        """The first n texts as the source of a comparison."""
        return replace(self.source, digest=digest_of(self.texts[:n]))

    def together(self, places: Sequence[int]) -> Positions:
        """The positions of candidates that have read the same texts."""
        return beside([self.positions(i) for i in places])
