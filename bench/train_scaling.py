"""Time and memory of a training step against the batch and against the length of its sequences, with every activation kept
and with activation checkpointing, as a table and a picture.

    python bench/train_scaling.py --model DIR [--build build] [--threads 2] [--out bench/results]

DIR: a model of bench/peers/torch_train_step.py (build/peers/train-3M). Needs matplotlib. Leave the machine alone meanwhile.
"""
import argparse
import json
import pathlib
import subprocess

BATCHES, LENGTHS = (1, 2, 4, 8, 16), (64, 128, 256, 512, 1024)


def step(args, batch, tokens, checkpointing):
    text = subprocess.run([args.build / "bin" / "bench_train_step", "--model", args.model, "--batch", str(batch), "--tokens",
                           str(tokens), "--threads", str(args.threads), "--steps", "10", "--checkpointing",
                           "on" if checkpointing else "off"], check=True, capture_output=True, text=True).stdout
    return json.loads(text)


def draw(found, parameters, path):
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plot
    from matplotlib import ticker

    matplotlib.rcParams.update({"font.size": 9, "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plot.subplots(2, 2, figsize=(8, 5.2), sharex="col", layout="constrained")
    for column, (what, unit) in enumerate((("batch", "sequences of 128 tokens"), ("tokens", "tokens in each of 4 sequences"))):
        for kept, label, color in ((False, "all activations kept", "#1f5fa8"), (True, "checkpointed by layer", "#d1662b")):
            rows = [r for r in found if r["along"] == what and r["checkpointing"] == kept]
            x = [r[what] for r in rows]
            axes[0][column].plot(x, [r["step_ms"] for r in rows], "o-", ms=3.5, color=color, label=label)
            axes[1][column].plot(x, [r["peak_mb"] for r in rows], "o-", ms=3.5, color=color)
        axes[1][column].set_xlabel(unit)
        for axis in axes[:, column]:
            axis.set_xscale("log", base=2)
            axis.set_xticks(x, [str(v) for v in x])
            axis.set_yscale("log")
            for which, steps in (("major", (1, 2, 5)), ("minor", ())):
                getattr(axis.yaxis, f"set_{which}_locator")(ticker.LogLocator(subs=steps or (3, 4, 6, 7, 8, 9)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("")
            axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("ms a step")
    axes[1][0].set_ylabel("peak memory, MB")
    axes[0][0].legend(frameon=False)
    figure.suptitle(f"One training step of a SmolVLM of {parameters / 1e6:.1f} M parameters, a 128x128 picture a sequence")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench/results"))
    args = parser.parse_args()
    found = []
    print("| batch | tokens | ms, kept | ms, checkpointed | MB, kept | MB, checkpointed |\n|---|---|---|---|---|---|")
    for along, cases in (("batch", [(b, 128) for b in BATCHES]), ("tokens", [(4, t) for t in LENGTHS])):
        for batch, tokens in cases:
            pair = [step(args, batch, tokens, on) for on in (False, True)]
            found += [r | {"along": along, "checkpointing": on} for r, on in zip(pair, (False, True))]
            print(f"| {batch} | {tokens} | {pair[0]['step_ms']:.0f} | {pair[1]['step_ms']:.0f} | {pair[0]['peak_mb']:.0f} | "
                  f"{pair[1]['peak_mb']:.0f} |", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "train_scaling.json").write_text("[" + ",\n ".join(json.dumps(r) for r in found) + "]\n")
    draw(found, found[0]["parameters"], args.out / "train_scaling.svg")


if __name__ == "__main__":
    main()
