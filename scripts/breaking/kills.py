"""Commands disturbed, then begun again: what is there in the end is what an undisturbed run makes.

They are ended at random moments, run out of disk, or meet another that does the same in the same place. SIGKILL may
leave parts of files; SIGTERM and Ctrl-C may not, nor a process.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from pathlib import Path

from helpers import ctrl_c

from breaking import hub
from breaking.runner import ROOT, Fault, Outcome, busy

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STOPPED = (130, -signal.SIGINT)  # exit codes after Ctrl-C; the second before Python hears it
OF_SESSIONS = ("sessions", "origins", "checks")  # tables that tell when and where, and by which of its sessions
PYTHON = 0.1  # seconds in which it starts, before any of our code
OBEYED = 15.0  # seconds within which a command ends after SIGTERM or Ctrl-C
RUN = ("--max-tokens", "40", "--threads", "1", "--lanes", "4", "--max-fed", "6")
SETUP = (
    ("run", "abacus-sft", "demo-number", "-n", "4", *RUN, "--db", "made.db"),
    ("run", "abacus-sft", "demo-number", "-n", "4", "--shard", "1/2", *RUN[:4], "--max-fed", "6", "--db", "one.db"),
    ("run", "abacus-sft", "demo-number", "-n", "4", "--shard", "2/2", *RUN[:4], "--max-fed", "6", "--db", "two.db"),
)
JOBS: dict[str, tuple[str, ...]] = {
    "run": ("run", "abacus-sft", "demo-number", "-n", "6", *RUN, "--db", "new.db"),
    "rollouts": ("run", "abacus-sft", "demo-number", "-n", "2", *RUN, "--rollouts", "16", "--db", "new.db"),
    "study": ("study", "abacus-early", "abacus-sft", "--task", "demo-number", "-n", "3", *RUN[:4], "--db", "new.db"),
    "score": ("score", "abacus-sft", "demo-number", "--gold", "-n", "4", "--threads", "1", "--db", "new.db"),
    "compare": (
        "compare",
        "abacus-sft",
        "abacus-rl",
        "--task",
        "demo-number",
        "-n",
        "2",
        "--threads",
        "1",
        "--db",
        "new.db",
    ),
    "quantize": ("quantize", "abacus-sft", "Q8_0", "Q4_0", "--out", "new", "--force", "--threads", "1"),
    "merge": ("merge", "one.db", "two.db", "-o", "new.db"),
    "export": ("export", "{run}", "--db", "made.db", "-o", "new"),
    "report": ("report", "--db", "made.db", "-o", "new.html"),
    "pull": ("pull", f"{hub.REPO}:F16"),
}
LIMITED = (  # localent with a limit on the size of files
    "-c",
    "import os, resource; resource.setrlimit(resource.RLIMIT_FSIZE, 2 * (int(os.environ['MOST']),));"
    " from localent.cli import main; main(prog_name='localent')",
)
Misdeeds = list[tuple[str, str]]  # kind, more about it
PARTS = ("*.part", "*.partial", ".*.partial", "*.incomplete", "*.tmp")


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A job done in one piece: how long it took, and what it left."""

    seconds: float
    content: str


Disturb = Callable[[tuple[str, ...], Path, Undisturbed, random.Random], Misdeeds]


def attack(
    n: int, draw: random.Random, home: Path, disturb: Disturb, seconds: float = inf, finish: bool = True
) -> Outcome:
    """Disturb each command n times, or as often as it can be in its share of the seconds; then let it finish."""
    inputs, done = home / "inputs", Outcome()
    inputs.mkdir(parents=True)
    for words in SETUP:
        _start(words, inputs, home).wait()
    with closing(sqlite3.connect(inputs / "made.db")) as conn:
        (run,) = conn.execute("select run_id from runs").fetchone()
    for name, words in JOBS.items():
        words = tuple(word.replace("{run}", run) for word in words)
        whole = _undisturbed(words, inputs, home)
        end = time.monotonic() + seconds / len(JOBS)
        for i in takewhile(before(end), range(n)):
            done.n_cases += 1
            folder = home / f"{name}-{i}"
            shutil.copytree(inputs, folder)
            faults = disturb(words, folder, whole, draw)
            faults += _finished(words, folder, whole) if finish else []
            done.n_commands += 1
            done.faults += [Fault(kind, name, words, text) for kind, text in faults]
            shutil.rmtree(folder)
    return done


def before(end: float) -> Callable[[object], bool]:
    """True of anything until that moment of time.monotonic."""
    return lambda _: time.monotonic() < end


def _undisturbed(words: tuple[str, ...], inputs: Path, home: Path) -> Undisturbed:
    for _ in range(2):  # the first one fills the cache
        folder = home / "whole"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)
        began = time.monotonic()
        _start(words, folder, home).wait()
    return Undisturbed(time.monotonic() - began, content(folder))


def killed(words: tuple[str, ...], folder: Path, whole: Undisturbed, draw: random.Random) -> Misdeeds:
    """End a command once or twice."""
    found: Misdeeds = []
    for _ in range(draw.choice([1, 1, 2])):
        number = draw.choice(SIGNALS)
        child = _start(words, folder, folder.parent)
        time.sleep(draw.uniform(0, whole.seconds))
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)
        found += [(kind, number.name) for kind in _misdeeds(child, number, folder)]
    return found


def interrupted(words: tuple[str, ...], folder: Path, whole: Undisturbed, draw: random.Random) -> Misdeeds:
    """Ctrl-C in the first third of a command, which must not go on to its end."""
    child = _start(words, folder, folder.parent)
    time.sleep(draw.uniform(PYTHON, max(PYTHON, whole.seconds / 3)))
    if child.poll() is not None:
        return []  # it was much faster than before
    os.kill(child.pid, signal.SIGINT)
    found = [(kind, "SIGINT") for kind in _misdeeds(child, signal.SIGINT, folder)]
    return found + ([] if child.returncode in STOPPED else [("Ctrl-C lost", f"exit code {child.returncode}")])


def without_disk(words: tuple[str, ...], folder: Path, whole: Undisturbed, draw: random.Random) -> Misdeeds:
    """Let no file become larger than so much; the command must say so in a sentence."""
    most = draw.choice([0, 4096, 10_000, 50_000, 200_000, 1_000_000])
    child = _start(words, folder, folder.parent, most=most, stderr=subprocess.PIPE)
    _, err = child.communicate()
    found = [("traceback", err.decode("utf-8", "replace"))] if b"Traceback" in err else []
    return found + ([("abort", f"exit code {child.returncode}")] if child.returncode < 0 else [])


def beside_another(words: tuple[str, ...], folder: Path, whole: Undisturbed, draw: random.Random) -> Misdeeds:
    """Two of the same command at once; either may find that the other has done it."""
    one = _start(words, folder, folder.parent)
    time.sleep(draw.uniform(0, whole.seconds))
    other = _start(words, folder, folder.parent, stderr=subprocess.PIPE)
    _, err = other.communicate()
    one.wait()
    return [("traceback", err.decode("utf-8", "replace"))] if b"Traceback" in err else []


def _finished(words: tuple[str, ...], folder: Path, whole: Undisturbed) -> Misdeeds:
    """Let a command finish undisturbed and compare."""
    last = _start(words, folder, folder.parent)
    last.wait()
    if last.returncode or content(folder) != whole.content:
        return [("another result", f"exit code {last.returncode}")]
    return []


def _misdeeds(child: subprocess.Popen[bytes], number: signal.Signals, folder: Path) -> list[str]:
    """What a command that was told to end did wrong."""
    try:
        child.wait(OBEYED * busy())
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return ["not obeyed"]
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        return []
    found = ["a part of a file"] if any(any(folder.rglob(part)) for part in PARTS) else []
    time.sleep(0.3)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, 0)
        found.append("a process")
        os.killpg(child.pid, signal.SIGKILL)
    return found


def _start(
    words: tuple[str, ...], folder: Path, home: Path, most: int | None = None, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """A command in a session of its own. most: bytes that a file of it may have."""
    env = os.environ | {"LOCALENT_CACHE": str(home / "cache"), "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, *(LIMITED if most is not None else ("-m", "localent")), *words]
    env |= {"MOST": str(most), "HF_HOME": str(folder / "new-hub"), "HF_ENDPOINT": hub.url()}
    quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
    return subprocess.Popen(command, cwd=folder, env=env, start_new_session=True, preexec_fn=ctrl_c.heard, **quiet)


def content(folder: Path) -> str:
    """A hash of all rows but those of sessions, and of all other files that are new."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("new*")):
        if path.suffix == ".db":
            digest.update(rows(path).encode())
        elif path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file() and file.suffix != ".lock"):
                digest.update(str(file.relative_to(path)).encode() + file.read_bytes())
        elif path.suffix != ".html" and not path.name.endswith(("-wal", "-shm")):  # a page tells when it was made
            digest.update(path.read_bytes())
    return digest.hexdigest()


def rows(path: Path) -> str:
    """All rows of a database but those of sessions and what belongs to them."""
    with closing(sqlite3.connect(path)) as conn:
        names = [name for (name,) in conn.execute("select name from sqlite_master where type = 'table'")]
        kept = [name for name in sorted(names) if name not in OF_SESSIONS]
        return repr({name: sorted(map(repr, conn.execute(f"select * from {name}"))) for name in kept})
