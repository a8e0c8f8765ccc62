"""What ends a trace: its answer, a loop, a spent budget of thinking. A scripted model writes a text by letters."""

import random
from dataclasses import replace

import pytest

from localent import tasks
from localent.engine import Prompt, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.measure.meter import Meter
from localent.measure.sampling import Sampler
from localent.records import Choice, Problem
from localent.tasks import CHOICE, NUMBER, ThoughtFormat
from localent.tracing.attempt import Question, Setup, attempt
from localent.tracing.controls import Written
from localent.tracing.generate import Limits
from localent.tracing.loops import is_loop
from localent.tracing.probe import Effort
from localent.tracing.rollout import Part, Rollouts, continuations

LETTERS = [bytes([i]) for i in range(128)]
END = len(LETTERS)
VOCAB = ScriptedVocab([*LETTERS, b"<end>"], eog=frozenset({END}))
CHOICES = (Choice("A", "evaporate."), Choice("B", "condense."), Choice("C", "melt."))


def wrote(text, **asked):
    """The trace of a model that writes this text and then ends, where nothing ends it before."""
    engine, question, setup = scripted(text, **asked)
    return next(drive(engine, [attempt(question, 0, setup)]))


def scripted(text, *, answer="18", choices=(), thought=None, limits=None, **how):
    """A model that writes this text by position, and a question to it."""
    script = [*text.encode("ascii"), END]

    def logits(tokens):
        n = len(tokens) - 1
        row = [-50.0] * (END + 1)
        row[script[min(n, len(script) - 1)]] = 50.0
        return row

    problem = Problem("p", "1", "q", answer, choices)
    question = Question(problem, Prompt([0]), lambda text: [1], None, thought=thought or ThoughtFormat())
    question = replace(question, closing=tuple(how.pop("closing", "").encode()))
    limits = limits or Limits(5000)
    kind = CHOICE if choices else NUMBER
    setup = Setup(VOCAB, Meter(END + 1), Sampler(0.0), 0, limits, kind, Effort(), **how).asking(question)
    return ScriptedEngine(VOCAB, logits, n_lanes=1, n_ctx=8000), question, setup


# ── after the answer ────────────────────────────────────────────────────────────────────────────────────────────

MORE = "\nLet me check: 3 * 7 = 21.\nThe answer is 21."


@pytest.mark.parametrize(
    "answered",
    [
        "3 * 6 = 18.\nThe answer is 18.\n",
        "3 * 6 = 18.\n#### 18\n",
        "So \\boxed{18} books are left.\n",
        "\\[\n\\boxed{18}\n",
        "**Final answer: 18**\n",
        "Answer: 18 books\n",
        "The answer is 12? No, 3 * 6 is not 12.\nThe answer is 18.\n",
        "If the answer is 5, then 6 * 3 fails.\nThe answer is 18.\n",
        "The answer to the first part is 6.\nThe answer is 18.\n",
        "<think>Perhaps\nthe answer is 5.\n</think>\nThe answer is 18.\n",
    ],
)
def test_a_trace_ends_with_the_line_of_its_answer(answered):
    trace = wrote(answered + MORE, stop_answered=True)
    assert (trace.text, trace.finish) == (answered, "stop")
    assert (trace.extraction.value, trace.extraction.problem, trace.correct) == ("18", None, True)


@pytest.mark.parametrize(
    "text",
    [
        "The answer is\n\n3 * 6 = 18.",
        "Answer: Ann has 3 baskets.\nSo 18 in all.",
        "I look for the answer.\nIt is 18.",
        "The answer is 12 or 13.\n18.",
        "Is the answer 12?\nNo, 18.",
    ],
)
def test_a_line_without_a_final_answer_ends_nothing(text):
    assert wrote(text, stop_answered=True).text == text


def test_on_request_a_trace_goes_on_and_the_first_final_statement_counts():
    """A changed one is reported; what was read is what it would have been had the trace ended there."""
    text = "3 * 6 = 18.\nThe answer is 18." + MORE
    trace = wrote(text)
    assert trace.text == text
    assert trace.extraction.value == "18"
    assert trace.extraction.problem == "21 is stated after the final answer 18"
    assert trace.steps[-1].kind == "answer"
    assert wrote(text.replace("21", "18")).extraction.problem is None


def test_what_is_read_is_the_same_whether_a_trace_goes_on_or_not():
    """Texts of random lines: the reading of the whole is that of the part at which a trace ends."""
    draw, lines = random.Random(0), [
        "The answer is 5.", "#### 6", "So \\boxed{7} it is.", "Hm, 8 * 2 = 16.", "The answer is 9. Or not.", "Wait.",
        "Final answer: 10", "Is the answer 11?", "", "If the answer is 12, it fails.",
    ]  # fmt: skip
    for _ in range(300):
        text = "\n".join(draw.choices(lines, k=draw.randrange(1, 7))) + "\n"
        ends = [i + 1 for i, char in enumerate(text) if char == "\n" and tasks.is_answered(text[: i + 1], NUMBER)]
        if ends:
            assert tasks.extract(text[: ends[0]], NUMBER).value == tasks.extract(text, NUMBER).value, text


def test_a_choice_ends_too():
    trace = wrote("It is warm.\nThe answer is B) condense.\nA) evaporate. is wrong.", choices=CHOICES, answer="B",
                  stop_answered=True)  # fmt: skip
    assert trace.text.endswith("condense.\n")
    assert trace.correct


@pytest.mark.parametrize(
    "text",
    [
        "What will it do? A) evaporate. B) condense. C) melt.",
        "A) evaporate.\nB) condense.\nC) mel",
        "Answer:\nA) evaporate.\nB) condense.\nC) melt.",
        "It will be warm, so it is not option C.",
        "It might be C, which is wrong.",
        "(C), which does not fit",
        "It does not melt.",
        "The answer is not option C.",
    ],
)
def test_listed_and_excluded_options_are_no_answers(text):
    found = tasks.extract(text, CHOICE, CHOICES)
    assert found.value is None
    assert found.problem


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("So it is C) melt.", "C"),
        ("A) evaporate. B) condense. C) melt.\nIt is warm, so (A).", "A"),
        ("The answer is C) melt.\nA) evaporate. is wrong.", "C"),
        ("The options are A) evaporate. B) condense. C) melt.\nThe answer is B.", "B"),
    ],
)
def test_an_option_named_beside_a_list_is_an_answer(text, label):
    assert tasks.extract(text, CHOICE, CHOICES).value == label


# ── loops ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", ["3 * 6 = 18. So we go on.\n", "abcdefghijklmnopqrst", "ha ", "x"])
def test_a_block_over_and_over_ends_the_trace(block):
    trace = wrote("Six in each.\n" + 200 * block, limits=Limits(5000, end_loops=True))
    assert trace.finish == "loop"
    assert len(trace.tokens) < 13 + max(64, 5 * len(block)) + 16
    assert (trace.extraction.value, trace.extraction.problem) == (None, "the trace repeats itself")


def test_without_the_setting_it_goes_on_to_the_limit():
    assert wrote(100 * "ha ", limits=Limits(200)).finish == "length"


@pytest.mark.parametrize("text", ["-" * 60, "".join(f"{i}, " for i in range(300)), "|---" * 12, 3 * ("ab" * 30 + "c")])
def test_tables_counts_and_a_second_thought_are_no_loops(text):
    assert wrote(text, limits=Limits(5000, end_loops=True)).finish == "stop"


def test_an_answer_that_was_stated_before_a_loop_counts():
    trace = wrote("The answer is 18.\n" + 50 * "Thank you. ", limits=Limits(5000, end_loops=True))
    assert (trace.finish, trace.extraction.value) == ("loop", "18")


def test_loops_are_found_as_by_brute_force():
    draw = random.Random(1)
    for _ in range(500):
        period, n = draw.randrange(1, 40), draw.randrange(40, 200)
        block = [draw.randrange(4) for _ in range(period)]
        ids = [draw.randrange(4) for _ in range(draw.randrange(30))] + (block * n)[:n]
        assert is_loop(ids) == any(
            len(ids) >= max(4 * p, 64) and all(ids[-i] == ids[-i - p] for i in range(1, max(4 * p, 64) - p + 1))
            for p in range(1, len(ids) // 4 + 1)
        )


# ── a budget of thinking ────────────────────────────────────────────────────────────────────────────────────────

CLOSE = "\nEnough.\n</think>\n\n"


def test_a_spent_budget_closes_the_thought_and_goes_on_to_the_answer():
    """The model predicts each token, also where the text is given; this one goes on by position."""
    thought = "Hm. " * 10
    text = thought + len(CLOSE) * "?" + "The answer is 18.\nMore."
    trace = wrote(text, thought=ThoughtFormat(opened=True), think_budget=40, closing=CLOSE, stop_answered=True)
    assert trace.text == thought + CLOSE + "The answer is 18.\n"
    assert trace.correct
    assert [step.kind for step in trace.steps][-1] == "answer"
    given = trace.tokens[40 : 40 + len(CLOSE)]
    assert all(token.surprisal > 10 for token in given)  # what the model itself would have written is on record
    assert all(token.rank > 1 for token in given)


@pytest.mark.parametrize("text", ["Hm.</think>\n\n" + "It is 18. " * 10, "no thought at all " * 5])
def test_a_budget_leaves_a_closed_thought_alone(text):
    thought = ThoughtFormat(opened="</think>" in text)
    assert wrote(text, thought=thought, think_budget=40, closing=CLOSE).text == text


# ── rollouts end as traces do ───────────────────────────────────────────────────────────────────────────────────

SPENT = dict(thought=ThoughtFormat(opened=True), think_budget=40, closing=CLOSE, stop_answered=True)
LOOPING = dict(limits=Limits(5000, end_loops=True))


@pytest.mark.parametrize(
    ("text", "how", "finish", "answer"),
    [
        (10 * "Hm.\n" + len(CLOSE) * "?" + "The answer is 18.\nMore.", SPENT, "stop", "18"),
        (10 * "Hm.\n" + len(CLOSE) * "?" + 100 * "It is 18.\n", SPENT | LOOPING, "loop", None),
        ("Hm.\n</think>\n" + 30 * "It is 18.\n", SPENT, "stop", "18"),
        ("It is 18.\n" + 200 * "So we go on.\n", LOOPING, "loop", None),
        ("The answer is 18.\n" + 200 * "Thank you.\n", LOOPING, "loop", "18"),
        (10 * "Hm.\n" + "The answer is 18.", dict(SPENT, think_budget=None, limits=Limits(50)), "length", None),
    ],
)
def test_a_continuation_ends_as_the_trace_that_it_continues(text, how, finish, answer):
    """At temperature 0 both say the same, from every prefix: within the thought, its closing, and after it."""
    engine, question, setup = scripted(text, **how)
    trace = next(drive(engine, [attempt(question, 0, setup)]))
    assert trace.finish == finish
    token_ids = tuple(token.token_id for token in trace.tokens)
    own = Written(1, "p", 0, True, token_ids, tuple(range(len(token_ids))))  # every token a step
    rolling = Rollouts(16, setup.sampler, setup.seed, setup.limits, setup.kind)
    for k in range(own.n_steps):
        job = continuations(question, own, Part(k, range(1)), rolling, VOCAB, setup.meter)
        (end,) = next(drive(engine, [job]))
        assert end.answer == trace.extraction.value == answer
        assert end.n_fed == len(token_ids) - k - 1
