"""Importance matrices made here: sums of squared inputs, checked against numpy, and used by the quantizer."""

import json

import gguf
import numpy as np
import pytest
import random_model as made
from click.testing import CliRunner
from gguf.quants import dequantize

from localent import engine
from localent.cli import main
from localent.engine import Options, QuantizeOptions, quantize
from localent.errors import UsageError
from localent.files import imatrix
from localent.files.header import read_header
from localent.runs.imatrix import Inputs, make
from localent.runs.passages import PLAIN, Passage, read_passages

SUM = "Ann has 3 apples and gets 4 more. 3 + 4 = 7. The answer is 7. "
TEXT = Passage("sums.txt", PLAIN, SUM * 40)
CHAT = {
    "messages": [{"role": "user", "content": "How many are 2 and 3?"}, {"role": "assistant", "content": "2 + 3 = 5."}]
}


@pytest.fixture(scope="module")
def matrix(bundled, tmp_path_factory):
    path = tmp_path_factory.mktemp("imatrix") / "m.gguf"
    return path, make(str(bundled), [TEXT], path, threads=1)


def test_the_first_layer_is_what_numpy_finds(matrix, bundled):
    """Queries, keys and values of the first layer read the normed embeddings of the tokens."""
    path, found = matrix
    with engine.open(bundled, vocab_only=True) as model:
        tokens = model.vocab.tokenize(TEXT.text)
        assert model.vocab.bos is None
    assert len(tokens) > 600  # more than a chunk, whose rest counts, too
    weights, fields = {t.name: t.data for t in gguf.GGUFReader(bundled).tensors}, read_header(bundled)
    rows = weights["token_embd.weight"].astype(np.float64)[tokens]
    eps = fields.arch_field("attention.layer_norm_rms_epsilon")
    normed = rows / np.sqrt((rows**2).mean(axis=1, keepdims=True) + eps) * weights["blk.0.attn_norm.weight"]
    for name in ("q", "k", "v"):
        assert found.weights[f"blk.0.attn_{name}.weight"] == pytest.approx((normed**2).mean(axis=0), rel=1e-4)
    written = {t.name: t.data for t in gguf.GGUFReader(path).tensors}
    assert set(written["blk.0.ffn_down.weight.counts"].ravel()) == {len(tokens)}
    assert set(found.weights) == {
        name for name in weights if name.startswith("blk.") and name.endswith(".weight") and "norm" not in name
    }
    assert (found.dataset, found.n_chunks) == ("sums.txt", -(-len(tokens) // 512))


def test_watching_changes_no_bit_and_passes_errors_on(bundled):
    options, tokens = Options(1, 64, 1), list(range(40, 80))

    def fail(name, rows, experts):
        raise KeyError(name)

    with engine.open(bundled) as model:
        with model.scorer(options) as plain, model.watched(options, lambda *_: None) as watched:
            assert np.array_equal(plain.feed(tokens, 40), watched.feed(tokens, 40))
        with model.watched(options, fail) as watched, pytest.raises(KeyError, match=r"blk\.0"):
            watched.feed(tokens, 40)


def mixture(path, n_experts=4, n_used=2):
    """A tiny llama whose feed-forward layers are mixtures."""
    shape = made.SHAPES["tiny-llama"]
    writer, rng = gguf.GGUFWriter(path, shape.arch), np.random.default_rng(0)
    made._add_hyperparameters(writer, shape, made._byte_vocab(writer))
    writer.add_expert_count(n_experts)
    writer.add_expert_used_count(n_used)
    for name, dims in made.tensors(shape, 260):
        if "ffn_norm" in name or "ffn" not in name:
            writer.add_tensor(name, made._weights(rng, name, dims, 1.0))
        else:
            experts = rng.standard_normal((n_experts, *dims), dtype=np.float32) * dims[-1] ** -0.5
            writer.add_tensor(name.replace(".weight", "_exps.weight"), experts.astype(np.float16))
    for i in range(shape.n_layer):
        router = rng.standard_normal((n_experts, shape.n_embd), dtype=np.float32)
        writer.add_tensor(f"blk.{i}.ffn_gate_inp.weight", router)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_of_a_mixture_each_expert_has_its_own(tmp_path):
    """A token goes to two experts, whose inputs are the router's: their sums add up to twice the router's."""
    path = mixture(tmp_path / "moe.gguf")
    make(str(path), [Passage("t", PLAIN, "Some text for experts. " * 8)], tmp_path / "m.gguf", threads=1)
    found = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    router = found["blk.0.ffn_gate_inp.weight.in_sum2"].ravel()
    for name in ("gate", "up"):
        experts = found[f"blk.0.ffn_{name}_exps.weight.in_sum2"]
        counts = found[f"blk.0.ffn_{name}_exps.weight.counts"].ravel()
        assert experts.shape == (4, 64)
        assert experts.sum(axis=0) == pytest.approx(2 * router, rel=1e-4)
        assert counts.sum() == 2 * found["blk.0.ffn_gate_inp.weight.counts"].sum()
        assert len(set(counts)) > 1
    assert found["blk.0.ffn_down_exps.weight.counts"].sum() == counts.sum()
    options = QuantizeOptions(n_threads=1, imatrix=imatrix.read(tmp_path / "m.gguf"))
    quantize(path, tmp_path / "q.gguf", "IQ4_NL", options)


def test_inputs_of_experts_are_summed_apart():
    rng, found = np.random.default_rng(0), Inputs()
    rows, experts = rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 5, 50)
    for part in (slice(0, 20), slice(20, 50)):
        found.take("x", rows[part], experts[part])
    for expert in range(5):
        assert found.sums["x"][expert] == pytest.approx((rows[experts == expert].astype(float) ** 2).sum(axis=0))
        assert found.counts["x"][expert] == (experts == expert).sum()


def errors(path, source, importance):
    """Squared errors of the weights, each weighted by what its column is fed: a number per quantized tensor."""
    whole = {t.name: t.data.astype(np.float64) for t in gguf.GGUFReader(source).tensors}
    return {
        t.name: ((dequantize(t.data, t.tensor_type) - whole[t.name]) ** 2 @ importance[t.name]).sum()
        for t in gguf.GGUFReader(path).tensors
        if t.name in importance and t.tensor_type.name == "Q2_K"
    }


def test_quants_made_with_it_keep_the_columns_that_matter(matrix, bundled, tmp_path):
    _, found = matrix
    for name, chosen in (("without", None), ("with", found)):
        quantize(bundled, tmp_path / f"{name}.gguf", "Q2_K", QuantizeOptions(n_threads=1, imatrix=chosen, pure=True))
    before, after = (errors(tmp_path / f"{name}.gguf", bundled, found.weights) for name in ("without", "with"))
    assert len(after) > 20
    assert sum(after[name] < before[name] for name in after) > 0.9 * len(after)
    assert sum(after.values()) < 0.9 * sum(before.values())


def run(*words):
    return CliRunner().invoke(main, ["quantize", *map(str, words)])


def test_a_matrix_is_made_on_the_way(bundled, tmp_path):
    (tmp_path / "t.txt").write_text(TEXT.text)
    (tmp_path / "c.jsonl").write_text(json.dumps(CHAT))
    texts = ["--imatrix-from", tmp_path / "t.txt", "--imatrix-from", tmp_path / "c.jsonl", "--imatrix-chunks", 1]
    done = run(bundled, "IQ2_XS", *texts, "--out", tmp_path / "q", "--threads", 1)
    assert done.exit_code == 0, done.output
    found = imatrix.read(tmp_path / "q" / "abacus-sft-imatrix.gguf")
    assert (found.dataset, found.n_chunks) == ("t.txt", 2)
    assert read_header(tmp_path / "q" / "abacus-sft-IQ2_XS.gguf").fields["quantize.imatrix.dataset"] == "t.txt"
    again = run(bundled, "Q2_K", *texts, "--out", tmp_path / "q")
    assert again.exit_code == 2
    assert "abacus-sft-imatrix.gguf exists already: replace it with --force" in again.output


def test_requests_that_make_no_sense_get_a_sentence(bundled, tmp_path, matrix):
    (tmp_path / "short.txt").write_text("Two words.")
    for words, sentence in (
        (["--imatrix", matrix[0], "--imatrix-from", "x"], "--imatrix names a matrix, --imatrix-from makes one"),
        (["--imatrix-chunks", 3], "A quantization without --imatrix-from does not use --imatrix-chunks"),
        (["--db", "x.db"], "A quantization without --imatrix-from does not use --db"),
        (["--imatrix-from", "none.txt"], "No file 'none.txt'"),
        (["--imatrix-from", "x", "--imatrix-chunks", 0], "--imatrix-chunks must be at least 1"),
        (["--imatrix-from", tmp_path / "short.txt"], "The texts have no 16 tokens in a row"),
    ):
        done = run(bundled, "Q2_K", "--out", tmp_path / "out", *words)
        assert done.exit_code == 2, done.output
        assert sentence in " ".join(done.output.split())
    assert not list((tmp_path / "out").glob("*"))


def test_conversations_are_read_through_the_template(bundled, tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps(CHAT))
    passages = read_passages([str(tmp_path / "c.jsonl")], tmp_path / "none.db")
    make(str(bundled), passages, tmp_path / "m.gguf", threads=1)
    counts = {t.name: t.data for t in gguf.GGUFReader(tmp_path / "m.gguf").tensors}
    with engine.open(bundled, vocab_only=True) as model:
        said = "<|im_start|>user\nHow many are 2 and 3?<|im_end|>\n<|im_start|>assistant\n2 + 3 = 5.<|im_end|>\n"
        assert counts["blk.0.attn_q.weight.counts"].sum() == len(model.vocab.tokenize(said, special=True))
    with pytest.raises(UsageError, match="no 16 tokens in a row"):
        make(str(bundled), [Passage("x", PLAIN, "One two.")], tmp_path / "n.gguf", threads=1)
