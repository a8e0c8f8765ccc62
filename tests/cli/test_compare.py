"""localent compare: an option that does nothing to what is compared on is refused."""

import pytest
from click.testing import CliRunner

from localent.cli import main

CASES = [
    (["--text", "notes.txt"], ["--seed", "1"]),
    (["--text", "notes.txt"], ["-n", "3"]),
    (["--text", "notes.txt"], ["--no-free"]),
    (["--text", "notes.txt"], ["--data", "rows.jsonl"]),
    (["--kld-base", "base.kld"], ["--ctx", "256"]),
    (["--kld-base", "base.kld"], ["--no-noise"]),
    (["--task", "demo-number"], ["--chunks", "4"]),
    (["--task", "demo-number"], ["--ctx", "1024"]),
    (["--run", "0123456789ab"], ["--temperature", "0"]),
    (["--run", "0123456789ab"], ["--samples", "2"]),
]


@pytest.mark.parametrize(("on", "idle"), CASES)
def test_an_idle_option_is_named(on, idle):
    done = CliRunner().invoke(main, ["compare", "abacus-sft", "abacus-base", *on, *idle])
    assert done.exit_code == 2
    assert f"{on[0]} does not use {idle[0].replace('no-', '')}: leave it out." in done.output
