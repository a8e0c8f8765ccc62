"""Quantizing and inspecting: sizes and types, fallbacks said, importance matrices, and never half a file."""

import json
import os
import re
import signal
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from click.testing import CliRunner

from localent import engine
from localent.cli import main
from localent.engine.llama import interrupts
from localent.errors import LocalentError, UsageError
from localent.files import identity, imatrix
from localent.files.tensors import differing_tensors, fallback_sentence, inspect
from localent.runs import quantize

ONE_THREAD = engine.QuantizeOptions(n_threads=1)
TINY = Path(__file__).parents[1] / "data" / "perplexity" / "tiny-f16.gguf"


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_quants_are_made_named_and_listed(tmp_path, bundled):
    result = run("quantize", bundled, "q8_0", "Q4_K_M", "--out", tmp_path / "quants", "--json")
    assert result.exit_code == 0, result.output
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(r["quant"], Path(r["file"]).name) for r in rows] == [
        ("Q8_0", "abacus-sft-Q8_0.gguf"),
        ("Q4_K_M", "abacus-sft-Q4_K_M.gguf"),
    ]
    for row in rows:
        model = identity.identify(Path(row["file"])).model
        assert model.quant == row["quant"]
        assert row["bits per weight"] == round(model.bits_per_weight, 2)
        assert model.sha256.startswith(row["sha256"])
    assert 8.4 < rows[0]["bits per weight"] < 8.6
    assert "Warning" not in result.output  # 256 and 768: every K-quant fits


def test_fallbacks_are_said(tmp_path):
    """n_embd 64 and n_ff 128 are no multiples of 256: llama.cpp stores other types than it was asked for."""
    result = run("quantize", TINY, "Q4_K_M", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "Q4_K_M of this model is" in result.output
    assert "n_embd 64 and n_ff 128 are not multiples of 256" in result.output
    model = identity.identify(tmp_path / "tiny-Q4_K_M.gguf").model
    assert "Q4_K" not in model.tensor_types
    share = model.tensor_types["Q5_0"] / model.n_params
    assert f"{100 * share:.0f} % Q5_0" in result.output


def test_small_blocks_of_its_own_are_no_fallback(tmp_path):
    """IQ4_NL is made of blocks of 32, which fit; only its output in Q6_K has to give way."""
    assert run("quantize", TINY, "IQ4_NL", "--out", tmp_path).exit_code == 0
    details = inspect(tmp_path / "tiny-IQ4_NL.gguf")
    assert details.model.tensor_types["IQ4_NL"] > 0
    assert [fallback.type for fallback in details.fallbacks] == ["Q8_0"]
    few = replace(details, fallbacks=[replace(details.fallbacks[0], share=0.0004)])
    assert "of this model is under 1 % Q8_0: " in fallback_sentence(few)


def test_a_file_that_is_there_is_not_replaced_unless_asked(tmp_path):
    there = tmp_path / "tiny-Q8_0.gguf"
    there.write_text("mine")
    result = run("quantize", TINY, "Q8_0", "Q4_0", "--out", tmp_path)
    assert (result.exit_code, there.read_text()) == (2, "mine")
    assert "--force" in result.output
    assert not (tmp_path / "tiny-Q4_0.gguf").exists()  # refused before anything is written
    assert run("quantize", TINY, "Q8_0", "--out", tmp_path, "--force").exit_code == 0
    assert identity.identify(there).model.quant == "Q8_0"


def test_the_source_is_never_replaced(tmp_path):
    source = tmp_path / "tiny-F16.gguf"
    source.write_bytes(TINY.read_bytes())
    result = run("quantize", source, "F16", "--force")
    assert (result.exit_code, source.read_bytes() == TINY.read_bytes()) == (2, True)
    assert "the source itself" in result.output


def test_a_broken_run_leaves_no_file(tmp_path):
    """A quantized source is refused half-way by llama.cpp; what it had written is gone."""
    assert run("quantize", TINY, "Q8_0", "--out", tmp_path).exit_code == 0
    source = tmp_path / "tiny-Q8_0.gguf"
    result = run("quantize", source, "Q4_0", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "quantized itself" in result.output
    assert "--requantize" in result.output
    assert list((tmp_path / "out").iterdir()) == []
    again = run("quantize", source, "Q4_0", "--out", tmp_path / "out", "--requantize")
    assert again.exit_code == 0, again.output


def test_what_a_killed_run_left_is_swept_away_by_the_next(tmp_path):
    """kill -9 leaves a half file under a hidden name, of this quant or another; one whose process lives stays."""
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    dead = tmp_path / f".tiny-Q8_0.gguf.{int(gone.stdout)}.partial"
    alive = tmp_path / f".tiny-Q8_0.gguf.{os.getppid()}.partial"
    other = tmp_path / f".other-Q8_0.gguf.{int(gone.stdout)}.partial"
    mine = tmp_path / f".notes.{int(gone.stdout)}.partial"  # not of ours
    for path in (dead, other, alive, mine):
        path.touch()
    assert run("quantize", TINY, "Q8_0", "--out", tmp_path).exit_code == 0
    assert [path.exists() for path in (dead, other, alive, mine)] == [False, False, True, True]


def test_every_quant_that_is_offered_can_be_read_again():
    """Q2_0 is written by this llama.cpp and unknown to the reader of headers: not offered."""
    readable = {kind.name.split("_", 1)[1] for kind in gguf.LlamaFileType if "_" in kind.name}
    assert set(quantize.QUANTS) <= readable
    assert {"F32", "F16", "BF16", "Q8_0", "Q4_K_M", "IQ3_XXS"} <= set(quantize.QUANTS)


def test_what_stops_the_progress_stops_the_file(tmp_path):
    """Ctrl-C cannot pass through C; it is kept and raised afterwards, and the file never gets its name."""

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.quantize(TINY, tmp_path / "q.gguf", "Q8_0", ONE_THREAD, report=stop)
    assert list(tmp_path.iterdir()) == []


SIGNALLED = """
import os, signal, sys, threading
from pathlib import Path
from localent import engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
source, folder, numbers = Path(sys.argv[1]), Path(sys.argv[2]), [int(n) for n in sys.argv[3:]]
at_work = threading.Semaphore(0)

def send():
    for number in numbers:
        while at_work.acquire(blocking=False):
            pass
        at_work.acquire()
        print(len(list(folder.glob(".*partial"))), "half a file", flush=True)
        os.kill(os.getpid(), number)

threading.Thread(target=send, daemon=True).start()
options = engine.QuantizeOptions(n_threads=1)
try:
    engine.quantize(source, folder / "q.gguf", "Q3_K_S", options, report=lambda *count: at_work.release())
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 0),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
    ],
)
def test_a_signal_while_a_tensor_is_made_leaves_no_file(tmp_path, bundled, numbers, code):
    """Ctrl-C is raised after the call; the second one, SIGTERM and SIGHUP end the process."""
    command = [sys.executable, "-c", SIGNALLED, str(bundled), str(tmp_path), *(str(int(n)) for n in numbers)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("1 half a file")) == (code, len(numbers)), done.stderr
    assert done.stdout.endswith("stopped\n") == (code == 0)
    assert "ignored" not in done.stderr  # "Exception ignored on calling ctypes callback function"
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_command_makes_no_further_quant(tmp_path, monkeypatch):
    """The first is whole, Ctrl-C comes in the second, the third is not begun."""
    whole = engine.quantize

    def make(source, target, quant, *how):
        if quant == "Q4_0":
            raise KeyboardInterrupt
        whole(source, target, quant, *how)

    monkeypatch.setattr(engine, "quantize", make)
    result = run("quantize", TINY, "Q8_0", "Q4_0", "Q5_0", "--out", tmp_path)
    assert (result.exit_code, [path.name for path in tmp_path.iterdir()]) == (130, ["tiny-Q8_0.gguf"])
    assert "Finished quants are kept, no partial file is" in result.stderr


def test_a_held_signal_reaches_its_owner_after_the_block():
    """As while a model is loaded: nothing is raised inside, not even by a signal of the host's own."""
    seen = []

    def block():
        with interrupts.held(lambda: seen.append("given up")):
            for number in owners:
                os.kill(os.getpid(), number)
            seen.append("inside")

    owners = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: lambda *_: seen.append("term")}
    owners[signal.SIGHUP] = signal.SIG_IGN
    before = {number: signal.signal(number, owner) for number, owner in owners.items()}
    try:
        with pytest.raises(KeyboardInterrupt):
            block()
        assert seen == ["inside", "term"]
        assert {number: signal.getsignal(number) for number in owners} == owners
    finally:
        for number, owner in before.items():
            signal.signal(number, owner)


def test_progress_counts_every_tensor(tmp_path):
    seen = []
    engine.quantize(TINY, tmp_path / "q.gguf", "Q8_0", ONE_THREAD, report=lambda *count: seen.append(count))
    n = len(gguf.GGUFReader(TINY).tensors)
    assert seen == [(i, n) for i in range(1, n + 1)]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["Q9_9"], 2, "No quant 'Q9_9'"),
        (["Q8_0", "q4_km"], 2, "Did you mean 'Q4_K_M'?"),
        (["IQ2_XXS"], 1, "IQ2_XXS needs an importance matrix"),
        (["Q8_0", "--imatrix", "absent.gguf"], 2, "cannot be read"),
    ],
)
def test_bad_requests_are_one_sentence(tmp_path, arguments, code, says, bundled):
    result = run("quantize", bundled, *arguments, "--out", tmp_path)
    assert (result.exit_code, says in result.output) == (code, True), result.output
    assert list(tmp_path.glob("*")) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["F16", "F32", "BF16"])
def test_weights_that_are_not_finite_are_named_before_the_work(tmp_path, capfd, kind, value):
    """llama.cpp notices only when it is there, and writes past its log to stderr."""
    source, name = tmp_path / "broken.gguf", "blk.1.ffn_up.weight"
    engine.quantize(TINY, source, kind, ONE_THREAD)
    assert run("quantize", source, "Q8_0", "--out", tmp_path / "whole").exit_code == 0
    tensor = next(t for t in gguf.GGUFReader(source, "r+").tensors if t.name == name)
    broken = np.float32(value).tobytes()[2:] if kind == "BF16" else tensor.data.dtype.type(value).tobytes()
    tensor.data.reshape(-1).view(np.uint8)[-len(broken) :] = np.frombuffer(broken, np.uint8)
    tensor.data.flush()
    says = f"broken.gguf holds NaN or infinite weights in {name}: download it again."
    result = run("quantize", source, "Q8_0", "Q4_0", "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr) == (1, f"localent: {says}\n")
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "out").exists()
    with pytest.raises(LocalentError, match=re.escape(says)):
        quantize.make(source, tmp_path / "q.gguf", "Q8_0", ONE_THREAD)


def test_a_vocabulary_without_weights_is_not_quantized(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    for key, field in gguf.GGUFReader(TINY).fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            kind = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    result = run("quantize", tmp_path / "vocab.gguf", "Q8_0", "--out", tmp_path / "out")
    assert (result.exit_code, "holds a vocabulary only, no weights to quantize" in result.output) == (1, True)
    assert not (tmp_path / "out").exists()


# --- importance matrices --------------------------------------------------------------------------------------------


def columns_of(path: Path) -> dict[str, int]:
    return {t.name: int(t.shape[0]) for t in gguf.GGUFReader(path).tensors if len(t.shape) > 1}


def as_gguf(path: Path, weights: dict[str, np.ndarray]) -> Path:
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["calibration.txt"])
    writer.add_uint32("imatrix.chunk_count", 7)
    writer.add_uint32("imatrix.chunk_size", 512)
    for name, values in weights.items():
        writer.add_tensor(f"{name}.in_sum2", (values * 5).astype(np.float32).reshape(1, -1))
        writer.add_tensor(f"{name}.counts", np.array([[5.0]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def as_plain(path: Path, weights: dict[str, np.ndarray]) -> Path:
    parts = [struct.pack("<i", len(weights))]
    for name, values in weights.items():
        parts += [struct.pack("<i", len(name)), name.encode(), struct.pack("<ii", 5, values.size)]
        parts.append((values * 5).astype("<f4").tobytes())
    dataset = b"calibration.txt"
    path.write_bytes(b"".join([*parts, struct.pack("<ii", 7, len(dataset)), dataset]))
    return path


@pytest.mark.parametrize("write", [as_gguf, as_plain])
def test_both_forms_of_an_importance_matrix_are_read_and_used(tmp_path, bundled, write):
    rng = np.random.default_rng(0)
    weights = {name: rng.exponential(size=n).astype(np.float32) for name, n in columns_of(bundled).items()}
    path = write(tmp_path / "imatrix", weights)
    found = imatrix.read(path)
    assert (found.dataset, found.n_chunks, found.weights.keys()) == ("calibration.txt", 7, weights.keys())
    for name, values in weights.items():
        assert np.allclose(found.weights[name], values, rtol=1e-6)
    assert run("quantize", bundled, "IQ3_XXS", "--imatrix", path, "--out", tmp_path / "with").exit_code == 0
    shown = json.loads(run("inspect", tmp_path / "with" / "abacus-sft-IQ3_XXS.gguf", "--json").stdout)
    assert shown["imatrix"]["chunks_count"] == 7
    assert shown["imatrix"]["dataset"] == "calibration.txt"
    assert shown["imatrix"]["entries_count"] == len(weights)


def test_an_importance_matrix_changes_the_weights(tmp_path, bundled):
    rng = np.random.default_rng(0)
    weights = {name: rng.exponential(size=n).astype(np.float32) ** 4 for name, n in columns_of(bundled).items()}
    matrix = imatrix.read(as_gguf(tmp_path / "imatrix", weights))
    for name, chosen in (("plain", None), ("weighted", matrix)):
        engine.quantize(bundled, tmp_path / name, "Q4_K_M", engine.QuantizeOptions(n_threads=1, imatrix=chosen))
    plain, weighted = (
        {t.name: t.data.tobytes() for t in gguf.GGUFReader(tmp_path / n).tensors} for n in ("plain", "weighted")
    )
    assert plain["blk.0.ffn_up.weight"] != weighted["blk.0.ffn_up.weight"]


def test_an_importance_matrix_of_another_model_is_refused(tmp_path, bundled):
    """llama.cpp would leave it aside without a word, and still note its name in the file."""
    path = as_gguf(tmp_path / "other.imatrix", {"blk.99.ffn_up.weight": np.ones(64, np.float32)})
    result = run("quantize", TINY, "Q8_0", "--imatrix", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "other.imatrix is of another model" in result.output
    assert not (tmp_path / "out").exists()


def test_an_importance_matrix_of_another_size_is_refused(tmp_path, bundled):
    """The same names, as two sizes of one family have: only a size tells."""
    columns = columns_of(bundled)
    for name in ("blk.0.attn_k.weight", "token_embd.weight"):
        sizes = columns | {name: columns[name] // 2}
        path = as_gguf(tmp_path / "other.imatrix", {n: np.ones(size, np.float32) for n, size in sizes.items()})
        result = run("quantize", bundled, "Q4_K_M", "--imatrix", path, "--out", tmp_path / "out")
        says = f"other.imatrix is of another model: it has 128 columns for {name}, {bundled.name} has 256; make one"
        assert (result.exit_code, says in result.output) == (1, True), result.output
        assert not (tmp_path / "out").exists()


def test_files_that_are_no_importance_matrix_are_refused(tmp_path):
    for name, content in {"text": b"hello, hello", "short": b"\x01", "huge": struct.pack("<iiq", 2**30, 5, 0)}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LocalentError, match="not an importance matrix"):
            imatrix.read(tmp_path / name)
    with pytest.raises(UsageError, match="cannot be read"):
        imatrix.read(tmp_path / "absent")
    with pytest.raises(LocalentError, match="holds no importance data"):
        imatrix.read(TINY)


def test_sigterm_ends_the_command_amid_a_quant_and_leaves_no_file(tmp_path, bundled):
    """The command has a handler of its own; a long quantization must not outlast it."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = ["quantize", bundled, "Q3_K_S", "--threads", "1", "--out", tmp_path]
    child = subprocess.Popen([sys.executable, "-m", "localent", *map(str, words)], env=env)
    while not list(tmp_path.glob(".*partial")):
        assert child.poll() is None
    child.terminate()
    assert child.wait(60) == 143
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("values", [-1.0, float("nan")])
@pytest.mark.parametrize("write", [as_gguf, as_plain], ids=["gguf", "plain"])
def test_importance_below_zero_is_refused(tmp_path, write, values):
    """llama.cpp ends the process on it in I-quants."""
    path = write(tmp_path / "imatrix", {"blk.0.ffn_up.weight": np.full(64, values, np.float32)})
    result = run("quantize", TINY, "IQ4_NL", "--imatrix", path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "negative or not finite" in result.output


@pytest.mark.parametrize("place", ["HF_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE", "LLM_USER_PATH"])
def test_nothing_is_written_into_the_folder_of_another_program(tmp_path, monkeypatch, place):
    """Which would not know the file, and may clear it away."""
    home, own = tmp_path / "theirs" / "models", tmp_path / "own"
    home.mkdir(parents=True)
    own.mkdir()
    monkeypatch.chdir(own)
    monkeypatch.setenv(place, str(tmp_path / "theirs"))
    source = home / "tiny-f16.gguf"
    source.write_bytes(TINY.read_bytes())
    assert run("quantize", source, "Q8_0").exit_code == 0
    assert [path.name for path in own.iterdir()] == ["tiny-Q8_0.gguf"]
    result = run("quantize", source, "Q8_0", "--out", home / "new")
    assert result.exit_code == 2
    assert "another program's: name a folder of your own with --out" in result.output
    assert [path.name for path in home.iterdir()] == ["tiny-f16.gguf"]


def test_a_file_that_would_end_llama_cpp_is_tried_in_a_child_first(tmp_path, monkeypatch):
    """Its quantizer asserts that every layer has values: a model without some ended the interpreter."""
    import random_model

    plain = random_model.tensors
    monkeypatch.setattr(random_model, "tensors", lambda *of: [t for t in plain(*of) if t[0] != "blk.1.attn_v.weight"])
    source = random_model.write(tmp_path / "odd.gguf", random_model.SHAPES["tiny-llama"])
    result = run("quantize", source, "Q8_0", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "blk.1.attn_v.weight" in result.output


# --- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_shows_files_side_by_side(tmp_path, bundled):
    run("quantize", bundled, "Q4_K_M", "--out", tmp_path)
    shown = run("inspect", bundled, tmp_path / "abacus-sft-Q4_K_M.gguf").stdout
    for word in ("sha256", "bits per weight", "tokenizer", "chat template", "Q4_K", "Q6_K", "F16", "context"):
        assert word in shown
    assert "are different" not in shown  # two quants: their labels and types say so


def test_the_same_content_under_two_names_is_the_same(tmp_path):
    (tmp_path / "copy.gguf").write_bytes(TINY.read_bytes())
    assert "are the same file" in run("inspect", TINY, tmp_path / "copy.gguf").stdout


def test_files_of_one_label_are_set_beside_each_other(tmp_path):
    """Two Q8_0 after an F16: the second is compared with the first Q8_0, whose label it bears."""
    for seed in ("one", "two"):
        engine.quantize(TINY, tmp_path / f"{seed}.gguf", "Q8_0", ONE_THREAD)
    tensor = next(t for t in gguf.GGUFReader(tmp_path / "two.gguf", "r+").tensors if t.name == "blk.1.ffn_up.weight")
    tensor.data[0, 5] ^= 1
    tensor.data.flush()
    shown = run("inspect", TINY, tmp_path / "one.gguf", tmp_path / "two.gguf").stdout
    assert "tiny-f16.gguf" not in shown.splitlines()[-1]
    assert "one.gguf and two.gguf are different despite one label: 1 of 20 tensors differ" in shown


def test_a_tensor_in_a_later_part_of_a_split_model_counts(tmp_path, random_model):
    """Split in files of six tensors: the last part is another, and nothing else."""
    import random_model as made

    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.write(tmp_path / name / "m.gguf", made.SHAPES["tiny-llama"], parts_of=6)
    last = sorted((tmp_path / "two").iterdir())[-1]
    tensor = gguf.GGUFReader(last, "r+").tensors[0]
    tensor.data[:1] *= 2
    tensor.data.flush()
    first = [sorted((tmp_path / name).iterdir())[0] for name in ("one", "two")]
    shown = run("inspect", *first).stdout
    assert f"1 of 20 tensors differ ({tensor.name})" in shown


def test_a_split_model_becomes_one_quant(tmp_path, random_model):
    import random_model as made

    made.write(tmp_path / "m.gguf", made.SHAPES["tiny-llama"], parts_of=6)
    made.write(tmp_path / "whole.gguf", made.SHAPES["tiny-llama"])
    first = sorted(tmp_path.glob("m-*.gguf"))[0]
    result = run("quantize", first, "Q8_0", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert run("quantize", tmp_path / "whole.gguf", "Q8_0", "--out", tmp_path / "out").exit_code == 0
    made_of_parts, of_whole = (inspect(tmp_path / "out" / f"{n}-Q8_0.gguf") for n in ("m", "whole"))
    assert made_of_parts.n_tensors == of_whole.n_tensors == 20
    assert differing_tensors(tmp_path / "out" / "m-Q8_0.gguf", tmp_path / "out" / "whole-Q8_0.gguf") == []


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.gguf").write_bytes(TINY.read_bytes())
    shown = run("inspect", tmp_path / "a" / "m.gguf", tmp_path / "b" / "m.gguf").stdout
    assert f"{tmp_path}/a/m.gguf and {tmp_path}/b/m.gguf are the same file" in shown


def test_what_is_no_model_is_an_error(tmp_path):
    (tmp_path / "notes.gguf").write_text("hello")
    result = run("inspect", TINY, tmp_path / "notes.gguf")
    assert (result.exit_code, "is not a GGUF file" in result.output) == (1, True)


def test_a_cut_off_copy_is_an_error(tmp_path):
    (tmp_path / "cut.gguf").write_bytes(TINY.read_bytes()[:-1000])
    result = run("inspect", tmp_path / "cut.gguf")
    assert (result.exit_code, "damaged or cut off" in result.output) == (1, True)


# --- as quant makers do ---------------------------------------------------------------------------------------------


def types_of(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def made(bundled, tmp_path, *options, quant="Q4_K_M"):
    result = run("quantize", bundled, quant, "--out", tmp_path, "--threads", "1", *options)
    assert result.exit_code == 0, result.output
    return types_of(tmp_path / f"abacus-sft-{quant}.gguf")


def test_tensors_get_the_types_that_were_asked_for_by_name(tmp_path, bundled):
    usual = made(bundled, tmp_path / "usual")
    chosen = made(
        bundled, tmp_path / "chosen", "--tensor-type", "ffn_down=Q8_0", "--tensor-type", r"blk\.[01]\.attn_v=q5_k"
    )
    differing = {name for name in usual if usual[name] != chosen[name]}
    assert {chosen[name] for name in chosen if "ffn_down" in name} == {"Q8_0"}
    assert {chosen[f"blk.{i}.attn_v.weight"] for i in (0, 1)} == {"Q5_K"}
    assert all("ffn_down" in name or "attn_v" in name for name in differing)  # a mixture counts what is left to it


def test_the_embeddings_and_a_pure_quant(tmp_path, bundled):
    embedded = made(bundled, tmp_path / "a", "--token-embedding-type", "Q8_0")
    assert embedded["token_embd.weight"] == "Q8_0"
    pure = made(bundled, tmp_path / "b", "--pure")
    wide = {kind for name, kind in pure.items() if "norm" not in name}
    assert wide == {"Q4_K"}
    assert {kind for name, kind in made(bundled, tmp_path / "c").items() if "norm" not in name} > {"Q4_K"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tensor-type", "attn_v"], "is not written PATTERN=TYPE"),
        (["--tensor-type", "attn_v=Q9_9"], "No tensor type 'Q9_9' in llama.cpp"),
        (["--output-tensor-type", "Q8_K"], "No tensor type 'Q8_K' in llama.cpp"),
        (["--tensor-type", "[a=Q8_0"], "is not a regular expression"),
        (["--tensor-type", "a?+=Q8_0"], "is too unusual"),
        (["--tensor-type", "^*=Q8_0"], "is"),
        (["--tensor-type", "[a-b-c]=Q8_0"], "is too unusual"),
        (["--tensor-type", "(?i)a=Q8_0"], "is too unusual"),
    ],
)
def test_types_that_do_not_work_are_refused_before_a_file_is_written(tmp_path, options, says):
    result = run("quantize", TINY, "Q8_0", "--out", tmp_path / "q", *options)
    assert (result.exit_code, says in result.output) == (2, True), result.output
    assert not list((tmp_path / "q").glob("*"))


def test_a_quant_without_a_weight_of_its_own_type_is_told(tmp_path, bundled):
    """MXFP4_MOE gives MXFP4 to the experts of a mixture; a dense model has none."""
    result = run("quantize", bundled, "MXFP4_MOE", "Q8_0", "--out", tmp_path, "--threads", "1")
    assert result.exit_code == 0, result.output
    assert re.search(
        r"MXFP4_MOE of this model is \d+\.\d % Q8_0 and has no MXFP4, which only the experts", result.output
    )
    assert "Q8_0 of this model" not in result.output


@pytest.mark.parametrize(
    ("quant", "own"),
    [("Q4_K_M", "Q4_K"), ("Q8_0", "Q8_0"), ("IQ3_XXS", "IQ3_XXS"), ("MXFP4_MOE", "MXFP4"), ("F16", "F16"), ("X", None)],
)
def test_the_type_that_a_quant_is_named_after(quant, own):
    from localent.files.tensors import own_type

    assert own_type(quant) == own


@pytest.mark.parametrize(
    ("values", "says"),
    [([1, -0.5, 2], "negative or not finite"), ([], "nothing but zeros"), ([0, 0, 0], "nothing but zeros")],
)
def test_an_importance_matrix_that_would_end_the_process_is_refused(tmp_path, values, says):
    name = b"blk.0.attn_q.weight"
    body = struct.pack("<i", 1) + struct.pack("<i", len(name)) + name + struct.pack("<ii", 1, len(values))
    path = tmp_path / "odd.dat"
    path.write_bytes(body + np.array(values, "<f4").tobytes())
    with pytest.raises(LocalentError, match=f"odd.dat has .*{says}"):
        imatrix.read(path)
