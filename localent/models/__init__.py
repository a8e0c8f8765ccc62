"""From what the user typed to a GGUF file on this disk: a path, a name of models.toml, NAME:QUANT."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from localent.engine.header import cache_dir, file_sha256
from localent.errors import LocalentError, UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of models.toml: bundled in the package, or on the hub."""

    name: str
    default: str  # quant that the bare name means
    family: str
    stage: str
    licence: str
    bundled: str | None = None
    repo: str | None = None
    file: str | None = None
    gated: bool = False

    def filename(self, quant: str) -> str:
        """The file that holds a quant of this model on the hub."""
        return self.file.format(quant=quant, quant_lower=quant.lower())


def entries() -> dict[str, Entry]:
    """All known models by name: ours, then the user's own, which win."""
    found: dict[str, Entry] = {}
    for path in (_our_list(), _user_list()):
        if path.is_file():
            found |= _parse(path)
    return found


def resolve(text: str) -> Path:
    """The file that `text` means: a path to any GGUF, a known name, or NAME:QUANT.

    Raises UsageError for an unknown name, LocalentError for a known model that is not on this disk.
    """
    if _is_path(text):
        return Path(text).expanduser()
    entry, quant = find(text)
    return _bundled(entry, quant) if entry.bundled else _from_hub_cache(entry, quant)


def find(text: str) -> tuple[Entry, str]:
    """The entry and quant that NAME or NAME:QUANT means."""
    name, _, quant = text.partition(":")
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"No model '{name}' in models.toml and no such file.{hint} 'localent models' lists all.")
    return known[name], (quant or known[name].default).upper()


def pull(text: str) -> Path:
    """Fetch a model of models.toml into the Hugging Face cache; returns its file there.

    Raises LocalentError with what to do when the hub refuses, lacks it, or cannot be reached.
    """
    entry, quant = find(text)
    if entry.bundled:
        return _bundled(entry, quant)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

    where = f"{entry.repo}/{entry.filename(quant)}"
    try:
        return Path(hf_hub_download(entry.repo, entry.filename(quant)))
    except GatedRepoError:
        raise LocalentError(
            f"{entry.repo} is gated: accept its licence at https://huggingface.co/{entry.repo}, "
            "then set HF_TOKEN or run 'hf auth login'."
        ) from None
    except (EntryNotFoundError, RepositoryNotFoundError):
        raise LocalentError(f"The hub has no {where}: does this model come in {quant}?") from None
    except Exception as error:  # the hub client raises its transport's own errors
        raise LocalentError(f"{where} could not be fetched ({type(error).__name__}: {error}); try again.") from None


def _bundled(entry: Entry, quant: str) -> Path:
    source = Path(str(resources.files("localent") / "demo" / entry.bundled))
    if not source.is_file():
        raise LocalentError(f"{entry.name} is missing from this installation ({source}): install localent again.")
    return source if quant == entry.default else _made_quant(entry, source, quant)


def _made_quant(entry: Entry, source: Path, quant: str) -> Path:
    """A quant of a bundled model, made once and kept in the cache folder."""
    from localent.engine.llama import quantize
    from localent.machine import usable_cores

    target = cache_dir() / "quants" / f"{entry.name}-{file_sha256(source)[:12]}-{quant}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        quantize(source, target, quant, n_threads=usable_cores())
    return target


def _from_hub_cache(entry: Entry, quant: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(entry.repo, entry.filename(quant))
    if not isinstance(found, str):
        text = f"{entry.name}:{quant}"
        raise LocalentError(f"{text} is not on this disk: fetch it with 'localent pull {text}'.")
    return Path(found)


def _is_path(text: str) -> bool:
    return text.endswith(".gguf") or os.sep in text or "/" in text or Path(text).exists()


def _our_list() -> Path:
    """models.toml: beside the package in a checkout, inside it when installed."""
    package = Path(str(resources.files("localent")))
    inside, beside = package / "models.toml", package.parent / "models.toml"
    return inside if inside.is_file() else beside


def _user_list() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "localent" / "models.toml"


def _parse(path: Path) -> dict[str, Entry]:
    try:
        return {name: Entry(name=name, **fields) for name, fields in tomllib.loads(path.read_text()).items()}
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise UsageError(
            f"{path} cannot be read ({error}); the head of localent's models.toml shows its form."
        ) from None
