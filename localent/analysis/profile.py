"""Movement of the leading answer along a trace: switches, returns, path, and eight mechanisms of right and wrong.

Source: arXiv 2609.09030 for the names; the operational rules are ours (SCIENCE.md 5). Right and wrong are known only at
the end, and the true answer is in every rule: mechanisms describe, they predict nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from localent.analysis.intervals import DEFAULT, Estimate, Resampling, estimate, share
from localent.analysis.metrics import Array, mean_of
from localent.analysis.probed import Probed
from localent.analysis.signatures import commitment

RIGHT = ("stable", "rescue", "detour", "fragile")
WRONG = ("never-discovered", "escape", "failed-rescue", "stochastic-miss")
MEANING = {  # of each, in words; the rules are in `mechanisms`
    "stable": "right: the true answer leads from the start to the end",
    "rescue": "right: it does not lead at the start, and takes the lead for good",
    "detour": "right: it leads, loses the lead, and wins it back",
    "fragile": "right, although another answer leads at the end",
    "never-discovered": "wrong: the true answer never leads",
    "escape": "wrong: it leads at the start and is lost",
    "failed-rescue": "wrong: it leads in the middle only",
    "stochastic-miss": "wrong, although the true answer leads at the end",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """Shares and means over the probed traces of a run."""

    mechanisms: dict[str, Estimate]  # share of all probed traces
    abandoned: Estimate  # answered-then-abandoned: wrong although the true answer led before the last step
    abandoned_of_wrong: Estimate  # the same, among wrong traces
    switches: Estimate  # changes from one leading answer to another
    returns: Estimate  # switches back to an answer that had led before
    path_length: Estimate  # sum of total variations
    directness: Estimate  # net change over path length, 1: straight
    committed: Estimate  # share of traces that commit before the last step


def profile(p: Probed, resampling: Resampling = DEFAULT) -> Profile:
    """Profile of a run."""
    there = p.there
    kinds, leads = mechanisms(p), p.leader_true
    gone = np.where(there, p.wrong & (leads[:, :-1] == 1).any(1) & before_end(p), np.nan)
    commits = np.where(there, commitment(p.leader, p.p_leader, p.position) < 1, np.nan)

    def mean(values: Array) -> Estimate:
        return estimate(mean_of, values, problems=p.clusters, resampling=resampling)

    return Profile(
        mechanisms={kind: share(kinds[there] == kind, p.clusters[there]) for kind in (*RIGHT, *WRONG)},
        abandoned=mean(gone),
        abandoned_of_wrong=mean(np.where(p.wrong, gone, np.nan)),
        switches=mean(switches(p)),
        returns=mean(returns(p)),
        path_length=mean(path_length(p)),
        directness=mean(directness(p)),
        committed=mean(commits),
    )


def mechanisms(p: Probed) -> Array:
    """The mechanism of each trace: (n,) of text, "" where it was not probed.

    With g_k = "the true answer is known to lead at k", K the last. Right: stable, g at all k; rescue, not g_0 but g_K;
    detour, g_0 and g_K with a break between; fragile, not g_K. Wrong: never-discovered, g at no k; escape, g_0 and not
    g_K; failed-rescue, g only in the middle; stochastic-miss, g_K, yet answered wrong.
    """
    leads, n = p.leader_true, p.n_steps
    inside = ~np.isnan(leads)
    first, final = leads[:, 0] == 1, p.at_end(leads) == 1
    ever, always = (leads == 1).any(1), ((leads == 1) | ~inside).all(1)
    right, wrong = [~final, always, ~first], [final, ~ever, first]
    names = np.where(
        p.wrong,
        np.select(wrong, ["stochastic-miss", "never-discovered", "escape"], "failed-rescue"),
        np.select(right, ["fragile", "stable", "rescue"], "detour"),
    )
    return np.where(np.isnan(n), "", names)


def before_end(p: Probed) -> Array:
    """True where the true answer led at a probe before the last: (n,) bool."""
    earlier = np.arange(p.leader_true.shape[1]) < p.last_probe[:, None]
    return ((p.leader_true == 1) & earlier).any(1)


def switches(p: Probed) -> Array:
    """Changes from one leading answer to another, probes without one skipped: (n,), NaN where not probed."""
    return np.where(p.there, _switched(latest_leader(p)).sum(1), np.nan)


def returns(p: Probed) -> Array:
    """Switches to an answer that had led before: (n,), NaN where not probed."""
    leader = latest_leader(p)
    earlier = leader[:, None, :] == leader[:, 1:, None]  # (n, k + 1, j)
    k = np.arange(leader.shape[1])
    before = earlier & (k[None, :] < k[1:, None])
    return np.where(p.there, (_switched(leader) & before.any(2)).sum(1), np.nan)


def latest_leader(p: Probed) -> Array:
    """The answer that led last, at or before each k: (n, K + 1) int; negative before the first. "No answer" is none."""
    k = np.arange(p.leader.shape[1])
    named = np.maximum.accumulate(np.where(p.leader >= 0, k, 0), axis=1)
    return np.take_along_axis(p.leader, named, axis=1)


def _switched(leader: Array) -> Array:
    """(n, K) bool: another answer leads than at the probe before."""
    return (np.diff(leader, axis=1) != 0) & (leader[:, :-1] >= 0)


def path_length(p: Probed) -> Array:
    """Sum over steps of the total variation between neighbouring answer distributions: (n,), NaN where not probed."""
    return np.where(p.there, np.nansum(p.motion, 1), np.nan)


def directness(p: Probed) -> Array:
    """TV(p_0, p_K) over the path length: (n,) in (0, 1], 1 is straight; NaN where nothing moved."""
    path = path_length(p)
    return np.divide(p.net_motion, path, out=np.full(len(path), np.nan), where=path > 1e-12)


def bend(values: Array, position: Array) -> Array:
    """Share of the variance over a trace's probes that a line leaves: (n,) in [0, 1]; NaN for fewer than three probes.

    0: the values fall (or rise) evenly. 1: at no rate at all.
    """
    there = ~np.isnan(values) & ~np.isnan(position)
    n = np.maximum(there.sum(1), 1)
    x, y = (np.where(there, v, 0.0) for v in (position, values))
    x, y = (np.where(there, v - (v.sum(1) / n)[:, None], 0.0) for v in (x, y))
    sxx, syy, sxy = (x * x).sum(1), (y * y).sum(1), (x * y).sum(1)
    known = (there.sum(1) > 2) & (sxx > 0) & (syy > 1e-12)
    return 1 - np.divide(sxy**2, sxx * syy, out=np.full(len(n), np.nan), where=known)
