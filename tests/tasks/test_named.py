"""tasks.toml: every task that is known by name loads from a file in its public layout; users add their own."""

import json
import logging
import sys
import types
from pathlib import Path

import pytest
from helpers.runs import call

from localent.errors import UsageError
from localent.tasks import BUNDLED, Columns, known, load
from localent.tasks.kinds import named
from localent.tasks.named import FILE

LAYOUTS = Path(__file__).parents[1] / "data" / "layouts"  # tiny files of our own wording, NAME.* and NAME-other.*
REFUSED = {"asdiv.xml"}
ANSWERS = {
    "gsm8k": "36",
    "svamp": "32",
    "asdiv": "9",
    "multiarith": "19",
    "aime24": "24",
    "arc-easy": "A",
    "mmlu": "C",
    "mmlu-pro": "E",
    "commonsenseqa": "B",
    "hellaswag": "A",
    "piqa": "A",
    "winogrande": "B",
    "bbh-navigate": "yes",
    "bbh-boolean-expressions": "no",
    "bbh-object-counting": "3",
    "bbh-multistep-arithmetic-two": "-6",
    "bbh-word-sorting": "apple fig pear",
    "bbh-dyck-languages": ") > ]",
    "bbh-formal-fallacies": "valid",
    "bbh-date-understanding": "A",
    "bbh-disambiguation-qa": "B",
    "bbh-geometric-shapes": "J",
    "bbh-reasoning-about-colored-objects": "E",
    "bbh-tracking-shuffled-objects-seven-objects": "G",
}


@pytest.fixture(autouse=True)
def no_list_of_a_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def math_verify(monkeypatch):
    """As if it were installed: loading looks for it, and no more."""
    module = types.ModuleType("math_verify")
    module.__spec__ = types.SimpleNamespace(name="math_verify")
    monkeypatch.setitem(sys.modules, "math_verify", module)


def task_of(path):
    """The longest name of a task that begins the name of a file."""
    return max((name for name in known() if path.stem.startswith(name)), key=len)


FILES = sorted(path for path in LAYOUTS.iterdir() if path.name not in REFUSED and path.suffix != ".lst")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_in_its_public_layout_loads(path, math_verify):
    name = task_of(path)
    entry, task = known()[name], load(name, path, skip_unreadable=name == "asdiv")
    assert task.kind is named(entry.kind)
    assert ANSWERS.get(name, task.problems[0].answer) == task.problems[0].answer
    chances = [task.kind.chance(problem) for problem in task.problems]
    guessed = 0 if entry.kind == "text" else entry.chance  # valid or invalid: a text does not know its alternatives
    assert sum(chances) / len(chances) == pytest.approx(guessed, abs=0.12)
    assert task.pool == task.kind.examples  # never a problem of a public test set


def test_every_task_has_a_file_in_its_layout():
    covered = {task_of(path) for path in FILES}
    assert set(known()) - covered == {"gsm-symbolic-p1", "gsm-symbolic-p2"}  # like gsm-symbolic


def test_what_is_refused_names_the_way_out():
    with pytest.raises(UsageError, match="is XML, which is not read: convert it to JSON Lines"):
        load("asdiv", LAYOUTS / "asdiv.xml")
    with pytest.raises(
        UsageError, match=r"no column 'Question'.* \(it has .*name its columns with --question, --answer"
    ):
        load("svamp", LAYOUTS / "gsm8k.jsonl")
    with pytest.raises(UsageError, match="line 2 has the answer '5; 7', which is not one number"):
        load("asdiv", LAYOUTS / "asdiv.jsonl")


def test_labels_in_a_file_of_their_own_belong_to_the_rows_in_order(tmp_path):
    """PIQA at its first home: valid.jsonl, and valid-labels.lst with a label a line."""
    rows, labels = tmp_path / "valid.jsonl", tmp_path / "valid-labels.lst"
    row = (LAYOUTS / "piqa-first.jsonl").read_text().strip()
    rows.write_text(f"{row}\n{row.replace('bread', 'cake')}\n")
    with pytest.raises(
        UsageError, match=r"no column 'label', and no file valid-labels\.lst with the answers is beside it"
    ):
        load("piqa", rows)
    labels.write_text("1\n")
    with pytest.raises(UsageError, match="has 1 answers for 2 problems: fetch both files of one split"):
        load("piqa", rows)
    labels.write_text("1\n0\n")
    assert [problem.answer for problem in load("piqa", tmp_path).problems] == ["B", "A"]


def test_options_at_the_end_of_a_question_are_its_options(tmp_path):
    """BIG-Bench Hard: "Options:" and a lettered list in the text, the label in brackets as the answer."""
    (problem,) = load("bbh-date-understanding", LAYOUTS / "bbh-date-understanding.json").problems
    assert problem.question.endswith("What is the date today?")
    assert [(c.label, c.text) for c in problem.choices][:2] == [("A", "03/05/2031"), ("B", "03/03/2031")]
    own = tmp_path / "own.jsonl"
    own.write_text(json.dumps({"q": "Which?\nOptions:\n(A) one\nline more\n(B) two", "a": "(B)"}))
    with pytest.raises(UsageError, match="options in its questions, after a line 'Options:': add --choices q"):
        load("mine", own, Columns(question="q", answer="a"))
    (problem,) = load("mine", own, Columns(question="q", answer="a", choices="q")).problems
    assert (problem.question, problem.answer, problem.choices[0].text) == ("Which?", "B", "one\nline more")
    own.write_text(json.dumps({"q": "Which?", "a": "(B)"}))
    with pytest.raises(UsageError, match=r"has no line 'Options:'.*: name the options with --choices"):
        load("mine", own, Columns(question="q", answer="a", choices="q"))


def test_stories_passages_and_lines_before_the_question_are_part_of_it():
    assert load("svamp", LAYOUTS / "svamp.json").problems[0].question.startswith("A crate holds 8 melons")
    assert load("boolq", LAYOUTS / "boolq.jsonl").problems[0].question.startswith("Ice floats, because")
    endings = load("hellaswag", LAYOUTS / "hellaswag.jsonl").problems[0]
    assert endings.question.startswith("Which ending continues this text?\nA woman opens")
    assert endings.choices[0].text == "takes out a loaf of bread."


def test_a_set_whose_true_option_comes_first_is_shuffled():
    task = load("gpqa-diamond", LAYOUTS / "gpqa-diamond.csv")
    assert {{c.label: c.text for c in p.choices}[p.answer] for p in task.problems} == {"the proton"}
    assert len({p.answer for p in task.problems}) > 1
    for path in LAYOUTS.glob("truthfulqa*"):
        (problem,) = load("truthfulqa-mc1", path).problems
        assert {c.label: c.text for c in problem.choices}[problem.answer] == "It passes through you."


def test_a_list_of_ones_own_wins_and_is_checked(tmp_path):
    own = tmp_path / "config" / "localent" / FILE
    own.parent.mkdir(parents=True)
    fields = 'about = "-"\nkind = "number"\nchance = 0\nlicence = "-"\nhome = "-"\nsmall = "-"\nfiles = ["*.jsonl"]\n'
    own.write_text(f'[mine]\n{fields}layouts = [{{question = "q", answer = "a"}}]\n[gsm8k]\n{fields}')
    (tmp_path / "x.jsonl").write_text('{"q": "1 + 1?", "a": 2}')
    assert load("mine", tmp_path / "x.jsonl").problems[0].answer == "2"
    assert known()["gsm8k"].about == "-"
    for text, message in (
        ("[mine]\nkind = 3", r"has kind = 3; write a text in quotes"),
        ('[mine]\nkind = "number"', r"\[mine\] is missing .*'about'"),
        ('[mine]\ncolour = "red"', "unknown field 'colour'"),
        ('[mine]\nlike = "nothing"', "like 'nothing', which no earlier table defines"),
        (f'[mine]\n{fields}layouts = [{{colour = "red"}}]', "has the layout"),
        (f"[mine]\n{fields}".replace('"number"', '"colour"'), "The kind is one of number, choice"),
    ):
        own.write_text(text)
        with pytest.raises(UsageError, match=message):
            known()


def test_columns_of_a_known_task_are_its_own():
    with pytest.raises(UsageError, match="leave them out, or give hellaswag another name"):
        load("hellaswag", LAYOUTS / "hellaswag.jsonl", Columns(question="ctx"))


def test_the_tasks_are_listed(tmp_path):
    code, out, _ = call("tasks", "--json")
    assert code == 0
    assert all(f'"{name}"' in out for name in (*BUNDLED, *known()))
    code, out, _ = call("tasks", "gpqa-diamond")
    assert (code, "It is gated" in out) == (0, True)
    code, _, told = call("tasks", "nothing")
    assert (code, "'localent tasks' lists all" in told) == (2, True)


def test_nothing_is_logged_of_a_file_that_loads(caplog):
    with caplog.at_level(logging.WARNING, "localent"):
        load("mmlu", LAYOUTS / "mmlu.csv")
    assert not caplog.text
