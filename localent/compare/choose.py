"""The choice among quants: those that fit memory and speed, the closest to the reference, and what is not decided.

Texts are read in growing portions, until the order is clear under a rule that allows for repeated looks (see
analysis.sequential). A file that is told apart from the one in front reads no further. On a task, the files that may
still be the closest then work on the same problems by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localent import runs, tasks
from localent.analysis import sequential
from localent.analysis.intervals import Estimate
from localent.analysis.sequential import Standing
from localent.compare import chunks, stored
from localent.compare.models import InMemory, differences, models_of, placed, usable
from localent.compare.on_traces import RunTraces, compare_free, texts_of_run
from localent.compare.plan import DEFAULT, Plan, Source
from localent.compare.positions import Positions
from localent.compare.racing import Race
from localent.compare.result import Comparison, Views, assemble
from localent.compare.scoring import Pass, figures, noise_floor, score_all
from localent.compare.text import Text, digest_of
from localent.errors import LocalentError, UsageError
from localent.files.header import read_header
from localent.files.opening import real
from localent.models.disk import needed_bytes
from localent.records import Problem
from localent.runs import session
from localent.runs.passages import plain_text
from localent.runs.progress import SILENT, Listener, ignore
from localent.runs.session import ModelFile
from localent.runs.settings import DEFAULTS, Settings

CTX = 4096  # tokens of context that the memory must hold, unless asked otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a file must fit. None: no limit."""

    memory: int | None = None  # bytes, for weights, context and buffers
    min_speed: float | None = None  # tokens written per second, one sequence
    ctx: int = CTX


@dataclass(frozen=True, slots=True)
class Choice:
    """The file to run, why, and what is left open."""

    picked: str  # its path
    name: str  # its file's name
    left_out: tuple[str, ...]  # a sentence for each file that does not fit
    comparison: Comparison | None = None  # the reference and all that fit; None: nothing was to be compared
    standing: Standing | None = None  # at the last look
    n_texts: int = 0  # that were read
    n_most: int = 0  # that could have been read
    is_reference: bool = False  # it fits itself, so that nothing can be closer
    multiples: tuple[float | None, ...] = ()  # each file's KLD over that of the picked one, on the texts that both read

    @property
    def label(self) -> str:
        """The name that it bears in the comparison."""
        if self.standing is None or self.comparison is None:
            return self.name
        return self.comparison.names[self.standing.leader]

    @property
    def open(self) -> tuple[str, ...]:
        """Names of the files that may be as close."""
        if self.standing is None or self.comparison is None:
            return ()
        return tuple(self.comparison.names[i] for i in self.standing.open)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTask:
    """A task that the reference works on: the first n problems at most."""

    task: tasks.Task
    n: int
    settings: Settings = DEFAULTS
    graded: bool = True  # its true answers are known


@dataclass(frozen=True, slots=True, kw_only=True)
class OnText:
    """A text: the first n chunks at most."""

    path: Path
    n: int


def choose(
    names: Sequence[str],
    on: OnTask | OnText,
    *,
    db: str | Path,
    limits: Limits = Limits(),
    reference: str | None = None,
    plan: Plan = DEFAULT,
    listener: Listener = SILENT,
) -> Choice:
    """Name the file among `names` that fits the limits and is closest to the reference.

    reference: a file that is not to be chosen itself; None: the one with the most bits per weight, which is chosen
    where it fits. Raises LocalentError where no file fits, and for files of different models.
    """
    files = usable([*([reference] if reference else []), *names])
    own = files[0] if reference else max(files, key=lambda file: file.header.model.bits_per_weight)
    rivals = [file for file in files if real(file.path) != real(own.path)] if reference else files
    fitting, left_out = _fitting(_once(rivals), limits, placed([own], plan), listener)
    if not fitting:
        raise LocalentError(f"No file fits: {' '.join(left_out)}")
    if own.path in {file.path for file in fitting}:
        return Choice(str(own.path), own.path.name, tuple(left_out), is_reference=True)
    if len(fitting) == 1:
        return Choice(str(fitting[0].path), fitting[0].path.name, tuple(left_out))
    found = _Looking([own, *fitting], on, placed([own, *fitting], plan), db, listener).choice()
    return replace(found, left_out=tuple(left_out))


def _once(files: Sequence[ModelFile]) -> list[ModelFile]:
    return list({real(file.path): file for file in files}.values())


def _fitting(
    files: Sequence[ModelFile], limits: Limits, plan: Plan, listener: Listener
) -> tuple[list[ModelFile], list[str]]:
    """The files that fit, largest first; and a sentence on each other."""
    kept, left_out = [], []
    for file in sorted(files, key=lambda file: -file.header.model.file_bytes):
        why = _too_big(file, limits) or _too_slow(file, limits, plan, listener)
        (left_out.append(why) if why else kept.append(file))
    return kept, left_out


def _too_big(file: ModelFile, limits: Limits) -> str | None:
    model = file.header.model
    needs = needed_bytes(read_header(file.path), model.file_bytes, 1, limits.ctx)
    if limits.memory is None or needs <= limits.memory:
        return None
    return f"{file.path.name} needs {needs / 1e9:.2f} GB with a context of {limits.ctx:,} tokens."


def _too_slow(file: ModelFile, limits: Limits, plan: Plan, listener: Listener) -> str | None:
    if limits.min_speed is None:
        return None
    with session.loaded(file, _settings(plan)) as ready:
        speed = Pass((), plan, listener.report).speeds([ready])[0]
    if speed.decode >= limits.min_speed:
        return None
    return f"{file.path.name} writes {speed.decode:.1f} tokens per second here."


def _settings(plan: Plan) -> Settings:
    settings = Settings(threads=plan.threads, gpu_layers=plan.gpu_layers)
    return replace(settings, cache_type_k=plan.cache_type_k, cache_type_v=plan.cache_type_v)


Portion = tuple[Source, list[Text]]


@dataclass(frozen=True, slots=True)
class _Looking:
    """One choice: the files that fit, the reference first, and the texts that they are compared on."""

    files: Sequence[ModelFile]
    on: OnTask | OnText
    plan: Plan
    db: str | Path
    listener: Listener

    def choice(self) -> Choice:
        """Read portions of text until the order is clear, then let those in front run free."""
        with InMemory(self.files, _settings(self.plan), self.plan) as ready:
            race, standing = self.read(ready)
            whole = Pass(race.texts, self.plan, self.listener.report)
            floor, speeds = noise_floor(ready[0], whole), whole.speeds(ready)
        forced = [figures(floor, 0, race.texts, cut=race.source.kind == "text")]
        forced += [race.figures(i) for i in range(race.n_candidates)]
        views = [replace(v, forced=f, speed=s) for v, f, s in zip(self.free(race), forced, speeds, strict=True)]
        done, file = self.compared(race, views), self.files[1 + standing.leader]
        found = Choice(file.spelled, file.header.model.file, (), done, standing, len(race.texts), self.on.n)
        return replace(found, multiples=race.multiples())

    def read(self, ready: InMemory) -> tuple[Race, Standing]:
        """What was read until the order was clear or the texts were at an end, and the order."""
        race = Race(len(ready) - 1)
        at = sequential.looks(self.on.n, race.n_candidates)
        portions = self.of_text(ready) if isinstance(self.on, OnText) else self.of_task(ready, self.on)
        for n, level in zip(at, sequential.levels(at), strict=True):
            race.source, wanted = portions(n)
            if new := wanted[len(race.texts) :]:
                race.add(new, self.positions(ready.only([0, *(1 + i for i in race.racing)]), new))
            standing = race.look(level)
            if standing.decided or len(wanted) < n:
                break
        return race, standing

    def positions(self, ready: InMemory, texts: Sequence[Text]) -> Positions:
        """The texts under these models."""
        return score_all(ready, Pass(texts, replace(self.plan, noise=False), self.listener.report))[0]

    def of_text(self, ready: InMemory) -> Callable[[int], Portion]:
        """The first n chunks of the text."""
        assert isinstance(self.on, OnText)
        vocab, content, name = ready[0].weights.vocab, plain_text(self.on.path), self.on.path.name
        texts = chunks.texts_of(chunks.chunks_of(content, vocab, self.plan.ctx, self.on.n), vocab.bos)
        return lambda n: (Source("text", name, digest_of(texts[:n])), texts[:n])

    def of_task(self, ready: InMemory, on: OnTask) -> Callable[[int], Portion]:
        """The reference's traces of the first n problems, made as they are asked for."""
        vocab, path = ready[0].weights.vocab, self.files[0].spelled

        def made(n: int) -> Portion:
            heard = replace(self.listener, note=ignore)
            outcome = runs.run(path, on.task.first(n), db=self.db, settings=on.settings, listener=heard)
            traces = RunTraces(run_id=outcome.run_id, task=on.task, n=n)
            texts = texts_of_run(self.files[0], traces, db=self.db, vocab=vocab)
            return Source("run", outcome.run_id, digest_of(texts)), texts

        return made

    def free(self, race: Race) -> list[Views]:
        """On a task, the answers of the files in front, beside the reference's; nothing of the others."""
        found = [Views(None)] * len(self.files)
        if not isinstance(self.on, OnTask):
            return found
        front = [0, *(1 + i for i in race.racing)]
        names = [self.files[i].spelled for i in front]
        traces = RunTraces(run_id=race.source.name, task=self.on.task, n=len(race.texts))
        plan = replace(self.plan, noise=False)  # answers are judged by tests that need no noise floor
        ran = compare_free(names, traces, db=self.db, plan=plan, listener=self.listener)
        for i, seen in zip(front, ran, strict=True):
            found[i] = seen if self.on.graded else without_truth(seen)
        return found

    def compared(self, race: Race, views: Sequence[Views]) -> Comparison:
        """The figures of all files, each on what it read, stored: a comparison for every number of texts."""
        parts = [self.part(race, n, places, views) for n, places in race.by_length()]
        order = [i for _, places in race.by_length() for i in places]
        found = dict(zip(order, (replace(one, n_texts=c.n_texts) for c in parts for one in c.candidates), strict=True))
        told = differences(models_of(self.files))
        return replace(parts[0], candidates=tuple(found[i] for i in range(race.n_candidates)), warnings=told)

    def part(self, race: Race, n: int, places: Sequence[int], views: Sequence[Views]) -> Comparison:
        """The figures of the files that read n texts, stored."""
        among, plan = [0, *(1 + i for i in places)], replace(self.plan, free=False, noise=False)
        models = models_of([self.files[i] for i in among])
        done = assemble(models, [views[i] for i in among], race.first(n), n, plan)
        stored.write(self.db, done, race.together(places), race.texts[:n], plan)
        return done


def without_truth(one: Views) -> Views:
    """The same, with nothing said about right and wrong: the true answers are not known."""
    if one.free is None:
        return one
    names = ("accuracy_reference", "accuracy_candidate", "accuracy_change", "flips")
    unknown: dict[str, Any] = dict.fromkeys(names, Estimate(None, reason="no true answers"))
    return replace(one, free=replace(one.free, **unknown))


def prompts(path: Path) -> tasks.Task:
    """The user's own prompts as problems without an answer: a text file with one a line.

    Answers are compared by the last number that a text states. Raises UsageError for a file without prompts.
    """
    lines = dict.fromkeys(line.strip() for line in plain_text(path).splitlines() if line.strip())
    if not lines:
        raise UsageError(f"{path} has no prompts: write one a line.")
    digests = {line: hashlib.sha256(line.encode()).hexdigest()[:16] for line in lines}
    problems = tuple(Problem(digests[line], str(i), line, "") for i, line in enumerate(lines, 1))
    data = hashlib.sha256("".join(digests.values()).encode()).hexdigest()[:16]
    return tasks.Task(f"prompts {path.name}", tasks.NUMBER, problems, (), "", 0, str(path), problems[:8], 0, data)
