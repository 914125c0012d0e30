"""How fast transformers is on the 256M shape: the figure that a first version has to reach.

    python bench/peers/transformers_speed.py --threads 2 --model DIR [--dtype bf16] [--compile] [--repeat 5]
    python bench/peers/transformers_speed.py --device cuda --dtype bfloat16 --compile --model DIR

Times one vision tile (512x512 through tower and connector), a prefill of 1200 text tokens, and decoding at a context of
1200; prints one JSON object of medians in seconds and tokens a second. DIR: make_random_models.py --size 256M.
--all adds 17 tiles at once, and a training step: one tile and 448 tokens, forward, backward and AdamW for all weights.
Below float32 the image features and the logits after the prompt are first compared with those in float32 (cosine at least
0.999, printed). Attention is PyTorch's own fused one (sdpa), the products oneDNN's; the cache is the dynamic one.
"""
import argparse
import json
import os
import statistics
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")
SHORT = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def median_seconds(run, repeat):
    run()  # warm up: allocations, thread pool
    times = []
    for _ in range(repeat):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def wait():
    """For the device, whose work is asynchronous."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def training_step(torch, model, pixels, ids):
    """One tile and 448 tokens of text, all of which are learned."""
    vision = model.config.vision_config
    image_tokens = (vision.image_size // vision.patch_size // model.config.scale_factor) ** 2
    picture = torch.full((1, image_tokens), model.config.image_token_id, device=ids.device)
    ids = torch.cat([picture, ids[:, :448]], dim=1)
    labels = ids.masked_fill(ids == model.config.image_token_id, -100)
    model.train()
    adamw = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=ids.device.type == "cuda")

    def run():
        model(input_ids=ids, pixel_values=pixels, labels=labels).loss.backward()
        adamw.step()
        adamw.zero_grad()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=1200)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", type=lambda name: SHORT.get(name, name),
                        choices=["float32", "bfloat16", "float16"], help="or f32, bf16, f16")
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--all", action="store_true", help="also 17 tiles and a training step")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch starts its pool

    import torch
    import transformers

    def load(dtype):
        return transformers.AutoModelForImageTextToText.from_pretrained(
            args.model, dtype=getattr(torch, dtype), attn_implementation="sdpa").eval().to(args.device)

    @torch.no_grad()
    def answers(model):
        features = model.get_image_features(pixels.to(model.dtype)).pooler_output
        features = features if torch.is_tensor(features) else torch.cat(list(features))
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
        return {"vision_tile_cosine": features, "prefill_cosine": logits}

    torch.set_num_threads(args.threads)
    model = load(args.dtype)
    vision = model.config.vision_config
    draw = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 1, 3, vision.image_size, vision.image_size, generator=draw) * 2 - 1
    pixels = pixels.to(args.device)
    ids = torch.randint(3, 49000, (1, args.context), generator=draw).to(args.device)
    cosine = {}
    if args.dtype != "float32":
        found = answers(model)
        for key, truth in answers(load("float32")).items():
            cosine[key] = float(torch.cosine_similarity(truth.double().flatten(), found[key].double().flatten(), dim=0))
            if not cosine[key] > 0.999:
                sys.exit(f"transformers in {args.dtype}: {key} is {cosine[key]:.6f}")
    pixels = pixels.to(model.dtype)
    if args.compile:
        model.forward = torch.compile(model.forward)
        model.get_image_features = torch.compile(model.get_image_features)

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
            wait()
            start = time.perf_counter()
            decode(first.past_key_values, token)
            wait()
            rates.append(args.new_tokens / (time.perf_counter() - start))
    more = {}
    if args.all:
        tiles = pixels.expand(1, 17, -1, -1, -1).contiguous()
        with torch.no_grad():
            more["vision_17_tiles_s"] = round(median_seconds(lambda: model.get_image_features(tiles), args.repeat), 4)
        more["train_step_s"] = round(median_seconds(training_step(torch, model, pixels, ids), args.repeat), 4)
    print(json.dumps({"transformers": transformers.__version__, "torch": torch.__version__, "threads": args.threads,
                      "device": args.device, "dtype": args.dtype, "compiled": args.compile,
                      "model": os.path.basename(os.path.normpath(args.model)), "vision_tile_s": round(tile, 4),
                      "context": args.context, "prefill_s": round(prompt, 4),
                      "prefill_tokens_per_s": round(args.context / prompt, 1),
                      "decode_tokens_per_s": round(statistics.median(rates), 2), **cosine, **more}))


if __name__ == "__main__":
    main()
