"""How fast llama.cpp (llama-cpp-python) is on the CPU with the same weights: vision tower, prefill and decoding.

    python bench/peers/llama_speed.py --gguf FILE --model DIR --threads 2 [--vision MMPROJ] [--context 1200]
                                      [--new-tokens 32] [--repeat 5]

First the answers: the logits after a few words against transformers in float32 on DIR (cosine at least 0.999 for F16); with
--vision the features of the whole picture's frame, on 512x512 pixels smooth enough that llama.cpp's resizing to 2048 and
back does not show (0.999). The 16 tiles are cut from an enlargement that is not Pillow's, so that their features are not
compared; they cost the same. Prints one JSON object of medians. FILE and MMPROJ: smolvlm quantize --dtype f16 DIR OUT.

Settings: llama.cpp as pip builds it here (for this processor), `threads` threads for prompts and for tokens, blocks of 512
tokens, weights mapped, flash attention where llama.cpp chooses it. A picture is encoded frame by frame (mtmd_encode_chunk),
as llama.cpp's own programs do; --vision times the 17 frames of one 512x512 picture, without cutting it up.
"""
import argparse
import ctypes
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


def cosine(a, b):
    return float(a @ b / (a @ a) ** 0.5 / (b @ b) ** 0.5)


def cosines_with_transformers(folder, logits, features):
    """Of the logits after WORDS and, where given, of the features of `picture`."""
    import numpy as np
    import torch
    import transformers

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        truth = model(input_ids=torch.tensor([WORDS]), use_cache=False).logits[0, -1].double().numpy()
        found = [cosine(truth, np.asarray(logits, dtype=np.float64)[:len(truth)])]
        if features is not None:
            pixels = torch.tensor(picture(512)).permute(2, 0, 1).float() / 127.5 - 1
            mask = torch.ones(1, 32, 32, dtype=torch.bool)
            seen = model.model.vision_model(pixel_values=pixels[None], patch_attention_mask=mask).last_hidden_state
            found.append(cosine(model.model.connector(seen).double().numpy().ravel(), features))
    return found


def picture(size):
    """RGBRGB..., waves so long that enlarging them and making them small again changes next to nothing."""
    import numpy as np

    y, x, c = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    return np.rint(127.5 + 60 * np.sin(x / 17 + c) + 60 * np.cos(y / 23 + x / 90 - c)).astype(np.uint8)


def frames(args, model):
    """(seconds, features) of each frame of the picture in llama.cpp's order: the tiles, then the whole picture."""
    import numpy as np
    from llama_cpp import mtmd_cpp as mtmd

    rgb = picture(512)
    settings = mtmd.mtmd_context_params_default()
    settings.use_gpu, settings.print_timings, settings.n_threads = False, False, args.threads
    context = mtmd.mtmd_init_from_file(args.vision.encode(), model.model, settings)
    bitmap = mtmd.mtmd_bitmap_init(rgb.shape[1], rgb.shape[0], rgb.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
    marker = mtmd.mtmd_default_marker()
    text = mtmd.mtmd_input_text(marker, len(marker), False, True)
    chunks = mtmd.mtmd_input_chunks_init()
    if mtmd.mtmd_tokenize(context, chunks, ctypes.byref(text), (ctypes.c_void_p * 1)(bitmap), 1) != 0:
        sys.exit("llama.cpp: mtmd_tokenize failed")
    found = []
    for n in range(mtmd.mtmd_input_chunks_size(chunks)):
        chunk = mtmd.mtmd_input_chunks_get(chunks, n)
        if mtmd.mtmd_input_chunk_get_type(chunk) != mtmd.MTMD_INPUT_CHUNK_TYPE_IMAGE:
            continue
        start = time.perf_counter()
        if mtmd.mtmd_encode_chunk(context, chunk) != 0:
            sys.exit("llama.cpp: mtmd_encode_chunk failed")
        seconds = time.perf_counter() - start
        numbers = mtmd.mtmd_input_chunk_get_n_tokens(chunk) * model.n_embd()
        features = np.ctypeslib.as_array(mtmd.mtmd_get_output_embd(context), (numbers,)).astype(np.float64)
        found.append((seconds, features))
    mtmd.mtmd_input_chunks_free(chunks)
    mtmd.mtmd_bitmap_free(bitmap)
    mtmd.mtmd_free(context)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--vision", metavar="MMPROJ", help="time the vision tower in this file too")
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
    found = {"version": "llama-cpp-python " + llama_cpp.__version__}
    seen = frames(args, model) if args.vision else None
    if seen:
        found |= {"vision_tile_s": round(statistics.median(s for s, _ in seen), 4), "vision_tiles": len(seen),
                  "vision_all_tiles_s": round(sum(s for s, _ in seen), 4)}
    if not args.no_check:
        model.eval(WORDS)
        logits = model._ctx.get_logits()[:model.n_vocab()]
        for key, value, least in zip(("cosine", "vision_cosine"),
                                     cosines_with_transformers(args.model, logits, seen[-1][1] if seen else None),
                                     (args.least_cosine, 0.999)):
            found[key] = value
            if value < least:
                sys.exit(f"llama.cpp: {key} with transformers is {value:.6f}, expected {least}")
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
    print(json.dumps({**found, "prefill_s": round(statistics.median(prefills[1:]), 4),
                      "decode_tokens_per_s": round(statistics.median(rates[1:]), 2)}))


if __name__ == "__main__":
    main()
