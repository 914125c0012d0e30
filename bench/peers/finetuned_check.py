"""What this library has trained, opened by the others: a fine-tuned folder by transformers, an adapter by PEFT.

    python bench/peers/finetuned_check.py --folder RUN/checkpoint-000300 [--program build/bin/smolvlm]
    python bench/peers/finetuned_check.py --folder BASE --adapter RUN/checkpoint-000060 [--merged RUN/merged]

Compares the logits of some text (and of one frame of noise where the model sees) with `smolvlm trace` on the folder, or on
the merged folder. Exits 1 when they are more than 1e-5 of the largest logit apart. Needs the packages of
tests/golden/requirements.txt, and peft 0.21.2 for an adapter.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
import transformers
from safetensors.torch import load_file, save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--adapter")
    parser.add_argument("--merged")
    parser.add_argument("--program", default="build/bin/smolvlm")
    args = parser.parse_args()
    model = transformers.AutoModelForImageTextToText.from_pretrained(args.folder, dtype=torch.float32).eval()
    config = model.config
    if args.adapter:
        import peft

        model = peft.PeftModel.from_pretrained(model, args.adapter).eval()
    draw = torch.Generator().manual_seed(1)
    vision, special = config.vision_config, config.image_token_id
    tokens = (vision.image_size // vision.patch_size // config.scale_factor) ** 2
    words = torch.randint(3, config.text_config.vocab_size - 20, (24,), generator=draw)
    words[words == special] = 3
    ids = torch.cat([words[:4], torch.full((tokens,), special), words[4:]])[None]
    pixels = torch.randint(0, 256, (1, 1, 3, vision.image_size, vision.image_size), generator=draw).float() / 127.5 - 1
    given = {"input_ids": ids, "pixel_values": pixels}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        save_file(given, work / "in.safetensors")
        subprocess.run([args.program, "trace", "--model", args.merged or args.folder, "--input", work / "in.safetensors",
                        "--output", work / "out.safetensors", "--dtype", "f32"], check=True)
        ours = load_file(work / "out.safetensors")["logits"]
    with torch.no_grad():
        theirs = model(**given, use_cache=False).logits
    apart = float((ours - theirs).abs().max() / theirs.abs().max())
    same = bool((ours.argmax(-1) == theirs.argmax(-1)).all())
    print(f"logits {apart:.1e} of the largest apart, {'the same' if same else 'NOT the same'} most likely tokens")
    sys.exit(not (same and apart < 1e-5))


if __name__ == "__main__":
    main()
