"""Types of the key-value cache: other bits where they differ, none where they are the usual ones, clear refusals."""

import numpy as np
import pytest

from localent.engine import CACHE_BITS, Options
from localent.engine import open as open_model
from localent.errors import LocalentError, UsageError

TEXT = [(7 * i + i * i) % 250 for i in range(96)]


def rows(path, **how):
    with open_model(path) as model, model.scorer(Options(n_lanes=1, n_ctx=128, n_threads=1, chunk=96, **how)) as scorer:
        return np.array(scorer.feed(TEXT, 96))


@pytest.fixture(scope="module")
def wide(random_model):
    """Heads of 32 numbers, the block of quantized types."""
    return random_model("tiny-wide-heads")


def test_f16_is_the_usual_type_to_the_last_bit(wide):
    assert np.array_equal(rows(wide), rows(wide, type_k="f16", type_v="f16"))


def test_every_type_works_and_fewer_bits_are_further_away(wide):
    usual = rows(wide)
    away = {kind: float(np.abs(usual - rows(wide, type_k=kind, type_v=kind)).mean()) for kind in CACHE_BITS}
    assert np.isfinite(list(away.values())).all()
    assert away["f32"] < 0.1 * away["q8_0"] < 0.5 * away["q4_0"]
    assert away["q5_0"] < away["q4_0"]
    assert 0 < away["bf16"] < away["q4_0"]


def test_keys_and_values_have_types_of_their_own(wide):
    found = [rows(wide, type_k=k, type_v=v) for k, v in (("q8_0", "f16"), ("f16", "q8_0"), ("q8_0", "q8_0"))]
    assert not any(np.array_equal(a, b) for a, b in zip(found, [*found[1:], found[0]], strict=True))


def test_heads_that_blocks_do_not_fit_are_refused_in_a_sentence(random_model):
    """Heads of 16 numbers, blocks of 32."""
    with pytest.raises(LocalentError, match=r"refuses this type of the key-value cache .* use f16\."):
        rows(random_model("tiny-llama"), type_k="q8_0")


def test_a_quantized_value_needs_flash_attention(wide):
    with pytest.raises(UsageError, match="--cache-type-v q4_0 needs flash attention"):
        rows(wide, type_v="q4_0", flash_attn=False)
    assert len(rows(wide, type_k="q4_0", flash_attn=False)) == 96


def test_an_unknown_type_is_refused_with_those_there_are(wide):
    with pytest.raises(UsageError, match=r"No cache type .q9_9. in llama\.cpp: it knows f16, bf16"):
        rows(wide, type_k="q9_9")


def test_the_size_of_a_cache_follows_its_types():
    def share(k, v):
        return Options(n_lanes=1, n_ctx=1, n_threads=1, type_k=k, type_v=v).cache_share

    assert (share("f16", "f16"), share("f32", "f32"), share("q8_0", "q4_0")) == (1.0, 2.0, (8.5 + 4.5) / 32)
