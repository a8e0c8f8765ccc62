"""An option that has no effect on what was asked for is refused by name, before any work."""

import pytest
from click.testing import CliRunner
from helpers.runs import call

from localent.cli import main
from localent.store import open_db

CASES = [
    ("run abacus-sft demo-number --temperature 0", "--top-p 0.9", "--temperature 0"),
    ("run abacus-sft demo-number --temperature 0", "--top-k 40", "--temperature 0"),
    ("run abacus-sft demo-number --temperature 0", "--min-p 0.1", "--temperature 0"),
    ("run abacus-sft demo-number --presence-penalty 0", "--repeat-last-n 9", "A run without penalties"),
    ("run abacus-sft demo-number --no-probe", "--epsilon 0.1", "--no-probe"),
    ("run abacus-sft demo-number --no-probe", "--max-fed 4", "--no-probe"),
    ("run abacus-sft demo-number --no-probe", "--probes all", "--no-probe"),
    ("study --temperature 0", "--top-p 0.9", "--temperature 0"),
    ("study --rollouts 0", "--rolled 3", "--rollouts 0"),
    ("ask abacus-sft 2+3? --json", "--measure surprisal", "--json"),
    ("ask abacus-sft 2+3? --json", "--color", "--json"),
    ("show 12 --json", "--measure surprisal", "--json"),
    ("show", "--measure surprisal", "A list of traces"),
    ("show", "--color", "A list of traces"),
    ("prompt abacus-sft demo-number --json", "--text", "--json"),
    ("doctor --quick", "--gpu-layers 0", "--quick"),
    ("sql --queries", "--db other.db", "--queries"),
    ("sql --queries", "--limit 3", "--queries"),
    ("sql --queries", "--timeout 3", "--queries"),
    ("serve --metadata", "--port 9000", "--metadata"),
    ("serve --metadata", "--open", "--metadata"),
    ("models --known", "--lanes 8", "--known"),
    ("models --known", "--ctx 100", "--known"),
    ("models --known", "--in .", "--known"),
    ("models abacus-sft", "--family abacus", "The model abacus-sft"),
    ("models abacus-sft", "--lanes 8", "The model abacus-sft"),
    ("models abacus-sft", "--in .", "The model abacus-sft"),
    ("compare abacus-sft abacus-base --task demo-number --json", "--full", "--json"),
]


@pytest.mark.parametrize(("command", "unused", "form"), CASES, ids=[f"{c} {o}" for c, o, _ in CASES])
def test_an_option_without_effect_is_refused(tmp_path, monkeypatch, command, unused, form):
    monkeypatch.chdir(tmp_path)
    open_db("localent.db").close()
    done = CliRunner().invoke(main, [*command.split(), *unused.split()])
    assert done.exit_code == 2, done.output
    assert f"{form} does not use {unused.split()[0]}: leave it out." in done.output


def test_an_argument_without_effect_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = call("sql", "select 1", "--queries")
    assert (code, "--queries does not use QUERY: leave it out." in err) == (2, True)


def test_which_models_are_listed_is_refused_beside_a_name():
    code, _, err = call("models", "abacus-sft", "--here")
    assert (code, "The model abacus-sft does not use --here: leave it out." in err) == (2, True)
