"""The models of a comparison: which can be compared, and how they are loaded together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from localent.compare.compatible import check_same_tokens
from localent.compare.plan import Plan
from localent.machine import fit, hardware
from localent.records import Model
from localent.runs import session
from localent.runs.session import Loaded, ModelFile
from localent.runs.settings import Settings


def usable(names: Sequence[str]) -> list[ModelFile]:
    """The file of every model. Raises LocalentError unless all generate text and share the first one's tokens."""
    found: list[ModelFile] = []
    for name in names:
        file = session.usable(name)
        model = replace(file.header.model, path=str(file.path))  # as it was named, not where a link leads
        found.append(replace(file, header=replace(file.header, model=model)))
        check_same_tokens(models_of(found)[0], model)
    return found


def models_of(files: Sequence[ModelFile]) -> list[Model]:
    """The models' records, as the database keeps them."""
    return [file.header.model for file in files]


def placed(files: Sequence[ModelFile], plan: Plan) -> Plan:
    """The plan with its threads and the layers of each model on the GPU, where all are loaded at the same time."""
    layers = fit.layers_for(models_of(files), plan.gpu_layers, lanes=1, n_ctx=plan.ctx)
    return replace(plan, gpu_layers=layers, threads=plan.threads or hardware.usable_cores())


@contextmanager
def loaded(files: Sequence[ModelFile], settings: Settings) -> Iterator[list[Loaded]]:
    """All models with their weights in memory. settings: with the layers that `placed` chose."""
    with ExitStack() as stack:
        yield [stack.enter_context(session.loaded(file, settings)) for file in files]
