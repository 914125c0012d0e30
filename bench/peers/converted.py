"""What the scripts share that run transformers' modules, converted, in another runtime."""
import argparse
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")


def arguments(about, precisions, **numbers):
    """The parser of a command line: --model, --precision, and whole numbers with their defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", choices=precisions, default="f32")
    for name, default in {"threads": 2, "repeat": 5, **numbers}.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=default)
    return parser


def float_model(args):
    """transformers' model in float32, on as many threads as asked for."""
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    return transformers.AutoModelForImageTextToText.from_pretrained(args.model, dtype=torch.float32,
                                                                    attn_implementation="sdpa").eval()
