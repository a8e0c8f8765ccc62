"""One trace as a picture: its text coloured by uncertainty, and the answers that it would give after every step.

An SVG that stands alone: no script, nothing fetched, all text escaped, light and dark by the reader's system.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.records import Probe, Problem, Token, Trace
from localent.report.measures import MEASURES, level_of
from localent.report.table import text_width
from localent.report.trace import NOTHING, SEEN, UNEXPLORED, nats, percent, verdict, visible, wrapped_question

WIDTH, EDGE = 860, 22  # pixels
CHAR, LINE = 8.0, 21  # pixels of a character of the text, and of a line
BESIDE = 270  # pixels of the answers beside the text
QUESTION = 96  # characters of a line of the question
BAR_ROW, N_BARS = 16, 4
STYLE = """
.paper{fill:#fdfdfc;stroke:#d9dbdf}.ink{fill:#1b1c1e}.quiet{fill:#5d6167}.line{stroke:#d9dbdf}
.soft{fill:#eceef1}.bar{fill:#8a9099}.true{fill:#0072b2}.right{fill:#0072b2}.wrong{fill:#c2500a}
.l1{fill:#fff3d6}.l2{fill:#ffdf9e}.l3{fill:#ffc266}.l4{fill:#f79a3e}.l5{fill:#d9601a}
.mono{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre}
.small{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.bold{font-weight:600}.end{text-anchor:end}
@media(prefers-color-scheme:dark){.paper{fill:#16181b;stroke:#363a40}.ink{fill:#e8e9eb}.quiet{fill:#a3a8af}
.line{stroke:#363a40}.soft{fill:#2a2e33}.bar{fill:#878d95}.true,.right{fill:#62b5ea}.wrong{fill:#f08a4b}
.l1{fill:#3a3020}.l2{fill:#5a431b}.l3{fill:#845a14}.l4{fill:#a5660e}.l5{fill:#c2500a}}
""".replace("\n", "")


@dataclass(frozen=True, slots=True)
class Piece:
    """A token, or a part of one, in a line of text."""

    at: int  # column
    text: str
    level: int


@dataclass(frozen=True, slots=True)
class Row:
    """A step, drawn: its text on the left, the answers after it on the right."""

    lines: list[list[Piece]]
    probe: Probe | None
    note: str = ""

    @property
    def height(self) -> int:
        beside = 0 if self.probe is None else 16 + BAR_ROW * len(shares(self.probe))
        return max(LINE * len(self.lines), beside) + 10


def save(path: Path, text: str) -> None:
    """Write an SVG. Raises UsageError for another suffix, LocalentError where it cannot be written."""
    refuse_other(path)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LocalentError(f"Cannot write {path}: {error.strerror}.") from error


def refuse_other(path: Path) -> None:
    """Raise UsageError for a file that is no SVG."""
    if path.suffix.lower() != ".svg":
        raise UsageError(f"'{path.name}' must end in .svg: a browser, or rsvg-convert, makes other formats of it.")


def picture(trace: Trace, texts: Sequence[str], problem: Problem, heading: str = "", measure: str = "entropy") -> str:
    """The SVG of a trace. heading: what it is of; measure: of records.Token, shown by the colours."""
    probed = bool(trace.own_probes)
    rows = list(rows_of(trace, texts, measure, _columns(probed)))
    question = wrapped_question(problem, QUESTION)
    top = EDGE + (20 if heading else 0) + LINE * len(question) + 46
    height = top + sum(row.height for row in rows) + 34 + EDGE
    body = [f'<rect class="paper" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="8"/>']
    body += _head(heading, question, measure, probed)
    y = top
    for row in rows:
        body += _row(row, y, problem.answer)
        y += row.height
    body += _end(trace, problem, y)
    title = escape(f"A language model's reasoning, coloured by {measure}: {problem.question}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        f' role="img"><title>{visible(title)}</title><style>{STYLE}</style>{"".join(body)}</svg>\n'
    )


def _columns(probed: bool) -> int:
    """Characters in a line of the trace's text."""
    return int((WIDTH - 2 * EDGE - (BESIDE + 24 if probed else 0)) / CHAR)


# --- rows ---------------------------------------------------------------------------------------------------------


def rows_of(trace: Trace, texts: Sequence[str], measure: str, columns: int) -> Iterator[Row]:
    """The start, each reasoning step, and the rest of a trace."""
    probes, k = {probe.k: probe for probe in trace.own_probes}, 0
    if 0 in probes:
        yield Row([], probes[0], "before the first step")
    bounds = sorted({0, *(step.start for step in trace.steps), len(trace.tokens)})
    kinds = {step.start: step.kind for step in trace.steps}
    for start, end in pairwise(bounds):
        reasons = kinds.get(start) == "reasoning"
        k += reasons
        lines = laid_out(trace.tokens[start:end], texts[start:end], measure, columns)
        if lines or reasons:
            yield Row(lines, probes.get(k) if reasons else None)


def laid_out(tokens: Sequence[Token], texts: Sequence[str], measure: str, columns: int) -> list[list[Piece]]:
    """Tokens in lines of at most so many columns, broken between words where it can be; without empty lines."""
    lines: list[list[Piece]] = [[]]
    for token, text in zip(tokens, texts, strict=True):
        level = level_of(getattr(token, measure), measure)
        for n, part in enumerate(text.split("\n")):
            if n:
                lines.append([])
            if shown := visible(part):
                _place(lines, shown, level, columns)
    return [line for line in lines if line]


def _place(lines: list[list[Piece]], text: str, level: int, columns: int) -> None:
    """Add a text to the last line, or to a new one where it does not fit."""
    used = _used(lines[-1])
    if used and used + text_width(text) > columns:
        word = [] if text.startswith(" ") else _begun_word(lines[-1])
        lines.append([])
        for piece in word:
            _place(lines, piece.text if lines[-1] else piece.text.lstrip(" "), piece.level, columns)
        text = text if word else text.lstrip(" ") or text
        used = _used(lines[-1])
    for start in range(0, len(text), columns):  # a token longer than a line
        if start:
            lines.append([])
            used = 0
        lines[-1].append(Piece(used, text[start : start + columns], level))


def _begun_word(line: list[Piece]) -> list[Piece]:
    """Take the word that a line ends in off it; nothing where the line is one word."""
    first = next((i for i in range(len(line) - 1, 0, -1) if line[i].text.startswith(" ")), 0)
    word = line[first:] if first else []
    del line[first or len(line) :]
    return word


def _used(line: Sequence[Piece]) -> int:
    return line[-1].at + text_width(line[-1].text) if line else 0


def shares(probe: Probe) -> list[tuple[str, float]]:
    """The leading answers, what was not explored, and no answer: name and probability of each bar."""
    found = [(answer.value, answer.prob) for answer in probe.answers[:N_BARS] if answer.prob >= NOTHING]
    if probe.residual >= UNEXPLORED:
        found = [*found[: N_BARS - 1], ("other answers", probe.residual)]
    if probe.invalid >= SEEN:
        found = [*found[: N_BARS - 1], ("no answer", probe.invalid)]
    return found


# --- drawing ------------------------------------------------------------------------------------------------------


def _head(heading: str, question: Sequence[str], measure: str, probed: bool) -> Iterator[str]:
    y = EDGE + 8
    if heading:
        yield _text(EDGE, y, visible(heading), "small quiet")
        y += 22
    for line in question:
        yield _text(EDGE, y, line, "text ink bold")
        y += LINE
    y += 10
    yield from _scale(y, measure)
    if probed:
        yield _text(WIDTH - EDGE - BESIDE, y, "what it would answer now", "small quiet")
    yield f'<path class="line" d="M{EDGE} {y + 10}H{WIDTH - EDGE}"/>'


def _scale(y: int, measure: str) -> Iterator[str]:
    unit, bounds = MEASURES[measure].unit, MEASURES[measure].levels
    name = f"{measure} of each token{f', {unit}' if unit else ''}, from"
    yield _text(EDGE, y, name, "small quiet")
    x = EDGE + 6.4 * len(name) + 8
    for level, low in enumerate((0, *bounds)):
        if level:
            yield f'<rect class="l{level}" x="{x:.0f}" y="{y - 12}" width="36" height="16" rx="2"/>'
        yield _text(x + 6, y, f"{low:g}", "small ink")
        x += 38


def _row(row: Row, y: int, truth: str) -> Iterator[str]:
    if row.note:
        yield _text(EDGE, y + 14, row.note, "small quiet")
    for n, line in enumerate(row.lines):
        base = y + LINE * n + 15
        for piece in line:
            if piece.level:
                x, width = EDGE + CHAR * piece.at, CHAR * text_width(piece.text)
                box = f'x="{x:.1f}" y="{base - 14}" width="{width:.1f}" height="19" rx="2"'
                yield f'<rect class="l{piece.level}" {box}/>'
        text = "".join(piece.text for piece in line)
        length = f'textLength="{CHAR * text_width(text):.1f}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"'
        yield f'<text class="mono ink" x="{EDGE}" y="{base}" {length}>{escape(text)}</text>'
    if row.probe is not None:
        yield from _answers(row.probe, y, truth)


def _answers(probe: Probe, y: int, truth: str) -> Iterator[str]:
    left = WIDTH - EDGE - BESIDE
    yield _text(left, y + 12, f"answer entropy {nats(probe.entropy)} nats", "small quiet")
    for n, (name, prob) in enumerate(shares(probe)):
        base = y + 28 + BAR_ROW * n
        is_true = bool(truth) and name == truth
        shown = visible(name)
        shown = shown if len(shown) <= 14 else shown[:13] + "…"
        yield _text(left, base, f"{shown} ✓" if is_true else shown, "small ink bold" if is_true else "small ink")
        room = BESIDE - 148
        box = f'x="{left + 104}" y="{base - 9}" height="9" rx="1.5"'
        yield f'<rect class="soft" {box} width="{room}"/>'
        yield f'<rect class="{"true" if is_true else "bar"}" {box} width="{max(1.0, room * prob):.1f}"/>'
        yield _text(WIDTH - EDGE, base, percent(prob), "small quiet end")


def _end(trace: Trace, problem: Problem, y: int) -> Iterator[str]:
    """Right or wrong, where the true answer is known."""
    yield f'<path class="line" d="M{EDGE} {y}H{WIDTH - EDGE}"/>'
    if problem.answer:
        yield _text(EDGE, y + 24, verdict(trace, problem), f"text bold {'right' if trace.correct else 'wrong'}")
    else:
        said = trace.extraction.value
        answered = "" if said is None else f"Answered {visible(said)}. "
        yield _text(EDGE, y + 24, f"{answered}{len(trace.tokens)} tokens.", "text ink")


def _text(x: float, y: float, text: str, name: str) -> str:
    return f'<text class="{name}" x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'
