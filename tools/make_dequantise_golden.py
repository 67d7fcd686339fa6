#!/usr/bin/env python3
"""Writes testdata/dequantise/TYPE.blocks and TYPE.f32: random blocks and their values.

The values come from the `gguf` package, whose dequantisers equal ggml's reference bit for bit. Scales are
finite halves of either sign, among them zero, subnormals and the largest; every other byte is random.
Seed 20240601; run from anywhere: python tools/make_dequantise_golden.py
"""
import pathlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Byte offsets of the half-precision scales within a block.
SCALES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}
ELEMENTS = 3072
CORNERS = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0xFBFF, 0x3C00], np.uint16)


def main():
    folder = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "dequantise"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(20240601)
    for kind, offsets in SCALES.items():
        block, size = GGML_QUANT_SIZES[kind]
        count = ELEMENTS // block
        blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for offset in offsets:
            halves = rng.integers(0, 0x7C00, count, dtype=np.uint16) | (rng.integers(0, 2, count, dtype=np.uint16) << 15)
            corners = rng.permutation(CORNERS)[: count // 3]
            halves[: len(corners)] = corners
            blocks[:, offset:offset + 2] = halves[:, None].view(np.uint8)
        values = dequantize(blocks, kind).astype(np.float32)
        assert np.isfinite(values).all()
        (folder / f"{kind.name}.blocks").write_bytes(blocks.tobytes())
        (folder / f"{kind.name}.f32").write_bytes(values.tobytes())


if __name__ == "__main__":
    main()
