"""A comparison for a decision: one row per file, the reference first, at most nine columns. Returns text.

In the terminal a cell may have a second line, for an interval; names that are too wide for a column get a line of their
own, and columns that still do not fit are left out, the least telling first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from localent.analysis import quantities
from localent.analysis.divergence import TeacherForced, macro
from localent.analysis.intervals import Estimate
from localent.analysis.pairs import FreeRunning
from localent.analysis.prefixes import PROGRESS, Trajectory
from localent.analysis.quantities import Figure, Quantity
from localent.compare import Candidate, Comparison
from localent.compare.verdict import ACCURACY, DISTRIBUTIONS, Verdict, times_noise
from localent.records import Model, Speed
from localent.report.compare import judged
from localent.report.numbers import fixed
from localent.report.table import cell_text, pad, text_width
from localent.report.terminal import paragraphs

GAP = 2  # terminal columns between two columns of the table
MACRO = "macro average"
HALF = PROGRESS.index(0.5)
Cell = tuple[str, ...]  # the value, then what belongs to it: an interval, a change; (): nothing
Line = list[str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a candidate, or the reference, with what was seen of it. None: not compared so."""

    name: str
    model: Model | None  # None: the reference is a base file
    speed: Speed | None
    forced: TeacherForced | None  # of a candidate
    free: FreeRunning | None
    path: Trajectory | None
    times: float | None  # KLD as a multiple of the noise floor's
    base: TeacherForced | None = None  # of the reference: where the figures of it are taken from


@dataclass(frozen=True, slots=True)
class Column:
    """One column. keep: columns with a lower number are left out first where there is no room."""

    title: str  # in the terminal, on the lines of its cells
    head: str  # in Markdown
    cell: Callable[[Entry], Cell]
    keep: int


def render(c: Comparison, width: int = 100) -> str:
    """The verdict, the table, and what it shows. width: columns of the terminal."""
    said = judged(c)
    blocks = [
        paragraphs([heading(c)], width),
        paragraphs(headline(c, said), width),
        lines(entries(c), width),
        by_text(c, width),
    ]
    blocks += [by_depth(c, width)]
    blocks += [paragraphs([verdict.sentence for verdict in said], width), paragraphs(notes(c), width)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


# --- rows -------------------------------------------------------------------------------------------------------------


def entries(c: Comparison) -> list[Entry]:
    """The reference and the candidates, in the order in which they were named."""
    rows = [_of_candidate(one, name) for one, name in zip(c.candidates, c.names, strict=True)]
    first = c.candidates[0] if c.candidates else None
    name = reference_name(c)
    base = first.forced if first else None
    free, path = (first.free, first.trajectory) if first else (None, None)
    return [Entry(name, c.reference, c.speed, None, free, path, None, base), *rows]


def reference_name(c: Comparison) -> str:
    """The file of the reference, or of its rows."""
    if c.reference is None:
        return c.source_name
    return c.variant or c.reference.file


def _of_candidate(one: Candidate, name: str) -> Entry:
    times = (one.multiples or {}).get(quantities.KLD.key)
    return Entry(name, one.model, one.speed, one.forced, one.free, one.trajectory, times)


# --- columns ----------------------------------------------------------------------------------------------------------


def columns(rows: Sequence[Entry]) -> list[Column]:
    """The columns that some row has a value in: eight at most, beside the name."""
    ran = any(row.free for row in rows)
    wanted = [
        Column("MB\nbits", "MB (bits per weight)", _size, 9),
        Column("tok/s\nin, out", "tok/s in (out)", _speed, 4),
        Column("PPL", "PPL", _perplexity, 5),
        Column("KLD, nats", "KLD, nats", _kld_and_noise if ran else _kld, 10),
        *([] if ran else [Column("× noise", "× noise", _noise, 3)]),
        Column("same\ntop, %", "same top, %", _same_top, 7),
        *([] if ran else [Column("total\nvariation", "total variation", _variation, 2)]),
        Column("right, %\nlost, won", "accuracy, % (lost, won)", _accuracy, 8),
        Column("same\nanswer, %", "same answer, %", _same_answer, 8),
        Column("answer\nentropy", "answer entropy (change)", _answer_entropy, 1),
        Column("length", "length", _length, 6),
    ]
    return [column for column in wanted if any(column.cell(row) for row in rows)]


def _size(row: Entry) -> Cell:
    if row.model is None:
        return ()
    size = row.model.file_bytes / 1e6
    return f"{size:,.0f}" if size >= 100 else f"{size:.1f}", f"{row.model.bits_per_weight:.2f}"


def _speed(row: Entry) -> Cell:
    if row.speed is None:
        return ()
    return tuple(f"{x:,.0f}" if x >= 10 else f"{x:.1f}" for x in (row.speed.prefill, row.speed.decode))


def _perplexity(row: Entry) -> Cell:
    figure = row.forced[quantities.PPL.key] if row.forced else row.base and row.base[quantities.PPL_BASE.key]
    return (f"{figure.value:.4g}" if figure.value < 1e6 else f"{figure.value:.2g}",) if figure else ()


def _kld(row: Entry) -> Cell:
    return _with_interval(row.forced[quantities.KLD.key]) if row.forced else ()


def _kld_and_noise(row: Entry) -> Cell:
    return (*_kld(row), *(f"{times}× noise" for times in _noise(row)))


def _noise(row: Entry) -> Cell:
    return () if row.times is None else (times_noise(row.times),)


def _same_top(row: Entry) -> Cell:
    return (_per_cent(row.forced, quantities.SAME_TOP),) if row.forced else ()


def _variation(row: Entry) -> Cell:
    found = row.forced.get(quantities.TOTAL_VARIATION.key) if row.forced else None
    return (small(found.value),) if found else ()


def _accuracy(row: Entry) -> Cell:
    """Of a candidate with the attempts lost and won."""
    if row.free is None or row.free.accuracy_reference.value is None:
        return ()
    if row.forced is None:
        return (_share(row.free.accuracy_reference),)
    return _share(row.free.accuracy_candidate), f"-{row.free.right_to_wrong} +{row.free.wrong_to_right}"


def _same_answer(row: Entry) -> Cell:
    """Where true answers are not known: how often a candidate answers as the reference does."""
    if row.free is None or row.forced is None or row.free.accuracy_reference.value is not None:
        return ()
    return (_share(row.free.same_answer),)


def _answer_entropy(row: Entry) -> Cell:
    """Half-way on the reference's traces; of a candidate with its mean change over all prefixes."""
    if row.path is None:
        return ()
    if row.forced is None:
        return (_nats(row.path.entropy_reference[HALF]),)
    change = row.path.delta_entropy.value
    return (_nats(row.path.entropy_candidate[HALF]), *([] if change is None else [f"{change:+.3f}"]))


def _length(row: Entry) -> Cell:
    if row.free is None or row.forced is None or row.free.length_ratio.value is None:
        return ()
    return (f"{row.free.length_ratio.value:.2f}×",)


def _share(found: Estimate) -> str:
    return "-" if found.value is None else f"{100 * found.value:.1f}"


def _per_cent(forced: TeacherForced, quantity: Quantity) -> str:
    return f"{100 * forced[quantity.key].value:.2f}"


def _nats(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(figure: Figure) -> Cell:
    """ "0.00397", "[0.00144, 0.01038]", with two or three digits; powers of ten below a thousandth."""
    value = small(figure.value)
    if figure.low is None or figure.high is None:
        return (value,)
    if abs(figure.value) < 1e-3:
        return value, f"[{small(figure.low)}, {small(figure.high)}]"
    decimals = _decimals(figure.value)
    return value, f"[{fixed(figure.low, decimals)}, {fixed(figure.high, decimals)}]"


def small(value: float) -> str:
    """Two or three digits of a small number: "0.0040", "0.234", "2.3e-4"; "0" for zero."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3:
        digits, _, power = f"{value:.1e}".partition("e")
        return f"{digits}e{int(power)}"
    return fixed(value, _decimals(value))


def _decimals(value: float) -> int:
    return max(0, min(4, 2 - math.floor(math.log10(abs(value)))))


# --- layouts ----------------------------------------------------------------------------------------------------------


def lines(rows: Sequence[Entry], width: int) -> list[str]:
    """The table for a terminal of so many columns."""
    shown, names = columns(rows), [cell_text(row.name) for row in rows]
    widest = max(map(text_width, ["file", *names]))
    fits = sum(_widths(shown, rows)) + GAP * len(shown) + widest <= width
    label = widest if fits else len("file")
    while len(shown) > 1 and label + sum(_widths(shown, rows)) + GAP * len(shown) > width:
        shown.remove(min(shown, key=lambda column: column.keep))
    widths = _widths(shown, rows)
    head = [column.title.split("\n") for column in shown]
    found = [*_block("file", label, head, widths), "-" * (label + sum(widths) + GAP * len(shown))]
    for row, name in zip(rows, names, strict=True):
        cells = [list(column.cell(row)) for column in shown]
        found += [] if fits else [name]
        found += _block(name if fits else "", label, cells, widths)
    return found


def by_text(c: Comparison, width: int) -> list[str]:
    """KLD and perplexity on each of several texts, and their average, each text counting the same."""
    if not (c.candidates and c.candidates[0].parts):
        return []
    names = [*(part.name for part in c.candidates[0].parts), MACRO]
    forced = {name: [part.forced for part in one.parts] for name, one in zip(c.names, c.candidates, strict=True)}
    base = [one[quantities.PPL_BASE.key] for one in next(iter(forced.values()))]
    klds = [(name, _klds([one[quantities.KLD.key] for one in each])) for name, each in forced.items()]
    ppls = [(name, _ppls([one[quantities.PPL.key] for one in each])) for name, each in forced.items()]
    ppls = [(reference_name(c), _ppls(base)), *ppls]
    return [*_by_place("KLD by text", names, klds, width), "", *_by_place("PPL by text", names, ppls, width)]


def _klds(found: Sequence[Figure]) -> list[str]:
    """A cell per text, and one of the average."""
    return [*map(_in_one_cell, found), _in_one_cell(macro(found))]


def _ppls(found: Sequence[Figure]) -> list[str]:
    return [f"{value:.4g}" for value in (*(one.value for one in found), _mean_perplexity(found))]


def _mean_perplexity(found: Sequence[Figure]) -> float:
    """That of the mean surprisal: the geometric mean."""
    return math.exp(sum(math.log(figure.value) for figure in found) / len(found))


def _in_one_cell(found: Figure | Estimate) -> str:
    value = 0.0 if found.value is None else found.value
    return " ".join(_with_interval(Figure(quantities.KLD.key, value, None, found.low, found.high)))


def _by_place(title: str, places: Sequence[str], columns: Sequence[tuple[str, list[str]]], width: int) -> list[str]:
    """A row per place, a column per file; else a row per file; else, where that is too wide, too, a block per file."""
    head = [title, *(name for name, _ in columns)]
    across = [head, *([place, *(cells[i] for _, cells in columns)] for i, place in enumerate(places))]
    down = [[title, *places], *([name, *cells] for name, cells in columns)]
    if fitting := next((rows for rows in (across, down) if sum(_widest(rows)) + GAP * len(rows[0]) <= width), None):
        return _aligned(fitting)
    blocks = ([name, *_aligned([["", place, cell] for place, cell in zip(places, cells, strict=True)])]
              for name, cells in columns)  # fmt: skip
    return [title, *(line for block in blocks for line in block)]


def _widest(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(text_width, column)) for column in zip(*rows, strict=True)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = _widest(rows)
    return [
        (" " * GAP).join(pad(cell, w, i > 0) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def by_depth(c: Comparison, width: int) -> list[str]:
    """KLD by place in the text, a row per range, where one model was run in several ways."""
    if not (c.variant and c.candidates and c.candidates[0].forced.depths):
        return []
    shown = [one.forced.depths for one in c.candidates]
    head = ["KLD by depth, tokens", *c.names]
    rows = [[group[0].name, *(small(g.kld.value or 0.0) for g in group)] for group in zip(*shown, strict=True)]
    widths = [max(map(text_width, column)) for column in zip(head, *rows, strict=True)]
    fits = next((n for n in range(len(head), 1, -1) if sum(widths[:n]) + GAP * n <= width), 2)
    return [
        (" " * GAP).join(pad(cell, w, i > 0) for i, (cell, w) in enumerate(zip(row[:fits], widths[:fits], strict=True)))
        for row in [head, *rows]
    ]


def _widths(shown: Sequence[Column], rows: Sequence[Entry]) -> list[int]:
    return [max(map(text_width, [*column.title.split("\n"), *(x for row in rows for x in column.cell(row))]))
            for column in shown]  # fmt: skip


def _block(label: str, width: int, cells: Sequence[Line], widths: Sequence[int]) -> Iterator[str]:
    """One row of the table, on as many lines as its cells have."""
    for i in range(max(1, *map(len, cells)) if cells else 1):
        parts = [cell[i] if i < len(cell) else "" for cell in cells]
        padded = [" " * GAP + pad(part, w, True) for part, w in zip(parts, widths, strict=True)]
        yield (pad("" if i else label, width, False) + "".join(padded)).rstrip()


def markdown(c: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table in Markdown: nine columns at most, what belongs to a value beside it."""
    rows = entries(c)
    shown = columns(rows)
    cells = [[row.name, *(_beside(column.cell(row)) for column in shown)] for row in rows]
    return ["file", *(column.head for column in shown)], cells


def _beside(cell: Cell) -> str:
    """ "0.0040 [0.0014, 0.0104]", "73.3 (-1 +3)"."""
    return " ".join([*cell[:1], *(part if part.startswith("[") else f"({part})" for part in cell[1:])])


def full_rows(c: Comparison) -> tuple[list[str], list[list[object]]]:
    """Head and cells of a table for machines: a row per file, a column for every figure and end of an interval."""
    found = [_flat(row) for row in entries(c)]
    head = list(dict.fromkeys(name for row in found for name in row))
    return head, [[row.get(name) for name in head] for row in found]


def _flat(row: Entry) -> dict[str, object]:
    cells: dict[str, object] = {"file": row.name}
    if row.model:
        cells |= {"quant": row.model.quant, "sha256": row.model.sha256, "bytes": row.model.file_bytes}
        cells |= {"bits_per_weight": row.model.bits_per_weight}
    if row.speed:
        cells |= {"prefill_tokens_per_s": row.speed.prefill, "decode_tokens_per_s": row.speed.decode}
    if row.forced is None:
        return cells | ({"accuracy": row.free.accuracy_reference.value} if row.free else {})
    cells |= {"kld_times_noise": row.times, "positions": row.forced.n}
    for figure in row.forced.figures:
        cells |= _ends(figure.name, figure)
    for view in (row.free, row.path):
        cells |= _estimates(view) if view else {}
    return cells


def _estimates(view: FreeRunning | Trajectory) -> dict[str, object]:
    """The estimates of a view with their intervals, and its plain numbers."""
    found: dict[str, object] = {}
    for name in view.__dataclass_fields__:
        value = getattr(view, name)
        if isinstance(value, Estimate):
            found |= _ends(name.replace("accuracy_candidate", "accuracy"), value)
        elif isinstance(value, int | float):
            found[name] = value
    return found


def _ends(name: str, found: Figure | Estimate) -> dict[str, object]:
    values = {name: found.value, f"{name} low": found.low, f"{name} high": found.high}
    return {key: None if value is None or math.isnan(value) else value for key, value in values.items()}


# --- sentences --------------------------------------------------------------------------------------------------------


def heading(c: Comparison) -> str:
    """ "3 files beside model-f16.gguf on 40 chunks of wiki.txt, 10,200 positions"."""
    what = {"run": "traces of run", "text": f"{c.unit} of", "base file": "chunks of"}[c.source]
    n = f", {c.candidates[0].forced.n:,} positions" if c.candidates else ""
    size = f"{len(c.candidates)} {'candidate' if len(c.candidates) == 1 else 'candidates'}"
    model = f" of {c.reference.file}" if c.variant and c.reference else ""
    return f"{size} beside {reference_name(c)}{model} on {c.n_texts:,} {what} {c.source_name}{n}"


def headline(c: Comparison, said: Sequence[Verdict]) -> list[str]:
    """The verdicts in a few words: which candidates differ in what, and which is closest."""
    if not said:
        return []
    found = [_closest(c, said)]
    if any(row.free for row in c.candidates):
        found.append(_on_answers(said))
    return found


def _closest(c: Comparison, said: Sequence[Verdict]) -> str:
    same = [v.name for v in said if not any(check.aspect == DISTRIBUTIONS for check in v.differs)]
    if same:
        return f"Not told apart from the reference by next-token distributions: {', '.join(same)}."
    klds = {v.name: one.forced[quantities.KLD.key].value for v, one in zip(said, c.candidates, strict=True)}
    nearest = min(klds, key=lambda name: klds[name])
    if len(said) == 1:
        return f"{nearest} differs from the reference: KLD {small(klds[nearest])} nats a token."
    count = "Both" if len(said) == 2 else f"All {len(said)}"
    return f"{count} differ from the reference; {nearest} is closest: KLD {small(klds[nearest])} nats a token."


def _on_answers(said: Sequence[Verdict]) -> str:
    """Which candidates differ in accuracy."""
    checks = {v.name: next((check for check in v.checks if check.aspect == ACCURACY), None) for v in said}
    differ = [name for name, check in checks.items() if check and check.differs]
    few = {check.few for check in checks.values() if check and check.few}
    if differ:
        return f"Accuracy differs from the reference's: {', '.join(differ)}."
    return f"Accuracy: too little to tell ({few.pop()})." if few else "No difference of accuracy is shown."


def notes(c: Comparison) -> list[str]:
    """Explanations of what the table shows."""
    rows = entries(c)
    told = {column.title for column in columns(rows)}
    found = list(c.warnings)
    how = "allowing for neighbouring positions that are alike"
    if c.source == "run" or c.unit != "chunks":
        units = c.unit.replace("turns", "conversation").replace("chunks", "chunk")
        how = "clustered by problem" if c.source == "run" else f"clustered by {units}"
    found.append(
        f"KLD: divergence of next-token distributions from the reference's; [ ]: {c.level:.0%} interval, {how}."
    )
    if any(row.times is not None for row in rows):
        found.append("× noise: the KLD as a multiple of that of the reference from itself in calls of another size.")
    if any(title.startswith("total") for title in told):
        found.append("1 - total variation is the share of draft tokens that speculative sampling would accept.")
    if any(row.free for row in rows):
        found.append("Lost, won: attempts that only the reference, or only the candidate, has right; same seeds.")
    if any(row.path for row in rows):
        found.append(
            "Answer entropy: nats, half-way on the reference's traces; then its mean change over all prefixes."
        )
    if any(row.speed for row in rows):
        found.append(
            "tok/s: of one sequence, measured in this run on this machine. in: a prompt read, out: tokens written."
        )
    return [*found, "--full prints every figure."]
