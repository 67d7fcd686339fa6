#!/usr/bin/env python3
"""Ids and speed (processor time) of Hugging Face `tokenizers` on one thread, for the tokenizer of a GGUF file or a tokenizer.json.

Builds the Hugging Face tokenizer out of a GGUF file's vocabulary and merges (pre-tokenisers smollm, qwen2, llama-bpe and
gpt-2), encodes a text and compares with the ids that tokenizer_bench wrote.

Usage: compare_tokenizer.py MODEL.gguf|tokenizer.json TEXT_FILE [IDS_FILE]   (PyPI: tokenizers, gguf)
"""
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402

from make_tokenizer_golden import LLAMA3, QWEN2  # noqa: E402


def from_gguf(path):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    get = lambda name: fields["tokenizer.ggml." + name].contents()
    tokens, types, merges, pre = get("tokens"), get("token_type"), get("merges"), get("pre")
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges],
                                     ignore_merges=pre == "llama-bpe"))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre in ("smollm", "gpt-2"))
    first = {"smollm": [pre_tokenizers.Digits(individual_digits=True)], "gpt-2": [],
             "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated")],
             "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")]}[pre]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(first + [byte_level])
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False)
                                  for t, kind in zip(tokens, types) if kind == 3])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, types) if kind == 4])
    return tokenizer


def main():
    path, text_file = sys.argv[1], sys.argv[2]
    tokenizer = from_gguf(path) if path.endswith(".gguf") else Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True
    text = open(text_file, "rb").read().decode()
    ids = None
    for _ in range(1):
        begin = time.process_time()
        encoding = tokenizer.encode(text)
        seconds = time.process_time() - begin
        ids = encoding.ids
        size = len(text.encode())
        print(f"encode {size} bytes to {len(ids)} ids in {seconds:.3f} s: {size / seconds / 1e6:.1f} MB/s")
    # One long string is not what it is made for; in pieces of 4,000 characters, as documents come, it does better.
    pieces = [text[i:i + 4000] for i in range(0, len(text), 4000)]
    begin = time.process_time()
    for piece in pieces:
        tokenizer.encode(piece)
    seconds = time.process_time() - begin
    print(f"encode {len(pieces)} pieces in {seconds:.3f} s: {size / seconds / 1e6:.1f} MB/s")
    if len(sys.argv) > 3:
        ours = [int(line) for line in open(sys.argv[3])]
        where = next((i for i, (a, b) in enumerate(zip(ours, ids)) if a != b), min(len(ours), len(ids)))
        if ours == ids:
            print(f"equal: {len(ids)} ids")
        else:
            print(f"differ at id {where}: ours {ours[where:where + 8]}, theirs {ids[where:where + 8]}")
            sys.exit(1)


if __name__ == "__main__":
    main()
