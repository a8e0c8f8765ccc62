"""The one prologue of every command that runs a model.

name -> file -> identity -> refused if unfit -> layers on the GPU -> weights -> questions -> settings -> engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from localent import engine, models, stopping, tasks
from localent.engine import Engine, Model, Vocab
from localent.errors import LocalentError, UsageError
from localent.files import lora
from localent.files.cache import choose_once
from localent.files.identity import Identity, identify
from localent.files.lora import Adapter
from localent.machine import fit, hardware
from localent.measure.meter import Meter
from localent.records import Run
from localent.runs import cue as cues
from localent.runs import room as rooms
from localent.runs import shard
from localent.runs.identity import build_of, record_of
from localent.runs.progress import SILENT, Listener, Status, ignore
from localent.runs.questions import Prompts, answered_by, with_probes
from localent.runs.settings import STOP, Settings, settings_of
from localent.store import Database
from localent.tasks.kinds.cues import cue_named
from localent.tracing import places
from localent.tracing.attempt import Question, Setup
from localent.tracing.generate import Limits


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that can be run, its LoRA adapters, and the identity of both."""

    path: Path
    header: Identity
    adapters: tuple[Adapter, ...] = ()

    @property
    def spelled(self) -> str:
        """The name that means this file with its adapters, wherever a model is named."""
        return "+".join([str(self.path), *(one.spelled for one in self.adapters)])


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with its weights in memory."""

    file: ModelFile
    weights: Model
    settings: Settings

    @property
    def options(self) -> engine.Options:
        """The engine's options of these settings, which must be complete."""
        return rooms.options_of(self.settings)

    def with_ctx(self, n_tokens: int) -> Loaded:
        """The same model with so much context in each lane."""
        return replace(self, settings=replace(self.settings, ctx=n_tokens))

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Lanes as the settings say. Raises LocalentError before memory runs out."""
        rooms.check_memory(self.weights, self.options)
        rooms.warn(self.weights, self.options)
        with self.weights.lanes(self.options) as lanes:
            yield lanes


@dataclass(frozen=True)  # without slots, so that `record` is computed once
class Session(Loaded):
    """A model that is loaded, with the questions of a task and complete settings."""

    task: tasks.Task
    questions: tuple[Question, ...]

    @property
    def prompts(self) -> Prompts:
        """The prompts of the task for this model."""
        return Prompts(self.task, self.file.header.template, self.weights.vocab, self.settings)

    @cached_property
    def record(self) -> Run:
        """The record of the run of this task under these settings."""
        build = build_of(self.file.path, self.settings.gpu_layers or 0)
        return record_of(self.file.header.model.sha256, self.prompts, build)

    def setup(self, lanes: Engine) -> Setup:
        """The setup of attempts in these lanes."""
        chosen = self.settings
        return Setup(
            vocab=lanes.vocab,
            meter=Meter(lanes.n_vocab),
            sampler=chosen.sampler(),
            seed=chosen.seed,
            limits=self._limits(),
            kind=self.task.kind,
            effort=chosen.effort(),
            probes=chosen.probes if chosen.probe else places.DEFAULT,  # then only rollouts are made there
            stop_answered=chosen.after_answer == STOP,
            think_budget=chosen.think_budget,
            stop=stopping.parse(chosen.stop) if chosen.stop else None,
        )

    def _limits(self) -> Limits:
        chosen = self.settings
        return Limits(
            max_tokens=chosen.max_tokens or 0,
            top_k=chosen.measure_top_k,
            alternatives=chosen.alternatives,
            end_loops=chosen.end_loops,
        )


# ── from a name to a file ─────────────────────────────────────────────────────────────────────────────────────────


def usable(name: str, status: Status = ignore) -> ModelFile:
    """The file that a name means, or MODEL+LORA[:SCALE]. Raises LocalentError for one that cannot generate text."""
    base, wanted = lora.split(name)
    path = models.resolve(base)
    status(f"reading {path.name}")
    file = ModelFile(path, identify(path))
    _refuse_unfit(file)
    adapters = tuple(lora.read(one, scale, path) for one, scale in wanted)
    return ModelFile(path, lora.adapted(file.header, path, adapters), adapters)


def _refuse_unfit(file: ModelFile) -> None:
    name, header = file.path.name, file.header
    if not header.writes:
        raise LocalentError(f"{name} is an encoder or embedding model: localent needs one that generates text.")
    if not header.has_weights:
        raise LocalentError(f"{name} holds a vocabulary only, no weights: it cannot generate text. Name a whole model.")
    if header.model.n_vocab < 2 or not header.has_tokenizer:
        raise LocalentError(f"{name} has no tokenizer, so it cannot read text: name a file that has one.")


# ── from a file to a session ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def vocabulary(name: str) -> Iterator[tuple[Identity, Vocab]]:
    """The header and vocabulary of a file that need not have weights."""
    path = models.resolve(lora.split(name)[0])
    with engine.open(path, vocab_only=True) as weights:
        yield identify(path), weights.vocab


@contextmanager
def loaded(file: ModelFile, settings: Settings) -> Iterator[Loaded]:
    """Load the weights. Layers on the GPU: those asked for, else those that fit; threads: as asked, else all cores."""
    model, lanes, ctx = file.header.model, settings.lanes, settings.ctx
    layers = fit.layers_for([model], settings.gpu_layers, lanes=lanes, n_ctx=ctx)
    settings = replace(settings, gpu_layers=layers, threads=settings.threads or hardware.usable_cores())
    with engine.open(file.path, gpu_layers=layers, adapters=file.adapters) as weights:
        yield Loaded(file, weights, settings)


@contextmanager
def opened(
    file: ModelFile,
    task: tasks.Task,
    settings: Settings,
    *,
    room: rooms.Room = rooms.to_generate,
    store: Database | None = None,
    listener: Listener = SILENT,
) -> Iterator[Session]:
    """Load a model, put the problems of the task to it, and complete the settings.

    room: how much context the questions need. store: where the lanes of a run to be continued are looked up;
    otherwise the fastest number is taken, measured once on this machine. Raises UsageError for settings that do not
    fit the model, and where the listener's time ends before the cue is found.
    """
    with loaded(file, with_probes(task, settings)) as ready:
        task, settings = answered_by(task, file.header, ready.settings)
        session = _asked(_with_cue(replace(ready, settings=settings), task, listener), task, room)
        if session.settings.lanes is None:
            session = replace(
                session, settings=replace(session.settings, lanes=_lanes(session, store, listener.status))
            )
        engine.check_options(session.options, file.path)
        yield session


def _with_cue(ready: Loaded, task: tasks.Task, listener: Listener) -> Loaded:
    """The same model with the cue that fits it, where the user has left it open."""
    settings = ready.settings
    if not settings.probe:
        return replace(ready, settings=replace(settings, cue=None))
    ways = task.kind.cues
    if settings.cue is not None:
        cue_named(ways, settings.cue)
        return ready
    if len(ways) == 1:
        return replace(ready, settings=replace(settings, cue=ways[0].key))
    chosen = cues.best(cue_candidates(ready, task, listener))
    cues.warn(chosen)
    return replace(ready, settings=replace(settings, cue=chosen.key))


def cue_candidates(ready: Loaded, task: tasks.Task, listener: Listener = SILENT) -> tuple[cues.Candidate, ...]:
    """Measure how well each cue of the task's kind fits a model, once on this machine.

    Measured at the default settings of a run but for those that make the prompt or change a bit of a logit, so that
    runs that differ in anything else take the same cue. A cue that the model's template has no room for is left out.
    """
    task, named = cues.first_problems(task), _to_measure(ready)
    named = replace(named, settings=replace(named.settings, lanes=len(task.problems)))
    asked: dict[str, Session] = {}
    for cue in task.kind.cues:
        with suppress(*(LocalentError, UsageError) * cue.turn):  # of a template without room for it
            settings = replace(named.settings, cue=cue.key)
            asked[cue.key] = _asked(replace(named, settings=settings), task, rooms.to_generate)

    def measure() -> object:
        longest = max(asked.values(), key=lambda session: session.settings.ctx or 0)
        engine.check_options(longest.options, ready.file.path)
        with longest.engine() as lanes:
            questions = {key: session.questions for key, session in asked.items()}
            return cues.to_json(cues.measured(lanes, questions, longest.setup(lanes), listener))

    settings, sha256, path = named.settings, ready.file.header.model.sha256, ready.file.path
    what: dict[str, object] = {"cue for": sha256, "prompts": [session.prompts.digest() for session in asked.values()]}
    what |= {"problems": [problem.problem_id for problem in task.problems], "max_tokens": settings.max_tokens}
    what |= {"threads": settings.threads, "layers": settings.gpu_layers} | build_of(path, settings.gpu_layers or 0)
    what |= settings.cache_types
    return choose_once(what, cues.from_json, measure)


def _to_measure(ready: Loaded) -> Loaded:
    """The same model with the settings that cues are measured at."""
    given = ready.settings
    most = min(given.max_tokens or cues.MAX_TOKENS, cues.MAX_TOKENS, ready.weights.n_ctx_train // 2)
    chosen = {name: getattr(given, name) for name in cues.KEPT}
    return replace(ready, settings=Settings(max_tokens=most, **chosen))


def _asked(ready: Loaded, task: tasks.Task, room: rooms.Room) -> Session:
    settings, weights = ready.settings, ready.weights
    if settings.measure_top_k > weights.vocab.n_tokens:
        raise UsageError(f"--measure-top-k is beyond this model's vocabulary of {weights.vocab.n_tokens} tokens.")
    prompts = Prompts(task, ready.file.header.template, weights.vocab, settings)
    questions = tuple(prompts.questions(task.problems))
    return Session(ready.file, weights, room(settings, weights, questions), task, questions)


def _lanes(session: Session, store: Database | None, status: Status) -> int:
    """The lanes of the same run begun earlier, else the fastest number."""
    begun, settings = session.record, session.settings
    earlier = store and store.find_run(begun.model_sha256, begun.task, begun.settings, begun.build)
    if earlier and (known := settings_of(earlier).lanes):
        return known
    if settings.shard is not None:
        return shard.LANES
    status("measuring how many lanes are fastest")
    what = {"lanes for": begun.model_sha256, "threads": settings.threads, "layers": settings.gpu_layers} | begun.build
    what |= settings.cache_types
    return rooms.fastest_lanes(session.weights, rooms.options_of(replace(settings, lanes=1)), what)
