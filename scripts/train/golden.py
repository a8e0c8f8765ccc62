"""Golden logits for a test without torch: `python golden.py SFT.gguf` writes golden.json.

The weights are rounded to float16 as in the shipped file, then run in float32 by PyTorch, token by token in its own
attention. llama.cpp, given the same file with its matrices widened to float32, must give the same numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from demo_problems import SEED, choice_problems, number_problems
from documents import CUE, chat_prompt, plain_prompt
from evaluate import open_stage
from problems import lines

HERE = Path(__file__).parent


def cases() -> list[str]:
    """A number prompt, the same with its steps and the cue, a choice prompt with the cue, plain text."""
    number, choice = number_problems(3, SEED)[2], choice_problems(2, SEED)[1]
    steps = "".join(f"{line}\n" for line in lines(number))
    return [
        chat_prompt(number),
        chat_prompt(number) + steps + CUE,
        chat_prompt(choice) + CUE,
        plain_prompt(number),
        "The 7 pens & naïve <|im_end|>",
    ]


@torch.inference_mode()
def last_logits(reader, text: str) -> dict:
    ids = reader.tokenizer.encode(text).ids
    logits = reader.model.logits(reader.model(torch.tensor([ids])))[0, -1]
    return {"text": text, "ids": ids, "last_logits": [round(x, 5) for x in logits.tolist()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    args = parser.parse_args()
    reader = open_stage("sft", args.work)
    for p in reader.model.parameters():
        p.data = p.data.half().float() if p.ndim == 2 else p.data
    sha256 = hashlib.sha256(args.gguf.read_bytes()).hexdigest()
    golden = {
        "derivation": __doc__,
        "file": args.gguf.name,
        "sha256": sha256,
        "cases": [last_logits(reader, t) for t in cases()],
    }
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
