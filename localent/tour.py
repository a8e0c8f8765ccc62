"""The tour of what is bundled, as `localent demo` shows it: the main job, what training changes, what quants change.

All of it lies in one database; what is there already is taken up, not made again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from localent import compare, models, runs, study, tasks

MODEL, TASK = "abacus-sft", "demo-number"
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
N_MAIN, N_STAGES, N_QUANTS = 300, 100, 60  # problems at most: two quiet cores take about 20, 30 and 50 seconds
THREADS = (
    1  # models this small gain nothing from a second one, and threads that wait for each other suffer from company
)
SETTINGS = runs.Settings(lanes=16, max_fed=24, threads=THREADS)
Say = Callable[[str], object]


def main_job(db: str | Path, n: int = N_MAIN, *, report: runs.Report, status: Say) -> runs.Outcome:
    """The fine-tuned model reasons through its problems, probed at every step."""
    return runs.run(MODEL, tasks.load(TASK), db=db, n=n, settings=SETTINGS, report=report, status=status)


def stages(db: str | Path, n: int = N_MAIN, *, report: runs.Report, status: Say) -> study.Study:
    """Every stage of the family on the first problems of both tasks, judged without controls."""
    loaded = [tasks.load(name) for name in tasks.BUNDLED]
    options = dict(db=db, n=min(n, N_STAGES), samples=1, settings=SETTINGS, controls=(), report=report, status=status)
    return study.study((), loaded, **options)


def quants(db: str | Path, n: int = N_MAIN, *, report: compare.Report, status: Say) -> compare.Comparison:
    """Quants of the fine-tuned model, made here, beside it: on its own traces, and running free."""
    names = [f"{MODEL}:{quant}" for quant in QUANTS]
    for i, name in enumerate(names):
        status(f"making {name}")
        models.resolve(name)
        report(compare.Progress("making quants", i + 1, len(names), "file"))
    plan = compare.Plan(threads=THREADS)
    options = dict(db=db, n=min(n, N_QUANTS), settings=SETTINGS, plan=plan, report=report, status=status)
    return compare.compare_task(MODEL, names, tasks.load(TASK), **options)
