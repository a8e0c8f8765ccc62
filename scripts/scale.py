"""Measure the merging of many files, with made-up traces.

    python scripts/scale.py merge --files 10 --tokens 1000000
    python scripts/scale.py merge --files 100 --tokens 10000000 --folder PARTS    # files that are there are used again

Time is told twice: as it passed, and of this process on a processor, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import scale_data

from localent.store.merge import merge


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one part and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["merge", "merging"])
    parser.add_argument("--files", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="of the files to merge; default: a temporary one")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        if args.part == "merge":
            merged(args.folder or Path(folder), args.files, args.tokens)
        else:
            merging(args.folder, args.files, args.tokens)


def merged(folder: Path, n_files: int, n_tokens: int) -> None:
    """Make the files that are not there, and merge them in a process of its own."""
    folder.mkdir(exist_ok=True)
    if len(list(folder.glob("part-*.db"))) < n_files:
        list(scale_data.parts(folder, n_files, n_tokens))
    numbers = ("--files", str(n_files), "--tokens", str(n_tokens))
    subprocess.run([sys.executable, __file__, "merging", "--folder", str(folder), *numbers], check=True)


def merging(folder: Path, n_files: int, n_tokens: int) -> None:
    """Merge the first files of a folder, and tell time and memory; then once more, when all is there."""
    files, target = sorted(folder.glob("part-*.db"))[:n_files], folder / "all.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    for what in ("new", "there"):
        began, used = time.perf_counter(), time.process_time()
        found = merge(files, target)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        n = sum(one.n_new if what == "new" else one.n_there for one in found)
        print(
            f"{len(files)} files, {n:,} traces {what}, {n_tokens:,} tokens: {seconds:.1f} s, {cpu:.1f} of a processor,"
            f" {n_tokens / seconds:,.0f} and {n_tokens / cpu:,.0f} tokens/s, peak {peak_memory() / 1e6:.0f} MB,"
            f" {target.stat().st_size / 1e6:,.0f} MB written",
            flush=True,
        )


def peak_memory() -> int:
    """Bytes, most of this process so far (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
