"""This library beside transformers (PyTorch), float32, same weights, same threads, in turns.

    python bench/peers/compare.py --model DIR [--build build] [--threads 2] [--rounds 3] [--out FOLDER]

First the answers: full_size_check.py compares every logit of one picture and a few words. Then, `rounds` times, one after
the other: bench_vision_prefill_decode and transformers_speed.py, each on one vision tile, a 1200-token prefill and
decoding after it. Prints a Markdown table of medians, their spread, the ratio, and how much of the machine's own measured
peak the library reaches; with --out also as JSON. DIR: make_random_models.py --size 256M. Nothing else should run meanwhile.
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
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(text[text.index("{"):])


def ours(args):
    found = last_json([args.build / "bin" / "bench_vision_prefill_decode", "--model", args.model, "--threads",
                       str(args.threads), "--dtype", "f32", "--prompt", "1200", "--tokens", "32", "--runs", "3"])
    return {"vision_tile_s": found["vision_tile"]["ms"] / 1e3, "prefill_s": found["prefill"]["ms"] / 1e3,
            "decode_tokens_per_s": found["decode"]["tokens_per_s"], "path": found["path"],
            "of_peak": [found["vision_tile"]["of_peak"], found["prefill"]["of_peak"], found["decode"]["of_read"]]}


def theirs(args):
    return last_json([sys.executable, HERE / "transformers_speed.py", "--model", args.model, "--threads",
                      str(args.threads), "--repeat", "3"])


def figure(rounds, key):
    values = [r[key] for r in rounds]
    return statistics.median(values), min(values), max(values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    subprocess.run([sys.executable, HERE / "full_size_check.py", "--model", args.model, "--program",
                    args.build / "bin" / "smolvlm"], check=True)
    us, them = [], []
    for _ in range(args.rounds):
        us.append(ours(args))
        them.append(theirs(args))
    versions = f"transformers {them[0]['transformers']}, torch {them[0]['torch']}"
    print(f"\n{processor()}, {us[0]['path']}, {args.threads} threads, float32; {versions}; "
          f"median of {args.rounds} (lowest to highest)\n")
    print("| | this library | transformers | times as fast | of the machine's peak |\n|---|---|---|---|---|")
    for n, (key, label, more_is_better) in enumerate(ROWS):
        a, b = figure(us, key), figure(them, key)
        ratio = a[0] / b[0] if more_is_better else b[0] / a[0]
        peak = statistics.median(r["of_peak"][n] for r in us)
        cells = [f"{x[0]:.3g} ({x[1]:.3g} to {x[2]:.3g})" for x in (a, b)]
        print(f"| {label} | {cells[0]} | {cells[1]} | {ratio:.2f} | {100 * peak:.0f} % of "
              f"{'multiply-adds' if n < 2 else 'memory reads'} |")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "compare.json").write_text(json.dumps({"processor": processor(), "library": us, "peer": them}, indent=1))


if __name__ == "__main__":
    main()
