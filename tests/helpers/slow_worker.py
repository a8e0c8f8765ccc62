"""Preloaded by dask workers in tests: the bundled model is a script there, whose every token takes a while."""

import os
import time
from pathlib import Path

from helpers import written
from localent import demo
from localent.engine import scripted

PAUSE_S = float(os.environ.get("LOCALENT_TEST_PAUSE", "0"))


def dask_setup(worker):
    """Enter for good; a preload ends with its process."""
    path = Path(demo.__path__[0]) / "abacus-sft-f16.gguf"
    written.model(path).__enter__()
    decode = scripted.ScriptedEngine.decode

    def slowly(self, tokens):
        time.sleep(PAUSE_S)
        return decode(self, tokens)

    scripted.ScriptedEngine.decode = slowly
