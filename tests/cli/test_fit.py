"""Tables fit the terminal: no row is wider, numbers are whole, and what is left out is named."""

from __future__ import annotations

import shutil

import pytest
from helpers.made import made
from helpers.runs import call

from localent.cli import main
from localent.cli.output import tell
from localent.report.fitting import fitted
from localent.report.table import text_width

WIDTHS = (60, 80, 120)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "runs.db"
    made(path, n_runs=3, n_problems=36, alternatives=3)
    return path


COMMANDS = [  # every command that prints a table and needs no work of a model first
    ("runs",), ("show",), ("show", "confident-mistakes"), ("sql", "select * from trace_summary limit 3"),
    ("sql", "hardest-problems"), ("sql", "--queries"), ("schema",), ("schema", "probes"), ("schema", "all"),
    ("signals", "0012"), ("replay", "0012"), ("calibrate", "0012"), ("export", "0012"),
    ("models", "--known"), ("models", "abacus-sft"), ("tasks",), ("tasks", "gsm8k"),
    ("inspect", "abacus-sft", "abacus-rl", "abacus-base"), ("doctor", "--quick"),
    ("prompt", "abacus-sft", "demo-number", "--cue", "sentence"), ("check",),
]  # fmt: skip
WITHOUT_DB = ("models", "tasks", "inspect", "doctor", "prompt")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_row_is_wider_than_the_terminal(words, db, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_db = () if words[0] in WITHOUT_DB or "--queries" in words else ("--db", db)
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        folder = ("-o", f"at-{width}") if words[0] == "export" else ()
        code, out, err = call(*words, *folder, *((db,) if words[0] == "check" else of_db))
        assert code == 0, err
        lines = out.splitlines()
        lines = lines[lines.index("") :] if words[0] == "prompt" else lines  # the prompt's own text is shown as it is
        lines = [line for line in lines if not line.startswith("  localent run ")]  # to be copied, so not wrapped
        assert [line for line in lines if text_width(line) > width] == []


def test_every_command_that_prints_a_table_is_tried():
    """The others make traces first (their tables are tried below), or print none."""
    tried = {words[0] for words in COMMANDS}
    others = {"demo", "run", "ask", "score", "study", "compare", "quantize", "merge", "report", "plot", "serve", "pull"}
    others |= {"choose", "importance", "scrub", "view"}
    assert set(main.commands) - {"help"} == tried | others


@pytest.mark.parametrize("width", WIDTHS)
def test_the_summary_of_a_run_fits(db, width, monkeypatch, capsys):
    from localent.cli.output import show_summary, summary_of

    monkeypatch.setenv("COLUMNS", str(width))
    show_summary(summary_of(db, "0012"))
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if text_width(line) > width] == []
    assert ("p(true)" in out, "above length's" in out) == (width >= 80, width >= 80)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_tables_of_a_study_fit(width, tmp_path, monkeypatch, capsys):
    from helpers import synthetic

    from localent import study
    from localent.analysis.intervals import Resampling
    from localent.cli.study import Output, print_study

    run_id = synthetic.write(tmp_path / "s.db", synthetic.Law(gain=3.0), name="abacus-sft", task="demo-choice")
    from localent.store import open_db

    with open_db(tmp_path / "s.db") as store:
        runs = [study.ModelRun("abacus-sft", "demo-choice", run_id)]
        found = study.analyse(store, runs, resampling=Resampling(100))
    monkeypatch.setenv("COLUMNS", str(width))
    print_study(found, Output(False, False, None))
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if text_width(line) > width] == []
    assert "verdict" in out


NAMES = ("signal", "kind", "AUROC", "PRR", "n", "reading")
ROWS = [
    ("mean entropy", "trace", "0.799 [0.742, 0.843]", "0.31", 300, "beyond length and question"),
    ("length in tokens", "baseline", "0.845 [0.792, 0.884]", "0.52", 300, "baseline"),
]


def test_the_least_important_columns_go_first_and_are_named():
    found = fitted(NAMES, ROWS, 60)
    assert found.hidden == ["kind", "PRR", "n"]
    assert found.text.splitlines()[0].split() == ["signal", "AUROC", "reading"]


def test_what_is_the_same_in_every_row_is_said_once():
    """A study of one model: its long name leaves no room for the claims."""
    names = ("model", "claim", "verdict")
    rows = [("models/a-long-name.gguf", f"exceeds control: {name}", "undecided") for name in ("a", "b", "c")]
    found = fitted(names, rows, 52)
    heading, head, _, *body = found.text.splitlines()
    assert (heading, found.hidden) == ("model: models/a-long-name.gguf; verdict: undecided", [])
    assert (head, body) == ("claim", ["exceeds control: a", "exceeds control: b", "exceeds control: c"])
    assert "claim" in fitted(names, rows[:2], 52).text.splitlines()[0]


def test_a_single_row_is_written_downwards():
    found = fitted(
        ("task", "accuracy", "of controls"), [("gsm8k", "0.24 [0.14, 0.38]", "shuffled -0.03, filler 0.02")], 40
    )
    assert found.hidden == []
    assert found.text.splitlines() == [
        "task         gsm8k",
        "accuracy     0.24 [0.14, 0.38]",
        "of controls  shuffled -0.03, filler 0.02",
    ]


def test_an_interval_is_whole_or_not_there():
    for width in range(8, 100):
        for line in fitted(NAMES, ROWS, width).text.splitlines():
            assert "[" not in line or "0.799 [0.742, 0.843]" in line or "0.845 [0.792, 0.884]" in line


@pytest.mark.parametrize("width", range(8, 90, 7))
def test_any_table_fits_any_width(width):
    rows = [("日本語のモデル", 1.5, "a" * 50), ("é" * 30, None, "two words and more of them " * 3)]
    for names in (("name", "x", "about"), ("name", "x", "path")):
        assert max(map(text_width, fitted(names, rows, width).text.splitlines())) <= width


def test_sentences_are_continued_and_paths_keep_their_ends():
    rows = [("a", "one two three four five six seven", "/home/me/models/qwen2.5-0.5b-Q4_K_M.gguf"), ("b", "one", "b")]
    text = fitted(("name", "about", "path"), rows, 44).text
    assert text.splitlines()[2:] == [
        "a     one two three four    ….5b-Q4_K_M.gguf",
        "      five six seven",
        "b     one                   b",
    ]


def test_many_undefined_rows_become_one_line():
    rows = [*ROWS, *((f"signal {i}", "step", "-", "-", 0, "undefined") for i in range(3))]
    found = fitted(NAMES, rows, None)
    assert found.undefined == ["signal 0", "signal 1", "signal 2"]
    assert "undefined" not in found.text
    assert "undefined" in fitted(NAMES, rows[:-1], None).text


def test_what_is_left_out_is_told_with_the_way_to_see_it(db, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = call("sql", "select * from trace_summary limit 3", "--db", db)
    assert "Not shown for lack of room: " in out
    assert "--wide shows all." in " ".join(out.split())
    _, wide, _ = call("sql", "select * from trace_summary limit 3", "--db", db, "--wide")
    assert "Not shown" not in wide
    assert "mean_entropy" in wide.splitlines()[0]


def test_a_pipe_gets_all_of_it(db, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = call("sql", "select * from trace_summary limit 3", "--db", db)
    assert "Not shown" not in out


def test_a_column_without_any_value_is_not_said_above():
    rows = [[f"policy {i}", "-", "all", "x" * 60] for i in range(4)]
    found = fitted(["policy", "vs majority", "answered", "note"], rows, 50)
    assert "answered: all" in found.text
    assert "majority" not in found.text


def test_what_a_command_did_fits_too(db, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    shutil.copy(db, "runs.db")
    _, said, _ = call("scrub", "runs.db", "-o", "clean.db")
    assert max(map(text_width, said.splitlines())) <= 60
    assert "folders and names of machines" in " ".join(said.split())


def test_a_sentence_that_goes_to_a_file_stays_one_line(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    tell("word " * 40, "more")
    assert capsys.readouterr().out.count("\n") == 2
