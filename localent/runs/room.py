"""How much context, how many lanes and which layers on the GPU a job gets, and whether they fit into memory."""

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
from localent.tracing.attempt import Question

DEFAULT_MAX_TOKENS = 512
SLACK = 24  # tokens of context for a cue and one answer beyond the search's budget
FITS = 0.9  # share of the available memory that lanes may take
LANES = (1, 4, 8, 16, 32)  # tried where the user leaves them open
LOG = logging.getLogger("localent")

# (settings, model, questions) -> the settings with max_tokens and ctx. Raises UsageError where a question does not fit.
Room = Callable[[Settings, Model, Sequence[Question]], Settings]


def to_generate(settings: Settings, weights: Model, questions: Sequence[Question]) -> Settings:
    """Room for the longest prompt, a trace of max_tokens after it, and its probes."""
    max_tokens = settings.max_tokens or min(DEFAULT_MAX_TOKENS, weights.n_ctx_train // 2)
    longest = max(questions, key=lambda question: len(question.prompt.tokens))
    n_prompt = len(longest.prompt.tokens)
    needed, limit = n_prompt + max_tokens + to_probe(settings), settings.ctx or weights.n_ctx_train
    if needed > limit:
        less = "lower --max-tokens or --shots" if n_prompt < limit else "leave that problem out, lower --shots"
        more = "raise --ctx" if settings.ctx else "take a model with a longer context"
        raise UsageError(
            f"Problem {longest.problem.source_id} needs {needed} tokens of context ({n_prompt} prompt, {max_tokens} "
            f"to generate, {to_probe(settings)} for probes), there are {limit}: {less}, or {more}."
        )
    return replace(settings, max_tokens=max_tokens, ctx=settings.ctx or needed)


def to_probe(settings: Settings) -> int:
    """Tokens of context that a probe may need after a prefix."""
    return settings.max_fed + SLACK if settings.probe else 0


def fastest_lanes(weights: Model, settings: Settings, what: dict[str, object]) -> int:
    """The fastest number of lanes that fits into memory, measured once on this machine for `what` (model and build)."""
    room = hardware.available_memory()
    fitting = [n for n in LANES if room is None or lane_bytes(weights, settings, n) < FITS * room]
    if not fitting:
        raise LocalentError(_too_big(weights, settings, 1, room or 0))
    options = options_of(replace(settings, lanes=1))
    return choose_once(what, int, lambda: engine.fastest_lanes(weights, options, fitting))


def check_memory(weights: Model, settings: Settings) -> None:
    """Raise LocalentError where the lanes do not fit into the memory that is free."""
    room, lanes = hardware.available_memory(), settings.lanes or 1
    if room is not None and lane_bytes(weights, settings, lanes) > FITS * room:
        raise LocalentError(_too_big(weights, settings, lanes, room))


def lane_bytes(weights: Model, settings: Settings, lanes: int) -> int:
    """Memory of the lanes and of the stream that holds their shared prefix."""
    return weights.kv_bytes((lanes + 1) * (settings.ctx or 0))


def warn(weights: Model, settings: Settings) -> None:
    """Warn about settings that work but are a bad idea."""
    cores = hardware.usable_cores()
    if (settings.ctx or 0) > weights.n_ctx_train:
        LOG.warning("--ctx %d is beyond the %d tokens of this model's training.", settings.ctx, weights.n_ctx_train)
    if (settings.threads or 0) > cores:
        LOG.warning("--threads %d is more than the %d cores there are: llama.cpp gets slower.", settings.threads, cores)


def options_of(settings: Settings) -> engine.Options:
    """The engine's options of complete settings."""
    return engine.Options(
        n_lanes=settings.lanes or 1,
        n_ctx=settings.ctx or 1,
        n_threads=settings.threads or hardware.usable_cores(),
    )


def _too_big(weights: Model, settings: Settings, lanes: int, room: int) -> str:
    need = lane_bytes(weights, settings, lanes)
    return (
        f"{lanes} lanes of {settings.ctx} tokens need {need / 1e9:.1f} GB, {room / 1e9:.1f} GB are free: "
        "use fewer --lanes, a smaller --ctx or --max-tokens."
    )
