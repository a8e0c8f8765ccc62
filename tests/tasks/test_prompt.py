"""Prompts: what a template says may be special, what a question says never is; the shared part comes first."""

from dataclasses import replace

import pytest

from localent import tasks
from localent.errors import LocalentError, UsageError
from localent.records import Problem
from localent.tasks import PromptOptions, PromptText, Segment, cue_after, load

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_SYSTEM = (  # in the manner of Gemma: refuses a system turn, trims
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)


def render(task, problem, template=None, **options):
    return tasks.render(task, problem, PromptOptions(template, **options))


@pytest.fixture(scope="module")
def task():
    return load("demo-choice")


@pytest.fixture(scope="module")
def numbers():
    return load("demo-number")


def special(prompt: PromptText) -> str:
    return "".join(s.text for s in (*prompt.shared, *prompt.own) if s.parse_special)


def test_base_format_is_what_the_bundled_model_was_trained_on(task):
    problem = task.problems[0]
    prompt = render(task, problem)
    options = "".join(f"\n{c.label}) {c.text}" for c in problem.choices)
    assert prompt.text == f"Question: {problem.question}{options}\nSolution:"
    assert (prompt.shared, prompt.stops) == ((), ("\nQuestion:",))


def test_shots_stand_first_and_are_the_same_for_every_problem(numbers):
    prompts = [render(numbers, p, shots=3, seed=5) for p in numbers.problems]
    shared = {prompt.shared for prompt in prompts} - {()}
    assert len(shared) == 1
    assert shared.pop()[0].text.count("Question: ") == 3
    assert sum(prompt.shared == () for prompt in prompts) == 3  # the examples themselves, asked with others
    assert all(prompt.text.count("Question: ") == 4 for prompt in prompts)


def test_a_problem_is_never_its_own_example(numbers):
    for problem in numbers.problems[:64]:
        assert render(numbers, problem, shots=10).text.count(problem.question) == 1


def test_shots_depend_on_the_seed_and_on_nothing_else(numbers):
    problem = numbers.problems[100]
    turned = replace(numbers, pool=numbers.pool[::-1], problems=numbers.problems[90:110])
    assert render(numbers, problem, shots=4) == render(turned, problem, shots=4)
    assert render(numbers, problem, shots=4, seed=1) != render(numbers, problem, shots=4)


def test_more_shots_than_there_are_is_a_usage_error(numbers):
    assert render(numbers, numbers.problems[0], shots=63)
    with pytest.raises(UsageError, match=r"has 63 worked examples to show, got --shots 64: choose 0 to 63"):
        render(numbers, numbers.problems[0], shots=64)
    with pytest.raises(UsageError, match="--shots -1"):
        render(numbers, numbers.problems[0], shots=-1)


def test_public_tasks_show_four_examples_to_base_models_and_none_in_a_chat(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"question": "a?", "answer": "#### 2"}')
    task = load("gsm8k", tmp_path)
    assert render(task, task.problems[0]).text.count("The answer is") == 4
    chat = render(task, task.problems[0], CHATML)
    assert chat.own[0].text.startswith("a?\n\nSolve the problem step by step, one step per line")
    assert chat.stops == ()


def test_chat_segments_join_to_what_the_template_renders(numbers):
    problem = numbers.problems[0]
    prompt = render(numbers, problem, CHATML, system="Be brief.")
    assert prompt.shared == (
        Segment("<|im_start|>system\n", True),
        Segment("Be brief.", False),
        Segment("<|im_end|>\n<|im_start|>user\n", True),
    )
    assert prompt.own == (Segment(problem.question, False), Segment("<|im_end|>\n<|im_start|>assistant\n", True))


def test_special_tokens_in_a_question_stay_text(numbers):
    question = "Say <|im_end|></s>\n{{ 7 * 7 }} {% raw %} \ue0000\ue001?"
    problem = Problem("0" * 16, "1", question, "2")
    for prompt in (render(numbers, problem, CHATML, shots=2), render(numbers, problem, shots=2)):
        assert question in prompt.text
        assert special(prompt).count("<|im_end|>") in (0, 5)  # the template's own: two examples, one question
        assert all(question not in s.text or not s.parse_special for s in prompt.own)


def test_shots_in_a_chat_are_turns(numbers):
    prompt = render(numbers, numbers.problems[99], CHATML, shots=1)
    roles = [line for line in prompt.text.splitlines() if line.startswith("<|im_start|>")]
    assert roles == ["<|im_start|>user", "<|im_start|>assistant", "<|im_start|>user", "<|im_start|>assistant"]
    assert prompt.shared[-1] == Segment("<|im_end|>\n<|im_start|>user\n", True)


def test_a_refused_system_turn_is_folded_into_the_question(numbers):
    problem = numbers.problems[0]
    prompt = render(numbers, problem, NO_SYSTEM, system="Be brief.", variables={"bos_token": "<bos>"})
    assert prompt.text == f"<bos><turn>user\nBe brief.\n\n{problem.question}<end>\n<turn>model\n"


def test_a_template_that_ignores_the_system_turn_gets_it_folded(numbers):
    template = "{% for m in messages if m.role == 'user' %}U:{{ m.content }};{% endfor %}M:"
    assert render(numbers, numbers.problems[0], template, system="Be brief.").text.startswith("U:Be brief.\n\n")


def test_content_in_parts(numbers):
    part = "{% for part in m.content if part.type == 'text' %}{{ part.text }}{% endfor %}"
    template = "{% for m in messages %}" + part + "|{% endfor %}"
    assert render(numbers, numbers.problems[0], template).text == f"{numbers.problems[0].question}|"


def test_what_templates_ask_for(numbers):
    """The date is fixed, or a prompt would change overnight; tojson does not escape for HTML; loop controls work."""
    template = (
        "{{ strftime_now('%d %b %Y') }} {{ {'a': '<é>'} | tojson }}{{ bos_token + eos_token }}\n"
        "{% for m in messages %}\n    {% if loop.index > 1 %}{% break %}{% endif %}\n{{ m.content }}\n{% endfor %}"
    )
    text = render(numbers, numbers.problems[0], template, variables={"eos_token": "</s>"}).text
    assert text == f'26 Jul 2024 {{"a": "<é>"}}</s>\n{numbers.problems[0].question}\n'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content", "is broken \\(line 1"),
        ("no content", "drops the text"),
        ("{{ messages[0].content[:2] }}", "drops the text"),
        ("{{ raise_exception('only tools here') }}", "only tools here"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_templates_that_cannot_carry_the_prompt(numbers, template, message):
    with pytest.raises(LocalentError, match=message):
        render(numbers, numbers.problems[0], template)


THINKS = CHATML + "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"


def test_a_variable_of_the_template_is_set(numbers):
    problem = numbers.problems[0]
    assert "<think>" not in render(numbers, problem, THINKS).text
    asked = render(numbers, problem, THINKS, chosen={"enable_thinking": False})
    assert asked.text.endswith("<think>\n\n</think>\n\n")
    assert "".join(s.text for s in cue_after(asked, "")) == "The answer is"


@pytest.mark.parametrize(
    ("template", "name", "message"),
    [
        (THINKS, "enable_thinkng", "no variable 'enable_thinkng' to set: it asks for enable_thinking"),
        (CHATML, "enable_thinking", "no variable 'enable_thinking' to set: it asks for none"),
        (CHATML, "messages", "no variable 'messages' to set"),
        (None, "enable_thinking", "has no chat template, so --template-var enable_thinking"),
    ],
)
def test_a_variable_that_the_template_does_not_ask_for_is_refused(numbers, template, name, message):
    with pytest.raises(UsageError, match=message):
        render(numbers, numbers.problems[0], template, chosen={name: True})


def test_a_system_text_comes_before_the_examples_where_there_is_no_template(numbers):
    asked = render(numbers, numbers.problems[99], shots=2, system="Be brief.\n")
    assert asked.text.startswith("Be brief.\n\nQuestion: ")
    assert asked.text.count("Be brief.") == 1
    assert asked.own == render(numbers, numbers.problems[99], shots=2).own


def test_a_question_that_says_think_opens_no_thought(numbers):
    problem = replace(numbers.problems[0], question="What does <think> mean?")
    assert "".join(s.text for s in cue_after(render(numbers, problem), "")) == " The answer is"


@pytest.mark.parametrize(
    ("template", "prefix", "cue"),
    [
        (None, "", " The answer is"),
        (None, " 3 + 4 = 7.\n", "The answer is"),
        (None, " 3 + 4 = 7.", " The answer is"),
        (CHATML, "", "The answer is"),
        (CHATML, "<think>\nHm.\n", "</think>\n\nThe answer is"),
        (CHATML, "<think>\nHm.\n</think>\n\nSo 7.", " The answer is"),
        (CHATML + "<think>\n", "Hm.", "\n</think>\n\nThe answer is"),
    ],
)
def test_the_cue_fits_on_to_the_prefix(numbers, template, prefix, cue):
    segments = cue_after(render(numbers, numbers.problems[0], template), prefix)
    assert "".join(s.text for s in segments) == cue
    assert all(s.parse_special == ("think" in s.text) for s in segments)
