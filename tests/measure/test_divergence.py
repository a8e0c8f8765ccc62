"""Measures of two rows in float64, against the plain formulas."""

import math

import numpy as np
import pytest
from helpers.rows import rows

from localent.errors import LocalentError
from localent.measure import entropy
from localent.measure.divergence import PairMeter, js, kl, total_variation


@pytest.mark.parametrize("n_vocab", [2, 5, 260, 8192, 8193, 40_000])
@pytest.mark.parametrize("shift", [0.001, 0.1, 3.0])
def test_measures_of_two_rows_are_those_of_the_plain_formulas(n_vocab, shift):
    meter = PairMeter(n_vocab)
    for p, q in rows(n_vocab, shift):
        lp, lq = entropy.log_softmax(p), entropy.log_softmax(q)
        side, (seen,) = meter.read(p, [q], 1)
        assert seen.kld == pytest.approx(float(kl(lp, lq)), abs=1e-12)
        assert seen.kld_reverse == pytest.approx(float(kl(lq, lp)), abs=1e-12)
        assert seen.jsd == pytest.approx(float(js(lp, lq)), abs=1e-12)
        assert seen.tv == pytest.approx(float(total_variation(lp, lq)), abs=1e-12)
        assert seen.tv == pytest.approx(1 - np.minimum(np.exp(lp), np.exp(lq)).sum(), abs=1e-12)  # accepted drafts
        for found, log_probs in ((side, lp), (seen.candidate, lq)):
            assert found.entropy == pytest.approx(float(entropy.entropy(log_probs)), abs=1e-12)
            assert found.varentropy == pytest.approx(float(entropy.varentropy(log_probs)), abs=1e-10)
            assert found.surprisal == pytest.approx(-log_probs[1], abs=1e-12)
            assert found.margin == pytest.approx(np.diff(np.sort(log_probs)[-2:])[0], abs=1e-6)
            assert found.top1_id == log_probs.argmax()


def test_entropy_and_kl_make_cross_entropy():
    """H(P) + KL(P || Q) = CE(P, Q) for any P and Q."""
    for p, q in rows(1000, 2.0):
        side, (seen,) = PairMeter(1000).read(p, [q], 0)
        cross = -(np.exp(entropy.log_softmax(p)) * entropy.log_softmax(q)).sum()
        assert side.entropy + seen.kld == pytest.approx(cross, abs=1e-12)


def test_a_row_and_itself_differ_by_exactly_nothing():
    for p, _ in rows(9000, 0.0, n=20, sd=8.0):
        _, (seen,) = PairMeter(9000).read(p, [p.copy()], 0)
        assert (seen.kld, seen.kld_cut, seen.kld_reverse, seen.jsd, seen.same_top) == (0.0, 0.0, 0.0, 0.0, True)
        assert seen.tv == 0.0


def test_tiny_differences_keep_their_digits_and_never_go_negative():
    """float32 sums lose a KLD of 1e-10 altogether, and show it with either sign."""
    for p, q in rows(150_000, 1e-5, n=2):
        _, (seen,) = PairMeter(150_000).read(p, [q], 0)
        true = float(kl(entropy.log_softmax(p), entropy.log_softmax(q)))
        assert seen.kld == pytest.approx(true, rel=1e-3)
        assert min(seen.kld, seen.kld_reverse, seen.jsd) >= 0


def test_the_cut_leaves_out_what_llama_perplexity_leaves_out():
    p, q = rows(5000, 1.0, n=1, sd=6.0)[0]
    lp, lq = entropy.log_softmax(p), entropy.log_softmax(q)
    likely = lp > -16
    _, (seen,) = PairMeter(5000).read(p, [q], 0)
    assert 0 < likely.sum() < 5000
    assert seen.kld_cut == pytest.approx((np.exp(lp) * (lp - lq))[likely].sum(), abs=1e-12)
    assert seen.kld_cut != pytest.approx(seen.kld, abs=1e-9)


def test_stored_log_probabilities_are_taken_as_they_are():
    """A base file's row sums to a little more than 1; its own tool does not correct that, and neither do we."""
    p, q = rows(300, 0.5, n=1)[0]
    lp = (entropy.log_softmax(p) + 0.01).astype(np.float32)
    side, (seen,) = PairMeter(300).read(lp, [q], 7, normalised=True)
    terms = np.exp(lp.astype(float)) * (lp - entropy.log_softmax(q))
    assert seen.kld_cut == pytest.approx(terms[lp > -16].sum(), abs=1e-9)
    assert side.surprisal == pytest.approx(-float(lp[7]))


def test_candidates_are_measured_alike_alone_and_together():
    p, q = rows(9000, 0.3, n=1)[0]
    r = (q + 1e-3 * np.arange(9000)).astype(np.float32)
    meter = PairMeter(9000)
    assert meter.read(p, [q, r], 3)[1] == [*meter.read(p, [q], 3)[1], *meter.read(p, [r], 3)[1]]


def test_impossible_tokens_are_allowed_and_broken_rows_are_not():
    p, q = rows(300, 0.5, n=1)[0]
    p[5] = q[5] = -np.inf
    side, (seen,) = PairMeter(300).read(p, [q], 0)
    lp, lq = entropy.log_softmax(p), entropy.log_softmax(q)
    assert side.entropy == pytest.approx(float(entropy.entropy(lp)), abs=1e-12)
    assert seen.kld == pytest.approx(float(kl(lp, lq)), abs=1e-12)
    for bad in (np.nan, np.inf):
        q[7] = bad
        with pytest.raises(LocalentError, match="broken"):
            PairMeter(300).read(p, [q], 0)


@pytest.mark.parametrize("n_vocab", [3, 32_768, 32_769])
@pytest.mark.parametrize("sd", [400.0, 1e5])
def test_rows_with_tokens_far_below_the_top_keep_to_the_formulas(n_vocab, sd):
    """Logits thousands of nats apart, in one model or in both, and tokens that both rule out."""
    meter = PairMeter(n_vocab)
    for p, q in rows(n_vocab, sd / 100, n=4, sd=sd):
        p[1:2] = q[1:2] = -np.inf
        for one, two in ((p, q), (p, p[::-1].copy() if n_vocab > 3 else q[[2, 1, 0]])):
            two[1:2], two[~np.isneginf(one) & np.isneginf(two)] = -np.inf, 0.0
            lp, lq = entropy.log_softmax(one), entropy.log_softmax(two)
            side, (seen,) = meter.read(one, [two], 0)
            assert seen.kld == pytest.approx(float(kl(lp, lq)), rel=1e-12, abs=1e-9)
            assert seen.kld_reverse == pytest.approx(float(kl(lq, lp)), rel=1e-12, abs=1e-9)
            assert seen.jsd == pytest.approx(float(js(lp, lq)), abs=1e-9)
            assert seen.tv == pytest.approx(float(total_variation(lp, lq)), abs=1e-12)
            assert side.entropy == pytest.approx(float(entropy.entropy(lp)), abs=1e-9)


def test_a_gap_of_thousands_of_nats_counts_in_full():
    """P gives the second token e^-1 / (1 + e^-1), Q gives it e^-5000: worked by hand."""
    p = math.exp(-1) / (1 + math.exp(-1))
    _, (seen,) = PairMeter(2).read(np.float32([0, -1]), [np.float32([0, -5000])], 0)
    assert seen.kld == pytest.approx(5000 * p + p * math.log(p) + (1 - p) * math.log(1 - p), rel=1e-12)


@pytest.mark.parametrize(("p", "q"), [([1, 2, 3, -np.inf], [1, 2, -np.inf, 0]), ([1, 2, 3], [1, 2, -np.inf]),
                                      ([1, -np.inf, 3], [1, 2, 3])])  # fmt: skip
def test_a_token_that_one_model_alone_rules_out_is_no_finite_number(p, q):
    """By the formulas one of the divergences is infinite: nothing is guessed in its place."""
    p, q = np.float32(p), np.float32(q)
    log_probs = [entropy.log_softmax(row) for row in (p, q)]
    with np.errstate(divide="ignore"):
        assert np.inf in (float(kl(*log_probs)), float(kl(*log_probs[::-1])))
    with pytest.raises(LocalentError, match=r"logit of token \d is -inf .* their divergence is infinite"):
        PairMeter(len(p)).read(p, [p, q], 0)


def test_a_base_file_cannot_say_that_a_token_is_impossible():
    """It says 16 nats below the top: where a model rules such a token out, llama-perplexity leaves it out, too."""
    q = np.float32([1, 2, 3, -np.inf])
    stored = np.maximum(entropy.log_softmax(q), entropy.log_softmax(q).max() - 16).astype(np.float32)
    _, (seen,) = PairMeter(4).read(stored, [q], 0, normalised=True)
    assert seen.kld_cut == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(LocalentError, match="infinite"):
        PairMeter(4).read(stored, [np.float32([1, 2, -np.inf, 3])], 0, normalised=True)


def test_a_meter_takes_any_number_of_candidates_in_turn():
    """Its scratch memory follows; what it held before leaves no trace."""
    p, q = rows(300, 0.5, n=1)[0]
    meter = PairMeter(300)
    first = meter.read(p, [q], 0)
    assert meter.read(p, [], 0) == (first[0], [])
    assert meter.read(p, [q, q, q], 0) == (first[0], first[1] * 3)
    assert meter.read(p, [q], 0) == first
