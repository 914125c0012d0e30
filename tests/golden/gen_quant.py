"""quant.safetensors: rows of every block format with the values that the gguf package reads in them; quant.gguf: the
rows.

`NAME.bytes` u8, `NAME.values` f32; for the formats that our program also writes, `source` f32 is what was quantised.
The K-quants and IQ4_NL have no quantiser there: their blocks are random bytes with scales that are finite halves.
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
    file = gguf.GGUFWriter(common.path("quant.gguf"), "none")
    halves = {"Q6_K": [208], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "IQ4_NL": [0]}
    for name in ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", *halves]:
        kind = gguf.GGMLQuantizationType[name]
        if name in halves:
            values, size = gguf.GGML_QUANT_SIZES[kind]
            data = random.integers(0, 256, (VALUES // values, size), dtype=np.uint8)
            for n, at in enumerate(halves[name]):
                scales = np.resize(np.array([0.01, -2.5, 3e-7, 7.0], dtype=np.float16)[n:], (len(data), 1))
                data[:, at:at + 2] = np.ascontiguousarray(scales).view(np.uint8)
            data = data.reshape(-1)
        else:
            data = gguf.quantize(source, kind).reshape(-1).view(np.uint8)
        file.add_tensor(name, data.reshape(1, -1), raw_dtype=kind)
        tensors[name + ".bytes"] = data
        tensors[name + ".values"] = gguf.dequantize(data, kind).astype(np.float32).reshape(-1)
    save_file(tensors, common.path("quant.safetensors"))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
