"""A single-shot detector on MobileNetV2: 300x300 pixels in, 1,917 scored boxes out, 23 classes.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector", 2016, section 2; Sandler et al.,
"MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2 and section 6.2. Where the
weights come from is told in `assets/weights/README.md`.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import cast

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from explainers.anchors_nms import AnchorMap
from explainers.boxes import check_image_size, decode_boxes
from explainers.models.same_conv import SameConv
from explainers.models.shipped import as_batch, load_weights

INPUT_SIZE = 300
"""Height and width of the picture that the network reads, in pixels."""

LABELS = (
    "Bicycle",
    "Boot",
    "Laptop",
    "Person",
    "Chair",
    "Cattle",
    "Desk",
    "Cat",
    "Computer mouse",
    "Computer monitor",
    "Box",
    "Mug",
    "Coffee cup",
    "Stationary bicycle",
    "Table",
    "Bottle",
    "High heels",
    "Vehicle",
    "Footwear",
    "Dog",
    "Book",
    "Camera",
    "Car",
)
"""Names of the classes, without the background."""

# Expansion, channels, repeats and stride of the inverted residuals: MobileNetV2, table 2.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_EXTRAS = ((1280, 256, 512), (512, 128, 256), (256, 128, 256), (256, 64, 128))
_TAP = 14  # the block whose expansion feeds the first head
_HEAD_CHANNELS = (576, 1280, 512, 256, 256, 128)
_CODE_SCALES = (10.0, 10.0, 5.0, 5.0)


def _anchor_shapes() -> tuple[tuple[tuple[float, float], ...], ...]:
    """Width and height of the anchors of a cell of each map, as fractions of the picture."""
    scales = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0)
    kinds = [[(0.1, 1.0), (0.2, 2.0), (0.2, 0.5)]]  # scale and width / height
    for scale, next_scale in pairwise(scales[1:]):
        kinds.append([(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)])
        kinds[-1].append((sqrt(scale * next_scale), 1.0))
    return tuple(tuple((s * sqrt(r), s / sqrt(r)) for s, r in of_cell) for of_cell in kinds)


_CELLS = (19, 10, 5, 3, 2, 1)  # along each side of the six maps
_SHAPES = _anchor_shapes()


@dataclass(frozen=True)
class SsdOutput:
    """What the network says about its anchors.

    Args:
        deltas: boxes relative to their anchors, (ty, tx, th, tw), scaled by (10, 10, 5, 5).
        logits: a score before the sigmoid for the background (column 0) and each of `LABELS`.
    """

    deltas: Float[Tensor, "1917 4"]
    logits: Float[Tensor, "1917 24"]


@dataclass(frozen=True)
class Candidates:
    """Scored boxes before suppression, in the order of their anchors.

    Args:
        boxes: corners (x1, y1, x2, y2) in pixels of the picture; they may reach beyond its border.
        scores: probability of the class.
        classes: index into `LABELS`.
        anchors: index into `ssd_anchors`.
    """

    boxes: Float[Tensor, "k 4"]
    scores: Float[Tensor, " k"]
    classes: Int[Tensor, " k"]
    anchors: Int[Tensor, " k"]


class _ConvBlock(nn.Module):
    """Convolution and ReLU6: [n, c_in, h, w] -> [n, c_out, ceil(h/stride), ceil(w/stride)]."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv(c_in, c_out, kernel_size, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu6(self.conv(x))


class _InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow again without an activation; add the input if alike.

    [n, c_in, h, w] -> expand -> [n, hidden, h, w] -> dw -> [n, hidden, h/stride, w/stride]
    -> project -> [n, c_out, h/stride, w/stride], sides rounded up. (MobileNetV2, figure 4.)
    """

    def __init__(self, c_in: int, c_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        if expansion > 1:
            self.expand = nn.Conv2d(c_in, hidden, 1)
        self.dw = SameConv(hidden, hidden, 3, stride, groups=hidden)
        self.project = nn.Conv2d(hidden, c_out, 1)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.widen(x))
        return x + y if self.adds else y

    def widen(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, hidden, h, w]."""
        return functional.relu6(self.expand(x)) if hasattr(self, "expand") else x

    def narrow(self, widened: Tensor) -> Tensor:
        """[n, hidden, h, w] -> [n, c_out, h/stride, w/stride]."""
        narrowed: Tensor = self.project(functional.relu6(self.dw(widened)))
        return narrowed


class _Extra(nn.Module):
    """Squeeze the channels, then halve the sides: [n, c_in, h, w] -> [n, c_out, h/2, w/2]."""

    def __init__(self, c_in: int, c_mid: int, c_out: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(c_in, c_mid, 1)
        self.down = SameConv(c_mid, c_out, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu6(self.down(functional.relu6(self.squeeze(x))))


class _Head(nn.Module):
    """Boxes and logits of one map: [1, c, h, w] -> [h*w*per_cell, 4] and [h*w*per_cell, 24]."""

    def __init__(self, channels: int, per_cell: int) -> None:
        super().__init__()
        self.box = nn.Conv2d(channels, per_cell * 4, 1)
        self.cls = nn.Conv2d(channels, per_cell * (len(LABELS) + 1), 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        by_cell = [conv(x)[0].movedim(0, -1) for conv in (self.box, self.cls)]
        return by_cell[0].reshape(-1, 4), by_cell[1].reshape(-1, len(LABELS) + 1)


def _backbone() -> nn.ModuleList:
    """MobileNetV2 without its classifier: 19 blocks, [1, 3, 300, 300] -> [1, 1280, 10, 10]."""
    blocks: list[nn.Module] = [_ConvBlock(3, 32, 3, stride=2)]
    channels = 32
    for expansion, c_out, repeats, first_stride in _BOTTLENECKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            blocks.append(_InvertedResidual(channels, c_out, expansion, stride))
            channels = c_out
    blocks.append(_ConvBlock(channels, 1280, 1))
    return nn.ModuleList(blocks)


class SsdMobileNetV2(nn.Module):
    """The detector: MobileNetV2, four smaller maps on top of it, and a head on each of six maps.

    | stage                    | output        |
    |--------------------------|---------------|
    | picture                  | 3 x 300 x 300 |
    | backbone 0               | 32 x 150 x 150 |
    | backbone 1               | 16 x 150 x 150 |
    | backbone 2, 3            | 24 x 75 x 75 |
    | backbone 4 to 6          | 32 x 38 x 38 |
    | backbone 7 to 10         | 64 x 19 x 19 |
    | backbone 11 to 13        | 96 x 19 x 19 |
    | backbone 14, widened     | 576 x 19 x 19, head 0: 1083 anchors |
    | backbone 14 to 16        | 160 x 10 x 10 |
    | backbone 17              | 320 x 10 x 10 |
    | backbone 18              | 1280 x 10 x 10, head 1: 600 anchors |
    | extra 0                  | 512 x 5 x 5, head 2: 150 anchors |
    | extra 1                  | 256 x 3 x 3, head 3: 54 anchors |
    | extra 2                  | 256 x 2 x 2, head 4: 24 anchors |
    | extra 3                  | 128 x 1 x 1, head 5: 6 anchors |

    `forward` keeps nothing, so threads can share one network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _backbone()
        self.extra = nn.ModuleList(_Extra(*channels) for channels in _EXTRAS)
        self.heads = nn.ModuleList(
            _Head(channels, per_cell=len(shapes))
            for channels, shapes in zip(_HEAD_CHANNELS, _SHAPES, strict=True)
        )

    def forward(self, picture: Float[Tensor, "1 3 300 300"]) -> SsdOutput:
        """Raw boxes and logits of all anchors.

        Args:
            picture: what `preprocess` returns: RGB, -1 (black) to 1 (white).

        Raises:
            ValueError: if `picture` has another shape.
        """
        if picture.shape != (1, 3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(
                f"picture must have the shape (1, 3, {INPUT_SIZE}, {INPUT_SIZE}), "
                f"got {tuple(picture.shape)}"
            )
        outputs = [head(x) for head, x in zip(self.heads, self._features(picture), strict=True)]
        deltas, logits = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return SsdOutput(deltas, logits)

    def _features(self, x: Tensor) -> list[Tensor]:
        """The inputs of the six heads, from the finest map to the coarsest."""
        for block in self.backbone[:_TAP]:
            x = block(x)
        tap = cast(_InvertedResidual, self.backbone[_TAP])
        features = [tap.widen(x)]
        x = tap.narrow(features[0])
        for block in self.backbone[_TAP + 1 :]:
            x = block(x)
        features.append(x)
        for extra in self.extra:
            features.append(extra(features[-1]))
        return features


def ssd_mobilenet_v2() -> SsdMobileNetV2:
    """The detector with its trained weights, ready to run.

    It takes what `preprocess` returns, Float[1, 3, 300, 300] in -1 to 1 (RGB), and returns an
    `SsdOutput`: the raw boxes and logits of 1,917 anchors. 4.95 million parameters, which need no
    gradient.

    >>> network = ssd_mobilenet_v2()
    >>> network(torch.zeros(1, 3, 300, 300)).deltas.shape
    torch.Size([1917, 4])
    """
    with torch.device("meta"):  # names and shapes only: every value comes from the file
        network = SsdMobileNetV2()
    network.load_state_dict(load_weights("ssd_mobilenet_v2"), assign=True)
    return network.eval().requires_grad_(False)


def preprocess(image: UInt8[Tensor, "height width 3"]) -> Float[Tensor, "1 3 300 300"]:
    """A picture as the network reads it: 300x300, the aspect ratio not kept, -1 to 1.

    Args:
        image: RGB, 0 to 255.

    Raises:
        ValueError: if `image` is no picture of at least one pixel with three channels.

    >>> preprocess(torch.full((2, 4, 3), 255, dtype=torch.uint8)).unique()
    tensor([1.])
    """
    resized = functional.interpolate(
        as_batch(image), size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True
    )
    return resized / 127.5 - 1


def ssd_maps(image_size: tuple[int, int]) -> tuple[AnchorMap, ...]:
    """The six maps of anchors, laid over a picture.

    Args:
        image_size: (height, width) of the picture in pixels.

    Raises:
        ValueError: if a side of `image_size` is not positive.

    >>> [grid.count for grid in ssd_maps((300, 300))]
    [1083, 600, 150, 54, 24, 6]
    """
    check_image_size(image_size)
    height, width = image_size
    maps: list[AnchorMap] = []
    for cells, shapes in zip(_CELLS, _SHAPES, strict=True):
        first = maps[-1].first + maps[-1].count if maps else 0
        maps.append(AnchorMap(cells, cells, len(shapes), height / cells, width / cells, first))
    return tuple(maps)


def ssd_anchors(
    image_size: tuple[int, int], device: torch.device | str | None = None
) -> Float[Tensor, "1917 4"]:
    """The anchors of all six maps, by map, row, column and shape.

    Args:
        image_size: (height, width) of the picture in pixels.
        device: where the anchors shall lie.

    Returns:
        Corners (x1, y1, x2, y2) in pixels; some reach beyond the picture.

    Raises:
        ValueError: if a side of `image_size` is not positive.

    Source: Liu et al., 2016, section 2.2.

    >>> ssd_anchors((300, 300))[-6]
    tensor([  7.5000,   7.5000, 292.5000, 292.5000])
    """
    height, width = image_size
    grids = []
    for grid, shapes in zip(ssd_maps(image_size), _SHAPES, strict=True):
        y = (torch.arange(grid.rows, device=device) + 0.5) * grid.stride_y
        x = (torch.arange(grid.columns, device=device) + 0.5) * grid.stride_x
        centres = torch.cartesian_prod(y, x)[:, None].flip(-1)
        sides = torch.tensor(shapes, device=device) * torch.tensor([width, height], device=device)
        grids.append(torch.cat([centres - sides / 2, centres + sides / 2], dim=-1).reshape(-1, 4))
    return torch.cat(grids)


def candidates(
    output: SsdOutput, image_size: tuple[int, int], score_threshold: float
) -> Candidates:
    """The best class of every anchor and its box, before suppression.

    Args:
        output: what the network returned.
        image_size: (height, width) of the original picture in pixels.
        score_threshold: boxes of this score or less are left out; 0 to 1.

    Raises:
        ValueError: if `score_threshold` lies outside [0, 1] or `image_size` is not positive.

    Source: Liu et al., 2016, section 2.2; the scores are sigmoids, one for each class.

    >>> sure_of_a_cat = torch.full((1917, 24), -9.0)
    >>> sure_of_a_cat[-1, 1 + LABELS.index("Cat")] = 9.0
    >>> candidates(SsdOutput(torch.zeros(1917, 4), sure_of_a_cat), (100, 200), 0.5).classes
    tensor([7])
    """
    if not 0 <= score_threshold <= 1:
        raise ValueError(f"score_threshold must lie in [0, 1], got {score_threshold}")
    anchors = ssd_anchors(image_size, output.deltas.device)
    scores, classes = output.logits[:, 1:].sigmoid().max(dim=-1)
    kept = (scores > score_threshold).nonzero()[:, 0]
    deltas = output.deltas[kept][:, [1, 0, 3, 2]]  # (ty, tx, th, tw) -> (tx, ty, tw, th)
    boxes = decode_boxes(deltas, anchors[kept], _CODE_SCALES)
    return Candidates(boxes, scores[kept], classes[kept], kept)


def detect(
    network: SsdMobileNetV2, image: UInt8[Tensor, "height width 3"], score_threshold: float
) -> Candidates:
    """The candidates that `network` finds in a picture.

    Args:
        network: what `ssd_mobilenet_v2` returned.
        image: RGB, 0 to 255, any size.
        score_threshold: boxes of this score or less are left out; 0 to 1.

    Raises:
        ValueError: as `preprocess` and `candidates` do.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> len(detect(ssd_mobilenet_v2(), grey, score_threshold=0.5).boxes)
    0
    """
    height, width, _ = image.shape
    return candidates(network(preprocess(image)), (height, width), score_threshold)
