"""Quants of so many bits per weight: never more, hardly less, and the tensors that matter most get the most."""

from pathlib import Path

import gguf
import pytest
from click.testing import CliRunner

from localent.cli import main
from localent.errors import UsageError
from localent.files import identity
from localent.runs.bits import mixture

TINY = Path(__file__).parents[1] / "data" / "perplexity" / "tiny-f16.gguf"  # rows that K-quants do not fit


def run(*words):
    return CliRunner().invoke(main, ["quantize", *map(str, words)])


@pytest.mark.parametrize("bits", [2.8, 3.3, 4.0, 4.5, 5.21, 6.0, 7.4])
def test_a_target_is_met_from_below(bundled, tmp_path, bits):
    """What is promised is what the file has, at most the target; not far below it."""
    done = run(bundled, "--bits", bits, "--out", tmp_path, "--threads", 1)
    assert done.exit_code == 0, done.output
    (path,) = tmp_path.glob("*.gguf")
    assert path.name == f"abacus-sft-{bits:g}bpw.gguf"
    found = identity.identify(path).model.bits_per_weight
    assert found == pytest.approx(mixture(bundled, bits).bits_per_weight, abs=1e-9)
    assert bits - 0.1 < found <= bits


def test_what_suffers_most_gets_most(bundled, tmp_path):
    """Values and down projections are never of a smaller type than the others."""
    size = {kind: 8 * n / block for kind, (block, n) in gguf.GGML_QUANT_SIZES.items()}
    run(bundled, "--bits", 4.0, "--out", tmp_path, "--threads", 1)
    tensors = gguf.GGUFReader(tmp_path / "abacus-sft-4bpw.gguf").tensors
    bits = {t.name: size[t.tensor_type] for t in tensors if len(t.shape) > 1}
    assert len(set(bits.values())) == 2
    assert {bits[name] for name in bits if "attn_v" in name} == {max(bits.values())}
    assert min(bits.values()) in {bits[name] for name in bits if "ffn_up" in name}


def test_rows_that_fit_no_k_quant_get_other_types(tmp_path):
    done = run(TINY, "--bits", 5.2, "--out", tmp_path, "--threads", 1)
    assert done.exit_code == 0, done.output
    model = identity.identify(tmp_path / "tiny-5.2bpw.gguf").model
    assert 4.9 < model.bits_per_weight <= 5.2
    assert not any(kind.endswith("_K") for kind in model.tensor_types)


def test_targets_that_cannot_be_met_get_a_sentence(bundled, tmp_path):
    for bits in (1.5, 12.0):
        with pytest.raises(UsageError, match=r"can have 2\.\d+ to 8\.\d+ bits per weight here, got --bits"):
            mixture(bundled, bits)
    for words, sentence in (
        ([], "Name a QUANT, or bits per weight. For example"),
        (["--bits", "4", "--pure"], "--bits, which chooses all types, does not use --pure"),
        (["--bits", "1"], "got --bits 1: choose between, or name a QUANT."),
    ):
        done = run(bundled, *words, "--out", tmp_path / "out")
        assert done.exit_code == 2
        assert sentence in " ".join(done.output.split())
    assert not (tmp_path / "out").exists()
