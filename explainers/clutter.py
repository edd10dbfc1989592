"""Photos hidden in clutter: the pictures on which attention learns where to look.

A photo is pasted small into noise, tiles, a mirrored corner or a texture. Whoever shall recognise
it as if it filled the picture has to find it first.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from explainers.boxes import Number
from explainers.models.shipped import as_batch

SIDE = 224
"""Height and width of the pictures, in pixels."""

_LEAST, _MOST = 88, 176  # side of the pasted photo


@dataclass(frozen=True)
class HiddenPhoto:
    """A photo alone and hidden in clutter.

    Attributes:
        clean: what was cut out of the photo, filling the picture.
        picture: the same, pasted small into clutter.
        box: where it lies in `picture`: corners (x1, y1, x2, y2) in pixels.
    """

    clean: UInt8[Tensor, "224 224 3"]
    picture: UInt8[Tensor, "224 224 3"]
    box: tuple[int, int, int, int]


def hide(
    photo: UInt8[Tensor, "height width 3"],
    other: UInt8[Tensor, "other_height other_width 3"],
    generator: torch.Generator,
) -> HiddenPhoto:
    """Cut a square out of a photo, change its light, and paste it small into clutter.

    Drawn at random: the square (60 to 100 % of the short side, perhaps mirrored), brightness and
    contrast, the kind of clutter, the pasted side (88 to 176 pixels) and place, a disc with a soft
    edge (in six of ten) or a square, and grain over all (in three of ten).

    Args:
        photo: RGB, 0 to 255, any size.
        other: what the clutter is made from, where it is not noise.
        generator: on any device.

    Raises:
        ValueError: if a picture has not at least one pixel with three channels.

    >>> grey = torch.full((30, 40, 3), 128, dtype=torch.uint8)
    >>> hidden = hide(grey, grey, torch.Generator().manual_seed(0))
    >>> hidden.box
    (24, 50, 115, 141)
    """
    draw = _Draw(generator)
    clean = _relit(_square(as_batch(photo), 0.6, draw), draw)
    clutter = _CLUTTER[draw.integer(0, len(_CLUTTER))](as_batch(other), draw)
    side = draw.integer(_LEAST, _MOST + 1)
    x, y = (draw.integer(0, SIDE - side + 1) for _ in range(2))
    mask = _disc(side, draw).to(clean) if draw.happens(0.6) else clean.new_ones(side, side)
    picture = _relit(clutter, draw)
    around = picture[..., y : y + side, x : x + side]
    around.copy_(around.lerp(_resize(clean, side), mask))
    if draw.happens(0.3):
        picture = picture + 25 * draw.normal(picture.shape).to(picture)
    return HiddenPhoto(_as_image(clean), _as_image(picture), (x, y, x + side, y + side))


class _Draw:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)

    def normal(self, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def order(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self.generator, device=self.generator.device)

    def number(self, least: Number, most: Number) -> float:
        return least + (most - least) * float(self.uniform())

    def integer(self, least: int, end: int) -> int:
        return min(int(self.number(least, end)), end - 1)

    def happens(self, probability: float) -> bool:
        return self.number(0, 1) < probability


def _noise(other: Tensor, draw: _Draw) -> Tensor:
    """Blots or grain between two colours."""
    cells = (7, 14, 28, 56, 112, SIDE)[draw.integer(0, 6)]
    blots = _resize(draw.uniform(1, 3, cells, cells), SIDE)
    dark, light = (draw.uniform(1, 3, 1, 1) / 2 for _ in range(2))
    return (255 * (dark + light * blots)).to(other)


def _tiles(other: Tensor, draw: _Draw) -> Tensor:
    """A photo cut into tiles, which are shuffled."""
    tile = (14, 28, 56)[draw.integer(0, 3)]
    picture = _square(other, 0.4, draw)
    tiles = functional.unfold(picture, tile, stride=tile)
    shuffled = tiles[..., draw.order(tiles.shape[-1]).to(tiles.device)]
    return functional.fold(shuffled, SIDE, tile, stride=tile)


def _mirrored_corner(other: Tensor, draw: _Draw) -> Tensor:
    """A corner of a photo, where the background mostly is, repeated in mirrors."""
    height, width = other.shape[2:]
    side = max(int(min(height, width) * draw.number(0.25, 0.4)), 1)
    y, x = (length - side if draw.happens(0.5) else 0 for length in (height, width))
    corner = _resize(other[..., y : y + side, x : x + side], (75, 112, 150)[draw.integer(0, 3)])
    row = torch.cat([corner, corner.flip(3)] * 2, dim=3)
    mirrored = torch.cat([row, row.flip(2)] * 2, dim=2)
    y, x = (draw.integer(0, mirrored.shape[2] - SIDE) for _ in range(2))
    return mirrored[..., y : y + SIDE, x : x + SIDE].clone()


def _texture(other: Tensor, draw: _Draw) -> Tensor:
    """A photo with its spectrum's phases made random: the same contrasts, but nothing in place."""
    picture = _square(other, 0.5, draw)
    phases = torch.fft.rfft2(draw.uniform(SIDE, SIDE)).angle().to(picture)
    phases[0, 0] = 0  # keeps the mean colour
    waves = torch.fft.rfft2(picture) * torch.polar(torch.ones_like(phases), phases)
    texture: Tensor = torch.fft.irfft2(waves, s=(SIDE, SIDE))
    return texture


_CLUTTER: tuple[Callable[[Tensor, _Draw], Tensor], ...] = (
    _noise,
    _tiles,
    _mirrored_corner,
    _texture,
)


def _square(photo: Tensor, least: float, draw: _Draw) -> Tensor:
    """A square of at least a share of the short side, perhaps mirrored, as large as the picture."""
    height, width = photo.shape[2:]
    side = max(int(min(height, width) * draw.number(least, 1)), 1)
    y, x = (draw.integer(0, length - side + 1) for length in (height, width))
    square = _resize(photo[..., y : y + side, x : x + side], SIDE)
    return square.flip(3) if draw.happens(0.5) else square


def _relit(picture: Tensor, draw: _Draw) -> Tensor:
    """Another brightness and contrast."""
    mean = picture.mean()
    contrast, brightness = draw.number(0.6, 1.2), draw.number(0.7, 1.2)
    return ((picture - mean) * contrast + mean * brightness).clamp(0, 255)


def _disc(side: int, draw: _Draw) -> Float[Tensor, "side side"]:
    """1 in the middle, falling to 0 at a circle within the square."""
    device = draw.generator.device
    from_middle = (torch.arange(side, device=device) + 0.5) / side * 2 - 1
    radius = (from_middle[:, None] ** 2 + from_middle**2).sqrt()
    return ((1 - radius) * draw.number(4, 12)).clamp(0, 1)


def _resize(picture: Tensor, side: int) -> Tensor:
    return functional.interpolate(picture, (side, side), mode="bilinear", antialias=True)


def _as_image(picture: Float[Tensor, "1 3 h w"]) -> UInt8[Tensor, "h w 3"]:
    return picture[0].movedim(0, -1).round().clamp(0, 255).to(torch.uint8)
