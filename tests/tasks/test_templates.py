"""Chat templates in the manner of the published families, in our own wording: one BOS, exact tokens, <think>.

Each fixture renders what its family's card shows; the vocabularies hold that family's control tokens and 256 bytes.
"""

import re
from dataclasses import dataclass, replace

import pytest

from localent import tasks
from localent.engine.scripted import ScriptedVocab
from localent.errors import LocalentError
from localent.records import Problem
from localent.tasks import PromptOptions, PromptText, cue_after, of_trace, render
from localent.tasks.kinds.number_grammar import NumberGrammar
from localent.tasks.template import render_chat
from localent.tracing.prompt_tokens import prompt_tokens

GEMMA = """\
{{ bos_token }}
{%- if messages and messages[0].role == 'system' -%}
    {{ raise_exception('There is no system role here') }}
{%- endif -%}
{%- for turn in messages -%}
    {%- if (turn.role == 'user') == (loop.index0 % 2 == 1) -%}
        {{ raise_exception('Turns must go user, model, user') }}
    {%- endif -%}
    {{ '<start_of_turn>' ~ ('model' if turn.role == 'assistant' else turn.role) ~ '\\n' }}
    {{- turn.content | trim }}{{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}
"""
LLAMA = """\
{{- bos_token }}
{%- if date_string is not defined %}
    {%- if strftime_now is defined %}{% set date_string = strftime_now("%d %b %Y") %}
    {%- else %}{% set date_string = "26 Jul 2024" %}{% endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set first = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set first = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\nToday Date: " + date_string }}
{{- "\\n\\n" + first + "<|eot_id|>" }}
{%- for m in messages %}
    {{- "<|start_header_id|>" + m['role'] + "<|end_header_id|>\\n\\n" + m['content'] | trim + "<|eot_id|>" }}
{%- endfor %}
{%- if add_generation_prompt %}{{ "<|start_header_id|>assistant<|end_header_id|>\\n\\n" }}{% endif %}
"""
QWEN = """\
{%- if tools %}{{ "<|im_start|>system\\ntools<|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- else %}
    {{- '<|im_start|>system\\nYou are a model, made by somebody. Be of help.<|im_end|>\\n' }}
{%- endif %}
{%- for m in messages %}
    {%- if m.role != 'system' or not loop.first %}
        {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""
OLMO = """\
{{ bos_token }}{% for m in messages %}
{%- if m['role'] == 'assistant' %}
{{- '<|assistant|>\\n' + m['content'] + (eos_token if loop.last else eos_token + '\\n') }}
{%- else %}
{{- '<|' + m['role'] + '|>\\n' + m['content'] + '\\n' }}
{%- endif %}
{%- if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}
{%- endfor %}
"""
DEEPSEEK = """\
{%- set ns = namespace(first='') %}
{%- for m in messages if m['role'] == 'system' %}{% set ns.first = m['content'] %}{% endfor %}
{{- bos_token }}{{ ns.first }}
{%- for m in messages %}
    {%- if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% endif %}
    {%- if m['role'] == 'assistant' %}
        {%- set said = m['content'].split('</think>')[-1] if '</think>' in m['content'] else m['content'] %}
        {{- '<｜Assistant｜>' + said + '<｜end▁of▁sentence｜>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}
"""
DEEPSEEK_OPENED = DEEPSEEK.replace("{{ '<｜Assistant｜>' }}", "{{ '<｜Assistant｜><think>\\n' }}")


@dataclass(frozen=True)
class Family:
    """A template, its control tokens, and the prompt that a question Q in it must become."""

    template: str
    controls: tuple[str, ...]
    wants_bos: bool  # whether its vocabulary asks for a BOS
    expected: str

    @property
    def vocab(self) -> ScriptedVocab:
        pieces = [bytes([i]) for i in range(256)] + [text.encode() for text in self.controls]
        bos = 256 if self.wants_bos else None
        return ScriptedVocab(pieces, eog=frozenset(range(256, len(pieces))), bos=bos)

    @property
    def variables(self) -> dict[str, str]:
        return {"bos_token": self.controls[0], "eos_token": self.controls[1]}


FAMILIES = {
    "gemma-2": Family(
        GEMMA,
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        True,
        "<bos><start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
    ),
    "llama-3.2": Family(
        LLAMA,
        ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
        True,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "qwen2.5": Family(
        QWEN,
        ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
        False,
        "<|im_start|>system\nYou are a model, made by somebody. Be of help.<|im_end|>\n"
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
    ),
    "olmo-2": Family(
        OLMO,
        ("<|endoftext|>", "<|im_end|>", "<|user|>", "<|assistant|>"),
        False,
        "<|endoftext|><|user|>\nQ\n<|assistant|>\n",
    ),
    "deepseek-r1": Family(
        DEEPSEEK,
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
        True,
        "<｜begin▁of▁sentence｜><｜User｜>Q<｜Assistant｜>",
    ),
}
FAMILIES["deepseek-r1, opened"] = replace(
    FAMILIES["deepseek-r1"], template=DEEPSEEK_OPENED, expected=FAMILIES["deepseek-r1"].expected + "<think>\n"
)
BOS_ONCE = {"gemma-2", "llama-3.2", "olmo-2", "deepseek-r1", "deepseek-r1, opened"}
TASK = replace(tasks.load("demo-number"), instruction="")
QUESTION = Problem("0" * 16, "1", "Q", "2")


@pytest.fixture(params=FAMILIES)
def name(request):
    return request.param


def put(family: Family, problem: Problem = QUESTION, **options) -> PromptText:
    return render(TASK, problem, PromptOptions(family.template, variables=family.variables, **options))


def fed(family: Family, problem: Problem = QUESTION, **options) -> list[int]:
    return list(prompt_tokens(put(family, problem, **options), family.vocab).tokens)


def spelled(family: Family, tokens: list[int]) -> str:
    return b"".join(family.vocab.pieces[t] for t in tokens).decode()


def test_the_prompt_is_the_published_one(name):
    assert put(FAMILIES[name]).text == FAMILIES[name].expected


def test_tokens_spell_the_prompt_again(name):
    assert spelled(FAMILIES[name], fed(FAMILIES[name])) == FAMILIES[name].expected


def test_there_is_exactly_one_bos_and_it_comes_first(name):
    """Whether the template brings it, the vocabulary asks for it, or both; Qwen's has none."""
    tokens = fed(FAMILIES[name])
    assert tokens.count(256) == (name in BOS_ONCE)
    assert (tokens[0] == 256) == (name in BOS_ONCE)


def test_a_template_without_its_bos_gets_one_where_the_vocabulary_asks(name):
    bare = replace(FAMILIES[name], template=FAMILIES[name].template.replace("bos_token", "''"))
    assert fed(bare).count(256) == bare.wants_bos


def test_control_tokens_of_the_template_are_single_tokens_and_those_of_a_question_are_text(name):
    family = FAMILIES[name]
    hostile = replace(QUESTION, question=" ".join(family.controls))
    plain, attacked = fed(family), fed(family, hostile)
    assert [t for t in attacked if t >= 256] == [t for t in plain if t >= 256]
    assert spelled(family, attacked) == family.expected.replace("Q", hostile.question, 1)


def test_a_system_text_is_carried_by_every_family(name):
    """Gemma refuses the role, so it goes before the question; Qwen's own default makes way."""
    text = put(FAMILIES[name], system="Be brief.").text
    assert text.count("Be brief.") == 1
    assert text.index("Be brief.") < text.index("Q")
    assert "made by somebody" not in text
    if name == "gemma-2":
        assert "user\nBe brief.\n\nQ<end_of_turn>" in text


def test_worked_examples_are_turns_of_the_dialogue(name):
    family, shots = FAMILIES[name], 2
    text = put(family, shots=shots)
    examples, _ = tasks.prompt.pick_shots(TASK, QUESTION, shots, 0)
    for example in examples:
        assert example.question in text.text
        assert example.solution.strip().splitlines()[-1] in text.text
    tokens = prompt_tokens(text, family.vocab)
    assert 0 < tokens.n_shared < len(tokens.tokens)
    assert tokens.tokens[0] == 256 or name not in BOS_ONCE


def test_the_prompt_of_today_is_that_of_tomorrow(name, monkeypatch):
    import time

    before = put(FAMILIES[name]).text
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert put(FAMILIES[name]).text == before


@pytest.mark.parametrize(
    "marks", [("{% generation %}", "{% endgeneration %}"), ("{%- generation -%}", "{%- endgeneration -%}")]
)
def test_the_tag_by_which_transformers_finds_the_models_own_text_changes_nothing(marks):
    """Also around a loop's turn, and with a variable set outside that its body reads."""
    said = "{{ '<|assistant|>' ~ m['content'] ~ ending }}"
    template = (
        "{% set ending = '!' %}{% for m in messages %}{% if m['role'] == 'assistant' %}SAID{% else %}"
        "{{ m['content'] }}{% endif %}{% endfor %}<|assistant|>"
    )
    turns = [("user", "Q"), ("assistant", "A"), ("user", "R")]
    plain, marked = (template.replace("SAID", text) for text in (said, marks[0] + said + marks[1]))
    assert render_chat(marked, turns, {}) == render_chat(plain, turns, {})
    assert (
        "".join(text for part in render_chat(marked, turns, {}) for text, _ in part) == "Q<|assistant|>A!R<|assistant|>"
    )


def test_a_template_that_needs_something_says_what():
    with pytest.raises(LocalentError, match=r"'functions' is undefined.*--template-var.*--chat-template-file"):
        render_chat("{{ functions[0] }}" + CHAT, [("user", "Q")], {})


CHAT = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def test_gemma_refuses_a_system_turn_by_itself():
    """What the folding is for; the sentence is the template's own."""
    with pytest.raises(LocalentError, match="There is no system role here"):
        render_chat(GEMMA + "{{ raise_exception('There is no system role here') }}", [("user", "Q")], {})


# ── thinking ────────────────────────────────────────────────────────────────────────────────────────────────────

THOUGHT = "Each basket has 6.\nThere are 3 baskets.\n3 * 6 = 18.\n"
ANSWER = "</think>\n\nThe answer is 18."


def bytes_of(text: str) -> list[bytes]:
    return [bytes([b]) for b in text.encode()]


@pytest.mark.parametrize("opened", [True, False])
def test_steps_are_found_inside_the_thought(opened):
    """The tag is no step; each line of the thought is; the answer comes after it."""
    written = ("" if opened else "<think>\n") + THOUGHT + ANSWER
    found = of_trace(bytes_of(written), tasks.NUMBER)
    reasoning = [step.text for step in found if step.kind == "reasoning"]
    assert len(reasoning) == 3
    assert [re.sub("</?think>", "", text).strip() for text in reasoning] == THOUGHT.splitlines()
    assert [step.kind for step in found] == ["reasoning"] * 3 + ["answer"]
    assert "".join(step.text for step in found) == written


def test_an_answer_inside_the_thought_is_not_the_answer():
    written = "<think>\nMaybe the answer is 12.\nNo, 3 * 6 = 18.\n</think>\n\nThe answer is 18."
    assert tasks.extract(written, tasks.NUMBER, ()).value == "18"


def test_all_that_follows_a_thought_is_the_answer():
    """Distills work the solution out once more, for show; a thought of nothing leaves the steps where they are."""
    again = "**Solution**\nThere are 3 baskets of 6.\n3 * 6 = 18.\nThe answer is 18."
    kinds = [step.kind for step in of_trace(bytes_of("<think>\n" + THOUGHT + "</think>\n\n" + again), tasks.NUMBER)]
    assert kinds == ["reasoning"] * 3 + ["answer"] * (len(kinds) - 3)
    kinds = [step.kind for step in of_trace(bytes_of("<think>\n\n</think>\n\n" + again), tasks.NUMBER)]
    assert kinds[:3] == ["reasoning"] * 3


def test_a_statement_inside_a_thought_that_goes_on_is_a_step():
    written = "Maybe the answer is 12.\nNo, 3 * 6 = 18.\nLet me check.\n"
    found = of_trace(bytes_of(written), tasks.NUMBER, thinking=True)
    assert [step.kind for step in found] == ["reasoning"] * 3
    assert of_trace(bytes_of(written), tasks.NUMBER)[-1].kind == "answer"


@pytest.mark.parametrize(
    ("family", "written", "cue"),
    [
        ("deepseek-r1, opened", "", "</think>\n\nThe answer is"),
        ("deepseek-r1, opened", THOUGHT, "</think>\n\nThe answer is"),
        ("deepseek-r1, opened", THOUGHT.rstrip("\n"), "\n</think>\n\nThe answer is"),
        ("deepseek-r1, opened", THOUGHT + "</think>\n\nSo: ", "The answer is"),
        ("deepseek-r1", "", " The answer is"),
        ("deepseek-r1", "<think>\n" + THOUGHT, "</think>\n\nThe answer is"),
        ("deepseek-r1", "<think>\n" + THOUGHT + "</think>\n\nSo.", " The answer is"),
        ("qwen2.5", THOUGHT, "The answer is"),
    ],
)
def test_the_cue_closes_a_thought_that_is_open(family, written, cue):
    """After the question, whose text may say <think> without opening anything."""
    asked = put(FAMILIES[family], replace(QUESTION, question="What does <think> mean?"))
    segments = cue_after(asked, written)
    text = "".join(segment.text for segment in segments)
    assert text == cue
    assert all(segment.parse_special == ("</think>" in segment.text) for segment in segments)


def test_the_end_of_a_thought_is_one_token():
    family = FAMILIES["deepseek-r1, opened"]
    segments = cue_after(put(family), THOUGHT)
    tokens = [t for s in segments for t in family.vocab.tokenize(s.text, special=s.parse_special)]
    assert tokens[0] == 256 + family.controls.index("</think>")
    assert sum(t >= 256 for t in tokens) == 1


# ── real vocabularies ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["llama-bpe", "llama-spm", "qwen2"])
def real(request, shared):
    from localent.engine import open as open_model

    with open_model(shared / "vocab" / f"ggml-vocab-{request.param}.gguf", vocab_only=True) as model:
        yield model.vocab


def test_numbers_are_spelled_by_tokens_that_the_grammar_follows(real):
    """Fed token by token along the tree, every spelling arrives at its value, whatever the vocabulary groups."""
    grammar = NumberGrammar(real.pieces)
    for text in ("18", " 18", "$18", " -17", "1,234", " 3.5", "0", "1000000"):
        wanted = tasks.normalise_number(text.replace("$", "").strip())
        assert follows(grammar, real, text + ".") == wanted, text


def follows(grammar, vocab, text):
    """The value that the tokens of text lead to; None where the tree has no such way."""
    from localent.tracing.prompt_tokens import continued

    phase, read = "start", ""
    for token in continued(text, vocab):
        moves = grammar.moves(phase)
        on = {int(t): i for i, t in enumerate(moves.going_on)}
        if token not in on:
            return grammar.value(read)
        phase, read = moves.phases[on[token]], read + moves.texts[on[token]]
    return grammar.value(read)


def test_labels_are_found_in_every_vocabulary(real):
    from localent.tasks.kinds.choice_grammar import ChoiceGrammar
    from localent.tracing.prompt_tokens import continued

    grammar = ChoiceGrammar(real.pieces, ("A", "B", "C", "D"))
    for text in ("A", " A", "B", " C", "D", " D"):
        token = continued(text, real)[0]
        moves = grammar.moves("start")
        assert token in {*moves.complete.tolist(), *moves.going_on.tolist()}


def test_a_round_trip_through_real_tokens(real):
    """Bytes in, bytes out, for text with every trap."""
    text = "Ünïcode 18 €, \u4f60\u597d\n\n<|im_end|> </s> 3.5%\t$1,000"
    tokens = real.tokenize(text)
    back = b"".join(real.pieces[t] for t in tokens).decode()
    assert back.replace("\u2581", " ").strip() == text


def test_the_template_of_the_real_qwen_file(shared):
    """A template by its makers, not by us: default system prompt, no BOS, control tokens single."""
    from localent.engine import open as open_model
    from localent.files import identity

    path = shared / "vocab" / "ggml-vocab-qwen2.gguf"
    template = identity.identify(path).template
    with open_model(path, vocab_only=True) as model:
        text = render(TASK, QUESTION, PromptOptions(template, variables=model.vocab.variables))
        tokens = prompt_tokens(text, model.vocab).tokens
        control = {model.vocab.token_named(t) for t in ("<|im_start|>", "<|im_end|>")}
        assert sum(t in control for t in tokens) == text.text.count("<|im_")
        assert b"".join(model.vocab.pieces[t] for t in tokens).decode() == text.text
        assert text.text.endswith("<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n")
