"""The identity of a run: a hash of everything that can change one bit of its rows.

Model, task, its data, prompts, sampling, lanes, threads and build are in it. Which of the problems and how many samples
is not, so a run can be extended, split (runs/shard.py) and joined; nor is the size of the context, which changes no bit
(tests/engine/test_llama.py). Two files under one task name are two runs; a bundled task has no file of its own, and is
told by the version in the build.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

import localent
from localent import engine
from localent.machine import hardware
from localent.records import Run
from localent.runs.questions import Prompts
from localent.runs.settings import DEFAULTS, GO_ON, TEXT, Settings

NO_BITS = ("ctx", "shard")  # settings that change no bit of a trace
LATER = (  # settings that did not exist for earlier runs
    *("alternatives", "system", "template_vars", "chat_template", "think_budget", "noise_of", "stop", "stop_from"),
    *("min_p", "repeat_penalty", "presence_penalty", "frequency_penalty", "repeat_last_n"),
    *("cache_type_k", "cache_type_v"),
)
OF_TEXT = ("answer_by", "option_score")  # recorded where options are answered by their text


def record_of(model_sha256: str, prompts: Prompts, build: dict[str, object]) -> Run:
    """The record of a run with complete settings, made by a build (see build_of)."""
    chosen = _recorded(prompts.settings) | {"shots": prompts.n_shots, "prompt": prompts.digest()} | _engine_options()
    chosen |= {"data": prompts.task.data} if prompts.task.data else {}
    content = json.dumps([model_sha256, prompts.task.name, chosen, build], sort_keys=True)
    run_id = hashlib.sha256(content.encode()).hexdigest()[:12]
    return Run(run_id, model_sha256, prompts.task.name, chosen, build)


def _recorded(settings: Settings) -> dict[str, object]:
    """The settings that identify a run; those of LATER only where they are used, so that ids of old runs stay."""
    chosen = {name: value for name, value in asdict(settings).items() if name not in NO_BITS}
    usual = asdict(DEFAULTS)
    chosen = {name: value for name, value in chosen.items() if name not in LATER or (value and value != usual[name])}
    as_before = {"after_answer": GO_ON, "end_loops": False}  # what earlier runs, which record neither, did
    chosen = {name: value for name, value in chosen.items() if name not in as_before or value != as_before[name]}
    if settings.answer_by != TEXT:
        chosen = {name: value for name, value in chosen.items() if name not in OF_TEXT}
    if not (settings.probe and settings.probes):  # not recorded: after every step, as before there was a choice
        del chosen["probes"]
    return chosen if settings.probe else chosen | dict.fromkeys(("epsilon", "max_fed", "paths"))


def _engine_options() -> dict[str, object]:
    """The engine's options that no setting covers."""
    options = engine.Options(n_lanes=1, n_ctx=1, n_threads=1)
    return {"chunk": options.chunk, "flash_attn": options.flash_attn}


def build_of(path: Path, gpu_layers: int) -> dict[str, object]:
    """The software and hardware that compute a run, as far as they can change a bit."""
    versions = {"localent": localent.__version__, "numpy": np.__version__}
    return {**engine.build_info(gpu_layers, path), **versions, "processor": hardware.host()["cpu"]}
