"""The material of the bench: a model of true shape, the text of every trace, the answer rows of every probe.

Random weights write nonsense, without digits and steps. So the sampler draws as ever, for its cost, and then takes the
next token of a given solution; and where a probe asks for the answer, the row is made to say what a model would.
"""

from __future__ import annotations

import ctypes
import itertools
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import random_model

from localent import engine, tasks
from localent.engine import (
    Coroutine,
    Engine,
    Feed,
    Model,
    Options,
    Prompt,
    QuantizeOptions,
    Request,
    Vocab,
    quantize,
)
from localent.errors import UsageError
from localent.machine.hardware import usable_cores
from localent.measure.meter import Meter
from localent.measure.sampling import Penalties, Sampler
from localent.records import Problem, Trace
from localent.tasks.kinds.number_grammar import NumberGrammar
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.probe import Effort
from localent.tracing.prompt_tokens import continued, prompt_tokens

SHAPE = "qwen2.5-0.5b"
SHARP = 8.0  # spread of the logits: 1.4 nats of entropy a token, more than a model that reasons has; 1 gives 11.4
SPARE = 48  # tokens of a lane beyond prompt and text: a probe, or the bare loop's segment
CERTAIN = 60.0  # logit of a certain token, far above every random one

# Six steps, as long as the average six-step solution in gsm8k's test set: 139 tokens of Qwen2, then the answer.
SOLUTION = """The 15 crates of the first truck hold 24 * 15 = 360 bottles.
The second truck brings 15 - 8 = 7 crates, that is 24 * 7 = 168 bottles.
Together they bring 360 + 168 = 528 bottles.
On the way 10 bottles break, so 528 - 10 = 518 are left.
The shop sells 518 / 7 * 3 = 222 bottles.
So 518 - 222 = 296 bottles stay.
The answer is 296."""
N_STEPS = 6
PROBLEM = Problem(
    problem_id="be9c000000000000",
    source_id="bench",
    question="A crate holds 24 bottles. One truck brings 15 crates to a shop, another one 8 crates fewer. In each "
    "truck 5 bottles break. The shop sells 3 out of 7 of the others. How many bottles stay in the shop?",
    answer="296",
)
CHANCE = (0.05, 0.1, 0.2, 0.35, 0.55, 0.8, 0.95)  # of the true answer after 0 to 6 steps

Belief = Callable[[tuple[int, ...]], Mapping[int, float]]  # answer tokens so far -> next token -> probability


def model_file(vocab: Path, cache: Path | None, scale: float) -> Path:
    """The Q4_K_M model of SHAPE with random weights and the vocabulary of a GGUF; made once, kept in `cache`."""
    if not vocab.is_file():
        raise UsageError(f"No vocabulary at {vocab}: name a GGUF that has one with --vocab, or a model with --model.")
    folder = cache or Path(tempfile.gettempdir()) / "localent-bench"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{SHAPE}-{vocab.stem}-{scale:g}-q4_k_m.gguf"
    if not path.exists():
        raw = path.with_suffix(".f16")
        random_model.write(raw, random_model.SHAPES[SHAPE], vocab=vocab, scale=scale)
        quantize(raw, path, "Q4_K_M", QuantizeOptions(n_threads=usable_cores()))
        raw.unlink()
    return path


@dataclass(frozen=True, slots=True)
class Scene:
    """One model and everything that attempts at the problem need."""

    model: Model
    threads: int
    prompt: Prompt
    text: tuple[int, ...]  # tokens that every trace writes
    grammar: NumberGrammar

    def engine(self, lanes: int, n_ctx: int | None = None) -> Engine:
        n_ctx = n_ctx or len(self.prompt.tokens) + len(self.text) + SPARE
        return self.model.lanes(Options(n_lanes=lanes, n_ctx=n_ctx, n_threads=self.threads))

    def setup(self, sampler: Sampler | Forced, n_tokens: int | None = None, meter: Meter | None = None) -> Setup:
        limits = Limits(min(n_tokens or len(self.text), len(self.text)))
        meter = meter or Meter(self.model.vocab.n_tokens)
        return Setup(self.model.vocab, meter, sampler, seed=0, limits=limits, kind=tasks.NUMBER, effort=Effort())

    def attempts(self, n: int, how: Setup, draw: Callable | None = None) -> Iterator[Coroutine[Trace]]:
        """n traces of the given text, not probed."""
        question = Question(PROBLEM, self.prompt, cue=lambda written: (), grammar=None)
        for sample in range(n):
            yield attempt(question, sample, self._forced(how, draw))

    def probed(self, n: int, how: Setup, believes: Callable[[int], Belief], draw: Callable | None = None) -> Iterator:
        """n traces of the given text, probed at every step by who believes believes(k) after k steps."""
        for sample in range(n):
            mind = _Mind(believes)
            cue = mind.remembering(lambda written: _cue(self.model.vocab, written))
            question = Question(PROBLEM, self.prompt, cue=cue, grammar=self.grammar)
            yield mind.through(attempt(question, sample, self._forced(how, draw)))

    def _forced(self, how: Setup, draw: Callable | None) -> Setup:
        sampler = Forced(draw or how.sampler.sample, self.text)
        return Setup(how.vocab, how.meter, sampler, how.seed, how.limits, how.kind, how.effort)


def scene(path: Path, threads: int | None) -> Scene:
    """Load the model and put the problem to it, after worked examples as a base model gets them."""
    model = engine.open(path)
    task = tasks.Task("bench", tasks.NUMBER, (PROBLEM,), tasks.NUMBER.examples, "", 2, "")
    prompt = prompt_tokens(tasks.render(task, PROBLEM), model.vocab)
    text = (*model.vocab.tokenize(" " + SOLUTION),)
    grammar = NumberGrammar(model.vocab.pieces)
    return Scene(model, threads or usable_cores(), prompt, text, grammar)


def _cue(vocab: Vocab, written: str) -> list[int]:
    segments = tasks.cue_after(tasks.PromptText((), ()), written)
    return [token for segment in segments for token in continued(segment.text, vocab)]


class Forced:
    """Draws like the real sampler, and then takes the next token of a given text all the same."""

    def __init__(self, draw: Callable, tokens: Sequence[int]):
        self._draw, self._tokens, self.penalties = draw, itertools.cycle(tokens), Penalties()

    def sample(self, *args) -> int:
        self._draw(*args)
        return next(self._tokens)


class _Mind:
    """Stands between an attempt and its lane; from the cue on, rows say what is believed."""

    def __init__(self, believes: Callable[[int], Belief]):
        self.believes, self.lane, self.n_cue = believes, [], 0
        self.n_prefix, self.k = math.inf, N_STEPS + 1  # probes go from the last prefix to the first

    def remembering(self, cue: Callable[[str], Sequence[int]]) -> Callable[[str], Sequence[int]]:
        def remembered(written: str) -> Sequence[int]:
            tokens = cue(written)
            self.n_cue = len(tokens)
            return tokens

        return remembered

    def through(self, coroutine: Coroutine[Trace]) -> Coroutine[Trace]:
        """The same coroutine, its wishes noted and its rows touched up."""
        reply = None
        while True:
            try:
                wish = coroutine.send(reply)
            except StopIteration as end:
                return end.value
            self._note(wish)
            reply = yield wish
            if len(self.lane) >= self.n_prefix + self.n_cue and reply is not None:
                self._speak(reply)

    def _note(self, wish: Request) -> None:
        if isinstance(wish, Prompt):
            self.lane = list(wish.tokens)
        elif isinstance(wish, int):
            self.lane.append(wish)
        elif isinstance(wish, Feed):
            self.lane.extend(wish.tokens)
        else:
            del self.lane[wish.n_tokens :]
            if wish.n_tokens < self.n_prefix:
                self.n_prefix, self.k = wish.n_tokens, self.k - 1

    def _speak(self, row: np.ndarray) -> None:
        told = self.believes(self.k)(tuple(self.lane[self.n_prefix + self.n_cue :]))
        buffer = (ctypes.c_float * row.size).from_address(row.ctypes.data)  # the row itself refuses to be written to
        for token, prob in told.items():
            buffer[token] = CERTAIN + math.log(prob)


def typical(vocab: Vocab) -> Callable[[int], Belief]:
    """A model that finds the answer step by step: the truth has CHANCE[k], 40 other numbers share the rest by rank."""
    rng = random.Random(0)
    others = [str(n) for n in rng.sample([n for n in range(2, 1200) if n != 296], 40)]
    shares = [1 / rank for rank in range(1, 41)]

    def belief(k: int) -> Belief:
        chances = {PROBLEM.answer: CHANCE[k]} | {
            text: (1 - CHANCE[k]) * share / sum(shares) for text, share in zip(others, shares, strict=True)
        }
        newline = vocab.tokenize("\n")
        return _tree({(*vocab.tokenize(f" {text}."), *newline): chance for text, chance in chances.items()})

    beliefs = [belief(k) for k in range(N_STEPS + 1)]
    return beliefs.__getitem__


def _tree(chances: Mapping[tuple[int, ...], float]) -> Belief:
    """The next token's probabilities at every prefix of whole answers."""
    tree: dict[tuple[int, ...], dict[int, float]] = {}
    for tokens, chance in chances.items():
        for i, token in enumerate(tokens):
            at = tree.setdefault(tokens[:i], {})
            at[token] = at.get(token, 0.0) + chance
    normalised = {path: {t: p / sum(at.values()) for t, p in at.items()} for path, at in tree.items()}
    return lambda path: normalised.get(path, {})


def clueless(vocab: Vocab) -> Callable[[int], Belief]:
    """The worst case: every digit is as likely as any other, so that a search ends with its budget only."""
    digits = [vocab.tokenize(str(d))[0] for d in range(10)]
    first, *_ = vocab.tokenize(" 1")
    end = vocab.tokenize(".")[0]
    flat = dict.fromkeys(digits, 0.095) | {end: 0.05}
    return lambda k: lambda path: flat if path else {first: 1.0}
