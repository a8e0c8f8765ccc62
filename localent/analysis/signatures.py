"""Signatures of SIA in one run: lock-in, separability, saturation, informativeness, monotonicity.

Functions of one trace each take (n, K + 1) arrays over the probes of n traces, NaN after the last, and give (n,).
Sources: SCIENCE.md 5; the names are those of arXiv 2604.06192, the definitions ours where it gives none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis import curves, information, scores
from localent.analysis.curves import GRID
from localent.analysis.fano import fano_bound
from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate, separation
from localent.analysis.metrics import Array, gap_of, mean_of
from localent.analysis.probed import Probed

LOCK = 0.1  # nats: an answer entropy at or below it is locked in
SLACK = 0.01  # nats: smaller rises do not count
FLAT = 0.05  # nats: no decay is fitted to a mean curve that moves less


# --- one trace ----------------------------------------------------------------------------------------------------


def lock_time(entropy: Array, position: Array, level: float = LOCK) -> Array:
    """First k/K from which the answer entropy stays at or below `level`: (n,) in [0, 1]; inf where it never does."""
    return _since((entropy <= level) | np.isnan(entropy), position)


def modal_lock(leader: Array, position: Array) -> Array:
    """First k/K from which the most likely answer is the final one: (n,) in [0, 1]; inf where none leads at the end."""
    n = (~np.isnan(position)).sum(1)
    final = np.take_along_axis(leader, np.maximum(n - 1, 0)[:, None], 1)
    return _since(((leader == final) & (final >= 0)) | np.isnan(position), position)


def commitment(leader: Array, p_leader: Array, position: Array) -> Array:
    """First k/K from which one answer leads with at least half of the probability to the end; inf: never. [ours]"""
    held = np.where(np.isnan(p_leader), True, p_leader >= 0.5)
    return np.maximum(modal_lock(leader, position), _since(held, position))


def _since(holds: Array, position: Array) -> Array:
    """Position of the first probe from which `holds` is true to the end; inf: not at the last; NaN: not probed."""
    there = ~np.isnan(position)
    to_the_end = np.logical_and.accumulate(holds[:, ::-1], axis=1)[:, ::-1] & there
    first = np.take_along_axis(position, to_the_end.argmax(1)[:, None], 1)[:, 0]
    return np.where(there.any(1), np.where(to_the_end.any(1), first, np.inf), np.nan)


def violations(entropy: Array, se: Array | None = None, slack: float = SLACK) -> Array:
    """Number of probes that find the answer entropy higher than the one before, by `slack` nats: (n,); 0: monotone.

    With `se`, the standard errors of the entropies, a rise also has to exceed two standard errors of the difference.
    """
    noise = 0.0 if se is None else 2 * np.sqrt(np.nan_to_num(se[:, 1:]) ** 2 + np.nan_to_num(se[:, :-1]) ** 2)
    return np.where(np.isnan(entropy[:, 0]), np.nan, (np.diff(entropy, axis=1) > np.maximum(slack, noise)).sum(1))


def coherence(entropy: Array) -> Array:
    """H_0 - H_K, the drop from first to last, in nats: (n,). Source: arXiv 2603.18940."""
    return entropy[:, 0] - last(entropy)


def last(values: Array) -> Array:
    """The last value that is not NaN: (n, K + 1) -> (n,). Controls are not read at every k: there may be gaps."""
    from_behind = np.argmax(~np.isnan(values[:, ::-1]), axis=1)
    return np.take_along_axis(values, (values.shape[1] - 1 - from_behind)[:, None], 1)[:, 0]


def slope(values: Array, position: Array) -> Array:
    """Least-squares slope over k/K, in the unit of `values` per whole trace: (n,); NaN for fewer than two probes."""
    there = ~np.isnan(values) & ~np.isnan(position)
    n = there.sum(1)
    x, y = (np.where(there, v - scores.mean(np.where(there, v, np.nan))[:, None], 0) for v in (position, values))
    return np.divide((x * y).sum(1), (x * x).sum(1), out=np.full(len(n), np.nan), where=n > 1)


def share_positive(gain: Array) -> Array:
    """Share of the moves between probes that make the true answer likelier: gains (n, K + 1) -> (n,), NaN without."""
    steps = np.diff(gain, axis=1)
    n = (~np.isnan(steps)).sum(1)
    return np.divide((steps > 0).sum(1), n, out=np.full(len(n), np.nan), where=n > 0)


def drift(p: Probed) -> Array:
    """-ln p_k(a*) - H_k, in nats: (n, K + 1). Its mean is 0 for calibrated probes, positive for overconfident ones."""
    return -p.log_true - p.entropy


# --- a run ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decay:
    """H(t) = plateau + (start - plateau) exp(-rate t), fitted to the mean curve; None: no fit."""

    start: float
    plateau: float  # nats
    rate: float  # per whole trace
    rmse: float  # nats, over the grid


@dataclass(frozen=True, slots=True)
class Signatures:
    """The shape of one run's answer distributions. Nats; arrays over t = 0, 0.1, ..., 1."""

    t: Array
    entropy: curves.Curve  # mean answer entropy of all traces
    by_class: curves.ByClass  # of right and of wrong traces: selected on the outcome
    gain: curves.Curve  # mean information gained about the true answer, recalibrated, all traces
    p_true: curves.Curve
    support: curves.Curve  # effective number of answers, e^H
    drift: curves.Curve  # calibration drift
    separation: tuple[Estimate, ...]  # AUROC of the answer entropy at each t
    earliest: float | None  # first t at which that interval clears 0.5
    gap_area: Estimate  # mean over t of H wrong - H right
    gain_per_step: Estimate
    share_positive: Estimate  # share of steps that make the true answer likelier
    lock_right: float | None  # median t_lock; inf: never
    lock_wrong: float | None
    modal_right: float | None  # median of the modal lock
    modal_wrong: float | None
    early_drop: Estimate  # H_0 - H_half minus H_half - H_1, traces of two steps or more
    tail_slope: Estimate  # of H over the last third of the grid, nats per whole trace
    decay: Decay | None
    monotone_right: Estimate  # share of traces without a rise above SLACK
    monotone_wrong: Estimate
    coherence_right: Estimate
    coherence_wrong: Estimate
    error: Array  # share of traces whose leader at t is not the true answer, of those whose leader is known
    fano: Array  # the least error that the mean entropy at t allows, were the probes calibrated
    fano_violated: Array  # bool: the bound stands above what was observed


def signatures(p: Probed, *, ln_others: float, resampling: Resampling = DEFAULT) -> Signatures:
    """All signatures of a run. `ln_others`: ln of the number of possible wrong answers, for Fano's bound."""
    entropy = p.at(p.entropy, GRID)

    def along(values: Array) -> curves.Curve:
        return curves.curve(GRID, values, p.clusters, resampling)

    mean_entropy = along(entropy)
    found = [separation(entropy[:, i], p.wrong, p.clusters, resampling=resampling) for i in range(len(GRID))]
    error, bound, gain = _error(p), fano_bound(mean_entropy.value, ln_others=ln_others), information.gain(p)
    locks, modal_locks = lock_time(p.entropy, p.position), modal_lock(p.leader, p.position)
    return Signatures(
        t=np.array(GRID),
        entropy=mean_entropy,
        by_class=curves.by_class(GRID, entropy, p.wrong, p.clusters, resampling),
        gain=along(p.at(gain, GRID)),
        p_true=along(p.at(p.p_true, GRID)),
        support=along(np.exp(entropy)),
        drift=along(p.at(drift(p), GRID)),
        separation=tuple(found),
        earliest=next((t for t, e in zip(GRID, found, strict=True) if e.above(0.5)), None),
        lock_right=_median(locks, ~p.wrong),
        lock_wrong=_median(locks, p.wrong),
        modal_right=_median(modal_locks, ~p.wrong),
        modal_wrong=_median(modal_locks, p.wrong),
        decay=decay(mean_entropy.value),
        error=error,
        fano=bound,
        fano_violated=bound > error,
        **_means(p, entropy, gain, resampling),
    )


def _means(p: Probed, entropy: Array, gain: Array, resampling: Resampling) -> dict[str, Estimate]:
    """The fields of Signatures that are one estimate each. entropy: (n, n_t) nats over GRID; gain: see information."""

    def mean(values: Array, among: Array | slice = slice(None)) -> Estimate:
        return estimate(mean_of, values[among], problems=p.clusters[among], resampling=resampling)

    rises = violations(p.entropy, p.entropy_se)
    monotone, drop = np.where(np.isnan(rises), np.nan, rises == 0), coherence(p.entropy)
    return dict(
        gap_area=estimate(gap_of, gap_values(p), p.wrong, problems=p.clusters, resampling=resampling),
        gain_per_step=mean(last(gain) / np.where(p.n_steps > 0, p.n_steps, np.nan)),
        share_positive=mean(share_positive(gain)),
        early_drop=mean(entropy[:, 0] - 2 * entropy[:, 5] + entropy[:, 10], p.n_steps >= 2),
        tail_slope=mean(slope(entropy[:, 7:], np.tile(GRID[7:], (len(entropy), 1)))),
        monotone_right=mean(monotone, ~p.wrong),
        monotone_wrong=mean(monotone, p.wrong),
        coherence_right=mean(drop, ~p.wrong),
        coherence_wrong=mean(drop, p.wrong),
    )


def _error(p: Probed) -> Array:
    """Share of traces whose leader at t is not the true answer, of those whose leader is known: (n_t,)."""
    wrong_leads = np.where(p.open_leader, np.nan, 1 - p.leader_true)
    found: Array = mean_of(p.at(wrong_leads, GRID))(np.ones(len(p.wrong)))
    return found


def gap_values(p: Probed) -> Array:
    """Mean of a trace's answer entropy over t, in nats: (n,).

    Its gap between wrong and right traces is the area under the gap curve.
    """
    return scores.mean(p.at(p.entropy, GRID))


def decay(mean_entropy: Array) -> Decay | None:
    """Exponential approach to a plateau, least squares over the grid: (n_t,) -> Decay.

    None where the curve moves by less than FLAT nats, or no fit is found. The plateau is at most the highest point.
    """
    from scipy.optimize import curve_fit

    t, h = np.array(GRID), np.asarray(mean_entropy, float)
    if np.isnan(h).any() or np.ptp(h) < FLAT:
        return None
    try:
        bounds = ([0, 0, 0], [np.inf, h.max() + 1e-9, 100])
        start = (h[0], h[-1], 2.0)
        (first, plateau, rate), _ = curve_fit(_decaying, t, h, p0=start, bounds=bounds, maxfev=5000)
    except RuntimeError:
        return None
    rmse = float(np.sqrt(np.mean((_decaying(t, first, plateau, rate) - h) ** 2)))
    return Decay(float(first), float(plateau), float(rate), rmse)


def _decaying(t: Array, first: float, plateau: float, rate: float) -> Array:
    return plateau + (first - plateau) * np.exp(-rate * t)


def _median(values: Array, among: Array) -> float | None:
    kept = values[among & ~np.isnan(values)]
    return float(np.quantile(kept, 0.5, method="lower")) if len(kept) else None
