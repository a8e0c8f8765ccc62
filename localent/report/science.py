"""Rows of the tables that signals, replay, study and score print: for people, and in full for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass

import numpy as np

from localent.analysis.intervals import Estimate
from localent.report.terminal import number

Table = tuple[list[str], list[list]]


def short(found: Estimate, decimals: int = 3) -> str:
    """ "0.712 [0.650, 0.764]", "-" where there is no value."""
    return number(found, 1.0, decimals)


def cell(value: object, decimals: int = 3) -> object:
    """What a person reads in a table: floats rounded, p-values small, an Estimate with its interval."""
    if isinstance(value, Estimate):
        return short(value, decimals)
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{decimals}f}"
    return "-" if value is None else value


def p_cell(p: float | None) -> str:
    """ "0.032", "<0.001"."""
    return "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def flat(record: object) -> dict[str, object]:
    """A record as one row for machines: an Estimate x becomes x, x_low, x_high, x_n, x_missing, x_reason."""
    row: dict[str, object] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, Estimate):
            ends = {"": value.value, "_low": value.low, "_high": value.high, "_n": value.n}
            ends |= {"_missing": value.n_missing, "_reason": value.reason}
            row |= {field.name + end: plain(part) for end, part in ends.items()}
        elif is_dataclass(value):
            row |= {f"{field.name}_{name}": part for name, part in flat(value).items()}
        else:
            row[field.name] = plain(value)
    return row


def plain(value: object) -> object:
    """numpy scalars as Python's; NaN, which JSON lacks, as None."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def full_table(records: Sequence[object]) -> Table:
    """Every field of every record, one row each."""
    rows = [flat(record) for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [[row.get(name) for name in columns] for row in rows]


def signals_table(rows: Iterable) -> Table:
    """The columns of signals that fit a terminal."""
    columns = ["signal", "kind", "AUROC", "p (Holm)", "given length", "within question", "PRR", "AURC", "ECE", "Brier"]
    columns += ["n", "lack it", "reading"]
    found = []
    for row in rows:
        estimates = [short(row.auroc), p_cell(row.p_holm), short(row.given_length, 2), short(row.within_question, 2)]
        points = [cell(value) for value in (row.prr, row.aurc, row.ece, row.brier)]
        found.append([row.name, row.family, *estimates, *points, row.auroc.n, row.auroc.n_missing, row.reading])
    return columns, found


def replay_table(rows: Iterable) -> Table:
    """What each policy did on the half of the problems that it was not chosen on."""
    columns = ["policy", "setting", "accuracy", "answered", "change", "vs length cap", "vs majority"]
    columns += ["tokens saved", "net of probes"]
    found = []
    for row in rows:
        changes = [short(e) for e in (row.change, row.against_cap, row.against_majority)]
        saved = [cell(e.value) for e in (row.tokens_saved, row.tokens_saved_net)]
        found.append([row.policy, row.setting, short(row.accuracy), cell(row.coverage.value), *changes, *saved])
    return columns, found


def risk_coverage_table(accuracies: dict[str, Sequence[float]], coverages: Sequence[float]) -> Table:
    """Accuracy among the most certain traces by each signal, best at 80 % first."""
    columns = ["accuracy when answering", *(f"{share:.0%}" for share in coverages)]
    at = list(coverages).index(0.8)
    ranked = sorted(accuracies.items(), key=lambda item: -item[1][at])
    return columns, [[name, *map(cell, values)] for name, values in ranked]
