#!/usr/bin/env python3
"""Writes a Hugging Face folder with random bf16 weights in the exact shape of a published model.

For speed measurements, where only shapes, types and sane activations matter. Needs numpy alone; the same seed gives the
same file. Example:  tools/make_random_model.py models/qwen2.5-0.5b-random --shape qwen2.5-0.5b
"""

import argparse
import json
import os
import sys
import zlib

import numpy as np

# The keys of each config.json are those the publisher wrote, in the publisher's spelling.
SHAPES = {
    "qwen2.5-0.5b": {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        "hidden_size": 896,
        "initializer_range": 0.02,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "max_window_layers": 21,
        "model_type": "qwen2",
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.1",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen2.5-1.5b": {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "hidden_act": "silu",
        "hidden_size": 1536,
        "initializer_range": 0.02,
        "intermediate_size": 8960,
        "max_position_embeddings": 32768,
        "max_window_layers": 21,
        "model_type": "qwen2",
        "num_attention_heads": 12,
        "num_hidden_layers": 28,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.43.1",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen3-0.6b": {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151645,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 1024,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "max_position_embeddings": 40960,
        "max_window_layers": 28,
        "model_type": "qwen3",
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "smollm2-135m": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 576,
        "initializer_range": 0.041666666666666664,
        "intermediate_size": 1536,
        "is_llama_config": True,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_interleaved": False,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.42.3",
        "use_cache": True,
        "vocab_size": 49152,
    },
    "llama-3.2-1b": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009],
        "head_dim": 64,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "initializer_range": 0.02,
        "intermediate_size": 8192,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 16,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 32.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.45.0.dev0",
        "use_cache": True,
        "vocab_size": 128256,
    },
}


def tensor_plan(c):
    """(name, shape, mean, standard deviation) of every tensor, in checkpoint order."""
    h, inter, vocab = c["hidden_size"], c["intermediate_size"], c["vocab_size"]
    d = c.get("head_dim") or h // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * d, c["num_key_value_heads"] * d
    # A matrix of standard deviation 1/sqrt(columns) keeps the size of a normed row; the two that write to the residual
    # stream are smaller by sqrt(2 * layers), so that the stream grows like one layer's worth over the whole depth.
    residual = (2 * c["num_hidden_layers"]) ** -0.5
    # Normed rows have size 1 an element, so logits get a standard deviation of about 2.
    plan = [("model.embed_tokens.weight", (vocab, h), 0.0, 2.0 * h**-0.5)]
    for i in range(c["num_hidden_layers"]):
        p = f"model.layers.{i}."
        plan += [
            (p + "input_layernorm.weight", (h,), 1.0, 0.1),
            (p + "mlp.down_proj.weight", (h, inter), 0.0, 2.0 * residual * inter**-0.5),
            (p + "mlp.gate_proj.weight", (inter, h), 0.0, h**-0.5),
            (p + "mlp.up_proj.weight", (inter, h), 0.0, h**-0.5),
            (p + "post_attention_layernorm.weight", (h,), 1.0, 0.1),
        ]
        if c["model_type"] == "qwen3":
            plan += [(p + "self_attn.q_norm.weight", (d,), 1.0, 0.1), (p + "self_attn.k_norm.weight", (d,), 1.0, 0.1)]
        for name, rows, columns, scale in (("q", q, h, 1.0), ("k", kv, h, 1.0), ("v", kv, h, 1.0), ("o", h, q, residual)):
            plan.append((p + f"self_attn.{name}_proj.weight", (rows, columns), 0.0, scale * columns**-0.5))
            if c["model_type"] == "qwen2" and name != "o":
                plan.append((p + f"self_attn.{name}_proj.bias", (rows,), 0.0, 0.3))
    plan.append(("model.norm.weight", (h,), 1.0, 0.1))
    if not c["tie_word_embeddings"]:
        plan.append(("lm_head.weight", (vocab, h), 0.0, 2.0 * h**-0.5))
    return plan


def to_bf16(x):
    """float32 to the bits of bf16, rounded to nearest even; finite values only."""
    bits = x.view(np.uint32)
    return ((bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)).astype(np.uint16)


def write_weights(path, plan, seed):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _, _ in plan:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    piece = 1 << 22  # elements generated at a time: 16 MB of float32
    with open(path + ".part", "wb") as out:
        out.write(len(text).to_bytes(8, "little"))
        out.write(text)
        for name, shape, mean, deviation in plan:
            # The stream belongs to the tensor's name, so a tensor does not change when others come or go.
            random = np.random.Generator(np.random.SFC64([seed, zlib.crc32(name.encode())]))
            left = int(np.prod(shape))
            while left:
                x = random.standard_normal(min(left, piece), dtype=np.float32)
                x *= np.float32(deviation)
                x += np.float32(mean)
                out.write(to_bf16(x).tobytes())
                left -= len(x)
    os.replace(path + ".part", path)
    return offset


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="where to write config.json and model.safetensors")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="qwen2.5-0.5b")
    parser.add_argument("--layers", type=int, help="fewer layers than published, for quick tries")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    config = dict(SHAPES[args.shape])
    if args.layers is not None:
        config["num_hidden_layers"] = args.layers
    os.makedirs(args.folder, exist_ok=True)
    with open(os.path.join(args.folder, "config.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(config, indent=2) + "\n")
    size = write_weights(os.path.join(args.folder, "model.safetensors"), tensor_plan(config), args.seed)
    print(f"{args.folder}: {args.shape}, {size / 2e6:.1f}M parameters, {size / 1e6:.1f} MB of bf16")
    return 0


if __name__ == "__main__":
    sys.exit(main())
