"""Preloaded by dask workers in tests: the bundled model is a script there, whose every token takes a while."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

from helpers import written
from localent import demo
from localent.engine import scripted

PAUSE_S = float(os.environ.get("LOCALENT_TEST_PAUSE", "0"))

ENTERED = ExitStack()  # kept, or the context would end with its last reference


def dask_setup(worker):
    """Enter for good; a preload ends with its process."""
    path = Path(demo.__path__[0]) / "abacus-sft-f16.gguf"
    ENTERED.enter_context(written.model(path))
    decode = scripted.ScriptedEngine.decode

    def slowly(self, tokens):
        time.sleep(PAUSE_S)
        return decode(self, tokens)

    scripted.ScriptedEngine.decode = slowly
