"""Draw assets/icon.png: two boxes and what they share, in the app's colours."""

from pathlib import Path

from PIL import Image, ImageDraw

from figures.style import CATEGORIES, CHOSEN, POSITIVE

ICON = Path(__file__).parents[1] / "assets" / "icon.png"
SIDE = 64
FINER = 16  # drawn this much larger, then shrunk to smooth edges
RADIUS = 8
FIRST, SECOND = (3, 3, 43, 43), (21, 21, 61, 61)


def draw() -> Image.Image:
    """The icon, RGBA on a transparent ground."""
    large = (SIDE * FINER, SIDE * FINER)
    icon = Image.new("RGBA", large)
    masks = [_box(large, box) for box in (FIRST, SECOND)]
    for mask, colour in zip(masks, (CHOSEN, CATEGORIES[1]), strict=True):
        icon.paste(colour, mask=mask)
    both = Image.new("L", large)
    both.paste(masks[0], mask=masks[1])
    icon.paste(POSITIVE, mask=both)
    return icon.reduce(FINER)


def _box(size: tuple[int, int], corners: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size)
    scaled = [FINER * place for place in corners]
    ImageDraw.Draw(mask).rounded_rectangle(scaled, RADIUS * FINER, 255)
    return mask


if __name__ == "__main__":
    draw().save(ICON, optimize=True)
