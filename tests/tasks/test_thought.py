"""Formats of thought: read from chat templates in our own wording, followed through grading, steps and cues."""

from dataclasses import dataclass, replace

import pytest

from localent import tasks
from localent.tasks import PromptOptions, ThoughtFormat, cue_after, of_trace, render
from localent.tasks.thought_format import format_of

HEAD = "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n{{ m.content }}<|im_end|>\n{% else %}"
TAIL = "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
CHATML = (
    HEAD + "<|im_start|>assistant\n{% if m.reasoning_content %}THOUGHT{% endif %}{{ m.content }}<|im_end|>\n" + TAIL
)
HARMONY = (
    "{% for m in messages %}{% if m.role == 'user' %}<|start|>user<|message|>{{ m.content }}<|end|>{% else %}"
    "{% if m.thinking %}<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


def chatml(opening: str, closing: str) -> str:
    """A template that writes a message's reasoning between these texts."""
    return CHATML.replace("THOUGHT", f"{opening}{{{{ m.reasoning_content }}}}{closing}")


@dataclass(frozen=True)
class Format:
    """A template, and what a model of that family writes."""

    template: str
    opening: str
    closing: str
    cue: str  # what closes an open thought and asks for the answer, after a thought that ends in "so"


FORMATS = {
    "think": Format(chatml("<think>\n", "\n</think>\n\n"), "<think>\n", "\n</think>\n\n", "\n</think>\n\n"),
    "harmony": Format(
        HARMONY,
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    "gemma 4": Format(
        chatml("<|channel>thought\n", "\n<channel|>"), "<|channel>thought\n", "\n<channel|>", "\n<channel|>"
    ),
    "ministral": Format(  # its thoughts are parts of the content
        HEAD
        + "{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}{% if p.type == 'thinking' %}"
        "[THINK]{{ p.thinking }}[/THINK]{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}" + TAIL,
        "[THINK]",
        "[/THINK]",
        "[/THINK]",
    ),
    "cohere": Format(  # shows its thoughts beside tool calls only
        HEAD
        + "{% if m.tool_calls %}<|START_THINKING|>{{ m.tool_plan }}<|END_THINKING|>{% endif %}{{ m.content }}"
        + TAIL,
        "<|START_THINKING|>",
        "<|END_THINKING|><|START_RESPONSE|>",
        "<|END_THINKING|><|START_RESPONSE|>",
    ),
    "seed": Format(chatml("<seed:think>", "</seed:think>\n"), "<seed:think>", "</seed:think>\n", "</seed:think>\n"),
}
THOUGHT = "Each basket has 6.\nPerhaps the answer is 12.\nNo: 3 * 6 = 18, so"
PROBLEM = tasks.load("demo-number").problems[0]
TASK = replace(tasks.load("demo-number"), instruction="")


@pytest.fixture(params=FORMATS)
def used(request) -> Format:
    return FORMATS[request.param]


def prompted(template: str | None):
    return render(TASK, PROBLEM, PromptOptions(template))


def pieces_of(text: str) -> list[bytes]:
    return [bytes([b]) for b in text.encode()]


def test_the_format_is_read_from_the_template(used):
    found = format_of(used.template)
    assert found.opening == used.opening.strip()
    assert used.closing.strip().startswith(found.closing)
    assert found.expected
    assert prompted(used.template).thought == found


def test_a_thought_cut_off_is_open_and_a_closed_one_is_not(used):
    thought = prompted(used.template).thought
    assert thought.is_open(used.opening + THOUGHT)
    assert thought.is_unanswered(used.opening + THOUGHT)
    assert thought.is_unanswered(used.opening + THOUGHT + used.closing)  # nothing is said yet
    assert not thought.is_unanswered(used.opening + THOUGHT + used.closing + "18")
    assert not thought.is_open("The answer is 18.")


def test_every_beginning_of_the_answer_channel_is_no_answer_yet(used):
    thought, whole = prompted(used.template).thought, used.opening + THOUGHT + used.closing
    for end in range(len(used.opening), len(whole) + 1):
        assert thought.is_unanswered(whole[:end]), whole[:end]


def test_the_answer_is_read_after_the_thought_and_steps_are_those_of_the_thought(used):
    thought = prompted(used.template).thought
    written = used.opening + THOUGHT + used.closing + "The answer is 18."
    assert tasks.extract(written, tasks.NUMBER, (), thought).value == "18"
    steps = of_trace(pieces_of(written), tasks.NUMBER, thought=thought)
    assert [step.kind for step in steps] == ["reasoning"] * 3 + ["answer"]
    assert "".join(step.text for step in steps) == written


def test_the_cue_closes_the_thought_in_its_own_format(used):
    prompt = prompted(used.template)
    segments = cue_after(prompt, used.opening + THOUGHT)
    assert "".join(segment.text for segment in segments) == f"{used.cue}The answer is"
    assert segments[0].parse_special
    assert not segments[-1].parse_special
    assert segments[-1].text.strip() == "The answer is"


def test_after_the_cue_the_answer_can_be_read(used):
    """What the cue completes is a trace like any other."""
    prompt = prompted(used.template)
    for begun in ("", used.opening + THOUGHT, used.opening + THOUGHT + used.closing):
        whole = begun + "".join(segment.text for segment in cue_after(prompt, begun)) + " 18."
        assert not prompt.thought.is_unanswered(whole)
        assert tasks.extract(whole, tasks.NUMBER, (), prompt.thought).value == "18"


def test_the_cue_completes_a_channel_that_is_half_written():
    prompt = prompted(HARMONY)
    segments = cue_after(prompt, "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant")
    assert "".join(segment.text for segment in segments) == "<|channel|>final<|message|>The answer is"


@pytest.mark.parametrize("template", [None, "{% for m in messages %}{{ m.content }}\n{% endfor %}"])
def test_a_model_whose_template_shows_no_thought_may_think_all_the_same(template):
    thought = prompted(template).thought
    assert thought == ThoughtFormat()
    assert not thought.expected
    assert thought.is_unanswered("<think>The answer is 12.")


@pytest.mark.parametrize(
    ("last", "opened", "expected"),
    [("", False, True), ("<think>\n", True, True), ("<think>\n\n</think>\n\n", False, False)],
)
def test_the_prompt_may_open_a_thought_or_leave_it_out(last, opened, expected):
    template = FORMATS["think"].template
    assert template.endswith("{% endif %}")
    thought = prompted(template.removesuffix("{% endif %}") + last + "{% endif %}").thought
    assert (thought.opened, thought.expected) == (opened, expected)
    assert thought.is_open("Hm.") == opened


def test_a_question_that_spells_a_mark_opens_nothing(used):
    problem = replace(PROBLEM, question=f"What does {used.opening.strip()} mean?")
    assert not render(TASK, problem, PromptOptions(used.template)).thought.opened


@pytest.mark.parametrize(
    ("text", "opened", "is_open"),
    [
        ("", False, False),
        ("", True, True),
        ("Hm.", True, True),
        ("<think>Hm.", False, True),
        ("<think>Hm.</think>So", False, False),
        ("Hm.</think>So", True, False),
        ("<think>a</think><think>b", False, True),
    ],
)
def test_whether_a_text_ends_inside_a_thought(text, opened, is_open):
    assert ThoughtFormat(opened=opened).is_open(text) == is_open


def test_a_template_that_writes_an_empty_thought_for_a_plain_message_shows_its_marks():
    """The turn of a message without reasoning has the same marks, so that comparing leaves nothing."""
    template = (
        HEAD + "<|im_start|>assistant\n<think>\n{{ m.reasoning_content }}\n</think>\n\n{{ m.content }}<|im_end|>" + TAIL
    )
    assert format_of(template) == ThoughtFormat(expected=True)


@pytest.mark.parametrize(
    ("template", "opening"),
    [
        (HARMONY.replace("<|channel|>analysis<|message|>", " to=self<|message|>"), "to=self<|message|>"),
        (chatml("<|open|>note<|sep|>", "<|close|>note<|sep|>"), "<|open|>note<|sep|>"),
        (chatml("<think:x>", "</think:x>"), "<think:x>"),
    ],
)
def test_formats_that_nobody_named(template, opening):
    """Derived from the rendered message alone."""
    assert format_of(template).opening == opening
