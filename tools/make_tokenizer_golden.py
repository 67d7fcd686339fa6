#!/usr/bin/env python3
"""Writes testdata/tokenizer/: small tokenizers of every family, and the ids Hugging Face `tokenizers` gives for text
made to be difficult.

Each <family>.json is a tokenizer.json trained here on the words below; <family>.golden.json holds what it makes of the
texts of texts.json: ids with and without special tokens found, and the decoded text. gguf_spm.json and its golden
file hold a SentencePiece model's pieces and scores as GGUF metadata would, and SentencePiece's own ids.

Usage: make_tokenizer_golden.py   (PyPI: tokenizers, sentencepiece)
Everything is seeded: the same package versions write the same bytes.
"""
import io
import json
import pathlib
import random

import sentencepiece
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

OUT = pathlib.Path(__file__).resolve().parent.parent / "testdata" / "tokenizer"

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
          r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")

TRAINING = [
    "The quick brown fox jumps over the lazy dog. It's what they're saying; we'll see, don't you think? I'd say so.",
    "She sells sea shells by the sea shore. The shells she sells are sea-shells, I'm sure, for they've been there.",
    "In 1984 there were 1234567 people and 42 cats, 3.14159 of them round. 100 + 200 = 300; 2024-01-31T12:00:59Z.",
    "def main(argv):\n    if len(argv) < 2:\n        return 1\n\n    for x in range(10):\n\t\tprint(x, end='\\n')\n",
    "Füße, naïve café, señor, Ærøskøbing, Łódź, İstanbul, Ελλάδα, Москва, привет мир, שלום עולם, مرحبا بالعالم",
    "今天天气很好，我们去公园吧。東京は日本の首都です。カタカナとひらがな。한국어 문장입니다. ภาษาไทยไม่มีช่องว่าง नमस्ते दुनिया",
    "   indented   text   with    runs     of      spaces\n\n\nand lines\r\n\r\nand\ttabs\t\there  \n",
    "the then there these they them this that those with without within where when what which who whom whose",
    "unbelievable reconsideration internationalization tokenization tokenizer tokens token nation national",
    "🙂👍🏽🚀 hello 👨‍👩‍👧‍👦 family 🇩🇪🇫🇷 flags ❤️ heart",
] * 3

BITS = [
    "", " ", "  ", "   ", "\n", "\r\n", "\n\n\n", "\t", " \t ", "\u00a0", "\u2003", "\u3000", "\u180e", "\u200b", "\ufeff",
    "\u0085", "\u2028", "\u2029", "\v", "\f", "\x00", "\x01", "\x1f", "\x7f", "\u009f",
    "a", "Hello", " world", "it's", "IT'S", "it\u2019s", "don't", "DON'T", "'ſ", "x'ſ", "we'LL", "'ll", "'Re", "'vE",
    "''s", "'d'm", "\u212a", "\u212bngstrom", "ﬁ", "ﬃ", "ß", "ẞ", "İ", "ı", "ŉ", "ŉs",
    "0", "7", "12", "123", "1234", "12345678", "3.14", "1e-9", "٣٤٥", "१२३", "Ⅷ", "½", "²", "①", "〇", "㊿", "𝟘𝟙",
    "é", "e\u0301", "é\u0323", "e\u0323\u0301", "e\u0301\u0323", "Å", "A\u030a", "가", "\u1100\u1161", "\u1100\u1161\u11a8",
    "q\u0307\u0323", "\u0301", "\u0301\u0301\u0301", "a" + "\u0300\u0323\u0316" * 6, "\u0345\u0301", "\u0f71\u0f72\u0f74",
    "\u0958", "\u2126", "\u1e9b\u0323", "\u03d2\u0301", "豈", "\ufa10", "\u0898\u0301", "\U00011938", "\U00011935\U00011930",
    "今天天气", "東京タワー", "ｶﾞ", "が", "か\u3099", "한국어", "ภาษาไทย", "ไม่มี", "नमस्ते", "क्षि", "עברית", "العربية", "שׁ",
    "🙂", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "\U0001f1e9", "\U000e0001", "\U0010ffff", "\uffff",
    "\ue000", "\U00010d40", "\U00011f50", "\U0001e4f0", "\ua7cb", "\U000105c0", "\U00010d4a", "\U00011de0", "\U00016ff4",
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<tool>", "<mask>", " <mask> ", "<|im_end|",
    "<|im_end|><|im_end|>", "word<word>word", "<word>", " <word> ", "é<word>", "<norm>", "NORM", "<nörm>", "<no\u0308rm>",
    "<0x41>", "<0x0A>", "▁", "▁▁", " ▁", "▁a", "a▁b", "Ġ", "Ċ", "Ā", "Ġthe",
    "_snake_case", "camelCase", "CamelCASE", "HTTPServer", "x=1;", "a+b==c", "!!!", "...", "--", "/*x*/", "//\n", "http://a.b/c?d=e&f",
    "a/b\n", "?!\r\n\r\n", " ?!\n", "a\n b", "a \n b", "a  \n\n  b", "    x", "\t\tx", "x    ", "x\n", "\n x", " \n", "\r", "\r\r\n",
]


def texts():
    rng = random.Random(20240229)
    result = list(BITS) + list(TRAINING[:10])
    for _ in range(160):
        result.append("".join(rng.choice(BITS) for _ in range(rng.randint(2, 9))))
    for _ in range(60):
        result.append(" ".join(rng.choice(BITS) for _ in range(rng.randint(2, 9))))
    planes = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x370, 0x5ff), (0x900, 0xdff), (0xe00, 0xfff), (0x1e00, 0x1fff),
              (0x2000, 0x2bff), (0x3000, 0x30ff), (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0xf900, 0xffef), (0x10000, 0x1f9ff)]
    for _ in range(120):
        chosen = rng.sample(planes, 3)
        result.append("".join(chr(rng.randint(*rng.choice(chosen))) for _ in range(rng.randint(5, 40))))
    result.append("ab" * 300)
    result.append("a" * 1000)
    result.append("\u0301\u0323" * 200)
    return result


SPECIAL = [AddedToken(t, special=True, normalized=False) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
ADDED = [AddedToken("<tool>", special=False, normalized=False),
         AddedToken("<mask>", special=True, lstrip=True, normalized=False),
         AddedToken("<rstrip>", special=False, rstrip=True, normalized=False),
         AddedToken("<word>", special=False, single_word=True, normalized=False),
         AddedToken("<nörm>", special=True, normalized=True),
         AddedToken("NORM", special=False, normalized=True)]


def train(tokenizer, vocab_size, special, alphabet):
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=special, show_progress=False,
                                  initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TRAINING, trainer)
    return tokenizer


def byte_level(pre_tokenizer, normalizer=None, vocab_size=600, drop=()):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = [c for c in pre_tokenizers.ByteLevel.alphabet() if c not in drop]
    return train(tokenizer, vocab_size, [], alphabet)


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentencepiece_style(vocab_size=700):
    """As the converter of Llama 2 makes them, trained here: <unk> <s> </s>, 256 bytes, then pieces."""
    special = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")  # for training: merges stay in words
    train(tokenizer, vocab_size, special, ["▁"])
    model = json.loads(tokenizer.to_str())["model"]
    bare = Tokenizer(models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], byte_fallback=True, fuse_unk=True,
                                unk_token="<unk>"))
    bare.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in ("<unk>", "<s>", "</s>")])
    bare.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return bare


def families():
    gpt2 = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    gpt2.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=True)])
    yield "gpt2", gpt2

    roberta_like = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), drop=("é", "Ċ"))
    roberta_like.add_special_tokens(SPECIAL)
    roberta_like.add_tokens([t for t in ADDED if not t.special])
    yield "prefix_space", roberta_like

    qwen2 = byte_level(split_then_bytes(QWEN2), normalizers.NFC())
    qwen2.add_special_tokens(SPECIAL + [t for t in ADDED if t.special])
    qwen2.add_tokens([t for t in ADDED if not t.special])
    yield "qwen2", qwen2

    llama3 = byte_level(split_then_bytes(LLAMA3))
    data = json.loads(llama3.to_str())
    data["model"]["ignore_merges"] = True
    data["model"]["vocab"]["Ġunbelievabletoken"] = len(data["model"]["vocab"])  # a word no merge can make
    data["model"]["vocab"]["zzzz"] = len(data["model"]["vocab"])
    llama3 = Tokenizer.from_str(json.dumps(data))
    llama3.add_special_tokens([AddedToken("<|begin_of_text|>", special=True, normalized=False)] + SPECIAL)
    bos = llama3.token_to_id("<|begin_of_text|>")
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", bos)])])
    yield "llama3", llama3

    smollm2 = byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                  pre_tokenizers.ByteLevel(add_prefix_space=False)]))
    smollm2.add_special_tokens(SPECIAL)
    yield "smollm2", smollm2

    tekken = byte_level(split_then_bytes(TEKKEN), normalizers.NFKC())
    tekken.add_special_tokens(SPECIAL)
    yield "tekken", tekken

    nfkd = byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Split(Regex(r"[,;.]+"), "merged_with_next"),
        pre_tokenizers.Split(Regex(r"\s"), "contiguous"), pre_tokenizers.Split(Regex(r"[^x]+|x"), "removed", invert=True),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "),
                              normalizers.Replace("q", "kw")]))
    nfkd.add_tokens(ADDED)
    yield "nfkd_splits", nfkd

    llama2 = sentencepiece_style()
    llama2.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama2.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                        decoders.Strip(" ", 1, 0)])
    yield "llama2", llama2

    mistral = sentencepiece_style()
    mistral.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    mistral.add_tokens([AddedToken("[INST]", special=True, normalized=False)])
    mistral.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                         decoders.Strip(" ", 1, 0)])
    yield "mistral", mistral

    # No bytes to fall back to: unknown characters become one <unk> a run.
    data = json.loads(sentencepiece_style().to_str())
    data["model"]["byte_fallback"] = False
    data["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    data["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    data["model"]["merges"] = [" ".join(m) for m in data["model"]["merges"]]  # the old spelling
    yield "metaspace_unk", Tokenizer.from_str(json.dumps(data)), data

    data = json.loads(json.dumps(data))
    data["model"]["fuse_unk"] = False
    data["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    data["decoder"] = None
    data["post_processor"] = None
    yield "whitespace_nodecoder", Tokenizer.from_str(json.dumps(data)), data


def dump(path, value, **kwargs):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":"), **kwargs) + "\n", encoding="utf-8")


def golden(tokenizer, all_texts):
    """Columns of one list each: text ids, ids with special spellings found (null: the same), decoded (null: the text;
    false: not asked). Since 0.22 the package gives an added token back in its normal form and then does not know it
    for special; what we give is the token as the file spells it.
    """
    respelt = {i for i, t in tokenizer.get_added_tokens_decoder().items()
               if t.normalized and tokenizer.normalizer and tokenizer.normalizer.normalize_str(t.content) != t.content}
    plain, special, decoded, decoded_all = [], [], [], []
    for text in all_texts:
        tokenizer.encode_special_tokens = True
        ids = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = False
        found = tokenizer.encode(text).ids
        plain.append(ids)
        special.append(None if found == ids else found)
        back = tokenizer.decode(found, skip_special_tokens=True)
        if respelt & set(found):
            decoded.append(False)
            decoded_all.append(False)
            continue
        decoded.append(None if back == text else back)
        whole = tokenizer.decode(found, skip_special_tokens=False)
        decoded_all.append(None if whole == text else whole)
    rng = random.Random(7)
    ids_only = []
    for _ in range(60):
        ids = [rng.randrange(tokenizer.get_vocab_size()) for _ in range(rng.randint(1, 12))]
        ids = [i for i in ids if i not in respelt]
        ids_only.append([ids, tokenizer.decode(ids, skip_special_tokens=False)])
    return {"plain": plain, "special": special, "decoded": decoded, "decoded_all": decoded_all, "random": ids_only}


def sentencepiece_model(all_texts):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TRAINING), model_writer=model, vocab_size=700, model_type="bpe", byte_fallback=True,
        hard_vocab_limit=False, normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
        character_coverage=0.995, allow_whitespace_only_pieces=True, split_digits=True, minloglevel=2)
    spm = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    n = spm.get_piece_size()
    kinds = [2 if spm.is_unknown(i) else 3 if spm.is_control(i) else 6 if spm.is_byte(i) else 5 if spm.is_unused(i) else 1
             for i in range(n)]
    metadata = {"tokens": [spm.id_to_piece(i) for i in range(n)], "scores": [spm.get_score(i) for i in range(n)],
                "token_type": kinds, "bos": spm.bos_id(), "eos": spm.eos_id(), "unk": spm.unk_id()}
    # SentencePiece reads a NUL as the end and U+2581 as a space; both sides see texts without them.
    usable = [t for t in all_texts if "\x00" not in t]
    golden_ids = [[t, [spm.bos_id()] + spm.encode(t)] for t in usable]
    return metadata, golden_ids


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    all_texts = texts()
    dump(OUT / "texts.json", all_texts)
    for name, tokenizer, *source in families():
        # What is committed is what was asked: read back, so that file and answers agree.
        data = source[0] if source else json.loads(tokenizer.to_str())
        dump(OUT / f"{name}.json", data)
        again = Tokenizer.from_file(str(OUT / f"{name}.json"))
        dump(OUT / f"{name}.golden.json", golden(again, all_texts))
    metadata, ids = sentencepiece_model(all_texts)
    dump(OUT / "gguf_spm.json", metadata)
    dump(OUT / "gguf_spm.golden.json", ids)


if __name__ == "__main__":
    main()
