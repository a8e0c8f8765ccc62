"""Figures of comparisons, and a page of a database that holds nothing else."""

from pathlib import Path

import pytest
from helpers.runs import call

from localent.compare import Plan, compare_text
from localent.engine import QuantizeOptions, quantize
from localent.report import quant_panels
from localent.report.panels import Panel
from localent.report.svg import draw
from localent.store import open_db

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"
MODEL, TEXT = GOLDEN / "tiny-f16.gguf", GOLDEN / "text.txt"


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quants")
    for quant in ("Q8_0", "Q4_0"):
        quantize(MODEL, folder / f"tiny-{quant}.gguf", quant, QuantizeOptions(n_threads=1))
    names = [str(MODEL), *(str(folder / f"tiny-{quant}.gguf") for quant in ("Q8_0", "Q4_0"))]
    done = compare_text(names, TEXT, db=folder / "c.db", plan=Plan(ctx=64, threads=1, noise=False))
    return folder / "c.db", done


@pytest.mark.parametrize("kind", quant_panels.KINDS)
def test_every_kind_shows_what_the_comparison_found(db, kind):
    path, done = db
    with open_db(path, readonly=True) as store:
        (panel,) = quant_panels.panels(kind, store)
    assert isinstance(panel, Panel)
    assert "tiny-f16.gguf, text text.txt" in panel.title
    assert "434 positions" in panel.caption
    svg = draw(panel)
    assert "tiny-Q4_0.gguf" in svg
    klds = [one.forced["Mean KLD"].value for one in done.candidates]
    if kind == "kld":
        assert list(panel.lines[0].x) == sorted(klds)
    if kind == "pareto":
        assert sorted(10 ** line.y[0] for line in panel.lines[1:]) == pytest.approx(sorted(klds))
        assert len(panel.lines[0].x) == 2  # fewer bits, further away: neither beats the other
    if kind == "depth":
        assert sum(panel.lines[0].n) == 434


def test_the_line_of_those_that_no_other_beats():
    assert quant_panels.pareto([(1, 5.0), (2, 6.0), (3, 2.0), (4, 2.0), (5, 1.0)]) == [0, 2, 4]


def test_a_database_of_comparisons_alone_gives_figures_and_a_page(db, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'localent[plot]'")
    path, _ = db
    for kind in quant_panels.KINDS:
        code, out, _ = call("plot", "--kind", kind, "-o", tmp_path / f"{kind}.svg", "--db", path)
        assert (code, f"{kind}.svg: " in out) == (0, True)
    code, out, _ = call("report", "--db", path, "-o", tmp_path / "r.html")
    assert (code, "0 runs." in out) == (0, True)
    page = (tmp_path / "r.html").read_text()
    assert page.count("<svg") == 3
    assert "tiny-Q4_0.gguf" in page
    assert " Q4_0</td>" in page
    code, _, err = call("plot", "0012", "--kind", "pareto", "--db", path)
    assert (code, "--kind pareto does not use RUN" in err) == (2, True)


def test_a_database_without_comparisons_says_so(tmp_path):
    open_db(tmp_path / "e.db").close()
    code, _, err = call("plot", "--kind", "kld", "-o", tmp_path / "f.svg", "--db", tmp_path / "e.db")
    assert (code, "has no comparison with data for 'kld'" in err) == (1, True)
    code, _, err = call("report", "--db", tmp_path / "e.db")
    assert (code, "has no run" in err) == (2, True)
