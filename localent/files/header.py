"""A GGUF header in a fraction of a second: fields, tensors, quant, bits per weight, the cost of a lane.

Nothing is trusted: every length is checked against the file before it is used. `identity` adds the file's hash.
"""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localent.errors import LocalentError
from localent.files.fields import MOST, fault
from localent.files.opening import refuse_special

MOST_BYTES = 1 << 28  # of header; the largest real ones (262k tokens, 500k merges) take 20 MB
MOST_KEYS, MOST_TENSORS = 1 << 16, 1 << 20
SCALARS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
PART = re.compile(r"(?P<stem>.*)-(?P<part>\d{5})-of-(?P<parts>\d{5})\.gguf$")


MODEL = "model"
OTHERS = {"adapter": "LoRA adapter", "mmproj": "projector of images", "imatrix": "importance matrix"}  # general.type
OTHER_ARCHS = {"clip": "projector of images", "controlvector": "control vector"}  # where no general.type is written


class DamagedError(LocalentError):
    """The header contradicts itself or the file."""


@dataclass(frozen=True, slots=True)
class Tensor:
    name: str
    dims: tuple[int, ...]  # ggml's order: the row length first
    kind: int  # ggml type
    offset: int  # bytes from the start of the data

    @property
    def n_elements(self) -> int:
        total = 1
        for n in self.dims:
            total *= n
        return total


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of a header. Arrays of strings are tuples of bytes; other arrays are tuples of numbers."""

    path: Path
    version: int
    fields: dict[str, Any]
    tensors: tuple[Tensor, ...]
    data_start: int
    file_bytes: int
    spans: dict[str, tuple[int, int]]  # first byte and end of each field in the file, its name included

    @property
    def arch(self) -> str:
        return str(self.fields.get("general.architecture", ""))

    def arch_field(self, name: str, default: Any = None) -> Any:
        """A hyperparameter of the architecture: arch_field("block_count")."""
        return self.fields.get(f"{self.arch}.{name}", default)

    @property
    def purpose(self) -> str:
        """MODEL, or what else the file is, in words."""
        return _purpose(self.fields)

    @property
    def n_params(self) -> int:
        return sum(tensor.n_elements for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float | None:
        """Bits of all tensors over weights; None where there are none or their type is not known."""
        sizes = [size for tensor in self.tensors if (size := tensor_bytes(tensor)) is not None]
        return 8 * sum(sizes) / max(self.n_params, 1) if sizes and len(sizes) == len(self.tensors) else None

    @property
    def quant(self) -> str:
        """As GGUF spells it, from the file type, else from the type that holds most weights."""
        import gguf

        file_type = self.fields.get("general.file_type")
        if file_type in set(gguf.LlamaFileType):
            return gguf.LlamaFileType(file_type).name.removeprefix("MOSTLY_").removeprefix("ALL_")
        counts: dict[int, int] = {}
        for tensor in self.tensors:
            counts[tensor.kind] = counts.get(tensor.kind, 0) + tensor.n_elements
        most = max(counts, key=lambda kind: counts[kind], default=None)
        return gguf.GGMLQuantizationType(most).name if most in set(gguf.GGMLQuantizationType) else "unknown"

    @property
    def kv_bytes(self) -> int:
        """Bytes of one token in the key-value cache, F16, all layers; 0 where there is no attention."""
        heads = self.arch_field("attention.head_count_kv", self.arch_field("attention.head_count", 0))
        layers = int(self.arch_field("block_count", 0))
        n_heads = sum(heads) if isinstance(heads, tuple) else int(heads) * layers
        return 2 * n_heads * (self.head_dim("key_length") + self.head_dim("value_length"))

    def head_dim(self, name: str) -> int:
        """Numbers of one attention head: "key_length" or "value_length"."""
        heads = self.arch_field("attention.head_count", 0)
        n_heads = max(heads) if isinstance(heads, tuple) and heads else heads or 0
        derived = int(self.arch_field("embedding_length", 0)) // n_heads if n_heads else 0
        return int(self.arch_field(f"attention.{name}", derived))


def read_header(path: Path) -> Header:
    """Read a header. Raises DamagedError, or LocalentError where there is no GGUF file."""
    path = Path(path)
    refuse_special(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            found = _Reader(view).read(path)
            _check(found)
            return found
    except DamagedError as error:
        raise DamagedError(f"{path.name} is damaged or cut off ({error}): download it again.") from None
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise LocalentError(f"{path} cannot be read ({error}): check the path and its permissions.") from None


def read_purpose(path: Path) -> str:
    """The role of a file, from its first fields alone, without its vocabulary: MODEL, or another in words.

    Raises LocalentError where there is no GGUF file.
    """
    refuse_special(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            return _purpose(dict(_Reader(view).first_fields(path)))
    except (OSError, ValueError) as error:
        raise LocalentError(f"{path} cannot be read ({error}): check the path and its permissions.") from None


def _purpose(fields: dict[str, Any]) -> str:
    kind = "adapter" if "adapter.type" in fields else fields.get("general.type")
    return OTHERS.get(str(kind)) or OTHER_ARCHS.get(str(fields.get("general.architecture"))) or MODEL


def _check(found: Header) -> None:
    """Raise DamagedError for a field that is not of its form, two tensors of one name, or some beyond the file."""
    if broken := fault(found.fields):
        raise DamagedError(broken)
    if len({tensor.name for tensor in found.tensors}) != len(found.tensors):
        raise DamagedError("two of its tensors have one name")
    if huge := next((tensor.name for tensor in found.tensors if tensor.n_elements > MOST), None):
        raise DamagedError(f"its tensor {huge[:80]} is larger than any")
    ends = [found.data_start + tensor.offset + (tensor_bytes(tensor) or 0) for tensor in found.tensors]
    needed = max(ends, default=0)
    if needed > found.file_bytes:
        raise DamagedError(f"its tensors end at byte {needed:,}, the file at {found.file_bytes:,}")


def parts(path: Path) -> list[Path]:
    """All files of a split model, given its first; the file itself where it is not split."""
    match = PART.match(path.name)
    if not match:
        return [path]
    n = int(match["parts"])
    return [path.with_name(f"{match['stem']}-{i:05d}-of-{n:05d}.gguf") for i in range(1, n + 1)]


def tensor_bytes(tensor: Tensor) -> int | None:
    """Bytes of a tensor's data; None for a type that the gguf package does not know or rows that do not fit it."""
    import gguf

    if tensor.kind not in set(gguf.GGMLQuantizationType) or not tensor.dims:
        return None
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(tensor.kind)]
    return None if tensor.dims[0] % block else tensor.n_elements // block * size


class _Reader:
    """A cursor over the bytes of a header."""

    def __init__(self, view: mmap.mmap):
        self.view, self.at = view, 0
        self.end = min(len(view), MOST_BYTES)

    def read(self, path: Path) -> Header:
        version, n_tensors, n_keys = self.start(path)
        fields, spans = {}, {}
        for _ in range(n_keys):
            start, (key, value) = self.at, self.field()
            if key in fields:
                raise DamagedError(f"two of its fields are called {key[:80]}")
            fields[key], spans[key] = value, (start, self.at)
        tensors = tuple(self.tensor() for _ in range(n_tensors))
        step = fields.get("general.alignment", 32)
        step = step if isinstance(step, int) and step > 0 else 32
        return Header(path, version, fields, tensors, -(-self.at // step) * step, len(self.view), spans)

    def start(self, path: Path) -> tuple[int, int, int]:
        """Version, number of tensors and of fields."""
        magic, version = self.take(4), self.number("<I")
        if magic != b"GGUF":
            raise LocalentError(f"{path} is not a GGUF file (it starts with {magic!r}): download it again.")
        n_tensors, n_keys = self.number("<Q"), self.number("<Q")
        if n_keys > MOST_KEYS or n_tensors > MOST_TENSORS:
            raise DamagedError(f"it claims {n_keys:,} fields and {n_tensors:,} tensors")
        return version, n_tensors, n_keys

    def first_fields(self, path: Path) -> Iterator[tuple[str, Any]]:
        """The fields before the tokenizer's, which are long and come late."""
        _, _, n_keys = self.start(path)
        for _ in range(n_keys):
            key = self.name()
            if key.startswith("tokenizer."):
                return
            yield key, self.value(self.number("<I"))

    def take(self, n: int) -> bytes:
        if n > self.end - self.at:
            raise DamagedError(f"its header ends early, at byte {len(self.view):,}")
        self.at += n
        return self.view[self.at - n : self.at]

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", "replace")

    def name(self) -> str:
        """The name of a field or a tensor, which llama.cpp and gguf know by these very bytes."""
        raw = self.take(self.number("<Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise DamagedError(f"it has a name that is not UTF-8, {raw[:40]!r}") from None

    def field(self) -> tuple[str, Any]:
        return self.name(), self.value(self.number("<I"))

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array(self.number("<I"), self.number("<Q"))
        if kind not in SCALARS:
            raise DamagedError(f"its header has a field of unknown type {kind}")
        return self.number(SCALARS[kind])

    def array(self, kind: int, length: int) -> tuple[Any, ...]:
        if kind == STRING:
            return self.strings(length)
        if kind not in SCALARS:
            raise DamagedError(f"its header has a list of unknown type {kind}")
        form = SCALARS[kind]
        self.fits(struct.calcsize(form) * length)
        return struct.unpack(f"<{length}{form[-1]}", self.take(struct.calcsize(form) * length))

    def strings(self, length: int) -> tuple[bytes, ...]:
        """Half a million of them in a real header, so this is written for speed."""
        self.fits(8 * length)
        found, at, end, view, size = [], self.at, self.end, self.view, struct.Struct("<Q")
        for _ in range(length):
            start = at + 8
            if start > end or (at := start + size.unpack_from(view, at)[0]) > end:
                raise DamagedError("its header ends within a list of texts")
            found.append(view[start:at])
        self.at = at
        return tuple(found)

    def fits(self, n: int) -> None:
        if n > self.end - self.at:
            raise DamagedError(f"its header has a list that is longer than the file ({n:,} bytes)")

    def tensor(self) -> Tensor:
        name, n_dims = self.name(), self.number("<I")
        if n_dims > 8:
            raise DamagedError(f"its header has a tensor of {n_dims} dimensions")
        dims = tuple(self.number("<Q") for _ in range(n_dims))
        return Tensor(name, dims, self.number("<I"), self.number("<Q"))
