"""What this machine does with a model: what is there, how fast it is, what repeats to the bit, and what does not.

`examine` returns findings in the order in which people read them. Everything measured is short; a model that is
slow gets fewer tokens, and the findings say how many.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import localent
from localent import machine
from localent.engine import Prompt, Rewind, drive, header
from localent.engine.glance import Glance, glance, parts
from localent.engine.llama import (
    CTX_STEP,
    PINNED,
    LlamaEngine,
    LlamaModel,
    Options,
    build_info,
    check_bindings,
    devices,
    supports_gpu,
)
from localent.entropy import Meter, kl, log_softmax
from localent.entropy import entropy as entropy_of
from localent.errors import LocalentError
from localent.fit import gpu_layers
from localent.models.disk import needed_bytes
from localent.models.hub import hub_cache
from localent.sampling import Sampler

LANES = (1, 4, 8, 16, 32)
CONTEXTS = (512, 2048, 8192)  # of a lane
SPEED_S = 0.5  # seconds for each lane count
FEATURES = {"avx2": "AVX2", "avx512f": "AVX512", "fma": "FMA", "f16c": "F16C", "avx512_vnni": "AVX512_VNNI"}
FEATURES |= {"asimddp": "DOTPROD", "i8mm": "MATMUL_INT8", "sve": "SVE"}
CHUNKS = (32, 256)
BUILD = ("llama_cpp_python", "backend", "cpu", "machine", "localent")  # of a run's record: what a report is about
BASE = dict(lanes=4, chunk=256, flash_attn=True)
PROMPT_TOKENS, STEPS = 40, 24  # of the invariance jobs and the noise text


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `ok`: None where there is nothing to judge."""

    part: str  # "machine", "build", "gpu", "model", "speed", "invariance", "noise", "advice"
    name: str
    value: str | float | int | None
    unit: str | None = None
    ok: bool | None = None
    note: str | None = None  # what it means, or what to do


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, and what they are about."""

    model_sha256: str | None
    build: dict[str, str]
    findings: tuple[Finding, ...]

    def of(self, part: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.part == part]


def examine(
    path: Path | None,
    *,
    measure: bool = True,
    layers: int | None = None,
    status: Callable[[str], None] = lambda t: None,
) -> Report:
    """Look at the machine, the build and, with `path`, the model; with `measure`, let it run for some seconds.

    layers: on the GPU; None: as many as fit. Raises LocalentError for a model that cannot be used.
    """
    status("looking at the machine")
    findings = [*_machine(), *_build(), *_gpus()]
    if path is None:
        return Report(None, _identity(0), tuple(findings))
    head, model = glance(path), header.read(path).model
    offloaded = gpu_layers(path) if layers is None else None
    layers = offloaded.layers if offloaded else layers
    findings += _model(path, head, model)
    if offloaded and offloaded.why:
        findings.append(Finding("gpu", "layers", layers, None, False, offloaded.why))
    if measure:
        findings += _measured(path, layers, status)
    return Report(model.sha256, _identity(layers), tuple(findings))


def save(report: Report) -> Path:
    """Keep a report, so that later runs of the same model and build can be stored with it."""
    place = _place(report.model_sha256 or "none", report.build)
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = place.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(report), ensure_ascii=False))
    partial.replace(place)
    return place


def remembered(model_sha256: str, build: dict[str, str]) -> Report | None:
    """The last report on this model and build, on this machine."""
    try:
        kept = json.loads(_place(model_sha256, build).read_text())
        return Report(kept["model_sha256"], kept["build"], tuple(Finding(**f) for f in kept["findings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def rows(report: Report | None) -> list[dict[str, object]]:
    """A report as rows of the table checks."""
    return [_row(finding) for finding in report.findings] if report else []


def _row(finding: Finding) -> dict[str, object]:
    number = float(finding.value) if isinstance(finding.value, int | float) else None
    value = None if finding.value is None else str(finding.value)
    ok = None if finding.ok is None else int(finding.ok)
    shown = {"part": finding.part, "name": finding.name, "value": value, "number": number}
    return shown | {"unit": finding.unit, "ok": ok, "note": finding.note}


def _identity(layers: int) -> dict[str, str]:
    return build_info(layers) | {"localent": localent.__version__}


def _place(model_sha256: str, build: dict[str, str]) -> Path:
    same = {name: build.get(name) for name in BUILD}
    key = hashlib.sha256(json.dumps([model_sha256, same], sort_keys=True).encode()).hexdigest()[:32]
    return header.cache_dir() / "doctor" / f"{key}.json"


# ── what is there ───────────────────────────────────────────────────────────────────────────────────────────────


def _machine() -> Iterator[Finding]:
    cores, room, total = machine.cores(), machine.available_memory(), machine.total_memory()
    yield Finding("machine", "Python", platform.python_version(), ok=sys.version_info >= (3, 11))
    yield Finding("machine", "system", platform.platform())
    yield Finding("machine", "processor", machine.host()["cpu"])
    limits = {"affinity": cores.allowed, "physical cores": cores.physical, "control group": cores.quota}
    told = ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit)
    yield Finding("machine", "threads allowed", cores.usable, None, True, f"the least of {told}")
    if room is not None:
        yield Finding("machine", "memory free", round(room / 1e9, 2), "GB", None, f"of {(total or room) / 1e9:.1f} GB")
    for name, folder in (("models", hub_cache()), ("cache", header.cache_dir())):
        free = machine.free_disk(folder)
        yield Finding("machine", f"disk free for {name}", round(free / 1e9, 1), "GB", free > 1e9, str(folder))


def _build() -> Iterator[Finding]:
    info = build_info(0)
    yield Finding("build", "localent", localent.__version__)
    yield Finding("build", "llama-cpp-python", info["llama_cpp_python"], None, info["llama_cpp_python"] == PINNED)
    try:
        check_bindings()
        yield Finding("build", "bindings fit the library", "yes", None, True)
    except LocalentError as error:
        yield Finding("build", "bindings fit the library", "no", None, False, str(error))
    yield Finding("build", "features in use", info["cpu"])
    unused = unused_features(machine.cpu_flags(), info["cpu"])
    if unused:
        line = install_line("NATIVE")
        yield Finding("build", "features not in use", ", ".join(unused), None, False, f"build for this CPU: {line}")


def unused_features(flags: frozenset[str], used: str) -> list[str]:
    """What the processor has and llama.cpp was not built for."""
    return [name for flag, name in FEATURES.items() if flag in flags and f"{name} = 1" not in used]


def install_line(backend: str, arch: str | None = None) -> str:
    """The command that builds llama.cpp for a backend; without the cache, whose key is the version alone."""
    option = f"-DGGML_{backend}=on" + (f" -DCMAKE_CUDA_ARCHITECTURES={arch}" if backend == "CUDA" and arch else "")
    pip = f'"{sys.executable}" -m pip install --force-reinstall --no-cache-dir --no-deps "llama-cpp-python=={PINNED}"'
    return f'CMAKE_ARGS="{option}" {pip}'


def _gpus() -> Iterator[Finding]:
    found, usable = machine.gpus(), [device for device in devices() if device.kind != "cpu"]
    for device in usable:
        free = f"{device.free_bytes / 1e9:.1f} of {device.total_bytes / 1e9:.1f} GB free"
        yield Finding("gpu", device.name, device.description, None, True, free)
    for gpu in found:
        memory = "" if gpu.total_bytes is None else f"{gpu.total_bytes / 1e9:.1f} GB. "
        if supports_gpu():
            continue
        advice = (
            f"{memory}This llama.cpp does not use it; to build one that does: {install_line(gpu.backend, gpu.arch)}"
        )
        yield Finding("gpu", gpu.name, gpu.backend, None, False, advice)
    if not found and not usable:
        yield Finding("gpu", "GPU", "none found", None, None, f"if there is one: {install_line('VULKAN')}")


def _model(path: Path, head: Glance, model) -> Iterator[Finding]:
    n_bytes = sum(part.stat().st_size for part in parts(path))
    yield Finding("model", "name", model.name, None, None, str(path))
    yield Finding("model", "architecture", model.arch, None, None, f"{model.n_params / 1e6:,.1f} million parameters")
    yield Finding("model", "quant", model.quant, None, None, f"{model.bits_per_weight:.2f} bits per weight")
    yield Finding("model", "size", round(n_bytes / 1e9, 3), "GB")
    yield Finding("model", "context", model.n_ctx_train, "tokens")
    yield Finding("model", "a lane of 1,024 tokens", round(head.kv_bytes * 1024 / 1e9, 4), "GB")
    room = machine.available_memory()
    if room is None:
        return
    limit = model.n_ctx_train or max(CONTEXTS)
    contexts = sorted({min(ctx, limit) for ctx in CONTEXTS})
    fitting = {ctx: n for ctx in contexts for n in LANES if needed_bytes(head, n_bytes, n, ctx) <= room}
    fits = ", ".join(f"{n} lane{'s' * (n > 1)} of {ctx:,} tokens" for ctx, n in fitting.items())
    advice = None if fits else f"it needs {needed_bytes(head, n_bytes, 1, 512) / 1e9:.1f} GB: take a smaller quant"
    yield Finding("model", "fits", fits or "no", None, bool(fits), advice)


# ── what it does ────────────────────────────────────────────────────────────────────────────────────────────────


def _measured(path: Path, layers: int, status: Callable[[str], None]) -> Iterator[Finding]:
    with LlamaModel(path, layers) as model:
        status("measuring speed")
        speeds = _speeds(model)
        best = min(n for n, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))
        yield from _speed_findings(model, speeds, best)
        status("checking that results repeat to the last bit")
        exact = list(_invariance(model))
        yield from exact
        status("measuring how far other settings move the numbers")
        noise = list(_noise(model))
        yield from noise
        yield _advice(exact, noise, best)


def _options(model: LlamaModel, **changed) -> Options:
    """What the checks run with, unless they change it."""
    chosen = BASE | dict(threads=n_threads()) | changed
    return Options(
        n_lanes=chosen["lanes"],
        n_ctx=CTX_STEP,
        n_threads=chosen["threads"],
        chunk=chosen["chunk"],
        flash_attn=chosen["flash_attn"],
    )


def n_threads() -> int:
    """Those of a run."""
    return machine.usable_cores()


def _speeds(model: LlamaModel) -> dict[int, float]:
    """Lanes -> tokens per second of bare decodes, the fastest of those that fit into the time."""
    room, found = machine.available_memory(), {}
    for n in LANES:
        if room is not None and model.kv_bytes((n + 1) * CTX_STEP) > room / 2:
            break
        with closing(LlamaEngine(model, _options(model, lanes=n))) as engine:
            found[n] = n / min(_timed(lambda engine=engine, n=n: engine.decode([0] * n), SPEED_S))
    return found


def _timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Seconds of each call after the first, for so long, at least two."""
    call()
    end, found = time.perf_counter() + seconds, []
    while len(found) < 2 or (time.perf_counter() < end and len(found) < 100):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def _speed_findings(model: LlamaModel, speeds: dict[int, float], best: int) -> Iterator[Finding]:
    for n, speed in speeds.items():
        note = "the fewest lanes within 5 % of the fastest" if n == best else None
        yield Finding("speed", f"{n} lane{'s' * (n > 1)}", round(speed, 1), "tokens/s", None, note)
    seconds = _measuring_seconds(model)
    share = seconds / (seconds + 1 / speeds[best])
    note = f"{share:.0%} of the time at {best} lanes goes into measures and sampling"
    yield Finding("speed", "measuring a token", round(1000 * seconds, 3), "ms", share < 0.5, note)


def _measuring_seconds(model: LlamaModel) -> float:
    """Seconds for the measures of one prediction and drawing from it."""
    meter, sampler = Meter(model.vocab.n_tokens), Sampler(0.7)
    with closing(LlamaEngine(model, _options(model, lanes=1))) as engine:
        row = engine.prefill(0, Prompt(_text(model, 8))).copy()

    def once() -> None:
        reading = meter.read(row)
        meter.taken(row, reading, sampler.sample(meter, row, reading, 0.5))

    return min(_timed(once, SPEED_S / 4))


def _text(model: LlamaModel, n: int, start: int = 0) -> list[int]:
    """Tokens that any vocabulary has, none of which ends a text."""
    usable = [t for t in range(min(model.vocab.n_tokens, 512 + len(model.vocab.eog))) if t not in model.vocab.eog]
    return [usable[(7 * i + i * i + start) % len(usable)] for i in range(n)]


# ── to the bit ──────────────────────────────────────────────────────────────────────────────────────────────────


def _job(tokens: Sequence[int], *, probing: bool = False):
    """Coroutine: feed a prompt, then tokens that are given; the digest of every row on the way.

    With `probing` the lane is taken elsewhere and back again between them, as probes do.
    """
    n_prompt, digest = len(tokens) - STEPS, hashlib.sha256()
    row = yield Prompt(tokens[:n_prompt])
    digest.update(row.tobytes())
    for i, token in enumerate(tokens[n_prompt:]):
        if probing and i % 5 == 2:
            yield Rewind(n_prompt + i)
            for aside in tokens[:3]:
                row = yield aside
            yield Rewind(n_prompt + i)
        row = yield token
        digest.update(row.tobytes())
    return digest.hexdigest()


def _invariance(model: LlamaModel) -> Iterator[Finding]:
    """The same work in other company, other order, with probes, and in a fresh context."""
    texts = [_text(model, PROMPT_TOKENS - 3 * i + STEPS, 11 * i) for i in range(6)]

    def digests(jobs: Sequence) -> list[str]:
        with closing(LlamaEngine(model, _options(model))) as engine:
            return sorted(drive(engine, jobs))

    whole = digests([_job(text) for text in texts])
    alone = sorted(digest for text in texts[:2] for digest in digests([_job(text)]))
    checks = {
        "neighbours": set(alone) <= set(whole),
        "order": digests([_job(text) for text in reversed(texts)]) == whole,
        "probes": digests([_job(text, probing=True) for text in texts]) == whole,
        "resume": sorted([*digests([_job(t) for t in texts[:3]]), *digests([_job(t) for t in texts[3:]])]) == whole,
    }
    for name, same in checks.items():
        note = None if same else "results of this backend depend on it: compare only runs that were made the same way"
        yield Finding("invariance", name, "identical to the last bit" if same else "differs", None, same, note)


def _noise(model: LlamaModel) -> Iterator[Finding]:
    """How far the numbers move when only the way of computing changes; the text is given, so nothing diverges."""
    text = _text(model, PROMPT_TOKENS + STEPS, 5)
    base = _rows(model, text)
    threads = n_threads()
    others = {
        "1 lane instead of 4": dict(lanes=1),
        "16 lanes instead of 4": dict(lanes=16),
        "micro-batch 32 instead of 256": dict(chunk=CHUNKS[0]),
        "no flash attention": dict(flash_attn=False),
        f"{threads + 1 if threads == 1 else 1} threads instead of {threads}": dict(threads=2 if threads == 1 else 1),
    }
    for name, change in others.items():
        try:
            yield _difference(name, base, _rows(model, text, **change))
        except LocalentError as error:
            yield Finding("noise", name, None, "nats", None, f"not measured: {error}")


def _rows(model: LlamaModel, text: Sequence[int], **changed) -> np.ndarray:
    """Logits after the prompt and after each further token: (STEPS + 1, n_vocab)."""

    def job():
        row = yield Prompt(text[:PROMPT_TOKENS])
        found = [row.copy()]
        for token in text[PROMPT_TOKENS:]:
            row = yield token
            found.append(row.copy())
        return np.stack(found)

    with closing(LlamaEngine(model, _options(model, **changed))) as engine:
        return next(drive(engine, [job()]))


def _difference(name: str, base: np.ndarray, other: np.ndarray) -> Finding:
    """Largest change of a token's entropy, with the change of logits and of the likeliest token beside it."""
    p, q = log_softmax(base), log_softmax(other)
    moved = float(np.abs(entropy_of(p) - entropy_of(q)).max())
    flips = float((base.argmax(axis=-1) != other.argmax(axis=-1)).mean())
    logit, divergence = float(np.abs(base - other).max()), float(np.mean(kl(p, q)))
    note = f"largest |Δ logit| {logit:.2g}, mean KL {divergence:.2g} nats, {flips:.0%} other likeliest tokens"
    return Finding(
        "noise", name, float(f"{moved:.3g}"), "nats", None, "identical to the last bit" if not logit else note
    )


def _advice(exact: Sequence[Finding], noise: Sequence[Finding], best: int) -> Finding:
    """What to do with all this."""
    floor = max((finding.value for finding in noise if finding.value is not None), default=0.0)
    broken = [finding.name for finding in exact if not finding.ok]
    keep = (
        f"use --lanes {best} and keep --lanes, --threads and the build the same in runs that are compared: entropies "
        f"of single tokens that differ by less than {max(floor, 1e-6):.1g} nats across other settings mean nothing"
    )
    if broken:
        keep += f"; here they also depend on {', '.join(broken)}, so a resumed run may not be bit-identical"
    return Finding("advice", "noise floor", floor, "nats", not broken, keep)
