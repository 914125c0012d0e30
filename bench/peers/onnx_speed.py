"""How fast ONNX Runtime is on the CPU with the same weights: one vision tile through tower and connector.

    python bench/peers/onnx_speed.py --model DIR --threads 2 [--precision f32|int8] [--tiles 17] [--repeat 5]

The part is exported from transformers' module with a static shape (torch.onnx.export, opset 23: attention and GELU are
operators of their own there, a quarter faster than the spelled-out ones of opset 18, with ONNX Runtime's transformer
optimizer or without) and run with all graph optimisations and `threads` threads within an operator, one operator at a time:
what ONNX Runtime's guide advises for one request on a CPU. int8: quantize_dynamic of every linear map with a scale for each
channel of the weights, after the pre-processing that its guide asks for; activations become bytes with a scale for each
tensor, measured at each call, and attention stays in float32.
First the features are compared with transformers in float32 (cosine at least 0.9999; int8: 0.98, printed). With --tiles
also that many tiles, one by one, which is this runtime's faster form. Prints one JSON object of medians.
"""
import json
import pathlib
import statistics
import sys
import tempfile
import time

from converted import arguments, float_model


def main():
    args = arguments(__doc__, ["f32", "int8"], tiles=0).parse_args()

    import numpy as np
    import onnxruntime
    import torch
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from openvino_speed import modules

    model = float_model(args)
    vision, _ = modules(model, torch)
    draw = torch.Generator().manual_seed(0)
    size = model.config.vision_config.image_size
    tile = torch.rand(1, 3, size, size, generator=draw) * 2 - 1
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        truth = vision(tile).double().numpy().ravel()
        file, prepared, bytewise = (str(pathlib.Path(folder) / name) for name in ("f32.onnx", "prepared.onnx", "int8.onnx"))
        torch.onnx.export(vision, (tile,), file, opset_version=23, dynamo=True, external_data=False, verbose=False)
        if args.precision == "int8":
            quant_pre_process(file, prepared, skip_symbolic_shape=True)
            quantization.quantize_dynamic(prepared, bytewise, per_channel=True, weight_type=quantization.QuantType.QInt8,
                                          op_types_to_quantize=["MatMul", "Gemm"])
            file = bytewise
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: tile.numpy()}

    def seconds(tiles=1):
        start = time.perf_counter()
        for _ in range(tiles):
            session.run(None, given)
        return time.perf_counter() - start

    answer = session.run(None, given)[0].astype(np.float64).ravel()
    cosine = float(truth @ answer / np.linalg.norm(truth) / np.linalg.norm(answer))
    if not cosine > (0.98 if args.precision == "int8" else 0.9999):
        sys.exit(f"onnxruntime: vision_tile_cosine is {cosine:.6f}")
    found = {"version": "onnxruntime " + onnxruntime.__version__, "precision": args.precision, "vision_tile_cosine": cosine,
             "vision_tile_s": round(statistics.median(seconds() for _ in range(args.repeat)), 4)}
    if args.tiles:
        found[f"vision_{args.tiles}_tiles_s"] = round(seconds(args.tiles), 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
