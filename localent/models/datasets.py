"""The public problem sets from their sources: pinned, checked, kept where `localent run` looks for them.

Tasks of tasks.toml name a file of the Hugging Face hub or an address; those of SETS came first and keep their own pins.

A sha256 is given only where it was computed from the file itself; ARC's files come out of a large archive, whose
own checksums (CRC-32) and row counts are checked instead.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import shutil
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.files.identity import file_sha256
from localent.models import hub
from localent.tasks import Known, known
from localent.tasks.load import data_home

TIMEOUT_S = 60
BLOCK = 1 << 20  # bytes of one range of an archive
MOST_BYTES = 1 << 27  # of a file, or of an archive's member; the largest has 1.5 MB
ARC = "https://ai2-public-datasets.s3.amazonaws.com/arc/ARC-V1-Feb2018.zip"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a data set: its address, and what it must contain."""

    folder: str  # of the task that reads it
    name: str
    url: str
    n_rows: int | None = None
    sha256: str | None = None
    member: str | None = None  # its place in the archive at `url`


SETS: dict[str, tuple[File, ...]] = {
    "gsm8k": (
        File(
            "gsm8k",
            "test.jsonl",
            "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/"
            "grade_school_math/data/test.jsonl",
            1319,
            "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        ),
    ),
    "svamp": (
        File(
            "svamp",
            "SVAMP.json",
            "https://raw.githubusercontent.com/arkilpatel/SVAMP/78e727689e1c1bebfc4be39c446898e8e10b0518/SVAMP.json",
            1000,
            "5be77703a6d891ae476d7c082787ad361392aa02453b132516cdd5f4e7934e3e",
        ),
    ),
    "arc": tuple(
        File(
            f"arc-{split.lower()}",
            f"ARC-{split}-Test.jsonl",
            ARC,
            n_rows,
            member=f"ARC-V1-Feb2018-2/ARC-{split}/ARC-{split}-Test.jsonl",
        )
        for split, n_rows in (("Easy", 2376), ("Challenge", 1172))
    ),
}
_FAULTS = (OSError, http.client.HTTPException, zipfile.BadZipFile, KeyError, ValueError, EOFError, NotImplementedError)
NAMES = (*SETS, "arc-easy", "arc-challenge")


def names() -> tuple[str, ...]:
    """All data sets that can be pulled: those of SETS, and the tasks of tasks.toml that say where their file lies."""
    return tuple(dict.fromkeys((*NAMES, *(name for name, task in known().items() if task.is_pulled))))


def pull(name: str) -> list[Path]:
    """Fetch a data set, unless it is here; returns its files. Raises LocalentError with what to do."""
    if name in NAMES:
        wanted = SETS.get(name) or tuple(file for file in SETS["arc"] if file.folder == name)
        return [_kept(file) for file in wanted]
    if name not in names():
        raise UsageError(_unknown(name))
    task = known()[name]
    if task.url:
        return [_kept(File(name, task.url.split("/")[-1], task.url, sha256=task.sha256))]
    return [_copied(task, path) for path in task.fetch]


def _unknown(name: str) -> str:
    task = known().get(name)
    if task:
        return f"No file of {name} is known: get it from {task.home} and name it with --data."
    return f"No data set {name!r}: choose from {', '.join(names())}."


def _copied(task: Known, name: str) -> Path:
    """A file of a data set on the hub, in the folder where 'localent run' looks; unless it is there."""
    target = data_home() / task.name / name.split("/")[-1]
    if target.is_file() and (task.sha256 is None or file_sha256(target) == task.sha256):
        return target
    source = hub.Source(str(task.repo), task.revision or "main", task.licence, "dataset")
    fetched = hub.pull_data(source, name, task.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    shutil.copyfile(fetched.path, partial)
    partial.replace(target)
    return target


def _kept(file: File) -> Path:
    """The checked file in its place; what fails a check is never put there."""
    target = data_home() / file.folder / file.name
    if target.is_file() and _fault(file, target.read_bytes()) is None:
        return target
    content = _download(file)
    if fault := _fault(file, content):
        raise LocalentError(f"{file.name} from {file.url} {fault}: try again, or get it yourself and use --data.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(target)
    return target


def _fault(file: File, content: bytes) -> str | None:
    """The fault of a file's content, as the end of a sentence; None: it is sound."""
    if file.sha256 and hashlib.sha256(content).hexdigest() != file.sha256:
        return "is not the pinned file (another sha256)"
    n_rows = content.count(b'"ID"') if file.name.endswith(".json") else len(content.splitlines())
    return None if file.n_rows in (None, n_rows) else f"has {n_rows} rows, not {file.n_rows}"


def _download(file: File) -> bytes:
    url = _mirrored(file.url)
    try:
        if file.member:
            with zipfile.ZipFile(_Remote(url)) as archive, archive.open(file.member) as member:
                return _bounded(member)
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return _bounded(answer)
    except _FAULTS as error:
        raise LocalentError(
            f"{file.name} could not be fetched from {url} ({_reason(error)}): try again, or get it yourself and "
            "use --data."
        ) from None


def _bounded(body: Any) -> bytes:
    """All of a body, or of a member of an archive; raise where it does not end in time."""
    content: bytes = body.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise OSError(f"it is larger than {MOST_BYTES >> 20} MB")
    if getattr(body, "length", None):  # what an answer of HTTP still has to send
        raise http.client.IncompleteRead(content)
    return content


def _mirrored(url: str) -> str:
    """The same path on another server, where LOCALENT_DATA_MIRROR names one."""
    mirror = os.environ.get("LOCALENT_DATA_MIRROR")
    return mirror.rstrip("/") + "/" + url.split("/", 3)[3] if mirror else url


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the transfer was cut short"
    reason = getattr(error, "reason", None) or error
    code = f"HTTP {error.code} " if isinstance(error, urllib.error.HTTPError) else ""
    return f"{code}{reason}".strip() or type(error).__name__


class _Remote(io.RawIOBase):
    """A file on a server, read by ranges: two members of an archive of 680 MB cost about a megabyte each."""

    def __init__(self, url: str):
        self.url, self.at = url, 0
        self.blocks: dict[int, bytes] = {}
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_S) as answer:
            self.size = int(answer.headers["Content-Length"] or 0)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def readinto(self, buffer: Any) -> int:
        n = min(len(buffer), self.size - self.at)
        done = 0
        while done < n:
            number, start = divmod(self.at, BLOCK)
            piece = self._block(number)[start : start + n - done]
            buffer[done : done + len(piece)] = piece
            self.at, done = self.at + len(piece), done + len(piece)
        return max(done, 0)

    def _block(self, number: int) -> bytes:
        if number not in self.blocks:
            last = min((number + 1) * BLOCK, self.size) - 1
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={number * BLOCK}-{last}"})
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                if answer.status != 206:
                    raise OSError("the server sends no ranges")
                self.blocks[number] = answer.read(BLOCK + 1)
            if len(self.blocks[number]) != last + 1 - number * BLOCK:
                raise OSError("the transfer was cut short")
        return self.blocks[number]
