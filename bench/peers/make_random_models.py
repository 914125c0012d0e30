"""Makes full-size SmolVLM folders with random weights: the released shapes without the released weights.

    python bench/peers/make_random_models.py --size 256M 500M 2.2B --dtype bf16 --out /tmp/models

Writes OUT/SIZE/ in the layout of the released checkpoints (config.json, safetensors in shards of at most 2 GB,
generation_config.json, processor files with learned position tokens). Weights are N(0, 0.02), norms are ones, the head
is a matrix of its own. Needs torch, safetensors and the packages of tests/golden/requirements.txt; nothing is fetched.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file

PROCESSOR = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "processor_learned"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
SHARD_BYTES = 2_000_000_000

# vision: width, MLP, layers, heads, image, patch; text: width, MLP, layers, heads, kv heads
SIZES = {
    "256M": dict(vision=(768, 3072, 12, 12, 512, 16), text=(576, 1536, 30, 9, 3), scale=4, theta=100000.0,
                 context=8192, kind="idefics3", longest_edge=2048),
    "500M": dict(vision=(768, 3072, 12, 12, 512, 16), text=(960, 2560, 32, 15, 5), scale=4, theta=100000.0,
                 context=8192, kind="smolvlm", longest_edge=2048),
    "2.2B": dict(vision=(1152, 4304, 27, 16, 384, 14), text=(2048, 8192, 24, 32, 32), scale=3, theta=130000.0,
                 context=8192, kind="smolvlm", longest_edge=1536),
}
VOCABULARY = 49280


def config(shape, dtype):
    width, mlp, layers, heads, image, patch = shape["vision"]
    text_width, text_mlp, text_layers, text_heads, kv_heads = shape["text"]
    kind = shape["kind"]
    return {
        "architectures": [("SmolVLM" if kind == "smolvlm" else "Idefics3") + "ForConditionalGeneration"],
        "model_type": kind, "image_token_id": 49190, "scale_factor": shape["scale"], "tie_word_embeddings": False,
        "torch_dtype": {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[dtype],
        "vision_config": {"model_type": kind, "hidden_size": width, "intermediate_size": mlp,
                          "num_hidden_layers": layers,
                          "num_attention_heads": heads, "image_size": image, "patch_size": patch},
        "text_config": {"model_type": "llama", "hidden_size": text_width, "intermediate_size": text_mlp,
                        "num_hidden_layers": text_layers, "num_attention_heads": text_heads,
                        "num_key_value_heads": kv_heads, "head_dim": 64, "rms_norm_eps": 1e-5,
                        "rope_theta": shape["theta"], "max_position_embeddings": shape["context"],
                        "vocab_size": VOCABULARY, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}}


def weight_shapes(shape):
    """(name, shape) of every tensor, in the order of the model."""
    width, mlp, layers, _, image, patch = shape["vision"]
    text_width, text_mlp, text_layers, heads, kv_heads = shape["text"]
    head, r = 64, shape["scale"]
    v = "model.vision_model."
    yield v + "embeddings.patch_embedding.weight", (width, 3, patch, patch)
    yield v + "embeddings.patch_embedding.bias", (width,)
    yield v + "embeddings.position_embedding.weight", ((image // patch) ** 2, width)
    for i in range(layers):
        p = f"{v}encoder.layers.{i}."
        for norm in ("layer_norm1", "layer_norm2"):
            yield f"{p}{norm}.weight", (width,)
            yield f"{p}{norm}.bias", (width,)
        for name in "qkv":
            yield f"{p}self_attn.{name}_proj.weight", (width, width)
            yield f"{p}self_attn.{name}_proj.bias", (width,)
        yield p + "self_attn.out_proj.weight", (width, width)
        yield p + "self_attn.out_proj.bias", (width,)
        yield p + "mlp.fc1.weight", (mlp, width)
        yield p + "mlp.fc1.bias", (mlp,)
        yield p + "mlp.fc2.weight", (width, mlp)
        yield p + "mlp.fc2.bias", (width,)
    yield v + "post_layernorm.weight", (width,)
    yield v + "post_layernorm.bias", (width,)
    yield "model.connector.modality_projection.proj.weight", (text_width, width * r * r)
    t = "model.text_model."
    yield t + "embed_tokens.weight", (VOCABULARY, text_width)
    for i in range(text_layers):
        p = f"{t}layers.{i}."
        yield p + "input_layernorm.weight", (text_width,)
        yield p + "self_attn.q_proj.weight", (heads * head, text_width)
        yield p + "self_attn.k_proj.weight", (kv_heads * head, text_width)
        yield p + "self_attn.v_proj.weight", (kv_heads * head, text_width)
        yield p + "self_attn.o_proj.weight", (text_width, heads * head)
        yield p + "post_attention_layernorm.weight", (text_width,)
        yield p + "mlp.gate_proj.weight", (text_mlp, text_width)
        yield p + "mlp.up_proj.weight", (text_mlp, text_width)
        yield p + "mlp.down_proj.weight", (text_width, text_mlp)
    yield t + "norm.weight", (text_width,)
    yield "lm_head.weight", (VOCABULARY, text_width)


def random_weight(name, shape, dtype, generator):
    if "norm" in name:
        return (torch.zeros if name.endswith("bias") else torch.ones)(shape, dtype=dtype)
    return (0.02 * torch.randn(shape, generator=generator)).to(dtype)


def shards(shape, dtype):
    """Lists of (name, shape), each list within SHARD_BYTES."""
    size, current, out = torch.empty(0, dtype=dtype).element_size(), [], []
    used = 0
    for name, dims in weight_shapes(shape):
        here = torch.Size(dims).numel() * size
        if current and used + here > SHARD_BYTES:
            out, current, used = out + [current], [], 0
        current.append((name, dims))
        used += here
    return out + [current]


def make(size, dtype, folder, seed):
    shape, folder = SIZES[size], pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(shape, dtype), indent=2) + "\n")
    (folder / "generation_config.json").write_text('{"bos_token_id": 0, "eos_token_id": 49279, "pad_token_id": 2}\n')
    for file in PROCESSOR.iterdir():
        shutil.copy(file, folder)
    image, patch = shape["vision"][4:]
    for name, changes in (("preprocessor_config.json", {"size": {"longest_edge": shape["longest_edge"]},
                                                       "max_image_size": {"longest_edge": image}}),
                          ("processor_config.json", {"image_seq_len": (image // patch // shape["scale"]) ** 2})):
        value = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps(value, indent=2) + "\n")

    generator, parts = torch.Generator().manual_seed(seed), shards(shape, DTYPES[dtype])
    where, total = {}, 0
    for n, part in enumerate(parts):
        file = "model.safetensors" if len(parts) == 1 else f"model-{n + 1:05d}-of-{len(parts):05d}.safetensors"
        tensors = {name: random_weight(name, dims, DTYPES[dtype], generator) for name, dims in part}
        save_file(tensors, folder / file, {"format": "pt"})
        where |= dict.fromkeys(tensors, file)
        total += sum(t.numel() * t.element_size() for t in tensors.values())
    if len(parts) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    print(f"{folder}: {total / 1e9:.2f} GB of weights, {len(parts)} file(s)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", choices=list(SIZES), default=["256M"])
    parser.add_argument("--dtype", choices=list(DTYPES), default="bf16")
    parser.add_argument("--out", required=True, help="folder that receives one folder per size")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for size in args.size:
        make(size, args.dtype, pathlib.Path(args.out) / size, args.seed)


if __name__ == "__main__":
    main()
