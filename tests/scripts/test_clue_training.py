"""The recipe with clue tasks: what is read and what is trained on, and that the shipped recipe stays what it was."""

from __future__ import annotations

import hashlib
import random
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from localent import tasks
from localent.tasks.thought import DEFAULT

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "train"))

from documents import (
    AGAIN,
    CLUED,
    DOUBT,
    MIXES,
    RECIPES,
    any_clues,
    clue_body,
    clue_document,
    document,
    thinking_document,
)


@pytest.mark.parametrize(
    ("stage", "digest"), [("pretrain", "482ff8bab0d3"), ("finetune", "b8f05a80d873"), ("settle", "1d2fe9b441b1")]
)
def test_the_shipped_recipe_makes_the_documents_that_the_shipped_models_saw(stage, digest):
    rng = random.Random("0/golden")
    texts = "".join(repr(document(stage, 3, rng)) for _ in range(40))
    assert hashlib.sha256(texts.encode()).hexdigest()[:12] == digest


def test_every_stage_of_the_other_recipe_has_clues():
    assert set(RECIPES[CLUED]) == {*MIXES, "think"}
    for stage in RECIPES[CLUED]:
        rng = random.Random(1)
        made = ["".join(p.text for p in document(stage, 3, rng, CLUED)) for _ in range(200)]
        assert 0.05 < sum("hidden" in text or "Find the number" in text for text in made) / 200 < 0.4


def test_a_clue_that_arrives_is_read_and_never_trained_on():
    rng, seen = random.Random(2), 0
    for _ in range(300):
        for piece in clue_document(rng, chat=True):
            if "Clue: " in piece.text:
                seen += 1
                assert not piece.trained
    assert seen > 200


def test_an_early_answer_is_uniform_over_what_is_left():
    """Its place in the list of those left; the cue is only read."""
    rng, places = random.Random(3), Counter()
    for _ in range(1500):
        made = any_clues(rng)
        pieces = clue_body(made, rng, early=True)
        *read, cue, answer = pieces
        left = made.ideal_answers[sum(piece.trained for piece in read)]
        assert not cue.trained
        if len(left) == 2:
            places[left.index(answer.text.strip(" ."))] += 1
    assert sum(places.values()) > 100
    assert abs(places[0] / sum(places.values()) - 0.5) < 0.15


def test_a_thought_ends_in_the_answer_and_slips_are_only_read():
    rng, doubts, again = random.Random(4), 0, 0
    for _ in range(400):
        prompt, *pieces = thinking_document(rng)
        text = "".join(piece.text for piece in pieces).removesuffix("<|im_end|>")
        assert text.startswith("<think>\n")
        assert text.count("</think>\n\nThe answer is ") == 1
        assert tasks.extract(text, tasks.NUMBER, (), DEFAULT).value or "A" <= text[-2] <= "E"
        for before, piece in pairwise(pieces):
            if piece.text == DOUBT:
                doubts += 1
                assert not before.trained
                assert piece.trained
        again += any(piece.text == AGAIN for piece in pieces)
        assert not prompt.trained
    assert doubts > 60
    assert again > 60


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports torch.jit
@pytest.mark.parametrize("stage", ["finetune", "think"])
def test_a_few_steps_of_training_lower_the_loss(tmp_path, stage):
    torch = pytest.importorskip("torch", reason="torch is not installed (it is only needed to train)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (it is only needed to train)")
    import train

    short = train.Stage(stage, tokens=20_000, lr=0.01, batch=1024)
    with torch.compiler.set_stance("force_eager"):
        trainer = train.Trainer(short, 1, tmp_path, CLUED)
        losses = []
        for batch in trainer.batches_ahead():
            losses.append(trainer.step(batch))
            if len(losses) == 12:
                break
    assert sum(losses[-3:]) < sum(losses[:3])
