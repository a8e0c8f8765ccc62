"""The frozen records that travel between rooms, from the engine to the store.

Units: every entropy, surprisal and log-probability is in nats; every probability is a float in [0, 1].
Token ranges are half open, counted from the first generated token of the trace.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

ADAPTED = re.compile(r"(?P<base>.+?)(?P<adapters>(?:\+[^+]+?\.gguf(?::[^+:/\\]*)?)+)")
INVALID_LIMIT = 0.2  # probability of no answer above which probes say little of what a model knows


def text_of(pieces: Iterable[bytes]) -> str:
    """The text of token pieces. Invalid UTF-8 becomes U+FFFD, one for each sequence that begins a character."""
    return b"".join(pieces).decode("utf-8", "replace")


def token_texts(pieces: Sequence[bytes]) -> list[str]:
    """The characters that each piece completes; joined, they are `text_of(pieces)`."""
    decoder = getincrementaldecoder("utf-8")(errors="replace")
    last = len(pieces) - 1
    return [decoder.decode(piece, final=i == last) for i, piece in enumerate(pieces)]


def file_parts(text: str) -> list[str]:
    """The model of MODEL+LORA[:SCALE]..., then each adapter as it is spelled."""
    found = ADAPTED.fullmatch(text)
    return [found["base"], *found["adapters"][1:].split("+")] if found else [text]


@dataclass(frozen=True, slots=True)
class Model:
    """The identity of one GGUF file, with its LoRA adapters. Two with one label and other content are two models."""

    sha256: str
    name: str
    path: str
    arch: str
    quant: str  # as GGUF spells it: "Q4_K_M", "F16"
    n_params: int
    file_bytes: int
    bits_per_weight: float  # real: bits of all tensors / number of weights
    tensor_types: dict[str, int]  # GGUF type name -> number of weights stored in it
    n_vocab: int
    n_ctx_train: int
    tokenizer_sha256: str
    template_sha256: str | None  # None: the file has no chat template

    @property
    def file(self) -> str:
        """The name of its file, with those of its adapters: "base.gguf+lora.gguf:0.5"."""
        return "+".join(Path(part).name for part in file_parts(self.path))


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second of one sequence: a prompt read in one call, and tokens fed one by one."""

    prefill: float
    decode: float


@dataclass(frozen=True, slots=True)
class Choice:
    """One option of a multiple-choice problem."""

    label: str  # as the data set spells it: "A", "1"
    text: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One question with its true answer, in the form that grading compares."""

    problem_id: str  # content hash, 16 hex digits
    source_id: str  # the data set's own id, or its line number
    question: str
    answer: str  # normalised: "18", "0.5", "B"
    choices: tuple[Choice, ...] = ()  # empty: a number is asked for
    solution: str | None = None  # a human or generated worked solution, for shots and scoring
    n_steps: int | None = None  # difficulty where the data set knows it
    observations: tuple[str, ...] = ()  # lines from outside: the k-th is read before the k-th step is written
    ideal_entropy: tuple[float, ...] = ()  # nats: of the answer, to an ideal reader after k = 0, 1, ... steps
    ideal_answers: tuple[tuple[str, ...], ...] = ()  # those possible then, all equally likely; (): not known
    variant_of: str | None = None  # the same in problems that are variants of one another; None: by itself

    @property
    def variants(self) -> str:
        """A name for the problem with its variants; "": it is by itself."""
        return "" if self.variant_of is None else f"variants of {self.variant_of}"

    @property
    def cluster(self) -> str:
        """What intervals and p-values take as one: the problem, its variants with it."""
        return self.variants or self.problem_id


@dataclass(frozen=True, slots=True)
class Alternative:
    """One of the most likely tokens at a prediction."""

    token_id: int
    text: str  # its piece as text; bytes that are not UTF-8 become U+FFFD
    prob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One token of a trace: the prediction that was made and the token that was taken."""

    token_id: int
    text: bytes  # its piece, as bytes: a character may span tokens
    surprisal: float
    entropy: float
    varentropy: float  # nats squared
    renyi2: float
    top1_prob: float
    margin: float  # l(1) - l(2)
    rank: int  # 1 = the most likely token was taken
    self_certainty: float
    topk_confidence: float | None = None  # only where top-k measures were asked for
    topk_bias: float | None = None
    alternatives: tuple[Alternative, ...] = ()  # most likely first; empty: not asked for
    given: bool = False  # it came from outside and was not generated: no part of the trace's entropy and length


# The measures of a token by name. The store's columns and the analysis follow: a new measure is a field of Token.
TOP_K_MEASURES = tuple(field.name for field in fields(Token) if field.default is None)
MEASURES = tuple(
    field.name
    for field in fields(Token)
    if field.name not in ("token_id", "text", "alternatives", "given", *TOP_K_MEASURES)
)


@dataclass(frozen=True, slots=True)
class Step:
    """One reasoning step of a trace, or the statement of the answer."""

    index: int  # 0-based
    start: int  # first token
    end: int  # one past the last token
    text: str
    kind: str  # "reasoning" | "answer"


@dataclass(frozen=True, slots=True)
class Answer:
    """One possible answer at a prefix and its probability."""

    value: str  # normalised
    prob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution over answers, given that there is one; the probability that there is none stands beside it.

    Entropies are in nats, and None where no answer was found, or next to none. From rollouts, probabilities are shares
    of the n that gave an answer, `entropy` is Miller and Madow's, `entropy_lower` the plug-in entropy and
    `entropy_upper` ln n: the range that n samples can show, and no bounds. Bounds computed from logits hold for the
    shape of the calls that read them: the same tokens in another batch move an entropy by up to 0.004 nats.
    """

    answers: tuple[Answer, ...]  # most likely first
    invalid: float  # probability that no answer follows
    residual: float  # probability of continuations that were not explored
    entropy: float | None  # estimated without bias: see tasks.kinds.summary
    entropy_se: float | None  # its standard error; 0: all was explored, or all paths agree; None: unknown
    entropy_lower: float | None  # a bound: all of the residual falls to the most likely answer
    entropy_upper: float | None  # a bound: the residual is spread over all other answers there are
    leader: str | None  # the most likely answer; None where what is unexplored could still overtake it
    p_true: float  # 0.0 where the format cannot hold the true answer, as a number of 13 digits
    log_p_true: float | None  # None where p_true is 0; from m rollouts at least ln 1/(2m)
    n_fed: int  # tokens fed after the prefix: the cue and all that was read of the answers
    next_entropy: float | None = None  # nats, of the one token after the cue, full vocabulary; None: not read

    @property
    def probs(self) -> dict[str, float]:
        """Answer -> probability, most likely first."""
        return {answer.value: answer.prob for answer in self.answers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Distribution):
    """The answer distribution at one prefix, read without touching the trace."""

    k: int  # reasoning steps in the prefix, 0..K
    n_tokens: int  # tokens of the prefix after the prompt
    position: float  # k / K; 0 where K = 0
    estimator: str  # how it was got: the answer kind where it was computed from logits, "rollout" where sampled
    control: str | None = None  # what stands in place of the trace's own steps: "shuffled"; None: the steps themselves
    n_rollouts: int | None = None  # continuations sampled; None: computed from logits

    @classmethod
    def of(
        cls, seen: Distribution, *, k: int, n_steps: int, n_tokens: int, estimator: str, control: str | None = None
    ) -> Probe:
        """The record of a distribution computed after k of n_steps reasoning steps."""
        shared = {field.name: getattr(seen, field.name) for field in fields(Distribution)}
        position = k / n_steps if n_steps else 0.0
        return cls(**shared, k=k, n_tokens=n_tokens, position=position, estimator=estimator, control=control)

    @property
    def own(self) -> bool:
        """True for the trace's own prefix, computed from logits: neither a control nor rollouts."""
        return self.control is None and self.n_rollouts is None


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer that grading read in a text, how it was read, or why there is none."""

    value: str | None  # normalised; None: nothing found
    raw: str | None  # as it stands in the text
    method: str  # "answer statement" | "boxed" | "last number" | "last label" | "none" ...
    problem: str | None  # why value is None


@dataclass(frozen=True, slots=True)
class Trace:
    """One attempt of a model at one problem."""

    problem_id: str
    sample: int
    text: str
    n_prompt: int  # prompt tokens
    finish: str  # "stop" | "length" (ran into --max-tokens or the context) | "loop" (repeated itself) | "given"
    # | "early" (stopped by a rule, see localent.stopping)
    extraction: Extraction
    correct: bool
    tokens: tuple[Token, ...]
    steps: tuple[Step, ...]
    probes: tuple[Probe, ...]

    @property
    def generated(self) -> tuple[Token, ...]:
        """The tokens that the model wrote, without those that came from outside."""
        return tuple(token for token in self.tokens if not token.given)

    @property
    def own_probes(self) -> tuple[Probe, ...]:
        """The probes of the trace's own prefixes, without controls and rollouts."""
        return tuple(probe for probe in self.probes if probe.own)

    def _repr_html_(self) -> str:
        """As a notebook shows it: the text coloured by entropy, and the answers by step."""
        import localent  # the package's front door, which loads the view when it is asked for

        html: str = localent.trace_html(self)
        return html


@dataclass(frozen=True, slots=True)
class Run:
    """One model x task x settings: everything that is needed to repeat it to the last bit."""

    run_id: str  # content hash of all below, 12 hex digits
    model_sha256: str
    task: str
    settings: dict[str, object]  # JSON scalars only; see runs.Settings
    build: dict[str, object]  # versions of localent, llama-cpp-python and llama.cpp, backend, system info

    def _repr_html_(self) -> str:
        """As a notebook shows it: its settings."""
        import localent  # the package's front door, which loads the view when it is asked for

        html: str = localent.as_html(self)
        return html
