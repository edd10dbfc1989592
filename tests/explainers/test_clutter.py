import math

import pytest
import torch
from torch.testing import assert_close

from explainers import clutter
from explainers.clutter import SIDE, hide


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(height=90, width=120, seed=0):
    return torch.randint(0, 256, (height, width, 3), generator=generator(seed), dtype=torch.uint8)


def white_in_black(seed):
    white = torch.full((50, 60, 3), 255, dtype=torch.uint8)
    return hide(white, white * 0, generator(seed))


@pytest.mark.parametrize("seed", range(20))
def test_the_photo_lies_in_its_box(seed):
    hidden = hide(photo(), photo(seed=1), generator(seed))
    x1, y1, x2, y2 = hidden.box
    assert hidden.picture.shape == hidden.clean.shape == (SIDE, SIDE, 3)
    assert 0 <= x1 < x2 <= SIDE
    assert 0 <= y1 < y2 <= SIDE
    assert x2 - x1 == y2 - y1
    assert 88 <= x2 - x1 <= 176


@pytest.mark.parametrize("seed", range(20))
def test_the_middle_of_the_box_shows_the_photo(seed):
    hidden = white_in_black(seed)
    x1, y1, x2, y2 = hidden.box
    y, x = (y1 + y2) // 2, (x1 + x2) // 2
    patch = hidden.picture[y - 8 : y + 8, x - 8 : x + 8].float()
    assert patch.mean().item() == pytest.approx(hidden.clean[0, 0, 0].item(), abs=12)


def test_the_same_seed_hides_alike():
    first, again = (hide(photo(), photo(seed=1), generator(5)) for _ in range(2))
    assert torch.equal(first.picture, again.picture)
    assert first.box == again.box
    assert not torch.equal(first.picture, hide(photo(), photo(seed=1), generator(6)).picture)


@pytest.mark.parametrize("kind", clutter._CLUTTER)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 40)])
def test_every_clutter_fills_the_picture(kind, shape):
    other = photo(*shape).movedim(-1, 0)[None].float()
    picture = kind(other, clutter._Draw(generator()))
    assert picture.shape == (1, 3, SIDE, SIDE)
    assert picture.isfinite().all()


def test_tiles_are_the_pixels_of_a_square_elsewhere():
    other = photo(SIDE, SIDE).movedim(-1, 0)[None].float()
    draw, same = (clutter._Draw(generator(3)) for _ in range(2))
    tiles = clutter._tiles(other, draw)
    same.integer(0, 3)  # the size of the tiles
    square = clutter._square(other, 0.4, same)
    assert_close(tiles.flatten().sort().values, square.flatten().sort().values)
    assert not torch.equal(tiles, square)


def test_a_texture_keeps_colour_and_contrasts():
    other = photo(SIDE, SIDE).movedim(-1, 0)[None].float()
    square = clutter._square(other, 0.5, clutter._Draw(generator(3)))
    texture = clutter._texture(other, clutter._Draw(generator(3)))
    assert_close(texture.mean((2, 3)), square.mean((2, 3)), atol=0.1, rtol=0)
    assert_close(texture.std((2, 3)), square.std((2, 3)), atol=0.5, rtol=0.02)
    assert (texture - square).abs().mean() > 5


def test_a_corner_is_mirrored():
    other = torch.arange(100.0).reshape(1, 1, 10, 10).expand(1, 3, 10, 10)
    picture = clutter._mirrored_corner(other, clutter._Draw(generator(1)))
    steps = picture[0, 0, 0].diff().sign()
    assert {-1.0, 1.0} <= set(steps.tolist())


def test_one_pixel_is_enough():
    hidden = hide(photo(1, 1), photo(1, 1), generator())
    assert hidden.picture.dtype == torch.uint8


def test_a_disc_is_whole_in_the_middle_and_gone_in_the_corners():
    disc = clutter._disc(101, clutter._Draw(generator()))
    assert disc[50, 50] == 1
    assert disc[0, 0] == disc[-1, -1] == 0
    assert math.pi / 4 * 0.5 < disc.mean() < math.pi / 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 1)])
@pytest.mark.parametrize("name", ["photo", "other"])
def test_what_is_refused(shape, name):
    arguments = {"photo": photo(), "other": photo()} | {name: torch.zeros(shape, dtype=torch.uint8)}
    with pytest.raises(ValueError, match="shape"):
        hide(**arguments, generator=generator())
