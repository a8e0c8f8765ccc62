"""Loading problems (real layouts, own files, every kind of broken file) and cutting texts into steps."""

import json
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

from localent import tasks
from localent.errors import UsageError
from localent.records import Choice, token_texts
from localent.tasks import CHOICE, NUMBER, Columns, extract, load, of_trace, split, text_of, to_token_steps

EXCERPTS = Path(__file__).parents[1] / "data"  # our own wording, in the layouts of the public sets


def write(folder, name, *rows):
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def loaded(folder, *rows, name="mine", file="rows.jsonl", **options):
    return load(name, write(folder, file, *rows), **options)


# The public sets as they are


@pytest.mark.parametrize(
    ("name", "folder", "count", "first"),
    [
        ("gsm8k", "gsm8k", 12, ("1", "810", 2)),
        ("svamp", "svamp", 10, ("made-1", "70", None)),
        ("arc-easy", "arc", 10, ("easy_001", "C", None)),
        ("arc-challenge", "arc", 11, ("hard_001", "B", None)),
    ],
)
def test_excerpts_load_whole(name, folder, count, first):
    check_whole(load(name, EXCERPTS / folder), count, first)


@pytest.mark.parametrize(
    ("name", "folder", "count", "first"),
    [
        ("gsm8k", "gsm8k", 1319, ("1", "18", 2)),
        ("svamp", "svamp", 1000, ("chal-1", "51", None)),
        ("arc-easy", "arc", 2376, ("easy-test-0000", "A", None)),
        ("arc-challenge", "arc", 1172, ("Mercury_7175875", "C", None)),
    ],
)
def test_real_files_load_whole(public, name, folder, count, first):
    check_whole(load(name, public(folder)), count, first)


def check_whole(task, count, first):
    problem = task.problems[0]
    assert len(task.problems) == count
    assert task.n_duplicates == 0
    assert (problem.source_id, problem.answer, problem.n_steps) == first
    assert task.kind == (CHOICE if "arc" in task.name else NUMBER)
    assert all(p.answer in [c.label for c in p.choices] for p in task.problems if p.choices)


def test_a_story_without_full_stop_gets_one():
    problems = load("svamp", EXCERPTS / "svamp").problems
    assert problems[0].question.endswith("5 jars in a crate. How much does the honey of a crate weigh?")
    assert problems[1].question.endswith("on a kite. How much money does he have now?")
    assert problems[5].question.endswith("7 miles off! How many miles is it there and back?")
    assert [p.answer for p in problems] == ["70", "7.5", "432", "6", "28", "14", "265", "45", "0.75", "0"]


def test_a_story_of_svamp_without_full_stop_gets_one(public):
    question = load("svamp", public("svamp") / "SVAMP.json").problems[0].question
    assert question.endswith("25 dollars on each pack. How much do you have to pay to buy each pack?")


def test_gsm8k_solutions_lose_their_calculator_marks(public):
    problem = load("gsm8k", public("gsm8k") / "test.jsonl").problems[0]
    assert problem.solution.startswith("Janet sells 16 - 3 - 4 = 9 duck eggs a day.\n")
    assert problem.solution.endswith("\nThe answer is 18.")


def test_solutions_in_the_layout_of_gsm8k_lose_their_calculator_marks():
    problems = load("gsm8k", EXCERPTS / "gsm8k").problems
    assert problems[0].solution.startswith("The ferry carries 6 * 45 = 270 cars a day.\n")
    assert (problems[1].answer, problems[1].solution.endswith("\nThe answer is 1,234.")) == ("1234", True)
    assert not any("<<" in p.solution or "#" in p.solution for p in problems)


def test_arc_keeps_its_keys_and_three_to_five_options():
    problems = [p for name in ("arc-easy", "arc-challenge") for p in load(name, EXCERPTS / "arc").problems]
    assert {"".join(c.label for c in p.choices) for p in problems} == {"ABCD", "1234", "ABC", "123", "ABCDE"}
    digits = [p for p in problems if all(c.text.isdigit() for c in p.choices)]
    assert [(p.answer, len(p.choices)) for p in digits] == [("3", 4), ("4", 4)]


@pytest.mark.parametrize("name", ["demo-number", "demo-choice"])
def test_bundled_tasks_need_no_file(name):
    task = load(name).first(5)
    assert (len(task.problems), task.shots, task.instruction) == (5, 0, "")
    assert len(task.pool) == 64
    assert all(p.n_steps and p.solution for p in task.problems)


# Layouts


STEM = "Which?"
TEXTS = ["red", "green", "blue"]
ARC = {
    "id": "q1",
    "question": {"stem": STEM, "choices": [{"text": t, "label": str(i)} for i, t in enumerate(TEXTS, 1)]},
}
HUB = {"id": "q1", "question": STEM, "choices": {"text": TEXTS, "label": ["1", "2", "3"]}}


@pytest.mark.parametrize("row", [ARC, HUB])
def test_arc_with_numeric_keys_and_three_options_keeps_its_own_labels(tmp_path, row):
    problem = loaded(tmp_path, {**row, "answerKey": "3"}, name="arc-easy").problems[0]
    assert problem.question == STEM
    assert problem.answer == "3"
    assert problem.choices == (Choice("1", "red"), Choice("2", "green"), Choice("3", "blue"))


@pytest.mark.parametrize(("choices", "answer"), [(TEXTS, "B"), (TEXTS, "green"), ("red | green | blue", "green")])
def test_plain_options_get_letters_and_the_answer_may_be_a_text(tmp_path, choices, answer):
    problem = loaded(tmp_path, {"question": STEM, "choices": choices, "answer": answer}).problems[0]
    assert [c.label for c in problem.choices] == ["A", "B", "C"]
    assert problem.answer == "B"


def test_own_columns_from_csv(tmp_path):
    path = tmp_path / "own.csv"
    path.write_bytes('\ufeffnr,frage,loesung\r\n7,"How many, in all?","$1,200.00"\r\n'.encode())
    problem = load("mine", path, Columns(question="frage", answer="loesung", id="nr")).problems[0]
    assert (problem.source_id, problem.question, problem.answer) == ("7", "How many, in all?", "1200")


def test_a_line_separator_inside_a_question_ends_no_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"question": "one\u2028two", "answer": 2}\n', encoding="utf-8")
    assert load("mine", path).problems[0].question == "one\u2028two"


def test_ids_are_content_and_repeated_problems_are_asked_once(tmp_path):
    rows = [
        {"question": "a?", "answer": 1},
        {"question": "b?", "answer": 2},
        {"question": "a?", "answer": "1.0", "id": 9},
    ]
    task = loaded(tmp_path, *rows)
    assert [p.source_id for p in task.problems] == ["1", "2"]
    assert task.n_duplicates == 1
    turned = loaded(tmp_path, *reversed(rows))
    assert {p.problem_id for p in turned.problems} == {p.problem_id for p in task.problems}
    assert task.problems[0].problem_id == "4569cab027f01e2f"  # sha256 of '["a?", "1", []]'


def test_the_first_problems_keep_the_whole_pool(tmp_path):
    rows = [{"question": f"{n}?", "answer": n, "solution": f"The answer is {n}."} for n in range(100)]
    whole = loaded(tmp_path, *rows)
    cut = whole.first(3)
    assert cut.problems == whole.problems[:3]
    assert cut.pool == whole.pool == whole.problems[:64]


def test_without_worked_problems_the_built_in_examples_serve(tmp_path):
    assert loaded(tmp_path, {"question": "a?", "answer": 1}).pool == NUMBER.examples


SUM = re.compile(r"([\d.]+(?: [-+*/] [\d.]+)+) = ([\d.]*\d)")


@pytest.mark.parametrize("kind", [NUMBER, CHOICE])
def test_built_in_examples_are_right(kind):
    """Every sum in them holds, and grading reads the stated answer."""
    for example in kind.examples:
        assert extract(example.solution, kind, example.choices).value == example.answer
        for left, right in SUM.findall(example.solution.replace("$", "")):
            assert eval(left) == pytest.approx(float(right), abs=1e-9), left  # our own text


# Finding files


def test_data_home_is_searched_and_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCALENT_DATA", str(tmp_path))
    with pytest.raises(UsageError, match=r"'localent pull gsm8k', or get it from https://github\.com/openai/.* --data"):
        load("gsm8k")
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path / "gsm8k", "test.jsonl", {"question": "a?", "answer": "so 2\n#### 2"})
    assert load("gsm8k").problems[0].answer == "2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gsm8",), "Did you mean 'gsm8k'"),
        (("nothing-like-it",), r"'localent tasks' lists those there are; any other name takes --data FILE"),
        (("demo-number", Path("x.jsonl")), "takes no --data"),
        (("gsm8k", Path("absent.jsonl")), "No file absent.jsonl"),
        (("gsm8k", None, Columns(answer="a")), "leave them out"),
    ],
)
def test_wrong_requests_say_the_way_out(arguments, message):
    with pytest.raises(UsageError, match=message):
        load(*arguments)


def test_the_first_no_problems_are_refused():
    with pytest.raises(UsageError, match="-n must be at least 1 problem, got 0: leave -n out"):
        load("demo-number").first(0)


def test_a_folder_with_several_files_is_not_guessed_at(tmp_path):
    write(tmp_path, "a.jsonl", "")
    with pytest.raises(UsageError, match="holds no"):
        load("gsm8k", tmp_path)
    write(tmp_path, "b.jsonl", "")
    with pytest.raises(UsageError, match=r"several data files \(a\.jsonl, b\.jsonl\)"):
        load("mine", tmp_path)


# Bad data: one sentence with the file, the line and the way out


GOOD = {"question": "a?", "answer": 1}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GOOD] * 56 + ['{"question": "a?", '], r"rows\.jsonl, line 57 is not JSON \(.*\): fix or remove"),
        ([GOOD, "[1, 2]"], "line 2 is list, not an object"),
        ([GOOD, {"question": "b?"}], r"line 2 has no column 'answer' \(it has 'question'\)"),
        ([GOOD, {"answer": 1}], "line 2 has no column 'question'"),
        ([GOOD, {"question": " ", "answer": 1}], "line 2 has no question text"),
        ([GOOD, {"question": "b?", "answer": "Paris"}], "line 2 has the answer 'Paris', which is not one number"),
        ([GOOD, {"question": "b?", "answer": None}], "line 2 has the answer null: give a number"),
        ([GOOD, {"question": "b?", "answer": True}], "mixes problems of the kinds number and yes/no"),
        ([GOOD, {"question": "b?", "answer": [3, 4]}], r"line 2 accepts several answers \(3, 4\).*add --kind text"),
        ([GOOD, {"question": "b?", "answer": []}], r"line 2 has the answer \[\]: give a number"),
        (
            [GOOD, {"question": "b?", "answer": {"value": 3}}],
            r"inside it, such as --answer answer\.value",
        ),
        ([GOOD, {**GOOD, "n_steps": 10**19}], r"line 2 counts 10+\.\.\. steps"),
        ([GOOD, {**GOOD, "n_steps": "9" * 5000}], r"line 2 counts 9{20}\.\.\. steps"),
        ([json.dumps(GOOD, indent=2)], "one JSON object over several lines: write one object a line, or a list"),
        ([GOOD, '{"question": "b?", "answer": NaN}'], "line 2 has the answer 'nan'"),
        ([GOOD, '{"question": "b?", "answer": 1' + "0" * 5000 + "}"], "line 2 holds unreadable JSON"),
        ([GOOD, '{"question": "\\ud800", "answer": 1}'], "line 2 has invalid Unicode"),
        ([{**GOOD, "choices": TEXTS, "answer": "D"}], "'D', which is not an option label: expected one of A, B, C"),
        ([{**GOOD, "choices": [{"label": "A", "text": "x"}] * 2}], "line 1 has two options labelled 'A'"),
        ([{**GOOD, "choices": ["x"]}], "at least two options"),
        ([{**GOOD, "choices": {"text": ["x"]}}], "unknown layout"),
        ([{**GOOD, "choices": "[broken"}], "broken JSON as options"),
        ([GOOD, {**GOOD, "choices": TEXTS, "answer": "A"}], "mixes problems of the kinds number and choice"),
        ([""], "is empty"),
        (["[]"], "has no problems"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, message):
    with pytest.raises(UsageError, match=message):
        loaded(tmp_path, *rows)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("question,answer\n", "has no problems"),
        ("question,answer\na?,1\nb?\n", "line 3 has another number of cells"),
        ('question,answer\na?,1\n"b?,2\n', "line 3 is not CSV"),
        ("q,a\na?,1\n", "line 2 has no column 'question'"),
        ("question;answer\na?;1\n", "has no comma in its header: separate cells by commas"),
        ("question\tanswer\na?\t1\n", "has no comma in its header: separate cells by commas"),
        ("question,answer,answer\na?,1,2\n", "has the column 'answer' twice"),
    ],
)
def test_bad_csv_is_named(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        load("mine", write(tmp_path, "own.csv", content))


def test_what_is_not_text_is_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"question": "a?", "answer": 1}\n{"question": "caf\xe9", "answer": 1}\n')
    with pytest.raises(UsageError, match=r"not UTF-8 text \(byte 0xe9 in line 2\): save it as UTF-8"):
        load("mine", path)


# Steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Add one.\nAdd two.\n\n\nAdd three.\n", ["Add one.\n", "Add two.\n\n\n", "Add three.\n"]),
        ("\n\nAdd one.\nAdd two.", ["\n\nAdd one.\n", "Add two."]),
        ("Step 1: a one. Step 2: a two.", ["Step 1: a one. ", "Step 2: a two."]),
        ("**Step 1:**\nAdd one.\n\n**Step 2:** Add two.", ["**Step 1:**\nAdd one.\n\n", "**Step 2:** Add two."]),
        ("1. Add one.\n2. Add two.", ["1. Add one.\n", "2. Add two."]),
        (
            " It is 3.5 or $1.50. Mr. Ng pays. Is it? Yes it is!",
            [" It is 3.5 or $1.50.", " Mr. Ng pays.", " Is it?", " Yes it is!"],
        ),
        ("At 5 p.m. in the U.S. it rains. So what now", ["At 5 p.m. in the U.S. it rains.", " So what now"]),
        ('He said "Go." Then he went.', ['He said "Go."', " Then he went."]),
        (
            "<think>\nAdd one.\n\nAdd two.\n</think>\n\nAdd three.",
            ["<think>\nAdd one.\n\n", "Add two.\n</think>\n\n", "Add three."],
        ),
        ("Add one.\nAdd two.\n\nStep 3:", ["Add one.\n", "Add two.\n\nStep 3:"]),
        ("Add one.\n#### 12", ["Add one.\n", "#### 12"]),
        ("Add one.\n---\nAdd two.", ["Add one.\n", "---\nAdd two."]),
        ("nothing", ["nothing"]),
        ("", []),
    ],
)
def test_split(text, steps):
    assert [text[begin:end] for begin, end in split(text)] == steps


def test_the_answer_begins_a_step_of_its_own_inside_a_line():
    text = "First 3 * 4 = 12.\nSo 5 more. The answer is 17.\nBye for now."
    pieces = [bytes([byte]) for byte in text.encode()]
    assert [(s.kind, s.text) for s in of_trace(pieces, NUMBER)] == [
        ("reasoning", "First 3 * 4 = 12.\n"),
        ("reasoning", "So 5 more."),
        ("answer", " The answer is 17.\n"),
        ("answer", "Bye for now."),
    ]


def test_a_step_ends_with_the_token_that_holds_its_last_byte():
    pieces = [b"caf\xc3", b"\xa9.\nT", b"he answer", b" is 4", b".", b""]
    steps = of_trace(pieces, NUMBER)
    assert [(s.start, s.end, s.kind) for s in steps] == [(0, 2, "reasoning"), (2, 6, "answer")]
    assert [s.text for s in steps] == ["café.\n", "The answer is 4."]


def test_broken_utf8_does_not_shift_the_steps():
    """A cut-off emoji is two bytes, though U+FFFD would take three; it shows as one U+FFFD."""
    pieces = [bytes([byte]) for byte in b"\xf0\x9f.\nThe answer is 4."]
    steps = of_trace(pieces, NUMBER)
    assert [(s.start, s.end, s.text) for s in steps] == [(0, 4, "\ufffd.\n"), (4, 20, "The answer is 4.")]


def test_steps_tokens_and_traces_decode_alike():
    """Three bytes of an emoji, cut off: one U+FFFD wherever the text is kept."""
    pieces = [b"a \xf0", b"\x9f\x98", b" b.", b"\n", b"c \xe2\x82"]
    texts = token_texts(pieces)
    assert texts == ["a ", "", "\ufffd b.", "\n", "c \ufffd"]
    assert "".join(texts) == text_of(pieces) == "".join(step.text for step in of_trace(pieces, NUMBER))
    assert text_of([b"\xf0\x9f\x98"]) == "\ufffd"


def test_ranges_without_a_token_of_their_own_join_the_one_before():
    steps = to_token_steps([(0, 2), (2, 4), (4, 6)], [b"a\nb\n", b"c\n"])
    assert [(s.index, s.start, s.end, s.text) for s in steps] == [(0, 0, 1, "a\nb\n"), (1, 1, 2, "c\n")]


def test_no_text_has_no_steps():
    assert of_trace([], NUMBER) == of_trace([b""], NUMBER) == ()


ATOMS = [
    "Add one.",
    "\n",
    "\n\n",
    " ",
    "Step 2:",
    "é",
    "🙂",
    "<think>",
    "</think>",
    "The answer is 4.",
    "3.5",
    "#### 4",
    "* ",
]


def random_pieces(rng):
    content = "".join(rng.choices(ATOMS, k=rng.randint(1, 20))).encode() + rng.choice([b"", b"\xf0\x9f", b"\xff."])
    cuts = sorted({0, len(content), *(rng.randrange(len(content) + 1) for _ in range(rng.randint(0, 12)))})
    return [content[a:b] for a, b in pairwise(cuts)] + [b""] * rng.randint(0, 2)


def test_ranges_tile_the_text_and_cover_the_tokens():
    """Whatever the text and wherever tokens cut it, inside characters too: nothing lost, twice or empty."""
    for seed in range(500):
        pieces = random_pieces(random.Random(seed))
        text, steps = text_of(pieces), of_trace(pieces, NUMBER)
        ranges = split(text)
        assert "".join(text[a:b] for a, b in ranges) == text, seed
        assert all(a < b for a, b in ranges), seed
        assert [s.index for s in steps] == list(range(len(steps))), seed
        assert [n for s in steps for n in range(s.start, s.end)] == list(range(len(pieces))), seed
        assert all(s.start < s.end for s in steps), seed
        assert "".join(s.text for s in steps) == text, seed
        kinds = [s.kind for s in steps]
        assert kinds == sorted(kinds, key=["reasoning", "answer"].index), seed


# ── units of reasoning ──────────────────────────────────────────────────────────────────────────────────────────

MATH = "\\[\n3 \\times 6 = 18\n\\]\n"
UNITS = [
    ("The total is:\n" + MATH, "So 18 books are there.\n"),
    (MATH, "So 18 books are there.\n"),
    ("1. **The total:**\n   There are 3 boxes of 6 books, so we have\n", "$$\n3 * 6\n= 18\n$$\n", "We are done now.\n"),
    ("We align:\n\\begin{align*}\na &= 3 \\\\\nb &= 6\n\\end{align*}\n", "So a is half of b.\n"),
    ("Run this code:\n```python\nx = 3\n\ny = 6\n```\n", "It prints 18 in all.\n"),
    ("| box | books |\n|---|---|\n| 1 | 6 |\n| 2 | 6 |\n", "That is 12 books.\n"),
    ("There are 3 boxes.\n", "So:\nThey hold 18 books.\n"),
    ("There are 3 boxes.\n", "Hm.\nThey hold 18 books.\n"),
    ("There are 3 boxes.\nYes.",),
    ("There are 3 boxes.\n", "The total is\n", "\\[ 18\nis cut off"),
]


@pytest.mark.parametrize("units", UNITS)
def test_a_step_is_a_unit_of_reasoning(units):
    """Display math, code and tables stay whole, with what introduces them; a word or two are no step."""
    text = "".join(units)
    assert [text[a:b] for a, b in tasks.split(text)] == list(units)


@pytest.mark.parametrize("units", [units for units in UNITS if units[-1].endswith("\n")])
def test_a_trace_that_is_watched_is_cut_as_it_will_be_at_its_end(units):
    """Wherever a prefix ends a step, the same steps stand at its beginning once the text goes on; all but tables."""
    text = "".join(units)
    ends = [i + 1 for i, char in enumerate(text) if char == "\n" and tasks.ends_step(text[: i + 1])]
    cuts = {b for _, b in tasks.split(text)}
    assert "|" in text or set(ends) <= cuts | {len(text)}
    assert {b for b in cuts if b < len(text)} <= set(ends)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (
            "3 * 6 = 18.\nThe answer is:\n\\[\n\\boxed{18}\n\\]",
            ["3 * 6 = 18.\n", "The answer is:\n\\[\n\\boxed{18}\n\\]"],
        ),
        (
            "3 * 6 = 18.\nSo all in all the three boxes hold this number of books:\n\\[\n\\boxed{18}\n\\]",
            ["3 * 6 = 18.\n", "So all in all the three boxes hold this number of books:\n", "\\[\n\\boxed{18}\n\\]"],
        ),
        ("3 * 6 = 18.\nWell.\n#### 18", ["3 * 6 = 18.\nWell.\n", "#### 18"]),
        ("Well.\n#### 18", ["Well.\n", "#### 18"]),
    ],
)
def test_the_answer_begins_with_its_block_and_what_is_said_before_it_is_reasoning(text, steps):
    found = tasks.of_trace([bytes([b]) for b in text.encode()], tasks.NUMBER)
    assert [step.text for step in found] == steps
    assert [step.kind for step in found] == ["reasoning"] * (len(steps) - 1) + ["answer"]
