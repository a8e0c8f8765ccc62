"""A question asked as a stored run asked, and how likely its answer is right."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from localent import runs, tasks
from localent.analysis import load
from localent.analysis.calibration import fit
from localent.analysis.intervals import Resampling
from localent.analysis.trace_signals import read
from localent.cli import main
from localent.engine import drive
from localent.errors import UsageError
from localent.runs import Settings, session
from localent.runs.ask import Like, problem_of, task_of
from localent.store import open_db
from localent.tracing.attempt import attempt
from localent.tracing.watch import Watcher, watched

SETTINGS = Settings(threads=1, lanes=4, max_tokens=40, max_fed=4, gpu_layers=0, temperature=0.8)
QUESTION = "Max had 5 red tickets and bought 7 more. How many tickets did he have then?"
OPTIONS = ("--option", "5", "--option", "7")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """(path, run id) of six traces with a calibration that was made from other labels: too few of their own."""
    path = tmp_path_factory.mktemp("asked") / "runs.db"
    run_id = runs.run("abacus-sft", tasks.load("demo-number").first(6), db=path, settings=SETTINGS).run_id
    with open_db(path) as db:
        run = load.run(db, run_id)
        score = next(s for s in read(run) if s.signal.key == "mean_entropy")
        right = score.values < sorted(score.values)[3]
        found = fit([score], right, run.traces.problems, method="platt", resampling=Resampling(50))
        db.add_calibration(**dataclasses.replace(found, run_id=run_id).row())
    return path, run_id


def asked(path, run_id, *more, model="abacus-sft", question=QUESTION):
    words = ["ask", model, question, "--calibrated", run_id, "--db", str(path), *more]
    return CliRunner().invoke(main, words)


def test_the_probability_is_told_by_the_runs_map(calibrated):
    path, run_id = calibrated
    said, found = asked(path, run_id), json.loads(asked(path, run_id, "--json").stdout)
    assert said.exit_code == 0, said.output
    belief = found["calibrated"]
    with open_db(path) as db:
        p, low, high = load.calibration(db, run_id).at(belief["value"])
    tokens = [token["entropy"] for token in found["trace"]["tokens"]]
    assert belief["value"] == pytest.approx(sum(tokens) / len(tokens))
    assert (belief["p"], belief["low"], belief["high"]) == (p, low, high)
    assert f"Right with probability {p:.2f} [{low:.2f}, {high:.2f}]" in said.output
    assert "demo-number" in said.output


def test_other_models_kinds_prompts_and_settings_are_refused(calibrated, tmp_path):
    path, run_id = calibrated
    for words, reason in (
        ({"model": "abacus-base"}, "is not of abacus-base"),
        ({"more": OPTIONS}, "has answers of the kind number, this question one of the kind choice"),
        ({"more": ("--seed", "3", "--cue", "answer")}, "--calibrated does not use --seed, --cue"),
    ):
        said = asked(path, run_id, *words.pop("more", ()), **words)
        assert said.exit_code == 2, said.output
        assert reason in said.output
    said = CliRunner().invoke(main, ["ask", "abacus-sft", QUESTION, "--db", str(path)])
    assert "A question without --calibrated and --stop-from does not use --db" in said.output


def test_a_run_with_another_prompt_is_refused(calibrated):
    """As a run with worked examples of its own file has."""
    path, run_id = calibrated
    with open_db(path) as db:
        like = Like.of(db, run_id)
    changed = dataclasses.replace(like.run, settings={**like.run.settings, "prompt": "0" * 16})
    file = session.usable("abacus-sft")
    with session.opened(file, task_of(problem_of(QUESTION), bundled=True), like.settings) as ready:
        like.refuse_prompt(ready)
        with pytest.raises(UsageError, match="used another prompt"):
            dataclasses.replace(like, run=changed).refuse_prompt(ready)


def test_a_trace_asked_for_as_in_a_run_is_the_runs_to_the_last_bit(calibrated):
    """Tokens, steps and probes: what was calibrated is what is read."""
    path, run_id = calibrated
    with open_db(path) as db:
        like = Like.of(db, run_id)
    told = []
    watcher = Watcher(lambda piece, _: told.append(piece), told.append)
    problem = problem_of(QUESTION)
    file, task = session.usable("abacus-sft"), task_of(problem, bundled=True)
    with session.opened(file, task, like.settings) as ready, ready.engine() as lanes:
        (question,) = ready.questions
        (there,) = drive(lanes, [attempt(question, 0, ready.setup(lanes).asking(question))])
        (here,) = drive(lanes, [watched(question, ready.setup(lanes).asking(question), watcher, as_run=True)])
    assert here == there
    assert tuple(one for one in told if not isinstance(one, bytes)) == here.probes
    assert len(here.probes) > 1
