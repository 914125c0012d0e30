"""What happens before the model, beside HF tokenizers and transformers: the results first, then the times, in turns.

    python bench/peers/before_the_model.py --model DIR [--program build/bin/bench_pictures_and_text] [--threads 1]
                                           [--rounds 5] [--out FILE.json]

Text: sources of Python's own library and every character of Unicode, about 5 MB, on one thread; the ids must be equal.
Picture: 12 megapixels of noise and colour, in memory, without decoding a file; the bytes of all frames must be equal.
"Frames" is a picture in planes to frames in bytes, which is what the vision tower is given here; "all" adds sorting
RGBRGB... into planes and the floats, which is what transformers returns. DIR needs no weights.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one long text runs on one thread anyway

import numpy as np
from PIL import Image
from tokenizers import Tokenizer
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

WIDTH, HEIGHT = 4032, 3024


def mixed_text(bytes_of_prose):
    pieces, size = [], 0
    for path in sorted(pathlib.Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        pieces.append(path.read_text(encoding="utf8", errors="replace"))
        size += len(pieces[-1])
        if size > bytes_of_prose:
            break
    draw = np.random.default_rng(0)
    scalars = np.array([c for c in range(0x110000) if not 0xD800 <= c < 0xE000], dtype=np.uint32)
    for code in draw.permutation(scalars)[:300000]:
        pieces.append(chr(code) + " " * int(draw.integers(0, 5) == 0))
    return "".join(pieces)


def picture():
    draw = np.random.default_rng(1)
    coarse = Image.fromarray(draw.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.BICUBIC), dtype=np.int16)
    noisy = smooth + draw.integers(-20, 21, smooth.shape, dtype=np.int16)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def timed(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--program", default="build/bin/bench_pictures_and_text")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text-bytes", type=int, default=4_000_000)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()

    text, photo = mixed_text(args.text_bytes), picture()
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    processor = SmolVLMImageProcessorPil.from_pretrained(args.model)
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        size = (work / "text").write_bytes(text.encode())
        (work / "rgb").write_bytes(photo.tobytes())

        def ours():
            command = [args.program, args.model, work / "text", work / "ids", work / "rgb", str(WIDTH), str(HEIGHT),
                       work / "frames", str(args.threads), "2"]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            return {name: values[1] for name, values in found.items()}  # the second: memory and tables are warm

        ours()
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if ids != np.fromfile(work / "ids", dtype=np.int32).tolist():
            sys.exit("the ids differ")
        pixels = processor(images=[[photo]], return_tensors="np")["pixel_values"][0]
        made = np.fromfile(work / "frames", dtype=np.uint8).reshape(pixels.shape)
        if not np.array_equal(np.rint((pixels + 1) * 127.5).astype(np.uint8), made):
            sys.exit("the frames differ")
        print(f"{size / 1e6:.1f} MB of text: {len(ids)} ids equal; {len(made)} frames of {WIDTH}x{HEIGHT}: bytes equal")

        us, them = [], []
        for _ in range(args.rounds):
            us.append(ours())
            them.append({"tokenize_s": timed(lambda: tokenizer.encode(text, add_special_tokens=False))[0],
                         "frames_s": timed(lambda: processor(images=[[photo]], return_tensors="np"))[0]})
    for one in us:
        one["all_s"] = one["planes_s"] + one["frames_s"] + one["values_s"]
    middle = lambda rounds, key: statistics.median(r[key] for r in rounds)
    mb = size / 1e6
    print("\n| | this library | peer | times as fast |\n|---|---|---|---|")
    ours_s, theirs_s = middle(us, "tokenize_s"), middle(them, "tokenize_s")
    print(f"| tokenizer, one thread, MB/s | {mb / ours_s:.1f} | {mb / theirs_s:.2f} | {theirs_s / ours_s:.1f} |")
    theirs_s = middle(them, "frames_s")
    for label, key in (("12 MP photo to frames, ms", "frames_s"), ("the same with planes and floats, ms", "all_s")):
        print(f"| {label} | {1e3 * middle(us, key):.1f} | {1e3 * theirs_s:.0f} | {theirs_s / middle(us, key):.1f} |")
    if args.out:
        args.out.write_text(json.dumps({"threads": args.threads, "text_mb": mb, "library": us, "peer": them}, indent=1))


if __name__ == "__main__":
    main()
