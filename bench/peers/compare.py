"""This library beside its peers: same weights, same threads, in turns, and how exact each precision is.

    python bench/peers/compare.py --model DIR [--build build] [--threads 2] [--rounds 3] [--out FOLDER]
                                  [f32 bf16 int8 q8_0 q4_0]

First the answers: in float32 every logit of one picture and a few words is compared with transformers
(full_size_check.py); the other precisions are measured against the same numbers (cosine of the image features, cosine
and Kullback-Leibler divergence of the logits); each peer checks its own. Then, `rounds` times, one after the other:
bench_vision_prefill_decode and the peers of that precision, each on one vision tile, a 1200-token prefill and decoding
after it. llama.cpp's vision tower is F16 in each of its rows; ONNX Runtime runs the vision tower alone. Prints Markdown
tables of medians, their spread, ratios, and how much of the machine's own measured peak the library reaches; with --out
also as JSON and as bars (SVG). DIR: make_random_models.py --size 256M. Nothing else should run meanwhile.
"""
import argparse
import json
import pathlib
import platform
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROWS = [("vision_tile_s", "one tile of 512x512, s", False), ("prefill_s", "prefill of 1200 tokens, s", False),
        ("decode_tokens_per_s", "decoding after 1200, tokens/s", True)]


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def last_json(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[1]} failed:\n{done.stderr[-2000:]}{done.stdout[-500:]}")
    return json.loads(done.stdout[done.stdout.index('{'):])


def ours(args, dtype):
    found = last_json([args.build / "bin" / "bench_vision_prefill_decode", "--model", args.model, "--threads",
                       args.threads, "--dtype", dtype, "--prompt", 1200, "--tokens", 32, "--runs", 3])
    return {"vision_tile_s": found["vision_tile"]["ms"] / 1e3, "prefill_s": found["prefill"]["ms"] / 1e3,
            "decode_tokens_per_s": found["decode"]["tokens_per_s"], "path": found["path"],
            "of_peak": [found["vision_tile"]["of_peak"], found["prefill"]["of_peak"], found["decode"]["of_read"]]}


def python(script, args, *more):
    return last_json([sys.executable, HERE / script, "--model", args.model, "--threads", args.threads, "--repeat", 3, *more])


def transformers(dtype):
    def run(args):
        found = python("transformers_speed.py", args, "--dtype", dtype)
        return {**found, "version": f"transformers {found['transformers']}, torch {found['torch']}"}
    return run


def openvino(precision):
    return lambda args: python("openvino_speed.py", args, "--precision", precision)


def onnx(precision):
    return lambda args: python("onnx_speed.py", args, "--precision", precision)


def llama(dtype):
    def run(args):
        folder = args.build / "peers" / f"gguf-{dtype}"
        if not folder.exists():
            subprocess.run([args.build / "bin" / "smolvlm", "quantize", "--dtype", dtype, args.model, folder], check=True)
        return python("llama_speed.py", args, "--gguf", folder / f"model-{dtype.upper()}.gguf", "--vision",
                      folder / "mmproj-F16.gguf", "--least-cosine", {"f16": 0.999, "q8_0": 0.99, "q4_0": 0.9}[dtype])
    return run


PEERS = {"f32": {"transformers": transformers("f32"), "OpenVINO": openvino("f32"), "ONNX Runtime": onnx("f32")},
         "bf16": {"transformers": transformers("bf16"), "OpenVINO": openvino("bf16"), "llama.cpp F16": llama("f16")},
         "int8": {"OpenVINO": openvino("int8"), "ONNX Runtime": onnx("int8")},
         "q8_0": {"llama.cpp Q8_0": llama("q8_0")}, "q4_0": {"llama.cpp Q4_0": llama("q4_0")}}


def accuracy(args, dtype, folder):
    """What `smolvlm trace --dtype` makes of full_size_check.py's inputs, against transformers in float32."""
    import torch
    from safetensors.torch import load_file

    subprocess.run([args.build / "bin" / "smolvlm", "trace", "--model", args.model, "--input", folder / "in.safetensors",
                    "--output", folder / "out.safetensors", "--dtype", dtype], check=True)
    truth, found = ({k: v.double() for k, v in load_file(folder / name).items() if k in ("connector", "logits")}
                    for name in ("transformers.safetensors", "out.safetensors"))
    cosine = {k: float(torch.cosine_similarity(truth[k].flatten(), found[k].flatten(), dim=0)) for k in truth}
    p, q = (torch.log_softmax(side["logits"].flatten(0, -2), -1) for side in (truth, found))
    same = (p.argmax(-1) == q.argmax(-1)).double().mean()
    return {"connector_cosine": cosine["connector"], "logits_cosine": cosine["logits"],
            "logits_kl": float((p.exp() * (p - q)).sum(-1).mean()), "same_best_token": float(same)}


def figure_of(rounds, key):
    values = [r[key] for r in rounds if key in r]
    return (statistics.median(values), min(values), max(values)) if values else None


def cell(x):
    return f"{x[0]:.3g} ({x[1]:.3g} to {x[2]:.3g})" if x else "not timed"


def draw(us, them, path):
    """Bars of seconds, ours and each peer's below it."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot

    matplotlib.rcParams.update({"font.size": 9, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
    bars = []  # label, rounds, colour
    for dtype, rounds in us.items():
        bars.append((f"this library, {dtype}", rounds, "#1f5fa8"))
        bars += [(name if name[-1].isdigit() else f"{name}, {dtype}", found, "#d1662b")
                 for (of, name), found in them.items() if of == dtype]
    figure, axes = plot.subplots(1, 3, figsize=(10, 0.9 + 0.25 * len(bars)), sharey=True, layout="constrained")
    titles = ("one tile, s", "prefill of 1200 tokens, s", "a token after 1200, ms")
    for axis, (key, _, rate), title in zip(axes, ROWS, titles):
        for row, (label, rounds, colour) in enumerate(bars):
            if (value := figure_of(rounds, key)) is not None:
                value = 1e3 / value[0] if rate else value[0]
                axis.barh(row, value, color=colour)
                axis.text(value, row, f" {value:.3g}", va="center")
        axis.set_title(title)
        axis.margins(x=0.2)
    axes[0].set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes[0].invert_yaxis()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precisions", nargs="*", default=list(PEERS), help=f"of {', '.join(PEERS)}; all of them without")
    parser.add_argument("--model", required=True)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    if wrong := [p for p in args.precisions if p not in PEERS]:
        parser.error(f"no precision {wrong[0]}: expected {', '.join(PEERS)}")
    folder = args.build / "peers" / "answers"
    subprocess.run([sys.executable, HERE / "full_size_check.py", "--model", args.model, "--program",
                    args.build / "bin" / "smolvlm", "--keep", folder], check=True)
    exact = {dtype: accuracy(args, dtype, folder) for dtype in args.precisions}
    us, them = {d: [] for d in args.precisions}, {(d, name): [] for d in args.precisions for name in PEERS[d]}
    for _ in range(args.rounds):
        for dtype in args.precisions:
            us[dtype].append(ours(args, dtype))
            for name, run in PEERS[dtype].items():
                them[dtype, name].append(run(args))
    versions = sorted({rounds[0]["version"] for rounds in them.values()})
    print(f"\n{processor()}, {us[args.precisions[0]][0]['path']}, {args.threads} threads; {', '.join(versions)}; "
          f"median of {args.rounds} (lowest to highest)\n")
    print("| | precision | this library | of the machine's peak | peer | | times as fast |\n|---|---|---|---|---|---|---|")
    for n, (key, label, more_is_better) in enumerate(ROWS):
        for dtype in args.precisions:
            a = figure_of(us[dtype], key)
            peak = statistics.median(r["of_peak"][n] for r in us[dtype])
            begin = f"{label} | {dtype} | {cell(a)} | {100 * peak:.0f} % of {'multiply-adds' if n < 2 else 'memory reads'}"
            for name in PEERS[dtype]:
                b = figure_of(them[dtype, name], key)
                ratio = "" if b is None else f"{a[0] / b[0] if more_is_better else b[0] / a[0]:.2f}"
                print(f"| {begin} | {name} | {cell(b)} | {ratio} |")
                begin, label = " | | | ", ""
    print("\n| precision | cosine of image features | of logits | KL divergence of logits | same best token |\n|---|---|---|---|---|")
    for dtype, e in exact.items():
        print(f"| {dtype} | {e['connector_cosine']:.6f} | {e['logits_cosine']:.6f} | {e['logits_kl']:.1e} | "
              f"{100 * e['same_best_token']:.0f} % |")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        peers = {f"{d}: {name}": rounds for (d, name), rounds in them.items()}
        (args.out / "compare.json").write_text(
            json.dumps({"processor": processor(), "library": us, "peers": peers, "accuracy": exact}, indent=1))
        draw(us, them, args.out / "compare.svg")


if __name__ == "__main__":
    main()
