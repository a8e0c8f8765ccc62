"""The settings of a run: chosen by the user, or read back from a stored run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from localent import stopping
from localent.engine import CACHE_BITS
from localent.errors import UsageError
from localent.measure.sampling import Penalties, Sampler
from localent.records import Run
from localent.runs.shard import Shard
from localent.tasks.kinds.option_text import SCORES
from localent.tracing import places
from localent.tracing.probe import Effort

AUTO, LETTER, TEXT = "auto", "letter", "text"
ANSWER_BY = (AUTO, LETTER, TEXT)
STOP, GO_ON = "stop", "go-on"
AFTER_ANSWER = (STOP, GO_ON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a run. None: chosen by localent, and recorded with the run."""

    seed: int = 0
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repeat_penalty: float = 1.0  # 1: off
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64  # tokens that the penalties look back at; -1: all
    max_tokens: int | None = None  # 512, for a thinking model 4096; at most half of what the model was trained for
    shots: int | None = None
    lanes: int | None = None  # the fastest, measured once
    threads: int | None = None  # the physical cores allowed
    gpu_layers: int | None = None  # those that fit the GPU's memory; -1: all
    ctx: int | None = None  # tokens a lane: what the longest prompt needs
    cache_type_k: str = "f16"  # of the keys in the cache, one of engine.CACHE_BITS
    cache_type_v: str = "f16"  # of the values
    probe: bool = True
    probes: int | None = places.DEFAULT  # prefixes of a trace that are probed; None: after every step
    epsilon: float = Effort().epsilon
    max_fed: int = Effort().max_fed
    paths: int = Effort().paths
    cue: str | None = None  # how probes ask for the answer: a cue of the kind or a text; None: as fits the model
    measure_top_k: int = 0  # also take the measures over the k most likely tokens
    alternatives: int = 0  # also keep so many of the most likely tokens at every prediction
    system: str | None = None  # a system text; templates that refuse one get it before the question
    template_vars: dict[str, Any] = field(default_factory=dict)  # for the chat template: enable_thinking, ...
    chat_template: str | None = None  # in place of the model's own
    think_budget: int | None = None  # tokens of a trace after which an open thought is closed
    after_answer: str = STOP  # a trace ends once it has answered, or goes on: one of AFTER_ANSWER
    end_loops: bool = True  # end a trace that repeats itself
    answer_by: str = AUTO  # how choice tasks are answered: by a letter, or by the text of an option
    option_score: str = "character"  # by text: what the softmax is taken of, one of tasks.kinds.option_text.SCORES
    shard: Shard | None = None  # the part of the attempts that is made here; None: all
    stop: str | None = None  # a rule and its setting that end a trace early: "entropy_threshold:0.41"; see `stopping`
    stop_from: str | None = None  # the run on which replay chose that setting
    noise_of: str | None = None  # the run that this one repeats in other lanes, as the noise floor of a comparison

    def __post_init__(self) -> None:
        self.sampler()  # raises UsageError for values out of range
        for name in ("max_tokens", "lanes", "threads", "ctx", "think_budget"):
            _at_least(1, name, getattr(self, name))
        for name in ("shots", "max_fed", "paths", "measure_top_k", "alternatives"):
            _at_least(0, name, getattr(self, name))
        _at_least(-1, "gpu_layers", self.gpu_layers)
        if self.probes is not None and self.probes < places.LEAST:
            raise UsageError(
                f"--probes must be at least {places.LEAST} (start, half and end), got {self.probes}:"
                " use --no-probe to do without, or 'all'."
            )
        if not -(2**63) <= self.seed < 2**63:
            raise UsageError(f"--seed must fit 64 bits, got {self.seed}.")
        _one_of(ANSWER_BY, "answer-by", self.answer_by)
        _one_of(AFTER_ANSWER, "after-answer", self.after_answer)
        _one_of(SCORES, "option-score", self.option_score)
        self._check_stop()
        _one_of(tuple(CACHE_BITS), "cache-type-k", self.cache_type_k)
        _one_of(tuple(CACHE_BITS), "cache-type-v", self.cache_type_v)
        if not 0 <= self.epsilon <= 1:
            raise UsageError(f"--epsilon is a probability from 0 to 1, got {self.epsilon}.")

    def _check_stop(self) -> None:
        if self.stop is None:
            if self.stop_from is not None:
                raise UsageError("--stop-from has no effect without --stop: name the rule, or leave it out.")
            return
        stopping.parse(self.stop)
        if not self.probe or self.probes is not None:
            raise UsageError("--stop asks for the answer after every step: leave --no-probe and --probes out.")

    def sampler(self) -> Sampler:
        """The rule by which tokens are drawn."""
        penalties = Penalties(
            repeat=self.repeat_penalty,
            presence=self.presence_penalty,
            frequency=self.frequency_penalty,
            last_n=self.repeat_last_n,
        )
        return Sampler(self.temperature, self.top_p, self.top_k, self.min_p, penalties)

    @property
    def cache_types(self) -> dict[str, str]:
        """The types of keys and values in the cache by the names of the settings, where they are not the usual ones."""
        chosen = {"cache_type_k": self.cache_type_k, "cache_type_v": self.cache_type_v}
        return {} if set(chosen.values()) == {"f16"} else chosen

    def effort(self) -> Effort:
        """The limits of each probe's search."""
        return Effort(self.epsilon, self.max_fed, self.paths)


def _one_of(known: Sequence[str], name: str, value: str) -> None:
    if value not in known:
        raise UsageError(f"--{name} is one of {', '.join(known)}, got {value!r}.")


def _at_least(least: int, name: str, value: int | None) -> None:
    if value is not None and value < least:
        raise UsageError(f"--{name.replace('_', '-')} must be at least {least}, got {value}.")


DEFAULTS = Settings()


def settings_of(run: Run) -> Settings:
    """The settings that a run was made with; those recorded as None or not at all keep their defaults.

    A run that records none of these settings was answered by letter, after the only cue there was, probed after every
    step, did not estimate what its probes left open, and let traces go on after they had answered.
    """
    known = {field.name for field in fields(Settings)}
    made: dict[str, Any] = {"answer_by": LETTER, "cue": "sentence", "probes": None, "paths": 0}
    made |= {"after_answer": GO_ON, "end_loops": False}
    made |= {"cue": None} if run.settings.get("answer_by") == TEXT else {}  # by text there was no other
    made |= {name: v for name, v in run.settings.items() if name in known and v is not None}
    return Settings(**made)
