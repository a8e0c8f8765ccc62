"""LoRA adapters beside a model: what they do to its logits, what it is then called, and which are refused."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import adapters

from localent.cli import main
from localent.engine import Prompt, QuantizeOptions, quantize
from localent.errors import LocalentError, UsageError
from localent.records import file_parts
from localent.runs import Settings, session
from localent.store import open_db

NAMES = ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "blk.2.attn_output.weight"]
TOKENS = [5, 9, 300, 12, 40, 41]


@pytest.fixture(scope="module")
def base(bundled, tmp_path_factory):
    """The bundled model in F32, so that merging rounds nothing."""
    path = tmp_path_factory.mktemp("lora") / "base.gguf"
    quantize(bundled, path, "F32", QuantizeOptions(n_threads=1))
    return path


@pytest.fixture(scope="module")
def pairs(base):
    return adapters.pairs(base, NAMES)


def logits(name):
    """Rows of a lane and of a scorer after TOKENS: (7, n_vocab)."""
    with session.loaded(session.usable(str(name)), Settings(threads=1, lanes=1)) as ready:
        options = ready.with_ctx(64).options
        with ready.weights.lanes(options) as lanes, ready.weights.scorer(options) as scorer:
            row = np.array(lanes.prefill(0, Prompt(TOKENS)))
            return np.vstack([row, np.array(scorer.feed(TOKENS, len(TOKENS)))])


def test_an_adapter_does_what_merging_does(base, pairs, tmp_path):
    plain, lora = logits(base), adapters.write(tmp_path / "ada.gguf", pairs)
    for scale in (1.0, -0.5):
        merged = adapters.merge(base, tmp_path / f"merged{scale}.gguf", pairs, scale=scale)
        found = logits(f"{base}+{lora}:{scale:g}")
        assert np.abs(found - plain).max() > 0.1
        assert found == pytest.approx(logits(merged), abs=2e-3)


def test_adapters_add_up(base, pairs, tmp_path):
    one, two = dict(list(pairs.items())[:1]), dict(list(pairs.items())[1:])
    whole, first, second = (
        adapters.write(tmp_path / f"{n}.gguf", p) for n, p in (("w", pairs), ("a", one), ("b", two))
    )
    assert logits(f"{base}+{first}+{second}") == pytest.approx(logits(f"{base}+{whole}"), abs=1e-4)


def test_an_adapter_of_zeros_is_the_model_to_the_last_bit(base, pairs, tmp_path):
    zeros = {name: (a, np.zeros_like(b)) for name, (a, b) in pairs.items()}
    lora = adapters.write(tmp_path / "zeros.gguf", zeros)
    assert np.array_equal(logits(f"{base}+{lora}"), logits(base))


def test_a_model_with_an_adapter_is_another_model(base, pairs, tmp_path):
    lora, other = (adapters.write(tmp_path / f"{n}.gguf", pairs, alpha=a) for n, a in (("one", 8.0), ("two", 4.0)))
    spelled = [f"{base}", f"{base}+{lora}", f"{base}+{lora}:0.5", f"{base}+{other}", f"{base}+{lora}+{other}"]
    found = [session.usable(name) for name in spelled]
    assert len({file.header.model.sha256 for file in found}) == len(spelled)
    assert [file.spelled for file in found] == spelled
    assert [file.header.model.file for file in found][1:3] == ["base.gguf+one.gguf", "base.gguf+one.gguf:0.5"]
    assert found[0].header.model.name + "+one:0.5" == found[2].header.model.name
    assert session.usable(f"{base}+{lora}:1").header == found[1].header


def test_a_file_whose_name_has_a_plus_is_a_file(bundled, tmp_path):
    odd = tmp_path / "c+d.gguf"
    odd.write_bytes(bundled.read_bytes())
    assert session.usable(str(odd)).adapters == ()
    assert file_parts("abacus-sft:Q4_0+/x/a.gguf:0.5+b.gguf") == ["abacus-sft:Q4_0", "/x/a.gguf:0.5", "b.gguf"]


def changed(pairs, name, a=None, b=None):
    old = pairs[name]
    return pairs | {name: (old[0] if a is None else a, old[1] if b is None else b)}


BAD = {
    "arch": (lambda p: dict(arch="qwen2"), "is for qwen2, the model is llama"),
    "kind": (lambda p: dict(kind="ia3"), "is no LoRA adapter"),
    "half": (lambda p: dict(ends="a"), "lacks half of the pair for blk.0.attn_q.weight"),
    "name": (lambda p: dict(pairs={"blk.99.attn_q.weight": p[NAMES[0]]}), "the model has no blk.99.attn_q.weight"),
    "columns": (lambda p: dict(pairs=changed(p, NAMES[0], a=np.ones((4, 7), "f4"))), "its pair 7 x 4"),
    "rank": (lambda p: dict(pairs=changed(p, NAMES[0], a=p[NAMES[0]][0][:2])), "adapter of another model"),
    "none": (lambda p: dict(pairs={}), "holds no tensors"),
    "nan": (lambda p: dict(pairs=changed(p, NAMES[0], a=p[NAMES[0]][0] * np.nan)), "NaN or infinite weights in"),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD)
def test_an_adapter_that_does_not_fit_gets_a_sentence(base, pairs, tmp_path, make, sentence):
    adapters.write(tmp_path / "ada.gguf", **{"pairs": pairs, **make(pairs)})
    with pytest.raises(LocalentError, match=sentence):
        session.usable(f"{base}+{tmp_path}/ada.gguf")


def test_what_is_no_adapter_gets_a_sentence(base, bundled, pairs, tmp_path):
    with pytest.raises(UsageError, match=r"There is no file .*none\.gguf: name a LoRA adapter"):
        session.usable(f"{base}+{tmp_path}/none.gguf")
    with pytest.raises(LocalentError, match="is no LoRA adapter"):
        session.usable(f"{base}+{bundled}")
    lora = adapters.write(tmp_path / "ada.gguf", pairs)
    for scale in ("half", "nan", ""):
        with pytest.raises(UsageError, match=r"The scale of .* is a number"):
            session.usable(f"{base}+{lora}:{scale}")


def test_adapters_on_the_command_line(base, pairs, tmp_path):
    """--lora and MODEL+FILE are one model; a run with it is another run; in compare it is a candidate."""
    lora, text, db = adapters.write(tmp_path / "ada.gguf", pairs), tmp_path / "t.txt", str(tmp_path / "x.db")
    text.write_text("Ann has 3 apples. " * 20)

    def call(*words):
        done = CliRunner().invoke(main, [*words, "--threads", "1"])
        assert done.exit_code == 0, done.output
        return done.stdout

    found = [json.loads(call("score", *words, str(text), "--json")) for words in (
        [str(base)], [str(base), "--lora", f"{lora}:0.5"], [f"{base}+{lora}:0.5"])]  # fmt: skip
    assert found[0]["surprisal"] != found[1]["surprisal"] == found[2]["surprisal"]
    run = ["demo-number", "-n", "2", "--max-tokens", "24", "--no-probe", "--lanes", "2", "--db", db]
    call("run", str(base), *run)
    call("run", str(base), *run, "--lora", str(lora))
    with open_db(db, readonly=True) as store:
        assert len(store.runs()) == 2
        names = sorted(row["model"] for row in store.runs())
        assert names[1] == f"{names[0]}+ada"
    compared = call("compare", str(base), "--lora", str(lora), "--text", str(text), "--ctx", "32", "--db", db)
    assert "base.gguf+ada.gguf differs from the reference" in " ".join(compared.split())
