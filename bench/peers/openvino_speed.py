"""How fast OpenVINO is on the CPU with the same weights: one vision tile through tower and connector, a prefill, decoding.

    python bench/peers/openvino_speed.py --model DIR --threads 2 [--precision f32|bf16|int8] [--tiles 17] [--vision-only]
                                         [--context 1200] [--repeat 5]

All parts are converted from transformers' modules (openvino.convert_model): the vision part with a static shape, its
fastest form; so the decoder for the prefill; for decoding with its cache as state, as OpenVINO GenAI runs it. int8: the
vision part with bytes for weights and activations (nncf.quantize, calibrated on the timed tile and three others), the
decoder with bytes for weights; what is no integer is bf16 where the processor multiplies those, OpenVINO's own choice.
Hints: LATENCY, one stream of `threads` threads; the cache as OpenVINO keeps it by default. Everything is first compared
with transformers in float32 (cosine at least 0.999; int8: 0.99, printed). With --tiles also that many tiles, one by one
and as one batch (of a static shape too). Prints one JSON object of medians.
"""
import contextlib
import json
import pathlib
import statistics
import sys
import time

from converted import arguments, float_model


def cache_of(tensors):
    """transformers' cache of keys and values, a pair for each layer."""
    from transformers.cache_utils import DynamicCache, DynamicLayer

    past = DynamicCache()
    for keys, values in zip(tensors[::2], tensors[1::2]):  # its constructor would join them to empty tensors of rank 1
        layer = DynamicLayer()
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layer.dtype, layer.device = keys.dtype, keys.device
        past.layers.append(layer)
    return past


def modules(model, torch):
    """Vision: pixels -> features. Text: ids and the cache, key and value of each layer -> logits of the last id and
    the cache with the new keys and values; without a cache the logits alone."""
    from transformers.models.llama import modeling_llama

    size, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size

    class Vision(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.connector = model.model.vision_model, model.model.connector

        def forward(self, pixels):
            mask = torch.ones(pixels.shape[0], size // patch, size // patch, dtype=torch.bool)
            return self.connector(self.tower(pixel_values=pixels, patch_attention_mask=mask).last_hidden_state)

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.text, self.head = model.model.text_model, model.lm_head

        def forward(self, ids, *cache):
            if not cache:
                modeling_llama.create_causal_mask = lambda **_: None  # attention is told that it is causal
                return self.head(self.text(input_ids=ids, use_cache=False).last_hidden_state[:, -1:])
            before = cache[0].shape[2]
            positions = torch.arange(ids.shape[1]) + before
            mask = torch.arange(ids.shape[1] + before)[None, :] <= positions[:, None]
            modeling_llama.create_causal_mask = lambda **_: mask[None, None]
            state = self.text(input_ids=ids, position_ids=positions[None], past_key_values=cache_of(cache), use_cache=True)
            new = [x for layer in state.past_key_values.layers for x in (layer.keys, layer.values)]
            return self.head(state.last_hidden_state[:, -1:]), *new

    return Vision().eval(), Text().eval()


def fast_bf16():
    """Are products of bf16 faster than those of floats? Not Intel's without AMX, which take twice as long."""
    about = pathlib.Path("/proc/cpuinfo").read_text()
    return "amx_bf16" in about or "avx512_bf16" in about and "GenuineIntel" not in about


def settings(core, precision, threads):
    """The hints for compile_model. Products of floats are bf16 beside int8 too, where that is faster."""
    narrow = precision == "bf16" or precision == "int8" and fast_bf16()
    return {"INFERENCE_PRECISION_HINT": "bf16" if narrow else "f32", "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}


def vision_part(vision, tiles, precision):
    """The converted part for as many tiles at once as each of `tiles` has; int8 is calibrated on all of them."""
    import openvino

    converted = openvino.convert_model(vision, example_input=tiles[0], input=[list(tiles[0].shape)])
    if precision == "int8":
        import nncf

        with contextlib.redirect_stdout(sys.stderr):  # its progress
            converted = nncf.quantize(converted, nncf.Dataset([t.numpy() for t in tiles]), subset_size=len(tiles),
                                      model_type=nncf.ModelType.TRANSFORMER)
    return converted


def compressed(converted, precision):
    """With bytes for weights where asked for."""
    if precision == "int8":
        import nncf

        with contextlib.redirect_stdout(sys.stderr):
            converted = nncf.compress_weights(converted, mode=nncf.CompressWeightsMode.INT8_ASYM)
    return converted


def stateful(model, layers, first=1):
    """The decoder with its cache as state, in the pattern that OpenVINO fuses with attention: 2 x layers inputs, from
    `first` on, and outputs become variables, and each is gathered by an input `beam_idx` before it is used."""
    import numpy as np
    import openvino.opset13 as ops
    from openvino._offline_transformations import apply_make_stateful_transformation

    beams = ops.parameter([-1], dtype=np.int32, name="beam_idx")
    beams.output(0).get_tensor().set_names({"beam_idx"})
    names = {}
    for i in range(2 * layers):
        given = model.inputs[first + i]
        given.get_tensor().set_names({f"past.{i}"})
        model.outputs[1 + i].get_tensor().set_names({f"present.{i}"})
        names[f"past.{i}"] = f"present.{i}"
        users = given.get_target_inputs()
        gathered = ops.gather(given, beams, ops.constant(np.int32(0)))
        for user in users:
            user.replace_source_output(gathered.output(0))
    model.add_parameters([beams])
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, names)
    batch = ops.gather(ops.shape_of(model.inputs[0], output_type="i64"), ops.constant([0]), ops.constant(0))
    for op in model.get_ops():  # a variable begins empty
        if op.get_type_name() == "ReadValue":
            _, heads, _, width = op.get_output_partial_shape(0)
            shape = [batch] + [ops.constant(np.array([n])) for n in (heads.get_length(), 0, width.get_length())]
            op.set_arguments([ops.broadcast(ops.constant(np.float32(0)), ops.concat(shape, 0))])
    model.validate_nodes_and_infer_types()
    return model


def main():
    parser = arguments(__doc__, ["f32", "bf16", "int8"], tiles=0, context=1200, new_tokens=32)
    parser.add_argument("--vision-only", action="store_true")
    args = parser.parse_args()

    import numpy as np
    import openvino
    import torch

    model = float_model(args)
    vision, text = modules(model, torch)
    core = openvino.Core()
    hints = settings(core, args.precision, args.threads)
    found = {"version": "openvino " + openvino.__version__.split("-")[0], "precision": args.precision,
             "floats": hints["INFERENCE_PRECISION_HINT"]}

    def check(key, truth, answer):
        truth, answer = truth.double().numpy().ravel(), np.asarray(answer, dtype=np.float64).ravel()
        found[key] = float(truth @ answer / np.linalg.norm(truth) / np.linalg.norm(answer))
        if found[key] < (0.99 if args.precision == "int8" else 0.999):
            sys.exit(f"openvino: {key} is {found[key]:.6f}")

    def seconds(run):
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    draw = torch.Generator().manual_seed(0)
    size = model.config.vision_config.image_size
    tiles = [torch.rand(1, 3, size, size, generator=draw) * 2 - 1 for _ in range(4)]
    with torch.no_grad():
        truth = vision(tiles[0])
        compiled = core.compile_model(vision_part(vision, tiles, args.precision), "CPU", hints)
    check("vision_tile_cosine", truth, compiled(tiles[0].numpy())[0])
    found["vision_tile_s"] = round(statistics.median(seconds(lambda: compiled(tiles[0].numpy()))
                                                     for _ in range(args.repeat)), 4)
    if args.tiles:
        many = torch.cat([tiles[n % len(tiles)] for n in range(args.tiles)])
        key = f"vision_{args.tiles}_tiles_s"
        found[key] = round(seconds(lambda: [compiled(many[n:n + 1].numpy()) for n in range(args.tiles)]), 4)
        with torch.no_grad():
            compiled = core.compile_model(vision_part(vision, [many], args.precision), "CPU", hints)
        check("vision_batch_cosine", truth, compiled(many.numpy())[0][:1])
        found[f"vision_{args.tiles}_tiles_batch_s"] = round(seconds(lambda: compiled(many.numpy())), 4)
    del compiled
    if args.vision_only:
        return print(json.dumps(found))

    ids = torch.randint(3, 49000, (1, args.context), generator=draw)
    with torch.no_grad():
        truth = text(ids)
        converted = openvino.convert_model(text, example_input=ids, input=[list(ids.shape)])
    compiled = core.compile_model(compressed(converted, args.precision), "CPU", hints)
    check("prefill_cosine", truth, compiled(ids.numpy())[0])
    found["prefill_s"] = round(statistics.median(seconds(lambda: compiled(ids.numpy())) for _ in range(args.repeat)), 4)
    del compiled, converted

    config = model.config.text_config
    width, layers = config.hidden_size // config.num_attention_heads, config.num_hidden_layers
    cache = [torch.zeros(1, config.num_key_value_heads, 3, width)] * (2 * layers)
    with torch.no_grad():
        converted = openvino.convert_model(text, example_input=(ids[:, :5], *cache))
    for i, given in enumerate(converted.inputs):
        shape = [-1, -1] if i == 0 else [-1, config.num_key_value_heads, -1, width]
        given.get_node().set_partial_shape(openvino.PartialShape(shape))
    converted.validate_nodes_and_infer_types()
    converted = compressed(stateful(converted, layers), args.precision)
    request = core.compile_model(converted, "CPU", hints).create_infer_request()
    beam = np.zeros(1, dtype=np.int32)
    check("decode_cosine", truth, request.infer([ids.numpy(), beam])[0])
    rates = []
    for _ in range(args.repeat):
        token = ids[:, :1].numpy()
        start = time.perf_counter()
        for _ in range(args.new_tokens):
            token = np.argmax(request.infer([token, beam])[0][:, -1:], axis=-1)
        rates.append(args.new_tokens / (time.perf_counter() - start))
    found["decode_tokens_per_s"] = round(statistics.median(rates), 2)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
