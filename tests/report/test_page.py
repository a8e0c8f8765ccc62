"""The report as a file: whole, small, escaped, sealed. How it behaves in a browser is in test_browser.py."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace

import pytest
from helpers.made import HOSTILE, a_model, a_problem, a_run, made
from helpers.runs import call, query

from localent.errors import LocalentError
from localent.report.page import as_cell, write_page
from localent.report.panels import (
    FROM_END,
    FROM_START,
    KINDS,
    Line,
    RunFacts,
    along,
    differences,
    differing,
    facts,
    panels,
)
from localent.report.svg import LEFT, WIDTH, draw, key_rows, place_ticks, ticks
from localent.store import open_db


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = made(folder / "runs.db", n_runs=3, n_problems=30, alternatives=2)
    with open_db(folder / "runs.db", readonly=True) as db:
        write_page(db, runs, folder / "report.html", title=f"{HOSTILE} & co")
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text()


def unpacked(text: str, name: str):
    found = re.search(rf'<script type="text/plain" id="{name}">([A-Za-z0-9+/=]*)</script>', text)
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def test_every_trace_is_in_it_and_findable(folder, text):
    index = unpacked(text, "index")
    assert len(index["traces"]) == 90
    assert len(index["problems"]) == 30
    tokens = [trace for n in range(5) for trace in unpacked(text, f"chunk{n}")]
    assert len(tokens) == 90
    assert [len(trace["t"]) for trace in tokens] == [row[6] for row in index["traces"]]
    with open_db(folder / "runs.db", readonly=True) as db:
        trace = db.trace(int(index["traces"][3][0]))
    assert "".join(tokens[3]["t"]) == trace.text
    assert set(index["measures"]) == {"entropy", "surprisal", "varentropy", "rank"}
    for name in index["measures"]:
        assert tokens[3][name] == [round(getattr(token, name), 3) for token in trace.tokens]
    assert tokens[3]["a"][0][1:] == ["Then", 0.6, HOSTILE, 0.2]


def test_hostile_text_is_escaped_wherever_it_stands(text):
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in text


def test_the_policy_allows_this_script_and_this_style_only(text):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    for kind, tag in (("script", "script"), ("style", "style")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(r'<[^>]+ (on\w+|style)="', text)


def test_nothing_in_it_points_outside(text):
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r'(src|href)="(?!#|data:,)', text)


def test_a_hundred_traces_with_alternatives_stay_under_3_mb(tmp_path):
    runs = made(tmp_path / "runs.db", n_problems=100, n_steps=25, alternatives=5)
    with open_db(tmp_path / "runs.db", readonly=True) as db:
        assert write_page(db, runs, tmp_path / "report.html") < 3e6


def test_runs_that_lack_something_still_make_a_page(tmp_path):
    """No trace at all, and no probes."""
    with open_db(tmp_path / "runs.db") as db:
        db.add_model(a_model(0))
        db.add_task("sums", "number")
        db.add_problems("sums", [a_problem(1)])
        db.add_run(a_run(0, 0))
    code, *_ = call("report", "--db", tmp_path / "runs.db", "-o", tmp_path / "empty.html")
    assert code == 0
    assert "No trace is finished yet." in (tmp_path / "empty.html").read_text()


def test_the_matrix_has_a_row_a_run_with_the_numbers_of_its_summary(folder, text):
    from localent.report.numbers import number
    from localent.report.page import matrix

    with open_db(folder / "runs.db", readonly=True) as db:
        runs = facts(db, [row["run_id"] for row in db.runs()])
        rows = matrix(runs, db)
    assert [row["run"] for row in rows] == [run.name for run in runs]
    for row, run in zip(rows, runs, strict=True):
        assert row["AUROC, answer entropy half-way"] == number(run.summary.answers.signal_half.auroc, 1, 2)
        assert row["gain by the end, nats"] == number(run.summary.answers.gain_end, 1, 2)
        assert "KLD, nats" not in row  # nothing was compared
    body = text[text.index('<section id="overview">') : text.index('<section id="verdicts">')]
    assert body.count("<figure") == 1
    assert body.count('class="of-run"') == 3


def test_a_comparison_is_in_the_matrix(folder, monkeypatch):
    from localent.report import page

    found = [{"candidate": "abacus-sft Q4_K_M", "reference": "abacus-sft F16", "mean_kld": 0.00397}]
    monkeypatch.setattr(page, "comparisons_of", lambda db, runs: found)
    with open_db(folder / "runs.db", readonly=True) as db:
        rows = page.matrix(facts(db, [row["run_id"] for row in db.runs()]), db)
    assert [row["KLD, nats"] for row in rows] == ["-", "-", "0.00397 from abacus-sft F16"]


def test_report_says_what_it_wrote(folder, tmp_path):
    code, out, _ = call("report", "0012", "--db", folder / "runs.db", "-o", tmp_path / "one.html")
    assert code == 0
    assert re.fullmatch(r".*one\.html: 0\.\d MB, 1 run\.\n", out)


def test_what_cannot_be_written_is_one_sentence(folder, tmp_path):
    code, _, err = call("report", "--db", folder / "runs.db", "-o", tmp_path / "none" / "r.html")
    assert (code, "Cannot write" in err) == (1, True)
    code, _, err = call("report", "ffff", "--db", folder / "runs.db", "-o", tmp_path / "r.html")
    assert (code, "No run 'ffff'" in err) == (2, True)
    (tmp_path / "r.html").write_text("old")
    with open_db(folder / "runs.db", readonly=True) as db, pytest.raises(LocalentError):
        write_page(db, ["0012"], tmp_path / "no" / "r.html")
    assert (tmp_path / "r.html").read_text() == "old"


def test_every_kind_of_figure_is_there_and_hands_out_numbers(folder):
    with open_db(folder / "runs.db", readonly=True) as db:
        runs = [RunFacts(db, row["run_id"]) for row in db.runs()]
        for kind in KINDS:
            found = panels(kind, runs, db)
            assert len(found) == (3 if kind in ("curves", "risk", "signals") else 1)
            for panel in found:
                header, *rows = panel.csv_rows()
                assert rows
                assert all(len(row) == len(header) for row in rows)
                assert draw(panel).endswith("</svg>")
                assert "NaN" not in draw(panel)
                assert "nan" not in draw(panel)


@pytest.mark.parametrize(
    ("scale", "counted"),
    [(FROM_START, "k"), (FROM_END, "k - (select n_steps from traces t where t.trace_id = s.trace_id)")],
)
def test_steps_are_counted_from_the_start_and_from_the_end(folder, scale, counted):
    """Every point is the mean that SQL finds over the traces that are so long."""
    with open_db(folder / "runs.db", readonly=True) as db:
        runs = [RunFacts(db, db.runs()[0]["run_id"])]
        (panel,) = along("curves", runs, db, scale)
        (gain,), (auroc,) = (along(kind, runs, db, scale) for kind in ("gain", "auroc"))
    sql = f"select correct, {counted}, avg(entropy), count(*) from step_entropy s where run_id = '{runs[0].run_id}'"
    found = {(right, at): (mean, n) for right, at, mean, n in query(folder / "runs.db", f"{sql} group by 1, 2")}
    for line in panel.lines:
        for x, y, n in zip(line.x, line.y, line.n, strict=True):
            assert (pytest.approx(y), n) == found[int(line.name == "right"), x]
    assert {tuple(line.x) for one in (panel, gain, auroc) for line in one.lines} == {tuple(panel.lines[0].x)}
    assert 0 in panel.lines[0].x
    assert {one.x_label for one in (panel, gain, auroc)} == {scale.x_label}


def test_ticks_of_steps_are_whole_and_those_of_shares_reach_from_0_to_1():
    assert place_ticks([-3, -2, -1, 0]) == [-3, -2, -1, 0]
    assert place_ticks([0.0, 0.5]) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    for most in range(2, 13):
        rungs = place_ticks(range(-most, 1))
        assert place_ticks(range(most + 1)) == [-x for x in reversed(rungs)]
        assert all(x == int(x) for x in rungs)
        assert rungs[0] <= -most < rungs[1]
        assert len(rungs) <= 8


def test_figures_along_the_reasoning_have_a_switch_and_others_none(text):
    assert len(re.findall('<p class="scales"', text)) == 5  # three runs' curves, gain and AUROC
    for name in ("curves-3-start", "curves-3-end", "gain-1-start", "gain-1-end", "auroc-1-end"):
        assert f'data-csv="{name}"' in text
        assert name in unpacked(text, "index")["csv"]


def test_runs_of_one_task_are_set_side_by_side(folder, text):
    with open_db(folder / "runs.db", readonly=True) as db:
        first, *others = [RunFacts(db, row["run_id"]) for row in db.runs()]
    others[0].traces = replace(first.traces, wrong=first.traces.wrong | True)
    found = differences([first, *others])
    assert found[0].startswith("abacus-sft F16 is right less often than abacus-base F16: -66.7 points [")
    assert "cannot be told apart: +0.0 points" in found[1]
    assert "Differences between the runs" in text


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.87), (-3, 4), (0, 1e-3), (2, 2000)])
def test_ticks_are_round_and_span_the_range(low, high):
    found = ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 3 <= len(found) <= 8


def test_runs_of_one_model_are_named_by_the_settings_that_differ():
    first = {"task": "sums", "lanes": 8, "seed": 0}
    assert differing([first, first | {"task": "words"}]) == ["sums", "words"]
    assert differing([first, first | {"lanes": 16, "chunk": 3}]) == ["lanes 8", "lanes 16"]
    assert differing([first, first | {"task": "words"}, first | {"seed": 1}]) == [
        "sums, seed 0",
        "words",
        "sums, seed 1",
    ]
    assert differing([first, first | {"chunk": 3}]) == ["", ""]


def test_runs_of_equal_names_get_distinct_names_and_a_run_counts_once(tmp_path):
    runs = made(tmp_path / "runs.db", n_runs=4, n_problems=6)  # the fourth is of the first's model and quant
    with open_db(tmp_path / "runs.db", readonly=True) as db:
        names = [run.name for run in facts(db, [*runs, runs[0]])]
    assert names == ["abacus-base F16 (0012)", "abacus-sft F16", "abacus-sft Q4_K_M", "abacus-base F16 (3012)"]


def test_runs_of_different_tasks_are_never_in_one_figure(folder):
    with open_db(folder / "runs.db", readonly=True) as db:
        runs = facts(db, [row["run_id"] for row in db.runs()])
        runs[2].summary = replace(runs[2].summary, task="others")
        found = {kind: panels(kind, runs, db) for kind in ("gain", "auroc", "quant")}
    assert [panel.title for panel in found["quant"]] == ["Accuracy by run: sums"]
    assert [[line.name for line in panel.lines] for panel in found["gain"]] == [
        ["abacus-base F16", "abacus-sft F16"], ["abacus-sft Q4_K_M"],
    ]  # fmt: skip
    assert [panel.title.split(": ")[1] for panel in found["auroc"]] == ["sums", "others"]


def test_the_key_of_a_figure_stays_inside_it():
    lines = [Line(f"a model with a long name, number {i}", "0", [0], [0], [0], [0], [1]) for i in range(5)]
    rows = key_rows(lines)
    assert [line for row in rows for line in row] == lines
    assert all(LEFT + sum(34 + 6.6 * len(line.name) for line in row) <= WIDTH for row in rows)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.033050764, "0.03305"), (1.6e-7, "1.6e-07"), (2847, "2,847"), (None, "-")]
)
def test_cells_are_short(value, shown):
    assert as_cell(value) == shown


def test_every_mechanism_is_explained(text):
    from localent.analysis.profile import MEANING, RIGHT, WRONG

    assert tuple(MEANING) == (*RIGHT, *WRONG)
    assert all(f"<dt>{name}</dt><dd>{meaning}</dd>" in text for name, meaning in MEANING.items())


def test_accuracy_is_listed_by_model_as_given_and_within_it_by_bits(tmp_path):
    first, tuned, quant = made(tmp_path / "runs.db", n_runs=3, n_problems=6)
    with open_db(tmp_path / "runs.db", readonly=True) as db:
        (panel,) = panels("quant", facts(db, [quant, first, tuned]), db)
    assert panel.labels == ("abacus-sft F16, 16 bits", "abacus-sft Q4_K_M, 4.9 bits", "abacus-base F16, 16 bits")


def test_a_thousand_traces_of_two_hundred_tokens_stay_under_3_mb_and_the_figure_comes_first(tmp_path):
    """A hundred of them are packed and multiplied; their measures are random, and so take more room than a model's."""
    runs = made(tmp_path / "runs.db", n_problems=100, n_steps=16)
    with open_db(tmp_path / "runs.db", readonly=True) as db:
        n_tokens = sum(db.traces(runs[0], ("n_tokens",))["n_tokens"])
        n_bytes = write_page(db, runs, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    packed = sum(map(len, re.findall(r'<script type="text/plain" id="\w+">([A-Za-z0-9+/=]*)</script>', page)))
    assert packed * 200_000 / n_tokens + n_bytes - packed < 3e6
    assert page.index("<figure") < page.index('type="text/plain"')
    assert page.index("<figure") < 100_000
