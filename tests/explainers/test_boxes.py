import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch.testing import assert_close

from explainers.boxes import (
    box_area,
    box_iou,
    clip_boxes,
    complete_box_iou,
    decode_boxes,
    distance_box_iou,
    encode_boxes,
    generalized_box_iou,
    iou_parts,
)

IOUS = [box_iou, generalized_box_iou, distance_box_iou, complete_box_iou]

# The published cases of torchvision, test/test_ops.py.
INTEGER_BOXES = [[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300], [0, 0, 25, 25]]
IOU_TABLE = [[1, 0.25, 0], [0.25, 1, 0], [0, 0, 1], [0.0625, 0.25, 0]]
GENERALIZED_TABLE = [
    [1, 0.25, -0.7778],
    [0.25, 1, -0.8611],
    [-0.7778, -0.8611, 1],
    [0.0625, 0.25, -0.8819],
]
DISTANCE_TABLE = [
    [1, 0.1875, -0.4444],
    [0.1875, 1, -0.5625],
    [-0.4444, -0.5625, 1],
    [-0.0781, 0.1875, -0.6267],
]
COMPLETE_TABLE = DISTANCE_TABLE  # all of these boxes are squares
TABLES = [IOU_TABLE, GENERALIZED_TABLE, DISTANCE_TABLE, COMPLETE_TABLE]
FLOAT_BOXES = [
    [285.3538, 185.5758, 1193.5110, 851.4551],
    [285.1472, 188.7374, 1192.4984, 851.0669],
    [279.2440, 197.9812, 1189.4746, 849.2019],
]
FLOAT_TABLE = [[1, 0.9933, 0.9673], [0.9933, 1, 0.9737], [0.9673, 0.9737, 1]]

# A box, a line, a point, and a line through another place.
DEGENERATE = [[0, 0, 10, 10], [0, 5, 10, 5], [3, 3, 3, 3], [20, 0, 20, 9]]


@st.composite
def grid_boxes(draw, min_side=0, max_size=6):
    """Boxes with small integer corners, so that ties, touching and nesting are common."""
    side = st.integers(min_side, 6)
    corner = st.integers(0, 8)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=max_size))
    return [[x, y, x + width, y + height] for x, y, width, height in rows]


def as_boxes(rows, dtype=torch.float64, device=None):
    return torch.tensor(rows, dtype=dtype, device=device).reshape(-1, 4)


class TestPublishedCases:
    @pytest.mark.parametrize(
        ("iou", "table"),
        list(zip(IOUS, TABLES, strict=True)),
    )
    def test_integer_boxes(self, iou, table, device, dtype):
        boxes = as_boxes(INTEGER_BOXES, dtype, device)
        expected = torch.tensor(table, dtype=dtype, device=device)
        assert_close(iou(boxes, boxes[:3]), expected, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("iou", IOUS)
    def test_float_boxes(self, iou, device, dtype):
        boxes = as_boxes(FLOAT_BOXES, dtype, device)
        expected = torch.tensor(FLOAT_TABLE, dtype=dtype, device=device)
        assert_close(iou(boxes, boxes), expected, atol=1e-3, rtol=0)

    @pytest.mark.parametrize(
        ("iou", "second", "loss"),
        [
            (generalized_box_iou, [-1, -1, 1, 1], 0.75),
            (generalized_box_iou, [0, 1, 1, 2], 1.0),
            (generalized_box_iou, [1, 1, 2, 2], 1.5),
            (distance_box_iou, [-1, -1, 1, 1], 0.8125),
            (distance_box_iou, [0, 1, 1, 2], 1.2),
            (distance_box_iou, [1, 1, 2, 2], 1.25),
            (complete_box_iou, [-1, -1, 1, 1], 0.8125),
            (complete_box_iou, [0, 1, 1, 2], 1.2),
            (complete_box_iou, [1, 1, 2, 2], 1.25),
        ],
    )
    def test_losses_of_unit_boxes(self, iou, second, loss, device, dtype):
        """Each loss is one minus the value."""
        value = iou(as_boxes([[0, 0, 1, 1]], dtype, device), as_boxes([second], dtype, device))
        assert value.item() == pytest.approx(1 - loss, abs=1e-4)

    def test_area(self, device, dtype):
        area = box_area(as_boxes([[0, 0, 100, 100], [0, 0, 0, 0]], dtype, device))
        assert area.tolist() == [10000, 0]
        expected = torch.tensor([604723.0806, 600965.4666, 592761.0085], dtype=dtype, device=device)
        assert_close(box_area(as_boxes(FLOAT_BOXES, dtype, device)), expected, rtol=1e-6, atol=0)


class TestIou:
    def test_worked_by_hand(self):
        """5 x 10 shared; 100 + 100 - 50 = 150 together."""
        iou = box_iou(as_boxes([[0, 0, 10, 10]]), as_boxes([[5, 0, 15, 10], [10, 0, 20, 10]]))
        assert iou.tolist() == [[50 / 150, 0]]

    @given(grid_boxes(), grid_boxes())
    def test_exact_on_integers(self, rows1, rows2):
        def exact(a, b):
            width = min(a[2], b[2]) - max(a[0], b[0])
            height = min(a[3], b[3]) - max(a[1], b[1])
            shared = max(width, 0) * max(height, 0)
            areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
            return Fraction(shared, sum(areas) - shared) if shared else Fraction(0)

        iou = box_iou(as_boxes(rows1), as_boxes(rows2))
        assert iou.shape == (len(rows1), len(rows2))
        assert iou.tolist() == [[float(exact(a, b)) for b in rows2] for a in rows1]

    @pytest.mark.parametrize("iou", IOUS)
    @given(rows1=grid_boxes(), rows2=grid_boxes())
    def test_symmetric_and_bounded(self, iou, rows1, rows2):
        values = iou(as_boxes(rows1), as_boxes(rows2))
        assert_close(values, iou(as_boxes(rows2), as_boxes(rows1)).T)
        lowest = 0 if iou is box_iou else -1 if iou is not complete_box_iou else -2
        assert values.isfinite().all()
        assert ((values >= lowest) & (values <= 1)).all()

    @pytest.mark.parametrize("iou", IOUS)
    @given(rows=grid_boxes(min_side=1))
    def test_one_with_itself(self, iou, rows):
        boxes = as_boxes(rows)
        assert (iou(boxes, boxes).diagonal() == 1).all()

    def test_no_epsilon(self, dtype, device):
        """Boxes of a millionth of a pixel have the same IoU as large ones."""
        boxes = as_boxes([[0, 0, 1, 1], [0, 0, 1, 0.5]], dtype, device) * 2**-20
        assert box_iou(boxes, boxes).tolist() == [[1, 0.5], [0.5, 1]]

    def test_boxes_of_no_area_overlap_nothing(self, device, dtype):
        boxes = as_boxes(DEGENERATE, dtype, device)
        expected = torch.zeros(4, 4, dtype=dtype, device=device)
        expected[0, 0] = 1
        assert box_iou(boxes, boxes).equal(expected)

    @pytest.mark.parametrize("iou", IOUS)
    def test_boxes_of_no_area_give_finite_values(self, iou, device, dtype):
        boxes = as_boxes(DEGENERATE, dtype, device)
        assert iou(boxes, boxes).isfinite().all()

    def test_generalized_without_area(self):
        """Nothing of an empty enclosing box is unused; all of any other one is."""
        boxes = as_boxes([[3, 3, 3, 3], [5, 3, 9, 3], [5, 5, 5, 5]])
        expected = [[0, 0, -1], [0, 0, -1], [-1, -1, 0]]
        assert generalized_box_iou(boxes, boxes).tolist() == expected

    @pytest.mark.parametrize("iou", IOUS)
    @pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0)])
    def test_empty(self, iou, n, m, device, dtype):
        boxes = as_boxes(FLOAT_BOXES, dtype, device)
        assert iou(boxes[:n], boxes[:m]).shape == (n, m)

    @pytest.mark.parametrize("iou", IOUS)
    def test_keeps_dtype_and_device(self, iou, device, dtype):
        boxes = as_boxes(FLOAT_BOXES, dtype, device)
        values = iou(boxes, boxes)
        assert (values.dtype, values.device.type) == (dtype, device.type)

    @pytest.mark.parametrize("iou", IOUS)
    def test_far_coordinates_stay_finite(self, iou, device, dtype):
        far = as_boxes([[-1e15, -1e15, 1e15, 1e15], [1e15, 1e15, 1e15, 1e15]], dtype, device)
        assert iou(far, far).isfinite().all()

    @pytest.mark.parametrize("iou", [box_iou, generalized_box_iou, distance_box_iou])
    def test_gradcheck(self, iou):
        boxes1 = as_boxes([[0, 0, 4, 5], [2, 1, 9, 9]]).requires_grad_()
        boxes2 = as_boxes([[1, 2, 6, 7], [20, 20, 30, 25]]).requires_grad_()
        assert torch.autograd.gradcheck(iou, (boxes1, boxes2))


class TestCompleteIou:
    def test_worked_by_hand(self):
        """4 x 1 against 1 x 4: IoU 1/7, centres √4.5 apart in a diagonal of √32."""
        v = 4 / math.pi**2 * (math.atan(4) - math.atan(1 / 4)) ** 2
        expected = 1 / 7 - 4.5 / 32 - v * v / (1 - 1 / 7 + v)
        value = complete_box_iou(as_boxes([[0, 0, 4, 1]]), as_boxes([[0, 0, 1, 4]]))
        assert value.item() == pytest.approx(expected, abs=1e-12)

    @given(grid_boxes(min_side=1), grid_boxes(min_side=1))
    def test_equals_its_definition(self, rows1, rows2):
        def aspect(box):
            return math.atan((box[2] - box[0]) / (box[3] - box[1]))

        boxes1, boxes2 = as_boxes(rows1), as_boxes(rows2)
        iou, distance = box_iou(boxes1, boxes2), distance_box_iou(boxes1, boxes2)
        v = (
            as_boxes([])
            .new_tensor(
                [[4 / math.pi**2 * (aspect(a) - aspect(b)) ** 2 for b in rows2] for a in rows1]
            )
            .reshape(iou.shape)
        )
        expected = distance - v * v / (1 - iou + v + 1e-7)
        assert_close(complete_box_iou(boxes1, boxes2), expected, atol=1e-6, rtol=0)

    def test_alpha_is_a_constant_to_the_gradient(self):
        """The centres agree and nothing moves but the widths: d/dw (-alpha · v), alpha fixed."""
        box = as_boxes([[-2, -2, 2, 2]])
        half_width = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        limits = half_width.new_tensor([0, -2, 0, 2])
        other = (limits + half_width * half_width.new_tensor([-1, 0, 1, 0]))[None]
        (complete_box_iou(box, other) - box_iou(box, other)).sum().backward()
        difference = math.pi / 4 - math.atan(0.5)
        v = 4 / math.pi**2 * difference**2
        slope = 8 / math.pi**2 * difference * -0.5 / (1 + 0.5**2)
        alpha = v / (1 - 0.5 + v)
        assert half_width.grad.item() == pytest.approx(-alpha * slope, abs=1e-9)


class TestIouParts:
    def test_worked_by_hand(self, device, dtype):
        boxes = as_boxes([[0, 0, 10, 10], [4, 5, 14, 25]], dtype, device)
        parts = iou_parts(*boxes)
        assert parts.intersection_box.tolist() == [4, 5, 10, 10]
        assert parts.intersection.item() == 6 * 5
        assert (parts.area1.item(), parts.area2.item()) == (100, 200)
        assert parts.union.item() == 270
        assert parts.iou.item() == pytest.approx(30 / 270)
        assert parts.iou.dtype == dtype

    def test_nothing_shared(self):
        parts = iou_parts(*as_boxes([[0, 0, 10, 10], [20, 5, 30, 15]]))
        assert parts.intersection_box.tolist() == [20, 5, 20, 10]
        assert (parts.intersection.item(), parts.union.item(), parts.iou.item()) == (0, 200, 0)

    @given(grid_boxes(max_size=4))
    def test_agrees_with_box_iou(self, rows):
        boxes = as_boxes(rows)
        for i, first in enumerate(boxes):
            for j, second in enumerate(boxes):
                parts = iou_parts(first, second)
                assert parts.iou == box_iou(boxes, boxes)[i, j]
                assert parts.intersection == box_area(parts.intersection_box[None])[0]


class TestRegressionCode:
    def test_worked_by_hand(self, device, dtype):
        """Centre (25, 35) and size 10 x 40, seen from centre (20, 30) and size 20 x 20."""
        box = as_boxes([[20, 15, 30, 55]], dtype, device)
        anchor = as_boxes([[10, 20, 30, 40]], dtype, device)
        code = [5 / 20, 5 / 20, math.log(10 / 20), math.log(40 / 20)]
        expected = torch.tensor([code], dtype=dtype, device=device)
        assert_close(encode_boxes(box, anchor), expected)
        assert_close(decode_boxes(expected, anchor), box)

    def test_scales_multiply_the_code(self, device, dtype):
        box = as_boxes([[20, 15, 30, 55]], dtype, device)
        anchor = as_boxes([[10, 20, 30, 40]], dtype, device)
        scaled = encode_boxes(box, anchor, scales=(10, 20, 5, 4))
        factors = torch.tensor([10, 20, 5, 4], dtype=dtype, device=device)
        assert_close(scaled, encode_boxes(box, anchor) * factors)
        assert_close(decode_boxes(scaled, anchor, scales=(10, 20, 5, 4)), box)

    def test_a_detectors_formula(self):
        """cx = tx / 10 · wa + cxa and w = exp(tw / 5) · wa, as in SSD."""
        deltas = as_boxes([[1, -2, 0.5, -0.5]])
        decoded = decode_boxes(deltas, as_boxes([[10, 20, 30, 60]]), scales=(10, 10, 5, 5))
        x, y = 0.1 * 20 + 20, -0.2 * 40 + 40
        w, h = math.exp(0.1) * 20, math.exp(-0.1) * 40
        assert_close(decoded, as_boxes([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]]))

    @given(
        st.lists(
            st.tuples(*[st.floats(-1000, 2000), st.floats(0.5, 2000)] * 4),
            max_size=5,
        )
    )
    def test_decode_undoes_encode(self, rows):
        numbers = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4, 2)
        start, side = numbers[..., 0], numbers[..., 1]
        boxes = torch.cat([start[:, :2], start[:, :2] + side[:, :2]], dim=1)
        anchors = torch.cat([start[:, 2:], start[:, 2:] + side[:, 2:]], dim=1)
        scales = (10, 10, 5, 5)
        decoded = decode_boxes(encode_boxes(boxes, anchors, scales), anchors, scales)
        assert_close(decoded, boxes, atol=1e-8, rtol=1e-9)
        single = partial(torch.Tensor.to, dtype=torch.float32)
        decoded = decode_boxes(encode_boxes(single(boxes), single(anchors)), single(anchors))
        assert_close(decoded, single(boxes), atol=0.02, rtol=1e-5)

    def test_a_wide_object_on_a_small_anchor(self):
        """It grows 125-fold, beyond the cut that other libraries make at 62.5."""
        box, anchor = as_boxes([[0, 0, 1000, 600]]), as_boxes([[4, 4, 12, 12]])
        assert_close(decode_boxes(encode_boxes(box, anchor), anchor), box)

    def test_growth_is_cut_at_a_million(self, device, dtype):
        anchors = as_boxes([[-1, -1, 1, 1]], dtype, device).expand(2, 4)
        deltas = as_boxes([[0, 0, 1e4, 1e15], [0, 0, -1e4, -1e15]], dtype, device)
        decoded = decode_boxes(deltas, anchors)
        assert_close(decoded, as_boxes([[-1e6, -1e6, 1e6, 1e6], [0, 0, 0, 0]], dtype, device))

    def test_empty(self, device, dtype):
        empty = as_boxes([], dtype, device)
        assert encode_boxes(empty, empty).shape == (0, 4)
        assert decode_boxes(empty, empty).shape == (0, 4)

    def test_gradcheck(self):
        anchors = as_boxes([[0, 0, 4, 5], [2, 1, 9, 9]])
        boxes = as_boxes([[1, 2, 6, 7], [20, 20, 30, 25]]).requires_grad_()
        assert torch.autograd.gradcheck(encode_boxes, (boxes, anchors))
        deltas = encode_boxes(boxes.detach(), anchors).requires_grad_()
        assert torch.autograd.gradcheck(decode_boxes, (deltas, anchors))


class TestClip:
    def test_worked_by_hand(self, device, dtype):
        boxes = [[-5, -5, 5, 5], [10, 10, 50, 50], [60, 60, 70, 70], [1, 2, 3, 4]]
        clipped = clip_boxes(as_boxes(boxes, dtype, device), image_size=(20, 40))
        expected = [[0, 0, 5, 5], [10, 10, 40, 20], [40, 20, 40, 20], [1, 2, 3, 4]]
        assert clipped.tolist() == expected
        assert clipped.dtype == dtype

    def test_empty(self):
        assert clip_boxes(as_boxes([]), (20, 40)).shape == (0, 4)


BOX = as_boxes([[0, 0, 10, 10]], torch.float32)


def spoiled(value):
    boxes = BOX.clone()
    boxes[0, 2] = value
    return boxes


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            (spoiled(torch.nan), r"boxes\[0\] is \[0.0, 0.0, nan, 10.0\]: \[-1e\+15, 1e\+15\]"),
            (spoiled(torch.inf), r"boxes\[0\] is \[0.0, 0.0, inf, 10.0\]"),
            (spoiled(2e15), r"boxes\[0\] is .*: \[-1e\+15, 1e\+15\] is allowed"),
            (spoiled(-1), r"boxes\[0\] is \[0.0, 0.0, -1.0, 10.0\]: x1 <= x2"),
            (torch.zeros(3, 5), r"boxes has shape \[3, 5\]: \[n, 4\] is needed"),
            (torch.zeros(4), r"boxes has shape \[4\]: \[n, 4\] is needed"),
            (torch.zeros(1, 4, dtype=torch.int64), r"boxes has dtype torch.int64: float32"),
            (torch.zeros(1, 4, dtype=torch.float16), r"boxes has dtype torch.float16"),
        ],
    )
    def test_what_is_no_box(self, boxes, message):
        with pytest.raises(ValueError, match=message):
            box_area(boxes)

    @pytest.mark.parametrize("iou", IOUS)
    def test_which_argument(self, iou):
        with pytest.raises(ValueError, match=r"boxes1\[0\]"):
            iou(spoiled(torch.nan), BOX)
        with pytest.raises(ValueError, match=r"boxes2\[0\]"):
            iou(BOX, spoiled(-1))

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: iou_parts(BOX[0], spoiled(-1)[0]), r"box2\[0\]"),
            (lambda: iou_parts(BOX, BOX[0]), r"box1 has shape"),
            (lambda: encode_boxes(BOX, spoiled(0)), r"anchors\[0\] is .*must be positive"),
            (lambda: encode_boxes(spoiled(0), BOX), r"boxes\[0\] is .*must be positive"),
            (lambda: encode_boxes(BOX, BOX[:0]), r"boxes has 1 rows, anchors 0"),
            (lambda: encode_boxes(BOX, BOX, (1, 1, 1)), r"scales is \(1, 1, 1\): four"),
            (lambda: encode_boxes(BOX, BOX, (1, 1, 1, 0)), r"scales is"),
            (lambda: decode_boxes(spoiled(torch.nan), BOX), r"deltas\[0\]"),
            (lambda: decode_boxes(BOX, spoiled(-1)), r"anchors\[0\]"),
            (lambda: decode_boxes(BOX[:0], BOX), r"deltas has 0 rows, anchors 1"),
            (lambda: decode_boxes(BOX, BOX, (1, 1, 1, torch.inf)), r"scales is"),
            (lambda: clip_boxes(spoiled(-1), (5, 5)), r"boxes\[0\]"),
            (lambda: clip_boxes(BOX, (0, 5)), r"image_size is \(0, 5\)"),
            (lambda: clip_boxes(BOX, (5, torch.nan)), r"image_size is \(5, nan\)"),
        ],
    )
    def test_other_arguments(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError):
        box_area(torch.zeros(3, 5))
