"""scripts/break [PART ...] --seed 0 --cases 100 --minutes 8: one line of figures for each part, and what broke.

Exits with 1 where something broke. Files that broke something are kept in the folder of --keep.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from math import inf
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "tests")]

from breaking import databases, gguf_files, kills, other_files, templates, terminals  # noqa: E402
from breaking.runner import Outcome, Worker, attack  # noqa: E402

Part = Callable[[int, random.Random, Path, "Path | None", float], Outcome]  # the last: seconds


def _by_worker(make: Callable[..., object], **options: object) -> Part:
    def run(n: int, draw: random.Random, home: Path, kept: Path | None, seconds: float) -> Outcome:
        worker = Worker(home)
        try:
            return attack(make(n, draw, home, **options), worker, kept, seconds)
        finally:
            worker.end()

    return run


def _disturbed(disturb: kills.Disturb, finish: bool = True) -> Part:
    return lambda n, draw, home, kept, seconds: kills.attack(n, draw, home, disturb, seconds, finish)


PARTS: dict[str, Part] = {
    "headers": _by_worker(gguf_files.cases),
    "models": _by_worker(gguf_files.cases, commands=gguf_files.LOADING),
    "templates": _by_worker(templates.cases),
    "databases": _by_worker(databases.cases),
    "datasets": _by_worker(other_files.datasets),
    "matrices": _by_worker(other_files.matrices),
    "terminals": lambda n, draw, home, kept, seconds: terminals.attack(n, draw, home, seconds),
    "kills": _disturbed(kills.killed),
    "interrupts": _disturbed(kills.interrupted, finish=False),
    "disk": _disturbed(kills.without_disk),
    "writers": _disturbed(kills.beside_another),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/break", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all unless named")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=100, help="of each part")
    parser.add_argument("--minutes", type=float, default=inf, help="of each part: no case begins later")
    parser.add_argument("--keep", type=Path, help="folder for the files that break something")
    chosen = parser.parse_args()
    found = 0
    for name in chosen.parts or PARTS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="localent-break-") as home:
            draw = random.Random(f"{name}/{chosen.seed}")
            done = PARTS[name](chosen.cases, draw, Path(home), chosen.keep, 60 * chosen.minutes)
        print(line(name, done, time.monotonic() - began), flush=True)
        for fault in done.faults:
            print(f"  {fault.kind}: {fault.case}: localent {' '.join(fault.command)}\n{fault.text}", flush=True)
        found += len(done.faults)
    return int(found > 0)


def line(name: str, done: Outcome, seconds: float) -> str:
    """The figures of a part."""
    codes = ", ".join(f"{n} x {code}" for code, n in sorted(done.codes.items()))
    return (
        f"{name}: {done.n_cases} cases, {done.n_commands} commands in {seconds:.0f} s, slowest {done.slowest:.1f} s;"
        f" {len(done.faults)} faults; exit codes: {codes or 'not counted'}"
    )


if __name__ == "__main__":
    sys.exit(main())
