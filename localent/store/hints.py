"""SQLite's error on a failed statement as a sentence that names the thing and the way out."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

Schema = Mapping[str, Collection[str]]  # table or view -> its columns
NOT_SQL = r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/"  # text and comments
FROM = r"\bfrom\b(.*?)(?=\b(?:where|group|order|limit|union|select)\b|\)|;|$)"  # tables of one select
SOURCE = r"\s*(?:main\.)?(\w+)(?:\s+(?:as\s+)?(\w+))?"  # relation, alias
NO_ALIAS = {None, "on", "using", "cross", "left", "inner", "natural"}  # words that may follow a relation


def hint(message: str, sql: str, schema: Schema) -> str:
    """The error as a sentence, with the nearest name that exists."""
    if missing := re.fullmatch(r"no such column: (?:(.*)\.)?(.+)", message):
        return no_column(missing[2], missing[1], sql, schema)
    if missing := re.fullmatch(r"no such table: (?:.*\.)?(.+)", message):
        near = nearest(missing[1], schema)
        return f"No table '{missing[1]}'{near}" + (f" There are {', '.join(schema)}." if near == "." else "")
    if "one statement" in message:
        return "One statement at a time; drop what follows the ';'."
    return f"SQLite says: {message}."


def no_column(name: str, qualifier: str | None, sql: str, schema: Schema) -> str:
    """The sentence on a column that the statement's tables do not have: the tables that do, and similar names."""
    plain = re.sub(NOT_SQL, " ", sql, flags=re.DOTALL).lower()
    sources, alias = sources_of(plain, schema), (qualifier or "").rpartition(".")[2].lower()
    derived = alias and re.search(rf"\b{alias}\s+as\s*\(|\)\s*(?:as\s+)?{alias}\b", plain)
    if alias and alias not in sources and not derived:
        return f"No table or alias '{alias}' in this statement{_listed('; it reads ', sources)}."
    searched = {sources[alias]} if alias in sources else set(sources.values())
    columns = {column for relation in searched or schema for column in schema[relation]}
    homes = [relation for relation, known in schema.items() if name in known]
    if derived or searched & set(homes):
        return f"No column '{name}' here; the 'with' or subquery that it is asked of does not select it."
    place = _listed(" in ", sorted(searched)) + _listed(", but in ", homes)
    return f"No column '{name}'{place}{nearest(name, columns - {name})}"


def _listed(words: str, names: Collection[str]) -> str:
    return words + ", ".join(names) if names else ""


def sources_of(plain: str, schema: Schema) -> dict[str, str]:
    """Tables, views and aliases that a statement in lower case reads -> the relation that each refers to."""
    named = [part for clause in re.findall(FROM, plain, re.DOTALL) for part in re.split(r",|\bjoin\b", clause)]
    found = [match for part in named if (match := re.match(SOURCE, part)) and match[1] in schema]
    return {match[1] if match[2] in NO_ALIAS else match[2]: match[1] for match in found}


def nearest(name: str, names: Collection[str]) -> str:
    """ "; did you mean 'entropy'?", or the end of the sentence where nothing is near."""
    found = get_close_matches(name, sorted(names), n=1)
    return f"; did you mean '{found[0]}'?" if found else "."
