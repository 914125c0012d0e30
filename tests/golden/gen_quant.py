"""quant.safetensors: rows of every block format with the values that the gguf package reads in them.

`NAME.bytes` u8, `NAME.values` f32; for the formats that our program also writes, `source` f32 is what was quantised.
Q6_K has no quantiser there: its blocks are random bytes with a scale that is a finite half.
"""
import gguf
import numpy as np
from safetensors.numpy import save_file

import common

VALUES = 768


def generate():
    random = np.random.default_rng(common.SEED)
    source = (random.standard_normal(VALUES) * np.exp(random.standard_normal(VALUES))).astype(np.float32)
    source[64:96] = 0  # a block of zeros
    tensors = {"source": source}
    for name in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q6_K"]:
        kind = gguf.GGMLQuantizationType[name]
        if name == "Q6_K":
            data = random.integers(0, 256, (VALUES // 256, 210), dtype=np.uint8)
            data[:, 208:] = np.array([[0.01], [-2.5], [3e-7]], dtype=np.float16).view(np.uint8)
            data = data.reshape(-1)
        else:
            data = gguf.quantize(source, kind).reshape(-1).view(np.uint8)
        tensors[name + ".bytes"] = data
        tensors[name + ".values"] = gguf.dequantize(data, kind).astype(np.float32).reshape(-1)
    save_file(tensors, common.path("quant.safetensors"))
