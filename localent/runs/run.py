"""One run: problems x samples through one engine into the store. It resumes by itself.

A run is known by everything that can change one bit of its rows: model, task, prompts, sampling, lanes, threads,
build. Which problems and how many samples is not part of that, so a run can be extended, split and joined.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

import localent
from localent import engine, models, tasks
from localent.engine import Coroutine, Engine, Model, Options, Vocab, drive
from localent.errors import LocalentError, UsageError
from localent.files import identity
from localent.files.cache import choose_once
from localent.machine import findings, fit, hardware
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Choice, Problem, Run, Trace
from localent.runs.settings import DEFAULTS, Settings
from localent.store import Database, open_db
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.prompt_tokens import continued, prompt_tokens

DEFAULT_MAX_TOKENS = 512
SLACK = 24  # tokens of context for a cue and one answer beyond the search's budget
LOG = logging.getLogger("localent")
FITS = 0.9  # share of the available memory that lanes may take


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: told after every decode and every finished trace."""

    n_done: int  # traces of this invocation
    n_todo: int
    n_tokens: int | None = None  # fed so far, probes included; None: not counted
    trace: Trace | None = None  # the one that just finished
    name: str = "traces"  # what is worked on: "abacus-sft on demo-number"
    unit: str = "trace"  # of n_done and n_todo: "trace" | "tok" | "file"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an invocation did."""

    run_id: str
    n_before: int  # traces asked for that were there already, or that another process wrote first
    n_new: int
    lanes: int


Report = Callable[[Progress], None]


def run(
    model: str,
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    samples: int = 1,
    settings: Settings = DEFAULTS,
    report: Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Make the traces that are missing: the first `n` problems of the task, `samples` of each.

    model: a name of models.toml, NAME:QUANT, or a path to a GGUF file. Every finished trace is kept at once; stop
    it any way and call it again. Raises LocalentError or UsageError before anything is written.
    """
    problems = _chosen(task, n, samples)
    path = models.resolve(model)
    status(f"reading {path.name}")
    head = identity.read(path)
    refuse_unfit(head, path)
    settings = replace(settings, gpu_layers=gpu_layers_of(head, settings))
    with open_db(db) as store, engine.open(path, gpu_layers=settings.gpu_layers) as weights:
        questions = list(questions_of(task, problems, weights, head, settings))
        settings = filled(settings, weights, questions)
        settings = replace(settings, lanes=settings.lanes or _lanes(store, head, task, weights, settings, status))
        engine.check_options(options_of(settings), path)
        record = record_of(head, task, settings, weights)
        todo = missing(store, record, problems, samples)
        n_new = 0
        if todo:
            _check_memory(weights, settings)
            _warn(settings, weights)
            with weights.lanes(options_of(settings)) as lanes:
                enter(store, record, head, task, problems)
                pairs = [(questions[i], s) for i, s in todo]
                n_new = _work(store, lanes, record.run_id, pairs, task, settings, report)
        return Outcome(record.run_id, len(problems) * samples - n_new, n_new, settings.lanes)


def _work(
    store: Database,
    lanes: Engine,
    run_id: str,
    todo: Sequence[tuple[Question, int]],
    task: tasks.Task,
    settings: Settings,
    report: Report,
) -> int:
    """Drive the attempts; each finished trace is one transaction. Returns how many were new to the file."""
    counts = {"done": 0, "tokens": 0, "new": 0}

    def tell(n_live: int = 0, trace: Trace | None = None) -> None:
        counts["tokens"] += n_live
        counts["done"] += trace is not None
        report(Progress(counts["done"], len(todo), counts["tokens"], trace, name))

    name = f"{store.model(store.run(run_id).model_sha256).name} on {task.name}"
    session = store.start_session(run_id)
    store.add_checks(session, _known_of_machine(store, run_id))
    for trace in drive(lanes, attempts(lanes, todo, task, settings), on_decode=tell):
        counts["new"] += store.add_trace(run_id, trace, session_id=session)
        tell(trace=trace)
    store.end_session(session)
    return counts["new"]


def _known_of_machine(store: Database, run_id: str) -> list[dict[str, object]]:
    """What 'localent doctor' found out about this model and build on this machine, if it was asked."""
    about = store.run(run_id)
    return findings.rows(findings.saved_report(about.model_sha256, about.build))


def attempts(
    lanes: Engine, todo: Iterable[tuple[Question, int]], task: tasks.Task, settings: Settings
) -> Iterator[Coroutine[Trace]]:
    """The coroutines of a run's (question, sample) pairs, in order."""
    setup = Setup(
        vocab=lanes.vocab,
        meter=Meter(lanes.n_vocab),
        sampler=Sampler(settings.temperature, settings.top_p, settings.top_k),
        seed=settings.seed,
        limits=Limits(settings.max_tokens, (), settings.measure_top_k, settings.alternatives),
        kind=task.kind,
        effort=settings.effort(),
    )
    for question, sample in todo:
        stops = tuple(stop.encode() for stop in question.stops)
        yield attempt(question, sample, replace(setup, limits=replace(setup.limits, stops=stops)))


def _chosen(task: tasks.Task, n: int | None, samples: int) -> tuple[Problem, ...]:
    if n is not None and n < 1:
        raise UsageError(f"-n must be at least 1 problem, got {n}.")
    if samples < 1:
        raise UsageError(f"--samples must be at least 1, got {samples}.")
    return task.problems[:n]


def refuse_unfit(head: identity.Header, path: Path) -> None:
    if not head.writes:
        raise LocalentError(f"{path.name} is an encoder or embedding model: localent needs one that writes text.")
    if not head.has_weights:
        raise LocalentError(f"{path.name} holds a vocabulary only, no weights: it cannot write. Name a whole model.")
    if head.model.n_vocab < 2 or not head.has_tokenizer:
        raise LocalentError(f"{path.name} has no tokenizer: localent cannot put a text to it.")


def questions_of(
    task: tasks.Task, problems: Iterable[Problem], weights: Model, head: identity.Header, settings: Settings
) -> Iterator[Question]:
    """Every problem with its prompt, its cue and what counts as an answer to it."""
    vocab, grammars = weights.vocab, {}
    for problem in problems:
        text = prompt_text(task, problem, head, settings, vocab)
        labels = tuple(choice.label for choice in problem.choices)
        if settings.probe and labels not in grammars:
            grammars[labels] = task.kind.grammar(vocab.pieces, problem.choices)
        yield Question(
            problem=problem,
            prompt=prompt_tokens(text, vocab),
            cue=lambda written, text=text: _cue(text, written, vocab),
            grammar=grammars.get(labels),
            stops=text.stops,
            opens_thought=text.opens_thought,
        )


def prompt_text(
    task: tasks.Task, problem: Problem, head: identity.Header, settings: Settings, vocab: Vocab
) -> tasks.PromptText:
    """A problem as the settings put it to the model."""
    options = tasks.PromptOptions(
        template=head.template,
        shots=settings.shots,
        seed=settings.seed,
        system=settings.system,
        variables=vocab.variables,
        chosen=settings.template_vars or {},
    )
    return tasks.render(task, problem, options)


def _cue(text: tasks.PromptText, written: str, vocab: Vocab) -> list[int]:
    segments = tasks.cue_after(text, written)
    return [t for s in segments for t in continued(s.text, vocab, special=s.parse_special)]


def filled(settings: Settings, weights: Model, questions: Sequence[Question]) -> Settings:
    """Settings with what localent chooses, checked against the model's context."""
    if settings.measure_top_k > weights.vocab.n_tokens:
        raise UsageError(f"--measure-top-k is beyond this model's vocabulary of {weights.vocab.n_tokens} tokens.")
    max_tokens = settings.max_tokens or min(DEFAULT_MAX_TOKENS, weights.n_ctx_train // 2)
    longest = max(questions, key=lambda question: len(question.prompt.tokens))
    n_prompt, n_probe = len(longest.prompt.tokens), settings.max_fed + SLACK if settings.probe else 0
    needed, limit = n_prompt + max_tokens + n_probe, settings.ctx or weights.n_ctx_train
    if needed > limit:
        less = "lower --max-tokens or --shots" if n_prompt < limit else "leave that problem out, lower --shots"
        more = "raise --ctx" if settings.ctx else "take a model with a longer context"
        raise UsageError(
            f"Problem {longest.problem.source_id} needs {needed} tokens of context ({n_prompt} prompt, {max_tokens} "
            f"to generate, {n_probe} for probes), there are {limit}: {less}, or {more}."
        )
    threads = settings.threads or hardware.usable_cores()
    return replace(settings, max_tokens=max_tokens, threads=threads, ctx=settings.ctx or needed)


def _warn(settings: Settings, weights: Model) -> None:
    """Say what is allowed, but unwise."""
    if settings.ctx > weights.n_ctx_train:
        LOG.warning("--ctx %d is beyond the %d tokens of this model's training.", settings.ctx, weights.n_ctx_train)
    cores = hardware.usable_cores()
    if settings.threads > cores:
        LOG.warning("--threads %d is more than the %d cores there are: llama.cpp gets slower.", settings.threads, cores)


def _lanes(
    store: Database,
    head: identity.Header,
    task: tasks.Task,
    weights: Model,
    settings: Settings,
    status: Callable[[str], None],
) -> int:
    """The lanes of the same run begun earlier, else the fastest number, measured once on this machine."""
    begun = record_of(head, task, settings, weights)
    earlier = store.find_run(begun.model_sha256, begun.task, begun.settings, begun.build)
    if earlier:
        return int(earlier.settings["lanes"])
    status("measuring how many lanes are fastest")
    room = hardware.available_memory()
    fits = [n for n in (1, 4, 8, 16, 32) if room is None or _lane_bytes(weights, settings, n) < FITS * room]
    if not fits:
        raise LocalentError(_too_big(weights, settings, 1, room))
    options = options_of(replace(settings, lanes=1))
    what = {"lanes for": begun.model_sha256, "threads": settings.threads, "layers": settings.gpu_layers} | begun.build
    return choose_once(what, int, lambda: engine.fastest_lanes(weights, options, fits))


def gpu_layers_of(head: identity.Header, settings: Settings) -> int:
    """The layers of a run on the GPU."""
    return fit.layers_for([head.model], settings.gpu_layers, lanes=settings.lanes, n_ctx=settings.ctx)


def _build(gpu_layers: int, path: Path) -> dict[str, str]:
    """What computes the numbers, as far as it can change their last bits."""
    versions = {"localent": localent.__version__, "numpy": np.__version__}
    return engine.build_info(gpu_layers, path) | versions | {"processor": hardware.host()["cpu"]}


def _lane_bytes(weights: Model, settings: Settings, lanes: int) -> int:
    return weights.kv_bytes((lanes + 1) * settings.ctx)


def _check_memory(weights: Model, settings: Settings) -> None:
    room = hardware.available_memory()
    if room is not None and _lane_bytes(weights, settings, settings.lanes) > FITS * room:
        raise LocalentError(_too_big(weights, settings, settings.lanes, room))


def _too_big(weights: Model, settings: Settings, lanes: int, room: int) -> str:
    need = _lane_bytes(weights, settings, lanes)
    return (
        f"{lanes} lanes of {settings.ctx} tokens need {need / 1e9:.1f} GB, {room / 1e9:.1f} GB are free: "
        "use fewer --lanes, a smaller --ctx or --max-tokens."
    )


def options_of(settings: Settings) -> Options:
    return Options(n_lanes=settings.lanes, n_ctx=settings.ctx, n_threads=settings.threads)


def record_of(head: identity.Header, task: tasks.Task, settings: Settings, weights: Model) -> Run:
    """The run's identity. Not in it: the context's size, which changes no bit (tests/test_llama.py)."""
    chosen = {name: value for name, value in asdict(settings).items() if name != "ctx"}
    options = asdict(options_of(replace(settings, lanes=1)))
    computed = {name: options[name] for name in ("chunk", "flash_attn")}
    for name in ("alternatives", "system", "template_vars", "noise_of"):
        if not chosen[name]:
            del chosen[name]  # a run without them is known as it was before they existed
    if not settings.probe:
        chosen |= {"epsilon": None, "max_fed": None}
    shots = settings.shots if settings.shots is not None else (0 if head.template else task.shots)
    chosen |= {"shots": shots, "prompt": prompt_hash(task, head, settings, weights.vocab), **computed}
    build = _build(settings.gpu_layers, weights.path)
    content = json.dumps([head.model.sha256, task.name, chosen, build], sort_keys=True)
    return Run(hashlib.sha256(content.encode()).hexdigest()[:12], head.model.sha256, task.name, chosen, build)


def prompt_hash(task: tasks.Task, head: identity.Header, settings: Settings, vocab: Vocab) -> str:
    """Hash of a prompt with placeholder question: template, instruction, examples, cue, stops."""
    blank = Problem("", "", "?", "0", task.problems[0].choices and (Choice("A", "?"), Choice("B", "?")))
    text = prompt_text(task, blank, head, settings, vocab)
    return hashlib.sha256(repr((text, task.kind.cue)).encode()).hexdigest()[:16]


def missing(store: Database, record: Run, problems: Sequence[Problem], samples: int) -> list[tuple[int, int]]:
    """(index of the problem, sample) of the traces that a run lacks."""
    done = store.finished(record.run_id)
    return [(i, s) for s in range(samples) for i, p in enumerate(problems) if (p.problem_id, s) not in done]


def enter(store: Database, record: Run, head: identity.Header, task: tasks.Task, problems: Sequence[Problem]) -> None:
    """Write what the run is about."""
    store.add_model(head.model)
    store.add_task(task.name, task.kind.name)
    store.add_problems(task.name, problems)
    store.add_run(record)
