"""Part `traces`: tiny models (tiny_models.py) and, per case, the inputs and every intermediate of a float64 run.

Writes models/NAME/ (checkpoint folders), traces/NAME.CASE.safetensors and traces.json. In a trace file `in.*` are the
inputs of the `trace` command; the other tensors are the truth under the command's own names, in float64.
"""
import torch
from safetensors.torch import save_file

import common
import reference
import tiny_models

GREEDY_STEPS = 16
BIG_GRIDS = ("grid27_r3", "grid32_r4")


def left_out(name, case):
    """Prefixes of the truths that are not stored, to keep the files small: each is stored by some other case."""
    if name in BIG_GRIDS:
        return ("vision.e", "vision.l", "vision.post", "text.i", "text.l", "logits")
    return ("vision.e", "vision.l", "vision.post") if case in ("left", "right", "many") else ()


class Maker:
    """Draws the inputs of one model's cases."""

    def __init__(self, name, ids, seed):
        spec = tiny_models.MODELS[name]
        self.generator = torch.Generator().manual_seed(seed)
        self.size = spec["vision"]["image_size"]
        self.patch = spec["vision"].get("patch_size", 32)
        self.tokens = (self.size // self.patch // (spec["scale"] or 2)) ** 2
        self.image_token, self.vocab = ids["<image>"], max(ids.values())

    def words(self, n):
        """n ids, none of them the image token."""
        ids = torch.randint(0, self.vocab, (n,), generator=self.generator)
        return (ids + (ids >= self.image_token)).tolist()

    def frames(self, n):
        """[n,3,S,S] in [-1,1]: 8-bit pixels, normalised in one step as transformers' default image processor does."""
        pixels = torch.randint(0, 256, (n, 3, self.size, self.size), generator=self.generator)
        return (pixels.to(torch.float32) - 127.5) / 127.5

    def sequence(self, *parts):
        """Ids from a list of word counts and 'image's."""
        out = []
        for part in parts:
            out += [self.image_token] * self.tokens if part == "image" else self.words(part)
        return out

    def case(self, sequences, images=None, side=None, padding_frames=0, mask=None, explicit_mask=True):
        """One batch: `images` frames per sequence, padded to the most any has plus `padding_frames`."""
        length = max(map(len, sequences))
        ids = torch.full((len(sequences), length), 2)
        attention = torch.zeros_like(ids)
        for row, seq in enumerate(sequences):
            where = slice(length - len(seq), length) if side == "left" else slice(0, len(seq))
            ids[row, where], attention[row, where] = torch.tensor(seq), 1
        out = {"input_ids": ids}
        if explicit_mask:
            out["attention_mask"] = attention
        if images is not None:
            frames = max(images) + padding_frames
            out["pixel_values"] = torch.zeros(len(sequences), frames, 3, self.size, self.size)
            for row, n in enumerate(images):
                out["pixel_values"][row, :n] = self.frames(n)
            if mask is not None:
                out["pixel_attention_mask"] = mask
                out["pixel_values"] *= mask[:, :, None]
        return out

    def corner_mask(self, sizes):
        """[1,I,S,S]: frame i real on its top-left height x width only."""
        mask = torch.zeros(1, len(sizes), self.size, self.size, dtype=torch.int64)
        for i, (height, width) in enumerate(sizes):
            mask[0, i, :height, :width] = 1
        return mask


def cases(name, m):
    """{case: inputs} of one model."""
    s, p = m.size, m.patch
    full = lambda rows, frames: torch.ones(rows, frames, s, s, dtype=torch.int64)
    single = m.case([m.sequence(4, "image", 6)], [1], explicit_mask=False)
    if name == "gqa_untied_r2":
        return {
            "text": m.case([m.sequence(23)]),
            "text_nomask": m.case([m.sequence(9)], explicit_mask=False),
            "single": single,
            "many": m.case([m.sequence(3, "image", 1, "image", "image", 5)], [3], mask=full(1, 3)),
            "left": m.case([m.sequence(2, "image", 9), m.sequence(3, "image", 2, "image", 4), m.sequence(6)],
                           [1, 2, 0], side="left", padding_frames=1),
            "right": m.case([m.sequence(2, "image", 9), m.sequence(3, "image", 2, "image", 4)], [1, 2], side="right"),
            "partial": m.case([m.sequence(2, "image", "image", 1, "image", 3)], [3],
                              mask=m.corner_mask([(s, 19), (13, 27), (1, 1)])),
            "zero": m.case([m.sequence(2, "image", 3)], [0], padding_frames=2),
            "no_pixels": m.case([m.sequence(2, "image", 3)]),  # image tokens are words then
        }
    if name == "mha_tied_r3":
        ragged = m.corner_mask([(s, s), (s, 9)])
        ragged[0, 0, 12:, 8:] = 0  # not a rectangle: fractions of the first row and column still decide
        return {
            "text": m.case([m.sequence(12), m.sequence(5)], side="left"),
            "single": single,
            "many": m.case([m.sequence("image", "image", 2, "image", "image", 3)], [4]),
            "left": m.case([m.sequence("image", 7), m.sequence(2, "image", 3, "image", 2)], [1, 2], side="left"),
            "partial": m.case([m.sequence(1, "image", "image", 4)], [2], mask=ragged),
        }
    if name in BIG_GRIDS:
        return {
            "single": m.case([m.sequence(3, "image", 4)], [1]),
            "partial": m.case([m.sequence(2, "image", 1, "image", 3)], [2],
                              mask=m.corner_mask([(s, 19 * p), (10 * p, 25 * p)])),
            "left": m.case([m.sequence("image", 4), m.sequence(3, "image", 2)], [1, 1], side="left"),
        }
    if name == "sharded_tied":
        return {
            "text": m.case([m.sequence(15)]),
            "single": single,
            "left": m.case([m.sequence(1, "image", 11), m.sequence("image", 2, "image", 3)], [1, 2], side="left"),
            "right": m.case([m.sequence(5), m.sequence(2, "image", 8)], [0, 1], side="right", padding_frames=1),
        }
    if name == "defaults":
        return {
            "single": single,
            "left": m.case([m.sequence("image", 4), m.sequence("image", "image", 6)], [1, 2], side="left"),
        }
    return {  # odd_head_dim
        "text": m.case([m.sequence(10)]),
        "many": m.case([m.sequence(1, "image", "image", 6)], [2], mask=full(1, 2)),
        "left": m.case([m.sequence("image", 4), m.sequence(1, "image", 6)], [1, 1], side="left"),
    }


def alone(inputs, row):
    """Sequence `row` of a batch as a batch of its own, without padding."""
    mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))[row].bool()
    out = {"input_ids": inputs["input_ids"][row, mask][None]}
    if "pixel_values" in inputs:
        real = inputs["pixel_values"][row].abs().amax(dim=(1, 2, 3)) > 0
        if real.any():
            out["pixel_values"] = inputs["pixel_values"][row, real][None]
            if "pixel_attention_mask" in inputs:
                out["pixel_attention_mask"] = inputs["pixel_attention_mask"][row, real][None]
        elif inputs["pixel_values"].abs().amax() == 0:  # a batch of nothing but zeros: its first frame counts
            out["pixel_values"] = inputs["pixel_values"][:1, :1]
    return out


def generate():
    seeds, index = iter(range(common.SEED, common.SEED + 1000)), {}
    for name, spec in tiny_models.MODELS.items():
        folder, ids = tiny_models.build(name, next(seeds))
        double, single = reference.load(folder, torch.float64), reference.load(folder, torch.float32)
        index[name] = {"why": spec["why"], "cases": {}}
        for case, inputs in cases(name, Maker(name, ids, next(seeds))).items():
            wide = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
            with reference.float64_truth():
                truth = reference.trace(double, wide)
                answers = [reference.greedy(double, alone(wide, b), GREEDY_STEPS)
                           for b in range(len(wide["input_ids"]))]
            rounded = reference.trace(single, inputs)
            error = {k: float((rounded[k].double() - v).abs().max() / v.abs().max())
                     for k, v in truth.items() if v.is_floating_point()}
            assert torch.equal(rounded.get("vision.position_ids", torch.zeros(1)),
                               truth.get("vision.position_ids", torch.zeros(1)))
            assert all(torch.isfinite(v).all() for v in truth.values())
            out = {"in." + k: v for k, v in inputs.items()}
            out |= {k: v for k, v in truth.items() if not k.startswith(left_out(name, case) or "-")}
            out["greedy"] = torch.tensor([ids for ids, _ in answers])
            save_file({k: v.contiguous() for k, v in out.items()},
                      common.path(f"traces/{name}.{case}.safetensors"))
            index[name]["cases"][case] = {
                "file": f"traces/{name}.{case}.safetensors", "greedy_least_margin": min(m for _, m in answers),
                "float32_error": error}
    common.write_json("traces.json", index)
