"""The Hugging Face hub: fetch a file into the shared cache, and believe it only when its sha256 is the hub's.

The cache's blobs are named by that sha256, so a file can be checked again at any time without the hub.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localent.errors import LocalentError, UsageError
from localent.files import cache
from localent.files.header import PART, parts
from localent.files.identity import file_sha256
from localent.models.names import SAFE, Entry

ENDPOINT = "https://huggingface.co"
SPARE = 1 << 28  # bytes of disk to leave free
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a pull brought: the first file, and how it was checked."""

    path: Path
    n_files: int
    n_bytes: int
    sha256: str | None  # of the first file, equal to the hub's; None where the hub reports none
    commit: str | None  # on the hub


@dataclass(frozen=True, slots=True)
class Remote:
    """One file on the hub, as its headers describe it."""

    name: str
    size: int | None
    etag: str | None
    commit: str | None


def pull(
    entry: Entry, quant: str, revision: str | None = None, status: Callable[[str], None] = lambda text: None
) -> Fetched:
    """Fetch a quant of a model of models.toml; all of its parts where it is split.

    Raises LocalentError with what to do when the hub refuses, lacks it, sends something else, or is out of reach.
    """
    if entry.repo is None:
        raise LocalentError(nowhere(entry))
    revision = revision or entry.revision or "main"
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{revision!r} is no revision: name a commit, tag or branch of {entry.repo}.")
    remotes = _remotes(entry, quant, revision)
    _check_space(sum(remote.size or 0 for remote in remotes if not _cached(entry.repo, remote)))
    paths = []
    for remote in remotes:
        status(f"{entry.repo}/{remote.name}")
        paths.append(_fetch(entry, remote, remote.commit or revision, dict(entry.sha256).get(quant)))
    _remember_revision(entry.repo, revision, remotes[0].commit)
    etag = remotes[0].etag
    digest = etag if etag and SHA256.fullmatch(etag) else None
    return Fetched(paths[0], len(paths), sum(path.stat().st_size for path in paths), digest, remotes[0].commit)


def from_cache(entry: Entry, quant: str, *, check: bool = True) -> Path | None:
    """The file in the shared cache, whole; None where it is not there. Raises LocalentError for a damaged one.

    Without `check`, a file that was never checked is not read for it.
    """
    if entry.repo is None:
        return None
    folder = hub_cache() / f"models--{entry.repo.replace('/', '--')}" / "snapshots"
    wanted = entry.filename(quant)
    stem = wanted.removesuffix(".gguf")
    found = [path for snapshot in _newest_first(folder) for path in _either(snapshot, wanted, stem)]
    whole = next((path for path in found if all(part.exists() for part in parts(path))), None)
    if check and whole is not None and (broken := next((p for p in parts(whole) if not _is_itself(p)), None)):
        raise LocalentError(
            f"{broken} is not what the hub has (another sha256): delete it, then 'localent pull {entry.name}:{quant}'."
        )
    return whole


def nowhere(entry: Entry) -> str:
    """What to do about a model of which no GGUF is known on the hub."""
    return (
        f"No GGUF of {entry.name} is known on the hub: make one from {entry.of} with llama.cpp's "
        f"convert_hf_to_gguf.py, and name its file, or call it {entry.filename(entry.default)} where 'localent models' "
        "looks."
    )


def hub_cache() -> Path:
    """Where the hub's clients keep files; read anew each time, so that a changed environment counts."""
    if own := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else _cache_home() / "huggingface" / "hub"


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []


def _either(snapshot: Path, wanted: str, stem: str) -> list[Path]:
    whole = snapshot / wanted
    return [whole] if whole.exists() else sorted(snapshot.glob(f"{stem}-00001-of-*.gguf"))


# ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────


def _remotes(entry: Entry, quant: str, revision: str) -> list[Remote]:
    """The files to fetch: the named one, or the parts of it that the repository lists."""
    wanted = entry.filename(quant)
    with _explained(entry, quant, revision):
        found = _head(entry.repo, wanted, revision)
        if found:
            return [found]
        listed = _listed(entry.repo, revision)
        first = next((name for name in listed if _is_first_part(name, wanted)), None)
        if first is None:
            raise LocalentError(_lacking(entry, quant, listed))
        return [_head(entry.repo, part.name, revision) or _gone(part.name) for part in parts(Path(first))]


def _head(repo: str, name: str, revision: str) -> Remote | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    url = hf_hub_url(repo, name, revision=revision, endpoint=endpoint())
    try:
        seen = get_hf_file_metadata(url, token=_token(), endpoint=endpoint())
    except EntryNotFoundError:
        return None
    return Remote(name, seen.size, seen.etag, seen.commit_hash)


def _listed(repo: str, revision: str) -> list[str]:
    """File names of a repository; empty where the hub does not list them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return HfApi(endpoint=endpoint(), token=_token()).list_repo_files(repo, revision=revision)
    except HfHubHTTPError:
        return []


def _is_first_part(name: str, wanted: str) -> bool:
    match = PART.match(name)
    return bool(match) and match["stem"] == wanted.removesuffix(".gguf") and int(match["part"]) == 1


def _lacking(entry: Entry, quant: str, listed: list[str]) -> str:
    pattern = re.escape(entry.filename("\0")).replace("\0", "(\\w+)")
    quants = sorted({m[1].upper() for name in listed if (m := re.fullmatch(pattern, name))})
    there = f"It has {', '.join(quants)}." if quants else f"See {ENDPOINT}/{entry.repo} for what it has."
    return f"The hub has no {quant} of {entry.name} ({entry.repo}/{entry.filename(quant)}). {there}"


def _gone(name: str) -> Remote:
    raise LocalentError(f"The hub lists {name} but does not have it: try another quant.")


# ── fetching ────────────────────────────────────────────────────────────────────────────────────────────────────


def _fetch(entry: Entry, remote: Remote, revision: str, known: str | None) -> Path:
    """One file, checked. What fails the check leaves the cache again."""
    from huggingface_hub import hf_hub_download

    if known and remote.etag != known:
        raise LocalentError(f"{entry.repo}/{remote.name} is another file than models.toml knows: has it been replaced?")
    with _explained(entry, remote.name, revision):
        path = Path(
            hf_hub_download(
                entry.repo, remote.name, revision=revision, cache_dir=hub_cache(), endpoint=endpoint(), token=_token()
            )
        )
    if not _is_itself(path, remote):
        blob = path.resolve()
        path.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
        raise LocalentError(
            f"{entry.repo}/{remote.name} came damaged (its sha256 is not the hub's) and was removed: pull it again."
        )
    return path


def _is_itself(path: Path, remote: Remote | None = None) -> bool:
    """Whether a file has the sha256 that the hub reported, where it did. Remembered by size and time of change."""
    etag = remote.etag if remote else path.resolve().name
    if remote and remote.size is not None and path.stat().st_size != remote.size:
        return False
    if not etag or not SHA256.fullmatch(etag):
        return True  # small files carry a git hash instead
    stat = path.stat()
    key = cache.key_of([etag, stat.st_size, stat.st_mtime_ns])
    if cache.read("verified", key, bool):
        return True
    if file_sha256(path) != etag:
        return False
    cache.write("verified", key, True)
    return True


def _cached(repo: str, remote: Remote) -> bool:
    return (hub_cache() / f"models--{repo.replace('/', '--')}" / "blobs" / str(remote.etag)).exists()


def _remember_revision(repo: str, revision: str, commit: str | None) -> None:
    """refs/main -> commit, as the hub's own client writes it when asked for a branch."""
    if commit is None or revision == commit or not all(SAFE.fullmatch(part) for part in revision.split("/")):
        return
    ref = hub_cache() / f"models--{repo.replace('/', '--')}" / "refs" / revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    ref.write_text(commit)


def _check_space(needed: int) -> None:
    folder = hub_cache()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed and needed + SPARE > free:
        raise LocalentError(
            f"This needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free in {folder}: make room, "
            "or name another disk's folder in HF_HOME."
        )


def _token() -> str | bool:
    """The user's token as the hub's own client finds it; False: none, which also keeps a stale one out."""
    from huggingface_hub import get_token

    return get_token() or False


class _explained:  # noqa: N801  used as a statement
    """Turn the hub client's errors into sentences that say what to do."""

    def __init__(self, entry: Entry, what: str, revision: str):
        self.entry, self.what, self.revision = entry, what, revision

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, traceback) -> None:
        if error is None or isinstance(error, LocalentError) or not isinstance(error, Exception):
            return
        raise LocalentError(self._sentence(error)) from None

    def _sentence(self, error: Exception) -> str:
        from huggingface_hub import errors

        page = f"{ENDPOINT}/{self.entry.repo}"
        if isinstance(error, errors.GatedRepoError):
            return (
                f"{self.entry.repo} is gated: accept its licence ({self.entry.licence}) at {page}, "
                "then set HF_TOKEN or run 'hf auth login', and pull again."
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"{self.entry.repo} has no revision '{self.revision}': see {page}/commits/main."
        if isinstance(error, errors.RepositoryNotFoundError):
            return f"The hub has no {self.entry.repo}, or only for those with access: see {page}, or set HF_TOKEN."
        if isinstance(error, errors.EntryNotFoundError):
            return f"The hub has no {self.what} in {self.entry.repo}: see {page} for what it has."
        if isinstance(error, OSError) and error.errno == 28:
            return "The disk is full: make room, or name another disk's folder in HF_HOME."
        told = " ".join(str(error).split())[:160]
        return f"{self.entry.repo} ({self.what}) could not be fetched from {endpoint()} ({told}): try again."
