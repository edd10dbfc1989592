"""Figures of the Anchors & NMS page: what is drawn follows from the results handed in."""

import numpy as np
import pytest
import torch

from explainers.anchors_nms import (
    anchor_map,
    make_anchors,
    match_anchors,
    nms_steps,
    suppression_states,
)
from explainers.boxes import encode_boxes, iou_parts
from figures.anchors_nms import (
    LABELS,
    METHODS,
    grid_layers,
    iou_formula,
    iou_histogram,
    labelled,
    matching_layers,
    object_table,
    replay_layers,
    replay_sentences,
    score_decay,
    soft_layers,
    survivor_curve,
    sweep_layers,
    target_formula,
    target_layers,
    worked_layers,
)
from figures.stage import HIDDEN, Boxes, CellHover, Drawn, Grid
from figures.style import IGNORED, NEGATIVE, POSITIVE

SIZE = (96, 128)
BOXES = torch.tensor([[0.0, 0, 40, 40], [2, 2, 42, 42], [60, 50, 90, 80]])
SCORES = torch.tensor([0.9, 0.8, 0.3])


def by_name(layers):
    return {layer.name: layer for layer in layers}


def encodable(layers):
    """Every layer checks its parts when it is encoded."""
    for layer in layers:
        layer.encode((SIZE[1], SIZE[0]))
    return by_name(layers)


# ---------------------------------------------------------------- charts


def test_histogram_counts_and_colours_follow_the_thresholds():
    drawn = iou_histogram(torch.tensor([7, 5, 3, 1]), positive=0.7, negative=0.3, translate=str)
    bars = drawn.data[0]
    assert list(bars.y) == [7, 5, 3, 1]
    assert list(bars.x) == [0.125, 0.375, 0.625, 0.875]
    assert list(bars.marker.color) == [NEGATIVE, IGNORED, IGNORED, POSITIVE]
    assert [shape.x0 for shape in drawn.layout.shapes] == [0.3, 0.7]


@pytest.mark.parametrize(("positive", "negative"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0)])
def test_histogram_at_the_ends_of_the_sliders(positive, negative):
    drawn = iou_histogram(torch.zeros(50, dtype=torch.int64), positive, negative, str)
    assert len(drawn.data[0].marker.color) == 50


def test_survivor_curve_marks_the_threshold_up_to_the_highest_count():
    drawn = survivor_curve([0.0, 0.5, 1.0], torch.tensor([1, 2, 3]), str)
    assert list(drawn.data[0].y) == [1, 2, 3]
    assert list(drawn.data[1].y) == [0, 3]


def test_score_decay_draws_every_method_over_the_scores_before():
    after = {method: SCORES / (i + 1) for i, method in enumerate(METHODS)}
    drawn = score_decay(SCORES, after, ["Cat", "Cat", "Dog"], least=0.2, translate=str)
    assert np.allclose(drawn.data[0].y, SCORES)
    for trace, method in zip(drawn.data[1:], METHODS, strict=True):
        assert np.allclose(trace.y, after[method])
        assert trace.marker.color == METHODS[method]
    assert drawn.layout.shapes[0].y0 == 0.2


def test_labels_are_translated():
    drawn = iou_histogram(torch.tensor([1]), 0.7, 0.3, lambda text: f"<{text}>")
    assert drawn.layout.yaxis.title.text == "<Anchors>"
    assert drawn.layout.annotations[0].text == "<negative>"


# ---------------------------------------------------------------- layers


def test_grid_shows_the_first_cells_anchors_in_one_colour_a_scale():
    anchors = make_anchors(SIZE, stride=32, scales=[16, 32], ratios=[0.5, 1, 2])
    grid = anchor_map(SIZE, stride=32, per_cell=6)
    lines, cell = grid_layers(anchors, grid, "hint")
    encodable([lines, cell])
    assert isinstance(lines, Grid)
    assert isinstance(cell, CellHover)
    assert (lines.rows, lines.columns, lines.width, lines.height) == (3, 4, 128, 96)
    assert torch.equal(torch.as_tensor(cell.boxes), anchors[:6])
    assert cell.palette[0] == cell.palette[2] != cell.palette[3] == cell.palette[5]
    assert cell.cell == 1 * 4 + 2


def test_matching_hides_what_is_not_shown_and_tells_iou_and_target():
    anchors = make_anchors(SIZE, stride=16, scales=[32], ratios=[1])
    objects = torch.tensor([[10.0, 10, 44, 44]])
    match = match_anchors(anchors, objects, 0.5, 0.3)
    chosen = torch.arange(len(anchors))
    shown = (match.label != 0).nonzero()[:, 0]
    layers = encodable(matching_layers(anchors, match, chosen, shown, objects, "hint"))
    assert list(layers) == [*reversed(LABELS), "drawn"]
    for label, name in ((1, "positive"), (-1, "ignored")):
        visible = torch.as_tensor(layers[name].category) != HIDDEN
        assert torch.equal(visible, match.label == label)
    assert (torch.as_tensor(layers["negative"].category) == HIDDEN).all()
    told = torch.as_tensor(layers["positive"].columns)
    assert torch.equal(told[:, 0], match.iou)
    assert torch.equal(told[:, 1:], encode_boxes(objects.expand(len(anchors), 4), anchors))


def test_matching_without_objects_has_layers_too():
    anchors = make_anchors(SIZE, stride=32, scales=[32], ratios=[1])
    none = torch.zeros(0, 4)
    match = match_anchors(anchors, none)
    chosen = torch.arange(len(anchors))
    layers = encodable(matching_layers(anchors, match, chosen, chosen[:0], none, "hint"))
    assert len(np.asarray(layers["drawn"].boxes)) == 0


def test_sweep_shows_each_candidate_either_kept_or_dropped():
    kept = torch.tensor([[True, False, True], [True, True, True]])
    layers = encodable(sweep_layers(BOXES, SCORES, kept, ["a", "b", "c"], "iou", "score", [0, 1]))
    strong = np.asarray(layers["kept"].category) != HIDDEN
    pale = np.asarray(layers["dropped"].category) != HIDDEN
    assert np.array_equal(strong, kept.numpy())
    assert np.array_equal(strong, ~pale)


def test_replay_shows_every_box_once_until_it_is_gone():
    steps = nms_steps(BOXES, SCORES, 0.5)
    states = suppression_states(steps)
    layers = encodable(replay_layers(BOXES, SCORES, states, ["a", "b", "c"], "round"))
    visible = sum((np.asarray(layer.category) != HIDDEN).astype(int) for layer in layers.values())
    assert visible.tolist() == [[1, 1, 1], [1, 1, 1], [1, 0, 1]]


def test_target_shows_the_anchor_and_its_object():
    layers = encodable(target_layers(BOXES[0], BOXES[1], "2", str))
    assert torch.equal(torch.as_tensor(layers["anchor"].boxes), BOXES[:1])
    assert torch.equal(torch.as_tensor(layers["object"].boxes), BOXES[1:2])
    assert layers["object"].labels == ["2"]


def test_soft_labels_carry_the_decayed_scores():
    (layer,) = soft_layers(BOXES[:1], torch.tensor([0.456]), ["Cat"], "linear")
    assert isinstance(layer, Boxes)
    assert layer.labels == ["Cat 0.46"]
    assert labelled([], torch.zeros(0)) == []


def test_worked_fills_the_intersection_only_where_there_is_one():
    apart = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    for pair, filled in ((BOXES[:2], 1), (apart, 0)):
        shared, drawn = worked_layers(pair, iou_parts(pair[0], pair[1]), "hint")
        encodable([shared, drawn])
        assert len(np.asarray(shared.boxes)) == filled
        assert isinstance(drawn, Drawn)
    assert len(worked_layers(BOXES, None, "hint")[0].boxes) == 0


# ---------------------------------------------------------------- words and formulas


def test_object_table_numbers_objects_from_one():
    anchors = make_anchors(SIZE, stride=16, scales=[32], ratios=[1])
    match = match_anchors(anchors, torch.tensor([[8.0, 8, 40, 40], [0, 0, 6, 90]]))
    table = object_table(match, torch.tensor([3, 1]), str)
    assert list(table.values()) == [
        [1, 2],
        ["1.00", f"{match.best_iou[1]:.2f}"],
        [3, 1],
        ["", "✓"],
    ]


def test_iou_formula_holds_the_worked_numbers():
    pair = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10]])
    latex = iou_formula(iou_parts(pair[0], pair[1]))
    assert r"5 \cdot 10 = 50" in latex
    assert "100 + 100 - 50 = 150" in latex
    assert r"\mathbf{0.333}" in latex


def test_target_formula_holds_the_worked_numbers():
    latex = target_formula(torch.tensor([0.0, 0, 10, 20]), torch.tensor([2.0, 4, 12, 44]))
    # Centres (5, 10) and (7, 24), sizes (10, 20) and (10, 40): t = (0.2, 0.7, 0, ln 2).
    for number in ("0.200", "0.700", "0.000", "0.693"):
        assert rf"\mathbf{{{number}}}" in latex


def test_replay_sentences_name_the_box_and_what_it_drops():
    steps = nms_steps(BOXES, SCORES, 0.5)
    told = replay_sentences(steps, ["A", "B", "C"], str)
    assert len(told) == 3
    assert "3" in told[0]
    assert "**A**" in told[1]
    assert "**1**" in told[1]
    assert f"{steps.removed_iou[1]:.2f}" in told[1]
    assert "**C**" in told[2]
