"""The photos that come with the app, each with its credit."""

import io
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import ImageOps

from ui.photo import Photo

PHOTOS = Path(__file__).parents[1] / "assets" / "photos"

DEFAULT = "night_cafe"
"""The key of the sample that a new visitor sees."""


@dataclass(frozen=True)
class Sample:
    """A sample and its credit.

    Args:
        file: name of the file in `PHOTOS`.
        title: what it shows, by language: "en" and "zh".
        author: who made it.
        licence: name of its licence.
        licence_url: where the licence can be read.
        source: address of the original, or the collection that it was taken from.
        changes: how the file differs from the source.
    """

    file: str
    title: dict[str, str]
    author: str
    licence: str
    licence_url: str
    source: str
    changes: str


def _load() -> dict[str, Sample]:
    credits = json.loads((PHOTOS / "credits.json").read_text(encoding="utf-8"))
    return {Path(entry["file"]).stem: Sample(**entry) for entry in credits}


SAMPLES = _load()
"""All samples by key, the file's name without its ending; the default comes first."""


@cache
def sample(key: str) -> Photo:
    """The decoded photo of a sample, shared by all visitors.

    Raises:
        ValueError: if there is no such sample.

    >>> photo = sample("night_cafe")
    >>> photo.width, photo.height, photo.source
    (634, 500, 'sample')
    """
    if key not in SAMPLES:
        raise ValueError(f"key must be one of {', '.join(SAMPLES)}, got {key!r}")
    return Photo.from_bytes((PHOTOS / SAMPLES[key].file).read_bytes(), key, source="sample")


@cache
def pixels(key: str) -> Any:
    """A sample's pixels as a uint8 tensor [height, width, 3], shared: nobody writes into it.

    >>> pixels("night_cafe").shape
    torch.Size([500, 634, 3])
    """
    import torch

    return torch.from_numpy(sample(key).array())


@cache
def thumbnail(key: str) -> bytes:
    r"""A sample cut to 4:3 for the chooser, as JPEG bytes.

    >>> thumbnail("night_cafe")[:2]
    b'\xff\xd8'
    """
    buffer = io.BytesIO()
    ImageOps.fit(sample(key).image, (360, 270)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def objects(photo: Photo) -> list[tuple[int, int, int, int]]:
    """Boxes that were drawn by hand around the objects of a sample; none for other photos."""
    if photo.source != "sample":
        return []
    return [tuple(entry["box"]) for entry in _drawn().get(photo.name, [])]


@cache
def _drawn() -> dict[str, list[dict[str, Any]]]:
    return json.loads((PHOTOS / "objects.json").read_text(encoding="utf-8"))
