"""Weights → GGUF: `python export.py WEIGHTS.pt OUT.gguf --stage sft`. llama.cpp's logits must then equal PyTorch's.

llama.cpp rotates neighbouring pairs, the model rotates halves: rows of q and k are interleaved on export.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch
from checkpoints import EVERY
from documents import END_OF_TEXT, TURN_END, TURN_START
from model import Shape

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
PLAIN_TEMPLATE = "Question: {question}\nSolution:"


def interleaved(weight: np.ndarray, n_head: int) -> np.ndarray:
    """Rows of q or k from rotate-half to neighbouring-pair order: (n_embd, n_embd) -> same."""
    return weight.reshape(n_head, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def tensors(weights: dict[str, torch.Tensor], shape: Shape) -> dict[str, np.ndarray]:
    """All tensors by their GGUF name, float32. Tied embeddings: there is no output.weight."""
    w = {name: t.float().cpu().numpy() for name, t in weights.items()}
    out = {"token_embd.weight": w["embed.weight"], "output_norm.weight": w["norm.weight"]}
    for i in range(shape.n_layer):
        q, k, v = (w[f"blocks.{i}.attention.{part}.weight"] for part in "qkv")
        out |= {
            f"blk.{i}.attn_q.weight": interleaved(q, shape.n_head),
            f"blk.{i}.attn_k.weight": interleaved(k, shape.n_head),
            f"blk.{i}.attn_v.weight": v,
            f"blk.{i}.attn_output.weight": w[f"blocks.{i}.attention.out.weight"],
            f"blk.{i}.attn_norm.weight": w[f"blocks.{i}.attention_norm.weight"],
            f"blk.{i}.ffn_norm.weight": w[f"blocks.{i}.ffn_norm.weight"],
            **{f"blk.{i}.ffn_{part}.weight": w[f"blocks.{i}.{part}.weight"] for part in ("gate", "up", "down")},
        }
    return out


def add_general(writer: gguf.GGUFWriter, stage: str) -> None:
    writer.add_name(f"abacus-{stage}")
    writer.add_basename("abacus")
    writer.add_finetune(stage)
    writer.add_description(f"Tiny reasoner for arithmetic word problems: {EVERY[stage].description}.")
    writer.add_license("MIT")
    writer.add_string("abacus.stage", stage)
    writer.add_string("abacus.prompt", "chat" if EVERY[stage].chat else PLAIN_TEMPLATE)


def add_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_vocab_size(shape.n_vocab)


def add_tokenizer(writer: gguf.GGUFWriter, path: Path, stage: str) -> None:
    """Tokens in id order in GPT-2's byte alphabet, merges, ids of the special tokens; no BOS is ever added."""
    kept = json.loads(path.read_text())
    ids: dict[str, int] = kept["model"]["vocab"]
    special = {token["content"] for token in kept["added_tokens"]}
    tokens = sorted(ids, key=ids.__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(m) if isinstance(m, list) else m for m in kept["model"]["merges"]])
    end = TURN_END if EVERY[stage].chat else END_OF_TEXT
    writer.add_bos_token_id(ids[END_OF_TEXT])
    writer.add_eos_token_id(ids[end])
    writer.add_eot_token_id(ids[end])
    writer.add_pad_token_id(ids[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    if EVERY[stage].chat:
        assert TURN_START in ids
        writer.add_chat_template(CHAT_TEMPLATE)


def export(weights: Path, tokenizer: Path, out: Path, stage: str, full: bool = False) -> None:
    """Write the GGUF: matrices F16 (F32 if `full`), norms F32."""
    kept = torch.load(weights, map_location="cpu")
    shape = Shape(**kept["shape"])
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32 if full else gguf.LlamaFileType.MOSTLY_F16)
    add_general(writer, stage)
    add_shape(writer, shape)
    add_tokenizer(writer, tokenizer, stage)
    for name, array in tensors(kept["model"], shape).items():
        writer.add_tensor(name, array if full or array.ndim == 1 else array.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stage", choices=EVERY, required=True)
    parser.add_argument("--tokenizer", type=Path, help="default: tokenizer.json beside the weights")
    parser.add_argument("--f32", action="store_true", help="float32 matrices, for comparing logits")
    args = parser.parse_args()
    export(args.weights, args.tokenizer or args.weights.parent / "tokenizer.json", args.out, args.stage, args.f32)


if __name__ == "__main__":
    main()
