"""The tiny random-weight model folders that the traces run on: complete Hugging Face folders of a few kilobytes.

Each has config.json, safetensors, generation_config.json and processor files with a byte-level tokenizer of its own,
so that a test can load one exactly as it would a released checkpoint, from picture and words to the answer.
Between them they cover what released configs differ in; `why` says what each one is there for.
"""
import json
import math

import torch
from safetensors.torch import save_file

import common

CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")

GRID = 4  # row/column tokens up to 4x4 in the learned scheme


# ---- tokenizer ------------------------------------------------------------------------------------------------------

def byte_characters():
    """GPT-2's printable stand-in for each byte value."""
    printable = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    out, extra = {}, 0
    for b in range(256):
        out[b] = chr(b) if b in printable else chr(256 + extra)
        extra += b not in printable
    return out


def special_tokens(scheme):
    """Added tokens after the base vocabulary, in the order of the released tokenizers."""
    if scheme == "string":
        return ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    cells = [f"<row_{r}_col_{c}>" for r in range(1, GRID + 1) for c in range(1, GRID + 1)]
    return ["<global-img>", *cells, "<fake_token_around_image>", "<image>", "<|reserved_special_token_0|>",
            "<end_of_utterance>"]


def tokenizer_json(scheme):
    """A byte-level BPE with every byte and a dozen merges, in SmolLM2's layout. Returns (dict, {token: id})."""
    chars = byte_characters()
    newline, space = chars[10], chars[32]
    merges = [(newline, newline), ("h", "e"), ("t", "he"), (space, "t"), (space, "a"), ("i", "n"), (space + "t", "he"),
              ("o", "u"), ("A", "s"), ("As", "s"), ("U", "s"), ("Us", "e")]
    base = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *chars.values(), *(a + b for a, b in merges)]
    vocab = {token: i for i, token in enumerate(base)}
    ids = dict(vocab)
    for token in special_tokens(scheme):
        ids[token] = len(ids)
    added = base[:3] + special_tokens(scheme)
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": ids[t], "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t in added],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocab, "merges": [f"{a} {b}" for a, b in merges]},
    }, ids


def write_processor(folder, scheme, image_size, image_seq_len, processor):
    tokenizer, ids = tokenizer_json(scheme)
    token = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>",
             "unk_token": "<|endoftext|>"}
    files = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048,
                                  "clean_up_tokenization_spaces": False, **token},
        "special_tokens_map.json": token,
        "chat_template.json": {"chat_template": CHAT_TEMPLATE},
        "processor_config.json": {"image_seq_len": image_seq_len, "processor_class": processor + "Processor"},
        "preprocessor_config.json": {
            "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True,
            "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
            "image_processor_type": processor + "ImageProcessor", "max_image_size": {"longest_edge": image_size},
            "processor_class": processor + "Processor", "resample": 1, "rescale_factor": 0.00392156862745098,
            "size": {"longest_edge": 3 * image_size}},
    }
    for name, value in files.items():
        common.path(f"{folder}/{name}").write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")
    return ids


# ---- models ---------------------------------------------------------------------------------------------------------
# `vision` and `text` are written to config.json word for word (plus what `build` adds from the tokenizer); an absent
# key takes the default of transformers' class. style "5": as transformers 5 writes it; "4": as the released files are.

MODELS = {
    "gqa_untied_r2": dict(
        why="the plain case: grouped queries, own head, 8x8 patches, learned positions, config in 5.x style",
        kind="smolvlm", style="5", scheme="learned", dtype="F32", scale=2, tied=False, theta=100000.0,
        vision=dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=32,
                    patch_size=4),
        text=dict(hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=6,
                  num_key_value_heads=2, head_dim=8)),
    "mha_tied_r3": dict(
        why="idefics3 in 4.x style, head tied, string positions, rope_theta 273768, 16 vision heads by default, "
            "6x6 patches",
        kind="idefics3", style="4", scheme="string", dtype="F32", scale=3, tied=True, theta=273768.0,
        vision=dict(hidden_size=32, intermediate_size=36, num_hidden_layers=2, image_size=24, patch_size=4),
        text=dict(hidden_size=40, intermediate_size=56, num_hidden_layers=2, num_attention_heads=5,
                  num_key_value_heads=5)),
    "grid27_r3": dict(
        why="27x27 patches of a 55 pixel frame (one pixel row and column left over, as 384/14 leaves 6), F16 weights",
        kind="idefics3", style="4", scheme="string", dtype="F16", scale=3, tied=False, theta=273768.0,
        vision=dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=55,
                    patch_size=2),
        text=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=4)),
    "grid32_r4": dict(
        why="32x32 patches, pixel shuffle by 4, BF16 weights, as the small models have",
        kind="smolvlm", style="5", scheme="learned", dtype="BF16", scale=4, tied=False, theta=100000.0,
        vision=dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=64,
                    patch_size=2),
        text=dict(hidden_size=36, intermediate_size=48, num_hidden_layers=2, num_attention_heads=9,
                  num_key_value_heads=3)),
    "sharded_tied": dict(
        why="two shards and an index, tied head absent from the file, BF16, rms_norm_eps 1e-6, wide grouping (8:1)",
        kind="smolvlm", style="5", scheme="learned", dtype="BF16", scale=4, tied=True, theta=130000.0, shards=2,
        vision=dict(hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32,
                    patch_size=4),
        text=dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=8,
                  num_key_value_heads=1, rms_norm_eps=1e-6)),
    "defaults": dict(
        why="a 4.x config that leaves out all it can: 12 vision layers, 16 vision heads, patch 32, 32 text heads, "
            "scale_factor 2, rope_theta 10000 and both eps come from the class; left-over keys lie about",
        kind="idefics3", style="4", scheme="learned", dtype="BF16", scale=None, tied=None, theta=None,
        vision=dict(hidden_size=32, intermediate_size=20, image_size=64),
        text=dict(hidden_size=64, intermediate_size=24, num_hidden_layers=2)),
    "odd_head_dim": dict(
        why="head_dim that is not hidden_size / heads, one vision head, smolvlm in 4.x style, mixed stored dtypes",
        kind="smolvlm", style="4", scheme="string", dtype="MIXED", scale=2, tied=False, theta=50000.0,
        vision=dict(hidden_size=20, intermediate_size=28, num_hidden_layers=2, num_attention_heads=1, image_size=30,
                    patch_size=5),
        text=dict(hidden_size=30, intermediate_size=36, num_hidden_layers=2, num_attention_heads=3,
                  num_key_value_heads=1, head_dim=12)),
}


def config_json(spec, ids):
    """config.json as transformers 5 (style 5) or 4 (style 4) would have written it."""
    vocab = (max(ids.values()) + 8) // 8 * 8  # a few rows more than the tokenizer has tokens
    vision = {"model_type": spec["kind"] if spec["style"] == "4" else spec["kind"] + "_vision", **spec["vision"]}
    text = {"model_type": "llama", "vocab_size": vocab, "max_position_embeddings": 2048, "bos_token_id": 1,
            "eos_token_id": 2, "pad_token_id": 2, **spec["text"]}
    top = {"architectures": [{"smolvlm": "SmolVLM", "idefics3": "Idefics3"}[spec["kind"]] + "ForConditionalGeneration"],
           "image_token_id": ids["<image>"], "model_type": spec["kind"]}
    if spec["scale"] is not None:
        top["scale_factor"] = spec["scale"]
    if spec["tied"] is not None:
        top["tie_word_embeddings"] = spec["tied"]
    if spec["style"] == "5":
        vision |= {"num_channels": 3, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
                   "attention_dropout": 0.0, "initializer_range": 0.02}
        text = {"attention_bias": False, "attention_dropout": 0.0, "hidden_act": "silu", "mlp_bias": False,
                "rms_norm_eps": 1e-5, "initializer_range": 0.02, "pretraining_tp": 1, "use_cache": True,
                "rope_parameters": {"rope_theta": spec["theta"], "rope_type": "default"},
                "tie_word_embeddings": bool(spec["tied"]), **text}
        top |= {"dtype": {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[spec["dtype"]],
                "transformers_version": "5.23.0", "use_cache": True}
    else:
        text |= {"architectures": ["VLlama3ForCausalLM"], "_flash_attn_2_enabled": True, "is_llama_config": True,
                 "neftune_noise_alpha": 0.0, "qk_layer_norms": False, "use_resampler": False, "rope_interleaved": False,
                 "pixel_shuffle_factor": 99, "perceiver_config": {"attention_dropout": 0.0, "resampler_depth": 6}}
        if spec["theta"] is not None:
            text["rope_theta"] = spec["theta"]
        vision |= {"max_image_size": {"longest_edge": 1111}, "size": {"longest_edge": 2222},
                   "tie_word_embeddings": False, "use_base_siglip": False}
        top |= {"pad_token_id": 128002, "torch_dtype": "bfloat16", "transformers_version": "4.46.0", "use_cache": True}
    return top | {"text_config": text, "vision_config": vision}


def random_weights(model, generator, tied):
    """Weights large enough that every layer matters and greedy decoding wanders (a tied head favours the token just
    read, so its table is smaller)."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("norm.weight") or "layernorm" in name or "layer_norm" in name:
                base = 0.0 if name.endswith("bias") else 1.0
                p.copy_(base + 0.2 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
            else:
                fan_in = math.prod(p.shape[1:]) if p.dim() > 1 else 25
                std = (0.2 if tied else 0.7) if "embed" in name and p.dim() == 2 else 1.1 / math.sqrt(fan_in)
                p.copy_(std * torch.randn(p.shape, generator=generator, dtype=torch.float64))


STORED = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def stored_dtype(spec, index):
    return STORED[spec["dtype"]] if spec["dtype"] != "MIXED" else list(STORED.values())[index % 3]


def build(name, seed):
    """Writes the folder models/NAME; returns its absolute path and {token: id}."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    spec, folder = MODELS[name], f"models/{name}"
    size, scale = spec["vision"]["image_size"], spec["scale"] or 2
    side = size // spec["vision"].get("patch_size", 32) // scale
    processor = {"smolvlm": "SmolVLM", "idefics3": "Idefics3"}[spec["kind"]]
    ids = write_processor(folder, spec["scheme"], size, side * side, processor)
    config = config_json(spec, ids)
    common.path(f"{folder}/config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    generation = {"bos_token_id": 0, "eos_token_id": ids["<end_of_utterance>"], "pad_token_id": 2}
    common.path(f"{folder}/generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")

    model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(common.path(folder)))
    random_weights(model, torch.Generator().manual_seed(seed), spec["tied"])
    tensors = {}
    for i, (key, value) in enumerate(model.state_dict().items()):
        if not (spec["tied"] and key == "lm_head.weight"):
            tensors[key] = value.detach().to(stored_dtype(spec, i)).contiguous()
    metadata = {"format": "pt"}
    if "shards" not in spec:
        save_file(tensors, common.path(f"{folder}/model.safetensors"), metadata)
        return common.path(folder), ids
    keys, where, total = sorted(tensors), {}, sum(t.numel() * t.element_size() for t in tensors.values())
    for n in range(spec["shards"]):
        file = f"model-{n + 1:05d}-of-{spec['shards']:05d}.safetensors"
        part = {k: tensors[k] for k in keys[n::spec["shards"]]}
        save_file(part, common.path(f"{folder}/{file}"), metadata)
        where |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    common.path(f"{folder}/model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    return common.path(folder), ids
