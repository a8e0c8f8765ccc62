"""Every command on a terminal of its own, with names, problems and stored texts that would control it.

The colours, the cursor and the line of a progress bar are localent's or its web server's; any other control character
came from outside.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from contextlib import closing, suppress
from itertools import cycle, islice, takewhile
from pathlib import Path

from breaking.kills import before
from breaking.runner import ROOT, Fault, Outcome, busy

OURS = re.compile(r"\x1b\[(?:0|1|32|36|48;5;\d+;38;5;16)m|\x1b\[[0-9]*[ABCDGK]|\x1b\[\?25[lh]|[\n\r\t]")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PAYLOADS = ("\x1b]0;e\x07\x9b2J", "\x9b31m\x08\x1bc\x85\x1b[31;5m\x1b[2J", "\x1bP+q\x1b\\\x9d0", "\x00\x7f\x1b[?1049h")
SECONDS, SERVING = 60.0, 4.0  # a command that takes longer hangs; those that serve are ended after so long
QUICK = ("--max-tokens", "30", "--threads", "1", "--lanes", "2", "--max-fed", "4")
OWN = ("mine", "--data", "{data}", "--question", "q", "--answer", "a")
COMMANDS = (
    ("run", "{model}", *OWN, *QUICK, "--rollouts", "16", "--every-step", "--db", "{db}"),
    ("run", "{model}", "demo-number", "-n", "2", *QUICK, "--db", "{other}"),
    ("runs", "--db", "{db}"),
    ("show", "--db", "{db}"),
    ("show", "{trace}", "--db", "{db}", "--measure", "surprisal"),
    ("sql", "select * from problems", "--db", "{db}"),
    ("sql", "select * from tokens limit 20", "--db", "{db}", "--json"),
    ("sql", "select * from models", "--db", "{db}", "--csv"),
    ("sql", "{evil}", "--db", "{db}"),
    ("schema", "--db", "{db}"),
    ("schema", "{evil}", "--db", "{db}"),
    ("signals", "{run}", "--db", "{db}"),
    ("calibrate", "{run}", "--db", "{db}"),
    ("replay", "{run}", "--db", "{db}"),
    ("importance", "{run}", "--db", "{db}"),
    ("study", "--db", "{db}", "--task", "{evil}"),
    ("report", "--db", "{db}", "-o", "{folder}/{evil}.html"),
    ("plot", "--db", "{db}", "-o", "{folder}/{evil}.svg"),
    ("export", "{run}", "--db", "{db}", "-o", "{folder}/out"),
    ("export", "{run}", "--to", "csv", "--db", "{db}", "-o", "{folder}/{evil}"),
    ("check", "{db}"),
    ("scrub", "{db}", "-o", "{folder}/{evil}-clean.db"),
    ("merge", "{db}", "{other}", "-o", "{folder}/all.db"),
    ("ask", "{model}", "What is {evil} 2 + 2?", "--max-tokens", "20", "--threads", "1"),
    ("score", "{model}", "{text}", "--threads", "1"),
    ("prompt", "{model}", *OWN),
    ("inspect", "{model}"),
    ("inspect", "{folder}"),
    ("models",),
    ("tasks",),
    ("tasks", "{evil}"),
    ("pull", "{evil}/x"),
    ("quantize", "{model}", "Q8_0", "--out", "{folder}/quants", "--threads", "1"),
    ("compare", "{model}", "abacus-rl", "--text", "{text}", "--threads", "1"),
    ("choose", "{model}", "abacus-rl", "--text", "{text}", "-n", "1", "--threads", "1"),
    ("doctor", "{model}", "--quick"),
    ("view", "--db", "{db}", "--port", "0"),
    ("serve", "--db", "{db}", "--port", "0"),
    ("help", "{evil}"),
    ("{evil}",),
)


def attack(n: int, draw: random.Random, home: Path, seconds: float) -> Outcome:
    """Run n commands, each of them in turn, with one payload a round."""
    done, end = Outcome(), time.monotonic() + seconds
    for i, words in enumerate(islice(takewhile(before(end), cycle(COMMANDS)), n)):
        if i % len(COMMANDS) == 0:
            folder = home / f"round-{i // len(COMMANDS)}"
            values = hostile(folder, PAYLOADS[i // len(COMMANDS) % len(PAYLOADS)])
        done.n_cases += 1
        command = tuple(_filled(word, values) for word in words)
        began = time.monotonic()
        text, code = on_terminal(command, folder, draw.choice([60, 80, 120]))
        done.n_commands, done.slowest = done.n_commands + 1, max(done.slowest, time.monotonic() - began)
        done.codes[code] += 1
        done.faults += [Fault(kind, words[0], command, more) for kind, more in misdeeds(text, code)]
    return done


def misdeeds(text: str, code: int) -> list[tuple[str, str]]:
    """What a command did wrong, from what its terminal got."""
    found = sorted(set(CONTROL.findall(OURS.sub("", text))))
    faults = [("control characters", f"{found} in {text[-600:]!r}")] if found else []
    faults += [("traceback", text[-2000:])] if "Traceback" in text else []
    return faults + ([("hang", text[-600:])] if code == -signal.SIGKILL else [])


def hostile(folder: Path, evil: str) -> dict[str, str]:
    """A folder with a model, problems, a text and a database that bear the payload; the words for commands."""
    folder.mkdir()
    evil = evil.replace("\x00", "")  # which neither a name nor an argument can hold
    paths = {"model": f"m{evil}.gguf", "data": f"d{evil}.jsonl", "text": f"t{evil}.txt", "db": f"b{evil}.db"}
    values = {name: str(folder / file) for name, file in paths.items()} | {"folder": str(folder), "evil": evil}
    content = (ROOT / "localent/demo/abacus-sft-f16.gguf").read_bytes()
    payload = evil.encode()[:10].decode(errors="ignore").encode().ljust(10, b"x")
    Path(values["model"]).write_bytes(content.replace(b"abacus-sft", payload, 1))
    problems = [{"q": f"Ann had {i} {evil} boxes and got 3. How many?", "a": str(i + 3)} for i in range(4)]
    Path(values["data"]).write_text("\n".join(map(json.dumps, problems)))
    Path(values["text"]).write_text(f"Some {evil} words, and some more of them. " * 40)
    values |= {"other": str(folder / "other.db")}
    on_terminal(tuple(_filled(word, values) for word in COMMANDS[0]), folder, 80)
    return values | _poisoned(Path(values["db"]), evil)


def _poisoned(db: Path, evil: str) -> dict[str, str]:
    """Put the payload into the texts of a database; the ids of its run and of a trace."""
    columns = {
        "models": ("name", "path"),
        "problems": ("source_id", "question"),
        "traces": ("answer", "answer_raw"),
        "tokens": ("text",),
        "probes": ("leader",),
        "answers": ("value",),
        "sessions": ("host",),
    }
    with closing(sqlite3.connect(db)) as conn, conn:
        for table, names in columns.items():
            for name in names:
                conn.execute(f"update or ignore {table} set {name} = {name} || ?", (evil,))
        run, trace = conn.execute("select run_id, min(trace_id) from traces").fetchone()
    return {"run": str(run), "trace": str(trace)}


def on_terminal(command: tuple[str, ...], folder: Path, columns: int) -> tuple[str, int]:
    """All that a command writes to a terminal of so many columns, and its exit code."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = os.environ | {"TERM": "xterm-256color", "LOCALENT_CACHE": str(folder.parent / "cache")}
    env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "HF_HUB_OFFLINE": "1"}
    env = {name: value for name, value in env.items() if name not in ("NO_COLOR", "COLUMNS")}
    ends = dict.fromkeys(("stdin", "stdout", "stderr"), slave)
    child = subprocess.Popen(
        [sys.executable, "-m", "localent", *command], cwd=folder, env=env, start_new_session=True, **ends
    )
    os.close(slave)
    with os.fdopen(master, "rb", buffering=0) as terminal:
        return _written(terminal.fileno(), child, command[0] in ("view", "serve")), child.wait()


def _written(terminal: int, child: subprocess.Popen[bytes], serves: bool) -> str:
    """What comes until the command ends; one that serves is told to."""
    found, end = bytearray(), time.monotonic() + (SERVING if serves else SECONDS) * busy()
    while True:
        if time.monotonic() > end:
            os.killpg(child.pid, signal.SIGTERM if serves else signal.SIGKILL)
            serves, end = False, time.monotonic() + SECONDS
        with suppress(OSError):  # EIO: nobody writes any more
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            if block := os.read(terminal, 65536):
                found += block
                continue
        return found.decode("utf-8", "replace")


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace("{" + name + "}", value)
    return word
