"""Measure what localent costs, as ratios within one run, beside the targets.

    python scripts/bench.py                       # everything, some 15 minutes on two cores
    python scripts/bench.py --quick --only ae     # less of it
    python scripts/bench.py --json bench.json

The model has the true shape of Qwen2.5-0.5B, random weights and the real vocabulary of 151,936 entries, Q4_K_M; it is
made from a vocabulary-only GGUF and kept. Leave the machine alone meanwhile; the quartiles tell whether it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bench_rest
import bench_scene
import bench_speed
from bench_figures import Figure, as_rows, table

from localent.errors import LocalentError
from localent.machine import host, usable_cores

VOCAB = Path(__file__).parents[2] / "shared" / "data" / "vocab" / "ggml-vocab-qwen2.gguf"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    rounds: int
    n_tokens: int | None  # of a trace; None: the whole solution
    lanes: tuple[int, ...]
    contexts: tuple[int, ...]
    n_rows: int


WHOLE = Size(5, None, (1, 4, 8, 16, 32), (512, 4096), 1_000_000)
QUICK = Size(2, 49, (1, 16), (512, 4096), 200_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the JSON; 1 where a target was missed."""
    args = _parser().parse_args(arguments)
    size = QUICK if args.quick else WHOLE
    try:
        figures = list(_measure(args, Size(size.rounds, size.n_tokens, args.lanes or size.lanes, *_rest(args, size))))
    except LocalentError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(figures))
    if args.json:
        told = {"host": host() | {"cores": usable_cores(), "load": os.getloadavg()[0]}, "figures": as_rows(figures)}
        args.json.write_text(json.dumps(told, indent=1) + "\n")
    return int(any(figure.met is False for figure in figures))


def _rest(args: argparse.Namespace, size: Size) -> tuple:
    return size.contexts, args.rows or size.n_rows
