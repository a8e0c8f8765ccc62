"""What the figures show, as data: drawn as SVG in the page, with matplotlib for paper, and written out as CSV.

Bands and whiskers are 95 % intervals by bootstrap over problems.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import curves, intervals, load
from localent.analysis.curves import GRID, HALF
from localent.analysis.intervals import Estimate
from localent.analysis.metrics import aurc_of, mean_of, risk_coverage
from localent.analysis.summary import summarise
from localent.errors import UsageError
from localent.report.table import cell_text

if TYPE_CHECKING:
    from localent.store import Database

KINDS = ("curves", "gain", "auroc", "risk", "quant", "signals")
RESAMPLING = intervals.Resampling(1000)
N_SIGNALS = 16
FEW = 3  # curves; the bands of more than these are drawn faint
TELLING = ("task", "temperature", "seed", "shots", "max_tokens", "max_fed", "lanes", "threads")  # settings, by weight
POSITION = "share of the reasoning steps done"
BAND = "Bands: 95 % interval, clustered by problem."
WHISKER = "Whiskers: 95 % interval, clustered by problem."


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, or one group of dots. NaN: no value there."""

    name: str
    role: str  # "right" | "wrong" | "length" | "reference" | "0", "1", ...: its colour
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    n: Sequence[int]  # traces


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure. `labels` set: the dots of lines[0] stand one below the other, x is the value."""

    kind: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    caption: str
    level: float | None = None  # a line across: what a coin would give
    labels: tuple[str, ...] = ()
    baselines: tuple[bool, ...] = ()  # of the labels: drawn in another colour; empty: none is one

    def csv_rows(self) -> Iterator[tuple]:
        """The data, header first."""
        yield "series", self.x_label, self.y_label, "low", "high", "n"
        for line in self.lines:
            names = self.labels or (line.name,) * len(line.x)
            columns = (line.x, line.y, line.low, line.high, line.n)
            for name, *cells in zip(names, *columns, strict=True):
                yield name, *(None if cell != cell else cell for cell in cells)


class RunFacts:
    """What the figures need of one run, read once."""

    def __init__(self, db: Database, run_id: str) -> None:
        self.traces, self.probes = load.traces(db, run_id), load.probes(db, run_id).own
        self.summary = summarise(self.traces, self.probes)
        self.run_id = self.traces.run_id
        self.model = cell_text(f"{self.summary.model} {self.summary.quant}")
        self.name = self.model  # `facts` adds what tells it from others
        run = db.run(self.run_id)
        self.settings = {"task": self.summary.task} | run.settings
        self.bits = db.model(run.model_sha256).bits_per_weight

    def size(self) -> str:
        return f"n = {self.summary.n_traces:,} traces of {self.summary.n_problems:,} problems"

    def at_half(self) -> np.ndarray | None:
        """Answer entropy half-way, in the order of the traces, NaN where not probed; None: the run was not."""
        return None if self.probes is None else self.probes.at(self.probes.entropy, HALF)


def facts(db: Database, run_ids: Sequence[str]) -> list[RunFacts]:
    """Each run once. Runs of one model and quant are told apart by what differs: "abacus-sft F16 (lanes 16)"."""
    runs = list({run.run_id: run for run in (RunFacts(db, run_id) for run_id in run_ids)}.values())
    for name in dict.fromkeys(run.name for run in runs):
        alike = [run for run in runs if run.name == name]
        for run, words in zip(alike, differing([run.settings for run in alike]), strict=True):
            run.name = f"{name} ({words or run.run_id[:4]})" if len(alike) > 1 else name
    return runs


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """What tells each of some runs from the others: its task, then its settings; "" where that is not enough."""
    told: list[tuple[str, ...]] = [()] * len(settings)
    for name in TELLING:
        said = [str(one.get(name, "-")) if name == "task" else f"{name} {one.get(name, '-')}" for one in settings]
        alike = [{word for word, words in zip(said, told, strict=True) if words == mine} for mine in told]
        told = [(*mine, word) if len(found) > 1 else mine for mine, word, found in zip(told, said, alike, strict=True)]
    return [", ".join(words) for words in told] if len(set(told)) == len(told) else [""] * len(told)


def by_task(runs: Sequence[RunFacts]) -> dict[str, list[RunFacts]]:
    """Runs that can be set side by side."""
    return {
        task: [run for run in runs if run.summary.task == task] for task in dict.fromkeys(r.summary.task for r in runs)
    }


def panels(kind: str, runs: Sequence[RunFacts], db: Database) -> list[Panel]:
    """The figures of one kind: one for each run, or one for each task where its runs are set side by side."""
    if kind not in KINDS:
        raise UsageError(f"No figure '{kind}'; there are {', '.join(KINDS)}.")
    each = {"curves": curve_panel, "risk": risk_panel, "signals": partial(signal_panel, db=db)}
    together = {"gain": gain_panel, "auroc": auroc_panel, "quant": quant_panel}
    if kind in each:
        return [panel for run in runs if (panel := each[kind](run)) is not None]
    tasks = by_task(runs)
    found = {task: panel for task, some in tasks.items() if (panel := together[kind](some)) is not None}
    return [
        replace(panel, title=f"{panel.title}: {task}") if len(tasks) > 1 else panel for task, panel in found.items()
    ]


def curve_panel(run: RunFacts) -> Panel | None:
    """Answer entropy of right and wrong traces."""
    if run.summary.answers is None:
        return None
    by = run.summary.answers.by_position
    lines = tuple(of_curve(name, name, getattr(by, name)) for name in ("wrong", "right"))
    caption = f"{run.size()}. {BAND} Right and wrong are known only at the end: selected on the outcome."
    return Panel("curves", f"Answer entropy: {run.name}", POSITION, "answer entropy (nats)", shown(lines), caption)


def gain_panel(runs: Sequence[RunFacts]) -> Panel | None:
    """Information about the true answer, over all traces: nothing is selected on the outcome."""
    lines = []
    for i, run in enumerate(runs):
        if run.summary.answers is None:
            continue
        p = run.probes.by_id()
        mean = curves.curve(GRID, p.at(p.gain, GRID), p.problems, RESAMPLING)
        lines.append(of_curve(run.name, str(i), mean))
    if not lines:
        return None
    caption = f"{sizes(runs)}; all traces, right and wrong. {BAND}"
    title, y_label = "Information gained about the true answer", "ln p(true) minus its start (nats)"
    return Panel("gain", title, POSITION, y_label, shown(lines), caption, level=0.0)


def auroc_panel(runs: Sequence[RunFacts]) -> Panel | None:
    """How early the answer entropy tells wrong from right."""
    lines = [auroc_line(run, i) for i, run in enumerate(runs) if run.summary.answers is not None]
    if not shown(lines):
        return None
    title, y_label = "Wrong told from right by answer entropy", "AUROC"
    caption = f"{sizes(runs)}; 0.5 is a coin. {BAND}"
    return Panel("auroc", title, POSITION, y_label, shown(lines), caption, level=0.5)


def auroc_line(run: RunFacts, i: int) -> Line:
    p = run.probes.by_id()
    values = p.at(p.entropy, GRID)
    found = [intervals.separation(values[:, j], p.wrong, p.problems, resampling=RESAMPLING) for j in range(len(GRID))]
    return of_estimates(run.name, str(i), GRID, found)


def risk_panel(run: RunFacts) -> Panel | None:
    """Share of wrong answers when only the most certain traces are answered."""
    wrong, problems = run.traces.wrong, run.traces.problems
    if wrong.all() or not wrong.any():
        return None
    scores = {
        "mean token entropy": ("0", run.traces.mean_entropy),
        "answer entropy half-way": ("1", run.at_half()),
        "length in tokens": ("length", run.traces.n_tokens.astype(float)),
    }
    lines, areas = [], []
    for name, (role, values) in scores.items():
        if values is not None and not np.isnan(values).any():
            lines.append(risk_line(name, role, values, wrong))
            found = intervals.estimate(aurc_of, values, wrong, problems=problems, resampling=RESAMPLING)
            areas.append(f"{name} {in_words(found)}")
    caption = f"{run.size()}. Area under the curve, lower is better: {'; '.join(areas)}."
    y_label = "share of wrong among them"
    return Panel("risk", f"Answering only when certain: {run.name}", "share of traces answered", y_label, tuple(lines),
                 caption, level=float(wrong.mean()))  # fmt: skip


def risk_line(name: str, role: str, scores: np.ndarray, wrong: np.ndarray, most: int = 200) -> Line:
    """At most 200 points."""
    coverage, risk = risk_coverage(scores, wrong)
    kept = np.unique(np.linspace(0, len(risk) - 1, most).round().astype(int))
    nothing = [float("nan")] * len(kept)
    return Line(name, role, coverage[kept].tolist(), risk[kept].tolist(), nothing, nothing, (kept + 1).tolist())


def quant_panel(runs: Sequence[RunFacts]) -> Panel | None:
    """Accuracy of runs beside each other: stages or quants."""
    if len(runs) < 2:
        return None
    models = list(dict.fromkeys(run.summary.model for run in runs))  # stages stay in the order in which they are given
    ordered = sorted(runs, key=lambda run: (models.index(run.summary.model), -run.bits))
    found = [run.summary.accuracy for run in ordered]
    line = of_estimates("accuracy", "0", [one.value for one in found], found, values=True)
    labels = tuple(f"{run.name}, {run.bits:.2g} bits" for run in ordered)
    caption = f"{sizes(ordered)}. Whiskers: 95 % interval (Wilson), made wider where attempts at one problem are alike."
    return Panel("quant", "Accuracy by run", "share of right traces", "", (line,), caption, labels=labels)


def signal_panel(run: RunFacts, db: Database) -> Panel | None:
    """The scores that tell wrong traces from right ones best, length among them."""
    from localent.analysis import signals
    from localent.analysis.trace_signals import BASELINE, read

    found = [(score, signals.auroc(score, run.traces, RESAMPLING)) for score in read(load.run(db, run.run_id))]
    found = sorted((row for row in found if row[1].known), key=lambda row: -abs(row[1].value - 0.5))
    if not found:
        return None
    baselines = [row for row in found if row[0].signal.family == BASELINE]
    best = [row for row in found if row[0].signal.family != BASELINE][:N_SIGNALS]
    rows = sorted(baselines + best, key=lambda row: -row[1].value)
    line = of_estimates("AUROC", "0", [auroc.value for _, auroc in rows], [auroc for _, auroc in rows], values=True)
    are_baselines = tuple(score.signal.family == BASELINE for score, _ in rows)
    labels = tuple(
        f"{score.signal.title}{' (baseline)' * own}" for (score, _), own in zip(rows, are_baselines, strict=True)
    )
    size = f"{run.size()}; the {len(best)} furthest from 0.5, and the baselines."
    caption = f"{size} {WHISKER} {signals.SELECTED}"
    title = f"Which signals tell wrong from right: {run.name}"
    return Panel("signals", title, "AUROC", "", (line,), caption, level=0.5, labels=labels, baselines=are_baselines)


def differences(runs: Sequence[RunFacts]) -> list[str]:
    """Sentences: how much more often each later run is right than the first of its task, over shared problems."""
    found, firsts = [], {}
    for run in runs:
        first = firsts.setdefault(run.summary.task, run)
        if first is not run:
            arms = [(mean_of(~one.traces.wrong), one.traces.problems) for one in (first, run)]
            gap = intervals.paired(*arms[0], *arms[1], RESAMPLING)
            found.append(_difference(run.name, first.name, gap))
    return [sentence for sentence in found if sentence]


def _difference(name: str, other: str, gap: Estimate) -> str:
    if gap.value is None:
        return ""
    size = f"{100 * gap.value:+.1f} points"
    size += f" [{100 * gap.low:+.1f}, {100 * gap.high:+.1f}]" if gap.known else f", {gap.reason}"
    over = f"paired over {gap.n_problems} shared problems"
    if not gap.excludes(0):
        return f"Whether {name} is right more or less often than {other} cannot be told: {size}, {over}."
    return f"{name} is right {'more' if gap.value > 0 else 'less'} often than {other}: {size}, {over}."


# --- plumbing -----------------------------------------------------------------------------------------------------


def of_curve(name: str, role: str, curve: curves.Curve) -> Line:
    return Line(name, role, *(np.asarray(x).tolist() for x in (curve.at, curve.value, curve.low, curve.high, curve.n)))


def of_estimates(name: str, role: str, at: Sequence[float], found: Sequence[Estimate], *, values=False) -> Line:
    """Dots with whiskers; `values`: the value is x, and y counts the rows."""
    y = range(len(found)) if values else [plain(one.value) for one in found]
    low, high = ([plain(getattr(one, end)) for one in found] for end in ("low", "high"))
    return Line(name, role, [plain(x) for x in at], list(y), low, high, [one.n for one in found])


def shown(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Those with a value."""
    return tuple(line for line in lines if any(y == y for y in line.y))


def plain(value: float | None) -> float:
    return float("nan") if value is None else value


def in_words(found: Estimate) -> str:
    if not found.known:
        return "-" if found.value is None else f"{found.value:.3f}"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def sizes(runs: Sequence[RunFacts]) -> str:
    counts = sorted({run.summary.n_traces for run in runs})
    return f"n = {' to '.join(f'{n:,}' for n in (counts[:1] + counts[1:][-1:]))} traces" + (
        " a run" if len(runs) > 1 else ""
    )
