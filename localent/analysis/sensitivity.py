"""The same claims under other thresholds, cues and efforts of probing: which verdicts hang on a choice of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

from localent.analysis.claims import Rules, Verdict
from localent.analysis.contrasts import Sample
from localent.analysis.probed import Probed
from localent.analysis.recorded import Ideal
from localent.analysis.verdicts import judge

KNOBS: dict[str, tuple[float, ...]] = {  # field of Rules -> other values than its default
    "floor": (1e-2, 1e-4),
    "lock": (0.05, 0.2, 0.5),
    "slack": (0.0, 0.05),
    "scale": (0.5, 2.0),
}
MEANING = {
    "floor": "probability of a blind guess at a number",
    "lock": "locked in, nats",
    "slack": "a rise, nats",
    "scale": "smallest effects, times",
    "cue": "the cue",
    "effort": "the effort of probes",
}


@dataclass(frozen=True, slots=True)
class Alternative:
    """One claim about one subject with one choice made otherwise."""

    setting: str  # field of Rules, "cue" or "effort"
    value: float | str
    verdict: Verdict

    @property
    def choice(self) -> str:
        """The value in words."""
        return self.value if isinstance(self.value, str) else f"{self.value:g}"


def sensitivity(
    s: Sample, controls: dict[str, Probed], rolled: Probed | None = None, m: int = 0, beside: Ideal | None = None
) -> list[Alternative]:
    """Every claim under every other threshold, one moved at a time."""
    found = []
    for setting, values in KNOBS.items():
        for value in values:
            moved = replace(s, rules=replace(Rules(), **{setting: value}))
            found += [Alternative(setting, value, v) for v in judge(moved, controls, rolled, m, beside)]
    return found
