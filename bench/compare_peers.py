#!/usr/bin/env python3
"""Times FusionTree, llama.cpp, Transformers + torch and vLLM (CPU) on the same weights, in turns, and prints a Markdown table.

For development. Each engine that is installed runs in a process of its own, one at a time, `--rounds` times round the
table; the best of each number is printed, with its spread. The model is a Hugging Face folder with bf16 weights; llama.cpp
gets the same weights as a GGUF file (tools/hf_to_gguf.py). Prompts are random ids, prefill asks for the last row's logits only, decode
runs greedily after prompts of 128 tokens, timed without the prefill.

Example:  bench/compare_peers.py models/qwen2.5-0.5b-random --rounds 3
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

PREFILLS = (128, 512, 2048)
BATCHES = (1, 4, 16, 32)
PROMPT = 128
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LABELS = {"ours": "FusionTree", "llama": "llama.cpp", "torch": "Transformers + torch", "vllm": "vLLM CPU"}


def random_ids(vocab, count, seed):
    import numpy as np
    return np.random.default_rng(seed).integers(0, vocab, count).tolist()


def timed(work, repeats=3):
    """Best wall time of some runs, after one that warms up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def resident_peak_mb():
    with open("/proc/self/status", encoding="ascii") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM"))


# ---- workers: each returns {"version", "prefill": {tokens: tok/s}, "decode": {batch: tok/s}} ----

def run_llama(args):
    import llama_cpp as lc
    lc.llama_backend_init()
    params = lc.llama_model_default_params()
    params.n_gpu_layers = 0
    model = lc.llama_model_load_from_file(args.gguf.encode(), params)
    vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))

    def context(sequences, length):
        p = lc.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_seq_max = sequences * length, max(length, sequences), sequences
        p.n_threads = p.n_threads_batch = args.threads
        # Each sequence has its own cache: what llama.cpp advises when nothing is shared.
        p.kv_unified = False
        return lc.llama_init_from_model(model, p)

    def decode(ctx, rows):
        """rows: (id, position, sequence, wants logits)"""
        batch = lc.llama_batch_init(len(rows), 0, 1)
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, logits) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, position, 1, sequence, logits
        status = lc.llama_decode(ctx, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode returned {status}")
        lc.llama_synchronize(ctx)
        lc.llama_batch_free(batch)

    result = {"version": lc.__version__, "prefill": {}, "decode": {}}
    for tokens in args.prefill:
        ctx, ids = context(1, tokens), random_ids(vocab, tokens, 1)
        rows = [(t, i, 0, i == tokens - 1) for i, t in enumerate(ids)]

        def prefill():
            lc.llama_memory_clear(lc.llama_get_memory(ctx), True)
            decode(ctx, rows)
        result["prefill"][tokens] = tokens / timed(prefill)
        lc.llama_free(ctx)
    for size in args.batch:
        ctx = context(size, PROMPT + args.steps + 8)
        for s in range(size):
            decode(ctx, [(t, i, s, i == PROMPT - 1) for i, t in enumerate(random_ids(vocab, PROMPT, 10 + s))])
        ids, position = list(range(size)), PROMPT
        start = None
        for step in range(args.steps + 2):
            if step == 2:
                start = time.perf_counter()
            decode(ctx, [(t, position, s, True) for s, t in enumerate(ids)])
            ids = [arg_max(lc.llama_get_logits_ith(ctx, s), vocab) for s in range(size)]
            position += 1
        result["decode"][size] = size * args.steps / (time.perf_counter() - start)
        lc.llama_free(ctx)
    return result


def arg_max(pointer, vocab):
    import numpy as np
    return int(np.argmax(np.ctypeslib.as_array(pointer, shape=(vocab,))))


def run_torch(args):
    import torch
    import transformers
    torch.set_num_threads(args.threads)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    vocab = model.config.vocab_size
    result = {"version": f"{transformers.__version__}, torch {torch.__version__.split('+')[0]}", "prefill": {}, "decode": {}}
    with torch.inference_mode():
        for tokens in args.prefill:
            ids = torch.tensor([random_ids(vocab, tokens, 1)])
            result["prefill"][tokens] = tokens / timed(lambda: model(ids, use_cache=True, logits_to_keep=1))
        for size in args.batch:
            ids = torch.tensor([random_ids(vocab, PROMPT, 10 + s) for s in range(size)])
            out = model(ids, use_cache=True, logits_to_keep=1)
            for step in range(args.steps + 2):
                if step == 2:
                    start = time.perf_counter()
                out = model(out.logits[:, -1].argmax(-1, keepdim=True), past_key_values=out.past_key_values, use_cache=True)
            result["decode"][size] = size * args.steps / (time.perf_counter() - start)
    return result


def run_vllm(args):
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{args.threads - 1}")
    import vllm
    longest = max(*args.prefill, PROMPT + args.steps + 8) + 8
    llm = vllm.LLM(
        args.model, dtype="bfloat16", skip_tokenizer_init=True, enable_prefix_caching=False, max_model_len=longest,
        max_num_seqs=max(args.batch), max_num_batched_tokens=max(longest, PROMPT * max(args.batch)))
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as f:
        vocab = json.load(f)["vocab_size"]

    def generate(prompts, tokens):
        params = vllm.SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        llm.generate([{"prompt_token_ids": p} for p in prompts], params, use_tqdm=False)

    result = {"version": vllm.__version__, "prefill": {}, "decode": {}}
    for tokens in args.prefill:
        ids = random_ids(vocab, tokens, 1)
        result["prefill"][tokens] = tokens / timed(lambda: generate([ids], 1))
    for size in args.batch:
        # There is no clock inside: the time of steps + 1 tokens less that of one.
        prompts = [random_ids(vocab, PROMPT, 10 + s) for s in range(size)]
        one = timed(lambda: generate(prompts, 1), 2)
        all_steps = timed(lambda: generate(prompts, args.steps + 1), 2)
        result["decode"][size] = size * args.steps / (all_steps - one)
    return result


def run_ours(args):
    command = [args.binary, "bench", args.model, "--json", "--threads", str(args.threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    report = json.loads(done.stdout)
    speed = {entry["what"]: entry["tokens_per_second"] for entry in report["results"]}
    return {
        "version": report["isa"],
        "prefill": {tokens: speed[f"prefill {tokens}"] for tokens in args.prefill if f"prefill {tokens}" in speed},
        "decode": {size: speed[f"decode x{size}"] for size in args.batch if f"decode x{size}" in speed},
        "limits": report["limits"],
        "peak_mb": report["peak_resident_bytes"] / 2**20,
    }


WORKERS = {"ours": run_ours, "llama": run_llama, "torch": run_torch, "vllm": run_vllm}


# ---- the round table ----

def installed(engine, args):
    if engine == "ours":
        return os.access(args.binary, os.X_OK)
    module = {"llama": "llama_cpp", "torch": "transformers", "vllm": "vllm"}[engine]
    return importlib.util.find_spec(module) is not None


def ask(engine, args):
    """Runs one worker in its own process; None where it fails, with its last words on stderr."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [
            sys.executable, os.path.abspath(__file__), args.model, "--worker", engine, "--out", out.name, "--threads", str(args.threads),
            "--steps", str(args.steps), "--gguf", args.gguf or "", "--binary", args.binary,
            "--prefill", *map(str, args.prefill), "--batch", *map(str, args.batch)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            print(f"{LABELS[engine]} failed: {done.stderr.strip()[-800:]}", file=sys.stderr)
            return None
        return json.load(open(out.name, encoding="utf-8"))


def cell(values):
    """Best of the rounds, and how far the worst was below it."""
    values = [v for v in values if v is not None]
    if not values:
        return "–"
    best = max(values)
    spread = f" (−{100 * (1 - min(values) / best):.0f}%)" if len(values) > 1 else ""
    return (f"{best:,.0f}" if best >= 100 else f"{best:.1f}") + spread


def table(results, args):
    head = ["engine"] + [f"prefill {n}" for n in args.prefill] + [f"decode ×{b}" for b in args.batch] + ["peak MB"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for engine, rounds in results.items():
        if not rounds:
            continue
        row = [f"{LABELS[engine]} {rounds[0].get('version', '')}".strip()]
        row += [cell([r["prefill"].get(str(n)) for r in rounds]) for n in args.prefill]
        row += [cell([r["decode"].get(str(b)) for r in rounds]) for b in args.batch]
        peaks = [r["peak_mb"] for r in rounds if "peak_mb" in r]
        row.append(f"{statistics.median(peaks):,.0f}" if peaks else "–")
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a Hugging Face folder with bf16 weights")
    parser.add_argument("--engines", nargs="+", choices=list(WORKERS), default=list(WORKERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, default=32, help="decode steps timed")
    parser.add_argument("--prefill", nargs="+", type=int, default=list(PREFILLS))
    parser.add_argument("--batch", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--gguf", help="the same weights for llama.cpp; made from the folder when absent")
    parser.add_argument("--binary", default=os.path.join(ROOT, "build/release/bin/fusiontree"))
    parser.add_argument("--json", help="write every round's numbers to this file too")
    parser.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    args = parser.parse_args()

    if args.worker:
        result = WORKERS[args.worker](args)
        if args.worker != "ours":  # our own process is the worker's child, which /proc/self does not see
            result["peak_mb"] = resident_peak_mb()
        with open(args.out, "w", encoding="utf-8") as f:
            json.dump(result, f)
        return 0

    engines = []
    for engine in args.engines:
        if installed(engine, args):
            engines.append(engine)
        else:
            print(f"{LABELS[engine]} is not here, left out", file=sys.stderr)
    with tempfile.TemporaryDirectory() as scratch:
        if "llama" in engines and not args.gguf:
            args.gguf = os.path.join(scratch, "model.gguf")
            subprocess.run([sys.executable, os.path.join(ROOT, "tools/hf_to_gguf.py"), args.model, args.gguf], check=True, stdout=sys.stderr)
        results = {engine: [] for engine in engines}
        for turn in range(args.rounds):
            for engine in engines:
                print(f"round {turn + 1} of {args.rounds}: {LABELS[engine]}", file=sys.stderr, flush=True)
                if (result := ask(engine, args)) is not None:
                    results[engine].append(result)

    print(f"{processor()}, {args.threads} threads, {os.path.basename(os.path.normpath(args.model))}, bf16, tokens/s, best of {args.rounds} rounds\n")
    print(table(results, args))
    limits = next((r["limits"] for r in results.get("ours", ()) if r.get("limits")), None)
    if limits:
        print(f"\nLimits measured by `fusiontree bench`: {json.dumps(limits)}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)
    return 0 if any(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
