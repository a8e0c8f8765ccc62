"""llama.cpp as an engine of localent: the only package that knows it.

Every guard here stands in front of a C assertion that would end the whole process, or of a silent wrong answer.
"""

from localent.engine.llama.bindings import PINNED, check_bindings
from localent.engine.llama.context import CTX_STEP, Options, check_options
from localent.engine.llama.devices import Device, build_info, devices, supports_gpu
from localent.engine.llama.engine import LlamaEngine, fastest_lanes
from localent.engine.llama.model import LlamaModel
from localent.engine.llama.quantizer import FTYPES, quantize
from localent.engine.llama.scorer import LlamaScorer
from localent.engine.llama.vocab import LlamaVocab

__all__ = [
    "CTX_STEP",
    "FTYPES",
    "PINNED",
    "Device",
    "LlamaEngine",
    "LlamaModel",
    "LlamaScorer",
    "LlamaVocab",
    "Options",
    "build_info",
    "check_bindings",
    "check_options",
    "devices",
    "fastest_lanes",
    "quantize",
    "supports_gpu",
]
