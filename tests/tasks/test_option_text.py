"""Prompts that do not list their options, for answers by the text of an option."""

import json
from types import SimpleNamespace

import pytest

from localent import tasks
from localent.errors import UsageError
from localent.records import Choice, Problem
from localent.runs.questions import answered_by
from localent.runs.settings import Settings
from localent.tasks.kinds.option_text import are_texts, check

CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
ROWS = [
    {"id": "q1", "question": "What is ice?", "choices": ["frozen water", "a rock", "glass"], "answer": "frozen water"},
    {"id": "q2", "question": "What barks?", "choices": ["A cat.", "A dog."], "answer": "B"},
]
HEADER = SimpleNamespace(template=None, model=SimpleNamespace(sha256="f" * 64, name="some base model"))


@pytest.fixture
def animals(tmp_path):
    return load(tmp_path, ROWS)


def load(folder, rows):
    path = folder / "animals.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tasks.load("animals", path)


def prompt_of(task, **options):
    return tasks.render(task.by_text(), task.problems[1], tasks.PromptOptions(**options))


def test_without_examples_the_prompt_ends_in_the_cue(animals):
    prompt = prompt_of(animals)
    assert prompt.text == "Question: What barks?\nAnswer:"
    assert (prompt.at_once, prompt.stops) == (True, ("\n",))
    assert tasks.cue_after(prompt, "") == ()


def test_worked_examples_end_in_the_text_of_their_option(animals):
    prompt = prompt_of(animals, shots=2)
    first, second, own = prompt.text.split("Question: ")[1:]
    assert own == "What barks?\nSolution:"
    for example in (first, second):
        assert "\nA)" not in example
        assert "\nAnswer: " in example
        assert "The answer is" not in example
    texts = {e.question: next(c.text for c in e.choices if c.label == e.answer) for e in tasks.CHOICE.examples}
    assert first.split("\nAnswer: ")[1].strip() == texts[first.split("\n")[0]]
    assert (prompt.at_once, prompt.stops) == (False, ("\nQuestion:",))


def test_the_cue_stands_on_a_line_of_its_own(animals):
    prompt = prompt_of(animals, shots=1)
    assert tasks.cue_after(prompt, "")[0].text == "\nAnswer:"
    assert tasks.cue_after(prompt, " Dogs bark.")[0].text == "\nAnswer:"
    assert tasks.cue_after(prompt, " Dogs bark.\n")[0].text == "Answer:"


def test_a_chat_asks_for_the_answer_in_words(animals):
    text = prompt_of(animals, template=CHAT).text
    assert "What barks?" in text
    assert "A dog." not in text
    assert text.endswith(f"{tasks.OPTION_TEXT.instruction}\n[assistant]")


def test_a_files_own_worked_problems_serve_as_examples(tmp_path):
    rows = [
        ROWS[1] | {"id": i, "question": f"What barks {i}?", "solution": "Dogs bark.\nThe answer is B."}
        for i in range(6)
    ]
    task = load(tmp_path, rows).by_text()
    assert task.pool[0].solution == "Dogs bark.\nAnswer: A dog."


def test_steps_end_where_the_answer_line_begins():
    pieces = [b"Dogs bark.", b"\n", b"So it is one.", b"\n", b"Answer:", b" a wolf"]
    steps = tasks.of_trace(pieces, tasks.OPTION_TEXT, (Choice("A", "A cat."), Choice("B", "A dog.")))
    assert [step.kind for step in steps] == ["reasoning", "reasoning", "answer"]


def test_base_models_answer_texts_by_text_and_all_else_by_letter(animals, tmp_path):
    def chosen(task, header=HEADER, **settings):
        task, settings = answered_by(task, header, Settings(**settings))
        assert (task.kind is tasks.OPTION_TEXT) == (settings.answer_by == "text")
        return settings.answer_by

    letters = load(tmp_path, [{"question": "Which is it: (A) ice or (B) fire?", "choices": ["A", "B"], "answer": "A"}])
    chat = SimpleNamespace(template=CHAT, model=HEADER.model)
    assert chosen(animals) == "text"
    assert chosen(animals, chat) == "letter"
    assert chosen(animals, answer_by="letter") == "letter"
    assert chosen(animals, chat, answer_by="text") == "text"
    assert chosen(animals, probe=False) == "letter"
    assert chosen(letters) == "letter"
    assert chosen(tasks.load("demo-choice")) == "letter"
    assert chosen(tasks.load("demo-number")) == "letter"
    again = answered_by(*answered_by(animals, HEADER, Settings())[:1], HEADER, Settings(answer_by="text"))
    assert again[0].pool == animals.by_text().pool


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("demo-number", {"answer_by": "text"}, "demo-number has no options to answer by text"),
        ("demo-choice", {"answer_by": "text", "probe": False}, "leave --no-probe out"),
        ("demo-choice", {"option_score": "sum"}, "--option-score has no effect by letter"),
    ],
)
def test_settings_that_do_not_fit_are_refused(task, settings, message):
    with pytest.raises(UsageError, match=message):
        answered_by(tasks.load(task), HEADER, Settings(**settings))


def test_an_unknown_way_to_answer_is_refused():
    with pytest.raises(UsageError, match="--answer-by is one of auto, letter, text, got 'words'"):
        Settings(answer_by="words")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("ice", " "), "Problem 3 has no text for option B: fill it in, or run with --answer-by letter"),
        (("a  cat", "a dog", "a cat"), "Problem 3 has the same text 'a cat' for options A and C: change one"),
    ],
)
def test_an_option_that_is_empty_or_equals_another_is_refused(texts, message):
    with pytest.raises(UsageError, match=message):
        check(Problem("p", "3", "?", "A", tuple(map(Choice, "ABC", texts))))
    check(Problem("p", "3", "?", "A", (Choice("A", "RR"), Choice("B", "rr"))))  # alleles differ by case


def test_options_that_only_repeat_their_labels_are_no_texts():
    assert not are_texts([Problem("p", "1", "?", "A", (Choice("A", "A"), Choice("B", "")))])
