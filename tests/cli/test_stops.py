"""SIGTERM and Ctrl-C: obeyed at any moment, with no part of a file and no child process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ctrl_c
from helpers.made import made
from helpers.runs import call

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no process groups")


def started(words, folder):
    """A command in a session of its own, which hears Ctrl-C also where the tests run in the background."""
    env = _env() | {"LOCALENT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "localent", *map(str, words)]
    options = dict(cwd=folder, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return subprocess.Popen(command, preexec_fn=ctrl_c.heard, **options)


def seen(path, child, seconds=60):
    """Wait until a file of this pattern is there."""
    end = time.monotonic() + seconds
    while not any(path.parent.glob(path.name)):
        assert child.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_an_export_that_is_ended_leaves_no_part(tmp_path, number):
    made(tmp_path / "a.db", n_problems=400, n_steps=20)
    child = started(["export", "0012", "--db", "a.db", "-o", "out", "--to", "jsonl"], tmp_path)
    seen(tmp_path / "out" / "*.part", child)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "Stopped. Finished work is kept" in err
    assert not list((tmp_path / "out").glob("*.part"))


DROPPED = """
import os, signal, time, click
from localent.cli.group import Commands
signal.signal(signal.SIGINT, signal.default_int_handler)
class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(10))
group = Commands()
@group.command()
def work():
    Dropped()
    for _ in range(500):
        time.sleep(0.01)
group(["work"])
"""


def test_ctrl_c_is_never_lost_in_a_destructor():
    """Python prints an exception that a destructor or a weakref callback raises, and goes on."""
    done = subprocess.run([sys.executable, "-c", DROPPED], timeout=60, env=_env(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        130,
        "localent: Stopped. Finished work is kept; the same command continues it.\n",
    )


EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "click":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from localent.__main__ import main
main()
"""


def test_ctrl_c_while_the_command_line_is_imported_ends_without_a_traceback():
    done = subprocess.run([sys.executable, "-c", EARLY], timeout=60, env=_env(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_model_that_is_tried_leaves_no_child(tmp_path, random_model):
    """The child process that tries an odd file goes with the command."""
    child = started(["prompt", random_model("tiny-mamba"), "demo-number"], tmp_path)
    children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
    if not children.exists():
        child.kill()
        pytest.skip("this system does not list the children of a process")
    while not children.read_text():
        assert child.poll() is None
        time.sleep(0.002)
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    time.sleep(0.5)
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


def test_signals_are_given_back(tmp_path):
    """To a program that calls a command in its own process."""
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    assert call("runs", "--db", tmp_path / "none.db")[0] == 2
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


CHATTY = """
import os, signal, sys, threading, time
from localent.engine import Options, Prompt, open as open_model
signal.signal(signal.SIGINT, signal.default_int_handler)
def shoot():
    time.sleep(float(sys.argv[2]))
    os.kill(os.getpid(), signal.SIGINT)
with open_model(sys.argv[1]) as model:
    threading.Thread(target=shoot).start()
    try:
        while True:
            with model.lanes(Options(n_lanes=2, n_ctx=64, n_threads=1)) as engine:
                engine.prefill(0, Prompt([1, 2, 3]))
                for _ in range(4):
                    engine.decode([5, None])
    except KeyboardInterrupt:
        os._exit(7)
"""


def test_ctrl_c_is_never_lost_in_the_log_of_llama_cpp(random_model):
    """New contexts, decodes and their ends all log; a handler that raised in there was ignored."""
    path = str(random_model("tiny-llama"))
    for i in range(12):
        done = subprocess.run([sys.executable, "-c", CHATTY, path, str(0.05 + 0.003 * i)], timeout=60, env=_env())
        assert done.returncode == 7


def _env():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
