"""From the pixels of a 512x512 photo to the first token: this library beside OpenVINO, and the memory that each takes.

    python bench/peers/photo_to_first_token.py --model DIR [--build build] [--threads 2] [--rounds 3] [--out FILE.json]
                                               [f32 bf16 int8]

The photo becomes 17 frames, the checkpoint's default, and a short question makes about 1140 tokens of prompt. Ours is
`smolvlm generate --json`: preprocess_s + vision_s + prefill_s of a process that has just started. OpenVINO's is the sum of
transformers' Pillow-backed image processor, 17 tiles one by one through the compiled vision part (its faster form; int8:
bytes for weights and activations), and the decoder compiled for exactly this prompt, without keeping a cache (int8: bytes
for weights); it runs everything once before it is timed. Its models are read from files: float16 weights for bf16, as
optimum-intel exports them; the compiled models are kept (CACHE_DIR) and only read by the runs that count. Hints:
openvino_speed.py. Peak memory is VmHWM of a fresh process, OpenVINO's with no other package than numpy in it, the pixels
being read from a file.

First the answers: the same ids for the prompt; OpenVINO's logits against transformers in float32 (cosine at least 0.999;
bf16 0.99, int8 0.97); our first token is transformers' in f32, and said to be so or not in bf16 and int8. Prints one JSON
object of medians, lowest and highest.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

from converted import float_model

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[1] / "tests" / "golden")]
QUESTION = "What is in this picture?"
LEAST_COSINE = {"f32": 0.999, "bf16": 0.99, "int8": 0.97}


def photo():
    """Waves, edges and noise."""
    from PIL import Image

    y, x, c = np.meshgrid(np.arange(512), np.arange(512), np.arange(3), indexing="ij")
    waves = 127 + 50 * np.sin(x / 31 + c) + 40 * np.cos(y / 19 - c) + 30 * ((x // 60 + y // 80) % 2)
    return Image.fromarray(np.clip(waves + np.random.default_rng(3).normal(0, 6, waves.shape), 0, 255).astype(np.uint8))


def prompt_ids(folder, grid):
    import gen_prompts  # transformers' prompt expansion, without the video processor that the whole processor asks for
    from tokenizers import Tokenizer

    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    seq_len = json.loads((folder / "processor_config.json").read_text())["image_seq_len"]
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    text = gen_prompts.expand(gen_prompts.render(template, messages, True), [grid], seq_len)
    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids


def write_truth(args, work, pixels, ids):
    """transformers' logits of the first token."""
    import torch

    with torch.no_grad():
        out = float_model(args)(input_ids=torch.tensor([ids]), pixel_values=torch.tensor(pixels)[None], use_cache=False,
                                logits_to_keep=1)
    np.save(work / "truth.npy", out.logits[0, -1].numpy())


def write_models(args, precision, folder, pixels, ids, order):
    """OpenVINO's files: pixels of one tile -> features; ids, all features and their order -> logits of the last id."""
    import openvino
    import torch
    from openvino_speed import compressed, modules, vision_part
    from transformers.models.llama import modeling_llama

    model = float_model(args)
    vision, _ = modules(model, torch)

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.text, self.head = model.model.text_model, model.lm_head

        def forward(self, ids, features, order):
            modeling_llama.create_causal_mask = lambda **_: None  # attention is told that it is causal
            rows = torch.cat([self.text.embed_tokens(ids)[0], features])[order][None]
            return self.head(self.text(inputs_embeds=rows, use_cache=False).last_hidden_state[:, -1:])

    with torch.no_grad():
        tiles = [torch.tensor(pixels[n:n + 1]) for n in range(0, len(pixels), 5)]
        vision_model = vision_part(vision, tiles, precision)
        width, images = model.config.text_config.hidden_size, sum(n >= len(ids) for n in order)
        given = (torch.tensor([ids]), torch.zeros(images, width), torch.tensor(order))
        text_model = openvino.convert_model(Reader().eval(), example_input=given, input=[list(g.shape) for g in given])
    folder.mkdir(parents=True, exist_ok=True)
    for name, converted in (("vision", vision_model), ("text", compressed(text_model, precision))):
        openvino.save_model(converted, folder / f"{name}.xml", compress_to_fp16=precision == "bf16")


def openvino_alone(args):
    """Prints seconds of the vision part and of the prefill, and this process's peak memory; the logits go to a file."""
    import openvino
    from openvino_speed import settings

    work = args.only
    pixels, ids, order = (np.load(work / f"{name}.npy") for name in ("pixels", "ids", "order"))
    core, precision = openvino.Core(), args.precisions[0]
    hints = {**settings(core, precision, args.threads), "CACHE_DIR": str(work / f"openvino-{precision}" / "compiled")}
    vision, text = (core.compile_model(work / f"openvino-{precision}" / f"{name}.xml", "CPU", hints)
                    for name in ("vision", "text"))

    def run(tiles):
        start = time.perf_counter()
        seen = [vision(pixels[n:n + 1])[0].copy() for n in range(tiles)]
        between = time.perf_counter()
        features = np.concatenate((seen * len(pixels))[:len(pixels)]).reshape(-1, seen[0].shape[-1])
        logits = text([ids[None], features, order])[0]
        return between - start, time.perf_counter() - between, logits

    run(1)
    vision_s, prefill_s, logits = run(len(pixels))
    np.save(work / f"openvino-{precision}" / "logits.npy", logits)
    status = pathlib.Path("/proc/self/status").read_text()
    peak = 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    print(json.dumps({"version": "openvino " + openvino.__version__.split("-")[0], "vision_s": vision_s,
                      "prefill_s": prefill_s, "peak_memory_bytes": peak}))


def last_json(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr[-2000:]}{done.stdout[-500:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def summary(rounds):
    for r in rounds:
        r["first_token_s"] = r["preprocess_s"] + r["vision_s"] + r["prefill_s"]
    out = {}
    for key in ("first_token_s", "preprocess_s", "vision_s", "prefill_s", "peak_memory_bytes"):
        values = [r[key] for r in rounds]
        out[key] = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precisions", nargs="*", default=list(LEAST_COSINE), help="of f32, bf16, int8; all without")
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--program", type=pathlib.Path, help="default: BUILD/bin/smolvlm")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--only", type=pathlib.Path, help="a folder: OpenVINO alone, used by this script itself")
    args = parser.parse_args()
    if wrong := [p for p in args.precisions if p not in LEAST_COSINE]:
        parser.error(f"no precision {wrong[0]}: expected {', '.join(LEAST_COSINE)}")
    if args.only:
        return openvino_alone(args)
    if not args.model:
        parser.error("--model is needed")
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    work = args.build / "peers" / "photo"
    work.mkdir(parents=True, exist_ok=True)
    picture, processor = photo(), SmolVLMImageProcessorPil.from_pretrained(args.model)
    picture.save(work / "photo.png")

    def preprocess():
        start = time.perf_counter()
        made = processor(images=[[picture]], return_tensors="np", return_row_col_info=True)
        return time.perf_counter() - start, made

    _, made = preprocess()
    pixels = np.ascontiguousarray(made["pixel_values"][0], dtype=np.float32)
    ids = prompt_ids(args.model, [int(made["rows"][0][0]), int(made["cols"][0][0])])
    image = json.loads((args.model / "config.json").read_text())["image_token_id"]
    order, seen = [], 0
    for n, token in enumerate(ids):
        order.append(len(ids) + seen if token == image else n)
        seen += token == image
    for name, values in (("pixels", pixels), ("ids", np.array(ids, np.int64)), ("order", np.array(order, np.int64))):
        np.save(work / f"{name}.npy", values)
    if not (work / "truth.npy").exists():
        write_truth(args, work, pixels, ids)
    truth = np.load(work / "truth.npy").astype(np.float64)
    for precision in args.precisions:
        if not (work / f"openvino-{precision}" / "text.xml").exists():
            write_models(args, precision, work / f"openvino-{precision}", pixels, ids, order)

    def ours(precision):
        found = last_json([args.program or args.build / "bin" / "smolvlm", "generate", "--model", args.model, "--image",
                           work / "photo.png", "--prompt", QUESTION, "--json", "--max-new-tokens", 1, "--ignore-eos",
                           "--dtype", precision, "--threads", args.threads])
        if found["prompt_tokens"] != len(ids) or found["image_tokens"] != seen:
            sys.exit(f"{found['prompt_tokens']} ids of prompt, {found['image_tokens']} of pictures; transformers has "
                     f"{len(ids)} and {seen}")
        same = found["ids"][0] == int(truth.argmax())
        if precision == "f32" and not same:
            sys.exit(f"the first token is {found['ids'][0]}, transformers' is {truth.argmax()}")
        return {**found["timings"], "peak_memory_bytes": found["peak_memory_bytes"], "same_first_token": same}

    def theirs(precision):
        preprocess_s, _ = preprocess()
        found = last_json([sys.executable, HERE / "photo_to_first_token.py", "--only", work, "--threads", args.threads,
                           precision])
        logits = np.load(work / f"openvino-{precision}" / "logits.npy").astype(np.float64).ravel()
        cosine = float(truth @ logits / np.linalg.norm(truth) / np.linalg.norm(logits))
        if not cosine > LEAST_COSINE[precision]:
            sys.exit(f"openvino {precision}: the first token's logits have cosine {cosine:.6f} with transformers'")
        return {**found, "preprocess_s": preprocess_s, "cosine": cosine,
                "same_first_token": bool(logits.argmax() == truth.argmax())}

    for precision in args.precisions:
        theirs(precision)  # compiles
    us, them = {p: [] for p in args.precisions}, {p: [] for p in args.precisions}
    for _ in range(args.rounds):
        for precision in args.precisions:
            us[precision].append(ours(precision))
            them[precision].append(theirs(precision))
    found = {"threads": args.threads, "frames": len(pixels), "prompt_tokens": len(ids), "rounds": args.rounds}
    for precision in args.precisions:
        a, b = summary(us[precision]), summary(them[precision])
        first = them[precision][0]
        found["version"] = first["version"]
        found[precision] = {
            "library": {**a, "same_first_token": us[precision][0]["same_first_token"]},
            "openvino": {**b, "same_first_token": first["same_first_token"], "cosine": first["cosine"]},
            "of_openvinos_time": a["first_token_s"]["median"] / b["first_token_s"]["median"],
            "of_openvinos_memory": a["peak_memory_bytes"]["median"] / b["peak_memory_bytes"]["median"]}
    text = json.dumps(found, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
