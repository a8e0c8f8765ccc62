"""The doctor's report, line by line, kept for later runs of the same model and build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from localent.files import cache

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


def save(report: Report) -> bool:
    """Keep a report, so that later runs of the same model and build are stored with it. False: it cannot be kept."""
    return cache.write("doctor", _key(report.model_sha256 or "none", report.build), asdict(report))


def saved_report(model_sha256: str, build: Mapping[str, object]) -> Report | None:
    """The last report on this model and build, on this machine."""
    return cache.read("doctor", _key(model_sha256, build), _from_json)


def _from_json(kept: dict[str, Any]) -> Report:
    return Report(kept["model_sha256"], kept["build"], tuple(Finding(**fields) for fields in kept["findings"]))


def rows(report: Report | None) -> list[dict[str, object]]:
    """A report as rows of the table checks."""
    return [_row(finding) for finding in report.findings] if report else []


def _row(finding: Finding) -> dict[str, object]:
    number = float(finding.value) if isinstance(finding.value, int | float) else None
    value = None if finding.value is None else str(finding.value)
    ok = None if finding.ok is None else int(finding.ok)
    shown: dict[str, object] = {"part": finding.part, "name": finding.name, "value": value, "number": number}
    return shown | {"unit": finding.unit, "ok": ok, "note": finding.note}


def _key(model_sha256: str, build: Mapping[str, object]) -> str:
    return cache.key_of([model_sha256, {name: build.get(name) for name in BUILD}])
