import torch

from figures.concept_id import histogram
from figures.style import CHOSEN, IGNORED


def test_levels_above_the_threshold_are_in_colour():
    figure = histogram(torch.tensor([5, 2, 4]), threshold=1, translate=str)
    (bars,) = figure.data
    assert bars.y.tolist() == [5, 2, 4]
    assert list(bars.marker.color) == [IGNORED, IGNORED, CHOSEN]
    assert figure.layout.shapes[0].x0 == 1


def test_labels_are_translated():
    figure = histogram(torch.tensor([1]), threshold=0, translate=str.upper)
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (
        "BRIGHTNESS",
        "PIXELS",
    )
