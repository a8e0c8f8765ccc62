"""The room of a trace: how long it may become by default, and budgets of thinking that cannot work."""

from types import SimpleNamespace

import pytest

from localent.engine import Prompt
from localent.errors import UsageError
from localent.records import Problem
from localent.runs import Settings
from localent.runs.room import to_generate
from localent.tasks import ThoughtFormat
from localent.tracing.attempt import Question

THINKS = ThoughtFormat(expected=True)


def made(thought=THINKS, n_ctx_train=32768, **settings):
    """The settings as they are completed for one question of ten tokens."""
    question = Question(Problem("p", "1", "q", "2"), Prompt([0] * 10), lambda text: [1], None, thought=thought)
    weights = SimpleNamespace(n_ctx_train=n_ctx_train)
    return to_generate(Settings(probe=False, **settings), weights, [question])


@pytest.mark.parametrize(
    ("settings", "max_tokens"),
    [
        ({}, 4096),
        ({"thought": ThoughtFormat()}, 512),
        ({"n_ctx_train": 2048}, 1024),
        ({"think_budget": 100}, 612),
        ({"max_tokens": 700}, 700),
    ],
)
def test_a_trace_is_as_long_as_fits_the_model(settings, max_tokens):
    assert made(**settings).max_tokens == max_tokens


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"thought": ThoughtFormat()}, "opens no thought .*--think-budget has no effect: leave it out"),
        ({"max_tokens": 100}, "--think-budget 100 leaves no room for an answer in a trace of 100 tokens"),
        ({"n_ctx_train": 150}, "leaves no room for an answer in a trace of 75 tokens"),
    ],
)
def test_a_budget_that_cannot_work_is_refused(settings, why):
    with pytest.raises(UsageError, match=why):
        made(think_budget=100, **settings)
