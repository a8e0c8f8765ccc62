"""Votes among the samples of one question: counted by hand, and the same as replay's."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from helpers import synthetic

from localent.analysis import load
from localent.analysis.electing import VOTERS, Vote, chosen, elect, parse
from localent.analysis.intervals import Resampling
from localent.analysis.replay import half, replay
from localent.analysis.votes import voting
from localent.errors import UsageError
from localent.report import electing as report
from localent.store import open_db

LAW = synthetic.Law(gain=4, against=8, token_gap=0.4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("voting") / "made.db"
    run_id = synthetic.write(path, LAW, n_problems=40, n_samples=9)
    with open_db(path) as db:
        return load.run(db, run_id)


def of_problem(run, i):
    return run.among(run.traces.problems == np.unique(run.traces.problems)[i])


def with_answers(run, answers):
    return replace(run, traces=replace(run.traces, answers=np.array(answers, object)))


def test_the_majority_is_a_count_with_wilsons_interval(run):
    one = with_answers(of_problem(run, 0), ["A"] * 5 + ["B"] * 2 + [None] * 2)
    found = elect(one, parse("majority_vote"))
    low, high = scipy.stats.binomtest(5, 7).proportion_ci(method="wilson")
    assert [(c.answer, c.n) for c in found.answers] == [("A", 5), ("B", 2)]
    assert found.winner == "A"
    assert (found.share.value, found.share.low, found.share.high) == pytest.approx((5 / 7, low, high))
    assert [b.weight for b in found.ballots] == pytest.approx([1 / 7] * 7 + [0, 0])


def test_how_often_it_would_win_is_that_of_other_samples(run):
    """Against a simulation of its own: nine draws of A, B and no answer, ties at even odds."""
    one = with_answers(of_problem(run, 0), ["A"] * 4 + ["B"] * 3 + [None] * 2)
    rng, wins = np.random.default_rng(1), []
    for _ in range(4000):
        counts = Counter(rng.choice(["A", "B", "-"], size=9, p=[4 / 9, 3 / 9, 2 / 9]).tolist())
        wins.append(0.5 if counts["A"] == counts["B"] else float(counts["A"] > counts["B"]))
    assert elect(one, parse("majority")).wins == pytest.approx(np.mean(wins), abs=0.03)


def test_a_tie_and_silence_elect_nobody(run):
    one = of_problem(run, 0)
    tie = elect(with_answers(one, ["A"] * 3 + ["B"] * 3 + ["C"] * 3), parse("majority"))
    assert (tie.winner, tie.wins, tie.share.value) == (None, None, None)
    assert "A tie between A and B and C" in report.outcome(tie)
    silent = elect(with_answers(one, [None] * 9), parse("majority"))
    assert silent.winner is None
    assert report.outcome(silent) == "None of 9 samples gave an answer."


@pytest.mark.parametrize(
    "key",
    [
        "majority_vote",
        *(
            f"{way}:{s}"
            for way in ("best_of_n", "weighted_vote")
            for s in ("mean_entropy", "length", "answer_entropy_end")
        ),
    ],
)
def test_every_vote_elects_as_replay_does(run, key):
    """With the setting and the scale of the run: question by question the same winner, ties aside."""
    vote, _ = chosen(run, parse(key), Resampling(20))
    values = {
        "mean_entropy": run.traces.mean_entropy,
        "length": run.traces.n_tokens.astype(float),
        "answer_entropy_end": run.probes.own.at_end(run.probes.own.entropy),
        "": None,
    }[vote.signal]
    if key.startswith("weighted"):
        weights = np.exp(-vote.setting * (values - values.mean()) / values.std())
    elif key.startswith("best"):
        weights = np.array(
            [v == values[run.traces.problems == p].min() for v, p in zip(values, run.traces.problems, strict=True)],
            float,
        )
    else:
        weights = np.ones(len(run.traces))
    right = voting(run.traces, weights)(np.ones(len(run.traces), bool)).right
    truths = {p: synthetic.LABELS[int(p, 16) % 4] for p in np.unique(run.traces.problems).tolist()}
    for i, (problem, truth) in enumerate(truths.items()):
        winner = elect(of_problem(run, i), vote).winner
        assert right[i] == (winner == truth) or (winner is None and 0 <= right[i] < 1), problem


def test_a_record_is_of_the_half_that_the_setting_was_not_chosen_on(run):
    vote, record = chosen(run, parse("weighted_vote:mean_entropy"), Resampling(20))
    (row,) = replay(run, policy="weighted_vote:mean_entropy", resampling=Resampling(20)).outcomes
    assert (record.accuracy, record.against_majority) == (row.accuracy, row.against_majority)
    assert record.n_problems == len(np.unique(run.traces.problems[~half(run.traces.problems)])) == 20
    assert row.setting == f"sharpness {vote.setting:.4g}"


def test_a_vote_that_one_sample_decides_is_one_vote(run):
    found = elect(of_problem(run, 3), parse("best_of_n:mean_entropy"))
    low, high = scipy.stats.binomtest(1, 1).proportion_ci(method="wilson")
    assert (found.share.low, found.share.high) == pytest.approx((low, high))


def test_deepconf_needs_a_threshold_of_a_run(run):
    with pytest.raises(UsageError, match="needs a threshold: add --vote-from RUN"):
        elect(of_problem(run, 0), parse("deepconf"))
    strict = elect(of_problem(run, 0), Vote("deepconf", setting=0.0))
    assert strict.answers == elect(of_problem(run, 0), parse("majority")).answers  # all would be ended: all vote


def test_unknown_votes_and_signals_are_refused(run):
    for text in ("x", "best_of_n", "majority_vote:length", "weighted_vote:"):
        with pytest.raises(UsageError, match="No vote"):
            parse(text)
    with pytest.raises(UsageError, match="These samples have no signal 'nonsense'"):
        elect(of_problem(run, 0), parse("weighted_vote:nonsense"))
    assert VOTERS


def test_what_is_printed(run):
    one = with_answers(of_problem(run, 0), ["A"] * 5 + ["B"] * 2 + [None] * 2)
    found = elect(one, parse("weighted_vote:mean_entropy"))
    assert report.votes_table(found, "A")[1][-1] == ["(no answer)", 2, "-"]
    assert {row[0] for row in report.votes_table(found, "A")[1]} == {"A*", "B", "(no answer)"}
    assert len(report.ballots_table(found)[1]) == 9
    assert report.everything(found, None)["winner"] == found.winner
    assert sum(b.weight for b in found.ballots) == pytest.approx(1)
