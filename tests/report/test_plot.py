"""Figures for paper: every kind, in every format, the same file for the same data."""

from __future__ import annotations

import re

import pytest
from helpers.made import made
from helpers.runs import call

from localent.cli.plot import FIGURES
from localent.report.panels import KINDS, Line, Panel

pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'localent[plot]'")


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("plot") / "runs.db"
    made(path, n_runs=3, n_problems=30)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(db, tmp_path, kind):
    code, out, _ = call("plot", "--kind", kind, "-o", tmp_path / "f.svg", "--db", db)
    assert code == 0
    assert "f.svg: " in out
    text = (tmp_path / "f.svg").read_text()
    assert text.startswith("<?xml")
    assert "<text" not in text  # letters are drawn as paths: no font is needed where it is opened


def test_pdf_and_png_carry_their_fonts_and_size(db, tmp_path):
    call("plot", "0012", "-o", tmp_path / "f.pdf", "--db", db)
    call("plot", "0012", "-o", tmp_path / "f.png", "--db", db)
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    width = int.from_bytes((tmp_path / "f.png").read_bytes()[16:20])
    assert width > 1000


def test_the_same_data_gives_the_same_file(db, tmp_path):
    for name in ("a.svg", "b.svg"):
        call("plot", "--kind", "gain", "-o", tmp_path / name, "--db", db)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_captions_state_n_and_interval(db):
    from localent.report.panels import RunFacts, panels
    from localent.store import open_db

    with open_db(db, readonly=True) as store:
        runs = [RunFacts(store, row["run_id"]) for row in store.runs()]
        for kind in KINDS:
            for panel in panels(kind, runs, store):
                assert re.search(r"n = 30 traces", panel.caption)
                assert "interval" in panel.caption or "[" in panel.caption


def test_names_with_signs_of_formulas_are_text(tmp_path):
    from localent.report.figures import save_figure

    line = Line("a$b_{c}", "0", [0.0, 1.0], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], [3, 3])
    save_figure([Panel("gain", "model $x^2$ and $", "x", "y", (line,), "100 % $")], tmp_path / "f.png")


def test_wrong_endings_and_lacking_data_are_one_sentence(db, tmp_path):
    code, _, err = call("plot", "-o", tmp_path / "f.gif", "--db", db)
    assert (code, "must end in .svg, .png, .pdf" in err) == (2, True)
    code, _, err = call("plot", "0012", "--kind", "quant", "-o", tmp_path / "f.svg", "--db", db)
    assert (code, "it needs two runs or more" in err) == (1, True)
    code, _, err = call("plot", "-o", tmp_path / "none" / "f.svg", "--db", db)
    assert (code, "Cannot write" in err) == (1, True)


def test_the_command_knows_the_kinds_there_are():
    assert FIGURES == KINDS
