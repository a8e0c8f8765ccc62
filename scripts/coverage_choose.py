"""Does the rule of `localent choose` keep its error rate? Worlds in which candidates are equal, or differ by little.

    python scripts/coverage_choose.py                 # a minute or two
    python scripts/coverage_choose.py --db FILE       # texts of a real comparison, made with --positions, in any order

Each text has a KLD under every candidate: a heavy-tailed size of the text, shared by all, times the candidate's mean,
times noise of its own. One looks at 10, 20, 40, 80 and 100 texts, or up to 400; candidates that are told apart from the
leader read no more, and one stops when none is left.

Results, 2,000 worlds each, of which 5 % may go wrong: see the end of a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from localent.analysis import sequential
from localent.store import open_db


@dataclass(frozen=True)
class World:
    """Candidates by their true means, the spread of texts and of noise (of logarithms), texts at most."""

    means: tuple[float, ...]
    of_texts: float = 1.0
    of_noise: float = 0.5
    n: int = 100


EQUAL = [World((1.0,) * k, 1.0, noise) for k in (2, 3, 5) for noise in (0.2, 0.5, 1.0)]
ALMOST = [
    World((1.0, 1.02, 1.05, 2.0, 5.0)),
    World((1.0, 1.02, 1.05, 2.0, 5.0), 1.5, 1.0),
    World((1.0, 1.3, 1.7, 3.0, 9.0)),
]


def values(world: World, rng: np.random.Generator) -> np.ndarray:
    """KLD of each text under each candidate: -> (n, n_candidates). All factors have mean 1."""
    size = np.exp(world.of_texts * rng.normal(size=(world.n, 1)) - world.of_texts**2 / 2)
    own = np.exp(world.of_noise * rng.normal(size=(world.n, len(world.means))) - world.of_noise**2 / 2)
    found: np.ndarray = size * own * np.array(world.means)
    return found


def chosen(seen: np.ndarray) -> tuple[int, float, bool]:
    """(leader, texts read by a candidate on average, decided) of one world."""
    at, standing, read, last = sequential.looks(*seen.shape), None, 0, 0
    for n, level in zip(at, sequential.levels(at), strict=True):
        read, last = read + (n - last) * (len(standing.racing) if standing else seen.shape[1]), n
        standing = sequential.standing(list(seen[:n].T), level, standing)
        if standing.decided:
            break
    assert standing is not None
    return standing.leader, read / seen.shape[1], standing.decided


def outcomes(world: World, n_worlds: int, seed: int = 0) -> tuple[float, float, float, float]:
    """Shares of decided worlds, of wrong ones, of picks that all texts would give too; mean texts of a candidate."""
    best = int(np.argmin(world.means))
    equal = len(set(world.means)) == 1
    rows: list[Sequence[float]] = []
    for rng in np.random.default_rng(seed).spawn(n_worlds):
        seen = values(world, rng)
        leader, n, decided = chosen(seen)
        whole = int(seen.mean(axis=0).argmin())
        rows.append((decided, decided and (equal or leader != best), leader == whole, n))
    decided, wrong, same, n = np.mean(rows, axis=0).tolist()
    return decided, wrong, same, n


def measured(db: Path) -> tuple[list[str], np.ndarray]:
    """The candidates of a stored comparison, and the KLD of each text under each: -> (n_texts, n_candidates)."""
    with open_db(db, readonly=True) as store:
        rows = store.query(
            "select path, comparison_id, text_index, sum(kld) as kld from divergences join comparisons using"
            " (comparison_id) join models on models.sha256 = candidate_sha256 group by comparison_id, text_index"
            " order by comparison_id, text_index"
        )
    names = [Path(path).name for path in {row["comparison_id"]: row["path"] for row in rows}.values()]
    return names, np.array([row["kld"] for row in rows]).reshape(len(names), -1).T


def in_any_order(found: np.ndarray, n_orders: int, seed: int = 0) -> None:
    """Print how the choice comes out where the same texts are read in other orders."""
    whole = int(found.mean(axis=0).argmin())
    rngs = np.random.default_rng(seed).spawn(n_orders)
    ends = [chosen(found[rng.permutation(len(found))]) for rng in rngs]
    same = sum(leader == whole for leader, _, _ in ends)
    decided, read = sum(end for _, _, end in ends), np.mean([n for _, n, _ in ends])
    print(f"{n_orders} orders of {len(found)} texts: {same} as all texts, {decided} decided, {read:.0f} texts read")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=2000, help="or orders")
    parser.add_argument("--db", type=Path)
    arguments = parser.parse_args()
    n_worlds = arguments.worlds
    if arguments.db:
        names, found = measured(arguments.db)
        print(", ".join(f"{name} {mean:.4g}" for name, mean in zip(names, found.mean(axis=0), strict=True)))
        return in_any_order(found, n_worlds)
    for world in [*EQUAL, *ALMOST]:
        decided, wrong, same, n = outcomes(world, n_worlds)
        told = f"{100 * decided:.1f} % decided, {100 * wrong:.1f} % wrongly, {100 * same:.1f} % as all texts"
        print(f"{world}: {told}, {n:.0f} texts read", flush=True)


if __name__ == "__main__":
    main()
