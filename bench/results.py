#!/usr/bin/env python3
"""Held-out bits per byte of hybrid, attention only, Mamba only and serial models: equal parameters, equal tokens, three seeds.

The text is 20 MB of the GNU Collaborative International Dictionary (Debian's dict-gcide), the models and runs are those of
configs/ablations with fewer tokens. Every run that has finished is kept, one that was stopped goes on: call it again. The last
thing printed is the table of docs/results.md.

    bench/results.py --work /tmp/results [--threads 1] [--table]
"""
import argparse
import gzip
import json
import os
import re
import resource
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS = {"hybrid": "hybrid", "no-mamba": "attention only", "no-attention": "Mamba only", "serial": "serial"}
DICTIONARY = "/usr/share/dictd/gcide.dict.dz"
DOCUMENT_BYTES = 4000  # entries one after the other; most are far shorter


def write_text(path, size):
    if not os.path.exists(DICTIONARY):
        sys.exit(f"{DICTIONARY} is not there: apt-get install dict-gcide")
    text = gzip.open(DICTIONARY).read(int(size * 1.1)).decode("utf-8", "replace")
    text = text[text.index("\nA \\A"):]
    total, document = 0, ""
    with open(path + ".partial", "w") as out:
        for entry in re.split(r"\n\n(?=\S)", text):
            document += entry.strip() + "\n\n"
            if len(document) >= DOCUMENT_BYTES:
                out.write(json.dumps({"text": document}) + "\n")
                total += len(document.encode())
                document = ""
            if total >= size:
                break
    os.rename(path + ".partial", path)


def prepare(program, work, size):
    os.makedirs(work, exist_ok=True)
    text, tokenizer, shards = (os.path.join(work, name) for name in ("text.jsonl", "tokenizer", "shards"))
    if not os.path.exists(text):
        write_text(text, size)
    if not os.path.exists(tokenizer):
        subprocess.run([program, "tokenizer", "train", text, "--vocab-size", "4096", "-o", tokenizer], check=True)
    if not os.path.exists(shards):
        subprocess.run([program, "data", "tokenize", text, "--tokenizer", tokenizer, "--held-out", "0.01", "-o", shards],
                       check=True)
    baseline = os.path.join(work, "ngram.json")
    if not os.path.exists(baseline):
        stats = subprocess.run([program, "data", "stats", shards, "--ngram", "--json"], check=True, capture_output=True)
        with open(baseline, "wb") as out:
            out.write(stats.stdout)


def train(program, work, model, seed, tokens, threads):
    name = f"{model}-{seed}"
    result = os.path.join(work, name + ".json")
    if os.path.exists(result):
        return
    with open(os.path.join(ROOT, "configs/ablations", model + ".yaml")) as preset:
        config = preset.read()
    for key, value in ((r"model: .*", f"model: {ROOT}/configs/ablations/{model}.json"), (r"seed: .*", f"seed: {seed}"),
                       (r"path: \w+", f"path: {work}/shards"), (r"tokens: 2_000_000", f"tokens: {tokens}"),
                       (r"batch: \d+", "batch: 2048"), (r"evaluate_every: \d+", "evaluate_every: 0\ncheckpoint_every: 100")):
        config, count = re.subn(key, value, config, count=1)
        assert count == 1, key
    config_path, run = os.path.join(work, name + ".yaml"), os.path.join(work, name)
    with open(config_path, "w") as out:
        out.write(config)
    arguments = [program, "train", config_path, "-o", run, "--threads", str(threads), "--json"]
    if os.path.isdir(os.path.join(run, "checkpoints")) and os.listdir(os.path.join(run, "checkpoints")):
        arguments.append("--resume")
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=open(os.path.join(work, name + ".log"), "ab"))
    if done.returncode != 0:
        sys.exit(f"{name} failed: see {work}/{name}.log")
    report = json.loads(done.stdout)
    if not report["done"]:
        sys.exit(f"{name} was stopped; call again to go on")
    report["cpu_seconds"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    report["resumed"] = "--resume" in arguments
    with open(result + ".partial", "w") as out:
        json.dump(report, out)
    os.rename(result + ".partial", result)
    print(f"{name}: {report['held_out_bits_per_byte']:.4f} bits a byte", flush=True)


def table(work, seeds, tokens):
    rows = ["| model | parameters | held-out bits per byte, mean | deviation | each seed | tok/s of one thread |", "|---|---|---|---|---|---|"]
    for model, label in MODELS.items():
        reports = []
        for seed in seeds:
            path = os.path.join(work, f"{model}-{seed}.json")
            if os.path.exists(path):
                with open(path) as file:
                    reports.append(json.load(file))
        if not reports:
            continue
        bits = [r["held_out_bits_per_byte"] for r in reports]
        # Of CPU time, which other work on the machine does not lengthen much; not of a run that was resumed.
        speeds = [tokens / r["cpu_seconds"] for r in reports if not r["resumed"]]
        parameters = ""
        for line in open(os.path.join(work, f"{model}-{seeds[0]}.log"), errors="replace"):
            found = re.search(r": ([\d.]+ \w+) parameters", line)
            parameters = found.group(1) if found else parameters
        deviation = f"{statistics.stdev(bits):.4f}" if len(bits) > 1 else "–"
        speed = f"{statistics.mean(speeds):,.0f}" if speeds else "–"
        rows.append(f"| {label} | {parameters} | {statistics.mean(bits):.4f} | {deviation} | "
                    f"{', '.join(f'{b:.4f}' for b in bits)} | {speed} |")
    with open(os.path.join(work, "ngram.json")) as file:
        rows.append(f"| byte 5-gram of all the text | | {json.load(file)['ngram_bits_per_byte']:.4f} | | | |")
    return "\n".join(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "build/release/bin/fusiontree"))
    parser.add_argument("--work", required=True, help="folder of text, shards, runs and results")
    parser.add_argument("--bytes", type=int, default=20_000_000)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="of a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the table of what has finished")
    options = parser.parse_args()
    options.work = os.path.abspath(options.work)
    if not options.table:
        prepare(options.program, options.work, options.bytes)
        for seed in options.seeds:
            for model in MODELS:
                train(options.program, options.work, model, seed, options.tokens, options.threads)
    print(table(options.work, options.seeds, options.tokens))


if __name__ == "__main__":
    main()
