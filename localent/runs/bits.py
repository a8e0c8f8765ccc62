"""Types of tensors that make a quant of so many bits per weight.

All tensors of a model get one type of a ladder; what is left of the bits goes to the tensors that suffer most from few,
a step each, in the order of llama.cpp's own mixtures: values and down projections, at both ends of the model first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localent.engine import QuantizeOptions
from localent.errors import UsageError
from localent.files import tensors

BLOCK, SMALL_BLOCK = 256, 32  # weights of a block of K-quants, and of the others
K_LADDER = (("Q2_K", 2.625), ("Q3_K", 3.4375), ("Q4_K", 4.5), ("Q5_K", 5.5), ("Q6_K", 6.5625), ("Q8_0", 8.5))
PLAIN_LADDER = (("Q4_0", 4.5), ("Q4_0", 4.5), ("Q4_0", 4.5), ("Q5_0", 5.5), ("Q5_1", 6.0), ("Q8_0", 8.5))
FILE_TYPES = ("Q2_K", "Q3_K_S", "Q4_K_S", "Q5_K_S", "Q6_K", "Q8_0")  # what a file of each step is called
FIRST = ("attn_v", "attn_qkv", "ffn_down", "output", "token_embd", "attn_output", "attn_k", "attn_q", "ffn")
Ladder = Sequence[tuple[str, float]]  # (type, bits per weight), a step each
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor that is quantized."""

    name: str
    n_weights: int
    ladder: Ladder

    @property
    def layer(self) -> int | None:
        """Its layer; None: it is in none."""
        found = re.match(r"blk\.(\d+)\.", self.name)
        return int(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Mixture:
    """The types of all tensors, and what comes of it."""

    file_type: str  # the quant by which the file is called in its header
    types: Mapping[str, str]  # tensor -> type
    bits_per_weight: float

    def options(self, options: QuantizeOptions) -> QuantizeOptions:
        """The quantizer's options with these types."""
        chosen = tuple((f"^{re.escape(name)}$", kind) for name, kind in self.types.items())
        embedding, output = self.types.get(EMBEDDING), self.types.get(OUTPUT)
        return replace(options, tensor_types=chosen, embedding_type=embedding, output_type=output)


def mixture(source: Path, bits: float) -> Mixture:
    """The types for a quant of at most `bits` per weight, over all tensors of the file.

    Raises UsageError for less than the smallest types give, and more than Q8_0 does.
    """
    matrices, rest, n_weights = _matrices(source)
    steps = range(len(K_LADDER))
    sizes = [rest + sum(m.n_weights * m.ladder[step][1] for m in matrices) for step in steps]
    fitting = [step for step in steps if sizes[step] <= bits * n_weights]
    least, most = sizes[0] / n_weights, sizes[-1] / n_weights
    if not fitting or bits > most + 1:
        raise UsageError(
            f"{source.name} can have {least:.2f} to {most:.2f} bits per weight here, got --bits {bits:g}: choose"
            " between, or name a QUANT."
        )
    base, left = fitting[-1], bits * n_weights - sizes[fitting[-1]]
    raised = set[str]()
    for matrix in sorted(matrices, key=_order(matrices)) if base + 1 < len(K_LADDER) else ():
        cost = matrix.n_weights * (matrix.ladder[base + 1][1] - matrix.ladder[base][1])
        if cost <= left:
            left -= cost
            raised.add(matrix.name)
    types = {m.name: m.ladder[base + (m.name in raised)][0] for m in matrices}
    return Mixture(FILE_TYPES[base], types, bits - left / n_weights)


def _matrices(source: Path) -> tuple[list[Matrix], float, int]:
    """(the tensors that are quantized, bits of the others, all weights)."""
    found, rest, n_weights = list[Matrix](), 0.0, 0
    for tensor in tensors.tensors_of(source):
        n, row = int(tensor.n_elements), int(tensor.shape[0])
        n_weights += n
        if len(tensor.shape) < 2 or row % SMALL_BLOCK or not _is_quantized(tensor.name):
            rest += 8.0 * tensor.n_bytes
        else:
            found.append(Matrix(tensor.name, n, K_LADDER if row % BLOCK == 0 else PLAIN_LADDER))
    return found, rest, n_weights


def _is_quantized(name: str) -> bool:
    """False for what llama.cpp leaves as it is: norms, routers of mixtures, convolutions."""
    return name.endswith(".weight") and not re.search(r"norm|ffn_gate_inp|ssm_conv1d|shortconv\.conv|time_mix", name)


def _order(matrices: Sequence[Matrix]) -> Callable[[Matrix], tuple[int, int]]:
    """The key by which tensors are raised: by kind, then from both ends of the model inwards."""
    last = max((m.layer for m in matrices if m.layer is not None), default=0)

    def key(matrix: Matrix) -> tuple[int, int]:
        kind = next((i for i, part in enumerate(FIRST) if part in matrix.name), len(FIRST))
        layer = matrix.layer
        return kind, 0 if layer is None else min(layer, last - layer)

    return key
