"""The judgement of one stored run, from which every command takes its sentences: signals, and the claims of a study."""

from __future__ import annotations

from dataclasses import dataclass

from localent.analysis import signals
from localent.analysis.claims import Verdict
from localent.analysis.contrasts import Sample
from localent.analysis.recorded import Recorded
from localent.analysis.signals import Reading
from localent.analysis.verdicts import RESAMPLING, judge


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is shown about one run. Each family of tests is adjusted by Holm's rule."""

    readings: dict[str, Reading]  # key of the signal -> what it tells of the outcome
    verdicts: dict[str, Verdict]  # key of the claim -> its verdict; empty: not probed


def judgement(run: Recorded) -> Judgement:
    """The readings and verdicts of a run's whole traces, those that repeat themselves left out."""
    readings, kept = signals.readings(run), run.among(~run.traces.looped)
    own = kept.probes.own
    if own is None or not own.there_at_all.any():
        return Judgement(readings, {})
    sample = Sample(run.traces.model, own, kept.traces.n_tokens.astype(float), RESAMPLING)
    rolled = kept.probes.rolled
    m = 0 if rolled is None else int(rolled.n_rollouts.max(initial=0))
    found = judge(sample, kept.probes.controls, rolled, m)
    return Judgement(readings, {v.key: v for v in found})
