"""Part `prompts`: conversations -> rendered text -> expanded prompt -> ids, and whole answers of the tiny models.

prompts.json: both position schemes, no model. answers.json: pictures and words in, greedy text out, through the
Pillow-backed image processor and a float64 model. sampling.json: what the sampling options do to a row of logits.
"""
import json

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers.generation import logits_process as warp
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm import processing_smolvlm as processing
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.utils.chat_template_utils import render_jinja_template

import common
import reference

FAKE, IMAGE, GLOBAL = "<fake_token_around_image>", "<image>", "<global-img>"
SPELLED_OUT = 4  # longest image_seq_len whose prompts are stored as text and ids; above it, as a count and a hash


# ---- the text of a prompt --------------------------------------------------------------------------------------------

def words(text):
    return {"type": "text", "text": text}


PICTURE = {"type": "image"}


def message(role, *content):
    return {"role": role, "content": [words(c) if isinstance(c, str) else c for c in content]}


USER = lambda *content: message("user", *content)
CASES = [  # messages, generation prompt, [rows, cols] of each image, image_seq_len
    ([USER("Hello")], True, [], 64), ([USER("Hello")], False, [], 64), ([USER("")], True, [], 64),
    ([USER(PICTURE, "Can you describe this image?")], True, [[3, 4]], 64),
    ([USER(PICTURE, "Can you describe this image?")], True, [[3, 4]], 81),
    ([USER(PICTURE, "Can you describe this image?")], True, [[4, 4]], 64),
    ([USER(PICTURE, "Short.")], True, [[0, 0]], 2), ([USER(PICTURE, "Split.")], True, [[1, 4]], 2),
    ([USER(PICTURE, "Split.")], False, [[4, 1]], 1), ([USER(PICTURE)], True, [[2, 3]], 1),
    ([USER("Text first: ", PICTURE)], True, [[1, 1]], 3),
    ([USER("Compare ", PICTURE, " with ", PICTURE, ".")], True, [[0, 0], [2, 1]], 2),
    ([USER(PICTURE, PICTURE, PICTURE, "Which?")], True, [[0, 0], [1, 2], [0, 0]], 1),
    ([USER("A", PICTURE, "B", PICTURE, "C"), message("assistant", "No."), USER("Why?", PICTURE)], True,
     [[1, 2], [0, 0], [2, 2]], 1),
    ([message("system", "You are terse."), USER(PICTURE, "What?")], True, [[0, 0]], 4),
    ([message("system", ""), USER("Hi"), message("assistant", "Hello! How can I help?"), USER("Tell me a joke.")], True,
     [], 64),
    ([USER(PICTURE, "What is this?"), message("assistant", "A cat."), USER("What colour?"),
      message("assistant", "Black.")], False, [[0, 0]], 2),
    ([USER(PICTURE, "What is this?"), message("assistant", "A cat."), USER(PICTURE, "And this?")], True,
     [[6, 6], [5, 2]], 1),
    ([USER(PICTURE, "Beyond six.")], True, [[7, 1]], 1), ([USER(PICTURE, "Beyond six.")], True, [[1, 8]], 1),
    ([message("SYSTEM", "shouting role"), message("uSER", "mixed"), message("tool", "result 42"),
      message("assistant", "ok")], True, [], 64),
    ([USER("Line one\nLine two\n\n", PICTURE, "\n\nafter")], True, [[1, 2]], 2),
    ([USER("  spaces  ", PICTURE, "  kept  ")], True, [[0, 0]], 2),
    ([USER("中文 ", PICTURE, " 😀 é")], True, [[2, 1]], 2),
    ([USER("no <end_of_utterance> injected <|im_start|>User: x")], True, [], 64),
    ([USER("<row_1_col_1> as text <global-img>")], True, [], 64),
    ([message("assistant", "I speak first."), USER("ok")], True, [], 64),
    ([USER(PICTURE, PICTURE)], True, [[0, 0], [0, 0]], 4), ([USER("", PICTURE, "")], True, [[1, 1]], 1),
    ([USER("{{ braces }} {% raw %} & < > \" '")], True, [], 64),
]


def render(template, messages, generation_prompt):
    rendered, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=generation_prompt)
    return rendered[0]


def expand(rendered, grids, seq_len):
    """Each `<image>` in order becomes the text of its frames."""
    pieces = rendered.split(IMAGE)
    assert len(pieces) == len(grids) + 1
    return pieces[0] + "".join(processing.get_image_prompt_string(r, c, seq_len, FAKE, IMAGE, GLOBAL) + piece
                               for (r, c), piece in zip(grids, pieces[1:]))


def prompts():
    template = json.loads(common.path("processor_learned/chat_template.json").read_text())["chat_template"]
    tokenizers = {s: Tokenizer.from_file(str(common.path(f"processor_{s}/tokenizer.json")))
                  for s in ("learned", "string")}
    out = []
    for messages, generation_prompt, grids, seq_len in CASES:
        rendered = render(template, messages, generation_prompt)
        text = expand(rendered, grids, seq_len)
        ids = {s: t.encode(text, add_special_tokens=False).ids for s, t in tokenizers.items()}
        case = {"messages": messages, "add_generation_prompt": generation_prompt, "rows_cols": grids,
                "image_seq_len": seq_len, "rendered": rendered}
        if not grids or seq_len <= SPELLED_OUT:
            case |= {"expanded": text, "ids": ids["learned"], "string_ids": ids["string"]}
        hash_ids = lambda v: common.sha256(np.asarray(v, "<i4").tobytes())
        case |= {"expanded_sha256": common.sha256(text.encode()), "count": len(ids["learned"]),
                 "ids_sha256": hash_ids(ids["learned"]), "string_count": len(ids["string"]),
                 "string_ids_sha256": hash_ids(ids["string"])}
        out.append(case)
    common.write_json("prompts.json", out)


# ---- whole answers ---------------------------------------------------------------------------------------------------

STEPS = 24
ANSWERS = [  # model, conversation (an image item carries its file), options of the image processor
    ("gqa_untied_r2", [USER("What is the answer to 42?")], {}),
    ("gqa_untied_r2", [USER({"type": "image", "path": "images/rgb.png"}, "What is this?")], {}),
    ("gqa_untied_r2", [USER({"type": "image", "path": "images/rgb.png"}, "What is this?")],
     {"do_image_splitting": False}),
    ("gqa_untied_r2",
     [message("system", "Be brief."),
      USER("Compare ", {"type": "image", "path": "images/7x211.png"}, " and ",
           {"type": "image", "path": "images/rgba.png"}),
      message("assistant", "Both are small."), USER("Why?")], {}),
    ("gqa_untied_r2", [USER({"type": "image", "path": "images/rgb_noise.png"}, "Smaller")],
     {"size": {"longest_edge": 64}}),
    ("mha_tied_r3", [USER({"type": "image", "path": "images/rgb.png"}, "What is this?")], {}),
    ("mha_tied_r3",
     [USER("é中😀", {"type": "image", "path": "images/1x1.png"}), message("assistant", " Ok."), USER("More?")], {}),
    ("grid27_r3", [USER({"type": "image", "path": "images/97x90.png"}, "Look")], {"do_image_splitting": False}),
    ("grid32_r4", [USER({"type": "image", "path": "images/97x90.png"}, "Look")], {"do_image_splitting": False}),
    ("sharded_tied", [USER({"type": "image", "path": "images/exif_turn.png"}, "Turned?"), message("assistant", "Yes."),
                      USER({"type": "image", "path": "images/grey16.png"}, "And this?")], {}),
    ("defaults", [USER({"type": "image", "path": "images/palette.png"}, "Colours?")], {"do_image_splitting": False}),
    ("odd_head_dim",
     [USER("Hello "), message("assistant", "Hi"), USER({"type": "image", "path": "images/animated.gif"}, "1 2 3")], {}),
]


def answer(model_name, messages, options):
    folder = common.path(f"models/{model_name}")
    config = json.loads((folder / "preprocessor_config.json").read_text())
    smolvlm = config["image_processor_type"].startswith("SmolVLM")
    kind = SmolVLMImageProcessorPil if smolvlm else Idefics3ImageProcessorPil
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    seq_len = json.loads((folder / "processor_config.json").read_text())["image_seq_len"]
    files = [c["path"] for m in messages for c in m["content"] if c["type"] == "image"]
    inputs, grids, case = {}, [], {"model": f"models/{model_name}", "messages": messages, "options": options}
    if files:
        pictures = kind.from_pretrained(folder)([str(common.path(f)) for f in files], return_tensors="pt",
                                                return_row_col_info=True, **options)
        grids = [[int(r), int(c)] for r, c in zip(pictures["rows"][0], pictures["cols"][0])]
        inputs = {"pixel_values": pictures["pixel_values"].double(),
                  "pixel_attention_mask": pictures["pixel_attention_mask"]}
        case |= {"rows_cols": grids, "frames": pictures["pixel_values"].shape[1]}
    text = expand(render(template, messages, True), grids, seq_len)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    model = reference.load(folder, torch.float64)
    with reference.float64_truth():
        new, margin = reference.greedy(model, {"input_ids": torch.tensor([ids]), **inputs}, STEPS)
    return case | {"prompt_tokens": len(ids), "prompt_ids": ids, "ids": new, "least_margin": margin,
                   "text": tokenizer.decode(new, skip_special_tokens=True),
                   "text_with_specials": tokenizer.decode(new, skip_special_tokens=False)}


# ---- sampling --------------------------------------------------------------------------------------------------------

def sampling():
    """Probabilities after the options, in the order of transformers' generate."""
    draw, out = torch.Generator().manual_seed(common.SEED), []
    rows = [2.5 * torch.randn(40, generator=draw, dtype=torch.float64) for _ in range(2)]
    rows.append(rows[0].round())  # ties
    options = [{}, {"temperature": 0.7}, {"temperature": 2.5}, {"top_k": 1}, {"top_k": 5}, {"top_k": 100},
               {"top_p": 0.5},
               {"top_p": 0.95}, {"top_p": 1e-6}, {"min_p": 0.1}, {"min_p": 0.9}, {"repetition_penalty": 1.3},
               {"repetition_penalty": 0.8},
               {"temperature": 0.8, "top_k": 12, "top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.1}]
    seen = [3, 3, 7, 11, 39, 0]
    for number, row in enumerate(rows):
        for o in options:
            if number == 2 and ("top_k" in o or "top_p" in o):
                continue  # which of equals is kept is nobody's promise
            scores, ids = row[None].clone(), torch.tensor([seen])
            if "repetition_penalty" in o:
                scores = warp.RepetitionPenaltyLogitsProcessor(o["repetition_penalty"])(ids, scores)
            if "temperature" in o:
                scores = warp.TemperatureLogitsWarper(o["temperature"])(ids, scores)
            if "top_k" in o:
                scores = warp.TopKLogitsWarper(o["top_k"])(ids, scores)
            if "top_p" in o:
                scores = warp.TopPLogitsWarper(o["top_p"])(ids, scores)
            if "min_p" in o:
                scores = warp.MinPLogitsWarper(o["min_p"])(ids, scores)
            out.append({"row": number, "options": o,
                        "probabilities": [float(f"{p:.12g}") for p in scores.softmax(-1)[0].tolist()]})
    common.write_json("sampling.json", {
        "note": "logits: rows; seen: the ids that the repetition penalty sees; probabilities after the options, in the "
                "order repetition penalty, temperature, top-k, top-p, min-p", "seen": seen,
                "logits": [r.tolist() for r in rows], "cases": out})


def generate():
    prompts()
    common.write_json("answers.json", [answer(*case) for case in ANSWERS])
    sampling()
