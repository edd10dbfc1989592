"""Photos as networks trained on ImageNet read them, and the names of the 1,000 classes."""

import json
from typing import NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor

from explainers.models.shipped import FOLDER, as_batch, resize

CLASSES: tuple[str, ...] = tuple(json.loads((FOLDER / "imagenet_classes.json").read_text()))
"""Names of the classes; two of them name two classes each ("missile", "sunglasses")."""

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the red, green and blue values in ImageNet, from 0 to 1."""

_MARGIN = 256 / 224  # the short side before the crop : the side of the crop
_LONGEST = 4  # times the short side; what lies beyond is far outside of the crop


def imagenet_input(
    image: UInt8[Tensor, "height width 3"], size: int = 224
) -> Float[Tensor, "1 3 {size} {size}"]:
    """The middle of a photo: short side resized to 256, 224 x 224 cropped, normalized.

    Args:
        image: RGB, 0 to 255, any size.
        size: side of the crop in pixels; the short side is resized to 8/7 of it.

    Returns:
        (value / 255 - `MEAN`) / `STD`, channel by channel.

    Raises:
        ValueError: if `image` is no picture of at least one pixel with three channels, or `size`
            is not positive.

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016, section 3.4; the
    middle of a photo is what torchvision's networks are tested on.

    >>> import torch
    >>> imagenet_input(torch.zeros(30, 40, 3, dtype=torch.uint8))[0, :, 0, 0]
    tensor([-2.1179, -2.0357, -1.8044])
    """
    batch = as_batch(image)
    y, x = _cuts(batch.shape[2], batch.shape[3], size)
    middle = batch[..., y.start : y.start + y.length, x.start : x.start + x.length]
    resized = resize(middle, y.resized, x.resized, "bicubic")
    return normalize(resized[..., y.first : y.first + size, x.first : x.first + size])


def crop_box(height: int, width: int, size: int = 224) -> tuple[float, float, float, float]:
    """The part of a photo that `imagenet_input` shows.

    Args:
        height, width: of the photo in pixels.
        size: as for `imagenet_input`.

    Returns:
        Corners (x1, y1, x2, y2) in pixels of the photo.

    Raises:
        ValueError: if `height`, `width` or `size` is not positive.

    >>> crop_box(256, 512)
    (144.0, 16.0, 368.0, 240.0)
    """
    y, x = _cuts(height, width, size)
    x1, x2 = (x.start + edge * x.length / x.resized for edge in (x.first, x.first + size))
    y1, y2 = (y.start + edge * y.length / y.resized for edge in (y.first, y.first + size))
    return x1, y1, x2, y2


def normalize(batch: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 3 height width"]:
    """Grey levels, 0 to 255, as values of mean 0 and deviation 1 over ImageNet.

    >>> import torch
    >>> normalize(torch.full((1, 3, 1, 1), 255.0)).flatten()
    tensor([2.2489, 2.4286, 2.6400])
    """
    mean, std = (batch.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return (batch / 255 - mean) / std


class _Cut(NamedTuple):
    """How one direction of a photo is cut: `length` pixels from `start` on become `resized`.

    Of those, the crop begins at `first`.
    """

    start: int
    length: int
    resized: int
    first: int


def _cuts(height: int, width: int, size: int) -> tuple[_Cut, _Cut]:
    """Along y and x.

    Without the first cut, a row of 1,000 pixels would be resized to 256 x 256,000.
    """
    for name, number in (("height", height), ("width", width), ("size", size)):
        if number < 1:
            raise ValueError(f"{name} must be positive, got {number}")
    short = min(height, width)
    cuts = []
    for side in (height, width):
        length = min(side, _LONGEST * short)
        resized = round(length * round(size * _MARGIN) / short)
        cuts.append(_Cut((side - length) // 2, length, resized, (resized - size) // 2))
    return cuts[0], cuts[1]
