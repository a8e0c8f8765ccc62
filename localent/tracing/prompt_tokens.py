"""From the text of a prompt to its tokens: user text stays text, one BOS, the shared part found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from localent.engine import Prompt, Vocab
from localent.tasks.prompt import PromptText, Segment
from localent.tasks.template import Part

SAID_BY = "assistant"  # the role of the model


def prompt_tokens(prompt: PromptText, vocab: Vocab) -> Prompt:
    """The tokens to feed, and how many of them every prompt of the run begins with.

    The last token of the shared text is not counted in: it may merge with what follows.
    """
    tokens = _with_bos(tokens_of([*prompt.shared, *prompt.own], vocab), vocab)
    shared = _with_bos(tokens_of(prompt.shared, vocab), vocab)[:-1] if prompt.shared else []
    return Prompt(tokens, len(shared) if tokens[: len(shared)] == shared else 0)


def tokens_of(segments: Sequence[Segment], vocab: Vocab) -> list[int]:
    """Token ids of a text in segments.

    Tokenized in one piece, as everyone does, wherever no user text spells a special token; segment by segment where
    one does, so that it stays text.
    """
    special = any(segment.parse_special for segment in segments)
    if not special or all(s.parse_special or _is_plain(s.text, vocab) for s in segments):
        return vocab.tokenize("".join(s.text for s in segments), special=special)
    first, *rest = segments
    tokens = vocab.tokenize(first.text, special=first.parse_special)
    for segment in rest:
        tokens += continued(segment.text, vocab, special=segment.parse_special)
    return tokens


def continued(text: str, vocab: Vocab, *, special: bool = False) -> list[int]:
    """Token ids of text that follows other text: some vocabularies put a blank before the first word of any text."""
    line = vocab.tokenize("\n")
    after_line = vocab.tokenize("\n" + text, special=special)
    return after_line[len(line) :] if after_line[: len(line)] == line else vocab.tokenize(text, special=special)


def dialogue_tokens(parts: Sequence[Part], vocab: Vocab) -> list[tuple[int, bool]]:
    """The tokens of a dialogue, each with True if the model says it, the token that ends its turn included.

    What the model says is tokenized by itself, as it would write it after its prompt.
    """
    found: list[tuple[int, bool]] = []
    for said, group in groupby(parts, key=lambda part: part[1] == SAID_BY):
        segments = [Segment(text, role is None) for text, role in group if text]
        tokens = _further(segments, vocab) if found else _with_bos(tokens_of(segments, vocab), vocab)
        ends = bool(found) and found[-1][1] and tokens[:1] != [] and tokens[0] in vocab.eog
        found += [(token, said or (ends and i == 0)) for i, token in enumerate(tokens)]
    return found


def _further(segments: Sequence[Segment], vocab: Vocab) -> list[int]:
    """Token ids of segments that follow other text."""
    if all(s.parse_special or _is_plain(s.text, vocab) for s in segments):
        special = any(segment.parse_special for segment in segments)
        return continued("".join(s.text for s in segments), vocab, special=special)
    return [token for s in segments for token in continued(s.text, vocab, special=s.parse_special)]


def space_after(prompt: Prompt, vocab: Vocab) -> str:
    """What parts a line from the prompt before it: a space where the prompt ends in none."""
    return "" if vocab.pieces[prompt.tokens[-1]][-1:].isspace() else " "


def _is_plain(text: str, vocab: Vocab) -> bool:
    return vocab.tokenize(text, special=True) == vocab.tokenize(text)


def _with_bos(tokens: list[int], vocab: Vocab) -> list[int]:
    """Exactly one BOS in front where the vocabulary wants one: templates often bring it themselves."""
    return tokens if vocab.bos is None or tokens[:1] == [vocab.bos] else [vocab.bos, *tokens]
