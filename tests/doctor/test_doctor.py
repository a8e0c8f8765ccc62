"""The doctor: what it finds on this machine, on machines that are not there, and what it keeps for later runs."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from localent import doctor, tasks
from localent.cli import main
from localent.doctor import conditions, inventory, speed
from localent.engine import Device, requirement, scripted, supports_gpu
from localent.engine.scripted import ScriptedModel, ScriptedVocab
from localent.errors import LocalentError
from localent.files import identity
from localent.files.header import read_header
from localent.machine import fit, hardware
from localent.runs import Settings, run
from localent.store import open_db


def shorten(patch):
    """Measure for a moment, on one thread."""
    patch.setattr(speed, "SPEED_S", 0.01)
    patch.setattr(conditions, "LANES", (1, 4))
    patch.setattr(conditions, "n_threads", lambda: 1)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    shorten(monkeypatch)


@pytest.fixture(scope="module")
def examined(random_model):
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return doctor.examine(random_model("tiny-llama"), layers=0)


def named(report, part):
    return {finding.name: finding for finding in report.of(part)}


def test_all_parts_are_there(examined):
    parts = {finding.part for finding in examined.findings}
    assert parts == {"machine", "build", "gpu", "model", "speed", "invariance", "noise", "advice"}
    assert named(examined, "speed")["threads"].value == 1
    assert named(examined, "build")["bindings fit the library"].ok
    assert named(examined, "machine")["threads allowed"].value == hardware.usable_cores()
    assert all(f.value > 0 for f in examined.of("speed"))


@pytest.mark.skipif(supports_gpu(), reason="a GPU's kernels may depend on the shape of the work")
@pytest.mark.parametrize("shape", ["tiny-llama", "tiny-gemma2", "tiny-mamba", "tiny-lfm2"])
def test_on_a_cpu_results_repeat_to_the_last_bit(random_model, shape):
    report = doctor.examine(random_model(shape), layers=0)
    assert {name: finding.ok for name, finding in named(report, "invariance").items()} == dict.fromkeys(
        ("neighbours", "order", "probes", "resume"), True
    )


def test_a_difference_is_seen(random_model):
    """A model that never gives the same row twice: the check says so, and the advice with it."""
    path, count = random_model("tiny-llama"), iter(range(10**6))
    vocab = ScriptedVocab([bytes([i]) for i in range(64)])
    shaky = ScriptedModel(vocab, lambda tokens: [1e-3 * next(count), *([0.0] * 63)])
    with scripted.at(path, shaky):
        report = doctor.examine(path, layers=0)
    assert not any(finding.ok for finding in report.of("invariance"))
    [advice] = report.of("advice")
    assert advice.ok is False
    assert "may not be bit-identical" in advice.note


@pytest.mark.parametrize(
    ("decode_s", "measure_s", "most", "n"),
    [(1.0, 0.0, 64, 1), (1.0, 0.04, 64, 1), (1.0, 1.0, 1, 1), (0.0, 1.0, 8, 8), (1.0, 1.0, 16, 9)],
)
def test_workers_are_advised_where_measuring_leaves_cores_idle(decode_s, measure_s, most, n):
    """Cores that decode together and measure alone, counted in time: n processes make n tokens in decode_s * n + ..."""
    assert speed.useful_workers(decode_s, measure_s, most) == n
    seconds = [(decode_s * k + measure_s) / k for k in range(1, most + 1)]  # per token
    assert next(k for k, one in enumerate(seconds, 1) if one <= min(seconds) / 0.95) == n


def test_one_process_is_enough_on_one_core(examined):
    assert named(examined, "speed")["local workers"].value == 1


def test_the_noise_floor_is_what_the_numbers_move(examined):
    noise = named(examined, "noise")
    assert "no flash attention" in noise
    assert max(finding.value for finding in noise.values()) == named(examined, "advice")["noise floor"].value
    assert all(0 <= finding.value < 0.1 for finding in noise.values())


def test_a_report_is_saved_for_this_model_and_build_only(examined):
    doctor.save(examined)
    assert doctor.saved_report(examined.model_sha256, examined.build) == examined
    assert doctor.saved_report("0" * 64, examined.build) is None
    assert doctor.saved_report(examined.model_sha256, examined.build | {"cpu": "another"}) is None


def test_later_runs_are_stored_with_it(examined, random_model, tmp_path):
    doctor.save(examined)
    data = tmp_path / "sums.jsonl"
    data.write_text(json.dumps({"question": "1 + 1?", "answer": 2}))
    chosen = Settings(lanes=2, threads=1, max_tokens=8, max_fed=2, gpu_layers=0)
    db = tmp_path / "x.db"
    outcome = run(str(random_model("tiny-llama")), tasks.load("sums", data), db=db, settings=chosen)
    with open_db(db, readonly=True) as store:
        kept = {(row["part"], row["name"]): row for row in store.checks(outcome.run_id)}
    assert len(kept) == len(examined.findings)
    assert kept["invariance", "probes"]["ok"] == 1
    assert kept["advice", "noise floor"]["number"] == named(examined, "advice")["noise floor"].value
    outcome = run(str(random_model("tiny-qwen2")), tasks.load("sums", data), db=db, settings=chosen)
    with open_db(db, readonly=True) as store:
        assert store.checks(outcome.run_id) == []


def test_the_command(examined, random_model):
    path = str(random_model("tiny-llama"))
    done = CliRunner().invoke(main, ["doctor", path, "--quick"])
    assert done.exit_code == 0, done.output
    assert "threads allowed" in done.stdout
    assert "Speed" not in done.stdout
    told = json.loads(CliRunner().invoke(main, ["doctor", path, "--quick", "--json"]).stdout)
    assert told["model_sha256"] == examined.model_sha256
    assert CliRunner().invoke(main, ["doctor", "absent.gguf"]).exit_code == 2


def test_what_was_measured_is_printed_before_it_is_saved(random_model, monkeypatch):
    """A cache that cannot be written costs the cache, not the seconds of measuring."""

    def full(report):
        raise LocalentError("The disk is full.")

    monkeypatch.setattr(doctor, "save", full)
    done = CliRunner().invoke(main, ["doctor", str(random_model("tiny-llama")), "--gpu-layers", "0"])
    assert (done.exit_code, "The disk is full." in done.stderr) == (1, True)
    assert "Speed" in done.stdout
    assert "Advice" in done.stdout


def test_threads_are_those_that_were_asked_for(random_model, monkeypatch):
    asked = []
    monkeypatch.setattr(doctor, "_measured", lambda path, layers, base, status: asked.append(base.n_threads) or [])
    monkeypatch.setattr(conditions, "n_threads", lambda: 7)
    monkeypatch.setattr(doctor, "save", lambda report: None)
    command = ["doctor", str(random_model("tiny-llama")), "--gpu-layers", "0"]
    for more in ([], ["--threads", "3"]):
        assert CliRunner().invoke(main, command + more).exit_code == 0
    assert asked == [7, 3]


def test_it_says_what_it_does_while_it_works(random_model, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    main(["doctor", str(random_model("tiny-llama")), "--gpu-layers", "0"], standalone_mode=False)
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.endswith("...")] == [
        "checking the machine ...",
        "measuring speed ...",
        "checking that results are reproducible to the last bit ...",
        "measuring the effect of other settings on the numbers ...",
    ]


def test_a_model_too_big_for_the_machine(random_model, monkeypatch):
    monkeypatch.setattr(hardware, "available_memory", lambda: 1000)
    report = doctor.examine(random_model("tiny-llama"), measure=False)
    fits = named(report, "model")["fits"]
    assert (fits.value, fits.ok) == ("no", False)
    assert "take a smaller quant" in fits.note


# ── machines that are not there ─────────────────────────────────────────────────────────────────────────────────


def programs(monkeypatch, **output):
    """Stand-ins for what other programs print; all others are absent."""

    def answer(command, **_):
        name = command[0].replace("-", "_")
        if name not in output:
            raise FileNotFoundError(command[0])
        if isinstance(output[name], Exception):
            raise output[name]
        return SimpleNamespace(stdout=output[name])

    monkeypatch.setattr(hardware.subprocess, "run", answer)


def test_an_nvidia_card_and_its_install_line(monkeypatch):
    programs(monkeypatch, nvidia_smi="NVIDIA GeForce RTX 4070 Laptop GPU, 8188, 8.9\n")
    [gpu] = hardware.gpus()
    assert (gpu.backend, gpu.arch, gpu.total_bytes) == ("CUDA", "89", 8188 << 20)
    line = doctor.install_line(gpu.backend, gpu.arch)
    assert line.startswith('CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=89" ')
    assert "--no-cache-dir" in line
    assert " -m pip install " in line
    monkeypatch.setattr(inventory, "find_spec", lambda name: None)
    assert doctor.install_line("HIP").startswith('CMAKE_ARGS="-DGGML_HIP=on" uv pip install --python ')
    monkeypatch.setattr(inventory.sys, "platform", "win32")
    assert doctor.install_line("VULKAN").startswith('$env:CMAKE_ARGS="-DGGML_VULKAN=on"; & uv pip install ')
    assert f'"{requirement()}"' in line


@pytest.mark.skipif(supports_gpu(), reason="this build can use it")
def test_a_card_that_this_build_cannot_use(monkeypatch, random_model):
    monkeypatch.setattr(hardware, "gpus", lambda: [hardware.Gpu("A card", "HIP", 16 << 30)])
    report = doctor.examine(random_model("tiny-llama"), measure=False)
    card = named(report, "gpu")["A card"]
    assert card.ok is False
    assert "-DGGML_HIP=on" in card.note


def test_how_much_of_the_model_fits_the_gpu(monkeypatch, random_model):
    monkeypatch.setattr(doctor, "supports_gpu", lambda: True)
    for free, shown, ok in ((8 << 30, "all", True), (10_000, 0, False)):
        monkeypatch.setattr(fit, "devices", lambda free=free: [replace(CARD, free_bytes=free)])
        fits = named(doctor.examine(random_model("tiny-llama"), measure=False, layers=0), "gpu")["layers that fit"]
        assert (fits.value, fits.ok) == (shown, ok)


@pytest.mark.parametrize("failure", ["", "no devices were found", subprocess.TimeoutExpired("x", 1)])
def test_a_driver_that_does_not_answer(monkeypatch, failure):
    programs(monkeypatch, nvidia_smi=failure)
    assert hardware._nvidia() == []


def test_a_mac_has_metal(monkeypatch):
    monkeypatch.setattr(hardware.sys, "platform", "darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "arm64")
    assert hardware.gpus()[0].backend == "METAL"


def files(monkeypatch, **texts):
    """Stand-ins for files of the system, by the end of their path."""
    found = {name.replace("__", "/").replace("_DOT_", "."): text.splitlines() for name, text in texts.items()}
    monkeypatch.setattr(hardware, "_lines", lambda path: next((t for n, t in found.items() if path.endswith(n)), []))


def test_a_container_with_half_a_core_less(monkeypatch):
    files(monkeypatch, cpu_DOT_max="150000 100000")
    assert hardware.cores().quota == 2
    assert hardware.usable_cores() <= 2
    files(monkeypatch, cpu_DOT_max="max 100000")
    assert hardware.cores().quota is None


def test_a_container_of_the_first_version(monkeypatch):
    files(monkeypatch, cpu__cpu_DOT_cfs_quota_us="100000", cpu__cpu_DOT_cfs_period_us="100000")
    assert hardware.cores().quota == 1
    files(monkeypatch, cpu__cpu_DOT_cfs_quota_us="-1", cpu__cpu_DOT_cfs_period_us="100000")
    assert hardware.cores().quota is None


def test_features_that_the_build_leaves_unused():
    used = "CPU : AVX2 = 1 | FMA = 1"
    assert doctor.unused_features(frozenset({"avx2", "fma", "avx512f"}), used) == ["AVX512"]
    assert doctor.unused_features(frozenset({"avx2", "fma"}), used) == []


# ── the GPU ─────────────────────────────────────────────────────────────────────────────────────────────────────

CARD = Device("CUDA0", "A card", "gpu", 8 << 30, 8 << 30)


def test_layers_go_to_the_gpu_as_far_as_they_fit(random_model):
    head = read_header(random_model("tiny-llama"))
    assert fit.offload(head, 1 << 30, [], 4, 512) == fit.Offload(0)
    assert fit.offload(head, 1 << 30, [CARD], 4, 512) == fit.Offload(-1)
    short = fit.offload(head, 12 << 30, [CARD], 4, 512)
    assert short.layers == 1
    assert "1 of 3 layers fit CUDA0" in short.why
    assert "--gpu-layers 0" in short.why
    assert fit.offload(head, 12 << 30, [replace(CARD, free_bytes=0)], 4, 512).layers == 0


def test_the_users_layers_win(random_model):
    model = identity.identify(random_model("tiny-llama")).model
    assert fit.layers_for([model], 7) == 7
    if not supports_gpu():
        assert fit.layers_for([model], None) == 0


def test_short_gpu_memory_is_logged_each_time(random_model, monkeypatch, caplog):
    """The number is found once and kept; why it is not more is said on every run."""
    model = identity.identify(random_model("tiny-llama")).model
    monkeypatch.setattr(fit, "supports_gpu", lambda: True)
    for free in (10_000, 8 << 30):
        monkeypatch.setattr(fit, "devices", lambda free=free: [replace(CARD, free_bytes=free)])
        assert fit.layers_for([model], None) == 0
        assert "0 of 3 layers fit CUDA0" in caplog.messages[-1]
        caplog.clear()
    assert fit.layers_for([model, model], None) == -1


@pytest.mark.parametrize(("given", "code"), [("auto", 0), ("0", 0), ("many", 2)])
def test_the_option(random_model, tmp_path, given, code):
    arguments = ["run", str(random_model("tiny-llama")), "demo-number", "-n", "1", "--gpu-layers", given]
    arguments += ["--db", str(tmp_path / "x.db"), "--lanes", "2", "--threads", "1", "--max-tokens", "4"]
    assert CliRunner().invoke(main, arguments).exit_code == code


@pytest.mark.skipif(supports_gpu(), reason="this llama.cpp has a GPU backend")
def test_layers_without_a_gpu_backend_are_refused(random_model):
    with pytest.raises(LocalentError, match=r"built without a GPU backend.*--gpu-layers 0 or auto"):
        doctor.examine(random_model("tiny-llama"), layers=3)


@pytest.mark.skipif(not supports_gpu(), reason="this llama.cpp has no GPU backend")
@pytest.mark.parametrize("layers", [-1, 1])
def test_the_bundled_model_on_a_gpu(bundled, tmp_path, layers):
    """Results carry the backend; entropies are those of the CPU within its noise."""
    means = {}
    for n in (0, layers):
        chosen = Settings(lanes=4, threads=1, max_tokens=32, temperature=0.0, gpu_layers=n)
        outcome = run(str(bundled), tasks.load("demo-number").first(8), db=tmp_path / "x.db", settings=chosen)
        with open_db(tmp_path / "x.db", readonly=True) as store:
            means[n] = sum(store.tokens(outcome.run_id, ["entropy"])["entropy"])
            assert (store.run(outcome.run_id).build["backend"] == "cpu") == (n == 0)
    assert means[0] == pytest.approx(means[layers], rel=0.05)
