"""The quantities that a comparison of two models on the same tokens reports: key, title and unit of each.

The database, `--json` and scripts know a figure by its key, so keys never change; where llama-perplexity prints a
quantity, the key is its name there. Titles are what people read, and may change.
"""

from __future__ import annotations

from dataclasses import dataclass

PERCENTILES_KLD = (99.9, 99.0, 95.0, 90.0, 50.0, 10.0, 5.0, 1.0, 0.1)
PERCENTILES_DP = (99.9, 99.0, 95.0, 90.0, 75.0, 50.0, 25.0, 10.0, 5.0, 1.0, 0.1)


@dataclass(frozen=True, slots=True)
class Figure:
    """The value of one quantity in one comparison."""

    name: str  # the key of the quantity
    value: float
    uncertainty: float | None = None  # standard error, positions taken for independent
    low: float | None = None  # 95 %; see analysis.divergence
    high: float | None = None
    unit: str = "nats"
    p: float | None = None  # two-sided, of no change, by sign flips of problems; None: not tested so


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of a comparison."""

    key: str
    unit: str  # "nats" | "nats²" | "share" | "perplexity" | "ratio" | "correlation"
    at_itself: float | None = (
        None  # value for a model and itself, if the distance from it is compared with the noise floor
    )
    detail: bool = False  # left out of the short table
    title: str = ""  # the key, unless given

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.key)

    def figure(
        self, value: float, uncertainty: float | None = None, low: float | None = None, high: float | None = None
    ) -> Figure:
        """A value of this quantity."""
        return Figure(self.key, value, uncertainty, low, high, self.unit)


def _percentile(q: float, of: str, unit: str, *, detail: bool) -> tuple[float, Quantity]:
    return q, Quantity(f"Median {of}" if q == 50 else f"{q:.1f}% {of}", unit, detail=detail)


PPL = Quantity("Mean PPL(Q)", "perplexity")
PPL_BASE = Quantity("Mean PPL(base)", "perplexity")
PPL_CORRELATION = Quantity("Cor(ln(PPL(Q)), ln(PPL(base)))", "correlation", detail=True)
LN_PPL_RATIO = Quantity("Mean ln(PPL(Q)/PPL(base))", "nats", at_itself=0.0)
PPL_RATIO = Quantity("Mean PPL(Q)/PPL(base)", "ratio")
PPL_CHANGE = Quantity("Mean PPL(Q)-PPL(base)", "perplexity", detail=True)

KLD = Quantity("Mean KLD", "nats", at_itself=0.0)
KLD_MAX = Quantity("Maximum KLD", "nats")
KLD_PERCENTILES = tuple(_percentile(q, "KLD", "nats", detail=q not in (99.0, 50.0)) for q in PERCENTILES_KLD)
KLD_MIN = Quantity("Minimum KLD", "nats", detail=True)

DP = Quantity("Mean Δp", "share")
DP_MAX = Quantity("Maximum Δp", "share", detail=True)
DP_PERCENTILES = tuple(_percentile(q, "Δp", "share", detail=True) for q in PERCENTILES_DP)
DP_MIN = Quantity("Minimum Δp", "share", detail=True)
DP_RMS = Quantity("RMS Δp", "share", at_itself=0.0)
SAME_TOP = Quantity("Same top p", "share", at_itself=1.0)

KLD_FULL = Quantity("Mean KLD, full vocabulary", "nats")
KLD_REVERSE = Quantity("Mean reverse KLD", "nats", at_itself=0.0)
JSD = Quantity("Mean JSD", "nats", at_itself=0.0)
TOTAL_VARIATION = Quantity("Mean total variation", "share", at_itself=0.0)
ENTROPY_BASE = Quantity("Mean H(base)", "nats", detail=True)
ENTROPY_CHANGE = Quantity("Mean ΔH", "nats")
ENTROPY_DISTANCE = Quantity("Mean |ΔH|", "nats", at_itself=0.0)
VARENTROPY_BASE = Quantity("Mean varentropy(base)", "nats²", detail=True)
VARENTROPY_CHANGE = Quantity("Mean Δvarentropy", "nats²")
VARENTROPY_DISTANCE = Quantity("Mean |Δvarentropy|", "nats²", at_itself=0.0)
MARGIN_CHANGE = Quantity("Mean Δmargin", "nats", detail=True)

QUANTITIES = {
    one.key: one
    for one in (
        *(PPL, PPL_BASE, PPL_CORRELATION, LN_PPL_RATIO, PPL_RATIO, PPL_CHANGE),
        *(KLD, KLD_MAX, *(one for _, one in KLD_PERCENTILES), KLD_MIN),
        *(DP, DP_MAX, *(one for _, one in DP_PERCENTILES), DP_MIN, DP_RMS, SAME_TOP),
        *(KLD_FULL, KLD_REVERSE, JSD, TOTAL_VARIATION, ENTROPY_BASE, ENTROPY_CHANGE, ENTROPY_DISTANCE),
        *(VARENTROPY_BASE, VARENTROPY_CHANGE, VARENTROPY_DISTANCE, MARGIN_CHANGE),
    )
}
