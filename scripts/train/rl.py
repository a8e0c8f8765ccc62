"""Reinforcement on correct answers, from the fine-tuned model: `python rl.py`, which resumes an interrupted run.

Policy gradient with a group baseline: several solutions of one problem are sampled, each is rewarded 1 if its answer
is right, and the mean reward of its group is subtracted. Every update uses fresh samples, so nothing is clipped.
A small supervised loss on fine-tuning documents (early answers among them) keeps the forced answers calibrated.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from batches import IGNORE, encode, pad
from documents import (
    CLUE_SHARE,
    CLUED,
    PUZZLE_SHARE,
    RECIPES,
    SHIPPED,
    TURN_END,
    Piece,
    any_problem,
    any_puzzle,
    chat_prompt,
    early_clue_document,
    early_document,
)
from evaluate import answer_of
from generate import sample_in_groups, texts
from model import Abacus, Shape
from problems import Problem
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Settings:
    """n_problems times n_samples solutions an update; a group that is all right or all wrong teaches nothing."""

    n_updates: int = 200
    n_problems: int = 24
    n_samples: int = 8
    n_early: int = 24
    early_weight: float = 0.1
    lr: tuple[tuple[int, float], ...] = ((0, 1e-4), (75, 2e-4))  # (from update, rate)
    temperature: float = 1.0
    warmup: int = 5

    def rate(self, done: int) -> float:
        """Learning rate of the next update, after `done`: short warmup, then in steps."""
        return [rate for start, rate in self.lr if start <= done][-1] * min(1.0, (done + 1) / self.warmup)


def advantages(rewards: Tensor) -> Tensor:
    """Reward minus the mean of its group: (n_problems, n_samples) -> same."""
    return rewards - rewards.mean(1, keepdim=True)


def token_log_p(model: Abacus, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability (nats) of every counted target, and the row it is in: (n_counted,) each."""
    keep = targets != IGNORE
    logs = -functional.cross_entropy(model.logits(model(ids)[keep]).float(), targets[keep], reduction="none")
    return logs, keep.nonzero()[:, 0]


class Tuner:
    """The state of the stage: model, optimizer, number of updates done."""

    def __init__(self, settings: Settings, seed: int, work: Path, recipe: str = SHIPPED) -> None:
        self.settings, self.seed, self.work, self.recipe = settings, seed, work, recipe
        self.tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        self.model = Abacus(Shape())
        self.model.load_state_dict(torch.load(work / "sft.pt")["model"])
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=settings.rate(0), betas=(0.9, 0.95), weight_decay=0.0
        )
        self.done = 0
        if self.checkpoint.exists():
            kept = torch.load(self.checkpoint)
            self.model.load_state_dict(kept["model"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.done = kept["done"]
            kept_rows = self.log_file.read_text().splitlines()[: self.done]  # later ones will be written again
            self.log_file.write_text("".join(f"{row}\n" for row in kept_rows))

    @property
    def checkpoint(self) -> Path:
        return self.work / "rl-resume.pt"

    @property
    def log_file(self) -> Path:
        return self.work / "rl.jsonl"

    def save(self) -> None:
        part = self.checkpoint.with_suffix(".part")
        torch.save(
            {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "done": self.done}, part
        )
        part.replace(self.checkpoint)

    def solve(
        self, problems: list[Problem], generator: torch.Generator
    ) -> tuple[list[list[int]], list[list[int]], Tensor]:
        """Prompts and sampled solutions (each problem n_samples times), and rewards (n_problems, n_samples)."""
        prompts = [self.tokenizer.encode(chat_prompt(p)).ids for p in problems for _ in range(self.settings.n_samples)]
        end = self.tokenizer.token_to_id(TURN_END)
        rows = sample_in_groups(
            self.model, prompts, end=end, temperature=self.settings.temperature, generator=generator, most=280
        )
        found = texts(self.tokenizer, rows)
        rewards = [
            float(row[-1] == end and answer_of(t) == problems[i // self.settings.n_samples].answer)
            for i, (row, t) in enumerate(zip(rows, found, strict=True))
        ]
        return prompts, rows, torch.tensor(rewards).view(len(problems), -1)

    def push(self, rows: list[tuple[list[int], list[int], float]], n_tokens: int) -> None:
        """Add the policy gradient of (prompt, solution, advantage) rows, mean over all tokens, in small batches."""
        rows = sorted((r for r in rows if r[2]), key=lambda r: len(r[0]) + len(r[1]))
        for start in range(0, len(rows), 32):
            part = rows[start : start + 32]
            ids, targets = pad([((p + s)[:-1], [IGNORE] * (len(p) - 1) + s) for p, s, _ in part])
            with torch.autocast("cpu", torch.bfloat16):
                logs, row = token_log_p(self.model, ids, targets)
            (-(logs * torch.tensor([a for _, _, a in part])[row]).sum() / n_tokens).backward()

    def remember(self, rng: random.Random) -> None:
        """Add the gradient of the supervised loss on documents that answer early."""
        ids, targets = pad([encode(self.early(rng), self.tokenizer) for _ in range(self.settings.n_early)])
        with torch.autocast("cpu", torch.bfloat16):
            logs, _ = token_log_p(self.model, ids, targets)
        (-logs.mean() * self.settings.early_weight).backward()

    def early(self, rng: random.Random) -> list[Piece]:
        """A document that answers early."""
        clues = self.recipe == CLUED and rng.random() < CLUE_SHARE
        return (early_clue_document if clues else early_document)(rng)

    def problem(self, rng: random.Random) -> Problem:
        """A problem to be solved; one in which clues arrive cannot be sampled in one go."""
        puzzle = self.recipe == CLUED and rng.random() < PUZZLE_SHARE
        return (any_puzzle if puzzle else any_problem)(rng)

    def update(self) -> dict:
        """One update; a function of the seed, the weights and the number of updates done."""
        rng = random.Random(f"{self.seed}/rl/{self.done}")
        generator = torch.Generator().manual_seed(rng.randrange(2**31))
        problems = [self.problem(rng) for _ in range(self.settings.n_problems)]
        prompts, solutions, rewards = self.solve(problems, generator)
        gains = advantages(rewards).flatten().tolist()
        self.push(list(zip(prompts, solutions, gains, strict=True)), sum(map(len, solutions)))
        self.remember(rng)
        self.optimizer.param_groups[0]["lr"] = self.settings.rate(self.done)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        return {
            "stage": "rl",
            "step": self.done,
            "reward": round(rewards.mean().item(), 4),
            "mixed_groups": int((rewards.std(1) > 0).sum()),
            "mean_tokens": round(sum(map(len, solutions)) / len(solutions), 1),
        }

    def run(self) -> None:
        """All updates, a log row each, a resume point every five."""
        started = time.monotonic()
        while self.done < self.settings.n_updates:
            row = {**self.update(), "seconds": round(time.monotonic() - started, 1)}
            with self.log_file.open("a") as file:
                file.write(json.dumps(row) + "\n")
            if self.done % 5 == 0:
                self.save()
        torch.save({"model": self.model.state_dict(), "shape": asdict(self.model.shape)}, self.work / "rl.pt")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--recipe", choices=RECIPES, default=SHIPPED)
    args = parser.parse_args()
    if not (args.work / "rl.pt").exists():
        Tuner(Settings(), args.seed, args.work, args.recipe).run()


if __name__ == "__main__":
    main()
