"""Models with different tokenizers: bits per byte on the same bytes, whatever the tokens are."""

import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from localent import engine
from localent.cli import main
from localent.compare import Plan, compare_bytes
from localent.compare.by_bytes import pieces_of
from localent.engine import Options
from localent.errors import UsageError
from localent.measure.entropy import log_softmax

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"
MODEL = GOLDEN / "tiny-f16.gguf"
SENTENCE = "Mia had 12 books and bought 7 more. How many books did she have then? She had 19 of them. "


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(SENTENCE * 40)
    return path


@pytest.mark.parametrize("n_bytes", [10, 64, 500])
def test_pieces_are_the_text_and_break_before_a_space(n_bytes):
    text = SENTENCE * 5 + "zwölf Bäume  und\n\nmehr " * 9
    pieces = pieces_of(text, n_bytes)
    assert text.startswith("".join(pieces))
    assert len(text) - len("".join(pieces)) < n_bytes + 20
    assert all(piece[0].isspace() for piece in pieces[1:])
    assert all(n_bytes <= len(piece.encode()) for piece in pieces)


def test_bits_are_those_of_the_tokens_that_make_the_bytes(text, bundled):
    """By hand: the first two pieces, fed whole."""
    found = compare_bytes([str(bundled), str(MODEL)], text, plan=Plan(ctx=64, threads=1, limit=1))
    first, second = pieces_of(text.read_text(), 64)[:2]
    assert (found.n_pieces, found.n_bytes) == (1, len(second.encode()))
    for path, one in zip((bundled, MODEL), found.models, strict=True):
        with engine.open(path) as model:
            vocab = model.vocab
            head = [*([] if vocab.bos is None else [vocab.bos]), *vocab.tokenize(first)]
            tail = vocab.tokenize(second)
            with model.scorer(Options(n_lanes=1, n_ctx=512, n_threads=1, chunk=512)) as scorer:
                rows = np.array(scorer.feed([*head, *tail][:-1], len(tail)))
        bits = -sum(log_softmax(row)[token] for row, token in zip(rows, tail, strict=True)) / math.log(2)
        assert one.n_tokens == len(tail)
        assert one.per_byte.value == pytest.approx(bits / len(second.encode()), rel=1e-3)
        assert one.per_character.value == pytest.approx(bits / len(second), rel=1e-3)


def test_a_model_and_itself_need_equally_many_bits(text, bundled):
    found = compare_bytes([str(bundled), str(bundled)], text, plan=Plan(ctx=64, threads=1, limit=35))
    reference, same = found.models
    assert same.per_byte == reference.per_byte
    assert (same.change.value, same.p, reference.change) == (0.0, None, None)
    assert reference.per_byte.low < reference.per_byte.value < reference.per_byte.high


def test_other_tokenizers_are_compared_side_by_side(text, bundled, tmp_path):
    command = ["compare", str(bundled), str(MODEL), "--text", str(text), "--ctx", "64", "--threads", "1"]
    done = CliRunner().invoke(main, [*command, "--db", str(tmp_path / "c.db")])
    assert done.exit_code == 0, done.output
    assert "bits per byte" in done.stdout
    assert "tiny-f16.gguf needs" in done.stdout
    assert "more than abacus-sft-f16.gguf" in " ".join(done.stdout.split())
    assert "same top and flips need equal tokens" in " ".join(done.stdout.split())
    markdown = CliRunner().invoke(main, [*command, "--db", str(tmp_path / "c.db"), "--md"])
    assert markdown.stdout.startswith("| file")


def test_a_text_that_is_too_short_is_one_sentence(tmp_path, bundled):
    (tmp_path / "short.txt").write_text(SENTENCE)
    with pytest.raises(UsageError, match="use a longer text, a smaller --ctx"):
        compare_bytes([str(bundled), str(MODEL)], tmp_path / "short.txt", plan=Plan(ctx=64, threads=1))
