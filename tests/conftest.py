"""Models for tests: random weights of true shape, made on the spot; the bundled one; the small real ones."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("LOCALENT_TEST_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Tests never read or fill the user's cache, configuration or hub folders."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LOCALENT_CACHE", "LOCALENT_DATA", "XDG_CONFIG_HOME", "HF_HOME"):
            patch.setenv(name, str(home / name.lower()))
        yield


@pytest.fixture(scope="session")
def bundled() -> Path:
    """The bundled fine-tuned model."""
    return ROOT / "localent" / "demo" / "abacus-sft-f16.gguf"


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    """Function: shape name -> path of a tiny GGUF with random weights."""
    import random_model

    folder = tmp_path_factory.mktemp("models")

    def make(shape: str, **options) -> Path:
        path = folder / f"{shape}.gguf"
        return path if path.exists() else random_model.write(path, random_model.SHAPES[shape], scale=4.0, **options)

    return make


@pytest.fixture(scope="session")
def untrained(bundled, tmp_path_factory) -> Path:
    """Random weights in the bundled model's shape, with its vocabulary and template."""
    import gguf
    import random_model

    fields = gguf.GGUFReader(bundled).fields
    names = ("block_count", "embedding_length", "feed_forward_length", "attention.head_count")
    names += ("attention.head_count_kv", "context_length")
    layers, embd, ff, heads, heads_kv, ctx = (int(fields[f"llama.{name}"].contents()) for name in names)
    shape = random_model.Shape("llama", layers, embd, ff, heads, heads_kv, embd // heads, ctx)
    return random_model.write(tmp_path_factory.mktemp("untrained") / "untrained.gguf", shape, vocab=bundled)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with public data sets and small real models; they are not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(
            f"no test data at {SHARED}: set LOCALENT_TEST_DATA to a folder that holds gsm8k, svamp, arc and vocab"
        )
    return SHARED


@pytest.fixture
def open_folder():
    """A folder that other users may enter too, which pytest's are not."""
    if not hasattr(os, "seteuid"):
        pytest.skip("this system has no POSIX permissions")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)
