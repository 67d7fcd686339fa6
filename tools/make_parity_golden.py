#!/usr/bin/env python3
"""Writes testdata/parity: tiny random checkpoints of every supported family and option, with what Transformers makes of them.

Each case is a Hugging Face folder (config.json and safetensors as published models have them, in the current or an older
spelling) with the answers of Transformers in fp32 beside it:

  golden.safetensors       ids [T] i64, logits [T,V] f32, hidden_0 .. hidden_n [T,H] f32 of a 37-token prompt, in the format of
                           `fusiontree logits --hidden` (hidden_n is the one after the final norm)
  golden_more.safetensors  ids_0, logits_0 (a 1-token prompt), ids_1, logits_1 (a 150-token prompt, past two pages of 64)
  golden.json              prompts and their greedy continuations of 24 tokens, the smallest lead of the first choice over the second,
                           the logits' standard deviation, and for bf16 files the error of Transformers' own bf16 run

The folder is read back from disk by Transformers before it answers, so hand-edited configs are proven readable. Needs
torch, transformers, safetensors. Example:  tools/make_parity_golden.py testdata/parity
"""

import argparse
import json
import os
import re
import shutil
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

PROMPT_LENGTHS = (1, 37, 150)
GREEDY_TOKENS = 24
# A continuation is kept only if its first choice leads the second by this much (in standard deviations of the logits)
# at every step: a hundred times the 1e-4 allowed to an fp32 implementation.
MIN_LEAD = 0.01

ROPE_1E6 = {"rope_type": "default", "rope_theta": 1000000.0}
COMMON = dict(bos_token_id=1, eos_token_id=2, max_position_embeddings=512)


def cases():
    """name -> (config, how the files are written). Some eps are large, or a wrong one would not be seen."""
    yield "qwen2_tied", Qwen2Config(
        hidden_size=112, num_attention_heads=14, num_key_value_heads=2, intermediate_size=100, vocab_size=111,
        num_hidden_layers=2, tie_word_embeddings=True, rope_parameters=ROPE_1E6, **COMMON), dict(old=True)
    yield "qwen2_untied", Qwen2Config(
        hidden_size=72, num_attention_heads=6, num_key_value_heads=2, intermediate_size=100, vocab_size=130,
        num_hidden_layers=2, tie_word_embeddings=False, rope_parameters=ROPE_1E6, **COMMON), dict()
    # Layers 2 and 3 slide; an older config says so by max_window_layers alone.
    yield "qwen2_sliding", Qwen2Config(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=1, intermediate_size=70, vocab_size=128,
        num_hidden_layers=4, use_sliding_window=True, sliding_window=20, max_window_layers=2, **COMMON), dict(old=True)
    # Alternating layers, which only layer_types can say; the window is exactly one page.
    yield "qwen2_layer_types", Qwen2Config(
        hidden_size=48, num_attention_heads=6, num_key_value_heads=2, intermediate_size=50, vocab_size=101,
        num_hidden_layers=3, use_sliding_window=True, sliding_window=64, max_window_layers=0,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"], **COMMON), dict(dtype=torch.float32)
    yield "qwen2_mixed", Qwen2Config(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=90, vocab_size=120,
        num_hidden_layers=2, tie_word_embeddings=False, rms_norm_eps=0.003, **COMMON), dict(mixed=True)
    yield "qwen3", Qwen3Config(
        hidden_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=100, vocab_size=150,
        num_hidden_layers=2, tie_word_embeddings=True, rope_parameters=ROPE_1E6, **COMMON), dict()
    yield "qwen3_bias", Qwen3Config(
        hidden_size=60, num_attention_heads=6, num_key_value_heads=2, head_dim=16, intermediate_size=88, vocab_size=113,
        num_hidden_layers=3, attention_bias=True, tie_word_embeddings=False, rms_norm_eps=0.01, **COMMON), dict(old=True)
    yield "qwen3_sliding", Qwen3Config(
        hidden_size=48, num_attention_heads=3, num_key_value_heads=1, head_dim=24, intermediate_size=72, vocab_size=100,
        num_hidden_layers=3, use_sliding_window=True, sliding_window=33, max_window_layers=1, **COMMON), dict()
    yield "llama_gqa_sharded", LlamaConfig(
        hidden_size=96, num_attention_heads=6, num_key_value_heads=2, intermediate_size=100, vocab_size=102,
        num_hidden_layers=2, rms_norm_eps=1e-5, **COMMON), dict(shard="100KB")
    # With 64 original positions and heads of 16, the frequencies fall into all three ranges of the scaling.
    yield "llama3_rope", LlamaConfig(
        hidden_size=96, num_attention_heads=6, num_key_value_heads=2, intermediate_size=116, vocab_size=128,
        num_hidden_layers=2, tie_word_embeddings=True, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64}, **COMMON), dict(old=True)
    yield "llama3_rope_new", LlamaConfig(
        hidden_size=48, num_attention_heads=2, num_key_value_heads=1, intermediate_size=64, vocab_size=99,
        num_hidden_layers=2, rope_parameters={
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 128}, **COMMON), dict(dtype=torch.float32)
    yield "llama_linear_rope", LlamaConfig(
        hidden_size=48, num_attention_heads=3, num_key_value_heads=1, intermediate_size=60, vocab_size=97,
        num_hidden_layers=2, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5},
        **COMMON), dict(old=True, dtype=torch.float32, rope_type_key="type")
    yield "llama_bias", LlamaConfig(
        hidden_size=72, num_attention_heads=6, num_key_value_heads=3, intermediate_size=84, vocab_size=110,
        num_hidden_layers=2, attention_bias=True, mlp_bias=True, **COMMON), dict()
    yield "llama_head_dim", LlamaConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=1, head_dim=24, intermediate_size=100, vocab_size=125,
        num_hidden_layers=2, **COMMON), dict(dtype=torch.float16)
    # As Llama 1 and 2 were published: no num_key_value_heads, and the rotary frequencies among the tensors.
    yield "llama2_mha", LlamaConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=4, intermediate_size=86, vocab_size=100,
        num_hidden_layers=2, rms_norm_eps=1e-5, **COMMON), dict(
            old=True, dtype=torch.float16, drop=["num_key_value_heads", "head_dim", "attention_bias", "mlp_bias"], leftovers=True)
    yield "mistral_sliding", MistralConfig(
        hidden_size=80, num_attention_heads=5, num_key_value_heads=1, intermediate_size=120, vocab_size=105,
        num_hidden_layers=2, sliding_window=32, rms_norm_eps=1e-5, **COMMON), dict()
    yield "mistral_full", MistralConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32, intermediate_size=90, vocab_size=103,
        num_hidden_layers=2, sliding_window=None, rms_norm_eps=0.01, rope_parameters=ROPE_1E6, **COMMON), dict(old=True)
    # Tied, and yet with an lm_head.weight that equals the embedding bit for bit.
    yield "smollm2_like", LlamaConfig(
        hidden_size=72, num_attention_heads=9, num_key_value_heads=3, intermediate_size=96, vocab_size=117,
        num_hidden_layers=3, tie_word_embeddings=True, rms_norm_eps=1e-5, pad_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, **COMMON), dict(
            old=True, extra={"is_llama_config": True, "rope_interleaved": False}, tied_head=True)


def randomise(model, seed):
    """Weights with spread everywhere: norms N(1, 0.3), biases N(0, 0.5), scores and logits of standard deviation 2 to 3."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                x = 1.0 + 0.3 * x
            elif name.endswith("bias"):
                x = 0.5 * x
            elif "embed_tokens" in name or "lm_head" in name:
                x = x * 2.5 * p.shape[1] ** -0.5
            elif "q_proj" in name or "k_proj" in name:
                x = x * 1.4 * p.shape[1] ** -0.5
            else:
                x = x * 1.5 * p.shape[1] ** -0.5
            p.copy_(x)


def old_spelling(config, write):
    """The config as a version 4 of Transformers wrote it."""
    rope = dict(config.pop("rope_parameters"))
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {write.get("rope_type_key", "rope_type"): kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.43.1"
    config.pop("layer_types", None)
    for key in write.get("drop", ()):
        config.pop(key, None)
    config.update(write.get("extra", {}))
    return dict(sorted(config.items()))


def mixed_dtype(name):
    """Norms and embedding f32, attention bf16, the rest f16."""
    if "norm" in name or "embed_tokens" in name:
        return torch.float32
    return torch.bfloat16 if "self_attn" in name else torch.float16


def write_checkpoint(folder, config, write, seed):
    dtype = write.get("dtype", torch.bfloat16)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    randomise(model, seed)
    model = model.to(dtype) if not write.get("mixed") else model
    model.config.dtype = dtype
    model.save_pretrained(folder, max_shard_size=write.get("shard", "50GB"))
    os.remove(os.path.join(folder, "generation_config.json"))

    weights = os.path.join(folder, "model.safetensors")
    if write.get("mixed") or write.get("leftovers") or write.get("tied_head"):
        tensors = load_file(weights)
        if write.get("mixed"):
            tensors = {name: x.to(mixed_dtype(name)) for name, x in tensors.items()}
        if write.get("leftovers"):
            d = config.hidden_size // config.num_attention_heads
            inv_freq = 1.0 / (10000.0 ** (torch.arange(0, d, 2).float() / d))
            for i in range(config.num_hidden_layers):
                tensors[f"model.layers.{i}.self_attn.rotary_emb.inv_freq"] = inv_freq.clone()
        if write.get("tied_head"):
            tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
        save_file(tensors, weights, metadata={"format": "pt"})
    if write.get("old"):
        path = os.path.join(folder, "config.json")
        with open(path, encoding="utf-8") as f:
            edited = old_spelling(json.load(f), write)
        with open(path, "w", encoding="utf-8") as f:
            f.write(json.dumps(edited, indent=2) + "\n")


def load(folder, dtype):
    # Mixed files: every tensor is widened to `dtype`, whatever the file holds.
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


@torch.no_grad()
def greedy(model, prompt):
    """Ids chosen and the smallest lead in logits; the whole sequence anew for each token, so no cache is trusted."""
    ids, lead = list(prompt), float("inf")
    for _ in range(GREEDY_TOKENS):
        last = model(torch.tensor([ids]), use_cache=False).logits[0, -1]
        top = torch.topk(last, 2)
        lead = min(lead, float(top.values[0] - top.values[1]))
        ids.append(int(top.indices[0]))
    return ids[len(prompt):], lead


@torch.no_grad()
def greedy_cached(model, prompt):
    out = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
        min_new_tokens=GREEDY_TOKENS, max_new_tokens=GREEDY_TOKENS, eos_token_id=None, pad_token_id=0)
    return out[0, len(prompt):].tolist()


def draw_prompt(model, vocab, length, deviation, seed):
    """A random prompt whose continuation has a clear winner at each step and is no mere repetition."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(400):
        prompt = torch.randint(0, vocab, (length,), generator=generator).tolist()
        continuation, lead = greedy(model, prompt)
        if lead >= MIN_LEAD * deviation and len(set(continuation)) >= 5:
            return prompt, continuation, lead / deviation
    raise RuntimeError(f"no prompt of {length} tokens with a clear continuation")


@torch.no_grad()
def make_case(root, name, config, write, seed):
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    write_checkpoint(folder, config, write, seed)

    model = load(folder, torch.float32)
    own_run = None
    if write.get("dtype", torch.bfloat16) == torch.bfloat16 and not write.get("mixed"):
        own_run = load(folder, torch.bfloat16)

    probe = torch.randint(0, config.vocab_size, (64,), generator=torch.Generator().manual_seed(seed))
    deviation = float(model(probe[None], use_cache=False).logits.std())
    assert 1.0 <= deviation <= 6.0, (name, deviation)

    golden = {
        "name": name,
        "file_dtype": "mixed" if write.get("mixed") else str(write.get("dtype", torch.bfloat16)).removeprefix("torch."),
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]},
        "prompts": [],
    }
    main, more = {}, {}
    for index, length in enumerate(PROMPT_LENGTHS):
        prompt, continuation, lead = draw_prompt(model, config.vocab_size, length, deviation, 1000 * seed + index)
        assert greedy_cached(model, prompt) == continuation, f"{name}: Transformers with and without cache differ"
        ids = torch.tensor(prompt)
        out = model(ids[None], use_cache=False, output_hidden_states=True)
        logits = out.logits[0].contiguous()
        entry = {
            "ids": prompt,
            "greedy": continuation,
            "greedy_min_lead_std": round(lead, 5),
            "logits_std": round(float(logits.std()), 5),
        }
        if own_run is not None:
            error = own_run(ids[None], use_cache=False).logits[0].float() - logits
            entry["transformers_bf16_error"] = {
                "max_abs": round(float(error.abs().max()), 6), "rms": round(float(error.pow(2).mean().sqrt()), 6)}
        golden["prompts"].append(entry)
        if length == 37:
            main = {"ids": ids, "logits": logits}
            assert len(out.hidden_states) == config.num_hidden_layers + 1
            assert torch.allclose(model.lm_head(out.hidden_states[-1][0]), logits, atol=1e-5), "the last is after the norm"
            main |= {f"hidden_{k}": h[0].contiguous().clone() for k, h in enumerate(out.hidden_states)}
        else:
            more |= {f"ids_{len(more) // 2}": ids, f"logits_{len(more) // 2}": logits}
    save_file(main, os.path.join(folder, "golden.safetensors"))
    save_file(more, os.path.join(folder, "golden_more.safetensors"))
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as f:
        # Lists of ids stay on one line each.
        text = re.sub(r"\[[\d\s,]*\]", lambda m: " ".join(m[0].split()), json.dumps(golden, indent=1))
        assert json.loads(text) == golden
        f.write(text + "\n")
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    weights = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder) if f.startswith("model"))
    leads = [entry["greedy_min_lead_std"] for entry in golden["prompts"]]
    bf16 = [entry.get("transformers_bf16_error", {}).get("rms") for entry in golden["prompts"]]
    print(f"{name:20} weights {weights // 1000:4} KB, all {size // 1000:4} KB, logits std {deviation:.2f}, leads {leads}, bf16 rms {bf16}",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="testdata/parity")
    parser.add_argument("--only", help="make the cases whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for seed, (name, config, write) in enumerate(cases(), start=1):
        if not args.only or args.only in name:
            make_case(args.folder, name, config, write, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
