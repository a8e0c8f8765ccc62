"""How to compare, and the identity that a comparison has by it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import localent
from localent import engine
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


DEFAULT = Plan()


@dataclass(frozen=True, slots=True)
class Source:
    """What is read by all models of a comparison."""

    kind: str  # "text" | "base file" | "run"
    name: str
    digest: str  # of its tokens, see text.digest_of


def comparison_id(reference: Model | None, candidate: Model, source: Source, plan: Plan) -> str:
    """12 hex digits of everything that can change a bit of a figure: threads and builds promise no equal bits.

    Rows per position are kept beside the figures and change none.
    """
    build = engine.build_info(plan.gpu_layers, candidate.path) | {"localent": localent.__version__}
    how = asdict(replace(plan, positions=False)) | build
    what = [reference and reference.sha256, candidate.sha256, source.kind, source.digest, how]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
