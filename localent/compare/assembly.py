"""Which models can be compared, and how the parts of a comparison come together beside the noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localent import models, runs
from localent.compare import noise
from localent.compare.comparison import Candidate, Comparison, Plan
from localent.compare.compatible import check_same_tokens
from localent.compare.stored import comparison_id
from localent.files import identity
from localent.machine import fit, hardware
from localent.records import Model


def heads_of(names: Sequence[str]) -> list[identity.Identity]:
    """Every model's header; raise unless all can write and have the first one's tokens."""
    found = []
    for name in names:
        path = models.resolve(name)
        head = identity.identify(path)
        runs.refuse_unfit(head, path)
        found.append(replace(head, model=replace(head.model, path=str(path))))
        check_same_tokens(found[0].model, found[-1].model)
    return found


def placed(heads: Sequence[identity.Identity], plan: Plan) -> Plan:
    """The plan with its threads, and the layers of each model that go to the GPU: all models are loaded at a time."""
    layers = fit.layers_for([h.model for h in heads], plan.gpu_layers, lanes=1, n_ctx=plan.ctx)
    return replace(plan, gpu_layers=layers, threads=plan.threads or hardware.usable_cores())


def label(model: Model) -> str:
    """A column's heading: the quant as its file spells it."""
    return model.quant


def assemble(heads, results, floor, source, n_texts: int, plan: Plan, own=None, paths=None) -> Comparison:
    """Put the parts together and set every difference beside the noise."""
    kind, name, digest = source
    reference = heads[0].model if heads[0] else None
    own, paths = own or [None] * len(heads), paths or [None] * len(heads)
    parts = [floor, own[0][0] if own[0] else None, paths[0]]
    found = []
    for head, result, mine, path in zip(heads[1:], results, own[1:], paths[1:], strict=True):
        free, run_id = mine or (None, None)
        pairs = [(a, b) for a, b in zip((result, free, path), parts, strict=True) if a is not None and b is not None]
        times = {k: v for a, b in pairs for k, v in noise.multiples(a, b).items()}
        key = comparison_id(reference, head.model, kind, digest, plan)
        found.append(Candidate(head.model, result, free, path, times or None, key, run_id))
    itself = Candidate(reference, floor, parts[1], parts[2], run_id=own[0][1] if own[0] else None) if floor else None
    return Comparison(reference, kind, name, n_texts, tuple(found), itself)
