"""Architectures are llama.cpp's business: nothing here is hard-coded, so each of them is tried on random weights."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from localent import tasks
from localent.engine import Feed, Options, Prompt, Rewind, drive, supports_gpu
from localent.engine import open as open_model
from localent.runs import Settings, run

SHAPES = ["tiny-llama", "tiny-qwen2", "tiny-gemma2", "tiny-gemma2-4096", "tiny-olmo2", "tiny-mamba", "tiny-lfm2"]
RECURRENT = ["tiny-mamba", "tiny-lfm2"]


def drove(path, jobs, **options):
    chosen = dict(n_lanes=4, n_ctx=512, n_threads=1, chunk=64) | options
    with open_model(path) as model, model.lanes(Options(**chosen)) as engine:
        return list(drive(engine, jobs))


def follow(prompt, n, *, probe_every=0):
    """Greedy: (tokens, logits) after each; with probes, the lane is led astray twice and taken back each time."""
    row = yield Prompt(prompt)
    tokens, rows = [], []
    for i in range(n):
        tokens.append(int(row.argmax()))
        rows.append(row.tobytes())
        if probe_every and i % probe_every == 0:
            here = len(prompt) + i
            yield Rewind(here)
            for request in (Feed([5, 6, 7]), 8, Rewind(here), 9, 10, Rewind(here)):
                row = yield request
        row = yield tokens[-1]
    return tuple(prompt), tuple(tokens), tuple(rows)


def prompts(n):
    return [[(7 * i + j * j) % 250 for j in range(9 + i)] for i in range(n)]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_probe_leaves_the_trace_untouched(random_model, shape):
    """To the last bit of every row, in all lanes; 80 tokens cross the smaller window."""
    path, ps = random_model(shape), prompts(5)
    plain = drove(path, [follow(p, 80) for p in ps])
    probed = drove(path, [follow(p, 80, probe_every=9) for p in ps])
    assert sorted(plain) == sorted(probed)
    assert len({tokens for _, tokens, _ in plain}) > 1


@pytest.mark.parametrize("shape", ["tiny-olmo2", "tiny-lfm2", "tiny-gemma2-4096"])
def test_a_trace_does_not_depend_on_its_neighbours(random_model, shape):
    path, ps = random_model(shape), prompts(6)
    alone = [drove(path, [follow(p, 60)])[0] for p in ps[:2]]
    assert set(alone) <= set(drove(path, [follow(p, 60) for p in reversed(ps)]))


def steps_back(prompt, far):
    """Rows at one place, reached three times: going on, after a long way back, and after a short one."""
    row = yield Prompt(prompt)
    for token in far:
        row = yield token
    yield Rewind(len(prompt) + 3)
    row = yield far[3]
    first = row.copy()
    yield 99
    yield Rewind(len(prompt) + 3)
    row = yield far[3]
    return first, row.copy()


@pytest.mark.parametrize("shape", RECURRENT)
def test_a_state_taken_up_again_is_the_same_state(random_model, shape):
    """A place that was never marked is fed again from the prompt on: near to the trace's own, and always the same."""
    path, far = random_model(shape), [(3 * i) % 250 for i in range(20)]

    def straight(prompt):
        row = yield Prompt(prompt)
        for token in far[:4]:
            row = yield token
        return row.copy()

    [(first, again)] = drove(path, [steps_back([1, 2, 3, 4], far)])
    [direct] = drove(path, [straight([1, 2, 3, 4])])
    assert first.tobytes() == again.tobytes()
    assert np.abs(first - direct).max() < 0.05 * np.abs(direct).max()


def test_a_mark_of_a_hybrid_model_costs_its_recurrent_part_alone(random_model):
    """Of a lane's state the keys and values grow with the text; what a mark copies does not."""
    sizes = []
    options = Options(n_lanes=1, n_ctx=128, n_threads=1)
    with open_model(random_model("tiny-lfm2")) as model, model.lanes(options) as lanes:
        for n in (4, 100):
            lanes.rewind(0, 0)
            lanes.prefill(0, Prompt(list(range(1, n + 1))))
            sizes.append(len(lanes._state(0)))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_whole_run_with_probes_is_the_run_without_them(random_model, tmp_path, shape):
    """From the task to the database: same tokens, same entropies."""
    data = tmp_path / "sums.jsonl"
    data.write_text("\n".join(json.dumps({"question": f"What is {i} + {i}?", "answer": 2 * i}) for i in range(3)))
    task, found = tasks.load("sums", data), {}
    for probe in (True, False):
        chosen = Settings(lanes=4, threads=1, max_tokens=16, temperature=1.0, max_fed=4, probe=probe, gpu_layers=0)
        db = tmp_path / f"{probe}.db"
        run(str(random_model(shape)), task, db=db, settings=chosen)
        with closing(sqlite3.connect(db)) as conn:
            sql = "select problem_id, token_index, token_id, entropy from tokens join traces using (trace_id)"
            found[probe] = sorted(conn.execute(sql))
            n_probes = conn.execute("select count(*) from probes").fetchone()[0]
        assert (n_probes > 0) == probe
    assert found[True] == found[False]
    assert len(found[True]) > 3


def test_gemma_caps_its_final_logits(tmp_path):
    """The same weights without a cap to speak of: 30 * tanh(x / 30) of those logits, computed here."""
    import random_model

    rows = {}
    for cap in (30.0, 1e6):
        shape = replace(random_model.SHAPES["tiny-gemma2"], soft_cap=cap)
        path = random_model.write(tmp_path / f"{cap}.gguf", shape, scale=16.0)
        rows[cap] = drove(path, [rows_of([3] * 40)])[0]
    assert np.abs(rows[1e6]).max() > 40
    assert np.abs(rows[30.0] - 30 * np.tanh(rows[1e6].astype(np.float64) / 30)).max() < 0.01


def rows_of(tokens):
    row = yield Prompt(tokens[:1])
    found = [row.copy()]
    for token in tokens[1:]:
        row = yield token
        found.append(row.copy())
    return np.stack(found)


def test_gemma_sees_no_further_than_its_window(random_model):
    """The same weights with a window of 64 and of 4096: equal up to 64 tokens back, different beyond."""
    tokens = [(5 * i + i * i) % 250 for i in range(100)]
    near, far = (drove(random_model(s), [rows_of(tokens)])[0] for s in ("tiny-gemma2", "tiny-gemma2-4096"))
    assert np.array_equal(near[:60], far[:60])
    assert np.abs(near[80:] - far[80:]).max() > 0.01


def test_a_window_of_4096_is_crossed(random_model):
    """A probe beyond the window comes back to the same bits."""
    prompt = [(7 * i) % 250 for i in range(4090)]
    jobs = [[follow(prompt, 12, probe_every=every)] for every in (0, 3)]
    plain, probed = (drove(random_model("tiny-gemma2-4096"), job, n_lanes=2, n_ctx=4352, chunk=256) for job in jobs)
    assert plain == probed


@pytest.mark.skipif(not supports_gpu(), reason="this llama.cpp has no GPU backend")
@pytest.mark.parametrize("shape", SHAPES)
def test_on_a_gpu_it_is_nearly_the_same(random_model, shape):
    """All layers offloaded: logits within what another backend's kernels may do, probes still harmless."""
    path, tokens = random_model(shape), [(5 * i) % 250 for i in range(60)]

    def there(jobs):
        options = Options(n_lanes=4, n_ctx=256, n_threads=1)
        with open_model(path, gpu_layers=-1) as model, model.lanes(options) as engine:
            return list(drive(engine, jobs))

    on_cpu, on_gpu = drove(path, [rows_of(tokens)])[0], there([rows_of(tokens)])[0]
    assert np.abs(on_cpu - on_gpu).max() < 0.05 * np.abs(on_cpu).max()
    assert there([follow(tokens[:9], 40)]) == there([follow(tokens[:9], 40, probe_every=7)])
