"""Hesitation words: found in a text that is cut into tokens anywhere, counted per 100 tokens of each trace."""

from dataclasses import replace

import pytest
from helpers import synthetic

from localent.analysis import load
from localent.analysis.trace_signals import read
from localent.store import open_db
from localent.tasks import hesitation
from localent.tasks.hesitation import WORDS


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        ([b"So", b" 12", b". W", b"ai", b"t, ", b"but", b" no"], [range(2, 5), range(5, 6)]),
        ([b"Wait"], [range(1)]),
        ([b"buttered", b" toast", b" await"], []),
        ([b"Let me ", b"re", b"check"], [range(3)]),
        ([b"\xe2\x82", b"\xac, hmm", b"mm."], [range(1, 3)]),
        ([], []),
    ],
)
def test_each_word_is_found_in_its_tokens(pieces, wanted):
    assert list(hesitation.places(pieces)) == wanted


def test_every_word_that_is_listed_is_found():
    for word in WORDS:
        assert list(hesitation.places([f"{word}.".encode()])) == [range(1)], word


def test_a_trace_counts_its_own_words(tmp_path):
    """Each trace has one word at its start, cut in two, and one at its end, which its first half lacks."""

    def hesitating(one):
        tokens = list(one.tokens)
        for at, piece in ((0, b"Wa"), (1, b"it"), (2, b" x"), (len(tokens) - 1, b" but")):
            tokens[at] = replace(tokens[at], text=piece)
        return replace(one, tokens=tuple(tokens))

    path = tmp_path / "made.db"
    run_id = synthetic.write(path, synthetic.Law(), n_problems=12, keep=hesitating)
    with open_db(path, readonly=True) as db:
        run = load.run(db, run_id)
    whole, half = ({s.signal.key: s.values for s in read(run, at)}["hesitation"] for at in (1.0, 0.5))
    assert whole == pytest.approx(200 / run.traces.n_tokens)
    assert half == pytest.approx(100 / (run.traces.n_tokens // 2), rel=0.15)
