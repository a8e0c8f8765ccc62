"""Held-out accuracy of a checkpoint by number of steps, and its answers forced early: `python evaluate.py sft`."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from batches import IGNORE, pad
from checkpoints import EVERY
from choice_problems import RANGES
from demo_problems import choice_problems, number_problems
from documents import CUE, END_OF_TEXT, TURN_END, chat_prompt, plain_prompt
from generate import sample, sample_in_groups, texts
from model import Abacus, Shape
from problems import Problem, lines
from tokenizers import Tokenizer

HERE = Path(__file__).parent
FAMILIES = ("order", "rate", "sequence")
ANSWER = re.compile(r"The answer is (\w+)\.")
EVALUATION_SEED = 7  # not the shipped problems


@dataclass(frozen=True, slots=True)
class Reader:
    """A checkpoint with its tokenizer, prompt form and end token."""

    model: Abacus
    tokenizer: Tokenizer
    chat: bool

    def prompt(self, problem: Problem) -> list[int]:
        return self.tokenizer.encode((chat_prompt if self.chat else plain_prompt)(problem)).ids

    def prefix(self, problem: Problem, text: str) -> list[int]:
        """The prompt and a solution so far; without a chat template it goes on in the prompt's own line."""
        prompt = chat_prompt(problem) if self.chat else f"{plain_prompt(problem)} "
        return self.tokenizer.encode(prompt + text).ids

    @property
    def end(self) -> int:
        return self.tokenizer.token_to_id(TURN_END if self.chat else END_OF_TEXT)


def open_stage(stage: str, work: Path) -> Reader:
    kept = torch.load(work / f"{stage}.pt", map_location="cpu")
    model = Abacus(Shape(**kept["shape"]))
    model.load_state_dict(kept["model"])
    return Reader(model.eval(), Tokenizer.from_file(str(work / "tokenizer.json")), EVERY[stage].chat)


def family(problem: Problem) -> str:
    """Kind of a choice problem, mostly by the first word of its skeleton; sums of any form are "sum"."""
    if tuple(text for _, text in problem.choices) == tuple(RANGES.values()):
        return "range"
    word = problem.skeleton.split()[0]
    return {"most": "most", "fewest": "most"}.get(word, word if word in FAMILIES else "sum")


def answer_of(text: str) -> str | None:
    """The first stated answer of a solution, or None."""
    found = ANSWER.search(text)
    return found.group(1) if found else None


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share. Source: Wilson (1927)."""
    p, d = right / n, 1 + z * z / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / d, (middle + half) / d


def accuracy(reader: Reader, problems: list[Problem], temperature: float, seed: int) -> list[dict]:
    """One sampled solution per problem: right or not, answer stated or not, tokens."""
    generator = torch.Generator().manual_seed(seed)
    rows = sample_in_groups(
        reader.model, [reader.prompt(p) for p in problems], end=reader.end, temperature=temperature, generator=generator
    )
    return [
        {
            "kind": p.kind,
            "n_steps": len(p.steps),
            "family": family(p),
            "right": answer_of(t) == p.answer,
            "stated": answer_of(t) is not None,
            "tokens": len(row),
        }
        for p, row, t in zip(problems, rows, texts(reader.tokenizer, rows), strict=True)
    ]


@torch.inference_mode()
def log_p(reader: Reader, prefixes: list[list[int]], answers: list[list[int]]) -> list[float]:
    """Log-probability in nats of each answer's tokens right after its prefix."""
    rows = [(p + a[:-1], [IGNORE] * (len(p) - 1) + a) for p, a in zip(prefixes, answers, strict=True)]
    ids, targets = pad(rows)
    keep = targets != IGNORE
    logs = reader.model.logits(reader.model(ids)[keep]).log_softmax(-1).gather(1, targets[keep][:, None])[:, 0]
    row_of = keep.nonzero()[:, 0]
    return torch.zeros(len(rows)).index_add(0, row_of, logs).tolist()


def leaders(reader: Reader, problem: Problem, prefixes: list[list[int]]) -> list[str]:
    """The leading answer at each prefix: the most likely label, or digits decoded greedily."""
    if not problem.choices:
        stop = reader.tokenizer.token_to_id(".")
        rows = sample(reader.model, prefixes, end=stop, temperature=0, generator=torch.Generator(), most=8)
        return [reader.tokenizer.decode(row).strip(" .") for row in rows]
    labels = [label for label, _ in problem.choices]
    logs = [log_p(reader, prefixes, [reader.tokenizer.encode(f" {label}.").ids] * len(prefixes)) for label in labels]
    return [labels[max(range(len(labels)), key=lambda i, k=k: logs[i][k])] for k in range(len(prefixes))]


def forced(reader: Reader, problems: list[Problem]) -> list[dict]:
    """Answers forced after k clean steps: log p (nats, full stop included) of the true and the leading answer."""
    out = []
    for p in problems:
        steps = lines(p)
        texts_ = ["".join(f"{s}\n" for s in steps[:k]) + CUE for k in range(len(steps) + 1)]
        prefixes = [reader.prefix(p, t) for t in texts_]
        front = leaders(reader, p, prefixes)
        true = log_p(reader, prefixes, [reader.tokenizer.encode(f" {p.answer}.").ids] * len(prefixes))
        lead = log_p(reader, prefixes, [reader.tokenizer.encode(f" {a}.").ids for a in front])
        out += [
            {
                "kind": p.kind,
                "n_steps": len(steps),
                "k": k,
                "log_p": true[k],
                "leader_log_p": lead[k],
                "leader_right": front[k] == p.answer,
            }
            for k in range(len(steps) + 1)
        ]
    return out


def calibration_error(rows: list[dict], n_bins: int = 10) -> float:
    """ECE of the leading answers: mean over equal-width bins of |share right - mean p|, weighted by count."""
    bins = defaultdict(list)
    for row in rows:
        bins[min(n_bins - 1, int(math.exp(row["leader_log_p"]) * n_bins))].append(row)
    gaps = (abs(sum(r["leader_right"] - math.exp(r["leader_log_p"]) for r in b)) for b in bins.values())
    return sum(gaps) / len(rows)


def mean_by(rows: Iterable[dict], keys: tuple[str, ...], value: str) -> dict[tuple, tuple[float, int]]:
    """Mean of a value and its count, per group."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[k] for k in keys)].append(float(row[value]))
    return {key: (sum(v) / len(v), len(v)) for key, v in sorted(groups.items())}


def problems_of(n: int, seed: int) -> list[Problem]:
    return [*number_problems(n, seed), *choice_problems(n, seed)]


def report(stage: str, graded: list[dict], early: list[dict]) -> None:
    """Print the accuracies with 95 % intervals, and the forced answers by steps given."""
    for keys in (("kind",), ("kind", "n_steps"), ("kind", "family")):
        for key, (mean, n) in mean_by(
            [r for r in graded if "family" not in keys or r["kind"] == "choice"], keys, "right"
        ).items():
            low, high = wilson(round(mean * n), n)
            print(stage, *key, f"{mean:.3f} [{low:.3f}, {high:.3f}] n={n}")
    for key, (mean, n) in mean_by(
        [{**r, "p": math.exp(r["log_p"])} for r in early], ("kind", "n_steps", "k"), "p"
    ).items():
        print(stage, "forced", *key, f"p(true)={mean:.3f} n={n}")
    for kind in ("choice", "number"):
        print(stage, kind, f"calibration error {calibration_error([r for r in early if r['kind'] == kind]):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=EVERY)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--n", type=int, default=600, help="problems of each kind")
    parser.add_argument("--n-forced", type=int, default=150)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--out", type=Path, help="write all rows there as JSON")
    args = parser.parse_args()
    reader = open_stage(args.stage, args.work)
    graded = accuracy(reader, problems_of(args.n, EVALUATION_SEED), args.temperature, seed=1)
    early = forced(reader, problems_of(args.n_forced, EVALUATION_SEED))
    report(args.stage, graded, early)
    if args.out:
        args.out.write_text(
            json.dumps({"stage": args.stage, "temperature": args.temperature, "graded": graded, "forced": early})
        )


if __name__ == "__main__":
    main()
