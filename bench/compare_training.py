#!/usr/bin/env python3
"""Training tokens per second of FusionTree beside torch with mambapy's parallel scan: the same model, shapes, threads, in turns.

For development (PyPI: torch, transformers, mambapy). A step is forward, loss, backward, clipping and AdamW in fp32 on rows of random
ids, one document each. Torch runs tools/modeling_fusiontree.py with the loop over time of its mixer replaced by
mambapy.pscan.pscan; FusionTree's step is the one that `train --dry-run` measures. The best of --rounds turns of each is printed.

    bench/compare_training.py [--model configs/small.json] [--length 1024] [--rows 4] [--threads 2] [--rounds 3]
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def torch_worker(options):
    import torch
    import torch.nn.functional as F
    from mambapy.pscan import pscan
    spec = importlib.util.spec_from_file_location("modeling_fusiontree", os.path.join(ROOT, "tools/modeling_fusiontree.py"))
    ours = importlib.util.module_from_spec(spec)
    sys.modules["modeling_fusiontree"] = ours
    spec.loader.exec_module(ours)
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    def parallel_forward(self, u, positions, starts, conv_window, state):
        x, z = self.in_proj(u).chunk(2, dim=-1)
        length = x.shape[1]
        if self.kernel:
            x = F.conv1d(x.transpose(1, 2), self.conv1d.weight, self.conv1d.bias, padding=self.kernel - 1,
                         groups=x.shape[2])[..., :length].transpose(1, 2)
        x = F.silu(x)
        delta, b, c = self.delta(x)
        decay = torch.exp(delta[..., None] * -torch.exp(self.A_log))
        s = pscan(decay, (delta * x)[..., None] * b[:, :, None, :])
        y = (s @ c[..., None]).squeeze(3) + self.D * x
        return self.out_proj(y * F.silu(z)), None, s[:, -1]

    with open(options.model) as file:
        config = ours.FusionTreeConfig(**json.load(file))
    model = ours.FusionTreeForCausalLM(config)
    ids = torch.randint(0, config.vocab_size, (options.rows, options.length))
    # The scan in parallel is the scan one after the other.
    short = ids[:1, :32]
    with torch.no_grad():
        before = model(short).logits
        ours.MambaMixer.forward = parallel_forward
        difference = (model(short).logits - before).abs().max().item()
    if difference > 1e-3:
        sys.exit(f"the parallel scan differs by {difference}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        optimizer.zero_grad()
        logits = model(ids).logits
        F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"tokens_per_second": options.rows * options.length / best,
                      "parameters": sum(p.numel() for p in model.parameters())}))


def run_torch(options):
    arguments = [sys.executable, os.path.abspath(__file__), "--worker"]
    for name in ("model", "length", "rows", "threads"):
        arguments += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def run_ours(options, dtype):
    batch = options.rows * options.length
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.yaml")
        with open(path, "w") as out:
            out.write(f"model: {os.path.abspath(options.model)}\ndtype: {dtype}\ndata: [{{path: {folder}/none}}]\n"
                      f"stages: [{{tokens: {batch}, length: {options.length}, batch: {batch}}}]\n")
        done = subprocess.run([options.program, "train", path, "--dry-run", "--json", "--threads", str(options.threads)],
                              check=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout)
    stage = report["stages"][0]
    return {"tokens_per_second": stage["batch"] / stage["step_seconds"], "parameters": report["parameters"],
            "mfu": stage["mfu"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/bin/fusiontree"))
    parser.add_argument("--model", default=os.path.join(ROOT, "configs/small.json"))
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="FusionTree's products in bf16 too, in turns with the others")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return torch_worker(options)
    engines = {"FusionTree, f32": lambda: run_ours(options, "f32"), "torch + mambapy": lambda: run_torch(options)}
    if options.bf16:
        engines["FusionTree, bf16"] = lambda: run_ours(options, "bf16")
    runs = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            runs[name].append(engine())
    torch = max(r["tokens_per_second"] for r in runs["torch + mambapy"])
    print(f"{os.path.basename(options.model)}: {options.rows} rows of {options.length}, {options.threads} threads, "
          f"best of {options.rounds}\n")
    print("| | tok/s | all rounds | times torch | of the measured peak |\n|---|---|---|---|---|")
    for name, reports in runs.items():
        speeds = [r["tokens_per_second"] for r in reports]
        best = reports[speeds.index(max(speeds))]
        share = f"{best['mfu']:.2f}" if "mfu" in best else ""
        print(f"| {name} | {max(speeds):,.0f} | {', '.join(f'{s:,.0f}' for s in speeds)} | {max(speeds) / torch:.1f} | {share} |")
    counts = {r["parameters"] for reports in runs.values() for r in reports}
    if len(counts) != 1:
        sys.exit(f"the models have different numbers of parameters: {sorted(counts)}")


if __name__ == "__main__":
    main()
