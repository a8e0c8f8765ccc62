"""The checkpoints that are shipped, in order of training: `python checkpoints.py [RECIPE]` prints their names.

Each is kept as NAME.pt and shipped as abacus-NAME-f16.gguf; models.toml lists them for localent.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One member of the family."""

    description: str
    chat: bool  # trained with the chat template


CHECKPOINTS = {
    "early": Checkpoint("early in pretraining on noisy worked solutions", chat=False),
    "base": Checkpoint("end of pretraining on noisy worked solutions", chat=False),
    "sft": Checkpoint("fine-tuned on clean worked solutions in a chat template", chat=True),
    "rl": Checkpoint("fine-tuned, then reinforced on correct answers", chat=True),
}

THINKING = {"think": Checkpoint("fine-tuned, then taught to think aloud inside <think>", chat=True)}
EVERY = CHECKPOINTS | THINKING
OF_RECIPE = {"shipped": CHECKPOINTS, "clues": EVERY}  # the recipe of documents.py -> what it makes

if __name__ == "__main__":
    print(*OF_RECIPE[sys.argv[1] if len(sys.argv) > 1 else "shipped"])
