"""One attempt at one problem: sample a trace, grade it, probe it along the way. A coroutine from start to end."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from localent import tasks
from localent.engine import Prompt, Request, Vocab
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler, rng
from localent.records import Extraction, Probe, Problem, Step, Trace
from localent.stopping import Stop
from localent.tasks.kinds import OPTION_TEXT, Grammar, Kind
from localent.tasks.kinds.option_text import OptionTexts, leading
from localent.tasks.thought import DEFAULT
from localent.tracing.generate import LOOP, STOP, Arrivals, Budget, Generation, Limits, generate
from localent.tracing.places import probed_at
from localent.tracing.probe import Asked, Effort, probe

UNFINISHED = Extraction(None, None, "none", "the token limit came in the middle of a thought")
STATED = (
    "answer statement",
    "answer text",
    "boxed",
)  # methods of extraction: what a loop states counts, no number in it
GIVEN = "given"  # the `finish` of a trace that was read, not generated
LOOPING = Extraction(None, None, "none", "the trace repeats itself")
Fed = Generator[Request, Any, Any]


@dataclass(frozen=True, slots=True)
class Question:
    """A problem, ready to be put to the model."""

    problem: Problem
    prompt: Prompt
    cue: Callable[[str], Sequence[int]]  # text written so far -> the tokens that ask for the answer now
    grammar: Grammar | OptionTexts | None  # what counts as an answer; None: do not probe
    stops: tuple[str, ...] = ()  # texts that end the trace
    thought: tasks.ThoughtFormat = DEFAULT  # how the model marks what it thinks
    closing: tuple[int, ...] = ()  # tokens that end a thought whose budget is spent
    at_once: bool = False  # the prompt ends in the cue: the trace is an answer without reasoning
    said: Callable[[str], Sequence[int]] = lambda answer: ()  # an answer -> the tokens that state it after the cue
    observations: tuple[tuple[int, ...], ...] = ()  # the tokens of each line that arrives before a step

    @property
    def n_given(self) -> int:
        """Tokens that may come from outside."""
        return sum(map(len, self.observations))


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings and tools of attempts, the same for all problems of a run."""

    vocab: Vocab
    meter: Meter
    sampler: Sampler
    seed: int
    limits: Limits
    kind: Kind
    effort: Effort
    probes: int | None = None  # prefixes of a trace that are probed, see places.probed_at; None: all
    stop_answered: bool = False  # end a trace once it has answered
    think_budget: int | None = None  # tokens after which a thought is closed
    stop: Stop | None = None  # ends a trace early

    def asking(self, question: Question) -> Setup:
        """The same setup with what ends a trace of this question."""
        budget = self.think_budget and Budget(self.think_budget, question.thought.is_open, question.closing)
        limits = replace(
            self.limits,
            stops=tuple(stop.encode() for stop in question.stops),
            answered=self._answered(question) if self.stop_answered and not question.at_once else None,
            budget=budget or None,
            arrivals=Arrivals(question.observations, self._n_ended(question)) if question.observations else None,
        )
        return replace(self, limits=limits)

    def _n_ended(self, question: Question) -> Callable[[Sequence[bytes], Sequence[bool]], int | None]:
        return lambda pieces, given: n_ended(question, pieces, self.kind, given)

    def _answered(self, question: Question) -> Callable[[str], bool]:
        choices, thought = question.problem.choices, question.thought
        return lambda text: tasks.is_answered(text, self.kind, choices, thought)


@dataclass(frozen=True, slots=True)
class Place:
    """The place in a trace at which a probe reads."""

    sample: int
    k: int  # reasoning steps in the prefix
    n_steps: int  # of the trace
    n_tokens: int  # of the prefix, after the prompt
    control: str | None = None  # what stands in place of the trace's own steps

    @property
    def stream(self) -> str:
        """Name of the random numbers of its probe: the same wherever nothing stands before the cue."""
        return f"probe:{self.control or ''}:{self.k}" if self.n_tokens else "probe"


def attempt(question: Question, sample: int, how: Setup) -> Fed:
    """Coroutine: returns the finished Trace. Without a grammar it is not probed."""
    draws = rng(how.seed, question.problem.problem_id, sample)
    written = yield from generate(question.prompt, how.sampler, draws, how.meter, how.vocab, how.limits)
    parts = steps_of(question, written, how.kind)
    probes = yield from probe_steps(question, sample, written, parts, how)
    return finished(question, sample, written, parts, probes, how.kind)


def steps_of(question: Question, written: Generation, kind: Kind) -> tuple[Step, ...]:
    """The reasoning steps of a generation, and its answer."""
    pieces, given = [token.text for token in written.tokens], [token.given for token in written.tokens]
    return parts_of(question, pieces, kind, thinking=cut_off(question, written), given=given)


def parts_of(
    question: Question, pieces: Sequence[bytes], kind: Kind, *, thinking: bool, given: Sequence[bool] = ()
) -> tuple[Step, ...]:
    """The reasoning steps of a text in token pieces, and its answer, which is all of it where it was asked at once.

    given: which pieces came from outside; none where it is empty.
    """
    if question.at_once:
        whole = tasks.text_of(pieces)
        return (Step(0, 0, len(pieces), whole, "answer"),) if whole else ()
    choices, thought = question.problem.choices, question.thought
    return tasks.of_trace(pieces, kind, choices, thinking=thinking, thought=thought, given=given)


def n_ended(question: Question, pieces: Sequence[bytes], kind: Kind, given: Sequence[bool] = ()) -> int | None:
    """k where k reasoning steps are complete and nothing follows them yet; None in the middle of one."""
    if pieces and b"\n" not in pieces[-1]:
        return None
    text = tasks.text_of(pieces)
    if not (question.at_once or tasks.ends_step(text, question.thought)):
        return None
    steps = parts_of(question, pieces, kind, thinking=question.thought.is_open(text), given=given)
    return len(steps) if all(step.kind == "reasoning" for step in steps) else None


def cut_off(question: Question, written: Generation) -> bool:
    """True if a trace was ended in the middle of a thought: nothing stated by then counts as an answer."""
    return _is_cut_off(question, written.own_text, written.finish)


def _is_cut_off(question: Question, text: str, finish: str) -> bool:
    return finish not in (STOP, GIVEN) and question.thought.is_unanswered(text)


def probe_steps(
    question: Question, sample: int, written: Generation, parts: Sequence[Step], how: Setup
) -> Generator[Request, Any, tuple[Probe, ...]]:
    """Coroutine: the answer distribution after the reasoning steps at which it is read; none without a grammar.

    Goes from the last prefix to the first: each only cuts the lane shorter, nothing is fed twice.
    """
    if question.grammar is None:
        return ()
    ends = prefix_ends(written, parts)
    return (yield from probes_at(probed_at(len(ends) - 1, how.probes), question, sample, written, ends, how))


def probes_at(
    ks: Sequence[int], question: Question, sample: int, written: Generation, ends: Sequence[int], how: Setup
) -> Generator[Request, Any, tuple[Probe, ...]]:
    """Coroutine: the answer distribution after so many steps, from the last to the first. ends: see `prefix_ends`."""
    if ends[-1] > written.n_fed:
        yield written.tokens[written.n_fed].token_id
    found = []
    for k in reversed(ks):
        text = tasks.text_of(token.text for token in written.tokens[: ends[k]])
        found.append((yield from probed(question, text, Place(sample, k, len(ends) - 1, ends[k]), how)))
    return tuple(reversed(found))


def prefix_ends(written: Generation, parts: Sequence[Step]) -> list[int]:
    """Tokens in the prefix after each of k = 0..K reasoning steps; the token that ends a trace is in none."""
    n_text = len(written.tokens) - (written.tokens[-1:] != () and not written.tokens[-1].text)
    return [0, *(min(step.end, n_text) for step in parts if step.kind == "reasoning")]


def probed(question: Question, text: str, place: Place, how: Setup) -> Generator[Request, Any, Probe]:
    """Coroutine: the answer distribution after a prefix that is in the lane. The question has a grammar."""
    grammar = question.grammar
    assert grammar is not None, "the question was made to be probed"
    draws = rng(how.seed, question.problem.problem_id, place.sample, stream=place.stream)
    asked = Asked(question.cue(text), grammar, question.problem.answer, draws)
    seen = yield from probe(len(question.prompt.tokens) + place.n_tokens, asked, how.effort, how.meter)
    k, n_steps, n_tokens, control = place.k, place.n_steps, place.n_tokens, place.control
    return Probe.of(seen, k=k, n_steps=n_steps, n_tokens=n_tokens, estimator=grammar.kind, control=control)


def finished(
    question: Question,
    sample: int,
    written: Generation,
    parts: tuple[Step, ...],
    probes: tuple[Probe, ...],
    kind: Kind,
) -> Trace:
    """Grade a generation and assemble its record."""
    problem, text = question.problem, written.text
    read = _answer(question, written, kind, probes)
    return Trace(
        problem_id=problem.problem_id,
        sample=sample,
        text=text,
        n_prompt=len(question.prompt.tokens),
        finish=written.finish,
        extraction=read,
        correct=tasks.grade(read, problem, kind),
        tokens=written.tokens,
        steps=parts,
        probes=probes,
    )


def _answer(question: Question, written: Generation, kind: Kind, probes: Sequence[Probe]) -> Extraction:
    """The answer that a trace gives; by the text of an option, the leading one after its reasoning."""
    if kind is OPTION_TEXT and not cut_off(question, written):
        return leading(probes, question.problem)
    return stated(question, written.own_text, written.finish, kind)


def stated(question: Question, text: str, finish: str, kind: Kind) -> Extraction:
    """The answer that a text states. finish: why it ended, one of STOP, LENGTH, LOOP, GIVEN."""
    looping = finish == LOOP
    if _is_cut_off(question, text, finish):
        return LOOPING if looping else UNFINISHED
    found = tasks.extract(text, kind, question.problem.choices, question.thought)
    if looping and found.method not in STATED:
        return LOOPING
    (value,) = kind.merged([found.value], question.problem.answer)
    return replace(found, value=value)
