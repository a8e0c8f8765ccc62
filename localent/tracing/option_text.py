"""The answer distribution by the text of each option: every text is fed after the cue, and its likelihood read."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import replace

import numpy as np

from localent.engine import Request, Rewind, Row
from localent.measure.meter import Meter
from localent.records import Answer, Distribution
from localent.tasks.kinds.option_text import OptionTexts

Path = tuple[int, ...]  # tokens after the cue


def probe_texts(
    n_prefix: int, cue: Sequence[int], options: OptionTexts, truth: str, meter: Meter
) -> Generator[Request, Row, Distribution]:
    """Coroutine: rewind the lane to `n_prefix` tokens, feed the cue, then the text of each option.

    Without a cue, the prefix is the prompt, and its last token is fed again for the row after it.
    """
    asked = list(cue) or [options.before]
    n_base = n_prefix - (not cue)
    yield Rewind(n_base)
    for token in asked:
        row = yield token
    next_entropy = meter.read(row).entropy
    reader = _Reader(options, n_base + len(asked), meter)
    yield from reader.read(row)
    found = _distribution(options, reader.log_likelihoods(), truth, len(asked) + reader.n_fed)
    return replace(found, next_entropy=next_entropy)


class _Reader:
    """Feeds the options in the order of their tokens: what two of them begin with is fed once."""

    def __init__(self, options: OptionTexts, n_base: int, meter: Meter):
        self.options, self.n_base, self.meter = options, n_base, meter
        self.log_probs: dict[Path, float] = {}  # of the last token of each path, given those before it
        self.n_fed = 0

    def read(self, row: Row) -> Generator[Request, Row, None]:
        """Feed all but the last token of each option; `row` predicts the first."""
        self._note((), row)
        fed: Path = ()
        for path in sorted({tokens[:-1] for tokens in self.options.tokens}):
            common = common_length(fed, path)
            if common < len(fed):
                yield Rewind(self.n_base + common)
            for n in range(common, len(path)):
                row = yield path[n]
                self._note(path[: n + 1], row)
            self.n_fed, fed = self.n_fed + len(path) - common, path

    def _note(self, path: Path, row: Row) -> None:
        """Keep the log-probability of the token with which each option goes on after this path."""
        going_on = {t[: len(path) + 1] for t in self.options.tokens if t[: len(path)] == path and len(t) > len(path)}
        reading = self.meter.read(row)
        shift = reading.max_logit + reading.log_normaliser
        self.log_probs |= {longer: float(np.float64(row[longer[-1]]) - shift) for longer in going_on}

    def log_likelihoods(self) -> list[float]:
        """Of each option's text, in nats."""
        return [
            math.fsum(self.log_probs[tokens[:n]] for n in range(1, len(tokens) + 1)) for tokens in self.options.tokens
        ]


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """With how many equal tokens both begin."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _distribution(options: OptionTexts, log_likelihoods: Sequence[float], truth: str, n_fed: int) -> Distribution:
    """The softmax over the options; two that lead together are no leader."""
    log_probs = dict(zip(options.labels, options.log_probs(log_likelihoods).tolist(), strict=True))
    ordered = sorted(log_probs.items(), key=lambda item: (-item[1], item[0]))
    answers = tuple(Answer(label, math.exp(log_prob)) for label, log_prob in ordered)
    entropy = -math.fsum(answer.prob * log_prob for answer, (_, log_prob) in zip(answers, ordered, strict=True))
    p_true = math.exp(log_probs[truth]) if truth in log_probs else 0.0
    return Distribution(
        answers=answers,
        invalid=0.0,
        residual=0.0,
        entropy=entropy,
        entropy_se=0.0,
        entropy_lower=entropy,
        entropy_upper=entropy,
        leader=ordered[0][0] if ordered[0][1] > ordered[1][1] else None,
        p_true=p_true,
        log_p_true=log_probs[truth] if p_true else None,
        n_fed=n_fed,
    )
