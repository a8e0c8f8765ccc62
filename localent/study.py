"""Does it reason by gathering information? Runs, controls, and the claims of SIA with their verdicts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from localent import later, models, runs, tasks
from localent.analysis import signatures, verdicts
from localent.analysis.beyond import separation_of
from localent.analysis.curves import at_position
from localent.analysis.intervals import Estimate, estimate, share
from localent.analysis.metrics import mean_of
from localent.analysis.probed import Probed, computed, probed
from localent.analysis.profile import Profile, profile
from localent.analysis.signatures import Signatures
from localent.analysis.verdicts import KNOBS, Verdict
from localent.answers import LN_NUMBERS
from localent.controls import COMPARED
from localent.errors import LocalentError, UsageError
from localent.rollout import LEAST
from localent.store import Database, open_db

FAMILY = "abacus"
STAGES = ("untrained", "early", "base", "pretrained", "fine-tuned", "sft", "instruct", "rl", "rl-tuned", "distilled")
N_RESAMPLES = 1000
MECHANISM = "The bundled models are tiny: what they show is about the mechanism, never about large models."
SELECTED = "Claims marked * compare right and wrong traces, which are known only at the end: selected on the outcome."


@dataclass(frozen=True, slots=True)
class Subject:
    """One model on one task: its run and what it comes to."""

    model: str
    task: str
    run_id: str
    accuracy: Estimate
    gain: Estimate  # slope of the information gain, nats per whole trace
    gain_half: Estimate  # nats gained by half of the steps
    auroc_half: Estimate  # of the answer entropy at half: do wrong traces stay uncertain?
    auroc_half_equal: Estimate  # the same over pairs of traces with equally many steps
    lock_right: float | None  # median t_lock of right traces
    lock_wrong: float | None
    abandoned: Estimate  # of wrong traces: the true answer had led before the end
    gains_of_controls: dict[str, Estimate]  # gain at the control's k, from the trace's own start
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
class Study:
    """Verdicts on every claim, for every model and task, and for each step of training."""

    study_id: str
    subjects: tuple[Subject, ...]
    verdicts: tuple[tuple[str, Verdict], ...]  # (task, verdict)
    notes: tuple[str, ...]


def study(
    names: Sequence[str] = (),
    task_list: Sequence[tasks.Task] = (),
    *,
    db: str | Path,
    n: int | None = 100,
    samples: int = 3,
    settings: runs.Settings,
    controls: Sequence[str] = COMPARED,
    m: int = 0,
    n_rolled: int | None = 40,
    report: runs.Report = lambda progress: None,
    status: Callable[[str], None] = lambda text: None,
) -> Study:
    """Run or reuse what is needed, then judge. names: models, earlier stages first; none: the bundled family.

    m: rollouts for each prefix of the first n_rolled traces; 0: none. The verdicts are kept in the database.
    """
    names, bundled = list(names) or family(), not names
    found: list[tuple[str, str, str]] = []  # model, task, run_id
    for task in task_list:
        for name in names:
            status(f"{name} on {task.name}")
            options = dict(db=db, report=report, status=status)
            outcome = runs.run(name, task, n=n, samples=samples, settings=settings, **options)
            later.add_probes(name, task, outcome.run_id, controls=controls, m=m, n_rolled=n_rolled, **options)
            found.append((name, task.name, outcome.run_id))
    status("judging")
    problems = {p.problem_id for task in task_list for p in task.problems[:n]}
    options = dict(n_problems=n, samples=samples, family=bundled or is_family(names), m=m or LEAST)
    with open_db(db) as store:
        judged = analyse(store, found, problems=problems, **options)
        keep(store, judged, found)
    return judged


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


def is_family(names: Sequence[str]) -> bool:
    return any(FAMILY in Path(name).name for name in names)


def analyse(
    store: Database,
    found: Sequence[tuple[str, str, str]],
    *,
    problems: Collection[str] | None = None,
    n_problems: int | None = None,
    samples: int | None = None,
    family: bool = False,
    m: int = LEAST,
    n_resamples: int = N_RESAMPLES,
) -> Study:
    """Judge runs that are stored: (model's name, task, run id), earlier stages first within a task.

    problems: ids of those that count, where runs have more; None: all.
    """
    options, subjects, judged = dict(n_resamples=n_resamples), [], []
    by_task: dict[str, list[tuple[str, Probed]]] = {}
    for name, task, run_id in found:
        p, controls, rolled, n_tokens = _read(store, run_id, problems)
        kind = p.estimator
        agreed = None if rolled is None else agreement(p, rolled, m)
        subjects.append(_subject(name, task, run_id, p, controls, agreed, _ln_others(store, task, kind), options))
        judged += [(task, v) for v in verdicts.judge(name, p, controls, n_tokens, **options)]
        by_task.setdefault(task, []).append((name, p))
    judged += [(task, v) for task, stages in by_task.items() for v in verdicts.settled([*_training(stages, options)])]
    content = json.dumps([[run_id for *_, run_id in found], KNOBS, n_problems, samples], sort_keys=True)
    study_id = hashlib.sha256(content.encode()).hexdigest()[:12]
    notes = (SELECTED, KNOBS, *([MECHANISM] if family else []))
    return Study(study_id, tuple(subjects), tuple(judged), notes)


def _read(
    store: Database, run_id: str, problems: Collection[str] | None
) -> tuple[Probed, dict[str, Probed], Probed | None, np.ndarray]:
    """(the run's own probes, control -> its probes, rollouts, length of each trace)."""
    found = probed(store, run_id)
    p = computed(found)
    if p is None:
        raise UsageError(f"Run {run_id} was not probed: a study needs probes, run it again without --no-probe.")
    controls = {name.partition(":")[2]: c for name, c in found.items() if name.startswith(f"{p.estimator}:")}
    n_tokens = np.array(store.traces(run_id, ("n_tokens",))["n_tokens"], float)
    kept = np.full(len(p.problems), True) if problems is None else np.isin(p.problems, list(problems))
    ordered = {name: controls[name].among(kept) for name in COMPARED if name in controls}
    rolled = found.get("rollout")
    return p.among(kept), ordered, rolled and rolled.among(kept), n_tokens[kept]


def _ln_others(store: Database, task: str, kind: str) -> float:
    """ln of the number of wrong answers there can be."""
    if kind == "number":
        return LN_NUMBERS
    return float(np.log(max(len(problem.choices) for problem in store.problems(task)) - 1))


def _subject(
    name: str,
    task: str,
    run_id: str,
    p: Probed,
    controls: dict[str, Probed],
    agreed: Agreement | None,
    ln_others: float,
    options: dict,
) -> Subject:
    shape = signatures.signatures(p, ln_others=ln_others, **options)
    moves = profile(p, **options)
    half = at_position(p.trajectory(p.entropy), verdicts.HALF)

    def mean(values: np.ndarray) -> Estimate:
        return estimate(mean_of, values, problems=p.problems, **options)

    return Subject(
        model=name,
        task=task,
        run_id=run_id,
        accuracy=share(~p.wrong, p.problems),
        gain=mean(verdicts.gain_slope(p)),
        gain_half=mean(at_position(p.trajectory(p.gain()), verdicts.HALF)),
        auroc_half=estimate(separation_of, half, p.wrong, problems=p.problems, **options),
        auroc_half_equal=estimate(separation_of, half, p.wrong, p.n_steps, problems=p.problems, **options),
        lock_right=shape.lock_right,
        lock_wrong=shape.lock_wrong,
        abandoned=moves.abandoned_of_wrong,
        gains_of_controls={c: mean(_gain_of(p, control)) for c, control in controls.items()},
        signatures=shape,
        profile=moves,
        agreement=agreed,
    )


def _gain_of(p: Probed, control: Probed) -> np.ndarray:
    """Gain that a control's text brings by the end, from the trace's own start: (n,) nats."""
    return signatures.last(control.log_true()) - p.log_true()[:, 0]


def _training(stages: Sequence[tuple[str, Probed]], options: dict) -> Iterator[Verdict]:
    """Each step of training, and the first stage against the last."""
    for earlier, later_ in pairwise(stages):
        yield verdicts.training(earlier, later_, **options)
    if len(stages) > 2:
        yield verdicts.training(stages[0], stages[-1], **options)


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


def _row(task: str, v: Verdict, ids: dict[tuple[str, str], str]) -> dict[str, object]:
    runs_ = [ids[name, task] for name in v.subject.split(" -> ")]
    note = v.note or v.effect.reason or ""
    row = dict(task=task, subject=v.subject, claim=v.claim, verdict=v.verdict)
    row |= dict(effect=v.effect.value, low=v.effect.low, high=v.effect.high, unit=v.unit, test=v.test, p=v.p)
    row |= dict(n=v.effect.n, n_problems=v.effect.n_problems, selected=int(v.selected), runs=json.dumps(runs_))
    return row | dict(note=note)
