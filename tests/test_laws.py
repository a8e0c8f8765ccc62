"""Laws that hold for every input, tried on many: hypothesis looks for the one that breaks them, and shrinks it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

pytest.importorskip("hypothesis")  # of the development requirements

from helpers.stored import RUN, a_trace, filled, sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localent import tasks
from localent.records import Token, text_of, token_texts
from localent.report import table
from localent.tasks import rendering
from localent.tasks.kinds.number_grammar import NumberGrammar
from localent.tasks.template import PLACEHOLDER, render_chat

SOME = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
BYTES = NumberGrammar([bytes([i]) for i in range(256)])


@SOME
@given(ANY_TEXT, st.lists(st.integers(1, 4), max_size=30))
def test_the_texts_of_tokens_join_to_the_text(text, lengths):
    """However the bytes of its characters are cut into pieces."""
    raw, pieces = text.encode(), []
    for length in lengths:
        pieces.append(raw[:length])
        raw = raw[length:]
    pieces = [piece for piece in [*pieces, raw] if piece] or [b""]
    assert "".join(token_texts(pieces)) == text_of(pieces) == text


@SOME
@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=12))
def test_bytes_that_are_no_text_join_all_the_same(pieces):
    assert "".join(token_texts(pieces)) == text_of(pieces)


@SOME
@given(
    st.one_of(
        st.integers(-(10**9), 10**9).map(str),
        st.integers(0, 10**9).map("{:,}".format),
        st.decimals(-1000, 1000, places=2).map(str),
        st.tuples(st.sampled_from(["$", " $", " ", "-", " -"]), st.integers(0, 99999)).map(lambda p: f"{p[0]}{p[1]}"),
    ),
    st.sampled_from([".", "\n", " apples", ","]),
)
def test_grammar_and_extraction_read_one_number(number, after):
    """What a probe's search counts as a spelling of a value is what grading reads in a text."""
    walked = _walked(number)
    if walked is not None:
        assert walked == tasks.extract(f"The answer is {number.strip()}{after}", tasks.NUMBER, ()).value


def _walked(number: str) -> str | None:
    """The value that the characters of a number lead to in the grammar, byte by byte; None: they lead nowhere."""
    phase, read = "start", ""
    for byte in number.encode():
        moves = BYTES.moves(phase)
        places = [i for i, token in enumerate(moves.going_on) if int(token) == byte]
        if not places:
            return None
        phase, read = moves.phases[places[0]], read + moves.texts[places[0]]
    return BYTES.value(read)


@SOME
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=5), answer=st.one_of(st.none(), ANY_TEXT)
)
def test_a_record_comes_back_from_the_store_as_it_was(tmp_path_factory, pieces, answer):
    """Every byte of every token, and any text."""
    trace = a_trace()
    tokens = tuple(replace(trace.tokens[0], text=piece) for piece in pieces)
    read = replace(trace.extraction, value=answer, raw=answer)
    trace = replace(trace, tokens=tokens, text=text_of(pieces), extraction=read, steps=(), probes=())
    with filled(tmp_path_factory.mktemp("law") / "a.db") as db:
        db.add_trace(RUN.run_id, trace)
        ((key,),) = sql(db.path, "select trace_id from traces")
        assert db.trace(key) == trace
        assert all(isinstance(token, Token) for token in db.trace(key).tokens)


@SOME
@given(ANY_TEXT)
def test_nothing_that_is_printed_can_control_a_terminal(text):
    for shown in (table.cell_text(text), table.harmless(text).replace("\n", ""), table.table(["x"], [(text,)])):
        assert not any(char != "\n" and not char.isprintable() for char in shown)
    assert json.loads(next(iter(table.json_lines(["x"], [(text,)])))) == {"x": text}


@SOME
@given(st.lists(ANY_TEXT.filter(lambda text: not PLACEHOLDER.search(text)), min_size=1, max_size=3))
def test_a_question_stays_a_question_in_every_template(texts):
    """Whatever it spells, it comes out once, as text and not as the template's own."""
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}"
    turns = [("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(texts)]
    before, after = render_chat(template, turns, {})
    assert [text for text, is_own in (*before, *after) if not is_own] == texts
    assert rendering._remembered.cache_info().currsize <= 32
