"""The report: one HTML file that needs no network and no server, opens on a phone, prints, and escapes everything.

What is heavy (tokens, alternatives, answers) is embedded as JSON, gzipped, in base64, in chunks of some traces: a
browser unpacks a chunk when one of its traces is opened. A content security policy by hash allows this page's own
script and style and nothing else, so that no text of a model or a data set can do anything but be read.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import localent
from localent.analysis.profile import MEANING, mechanisms
from localent.errors import LocalentError
from localent.report import terminal
from localent.report.measures import MEASURES
from localent.report.panels import KINDS, Panel, RunFacts, by_task, differences, facts, in_words, panels
from localent.report.svg import draw
from localent.report.table import cell_text, csv_lines
from localent.store import traces

if TYPE_CHECKING:
    from collections.abc import Callable

    from localent.store import Database

COMPARED = {  # column of the table comparisons -> how the page calls it
    "reference": "reference", "candidate": "candidate", "source": "text", "n_positions": "positions",
    "mean_kld": "mean KLD, nats", "noise_kld": "noise floor of it, nats", "rms_delta_p": "RMS Δp of the token taken",
    "same_top": "share of same top token", "ppl_reference": "perplexity, reference",
    "ppl_candidate": "perplexity, candidate", "accuracy_reference": "accuracy, reference",
    "accuracy_candidate": "accuracy, candidate", "right_to_wrong": "right to wrong", "wrong_to_right": "wrong to right",
    "mcnemar_p": "McNemar p, exact", "length_ratio": "length ratio",
}  # fmt: skip
CHUNK = 20  # traces unpacked at a time
COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn panel."""

    name: str  # of its CSV file
    panel: Panel
    svg: str


def write_page(
    db: Database, run_ids: Sequence[str], path: Path, *, title: str | None = None, report: Callable = lambda n: None
) -> int:
    """Write the page of these runs; returns its bytes. `report` is told of every trace that is in."""
    runs = facts(db, run_ids)
    figures = list(drawn_figures(runs, db))
    problems = problem_rows(db, runs)
    chunks = list(packed_traces(db, runs, report))
    data = {"runs": [run.name for run in runs], "csv": {figure.name: csv_of(figure.panel) for figure in figures}}
    data |= {"problems": list(problems.values()), "traces": trace_rows(db, runs, list(problems))}
    data |= {"chunk": CHUNK, "measures": {name: asdict(measure) for name, measure in MEASURES.items()}}
    text = render(
        title=title or title_of(runs),
        runs=[run_row(run, db) for run in runs],
        verdicts=[(run.name, run.run_id, terminal.reading(run.summary)) for run in runs],
        differences=differences(runs),
        figures=figures,
        comparisons=comparison_rows(db, runs),
        mechanisms=MEANING,
        index=packed(data),
        chunks=chunks,
    )
    return save(text, path)


def title_of(runs: Sequence[RunFacts]) -> str:
    """ "abacus-base F16, abacus-sft F16 on demo-number"."""
    kinds = {task: dict.fromkeys(r.model for r in some) for task, some in by_task(runs).items()}
    return "; ".join(f"{', '.join(names)} on {task}" for task, names in kinds.items())


def save(text: str, path: Path) -> int:
    """All of the file, or the old one."""
    part = path.with_name(path.name + ".part")
    try:
        n_bytes = part.write_bytes(text.encode("utf-8", "replace"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LocalentError(f"Cannot write {path}: {error.strerror}.") from error
    return n_bytes


def render(**parts: object) -> str:
    """The page from its template: everything in it is escaped but what this package drew or packed itself."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    home = files(__package__)
    script, style = ((home / name).read_text("utf-8").strip() for name in ("page.js", "page.css"))
    policy = f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data:;"
    policy += " base-uri 'none'; form-action 'none'"
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string((home / "page.html").read_text())
    made = f"localent {localent.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    parts |= {"script": Markup(script), "style": Markup(style), "policy": policy, "made": made, "Markup": Markup}
    return template.render(parts)


def digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def packed(data: object) -> str:
    """JSON, gzipped, in base64: letters, digits, + / and = only."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), COMPRESSION, mtime=0)).decode()


# --- figures and tables -------------------------------------------------------------------------------------------


def drawn_figures(runs: Sequence[RunFacts], db: Database) -> Iterator[Figure]:
    """Every figure that the runs have data for."""
    for kind in KINDS:
        for i, panel in enumerate(panels(kind, runs, db)):
            yield Figure(f"{kind}-{i + 1}", panel, draw(panel))


def csv_of(panel: Panel) -> str:
    header, *rows = panel.csv_rows()
    return "\n".join(csv_lines(header, rows)) + "\n"


def run_row(run: RunFacts, db: Database) -> dict[str, object]:
    """What the table of runs shows."""
    s, settings = run.summary, db.run(run.run_id).settings
    cells = {"run": run.run_id, "model": cell_text(s.model), "quant": s.quant, "task": s.task}
    cells |= {name: settings.get(name, "-") for name in ("temperature", "seed", "lanes")}
    cells |= {"traces": f"{s.n_traces:,}"}
    cells |= {"problems": f"{s.n_problems:,}", "tokens": f"{s.n_tokens:,}", "accuracy": terminal.percent(s.accuracy)}
    cells |= {"no answer found": terminal.percent(s.extraction_failures), "cut off": terminal.percent(s.truncated)}
    cells |= {"entropy right, nats": terminal.number(s.token_entropy.right)}
    cells |= {"entropy wrong, nats": terminal.number(s.token_entropy.wrong)}
    return cells | {"AUROC of entropy": in_words(s.signal.auroc), "AUROC of length": in_words(s.signal.length)}


def comparison_rows(db: Database, runs: Sequence[RunFacts]) -> list[dict[str, object]]:
    """Teacher-forced comparisons of these models, where the database has any."""
    found = traces.comparisons(db, sorted({db.run(run.run_id).model_sha256 for run in runs}))
    return [{head: as_cell(row[name]) for name, head in COMPARED.items()} for row in found]


def as_cell(value: object) -> str:
    """Four digits are enough to look at; the database has them all."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


# --- traces -------------------------------------------------------------------------------------------------------


def problem_rows(db: Database, runs: Sequence[RunFacts]) -> dict[tuple[str, str], list]:
    """(task, problem_id) -> what the page says of the problem, for problems that have a trace."""
    found = {}
    for task in dict.fromkeys(run.summary.task for run in runs):
        used = {p for run in runs if run.summary.task == task for p in run.traces.problems.tolist()}
        for p in db.problems(task):
            if p.problem_id in used:
                choices = [[choice.label, choice.text] for choice in p.choices]
                found[task, p.problem_id] = [p.source_id, p.question, p.answer, choices, p.solution or ""]
    return found


def trace_rows(db: Database, runs: Sequence[RunFacts], problems: list) -> list[list]:
    """The index of all traces, in the order in which they are packed."""
    place = {key: i for i, key in enumerate(problems)}
    names = ("trace_id", "problem_id", "sample", "correct", "answer", "n_tokens", "n_steps", "mean_entropy", "finish")
    rows = []
    for r, run in enumerate(runs):
        columns = db.traces(run.run_id, (*names, "answer_entropy_half"))
        kinds = mechanisms_of(run)
        for trace_id, problem, sample, correct, answer, n, steps, mean, finish, half in zip(
            *columns.values(), strict=True
        ):
            row = [str(trace_id), r, place[run.summary.task, problem], sample, correct, answer, n, steps]
            rows.append([*row, short(mean), short(half), kinds.get(trace_id, ""), int(finish == "length")])
    return rows


def mechanisms_of(run: RunFacts) -> dict[int, str]:
    """trace_id -> how the true answer came to lead, or did not."""
    p = run.probes
    return {} if p is None else dict(zip(p.trace_ids.tolist(), mechanisms(p).tolist(), strict=True))


def packed_traces(db: Database, runs: Sequence[RunFacts], report: Callable) -> Iterator[str]:
    """The traces of all runs, some in each chunk."""
    some: list[dict] = []
    for run in runs:
        for trace_id in db.traces(run.run_id, ("trace_id",))["trace_id"]:
            some.append(for_page(traces.drawn(db, trace_id)))
            report(1)
            if len(some) == CHUNK:
                yield packed(some)
                some = []
    if some:
        yield packed(some)


def for_page(rows: dict[str, list[tuple]]) -> dict[str, list]:
    """One trace as the script reads it; numbers rounded for showing."""
    texts, *measures = zip(*rows["tokens"], strict=True) if rows["tokens"] else ((),) * (1 + len(MEASURES))
    found: dict[str, list] = {"t": list(texts)}
    found |= {name: [round(x, 3) for x in column] for name, column in zip(MEASURES, measures, strict=True)}
    found |= {"st": [list(step) for step in rows["steps"]], "pr": [rounded(probe) for probe in rows["probes"]]}
    found["an"] = grouped(rows["answers"])
    return found | ({"a": grouped(rows["alternatives"])} if rows["alternatives"] else {})


def grouped(rows: list[tuple]) -> list[list]:
    """(key, text, prob) -> [[key, text, prob, text, prob, ...], ...]."""
    found: list[list] = []
    for key, text, prob in rows:
        if not found or found[-1][0] != key:
            found.append([key])
        found[-1] += [text, round(prob, 4)]
    return found


def rounded(row: Sequence) -> list:
    return [short(cell, 4) if isinstance(cell, float) else cell for cell in row]


def short(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
