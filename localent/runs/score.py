"""The same measures on text that exists: a model reads what a person wrote, and is asked after each step.

Teacher forcing: nothing is sampled. Maximum likelihood on human traces is where SIA is said to come from: here is what
each human step tells the model about the answer. The worked solutions of a task are stored as a run of their own,
"gsm8k (gold)", one trace a problem.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from localent import engine, models, runs, tasks
from localent.analysis import load, signatures
from localent.analysis.intervals import Estimate, Resampling, estimate
from localent.analysis.metrics import mean_of
from localent.analysis.probed import Probed
from localent.engine import Engine, Model, Options, Prompt, Vocab, drive
from localent.errors import UsageError
from localent.files import identity
from localent.machine import fit
from localent.machine.hardware import usable_cores
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Token, Trace
from localent.store import Database, open_db
from localent.tracing.attempt import Question, Setup, finished, probe_steps, steps_of
from localent.tracing.generate import Generation, measured
from localent.tracing.prompt_tokens import continued

WINDOW = 512  # tokens of plain text that are read at a time
GIVEN = "given"  # how such a trace ends
LANES = 8


@dataclass(frozen=True, slots=True)
class HumanStep:
    """The k-th step of the worked solutions: what it costs to read, and what it tells about the answer."""

    k: int
    n: int  # solutions that have it
    surprisal: Estimate  # nats a token
    entropy: Estimate  # nats a token
    information: Estimate  # ln p(a*) after it minus before it, nats
    answer_entropy: Estimate  # nats, after it
    p_true: Estimate  # after it


@dataclass(frozen=True, slots=True)
class Gold:
    """The worked solutions of a task, read by a model."""

    run_id: str
    n_traces: int
    n_tokens: int
    surprisal: Estimate  # mean of the solutions' means, nats a token
    entropy: Estimate
    gain: Estimate  # slope of the information gain, nats per whole solution
    share_positive: Estimate  # share of steps that make the true answer likelier
    steps: tuple[HumanStep, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A plain text, read in windows; the first token of each window has no prediction unless the model has a BOS."""

    n_tokens: int
    n_windows: int
    surprisal: float  # nats a token
    perplexity: float
    entropy: float  # nats a token
    varentropy: float  # nats squared
    top1: float  # share of tokens that were the likeliest


# --- coroutines -------------------------------------------------------------------------------------------------------


def read(tokens: Sequence[int], row: np.ndarray, meter: Meter, vocab: Vocab) -> Generator[int, np.ndarray, list[Token]]:
    """Coroutine: the measures of each given token; `row` predicts the first. All of them are fed."""
    found = []
    for token_id in tokens:
        text = b"" if token_id in vocab.eog else vocab.pieces[token_id]
        found.append(measured(row, meter, meter.read(row), token_id, text, 0))
        row = yield token_id
    return found


def read_solution(question: Question, tokens: Sequence[int], how: Setup) -> Generator[Any, Any, Trace]:
    """Coroutine: the worked solution as a trace, probed after each of its steps."""
    row = yield question.prompt
    taken = yield from read(tokens, row, how.meter, how.vocab)
    written = Generation(tuple(taken), GIVEN, len(taken))
    parts = steps_of(question, written, how.kind)
    probes = (yield from probe_steps(question, written, parts, how)) if question.grammar else ()
    return finished(question, 0, written, parts, probes, how.kind)


def read_window(tokens: Sequence[int], bos: int | None, meter: Meter, vocab: Vocab) -> Generator[Any, Any, list[Token]]:
    """Coroutine: the measures of a window of plain text."""
    first, rest = (bos, tokens) if bos is not None else (tokens[0], tokens[1:])
    row = yield Prompt([first])
    return (yield from read(rest, row, meter, vocab))


# --- worked solutions ---------------------------------------------------------------------------------------------


def score_gold(
    model: str,
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    settings: runs.Settings,
    report: runs.Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Gold:
    """Read the worked solutions of the task's first n problems; what is in the database is not read again."""
    kept = tuple(p for p in task.problems if p.solution)[:n]
    if not kept:
        raise UsageError(f"{task.name} has no worked solutions to read: name a task that has, such as gsm8k.")
    task = replace(task, name=f"{task.name} (gold)", problems=kept)
    path = models.resolve(model)
    status(f"reading {path.name}")
    head = identity.read(path)
    runs.refuse_unfit(head, path)
    settings = replace(settings, lanes=settings.lanes or LANES, temperature=0.0)
    settings = replace(settings, gpu_layers=runs.gpu_layers_of(head, settings))
    with open_db(db) as store, engine.open(path, gpu_layers=settings.gpu_layers) as weights:
        questions = list(runs.questions_of(task, kept, weights, head, settings))
        given = [solution_tokens(q, weights.vocab) for q in questions]
        settings = _with_room(settings, weights, questions, given)
        record = runs.record_of(head, task, settings, weights)
        todo = runs.missing(store, record, kept, 1)
        jobs = ((questions[i], given[i]) for i, _ in todo)
        if todo:
            with weights.lanes(runs.options_of(settings)) as lanes:
                runs.enter(store, record, head, task, kept)
                _work(store, lanes, record.run_id, jobs, len(todo), task.kind, settings, report)
        return gold(store, record.run_id)


def _with_room(
    settings: runs.Settings, weights: Model, questions: Sequence[Question], given: Sequence[Sequence[int]]
) -> runs.Settings:
    """Settings with the context that the longest prompt with its solution needs.

    Nothing is generated: max_tokens is the model's whole context, so that the run is the same for every n.
    """
    n_probe = settings.max_fed + runs.SLACK
    sizes = [len(q.prompt.tokens) + len(tokens) + n_probe for q, tokens in zip(questions, given, strict=True)]
    longest = int(np.argmax(sizes))
    if sizes[longest] > weights.n_ctx_train:
        raise UsageError(
            f"Problem {questions[longest].problem.source_id} and its solution need {sizes[longest]} tokens of context,"
            f" the model was trained for {weights.n_ctx_train}: lower -n, --shots or --max-fed, or take another model."
        )
    threads = settings.threads or usable_cores()
    return replace(settings, max_tokens=weights.n_ctx_train, threads=threads, ctx=sizes[longest])


def solution_tokens(question: Question, vocab: Vocab) -> list[int]:
    """The worked solution after the prompt, a blank between them where the prompt does not end in one."""
    written = vocab.pieces[question.prompt.tokens[-1]]
    space = "" if written[-1:].isspace() else " "
    return continued(space + question.problem.solution.strip(), vocab)


def _work(store, lanes: Engine, run_id: str, jobs: Iterator, n_todo: int, kind: str, settings, report) -> None:
    """Read the solutions; each is one transaction."""
    meter, n_fed, n_done = Meter(lanes.n_vocab), 0, 0
    limits = runs.Limits(settings.max_tokens)
    how = Setup(lanes.vocab, meter, Sampler(0.0), settings.seed, limits, kind, settings.effort())

    def tell(n_live: int = 0) -> None:
        nonlocal n_fed
        n_fed += n_live
        report(runs.Progress(n_done, n_todo, n_fed))

    session = store.start_session(run_id)
    for trace in drive(lanes, (read_solution(q, tokens, how) for q, tokens in jobs), on_decode=tell):
        store.add_trace(run_id, trace, session_id=session)
        n_done += 1
        tell()
    store.end_session(session)


def gold(store: Database, run_id: str) -> Gold:
    """What a stored run of worked solutions says."""
    traces = store.traces(run_id, ("problem_id", "n_tokens", "mean_surprisal", "mean_entropy", "n_steps"))
    steps, p = store.steps(run_id, ("kind", "mean_surprisal", "mean_entropy")), load.probes(store, run_id).own
    problems = np.array(traces["problem_id"])

    def mean(values) -> Estimate:
        return estimate(mean_of, np.array(values, float), problems=problems, resampling=Resampling(1000))

    nothing = np.full(len(problems), np.nan)
    return Gold(
        run_id=run_id,
        n_traces=len(problems),
        n_tokens=sum(traces["n_tokens"]),
        surprisal=mean(traces["mean_surprisal"]),
        entropy=mean(traces["mean_entropy"]),
        gain=mean(nothing if p is None else signatures.slope(p.gain, p.position)),
        share_positive=mean(nothing if p is None else signatures.share_positive(p.gain)),
        steps=tuple(_steps(p, steps, traces["n_steps"], mean)),
    )


def _steps(p: Probed | None, steps: dict[str, list], n_steps: list[int], mean: Callable) -> Iterator[HumanStep]:
    from localent.analysis.scores import padded

    kept = [i for i, kind in enumerate(steps["kind"]) if kind == "reasoning"]
    surprisal, entropy = (
        padded([steps[name][i] for i in kept], n_steps) for name in ("mean_surprisal", "mean_entropy")
    )
    for k in range(1, max(n_steps, default=0) + 1):
        nothing = np.full(len(n_steps), np.nan)
        after = (
            (nothing,) * 3 if p is None else (np.diff(p.log_true, axis=1)[:, k - 1], p.entropy[:, k], p.p_true[:, k])
        )
        found = [mean(values) for values in (surprisal[:, k - 1], entropy[:, k - 1], *after)]
        yield HumanStep(k, found[0].n, *found)


# --- plain text ---------------------------------------------------------------------------------------------------


def score_text(
    model: str,
    text: str,
    *,
    window: int = WINDOW,
    lanes: int = LANES,
    threads: int | None = None,
    gpu_layers: int | None = None,
) -> Text:
    """Token measures of a plain text, in windows that each begin anew."""
    path = models.resolve(model)
    head = identity.read(path)
    runs.refuse_unfit(head, path)
    layers = fit.layers_for([head.model], gpu_layers, lanes=lanes, n_ctx=window)
    with engine.open(path, gpu_layers=layers) as weights:
        vocab = weights.vocab
        tokens = vocab.tokenize(text)
        if len(tokens) < 2:
            raise UsageError("There is nothing to read: the text has fewer than two tokens.")
        size = min(window, weights.n_ctx_train - 1)
        windows = [tokens[i : i + size] for i in range(0, len(tokens), size)]
        windows = [w for w in windows if len(w) > 1 or vocab.bos is not None]
        options = Options(n_lanes=lanes, n_ctx=size + 1, n_threads=threads or usable_cores())
        with weights.lanes(options) as open_lanes:
            meter = Meter(open_lanes.n_vocab)
            found = list(drive(open_lanes, (read_window(w, vocab.bos, meter, vocab) for w in windows)))
    return _summed([token for part in found for token in part], len(windows))


def _summed(tokens: Sequence[Token], n_windows: int) -> Text:
    surprisal = float(np.mean([t.surprisal for t in tokens]))
    return Text(
        n_tokens=len(tokens),
        n_windows=n_windows,
        surprisal=surprisal,
        perplexity=float(np.exp(surprisal)),
        entropy=float(np.mean([t.entropy for t in tokens])),
        varentropy=float(np.mean([t.varentropy for t in tokens])),
        top1=float(np.mean([t.rank == 1 for t in tokens])),
    )
