"""The settings of a comparison, and its id."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import localent
from localent import engine
from localent.errors import UsageError
from localent.records import Model

LATER = ("cache_type_k", "cache_type_v", "caches", "n_vocab")  # settings that did not exist for earlier comparisons


@dataclass(frozen=True, slots=True)
class Cache:
    """The types of keys and values in a model's cache, each one of engine.CACHE_BITS."""

    k: str = "f16"
    v: str = "f16"

    @property
    def name(self) -> str:
        """ "q8_0", or "q8_0/f16" for keys and values of different types."""
        return self.k if self.k == self.v else f"{self.k}/{self.v}"

    @classmethod
    def named(cls, name: str) -> Cache:
        """The types by such a name. Raises UsageError for a type that does not exist."""
        k, _, v = name.partition("/")
        for kind in (k, v or k):
            if kind not in engine.CACHE_BITS:
                raise UsageError(f"No cache type {kind!r}: there are {', '.join(engine.CACHE_BITS)}.")
        return cls(k, v or k)


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
    cache_type_k: str = "f16"  # of the key-value cache of every model, one of engine.CACHE_BITS
    cache_type_v: str = "f16"
    n_vocab: int | None = None  # tokens that all models have, where their vocabularies differ in size
    caches: tuple[Cache, ...] = ()  # of one model that is compared with itself; the reference's first

    def cache(self, i: int) -> Cache:
        """The types of the cache of the i-th model, the reference first."""
        return self.caches[i] if self.caches else Cache(self.cache_type_k, self.cache_type_v)

    def variant(self, i: int) -> str:
        """How the i-th model is run, where the models differ in that."""
        return f"KV {self.cache(i).name}" if self.caches else ""


DEFAULT = Plan()


@dataclass(frozen=True, slots=True)
class Source:
    """The text that all models of a comparison read."""

    kind: str  # "text" | "base file" | "run"
    name: str
    digest: str  # of its tokens, see text.digest_of


def comparison_id(reference: Model | None, candidate: Model, source: Source, plan: Plan, place: int = 0) -> str:
    """12 hex digits of everything that can change a bit of a figure, threads and builds included.

    Storing rows per position changes none. place: of the candidate, the reference's being 0.
    """
    build = engine.build_info(plan.gpu_layers or 0, candidate.path) | {"localent": localent.__version__}
    chosen = asdict(replace(plan, positions=False, caches=(plan.cache(0), plan.cache(place)) if plan.caches else ()))
    usual = asdict(DEFAULT)
    how = {name: value for name, value in chosen.items() if name not in LATER or value != usual[name]} | build
    what = [reference and reference.sha256, candidate.sha256, source.kind, source.digest, how]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
