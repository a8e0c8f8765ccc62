"""Files that differ in what changes no token's text are compared, and told; a common vocabulary is compared alone."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from localent.cli import main
from localent.compare import Plan, compare_text
from localent.errors import LocalentError

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"
MODEL, TEXT = GOLDEN / "tiny-f16.gguf", GOLDEN / "text.txt"
PLAN = Plan(ctx=64, limit=3, threads=1, noise=False)
TOKENS, TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
BOS = "tokenizer.ggml.bos_token_id"


def changed(target, fields=lambda key, value: value, n_more=0):
    """A copy of the model with other fields (None: left out) and so many more rows of the embedding."""
    copy, reader = gguf.GGUFWriter(target, "llama"), gguf.GGUFReader(MODEL)
    for key, field in reader.fields.items():
        value = fields(key, field.contents())
        if not key.startswith("GGUF.") and key != "general.architecture" and value is not None:
            kind = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            copy.add_key_value(key, value, field.types[0], sub_type=kind)
    for tensor in reader.tensors:
        wide = tensor.name == "token_embd.weight" and n_more
        copy.add_tensor(tensor.name, np.concatenate([tensor.data, tensor.data[:n_more]]) if wide else tensor.data)
    copy.write_header_to_file()
    copy.write_kv_data_to_file()
    copy.write_tensors_to_file()
    copy.close()
    return target


def padded(key, value):
    if key in (TOKENS, TYPES):
        return [*value, *([f"<pad{i}>" for i in range(4)] if key == TOKENS else [5] * 4)]
    return value + 4 if key == "llama.vocab_size" else value


def compared(*models):
    return compare_text([str(model) for model in models], TEXT, plan=PLAN)


def test_padding_changes_nothing_of_what_both_have(tmp_path):
    """The same weights: without the padding rows, the same distribution to the last bit, in either direction."""
    wide = changed(tmp_path / "padded.gguf", padded, n_more=4)
    for models in ((MODEL, wide), (wide, MODEL)):
        done = compared(*models)
        assert done.candidates[0].forced["Mean KLD"].value == 0.0
        assert done.candidates[0].forced["RMS Δp"].value == 0.0
        (told,) = done.warnings
        assert "260" in told
        assert "264" in told
        assert "the 260 that both have are compared" in told


def test_a_common_vocabulary_is_part_of_what_a_comparison_is_known_by(tmp_path):
    """Beside a third file with fewer tokens, two files are compared on other distributions."""
    wide = changed(tmp_path / "padded.gguf", padded, n_more=4)

    def renamed(key, value):
        return "other" if key == "general.name" else padded(key, value)

    other = changed(tmp_path / "other.gguf", renamed, n_more=4)
    alone, beside = compared(wide, other), compared(wide, other, MODEL)
    assert alone.candidates[0].comparison_id != beside.candidates[0].comparison_id
    assert alone.warnings == ()


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (lambda key, value: None if key == BOS else value, "differ in bos_token_id"),
        (lambda key, value: [*value[:-1], 4] if key == TYPES else value, "differ in token_type"),
        (lambda key, value: [*value[:-1], "<other>"] if key == TOKENS else value, "name 1 control or unused token"),
    ],
)
def test_metadata_that_changes_no_text_is_told_and_not_refused(tmp_path, fields, names):
    last_is_special = lambda key, value: [*value[:-1], 3] if key == TYPES else value  # noqa: E731
    base = changed(tmp_path / "base.gguf", last_is_special)

    def both(key, value):
        return fields(key, last_is_special(key, value))

    other = changed(tmp_path / "other.gguf", both)
    done = compared(base, other)
    assert done.candidates[0].forced["Mean KLD"].value == 0.0
    (told,) = done.warnings
    assert names in told
    assert "base.gguf and other.gguf" in told


def test_a_token_of_text_that_differs_is_refused(tmp_path):
    def swapped(key, value):
        return [*value[:70], value[71], value[70], *value[72:]] if key == TOKENS else value

    with pytest.raises(LocalentError, match="tokenizers differ in tokens, so the same token id means different text"):
        compared(MODEL, changed(tmp_path / "swapped.gguf", swapped))


def test_a_text_with_a_token_that_only_one_model_has_is_refused(tmp_path):
    """Its own tokenizer makes one token of two letters, with an id that the shorter vocabulary ends before."""

    def longer(key, value):
        if key in (TOKENS, TYPES):
            return [*value, *(["is", "<x>", "<y>", "<z>"] if key == TOKENS else [1, 5, 5, 5])]
        if key == "tokenizer.ggml.merges":
            return ["i s", *value]
        return value + 4 if key == "llama.vocab_size" else value

    wide = changed(tmp_path / "longer.gguf", longer, n_more=4)
    text = tmp_path / "text.txt"
    text.write_text("this is his " * 40)
    done = CliRunner().invoke(main, ["compare", str(wide), str(MODEL), "--text", str(text), "--ctx", "64"])
    assert (done.exit_code, "which only some of the models have" in done.output) == (1, True), done.output
