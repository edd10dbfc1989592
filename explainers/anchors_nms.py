"""Anchors and non-maximum suppression: how a detector asks everywhere and answers once.

Anchors are laid out over the image, each is labelled by its overlap with the objects, a mini-batch
of them trains the detector, and of the many boxes that it then scores, suppression keeps one for
each object.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from explainers.boxes import (
    Number,
    check_boxes,
    check_image_size,
    clip_boxes,
    decode_boxes,
    unchecked_iou,
)

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class AnchorMap:
    """Where one grid of anchors lies in a tensor of anchors, ordered row, column, anchor.

    Attributes:
        rows, columns: the grid's cells.
        per_cell: anchors in each cell.
        stride_y, stride_x: distance between the centres of neighbouring cells, in pixels.
        first: index of the grid's first anchor, for grids that lie one behind the other.
    """

    rows: int
    columns: int
    per_cell: int
    stride_y: Number
    stride_x: Number
    first: int = 0

    @property
    def count(self) -> int:
        """Anchors in the whole grid."""
        return self.rows * self.columns * self.per_cell

    def of_cell(
        self, anchors: Float[Tensor, "n 4"], row: int, column: int
    ) -> Float[Tensor, "per_cell 4"]:
        """The anchors of one cell.

        Raises:
            ValueError: if the grid has no such cell, or `anchors` end before the grid does.

        >>> anchors = make_anchors((32, 48), stride=16, scales=[16], ratios=[1])
        >>> anchor_map((32, 48), stride=16, per_cell=1).of_cell(anchors, row=1, column=2)
        tensor([[32., 16., 48., 32.]])
        """
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise ValueError(
                f"row, column is {row}, {column}: the grid has {self.rows} x {self.columns} cells"
            )
        if len(anchors) < self.first + self.count:
            raise ValueError(
                f"anchors has {len(anchors)} rows: {self.first + self.count} are needed"
            )
        start = self.first + (row * self.columns + column) * self.per_cell
        return anchors[start : start + self.per_cell]


def anchor_map(image_size: tuple[Number, Number], stride: Number, per_cell: int) -> AnchorMap:
    """The grid that `make_anchors` fills: ⌊height / stride⌋ x ⌊width / stride⌋ cells.

    Raises:
        ValueError: if a side of the image or the stride is not positive.

    >>> anchor_map((600, 800), stride=16, per_cell=9).count
    16650
    """
    check_image_size(image_size)
    _check_positive(stride, "stride")
    height, width = image_size
    rows, columns = math.floor(height / stride), math.floor(width / stride)
    return AnchorMap(rows, columns, per_cell, stride_y=stride, stride_x=stride)


def make_anchors(
    image_size: tuple[Number, Number],
    stride: Number,
    scales: Sequence[Number],
    ratios: Sequence[Number],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "anchors 4"]:
    """Anchors of every scale and ratio around the centre of every cell.

    Cell centres lie at (i + ½) · stride. An anchor of scale s and ratio r is s · √r high and
    s / √r wide, so its area is s². Anchors may reach over the image's border.

    Args:
        image_size: (height, width) in pixels. An image smaller than the stride has no cell.
        stride: distance between cells in pixels, positive.
        scales: square roots of the areas in pixels, positive; none of them, no anchors.
        ratios: height / width, positive; none of them, no anchors.
        device, dtype: of the result.

    Returns:
        Boxes in the order row, column, scale, ratio.

    Raises:
        ValueError: if a number is not positive and finite.

    Source: Ren et al., 2015, section 3.1.1.

    >>> make_anchors((16, 32), stride=16, scales=[16], ratios=[1, 4])
    tensor([[ 0.,  0., 16., 16.],
            [ 4., -8., 12., 24.],
            [16.,  0., 32., 16.],
            [20., -8., 28., 24.]])
    """
    for name, numbers in (("scales", scales), ("ratios", ratios)):
        for number in numbers:
            _check_positive(number, name)
    grid = anchor_map(image_size, stride, per_cell=len(scales) * len(ratios))
    scale = torch.tensor(scales, device=device, dtype=dtype)[:, None]
    ratio = torch.tensor(ratios, device=device, dtype=dtype)
    half = torch.stack([scale / ratio.sqrt(), scale * ratio.sqrt()], dim=-1).reshape(-1, 2) / 2
    y = (torch.arange(grid.rows, device=device, dtype=dtype) + 0.5) * stride
    x = (torch.arange(grid.columns, device=device, dtype=dtype) + 0.5) * stride
    centre = torch.cartesian_prod(y, x).flip(1)[:, None]
    return torch.cat([centre - half, centre + half], dim=2).reshape(-1, 4)


def inside_image(
    anchors: Float[Tensor, "n 4"], image_size: tuple[Number, Number]
) -> Bool[Tensor, "n"]:
    """Whether each anchor lies wholly inside the image of (height, width) pixels, border included.

    Raises:
        ValueError: if `anchors` are not boxes or a side of the image is not positive.

    Source: Ren et al., 2015, section 3.3 (anchors that cross the border take no part in training).

    >>> inside_image(torch.tensor([[0.0, 0, 20, 10], [-1.0, 0, 5, 5]]), image_size=(10, 20))
    tensor([ True, False])
    """
    check_boxes(anchors, "anchors")
    check_image_size(image_size)
    height, width = image_size
    limit = anchors.new_tensor([width, height])
    return ((anchors[:, :2] >= 0) & (anchors[:, 2:] <= limit)).all(dim=1)


@dataclass(frozen=True)
class LayoutCounts:
    """How many anchors a layout has, and how many of them lie wholly inside the image."""

    anchors: int
    inside: int


def count_layout(anchors: Float[Tensor, "n 4"], image_size: tuple[Number, Number]) -> LayoutCounts:
    """Count the anchors of a layout.

    Raises:
        ValueError: as `inside_image` does.

    >>> count_layout(torch.tensor([[0.0, 0, 20, 10], [-1.0, 0, 5, 5]]), image_size=(10, 20))
    LayoutCounts(anchors=2, inside=1)
    """
    return LayoutCounts(len(anchors), int(inside_image(anchors, image_size).sum()))


@dataclass(frozen=True)
class Matching:
    """What `match_anchors` finds for n anchors and m objects.

    Attributes:
        label: 1 positive, 0 negative, -1 ignored.
        matched: the object that each anchor overlaps most (the lowest index on ties, also where it
            overlaps none); -1 if there are no objects. It is the regression target of a positive
            anchor.
        iou: the anchor's IoU with that object; 0 if there are no objects.
        level: what the thresholds divide. It is `iou`, but 2, above every threshold, for the best
            anchors of the objects, and -1, below every threshold, if there are no objects.
        best_anchor: the anchor that overlaps each object most (the lowest index on ties); -1 if
            none does.
        best_iou: the object's IoU with that anchor.
        rescued: objects that no anchor overlaps by more than the positive threshold, and that have
            positive anchors only because their best ones always are.
    """

    label: Int[Tensor, "n"]
    matched: Int[Tensor, "n"]
    iou: Float[Tensor, "n"]
    level: Float[Tensor, "n"]
    best_anchor: Int[Tensor, "m"]
    best_iou: Float[Tensor, "m"]
    rescued: Bool[Tensor, "m"]


def match_anchors(
    anchors: Float[Tensor, "n 4"],
    objects: Float[Tensor, "m 4"],
    positive: Number = 0.7,
    negative: Number = 0.3,
) -> Matching:
    """Label every anchor by its overlap with the objects.

    An anchor is positive if its highest IoU is above `positive`, or if it is the best anchor of
    some object (all of them on ties) and overlaps it; else negative if its highest IoU is below
    `negative`; else ignored. As in the paper both comparisons are strict: an IoU of exactly
    `positive` or `negative` is ignored, where torchvision calls the former positive. Without
    objects every anchor is negative.

    An anchor that is the best of one object but overlaps another one more is positive and matched
    to the other one, as in the paper's own code and in torchvision.

    Args:
        anchors, objects: boxes; an object without area has no positive anchor.
        positive, negative: IoU thresholds, 0 <= negative <= positive <= 1.

    Raises:
        ValueError: if an argument does not hold boxes or the thresholds are out of order.

    Source: Ren et al., 2015, section 3.1.2.

    >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    >>> match = match_anchors(anchors, torch.tensor([[0.0, 0, 10, 9], [58, 58, 70, 70]]))
    >>> match.label, match.matched, match.rescued
    (tensor([ 1, -1,  1]), tensor([0, 0, 1]), tensor([False,  True]))
    """
    check_boxes(anchors, "anchors")
    check_boxes(objects, "objects")
    if not 0 <= negative <= positive <= 1:
        raise ValueError(
            f"negative is {negative}, positive is {positive}: "
            "0 <= negative <= positive <= 1 is needed"
        )
    if len(anchors) == 0 or len(objects) == 0:
        return _nothing_matched(anchors, objects)
    overlap = unchecked_iou(objects, anchors)
    iou, matched = overlap.max(dim=0)
    best_iou, best_anchor = overlap.max(dim=1)
    overlapped = best_iou > 0
    is_best = ((overlap == best_iou[:, None]) & overlapped[:, None]).any(dim=0)
    level = iou.where(~is_best, 2)
    label = torch.full_like(matched, IGNORED)
    label[level < negative] = NEGATIVE
    label[level > positive] = POSITIVE
    return Matching(
        label=label,
        matched=matched,
        iou=iou,
        level=level,
        best_anchor=best_anchor.where(overlapped, -1),
        best_iou=best_iou,
        rescued=overlapped & (best_iou <= positive),
    )


def _nothing_matched(anchors: Float[Tensor, "n 4"], objects: Float[Tensor, "m 4"]) -> Matching:
    n, m = len(anchors), len(objects)
    return Matching(
        label=anchors.new_full((n,), NEGATIVE, dtype=torch.int64),
        matched=anchors.new_full((n,), -1, dtype=torch.int64),
        iou=anchors.new_zeros(n),
        level=anchors.new_full((n,), -1),
        best_anchor=objects.new_full((m,), -1, dtype=torch.int64),
        best_iou=objects.new_zeros(m),
        rescued=objects.new_zeros(m, dtype=torch.bool),
    )


@dataclass(frozen=True)
class LabelCounts:
    """How many anchors have each label, and how many objects only the best-anchor rule saves."""

    positive: int
    ignored: int
    negative: int
    rescued: int


def count_labels(matching: Matching) -> LabelCounts:
    """Count what `match_anchors` found.

    >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    >>> count_labels(match_anchors(anchors, torch.tensor([[0.0, 0, 10, 9]])))
    LabelCounts(positive=1, ignored=1, negative=1, rescued=0)
    """
    label = matching.label
    positive, ignored, negative = (int((label == k).sum()) for k in (POSITIVE, IGNORED, NEGATIVE))
    return LabelCounts(positive, ignored, negative, int(matching.rescued.sum()))


@dataclass(frozen=True)
class LabelSweep:
    """`LabelCounts` at every pair of a positive and a negative threshold."""

    positive: Int[Tensor, "p"]
    ignored: Int[Tensor, "p q"]
    negative: Int[Tensor, "p q"]
    rescued: Int[Tensor, "p"]


def sweep_labels(
    matching: Matching, positive: Float[Tensor, "p"], negative: Float[Tensor, "q"]
) -> LabelSweep:
    """What `count_labels` counts at every pair of thresholds at once.

    Thresholds only divide the anchors' levels: sorted once, the anchors are counted by looking up
    where each threshold falls. A negative threshold above the positive one counts as equal to it.

    Args:
        matching: at any thresholds.
        positive, negative: IoU thresholds in [0, 1], in any order, rounded to the dtype of the IoU.

    Returns:
        Row i belongs to `positive[i]`, column j to `negative[j]`.

    Raises:
        ValueError: if a threshold lies outside [0, 1].

    >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]])
    >>> match = match_anchors(anchors, torch.tensor([[0.0, 0, 10, 9]]))
    >>> sweep = sweep_labels(match, torch.tensor([0.5, 0.7]), torch.tensor([0.3, 0.6]))
    >>> sweep.positive, sweep.ignored, sweep.negative
    (tensor([2, 1]), tensor([[0, 0],
            [1, 0]]), tensor([[1, 1],
            [1, 2]]))
    """
    _check_fractions(positive, "positive")
    _check_fractions(negative, "negative")
    level, best_iou = matching.level.sort().values, matching.best_iou
    upper = positive.to(level)
    lower = torch.minimum(upper[:, None], negative.to(level))
    positives = len(level) - torch.searchsorted(level, upper, right=True)
    negatives = torch.searchsorted(level, lower)
    rescued = (best_iou[:, None] > 0) & (best_iou[:, None] <= upper)
    return LabelSweep(
        positive=positives,
        ignored=len(level) - positives[:, None] - negatives,
        negative=negatives,
        rescued=rescued.sum(dim=0),
    )


def positives_per_object(matching: Matching) -> Int[Tensor, "m"]:
    """How many positive anchors are matched to each object.

    >>> anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    >>> positives_per_object(match_anchors(anchors, torch.tensor([[0.0, 0, 10, 9]])))
    tensor([2])
    """
    matched = matching.matched[matching.label == POSITIVE]
    return torch.bincount(matched, minlength=len(matching.best_iou))


def iou_histogram(iou: Float[Tensor, "n"], bins: int) -> Int[Tensor, "bins"]:
    """How many values fall into each of `bins` equal parts of [0, 1]; 1 belongs to the last.

    What rounding puts outside [0, 1] is counted at the ends.

    Raises:
        ValueError: if `bins` is not positive.

    >>> iou_histogram(torch.tensor([0.0, 0.49, 0.5, 1.0]), bins=2)
    tensor([2, 2])
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}: at least 1 is needed")
    place = (iou * bins).long().clamp(0, bins - 1)
    return torch.bincount(place, minlength=bins)


@dataclass(frozen=True)
class MiniBatch:
    """Indices of the anchors that train the detector on one image, in random order."""

    positive: Int[Tensor, "k"]
    negative: Int[Tensor, "l"]


def sample_minibatch(
    label: Int[Tensor, "n"],
    generator: torch.Generator,
    size: int = 256,
    positive_fraction: Number = 0.5,
) -> MiniBatch:
    """Draw the anchors of one training step, without replacement.

    Up to `positive_fraction` of `size` are positive; where there are fewer positives, negatives
    fill the batch, as far as there are any.

    Args:
        label: 1 positive, 0 negative, -1 ignored, as `match_anchors` gives it.
        generator: on any device.
        size: anchors in the batch, at least 1.
        positive_fraction: in [0, 1].

    Raises:
        ValueError: if `label` holds another number, or a number is out of its range.

    Source: Ren et al., 2015, section 3.1.3.

    >>> label = torch.tensor([1, 0, -1, 0, 0])
    >>> batch = sample_minibatch(label, torch.Generator().manual_seed(0), size=4)
    >>> batch.positive, batch.negative.sort().values
    (tensor([0]), tensor([1, 3, 4]))
    """
    if label.ndim != 1 or not ((label >= IGNORED) & (label <= POSITIVE)).all():
        raise ValueError(f"label is {label}: shape [n] with values -1, 0 and 1 is needed")
    if size < 1:
        raise ValueError(f"size is {size}: at least 1 is needed")
    _check_fraction(positive_fraction, "positive_fraction")
    positive = _draw(label == POSITIVE, int(size * positive_fraction), generator)
    negative = _draw(label == NEGATIVE, size - len(positive), generator)
    return MiniBatch(positive, negative)


def _draw(
    mask: Bool[Tensor, "n"], at_most: int, generator: torch.Generator
) -> Int[Tensor, "drawn"]:
    candidates = mask.nonzero()[:, 0]
    shuffled = torch.randperm(len(candidates), generator=generator, device=generator.device)
    return candidates[shuffled[:at_most].to(candidates.device)]


def nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    iou_threshold: Number,
    classes: Int[Tensor, "n"] | None = None,
) -> Int[Tensor, "kept"]:
    """Greedy non-maximum suppression.

    Keeps the highest-scoring box, drops every box that overlaps it by more than `iou_threshold`,
    and repeats on what is left.

    Args:
        boxes: boxes; one without area overlaps nothing, so it is kept and drops nothing.
        scores: any finite numbers.
        iou_threshold: in [0, 1]; at 1 every box is kept.
        classes: if given, a box drops boxes of its own class only.

    Returns:
        Indices of the kept boxes, by falling score; of equal scores the lower index comes first.

    Raises:
        ValueError: if `boxes` are not boxes, lengths differ, a score is not finite, or
            `iou_threshold` lies outside [0, 1].

    Source: Felzenszwalb et al., 2010, section 7.2; Ren et al., 2015, section 3.3.

    >>> nms(torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11]]), torch.tensor([0.8, 0.9]), 0.5)
    tensor([1])
    """
    classes = _check_candidates(boxes, scores, classes)
    _check_fraction(iou_threshold, "iou_threshold")
    remaining = _by_falling_score(scores)
    kept = []
    while len(remaining) > 0:
        best, remaining = remaining[:1], remaining[1:]
        kept.append(best)
        iou = unchecked_iou(boxes[best], boxes[remaining])[0]
        dropped = (iou > iou_threshold) & (classes[remaining] == classes[best])
        remaining = remaining[~dropped]
    return torch.cat([*kept, remaining])


def sweep_nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    iou_thresholds: Float[Tensor, "t"],
    classes: Int[Tensor, "n"] | None = None,
) -> Bool[Tensor, "t n"]:
    """`nms` at every threshold at once: row i marks the boxes kept at `iou_thresholds[i]`.

    Boxes are visited once, by falling score, each at all thresholds together.

    Args:
        boxes, scores, classes: as for `nms`.
        iou_thresholds: in [0, 1], in any order, rounded to the dtype of `boxes`.

    Returns:
        One row for each threshold, one column for each box, in the order of `boxes`.

    Raises:
        ValueError: as `nms` does.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]])
    >>> sweep_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.5, 0.7, 0.9]))
    tensor([[ True, False, False],
            [ True, False,  True],
            [ True,  True,  True]])
    """
    classes = _check_candidates(boxes, scores, classes)
    _check_fractions(iou_thresholds, "iou_thresholds")
    order = _by_falling_score(scores)
    ranked, ranked_classes = boxes[order], classes[order]
    iou = unchecked_iou(ranked, ranked) * (ranked_classes[:, None] == ranked_classes)
    thresholds = iou_thresholds.to(iou)
    dropped = torch.zeros((len(boxes), len(thresholds)), dtype=torch.bool, device=boxes.device)
    for rank in range(len(boxes)):
        limit = thresholds.where(~dropped[rank], torch.inf)
        dropped[rank + 1 :] |= iou[rank, rank + 1 :, None] > limit
    kept = torch.empty_like(dropped)
    kept[order] = ~dropped
    return kept.T


@dataclass(frozen=True)
class Suppression:
    """Greedy suppression as a sequence of steps, one for each kept box, to be replayed either way.

    At step s the box `kept[s]` is chosen and the boxes with `removed_at == s` leave, itself among
    them; before it, all boxes with `removed_at >= s` are still there.

    Attributes:
        order: all boxes by falling score, the lower index first on ties.
        kept: the chosen boxes, in the order of their steps, as `nms` gives them.
        removed_by: the box that each box was dropped for, -1 if it was kept.
        removed_iou: the IoU with that box, 0 if it was kept.
        removed_at: the step at which the box was dropped or, if it was kept, chosen.
    """

    order: Int[Tensor, "n"]
    kept: Int[Tensor, "k"]
    removed_by: Int[Tensor, "n"]
    removed_iou: Float[Tensor, "n"]
    removed_at: Int[Tensor, "n"]


def nms_steps(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    iou_threshold: Number,
    classes: Int[Tensor, "n"] | None = None,
) -> Suppression:
    """What `nms` does, step by step.

    Args:
        boxes, scores, iou_threshold, classes: as for `nms`.

    Raises:
        ValueError: as `nms` does.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]])
    >>> steps = nms_steps(boxes, torch.tensor([0.7, 0.8, 0.9]), iou_threshold=0.5)
    >>> steps.kept, steps.removed_by, steps.removed_iou, steps.removed_at
    (tensor([2, 1]), tensor([ 1, -1, -1]), tensor([0.8000, 0.0000, 0.0000]), tensor([1, 1, 0]))
    """
    kept = nms(boxes, scores, iou_threshold, classes)
    classes = _check_candidates(boxes, scores, classes)
    iou = unchecked_iou(boxes[kept], boxes)
    drops = (iou > iou_threshold) & (classes[kept][:, None] == classes)
    # A dropped box went at the first step that drops it: count the steps before.
    removed_at = (~drops).long().cumprod(dim=0).sum(dim=0)
    removed_at[kept] = torch.arange(len(kept), device=kept.device)
    removed_by, removed_iou = kept[removed_at], iou.gather(0, removed_at[None])[0]
    removed_by[kept], removed_iou[kept] = -1, 0
    return Suppression(_by_falling_score(scores), kept, removed_by, removed_iou, removed_at)


WAITING, CHOSEN, KEPT, REMOVED, GONE = range(5)


def suppression_states(suppression: Suppression) -> Int[Tensor, "steps n"]:
    """What every box is at each step of the replay.

    Row 0 is the start, row s + 1 is step s: `CHOSEN` is the box chosen at the step, `REMOVED` those
    that it drops; `KEPT` and `GONE` were chosen or dropped before; `WAITING` are all others.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]])
    >>> suppression_states(nms_steps(boxes, torch.tensor([0.7, 0.8, 0.9]), iou_threshold=0.5))
    tensor([[0, 0, 0],
            [0, 0, 1],
            [3, 1, 2]])
    """
    at = suppression.removed_at
    step = torch.arange(-1, len(suppression.kept), device=at.device)[:, None]
    kept = (suppression.removed_by < 0).expand(len(step), -1)
    states = torch.full((len(step), len(at)), WAITING, dtype=torch.int64, device=at.device)
    states[(at == step) & kept], states[(at == step) & ~kept] = CHOSEN, REMOVED
    states[(at < step) & kept], states[(at < step) & ~kept] = KEPT, GONE
    return states


def survivors(
    kept: Bool[Tensor, "t n"], scores: Float[Tensor, "n"], score_thresholds: Float[Tensor, "s"]
) -> Int[Tensor, "t s"]:
    """How many kept boxes have at least each score threshold.

    One `sweep_nms` over all boxes is enough for every score threshold: a box is dropped only for
    boxes that score no lower, so leaving out the low-scored ones beforehand changes nothing for
    the others.

    Args:
        kept: rows as `sweep_nms` gives them.
        scores: any finite numbers.
        score_thresholds: in [0, 1].

    Raises:
        ValueError: if lengths differ, a score is not finite, or a threshold lies outside [0, 1].

    >>> kept = torch.tensor([[True, False, True], [True, True, True]])
    >>> survivors(kept, torch.tensor([0.9, 0.8, 0.1]), torch.tensor([0.0, 0.5, 0.9]))
    tensor([[2, 1, 1],
            [3, 2, 1]])
    """
    if kept.ndim != 2 or kept.shape[1:] != scores.shape:
        raise ValueError(
            f"kept has shape {list(kept.shape)}, scores {list(scores.shape)}: [t, n], [n] is needed"
        )
    _check_scores(scores)
    _check_fractions(score_thresholds, "score_thresholds")
    reached = scores[:, None] >= score_thresholds.to(scores)
    return (kept.to(scores) @ reached.to(scores)).long()


def soft_nms(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    method: str = "linear",
    iou_threshold: Number = 0.5,
    sigma: Number = 0.5,
    score_threshold: Number = 0.001,
    classes: Int[Tensor, "n"] | None = None,
) -> tuple[Int[Tensor, "kept"], Float[Tensor, "kept"]]:
    """Soft non-maximum suppression: overlapping boxes lose score instead of being dropped.

    Takes the highest-scoring box, multiplies the score of every box left by a factor that falls
    with their IoU, and repeats. The factor is 1 - IoU where IoU >= `iou_threshold` and 1 elsewhere
    (linear), or exp(-IoU² / `sigma`) everywhere (gaussian). At equality the paper decays, where
    hard `nms` keeps.

    Args:
        boxes: boxes; one without area overlaps nothing, so it changes no score.
        scores: finite, not negative.
        method: "linear" or "gaussian".
        iou_threshold: in [0, 1], of the linear method.
        sigma: positive, of the Gaussian method.
        score_threshold: in [0, 1]; a box whose score falls below it is left out.
        classes: if given, a box lowers the scores of boxes of its own class only.

    Returns:
        Indices of the boxes that are left, and their scores after all decays, by falling score; of
        equal scores the lower index comes first.

    Raises:
        ValueError: if `boxes` are not boxes, lengths differ, or an argument is out of its range.

    Source: Bodla et al., 2017, figure 2 and the rescoring functions beside it.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [30, 30, 40, 40]])
    >>> soft_nms(boxes, torch.tensor([0.9, 0.8, 0.7]))
    (tensor([0, 2, 1]), tensor([0.9000, 0.7000, 0.1600]))
    """
    classes = _check_candidates(boxes, scores, classes)
    if (scores < 0).any():
        raise ValueError(f"scores has a minimum of {scores.min():g}: none may be negative")
    _check_fraction(iou_threshold, "iou_threshold")
    _check_positive(sigma, "sigma")
    _check_fraction(score_threshold, "score_threshold")
    if method not in ("linear", "gaussian"):
        raise ValueError(f"method is {method!r}: 'linear' or 'gaussian' is needed")

    def factor(iou: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
        if method == "gaussian":
            return (-iou.square() / sigma).exp()
        return (1 - iou).where(iou >= iou_threshold, 1)

    factors = factor(unchecked_iou(boxes, boxes) * (classes[:, None] == classes))
    decayed, waiting = scores, scores >= score_threshold
    kept = [classes[:0]]
    while waiting.any():
        best = decayed.where(waiting, -1).argmax(dim=0, keepdim=True)
        kept.append(best)
        waiting[best] = False
        decayed = (decayed * factors[best][0]).where(waiting, decayed)
        waiting &= decayed >= score_threshold
    order = torch.cat(kept)
    return order, decayed[order]


@dataclass(frozen=True)
class Ranked:
    """Candidates by falling score."""

    boxes: Float[Tensor, "k 4"]
    scores: Float[Tensor, "k"]
    classes: Int[Tensor, "k"]


def rank_candidates(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    classes: Int[Tensor, "n"] | None = None,
    score_threshold: Number = 0.0,
) -> Ranked:
    """The candidates of at least a score, the best first, the lower index first on ties.

    Args:
        boxes, scores, classes: as for `nms`; without classes all are of class 0.
        score_threshold: in [0, 1].

    Raises:
        ValueError: as `nms` does, or if `score_threshold` lies outside [0, 1].

    >>> boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3]])
    >>> rank_candidates(boxes, torch.tensor([0.5, 0.9, 0.1]), score_threshold=0.2).scores
    tensor([0.9000, 0.5000])
    """
    classes = _check_candidates(boxes, scores, classes)
    _check_fraction(score_threshold, "score_threshold")
    order = _by_falling_score(scores)
    best = order[scores[order] >= score_threshold]
    return Ranked(boxes[best], scores[best], classes[best])


def scores_after(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n"],
    method: str,
    iou_threshold: Number = 0.5,
    sigma: Number = 0.5,
    classes: Int[Tensor, "n"] | None = None,
) -> Float[Tensor, "n"]:
    """Each box's score after suppression: 0 where hard NMS drops it, decayed where soft NMS does.

    Args:
        boxes, scores, iou_threshold, sigma, classes: as for `soft_nms`.
        method: "hard", "linear" or "gaussian".

    Raises:
        ValueError: as `nms` and `soft_nms` do.

    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8]])
    >>> scores_after(boxes, torch.tensor([0.9, 0.8]), "hard")
    tensor([0.9000, 0.0000])
    >>> scores_after(boxes, torch.tensor([0.9, 0.8]), "linear")
    tensor([0.9000, 0.1600])
    """
    if method == "hard":
        kept = nms(boxes, scores, iou_threshold, classes)
        left = scores[kept]
    else:
        kept, left = soft_nms(boxes, scores, method, iou_threshold, sigma, 0.0, classes)
    return torch.zeros_like(scores).index_copy(0, kept, left)


def count_at_least(
    scores: Float[Tensor, "n"], thresholds: Float[Tensor, "*t"]
) -> Int[Tensor, "*t"]:
    """How many scores reach each threshold.

    >>> count_at_least(torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.0, 0.5]))
    tensor([3, 2])
    """
    return (scores >= thresholds.to(scores)[..., None]).sum(dim=-1)


def simulate_candidates(
    objects: Float[Tensor, "m 4"],
    image_size: tuple[Number, Number],
    generator: torch.Generator,
    per_object: int = 12,
    jitter: Number = 0.15,
    background: int = 20,
) -> tuple[Float[Tensor, "n 4"], Float[Tensor, "n"]]:
    """Made-up boxes and scores, such as a detector might give: no detector has run.

    Around each object lie noisy copies, whose scores follow their IoU with the object; elsewhere
    lie random boxes with scores below 0.3.

    Args:
        objects: boxes.
        image_size: (height, width) in pixels; the boxes are clipped to it.
        generator: on any device; the same seed gives the same boxes.
        per_object: copies of each object, at least 0.
        jitter: standard deviation of the copies' regression code (tx, ty, tw, th), at least 0.
        background: random boxes, at least 0.

    Returns:
        `per_object` copies of the first object, of the second, and so on, then the background; and
        their scores in [0, 1].

    Raises:
        ValueError: if `objects` are not boxes or a number is out of its range.

    >>> boxes, scores = simulate_candidates(
    ...     torch.tensor([[20.0, 20, 60, 60]]), (100, 100), torch.Generator().manual_seed(0)
    ... )
    >>> boxes.shape, bool(scores[:12].min() > scores[12:].max())
    (torch.Size([32, 4]), True)
    """
    check_boxes(objects, "objects")
    check_image_size(image_size)
    for name, number in (
        ("per_object", per_object),
        ("jitter", jitter),
        ("background", background),
    ):
        if not 0 <= number < math.inf:
            raise ValueError(f"{name} is {number}: a finite number of at least 0 is needed")

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device).to(objects)

    owners = torch.arange(len(objects), device=objects.device).repeat_interleave(per_object)
    noise = torch.randn((len(owners), 4), generator=generator, device=generator.device)
    copies = clip_boxes(decode_boxes(noise.to(objects) * jitter, objects[owners]), image_size)
    quality = unchecked_iou(copies, objects).gather(1, owners[:, None])[:, 0]

    height, width = image_size
    corners = uniform(background, 2, 2) * objects.new_tensor([width, height])
    scattered = corners.sort(dim=1).values.reshape(-1, 4)

    boxes = torch.cat([copies, scattered])
    scores = torch.cat([quality * (0.7 + 0.3 * uniform(len(owners))), 0.3 * uniform(background)])
    return boxes, scores


def _by_falling_score(scores: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    return scores.argsort(descending=True, stable=True)


def _check_candidates(boxes: Tensor, scores: Tensor, classes: Tensor | None) -> Int[Tensor, "n"]:
    """Check what a suppression takes; give back the classes, all alike where there are none."""
    check_boxes(boxes, "boxes")
    if scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"scores has shape {list(scores.shape)}: one for each of {len(boxes)} boxes is needed"
        )
    _check_scores(scores)
    if classes is None:
        return torch.zeros_like(scores, dtype=torch.int64)
    if classes.shape != scores.shape or classes.is_floating_point():
        raise ValueError(
            f"classes has shape {list(classes.shape)} and dtype {classes.dtype}: "
            f"an integer for each of {len(boxes)} boxes is needed"
        )
    return classes


def _check_scores(scores: Tensor) -> None:
    if scores.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"scores has dtype {scores.dtype}: float32 or float64 is needed")
    infinite = scores[~scores.isfinite()]
    if len(infinite) > 0:
        raise ValueError(f"scores has {infinite[0]:g}: finite numbers are needed")


def _check_positive(value: Number, name: str) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}: a positive, finite number is needed")


def _check_fraction(value: Number, name: str) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}: a number in [0, 1] is needed")


def _check_fractions(values: Tensor, name: str) -> None:
    if values.ndim != 1:
        raise ValueError(f"{name} has shape {list(values.shape)}: one dimension is needed")
    outside = values[~((values >= 0) & (values <= 1))]
    if len(outside) > 0:
        raise ValueError(f"{name} has {outside[0]:g}: numbers in [0, 1] are needed")
