#!/usr/bin/env python3
"""Writes testdata/fusiontree and testdata/mamba: tiny random checkpoints of every option, with what they should compute.

Each case is a folder with config.json and model.safetensors, and the answers beside them, laid out as in testdata/parity:

  golden.safetensors       ids [T] i64, logits [T,V] f32, hidden_0 .. hidden_n [T,H] f32 of a 23-token prompt
                           (hidden_0 the embedding, hidden_k after layer k, hidden_n after the final norm)
  golden_more.safetensors  ids_0, logits_0 (a 1-token prompt), ids_1, logits_1 (a 37-token prompt, many windows long)
  golden.json              prompts and their greedy continuations of 8 tokens, the smallest lead of the first choice over the second,
                           the logits' standard deviation; a pruned case names the unpruned one (`unpruned`), whose run with the
                           branches of `layer_types` dropped and global heads zeroed gives the same numbers

Gradient cases add, for one packed row of three documents with some targets masked,

  gradients.json           ids, document_starts, target_mask (of the predicted token), losses each by itself, lambdas, total
  gradients.safetensors    d total / d tensor f32 for every tensor of the checkpoint, by its name
  distill.safetensors      (with `distill` in gradients.json) student_logits, teacher_logits, student_gradient [T,V] f32

testdata/fusiontree comes from tools/modeling_fusiontree.py in fp64, on the stored weights; testdata/mamba from the
MambaForCausalLM of Transformers in fp32. Needs torch, transformers, safetensors. Example:  tools/make_fusiontree_golden.py testdata
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

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from modeling_fusiontree import (DROP_ATTENTION, DROP_MAMBA, FusionTreeConfig, FusionTreeForCausalLM, distill_loss,  # noqa: E402
                                 target_mask, total_loss)

PROMPT_LENGTHS = (1, 23, 37)
GREEDY_TOKENS = 8
MIN_LEAD = 0.01  # in standard deviations of the logits: a hundred times what an fp32 implementation may be off
LAMBDAS = dict(balance=0.3, entropy=0.1, polarise=0.2)
DOCUMENT_LENGTHS = (5, 17, 9)
MASKED = (2, 11, 12, 20, 25)  # tokens that are not to be predicted
ALWAYS_F32 = ("A_log", "mamba.D", "dt_proj.bias")

BASE = dict(vocab_size=48, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            window_size=7, global_heads=2, gate_rank=3, ssm_state_size=4, time_step_rank=3, max_position_embeddings=60)


def case(write=None, **changes):
    write = write or {}
    # Gradients are those of the stored weights: fp32 there, bf16 elsewhere to stay small.
    default_type = torch.float32 if write.get("gradients") else torch.bfloat16
    return {key: value for key, value in (BASE | changes).items() if value is not None}, {"dtype": default_type} | write


def cases():
    """name -> (config.json, how the files are written)."""
    # The defaults, with every key that is accepted and ignored.
    yield "base", *case(
        dict(gradients=True, distill=True), time_step_rank=None, gate_rank=4,
        architectures=["FusionTreeForCausalLM"], torch_dtype="float32", transformers_version="4.57.0", use_cache=True,
        auto_map={"AutoConfig": "modeling_fusiontree.FusionTreeConfig",
                  "AutoModelForCausalLM": "modeling_fusiontree.FusionTreeForCausalLM"},
        bos_token_id=1, eos_token_id=2, pad_token_id=0)
    # Sizes that vectors and blocks divide.
    yield "base_bf16", *case(hidden_size=32, ssm_state_size=8, gate_rank=5, norm_eps=0.01)
    yield "serial", *case(branch_layout="serial")
    yield "serial_token_rms_post", *case(
        dict(gradients=True), branch_layout="serial", gate_granularity="token", norm_type="rmsnorm", residual_norm="post")
    yield "gate_token", *case(gate_granularity="token")
    yield "gate_none", *case(gate_granularity="none")
    yield "pyramidal", *case(attention_type="pyramidal", base_window=3, window_size=16, num_hidden_layers=3,
                             global_heads=0)
    # The middle window is 3.5 before rounding, and windows shrink with depth.
    yield "pyramidal_narrowing", *case(attention_type="pyramidal", base_window=5, window_size=2, num_hidden_layers=3)
    yield "srte_learnable", *case(srte_encoding="learnable")
    yield "srte_factorized", *case(srte_encoding="factorized", srte_rank=3)
    yield "srte_none", *case(srte_encoding="none")
    yield "srte_learnable_per_layer", *case(srte_encoding="learnable", srte_share_across_layers=False)
    yield "srte_factorized_per_layer_ssm_norm", *case(
        dict(gradients=True), srte_encoding="factorized", srte_rank=5, srte_share_across_layers=False, ssm_norm=True, norm_eps=0.003)
    yield "no_alignment", *case(use_alignment=False)
    yield "no_branch_norm", *case(branch_norm=False)
    yield "attn_conv_0", *case(attn_conv_kernel=0)
    yield "ssm_norm", *case(ssm_norm=True, norm_eps=0.01)
    yield "rmsnorm", *case(norm_type="rmsnorm", norm_eps=0.003, hidden_size=20, head_dim=2, expand=1, time_step_rank=None,
                           num_attention_heads=6, global_heads=3)
    yield "post", *case(residual_norm="post")
    yield "untied", *case(tie_word_embeddings=False, dropout=0.1, drop_branch_prob=0.2)
    yield "no_global_heads", *case(global_heads=0, num_key_value_heads=4)
    yield "all_global_heads", *case(global_heads=4, rope_theta=100.0)
    yield "window_past_prompt", *case(window_size=1000, global_heads=0)
    yield "window_1", *case(window_size=1, num_key_value_heads=4, global_heads=1)
    yield "one_kv_head", *case(num_key_value_heads=1, global_heads=0, head_dim=10)
    yield "convs_1_2", *case(conv_kernel=1, attn_conv_kernel=2)
    yield "convs_2_1", *case(conv_kernel=2, attn_conv_kernel=1, expand=1)
    yield "no_conv", *case(conv_kernel=0, attn_conv_kernel=7)
    # Sizes that nothing divides.
    yield "odd_sizes", *case(
        dict(dtype=torch.float16), vocab_size=67, hidden_size=19, srte_encoding="learnable", num_attention_heads=3,
        num_key_value_heads=3, head_dim=10, window_size=11, global_heads=1, gate_rank=1, ssm_state_size=5, time_step_rank=1, expand=3,
        conv_kernel=3, attn_conv_kernel=5)
    # Wider types for what is sensitive, as training frameworks write it; one layer.
    yield "mixed_types_one_layer", *case(dict(mixed=True), num_hidden_layers=1, attention_type="pyramidal", base_window=3)
    # Pruned folders and the models that they were; unpruned first.
    mix = dict(num_hidden_layers=4, expand=1)
    types = ["hybrid", "mamba", "attention", "local"]
    yield "layer_types_unpruned", *case(dict(unbalanced_as=types), **mix)
    yield "layer_types", *case(
        dict(gradients=True, unpruned="layer_types_unpruned", dtype=torch.bfloat16), **mix, layer_types=types)
    plain = dict(num_hidden_layers=3, expand=1, branch_layout="serial", use_alignment=False,
                 gate_granularity="none", srte_encoding="learnable", srte_share_across_layers=False, num_key_value_heads=4,
                 global_heads=1)
    yield "layer_types_serial_unpruned", *case(**plain)
    yield "layer_types_serial", *case(
        dict(unpruned="layer_types_serial_unpruned"), **plain, layer_types=["local", "mamba", "attention"])
    yield "all_mamba", *case(layer_types=["mamba", "mamba"])
    yield "all_attention", *case(layer_types=["attention", "attention"], branch_layout="serial")


def randomise(config, model, generator):
    """Weights that leave nothing at zero: biases spread, norms around 1, gates moving, Δ·A from much to little per token."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=generator)
            fan_in = p.shape[-1] if p.dim() == 2 else 1
            if "norm" in name:
                x = 0.3 * x + (name.endswith("weight"))
            elif name.endswith("A_log"):
                x = 0.3 * x + torch.log(torch.arange(1, config.ssm_state_size + 1))
            elif name.endswith("mamba.D"):
                x = 0.3 * x + 1
            elif name.endswith("dt_proj.bias"):
                delta = torch.exp(torch.log(torch.tensor(0.02)) + 3.9 * torch.rand(p.shape, generator=generator))  # 0.02 .. 1
                x = delta + torch.log(-torch.expm1(-delta))
            elif name.endswith("dt_proj.weight"):
                x = 0.7 * x * fan_in ** -0.5
            elif "conv" in name:
                x = (0.3 if name.endswith("bias") else p.shape[-1] ** -0.5) * x
            elif name.endswith("bias"):
                x = 0.3 * x
            elif "embed_tokens" in name or "lm_head" in name:
                x = 2.5 * x * fan_in ** -0.5
            elif name.endswith("srte.weight"):
                x = 0.7 * x
            elif "srte" in name:  # product of the two has deviation 0.7
                x = 0.84 * x * fan_in ** -0.25
            elif "gate.gd" in name:
                # A part that all channels share moves their mean away from one half.
                x = (2.0 * x + 2.0 * torch.randn((1, fan_in), generator=generator)) * fan_in ** -0.5
            elif "wf" in name or "m2" in name:
                x = 0.8 * x * fan_in ** -0.5
            else:
                x = 1.5 * x * fan_in ** -0.5
            p.copy_(x)


def prune(config, layer_types, tensors):
    """The tensors that `layer_types` leaves of those of an unpruned model."""
    hidden, d = config.hidden_size, config.head_dim
    heads = config.num_attention_heads - config.global_heads
    kv_heads = heads * config.num_key_value_heads // config.num_attention_heads
    out = {}
    for name, x in tensors.items():
        match = re.match(r"model\.layers\.(\d+)\.(.*)", name)
        kind, rest = (layer_types[int(match[1])], match[2]) if match else ("hybrid", "")
        if kind == "mamba":
            if rest.startswith(("attn.", "norm_a.", "norm_mid.", "gate.")):
                continue
            if rest in ("fuse.w1.weight", "fuse.wr.weight"):
                x = x[:, :hidden]
        elif kind == "attention":
            if rest.startswith(("mamba.", "norm_m.", "gate.", "srte.")):
                continue
            if rest.startswith("norm_in.") and config.branch_layout == "serial":
                continue
            if rest in ("fuse.w1.weight", "fuse.wr.weight"):
                x = x[:, hidden:]
        elif kind == "local":
            if rest == "attn.q_proj.weight":
                x = x[:heads * d]
            elif rest in ("attn.k_proj.weight", "attn.v_proj.weight"):
                x = x[:kv_heads * d]
            elif rest == "attn.o_proj.weight":
                x = x[:, :heads * d]
        out[name] = x.contiguous()
    return out


def zeroed(model, layer_types, length):
    """The `dropped` argument that stands for `layer_types`; global heads of `local` layers are zeroed in the model itself."""
    config = model.config
    dropped = torch.zeros(len(layer_types), 1, length, dtype=torch.long)
    for i, kind in enumerate(layer_types):
        dropped[i] = {"mamba": DROP_ATTENTION, "attention": DROP_MAMBA}.get(kind, 0)
        if kind == "local":
            with torch.no_grad():
                kept = (config.num_attention_heads - config.global_heads) * config.head_dim
                model.model.layers[i].attn.o_proj.weight[:, kept:] = 0
    return dropped


def stored_type(name, write):
    if name.endswith(ALWAYS_F32):
        return torch.float32
    if write.get("mixed"):
        return torch.float32 if "norm" in name or "bias" in name else torch.float16 if "attn" in name else torch.bfloat16
    return write.get("dtype", torch.float32)


def load_fp32(folder):
    """The stored weights, widened."""
    return FusionTreeForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def load(folder):
    return load_fp32(folder).double()


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


@torch.no_grad()
def fp32_error(model, narrow, prompt):
    """Of the same model in fp32, in deviations of logits and hidden states."""
    ids = torch.tensor([prompt])
    truth, own = (m(ids, use_cache=False, output_hidden_states=True) for m in (model, narrow))
    pairs = zip((truth.logits, *truth.hidden_states), (own.logits, *own.hidden_states))
    return max(float((a - b).abs().max() / a.std()) for a, b in pairs)


def draw_prompt(model, narrow, vocab, length, deviation, seed):
    """A random prompt whose continuation has a clear winner at each step and is no mere repetition.

    A run in fp32 (`narrow`, if any) is within 1e-5 on it, so an implementation has ten times that before it misses 1e-4."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(200):
        prompt = torch.randint(0, vocab, (length,), generator=generator).tolist()
        if narrow is not None and fp32_error(model, narrow, prompt) > 1e-5:
            continue
        continuation, lead = greedy(model, prompt)
        if lead >= MIN_LEAD * deviation and len(set(continuation)) >= (2 if length == 1 else 3):
            return prompt, continuation, lead / deviation
    raise RuntimeError(f"no prompt of {length} tokens with a clear continuation")


def compact(x):
    return x.float().contiguous().clone()


def write_json(path, value):
    """Lists of numbers stay on one line each."""
    text = re.sub(r"\[[\d\s,]*\]", lambda m: " ".join(m[0].split()), json.dumps(value, indent=1))
    assert json.loads(text) == value
    with open(path, "w", encoding="utf-8") as f:
        f.write(text + "\n")


def file_type(write):
    return "mixed" if write.get("mixed") else str(write.get("dtype", torch.float32)).removeprefix("torch.")


@torch.no_grad()
def write_answers(folder, name, model, narrow, write, seed, hidden_states):
    """golden*.safetensors and golden.json; hidden_states(out) orders them as the header of this file says."""
    vocab = model.config.vocab_size
    probe = torch.randint(0, vocab, (48,), generator=torch.Generator().manual_seed(seed))
    deviation = float(model(probe[None], use_cache=False).logits.std())
    assert 1.0 <= deviation <= 6.0, (name, deviation)
    golden = {
        "name": name,
        "file_dtype": file_type(write),
        "made_with": {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0]},
        "prompts": [],
    }
    if "unpruned" in write:
        golden |= {"unpruned": write["unpruned"], "layer_types": model.config.layer_types}
    main, more = {}, {}
    for index, length in enumerate(PROMPT_LENGTHS):
        prompt, continuation, lead = draw_prompt(model, narrow, vocab, length, deviation, 1000 * seed + index)
        assert greedy_cached(model, prompt) == continuation, f"{name}: runs with and without cache differ"
        ids = torch.tensor(prompt)
        out = model(ids[None], use_cache=False, output_hidden_states=True)
        logits = compact(out.logits[0])
        golden["prompts"].append({
            "ids": prompt, "greedy": continuation, "greedy_min_lead_std": round(lead, 5),
            "logits_std": round(float(logits.std()) if length > 1 else deviation, 5)})
        if index == 1:
            states = hidden_states(out)
            assert torch.allclose(model.lm_head(states[-1][0]).float(), logits, atol=1e-5), "the last is after the norm"
            main = {"ids": ids, "logits": logits} | {f"hidden_{k}": compact(h[0]) for k, h in enumerate(states)}
        else:
            more |= {f"ids_{len(more) // 2}": ids, f"logits_{len(more) // 2}": logits}
    save_file(main, os.path.join(folder, "golden.safetensors"))
    save_file(more, os.path.join(folder, "golden_more.safetensors"))
    write_json(os.path.join(folder, "golden.json"), golden)
    return golden, main, deviation


def packed_row(vocab, seed=7):
    """ids, labels [1, T] and the starts of three documents."""
    ids = torch.randint(0, vocab, (sum(DOCUMENT_LENGTHS),), generator=torch.Generator().manual_seed(seed))
    labels = ids.clone()
    labels[list(MASKED)] = -100
    starts = [sum(DOCUMENT_LENGTHS[:i]) for i in range(len(DOCUMENT_LENGTHS))]
    return ids[None], labels[None], starts


def has_gates(config):
    return config.gate_granularity != "none" and any(kind in ("hybrid", "local") for kind in config.layer_types)


def run_packed(model, row):
    ids, labels, starts = row
    model.zero_grad()
    out = model(ids, document_starts=starts, labels=labels)
    total = total_loss(out.losses, **LAMBDAS)
    total.backward()
    return out, total


def write_gradients(folder, model, write, seed):
    """Of a row whose gradients are within 3e-5 in fp32, so that an implementation has thirty times that before it misses 1e-3."""
    narrow = load_fp32(folder)
    for attempt in range(100):
        row = ids, labels, starts = packed_row(model.config.vocab_size, 7 + attempt)
        out, total = run_packed(model, row)
        run_packed(narrow, row)
        pairs = zip(model.parameters(), narrow.parameters())
        error = max(float((p.grad - q.grad).norm() / p.grad.norm()) for p, q in pairs)
        if error < 3e-5 and float(out.losses["balance"].detach()) > 0.002:
            break
    else:
        raise RuntimeError(f"{folder}: no packed row that fp32 is good enough for")
    documents = torch.tensor([[sum(t >= s for s in starts) for t in range(ids.shape[1])]])
    targets = target_mask(labels, documents, torch.ones_like(ids, dtype=torch.bool))
    facts = {
        "ids": ids[0].tolist(), "document_starts": starts, "target_mask": (labels[0] != -100).long().tolist(),
        "targets": int(targets.sum()), "lambdas": LAMBDAS,
        "losses": {key: float(value.detach()) for key, value in out.losses.items()}, "total": float(total.detach())}
    gradients = {name: compact(p.grad) for name, p in model.named_parameters()}
    for name, x in gradients.items():
        assert float(x.abs().max()) > 1e-5, f"{folder}: the gradient of {name} is nothing"
    save_file(gradients, os.path.join(folder, "gradients.safetensors"))
    if write.get("distill"):
        temperature = 2.0
        student = compact(out.logits[0].detach())
        teacher = compact(student + 1.5 * torch.randn(student.shape, generator=torch.Generator().manual_seed(seed)))
        leaf = student[None].double().requires_grad_()
        loss = distill_loss(leaf, teacher[None].double(), targets, temperature)
        loss.backward()
        facts["distill"] = {"temperature": temperature, "loss": float(loss.detach())}
        save_file({"student_logits": student, "teacher_logits": teacher, "student_gradient": compact(leaf.grad[0])},
                  os.path.join(folder, "distill.safetensors"))
    write_json(os.path.join(folder, "gradients.json"), facts)


def write_checkpoint(root, folder, keys, write, seed):
    """Draws weights until the gates are spread and, for gradients, some layer's are unbalanced."""
    config = FusionTreeConfig(**keys)
    generator = torch.Generator().manual_seed(seed)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps({"model_type": "fusiontree"} | keys, indent=2) + "\n")
    path = os.path.join(folder, "model.safetensors")
    unpruned = load(os.path.join(root, write["unpruned"])) if "unpruned" in write else None
    for _ in range(100):
        if unpruned is not None:
            tensors = prune(unpruned.config, config.layer_types, load_file(os.path.join(root, write["unpruned"], "model.safetensors")))
        else:
            model = FusionTreeForCausalLM(config)
            randomise(config, model, generator)
            tensors = {name: x.detach().to(stored_type(name, write)).contiguous() for name, x in model.state_dict().items()
                       if not (name == "lm_head.weight" and config.tie_word_embeddings)}
        save_file(tensors, path, metadata={"format": "pt"})
        model = load(folder)
        if unpruned is not None:
            return model
        if not has_gates(config):
            return model
        ids, labels, starts = packed_row(config.vocab_size)
        probe = model
        if "unbalanced_as" in write:  # what the case pruned from this one will be
            probe = FusionTreeForCausalLM(FusionTreeConfig(**keys, layer_types=write["unbalanced_as"])).double().eval()
            probe.load_state_dict(prune(config, write["unbalanced_as"], model.state_dict()))
        with torch.no_grad():
            out = probe(ids, document_starts=starts, labels=labels)
        spread = min(float(gate.std()) for gate in out.gates if gate is not None)
        balance = float(out.losses["balance"])
        if spread > 0.1 and (balance > 0.005 or not (write.get("gradients") or "unbalanced_as" in write)):
            return model
    raise RuntimeError(f"{folder}: no weights whose gates are spread and unbalanced")


def check_unpruned(root, write, model, main):
    """Branches dropped and heads zeroed in the unpruned model give the pruned one's numbers."""
    unpruned = load(os.path.join(root, write["unpruned"]))
    dropped = zeroed(unpruned, model.config.layer_types, len(main["ids"]))
    with torch.no_grad():
        difference = (unpruned(main["ids"][None], dropped=dropped).logits[0].float() - main["logits"]).abs().max()
    assert difference < 1e-5, float(difference)


def report(folder, name, deviation, golden):
    for file in os.listdir(folder):
        os.chmod(os.path.join(folder, file), 0o644)
    size = sum(os.path.getsize(os.path.join(folder, f)) for f in os.listdir(folder))
    weights = os.path.getsize(os.path.join(folder, "model.safetensors"))
    leads = [entry["greedy_min_lead_std"] for entry in golden["prompts"]]
    print(f"{name:36} weights {weights // 1000:4} KB, all {size // 1000:4} KB, logits std {deviation:.2f}, leads {leads}", flush=True)


def make_case(root, name, keys, write, seed):
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    model = write_checkpoint(root, folder, keys, write, seed)
    golden, main, deviation = write_answers(folder, name, model, load_fp32(folder), write, seed, lambda out: out.hidden_states)
    if "unpruned" in write:
        check_unpruned(root, write, model, main)
    if write.get("gradients"):
        write_gradients(folder, model, write, seed)
    report(folder, name, deviation, golden)


def mamba_cases():
    common = dict(vocab_size=64, hidden_size=24, num_hidden_layers=2, state_size=16, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    yield "defaults", common, dict()
    yield "biases", common | dict(use_bias=True, use_conv_bias=False, expand=1, state_size=5, conv_kernel=3, vocab_size=51,
                                  layer_norm_epsilon=0.003), dict(dtype=torch.bfloat16)
    yield "untied_rank", common | dict(tie_word_embeddings=False, time_step_rank=3, hidden_size=20, num_hidden_layers=3, expand=1,
                                       state_size=8, residual_in_fp32=False), dict(dtype=torch.float16)


def randomise_mamba(config, model, generator):
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                x = 0.3 * x + 1
            elif name.endswith("A_log"):
                x = 0.3 * x + torch.log(torch.arange(1, config.state_size + 1))
            elif name.endswith(".D"):
                x = 0.3 * x + 1
            elif name.endswith("dt_proj.bias"):
                delta = torch.exp(torch.log(torch.tensor(0.02)) + 3.9 * torch.rand(p.shape, generator=generator))
                x = delta + torch.log(-torch.expm1(-delta))
            elif "conv1d.weight" in name:
                x = x * p.shape[-1] ** -0.5
            elif name.endswith("bias"):
                x = 0.3 * x
            else:
                x = (2.5 if "embeddings" in name or "lm_head" in name else 1.5) * x * p.shape[-1] ** -0.5
            p.copy_(x)


def make_mamba_case(root, name, keys, write, seed):
    folder = os.path.join(root, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    config = transformers.MambaConfig(**keys)
    model = transformers.MambaForCausalLM(config)
    randomise_mamba(config, model, torch.Generator().manual_seed(seed))
    dtype = write.get("dtype", torch.float32)
    for p in model.parameters():
        p.data = p.data.to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    # Older versions of Transformers kept this wide and said so; ours reads what the file holds.
    model = transformers.MambaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def hidden_states(out):  # Transformers: after each layer, then after the final norm
        ids = torch.tensor(states_of["ids"])
        return (model.backbone.embeddings(ids[None]), *out.hidden_states[:config.num_hidden_layers - 1], out.hidden_states[-1])

    states_of = {}
    forward = model.forward

    def remembering(input_ids=None, **kwargs):
        states_of["ids"] = input_ids[0].tolist()
        return forward(input_ids=input_ids, **kwargs)

    model.forward = remembering
    golden, _, deviation = write_answers(folder, name, model, None, write, seed, hidden_states)
    report(folder, name, deviation, golden)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="testdata")
    parser.add_argument("--only", help="make the cases whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for seed, (name, keys, write) in enumerate(cases(), start=1):
        if not args.only or args.only in name:
            make_case(os.path.join(args.folder, "fusiontree"), name, keys, write, seed)
    for seed, (name, keys, write) in enumerate(mamba_cases(), start=101):
        if not args.only or args.only in "mamba_" + name:
            make_mamba_case(os.path.join(args.folder, "mamba"), name, keys, write, seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
