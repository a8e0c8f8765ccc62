"""Rules in use: what replay chooses and promises is what comes about when the rule acts on the same traces."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic

from localent import stopping
from localent.analysis import load
from localent.analysis.acting import acted, chosen, promised
from localent.analysis.intervals import Resampling
from localent.analysis.probed import only
from localent.analysis.replay import half, replay
from localent.errors import UsageError
from localent.report import acting as report
from localent.store import open_db

LAW = synthetic.Law(gain=6, token_gap=0.2)
FEW = Resampling(50)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("acting") / "made.db"
    run_id = synthetic.write(path, LAW, n_problems=60, n_samples=2)
    with open_db(path) as db:
        return load.run(db, run_id)


def test_what_replay_reports_is_what_is_promised(run):
    """The same setting, on the same half, with the same savings."""
    rows = {row.key: row for row in replay(run, policy="stop", resampling=FEW).outcomes}
    for key in ("certain_leader", "entropy_threshold", "answer_convergence"):
        stop = chosen(run, stopping.named(key), FEW)
        found = promised(run, stop, FEW)
        assert str(stop) == rows[key].stop
        assert found.gains.saved == rows[key].tokens_saved
        assert found.gains.saved_net == rows[key].tokens_saved_net
        assert found.gains.change.value == pytest.approx(rows[key].change.value)
        assert found.n_problems == 30
        assert found.every_step


def test_a_promise_is_of_the_half_that_the_setting_was_not_chosen_on(run):
    """Counted by hand: the first probe with a leader of at least 0.7."""
    found = promised(run, stopping.parse("certain_leader:0.7"), FEW)
    traces, p, tokens, fed, right = run.traces, run.probes.own, 0, 0, []
    test = np.flatnonzero(~half(traces.problems))
    for i in test:
        k = next((k for k in range(int(p.n_steps[i]) + 1) if p.p_leader[i, k] >= 0.7), None)
        tokens += traces.n_tokens[i] if k is None else p.n_tokens[i, k]
        fed += np.nansum(p.n_fed[i, : None if k is None else k + 1])
        right.append(not traces.wrong[i] if k is None else p.leader_true[i, k] == 1)
    usual = traces.n_tokens[test].sum()
    assert found.gains.saved.value == pytest.approx(1 - tokens / usual)
    assert found.gains.saved_net.value == pytest.approx(1 - (tokens + fed) / usual)
    assert found.gains.change.value == pytest.approx(np.mean(right) - (~traces.wrong[test]).mean())


def test_a_run_is_set_beside_whole_traces_of_the_same_attempts(run):
    """A run in which every second trace was stopped at its last probe: four tokens a step, then two."""
    early = np.arange(len(run.traces)) % 2 == 0
    found = acted(run, early, run.traces, FEW)
    written = np.where(early, 4 * run.traces.n_steps, run.traces.n_tokens)
    fed = 3 * (run.traces.n_steps + 1)
    usual = run.traces.n_tokens.sum()
    assert (found.n, found.n_stopped, found.n_paired) == (120, 60, 120)
    assert found.gains.saved.value == pytest.approx(1 - written.sum() / usual)
    assert found.gains.saved_net.value == pytest.approx(-fed.sum() / usual)
    assert (found.gains.change.value, found.gains.change.n) == (0.0, 120)
    promise = promised(run, stopping.parse("certain_leader:0.7"), FEW)
    said = report.acted(promise.stop, found, promise)
    assert "60 of 120 traces were stopped (certain leader, p 0.7). Beside the whole traces of them" in said


def test_strangers_are_not_compared(run):
    others = run.among(run.traces.problems < "0000000000000010")
    found = acted(run.among(~(run.traces.problems < "0000000000000010")), np.ones(88, bool), others.traces, FEW)
    assert found.n_paired == 0
    assert found.gains.saved.value is None
    promise = promised(run, stopping.parse("certain_leader:0.7"), FEW)
    assert "is not known: no trace of this run has a partner" in report.acted(promise.stop, found, promise)


def test_rules_that_count_probes_need_a_run_probed_after_every_step(run):
    p = run.probes.own
    there = ~np.isnan(p.position)
    kept = there & (np.arange(p.position.shape[1]) % 2 == 0)
    thin = replace(run, probes=replace(run.probes, own=only(p, kept)))
    with pytest.raises(UsageError, match="depends on how often a trace is probed"):
        chosen(thin, stopping.named("answer_convergence"), FEW)
    assert not [row.stop for row in replay(thin, policy="answer_convergence", resampling=FEW).outcomes if row.stop]


def test_what_no_probe_has_read_is_no_policy(run):
    own = run.probes.own
    older = replace(run, probes=replace(run.probes, own=replace(own, next_entropy=np.full_like(own.entropy, np.nan))))
    with pytest.raises(UsageError, match="has what 'EAT' reads: the run was made by an older version"):
        chosen(older, stopping.named("eat"), FEW)
    keys = [{row.key for row in replay(one, policy="stop", resampling=FEW).outcomes} for one in (older, run)]
    assert keys[1] - keys[0] == {"eat", "eat_short"}


def test_a_rule_that_never_warms_up_is_never_chosen(run):
    """Traces of seven probes are too short for EAT as published."""
    with pytest.raises(UsageError, match="Replay found no setting of 'EAT'"):
        chosen(run, stopping.named("eat"), FEW)
    (row,) = replay(run, policy="eat", resampling=FEW).outcomes
    assert (row.setting, row.stop, row.tokens_saved.value) == ("never", "", 0.0)
