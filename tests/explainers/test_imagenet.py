"""Photos as ImageNet's networks read them, against Pillow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from explainers.models.imagenet import CLASSES, MEAN, STD, crop_box, imagenet_input
from explainers.models.shipped import resize

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
NAMES = sorted(path.name for path in PHOTOS.glob("*.jpg"))


def photo(name: str) -> Image.Image:
    return Image.open(PHOTOS / name).convert("RGB")


def pixels(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image))


def grey_levels(batch: Tensor) -> Tensor:
    """[1, 3, height, width] as `imagenet_input` returns it -> [height, width, 3], 0 to 255."""
    return (batch[0].permute(1, 2, 0) * torch.tensor(STD) + torch.tensor(MEAN)) * 255


@pytest.mark.parametrize("name", NAMES)
def test_input_is_pillows_within_one_grey_level(name: str) -> None:
    image = photo(name)
    scale = 256 / min(image.size)
    resized = image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - 224) // 2 for side in resized.size)
    theirs = pixels(resized.crop((left, top, left + 224, top + 224)))
    difference = (grey_levels(imagenet_input(pixels(image))) - theirs).abs()
    assert difference.max() < 1.001
    assert (difference > 0.5).float().mean() < 0.01

    x1, y1, x2, y2 = crop_box(image.height, image.width)
    across, down = image.width / resized.width, image.height / resized.height
    assert (x1, y1) == pytest.approx((left * across, top * down))
    assert (x2, y2) == pytest.approx(((left + 224) * across, (top + 224) * down))


@pytest.mark.parametrize("size", [(36, 36), (300, 200), (300, 500), (700, 900)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_is_pillows_within_one_grey_level(size: tuple[int, int], mode: str) -> None:
    image = photo("astronaut.jpg")
    assert image.size == (512, 512)
    theirs = pixels(image.resize(size, Image.Resampling[mode.upper()]))
    ours = resize(pixels(image).movedim(-1, 0)[None].float(), size[1], size[0], mode)
    assert (ours[0].movedim(0, -1) - theirs).abs().max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 1024), (1024, 1), (30, 1000), (2, 3), (1024, 1024)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_any_shape_is_read_and_grey_stays_grey(shape: tuple[int, int], grey: int) -> None:
    batch = imagenet_input(torch.full((*shape, 3), grey, dtype=torch.uint8))
    assert batch.shape == (1, 3, 224, 224)
    assert batch.dtype == torch.float32
    torch.testing.assert_close(
        grey_levels(batch), torch.full((224, 224, 3), float(grey)), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 1024), (1024, 1), (30, 1000), (427, 640), (5, 21)])
def test_crop_is_a_square_in_the_middle_within_a_pixel(shape: tuple[int, int]) -> None:
    height, width = shape
    x1, y1, x2, y2 = crop_box(height, width)
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    side = min(height, width) * 224 / 256
    assert (x2 - x1, y2 - y1) == pytest.approx((side, side), rel=0.01)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((width / 2, height / 2), abs=1)


def test_crop_box_of_a_long_photo_is_what_is_read() -> None:
    # A strip in the middle, half as wide as what is read, fills half of it.
    x1, y1, x2, y2 = crop_box(40, 1000)
    assert (x1, y1, x2, y2) == pytest.approx((482.5, 2.5, 517.5, 37.5))
    image = torch.zeros(40, 1000, 3, dtype=torch.uint8)
    image[:, 491:509] = 255
    bright = grey_levels(imagenet_input(image))[112, :, 0] > 127
    columns = bright.nonzero().flatten()
    assert columns.min().item() == pytest.approx((491 - x1) / (x2 - x1) * 224, abs=1)
    assert columns.max().item() + 1 == pytest.approx((509 - x1) / (x2 - x1) * 224, abs=1)


def test_another_size_shows_the_same_middle() -> None:
    image = pixels(photo("chelsea.jpg"))
    assert imagenet_input(image, size=112).shape == (1, 3, 112, 112)
    assert crop_box(300, 451, size=112) == pytest.approx(crop_box(300, 451), abs=3)


@pytest.mark.parametrize(("height", "width", "size"), [(0, 3, 9), (3, -1, 9), (3, 3, 0)])
def test_crop_box_needs_a_photo(height: int, width: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"(height|width|size) must be positive"):
        crop_box(height, width, size)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_photo_is_refused() -> None:
    with pytest.raises(ValueError, match="image"):
        imagenet_input(torch.zeros(0, 4, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="image"):
        imagenet_input(torch.zeros(4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="size"):
        imagenet_input(torch.zeros(4, 4, 3, dtype=torch.uint8), size=0)


def test_classes_are_a_thousand_names() -> None:
    assert len(CLASSES) == 1000
    assert (CLASSES[281], CLASSES[285], CLASSES[967]) == ("tabby cat", "Egyptian Mau", "espresso")
    assert len(set(CLASSES)) == 998
    assert all(name == name.strip() != "" for name in CLASSES)
