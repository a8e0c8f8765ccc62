"""The judgement of one stored run, from which every command takes its sentences: signals, and the claims of a study.

The claims about a model are one family of tests. The signals that no claim is about are another (readings.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from localent.analysis import verdicts
from localent.analysis.claims import Verdict, withheld
from localent.analysis.readings import Reading, Seen
from localent.analysis.recorded import Recorded


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is shown about one run. Each family of tests is adjusted by Holm's rule."""

    readings: dict[str, Reading]  # key of the signal -> what it tells of the outcome
    verdicts: dict[str, Verdict]  # key of the claim -> its verdict; empty: not probed


def judgement(run: Recorded) -> Judgement:
    """The readings and verdicts of a run's whole traces, those that repeat themselves left out."""
    seen, proposed = Seen.of(run), verdicts.proposed_of(run)
    _, why = seen.instead
    told = [withheld(v, why) if why else v for v in verdicts.in_family(proposed)]
    return Judgement({r.key: r for r in seen.readings(proposed)}, {v.key: v for v in told})
