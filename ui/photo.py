"""The visitor's photo: from whatever bytes arrive to an upright RGB picture, or one sentence.

Nothing here touches the disk, and nothing outlives the call but the picture it returns.
"""

import hashlib
import io
import re
import struct
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import ceil
from typing import Any, Literal, Self

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v1, TiffImageFile

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 50_000_000
MAX_INPUT_SIDE = 65_535
MAX_MEMORY = 256_000_000
"""What a picture may take while it is decoded, in bytes: some formats reach it before 50 MP."""

MAX_SIDE = 1024
"""The longest side of a decoded photo, in pixels."""

_MAX_READS = 200_000  # an honest file of 20 MB needs some thousands
_MAX_SECONDS = 1.5  # of a processor until all is read; 50 MP take a third of it
_BLOCK = 16_384  # bytes of a file that are decoded between two looks at the clock
_MAX_SCANNED = 500_000_000  # pixels times scans of a progressive JPEG
_MAX_SCANNED_ARITHMETIC = 250_000_000  # the same with arithmetic coding, which takes twice as long
_MAX_SCANNED_STRIPS = 150_000_000  # the same in a TIFF, whose strips may all be the same one
_MAX_RUN_PIXELS = 5_000_000  # of a run-length BMP, which Pillow unpacks in Python: half a second
_MAX_WOVEN_PIXELS = 25_000_000  # of an interlaced PNG: half a second
_MAX_UNPACKED = 150_000_000  # bytes of a PNG or TIFF: a second
_MAX_UNPACKED_LZMA = 40_000_000
_MAX_LAB_PIXELS = 20_000_000  # which littleCMS converts: more than a second
_MAX_EXIF_BLOCKS = 10  # of 64 KB; an honest file has one to a picture
_MAX_EXIF_BYTES = 1_000_000  # of a PNG or WebP
_MAX_LISTED = 1_000_000  # bytes of numbers in a TIFF's directory; Pillow makes objects of them
_STRIP_PIXELS = 1_000_000
_FREE_BYTES = 8_000_000  # of a file; if it is larger, the copies that are made of it count
_LEAST_LIMIT = 1_000_000  # pixels; a file that can hold no more is not made by any camera

# Bytes that Pillow and its libraries hold for each pixel.
_WEBP_BYTES = 16  # two canvases of libwebp, the copy of one, the picture
_COEFFICIENT_BYTES = 2  # of a JPEG in several scans, for each sample

# Tags of a TIFF file.
_IMAGE_WIDTH, _IMAGE_LENGTH, _BITS_PER_SAMPLE, _COMPRESSION = 256, 257, 258, 259
_PHOTOMETRIC, _SAMPLES_PER_PIXEL, _ROWS_PER_STRIP = 262, 277, 278
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_PLACES = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles
_SUBDIRECTORIES = (34665, 34853, 40965)
_TEXTS = (1, 2, 7)  # types of tags that are bytes as they stand
_TIFF_JPEG = (6, 7)
_LZMA, _ZSTD = 34925, 50000
_YCBCR = 6

_START_OF_SCAN = b"\xff\xda"  # in a JPEG

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# One large photo in memory at a time, however many visitors upload one.
_decoding = threading.Lock()

# Of texts in a PNG, which take up to four bytes a letter once they are unpacked.
PngImagePlugin.MAX_TEXT_MEMORY = 8_000_000

# Pillow tells the server's log about odd files, which nobody there can mend.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Reason(StrEnum):
    """Why a file cannot be shown."""

    TOO_LARGE = "too_large"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_LONG = "too_long"
    NOT_A_PHOTO = "not_a_photo"
    BROKEN = "broken"


SENTENCES = {
    Reason.TOO_LARGE: "The file is larger than 20 MB.",
    Reason.TOO_MANY_PIXELS: (
        "The picture has more than {megapixels} megapixels, the most for its kind of file."
    ),
    Reason.TOO_LONG: "The picture has a side of more than 65,535 pixels.",
    Reason.NOT_A_PHOTO: "The file is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture.",
    Reason.BROKEN: "The picture is damaged and cannot be read.",
}
"""What a visitor is told, in English."""


class PhotoError(ValueError):
    """A file that cannot be shown.

    Attributes:
        reason: why; `str()` says it in an English sentence.
        megapixels: the most that a picture of its kind may have, where it has too many.
    """

    def __init__(self, reason: Reason, megapixels: int = MAX_PIXELS // 1_000_000) -> None:
        super().__init__(SENTENCES[reason].format(megapixels=megapixels))
        self.reason = reason
        self.megapixels = megapixels


@dataclass(frozen=True)
class Photo:
    """A decoded photo.

    Args:
        image: RGB, upright, its longest side at most `MAX_SIDE`.
        name: the sample's key or the uploaded file's name.
        source: where it comes from.
        digest: 16 hexadecimal digits that tell photos apart by their pixels.
    """

    image: Image.Image = field(repr=False, compare=False)
    name: str
    source: Literal["sample", "upload"]
    digest: str

    @classmethod
    def from_bytes(
        cls, data: bytes, name: str, source: Literal["sample", "upload"] = "upload"
    ) -> Self:
        """Decode a file's bytes.

        Raises:
            PhotoError: as `decode` does.
        """
        image = decode(data)
        digest = hashlib.blake2b(f"{image.size}".encode(), digest_size=8)
        digest.update(image.tobytes())
        return cls(image, name, source, digest.hexdigest())

    @property
    def width(self) -> int:
        """In pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """In pixels."""
        return self.image.height

    def array(self) -> np.ndarray:
        """The pixels, uint8[height, width, 3]."""
        return np.array(self.image)

    def jpeg(self) -> bytes:
        """The photo as a JPEG file for the browser."""
        return self._jpeg

    @cached_property
    def _jpeg(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "JPEG", quality=88, subsampling="4:4:4")
        return file.getvalue()


def decode(data: bytes) -> Image.Image:
    """A file's bytes as a picture.

    The first frame of an animation, turned upright as its EXIF data say, transparency on white,
    greys of any depth scaled to 8 bits, shrunk until the longest side has `MAX_SIDE` pixels.

    Args:
        data: a JPEG, PNG, WebP, BMP, GIF or TIFF file of at most 20 MB and 50 megapixels. Where
            decoding takes more than 4 bytes a pixel it may have fewer: a WebP 16, a PNG of
            64 bits 18.

    Returns:
        Mode RGB, at least 1x1.

    Raises:
        PhotoError: if the bytes are anything else. Nothing else is raised, whatever the bytes.

    >>> file = io.BytesIO()
    >>> Image.new("L", (2048, 100), 255).save(file, "PNG")
    >>> decode(file.getvalue()).size
    (1024, 50)
    >>> decode(b"not a picture")
    Traceback (most recent call last):
    ui.photo.PhotoError: The file is not a JPEG, PNG, WebP, BMP, GIF or TIFF picture.
    """
    if len(data) > MAX_BYTES:
        raise PhotoError(Reason.TOO_LARGE)
    if data.count(b"Exif\0\0") > _MAX_EXIF_BLOCKS:
        raise PhotoError(Reason.BROKEN)
    try:
        with _decoding:
            _check_directory(data)
            with Image.open(_PatientFile(data), formats=FORMATS) as image:
                _check(image, data)
                return _upright_rgb(image)
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        raise PhotoError(Reason.NOT_A_PHOTO) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(Reason.TOO_MANY_PIXELS) from error
    except Exception as error:  # Pillow's decoders raise nearly everything on damaged files
        raise PhotoError(Reason.BROKEN) from error


class _PatientFile(io.BytesIO):
    """A file whose patience ends with parsers that a hostile file leads on crumb by crumb."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0
        self._until = time.thread_time() + _MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MAX_READS or time.thread_time() > self._until:
            raise PhotoError(Reason.BROKEN)
        return super().read(size)


def _check_directory(data: bytes) -> None:
    """Raise `PhotoError` if a TIFF lists so many numbers that to open it takes long."""
    if data[:2] not in (b"II", b"MM"):
        return
    file = _PatientFile(data)
    try:
        directory = ImageFileDirectory_v1(file.read(16 if data[2:3] == b"+" else 8))
    except (SyntaxError, struct.error) as error:
        raise PhotoError(Reason.NOT_A_PHOTO) from error
    file.seek(directory.next)
    directory.load(file)
    types = directory.tagtype
    listed = [len(v) for tag, v in directory.tagdata.items() if types[tag] not in _TEXTS]
    if sum(listed) > _MAX_LISTED:
        raise PhotoError(Reason.BROKEN)


def _check(image: Image.Image, data: bytes) -> None:
    """Raise `PhotoError` if decoding the pixels would take too much memory or time."""
    if max(image.size) > MAX_INPUT_SIDE:
        raise PhotoError(Reason.TOO_LONG)
    most = min(MAX_PIXELS, _most_pixels(image, data))
    if image.width * image.height <= most:
        return
    if most < _LEAST_LIMIT:
        raise PhotoError(Reason.BROKEN)
    raise PhotoError(Reason.TOO_MANY_PIXELS, most // 1_000_000)


def _most_pixels(image: Image.Image, data: bytes) -> int:
    """The most pixels that a picture of this kind may have."""
    if isinstance(image, TiffImageFile):
        return _most_tiff_pixels(image, data)
    if isinstance(image, JpegImageFile):
        return _most_jpeg_pixels(image, data)
    if image.format == "WEBP":
        return _memory(data, copies=2) // _WEBP_BYTES
    if image.tile and image.tile[0].codec_name == "bmp_rle":
        return _MAX_RUN_PIXELS
    return _most_png_pixels(image) if isinstance(image, PngImageFile) else MAX_PIXELS


def _memory(data: bytes, copies: int) -> int:
    """What is left for a picture beside so many copies of its file."""
    return MAX_MEMORY - copies * max(0, len(data) - _FREE_BYTES)


def _most_png_pixels(image: PngImageFile) -> int:
    """A PNG is unpacked with all of its bits, of which Pillow keeps eight of a colour."""
    depth = 2 if image.tile and "16" in image.tile[0].args else 1
    most = _MAX_UNPACKED // (depth * len(image.getbands()))
    return min(most, _MAX_WOVEN_PIXELS) if image.info.get("interlace") else most


def _most_jpeg_pixels(image: JpegImageFile, data: bytes) -> int:
    """A JPEG in one scan is decoded row by row; of more scans all coefficients are kept."""
    end, count = image.fp.tell(), len(image.layer)
    first = data[max(0, end - 8 - 2 * count) : end]
    of_all = first.startswith(_START_OF_SCAN + bytes((0, 6 + 2 * count, count)))
    scans = 1 + data.count(_START_OF_SCAN, end)
    if scans == 1 and of_all and not image.info.get("progressive"):
        return MAX_PIXELS
    shares = [across * down for _name, across, down, _table in image.layer]
    samples = sum(shares) / max(shares)
    scanned = _MAX_SCANNED_ARITHMETIC if _is_arithmetic(image, data[:end]) else _MAX_SCANNED
    return min(scanned // scans, int(MAX_MEMORY / (_COEFFICIENT_BYTES * samples + 1)))


def _is_arithmetic(image: JpegImageFile, head: bytes) -> bool:
    """Whether a JPEG's frame says so, which also states the size."""
    size = re.escape(struct.pack(">HH", image.height, image.width))
    return re.search(rb"\xff[\xc9-\xcb]\0.." + size, head, re.DOTALL) is not None


def _most_tiff_pixels(image: TiffImageFile, data: bytes) -> int:
    """A TIFF takes the picture, its copy if it is turned, and one strip or tile, however large."""
    exif = image.getexif()
    for tag in set(_SUBDIRECTORIES) & set(exif):  # Pillow would read all that is in them
        del exif[tag]
    tags = image.tag_v2
    columns, rows = tags[_IMAGE_WIDTH], tags[_IMAGE_LENGTH]  # `image.size` is turned already
    width = tags.get(_TILE_WIDTH, columns)
    height = tags.get(_TILE_LENGTH, min(rows, tags.get(_ROWS_PER_STRIP, rows)))
    pixels = columns * rows
    decoded = ceil(columns / width) * width * ceil(rows / height) * height
    samples, depth = tags.get(_SAMPLES_PER_PIXEL, 1), max(tags.get(_BITS_PER_SAMPLE, (1,)))
    compression = tags.get(_COMPRESSION)
    strip = samples * depth / 8
    quick = (_MAX_UNPACKED_LZMA if compression == _LZMA else _MAX_UNPACKED) / strip
    if image.mode == "LAB":
        quick = min(quick, _MAX_LAB_PIXELS)
    if compression in _TIFF_JPEG:
        quick = min(quick, _MAX_SCANNED_STRIPS / _scans_of_a_strip(tags, data))
        strip = max(4, strip) + _COEFFICIENT_BYTES * samples
    elif compression in (_LZMA, _ZSTD):
        strip *= 2  # what repeats is looked up in a copy
    elif tags.get(_PHOTOMETRIC) == _YCBCR:
        strip = max(4, strip)
    pictures = 2 if _orientation(image) != 1 else 1
    taken = _bytes_of(image.mode) * pictures + strip * width * height / pixels
    memory = _memory(data, copies=4) / taken  # of what is in its tags
    return int(min(memory, 2 * MAX_PIXELS * pixels / decoded, quick * pixels / decoded))


def _scans_of_a_strip(tags: Mapping[int, Any], data: bytes) -> int:
    """The most scans that one strip or tile of a TIFF has in JPEG; none may share their bytes."""
    places = {
        place
        for offsets, lengths in _PLACES
        for place in zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=True)
    }
    ends = [(start, start + length if length else len(data)) for start, length in places]
    if sum(end - start for start, end in ends) > len(data):
        raise PhotoError(Reason.BROKEN)
    return max(1, *(data.count(_START_OF_SCAN, start, end) for start, end in ends))


def _bytes_of(mode: str) -> int:
    """What Pillow holds for each pixel."""
    return {"1": 1, "L": 1, "P": 1}.get(mode, 2 if mode.startswith("I;16") else 4)


def _upright_rgb(image: Image.Image) -> Image.Image:
    """Decode the pixels of an opened file."""
    size = _fitted(image.size)
    image.draft(None, (2 * size[0], 2 * size[1]))  # JPEGs can be decoded at a half, a quarter, ...
    image.decodermaxblock = _BLOCK
    image.load()
    if isinstance(image, TiffImageFile):  # is turned by now, perhaps as its XMP data say
        size = _fitted(image.size)
    photo = _shrunk_rgb(image, size)
    orientation = _orientation(image)
    return photo.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else photo


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """A size with the same aspect ratio, its sides from 1 to `MAX_SIDE`."""
    scale = min(1.0, MAX_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shrunk_rgb(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in RGB at `size`, converted strip by strip: a whole copy could be 200 MB."""
    factor = max(1, max(image.size) // (2 * MAX_SIDE))
    reduced = Image.new("RGB", (ceil(image.width / factor), ceil(image.height / factor)))
    levels = _grey_levels(image)
    for top, strip in _strips(image, factor):
        reduced.paste(_rgb(strip, levels).reduce(factor), (0, top // factor))
    box = (0, 0, image.width / factor, image.height / factor)
    return reduced.resize(size, Image.Resampling.LANCZOS, box)


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[int, Image.Image]]:
    """Horizontal strips of a multiple of `rows` and the row at which each begins."""
    height = rows * max(1, _STRIP_PIXELS // (rows * image.width))
    for top in range(0, image.height, height):
        yield top, image.crop((0, top, image.width, min(top + height, image.height)))


def _rgb(strip: Image.Image, levels: tuple[float, float]) -> Image.Image:
    """Any mode as RGB, transparency on white; `levels` as `_grey_levels` returns them."""
    if _is_deep_grey(strip):
        return _eight_bits(strip, *levels).convert("RGB")
    if strip.has_transparency_data:
        white = Image.new("RGBA", strip.size, "white")
        return Image.alpha_composite(white, strip.convert("RGBA")).convert("RGB")
    return strip.convert("RGB")


def _is_deep_grey(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _eight_bits(strip: Image.Image, black: float, white: float) -> Image.Image:
    """Greys of any depth as 8 bits; what is not a number is black."""
    values = np.subtract(strip, black, dtype=np.float64)
    values *= 255 / (white - black)
    np.clip(values, 0, 255, out=values)
    values[np.isnan(values)] = 0
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _grey_levels(image: Image.Image) -> tuple[float, float]:
    """The values of black and white in a grey picture of more than 8 bits.

    Files of 12 and 16 bits say it. Integers of 32 bits and floats do not: black is 0 and white the
    first of 1, 255 and 65535 that no pixel exceeds, or else they are the least and greatest value.
    """
    if image.mode.startswith("I;16"):
        bits = image.tag_v2[_BITS_PER_SAMPLE][0] if isinstance(image, TiffImageFile) else 16
        return 0, 2**bits - 1
    if not _is_deep_grey(image):
        return 0, 255
    least, greatest = _extremes(image)
    for white in (1, 255, 65535):
        if least >= 0 and greatest <= white:
            return 0, white
    return least, max(greatest, np.nextafter(least, np.inf))


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The least and the greatest finite value of a grey picture; 0 and 0 if it has none."""
    least, greatest = np.inf, -np.inf
    for _, strip in _strips(image, rows=1):
        values = np.asarray(strip)
        finite = np.isfinite(values)
        if not finite.all():
            values = values[finite]
        if values.size:
            least, greatest = min(least, float(values.min())), max(greatest, float(values.max()))
    return (least, greatest) if least <= greatest else (0, 0)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 if there is none that can be read."""
    if len(image.info.get("exif", b"")) > _MAX_EXIF_BYTES:
        return 1
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF data is no reason to refuse a photo
        return 1
