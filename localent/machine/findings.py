"""What the doctor says, line by line, and where it is kept for later runs of the same model and build."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from localent.files import identity

BUILD = ("llama_cpp_python", "backend", "cpu", "machine", "localent")  # of a run's record: what a report is about


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `ok`: None where there is nothing to judge."""

    part: str  # "machine", "build", "gpu", "model", "speed", "invariance", "noise", "advice"
    name: str
    value: str | float | int | None
    unit: str | None = None
    ok: bool | None = None
    note: str | None = None  # what it means, or what to do


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and what they are about."""

    model_sha256: str | None
    build: dict[str, str]
    findings: tuple[Finding, ...]

    def of(self, part: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.part == part]


def save(report: Report) -> Path:
    """Keep a report, so that later runs of the same model and build can be stored with it."""
    place = _place(report.model_sha256 or "none", report.build)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report), ensure_ascii=False))
    partial.replace(place)
    return place


def remembered(model_sha256: str, build: dict[str, str]) -> Report | None:
    """The last report on this model and build, on this machine."""
    try:
        kept = json.loads(_place(model_sha256, build).read_text())
        return Report(kept["model_sha256"], kept["build"], tuple(Finding(**f) for f in kept["findings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rows(report: Report | None) -> list[dict[str, object]]:
    """A report as rows of the table checks."""
    return [_row(finding) for finding in report.findings] if report else []


def _row(finding: Finding) -> dict[str, object]:
    number = float(finding.value) if isinstance(finding.value, int | float) else None
    value = None if finding.value is None else str(finding.value)
    ok = None if finding.ok is None else int(finding.ok)
    shown = {"part": finding.part, "name": finding.name, "value": value, "number": number}
    return shown | {"unit": finding.unit, "ok": ok, "note": finding.note}


def _place(model_sha256: str, build: dict[str, str]) -> Path:
    same = {name: build.get(name) for name in BUILD}
    key = hashlib.sha256(json.dumps([model_sha256, same], sort_keys=True).encode()).hexdigest()[:32]
    return identity.cache_dir() / "doctor" / f"{key}.json"
