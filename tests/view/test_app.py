"""The site as a client sees it: addresses, refusals, and an end in order."""

from __future__ import annotations

import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from helpers.made import HOSTILE, made
from helpers.runs import call

from localent.store import open_db

pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'localent[view]'")
pytest.importorskip("starlette", reason="starlette is not installed: pip install 'localent[view]'")


def get(address: str, path: str, method: str = "GET", **headers: str):
    """(status, headers, text) of an answer; redirects are not followed."""
    conn = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    with closing(conn):
        conn.request(method, path, headers=headers)
        reply = conn.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()


@pytest.fixture
def path(tmp_path):
    made(tmp_path / "some runs.db", n_runs=2, n_problems=12, alternatives=2)
    return tmp_path / "some runs.db"


def news(address: str, base: str, **seen: object) -> dict:
    query = "&".join(f"{name}={value}" for name, value in seen.items())
    return json.loads(get(address, f"{base}live?{query}")[2])


def test_one_database_is_the_page_itself_and_several_are_listed(path, tmp_path, served):
    other = tmp_path / f"{HOSTILE.replace('/', '_')}.db"
    other.write_bytes(path.read_bytes())
    with served(path) as address:
        assert urlsplit(address).path == "/some%20runs/"
        assert get(address, "/")[0::2] == (307, "")
        assert get(address, "/")[1]["location"] == "/some%20runs/"
    with served(path, other) as address:
        text = get(address, "/")[2]
        assert '<a href="/some%20runs/">some runs.db</a> <small>24 traces of 2 runs</small>' in text
        assert "<script>" not in text
        assert text.count("<li>") == 2


def test_files_of_one_name_have_addresses_of_their_own(path, tmp_path):
    from localent.view.app import named

    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / path.name
    assert named([path, other, path]) == {"some runs": path, "some runs-2": other}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", "", "*"])
def test_a_name_that_is_not_this_machine_s_is_refused(path, served, host):
    """DNS rebinding: a page elsewhere makes its own name point to 127.0.0.1 and reads what is served there."""
    with served(path) as address:
        for place in ("/some%20runs/", "/some%20runs/live", "/some%20runs/analysis"):
            status, _, text = get(address, place, Host=host)
            assert (status, "made" in text) == (400, False)
        assert get(address, "/some%20runs/", Host="localhost:9")[0] == 200


def test_it_only_reads(path, served):
    before = path.read_bytes()
    with served(path) as address:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert get(address, "/some%20runs/live", method)[0] == 405
        news(address, "/some%20runs/")
    assert path.read_bytes() == before


def test_other_pages_can_neither_embed_nor_read_it(path, served):
    with served(path) as address:
        for place in ("/some%20runs/", "/some%20runs/live"):
            headers = get(address, place)[1]
            assert headers["content-security-policy"] == "frame-ancestors 'none'"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
        text = get(address, "/some%20runs/")[2]
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert policy.endswith("connect-src 'self'")


def test_news_are_what_the_reader_has_not_seen(path, served):
    with served(path) as address:
        base = "/some%20runs/"
        all_ = news(address, base)
        assert (len(all_["traces"]), len(all_["problems"])) == (24, 12)
        assert all_["runs"] == ["abacus-base F16", "abacus-sft F16"]
        rest = news(address, base, boot=all_["boot"], traces=20, problems=12)
        assert (rest["traces"], rest["problems"]) == (all_["traces"][20:], [])
        assert news(address, base, boot="another") == {"boot": all_["boot"]}
        assert get(address, base + "live?traces=x")[0] == 404


def test_a_trace_is_served_as_it_is_stored(path, served):
    with served(path) as address, open_db(path, readonly=True) as db:
        first = news(address, "/some%20runs/")["traces"][3]
        found = json.loads(get(address, f"/some%20runs/traces/{first[0]}.json")[2])
        trace = db.trace(int(first[0]))
        assert "".join(found["t"]) == trace.text
        assert found["entropy"] == [round(token.entropy, 3) for token in trace.tokens]
        assert len(found["pr"]) == len(trace.probes)


def test_runs_and_traces_have_addresses(path, served):
    with served(path) as address:
        first = news(address, "/some%20runs/")["traces"][0]
        status, headers, _ = get(address, f"/some%20runs/traces/{first[0]}")
        assert (status, headers["location"]) == (307, f"/some%20runs/#trace={first[0]}")
        one = news(address, "/some%20runs/runs/1012/")
        assert (len(one["traces"]), one["runs"]) == (12, ["abacus-sft F16"])
        assert "run 10123456789a" in get(address, "/some%20runs/runs/1012/")[2]
        for place, why in (
            ("/other/", "No database 'other'"),
            ("/some%20runs/runs/ffff/", "No run 'ffff'"),
            ("/some%20runs/traces/99999999999999999", "No trace"),
            ("/some%20runs/traces/x.json", "A trace is known by a number"),
        ):
            status, _, text = get(address, place)
            assert (status, why in text) == (404, True)


def test_findings_and_figures_come_when_they_are_computed(path, served):
    from localent.report.page import sections

    with served(path) as address, open_db(path, readonly=True) as db:
        deadline = time.monotonic() + 100
        while not (version := news(address, "/some%20runs/")["analysis"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert version == 1
        assert get(address, "/some%20runs/analysis")[2] == sections(db, [row["run_id"] for row in db.runs()])


def test_figures_that_cannot_be_computed_say_why(path, monkeypatch):
    from localent.view import analysis

    def broken(*_):
        raise ValueError(f"no {HOSTILE}")

    monkeypatch.setattr(analysis, "sections", broken)
    assert analysis.text_of(path, ("0012",)).endswith(
        "ValueError(&#x27;no &lt;script&gt;alert(1)&lt;/script&gt;&#x27;)</p>"
    )


def test_figures_are_not_computed_more_often_than_they_may_cost(path, monkeypatch):
    from localent.view import analysis

    now = [1000.0]
    monkeypatch.setattr(analysis, "time", type("clock", (), {"monotonic": staticmethod(lambda: now[0])}))
    one = analysis.Analysis(path)
    assert one.due(("a",))
    one.version, one.took, one.ended = 1, 3.0, 1000.0
    one.runs, one.stamp = ("a",), analysis.stamp_of(path)
    now[0] = 1029.0
    assert not one.due(("a", "b"))
    now[0] = 1030.0
    assert one.due(("a", "b"))
    assert not one.due(("a",))  # nothing has changed
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("update sessions set host = 'x'")
    assert one.due(("a",))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(path, served, number):
    command = [sys.executable, "-m", "localent", "view", "--db", str(path), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert get(address, "/some%20runs/live")[0] == 200
            process.send_signal(number)
            assert process.communicate(timeout=60) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


def test_what_is_wrong_is_one_sentence(path, tmp_path, served):
    code, _, err = call("view", "--db", tmp_path / "none.db", "--no-browser")
    assert (code != 0, "none.db" in err) == (True, True)
    code, _, err = call("view", "--db", path, "--port", "70000", "--no-browser")
    assert (code, "--port must be between 0 and 65535" in err) == (2, True)
    with served(path) as address:
        code, _, err = call("view", "--db", path, "--port", urlsplit(address).port, "--no-browser")
        assert (code, "Choose another with --port, or 0 for any that is free." in err) == (1, True)


def test_without_starlette_it_says_what_to_install(path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("localent.view.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("localent.view.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = call("view", "--db", path, "--no-browser")
    assert (code, err.count("\n")) == (1, 1)
    assert "This needs Starlette and Uvicorn: pip install 'localent[view]'." in err
