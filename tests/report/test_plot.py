"""Figures for paper: every kind, in every format, the same file for the same data."""

from __future__ import annotations

import re

import pytest
from helpers.made import made
from helpers.runs import call

from localent.cli.plot import OF_COMPARISONS, OF_RUNS
from localent.report import quant_panels
from localent.report.outcome_panels import KINDS, panels
from localent.report.panels import Line, Panel, RunFacts
from localent.store import open_db

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
    assert OF_RUNS == KINDS
    assert OF_COMPARISONS == quant_panels.KINDS


def test_fourteen_runs_have_fourteen_styles_and_their_names_beside_the_axes():
    from localent.report.figures import drawn, style_of

    points = ([0.0, 1.0], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], [3, 3])
    lines = tuple(Line(f"run {i}", str(i), *points) for i in range(14))
    assert len({style_of(line)[:2] for line in lines}) == 14
    figure = drawn([Panel("gain", "a title", "x", "y", lines, "a caption")])
    figure.draw_without_rendering()
    (axis,) = figure.axes
    legend = axis.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [line.name for line in lines]
    assert legend.get_window_extent().x0 >= axis.get_window_extent().x1


def test_panels_of_many_runs_share_an_axis(db):
    from localent.report.figures import drawn

    with open_db(db, readonly=True) as store:
        figure = drawn(panels("curves", [RunFacts(store, row["run_id"]) for row in store.runs()], store))
    assert len({axis.get_ylim() for axis in figure.axes[:3]}) == 1


def test_a_figure_has_the_width_letters_title_and_caption_asked_for(db):
    from localent.report.figures import Look, drawn

    with open_db(db, readonly=True) as store:
        found = panels("gain", [RunFacts(store, row["run_id"]) for row in store.runs()], store)
    plain, own = drawn(found), drawn(found, Look(width=3.3, title="Mine", caption=False))
    assert own.get_figwidth() == 3.3
    assert own.get_figheight() / own.get_figwidth() == pytest.approx(plain.get_figheight() / plain.get_figwidth())
    assert (own.axes[0].get_title(loc="left"), len(own.axes[0].texts)) == ("Mine", 0)
    assert "n = " in plain.axes[0].texts[0].get_text()
    assert drawn(found, Look(title="")).axes[0].get_title(loc="left") == ""


def test_the_roc_curve_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    import numpy as np

    from localent.analysis.metrics import auroc, roc

    rng = np.random.default_rng(3)
    wrong = rng.random(200) < 0.4
    scores = np.round(rng.normal(size=200) + wrong, 1)  # with ties
    alarms, hits = roc(scores, wrong)
    expected = metrics.roc_curve(wrong, scores, drop_intermediate=False)
    np.testing.assert_allclose(alarms, expected[0])
    np.testing.assert_allclose(hits, expected[1])
    assert np.trapezoid(hits, alarms) == pytest.approx(auroc(scores, wrong))


def test_reliability_is_counted_by_hand(db):
    """In the made-up run the leader at the end is right wherever the trace is."""
    with open_db(db, readonly=True) as store:
        run = RunFacts(store, store.runs()[0]["run_id"])
        ((panel),) = panels("reliability", [run], store)
        rows = store.query(
            "select max(prob) as p from probes join traces using (trace_id) join answers using (trace_id, k, estimator)"
            " where run_id = ? and position = 1 group by trace_id order by p",
            run.run_id,
        )
    dots = panel.lines[0]
    assert sum(dots.n) == 30
    assert dots.x[0] == pytest.approx(sum(row["p"] for row in rows[:3]) / 3)
    assert dots.x == sorted(dots.x)
    assert panel.lines[1].y == [0.0, 1.0]


def test_points_that_the_search_limits_are_hollow():
    from localent.report.figures import drawn
    from localent.report.svg import draw

    points = ([0.0, 0.5, 1.0], [3.0, 2.0, 1.0], [2.0] * 3, [4.0] * 3, [5] * 3)
    panel = Panel("curves", "t", "x", "y", (Line("wrong", "wrong", *points, open=(True, False, False)),), "c")
    assert draw(panel).count("hollow") == 1
    assert "wrong, at 0.5: 2.000 [2.000, 4.000], n = 5" in draw(panel)
    hollow = [line for line in drawn([panel]).axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[0.0]]


def test_values_from_the_end_are_those_of_the_steps_before_the_last(db):
    import numpy as np

    with open_db(db, readonly=True) as store:
        run = RunFacts(store, store.runs()[0]["run_id"])
        found = run.by_id.from_end(run.by_id.p_true, range(-3, 1))
        for row, trace_id in zip(found, run.by_id.trace_ids.tolist(), strict=True):
            probes = {probe.k: probe.p_true for probe in store.trace(trace_id).probes}
            expected = [probes.get(max(probes) + s, np.nan) for s in range(-3, 1)]
            np.testing.assert_array_equal(row, expected)
    assert np.isnan(found[:, 0]).any()  # short traces do not reach so far back


def test_accuracy_by_tokens_is_counted_by_hand(db):
    """Stopped after so many tokens: the answer that leads at the last probe before, or the trace's own."""
    with open_db(db, readonly=True) as store:
        run = RunFacts(store, store.runs()[0]["run_id"])
        (panel,) = panels("tokens", [run], store)
        (line,) = panel.lines
        rows = [store.trace(trace_id) for trace_id in run.traces.trace_ids.tolist()]
        for budget, share in zip(line.x, line.y, strict=True):
            right = 0
            for row in rows:
                truth = next(p.answer for p in store.problems("sums") if p.problem_id == row.problem_id)
                last = max((p for p in row.probes if p.n_tokens <= budget), key=lambda p: p.k)
                right += row.correct if len(row.tokens) <= budget else last.leader == truth
            assert share == pytest.approx(right / len(rows))
    assert line.x[0] == 0
    assert len(set(line.y)) > 3


def test_accuracy_by_tokens_of_a_run_without_probes_is_a_point(tmp_path):
    import sqlite3
    from contextlib import closing

    made(tmp_path / "runs.db", n_problems=30)
    with closing(sqlite3.connect(tmp_path / "runs.db")) as conn, conn:
        conn.execute("delete from answers"), conn.execute("delete from probes")
        (mean,) = conn.execute("select avg(n_tokens) from traces").fetchone()
    with open_db(tmp_path / "runs.db", readonly=True) as store:
        (panel,) = panels("tokens", [RunFacts(store, store.runs()[0]["run_id"])], store)
    assert (panel.lines[0].x, panel.lines[0].y) == ([pytest.approx(mean)], [pytest.approx(2 / 3)])


def test_without_a_kind_the_figure_fits_the_number_of_runs(db, tmp_path):
    assert "Answer entropy: " in call("plot", "0012", "-o", tmp_path / "f.svg", "--db", db)[1]
    code, out, _ = call("plot", "-o", tmp_path / "f.svg", "--db", db)
    assert (code, out) == (0, f"{tmp_path / 'f.svg'}: Information gained about the true answer.\n")


@pytest.mark.parametrize("suffix", ["svg", "pdf", "png"])
def test_a_trace_is_drawn_as_a_strip(db, tmp_path, suffix):
    with open_db(db, readonly=True) as store:
        trace = store.traces("0012", ("trace_id",))["trace_id"][3]  # its text is hostile
    code, out, _ = call("plot", "--kind", "strip", "--trace", trace, "-o", tmp_path / f"f.{suffix}", "--db", db)
    assert (code, out) == (0, f"{tmp_path / f'f.{suffix}'}: trace {trace}.\n")
    assert (tmp_path / f"f.{suffix}").stat().st_size > 5000


def test_a_strip_shows_the_entropy_of_every_token_and_every_probe(db):
    from localent.report.figures import LOOK
    from localent.report.strip import drawn
    from localent.store import traces

    with open_db(db, readonly=True) as store:
        seen = traces.seen(store, store.traces("0012", ("trace_id",))["trace_id"][3])
    figure = drawn(seen, LOOK)
    strip, p_true, entropy, *_ = figure.axes
    assert strip.collections[0].get_array().ravel().tolist() == [token.entropy for token in seen.trace.tokens]
    probes = [p for p in seen.trace.probes if p.own]
    for axis, values in ((p_true, [p.p_true for p in probes]), (entropy, [p.entropy for p in probes])):
        dots = axis.lines[1]
        assert list(dots.get_xdata()) == [p.n_tokens for p in probes]
        assert list(dots.get_ydata()) == values


def test_a_strip_needs_a_trace_and_nothing_else_takes_one(db, tmp_path):
    for arguments, why in (
        (["--kind", "strip"], "--kind strip needs --trace"),
        (["0012", "--kind", "strip", "--trace", "1"], "--kind strip does not use RUN"),
        (["--trace", "1"], "A figure of runs does not use --trace"),
        (["--kind", "kld", "--trace", "1"], "--kind kld does not use --trace"),
    ):
        code, _, err = call("plot", *arguments, "-o", tmp_path / "f.svg", "--db", db)
        assert (code, why in err) == (2, True), err


def test_the_bands_of_many_curves_are_left_out_and_the_caption_says_so(db):
    from localent.report.figures import UNDRAWN, drawn
    from localent.report.panels import BAND

    points = ([0.0, 1.0], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5], [3, 3])
    for n, drawn_bands in ((6, 6), (7, 0)):
        lines = tuple(Line(f"run {i}", str(i), *points) for i in range(n))
        (axis,) = drawn([Panel("gain", "a title", "x", "y", lines, f"n = 3. {BAND}")]).axes
        assert len(axis.collections) == drawn_bands
        caption = axis.texts[0].get_text().replace("\n", " ")
        assert (BAND in caption, UNDRAWN in caption) == (n == 6, n == 7)


def test_steps_have_whole_ticks(db):
    from localent.report.figures import drawn

    with open_db(db, readonly=True) as store:
        (panel,) = panels("p-true-end", [RunFacts(store, store.runs()[0]["run_id"])], store)
    (axis,) = drawn([panel]).axes
    assert all(float(tick).is_integer() for tick in axis.get_xticks())
