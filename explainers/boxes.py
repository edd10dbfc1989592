"""Axis-aligned boxes: how large they are, how far they overlap, and how one is coded from another.

A box is a row `(x1, y1, x2, y2)` in pixels with `x1 <= x2` and `y1 <= y2`; the image's first pixel
starts at 0, so a box as wide as the image ends at the image's width. A box may have no area. Boxes
are float32 or float64, finite, and at most 1e15 pixels from the origin, so that the product of any
two lengths stays finite. Everything else raises `ValueError`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Number = float | int

MAX_COORDINATE = 1e15
MAX_GROWTH = 1e6


def check_boxes(boxes: Tensor, name: str) -> None:
    """Raise `ValueError` unless `boxes` is what this module calls boxes, shape `[n, 4]`.

    >>> check_boxes(torch.tensor([[5.0, 0.0, 3.0, 4.0]]), "objects")
    Traceback (most recent call last):
    ValueError: objects[0] is [5.0, 0.0, 3.0, 4.0]: x1 <= x2 and y1 <= y2 are needed
    """
    _check_rows_of_four(boxes, name)
    ordered = (boxes[:, :2] <= boxes[:, 2:]).all(dim=1)
    _check_every_row(boxes, ordered, name, "x1 <= x2 and y1 <= y2 are needed")


def check_image_size(image_size: tuple[Number, Number]) -> None:
    """Raise `ValueError` unless `image_size` is a positive, finite (height, width)."""
    if len(image_size) != 2 or not all(0 < side <= MAX_COORDINATE for side in image_size):
        raise ValueError(
            f"image_size is {image_size}: height and width in (0, {MAX_COORDINATE:g}] are needed"
        )


def box_area(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    """Area of each box in square pixels.

    Raises:
        ValueError: if `boxes` are not boxes.

    >>> box_area(torch.tensor([[0.0, 0.0, 10.0, 5.0], [3.0, 3.0, 3.0, 9.0]]))
    tensor([50.,  0.])
    """
    check_boxes(boxes, "boxes")
    return _area(boxes)


def box_iou(boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box in `boxes1` with every box in `boxes2`, in [0, 1].

    A box of no area has IoU 0 with every box, itself included.

    Raises:
        ValueError: if either argument does not hold boxes.

    Source: Jaccard, 1912; Everingham et al., The PASCAL VOC Challenge, 2010, section 4.2.

    >>> box_iou(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[0.0, 5.0, 10.0, 15.0]]))
    tensor([[0.3333]])
    """
    check_boxes(boxes1, "boxes1")
    check_boxes(boxes2, "boxes2")
    return unchecked_iou(boxes1, boxes2)


def unchecked_iou(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> Float[Tensor, "n m"]:
    """`box_iou` for boxes that have passed `check_boxes` already, as inside a loop."""
    return _quotient(*_intersection_and_union(boxes1, boxes2))


def generalized_box_iou(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> Float[Tensor, "n m"]:
    """Generalized IoU of every pair, in [-1, 1]: IoU minus the unused share of the enclosing box.

    It tells how far apart two boxes are that do not overlap, where IoU is 0 for all of them.
    Where the enclosing box has no area, nothing of it is unused, and the value is the IoU, 0.

    Raises:
        ValueError: if either argument does not hold boxes.

    Source: Rezatofighi et al., 2019, algorithm 1.

    >>> generalized_box_iou(torch.tensor([[0.0, 0.0, 1, 1]]), torch.tensor([[1.0, 1.0, 2, 2]]))
    tensor([[-0.5000]])
    """
    check_boxes(boxes1, "boxes1")
    check_boxes(boxes2, "boxes2")
    intersection, union = _intersection_and_union(boxes1, boxes2)
    width, height = _enclosing_sides(boxes1, boxes2)
    enclosing = width * height
    return _quotient(intersection, union) - _quotient(enclosing - union, enclosing)


def distance_box_iou(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> Float[Tensor, "n m"]:
    """Distance IoU of every pair, in [-1, 1]: IoU minus (centre distance / enclosing diagonal)².

    Raises:
        ValueError: if either argument does not hold boxes.

    Source: Zheng et al., Distance-IoU Loss, 2020, equation 7.

    >>> distance_box_iou(torch.tensor([[0.0, 0.0, 2, 2]]), torch.tensor([[0.0, 0.0, 1, 1]]))
    tensor([[0.1875]])
    """
    check_boxes(boxes1, "boxes1")
    check_boxes(boxes2, "boxes2")
    return unchecked_iou(boxes1, boxes2) - _centre_penalty(boxes1, boxes2)


def complete_box_iou(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> Float[Tensor, "n m"]:
    """Complete IoU of every pair: distance IoU minus `alpha * v`, a penalty for unlike shapes.

    `v = (4 / pi²) · (atan(w1 / h1) - atan(w2 / h2))²` and `alpha = v / (1 - IoU + v)`. A gradient
    sees `alpha` as a constant, as in torchvision. A point counts as w / h = 0.

    Raises:
        ValueError: if either argument does not hold boxes.

    Source: Zheng et al., Distance-IoU Loss, 2020, equations 8 to 11.

    >>> complete_box_iou(torch.tensor([[0.0, 0.0, 4, 1]]), torch.tensor([[0.0, 0.0, 1, 4]]))
    tensor([[-0.1662]])
    """
    check_boxes(boxes1, "boxes1")
    check_boxes(boxes2, "boxes2")
    iou = unchecked_iou(boxes1, boxes2)
    shape_penalty = 4 / math.pi**2 * (_aspect(boxes1)[:, None] - _aspect(boxes2)) ** 2
    alpha = _quotient(shape_penalty, 1 - iou + shape_penalty).detach()
    return iou - _centre_penalty(boxes1, boxes2) - alpha * shape_penalty


@dataclass(frozen=True)
class IouParts:
    """What the IoU of two boxes is made of; lengths in pixels, areas in square pixels.

    Where the boxes do not overlap, `intersection_box` is a box without area.
    """

    intersection_box: Float[Tensor, "4"]
    intersection: Float[Tensor, ""]
    area1: Float[Tensor, ""]
    area2: Float[Tensor, ""]
    union: Float[Tensor, ""]
    iou: Float[Tensor, ""]


def iou_parts(box1: Float[Tensor, "4"], box2: Float[Tensor, "4"]) -> IouParts:
    """The IoU of two boxes, worked out: intersection, both areas, their union, the quotient.

    Raises:
        ValueError: if either argument is not one box.

    >>> parts = iou_parts(torch.tensor([0.0, 0, 10, 10]), torch.tensor([5.0, 0, 15, 10]))
    >>> parts.intersection_box, parts.intersection, parts.union, parts.iou
    (tensor([ 5.,  0., 10., 10.]), tensor(50.), tensor(150.), tensor(0.3333))
    """
    boxes1, boxes2 = box1[None], box2[None]
    check_boxes(boxes1, "box1")
    check_boxes(boxes2, "box2")
    intersection, union = _intersection_and_union(boxes1, boxes2)
    top_left = torch.maximum(box1[:2], box2[:2])
    bottom_right = torch.minimum(box1[2:], box2[2:]).maximum(top_left)
    return IouParts(
        intersection_box=torch.cat([top_left, bottom_right]),
        intersection=intersection[0, 0],
        area1=_area(boxes1)[0],
        area2=_area(boxes2)[0],
        union=union[0, 0],
        iou=_quotient(intersection, union)[0, 0],
    )


def encode_boxes(
    boxes: Float[Tensor, "n 4"],
    anchors: Float[Tensor, "n 4"],
    scales: Sequence[Number] = (1, 1, 1, 1),
) -> Float[Tensor, "n 4"]:
    """Regression targets (tx, ty, tw, th) that lead from each anchor to the box in the same row.

    With centres x, y and sides w, h: `tx = (x - xa) / wa`, `ty = (y - ya) / ha`,
    `tw = ln(w / wa)`, `th = ln(h / ha)`, each then multiplied by its scale.

    Args:
        boxes, anchors: both with a positive width and height in every row.
        scales: four positive factors for tx, ty, tw, th; detectors use (10, 10, 5, 5) to bring
            the targets to unit variance.

    Raises:
        ValueError: if a row is no box or has no area, the row counts differ, or a scale is not
            positive.

    Source: Girshick et al., R-CNN, 2014, appendix C, equations 6 to 9; Ren et al., 2015,
        equation 2.

    >>> encode_boxes(torch.tensor([[2.0, 0, 12, 20]]), torch.tensor([[0.0, 0, 10, 10]]))
    tensor([[0.2000, 0.5000, 0.0000, 0.6931]])
    """
    _check_sided_boxes(boxes, "boxes")
    _check_sided_boxes(anchors, "anchors")
    _check_same_rows(boxes, "boxes", anchors)
    _check_scales(scales)
    centre, size = _centre_and_size(boxes)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    shift = (centre - anchor_centre) / anchor_size
    growth = (size / anchor_size).log()
    return torch.cat([shift, growth], dim=1) * boxes.new_tensor(scales)


def decode_boxes(
    deltas: Float[Tensor, "n 4"],
    anchors: Float[Tensor, "n 4"],
    scales: Sequence[Number] = (1, 1, 1, 1),
) -> Float[Tensor, "n 4"]:
    """The box that each row of (tx, ty, tw, th) makes of its anchor: `encode_boxes` undone.

    A side grows at most a million times: tw and th are cut there, so that a wild prediction cannot
    overflow. That is far beyond any pair of boxes in one image, so the inverse is exact up to
    rounding. (torchvision cuts at 1000 / 16, which a wide object on a small anchor exceeds.)

    Args:
        deltas: finite numbers.
        anchors: boxes; one without area gives a box without area.
        scales: as for `encode_boxes`.

    Raises:
        ValueError: if `deltas` are not finite, `anchors` are not boxes, the row counts differ, or
            a scale is not positive.

    Source: Girshick et al., R-CNN, 2014, appendix C, equations 1 to 4.

    >>> decode_boxes(torch.tensor([[0.2, 0.5, 0.0, 0.0]]), torch.tensor([[0.0, 0, 10, 10]]))
    tensor([[ 2.,  5., 12., 15.]])
    """
    _check_rows_of_four(deltas, "deltas")
    check_boxes(anchors, "anchors")
    _check_same_rows(deltas, "deltas", anchors)
    _check_scales(scales)
    anchor_centre, anchor_size = _centre_and_size(anchors)
    shift, growth = (deltas / deltas.new_tensor(scales)).chunk(2, dim=1)
    centre = anchor_centre + shift * anchor_size
    size = anchor_size * growth.clamp(max=math.log(MAX_GROWTH)).exp()
    return torch.cat([centre - size / 2, centre + size / 2], dim=1)


def clip_boxes(
    boxes: Float[Tensor, "n 4"], image_size: tuple[Number, Number]
) -> Float[Tensor, "n 4"]:
    """The part of each box that lies in an image of `image_size` = (height, width) pixels.

    A box outside the image becomes one without area on the image's border.

    Raises:
        ValueError: if `boxes` are not boxes or a side of the image is not positive.

    >>> clip_boxes(torch.tensor([[-5.0, 2.0, 50.0, 90.0]]), image_size=(60, 40))
    tensor([[ 0.,  2., 40., 60.]])
    """
    check_boxes(boxes, "boxes")
    check_image_size(image_size)
    height, width = image_size
    limit = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limit)


def _area(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _aspect(boxes: Float[Tensor, "n 4"]) -> Float[Tensor, "n"]:
    return torch.atan2(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _centre_and_size(
    boxes: Float[Tensor, "n 4"],
) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    top_left, bottom_right = boxes.chunk(2, dim=1)
    return (top_left + bottom_right) / 2, bottom_right - top_left


def _intersection_and_union(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    left1, top1, right1, bottom1 = boxes1[:, None].unbind(dim=2)
    left2, top2, right2, bottom2 = boxes2.unbind(dim=1)
    width = right1.minimum(right2) - left1.maximum(left2)
    height = bottom1.minimum(bottom2) - top1.maximum(top2)
    intersection = width.clamp(min=0) * height.clamp(min=0)
    return intersection, _area(boxes1)[:, None] + _area(boxes2) - intersection


def _enclosing_sides(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n m"]]:
    left1, top1, right1, bottom1 = boxes1[:, None].unbind(dim=2)
    left2, top2, right2, bottom2 = boxes2.unbind(dim=1)
    return (
        right1.maximum(right2) - left1.minimum(left2),
        bottom1.maximum(bottom2) - top1.minimum(top2),
    )


def _centre_penalty(
    boxes1: Float[Tensor, "n 4"], boxes2: Float[Tensor, "m 4"]
) -> Float[Tensor, "n m"]:
    centre1, _ = _centre_and_size(boxes1)
    centre2, _ = _centre_and_size(boxes2)
    width, height = _enclosing_sides(boxes1, boxes2)
    distance = (centre1[:, None] - centre2).square().sum(dim=2)
    return _quotient(distance, width.square() + height.square())


def _quotient(
    numerator: Float[Tensor, "n m"], denominator: Float[Tensor, "n m"]
) -> Float[Tensor, "n m"]:
    """The quotient, and 0 where the denominator (and with it, here, the numerator) is 0."""
    return numerator / denominator.where(denominator > 0, 1)


def _check_rows_of_four(values: Tensor, name: str) -> None:
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(f"{name} has shape {list(values.shape)}: [n, 4] is needed")
    if values.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} has dtype {values.dtype}: float32 or float64 is needed")
    bounded = (values.abs() <= MAX_COORDINATE).all(dim=1)
    _check_every_row(values, bounded, name, f"[-{MAX_COORDINATE:g}, {MAX_COORDINATE:g}] is allowed")


def _check_sided_boxes(boxes: Tensor, name: str) -> None:
    check_boxes(boxes, name)
    sided = (boxes[:, :2] < boxes[:, 2:]).all(dim=1)
    _check_every_row(boxes, sided, name, "width and height must be positive")


def _check_every_row(values: Tensor, good: Tensor, name: str, rule: str) -> None:
    if not good.all():
        row = int((~good).nonzero()[0])
        raise ValueError(f"{name}[{row}] is {values[row].tolist()}: {rule}")


def _check_same_rows(values: Tensor, name: str, anchors: Tensor) -> None:
    if len(values) != len(anchors):
        raise ValueError(
            f"{name} has {len(values)} rows, anchors {len(anchors)}: equal counts are needed"
        )


def _check_scales(scales: Sequence[Number]) -> None:
    if len(scales) != 4 or not all(0 < scale < math.inf for scale in scales):
        raise ValueError(f"scales is {scales}: four positive, finite numbers are needed")
