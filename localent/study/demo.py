"""The tour of what is bundled, as `localent demo` shows it: the main job, what training changes, what quants change.

All of it lies in one database; what is there already is taken up, not made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from localent import compare, models, runs, study, tasks

MODEL, TASK = "abacus-sft", "demo-number"
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
N_MAIN, N_STAGES, N_QUANTS = 300, 100, 60  # problems at most: two quiet cores take about 20, 30 and 50 seconds
SETTINGS = runs.Settings(lanes=16, max_fed=24)
Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """The three parts, on the first `n` problems at most."""

    db: str | Path
    n: int = N_MAIN
    threads: int | None = None  # the physical cores allowed

    @property
    def settings(self) -> runs.Settings:
        return replace(SETTINGS, threads=self.threads)

    def main_job(self, *, report: runs.Report, status: Say) -> runs.Outcome:
        """The fine-tuned model reasons through its problems, probed at every step."""
        heard = runs.Listener(report, status)
        return runs.run(MODEL, tasks.load(TASK), db=self.db, n=self.n, settings=self.settings, listener=heard)

    def stages(self, *, report: runs.Report, status: Say) -> study.Study:
        """Every stage of the family on the first problems of both tasks, judged without controls."""
        loaded, options = [tasks.load(name) for name in tasks.BUNDLED], dict(report=report, status=status)
        how = dict(db=self.db, n=min(self.n, N_STAGES), samples=1, settings=self.settings, controls=())
        return study.study((), loaded, **how, **options)

    def quants(self, *, report: runs.Report, status: Say) -> compare.Comparison:
        """Quants of the fine-tuned model, made here, beside it: on its own traces, and running free."""
        names = [f"{MODEL}:{quant}" for quant in QUANTS]
        for i, name in enumerate(names):
            status(f"making {name}")
            models.resolve(name)
            report(runs.Progress(i + 1, len(names), name="making quants", unit="file"))
        attempts = compare.Attempts(n=min(self.n, N_QUANTS), settings=self.settings)
        plan, listener = compare.Plan(threads=self.threads), runs.Listener(report, status)
        return compare.compare_task(
            [MODEL, *names], tasks.load(TASK), db=self.db, attempts=attempts, plan=plan, listener=listener
        )
