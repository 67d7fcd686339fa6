#!/usr/bin/env python3
"""Writes the seeds in testdata/fuzz/{gguf_fuzz,safetensors_fuzz} with the formats' own packages.

`valid` of each is also read by the unit tests. No randomness; run from anywhere:
python tools/make_checkpoint_corpus.py
"""
import json
import pathlib
import struct

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from safetensors.numpy import save

FUZZ = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "fuzz"


def write_gguf(path):
    writer = GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", True)
    writer.add_uint64("big", 2**40)
    writer.add_array("tokenizer.ggml.tokens", ["<s>", "a", "é"])
    writer.add_array("tokenizer.ggml.token_type", [3, 1, 1])
    writer.add_array("tokenizer.ggml.scores", [0.0, -1.0, -2.5])
    for kind in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.Q4_K, T.Q5_K, T.Q6_K):
        block, size = GGML_QUANT_SIZES[kind]
        if kind == T.F32:
            data = np.arange(512, dtype=np.float32).reshape(2, 256)
            writer.add_tensor("t.F32", data)
        elif kind == T.F16:
            writer.add_tensor("t.F16", np.ones((2, 256), np.float16))
        else:
            writer.add_tensor(f"t.{kind.name}", np.full((2, 256 // block * size), 60, np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    gguf = FUZZ / "gguf_fuzz"
    gguf.mkdir(parents=True, exist_ok=True)
    write_gguf(gguf / "valid")
    pair = struct.pack("<Q", 17) + b"general.alignment" + struct.pack("<II", 4, 64)
    tensor = struct.pack("<Q", 1) + b"w" + struct.pack("<IQQIQ", 2, 4, 2, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + pair + tensor
    (gguf / "small").write_bytes(header + bytes(-len(header) % 64 + 32))
    (gguf / "version2").write_bytes(b"GGUF" + struct.pack("<IQQ", 2, 0, 0))
    nested = struct.pack("<Q", 1) + b"k" + struct.pack("<IIQIQI", 9, 9, 1, 4, 1, 7)
    (gguf / "nested").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + nested)

    safetensors = FUZZ / "safetensors_fuzz"
    safetensors.mkdir(parents=True, exist_ok=True)
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(5, np.int64),
              "c": np.zeros((0, 4), np.float16), "d": np.array([True, False])}
    (safetensors / "valid").write_bytes(save(arrays, {"format": "pt"}))
    (safetensors / "header").write_text('{"x":{"dtype":"BF16","shape":[4,8],"data_offsets":[0,64]}}')
    (safetensors / "index").write_text(json.dumps(
        {"metadata": {"total_size": 8}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))


if __name__ == "__main__":
    main()
