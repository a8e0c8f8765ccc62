"""The page in a real browser while a run writes to the database."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
from helpers import written
from helpers.browser import needed, session
from helpers.made import HOSTILE, made
from helpers.runs import SETTINGS

from localent import runs, tasks
from localent.runs import Listener
from localent.store import open_db

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'localent[view]'")
pytest.importorskip("starlette", reason="starlette is not installed: pip install 'localent[view]'")
pytestmark = needed
N, HALF = 12, 5  # traces of the run, and when it is held up


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with session(tmp_path_factory.mktemp("profile")) as running:
        running.view(1200, 900)
        yield running


class Held:
    """A run of the scripted model in a thread, which waits after some traces until it is told to go on."""

    def __init__(self, path, bundled) -> None:
        self.path, self.bundled, self.reached, self.go_on = path, bundled, threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with written.model(self.bundled):
            task = tasks.load("demo-number").first(N)
            runs.run(str(self.bundled), task, db=self.path, settings=SETTINGS, listener=Listener(self.told))

    def told(self, progress) -> None:
        if progress.trace is not None and progress.n_done == HALF:
            self.reached.set()
            assert self.go_on.wait(300)

    def end(self) -> None:
        self.go_on.set()
        self.thread.join()


@contextmanager
def held(path, bundled):
    run = Held(path, bundled)
    run.thread.start()
    try:
        assert run.reached.wait(120)
        yield run
    finally:
        run.end()


def text(browser, selector: str) -> str:
    return browser.run("return document.querySelector(arguments[0]).innerText", selector)


def n_listed(browser) -> str:
    return text(browser, "#count")


def test_a_run_is_followed_while_it_works(browser, tmp_path, bundled, served):
    path = tmp_path / "runs.db"
    with held(path, bundled) as run, served(path) as address:
        browser.open(address)
        assert n_listed(browser) == f"{HALF} of {HALF} traces"
        assert text(browser, "#state") == "One run is at work."
        said = text(browser, "#work")
        assert f"{HALF} of {N} traces · " in said
        assert " tokens/s · " in said
        assert " right so far" in said
        bar = "const p = document.querySelector('#work progress'); return [p.value, p.max]"
        assert browser.run(bar) == [HALF, N]
        browser.run("document.querySelector('#newest button').click()")
        browser.wait("return !document.getElementById('trace').hidden")
        opened = browser.run("return location.hash")
        browser.wait("return document.querySelector('#analysis figure svg')")
        run.end()
        browser.wait(f"return document.getElementById('count').textContent === '{N} of {N} traces'")
        browser.wait("return document.getElementById('state').textContent.startsWith('No run is at work')")
        assert text(browser, "#work").split(" · ")[0].endswith(f"{N} traces")
        assert browser.run("return location.hash") == opened  # what was being read stays open
        assert len(browser.run("return [...document.querySelectorAll('#newest li')].map(li => li.dataset.i)")) == 5
        with open_db(path, readonly=True) as db:
            (right,) = (row["n"] for row in db.query("select sum(correct) as n from traces"))
        assert f"{100 * right / N:.1f} % [" in text(browser, "#work")


def test_new_findings_take_the_place_of_old_ones(browser, tmp_path, served, monkeypatch):
    from localent.view import analysis

    monkeypatch.setattr(analysis, "LEAST_S", 0.0)
    monkeypatch.setattr(analysis, "SHARE", 0)
    made(tmp_path / "runs.db", n_problems=12)
    with served(tmp_path / "runs.db") as address:
        browser.open(address)
        row = "const r = document.querySelector('.matrix tbody tr'); return r && r.innerText"
        assert "66.7 %" in browser.wait(row)
        with closing(sqlite3.connect(tmp_path / "runs.db")) as conn, conn:
            conn.execute("update traces set correct = 1")
        browser.wait(f"{row}.includes('100.0 %')")
        browser.run(
            "window.files = []; const make = URL.createObjectURL;"
            "URL.createObjectURL = (blob) => { blob.text().then((t) => window.files.push(t)); return make(blob); };"
            "document.querySelector('#analysis .csv').click()"
        )
        assert browser.wait("return window.files[0]").startswith("series,")


def test_links_lead_to_runs_and_traces(browser, tmp_path, served):
    made(tmp_path / "a.db", n_runs=2, n_problems=12)
    made(tmp_path / "b.db", n_problems=6)
    with open_db(tmp_path / "a.db", readonly=True) as db:
        trace = db.traces(db.runs()[1]["run_id"], ("trace_id",))["trace_id"][4]
    with served(tmp_path / "a.db", tmp_path / "b.db") as address:
        browser.go(address)
        assert browser.run("return [...document.querySelectorAll('li a')].map(a => a.textContent)") == ["a.db", "b.db"]
        browser.go(f"{address}a/traces/{trace}")
        browser.wait("return document.body.dataset.ready === '1' && !document.getElementById('trace').hidden")
        assert f"trace {trace}," in text(browser, "#trace")
        browser.go(f"{address}a/runs/1012/")
        browser.wait("return document.body.dataset.ready === '1'")
        assert n_listed(browser) == "12 of 12 traces"
        assert browser.run("return document.querySelector('nav a').getAttribute('href')") == "/a/"


def test_hostile_text_is_shown_and_not_run(browser, tmp_path, served):
    """In names of files, models and tasks, in questions, and in what a model wrote."""
    path = tmp_path / f"{HOSTILE.replace('/', '_')}#&.db"
    made(path, n_problems=12)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("update models set name = ?", (HOSTILE,))
        conn.execute("update sessions set closed = 0, ended = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), n_todo = 20")
    with served(path) as address:
        browser.log("browser")
        browser.open(address)
        assert HOSTILE in text(browser, "#work")
        assert HOSTILE.replace("/", "_") in text(browser, "h1")
        browser.run("document.querySelector('#list [data-i=\"3\"] button').click()")
        browser.wait("return !document.getElementById('trace').hidden")
        assert HOSTILE in browser.run("return document.getElementById('trace').textContent")
        browser.wait("return document.querySelector('#analysis figure svg')")
        assert HOSTILE in text(browser, ".matrix")
        assert browser.run("return document.querySelectorAll('main script:not([type])').length") == 0
        said = [entry["message"] for entry in browser.log("browser")]
        assert said == []


def test_it_asks_nobody_but_this_server(browser, tmp_path, served):
    made(tmp_path / "runs.db", n_problems=6)
    with served(tmp_path / "runs.db") as address:
        browser.post("/url", {"url": "about:blank"})
        browser.log("performance")
        browser.open(address)
        browser.wait("return document.querySelector('#analysis figure svg')")
        messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        assert {url for url in asked if not url.startswith((address, "data:", "about:"))} == set()


def test_a_server_that_is_gone_is_told(browser, tmp_path, served):
    made(tmp_path / "runs.db", n_problems=6)
    with served(tmp_path / "runs.db") as address:
        browser.open(address)
    said = "localent view does not answer any more: start it again with the same command."
    browser.wait(f"return document.getElementById('state').textContent === '{said}'")


@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (400, "dark"), (1200, "light"), (1200, "dark")])
def test_it_looks_right_at_two_widths(browser, tmp_path, bundled, served, width, scheme):
    """Nothing is wider than the page; with LOCALENT_SCREENSHOTS set, pictures of it for the eye."""
    path = tmp_path / "runs.db"
    made(path, n_runs=2, n_problems=30, alternatives=3)
    browser.view(width, 900, scheme)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("update sessions set closed = 0, ended = strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), n_todo = 90")
    with served(path) as address:
        browser.open(address)
        browser.wait("return document.querySelector('#analysis figure svg')")
        assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.screenshot(f"live-{width}-{scheme}")
    browser.view(1200, 900)
