import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from explainers.anchors_nms import (
    CHOSEN,
    GONE,
    KEPT,
    REMOVED,
    WAITING,
    AnchorMap,
    LabelCounts,
    LayoutCounts,
    anchor_map,
    count_labels,
    count_layout,
    inside_image,
    iou_histogram,
    make_anchors,
    match_anchors,
    nms,
    nms_steps,
    sample_minibatch,
    simulate_candidates,
    soft_nms,
    suppression_states,
    survivors,
    sweep_labels,
    sweep_nms,
)
from explainers.boxes import box_area, box_iou

NINE = {"scales": [128, 256, 512], "ratios": [1, 0.5, 2]}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def as_boxes(rows, dtype=torch.float64, device=None):
    return torch.tensor(rows, dtype=dtype, device=device).reshape(-1, 4)


def numbers(values, dtype=torch.float64, device=None):
    return torch.tensor(values, dtype=dtype, device=device)


def plain_iou(a, b):
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if shared else 0.0


def plain_nms(boxes, scores, iou_threshold, classes):
    """Visit the boxes by falling score; the first kept box that overlaps one too much drops it."""
    kept, dropped_for = [], {}
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        overlaps = {
            k: plain_iou(boxes[k], boxes[i])
            for k in kept
            if classes[k] == classes[i] and plain_iou(boxes[k], boxes[i]) > iou_threshold
        }
        if overlaps:
            first = next(iter(overlaps))
            dropped_for[i] = (first, overlaps[first])
        else:
            kept.append(i)
    return kept, dropped_for


def plain_soft_nms(boxes, scores, method, iou_threshold, sigma, score_threshold):
    scores, left, kept = list(scores), list(range(len(boxes))), []
    while left:
        best = max(left, key=lambda i: (scores[i], -i))
        left.remove(best)
        if scores[best] < score_threshold:
            break
        kept.append(best)
        for i in left:
            iou = plain_iou(boxes[best], boxes[i])
            if method == "gaussian":
                scores[i] *= math.exp(-(iou**2) / sigma)
            elif iou >= iou_threshold:
                scores[i] *= 1 - iou
    return kept, [scores[i] for i in kept]


@st.composite
def grid_boxes(draw, max_size=10):
    """Boxes with small integer corners: many ties, nested and touching boxes, some without area."""
    corner, side = st.integers(0, 6), st.integers(0, 6)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=max_size))
    return [[x, y, x + width, y + height] for x, y, width, height in rows]


@st.composite
def candidates(draw, max_size=10):
    """Boxes, scores with many ties, and classes."""
    boxes = draw(grid_boxes(max_size))
    count = {"min_size": len(boxes), "max_size": len(boxes)}
    scores = draw(st.lists(st.sampled_from([0.1, 0.2, 0.5, 0.9]), **count))
    classes = draw(st.lists(st.integers(0, 2), **count))
    return boxes, scores, classes


fractions = st.sampled_from([0.0, 0.2, 1 / 3, 0.5, 0.75, 1.0]) | st.floats(0, 1)


class TestAnchors:
    def test_order_is_row_column_scale_ratio(self, device, dtype):
        anchors = make_anchors(
            (20, 30), stride=10, scales=[4, 8], ratios=[1, 4], device=device, dtype=dtype
        )
        rows = []
        for y in (5, 15):
            for x in (5, 15, 25):
                for width, height in ((4, 4), (2, 8), (8, 8), (4, 16)):
                    rows.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        assert_close(anchors, as_boxes(rows, dtype, device))

    def test_the_nine_of_faster_rcnn(self):
        """Widths and heights of table 1 in Ren et al.: the area holds, the sides follow √ratio."""
        nine = make_anchors((16, 16), stride=16, **NINE, dtype=torch.float64)
        sides = nine[:, 2:] - nine[:, :2]
        assert_close(box_area(nine), numbers([128**2] * 3 + [256**2] * 3 + [512**2] * 3) * 1.0)
        assert_close(sides[:, 1] / sides[:, 0], numbers([1, 0.5, 2] * 3))
        assert_close(sides[1], numbers([128 * 2**0.5, 128 / 2**0.5]))
        assert_close(nine[:, :2] + nine[:, 2:], numbers([[16.0, 16.0]] * 9))

    @pytest.mark.parametrize(
        ("image_size", "stride", "cells"),
        [((600, 800), 16, 37 * 50), ((31, 16), 16, 1), ((15, 800), 16, 0), ((10, 10), 2.5, 16)],
    )
    def test_counts(self, image_size, stride, cells):
        assert make_anchors(image_size, stride, **NINE).shape == (cells * 9, 4)
        assert anchor_map(image_size, stride, per_cell=9).count == cells * 9

    def test_none_without_scales_or_ratios(self):
        assert make_anchors((64, 64), 16, scales=[], ratios=[1]).shape == (0, 4)
        assert make_anchors((64, 64), 16, scales=[32], ratios=[]).shape == (0, 4)

    def test_inside(self, device, dtype):
        rows = [[0, 0, 40, 20], [-0.5, 0, 5, 5], [0, 0, 40.5, 20], [0, 0, 40, 20.5], [3, 3, 3, 3]]
        inside = inside_image(as_boxes(rows, dtype, device), image_size=(20, 40))
        assert inside.tolist() == [True, False, False, False, True]
        assert inside_image(as_boxes([], dtype, device), (20, 40)).shape == (0,)
        assert count_layout(as_boxes(rows, dtype, device), (20, 40)) == LayoutCounts(5, inside=2)


class TestAnchorMap:
    def test_a_cells_anchors(self):
        anchors = make_anchors((20, 30), stride=10, scales=[4], ratios=[1, 4])
        grid = anchor_map((20, 30), stride=10, per_cell=2)
        assert grid == AnchorMap(2, 3, 2, stride_y=10, stride_x=10, first=0)
        centres = [
            grid.of_cell(anchors, row, column).mean(dim=0).view(2, 2).mean(dim=0).tolist()
            for row in range(2)
            for column in range(3)
        ]
        assert centres == [[5, 5], [15, 5], [25, 5], [5, 15], [15, 15], [25, 15]]

    def test_a_grid_behind_another(self):
        first = make_anchors((20, 30), stride=10, scales=[4], ratios=[1])
        second = make_anchors((20, 30), stride=15, scales=[8], ratios=[1])
        grid = AnchorMap(1, 2, 1, stride_y=15, stride_x=15, first=len(first))
        cell = grid.of_cell(torch.cat([first, second]), row=0, column=1)
        assert cell.tolist() == [[18.5, 3.5, 26.5, 11.5]]


class TestMatching:
    def test_worked_by_hand(self, device, dtype):
        """One object of 10 x 10; the anchors share 100, 80, 50, 20 and 0 with it."""
        anchors = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 2], [50, 50, 60, 60]]
        objects = as_boxes([[0, 0, 10, 10]], dtype, device)
        match = match_anchors(as_boxes(anchors, dtype, device), objects)
        assert match.label.tolist() == [1, 1, -1, 0, 0]
        assert match.matched.tolist() == [0] * 5
        assert_close(match.iou, numbers([1, 0.8, 0.5, 0.2, 0], dtype, device))
        assert match.best_anchor.tolist() == [0]
        assert match.best_iou.tolist() == [1]
        assert match.rescued.tolist() == [False]
        assert match.iou.dtype == match.best_iou.dtype == dtype

    def test_every_object_keeps_its_best_anchors(self):
        """Both share a fifth with the object: both are positive, the lower index is best."""
        anchors = as_boxes([[50, 50, 60, 60], [0, 0, 10, 2], [0, 8, 10, 10], [0, 0, 1, 1]])
        match = match_anchors(anchors, as_boxes([[0, 0, 10, 10]]))
        assert match.label.tolist() == [0, 1, 1, 0]
        assert match.best_anchor.tolist() == [1]
        assert match.rescued.tolist() == [True]

    def test_a_rescuing_anchor_is_matched_to_the_object_it_overlaps_most(self):
        """Anchor 0 is the best of both objects: 0.9 with object 0 and 0.1 with object 1."""
        anchors = as_boxes([[0, 0, 10, 10], [30, 30, 40, 40]])
        match = match_anchors(anchors, as_boxes([[0, 0, 10, 9], [0, 9, 10, 10]]))
        assert match.label.tolist() == [1, 0]
        assert match.matched.tolist() == [0, 0]
        assert match.best_anchor.tolist() == [0, 0]
        assert match.rescued.tolist() == [False, True]

    def test_matched_takes_the_lowest_index_on_ties(self):
        objects = as_boxes([[9, 9, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
        assert match_anchors(as_boxes([[0, 0, 10, 10]]), objects).matched.tolist() == [1]

    def test_thresholds_are_strict(self, dtype, device):
        """IoU 1/2 and 1/4 are exact: at the thresholds they are ignored."""
        anchors = as_boxes([[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 8, 2]], dtype, device)
        objects = as_boxes([[0, 0, 8, 8]], dtype, device)
        label = match_anchors(anchors, objects, positive=0.5, negative=0.25).label
        assert label.tolist() == [1, -1, -1]
        label = match_anchors(anchors, objects, positive=0.49, negative=0.26).label
        assert label.tolist() == [1, 1, 0]
        label = match_anchors(anchors, objects, positive=0.5, negative=0.5).label
        assert label.tolist() == [1, -1, 0]
        label = match_anchors(anchors, objects, positive=1, negative=1).label
        assert label.tolist() == [1, 0, 0]
        label = match_anchors(anchors, objects, positive=0, negative=0).label
        assert label.tolist() == [1, 1, 1]

    def test_an_object_that_no_anchor_overlaps_has_none(self):
        anchors = as_boxes([[0, 0, 10, 10], [5, 5, 10, 10]])
        match = match_anchors(anchors, as_boxes([[20, 20, 30, 30], [4, 4, 4, 4]]))
        assert match.label.tolist() == [0, 0]
        assert match.best_anchor.tolist() == [-1, -1]
        assert match.best_iou.tolist() == [0, 0]
        assert match.rescued.tolist() == [False, False]

    def test_no_objects(self, device, dtype):
        anchors = make_anchors((64, 64), 16, [16], [1], device=device, dtype=dtype)
        match = match_anchors(anchors, as_boxes([], dtype, device), negative=0)
        assert match.label.tolist() == [0] * 16
        assert match.matched.tolist() == [-1] * 16
        assert match.iou.tolist() == [0] * 16
        assert match.best_anchor.shape == match.best_iou.shape == match.rescued.shape == (0,)

    def test_no_anchors(self, device, dtype):
        match = match_anchors(as_boxes([], dtype, device), as_boxes([[0, 0, 9, 9]], dtype, device))
        assert match.label.shape == match.matched.shape == match.iou.shape == (0,)
        assert match.best_anchor.tolist() == [-1]
        assert match.best_iou.tolist() == [0]
        assert match.rescued.tolist() == [False]

    @given(grid_boxes(), grid_boxes(max_size=4), st.tuples(fractions, fractions))
    def test_equals_the_papers_words(self, anchors, objects, thresholds):
        negative, positive = sorted(thresholds)
        match = match_anchors(as_boxes(anchors), as_boxes(objects), positive, negative)
        ious = [[plain_iou(anchor, target) for target in objects] for anchor in anchors]
        best = [max((row[j] for row in ious), default=0) for j in range(len(objects))]
        for i, row in enumerate(ious):
            highest = max(row, default=0)
            is_best = any(iou == best[j] > 0 for j, iou in enumerate(row))
            if is_best or highest > positive:
                expected = 1
            elif highest < negative or not objects:
                expected = 0
            else:
                expected = -1
            assert match.label[i] == expected
            assert match.iou[i] == highest
            assert match.matched[i] == (row.index(highest) if row else -1)
        column = [[row[j] for row in ious] for j in range(len(objects))]
        assert match.best_iou.tolist() == best
        assert match.best_anchor.tolist() == [
            ious.index(best[j]) if best[j] > 0 else -1 for j, ious in enumerate(column)
        ]
        assert match.rescued.tolist() == [0 < iou <= positive for iou in best]
        count = match.label.tolist().count
        assert count_labels(match) == LabelCounts(
            positive=count(1),
            ignored=count(-1),
            negative=count(0),
            rescued=match.rescued.tolist().count(True),
        )


class TestSweepLabels:
    THRESHOLDS = torch.linspace(0, 1, 51)

    @staticmethod
    def plain(anchors, objects, positive, negative):
        """Threshold by threshold, as numbers[positive][negative]."""
        return [
            [count_labels(match_anchors(anchors, objects, p, min(n, p))) for n in negative.tolist()]
            for p in positive.tolist()
        ]

    def check(self, anchors, objects, positive, negative):
        sweep = sweep_labels(match_anchors(anchors, objects), positive, negative)
        for i, row in enumerate(self.plain(anchors, objects, positive, negative)):
            for j, wanted in enumerate(row):
                found = sweep.positive[i], sweep.ignored[i, j], sweep.negative[i, j]
                assert LabelCounts(*map(int, found), int(sweep.rescued[i])) == wanted

    def test_worked_by_hand(self, device, dtype):
        """IoU 1, 1/2, 1/4 and 0 with one object: its best anchor is positive at any threshold."""
        rows = [[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 8, 2], [50, 50, 60, 60]]
        match = match_anchors(as_boxes(rows, dtype, device), as_boxes(rows[:1], dtype, device))
        assert match.level.tolist() == [2, 0.5, 0.25, 0]
        sweep = sweep_labels(
            match, numbers([0, 0.25, 1], dtype, device), numbers([0, 0.5], dtype, device)
        )
        assert sweep.positive.tolist() == [3, 2, 1]
        assert sweep.negative.tolist() == [[0, 0], [0, 1], [0, 2]]
        assert sweep.ignored.tolist() == [[1, 1], [2, 1], [3, 1]]
        assert sweep.rescued.tolist() == [0, 0, 1]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_equals_match_anchors_threshold_by_threshold(self, dtype, device):
        anchors = make_anchors((96, 128), 16, **NINE, device=device, dtype=dtype)
        rows = [[10, 20, 70, 90], [60, 10, 100, 60], [0, 0, 8, 8], [5, 5, 5, 5]]
        thresholds = self.THRESHOLDS.to(device, dtype)
        self.check(anchors, as_boxes(rows, dtype, device), thresholds, thresholds)

    @given(grid_boxes(), grid_boxes(max_size=4))
    def test_equals_match_anchors_where_boxes_meet_thresholds_exactly(self, anchors, objects):
        thresholds = torch.tensor([0, 0.25, 1 / 3, 0.5, 1])
        self.check(as_boxes(anchors), as_boxes(objects), thresholds, thresholds.flip(0))

    def test_a_threshold_means_the_same_number_in_single_precision(self, device):
        """IoU 0.3 and 0.7, which float32 rounds differently from float64, are ignored."""
        rows = [[0, 0, 10, 3], [0, 0, 10, 7], [0, 0, 10, 10]]
        anchors, objects = (as_boxes(r, torch.float32, device) for r in (rows, rows[2:]))
        for threshold in (0.3, 0.7):
            here = torch.tensor([threshold], device=device)
            sweep = sweep_labels(match_anchors(anchors, objects), here, here)
            counts = count_labels(match_anchors(anchors, objects, threshold, threshold))
            assert sweep.ignored.item() == counts.ignored == 1
            assert sweep.positive.item() == counts.positive

    def test_the_level_gives_the_label_at_any_threshold(self, device):
        """What the browser does with it."""
        anchors = make_anchors((96, 128), 16, **NINE, device=device)
        for rows in ([[10, 20, 70, 90], [60, 10, 100, 60]], []):
            objects = as_boxes(rows, device=device)
            level = match_anchors(anchors, objects).level
            for positive, negative in ((0.0, 0.0), (0.5, 0.3), (0.7, 0.7), (1.0, 1.0)):
                label = torch.where(level > positive, 1, torch.where(level < negative, 0, -1))
                assert label.equal(match_anchors(anchors, objects, positive, negative).label)

    def test_nothing_to_count(self, device, dtype):
        none, some = as_boxes([], dtype, device), as_boxes([[0, 0, 9, 9]], dtype, device)
        zero = numbers([0], dtype, device)
        for anchors, objects, wanted in ((none, none, 0), (none, some, 0), (some, none, 1)):
            sweep = sweep_labels(match_anchors(anchors, objects), zero, zero)
            assert sweep.negative.tolist() == [[wanted]]
            assert sweep.positive.tolist() == sweep.rescued.tolist() == [0]
            assert sweep.ignored.tolist() == [[0]]
        empty = sweep_labels(match_anchors(some, some), zero[:0], zero)
        assert empty.positive.shape == (0,)
        assert empty.ignored.shape == empty.negative.shape == (0, 1)


class TestHistogram:
    def test_worked_by_hand(self, device, dtype):
        """Bins are closed below and open above, but for the last."""
        iou = numbers([0, 0.24, 0.25, 0.5, 0.74, 0.75, 1], dtype, device)
        assert iou_histogram(iou, bins=4).tolist() == [2, 1, 2, 2]
        assert iou_histogram(iou, bins=1).tolist() == [7]

    def test_empty(self, device, dtype):
        assert iou_histogram(numbers([], dtype, device), bins=3).tolist() == [0, 0, 0]


class TestMiniBatch:
    @pytest.mark.parametrize(
        ("positives", "negatives", "drawn"),
        [
            (500, 5000, (128, 128)),
            (9, 5000, (9, 247)),
            (500, 30, (128, 30)),
            (0, 5000, (0, 256)),
            (3, 4, (3, 4)),
            (0, 0, (0, 0)),
        ],
    )
    def test_sizes(self, positives, negatives, drawn, device):
        label = torch.tensor([1] * positives + [0] * negatives + [-1] * 50, device=device)
        label = label[torch.randperm(len(label), generator=generator()).to(device)]
        batch = sample_minibatch(label, generator())
        assert (len(batch.positive), len(batch.negative)) == drawn
        assert (label[batch.positive] == 1).all()
        assert (label[batch.negative] == 0).all()
        assert len(batch.positive.unique()) == drawn[0]
        assert len(batch.negative.unique()) == drawn[1]

    def test_fraction_and_size(self):
        label = torch.tensor([1] * 50 + [0] * 50)
        for fraction, drawn in ((0, (0, 9)), (0.25, (2, 7)), (1, (9, 0))):
            batch = sample_minibatch(label, generator(), size=9, positive_fraction=fraction)
            assert (len(batch.positive), len(batch.negative)) == drawn

    def test_the_seed_decides(self):
        label = torch.tensor([1] * 500 + [0] * 5000)
        batches = [sample_minibatch(label, generator(seed)) for seed in (0, 0, 1)]
        assert batches[0].positive.equal(batches[1].positive)
        assert batches[0].negative.equal(batches[1].negative)
        assert not batches[0].negative.equal(batches[2].negative)


# The published cases of the ONNX standard's NonMaxSuppression, corners given as (x1, y1, x2, y2).
ONNX_BOXES = [
    [0, 0, 1, 1],
    [0.1, 0, 1.1, 1],
    [-0.1, 0, 0.9, 1],
    [10, 0, 11, 1],
    [10.1, 0, 11.1, 1],
    [100, 0, 101, 1],
]
ONNX_SCORES = [0.9, 0.75, 0.6, 0.95, 0.5, 0.3]


class TestNmsPublishedCases:
    def test_suppress_by_iou(self, device, dtype):
        boxes, scores = as_boxes(ONNX_BOXES, dtype, device), numbers(ONNX_SCORES, dtype, device)
        assert nms(boxes, scores, 0.5).tolist() == [3, 0, 5]

    def test_suppress_by_iou_and_scores(self, device, dtype):
        boxes, scores = as_boxes(ONNX_BOXES, dtype, device), numbers(ONNX_SCORES, dtype, device)
        reached = scores > 0.4
        assert nms(boxes[reached], scores[reached], 0.5).tolist() == [3, 0]
        kept = sweep_nms(boxes, scores, numbers([0.5], dtype, device))
        assert survivors(kept, scores, numbers([0.0, 0.4], dtype, device)).tolist() == [[3, 2]]

    def test_limit_output_size(self, device, dtype):
        boxes, scores = as_boxes(ONNX_BOXES, dtype, device), numbers(ONNX_SCORES, dtype, device)
        assert nms(boxes, scores, 0.5)[:2].tolist() == [3, 0]

    def test_single_box(self, device, dtype):
        boxes = as_boxes([[0, 0, 1, 1]], dtype, device)
        assert nms(boxes, numbers([0.9], dtype, device), 0.5).tolist() == [0]

    def test_identical_boxes(self, device, dtype):
        boxes = as_boxes([[0, 0, 1, 1]] * 10, dtype, device)
        assert nms(boxes, numbers([0.9] * 10, dtype, device), 0.5).tolist() == [0]

    def test_two_classes(self, device, dtype):
        boxes = as_boxes(ONNX_BOXES * 2, dtype, device)
        scores = numbers(ONNX_SCORES * 2, dtype, device)
        classes = torch.tensor([0] * 6 + [1] * 6, device=device)
        kept = nms(boxes, scores, 0.5, classes=classes)
        assert kept.tolist() == [3, 9, 0, 6, 5, 11]
        assert nms(boxes, scores, 0.5).tolist() == [3, 0, 5]

    def test_torchvisions_near_duplicates(self, device, dtype):
        rows = [
            [285.3538, 185.5758, 1193.5110, 851.4551],
            [285.1472, 188.7374, 1192.4984, 851.0669],
            [279.2440, 197.9812, 1189.4746, 849.2019],
        ]
        scores = numbers([0.6370, 0.7569, 0.3966], dtype, device)
        assert nms(as_boxes(rows, dtype, device), scores, 0.2).tolist() == [1]


class TestNms:
    def test_a_box_is_dropped_above_the_threshold_only(self, device, dtype):
        boxes = as_boxes([[0, 0, 8, 8], [0, 0, 8, 4]], dtype, device)
        scores = numbers([0.9, 0.8], dtype, device)
        assert nms(boxes, scores, 0.5).tolist() == [0, 1]
        assert nms(boxes, scores, 0.49).tolist() == [0]

    def test_a_threshold_means_the_same_in_float32(self):
        """IoU 6/10 in float32 lies above the double 0.6, and equals the float32 0.6."""
        boxes = as_boxes([[0, 0, 10, 10], [0, 0, 10, 6]], torch.float32)
        scores = numbers([0.9, 0.8], torch.float32)
        assert nms(boxes, scores, 0.6).tolist() == [0, 1]
        for thresholds in (numbers([0.6], torch.float32), numbers([0.6], torch.float64)):
            assert sweep_nms(boxes, scores, thresholds).tolist() == [[True, True]]

    def test_a_dropped_box_drops_nothing(self):
        """The chain 0 - 1 - 2: the middle one goes, so the last one stays."""
        boxes = as_boxes([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])
        assert nms(boxes, numbers([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]

    def test_equal_scores_keep_the_lower_index_first(self, device, dtype):
        boxes = as_boxes([[30, 0, 40, 10], [0, 0, 10, 10], [0, 0, 10, 9]], dtype, device)
        assert nms(boxes, numbers([0.5] * 3, dtype, device), 0.5).tolist() == [0, 1]
        many = as_boxes([[0, 0, 10, 10]] * 200, dtype, device)
        assert nms(many, numbers([0.5] * 200, dtype, device), 0.5).tolist() == [0]
        assert nms(many, numbers([0.5] * 200, dtype, device), 1).tolist() == list(range(200))

    def test_any_finite_score(self):
        boxes = as_boxes([[0, 0, 1, 1], [5, 0, 6, 1], [9, 0, 10, 1]])
        assert nms(boxes, numbers([-3.0, 1e30, 0.0]), 0.5).tolist() == [1, 2, 0]

    def test_boxes_of_no_area_are_kept(self):
        boxes = as_boxes([[3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 10, 10], [0, 5, 10, 5]])
        assert nms(boxes, numbers([0.9, 0.8, 0.7, 0.6]), 0).tolist() == [0, 1, 2, 3]

    def test_empty(self, device, dtype):
        kept = nms(as_boxes([], dtype, device), numbers([], dtype, device), 0.5)
        assert (kept.shape, kept.dtype) == ((0,), torch.int64)

    @given(candidates(), fractions)
    def test_equals_plain_python(self, found, iou_threshold):
        boxes, scores, classes = found
        arguments = (as_boxes(boxes), numbers(scores), iou_threshold)
        expected, _ = plain_nms(boxes, scores, iou_threshold, classes)
        kept = nms(*arguments, classes=torch.tensor(classes, dtype=torch.int64))
        assert kept.tolist() == expected
        expected, _ = plain_nms(boxes, scores, iou_threshold, [0] * len(boxes))
        assert nms(*arguments).tolist() == expected

    @given(grid_boxes(), fractions, st.randoms(use_true_random=False))
    def test_the_order_of_boxes_does_not_matter(self, boxes, iou_threshold, random):
        scores = [1 / (1 + i) for i in range(len(boxes))]
        order = list(range(len(boxes)))
        random.shuffle(order)
        kept = nms(as_boxes(boxes), numbers(scores), iou_threshold).tolist()
        shuffled = nms(
            as_boxes([boxes[i] for i in order]),
            numbers([scores[i] for i in order]),
            iou_threshold,
        )
        assert [order[i] for i in shuffled.tolist()] == kept


class TestSweep:
    def test_worked_by_hand(self, device, dtype):
        """IoU with the first: 0.8, 0.6, 0; of the second and third: 0.75."""
        boxes = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6], [20, 0, 30, 10]]
        kept = sweep_nms(
            as_boxes(boxes, dtype, device),
            numbers([0.6, 0.9, 0.8, 0.7], dtype, device),
            numbers([0.9, 0.5, 0.77], dtype, device),
        )
        assert kept.int().tolist() == [[1, 1, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1]]

    @given(candidates(max_size=15), st.lists(fractions, max_size=6), st.booleans())
    def test_each_row_is_nms(self, found, thresholds, by_class):
        rows, score_list, class_list = found
        boxes, scores, iou_thresholds = as_boxes(rows), numbers(score_list), numbers(thresholds)
        classes = torch.tensor(class_list, dtype=torch.int64) if by_class else None
        for dtype in (torch.float64, torch.float32):
            arguments = boxes.to(dtype), scores.to(dtype)
            kept = sweep_nms(*arguments, iou_thresholds, classes)
            assert kept.shape == (len(thresholds), len(rows))
            for row, threshold in zip(kept, thresholds, strict=True):
                expected = nms(*arguments, threshold, classes).sort().values
                assert row.nonzero()[:, 0].equal(expected)

    def test_each_row_is_nms_on_many_boxes(self, device, dtype):
        objects = as_boxes([[20, 20, 80, 90], [60, 30, 120, 110], [10, 100, 90, 150]])
        boxes, scores = simulate_candidates(objects.to(device, dtype), (200, 200), generator())
        thresholds = torch.linspace(0, 1, 21, device=device, dtype=dtype)
        kept = sweep_nms(boxes, scores, thresholds)
        for row, threshold in zip(kept, thresholds.tolist(), strict=True):
            assert row.nonzero()[:, 0].equal(nms(boxes, scores, threshold).sort().values)

    def test_empty(self, device, dtype):
        boxes, scores = as_boxes(ONNX_BOXES, dtype, device), numbers(ONNX_SCORES, dtype, device)
        none = numbers([], dtype, device)
        assert sweep_nms(boxes[:0], scores[:0], numbers([0.5], dtype, device)).shape == (1, 0)
        assert sweep_nms(boxes, scores, none).shape == (0, 6)
        assert sweep_nms(boxes[:0], scores[:0], none).shape == (0, 0)


class TestSteps:
    def test_worked_by_hand(self, device, dtype):
        """Box 1 is chosen and drops 0 and 3; box 2 is chosen and drops nothing."""
        boxes = [[0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [0, 0, 10, 6]]
        steps = nms_steps(
            as_boxes(boxes, dtype, device), numbers([0.6, 0.9, 0.8, 0.9], dtype, device), 0.5
        )
        assert steps.order.tolist() == [1, 3, 2, 0]
        assert steps.kept.tolist() == [1, 2]
        assert steps.removed_by.tolist() == [1, -1, -1, 1]
        assert_close(steps.removed_iou, numbers([0.8, 0, 0, 0.75], dtype, device))
        assert steps.removed_at.tolist() == [0, 0, 1, 0]

    @given(candidates(), fractions)
    def test_equals_plain_python(self, found, iou_threshold):
        boxes, scores, classes = found
        steps = nms_steps(
            as_boxes(boxes),
            numbers(scores),
            iou_threshold,
            torch.tensor(classes, dtype=torch.int64),
        )
        kept, dropped_for = plain_nms(boxes, scores, iou_threshold, classes)
        assert steps.kept.tolist() == kept
        for i in range(len(boxes)):
            by, iou = dropped_for.get(i, (-1, 0))
            assert steps.removed_by[i] == by
            assert steps.removed_iou[i] == iou
            assert steps.removed_at[i] == kept.index(i if by < 0 else by)

    @given(candidates(), fractions)
    def test_a_replay_ends_with_the_kept_boxes(self, found, iou_threshold):
        boxes, scores, _ = found
        steps = nms_steps(as_boxes(boxes), numbers(scores), iou_threshold)
        left = set(range(len(boxes)))
        for step, chosen in enumerate(steps.kept.tolist()):
            assert chosen == next(i for i in steps.order.tolist() if i in left)
            left -= set((steps.removed_at == step).nonzero()[:, 0].tolist())
        assert not left

    @given(candidates(), fractions)
    def test_the_states_of_a_replay(self, found, iou_threshold):
        """Each box waits, is chosen or removed at its own step, and is kept or gone after it."""
        boxes, scores, _ = found
        steps = nms_steps(as_boxes(boxes), numbers(scores), iou_threshold)
        states = suppression_states(steps)
        assert states.shape == (len(steps.kept) + 1, len(boxes))
        for i, at in enumerate(steps.removed_at.tolist()):
            now, after = (REMOVED, GONE) if steps.removed_by[i] >= 0 else (CHOSEN, KEPT)
            expected = [WAITING] * (at + 1) + [now] + [after] * (len(steps.kept) - at - 1)
            assert states[:, i].tolist() == expected

    def test_empty(self, device, dtype):
        steps = nms_steps(as_boxes([], dtype, device), numbers([], dtype, device), 0.5)
        fields = (steps.order, steps.kept, steps.removed_by, steps.removed_iou, steps.removed_at)
        assert all(field.shape == (0,) for field in fields)
        assert suppression_states(steps).shape == (1, 0)


class TestSurvivors:
    def test_worked_by_hand(self, device, dtype):
        kept = torch.tensor([[1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.bool, device=device)
        counts = survivors(
            kept,
            numbers([0.9, 0.8, 0.5, 0.2], dtype, device),
            numbers([0.5, 0, 1, 0.51], dtype, device),
        )
        assert counts.tolist() == [[2, 3, 0, 1], [0, 0, 0, 0]]
        assert counts.dtype == torch.int64

    @given(candidates(), fractions, st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.9, 1.0]))
    def test_low_scores_do_not_matter_to_high_ones(self, found, iou_threshold, score_threshold):
        """Filtering by score and then suppressing is suppressing and then filtering."""
        rows, score_list, class_list = found
        boxes, scores = as_boxes(rows), numbers(score_list)
        classes = torch.tensor(class_list, dtype=torch.int64)
        reached = (scores >= score_threshold).nonzero()[:, 0]
        before = reached[nms(boxes[reached], scores[reached], iou_threshold, classes[reached])]
        kept = nms(boxes, scores, iou_threshold, classes)
        assert before.equal(kept[scores[kept] >= score_threshold])
        swept = sweep_nms(boxes, scores, numbers([iou_threshold]), classes)
        assert survivors(swept, scores, numbers([score_threshold])) == len(before)

    def test_empty(self):
        nothing = torch.zeros((0, 3), dtype=torch.bool)
        assert survivors(nothing, numbers([0.1, 0.2, 0.3]), numbers([0.5])).shape == (0, 1)
        assert survivors(nothing.T, numbers([]), numbers([0.5])).tolist() == [[0]] * 3


# IoU with the first: 0.8, 0.5, 0; of the second and third: 0.625.
SOFT_BOXES = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [20, 20, 30, 30]]
SOFT_SCORES = [0.9, 0.8, 0.7, 0.3]


class TestSoftNms:
    def test_linear_worked_by_hand(self, device, dtype):
        """0.8 · 0.2 = 0.16 and 0.7 · 0.5 = 0.35; then the third takes 0.16 to 0.16 · 0.375."""
        boxes, scores = as_boxes(SOFT_BOXES, dtype, device), numbers(SOFT_SCORES, dtype, device)
        kept, decayed = soft_nms(boxes, scores, "linear", iou_threshold=0.5)
        assert kept.tolist() == [0, 2, 3, 1]
        assert_close(decayed, numbers([0.9, 0.35, 0.3, 0.06], dtype, device))
        assert scores.tolist() == numbers(SOFT_SCORES, dtype).tolist()

    def test_linear_spares_what_lies_below_the_threshold(self):
        kept, decayed = soft_nms(as_boxes(SOFT_BOXES), numbers(SOFT_SCORES), iou_threshold=0.7)
        assert kept.tolist() == [0, 2, 3, 1]
        assert_close(decayed, numbers([0.9, 0.7, 0.3, 0.16]))

    def test_gaussian_worked_by_hand(self, device, dtype):
        boxes, scores = as_boxes(SOFT_BOXES, dtype, device), numbers(SOFT_SCORES, dtype, device)
        kept, decayed = soft_nms(boxes, scores, "gaussian", sigma=0.5)
        third = 0.7 * math.exp(-(0.5**2) / 0.5)
        second = 0.8 * math.exp(-(0.8**2) / 0.5) * math.exp(-(0.625**2) / 0.5)
        assert kept.tolist() == [0, 2, 3, 1]
        assert_close(decayed, numbers([0.9, third, 0.3, second], dtype, device))

    def test_boxes_that_fall_below_the_score_threshold_are_left_out(self):
        kept, _ = soft_nms(as_boxes(SOFT_BOXES), numbers(SOFT_SCORES), score_threshold=0.3)
        assert kept.tolist() == [0, 2, 3]
        kept, _ = soft_nms(as_boxes(SOFT_BOXES), numbers(SOFT_SCORES), score_threshold=0.95)
        assert kept.tolist() == []

    def test_identical_boxes(self):
        """Linear decay takes the second to 0, which only a threshold of 0 lets pass."""
        boxes, scores = as_boxes([[0, 0, 9, 9]] * 2), numbers([0.5, 0.5])
        assert soft_nms(boxes, scores)[0].tolist() == [0]
        kept, decayed = soft_nms(boxes, scores, score_threshold=0)
        assert (kept.tolist(), decayed.tolist()) == ([0, 1], [0.5, 0])
        kept, decayed = soft_nms(boxes, scores, "gaussian", sigma=0.25)
        assert kept.tolist() == [0, 1]
        assert_close(decayed, numbers([0.5, 0.5 * math.exp(-4)]))

    def test_classes_leave_one_another_alone(self):
        kept, decayed = soft_nms(
            as_boxes(SOFT_BOXES),
            numbers(SOFT_SCORES),
            "gaussian",
            classes=torch.tensor([0, 1, 2, 2]),
        )
        assert (kept.tolist(), decayed.tolist()) == ([0, 1, 2, 3], SOFT_SCORES)

    def test_boxes_of_no_area_change_nothing(self):
        boxes = as_boxes([[3, 3, 3, 3], [3, 3, 3, 3], [0, 0, 10, 10]])
        for method in ("linear", "gaussian"):
            kept, decayed = soft_nms(boxes, numbers([0.9, 0.8, 0.7]), method, iou_threshold=0)
            assert (kept.tolist(), decayed.tolist()) == ([0, 1, 2], [0.9, 0.8, 0.7])

    @given(
        candidates(),
        st.sampled_from(["linear", "gaussian"]),
        fractions,
        st.sampled_from([0.1, 0.5, 2.0]),
        st.sampled_from([0.0, 0.001, 0.15]),
    )
    def test_equals_plain_python(self, found, method, iou_threshold, sigma, score_threshold):
        boxes, scores, _ = found
        parameters = (method, iou_threshold, sigma, score_threshold)
        kept, decayed = soft_nms(as_boxes(boxes), numbers(scores), *parameters)
        expected, expected_scores = plain_soft_nms(boxes, scores, *parameters)
        assert_close(decayed, numbers(expected_scores), atol=1e-12, rtol=1e-12)
        if len({round(score, 9) for score in expected_scores}) == len(expected_scores):
            assert kept.tolist() == expected

    def test_empty(self, device, dtype):
        kept, decayed = soft_nms(as_boxes([], dtype, device), numbers([], dtype, device))
        assert (kept.shape, decayed.shape) == ((0,), (0,))
        assert (kept.dtype, decayed.dtype) == (torch.int64, dtype)


class TestSimulatedCandidates:
    OBJECTS = ((20, 20, 80, 90), (60, 30, 120, 110))

    def test_shapes_and_ranges(self, device, dtype):
        objects = as_boxes(self.OBJECTS, dtype, device)
        boxes, scores = simulate_candidates(objects, (100, 110), generator())
        assert boxes.shape == (2 * 12 + 20, 4)
        assert (boxes.dtype, scores.dtype) == (dtype, dtype)
        assert boxes.device.type == scores.device.type == device.type
        assert inside_image(boxes, (100, 110)).all()
        assert ((scores >= 0) & (scores <= 1)).all()
        assert (scores[-20:] < 0.3).all()

    def test_copies_stay_with_their_object(self):
        boxes, _ = simulate_candidates(as_boxes(self.OBJECTS), (200, 200), generator())
        iou = box_iou(as_boxes(self.OBJECTS), boxes[:24])
        assert iou[0, :12].mean() > 0.5
        assert iou[1, 12:].mean() > 0.5

    def test_without_jitter_the_copies_are_the_objects(self):
        boxes, scores = simulate_candidates(
            as_boxes(self.OBJECTS), (200, 200), generator(), per_object=2, jitter=0, background=0
        )
        assert_close(boxes, as_boxes(self.OBJECTS).repeat_interleave(2, dim=0))
        assert (scores >= 0.7).all()

    def test_the_seed_decides(self):
        objects = as_boxes(self.OBJECTS)
        draws = [simulate_candidates(objects, (200, 200), generator(seed)) for seed in (0, 0, 1)]
        assert draws[0][0].equal(draws[1][0])
        assert draws[0][1].equal(draws[1][1])
        assert not draws[0][0].equal(draws[2][0])

    def test_without_objects_or_background(self, device, dtype):
        none = as_boxes([], dtype, device)
        boxes, scores = simulate_candidates(none, (50, 50), generator())
        assert (boxes.shape, scores.shape) == ((20, 4), (20,))
        boxes, scores = simulate_candidates(none, (50, 50), generator(), background=0)
        assert (boxes.shape, scores.shape) == ((0, 4), (0,))


BOXES = as_boxes([[0, 0, 10, 10], [0, 0, 10, 8]], torch.float32)
SCORES = numbers([0.9, 0.8], torch.float32)
BACKWARDS = as_boxes([[10, 0, 0, 10], [0, 0, 1, 1]], torch.float32)
NOT_A_NUMBER = numbers([0.5, torch.nan], torch.float32)
HALF = numbers([0.5], torch.float32)
MASK = torch.ones((1, 2), dtype=torch.bool)
MATCH = match_anchors(BOXES, BOXES)


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: make_anchors((0, 5), 1, [1], [1]), r"image_size is \(0, 5\)"),
            (lambda: make_anchors((5, 5), 0, [1], [1]), r"stride is 0: a positive"),
            (lambda: make_anchors((5, 5), 1, [1, -2], [1]), r"scales is -2: a positive"),
            (lambda: make_anchors((5, 5), 1, [1], [torch.nan]), r"ratios is nan: a positive"),
            (lambda: inside_image(BACKWARDS, (5, 5)), r"anchors\[0\] is"),
            (lambda: inside_image(BOXES, (5, -1)), r"image_size is \(5, -1\)"),
            (
                lambda: AnchorMap(1, 1, 1, 9, 9).of_cell(BOXES, 1, 0),
                r"row, column is 1, 0: .*1 x 1",
            ),
            (lambda: AnchorMap(1, 1, 1, 9, 9).of_cell(BOXES, 0, -1), r"row, column is 0, -1"),
            (lambda: AnchorMap(1, 1, 3, 9, 9).of_cell(BOXES, 0, 0), r"anchors has 2 rows: 3 are"),
            (lambda: match_anchors(BACKWARDS, BOXES), r"anchors\[0\] is \[10.0, 0.0, 0.0, 10.0\]"),
            (lambda: match_anchors(BOXES, BACKWARDS), r"objects\[0\]"),
            (lambda: match_anchors(BOXES, BOXES, 0.3, 0.7), r"negative is 0.7, positive is 0.3"),
            (lambda: match_anchors(BOXES, BOXES, 1.1), r"positive is 1.1: 0 <= negative"),
            (lambda: match_anchors(BOXES, BOXES, 0.7, -0.1), r"negative is -0.1"),
            (lambda: sweep_labels(MATCH, HALF * 3, HALF), r"positive has 1.5: .*\[0, 1\]"),
            (lambda: sweep_labels(MATCH, HALF, NOT_A_NUMBER), r"negative has nan"),
            (lambda: sweep_labels(MATCH, HALF, HALF[0]), r"negative has shape \[\]"),
            (lambda: iou_histogram(HALF, bins=0), r"bins is 0: at least 1"),
            (lambda: sample_minibatch(torch.tensor([2]), generator()), r"label is .*values -1, 0"),
            (lambda: sample_minibatch(torch.tensor([[1]]), generator()), r"label is .*shape \[n\]"),
            (lambda: sample_minibatch(torch.tensor([1]), generator(), 0), r"size is 0: at least 1"),
            (
                lambda: sample_minibatch(torch.tensor([1]), generator(), 9, 1.5),
                r"positive_fraction is 1.5: a number in \[0, 1\]",
            ),
            (lambda: nms(BOXES, SCORES, 1.1), r"iou_threshold is 1.1: a number in \[0, 1\]"),
            (lambda: sweep_nms(BOXES, SCORES, HALF - 1), r"iou_thresholds has -0.5: .*\[0, 1\]"),
            (lambda: sweep_nms(BOXES, SCORES, HALF[0]), r"iou_thresholds has shape \[\]"),
            (lambda: sweep_nms(BOXES, SCORES, NOT_A_NUMBER), r"iou_thresholds has nan"),
            (lambda: nms_steps(BOXES, SCORES, torch.nan), r"iou_threshold is nan"),
            (lambda: survivors(MASK, SCORES[:1], HALF), r"kept has shape \[1, 2\], scores \[1\]"),
            (lambda: survivors(MASK[0], SCORES, HALF), r"kept has shape \[2\]"),
            (lambda: survivors(MASK, NOT_A_NUMBER, HALF), r"scores has nan: finite"),
            (lambda: survivors(MASK, SCORES, HALF * 4), r"score_thresholds has 2: "),
            (lambda: soft_nms(BOXES, SCORES - 1), r"scores has a minimum of -0.2"),
            (lambda: soft_nms(BOXES, SCORES, "hard"), r"method is 'hard': 'linear' or 'gaussian'"),
            (lambda: soft_nms(BOXES, SCORES, iou_threshold=2), r"iou_threshold is 2"),
            (lambda: soft_nms(BOXES, SCORES, sigma=0), r"sigma is 0: a positive"),
            (lambda: soft_nms(BOXES, SCORES, score_threshold=-1), r"score_threshold is -1"),
            (lambda: simulate_candidates(BACKWARDS, (9, 9), generator()), r"objects\[0\]"),
            (lambda: simulate_candidates(BOXES, (9, 0), generator()), r"image_size is \(9, 0\)"),
            (lambda: simulate_candidates(BOXES, (9, 9), generator(), -1), r"per_object is -1"),
            (
                lambda: simulate_candidates(BOXES, (9, 9), generator(), jitter=torch.inf),
                r"jitter is inf",
            ),
            (
                lambda: simulate_candidates(BOXES, (9, 9), generator(), background=-1),
                r"background is -1",
            ),
        ],
    )
    def test_message(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()

    @pytest.mark.parametrize(
        "suppress",
        [
            lambda *found, **more: nms(*found, 0.5, **more),
            lambda *found, **more: sweep_nms(*found, HALF, **more),
            lambda *found, **more: nms_steps(*found, 0.5, **more),
            soft_nms,
        ],
        ids=["nms", "sweep_nms", "nms_steps", "soft_nms"],
    )
    def test_candidates(self, suppress):
        for boxes, scores, classes, message in [
            (BACKWARDS, SCORES, None, r"boxes\[0\] is .*x1 <= x2"),
            (BOXES[:, :3], SCORES, None, r"boxes has shape \[2, 3\]: \[n, 4\] is needed"),
            (BOXES, SCORES[:1], None, r"scores has shape \[1\]: one for each of 2 boxes"),
            (BOXES, SCORES[None], None, r"scores has shape \[1, 2\]"),
            (BOXES, NOT_A_NUMBER, None, r"scores has nan: finite numbers"),
            (BOXES, SCORES + torch.inf, None, r"scores has inf"),
            (BOXES, SCORES.half(), None, r"scores has dtype torch.float16"),
            (BOXES, SCORES, torch.tensor([1]), r"classes has shape \[1\]"),
            (BOXES, SCORES, SCORES, r"classes has .*dtype torch.float32: an integer"),
        ]:
            with pytest.raises(ValueError, match=message):
                suppress(boxes, scores, classes=classes)


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError):
        nms(BOXES, SCORES[:1], 0.5)
