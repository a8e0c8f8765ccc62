"""Make GGUF files of true shape and real or tiny vocabulary, with random weights: for speed and for tests.

    python scripts/random_model.py qwen2.5-0.5b VOCAB.gguf OUT.gguf      # VOCAB: a vocabulary-only GGUF

Such a model writes nonsense at exactly the speed, memory and numerics of the real one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

CONV, STATE = 4, 16  # of the recurrent shapes


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers of a transformer. `window`: sliding-window attention (gemma2), tokens."""

    arch: str
    n_layer: int
    n_embd: int
    n_ff: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ctx: int
    window: int | None = None
    soft_cap: float = 30.0  # of the final logits (gemma2)
    attention: tuple[int, ...] | None = None  # layers that have it, in a hybrid; the others are short convolutions


SHAPES = {
    "qwen2.5-0.5b": Shape("qwen2", 24, 896, 4864, 14, 2, 64, 32768),
    "tiny-llama": Shape("llama", 2, 64, 128, 4, 2, 16, 2048),
    "tiny-wide-heads": Shape("llama", 2, 64, 128, 2, 1, 32, 2048),
    "tiny-qwen2": Shape("qwen2", 2, 64, 128, 4, 2, 16, 2048),
    "tiny-gemma2": Shape("gemma2", 2, 64, 128, 4, 2, 16, 2048, window=64),
    "tiny-gemma2-4096": Shape("gemma2", 2, 64, 128, 4, 2, 16, 8192, window=4096),
    "tiny-olmo2": Shape("olmo2", 2, 64, 128, 4, 2, 16, 2048),
    "tiny-mamba": Shape("mamba", 2, 64, 0, 0, 0, 0, 2048),
    "tiny-lfm2": Shape("lfm2", 3, 64, 128, 4, 2, 16, 2048, attention=(1,)),
}


def write(
    path: Path,
    shape: Shape,
    *,
    vocab: Path | None = None,
    seed: int = 0,
    scale: float = 1.0,
    vocab_only: bool = False,
    parts_of: int = 0,
) -> Path:
    """Write an F16 GGUF. Without `vocab` it gets 256 byte tokens and four others. `scale` sharpens the logits.

    parts_of: split it into files of so many tensors; 0: one file.
    """
    writer = gguf.GGUFWriter(path, shape.arch, split_max_tensors=parts_of)
    n_vocab = _copy_vocab(writer, vocab) if vocab else _byte_vocab(writer)
    _add_hyperparameters(writer, shape, n_vocab)
    rng = np.random.default_rng(seed)
    for name, dims in [] if vocab_only else tensors(shape, n_vocab):
        writer.add_tensor(name, _weights(rng, name, dims, scale))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def tensors(shape: Shape, n_vocab: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and numpy shapes (rows, columns) of all tensors; embeddings are tied."""
    if shape.arch == "mamba":
        return _mamba_tensors(shape, n_vocab)
    if shape.arch == "lfm2":
        return _lfm2_tensors(shape, n_vocab)
    e, f, q, kv = shape.n_embd, shape.n_ff, shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (n_vocab, e)), ("output_norm.weight", (e,))]
    for i in range(shape.n_layer):
        layer = {"attn_norm": (e,), "attn_q": (q, e), "attn_k": (kv, e), "attn_v": (kv, e), "attn_output": (e, q)}
        layer |= {"ffn_norm": (e,), "ffn_gate": (f, e), "ffn_up": (f, e), "ffn_down": (e, f)}
        if shape.arch in ("gemma2", "olmo2"):
            layer |= {"post_attention_norm": (e,), "post_ffw_norm": (e,)}
        if shape.arch == "olmo2":  # norms after, not before; queries and keys are normed, too
            layer |= {"attn_q_norm": (q,), "attn_k_norm": (kv,)}
            del layer["attn_norm"], layer["ffn_norm"]
        found += [(f"blk.{i}.{name}.weight", dims) for name, dims in layer.items()]
        if shape.arch == "qwen2":
            found += [(f"blk.{i}.attn_{p}.bias", (n,)) for p, n in (("q", q), ("k", kv), ("v", kv))]
    return found + ([("output.weight", (n_vocab, e))] if shape.arch == "olmo2" else [])


def _lfm2_tensors(shape: Shape, n_vocab: int) -> list[tuple[str, tuple[int, ...]]]:
    e, f, q, kv = shape.n_embd, shape.n_ff, shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (n_vocab, e)), ("token_embd_norm.weight", (e,))]
    for i in range(shape.n_layer):
        layer = {"attn_norm": (e,), "ffn_norm": (e,), "ffn_gate": (f, e), "ffn_up": (f, e), "ffn_down": (e, f)}
        if i in shape.attention:
            layer |= {"attn_q": (q, e), "attn_k": (kv, e), "attn_v": (kv, e), "attn_output": (e, q)}
            layer |= {"attn_q_norm": (shape.head_dim,), "attn_k_norm": (shape.head_dim,)}
        else:
            layer |= {"shortconv.in_proj": (3 * e, e), "shortconv.conv": (e, CONV - 1), "shortconv.out_proj": (e, e)}
        found += [(f"blk.{i}.{name}.weight", dims) for name, dims in layer.items()]
    return found


def _mamba_tensors(shape: Shape, n_vocab: int) -> list[tuple[str, tuple[int, ...]]]:
    e, inner, rank = shape.n_embd, 2 * shape.n_embd, shape.n_embd // 16
    found: list[tuple[str, tuple[int, ...]]] = [("token_embd.weight", (n_vocab, e)), ("output_norm.weight", (e,))]
    for i in range(shape.n_layer):
        layer = {"attn_norm.weight": (e,), "ssm_in.weight": (2 * inner, e), "ssm_conv1d.weight": (inner, CONV)}
        layer |= {"ssm_conv1d.bias": (inner,), "ssm_x.weight": (rank + 2 * STATE, inner)}
        layer |= {"ssm_dt.weight": (inner, rank)}
        layer |= {"ssm_dt.bias": (inner,), "ssm_a": (inner, STATE), "ssm_d": (inner,), "ssm_out.weight": (e, inner)}
        found += [(f"blk.{i}.{name}", dims) for name, dims in layer.items()]
    return found


def _weights(rng: np.random.Generator, name: str, dims: tuple[int, ...], scale: float) -> np.ndarray:
    if name.endswith("norm.weight"):
        return np.ones(dims, np.float32) * (scale if name.startswith(("output_norm", "token_embd_norm")) else 1)
    if len(dims) == 1:
        return np.zeros(dims, np.float32)
    if name.endswith("ssm_a"):
        return -np.ones(dims, np.float32)
    if "conv1d" in name or name.endswith("conv.weight"):
        return rng.standard_normal(dims, dtype=np.float32)
    return (rng.standard_normal(dims, dtype=np.float32) * dims[-1] ** -0.5).astype(np.float16)


def _add_hyperparameters(writer: gguf.GGUFWriter, shape: Shape, n_vocab: int) -> None:
    writer.add_name(f"random {shape.arch}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(n_vocab)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    if shape.arch == "mamba":
        writer.add_ssm_conv_kernel(CONV)
        writer.add_ssm_inner_size(2 * shape.n_embd)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_time_step_rank(shape.n_embd // 16)
        return
    if shape.arch == "lfm2":
        writer.add_shortconv_l_cache(CONV - 1)
    layers = range(shape.n_layer)
    writer.add_head_count_kv(
        [shape.n_head_kv * (i in shape.attention) for i in layers] if shape.attention else shape.n_head_kv
    )
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(10000.0)
    if shape.window:
        writer.add_sliding_window(shape.window)
        writer.add_attn_logit_softcapping(50.0)
        writer.add_final_logit_softcapping(shape.soft_cap)


def _copy_vocab(writer: gguf.GGUFWriter, vocab: Path) -> int:
    """Copy every tokenizer field of a GGUF; returns the vocabulary size."""
    fields = gguf.GGUFReader(vocab).fields
    for key, field in fields.items():
        if key.startswith("tokenizer."):
            sub_type = field.types[1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub_type)
    return len(fields["tokenizer.ggml.tokens"].data)


def _byte_vocab(writer: gguf.GGUFWriter) -> int:
    """The 256 bytes in GPT-2's alphabet, one merge and three control tokens."""
    alphabet = _gpt2_bytes()
    tokens = [*alphabet, "Th", "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * 3)
    writer.add_token_merges(["T h"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(259)
    writer.add_add_bos_token(False)
    return len(tokens)


def _gpt2_bytes() -> list[str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    extra = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(extra)) for b in range(256)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("vocab", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    print(write(args.out, SHAPES[args.shape], vocab=args.vocab))
