"""The room of a job: context, number of lanes, and a check that both fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from localent import engine
from localent.engine import Model
from localent.errors import LocalentError, UsageError
from localent.files.cache import choose_once
from localent.machine import hardware
from localent.runs.settings import Settings
from localent.tasks.kinds.option_text import OptionTexts
from localent.tracing.attempt import Question

DEFAULT_MAX_TOKENS = 512
THINKING_TOKENS = 4096  # by default, of a model that thinks
ANSWER_TOKENS = 64  # of a trace that is an answer in one line
SLACK = 96  # tokens of context for a cue and the longest answer
FITS = 0.9  # share of the available memory that lanes may take
LANES = (1, 4, 8, 16, 32)  # tried where the user leaves them open
LOG = logging.getLogger("localent")

# (settings, model, questions) -> the settings with max_tokens and ctx. Raises UsageError where a question does not fit.
Room = Callable[[Settings, Model, Sequence[Question]], Settings]


def to_generate(settings: Settings, weights: Model, questions: Sequence[Question]) -> Settings:
    """Room for the longest prompt, a trace of max_tokens after it, and its probes."""
    max_tokens = settings.max_tokens or min(_usual(settings, questions[0]), weights.n_ctx_train // 2)
    _check_budget(settings, questions[0], max_tokens)
    longest = max(questions, key=lambda question: len(question.prompt.tokens) + question.n_given)
    n_prompt = len(longest.prompt.tokens) + longest.n_given
    n_probe, limit = to_probe(settings, questions), settings.ctx or weights.n_ctx_train
    needed = n_prompt + max_tokens + n_probe
    if needed > limit:
        less = "lower --max-tokens or --shots" if n_prompt < limit else "leave that problem out, lower --shots"
        more = "raise --ctx" if settings.ctx else "take a model with a longer context"
        raise UsageError(
            f"Problem {longest.problem.source_id} needs {needed} tokens of context ({n_prompt} prompt, {max_tokens} "
            f"to generate, {n_probe} for probes), only {limit} are available: {less}, or {more}."
        )
    return replace(settings, max_tokens=max_tokens, ctx=settings.ctx or needed)


def _usual(settings: Settings, question: Question) -> int:
    """Tokens of a trace where the user names none and the context is long enough."""
    if question.at_once:
        return ANSWER_TOKENS
    if not question.thought.expected:
        return DEFAULT_MAX_TOKENS
    return settings.think_budget + DEFAULT_MAX_TOKENS if settings.think_budget else THINKING_TOKENS


def _check_budget(settings: Settings, question: Question, max_tokens: int) -> None:
    """Raise UsageError for a budget of thinking that does nothing, or leaves no room for an answer."""
    budget, thought = settings.think_budget, question.thought
    if budget is None:
        return
    if not (thought.expected or thought.opened):
        raise UsageError(
            "The model's chat template opens no thought in this prompt, so --think-budget has no effect: leave it out."
        )
    if budget + len(question.closing) >= max_tokens:
        raise UsageError(
            f"--think-budget {budget} leaves no room for an answer in a trace of {max_tokens} tokens: lower it, or "
            "raise --max-tokens as far as the model's context goes."
        )


def to_probe(settings: Settings, questions: Sequence[Question]) -> int:
    """Tokens of context that a probe may need after a prefix."""
    if not settings.probe:
        return 0
    texts = [question.grammar.longest for question in questions if isinstance(question.grammar, OptionTexts)]
    return SLACK + max(texts, default=0)


def fastest_lanes(weights: Model, options: engine.Options, what: dict[str, object]) -> int:
    """The fastest number of lanes that fits into memory, measured once on this machine for `what` (model and build)."""
    room = hardware.available_memory()
    fitting = [n for n in LANES if room is None or lane_bytes(weights, replace(options, n_lanes=n)) < FITS * room]
    if not fitting:
        raise LocalentError(_too_big(weights, replace(options, n_lanes=1), room or 0))
    return choose_once(what, int, lambda: engine.fastest_lanes(weights, options, fitting))


def check_memory(weights: Model, options: engine.Options) -> None:
    """Raise LocalentError where the lanes do not fit into the memory that is free."""
    room = hardware.available_memory()
    if room is not None and lane_bytes(weights, options) > FITS * room:
        raise LocalentError(_too_big(weights, options, room))


def lane_bytes(weights: Model, options: engine.Options) -> int:
    """Memory of the lanes and of the stream that holds their shared prefix."""
    return int(weights.kv_bytes((options.n_lanes + 1) * options.n_ctx) * options.cache_share)


def warn(weights: Model, options: engine.Options) -> None:
    """Warn about options that work but are a bad idea."""
    cores, n_ctx, n_threads = hardware.usable_cores(), options.n_ctx, options.n_threads
    if n_ctx > weights.n_ctx_train:
        LOG.warning("--ctx %d is beyond the %d tokens of this model's training.", n_ctx, weights.n_ctx_train)
    if n_threads > cores:
        LOG.warning("--threads %d is more than the %d usable cores: this slows llama.cpp down.", n_threads, cores)


def options_of(settings: Settings) -> engine.Options:
    """The engine's options of settings in which lanes, ctx and threads are filled in."""
    assert settings.lanes is not None
    assert settings.ctx is not None
    assert settings.threads is not None
    return engine.Options(
        n_lanes=settings.lanes,
        n_ctx=settings.ctx,
        n_threads=settings.threads,
        type_k=settings.cache_type_k,
        type_v=settings.cache_type_v,
    )


def _too_big(weights: Model, options: engine.Options, room: int) -> str:
    need = lane_bytes(weights, options)
    return (
        f"{options.n_lanes} lanes of {options.n_ctx} tokens need {need / 1e9:.1f} GB, {room / 1e9:.1f} GB are free: "
        "use fewer --lanes, a smaller --ctx or --max-tokens."
    )
