"""Receptive fields: which input pixels one unit of a convolutional network can see, and how well.

Layers are stacked; a unit's *theoretical* field is the square of input pixels that a path leads
to. Dilated layers may leave holes in it. Its *effective* field is smaller: pixels in the middle
are reached by many paths, those at the border by one.

All layers are square, the same along both axes, and work on one picture without channels in mind:
a pooling layer sees what a convolution of the same kernel sees.

Sources: Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", 2019;
Luo, Li, Urtasun, Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks", 2016; Wang et al., "Understanding Convolution for Semantic Segmentation", 2018.
"""

import copy
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights

from explainers.boxes import Number
from explainers.models.imagenet import imagenet_input

Module = TypeVar("Module", bound=nn.Module)

Box = tuple[int, int, int, int]
"""(x1, y1, x2, y2) in input pixels: a unit sees the pixels x1 <= x < x2, y1 <= y < y2."""

MOST_TOUCHED = 1 << 16
"""The widest field whose touch counts are computed, in pixels."""

MOST_EFFECTIVE = 1024
"""The widest field whose gradient is computed, in pixels."""

TWO_SIGMA = 1 - 0.9545
"""What is left of a normal distribution beyond two standard deviations: Luo et al.'s threshold."""

# ---------------------------------------------------------------- layers and fields


@dataclass(frozen=True)
class Layer:
    """One convolution or pooling layer, the same along both axes.

    Attributes:
        kernel_size: taps along an axis, at least 1.
        stride: inputs from one output to the next, at least 1.
        padding: rows and columns added at each border, at least 0.
        dilation: inputs from one tap to the next, at least 1.
        name: of the layer, for people.

    Raises:
        ValueError: if a number is not an integer or too small.
    """

    kernel_size: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        least = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < low:
                raise ValueError(f"{name} is {value!r}: an integer of at least {low} is needed")

    @property
    def extent(self) -> int:
        """Inputs from the first tap to the last: dilation · (kernel_size - 1) + 1.

        >>> Layer(3, dilation=2).extent
        5
        """
        return self.dilation * (self.kernel_size - 1) + 1


@dataclass(frozen=True)
class Field:
    """The receptive field of the units of one layer, in input pixels along an axis.

    Attributes:
        size: pixels that a unit sees.
        stride: pixels from one unit's field to the next one's: the product of the strides so far.
        padding: pixels that the first unit's field reaches beyond the border.
    """

    size: int
    stride: int
    padding: int

    @property
    def first_centre(self) -> float:
        """Middle of the first unit's field; the first pixel lies between 0 and 1.

        >>> Field(size=3, stride=1, padding=1).first_centre
        0.5
        """
        return self.size / 2 - self.padding

    def box(self, row: int, column: int) -> Box:
        """The field of one unit, with the part of it that lies in the padding.

        Source: Araujo et al., 2019, equations for u_0 and v_0.

        >>> Field(size=7, stride=2, padding=3).box(row=0, column=5)
        (7, -3, 14, 4)
        """
        x, y = (place * self.stride - self.padding for place in (column, row))
        return x, y, x + self.size, y + self.size

    def nearest(self, place: Number) -> int:
        """The unit along an axis whose field has its middle nearest to `place`, in pixels.

        Of two that are equally near, the first. It may lie outside the map.

        >>> Field(size=3, stride=2, padding=1).nearest(5.0)
        2
        """
        return math.ceil((place - self.first_centre) / self.stride - 0.5)


def receptive_fields(layers: Sequence[Layer]) -> list[Field]:
    """The field of every layer's units, from the first layer to the last.

    A layer of kernel k, dilation d and padding p, on maps whose neighbours lie j pixels apart,
    widens the field by d · (k - 1) · j and lets it begin p · j pixels earlier.

    Source: Araujo et al., 2019, equation 2 and the section on the region in the input image.

    >>> [field.size for field in receptive_fields([Layer(3), Layer(3, stride=2), Layer(3)])]
    [3, 5, 9]
    >>> receptive_fields(PRESETS["vgg16"])[-1]
    Field(size=212, stride=32, padding=90)
    """
    field, fields = Field(size=1, stride=1, padding=0), []
    for layer in layers:
        field = Field(
            size=field.size + (layer.extent - 1) * field.stride,
            stride=field.stride * layer.stride,
            padding=field.padding + layer.padding * field.stride,
        )
        fields.append(field)
    return fields


def output_sizes(layers: Sequence[Layer], input_size: int) -> list[int]:
    """Units along an axis after each layer: ⌊(n + 2p - d · (k - 1) - 1) / s⌋ + 1.

    It is 0 where the layer's kernel does not fit in the map, and stays 0 from there on; torch
    raises an error instead.

    Args:
        input_size: pixels along that axis, at least 1.

    Raises:
        ValueError: if `input_size` is not positive.

    >>> output_sizes([Layer(7, stride=2, padding=3), Layer(3, stride=2, padding=1)], 224)
    [112, 56]
    """
    _check_count(input_size, "input_size")
    size, sizes = input_size, []
    for layer in layers:
        room = size + 2 * layer.padding - layer.extent
        size = room // layer.stride + 1 if size > 0 and room >= 0 else 0
        sizes.append(size)
    return sizes


@dataclass(frozen=True)
class Stack:
    """What a stack of layers makes of a picture, in numbers.

    Attributes:
        layers: how many there are.
        field: size of the last layer's field, in pixels.
        jump: pixels between neighbours in the last map.
        rows, columns: of the last map.
    """

    layers: int
    field: int
    jump: int
    rows: int
    columns: int


def describe_stack(layers: Sequence[Layer], image_size: tuple[int, int]) -> Stack:
    """The last layer's field and map on an image of (height, width) pixels.

    Raises:
        ValueError: if there is no layer or a side of the image is not positive.

    >>> describe_stack(PRESETS["vgg16"], (480, 640))
    Stack(layers=18, field=212, jump=32, rows=15, columns=20)
    """
    _check_layers(layers)
    field = receptive_fields(layers)[-1]
    rows, columns = (output_sizes(layers, side)[-1] for side in image_size)
    return Stack(len(layers), field.size, field.stride, rows, columns)


def dilate(layers: Sequence[Layer], factor: int) -> list[Layer]:
    """Every dilation and padding times a factor, so that the maps keep their sizes.

    That holds for layers with padding d · (k - 1) / 2 at stride 1. Layers of one tap stay.

    Raises:
        ValueError: if `factor` is not positive.

    >>> dilate([Layer(3, padding=1)], 4)
    [Layer(kernel_size=3, stride=1, padding=4, dilation=4, name='')]
    """
    _check_count(factor, "factor")
    return [
        replace(layer, dilation=layer.dilation * factor, padding=layer.padding * factor)
        if layer.kernel_size > 1
        else layer
        for layer in layers
    ]


def concentric_boxes(fields: Sequence[Field], x: Number, y: Number) -> list[Box]:
    """For each layer the field of the unit whose field has its middle nearest to a place.

    >>> concentric_boxes(receptive_fields([Layer(3, padding=1), Layer(3, padding=1)]), 8.5, 4.5)
    [(7, 3, 10, 6), (6, 2, 11, 7)]
    """
    return [field.box(field.nearest(y), field.nearest(x)) for field in fields]


def middle_box(layers: Sequence[Layer], input_size: int) -> Box:
    """The field of the unit in row ⌊n/2⌋, column ⌊n/2⌋ of the last layer's n x n map.

    Args:
        layers: at least one.
        input_size: height and width of the picture in pixels.

    Raises:
        ValueError: if there is no layer or `input_size` is not positive.

    >>> middle_box(PRESETS["mobilenet_v2"][:1], 224)
    (111, 111, 114, 114)
    """
    _check_layers(layers)
    middle = output_sizes(layers, input_size)[-1] // 2
    return receptive_fields(layers)[-1].box(middle, middle)


def outside_share(box: Box, image_size: tuple[int, int]) -> float:
    """Share of a field that lies beyond the borders of an image of (height, width) pixels.

    There a unit sees nothing but the padding's zeros.

    Raises:
        ValueError: if a side of the image is not positive.

    >>> outside_share((-5, 0, 5, 10), image_size=(100, 100))
    0.5
    """
    for side in image_size:
        _check_count(side, "image_size")
    height, width = image_size
    x1, y1, x2, y2 = box
    across, down = min(x2, width) - max(x1, 0), min(y2, height) - max(y1, 0)
    return 1 - max(across, 0) * max(down, 0) / ((x2 - x1) * (y2 - y1))


# ---------------------------------------------------------------- layers as text

_TEXT = re.compile(r"(\d{1,4})(?:s(\d{1,4}))?(?:d(\d{1,4}))?(?:p(\d{1,4}))?", re.ASCII)


def write_stack(layers: Sequence[Layer]) -> str:
    """Layers as short text: the name of the preset that they are, or else their numbers.

    Kernel, then s, d and p where they are not the default; names of layers are left out.

    >>> write_stack([Layer(7, stride=2, padding=3), Layer(3, dilation=2)])
    '7s2p3_3d2'
    >>> write_stack(PRESETS["vgg16"])
    'vgg16'
    """
    text = "_".join(map(_written, layers))
    same = (name for name, preset in PRESETS.items() if "_".join(map(_written, preset)) == text)
    return next(same, text)


def read_stack(text: str) -> list[Layer]:
    """The layers that `write_stack` has written; without names they are numbered.

    Raises:
        ValueError: if the text is neither a preset's name nor made of layers.

    >>> read_stack("7s2p3_3d2")[1]
    Layer(kernel_size=3, stride=1, padding=0, dilation=2, name='2')
    >>> read_stack("vgg16")[0].name
    'conv1_1'
    """
    if text in PRESETS:
        return list(PRESETS[text])
    parts = text.split("_") if text else []
    return [_read(part, str(place)) for place, part in enumerate(parts, start=1)]


def _written(layer: Layer) -> str:
    parts = [("s", layer.stride, 1), ("d", layer.dilation, 1), ("p", layer.padding, 0)]
    more = "".join(f"{letter}{value}" for letter, value, default in parts if value != default)
    return f"{layer.kernel_size}{more}"


def _read(text: str, name: str) -> Layer:
    found = _TEXT.fullmatch(text)
    if not found:
        raise ValueError(f"text has {text[:20]!r}: a layer such as '3s2d1p1' is needed")
    kernel, stride, dilation, padding = found.groups()
    return Layer(int(kernel), int(stride or 1), int(padding or 0), int(dilation or 1), name)


# ---------------------------------------------------------------- which pixels are touched


def touch_counts(
    layers: Sequence[Layer],
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.int64,
) -> Int[Tensor, "size"] | Float[Tensor, "size"]:
    """How many paths lead from one unit of the last layer to each pixel of its field, on one axis.

    A path takes one tap in every layer. Layers are the same along both axes, so a pixel of the
    picture is used as often as the product of its two counts says: see `touch_map`. The field is
    taken to lie inside the picture: near the border, paths through padding are lost.

    Args:
        layers: at least one.
        device: of the result.
        dtype: int64 is exact; float64 holds counts beyond 2⁶³ to 15 digits.

    Raises:
        ValueError: if there is no layer, the field is wider than `MOST_TOUCHED`, or `dtype` is an
            integer one and cannot hold the number of all paths on both axes.

    Source: Wang et al., 2018, section 3.2 and figure 2; Luo et al., 2016, section 2.1.

    >>> touch_counts([Layer(3), Layer(3)])
    tensor([1, 2, 3, 2, 1])
    >>> touch_counts([Layer(3, dilation=2), Layer(3, dilation=2)])
    tensor([1, 0, 2, 0, 3, 0, 2, 0, 1])
    """
    _check_field(layers, MOST_TOUCHED)
    paths = math.prod(layer.kernel_size for layer in layers)
    if not dtype.is_floating_point and paths**2 > torch.iinfo(dtype).max:
        raise ValueError(f"layers have {float(paths**2):.3g} paths: dtype {dtype} holds fewer")
    counts = torch.ones(1, device=device, dtype=dtype)
    for layer in reversed(layers):
        spaced = counts.new_zeros((len(counts) - 1) * layer.stride + 1)
        spaced[:: layer.stride] = counts
        counts = counts.new_zeros(len(spaced) + layer.extent - 1)
        for tap in range(0, layer.extent, layer.dilation):
            counts[tap : tap + len(spaced)] += spaced
    return counts


def touch_map(
    counts: Int[Tensor, "size"] | Float[Tensor, "size"],
) -> Int[Tensor, "size size"] | Float[Tensor, "size size"]:
    """How often each pixel of the field is used: the product of its counts on the two axes.

    >>> touch_map(torch.tensor([1, 2, 1]))
    tensor([[1, 2, 1],
            [2, 4, 2],
            [1, 2, 1]])
    """
    return counts[:, None] * counts


@dataclass(frozen=True)
class Touched:
    """How many pixels of a field are used at least once, and how often the most used one is.

    Attributes:
        touched, untouched: pixels on both axes.
        share: of the untouched ones among all.
        most: paths to the most used pixel.
    """

    touched: int
    untouched: int
    share: float
    most: int


def touch_spacing(layers: Sequence[Layer]) -> int:
    """The grid that all touched pixels lie on: every n-th pixel along an axis. 1 is every pixel.

    It is what the distances of all layers' taps, in pixels, have in common.

    Raises:
        ValueError: if there is no layer.

    >>> touch_spacing([Layer(3, dilation=2), Layer(3, dilation=4)])
    2
    >>> touch_spacing([Layer(3, dilation=2), Layer(3)])
    1
    """
    _check_layers(layers)
    distances, distance = [], 1
    for layer in layers:
        if layer.kernel_size > 1:
            distances.append(layer.dilation * distance)
        distance *= layer.stride
    return math.gcd(*distances) or 1


def count_touched(counts: Int[Tensor, "size"]) -> Touched:
    """Count the pixels of the field, on both axes.

    Args:
        counts: as `touch_counts` gives them, exact.

    >>> count_touched(torch.tensor([1, 0, 2, 0, 1]))
    Touched(touched=9, untouched=16, share=0.64, most=4)
    """
    touched, pixels = int((counts > 0).sum()) ** 2, len(counts) ** 2
    return Touched(touched, pixels - touched, 1 - touched / pixels, int(counts.max()) ** 2)


@dataclass(frozen=True)
class HdcCheck:
    """What the rule of hybrid dilated convolution says of a group of dilations.

    Attributes:
        gaps: M_2 to M_n, the rule's bound on the distance between touched pixels; of the dilations
            in ascending order.
        common_factor: the greatest common divisor of the dilations.
        passes: whether M_2 is at most the kernel's size and nothing but 1 divides all dilations.
    """

    gaps: tuple[int, ...]
    common_factor: int
    passes: bool


def hdc_check(dilations: Sequence[int], kernel_size: int = 3) -> HdcCheck:
    """The rule of hybrid dilated convolution: do dilated layers leave holes?

    M_i = max(M_{i+1} - 2 r_i, 2 r_i - M_{i+1}, r_i), beginning with M_n = r_n; M_2 <= K is asked
    for, and dilations without a common factor. Which pixels are touched does not depend on the
    order of the layers, M_2 does: r_1 to r_n are the dilations in ascending order, as in the
    paper's groups. The rule is a guide. It says nothing of r_1, so dilations that begin above 1 may
    pass and leave holes: 2, 3, 5 a few near the border, 3, 3, 8 most of the field. `count_touched`
    counts them.

    Args:
        dilations: in any order, two or more, each at least 1.
        kernel_size: K, at least 1.

    Raises:
        ValueError: if an argument is out of its range.

    Source: Wang et al., 2018, section 3.2, equation 2.

    >>> hdc_check([1, 2, 5])
    HdcCheck(gaps=(2, 5), common_factor=1, passes=True)
    >>> hdc_check([1, 2, 9]).gaps == hdc_check([9, 2, 1]).gaps == (5, 9)
    True
    >>> hdc_check([2, 2, 2])
    HdcCheck(gaps=(2, 2), common_factor=2, passes=False)
    """
    if len(dilations) < 2:
        raise ValueError(f"dilations has {len(dilations)} entries: at least 2 are needed")
    for dilation in dilations:
        _check_count(dilation, "dilations")
    _check_count(kernel_size, "kernel_size")
    rates = sorted(dilations)
    gaps = [rates[-1]]
    for rate in reversed(rates[1:-1]):
        gaps.insert(0, max(gaps[0] - 2 * rate, 2 * rate - gaps[0], rate))
    factor = math.gcd(*dilations)
    return HdcCheck(tuple(gaps), factor, gaps[0] <= kernel_size and factor == 1)


def tap_boxes(layer: Layer, stride: int, row: int = 0, column: int = 0) -> list[Box]:
    """The cells of a feature map that a unit taps, in input pixels; its own is the middle one.

    Args:
        layer: with an odd kernel, so that it has a middle, and stride 1.
        stride: side of a cell of the map that the layer reads, in pixels, at least 1.
        row, column: of the unit's own cell.

    Raises:
        ValueError: if the kernel is even or `stride` is not positive.

    Source: Chen et al., "DeepLab", 2017, figure 4.

    >>> tap_boxes(Layer(3, dilation=6), stride=8)[5]
    (48, 0, 56, 8)
    """
    _check_count(stride, "stride")
    ys, xs = ([cell * stride for cell in _tapped(layer, place)] for place in (row, column))
    return [(x, y, x + stride, y + stride) for y in ys for x in xs]


def count_inside(layer: Layer, map_size: tuple[int, int], row: int = 0, column: int = 0) -> int:
    """How many of a unit's taps lie on a feature map of (rows, columns) cells.

    The others lie in the padding: their weights are multiplied by zero.

    Args:
        layer: as `tap_boxes` takes it.
        map_size: of the map that the layer reads, each at least 1.
        row, column: of the unit's own cell.

    Raises:
        ValueError: if the kernel is even or a side of the map is not positive.

    Source: Chen et al., "Rethinking Atrous Convolution", 2017, section 3.3 and figure 4.

    >>> count_inside(Layer(3, dilation=6), map_size=(65, 65), row=0, column=30)
    6
    """
    for side in map_size:
        _check_count(side, "map_size")
    down, across = (
        sum(0 <= cell < side for cell in _tapped(layer, place))
        for place, side in zip((row, column), map_size, strict=True)
    )
    return down * across


def _tapped(layer: Layer, place: int) -> range:
    """The cells along an axis that the unit at `place` taps."""
    if layer.kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {layer.kernel_size}: an odd number is needed")
    reach = layer.extent // 2
    return range(place - reach, place + reach + 1, layer.dilation)


# ---------------------------------------------------------------- the effective field

ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (torch.relu, math.sqrt(2)),
    "tanh": (torch.tanh, 5 / 3),
}
"""Activation and the gain that keeps a signal's size through random layers (`nn.init`)."""

WEIGHTS = ("normal", "uniform")
"""How `effective_receptive_field` sets weights."""


def effective_receptive_field(
    layers: Sequence[Layer],
    generator: torch.Generator | None = None,
    draws: int = 3,
    channels: int = 8,
    activation: str = "linear",
    weights: str = "normal",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "size size"]:
    """How strongly one output unit depends on each pixel of its field: its gradient's size.

    Every layer is a convolution. Each draw has weights and a standard normal picture of its own;
    the picture is the field itself, without padding, so that the last map is the one unit. There
    is no activation after the last layer. The gradient's absolute value is averaged over draws,
    each of them turned and mirrored in all eight ways: one is as likely as another, and three draws
    so tell as much as a dozen.

    Args:
        layers: at least one.
        generator: on the device of the result; by default one with seed 0.
        draws: at least 1.
        channels: of the maps between the picture, which has one, and the unit; at least 1.
        activation: a name in `ACTIVATIONS`.
        weights: "normal" draws them, independent, with standard deviation gain / √fan_in;
            "uniform" makes all weights of a layer 1 / fan_in.
        device, dtype: of the result.

    Raises:
        ValueError: if there is no layer, the field is wider than `MOST_EFFECTIVE`, or another
            argument is out of its range.

    Source: Luo et al., 2016, sections 2 and 3. For a linear network with uniform weights the
    gradient is the touch map over the number of paths; with normal ones its mean square is.

    >>> effective_receptive_field([Layer(3), Layer(3)], weights="uniform", draws=1)[2] * 81
    tensor([3., 6., 9., 6., 3.])
    """
    size = _check_field(layers, MOST_EFFECTIVE)
    _check_count(draws, "draws")
    _check_count(channels, "channels")
    _check_choice(activation, ACTIVATIONS, "activation")
    _check_choice(weights, WEIGHTS, "weights")
    generator = generator or torch.Generator(device or "cpu").manual_seed(0)
    spacing, dense = _touched_alone(layers)
    if weights == "uniform":
        channels = 1  # all would be alike
    gradient = _drawn_gradients(dense, generator, draws, channels, activation, weights, dtype)
    mean = _in_all_directions(gradient.abs().mean(dim=0))
    found = mean.new_zeros(size, size)
    found[::spacing, ::spacing] = mean
    return found.to(device or generator.device)


def _touched_alone(layers: Sequence[Layer]) -> tuple[int, list[Layer]]:
    """Layers that see nothing but every n-th pixel, and n: the `touch_spacing` at stride 1."""
    if any(layer.stride > 1 for layer in layers):
        return 1, list(layers)
    spacing = touch_spacing(layers)
    return spacing, [replace(layer, dilation=max(layer.dilation // spacing, 1)) for layer in layers]


def _drawn_gradients(
    layers: Sequence[Layer],
    generator: torch.Generator,
    draws: int,
    channels: int,
    activation: str,
    weights: str,
    dtype: torch.dtype,
) -> Float[Tensor, "draws size size"]:
    """The unit's gradient in each draw, on the generator's device; see the function above."""
    size, device = receptive_fields(layers)[-1].size, generator.device
    function, gain = ACTIVATIONS[activation]
    with torch.enable_grad():
        picture = torch.randn(draws, size, size, generator=generator, device=device, dtype=dtype)
        maps, inputs = picture.requires_grad_()[None], 1
        for place, layer in enumerate(layers, start=1):
            outputs = channels if place < len(layers) else 1
            shape = (draws * outputs, inputs, layer.kernel_size, layer.kernel_size)
            fan_in = inputs * layer.kernel_size**2
            if weights == "normal":
                kernels = torch.randn(shape, generator=generator, device=device, dtype=dtype)
                kernels *= gain / math.sqrt(fan_in)
            else:
                kernels = torch.full(shape, 1 / fan_in, device=device, dtype=dtype)
            maps = functional.conv2d(
                maps, kernels, stride=layer.stride, dilation=layer.dilation, groups=draws
            )
            if place < len(layers):
                maps, inputs = function(maps), outputs
        return torch.autograd.grad(maps.sum(), picture)[0]


def _in_all_directions(square: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """The mean of a square picture over its eight rotations and reflections."""
    square = (square + square.T) / 2
    square = (square + square.flip(0)) / 2
    return (square + square.flip(1)) / 2


def effective_size(
    gradient: Float[Tensor, "height width"], threshold: Number = TWO_SIGMA, spacing: int = 1
) -> float:
    """Side of a square as large as the area with more than a share of the largest gradient.

    Each pixel above it counts for the spacing · spacing pixels around it, holes that no path leads
    to. So layers dilated twice as much see twice as far, though they use no more pixels. The
    square is never larger than the gradient's own, and 0 if the gradient is 0 everywhere.

    Args:
        gradient: not negative, at least one pixel.
        threshold: share of the largest value, in [0, 1); by default what a normal distribution
            leaves beyond two standard deviations.
        spacing: pixels from one touched pixel to the next, see `touch_spacing`, at least 1.

    Raises:
        ValueError: if `gradient` is empty, or `threshold` or `spacing` is out of its range.

    Source: Luo et al., 2016, section 3 (relative to the centre, the largest value there; the root
    of the number of pixels, which is spacing 1).

    >>> effective_size(torch.tensor([[0.0, 0.1, 0.0], [0.1, 1.0, 0.1], [0.0, 0.0, 0.0]]))
    2.0
    >>> spread = torch.zeros(9, 9)
    >>> spread[2:7:2, 2:7:2] = 1.0
    >>> effective_size(spread), effective_size(spread, spacing=2)
    (3.0, 6.0)
    """
    if gradient.numel() == 0:
        raise ValueError(f"gradient has shape {list(gradient.shape)}: at least one pixel is needed")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}: a number in [0, 1) is needed")
    _check_count(spacing, "spacing")
    above = int((gradient > threshold * gradient.max()).sum())
    return min(spacing * math.sqrt(above), math.sqrt(gradient.numel()))


def path_std(layers: Sequence[Layer]) -> float:
    """Standard deviation of the place where a random path through the layers ends, in pixels.

    A layer's tap, drawn at random, adds variance (d · j)² · (k² - 1) / 12, where j is the distance
    of its inputs in pixels. Variances add up, so n layers alike reach √n times as far as one: while
    the theoretical field grows like n, the effective one grows like √n.

    Source: Luo et al., 2016, sections 2.1 to 2.3.

    >>> round(path_std([Layer(3)] * 24), 6)
    4.0
    """
    variance, distance = 0.0, 1
    for layer in layers:
        variance += (layer.dilation * distance) ** 2 * (layer.kernel_size**2 - 1) / 12
        distance *= layer.stride
    return math.sqrt(variance)


def expected_size(layers: Sequence[Layer], weights: str = "normal") -> float:
    """The `effective_size` of a deep linear network, as the law of the square root has it.

    Paths end normally distributed with standard deviation σ, see `path_std`. With uniform weights
    the gradient does, too; with normal ones its size goes like the root of the paths, which is √2
    times as wide. It exceeds the share t of its largest value on a disc of area -2π σ² ln t. The
    law is one of deep stacks; where it would exceed a shallow one's field, the field's size is
    given, and never less than a pixel.

    Args:
        layers: at least one.
        weights: as `effective_receptive_field` takes them.

    Raises:
        ValueError: if there is no layer or `weights` is unknown.

    >>> round(expected_size([Layer(3)] * 24, weights="uniform"), 1)
    17.6
    """
    _check_layers(layers)
    _check_choice(weights, WEIGHTS, "weights")
    widening = math.sqrt(2) if weights == "normal" else 1.0
    law = path_std(layers) * widening * math.sqrt(-2 * math.pi * math.log(TWO_SIGMA))
    return min(max(law, 1.0), float(receptive_fields(layers)[-1].size))


def cycle_layers(depth: int, dilations: Sequence[int] = (1,), kernel_size: int = 3) -> list[Layer]:
    """A stack of `depth` layers that take their dilations in turn.

    Raises:
        ValueError: if `depth` is negative, there is no dilation, or a number is out of its range.

    >>> [layer.dilation for layer in cycle_layers(4, dilations=[1, 2, 5])]
    [1, 2, 5, 1]
    """
    if depth < 0:
        raise ValueError(f"depth is {depth}: at least 0 is needed")
    if not dilations:
        raise ValueError("dilations has no entry: at least 1 is needed")
    places = range(depth)
    return [Layer(kernel_size, dilation=dilations[n % len(dilations)]) for n in places]


@dataclass(frozen=True)
class DepthSweep:
    """Field sizes of stacks that differ in their number of layers, in pixels.

    Attributes:
        depth: number of layers.
        theoretical: size of the field.
        effective: as `effective_size` has it, with the layers' `touch_spacing`.
        expected: as `expected_size` has it.
    """

    depth: Int[Tensor, "n"]
    theoretical: Int[Tensor, "n"]
    effective: Float[Tensor, "n"]
    expected: Float[Tensor, "n"]


def sweep_depth(
    depths: Sequence[int],
    dilations: Sequence[int] = (1,),
    kernel_size: int = 3,
    activation: str = "linear",
    weights: str = "normal",
    seed: int = 0,
    draws: int = 3,
    *,
    device: torch.device | str | None = None,
) -> DepthSweep:
    """Theoretical and effective size of the stacks of `cycle_layers`, for several depths.

    Args:
        depths: numbers of layers, each at least 1.
        dilations, kernel_size: of the layers.
        activation, weights, draws: as `effective_receptive_field` takes them.
        seed: of the draws at each depth.
        device: of the result.

    Raises:
        ValueError: as there.

    Source: Luo et al., 2016, section 3.1.

    >>> sweep = sweep_depth([4, 16], weights="uniform", draws=1)
    >>> sweep.theoretical.tolist(), sweep.effective.round().tolist()
    ([9, 33], [7.0, 15.0])
    """
    theoretical, effective, expected = [], [], []
    for depth in depths:
        layers = cycle_layers(depth, dilations, kernel_size)
        generator = torch.Generator(device or "cpu").manual_seed(seed)
        gradient = effective_receptive_field(
            layers, generator, draws, activation=activation, weights=weights
        )
        theoretical.append(len(gradient))
        effective.append(effective_size(gradient, spacing=touch_spacing(layers)))
        expected.append(expected_size(layers, weights))
    return DepthSweep(
        depth=torch.tensor(depths, device=device, dtype=torch.int64),
        theoretical=torch.tensor(theoretical, device=device, dtype=torch.int64),
        effective=torch.tensor(effective, device=device, dtype=torch.float32),
        expected=torch.tensor(expected, device=device, dtype=torch.float32),
    )


def network_receptive_field(
    features: nn.Sequential,
    image: UInt8[Tensor, "height width 3"],
    block: int,
    generator: torch.Generator | None = None,
    draws: int = 3,
) -> Float[Tensor, "224 224"]:
    """How strongly the middle unit of a network's map depends on each pixel of a photo.

    The gradient of the unit with respect to the picture. Its many channels are mixed, in each draw
    by another standard normal vector. The absolute value is averaged over draws and summed over
    colours.

    Args:
        features: the network's blocks, such as `mobilenet_v2().features`.
        image: RGB, 0 to 255, any size; the network reads what `imagenet_input` makes of it.
        block: index of the block whose unit it is; the one in row ⌊h/2⌋, column ⌊w/2⌋ of its map.
        generator: on any device; by default one with seed 0.
        draws: at least 1.

    Raises:
        ValueError: if there is no such block, or an argument is out of its range.

    Source: Luo et al., 2016, section 3.2 (networks before and after training).

    >>> from explainers.models import mobilenet_v2
    >>> photo = torch.full((300, 300, 3), 128, dtype=torch.uint8)
    >>> gradient = network_receptive_field(mobilenet_v2().features, photo, block=0)
    >>> rows, columns = gradient.nonzero(as_tuple=True)
    >>> rows.unique().tolist(), columns.unique().tolist()
    ([111, 112, 113], [111, 112, 113])
    """
    if not 0 <= block < len(features):
        raise ValueError(f"block is {block}: an integer from 0 to {len(features) - 1} is needed")
    _check_count(draws, "draws")
    generator = generator or torch.Generator(image.device).manual_seed(0)
    with torch.enable_grad():
        picture = imagenet_input(image).requires_grad_()
        maps = _folded(features[: block + 1])(picture)
        unit = maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2]
        mixes = torch.randn(draws, len(unit), generator=generator, device=generator.device)
        total = torch.zeros_like(picture)
        for mix in mixes.to(unit):
            (gradient,) = torch.autograd.grad(mix @ unit, picture, retain_graph=True)
            total += gradient.abs()
    return total[0].sum(dim=0) / draws


def untrained(
    features: nn.Sequential,
    image: UInt8[Tensor, "height width 3"],
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """The same network with random weights, as it is before its training.

    Convolutions are drawn normal with variance 2 / fan_in. Batch normalization scales by 1, shifts
    by 0 and takes its means and variances from one photo, which then stay fixed.

    Args:
        features: a network's blocks; they stay as they are.
        image: the photo, as `network_receptive_field` takes it.
        generator: on any device; by default one with seed 0.

    Source: He et al., "Delving Deep into Rectifiers", 2015, equation 10.

    >>> layer = untrained(nn.Sequential(nn.Conv2d(3, 8, 3)), torch.zeros(9, 9, 3).byte())[0]
    >>> layer.weight.std().item() < (2 / 27) ** 0.5 * 1.2
    True
    """
    generator = generator or torch.Generator(image.device).manual_seed(0)
    copied = _copied(features)
    with torch.no_grad():
        for module in copied.modules():
            if isinstance(module, nn.Conv2d):
                weight, device = module.weight, generator.device
                drawn = torch.randn(weight.shape, generator=generator, device=device)
                weight.copy_(drawn * math.sqrt(2 / weight[0].numel()))
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
                module.momentum = 1.0
                module.train()
        copied(imagenet_input(image))
    return copied.eval()


def _folded(features: Module) -> Module:
    """The same network with every batch normalization folded into the convolution before it.

    Outside of training both are one affine map, and the way back takes half the time.
    """
    made = _copied(features)
    for block in [part for part in made.modules() if isinstance(part, nn.Sequential)]:
        for place in range(len(block) - 1):
            layer, normalization = block[place], block[place + 1]
            if isinstance(layer, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                layer.weight, layer.bias = fuse_conv_bn_weights(
                    layer.weight,
                    layer.bias,
                    normalization.get_buffer("running_mean"),
                    normalization.get_buffer("running_var"),
                    normalization.eps,
                    normalization.weight,
                    normalization.bias,
                )
                block[place + 1] = nn.Identity()
    return made


def _copied(module: Module) -> Module:
    """The same network with tensors of its own; `copy.deepcopy` takes four times as long."""
    made = copy.copy(module)
    made._parameters = {
        name: value if value is None else nn.Parameter(value.clone(), value.requires_grad)
        for name, value in module._parameters.items()
    }
    made._buffers = {
        name: value if value is None else value.clone() for name, value in module._buffers.items()
    }
    made._modules = {
        name: part if part is None else _copied(part) for name, part in module._modules.items()
    }
    return made


# ---------------------------------------------------------------- well-known stacks


def _convolutions(names: Sequence[str], **options: int) -> list[Layer]:
    """3 x 3 convolutions that keep the map's size at stride 1."""
    padding = options.get("dilation", 1)
    return [Layer(3, padding=padding, name=name, **options) for name in names]


def _vgg16() -> list[Layer]:
    layers = []
    for stage, repeats in enumerate((2, 2, 3, 3, 3), start=1):
        layers += _convolutions([f"conv{stage}_{n}" for n in range(1, repeats + 1)])
        layers.append(Layer(2, stride=2, name=f"pool{stage}"))
    return layers


def _alexnet() -> list[Layer]:
    return [
        Layer(11, stride=4, padding=2, name="conv1"),
        Layer(3, stride=2, name="pool1"),
        Layer(5, padding=2, name="conv2"),
        Layer(3, stride=2, name="pool2"),
        *_convolutions(["conv3", "conv4", "conv5"]),
        Layer(3, stride=2, name="pool5"),
    ]


def _resnet50(stride_at: int = 1, output_stride: int = 32) -> list[Layer]:
    """ResNet-50 without its shortcuts, which widen no field.

    Args:
        stride_at: the convolution of a stage's first block that has the stride: 1 (1 x 1), as in
            the paper, or 2 (3 x 3), as in torchvision.
        output_stride: a stage that would exceed it dilates its convolutions instead.
    """
    layers = [
        Layer(7, stride=2, padding=3, name="conv1"),
        Layer(3, stride=2, padding=1, name="pool1"),
    ]
    reached, dilation = 4, 1
    for stage, repeats in enumerate((3, 4, 6, 3), start=2):
        stride = 1 if stage == 2 else 2
        if reached * stride > output_stride:
            stride, dilation = 1, dilation * stride
        reached *= stride
        for block in range(1, repeats + 1):
            strides = [1, 1, 1]
            strides[stride_at - 1] = stride if block == 1 else 1
            name = f"conv{stage}_{block}"
            layers += [
                Layer(1, stride=strides[0], name=f"{name}a"),
                Layer(3, strides[1], padding=dilation, dilation=dilation, name=f"{name}b"),
                Layer(1, name=f"{name}c"),
            ]
    return layers


def _mobilenet_v2() -> list[Layer]:
    """One layer a block: of its convolutions only the 3 x 3 one widens the field."""
    strides = [2, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1]
    blocks = [Layer(3, stride, padding=1, name=f"block {n}") for n, stride in enumerate(strides)]
    return [*blocks, Layer(1, name="block 18")]


def _dilated(*dilations: int, prefix: str = "rate") -> list[Layer]:
    return [
        Layer(3, padding=dilation, dilation=dilation, name=f"{prefix} {dilation}")
        for dilation in dilations
    ]


ASPP_RATES = (6, 12, 18, 24)
"""Dilations of the parallel branches of atrous spatial pyramid pooling in DeepLab (ASPP-L)."""

DENSE_ASPP_RATES = (3, 6, 12, 18, 24)
"""Dilations of DenseASPP's layers, each of which reads all before it."""

PRESETS: dict[str, list[Layer]] = {
    "vgg16": _vgg16(),
    "alexnet": _alexnet(),
    "resnet50": _resnet50(),
    "resnet50_torchvision": _resnet50(stride_at=2),
    "mobilenet_v2": _mobilenet_v2(),
    "dilated_1_2_4": _dilated(1, 2, 4),
    "gridding_2_2_2": _dilated(2, 2, 2),
    "hdc_1_2_5": _dilated(1, 2, 5),
    "deeplab_os8": _resnet50(output_stride=8),
    "aspp": [*_resnet50(output_stride=8), *_dilated(ASPP_RATES[-1], prefix="ASPP")],
    "dense_aspp": [*_resnet50(output_stride=8), *_dilated(*DENSE_ASPP_RATES, prefix="DenseASPP")],
}
"""Stacks up to the last map before any global pooling or fully connected layer.

AlexNet is torchvision's (Krizhevsky, 2014), VGG-16 Simonyan and Zisserman's configuration D.
ResNet-50 has its strides where He et al., 2016, put them, in the 1 x 1 convolutions, so that its
field is the published 483; torchvision puts them in the 3 x 3 ones, and the field is 427. With
DeepLab's output stride 8 the last two stages dilate by 2 and 4 instead of striding. Of ASPP's
branches the widest follows; of DenseASPP's paths the longest. MobileNetV2 has one layer a block.

Source: Araujo et al., 2019, table in the section on modern networks; Chen et al., 2017.
"""


# ---------------------------------------------------------------- checks


def _check_layers(layers: Sequence[Layer]) -> None:
    if not layers:
        raise ValueError("layers has no entry: at least 1 is needed")


def _check_field(layers: Sequence[Layer], most: int) -> int:
    """The size of the last layer's field, which is checked."""
    _check_layers(layers)
    size = receptive_fields(layers)[-1].size
    if size > most:
        raise ValueError(f"layers have a field of {size} pixels: at most {most} are allowed")
    return size


def _check_count(value: int, name: str) -> None:
    if value < 1:
        raise ValueError(f"{name} has {value}: at least 1 is needed")


def _check_choice(value: str, allowed: Collection[str], name: str) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: one of {', '.join(allowed)} is needed")
