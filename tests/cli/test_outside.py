"""What comes from outside: files that are none, numbers that are none, names that would control a terminal."""

from __future__ import annotations

import os

import pytest
from helpers.runs import call

RUN = ("temperature", "top-p", "min-p", "epsilon", "repeat-penalty", "minutes")
ESCAPE = "\x1b]0;evil\x07\x9b2J"


@pytest.fixture
def pipe(tmp_path):
    """A named pipe that nobody writes to: opening it waits for ever."""
    os.mkfifo(tmp_path / "pipe.gguf")
    return tmp_path / "pipe.gguf"


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "{}"),
        ("run", "{}", "demo-number"),
        ("run", "abacus-sft", "mine", "--data", "{}"),
        ("run", "abacus-sft", "demo-number", "--chat-template-file", "{}"),
        ("run", "abacus-sft", "demo-number", "--db", "{}"),
        ("score", "abacus-sft", "{}"),
        ("score", "{}", "demo-number", "--gold"),
        ("compare", "{}", "abacus-sft", "--text", "{}"),
        ("compare", "abacus-sft", "abacus-rl", "--text", "{}"),
        ("compare", "abacus-sft", "abacus-rl", "--kld-base", "{}"),
        ("quantize", "{}", "Q8_0"),
        ("quantize", "abacus-sft", "Q8_0", "--imatrix", "{}"),
        ("prompt", "{}", "demo-number"),
        ("sql", "select 1", "--db", "{}"),
        ("merge", "{}", "-o", "all.db"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("special", ["pipe", "/dev/zero"])
def test_a_pipe_and_a_device_are_no_files(words, special, pipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(pipe) if special == "pipe" else special
    code, _, err = call(*(word.replace("{}", path) for word in words))
    assert code in (1, 2)
    assert "Traceback" not in err
    assert len([line for line in err.splitlines() if line.startswith("localent:")]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "{}"),
        ("doctor", "{}", "--quick"),
        ("run", "{}", "demo-number"),
        ("compare", "abacus-sft", "{}", "--text", "text.txt"),
        ("quantize", "abacus-sft", "Q8_0", "--out", "{}"),
        ("merge", "{}", "-o", "all.db"),
        ("check", "{}"),
    ],
    ids=" ".join,
)
def test_links_that_lead_round_in_a_circle(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("Some words. " * 50)
    (tmp_path / "round.gguf").symlink_to("round.gguf")
    code, _, err = call(*(word.replace("{}", "round.gguf") for word in words))  # which raises what is no sentence
    assert code in (1, 2)
    assert len([line for line in err.splitlines() if line.startswith("localent:")]) == 1


@pytest.mark.parametrize("name", ["data.jsonl", "data.csv", "data.parquet"])
def test_a_pipe_in_a_folder_of_problems(name, tmp_path):
    os.mkfifo(tmp_path / name)
    code, _, err = call("prompt", "abacus-sft", "mine", "--data", tmp_path)
    assert code in (1, 2)
    assert "is a pipe or a device" in err


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "x = " + "9" * 5000], ids=["deep", "long"])
def test_a_config_that_no_parser_takes(text, tmp_path):
    (tmp_path / "localent.toml").write_text(text)
    code, _, err = call("--config", tmp_path / "localent.toml", "runs")
    assert code == 2
    assert "is not TOML" in err


def test_a_word_of_the_command_line_that_is_no_text():
    """Bytes that are no UTF-8 reach Python as lone surrogates."""
    code, _, err = call("ask", "abacus-sft", "2 + \udcff?", "--max-tokens", "2")
    assert code == 2
    assert "Invalid Unicode" in err


def test_json_spells_what_would_control_a_terminal():
    """Lossless: the same text is read from it."""
    import json

    from localent.report.table import json_text

    said = json_text({"name": ESCAPE, "size": float("nan")}, nan=True, indent=1)
    assert not set(said) & {"\x07", "\x9b", "\x1b"}
    assert json.loads(said)["name"] == ESCAPE


def test_no_command_writes_json_of_its_own():
    """All of it goes through the one function that spells control characters."""
    from pathlib import Path

    import localent

    for path in (Path(localent.__file__).parent / "cli").glob("*.py"):
        assert "ensure_ascii=False" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "words",
    [
        ("sql", "select 1", "--timeout"),
        *(
            ("run", "abacus-sft", "demo-number", option)
            for option in ("--temperature", "--top-p", "--min-p", "--epsilon")
        ),
        *(("run", "abacus-sft", "demo-number", option) for option in ("--repeat-penalty", "--minutes")),
    ],
    ids=" ".join,
)
def test_numbers_that_are_none_are_refused(words, number):
    code, _, err = call(*words, number)
    assert code == 2
    assert words[-1] in err


@pytest.mark.parametrize("option", [("--limit", "-5"), ("--timeout", "0"), ("--timeout", "-1")])
def test_a_limit_below_nothing_is_refused(option):
    assert call("sql", "select 1", *option)[0] == 2


def test_a_progress_bar_shows_names_and_obeys_none(monkeypatch, capsys):
    """As on a terminal: the stage and the status are names from files."""
    import sys

    from localent.cli.progress import Bar

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Bar() as bar:
        bar.say(f"reading {ESCAPE}")
        bar.show(f"{ESCAPE} on demo", 1, 2, "trace")
        bar.note(ESCAPE)
    shown = capsys.readouterr().err
    assert "evil" in shown
    assert not set(shown) & {"\x07", "\x9b"}
    assert "\x1b]" not in shown
