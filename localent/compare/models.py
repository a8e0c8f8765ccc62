"""The models of a comparison: which can be compared, and how they are loaded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from localent import engine
from localent.compare.compatible import check_same_tokens
from localent.compare.plan import Plan
from localent.engine import Model
from localent.files.identity import Identity
from localent.machine import fit, hardware
from localent.runs import session


def headers_of(names: Sequence[str]) -> list[Identity]:
    """The header of every model. Raises LocalentError unless all generate text and have the first one's tokens."""
    found: list[Identity] = []
    for name in names:
        file = session.usable(name)
        found.append(replace(file.header, model=replace(file.header.model, path=str(file.path))))
        check_same_tokens(found[0].model, found[-1].model)
    return found


def placed(headers: Sequence[Identity], plan: Plan) -> Plan:
    """The plan with its threads, and the layers of each model that go to the GPU: all are loaded at the same time."""
    layers = fit.layers_for([h.model for h in headers], plan.gpu_layers, lanes=1, n_ctx=plan.ctx)
    return replace(plan, gpu_layers=layers, threads=plan.threads or hardware.usable_cores())


@contextmanager
def loaded(headers: Sequence[Identity], plan: Plan) -> Iterator[list[Model]]:
    """All models with their weights in memory."""
    with ExitStack() as stack:
        yield [stack.enter_context(engine.open(h.model.path, gpu_layers=plan.gpu_layers)) for h in headers]
