"""The tour of the bundled models that `localent demo` shows: the main job, training, quantization.

Everything is stored in one database; runs that are there already are reused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from localent import compare, models, runs, study, tasks

MODEL, TASK = "abacus-sft", "demo-number"
QUANTS = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K")
N_MAIN, N_STAGES, N_QUANTS = 300, 100, 60  # problems at most: two quiet cores take about 20, 30 and 50 seconds
SETTINGS = runs.Settings(lanes=16, probes=None, alternatives=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """The three parts, on the first `n` problems at most."""

    db: str | Path
    n: int = N_MAIN
    threads: int | None = None  # the physical cores allowed

    @property
    def settings(self) -> runs.Settings:
        return replace(SETTINGS, threads=self.threads)

    def main_job(self, listener: runs.Listener) -> runs.Outcome:
        """The fine-tuned model reasons through its problems, probed at every step."""
        return runs.run(MODEL, tasks.load(TASK).first(self.n), db=self.db, settings=self.settings, listener=listener)

    def stages(self, listener: runs.Listener) -> study.Study:
        """Every stage of the family on the first problems of both tasks, judged without controls."""
        design = study.Design(settings=self.settings, n=min(self.n, N_STAGES), samples=1, controls=())
        return study.study((), [tasks.load(name) for name in tasks.BUNDLED], design, db=self.db, listener=listener)

    def quants(self, listener: runs.Listener) -> compare.Comparison:
        """Quants of the fine-tuned model, made here, beside it: on its own traces, and running free."""
        names = [f"{MODEL}:{quant}" for quant in QUANTS]
        for i, name in enumerate(names):
            listener.status(f"making {name}")
            models.resolve(name)
            listener.report(runs.Progress(i + 1, len(names), name="making quants", unit="file"))
        attempts = compare.Attempts(n=min(self.n, N_QUANTS), settings=self.settings)
        plan = compare.Plan(threads=self.threads)
        return compare.compare_task(
            [MODEL, *names], tasks.load(TASK), db=self.db, attempts=attempts, plan=plan, listener=listener
        )
