#!/usr/bin/env python3
"""Checks tools/modeling_fusiontree.py against itself and against Transformers' MambaMixer (development only, about a minute).

For every case of testdata/fusiontree: golden values and gradients (by finite differences) are those of the files; token by token
and chunk by chunk with a cache equals the full forward; packed documents equal separate ones; a left-padded batch equals single
rows; exactly the keys that windows and documents allow move each query, key by key and head by head; no token moves an earlier
one; every tensor and every option moves the numbers, so that a golden value catches its absence; pruned equals zeroed. Then
`trust_remote_code`, dropped branches, dropout, state passing, initialisation, refused configs and tensors.
Example:  tools/check_fusiontree.py testdata/fusiontree
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time

import torch
import transformers
from safetensors.torch import load_file, save_file

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import modeling_fusiontree as ft  # noqa: E402
from make_fusiontree_golden import prune, zeroed  # noqa: E402

LENGTH = 33
TOLERANCE = 1e-9  # fp64; except where the definition itself has fp32 numbers, nothing differs by more
failures = []


def expect(ok, what):
    if not ok:
        failures.append(what)
        print("FAILED:", what, flush=True)


def distance(a, b):
    return float((a - b).detach().abs().max())


def load(folder, **kwargs):
    return ft.FusionTreeForCausalLM.from_pretrained(folder, dtype=torch.float32, **kwargs).double().eval()


def draw(vocab, length, seed=0):
    return torch.randint(0, vocab, (1, length), generator=torch.Generator().manual_seed(seed))


def chunked(model, ids, sizes, document_starts=()):
    """Logits of one row in chunks with a cache."""
    cache, out, at = ft.FusionTreeCache(model.config.num_hidden_layers), [], 0
    for size in sizes:
        starts = [t - at for t in document_starts if at <= t < at + size]
        step = model(ids[:, at:at + size], past_key_values=cache, document_starts=starts or None)
        out.append(step.logits)
        at += size
    return torch.cat(out, dim=1)


def check_files(name, folder):
    """An fp32 run gives the golden values, every tensor matters to them, and the gradients are those of finite differences."""
    model = ft.FusionTreeForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    golden = load_file(os.path.join(folder, "golden.safetensors"))
    more = load_file(os.path.join(folder, "golden_more.safetensors"))
    out = model(golden["ids"][None], output_hidden_states=True)
    pairs = {"logits": out.logits} | {f"hidden_{k}": h for k, h in enumerate(out.hidden_states)}
    expect(set(pairs) | {"ids"} == set(golden), f"{name}: golden.safetensors holds {sorted(golden)}")
    worst = max(distance(value[0], golden[key]) / float(golden[key].std()) for key, value in pairs.items())
    for i in "01":
        truth = more["logits_" + i]
        worst = max(worst, distance(model(more["ids_" + i][None]).logits[0], truth) / float(truth.std()))
    expect(worst < 2e-5, f"{name}: an fp32 run is {worst} deviations off the golden values")

    model = model.double()
    with torch.enable_grad():
        logits = model(golden["ids"][None]).logits
        (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)).sum().backward()
    for tensor, p in model.named_parameters():
        expect(float((p.grad * p.detach()).abs().max()) > 1e-3, f"{name}: {tensor} does not matter")

    facts_path = os.path.join(folder, "gradients.json")
    if os.path.exists(facts_path):
        with open(facts_path, encoding="utf-8") as f:
            facts = json.load(f)
        ids = torch.tensor([facts["ids"]])
        labels = ids.masked_fill(torch.tensor([facts["target_mask"]]) == 0, -100)

        def losses():
            return model(ids, document_starts=facts["document_starts"], labels=labels).losses

        def total():
            return float(ft.total_loss(losses(), **facts["lambdas"]))

        for term, value in losses().items():
            expect(abs(float(value) - facts["losses"][term]) < 1e-9, f"{name}: loss {term}: {float(value)}, {facts['losses'][term]}")
            expect(float(value) != 0, f"{name}: loss {term} is 0")
        expect(abs(total() - facts["total"]) < 1e-9, f"{name}: total")
        gradients = load_file(os.path.join(folder, "gradients.safetensors"))
        expect(set(gradients) == set(dict(model.named_parameters())), f"{name}: tensors of gradients.safetensors")
        generator = torch.Generator().manual_seed(6)
        for tensor, p in model.named_parameters():
            direction, step = torch.randn(p.shape, generator=generator, dtype=torch.float64), 1e-7
            before = p.clone()
            p.copy_(before + step * direction)
            ahead = total()
            p.copy_(before - step * direction)
            slope = (ahead - total()) / (2 * step)
            p.copy_(before)
            expected = float((gradients[tensor].double() * direction).sum())
            scale = float(gradients[tensor].double().norm())
            expect(abs(slope - expected) < 1e-5 * scale + 1e-7, f"{name}: d total / d {tensor}: {expected}, by differences {slope}")


def check_state(name, model, ids):
    full = model(ids).logits
    for sizes in ([1] * LENGTH, [5, 1, 1, 16, 2, 8], [LENGTH - 1, 1]):
        error = distance(chunked(model, ids, sizes), full)
        expect(error < TOLERANCE, f"{name}: chunks of {sizes[:3]}.. differ from the full forward by {error}")
    continuation = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=4, eos_token_id=None,
                                  pad_token_id=0)[0, LENGTH:].tolist()
    plain = ids
    for _ in range(4):
        plain = torch.cat((plain, model(plain).logits[:, -1].argmax(-1, keepdim=True)), dim=1)
    expect(continuation == plain[0, LENGTH:].tolist(), f"{name}: generate with a cache")


def check_packed(name, model, ids):
    starts, ends = [0, 5, 22], [5, 22, LENGTH]
    separate = torch.cat([model(ids[:, a:b]).logits for a, b in zip(starts, ends)], dim=1)
    expect(distance(model(ids, document_starts=starts).logits, separate) < TOLERANCE, f"{name}: packed and separate differ")
    error = distance(chunked(model, ids, [3, 7, 1, 11, 11], starts), separate)
    expect(error < TOLERANCE, f"{name}: packed in chunks and separate differ by {error}")
    if model.config.num_hidden_layers > 1 or model.config.layer_types[0] != "mamba":
        expect(distance(model(ids).logits[:, 5:], separate[:, 5:]) > 1e-3, f"{name}: documents do not matter")

    # Losses of the packed row against sums over documents.
    labels = ids.clone()
    labels[0, [3, 9, 30]] = -100
    out = model(ids, document_starts=starts, labels=labels)
    total, count = 0.0, 0
    for a, b in zip(starts, ends):
        logits = model(ids[:, a:b]).logits[0]
        for t in range(a, b - 1):
            if labels[0, t + 1] != -100:
                total -= float(torch.log_softmax(logits[t - a], -1)[ids[0, t + 1]])
                count += 1
    expect(count == LENGTH - 3 - 3, f"{name}: {count} targets")
    expect(abs(float(out.losses["lm"]) - total / count) < 1e-9, f"{name}: lm loss")


def check_padding(name, model, ids):
    batch = torch.cat((ids, torch.cat((torch.zeros(1, 9, dtype=torch.long), ids[:, :-9]), dim=1)))
    mask = torch.ones_like(batch)
    mask[1, :9] = 0
    expect(distance(model(batch, attention_mask=mask).logits[1, 9:], model(ids[:, :-9]).logits[0]) < TOLERANCE, f"{name}: left padding")
    together = model.generate(batch, attention_mask=mask, do_sample=False, max_new_tokens=3, eos_token_id=None, pad_token_id=0)
    alone = model.generate(ids[:, :-9], attention_mask=torch.ones_like(ids[:, :-9]), do_sample=False, max_new_tokens=3,
                           eos_token_id=None, pad_token_id=0)
    expect(together[1, LENGTH:].tolist() == alone[0, LENGTH - 9:].tolist(), f"{name}: generate with left padding")


def check_causality(name, model, ids):
    full = model(ids).logits
    for t in (1, 7, LENGTH - 1):
        changed = ids.clone()
        changed[0, t] = (changed[0, t] + 1) % model.config.vocab_size
        difference = (model(changed).logits - full).abs().amax(-1)[0]
        expect(float(difference[:t].max()) == 0, f"{name}: token {t} moves an earlier one")
        expect(float(difference[t]) > 0, f"{name}: token {t} does not move its own logits")


def check_windows(name, model):
    """Which query sees which key: the attention module alone, conv left out, key by key and head by head."""
    config, length = model.config, 24
    generator = torch.Generator().manual_seed(7)
    document = torch.tensor([[0] * 10 + [1] * 14])
    positions = torch.tensor([list(range(10)) + list(range(14))])
    for index, layer in enumerate(model.model.layers):
        if not layer.has_attention:
            continue
        attention = layer.attn
        kernel, attention.kernel = attention.kernel, 0
        u = torch.randn(1, length, config.hidden_size, generator=generator, dtype=torch.float64)
        o_proj, attention.o_proj = attention.o_proj, torch.nn.Identity()  # heads side by side
        base = attention(u, positions, document, {})
        for key in range(length):
            moved = u.clone()
            moved[0, key] += 0.1 * torch.randn(config.hidden_size, generator=generator, dtype=torch.float64)
            out = attention(moved, positions, document, {})
            hit = ((out - base)[0].view(length, attention.heads, -1).abs().amax(-1) > 0)  # [query, head]
            local_heads = config.num_attention_heads - config.global_heads
            for head in range(attention.heads):
                for query in range(length):
                    reach = config.window(index) if head < local_heads else length
                    seen = key <= query and document[0, key] == document[0, query] and query - key < reach
                    if bool(hit[query, head]) != bool(seen):
                        expect(False, f"{name}: layer {index} head {head} query {query} key {key}: expected {bool(seen)}")
        attention.kernel, attention.o_proj = kernel, o_proj


# Near misses of each case's config that load the same tensors: each must move the logits, or the golden values could not tell.
MISSES = [
    dict(norm_eps=0.1), dict(rope_theta=50.0), dict(window_size=4), dict(attention_type="pyramidal", base_window=2),
    dict(global_heads=0), dict(gate_granularity="none"), dict(srte_encoding="none"), dict(branch_norm=False), dict(attn_conv_kernel=0),
    dict(use_alignment=False), dict(residual_norm="none"), dict(ssm_norm=False), dict(conv_kernel=0),
]


def check_options(name, folder, ids, keys):
    tensors = load_file(os.path.join(folder, "model.safetensors"))
    plain = load(folder)(ids).logits
    for miss in MISSES:
        if all(keys.get(key, ft.DEFAULTS.get(key)) == value for key, value in miss.items()):
            continue
        with contextlib.suppress(ValueError):  # not every change is a valid config
            other = ft.FusionTreeForCausalLM(ft.FusionTreeConfig(**(keys | miss)))
            names = other.state_dict()
            if any(key not in tensors or tensors[key].shape != value.shape for key, value in names.items() if key != "lm_head.weight"):
                continue
            other.load_state_dict(tensors, strict=False)
            other = other.double().eval()
            types = set(keys.get("layer_types", ["hybrid"]))
            attention, mamba, gated = types != {"mamba"}, types != {"attention"}, bool(types & {"hybrid", "local"})
            first = next(iter(miss))
            needs = {"rope_theta": attention, "window_size": attention and keys["global_heads"] < keys["num_attention_heads"],
                     "attention_type": attention and keys["global_heads"] < keys["num_attention_heads"], "gate_granularity": gated,
                     "global_heads": bool(types & {"hybrid", "attention"}), "srte_encoding": mamba, "conv_kernel": mamba,
                     "attn_conv_kernel": attention, "ssm_norm": mamba}
            if first == "attention_type" and keys["num_hidden_layers"] == 1:  # its only window is window_size
                continue
            if first == "rope_theta" and keys.get("head_dim") == 2:  # its only angle is the position
                continue
            if not needs.get(first, True) or (first == "window_size" and keys.get("attention_type") == "pyramidal"):
                continue
            error = distance(other(ids).logits, plain) / float(plain.std())
            expect(error > 0.01, f"{name}: {miss} moves the logits by {error} deviations only")


def check_remote_code(folder, ids):
    with tempfile.TemporaryDirectory() as temporary:
        for file in ("config.json", "model.safetensors"):
            shutil.copy(os.path.join(folder, file), temporary)
        shutil.copy(os.path.join(HERE, "modeling_fusiontree.py"), temporary)
        model = transformers.AutoModelForCausalLM.from_pretrained(temporary, trust_remote_code=True).eval()
        direct = ft.FusionTreeForCausalLM.from_pretrained(folder).eval()
        expect(distance(model(ids).logits, direct(ids).logits) == 0, "trust_remote_code gives other logits")
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=3)
        expect(out.shape[1] <= LENGTH + 3 and torch.equal(out[:, :LENGTH], ids), "trust_remote_code: generate")
        half = transformers.AutoModelForCausalLM.from_pretrained(temporary, trust_remote_code=True, dtype=torch.bfloat16).eval()
        kept = {name for name, p in half.named_parameters() if p.dtype == torch.float32}
        expect(kept == {n for n, _ in half.named_parameters() if n.endswith(("A_log", "mamba.D", "dt_proj.bias"))}, f"bf16 keeps {kept}")
        error = distance(half(ids).logits.float(), model(ids).logits) / float(model(ids).logits.std())
        expect(1e-4 < error < 0.5, f"bf16 run is off by {error} deviations")
        # What Transformers saves can be read again.
        saved = os.path.join(temporary, "saved")
        direct.save_pretrained(saved)
        expect(distance(load(saved)(ids).logits, load(folder)(ids).logits) == 0, "save_pretrained and back")
        # Tensors missing and left over.
        tensors = load_file(os.path.join(temporary, "model.safetensors"))
        for edited, word in (({k: v for k, v in tensors.items() if k != "model.norm.bias"}, "missing"),
                             (tensors | {"model.layers.0.extra": torch.zeros(2)}, "unexpected")):
            save_file(edited, os.path.join(temporary, "model.safetensors"), metadata={"format": "pt"})
            try:
                load(temporary)
                expect(False, f"{word} tensor accepted")
            except ValueError as error:
                expect(word in str(error), f"{word} tensor: {error}")


def check_mamba_mixer():
    """Our mixer is Transformers' MambaMixer."""
    from transformers.models.mamba.modeling_mamba import MambaMixer
    theirs = MambaMixer(transformers.MambaConfig(hidden_size=24, state_size=7, time_step_rank=3, num_hidden_layers=1), 0).eval()
    keys = dict(vocab_size=9, hidden_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, window_size=3,
                global_heads=0, gate_rank=1, ssm_state_size=7, time_step_rank=3)
    ours = ft.MambaMixer(ft.FusionTreeConfig(**keys))
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
    ours.load_state_dict(theirs.state_dict())
    u = torch.randn(2, 40, 24, generator=torch.Generator().manual_seed(1))
    positions = torch.arange(40).expand(2, 40)
    truth = theirs(u)
    error = distance(ours(u, positions, positions == 0, None, None)[0], truth) / float(truth.std())
    expect(error < 1e-5, f"the mixer differs from that of Transformers by {error}")


def check_pruned(root, name, ids):
    """A pruned folder is what is left of the unpruned one, and computes what that does with its branches dropped, with a cache too."""
    with open(os.path.join(root, name, "golden.json"), encoding="utf-8") as f:
        golden = json.load(f)
    if "unpruned" not in golden:
        return
    before, after = (os.path.join(root, folder) for folder in (golden["unpruned"], name))
    unpruned, pruned = load(before), load(after)
    left = prune(unpruned.config, golden["layer_types"], load_file(os.path.join(before, "model.safetensors")))
    stored = load_file(os.path.join(after, "model.safetensors"))
    expect(set(left) == set(stored) and all(torch.equal(left[key], stored[key]) for key in left), f"{name}: tensors")
    dropped = zeroed(unpruned, golden["layer_types"], LENGTH)
    whole = unpruned(ids, dropped=dropped).logits
    expect(distance(pruned(ids).logits, whole) < TOLERANCE, f"{name}: pruned and zeroed differ")
    expect(distance(chunked(pruned, ids, [4] * 8 + [1]), whole) < TOLERANCE, f"{name}: pruned in chunks and zeroed differ")
    expect(distance(unpruned(ids).logits, whole) > 0.1, f"{name}: pruning changes nothing")


def check_training(folder, ids):
    """Dropout and branch dropout: repeatable from a seed, with gradients, off in evaluation."""
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        keys = json.load(f)
    model = ft.FusionTreeForCausalLM(ft.FusionTreeConfig(**(keys | dict(dropout=0.2, drop_branch_prob=0.5))))
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model.zero_grad()
        out = model.train()(ids, document_starts=[0, 9, 20], labels=ids)
        ft.total_loss(out.losses, balance=0.3, entropy=0.1, polarise=0.2).backward()
        runs.append(float(out.loss.detach()))
        expect(all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters()), "gradients in training")
    expect(runs[0] == runs[1] != runs[2], f"dropout from a seed: {runs}")
    expect(distance(model.eval()(ids).logits, model(ids).logits) == 0, "dropout in evaluation")


def check_dropping(model, ids):
    """A dropped branch leaves no trace: changing its weights changes nothing; and it differs per document."""
    layers = model.config.num_hidden_layers
    dropped = torch.zeros(layers, 1, LENGTH, dtype=torch.long)
    dropped[:, :, 10:] = ft.DROP_MAMBA
    separate = torch.cat((model(ids[:, :10]).logits, model(ids[:, 10:], dropped=dropped[:, :, 10:]).logits), dim=1)
    out = model(ids, document_starts=[0, 10], dropped=dropped)
    expect(distance(out.logits, separate) < TOLERANCE, "dropping by document")
    first = model(ids[:, :10])
    for term, value in first.losses.items():
        expect(abs(float(value) - float(out.losses[term])) < TOLERANCE, f"{term} counts a dropped document")
    no_mamba = model(ids[:, 10:], dropped=dropped[:, :, 10:]).logits
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mamba.out_proj.weight.mul_(3)
            layer.norm_m.weight.mul_(2)
    expect(distance(model(ids[:, 10:], dropped=dropped[:, :, 10:]).logits, no_mamba) == 0, "a dropped branch is still seen")


def check_state_passing(folder, ids):
    """Without attention, a row that starts from the state of the row before goes on as one row would."""
    model = load(folder)
    cache = ft.FusionTreeCache(model.config.num_hidden_layers)
    first = model(ids[:, :20], past_key_values=cache).logits
    cache.next_row()
    second = model(ids[:, 20:], past_key_values=cache).logits
    expect(distance(torch.cat((first, second), dim=1), model(ids).logits) < TOLERANCE, "state passing")


def check_init():
    keys = dict(vocab_size=300, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, window_size=8,
                global_heads=2, gate_rank=4, srte_encoding="factorized", initializer_range=0.05)
    model = ft.FusionTreeForCausalLM(ft.FusionTreeConfig(**keys))
    p = {name: value.detach() for name, value in model.named_parameters()}
    for i in range(2):
        mixer = f"model.layers.{i}.mamba."
        expect(distance(p[mixer + "A_log"].exp(), torch.arange(1, 17.0).expand(128, 16)) < 1e-4, "A_log at initialisation")
        delta = torch.nn.functional.softplus(p[mixer + "dt_proj.bias"])
        expect(0.00099 < float(delta.min()) < 0.002 and 0.05 < float(delta.max()) < 0.101, "Δ at initialisation")
        expect(bool((p[mixer + "D"] == 1).all()), "D at initialisation")
        expect(0.4 < float(p[mixer + "dt_proj.weight"].abs().max()) <= 0.5, "dt_proj.weight at initialisation")
        expect(0.4 < float(p[mixer + "conv1d.bias"].abs().max()) <= 0.5, "conv1d.bias at initialisation")
        expect(float(p[f"model.layers.{i}.fuse.w1.bias"].abs().max()) == 0, "biases at initialisation")
        expect(abs(float(p[f"model.layers.{i}.fuse.wf.weight"].std()) - 0.025) < 0.002, "fuse.wf at initialisation")
        expect(abs(float(p[f"model.layers.{i}.fuse.w1.weight"].std()) - 0.05) < 0.003, "fuse.w1 at initialisation")
    expect(abs(float(p["model.srte.factor"].std()) - 0.05) < 0.003, "srte at initialisation")


def check_refusals():
    good = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, window_size=8,
                global_heads=2, gate_rank=2)
    ft.FusionTreeConfig(**good)
    for bad, word in (
            (dict(hidden_dropout=0.1), "hidden_dropout"), (dict(global_heads=1), "global_heads"), (dict(global_heads=6), "global_heads"),
            (dict(num_key_value_heads=3), "num_key_value_heads"), (dict(window_size=0), "window_size"), (dict(gate_rank=0), "gate_rank"),
            (dict(ssm_state_size=0), "ssm_state_size"), (dict(time_step_rank="auto"), "time_step_rank"),
            (dict(time_step_rank=0), "time_step_rank"),
            (dict(hidden_size=15, head_dim=4), "hidden_size"), (dict(hidden_size=18), "num_attention_heads"), (dict(head_dim=5), "head_dim"),
            (dict(layer_types=["hybrid"]), "layer_types"), (dict(layer_types=["hybrid", "window"]), "layer_types"),
            (dict(layer_types=["local", "hybrid"], global_heads=4), "layer_types"), (dict(norm_type="batch"), "norm_type"),
            (dict(norm_eps=0), "norm_eps"), (dict(use_alignment=1), "use_alignment"), (dict(conv_kernel=-1), "conv_kernel"),
            (dict(expand=1.5), "expand"), (dict(eos_token_id=32), "eos_token_id"), (dict(window_size=None), "window_size"),
            (dict(dropout=1.0), "dropout"), (dict(window_size=True), "window_size"), (dict(model_type="mamba"), "model_type")):
        try:
            ft.FusionTreeConfig(**(good | bad))
            expect(False, f"{bad} accepted")
        except ValueError as error:
            expect(word in str(error), f"{bad}: {error}")
    windows = ft.FusionTreeConfig(**(good | dict(num_hidden_layers=3, attention_type="pyramidal", base_window=5, window_size=2)))
    expect([windows.window(i) for i in range(3)] == [5, 4, 2], "pyramidal windows")
    model = ft.FusionTreeForCausalLM(ft.FusionTreeConfig(**(good | dict(srte_encoding="learnable", max_position_embeddings=6))))
    for call in (lambda: model(draw(32, 7)), lambda: model(draw(32, 1), labels=draw(32, 1))):
        try:
            call()
            expect(False, "a position past the learnt table, or a step without targets, accepted")
        except ValueError:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=os.path.join(HERE, "..", "testdata", "fusiontree"))
    parser.add_argument("--only", help="check the cases whose name contains this")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    began = time.time()
    names = sorted(name for name in os.listdir(args.folder) if not args.only or args.only in name)
    with torch.no_grad():
        for name in names:
            folder = os.path.join(args.folder, name)
            with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
                keys = json.load(f)
            model = load(folder)
            ids = draw(model.config.vocab_size, LENGTH, 11)
            check_files(name, folder)
            check_state(name, model, ids)
            check_packed(name, model, ids)
            check_padding(name, model, ids)
            check_causality(name, model, ids)
            check_windows(name, model)
            check_options(name, folder, ids, keys)
            check_pruned(args.folder, name, ids)
        base = os.path.join(args.folder, "base")
        ids = draw(64, LENGTH, 12) % load(base).config.vocab_size
        check_remote_code(base, ids)
        check_mamba_mixer()
        check_dropping(load(base), ids)
        check_state_passing(os.path.join(args.folder, "all_mamba"), ids)
        check_refusals()
    check_init()
    check_training(base, ids)
    print(f"{len(names)} cases, {len(failures)} failures, {time.time() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
