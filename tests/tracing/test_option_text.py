"""The answer by the text of an option: equal to brute force, also where options begin alike, and read in place."""

import math

import numpy as np
import pytest

from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Choice, Problem
from localent.tasks import OPTION_TEXT
from localent.tasks.kinds.option_text import SCORES, OptionTexts, options_of
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.probe import Asked, Effort, probe

PIECES = [b"<end>", b" the", b" red", b" fox", b" cat", b" dogs", b"?", b"\n", b"A step.\n", b"\nAnswer:", b"Answer:"]
END, THE, RED, FOX, CAT, DOGS, ASK, LINE, STEP, CUE, SAYS = range(len(PIECES))
VOCAB = ScriptedVocab(PIECES, eog=frozenset([END]))
TOKENS = ((THE, FOX), (THE, RED, FOX), (THE, RED, CAT), (DOGS,))
TEXTS = ("the fox", "the red fox", "the red cat", "dogs")
PROBLEM = Problem("p", "7", "Which?", "C", tuple(map(Choice, "ABCD", TEXTS)))


def random_logits(tokens):
    """Every context has another distribution, the same in every call."""
    return np.random.default_rng([7, *tokens]).normal(0, 2, len(PIECES)).astype(np.float32)


def ln_p(tokens, n_context):
    """Brute force: the log-probability of tokens[n_context:], each in its context, by float64 log-softmax."""
    total = 0.0
    for i in range(n_context, len(tokens)):
        logits = random_logits(tuple(tokens[:i])).astype(np.float64)
        total += logits[tokens[i]] - np.log(np.exp(logits).sum())
    return total


def asked(prompt, cue, score="sum", truth="C", options=None):
    """(distribution after prompt + [STEP] + cue, what the engine was asked)."""
    options = options or options_of(PROBLEM, score, prompt[-1], VOCAB.tokenize)
    engine = ScriptedEngine(VOCAB, random_logits, n_lanes=2)

    def job():
        yield Prompt([*prompt, STEP])
        return (
            yield from probe(
                len(prompt), Asked(cue, options, truth, np.random.default_rng(0)), Effort(), Meter(len(PIECES))
            )
        )

    return next(drive(engine, [job()])), engine.calls


@pytest.mark.parametrize("cue", [(), (CUE,), (LINE, CUE)])
@pytest.mark.parametrize("score", SCORES)
def test_each_reading_is_the_softmax_of_brute_force(score, cue):
    prompt = (ASK, LINE, ASK)
    context = (*prompt, *cue)
    lls = [ln_p((*context, *tokens), len(context)) for tokens in TOKENS]
    per = {"sum": [1] * 4, "token": [2, 3, 3, 1], "character": [7, 11, 11, 4]}[score]
    scores = np.array(lls) / per
    wanted = np.exp(scores) / np.exp(scores).sum()
    found, _ = asked(prompt, cue, score)
    assert found.probs == pytest.approx(dict(zip("ABCD", wanted, strict=True)), abs=1e-6)
    assert found.entropy == found.entropy_lower == found.entropy_upper
    assert found.entropy == pytest.approx(-(wanted * np.log(wanted)).sum(), abs=1e-6)
    assert (found.invalid, found.residual) == (0.0, 0.0)
    assert found.leader == "ABCD"[wanted.argmax()] == found.answers[0].value
    assert found.p_true == pytest.approx(wanted[2], abs=1e-6)
    assert found.log_p_true == pytest.approx(math.log(wanted[2]), abs=1e-6)


def test_a_common_beginning_is_fed_once_and_no_last_token_is():
    """ " the", " the red" and the cue: three tokens for eight of options."""
    found, calls = asked((ASK,), (CUE,))
    fed = [call[1][0] for call in calls if call[0] == "decode"]
    assert fed == [CUE, THE, RED]
    assert found.n_fed == 3


def test_an_unknown_truth_has_no_probability():
    found, _ = asked((ASK,), (CUE,), truth="")
    assert (found.p_true, found.log_p_true) == (0.0, None)


def test_two_that_lead_together_are_no_leader():
    twins = OptionTexts(("A", "B"), ((FOX,), (FOX,)), (3, 3), "sum", ASK)
    found, _ = asked((ASK,), (CUE,), truth="A", options=twins)
    assert found.leader is None
    assert found.probs == pytest.approx({"A": 0.5, "B": 0.5})


def attempted(script, *, at_once, cue):
    """A trace whose text is `script`; after `cue` the options have random likelihoods."""

    def logits(tokens):
        written = tokens[1:]
        if tuple(script[: len(written)]) == written:
            wanted = np.full(len(PIECES), -50.0, np.float32)
            wanted[script[len(written)] if len(written) < len(script) else END] = 50.0
            return wanted if (at_once and written) or not at_once else random_logits(tokens) + wanted / 10
        return random_logits(tokens)

    question = Question(
        PROBLEM,
        Prompt([ASK]),
        lambda written: cue,
        options_of(PROBLEM, "character", ASK, VOCAB.tokenize),
        stops=("\n",) if at_once else (),
        at_once=at_once,
    )
    setup = Setup(VOCAB, Meter(len(PIECES)), Sampler(0.0), 0, Limits(20), OPTION_TEXT, Effort()).asking(question)
    return next(drive(ScriptedEngine(VOCAB, logits, n_lanes=2), [attempt(question, 0, setup)]))


def test_an_answer_asked_for_at_once_has_one_probe_and_counts_by_its_leader():
    trace = attempted((CAT, LINE), at_once=True, cue=())
    assert (trace.text, trace.finish, [step.kind for step in trace.steps]) == (" cat", "stop", ["answer"])
    (only,) = trace.probes
    assert (only.k, only.n_tokens, only.estimator) == (0, 0, "option text")
    assert trace.extraction.value == only.leader
    assert trace.extraction.method == "option text"
    assert trace.extraction.raw == TEXTS["ABCD".index(only.leader)]
    assert trace.correct == (only.leader == "C")


def test_an_empty_answer_is_a_trace_too():
    trace = attempted((LINE,), at_once=True, cue=())
    assert (trace.text, trace.tokens, trace.steps, len(trace.probes)) == ("", (), (), 1)


def test_reasoning_is_probed_after_every_step_and_the_last_one_counts():
    trace = attempted((STEP, STEP, SAYS, THE, CAT), at_once=False, cue=(CUE,))
    assert [step.kind for step in trace.steps] == ["reasoning", "reasoning", "answer"]
    assert [(p.k, p.n_tokens) for p in trace.probes] == [(0, 0), (1, 1), (2, 2)]
    assert trace.extraction.value == trace.probes[-1].leader
