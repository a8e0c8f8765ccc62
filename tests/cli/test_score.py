"""localent score: a plain text, or the worked solutions of a task."""

import csv
import io
import json
import shlex

import pytest
from click.testing import CliRunner

from localent.analysis.curves import FLOORED
from localent.cli import main


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


@pytest.fixture
def worked(tmp_path):
    """Problems with worked solutions of one to three steps."""
    path = tmp_path / "worked.jsonl"
    steps = ["First 2 + 1 = 3.", "Then 3 + 4 = 7.", "So 7 + 1 = 8."]
    rows = [
        {
            "question": f"Sum {i}?",
            "answer": 3 + i,
            "solution": "\n".join([*steps[: 1 + i % 3], f"The answer is {3 + i}."]),
        }
        for i in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_score_on_the_command_line(model, worked, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("One and one is two.")
    options = ["--lanes", "2", "--threads", "1", "--db", str(tmp_path / "x.db")]
    plain = CliRunner().invoke(main, ["score", model, str(text), *options[:-2], "--json"])  # it is stored nowhere
    assert plain.exit_code == 0, plain.output
    assert json.loads(plain.output.splitlines()[0])["perplexity"] > 1
    gold = CliRunner().invoke(main, ["score", model, "made", "--gold", "--data", str(worked), *options])
    assert gold.exit_code == 0, gold.output
    assert "rise of ln p(true)" in gold.output
    assert FLOORED in " ".join(gold.output.split())
    told = CliRunner().invoke(
        main, ["score", model, "made", "--gold", "--data", str(worked), *options, "--system", "Hi"]
    )
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines()[-1] != gold.stdout.splitlines()[-1]  # another run
    missing = CliRunner().invoke(main, ["score", model, "nowhere.txt", *options])
    assert missing.exit_code == 2
    assert "No file 'nowhere.txt'" in missing.output


IDLE_ON_TEXT = [
    ["-n", "3"],
    ["--shots", "1"],
    ["--system", "Hi"],
    ["--template-var", "enable_thinking=false"],
    ["--max-fed", "8"],
    ["--data", "rows.jsonl"],
    ["--question", "q"],
    ["--answer-is", "label"],
]


@pytest.mark.parametrize("option", IDLE_ON_TEXT, ids=" ".join)
def test_an_option_that_does_nothing_to_a_plain_text_is_refused(model, tmp_path, option):
    text = tmp_path / "text.txt"
    text.write_text("One and one is two.")
    done = CliRunner().invoke(main, ["score", model, str(text), *option])
    assert done.exit_code == 2
    assert f"A plain text does not use {option[0]}: leave it out." in done.output


def test_a_text_that_is_not_kept_needs_no_database(model, tmp_path):
    (tmp_path / "text.txt").write_text("One and one is two.")
    done = CliRunner().invoke(main, ["score", model, str(tmp_path / "text.txt"), "--db", "other.db"])
    assert done.exit_code == 2
    assert "A text without --keep does not use --db: leave it out." in done.output


def test_texts_are_kept_dumped_and_averaged(model, tmp_path):
    """The dumped rows are the text, and their means are what was printed."""
    texts = {"a.txt": "One and one is two. " * 9, "b.txt": "Nothing — of that: sort."}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    db, files = tmp_path / "x.db", [str(tmp_path / name) for name in texts]
    options = ["--lanes", "2", "--threads", "1", "--db", str(db), "--window", "32"]
    done = CliRunner().invoke(main, ["score", model, *files, "--keep", "--json", *options])
    assert done.exit_code == 0, done.output
    first, second, average = map(json.loads, done.stdout.splitlines())
    assert average["name"] == "macro average"
    assert average["surprisal"] == pytest.approx((first["surprisal"] + second["surprisal"]) / 2)
    assert average["perplexity"] == pytest.approx((first["perplexity"] * second["perplexity"]) ** 0.5)
    dump = next(line for line in done.stderr.splitlines() if line.startswith("localent sql"))
    rows = CliRunner().invoke(main, shlex.split(dump)[1:])
    assert rows.exit_code == 0, rows.output
    read = list(csv.DictReader(io.StringIO(rows.stdout)))
    assert "".join(row["text"] for row in read) == texts["a.txt"]
    surprisals = [float(row["surprisal"]) for row in read if row["surprisal"]]
    assert len(surprisals) == first["n_tokens"]
    assert sum(surprisals) / len(surprisals) == pytest.approx(first["surprisal"])
    again = CliRunner().invoke(main, ["score", model, *files, "--keep", "--json", *options])
    assert again.stdout == done.stdout
    assert CliRunner().invoke(main, ["check", str(db)]).exit_code == 0


def test_a_window_does_nothing_to_worked_solutions_and_is_refused(model, worked):
    done = CliRunner().invoke(main, ["score", model, "made", "--gold", "--data", str(worked), "--window", "64"])
    assert done.exit_code == 2
    assert "--gold does not use --window" in done.output
