"""A comparison in the database: a row per candidate, on request a row per position. Written and read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from localent import engine
from localent.analysis import quantities
from localent.analysis.as_json import plain
from localent.compare.plan import Plan
from localent.compare.positions import Positions
from localent.compare.result import Candidate, Comparison
from localent.compare.text import Text, classes_of_rows
from localent.store import Database, open_db

Figures = dict[str, Any]  # JSON of each field of `Candidate`, and of the noise floor under "noise"


# --- writing ----------------------------------------------------------------------------------------------------------


def write(db: str | Path | None, done: Comparison, found: Positions, texts: Sequence[Text], plan: Plan) -> None:
    """Write a row per candidate, and a row per position where the plan asks for them or some are stored already."""
    if db is None:
        return
    with open_db(db) as store:
        for model in filter(None, [done.reference, *(c.model for c in done.candidates)]):
            store.add_model(model)
        for i, candidate in enumerate(done.candidates):
            positions = plan.positions or store.has_divergences(candidate.comparison_id)
            _write_one(store, done, candidate, replace(plan, positions=positions))
            if positions:
                store.add_divergences(candidate.comparison_id, _position_rows(found, i, texts))


def _write_one(store: Database, done: Comparison, candidate: Candidate, plan: Plan) -> None:
    floor = done.noise
    besides = {"noise": floor and asdict(floor) | {"model": None}, "reference_speed": done.speed and asdict(done.speed)}
    store.add_comparison(
        comparison_id=candidate.comparison_id,
        reference_sha256=done.reference.sha256 if done.reference else None,
        candidate_sha256=candidate.model.sha256,
        source=done.source,
        source_name=done.source_name,
        run_id=done.source_name if done.source == "run" else None,
        candidate_run_id=candidate.run_id,
        n_texts=done.n_texts,
        settings=asdict(plan) | engine.build_info(plan.gpu_layers or 0, candidate.model.path),
        figures=plain(asdict(candidate) | {"model": None} | besides),
        **_columns(candidate, floor),
    )


def _columns(candidate: Candidate, floor: Candidate | None) -> dict[str, float | int | None]:
    """The figures that have their own columns in the table comparisons."""
    f, free, path = candidate.forced, candidate.free, candidate.trajectory
    values = {figure.name: figure.value for figure in f.figures}
    return dict(
        n_positions=f.n,
        mean_kld=values[quantities.KLD.key],
        noise_kld=floor.forced[quantities.KLD.key].value if floor else None,
        rms_delta_p=values[quantities.DP_RMS.key],
        same_top=values[quantities.SAME_TOP.key],
        ppl_reference=values[quantities.PPL_BASE.key],
        ppl_candidate=values[quantities.PPL.key],
        delta_entropy=values.get(quantities.ENTROPY_CHANGE.key),
        delta_varentropy=values.get(quantities.VARENTROPY_CHANGE.key),
        n_pairs=free.n if free else None,
        accuracy_reference=free.accuracy_reference.value if free else None,
        accuracy_candidate=free.accuracy_candidate.value if free else None,
        right_to_wrong=free.right_to_wrong if free else None,
        wrong_to_right=free.wrong_to_right if free else None,
        mcnemar_p=free.mcnemar_p if free else None,
        length_ratio=free.length_ratio.value if free else None,
        delta_answer_entropy=path.delta_entropy.value if path else None,
    )


def _position_rows(found: Positions, i: int, texts: Sequence[Text]) -> Iterator[tuple[object, ...]]:
    """One tuple per position, in the order of the table's columns after comparison_id."""
    classes: Sequence[str | None] = classes_of_rows(texts) or [None] * len(found)
    mine, ours = found.candidates[i], found.reference
    names = ("kld", "kld_reverse", "jsd", "same_top")
    both = ("surprisal", "entropy", "varentropy", "margin")
    columns = [mine[name].tolist() for name in names] + [c[name].tolist() for name in both for c in (ours, mine)]
    for j, (text, position, token, *values) in enumerate(
        zip(found.text.tolist(), found.position.tolist(), found.token_id.tolist(), *columns, strict=True)
    ):
        values[3] = int(values[3])
        yield text, position, texts[text].trace_id, token, classes[j], *values


# --- reading back -----------------------------------------------------------------------------------------------------


def figures_on_run(store: Database, run_id: str, *, positions: bool) -> dict[str, Figures]:
    """comparison_id -> its figures, for all comparisons on this run's traces that stored their noise floor.

    positions: only those with rows per position.
    """
    rows = [row for row in store.comparisons() if row["run_id"] == run_id]
    found = {str(row["comparison_id"]): json.loads(str(row["figures"])) for row in rows}
    return {k: v for k, v in found.items() if "noise" in v and (not positions or store.has_divergences(k))}
