"""One model on one task: its stored run, read as a study asks for it, and its figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from localent.analysis import beyond_controls, load, signatures, verdicts
from localent.analysis.beyond_controls import of_these
from localent.analysis.chance import Chance, against_chance
from localent.analysis.curves import HALF, Curve
from localent.analysis.ideal import Beside, beside
from localent.analysis.information import POOLING, readable
from localent.analysis.intervals import Estimate, Resampling, estimate, separation, share
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed, only
from localent.analysis.profile import Profile, profile
from localent.analysis.recorded import Ideal
from localent.analysis.signatures import Signatures
from localent.analysis.validity import Validity, validity
from localent.errors import UsageError
from localent.runs.extend import Wanted
from localent.store import Database
from localent.tasks import kinds
from localent.tracing.controls import COMPARED, compared_at
from localent.tracing.rollout import LEAST


@dataclass(frozen=True, slots=True)
class ModelRun:
    """The stored run of one model on one task."""

    model: str  # its name
    task: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rollouts beside the computed distribution, over the prefixes that have both."""

    n: int  # prefixes
    correlation: float | None  # of p(true)
    gap: float  # mean absolute difference of p(true)
    gap_end: float  # the same after the last step, where only the answer remains to be generated
    expected_gap_end: float  # what m samples of the computed distribution would give there
    unparseable: float  # mean rate


@dataclass(frozen=True, slots=True)
class Subject:
    """One model on one task: its run and the figures of it."""

    model: str
    task: str
    run_id: str
    accuracy: Estimate
    chance: Chance | None  # None: no answer can be guessed
    validity: Validity | None
    truncated: float  # share of traces that ran into the token limit
    looped: float  # share of traces that repeat themselves: they count for the accuracy, and are in no comparison
    no_answer: float  # share of traces in which no answer was found
    gain: Estimate  # slope of the information gain, recalibrated, nats per whole trace
    gain_half: Estimate  # nats gained by half of the steps, traces of two or more
    auroc_half: Estimate  # of the answer entropy at half, traces of equally many steps, two or more
    auroc_half_any: Estimate  # the same, any trace with any other; one-step traces are read at their start
    lock_right: float | None  # median t_lock of right traces
    lock_wrong: float | None
    abandoned: Estimate  # of wrong traces: the true answer had led before the end
    gains_of_controls: dict[str, Estimate]  # gain at the control's last k, from the trace's own start
    beyond_controls: dict[str, Curve]  # own gain minus the control's over t, nats
    beyond_all_from: float | None  # t from which every control stays exceeded; None: not at the end
    signatures: Signatures
    profile: Profile
    agreement: Agreement | None  # of rollouts with the computed distribution; None: no rollouts
    beside: Beside | None = None  # beside an ideal reader; None: the data know of none
    variants: tuple[str, ...] = ()  # the sentence on problems that are variants of one another, if some are
    token_entropy: Estimate | None = None  # nats: mean of the traces' means
    n_traces: int = 0  # those that count
    n_others: int = 0  # stored traces of the run that this study leaves out


# --- reading a stored run ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reading:
    """The rows of a run that a study asks for. Arrays are (n,) over its traces without those that repeat themselves."""

    own: Probed
    controls: dict[str, Probed]
    rolled: Probed | None  # None: not wanted; without any probe: none were made
    m: int  # rollouts per prefix; LEAST where there are none
    n_tokens: Array  # length of each trace
    accuracy: Estimate  # of all traces, as the rest
    chance: Chance | None
    validity: Validity | None
    truncated: float  # share
    looped: float  # share
    no_answer: float  # share
    variants: tuple[str, ...]
    ideal: Ideal | None  # what an ideal reader knows at the traces' own probes
    token_entropy: Estimate
    n_traces: int
    n_others: int


def read_run(store: Database, run_id: str, wanted: Wanted) -> Reading:
    """The traces and probes of a run that are wanted. Raises UsageError for a run without probes."""
    traces, found = load.traces(store, run_id), load.probes(store, run_id)
    if found.own is None:
        raise UsageError(f"Run {run_id} was not probed: a study needs probes, run it again without --no-probe.")
    listed = zip(traces.problems.tolist(), traces.samples.tolist(), strict=True)
    kept = np.array([wanted.counts(*one) for one in listed], bool)
    traces, own, samples = traces.among(kept), found.own.among(kept), traces.samples[kept].tolist()
    rolled, m = _rolled(run_id, found.rolled and found.rolled.among(kept), samples, wanted)
    if rolled is None and wanted.m:  # for lack of time: the claim is told as undecided, not left out
        rolled, m = only(own, own.position < 0), wanted.m
    controls = _controls(own, {name: c.among(kept) for name, c in found.controls.items()}, samples, wanted)
    reasoned = ~traces.looped
    return Reading(
        own=own.among(reasoned),
        controls={name: control.among(reasoned) for name, control in controls},
        rolled=rolled and rolled.among(reasoned),
        m=m,
        n_tokens=traces.n_tokens[reasoned].astype(float),
        accuracy=share(~traces.wrong, traces.clusters),
        chance=against_chance(traces),
        validity=validity(own),
        truncated=_mean(traces.truncated.astype(float)),
        looped=_mean(traces.looped.astype(float)),
        no_answer=_mean(np.array([answer is None for answer in traces.answers], float)),
        variants=traces.variants,
        ideal=found.ideal and found.ideal.among(kept).among(reasoned),
        token_entropy=estimate(mean_of, traces.mean_entropy[reasoned], problems=traces.clusters[reasoned]),
        n_traces=len(traces),
        n_others=int((~kept).sum()),
    )


def _controls(
    own: Probed, found: dict[str, Probed], samples: Sequence[int], wanted: Wanted
) -> Iterator[tuple[str, Probed]]:
    """Each wanted control that is possible, masked to the probes that are wanted.

    A control without any probe is still yielded, empty, so that "every control" is never decided without it. With one
    trace per problem there is no wrong sibling to read, and that control is left out.
    """
    nowhere = only(own, own.position < 0)
    possible = found if wanted.problems is None else set(COMPARED) - ({"wrong-trace"} if wanted.samples == 1 else set())
    for name in (name for name in COMPARED if name in wanted.controls and name in possible):
        control, rows = found.get(name, nowhere), np.array([wanted.controlled(sample) for sample in samples], bool)
        yield name, only(of_these(own, name, control, rows), _compared(own, control, wanted.at))


def _compared(own: Probed, control: Probed, at: str) -> Array:
    """True where a control is wanted beside the trace's own probe: (n, J_max + 1) bool."""
    ks = [compared_at(k[~np.isnan(k)].astype(int).tolist(), at) for k in own.k]
    found = [np.isin(k, mine) for k, mine in zip(control.k, ks, strict=True)]
    return np.array(found, bool).reshape(control.k.shape)


def _rolled(run_id: str, rolled: Probed | None, samples: Sequence[int], wanted: Wanted) -> tuple[Probed | None, int]:
    """The wanted rollouts, and the number of continuations per prefix. Raises UsageError where that number varies."""
    if rolled is None:
        return None, LEAST
    rows = np.isin(np.arange(len(samples)), wanted.rolled(samples))
    counts = set(rolled.n_rollouts[rows & rolled.there].tolist())
    if len(counts) > 1:
        raise UsageError(f"Run {run_id} has rollouts of {min(counts)} and of {max(counts)} continuations per prefix.")
    return (only(rolled, rows[:, None] & ~np.isnan(rolled.position)), *counts) if counts else (None, LEAST)


# --- figures ----------------------------------------------------------------------------------------------------------


def ln_others(store: Database, task: str, kind: str) -> float:
    """ln of the number of possible wrong answers to a task."""
    return kinds.named(kind).ln_others(store.problems(task))


def subject(run: ModelRun, read: Reading, ln_wrong: float, resampling: Resampling) -> Subject:
    """The figures of one run. ln_wrong: ln of the number of possible wrong answers."""
    p, controls = read.own, read.controls
    shape, moves = signatures.signatures(p, ln_others=ln_wrong, resampling=resampling), profile(p, resampling)
    beyond = {name: beyond_controls.along(p, control, resampling) for name, control in controls.items()}

    def mean(values: Array) -> Estimate:
        return estimate(mean_of, values, problems=p.clusters, resampling=resampling)

    return Subject(
        model=run.model,
        task=run.task,
        run_id=run.run_id,
        accuracy=read.accuracy,
        chance=read.chance,
        validity=read.validity,
        truncated=read.truncated,
        looped=read.looped,
        no_answer=read.no_answer,
        gain=mean(verdicts.gain_slope(p)),
        gain_half=mean(verdicts.gain_half(p)),
        auroc_half=separation(p.half_way(p.entropy), p.wrong, p.clusters, p.n_steps, resampling),
        auroc_half_any=separation(p.at(p.entropy, HALF), p.wrong, p.clusters, resampling=resampling),
        lock_right=shape.lock_right,
        lock_wrong=shape.lock_wrong,
        abandoned=moves.abandoned_of_wrong,
        gains_of_controls={name: mean(gain_of_control(p, control)) for name, control in controls.items()},
        beyond_controls=beyond,
        beyond_all_from=beyond_controls.earliest_over(list(beyond.values())),
        signatures=shape,
        profile=moves,
        agreement=None if read.rolled is None or not read.rolled.there.any() else agreement(p, read.rolled, read.m),
        beside=None if read.ideal is None else beside(p, read.ideal, resampling),
        variants=read.variants,
        token_entropy=read.token_entropy,
        n_traces=read.n_traces,
        n_others=read.n_others,
    )


def gain_of_control(p: Probed, control: Probed) -> Array:
    """Information gained at the last k of a control's text, from the trace's own start: (n,) nats."""
    found: Array = signatures.last(readable(control, start=p, reader=POOLING)) - readable(p, reader=POOLING)[:, 0]
    return found


def agreement(p: Probed, rolled: Probed, m: int = LEAST) -> Agreement:
    """Agreement of m rollouts per prefix with the computed distribution on the same prefixes, by p(true).

    The two may differ early: a rollout goes on reasoning, the cue forces an answer now.
    """
    width = min(p.p_true.shape[1], rolled.p_true.shape[1])
    a, b = p.p_true[:, :width], rolled.p_true[:, :width]
    both = ~np.isnan(a) & ~np.isnan(b)
    varied = both.sum() > 2 and np.ptp(a[both]) > 0 and np.ptp(b[both]) > 0
    ends = [x.at_end(x.p_true) for x in (p, rolled)]
    known = ~np.isnan(ends[1])
    spread = np.sqrt(2 / np.pi * ends[0] * (1 - ends[0]) / m)
    return Agreement(
        n=int(both.sum()),
        correlation=float(np.corrcoef(a[both], b[both])[0, 1]) if varied else None,
        gap=_mean(np.abs(a - b)[both]),
        gap_end=_mean(np.abs(ends[0] - ends[1])[known]),
        expected_gap_end=_mean(spread[known]),
        unparseable=_mean(rolled.invalid[:, :width][both]),
    )


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")
