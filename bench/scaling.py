#!/usr/bin/env python3
"""The cost model of tensor parallelism (docs/scaling.md): its tables, and its check against measurement.

  bench/scaling.py model                 the tables, from numbers alone
  bench/scaling.py measure MODEL         two ranks over shared memory, over a veth pair between two network namespaces, and over
                                         links with latency; needs root, iproute2, util-linux and Open MPI

Latency is `tc netem` where the kernel has it. Where it has not, two tap devices are joined by a process of this script that
holds every frame back for so long; its own delay is measured and printed. What is not permitted is left out by name.
Namespaces, devices and processes are removed at the end, also after a failure.
"""

import argparse
import collections
import ctypes
import fcntl
import json
import math
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# ---- the model ----

Shape = collections.namedtuple("Shape", "name layers hidden heads kv_heads head_dim mlp vocab")
SHAPES = [Shape("0.5B", 24, 896, 14, 2, 64, 4864, 151936),
          Shape("7B", 28, 3584, 28, 4, 128, 18944, 152064),
          Shape("70B", 80, 8192, 64, 8, 128, 28672, 128256)]

# Of one rank: bytes/s read, bf16 operations/s. Of its link: seconds of an exchange, bytes/s received.
Machine = collections.namedtuple("Machine", "name bandwidth flops")
Link = collections.namedtuple("Link", "name latency bandwidth")
SOCKET = Machine("a socket with 200 GB/s and 3 TFLOP/s", 200e9, 3e12)
LINKS = [Link("shared memory", 3e-6, 10e9), Link("25 Gb/s, 10 us", 10e-6, 2.8e9), Link("10 Gb/s, 50 us", 50e-6, 1.1e9),
         Link("1 Gb/s, 500 us", 500e-6, 0.11e9)]


def slices(shape):
    return max(s for s in range(1, 9) if shape.heads % s == 0 and shape.mlp % s == 0
               and (shape.kv_heads % s == 0 or s % shape.kv_heads == 0))


def valid_degrees(shape):
    degrees, s, t = [], slices(shape), 1
    while s % 2 == 0:
        degrees.append(t)
        s, t = s // 2, t * 2
    degrees.append(t)
    return sorted({*degrees, slices(shape)})


def local_seconds(shape, t, rows, context, head_rows, machine):
    """A rank's own work in one forward: the larger of what it reads and what it computes."""
    width = shape.heads * shape.head_dim
    kv_heads = max(shape.kv_heads / t, 1)  # a KV head is never cut
    layer = (2 * shape.hidden * width + 3 * shape.hidden * shape.mlp) / t + 2 * shape.hidden * kv_heads * shape.head_dim
    head = shape.vocab * shape.hidden / t
    sequences = head_rows
    cache = 2 * 2 * context * kv_heads * shape.head_dim * shape.layers * sequences
    read = 2 * (layer * shape.layers + head) + cache
    attention = 4 * context * width / t * shape.layers
    flops = rows * (2 * layer * shape.layers + attention) + 2 * head_rows * head
    return max(read / machine.bandwidth, flops / machine.flops)


def exchanges(shape, t, rows, head_rows, scattered=False):
    """(operations, bytes a rank receives) of one forward, as the program does it: docs/tensor-parallel.md. `scattered`, which it does
    not: each rank adds a t-th of the rows and gathers the sums."""
    if t == 1:
        return 0, 0
    operations = 2 * shape.layers * (2 if scattered else 1) + 1 + 1 + 4  # o and down; embedding; logits; records and rows_ok
    times = 2 * (t - 1) / t if scattered else t - 1
    received = 4 * shape.hidden * rows * (2 * shape.layers + 1) * times + 4 * shape.vocab * head_rows * (t - 1) / t
    return operations, received


def step_seconds(shape, t, rows, context, head_rows, machine, link, scattered=False):
    operations, received = exchanges(shape, t, rows, head_rows, scattered)
    return local_seconds(shape, t, rows, context, head_rows, machine) \
        + operations * math.ceil(math.log2(t)) * link.latency + received / link.bandwidth


def print_model():
    degrees = [1, 2, 4, 8, 16, 32, 64]
    for shape in SHAPES:
        allowed = valid_degrees(shape)
        print(f"\n{shape.name} (S = {slices(shape)}, valid: {', '.join(map(str, allowed))}), each rank {SOCKET.name}: times one rank's speed\n")
        print("| work | link | one rank | " + " | ".join(f"t={t}" + ("" if t in allowed else " *") for t in degrees[1:]) + " |")
        print("|---|---|---|" + "---|" * (len(degrees) - 1))
        for name, rows, context, head_rows in [("decode x1", 1, 1024, 1), ("decode x16", 16, 1024, 16), ("decode x64", 64, 1024, 64),
                                               ("prefill 512", 512, 256, 1)]:
            for link in LINKS:
                times = [step_seconds(shape, t, rows, context, head_rows, SOCKET, link) for t in degrees]
                best = max(range(len(degrees)), key=lambda i: times[0] / times[i])
                cells = [f"{times[0] / s:.2f}" for s in times]
                cells[best] = f"**{cells[best]}**"
                print(f"| {name} | {link.name} | {times[0] * 1e3:.3g} ms | " + " | ".join(cells[1:]) + " |")
    print(f"\n{SHAPES[-1].name}, prefill 512: all parts to all ranks, as it is, against sums scattered and gathered\n")
    print("| link | way | " + " | ".join(f"t={t}" for t in degrees[1:]) + " |")
    print("|---|---|" + "---|" * (len(degrees) - 1))
    for link in LINKS:
        for scattered in (False, True):
            times = [step_seconds(SHAPES[-1], t, 512, 256, 1, SOCKET, link, scattered) for t in degrees]
            print(f"| {link.name} | {'scattered' if scattered else 'as it is'} | " + " | ".join(f"{times[0] / s:.2f}" for s in times[1:]) + " |")


# ---- links between two network namespaces ----

NAMES = ("ft-scaling-a", "ft-scaling-b")
ADDRESSES = ("10.213.77.1", "10.213.77.2")


def call(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Skipped(Exception):
    pass


class Namespaces:
    """Two namespaces and one link between them at a time."""

    def __init__(self):
        self.forwarder = None

    def __enter__(self):
        for tool in ("ip", "tc", "unshare", "mpirun"):
            if shutil.which(tool) is None:
                raise Skipped(f"{tool} is not installed")
        self.clear()
        try:
            for name in NAMES:
                call("ip", "netns", "add", name)
                call("ip", "-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            self.clear()
            raise Skipped("network namespaces are not permitted: " + error.stderr.decode().strip()) from error
        return self

    def __exit__(self, *unused):
        self.clear()

    def unlink(self):
        if self.forwarder:
            os.kill(self.forwarder, signal.SIGKILL)
            os.waitpid(self.forwarder, 0)
            self.forwarder = None
        for name in NAMES:
            subprocess.run(["ip", "-n", name, "link", "del", "ft0"], stderr=subprocess.DEVNULL, check=False)

    def clear(self):
        self.unlink()
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def up(self):
        for name, address in zip(NAMES, ADDRESSES):
            call("ip", "-n", name, "addr", "add", address + "/24", "dev", "ft0")
            call("ip", "-n", name, "link", "set", "ft0", "mtu", "9000", "up")

    def veth(self, delay_us):
        self.unlink()
        try:
            call("ip", "link", "add", "ft0", "netns", NAMES[0], "type", "veth", "peer", "name", "ft0", "netns", NAMES[1])
        except subprocess.CalledProcessError as error:
            raise Skipped("veth is not there: " + error.stderr.decode().strip()) from error
        self.up()
        if delay_us > 0:
            try:
                for name in NAMES:
                    call("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "ft0", "root", "netem", "delay", f"{delay_us}us",
                         "limit", "100000")
            except subprocess.CalledProcessError as error:
                raise Skipped("tc netem is not there: " + error.stderr.decode().strip()) from error

    def taps(self, delay_us):
        self.unlink()
        files = []
        try:
            for name in NAMES:
                file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
                files.append(file)
                tap = f"ft{os.getpid() % 10000}{len(files)}"
                fcntl.ioctl(file, 0x400454CA, struct.pack("16sH22x", tap.encode(), 0x0002 | 0x1000))  # TUNSETIFF: TAP, NO_PI
                call("ip", "link", "set", tap, "netns", name, "name", "ft0")
        except (OSError, subprocess.CalledProcessError) as error:
            for file in files:
                os.close(file)
            raise Skipped(f"tap devices are not permitted: {error}") from error
        self.up()
        self.forwarder = os.fork()
        if self.forwarder == 0:
            try:
                forward(files, delay_us * 1e-6)
            finally:
                os._exit(1)
        for file in files:
            os.close(file)


def forward(files, delay):
    """Carries frames between two taps, each `delay` seconds after it came."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # ends with its parent
    ctypes.CDLL(None).prctl(29, 1)              # timers to the nanosecond, not to 50 us
    try:
        os.nice(-10)
    except OSError:
        pass
    held = {file: collections.deque() for file in files}  # by where they go
    other = dict(zip(files, reversed(files)))
    while True:
        now = time.monotonic()
        due = min((queue[0][0] for queue in held.values() if queue), default=None)
        readable, _, _ = select.select(files, [], [], None if due is None else max(0.0, due - now))
        now = time.monotonic()
        for file in readable:
            for _ in range(64):
                try:
                    held[other[file]].append((now + delay, os.read(file, 16384)))
                except BlockingIOError:
                    break
        now = time.monotonic()
        for file, queue in held.items():
            while queue and queue[0][0] <= now:
                try:
                    os.write(file, queue[0][1])
                except BlockingIOError:
                    break
                queue.popleft()


PING = """
import socket, sys, time
there = (sys.argv[2], 5001)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)
if sys.argv[1] == "answer":
    s.bind(there)
    while True:
        data, who = s.recvfrom(100); s.sendto(data, who)
times = []
for i in range(300):
    start = time.perf_counter(); s.sendto(b"x", there); s.recvfrom(100); times.append(time.perf_counter() - start)
print(sorted(times)[len(times) // 2] / 2)
"""


def one_way_seconds():
    """Half of a datagram's way there and back, the median: what the link really delays by."""
    inside = [["ip", "netns", "exec", name, sys.executable, "-c", PING] for name in NAMES]
    answering = subprocess.Popen([*inside[1], "answer", ADDRESSES[1]])
    try:
        time.sleep(0.5)
        done = subprocess.run([*inside[0], "ask", ADDRESSES[1]], stdout=subprocess.PIPE, check=True, timeout=60)
        return float(done.stdout)
    finally:
        answering.kill()
        answering.wait()


# ---- measuring ----

def bench(args, launch, threads):
    command = [args.binary, "bench", args.model, "--json", "--no-limits", "--seconds", str(args.seconds), "--threads", str(threads),
               "--prefill", args.prefill, "--decode", args.decode]
    done = subprocess.run(launch + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"bench ended with {done.returncode}: {done.stderr[-800:]}")
    return json.loads(done.stdout)


MPI = ["mpirun", *(["--allow-run-as-root"] if os.geteuid() == 0 else []), "--bind-to", "none", "--oversubscribe"]


def over_network(folder):
    """mpirun in the first namespace, its daemon in the second; each believes to be a machine of its own."""
    agent = os.path.join(folder, "agent")
    with open(agent, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do shift; done\nshift\n"  # options, then the host
                f"exec ip netns exec {NAMES[1]} unshare --uts sh -c 'hostname {NAMES[1]}; exec sh -c \"$0\"' \"$*\"\n")
    os.chmod(agent, 0o755)
    network = ADDRESSES[0].rsplit(".", 1)[0] + ".0/24"
    return ["ip", "netns", "exec", NAMES[0], "unshare", "--uts", "sh", "-c", f"hostname {NAMES[0]}; exec \"$0\" \"$@\"", *MPI,
            "--host", ",".join(a + ":1" for a in ADDRESSES), "-n", "2", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self",
            "--mca", "btl_tcp_if_include", network, "--mca", "oob_tcp_if_include", network]


def show(name, one_way, local, result):
    fit = result["exchange"]
    latency, per_second = fit["latency_seconds"], fit["bytes_per_second"] or math.inf
    print(f"\n{name}" + (f", measured one way {one_way * 1e6:.0f} us" if one_way else "") +
          f": an exchange takes {latency * 1e6:.1f} us + bytes / {per_second / 1e9:.2f} GB/s\n")
    print("| quickest of each | one rank, 2 threads | 2 ranks | operations | received | in communication | of the model | step of the model | measured / model |")
    print("|---|---|---|---|---|---|---|---|---|")
    for alone, cut in zip(local["results"], result["results"]):
        seconds = [m["seconds"] * m["tokens_per_second"] / m["best_tokens_per_second"] for m in (alone, cut)]
        model = cut["operations"] * latency + cut["received_bytes"] / per_second
        print(f"| {cut['what']} | {seconds[0] * 1e3:.1f} ms | {seconds[1] * 1e3:.1f} ms | {cut['operations']} "
              f"| {cut['received_bytes'] / 1e6:.2f} MB | {cut['communication_seconds'] * 1e3:.1f} ms | {model * 1e3:.1f} ms "
              f"| {(seconds[0] + model) * 1e3:.1f} ms | {seconds[1] / (seconds[0] + model):.2f} |", flush=True)


def measure(args):
    def compare(name, launch, one_way=None):
        # One rank right before each: what else the machine does falls on both.
        show(name, one_way, bench(args, [], 2), bench(args, launch, 1))

    compare("shared memory", [*MPI, "-n", "2"])
    with tempfile.TemporaryDirectory() as folder, Namespaces() as space:
        for delay in args.delays:
            ways = [("veth" + (f" with netem, {delay} us" if delay else ""), space.veth)]
            for name, link in ways:
                try:
                    link(delay)
                    compare(name, over_network(folder), one_way_seconds())
                except Skipped as why:
                    print(f"\nskipped: {name}: {why}", flush=True)
                    if link == space.veth and delay:
                        ways.append((f"taps joined by a process that delays by {delay} us", space.taps))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("model")
    measuring = commands.add_parser("measure")
    measuring.add_argument("model")
    measuring.add_argument("--delays", type=lambda text: [int(x) for x in text.split(",")], default=[0, 50, 500], help="microseconds")
    measuring.add_argument("--prefill", default="128")
    measuring.add_argument("--decode", default="1,4")
    measuring.add_argument("--seconds", type=float, default=0.3)
    measuring.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "bin", "fusiontree"))
    args = parser.parse_args()
    if args.command == "model":
        print_model()
        return
    signal.signal(signal.SIGTERM, lambda *unused: sys.exit(143))
    try:
        measure(args)
    except Skipped as why:
        print(f"\nskipped: network namespaces: {why}")


if __name__ == "__main__":
    main()
