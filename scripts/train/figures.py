"""Figures and the accuracy table of the model card, from the rows that evaluate.py wrote: `python figures.py`."""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from checkpoints import CHECKPOINTS
from evaluate import calibration_error, mean_by, wilson

HERE = Path(__file__).parent
COLORS = {"early": "#b5b5b5", "base": "#6b8fb5", "sft": "#d98c2b", "rl": "#2a7f5f"}
N_BINS = 5


def share_text(mean: float, n: int) -> str:
    """ "71.2 (67.4-74.7)": per cent with the 95 % Wilson interval."""
    low, high = wilson(round(mean * n), n)
    return f"{100 * mean:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def table(title: str, columns: list[str], rows: dict[str, list[str]]) -> str:
    head = f"| {title} | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1) + "\n"
    return head + "".join(f"| {name} | " + " | ".join(cells) + " |\n" for name, cells in rows.items())


def accuracy_table(stages: dict[str, dict], kind: str, key: str) -> str:
    """Accuracy in per cent by `key` (n_steps or family), a row per stage."""
    groups: dict[str, dict] = {
        s: mean_by([r for r in d["graded"] if r["kind"] == kind], (key,), "right") for s, d in stages.items()
    }
    names = sorted({k for g in groups.values() for k in g})
    columns = [f"{name[0]} (n = {next(iter(groups.values()))[name][1]})" for name in names]
    return table(f"{kind}: {key}", columns, {s: [share_text(*g[k]) for k in names] for s, g in groups.items()})


def summary_table(stages: dict[str, dict]) -> str:
    """Accuracy, extraction failures, tokens and calibration of forced answers, a row per stage."""
    rows = {}
    for stage, kept in stages.items():
        cells = []
        for kind in ("number", "choice"):
            graded = [r for r in kept["graded"] if r["kind"] == kind]
            early = [r for r in kept["forced"] if r["kind"] == kind]
            right, stated, tokens = (sum(r[k] for r in graded) / len(graded) for k in ("right", "stated", "tokens"))
            cells += [
                share_text(right, len(graded)),
                f"{100 * (1 - stated):.1f}",
                f"{tokens:.0f}",
                f"{calibration_error(early):.3f}",
            ]
        rows[stage] = cells
    one = ["accuracy %", "no answer %", "tokens", "ECE forced"]
    return table("stage", [f"{kind} {c}" for kind in ("number", "choice") for c in one], rows)


def draw_accuracy(stages: dict[str, dict], out: Path) -> None:
    """Number accuracy against steps, a line per stage, with 95 % intervals."""
    figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
    for stage, kept in stages.items():
        groups = mean_by([r for r in kept["graded"] if r["kind"] == "number"], ("n_steps",), "right")
        steps, means = [k[0] for k in groups], [m for m, _ in groups.values()]
        bounds = [wilson(round(m * n), n) for m, n in groups.values()]
        axes.fill_between(
            steps, [b[0] for b in bounds], [b[1] for b in bounds], color=COLORS[stage], alpha=0.2, linewidth=0
        )
        axes.plot(steps, means, "o-", color=COLORS[stage], label=stage, markersize=4)
    axes.set(xlabel="steps of the problem", ylabel="share right (temperature 0.7)", ylim=(0, 1))
    axes.legend(frameon=False)
    figure.savefig(out / "abacus-accuracy.png", dpi=110)


def truth_curve(rows: list[dict]) -> tuple[list[float], list[float], list[float]]:
    """Positions k/K in bins, mean p(true answer), and two standard errors."""
    bins: dict[int, list[float]] = defaultdict(list)
    for r in rows:
        bins[round(N_BINS * r["k"] / r["n_steps"])].append(math.exp(r["log_p"]))
    means = [sum(v) / len(v) for _, v in sorted(bins.items())]
    errors = [
        2 * math.sqrt(sum((x - m) ** 2 for x in v)) / len(v)
        for (_, v), m in zip(sorted(bins.items()), means, strict=True)
    ]
    return [b / N_BINS for b in sorted(bins)], means, errors


def draw_forced(stages: dict[str, dict], out: Path) -> None:
    """p(true answer | k clean steps, cue) against k/K, a panel per kind."""
    figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained", sharey=True)
    for axes, kind in zip(panels, ("number", "choice"), strict=True):
        for stage, kept in stages.items():
            at, means, errors = truth_curve([r for r in kept["forced"] if r["kind"] == kind])
            axes.errorbar(at, means, yerr=errors, fmt="o-", color=COLORS[stage], label=stage, markersize=4)
        axes.set(title=kind, xlabel="share of the clean steps given", ylim=(0, 1))
    panels[0].set_ylabel("mean p(true answer)")
    panels[0].legend(frameon=False)
    figure.savefig(out / "abacus-forced.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "localent" / "demo")
    args = parser.parse_args()
    stages = {
        s: json.loads((args.work / f"{s}.json").read_text()) for s in CHECKPOINTS if (args.work / f"{s}.json").exists()
    }
    draw_accuracy(stages, args.out)
    draw_forced(stages, args.out)
    print(
        summary_table(stages),
        accuracy_table(stages, "number", "n_steps"),
        accuracy_table(stages, "choice", "family"),
        sep="\n",
    )


if __name__ == "__main__":
    main()
