"""The settings of a comparison, and its id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import localent
from localent import engine
from localent.records import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a comparison. None: chosen by localent."""

    ctx: int = 512  # tokens of a chunk of plain text
    limit: int | None = None  # chunks of plain text at most
    chunk: int = 128  # tokens of one call; each model holds a row of logits for every one of them
    threads: int | None = None
    gpu_layers: int | None = None  # as many as fit together
    noise: bool = True  # also compare the reference with itself
    free: bool = True  # also let the candidates generate freely, and probe the same prefixes
    positions: bool = False  # store a row per position


DEFAULT = Plan()


@dataclass(frozen=True, slots=True)
class Source:
    """The text that all models of a comparison read."""

    kind: str  # "text" | "base file" | "run"
    name: str
    digest: str  # of its tokens, see text.digest_of


def comparison_id(reference: Model | None, candidate: Model, source: Source, plan: Plan) -> str:
    """12 hex digits of everything that can change a bit of a figure, threads and builds included.

    Storing rows per position changes none.
    """
    build = engine.build_info(plan.gpu_layers or 0, candidate.path) | {"localent": localent.__version__}
    how = asdict(replace(plan, positions=False)) | build
    what = [reference and reference.sha256, candidate.sha256, source.kind, source.digest, how]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
