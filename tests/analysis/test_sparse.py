"""Traces probed after some of their steps: what is read at those is read as from traces probed after every step."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from helpers.synthetic import Law, write

from localent.analysis import load, signatures
from localent.analysis.beyond_controls import gap_to
from localent.analysis.profile import before_end, mechanisms
from localent.analysis.summary import summarise
from localent.store import open_db
from localent.tracing.places import probed_at

LAW = Law(gain=3.0, control_gain=1.0, steps=(1, 15))
N = 5


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same run twice, (traces, probes): probed after every step, and at five prefixes a trace."""
    found = []
    for sparse in (False, True):
        path = tmp_path_factory.mktemp("sparse") / "made.db"
        run_id = write(path, LAW, n_problems=60)
        if sparse:
            thin(path)
        with open_db(path) as db:
            found.append((load.traces(db, run_id), load.probes(db, run_id)))
    return found


def thin(path):
    """Leave what a run with --probes 5 would have made."""
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("pragma foreign_keys = on")
        for trace_id, n_steps in conn.execute("select trace_id, n_steps from traces").fetchall():
            kept = ", ".join(map(str, probed_at(n_steps, N)))
            conn.execute(f"delete from probes where trace_id = ? and k not in ({kept})", (trace_id,))


def chosen(dense, values):
    """Columns of the probes that are left, side by side: (n, N)."""
    found = np.full((len(values), N), np.nan)
    for i, n_steps in enumerate(dense.n_steps.astype(int)):
        ks = probed_at(n_steps, N)
        found[i, : len(ks)] = values[i, ks]
    return found


@pytest.mark.parametrize("name", ["k", "position", "entropy", "p_true", "leader_true", "p_leader", "n_tokens", "n_fed"])
def test_probes_stand_side_by_side(both, name):
    dense, sparse = (probes.own for _, probes in both)
    assert getattr(sparse, name) == pytest.approx(chosen(dense, getattr(dense, name)), nan_ok=True)


def test_start_half_and_end_are_those_of_every_step(both):
    dense, sparse = (probes.own for _, probes in both)
    assert dense.every_step
    assert not sparse.every_step
    for of in (
        lambda p: p.n_steps,
        lambda p: p.net_motion,
        lambda p: p.half_way(p.entropy),
        lambda p: p.at_end(p.gain),
    ):
        assert of(sparse) == pytest.approx(of(dense), nan_ok=True)
    for t in (0.0, 0.5, 1.0):
        assert sparse.at(sparse.p_true, t) == pytest.approx(dense.at(dense.p_true, t))


def test_motion_is_from_probe_to_probe(both):
    """At most the sum of what it was made of, step by step, and of short traces the same."""
    dense, sparse = (probes.own for _, probes in both)
    path = [np.nansum(p.motion, 1) for p in (dense, sparse)]
    short = dense.n_steps < N
    assert short.any()
    assert path[1][short] == pytest.approx(path[0][short])
    assert (path[1] <= path[0] + 1e-9).all()
    assert (path[1][~short] < path[0][~short]).any()


def test_controls_are_compared_at_the_k_of_the_trace(both):
    (_, dense), (_, sparse) = both
    for name, control in sparse.controls.items():
        every = gap_to(dense.own, dense.controls[name])
        gaps = gap_to(sparse.own, control)
        assert (np.isnan(gaps) == np.isnan(chosen(dense.own, every))).all()
        assert sparse.own.at_end(gaps) == pytest.approx(dense.own.at_end(every), nan_ok=True)


def test_what_is_known_at_the_end_is_known(both):
    dense, sparse = (probes.own for _, probes in both)
    assert (before_end(sparse) <= before_end(dense)).all()
    settled = np.isin(mechanisms(dense), ("stable", "never-discovered", "stochastic-miss", "fragile"))
    assert (mechanisms(dense) == mechanisms(sparse))[settled].all()
    assert signatures.coherence(sparse.entropy) == pytest.approx(signatures.coherence(dense.entropy))


def test_curves_are_by_position_where_traces_share_no_step(both):
    (traces, dense), (_, sparse) = both
    every, some = summarise(traces, dense.own).answers, summarise(traces, sparse.own).answers
    assert every.along.right.at.tolist() == list(range(15))
    assert some.along.right.at.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert (some.p_true_along.n == 60).all()  # each trace counts at each point
    for i, t in ((0, 0.0), (2, 0.5), (4, 1.0)):
        assert some.p_true_along.value[i] == pytest.approx(np.mean(dense.own.at(dense.own.p_true, t)))
