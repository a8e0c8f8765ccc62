"""The Hugging Face hub: files in the cache that its clients share, each checked against the sha256 that the hub has.

huggingface_hub downloads, resumes and lays out the cache. Added here: parts of split models, the check of the content
(blobs are named by their sha256, so it needs no hub), room on the disk first, and errors that say what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from errno import ENOSPC
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

from localent.errors import LocalentError, UsageError
from localent.files import cache
from localent.files.header import PART, parts
from localent.files.identity import file_sha256
from localent.files.opening import real
from localent.machine.hardware import free_disk
from localent.models import repos
from localent.models.answers import at_most, guard_client, remove_blob
from localent.models.names import Entry
from localent.models.repos import Repo

ENDPOINT = "https://huggingface.co"
SPARE = 1 << 28  # bytes of disk to leave free
MOST_FILES = 20_000  # of a repository
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of a pull: the first file, and how it was checked."""

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


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at a revision, and the licence to accept where it is gated."""

    repo: str
    revision: str
    licence: str | None = None
    kind: str = "model"  # or "dataset", as the hub names its kinds of repository

    @property
    def page(self) -> str:
        return f"{ENDPOINT}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo}"


def pull(
    entry: Entry, quant: str, revision: str | None = None, status: Callable[[str], None] = lambda text: None
) -> Fetched:
    """Fetch a quant of a model of models.toml; all of its parts where it is split.

    Raises LocalentError with the way out when the hub refuses, lacks it, sends something else, or is out of reach.
    """
    if entry.repo is None:
        raise LocalentError(nowhere(entry))
    source = Source(entry.repo, _revision(revision or entry.revision, entry.repo), entry.licence)
    return _fetch_all(source, _remotes(entry, quant, source), dict(entry.sha256).get(quant), status)


def pull_repo(wanted: Repo, revision: str | None = None, status: Callable[[str], None] = lambda text: None) -> Fetched:
    """Fetch a file of any repository of the hub, chosen from the repository's own listing.

    Raises LocalentError as `pull` does, and where the name means none or several of its files.
    """
    source = Source(wanted.repo, _revision(revision, wanted.repo))
    with _explained(source, wanted.repo):
        first = repos.choose(wanted, _list_files(source))
    return _fetch_all(source, _parts_of(first, source), None, status)


def pull_data(source: Source, name: str, sha256: str | None = None) -> Fetched:
    """Fetch one file of a data set into the shared cache, checked against the hub's sha256, and against ours if any.

    Raises LocalentError as `pull` does.
    """
    with _explained(source, name):
        remote = _head(source, name)
    if remote is None:
        raise LocalentError(f"The hub has no {name} in {source.repo}: see {source.page} for what it has.")
    fetched = _fetch_all(source, [remote], None, lambda text: None)
    if sha256 and file_sha256(fetched.path) != sha256:  # a small file's etag is no sha256
        raise LocalentError(f"{source.repo}/{name} is another file than tasks.toml knows: has it been replaced?")
    return fetched


def from_cache(entry: Entry, quant: str, *, check: bool = True) -> Path | None:
    """The file in the shared cache, whole; None where it is not there. Raises LocalentError for a damaged one.

    Without `check`, a file that was never checked is not read for it.
    """
    if entry.repo is None:
        return None
    wanted = entry.filename(quant)
    stem = wanted.removesuffix(".gguf")
    found = [path for snapshot in _snapshots(entry.repo) for path in _either(snapshot, wanted, stem)]
    whole = next((path for path in found if _is_whole(path)), None)
    return _checked(whole, f"{entry.name}:{quant}") if check and whole else whole


def repo_from_cache(wanted: Repo) -> Path | None:
    """The file of any repository in the shared cache; None where it is not there.

    Raises LocalentError for a damaged file, and where several on this disk are meant.
    """
    for snapshot in _snapshots(wanted.repo):
        files = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf") if _is_whole(path)]
        found = repos.matches(wanted, files)
        if len(found) > 1:
            raise LocalentError(repos.several(wanted, found))
        if found:
            return _checked(snapshot / found[0], wanted.name)
    return None


def nowhere(entry: Entry) -> str:
    """Advice for a model of which no GGUF is known on the hub."""
    return (
        f"No GGUF of {entry.name} is known on the hub: make one from {entry.of} with llama.cpp's "
        f"convert_hf_to_gguf.py, and name its file, or call it {entry.filename(entry.default)} where 'localent models' "
        "looks."
    )


def hub_cache() -> Path:
    """The folder that the hub's clients share, by the environment as it is now."""
    if own := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(own).expanduser()
    home = os.environ.get("HF_HOME")
    return Path(home).expanduser() / "hub" if home else _cache_home() / "huggingface" / "hub"


def endpoint() -> str:
    """The hub's address, or that of a mirror."""
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def _host() -> str:
    return urlsplit(endpoint()).hostname or ""


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _snapshots(repo: str) -> list[Path]:
    """The snapshots of a repository in the shared cache, the newest first."""
    folder = _repo_folder(repo) / "snapshots"
    return sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True) if folder.is_dir() else []


def _is_whole(path: Path) -> bool:
    return all(part.exists() for part in parts(path))


def _checked(path: Path, name: str) -> Path:
    """The file, whose every part is what the hub has. Raises LocalentError otherwise."""
    if broken := next((part for part in parts(path) if not _is_itself(part)), None):
        raise LocalentError(
            f"{broken} is not what the hub has (another sha256): delete it, then 'localent pull {name}'."
        )
    return path


def _either(snapshot: Path, wanted: str, stem: str) -> list[Path]:
    whole = snapshot / wanted
    return [whole] if whole.exists() else sorted(snapshot.glob(f"{stem}-00001-of-*.gguf"))


# ── what there is ───────────────────────────────────────────────────────────────────────────────────────────────


def _remotes(entry: Entry, quant: str, source: Source) -> list[Remote]:
    """The files to fetch: the named one, or the parts of it that the repository lists."""
    wanted = entry.filename(quant)
    with _explained(source, quant):
        if found := _head(source, wanted):
            return [found]
        listed = _listed(source)
        first = next((name for name in listed if _is_first_part(name, wanted)), None)
        if first is None:
            raise LocalentError(_lacking(entry, quant, listed))
    return _parts_of(first, source)


def _parts_of(first: str, source: Source) -> list[Remote]:
    """All parts of the file that begins with this one."""
    with _explained(source, first):
        names = [part.as_posix() for part in parts(Path(first))]
        return [_head(source, name) or _gone(name) for name in names]


def _revision(revision: str | None, repo: str) -> str:
    """A revision that can be asked for; main where none is named. Raises UsageError for any other text."""
    revision = revision or "main"
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise UsageError(f"{revision!r} is not a revision: name a commit, tag or branch of {repo}.")
    return revision


def _head(source: Source, name: str) -> Remote | None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    guard_client(_host())
    url = hf_hub_url(source.repo, name, repo_type=source.kind, revision=source.revision, endpoint=endpoint())
    try:
        seen = get_hf_file_metadata(url, token=_token(), endpoint=endpoint())
    except EntryNotFoundError:
        return None
    return Remote(name, seen.size, seen.etag, seen.commit_hash)


def _listed(source: Source) -> list[str]:
    """File names of a repository; empty where the hub does not list them."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _list_files(source)
    except HfHubHTTPError:
        return []


def _list_files(source: Source) -> list[str]:
    """File names of a repository. Raises LocalentError past MOST_FILES: a listing may go on for ever."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    guard_client(_host())
    api = HfApi(endpoint=endpoint(), token=_token())
    tree = api.list_repo_tree(source.repo, recursive=True, revision=source.revision)
    entries = list(islice(tree, MOST_FILES + 1))
    if len(entries) > MOST_FILES:
        raise LocalentError(f"{source.repo} lists more than {MOST_FILES:,} files: download the file you want yourself.")
    return [entry.path for entry in entries if isinstance(entry, RepoFile)]


def _is_first_part(name: str, wanted: str) -> bool:
    match = PART.match(name)
    return match is not None and match["stem"] == wanted.removesuffix(".gguf") and int(match["part"]) == 1


def _lacking(entry: Entry, quant: str, listed: list[str]) -> str:
    pattern = re.escape(entry.filename("\0")).replace("\0", "(\\w+)")
    quants = sorted({m[1].upper() for name in listed if (m := re.fullmatch(pattern, name))})
    there = f"It has {', '.join(quants)}." if quants else f"See {ENDPOINT}/{entry.repo} for what it has."
    return f"The hub has no {quant} of {entry.name} ({entry.repo}/{entry.filename(quant)}). {there}"


def _gone(name: str) -> Remote:
    raise LocalentError(f"The hub lists {name} but does not have it: try another quant.")


# ── fetching ────────────────────────────────────────────────────────────────────────────────────────────────────


def _fetch_all(source: Source, remotes: list[Remote], known: str | None, status: Callable[[str], None]) -> Fetched:
    """All parts of a file; `known`: the sha256 that each must have, where one is known."""
    _check_space(sum(remote.size or 0 for remote in remotes if not _is_cached(source, remote)))
    paths, at = list[Path](), source
    for remote in remotes:
        status(f"{source.repo}/{remote.name}")
        paths.append(_fetch(at, remote, known))
        at = replace(source, revision=remote.commit or source.revision)  # the client notes the first's; then from there
    first = remotes[0]
    n_bytes = sum(path.stat().st_size for path in paths)
    return Fetched(paths[0], len(paths), n_bytes, _sha256_of(first.etag), first.commit)


def _fetch(source: Source, remote: Remote, known: str | None) -> Path:
    """One file, checked. A file that fails the check is removed from the cache."""
    from huggingface_hub import hf_hub_download

    repo, name = source.repo, remote.name
    if known and remote.etag != known:
        raise LocalentError(f"{repo}/{name} is another file than models.toml knows: has it been replaced?")
    guard_client(_host())
    if remote.size is None:
        raise LocalentError(f"The hub does not say how large {repo}/{name} is: look at HF_ENDPOINT.")
    with _explained(source, name), at_most(remote.size):
        found = hf_hub_download(
            repo,
            name,
            repo_type=source.kind,
            revision=source.revision,
            cache_dir=hub_cache(),
            endpoint=endpoint(),
            token=_token(),
        )
    path = Path(found)
    if not _is_itself(path, remote):
        remove_blob(path, _repo_folder(repo) / "blobs")
        raise LocalentError(f"{repo}/{name} came damaged (its sha256 is not the hub's) and was removed: pull it again.")
    return path


def _is_itself(path: Path, remote: Remote | None = None) -> bool:
    """True if a file has the sha256 that the hub reported, or none was. Hashed once for each size and mtime."""
    stat, digest = path.stat(), _sha256_of(remote.etag if remote else real(path).name)
    if remote and remote.size is not None and stat.st_size != remote.size:
        return False
    key = cache.key_of([digest, stat.st_size, stat.st_mtime_ns])
    if digest is None or cache.read("verified", key, bool):
        return True
    if file_sha256(path) != digest:
        return False
    cache.write("verified", key, True)
    return True


def _sha256_of(etag: str | None) -> str | None:
    """The sha256 that an etag is; None for a small file's, which is a git hash."""
    return etag if etag and SHA256.fullmatch(etag) else None


def _repo_folder(repo: str, kind: str = "model") -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return hub_cache() / repo_folder_name(repo_id=repo, repo_type=kind)


def _is_cached(source: Source, remote: Remote) -> bool:
    return (_repo_folder(source.repo, source.kind) / "blobs" / str(remote.etag)).exists()


def _check_space(needed: int) -> None:
    free = free_disk(hub_cache())
    if needed and needed + SPARE > free:
        raise LocalentError(
            f"This needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free for {hub_cache()}: make room, "
            "or name another disk's folder in HF_HOME."
        )


def _token() -> str | bool:
    """The user's token as the hub's own client finds it; False: none, which also keeps a stale one out."""
    from huggingface_hub import get_token

    return get_token() or False


@contextmanager
def _explained(source: Source, what: str) -> Iterator[None]:
    """Turn the hub client's errors into sentences that say what to do."""
    try:
        yield
    except LocalentError:
        raise
    except Exception as error:
        raise LocalentError(_sentence(error, source, what)) from None


def _sentence(error: Exception, source: Source, what: str) -> str:
    from huggingface_hub import errors

    repo, page = source.repo, source.page
    if isinstance(error, OSError) and error.errno == ENOSPC:
        return "The disk is full: make room, or name another disk's folder in HF_HOME."
    licence = f" ({source.licence})" if source.licence else ""
    known = {  # the narrower errors first
        errors.GatedRepoError: f"{repo} is gated: accept its licence{licence} at {page}, "
        "then set HF_TOKEN or run 'hf auth login', and pull again.",
        errors.RevisionNotFoundError: f"{repo} has no revision '{source.revision}': see {page}/commits/main.",
        errors.RepositoryNotFoundError: f"The hub has no {repo}, or only for those with access: "
        f"see {page}, or set HF_TOKEN.",
        errors.EntryNotFoundError: f"The hub has no {what} in {repo}: see {page} for what it has.",
    }
    words = " ".join(str(error).split())[:160]
    thing = repo if what == repo else f"{repo} ({what})"
    other = f"{thing} could not be fetched from {endpoint()} ({words}): try again."
    return next((sentence for kind, sentence in known.items() if isinstance(error, kind)), other)
