"""How fast llama.cpp (llama-cpp-python) is on the CPU with the same weights: prefill and decoding.

    python bench/peers/llama_speed.py --gguf FILE --model DIR --threads 2 [--context 1200] [--new-tokens 32] [--repeat 5]

First the answer: the logits after a few words against transformers in float32 on DIR (cosine at least 0.999 for F16).
Prints one JSON object of medians. FILE: smolvlm quantize --dtype f16 DIR OUT. The vision tower is not timed: its API
takes whole pictures and prefills between tiles.
"""
import argparse
import json
import os
import random
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

WORDS = [1, 11126, 42, 1812, 314, 260, 3575, 282, 4649, 47, 49279, 198, 9519, 9531, 42]


def cosine_with_transformers(folder, logits):
    import numpy as np
    import torch
    import transformers

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        truth = model(input_ids=torch.tensor([WORDS]), use_cache=False).logits[0, -1].double().numpy()
    found = np.asarray(logits, dtype=np.float64)[:len(truth)]
    return float(truth @ found / np.linalg.norm(truth) / np.linalg.norm(found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=1200)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--least-cosine", type=float, default=0.999)
    parser.add_argument("--no-check", action="store_true", help="the answer has been checked in a round before")
    args = parser.parse_args()

    import llama_cpp

    model = llama_cpp.Llama(args.gguf, n_ctx=args.context + args.new_tokens + 8, n_batch=2048, n_ubatch=512, n_gpu_layers=0,
                            n_threads=args.threads, n_threads_batch=args.threads, verbose=False)
    cosine = None
    if not args.no_check:
        model.eval(WORDS)
        cosine = cosine_with_transformers(args.model, model._ctx.get_logits()[:model.n_vocab()])
        if cosine < args.least_cosine:
            sys.exit(f"llama.cpp: logits have cosine {cosine:.6f} with transformers', expected {args.least_cosine}")
    draw = random.Random(0)
    ids = [draw.randrange(3, 49000) for _ in range(args.context)]
    prefills, rates = [], []
    for _ in range(args.repeat + 1):  # the first warms up
        model.reset()
        start = time.perf_counter()
        model.eval(ids)
        prefills.append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(args.new_tokens):
            logits = model._ctx.get_logits()
            model.eval([max(range(3, 300), key=lambda i: logits[i])])
        rates.append(args.new_tokens / (time.perf_counter() - start))
    print(json.dumps({"version": "llama-cpp-python " + llama_cpp.__version__, "cosine": cosine,
                      "prefill_s": round(statistics.median(prefills[1:]), 4),
                      "decode_tokens_per_s": round(statistics.median(rates[1:]), 2)}))


if __name__ == "__main__":
    main()
