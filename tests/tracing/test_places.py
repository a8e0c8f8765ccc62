"""Which prefixes are probed: start, half and end always, the rest spread evenly, never more than asked for."""

from itertools import pairwise

import pytest

from localent.tracing.places import LEAST, probed_at


@pytest.mark.parametrize("n", range(LEAST, 12))
def test_start_half_and_end_are_probed_and_no_more_than_asked_for(n):
    for n_steps in range(60):
        ks = probed_at(n_steps, n)
        assert ks == sorted(set(ks))
        assert len(ks) == min(n, n_steps + 1)
        assert {0, n_steps // 2, n_steps} <= set(ks)
        assert set(ks) <= set(range(n_steps + 1))


@pytest.mark.parametrize("n", range(LEAST, 12))
def test_probes_are_spread_evenly(n):
    """In each half of a long trace no gap is more than a step longer than another."""
    ks = probed_at(200, n)
    for half in ([k for k in ks if k <= 100], [k for k in ks if k >= 100]):
        gaps = [b - a for a, b in pairwise(half)]
        assert max(gaps) - min(gaps) <= 1


def test_all_is_every_step():
    assert probed_at(4, None) == [0, 1, 2, 3, 4]
    assert probed_at(0, None) == [0] == probed_at(0, 5)


def test_five_are_the_quarters():
    assert probed_at(8, 5) == [0, 2, 4, 6, 8]
    assert probed_at(15, 5) == [0, 3, 7, 11, 15]
