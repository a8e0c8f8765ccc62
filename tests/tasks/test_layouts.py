"""The layouts that data files have: loaded as they are meant, or refused in a sentence that names the option."""

import json
import logging
import sys
from collections import Counter

import pyarrow
import pytest
from helpers.runs import call
from pyarrow import parquet

from localent.errors import LocalentError, UsageError
from localent.records import Choice
from localent.tasks import CHOICE, NUMBER, Columns, load, rows
from localent.tasks.kinds import YES_NO

HELLASWAG = [
    {"ind": i, "activity_label": "Baking", "ctx": f"A man opens oven {i}. He", "endings": list("wxyz"), "label": label}
    for i, label in enumerate(("3", "0", "1"))
]
PIQA = [{"goal": f"How do I cool {i}?", "sol1": "Put it on ice.", "sol2": "Boil it.", "label": i % 2} for i in range(4)]
WINOGRANDE = [
    {
        "qID": str(i),
        "sentence": f"Tom thanked Ben as _ had helped {i} times.",
        "option1": "Tom",
        "option2": "Ben",
        "answer": a,
    }
    for i, a in enumerate("21")
]
SVAMP = [
    {
        "ID": f"s{i}",
        "Body": f"There are {i} jars on a shelf in the shop",
        "Question": "How many jars?",
        "Answer": float(i),
    }
    for i in range(3)
]


def file_of(folder, rows, name="rows.jsonl"):
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def loaded(folder, rows, name="rows.jsonl", **columns):
    return load("mine", file_of(folder, rows, name), Columns(**columns))


def refused(folder, rows, message, name="rows.jsonl", **columns):
    with pytest.raises(UsageError, match=message):
        loaded(folder, rows, name, **columns)


# ── options in columns that nobody named ──────────────────────────────────────────────────────────────────────────


def test_hellaswag_never_becomes_a_number_task(tmp_path):
    named = dict(question="ctx", answer="label")
    refused(
        tmp_path, HELLASWAG, "options in 'endings'.* --choices endings --answer-is index0; or --kind number", **named
    )
    refused(tmp_path, HELLASWAG, "say which is meant|counted from", **named, choices="endings")
    task = loaded(tmp_path, HELLASWAG, **named, choices="endings", answer_is="index0")
    assert (task.kind, [p.answer for p in task.problems]) == (CHOICE, ["D", "A", "B"])
    as_number = loaded(tmp_path, HELLASWAG, **named, kind="number")
    assert (as_number.kind, as_number.problems[0].answer) == (NUMBER, "3")


def test_piqa_never_becomes_a_number_task(tmp_path):
    named = dict(question="goal", answer="label")
    refused(tmp_path, PIQA, "options in 'sol1,sol2'.* --choices sol1,sol2 --answer-is index0", **named)
    task = loaded(tmp_path, PIQA, **named, choices="sol1,sol2", answer_is="index")
    assert [p.answer for p in task.problems] == ["A", "B", "A", "B"]
    assert task.problems[0].choices == (Choice("A", "Put it on ice."), Choice("B", "Boil it."))


def test_winogrande_never_becomes_a_number_task(tmp_path):
    named = dict(question="sentence", answer="answer")
    refused(tmp_path, WINOGRANDE, "options in 'option1,option2'.* --answer-is index0 or index1", **named)
    task = loaded(tmp_path, WINOGRANDE, **named, choices="option1,option2", answer_is="index")
    assert [p.answer for p in task.problems] == ["B", "A"]  # an index of 2 among two options counts from 1


@pytest.mark.parametrize("answer", ["B", 1, "1"])
def test_columns_a_to_d_are_asked_about_and_keep_their_labels(tmp_path, answer):
    row = {"question": "Which?", "A": "red", "B": "green", "C": "blue", "D": "7", "answer": answer}
    refused(tmp_path, [row], "options in 'A,B,C,D'.* --choices A,B,C,D")
    how = "label" if answer == "B" else "index0"
    problem = loaded(tmp_path, [row], choices="A,B,C,D", answer_is=how).problems[0]
    assert ("".join(c.label for c in problem.choices), problem.answer) == ("ABCD", "B")


def test_numbers_beside_numbered_columns_stay_numbers(tmp_path):
    """Answers that no option can be meant by need no question."""
    rows = [
        {"question": f"{i}?", "hint1": "add", "hint2": "halve", "tags": ["a", "b"], "answer": 40 + i} for i in range(3)
    ]
    assert loaded(tmp_path, rows).kind is NUMBER


# ── which option is the true one ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ((0, 1, 2), "ABC"),
        ((1, 2, 3), "ABC"),
        (("1.0", 3.0), "AC"),
        ((0, 3), "from 0 and"),
        ((1, 2), "may count from 0 or"),
    ],
)
def test_an_index_is_told_apart_by_the_whole_file_or_asked(tmp_path, answers, found):
    rows = [{"question": f"{i}?", "choices": ["red", "green", "blue"], "answer": a} for i, a in enumerate(answers)]
    if not found.isupper():
        return refused(
            tmp_path, rows, "from 0 and from 1: say --answer-is index0" if "and" in found else found, answer_is="index"
        )
    assert "".join(p.answer for p in loaded(tmp_path, rows, answer_is="index").problems) == found
    return None


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"choices": {"A": "red", "B": "green"}, "answer": "B"}, {}),
        ({"choices": '{"A": "red", "B": "green"}', "answer": "B"}, {}),
        ({"choices": "['red', 'green']", "answer": "green"}, {}),
        (
            {"held": {"choices": ["red", "green"], "labels": [0, 1]}},
            {"choices": "held.choices", "answer": "held.labels"},
        ),
        ({"held": {"red": 0, "green": 1}}, {"choices": "held", "answer": "held"}),
        ({"held": {"text": ["red", "green"], "label": ["A", "B"]}, "answer": "B"}, {"choices": "held"}),
    ],
)
def test_options_of_every_layout(tmp_path, row, columns):
    problem = loaded(tmp_path, [{"question": "Which?", **row}], **columns).problems[0]
    assert (problem.choices, problem.answer) == ((Choice("A", "red"), Choice("B", "green")), "B")


GPQA = ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"]


def test_options_are_shuffled_by_the_seed_and_the_true_one_is_followed(tmp_path):
    rows = [dict(zip(GPQA, ("right", "w1", "w2", "w3"), strict=True)) | {"Question": f"{i}?"} for i in range(400)]
    named = dict(question="Question", answer="Correct Answer", choices=",".join(GPQA), answer_is="text")
    first, again, other = (loaded(tmp_path, rows, **named, shuffle=seed).problems for seed in (0, 0, 1))
    assert first == again != other
    for problem in first:
        assert [c.label for c in problem.choices] == list("ABCD")
        assert {c.label: c.text for c in problem.choices}[problem.answer] == "right"
        assert sorted(c.text for c in problem.choices) == ["right", "w1", "w2", "w3"]
    counts = Counter(p.answer for p in first)
    assert all(70 < counts[label] < 130 for label in "ABCD"), counts  # 100 expected, 3.5 standard deviations


def test_what_speaks_of_the_labels_as_they_were_is_left_out(tmp_path):
    row = {"question": "Which?", "choices": ["red", "green"], "answer": "A", "solution": "It is A.\nThe answer is A."}
    assert loaded(tmp_path, [row]).problems[0].solution
    assert loaded(tmp_path, [row], shuffle=1).problems[0].solution is None
    refused(tmp_path, [{"question": "a?", "answer": 1}], "no options, so --shuffle-options has no effect", shuffle=1)


# ── stories and passages ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_story_of_svamp_is_never_lost(tmp_path):
    named = dict(question="Question", answer="Answer", id="ID")
    refused(
        tmp_path, SVAMP, "has text in 'Body' beside 'Question': add --context Body if .* or --context none", **named
    )
    assert loaded(tmp_path, SVAMP, **named, context="Body").problems[1].question == (
        "There are 1 jars on a shelf in the shop. How many jars?"
    )
    assert loaded(tmp_path, [SVAMP[0]], **named, context="none").problems[0].question == "How many jars?"
    refused(tmp_path, SVAMP, "line 1 has no column 'Story'", **named, context="Story")


def test_a_story_may_be_short_where_its_column_is_called_one(tmp_path):
    row = {"question": "How many?", "story": "Tim had 4 pens.", "colour": "light blue", "answer": 4}
    refused(tmp_path, [row], "text in 'story' .* --context story")
    assert loaded(tmp_path, [row], context="story").problems[0].question == "Tim had 4 pens. How many?"


def test_texts_about_a_problem_are_no_stories(tmp_path):
    long = "a text of more than five words that is said about it"
    names = (
        "solution",
        "rationale",
        "cot_content",
        "source_url",
        "originalQuestion",
        "category",
        "Explanation",
        "hint",
    )
    row = {"question": f"{long} What is it?", "part": long, "answer": 7} | dict.fromkeys(names, long)
    assert loaded(tmp_path, [row]).problems[0].answer == "7"


def test_a_passage_with_yes_or_no(tmp_path):
    row = {
        "question": "is ice water",
        "title": "Ice",
        "answer": True,
        "passage": "Ice is water that became solid.",
    }
    refused(tmp_path, [row], "text in 'passage' .* --context passage")
    task = loaded(tmp_path, [row], context="passage")
    assert (task.kind, task.problems[0].answer) == (YES_NO, "yes")
    assert task.problems[0].question == "Ice is water that became solid. is ice water"


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("held", "value"), [([39.0], "39"), (["39", "39.0"], "39"), ({"value": [39]}, "39")])
def test_a_list_of_one_answer_is_that_answer(tmp_path, held, value):
    columns = {"answer": "answer.value"} if isinstance(held, dict) else {}
    assert loaded(tmp_path, [{"question": "a?", "answer": held}], **columns).problems[0].answer == value


def test_a_list_in_a_cell_of_csv(tmp_path):
    assert loaded(tmp_path, ["question,answer", "a?,[39.0]"], "rows.csv").problems[0].answer == "39"


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────

MMLU = ['"Which, if any?",red,green,blue,none,B', "What is 2?,1,2,3,4,B"]


def test_csv_without_a_header_says_so_and_loads_with_its_names(tmp_path):
    names = ("question", "A", "B", "C", "D", "answer")
    refused(tmp_path, MMLU, "or all of them with --columns if the file has no header", "rows.csv")
    refused(tmp_path, ["a?,1,1,2,3,A", *MMLU], "'1' twice.*--columns if the file has no header", "rows.csv")
    problems = loaded(tmp_path, MMLU, "rows.csv", header=names, choices="A,B,C,D", answer_is="label").problems
    assert [(p.question, p.answer, p.choices[1].text) for p in problems] == [
        ("Which, if any?", "B", "green"),
        ("What is 2?", "B", "2"),
    ]
    refused(tmp_path, MMLU, "line 1 has another number of cells than --columns names", "rows.csv", header=names[:-1])
    refused(tmp_path, HELLASWAG, "names its columns itself, so --columns has no effect", header=names)


def test_rows_inside_one_object(tmp_path):
    whole = json.dumps({"canary": "-", "examples": [{"question": "2 + 2 =", "answer": "4"}]}, indent=1)
    assert loaded(tmp_path, [whole], "rows.json").problems[0].answer == "4"
    one_line = json.dumps({"data": [{"question": "2 + 2 =", "answer": "4"}]})
    assert loaded(tmp_path, [one_line], "rows.json").problems[0].answer == "4"
    row = {"q": "Which?", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}], "answer": "A"}
    assert loaded(tmp_path, [row], question="q").problems[0].question == "Which?"


def test_parquet(tmp_path, monkeypatch):
    path = tmp_path / "rows.parquet"
    rows = [{"question": f"{i}?", "choices": ["red", "green", "blue"], "answer": i} for i in range(3)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    task = load("mine", path, Columns(answer_is="index0"))
    assert [p.answer for p in task.problems] == ["A", "B", "C"]
    assert load("mine", tmp_path, Columns(answer_is="index0")).problems == task.problems  # found in its folder
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match=r"is not Parquet that can be read .*: fetch it again"):
        load("mine", path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        LocalentError, match=r"pip install 'localent\[parquet\]', or save .*rows\.parquet as JSON Lines"
    ):
        load("mine", path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ASDiv.xml", "is XML, which is not read: convert it to JSON Lines"),
        ("rows.json", "is XML, which is not read"),
        ("rows.jsonl.gz", "is compressed, which is not read: unpack it"),
        ("rows.xlsx", "is an Excel workbook"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, name, message):
    refused(tmp_path, ['<?xml version="1.0"?>', "<Problem/>"], message, name)


def test_unreadable_rows_are_left_out_only_when_asked_and_listed(tmp_path, caplog):
    rows = [
        {"question": "a?", "answer": 1},
        "{",
        {"question": "b?", "answer": "Paris"},
        {"question": "c?", "answer": 3},
    ]
    path = file_of(tmp_path, rows)
    with pytest.raises(UsageError, match="line 2 is not JSON"):
        load("mine", path)
    with caplog.at_level(logging.WARNING, "localent"):
        task = load("mine", path, skip_unreadable=True)
    assert [p.answer for p in task.problems] == ["1", "3"]
    assert "2 of the 4 rows" in caplog.text
    assert "line 2 is not JSON" in caplog.text
    assert "line 3 has the answer 'Paris'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "localent"):
        load(
            "mine",
            file_of(tmp_path, [*["{"] * 30, {"question": "a?", "answer": 1}], "many.jsonl"),
            skip_unreadable=True,
        )
    assert caplog.text.count("is not JSON") == 20
    assert "and line 21, line 22, line 23" in caplog.text
    with pytest.raises(UsageError, match="has no problems"):
        load("mine", file_of(tmp_path, ["{"], "other.jsonl"), skip_unreadable=True)


def test_the_command_line_passes_the_options_on(tmp_path):
    plain, path = (
        ("prompt", "abacus-sft", "mine", "--cue", "sentence"),
        file_of(tmp_path, [*MMLU, "broken"], "rows.csv"),
    )
    how = ("--columns", "question,A,B,C,D,answer", "--choices", "A,B,C,D", "--answer-is", "label", "--skip-unreadable")
    code, out, told = call(*plain, "--data", path, *how, "--shuffle-options", 3)
    assert (code, "Which, if any?" in out) == (0, True), told
    assert "1 of the 3 rows" in told
    how = ("--question", "Question", "--answer", "Answer", "--context", "Body")
    code, out, told = call(*plain, "--data", file_of(tmp_path, SVAMP), *how)
    assert (code, "0 jars on a shelf in the shop. How" in out) == (0, True), told


def test_a_header_of_very_many_columns_is_read_at_once(tmp_path):
    """Counting each name in all names took minutes."""
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{i}" for i in range(100_000)) + "\n")
    with pytest.raises(UsageError, match="has no problems in it"):
        load("mine", path)


def test_parquet_that_stands_for_more_than_it_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "MOST_BYTES", 1 << 20)
    same = pyarrow.table({"question": ["x" * 1000] * 20_000, "answer": ["5"] * 20_000})
    parquet.write_table(same, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(UsageError, match="holds more than 1 MB of rows"):
        load("mine", tmp_path / "a.parquet")


def _odd_parquet(kind):
    question, answer = pyarrow.array(["x"]), pyarrow.array(["5"])
    if kind == "text":  # bytes that are no UTF-8, where it says text
        buffers = [None, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xff\xfe")]
        question = pyarrow.Array.from_buffers(pyarrow.string(), 1, buffers)
    third = {
        "time": pyarrow.array([2**62], pyarrow.timestamp("us")),
        "zone": pyarrow.array([1], pyarrow.timestamp("ns", tz="Nowhere/Land")),
    }.get(kind, answer)
    names = ["question", "answer", "answer" if kind == "twice" else "more"]
    return pyarrow.Table.from_arrays([question, answer, third], names=names)


@pytest.mark.parametrize("kind", ["time", "zone", "text", "twice"])
def test_parquet_with_values_that_python_lacks(tmp_path, kind):
    parquet.write_table(_odd_parquet(kind), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=r"is not Parquet that can be read|has the column 'answer' twice"):
        load("mine", tmp_path / "a.parquet")
