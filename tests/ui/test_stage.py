"""What the stage accepts, what it sends and what it believes of a browser."""

import math

import numpy as np
import pytest
import streamlit as st
from hypothesis import given
from hypothesis import strategies as any_

from figures.stage import MOST_BOXES, Boxes, CellHover, Drawn, Grid, HeatMap, PatchMaps, Points
from ui.live.stage import StageEvent, _check, _within, stage_event

SIZE = (640, 480)
TWO = [[0, 0, 10, 10], [5, 5, 700, 20]]


@pytest.fixture
def browser_says(monkeypatch):
    """Put a state into the session as a browser would have sent it."""

    def say(state):
        monkeypatch.setattr(st, "session_state", {"stage": {"stage": state}})

    return say


def sent(revision=0, **state):
    return {"serial": 1, "revision": revision, "picked": None, "cell": None, "boxes": []} | state


# ---------------------------------------------------------------- layers


def test_boxes_travel_as_float32_and_categories_as_bytes():
    category = np.array([[0, 1], [255, 0]])
    header, arrays = Boxes("b", TWO, ("#000000", "#FFFFFF"), category, slider="iou").encode(SIZE)
    assert header["kind"] == "boxes"
    assert header["slider"] == "iou"
    assert arrays["boxes"].dtype == np.float32
    assert arrays["category"].dtype == np.uint8
    assert arrays["category"].tolist() == category.tolist()


def test_bounds_of_scores_travel_by_the_sliders_that_move_them():
    bounds = {"score_from": {"low": [0, 1]}, "score_below": {"low": [0, 1], "page.high": [2]}}
    header, arrays = Boxes("b", TWO, scores=[0.5, 1], **bounds).encode(SIZE)
    assert (header["score_from"], header["score_below"]) == (["low"], ["low", "page.high"])
    assert arrays["score_below.page.high"].tolist() == [2]
    assert arrays["score_from.low"].dtype == arrays["scores"].dtype == np.float32


def test_no_boxes_are_a_layer_too():
    for category in ([], np.zeros((3, 0))):
        layer = Boxes("b", [], category=category, labels=[], scores=[], columns=[], tip="{0}")
        _, arrays = layer.encode(SIZE)
        assert arrays["boxes"].shape == (0, 4)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Boxes("b", [[0, 0, 1]]), "boxes has shape"),
        (Boxes("b", [[0, 0, math.nan, 1]]), "boxes holds"),
        (Boxes("b", TWO, ()), "palette has 0"),
        (Boxes("b", TWO, ("red",)), "palette holds 'red'"),
        (Boxes("b", TWO, category=[0, 1]), "category holds"),
        (Boxes("b", TWO, category=[-1, 0]), "category holds"),
        (Boxes("b", TWO, category=[0]), "category has shape"),
        (Boxes("b", TWO, category=0), "category has shape"),
        (Boxes("b", TWO, category=np.zeros((0, 2))), "category has shape"),
        (Boxes("b", TWO, labels=["one"]), "labels has 1"),
        (Boxes("b", TWO, tip="{0}"), "columns and tip"),
        (Boxes("b", TWO, columns=[1.0], tip="{0}"), "columns has 1"),
        (Boxes("b", TWO, opacity=2), "opacity is 2"),
        (Boxes("b", TWO, crowd_opacity=-1), "crowd_opacity is -1"),
        (Boxes("b", TWO, score_from={"s": [0.1]}), "scores is None"),
        (Boxes("b", TWO, score_below={"s": [0.1]}), "scores is None"),
        (Boxes("b", TWO, hover=False, pickable=True), "pickable"),
        (HeatMap("h", [1, 2], 0, 1), "values has shape"),
        (HeatMap("h", [[1]], 1, 1), "low is 1"),
        (HeatMap("h", [[1]], 0, math.inf), "low is 0"),
        (HeatMap("h", [[1]], 0, 1, "jet"), "colours is 'jet'"),
        (HeatMap("h", [[1]], 0, 1, "diverging"), "low is 0, diverging"),
        (HeatMap("h", np.zeros((0, 4)), 0, 1), "the map has shape"),
        (Grid(0, 2, 10, 10), "rows is 0"),
        (Grid(2, 2, 0, 10), "width is 0"),
        (Points("p", [[1, 2, 3]]), "xy has shape"),
        (Points("p", [[1, 2]], labels=[]), "labels has 0"),
        (CellHover("c", 1, 3, 9, 9, [[1, 2]]), "boxes has shape"),
        (CellHover("c", 1, 2, 9, 9, TWO, ("#000000",) * 3), "palette has 3"),
        (CellHover("c", 1, 2, 9, 9, TWO, cell=2), "cell is 2"),
        (PatchMaps("m", 2, 2, np.zeros((3, 4, 4)), 0, 1), "maps has shape"),
        (
            PatchMaps("m", 1, 1, np.zeros((1, 4, 4)), 0, 1, along={"s": np.zeros((3, 4, 5))}),
            r"along\[.s.\] has shape",
        ),
        (Drawn("d", [[0, 0, 1, 1]] * (MOST_BOXES + 1)), "boxes has 101"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused_by_name(layer, message):
    with pytest.raises(ValueError, match=message):
        layer.encode(SIZE)


@pytest.mark.parametrize(
    ("layers", "given", "message"),
    [
        ([Boxes("b", TWO), Points("b", [])], {}, "used twice"),
        ([Boxes("b.c", TWO)], {}, "name is 'b.c'"),
        ([Drawn("a"), Drawn("b")], {}, "layers has Drawn and Drawn"),
        ([], {"label": ""}, "label is empty"),
        ([], {"margin": -1}, "margin is -1"),
        ([], {"strings": {"colour": ""}}, "strings has"),
    ],
)
def test_a_stage_that_does_not_fit_is_refused_by_name(layers, given, message):
    with pytest.raises(ValueError, match=message):
        _check(layers, **{"label": "a photo", "margin": 0.0, "strings": None} | given)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_heat_values_come_back_to_three_digits(shape):
    values = np.random.default_rng(0).normal(0, 5, shape)
    header, arrays = HeatMap("h", values, -1, 1).encode(SIZE)
    assert arrays["values"].dtype == np.uint16
    back = header["first"] + arrays["values"] * header["step"]
    assert np.abs(back - values).max() <= header["step"] / 2 + 1e-9
    assert header["extent"] == (0, 0, *SIZE)


def test_what_is_not_a_number_is_not_drawn():
    _, arrays = HeatMap("h", [[math.nan, 1, 1]], 0, 1).encode(SIZE)
    assert arrays["values"].tolist() == [[65535, 0, 0]]
    _, arrays = HeatMap("h", [[math.nan]], 0, 1).encode(SIZE)
    assert arrays["values"].tolist() == [[65535]]


def test_colours_are_plotlys():
    _, arrays = HeatMap("h", [[0.0]], -1, 1, "diverging").encode(SIZE)
    assert arrays["lut"].shape == (256, 3)
    assert arrays["lut"][0].tolist() == [103, 0, 31]  # the first colour of RdBu
    assert arrays["lut"][127:129].min() > 240  # white where the value is zero


# ---------------------------------------------------------------- what the browser says


def test_boxes_of_the_browser_hold_until_the_revision_changes(browser_says):
    browser_says(sent(boxes=[[1, 2, 30, 40]], cell=3, at=[9, 8.5], picked=["b", 1]))
    event = StageEvent(("b", 1), 3, [(1, 2, 30, 40)], (9, 8.5))
    assert stage_event("stage", SIZE, boxes=[]) == event
    assert stage_event("stage", SIZE, boxes=TWO, revision=1).boxes == [
        (0, 0, 10, 10),
        (5, 5, 640, 20),
    ]
    assert stage_event("stage", SIZE).boxes is None


def test_boxes_are_clipped_to_the_photo(browser_says):
    browser_says(sent(boxes=[[-9, -9, 9999, 9999], [700, 0, 800, 9], [5, 5, 5, 9]]))
    assert stage_event("stage", SIZE, boxes=[]).boxes == [(0, 0, 640, 480)]


@pytest.mark.parametrize(
    "boxes",
    [
        None,
        7,
        "boxes",
        {},
        [7],
        [[1, 2, 3]],
        [["a", 1, 2, 3]],
        [[math.nan, 0, 1, 1]],
        [[10**400] * 4],
        [[[]] * 4],
    ],
)
def test_boxes_that_are_none_are_ignored(browser_says, boxes):
    browser_says(sent(boxes=boxes))
    assert stage_event("stage", SIZE, boxes=[]).boxes == []


def test_a_flood_of_boxes_is_cut(browser_says):
    browser_says(sent(boxes=[[0, 0, 9, 9]] * 5000))
    assert len(stage_event("stage", SIZE, boxes=[]).boxes) == MOST_BOXES


nested = any_.recursive(
    any_.none() | any_.booleans() | any_.integers() | any_.floats() | any_.text(max_size=3),
    lambda inner: any_.lists(inner, max_size=5) | any_.dictionaries(any_.text(), inner, max_size=3),
    max_leaves=12,
)


@given(state=nested, boxes=nested, picked=nested, cell=nested, at=nested)
def test_nothing_a_browser_sends_breaks_the_page(state, boxes, picked, cell, at):
    grid = CellHover("c", 3, 2, 100, 80, TWO).encode(SIZE)
    with pytest.MonkeyPatch.context() as patch:
        for told in (state, sent(boxes=boxes, picked=picked, cell=cell, at=at)):
            patch.setattr(st, "session_state", {"stage": {"stage": told}})
            layer = Boxes("b", TWO, pickable=True).encode(SIZE)
            event = _within(stage_event("stage", SIZE, boxes=[]), [layer])
            assert event.picked in (None, ("b", 0), ("b", 1))
            assert event.cell is None
            pinned = _within(stage_event("stage", SIZE), [grid]).cell
            assert pinned is None or 0 <= pinned < 6
            assert all(0 <= x1 < x2 <= 640 for x1, _, x2, _ in event.boxes)


@pytest.mark.parametrize(
    ("picked", "kept"),
    [(("b", 1), ("b", 1)), (("b", 2), None), (("other", 0), None), (("fixed", 0), None)],
)
def test_only_what_can_be_picked_is_picked(picked, kept):
    layers = [Boxes("b", TWO, pickable=True), Boxes("fixed", TWO)]
    encoded = [layer.encode(SIZE) for layer in layers]
    assert _within(StageEvent(picked=picked), encoded).picked == kept


@pytest.mark.parametrize(("cell", "kept"), [(0, 0), (3, 3), (4, None)])
def test_only_cells_of_the_grid_are_pinned(cell, kept):
    layer = PatchMaps("m", 2, 2, np.zeros((4, 1, 1)), 0, 1)
    assert _within(StageEvent(cell=cell), [layer.encode(SIZE)]).cell == kept
    assert _within(StageEvent(cell=cell), []).cell is None


@pytest.mark.parametrize(
    ("rows", "columns", "at", "kept"),
    [
        (2, 2, (90, 10), 1),
        (4, 4, (90, 59), 11),
        (4, 4, (90, 61), 15),
        (4, 4, (50, 40), 5),  # of equally near ones the first
        (1, 1, (90, 60), 0),
        (4, 4, (-5, 500), 12),  # beyond the grid
        (4, 4, None, 3),
    ],
)
def test_in_another_grid_the_cell_at_the_same_place_is_pinned(rows, columns, at, kept):
    grid = CellHover("c", rows, columns, 100, 80, TWO).encode(SIZE)
    assert _within(StageEvent(cell=3, at=at), [grid]).cell == kept
    assert _within(StageEvent(at=at), [grid]).cell is None


def test_maps_of_bytes_are_sent_as_they_are():
    maps = np.array([[[0, 255]], [[51, 102]]], np.uint8)
    header, arrays = PatchMaps("m", 1, 2, maps, 0.0, 0.5).encode((10, 10))
    assert arrays["values"].dtype == np.uint8
    values = header["first"] + header["step"] * arrays["values"].astype(float)
    assert values.flatten().tolist() == pytest.approx([0, 0.5, 0.1, 0.2])


def test_a_stack_of_patch_maps_follows_a_slider():
    maps = np.arange(3 * 2 * 4.0).reshape(3, 2, 2, 2)
    header, arrays = PatchMaps("m", 1, 2, maps, 0, 23, slider="layer").encode((10, 10))
    assert header["slider"] == "layer"
    assert arrays["values"].shape == (6, 2, 2)
    with pytest.raises(ValueError, match="maps has shape"):
        PatchMaps("m", 1, 2, np.zeros((3, 3, 2, 2)), 0, 1).encode((10, 10))


def test_maps_along_other_sliders_lie_behind_those_of_the_patches():
    maps, others = np.arange(8.0).reshape(2, 2, 2), 10 + np.arange(12.0).reshape(3, 2, 2)
    layer = PatchMaps("m", 1, 2, maps, 0, 30, points_at="patch", along={"layer": others})
    header, arrays = layer.encode((10, 10))
    assert (header["points_at"], header["states"]) == ("patch", 2)
    assert header["along"] == {"layer": [2, 3]}
    back = header["first"] + arrays["values"] * header["step"]
    assert np.abs(back - np.concatenate([maps, others])).max() <= header["step"]
