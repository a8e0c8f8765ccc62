"""localent.toml: defaults by command and by model, below the command line and above the built-in ones."""

from __future__ import annotations

import click
import pytest
from helpers.runs import call, query

from localent.cli import config, main

QUESTION = ("ask", "abacus-sft", "What is 2 + 3?")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def seen(monkeypatch):
    """Function: words of a command -> its parameters as the command would get them; nothing is run."""

    def of(*words: str) -> dict:
        got: dict = {}
        command = main.commands[next(word for word in words if word in main.commands)]
        with monkeypatch.context() as patch:
            patch.setattr(
                command, "callback", config.telling(lambda **_: got.update(click.get_current_context().params))
            )
            code, _, err = call(*words)
        assert code == 0, err
        return got | {"err": err}

    return of


def write(text: str, name: str = "localent.toml") -> None:
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)


# ── which value wins ──────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_file_nothing_changes_and_nothing_is_told(seen):
    got = seen(*QUESTION)
    assert (got["temperature"], got["seed"], got["err"]) == (0.7, 0, "")


LAYERS = """seed = 1
[ask]
seed = 2
[model.abacus-sft]
seed = 3
[model.abacus-sft.ask]
seed = 4
"""


@pytest.mark.parametrize(("n_lines", "seed"), [(1, 1), (3, 2), (5, 3), (7, 4)])
def test_the_more_particular_table_wins(seen, n_lines, seed):
    write("".join(LAYERS.splitlines(keepends=True)[:n_lines]))
    assert seen(*QUESTION)["seed"] == seed


def test_the_command_line_wins_over_all(seen):
    write(LAYERS)
    got = seen(*QUESTION, "--seed", "9")
    assert (got["seed"], got["err"]) == (9, "")


def test_tables_of_other_commands_and_models_are_left_alone(seen):
    write("[run]\nseed = 2\n[model.abacus-base]\nseed = 3\n")
    assert seen(*QUESTION)["seed"] == 0


@pytest.mark.parametrize("named", ["qwen3-0.6b", "qwen3-0.6b:Q8_0", "models/qwen3-0.6b"])
def test_a_model_is_known_by_its_name_with_any_quant_or_folder(seen, named):
    write('[model."qwen3-0.6b"]\nthink-budget = 99\n')
    assert seen("ask", named, "What is 2 + 3?")["think_budget"] == 99


SEVERAL = (
    ("compare", "qwen3-0.6b", "other.gguf", "--task", "demo-number"),
    ("compare", "other.gguf", "folder/qwen3-0.6b", "--task", "demo-number"),
    ("compare", "qwen3-0.6b+adapter.gguf:0.5", "other.gguf", "--task", "demo-number"),
    ("choose", "qwen3-0.6b", "other.gguf", "--task", "demo-number"),
    ("choose", "other.gguf", "--task", "demo-number", "--reference", "qwen3-0.6b:F16"),
    ("study", "other.gguf", "qwen3-0.6b"),
    ("study", "--task", "demo-number", "qwen3-0.6b"),
)


@pytest.mark.parametrize("words", SEVERAL, ids=lambda words: " ".join(words[:3]))
def test_commands_of_several_models_take_the_tables_of_each(seen, words):
    write('temperature = 0.1\n[model."qwen3-0.6b"]\ntemperature = 0.25\nseed = 4\n')
    got = seen(*words)
    assert (got["temperature"], got["seed"]) == (0.25, 4)
    assert "temperature = 0.25" in got["err"]
    assert seen(*words, "--seed", "9")["seed"] == 9


def test_the_files_of_a_folder_are_models_that_are_named(seen, tmp_path):
    (tmp_path / "quants").mkdir()
    (tmp_path / "quants" / "a-Q8_0.gguf").touch()
    write('[model."a-Q8_0.gguf"]\nseed = 4\n')
    assert seen("choose", "quants", "--task", "demo-number")["seed"] == 4


def test_a_source_of_quants_is_a_model_that_is_named(seen):
    write('[model."a.gguf"]\nthreads = 3\n')
    assert seen("quantize", "a.gguf", "Q8_0")["threads"] == 3


TWO = '[model."a.gguf"]\nseed = 1\ntemperature = 0.5\n[model."b.gguf"]\nseed = 2\ntemperature = 0.5\n'


def test_tables_of_models_side_by_side_that_contradict_each_other_are_refused(seen):
    write(TWO)
    code, _, err = call("study", "a.gguf", "b.gguf")
    told = '[model."a.gguf"] seed = 1 and [model."b.gguf"] seed = 2: for models side by side, decide with --seed.'
    assert (code, err) == (2, f"localent: localent.toml: {told}\n")
    got = seen("study", "a.gguf", "b.gguf", "--seed", "3")
    assert (got["seed"], got["temperature"]) == (3, 0.5)


def test_an_option_that_a_command_lacks_is_no_default_of_it(seen):
    write("think-budget = 99\n")
    got = seen("runs")
    assert "think_budget" not in got
    assert got["err"] == ""


def test_config_names_another_file_and_no_config_none(seen):
    write("seed = 1\n")
    write("seed = 2\n", "other.toml")
    assert seen("--config", "other.toml", *QUESTION)["seed"] == 2
    assert seen("--no-config", *QUESTION)["seed"] == 0
    code, _, err = call("--no-config", "--config", "other.toml", *QUESTION)
    assert (code, "contradict" in err) == (2, True)


# ── kinds of options ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "text", "name", "value"),
    [
        (QUESTION, "probe = false", "probe", False),
        (QUESTION, "no-probe = true", "probe", False),
        (QUESTION, "option = ['iron', 'wood']", "option", ("iron", "wood")),
        (QUESTION, "gpu-layers = 0", "gpu_layers", 0),
        (("runs",), "json = true", "form", "json"),
        (("runs",), "json = false", "form", None),
        (("runs", "--csv"), "json = true", "form", "csv"),
        (("run", "abacus-sft", "demo-number"), "n = 5", "n", 5),
        (("run", "abacus-sft", "demo-number"), "probes = 'all'", "probes", None),
    ],
)
def test_flags_choices_lists_and_short_options(seen, words, text, name, value):
    write(f"{text}\n")
    got = seen(*words)
    assert got.get(name, got.get(f"{name}s")) == value


# ── what is told ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_file_and_what_it_sets_are_told_once_on_stderr(seen):
    write("seed = 1\nprobe = false\n[run]\nthreads = 3\n")
    assert seen(*QUESTION, "--temperature", "0")["err"] == "localent: localent.toml sets seed = 1, probe = false.\n"


def test_help_shows_the_default_that_holds():
    write("[ask]\ntemperature = 0.25\n")
    assert "[default: 0.25]" in " ".join(call("ask", "--help")[1].split())


def test_a_card_is_repeated_with_what_the_file_set(seen, monkeypatch):
    write("[compare]\nn = 7\nfull = false\nthreads = 1\n")
    from localent.cli.arguments import typed

    told: list[str] = []
    monkeypatch.setattr(main.commands["compare"], "callback", lambda **_: told.extend(typed("--card")))
    call("--config", "localent.toml", "compare", "a.gguf", "b.gguf", "--card")
    assert told == ["localent", "compare", "a.gguf", "b.gguf", "-n", "7", "--threads", "1"]


# ── what is wrong ─────────────────────────────────────────────────────────────────────────────────────────────────

WRONG = {
    "seed = 'one'": "localent.toml: seed: ",
    "[ask]\nseed = 'one'": "localent.toml: [ask] seed: ",
    "[model.abacus-sft]\nseed = 'one'": 'localent.toml: [model."abacus-sft"] seed: ',
    "[ask]\nsede = 1": "localent.toml: [ask] sede: 'ask' has no option --sede; did you mean 'seed'?",
    "sede = 1": "localent.toml: sede: no command has that option; did you mean 'seed'?",
    "[rum]\nseed = 1": "localent.toml: [rum] is no command; did you mean 'run'?\n",
    "[model.x.asks]\nseed = 1": 'localent.toml: [model."x".asks] is no command',
    "model = 'x'": "localent.toml: 'model' holds tables of models",
    "[ask]\nprobe = 'yes'": "localent.toml: [ask] probe: --probe takes no value: write true or false, got 'yes'.",
    "[ask]\nseed = [1, 2]": "localent.toml: [ask] seed: --seed takes one value, got [1, 2].",
    "[ask]\nseed = true": "localent.toml: [ask] seed: --seed takes one value, got True.",
    "[ask.seed]\nx = 1": "localent.toml: [ask] seed: expected a value, got a table.",
    "seed = ": "localent.toml is not TOML: ",
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.items())
def test_an_error_names_the_file_and_the_key(text, sentence):
    write(f"{text}\n")
    code, _, err = call(*QUESTION)
    assert (code, sentence in err) == (2, True), err


def test_a_file_that_is_named_and_not_there_is_an_error():
    code, _, err = call("--config", "none.toml", "runs")
    assert (code, "none.toml: No such file" in err) == (2, True)


def test_an_error_of_the_command_line_is_not_blamed_on_the_file():
    write("seed = 1\n")
    code, _, err = call(*QUESTION, "--seed", "one")
    assert code == 2
    assert "localent.toml" not in err


# ── the identity of a run ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_the_same_whether_a_setting_is_typed_or_from_the_file():
    words = ("run", "abacus-sft", "demo-number", "-n", "1", "--threads", "1", "--no-probe", "--max-tokens", "4")
    assert call(*words, "--temperature", "0.25", "--db", "typed.db")[0] == 0
    write("[run]\ntemperature = 0.25\ndb = 'file.db'\n")
    assert call(*words)[0] == 0
    select = "select run_id, settings, temperature from runs"
    assert query("typed.db", select) == query("file.db", select)
    assert query("file.db", "select temperature from runs") == [(0.25,)]
