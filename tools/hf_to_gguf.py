#!/usr/bin/env python3
"""Writes a GGUF file with the weights of a Hugging Face folder, bit for bit: to time llama.cpp on them, and as test data.

For qwen2, qwen3, llama and mistral, bf16 and float32 safetensors, without vocabulary: such a file takes and gives ids only. Needs
numpy and gguf. The files in testdata/gguf are made by
  for name in llama_bias llama3_rope llama_linear_rope llama_gqa_sharded mistral_sliding qwen2_tied qwen3; do
    tools/hf_to_gguf.py testdata/parity/$name testdata/gguf/$name.gguf
  done
Example:  tools/hf_to_gguf.py models/qwen2.5-0.5b-random qwen2.5-0.5b-random.gguf
"""

import argparse
import json
import math
import os
import sys

import gguf
import numpy as np

NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
}
ARCHITECTURES = {"qwen2": "qwen2", "qwen3": "qwen3", "llama": "llama", "mistral": "llama"}
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    _, _, layer, op = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[op]}.{kind}"


def permute(x, heads):
    """Rows of q and k of llama files, rotated pairs made neighbours, as llama.cpp expects them."""
    return x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def read_file(path):
    """(name, bf16 bits or float32 values) of each tensor, mapped from the file."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:8 + size].tobytes())
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in ("BF16", "F32"):
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, expected BF16 or F32")
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        yield name, data[begin:end].view(np.uint16 if entry["dtype"] == "BF16" else np.float32).reshape(entry["shape"])


def read_folder(folder):
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if os.path.exists(index):
        with open(index, encoding="utf-8") as f:
            files = sorted(set(json.load(f)["weight_map"].values()))
    for name in files:
        yield from read_file(os.path.join(folder, name))


def llama3_factors(rope, theta, head_dim):
    """The divisor of each frequency, as the scaling "llama3" defines it."""
    factors = []
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    for i in range(0, head_dim, 2):
        turns = rope["original_max_position_embeddings"] / (2 * math.pi * theta ** (i / head_dim))
        share = min(max((turns - low) / (high - low), 0.0), 1.0)
        factors.append(1 / ((1 - share) / rope["factor"] + share))
    return np.array(factors, dtype=np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out")
    args = parser.parse_args()

    with open(os.path.join(args.folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    if config["model_type"] not in ARCHITECTURES:
        raise SystemExit(f"{args.folder}: expected one of {', '.join(ARCHITECTURES)}, got {config['model_type']}")
    arch = ARCHITECTURES[config["model_type"]]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    scaling = rope.get("rope_type") or rope.get("type") or "default"
    theta = config.get("rope_theta") or rope["rope_theta"]
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    writer = gguf.GGUFWriter(args.out, arch=arch)
    writer.add_name(os.path.basename(os.path.normpath(args.folder)))
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(theta)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    if config.get("sliding_window") and config["model_type"] == "mistral":
        writer.add_sliding_window(config["sliding_window"])
    if scaling == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif scaling == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(rope, theta, head_dim))
    elif scaling != "default":
        raise SystemExit(f"{args.folder}: the rope scaling {scaling} is not known here")
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(head_dim)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    for name, bits in read_folder(args.folder):
        if name == "lm_head.weight" and config.get("tie_word_embeddings"):
            continue
        if arch == "llama" and "q_proj" in name:
            bits = permute(bits, heads)
        elif arch == "llama" and "k_proj" in name:
            bits = permute(bits, kv_heads)
        if bits.ndim == 1 and bits.dtype == np.uint16:  # llama.cpp keeps norms and biases in float32
            bits = (bits.astype(np.uint32) << 16).view(np.float32)
        bits = np.ascontiguousarray(bits)
        if bits.dtype == np.float32:
            writer.add_tensor(gguf_name(name), bits)
        else:
            writer.add_tensor(gguf_name(name), bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.out}: {arch}, {os.path.getsize(args.out) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
