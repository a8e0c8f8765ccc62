"""Cases put to a worker, and what became of them."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from math import inf
from pathlib import Path

SECONDS = 20.0  # a command that takes longer hangs; on a busy machine it has more
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Case:
    """Files in a folder of their own, and the commands that meet them."""

    name: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """A command that did what none may do."""

    kind: str  # "abort", "hang", "traceback", "control characters"
    case: str
    command: tuple[str, ...]
    text: str


@dataclass(slots=True)
class Outcome:
    """The figures of one part."""

    n_cases: int = 0
    n_commands: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    slowest: float = 0.0  # seconds


def busy() -> float:
    """How many times as long as alone a process takes that shares this machine, about; at least 1."""
    return max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


class Worker:
    """A process that runs commands. One that ends or hangs is replaced."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, command: tuple[str, ...]) -> dict[str, object]:
        """Run a command: the worker's answer, or {"abort": code}, or {"hang": seconds}."""
        child = self._child()
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps(command) + "\n")
        child.stdin.flush()
        seconds = SECONDS * busy()
        if not select.select([child.stdout], [], [], seconds)[0]:
            self.end()
            return {"hang": seconds}
        line = child.stdout.readline()
        if not line:
            return {"abort": self.end()}
        answer: dict[str, object] = json.loads(line)
        return answer

    def _child(self) -> subprocess.Popen[str]:
        if self.process is None:
            env = os.environ | {name: str(self.home / name.lower()) for name in ("LOCALENT_CACHE", "HF_HOME")}
            env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts"), *sys.path]), "COLUMNS": "100"}
            self.process = subprocess.Popen(
                [sys.executable, "-m", "breaking.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=env,
                cwd=self.home,
            )
        return self.process

    def end(self) -> int | None:
        """End the process; its code."""
        child, self.process = self.process, None
        if child is None:
            return None
        try:
            child.wait(0.2)
        except subprocess.TimeoutExpired:
            child.kill()
        with child:  # which closes its pipes
            return child.wait()


def attack(cases: Iterator[Case], worker: Worker, kept: Path | None = None, seconds: float = inf) -> Outcome:
    """Run the commands of all cases, of as many as begin in time. Files that break something are copied to `kept`."""
    done, end = Outcome(), time.monotonic() + seconds
    for case in takewhile(lambda _: time.monotonic() < end, cases):
        done.n_cases += 1
        before = len(done.faults)
        for command in case.commands:
            began = time.monotonic()
            fault = _judged(worker(command), case, command, done)
            done.n_commands += 1
            done.slowest = max(done.slowest, time.monotonic() - began)
            done.faults += [fault] if fault else []
        if kept and len(done.faults) > before:
            shutil.copytree(case.folder, kept / case.name, dirs_exist_ok=True)
        shutil.rmtree(case.folder, ignore_errors=True)
    return done


def _judged(answer: dict[str, object], case: Case, command: tuple[str, ...], done: Outcome) -> Fault | None:
    for kind in ("hang", "abort"):
        if kind in answer:
            return Fault(kind, case.name, command, str(answer[kind]))
    if answer["trace"]:
        return Fault("traceback", case.name, command, str(answer["trace"]))
    done.codes[int(str(answer["code"]))] += 1
    if answer["controls"]:
        return Fault("control characters", case.name, command, repr(answer["controls"]))
    return None
