"""The identity of a GGUF file, read from its header before llama.cpp ever sees it.

llama.cpp's loader may end the process on a malformed file and gives no reasons; this looks first.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gguf

from localent.errors import LocalentError, UsageError
from localent.files import cache
from localent.files.header import MODEL, Header, parts, read_header
from localent.files.opening import real, refuse_special
from localent.records import Model

CHUNK_BYTES = 1 << 22
VERSIONS = (2, 3)
TOKENIZER = "tokenizer.ggml."
LONGEST_NAME = 200  # characters: a name is shown in every table
BROKEN = (ValueError, LookupError, ArithmeticError, TypeError, AttributeError, MemoryError, struct.error, EOFError)


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of one GGUF file: the model's record, its chat template, and what it can be used for."""

    model: Model
    template: str | None
    has_weights: bool
    has_tokenizer: bool
    writes: bool  # False: attention in both directions, an encoder or embedding model


def identify(path: Path) -> Identity:
    """Read and check a GGUF file, once for each path, size and time of change.

    Raises UsageError for a missing file, LocalentError for a foreign, cut-off or damaged one, and for one that is no
    model: a LoRA adapter, a projector of images, an importance matrix.
    """
    path = real(Path(path))
    _check_magic(path)
    _check_parts(path)
    key = cache.file_key(path, *parts(path)[1:])
    known = cache.read("identities", key, _from_json)
    if known is not None:
        return known
    found = _parse(path)
    cache.write("identities", key, asdict(found))
    return found


def _check_magic(path: Path) -> None:
    if path.is_dir():
        raise LocalentError(f"{path} is a folder: name a .gguf file in it.")
    refuse_special(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}: 'localent models' lists those on this disk.") from None
    except OSError as error:
        raise LocalentError(f"{path} cannot be read: {error.strerror}.") from None
    if not magic:
        raise LocalentError(f"{path} is empty: download it again.")
    if magic != b"GGUF":
        raise LocalentError(f"{path} is not a GGUF file (it starts with {magic!r}): download it again or convert it.")


def _check_parts(path: Path) -> None:
    first = parts(path)[0]
    if path != first:
        raise LocalentError(f"{path.name} is a later part of a split model: name its first part, {first.name}.")
    missing = next((part for part in parts(path) if not part.exists()), None)
    if missing:
        raise LocalentError(f"{path.name} is missing its part {missing.name}: put all parts into one folder.")


def _parse(path: Path) -> Identity:
    seen = read_header(path)
    if seen.purpose != MODEL:
        raise LocalentError(f"{path.name} is no model but {_with_article(seen.purpose)}: name a whole model.")
    try:
        model, template = _identity(path, seen)
        model = _with_parts(model, path)
    except BROKEN as error:
        raise LocalentError(f"{path} is damaged or cut off ({error}): download it again.") from None
    has_tokenizer = seen.fields.get("tokenizer.ggml.model") not in (None, "none", "no_vocab")
    writes = seen.arch_field("attention.causal") is not False
    return Identity(model, template, model.n_params > 0, has_tokenizer, writes)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _with_parts(model: Model, path: Path) -> Model:
    """The identity of a split model: the sums of its parts, and the hash of their hashes."""
    others = [part for part in parts(path) if part != path]
    if not others:
        return model
    seen = [read_header(part) for part in parts(path)]
    n_params = sum(part.n_params for part in seen)
    digests = [model.sha256, *map(file_sha256, others)]
    return replace(
        model,
        sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
        n_params=n_params,
        file_bytes=sum(part.file_bytes for part in seen),
        bits_per_weight=sum((part.bits_per_weight or 0.0) * part.n_params for part in seen) / max(n_params, 1),
        tensor_types=_summed([_histogram(part) for part in seen]),
    )


def _summed(counts: list[dict[str, int]]) -> dict[str, int]:
    names = sorted({name for count in counts for name in count})
    return {name: sum(count.get(name, 0) for count in counts) for name in names}


def _identity(path: Path, seen: Header) -> tuple[Model, str | None]:
    fields, arch = seen.fields, seen.fields.get("general.architecture")
    if not isinstance(arch, str):
        raise ValueError("it names no architecture")
    if seen.version not in VERSIONS:
        raise ValueError(f"GGUF version {seen.version}")
    template = fields.get("tokenizer.chat_template")
    tokens = fields.get("tokenizer.ggml.tokens")
    return Model(
        sha256=file_sha256(path),
        name=(fields.get("general.name") or path.stem)[:LONGEST_NAME],
        path=str(path),
        arch=arch,
        quant=seen.quant,
        n_params=seen.n_params,
        file_bytes=seen.file_bytes,
        bits_per_weight=seen.bits_per_weight or 0.0,
        tensor_types=_histogram(seen),
        n_vocab=len(tokens) if tokens else int(seen.arch_field("vocab_size", 0)),
        n_ctx_train=int(seen.arch_field("context_length", 0)),
        tokenizer_sha256=_tokenizer_sha256(seen),
        template_sha256=hashlib.sha256(template.encode()).hexdigest() if template else None,
    ), template


def tokenizer_fields(path: Path) -> dict[str, Any]:
    """The fields of a file's tokenizer, by name without their prefix; its chat template is not among them."""
    fields = read_header(path).fields
    return {key.removeprefix(TOKENIZER): value for key, value in fields.items() if key.startswith(TOKENIZER)}


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _histogram(seen: Header) -> dict[str, int]:
    """Weights by tensor type. Raises ValueError for a type that the gguf package does not know."""
    counts: dict[str, int] = {}
    for tensor in seen.tensors:
        name = gguf.GGMLQuantizationType(tensor.kind).name
        counts[name] = counts.get(name, 0) + tensor.n_elements
    return dict(sorted(counts.items()))


def _tokenizer_sha256(seen: Header) -> str:
    """Hash of all tokenizer fields but the chat template: equal means token ids can be compared."""
    digest = hashlib.sha256()
    with seen.path.open("rb") as file:
        for key in sorted(k for k in seen.fields if k.startswith(TOKENIZER)):
            start, end = seen.spans[key]
            file.seek(start)
            digest.update(key.encode() + file.read(end - start))
    return digest.hexdigest()


def _from_json(fields: dict[str, Any]) -> Identity:
    return Identity(Model(**fields.pop("model")), **fields)
