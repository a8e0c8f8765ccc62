"""localent compare: an option that does nothing to what is compared on is refused."""

from pathlib import Path

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


TINY = Path(__file__).parents[1] / "data" / "perplexity"


@pytest.mark.parametrize(
    ("form", "begins", "holds"),
    [
        ([], "1 candidate beside tiny-f16.gguf on 2 chunks of text.txt", "KLD"),
        (["--full"], "Compared with ", "Cor(ln(PPL(Q)), ln(PPL(base)))"),
        (["--md"], "| file", "| tiny-f16.gguf"),
        (["--csv"], "file,quant,sha256,", "tiny-f16.gguf,F16,"),
        (["--card"], "## What quantization changes", "localent compare tiny-f16.gguf tiny-f16.gguf --text text.txt"),
    ],
)
def test_every_form_of_a_comparison(tmp_path, form, begins, holds):
    model, how = str(TINY / "tiny-f16.gguf"), ["--ctx", "64", "--chunks", "2", "--threads", "1"]
    command = ["compare", model, model, "--text", str(TINY / "text.txt"), *how, "--db", str(tmp_path / "c.db")]
    done = CliRunner().invoke(main, [*command, *form])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(begins)
    assert holds in done.stdout
    assert str(TINY) not in done.stdout


@pytest.mark.parametrize(("on", "idle"), CASES)
def test_an_idle_option_is_named(on, idle):
    done = CliRunner().invoke(main, ["compare", "abacus-sft", "abacus-base", *on, *idle])
    assert done.exit_code == 2
    assert f"{on[0]} does not use {idle[0].replace('no-', '')}: leave it out." in done.output
