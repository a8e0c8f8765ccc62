"""models.toml: the models known by name. A field that nobody has checked is absent, never guessed."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from localent import lists
from localent.errors import LocalentError, UsageError

FILE = "models.toml"
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # one part of a repository, file or model name
QUANT = re.compile(r"[A-Za-z0-9_]{1,16}")
BOOL = (bool, "true or false")
KINDS: lists.Kinds = {"gated": BOOL, "bos": BOOL, "thinks": BOOL, "context": (int, "a number of tokens")}
KINDS |= {"quants": (list, "a list of quants"), "sha256": (dict, "a table of digests")}
KINDS |= {"recommended": (dict, "a table of sampling settings")}  # all others are texts
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty")
STAGES = ("early", "base", "fine-tuned", "SFT", "DPO", "instruct", "RL", "distilled")  # in order of training


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of models.toml: bundled in the package, on the hub, or (without repo) to be made by the user."""

    name: str
    default: str  # quant that the bare name means
    family: str
    stage: str  # one of STAGES
    licence: str
    bundled: str | None = None
    repo: str | None = None
    file: str | None = None
    revision: str | None = None  # commit, tag or branch on the hub; None: main
    gated: bool | None = None  # its licence must be accepted on the hub first
    size: str | None = None  # parameters, as the makers round them: "1.5B"
    of: str | None = None  # the makers' own repository, which the file was made from
    context: int | None = None  # tokens it was trained for
    quants: tuple[str, ...] = ()  # seen on the hub; others may be there
    template: str | None = None  # a note on its chat template
    bos: bool | None = None  # prompts begin with a BOS token
    thinks: bool | None = None  # it writes a thought before its answer
    sha256: tuple[tuple[str, str], ...] = ()  # (quant, digest), as the hub reported it
    recommended: tuple[tuple[str, float], ...] = ()  # the makers' sampling settings, by their names in SAMPLING

    @property
    def kind(self) -> str:
        return "base" if self.stage in ("early", "base") else "instruct"

    @property
    def rank(self) -> int:
        """Place of its stage in the order of training; stages that are not in STAGES come last."""
        return STAGES.index(self.stage) if self.stage in STAGES else len(STAGES)

    def filename(self, quant: str) -> str:
        """The file that holds a quant of this model on the hub."""
        if self.file is None:
            raise LocalentError(f"{self.name} is part of localent: the hub has no file of it.")
        return self.file.format(quant=quant, quant_lower=quant.lower())

    @property
    def recommendation(self) -> str | None:
        """The makers' sampling settings in words: "temperature 0.6, top-p 0.95"."""
        words = [f"{setting.replace('_', '-')} {value:g}" for setting, value in self.recommended]
        return ", ".join(words) or None

    @property
    def on_hub(self) -> str:
        """Its repository. Raises LocalentError where none is known."""
        if self.repo is None:
            raise LocalentError(f"No GGUF of {self.name} is known on the hub: make one, and name its file.")
        return self.repo


def entries() -> dict[str, Entry]:
    """All known models by name: ours, then the user's own, which win."""
    found: dict[str, Entry] = {}
    for path in (lists.ours(FILE), lists.users(FILE)):
        if path.is_file():
            found |= _parse(path)
    return found


def find(text: str, also: Iterable[str] = ()) -> tuple[Entry, str]:
    """The entry and quant that NAME or NAME:QUANT means. Raises UsageError for an unknown name.

    also: other names that the user may have meant.
    """
    name, _, quant = text.partition(":")
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, [*known, *also], n=1)
        hint = f" Did you mean '{close[0]}'?" if close else ""
        raise UsageError(f"No model {name!r} in models.toml and no such file.{hint} 'localent models' lists all.")
    if quant and not QUANT.fullmatch(quant):
        raise UsageError(f"{quant!r} is not a quant: write one as GGUF spells it, for example {name}:Q4_K_M.")
    return known[name], (quant or known[name].default).upper()


def recommended(text: str) -> dict[str, float]:
    """The makers' sampling settings of the model that NAME or NAME:QUANT means. Raises UsageError for none known."""
    entry = entries().get(text.partition(":")[0])
    if entry is None or not entry.recommended:
        raise UsageError(
            f"models.toml knows no recommended settings of {text!r}: set --temperature and others yourself."
        )
    return dict(entry.recommended)


def _parse(path: Path) -> dict[str, Entry]:
    return {name: _entry(path, name, table) for name, table in lists.tables(path)}


def _entry(path: Path, name: str, table: dict[str, Any]) -> Entry:
    lists.check_fields(path, name, table, {field.name for field in fields(Entry)}, KINDS)
    pairs = {field: tuple(dict(table.get(field, {})).items()) for field in ("sha256", "recommended")}
    try:
        entry = Entry(name=name, **table | {"quants": tuple(table.get("quants", ())), **pairs})
    except TypeError as error:
        missing = re.findall(r"'(\w+)'", str(error))
        raise UsageError(
            f"{path}: [{name}] is missing {', '.join(missing)}: see the top of localent's models.toml."
        ) from None
    _check(path, entry)
    return entry


def _check(path: Path, entry: Entry) -> None:
    """Names become paths and addresses: nothing in them may lead elsewhere. Recommended settings are known numbers."""
    for setting, value in entry.recommended:
        if setting not in SAMPLING or not isinstance(value, (int, float)) or isinstance(value, bool):
            raise UsageError(
                f"{path}: [{entry.name}] recommends {setting} = {value!r}; write numbers for {', '.join(SAMPLING)}."
            )
    if bool(entry.bundled) == bool(entry.file and (entry.repo or entry.of)):
        raise UsageError(f"{path}: [{entry.name}] needs 'repo' and 'file' (where it is on the hub).")
    parts = [entry.bundled] if entry.bundled else [*(entry.repo or "a/b").split("/"), *str(entry.file).split("/")]
    for part in parts:
        if not SAFE.fullmatch(re.sub(r"\{quant(_lower)?\}", "Q", part)):
            raise UsageError(f"{path}: [{entry.name}] has {part!r} in a name; use letters, digits, '.', '-', '_'.")
    if (entry.repo or "a/b").count("/") != 1:
        raise UsageError(f"{path}: [{entry.name}] has repo = {entry.repo!r}; it is written OWNER/NAME.")
    names = {name for _, name, _, _ in string.Formatter().parse(entry.file or "") if name is not None}
    if names - {"quant", "quant_lower"}:
        raise UsageError(f"{path}: [{entry.name}] has file = {entry.file!r}; only {{quant}} and {{quant_lower}} vary.")
