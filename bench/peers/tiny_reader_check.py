"""The tiny reader in transformers: the same folder, the same pictures, the same tokens.

    build/bin/10_tiny_reader draw all pictures --count 100
    python3 bench/peers/tiny_reader_check.py pictures [--model examples/tiny-reader] [--cli build/bin/smolvlm]

Asks the first question about every picture of a folder that 10_tiny_reader drew, here and in transformers (greedy, float32),
and compares the ids of the answers. Needs: pip install torch transformers==5.23.0 pillow. Exit code 1 when any answer differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys

import torch
import transformers
from PIL import Image
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"))
import gen_prompts  # transformers' prompt expansion, without the video processor that the whole processor asks for


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=pathlib.Path)
    parser.add_argument("--model", default="examples/tiny-reader")
    parser.add_argument("--cli", default="build/bin/smolvlm")
    parser.add_argument("--max-new-tokens", type=int, default=100)
    options = parser.parse_args()

    folder = pathlib.Path(options.model)
    pictures_to_frames = SmolVLMImageProcessorPil.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    seq_len = json.loads((folder / "processor_config.json").read_text())["image_seq_len"]
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    asked = different = 0
    for line in (options.pictures / "chats.jsonl").read_text().splitlines():
        image, text = json.loads(line)["messages"][0]["content"]
        path = options.pictures / image["path"]
        ours = json.loads(subprocess.run(
            [options.cli, "generate", "--model", options.model, "--image", path, "--prompt", text["text"], "--json",
             "--max-new-tokens", str(options.max_new_tokens)], check=True, capture_output=True).stdout)
        frames = pictures_to_frames([str(path)], return_tensors="pt", return_row_col_info=True)
        grid = [[int(frames["rows"][0][0]), int(frames["cols"][0][0])]]
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text["text"]}]}]
        prompt = gen_prompts.expand(gen_prompts.render(template, messages, True), grid, seq_len)
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        inputs |= {name: frames[name] for name in ("pixel_values", "pixel_attention_mask")}
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=options.max_new_tokens, do_sample=False)
        theirs = out[0, inputs["input_ids"].shape[1]:].tolist()
        asked += 1
        if ours["ids"] != theirs:
            different += 1
            print(f"{path.name}: {text['text']} here {ours['text']!r}, "
                  f"transformers {tokenizer.decode(theirs, skip_special_tokens=True)!r}")
    print(f"{asked} questions, {different} answers differ (transformers {transformers.__version__}, torch {torch.__version__})")
    sys.exit(different > 0)


main()
