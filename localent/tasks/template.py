"""A model's chat template, rendered so that its own text and the users' texts stay apart.

Templates come with model files and are programs: they run in a child process with limits (see `rendering`), with
placeholders instead of texts, so that one rendering serves all problems of a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from localent.errors import LocalentError, UsageError
from localent.tasks import rendering
from localent.tasks.rendering import RefusedError

Turn = tuple[str, str]  # role, text
Part = tuple[str, str | None]  # text, the role of who says it; None: the template's own
Piece = tuple[str, bool]  # text, whether it is the template's own

OURS = frozenset({"messages", "add_generation_prompt", "bos_token", "eos_token"})  # no user's to set
DEFAULTS = {"bos_token": "", "eos_token": ""}
PLACEHOLDER = re.compile("\ue000(\\d+)\ue001")  # private-use characters: no template trims, splits or re-cases them


def render_chat(template: str, turns: Sequence[Turn], variables: Mapping[str, Any]) -> tuple[list[Piece], list[Piece]]:
    """(pieces before the last turn's text, the others), the model's turn opened. Raises LocalentError."""
    rendered, carried = _carried(template, turns, variables, opened=True)
    return _cut(rendered, [text for _, text in carried])


def render_dialogue(template: str, turns: Sequence[Turn], variables: Mapping[str, Any]) -> list[Part]:
    """A finished dialogue in parts, in order. Raises LocalentError where the template cannot carry it."""
    rendered, carried = _carried(template, turns, variables, opened=False)
    parts = PLACEHOLDER.split(rendered)  # template text, number, template text, number, ...
    return [carried[int(p)][::-1] if i % 2 else (p, None) for i, p in enumerate(parts)]


def _carried(
    template: str, turns: Sequence[Turn], variables: Mapping[str, Any], *, opened: bool
) -> tuple[str, Sequence[Turn]]:
    """The rendering with placeholders, and the turns that they stand for. opened: the model's turn is begun."""
    why = "it drops the text of the question" if opened else "it drops the text of a message"
    for variant in _variants(turns):
        known = {"messages": _messages(*variant), "add_generation_prompt": opened}
        try:
            rendered = rendering.render(template, {**DEFAULTS, **variables, **known})
        except RefusedError as error:
            why = str(error)
            continue
        if {int(m[1]) for m in PLACEHOLDER.finditer(rendered)} == set(range(len(variant[0]))):
            return rendered, variant[0]
    way = "set what it needs with --template-var, or " if "undefined" in why else ""
    raise LocalentError(
        f"The model's chat template cannot carry this {'prompt' if opened else 'dialogue'} ({why}): {way}give another"
        " one with --chat-template-file."
    )


def rendered(template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]) -> str:
    """A finished dialogue as the template writes it down. Raises LocalentError where it refuses."""
    return rendering.render(template, {**DEFAULTS, **variables, "messages": messages})


def check_names(template: str, chosen: Iterable[str]) -> None:
    """Raise UsageError for a variable that the template does not ask for: it would be ignored without a word."""
    asked = rendering.names(template) - OURS if chosen else frozenset()
    if unknown := sorted(set(chosen) - asked):
        known = f"it asks for {', '.join(sorted(asked))}" if asked else "it asks for none"
        raise UsageError(f"The model's chat template has no variable {unknown[0]!r} to set: {known}.")


def _variants(turns: Sequence[Turn]) -> Iterator[tuple[list[Turn], bool]]:
    """(turns, whether texts are wrapped in parts): as they are; system text folded into the first user turn."""
    folded = list(turns)
    if turns[0][0] == "system" and turns[1:] and turns[1][0] == "user":
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
