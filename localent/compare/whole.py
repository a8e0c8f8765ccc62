"""One comparison from files to figures: a reference, its candidates, and what they are compared on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

import localent
from localent import machine, models, runs, tasks
from localent.analysis import divergence
from localent.analysis.divergence import Forced, Free, Trajectory
from localent.compare import forced, kept, noise, prefixes, running, texts
from localent.compare.forced import Positions, Scorer, Text
from localent.compare.identity import check_same_tokens
from localent.compare.prefixes import Given
from localent.engine import header, kldfile
from localent.engine.llama import LlamaModel, LlamaScorer, Options, build_info
from localent.errors import LocalentError, UsageError
from localent.records import Model, Run
from localent.store import Database, open_db

DEFAULTS = runs.Settings()
NOISE_CHUNK = 3  # times smaller: the reference against itself is fed in chunks of another size


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to compare. None: chosen by localent."""

    ctx: int = 512  # tokens of a chunk of plain text
    limit: int | None = None  # chunks of plain text at most
    chunk: int = 128  # tokens of one call; so many rows of logits are held per model
    threads: int | None = None
    gpu_layers: int = 0
    noise: bool = True  # also compare the reference with itself
    free: bool = True  # let the candidates run free, too, and probe the same prefixes
    positions: bool = False  # store a row per position


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one candidate's comparison found. None: not asked for."""

    model: Model
    forced: Forced
    free: Free | None = None
    trajectory: Trajectory | None = None
    multiples: dict[str, float | None] | None = None  # differences over the noise floor; None: no noise there
    comparison_id: str = ""
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A reference and its candidates on the same texts."""

    reference: Model | None  # None: a base file
    source: str  # "text" | "base file" | "run"
    source_name: str
    n_texts: int  # chunks or traces
    candidates: tuple[Candidate, ...]
    noise: Candidate | None  # the reference against itself
    level: float = 0.95


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a comparison is."""

    stage: str
    n_done: int
    n_todo: int
    unit: str  # "tok" | "trace"


Report = Callable[[Progress], object]


# --- plain text --------------------------------------------------------------------------------------------------


def compare_text(
    reference: str,
    candidates: Sequence[str],
    text: Path,
    *,
    db: str | Path | None = None,
    plan: Plan = Plan(),
    write_base: Path | None = None,
    report: Report = lambda progress: None,
) -> Comparison:
    """Compare on plain text, in llama-perplexity's chunks. write_base: also write its base file."""
    heads = _heads([reference, *candidates])
    content = texts.read_text(text)
    with ExitStack() as stack:
        loaded = [stack.enter_context(LlamaModel(Path(h.model.path), plan.gpu_layers)) for h in heads]
        tokens = texts.chunks_of(content, loaded[0].vocab, plan.ctx, plan.limit)
        parts = [replace(t, problem=f"chunk {i}") for i, t in enumerate(texts.of_chunks(tokens, loaded[0].vocab.bos))]
        n_vocab = loaded[0].vocab.n_tokens
        writer = kldfile.Writer(write_base, plan.ctx, n_vocab, tokens) if write_base else nullcontext()
        with writer as base:
            found, floor = _forced(loaded, parts, plan, report, on_rows=base.add if base else lambda rows: None)
    results = [_measured(found, i, parts, cut=True) for i in range(len(candidates))]
    floor_ = _measured(floor, 0, parts, cut=True) if floor else None
    done = _assemble(heads, results, floor_, ("text", text.name, _digest(parts)), len(parts), plan)
    _keep(db, done, found, parts, plan)
    return done


def compare_base(
    base_file: Path, candidates: Sequence[str], *, db=None, plan: Plan = Plan(), report: Report = lambda progress: None
) -> Comparison:
    """Compare with the log-probabilities that llama-perplexity stored of a reference, on its own chunks."""
    base = kldfile.read(base_file)
    heads = _heads(candidates)
    if wrong := next((h for h in heads if h.model.n_vocab != base.n_vocab), None):
        raise LocalentError(
            f"{base_file.name} is over {base.n_vocab:,} tokens, {Path(wrong.model.path).name} has "
            f"{wrong.model.n_vocab:,}: they cannot be compared."
        )
    base = replace(base, tokens=base.tokens[: plan.limit])
    plan = replace(plan, ctx=base.n_ctx, noise=False)
    with ExitStack() as stack:
        loaded = [stack.enter_context(LlamaModel(Path(h.model.path), plan.gpu_layers)) for h in heads]
        parts = texts.of_chunks(base.tokens, loaded[0].vocab.bos)
        parts = [replace(t, problem=f"chunk {i}") for i, t in enumerate(parts)]
        scorers = [stack.enter_context(_scorer(m, parts, plan)) for m in loaded]
        found = _scored(parts, texts.FileScorer(base), scorers, plan, "base file and models", report, normalised=True)
    results = [_measured(found, i, parts, cut=True, stored=True) for i in range(len(heads))]
    done = _assemble([None, *heads], results, None, ("base file", base_file.name, _digest(parts)), len(parts), plan)
    _keep(db, done, found, parts, plan)
    return done


# --- reasoning traces ------------------------------------------------------------------------------------------------


def compare_task(
    reference: str,
    candidates: Sequence[str],
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    samples: int = 1,
    settings: runs.Settings = DEFAULTS,
    plan: Plan = Plan(),
    report: Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Let the reference reason through a task (or take up its run), then compare on its traces."""
    _heads([reference, *candidates])  # refuse before any work
    outcome = _run(reference, task, db, n, samples, settings, report, status, "reference")
    return compare_run(
        reference,
        candidates,
        outcome.run_id,
        task,
        db=db,
        n=n,
        samples=samples,
        plan=plan,
        report=report,
        status=status,
    )


def compare_run(
    reference: str,
    candidates: Sequence[str],
    run_id: str,
    task: tasks.Task,
    *,
    db: str | Path,
    n: int | None = None,
    samples: int | None = None,
    plan: Plan = Plan(),
    report: Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare on the traces of a run that exists: teacher-forced, running free as it did, and on its prefixes.

    What the database has already of the same comparison is read, not computed again.
    """
    heads = _heads([reference, *candidates])
    with open_db(db, create=False) as store:
        run = store.run(run_id)
        written = _chosen(running.traces_of(store, run.run_id), task, n, samples)
        there = kept.on_run(store, run.run_id)
    settings = settings_of(run)
    if there and (done := _kept_on_run(there, heads, task, run, written, settings, plan)):
        return done
    own = [None] * len(heads)
    if plan.free:
        own = _free_runs(heads, run, written, task, db, settings, plan, report, status)
    with ExitStack() as stack:
        loaded = [stack.enter_context(LlamaModel(Path(h.model.path), plan.gpu_layers)) for h in heads]
        given = _given(task, run, written, loaded[0], heads[0], settings)
        parts = _parts(given, written)
        found, floor = _forced(loaded, parts, plan, report)
        own_probes = plan.noise and heads[0].model.sha256 == run.model_sha256
        paths = _trajectories(loaded, given, settings, own_probes, report) if _probed(given, plan) else None
    results = [_measured(found, i, parts, cut=False) for i in range(len(candidates))]
    floor_ = _measured(floor, 0, parts, cut=False) if floor else None
    done = _assemble(heads, results, floor_, ("run", run.run_id, _digest(parts)), len(parts), plan, own, paths)
    _keep(db, done, found, parts, plan)
    return done


def _parts(given: Sequence[Given], written: dict) -> list[Text]:
    return [texts.of_trace(g.question.prompt, g.trace, written[_key(g)].trace_id) for g in given]


def _kept_on_run(there: dict, heads, task, run: Run, written, settings, plan: Plan) -> Comparison | None:
    """The comparison as it is in the database; None unless all of it is there."""
    with LlamaModel(Path(heads[0].model.path), plan.gpu_layers) as weights:
        parts = _parts(_given(task, run, written, weights, heads[0], settings), written)
    reference, digest = heads[0].model, _digest(parts)
    found = kept.all_of(there, [_comparison_id(reference, h.model, "run", digest, plan) for h in heads[1:]])
    if not found:
        return None
    revived = [kept.revived(Candidate, figures) for figures in found]
    candidates = tuple(replace(one, model=h.model) for one, h in zip(revived, heads[1:], strict=True))
    floor = kept.revived(Candidate, found[0]["noise"])
    floor = floor and replace(floor, model=reference)
    return Comparison(reference, "run", run.run_id, len(parts), candidates, floor)


def settings_of(run: Run) -> runs.Settings:
    """The settings that a stored run was made with."""
    names = {f.name for f in fields(runs.Settings)}
    known = {k: v for k, v in run.settings.items() if k in names}
    if not run.settings.get("probe"):
        known |= {"epsilon": runs.Settings().epsilon, "max_fed": runs.Settings().max_fed}
    return runs.Settings(**known)


def _chosen(written: dict, task: tasks.Task, n: int | None, samples: int | None) -> dict:
    """The traces of the first n problems and samples, in the order of the task."""
    wanted = [p.problem_id for p in task.problems[:n]]
    n_samples = max((s for _, s in written), default=0) + 1 if samples is None else samples
    found = {(p, s): written[p, s] for p in wanted for s in range(n_samples) if (p, s) in written}
    if not found:
        raise UsageError(f"The run has no traces of these problems of {task.name}: name its task's file with --data.")
    return found


def _run(model, task, db, n, samples, settings, report: Report, status, name: str) -> runs.Outcome:
    def tell(progress: runs.Progress) -> None:
        report(Progress(f"{name} running free", progress.n_done, progress.n_todo, "trace"))

    settings = replace(settings, ctx=None)
    return runs.run(model, task, db=db, n=n, samples=samples, settings=settings, report=tell, status=status)


def _free_runs(heads, run: Run, written, task, db, settings, plan: Plan, report, status) -> list[Free | None]:
    """Free-running figures: [the reference against itself in other lanes, each candidate]; and their run ids."""
    order = [p.problem_id for p in task.problems]
    n, samples = max(order.index(p) for p, _ in written) + 1, max(s for _, s in written) + 1
    other = replace(settings, lanes=max(1, settings.lanes // 2) if settings.lanes > 1 else 2)
    jobs = [(heads[0], other, "reference in other lanes")] if plan.noise else []
    jobs += [(h, settings, label(h.model)) for h in heads[1:]]
    base, found = written, []
    if heads[0].model.sha256 != run.model_sha256:
        own = _run(heads[0].model.path, task, db, n, samples, settings, report, status, "reference")
        base = _traces(db, own.run_id, written)
    for head, chosen, name in jobs:
        outcome = _run(head.model.path, task, db, n, samples, chosen, report, status, name)
        pairs = running.pairs(base, _traces(db, outcome.run_id, written))
        found.append((divergence.free(pairs), outcome.run_id))
    return found if plan.noise else [None, *found]


def _traces(db, run_id: str, written) -> dict:
    with open_db(db, readonly=True) as store:
        return running.traces_of(store, run_id, set(written))


def _given(task, run: Run, written, weights: LlamaModel, head, settings: runs.Settings) -> list[Given]:
    """The traces with their questions, prompted as they were."""
    wanted = {p for p, _ in written}
    problems = [p for p in task.problems if p.problem_id in wanted]
    prompt = runs.prompt_hash(task, head, run.settings["shots"], settings.seed, weights.vocab)
    if prompt != run.settings["prompt"]:
        raise UsageError(
            f"Run {run.run_id} was prompted in another way than {Path(head.model.path).name} is on {task.name}: "
            "its template, examples or cue differ, so its traces cannot be fed as they were."
        )
    questions = {q.problem.problem_id: q for q in runs.questions_of(task, problems, weights, head, settings)}
    return [Given(questions[p], one.trace) for (p, _), one in written.items()]


def _key(given: Given) -> tuple[str, int]:
    return given.trace.problem_id, given.trace.sample


def _probed(given: Sequence[Given], plan: Plan) -> bool:
    return plan.free and all(g.question.grammar is not None for g in given) and any(g.trace.probes for g in given)


def _trajectories(loaded, given, settings, own_probes: bool, report: Report) -> list[Trajectory | None]:
    """[the reference's stored probes against its own read again, each candidate against the reference].

    own_probes: the stored probes are the reference's, not another model's whose run this is.
    """

    def tell(name: str) -> Callable[[int], None]:
        return lambda n: report(Progress(f"{name} on the same prefixes", n, len(given), "trace"))

    how = dict(lanes=settings.lanes, threads=settings.threads)
    names = ["reference", *(m.path.name for m in loaded[1:])]
    read = [
        prefixes.probes_under(model, given, settings.effort(), report=tell(name), **how)
        for model, name in zip(loaded, names, strict=True)
    ]
    stored = [[p for p in g.trace.probes if p.estimator == g.question.grammar.kind] for g in given]
    same = own_probes and all(len(a) == len(b) for a, b in zip(stored, read[0], strict=True))
    floor = divergence.trajectory(prefixes.paired(given, read[0], stored)) if same else None
    return [floor, *(divergence.trajectory(prefixes.paired(given, read[0], r)) for r in read[1:])]


# --- teacher forcing ----------------------------------------------------------------------------------------------


def _forced(
    loaded: Sequence[LlamaModel], parts: Sequence[Text], plan: Plan, report: Report, *, on_rows=lambda rows: None
) -> tuple[Positions, Positions | None]:
    """(all texts under all models, a few texts under the reference fed in two ways)."""
    with ExitStack() as stack:
        scorers = [stack.enter_context(_scorer(model, parts, plan)) for model in loaded]
        found = _scored(parts, scorers[0], scorers[1:], plan, "teacher forcing", report, on_rows=on_rows)
        if not plan.noise:
            return found, None
        again = stack.enter_context(_scorer(loaded[0], parts, plan))
        other = noise.Rechunked(again, max(1, plan.chunk // NOISE_CHUNK))
        return found, _scored(noise.sample(parts), scorers[0], [other], plan, "noise floor", report)


def _scored(parts, reference: Scorer, others, plan: Plan, stage: str, report: Report, **how) -> Positions:
    total, done = sum(len(t.tokens) - 1 for t in parts), 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        report(Progress(stage, min(done, total), total, "tok"))

    n_threads = plan.threads or machine.usable_cores()
    return forced.score(parts, reference, others, chunk=plan.chunk, n_threads=n_threads, report=tell, **how)


def _scorer(model: LlamaModel, parts: Sequence[Text], plan: Plan):
    n_ctx = max(len(text.tokens) for text in parts)
    threads = plan.threads or machine.usable_cores()
    return closing(LlamaScorer(model, Options(n_lanes=1, n_ctx=n_ctx, n_threads=threads, chunk=plan.chunk)))


def _measured(found: Positions, i: int, parts: Sequence[Text], *, cut: bool, stored: bool = False) -> Forced:
    problems, classes = clusters(found, parts), None
    if parts[0].classes:
        classes = _classes(found, parts)
    problems = problems if len(set(problems)) > 1 else None
    columns = found.candidates[i]
    return divergence.forced(
        found.reference, columns, cut=cut, problems=problems, classes=classes, distribution=not stored
    )


def clusters(found: Positions, parts: Sequence[Text]) -> np.ndarray:
    """The problem, or chunk, of every position: -> (n,)."""
    return np.array([text.problem for text in parts])[found.text]


def _classes(found: Positions, parts: Sequence[Text]) -> np.ndarray:
    flat = [name for text in parts for name in text.classes]
    return np.array(flat[: len(found)])


# --- plumbing -----------------------------------------------------------------------------------------------------


def _heads(names: Sequence[str]) -> list[header.Header]:
    """Every model's header; raise unless all can write and have the first one's tokens."""
    found = []
    for name in names:
        path = models.resolve(name)
        head = header.read(path)
        runs.refuse_unfit(head, path)
        found.append(replace(head, model=replace(head.model, path=str(path))))
        check_same_tokens(found[0].model, found[-1].model)
    return found


def label(model: Model) -> str:
    """A column's heading: the quant as its file spells it."""
    return model.quant


def _assemble(heads, results, floor, source, n_texts: int, plan: Plan, own=None, paths=None) -> Comparison:
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
        key = _comparison_id(reference, head.model, kind, digest, plan)
        found.append(Candidate(head.model, result, free, path, times or None, key, run_id))
    itself = Candidate(reference, floor, parts[1], parts[2], run_id=own[0][1] if own[0] else None) if floor else None
    return Comparison(reference, kind, name, n_texts, tuple(found), itself)


def _comparison_id(reference: Model | None, candidate: Model, kind: str, digest: str, plan: Plan) -> str:
    """12 hex digits of everything that can change a figure."""
    how = asdict(plan) | build_info(plan.gpu_layers) | {"localent": localent.__version__}
    content = json.dumps([reference and reference.sha256, candidate.sha256, kind, digest, how], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _digest(parts: Sequence[Text]) -> str:
    """Hash of all token ids and of which are scored."""
    digest = hashlib.sha256()
    for text in parts:
        digest.update(np.array([text.first, len(text.tokens), *text.tokens], "<i8").tobytes())
    return digest.hexdigest()[:16]


def _keep(db, done: Comparison, found: Positions, parts: Sequence[Text], plan: Plan) -> None:
    """Write the comparison, a row per candidate, and on request a row per position."""
    if db is None:
        return
    with open_db(db) as store:
        for model in filter(None, [done.reference, *(c.model for c in done.candidates)]):
            store.add_model(model)
        for i, candidate in enumerate(done.candidates):
            _keep_one(store, done, candidate, plan)
            if plan.positions:
                store.add_divergences(candidate.comparison_id, _position_rows(found, i, parts))


def _keep_one(store: Database, done: Comparison, candidate: Candidate, plan: Plan) -> None:
    floor = done.noise
    store.add_comparison(
        comparison_id=candidate.comparison_id,
        reference_sha256=done.reference.sha256 if done.reference else None,
        candidate_sha256=candidate.model.sha256,
        source=done.source,
        source_name=done.source_name,
        run_id=done.source_name if done.source == "run" else None,
        candidate_run_id=candidate.run_id,
        n_texts=done.n_texts,
        settings=asdict(plan) | build_info(plan.gpu_layers),
        figures=plain(asdict(candidate) | {"model": None, "noise": floor and asdict(floor) | {"model": None}}),
        **_columns(candidate, floor),
    )


def _columns(candidate: Candidate, floor: Candidate | None) -> dict[str, float | int | None]:
    """What a comparison's row has in columns of their own."""
    f, free, path = candidate.forced, candidate.free, candidate.trajectory
    names = {figure.name: figure.value for figure in f.figures}
    return dict(
        n_positions=f.n,
        mean_kld=names["Mean KLD"],
        noise_kld=floor.forced["Mean KLD"].value if floor else None,
        rms_delta_p=names["RMS Δp"],
        same_top=names["Same top p"],
        ppl_reference=names["Mean PPL(base)"],
        ppl_candidate=names["Mean PPL(Q)"],
        delta_entropy=names.get("Mean ΔH"),
        delta_varentropy=names.get("Mean Δvarentropy"),
        n_pairs=free.n if free else None,
        accuracy_reference=free.accuracy_reference.value if free else None,
        accuracy_candidate=free.accuracy_candidate.value if free else None,
        right_to_wrong=free.right_to_wrong if free else None,
        wrong_to_right=free.wrong_to_right if free else None,
        mcnemar_p=free.mcnemar_p if free else None,
        length_ratio=free.length_ratio.value if free else None,
        delta_answer_entropy=path.delta_entropy.value if path else None,
    )


def _position_rows(found: Positions, i: int, parts: Sequence[Text]) -> Iterator[tuple]:
    """One tuple per position, in the order of the table's columns after comparison_id."""
    flat = [name for text in parts for name in text.classes] or [None] * len(found)
    mine, ours = found.candidates[i], found.reference
    names = ("kld", "kld_reverse", "jsd", "same_top")
    both = ("surprisal", "entropy", "varentropy", "margin")
    columns = [mine[name].tolist() for name in names] + [c[name].tolist() for name in both for c in (ours, mine)]
    for j, (text, position, token, *values) in enumerate(
        zip(found.text.tolist(), found.position.tolist(), found.token_id.tolist(), *columns, strict=True)
    ):
        values[3] = int(values[3])
        yield text, position, parts[text].trace_id, token, flat[j], *values


def plain(value: object) -> object:
    """Numbers that JSON lacks become null; tuples lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
