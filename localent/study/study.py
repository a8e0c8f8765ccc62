"""A study: run or reuse what is needed, then judge each claim about each model, and each step of training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from localent import models, runs, tasks
from localent.analysis import verdicts
from localent.analysis.claims import THRESHOLDS, Verdict, settled, withheld
from localent.analysis.contrasts import Sample
from localent.analysis.family import FAMILY, MECHANISM, is_family
from localent.analysis.intervals import Resampling
from localent.analysis.probed import Probed
from localent.analysis.readings import unfit
from localent.analysis.sensitivity import Alternative, sensitivity
from localent.analysis.verdicts import RESAMPLING
from localent.errors import LocalentError, UsageError
from localent.runs.extend import Wanted
from localent.runs.progress import SILENT, no_trace
from localent.runs.questions import no_probes
from localent.store import Database, open_db
from localent.study.making import Work, make
from localent.study.otherwise import SETTINGS, Otherwise, none_stored, otherwise
from localent.study.seeds import STORED, OtherSeed, other_seeds, study_id
from localent.study.subjects import ModelRun, Subject, ln_others, read_run, subject
from localent.tracing.controls import COMPARED, EVERY

ARROW = " -> "  # between the stages that a verdict on training is about
SELECTED = (
    "Claims marked * compare right and wrong traces, or use a wrong one as control. Right and wrong are known only at"
    " the end: these traces are selected on the outcome."
)
FAMILIES = (
    "p (Holm): over all claims about one model on one task; the steps of training on a task are a family of their own."
    " 'localent show' and 'localent signals' say the same of the same traces."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The settings of a study, the same for each of its models and tasks."""

    settings: runs.Settings
    n: int | None = 100  # the first problems of each task; None: all
    samples: int = 3  # traces per problem
    controls: Sequence[str] = COMPARED
    at: str = EVERY  # where controls are read: see controls.compared_at
    control_samples: int | None = 1  # traces per problem that get controls; None: all
    m: int = 0  # rollouts per prefix; 0: none
    n_rolled: int | None = 12  # traces per run that are rolled out; None: all
    sensitivity: bool = False  # judge under other thresholds as well

    def wanted(self, task_list: Sequence[tasks.Task]) -> Wanted:
        """The traces and probes that count, of runs on these tasks."""
        return Wanted(
            problems=frozenset(p.problem_id for task in task_list for p in task.problems[: self.n]),
            samples=self.samples,
            controls=tuple(self.controls),
            at=self.at,
            control_samples=self.control_samples,
            m=self.m,
            n_rolled=self.n_rolled,
            shard=self.settings.shard,
        )

    def works(self, names: Sequence[str], task_list: Sequence[tasks.Task], db: str | Path) -> list[Work]:
        """The runs of the study, task by task, with the probes that are wanted."""
        wanted = self.wanted(task_list)
        return [
            Work(name, _shuffled(task.first(self.n)), wanted, self.settings, db) for task in task_list for name in names
        ]


def _shuffled(task: tasks.Task) -> tasks.Task:
    """The task in the order of its problems' ids, which are hashes."""
    return replace(task, problems=tuple(sorted(task.problems, key=lambda problem: problem.problem_id)))


@dataclass(frozen=True, slots=True)
class Study:
    """Verdicts on every claim, for every model and task, and for each step of training."""

    study_id: str
    subjects: tuple[Subject, ...]
    verdicts: tuple[tuple[str, Verdict], ...]  # (task, verdict)
    notes: tuple[str, ...]
    seeds: tuple[OtherSeed, ...] = ()  # the same study under other seeds, where the database has it
    alternatives: tuple[tuple[str, Alternative], ...] = ()  # (task, claim under another threshold); empty: not asked
    unfinished: tuple[str, ...] = ()  # what there was no time for, a sentence for each run


def study(
    names: Sequence[str],
    task_list: Sequence[tasks.Task],
    design: Design,
    *,
    db: str | Path,
    listener: runs.Listener = SILENT,
) -> Study:
    """Run or reuse what is needed, judge, and store the verdicts.

    names: models, earlier stages first; none: the bundled family.
    """
    bundled = not names
    wanted, works = design.wanted(task_list), part(names, task_list, design, db=db, listener=listener)
    found = [work.run for work in works if work.n_traces]
    if not found:
        raise LocalentError(no_trace(listener.time))
    listener.status("judging")
    with open_db(db) as store:
        judged = analyse(store, found, wanted, family=bundled or is_family(list(names)))
        keep(store, judged, found)
        left = tuple(filter(None, (work.unfinished(listener.time) for work in works)))
        if design.sensitivity:
            judged = with_alternatives(store, judged, found, wanted)
        return replace(judged, seeds=tuple(other_seeds(store, found, wanted)), unfinished=left)


def part(
    names: Sequence[str],
    task_list: Sequence[tasks.Task],
    design: Design,
    *,
    db: str | Path,
    listener: runs.Listener = SILENT,
) -> list[Work]:
    """Make what a study, or its part design.settings.shard, lacks; nothing is judged.

    A part makes its attempts; and its controls and rollouts, once the file has the attempts of all parts.
    """
    for task in task_list:
        if not task.kind.exact:
            raise UsageError(f"{no_probes(task)} A study reads probes: take a task of another kind.")
    works = design.works(list(names) or family(), task_list, db)
    make(works, listener)
    return works


def family() -> list[str]:
    """The bundled models that are on this machine, in order of training."""
    entries = [e for e in models.entries().values() if e.family == FAMILY and e.bundled]
    return [e.name for e in sorted(entries, key=lambda e: e.rank) if _is_there(e.name)]


def _is_there(name: str) -> bool:
    try:
        return models.resolve(name).is_file()
    except LocalentError:
        return False


def analyse(
    store: Database,
    found: Sequence[ModelRun],
    wanted: Wanted = STORED,
    *,
    family: bool = False,
    resampling: Resampling = RESAMPLING,
) -> Study:
    """Judge stored runs, earlier stages first within a task.

    wanted: the traces and probes that count; the rest of the database is ignored. family: the bundled models are
    among them, whose caveat is added.
    """
    subjects: list[Subject] = []
    judged: list[tuple[str, Verdict]] = []
    by_task: dict[str, list[tuple[str, Probed]]] = {}
    for run in found:
        read = read_run(store, run.run_id, wanted)
        subjects.append(subject(run, read, ln_others(store, run.task, read.own.estimator), resampling))
        sample = Sample(run.model, read.own, read.n_tokens, resampling)
        family_of_claims = _unless_unfit(
            verdicts.judge(sample, read.controls, read.rolled, read.m, read.ideal), subjects[-1:]
        )
        judged += [(run.task, v) for v in family_of_claims]
        by_task.setdefault(run.task, []).append((run.model, read.own))
    for task, stages in by_task.items():
        trained = settled([*_training(stages, resampling)])
        judged += [(task, v) for v in _unless_unfit(trained, [s for s in subjects if s.task == task])]
    notes = (SELECTED, FAMILIES, THRESHOLDS, *([MECHANISM] if family else []))
    return Study(study_id([run.run_id for run in found], wanted), tuple(subjects), tuple(judged), notes)


def with_alternatives(store: Database, judged: Study, found: Sequence[ModelRun], wanted: Wanted) -> Study:
    """The study with its claims under other thresholds, and under other cues and efforts where such runs are stored."""
    moved, notes = alternatives(store, found, wanted, judged.subjects), list[str]()
    for run in found:
        others = list(otherwise(store, run))
        for setting in SETTINGS:
            read = [one for one in others if one.setting == setting]
            notes += [] if read else [none_stored(run.model, run.task, setting)]
            moved += [alternative for one in read for alternative in _read_otherwise(store, run, one, wanted)]
    return replace(judged, alternatives=tuple(moved), notes=(*judged.notes, *notes))


def _read_otherwise(
    store: Database, run: ModelRun, other: Otherwise, wanted: Wanted
) -> Iterator[tuple[str, Alternative]]:
    """The claims about the same attempts, read with another cue or effort."""
    read = read_run(store, other.run_id, wanted)
    sample = Sample(run.model, read.own, read.n_tokens, RESAMPLING)
    told = verdicts.judge(sample, read.controls, read.rolled, read.m, read.ideal)
    _, why = unfit(read.chance, read.validity)
    for v in told:
        yield run.task, Alternative(other.setting, other.value, withheld(v, why) if why else v)


def alternatives(
    store: Database, found: Sequence[ModelRun], wanted: Wanted, subjects: Sequence[Subject]
) -> list[tuple[str, Alternative]]:
    """The claims about each model under other thresholds; withheld where they are withheld."""
    moved: list[tuple[str, Alternative]] = []
    for run, about in zip(found, subjects, strict=True):
        read = read_run(store, run.run_id, wanted)
        sample = Sample(run.model, read.own, read.n_tokens, RESAMPLING)
        others = sensitivity(sample, read.controls, read.rolled, read.m, read.ideal)
        told = _unless_unfit([other.verdict for other in others], [about])
        moved += [(run.task, replace(other, verdict=v)) for other, v in zip(others, told, strict=True)]
    return moved


def _unless_unfit(found: Sequence[Verdict], subjects: Sequence[Subject]) -> list[Verdict]:
    """The verdicts; withheld where one of the models that they are about only guesses, or often gives no answer."""
    why = {s.model: sentence for s in subjects if (sentence := unfit(s.chance, s.validity)[1])}
    reasons = ([why[name] for name in v.subject.split(ARROW) if name in why] for v in found)
    return [withheld(v, some[0]) if some else v for v, some in zip(found, reasons, strict=True)]


def _training(stages: Sequence[tuple[str, Probed]], resampling: Resampling) -> Iterator[Verdict]:
    """Each step of training, and the first stage against the last."""
    for earlier, later in pairwise(stages):
        yield verdicts.training(earlier, later, resampling)
    if len(stages) > 2:
        yield verdicts.training(stages[0], stages[-1], resampling)


def keep(store: Database, judged: Study, found: Sequence[ModelRun]) -> None:
    """Store the verdicts, replacing those of the same study."""
    ids = {(run.model, run.task): run.run_id for run in found}
    store.add_verdicts(judged.study_id, [_row(task, v, ids) for task, v in judged.verdicts])


def _row(task: str, v: Verdict, ids: dict[tuple[str, str], str]) -> dict[str, object]:
    """A verdict as a row of the table verdicts. ids: (model, task) -> run id."""
    run_ids = [ids[name, task] for name in v.subject.split(ARROW)]
    note = v.note or v.effect.reason or ""
    row: dict[str, object] = dict(task=task, subject=v.subject, claim=v.claim, claim_key=v.key, verdict=v.verdict)
    row |= dict(effect=v.effect.value, low=v.effect.low, high=v.effect.high, unit=v.unit, test=v.test)
    row |= dict(n=v.effect.n, n_problems=v.effect.n_problems, selected=int(v.selected), runs=json.dumps(run_ids))
    return row | dict(p=v.p, p_holm=v.p_holm, note=note)
