"""The scheduler: one row per lane in every decode, coroutines advance together, results do not depend on it."""

import numpy as np
import pytest

from localent.engine import Feed, Prompt, Rewind, drive
from localent.engine.scripted import ScriptedEngine, ScriptedVocab
from localent.errors import LocalentError

VOCAB = ScriptedVocab([b"a", b"b", b"c", b"d"])


def counting_engine(n_lanes=3):
    """Logit i of a row is 100 * (sum of the lane's tokens) + 10 * (their number) + i."""
    return ScriptedEngine(VOCAB, lambda t: [100 * sum(t) + 10 * len(t) + i for i in range(4)], n_lanes=n_lanes)


def walk(prompt, steps):
    """Feed token 1 `steps` times; return the first logit of every row seen."""
    row = yield Prompt(prompt)
    seen = [float(row[0])]
    for _ in range(steps):
        row = yield 1
        seen.append(float(row[0]))
    return seen


def expected(prompt, steps):
    return [100 * (sum(prompt) + i) + 10 * (len(prompt) + i) for i in range(steps + 1)]


def test_every_coroutine_sees_the_rows_of_its_own_lane():
    jobs = [([2], 5), ([3, 3], 2), ([1], 0), ([0, 0, 0], 7), ([2, 1], 3)]
    results = list(drive(counting_engine(), (walk(*job) for job in jobs)))
    assert sorted(results) == sorted(expected(*job) for job in jobs)


@pytest.mark.parametrize("n_lanes", [1, 2, 5, 9])
def test_results_do_not_depend_on_the_number_of_lanes(n_lanes):
    jobs = [([i % 4], i) for i in range(7)]
    results = list(drive(counting_engine(n_lanes), (walk(*job) for job in jobs)))
    assert sorted(results) == sorted(expected(*job) for job in jobs)


def test_every_decode_names_every_lane():
    engine = counting_engine(3)
    list(drive(engine, (walk([1], n) for n in (1, 4))))
    decodes = [call[1] for call in engine.calls if call[0] == "decode"]
    assert {len(tokens) for tokens in decodes} == {3}
    assert decodes == [(1, 1, None), (None, 1, None), (None, 1, None), (None, 1, None)]


def test_rows_are_handed_out_before_a_prefill_overwrites_them():
    """Lane 0 ends and is refilled while lane 1 still waits for its row of the same decode."""
    results = list(drive(counting_engine(2), (walk([i], 1 + i) for i in range(4))))
    assert not np.isnan(np.concatenate(results)).any()


def test_rewind_comes_back_to_the_same_row():
    def there_and_back():
        yield Prompt([1, 2])
        first = float((yield 3)[0])
        yield 3
        yield Rewind(2)
        return first, float((yield 3)[0])

    assert list(drive(counting_engine(), [there_and_back()])) == [(630.0, 630.0)]


def fed(prompt, tokens):
    """The first logit after a prompt, after a feed and after one token more."""
    first = float((yield Prompt(prompt))[0])
    second = float((yield Feed(tokens))[0])
    return first, second, float((yield 1)[0])


def test_a_feed_gives_the_row_after_its_last_token():
    jobs = [([2], [3, 3, 1]), ([1, 1], [2]), ([3], [0, 2])]
    results = list(drive(counting_engine(2), (fed(*job) for job in jobs)))
    wanted = [(expected(p, 0)[0], expected(p + t, 0)[0], expected([*p, *t, 1], 0)[0]) for p, t in jobs]
    assert sorted(results) == sorted(wanted)


def test_a_feed_is_one_call_and_a_feed_of_one_token_joins_the_decode():
    engine = counting_engine(2)
    list(drive(engine, [fed([1], [2, 3]), fed([2], [3])]))
    kinds = [call[0] for call in engine.calls]
    assert kinds == ["prefill", "extend", "prefill", "decode", "decode"]
    assert engine.calls[1] == ("extend", 0, (2, 3))
    assert engine.calls[3] == ("decode", (1, 3))


def test_a_feed_of_nothing_is_refused():
    with pytest.raises(LocalentError, match="at least one token to feed"):
        list(drive(counting_engine(), [fed([1], [])]))


def test_coroutines_are_drawn_only_when_a_lane_is_free():
    drawn = []

    def jobs():
        for i in range(100):
            drawn.append(i)
            yield walk([1], 3)

    results = drive(counting_engine(2), jobs())
    next(results)
    assert len(drawn) <= 4


def test_an_error_in_one_coroutine_reaches_the_caller_and_closes_the_others():
    closed = []

    def patient():
        try:
            yield Prompt([1])
            while True:
                yield 1
        finally:
            closed.append(True)

    def failing():
        yield Prompt([1])
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        list(drive(counting_engine(2), [patient(), failing()]))
    assert closed == [True]


def test_a_coroutine_that_yields_something_else_is_told_so():
    def confused():
        yield np.int64(3)

    with pytest.raises(TypeError, match="expected a token id"):
        list(drive(counting_engine(), [confused()]))
