"""What goes wrong with quants gets one sentence that names the file and the way out, and writes nothing."""

import gguf
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import adapters

from localent.cli import main

THREADS = ["--threads", "1"]


@pytest.fixture
def files(random_model, bundled, tmp_path):
    """Names in the commands below -> paths."""
    text, short, matrix = tmp_path / "text.txt", tmp_path / "short.txt", tmp_path / "other.imatrix"
    text.write_text("Ann has 3 apples and gets 4 more. " * 40)
    short.write_text("Too short.")
    writer = gguf.GGUFWriter(matrix, "imatrix")
    writer.add_type("imatrix")
    writer.add_tensor("blk.0.ffn_up.weight.in_sum2", np.ones((1, 64), np.float32))
    writer.add_tensor("blk.0.ffn_up.weight.counts", np.ones((1, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    model, other = random_model("tiny-llama"), random_model("tiny-qwen2")
    lora = adapters.write(tmp_path / "lora.gguf", adapters.pairs(other, ["blk.0.attn_q.weight"]), arch="qwen2")
    return {"M": model, "OTHER": bundled, "TEXT": text, "SHORT": short, "MATRIX": matrix, "LORA": lora}


MISTAKES = {
    "no quant fits": ("choose M --memory 1MB --text TEXT", "No file fits: tiny-llama.gguf needs"),
    "two models": ("compare M OTHER --text TEXT --positions", "tiny-llama.gguf and abacus-sft-f16.gguf cannot be"),
    "cache type": ("score M TEXT --cache-type-k q8_0", "refuses this type of the key-value cache"),
    "imatrix": ("quantize OTHER IQ2_XS --imatrix MATRIX", "it has 64 columns for blk.0.ffn_up.weight"),
    "short text": ("compare M M --text SHORT", "The text has 10 tokens, one chunk takes 512: use a longer text or"),
    "adapter": ("score M TEXT --lora LORA", "is an adapter of another model than tiny-llama.gguf: it is for qwen2"),
    "no run": ("score M abcdef --keep", "No file 'abcdef': name a text file, conversations in JSONL, or a run"),
    "runs": ("compare abcdef abcdee", "Runs of the database (--db) need none."),
    "bits": ("quantize M --bits 0.5", "got --bits 0.5: choose between, or name a QUANT."),
}


@pytest.mark.parametrize(("words", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_gets_a_sentence(files, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    given = [str(files.get(word, word)) for word in words.split()]
    out = ["--out", "quants"] if given[0] == "quantize" else []
    done = CliRunner().invoke(main, [*given, *out, *THREADS])
    assert done.exit_code in (1, 2)
    said = [line for line in done.stderr.splitlines() if line.startswith("localent: ")]
    assert len(said) == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.output
    assert {path for path in tmp_path.iterdir() if path.suffix == ".gguf"} <= before
