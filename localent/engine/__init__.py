"""Tokens in, rows of logits out. `open(path)` is the only way to weights; nothing outside this room names a backend.

`interface` says what a backend offers, `backends` finds the one for a file, `lanes` is the scheduler. `llama/` is
llama.cpp, the only room that knows it; `scripted` is a fake for tests. A second backend is one more folder.
"""

from localent.engine.backends import (
    build_info,
    check_build,
    check_options,
    devices,
    open,
    quantize,
    quants,
    requirement,
    supports_gpu,
    supports_rpc,
)
from localent.engine.interface import (
    CACHE_BITS,
    CTX_STEP,
    Device,
    Engine,
    Model,
    Options,
    Prompt,
    QuantizeOptions,
    Row,
    Rows,
    Scorer,
    Take,
    Vocab,
)
from localent.engine.lanes import Coroutine, Feed, Request, Rewind, drive
from localent.engine.speed import fastest_lanes, speed_of

__all__ = [
    "CACHE_BITS",
    "CTX_STEP",
    "Device",
    "Engine",
    "Model",
    "Options",
    "Prompt",
    "QuantizeOptions",
    "Row",
    "Rows",
    "Scorer",
]
__all__ += ["Take", "Vocab"]
__all__ += ["Coroutine", "Feed", "Request", "Rewind", "drive", "fastest_lanes", "open"]
__all__ += ["build_info", "check_build", "check_options", "devices", "quantize", "quants", "requirement"]
__all__ += ["speed_of", "supports_gpu", "supports_rpc"]
