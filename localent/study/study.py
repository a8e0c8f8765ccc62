"""Does it reason by gathering information? Runs, controls, and the claims of SIA with their verdicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from localent import models, runs, tasks
from localent.analysis import beyond_controls, load, signatures, verdicts
from localent.analysis.claims import REFUTED, RULES, SUPPORTED, THRESHOLDS, Verdict, settled
from localent.analysis.curves import HALF, Curve
from localent.analysis.family import FAMILY, MECHANISM, is_family
from localent.analysis.intervals import Estimate, Resampling, estimate, problem_index, separation, share
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed, only
from localent.analysis.profile import Profile, profile
from localent.analysis.signatures import Signatures
from localent.errors import LocalentError, UsageError
from localent.records import Run
from localent.runs import extend
from localent.runs.extend import Wanted
from localent.store import Database, open_db
from localent.tasks import kinds
from localent.tracing.controls import COMPARED, EVERY, compared_at
from localent.tracing.rollout import LEAST

STAGES = ("untrained", "early", "base", "pretrained", "fine-tuned", "sft", "instruct", "rl", "rl-tuned", "distilled")
RESAMPLING = Resampling(1000)
STORED = Wanted(controls=COMPARED, m=None)  # all that the database holds
SELECTED = (
    "Claims marked * compare right and wrong traces, or take a wrong one as control. Which is which is known only at"
    " the end: selected on the outcome."
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One model on one task: its run and what it comes to."""

    model: str
    task: str
    run_id: str
    accuracy: Estimate
    truncated: float  # share of traces that ran into the token limit
    no_answer: float  # share of traces in which no answer was found
    gain: Estimate  # slope of the information gain, nats per whole trace
    gain_half: Estimate  # nats gained by half of the steps, traces of two or more
    auroc_half: Estimate  # of the answer entropy at half, traces of equally many steps, two or more
    auroc_half_any: Estimate  # the same, any trace with any other; one-step traces are read at their start
    lock_right: float | None  # median t_lock of right traces
    lock_wrong: float | None
    abandoned: Estimate  # of wrong traces: the true answer had led before the end
    gains_of_controls: dict[str, Estimate]  # gain at the control's last k, from the trace's own start
    beyond_controls: dict[str, Curve]  # own gain minus the control's over t, nats
    beyond_all_from: float | None  # t from which every control stays exceeded; None: not at the end
    signatures: Signatures
    profile: Profile
    agreement: Agreement | None  # of rollouts with the computed distribution; None: not rolled out


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rollouts beside the computed distribution, over the prefixes that have both."""

    n: int  # prefixes
    correlation: float | None  # of p(true)
    gap: float  # mean absolute difference of p(true)
    gap_end: float  # the same after the last step, where only the answer is left to say
    expected_gap_end: float  # what m samples of the computed distribution would give there
    unparseable: float  # mean rate


@dataclass(frozen=True, slots=True)
class OtherSeed:
    """A stored study that differs from this one in its seed alone."""

    seed: int
    study_id: str
    verdicts: dict[tuple[str, str, str | None], str]  # (task, subject, key of the claim) -> verdict

    def verdict_of(self, task: str, v: Verdict) -> str | None:
        return self.verdicts.get((task, v.subject, v.key))

    def agreement(self, found: Sequence[tuple[str, Verdict]]) -> tuple[int, int, int]:
        """(verdicts that are the same, that are opposite, that both have); opposite: supported here, refuted there."""
        both = [(v.verdict, told) for task, v in found if (told := self.verdict_of(task, v)) is not None]
        opposite = sum({here, there} == {SUPPORTED, REFUTED} for here, there in both)
        return sum(here == there for here, there in both), opposite, len(both)


@dataclass(frozen=True, slots=True)
class Study:
    """Verdicts on every claim, for every model and task, and for each step of training."""

    study_id: str
    subjects: tuple[Subject, ...]
    verdicts: tuple[tuple[str, Verdict], ...]  # (task, verdict)
    notes: tuple[str, ...]
    seeds: tuple[OtherSeed, ...] = ()  # the same study under other seeds, where the database has it


def study(
    names: Sequence[str] = (),
    task_list: Sequence[tasks.Task] = (),
    *,
    db: str | Path,
    n: int | None = 100,
    samples: int = 3,
    settings: runs.Settings,
    controls: Sequence[str] = COMPARED,
    at: str = EVERY,
    control_samples: int | None = 1,
    m: int = 0,
    n_rolled: int | None = 12,
    report: runs.Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Study:
    """Run or reuse what is needed, then judge. names: models, earlier stages first; none: the bundled family.

    controls are read `at` every step, or half-way and at the end ("ends"), of the first control_samples traces of each
    problem. m: rollouts for each prefix of n_rolled traces; 0: none. The verdicts are kept in the database.
    """
    names, bundled = list(names) or family(), not names
    problems = frozenset(p.problem_id for task in task_list for p in task.problems[:n])
    asked = dict(controls=tuple(controls), at=at, control_samples=control_samples, m=m, n_rolled=n_rolled)
    wanted = Wanted(problems=problems, samples=samples, **asked)
    found: list[tuple[str, str, str]] = []  # model, task, run_id
    for task in task_list:
        for name in names:
            status(f"{name} on {task.name}")
            heard = runs.Listener(report, status)
            outcome = runs.run(name, task, db=db, n=n, samples=samples, settings=settings, listener=heard)
            extend.add_probes(name, task, outcome.run_id, db=db, wanted=wanted, listener=heard)
            found.append((name, task.name, outcome.run_id))
    status("judging")
    with open_db(db) as store:
        judged = analyse(store, found, wanted, family=bundled or is_family(names))
        keep(store, judged, found)
        return replace(judged, seeds=tuple(other_seeds(store, found, wanted)))


def family() -> list[str]:
    """The bundled models that are there, earlier stages first."""
    entries = [e for e in models.entries().values() if e.family == FAMILY and e.bundled]
    there = [e for e in entries if _is_there(e.name)]
    return [e.name for e in sorted(there, key=lambda e: STAGES.index(e.stage) if e.stage in STAGES else len(STAGES))]


def _is_there(name: str) -> bool:
    try:
        return models.resolve(name).is_file()
    except LocalentError:
        return False


def analyse(
    store: Database,
    found: Sequence[tuple[str, str, str]],
    wanted: Wanted = STORED,
    *,
    family: bool = False,
    resampling: Resampling = RESAMPLING,
) -> Study:
    """Judge runs that are stored: (model's name, task, run id), earlier stages first within a task.

    wanted: what counts; the rest of the database does not.
    """
    subjects, judged = [], []
    by_task: dict[str, list[tuple[str, Probed]]] = {}
    for name, task, run_id in found:
        read = _read(store, run_id, wanted)
        subjects.append(_subject(name, task, run_id, read, _ln_others(store, task, read.own.estimator), resampling))
        claims = verdicts.judge(name, read.own, read.controls, read.n_tokens, read.rolled, read.m, resampling)
        judged += [(task, v) for v in claims]
        by_task.setdefault(task, []).append((name, read.own))
    judged += [(task, v) for task, stages in by_task.items() for v in settled([*_training(stages, resampling)])]
    notes = (SELECTED, THRESHOLDS, *([MECHANISM] if family else []))
    return Study(study_id([run_id for *_, run_id in found], wanted), tuple(subjects), tuple(judged), notes)


def study_id(run_ids: Sequence[str], wanted: Wanted) -> str:
    """The identity of a study: its runs, what counts of them, and how it is judged."""
    settings = asdict(wanted) | {"problems": wanted.problems and sorted(wanted.problems)}
    content = json.dumps([list(run_ids), settings, RULES], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a run's rows say."""

    own: Probed
    controls: dict[str, Probed]
    rolled: Probed | None
    m: int  # rollouts a prefix; LEAST where there are none
    n_tokens: np.ndarray  # (n,) length of each trace
    truncated: float
    no_answer: float


def _read(store: Database, run_id: str, wanted: Wanted) -> _Read:
    traces, found = load.traces(store, run_id), load.probes(store, run_id)
    if found.own is None:
        raise UsageError(f"Run {run_id} was not probed: a study needs probes, run it again without --no-probe.")
    listed = zip(traces.problems.tolist(), traces.samples.tolist(), strict=True)
    kept = np.array([wanted.counts(*one) for one in listed], bool)
    traces, own, samples = traces.among(kept), found.own.among(kept), traces.samples[kept].tolist()
    rolled, m = _rolled(run_id, found.rolled and found.rolled.among(kept), samples, wanted)
    return _Read(
        own=own,
        controls=dict(_controls(own, {name: c.among(kept) for name, c in found.controls.items()}, samples, wanted)),
        rolled=rolled,
        m=m,
        n_tokens=traces.n_tokens.astype(float),
        truncated=_mean(traces.truncated.astype(float)),
        no_answer=_mean(np.array([answer is None for answer in traces.answers], float)),
    )


def _controls(
    own: Probed, found: dict[str, Probed], samples: Sequence[int], wanted: Wanted
) -> Iterator[tuple[str, Probed]]:
    """Each control, read where it is wanted: other readings are as if they were not there.

    One that could be read nowhere is empty, so that "every control" is not decided without it. Of one trace a problem
    there is no wrong sibling to ask for.
    """
    nowhere = only(own, own.position < 0)
    can_be = found if wanted.problems is None else set(COMPARED) - ({"wrong-trace"} if wanted.samples == 1 else set())
    for name in (name for name in COMPARED if name in wanted.controls and name in can_be):
        control, rows = found.get(name, nowhere), np.array([wanted.controlled(sample) for sample in samples], bool)
        rows &= own.there & (has_wrong_sibling(own) if name == "wrong-trace" else True)
        k = np.arange(control.position.shape[1])
        ks = [np.isin(k, compared_at(int(n), wanted.at)) for n in np.nan_to_num(own.n_steps)]
        read = only(control, rows[:, None] & np.array(ks, bool).reshape(len(rows), len(k)))
        yield name, read


def has_wrong_sibling(p: Probed) -> Array:
    """Whether another trace of the same question is wrong: (n,) bool."""
    index = problem_index(p.problems)
    return np.bincount(index, p.wrong)[index] - p.wrong > 0


def _rolled(run_id: str, rolled: Probed | None, samples: Sequence[int], wanted: Wanted) -> tuple[Probed | None, int]:
    """The rollouts that are wanted, and of how many continuations a prefix they are."""
    if rolled is None:
        return None, LEAST
    rows = np.isin(np.arange(len(samples)), wanted.rolled(samples))
    counts = set(rolled.n_rollouts[rows & rolled.there].tolist())
    if len(counts) > 1:
        raise UsageError(f"Run {run_id} has rollouts of {min(counts)} and of {max(counts)} continuations a prefix.")
    return (only(rolled, rows[:, None] & ~np.isnan(rolled.position)), *counts) if counts else (None, LEAST)


def _ln_others(store: Database, task: str, kind: str) -> float:
    """ln of the number of wrong answers there can be."""
    return kinds.named(kind).ln_others(store.problems(task))


def _subject(name: str, task: str, run_id: str, read: _Read, ln_others: float, resampling: Resampling) -> Subject:
    p = read.own
    shape = signatures.signatures(p, ln_others=ln_others, resampling=resampling)
    moves = profile(p, resampling)
    half = p.at(p.entropy, HALF)
    beyond = {c: beyond_controls.along(p, control, resampling) for c, control in read.controls.items()}

    def mean(values: np.ndarray) -> Estimate:
        return estimate(mean_of, values, problems=p.problems, resampling=resampling)

    return Subject(
        model=name,
        task=task,
        run_id=run_id,
        accuracy=share(~p.wrong, p.problems),
        truncated=read.truncated,
        no_answer=read.no_answer,
        gain=mean(verdicts.gain_slope(p)),
        gain_half=mean(verdicts.gain_half(p)),
        auroc_half=separation(p.half_way(p.entropy), p.wrong, p.problems, p.n_steps, resampling),
        auroc_half_any=separation(half, p.wrong, p.problems, resampling=resampling),
        lock_right=shape.lock_right,
        lock_wrong=shape.lock_wrong,
        abandoned=moves.abandoned_of_wrong,
        gains_of_controls={c: mean(_gain_of(p, control)) for c, control in read.controls.items()},
        beyond_controls=beyond,
        beyond_all_from=beyond_controls.earliest_over(list(beyond.values())),
        signatures=shape,
        profile=moves,
        agreement=None if read.rolled is None else agreement(p, read.rolled, read.m),
    )


def _gain_of(p: Probed, control: Probed) -> np.ndarray:
    """Gain that a control's text brings by the end, from the trace's own start: (n,) nats."""
    return signatures.last(control.log_true) - p.log_true[:, 0]


def _training(stages: Sequence[tuple[str, Probed]], resampling: Resampling) -> Iterator[Verdict]:
    """Each step of training, and the first stage against the last."""
    for earlier, later_ in pairwise(stages):
        yield verdicts.training(earlier, later_, resampling)
    if len(stages) > 2:
        yield verdicts.training(stages[0], stages[-1], resampling)


def agreement(p: Probed, rolled: Probed, m: int = LEAST) -> Agreement:
    """Rollouts against the computed distribution on the same prefixes, by p(true).

    They need not agree early: a rollout reasons on, the cue forces an answer now.
    """
    width = min(p.p_true.shape[1], rolled.p_true.shape[1])
    a, b = p.p_true[:, :width], rolled.p_true[:, :width]
    both = ~np.isnan(a) & ~np.isnan(b)
    varied = both.sum() > 2 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0
    ends = [x.at_end(x.p_true) for x in (p, rolled)]
    known = ~np.isnan(ends[1])
    spread = np.sqrt(2 / np.pi * ends[0] * (1 - ends[0]) / m)
    return Agreement(
        n=int(both.sum()),
        correlation=float(np.corrcoef(a[both], b[both])[0, 1]) if varied else None,
        gap=_mean(np.abs(a - b)[both]),
        gap_end=_mean(np.abs(ends[0] - ends[1])[known]),
        expected_gap_end=_mean(spread[known]),
        unparseable=_mean(rolled.invalid[:, :width][both]),
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def keep(store: Database, judged: Study, found: Sequence[tuple[str, str, str]]) -> None:
    """Write the verdicts into the database, in the place of those that the same study had."""
    ids = {(name, task): run_id for name, task, run_id in found}
    store.add_verdicts(judged.study_id, [_row(task, v, ids) for task, v in judged.verdicts])


def other_seeds(store: Database, found: Sequence[tuple[str, str, str]], wanted: Wanted = STORED) -> list[OtherSeed]:
    """Stored studies that asked for the same, of runs that differ from these in their seed alone, by seed."""
    studies: dict[str, list[dict]] = {}
    for row in store.verdicts():
        studies.setdefault(row["study_id"], []).append(row)
    (seed, what), others = _what(store, [run_id for *_, run_id in found]), []
    for other, rows in studies.items():
        runs_ = {(row["subject"], row["task"]): json.loads(row["runs"])[0] for row in rows}
        ids = [runs_.get((name, task)) for name, task, _ in found]
        if None in ids or study_id(ids, wanted) != other:
            continue
        other_seed, other_what = _what(store, ids)
        if other_what == what and other_seed != seed:
            told = {(row["task"], row["subject"], row["claim_key"]): row["verdict"] for row in rows}
            others.append(OtherSeed(other_seed, other, told))
    return sorted(others, key=lambda one: one.seed)


def _what(store: Database, run_ids: Sequence[str]) -> tuple[int, list[str]]:
    """(seed, runs but for it) of what was studied."""
    runs_ = [store.run(run_id) for run_id in run_ids]
    return int(runs_[0].settings["seed"]), [_but_for_seed(run) for run in runs_]


def _but_for_seed(run: Run) -> str:
    """A run's identity without its seed and the prompt's hash, whose worked examples the seed draws."""
    settings = {name: value for name, value in run.settings.items() if name not in ("seed", "prompt")}
    return json.dumps([run.model_sha256, run.task, settings], sort_keys=True)


def _row(task: str, v: Verdict, ids: dict[tuple[str, str], str]) -> dict[str, object]:
    runs_ = [ids[name, task] for name in v.subject.split(" -> ")]
    note = v.note or v.effect.reason or ""
    row = dict(task=task, subject=v.subject, claim=v.claim, claim_key=v.key, verdict=v.verdict)
    row |= dict(effect=v.effect.value, low=v.effect.low, high=v.effect.high, unit=v.unit, test=v.test)
    row |= dict(n=v.effect.n, n_problems=v.effect.n_problems, selected=int(v.selected), runs=json.dumps(runs_))
    return row | dict(p=v.p, p_holm=v.p_holm, note=note)
