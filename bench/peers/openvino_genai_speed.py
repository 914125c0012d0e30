"""How fast OpenVINO GenAI is on the CPU with the same weights: a prefill, and decoding after it.

    python bench/peers/openvino_genai_speed.py --model DIR --threads 2 [--precision f32|bf16|int8] [--context 1200]
                                               [--new-tokens 32] [--repeat 5]

The decoder is converted from transformers' module with its cache as state and the inputs and outputs that LLMPipeline asks
for (input_ids, attention_mask, position_ids, beam_idx; logits), which is what optimum-intel exports, and run by LLMPipeline
as it chooses by itself on a CPU, with paged attention; hints and int8: openvino_speed.py. Prefill is its time to the first
token, decoding its time for each token after it. First the answer: the first token is one of transformers' ten likeliest in
float32 (the first itself: printed). Prints one JSON object of medians.
"""
import json
import pathlib
import statistics
import sys
import tempfile

from converted import arguments, float_model


def decoder(model, torch):
    """Ids, mask, positions and the cache, key and value of each layer -> all logits and the longer cache."""
    from openvino_speed import cache_of
    from transformers.models.llama import modeling_llama

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.text, self.head = model.model.text_model, model.lm_head

        def forward(self, ids, attention_mask, positions, *cache):
            mask = torch.arange(attention_mask.shape[1])[None, :] <= positions[0][:, None]
            modeling_llama.create_causal_mask = lambda **_: mask[None, None]
            state = self.text(input_ids=ids, position_ids=positions, past_key_values=cache_of(cache), use_cache=True)
            new = [x for layer in state.past_key_values.layers for x in (layer.keys, layer.values)]
            return self.head(state.last_hidden_state), *new

    return Decoder().eval()


def main():
    args = arguments(__doc__, ["f32", "bf16", "int8"], context=1200, new_tokens=32).parse_args()

    import numpy as np
    import openvino
    import openvino_genai
    import torch
    import transformers
    from openvino_speed import compressed, settings, stateful
    from openvino_tokenizers import convert_tokenizer

    model = float_model(args)
    config = model.config.text_config
    width, layers, heads = config.head_dim, config.num_hidden_layers, config.num_key_value_heads
    ids = torch.randint(3, 49000, (1, args.context), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        truth = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].numpy()
        given = (ids[:, :5], torch.ones(1, 8, dtype=torch.int64), torch.arange(3, 8)[None],
                 *[torch.zeros(1, heads, 3, width)] * (2 * layers))
        converted = openvino.convert_model(decoder(model, torch), example_input=given)
    for one, name in zip(converted.inputs, ["input_ids", "attention_mask", "position_ids"] + [None] * 2 * layers):
        one.get_node().set_partial_shape(openvino.PartialShape([-1, -1] if name else [-1, heads, -1, width]))
        if name:
            one.get_node().set_friendly_name(name)
            one.get_tensor().set_names({name})
    converted.outputs[0].get_tensor().set_names({"logits"})
    converted.validate_nodes_and_infer_types()
    converted = compressed(stateful(converted, layers, first=3), args.precision)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        openvino.save_model(converted, folder / "openvino_model.xml", compress_to_fp16=args.precision == "bf16")
        tokenizer = transformers.AutoTokenizer.from_pretrained(args.model)
        for part, file in zip(convert_tokenizer(tokenizer, with_detokenizer=True), ("tokenizer", "detokenizer")):
            openvino.save_model(part, folder / f"openvino_{file}.xml")
        model.config.save_pretrained(folder)
        del model, converted
        pipeline = openvino_genai.LLMPipeline(folder, "CPU", **settings(openvino.Core(), args.precision, args.threads))
        wanted = openvino_genai.GenerationConfig(max_new_tokens=args.new_tokens + 1, ignore_eos=True, do_sample=False)
        prefills, rates = [], []
        prompt = ids.numpy()
        for n in range(args.repeat + 1):  # the first warms up; none begins as another did, so that none is remembered
            prompt = np.roll(prompt, n, axis=1)
            answer = pipeline.generate(openvino_genai.TokenizedInputs(openvino.Tensor(prompt),
                                                                      openvino.Tensor(np.ones_like(prompt))), wanted)
            if n == 0:
                first = int(answer.tokens[0][0])
            prefills.append(answer.perf_metrics.get_ttft().mean / 1e3)
            rates.append(1e3 / answer.perf_metrics.get_tpot().mean)
        place = int((truth > truth[first]).sum())
        if place >= 10:
            sys.exit(f"openvino genai: the first token is transformers' {place + 1}th likeliest")
        print(json.dumps({"version": "openvino genai " + openvino_genai.__version__.split("-")[0],
                          "precision": args.precision, "same_first_token": place == 0,
                          "prefill_s": round(statistics.median(prefills[1:]), 4),
                          "decode_tokens_per_s": round(statistics.median(rates[1:]), 2)}))


if __name__ == "__main__":
    main()
