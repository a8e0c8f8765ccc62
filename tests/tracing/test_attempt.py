"""One attempt on a scripted engine: what is generated, graded and probed, and where each prefix ends."""

import math
from dataclasses import replace

import numpy as np
import pytest

from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Problem
from localent.tasks import NUMBER
from localent.tasks.kinds.number_grammar import NumberGrammar
from localent.tasks.thought import DEFAULT
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.probe import Effort

PIECES = [b"<end>", b"?", b"Two and two.\n", b"Then one.\n", b"The answer is", b" 5", b" 4", b".", b"\nQ:", b"."]
PIECES += [b" So on.\n", b"Q:"]
END, ASK, STEP1, STEP2, CUE, FIVE, FOUR, DOT, NEXT, _, SO, REST = range(len(PIECES))
VOCAB = ScriptedVocab(PIECES, eog=frozenset([END]))
PROMPT = (ASK, ASK)
P_FIVE = {0: 0.3, 1: 0.6, 2: 0.9, 3: 0.95}  # probability that it answers 5 after so many steps


def model(script):
    """Writes `script` after the prompt; after the cue at any prefix it answers 5 or 4, then stops."""

    def logits(tokens):
        written, probs = tokens[len(PROMPT) :], np.zeros(len(PIECES))
        if written[-1:] == (CUE,):
            share = P_FIVE[sum(t in (STEP1, STEP2, SO) for t in written)]
            probs[FIVE], probs[FOUR] = share, 1 - share
        elif tuple(script[: len(written)]) == written and len(written) < len(script):
            probs[script[len(written)]] = 1.0
        elif written[-1:] in ((FIVE,), (FOUR,)):
            probs[DOT] = 1.0
        else:
            probs[END] = 1.0
        with np.errstate(divide="ignore"):
            return np.log(probs)

    asked = []
    engine = ScriptedEngine(VOCAB, lambda tokens: asked.append(tokens) or logits(tokens), n_lanes=2)
    engine.asked = asked
    return engine


def make(script, *, max_tokens=20, stops=(), temperature=0.0, thought=DEFAULT, probes=None):
    engine = model(script)
    setup = Setup(
        VOCAB, Meter(len(PIECES)), Sampler(temperature), 0, Limits(max_tokens, stops), NUMBER, Effort(1e-6, 50), probes
    )
    problem = Problem("p1", "1", "?", "5")
    grammar = NumberGrammar(PIECES)
    question = Question(problem, Prompt(PROMPT), lambda text: [CUE], grammar, thought=thought)
    trace = next(drive(engine, [attempt(question, 0, setup)]))
    return trace, engine


def entropy(p):
    return -sum(x * math.log(x) for x in (p, 1 - p))


def check_probes(trace, n_tokens):
    assert [probe.n_tokens for probe in trace.probes] == n_tokens
    assert [probe.k for probe in trace.probes] == list(range(len(n_tokens)))
    for probe in trace.probes:
        assert probe.p_true == pytest.approx(P_FIVE[probe.k], abs=1e-6)
        assert probe.entropy == pytest.approx(entropy(P_FIVE[probe.k]), abs=1e-5)


def test_every_step_before_the_answer_is_probed():
    trace, _ = make([STEP1, STEP2, CUE, FIVE, DOT])
    assert trace.text == "Two and two.\nThen one.\nThe answer is 5."
    assert (trace.finish, trace.correct, trace.extraction.value) == ("stop", True, "5")
    assert [step.kind for step in trace.steps] == ["reasoning", "reasoning", "answer"]
    assert trace.tokens[-1].text == b""
    check_probes(trace, [0, 1, 2])


def test_so_many_prefixes_are_probed_as_every_step_probed_reads_them():
    """Three of four: start, half and end, each the reading that it is among all of them."""
    script = [STEP1, STEP2, SO, CUE, FIVE, DOT]
    few, every = (make(script, probes=probes)[0].probes for probes in (3, None))
    assert [probe.k for probe in every] == [0, 1, 2, 3]
    assert few == tuple(every[k] for k in (0, 1, 3))


def test_a_trace_without_an_answer_is_probed_up_to_its_end():
    """Its last step holds the end-of-generation token, which was never fed."""
    trace, _ = make([STEP1, STEP2])
    assert (trace.finish, trace.correct, trace.extraction.value) == ("stop", False, None)
    check_probes(trace, [0, 1, 2])


def test_a_truncated_trace_is_probed_up_to_its_last_token():
    """The last token was sampled but not fed; a prefix that holds it needs it in the lane."""
    trace, engine = make([STEP1, STEP2, CUE, FIVE, DOT], max_tokens=2)
    assert trace.finish == "length"
    check_probes(trace, [0, 1, 2])
    assert engine.lanes[0][:2] == list(PROMPT)


def test_a_stop_text_ends_the_trace_and_is_cut_off():
    trace, _ = make([STEP1, CUE, FIVE, NEXT, ASK], stops=(b"\nQ:",))
    assert (trace.text, trace.finish, len(trace.tokens)) == ("Two and two.\nThe answer is 5", "stop", 3)
    check_probes(trace, [0, 1])


def test_a_stop_text_that_begins_inside_a_token_leaves_that_token_whole():
    """The lane was fed " So on.\n", so what a probe sees at the end, the tokens and the text all have it."""
    trace, engine = make([STEP1, SO, REST, ASK], stops=(b"\nQ:",))
    assert (trace.text, trace.finish) == ("Two and two.\n So on.\n", "stop")
    assert [PIECES[token.token_id] for token in trace.tokens] == [token.text for token in trace.tokens]
    check_probes(trace, [0, 1, 2])
    asked = {tokens for tokens in engine.asked if tokens[-1] == CUE}
    assert asked == {(*PROMPT, *(t.token_id for t in trace.tokens[: probe.n_tokens]), CUE) for probe in trace.probes}
    assert "".join(step.text for step in trace.steps) == trace.text


def test_a_trace_that_says_nothing_is_probed_at_its_start():
    trace, _ = make([])
    assert (trace.text, [step.kind for step in trace.steps if step.kind == "reasoning"]) == ("", [])
    check_probes(trace, [0])


def test_a_trace_cut_to_nothing_is_probed_at_its_start():
    trace, _ = make([NEXT, STEP1], stops=(b"\nQ:",))
    assert (trace.text, trace.tokens, trace.steps) == ("", (), ())
    check_probes(trace, [0])


def test_measures_are_those_of_the_raw_distribution():
    """At any temperature: the first token has probability 1, surprisal and entropy 0, rank 1."""
    trace, _ = make([STEP1, CUE, FIVE, DOT], temperature=0.5)
    first = trace.tokens[0]
    assert (first.surprisal, first.entropy, first.rank, first.top1_prob) == (0.0, 0.0, 1, 1.0)
    answer = trace.tokens[2]
    assert answer.entropy == pytest.approx(entropy(P_FIVE[1]), abs=1e-6)
    assert answer.surprisal == pytest.approx(-math.log(P_FIVE[1] if answer.text == b" 5" else 1 - P_FIVE[1]), abs=1e-6)


@pytest.mark.parametrize("opens_thought", [True, False])
def test_what_a_thought_had_stated_when_it_was_cut_off_is_no_answer(opens_thought):
    trace, _ = make([STEP1, CUE, FIVE, DOT, STEP2, STEP2], max_tokens=5, thought=replace(DEFAULT, opened=opens_thought))
    assert trace.finish == "length"
    assert trace.extraction.value == (None if opens_thought else "5")
    assert trace.correct != opens_thought
    assert [step.kind for step in trace.steps][-1] == ("reasoning" if opens_thought else "answer")
    if opens_thought:
        assert trace.extraction.problem == "the token limit came in the middle of a thought"
