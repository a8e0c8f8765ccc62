"""OWNER/REPO:QUANT: any repository of the hub, and the file of it that the quant means."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from localent.errors import LocalentError
from localent.files.header import PART

DEFAULT = "Q4_K_M"  # what a repository without :QUANT means where it has several, as in llama.cpp and Ollama
_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NAME = re.compile(
    rf"(?:https://)?(?:hf\.co/|huggingface\.co/)?(?P<repo>{_WORD}/{_WORD})(?::(?P<tag>{_WORD}(?:/{_WORD})*))?"
)
_QUANT = re.compile(r"(?:UD-)?(?:I?Q\d\w*|TQ\d_\d|MXFP4(?:_\w+)?|NVFP4|B?F16|F32)", re.IGNORECASE)
_NO_MODEL = ("mmproj", "imatrix")  # in the names of projectors and importance matrices


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository of the hub, and a quant or a file of it."""

    repo: str  # OWNER/NAME
    tag: str | None  # a quant, or a file with or without .gguf; None: the only one, or DEFAULT

    @property
    def name(self) -> str:
        """As 'localent pull' takes it."""
        return f"{self.repo}:{self.tag}" if self.tag else self.repo


def parse(text: str) -> Repo | None:
    """The repository that OWNER/REPO or OWNER/REPO:QUANT names; None for a path to a file or any other text."""
    match = _NAME.fullmatch(text)
    if match is None or (match["tag"] is None and text.endswith(".gguf")):
        return None
    return Repo(match["repo"], match["tag"])


def choose(wanted: Repo, files: Iterable[str]) -> str:
    """The one file that is meant among those of the repository, the first part where it is split.

    Raises LocalentError where none or several are meant, with what there is.
    """
    files = models_of(files)
    found = matches(wanted, files)
    if len(found) == 1:
        return found[0]
    if not files:
        raise LocalentError(f"{wanted.repo} has no GGUF model: look for a repository of its name with -GGUF.")
    if found:
        raise LocalentError(several(wanted, found))
    raise LocalentError(f"{wanted.repo} has no {wanted.tag}: it has {', '.join(tags(files))}.")


def matches(wanted: Repo, files: Iterable[str]) -> list[str]:
    """The models that a name can mean: the file so called, else all of that quant."""
    files = models_of(files)
    if wanted.tag is None:
        usual = [file for file in files if _has_quant(file, DEFAULT)]
        return usual if len(usual) == 1 else files
    tag = wanted.tag.removesuffix(".gguf")
    exact = [file for file in files if tag in (_stem(file), file.removesuffix(".gguf"), _stem(file).split("/")[-1])]
    return exact or [file for file in files if _has_quant(file, tag)]


def several(wanted: Repo, found: list[str]) -> str:
    """The sentence that asks for one of several files."""
    what = f"several of {wanted.tag}" if wanted.tag else "several models"
    names = tags(found) if wanted.tag is None else [_stem(file) for file in found]
    return f"{wanted.repo} has {what}: name one, for example {wanted.repo}:{names[0]} (of {', '.join(names)})."


def tags(files: Iterable[str]) -> list[str]:
    """Text behind the colon for each of these files: its quant where only one has it, else its name."""
    quants = {file: _quant(file) for file in files}
    held = list(quants.values())
    return sorted(q if q and held.count(q) == 1 else _stem(file) for file, q in quants.items())


def models_of(files: Iterable[str]) -> list[str]:
    """The models among the files of a repository: first parts only, no projectors or importance matrices."""
    return sorted(file for file in files if file.endswith(".gguf") and _is_model(file))


def _is_model(file: str) -> bool:
    name, match = file.split("/")[-1].lower(), PART.match(file)
    safe = all(re.fullmatch(r"\w[\w.+ -]*", part) for part in file.split("/"))  # it becomes a path
    return safe and not any(word in name for word in _NO_MODEL) and (match is None or int(match["part"]) == 1)


def _stem(file: str) -> str:
    match = PART.match(file)
    return match["stem"] if match else file.removesuffix(".gguf")


def _has_quant(file: str, quant: str) -> bool:
    """True where the name ends in this quant, or in part of what is made of it: Q4_K_M, UD-Q4_K_XL."""
    return re.search(rf"(?:^|[-._/]){re.escape(quant)}$", _stem(file), re.IGNORECASE) is not None


def _quant(file: str) -> str | None:
    """The quant at the end of a file's name, as GGUF spells it."""
    match = re.search(rf"(?:^|[-._/])({_QUANT.pattern})$", _stem(file), re.IGNORECASE)
    return match[1].upper() if match else None
