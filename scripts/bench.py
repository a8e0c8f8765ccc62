"""Measure the cost of localent as ratios within one run, next to the targets.

    python scripts/bench.py                       # everything, some 15 minutes on two cores
    python scripts/bench.py --quick --only ae     # less of it
    python scripts/bench.py --json bench.json

The model has the true shape of Qwen2.5-0.5B, random weights and the real vocabulary of 151,936 entries, Q4_K_M; it is
made from a vocabulary-only GGUF and kept. The machine must be idle meanwhile; the quartiles show whether it was.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bench_compare
import bench_rest
import bench_scene
import bench_speed
from bench_figures import Figure, as_rows, claims, table, verdict

from localent.errors import LocalentError
from localent.machine.hardware import host, usable_cores

VOCAB = Path(__file__).parents[2] / "shared" / "data" / "vocab" / "ggml-vocab-qwen2.gguf"


@dataclass(frozen=True, slots=True)
class Size:
    """The amount of work that is measured."""

    rounds: int
    n_tokens: int | None  # of a trace; None: the whole solution
    lanes: tuple[int, ...]
    contexts: tuple[int, ...]
    n_rows: int


WHOLE = Size(5, None, (1, 4, 8, 16, 32), (512, 4096), 1_000_000)
QUICK = Size(2, 49, (1, 16), (512, 4096), 200_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and a line for each claim, write the JSON; 1 where a target was missed."""
    args = _parser().parse_args(arguments)
    figures = []
    try:
        for figure in _measure(args, QUICK if args.quick else WHOLE):
            print(f"{figure.name}: {figure.value:.3g} {figure.unit} {verdict(figure)}", file=sys.stderr, flush=True)
            figures.append(figure)
    except LocalentError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join([table(figures), "", *claims(figures)]))
    if args.json:
        args.json.write_text(json.dumps({"machine": _machine(), "figures": as_rows(figures)}, indent=1) + "\n")
    return int(any(figure.met is False for figure in figures))


def _measure(args: argparse.Namespace, size: Size) -> Iterator[Figure]:
    """The parts asked for, one after the other."""
    if set(args.only) & set("abcdef"):
        path = args.model or bench_scene.model_file(args.vocab, args.cache, bench_scene.SHARP)
        yield from _of_model(path, args, size)
    if "a" in args.only and not args.model:
        flat = bench_scene.model_file(args.vocab, args.cache, 1.0)
        yield from _generation(flat, "flat", args, size)
    if "g" in args.only:
        yield from bench_rest.start(5 * size.rounds)
    if "h" in args.only:
        yield from bench_rest.large_store(size.n_rows)
    if "i" in args.only:
        paths, threads = bench_compare.files(args.vocab, args.cache), args.threads or usable_cores()
        yield from bench_compare.compare(paths, threads, size.rounds)
        yield from bench_compare.memory(paths, threads)


def _of_model(path: Path, args: argparse.Namespace, size: Size) -> Iterator[Figure]:
    scene, lanes = bench_scene.scene(path, args.threads), args.lanes
    if "b" in args.only:
        found, best = bench_speed.lane_counts(scene, size.lanes, size.rounds, bench_speed.SHORT)
        yield from found
        lanes = lanes or best
    lanes = lanes or max(n for n in size.lanes if n <= 16)
    if "a" in args.only:
        yield from bench_speed.generation(scene, lanes, "sharp", size.rounds, size.n_tokens)
    if "c" in args.only:
        yield from bench_speed.high_level(scene, lanes, size.rounds, 8)
    if "d" in args.only:
        yield from bench_speed.shares(scene, lanes, size.rounds, size.n_tokens)
    if "e" in args.only:
        yield from bench_speed.probing(scene, lanes, max(1, size.rounds // 2))
    scene.model.close()
    if "f" in args.only:
        yield from bench_rest.memory(path, scene.threads, 16, size.contexts)


def _generation(path: Path, label: str, args: argparse.Namespace, size: Size) -> Iterator[Figure]:
    scene = bench_scene.scene(path, args.threads)
    yield from bench_speed.generation(scene, args.lanes or 16, label, size.rounds, size.n_tokens)
    scene.model.close()


def _machine() -> dict[str, object]:
    return host() | {"cores": usable_cores(), "load": os.getloadavg()[0]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter traces, a smaller database")
    parts = "letters of the parts to measure (default: %(default)s); i: comparing models"
    parser.add_argument("--only", default="abcdefgh", help=parts)
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--lanes", type=int, help="lanes for all parts but b (default: the best of b, else 16)")
    parser.add_argument("--threads", type=int, help="default: the physical cores this process may use")
    parser.add_argument("--model", type=Path, help="measure this GGUF instead of the random one")
    parser.add_argument("--vocab", type=Path, default=VOCAB, help="vocabulary-only GGUF (default: %(default)s)")
    parser.add_argument("--cache", type=Path, help="where made models are kept (default: the system's temp folder)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
