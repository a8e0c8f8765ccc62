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
