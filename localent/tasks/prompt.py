"""The prompt of a problem: a chat through the model's own template, or worked examples and a question.

A prompt is text in segments. Only the template's own text may spell special tokens; "<|im_end|>" in a question stays
text. The part that all problems of a run share comes first, so that it is fed once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from localent.errors import UsageError
from localent.records import Problem
from localent.tasks.kinds import Kind
from localent.tasks.kinds.cues import Cue
from localent.tasks.load import Task
from localent.tasks.observed import worked
from localent.tasks.thought import DEFAULT, ThoughtFormat

STOPS = ("\nQuestion:",)  # a model without a chat template goes on with a problem of its own
LINE = ("\n",)  # the end of an answer that is asked for at once


class Segment(NamedTuple):
    """Text, and whether the spelling of a special token in it means that token."""

    text: str
    parse_special: bool


@dataclass(frozen=True, slots=True)
class PromptOptions:
    """The settings that shape a prompt."""

    template: str | None = None  # the model's chat template; None: it has none
    shots: int | None = None  # worked examples; None: none in a chat, `task.shots` without a template
    seed: int = 0  # picks the examples
    system: str | None = None  # a text that comes first
    variables: Mapping[str, Any] = field(default_factory=dict)  # of the vocabulary: bos_token, eos_token
    chosen: Mapping[str, Any] = field(default_factory=dict)  # set by the user: the template must ask for each
    cue: Cue | None = None  # how probes ask for the answer; None: as the kind does first


DEFAULTS = PromptOptions()
BLOCKS = (("```", "```"), ("$$", "$$"), ("\\[", "\\]"))  # how they begin and end
SENTENCE = Cue("sentence", "The answer is")


@dataclass(frozen=True, slots=True)
class PromptText:
    """A prompt before tokenization: `shared`, then `own`.

    `shared` is the same for all problems of a run, or empty (as for a problem that is an example for the others).
    `stops` end a generation where they appear in its text.
    """

    shared: tuple[Segment, ...]
    own: tuple[Segment, ...]
    stops: tuple[str, ...] = ()
    cue: Cue = field(default=SENTENCE, repr=False)  # asks for the answer; no part of the prompt, whose repr is hashed
    turn: tuple[Segment, ...] = field(default=(), repr=False)  # ends the model's turn, asks, begins the next: of a cue
    thought: ThoughtFormat = field(default=DEFAULT, repr=False)  # how the model marks what it thinks
    at_once: bool = field(default=False, repr=False)  # it ends in the cue: an answer follows, no reasoning

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in (*self.shared, *self.own))


def render(task: Task, problem: Problem, options: PromptOptions = DEFAULTS) -> PromptText:
    """The prompt for one problem. Raises UsageError for options that do not fit the task or the template."""
    default = task.shots if options.template is None else 0
    shots = default if options.shots is None else options.shots
    examples, is_shared = pick_shots(task, problem, shots, options.seed)
    ask = _plain if options.template is None else _chat
    shared, own = ask(task, problem, examples, options)
    if not is_shared:
        shared, own = [], [*shared, *own]
    at_once = options.template is None and _at_once(task.kind, examples)
    stops = (LINE if at_once else STOPS) if options.template is None else ()
    cue = options.cue or task.kind.cues[0]
    turn = _turn(cue, options) if cue.turn else ()
    shown, own_parts = _format(options.template), _filled(own)
    return PromptText(_filled(shared), own_parts, stops, cue, turn, _in_prompt(shown, own_parts), at_once)


def _at_once(kind: Kind, examples: Sequence[Problem]) -> bool:
    """True if the prompt asks for the answer itself: by the text of an option, with no example to reason after."""
    return not kind.lists_options and not examples


def question_text(problem: Problem, kind: Kind) -> str:
    """The question, and one line "A) text" per option where the kind lists them."""
    options = problem.choices if kind.lists_options else ()
    return "\n".join([problem.question, *(f"{c.label}) {c.text}" for c in options)])


def pick_shots(task: Task, problem: Problem, shots: int, seed: int) -> tuple[list[Problem], bool]:
    """(examples, True if the whole run has the same): the first `shots` of the pool in an order fixed by the seed.

    The problem itself is never among them: the next one takes its place.
    """
    most = len(task.pool) - (task.pool != task.kind.examples)  # a problem of the file's own pool may be the one asked
    if not 0 <= shots <= most:
        raise UsageError(f"{task.name} has {most} worked examples to show, got --shots {shots}: choose 0 to {most}.")
    order = sorted(task.pool, key=lambda p: hashlib.sha256(f"{seed}:{p.problem_id}".encode()).digest())
    others = [p for p in order if p.problem_id != problem.problem_id]
    return others[:shots], others[:shots] == order[:shots]


def cue_after(prompt: PromptText, prefix: str) -> tuple[Segment, ...]:
    """The text that asks for the answer now, after the prompt and what was generated.

    Closes what is open first: a thought, or LaTeX or code, in which every answer would be read as a part of it.
    """
    so_far = prompt.text + prefix
    if prompt.at_once and not prefix:
        return ()
    closing = prompt.thought.to_answer(prefix or so_far[-1:])
    if closing:
        marks = closing.rstrip()
        space = closing[len(marks) :]
        return (Segment(marks, True), *(prompt.turn or (Segment(space + prompt.cue.after(space), False),)))
    closed = closing_of(prefix)
    if prompt.turn:
        return (*_filled([Segment(closed, False)]), *prompt.turn)
    return (Segment(closed + prompt.cue.after(so_far + closed), False),)


def closing_of(text: str) -> str:
    """The ends of code and display math that a text has begun and not ended; "" where nothing is open."""
    ends = [end for begin, end in BLOCKS if _is_block_open(text, begin, end)]
    return "".join(f"\n{end}" for end in ends) + "\n" * bool(ends)


def _is_block_open(text: str, begin: str, end: str) -> bool:
    return text.count(begin) % 2 == 1 if begin == end else text.count(begin) > text.count(end)


def _asked(problem: Problem, kind: Kind, *, at_once: bool = False) -> str:
    """The format that the bundled model was trained on; the solution begins after one space."""
    opening = f"\n{kind.statement}" if at_once else "\nSolution:"
    return f"Question: {question_text(problem, kind)}{opening}"


def _plain(
    task: Task, problem: Problem, examples: Sequence[Problem], options: PromptOptions
) -> tuple[list[Segment], list[Segment]]:
    """(system text and worked examples, the question), for a model without a chat template."""
    _refuse_any(options.chosen)
    first = f"{options.system.strip()}\n\n" if options.system and options.system.strip() else ""
    shared = first + "".join(f"{_asked(e, task.kind)} {worked(e)}\n\n" for e in examples)
    own = _asked(problem, task.kind, at_once=_at_once(task.kind, examples))
    return [Segment(shared, False)], [Segment(own, False)]


def _chat(
    task: Task, problem: Problem, examples: Sequence[Problem], options: PromptOptions
) -> tuple[list[Segment], list[Segment]]:
    """(segments before the question, the others) through the model's chat template."""
    from localent.tasks.template import check_names, render_chat

    template, system = options.template or "", options.system
    check_names(template, options.chosen)
    ask = [f"{question_text(p, task.kind)}\n\n{task.instruction}".strip() for p in (*examples, problem)]
    turns = [("system", system.strip())] if system and system.strip() else []
    for question, example in zip(ask, examples, strict=False):
        turns += [("user", question), ("assistant", worked(example))]
    turns.append(("user", ask[-1]))
    before, after = render_chat(template, turns, {**options.variables, **options.chosen})
    return [Segment(*s) for s in before], [Segment(*s) for s in after]


def _format(template: str | None) -> ThoughtFormat:
    """The format of thought that a template shows, else the default."""
    from localent.tasks.thought_format import format_of

    return (format_of(template) if template else None) or DEFAULT


def _in_prompt(shown: ThoughtFormat, own: Sequence[Segment]) -> ThoughtFormat:
    """A format after what the template itself writes last: it may open the thought, or close it before it begins.

    A question that says <think> opens none.
    """
    last = own[-1].text.rstrip() if own and own[-1].parse_special else ""
    closed = last.endswith((shown.closing, shown.closing + shown.answer.rstrip()))
    return replace(shown, opened=shown.is_open(last), expected=shown.expected and not closed)


def _turn(cue: Cue, options: PromptOptions) -> tuple[Segment, ...]:
    """The template's text around a user turn that asks, from the end of the model's turn to the begin of its next."""
    from localent.tasks.template import render_chat

    if options.template is None:
        raise UsageError(f"The cue {cue.key!r} is a turn of a chat, and the model has no chat template: name another.")
    turns = [("user", "?"), ("assistant", "!"), ("user", cue.text)]
    before, after = render_chat(options.template, turns, {**options.variables, **options.chosen})
    return tuple(Segment(*s) for s in (*before[before.index(("!", False)) + 1 :], *after))


def _refuse_any(chosen: Mapping[str, Any]) -> None:
    if chosen:
        raise UsageError(
            f"The model has no chat template, so --template-var {min(chosen)} has no effect: leave it out."
        )


def _filled(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.text)
