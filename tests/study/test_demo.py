"""The demo's story: every part on the real bundled models, the second time nothing but printing; words that follow."""

import json
import re
import sqlite3
from contextlib import closing
from importlib import import_module
from types import SimpleNamespace as Made

import pytest
from click.testing import CliRunner
from helpers import synthetic
from helpers.made import made

from localent import study
from localent.analysis.family import MECHANISM
from localent.analysis.intervals import Resampling
from localent.analysis.quantities import Figure
from localent.cli import main
from localent.cli.progress import Bar
from localent.compare.verdict import Aspect, Check, Verdict
from localent.report import demo as report
from localent.report import table
from localent.runs import Progress
from localent.store import open_db
from localent.study import demo as tour


def demo(db, *arguments):
    done = CliRunner().invoke(main, ["demo", "-n", "2", "--threads", "1", "--db", str(db), *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def content(db):
    """Every row of a database."""
    with closing(sqlite3.connect(db)) as connection:
        return list(connection.iterdump())


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A database of the whole demo on two problems, and what was printed in full."""
    db = tmp_path_factory.mktemp("tour") / "demo.db"
    return db, demo(db, "--full")


def test_the_demo_tells_the_whole_story_in_100_columns(told):
    _, text = told
    words = " ".join(text.split())
    for part in ("1. The main job", "2. What training changes", "3. What quantization changes", "Next:"):
        assert part in text
    for name in (*study.family(), *tour.QUANTS, "noise floor"):
        assert name.removeprefix("abacus-") in text
    assert words.count("How to read it:") == 4
    assert MECHANISM in words
    assert max(len(line) for line in text.partition("Next:")[0].splitlines()) <= 100


def test_a_second_time_it_only_prints(told, monkeypatch):
    db, text = told
    before = content(db)
    modules = {"localent.runs.progress": "drive", "localent.compare.teacher_forcing": "score"}
    modules |= {"localent.compare.prefixes": "drive"}
    for module, work in modules.items():
        monkeypatch.setattr(import_module(module), work, lambda *_, **__: pytest.fail("something was made again"))
    assert demo(db, "--full") == text
    assert content(db) == before


def test_the_demo_is_some_twenty_lines_of_80_columns(told):
    """A trace with the answers beside its steps, a chart, a sentence on each part, and a command that goes on."""
    db, _ = told
    text = demo(db)
    lines = text.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines[:-1])) <= 80
    assert lines[0].startswith("abacus-sft, ⟨token⟩: entropy ≥ 1.1 nats")
    assert "(before the first step)" in text
    assert re.search(r"^The answer is .*(right|wrong: .* is true)$", text, re.MULTILINE)
    assert "answer entropy, nats, over the steps of 2 traces" in text
    words = " ".join(text.split())
    assert re.search(r"Training, early, base, sft, rl: the reasoning gains .* nats about the answer; more from", words)
    assert "early to rl: " in words
    assert "Quants, Q8_0 to Q2_K: KLD " in words
    assert "Told apart from F16 by " in words
    assert re.search(rf"report --db {re.escape(str(db))}  # or: \S+ demo --full$", lines[-1])


def test_the_demo_tells_which_part_it_is_at(told):
    done = CliRunner().invoke(main, ["demo", "-n", "2", "--threads", "1", "--db", str(told[0])])
    assert [line for line in done.stderr.splitlines() if " of 3" in line] == [
        "1 of 3: a tiny model reasons", "2 of 3: what training changes", "3 of 3: what quantization changes",
    ]  # fmt: skip


def test_the_demo_keeps_what_the_page_shows_on_hover(told):
    with closing(sqlite3.connect(told[0])) as connection:
        kept = "select count(distinct run_id) from traces join alternatives using (trace_id)"
        runs = connection.execute("select count(*) from runs").fetchone()
        assert connection.execute(kept).fetchone() == runs


def test_a_part_alone_is_told_alone(told):
    text = demo(told[0], "--part", "stages")
    assert text.startswith("Training, ")
    assert "Quants" not in text


def test_the_demo_in_colour_has_the_same_text(told):
    plain, colour = demo(told[0], "--no-color"), demo(told[0], "--color")
    text = re.sub(r"\x1b\[[0-9;]*m", "", colour)
    assert "\x1b[48;5;" in colour
    assert text.splitlines()[9:] == plain.splitlines()[9:]


def test_full_and_json_leave_the_colours_out(told):
    done = CliRunner().invoke(main, ["demo", "--json", "--full", "--db", str(told[0])])
    assert (done.exit_code, "--json does not use --full: leave it out." in done.stderr) == (2, True)


def test_the_typical_trace_is_the_one_nearest_to_the_mean_of_right_ones(tmp_path):
    """By brute force, over the right traces of three steps."""
    from localent.analysis import load
    from localent.analysis.typical import typical

    (run,) = made(tmp_path / "runs.db", n_problems=40)
    with open_db(tmp_path / "runs.db", readonly=True) as db:
        found = typical(load.probes(db, run).own)
        rows = db.query(
            "select trace_id, entropy from probes join traces using (trace_id) where correct and n_steps = 3 order by k"
        )
    courses = {}
    for row in rows:
        courses.setdefault(row["trace_id"], []).append(row["entropy"])
    mean = [sum(column) / len(courses) for column in zip(*courses.values(), strict=True)]
    distance = {i: sum((h - m) ** 2 for h, m in zip(course, mean, strict=True)) for i, course in courses.items()}
    assert found == sorted(courses, key=distance.get)


def test_all_of_it_as_json(told):
    found = json.loads(demo(told[0], "--json"))
    assert list(found) == ["main", "stages", "quants"]
    assert {s["model"] for s in found["stages"]["stages"]} == set(study.family())
    assert all(s["accuracy"]["n"] == 2 for s in found["stages"]["stages"])
    quants = [c["model"]["quant"] for c in found["quants"]["candidates"]]
    assert quants == list(tour.QUANTS)
    klds = {
        c["model"]["quant"]: next(f["value"] for f in c["forced"]["figures"] if f["name"] == "Mean KLD")
        for c in (*found["quants"]["candidates"], found["quants"]["noise"] | {"model": {"quant": "noise"}})
    }
    assert klds["noise"] < klds["Q8_0"] < klds["Q4_K_M"] < klds["Q2_K"]
    assert list(json.loads(demo(told[0], "--part", "stages", "--json"))) == ["stages"]


def test_the_bar_begins_anew_with_each_run(monkeypatch, capsys):
    """Stages are runs one after the other: the second one's name, and its own count, also where it is as long."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Bar() as bar:
        for name in ("early on sums", "base on sums"):
            for n_done in range(4):
                bar(Progress(n_done, 3, 10 * n_done, None, name))
    shown = capsys.readouterr().err
    for name in ("early on sums", "base on sums"):
        assert f"{name}:   0%" in shown
        assert f"{name}: 100%" in shown


def test_a_rate_is_that_of_this_stage_and_waits_until_there_is_one(monkeypatch, capsys):
    """At the first tick no time has passed: no 12,000,000,000 tok/s, and traces of before are no part of the rate."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Bar() as bar:
        bar(Progress(5000, 10000, 12, None, "base on sums"))
        first = capsys.readouterr().err
        bar._start -= 2.0
        bar(Progress(10000, 10000, 212, None, "base on sums"))
    assert "5000/10000" in first
    assert "tok/s" not in first
    assert not re.search(r"\d{3}trace/s|inf", first)
    assert "106 tok/s" in capsys.readouterr().err


# --- words and tables -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Two stages: one whose reasoning gathers nothing, one whose reasoning gathers a lot."""
    path = tmp_path_factory.mktemp("stages") / "stages.db"
    laws = {"abacus-early": synthetic.Law(), "abacus-sft": synthetic.Law(gain=3.0, gain_wrong=-1.0)}
    runs = [
        study.ModelRun(name, "demo-choice", synthetic.write(path, law, name=name, task="demo-choice"))
        for name, law in laws.items()
    ]
    with open_db(path) as db:
        return study.analyse(db, runs, resampling=Resampling(200))


def test_words_on_stages_follow_the_verdicts(judged):
    gathers, increases, _ = report.stage_sentences(judged)
    assert "early smaller than 0.1 nats a trace, sft supported" in gathers
    assert increases == "On demo-choice, training increases that gain: early -> sft supported."


def test_tables_of_stages(judged):
    columns, rows = report.gain_table(judged.subjects)
    assert [row[0] for row in rows] == ["choice, early", "choice, sft"]
    curve = judged.subjects[1].signatures.gain
    assert rows[1][columns.index("gained by the end")].startswith(f"{curve.value[-1]:.2f} [{curve.low[-1]:.2f}")
    columns, outcomes = report.outcome_table(judged)
    assert outcomes[1][columns.index("AUROC half-way*")].startswith(f"{judged.subjects[1].auroc_half_any.value:.2f}")
    for shown in (report.gain_table(judged.subjects), report.outcome_table(judged)):
        assert max(map(len, table.table(*shown, max_width=None).splitlines())) <= 100


def quant(name, bits, kld):
    return Made(model=Made(quant=name, bits_per_weight=bits), forced={"Mean KLD": Figure("Mean KLD", kld)})


def test_the_order_of_klds_is_said_as_it_is():
    rising = [quant("Q2_K", 3, 0.1), quant("Q8_0", 8, 0.001), quant("Q4_K_M", 5, 0.01)]
    assert "rises at every step from Q8_0 to Q2_K" in report.order_sentence(rising)
    assert "see Q4_K_M (0.2) and Q2_K (0.1)" in report.order_sentence([*rising[:2], quant("Q4_K_M", 5, 0.2)])


def test_aspects_are_listed_by_their_records_not_by_their_sentences(monkeypatch):
    """A title with a bracket in it, and one that begins as a sentence might."""
    nats, its = Aspect("entropy", "entropy (nats)", "its "), Aspect("its", "its length")
    said = [
        Verdict(name, (Check(nats, name == "Q2_K", "0.1"), Check(its, False, "0")), False) for name in ("Q8_0", "Q2_K")
    ]
    monkeypatch.setattr(report, "verdicts", lambda *_: said)
    found = report.told_apart(Made(candidates=[None, None], noise=None, reference=Made(quant="F16")))
    assert set(found) == {
        "Quants that can be told apart from F16 by entropy (nats): Q2_K.",
        "Quants that can be told apart from F16 by its length: none.",
    }


def test_small_klds_keep_their_digits():
    assert report.kld_cell(Figure("Mean KLD", 3.5e-7, low=1e-7, high=1e-6)) == "3.5e-07"
    assert report.kld_cell(Figure("Mean KLD", 0.0)) == "0.00000"
    assert report.kld_cell(Figure("Mean KLD", 0.0123456, low=0.01, high=0.02)) == "0.01235 [0.01000, 0.02000]"
