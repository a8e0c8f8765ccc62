"""Rules that stop a trace while it is written: where, on a scripted engine, and that nothing but the trace decides."""

import math
from dataclasses import replace

import numpy as np
import pytest

from localent import stopping
from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import UsageError
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Answer, Problem
from localent.stopping import RULES, Stop, Written, parse
from localent.tasks import NUMBER, ThoughtFormat
from localent.tasks.kinds.cues import Cue
from localent.tasks.kinds.number_grammar import NumberGrammar
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.generate import Limits
from localent.tracing.probe import Effort
from localent.tracing.watch import Watcher, watched

PIECES = [b"<end>", b"?", b"So it is more.\n", b"Or it is less.\n", b"The answer is", b" 5", b" 4", b"."]
PIECES += [b"</think>\n\n"]
END, ASK, MORE, LESS, CUE, FIVE, FOUR, DOT, CLOSE = range(len(PIECES))
VOCAB = ScriptedVocab(PIECES, eog=frozenset([END]))
PROMPT = (ASK, ASK)
SURE = (0.4, 0.3, 0.85, 0.95, 0.97)  # probability of 5 after so many steps
N_STEPS = len(SURE) - 1


def logits(tokens):
    """Steps drawn at even odds, then the answer; after the cue at any prefix 5 or 4, surer by the step."""
    written, probs = tokens[len(PROMPT) :], np.zeros(len(PIECES))
    n = sum(t in (MORE, LESS) for t in written)
    if written[-1:] == (CUE,):
        probs[FIVE], probs[FOUR] = SURE[n], 1 - SURE[n]
    elif written[-1:] in ((FIVE,), (FOUR,)):
        probs[DOT] = 1.0
    elif written[-1:] == (DOT,):
        probs[END] = 1.0
    elif n == N_STEPS:
        probs[CUE] = 1.0
    else:
        probs[MORE] = probs[LESS] = 0.5
    with np.errstate(divide="ignore"):
        return np.log(probs)


def question(i=0, thought=None):
    """Closes an open thought before it asks, as the cue of a run does."""
    thought = thought or ThoughtFormat()
    spelled = {"5": [FIVE], "4": [FOUR]}

    def cue(text):
        return [CLOSE, CUE] if thought.is_open(text) else [CUE]

    problem = Problem(f"p{i}", str(i), "?", "5")
    return Question(problem, Prompt(PROMPT), cue, NumberGrammar(PIECES), thought=thought, said=spelled.__getitem__)


def setup(stop=None, max_tokens=30):
    limits, effort = Limits(max_tokens), Effort(1e-9, 50)
    return Setup(VOCAB, Meter(len(PIECES)), Sampler(1.0), 0, limits, NUMBER, effort, stop=stop and parse(stop))


def made(make, n=6, n_lanes=3):
    """(problem, sample) -> trace."""
    engine = ScriptedEngine(VOCAB, logits, n_lanes=n_lanes)
    traces = drive(engine, (make(question(i // 2), i % 2) for i in range(n)))
    return {(t.problem_id, t.sample): t for t in traces}


def whole(**options):
    return made(lambda q, sample: attempt(q, sample, setup()), **options)


def stopped(stop, **options):
    return made(lambda q, sample: watched(q, setup(stop), sample=sample, as_run=True), **options)


def test_a_trace_stops_where_the_rule_first_holds_and_gives_the_leading_answer():
    """p 0.85 after the second of four steps: the entropy is 0.42 nats there, 0.61 at the first."""
    for key, trace in stopped("certain_leader:0.8").items():
        usual = whole()[key]
        assert (trace.finish, trace.correct) == ("early", True)
        assert trace.text == usual.text[: len("So it is more.\n") * 2] + "The answer is 5"
        assert trace.tokens[:2] == usual.tokens[:2]
        assert [step.kind for step in trace.steps] == ["reasoning", "reasoning", "answer"]
        assert (trace.extraction.value, trace.extraction.raw) == ("5", "The answer is 5")
        assert trace.extraction.method == "leading answer"
        assert [replace(p, position=p.k / 4) for p in trace.probes] == list(usual.probes[:3])
        assert [p.position for p in trace.probes] == [0.0, 0.5, 1.0]


def test_the_leading_answer_may_be_wrong():
    for trace in stopped("entropy_threshold:0.62").values():  # 0.6 to 0.4 says little, 0.7 to 0.3 is less than 0.62
        assert (trace.extraction.value, trace.correct, trace.text.count("\n")) == ("4", False, 1)


def test_a_rule_that_never_holds_leaves_the_trace_as_it_is():
    """With the probes of a run that is probed after every step."""
    assert stopped("certain_leader:0.99") == whole()


def test_lanes_and_order_change_nothing():
    assert stopped("certain_leader:0.9", n_lanes=1) == stopped("certain_leader:0.9", n_lanes=5)


def test_an_open_thought_is_closed_before_the_answer():
    (trace,) = drive(
        ScriptedEngine(VOCAB, logits, n_lanes=1),
        [watched(question(thought=ThoughtFormat(opened=True)), setup("certain_leader:0.8"), as_run=True)],
    )
    assert trace.text.endswith("\n</think>\n\nThe answer is 5")
    assert trace.finish == "early"


def test_the_token_limit_does_not_cut_the_answer_off():
    """The limit falls on the step after which the trace stops: what is left to say is the answer."""
    (trace,) = drive(
        ScriptedEngine(VOCAB, logits, n_lanes=1), [watched(question(), setup("certain_leader:0.8", 3), as_run=True)]
    )
    assert (trace.finish, len(trace.tokens)) == ("early", 4)


def test_a_watcher_sees_every_token_of_the_answer_too():
    seen, probes = [], []
    watcher = Watcher(lambda piece, measures: seen.append((piece, measures["surprisal"])), probes.append)
    (trace,) = drive(
        ScriptedEngine(VOCAB, logits, n_lanes=1), [watched(question(), setup("certain_leader:0.8"), watcher)]
    )
    assert [piece for piece, _ in seen] == [token.text for token in trace.tokens]
    assert [surprisal for _, surprisal in seen] == [token.surprisal for token in trace.tokens]
    assert len(probes) == len(trace.probes) == 3


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.key)
def test_no_rule_looks_ahead(rule):
    """The quantity at each probe of a whole trace is the one that is known when the trace has come that far."""
    rng = np.random.default_rng(0)
    (trace,) = whole(n=1).values()
    many = [a_probe(trace.probes[0], k, rng) for k in range(26)]
    alone = [rule.of(Written.of(many[: k + 1]))[0, -1] for k in range(26)]
    assert rule.of(Written.of(many))[0] == pytest.approx(alone, nan_ok=True)
    assert np.isfinite(alone).any()


def a_probe(probe, k, rng):
    p = float(rng.uniform(0.3, 1.0))
    answers = (Answer(str(rng.integers(2)), p),)
    numbers = dict(entropy=float(rng.exponential()), next_entropy=float(rng.exponential()))
    return replace(probe, k=k, n_tokens=7 * k, answers=answers, leader=answers[0].value, **numbers)


def test_the_degeneration_score_follows_its_definition():
    """Source: arXiv 2604.04930 as others state it: the sum of ln(T_k / T_i) + 1 over unstable steps i <= k."""
    c, tokens = np.array([[0.5, 0.4, 0.9, 0.6, 0.2]]), np.array([[0.0, 10, 25, 40, 80]])
    unstable = [i for i in range(1, 5) if 2 * c[0, i] - c[0, i - 1] < 0.55]
    assert unstable == [1, 3, 4]
    expected = [sum(math.log(tokens[0, k] / tokens[0, i]) + 1 for i in unstable if i <= k) for k in range(5)]
    assert stopping.degeneration(c, tokens)[0] == pytest.approx(expected)


def test_code_stop_takes_a_sure_answer_at_once_and_gives_up_an_unstable_trace():
    (trace,) = whole(n=1).values()
    sure = [replace(trace.probes[0], answers=(Answer("5", p),), leader="5") for p in (0.89, 0.91)]
    assert not parse("code_stop:100").fires(sure[:1])
    assert parse("code_stop:100").fires(sure[1:])  # 0.91 of 0.9 at k = 0
    wavering = [replace(sure[0], k=k, n_tokens=10 * k, answers=(Answer("5", 0.4),)) for k in range(5)]
    fires = [parse("code_stop:3").fires(wavering[: k + 1]) for k in range(5)]
    scores = [-parse("code_stop:3").quantity(wavering[: k + 1]) for k in range(5)]
    assert fires == [score >= 3 for score in scores]
    assert fires[-1]


def test_eat_waits_for_its_average_to_warm_up():
    x = np.full((1, 30), 0.2)
    x[0, :5] = 2.0
    found = stopping.ema_variance(x, stopping.EAT_SMOOTHING, stopping.EAT_WARM_UP)[0]
    assert np.isnan(found[:20]).all()
    m, v = x[0, 0], 0.0
    for value in x[0, 1:]:
        m = 0.8 * m + 0.2 * value
        v = 0.8 * v + 0.2 * (value - m) ** 2
    assert found[-1] == pytest.approx(v)


def test_a_stop_is_written_as_it_is_read():
    assert str(parse("certain_leader:0.98")) == "certain_leader:0.98"
    assert parse("certain leader:0.98") == parse("certain_leader:0.98")
    exact = Stop(RULES[0], stopping.rounded(0.123456789))
    assert parse(str(exact)) == exact
    for text, said in (("learned:0.5", "No rule 'learned'"), ("eat", "has no setting"), ("eat:nan", "has no setting")):
        with pytest.raises(UsageError, match=said):
            parse(text)


@pytest.mark.parametrize(
    ("cue", "completed"),
    [
        ("The answer is", "The answer is 18"),
        ("#### ", "#### 18"),
        ("**Final answer:**", "**Final answer:** 18"),
        ("The final answer is \\(\\boxed{", "The final answer is \\(\\boxed{18}\\)"),
        ("The answer is (", "The answer is (18)"),
    ],
)
def test_a_cue_is_completed_by_the_answer(cue, completed):
    assert cue + Cue("mine", cue).answered("18") == completed


def test_time_that_is_up_ends_a_trace_at_the_next_step_with_a_leader():
    """After the second step; the lane is not asked for more."""
    seen = []
    watcher = Watcher(lambda piece, _: seen.append(piece), lambda probe: None, late=lambda: len(seen) > 1)
    (trace,) = drive(ScriptedEngine(VOCAB, logits, n_lanes=1), [watched(question(), setup(), watcher)])
    assert (trace.finish, trace.extraction.value, trace.text.count("\n")) == ("early", "5", 2)
