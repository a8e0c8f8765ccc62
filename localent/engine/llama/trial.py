"""The child process that tries an odd file: python -m localent.engine.llama.trial use|load FILE.

Its last line is JSON: null, or why the file cannot be used. A file that ends the process does no harm here.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

from localent.engine.interface import Options, Prompt, Vocab
from localent.engine.llama.bindings import C, check_bindings
from localent.engine.llama.model import LlamaModel
from localent.engine.llama.weights import free_model, load_model
from localent.errors import LocalentError
from localent.files.header import parts, read_header

TEXT = "How many are 12 and 7?\n\té ü ß 漢字 \U0001f642 \u200b\ufffd"  # of all that a tokenizer may lack
TEXT += "".join(map(chr, range(1, 256)))
N_FED = 16  # tokens that are computed: a large model takes seconds for each
SECONDS, BYTES_PER_SECOND = 15, 50_000_000  # of computing: a base, and weights that are read and repacked
MEMORY = 4 << 30  # bytes, beside twice the file


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


def load(path: Path) -> str | None:
    """Load the weights, as a quantization does, also those of an encoder: None, or why that failed."""
    try:
        check_bindings()
        C.llama_backend_init()
        free_model(load_model(path, 0, vocab_only=False))
    except LocalentError as error:
        return str(error)
    return None


def _tokens(vocab: Vocab) -> list[int]:
    """The first tokens of a text; one token of a vocabulary that cannot spell it, or has no texts."""
    len(vocab.pieces)
    try:
        return vocab.tokenize(TEXT)[:N_FED] or [0]
    except LocalentError:
        return [0]


def _limit(path: Path) -> None:
    """Limit time and memory, and dump no core: a damaged header may ask for any amount of both."""
    try:
        import resource
    except ImportError:
        return  # Windows
    n_bytes = sum(part.stat().st_size for part in parts(path) if part.is_file())
    seconds = SECONDS + n_bytes // BYTES_PER_SECOND
    limits = {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_CPU: (seconds, seconds + 1)}
    if sys.platform == "linux":  # elsewhere it counts other things
        limits[resource.RLIMIT_DATA] = (MEMORY + 2 * n_bytes,) * 2
    for limit, values in limits.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, values)


if __name__ == "__main__":
    purpose, file = sys.argv[1], Path(sys.argv[2])
    _limit(file)
    sys.stdout.write(json.dumps({"use": attempt, "load": load}[purpose](file)) + "\n")
