"""How bright a picture is: an example to replace by the mathematics of the concept."""

from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

LEVELS = 256


@dataclass(frozen=True)
class Brightness:
    """How bright the pixels of a picture are.

    Attributes:
        counts: pixels of each level, from 0, black, to 255, white.
        share: fraction of the pixels that are brighter than the threshold.
    """

    counts: Int[Tensor, "256"]
    share: float


def measure_brightness(image: UInt8[Tensor, "height width 3"], threshold: int) -> Brightness:
    """Count the pixels of each level, and those above a threshold.

    The level of a pixel is the mean of its channels, rounded down.

    Args:
        image: RGB, 0 to 255.
        threshold: a level, 0 to 255.

    Raises:
        ValueError: if `threshold` is no level or `image` has no pixels.

    >>> image = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    >>> measure_brightness(image, threshold=100).share
    0.5
    """
    if not 0 <= threshold < LEVELS:
        raise ValueError(f"threshold is {threshold}, allowed are 0 to {LEVELS - 1}")
    if not image.numel():
        raise ValueError(f"image has shape {tuple(image.shape)}, at least one pixel is needed")
    levels = image.sum(dim=2) // 3
    counts = torch.bincount(levels.flatten(), minlength=LEVELS)
    return Brightness(counts, share=(levels > threshold).float().mean().item())
