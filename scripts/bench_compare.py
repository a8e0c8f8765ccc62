"""Part i of the bench: the cost of a comparison against two bare prefill passes and llama-perplexity, and in memory.

python scripts/bench_compare.py                          # on the bench's Qwen2.5-0.5B shape
python scripts/bench_compare.py --tool llama-perplexity  # against the real tool, see scripts/llama_perplexity
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import bench_scene
import random_model
from bench_figures import Figure, of_many, table

from localent import engine
from localent.compare import teacher_forcing
from localent.compare.teacher_forcing import Feeding
from localent.compare.text import Text
from localent.engine import Options, QuantizeOptions, Scorer, quantize
from localent.machine.hardware import usable_cores

CTX, CHUNK = 512, 128  # as `localent compare --text`


def files(vocab: Path, cache: Path | None) -> tuple[Path, Path, Path]:
    """Q8_0, Q4_K_M and Q3_K_M of the bench's shape with random weights; made once."""
    first = bench_scene.model_file(vocab, cache, bench_scene.SHARP)
    stem = first.name.removesuffix("q4_k_m.gguf")
    others = {q: first.with_name(f"{stem}{q.lower()}.gguf") for q in ("Q8_0", "Q3_K_M")}
    if not all(path.exists() for path in others.values()):
        raw = first.with_suffix(".f16")
        random_model.write(raw, random_model.SHAPES[bench_scene.SHAPE], vocab=vocab, scale=bench_scene.SHARP)
        for quant, path in others.items():
            quantize(raw, path, quant, QuantizeOptions(n_threads=usable_cores()))
        raw.unlink()
    return others["Q8_0"], first, others["Q3_K_M"]


def compare(paths: Sequence[Path], threads: int, rounds: int) -> Iterator[Figure]:
    """Comparing over bare decodes of the same calls, all logits out: every row of a chunk, and its second half."""
    with ExitStack() as stack:
        models = [stack.enter_context(engine.open(path)) for path in paths]
        options = Options(n_lanes=1, n_ctx=CTX, n_threads=threads, chunk=CHUNK)
        scorers = [stack.enter_context(model.scorer(options)) for model in models]
        for label, first in (("every row scored", 0), ("second half scored", CTX // 2)):
            for n in range(2, len(scorers) + 1):
                ratios = [_ratio(scorers[:n], first, seed, threads) for seed in range(rounds)]
                name = f"compare, {n - 1} candidate{'s' * (n > 2)}, {label} / bare prefills"
                yield of_many("i", name, ratios, at_most=1.15)


def _ratio(scorers: Sequence[Scorer], first: int, seed: int, threads: int) -> float:
    """Time of comparing a chunk over that of feeding it to all models and looking at nothing."""
    tokens = [(seed * 7919 + i * 104729) % scorers[0].n_vocab for i in range(CTX + 1)]
    text = Text(tokens, first)
    bare = _timed(lambda: _bare(scorers, text))
    whole = _timed(
        lambda: teacher_forcing.score([text], scorers[0], scorers[1:], Feeding(chunk=CHUNK, n_threads=threads))
    )
    return whole / (bare + _timed(lambda: _bare(scorers, text))) * 2  # before and after: the machine drifts


def _bare(scorers: Sequence[Scorer], text: Text) -> None:
    for piece in teacher_forcing.pieces(text, None, CHUNK, scorers):
        for scorer in scorers:
            scorer.feed(text.tokens[piece.start : piece.end], piece.n_rows)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(paths: Sequence[Path], threads: int) -> Iterator[Figure]:
    """Peak memory of comparing 8 chunks over that of comparing 1, each in a process of its own."""
    few, many = (_peak(paths[:2], threads, n) for n in (1, 8))
    yield Figure("i", "peak memory, 8 chunks / 1 chunk", many / few, "x", at_most=1.02)
    weights = sum(path.stat().st_size for path in paths[:2])
    yield Figure("i", "peak memory beyond the weights", (many - weights) / 1e6, "MB")


def _peak(paths: Sequence[Path], threads: int, n_chunks: int) -> float:
    """Bytes."""
    command = [sys.executable, __file__, "--chunks", str(n_chunks), "--threads", str(threads), "--files", *paths]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def beside_tool(paths: Sequence[Path], threads: int, tool: Path, text: Path, n_chunks: int) -> Iterator[Figure]:
    """Wall time of `localent compare` over llama-perplexity's two passes, loading and writing included."""
    reference, candidate = map(str, paths[:2])
    limits = ["--chunks", str(n_chunks)]
    with tempfile.TemporaryDirectory() as folder:
        base = ["--kl-divergence-base", str(Path(folder) / "base.kld"), "-t", str(threads)]
        first = _run([str(tool), "-m", reference, "-f", str(text), *limits, *base])
        second = _run([str(tool), "-m", candidate, "--kl-divergence", *base])
        ours = ["--text", str(text), *limits, "--threads", str(threads), "--db", str(Path(folder) / "c.db")]
        mine = _run([sys.executable, "-m", "localent", "compare", reference, candidate, *ours])
        quick = _run([sys.executable, "-m", "localent", "compare", reference, candidate, *ours, "--no-noise"])
    yield Figure("i", "llama-perplexity's two passes", first + second, "s")
    yield Figure("i", "localent compare / llama-perplexity's two passes", quick / (first + second), "x", at_most=1.0)
    yield Figure("i", "the same with the noise floor", mine / (first + second), "x")


def _run(command: Sequence[str]) -> float:
    return _timed(lambda: subprocess.run(command, check=True, capture_output=True))


def _alone(paths: Sequence[Path], threads: int, n_chunks: int) -> None:
    """In a process of its own: compare n chunks, print the peak in bytes."""
    with ExitStack() as stack:
        options = Options(n_lanes=1, n_ctx=CTX, n_threads=threads, chunk=CHUNK)
        models = [stack.enter_context(engine.open(path)) for path in paths]
        scorers = [stack.enter_context(model.scorer(options)) for model in models]
        texts = [
            Text([(n * 31 + i * 17) % min(1000, scorers[0].n_vocab) for i in range(CTX)], CTX // 2)
            for n in range(n_chunks)
        ]
        teacher_forcing.score(texts, scorers[0], scorers[1:], Feeding(chunk=CHUNK, n_threads=threads))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main() -> int:
    """Measure, print the table; 1 where a target was missed."""
    args = _parser().parse_args()
    threads = args.threads or usable_cores()
    if args.files:
        _alone(args.files, threads, args.chunks)
        return 0
    paths = files(args.vocab, args.cache)
    figures = [*compare(paths, threads, args.rounds), *memory(paths, threads)]
    if args.tool:
        figures += beside_tool(paths, threads, args.tool, args.text, args.chunks)
    print(table(figures))
    return int(any(figure.met is False for figure in figures))


def _parser() -> argparse.ArgumentParser:
    data = Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="chunks measured (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="default: the physical cores this process may use")
    parser.add_argument("--tool", type=Path, help="a llama-perplexity to compare with")
    parser.add_argument("--text", type=Path, default=data / "wikitext2" / "wiki.test.raw", help="for --tool")
    parser.add_argument("--chunks", type=int, default=6, help="for --tool (default: %(default)s)")
    parser.add_argument("--vocab", type=Path, default=data / "vocab" / "ggml-vocab-qwen2.gguf")
    parser.add_argument("--cache", type=Path, help="where made models are kept (default: the system's temp folder)")
    parser.add_argument("--files", type=Path, nargs=2, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
