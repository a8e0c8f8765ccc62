"""A cache that is read-only, damaged or no folder at all never stops a command and never loses its work."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from helpers.runs import call
from helpers.stored import without_permission

from localent import engine, models
from localent.doctor import conditions, speed
from localent.engine.llama import guard
from localent.errors import LocalentError
from localent.files import cache, identity
from localent.files.header import read_header

Spoiled = AbstractContextManager[None]
GARBAGE = (b"", b"\xff\xfe{", b"[" * 100_000, b"null", b"5", b'"text"', b"[]", b"{}", b'{"model": 1, "chosen": []}')


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    (folder / "cache").mkdir()
    with without_permission(folder, folder / "cache"):
        yield


@contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    """Nobody may look into it."""
    (folder / "cache").mkdir()
    (folder / "cache").chmod(0)
    with without_permission(folder):
        yield
    (folder / "cache").chmod(0o700)


@contextmanager
def a_file_instead(folder: Path) -> Iterator[None]:
    (folder / "cache").write_text("not a folder")
    yield


@pytest.fixture(params=[read_only, unreadable, a_file_instead])
def spoiled(request, open_folder, monkeypatch) -> Callable[[], Spoiled]:
    """Function: a block in which the cache cannot be used."""

    @contextmanager
    def block() -> Iterator[None]:
        monkeypatch.setenv("LOCALENT_CACHE", str(open_folder / "cache"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(open_folder))
        cache._scratch.cache_clear()  # as in a new process: an earlier test's folder may be another user's
        with request.param(open_folder):
            yield

    return block


@pytest.fixture
def garbled(tmp_path, monkeypatch) -> Callable[[bytes], None]:
    """Function: overwrite every entry of the cache."""
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path / "cache"))

    def spoil(content: bytes) -> None:
        entries = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert entries
        for path in entries:
            path.write_bytes(content)

    return spoil


@pytest.fixture
def file(random_model, open_folder) -> Path:
    """A model that every user may read; what opens it is imported, which another user may not be able to do."""
    place = Path(shutil.copy(random_model("tiny-llama"), open_folder / "m.gguf"))
    place.chmod(0o644)
    with engine.open(random_model("tiny-llama")):
        return place


@pytest.fixture
def short(monkeypatch) -> None:
    monkeypatch.setattr(speed, "SPEED_S", 0.01)
    monkeypatch.setattr(conditions, "LANES", (1, 4))
    monkeypatch.setattr(conditions, "n_threads", lambda: 1)


def test_doctor_prints_its_report(spoiled, file, short):
    call("doctor", file, "--quick")  # imports what another user may not be able to read
    with spoiled():
        code, out, err = call("doctor", file, "--gpu-layers", 0)
    assert (code, err) == (0, "")
    assert "noise floor" in out


def test_an_identity_is_read_from_the_file(spoiled, file):
    expected = identity.identify(file)
    with spoiled():
        assert identity.identify(file) == expected


def test_an_odd_file_is_tried_each_time(spoiled, file, monkeypatch):
    tried: list[Path] = []
    monkeypatch.setattr(guard, "odd", lambda path: ["an architecture"])
    monkeypatch.setattr(guard, "trial", lambda path, purpose: tried.append(path))
    with spoiled():
        guard.check(file)
        guard.check(file)
    assert tried == [file.resolve()] * 2


def test_a_choice_is_made_each_time(spoiled):
    choices = iter([4, 8])
    with spoiled():
        assert [cache.choose_once({"lanes": "x"}, int, lambda: next(choices)) for _ in range(2)] == [4, 8]


def test_a_bundled_quant_is_made_in_a_temporary_folder(spoiled, file):
    kept = models.resolve("abacus-sft:Q8_0")  # imports what another user may not be able to read
    with spoiled():
        made = models.resolve("abacus-sft:Q8_0")
        assert read_header(made).quant == "Q8_0"
        assert models.resolve("abacus-sft:Q8_0") == made
    assert made != kept
    assert made.read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("content", GARBAGE)
def test_garbage_counts_as_absent(garbled, random_model, monkeypatch, content):
    path, tried = random_model("tiny-mamba").resolve(), []
    monkeypatch.setattr(guard, "trial", lambda path, purpose: tried.append(path))
    choices, circumstances = iter([4, 8]), {"lanes": "x"}
    first = identity.identify(path)
    guard.check(path)
    cache.choose_once(circumstances, int, lambda: next(choices))
    garbled(content)
    assert identity.identify(path) == first
    guard.check(path)
    assert cache.choose_once(circumstances, int, lambda: next(choices)) == 8
    assert cache.choose_once(circumstances, int, lambda: next(choices)) == 8  # kept again


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 64])
def test_a_damaged_quant_is_made_again(garbled, content):
    made = models.resolve("abacus-sft:Q8_0")
    whole = made.read_bytes()
    garbled(content)
    assert models.resolve("abacus-sft:Q8_0") == made
    assert made.read_bytes() == whole


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    """As on a full disk: the partial file goes, the entry that was there stays."""
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path))
    cache.write("kind", "key", 1)

    def refuse(path: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    assert cache.write("kind", "key", 2) is False
    assert cache.read("kind", "key", int) == 1
    assert os.listdir(tmp_path / "kind") == ["key.json"]


def test_a_full_disk_moves_a_quant_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("LOCALENT_CACHE", str(tmp_path))

    def make(target: Path) -> None:
        if target.is_relative_to(tmp_path):
            raise LocalentError("llama.cpp could not quantize")
        target.write_bytes(b"made")

    def check(place: Path) -> None:
        if not place.is_file():
            raise LocalentError("absent")

    made = cache.made_file("quants", "full-disk.gguf", check, make)
    assert made.read_bytes() == b"made"


def test_models_open_without_a_cache(spoiled, file):
    with spoiled(), engine.open(file) as model:
        assert model.vocab.n_tokens > 0
