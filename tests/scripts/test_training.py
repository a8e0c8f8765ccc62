"""The bundled models: problems that are true, a split that holds, and weights that llama.cpp reads as PyTorch does."""

from __future__ import annotations

import collections
import ctypes
import hashlib
import json
import random
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from localent.analysis.family import FAMILY
from localent.models.names import entries

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "scripts" / "train"
DEMO = ROOT / "localent" / "demo"
sys.path.append(str(TRAINING))

from checkpoints import CHECKPOINTS  # noqa: E402 - the training scripts are no package
from choice_problems import (  # noqa: E402
    FAMILIES,
    best_rate,
    choice_problem,
    first_in_order,
    in_range,
    who_has_most,
)
from demo_problems import SEED, choice_problems, number_problems, row  # noqa: E402
from documents import (  # noqa: E402
    equalities,
    finetune_document,
    option_lookups,
    order_lookups,
    pretrain_document,
    shuffled_checks,
)
from number_problems import LARGEST, MOST_STEPS, number_problem  # noqa: E402
from problems import OPERATIONS, Problem, draw, lines, solution, values  # noqa: E402
from words import ORDERS  # noqa: E402

EQUATION = re.compile(r"(\d+) ([-+*/]) (\d+) = (\d+)")
NAMED = re.compile(r"([A-E])\) (\w+)(:?)")  # label, text, whether the option is looked at here


def numbers(n: int, seed: int, held_out: bool = False) -> list[Problem]:
    rng = random.Random(seed)
    return [draw(lambda r, i=i: number_problem(r, 1 + i % MOST_STEPS), rng, held_out) for i in range(n)]


def choices(n: int, seed: int, held_out: bool = False) -> list[Problem]:
    rng = random.Random(seed)
    return [draw(choice_problem, rng, held_out) for _ in range(n)]


@pytest.mark.parametrize("problem", [*numbers(60, 1), *choices(60, 1)], ids=lambda p: p.skeleton[:40])
def test_every_equation_of_a_solution_is_true(problem: Problem) -> None:
    """Each step's equation holds, and divisions leave no remainder."""
    for left, op, right, value in EQUATION.findall(solution(problem)):
        assert OPERATIONS[op](int(left), int(right)) == int(value)
        assert op != "/" or int(left) % int(right) == 0


def test_number_answers_are_the_last_step_and_no_value_is_too_large() -> None:
    for i, problem in enumerate(numbers(300, 2)):
        last = EQUATION.findall(lines(problem)[-1])[-1][-1]
        assert problem.answer == last
        assert all(0 <= v <= LARGEST for v in values(problem.steps))
        assert len(problem.steps) == 1 + i % MOST_STEPS


def test_choice_options_differ_and_the_label_points_at_the_conclusion() -> None:
    """The last step names the text of the true option, and no two options are the same."""
    for problem in choices(400, 3):
        options = dict(problem.choices)
        assert len(set(options.values())) == len(options) >= 3
        assert re.search(rf"(?<!\d){re.escape(options[problem.answer])}(?!\d)", lines(problem)[-1])


def test_steps_name_the_options_in_order_and_end_at_the_true_one() -> None:
    """ "B) Tom: ..." stands only where option B is Tom, labels come in order, and the one accepted is the answer."""
    for problem in choices(400, 7):
        named = [match for line in lines(problem) for match in NAMED.findall(line)]
        checks = [(label, text) for label, text, colon in named if colon]
        assert checks == list(problem.choices)[: len(checks)]
        accepted = [line[0] for line in lines(problem) if line.endswith(" yes.")] or [named[-1][0]]
        assert accepted == [problem.answer]


@pytest.mark.parametrize("make", [who_has_most, best_rate], ids=lambda f: f.__name__)
def test_the_last_one_in_front_is_the_answer(make) -> None:
    rng = random.Random(8)
    for problem in (draw(make, rng, False) for _ in range(200)):
        in_front = [line[0] for line in lines(problem) if line.endswith("in front.")]
        assert in_front[-1] == problem.answer


def test_a_range_is_the_one_that_holds_the_result() -> None:
    rng = random.Random(8)
    for problem in (draw(in_range, rng, False) for _ in range(300)):
        result = int(EQUATION.findall(solution(problem))[-1][-1])
        low, high = (re.findall(r"\d+", dict(problem.choices)[problem.answer]) * 2)[:2]
        if problem.answer in "AD":
            assert result < int(low) if problem.answer == "A" else result >= int(low)
        else:
            assert int(low) <= result <= int(high)


def test_the_first_in_order_loses_no_comparison() -> None:
    """Told again as pairs, everybody but the answer stands on the losing side once."""
    rng = random.Random(8)
    for problem in (draw(first_in_order, rng, False) for _ in range(200)):
        pairs = [pair.split(">") for pair in problem.skeleton.split()[2:]]
        losers = sorted(loser for _, loser in pairs)
        assert losers == sorted(text for label, text in problem.choices if label != problem.answer)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_true_label_is_uniform(family) -> None:
    """Among four options each label is right in 17 to 33 % of 600 problems."""
    rng = random.Random(4)
    four = [p for p in (draw(family, rng, False) for _ in range(600)) if len(p.choices) == 4]
    counts = collections.Counter(p.answer for p in four)
    assert set(counts) == set("ABCD")
    assert all(0.17 < n / len(four) < 0.33 for n in counts.values())


def test_shipped_problems_never_occur_in_training() -> None:
    """No skeleton and no question of the shipped files is drawn for training."""
    shipped = [*number_problems(300, SEED), *choice_problems(300, SEED)]
    assert all(p.held_out for p in shipped)
    trained = [*numbers(6000, 5), *choices(6000, 5)]
    assert {p.skeleton for p in shipped}.isdisjoint(p.skeleton for p in trained)
    assert {p.question for p in shipped}.isdisjoint(p.question for p in trained)


def test_same_seed_same_documents() -> None:
    def document(seed: int) -> str:
        rng = random.Random(seed)
        return "".join(p.text for make in (pretrain_document, finetune_document) for p in make(rng))

    assert document(6) == document(6) != document(7)


def test_early_answers_are_trained_but_never_the_decision_to_give_them() -> None:
    """Where the solution is cut, the cue is read only; the answer after it counts. About a quarter of documents."""
    rng = random.Random(8)
    documents = [finetune_document(rng) for _ in range(2000)]
    early = [d for d in documents if not d[2].trained]
    assert all(d[2].text == "The answer is" and d[3].trained for d in documents)
    assert 0.21 < len(early) / len(documents) < 0.29


def test_drills_tell_the_truth() -> None:
    """What counts in a drill follows from what is read before it: a label's text, a verdict, a lost comparison."""
    rng = random.Random(9)
    for _ in range(300):
        read, *pairs = option_lookups(rng)
        options = dict(line.split(") ") for line in read.text.splitlines() if line[1] == ")")
        assert {pairs[i].text[0]: pairs[i + 1].text.strip() for i in range(0, len(pairs), 2)} == options
        read, *rest = equalities(rng, near=rng.random() < 0.5)
        result = read.text.rsplit("= ", 1)[1].split()[0].strip(".,")
        for number, verdict in zip(rest[::3], rest[1::3], strict=True):
            assert verdict.text == (" yes" if number.text[3:-1] == result else " no")
        read, *rest = order_lookups(rng)
        for name, lost in zip(rest[::2], rest[1::2], strict=True):
            loser, (word, _, winner) = name.text[:-1], lost.text.split()
            told = re.search(rf"(\w+) was \w+ than {loser}\.", read.text)
            assert (told[1] if told else "none") == winner
            up = re.search(r"was (\w+) than", read.text)[1]
            assert {word, up} in [{order[0], order[2]} for order in ORDERS]
        assert sum(": yes." in p.text or ", yes." in p.text for p in shuffled_checks(rng)) == 1


def test_drills_show_no_held_out_ordering() -> None:
    """The one kind of problem whose skeleton is what the drill says."""
    rng = random.Random(10)
    shipped = [p for p in choice_problems(300, SEED) if p.skeleton.startswith("order")]
    told = {p.question.rpartition(". ")[0] for p in shipped}
    drilled = {order_lookups(rng)[0].text.rpartition(". ")[0] for _ in range(5000)}
    assert told.isdisjoint(drilled)


@pytest.mark.parametrize(("name", "make"), [("number", number_problems), ("choice", choice_problems)])
def test_shipped_files_are_what_the_scripts_make(name: str, make) -> None:
    kept = [json.loads(line) for line in (DEMO / f"demo-{name}.jsonl").read_text().splitlines()]
    assert kept == [row(p, i) for i, p in enumerate(make(300, SEED), start=1)]
    if name == "number":
        assert set(collections.Counter(r["n_steps"] for r in kept).values()) == {50}


# llama.cpp. The raw bindings, because logits of every position are wanted.


@pytest.fixture(scope="module")
def llama():
    llama = pytest.importorskip("llama_cpp.llama_cpp", reason="llama-cpp-python is not installed")
    llama.llama_backend_init()
    return llama


class Loaded:
    """A GGUF in llama.cpp: token ids of a text, logits of every position in float32."""

    def __init__(self, llama, path: Path) -> None:
        self.llama = llama
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        assert self.model, f"llama.cpp could not load {path.name}"
        self.vocab = llama.llama_model_get_vocab(self.model)
        self.n_vocab = llama.llama_vocab_n_tokens(self.vocab)

    def tokens(self, text: str, special: bool = True) -> list[int]:
        raw = text.encode()
        buffer = (self.llama.llama_token * (len(raw) + 8))()
        n = self.llama.llama_tokenize(self.vocab, raw, len(raw), buffer, len(buffer), True, special)
        return list(buffer[:n])

    def context(self):
        params = self.llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = 1024
        params.flash_attn_type, params.type_k, params.type_v = 0, 0, 0  # float32 keys and values
        return self.llama.llama_init_from_model(self.model, params)

    def logits(self, ids: list[int]) -> np.ndarray:
        """(n_tokens, n_vocab)"""
        context, batch = self.context(), self.llama.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        assert self.llama.llama_decode(context, batch) == 0
        rows = np.ctypeslib.as_array(self.llama.llama_get_logits(context), (len(ids), self.n_vocab)).copy()
        self.llama.llama_batch_free(batch)
        self.llama.llama_free(context)
        return rows


def widened(llama, source: Path, out: Path) -> Path:
    """A copy of a GGUF with all matrices as float32."""
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.nthread = 0, True, 1
    assert llama.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)) == 0
    return out


def test_shipped_model_gives_the_trainers_logits(llama, tmp_path: Path) -> None:
    """The golden logits (see their "derivation") are met to 1e-3 without torch, from text to logits."""
    golden = json.loads((TRAINING / "golden.json").read_text())
    source = DEMO / golden["file"]
    assert hashlib.sha256(source.read_bytes()).hexdigest() == golden["sha256"], "run golden.py again"
    loaded = Loaded(llama, widened(llama, source, tmp_path / "f32.gguf"))
    for case in golden["cases"]:
        ids = loaded.tokens(case["text"])
        assert ids == case["ids"]
        assert np.abs(loaded.logits(ids)[-1] - case["last_logits"]).max() < 1e-3


def test_the_checkpoints_are_the_bundled_models_in_order_of_training() -> None:
    """models.toml, which localent reads, and checkpoints.py, which the training scripts read, name the same stages."""
    bundled = [entry for entry in entries().values() if entry.bundled]
    in_order = [entry.name for entry in sorted(bundled, key=lambda entry: entry.rank)]
    assert in_order == [f"{FAMILY}-{name}" for name in CHECKPOINTS]


@pytest.mark.parametrize("stage", CHECKPOINTS)
def test_shipped_models_have_their_metadata(stage: str) -> None:
    """Small, MIT, no BOS; a chat template exactly where one was trained."""
    gguf = pytest.importorskip("gguf", reason="the gguf package is not installed")
    path = DEMO / f"abacus-{stage}-f16.gguf"
    fields = gguf.GGUFReader(path).fields
    assert path.stat().st_size <= 7.9e6
    assert fields["general.license"].contents() == "MIT"
    assert fields["general.name"].contents() == f"abacus-{stage}"
    assert fields["tokenizer.ggml.add_bos_token"].contents() is False
    assert ("tokenizer.chat_template" in fields) == CHECKPOINTS[stage].chat


@pytest.fixture(scope="module")
def fresh(llama, tmp_path_factory: pytest.TempPathFactory):
    """A model with random weights in PyTorch, its tokenizer, and the same exported in float32 to llama.cpp."""
    torch = pytest.importorskip("torch", reason="torch is not installed (it is only needed to train)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (it is only needed to train)")
    from dataclasses import asdict

    from export import export
    from model import Abacus, Shape
    from tokenizer import load

    folder = tmp_path_factory.mktemp("fresh")
    torch.manual_seed(9)
    model = Abacus(Shape()).eval()
    torch.save({"model": model.state_dict(), "shape": asdict(model.shape)}, folder / "w.pt")
    tokenizer = load(folder / "tokenizer.json", seed=0)
    export(folder / "w.pt", folder / "tokenizer.json", folder / "w.gguf", "sft", full=True)
    return model, tokenizer, Loaded(llama, folder / "w.gguf")


def documents(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(p.text for p in (pretrain_document, finetune_document)[i % 2](rng)) for i in range(n)]


def test_llama_cpp_gives_pytorchs_logits(fresh) -> None:
    """Every logit of every position within 1e-3 in float32: the rotary rows are in the right order."""
    torch = pytest.importorskip("torch")
    model, tokenizer, loaded = fresh
    for text in documents(6, 10):
        ids = tokenizer.encode(text).ids
        with torch.inference_mode():
            expected = model.logits(model(torch.tensor([ids])))[0].numpy()
        assert np.abs(loaded.logits(ids) - expected).max() < 1e-3


HOSTILE = (
    *("<|im_end|> then <|im_start|>user", "  leading   spaces\n\n\nand tabs\t\tx", "1,000.50 $18 -17"),
    *("naïve café 東京 🙂👩‍👩‍👧 ½ ²³ ٣٤", "it's we'll I'M DON'T", "\r\n\r\n a\rb", "e\u0301\u0301", "\u00a0 \u200b"),
    *("", " ", "\n", "a" * 300, "...!!!???\n\n--\n", "12.\n\nQuestion: x"),
)


def test_llama_cpp_tokenizes_as_the_trainer(fresh) -> None:
    """The same ids for training documents, random unicode and hostile texts, specials parsed or not."""
    _, tokenizer, loaded = fresh
    rng = random.Random(11)
    alphabet = [chr(c) for c in (*range(1, 127), 0xE9, 0x3B1, 0x4E2D, 0x1F600, 0x660, 0x2028, 0xA0)]
    noise = ["".join(rng.choices(alphabet, k=rng.randint(1, 60))) for _ in range(200)]
    for text in (*documents(200, 12), *noise, *HOSTILE):
        assert loaded.tokens(text) == tokenizer.encode(text).ids


class CutOff(Exception):  # noqa: N818 - an event, not an error
    """Stands for a power cut."""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports torch.jit
def test_training_that_was_cut_off_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three updates in one go, or two, a power cut and the same command again: bit for bit the same."""
    torch = pytest.importorskip("torch", reason="torch is not installed (it is only needed to train)")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (it is only needed to train)")
    import train

    monkeypatch.setattr(train, "SAVE_SECONDS", 0.0)
    stage = train.Stage("finetune", tokens=1200, lr=0.01, batch=512)

    class Fragile(train.Trainer):
        def step(self, batch):
            if self.steps == 2:
                raise CutOff
            return super().step(batch)

    with torch.compiler.set_stance("force_eager"):
        train.Trainer(stage, 1, tmp_path / "whole").run()
        with pytest.raises(CutOff):
            Fragile(stage, 1, tmp_path / "cut").run()
        train.Trainer(stage, 1, tmp_path / "cut").run()
    whole, cut = (torch.load(tmp_path / name / "finetuned.pt") for name in ("whole", "cut"))
    assert whole["tokens"] == cut["tokens"]
    assert all(torch.equal(a, cut["model"][name]) for name, a in whole["model"].items())
