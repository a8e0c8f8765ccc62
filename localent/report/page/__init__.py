"""The report: one HTML file that needs neither network nor server, works on a phone and in print, and escapes all text.

Tokens, alternatives and answers are embedded as JSON, gzipped, in base64, in chunks of several traces: a browser
unpacks a chunk when one of its traces is opened. A content security policy by hash allows this page's own script and
style and nothing else, so that text of a model or a data set can never act, only be read.

`localent view` serves the same page: a frame without data, whose script asks for traces as they come, and the sections
of findings and figures whenever they were computed anew.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import localent
from localent.analysis.profile import MEANING, mechanisms
from localent.analysis.summary import Summary
from localent.errors import LocalentError
from localent.report import quant_panels, terminal
from localent.report.measures import MEASURES
from localent.report.numbers import number, percent, short
from localent.report.panels import (
    ALONG,
    FROM_END,
    FROM_START,
    KINDS,
    SHARE,
    Panel,
    RunFacts,
    Scale,
    along,
    by_task,
    differences,
    facts,
    panels,
)
from localent.report.svg import draw
from localent.report.table import cell_text, csv_lines
from localent.store import following, traces

if TYPE_CHECKING:
    from jinja2 import Environment

    from localent.records import Problem
    from localent.store import Database

COMPARED = {  # column of the table comparisons -> its name on the page
    "reference": "reference", "candidate": "candidate", "source": "text", "n_positions": "positions",
    "mean_kld": "mean KLD, nats", "noise_kld": "noise floor of it, nats", "rms_delta_p": "RMS Δp of the token taken",
    "same_top": "share of same top token", "ppl_reference": "perplexity, reference",
    "ppl_candidate": "perplexity, candidate", "accuracy_reference": "accuracy, reference",
    "accuracy_candidate": "accuracy, candidate", "right_to_wrong": "right to wrong", "wrong_to_right": "wrong to right",
    "mcnemar_p": "McNemar p, exact", "length_ratio": "length ratio",
}  # fmt: skip
INDEXED: tuple[str, ...] = ("trace_id", "problem_id", "sample", "correct", "answer", "n_tokens", "n_steps")
INDEXED += ("mean_entropy", "answer_entropy_half", "finish")  # columns of trace_summary that the list of traces shows
COUNTED = (FROM_START, FROM_END)  # beside shares of the way, in figures along the reasoning
SCALES = {"share": "share of the way", "start": "steps from the start", "end": "steps from the end"}  # on the switch
CHUNK = 20  # traces unpacked at a time
Cells = list[Any]  # JSON
COMPRESSION = 6


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn panel."""

    name: str  # of its CSV file, without suffix
    panel: Panel
    svg: str
    scale: str  # how places along the reasoning are counted
    others: tuple[Figure, ...] = ()  # the same, counted otherwise

    @property
    def drawn(self) -> tuple[Figure, ...]:
        """This one, and the same counted otherwise: a switch shows one of them."""
        return (self, *self.others)


def write_page(
    db: Database,
    run_ids: Sequence[str],
    path: Path,
    *,
    title: str | None = None,
    report: Callable[[int], object] = lambda n: None,
) -> int:
    """Write the page of these runs and return its size in bytes. report: takes 1 for every trace packed."""
    runs = facts(db, run_ids)
    figures = list(drawn_figures(runs, db))
    text = render(
        title=title or title_of(runs) or "Comparisons",
        kind="file",
        home=None,
        **sections_of(db, runs, figures),
        mechanisms=MEANING,
        chunks=list(packed_traces(db, runs, report)),
        index=packed(index_of(db, runs, figures)),
    )
    return save(text, path)


def frame(title: str, home: str | None = None) -> str:
    """The page without data, for a server that has it. home: the address of a page that lists others."""
    return render(title=title, kind="live", home=home, mechanisms=MEANING, chunks=())


def trace_page(db: Database, trace_id: int) -> str:
    """A page of one trace that stands by itself."""
    seen, (row,) = traces.seen(db, trace_id), following.summaries(db, [trace_id], INDEXED)
    run = cell_text(f"{seen.model} {seen.quant}")
    index = {"runs": [run], "csv": {}, "chunk": CHUNK, "measures": measures()}
    index |= {"problems": [problem_cells(seen.problem)], "traces": [trace_cells([row[name] for name in INDEXED], 0, 0)]}
    return render(
        title=f"{run} on {seen.task}: trace {trace_id}",
        kind="trace",
        home=None,
        mechanisms=MEANING,
        index=packed(index),
        chunks=[packed([for_page(traces.drawn(db, trace_id))])],
    )


def listing(title: str, links: Sequence[tuple[str, str, str]]) -> str:
    """A page of links, each with a note: (address, text, note)."""
    from markupsafe import Markup

    style = source("page.css")
    policy = f"default-src 'none'; style-src '{digest(style)}'; img-src data:; base-uri 'none'; form-action 'none'"
    template = templates().get_template("listing.html")
    return template.render(title=title, links=links, policy=policy, style=Markup(style))


def sections(db: Database, run_ids: Sequence[str]) -> str:
    """Overview, findings, figures and runs as HTML, and packed in the element `extra` the data behind them."""
    runs = facts(db, run_ids)
    figures = list(drawn_figures(runs, db))
    extra = {
        "csv": csv_files(figures),
        "mechanisms": {str(k): v for run in runs for k, v in mechanisms_of(run).items()},
    }
    text = templates().get_template("sections.html").render(sections_of(db, runs, figures))
    return f'{text}<script type="text/plain" id="extra">{packed(extra)}</script>\n'


def sections_of(db: Database, runs: Sequence[RunFacts], figures: Sequence[Figure]) -> dict[str, object]:
    """What the template of the sections needs."""
    from markupsafe import Markup

    lead = leading(figures, len(runs))
    return {
        "runs": [run_row(run, db) for run in runs],
        "verdicts": [(run.name, run.run_id, terminal.reading(run.judged(db))) for run in runs],
        "differences": differences(runs),
        "lead": lead,
        "figures": [figure for figure in figures if figure is not lead],
        "matrix": matrix(runs, db),
        "scales": SCALES,
        "comparisons": comparison_rows(db, runs),
        "Markup": Markup,
    }


def index_of(db: Database, runs: Sequence[RunFacts], figures: Sequence[Figure]) -> dict[str, object]:
    """The data that the page's script reads at once: all but the tokens and probes of the traces."""
    problems = problem_rows(db, runs)
    return {
        "runs": [run.name for run in runs],
        "csv": csv_files(figures),
        "problems": list(problems.values()),
        "traces": trace_rows(db, runs, list(problems)),
        "chunk": CHUNK,
        "measures": measures(),
    }


def measures() -> dict[str, dict[str, object]]:
    """The measures that colour the tokens, with their units and levels, as the script reads them."""
    return {name: asdict(measure) for name, measure in MEASURES.items()}


def title_of(runs: Sequence[RunFacts]) -> str:
    """ "abacus-base F16, abacus-sft F16 on demo-number"."""
    kinds = {task: dict.fromkeys(r.model for r in some) for task, some in by_task(runs).items()}
    return "; ".join(f"{', '.join(names)} on {task}" for task, names in kinds.items())


def save(text: str, path: Path) -> int:
    """Write the file as a whole, or leave the old one in place; returns its size in bytes."""
    part = path.with_name(path.name + ".part")
    try:
        n_bytes = part.write_bytes(text.encode("utf-8", "replace"))
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LocalentError(f"Cannot write {path}: {error.strerror}.") from error
    return n_bytes


def render(**parts: object) -> str:
    """The page from its template. Everything is escaped except what this package drew or packed itself.

    kind: "file", a page with all its data; "live", one that asks a server for them; "trace", one trace by itself.
    """
    from markupsafe import Markup

    live, script, style = parts["kind"] == "live", source("page.js"), source("page.css")
    policy = f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; img-src data:;"
    policy += " base-uri 'none'; form-action 'none'" + ("; connect-src 'self'" if live else "")
    made = f"localent {localent.__version__}" + ("" if live else f", {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    parts |= {"script": Markup(script), "style": Markup(style), "policy": policy, "made": made, "live": live}
    return templates().get_template("page.html").render(parts)


def source(name: str) -> str:
    """A file beside this one, without the white space around it."""
    return (files(__package__) / name).read_text("utf-8").strip()


@cache
def templates() -> Environment:
    """The templates. They escape all values."""
    from jinja2 import DictLoader, Environment, StrictUndefined

    names = ("page.html", "sections.html", "listing.html")
    loader = DictLoader({name: source(name) for name in names})
    return Environment(autoescape=True, undefined=StrictUndefined, loader=loader)


def digest(text: str) -> str:
    """The hash of a script or style, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def packed(data: object) -> str:
    """JSON, gzipped, in base64: letters, digits, + / and = only."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "replace"), COMPRESSION, mtime=0)).decode()


# --- figures and tables -------------------------------------------------------------------------------------------


def drawn_figures(runs: Sequence[RunFacts], db: Database) -> Iterator[Figure]:
    """All figures that the runs have data for."""
    for kind in KINDS:
        found = named(kind, panels(kind, runs, db))
        others = [named(kind, along(kind, runs, db, scale), scale) for scale in COUNTED] if kind in ALONG else []
        for figure in found:
            same = tuple(one for some in others for one in some if one.panel.title == figure.panel.title)
            yield replace(figure, others=same) if len(same) == len(COUNTED) else figure
    for kind in () if runs else quant_panels.KINDS:
        yield from named(kind, quant_panels.panels(kind, db))


def named(kind: str, some: Sequence[Panel], scale: Scale = SHARE) -> list[Figure]:
    """Panels drawn, with names for their files."""
    end = "" if scale is SHARE else f"-{scale.name}"
    return [Figure(f"{kind}-{i + 1}{end}", panel, draw(panel), scale.name) for i, panel in enumerate(some)]


def leading(figures: Sequence[Figure], n_runs: int) -> Figure | None:
    """The figure that the page opens with: what the runs gain, or the course of the only one."""
    wanted = ("gain", "curves", "quant") if n_runs > 1 else ("curves", "gain")
    of_kind = {figure.panel.kind: figure for figure in reversed(figures)}
    return next((of_kind[kind] for kind in wanted if kind in of_kind), None)


def matrix(runs: Sequence[RunFacts], db: Database) -> list[dict[str, object]]:
    """The page's first table, a row for each run: heading -> cell."""
    found = comparisons_of(db, runs)
    klds = {str(row["candidate"]): f"{as_cell(row['mean_kld'])} from {row['reference']}" for row in found}
    compared = [{"KLD, nats": klds.get(run.model, "-")} if klds else {} for run in runs]
    return [{"run": run.name, **matrix_cells(run.summary), **kld} for run, kld in zip(runs, compared, strict=True)]


def matrix_cells(s: Summary) -> dict[str, str]:
    """What a run is looked at for."""
    half, gain = (None, None) if s.answers is None else (s.answers.signal_half.auroc, s.answers.gain_end)
    return {
        "traces": f"{s.n_traces:,}",
        "accuracy": percent(s.accuracy),
        "AUROC, token entropy": number(s.signal.auroc, 1, 2),
        "AUROC, answer entropy half-way": "-" if half is None else number(half, 1, 2),
        "gain by the end, nats": "-" if gain is None else number(gain, 1, 2),
    }


def csv_files(figures: Sequence[Figure]) -> dict[str, str]:
    """Name of a figure -> its data as CSV."""
    return {one.name: csv_of(one.panel) for figure in figures for one in figure.drawn}


def csv_of(panel: Panel) -> str:
    """The data of a figure as CSV, with a header."""
    header, *rows = panel.csv_rows()
    return "\n".join(csv_lines(list(map(str, header)), rows)) + "\n"


def run_row(run: RunFacts, db: Database) -> dict[str, object]:
    """One run in the table of runs: heading -> cell."""
    s, settings = run.summary, db.run(run.run_id).settings
    return {
        "run": run.run_id,
        "model": cell_text(s.model),
        "quant": s.quant,
        "task": s.task,
        **{name: settings.get(name, "-") for name in ("temperature", "seed", "lanes")},
        "traces": f"{s.n_traces:,}",
        "problems": f"{s.n_problems:,}",
        "tokens": f"{s.n_tokens:,}",
        "accuracy": percent(s.accuracy),
        "chance": "-" if s.chance is None else f"{100 * s.chance.level:.1f} %",
        "no answer found": percent(s.extraction_failures),
        "truncated": percent(s.truncated),
        "entropy right, nats": number(s.token_entropy.right),
        "entropy wrong, nats": number(s.token_entropy.wrong),
        "AUROC of entropy": short(s.signal.auroc),
        "AUROC of length": short(s.signal.length),
    }


def comparison_rows(db: Database, runs: Sequence[RunFacts]) -> list[dict[str, object]]:
    """Teacher-forced comparisons of these models, where the database has any."""
    found = comparisons_of(db, runs)
    return [{head: as_cell(row[name]) for name, head in COMPARED.items()} for row in found]


def comparisons_of(db: Database, runs: Sequence[RunFacts]) -> list[dict[str, object]]:
    """The stored comparisons among the models of these runs; without runs, all of them."""
    models = sorted({db.run(run.run_id).model_sha256 for run in runs})
    return traces.comparisons(db, models) if runs else traces.all_comparisons(db)


def as_cell(value: object) -> str:
    """Four digits, for reading; the database has them all."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


# --- traces -------------------------------------------------------------------------------------------------------


def problem_rows(db: Database, runs: Sequence[RunFacts]) -> dict[tuple[str, str], Cells]:
    """(task, problem_id) -> the problem as the script reads it, for problems that have a trace."""
    found: dict[tuple[str, str], Cells] = {}
    for task in dict.fromkeys(run.summary.task for run in runs):
        used = {p for run in runs if run.summary.task == task for p in run.traces.problems.tolist()}
        for p in db.problems(task, traced=True):
            if p.problem_id in used:
                found[task, p.problem_id] = problem_cells(p)
    return found


def problem_cells(p: Problem) -> Cells:
    """A problem as the script reads it."""
    return [p.source_id, p.question, p.answer, [[choice.label, choice.text] for choice in p.choices], p.solution or ""]


def trace_rows(db: Database, runs: Sequence[RunFacts], problems: Sequence[tuple[str, str]]) -> list[Cells]:
    """A row for each trace, in the order in which they are packed. problems: in the order of the index."""
    place = {key: i for i, key in enumerate(problems)}
    rows = []
    for r, run in enumerate(runs):
        kinds = mechanisms_of(run)
        for cells in zip(*db.traces(run.run_id, INDEXED).values(), strict=True):
            trace_id, problem = cells[:2]
            rows.append(trace_cells(cells, r, place[run.summary.task, problem], kinds.get(trace_id, "")))
    return rows


def trace_cells(cells: Sequence[Any], run: int, problem: int, mechanism: str = "") -> Cells:
    """A row of the list of traces as the script reads it. cells: the columns INDEXED; run, problem: their places."""
    trace_id, _, sample, correct, answer, n, steps, mean, half, finish = cells
    row = [str(trace_id), run, problem, sample, correct, answer, n, steps, rounded(mean), rounded(half)]
    return [*row, mechanism, int(finish == "length")]


def mechanisms_of(run: RunFacts) -> dict[int, str]:
    """trace_id -> the mechanism by which the true answer came to lead, or did not."""
    p = run.probes
    return {} if p is None else dict(zip(p.trace_ids.tolist(), mechanisms(p).tolist(), strict=True))


def packed_traces(db: Database, runs: Sequence[RunFacts], report: Callable[[int], object]) -> Iterator[str]:
    """The traces of all runs, CHUNK to a string."""
    some: list[dict[str, Cells]] = []
    for run in runs:
        for trace_id in db.traces(run.run_id, ("trace_id",))["trace_id"]:
            some.append(for_page(traces.drawn(db, trace_id)))
            report(1)
            if len(some) == CHUNK:
                yield packed(some)
                some = []
    if some:
        yield packed(some)


def for_page(rows: dict[str, list[tuple[Any, ...]]]) -> dict[str, Cells]:
    """One trace as the script reads it, with numbers rounded for display."""
    texts, *measures, given = zip(*rows["tokens"], strict=True) if rows["tokens"] else ((),) * (2 + len(MEASURES))
    found: dict[str, Cells] = {"t": list(texts)}
    found |= {name: [round(x, 3) for x in column] for name, column in zip(MEASURES, measures, strict=True)}
    found |= {"g": [i for i, outside in enumerate(given) if outside]} if any(given) else {}
    found["st"] = [list(step) for step in rows["steps"]]
    found["pr"] = [[rounded(cell, 4) for cell in probe] for probe in rows["probes"]]
    found["an"] = grouped(rows["answers"])
    found["im"] = [[rounded(cell) for cell in step] for step in rows["importance"]]
    return found | ({"a": grouped(rows["alternatives"])} if rows["alternatives"] else {})


def grouped(rows: list[tuple[Any, ...]]) -> Cells:
    """(key, text, prob) -> [[key, text, prob, text, prob, ...], ...]."""
    found: list[Cells] = []
    for key, text, prob in rows:
        if not found or found[-1][0] != key:
            found.append([key])
        found[-1] += [text, round(prob, 4)]
    return found


def rounded(cell: object, digits: int = 3) -> object:
    """A float with fewer digits; anything else as it is."""
    return round(cell, digits) if isinstance(cell, float) else cell
