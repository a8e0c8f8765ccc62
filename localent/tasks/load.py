"""Tasks by name: the public sets in their real layouts, the bundled ones, and a user's own file.

A problem that a file repeats (same question, answer and options) is asked once; `n_duplicates` counts the rest.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from localent.errors import UsageError
from localent.records import Problem
from localent.tasks import kinds
from localent.tasks.columns import Columns, fits, has, unfit
from localent.tasks.grade import answer_start
from localent.tasks.identity import data_id, problem_id
from localent.tasks.kinds import CHOICE, OPTION_TEXT, Kind
from localent.tasks.kinds.option_text import with_solution
from localent.tasks.named import Known, known, unknown
from localent.tasks.options import with_index
from localent.tasks.problems import problem_of
from localent.tasks.rows import ENDINGS, Row, read_rows, with_answers
from localent.tasks.unused import check_unused

__all__ = ["BUNDLED", "Columns", "Task", "load"]

LOG = logging.getLogger("localent")
LISTED = 20  # rows that were left out and are listed with their faults
SHOTS = 4  # worked examples that a model without chat template gets
OPENING = 8  # problems
POOL = 64  # worked problems of a file that may serve as examples: its first ones, so that -n does not change them
BUNDLED = ("demo-number", "demo-choice")


@dataclass(frozen=True, slots=True)
class Task:
    """Problems of one kind, and how they are asked."""

    name: str
    kind: Kind
    problems: tuple[Problem, ...]
    pool: tuple[Problem, ...]  # worked problems that examples are taken from
    instruction: str  # follows the question in a chat; "" where the model was trained on bare questions
    shots: int  # default number of examples for a model without a chat template
    source: str  # the file
    opening: tuple[Problem, ...] = ()  # the first of the file, whichever are asked: cues are fitted to them
    n_duplicates: int = 0  # rows that repeat an earlier problem; they are not asked again
    data: str = ""  # hash of all problems of the file, whichever are asked; "": they come with localent

    @property
    def ids(self) -> frozenset[str]:
        """The ids of its problems."""
        return frozenset(problem.problem_id for problem in self.problems)

    def first(self, n: int | None) -> Task:
        """The task with its first n problems only; None: all of them."""
        if n is not None and n < 1:
            raise UsageError(f"-n must be at least 1 problem, got {n}: leave -n out to take them all.")
        return replace(self, problems=self.problems[:n])

    def by_text(self) -> Task:
        """The same problems, answered by the text of an option; without worked examples unless some are asked for."""
        own = self.pool != self.kind.examples
        pool = tuple(map(_ending_in_text, self.pool)) if own else OPTION_TEXT.examples
        instruction = OPTION_TEXT.instruction if self.instruction else ""
        return replace(self, kind=OPTION_TEXT, pool=pool, instruction=instruction, shots=0)


def load(name: str, data: Path | None = None, columns: Columns | None = None, *, skip_unreadable: bool = False) -> Task:
    """The task `name`. data: its file, or a folder that holds it; columns: for files of one's own.

    The whole file is read and checked. skip_unreadable: leave rows that hold no problem out, and log a warning that
    lists them. Raises UsageError.
    """
    public = None if name in BUNDLED else known().get(name)
    if columns is not None and (public or name in BUNDLED):
        raise UsageError(f"Column options are for your own data: leave them out, or give {name} another name.")
    path = _find(name, public, data)
    read = _read(path, columns or Columns(), public.layouts if public else ())
    found = list(_problems(read, path, skip_unreadable=skip_unreadable))
    if public and public.prompt:
        found = [_led(problem, public.prompt) for problem in found]
    kind = _kind(found, path, read.columns.kind)
    first = {p.problem_id: p for p in reversed(found)}
    problems = tuple(p for p in found if first[p.problem_id] is p)
    return Task(
        name=name,
        kind=kind,
        problems=problems,
        pool=kind.examples if public else _pool(kind, problems),
        instruction="" if name in BUNDLED else kind.instruction,
        shots=0 if name in BUNDLED else SHOTS,
        source=str(path),
        opening=problems[:OPENING],
        n_duplicates=len(found) - len(problems),
        data="" if name in BUNDLED else data_id(problems),
    )


@dataclass(frozen=True, slots=True)
class _Read:
    """The rows of a file, and what its columns mean."""

    rows: list[Row]
    columns: Columns

    @property
    def good(self) -> list[dict[str, Any]]:
        """The rows that are rows at all."""
        return [entry for _, entry in self.rows if not isinstance(entry, UsageError)]


def _read(path: Path, columns: Columns, layouts: Sequence[Columns]) -> _Read:
    """The rows of a public set in the first of its layouts that fits, or those of a user's own file, checked."""
    if layouts:
        return _in_layout(path, layouts)
    read = _Read(list(read_rows(path, columns.header)), columns)
    check_unused(read.good, columns, path.name)
    return replace(read, columns=with_index(read.good, columns, path.name))


def _in_layout(path: Path, layouts: Sequence[Columns]) -> _Read:
    """Raises the error of the first layout where none fits."""
    faults = []
    for columns in layouts:
        try:
            read = _Read(list(read_rows(path, columns.header)), columns)
            if columns.answers_file and not any(has(row, columns.answer) for row in read.good):
                read = replace(read, rows=with_answers(path, read.rows, columns.answer, columns.answers_file))
        except UsageError as error:
            faults.append(error)
            continue
        if not read.good or fits(read.good[0], columns):
            return read
        faults.append(unfit(read.good[0], columns, path.name))
    raise faults[0]


def _problems(read: _Read, path: Path, *, skip_unreadable: bool) -> Iterator[Problem]:
    """The problems of a file. A row without one raises its UsageError, or is left out and told."""
    faults: list[tuple[str, UsageError]] = []
    for where, entry in read.rows:
        try:
            if isinstance(entry, UsageError):
                raise entry
            yield problem_of(entry, read.columns, path.name, where)
        except UsageError as error:
            if not skip_unreadable:
                raise
            faults.append((where, error))
    if faults:
        _tell_skipped(faults, len(read.rows), path)


def _tell_skipped(faults: Sequence[tuple[str, UsageError]], n_rows: int, path: Path) -> None:
    """Log how many rows were left out, the first with their faults, the others by their places."""
    others = ", ".join(where for where, _ in faults[LISTED:])
    rest = f"\n  and {others}" if others else ""
    listed = "".join(f"\n  {error}" for _, error in faults[:LISTED])
    LOG.warning("%d of the %d rows of %s are left out:%s%s", len(faults), n_rows, path, listed, rest)


def _kind(problems: list[Problem], path: Path, asked: str | None) -> Kind:
    if not problems:
        raise UsageError(f"{path} has no problems in it: expected a header and at least one row.")
    if asked is not None:
        return kinds.named(asked)
    kind, *others = dict.fromkeys(kinds.of_answer(p.answer, p.choices) for p in problems)
    if others:
        odd = next(p for p in problems if kinds.of_answer(p.answer, p.choices) is others[0])
        raise UsageError(
            f"{path} mixes problems of the kinds {kind.name} and {others[0].name} (see {odd.source_id!r}): put each "
            "kind in its own file."
        )
    return kind


def _led(problem: Problem, prompt: str) -> Problem:
    """The problem with a line before its question."""
    question = f"{prompt}\n{problem.question}"
    own = problem_id(question, problem.answer, problem.choices, problem.observations)
    return replace(problem, question=question, problem_id=own)


def _pool(kind: Kind, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The worked problems of a user's own file where it has enough; those of a public test set are never shown."""
    worked = tuple(p for p in problems if p.solution)[:POOL]
    return worked if len(worked) > SHOTS else kind.examples


def _ending_in_text(problem: Problem) -> Problem:
    """A worked problem that states the text of its option in place of the label."""
    solution = problem.solution or ""
    return with_solution(problem, solution[: answer_start(solution, CHOICE, problem.choices)])


def _find(name: str, public: Known | None, data: Path | None) -> Path:
    if name in BUNDLED:
        if data is not None:
            raise UsageError(f"{name} is bundled and takes no --data: choose another name for your own problems.")
        return Path(__file__).parents[1] / "demo" / f"{name}.jsonl"
    if data is not None:
        return _inside(data, public.files if public else tuple(f"*{ending}" for ending in ENDINGS))
    if public is None:
        raise UsageError(unknown(name, BUNDLED))
    return _cached(public)


def _inside(data: Path, patterns: tuple[str, ...]) -> Path:
    """The file `data`, or the one file in the folder `data` that fits the first pattern that fits any."""
    if not data.is_dir():
        if not data.exists():
            raise UsageError(f"No file {data}: --data takes a JSON Lines, JSON or CSV file, or a folder with one.")
        return data
    for pattern in patterns:
        found = sorted(data.glob(pattern))
        if len(found) > 1:
            names = ", ".join(p.name for p in found[:4])
            raise UsageError(f"{data} holds several data files ({names}): name one with --data.")
        if found:
            return found[0]
    raise UsageError(f"{data} holds no {' or '.join(patterns)}: name the file itself with --data.")


def _cached(public: Known) -> Path:
    name = public.name
    for folder in (data_home() / name, data_home() / name.split("-")[0]):
        for pattern in public.files:
            for path in sorted(folder.glob(pattern)):
                return path
    raise UsageError(
        f"{name} is not on this disk: fetch it with 'localent pull {name}', or get it from {public.home} and name its "
        "file with --data."
    )


def data_home() -> Path:
    """The folder of data sets: $LOCALENT_DATA, else one in the platform's cache."""
    if os.environ.get("LOCALENT_DATA"):
        return Path(os.environ["LOCALENT_DATA"])
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "localent" / "data"
