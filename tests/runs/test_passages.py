"""Texts by their names: plain files, conversations in JSONL, and the traces of a stored run."""

import json

import pytest

from localent.engine import open as open_model
from localent.errors import LocalentError, UsageError
from localent.runs import Settings
from localent.runs.passages import CHAT, PLAIN, TRACES, Dialogue, Voice, read_passages
from localent.runs.text import score_texts
from localent.store import open_db

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASK = [{"role": "user", "content": "How many are 2 and 3?"}, {"role": "assistant", "content": "2 + 3 = 5."}]


@pytest.fixture(scope="module")
def vocab(bundled):
    with open_model(bundled, vocab_only=True) as model:
        yield model.vocab


def said(dialogue, vocab, template=CHATML):
    """(the whole text, the texts of the runs of tokens that count)"""
    tokens = Voice(template, {}).tokens(dialogue, vocab)
    texts, last = [], False
    for token, own in tokens:
        if own:
            texts += [b""] * (not last)
            texts[-1] += vocab.pieces[token]
        last = own
    return b"".join(vocab.pieces[token] for token, _ in tokens).decode(), [text.decode() for text in texts]


def dialogue(*turns):
    return Dialogue(turns, "a line", "a line")


def test_what_the_assistant_says_counts_with_the_end_of_its_turn(vocab):
    whole, own = said(dialogue(("system", "Be kind."), ("user", "1?"), ("assistant", "One."), ("user", "2?"),
                               ("assistant", "Two."), ("user", "3?")), vocab)  # fmt: skip
    assert own == ["One.<|im_end|>", "Two.<|im_end|>"]
    assert whole == (
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n1?<|im_end|>\n"
        "<|im_start|>assistant\nOne.<|im_end|>\n"
        "<|im_start|>user\n2?<|im_end|>\n<|im_start|>assistant\nTwo.<|im_end|>\n<|im_start|>user\n3?<|im_end|>\n"
    )


def test_a_message_cannot_spell_a_special_token(vocab):
    spelled = dialogue(("user", "x<|im_end|>y"), ("assistant", "<|im_start|>z"))
    tokens = Voice(CHATML, {}).tokens(spelled, vocab)
    end, start = (vocab.tokenize(text, special=True)[0] for text in ("<|im_end|>", "<|im_start|>"))
    assert [token for token, _ in tokens].count(end) == 2
    assert [token for token, _ in tokens].count(start) == 2


def test_a_conversation_needs_a_template_a_trace_does_not(vocab):
    """A base model reads a trace in the layout in which it is asked."""
    whole, own = said(dialogue(("user", "1 + 1?"), ("assistant", "It is 2.")), vocab, None)
    assert (whole, own) == ("Question: 1 + 1?\nSolution: It is 2.", [" It is 2."])
    with pytest.raises(LocalentError, match=r"A line: .*no chat template"):
        Voice(None, {}).tokens(dialogue(("system", "Hi."), ("user", "1?"), ("assistant", "1.")), vocab)


def test_files_are_read_by_what_they_are(tmp_path):
    (tmp_path / "a.txt").write_text("Some text.\n")
    rows = [
        {"messages": ASK},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
        [{"role": "user", "content": [{"type": "text", "text": "H"}]}, {"role": "assistant", "content": "I"}],
    ]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    plain, chat = read_passages([str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")], tmp_path / "none.db")
    assert (plain.name, plain.form, plain.text) == ("a.txt", PLAIN, "Some text.")
    assert (chat.name, chat.form) == ("b.jsonl", CHAT)
    assert [d.turns for d in chat.dialogues] == [
        (("user", "How many are 2 and 3?"), ("assistant", "2 + 3 = 5.")),
        (("user", "Hi"), ("assistant", "Ho")),
        (("user", "H"), ("assistant", "I")),
    ]


BAD = [
    ("", "has no conversations"),
    ("{", "Line 1 of x.jsonl is not JSON"),
    ('{"text": "abc"}', "Line 1 of x.jsonl has no messages"),
    ('{"messages": [{"role": "user", "content": "a"}]}', "In line 1 of x.jsonl the assistant says nothing"),
    ('{"messages": [{"role": "user"}]}', "A message in line 1 of x.jsonl lacks a role or a text"),
    ('{"messages": ["a"]}', "A message in line 1 of x.jsonl lacks a role or a text"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[sentence for _, sentence in BAD])
def test_lines_that_are_no_conversations_get_a_sentence(tmp_path, text, sentence):
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_passages([str(tmp_path / "x.jsonl")], tmp_path / "none.db")


def test_what_is_neither_file_nor_run_gets_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="No file 'abc': name a text file"):
        read_passages(["abc"], tmp_path / "none.db")
    open_db(tmp_path / "x.db").close()
    with pytest.raises(UsageError, match=r"No file 'abc'\. No run 'abc'"):
        read_passages(["abc"], tmp_path / "x.db")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.txt").write_text("Text.")
    with pytest.raises(UsageError, match=r"Two texts are called x\.txt"):
        read_passages([str(tmp_path / "a" / "x.txt"), str(tmp_path / "b" / "x.txt")], tmp_path / "x.db")


def test_traces_of_a_run_are_read_by_another_model(tmp_path, bundled):
    """A model that reads its own traces finds the surprisals that it wrote them with, but for other calls' rounding."""
    from localent import runs, tasks

    db, settings = tmp_path / "x.db", Settings(threads=1, lanes=2, probe=False, temperature=0.0, after_answer="go-on")
    run_id = runs.run(str(bundled), tasks.load("demo-number").first(3), db=db, settings=settings).run_id
    (passage,) = read_passages([run_id[:6]], db)
    assert (passage.name, passage.form, len(passage.dialogues)) == (run_id, TRACES, 3)
    (found,) = score_texts(str(bundled), [passage], settings=Settings(threads=1, lanes=2), keep=db)
    with open_db(db, readonly=True) as store:
        mean = store.first("select avg(surprisal) as s, count(*) as n from tokens join traces using (trace_id)")
        kept = store.first("select sum(given = 0) as n, count(distinct window_index) as w from text_tokens")
    assert found.n_tokens == mean["n"] == kept["n"]
    assert kept["w"] == 3
    assert found.surprisal == pytest.approx(mean["s"], abs=0.002)


def test_a_conversation_beyond_the_context_is_refused(tmp_path, random_model):
    model = random_model("tiny-qwen2")
    settings = Settings(threads=1, lanes=1, chat_template=CHATML)
    (tmp_path / "x.jsonl").write_text(json.dumps([ASK[0], {"role": "assistant", "content": "word " * 5000}]))
    with pytest.raises(LocalentError, match=r"line 1 of x.jsonl has [\d,]+ tokens, the model was trained for"):
        score_texts(str(model), read_passages([str(tmp_path / "x.jsonl")], tmp_path / "y"), settings=settings)
