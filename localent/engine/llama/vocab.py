"""A GGUF's vocabulary: text to tokens and back."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, overload

from localent.engine.llama.bindings import C, Pointer
from localent.errors import LocalentError, UsageError

BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))  # the spelling of the byte tokens of SentencePiece


class Pieces(Sequence[bytes]):
    """The bytes of every token, end to end in one block: 150,000 objects less than a list of them."""

    def __init__(self, pieces: Iterable[bytes]):
        block, self._ends = bytearray(), array("Q", [0])
        for piece in pieces:
            block += piece
            self._ends.append(len(block))
        self._block = bytes(block)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, token_id: int) -> bytes: ...
    @overload
    def __getitem__(self, token_id: slice) -> list[bytes]: ...
    def __getitem__(self, token_id: int | slice) -> bytes | list[bytes]:
        if isinstance(token_id, slice):
            return [self[i] for i in range(*token_id.indices(len(self)))]
        if not 0 <= token_id < len(self):
            raise IndexError(f"token {token_id} of {len(self)}")
        return self._block[self._ends[token_id] : self._ends[token_id + 1]]


class LlamaVocab:
    """A GGUF's vocabulary. Text of users and data sets is tokenized with special=False and so stays text."""

    def __init__(self, model: Pointer):
        self._vocab = C.llama_model_get_vocab(model)
        self.n_tokens = C.llama_vocab_n_tokens(self._vocab)
        self.eog = frozenset(i for i in range(self.n_tokens) if C.llama_vocab_is_eog(self._vocab, i))
        self.bos = C.llama_vocab_bos(self._vocab) if C.llama_vocab_get_add_bos(self._vocab) else None
        self._spellable = self._characters() if C.llama_vocab_type(self._vocab) == C.LLAMA_VOCAB_TYPE_SPM else None

    @cached_property
    def variables(self) -> dict[str, str]:
        """The spelling of BOS and EOS by the names that chat templates use."""
        ids = {"bos_token": C.llama_vocab_bos(self._vocab), "eos_token": C.llama_vocab_eos(self._vocab)}
        return {name: self.pieces[i].decode("utf-8", "replace") for name, i in ids.items() if 0 <= i < self.n_tokens}

    @cached_property
    def pieces(self) -> Pieces:
        """The bytes of every token; control tokens by their spelling."""
        buffer = ctypes.create_string_buffer(256)
        return Pieces(self._piece(i, buffer) for i in range(self.n_tokens))

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of text. With `special`, the spelling of a control token becomes that token."""
        if self._spellable is not None:
            _check_spelling(text, self._spellable)
        try:
            raw = text.encode()
        except UnicodeEncodeError as error:
            near = text[max(0, error.start - 20) : error.end]
            raise UsageError(f"Invalid Unicode (a lone surrogate) in {near!r}: fix the text that it is from.") from None
        ids = (C.llama_token * (len(raw) + 8))()
        n = C.llama_tokenize(self._vocab, raw, len(raw), ids, len(ids), False, special)
        if n < 0:
            raise LocalentError(f"llama.cpp could not tokenize a text of {len(raw)} bytes (code {n})")
        return ids[:n]

    def token_named(self, text: str) -> int | None:
        """The id of the token whose whole text is `text`, or None."""
        ids = self.tokenize(text, special=True)
        return ids[0] if len(ids) == 1 else None

    def _characters(self) -> frozenset[str] | None:
        """The characters that a SentencePiece vocabulary without byte tokens can spell; None where it has them."""
        texts = [C.llama_vocab_get_text(self._vocab, i).decode("utf-8", "replace") for i in range(self.n_tokens)]
        return None if set(texts) >= BYTES else frozenset(text for text in texts if len(text) == 1)

    def _piece(self, token_id: int, buffer: ctypes.Array[Any]) -> bytes:
        n = C.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
        if n < 0:
            buffer = ctypes.create_string_buffer(-n)
            n = C.llama_token_to_piece(self._vocab, token_id, buffer, len(buffer), 0, True)
        return bytes(buffer.raw[:n])


def _check_spelling(text: str, spellable: frozenset[str]) -> None:
    """Raise LocalentError for a character that would end the process in llama.cpp's tokenizer."""
    for char in text.replace(" ", "\u2581"):
        if char not in spellable:
            raise LocalentError(f"This model's vocabulary has no token for {char!r}: it cannot read this text.")
