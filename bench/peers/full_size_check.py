"""Full-size shapes against transformers: random weights, a short prompt with one picture frame, every logit compared.

    python bench/peers/full_size_check.py --model DIR [--program build/bin/smolvlm] [--dtype f32] [--keep FOLDER]

Runs `smolvlm trace` on DIR (see make_random_models.py) and transformers in float32 on the same weights, and prints per
tensor the largest difference relative to transformers' largest magnitude, and the program's peak memory. Exits 1 above
the tolerance. Weights of 16 bits are widened exactly on both sides, and arithmetic is float32: bf16 weights cost
accuracy when they are stored, not here. With --keep the inputs and both outputs stay in FOLDER, and a second run takes
transformers' side from there.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from safetensors.torch import load_file, save_file

TOLERANCE = 2e-5  # float32 sums of up to 10368 terms in another order, through up to 51 layers


def inputs(config):
    """One frame of noise between a few words, as the chat template lays them out."""
    vision, draw = config["vision_config"], torch.Generator().manual_seed(7)
    size, tokens = vision["image_size"], (vision["image_size"] // vision["patch_size"] // config["scale_factor"]) ** 2
    frame = [49189, 49152] + [config["image_token_id"]] * tokens + [49189]
    ids = [1, 11126, 42, *frame, 7306, 346, 5125, 451, 2443, 47, 49279, 198, 9519, 9531, 42]
    pixels = torch.randint(0, 256, (1, 1, 3, size, size), generator=draw).float() / 127.5 - 1
    return {"input_ids": torch.tensor([ids]), "pixel_values": pixels}


@torch.no_grad()
def transformers_truth(folder, given):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    out = {}
    model.model.connector.register_forward_hook(lambda m, i, o: out.__setitem__("connector", o.clone()))
    model.model.text_model.norm.register_forward_hook(lambda m, i, o: out.__setitem__("text.norm", o.clone()))
    out["logits"] = model(**given, use_cache=False).logits
    return {name: value.contiguous() for name, value in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--program", default="build/bin/smolvlm")
    parser.add_argument("--dtype", default="f32")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--keep", metavar="FOLDER")
    args = parser.parse_args()
    given = inputs(json.loads((pathlib.Path(args.model) / "config.json").read_text()))
    with tempfile.TemporaryDirectory() as throw_away:
        work = pathlib.Path(args.keep or throw_away)
        work.mkdir(parents=True, exist_ok=True)
        save_file(given, work / "in.safetensors")
        # the program first: a child's peak memory counts what its parent held when it was started
        subprocess.run([args.program, "trace", "--model", args.model, "--input", work / "in.safetensors", "--output",
                        work / "out.safetensors", "--dtype", args.dtype], check=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
        if not (work / "transformers.safetensors").exists():
            save_file(transformers_truth(args.model, given), work / "transformers.safetensors")
        truth = load_file(work / "transformers.safetensors")
        ours = {k: v.float() for k, v in load_file(work / "out.safetensors").items() if k in truth}
    limit = args.tolerance
    worst = 0.0
    for name in truth:
        if name not in ours:
            sys.exit(f"{name}: absent from the program's trace")
        if ours[name].shape != truth[name].shape:
            sys.exit(f"{name}: shape {list(ours[name].shape)}, transformers has {list(truth[name].shape)}")
        difference = float((ours[name] - truth[name]).abs().max() / truth[name].abs().max())
        worst = max(worst, difference)
        print(f"{name:10} {difference:.2e}")
    print(f"worst {worst:.2e} (limit {limit:.0e}), peak memory of the program {peak:.2f} GB")
    sys.exit(worst > limit)


if __name__ == "__main__":
    main()
