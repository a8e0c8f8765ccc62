"""Rollouts after every step: added to those there are, the same at once or in pieces."""

import pytest
from helpers import written
from helpers.runs import call, content, query

ASKED = ("--threads", 1, "--lanes", 3, "--max-tokens", 40, "--temperature", 1.0, "--gpu-layers", 0)
RUN = ("run", "abacus-sft", "demo-number", "-n", 2, *ASKED, "--cue", "sentence", "--paths", 0, "--probes", 3)


@pytest.fixture(autouse=True)
def on_a_script(bundled):
    with written.model(bundled):
        yield


def test_rollouts_after_every_step_join_those_where_a_trace_is_probed(tmp_path):
    once, twice = tmp_path / "once.db", tmp_path / "twice.db"
    assert call(*RUN, "--rollouts", 16, "--every-step", "--db", once)[0] == 0
    assert call(*RUN, "--rollouts", 16, "--db", twice)[0] == 0
    few = query(twice, "select count(*) from probes where n_rollouts is not null")
    assert call(*RUN, "--rollouts", 16, "--every-step", "--db", twice)[0] == 0
    assert content(once) == content(twice)
    steps = query(once, "select sum(n_steps + 1) from traces")
    assert query(once, "select count(*) from probes where n_rollouts is not null") == steps != few
    singles = query(once, "select count(*) from step_importance where first_k = k")
    assert singles == query(once, "select sum(n_steps) from traces")
    code, _, err = call(*RUN, "--rollouts", 32, "--every-step", "--db", once)
    assert (code, "has rollouts of 16 continuations a prefix, not 32" in err) == (2, True)
    code, _, err = call(*RUN, "--every-step", "--db", once)
    assert (code, "A run without --rollouts does not use --every-step" in err) == (2, True)
