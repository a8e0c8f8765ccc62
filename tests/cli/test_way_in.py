"""The first steps at a prompt: a greeting, help by name, an example where an argument is missing, TAB."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from helpers.made import made
from helpers.runs import call

from localent.cli import main


def test_localent_alone_greets_and_names_a_first_command():
    code, out, _ = call()
    assert code == 0
    assert "localent demo " in out
    assert max(map(len, out.splitlines())) <= 80
    assert len(out.splitlines()) <= 8


def test_help_by_name_is_the_help_of_the_command():
    assert call("help", "ask") == call("ask", "--help")
    assert call("help") == call("--help")
    code, _, err = call("help", "aks")
    assert (code, "No command 'aks'" in err) == (2, True)


@pytest.mark.parametrize(
    "words", [("run",), ("run", "abacus-sft"), ("ask",), ("signals",), ("compare",), ("quantize", "x"), ("merge",)]
)
def test_a_missing_argument_is_answered_with_an_example(words):
    code, _, err = call(*words)
    assert code == 2
    assert f"For example 'localent {words[0]} " in err


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tab")
    made(path / "localent.db", n_runs=2, n_problems=3)
    return path


def offered(words: str) -> list[str]:
    *before, begun = words.split(" ")
    return [
        item.value for item in ShellComplete(main, {}, "localent", "_LOCALENT_COMPLETE").get_completions(before, begun)
    ]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("r", "run"), ("run aba", "abacus-sft"), ("run abacus-sft demo", "demo-number"), ("run x gsm", "gsm8k"),
        ("signals 0", "00123456789a"), ("signals --db localent.db 1", "10123456789a"),
        ("show conf", "confident-mistakes"),
        ("sql by-l", "by-length"), ("help sig", "signals"), ("study a b --task demo", "demo-choice"),
        ("compare a b --run 0", "00123456789a"), ("report 0", "00123456789a"),
    ],
)  # fmt: skip
def test_tab_offers_names(words, name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert name in offered(words)


def test_tab_offers_traces_of_the_database(folder, monkeypatch):
    monkeypatch.chdir(folder)
    _, out, _ = call("sql", "select trace_id from traces", "--csv")
    assert set(out.split()[1:]) < set(offered("show "))


def test_tab_is_silent_where_there_is_no_database(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert offered("signals ") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell):
    environment = os.environ | {"_LOCALENT_COMPLETE": f"{shell}_source"}
    program = "from localent.cli import main; main(prog_name='localent')"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "_LOCALENT_COMPLETE" in done.stdout
