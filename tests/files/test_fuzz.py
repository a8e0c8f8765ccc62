"""Headers that nobody should have written: a sentence for each, and the interpreter lives on.

Each file is read in this very process, by the same functions as a run's: a crash would take pytest with it.
"""

import random
import struct

import gguf
import pytest
from click.testing import CliRunner

from localent.cli import main
from localent.engine import Options, Prompt
from localent.engine import open as open_model
from localent.engine.llama import guard
from localent.errors import LocalentError
from localent.files import identity
from localent.files.header import read_header

N_FUZZED, N_AT_ONCE = 100, 10


def header_bytes(path):
    return read_header(path).data_start


def flipped(content, n_header, draw):
    """Some bits of the header turned."""
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8])):
        found[draw.randrange(4, n_header)] ^= 1 << draw.randrange(8)
    return bytes(found)


def overwritten(content, n_header, draw):
    """A length, a count or a number replaced by an absurd one."""
    value = draw.choice([0, 1, 2**16, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1])
    at = draw.randrange(4, n_header - 8)
    return content[:at] + struct.pack("<Q", value)[: draw.choice([1, 2, 4, 8])].ljust(1, b"\0") + content[at + 8 :]


def numbers_replaced(content, n_header, draw):
    """A hyperparameter of the right kind and an impossible value."""
    keys = [b"head_count", b"head_count_kv", b"block_count", b"embedding_length", b"context_length", b"dimension_count"]
    keys += [b"feed_forward_length", b"bos_token_id", b"eos_token_id", b"key_length", b"vocab_size"]
    at = content.find(draw.choice(keys), 0, n_header)
    if at < 0:
        return overwritten(content, n_header, draw)
    while content[at : at + 1].isalpha() or content[at : at + 1] == b"_":
        at += 1
    value = draw.choice([0, 1, 3, 7, 65535, 2**20, 2**31 - 1, 2**32 - 1])
    return content[: at + 4] + struct.pack("<I", value) + content[at + 8 :]


def cut(content, n_header, draw):
    return content[: draw.randrange(0, len(content))]


def spliced(content, n_header, draw):
    """A piece of the header put elsewhere in it."""
    start, at = draw.randrange(4, n_header - 64), draw.randrange(4, n_header - 64)
    return content[:at] + content[start : start + draw.randrange(1, 64)] + content[at:]


WAYS = [flipped, overwritten, numbers_replaced, cut, spliced]


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


@pytest.mark.parametrize("block", range(N_FUZZED // N_AT_ONCE))
def test_fuzzed_headers_get_a_sentence(random_model, tmp_path, block):
    draw = random.Random(block)
    for i in range(N_AT_ONCE):
        source = random_model(("tiny-llama", "tiny-qwen2", "tiny-gemma2")[i % 3])
        way = WAYS[(block + i) % len(WAYS)]
        path = tmp_path / f"{way.__name__}-{i}.gguf"
        path.write_bytes(way(source.read_bytes(), header_bytes(source), draw))
        told = complaint(path)
        assert told is None or (told and "\n" not in told), (path, told)


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
    monkeypatch.setattr(guard, "trial", lambda path: tried.append(path))
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
