"""Headers that nobody should have written: a sentence for each, and the interpreter lives on.

Each file is read in this very process, by the same functions as a run's: a crash would take pytest with it.
"""

import random
import struct

import gguf
import pytest
from breaking import gguf_files
from click.testing import CliRunner
from helpers.runs import call

from localent.cli import main
from localent.engine import Options, Prompt
from localent.engine import open as open_model
from localent.engine.llama import guard
from localent.errors import LocalentError
from localent.files import identity
from localent.files.header import read_header

N_EACH, N_READ = 8, 12  # files of each kind of damage


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """The bytes of small sound files of several architectures."""
    return gguf_files.sources(tmp_path_factory.mktemp("sound"))


def use(path):
    """What a run does with a file, in little."""
    identity.identify(path)
    with open_model(path) as model, model.lanes(Options(n_lanes=2, n_ctx=64, n_threads=1)) as engine:
        engine.prefill(0, Prompt(model.vocab.tokenize("12 and 7") or [0]))
        engine.decode([1, None])


def complaint(path):
    """The sentence that a file gets; None where it can be used."""
    try:
        use(path)
    except LocalentError as error:
        return str(error).strip()
    return None


@pytest.mark.parametrize("way", gguf_files.WAYS, ids=lambda way: way.__name__)
def test_fuzzed_headers_get_a_sentence(sound, tmp_path, way):
    draw = random.Random(way.__name__)
    for i in range(N_EACH):
        path = tmp_path / f"{way.__name__}-{i}.gguf"
        path.write_bytes(gguf_files.damaged(draw.choice(sound), way, draw))
        told = complaint(path)
        assert told is None or (told and "\n" not in told), (path, told)


@pytest.mark.parametrize("way", gguf_files.WAYS, ids=lambda way: way.__name__)
def test_commands_that_read_headers_say_a_sentence(sound, tmp_path, way):
    """The reading part of scripts/break, in little."""
    draw = random.Random(way.__name__)
    for i in range(N_READ):
        path = tmp_path / "model.gguf"
        path.write_bytes(gguf_files.damaged(draw.choice(sound), way, draw))
        for words in (("inspect", path), ("inspect", path, "--json"), ("models", "--in", tmp_path)):
            code, _, err = call(*words)  # which raises what is no sentence
            assert (code == 0) == (not err.strip() or "Warning" in err), (way, i, err)


def with_field(path, key, value, kind, sub=None):
    """A sound little model but for one field."""
    import random_model

    shape = random_model.SHAPES["tiny-llama"]
    before = random_model._add_hyperparameters

    def add(writer, shape, n_vocab):
        before(writer, shape, n_vocab)
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, kind, sub_type=sub)

    random_model._add_hyperparameters = add
    try:
        return random_model.write(path, shape)
    finally:
        random_model._add_hyperparameters = before


UINT, FLOAT, ARRAY = gguf.GGUFValueType.UINT32, gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.ARRAY
ABSURD = [
    ("llama.attention.head_count", 0, UINT, None),
    ("llama.attention.head_count", 3, UINT, None),
    ("llama.attention.head_count_kv", 3, UINT, None),
    ("llama.attention.head_count_kv", 0, UINT, None),
    ("llama.block_count", 2**31, UINT, None),
    ("llama.block_count", 0, UINT, None),
    ("llama.rope.dimension_count", 5, UINT, None),
    ("llama.rope.freq_base", float("nan"), FLOAT, None),
    ("llama.attention.layer_norm_rms_epsilon", float("inf"), FLOAT, None),
    ("llama.attention.layer_norm_rms_epsilon", -1e-6, FLOAT, None),
    ("llama.attention.layer_norm_rms_epsilon", 0.0, FLOAT, None),
    ("llama.rope.freq_base", -10000.0, FLOAT, None),
    ("llama.rope.freq_base", 10000, UINT, None),
    ("llama.embedding_length", 2**31, UINT, None),
    ("llama.attention.key_length", 0, UINT, None),
    ("llama.attention.unheard_of", 1, UINT, None),
    ("tokenizer.ggml.scores", [float("nan")] * 260, ARRAY, FLOAT),
    ("llama.expert_count", 4_000_000, UINT, None),
    ("tokenizer.ggml.bos_token_id", 2**31, UINT, None),
    ("tokenizer.ggml.token_type", [1] * 3, ARRAY, gguf.GGUFValueType.INT32),
    ("llama.attention.head_count", [4, 4, 4, 4], ARRAY, UINT),
]


@pytest.mark.parametrize(("key", "value", "kind", "sub"), ABSURD)
def test_an_absurd_field_makes_a_header_odd(tmp_path, key, value, kind, sub):
    """So that it is tried in a child process, and this one lives whatever llama.cpp does."""
    path = with_field(tmp_path / "absurd.gguf", key, value, kind, sub)
    assert guard.odd(path)
    assert "\n" not in (complaint(path) or "")


TEXT = gguf.GGUFValueType.STRING
ILL_FORMED = [
    ("general.name", ["a", "b"], ARRAY, TEXT),
    ("general.name", 3, UINT, None),
    ("general.architecture", ["llama"], ARRAY, TEXT),
    ("tokenizer.ggml.tokens", [1, 2, 3], ARRAY, UINT),
    ("tokenizer.ggml.tokens", "a", TEXT, None),
    ("tokenizer.ggml.merges", [1, 2, 3], ARRAY, UINT),
    ("tokenizer.ggml.token_type", ["a"] * 260, ARRAY, TEXT),
    ("tokenizer.ggml.bos_token_id", "one", TEXT, None),
    ("tokenizer.chat_template", [1, 2], ARRAY, UINT),
    ("llama.block_count", "two", TEXT, None),
    ("llama.context_length", [2048], ARRAY, UINT),
]


@pytest.mark.parametrize(("key", "value", "kind", "sub"), ILL_FORMED)
@pytest.mark.parametrize(
    "words", [("inspect",), ("models", "--in"), ("quantize", "Q8_0"), ("prompt", "demo-number"), ("doctor", "--quick")]
)
def test_a_field_that_is_not_of_its_form_is_named(tmp_path, key, value, kind, sub, words):
    path = with_field(tmp_path / "odd.gguf", key, value, kind, sub)
    where = [tmp_path] if words[0] == "models" else [path]
    code, out, err = call(*words, *where) if words[-1] == "--in" else call(words[0], *where, *words[1:])
    assert code == (words[0] != "models")
    assert "Traceback" not in out + err
    told = "is damaged or cut off" if words[0] == "models" else f"its {key} is "  # a cell is cut to its width
    assert told in " ".join((out + err).split())


@pytest.mark.parametrize("what", ["keys", "tensors", "a name that is not UTF-8"])
def test_names_are_texts_and_come_once(tmp_path, random_model, what):
    content = random_model("tiny-llama").read_bytes()
    old, new = {
        "keys": (b"llama.attention.key_length", b"llama.attention.head_count"),
        "tensors": (b"blk.0.attn_k.weight", b"blk.0.attn_q.weight"),
        "a name that is not UTF-8": (b"blk.0.attn_k.weight", b"blk.0.attn_\xff.weight"),
    }[what]
    path = tmp_path / "odd.gguf"
    path.write_bytes(content.replace(old, new, 1))
    for words in (("inspect", path), ("quantize", path, "Q8_0", "--out", tmp_path)):
        code, _, err = call(*words)
        assert code == 1
        assert "is damaged or cut off" in err


def test_a_tensor_that_does_not_fit_makes_a_header_odd(random_model, tmp_path):
    """Norms that are not F32 end ggml, and products of types that it cannot multiply."""
    content, seen = random_model("tiny-llama").read_bytes(), read_header(random_model("tiny-llama"))
    for tensor in seen.tensors:
        kind = 26 if tensor.kind == 0 else 25  # I32, I16: of the same size
        at = content.index(struct.pack("<Q", len(tensor.name)) + tensor.name.encode()) + 8 + len(tensor.name)
        at += 4 + 8 * len(tensor.dims)
        path = tmp_path / "odd.gguf"
        path.write_bytes(content[:at] + struct.pack("<I", kind) + content[at + 4 :])
        assert guard.odd(path), tensor


@pytest.mark.parametrize(
    ("key", "value", "arguments"),
    [
        ("general.name", "\x1b[2J\x07", ["doctor", "--quick"]),
        ("general.name", "\x1b[2J\x07", ["inspect"]),
        ("tokenizer.chat_template", "\x1b[2J{{ messages[0].content }}", ["prompt", "demo-number"]),
        ("tokenizer.chat_template", "{{ raise_exception('\x1b[2J\\nTwo lines') }}", ["prompt", "demo-number"]),
    ],
)
def test_a_files_own_words_are_shown_and_not_obeyed(tmp_path, key, value, arguments):
    """They would clear a terminal, or look like a message of localent."""
    path = with_field(tmp_path / "odd.gguf", key, value, gguf.GGUFValueType.STRING)
    done = CliRunner().invoke(main, [arguments[0], str(path), *arguments[1:]])
    assert done.exit_code == ("raise" in value)
    assert "\\x1b[2J" in done.output
    assert "\x1b" not in done.output
    assert "\nTwo lines" not in done.output


def test_real_headers_are_plain(random_model, bundled):
    """Or every user would wait for a child process."""
    for shape in ("tiny-llama", "tiny-qwen2", "tiny-gemma2", "tiny-olmo2"):
        assert guard.odd(random_model(shape)) == []
    assert guard.odd(bundled) == []


@pytest.mark.parametrize("name", ["llama-bpe", "llama-spm", "qwen2"])
def test_real_tokenizers_are_plain(shared, name):
    assert guard.odd(shared / "vocab" / f"ggml-vocab-{name}.gguf") == []


def test_an_odd_file_is_tried_once(random_model, monkeypatch, tmp_path):
    tried, path = [], random_model("tiny-mamba")
    monkeypatch.setattr(guard, "trial", lambda path, purpose: tried.append(path))
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path))
    guard.check(path)
    guard.check(path)
    assert len(tried) == 1


def test_a_crash_of_the_child_is_a_sentence(random_model, monkeypatch):
    """An abort inside llama.cpp, as by its assertions."""
    monkeypatch.setattr(guard.sys, "executable", "/bin/false")
    assert "makes llama.cpp crash" in guard.trial(random_model("tiny-llama"))


def test_an_assertion_of_llama_cpp_ends_only_the_child(tmp_path):
    """Two tokens of one text: llama.cpp asserts that there are none, and would end this process."""
    import random_model

    path = random_model.write(tmp_path / "twice.gguf", random_model.SHAPES["tiny-llama"])
    one = struct.pack("<Q", 1)
    path.write_bytes(path.read_bytes().replace(one + b"B", one + b"A", 1))
    with pytest.raises(LocalentError, match=r"makes llama\.cpp crash \(.*ASSERT"):
        open_model(path)
