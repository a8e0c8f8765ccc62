"""Work on a dask cluster: the rows of one machine, whatever happens to workers, scheduler and client."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import written
from helpers.runs import call, query
from helpers.stored import tables

from localent import runs, tasks
from localent.cli import main
from localent.engine import Prompt
from localent.errors import LocalentError, UsageError
from localent.runs import Listener, Settings

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

from localent import cluster  # noqa: E402
from localent.cluster.client import PREFIX  # noqa: E402
from localent.cluster.connect import is_loopback  # noqa: E402
from localent.cluster.lanes import Lanes  # noqa: E402

SETTINGS = Settings(
    threads=1, lanes=3, max_tokens=60, temperature=1.0, gpu_layers=0, cue="sentence", probes=None, paths=0
)
TASK = tasks.load("demo-number").first(8)
SAMPLES = 2
HELPERS = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore")  # dask's own


@pytest.fixture(scope="module")
def whole(bundled, tmp_path_factory):
    """The run on one machine."""
    path = tmp_path_factory.mktemp("whole") / "whole.db"
    with written.model(bundled):
        runs.run(str(bundled), TASK, db=path, samples=SAMPLES, settings=SETTINGS)
    return path


@contextmanager
def threads(n=2, **options):
    """A cluster whose workers are threads of this process, so that they know its scripted models."""
    how = dict(threads_per_worker=1, processes=False, dashboard_address=None) | options
    with distributed.LocalCluster(n_workers=n, **how) as made:
        yield made


@contextmanager
def processes(n, monkeypatch, pause):
    """A cluster of processes; a killed one is started again."""
    monkeypatch.setenv("LOCALENT_TEST_PAUSE", str(pause))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), str(HELPERS.parent)]))
    how = dict(
        threads_per_worker=1, dashboard_address=None, memory_limit=0, preload=[str(HELPERS / "helpers/slow_worker.py")]
    )
    with distributed.LocalCluster(n_workers=n, **how) as made:
        yield made


def made(of, db, *, model="abacus-sft", settings=SETTINGS, task=TASK, **options):
    address = cluster.Cluster(address=of.scheduler_address)
    return cluster.run(model, task, db=db, cluster=address, samples=SAMPLES, settings=settings, **options)


def test_two_workers_make_the_rows_of_one_machine(bundled, whole, tmp_path):
    notes = []
    with written.model(bundled), threads() as of:
        outcome = made(of, tmp_path / "a.db", listener=Listener(note=notes.append))
        again = made(of, tmp_path / "a.db")
        more = made(of, tmp_path / "b.db", task=TASK.first(3))
    assert tables(tmp_path / "a.db") == tables(whole)
    assert (outcome.n_before, outcome.n_new, outcome.n_left) == (0, 16, 0)
    assert (again.n_before, again.n_new) == (16, 0)
    assert more.n_new == 6
    made_by = query(tmp_path / "a.db", "select closed, n_traces from sessions join origins using (session_id)")
    assert len(made_by) == 16
    assert sum(n for _, n in set(query(tmp_path / "a.db", "select session_id, n_traces from sessions"))) == 16


def test_what_is_there_is_not_made_again_and_lanes_stay(bundled, whole, tmp_path):
    """A run begun on one machine, with lanes of its own, goes on on a cluster that is told none."""
    with written.model(bundled), threads(1) as of:
        runs.run(str(bundled), TASK.first(3), db=tmp_path / "a.db", samples=SAMPLES, settings=SETTINGS)
        outcome = made(of, tmp_path / "a.db", settings=replace(SETTINGS, lanes=None))
    assert (outcome.n_before, outcome.n_new, outcome.lanes) == (6, 10, 3)
    assert tables(tmp_path / "a.db") == tables(whole)


def test_a_part_of_a_run_is_made_by_a_cluster_too(bundled, tmp_path):
    from localent.runs.shard import Shard
    from localent.store.merge import merge

    parts = [tmp_path / f"{k}.db" for k in (1, 2)]
    with written.model(bundled), threads(1) as of:
        for k, part in enumerate(parts, 1):
            made(of, part, settings=replace(SETTINGS, shard=Shard(k, 2)))
    merge(parts, tmp_path / "all.db")
    assert query(tmp_path / "all.db", "select count(*) from traces") == [(16,)]


def test_workers_that_would_make_another_run_get_no_work(bundled, whole, tmp_path, monkeypatch):
    """The second has another processor: it is named, with what differs; the rows are those of one machine."""
    from localent.runs import session

    build_of, notes = session.build_of, []

    def of_worker(path, layers):
        name = threading.current_thread().name
        return build_of(path, layers) | ({"processor": "another"} if name in odd else {})

    init, odd = Lanes.__init__, set()

    def named(self, job, worker):
        init(self, job, worker)
        self._thread.name = worker

    monkeypatch.setattr(session, "build_of", of_worker)
    monkeypatch.setattr(Lanes, "__init__", named)
    with written.model(bundled), threads() as of:
        odd.add(of.workers[1].address)
        made(of, tmp_path / "a.db", listener=Listener(note=notes.append))
    assert tables(tmp_path / "a.db") == tables(whole)
    assert [note for note in notes if "gets no work: it would make another run, which differs in processor" in note]
    assert len(query(tmp_path / "a.db", "select * from sessions")) == 1


def test_a_worker_without_the_model_is_refused_or_fetches_it(bundled, tmp_path, monkeypatch):
    from localent import models

    with threads(1) as of:
        with pytest.raises(LocalentError, match=r"None of 1 workers can make this run; .*no\.gguf"):
            made(of, tmp_path / "a.db", model="/nowhere/no.gguf")
        with written.model(bundled):
            monkeypatch.setattr(models, "pull", lambda name: bundled)
            with pytest.raises(LocalentError, match="localent pull"):
                made(of, tmp_path / "a.db", model="smollm2-135m-instruct")
            where = cluster.Cluster(address=of.scheduler_address, fetch=True)
            task, options = TASK.first(2), dict(db=tmp_path / "b.db", settings=SETTINGS)
            assert cluster.run("smollm2-135m-instruct", task, cluster=where, **options).n_new == 2


def test_another_version_is_refused(bundled, tmp_path, monkeypatch):
    from localent.cluster import job

    with written.model(bundled), threads(1) as of:
        monkeypatch.setattr(job.Job.__init__, "__defaults__", (False, None, "0.0.1"))
        with pytest.raises(LocalentError, match=r"it has localent .*, not 0\.0\.1"):
            made(of, tmp_path / "a.db")


def test_an_attempt_that_fails_is_named(bundled, tmp_path, monkeypatch):
    from localent.cluster import lanes

    def broken(*_):
        yield Prompt([1])
        raise LocalentError("Its logits are no distribution.")

    monkeypatch.setattr(lanes, "attempts", lambda *_: iter([broken()]))
    with written.model(bundled), threads(1) as of, pytest.raises(LocalentError, match="no distribution"):
        made(of, tmp_path / "a.db")


def test_workers_that_come_later_and_leave_change_nothing(bundled, whole, tmp_path):
    """Begun without any worker; one comes, makes some, leaves; two more come."""
    with written.model(bundled), threads(0) as of:
        script = [lambda: of.scale(1), lambda: of.scale(0), lambda: of.scale(2)]

        def act():
            for step in script:
                time.sleep(1.5)
                step()

        thread = threading.Thread(target=act)
        thread.start()
        made(of, tmp_path / "a.db")
        thread.join()
    assert tables(tmp_path / "a.db") == tables(whole)


def test_killed_workers_change_nothing(whole, tmp_path, monkeypatch):
    """Two processes; after every fourth trace one of them is killed, with what is in its lanes."""
    killed, rng = [], random.Random(0)
    with processes(2, monkeypatch, 0.002) as of:

        def kill(progress):
            if progress.n_done >= 4 * (len(killed) + 1):
                nannies = [one for one in of.workers.values() if one.worker_address in of.scheduler.workers]
                killed.append(rng.choice(nannies).pid)  # one killed while it starts is not started again
                os.kill(killed[-1], signal.SIGKILL)

        made(of, tmp_path / "a.db", listener=Listener(report=kill))
    assert killed
    assert tables(tmp_path / "a.db") == tables(whole)


CLIENT = """
import sys
from localent.cli import main
print("ready", flush=True)
main(sys.argv[1:], prog_name="localent")
"""


def test_a_client_that_is_killed_goes_on_and_makes_nothing_twice_but_what_was_under_way(whole, tmp_path, monkeypatch):
    how = (
        "--threads",
        1,
        "--lanes",
        3,
        "--max-tokens",
        60,
        "--temperature",
        1.0,
        "--gpu-layers",
        0,
        "--cue",
        "sentence",
    )
    how = (*how, "--paths", 0, "--probes", "all", "-n", 8, "--samples", SAMPLES)
    db = tmp_path / "a.db"
    with processes(2, monkeypatch, 0.005) as of:
        words = ("run", "abacus-sft", "demo-number", *how, "--dask", of.scheduler_address, "--db", db)
        with subprocess.Popen([sys.executable, "-c", CLIENT, *map(str, words)], stdout=subprocess.PIPE) as process:
            until = time.monotonic() + 120
            while time.monotonic() < until and not (db.exists() and has_traces(db, 2)):
                time.sleep(0.1)
            process.kill()
        n_before = query(db, "select count(*) from traces")[0][0]
        code, _, err = call(*words)
        assert code == 0, err
        left = query(db, "select sum(n_traces) from sessions")
        assert [name for name in of.scheduler.worker_plugins if name.startswith(PREFIX)] == []  # dask has its own
    assert 2 <= n_before < 16
    assert left == [(16,)]
    assert tables(db) == tables(whole)


def has_traces(db, n):
    try:
        return query(db, "select count(*) from traces")[0][0] >= n
    except Exception:
        return False


def test_a_scheduler_that_dies_is_told_and_what_is_finished_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster.connect, "TIMEOUT_S", 5)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, processes=False) as of:
        address = of.scheduler_address
    with pytest.raises(LocalentError, match="No dask scheduler answers at"):
        cluster.run("abacus-sft", TASK, db=tmp_path / "a.db", cluster=cluster.Cluster(address=address))


SCHEDULER = """
import distributed, time
from helpers import slow_worker
slow_worker.dask_setup(None)
how = dict(threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None)
print(distributed.LocalCluster(n_workers=1, **how).scheduler_address, flush=True)
time.sleep(600)
"""


def test_a_scheduler_that_dies_at_work_leaves_what_was_finished(whole, tmp_path, monkeypatch):
    """Killed with its worker after the third trace; another one goes on."""
    monkeypatch.setenv("LOCALENT_TEST_PAUSE", "0.02")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), str(HELPERS.parent)]))
    with subprocess.Popen([sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, text=True) as process:
        where = cluster.Cluster(address=process.stdout.readline().strip())

        def kill(progress):
            if progress.n_done == 3:
                process.kill()

        with pytest.raises(LocalentError, match="scheduler is gone; what was finished is stored"):
            cluster.run(
                *("abacus-sft", TASK), db=tmp_path / "a.db", cluster=where, samples=SAMPLES, settings=SETTINGS,
                listener=Listener(report=kill),
            )  # fmt: skip
    n_before = query(tmp_path / "a.db", "select count(*) from traces")[0][0]
    assert 3 <= n_before < 16
    monkeypatch.setenv("LOCALENT_TEST_PAUSE", "0")
    with processes(1, monkeypatch, 0) as of:
        outcome = made(of, tmp_path / "a.db")
    assert (outcome.n_before, outcome.n_new) == (n_before, 16 - n_before)
    assert tables(tmp_path / "a.db") == tables(whole)


def test_two_clients_that_write_into_one_file_make_one_run(bundled, whole, tmp_path):
    """The same command given twice at once: the rows of one machine, each trace counted for one session."""
    ended = []
    with written.model(bundled), threads() as of:
        both = [threading.Thread(target=lambda: ended.append(made(of, tmp_path / "a.db"))) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
    assert len(ended) == 2
    assert tables(tmp_path / "a.db") == tables(whole)
    assert query(tmp_path / "a.db", "select sum(n_traces) from sessions") == [(16,)]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_tls_is_taken_from_dasks_configuration(bundled, whole, tmp_path):
    """With certificates a tls:// address is reached and not warned about; without them it is not reached."""
    key, cert, notes = tmp_path / "key.pem", tmp_path / "cert.pem", []
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localent"
    subprocess.run([*make.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    mine = {"key": str(key), "cert": str(cert)}
    tls = {"ca-file": str(cert), "client": mine, "scheduler": mine, "worker": mine}
    tls = {f"distributed.comm.tls.{key}": value for key, value in tls.items()}
    with written.model(bundled):
        with dask.config.set(tls), threads(1, protocol="tls://") as of:
            assert of.scheduler_address.startswith("tls://")
            made(of, tmp_path / "a.db", listener=Listener(note=notes.append))
        with pytest.raises(LocalentError, match="No dask scheduler answers at tls://"):
            made(SimpleNamespace(scheduler_address="tls://127.0.0.1:1"), tmp_path / "b.db")
    assert not [note for note in notes if "TLS" in note]
    assert tables(tmp_path / "a.db") == tables(whole)


def test_time_that_is_up_ends_the_work(bundled, tmp_path):
    from localent.runs.clock import limited

    with written.model(bundled), threads(1) as of:
        outcome = made(of, tmp_path / "a.db", listener=Listener(time=limited(1e-5)))
    assert (outcome.n_new, outcome.n_left) == (0, 16)


def test_a_scheduler_that_others_can_reach_without_tls_is_warned_about():
    assert is_loopback("tcp://127.0.0.1:8786")
    assert is_loopback("tcp://localhost:8786")
    assert not is_loopback("tcp://10.0.0.7:8786")
    notes = []
    where = cluster.Cluster(address="tcp://10.255.255.1:1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "Client", refusing)
        with pytest.raises(LocalentError), where.client(Listener(note=notes.append)):
            pass
    assert "without TLS" in notes[0]


def refusing(*_, **__):
    raise OSError("nobody")


def test_options_that_do_nothing_are_refused(tmp_path):
    for given, words in [
        (("--dask", "tcp://127.0.0.1:1", "--workers", 2), "give one of them"),
        (("--fetch",), "does not use --fetch"),
        (("--workers", 2, "--rollouts", 16), "does not use --rollouts"),
        (("--rpc", "host:1"), "is built without"),
    ]:
        code, _, err = call("run", "abacus-sft", "demo-number", *given, "--db", tmp_path / "a.db")
        assert code == 2
        assert words in " ".join(err.split())
    with pytest.raises(UsageError):
        cluster.Cluster()


def test_without_dask_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = call("run", "abacus-sft", "demo-number", "--workers", 1, "--db", tmp_path / "a.db")
    assert code == 1
    assert "pip install 'localent[cluster]'" in " ".join(err.split())


def test_help_and_import_do_not_wait_for_dask():
    code = "import sys, localent, localent.cli, localent.cluster; print('distributed' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "--dask" in call("run", "--help")[1]
    assert main
