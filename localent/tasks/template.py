"""A model's chat template, rendered so that its own text and the users' texts stay apart.

Templates come with model files and are programs: they run in jinja's sandbox, with placeholders instead of texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from localent.errors import LocalentError, UsageError

Turn = tuple[str, str]  # role, text
Piece = tuple[str, bool]  # text, whether it is the template's own

TODAY = datetime(2024, 7, 26)  # templates that print the date must not change a run from one day to the next
OURS = frozenset({"messages", "add_generation_prompt", "bos_token", "eos_token"})  # no user's to set
DEFAULTS = {"bos_token": "", "eos_token": ""}
PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")  # private-use characters: no template trims, splits or re-cases them


def render_chat(template: str, turns: Sequence[Turn], variables: Mapping[str, Any]) -> tuple[list[Piece], list[Piece]]:
    """(pieces before the last turn's text, the others), the model's turn opened. Raises LocalentError."""
    compiled = _compiled(template)
    why = "it drops the text of the question"
    for variant in _variants(turns):
        try:
            rendered = compiled.render(
                {**DEFAULTS, **variables, "messages": _messages(*variant), "add_generation_prompt": True}
            )
        except Exception as error:  # a template is a program: it may fail in any way, and says why in its own words
            why = f"{type(error).__name__}: {error}" if not isinstance(error, TemplateError) else str(error)
            continue
        if {int(m[1]) for m in PLACEHOLDER.finditer(rendered)} == set(range(len(variant[0]))):
            return _cut(rendered, [text for _, text in variant[0]])
    way = "set what it needs with --template-var, or " if "undefined" in why else ""
    raise LocalentError(
        f"The model's chat template cannot carry this prompt ({why}): {way}give another one with --chat-template-file."
    )


def rendered(template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
    """A finished dialogue as the template writes it down. Raises LocalentError where it refuses."""
    try:
        return _compiled(template).render({**DEFAULTS, **variables, "messages": messages})
    except Exception as error:  # a template is a program: it may fail in any way
        raise LocalentError(f"The chat template refuses this dialogue ({error}).") from None


def check_names(template: str, chosen: Iterable[str]) -> None:
    """Raise UsageError for a variable that the template does not ask for: it would be ignored without a word."""
    asked = _asked_for(template) if chosen else frozenset()
    if unknown := sorted(set(chosen) - asked):
        known = f"it asks for {', '.join(sorted(asked))}" if asked else "it asks for none"
        raise UsageError(f"The model's chat template has no variable {unknown[0]!r} to set: {known}.")


def _variants(turns: Sequence[Turn]) -> Iterator[tuple[list[Turn], bool]]:
    """(turns, whether texts are wrapped in parts): as they are; system text folded into the first user turn."""
    folded = list(turns)
    if turns[0][0] == "system":
        folded = [("user", f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]]
        yield list(turns), False
    yield folded, False
    yield folded, True


def _messages(turns: Sequence[Turn], in_parts: bool) -> list[dict[str, Any]]:
    texts = [f"\ue000{i}\ue001" for i in range(len(turns))]
    content = [[{"type": "text", "text": text}] for text in texts] if in_parts else texts
    return [{"role": role, "content": c} for (role, _), c in zip(turns, content, strict=True)]


def _cut(rendered: str, texts: Sequence[str]) -> tuple[list[Piece], list[Piece]]:
    parts = PLACEHOLDER.split(rendered)  # template text, number, template text, number, ...
    pieces = [(texts[int(p)], False) if i % 2 else (p, True) for i, p in enumerate(parts)]
    asked = 2 * [int(n) for n in parts[1::2]].index(len(texts) - 1) + 1
    return pieces[:asked], pieces[asked:]


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    with _broken_told():
        return _environment().from_string(template)


@lru_cache(maxsize=8)
def _asked_for(template: str) -> frozenset[str]:
    """The variables that a template takes from outside and that a user may set."""
    environment = _environment()
    with _broken_told():
        names = meta.find_undeclared_variables(environment.parse(template))
    return frozenset(names - OURS - set(environment.globals))


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise, "strftime_now": TODAY.strftime}
    return environment


class _Generation(Extension):
    """{% generation %} ... {% endgeneration %}, by which transformers finds the model's own text: the body as it is."""

    tags = {"generation"}  # noqa: RUF012  as its base declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


@contextmanager
def _broken_told() -> Iterator[None]:
    try:
        yield
    except TemplateSyntaxError as error:
        raise LocalentError(
            f"The model's chat template is broken (line {error.lineno}: {error.message}): give another one with "
            "--chat-template-file."
        ) from None


def _tojson(value: Any, indent: int | None = None, **options: Any) -> str:
    """JSON as it is: jinja's own filter escapes <, > and & for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent, **options)


def _raise(message: str) -> None:
    raise TemplateError(message)
