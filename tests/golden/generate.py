"""Makes the golden data: `python tests/golden/generate.py [PART]...` (all parts when none is named).

The tests themselves need none of this: they read the committed files. To make them again:
    python3 -m venv golden && golden/bin/pip install -r tests/golden/requirements.txt
    golden/bin/python tests/golden/generate.py
Everything is seeded; package versions are pinned and checked, since the truth is what these versions compute.
manifest.json lists each file with its SHA-256, so that a test can tell a damaged checkout from a failing program.
"""
import importlib
import importlib.metadata
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
sys.dont_write_bytecode = True

import common

PARTS = {
    "unicode": "gen_unicode",      # character classes of the tokenizer's engine
    "traces": "gen_traces",        # tiny models and every intermediate of a float64 run
    "images": "gen_images",        # pictures, their tiles, resize arithmetic
    "tokenizer": "gen_tokenizer",  # token ids of a hard corpus, decodes
    "prompts": "gen_prompts",      # conversations to prompts, and whole answers of the tiny models
    "videos": "gen_videos",        # frames and texts of videos
    "gradients": "gen_gradients",  # loss, gradients, AdamW and adapters of the tiny models
    "quant": "gen_quant",          # block-quantised rows and the values in them
    "real": "real_weights",        # SmolLM2-135M-Instruct's logits and greedy text
}


def check_versions():
    for package, wanted in common.requirements().items():
        found = importlib.metadata.version(package).split("+")[0]
        if found != wanted:
            sys.exit(f"{package} is {found}, tests/golden/requirements.txt pins {wanted}")


def write_manifest():
    ignored = {"manifest.json", "README.md"}
    files = sorted(p for p in common.ROOT.rglob("*") if p.is_file() and p.name not in ignored and p.suffix != ".pyc")
    data = [p for p in files if p.suffix not in (".py", ".txt") or p.parent != common.ROOT]
    common.write_json("manifest.json", {
        "generator": "tests/golden/generate.py", "seed": common.SEED, "packages": common.requirements(),
        "files": {str(p.relative_to(common.ROOT)): {"bytes": p.stat().st_size, "sha256": common.sha256(p.read_bytes())}
                  for p in data}}, indent=0)
    print(f"{len(data)} files, {sum(p.stat().st_size for p in data) / 1e6:.1f} MB")


def main():
    wanted = sys.argv[1:] or list(PARTS)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        sys.exit(f"no such part: {' '.join(unknown)}; parts: {' '.join(PARTS)}")
    check_versions()
    for part in wanted:
        print(part, flush=True)
        importlib.import_module(PARTS[part]).generate()
    write_manifest()


if __name__ == "__main__":
    main()
