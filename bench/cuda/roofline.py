#!/usr/bin/env python3
"""What an H100 SXM allows each CUDA kernel on the 256M shape in bf16: python3 bench/cuda/roofline.py

Every launch of a phase is counted as the layers make it: its multiplications and additions (exp, tanh, 1/sqrt are one each),
and the bytes of its operands and results, each moved once (a cache that never misses twice). A kernel takes at least
max(operations / rate, bytes / bandwidth); products and attention over many rows run at the rate of the tensor cores, all
else, the epilogues of products included (while other blocks multiply), at that of float arithmetic. Prints the table of the README. No GPU, no package is needed.
"""

from collections import defaultdict

TENSOR, FLOAT, BYTES = 989e12, 67e12, 3.35e12  # a second, without sparsity
WORD = 2  # bytes of a bf16

# HuggingFaceTB/SmolVLM-256M: vision tower, connector, decoder
V = dict(layers=12, D=768, F=3072, H=12, K=64, patches=1024, patch=16, shuffle=4)
T = dict(layers=30, D=576, F=1536, H=9, G=3, K=64, vocabulary=49280)


class Phase:
    def __init__(self, name):
        self.name = name
        self.kernels = defaultdict(lambda: [0, 0.0, 0.0, 0.0])  # launches, operations, bytes, seconds

    def launch(self, kernel, operations, words, rate=FLOAT, extra_bytes=0.0, epilogue=0.0):
        bytes_moved = words * WORD + extra_bytes
        row = self.kernels[kernel]
        row[0] += 1
        row[1] += operations + epilogue
        row[2] += bytes_moved
        row[3] += max(operations / rate, epilogue / FLOAT, bytes_moved / BYTES)

    def linear(self, N, K, M, bias=False, results=None, each=0, residual=False):
        """`each` operations of the epilogue for each of `results` columns (M without a gate), which may be added to."""
        few = N <= 8
        results = results or M
        self.launch("linear, few rows" if few else "linear, tensor cores", 2 * N * K * M,
                    N * K + K * M + bias * M + (1 + residual) * N * results, FLOAT if few else TENSOR,
                    epilogue=bias * N * M + (each + residual) * N * results)

    def norm(self, N, D, each, operands, residual=False):
        name = "residual + norm" if residual else "norm"
        self.launch(name, (each + residual) * N * D, (4 if residual else 2) * N * D + operands * D)

    def elementwise(self, kernel, each, operands, n):
        self.launch(kernel, each * n, operands * n)


def vision(images):
    p = Phase(f"vision, {images} tile" + "s" * (images > 1))
    N, D, F, H, K = images * V["patches"], V["D"], V["F"], V["H"], V["K"]
    inputs = 3 * V["patch"] ** 2
    p.elementwise("moving rows", 0, 2, N * inputs)  # patchify
    p.linear(N, inputs, D, bias=True)
    p.elementwise("moving rows", 0, 2, N * D)  # positions
    p.elementwise("residual", 1, 3, N * D)
    for _ in range(V["layers"]):
        p.norm(N, D, 8, 2)
        for _ in range(3):
            p.linear(N, D, D, bias=True)
        p.launch("attention, tensor cores", images * V["patches"] ** 2 * H * (4 * K + 4), 4 * N * D, TENSOR)
        p.linear(N, D, D, bias=True)
        p.norm(N, D, 8, 2, residual=True)
        p.linear(N, D, F, bias=True, each=8)  # GELU
        p.linear(N, F, D, bias=True, residual=True)
    p.norm(N, D, 8, 2)
    s2 = V["shuffle"] ** 2
    p.linear(N // s2, s2 * D, T["D"])  # of rows that pixel shuffle only addresses
    return p


def text(N, past):
    """N new tokens after `past` others; logits of the last one."""
    p = Phase(f"prefill, {N} tokens" if past == 0 else f"1 token after {past}")
    D, F, H, G, K = T["D"], T["F"], T["H"], T["G"], T["K"]
    pairs = sum(past + t + 1 for t in range(N))
    p.elementwise("moving rows", 0, 2, N * D)  # embedding
    for _ in range(T["layers"]):
        p.norm(N, D, 4, 1)
        p.linear(N, D, H * K)
        p.linear(N, D, G * K)
        p.linear(N, D, G * K)
        for heads in (H, G):
            p.launch("RoPE", 3 * N * heads * K, 2 * N * heads * K, extra_bytes=4 * N * K)
        for _ in range(2):
            p.elementwise("moving rows", 0, 2, N * G * K)  # into the cache
        words = 2 * N * H * K + 2 * (past + N) * G * K
        operations = pairs * H * (4 * K + 4)
        if N > 8:
            p.launch("attention, tensor cores", operations, words, TENSOR)
        else:
            parts = min(32, past // 128)
            partial = 4 * N * H * parts * (K + 2)  # bytes of the parts, written and read again
            p.launch("attention, few rows", operations, words - N * H * K, extra_bytes=partial)
            p.launch("attention, few rows", 2 * N * H * parts * K, N * H * K, extra_bytes=partial)
        p.linear(N, H * K, D)
        p.norm(N, D, 4, 1, residual=True)
        p.linear(N, D, 2 * F, results=F, each=4)  # SwiGLU
        p.linear(N, F, D, residual=True)
    p.norm(N, D, 4, 1)
    p.elementwise("moving rows", 0, 2, D)  # the last row
    p.linear(1, D, T["vocabulary"])
    p.elementwise("arg-max", 1, 1, T["vocabulary"])
    return p


def number(x):
    return f"{x:.0f}" if x >= 99.5 else f"{x:.2g}" if x >= 0.005 else "0"


def main():
    phases = [vision(1), vision(17), text(1200, 0), text(1, 1200)]
    names = list(dict.fromkeys(name for phase in phases for name in phase.kernels))
    print("| launches, GFLOP, MB, least us | " + " | ".join(phase.name for phase in phases) + " |")
    print("|---" * (len(phases) + 1) + "|")
    for name in names + ["all"]:
        cells = []
        for phase in phases:
            rows = phase.kernels.values() if name == "all" else [phase.kernels[name]] if name in phase.kernels else []
            launches, operations, moved, seconds = (sum(column) for column in zip(*rows)) if rows else (0, 0, 0, 0)
            cells.append(f"{launches}, {number(operations / 1e9)}, {number(moved / 1e6)}, {number(seconds * 1e6)}"
                         if launches else "")
        print(f"| {name} | " + " | ".join(cells) + " |")


main()
