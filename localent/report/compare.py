"""A comparison as plain text: one table with a column per quant, and verdicts in words. Returns the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from localent.analysis import quantities
from localent.analysis.curves import FLOORED
from localent.analysis.intervals import Estimate
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import Trajectory
from localent.analysis.profile import MEANING
from localent.analysis.quantities import QUANTITIES, Figure
from localent.compare import Candidate, Comparison
from localent.compare.verdict import Verdict, labels, times_noise, verdicts
from localent.records import Model
from localent.report.numbers import brackets, fixed
from localent.report.table import pad
from localent.report.terminal import paragraphs

LABEL, CELL = 31, 23  # columns of the terminal
PERCENT = 100.0
Lines = list[str]  # of one cell; empty: an empty cell


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: its label, the reference's cell, and the cell of a candidate or the noise floor."""

    label: str
    reference: Lines
    cell: Callable[[Candidate], Lines]


def render(comparison: Comparison, *, width: int = 100, full: bool = False) -> str:
    """The whole comparison. width: of the terminal; full: every figure that there is."""
    c = comparison
    blocks = [paragraphs(_heading(c), width), *_tables(c, width, full), *_groups(c, width, full)]
    blocks += [paragraphs(sentences(c), width), paragraphs(_footer(c), width)]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def sentences(comparison: Comparison) -> list[str]:
    """One sentence per candidate: what differs from the reference and what cannot be told apart from it."""
    return [verdict.sentence for verdict in judged(comparison)]


def judged(comparison: Comparison) -> list[Verdict]:
    """The verdict on each candidate, under its file's name."""
    floor = comparison.noise.forced if comparison.noise else None
    stored = comparison.reference is None
    return verdicts(comparison.candidates, floor, stored=stored, names=comparison.names)


def _heading(c: Comparison) -> list[str]:
    reference = f"{c.reference.name} ({c.reference.quant})" if c.reference else "the base file's model"
    what = {"run": "traces of run", "text": f"{c.unit} of", "base file": "chunks of"}[c.source]
    n = f", {c.candidates[0].forced.n:,} positions" if c.candidates else ""
    return [f"Compared with {reference} on {c.n_texts:,} {what} {c.source_name}{n}"]


# --- the table --------------------------------------------------------------------------------------------------------


def _tables(c: Comparison, width: int, full: bool) -> list[list[str]]:
    """As many columns to a table as fit. The first column of each is the reference, the last of all the noise floor."""
    columns = [*c.candidates, *([c.noise] if c.noise else [])]
    names = [*labels([x.model for x in c.candidates]), *(["noise floor"] if c.noise else [])]
    rows, fit = _rows(c, full), _fitting(width)
    parts = [slice(start, start + fit) for start in range(0, len(columns), fit)]
    reference = c.reference.quant if c.reference else "base"
    return [_lines(rows, columns[part], [reference, *names[part]]) for part in parts]


def _fitting(width: int) -> int:
    """The number of columns that fit after the labels and the reference."""
    return max(1, (width - LABEL) // CELL - 1)


def _lines(rows: Sequence[Row], columns: Sequence[Candidate], names: Sequence[str]) -> list[str]:
    lines = [_line("", names)]
    for row in rows:
        cells = [row.reference, *(row.cell(column) for column in columns)]
        for i in range(max(map(len, cells))):
            lines.append(_line("" if i else row.label, [cell[i] if i < len(cell) else "" for cell in cells]))
    return [line for line in lines if line]


def _line(label: str, cells: Sequence[str]) -> str:
    return (pad(label, LABEL, False) + "".join(pad(cell, CELL, True) for cell in cells)).rstrip()


def _rows(c: Comparison, full: bool) -> list[Row]:
    first = c.candidates[0] if c.candidates else c.noise
    rows = [
        _of_model(c, "bits per weight", lambda model: f"{model.bits_per_weight:.2f}"),
        _of_model(c, "MB", lambda model: f"{model.file_bytes / 1e6:,.1f}"),
    ]
    if first:
        rows += _figure_rows(c, first, full)
    if first and first.free:
        rows += _free_rows(first.free)
    if first and first.trajectory:
        rows += _trajectory_rows(first.trajectory)
    return rows


def _of_model(c: Comparison, label: str, form: Callable[[Model], str]) -> Row:
    return Row(label, [form(c.reference)] if c.reference else [], lambda column: [form(column.model)])


# --- teacher-forced figures -------------------------------------------------------------------------------------------


def _figure_rows(c: Comparison, first: Candidate, full: bool) -> list[Row]:
    short = c.source == "run" and not full
    shown = [figure for figure in first.forced.figures if not (short and QUANTITIES[figure.name].detail)]
    return [_figure_row(c, figure) for figure in shown if figure.name != quantities.PPL_BASE.key]


def _figure_row(c: Comparison, figure: Figure) -> Row:
    """Both perplexities in one row. The noise floor has read fewer texts: its own perplexity would mislead."""
    unit = {"nats": ", nats", "nats²": ", nats²", "share": ", %"}.get(figure.unit, "")
    is_perplexity = figure.name == quantities.PPL.key

    def cell(column: Candidate) -> Lines:
        found = column.forced.get(figure.name)
        if found is None or (is_perplexity and column is c.noise):
            return []
        return [*_figure(found), *_times(column, figure.name)]

    reference = _figure(c.candidates[0].forced[quantities.PPL_BASE.key]) if is_perplexity and c.candidates else []
    return Row(QUANTITIES[figure.name].title + unit, reference, cell)


def _figure(figure: Figure) -> Lines:
    """Value ± standard error, and the clustered interval below."""
    scale = PERCENT if figure.unit in ("share", "correlation") else 1.0
    decimals = 3 if scale != 1 else _decimals_of_perplexity(figure.value) if figure.unit == "perplexity" else 6
    value = fixed(figure.value * scale, decimals)
    if figure.uncertainty is None:
        return [value]
    interval = brackets(Estimate(figure.value, figure.low, figure.high), scale, decimals)
    return [f"{value} ±{fixed(figure.uncertainty * scale, decimals)}", *([interval] if interval else [])]


def _decimals_of_perplexity(perplexity: float) -> int:
    """At most 4, and as many as leave the interval within a cell."""
    return max(0, min(4, 7 - len(f"{abs(perplexity):.0f}")))


def _times(column: Candidate, name: str) -> Lines:
    """ "47x noise"."""
    if not column.multiples or name not in column.multiples:
        return []
    times = column.multiples[name]
    return ["noise is 0" if times is None else f"{times_noise(times)}x noise"]


# --- free running -----------------------------------------------------------------------------------------------------


def _free_rows(first: FreeRunning) -> list[Row]:
    return [
        _free_row("accuracy, %", "accuracy_candidate", PERCENT, _estimate(first.accuracy_reference, PERCENT)),
        _free_row("change of accuracy, points", "accuracy_change", PERCENT),
        _count_row("right to wrong, wrong to right", lambda f: f"{f.right_to_wrong}, {f.wrong_to_right}"),
        _count_row("McNemar p, exact", lambda f: f"{f.mcnemar_p:.3g}"),
        _free_row("flipped, %", "flips", PERCENT),
        _free_row("same answer, %", "same_answer", PERCENT),
        _free_row("length ratio", "length_ratio", 1.0),
        _free_row("diverged within 32 tokens, %", "diverged_early", PERCENT),
        _count_row("first differing token, median", _first_divergence),
        _free_row("same to the last token, %", "identical", PERCENT),
        _free_row("true answer led, then lost, %", "abandoned", PERCENT, _estimate(first.abandoned_reference, PERCENT)),
        _free_row("change of that, points", "abandoned_change", PERCENT),
        *(_mechanism_row(name, first) for name in MEANING),
    ]


def _free_row(label: str, name: str, scale: float, reference: Sequence[str] = ()) -> Row:
    """A row for one estimate of the free runs."""

    def cell(column: Candidate) -> Lines:
        if column.free is None:
            return []
        return [*_estimate(getattr(column.free, name), scale), *_times(column, name)]

    return Row(label, list(reference), cell)


def _count_row(label: str, form: Callable[[FreeRunning], str]) -> Row:
    return Row(label, [], lambda column: [form(column.free)] if column.free else [])


def _first_divergence(free: FreeRunning) -> str:
    return "none" if free.first_divergence is None else f"{free.first_divergence:.0f}"


def _mechanism_row(name: str, first: FreeRunning) -> Row:
    def share(found: dict[str, float]) -> Lines:
        return [f"{PERCENT * found[name]:.1f}"] if name in found else []

    return Row(
        f"  {name}, %",
        share(first.mechanisms_reference),
        lambda column: share(column.free.mechanisms) if column.free else [],
    )


# --- on the same prefixes ---------------------------------------------------------------------------------------------


def _trajectory_rows(first: Trajectory) -> list[Row]:
    return [
        *(_entropy_row(i, first) for i in range(len(first.at))),
        _trajectory_row("change of answer entropy, nats", "delta_entropy"),
        _trajectory_row("|change| of answer entropy, nats", "abs_delta_entropy"),
        _trajectory_row("change of p(true answer)", "delta_p_true"),
        _trajectory_row("|change| of p(true answer)", "abs_delta_p_true"),
        _trajectory_row("same leading answer, %", "same_leader", PERCENT),
        _trajectory_row("rise of ln p(true answer), nats", "gain_candidate", 1.0, _estimate(first.gain_reference, 1.0)),
        _trajectory_row("change of that rise, nats", "gain_change"),
        _trajectory_row(
            "information gained, nats", "information_candidate", 1.0, _estimate(first.information_reference, 1.0)
        ),
        _trajectory_row("change of that information, nats", "information_change"),
    ]


def _entropy_row(i: int, first: Trajectory) -> Row:
    """Answer entropy at one share of the steps."""

    def mean(value: float | None) -> Lines:
        return ["-"] if value is None else [f"{value:.3f}"]

    return Row(
        f"answer entropy at {100 * first.at[i]:.0f} %, nats",
        mean(first.entropy_reference[i]),
        lambda column: mean(column.trajectory.entropy_candidate[i]) if column.trajectory else [],
    )


def _trajectory_row(label: str, name: str, scale: float = 1.0, reference: Sequence[str] = ()) -> Row:
    """A row for one estimate on the same prefixes."""

    def cell(column: Candidate) -> Lines:
        if column.trajectory is None:
            return []
        return [*_estimate(getattr(column.trajectory, name), scale), *_times(column, name)]

    return Row(label, list(reference), cell)


def _estimate(found: Estimate, scale: float, decimals: int | None = None) -> Lines:
    """The value, and its interval below. decimals None: one for per cent, else three."""
    if found.value is None:
        return ["-"]
    decimals = (1 if scale == PERCENT else 3) if decimals is None else decimals
    return [part for part in (fixed(found.value * scale, decimals), brackets(found, scale, decimals)) if part]


# --- by class and decile ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupMeasure:
    """A measure that is shown by class of token and by decile."""

    title: str
    name: str  # field of Group
    scale: float
    decimals: int


GROUPED = (GroupMeasure("mean KLD, nats", "kld", 1.0, 6), GroupMeasure("mean ΔH, nats", "delta_entropy", 1.0, 6))
GROUPED_IN_FULL = (
    GroupMeasure("mean Δvarentropy, nats²", "delta_varentropy", 1.0, 6),
    GroupMeasure("same top p, %", "same_top", PERCENT, 3),
)


def _groups(c: Comparison, width: int, full: bool) -> list[list[str]]:
    """By class of token and by decile of the reference's entropy: as many candidates to a table as fit."""
    if not c.candidates or not c.candidates[0].forced.deciles:
        return []
    measures, fit = (*GROUPED, *(GROUPED_IN_FULL if full else ())), _fitting(width)
    parts = [slice(start, start + fit) for start in range(0, len(c.candidates), fit)]
    return [_group_lines(c, part, measure) for measure in measures for part in parts]


def _group_lines(c: Comparison, part: slice, measure: GroupMeasure) -> list[str]:
    shown, names = c.candidates[part], labels([x.model for x in c.candidates])[part]
    lines = [_line(measure.title, ["tokens", *names])]
    for kind, prefix in (("classes", ""), ("deciles", "H(base) ")):
        for same in zip(*(getattr(x.forced, kind) for x in shown), strict=True):
            cells = [_estimate(getattr(group, measure.name), measure.scale, measure.decimals)[0] for group in same]
            lines.append(_line(f"  {prefix}{same[0].name}", [f"{same[0].n:,}", *cells]))
    return lines


# --- the footer -------------------------------------------------------------------------------------------------------


def _footer(c: Comparison) -> list[str]:
    """Explanations of what the table shows, a sentence or two each."""
    found = list(c.warnings)
    if c.candidates:
        found.insert(0, "±: standard error as llama-perplexity prints it, which treats positions as independent.")
    found += _on_tests(c)
    if any(x.forced.deciles for x in c.candidates):
        found.append("H(base) 1 to 10: tenths of the positions by the reference's entropy, with its range in nats.")
    if any(f.low is not None for x in c.candidates for f in x.forced.figures):
        how = "clustered by problem" if c.source == "run" else "which allows for neighbouring positions that are alike"
        found.append(f"[ ]: {100 * c.level:.0f} % interval, {how}.")
    if any(x.trajectory for x in c.candidates):
        found.append(f"Gain: increase of ln p(true answer) from a trace's start to its end. {FLOORED}")
    return [*found, *_on_noise(c), *_on_perplexity(c)]


def _on_tests(c: Comparison) -> list[str]:
    found = []
    if any(x.free for x in c.candidates):
        found.append(
            "p: in the sentences after Holm's rule over all that is tested about a candidate, in the table alone."
        )
    if any(x.free and x.free.n > x.free.n_problems for x in c.candidates):
        found.append("McNemar's test counts each problem once, by its net of attempts lost and won.")
    return found


def _on_noise(c: Comparison) -> list[str]:
    if c.noise is None:
        return []
    free = "; free runs in another number of lanes" if c.noise.free else ""
    size = f"{c.noise.forced.n:,} positions"
    return [f"Noise floor: the reference against itself on {size}, fed in chunks of another size{free}."]


def _on_perplexity(c: Comparison) -> list[str]:
    """The definitions of llama-perplexity that affect KLD and PPL(base)."""
    if c.source == "run":
        return []
    kld = "KLD over tokens with ln p(base) > -16, as llama-perplexity computes it"
    if c.reference is None:
        return [
            f"{kld}.",
            "PPL(base) is computed from the file, in which no token lies more than 16 nats below the top: the model's"
            " own may be higher, and ln(PPL(Q)/PPL(base)) lower.",
        ]
    return [
        f"{kld}, except where the row says full vocabulary.",
        "PPL(base) is the model's own, as llama-perplexity prints it in its first pass; in its second pass it reads a"
        " file in which no token lies more than 16 nats below the top.",
    ]
