"""The report in a real browser: it renders, filters, opens, hovers, asks for nothing, and runs nobody's text."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest
from helpers.browser import needed, session
from helpers.made import HOSTILE, made

from localent.report.page import write_page
from localent.store import open_db

pytestmark = needed
OUTSIDE = (  # what stands out of the trace at its right
    "const edge = document.getElementById('trace').getBoundingClientRect().right + 1; const range = new Range();"
    "return [...document.querySelectorAll('#trace *')].filter(e => { range.selectNodeContents(e);"
    "return range.getBoundingClientRect().right > edge; }).map(e => e.textContent.slice(0, 60))"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with session(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    runs = made(folder / "runs.db", n_runs=2, n_problems=40, alternatives=5)
    with open_db(folder / "runs.db", readonly=True) as db:
        write_page(db, runs, folder / "report.html", title=f"A title with {HOSTILE}")
    return (folder / "report.html").as_uri()


@pytest.fixture
def opened(browser, page):
    """The page, fresh, at desktop width."""
    browser.view(1280, 900)
    browser.post("/url", {"url": "about:blank"})
    browser.log("browser"), browser.log("performance")
    browser.open(page)
    yield browser
    assert [entry["message"] for entry in browser.log("browser")] == []


def requests(browser) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def n_listed(browser) -> str:
    return browser.run("return document.getElementById('count').textContent")


def choose(browser, name: str, value: str) -> str:
    browser.run(
        "const e = document.getElementById('filters').elements[arguments[0]]; e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', {bubbles: true}))", *(name, value),
    )  # fmt: skip
    return n_listed(browser)


def open_first(browser) -> None:
    browser.run("document.querySelector('#list button').click()")
    browser.wait("return !document.getElementById('trace').hidden")


def test_it_renders_and_asks_for_nothing(opened, page):
    assert n_listed(opened) == "80 of 80 traces"
    assert opened.run("return document.querySelectorAll('figure svg').length") >= 8
    open_first(opened)
    asked = [url for url in requests(opened) if not url.startswith(("data:", "about:"))]
    assert {url.split("#")[0] for url in asked} == {page}


def test_nothing_is_wider_than_the_page(opened):
    for width in (1280, 390):
        opened.view(width, 844)
        assert opened.run("return document.documentElement.scrollWidth") <= width
        open_first(opened)
        assert opened.run("return document.documentElement.scrollWidth") <= width
        assert opened.run(OUTSIDE) == []
        opened.keys("\ue00c")


def test_the_page_opens_with_a_matrix_and_one_figure(opened):
    """A run's name in it leads to the traces of that run."""
    rows = opened.run("return [...document.querySelectorAll('.matrix tbody tr')].map(r => r.innerText)")
    assert len(rows) == 2
    assert all("66.7 %" in row or "65.0 %" in row for row in rows)
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    assert opened.run(top, "#overview figure svg") < 700
    assert opened.run("return document.querySelectorAll('#overview figure').length") == 1
    opened.run("document.querySelectorAll('.of-run')[1].click()")
    assert n_listed(opened) == "40 of 80 traces"


def test_a_dot_tells_its_values(opened):
    said = opened.run("return document.querySelector('figure g title').textContent")
    assert re.fullmatch(r".+, at 0: -?\d\.\d{3} \[-?\d\.\d{3}, -?\d\.\d{3}\], n = \d+", said)


def test_a_switch_counts_steps_from_the_start_or_the_end_in_all_figures_along_the_reasoning(opened):
    shown = (
        "return [...document.querySelectorAll('.by')].filter(e => e.offsetParent)"
        ".map(e => e.querySelector('.label').textContent)"
    )
    n = opened.run("return document.querySelectorAll('.scales').length")
    assert opened.run(shown) == ["share of the reasoning steps done"] * n
    for scale, label in (("end", "reasoning steps before the last"), ("start", "reasoning steps done")):
        opened.run(f"document.querySelector('#overview [data-scale={scale}]').click()")
        assert opened.run(shown) == [label] * n
        pressed = opened.run("return [...document.querySelectorAll('[aria-pressed=true]')].map(e => e.dataset.scale)")
        assert [one for one in pressed if one] == [scale] * n
        opened.screenshot(f"steps-from-the-{scale}")
    opened.run("document.querySelector('#overview [data-scale=share]').click()")
    assert opened.run(shown) == ["share of the reasoning steps done"] * n


def test_findings_fold(opened):
    assert opened.run("return [...document.querySelectorAll('#verdicts details')].filter(d => !d.open).length") == 2


@pytest.fixture(scope="module")
def flips(tmp_path_factory):
    """A page on which one trace is right in one run and wrong in another, with texts that part."""
    folder = tmp_path_factory.mktemp("flips")
    runs = made(folder / "runs.db", n_runs=2, n_problems=12)
    with closing(sqlite3.connect(folder / "runs.db")) as conn, conn:
        first = "select trace_id from traces where run_id like '1%' and correct order by problem_id limit 1"
        (trace,) = conn.execute(first).fetchone()
        conn.execute("update traces set correct = 0, answer = '4' where trace_id = ?", (trace,))
        conn.execute("update tokens set text = ' seven' where token_index = 6 and trace_id = ?", (trace,))
    with open_db(folder / "runs.db", readonly=True) as db:
        write_page(db, runs, folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_two_traces_of_a_flip_stand_side_by_side(browser, flips, width):
    """With both answer distributions, and the token at which they part."""
    browser.view(width, 900)
    browser.open(flips)
    assert choose(browser, "outcome", "flip") == "2 of 24 traces"
    open_first(browser)
    browser.wait("return document.querySelectorAll('#trace .two .steps').length === 2")
    text = browser.run("return document.getElementById('trace').innerText")
    assert 'They part at token 6: " 5" and " seven".' in text
    assert browser.run("return [...document.querySelectorAll('.differs')].map(s => s.textContent)") == [" 5", " seven"]
    assert browser.run("return [...document.querySelectorAll('.two .steps')].every(s => s.querySelector('.bar'))")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.screenshot(f"two-{width}")
    browser.run(
        "const s = document.querySelector('[name=pair]'); s.value = '';"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    browser.wait("return document.querySelectorAll('#trace .steps').length === 1")


def test_filters_narrow_the_list(opened):
    assert choose(opened, "outcome", "0") == "28 of 80 traces"
    assert opened.run("return [...document.querySelectorAll('#list .mark')].every(m => m.className.includes('no'))")
    assert choose(opened, "run", "1") == "14 of 80 traces"
    assert choose(opened, "mechanism", "failed-rescue") == "7 of 80 traces"
    opened.run("document.querySelector('[type=reset]').click()")
    opened.wait("return document.getElementById('count').textContent === '80 of 80 traces'")
    assert choose(opened, "text", "made-0007") == "2 of 80 traces"
    assert choose(opened, "text", "") == "80 of 80 traces"
    assert choose(opened, "low", "100") == "0 of 80 traces"
    assert choose(opened, "low", "0") == "80 of 80 traces"
    shares = [int(choose(opened, "high", h).split()[0]) for h in ("0.5", "0.6", "0.8", "9")]
    assert shares == sorted(shares)
    assert 0 < shares[1] < 80


def test_the_list_grows_on_demand(opened):
    assert opened.run("return document.querySelectorAll('#list li').length") == 60
    opened.run("document.getElementById('more').click()")
    assert opened.run("return document.querySelectorAll('#list li').length") == 80
    assert opened.run("return document.getElementById('more').hidden")


def test_a_click_opens_a_trace_with_its_steps_and_answers(opened):
    open_first(opened)
    text = opened.run("return document.getElementById('trace').innerText")
    assert "failed-rescue" in text
    assert "before the first step" in text
    assert "would answer" in text
    assert "true answer is 5" in text
    assert opened.run("return document.querySelectorAll('.words [data-t]:not(.l0)').length") > 5
    assert opened.run("return document.querySelectorAll('#trace .bar').length") >= 6
    assert opened.run("return location.hash").startswith("#trace=")


def test_hover_shows_the_alternatives(opened):
    open_first(opened)
    opened.hover("[data-t='3']")
    tip = opened.wait("const t = document.getElementById('tip'); return !t.hidden && t.textContent")
    assert 'token 3: " 1"' in tip
    assert "entropy 0." in tip or "entropy 1." in tip or "entropy 2." in tip
    assert '60 %  " 1"' in tip
    assert HOSTILE in tip
    assert opened.run("return document.querySelectorAll('#tip script').length") == 0


def test_keys_move_between_traces_tokens_and_measures(opened):
    opened.keys("j")
    opened.wait("return !document.getElementById('trace').hidden")
    first = opened.run("return location.hash")
    opened.keys("j")
    opened.wait(f"return location.hash !== '{first}'")
    opened.keys("m")
    assert opened.run("return document.querySelector('[name=measure]:checked').value") == "surprisal"
    opened.keys("\ue014")
    opened.keys("\ue014")
    assert "token 1" in opened.run("return document.getElementById('tip').textContent")
    opened.keys("\ue00c")
    opened.keys("\ue00c")
    assert opened.run("return document.getElementById('trace').hidden")
    opened.keys("/")
    assert opened.run("return document.activeElement.name") == "text"


def test_hostile_text_is_shown_and_not_run(opened):
    assert HOSTILE in opened.run("return document.querySelector('h1').textContent")
    assert choose(opened, "text", "made-0003") == "2 of 80 traces"
    open_first(opened)
    text = opened.run("return document.getElementById('trace').textContent")
    assert HOSTILE in text
    assert r"\x1b[2J" in text
    assert opened.run("return document.querySelectorAll('main script').length") == 0
    assert opened.run("return document.scripts.length - document.querySelectorAll('[type=\"text/plain\"]').length") == 1


def test_the_policy_stops_a_script_that_gets_in_all_the_same(browser, page):
    browser.view(1280, 900)
    browser.open(page)
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s)"
    )
    browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.broken = 1\">')")
    browser.run("fetch('https://example.org/').catch(() => {})")
    assert browser.run("return window.broken") is None
    messages = [entry["message"] for entry in browser.log("browser")]
    assert len([m for m in messages if "Content Security Policy" in m]) >= 3


def test_figures_hand_out_their_data(opened):
    opened.run(
        "window.files = []; const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { blob.text().then((t) => window.files.push(t)); return make(blob); };"
    )
    opened.run("document.querySelectorAll('.csv').forEach((b) => b.click())")
    files = opened.wait("return window.files.length === document.querySelectorAll('.csv').length && window.files")
    head = "series,share of the reasoning steps done,answer entropy (nats),low,high,n\nwrong,0.0,"
    assert any(file.startswith(head) for file in files)


def test_a_browser_that_cannot_unpack_the_traces_says_so(browser, page):
    """One without DecompressionStream; the findings and figures are there all the same."""
    browser.view(1280, 900)
    hide = "delete window.DecompressionStream"
    added = browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=hide)
    try:
        browser.post("/url", {"url": "about:blank"})
        browser.post("/url", {"url": page})
        said = browser.wait("return document.getElementById('count').textContent")
        why = "this browser is too old to unpack them. Open the file in a newer one."
        assert said == f"The traces in this file cannot be shown: {why}"
        assert browser.run("return document.querySelectorAll('figure svg').length") >= 8
    finally:
        browser.devtools("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 1000), ("phone", 390, 844)])
def test_it_looks_right_in_light_and_dark(opened, scheme, name, width, height):
    """Readable text in both; with LOCALENT_SCREENSHOTS set, pictures of it for the eye."""
    opened.view(width, height, scheme)
    opened.screenshot(f"{name}-{scheme}-top")
    paper = opened.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) > 384) == (scheme == "light")
    open_first(opened)
    opened.hover("[data-t='4']")
    opened.screenshot(f"{name}-{scheme}-trace")
