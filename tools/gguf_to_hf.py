#!/usr/bin/env python3
"""Writes a Hugging Face folder from a GGUF file: config.json, model.safetensors, tokenizer.json, tokenizer_config.json.

For the llama and qwen2 architectures with a byte-level BPE vocabulary. Needs gguf, torch, safetensors.
Example:  tools/gguf_to_hf.py SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2-hf --dtype bf16
"""

import argparse
import json
import os
import sys

import gguf
import torch
from safetensors.torch import save_file

DTYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
NAMES = {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}
TENSORS = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def regex_split(pattern):
    """A pre-tokeniser that splits by a pattern first, as Qwen2 and Llama 3 publish it."""
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]}


CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# By tokenizer.ggml.pre.
PRE_TOKENIZERS = {
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
    "gpt-2": BYTE_LEVEL,
    "qwen2": regex_split(CONTRACTIONS + r"\p{N}" + REST),
    "llama-bpe": regex_split(CONTRACTIONS + r"\p{N}{1,3}" + REST),
}


def hf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in TOP:
        return f"{TOP[stem]}.{kind}"
    _, layer, op = stem.split(".")
    return f"model.layers.{layer}.{TENSORS[op]}.{kind}"


def unpermute(x, heads):
    """llama.cpp turns the rows of q and k of llama files so that rotated pairs are neighbours; this is its inverse."""
    d = x.shape[0] // heads
    return x.reshape(heads, d // 2, 2, *x.shape[1:]).transpose(1, 2).reshape(x.shape)


def read_config(get, arch, tied, dtype):
    heads = get(f"{arch}.attention.head_count")
    config = {
        "architectures": [{"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM"}[arch]],
        "bos_token_id": get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": get("tokenizer.ggml.eos_token_id"),
        "hidden_act": "silu",
        "hidden_size": get(f"{arch}.embedding_length"),
        "intermediate_size": get(f"{arch}.feed_forward_length"),
        "max_position_embeddings": get(f"{arch}.context_length"),
        "model_type": arch,
        "num_attention_heads": heads,
        "num_hidden_layers": get(f"{arch}.block_count"),
        "num_key_value_heads": get(f"{arch}.attention.head_count_kv", heads),
        # GGUF keeps a float32; the shortest decimal that gives the same float32 is what was meant.
        "rms_norm_eps": float(f"{get(f'{arch}.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_scaling": None,
        "rope_theta": get(f"{arch}.rope.freq_base", 10000.0),
        "tie_word_embeddings": tied,
        "torch_dtype": NAMES[dtype],
        "vocab_size": len(get("tokenizer.ggml.tokens")),
    }
    if arch == "llama":
        config |= {"attention_bias": False, "mlp_bias": False, "pad_token_id": get("tokenizer.ggml.padding_token_id")}
    if get(f"{arch}.rope.scaling.type", "none") not in ("none", None):
        raise SystemExit("a GGUF file with rope scaling is not handled by this script")
    return config


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2, ensure_ascii=False)
        f.write("\n")


def write_tokenizer(folder, get):
    tokens, kinds = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    special = [i for i, kind in enumerate(kinds) if kind == gguf.TokenType.CONTROL]
    added = special + [i for i, kind in enumerate(kinds) if kind == gguf.TokenType.USER_DEFINED]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    entries = [{"id": i, "content": tokens[i], **flags, "special": i in special} for i in sorted(added)]
    write_json(folder, "tokenizer.json", {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": entries,
        "normalizer": {"type": "NFC"} if get("tokenizer.ggml.pre") == "qwen2" else None,
        "pre_tokenizer": PRE_TOKENIZERS[get("tokenizer.ggml.pre")],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": get("tokenizer.ggml.pre") == "llama-bpe",
            "vocab": {token: i for i, token in enumerate(tokens)}, "merges": get("tokenizer.ggml.merges")},
    })
    config = {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(e["id"]): {k: v for k, v in e.items() if k != "id"} for e in entries},
        "additional_special_tokens": [tokens[i] for i in special[:3]],
        "chat_template": get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": get(f"{get('general.architecture')}.context_length"),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    for key, field in (("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")):
        if (i := get(f"tokenizer.ggml.{field}_token_id")) is not None:
            config[key] = tokens[i]
    write_json(folder, "tokenizer_config.json", {k: v for k, v in config.items() if v is not None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("folder")
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    args = parser.parse_args()

    reader = gguf.GGUFReader(args.source)
    values = {name: field.contents() for name, field in reader.fields.items()}
    get = values.get
    arch = get("general.architecture")
    if arch not in ("llama", "qwen2"):
        raise SystemExit(f"{args.source}: architecture {arch!r}, expected llama or qwen2")

    config = read_config(get, arch, "output.weight" not in {t.name for t in reader.tensors}, args.dtype)
    tensors = {}
    for t in reader.tensors:
        if t.name == "rope_freqs.weight":
            raise SystemExit(f"{args.source}: scaled rotary frequencies are not handled by this script")
        x = torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy()).float()
        if arch == "llama" and ".attn_q." in t.name:
            x = unpermute(x, config["num_attention_heads"])
        elif arch == "llama" and ".attn_k." in t.name:
            x = unpermute(x, config["num_key_value_heads"])
        tensors[hf_name(t.name)] = x.to(DTYPES[args.dtype]).contiguous()

    os.makedirs(args.folder, exist_ok=True)
    save_file(tensors, os.path.join(args.folder, "model.safetensors"), metadata={"format": "pt"})
    os.chmod(os.path.join(args.folder, "model.safetensors"), 0o644)
    write_json(args.folder, "config.json", config)
    write_json(args.folder, "generation_config.json", {
        k: config.get(k) for k in ("bos_token_id", "eos_token_id", "pad_token_id") if config.get(k) is not None})
    write_tokenizer(args.folder, get)
    print(f"{args.folder}: {len(tensors)} tensors of {arch} as {args.dtype}, {len(get('tokenizer.ggml.tokens'))} tokens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
