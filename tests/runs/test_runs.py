"""A run is the same to the last bit however it was cut, stopped, ordered or probed."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from helpers.runs import SETTINGS, content, query

from localent import tasks
from localent.errors import LocalentError, UsageError
from localent.runs import Listener
from localent.runs.run import run
from localent.runs.settings import settings_of
from localent.store import open_db

# on the CPU: a GPU's kernels may depend on the shape of the work


@pytest.fixture
def sums(tmp_path):
    """A user's own data file: 12 small sums."""
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {i} + {i * i}?", "answer": i + i * i} for i in range(12)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def model(random_model):
    return str(random_model("tiny-qwen2"))


def make(model, data, db, n=None, samples=1, **changed):
    task = tasks.load("sums", data).first(n)
    return run(model, task, db=db, samples=samples, settings=replace(SETTINGS, **changed))


def test_a_run_in_pieces_equals_a_run_at_once(model, sums, tmp_path):
    once, pieces = tmp_path / "once.db", tmp_path / "pieces.db"
    make(model, sums, once, samples=2)
    for n, samples in ((3, 1), (5, 2), (12, 1), (12, 2)):
        make(model, sums, pieces, n, samples)
    assert len(content(once)["traces"]) == 24
    assert content(once) == content(pieces)


def test_a_finished_run_does_nothing(model, sums, tmp_path):
    db = tmp_path / "runs.db"
    first = make(model, sums, db, 4)
    before = content(db)
    again = make(model, sums, db, 4)
    assert (first.n_before, first.n_new, again.n_before, again.n_new) == (0, 4, 4, 0)
    assert again.run_id == first.run_id
    assert content(db) == before


def test_of_two_at_work_on_one_run_each_counts_what_it_wrote(model, sums, tmp_path):
    """Here the second one begins while the first has written one trace, and comes to its end before it."""
    db, outcomes = tmp_path / "runs.db", []

    def report(progress):
        if progress.trace and not outcomes:
            outcomes.append(make(model, sums, db, 4))

    outcomes.append(run(model, tasks.load("sums", sums).first(4), db=db, settings=SETTINGS, listener=Listener(report)))
    assert [(x.n_before, x.n_new) for x in outcomes] == [(1, 3), (3, 1)]
    assert len(content(db)["traces"]) == 4


def test_the_order_of_problems_changes_nothing(model, sums, tmp_path):
    shuffled = tmp_path / "shuffled.jsonl"
    lines = sums.read_text().splitlines()
    random.Random(1).shuffle(lines)
    shuffled.write_text("\n".join(lines))
    make(model, sums, tmp_path / "a.db")
    make(model, shuffled, tmp_path / "b.db")
    tables = ("runs", "traces", "tokens", "steps", "probes", "answers")
    assert content(tmp_path / "a.db", tables) == content(tmp_path / "b.db", tables)


def test_probes_leave_every_token_as_it_was(model, sums, tmp_path):
    make(model, sums, tmp_path / "a.db")
    make(model, sums, tmp_path / "b.db", probe=False)
    what = "select trace_id, token_index, token_id, entropy, surprisal from tokens"
    probed, plain = (sorted(row[1:] for row in query(tmp_path / name, what)) for name in ("a.db", "b.db"))
    assert len(probed) > 100
    assert probed == plain


OTHERS = [{"seed": 1}, {"temperature": 0.5}, {"lanes": 8}, {"max_tokens": 41}, {"top_p": 0.9}, {"max_fed": 7}]
OTHERS += [{"system": "Be brief."}, {"chat_template": "{% for m in messages %}{{ m.content }}\n{% endfor %}"}]


@pytest.mark.parametrize("change", OTHERS)
def test_other_settings_are_another_run(model, sums, tmp_path, change):
    db = tmp_path / "runs.db"
    assert make(model, sums, db, 2).run_id != make(model, sums, db, 2, **change).run_id


def test_the_settings_of_a_stored_run_make_the_same_run(model, sums, tmp_path):
    db = tmp_path / "runs.db"
    made = make(model, sums, db, 2, system="Be brief.", top_p=0.9, probe=False)
    with open_db(db) as store:
        read = settings_of(store.run(made.run_id))
    assert (read.system, read.top_p, read.probe, read.lanes) == ("Be brief.", 0.9, False, 4)
    assert run(model, tasks.load("sums", sums).first(2), db=db, settings=read).run_id == made.run_id


def test_fewer_probes_are_some_of_all_of_them_and_another_run(bundled, tmp_path):
    """The traces and each probe are the same to the last bit, however many prefixes are probed."""
    found, task = {}, tasks.load("demo-number").first(4)
    for probes in (3, None):
        chosen = replace(SETTINGS, probes=probes, max_tokens=100)
        made = run(str(bundled), task, db=tmp_path / f"{probes}.db", settings=chosen)
        with open_db(tmp_path / f"{probes}.db", readonly=True) as store:
            stored = store.run(made.run_id)
            ids = sorted(store.traces(made.run_id, ("trace_id",))["trace_id"])
            found[probes] = [store.trace(i) for i in ids]
        assert settings_of(stored).probes == probes
        assert ("probes" in stored.settings) == (probes is not None)  # so that runs of before there was a choice go on
    few, every = ({t.problem_id: t for t in found[probes]} for probes in (3, None))
    for problem, trace in every.items():
        assert few[problem].tokens == trace.tokens
        n_steps = trace.probes[-1].k
        assert few[problem].probes == tuple(trace.probes[k] for k in sorted({0, n_steps // 2, n_steps}))
    assert max(len(trace.probes) for trace in every.values()) > 3


def test_automatic_lanes_are_kept_when_a_run_goes_on(model, sums, tmp_path):
    db = tmp_path / "runs.db"
    first = make(model, sums, db, 2, lanes=None)
    again = make(model, sums, db, 12, lanes=None)
    assert (again.run_id, again.lanes, again.n_before, again.n_new) == (first.run_id, first.lanes, 2, 10)


def test_samples_of_one_problem_differ_and_repeat(model, sums, tmp_path):
    make(model, sums, tmp_path / "a.db", 2, samples=3)
    make(model, sums, tmp_path / "b.db", 2, samples=3)
    assert len(query(tmp_path / "a.db", "select distinct text from traces")) > 2
    assert content(tmp_path / "a.db") == content(tmp_path / "b.db")


def test_kill_9_at_random_moments_loses_no_finished_trace(model, sums, tmp_path):
    """Killed again and again, then finished: the rows are those of an uninterrupted run."""
    db, seen, draw = tmp_path / "killed.db", 0, random.Random(7)
    argv = [sys.executable, "-m", "localent", "run", model, "sums", "--data", str(sums), "--db", str(db)]
    argv += ["--samples", "6"]
    argv += ["--lanes", "4", "--threads", "1", "--max-tokens", "40", "--temperature", "1.0", "--max-fed", "6", "--json"]
    for _ in range(4):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        wait_for_traces(db, seen, process)
        time.sleep(draw.random() * 0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen = n_traces(db)
    subprocess.run(argv, check=True, capture_output=True)
    make(model, sums, tmp_path / "whole.db", samples=6)
    assert content(db) == content(tmp_path / "whole.db")
    assert len(content(db)["traces"]) == 72


def n_traces(db):
    return query(db, "select count(*) from traces")[0][0]


def wait_for_traces(db, seen, process, seconds=60):
    """Until the process has written a new trace, or has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if n_traces(db) > seen:
                return
        except sqlite3.OperationalError:
            pass  # not there yet
        time.sleep(0.02)


def test_the_tree_search_agrees_with_sampling(bundled, tmp_path):
    """2,000 sampled answers after the cue against the computed distribution: within sampling error."""
    import numpy as np

    from localent.engine import Options, Prompt, drive
    from localent.engine import open as open_model
    from localent.measure.meter import Meter
    from localent.measure.sampling import Sampler, rng
    from localent.tasks.kinds.number_grammar import NumberGrammar
    from localent.tracing.probe import Asked, Effort, probe

    task, n = tasks.load("demo-number"), 2000
    with open_model(bundled) as weights:
        vocab, problem = weights.vocab, task.problems[15]  # small numbers: little is left unexplored
        grammar = NumberGrammar(vocab.pieces)
        first = problem.solution.splitlines(keepends=True)[0]
        text = f"<|im_start|>user\n{problem.question}<|im_end|>\n<|im_start|>assistant\n{first}The answer is"
        prompt = Prompt(vocab.tokenize(text, special=True))
        sampler, meter = Sampler(1.0), Meter(vocab.n_tokens)

        def computed():
            yield prompt
            n_prefix, cue = len(prompt.tokens) - 1, prompt.tokens[-1:]
            asked = Asked(cue, grammar, "0", rng(0, "p", 0))
            return (yield from probe(n_prefix, asked, Effort(1e-3, 300), meter))

        def sampled(i):
            row, draws, written = (yield prompt), rng(0, "p", i), b""
            while True:
                token = sampler.sample(meter, row, meter.read(row), draws.random())
                if token in vocab.eog or b"\n" in vocab.pieces[token] or len(written) > 24:
                    return grammar.value(written.decode())
                written += vocab.pieces[token]
                row = yield token

        engine = weights.lanes(Options(n_lanes=16, n_ctx=512, n_threads=1))
        exact = next(drive(engine, [computed()]))
        values = list(drive(engine, (sampled(i) for i in range(n))))
        engine.close()
    assert exact.residual < 0.2
    for value, p in list(exact.probs.items())[:12]:
        seen, p = values.count(value) / n, p * (1 - exact.invalid)
        assert abs(seen - p) < 4.5 * np.sqrt(p * (1 - p) / n) + exact.residual + 1 / n, (value, p, seen)
    leftover = sum(v not in exact.probs for v in values) / n
    assert leftover < exact.residual + exact.invalid + 0.02


def test_a_recurrent_model_runs_with_probes_and_without(random_model, sums, tmp_path):
    """Each probe takes up a saved state: the trace is the same, and a run in pieces equals one at once."""
    model = str(random_model("tiny-mamba"))
    for name, probe in (("probed.db", True), ("plain.db", False)):
        make(model, sums, tmp_path / name, probe=probe)
    make(model, sums, tmp_path / "pieces.db", 5)
    make(model, sums, tmp_path / "pieces.db")
    assert len(content(tmp_path / "probed.db")["probes"]) >= 12
    assert content(tmp_path / "probed.db") == content(tmp_path / "pieces.db")
    what = "select trace_id, token_index, token_id, entropy, surprisal from tokens"
    probed, plain = (sorted(row[1:] for row in query(tmp_path / name, what)) for name in ("probed.db", "plain.db"))
    assert probed == plain


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(n=0), UsageError, "-n must be at least 1"),
        (dict(samples=0), UsageError, "--samples must be at least 1"),
        (dict(probes=2), UsageError, r"--probes must be at least 3 \(start, half and end\), got 2: use --no-probe"),
        (dict(probes=0), UsageError, "--probes must be at least 3"),
        (dict(max_tokens=5000), UsageError, "needs .* tokens of context .* lower --max-tokens"),
        (dict(ctx=50), UsageError, "only 50 are available: leave that problem out, lower --shots, or raise --ctx"),
        (dict(shots=1000), UsageError, "--shots 1000"),
        (dict(temperature=-1.0), UsageError, "temperature"),
        (dict(top_p=0.0), UsageError, "top-p"),
        (dict(lanes=5000), UsageError, "--lanes must be between"),
        (dict(lanes=250, ctx=2_000_000), LocalentError, "GB are free"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_before_anything_runs(model, sums, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        make(model, sums, tmp_path / "x.db", **arguments)
    if (tmp_path / "x.db").exists():
        assert content(tmp_path / "x.db", ("traces",)) == {"traces": []}


def test_two_files_under_one_task_name_are_two_runs(model, sums, tmp_path):
    """Their traces stay apart, whichever of their problems are asked; the first of them goes on as before."""
    db, other = tmp_path / "runs.db", tmp_path / "other.jsonl"
    other.write_text(sums.read_text().replace('"What is 0 + 0?"', '"What is nothing?"'))
    first, second = make(model, sums, db, 3), make(model, other, db, 3)
    assert first.run_id != second.run_id
    assert (second.n_before, second.n_new) == (0, 3)
    again = make(model, sums, db, 4)
    assert (again.run_id, again.n_before, again.n_new) == (first.run_id, 3, 1)
    assert make(model, other, db, 1, temperature=0.5).run_id != make(model, sums, db, 1, temperature=0.5).run_id


def test_a_bundled_task_keeps_the_identity_it_had(bundled, tmp_path):
    """Its problems come with localent, whose version is in the build."""
    task = tasks.load("demo-number").first(1)
    made = run(str(bundled), task, db=tmp_path / "runs.db", settings=replace(SETTINGS, probe=False))
    with open_db(tmp_path / "runs.db") as store:
        assert "data" not in store.run(made.run_id).settings
