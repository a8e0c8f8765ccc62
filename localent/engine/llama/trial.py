"""The child process that tries an odd file: python -m localent.engine.llama.trial FILE.

Its last line is JSON: null, or why the file cannot be used. A file that ends the process does no harm here.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from localent.engine.interface import Options, Prompt, Vocab
from localent.engine.llama.model import LlamaModel
from localent.errors import LocalentError
from localent.files.header import read_header

TEXT = "How many are 12 and 7?\n"


def attempt(path: Path) -> str | None:
    """Load, tokenize and decode a little, as a run does: None, or why that failed."""
    try:
        with LlamaModel(path) as model:
            tokens = _tokens(model.vocab)
            if read_header(path).tensors:
                with model.lanes(Options(n_lanes=1, n_ctx=len(tokens) + 2, n_threads=1)) as engine:
                    engine.prefill(0, Prompt(tokens))
                    engine.decode([tokens[0]])
    except LocalentError as error:
        return str(error)
    return None


def _tokens(vocab: Vocab) -> list[int]:
    """A text in tokens; one token of a vocabulary that cannot spell it, or has no texts."""
    len(vocab.pieces)
    try:
        return vocab.tokenize(TEXT) or [0]
    except LocalentError:
        return [0]


def _dump_no_core() -> None:
    try:
        import resource
    except ImportError:
        return  # Windows writes none
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _dump_no_core()
    sys.stdout.write(json.dumps(attempt(Path(sys.argv[1]))) + "\n")
