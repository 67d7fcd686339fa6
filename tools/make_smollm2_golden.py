#!/usr/bin/env python3
"""Writes testdata/parity/smollm2_greedy.json: what llama.cpp says greedily after ten prompts, computing in float32.

The model is SmolLM2-135M-Instruct dequantised to float32 (tools/dequantise_gguf.py), the cache is float32, flash attention is
off. Each step's lead of the first choice over the second is kept, so that near-ties are known. With --hf, Transformers
continues the same prompts from a float32 folder (tools/gguf_to_hf.py --dtype f32) as a second opinion.
Needs llama-cpp-python. Example:  tools/make_smollm2_golden.py model.F32.gguf testdata/parity/smollm2_greedy.json --hf smollm2-hf-f32
"""

import argparse
import json
import re
import sys

import llama_cpp
import numpy as np

TOKENS = 40
EOS = 2


def chat(user):
    """The prompt that the model's own template makes of one question."""
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


PROMPTS = [
    "Once upon a time",
    "The capital of France is",
    "def fibonacci(n):\n    \"\"\"Returns the n-th Fibonacci number.\"\"\"\n",
    "Water boils at 100 degrees Celsius because",
    "In 1969, 3 people flew 384400 km to the moon:",
    "Voilà un café à 2,50 € — naïve déjà vu? 你好 🙂 means",
    chat("What is gravity?"),
    chat("Write a short poem about the sea."),
    chat("List three uses of a brick.\n\n  1. "),
    "The following is a list of animals and the sounds they make. A dog barks, a cat meows, a cow moos, a sheep bleats, a horse "
    "neighs, a pig oinks, a duck quacks, a lion roars, a wolf howls, a bee buzzes, a snake hisses, an owl hoots, a frog croaks, "
    "and a rooster crows. When they all met on the farm one evening, the dog said to the cat that",
]


def last_logits(llm, vocab):
    pointer = llama_cpp.llama_get_logits_ith(llm._ctx.ctx, -1)
    return np.ctypeslib.as_array(pointer, shape=(vocab,)).copy()


def continue_greedily(llm, ids):
    """Ids after the prompt, up to TOKENS or the end-of-turn token (kept), and each one's lead over the second."""
    vocab, out, leads = llm.n_vocab(), [], []
    llm.reset()
    llm.eval(ids)
    while len(out) < TOKENS:
        logits = last_logits(llm, vocab)
        second, first = np.sort(np.partition(logits, -2)[-2:])
        # Ties go to the lowest id, as np.argmax does.
        out.append(int(np.argmax(logits)))
        leads.append(round(float(first - second), 5))
        if out[-1] == EOS:
            break
        llm.eval([out[-1]])
    return out, leads


def second_opinion(folder, cases):
    import torch
    import transformers
    torch.set_num_threads(1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for case in cases:
        assert tokenizer(case["prompt"], add_special_tokens=False).input_ids == case["prompt_ids"], case["prompt"]
        ids = torch.tensor([case["prompt_ids"]])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
        case["transformers_agrees"] = out[0, ids.shape[1]:].tolist() == case["greedy_ids"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf", help="the float32 GGUF file")
    parser.add_argument("out")
    parser.add_argument("--hf", help="a float32 Hugging Face folder of the same weights")
    args = parser.parse_args()

    f32 = llama_cpp.GGML_TYPE_F32
    llm = llama_cpp.Llama(
        args.gguf, n_ctx=512, n_threads=1, n_threads_batch=1, type_k=f32, type_v=f32, flash_attn=False, verbose=False)
    cases = []
    for prompt in PROMPTS:
        ids = llm.tokenize(prompt.encode(), add_bos=False, special=True)
        out, leads = continue_greedily(llm, ids)
        text = llm.detokenize(out, special=True).decode(errors="replace")
        cases.append({"prompt": prompt, "prompt_ids": ids, "greedy_ids": out, "greedy_text": text, "leads": leads, "min_lead": min(leads)})
        print(f"{len(ids):3} + {len(out):2} tokens, smallest lead {min(leads):.4f}: {text!r}", flush=True)
    if args.hf:
        second_opinion(args.hf, cases)
        print("Transformers agrees:", [case["transformers_agrees"] for case in cases])
    golden = {
        "model": "SmolLM2-135M-Instruct.Q4_1.gguf, dequantised to float32",
        "engine": f"llama-cpp-python {llama_cpp.__version__}, float32 weights and cache, no flash attention",
        "special_tokens_in_prompts": True,
        "add_bos": False,
        "cases": cases,
    }
    with open(args.out, "w", encoding="utf-8") as f:
        text = json.dumps(golden, indent=1, ensure_ascii=False)
        f.write(re.sub(r"\[[-\d\s,.e]*\]", lambda m: " ".join(m[0].split()), text) + "\n")
    assert json.load(open(args.out, encoding="utf-8")) == golden
    return 0


if __name__ == "__main__":
    sys.exit(main())
