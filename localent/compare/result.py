"""The outcome of a comparison: one record per candidate, and the reference against itself as the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from localent.analysis.divergence import TeacherForced
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.compare import noise
from localent.compare.plan import Plan, Source
from localent.compare.plan import comparison_id as key
from localent.records import Model, Speed


@dataclass(frozen=True, slots=True)
class Part:
    """One of several texts under a candidate."""

    name: str
    n_texts: int  # chunks, or turns of conversations
    forced: TeacherForced


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate compared with the reference. None: not asked for."""

    model: Model
    forced: TeacherForced
    free: FreeRunning | None = None
    trajectory: Trajectory | None = None
    multiples: dict[str, float | None] | None = None  # differences as multiples of the noise floor; see noise
    comparison_id: str = ""
    run_id: str | None = None
    speed: Speed | None = None  # measured in the same run
    variant: str = ""  # how it was run where that is not as the reference was: "KV q8_0"
    parts: tuple[Part, ...] = ()  # of several texts, each by itself
    n_texts: int | None = None  # that it read, where others may have read more; None: those of the comparison

    @property
    def name(self) -> str:
        """Its file's name; how it was run, where that is what differs."""
        return self.variant or self.model.file


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reference and its candidates on the same texts."""

    reference: Model | None  # None: a base file
    source: str  # "text" | "base file" | "run"
    source_name: str
    n_texts: int  # chunks or traces
    candidates: tuple[Candidate, ...]
    noise: Candidate | None  # the reference against itself
    level: float = 0.95
    warnings: tuple[str, ...] = ()  # sentences
    speed: Speed | None = None  # of the reference
    variant: str = ""  # how the reference was run, where not as usual
    unit: str = "chunks"  # of n_texts, on text: "chunks", "turns" of conversations, or "chunks and turns"

    @property
    def names(self) -> list[str]:
        """The candidates by their files' names; with the hash where two files have one name."""
        found = [c.name for c in self.candidates]
        files = {(c.name, c.model.sha256) for c in self.candidates}
        twice = {name for name in found if sum(name == other for other, _ in files) > 1}
        return [f"{c.name} {c.model.sha256[:6]}" if c.name in twice else c.name for c in self.candidates]

    def _repr_html_(self) -> str:
        """As a notebook shows it: the main figures of every candidate, and the sentences."""
        import localent  # the package's front door, which loads the view when it is asked for

        html: str = localent.as_html(self)
        return html


@dataclass(frozen=True, slots=True)
class Views:
    """The figures of one model, of the reference against itself; its own speed. None: not asked for."""

    forced: TeacherForced | None
    free: FreeRunning | None = None
    run_id: str | None = None
    trajectory: Trajectory | None = None
    speed: Speed | None = None
    parts: tuple[Part, ...] = ()


def assemble(
    models: Sequence[Model | None], views: Sequence[Views], source: Source, n_texts: int, plan: Plan
) -> Comparison:
    """A comparison from the figures of each model, with every difference as a multiple of the noise.

    The reference comes first: its model is None for a base file; its views are the noise floor, empty where none was
    measured.
    """
    (reference, *others), (floor, *seen) = models, views
    found = [
        replace(
            _beside(floor, model, view), comparison_id=key(reference, model, source, plan, i), variant=plan.variant(i)
        )
        for i, (model, view) in enumerate(zip(others, seen, strict=True), 1)
        if model is not None and view.forced is not None
    ]
    itself = None
    if reference is not None and floor.forced is not None:
        itself = Candidate(reference, floor.forced, floor.free, floor.trajectory, run_id=floor.run_id)
    done = Comparison(reference, source.kind, source.name, n_texts, tuple(found), itself)
    return replace(done, speed=floor.speed, variant=plan.variant(0))


def _beside(floor: Views, model: Model, seen: Views) -> Candidate:
    pairs = ((seen.forced, floor.forced), (seen.free, floor.free), (seen.trajectory, floor.trajectory))
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    times = {k: v for a, b in known for k, v in noise.multiples(a, b).items()}
    assert seen.forced is not None
    views = (seen.forced, seen.free, seen.trajectory)
    return Candidate(model, *views, times or None, run_id=seen.run_id, speed=seen.speed, parts=seen.parts)
