"""What the trained networks share: weights from the shipped files, photos as batches."""

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

FOLDER = Path(__file__).parents[2] / "assets" / "weights"
"""Where the weights lie; its README tells where they come from."""


def load_weights(name: str) -> dict[str, Tensor]:
    """The tensors of one file by name, in float32.

    Those of convolutions lie in the memory layout in which CPUs run them fastest.

    Args:
        name: of the file in `FOLDER`, without its ending.

    Raises:
        FileNotFoundError: if there is no such file.

    >>> load_weights("mobilenet_v2")["classifier.1.bias"].shape
    torch.Size([1000])
    """
    weights = load_file(FOLDER / f"{name}.safetensors")
    return {key: _channels_last(weight.float()) for key, weight in weights.items()}


def _channels_last(weight: Tensor) -> Tensor:
    layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    return weight.contiguous(memory_format=layout)


def as_batch(image: UInt8[Tensor, "height width 3"]) -> Float[Tensor, "1 3 height width"]:
    """A picture as a batch of one, in float32, 0 to 255.

    Args:
        image: RGB, 0 to 255.

    Raises:
        ValueError: if `image` is no picture of at least one pixel with three channels.

    >>> as_batch(torch.zeros(2, 4, 3, dtype=torch.uint8)).shape
    torch.Size([1, 3, 2, 4])
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.numel() == 0:
        raise ValueError(f"image must have the shape (height, width, 3), got {tuple(image.shape)}")
    return image.movedim(-1, 0)[None].float()


def resize(
    batch: Float[Tensor, "n c height width"],
    height: int,
    width: int,
    mode: Literal["bilinear", "bicubic"],
) -> Float[Tensor, "n c {height} {width}"]:
    """Smoothed where it shrinks: across, then down, in whole grey levels each time.

    So does Pillow, except that it may begin with the height where that shrinks much more.

    Args:
        batch: values from 0 to 255.
        height, width: of the result in pixels.
        mode: of interpolation.

    >>> resize(torch.tensor([[[[0.0, 255.0]]]]), 1, 4, "bicubic")
    tensor([[[[  0.,  53., 202., 255.]]]])
    """
    for shape in ((batch.shape[2], width), (height, width)):
        batch = functional.interpolate(batch, shape, mode=mode, antialias=True)
        batch = batch.round().clamp(0, 255)
    return batch
