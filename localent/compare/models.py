"""The models of a comparison: which can be compared, and how they are loaded together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace

from localent.compare.compatible import check_same_tokens, common_size
from localent.compare.plan import Plan
from localent.errors import UsageError
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
        model = replace(file.header.model, path=file.spelled)  # as it was named, not where a link leads
        found.append(replace(file, header=replace(file.header, model=model)))
        check_same_tokens(models_of(found)[0], model)
    return found


def differences(models: Sequence[Model]) -> tuple[str, ...]:
    """A sentence on each candidate whose file differs from the reference's in what does no harm."""
    reference, *others = models
    told = (check_same_tokens(reference, model) for model in others)
    return tuple(dict.fromkeys(sentence for sentence in told if sentence))


def models_of(files: Sequence[ModelFile]) -> list[Model]:
    """The models' records, as the database keeps them."""
    return [file.header.model for file in files]


def placed(files: Sequence[ModelFile], plan: Plan) -> Plan:
    """The plan with its threads and the layers of each model on the GPU, where all are loaded at the same time."""
    models = models_of(files)
    layers = fit.layers_for(models, plan.gpu_layers, lanes=1, n_ctx=plan.ctx)
    threads = plan.threads or hardware.usable_cores()
    return replace(plan, gpu_layers=layers, threads=threads, n_vocab=common_size(models))


def repeated(names: Sequence[str], plan: Plan) -> list[str]:
    """The models as they are compared: one that is run with several caches comes once for each."""
    if not plan.caches:
        return list(names)
    if len(names) != 1 or len(plan.caches) < 2:
        raise UsageError(
            f"--cache-types compares one model under two types or more, got {len(names)} models and"
            f" {len(plan.caches)} types."
        )
    return [*names] * len(plan.caches)


def with_cache(settings: Settings, plan: Plan, i: int) -> Settings:
    """The settings of the i-th model, the reference first."""
    cache = plan.cache(i)
    return replace(settings, cache_type_k=cache.k, cache_type_v=cache.v)


class InMemory:
    """The models of a comparison, the reference first, with the weights of two in memory at most.

    The reference stays; a candidate stays until another one is asked for, so close what was opened of it before that.
    A file that comes several times, with other caches, is in memory once.
    """

    def __init__(self, files: Sequence[ModelFile], settings: Settings, plan: Plan) -> None:
        """settings: with the layers that `placed` chose."""
        self._files, self._settings, self._plan = files, settings, plan
        self._places: Sequence[int] = range(len(files))
        self._staying, self._passing = ExitStack(), ExitStack()
        self._stay, self._pass = dict[str, Loaded](), dict[str, Loaded]()

    def only(self, places: Sequence[int]) -> InMemory:
        """The same models, of which only these are used: 0, the reference, and some others."""
        some = copy(self)
        some._places = [self._places[i] for i in places]
        return some

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, i: int) -> Loaded:
        """The i-th model, 0 being the reference. Raises IndexError beyond the last."""
        place = self._places[i]
        file = self._files[place]
        ready = self._ready(file, stays=file.spelled == self._files[0].spelled)
        return replace(ready, file=file, settings=with_cache(ready.settings, self._plan, place))

    @property
    def fit_together(self) -> bool:
        """True if there are two files at most, so that all models can be used at a time."""
        return len({self._files[place].spelled for place in self._places}) <= 2

    def together(self) -> list[Loaded]:
        """All models at a time, however many they are."""
        for place in self._places:
            self._ready(self._files[place], stays=True)
        return [self[i] for i in range(len(self))]

    def _ready(self, file: ModelFile, *, stays: bool) -> Loaded:
        name = file.spelled
        if known := self._stay.get(name) or self._pass.get(name):
            return known
        if stays:
            self._stay[name] = self._staying.enter_context(session.loaded(file, self._settings))
            return self._stay[name]
        self._passing.close()  # the candidate before
        self._pass.clear()  # not a new one: what `only` returns shares it
        self._pass[name] = self._passing.enter_context(session.loaded(file, self._settings))
        return self._pass[name]

    def __enter__(self) -> InMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self._passing.close()
        self._staying.close()
