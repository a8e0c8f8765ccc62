"""The cue that a run takes: the one after which the least probability leads to no answer, the same under every cut."""

import json
import logging

import pytest

from localent import tasks
from localent.errors import UsageError
from localent.runs import Listener, Settings, cue, run, session
from localent.runs.clock import limited
from localent.store import open_db
from localent.tasks.kinds import CHOICE, NUMBER
from localent.tasks.kinds.cues import LINE, PARAGRAPH, Cue, cue_named

SHORT = {"max_tokens": 24, "lanes": 2, "threads": 1}


def candidates(**means):
    return tuple(cue.Candidate(key, (mean, mean, mean)) for key, mean in means.items())


def test_the_least_invalid_mass_wins_and_a_tie_goes_to_the_first():
    assert cue.best(candidates(a=0.3, b=0.02, c=0.1)).key == "b"
    assert cue.best(candidates(a=0.025, b=0.02, c=0.1)).key == "a"


def test_a_model_that_no_cue_fits_is_said_to_be_one(caplog):
    with caplog.at_level(logging.WARNING, "localent"):
        cue.warn(cue.best(candidates(a=0.19)))
        assert not caplog.records
        cue.warn(cue.best(candidates(a=0.9, b=0.3)))
    assert "No cue fits this model well: after the best, 'b', no answer follows with probability 30 %" in caplog.text


def test_candidates_outlive_the_cache_and_a_damaged_entry_is_refused():
    found = candidates(sentence=0.25, boxed=0.5)
    assert cue.from_json(json.loads(json.dumps(cue.to_json(found)))) == found
    with pytest.raises(ValueError, match="unpack"):
        cue.from_json([["sentence", [0.1, 0.2]]])


@pytest.mark.parametrize(
    ("made", "before", "after"),
    [(Cue("a", "Answer:", PARAGRAPH), "text", "\n\nAnswer:"), (Cue("a", "Answer:", PARAGRAPH), "text\n", "\nAnswer:"),
     (Cue("a", "Answer:", PARAGRAPH), "text\n\n\n", "Answer:"), (Cue("a", "#### ", LINE), "x\n", "#### "),
     (Cue("a", "It is"), "text", " It is"), (Cue("a", "It is"), "text\n", "It is"), (Cue("a", "It is"), "", "It is")],
)  # fmt: skip
def test_a_cue_begins_with_the_break_that_is_missing(made, before, after):
    assert made.after(before) == after


def test_a_cue_goes_by_its_key_or_is_a_text_of_the_users_own():
    assert cue_named(NUMBER.cues, "boxed").text == "The final answer is \\(\\boxed{"
    assert cue_named(CHOICE.cues, "My answer:") == Cue("My answer:", "My answer:")
    with pytest.raises(UsageError, match="No cue is named 'boxes': choose auto, sentence, boxed"):
        cue_named(NUMBER.cues, "boxes")
    with pytest.raises(UsageError, match="--cue is empty"):
        cue_named(NUMBER.cues, " ")


@pytest.mark.parametrize(
    ("written", "closed"),
    [("so \\[ x = 4", "\n\\]\n"), ("so \\[ x \\] and", ""), ("$$ x $$ and $$ y", "\n$$\n"), ("```py\nx", "\n```\n")],
)
def test_open_math_and_code_are_closed_before_the_cue(written, closed):
    asked = tasks.PromptText((), (tasks.Segment("Q", False),), cue=Cue("label", "Answer:", PARAGRAPH))
    (segment,) = tasks.cue_after(asked, written)
    assert segment.text.startswith(closed)
    assert segment.text.endswith("\nAnswer:")
    assert segment.text.count("\n") == (2 if not closed else closed.count("\n") + 1)


def test_a_turn_of_its_own_ends_the_models_turn_and_begins_the_next(bundled):
    task = tasks.load("demo-number")
    named = next(one for one in task.kind.cues if one.turn)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}<assistant>"
    options = tasks.PromptOptions(template=template, cue=named)
    after = "".join(segment.text for segment in tasks.cue_after(tasks.render(task, task.problems[0], options), "Three"))
    assert after == f"</assistant><user>{named.text}</user><assistant>"
    with pytest.raises(UsageError, match="a turn of a chat, and the model has no chat template"):
        tasks.render(task, task.problems[0], tasks.PromptOptions(cue=named))


def test_the_choice_is_recorded_and_does_not_depend_on_how_much_is_asked(tmp_path):
    """One problem or four, begun or continued, in a cache of its own or not: one run."""
    task, found = tasks.load("demo-number"), set()
    for n in (1, 3):
        found.add(run("abacus-sft", task.first(n), db=tmp_path / "runs.db", settings=Settings(**SHORT)).run_id)
    assert len(found) == 1
    with open_db(tmp_path / "runs.db", readonly=True) as store:
        assert store.run(*found).settings["cue"] == "sentence"
    fixed = run("abacus-sft", task.first(1), db=tmp_path / "runs.db", settings=Settings(cue="sentence", **SHORT))
    assert {fixed.run_id} == found
    other = run("abacus-sft", task.first(1), db=tmp_path / "runs.db", settings=Settings(cue="label", **SHORT))
    assert {other.run_id} != found


def test_every_cue_of_a_kind_is_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path))
    task, said = tasks.load("demo-number"), []
    with session.loaded(session.usable("abacus-sft"), Settings(**SHORT)) as ready:
        found = session.cue_candidates(ready, task, Listener(status=said.append))
        assert [one.key for one in found] == [one.key for one in NUMBER.cues]
        assert said[-1].startswith("finding the cue that fits the model, once: ")
        assert int(said[-1].split()[-2].replace(",", "")) > 4 * 24
        assert all(0 <= mass <= 1 for one in found for mass in one.invalid)
        assert session.cue_candidates(ready, task.first(1)) == found
    means = {one.key: one.mean for one in found}
    assert means["sentence"] < 0.05 < 0.5 < means["bold"]


def test_measuring_the_cue_keeps_to_the_time(monkeypatch, tmp_path):
    """A second passes at every sentence said; nothing is written, and with more time the run begins."""
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path / "cache"))
    now, db, task = [0.0], tmp_path / "runs.db", tasks.load("demo-number").first(1)

    def heard(seconds):
        time = limited(seconds / 60, clock=lambda: now[0])
        return Listener(status=lambda text: now.__setitem__(0, now[0] + 1), time=time)

    with pytest.raises(UsageError, match=r"^0.2 min are not enough to find the cue .* give more --minutes, or name"):
        run("abacus-sft", task, db=db, settings=Settings(**SHORT), listener=heard(12))
    with open_db(db, readonly=True) as store:
        assert not store.runs()
    assert run("abacus-sft", task, db=db, settings=Settings(**SHORT), listener=heard(9999)).n_new == 1


def test_cues_are_measured_once_for_all_runs_with_the_same_prompts(monkeypatch, tmp_path):
    """Seed, probes and sampling do not matter; worked examples and threads, which change a bit, do."""
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path))
    task, measured = tasks.load("demo-number"), []

    def stub(lanes, asked, how, listener):
        measured.append(how)
        return candidates(**dict.fromkeys(asked, 0.1))

    monkeypatch.setattr(cue, "measured", stub)

    def candidates_with(**settings):
        with session.loaded(session.usable("abacus-sft"), Settings(**SHORT | settings)) as ready:
            return session.cue_candidates(ready, task)

    for same in ("seed", 1), ("probes", None), ("probes", 3), ("temperature", 0.0), ("max_fed", 40), ("ctx", 400):
        assert candidates_with(**dict([same])) == candidates_with()
    assert len(measured) == 1
    for other in ("shots", 2), ("threads", 2), ("system", "Be brief."), ("max_tokens", 30):
        candidates_with(**dict([other]))
    assert len(measured) == 5
