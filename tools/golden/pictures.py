#!/usr/bin/env python3
"""Writes tests/golden/data/pictures/: odd picture files, and expected.json with the pixels that Pillow makes of them.

Files are a few hundred bytes each. Pillow is asked for what the reader promises: upright (exif_transpose), sRGB (ImageCms,
perceptual intent), 16 bits cut to 8, alpha over a colour, CMYK by Pillow's own formula. Refused files have null.
expected.json also has resampled pictures: Pillow's LANCZOS, and the area mean worked out here in exact fractions.
"""
import argparse
import io
import json
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy
import PIL
from PIL import Image, ImageCms, ImageOps

BACKGROUND = (255, 255, 255)


def picture(width=16, height=12):
    """Slow gradients and a bright corner: every orientation, channel and cut shows."""
    y, x = numpy.mgrid[0:height, 0:width]
    rgb = numpy.stack([40 + 12 * x, 40 + 14 * y, 200 - 8 * x - 3 * y], -1)
    rgb[: height // 3, : width // 3] = (230, 40, 60)
    return Image.fromarray(rgb.clip(0, 255).astype(numpy.uint8))


def png(width, height, depth, color, samples, extra=b""):
    """A PNG from raw sample bytes (Pillow cannot write 16-bit RGB)."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    stride = len(samples) // height
    rows = b"".join(b"\0" + samples[i * stride:(i + 1) * stride] for i in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)) + extra
            + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def wide_profile():
    """A matrix profile with Display-P3-like primaries (adapted to D50) and gamma 1.8."""
    s15 = lambda *values: b"".join(struct.pack(">i", round(v * 65536)) for v in values)
    xyz = lambda *values: b"XYZ \0\0\0\0" + s15(*values)
    text = lambda t: b"text\0\0\0\0" + t + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(4 + 4 + 2 + 1 + 67)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(1.8 * 256)) + b"\0\0"
    tags = [(b"desc", desc), (b"cprt", text(b"none")), (b"wtpt", xyz(0.9642, 1.0, 0.8249)),
            (b"rXYZ", xyz(0.5151, 0.2412, -0.0011)), (b"gXYZ", xyz(0.2920, 0.6922, 0.0419)),
            (b"bXYZ", xyz(0.1571, 0.0666, 0.7841)), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags:
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    body = table + data
    header = struct.pack(">I4sI4s4s4s12s4s4sI4s4sQI", 128 + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ ",
                         struct.pack(">6H", 2020, 1, 1, 0, 0, 0), b"acsp", b"APPL", 0, b"none", b"none", 0, 0)
    header += s15(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + body


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def over(image, background=BACKGROUND):
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def good_files():
    """name -> (bytes, expected image, tolerance)."""
    base = picture()
    jpeg = {"quality": 95, "subsampling": 0}
    files = {}

    def add(name, data, tolerance, expected=None):
        files[name] = (data, expected or Image.open(io.BytesIO(data)).convert("RGB"), tolerance)

    add("plain.jpg", saved(base, "JPEG", **jpeg), 2)
    for orientation in range(2, 9):
        data = saved(base, "JPEG", exif=exif(orientation), **jpeg)
        add(f"turned{orientation}.jpg", data, 2, ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    add("grey.jpg", saved(base.convert("L"), "JPEG", quality=95), 2)
    add("cmyk.jpg", saved(base.convert("CMYK"), "JPEG", **jpeg), 3)
    add("bad_profile.jpg", saved(base, "JPEG", icc_profile=b"no profile at all" * 20, **jpeg), 2)
    deep = numpy.asarray(base).astype(numpy.uint16) * 256 + 77
    add("deep.png", png(*base.size, 16, 2, deep.astype(">u2").tobytes()), 1, base)
    grey = numpy.asarray(base.convert("L")).astype(numpy.uint16) * 256 + 200
    add("deep_grey.png", png(*base.size, 16, 0, grey.astype(">u2").tobytes()), 1, base.convert("L").convert("RGB"))
    fade = Image.fromarray(numpy.tile(numpy.arange(0, 256, 16, dtype=numpy.uint8), (12, 1)))
    clear = base.convert("LA")
    clear.putalpha(fade)
    add("grey_alpha.png", saved(clear, "PNG"), 1, over(clear))
    clear = base.convert("RGBA")
    clear.putalpha(fade)
    add("alpha.webp", saved(clear, "WEBP", lossless=True, exact=True), 1, over(clear))
    deep = numpy.dstack([deep, numpy.asarray(fade).astype(numpy.uint16) * 256 + 99])
    add("deep_alpha.png", png(*base.size, 16, 6, deep.astype(">u2").tobytes()), 1, over(clear))
    palette = base.quantize(16, dither=Image.Dither.NONE)
    data = saved(palette, "PNG", transparency=0)
    add("palette.png", data, 1, over(Image.open(io.BytesIO(data))))
    add("still.gif", saved(palette, "GIF"), 0)
    add("bits.png", saved(base.convert("1"), "PNG"), 0)
    wide = ImageCms.ImageCmsProfile(io.BytesIO(wide_profile()))
    converted = ImageCms.profileToProfile(base, wide, ImageCms.createProfile("sRGB"),
                                          renderingIntent=ImageCms.Intent.PERCEPTUAL)
    add("wide.png", saved(base, "PNG", icc_profile=wide_profile()), 2, converted)
    add("still.avif", saved(base, "AVIF", quality=100, subsampling="4:4:4", speed=6), 4)
    return files


def timeless(data):
    """An AVIF sequence with its times of creation set to zero: equal bytes on every run."""
    for box in (b"mvhd", b"tkhd", b"mdhd"):
        at = data.find(box) + 4
        width = 16 if data[at] == 1 else 8
        data = data[:at + 4] + bytes(width) + data[at + 4 + width:]
    return data


def bad_files():
    base = picture(32, 24)
    frames = [base, base.transpose(Image.Transpose.FLIP_LEFT_RIGHT), base.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    moving = {"save_all": True, "append_images": frames[1:], "duration": 100}
    files = {"moving.gif": saved(frames[0], "GIF", **moving), "moving.webp": saved(frames[0], "WEBP", lossless=True, **moving),
             "moving.png": saved(frames[0], "PNG", **moving),
             "moving.avif": timeless(saved(frames[0], "AVIF", quality=30, speed=8, **moving)),
             "empty.png": b"", "text.png": "A text that somebody named *.png: déjà vu.\n".encode(),
             "zeros.jpg": bytes(100), "bitmap.png": saved(base, "BMP")[:200],
             "huge.png": huge_png()}
    for name, whole in (("cut.jpg", saved(base, "JPEG", quality=95)), ("cut.png", saved(base, "PNG")),
                        ("cut.webp", saved(base, "WEBP", lossless=True)), ("cut.gif", saved(base, "GIF")),
                        ("cut.avif", saved(base, "AVIF", quality=90, speed=8))):
        files[name] = whole[: len(whole) * 6 // 10]
    return files


def huge_png():
    """A header of 30,000 x 30,000 and a first bit of pixels: whoever decodes it fails, whoever reads the header knows."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(bytes(90001), 9)) + chunk(b"IEND", b""))


def area_mean(samples, width, height):
    """Each output sample is the exact mean of the rectangle under it, rounded half up."""
    def weights(length, parts):
        step = Fraction(length, parts)
        return [[max(Fraction(0), min(step * (i + 1), j + 1) - max(step * i, j)) / step for j in range(length)] for i in range(parts)]
    rows, columns = weights(samples.shape[0], height), weights(samples.shape[1], width)
    out = numpy.zeros((height, width, 3), int)
    for y in range(height):
        for x in range(width):
            for c in range(3):
                total = sum(a * b * int(samples[j, i, c]) for j, a in enumerate(rows[y]) if a for i, b in enumerate(columns[x]) if b)
                out[y, x, c] = int(total + Fraction(1, 2))
    return out


def resampled():
    noise = numpy.random.default_rng(3).integers(0, 256, (9, 13, 3), dtype=numpy.uint8)
    cases = []
    for width, height in ((31, 22), (13, 20), (14, 10), (5, 4)):
        made = numpy.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.LANCZOS))
        cases.append({"filter": "lanczos", "width": width, "height": height, "rgb": made.flatten().tolist()})
    for width, height in ((6, 5), (13, 4), (12, 9), (1, 1)):
        cases.append({"filter": "area", "width": width, "height": height, "rgb": area_mean(noise, width, height).flatten().tolist()})
    return {"width": 13, "height": 9, "rgb": noise.flatten().tolist(), "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests/golden/data/pictures")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for name, (data, image, tolerance) in good_files().items():
        (folder / name).write_bytes(data)
        entries[name] = {"width": image.width, "height": image.height, "tolerance": tolerance,
                         "rgb": numpy.asarray(image).flatten().tolist()}
    for name, data in bad_files().items():
        (folder / name).write_bytes(data)
        entries[name] = None
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in sorted(entries.items()))
    (folder / "expected.json").write_text(f'{{"reference": "Pillow {PIL.__version__}", "files": {{\n{lines}}},\n'
                                          f'"resample": {json.dumps(resampled())}}}\n')
    sizes = sorted(((folder / name).stat().st_size, name) for name in entries)
    print(f"{len(entries)} pictures, largest {sizes[-1]}, {sum(s for s, _ in sizes)} bytes in {folder}; "
          f"expected.json {(folder / 'expected.json').stat().st_size} bytes")


if __name__ == "__main__":
    main()
