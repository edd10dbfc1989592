"""A picture that a page has computed, shown on a stage in the place of the photo."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Painting:
    """Colours in [0, 1] on a coarse grid, drawn as large as the photo.

    Args:
        colours: [rows, columns, 3] red, green and blue.
        width, height: in pixels.
    """

    colours: np.ndarray
    width: int
    height: int

    def jpeg(self) -> bytes:
        """The picture as JPEG bytes, blurred from the grid's size to its own."""
        levels = np.rint(np.clip(np.asarray(self.colours), 0, 1) * 255).astype(np.uint8)
        image = Image.fromarray(levels).resize((self.width, self.height), Image.Resampling.BICUBIC)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=88)
        return file.getvalue()
