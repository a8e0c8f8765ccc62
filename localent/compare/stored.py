"""A comparison in the database: its identity, a row per candidate, and on request a row per position."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import numpy as np

import localent
from localent import engine
from localent.analysis import quantities
from localent.compare.comparison import Candidate, Comparison, Plan
from localent.compare.teacher_forcing import Positions, Text
from localent.records import Model
from localent.store import Database, open_db


def comparison_id(reference: Model | None, candidate: Model, kind: str, digest: str, plan: Plan) -> str:
    """12 hex digits of everything that can change a bit of a figure: of threads and builds nobody promises the same.

    Rows per position are kept beside the figures and change none.
    """
    build = engine.build_info(plan.gpu_layers, candidate.path) | {"localent": localent.__version__}
    how = asdict(replace(plan, positions=False)) | build
    content = json.dumps([reference and reference.sha256, candidate.sha256, kind, digest, how], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def digest_of(parts: Sequence[Text]) -> str:
    """Hash of all token ids and of which are scored."""
    digest = hashlib.sha256()
    for text in parts:
        digest.update(np.array([text.first, len(text.tokens), *text.tokens], "<i8").tobytes())
    return digest.hexdigest()[:16]


def keep(db, done: Comparison, found: Positions, parts: Sequence[Text], plan: Plan) -> None:
    """Write the comparison, a row per candidate, and a row per position on request or where there are some already."""
    if db is None:
        return
    with open_db(db) as store:
        for model in filter(None, [done.reference, *(c.model for c in done.candidates)]):
            store.add_model(model)
        for i, candidate in enumerate(done.candidates):
            positions = plan.positions or store.has_divergences(candidate.comparison_id)
            _keep_one(store, done, candidate, replace(plan, positions=positions))
            if positions:
                store.add_divergences(candidate.comparison_id, _position_rows(found, i, parts))


def _keep_one(store: Database, done: Comparison, candidate: Candidate, plan: Plan) -> None:
    floor = done.noise
    store.add_comparison(
        comparison_id=candidate.comparison_id,
        reference_sha256=done.reference.sha256 if done.reference else None,
        candidate_sha256=candidate.model.sha256,
        source=done.source,
        source_name=done.source_name,
        run_id=done.source_name if done.source == "run" else None,
        candidate_run_id=candidate.run_id,
        n_texts=done.n_texts,
        settings=asdict(plan) | engine.build_info(plan.gpu_layers, candidate.model.path),
        figures=plain(asdict(candidate) | {"model": None, "noise": floor and asdict(floor) | {"model": None}}),
        **_columns(candidate, floor),
    )


def _columns(candidate: Candidate, floor: Candidate | None) -> dict[str, float | int | None]:
    """What a comparison's row has in columns of their own."""
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


def _position_rows(found: Positions, i: int, parts: Sequence[Text]) -> Iterator[tuple]:
    """One tuple per position, in the order of the table's columns after comparison_id."""
    flat = [name for text in parts for name in text.classes] or [None] * len(found)
    mine, ours = found.candidates[i], found.reference
    names = ("kld", "kld_reverse", "jsd", "same_top")
    both = ("surprisal", "entropy", "varentropy", "margin")
    columns = [mine[name].tolist() for name in names] + [c[name].tolist() for name in both for c in (ours, mine)]
    for j, (text, position, token, *values) in enumerate(
        zip(found.text.tolist(), found.position.tolist(), found.token_id.tolist(), *columns, strict=True)
    ):
        values[3] = int(values[3])
        yield text, position, parts[text].trace_id, token, flat[j], *values


def plain(value: object) -> object:
    """Numbers that JSON lacks become null; tuples lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
