"""Models by name and on this disk: models.toml, other programs' folders made to their layout, hostile names."""

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from localent.cli import main
from localent.errors import LocalentError, UsageError
from localent.files.header import read_header, read_purpose
from localent.models import disk, entries, find, resolve
from localent.models.names import STAGES

FAMILIES = {
    "gemma-2": {"2B", "9B"},
    "llama-3.2": {"1B", "3B"},
    "qwen2.5": {"0.5B", "1.5B", "3B", "7B"},
    "qwen2.5-math": {"1.5B", "7B"},
    "olmo-2": {"1B", "7B"},
    "deepseek-r1-distill": {"1.5B", "7B", "8B"},
}
TODAY = {  # other families, with some of their sizes
    "qwen3": {"0.6B", "1.7B", "4B", "8B"},
    "qwen3.5": {"0.8B", "2B", "4B", "9B"},
    "gemma-3": {"270M", "1B", "4B"},
    "gemma-4": {"E2B", "E4B"},
    "olmo-3": {"7B"},
    "lfm2.5": {"350M", "1.2B"},
    "smollm2": {"135M", "360M", "1.7B"},
    "smollm3": {"3B"},
    "gpt-oss": {"20B"},
    "nemotron-3": {"4B", "30B-A3B"},
    "ministral-3": {"3B", "8B"},
    "granite-4": {"350M", "1B", "3B"},
    "phi-4": {"3.8B"},
}
NEEDED = 'default = "Q8_0"\nfamily = "mine"\nstage = "base"\nlicence = "MIT"\n'


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home: no program has left anything here, and no installed package brings a model."""
    monkeypatch.setattr(disk, "distributions", list)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / ".cache" / "huggingface"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


@pytest.fixture
def tiny(random_model):
    return random_model("tiny-llama")


def put(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    return target


def user_list(home: Path, text: str) -> None:
    path = home / ".config" / "localent" / "models.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def found() -> dict[str, str]:
    return {one.name: one.place for one in disk.discover()}


# ── by name ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_families_that_the_science_needs_are_there(home):
    known = entries().values()
    for family, sizes in FAMILIES.items():
        assert {entry.size for entry in known if entry.family == family} >= sizes, family
        stages = {entry.stage for entry in known if entry.family == family}
        assert "base" in stages or family == "deepseek-r1-distill"
        assert len(stages) > 1 or family == "deepseek-r1-distill"
    for family, size in (("olmo-2", "1B"), ("olmo-2", "7B"), ("olmo-3", "7B")):
        stages = {entry.stage for entry in known if (entry.family, entry.size) == (family, size)}
        assert stages == {"base", "SFT", "DPO", "RL"}
    assert {entry.stage for entry in known} <= set(STAGES)
    assert all(entry.thinks for entry in known if entry.family == "deepseek-r1-distill")


def test_the_families_of_today_are_there(home):
    known = entries().values()
    for family, sizes in TODAY.items():
        assert {entry.size for entry in known if entry.family == family} >= sizes, family
    repos = [(entry.repo, entry.file) for entry in known if entry.repo]
    assert len(repos) == len(set(repos)), "two names of one file"
    for entry in known:
        assert repos.count((entry.repo, entry.file)) <= 1
        assert entry.bundled or entry.of or entry.repo


def test_recommended_settings_can_be_run(home):
    """Each is a Settings that Settings takes; a base model has none."""
    from localent.runs import Settings

    advised = [entry for entry in entries().values() if entry.recommended]
    assert len(advised) > 10
    for entry in advised:
        assert entry.kind == "instruct"
        assert Settings(**dict(entry.recommended)).temperature > 0


def test_a_model_without_a_gguf_on_the_hub_says_how_to_make_one(home, tiny):
    for arguments in (("pull", "olmo-2-1b-dpo"), ("run", "olmo-2-1b-dpo", "demo-number")):
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (1, "")
        assert "make one from allenai/OLMo-2-0425-1B-DPO with llama.cpp's convert_hf_to_gguf.py" in done.stderr
    made = put(tiny, home / ".cache" / "llama.cpp" / "olmo-2-0425-1b-dpo-q8_0.gguf")
    assert resolve("olmo-2-1b-dpo") == made


def test_every_file_name_carries_its_quant(home):
    """Or two quants would be one file."""
    for entry in entries().values():
        if not entry.bundled:
            assert entry.filename("Q8_0") != entry.filename("Q4_K_M")
            assert entry.default in (*entry.quants, "Q4_K_M") or entry.repo is None


def test_names_resolve(home, bundled):
    assert resolve("abacus-sft") == bundled
    assert find("qwen2.5-1.5b-instruct:q8_0")[1] == "Q8_0"
    with pytest.raises(LocalentError, match=r"fetch it with 'localent pull qwen2\.5-1\.5b-instruct:Q4_K_M'"):
        resolve("qwen2.5-1.5b-instruct")
    with pytest.raises(UsageError, match=r"Did you mean 'qwen2\.5-1\.5b-instruct'"):
        resolve("qwen2.5-1.5b-instruc")


def test_a_users_own_models_win(home):
    user_list(home, f'[mine]\nrepo = "a/b"\nfile = "{{quant}}.gguf"\n{NEEDED}')
    assert entries()["mine"].filename("Q8_0") == "Q8_0.gguf"
    assert len(entries()) > 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not toml", "cannot be read"),
        ("mine = 3", "is not a table"),
        ('[mine]\nrepo = "a/b"\nfile = "x.gguf"\n', "is missing default, family, stage, licence"),
        (f"[mine]\n{NEEDED}", "needs 'repo' and 'file'"),
        (f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\ncolour = "red"\n{NEEDED}', "unknown field 'colour'"),
        (f'[mine]\nrepo = "../../etc"\nfile = "x.gguf"\n{NEEDED}', r"has '\.\.' in a name"),
        (f'[mine]\nrepo = "a/b"\nfile = "../../../x.gguf"\n{NEEDED}', r"has '\.\.' in a name"),
        (f'[mine]\nrepo = "a/b"\nfile = "/etc/passwd"\n{NEEDED}', "has '' in a name"),
        (f'[mine]\nrepo = "a/b/c"\nfile = "x.gguf"\n{NEEDED}', "is written OWNER/NAME"),
        (f'[mine]\nrepo = "a/b"\nfile = "{{quant.__class__}}.gguf"\n{NEEDED}', "in a name"),
        (f'[mine]\nbundled = "../../secret.gguf"\n{NEEDED}', "in a name"),
        (f'[mine]\nrepo = 3\nfile = "x.gguf"\n{NEEDED}', "has repo = 3; write a text"),
        (f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\ngated = "no"\n{NEEDED}', "has gated = 'no'; write true or false"),
        (f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\nquants = "Q8_0"\n{NEEDED}', "has quants = 'Q8_0'; write a list"),
        (f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\nsha256 = "ab"\n{NEEDED}', "has sha256 = 'ab'; write a table"),
        (
            f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\nrecommended = {{temprature = 0.6}}\n{NEEDED}',
            "recommends temprature = 0.6; write numbers for temperature, top_p",
        ),
        (
            f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\nrecommended = {{top_p = "all"}}\n{NEEDED}',
            "recommends top_p = 'all'; write numbers",
        ),
        (f'[mine]\nrepo = "a/b"\nfile = "x.gguf"\nrecommended = 0.6\n{NEEDED}', "write a table of sampling settings"),
        (f'[mine]\nrepo = "a/b"\nfile = "x-{{quant.gguf"\n{NEEDED}', "has 'x-{quant.gguf' in a name"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(home, text, message):
    user_list(home, text)
    with pytest.raises(UsageError, match=message):
        entries()


@pytest.mark.parametrize("quant", ["../../x", "a b", "Q4;rm", "{0.__class__}", "x" * 40])
def test_a_quant_is_never_a_path(home, quant):
    with pytest.raises(UsageError, match="is not a quant"):
        find(f"gemma-2-2b:{quant}")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..", "models--a--b/../../x.gguf"])
def test_a_path_stays_what_was_typed(home, name):
    """It is the user's own: read as a GGUF, refused as none."""
    from localent.files import identity

    with pytest.raises(LocalentError):
        identity.identify(resolve(name))


# ── on this disk ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_hubs_cache(home, tiny):
    repo = home / ".cache" / "huggingface" / "hub" / "models--Qwen--Qwen2.5-0.5B-Instruct-GGUF"
    blob = put(tiny, repo / "blobs" / "abc")
    link = repo / "snapshots" / ("0" * 40) / "qwen2.5-0.5b-instruct-q4_k_m.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    assert found() == {"Qwen/Qwen2.5-0.5B-Instruct-GGUF:qwen2.5-0.5b-instruct-q4_k_m": "hub"}
    assert resolve("qwen2.5-0.5b-instruct") == link
    blob.unlink()
    assert found() == {}


def test_lm_studio(home, tiny):
    path = put(tiny, home / ".lmstudio" / "models" / "bartowski" / "Tiny-GGUF" / "Tiny-Q4_K_M.gguf")
    put(tiny, home / ".lmstudio" / "models" / "bartowski" / "Tiny-GGUF" / "mmproj-Tiny.gguf")
    put(tiny, home / ".cache" / "lm-studio" / "models" / "old" / "Old-GGUF" / "old.gguf")
    assert found() == {"bartowski/Tiny-GGUF:Tiny-Q4_K_M": "LM Studio", "old/Old-GGUF:old": "LM Studio"}
    assert resolve("bartowski/Tiny-GGUF:Tiny-Q4_K_M") == path


def test_lm_studio_moved(home, tiny):
    put(tiny, home / "elsewhere" / "models" / "a" / "b" / "c.gguf")
    (home / ".lmstudio-home-pointer").write_text(f"{home / 'elsewhere'}\n")
    assert found() == {"a/b:c": "LM Studio"}


def test_a_known_model_is_used_from_where_another_program_has_it(home, tiny):
    path = put(tiny, home / ".lmstudio" / "models" / "x" / "y" / "Llama-3.2-1B-Instruct-Q4_K_M.gguf")
    assert resolve("llama-3.2-1b-instruct") == path


def ollama(home: Path, source: Path, name: str, digest: str = "a" * 64, claimed: object = None) -> Path:
    """A model as Ollama keeps it: a manifest in JSON, the weights in a blob."""
    root = home / ".ollama" / "models"
    manifest = root / "manifests" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    weights = {"mediaType": "application/vnd.ollama.image.model", "digest": claimed or f"sha256:{digest}"}
    others = [{"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'b' * 64}"}]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": [*others, weights]}))
    return put(source, root / "blobs" / f"sha256-{digest}")


def test_ollama(home, tiny):
    blob = ollama(home, tiny, "registry.ollama.ai/library/llama3.2/1b")
    ollama(home, tiny, "registry.ollama.ai/someone/tiny/latest", "c" * 64)
    ollama(home, tiny, "hf.co/bartowski/Tiny-GGUF/Q4_K_M", "d" * 64)
    assert found() == {
        "llama3.2:1b": "Ollama",
        "registry.ollama.ai/someone/tiny:latest": "Ollama",
        "hf.co/bartowski/Tiny-GGUF:Q4_K_M": "Ollama",
    }
    assert resolve("llama3.2:1b") == blob
    assert resolve("hf.co/bartowski/Tiny-GGUF:Q4_K_M").name == "sha256-" + "d" * 64


def test_a_hostile_manifest_leads_nowhere(home, tiny, tmp_path):
    secret = put(tiny, home / "secret.gguf")
    assert secret.exists()
    ollama(home, tiny, "registry.ollama.ai/library/a/1", "a" * 64).unlink()
    ollama(home, tiny, "registry.ollama.ai/library/b/1", "e" * 64, "sha256:../../../secret.gguf")
    ollama(home, tiny, "registry.ollama.ai/library/c/1", "f" * 64, 7)
    manifests = home / ".ollama" / "models" / "manifests"
    (manifests / "list").write_text("[]")
    (manifests / "deep").write_text("[" * 100_000)
    (manifests / "binary").write_bytes(bytes(range(256)))
    assert found() == {}


def test_llama_cpp_and_a_folder(home, tiny):
    put(tiny, home / ".cache" / "llama.cpp" / "ggml-org_tiny_tiny-q8_0.gguf")
    mine = put(tiny, home / "Downloads" / "deep" / "mine.gguf")
    assert found() == {"ggml-org_tiny_tiny-q8_0": "llama.cpp"}
    assert [one.path for one in disk.discover([home / "Downloads"])][1:] == [mine]
    with pytest.raises(UsageError, match="There is no folder"):
        disk.discover([home / "absent"])


def test_one_file_is_listed_once(home, tiny):
    path = put(tiny, home / ".lmstudio" / "models" / "a" / "b" / "c.gguf")
    link = home / ".cache" / "llama.cpp" / "c.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(path)
    assert len(disk.discover([path.parent])) == 1


def test_every_name_of_a_shared_blob_is_listed(home, tiny):
    """Ollama keeps one blob for two tags; each is a name that run takes."""
    blob = ollama(home, tiny, "registry.ollama.ai/library/tiny/1b")
    ollama(home, tiny, "registry.ollama.ai/library/tiny/latest")
    assert found() == {"tiny:1b": "Ollama", "tiny:latest": "Ollama"}
    assert resolve("tiny:1b") == resolve("tiny:latest") == blob


def test_weights_under_an_adapter_are_not_what_the_name_means(home, tiny):
    """Without the adapter they are another model."""
    ollama(home, tiny, "registry.ollama.ai/library/tuned/1b")
    manifest = home / ".ollama" / "models" / "manifests" / "registry.ollama.ai/library/tuned/1b"
    layers = json.loads(manifest.read_text())
    layers["layers"].append({"mediaType": "application/vnd.ollama.image.adapter", "digest": f"sha256:{'c' * 64}"})
    manifest.write_text(json.dumps(layers))
    assert found() == {}


def test_the_models_of_llm_gguf(home, tiny, monkeypatch):
    """By id and by alias where they are registered, by file name else; an odd models.json hides no file."""
    root = home / ".config" / "io.datasette.llm" / "gguf"
    path = put(tiny, root / "models" / "Tiny-Q8_0.gguf")
    elsewhere = put(tiny, home / "mine.gguf")
    registered = {"Tiny-Q8_0": {"path": str(path), "aliases": ["tiny"]}, "m": {"path": str(elsewhere)}, "odd": 3}
    (root / "models.json").write_text(json.dumps(registered | {"gone": {"path": str(home / "gone.gguf")}}))
    assert found() == dict.fromkeys(["gguf/Tiny-Q8_0", "tiny", "gguf/m"], "LLM")
    assert resolve("tiny") == resolve("gguf/Tiny-Q8_0") == path
    assert resolve("gguf/m") == elsewhere
    (root / "models.json").write_text("[")
    assert found() == {"gguf/Tiny-Q8_0": "LLM"}
    monkeypatch.setenv("LLM_USER_PATH", str(home / "empty"))
    assert found() == {}


def test_models_inside_installed_packages(home, tiny, monkeypatch):
    """As pip lays them out: the package's list of files names them."""
    site = home / "site"
    path = put(tiny, site / "some_model" / "Tiny.Q4_1.gguf")
    info = site / "some_model-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
    rows = ["some_model/Tiny.Q4_1.gguf,sha256=x,9", "some_model/gone.gguf,,", "some_model-1.0.dist-info/RECORD,,"]
    (info / "RECORD").write_text("\n".join(rows))
    monkeypatch.setattr(disk, "distributions", lambda: metadata.distributions(path=[str(site)]))
    assert found() == {"some-model:Tiny.Q4_1": "package"}
    assert resolve("some-model:Tiny.Q4_1") == path
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: localent\nVersion: 1.0\n")
    assert found() == {}, "its own models have names in models.toml"


def test_linked_folders_are_followed_once(home, tiny):
    """Also one that leads to a folder above it."""
    put(tiny, home / "disk2" / "deep" / "mine.gguf")
    folder = home / "here"
    folder.mkdir()
    (folder / "linked").symlink_to(home / "disk2")
    (home / "disk2" / "deep" / "back").symlink_to(home / "disk2")
    (folder / "broken").symlink_to(home / "nowhere")
    assert [one.path for one in disk.discover([folder])] == [folder / "linked" / "deep" / "mine.gguf"]


def write_gguf(path: Path, arch: str, kind: str | None = None, **fields: str) -> Path:
    """A header as llama.cpp's scripts write it, without tensors."""
    import gguf

    writer = gguf.GGUFWriter(path, arch)
    if kind:
        writer.add_type(kind)
    for name, value in fields.items():
        writer.add_string(name.replace("__", "."), value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_what_is_no_model_is_not_listed_and_is_refused_by_name(home, tiny):
    """Adapters, projectors and importance matrices are GGUF files too."""
    from localent.files import identity

    folder = home / "files"
    good = put(tiny, folder / "lora-the-explorer.gguf")
    others = {
        write_gguf(folder / "a.gguf", "llama", "adapter", adapter__type="lora"): "is no model but a LoRA adapter",
        write_gguf(folder / "old.gguf", "llama", adapter__type="lora"): "is no model but a LoRA adapter",
        write_gguf(folder / "vision.gguf", "clip"): "is no model but a projector of images",
        write_gguf(folder / "v2.gguf", "clip", "mmproj"): "is no model but a projector of images",
        write_gguf(folder / "i.gguf", "llama", "imatrix"): "is no model but an importance matrix",
        write_gguf(folder / "c.gguf", "controlvector"): "is no model but a control vector",
    }
    assert [one.path for one in disk.discover([folder])] == [good]
    for path, sentence in others.items():
        with pytest.raises(LocalentError, match=sentence):
            identity.identify(path)
    done = run("run", folder / "a.gguf", "demo-number", "-n", "1")
    assert (done.exit_code, done.stderr) == (
        1,
        "localent: a.gguf is no model but a LoRA adapter: name a whole model.\n",
    )


def test_a_purpose_is_read_without_the_vocabulary(random_model, tmp_path):
    """The tokenizer of a real model takes half a second; a file cut off in it still tells what it is."""
    path = random_model("tiny-llama")
    content = path.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: content.index(b"tokenizer.ggml.tokens") + 40])
    assert read_purpose(tmp_path / "cut.gguf") == read_purpose(path) == read_header(path).purpose == "model"


def test_a_split_model_counts_as_one_when_it_is_whole(home, tiny):
    folder = home / "split"
    for i in (1, 2):
        put(tiny, folder / f"big-0000{i}-of-00002.gguf")
    put(tiny, folder / "half-00001-of-00002.gguf")
    [one] = disk.discover([folder])
    assert (one.path.name, one.n_bytes) == ("big-00001-of-00002.gguf", 2 * tiny.stat().st_size)


# ── what a header says ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", ["tiny-llama", "tiny-qwen2", "tiny-gemma2", "tiny-olmo2", "tiny-mamba", "tiny-lfm2"])
def test_a_header_agrees_with_the_identity(random_model, shape):
    from localent.files import identity

    path = random_model(shape)
    seen, whole = read_header(path), identity.identify(path).model
    assert (seen.arch, seen.quant, seen.n_params) == (whole.arch, whole.quant, whole.n_params)
    assert seen.bits_per_weight == pytest.approx(whole.bits_per_weight, rel=1e-12)


@pytest.mark.parametrize("quant", ["Q4_K_M", "Q8_0", "Q3_K_S"])
def test_bits_per_weight_are_the_real_ones(bundled, quant, tmp_path):
    """llama.cpp says the size of what it loads; the file's own length, less its header, is nearly that."""
    from localent.engine import QuantizeOptions, quantize

    quantize(bundled, tmp_path / "q.gguf", quant, QuantizeOptions(n_threads=1))
    seen = read_header(tmp_path / "q.gguf")
    assert seen.quant == quant
    data = seen.file_bytes - seen.data_start
    assert seen.bits_per_weight * seen.n_params / 8 == pytest.approx(data, rel=1e-3)


def test_what_a_lane_costs(random_model):
    """Two layers, two heads of 16 for keys and values, two bytes each; a recurrent model has no such cache."""
    assert read_header(random_model("tiny-llama")).kv_bytes == 2 * 2 * (16 + 16) * 2
    assert read_header(random_model("tiny-mamba")).kv_bytes == 0
    assert read_header(random_model("tiny-lfm2")).kv_bytes == 1 * 2 * (16 + 16) * 2


def test_a_file_that_cannot_be_used_says_why(home, tiny):
    (home / "x").mkdir()
    (home / "x" / "cut.gguf").write_bytes(tiny.read_bytes()[:900])
    (home / "x" / "empty.gguf").touch()
    (home / "x" / "text.gguf").write_text("hello")
    problems = {one.path.name: disk.details(one).problem for one in disk.discover([home / "x"])}
    assert set(problems) == {"cut.gguf", "empty.gguf", "text.gguf"}
    assert all(problems.values())


def test_a_split_model_is_one_model(tmp_path):
    """Written in parts by the gguf package: size, weights and identity are those of all parts, and it runs."""
    import random_model

    from localent.engine import Options, Prompt
    from localent.engine import open as open_model
    from localent.files import identity

    shape = random_model.SHAPES["tiny-llama"]
    whole = random_model.write(tmp_path / "whole.gguf", shape)
    random_model.write(tmp_path / "split.gguf", shape, parts_of=6)
    first = sorted(tmp_path.glob("split-00001-of-*.gguf"))[0]
    one, split = identity.identify(whole).model, identity.identify(first).model
    assert (split.n_params, split.tensor_types) == (one.n_params, one.tensor_types)
    assert split.bits_per_weight == pytest.approx(one.bits_per_weight)
    rows = []
    for path in (whole, first):
        with open_model(path) as model, model.lanes(Options(n_lanes=1, n_ctx=64, n_threads=1)) as engine:
            rows.append(engine.prefill(0, Prompt([1, 2, 3])).tobytes())
    assert rows[0] == rows[1]
    last = sorted(tmp_path.glob("split-*.gguf"))[-1]
    last.write_bytes(last.read_bytes()[:-1] + b"!")
    assert identity.identify(first).model.sha256 != split.sha256
    with pytest.raises(LocalentError, match=f"is a later part of a split model: name its first part, {first.name}"):
        identity.identify(last)
    last.unlink()
    with pytest.raises(LocalentError, match="is missing its part"):
        identity.identify(first)


# ── the commands ────────────────────────────────────────────────────────────────────────────────────────────────


def run(*arguments):
    from click.testing import CliRunner

    done = CliRunner().invoke(main, [str(a) for a in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_models_lists_both(home, tiny):
    put(tiny, home / ".lmstudio" / "models" / "bartowski" / "Tiny-GGUF" / "Tiny-F16.gguf")
    shown = run("models").stdout
    assert "gemma-2-2b-it" in shown
    assert "bartowski/Tiny-GGUF:Tiny-F16" in shown
    rows = [json.loads(line) for line in run("models", "--json").stdout.splitlines()]
    mine = next(row for row in rows if row["list"] == "here")
    assert (mine["quant"], mine["fits"], mine["place"], mine["arch"]) == ("F16", "yes", "LM Studio", "llama")
    assert mine["bits/weight"] == pytest.approx(16.06, abs=0.01)
    assert {row["name"] for row in rows if row["list"] == "known"} == set(entries())
    assert "nothing" in run("models", "--here", "--family", "bert").stdout


def test_a_bundled_model_that_is_missing_hides_no_other(home):
    user_list(home, '[lost]\nbundled = "lost.gguf"\n' + NEEDED)
    done = run("models", "--known")
    assert (done.exit_code, "gemma-2-2b-it" in done.stdout, "lost" in done.stdout) == (0, True, True)


def test_machines_get_every_field(home):
    rows = {row["name"]: row for row in map(json.loads, run("models", "--known", "--json").stdout.splitlines())}
    assert rows["gemma-2-2b-it"]["template"].startswith("refuses a system turn")
    assert rows["gemma-2-2b-it"]["bos"] == "yes"
    assert rows["olmo-2-7b-dpo"]["family"] == "olmo-2"
    assert rows["qwen2.5-7b"]["quants"] == "Q2_K Q4_K_M"


def test_a_family_is_found_on_the_disk_by_name_and_by_architecture(home, tiny):
    put(tiny, home / ".lmstudio" / "models" / "someone" / "Llama-3.2-1B-GGUF" / "Llama-3.2-1B-F16.gguf")
    for family, n in (("llama", 1), ("llama-3.2", 1), ("qwen2.5", 0)):
        shown = run("models", "--here", "--family", family, "--json").stdout
        assert len(shown.splitlines()) == n
    assert "choose from abacus, qwen2.5" in run("models", "--family", "lama").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("models", "--lanes", "0"), "'--lanes'"),
        (("pull", "gsm8"), "Did you mean 'gsm8k'"),
        (("pull", "gsm8k", "--revision", "v1"), "gsm8k is a data set"),
        (("pull", "abacus-sft", "--revision", "v1"), "abacus-sft comes with localent"),
    ],
)
def test_a_wrong_request_gets_one_sentence(home, arguments, message):
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_a_model_that_does_not_fit_says_no(home, tiny):
    rows = run("models", "--here", "--in", tiny.parent, "--ctx", "2000000000", "--json").stdout.splitlines()
    assert {json.loads(row)["fits"] for row in rows if json.loads(row)["arch"] == "llama"} == {"no"}


def test_models_tells_all_of_one(home):
    shown = run("models", "gemma-2-2b-it").stdout
    assert "refuses a system turn" in shown
    assert "google/gemma-2-2b-it" in shown
    assert run("models", "gemma-2-2b-itt").exit_code == 2


def test_pull_of_a_bundled_model_is_its_file(home, bundled):
    assert run("pull", "abacus-sft").stdout.strip() == str(bundled)


def test_recommended_settings_are_shown_and_taken_on_request_only(home, tiny, tmp_path):
    """The run records them; without the option nothing changes."""
    recommended = "recommended = {temperature = 0.6, top_p = 0.95, min_p = 0.01, presence_penalty = 1.5}\n"
    user_list(home, f'[mine]\nrepo = "a/b"\nfile = "mine-{{quant}}.gguf"\n{recommended}{NEEDED}')
    put(tiny, home / ".cache" / "llama.cpp" / "mine-Q8_0.gguf")
    assert "temperature 0.6, top-p 0.95, min-p 0.01" in run("models", "mine").stdout
    db = tmp_path / "x.db"
    short = [
        "demo-number",
        "-n",
        "1",
        "--lanes",
        "2",
        "--threads",
        "1",
        "--max-tokens",
        "4",
        "--max-fed",
        "2",
        "--db",
        db,
    ]
    assert run("run", "mine", *short).exit_code == 0
    assert run("run", "mine", *short, "--recommended").exit_code == 0
    rows = json.loads(
        run(
            "sql", "select temperature, settings from runs order by temperature", "--db", db, "--json"
        ).stdout.splitlines()[0]
    )
    assert (rows["temperature"], json.loads(rows["settings"])["presence_penalty"]) == (0.6, 1.5)
    refused = run("run", "mine", *short, "--recommended", "--top-p", "0.5")
    assert (refused.exit_code, "--recommended does not use --top-p" in refused.stderr) == (2, True)
    refused = run("run", tiny, *short, "--recommended")
    assert (refused.exit_code, "knows no recommended settings of" in refused.stderr) == (2, True)


def test_run_takes_the_name_that_another_program_gave(home, tiny, tmp_path):
    ollama(home, tiny, "registry.ollama.ai/library/tiny/1b")
    db = tmp_path / "x.db"
    short = ["--lanes", "2", "--threads", "1", "--max-tokens", "4", "--max-fed", "2", "--db", db]
    assert run("run", "tiny:1b", "demo-number", "-n", "1", *short).exit_code == 0
