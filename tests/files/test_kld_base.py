"""The base file of llama-perplexity: read as the tool wrote it, written so that the tool would read it."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from localent.errors import LocalentError, UsageError
from localent.files import kld_base
from localent.measure.entropy import log_softmax

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"


def written(path: Path, n_vocab: int, n_ctx: int = 8, n_chunk: int = 2, seed: int = 0) -> np.ndarray:
    """A base file of random rows; returns the rows, (n_rows, n_vocab)."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 5, (n_chunk * kld_base.rows_of(n_ctx), n_vocab)).astype(np.float32)
    tokens = rng.integers(n_vocab, size=(n_chunk, n_ctx))
    with kld_base.Writer(path, n_ctx, n_vocab, tokens) as writer:
        writer.add(rows)
    return rows


def test_the_tools_own_file_is_read():
    base = kld_base.read(GOLDEN / "base.kld")
    assert (base.n_ctx, base.n_vocab, base.tokens.shape, base.n_rows) == (64, 260, (12, 64), 31)
    text = (GOLDEN / "text.txt").read_bytes()
    assert len(text.removesuffix(b"\n")) // 64 >= 12
    rows = [row for chunk in kld_base.chunks(base) for row in chunk]
    assert len(rows) == 12 * 31
    assert np.allclose([np.exp(row.astype(float)).sum() for row in rows], 1, atol=1e-4)


@pytest.mark.parametrize("n_vocab", [260, 261, 1000])
def test_rows_come_back_within_half_a_level(tmp_path, n_vocab):
    """16 nats over 65,535 levels: half a level is 1.3e-4 nats at most; what lies deeper is stored 16 nats down."""
    rows = written(tmp_path / "b.kld", n_vocab)
    base = kld_base.read(tmp_path / "b.kld")
    assert (tmp_path / "b.kld").stat().st_size == kld_base.file_bytes(8, n_vocab, 2)
    found = np.array([row for chunk in kld_base.chunks(base) for row in chunk])
    true = log_softmax(rows)
    reach = true > true.max(1, keepdims=True) - 16
    assert np.abs(found - true)[reach].max() < 1.3e-4
    assert np.allclose(found[~reach], np.broadcast_to(true.max(1, keepdims=True) - 16, true.shape)[~reach], atol=1e-4)


def test_a_row_of_equal_logits_is_stored_without_division_by_zero():
    words = np.zeros(2 * 2 + 4, np.uint16)
    kld_base.pack(np.full(4, 3.5, np.float32), words)
    assert np.allclose(kld_base.unpack(words, 4), -np.log(4))


def test_packing_what_the_tool_stored_changes_nothing():
    """Unpacked rows are log-probabilities; packed again, scale and levels are the tool's own, but for rounding."""
    base = kld_base.read(GOLDEN / "base.kld")
    for chunk in kld_base.chunks(base):
        for row in chunk:
            words = np.zeros(base.row_words, np.uint16)
            kld_base.pack(row, words)
            assert np.abs(kld_base.unpack(words, base.n_vocab) - row).max() < 2e-4


def test_a_broken_writer_leaves_no_file(tmp_path):
    path = tmp_path / "b.kld"
    with kld_base.Writer(path, 8, 10, np.zeros((2, 8))) as writer:
        writer.add(np.zeros((3, 10), np.float32))  # three of six rows: not whole
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(LocalentError, match="rows"):
        fill(path, np.zeros((6, 11), np.float32))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_disk_cannot_hold_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(kld_base.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(UsageError, match=r"would take 11,721 MB and the disk has 0"):
        kld_base.Writer(tmp_path / "b.kld", 512, 32_000, np.zeros((718, 512)))
    assert list(tmp_path.iterdir()) == []


def test_rows_are_read_one_by_one(tmp_path):
    """Whatever the size of the vocabulary and the chunk, what is asked for is all that is unpacked."""
    rows = written(tmp_path / "b.kld", 1000)
    second = list(kld_base.chunks(kld_base.read(tmp_path / "b.kld")))[1]
    assert np.abs(second[2] - log_softmax(rows)[5]).max() < 16
    assert second[2].argmax() == rows[5].argmax()
    with pytest.raises(IndexError):
        second[3]


def fill(path: Path, rows: np.ndarray) -> None:
    with kld_base.Writer(path, 8, 10, np.zeros((2, 8))) as writer:
        writer.add(rows)


def test_foreign_and_cut_off_files_are_refused(tmp_path):
    whole = (GOLDEN / "base.kld").read_bytes()
    cases = {"foreign": b"GGUF" + whole, "short": whole[:12], "cut": whole[:-1], "long": whole + b"x", "empty": b""}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LocalentError, match=r"not a base file|damaged or cut off"):
            kld_base.read(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        kld_base.read(tmp_path / "absent")


@pytest.mark.parametrize("number", [16.0, np.nan, np.inf, -1e-4])
@pytest.mark.parametrize("at", [0, 1])
def test_a_row_that_no_distribution_has_is_named(tmp_path, number, at):
    """at 0: its scale; at 1: its smallest log-probability."""
    path = tmp_path / "b.kld"
    written(path, 261)
    base = kld_base.read(path)
    content = bytearray(path.read_bytes())
    row = len(content) - 2 * base.row_words  # the last of six
    content[row + 4 * at : row + 4 * at + 4] = np.float32(number).tobytes()
    path.write_bytes(content)
    first, second = kld_base.chunks(kld_base.read(path))
    assert len(list(first)) == 3
    with pytest.raises(LocalentError, match=r"b\.kld is damaged \(row 5\): write it again"):
        list(second)


@pytest.mark.parametrize("token", [-1, 261])
def test_token_ids_outside_the_vocabulary_are_refused(tmp_path, token):
    path = tmp_path / "b.kld"
    written(path, 261)
    content = bytearray(path.read_bytes())
    content[20 + 4 * 9 : 20 + 4 * 10] = np.int32(token).tobytes()
    path.write_bytes(content)
    with pytest.raises(LocalentError, match=r"b\.kld is damaged \(token ids from .* among 261\)"):
        kld_base.read(path)
