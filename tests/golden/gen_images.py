"""Part `images`: pictures (pictures.py) and what transformers' Pillow-backed processor makes of each file.

images.json: per picture and setting the frames' shape, rows, cols and the SHA-256 of the 8-bit frames [I,3,T,T].
image_grid.json: input size -> sizes after both resizes -> rows, cols. resize.json, resize.safetensors: Pillow's resize.
"""
import json
import random

import numpy as np
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from transformers.image_utils import SizeDict
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

import common
import pictures

LANCZOS, BILINEAR, BICUBIC = 1, 2, 3

SETTINGS = {  # longest edge, tile, filter, splitting
    "tiny": (256, 64, LANCZOS, True), "tiny_nosplit": (256, 64, LANCZOS, False),
    "tiny_bicubic": (256, 64, BICUBIC, True), "tiny_bilinear": (256, 64, BILINEAR, True),
    "uneven": (200, 64, LANCZOS, True), "one_tile": (64, 64, LANCZOS, True),
    "full": (2048, 512, LANCZOS, True), "full_nosplit": (2048, 512, LANCZOS, False),
    "mid": (1536, 384, LANCZOS, True), "mid_nosplit": (1536, 384, LANCZOS, False),
    "full_1000": (1000, 512, LANCZOS, True),
}
LARGE = ("full", "full_nosplit", "mid", "mid_nosplit", "full_1000")
# the large settings are slow, so each is run on a handful of pictures
LARGE_ON = {"rgb.png", "rgb_noise.png", "rgba.png", "1x1.png", "211x7.png", "30000x1.png", "4032x3024.png",
            "3024x4032.png", "512x512.png", "palette.png"}
OTHER_FILTERS_ON = {"rgb.png", "rgb_noise.png", "97x90.png", "7x211.png", "1x1.png", "4032x3024.png"}
NOISE_SIZES = [(640, 480), (1, 1500), (1333, 777), (2048, 2048), (1920, 1080), (513, 2100)]  # width, height: no file


def processor(longest_edge, tile, resample, split):
    return SmolVLMImageProcessorPil(
        size={"longest_edge": longest_edge}, max_image_size={"longest_edge": tile}, resample=resample,
        do_image_splitting=split, image_mean=[0.5] * 3, image_std=[0.5] * 3, do_rescale=False, do_normalize=False,
        do_convert_rgb=True, do_resize=True, do_pad=True, return_row_col_info=True)


def run(setting, image):
    """`image` is a file path, as the reference takes it, or a picture."""
    out = processor(*SETTINGS[setting])(image, return_tensors="np")
    pixels = out["pixel_values"][0]
    assert pixels.dtype == np.uint8 and out["pixel_attention_mask"].all()
    return {"shape": list(pixels.shape), "rows": int(out["rows"][0][0]), "cols": int(out["cols"][0][0]),
            "sha256": common.sha256(np.ascontiguousarray(pixels).tobytes())}


def settings_of(name):
    small = ["tiny", "tiny_nosplit"]
    if name in OTHER_FILTERS_ON:
        small += ["tiny_bicubic", "tiny_bilinear", "uneven", "one_tile"]
    return small + (list(LARGE) if name in LARGE_ON else [])


def byte_values():
    """What each of the 256 pixel values becomes after rescaling and normalisation, in float32."""
    p = processor(*SETTINGS["tiny"])
    p.do_rescale = p.do_normalize = True
    column = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    out = p(Image.fromarray(column), return_tensors="np", size={"longest_edge": 256},
            max_image_size={"longest_edge": 256})["pixel_values"]
    return [float(v) for v in out[0, 0, 0, 0]]


def grid():
    """[width, height, width 1, height 1, width 2, height 2, rows, cols] for a few hundred sizes and two settings."""
    draw = random.Random(common.SEED)
    sizes = [(1, 1), (1, 2), (2, 1), (30000, 1), (1, 30000), (4032, 3024), (3024, 4032), (2048, 2048), (512, 512),
             (386, 386), (2049, 2047), (2047, 2049), (4096, 1), (512, 511), (511, 512), (5000, 1000), (10, 4000)]
    sizes += [(w, h) for w, h in [(640, 480), (1920, 1080), (1080, 1920), (1000, 3000), (3000, 1000), (1280, 720)]]
    for k in range(1, 5):  # short sides around the multiples of a tile, where rounding decides the rows
        for d in (-3, -2, -1, 0, 1, 2, 3):
            sizes += [(2048, 512 * k + d), (512 * k + d, 2048), (1536, 384 * k + d), (384 * k + d, 1536)]
    sizes += [(draw.randint(1, 5000), draw.randint(1, 5000)) for _ in range(180)]
    sizes += [(draw.randint(1, 90), draw.randint(1, 90)) for _ in range(120)]
    out = {}
    for name, (edge, tile) in {"2048/512": (2048, 512), "1536/384": (1536, 384), "1000/512": (1000, 512)}.items():
        p, seen = processor(edge, tile, LANCZOS, True), []
        empty = lambda h, w: np.broadcast_to(np.uint8(0), (3, h, w))
        base_resize = type(p).__mro__[1].resize  # the step that would compute pixels
        type(p).__mro__[1].resize = lambda self, image, size, **kw: empty(size.height, size.width)
        try:
            for w, h in sizes:
                first = p.resize(empty(h, w), SizeDict(longest_edge=edge))
                second = p.resize_for_vision_encoder(first, tile)
                _, rows, cols = p.split_images(second, {"longest_edge": tile})
                seen.append([w, h, first.shape[2], first.shape[1], second.shape[2], second.shape[1], rows, cols])
        finally:
            type(p).__mro__[1].resize = base_resize
        out[name] = seen
    return out


def resizes():
    """Pillow's resize on small random pictures (whole results) and on large ones (hashes)."""
    draw, tensors, small, large = np.random.default_rng(common.SEED), {}, [], []
    shapes = [((1, 1), (5, 7)), ((1, 9), (4, 3)), ((9, 1), (3, 4)), ((8, 8), (8, 8)), ((7, 5), (14, 10)),
              ((6, 11), (3, 4)),
              ((13, 17), (13, 5)), ((13, 17), (29, 17)), ((40, 3), (1, 1)), ((5, 64), (64, 5)), ((31, 29), (30, 30)),
              ((2, 2), (33, 31)), ((64, 48), (7, 9))]
    for n, (source, target) in enumerate(shapes):
        pixels = draw.integers(0, 256, (*source, 3), dtype=np.uint8)
        if n % 3 == 1:  # only black and white: the sums over- and undershoot, so that clipping shows
            pixels = np.where(pixels < 128, 0, 255).astype(np.uint8)
        tensors[f"{n}.in"] = pixels
        for name, filter in (("lanczos", LANCZOS), ("bicubic", BICUBIC), ("bilinear", BILINEAR)):
            tensors[f"{n}.{name}"] = np.asarray(Image.fromarray(pixels).resize(target[::-1], filter))
        small.append({"n": n, "in": list(source), "out": list(target)})
    for (h, w), (th, tw) in [((1, 30000), (1, 2048)), ((30000, 1), (2048, 1)), ((480, 640), (1536, 2048)),
                             ((3024, 4032), (384, 512)), ((1000, 1000), (999, 1001))]:
        image = Image.fromarray(pictures.noise(h, w))
        large.append({"in": [h, w], "out": [th, tw], "sha256": {
            name: common.sha256(image.resize((tw, th), filter).tobytes())
            for name, filter in (("lanczos", LANCZOS), ("bicubic", BICUBIC), ("bilinear", BILINEAR))}})
    save_file(tensors, common.path("resize.safetensors"))
    common.write_json("resize.json", {
        "note": "sizes are [height, width]; `small`: tensors N.in and N.FILTER [H,W,3] in resize.safetensors; `large`: "
                "input is the noise picture of images.json, sha256 of the [H,W,3] bytes",
        "small": small, "large": large})


def generate():
    files, out = pictures.write_all(), {}
    for name, data in files.items():
        path = str(common.path(f"images/{name}"))
        upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        entry = {"size": list(upright.size), "rgb_sha256": common.sha256(upright.tobytes())}
        if name.endswith(".jpg"):  # decoders differ in the last bits: the pixels that the frames come from are kept
            decoded = f"images/{name}.decoded.png"
            upright.save(common.path(decoded), "PNG", optimize=True)
            entry["decoded"] = decoded
        entry["runs"] = {setting: run(setting, path) for setting in settings_of(name)}
        out[name] = entry
    made = [{"size": [w, h], "runs": {s: run(s, Image.fromarray(pictures.noise(h, w)))
                                      for s in ("tiny", "tiny_nosplit", "full", "mid")}} for w, h in NOISE_SIZES]
    common.write_json("images.json", {
        "note": "size is [width, height] upright; rgb_sha256 is of the [H,W,3] pixels after decoding and turning; a "
                "run's sha256 is of pixel_u8 [I,3,T,T]; `noise` pictures have no file, their pixels are given by `formula`",
        "settings": {k: {"longest_edge": e, "tile": t, "resample": r, "split": s}
                     for k, (e, t, r, s) in SETTINGS.items()},
        "value_of_byte": byte_values(), "formula": pictures.NOISE, "noise": made, **{"files": out}})
    common.write_json("image_grid.json", {
        "note": "[width, height, width and height after the first resize, after the second, rows, cols]", **grid()})
    resizes()
