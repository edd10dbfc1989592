"""Figures of the Concept title page. `translate` gives each label in the page's language."""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from figures.plain import Figure
from figures.style import CHOSEN, IGNORED, figure, vertical


def histogram(counts: Tensor, threshold: int, translate: Callable[[str], str]) -> Figure:
    """How many pixels have each level, those above the threshold in colour.

    Args:
        counts: pixels of each level, the darkest first.
        threshold: a level.

    >>> import torch
    >>> histogram(torch.tensor([5, 2]), 0, str).data[0].y.tolist()
    [5, 2]
    """
    _ = translate
    levels = np.arange(len(counts))
    colours = np.where(levels > threshold, CHOSEN, IGNORED)
    bars = {"type": "bar", "x": levels, "y": counts.numpy(), "marker": {"color": colours}}
    marks = [vertical(threshold, CHOSEN)]
    return figure(_("Brightness"), _("Pixels"), [bars], yaxis={"type": "log"}, marks=marks)
