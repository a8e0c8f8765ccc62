"""The figures as data: drawn as SVG in the page, with matplotlib for paper, and exported as CSV.

Bands and whiskers are 95 % intervals by bootstrap over problems.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from localent.analysis import curves, information, intervals, load
from localent.analysis.curves import GRID, HALF
from localent.analysis.intervals import Estimate
from localent.analysis.judgement import judgement
from localent.analysis.metrics import aurc_of, mean_of, risk_coverage
from localent.analysis.probed import Probed
from localent.analysis.recorded import Traces
from localent.analysis.summary import Summary, summarise
from localent.errors import UsageError
from localent.report.numbers import short
from localent.report.table import cell_text

if TYPE_CHECKING:
    from localent.store import Database

KINDS = ("curves", "gain", "auroc", "risk", "quant", "signals")
ALONG = ("curves", "gain", "auroc")  # those along the reasoning
RESAMPLING = intervals.Resampling(1000)
N_SIGNALS = 16
FEW = 3  # the bands of more curves than this are drawn faint
DISTINGUISHING = (
    "task",
    "temperature",
    "seed",
    "shots",
    "max_tokens",
    "max_fed",
    "probes",
    "lanes",
    "threads",
)  # settings, in order
POSITION = "share of the reasoning steps done"
MOST_STEPS = 12  # counted from the start or the end; at most as many as half of the traces have
SO_LONG = " Each point has the traces that are so long."
MUCH = 0.2  # unexplored probability, mean of traces, from which a point is limited by the search
HOLLOW = f"Hollow: at least {MUCH:.0%} of the probability was not explored there, and the entropy is an estimate."
BAND = "Bands: 95 % interval, clustered by problem."
WHISKER = "Whiskers: 95 % interval, clustered by problem."


@dataclass(frozen=True, slots=True)
class Scale:
    """How the places along the reasoning of traces are counted."""

    name: str
    x_label: str
    places: Callable[[Sequence[Probed]], Sequence[float]]  # those at which means over traces are drawn
    read: Callable[[Probed, np.ndarray, Sequence[float]], np.ndarray]  # values (n, J_max + 1) there: (n, n_places)
    note: str = ""  # for captions


def usual_steps(some: Sequence[Probed]) -> int:
    """Steps that half of the traces have, at most MOST_STEPS, at least 1."""
    n_steps = np.concatenate([p.n_steps for p in some])
    return min(MOST_STEPS, max(1, int(np.median(n_steps))))


SHARE = Scale("share", POSITION, lambda some: GRID, lambda p, values, at: p.at(values, at))
FROM_START = Scale(
    "start",
    "reasoning steps done",
    lambda some: range(usual_steps(some) + 1),
    lambda p, values, at: p.from_start(values, at),
    SO_LONG,
)
FROM_END = Scale(
    "end",
    "reasoning steps before the last",
    lambda some: range(-usual_steps(some), 1),
    lambda p, values, at: p.from_end(values, at),
    SO_LONG,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve, or one group of dots. NaN: no value."""

    name: str
    role: str  # "right" | "wrong" | "length" | "reference" | "0", "1", ...: its colour
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    n: Sequence[int]  # traces
    open: Sequence[bool] = ()  # points at which the search left much unexplored, drawn hollow; empty: none


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure. With `labels`, the dots of lines[0] are drawn in rows, and x is the value."""

    kind: str
    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    caption: str
    level: float | None = None  # a reference line across: the value at chance
    labels: tuple[str, ...] = ()
    baselines: tuple[bool, ...] = ()  # labels drawn in another colour; empty: none

    def csv_rows(self) -> Iterator[tuple[object, ...]]:
        """The data, header first."""
        yield "series", self.x_label, self.y_label, "low", "high", "n"
        for line in self.lines:
            names = self.labels or (line.name,) * len(line.x)
            columns = (line.x, line.y, line.low, line.high, line.n)
            for name, *cells in zip(names, *columns, strict=True):
                yield name, *(None if cell != cell else cell for cell in cells)


class RunFacts:
    """The data of one run that the figures need, read once."""

    def __init__(self, db: Database, run_id: str) -> None:
        self.traces, self.probes = load.traces(db, run_id), load.probes(db, run_id).own
        self.summary = summarise(self.traces, self.probes)
        self.run_id = self.traces.run_id
        self.model = cell_text(f"{self.summary.model} {self.summary.quant}")
        self.name = self.model  # `facts` adds what distinguishes it from others
        run = db.run(self.run_id)
        self.settings: dict[str, object] = {"task": self.summary.task} | run.settings
        self.bits: float = db.model(run.model_sha256).bits_per_weight

    def judged(self, db: Database) -> Summary:
        """The summary with what is shown about the run, which needs its tokens."""
        return replace(self.summary, judgement=judgement(load.run(db, self.run_id)))

    @property
    def by_id(self) -> Probed | None:
        """The traces that have probes, by trace id; None for a run without any."""
        return self.probes.by_id() if self.probes is not None and self.summary.answers is not None else None

    def size(self) -> str:
        """ "n = 300 traces of 100 problems"."""
        return f"n = {self.summary.n_traces:,} traces of {self.summary.n_problems:,} problems"

    def scores(self) -> Iterator[tuple[str, str, np.ndarray]]:
        """(name, role of its line, (n,) values): two entropies and length, without those that some trace lacks."""
        traces = self.traces
        scores = [("mean token entropy", "0", traces.mean_entropy), ("answer entropy half-way", "1", self.at_half())]
        for name, role, values in (*scores, ("length in tokens", "length", traces.n_tokens.astype(float))):
            if values is not None and not np.isnan(values).any():
                yield name, role, values

    def at_half(self) -> np.ndarray | None:
        """Answer entropy half-way, in the order of the traces, NaN where not probed; None for a run without probes."""
        return None if self.probes is None else self.probes.at(self.probes.entropy, HALF)


def facts(db: Database, run_ids: Sequence[str]) -> list[RunFacts]:
    """Each run once. Runs of one model and quant are named by what differs: "abacus-sft F16 (lanes 16)"."""
    runs = list({run.run_id: run for run in (RunFacts(db, run_id) for run_id in run_ids)}.values())
    names = told_apart([run.name for run in runs], [run.settings for run in runs], [run.run_id for run in runs])
    for run, name in zip(runs, names, strict=True):
        run.name = name
    return runs


def told_apart(names: Sequence[str], settings: Sequence[Mapping[str, object]], run_ids: Sequence[str]) -> list[str]:
    """The names of runs; equal ones get what differs in their settings, or else the beginnings of their ids."""
    found = list(names)
    for name in dict.fromkeys(names):
        alike = [i for i, one in enumerate(names) if one == name]
        for i, words in zip(alike, differing([settings[i] for i in alike]), strict=True):
            found[i] = f"{name} ({words or run_ids[i][:4]})" if len(alike) > 1 else name
    return found


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """For each run the settings that distinguish it from the others, its task first; "" where they are not enough."""
    names: list[tuple[str, ...]] = [()] * len(settings)
    for key in DISTINGUISHING:
        values = [str(one.get(key, "-")) if key == "task" else f"{key} {one.get(key, '-')}" for one in settings]
        of_same_name = [{v for v, name in zip(values, names, strict=True) if name == mine} for mine in names]
        names = [
            (*name, value) if len(seen) > 1 else name
            for name, value, seen in zip(names, values, of_same_name, strict=True)
        ]
    return [", ".join(words) for words in names] if len(set(names)) == len(names) else [""] * len(names)


def by_task(runs: Sequence[RunFacts]) -> dict[str, list[RunFacts]]:
    """Task -> its runs, which can be compared with each other."""
    tasks = dict.fromkeys(run.summary.task for run in runs)
    return {task: [run for run in runs if run.summary.task == task] for task in tasks}


def panels(kind: str, runs: Sequence[RunFacts], db: Database) -> list[Panel]:
    """The figures of one kind: one per run, or one per task where its runs are compared."""
    if kind not in KINDS:
        raise UsageError(f"No figure '{kind}'; there are {', '.join(KINDS)}.")
    if kind in PER_RUN:
        return drawable(PER_RUN[kind](run, db) for run in runs)
    return of_tasks(PER_TASK[kind], by_task(runs))


def along(kind: str, runs: Sequence[RunFacts], db: Database, scale: Scale) -> list[Panel]:
    """The figures of one kind, of ALONG, by this scale; as many as `panels` has, in the same order, or fewer."""
    if kind == "curves":
        return drawable(curve_panel(run, db, scale) for run in runs)
    make = {"gain": gain_panel, "auroc": auroc_panel}[kind]
    return of_tasks(lambda some: make(some, scale), by_task(runs))


def of_tasks(make: Callable[[Sequence[RunFacts]], Panel | None], tasks: Mapping[str, list[RunFacts]]) -> list[Panel]:
    """A figure for each task, named by it where there are several."""
    made = {task: drawable([make(some)]) for task, some in tasks.items()}
    found = {task: some[0] for task, some in made.items() if some}
    return [
        replace(panel, title=f"{panel.title}: {task}") if len(tasks) > 1 else panel for task, panel in found.items()
    ]


def drawable(found: Iterable[Panel | None]) -> list[Panel]:
    """The panels that have a line: a mean that no trace has a value for, as of 3 problems, leaves none."""
    return [panel for panel in found if panel is not None and panel.lines]


def curve_panel(run: RunFacts, db: Database, scale: Scale = SHARE) -> Panel | None:
    """Answer entropy of right and wrong traces."""
    p = run.by_id
    if run.summary.answers is None or p is None:
        return None
    at = scale.places([p])
    by = run.summary.answers.by_position
    if scale is not SHARE:
        by = curves.by_class(at, scale.read(p, p.entropy, at), p.wrong, p.clusters, RESAMPLING)
    kept = {"wrong": p.wrong, "right": ~p.wrong}
    lines = [
        replace(of_curve(name, name, getattr(by, name)), open=limited(p, some, scale, at))
        for name, some in kept.items()
    ]
    caption = f"{run.size()}. {BAND} Right and wrong are known only at the end: selected on the outcome.{scale.note}"
    caption += f" {HOLLOW}" if any(any(line.open) for line in lines) else ""
    return Panel("curves", f"Answer entropy: {run.name}", scale.x_label, "answer entropy (nats)", shown(lines), caption)


def gain_panel(runs: Sequence[RunFacts], scale: Scale = SHARE) -> Panel | None:
    """Information about the true answer, over all traces: nothing is selected on the outcome."""
    probed = {i: p for i, run in enumerate(runs) if (p := run.by_id) is not None}
    if not probed:
        return None
    at, lines = scale.places(list(probed.values())), []
    for i, p in probed.items():
        mean = curves.curve(at, scale.read(p, information.gain(p), at), p.clusters, RESAMPLING)
        lines.append(of_curve(runs[i].name, str(i), mean))
    caption = f"{sizes(runs)}; all traces, right and wrong. {BAND}{scale.note}"
    title, y_label = "Information gained about the true answer", "recalibrated ln p(true) minus its start (nats)"
    return Panel("gain", title, scale.x_label, y_label, shown(lines), caption, level=0.0)


def auroc_panel(runs: Sequence[RunFacts], scale: Scale = SHARE) -> Panel | None:
    """AUROC of the answer entropy along the traces."""
    probed = {i: p for i, run in enumerate(runs) if (p := run.by_id) is not None}
    if not probed:
        return None
    at = scale.places(list(probed.values()))
    lines = [auroc_line(runs[i].name, str(i), p, scale, at) for i, p in probed.items()]
    if not shown(lines):
        return None
    title, y_label = "Separation of wrong from right traces by answer entropy", "AUROC"
    caption = f"{sizes(runs)}; 0.5 is chance. {BAND}{scale.note}"
    caption += f" {HOLLOW}" if any(any(line.open) for line in lines) else ""
    return Panel("auroc", title, scale.x_label, y_label, shown(lines), caption, level=0.5)


def auroc_line(name: str, role: str, p: Probed, scale: Scale, at: Sequence[float]) -> Line:
    """AUROC of the answer entropy at each place."""
    values = scale.read(p, p.entropy, at)
    found = [intervals.separation(values[:, j], p.wrong, p.clusters, resampling=RESAMPLING) for j in range(len(at))]
    return replace(of_estimates(name, role, list(at), found), open=limited(p, np.ones(len(p.wrong), bool), scale, at))


def limited(p: Probed, some: np.ndarray, scale: Scale, at: Sequence[float]) -> tuple[bool, ...]:
    """For each place, whether the search left at least MUCH unexplored, mean of these traces: some (n,) bool."""
    left = scale.read(p, p.residual, at)[some]
    known = ~np.isnan(left)
    means = np.where(known, left, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return tuple((means >= MUCH).tolist())


def risk_panel(run: RunFacts, db: Database) -> Panel | None:
    """Share of wrong answers when only the most certain traces are answered."""
    wrong, clusters = run.traces.wrong, run.traces.clusters
    if wrong.all() or not wrong.any():
        return None
    lines, areas = [], []
    for name, role, values in run.scores():
        lines.append(risk_line(name, role, values, wrong))
        found = intervals.estimate(aurc_of, values, wrong, problems=clusters, resampling=RESAMPLING)
        areas.append(f"{name} {short(found)}")
    caption = f"{run.size()}. Area under the curve, lower is better: {'; '.join(areas)}."
    title, x_label, y_label = (
        f"Selective answering: {run.name}",
        "share of traces answered",
        "share of wrong among them",
    )
    return Panel("risk", title, x_label, y_label, tuple(lines), caption, level=float(wrong.mean()))


def risk_line(name: str, role: str, scores: np.ndarray, wrong: np.ndarray, most: int = 200) -> Line:
    """The risk-coverage curve of one score, at `most` points."""
    coverage, risk = risk_coverage(scores, wrong)
    kept = np.unique(np.linspace(0, len(risk) - 1, most).round().astype(int))
    nothing = [float("nan")] * len(kept)
    return Line(name, role, coverage[kept].tolist(), risk[kept].tolist(), nothing, nothing, (kept + 1).tolist())


def quant_panel(runs: Sequence[RunFacts]) -> Panel | None:
    """Accuracy of several runs, such as stages or quants."""
    if len(runs) < 2:
        return None
    models = list(dict.fromkeys(run.summary.model for run in runs))  # stages stay in the order in which they are given
    ordered = sorted(runs, key=lambda run: (models.index(run.summary.model), -run.bits))
    found = [run.summary.accuracy for run in ordered]
    line = dots_of("accuracy", "0", found)
    labels = tuple(f"{run.name}, {run.bits:.2g} bits" for run in ordered)
    caption = f"{sizes(ordered)}. Whiskers: 95 % Wilson interval, widened where attempts at one problem are correlated."
    return Panel("quant", "Accuracy by run", "share of right traces", "", (line,), caption, labels=labels)


def signal_panel(run: RunFacts, db: Database) -> Panel | None:
    """AUROC of the signals that separate wrong from right traces best, and of the baselines."""
    from localent.analysis import signals
    from localent.analysis.trace_signals import BASELINE, read

    scores = [(one.signal, signals.auroc(one, run.traces, RESAMPLING)) for one in read(load.run(db, run.run_id))]
    found = sorted((row for row in scores if row[1].known), key=lambda row: -abs(plain(row[1].value) - 0.5))
    if not found:
        return None
    baselines = [row for row in found if row[0].family == BASELINE]
    best = [row for row in found if row[0].family != BASELINE][:N_SIGNALS]
    rows = sorted(baselines + best, key=lambda row: -plain(row[1].value))
    line = dots_of("AUROC", "0", [auroc for _, auroc in rows])
    are_baselines = tuple(signal.family == BASELINE for signal, _ in rows)
    labels = tuple(f"{signal.title}{' (baseline)' * (signal.family == BASELINE)}" for signal, _ in rows)
    size = f"{run.size()}; the {len(best)} furthest from 0.5, and the baselines."
    caption = f"{size} {WHISKER} {signals.SELECTED}"
    title = f"Signals of wrong traces: {run.name}"
    return Panel("signals", title, "AUROC", "", (line,), caption, level=0.5, labels=labels, baselines=are_baselines)


PER_RUN: dict[str, Callable[[RunFacts, Database], Panel | None]]
PER_RUN = {"curves": curve_panel, "risk": risk_panel, "signals": signal_panel}
PER_TASK: dict[str, Callable[[Sequence[RunFacts]], Panel | None]]
PER_TASK = {"gain": gain_panel, "auroc": auroc_panel, "quant": quant_panel}


def differences(runs: Sequence[RunFacts]) -> list[str]:
    """Sentences on the accuracy of each run against the first one of its task, over shared problems."""
    found, firsts = [], dict[str, RunFacts]()
    for run in runs:
        first = firsts.setdefault(run.summary.task, run)
        if first is not run:
            arms = [_beside(one.traces, other.traces) for one, other in ((first, run), (run, first))]
            (a, of_a), (b, of_b) = ((mean_of(~arm.wrong), arm.clusters) for arm in arms)
            gap = intervals.paired(a, of_a, b, of_b, RESAMPLING)
            found.append(_difference(run.name, first.name, gap, len(np.unique(arms[0].problems))))
    return [sentence for sentence in found if sentence]


def _beside(traces: Traces, other: Traces) -> Traces:
    """The traces whose problems the other run has, too."""
    return traces.among(np.isin(traces.problems, other.problems))


def _difference(name: str, other: str, gap: Estimate, n_shared: int) -> str:
    if gap.value is None:
        return ""
    size = f"{100 * gap.value:+.1f} points"
    both = gap.low is not None and gap.high is not None
    size += f" [{100 * plain(gap.low):+.1f}, {100 * plain(gap.high):+.1f}]" if both else f", {gap.reason}"
    over = f"paired over {n_shared} shared problems"
    if not gap.excludes(0):
        return f"The accuracies of {name} and {other} cannot be told apart: {size}, {over}."
    return f"{name} is right {'more' if gap.above(0) else 'less'} often than {other}: {size}, {over}."


# --- lines --------------------------------------------------------------------------------------------------------


def of_curve(name: str, role: str, curve: curves.Curve) -> Line:
    """A mean over traces, with its band."""
    return Line(name, role, *(np.asarray(x).tolist() for x in (curve.at, curve.value, curve.low, curve.high, curve.n)))


def of_estimates(name: str, role: str, at: Sequence[float], found: Sequence[Estimate]) -> Line:
    """Values over x, with whiskers."""
    y, low, high = ([plain(getattr(one, part)) for one in found] for part in ("value", "low", "high"))
    return Line(name, role, list(map(float, at)), y, low, high, [one.n for one in found])


def dots_of(name: str, role: str, found: Sequence[Estimate]) -> Line:
    """Dots with whiskers, a row each: the value is x, y counts the rows."""
    x, low, high = ([plain(getattr(one, part)) for one in found] for part in ("value", "low", "high"))
    return Line(name, role, x, list(range(len(found))), low, high, [one.n for one in found])


def shown(lines: Sequence[Line]) -> tuple[Line, ...]:
    """The lines that have a value."""
    return tuple(line for line in lines if any(y == y for y in line.y))


def plain(value: float | None) -> float:
    """NaN for None."""
    return float("nan") if value is None else value


def sizes(runs: Sequence[RunFacts]) -> str:
    """ "n = 100 to 300 traces a run"."""
    counts = sorted({run.summary.n_traces for run in runs})
    ends = dict.fromkeys((counts[0], counts[-1]))
    return f"n = {' to '.join(f'{n:,}' for n in ends)} traces{' a run' * (len(runs) > 1)}"
