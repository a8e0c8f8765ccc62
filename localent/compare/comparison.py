"""What is asked of a comparison, and what it found: records."""

from __future__ import annotations

from dataclasses import dataclass

from localent.analysis.divergence import TeacherForced
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.records import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to compare. None: chosen by localent."""

    ctx: int = 512  # tokens of a chunk of plain text
    limit: int | None = None  # chunks of plain text at most
    chunk: int = 128  # tokens of one call; so many rows of logits are held per model
    threads: int | None = None
    gpu_layers: int | None = None  # as many as fit together
    noise: bool = True  # also compare the reference with itself
    free: bool = True  # let the candidates run free, too, and probe the same prefixes
    positions: bool = False  # store a row per position


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one candidate's comparison found. None: not asked for."""

    model: Model
    forced: TeacherForced
    free: FreeRunning | None = None
    trajectory: Trajectory | None = None
    multiples: dict[str, float | None] | None = None  # differences over the noise floor; None: no noise there
    comparison_id: str = ""
    run_id: str | None = None


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
    warnings: tuple[str, ...] = ()  # what to keep in mind, in sentences


DEFAULT = Plan()
