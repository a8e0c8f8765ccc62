"""The identity of a study, and the stored studies that differ from it in their seed alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from localent.analysis.claims import RULES, SMALLER, SUPPORTED, Verdict
from localent.records import Run
from localent.runs import settings_of
from localent.runs.extend import Wanted
from localent.store import Database
from localent.store.rows import Row
from localent.study.subjects import ModelRun
from localent.tracing.controls import COMPARED

STORED = Wanted(controls=COMPARED, m=None)  # everything in the database


@dataclass(frozen=True, slots=True)
class OtherSeed:
    """A stored study that differs from this one in its seed alone."""

    seed: int
    study_id: str
    verdicts: dict[tuple[str, str, str | None], str]  # (task, subject, key of the claim) -> verdict

    def verdict_of(self, task: str, v: Verdict) -> str | None:
        """This study's verdict on the same claim about the same subject; None where it has none."""
        return self.verdicts.get((task, v.subject, v.key))

    def agreement(self, found: Sequence[tuple[str, Verdict]]) -> tuple[int, int, int]:
        """(verdicts that are the same, opposite verdicts, verdicts that both studies have), given (task, verdict).

        Opposite: supported in one, shown to be smaller than the smallest effect that counts in the other.
        """
        both = [(v.verdict, other) for task, v in found if (other := self.verdict_of(task, v)) is not None]
        opposite = sum(_opposite(here, there) or _opposite(there, here) for here, there in both)
        return sum(here == there for here, there in both), opposite, len(both)


def _opposite(one: str, other: str) -> bool:
    return one == SUPPORTED and other.startswith(SMALLER)


def study_id(run_ids: Sequence[str], wanted: Wanted) -> str:
    """The identity of a study: its runs, the part of them that counts, and the rules of judging."""
    settings = asdict(wanted) | {"problems": wanted.problems and sorted(wanted.problems)}
    content = json.dumps([list(run_ids), settings, RULES], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def other_seeds(store: Database, found: Sequence[ModelRun], wanted: Wanted = STORED) -> list[OtherSeed]:
    """Stored studies of the same design whose runs differ from these in their seed alone, by seed."""
    seed, rest = _seed_and_rest(store, [run.run_id for run in found])
    others: list[OtherSeed] = []
    for other, ids, rows in _same_subjects(store, found):
        if study_id(ids, wanted) != other:
            continue
        other_seed, other_rest = _seed_and_rest(store, ids)
        if other_rest == rest and other_seed != seed:
            verdicts = {(row["task"], row["subject"], row["claim_key"]): row["verdict"] for row in rows}
            others.append(OtherSeed(other_seed, other, verdicts))
    return sorted(others, key=lambda one: one.seed)


def _same_subjects(store: Database, found: Sequence[ModelRun]) -> Iterator[tuple[str, list[str], list[Row]]]:
    """(id, run ids in the order of `found`, rows) of each stored study that has all of these models and tasks."""
    studies: dict[str, list[Row]] = {}
    for row in store.verdicts():
        studies.setdefault(row["study_id"], []).append(row)
    for one, rows in studies.items():
        first_run = {(row["subject"], row["task"]): json.loads(row["runs"])[0] for row in rows}
        ids = [first_run[run.model, run.task] for run in found if (run.model, run.task) in first_run]
        if len(ids) == len(found):
            yield one, ids, rows


def _seed_and_rest(store: Database, run_ids: Sequence[str]) -> tuple[int, list[str]]:
    """(seed, identity of each run without its seed)."""
    runs = [store.run(run_id) for run_id in run_ids]
    return settings_of(runs[0]).seed, [_without_seed(run) for run in runs]


def _without_seed(run: Run) -> str:
    """A run's identity without its seed and the hash of its prompt, whose worked examples the seed draws."""
    settings = {name: value for name, value in run.settings.items() if name not in ("seed", "prompt")}
    return json.dumps([run.model_sha256, run.task, settings], sort_keys=True)
