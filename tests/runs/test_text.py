"""Scoring a plain text: token by token what the model says, in windows."""

import math

import numpy as np
import pytest

from localent.engine import Options, Prompt, drive
from localent.engine import open as open_model
from localent.errors import UsageError
from localent.measure.entropy import entropy, log_softmax
from localent.runs import Settings
from localent.runs.text import score_text

SETTINGS = Settings(lanes=2, threads=1)


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


def rows_after(path, tokens):
    """Log-probabilities after each proper prefix, every prefix prefilled from the start: slow and plain."""

    def one(n):
        return np.array((yield Prompt(tokens[:n])))

    with open_model(path) as weights, weights.lanes(Options(1, 256, 1)) as engine:
        return [log_softmax(next(drive(engine, [one(n)]))) for n in range(1, len(tokens))]


def test_a_plain_text_is_scored_as_the_model_reads_it(model):
    text = "Two and two is four."
    with open_model(model) as weights:
        tokens, bos = weights.vocab.tokenize(text), weights.vocab.bos
    fed = tokens if bos is None else [bos, *tokens]
    rows = rows_after(model, fed)
    found = score_text(model, text, settings=SETTINGS)
    surprisal = [-row[token] for row, token in zip(rows, fed[1:], strict=True)]
    assert (found.n_tokens, found.n_windows) == (len(surprisal), 1)
    assert found.surprisal == pytest.approx(np.mean(surprisal), abs=1e-3)
    assert found.perplexity == pytest.approx(math.exp(found.surprisal))
    assert found.entropy == pytest.approx(np.mean([entropy(row) for row in rows]), abs=1e-3)


def test_windows_cover_the_text_and_begin_afresh(model):
    found = score_text(model, "abc def ghi jkl " * 20, window=16, settings=SETTINGS)
    assert found.n_windows > 3
    with pytest.raises(UsageError, match="fewer than two tokens"):
        score_text(model, "")
