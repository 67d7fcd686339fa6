#!/usr/bin/env python3
"""Reads event files with TensorBoard's own readers and prints what they find in them.

    pip install tensorboard
    python3 tools/check_tensorboard.py RUN_FOLDER [RUN_FOLDER ...]

EventFileLoader reads each file by itself and checks every CRC; EventAccumulator reads a folder as TensorBoard does, with what
a restart replaced left out. Exits with 1 when a folder holds no event, or a file bytes that are not a whole record.
"""
import argparse
import os
import sys

from tensorboard.backend.event_processing import event_accumulator, event_file_loader, io_wrapper
from tensorboard.compat.proto import event_pb2


def record_bytes(path):
    """Bytes of the file's whole records: each has a head of 12 bytes and a tail of 4."""
    done = 0
    for event in event_file_loader.RawEventFileLoader(path).Load():
        event_pb2.Event.FromString(event)
        done += 16 + len(event)
    return done


def show_file(path):
    events = list(event_file_loader.EventFileLoader(path).Load())
    size = os.path.getsize(path)
    print(f"{path}: {len(events)} events, {size} bytes")
    for event in events:
        if event.HasField("file_version"):
            print(f"  version {event.file_version}")
        if event.HasField("session_log"):
            print(f"  session log: status {event.session_log.status} at step {event.step}")
    whole = record_bytes(path)
    if whole != size:
        print(f"  only {whole} bytes are whole records")
    return bool(events) and whole == size


def show_folder(folder):
    everything = {event_accumulator.SCALARS: 0, event_accumulator.HISTOGRAMS: 0}
    accumulator = event_accumulator.EventAccumulator(folder, size_guidance=everything).Reload()
    tags = accumulator.Tags()
    for tag in tags["scalars"]:
        points = accumulator.Scalars(tag)
        print(f"  scalar {tag!r}: {len(points)} points,", ", ".join(f"{p.step}: {p.value:g}" for p in points[-4:]))
    for tag in tags["histograms"]:
        points = accumulator.Histograms(tag)
        last = points[-1].histogram_value
        print(f"  histogram {tag!r}: {len(points)} points, the last of {last.num:g} values from {last.min:g} to "
              f"{last.max:g}, limits {list(last.bucket_limit)}, counts {list(last.bucket)}")
    return bool(tags["scalars"] or tags["histograms"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folders", nargs="+")
    ok = True
    for folder in parser.parse_args().folders:
        for name in sorted(os.listdir(folder)):
            if io_wrapper.IsTensorFlowEventsFile(name):
                ok &= show_file(os.path.join(folder, name))
        print(f"{folder} as a run:")
        ok &= show_folder(folder)
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
