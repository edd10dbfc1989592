"""Figures of the receptive field page: what is drawn follows from the results handed in."""

import math

import numpy as np
import pytest
import torch

from explainers.receptive_field import (
    ASPP_RATES,
    PRESETS,
    TWO_SIGMA,
    DepthSweep,
    Layer,
    concentric_boxes,
    hdc_check,
    output_sizes,
    receptive_fields,
    tap_boxes,
    touch_counts,
    touch_map,
)
from figures.receptive_field import (
    BRANCHES,
    EFFECTIVE,
    THEORETICAL,
    branch_layers,
    depth_law,
    gaps_formula,
    gradient_map,
    growth,
    growth_formula,
    layer_rows,
    network_layers,
    touches,
    unit_layers,
    verdict,
)
from figures.receptive_field import PRESETS as NAMES
from figures.stage import CellHover, HeatMap

VGG = PRESETS["vgg16"]


def encodable(layers, size=(640, 480)):
    """Every layer checks its parts when it is encoded."""
    return {layer.name: layer.encode(size)[0] for layer in layers}


def test_every_stack_has_a_name():
    assert NAMES.keys() == PRESETS.keys()


# ---------------------------------------------------------------- charts


def test_growth_draws_each_field_around_its_middle():
    drawn = growth(VGG, receptive_fields(VGG), str)
    bars = drawn.data[0]
    assert bars.y[-1] == 212
    below = np.array(bars.base, float)
    assert np.allclose(below + bars.y, -below)
    assert bars.marker.color[-1] == math.log2(32)
    assert list(bars.text[:2]) == ["conv1_1", "conv1_2"]
    assert bars.marker.colorbar.ticktext[-1] == "32"


@pytest.mark.parametrize("layers", [[Layer(1)], [Layer(3, stride=3)], [Layer(31, dilation=64)]])
def test_growth_of_one_layer(layers):
    growth(layers, receptive_fields(layers), str)
    assert r"\mathbf" in growth_formula(layers, receptive_fields(layers))


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_layers_are_counted_in_whole_numbers(count):
    layers = [Layer(3)] * count
    axis = growth(layers, receptive_fields(layers), str).layout.xaxis
    assert (axis.tick0, axis.dtick) == (1, 1)


@pytest.mark.parametrize("stride", [1, 2, 3, 8])
def test_the_bar_of_distances_has_room_for_its_numbers(stride):
    layers = [Layer(3, stride=stride)] * 4
    bars = growth(layers, receptive_fields(layers), str).data[0]
    numbers = [int(text) for text in bars.marker.colorbar.ticktext]
    assert len(numbers) <= 9
    assert [2**at for at in bars.marker.colorbar.tickvals] == numbers
    assert bars.marker.cmin == 0
    assert max(bars.marker.color) <= bars.marker.cmax


@pytest.mark.parametrize("most", [1, 2, 4, 9, 49])
def test_the_bar_of_paths_ends_at_the_largest_count(most):
    bar = touches([("1", torch.tensor([[1, most]]))], str).layout.coloraxis.colorbar
    assert bar.ticktext[-1] == str(most)
    assert len(set(bar.ticktext)) == len(bar.ticktext)
    assert np.allclose(bar.tickvals, [math.log(int(text)) for text in bar.ticktext])


def test_touches_leave_holes_empty_and_share_one_scale():
    panels = [
        (name, touch_map(touch_counts(PRESETS[name]))) for name in ("gridding_2_2_2", "hdc_1_2_5")
    ]
    drawn = touches(panels, str)
    gridding, hdc = (np.array(trace.z) for trace in drawn.data)
    assert np.isnan(gridding).sum() == 120
    assert not np.isnan(hdc).any()
    assert np.nanmax(gridding) == pytest.approx(math.log(49))
    assert drawn.layout.coloraxis.cmax == pytest.approx(math.log(49))
    assert {trace.coloraxis for trace in drawn.data} == {"coloraxis"}
    assert drawn.layout.xaxis.range == drawn.layout.xaxis2.range == (-9, 9)
    assert [note.text for note in drawn.layout.annotations[:2]] == ["gridding_2_2_2", "hdc_1_2_5"]


def test_touches_of_a_single_pixel():
    touches([("1", torch.ones(1, 1))], str)


def test_the_gradient_lies_in_the_theoretical_field():
    gradient = torch.zeros(5, 5)
    gradient[2, 2] = 4
    drawn = gradient_map(gradient, math.sqrt(math.pi), 9, str)
    heat, (box, halo, disc) = drawn.data[0], drawn.layout.shapes
    assert np.array(heat.z).max() == 1
    assert (heat.x0, box.x0, box.x1) == (-2, -2.5, 2.5)
    assert disc.x1 == halo.x1 == pytest.approx(1)  # a disc of area π
    assert disc.line.color == EFFECTIVE
    assert halo.line.width > disc.line.width  # seen on the map and beside it
    assert drawn.layout.xaxis.range == (-5.5, 5.5)


def test_a_gradient_of_zeros():
    drawn = gradient_map(torch.zeros(3, 3), 0.0, 3, str)
    assert np.isfinite(np.array(drawn.data[0].z)).all()


def test_depth_law_marks_the_depth():
    sweep = DepthSweep(
        torch.tensor([1, 4]), torch.tensor([3, 9]), torch.tensor([3.0, 6]), torch.tensor([3.5, 7])
    )
    drawn = depth_law(sweep, 4, str)
    assert [list(trace.y) for trace in drawn.data] == [[3, 9], [3.5, 7], [3, 6]]
    assert drawn.layout.shapes[0].x0 == 4


# ---------------------------------------------------------------- layers


def test_units_stand_in_the_middle_of_their_fields():
    layers = PRESETS["alexnet"]
    fields = receptive_fields(layers)
    rows, columns = (output_sizes(layers, side)[-1] for side in (480, 640))
    (units,) = unit_layers(fields, rows, columns, "hint")
    header = encodable([units])["units"]
    x1, y1, x2, y2 = header["extent"]
    left, top, right, bottom = fields[-1].box(0, 0)
    assert (x1 + 16, y1 + 16) == ((left + right) / 2, (top + bottom) / 2)
    assert (x2 - x1, y2 - y1) == (32 * columns, 32 * rows)
    assert units.boxes[-1] == (left, top, right, bottom)
    assert units.palette[-1] == THEORETICAL


def test_units_show_earlier_layers_up_to_the_chosen_one():
    fields = receptive_fields(VGG)
    for last, field in enumerate(fields):
        (units,) = unit_layers(fields[: last + 1], 15, 20, "")
        extent = encodable([units])["units"]["extent"]
        assert extent[2] - extent[0] == 20 * field.stride
        assert units.boxes[-1] == field.box(0, 0)
        place = field.first_centre
        assert units.boxes == list(
            dict.fromkeys(concentric_boxes(fields[: last + 1], place, place))
        )
    (units,) = unit_layers(receptive_fields([Layer(1), Layer(1)]), 3, 3, "")
    assert units.boxes == [(0, 0, 1, 1)]


@pytest.mark.parametrize("name", PRESETS)
def test_units_of_every_preset_can_be_drawn(name):
    fields = receptive_fields(PRESETS[name])
    encodable(unit_layers(fields, 3, 4, ""))


def test_the_network_draws_what_counts_over_what_it_reads():
    gradient = torch.zeros(224, 224)
    gradient[112, 112], gradient[100, 100], gradient[0, 0] = 1, 0.5, TWO_SIGMA / 2
    crop = (100.0, 20.0, 548.0, 468.0)  # two photo pixels for one of the network's
    layers = network_layers(gradient, crop, (100, 90, 120, 110), 10.0, str)
    encodable(layers)
    heat, read, fields = layers
    assert isinstance(heat, HeatMap)
    assert heat.extent == crop
    assert np.isfinite(heat.values).sum() == 2
    assert list(read.boxes) == [crop, (crop[0], crop[3], crop[2], crop[3])]
    assert read.labels == ["", "read by the network"]
    assert fields.boxes == [[300, 200, 340, 240], [310, 210, 330, 230]]
    assert [fields.palette[which] for which in fields.category] == [THEORETICAL, EFFECTIVE]


def test_a_network_without_gradient_can_be_drawn():
    layers = network_layers(torch.zeros(224, 224), (0.0, 0.0, 9.0, 9.0), (0, 0, 9, 9), 0.0, str)
    encodable(layers)


def test_branches_have_their_taps_and_their_span_in_one_colour():
    branches = [Layer(3, dilation=rate) for rate in ASPP_RATES]
    (taps,) = branch_layers(branches, 8, 60, 80, "hint")
    assert isinstance(taps, CellHover)
    encodable([taps])
    assert len(taps.boxes) == len(taps.palette) == 4 * 10
    for place, branch in enumerate(branches):
        span, *cells = taps.boxes[10 * place : 10 * place + 10]
        assert cells == tap_boxes(branch, 8)
        reach = 8 * branch.dilation
        assert span == (-reach, -reach, 8 + reach, 8 + reach)
        assert set(taps.palette[10 * place : 10 * place + 10]) == {BRANCHES[place]}
    assert taps.cell == 30 * 80 + 40


# ---------------------------------------------------------------- table, formulas, words


def test_rows_hold_what_is_edited_and_what_follows():
    rows = layer_rows(VGG, (500, 634))
    assert rows[-1] == {
        "kernel_size": 2,
        "stride": 2,
        "padding": 0,
        "dilation": 1,
        "name": "pool5",
        "output": "15 × 19",
        "field": 212,
        "jump": 32,
    }
    assert layer_rows([], (5, 5)) == []


def test_growth_formula_holds_the_worked_numbers():
    latex = growth_formula(VGG, receptive_fields(VGG))
    assert r"196 + 1 \cdot (2 - 1) \cdot 16" in latex
    assert r"\mathbf{212}" in latex


@pytest.mark.parametrize(
    "dilations", [[1, 2, 5], [1, 2, 9], [2, 2, 2], [9, 9, 1], [9, 1, 1], [1, 1, 1]]
)
def test_gaps_formula_and_verdict_say_what_the_rule_says(dilations):
    rule = hdc_check(dilations)
    latex = gaps_formula(dilations)
    assert rf"\mathbf{{{rule.gaps[0]}}}" in latex
    assert (r"\le" in latex) == (rule.gaps[0] <= 3)
    assert (verdict(rule, str) == "it passes") == rule.passes


def test_labels_are_translated():
    drawn = growth([Layer(3)], receptive_fields([Layer(3)]), lambda text: f"<{text}>")
    assert drawn.layout.xaxis.title.text == "<Layer>"
    assert verdict(hdc_check([2, 2, 2]), lambda _: "{factor}!") == "2!"
