"""Whatever is uploaded becomes an upright RGB picture or a `PhotoError`, quickly and in bounds."""

import gc
import inspect
import io
import lzma
import random
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFile

from ui import photo
from ui.photo import MAX_BYTES, MAX_SIDE, SENTENCES, Photo, PhotoError, Reason
from ui.samples import DEFAULT, PHOTOS, SAMPLES, sample

ROOT = Path(__file__).parents[2]
FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes what `ui.photo` ignores


SECONDS = 2
MEMORY = 300_000_000
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux's kernel")


def decode(data: bytes) -> Image.Image:
    """What is tested; no file, however hostile, takes it longer than a visitor would wait."""
    started = time.process_time()
    try:
        return photo.decode(data)
    finally:
        assert time.process_time() - started < SECONDS


def in_use(name: str) -> int:
    """Memory of this process in bytes, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{name}:\s+(\d+) kB", status)[1])


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def scene() -> Image.Image:
    """Four corners that tell every orientation apart: red, green / blue, white."""
    image = Image.new("RGB", (40, 24), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 19, 11), "red")
    draw.rectangle((20, 0, 39, 11), "lime")
    draw.rectangle((0, 12, 19, 23), "blue")
    return image


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def refusal(data: bytes) -> Reason:
    with pytest.raises(PhotoError) as caught:
        decode(data)
    assert isinstance(caught.value, ValueError)
    sentence = SENTENCES[caught.value.reason]
    assert str(caught.value) == sentence.format(megapixels=caught.value.megapixels)
    return caught.value.reason


def png(width: int, height: int, colour_type: int = 2, *chunks: bytes) -> bytes:
    """A PNG whose header says what it likes."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(tags: dict[int, list[int]], body: bytes) -> bytes:
    """A little-endian TIFF of one directory, its data behind it at the offset 0 in `tags`."""
    size = 8 + 2 + 12 * len(tags) + 4
    start = size + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    directory, further = struct.pack("<H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        numbers = struct.pack(f"<{len(values)}I", *(value or start for value in values))
        if len(values) > 1:
            numbers, further = struct.pack("<I", size + len(further)), further + numbers
        directory += struct.pack("<HHI", tag, 4, len(values)) + numbers
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + further + body


# What must become a picture


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_becomes_rgb(file_format: str) -> None:
    image = decode(encoded(scene(), file_format))
    assert (image.mode, image.size) == ("RGB", (40, 24))
    assert np.abs(pixels(image)[4, 4] - (255, 0, 0)).max() < 60


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        *(("1", f) for f in ("PNG", "BMP", "GIF", "TIFF")),
        *(("L", f) for f in FORMATS),
        *(("LA", f) for f in ("PNG", "TIFF", "GIF", "WEBP")),
        *(("P", f) for f in ("PNG", "BMP", "GIF", "TIFF")),
        ("PA", "TIFF"),
        *(("RGB", f) for f in FORMATS),
        *(("RGBA", f) for f in ("PNG", "WEBP", "GIF", "TIFF")),
        *(("CMYK", f) for f in ("JPEG", "TIFF")),
        *(("YCbCr", f) for f in ("JPEG", "TIFF")),
        ("LAB", "TIFF"),
    ],
)
def test_every_mode_keeps_its_picture(mode: str, file_format: str) -> None:
    ramp = Image.linear_gradient("L").resize((64, 64))
    if mode == "PA":
        image = ramp.convert("RGB").convert("P").convert("PA")
    else:
        image = (ramp if mode in ("1", "L", "LA") else ramp.convert("RGB")).convert(mode)
    decoded = decode(encoded(image, file_format))
    assert (decoded.mode, decoded.size) == ("RGB", (64, 64))
    rows = pixels(decoded).mean(axis=(1, 2))
    assert rows[:8].mean() < 40 < 215 < rows[-8:].mean()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_greys_are_scaled(file_format: str) -> None:
    greys = np.array([[0, 256, 32768, 65535]], dtype=np.uint16).repeat(3, axis=0)
    decoded = pixels(decode(encoded(Image.fromarray(greys), file_format)))
    assert decoded[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (decoded == decoded[..., :1]).all()


def test_big_endian_sixteen_bit_greys_are_scaled() -> None:
    greys = np.array([[0, 32768, 65535]], dtype=">u2")
    image = Image.frombytes("I;16B", (3, 1), greys.tobytes())
    assert pixels(decode(encoded(image, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_twelve_bit_greys_are_scaled() -> None:
    tags = {256: [2], 257: [1], 258: [12], 259: [1], 262: [1], 273: [0], 277: [1], 278: [1]}
    body = bytes([0x80, 0x0F, 0xFF])  # 2048 and 4095
    assert pixels(decode(tiff(tags | {279: [3]}, body)))[0, :, 0].tolist() == [128, 255]


def test_sixteen_bit_colours_are_scaled() -> None:
    rows = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 0, 256)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    decoded = pixels(decode(b"\x89PNG\r\n\x1a\n" + b"".join(parts)))
    assert decoded[0].tolist() == [[0, 128, 255], [255, 0, 1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 51.0, 255.0], [0, 51, 255]),
        ([0.0, 257.0, 65535.0], [0, 1, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([1e6, 2e6, 3e6], [0, 128, 255]),
        ([-3e38, 0.0, 3e38], [0, 128, 255]),
        ([float("nan"), 0.0, 1.0], [0, 0, 255]),
        ([float("-inf"), float("inf"), 1.0], [0, 255, 255]),
        ([float("nan")] * 3, [0, 0, 0]),
        ([7e7, 7e7, 7e7], [0, 0, 0]),
        ([3e38, 3e38, 3e38], [0, 0, 0]),
        ([-1e-40, -1e-40, -1e-40], [0, 0, 0]),
    ],
)
def test_floats_are_scaled_to_the_range_they_use(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert pixels(decode(encoded(image, "TIFF")))[0, :, 0].tolist() == expected


def test_long_integers_are_scaled_to_the_range_they_use() -> None:
    image = Image.fromarray(np.array([[0, 100_000, 200_000]], dtype=np.int32))
    assert pixels(decode(encoded(image, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "TIFF"])
def test_transparency_lies_on_white(file_format: str) -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    decoded = pixels(decode(encoded(image, file_format)))
    assert (decoded[:, 0] == 255).all()
    assert np.abs(decoded[:, 7] - (255, 0, 0)).max() < 60


def test_half_transparency_is_blended_with_white() -> None:
    image = Image.new("LA", (2, 2), (0, 128))
    assert pixels(decode(encoded(image)))[0, 0].tolist() == [127] * 3


@pytest.mark.parametrize(
    ("mode", "colour", "transparency"),
    [("P", 1, 1), ("P", 1, b"\xff\x00"), ("L", 9, 9), ("RGB", (1, 2, 3), (1, 2, 3)), ("1", 0, 0)],
)
def test_a_transparent_colour_becomes_white(mode: str, colour, transparency) -> None:
    image = Image.new(mode, (4, 4), colour)
    if mode == "P":
        image.putpalette([200, 0, 0, 0, 0, 200])
    assert (pixels(decode(encoded(image))) < 255).any()
    assert (pixels(decode(encoded(image, transparency=transparency))) == 255).all()


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_shows_its_first_frame(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:])
    decoded = decode(data)
    assert decoded.size == (8, 6)
    assert np.abs(pixels(decoded) - (255, 0, 0)).max() < 10


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(file_format: str, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = scene().transpose(undo[orientation]) if orientation in undo else scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(encoded(stored, file_format, exif=exif))
    assert decoded.size == (40, 24)
    assert np.abs(pixels(decoded) - pixels(scene()))[2:10:3, 2::8].max() < 60


def exif_of(kind: int, count: int, value: bytes) -> bytes:
    """EXIF data with nothing but an orientation, of any TIFF type and count."""
    entry = struct.pack(">HHI", 0x0112, kind, count) + value
    return b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry + bytes(4)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 999,
        b"x" * 99,
        exif_of(3, 1, b"\0\0\0\0"),
        exif_of(3, 1, b"\0\x09\0\0"),
        exif_of(3, 1, b"\xff\xff\0\0"),
        exif_of(2, 4, b"six\0"),
        exif_of(11, 1, b"\x7f\xc0\0\0"),
        exif_of(5, 1, bytes(4)),
        exif_of(12, 2**31, b"\xff" * 4),
    ],
)
def test_damaged_exif_data_do_not_spoil_a_photo(exif: bytes) -> None:
    for file_format in ("JPEG", "PNG", "WEBP"):
        assert decode(encoded(scene(), file_format, exif=exif)).size == (40, 24)


def test_several_pictures_in_one_jpeg_show_the_first() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    decoded = decode(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert np.abs(pixels(decoded) - (254, 0, 0)).max() < 10


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (1, 1)),
        ((1024, 768), (1024, 768)),
        ((1025, 1), (1024, 1)),
        ((4096, 1024), (1024, 256)),
        ((3000, 4500), (683, 1024)),
        ((30_000, 1), (1024, 1)),
        ((1, 30_000), (1, 1024)),
        ((30_000, 300), (1024, 10)),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_the_longest_side_is_limited(
    size: tuple[int, int], expected: tuple[int, int], file_format: str
) -> None:
    assert decode(encoded(Image.new("RGB", size, "teal"), file_format)).size == expected


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_shrinking_keeps_the_picture_in_place(file_format: str) -> None:
    large = scene().resize((5003, 3001), Image.Resampling.NEAREST)
    decoded = decode(encoded(large, file_format))
    expected = scene().resize(decoded.size, Image.Resampling.NEAREST)
    differs = np.abs(pixels(decoded) - pixels(expected)).max(axis=2) > 40
    assert differs.mean() < 0.01


def test_a_tiff_is_turned_as_its_xmp_data_say() -> None:
    tags = {256: [40], 257: [24], 258: [8, 8, 8], 259: [1], 262: [2], 277: [3], 278: [24]}
    xmp = b'<x tiff:Orientation="6"/>'
    data = tiff(tags | {273: [0], 279: [40 * 24 * 3], 700: [1]}, scene().tobytes())
    entry = struct.pack("<HHII", 700, 1, len(xmp), len(data))
    decoded = decode(data.replace(struct.pack("<HHII", 700, 4, 1, 1), entry) + xmp)
    assert (pixels(decoded) == pixels(scene().transpose(Image.Transpose.ROTATE_270))).all()


# How much is accepted, and what that takes

WIDTH = 5_000
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]


def deflated(length: int) -> bytes:
    """Zeros, however many, in the form that PNG and TIFF hold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = packer.compress(bytes(length % 10**6)) + packer.flush()
    return b"\x78\xda" + block * (length // 10**6) + rest + struct.pack(">HH", length % 65_521, 1)


def large_png(height: int, depth: int, colour_type: int, samples: int, *, woven: bool) -> bytes:
    bits = depth * samples
    passes = [*PASSES, (0, 1, 1, 2)] if woven else [(0, 0, 1, 1)]
    length = 0
    for left, top, right, down in passes:
        row = 1 + (-(-(WIDTH - left) // right) * bits + 7) // 8
        length += -(-(height - top) // down) * row
    header = struct.pack(">IIBBBBB", WIDTH, height, depth, colour_type, 0, 0, woven)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", deflated(length)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def large_tiff(
    height: int, depth: int, samples: int, rows: int, body: bytes = b"", **more: int
) -> bytes:
    """One strip for all, or strips of so many rows, all the same one."""
    rows, strips = (rows, -(-height // rows)) if rows else (height, 1)
    body = body or deflated(WIDTH * rows * depth * samples // 8)
    tags = {256: WIDTH, 257: height, 259: 8, 262: 2 if samples > 2 else 1, 277: samples, 278: rows}
    tags |= {338: 2} if samples == 4 else {}
    tags |= {int(tag[1:]): value for tag, value in more.items()}
    start = (
        8 + 2 + 12 * (len(tags) + 3) + 4 + 8 * (strips > 1) * strips + 4 * (samples > 1) * samples
    )
    lists = {258: [depth] * samples, 273: [start] * strips, 279: [len(body)] * strips}
    return tiff({tag: [value] for tag, value in tags.items()} | lists, body)


def large(mode: str, height: int, file_format: str, **options: object) -> bytes:
    return encoded(Image.new(mode, (WIDTH, height)), file_format, **options)


def run_length_bmp(height: int, width: int = WIDTH) -> bytes:
    """One pixel to a row: Pillow fills up the rest of it byte by byte."""
    header = struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 1078, 40, width, height, 1, 8, 1, *[0] * 5)
    return b"BM" + header + bytes(1024) + b"\x01\x05\0\0" * height


def jpeg_in_one_strip(height: int) -> bytes:
    body = large("RGB", height, "JPEG", progressive=True, subsampling=0, keep_rgb=True)
    return large_tiff(height, 8, 3, 0, body, t259=7)


def jpeg_scan_by_scan(height: int, components: int) -> bytes:
    """A baseline JPEG of several components, whose only scan is of the first one."""
    data = large("L", height, "JPEG")
    at = data.index(b"\xff\xc0")
    length = int.from_bytes(data[at + 2 : at + 4], "big")
    frame = struct.pack(">BHHB", 8, height, WIDTH, components)
    frame += b"".join(bytes((number, 0x11, 0)) for number in range(1, components + 1))
    head = data[:at] + b"\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame
    return head + data[at + 2 + length :]


def lzma_in_one_strip(height: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    body = lzma.compress(bytes(WIDTH * height * 3), filters=filters)
    return large_tiff(height, 8, 3, 0, body, t259=34925)


def turned_by_xmp(height: int) -> bytes:
    """A TIFF in strips that is to be turned as its XMP data say, not its tag."""
    data = large_tiff(height, 8, 3, 8, t700=1)
    xmp = b'<x tiff:Orientation="6"/>'
    entry = struct.pack("<HHII", 700, 4, 1, 1)
    assert data.count(entry) == 1
    return data.replace(entry, struct.pack("<HHII", 700, 1, len(xmp), len(data))) + xmp


KINDS = {
    "JPEG": (50, lambda h: large("RGB", h, "JPEG", subsampling=0)),
    "JPEG, progressive": (36, lambda h: large("RGB", h, "JPEG", progressive=True, subsampling=0)),
    "JPEG, progressive CMYK": (27, lambda h: large("CMYK", h, "JPEG", progressive=True)),
    "PNG, 16 bits": (50, lambda h: large_png(h, 16, 0, 1, woven=False)),
    "JPEG, three scans of which one is there": (36, lambda h: jpeg_scan_by_scan(h, 3)),
    "JPEG, four scans of which one is there": (28, lambda h: jpeg_scan_by_scan(h, 4)),
    "PNG, 64 bits": (18, lambda h: large_png(h, 16, 6, 4, woven=False)),
    "PNG, interlaced": (25, lambda h: large_png(h, 8, 2, 3, woven=True)),
    "PNG, interlaced, 64 bits": (18, lambda h: large_png(h, 16, 6, 4, woven=True)),
    "WebP": (16, lambda h: large("RGB", h, "WEBP", method=0)),
    "WebP, lossless": (16, lambda h: large("RGBA", h, "WEBP", lossless=True, method=0)),
    "BMP": (50, lambda h: large("1", h, "BMP")),
    "BMP, run lengths": (5, run_length_bmp),
    "GIF": (50, lambda h: large("P", h, "GIF")),
    "TIFF in strips": (50, lambda h: large_tiff(h, 8, 3, 8)),
    "TIFF in strips, floats": (37, lambda h: large_tiff(h, 32, 1, 8, t339=3)),
    "TIFF in strips, turned": (31, lambda h: large_tiff(h, 8, 3, 8, t274=6)),
    "TIFF in strips, turned by its XMP data": (31, turned_by_xmp),
    "TIFF in strips, Lab": (20, lambda h: large_tiff(h, 8, 3, 8, t262=8)),
    "TIFF in one strip": (36, lambda h: large_tiff(h, 8, 3, 0)),
    "TIFF in one strip, floats": (32, lambda h: large_tiff(h, 32, 1, 0, t339=3)),
    "TIFF in one strip, YCbCr": (32, lambda h: large_tiff(h, 8, 3, 0, t262=6)),
    "TIFF in one strip, LZMA": (13, lzma_in_one_strip),
    "TIFF in one strip, 64 bits": (18, lambda h: large_tiff(h, 16, 4, 0)),
    "TIFF in one strip, 64 bits, turned": (16, lambda h: large_tiff(h, 16, 4, 0, t274=6)),
    "TIFF in one strip, JPEG": (10, jpeg_in_one_strip),
}
"""For each kind of file the most megapixels that are accepted, and a file of so many rows."""
MEASURED = f"""
import re, sys, time
from pathlib import Path
from ui.photo import PhotoError, decode
{inspect.getsource(in_use)}
data = sys.stdin.buffer.read()
before, started = in_use("VmRSS"), time.process_time()
try:
    side = max(decode(data).size)
except PhotoError:
    side = 0
print(side, time.process_time() - started, in_use("VmHWM") - before)
"""


@LINUX
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_picture_of_a_kind_takes_little(kind: str) -> None:
    megapixels, make = KINDS[kind]
    assert longest_side_in_time(make(megapixels * 10**6 // WIDTH)) == MAX_SIDE


def longest_side_in_time(data: bytes) -> int:
    """Of what a process of its own makes of a file, 0 if it refuses it; quickly and in bounds."""
    command = [sys.executable, "-W", "ignore", "-c", MEASURED]
    for _attempt in range(3):  # beside other work the same takes longer, never shorter
        finished = subprocess.run(command, input=data, cwd=ROOT, capture_output=True, check=True)
        side, seconds, taken = map(float, finished.stdout.split())
        assert taken < MEMORY
        if seconds < SECONDS:
            return int(side)
    pytest.fail(f"{seconds:.1f} s")


@pytest.mark.parametrize("kind", KINDS)
def test_one_megapixel_more_is_refused_with_the_limit(kind: str) -> None:
    megapixels, make = KINDS[kind]
    with pytest.raises(PhotoError, match=f"more than {megapixels} megapixels") as caught:
        decode(make((megapixels + 1) * 10**6 // WIDTH))
    assert caught.value.reason == Reason.TOO_MANY_PIXELS
    assert caught.value.megapixels == megapixels


# What must be refused


def test_a_file_over_the_limit_is_refused_unread() -> None:
    assert refusal(bytes(MAX_BYTES + 1)) == Reason.TOO_LARGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"This is no picture at all.\n" * 100,
        b"%PDF-1.7\n" + bytes(1000),
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        encoded(Image.new("RGB", (4, 4)), "ICO"),
        encoded(Image.new("RGB", (4, 4)), "PPM"),
        encoded(Image.new("RGB", (4, 4)), "TGA"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    ],
    ids=["empty", "zero", "text", "pdf", "svg", "ico", "ppm", "tga", "eps"],
)
def test_other_files_are_no_photos(data: bytes) -> None:
    assert refusal(data) == Reason.NOT_A_PHOTO


@pytest.mark.parametrize(
    "data",
    [
        png(7_072, 7_072),
        png(100_000, 100_000),
        png(2**31 - 1, 1),
        encoded(Image.new("1", (9_000, 9_000))),
        encoded(Image.new("L", (9_000, 6_000)), "JPEG"),
        encoded(Image.new("1", (9_000, 9_000)), "GIF"),
        encoded(Image.new("1", (9_000, 9_000)), "TIFF", compression="group4"),
    ],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert refusal(data) == Reason.TOO_MANY_PIXELS
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [png(70_000, 1), png(1, 70_000)])
def test_too_long_a_side_is_refused(data: bytes) -> None:
    assert refusal(data) == Reason.TOO_LONG


@pytest.mark.parametrize("file_format", FORMATS)
def test_truncated_files_are_broken(file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), file_format)
    for length in range(0, len(data) - 64, 64):
        assert refusal(data[:length]) in (Reason.BROKEN, Reason.NOT_A_PHOTO)
    assert refusal(data[: len(data) // 2]) == Reason.BROKEN
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize(
    "data",
    [
        png(30_000, 1_600),
        png(0, 5),
        png(8, 8, 2, chunk(b"IDAT", b"not zlib")),
        png(8, 8, 9, chunk(b"IDAT", zlib.compress(bytes(300)))),
        png(8, 8, 2, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**8)))),
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", *(0, 0, 0, 54, 40, 9999, 5000, 1, 24, *[0] * 6)),
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + bytes(12),
        b"GIF89a\xff\xff\xff\xff\0\0\0;",
        b"\xff\xd8\xff\xe0" + bytes(500),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(500),
    ],
)
def test_lying_headers_are_refused(data: bytes) -> None:
    assert refusal(data) in (Reason.BROKEN, Reason.NOT_A_PHOTO, Reason.TOO_MANY_PIXELS)


JPEG = encoded(Image.new("RGB", (64, 64), "red"), "JPEG")
PNG = encoded(Image.new("RGB", (64, 64), "red"), "PNG")
GIF = encoded(Image.new("P", (64, 64), 3), "GIF")
BMP_RUNS = run_length_bmp(2_000)[:54]


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:2] + b"\xff\xe5\0\x02" * 4_000_000 + JPEG[2:],
        PNG[:33] + chunk(b"prVt", b"") * 1_500_000 + PNG[33:],
        PNG[:-12] + chunk(b"tEXt", b"a\0b") * 1_200_000 + PNG[-12:],
        GIF[:-1] + b"!\xfe" + b"\x01a" * 9_000_000 + b"\0;",
        GIF[:13] + b"!\xfe\0" * 6_000_000 + GIF[13:],
        GIF[:-1] + b"!\xfe" + (b"\xff" + bytes(255)) * 78_000 + b"\0;",
        BMP_RUNS + bytes(1024) + b"\x01\x05" * 9_000_000,
        JPEG[:2] + (b"\xff\xe1\x01\x90Exif\0\0" + bytes(392)) * 50_000 + JPEG[2:],
    ],
    ids=[
        *("jpeg markers", "png chunks", "png text", "gif blocks", "gif extensions", "gif comment"),
        *("bmp runs", "jpeg exif"),
    ],
)
def test_crumbs_end_soon(data: bytes) -> None:
    try_to_decode(data)


def noise(length: int, most: int = 256) -> bytes:
    return np.random.default_rng(0).integers(0, most, length, np.uint8).tobytes()


def paeth_png(height: int) -> bytes:
    """The slowest filter on what cannot be foretold, in a small file."""
    row = b"\x04" + (noise(997) * WIDTH)[: 3 * WIDTH]
    header = struct.pack(">IIBBBBB", WIDTH, height, 8, 2, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(row * height))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


def png_with_texts(height: int, count: int) -> bytes:
    """Texts of a megabyte each, whose letters take four bytes, and little in the file."""
    packed = zlib.compress(("😀" + "a" * 1_000_000).encode())
    texts = b"".join(chunk(b"iTXt", b"%d\0\1\0\0\0" % n + packed) for n in range(count))
    data = large_png(height, 8, 2, 3, woven=False)
    return data[:33] + texts + data[33:]


def arithmetic_jpeg(side: int, scans: int) -> bytes:
    """Arithmetic coding: hardly a bit, but all the work, for each coefficient of each scan."""
    frame = struct.pack(">BHHB", 8, side, side, 1) + bytes((1, 0x11, 0))
    conditioning = bytes.fromhex("ffcc00041005")
    first = bytes.fromhex(
        "ffcc00040010ffda00080101000000004bc6ffcc00041005ffda0008010100013f014bc60000000000016874"
        "004eea00000000b56a5d800000000dfda10000000002b96f30929de6099a37e73a6eb7ba79e87dcd314d9738"
        "32e8bea0"
    )
    further = conditioning + bytes.fromhex("ffda0008010100013f104bc6")
    tables = b"\xff\xdb\0\x43\0" + b"\1" * 64
    head = b"\xff\xd8" + tables + b"\xff\xca" + struct.pack(">H", len(frame) + 2) + frame
    return head + first + further * (scans - 2) + b"\xff\xd9"


def noisy_webp(side: int) -> bytes:
    image = Image.frombytes("RGB", (side, side), noise(side * side * 3, 4))
    return encoded(image, "WEBP", lossless=True, method=0)


def listing(*tags: tuple[int, int, int], body: bytes) -> bytes:
    """A TIFF of 16 x 16 pixels with further tags, (number, type, count), that all hold `body`."""
    plain = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 256}
    entries = {tag: struct.pack("<HHII", tag, 4, 1, value) for tag, value in plain.items()}
    start = 8 + 2 + 12 * len(entries.keys() | {tag for tag, *_ in tags}) + 4
    entries |= {tag: struct.pack("<HHII", tag, kind, n, start) for tag, kind, n in tags}
    directory = struct.pack("<H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries))
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + body


def directory_of_rationals(count: int) -> bytes:
    """EXIF data, or the directory in a TIFF that its EXIF tag names, at offset 134."""
    entry = struct.pack("<HHII", 0x0112, 5, count, 134 + 18)
    return struct.pack("<H", 1) + entry + bytes(4) + noise(8 * count)


def exif_of_rationals(count: int) -> bytes:
    entry = struct.pack("<HHII", 0x0112, 5, count, 26)
    return b"II*\0\x08\0\0\0\1\0" + entry + bytes(4) + noise(8 * count)


def jpeg_with_exif(exif: bytes) -> bytes:
    pieces = [exif[at : at + 65_500] for at in range(0, len(exif), 65_500)]
    blocks = [struct.pack(">HH", 0xFFE1, len(p) + 8) + b"Exif\0\0" + p for p in pieces]
    return JPEG[:2] + b"".join(blocks) + JPEG[2:]


def jpegs_in_strips(height: int, scans: int) -> bytes:
    """All strips are the same one, a JPEG with its last scan again and again."""
    strip = Image.frombytes("RGB", (WIDTH, 16), noise(WIDTH * 16 * 3, 64))
    data = encoded(strip, "JPEG", progressive=True, subsampling=0, keep_rgb=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    data = data[:-2] + last * (scans - data.count(b"\xff\xda")) + data[-2:]
    return large_tiff(height, 8, 3, 16, data, t259=7)


def tiff_with_a_large_tag(height: int) -> bytes:
    data = large_tiff(height, 8, 3, 0, t700=1)
    entry = struct.pack("<HHII", 700, 7, 19_000_000, len(data))
    return data.replace(struct.pack("<HHII", 700, 4, 1, 1), entry) + bytes(19_000_000)


LISTED = 2_400_000
HOSTILE = {
    "PNG, Paeth": lambda: paeth_png(10_000),
    "PNG, texts": lambda: png_with_texts(10_000, 60),
    "JPEG, arithmetic": lambda: arithmetic_jpeg(3_500, 20),
    "JPEG, arithmetic, many scans": lambda: arithmetic_jpeg(3_000, 111),
    "JPEG, EXIF": lambda: jpeg_with_exif(exif_of_rationals(800_000)),
    "PNG, EXIF": lambda: encoded(scene(), exif=exif_of_rationals(LISTED)),
    "WebP, a large file": lambda: noisy_webp(3_990),
    "WebP, EXIF": lambda: encoded(scene(), "WEBP", exif=exif_of_rationals(LISTED)),
    "TIFF, XMP": lambda: tiff_with_a_large_tag(5_900),
    "TIFF, XMP, more pixels": lambda: tiff_with_a_large_tag(7_100),
    "TIFF, strips": lambda: listing((273, 4, 2 * LISTED), body=noise(8 * LISTED)),
    "TIFF, resolutions": lambda: listing((282, 5, LISTED), body=noise(8 * LISTED)),
    "TIFF, orientations": lambda: listing((274, 5, LISTED), body=noise(8 * LISTED)),
    "TIFF, EXIF": lambda: listing((34665, 4, 1), body=directory_of_rationals(LISTED)),
    "TIFF, LZMA": lambda: large_tiff(
        8_000, 16, 4, 16, lzma.compress(noise(WIDTH * 16 * 8, 16)), t259=34925
    ),
    "TIFF, deflate, 64 bits": lambda: large_tiff(
        10_000, 16, 4, 16, zlib.compress(noise(WIDTH * 16 * 8, 16), 9)
    ),
    "TIFF, Lab": lambda: large_tiff(10_000, 8, 3, 16, zlib.compress(noise(WIDTH * 48)), t262=8),
    "TIFF, JPEG, progressive": lambda: jpegs_in_strips(10_000, 20),
    "TIFF, JPEG, many scans": lambda: jpegs_in_strips(1_000, 90),
}
"""Small files that would keep a decoder busy, or fill the memory."""


@LINUX
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_take_little(kind: str) -> None:
    longest_side_in_time(HOSTILE[kind]())


def test_arithmetic_coding_halves_what_a_picture_may_have() -> None:
    with pytest.raises(PhotoError) as refused:
        decode(arithmetic_jpeg(5_000, 20))
    assert (refused.value.reason, refused.value.megapixels) == (Reason.TOO_MANY_PIXELS, 12)


def test_strips_that_lie_on_one_another_are_refused() -> None:
    strip = encoded(Image.new("L", (64, 8)), "JPEG")
    tags = {256: [64], 257: [16], 258: [8], 259: [7], 262: [1], 277: [1], 278: [8]}
    places = {273: [0, 0], 279: [len(strip), len(strip) - 1]}
    assert refusal(tiff(tags | places, strip)) == Reason.BROKEN


def test_long_lists_in_exif_data_do_not_spoil_a_photo() -> None:
    for file_format in ("PNG", "WEBP"):
        data = encoded(scene(), file_format, exif=exif_of_rationals(200_000))
        assert decode(data).size == (40, 24)


def test_a_directory_inside_a_tiff_does_not_spoil_a_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9000] = b"0230"
    assert decode(encoded(scene(), "TIFF", exif=exif)).size == (24, 40)


def test_endless_progressive_scans_are_refused() -> None:
    data = encoded(Image.new("RGB", (3000, 3000), "red"), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    assert refusal(data[:-2] + last_scan * 300 + data[-2:]) == Reason.TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("size", "tile"), [((16, 16), (57_600, 57_600)), ((65_000, 16), (16, 3_000_000))]
)
def test_tiles_beyond_the_picture_are_refused(size: tuple[int, int], tile: tuple[int, int]) -> None:
    tags = {256: [size[0]], 257: [size[1]], 258: [8], 259: [8], 262: [1], 277: [1]}
    body = zlib.compress(bytes(100_000))
    tiles = -(-size[0] // tile[0])
    tags |= {322: [tile[0]], 323: [tile[1]], 324: [0] * tiles, 325: [len(body)] * tiles}
    assert refusal(tiff(tags, body)) == Reason.BROKEN


def test_odd_files_leave_no_warning_in_the_log(tmp_path: Path) -> None:
    files = [png(9_500, 9_500), encoded(scene(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff")]
    for number, data in enumerate(files):
        (tmp_path / str(number)).write_bytes(data)
    script = f"""
from pathlib import Path
from ui.photo import PhotoError, decode
for path in Path({str(tmp_path)!r}).iterdir():
    try:
        decode(path.read_bytes())
    except PhotoError:
        pass
"""
    command = [sys.executable, "-W", "always", "-X", "dev", "-c", script]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stderr == ""


# Whatever the bytes


def try_to_decode(data: bytes) -> None:
    try:
        image = decode(data)
    except PhotoError:
        return
    assert image.mode == "RGB"
    assert 1 <= min(image.size) <= max(image.size) <= MAX_SIDE


def seeds_of_the_fuzz() -> list[bytes]:
    ramp = Image.linear_gradient("L").resize((32, 20))
    colours = Image.merge("RGB", (ramp, ramp.rotate(180), ramp))
    exif = Image.Exif()
    exif[0x0112] = 6
    sixteen = Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257)
    return [
        *(encoded(colours, file_format) for file_format in FORMATS),
        encoded(colours, "JPEG", progressive=True, exif=exif),
        encoded(colours.convert("CMYK"), "JPEG"),
        encoded(colours.quantize(8), transparency=b"\0\x80"),
        encoded(colours, "GIF", save_all=True, append_images=[colours.rotate(90)]),
        encoded(colours, "PNG", save_all=True, append_images=[colours.rotate(90)]),
        encoded(colours, "WEBP", lossless=True, exif=exif),
        encoded(sixteen),
        encoded(ramp.convert("F"), "TIFF", exif=exif),
        *(encoded(colours, "TIFF", compression=c) for c in ("jpeg", "tiff_lzw", "packbits")),
        encoded(colours.convert("1"), "TIFF", compression="group4"),
        run_length_bmp(20, width=32),
    ]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four edits: bytes changed, a piece cut out, doubled, or taken from elsewhere."""
    edited = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(edited), chance.choice((64, 400, 10**6))))
        length = chance.randint(1, 16)
        match chance.randrange(4):
            case 0:
                edited[at] = chance.choice((0, 1, 127, 128, 254, 255, chance.randrange(256)))
            case 1:
                edited[at : at + 4] = chance.choice((bytes(4), b"\xff" * 4, chance.randbytes(4)))
            case 2:
                del edited[at : at + length]
            case 3:
                edited[at:at] = edited[at : at + length]
        edited = edited or bytearray(b"\0")
    return bytes(edited)


@LINUX
@pytest.mark.parametrize("seed", seeds_of_the_fuzz())
def test_mutations_raise_nothing_else(seed: bytes) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # forget the most that was ever in use
    before = in_use("VmHWM")
    chance = random.Random(0)
    try_to_decode(seed)
    for _ in range(250):
        try_to_decode(mutated(seed, chance))
    for length in range(0, len(seed), 64):
        try_to_decode(seed[:length])
    assert in_use("VmHWM") - before < MEMORY


@LINUX
def test_memory_is_given_back() -> None:
    large = encoded(Image.linear_gradient("L").resize((5000, 4000)).convert("RGBA"))
    files = [large, large[: len(large) // 2], png(9_999, 5_000), b"text", JPEG[:-30]]
    for data in files:
        try_to_decode(data)
    before = in_use("VmRSS")
    for _ in range(4):
        for data in files:
            try_to_decode(data)
    gc.collect()
    assert in_use("VmRSS") - before < 40_000_000


def test_threads_decode_side_by_side() -> None:
    data = [encoded(Image.new("RGB", (50, 40), (i, i, i))) for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        images = list(pool.map(decode, data))
    assert [image.getpixel((3, 3))[0] for image in images] == list(range(20))


# The photo


def test_a_photo_tells_itself_apart_by_its_pixels() -> None:
    wide, tall = (Image.new("RGB", size, "red") for size in ((6, 4), (4, 6)))
    first = Photo.from_bytes(encoded(wide), "a.png")
    assert (first.width, first.height, first.source, first.name) == (6, 4, "upload", "a.png")
    assert first.digest == Photo.from_bytes(encoded(wide, "BMP"), "b.bmp").digest
    assert first.digest != Photo.from_bytes(encoded(tall), "a.png").digest
    assert len(bytes.fromhex(first.digest)) == 8


def test_a_photo_gives_its_pixels() -> None:
    photo = Photo.from_bytes(encoded(scene()), "scene.png")
    assert photo.array().dtype == np.uint8
    assert (photo.array() == np.asarray(scene())).all()
    photo.array()[:] = 0
    assert photo.array().any()


def test_a_photo_gives_a_jpeg_once_made() -> None:
    photo = Photo.from_bytes(encoded(scene()), "scene.png")
    again = Image.open(io.BytesIO(photo.jpeg()))
    assert (again.format, again.size) == ("JPEG", (40, 24))
    assert np.abs(pixels(again) - pixels(scene())).mean() < 10
    assert photo.jpeg() is photo.jpeg()


def test_nothing_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    for file_format in FORMATS:
        Photo.from_bytes(encoded(scene(), file_format), "scene").jpeg()


# The samples


def test_every_sample_has_a_credit_and_can_be_decoded() -> None:
    assert {entry.file for entry in SAMPLES.values()} == {p.name for p in PHOTOS.glob("*.jpg")}
    assert next(iter(SAMPLES)) == DEFAULT
    for key, entry in SAMPLES.items():
        assert set(entry.title) == {"en", "zh"}
        assert all([*entry.title.values(), entry.author, entry.licence, entry.source])
        assert sample(key).name == key
        assert sample(key) is sample(key)


def test_an_unknown_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="key must be one of night_cafe"):
        sample("../secret")


def test_credits_are_listed_in_the_notices() -> None:
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
    for entry in SAMPLES.values():
        assert f"`{entry.file}`" in notices
