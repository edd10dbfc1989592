"""Figures of the Softmax temperature page hold what the explainers found."""

import math

import pytest
import torch

from explainers.softmax_temperature import first_gradients, soften
from figures import softmax_temperature as figures
from figures.style import CHOSEN, IGNORED

LOGITS = torch.tensor([1.0, 3.0, 2.0, 0.0])
TEMPERATURES = torch.tensor([0.5, 1.0, 10.0])
NAMES = ["a", "b", "c", "d"]


def test_the_likeliest_stand_first_and_all_others_last():
    softened = soften(LOGITS, TEMPERATURES, top=2)
    (bars,) = figures.probabilities(softened, NAMES, 1, str).data
    p = torch.softmax(LOGITS, dim=0).tolist()
    assert list(bars.x) == pytest.approx([p[1], p[2], p[0] + p[3]])
    assert list(bars.customdata) == ["b", "c", "all others"]
    assert list(bars.marker.color) == [CHOSEN, CHOSEN, IGNORED]
    assert figures.bars(softened).shape == (3, 3)


def test_without_others_there_is_no_bar_for_them():
    softened = soften(LOGITS, TEMPERATURES, top=10)
    (bars,) = figures.probabilities(softened, NAMES, 0, str).data
    assert list(bars.customdata) == ["b", "c", "a", "d"]


def test_entropy_lies_between_its_limits():
    softened = soften(LOGITS, TEMPERATURES)
    made = figures.entropy_curve(softened, 2, str)
    assert list(made.data[1].x) == [10.0]
    assert made.data[1].y[0] == pytest.approx(softened.entropy[2].item())
    assert made.layout.shapes[0].y0 == pytest.approx(math.log(4))


def test_gradients_and_their_marks():
    sweep = first_gradients(LOGITS, TEMPERATURES)
    made = figures.gradient_curves(sweep, 1, str)
    assert list(made.data[0].y) == sweep.soft.tolist()
    assert list(made.data[2].y) == sweep.scaled.tolist()
    assert list(made.data[4].y) == [sweep.soft[1].item(), sweep.scaled[1].item()]
    assert list(made.data[4].x) == [1.0, 1.0]


def test_equal_logits_give_a_figure_without_infinities():
    made = figures.gradient_curves(first_gradients(torch.zeros(3), TEMPERATURES), 0, str)
    assert all(map(math.isfinite, made.layout.yaxis.range))
