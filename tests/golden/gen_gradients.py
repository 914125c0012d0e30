"""Part `gradients`: loss, every parameter's gradient, three steps of AdamW, and adapters, from PyTorch in float64.

Inputs are those of a trace (traces/NAME.CASE.safetensors) and `labels`. Writes gradients/NAME.safetensors,
adapters/KIND/ (a folder as PEFT saves it) with adapters/KIND.safetensors, and gradients.json.
"""
import json
import shutil

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import common
import reference
import tiny_models

CASES = {"gqa_untied_r2": "left", "mha_tied_r3": "left", "sharded_tied": "left", "odd_head_dim": "many"}
ADAMW = {"lr": 1e-3, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "clip": 0.5, "steps": 3}
WHOLE = 600  # tensors of more elements are stored as projections
TARGETS = r"model\.text_model\.layers\.\d+\.(self_attn\.(q|v)_proj|mlp\.down_proj)|" \
          r"model\.vision_model\.encoder\.layers\.0\.mlp\.fc1"


def project(x):
    """A tensor of up to WHOLE elements as it is; of a larger one, the matrix [M, K] times the columns cos((j + 1) k):
    every element counts."""
    if x.numel() <= WHOLE:
        return x.detach().clone()
    x = x.detach().reshape(x.shape[0], -1)
    k = torch.arange(x.shape[1], dtype=torch.float64)[:, None]
    return x.double() @ torch.cos(k * (torch.arange(3, dtype=torch.float64) + 1))


def inputs_and_labels(name, image_token):
    """The inputs of a trace; labels: no padding, no image tokens, no first token (beside padding it would be judged by
    the logits of a padding row), and of the first sequence its second half only."""
    trace = load_file(common.path(f"traces/{name}.{CASES[name]}.safetensors"))
    inputs = {k[3:]: v for k, v in trace.items() if k.startswith("in.")}
    mask = inputs.setdefault("attention_mask", torch.ones_like(inputs["input_ids"]))
    labels = inputs["input_ids"].masked_fill((mask == 0) | (inputs["input_ids"] == image_token), -100)
    labels[torch.arange(len(labels)), mask.argmax(1)] = -100
    labels[0, :labels.shape[1] // 2] = -100
    return inputs, labels


def loss_of(model, inputs, labels):
    """Mean over the counted tokens, shifted here: transformers' own loss would round the logits to float32."""
    dtype = next(model.parameters()).dtype
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    logits = model(**inputs, position_ids=reference.positions(inputs["attention_mask"]), use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def gradients(model, inputs, labels):
    model.zero_grad()
    loss = loss_of(model, inputs, labels)
    loss.backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(g).all() for g in found.values())
    return loss.detach(), found


def three_steps(model, inputs, labels):
    """AdamW with decay on matrices alone, gradients clipped to a global norm. Returns the norms before clipping."""
    decay = [p for p in model.parameters() if p.dim() > 1]
    none = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay}, {"params": none, "weight_decay": 0.0}], lr=ADAMW["lr"], betas=tuple(ADAMW["betas"]),
        eps=ADAMW["eps"], weight_decay=ADAMW["weight_decay"], foreach=False)
    norms = []
    for _ in range(ADAMW["steps"]):
        optimizer.zero_grad()
        loss_of(model, inputs, labels).backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), ADAMW["clip"], foreach=False)))
        optimizer.step()
    return norms


def full(name):
    folder = common.path(f"models/{name}")
    config = json.loads((folder / "config.json").read_text())
    inputs, labels = inputs_and_labels(name, config["image_token_id"])
    double, single = reference.load(folder, torch.float64), reference.load(folder, torch.float32)
    with reference.float64_truth():
        loss, truth = gradients(double, inputs, labels)
    rounded_loss, rounded = gradients(single, inputs, labels)
    out = {"labels": labels, "loss": loss[None]} | {"grad." + n: project(g) for n, g in truth.items()}
    with reference.float64_truth():
        norms = three_steps(double, inputs, labels)
    out |= {"after." + n: project(p) for n, p in double.named_parameters()}
    save_file({k: v.contiguous() for k, v in out.items()}, common.path(f"gradients/{name}.safetensors"))
    largest = max(float(g.abs().max()) for g in truth.values())
    return {"case": CASES[name], "loss": float(loss), "norms": norms,
            "float32_error": max(float((rounded[n].double() - g).abs().max()) / float(g.abs().max())
                                 for n, g in truth.items() if g.abs().max() > 1e-9 * largest)}


def adapter(kind, name, **options):
    """An adapter as PEFT makes and saves it, its B filled so that A matters, and gradients of its parameters."""
    from peft import LoraConfig, get_peft_model

    folder = common.path(f"models/{name}")
    inputs, labels = inputs_and_labels(name, json.loads((folder / "config.json").read_text())["image_token_id"])
    torch.manual_seed(common.SEED)
    model = get_peft_model(reference.load(folder, torch.float64),
                           LoraConfig(lora_dropout=0.0, target_modules=TARGETS, **options))
    generator = torch.Generator().manual_seed(common.SEED)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_" in n:  # values that the float32 file holds exactly
                noise = torch.randn(p.shape, generator=generator)
                p.copy_(((p + 0.1 * p.abs().mean() * noise) if "magnitude" in n else 0.2 * noise).float())
    with reference.float64_truth():
        loss, found = gradients(model, inputs, labels)
        with torch.no_grad():
            logits = model(**{k: v.double() if v.is_floating_point() else v for k, v in inputs.items()},
                           position_ids=reference.positions(inputs["attention_mask"]), use_cache=False).logits
    shutil.rmtree(common.path(f"adapters/{kind}"), ignore_errors=True)
    model.to(torch.float32).save_pretrained(common.path(f"adapters/{kind}"))
    (common.path(f"adapters/{kind}") / "README.md").unlink()
    config = common.path(f"adapters/{kind}") / "adapter_config.json"
    values = json.loads(config.read_text())
    values["base_model_name_or_path"] = name
    config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")
    clean = lambda n: n.replace(".default.weight", ".weight").replace("vector.weight", "vector").replace(".default", "")
    out = {"labels": labels, "loss": loss[None], "logits": logits[-1:, -4:]}
    out |= {"grad." + clean(n): g for n, g in found.items()}
    merged = model.double().merge_and_unload()
    out |= {"merged." + n: project(p.double()) for n, p in merged.named_parameters()
            if n.endswith(("layers.1.self_attn.q_proj.weight", "layers.0.mlp.fc1.weight"))}
    save_file({k: v.contiguous() for k, v in out.items()}, common.path(f"adapters/{kind}.safetensors"))
    return {"model": name, "loss": float(loss), "parameters": len(found)}


def generate():
    index = {"adamw": ADAMW, "models": {name: full(name) for name in CASES}, "adapters": {
        "lora": adapter("lora", "gqa_untied_r2", r=3, lora_alpha=7),
        "dora": adapter("dora", "gqa_untied_r2", r=2, lora_alpha=4, use_dora=True),
    }}
    common.write_json("gradients.json", index)
