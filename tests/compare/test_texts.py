"""Comparison on several texts, on conversations, and on traces as text."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from localent.analysis import quantities
from localent.analysis.divergence import macro
from localent.analysis.intervals import Estimate
from localent.cli import main
from localent.compare import Plan, compare_text
from localent.errors import UsageError
from localent.models import resolve
from localent.report import overview
from localent.runs import Settings
from localent.runs.passages import PLAIN, Passage, read_passages
from localent.runs.text import score_texts

KLD, PPL_BASE = quantities.KLD.key, quantities.PPL_BASE.key
MODELS = ("abacus-sft", "abacus-sft:Q4_0")
PLAN = Plan(ctx=32, threads=1, noise=False)
ASK = {"role": "user", "content": "How many are 2 and 3?"}
CHATS = [
    {"messages": [ASK, {"role": "assistant", "content": "2 + 3 = 5. The answer is 5."}]},
    {"messages": [ASK, {"role": "assistant", "content": "Five."}, ASK, {"role": "assistant", "content": "5 again."}]},
]
TEXTS = [Passage("a", PLAIN, "Ann has 3 apples and gets 4 more. " * 12), Passage("b", PLAIN, "7 + 8 = 15. " * 40)]


@pytest.fixture(scope="module")
def chats(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, CHATS)))
    return path


def test_the_average_over_texts_counts_each_the_same():
    """Every text by itself gives the numbers that it has among others."""
    (one,) = compare_text(MODELS, TEXTS, plan=PLAN).candidates
    alone = [compare_text(MODELS, [text], plan=PLAN).candidates[0] for text in TEXTS]
    assert [part.forced[KLD].value for part in one.parts] == [each.forced[KLD].value for each in alone]
    assert one.parts[0].n_texts != one.parts[1].n_texts
    printed = overview.render(compare_text(MODELS, TEXTS, plan=PLAN), 100)
    average = np.mean([each.forced[KLD].value for each in alone])
    assert overview.small(average) in next(line for line in printed.splitlines() if line.startswith("macro average"))
    assert one.forced[KLD].value != pytest.approx(average, rel=1e-3)  # the whole counts every token the same
    assert alone[0].parts == ()


def test_the_interval_of_an_average_covers_it():
    """Means of three normal samples of different sizes: 95 % intervals of each give one that covers in 95 %."""
    rng, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        parts = []
        for n, scale in ((40, 1.0), (90, 3.0), (400, 0.5)):
            values = rng.normal(0.0, scale, n)
            half = 1.96 * values.std(ddof=1) / math.sqrt(n)
            parts.append(Estimate(values.mean(), values.mean() - half, values.mean() + half))
        found = macro(parts)
        covered += found.low <= 0 <= found.high
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)
    assert macro([Estimate(1.0), parts[0]]).low is None


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_overview_fits_the_terminal(width, tmp_path):
    """With long names of files and texts, in whatever layout."""
    paths = [tmp_path / f"some-model-with-a-long-name-instruct-{quant}.gguf" for quant in ("f16", "Q4_0", "Q4_1")]
    for path, name in zip(paths, ("abacus-sft", "abacus-sft:Q4_0", "abacus-sft:Q4_1"), strict=True):
        path.symlink_to(resolve(name))
    long = [replace(text, name=f"{text.name}-of-a-long-name-indeed.txt") for text in [*TEXTS, *TEXTS]]
    long = [replace(text, name=f"{i}{text.name}") for i, text in enumerate(long)]
    found = compare_text([*map(str, paths)], long, plan=replace(PLAN, limit=2))
    assert max(map(len, overview.render(found, width).splitlines())) <= width
    assert max(map(len, overview.render(found, 400).splitlines())) > width  # it adapts


def test_of_conversations_what_the_assistant_says_is_scored(chats):
    """The perplexity is that of `score`, which reads each conversation once, in lanes."""
    passages = read_passages([str(chats)], Path("none.db"))
    found = compare_text(MODELS, passages, plan=PLAN)
    (scored,) = score_texts(MODELS[0], passages, settings=Settings(threads=1, lanes=2))
    (one,) = found.candidates
    assert (found.n_texts, found.unit, one.forced.n) == (3, "turns", scored.n_tokens)
    assert one.forced[PPL_BASE].value == pytest.approx(scored.perplexity, rel=0.01)
    assert "turns of chats.jsonl" in overview.render(found, 100)


def test_conversations_and_base_files_do_not_go_together(chats, tmp_path):
    passages = read_passages([str(chats)], Path("none.db"))
    with pytest.raises(UsageError, match="takes one plain text"):
        compare_text(MODELS, passages, plan=PLAN, write_base=tmp_path / "x.kld")


def test_texts_on_the_command_line(chats, tmp_path):
    for text in TEXTS:
        (tmp_path / text.name).write_text(text.text)
    options = ["--ctx", "32", "--threads", "1", "--no-noise", "--db", str(tmp_path / "x.db")]
    texts = ["--text", str(tmp_path / "a"), "--text", str(chats)]
    done = CliRunner().invoke(main, ["compare", *MODELS, *texts, *options])
    assert done.exit_code == 0, done.output
    assert "chunks and turns of a, chats.jsonl" in done.output
    assert "macro average" in done.output
    short = CliRunner().invoke(main, ["compare", *MODELS, *texts, "--ctx", "4096", *options[2:]])
    assert short.exit_code == 2
    assert "a has 205 tokens, one chunk takes 4096: use a longer text or a smaller --ctx." in short.output
    assert resolve(MODELS[1]).name in done.output
