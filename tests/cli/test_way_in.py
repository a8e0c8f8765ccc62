"""The first steps at a prompt: a greeting, help by name, an example where an argument is missing, TAB."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete
from helpers.made import made
from helpers.runs import call

from localent.cli import config, main
from localent.cli.group import aside


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


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_line_of_help_fits_80_columns(name, monkeypatch):
    """Examples, too: a line that wraps cannot be read, and is hard to copy."""
    monkeypatch.setenv("COLUMNS", "80")
    for words in ((name, "--help"), ("--help",)):
        code, out, _ = call(*words)
        assert code == 0
        assert [line for line in out.splitlines() if len(line) > 80] == []


def test_errors_keep_their_words_whole_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    said = " ".join(["words", "that-are", "not/broken"] * 20)
    assert aside(said) == said
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lines = aside(f"{said}\nand more").split("\n")
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == f"{said} and more"


def test_every_command_that_loads_a_model_can_leave_cores_to_others():
    loading = [name for name, command in main.commands.items() if config.option_of(command, "gpu-layers")]
    assert {"ask", "run", "compare", "study"} <= {*loading}
    assert [name for name in loading if not config.option_of(main.commands[name], "threads")] == []


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


SERVERS = {"serve", "view"}  # they answer in pages; 'serve --metadata' prints JSON


@pytest.mark.parametrize("name", [name for name in main.commands if name not in SERVERS])
def test_every_command_prints_json_on_request(name):
    """The option is there, and the help of the command itself is one JSON object."""
    assert any("--json" in param.opts for param in main.commands[name].params)
    code, out, err = call("help", name, "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["name"] == name
    assert "UNSET" not in out


def test_commands_that_write_a_file_tell_of_it_as_json(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    page, copy = tmp_path / "page.html", tmp_path / "public.db"
    told = json.loads(call("report", "-o", page, "--json")[1])
    assert told == {"file": str(page), "bytes": page.stat().st_size, "runs": ["00123456789a", "10123456789a"]}
    told = json.loads(call("scrub", "localent.db", "-o", copy, "--json")[1])
    assert told == {"file": str(copy), "source": "localent.db", "bytes": copy.stat().st_size}
    told = json.loads(call("pull", "abacus-sft", "--json")[1])
    assert [told["name"], told["files"][0].endswith("abacus-sft-f16.gguf")] == ["abacus-sft", True]
    assert json.loads(call("help", "--json")[1])["commands"]["sql"] == main.commands["sql"].short_help


def test_plot_tells_of_its_figure_as_json(folder, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'localent[plot]'")
    monkeypatch.chdir(folder)
    told = json.loads(call("plot", "--kind", "curves", "-o", tmp_path / "a.svg", "--json")[1])
    assert (told["file"], told["kind"], len(told["panels"]) > 0) == (str(tmp_path / "a.svg"), "curves", True)


def test_a_figure_without_data_says_what_is_missing(folder, tmp_path, monkeypatch):
    """Three problems are probed, and too few to recalibrate: "nothing was probed" was not true."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'localent[plot]'")
    monkeypatch.chdir(folder)
    code, _, err = call("plot", "--kind", "gain", "-o", tmp_path / "gain.svg")
    assert (code, "half of them recalibrate the others" in err) == (1, True)
