"""Comparing models: teacher forcing, llama-perplexity's figures, pairs, prefixes, the whole."""

import dataclasses
import json
import math
import re
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import coverage_compare
import gguf
import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from coverage_compare import Series
from helpers.rows import rows

from localent import runs, tasks
from localent.analysis import as_json, divergence, neighbours, pairs, prefixes, quantities
from localent.analysis.pairs import Pair
from localent.analysis.quantities import Figure
from localent.cli import main
from localent.compare import (
    Candidate,
    Comparison,
    Plan,
    compare_base,
    compare_task,
    compare_text,
    noise,
    on_traces,
    scoring,
    teacher_forcing,
    verdict,
)
from localent.compare.models import InMemory, usable
from localent.compare.positions import MEASURES, SIDE
from localent.compare.scoring import Pass
from localent.compare.teacher_forcing import Feeding
from localent.compare.text import Text
from localent.compare.token_classes import classes_of
from localent.compare.verdict import holm
from localent.engine import QuantizeOptions, quantize
from localent.errors import BrokenLogitsError, LocalentError
from localent.files import identity, kld_base
from localent.machine import hardware
from localent.measure.divergence import PairMeter, kl
from localent.measure.entropy import log_softmax
from localent.records import Speed, Step
from localent.report.compare import CELL, _figure, render
from localent.runs import session
from localent.runs.progress import SILENT
from localent.runs.settings import Settings
from localent.store import open_db

GOLDEN = Path(__file__).parents[1] / "data" / "perplexity"
MODEL, TEXT = GOLDEN / "tiny-f16.gguf", GOLDEN / "text.txt"
PLAN = Plan(ctx=64, limit=12, threads=1, noise=False)


# --- teacher forcing ------------------------------------------------------------------------------------------------


class Fake:
    """A scorer whose row is a function of the tokens so far; notes what it is fed."""

    can_keep, name = True, "fake"

    def __init__(self, n_vocab=16, salt=0.0):
        self.n_vocab, self.salt, self.tokens, self.fed, self.kept = n_vocab, salt, [], [], []

    def keep(self, n_tokens):
        self.kept.append(n_tokens)
        del self.tokens[n_tokens:]

    def row(self, tokens):
        rng = np.random.default_rng([int(t) for t in tokens])
        return (rng.normal(size=self.n_vocab) + self.salt * np.arange(self.n_vocab)).astype(np.float32)

    def feed(self, tokens, n_rows):
        self.fed.append(tuple(tokens))
        found = []
        for i, token in enumerate(tokens):
            self.tokens.append(token)
            if i >= len(tokens) - n_rows:
                found.append(self.row(self.tokens))
        return np.array(found).reshape(n_rows, self.n_vocab)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_every_scored_position_is_compared_once_with_the_token_that_follows(chunk, n_threads):
    shared, rng = [1, 2, 3, 4, 5], np.random.default_rng(0)
    texts = [
        Text([*shared, *rng.integers(16, size=n).tolist()], first=5 + n // 2, n_shared=5, problem=str(n))
        for n in (4, 9, 6)
    ]
    a, b, c = Fake(), Fake(salt=0.1), Fake(salt=0.3)
    found = teacher_forcing.score(texts, a, [b, c], Feeding(chunk=chunk, n_threads=n_threads))
    place = 0
    for index, text in enumerate(texts):
        for i in range(text.first, len(text.tokens) - 1):
            seen = text.tokens[: i + 1]
            side, pair = PairMeter(16).read(a.row(seen), [b.row(seen), c.row(seen)], text.tokens[i + 1])
            assert (found.text[place], found.position[place]) == (index, i + 1)
            assert found.token_id[place] == text.tokens[i + 1]
            assert found.reference["entropy"][place] == side.entropy
            for columns, difference in zip(found.candidates, pair, strict=True):
                assert columns["kld"][place] == difference.kld
                assert columns["surprisal"][place] == difference.candidate.surprisal
            place += 1
    assert place == len(found)
    assert a.kept == b.kept == [0, 5, 5]  # the shared prompt is fed once


def test_the_reference_is_fed_once_however_many_candidates():
    texts = [Text(list(range(10)), first=3)]
    alone, shared = Fake(), Fake()
    teacher_forcing.score(texts, alone, [Fake()], Feeding(chunk=4, n_threads=1))
    teacher_forcing.score(texts, shared, [Fake(), Fake(), Fake()], Feeding(chunk=4, n_threads=1))
    assert shared.fed == alone.fed


@pytest.mark.parametrize("n_kept", [1, 8, 11, 1000])
@pytest.mark.parametrize("forgetful", [None, 0, 1, 2])
def test_candidates_in_turn_give_every_bit_that_they_give_together(monkeypatch, n_kept, forgetful):
    monkeypatch.setattr(teacher_forcing, "KEPT", n_kept * 16 * 4)
    texts = [Text([1, 2, 3, *range(3, n), 9], first=3, n_shared=3, problem=str(n)) for n in (5, 9, 4, 13, 6)]
    scorers = [Fake(), Fake(salt=0.1), Fake(salt=0.3), Fake(salt=0.2)]
    if forgetful is not None:
        scorers[forgetful].can_keep = False
    reference, *candidates = scorers
    how, seen, now = Feeding(chunk=4, n_threads=1), {True: [], False: []}, []
    together = teacher_forcing.score(texts, reference, candidates, replace(how, on_rows=noting(seen[False])))

    @contextmanager
    def opened(one):
        assert not now  # no other is open
        now.append(one)
        yield one
        now.clear()

    openers = [partial(opened, one) for one in candidates]
    before, n_fed = len(reference.fed), []
    told = replace(how, on_rows=noting(seen[True]), report=n_fed.append)
    in_turn = teacher_forcing.score_in_turn(texts, reference, openers, told)
    for name in ("text", "position", "token_id"):
        assert (getattr(together, name) == getattr(in_turn, name)).all()
    for a, b in zip((together.reference, *together.candidates), (in_turn.reference, *in_turn.candidates), strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert np.array_equal(np.concatenate(seen[True]), np.concatenate(seen[False]))
    n_blocks = len(list(teacher_forcing.blocks(texts, 16)))
    assert n_blocks == {1: 5, 8: 4, 11: 3, 1000: 1}[n_kept]
    assert sum(map(len, reference.fed[before:])) <= sum(len(text.tokens) - 1 for text in texts)  # once, not thrice
    assert sum(n_fed) >= len(candidates) * sum(text.n_rows for text in texts)


def noting(rows):
    return lambda fed: rows.append(np.array(fed))


def test_two_models_are_in_memory_at_a_time_unless_all_are_asked_for(quants, monkeypatch):
    alive, most = [], []
    load = session.loaded

    @contextmanager
    def counted(file, settings):
        with load(file, settings) as ready:
            alive.append(file.spelled)
            most.append(len(alive))
            yield ready
            alive.remove(file.spelled)

    monkeypatch.setattr(session, "loaded", counted)
    files = usable([str(MODEL), *quants, str(MODEL)])
    with InMemory(files, Settings(threads=1), PLAN) as models:
        assert not models.fit_together
        for i in (0, 1, 2, 1, 3):
            assert models[i].file is files[i]
            assert models[0].weights is models[3].weights
        assert most == [1, 2, 2, 2]
        assert [one.file for one in models.together()] == files
        assert sorted(alive) == sorted({file.spelled for file in files})
    assert alive == []


def test_many_candidates_on_a_text_equal_each_by_itself(quants, monkeypatch):
    monkeypatch.setattr(teacher_forcing, "KEPT", 100 * 4 * identity.identify(MODEL).model.n_vocab)
    both = compare_text([str(MODEL), *quants], TEXT, plan=PLAN)
    for one, quant in zip(both.candidates, quants, strict=True):
        (alone,) = compare_text([str(MODEL), quant], TEXT, plan=PLAN).candidates
        assert [f.value for f in one.forced.figures] == [f.value for f in alone.forced.figures]


def test_a_recurrent_model_is_fed_its_shared_prompt_again_in_the_same_pieces():
    texts = [Text([1, 2, 3, 4, t, t], first=4, n_shared=4) for t in (7, 8)]
    kept, forgetful = Fake(), Fake()
    forgetful.can_keep = False
    a = teacher_forcing.score(texts, kept, [Fake(salt=1)], Feeding(chunk=3, n_threads=1))
    b = teacher_forcing.score(texts, forgetful, [Fake(salt=1)], Feeding(chunk=3, n_threads=1))
    assert forgetful.fed == [(1, 2, 3), (4,), (7,), (1, 2, 3), (4,), (8,)]
    assert (a.candidates[0]["kld"] == b.candidates[0]["kld"]).all()


def test_a_shared_prompt_is_fed_again_where_its_last_row_is_scored():
    texts = [Text([1, 2, 3, 4, t], first=2, n_shared=4) for t in (7, 8)]
    reference = Fake()
    found = teacher_forcing.score(texts, reference, [Fake(salt=1)], Feeding(chunk=8, n_threads=1))
    assert reference.kept == [0, 2]
    assert found.reference["entropy"][2] == PairMeter(16).read(reference.row([1, 2, 3]), [], 0)[0].entropy
    assert not any(np.isnan(column).any() for column in found.candidates[0].values())


def test_smaller_pieces_give_the_rows_that_were_asked_for():
    whole, pieces = Fake(), noise.Rechunked(Fake(), 3)
    for n_rows in (8, 5, 1, 0):
        whole.keep(0)
        pieces.keep(0)
        assert np.array_equal(whole.feed(range(8), n_rows), pieces.feed(range(8), n_rows))


def test_broken_logits_are_named_by_model_and_place():
    class Broken(Fake):
        name = "broken.gguf"

        def row(self, tokens):
            return super().row(tokens) * (np.nan if 9 in tokens else 1)

    texts = [Text([1, 2, t, 3], first=1, problem=f"chunk {i}") for i, t in enumerate((8, 9))]
    for trace_id, where in ((None, "chunk 1"), (7, "problem chunk 1")):
        placed = [replace(text, trace_id=trace_id) for text in texts]
        with pytest.raises(LocalentError, match=f"^broken.gguf on {where}: a logits row is broken"):
            teacher_forcing.score(placed, Fake(), [Fake(), Broken()], Feeding(chunk=4, n_threads=2))


def test_logits_over_different_vocabularies_are_refused():
    with pytest.raises(LocalentError, match="16 and 17 entries"):
        teacher_forcing.score([Text([1, 2, 3], 0)], Fake(16), [Fake(17)], Feeding(chunk=4, n_threads=1))


# --- llama-perplexity -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quants(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quants")
    for quant in ("Q8_0", "Q4_0"):
        quantize(MODEL, folder / f"tiny-{quant}.gguf", quant, QuantizeOptions(n_threads=1))
    return [str(folder / f"tiny-{quant}.gguf") for quant in ("Q8_0", "Q4_0")]


def printed(quant: str) -> dict[str, tuple[float, float | None]]:
    """What the tool printed: name -> (value, uncertainty); percent as a share."""
    found = {}
    for line in (GOLDEN / f"{quant}.txt").read_text().splitlines():
        if m := re.match(r" *(.+?) *: *(-?[\d.]+)(?: ± *([\d.]+))?( *%)?$", line):
            scale = 0.01 if "%" in line.split(":", 1)[1] else 1.0
            name = re.sub(" +", " ", m[1])
            found[name] = float(m[2]) * scale, float(m[3]) * scale if m[3] else None
    assert len(found) == 34
    return found


def close(name: str, ours: float, theirs: float) -> bool:
    """Within the tool's printing, its 16-bit file, and another processor's rounding."""
    if "PPL(" in name and "ln" not in name:
        return ours == pytest.approx(theirs, rel=1e-3, abs=0.5 if "-PPL" in name else 1e-3)
    if "Same top" in name:
        return ours == pytest.approx(theirs, abs=6e-3)  # two of 372 near-ties
    return ours == pytest.approx(theirs, abs=1e-4 if "Maximum" not in name and "99.9" not in name else 4e-4)


def test_plain_text_gives_what_llama_perplexity_prints(quants):
    done = compare_text([str(MODEL), *quants], TEXT, plan=PLAN)
    assert done.candidates[0].forced["Mean PPL(base)"].value == pytest.approx(814.8974, rel=1e-4)
    for candidate in done.candidates:
        ours = {f.name: f for f in candidate.forced.figures}
        for name, (value, uncertainty) in printed(candidate.model.quant).items():
            assert close(name, ours[name].value, value), (candidate.model.quant, name, ours[name].value, value)
            if uncertainty is not None:
                assert ours[name].uncertainty == pytest.approx(uncertainty, rel=0.01, abs=2e-4), name


def test_a_base_file_gives_the_same_as_its_reference_model(quants):
    done = compare_base(GOLDEN / "base.kld", quants, plan=replace(PLAN, limit=None))
    assert done.reference is None
    for candidate in done.candidates:
        ours = {f.name: f.value for f in candidate.forced.figures}
        for name, (value, _) in printed(candidate.model.quant).items():
            assert close(name, ours[name], value), (candidate.model.quant, name, ours[name], value)
        assert "Mean ΔH" not in ours  # 16 bits have no entropy


def test_the_first_chunks_of_a_base_file_are_its_first_chunks(quants):
    """Rows lie behind the tokens of all chunks, also of those that are not asked for."""
    whole = compare_base(GOLDEN / "base.kld", quants[:1], plan=replace(PLAN, limit=None))
    part = compare_base(GOLDEN / "base.kld", quants[:1], plan=replace(PLAN, limit=3))
    direct = compare_text([str(MODEL), *quants[:1]], TEXT, plan=replace(PLAN, limit=3))
    found = [done.candidates[0].forced for done in (whole, part, direct)]
    assert [f.n for f in found] == [12 * 31, 3 * 31, 3 * 31]
    assert found[1]["Mean KLD"].value == pytest.approx(found[2]["Mean KLD"].value, abs=1e-4)


def test_a_base_file_that_is_written_equals_llama_perplexitys(tmp_path):
    """The same head and, but for rounding on another processor, the same rows: up to 0.0054 nats apart on one with
    other vector instructions, whose distributions differ by 1e-6 nats."""
    compare_text([str(MODEL)], TEXT, plan=PLAN, write_base=tmp_path / "b.kld")
    ours, theirs = (tmp_path / "b.kld").read_bytes(), (GOLDEN / "base.kld").read_bytes()
    head = 20 + 12 * 64 * 4
    assert len(ours) == len(theirs)
    assert ours[:head] == theirs[:head]
    written, golden = (kld_base.chunks(kld_base.read(path)) for path in (tmp_path / "b.kld", GOLDEN / "base.kld"))
    for a, b in zip(written, golden, strict=True):
        for i in range(31):
            assert kl(log_softmax(a[i]), log_softmax(b[i])) < 1e-5
            assert np.abs(a[i] - b[i]).max() < 1e-2


def test_a_model_and_itself_differ_by_exactly_nothing():
    done = compare_text([str(MODEL), str(MODEL)], TEXT, plan=PLAN)
    for name in ("Mean KLD", "Maximum KLD", "Mean reverse KLD", "Mean JSD", "RMS Δp", "Mean |ΔH|"):
        assert done.candidates[0].forced[name].value == 0.0, name
    assert done.candidates[0].forced["Same top p"].value == 1.0
    assert "to the last bit" in render(done)


def test_the_footer_says_how_mcnemar_counts_attempts_at_one_problem():
    """Several attempts at a problem are one pair of the test, as free_running computes it."""
    twice = pairs.free_running([a_pair(f"p{i}", (True, i > 2), ([1], [1])) for i in range(12) for _ in range(2)])
    _, (forced,) = teacher_forced(0.1)
    model = identity.identify(MODEL).model
    done = Comparison(model, "run", "r", 24, (Candidate(model, forced, twice),), None)
    assert "McNemar's test counts each problem once" in " ".join(render(done).split())


def test_a_model_does_not_differ_from_its_own_base_file(quants):
    """What differs is the rounding to 16 bits; a real quant is still told apart."""
    done = compare_base(GOLDEN / "base.kld", [str(MODEL), quants[1]], plan=replace(PLAN, limit=None))
    said = " ".join(render(done).split())
    assert "PPL(base) is computed from the file, in which no token lies more than 16 nats below the top" in said
    assert "KLD over tokens with ln p(base) > -16, as llama-perplexity computes it." in said
    assert "tiny-f16.gguf cannot be told apart from the reference in its next-token distributions" in said
    assert "tiny-Q4_0.gguf differs from the reference in its next-token distributions" in said


@pytest.mark.parametrize("value", [7.1234, 987.6543, 843_364.8, 12_538_798.8])
def test_a_perplexity_of_any_size_stays_within_its_column(value):
    figure = Figure("Mean PPL(Q)", value, value / 10, value / 2, value * 2, "perplexity")
    assert all(len(cell) < CELL for cell in _figure(figure))
    assert float(_figure(figure)[0].split()[0]) == pytest.approx(value, rel=1e-6)


def test_chunks_longer_than_the_training_context_give_a_warning(quants):
    trained = identity.identify(MODEL).model.n_ctx_train
    text = Path(quants[0]).parent / "long.txt"
    text.write_bytes(TEXT.read_bytes() * 4)
    assert len(text.read_bytes()) > trained + 64
    warned = compare_text([str(MODEL), *quants[:1]], text, plan=replace(PLAN, ctx=trained + 64, limit=1))
    assert f"Chunks of {trained + 64:,} tokens are longer than the training context of {trained:,} tokens" in " ".join(
        render(warned, width=400).split()
    )
    assert compare_text([str(MODEL), *quants[:1]], TEXT, plan=PLAN).warnings == ()


def test_chunk_size_of_the_calls_changes_only_noise(quants):
    fine = compare_text([str(MODEL), *quants[:1]], TEXT, plan=replace(PLAN, chunk=7))
    coarse = compare_text([str(MODEL), *quants[:1]], TEXT, plan=PLAN)
    pair = [c.candidates[0].forced["Mean KLD"].value for c in (fine, coarse)]
    assert pair[0] == pytest.approx(pair[1], abs=1e-5)


def test_kld_falls_as_bits_rise(quants):
    done = compare_text([str(MODEL), *quants], TEXT, plan=replace(PLAN, noise=True))
    near, far = (c.forced["Mean KLD"].value for c in done.candidates)
    assert done.noise.forced["Mean KLD"].value < near < far
    times = [c.multiples["Mean KLD"] for c in done.candidates]
    floor = done.noise.forced["Mean KLD"].value
    assert times == ([near / floor, far / floor] if floor else [None, None])


def test_the_noise_floor_sees_enough_positions_of_texts_from_all_over():
    short = [Text(range(21), first=0, problem=str(i)) for i in range(100)]
    chosen = noise.sample(short)
    assert len(chosen) == 25  # of 20 positions each
    assert [text.problem for text in chosen] == [str(i) for i in range(0, 100, 4)]
    assert noise.sample(short[:3]) == short[:3]
    long = [Text(range(512), first=256, problem=str(i)) for i in range(1000)]
    assert len(noise.sample(long)) == 20


class TwoFakes(list):
    """Two models in memory, which are fakes."""

    fit_together = True

    def __init__(self):
        super().__init__([SimpleNamespace(weights=SimpleNamespace(vocab=SimpleNamespace(n_tokens=16)))] * 2)

    def together(self):
        return self


@pytest.mark.parametrize("n_ctx", [4, 16, 43, 130, 512])
def test_the_noise_floor_is_fed_in_other_pieces_however_short_the_texts(monkeypatch, n_ctx):
    """A third of a call of 128 is 42 tokens: a text that is shorter would be one call both times, and without noise."""
    made = []
    monkeypatch.setattr(scoring.Pass, "scorer", lambda *_: nullcontext(made.append(Fake()) or made[-1]))
    texts = [Text([(i + j) % 16 for j in range(n_ctx)], first=n_ctx // 2, problem=str(i)) for i in range(2)]
    _, floor = scoring.score_all(TwoFakes(), Pass(texts, Plan(threads=1), lambda progress: None))
    _, _, reference, again = made
    in_floor = reference.fed
    assert sum(map(len, in_floor)) == sum(map(len, again.fed)) == 2 * (n_ctx - 1)
    assert max(map(len, again.fed)) * 2 < max(map(len, in_floor))
    assert len(floor) == sum(text.n_rows for text in texts)


def test_equal_up_to_rounding_is_not_called_identical():
    """A shift of all logits by 1e-6 changes no probability in print; clamping hides it from KL, but not from Δp."""
    p = rows(500, 0.0, n=40)[:, 0]
    columns = [{name: [] for name in (*SIDE, *MEASURES)} for _ in range(2)]
    for row in p:
        side, (seen,) = PairMeter(500).read(row, [row * np.float32(1 + 1e-7)], 3)
        for name in SIDE:
            columns[0][name].append(getattr(side, name))
            columns[1][name].append(getattr(seen.candidate, name))
        for name in MEASURES:
            columns[1][name].append(0.0 if "kld" in name or name == "jsd" else getattr(seen, name))
    base, mine = ({k: np.array(v, float) for k, v in side.items() if v} for side in columns)
    found = divergence.teacher_forced(base, mine, cut=True)
    assert found["Maximum KLD"].value == 0.0
    assert not verdict.is_identical(found)
    itself = {name: mine[name] for name in ("jsd", "tv", "same_top")} | {
        name: mine["kld"] for name in mine if "kld" in name
    }
    assert verdict.is_identical(divergence.teacher_forced(base, base | itself, cut=True))


# --- what is refused ------------------------------------------------------------------------------------------------


def test_other_tokenizers_are_refused_with_what_differs_where_equal_tokens_are_needed(tmp_path, bundled):
    command = ["compare", str(MODEL), str(bundled), "--text", str(TEXT), "--write-kld-base", str(tmp_path / "b.kld")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    n_vocab = identity.identify(bundled).model.n_vocab
    assert f"vocabularies of 260 and {n_vocab:,} entries; their tokenizers are different" in result.output


def test_a_tokenizer_that_differs_in_one_token_is_refused(tmp_path):
    other = tmp_path / "other.gguf"
    raw = MODEL.read_bytes()
    assert raw.count(b"Th") >= 1
    other.write_bytes(raw.replace(b"\x02\x00\x00\x00\x00\x00\x00\x00Th", b"\x02\x00\x00\x00\x00\x00\x00\x00Tq", 1))
    assert other.read_bytes() != raw
    with pytest.raises(LocalentError, match="tokenizers differ in tokens"):
        compare_text([str(MODEL), str(other)], TEXT, plan=PLAN)


def test_a_candidate_that_differs_in_one_tensor_differs_in_kld(tmp_path):
    """Two weights of one tensor changed: another sha256, named by inspect, seen by compare."""
    other = tmp_path / "other.gguf"
    other.write_bytes(MODEL.read_bytes())
    tensor = next(t for t in gguf.GGUFReader(other, "r+").tensors if t.name == "blk.1.ffn_up.weight")
    tensor.data[:4] *= 1.5
    tensor.data.flush() if hasattr(tensor.data, "flush") else None
    assert identity.identify(other).model.sha256 != identity.identify(MODEL).model.sha256
    done = compare_text([str(MODEL), str(other)], TEXT, plan=replace(PLAN, noise=True))
    assert done.candidates[0].forced["Mean KLD"].value > done.noise.forced["Mean KLD"].value
    shown = CliRunner().invoke(main, ["inspect", str(MODEL), str(other)])
    assert "different despite one label: 1 of 20 tensors differ (blk.1.ffn_up.weight)" in shown.output


def test_a_copy_with_broken_weights_is_an_error_and_not_a_number(tmp_path):
    other = tmp_path / "broken.gguf"
    other.write_bytes(MODEL.read_bytes())
    tensor = next(t for t in gguf.GGUFReader(other, "r+").tensors if t.name == "blk.0.attn_q.weight")
    tensor.data[:] = np.nan
    tensor.data.flush()
    result = CliRunner().invoke(main, ["compare", str(MODEL), str(other), "--text", str(TEXT), "--ctx", "64"])
    assert result.exit_code == 1
    assert "localent: broken.gguf on chunk 0: a logits row is broken (nan in it)" in result.output


def test_broken_logits_of_a_free_run_are_named(tmp_path, monkeypatch):
    def run(*_, **__):
        raise BrokenLogitsError("NaN.")

    monkeypatch.setattr(on_traces.runs, "run", run)
    with pytest.raises(LocalentError, match=r"^tiny-f16.gguf running free: NaN\."):
        compare_task([str(MODEL), str(MODEL)], tasks.load("demo-number"), db=tmp_path / "c.db")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--text", "absent.txt"], 2, "No file 'absent.txt': name a text file"),
        ([], 2, "one of --text, --task, --run, --kld-base; for example --task demo-number"),
        (["--text", str(TEXT), "--task", "demo-number"], 2, "got --text and --task"),
        (["--text", str(TEXT), "--ctx", "100000"], 2, "one chunk takes 100000"),
        (["--kld-base", str(TEXT)], 1, "not a base file of llama-perplexity"),
        (["--task", "demo-number", "--write-kld-base", "x"], 2, "needs --text"),
        (["--text", str(TEXT), "--chunks", "0"], 2, "--chunks must be at least 1"),
        (["--text", str(MODEL)], 2, "is not UTF-8"),
        (["--text", str(TEXT), "--write-kld-base", str(TEXT)], 2, "exists already"),
        (["--kld-base", str(GOLDEN / "base.kld"), "--positions"], 2, "--positions needs a reference model"),
    ],
)
def test_bad_requests_give_one_sentence(arguments, code, says):
    result = CliRunner().invoke(main, ["compare", str(MODEL), str(MODEL), *arguments])
    assert result.exit_code == code, result.output
    assert says in result.output
    assert "Traceback" not in result.output


def test_one_model_alone_is_not_compared():
    result = CliRunner().invoke(main, ["compare", str(MODEL), "--text", str(TEXT)])
    assert (result.exit_code, "at least one candidate" in result.output) == (2, True)


# --- figures --------------------------------------------------------------------------------------------------------


def test_uncertainties_are_those_of_the_mean_of_independent_values():
    x = np.random.default_rng(0).exponential(size=50)
    assert divergence.mean_and_error(x) == pytest.approx((x.mean(), scipy.stats.sem(x)))


def test_ratio_of_perplexities_takes_the_covariance_into_account():
    rng = np.random.default_rng(1)
    base = rng.exponential(2, 400)
    mine = base + rng.normal(0.1, 0.3, 400)
    found = {f.name: f for f in divergence.perplexities(base, mine)}
    n = len(base)
    cov = np.cov(mine, base, bias=True) / (n - 1)
    error = math.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    assert found["Mean ln(PPL(Q)/PPL(base))"].uncertainty == pytest.approx(error)
    assert found["Cor(ln(PPL(Q)), ln(PPL(base)))"].value == pytest.approx(np.corrcoef(mine, base)[0, 1])
    mine_, base_ = found["Mean PPL(Q)"].value, found["Mean PPL(base)"].value
    assert found["Mean PPL(Q)/PPL(base)"].value == pytest.approx(mine_ / base_)
    error = math.sqrt(mine_**2 * cov[0, 0] + base_**2 * cov[1, 1] - 2 * mine_ * base_ * cov[0, 1])
    assert found["Mean PPL(Q)-PPL(base)"].uncertainty == pytest.approx(error)
    itself = {f.name: f for f in divergence.perplexities(base, base.copy())}
    assert (itself["Mean PPL(Q)-PPL(base)"].value, itself["Mean PPL(Q)-PPL(base)"].uncertainty) == (0.0, 0.0)


def test_a_perplexity_beyond_float64_is_infinite():
    found = {f.name: f.value for f in divergence.perplexities(np.array([1.0, 2.0]), np.array([700.0, 800.0]))}
    assert (found["Mean PPL(Q)"], found["Mean PPL(Q)/PPL(base)"]) == (math.inf, math.inf)
    assert found["Mean PPL(base)"] == pytest.approx(math.exp(1.5))
    assert found["Mean ln(PPL(Q)/PPL(base))"] == 748.5


def test_clustered_intervals_are_wider_where_positions_of_a_problem_are_alike():
    rng = np.random.default_rng(2)
    problems = np.repeat(np.arange(40).astype(str), 25)
    alike = np.repeat(rng.normal(size=40), 25) + 0.01 * rng.normal(size=1000)
    found = divergence.clustered(alike, problems)
    assert found.value == pytest.approx(alike.mean())
    assert found.n == 1000
    assert found.high - found.low > 4 * 2 * 1.96 * scipy.stats.sem(alike) * 0.7


def test_deciles_are_ten_groups_of_one_size_by_entropy():
    h = np.random.default_rng(3).exponential(size=100)
    groups = divergence.deciles(h)
    assert [mask.sum() for _, mask in groups] == [10] * 10
    tops = [h[mask].max() for _, mask in groups]
    assert tops == sorted(tops)


def test_attempts_at_one_problem_that_are_lost_together_count_once():
    """Five problems lost, three attempts each: 5 of 5, not 15 of 15."""
    lost = [Pair(f"p{i}", (True, i >= 5), ("1", "1"), ((1,), (1,))) for i in range(40) for _ in range(3)]
    found = pairs.free_running(lost)
    assert found.right_to_wrong == 15
    assert found.mcnemar_p == pytest.approx(scipy.stats.binomtest(5, 5).pvalue)
    assert found.flips.high > 0.2  # 5 of 40 problems, not 15 of 120 traces


def test_two_answers_that_are_missing_are_not_the_same():
    none = [Pair(f"p{i}", (False, False), (None, None), ((1,), (1,))) for i in range(12)]
    assert pairs.free_running(none).same_answer.value is None
    assert pairs.free_running([*none, Pair("q", (True, False), ("1", None), ((1,), (1,)))]).same_answer.value == 0.0


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (7, 2), (10, 10), (3, 25)])
def test_mcnemar_is_the_exact_binomial(b, c):
    expected = (
        1.0 if b + c == 0 else min(1.0, 2 * sum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c))
    )
    assert pairs.mcnemar(b, c) == pytest.approx(expected)


def teacher_forced(*salts, n_texts=24):
    """(reference against itself, one Forced per salt): fakes that lean towards later tokens by `salt`."""
    rng = np.random.default_rng(5)
    texts = [Text(rng.integers(16, size=12).tolist(), first=2, problem=str(i)) for i in range(n_texts)]
    found = teacher_forcing.score(texts, Fake(), [Fake(salt=s) for s in salts], Feeding(chunk=8, n_threads=1))
    problems = np.array([text.problem for text in texts])[found.text]
    classes = np.array(["number", "other", "operator"])[np.arange(len(found)) % 3]
    return found, [
        divergence.teacher_forced(found.reference, columns, cut=False, problems=problems, classes=classes)
        for columns in found.candidates
    ]


def test_classes_and_deciles_are_means_over_their_positions():
    found, (one,) = teacher_forced(0.2)
    mine, ours = found.candidates[0], found.reference
    index = np.arange(len(found)) % 3
    for group in one.classes:
        mask = index == ["number", "other", "operator"].index(group.name)
        assert group.n == mask.sum()
        assert group.kld.value == pytest.approx(mine["kld"][mask].mean())
        assert group.delta_entropy.value == pytest.approx((mine["entropy"] - ours["entropy"])[mask].mean())
        assert group.delta_varentropy.value == pytest.approx((mine["varentropy"] - ours["varentropy"])[mask].mean())
        assert group.same_top.value == pytest.approx(mine["same_top"][mask].mean())
        assert group.kld.n_problems == 24  # resampled by problem
        assert group.kld.low < group.kld.value < group.kld.high
    assert sum(group.n for group in one.classes) == sum(group.n for group in one.deciles) == len(found)
    by_entropy = np.argsort(ours["entropy"], kind="stable")
    first = by_entropy[: one.deciles[0].n]
    assert one.deciles[0].kld.value == pytest.approx(mine["kld"][first].mean())


def candidate(found, quant, free=None, trajectory=None):
    model = SimpleNamespace(quant=quant, sha256=quant)
    return SimpleNamespace(model=model, forced=found, free=free, trajectory=trajectory)


def test_verdicts_follow_the_intervals():
    """Noise of salt 0.01: the same file, one within the noise, one far above it."""
    _, (itself, noise_, near, far) = teacher_forced(0.0, 0.01, 0.005, 0.3)
    said = verdict.verdicts([candidate(f, name) for f, name in ((itself, "A"), (near, "B"), (far, "C"))], noise_)
    assert said[0].sentence == "A is the reference to the last bit in everything that was compared."
    assert said[1].differs == ()
    assert said[1].sentence.startswith("B cannot be told apart from the reference in its next-token distributions")
    assert said[2].differs[0].aspect == verdict.DISTRIBUTIONS
    assert "next-token distributions" in said[2].differs[0].text
    times = far["Mean KLD"].value / noise_["Mean KLD"].value
    assert f"{verdict.times_noise(times)} times the noise floor" in said[2].sentence


def test_accuracy_differs_only_after_holm():
    """9 flips one way and 1 the other: p = 0.021 alone, and no finding once another thing was tested as well."""
    _, (one,) = teacher_forced(0.1)

    def flipped(lost, won):
        right = [(True, False)] * lost + [(False, True)] * won + [(True, True)] * 20
        return pairs.free_running([a_pair(str(i), r, ([1], [1])) for i, r in enumerate(right)])

    nine = flipped(9, 1)
    bare = dataclasses.replace(one, figures=tuple(f for f in one.figures if f.name != quantities.ENTROPY_CHANGE.key))
    same = (0.0, (1, 1), (0.5, 0.5), ("1", "1"), (1.0, 1.0))
    path = prefixes.trajectory([prefixes.Prefix(i, str(i), *same) for i in range(24)])
    assert nine.mcnemar_p == pytest.approx(scipy.stats.binomtest(9, 10).pvalue) == pytest.approx(0.0215, abs=1e-4)
    few, more = verdict.verdicts([candidate(bare, "A", nine), candidate(bare, "B", nine, path)], None)
    assert {check.aspect.key for check in few.same} == {"length"}
    assert any("McNemar's test, p = 0.043)" in check.text for check in few.differs)  # beside the length: times 2
    assert any("McNemar's test, p = 0.086)" in check.text for check in more.same)  # and two of prefixes: times 4


@pytest.mark.parametrize(
    ("right", "n", "words"),
    [(False, 20, "neither solved one"), (True, 20, "both solved all"), (None, 6, "only 6 problems")],
)
def test_accuracies_that_could_not_differ_are_not_called_alike(right, n, words):
    _, (one,) = teacher_forced(0.1)
    flags = [(i % 2 == 0,) * 2 if right is None else (right,) * 2 for i in range(n)]
    free = pairs.free_running([a_pair(str(i), r, ([1], [1])) for i, r in enumerate(flags)])
    (found,) = verdict.verdicts([candidate(one, "A", free)], None)
    assert f"it shows too little to tell in accuracy: {words}." in found.sentence
    assert "% against" not in found.sentence


def test_one_candidate_is_one_family_whatever_the_others_are():
    _, (one, other) = teacher_forced(0.1, 0.3)
    alone = verdict.verdicts([candidate(one, "A")], None)
    assert verdict.verdicts([candidate(one, "A"), candidate(other, "B")], None)[0] == alone[0]


def test_candidates_that_differ_by_noise_are_seldom_called_different():
    """Five tests of each: 5 % at most after Holm's rule, about 20 % by any p alone."""
    after, before = coverage_compare.called_different(30, 1, 150)
    assert after <= 0.05 < 0.12 < before


def test_the_interval_p_is_below_5_percent_just_where_the_interval_is_apart():
    assert verdict.p_of(1.96, 0.0, 4.0, (0.0, 0.0)) == pytest.approx(0.05, abs=1e-4)
    assert verdict.p_of(-1.0, -2.0, 0.5, (0.0, 0.0)) == pytest.approx(2 * scipy.stats.norm.sf(1.96 / 1.5))
    assert verdict.p_of(3.0, 1.5, 9.0, (-1.0, 1.0)) == pytest.approx(2 * scipy.stats.norm.sf(1.96 * 2 / 1.5))
    assert verdict.p_of(0.5, 0.4, 0.6, (-1.0, 1.0)) == 1.0
    assert verdict.p_of(0.5, 0.5, 0.5, (0.0, 0.0)) == 0.0


@pytest.mark.parametrize("series", [Series(1, 256, 0, 0.3), Series(20, 32, 0, 0.3), Series(40, 32, 0.3, 0.3)])
def test_intervals_along_a_text_allow_for_neighbours(series):
    """AR 0.3; positions taken for independent would cover 84 to 86 % (single chunk), or far less."""
    assert 0.93 <= coverage_compare.covered(series, 800) <= 0.975


def test_the_cosines_of_an_interval_by_hand():
    """The sums that define the transform, with another library's quantile of Student's t."""
    values, mask = np.random.default_rng(4).normal(size=50), np.arange(50) % 3 > 0
    low, high = neighbours.interval(values, 5, mask)
    mean = values[mask].mean()
    u = np.where(mask, values - mean, 0) * 50 / mask.sum()
    t = np.arange(50) + 0.5
    waves = [math.sqrt(2 / 50) * sum(u * np.cos(math.pi * j * t / 50)) for j in range(1, 6)]
    half = scipy.stats.t.ppf(0.975, 5) * math.sqrt(np.mean(np.square(waves)) / 50)
    assert (low, high) == pytest.approx((mean - half, mean + half))
    assert neighbours.interval(values[:29], 3) == (None, None)
    assert neighbours.interval(np.r_[values, np.inf], 3) == (None, None)


def test_figures_stored_before_there_was_a_p_are_read_back():
    found = pairs.free_running([a_pair(str(i), (True, True), ([1], [1, 2])) for i in range(12)])
    before = as_json.plain(dataclasses.asdict(found))
    del before["length_p"]
    assert as_json.from_json(pairs.FreeRunning, before) == dataclasses.replace(found, length_p=None)


def test_equal_distributions_are_not_called_equal_where_free_runs_or_answers_differ():
    """The same weights under another end token write other traces; another reading of answers gives other leaders."""
    _, (itself,) = teacher_forced(0.0)
    same, longer = (
        pairs.free_running([a_pair(str(i), (True, True), ([1, 2], [1, 2, *more])) for i in range(12)])
        for more in ([], [3])
    )
    alike, other = (
        prefixes.trajectory([prefixes.Prefix(0, "a", 0.0, (1, 1), (0.5, 0.5), ("1", leader))]) for leader in "12"
    )
    views = [(None, None), (same, alike), (longer, None), (same, other)]
    said = verdict.verdicts([candidate(itself, str(i), *view) for i, view in enumerate(views)], None)
    assert [v.identical for v in said] == [True, True, False, False]
    length = "length (1.500 times, [1.500, 1.500], p = 0.0015)"
    assert f"differs from the reference in {length} and its free runs" in said[2].sentence
    assert "its free runs (0.0 % the same to the last token)" in said[2].sentence
    assert not any("to the last bit" in v.sentence for v in said[2:])


def test_a_model_and_itself_have_no_magnitude_in_any_view():
    _, (itself, other) = teacher_forced(0.0, 0.2)
    free = pairs.free_running([a_pair(str(i), (True, True), ([1, 2], [1, 2])) for i in range(12)])
    path = prefixes.trajectory([prefixes.Prefix(0, "a", 0.0, (1, 1), (0.5, 0.5), ("1", "1"))])
    for found in (itself, free, path):
        assert set(noise.magnitudes(found).values()) == {0.0}
    assert set(noise.multiples(other, itself).values()) == {None}
    assert set(noise.multiples(other, other).values()) == {1.0}


def test_holm_is_monotone_and_at_least_the_raw_values():
    """Worked by hand: 0.01·3, 0.02·2 -> 0.04, 0.03·1 -> 0.04."""
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([]) == []


def a_pair(problem, right, tokens, answers=("1", "1")):
    return Pair(problem, right, answers, tokens)


def test_pairs_by_hand():
    found = pairs.free_running([
        a_pair("a", (True, True), ([1, 2, 3], [1, 2, 3])),
        a_pair("a", (True, False), ([1, 2, 3, 4], [1, 9]), ("1", "2")),
        a_pair("b", (False, True), (list(range(40)), [*range(39), 99])),
        a_pair("c", (True, False), ([5], [5, 6]), ("1", None)),
    ])  # fmt: skip
    assert (found.n, found.n_problems, found.right_to_wrong, found.wrong_to_right) == (4, 3, 2, 1)
    assert found.accuracy_reference.value == 0.75
    assert found.accuracy_candidate.value == 0.5
    assert found.accuracy_change.value == -0.25
    assert found.flips.value == 0.75
    assert found.same_answer.value == 0.5
    assert found.length_ratio.value == pytest.approx((3 + 2 + 40 + 2) / (3 + 4 + 40 + 1))
    assert found.diverged_early.value == 0.5  # tokens 1 and 1; not 39, not the pair that never differs
    assert found.first_divergence == 1  # median of 1, 39, 1
    assert found.identical.value == 0.25
    assert found.mcnemar_p == 1.0
    assert found.mechanisms == {}


def test_mechanisms_and_lost_answers_are_shares_of_the_probed_traces():
    def probed(problem, names, gone):
        return replace(a_pair(problem, (False, False), ([1], [1])), mechanism=names, abandoned=gone)

    found = pairs.free_running([
        probed("a", ("escape", "rescue"), (1.0, 0.0)),
        probed("b", ("escape", "escape"), (1.0, 1.0)),
        probed("c", ("stable", ""), (0.0, math.nan)),
        probed("d", ("stable", "escape"), (0.0, 1.0)),
    ])  # fmt: skip
    assert (found.mechanisms_reference["escape"], found.mechanisms_reference["stable"]) == (0.5, 0.5)
    assert (found.mechanisms["escape"], found.mechanisms["rescue"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert sum(found.mechanisms.values()) == pytest.approx(1.0)
    assert (found.abandoned_reference.value, found.abandoned.value) == (0.5, pytest.approx(2 / 3))
    assert found.abandoned_change.value == pytest.approx((-1 + 0 + 1) / 3)  # of the pairs that both have
    assert found.abandoned_change.n_missing == 1


def test_same_prefixes_by_hand():
    def at(trace, position, h, log_p, leader):
        return prefixes.Prefix(trace, f"p{trace}", position, h, tuple(map(math.exp, log_p)), leader)

    found = prefixes.trajectory([
        at(0, 0.0, (2.0, 2.5), (-3.0, -3.0), ("1", "1")),
        at(0, 0.5, (1.0, 1.0), (-2.0, -2.0), ("1", "2")),
        at(0, 1.0, (0.0, 0.5), (-1.0, -2.0), ("1", "1")),
        at(1, 0.0, (1.0, 1.0), (-1.0, -1.0), (None, None)),
    ])  # fmt: skip
    assert (found.n, found.n_traces) == (4, 2)
    assert found.delta_entropy.value == pytest.approx(0.25)
    assert found.same_leader.value == 0.75
    assert found.gain_reference.value == pytest.approx((2.0 + 0.0) / 2)
    assert found.gain_candidate.value == pytest.approx((1.0 + 0.0) / 2)
    assert found.entropy_reference == pytest.approx((1.5, 1.5, 1.0, 1.0, 0.5))


def surer(n_problems, *, right):
    """Both models are right as often at the start and the end; the candidate is the surer one in the end."""
    rng, found = np.random.default_rng(0), []
    for trace in range(n_problems):
        for position, share, peaks in ((0.0, 0.4, (0.5, 0.5)), (1.0, right, (0.5, 0.99))):
            leads = float(rng.random() < share)
            p = tuple(peak if leads else (1 - peak) / 3 for peak in peaks)
            found.append(prefixes.Prefix(trace, f"p{trace}", position, (1, 1), p, ("1", "1"), (leads, leads), 0.25))
    return prefixes.trajectory(found)


def test_a_surer_candidate_gains_no_information():
    """Its log probability falls, since it is often wrong; recalibrated both know the same."""
    found = surer(400, right=0.6)
    assert found.gain_change.high < -0.5
    assert found.information_change.value == pytest.approx(0, abs=0.02)
    assert found.information_reference.low > 0
    assert found.information_change_p > 0.05


def test_few_problems_tell_nothing_of_information():
    found = surer(12, right=0.6)
    assert found.gain_change.known
    assert (found.information_change.value, found.information_change_p) == (None, None)
    assert found.information_change.reason == "12 problems are too few to recalibrate; 20 are needed"


def test_classes_of_a_trace():
    pieces = [b"Wait", b", ", b"12", b" *", b" 3", b" is", b" 36", b".\n", b"The", b" answer", b" is", b" 36", b"."]
    steps = [Step(0, 0, 8, "", "reasoning"), Step(1, 8, 13, "", "answer")]
    found = classes_of(pieces, steps)
    assert found[:8] == ["hesitation word", "other", "number", "operator", "number", "other", "number", "other"]
    assert set(found[8:]) == {"answer"}
    split = classes_of([b"Then", b" h", b"ow", b"ev", b"er", b" +"], [Step(0, 0, 6, "", "reasoning")])
    assert split == ["step start", *["hesitation word"] * 4, "operator"]


# --- the whole ------------------------------------------------------------------------------------------------------


def test_text_from_the_command_line_into_the_database(tmp_path, quants, monkeypatch):
    db = tmp_path / "c.db"
    arguments = ["compare", str(MODEL), *quants, "--text", str(TEXT), "--ctx", "64", "--threads", "1", "--db", str(db)]
    result = CliRunner().invoke(main, [*arguments, "--positions", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [c["model"]["quant"] for c in found["candidates"]] == ["Q8_0", "Q4_0"]
    assert len(found["sentences"]) == 2
    monkeypatch.setattr(hardware, "usable_cores", lambda: 1)
    asked = [word for word in arguments if word not in ("--threads", "1")]
    again = CliRunner().invoke(main, asked)  # without --positions: the rows that are there stay
    assert again.exit_code == 0
    assert all(f"tiny-{name}.gguf" in again.stdout for name in ("f16", "Q8_0", "Q4_0"))
    with open_db(db, readonly=True) as store:
        kept = store.comparisons()
    assert len(kept) == 2  # writing twice changes nothing
    assert {row["n_positions"] for row in kept} == {14 * 31}
    asked = "select c.mean_kld, avg(kld), count(*) from divergences join comparisons c using (comparison_id) group by 1"
    rows_ = CliRunner().invoke(main, ["sql", asked, "--db", str(db), "--json"]).stdout.splitlines()
    for row in map(json.loads, rows_):
        assert row["avg(kld)"] == pytest.approx(row["mean_kld"], abs=1e-6)  # the cut takes nothing away here
        assert row["count(*)"] == 434


def test_a_task_from_the_command_line(tmp_path, bundled, monkeypatch):
    """Reference against itself: same paths, same answers, no flips; and a coarse quant, which leaves the path."""
    monkeypatch.setattr(scoring, "speed_of", lambda model, options: Speed(400.0, 40.0))
    db, out = tmp_path / "t.db", tmp_path
    quantize(bundled, out / "abacus-Q2_K.gguf", "Q2_K", QuantizeOptions(n_threads=1))
    models = [str(bundled), str(bundled), str(out / "abacus-Q2_K.gguf")]
    options = ["--task", "demo-number", "-n", "4", "--lanes", "4", "--threads", "1", "--max-tokens", "80"]
    result = CliRunner().invoke(main, ["compare", *models, *options, "--db", str(db), "--positions", "--json"])
    assert result.exit_code == 0, result.output
    same, coarse = json.loads(result.stdout)["candidates"]
    assert same["forced"]["n"] == coarse["forced"]["n"] > 0
    figures = {f["name"]: f["value"] for f in same["forced"]["figures"]}
    assert (figures["Mean KLD"], figures["Same top p"]) == (0.0, 1.0)
    assert same["free"]["identical"]["value"] == 1.0
    assert (same["free"]["right_to_wrong"], same["free"]["wrong_to_right"]) == (0, 0)
    assert same["trajectory"]["abs_delta_entropy"]["value"] == 0.0
    assert {f["name"]: f["value"] for f in coarse["forced"]["figures"]}["Mean KLD"] > 0.001
    assert coarse["free"]["identical"]["value"] < 1.0
    assert coarse["trajectory"]["abs_delta_entropy"]["value"] > 0
    assert {g["name"] for g in coarse["forced"]["classes"]} >= {"number", "operator", "answer", "step start"}
    sql = "select count(*) n, sum(d.surprisal_reference - t.surprisal) gap from divergences d join tokens t on"
    sql += " t.trace_id = d.trace_id and t.token_index = d.position - (select n_prompt from traces where trace_id ="
    sql += " d.trace_id) and t.token_id = d.token_id"
    kept = json.loads(CliRunner().invoke(main, ["sql", sql, "--db", str(db), "--json"]).stdout)
    assert kept["n"] == same["forced"]["n"] + coarse["forced"]["n"]  # every position is the trace's own token
    assert abs(kept["gap"] / kept["n"]) < 1e-2  # fed whole or token by token: the same surprisal but for rounding
    with open_db(db, readonly=True) as store:
        run = store.comparisons()[0]["source_name"]
    whole = ["compare", *models, *options, "--db", str(db), "--positions", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(teacher_forcing, "score", lambda *_, **__: pytest.fail("the same comparison was computed again"))
        for asked in (whole, [word for word in whole if word != "--positions"]):
            assert json.loads(CliRunner().invoke(main, asked).stdout) == json.loads(result.stdout)
    again = ["compare", models[0], models[2], "--run", run, "-n", "2", "--no-free", "--threads", "1", "--db", str(db)]
    first = CliRunner().invoke(main, again)
    assert first.exit_code == 0, first.output
    assert "1 candidate beside abacus-sft-f16.gguf on 2 traces of run" in first.output
    with open_db(db, readonly=True) as store:
        new = {row["comparison_id"] for row in store.comparisons()} - {c["comparison_id"] for c in (same, coarse)}
        assert [store.has_divergences(key) for key in new] == [False]
    assert CliRunner().invoke(main, [*again, "--positions"]).stdout == first.stdout
    with open_db(db, readonly=True) as store:
        assert len(store.comparisons()) == 3
        assert [store.has_divergences(key) for key in new] == [True]


@pytest.mark.parametrize(("lanes", "n", "others"), [(8, 2, 1), (4, 6, 2), (2, 3, 1), (1, 3, 2), (8, 1, 2)])
def test_the_noise_floor_runs_in_lanes_that_differ_in_what_is_computed_together(tmp_path, bundled, lanes, n, others):
    """Two attempts in eight lanes are computed together as in four: a floor in four would be without noise."""
    db, task = tmp_path / "t.db", tasks.load("demo-number")
    settings = Settings(lanes=lanes, threads=1, max_tokens=2, probe=False)
    run = runs.run(str(bundled), task.first(n), db=db, settings=settings)
    work = on_traces._work(
        [str(bundled)] * 2, on_traces.RunTraces(run_id=run.run_id, task=task, n=n), db, Plan(), SILENT
    )
    (_, floor, _), (_, candidate, _) = work.free(run.run_id)
    assert (floor.lanes, candidate.lanes) == (others, lanes)


def test_the_run_of_the_noise_floor_is_labelled_and_left_out_of_reports(tmp_path, bundled):
    """The reference's traces once more, in other lanes: no second run of the user's, and never taken up as one."""
    db = str(tmp_path / "t.db")
    options = ["--task", "demo-number", "-n", "2", "--lanes", "2", "--threads", "1", "--max-tokens", "60", "--db", db]
    assert "note" not in CliRunner().invoke(main, ["runs", "--db", db]).stdout
    assert CliRunner().invoke(main, ["run", str(bundled), "demo-number", *options[2:]]).exit_code == 0
    assert "note" not in CliRunner().invoke(main, ["runs", "--db", db]).stdout
    result = CliRunner().invoke(main, ["compare", str(bundled), str(bundled), *options, "--json"])
    floor = json.loads(result.stdout)["noise"]["run_id"]
    listed = [json.loads(line) for line in CliRunner().invoke(main, ["runs", "--db", db, "--json"]).stdout.splitlines()]
    (own,) = [row for row in listed if row["run_id"] != floor]
    assert {row["run_id"]: row["note"] for row in listed} == {
        own["run_id"]: None,
        floor: "noise floor of " + own["run_id"],
    }
    lanes = options.index("--lanes")
    asked = options[:lanes] + options[lanes + 2 :]  # as many lanes as the user's run had
    again = CliRunner().invoke(main, ["compare", str(bundled), str(bundled), *asked, "--json"])
    assert json.loads(again.stdout) == json.loads(result.stdout)
    assert len(CliRunner().invoke(main, ["runs", "--db", db, "--json"]).stdout.splitlines()) == 2
    made = CliRunner().invoke(main, ["report", "--db", db, "-o", str(tmp_path / "r.html")])
    assert "1 run." in made.output
