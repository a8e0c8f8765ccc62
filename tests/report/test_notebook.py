"""In a notebook: TAB offers the public names, records show themselves, and nobody's text can act."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from helpers.made import HOSTILE, made

import localent
from localent.runs import Settings
from localent.store import open_db


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "runs.db"
    made(path, n_runs=2, n_problems=8)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("update models set name = name || ?", (HOSTILE,))
    with open_db(path, readonly=True) as store:
        yield store


def test_dir_is_the_api_and_each_name_is_there():
    assert dir(localent) == sorted(localent.__all__)
    assert {"ask", "run", "open_db", "figure", "compare_task", "write_page"} < set(dir(localent))
    for name in dir(localent):
        assert getattr(localent, name) is not None


def test_a_database_offers_what_reads_and_hides_what_writes(db):
    offered = {name for name in dir(db) if not name.startswith("_")}
    assert {"runs", "traces", "traces_frame", "trace", "query", "probes_frame", "close"} <= offered
    assert not [name for name in offered if name.startswith(("add_", "start_", "end_"))]
    assert callable(db.add_trace)


def test_a_database_shows_its_runs(db):
    html = db._repr_html_()
    assert html.count("<tr>") == 3
    assert "00123456789a" in html
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_a_run_shows_its_settings(db):
    html = db.run("0012")._repr_html_()
    assert "Run 00123456789a on sums" in html
    assert "<td>temperature</td><td>0.7</td>" in html


def test_a_comparison_shows_what_is_told_apart(monkeypatch):
    from localent.compare import Comparison
    from localent.report import compare

    monkeypatch.setattr(compare, "sentences", lambda c: [f"It differs {HOSTILE}."])
    html = Comparison(None, "base file", "base.kld", 3, (), None)._repr_html_()
    assert "Compared with a base file on base.kld" in html
    assert "<p>It differs &lt;script&gt;alert(1)&lt;/script&gt;.</p>" in html


def test_a_question_asked_in_a_notebook_is_a_trace_in_colour(bundled):
    settings = Settings(threads=1, gpu_layers=0)
    trace = localent.ask(
        str(bundled), "Mia had 12 books and bought 7 more. How many books?", answer="19", settings=settings
    )
    html = trace._repr_html_()
    assert re.search(r"<b>(right|wrong)</b>: answered", html)
    assert "answer entropy, nats" in html


def test_a_figure_is_drawn_in_place(db):
    pytest.importorskip("matplotlib")
    assert len(localent.figure(db, "roc").axes) == 2
