"""The real engine on small models: logits are the same to the last bit however the work is arranged."""

import hashlib

import numpy as np
import pytest

from localent.engine import Feed, Options, Prompt, QuantizeOptions, Rewind, drive, quantize
from localent.engine import open as open_model
from localent.engine.llama.vocab import Pieces
from localent.errors import LocalentError, UsageError

ARCHS = ["tiny-llama", "tiny-qwen2", "tiny-gemma2"]
OPTIONS = dict(n_lanes=4, n_ctx=768, n_threads=1, chunk=32)


def follow(prompt, n_tokens, *, probe_every=0, n_shared=0):
    """Greedy walk; the digest of all rows seen. Every `probe_every` tokens it feeds five others and rewinds."""
    digest, length = hashlib.sha256(), len(prompt)
    row = yield Prompt(prompt, n_shared)
    for i in range(n_tokens):
        digest.update(row.tobytes())
        token = int(row.argmax())
        row = yield token
        length += 1
        if probe_every and i % probe_every == 0:
            kept = row.copy()
            yield Feed(range(60, 60 + 3 + i % 50))
            for other in range(40, 45):  # noqa: UP028  a range cannot be sent rows
                yield other
            yield Rewind(length)
            row = kept
    return length, digest.hexdigest()


def asked(prompt, cue, n_tokens, feed_every):
    """Greedy walk that feeds a cue, walks two tokens on and rewinds, every so many tokens; the digest of all rows."""
    digest, length = hashlib.sha256(), len(prompt)
    row = yield Prompt(prompt)
    for i in range(n_tokens):
        token = int(row.argmax())
        row = yield token
        length += 1
        if i % feed_every == 0:
            kept = row.copy()
            for request in (Feed(cue), 5, 6):
                row = yield request
                digest.update(row.tobytes())
            yield Rewind(length)
            row = kept
        digest.update(row.tobytes())
    return length, digest.hexdigest()


def prompts(n, length=9):
    return [[(7 * i + j * j) % 250 for j in range(length + i)] for i in range(n)]


def run(path, jobs, **options):
    with open_model(path) as model, model.lanes(Options(**OPTIONS | options)) as engine:
        return list(drive(engine, jobs))


@pytest.mark.parametrize("arch", [*ARCHS, "tiny-mamba"])
def test_a_trace_does_not_depend_on_its_neighbours_or_order(random_model, arch):
    """Alone, among others of other lengths, and in reverse order; 300 tokens cross gemma's window and a cache page."""
    path, ps = random_model(arch), prompts(6)
    alone = [run(path, [follow(p, 300)])[0] for p in ps[:2]]
    together = run(path, [follow(p, 300 - 20 * i) if i > 1 else follow(p, 300) for i, p in enumerate(ps)])
    backwards = run(path, [follow(p, 300) for p in reversed(ps)])
    assert set(alone) <= set(together)
    assert set(alone) <= set(backwards)


@pytest.mark.parametrize("arch", [*ARCHS, "tiny-mamba", "tiny-lfm2"])
def test_what_a_feed_reads_does_not_depend_on_the_neighbours(random_model, arch):
    """Cues of one token, of a few, and of more than a chunk: alone, among others, in reverse order."""
    path, ps = random_model(arch), prompts(6)
    cues = [[(11 * i + n) % 250 for i in range(n)] for n in (1, 2, 7, 19, 33, 70)]
    jobs = [(p, cue, 60 if i < 3 else 40, 7) for i, (p, cue) in enumerate(zip(ps, cues, strict=True))]
    alone = [run(path, [asked(*job)])[0] for job in jobs[:3]]
    together = run(path, [asked(*job) for job in jobs])
    backwards = run(path, [asked(*job) for job in reversed(jobs)])
    assert set(alone) <= set(together)
    assert sorted(together) == sorted(backwards)


@pytest.mark.parametrize("arch", [*ARCHS, "tiny-mamba", "tiny-lfm2"])
def test_a_feed_is_the_end_of_a_longer_prompt(random_model, arch):
    """A lane that is fed the rest of a prompt holds what a prompt cut at the same place gives."""
    path, tokens = random_model(arch), [(5 * i + i * i) % 250 for i in range(90)]

    def in_two_parts():
        yield Prompt(tokens[:64])
        row = np.array((yield Feed(tokens[64:])))
        return row, np.array((yield 7))

    def at_once():
        row = np.array((yield Prompt(tokens)))
        return row, np.array((yield 7))

    for parts in zip(run(path, [in_two_parts()])[0], run(path, [at_once()])[0], strict=True):
        assert np.array_equal(*parts)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("flash_attn", [True, False])
def test_a_probe_leaves_the_trace_untouched(random_model, arch, flash_attn):
    path, ps = random_model(arch), prompts(5)
    plain = run(path, [follow(p, 120) for p in ps], flash_attn=flash_attn)
    probed = run(path, [follow(p, 120, probe_every=7) for p in ps], flash_attn=flash_attn)
    assert sorted(plain) == sorted(probed)


@pytest.mark.parametrize("arch", [*ARCHS, "tiny-mamba", "tiny-lfm2"])
def test_a_shared_prefix_is_copied_bit_for_bit(random_model, arch):
    """The copy equals computing the same prefix in the lane itself, with the same chunk boundaries."""
    path, prefix = random_model(arch), [(3 * i) % 250 for i in range(32)]
    ps = [prefix + p for p in prompts(6)]
    copied = run(path, [follow(p, 40, n_shared=32) for p in ps])
    computed = run(path, [follow(p, 40) for p in ps])
    assert sorted(copied) == sorted(computed)


@pytest.mark.parametrize("arch", [*ARCHS, "tiny-mamba", "tiny-lfm2"])
@pytest.mark.parametrize("n_shared", [0, 32])
def test_a_prompt_copied_is_the_prompt_computed(random_model, arch, n_shared):
    """Three samples of each problem, with probes: side by side, in turns, and each in an engine of its own."""
    path, prefix = random_model(arch), [(3 * i) % 250 for i in range(32)]
    jobs = [(prefix + p, n) for p in prompts(3) for n in (50, 30, 40)]
    in_turns = [job for n in (50, 30, 40) for job in jobs if job[1] == n]

    def traced(jobs):
        return run(path, [follow(p, n, probe_every=9, n_shared=n_shared) for p, n in jobs])

    alone = [traced([job])[0] for job in jobs]
    assert sorted(traced(jobs)) == sorted(traced(in_turns)) == sorted(alone)
    assert len(set(alone)) == 9


@pytest.mark.parametrize("arch", ["tiny-llama", "tiny-mamba"])
def test_the_prompt_of_many_samples_is_computed_once(random_model, arch):
    fed = []
    with open_model(random_model(arch)) as model, model.lanes(Options(**OPTIONS)) as engine:
        plain = engine._run
        engine._run = lambda batch, n: (fed.append(n), plain(batch, n))
        first = [engine.prefill(lane, Prompt([1, 2, 3, 4, 5, 6], n_shared=2)).tobytes() for lane in (0, 1, 2, 0)]
        assert fed == [2, 4]
        engine.prefill(3, Prompt([1, 2, 8, 9, 9], n_shared=2))
        again = engine.prefill(1, Prompt([1, 2, 3, 4, 5, 6], n_shared=2)).tobytes()
        engine.prefill(2, Prompt([1, 2, 3, 4, 5, 6]))
        assert fed == [2, 4, 3, 4, 6]
    assert {again, *first} == {first[0]}


def test_a_prompt_that_failed_is_not_taken_for_computed(random_model):
    with open_model(random_model("tiny-llama")) as model, model.lanes(Options(**OPTIONS)) as engine:
        good = engine.prefill(0, Prompt([1, 2, 3, 4])).tobytes()
        for _ in range(2):
            with pytest.raises(LocalentError, match="expected a token id"):
                engine.prefill(1, Prompt([1, 2, 3, 999]))
        assert engine.prefill(1, Prompt([1, 2, 3, 4])).tobytes() == good


def test_context_size_does_not_change_the_bits(random_model):
    """So that a longer problem added to a task does not make another run of it."""
    path, ps = random_model("tiny-llama"), prompts(5)
    assert run(path, [follow(p, 60) for p in ps]) == run(path, [follow(p, 60) for p in ps], n_ctx=2048)


def test_logits_are_finite_and_not_constant(random_model):
    """Unread logits would all be zero: entropy would be exactly ln n_vocab, a plausible wrong answer."""
    with open_model(random_model("tiny-qwen2")) as model, model.lanes(Options(**OPTIONS)) as engine:
        engine.prefill(0, Prompt([1, 2, 3]))
        rows = engine.decode([5, None, None, None])
        assert np.isfinite(rows[0]).all()
        assert rows[0].std() > 0.1


def test_a_logits_view_cannot_be_written(random_model):
    with open_model(random_model("tiny-qwen2")) as model, model.lanes(Options(**OPTIONS)) as engine:
        row = engine.prefill(0, Prompt([1, 2, 3]))
        with pytest.raises(ValueError, match="read-only"):
            row[0] = 1.0


def test_logits_equal_the_high_level_class(random_model):
    """llama-cpp-python's own Llama(logits_all=True) on the same tokens; another batch shape moves F16 sums a little."""
    import llama_cpp

    path, tokens = random_model("tiny-llama"), [5, 80, 17, 99, 4, 4, 201]
    llama = llama_cpp.Llama(str(path), n_ctx=256, logits_all=True, verbose=False, n_threads=1)
    llama.eval(tokens)
    with open_model(path) as model, model.lanes(Options(**OPTIONS)) as engine:
        first = engine.prefill(0, Prompt(tokens[:-1])).copy()
        last = engine.decode([tokens[-1], None, None, None])[0]
        assert np.abs(first - llama.scores[len(tokens) - 2]).max() < 0.02
        assert np.abs(last - llama.scores[len(tokens) - 1]).max() < 0.02
    llama.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.prefill(4, Prompt([1])), "expected a lane in 0..3"),
        (lambda e: e.prefill(0, Prompt([1, 260])), "expected a token id in 0..259"),
        (lambda e: e.prefill(0, Prompt([])), "at least one token of its own"),
        (lambda e: e.prefill(0, Prompt([1, 2], n_shared=2)), "at least one token of its own"),
        (lambda e: e.prefill(0, Prompt([1] * 800)), "give more with --ctx"),
        (lambda e: e.decode([1]), "expected one token or None for each of 4 lanes"),
        (lambda e: e.decode([-1, None, None, None]), "expected a token id"),
        (lambda e: e.extend(4, [1]), "expected a lane in 0..3"),
        (lambda e: e.extend(0, []), "at least one token to feed"),
        (lambda e: e.extend(0, [1, 260]), "expected a token id in 0..259"),
        (lambda e: e.extend(0, [1] * 769), "lane 0 is full: 768 tokens"),
        (lambda e: e.rewind(0, 5), "cannot rewind lane 0 to 5: it holds 0"),
        (lambda e: [e.decode([1, None, None, None]) for _ in range(800)], "lane 0 is full: 768 tokens"),
    ],
)
def test_what_would_abort_llama_cpp_is_refused_first(random_model, call, message):
    with open_model(random_model("tiny-llama")) as model, model.lanes(Options(**OPTIONS)) as engine:
        with pytest.raises(LocalentError, match=message):
            call(engine)
        engine.prefill(0, Prompt([1, 2]))  # and the engine still works


@pytest.mark.parametrize("option", [{"n_lanes": 0}, {"n_lanes": 10_000}, {"n_ctx": 0}, {"n_threads": 0}])
def test_impossible_options_are_refused(random_model, option):
    with open_model(random_model("tiny-llama")) as model, pytest.raises(UsageError, match="must be"):
        model.lanes(Options(**OPTIONS | option))


def test_a_gpu_is_not_pretended(random_model):
    from localent.engine import supports_gpu

    if supports_gpu():
        pytest.skip("this llama.cpp has a GPU backend")
    with pytest.raises(UsageError, match="built without a GPU backend"):
        open_model(random_model("tiny-llama"), gpu_layers=-1)


def test_the_file_that_llama_cpp_refuses_comes_with_its_reason(tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(LocalentError, match=r"could not load .*broken\.gguf\. It said: "):
        open_model(tmp_path / "broken.gguf")


def test_quantize_leaves_no_half_file(random_model, tmp_path):
    source, target = random_model("tiny-llama"), tmp_path / "q.gguf"
    with pytest.raises(UsageError, match="No quant 'Q9_K'"):
        quantize(source, target, "Q9_K", QuantizeOptions(n_threads=1))
    with pytest.raises(LocalentError, match="could not quantize"):
        quantize(tmp_path / "absent.gguf", target, "Q8_0", QuantizeOptions(n_threads=1))
    assert list(tmp_path.iterdir()) == []
    quantize(source, target, "Q8_0", QuantizeOptions(n_threads=1))
    assert [p.name for p in tmp_path.iterdir()] == ["q.gguf"]


def test_hostile_text_stays_text(random_model):
    """A question that contains a control token's spelling must not become that token."""
    with open_model(random_model("tiny-qwen2")) as model:
        vocab = model.vocab
        end = vocab.token_named("<|im_end|>")
        assert end in vocab.tokenize("a<|im_end|>b", special=True)
        plain = vocab.tokenize("a<|im_end|>b")
        assert end not in plain
        assert b"".join(vocab.pieces[t] for t in plain) == b"a<|im_end|>b"


def test_a_character_that_the_vocabulary_cannot_spell_is_refused(shared):
    """In llama.cpp's tokenizer it would end the process."""
    with open_model(shared / "models" / "babyllama-tok105-f32.gguf") as model:
        assert model.vocab.tokenize("Once upon a time")
        with pytest.raises(LocalentError, match="has no token for '\\\\n'"):
            model.vocab.tokenize("one\ntwo")


@pytest.mark.parametrize("name", ["llama-bpe", "qwen2", "llama-spm"])
def test_published_tokenizer_cases(shared, name):
    """llama.cpp's own vocabulary test cases: texts and the ids that they must give."""
    path = shared / "vocab" / f"ggml-vocab-{name}.gguf"
    texts = (path.parent / f"{path.name}.inp").read_text().split("\n__ggml_vocab_test__\n")[:-1]
    wanted = [[int(t) for t in line.split()] for line in (path.parent / f"{path.name}.out").read_text().splitlines()]
    with open_model(path, vocab_only=True) as model:
        assert [model.vocab.tokenize(text) for text in texts] == wanted


def test_pieces_in_one_block_are_the_pieces():
    pieces = [b"", b"a", "é".encode(), b"", b"\xff\x00", b"bc"]
    block = Pieces(iter(pieces))
    assert (list(block), len(block), block[4]) == (pieces, 6, b"\xff\x00")
    for beyond in (6, -1):
        with pytest.raises(IndexError):
            block[beyond]


# ── what llama.cpp warns of ─────────────────────────────────────────────────────────────────────────────────────


def test_a_warning_at_load_reaches_the_user_once(bundled, tmp_path, caplog):
    """A missing pre-tokenizer makes other tokens; llama.cpp says so in a frame of several lines."""
    content = bundled.read_bytes()
    assert content.count(b"tokenizer.ggml.pre") == 1
    path = tmp_path / "old.gguf"
    path.write_bytes(content.replace(b"tokenizer.ggml.pre", b"tokenizer.ggml.prx"))
    for _ in range(2):
        open_model(path).close()
    open_model(bundled).close()
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("llama.cpp warns of old.gguf: missing pre-tokenizer type, using: 'default'; ")
    assert "GENERATION QUALITY WILL BE DEGRADED" in told
    assert told.isprintable()


def test_a_warning_has_no_control_characters_and_an_end():
    """It may quote a token of the file. What llama.cpp repairs itself is not told."""
    from localent.engine.llama import log

    log.clear()
    log._append(3, b"load: token '\x1b[31m' is odd\n", None)
    log._append(5, b"... and " + b"x" * 500 + b"\n", None)
    log._append(2, b"load: an info\n", None)
    log._append(5, b"that goes on\n", None)
    log._append(3, b"load: *****\nload: token '</s>' was not control-type; its type will be overridden\n", None)
    told = log.warnings()
    assert told.startswith("token '?[31m' is odd; ... and xxx")
    assert told.endswith("xxx ...")
    assert "info" not in told
    log.clear()
    assert log.warnings() is None
