"""The pictures: every kind of file that the image reader takes, tiny and synthetic.

`noise` is also computed by the tests (the formula is in images.json), so that large pictures need no file.
PNG kinds that Pillow cannot write (Adam7, 16-bit colour, grey of 2 and 4 bits) come from `png` below.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image

import common

NOISE = ("u = x*1664525 + y*1013904223 + c*374761393 + 12345; u ^= u >> 15; u *= 2246822519; u ^= u >> 13; "
         "value = u & 255; all in unsigned 32-bit arithmetic, x column, y row, c channel")


def noise(height, width, channels=3):
    """[H,W,C] u8, flat in distribution and different in every pixel."""
    y, x, c = np.ogrid[:height, :width, :channels]
    u = (x * 1664525 + y * 1013904223 + c * 374761393 + 12345).astype(np.uint64) & 0xFFFFFFFF
    u ^= u >> 15
    u = u * 2246822519 & 0xFFFFFFFF
    u ^= u >> 13
    return (u & 255).astype(np.uint8)


def smooth(height, width, channels=3):
    """[H,W,C] u8: waves and a sharp disc; what photographs have, small when compressed."""
    y, x, c = np.ogrid[:height, :width, :channels]
    y, x = y / max(height, 8), x / max(width, 8)
    wave = 127.5 + 90 * np.sin(9 * x + 4 * y + 2.1 * c) + 37 * np.cos(23 * y - 5 * x * c)
    disc = (x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05
    return np.clip(np.where(disc, 255 - wave, wave), 0, 255).astype(np.uint8)


def blocks(height, width):
    """[H,W,3] u8: flat 48-pixel squares, some dithered; a large picture of few bytes."""
    y, x, c = np.ogrid[:height, :width, :3]
    flat = (x // 48 * 37 + y // 48 * 91 + c * 53 + (x // 48) * (y // 48) * 11) & 255
    return (flat ^ (((x & y & 16) >> 4) * 85)).astype(np.uint8)


# ---- a PNG writer for the kinds that Pillow does not write ----------------------------------------------------------

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def _scanlines(samples, depth):
    """[h,w,C] samples -> filtered rows (filters 0 to 4 by turns), `depth` bits a sample, most significant first."""
    h, w, channels = samples.shape
    if depth == 16:
        rows = np.stack([samples >> 8, samples & 255], axis=-1).reshape(h, -1).astype(np.uint8)
    elif depth == 8:
        rows = samples.reshape(h, -1).astype(np.uint8)
    else:
        bits = (samples.reshape(h, -1, 1) >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(h, -1).astype(np.uint8), axis=1)
    step, out, above = max(1, channels * depth // 8), b"", np.zeros(rows.shape[1], np.int64)
    for i, row in enumerate(rows.astype(np.int64)):
        left = np.concatenate([np.zeros(step, np.int64), row[:-step]])[:len(row)]
        corner = np.concatenate([np.zeros(step, np.int64), above[:-step]])[:len(row)]
        p = left + above - corner
        near = np.abs(np.stack([p - left, p - above, p - corner]))
        paeth = np.choose(near.argmin(0), [left, above, corner])
        filters = [0 * row, left, above, (left + above) // 2, paeth]
        kind = i % 5
        out += bytes([kind]) + ((row - filters[kind]) & 255).astype(np.uint8).tobytes()
        above = row
    return out


def png(samples, color_type, depth, interlaced=False, chunks=()):
    """The bytes of a PNG; `chunks` (name, data) go before the picture's data."""
    samples = np.atleast_3d(samples).astype(np.int64)
    h, w, _ = samples.shape
    if interlaced:
        passes = [samples[y0::dy, x0::dx] for y0, x0, dy, dx in ADAM7]
        data = b"".join(_scanlines(p, depth) for p in passes if p.size)
    else:
        data = _scanlines(samples, depth)
    header = struct.pack(">IIBBBBB", w, h, depth, color_type, 0, 0, int(interlaced))
    everything = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in everything)


# ---- other containers ------------------------------------------------------------------------------------------------

def saved(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def exif(orientation, big_endian=False):
    """An EXIF block of one entry: the orientation, as a 16-bit number."""
    e = ">" if big_endian else "<"
    return (b"MM" if big_endian else b"II") + struct.pack(e + "HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def bmp(rows, bits, masks=None, top_down=False, palette=b""):
    """The bytes of a BMP; `rows` are packed scanlines, top row first, without their padding."""
    height, stride = len(rows), (len(rows[0]) + 3) // 4 * 4
    width = len(rows[0]) * 8 // bits
    body = b"".join(r.ljust(stride, b"\0") for r in (rows if top_down else rows[::-1]))
    extra = struct.pack("<III", *masks) if masks else b""
    info = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, 3 if masks else 0,
                       len(body), 2835, 2835, len(palette) // 4, 0)
    start = 14 + len(info) + len(extra) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + extra + palette + body


def all_files():
    """{file name: bytes}."""
    rgb, h, w = smooth(45, 60), 45, 60
    alpha = noise(h, w, 1)
    image = Image.fromarray(rgb)
    grey = Image.fromarray(rgb[..., 1])
    rgba = np.concatenate([rgb, alpha], axis=-1)
    rgba[:15, :, 3], rgba[15:25, :, 3] = 0, 255
    wide = rgb.astype(np.int64) * 257 ^ (noise(h, w).astype(np.int64) & 0x7F)  # 16 bits a sample
    palette = image.quantize(37)
    holes = Image.fromarray(np.where(alpha[..., 0] < 80, 0, np.asarray(palette)))
    holes.putpalette(palette.getpalette())
    colours = bytes(noise(16, 1).reshape(-1))
    four, two = noise(h, w, 1) & 15, noise(h, w, 1) & 3
    files = {
        # lossless, by kind
        "rgb.png": saved(image, "PNG"), "rgb_noise.png": saved(Image.fromarray(noise(37, 53)), "PNG"),
        "rgba.png": saved(Image.fromarray(rgba), "PNG"), "grey.png": saved(grey, "PNG"),
        "grey_alpha.png": saved(Image.fromarray(rgba[..., [1, 3]]), "PNG"),
        "one_bit.png": saved(image.convert("1"), "PNG"),
        "palette.png": saved(palette, "PNG"), "palette_one_clear.png": saved(holes, "PNG", transparency=0),
        "palette_alpha.png": saved(palette, "PNG", transparency=bytes(range(0, 222, 6))),
        "palette_4bit.png": png(four, 3, 4, chunks=[(b"PLTE", colours)]),
        "palette_2bit.png": png(two, 3, 2, chunks=[(b"PLTE", colours[:12])]),
        "palette_1bit.png": png(two & 1, 3, 1, chunks=[(b"PLTE", colours[:6])]),
        "grey_4bit.png": png(four, 0, 4), "grey_2bit.png": png(two, 0, 2),
        "grey_clear.png": saved(grey, "PNG", transparency=100),
        "rgb_clear.png": saved(image, "PNG", transparency=tuple(int(v) for v in rgb[20, 20])),
        "grey16.png": png(wide[..., 0], 0, 16), "grey16_dark.png": png(wide[..., 0] >> 7, 0, 16),
        "grey16_clear.png": png(wide[..., 0], 0, 16, chunks=[(b"tRNS", struct.pack(">H", int(wide[3, 3, 0])))]),
        "rgb16.png": png(wide, 2, 16), "grey_alpha16.png": png(wide[..., :2], 4, 16),
        "rgba16.png": png(np.concatenate([wide, wide[..., :1]], -1), 6, 16),
        "interlaced_rgb.png": png(rgb, 2, 8, True), "interlaced_rgba.png": png(rgba, 6, 8, True),
        "interlaced_palette_4bit.png": png(four, 3, 4, True, [(b"PLTE", colours)]),
        "interlaced_grey16.png": png(wide[..., 0], 0, 16, True), "interlaced_3x2.png": png(rgb[:2, :3], 2, 8, True),
        "gamma.png": png(rgb, 2, 8, chunks=[(b"gAMA", struct.pack(">I", 100000))]),
        "exif_turn.png": png(rgb, 2, 8, chunks=[(b"eXIf", exif(6))]),
        "rgb.bmp": saved(image, "BMP"), "palette.bmp": saved(palette, "BMP"),
        "one_bit.bmp": saved(image.convert("1"), "BMP"),
        "grey.bmp": saved(grey, "BMP"),
        "top_down.bmp": bmp([r.tobytes() for r in rgb[..., ::-1]], 24, top_down=True),
        "unused_alpha.bmp": bmp([np.insert(r[:, ::-1], 3, 0, axis=1).tobytes() for r in rgb], 32),
        "565.bmp": bmp([((r[:, 0].astype("<u2") >> 3 << 11) | (r[:, 1].astype("<u2") >> 2 << 5) |
                         (r[:, 2].astype("<u2") >> 3)).astype("<u2").tobytes() for r in rgb], 16,
                       masks=(0xF800, 0x07E0, 0x001F)),
        "palette.gif": saved(palette, "GIF"), "clear.gif": saved(holes, "GIF", transparency=0),
        "animated.gif": saved(palette, "GIF", save_all=True, duration=80, loop=0,
                              append_images=[image.rotate(90).quantize(20), image.rotate(180).quantize(9)]),
        "interlaced.gif": saved(palette, "GIF", interlace=1), "grey.gif": saved(grey, "GIF"),
        # lossless, by shape
        **{f"{a}x{b}.png": saved(Image.fromarray(noise(b, a)), "PNG") for a, b in
           [(1, 1), (1, 2), (2, 1), (3, 3), (3, 1), (1, 100), (100, 1), (7, 211), (211, 7), (64, 64), (65, 63),
            (31, 64),
            (33, 16), (97, 90)]},
        "30000x1.png": saved(Image.fromarray(blocks(1, 30000)), "PNG"),
        "1x30000.png": saved(Image.fromarray(blocks(30000, 1)), "PNG"),
        "4032x3024.png": saved(Image.fromarray(blocks(3024, 4032)), "PNG", optimize=True),
        "3024x4032.png": saved(Image.fromarray(blocks(4032, 3024)).quantize(255), "PNG", optimize=True),
        "512x512.png": saved(Image.fromarray(blocks(512, 512)), "PNG", optimize=True),
        # lossy
        "baseline_444.jpg": saved(image, "JPEG", quality=92, subsampling=0),
        "baseline_422.jpg": saved(image, "JPEG", quality=85, subsampling=1),
        "baseline_420.jpg": saved(image, "JPEG", quality=75, subsampling=2),
        "progressive.jpg": saved(image, "JPEG", quality=80, progressive=True, subsampling=2),
        "restart.jpg": saved(image, "JPEG", quality=80, restart_marker_blocks=2),
        "noise.jpg": saved(Image.fromarray(noise(24, 40)), "JPEG", quality=60),
        "grey.jpg": saved(grey, "JPEG", quality=90),
        "cmyk.jpg": saved(image.convert("CMYK"), "JPEG", quality=95),
        "one.jpg": saved(image.crop((0, 0, 1, 1)), "JPEG"),
        "photo_420.jpg": saved(Image.fromarray(smooth(300, 400)), "JPEG", quality=75),
        **{f"turn_{n}.jpg": saved(image.crop((0, 0, 40, 24)), "JPEG", quality=90, subsampling=0,
                                  exif=b"Exif\0\0" + exif(n, n % 2 == 0)) for n in range(0, 10)},
    }
    return files


def write_all():
    files = all_files()
    for name, data in files.items():
        common.path(f"images/{name}").write_bytes(data)
    return files
