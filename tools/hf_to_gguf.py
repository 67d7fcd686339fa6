#!/usr/bin/env python3
"""Writes a GGUF file with the weights of a Hugging Face folder, bit for bit, so that llama.cpp can be timed on them.

For qwen2 and llama, single-file bf16 safetensors, without vocabulary: such a file takes and gives ids only. Needs numpy and gguf.
Example:  tools/hf_to_gguf.py models/qwen2.5-0.5b-random qwen2.5-0.5b-random.gguf
"""

import argparse
import json
import os
import sys

import gguf
import numpy as np

NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
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


def read_bf16(path):
    """(name, bits) of each tensor, mapped from the file."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:8 + size].tobytes())
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if entry["dtype"] != "BF16":
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, expected BF16")
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        yield name, data[begin:end].view(np.uint16).reshape(entry["shape"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out")
    args = parser.parse_args()

    with open(os.path.join(args.folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    arch = config["model_type"]
    if arch not in ("qwen2", "llama") or config.get("rope_scaling"):
        raise SystemExit(f"{args.folder}: expected qwen2 or llama without rope scaling, got {arch}")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]

    writer = gguf.GGUFWriter(args.out, arch=arch)
    writer.add_name(os.path.basename(os.path.normpath(args.folder)))
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("none")
    for name, bits in read_bf16(os.path.join(args.folder, "model.safetensors")):
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        if arch == "llama" and "q_proj" in name:
            bits = permute(bits, heads)
        elif arch == "llama" and "k_proj" in name:
            bits = permute(bits, kv_heads)
        if bits.ndim == 1:  # llama.cpp keeps norms and biases in float32
            writer.add_tensor(gguf_name(name), (bits.astype(np.uint32) << 16).view(np.float32))
        else:
            writer.add_tensor(gguf_name(name), np.ascontiguousarray(bits).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.out}: {arch}, {os.path.getsize(args.out) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
