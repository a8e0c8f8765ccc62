"""One stored run as arrays: the records that load fills, and the only form in which the analysis sees a run."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from localent.analysis.metrics import Array
from localent.analysis.probed import Probed

OF_RUN = ("run_id", "model", "quant", "task")  # the same for all traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The traces of one run, by problem and sample. Arrays are (n_traces,)."""

    run_id: str
    model: str
    quant: str
    task: str
    trace_ids: Array
    problems: Array  # problem ids
    samples: Array
    wrong: Array  # bool
    truncated: Array  # bool: ran into the token limit
    looped: Array  # bool: ended because it repeated itself; no reasoning, so in no comparison of right and wrong
    failed: Array  # bool: grading found no answer
    answers: Array  # of text; None: no answer
    n_tokens: Array  # int
    n_steps: Array  # int: reasoning steps
    chance: Array  # probability that a blind guess is right; 0 for numbers; NaN: the kind of answer is not known
    difficulty: Array  # steps of the problem, where the data set knows it; else NaN
    mean_entropy: Array  # nats, over the tokens; NaN: no token
    mean_surprisal: Array  # nats
    token_f1: Array | None = None  # overlap of short answers with the true ones, 0 to 1; None: answers of another kind
    groups: Array | None = None  # of text: each problem with its variants; None: each problem is by itself

    @property
    def clusters(self) -> Array:
        """What intervals and p-values take as independent: problems, those that are variants as one. (n,)."""
        return self.problems if self.groups is None else self.groups

    @property
    def variants(self) -> tuple[str, ...]:
        """The sentence on problems that are variants of one another; empty where each is by itself."""
        n, n_groups = (len(np.unique(names)) for names in (self.problems, self.clusters))
        told = f"The {n:,} problems are variants of {n_groups:,}; variants count as one in every interval and p-value."
        return () if n == n_groups else (told,)

    def __len__(self) -> int:
        return len(self.wrong)

    def among(self, kept: Array) -> Traces:
        """Some of the traces: kept (n,) bool."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OF_RUN}
        cut: dict[str, Any] = {name: None if array is None else array[kept] for name, array in arrays.items()}
        return replace(self, **cut)


POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)  # that a distribution is raised to when it is recalibrated


@dataclass(frozen=True, slots=True, kw_only=True)
class Ideal:
    """What an ideal reader knows at each of a run's own probes. Arrays are (n, J_max + 1), NaN where it is not known.

    Of a prefix longer than the data tell of, it knows what it knew last.
    """

    entropy: Array  # nats, of the answer
    excess: Array  # nats: KL(ideal || model), no probability below FLOOR; NaN: some possible answer was not looked at
    outside: Array  # probability, given an answer, of answers that were found and never possible
    powers: Array  # (n, J_max + 1, n_powers): the true answer's probability, the distribution raised to each of POWERS

    def among(self, kept: Array) -> Ideal:
        """That of some of the traces: kept (n,) bool, or their indices."""
        return Ideal(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """All probes of one run; each Probed has a row per trace, in the order of the run's traces."""

    own: Probed | None  # the traces' own prefixes, computed from logits; None: not probed
    controls: dict[str, Probed]  # name of the control -> probes on its text in place of the traces' own steps
    rolled: Probed | None  # the traces' own prefixes, by rollouts; None: none were made
    ideal: Ideal | None = None  # beside the traces' own probes; None: the data know of no ideal reader

    def among(self, kept: Array) -> Probes:
        """The probes of some of the traces: kept (n,) bool."""
        controls = {name: control.among(kept) for name, control in self.controls.items()}
        return Probes(
            own=self.own and self.own.among(kept),
            controls=controls,
            rolled=self.rolled and self.rolled.among(kept),
            ideal=self.ideal and self.ideal.among(kept),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A run with the measures of its tokens and steps. Rows are traces; NaN after a trace's end."""

    traces: Traces
    probes: Probes
    tokens: dict[str, Array]  # token measure -> (n, n_longest)
    step_entropy: Array  # (n, most steps): mean entropy of each reasoning step, nats

    def among(self, kept: Array) -> Recorded:
        """The run as if it had only some of its traces: kept (n,) bool."""
        return Recorded(
            traces=self.traces.among(kept),
            probes=self.probes.among(kept),
            tokens={name: values[kept] for name, values in self.tokens.items()},
            step_entropy=self.step_entropy[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Solutions:
    """Worked solutions that a model read. Rows are solutions; NaN after the last step of each."""

    traces: Traces
    own: Probed | None  # the answers after each step; None: not probed
    step_surprisal: Array  # (n, most steps): mean surprisal of each step, nats per token
    step_entropy: Array  # (n, most steps): mean entropy of each step, nats per token
