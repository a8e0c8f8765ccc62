"""Sampling: the probability of each token, as a function of one uniform, against a float64 reference."""

import dataclasses
import math
import tracemalloc

import numpy as np
import pytest
import scipy.special
import scipy.stats

from localent.errors import UsageError
from localent.measure.meter import CHUNK, Meter
from localent.measure.sampling import MIN_TEMPERATURE, Draws, Penalties, Sampler, rng

LAST = math.nextafter(1.0, 0.0)
SETTINGS = [
    Sampler(),
    Sampler(0.7),
    Sampler(0.3),
    Sampler(1.5),
    Sampler(1.0, top_p=0.9),
    Sampler(0.7, top_p=0.95),
    Sampler(1.4, top_p=0.5),
    Sampler(1.0, top_k=20),
    Sampler(0.6, top_p=0.95, top_k=20),
    Sampler(2.0, top_p=0.3, top_k=3),
    Sampler(1.5, top_p=0.9, min_p=0.001),
    Sampler(0.7, top_p=0.8, min_p=0.02),
    Sampler(0.6, top_p=0.95, top_k=20, min_p=0.1),
    Sampler(1.0, min_p=1.0),
]


def short(sampler):
    """The name of a parameter, without what is off."""
    return str(sampler).replace(f", penalties={Penalties()}", "")


def reference(row, sampler):
    """Probabilities by the book, (n_vocab,) float64: sort everything."""
    x = row.astype(np.float64)
    p = scipy.special.softmax(x / sampler.temperature)
    order = np.argsort(-x, kind="stable")
    keep = np.zeros(x.size, bool)
    keep[order[: sampler.top_k or x.size]] = True
    p = np.where(keep, p, 0) / p[keep].sum()
    if sampler.top_p < 1:
        held = np.cumsum(p[order])
        p[order[np.searchsorted(held, sampler.top_p * held[-1]) + 1 :]] = 0
    p[p < sampler.min_p * p.max()] = 0
    return p / p.sum()


def rows(n, seed=0):
    """Rows like a model's, peaked and flat, and rows with ties and impossible tokens: (name, (n,) float32)."""
    r = np.random.default_rng(seed)
    for gap in (4, 9, 14, 20):
        row = r.normal(-0.7, 2.5, n)
        row[r.integers(0, n, 5)] = gap - np.arange(5) * 0.8
        yield f"peaks {gap}", row
    yield "flat", r.normal(0, 0.4, n)
    row = r.normal(0, 1, n) - 25
    row[n - 3 :] = 1, 1, 0.5
    yield "the last chunk", row
    row = np.full(n, -np.inf)
    row[[n // 3, n // 2, n - 1]] = 1e4, 1e4 + 1, 1e4 - 1
    yield "three possible", row
    row = r.normal(0, 2, n)
    row[: n // 2] = -np.inf
    row[-1] = -np.inf
    yield "half impossible", row


def probabilities(sampler, meter, row, reading, token_ids):
    """The measure of the u that give each token: they form one interval, whose ends are bisected from a grid."""
    grid = np.array([0.0, *(np.arange(1_024) + 0.5) / 1_024, LAST])
    seen = [sampler.sample(meter, row, reading, u) for u in grid.tolist()]

    def edge(low, high, a):
        """Where the sampler stops giving token a between low (gives it) and high (does not)."""
        for _ in range(30):
            mid = (low + high) / 2
            low, high = (mid, high) if sampler.sample(meter, row, reading, mid) == a else (low, mid)
        return low

    for token_id in token_ids:
        at = [i for i, s in enumerate(seen) if s == token_id]
        assert at == list(range(at[0], at[-1] + 1)), "one interval"
        start = edge(grid[at[0]], grid[at[0] - 1], token_id) if at[0] else 0.0
        end = edge(grid[at[-1]], grid[at[-1] + 1], token_id) if at[-1] + 1 < len(grid) else 1.0
        yield token_id, end - start


@pytest.mark.parametrize("sampler", SETTINGS, ids=short)
@pytest.mark.parametrize("n", [40, 600, 9_000])
def test_each_token_has_exactly_its_probability(sampler, n):
    """The length of the interval of u that gives a token is its reference probability, within 1e-6."""
    meter = Meter(n)
    for name, row in rows(n):
        row = row.astype(np.float32)
        want = reference(row, sampler)
        reading = meter.read(row)
        leaders = np.argsort(-want)[:4]
        leaders = leaders[want[leaders] > 1 / 500].tolist()
        for token_id, got in probabilities(sampler, meter, row, reading, leaders):
            assert got == pytest.approx(want[token_id], abs=1e-6), name


@pytest.mark.parametrize(
    "sampler", [s for s in SETTINGS if not s.top_k and (s.top_p < 1 or s.temperature == 1)], ids=short
)
def test_draws_are_those_of_the_inverse_distribution_function_in_id_order(sampler):
    """u lies in its token's interval; at full size, where a flat row's nucleus is drawn chunk by chunk."""
    meter = Meter(151_936)
    for name, row in rows(151_936, seed=11):
        row = row.astype(np.float32)
        held = np.cumsum(reference(row, sampler))
        reading = meter.read(row)
        for u in [0.0, LAST, *np.random.default_rng(4).random(60).tolist()]:
            token_id = sampler.sample(meter, row, reading, u)
            assert u <= held[token_id] + 1e-6, name
            assert token_id == 0 or u >= held[token_id - 1] - 1e-6, name


def llama_cpp_chain(row, sampler, recent, own_order):
    """Candidates after llama.cpp's own samplers in the order of its default chain or of ours: {id: probability}."""
    from llama_cpp import llama_cpp as C  # noqa: N812

    data = (C.llama_token_data * row.size)()
    view = np.ctypeslib.as_array(data)
    view["id"], view["logit"] = np.arange(row.size), row
    candidates = C.llama_token_data_array(data, row.size, -1, False)
    p = sampler.penalties
    chain = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
    penalties = C.llama_sampler_init_penalties(row.size, p.last_n, p.repeat, p.frequency, p.presence)
    temperature = C.llama_sampler_init_temp(sampler.temperature)
    filters = [
        *([C.llama_sampler_init_top_k(sampler.top_k)] if sampler.top_k else []),
        C.llama_sampler_init_top_p(sampler.top_p, 1),
        C.llama_sampler_init_min_p(sampler.min_p, 1),
    ]
    for each in (penalties, *filters, temperature) if own_order else (penalties, temperature, *filters):
        C.llama_sampler_chain_add(chain, each)
    for token in recent:
        C.llama_sampler_accept(chain, token)
    C.llama_sampler_apply(chain, candidates)
    left = np.ctypeslib.as_array(candidates.data, (candidates.size,))
    ids, logits = left["id"].copy(), left["logit"].astype(np.float64)
    C.llama_sampler_free(chain)
    return dict(zip(ids.tolist(), scipy.special.softmax(logits).tolist(), strict=True))


def drawn(sampler, row, recent, us):
    """The ids that these uniform numbers draw after these tokens."""
    meter = Meter(row.size)
    reading = meter.read(row)

    class Stream:
        def __init__(self, u):
            self.random = lambda: u

    return [Draws(sampler, Stream(u), recent).take(meter, row, reading) for u in us]


PENALISED = [
    Sampler(0.7, min_p=0.05),
    Sampler(1.0, top_p=0.9, min_p=0.02, top_k=40),
    Sampler(1.3, top_p=0.95, penalties=Penalties(repeat=1.3)),
    Sampler(0.6, top_k=20, penalties=Penalties(presence=1.5)),
    Sampler(1.0, penalties=Penalties(repeat=1.1, presence=0.5, frequency=0.4, last_n=5)),
    Sampler(0.8, min_p=0.1, penalties=Penalties(repeat=0.8, frequency=-0.3, last_n=30)),
]


@pytest.mark.parametrize("own_order", [False, True], ids=["our order", "llama.cpp's order"])
@pytest.mark.parametrize("sampler", PENALISED, ids=short)
def test_candidates_and_probabilities_are_those_of_llama_cpps_own_samplers(sampler, own_order):
    """In our order at any temperature; in llama.cpp's, which is the same one at temperature 1."""
    if own_order and sampler.temperature != 1:
        sampler = dataclasses.replace(sampler, temperature=1.0)
    r = np.random.default_rng(8)
    recent = r.integers(0, 50, 40).tolist()
    for name, row in list(rows(600, seed=6))[1:5:3]:  # one peaked, one flat
        row = row.astype(np.float32)
        row[:50] += 3  # what came lately is likely
        want = llama_cpp_chain(row, sampler, recent, own_order)
        us = (np.arange(800) + 0.5) / 800
        ids, counts = np.unique(drawn(sampler, row, recent, us.tolist()), return_counts=True)
        assert set(ids.tolist()) <= set(want), name
        assert set(ids.tolist()) >= {token for token, p in want.items() if p > 1 / 400}, name
        for token, n in zip(ids.tolist(), counts.tolist(), strict=True):
            assert n / 800 == pytest.approx(want[token], abs=3 / 800), name


def test_penalties_are_llama_cpps_to_the_last_bit():
    """Every logit, of tokens that came once, often, before the window, or never."""
    from llama_cpp import llama_cpp as C  # noqa: N812

    row = np.random.default_rng(3).normal(0, 4, 300).astype(np.float32)
    recent = [1, 2, 2, 2, 299, 5, 7, 7, 150, 4]
    for penalties in (Penalties(repeat=1.17, presence=0.3, frequency=0.21, last_n=6), Penalties(repeat=1.17)):
        data = (C.llama_token_data * row.size)()
        view = np.ctypeslib.as_array(data)
        view["id"], view["logit"] = np.arange(row.size), row
        candidates = C.llama_token_data_array(data, row.size, -1, False)
        p = penalties
        theirs = C.llama_sampler_init_penalties(row.size, p.last_n, p.repeat, p.frequency, p.presence)
        for token in recent:
            C.llama_sampler_accept(theirs, token)
        C.llama_sampler_apply(theirs, candidates)
        C.llama_sampler_free(theirs)
        before = row.copy()
        np.testing.assert_array_equal(penalties.applied(row, recent[-penalties.last_n :]), view["logit"])
        np.testing.assert_array_equal(row, before)


def test_penalties_look_back_over_prompt_and_trace_and_cost_one_uniform_a_token():
    """Greedy with a strong penalty never repeats within its window; the stream moves on by one number a token."""
    row = np.arange(10, dtype=np.float32)
    meter = Meter(10)
    reading = meter.read(row)
    stream = rng(0, "x", 0)
    draws = Draws(Sampler(0, penalties=Penalties(presence=100, last_n=3)), stream, [9, 8])
    assert [draws.take(meter, row, reading) for _ in range(6)] == [7, 6, 9, 8, 7, 6]
    fresh = rng(0, "x", 0)
    fresh.random(6)
    assert stream.random() == fresh.random()
    all_of_it = Draws(Sampler(0, penalties=Penalties(presence=100, last_n=-1)), stream, [9, 8])
    assert [all_of_it.take(meter, row, reading) for _ in range(8)] == [7, 6, 5, 4, 3, 2, 1, 0]


def test_without_penalties_a_draw_is_the_samplers_own():
    row = np.random.default_rng(0).normal(0, 3, 500).astype(np.float32)
    meter = Meter(500)
    reading = meter.read(row)
    sampler, stream = Sampler(0.8, top_p=0.9), rng(0, "y", 0)
    draws = Draws(sampler, rng(0, "y", 0), [3, 4])
    assert [draws.take(meter, row, reading) for _ in range(50)] == [
        sampler.sample(meter, row, reading, stream.random()) for _ in range(50)
    ]


@pytest.mark.parametrize("sampler", SETTINGS, ids=short)
@pytest.mark.parametrize("n", [40, 600, 151_936])
def test_no_impossible_token_is_ever_drawn(sampler, n):
    """Also at u = 0 and u just below 1; and nothing outside top-k and nucleus."""
    meter = Meter(n)
    us = [0.0, 5e-324, 1e-300, LAST, 1 - 1e-12, *np.random.default_rng(1).random(30).tolist()]
    for name, row in rows(n, seed=2):
        row = row.astype(np.float32)
        want = reference(row, sampler)
        reading = meter.read(row)
        for u in us:
            token_id = sampler.sample(meter, row, reading, u)
            assert type(token_id) is int
            assert want[token_id] > 0, f"{name}, u {u}"


@pytest.mark.parametrize("sampler", SETTINGS, ids=short)
def test_draws_pass_a_chi_square_test(sampler):
    """20,000 draws over a vocabulary of 40, cells of at least 5 expected."""
    row = np.random.default_rng(7).normal(0, 1.5, 40).astype(np.float32)
    meter = Meter(40)
    reading = meter.read(row)
    want = reference(row, sampler) * 20_000
    draws = [sampler.sample(meter, row, reading, u) for u in rng(0, "chi", 0).random(20_000).tolist()]
    counts = np.bincount(draws, minlength=40)
    big = want >= 5
    cells = {"observed": [*counts[big], counts[~big].sum()], "expected": [*want[big], want[~big].sum()]}
    assert (counts[want == 0] == 0).all()
    observed, expected = (np.array(c)[np.array(cells["expected"]) > 0] for c in cells.values())
    if observed.size > 1:
        assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize("temperature", [0.2, 0.7, 0.95])
def test_the_shortcut_below_temperature_1_changes_no_draw(temperature, monkeypatch):
    """Heavy chunks deciding alone give the token that the whole vocabulary would have given."""
    meter = Meter(151_936)
    sampler = Sampler(temperature)
    us = [0.0, LAST, *np.random.default_rng(3).random(200).tolist()]
    drawn, taken_shortcuts = {}, 0
    for name, row in rows(151_936, seed=5):
        reading = meter.read(row.astype(np.float32))
        drawn[name] = [sampler.sample(meter, row.astype(np.float32), reading, u) for u in us]
        order = np.argsort(-reading.masses, kind="stable")
        taken_shortcuts += sampler._from_head(row.astype(np.float32), reading, order, 0.3) is not None
    assert taken_shortcuts > 0, "the shortcut was tried"
    monkeypatch.setattr(Sampler, "_from_head", lambda *_: None)
    for name, row in rows(151_936, seed=5):
        reading = meter.read(row.astype(np.float32))
        assert drawn[name] == [sampler.sample(meter, row.astype(np.float32), reading, u) for u in us], name


def nucleus(sampler, meter, row):
    """Ids of the nucleus by the path that the sampler takes; the path for flat rows must agree with the other."""
    reading = meter.read(row)
    total = sampler._total(meter, row, reading)
    masses, last_id = sampler._wide(meter, row, reading, total)
    beyond = (row == row[last_id]) & (np.arange(row.size) > last_id)
    wide = np.flatnonzero((row >= row[last_id]) & ~beyond)
    p = np.zeros(masses.size * CHUNK)
    p[wide] = sampler._weights(row[wide], reading)
    np.testing.assert_allclose(masses, p.reshape(-1, CHUNK).sum(1), rtol=1e-5, atol=1e-9)
    narrow = sampler._narrow(row, reading, total if sampler.temperature >= 1 else None)
    if narrow is None:
        return wide
    assert (np.diff(narrow[0]) > 0).all()
    np.testing.assert_array_equal(narrow[1], row[narrow[0]])
    return narrow[0]


@pytest.mark.parametrize("n", [600, 151_936])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [1e-9, 0.3, 0.9, 0.999, 1 - 1e-9])
def test_the_nucleus_is_the_smallest_set_that_holds_top_p(n, temperature, top_p):
    """The definition: none outside is likelier than one inside, it holds top_p, and without its least it does not."""
    meter = Meter(n)
    sampler = Sampler(temperature, top_p)
    for name, row in rows(n, seed=9):
        row = row.astype(np.float32)
        ids = nucleus(sampler, meter, row)
        p = scipy.special.softmax(row.astype(np.float64) / temperature)
        outside = np.delete(row, ids)
        assert outside.size == 0 or outside.max() <= row[ids].min(), name
        assert p[ids].sum() >= top_p - 1e-6, name
        assert p[ids].sum() - p[ids].min() < top_p + 1e-6, name


def test_ties_in_the_nucleus_and_in_top_k_go_to_the_lowest_ids():
    """Of 1000 equal tokens, 0.25 keeps the first 250; top-k 7 the first 7; greedy the first."""
    meter = Meter(1000)
    row = np.zeros(1000, np.float32)
    reading = meter.read(row)
    assert nucleus(Sampler(0.5, 0.25), meter, row).tolist() == list(range(250))
    draws = {Sampler(1.0, top_k=7).sample(meter, row, reading, u) for u in np.linspace(0, LAST, 200).tolist()}
    assert draws == set(range(7))
    assert Sampler(0).sample(meter, row, reading, LAST) == 0


def test_ties_at_the_edge_of_a_wide_nucleus_go_to_the_lowest_ids():
    """Of 151,936 equal tokens, 0.25 can draw the first 37,984 only, and the last of these."""
    meter = Meter(151_936)
    row = np.zeros(151_936, np.float32)
    reading = meter.read(row)
    sampler = Sampler(1.0, 0.25)
    assert [sampler.sample(meter, row, reading, u) for u in (0.0, 0.5, LAST)] == [0, 18_992, 37_983]
    assert sampler.sample(meter, row, reading, 1 - 2e-6) == 37_983


def test_temperature_0_takes_the_most_likely_token():
    meter = Meter(40)
    row = np.zeros(40, np.float32)
    row[[7, 30]] = 2
    assert {Sampler(0).sample(meter, row, meter.read(row), u) for u in (0.0, 0.5, LAST)} == {7}


def test_a_very_low_temperature_is_greedy():
    meter = Meter(5_000)
    row = np.random.default_rng(0).normal(0, 3, 5_000).astype(np.float32)
    reading = meter.read(row)
    assert Sampler(MIN_TEMPERATURE).sample(meter, row, reading, 0.5) == reading.top1_id


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "Expected temperature 0 .* got -0.1"),
        ({"temperature": 1e-9}, "Expected temperature 0 .* or from 0.001 up"),
        ({"temperature": math.nan}, "Expected temperature"),
        ({"temperature": math.inf}, "Expected temperature"),
        ({"top_p": 0}, "Expected top-p above 0 and at most 1"),
        ({"top_p": 1.01}, "Expected top-p above 0"),
        ({"top_p": math.nan}, "Expected top-p above 0"),
        ({"top_k": -1}, "Expected top-k of at least 0"),
        ({"min_p": -0.1}, "Expected min-p from 0"),
        ({"min_p": 1.1}, "Expected min-p from 0"),
        ({"min_p": math.nan}, "Expected min-p from 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Sampler(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeat": 0}, "Expected a repeat penalty above 0"),
        ({"repeat": math.nan}, "Expected a repeat penalty above 0"),
        ({"presence": math.inf}, "Expected a presence penalty that is a number"),
        ({"frequency": math.nan}, "Expected a frequency penalty that is a number"),
        ({"last_n": 0}, "Expected penalties over at least 1 token"),
        ({"last_n": -2}, "Expected penalties over at least 1 token"),
    ],
)
def test_penalties_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Penalties(**settings)


def test_the_stream_of_a_trace_depends_on_its_name_only():
    """Same name, same numbers, in any order; another seed, problem, sample or stream: others. Golden values."""
    first = rng(1, "abc", 0).random(3)
    rng(1, "abd", 0).random(100)
    np.testing.assert_array_equal(rng(1, "abc", 0).random(3), first)
    others = [rng(2, "abc", 0), rng(1, "abd", 0), rng(1, "abc", 1), rng(1, "abc", 0, "rollout"), rng(1, "ab", 0)]
    assert len({first[0], *(g.random() for g in others)}) == 6
    assert first.tolist() == GOLDEN, "a change here makes every stored run unrepeatable"


GOLDEN = [0.44939656922016236, 0.20201589608134896, 0.14819707017423023]


@pytest.mark.parametrize("sampler", SETTINGS, ids=short)
def test_a_draw_costs_no_memory_of_vocabulary_size(sampler):
    """On a row like a model's; a nucleus that spans half the vocabulary costs a little more."""
    n = 151_936
    row = np.random.default_rng(3).normal(0, 2.5, n).astype(np.float32)
    row[[70_000, 90_000, 5]] = 22, 21, 19
    meter = Meter(n)
    reading = meter.read(row)
    tracemalloc.start()
    for u in (0.0, 0.5, 0.99):
        sampler.sample(meter, row, reading, u)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * n, "bytes; the row itself has 4 per token"
