"""Softmax temperature: numbers on screen, logits set by hand, and what is taught."""

import math

import pytest
import torch

from explainers.models import mobilenet_v2
from explainers.models.mobilenet_v2 import classify
from tests.pages.conftest import complaints, facts, pieces
from ui.samples import sample

PAGE = "softmax_temperature"


def logits() -> torch.Tensor:
    return classify(mobilenet_v2(), torch.from_numpy(sample("night_cafe").array())).double()


@pytest.mark.parametrize("temperature", ["0.05", "1.0", "50.0"])
def test_what_the_page_says_of_the_photo(open_page, temperature):
    app = open_page(PAGE, T=temperature)
    assert complaints(app) == []
    p = torch.softmax(logits() / float(temperature), dim=0)
    shown = facts(app, PAGE)
    assert shown["percent"] == pytest.approx(100 * float(p.max()), rel=1e-3)
    assert shown["entropy"] == pytest.approx(float(torch.special.entr(p).sum()), abs=1e-3)
    assert shown["noticeable"] == (p > 0.01).sum()


def test_logits_set_by_hand_stand_in_the_link(open_page):
    app = open_page(PAGE, source="own", logits="4,2,0,0,0,0,0,0,0,0", T="2.0")
    assert complaints(app) == []
    shown = facts(app, PAGE)
    assert shown["largest"] == pytest.approx(math.e**2 / (math.e**2 + math.e + 8), rel=1e-4)
    assert shown["gap"] == pytest.approx(1.0)
    (bars,) = pieces(app, "bars")
    assert bars["values"][:3] == [4, 2, 0]


def test_the_gradient_falls_as_one_over_t_squared(open_page):
    far = facts(open_page(PAGE, Tg="50.0"), PAGE)["ratio"]
    near = facts(open_page(PAGE, Tg="25.0"), PAGE)["ratio"]
    assert near / far == pytest.approx(4, rel=0.03)
    assert facts(open_page(PAGE, Tg="1.0"), PAGE)["ratio"] == 1


def test_a_hotter_teacher_says_more_about_wrong_classes(open_page):
    wrong = [facts(open_page(PAGE, Td=T), PAGE)["wrong"] for T in ("0.05", "4.0", "50.0")]
    assert wrong == sorted(wrong)
    assert wrong[0] < 15  # next to nothing beside its errors
    assert wrong[2] == pytest.approx(90, abs=5)  # nearly uniform over ten classes


def test_students_start_equal_and_untrained(open_page):
    app = open_page(PAGE)
    shown = facts(app, PAGE)
    assert shown["taught"] == shown["alone"]
    assert shown["taught"] < 30
    (training,) = pieces(app, "training")
    assert (training["share"], training["finished"]) == (0, False)


@pytest.mark.parametrize("left_out", ["none", "0", "9"])
def test_a_class_can_be_left_out(open_page, left_out):
    app = open_page(PAGE, left_out=left_out, labelled="50")
    assert complaints(app) == []
    told = [piece["text"] for piece in pieces(app, "sentence")][-1]
    assert ("never seen" in told) == (left_out != "none")
