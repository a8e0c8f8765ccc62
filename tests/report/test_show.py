"""One trace in the terminal: useful without colour, in 80 columns, and safe whatever a model wrote."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from helpers.made import HOSTILE, a_trace, made
from helpers.runs import call

from localent.report.trace import Style, legends
from localent.runs import ask as asking
from localent.store import open_db, traces

PATTERN = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    path = tmp_path_factory.mktemp("show") / "runs.db"
    made(path, n_runs=2, n_problems=12, alternatives=3)
    return path


def trace_of(db, source_id):
    _, out, _ = call("sql", f"select trace_id from trace_summary where source_id = '{source_id}'", "--csv", "--db", db)
    return out.split()[1]


def test_a_trace_is_plain_and_useful_in_80_columns(db):
    code, out, _ = call("show", trace_of(db, "made-0001"), "--db", db)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out
    assert "RIGHT: answered 6, the true answer is 6." in out
    assert "answer entropy by step  █" in out
    assert re.search(r"^ +\d+ +0\.\d\d +0\.9\d\d  6\*: 9\d %", out, re.MULTILINE)
    assert "⟨" in out
    assert "alternatives" in out


def test_what_a_model_wrote_does_not_reach_the_terminal_as_commands(db):
    code, out, _ = call("show", trace_of(db, "made-0003"), "--db", db)
    assert code == 0
    assert HOSTILE in out.replace("\n", "").replace("⟨", "").replace("⟩", "")
    assert r"\x1b[2J\x07" in out.replace("⟩", "")
    assert "\x1b" not in out


def test_colour_changes_nothing_but_colour(db):
    trace = trace_of(db, "made-0001")
    _, plain, _ = call("show", trace, "--db", db, "--no-color")
    _, colour, _ = call("show", trace, "--db", db, "--color")
    assert "\x1b[48;5;" in colour
    text = PATTERN.sub("", colour)
    assert "Then there were 12 + 5 = 17 apples." in text
    assert plain.splitlines()[-6:] == text.splitlines()[-6:]


def test_colours_follow_the_measure_asked_for(db):
    _, out, _ = call("show", trace_of(db, "made-0001"), "--db", db, "--measure", "rank")
    assert "rank of at least 6" in out


def test_marks_that_no_token_bears_are_said_to_be_absent():
    trace = a_trace(1, 4, np.random.default_rng(0))
    calm = tuple(replace(token, entropy=0.2) for token in trace.tokens)
    told = [legends(replace(trace, tokens=tokens), Style()) for tokens in (trace.tokens, calm)]
    line = "⟨token⟩: entropy of at least 1.1 nats"
    assert told == [[line], [line + " (none here)"]]
    assert "none here" not in legends(replace(trace, tokens=calm), Style(colour=True))[0]


def test_a_trace_as_json_has_everything(db):
    _, out, _ = call("show", trace_of(db, "made-0003"), "--db", db, "--json")
    found = json.loads(out)
    assert found["problem"]["answer"] == "8"
    assert HOSTILE in "".join(token["text"] for token in found["trace"]["tokens"])
    assert len(found["trace"]["tokens"][0]["alternatives"]) == 3
    assert found["trace"]["probes"][0]["answers"]


def test_without_a_trace_some_are_listed(db):
    code, out, _ = call("show", "--db", db)
    assert code == 0
    assert out.count("made-") == 12
    assert "abacus-base" in out


def test_the_first_digits_are_enough_where_they_are_unique(db):
    trace = trace_of(db, "made-0001")
    with open_db(db, readonly=True) as store:
        assert traces.find_trace(store, trace[:9]) == traces.find_trace(store, trace) == int(trace)


def test_a_ready_made_query_shows_the_first_trace_that_it_finds(db):
    _, rows, _ = call("sql", "confident-mistakes", "--limit", "1", "--csv", "--db", db)
    code, out, _ = call("show", "confident-mistakes", "--db", db)
    assert code == 0
    assert f"trace {rows.splitlines()[1].split(',')[0]}: " in out
    code, _, err = call("show", "by-length", "--db", db)
    assert (code, "finds no single traces" in err) == (2, True)
    code, _, err = call("show", "unread-answers", "--db", db)
    assert (code, "'unread-answers' finds nothing" in err) == (2, True)


def test_answers_that_would_show_as_0_percent_are_left_out():
    from localent.records import Answer, Probe
    from localent.report.trace import leading

    given = Probe(
        k=0, n_tokens=0, position=0.0, estimator="number", answers=(Answer("2", 0.04), Answer("1", 1e-5)), invalid=0.0,
        residual=0.96, entropy=4.2, entropy_se=0.3, entropy_lower=0.0, entropy_upper=9.0, leader=None,
        p_true=0.01, log_p_true=-4.6, n_fed=12,
    )  # fmt: skip
    assert leading(given, "7", 4) == "96 % not explored · 2: 4.0 %"


@pytest.mark.parametrize(
    ("given", "message"),
    [("", "A trace is known by a number"), ("nine", "A trace is known by a number"), ("9" * 17, "No trace 999")],
)
def test_a_trace_that_is_not_there_is_one_sentence(db, given, message):
    code, _, err = call("show", given, "--db", db)
    assert code == 2
    assert message in err


def test_a_terminal_without_unicode_gets_ascii(db):
    from localent.report.trace import Style, render_trace

    with open_db(db, readonly=True) as store:
        seen = traces.seen(store, int(trace_of(db, "made-0003")))
    text = render_trace(seen, ["é"], Style(unicode=False))
    assert text.isascii()


# --- ask ----------------------------------------------------------------------------------------------------------

SHORT = ("--max-tokens", "24", "--seed", "3")


@pytest.fixture(scope="module")
def tiny(random_model):
    return random_model("tiny-llama")


def test_a_question_is_watched_and_answered(tiny):
    code, out, _ = call("ask", tiny, "2 plus 3?", "--answer", "5", *SHORT)
    assert code == 0
    lines = out.splitlines()
    assert re.match(r"  └ (\d+\.\d\d nats: \d+\*? [\d.]+ %|no valid answer)", lines[0])
    assert "the true answer is 5. 24 tokens" in out
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out


def test_watching_changes_nothing_in_what_is_written(bundled):
    """The same trace to the last bit, with the answer read after every step and without."""
    question = "Mia had 12 books and bought 7 more. How many books did she have then?"
    found = [json.loads(call("ask", bundled, question, option, "--json")[1]) for option in ("--probe", "--no-probe")]
    assert found[0]["trace"]["tokens"] == found[1]["trace"]["tokens"]
    assert len(found[0]["trace"]["probes"]) >= 2
    assert found[1]["trace"]["probes"] == []


def test_options_make_it_a_choice(tiny):
    code, out, _ = call("ask", tiny, "Which?", "--option", "this", "--option", "that", *SHORT)
    assert code == 0
    assert re.search(r"nats: [AB]: \d+ % · [AB]: [\d.]+ %", out)
    assert "true answer" not in out


def test_a_true_answer_is_read_as_graded_answers_are():
    assert asking.problem_of("?", "1,000.0").answer == "1000"
    assert asking.problem_of("?", "b", ["this", "that"]).answer == "B"
    assert asking.problem_of("?", "True").answer == "yes"
    assert asking.problem_of("?").answer == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((" ",), "The question is empty"),
        (("Which?", "--option", "x"), "Give 2 to 8 options"),
        (("Which?", "--option", "x", "--option", "y", "--answer", "C"), "--answer 'C' is not one of the labels A, B"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(tiny, arguments, message):
    code, _, err = call("ask", tiny, *arguments)
    assert code == 2
    assert message in err


def test_a_question_that_asks_for_no_number_is_shown_with_its_surprise_alone(tiny, monkeypatch):
    monkeypatch.setattr(asking, "NO_NUMBER", 0.0)
    code, out, _ = call("ask", tiny, "Why is the sky blue?", *SHORT)
    assert code == 0
    assert re.search(
        r"24 tokens.*\. Mean entropy \d\.\d\d nats, mean surprisal \d\.\d\d nats a token\.", " ".join(out.split())
    )
    assert "token  text " in out
    assert "The answers by step are not known" in out
    assert "nats: " not in out
    assert max(map(len, out.splitlines())) <= 80


# --- text that would command a terminal ---------------------------------------------------------------------------

COMMANDS = "\x1b[2J\x07\x9b31m\u202e"  # clears the screen, rings, colours, turns the writing round
COMMANDING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Names, questions, texts and answers that are all hostile."""
    path = tmp_path_factory.mktemp("hostile") / "runs.db"
    made(path, n_runs=1, n_problems=12, alternatives=3)
    with closing(sqlite3.connect(path)) as conn, conn:
        mark = HOSTILE + COMMANDS
        conn.execute("update models set name = name || ?", (mark,))
        conn.execute("update problems set source_id = source_id || ?1, question = question || ?1", (mark,))
        conn.execute("update traces set answer = answer || ?1", (mark,))
        conn.execute("update answers set value = value || ?1", (mark,))
        conn.execute("update tokens set text = text || ?1", (mark,))
        conn.execute("update alternatives set text = text || ?1", (mark,))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ("show",), ("show", "--json"), ("show", "uncertain-right"), ("show", "uncertain-right", "--json"), ("runs",),
        ("runs", "--json"), ("runs", "--md"), ("sql", "hardest-problems"), ("sql", "hardest-problems", "--json"),
        ("signals", "0012"), ("replay", "0012"), ("serve", "--metadata"), ("report", "-o", "report.html"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_no_command_prints_control_characters_of_stored_text(hostile, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments, "--db", hostile)
    assert code == 0
    assert COMMANDING.findall(out + err) == []


def test_json_stays_what_was_stored(hostile):
    _, out, _ = call("runs", "--db", hostile, "--json")
    assert json.loads(out)["model"] == f"abacus-base{HOSTILE}{COMMANDS}"


def test_csv_is_raw_in_a_file_and_escaped_in_a_terminal(monkeypatch, capsys):
    from localent.cli.output import print_table

    print_table(["text"], [(f"a\nb{COMMANDS}",), ("c\rd",)], "csv")
    assert capsys.readouterr().out == f'text\n"a\nb{COMMANDS}"\n"c\rd"\n'
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_table(["text"], [(f"a\nb{COMMANDS}",)], "csv")
    assert capsys.readouterr().out == 'text\n"a\nb\\x1b[2J\\x07\\x9b31m\\u202e"\n'


def test_a_notebook_shows_it_escaped(hostile):
    with open_db(hostile, readonly=True) as store:
        html = store.trace(int(trace_of(hostile, "made-0001" + HOSTILE + COMMANDS)))._repr_html_()
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html
    assert COMMANDING.findall(html) == []


def test_a_closed_pipe_is_no_error(db):
    """As with '| head': the pipe closes while rows are still coming."""
    sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) select i from n"
    command = [sys.executable, "-m", "localent", "sql", sql, "--csv", "--db", db]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"i\n"
        process.stdout.close()
        assert process.stderr.read() == b""
