"""How fast transformers is in float32 on the CPU, on the 256M shape: the figure that a first version has to reach.

    python bench/peers/transformers_speed.py --threads 2 [--model DIR] [--repeat 5]

Times one vision tile (512x512 through tower and connector), a prefill of 1200 text tokens, and decoding at a context of
1200; prints one JSON object of medians in seconds and tokens a second. DIR: make_random_models.py --size 256M.
"""
import argparse
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")


def median_seconds(run, repeat):
    run()  # warm up: allocations, thread pool
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=1200)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch starts its pool

    import torch
    import transformers

    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        args.model, dtype=torch.float32, attn_implementation="sdpa").eval()
    vision = model.config.vision_config
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 1, 3, vision.image_size, vision.image_size, generator=draw) * 2 - 1
    ids = torch.randint(3, 49000, (1, args.context), generator=draw)

    def prefill():
        return model(input_ids=ids, use_cache=True, logits_to_keep=1)

    def decode(cache, token):
        for _ in range(args.new_tokens):
            out = model(input_ids=token, past_key_values=cache, use_cache=True)
            cache, token = out.past_key_values, out.logits[:, -1:].argmax(-1)

    with torch.no_grad():
        tile = median_seconds(lambda: model.get_image_features(pixels), args.repeat)
        prompt = median_seconds(prefill, args.repeat)
        rates = []
        for _ in range(args.repeat):
            first = prefill()
            token = first.logits[:, -1:].argmax(-1)
            start = time.perf_counter()
            decode(first.past_key_values, token)
            rates.append(args.new_tokens / (time.perf_counter() - start))
    print(json.dumps({"transformers": transformers.__version__, "torch": torch.__version__, "threads": args.threads,
                      "model": os.path.basename(os.path.normpath(args.model)), "vision_tile_s": round(tile, 4),
                      "context": args.context, "prefill_s": round(prompt, 4),
                      "prefill_tokens_per_s": round(args.context / prompt, 1),
                      "decode_tokens_per_s": round(statistics.median(rates), 2)}))


if __name__ == "__main__":
    main()
