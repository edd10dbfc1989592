"""Figures of the Anchors & NMS page: what is drawn follows from the results handed in."""

import numpy as np
import pytest
import torch

from explainers.anchors_nms import (
    MiniBatch,
    anchor_map,
    make_anchors,
    match_anchors,
    nms_steps,
    suppression_states,
)
from explainers.boxes import encode_boxes, iou_parts
from figures.anchors_nms import (
    METHODS,
    divided,
    grid_layers,
    grouped,
    histogram_sweeps,
    iou_formula,
    iou_histogram,
    labelled,
    matching_layers,
    object_table,
    replay_layers,
    replay_sentences,
    sampled,
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


def bars(trace):
    """Heights of the bars that a trace of the histogram draws, 0 where it draws none."""
    return [round(float(y)) for y in trace.y][1:-1]


def test_histogram_counts_and_colours_follow_the_thresholds():
    counts = torch.tensor([7, 5, 3, 1, 0])
    drawn = iou_histogram(counts, positive=0.6, negative=0.4, translate=str)
    ignored, negative, positive, low, high = drawn.data
    assert [round(x, 2) for x in ignored.x] == [0, 0.1, 0.3, 0.5, 0.7, 0.9, 1]
    assert bars(ignored) == counts.tolist()
    assert bars(negative) == [7, 5, 0, 0, 0]
    assert bars(positive) == [0, 0, 0, 1, 0]
    assert [trace.fillcolor for trace in drawn.data[:3]] == [IGNORED, NEGATIVE, POSITIVE]
    assert (low.x, high.x) == ((0.4, 0.4), (0.6, 0.6))
    bottom, top = drawn.layout.yaxis.range
    assert min(min(trace.y) for trace in drawn.data[:3]) < 10**bottom < 1
    assert 10**top > 7


@pytest.mark.parametrize(("positive", "negative"), [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.2, 0.8)])
def test_sliders_make_of_a_histogram_what_it_is_at_their_thresholds(positive, negative):
    counts, thresholds = torch.arange(50), [k / 50 for k in range(51)]
    drawn = iou_histogram(counts, positive, negative, str)
    moved = iou_histogram(counts, 0.7, 0.3, str)
    at = {"of p": thresholds.index(positive), "of n": thresholds.index(negative)}
    for topic, trace, attribute, values in histogram_sweeps(counts, thresholds, "of p", "of n"):
        assert len(values) == len(thresholds)
        moved.data[trace][attribute] = values[at[topic]]
    for one, other in zip(drawn.data, moved.data, strict=True):
        assert np.allclose(one.x, other.x)
        assert np.allclose(one.y, other.y)


def test_histogram_without_anchors():
    drawn = iou_histogram(torch.zeros(50, dtype=torch.int64), 0.7, 0.3, str)
    assert bars(drawn.data[0]) == [0] * 50


def test_numbers_of_a_sentence_keep_their_shape():
    assert grouped(torch.tensor([[1, 2345], [67, 1_000_000]])).tolist() == [
        ["1", "2,345"],
        ["67", "1,000,000"],
    ]


def test_survivor_curve_marks_the_threshold_up_to_the_highest_count():
    drawn = survivor_curve([0.0, 0.5, 1.0], torch.tensor([1, 2, 3]), str)
    assert list(drawn.data[0].y) == [1, 2, 3]
    assert list(drawn.data[1].y) == [0, 3]


def test_score_decay_draws_every_method_over_the_scores_before():
    after = {method: SCORES / (i + 1) for i, method in enumerate(METHODS)}
    drawn = score_decay(SCORES, after, ["Cat", "Cat", "Dog"], least=0.2, translate=str)
    assert np.allclose(drawn.data[0].y, SCORES)
    for trace, method in zip(drawn.data[1:4], METHODS, strict=True):
        assert np.allclose(trace.y, after[method])
        assert trace.marker.color == METHODS[method]
    assert list(drawn.data[4].y) == [0.2, 0.2]


def test_labels_are_translated():
    drawn = iou_histogram(torch.tensor([1]), 0.7, 0.3, lambda text: f"<{text}>")
    assert drawn.layout.yaxis.title.text == "<Anchors>"
    (key,) = drawn.layout.annotations
    for label in ("<negative>", "<ignored>", "<positive>"):
        assert label in key.text


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


OBJECTS = torch.tensor([[10.0, 10, 44, 44], [8, 0, 24, 16], [60, 60, 61, 61]])


def visible(layer, at):
    """Which boxes the browser shows with its sliders at these positions."""
    _, arrays = layer.encode((SIZE[1], SIZE[0]))
    shown = arrays.get("category", np.zeros(len(arrays["boxes"]))) != HIDDEN
    for bound, meets in (("score_from", np.greater_equal), ("score_below", np.less)):
        limits = [arrays[f"{bound}.{topic}"][at[topic]] for topic in getattr(layer, bound)]
        if limits:
            shown &= meets(arrays["scores"], min(limits))
    return shown.tolist()


@pytest.mark.parametrize("objects", [OBJECTS, OBJECTS[:0]])
def test_sliders_label_anchors_as_matching_does_at_each_pair_of_thresholds(objects):
    anchors = make_anchors(SIZE, stride=8, scales=[16, 32], ratios=[1])
    thresholds = [k / 20 for k in range(21)]
    sent = torch.arange(len(anchors)).flip(0)
    match = match_anchors(anchors, objects)
    shown = divided(match.level[sent], thresholds, "of p", "of n")
    layers = encodable(matching_layers(anchors, match, sent, shown, objects, "hint"))
    assert list(layers) == ["negative", "ignored", "positive", "drawn"]
    for p, positive in enumerate(thresholds):
        for n, negative in enumerate(thresholds):
            wanted = match_anchors(anchors, objects, positive, min(negative, positive))
            for label, name in ((1, "positive"), (-1, "ignored"), (0, "negative")):
                found = visible(layers[name], {"of p": p, "of n": n})
                assert found == (wanted.label[sent] == label).tolist()


def test_matching_tells_iou_and_target_and_hides_labels_that_are_not_shown():
    anchors = make_anchors(SIZE, stride=16, scales=[32], ratios=[1])
    match = match_anchors(anchors, OBJECTS[:1], 0.5, 0.3)
    sent = torch.arange(len(anchors))
    shown = divided(match.level, [0.0, 1.0], "of p", "of n", negative=False)
    layers = encodable(matching_layers(anchors, match, sent, shown, OBJECTS[:1], "hint"))
    assert list(layers) == ["ignored", "positive", "drawn"]
    told = torch.as_tensor(layers["positive"].columns)
    assert torch.equal(told[:, 0], match.iou)
    assert torch.equal(told[:, 1:], encode_boxes(OBJECTS[:1].expand(len(anchors), 4), anchors))


def test_a_mini_batch_is_shown_alone():
    anchors = make_anchors(SIZE, stride=16, scales=[32], ratios=[1])
    match = match_anchors(anchors, OBJECTS, 0.5, 0.3)
    batch = MiniBatch(positive=torch.tensor([3, 1]), negative=torch.tensor([4, 5, 6]))
    sent = torch.tensor([6, 5, 3, 2, 1])
    layers = encodable(matching_layers(anchors, match, sent, sampled(batch, sent), OBJECTS, "hint"))
    assert list(layers) == ["negative", "positive", "drawn"]
    assert visible(layers["positive"], {}) == [False, False, True, False, True]
    assert visible(layers["negative"], {}) == [True, True, False, False, False]


def test_matching_without_objects_or_anchors_has_layers_too():
    some, none = make_anchors(SIZE, stride=32, scales=[32], ratios=[1]), torch.zeros(0, 4)
    for anchors, objects in ((some, none), (none, none), (none, OBJECTS)):
        match = match_anchors(anchors, objects)
        sent = torch.arange(len(anchors))
        batch = MiniBatch(sent[:0], sent)
        for shown in (divided(match.level, [0, 1], "of p", "of n"), sampled(batch, sent)):
            layers = encodable(matching_layers(anchors, match, sent, shown, objects, "hint"))
            assert len(np.asarray(layers["drawn"].boxes)) == len(objects)


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
    (layer,) = soft_layers(BOXES[:1], torch.tensor([0.456]), ["Cat"], "linear", "least", [0.1, 0.5])
    assert isinstance(layer, Boxes)
    assert layer.labels == ["Cat 0.46"]
    assert layer.score_from == {"least": [0.1, 0.5]}
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
