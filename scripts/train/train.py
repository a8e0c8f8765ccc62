"""Supervised stages: `python train.py pretrain`, then `finetune`, `compare`, `recall`, `settle`, `weigh`.

The same command resumes an interrupted stage. `--recipe clues` mixes clue problems into every stage, and has a stage
`think` after `weigh`; the models that are shipped were made without.

A checkpoint holds weights, both optimizers and the position in the data; batches are a function of seed and
position, so an interrupted run sees exactly the batches of an uninterrupted one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from batches import IGNORE, Batch, Course, chunk
from documents import RECIPES, SHIPPED
from model import Abacus, Shape
from tokenizer import load
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).parent
SAVE_SECONDS = 120.0
LOG_EVERY = 20
CLIP = 1.0


@dataclass(frozen=True, slots=True)
class Stage:
    """tokens: padded tokens to see; early: also save the weights after so many; start: the initial weights.

    batch: padded tokens an update; chunks small[0] .. small[1] - 1 use half, for more updates while it learns to copy.
    """

    name: str
    tokens: int
    lr: float
    batch: int = 4096
    small: tuple[int, int] = (0, 0)
    start: str | None = None
    early: int | None = None
    warmup: float = 0.01
    cooldown: float = 0.4


STAGES = {
    "pretrain": Stage("pretrain", tokens=7_000_000, lr=0.02, small=(0, 20), early=2_000_000),
    "finetune": Stage("finetune", tokens=5_500_000, lr=0.015, start="base", cooldown=0.9),
    "compare": Stage("compare", tokens=6_000_000, lr=0.012, start="finetuned", cooldown=1.0),
    "recall": Stage("recall", tokens=6_000_000, lr=0.012, start="compared", cooldown=1.0),
    "settle": Stage("settle", tokens=6_000_000, lr=0.012, start="recalled", cooldown=1.0),
    "weigh": Stage("weigh", tokens=3_500_000, lr=0.012, start="settled", cooldown=1.0),
    "think": Stage("think", tokens=3_500_000, lr=0.012, start="sft", cooldown=1.0),
}
RESULT = {
    "pretrain": "base", "finetune": "finetuned", "compare": "compared", "recall": "recalled", "settle": "settled",
    "weigh": "sft", "think": "think",
}  # fmt: skip


def optimizers(model: Abacus, lr: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embedding and norms."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is m for m in matrices)]
    return [
        torch.optim.Muon(matrices, lr=lr, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=lr * 0.15, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def share_of_lr(progress: float, stage: Stage) -> float:
    """Learning-rate factor at `progress` in 0..1: short warmup, constant, then linear decay to 2 %."""
    down = (1 - progress) / stage.cooldown
    return min(1.0, progress / stage.warmup + 0.01, max(0.02, down))


def loss_of(model: Abacus, hidden: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over the targets that count; logits are made only there."""
    keep = targets != IGNORE
    return functional.cross_entropy(model.logits(hidden[keep]).float(), targets[keep])


class Trainer:
    """The state of one stage: model, optimizers, position (chunk, batch in chunk), tokens seen."""

    def __init__(self, stage: Stage, seed: int, work: Path, recipe: str = SHIPPED) -> None:
        torch.manual_seed(seed)
        self.stage, self.course, self.work = stage, Course(stage.name, seed, recipe), work
        work.mkdir(parents=True, exist_ok=True)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = load(work / "tokenizer.json", seed, recipe)
        self.model = Abacus(Shape()).to(self.device)
        if stage.start:
            self.model.load_state_dict(torch.load(work / f"{stage.start}.pt")["model"])
        self.hidden = torch.compile(self.model, dynamic=True)
        self.optimizers = optimizers(self.model, stage.lr)
        self.base_lr = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.at, self.tokens, self.steps, self.seconds = (0, 0), 0, 0, 0.0
        self.resume()

    @property
    def checkpoint(self) -> Path:
        return self.work / f"{self.stage.name}-resume.pt"

    @property
    def log_file(self) -> Path:
        return self.work / f"{self.stage.name}.jsonl"

    def resume(self) -> None:
        """Continue from the last resume point, if there is one."""
        if not self.checkpoint.exists():
            return
        kept = torch.load(self.checkpoint, map_location=self.device)
        self.model.load_state_dict(kept["model"])
        for optimizer, state in zip(self.optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.at, self.tokens, self.steps, self.seconds = kept["at"], kept["tokens"], kept["steps"], kept["seconds"]
        rows = self.log_file.read_text().splitlines() if self.log_file.exists() else []
        done = [row for row in rows if json.loads(row)["step"] <= self.steps]  # later rows will be written again
        self.log_file.write_text("".join(f"{row}\n" for row in done))

    def save(self) -> None:
        """Write the resume point, atomically."""
        part = self.checkpoint.with_suffix(".part")
        states = [o.state_dict() for o in self.optimizers]
        torch.save(
            {
                "model": self.model.state_dict(),
                "optimizers": states,
                "at": self.at,
                "tokens": self.tokens,
                "steps": self.steps,
                "seconds": self.seconds,
            },
            part,
        )
        part.replace(self.checkpoint)

    def export(self, name: str) -> None:
        """Keep the weights of this moment under a name."""
        torch.save(
            {"model": self.model.state_dict(), "shape": asdict(self.model.shape), "tokens": self.tokens},
            self.work / f"{name}.pt",
        )

    def step(self, batch: Batch) -> float:
        """One update; returns the loss in nats per token."""
        ids, targets = (x.to(self.device) for x in batch)
        factor = share_of_lr(self.tokens / self.stage.tokens, self.stage)
        for optimizer, lr in zip(self.optimizers, self.base_lr, strict=True):
            optimizer.param_groups[0]["lr"] = lr * factor
        with torch.autocast(self.device, torch.bfloat16):
            loss = loss_of(self.model, self.hidden(ids), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        before, self.tokens, self.steps = self.tokens, self.tokens + ids.numel(), self.steps + 1
        if self.stage.early and before < self.stage.early <= self.tokens:
            self.export("early")
        return loss.item()

    def log(self, losses: list[float]) -> None:
        row = {
            "stage": self.stage.name,
            "step": self.steps,
            "tokens": self.tokens,
            "loss_nats": round(sum(losses) / len(losses), 4),
            "seconds": round(self.seconds, 1),
        }
        with self.log_file.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def batches_ahead(self) -> Iterator[Batch]:
        """All batches from the present position on; the position moves when the next one is asked for."""
        while True:
            index, done = self.at
            budget = self.stage.batch // 2 if index in range(*self.stage.small) else self.stage.batch
            for i, batch in enumerate(chunk(self.course, index, budget, self.tokenizer)[done:], start=done):
                self.at = (index, i + 1)
                yield batch
            self.at = (index + 1, 0)

    def run(self) -> None:
        """Train to the end of the stage, saving a resume point every two minutes."""
        saved = last = time.monotonic()
        losses: list[float] = []
        for batch in self.batches_ahead():
            losses.append(self.step(batch))
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            if self.steps % LOG_EVERY == 0:
                self.log(losses)
                losses = []
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = now
            if self.tokens >= self.stage.tokens:
                break
        self.save()
        self.export(RESULT[self.stage.name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--recipe", choices=RECIPES, default=SHIPPED)
    parser.add_argument("--tokens", type=float, help="another length of the stage, for trials")
    args = parser.parse_args()
    stage = STAGES[args.stage]
    if stage.name not in RECIPES[args.recipe]:
        parser.error(f"the recipe {args.recipe!r} has no stage {stage.name!r}: choose --recipe clues")
    if args.tokens:
        stage = Stage(**{**asdict(stage), "tokens": int(args.tokens), "early": None})
    if not (args.work / f"{RESULT[stage.name]}.pt").exists():
        Trainer(stage, args.seed, args.work, args.recipe).run()


if __name__ == "__main__":
    main()
