"""A database in Datasette: what it begins with, links from trace ids to pages of traces, odd file names, its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from importlib.resources import files

import pytest
from helpers import ctrl_c
from helpers.made import HOSTILE, made

from localent.report.page import trace_page
from localent.store import open_db
from localent.store.datasette import linkable, metadata, tilde

PLUGINS = str(files("localent.report") / "for_datasette")
FAKE = """#!{python}
import os, sys, time
open({pid!r}, "w").write(str(os.getpid()) + " " + " ".join(sys.argv[1:]))
time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    made(tmp_path / "runs.db", n_problems=12, alternatives=2)
    return tmp_path / "runs.db"


def visited(path, *pages):
    """(status, text) of each page of Datasette on this file, as `localent serve` starts it."""
    app = pytest.importorskip("datasette.app", reason="datasette is not installed: pip install 'localent[serve]'")
    with open_db(path, readonly=True) as db:
        known = metadata(db)

    async def visit():
        client = app.Datasette([str(path)], metadata=known, plugins_dir=PLUGINS).client
        replies = [await client.get(page) for page in pages]
        return [(reply.status_code, reply.text) for reply in replies]

    return asyncio.run(visit())


@pytest.mark.filterwarnings("ignore")
def test_views_and_questions_come_first_and_lead_somewhere(path):
    (_, front), (_, text) = visited(path, "/", "/runs")
    for page in (front, text):
        links = re.findall(r'<li><a href="(/runs/[^"]+)">[^<]+</a>: [^<]+</li>', page)
        assert "/runs/trace_summary" in links
        assert "/runs/confident-mistakes" in links
        assert page.index(links[-1]) < page.find('id="tables"') or 'id="tables"' not in page
    assert {status for status, _ in visited(path, *links)} == {200}


@pytest.mark.filterwarnings("ignore")
def test_a_trace_id_leads_to_the_trace(path):
    ((_, text),) = visited(path, "/runs/trace_summary?_sort=trace_id")
    address, trace_id = re.findall(r'<a href="(/-/localent/runs/(\d+))">', text)[0]
    (status, page), missing, other = visited(path, address, "/-/localent/runs/5", "/-/localent/nothing/5")
    assert (status, f"trace {trace_id}" in page) == (200, True)
    assert missing[0] == other[0] == 404
    with open_db(path, readonly=True) as db:
        assert page == trace_page(db, int(trace_id))


def test_the_page_of_a_trace_escapes_what_it_shows(path):
    with open_db(path, readonly=True) as db:
        trace_id = db.query("select trace_id from traces order by problem_id limit 1 offset 3")[0]["trace_id"]
        assert HOSTILE in db.trace(trace_id).text
        assert HOSTILE not in trace_page(db, trace_id)


@pytest.mark.parametrize("name", ["a#b.db", "a?mode=rw.db", "50%25.db"])
@pytest.mark.filterwarnings("ignore")
def test_a_name_that_an_address_would_read_otherwise_works(path, tmp_path, name):
    path.rename(tmp_path / name)
    (tmp_path / "link").mkdir()
    link = linkable(tmp_path / name, tmp_path / "link")
    assert not set(link.name) & set("#?%")
    ((status, text),) = visited(link, f"/{tilde(link.stem)}/traces.json?_shape=array&_size=3")
    assert (status, text.count("trace_id")) == (200, 3)
    assert linkable(tmp_path / "plain name.db", tmp_path) == tmp_path / "plain name.db"


def test_names_in_addresses_are_datasette_s():
    utils = pytest.importorskip("datasette.utils", reason="datasette is not installed: pip install 'localent[serve]'")
    for name in ("runs", "a b", "a#b", "é/€", "x~y", "50%"):
        assert tilde(name) == utils.tilde_encode(name)


@pytest.mark.skipif(os.name != "posix", reason="a program with a shebang")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_datasette_too(path, tmp_path, number):
    """A stand-in for it, which would work on for ten minutes."""
    program, pid = tmp_path / "bin" / "datasette", tmp_path / "pid"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable, pid=str(pid)))
    program.chmod(0o755)
    code = "from localent.cli import main, serve; serve.datasette = lambda: [{!r}]; main(prog_name='localent')"
    command = [sys.executable, "-c", code.format(str(program)), "serve", "--db", str(path)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=ctrl_c.heard) as process:
        try:
            deadline = time.monotonic() + 100
            while not (pid.exists() and pid.read_text()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    child = int(pid.read_text().split()[0])
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{child}"):
        assert time.monotonic() < deadline, "Datasette works on"
        time.sleep(0.05)
