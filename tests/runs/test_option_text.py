"""Runs by the text of an option: equal to likelihoods of whole texts, the same in pieces, beside a run by letter."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.runs import SETTINGS, content, query

from localent import engine, tasks
from localent.runs.run import run
from localent.runs.session import opened, usable
from localent.runs.settings import settings_of
from localent.store import open_db

NAMES = ("Anna", "Hugo", "Leo and Ravi", "nobody at all, as far as anyone can tell from this")
ROWS = [{"question": f"Who has {n} pears?", "choices": NAMES[: 2 + n % 3], "answer": NAMES[n % 2]} for n in range(8)]
BY_TEXT = replace(SETTINGS, answer_by="text", max_tokens=12)


@pytest.fixture
def pears(tmp_path):
    path = tmp_path / "pears.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return tasks.load("pears", path)


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


def likelihood(weights, context, text):
    """ln p of text after context, each tokenized whole, all rows of one chunk: no lanes, probes or rewinding."""
    whole, n = weights.vocab.tokenize(context + text), len(weights.vocab.tokenize(context))
    whole = [weights.vocab.bos] * (weights.vocab.bos is not None) + whole
    with weights.scorer(engine.Options(n_lanes=1, n_ctx=512, n_threads=1)) as scorer:
        rows = np.array(scorer.feed(whole, len(whole))).astype(np.float64)
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    first = len(whole) - len(weights.vocab.tokenize(context + text)) + n
    return sum(rows[i - 1, whole[i]] for i in range(first, len(whole)))


@pytest.mark.parametrize("score", ["character", "sum"])
def test_the_distribution_is_that_of_whole_texts(model, pears, tmp_path, score):
    made = run(model, pears, db=tmp_path / "a.db", settings=replace(BY_TEXT, option_score=score))
    with open_db(tmp_path / "a.db", readonly=True) as store, engine.open(usable(model).path, gpu_layers=0) as weights:
        traces = {t["problem_id"]: store.trace(t["trace_id"]) for t in store.query("select * from traces")}
        for problem in pears.problems:
            context = f"Question: {problem.question}\nAnswer:"
            lls = np.array([likelihood(weights, context, f" {c.text}") for c in problem.choices])
            scores = lls / ([len(c.text) for c in problem.choices] if score == "character" else 1)
            wanted = np.exp(scores - np.logaddexp.reduce(scores))
            (probe,) = traces[problem.problem_id].probes
            assert [probe.probs[c.label] for c in problem.choices] == pytest.approx(wanted, abs=2e-3)
        kept = settings_of(store.run(made.run_id))
    assert (kept.answer_by, kept.option_score) == ("text", score)


def test_a_run_in_pieces_equals_a_run_at_once(model, pears, tmp_path):
    once, pieces = tmp_path / "once.db", tmp_path / "pieces.db"
    run(model, pears, db=once, settings=replace(BY_TEXT, shots=2), samples=2)
    for n, samples in ((3, 1), (5, 2), (8, 2)):
        run(model, pears.first(n), db=pieces, samples=samples, settings=replace(BY_TEXT, shots=2))
    assert len(content(once)["traces"]) == 16
    assert content(once) == content(pieces)


def test_one_database_holds_runs_by_letter_and_by_text(model, pears, tmp_path):
    db = tmp_path / "both.db"
    ids = {run(model, pears, db=db, settings=replace(BY_TEXT, answer_by=how)).run_id for how in ("letter", "text")}
    ids |= {run(model, pears, db=db, settings=replace(BY_TEXT, option_score="sum")).run_id}
    assert len(ids) == 3
    assert query(db, "select kind from tasks") == [("choice",)]
    assert set(query(db, "select distinct estimator from probes")) == {("choice",), ("option text",)}
    assert query(db, "select count(*) from trace_summary where p_true_last is not null") == [(24,)]
    assert query(db, "select count(*) from probes where entropy is null and invalid < 0.999") == [(0,)]
    assert query(db, "select distinct answer is leader from trace_summary join probes using (trace_id)"
                     " where estimator = 'option text'") == [(1,)]  # fmt: skip


def test_the_identity_of_a_run_by_letter_does_not_name_how_it_was_answered(model, pears, tmp_path):
    made = run(model, pears.first(1), db=tmp_path / "a.db", settings=replace(BY_TEXT, answer_by="letter"))
    with open_db(tmp_path / "a.db", readonly=True) as store:
        kept = store.run(made.run_id)
    assert not {"answer_by", "option_score"} & kept.settings.keys()
    assert settings_of(kept).answer_by == "letter"


def test_long_options_find_room(model, pears):
    choices = tuple(replace(c, text=c.text + " and so on" * 40) for c in pears.problems[0].choices)
    long = replace(pears.problems[0], choices=choices)
    task = replace(pears, problems=(long,))
    with opened(usable(model), task, BY_TEXT) as asked:
        longest = asked.questions[0].grammar.longest
        assert longest > 80
        assert asked.settings.ctx >= len(asked.questions[0].prompt.tokens) + 12 + longest
