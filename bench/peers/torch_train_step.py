"""One training step beside PyTorch eager float32: the same weights, the same batch, the same AdamW, in turns.

    python bench/peers/torch_train_step.py [--build build] [--threads 2] [--rounds 3] [--sizes 0.3M 3M 30M] [--out FOLDER]

Makes a random model of each size, checks that the losses of the first five steps agree (1e-4 relative), then times
bench_train_step and transformers one after the other, and prints a Markdown table of medians. --only times PyTorch alone (used
by this script itself, so that each side runs in a process of its own). Nothing else should run meanwhile.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")
PROCESSOR = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "processor_learned"

# vision: width, MLP, layers, heads; text: width, MLP, layers, heads, kv heads, head width, vocabulary
SIZES = {"0.3M": ((64, 192, 2, 2), (80, 208, 2, 4, 2, 24, 512)),
         "3M": ((160, 480, 4, 4), (224, 576, 4, 7, 7, 32, 1024)),
         "30M": ((384, 1152, 6, 6), (512, 1408, 6, 8, 4, 64, 4096))}


def make(size, folder):
    import torch
    import transformers

    (vw, vm, vl, vh), (tw, tm, tl, th, tk, head, vocabulary) = SIZES[size]
    config = transformers.SmolVLMConfig(
        image_token_id=vocabulary - 1, scale_factor=4, tie_word_embeddings=False,
        vision_config=dict(hidden_size=vw, intermediate_size=vm, num_hidden_layers=vl, num_attention_heads=vh,
                           image_size=128, patch_size=8),
        text_config=dict(model_type="llama", hidden_size=tw, intermediate_size=tm, num_hidden_layers=tl,
                         num_attention_heads=th, num_key_value_heads=tk, head_dim=head, vocab_size=vocabulary,
                         max_position_embeddings=2048, rope_theta=100000.0, pad_token_id=2, tie_word_embeddings=False))
    torch.manual_seed(0)
    model = transformers.SmolVLMForConditionalGeneration(config)
    model.save_pretrained(folder)
    for file in PROCESSOR.iterdir():
        shutil.copy(file, folder)


def batch(config, sequences, tokens):
    """bench/train_step.cpp, formula_batch."""
    import torch

    size, vocabulary = config.vision_config.image_size, config.text_config.vocab_size
    pictures = (size // config.vision_config.patch_size // config.scale_factor) ** 2
    b, c, y, x = torch.meshgrid(*(torch.arange(n) for n in (sequences, 3, size, size)), indexing="ij")
    pixels = (((b * 31 + c * 17 + y * 7 + x * 13) % 256).float() / 255 - 0.5) / 0.5
    b, t = torch.meshgrid(torch.arange(sequences), torch.arange(tokens), indexing="ij")
    ids = 10 + (b * 7919 + t * t * 31) % (vocabulary - 20)
    labels = ids.clone()
    labels[:, :pictures] = -100
    ids[:, :pictures] = config.image_token_id
    return {"input_ids": ids, "pixel_values": pixels[:, None], "labels": labels}


def torch_steps(args):
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    model = transformers.AutoModelForImageTextToText.from_pretrained(args.only, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
    given, losses, times = batch(model.config, args.batch, args.tokens), [], []
    for step in range(args.steps):
        start = time.perf_counter()
        loss = model(**given, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        times.append(time.perf_counter() - start)
    print(json.dumps({"step_ms": statistics.median(times[5:]) * 1e3, "losses": losses[:5], "torch": torch.__version__,
                      "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


def last_json(command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text[text.index("{"):])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/peers"))
    parser.add_argument("--only", help="a folder: PyTorch alone")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.only:
        return torch_steps(args)
    shared = ["--batch", str(args.batch), "--tokens", str(args.tokens), "--threads", str(args.threads), "--steps",
              str(args.steps)]
    rows, found = [], {}
    for size in args.sizes:
        folder = args.out / f"train-{size}"
        if not (folder / "model.safetensors").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(size, folder)
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(last_json([args.build / "bin" / "bench_train_step", "--model", folder, *shared]))
            theirs.append(last_json([sys.executable, __file__, "--only", folder, *shared]))
        apart = max(abs(a - b) / b for a, b in zip(ours[0]["losses"], theirs[0]["losses"]))
        if not apart < 1e-4:
            sys.exit(f"{size}: the losses {ours[0]['losses']} and PyTorch's {theirs[0]['losses']} are {apart:.1e} apart")
        a, b = (statistics.median(r["step_ms"] for r in side) for side in (ours, theirs))
        rows.append(f"| {ours[0]['parameters'] / 1e6:.2f} M | {a:.1f} ms | {b:.1f} ms | {b / a:.2f} | "
                    f"{ours[0]['peak_mb']:.0f} MB | {theirs[0]['peak_mb']:.0f} MB | {apart:.0e} |")
        found[size] = {"library": ours, "torch": theirs}
    print(f"{args.batch} sequences of {args.tokens} tokens with a 128x128 picture each, {args.threads} threads, torch "
          f"{theirs[0]['torch']}; medians of {args.rounds}\n")
    print("| parameters | this library | PyTorch eager | times as fast | peak memory | PyTorch's | losses apart |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train_step.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
