"""One trace as text for a terminal: tokens coloured by uncertainty, and the answer distribution at every step.

Without colour, the tokens of the two highest levels are enclosed in ⟨ ⟩ ("<" and ">" in plain ASCII).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from localent.records import Probe, Problem, Token, Trace
from localent.report.measures import MEASURES, level_of
from localent.report.table import cell_text, pad, text_width
from localent.store.traces import Importance, Seen

BACKGROUNDS = ("", "230", "222", "215", "208", "166")  # one hue, ever darker: distinct without colour vision, too
MARKED = 4  # without colour, tokens from this level on are marked
BARS, PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
RESET = "\x1b[0m"
N_ANSWERS = 4
ENDS = {  # by Trace.finish
    "length": ", truncated at the token limit",
    "loop": ", ended because it repeats itself",
    "early": ", stopped early by a rule",
}
SEEN = 0.05  # from this share on, a row names the probability of no answer
UNEXPLORED = 0.2  # from this share on, a row names the unexplored probability
Z = 1.959964  # half-width of a 95 % interval, in standard errors
GIVEN = "> "  # before a line that came from outside
NOTHING = 0.0005  # a smaller share would read 0.0 %


@dataclass(frozen=True, slots=True)
class Style:
    """The drawing style."""

    measure: str = "entropy"
    colour: bool = False
    unicode: bool = True
    width: int = 80


def render_trace(seen: Seen, heading: Sequence[str], style: Style) -> str:
    """The whole view of one trace."""
    trace, texts, problem = seen.trace, seen.texts, seen.problem
    blocks = [
        [visible(line) for line in heading] + textwrap.wrap(verdict(trace, problem), style.width),
        wrapped_question(problem, style.width),
        [*legends(trace, style), "", *painted(trace.tokens, texts, starts_of(trace), style)],
        answer_table(trace.probes, problem.answer, style),
        importance_table(seen.importance, style),
        hardest(trace.tokens, texts, style),
    ]
    text = "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"
    return text if style.unicode else text.encode("ascii", "backslashreplace").decode()


def verdict(trace: Trace, problem: Problem) -> str:
    """ "WRONG: answered 12, the true answer is 18. 54 tokens, 3 steps." """
    said = f"answered {visible(trace.extraction.value)}" if trace.extraction.value is not None else "no answer found"
    n_steps = sum(step.kind == "reasoning" for step in trace.steps)
    size = f"{n_tokens(trace)}, {n_steps} {'step' if n_steps == 1 else 'steps'}"
    size += ENDS.get(trace.finish, "")
    failed = "LOOP" if trace.finish == "loop" else "WRONG"
    name, answer = "RIGHT" if trace.correct else failed, visible(problem.answer)
    return f"{name}: {said}, the true answer is {answer}. {size}."


def n_tokens(trace: Trace) -> str:
    """ "54 tokens", and how many more came from outside."""
    n = len(trace.generated)
    return f"{n} tokens" + (f" and {len(trace.tokens) - n} given" if n < len(trace.tokens) else "")


def wrapped_question(problem: Problem, width: int) -> list[str]:
    """The question and its options."""
    lines = [line for part in problem.question.splitlines() for line in textwrap.wrap(visible(part), width)]
    return lines + [visible(f"  {choice.label}. {choice.text}")[:width] for choice in problem.choices]


def legend(style: Style) -> str:
    """The meaning of the colours or marks."""
    unit, bounds = MEASURES[style.measure].unit, MEASURES[style.measure].levels
    if not style.colour:
        left, right = marks(style)
        return f"{left}token{right}: {style.measure} of at least {bounds[MARKED - 1]:g} {unit}".rstrip()
    shades = "".join(coloured(f" {low:g} ", i, style) for i, low in enumerate((0, *bounds)))
    return f"{style.measure} {f'({unit}) ' if unit else ''}from {shades}"


def legends(trace: Trace, style: Style) -> list[str]:
    """The meaning of the colours or marks, and of the lines that came from outside."""
    outside = [f"{GIVEN}from outside"] if len(trace.generated) < len(trace.tokens) else []
    highest = max((level_of(getattr(token, style.measure), style.measure) for token in trace.generated), default=0)
    unmarked = not style.colour and highest < MARKED
    return [legend(style) + (" (none here)" if unmarked else ""), *outside]


def painted(tokens: Sequence[Token], texts: Sequence[str], starts: set[int], style: Style) -> list[str]:
    """The text in lines of at most `width` columns, with every step on a new line and no empty lines."""
    flow, page, before = Flow(style), [], False
    for index, (token, text) in enumerate(zip(tokens, texts, strict=True)):
        begins = token.given and not before
        level = 0 if token.given else level_of(getattr(token, style.measure), style.measure)
        page += [
            flow.line() if index in starts or begins else "",
            flow.add(GIVEN, 0) if begins else "",
            flow.add(text, level),
        ]
        before = token.given
    return [line for line in "".join(page).split("\n") if line]


class Flow:
    """Wraps tokens one by one: `add` returns the text to print next."""

    def __init__(self, style: Style) -> None:
        self.style, self.used = style, 0

    def line(self) -> str:
        """The line break that begins a new line; empty at the start of one."""
        ended, self.used = "\n" if self.used else "", 0
        return ended

    def add(self, text: str, level: int) -> str:
        """The text of one token, with line breaks where it does not fit."""
        parts = text.split("\n")
        shown = [self._part(visible(parts[0]), level)]
        for part in parts[1:]:
            self.used = 0
            shown += ["\n", self._part(visible(part), level)]
        return "".join(shown)

    def _part(self, text: str, level: int) -> str:
        """One token or a piece of it, on a new line where it does not fit."""
        if not text:
            return ""
        marked = 2 * (not self.style.colour and level >= MARKED)
        ended = self.line() if self.used + text_width(text) + marked > self.style.width else ""
        text = (text.lstrip(" ") or text) if ended else text
        room = self.style.width - marked
        self.used += text_width(text) + marked
        if text_width(text) <= room:
            return ended + coloured(text, level, self.style)
        pieces = [text[i : i + room // 2] for i in range(0, len(text), room // 2)]  # half: wide characters fit too
        self.used = text_width(pieces[-1]) + marked
        return ended + "\n".join(coloured(piece, level, self.style) for piece in pieces)


def coloured(text: str, level: int, style: Style) -> str:
    """A token in the colour of its level, or between marks."""
    if style.colour:
        return f"\x1b[48;5;{BACKGROUNDS[level]};38;5;16m{text}{RESET}" if level else text
    left, right = marks(style)
    stripped = text.lstrip(" ")
    return f"{text[: len(text) - len(stripped)]}{left}{stripped}{right}" if level >= MARKED and stripped else text


def marks(style: Style) -> tuple[str, str]:
    """The marks before and after an uncertain token."""
    return ("⟨", "⟩") if style.unicode else ("<", ">")


def importance_table(steps: Sequence[Importance], style: Style) -> list[str]:
    """What resampling each step changes, with 95 % intervals; empty where there were no rollouts."""
    if not steps:
        return []
    sign = "±" if style.unicode else "+-"
    head = f"{'steps':>7} {'p(true) by':>14} {'answers moved':>14}  importance of steps, by rollouts"
    return [head[: style.width], *(_importance_row(one, sign)[: style.width].rstrip() for one in steps)]


def _importance_row(one: Importance, sign: str) -> str:
    change = with_error(one.p_true_change, one.p_true_change_se, sign)
    moved, text = with_error(one.shift, one.shift_se, sign), " ".join(visible(one.step_text or "").split())
    return f"{steps_of(one):>7} {change:>14} {moved:>14}  {text}"


def steps_of(one: Importance) -> str:
    """ "3", or "2-4" where several steps lie between two prefixes."""
    return str(one.k) if one.first_k == one.k else f"{one.first_k}-{one.k}"


def with_error(value: float, se: float, sign: str = "±") -> str:
    """ "+0.31 ± 0.12": the half-width of the 95 % interval."""
    return f"{value:+.2f} {sign} {Z * se:.2f}"


def answer_table(probes: Sequence[Probe], truth: str, style: Style) -> list[str]:
    """A sparkline of the answer entropy, and the leading answers after each step."""
    probes = [probe for probe in probes if probe.own]
    if not probes:
        return ["Not probed: the answer distribution by step is not known."]
    known = [probe.entropy for probe in probes if probe.entropy is not None]
    range_ = f"{known[0]:.2f} to {known[-1]:.2f} nats" if known else "unknown: no answer was found"
    spark = f"answer entropy by step  {sparkline(known, style)}  {range_}"
    head = f"{'step':>4} {'nats':>6} {'p(true)':>8}  leading answers (* the true one)"
    return [spark, "", head, *(answer_row(probe, truth, style) for probe in probes)]


def answer_row(probe: Probe, truth: str, style: Style) -> str:
    """One row of the table: k, entropy, p(true), leading answers."""
    return f"{probe.k:>4} {nats(probe.entropy):>6} {probe.p_true:>8.3f}  {fitting(probe, truth, style)}"


def nats(entropy: float | None) -> str:
    """An answer entropy; a dash where no answer was found."""
    return "-" if entropy is None else f"{entropy:.2f}"


def fitting(probe: Probe, truth: str, style: Style) -> str:
    """As many leading answers as fit in a line after its first 22 columns."""
    found = leading(probe, truth, N_ANSWERS)
    while text_width(found) > style.width - 22 and " · " in found:
        found = found.rpartition(" · ")[0]
    return found if style.unicode else found.replace(" · ", ", ")


def leading(probe: Probe, truth: str, n: int) -> str:
    """ "18*: 45 % · 3: 10 %"."""
    kept = [a for a in probe.answers[:n] if a.prob >= NOTHING]
    cells = [f"{visible(a.value)}{'*' * (a.value == truth)}: {percent(a.prob)}" for a in kept]
    if probe.residual >= UNEXPLORED:
        cells = [f"{percent(probe.residual)} not explored", *cells[: n - 1]]
    if probe.invalid >= SEEN and cells:
        cells = [*cells[: n - 1], f"{percent(probe.invalid)} no answer"]
    return " · ".join(cells) or f"no valid answer ({percent(probe.invalid)})"


def aside(probe: Probe, truth: str, style: Style) -> str:
    """One line with the leading answers, between two steps of a trace that is being generated."""
    entropy = "" if probe.entropy is None else f"{nats(probe.entropy)} nats: "
    return f"  {'└' if style.unicode else '`'} {entropy}{fitting(probe, truth, style)}"


def closing(trace: Trace, problem: Problem, style: Style) -> str:
    """The lines below a trace that was watched. Without a true answer they do not say right or wrong."""
    said = visible(trace.extraction.value) if trace.extraction.value is not None else "nothing that could be parsed"
    size = f"{n_tokens(trace)}{ENDS.get(trace.finish, '')}"
    ending = verdict(trace, problem) if problem.answer else f"Answered {said}. {size}."
    spark = answer_table(trace.probes, problem.answer, style)[:1] if trace.probes else []
    text = "\n".join([*textwrap.wrap(ending, style.width), *spark])
    return text if style.unicode else text.encode("ascii", "backslashreplace").decode()


def unprobed(trace: Trace, texts: Sequence[str], style: Style) -> str:
    """The lines below a watched trace that was not probed: its surprise, and where it was largest."""
    tokens = trace.tokens
    if not tokens:
        return "Nothing was written."
    entropy, surprisal = (sum(getattr(t, name) for t in tokens) / len(tokens) for name in ("entropy", "surprisal"))
    size = f"{len(tokens)} tokens{ENDS.get(trace.finish, '')}"
    means = f"{size}. Mean entropy {entropy:.2f} nats, mean surprisal {surprisal:.2f} nats a token."
    text = "\n".join([*textwrap.wrap(means, style.width), "", *hardest(tokens, texts, style, n=3)])
    return text if style.unicode else text.encode("ascii", "backslashreplace").decode()


def sparkline(values: Sequence[float], style: Style) -> str:
    """One bar per value, from 0 to the largest."""
    bars, top = BARS if style.unicode else PLAIN_BARS, max(values, default=0.0) or 1.0
    return "".join(bars[min(int(value / top * len(bars)), len(bars) - 1)] for value in values)


def hardest(tokens: Sequence[Token], texts: Sequence[str], style: Style, n: int = 5) -> list[str]:
    """The tokens with the largest measure, with their alternatives."""
    order = sorted(
        (i for i, token in enumerate(tokens) if not token.given), key=lambda i: -getattr(tokens[i], style.measure)
    )[:n]
    if not order:
        return []
    head = f"{'token':>5}  {'text':<14}{style.measure:>10}{'p':>7}{'rank':>6}"
    head += "  alternatives" if any(token.alternatives for token in tokens) else ""
    return [head, *(hard_row(i, tokens[i], texts[i], style).rstrip() for i in order)]


def hard_row(i: int, token: Token, text: str, style: Style) -> str:
    """One of the hardest tokens, with as many alternatives as fit."""
    others = ", ".join(f"{quoted(a.text)} {percent(a.prob)}" for a in token.alternatives)
    p = exp(-token.surprisal)
    row = f"{i:>5}  {pad(quoted(text)[:13], 14, False)}{getattr(token, style.measure):>10.2f}{p:>7.2f}{token.rank:>6}"
    room = style.width - text_width(row) - 2
    while text_width(others) > room and ", " in others:
        others = others.rpartition(", ")[0]
    return f"{row}  {others if text_width(others) <= room else ''}"


def percent(prob: float) -> str:
    """ "45 %", "3.9 %"."""
    return f"{prob * 100:.0f} %" if prob >= 0.0995 else f"{prob * 100:.1f} %"


def starts_of(trace: Trace) -> set[int]:
    """Indices of the first token of each step."""
    return {step.start for step in trace.steps}


def quoted(text: str) -> str:
    """Text between quotes, control characters escaped."""
    return f"'{visible(text)}'"


def visible(text: object) -> str:
    """Text with control characters escaped, so that a model's text cannot control the terminal."""
    return cell_text(text)
