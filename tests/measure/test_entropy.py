"""The measures against float64 references, identities and hand values; and that a row costs no vocabulary of memory."""

import math
import tracemalloc

import numpy as np
import pytest
import scipy.special
import scipy.stats

from localent.errors import LocalentError
from localent.measure import divergence
from localent.measure import entropy as ent
from localent.measure.meter import CHUNK, Meter

SIZES = [32, 511, 512, 513, 4097, 32_064, 50_257, 151_936, 262_144]


def reference(row):
    """Every measure in float64, straight from its definition."""
    x = row.astype(np.float64)
    lp = scipy.special.log_softmax(x)
    p = np.exp(lp)
    h = scipy.stats.entropy(p)
    finite = np.where(p > 0, lp, 0.0)
    falling = np.sort(lp)[::-1]
    return {
        "entropy": h,
        "varentropy": (p * (finite + h) ** 2).sum(),
        "renyi2": -np.log((p**2).sum()),
        "top1_prob": p.max(),
        "margin": falling[0] - falling[1],
        "self_certainty": -np.log(x.size) - lp.mean(),
        "top1_id": int(x.argmax()),
    }


def rows(n, seed=0):
    """Random, peaked, tied, all-equal, ramps, impossible tokens, huge logits: (name, (n,) float32)."""
    r = np.random.default_rng(seed)
    for sd in (0.01, 0.1, 1, 2, 3, 5, 10):
        yield f"gauss sd {sd}", r.normal(3.3, sd, n)
    for gap in (12, 15, 20, 40, 95, 200):
        row = r.normal(-0.7, 2.5, n)
        row[n // 3] = gap
        row[n // 2] = gap - 0.9
        yield f"peak {gap}", row
    yield "equal", np.full(n, 0.3)
    yield "zero", np.zeros(n)
    for width in (1, 10, 40):
        yield f"ramp {width}", np.linspace(-width + 0.123, 0.123, n)
    for gap in (3.7, 8.1, 10.3, 12.5, 15.9):
        row = np.full(n, -3.3)
        row[n // 3] += gap
        yield f"two levels {gap}", row
        row = r.choice([-1 / 3, -0.11, 0.21], n)
        row[n // 3] = gap
        yield f"three levels {gap}", row
        row = r.normal(-3.3, 1e-3, n)
        row[n - 1] += gap
        yield f"nearly tied {gap}", row
        row = r.normal(-3.3, 2, n)
        row[r.random(n) < 0.3] = 1.1
        row[0] = 1.1 + gap
        yield f"partly tied {gap}", row
    row = r.normal(0, 3, n)
    row[[n // 5, n // 7]] = 40
    yield "tied at the top", row
    yield "far from zero", r.normal(1e4, 2, n)
    yield "far below zero", r.normal(-1e4, 2, n)
    yield "huge", r.normal(0, 1e30, n)
    yield "beyond float32's range of differences", np.where(np.arange(n) % 2, 3e38, -3e38) + 0.0
    row = r.normal(0, 2, n)
    row[::3] = -np.inf
    yield "a third impossible", row
    row = np.full(n, -np.inf)
    row[n // 2] = -7.5
    yield "one possible", row
    row = np.full(n, -np.inf)
    row[[1, n - 1]] = 2.25
    yield "two possible", row


@pytest.mark.parametrize("n", SIZES)
def test_a_reading_equals_the_float64_reference(n):
    """Entropy within 1e-6 nats at every size and on every kind of row; varentropy within 1e-5 of its value."""
    meter = Meter(n)
    for name, row in rows(n):
        row = row.astype(np.float32)
        got, want = meter.read(row), reference(row)
        where = f"{name}, n_vocab {n}"
        assert got.entropy == pytest.approx(want["entropy"], abs=1e-6, rel=0), where
        assert got.varentropy == pytest.approx(want["varentropy"], abs=1e-9, rel=1e-5), where
        assert got.renyi2 == pytest.approx(want["renyi2"], abs=1e-6, rel=0), where
        assert got.top1_prob == pytest.approx(want["top1_prob"], rel=1e-6), where
        assert got.margin == pytest.approx(want["margin"], abs=1e-6, rel=1e-12), where
        assert got.self_certainty == pytest.approx(want["self_certainty"], abs=2e-6, rel=1e-6), where
        assert got.top1_id == want["top1_id"], where
        assert got.masses.sum() == pytest.approx(math.exp(got.log_normaliser), rel=1e-6), where
        for value in (got.entropy, got.varentropy, got.renyi2, got.top1_prob, got.margin, got.self_certainty):
            assert type(value) is float, "numpy scalars become BLOBs in SQLite"
            assert value >= 0, where


@pytest.mark.parametrize("n", SIZES)
def test_surprisal_and_rank_equal_the_reference(n):
    """Also for tokens in the far tail, tied tokens and impossible ones (surprisal inf)."""
    meter = Meter(n)
    r = np.random.default_rng(n)
    for name, row in rows(n):
        row = row.astype(np.float32)
        reading = meter.read(row)
        lp = scipy.special.log_softmax(row.astype(np.float64))
        for token_id in [0, n - 1, int(row.argmax()), int(row.argmin()), *r.integers(0, n, 3).tolist()]:
            taken = meter.taken(row, reading, token_id)
            assert taken.surprisal == pytest.approx(-lp[token_id], abs=1e-6, rel=1e-12), name
            assert taken.rank == 1 + int((row > row[token_id]).sum()), name
            assert type(taken.surprisal) is float
            assert type(taken.rank) is int


def test_few_level_rows_are_exact_however_the_levels_fall():
    """Ties make float32 rounding a bias (3e-6 nats seen): such rows must take the float64 sweep."""
    r = np.random.default_rng(5)
    for n in (6_000, 20_000, 151_936):
        meter = Meter(n)
        for _ in range(40):
            levels = r.normal(r.uniform(-20, 20), r.choice([0.01, 0.5, 3]), int(r.integers(1, 40)))
            row = r.choice(levels, n)
            row[r.integers(0, n, 2)] = levels.max() + r.uniform(2, 17)
            row = row.astype(np.float32)
            assert meter.read(row).entropy == pytest.approx(reference(row)["entropy"], abs=1e-6, rel=0)


def test_measures_do_not_move_when_all_logits_shift():
    """Softmax is shift invariant; a shift by a power of two of short floats is exact in float32."""
    r = np.random.default_rng(1)
    row = np.round(r.normal(0, 3, 50_257) * 64).astype(np.float32) / 64
    meter = Meter(row.size)
    a, b = meter.read(row), meter.read(row + np.float32(1024))
    for name in ("entropy", "varentropy", "renyi2", "top1_prob", "margin", "self_certainty"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-9)


def test_entropies_are_ordered():
    """min-entropy <= Rényi-2 <= Shannon <= ln V, and Rényi-2 <= 2 min-entropy."""
    for n in (513, 32_064):
        meter = Meter(n)
        for _, row in rows(n, seed=3):
            m = meter.read(row.astype(np.float32))
            assert m.min_entropy <= m.renyi2 + 1e-6
            assert m.renyi2 <= 2 * m.min_entropy + 1e-6
            assert m.renyi2 <= m.entropy + 1e-6
            assert m.entropy <= math.log(n) + 1e-6
            assert m.min_entropy == pytest.approx(-math.log(m.top1_prob))


def test_hand_values():
    """p = 1/2, 1/4, 1/8, 1/8: H = 7/4 ln 2, varentropy = 11/16 ln² 2, sum p² = 11/32, margin ln 2."""
    row = np.log(np.array([0.25, 0.125, 0.5, 0.125])).astype(np.float32)
    meter = Meter(4)
    reading = meter.read(row)
    assert reading.entropy == pytest.approx(1.75 * math.log(2), abs=1e-6)
    assert reading.varentropy == pytest.approx(0.6875 * math.log(2) ** 2, rel=1e-5)
    assert reading.renyi2 == pytest.approx(-math.log(11 / 32), abs=1e-6)
    assert reading.top1_prob == pytest.approx(0.5, abs=1e-6)
    assert reading.margin == pytest.approx(math.log(2), abs=1e-6)
    assert reading.self_certainty == pytest.approx(9 / 4 * math.log(2) - math.log(4), abs=1e-6)
    assert reading.top1_id == 2
    assert meter.taken(row, reading, 0).surprisal == pytest.approx(math.log(4), abs=1e-6)
    assert [meter.taken(row, reading, t).rank for t in range(4)] == [2, 3, 1, 3]


def test_uniform_rows_read_ln_v_and_never_by_accident():
    """All logits equal is ln V, margin 0, self-certainty 0; a single changed logit is seen."""
    for n in SIZES:
        meter = Meter(n)
        row = np.full(n, -3.7, np.float32)
        reading = meter.read(row)
        assert reading.entropy == pytest.approx(math.log(n), abs=1e-9)
        assert (reading.margin, reading.top1_id) == (0.0, 0)
        assert reading.varentropy == pytest.approx(0, abs=1e-9)
        assert reading.self_certainty == pytest.approx(0, abs=1e-6)
        row[n - 1] += 20
        assert meter.read(row).entropy < math.log(n) - 0.001
        assert meter.read(row).top1_id == n - 1


@pytest.mark.parametrize("n", [40, 5_000, 151_936])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 0.4, 1])
def test_a_broken_row_is_an_error(n, bad, where):
    """NaN or +inf anywhere stops the run and says so; it never becomes a number."""
    row = np.random.default_rng(0).normal(0, 1, n).astype(np.float32)
    row[int(where * (n - 1))] = bad
    row[n // 2] = -np.inf
    with pytest.raises(LocalentError, match=r"The logits row is broken: 1|The logits row is broken: 0 NaN and 1"):
        Meter(n).read(row)


def test_a_row_of_nothing_possible_is_an_error():
    with pytest.raises(LocalentError, match="nothing but -inf"):
        Meter(600).read(np.full(600, -np.inf, np.float32))


def test_a_row_of_another_shape_or_type_is_an_error():
    meter = Meter(600)
    for row in (np.zeros(599, np.float32), np.zeros(600), np.zeros((1, 600), np.float32), np.zeros(1200, "f4")[::2]):
        with pytest.raises(LocalentError, match="Expected a contiguous float32 logits row of 600"):
            meter.read(row)
    reading = meter.read(np.zeros(600, np.float32))
    for token_id in (-1, 600):
        with pytest.raises(LocalentError, match="not in a vocabulary of 600"):
            meter.taken(np.zeros(600, np.float32), reading, token_id)
    with pytest.raises(LocalentError, match="at least 2"):
        Meter(1)


@pytest.mark.parametrize("n", [700, 50_257, 151_936])
def test_a_row_is_never_written_to_and_its_place_in_memory_changes_nothing(n):
    """Read-only views are accepted; a misaligned copy, and another row in between, give the same bits."""
    row = np.random.default_rng(2).normal(0, 4, n).astype(np.float32)
    row.flags.writeable = False
    memory = np.zeros(4 * n + 4, np.uint8)[4:].view(np.float32)
    memory[:] = row
    meter = Meter(n)
    first = meter.read(row)
    meter.read(-row)
    for again in (meter.read(memory), Meter(n).read(row)):
        assert again.masses.tobytes() == first.masses.tobytes()
        for name in ("entropy", "varentropy", "renyi2", "top1_prob", "margin", "self_certainty", "log_normaliser"):
            assert getattr(again, name) == getattr(first, name)


def test_a_token_costs_no_memory_of_vocabulary_size():
    """Reading, taking and measuring 151,936 logits stays below one byte per logit."""
    n = 151_936
    row = np.random.default_rng(3).normal(0, 2.5, n).astype(np.float32)
    row[[70_000, 90_000]] = 18, 17
    masked = row.copy()
    masked[: n // 2] = -np.inf
    meter = Meter(n)
    for logits in (row, np.zeros(n, np.float32), masked):
        tracemalloc.start()
        reading = meter.read(logits)
        meter.taken(logits, reading, 1234)
        meter.tempered(logits, reading, 0.7)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < n


@pytest.mark.parametrize("n", [32, 1_000, 151_936])
@pytest.mark.parametrize("k", [1, 5, 20])
def test_top_k_measures_equal_the_reference(n, k):
    """Confidence, and what an API that shows k log-probabilities would have missed."""
    meter = Meter(n)
    for name, row in rows(n):
        row = row.astype(np.float32)
        reading = meter.read(row)
        got = meter.topk(row, reading, k)
        lp = np.sort(scipy.special.log_softmax(row.astype(np.float64)))[::-1][:k]
        p = np.exp(lp)
        assert got.confidence == pytest.approx(-lp.mean(), abs=1e-6, rel=1e-9), name
        partial = -(p * np.where(p > 0, lp, 0)).sum()
        assert got.partial_bias == pytest.approx(reading.entropy - partial, abs=2e-6), name
        assert got.renormalised_bias == pytest.approx(reading.entropy - scipy.stats.entropy(p), abs=2e-6), name


def test_truncation_of_a_uniform_row_by_hand():
    """Of 1000 equal tokens, 20 show 20/1000 ln 1000 of the sum, or ln 20 rescaled."""
    meter = Meter(1000)
    row = np.zeros(1000, np.float32)
    got = meter.topk(row, meter.read(row))
    assert got.confidence == pytest.approx(math.log(1000))
    assert got.partial_bias == pytest.approx(0.98 * math.log(1000))
    assert got.renormalised_bias == pytest.approx(math.log(50))


@pytest.mark.parametrize("n", [32, 600, 4_100, 151_936])
def test_the_largest_k_are_found_in_order_ties_by_id(n):
    meter = Meter(n)
    for name, row in rows(n, seed=8):
        row = row.astype(np.float32)
        reading = meter.read(row)
        order = np.argsort(-row, kind="stable")
        for k in (1, 2, 20, 31, min(n, 3_000), n):
            ids, logits = meter.largest(row, reading, k)
            np.testing.assert_array_equal(ids, order[:k], err_msg=f"{name} k {k}")
            np.testing.assert_array_equal(logits, row[order[:k]].astype(np.float64))
        with pytest.raises(LocalentError, match="Expected k between 1"):
            meter.topk(row, reading, n + 1)


@pytest.mark.parametrize("n", [600, 4_100, 151_936])
@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.5])
def test_tempered_masses_equal_the_reference(n, temperature):
    meter = Meter(n)
    for name, row in rows(n):
        row = row.astype(np.float32)
        with np.errstate(over="ignore"):
            e = np.exp((row.astype(np.float64) - row.max()) / temperature)
        want = np.add.reduceat(e, np.arange(0, n, CHUNK))
        got = meter.tempered(row, meter.read(row), temperature)
        assert got == pytest.approx(want, rel=3e-6, abs=1e-12), name


# ---- the plain functions: float64, any leading shape


def distributions(shape=(3, 2, 50), seed=0):
    """Two different log-distributions with a zero-probability token each."""
    r = np.random.default_rng(seed)
    p, q = r.normal(0, 3, shape), r.normal(0, 3, shape)
    p[..., 3] = -np.inf
    return ent.log_softmax(p), ent.log_softmax(q)


def test_plain_functions_equal_scipy_on_any_leading_shape():
    p_log, q_log = distributions()
    p, q = np.exp(p_log), np.exp(q_log)
    np.testing.assert_allclose(ent.entropy(p_log), scipy.stats.entropy(p, axis=-1), rtol=1e-13)
    np.testing.assert_allclose(ent.entropy_of_probs(p), scipy.stats.entropy(p, axis=-1), rtol=1e-13)
    np.testing.assert_allclose(divergence.kl(p_log, q_log), scipy.stats.entropy(p, q, axis=-1), rtol=1e-12)
    js = scipy.spatial.distance.jensenshannon(p, q, axis=-1) ** 2
    np.testing.assert_allclose(divergence.js(p_log, q_log), js, rtol=1e-12)
    assert ent.entropy(p_log).shape == (3, 2)
    assert ent.varentropy(p_log).shape == ent.renyi2(p_log).shape == divergence.kl(p_log, q_log).shape == (3, 2)
    logits = np.random.default_rng(0).normal(0, 1e3, (4, 99))
    np.testing.assert_allclose(ent.log_softmax(logits), scipy.special.log_softmax(logits, axis=-1), rtol=1e-13)


def test_cross_entropy_is_entropy_plus_divergence():
    """H(P) + KL(P || Q) = CE(P, Q) for P != Q, and in the other direction it differs."""
    p_log, q_log = distributions(seed=4)
    cross = -(np.exp(p_log) * np.where(p_log > -np.inf, q_log, 0)).sum(-1)
    np.testing.assert_allclose(ent.entropy(p_log) + divergence.kl(p_log, q_log), cross, rtol=1e-13)
    assert np.isinf(divergence.kl(q_log, p_log)).all(), "P rules out a token that Q allows"


def test_divergences_of_different_distributions():
    """JS is symmetric, at most ln 2, reached by disjoint ones; KL of a pair by hand."""
    a, b = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    assert divergence.kl(a, b) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert divergence.js(a, b) == pytest.approx(float(divergence.js(b, a)))
    assert 0 < divergence.js(a, b) < math.log(2)
    disjoint = np.array([0.0, -np.inf]), np.array([-np.inf, 0.0])
    assert divergence.js(*disjoint) == pytest.approx(math.log(2))
    assert divergence.kl(*disjoint) == math.inf
    assert divergence.kl(a, a) == 0


def test_chain_rule_under_grouping():
    """H(tokens) = H(groups) + sum of P(group) H(tokens | group)."""
    p = np.random.default_rng(6).dirichlet(np.ones(12)).reshape(3, 4)
    groups = p.sum(1)
    inside = ent.entropy_of_probs(p / groups[:, None])
    whole = ent.entropy_of_probs(p.ravel())
    assert whole == pytest.approx(float(ent.entropy_of_probs(groups) + (groups * inside).sum()))


def test_varentropy_is_the_variance_of_the_surprisal():
    p = np.array([0.5, 0.25, 0.125, 0.125])
    assert ent.varentropy(np.log(p)) == pytest.approx(0.6875 * math.log(2) ** 2)
    assert ent.renyi2(np.log(p)) == pytest.approx(-math.log(11 / 32))
    assert ent.varentropy(np.array([0.0, -np.inf])) == 0


def test_plain_functions_stop_at_what_is_no_distribution():
    for bad in ([0.1, np.nan], [0.1, np.inf], [-np.inf, -np.inf]):
        with pytest.raises(LocalentError, match="broken"):
            ent.log_softmax(bad)
    with pytest.raises(LocalentError, match="NaN"):
        ent.entropy([0.0, np.nan])
    for bad in ([0.5, 0.4], [1.5, -0.5], [np.nan, 1.0]):
        with pytest.raises(LocalentError, match="sum to 1"):
            ent.entropy_of_probs(bad)
    assert ent.entropy_of_probs([1.0, 0.0]) == 0
