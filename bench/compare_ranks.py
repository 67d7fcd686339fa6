#!/usr/bin/env python3
"""Times one rank of N threads against N ranks of one thread on the same model, in turns, and prints a Markdown table.

For development. Every round runs `fusiontree bench` once each way, so that what else the machine does falls on both; medians over
the rounds of each way's quickest, and of the rounds' ratios with their spread. Loading is timed in the same runs, the file in the
page cache.

Example:  bench/compare_ranks.py models/qwen2.5-0.5b-random --rounds 5
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def launcher(ranks):
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return ["mpirun", *root, "--bind-to", "none", "--oversubscribe", "-n", str(ranks)]


def bench(args, ranks, threads):
    command = [args.binary, "bench", args.model, "--json", "--no-limits", "--seconds", str(args.seconds), "--threads", str(threads),
               "--prefill", args.prefill, "--decode", args.decode]
    done = subprocess.run((launcher(ranks) if ranks > 1 else []) + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"{ranks} ranks: bench ended with {done.returncode}: {done.stderr[-500:]}")
    result = json.loads(done.stdout)
    speeds = {m["what"] + ", tok/s": m["best_tokens_per_second"] for m in result["results"]}
    speeds["loading, 1/s"] = 1 / result["load_seconds"]
    return speeds


def show(ranks, rounds):
    if not rounds:
        return
    print(f"| medians of {len(rounds)} rounds | 1 rank x {ranks} threads | {ranks} ranks x 1 thread | ratio | of the rounds |")
    print("|---|---|---|---|---|")
    for what in rounds[0][0]:
        pairs = [(one[what], many[what]) for one, many in rounds]
        ratios = [y / x for x, y in pairs]
        print(f"| {what} | {statistics.median(x for x, _ in pairs):.3g} | {statistics.median(y for _, y in pairs):.3g} "
              f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--prefill", default="512")
    parser.add_argument("--decode", default="1,16")
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "bin", "fusiontree"))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
    one, many = [], []
    try:
        for i in range(args.rounds):
            turns = [(one, 1, args.ranks), (many, args.ranks, 1)]
            for results, ranks, threads in turns if i % 2 == 0 else reversed(turns):
                results.append(bench(args, ranks, threads))
            print(f"round {i + 1}: " + ", ".join(f"{k} {many[-1][k] / one[-1][k]:.2f}" for k in one[-1]), file=sys.stderr)
    finally:  # also what was measured before an interruption
        show(args.ranks, list(zip(one, many)))


if __name__ == "__main__":
    main()
