#!/usr/bin/env python3
"""Writes testdata/tokenizer/trainer.golden.json: texts, and the vocabulary, merges and ids that Hugging Face's BpeTrainer makes
of them with GPT-2's and Qwen2's patterns. With a folder that `fusiontree tokenizer train` wrote, and texts, compares instead
the ids of that folder's tokenizer.json as Hugging Face `tokenizers` reads it with those of `fusiontree tokenizer encode`.

Usage: make_trainer_golden.py
       make_trainer_golden.py FUSIONTREE FOLDER TEXT_FILE...   (PyPI: tokenizers)
"""
import json
import subprocess
import sys

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from make_tokenizer_golden import OUT, QWEN2, TRAINING, texts

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def train(pattern, corpus):
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    tokenizer.pre_tokenizer = byte_level if pattern is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=600, min_frequency=2, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [" ".join(pair) for pair in model["merges"]],
            "ids": [tokenizer.encode(text).ids for text in corpus]}


def main():
    if len(sys.argv) > 1:
        program, folder = sys.argv[1:3]
        theirs = Tokenizer.from_file(folder + "/tokenizer.json")
        theirs.encode_special_tokens = True
        for path in sys.argv[3:]:
            ours = json.loads(subprocess.run([program, "tokenizer", "encode", folder, "-f", path, "--json"],
                                             capture_output=True, check=True).stdout)
            same = ours == theirs.encode(open(path, "rb").read().decode()).ids
            print(f"{path}: {len(ours)} ids, {'the same' if same else 'DIFFERENT'}")
            if not same:
                sys.exit(1)
        return
    # Not the hard texts only: words that occur often enough to merge, and counts that are equal often.
    corpus = TRAINING[:10] * 2 + [text for text in texts() if len(text.encode()) < 200][:250]
    result = {"texts": corpus, "gpt2": train(None, corpus), "qwen2": train(QWEN2, corpus)}
    (OUT / "trainer.golden.json").write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
