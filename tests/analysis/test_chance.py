"""Accuracy against blind guesses: the exact binomial of one trace a problem, and what is said at chance."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic
from helpers.simulated import labelled

from localent.analysis import load
from localent.analysis.chance import against_chance
from localent.analysis.readings import AT_CHANCE
from localent.analysis.signals import signals
from localent.analysis.summary import summarise
from localent.report.terminal import render
from localent.store import open_db


def made(right, chance):
    """One trace of each problem; right: how many are right."""
    n = len(chance)
    traces = labelled(np.arange(n) >= right, [f"p{i}" for i in range(n)], np.ones(n))
    return replace(traces, chance=np.asarray(chance, float))


@pytest.mark.parametrize(("right", "n"), [(0, 8), (3, 10), (10, 24), (24, 24)])
def test_p_is_the_upper_tail_of_the_binomial(right, n):
    tail = math.fsum(math.comb(n, k) * 0.25**k * 0.75 ** (n - k) for k in range(right, n + 1))
    found = against_chance(made(right, [0.25] * n))
    assert (found.level, found.n_right, found.n) == (0.25, right, n)
    assert found.p == pytest.approx(tail, rel=1e-12)
    assert found.at_chance == (tail >= 0.05)


def test_problems_of_several_levels_are_never_found_too_surprising():
    """The exact tail of the sum of different Bernoullis, by convolution, is below the p that is given."""
    levels = [0.2, 0.5, 0.25, 1 / 3] * 6
    exact = np.array([1.0])
    for level in levels:
        exact = np.convolve(exact, [1 - level, level])
    for right in range(9, 25):
        assert against_chance(made(right, levels)).p >= exact[right:].sum() - 1e-12


def test_each_problem_counts_once_by_its_first_trace():
    n = 40
    problems, samples = np.repeat([f"p{i}" for i in range(n)], 3), np.tile([2, 0, 1], n)
    traces = replace(labelled(samples != 0, problems, np.ones(3 * n)), samples=samples, chance=np.full(3 * n, 0.25))
    found = against_chance(traces)
    assert (found.n_right, found.n) == (n, n)


def test_numbers_and_kinds_that_are_not_known_have_no_chance():
    assert against_chance(made(3, [0.0] * 9)) is None
    assert against_chance(made(3, [np.nan] * 9)) is None
    assert against_chance(made(0, [])) is None


@pytest.fixture
def stored(tmp_path):
    """Function: share of right traces -> a stored run of four options, read back."""

    def make(share):
        run_id = synthetic.write(tmp_path / "made.db", synthetic.Law(share_right=share), n_problems=120)
        with open_db(tmp_path / "made.db", readonly=True) as db:
            return load.run(db, run_id)

    return make


def test_at_chance_a_sentence_stands_in_place_of_what_is_read_from_a_run(stored):
    run = stored(0.22)
    text = " ".join(render(summarise(run.traces, run.probes.own)).split())
    assert "chance 25.0 %" in text
    assert "the format does not work for this model, so there is no verdict" in text
    assert "tells wrong traces" not in text
    found = signals(run)
    assert {row.reading for row in found.rows} == {AT_CHANCE}
    assert found.notes[0] == found.chance.sentence


def test_above_chance_a_run_is_read_as_ever(stored):
    run = stored(0.6)
    text = render(summarise(run.traces, run.probes.own))
    assert "chance 25.0 %" in text
    assert "does not work" not in text
    assert AT_CHANCE not in {row.reading for row in signals(run).rows}


def test_few_problems_may_be_the_reason():
    assert "or there are too few problems to tell" in against_chance(made(2, [0.25] * 6)).sentence
