"""A comparison as plain text: one table, quants as columns; what can be told apart, in words. Returns the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from localent.analysis import quantities
from localent.analysis.curves import FLOORED
from localent.analysis.intervals import Estimate
from localent.analysis.quantities import QUANTITIES, Figure
from localent.compare.verdict import labels, times_noise, verdicts
from localent.report.table import pad
from localent.report.terminal import paragraphs

LABEL, CELL = 31, 23  # columns of the terminal
Cells = Sequence[list[str]]  # a list of lines per column
PERCENT = 100.0


def render(comparison, *, width: int = 100, full: bool = False) -> str:
    """The whole comparison. width: of the terminal; full: every figure that there is."""
    blocks = [_heading(comparison), *_tables(comparison, width, full), *_groups(comparison, width, full)]
    blocks += [paragraphs(sentences(comparison), width), paragraphs(_footer(comparison), width)]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def sentences(comparison) -> list[str]:
    """What is and what is not distinguishable from the reference."""
    floor = comparison.noise.forced if comparison.noise else None
    stored = comparison.reference is None
    return [verdict.sentence for verdict in verdicts(comparison.candidates, floor, stored=stored)]


def _heading(c) -> list[str]:
    of = f"{c.reference.name} ({c.reference.quant})" if c.reference else "the base file's model"
    what = {"run": "traces of run", "text": "chunks of", "base file": "chunks of"}[c.source]
    n = f"{c.candidates[0].forced.n:,} positions" if c.candidates else ""
    return [f"Beside {of}: {c.n_texts:,} {what} {c.source_name}, {n}"]


# --- the table -----------------------------------------------------------------------------------------------------


def _tables(c, width: int, full: bool) -> list[list[str]]:
    """As many candidates side by side as fit, the reference and the noise floor beside the first ones."""
    columns = [*c.candidates, *([c.noise] if c.noise else [])]
    names = [*labels([x.model for x in c.candidates]), *(["noise floor"] if c.noise else [])]
    fit = max(1, (width - LABEL) // CELL - 1)
    rows = list(_rows(c, full))
    found = []
    for start in range(0, len(columns), fit):
        part = slice(start, start + fit)
        found.append(_lines(rows, c, columns[part], names[part]))
    return found


def _lines(rows, c, columns: Sequence, names: Sequence[str]) -> list[str]:
    reference = c.reference.quant if c.reference else "base"
    lines = [_line("", [reference, *names])]
    for label, of_reference, of_column in rows:
        cells = [of_reference(c), *(of_column(column) for column in columns)]
        height = max(len(cell) for cell in cells)
        for i in range(height):
            texts = [cell[i] if i < len(cell) else "" for cell in cells]
            lines.append(_line(label if i == 0 else "", texts))
    return [line for line in lines if line.strip()]


def _line(label: str, cells: Sequence[str]) -> str:
    return (pad(label, LABEL, False) + "".join(pad(cell, CELL, True) for cell in cells)).rstrip()


Row = tuple[str, Callable[[object], list[str]], Callable[[object], list[str]]]


def _rows(c, full: bool) -> list[Row]:
    nothing = lambda _: []  # noqa: E731
    rows: list[Row] = [
        (
            "bits per weight",
            lambda c: _model(c.reference, "bits_per_weight", ".2f"),
            _of_model("bits_per_weight", ".2f"),
        ),
        ("MB", lambda c: _model(c.reference, "file_bytes", ",.1f", 1e-6), _of_model("file_bytes", ",.1f", 1e-6)),
    ]
    first = c.candidates[0] if c.candidates else c.noise
    for figure in first.forced.figures if first else ():
        of_candidate = figure.name != quantities.PPL_BASE.key
        if not of_candidate or (c.source == "run" and not full and QUANTITIES[figure.name].detail):
            continue
        rows.append((_label(figure), _base_of(figure.name), _figure_of(figure.name, c.noise)))
    if first and first.free:
        rows += _free_rows(nothing)
    if first and first.trajectory:
        rows += _trajectory_rows(first, nothing)
    return rows


def _label(figure: Figure) -> str:
    unit = {"nats": ", nats", "nats²": ", nats²", "share": ", %"}.get(figure.unit, "")
    return QUANTITIES[figure.name].title + unit


def _model(model, name: str, form: str, scale: float = 1.0) -> list[str]:
    return [f"{getattr(model, name) * scale:{form}}"] if model else []


def _of_model(name: str, form: str, scale: float = 1.0):
    return lambda column: _model(column.model, name, form, scale)


def _base_of(name: str):
    """The reference's own value, where a figure has one."""
    base = {quantities.PPL.key: quantities.PPL_BASE.key}.get(name)

    def cell(c) -> list[str]:
        if base is None or not c.candidates:
            return []
        return _figure(c.candidates[0].forced[base])

    return cell


def _figure_of(name: str, noise):
    """A candidate's figure; of the noise floor only differences, because it has seen fewer texts."""

    def cell(column) -> list[str]:
        if column is noise and name == quantities.PPL.key:
            return []
        found = column.forced.get(name)
        return [] if found is None else [*_figure(found), *_times(column, name)]

    return cell


def _figure(figure: Figure) -> list[str]:
    """Value ± standard error; the clustered interval below."""
    scale = PERCENT if figure.unit in ("share", "correlation") else 1.0
    decimals = 3 if scale != 1 else _room(figure.value) if figure.unit == "perplexity" else 6
    value = _fixed(figure.value * scale, decimals)
    if figure.uncertainty is None:
        return [value]
    lines = [f"{value} ±{_fixed(figure.uncertainty * scale, decimals)}"]
    if figure.low is not None and figure.high is not None:
        lines.append(f"[{_fixed(figure.low * scale, decimals)}, {_fixed(figure.high * scale, decimals)}]")
    return lines


def _room(perplexity: float) -> int:
    """Decimals, 4 at most, that leave a perplexity and its interval within a cell."""
    return max(0, min(4, 7 - len(f"{abs(perplexity):.0f}")))


def _times(column, name: str) -> list[str]:
    """ "47x noise" """
    if not column.multiples or name not in column.multiples:
        return []
    times = column.multiples[name]
    if times is None:
        return ["noise is 0"]
    return [f"{times_noise(times)}x noise"]


def _free_rows(nothing) -> list[Row]:
    def of(name: str, scale: float = 1.0, decimals: int = 3, noise: str | None = None):
        return lambda column: [
            *_estimate(getattr(column.free, name), scale, decimals),
            *(_times(column, noise or name)),
        ] if column.free else []  # fmt: skip

    def count(form: Callable[[object], str]):
        return lambda column: [form(column.free)] if column.free else []

    def reference(name: str, scale: float = 1.0, decimals: int = 3):
        return lambda c: _estimate(getattr(c.candidates[0].free, name), scale, decimals)

    return [
        ("accuracy, %", reference("accuracy_reference", PERCENT, 1), of("accuracy_candidate", PERCENT, 1)),
        ("change of accuracy, points", nothing, of("accuracy_change", PERCENT, 1)),
        ("right to wrong, wrong to right", nothing, count(lambda f: f"{f.right_to_wrong}, {f.wrong_to_right}")),
        ("McNemar p, exact", nothing, count(lambda f: f"{f.mcnemar_p:.3g}")),
        ("flipped, %", nothing, of("flips", PERCENT, 1)),
        ("same answer, %", nothing, of("same_answer", PERCENT, 1)),
        ("length ratio", nothing, of("length_ratio")),
        ("diverged within 32 tokens, %", nothing, of("diverged_early", PERCENT, 1)),
        ("first differing token, median", nothing, count(lambda f: _count(f.first_divergence))),
        ("same to the last token, %", nothing, of("identical", PERCENT, 1)),
        ("true answer led, then lost, %", reference("abandoned_reference", PERCENT, 1), of("abandoned", PERCENT, 1)),
        ("change of that, points", nothing, of("abandoned_change", PERCENT, 1)),
        *_mechanism_rows(),
    ]


def _mechanism_rows() -> list[Row]:
    def share(found: dict[str, float], name: str) -> list[str]:
        return [f"{PERCENT * found[name]:.1f}"] if name in found else []

    names = ("stable", "rescue", "detour", "fragile")
    names += ("never-discovered", "escape", "failed-rescue", "stochastic-miss")
    return [
        (
            f"  {name}, %",
            lambda c, n=name: share(c.candidates[0].free.mechanisms_reference, n),
            lambda column, n=name: share(column.free.mechanisms, n) if column.free else [],
        )
        for name in names
    ]


def _trajectory_rows(first, nothing) -> list[Row]:
    def of(name: str, scale: float = 1.0, decimals: int = 3):
        return lambda column: [
            *_estimate(getattr(column.trajectory, name), scale, decimals), *_times(column, name)
        ] if column.trajectory else []  # fmt: skip

    def along(side: str, i: int):
        return lambda column: _number(getattr(column.trajectory, side)[i]) if column.trajectory else []

    rows: list[Row] = [
        (
            f"answer entropy at {100 * t:.0f} %, nats",
            lambda c, i=i: along("entropy_reference", i)(c.candidates[0]),
            along("entropy_candidate", i),
        )
        for i, t in enumerate(first.trajectory.at)
    ]
    gain = lambda c: _estimate(c.candidates[0].trajectory.gain_reference, 1.0, 3)  # noqa: E731
    return [
        *rows,
        ("change of answer entropy, nats", nothing, of("delta_entropy")),
        ("|change| of answer entropy, nats", nothing, of("abs_delta_entropy")),
        ("change of p(true answer)", nothing, of("delta_p_true")),
        ("|change| of p(true answer)", nothing, of("abs_delta_p_true")),
        ("same leading answer, %", nothing, of("same_leader", PERCENT, 1)),
        ("gain about the answer, nats", gain, of("gain_candidate")),
        ("change of that gain, nats", nothing, of("gain_change")),
    ]


def _estimate(found: Estimate, scale: float, decimals: int) -> list[str]:
    if found.value is None:
        return ["-"]
    lines = [_fixed(found.value * scale, decimals)]
    if found.known:
        lines.append(f"[{_fixed(found.low * scale, decimals)}, {_fixed(found.high * scale, decimals)}]")
    return lines


def _number(value: float | None) -> list[str]:
    return ["-"] if value is None else [f"{value:.3f}"]


def _count(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f}"


def _fixed(value: float, decimals: int) -> str:
    """Fixed decimals, and no "-0.00"."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


# --- by class and decile ----------------------------------------------------------------------------------------------


def _groups(c, width: int, full: bool) -> list[list[str]]:
    """By class of token and by decile of the reference's entropy: as many candidates side by side as fit."""
    measures = [("mean KLD, nats", "kld", 1.0, 6), ("mean ΔH, nats", "delta_entropy", 1.0, 6)]
    if full:
        measures += [("mean Δvarentropy, nats²", "delta_varentropy", 1.0, 6), ("same top p, %", "same_top", PERCENT, 3)]
    if not c.candidates or not c.candidates[0].forced.deciles:
        return []
    fit = max(1, (width - LABEL) // CELL - 1)
    parts = [slice(start, start + fit) for start in range(0, len(c.candidates), fit)]
    return [_group_lines(c, part, *measure) for measure in measures for part in parts]


def _group_lines(c, part: slice, title: str, name: str, scale: float, decimals: int) -> list[str]:
    shown, names = c.candidates[part], labels([x.model for x in c.candidates])[part]
    lines = [_line(title, ["tokens", *names])]
    for kind, prefix in (("classes", ""), ("deciles", "H(base) ")):
        for same in zip(*(getattr(x.forced, kind) for x in shown), strict=True):
            cells = [_estimate(getattr(group, name), scale, decimals) for group in same]
            lines.append(_line(f"  {prefix}{same[0].name}", [f"{same[0].n:,}", *(cell[0] for cell in cells)]))
    return lines


def _footer(c) -> list[str]:
    has_intervals = any(f.low is not None for x in c.candidates for f in x.forced.figures)
    found = (
        ["±: standard error, positions taken for independent, as llama-perplexity prints it."] if c.candidates else []
    )
    found += c.warnings
    if (n := sum(x.free is not None for x in c.candidates)) > 1:
        found.append(f"McNemar p in the table: of each candidate alone; in the sentences after Holm's rule over {n}.")
    if any(x.free and x.free.n > x.free.n_problems for x in c.candidates):
        found.append("McNemar takes pairs for independent; several pairs of one problem are not: see the interval.")
    if any(x.forced.deciles for x in c.candidates):
        found.append("H(base) 1 to 10: tenths of the positions by the reference's entropy, from nats to nats.")
    if has_intervals:
        unit = "problem" if c.source == "run" else "chunk"
        found.append(f"[ ]: {c.level:.0%} interval, clustered by {unit}.".replace("%", " %"))
    if any(x.trajectory for x in c.candidates):
        found.append(f"Gain: of ln p(true answer) from a trace's start to its end. {FLOORED}")
    if c.noise:
        free = "; run free in other lanes" if c.noise.free else ""
        found.append(
            f"Noise floor: the reference against itself on {c.noise.forced.n:,} positions, fed in chunks of another "
            f"size{free}."
        )
    return [*found, *_footer_of_text(c)]


def _footer_of_text(c) -> list[str]:
    """What llama-perplexity's definitions make of KLD and PPL(base)."""
    if c.source == "run":
        return []
    kld = "KLD over tokens with ln p(base) > -16, as llama-perplexity has it"
    if c.reference is None:
        return [
            f"{kld}.",
            "PPL(base) is the file's, in which no token lies more than 16 nats below the top: the model's own may be "
            "higher, and ln(PPL(Q)/PPL(base)) lower.",
        ]
    return [
        f"{kld}, unless it says full vocabulary.",
        "PPL(base) is the model's own, as llama-perplexity's first pass prints it; its second reads a file in which no "
        "token lies more than 16 nats below the top.",
    ]
