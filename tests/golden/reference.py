"""transformers as the truth: models in float64 throughout, and a recorder of every intermediate tensor."""
import contextlib

import torch
from transformers import AutoModelForImageTextToText
from transformers.models.llama import modeling_llama


def _rms_norm(self, x):
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def _rotary(self, x, position_ids):
    config = self.config
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    exponent = torch.arange(0, dim, 2, dtype=torch.float64) / dim
    angles = position_ids[..., None].double() * config.rope_parameters["rope_theta"] ** -exponent
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


@contextlib.contextmanager
def float64_truth():
    """transformers computes RMSNorm and RoPE in float32 whatever the model's type; here they run in float64."""
    norm, rotary = modeling_llama.LlamaRMSNorm, modeling_llama.LlamaRotaryEmbedding
    saved = norm.forward, rotary.forward
    norm.forward, rotary.forward = _rms_norm, _rotary
    try:
        yield
    finally:
        norm.forward, rotary.forward = saved


def load(folder, dtype):
    # scaled-dot-product attention: the eager one gives NaN on left-padded rows in float64
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()


def positions(attention_mask):
    """Position of each token in its own sequence, as `generate` counts them under padding."""
    return (attention_mask.cumsum(-1) - 1).clamp(min=0)


@torch.no_grad()
def trace(model, inputs):
    """One forward pass; returns {name: tensor} with the names of the `trace` command. Padding rows are zero."""
    out, hooks = {}, []

    def keep(name, module, pick=lambda output: output):
        hooks.append(module.register_forward_hook(lambda m, i, o: out.__setitem__(name, pick(o))))

    first = lambda output: output[0] if isinstance(output, tuple) else output
    vision, text = model.model.vision_model, model.model.text_model
    hooks.append(vision.embeddings.position_embedding.register_forward_hook(
        lambda m, i, o: out.__setitem__("vision.position_ids", i[0])))
    keep("vision.embeddings", vision.embeddings)
    for n, layer in enumerate(vision.encoder.layers):
        keep(f"vision.layer.{n}", layer, first)
    keep("vision.post_layernorm", vision.post_layernorm)
    keep("connector", model.model.connector)
    hooks.append(text.layers[0].register_forward_pre_hook(
        lambda m, args, kwargs: out.__setitem__("text.inputs_embeds", args[0] if args else kwargs["hidden_states"]),
        with_kwargs=True))
    for n, layer in enumerate(text.layers):
        keep(f"text.layer.{n}", layer, first)
    keep("text.norm", text.norm)
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
    try:
        out["logits"] = model(**{**inputs, "attention_mask": mask, "position_ids": positions(mask)},
                              use_cache=False).logits
    finally:
        for hook in hooks:
            hook.remove()
    for name in out:
        if name.startswith("text.") or name == "logits":
            out[name] = out[name] * mask[..., None].to(out[name].dtype)
    return {name: value.detach().clone() for name, value in out.items()}


@torch.no_grad()
def greedy(model, inputs, steps):
    """`steps` greedy ids (end tokens do not stop it) and the least lead of a winner over the runner-up, without a
    cache: each step is a full forward pass of one sequence."""
    inputs, ids, margin = dict(inputs), [], float("inf")
    for _ in range(steps):
        logits = model(**inputs, use_cache=False).logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        margin = min(margin, best - second)
        ids.append(int(logits.argmax()))
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([[ids[-1]]])], dim=1)
    return ids, float(f"{margin:.4g}")  # the last digits depend on the number of threads
