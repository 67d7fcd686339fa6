#!/usr/bin/env python3
"""Copies a GGUF file with every tensor dequantised to float32, so that another engine computes with our exact weights.

Needs numpy and gguf. Example:  tools/dequantise_gguf.py model.Q4_1.gguf model.F32.gguf
"""

import argparse
import sys

import gguf
import numpy as np


def copy_field(writer, field):
    kind = field.types[0]
    element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
    value = field.contents()
    if field.name == "general.file_type":
        value = int(gguf.LlamaFileType.ALL_F32)
    writer.add_key_value(field.name, value, kind, sub_type=element)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    args = parser.parse_args()

    reader = gguf.GGUFReader(args.source)
    arch = reader.get_field("general.architecture").contents()
    writer = gguf.GGUFWriter(args.target, arch=arch)
    for field in reader.fields.values():
        # The writer makes the header's counts and the architecture itself.
        if not field.name.startswith("GGUF.") and field.name != "general.architecture":
            copy_field(writer, field)
    for tensor in reader.tensors:
        writer.add_tensor_info(tensor.name, [int(n) for n in reversed(tensor.shape)], np.dtype(np.float32), 4 * int(tensor.n_elements))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:
        x = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        writer.write_tensor_data(np.ascontiguousarray(x.reshape([int(n) for n in reversed(tensor.shape)])))
    writer.close()
    print(f"{args.target}: {len(reader.tensors)} tensors of {arch} as float32")
    return 0


if __name__ == "__main__":
    sys.exit(main())
