"""Activations: the functions between layers, their slopes, and what both do to what passes through.

Every activation here equals torch's function of that name. At a kink, where the slope jumps, the
derivative is torch's too, which is one of the two one-sided slopes:

| activation | kink | derivative there |
|---|---|---|
| relu | 0 | 0 |
| relu6 | 0 and 6 | 0 |
| leaky_relu, prelu | 0 | the slope for negative input |
| elu with alpha other than 1 | 0 | alpha |
| selu | 0 | 1.758, from the negative side |
| hard_swish | -3 and 3 | 0 and 1, from outside |

All others are smooth. Networks trained with any of them never notice the choice: a signal that hits
a kink exactly is rare.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional

from explainers.boxes import Number
from explainers.models.imagenet import normalize
from explainers.models.mobilenet_v2 import MobileNetV2
from explainers.models.shipped import as_batch

Parameter = Number | Tensor

SATURATED = 0.01
"""A unit counts as saturated where its slope lies below this in size."""

# ---------------------------------------------------------------- what an activation is


@dataclass(frozen=True)
class Interval:
    """The values that an activation takes.

    Attributes:
        low, high: the ends, may be infinite.
        low_taken, high_taken: whether it takes the end itself, or only comes near.

    >>> str(Interval(0, math.inf, low_taken=True)), str(Interval(-0.2784645, 1))
    ('[0, ∞)', '(-0.278, 1)')
    """

    low: Number
    high: Number
    low_taken: bool = False
    high_taken: bool = False

    def __str__(self) -> str:
        low, high = (f"{end:.3g}".replace("inf", "∞") for end in (self.low, self.high))
        return f"{'[' if self.low_taken else '('}{low}, {high}{']' if self.high_taken else ')'}"


@dataclass(frozen=True)
class Cost:
    """Elementary operations for one value, counted on the formula as it is written.

    Attributes:
        arithmetic: additions, multiplications, divisions, changes of sign, comparisons.
        functions: evaluations of exp, log, tanh, erf, each worth many of the former.

    >>> str(Cost(2, ("exp", "log", "tanh")))
    '2 + exp + log + tanh'
    """

    arithmetic: int
    functions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " + ".join([str(self.arithmetic)] * (self.arithmetic > 0) + list(self.functions))


@dataclass(frozen=True)
class Activation:
    """One activation, called like a function: `activation(x, **parameters)`.

    Attributes:
        name: its key in `ACTIVATIONS`.
        formula: the same without any check, for the inside of a network.
        cost: elementary operations for one value.

    >>> swish = ACTIVATIONS["swish"]
    >>> swish(torch.tensor([-1.0, 0.0, 1.0]), beta=2.0)
    tensor([-0.1192,  0.0000,  0.8808])
    >>> str(swish.range(beta=2.0)), str(swish.cost), swish.parameters
    ('[-0.139, ∞)', '5 + exp', {'beta': 1.0})
    """

    name: str
    formula: Callable[..., Tensor]
    cost: Cost
    _range: Callable[..., Interval]
    _steepest: Callable[..., float]
    _positive: bool = False

    def __call__(self, x: Float[Tensor, "*shape"], **parameters: Parameter) -> Tensor:
        """The activation of every value.

        Args:
            x: finite numbers.
            parameters: finite numbers, or tensors of one element. The `weight` of `prelu` may also
                hold one for each channel, dimension 1 of `x`.

        Raises:
            ValueError: if `x` is not finite, or a parameter is unknown or out of its range.
        """
        _check_finite(x, "x")
        return self.formula(x, **self.checked(parameters))

    def derivative(
        self, x: Float[Tensor, "*shape"], **parameters: Parameter
    ) -> Float[Tensor, "*shape"]:
        """The slope at every value, by automatic differentiation.

        What it is at a kink is told at the top of the module.

        Args:
            x, parameters: as above.

        Raises:
            ValueError: as above.

        >>> ACTIVATIONS["sigmoid"].derivative(torch.tensor([-2.0, 0.0]))
        tensor([0.1050, 0.2500])
        >>> ACTIVATIONS["relu"].derivative(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0., 0., 1.])
        """
        _check_finite(x, "x")
        return _with_slope(self.formula, x, self.checked(parameters))[1]

    def with_slope(
        self, x: Float[Tensor, "*shape"]
    ) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
        """Activation and derivative at its defaults, without any check: inside a network.

        >>> ACTIVATIONS["tanh"].with_slope(torch.zeros(2))
        (tensor([0., 0.]), tensor([1., 1.]))
        """
        if self.name not in _SLOPE_AT_VALUE:
            return _with_slope(self.formula, x, {})
        value = self.formula(x)
        return value, _SLOPE_AT_VALUE[self.name](value)

    @property
    def parameters(self) -> dict[str, float]:
        """Names and defaults of its parameters, as in torch."""
        _x, *named = signature(self.formula).parameters.values()
        return {parameter.name: parameter.default for parameter in named}

    def range(self, **parameters: Number) -> Interval:
        """The values that it takes.

        Raises:
            ValueError: if a parameter is unknown or out of its range.

        >>> str(ACTIVATIONS["elu"].range(alpha=0.5))
        '(-0.5, ∞)'
        """
        return self._range(*self.checked(parameters).values())

    def steepest(self, **parameters: Number) -> float:
        """The largest size of its slope: no layer lets more of a gradient through than this.

        Raises:
            ValueError: if a parameter is unknown or out of its range.

        >>> ACTIVATIONS["sigmoid"].steepest()
        0.25
        """
        return self._steepest(*self.checked(parameters).values())

    def checked(self, parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """The parameters, checked, and the defaults of those that are not given."""
        defaults = self.parameters
        for name, value in parameters.items():
            if name not in defaults:
                allowed = ", ".join(defaults) or "none"
                raise ValueError(f"{name} is no parameter of {self.name}: allowed is {allowed}")
            _check_parameter(value, name, self._positive)
        return {**defaults, **parameters}


def _with_slope(
    formula: Callable[..., Tensor], x: Float[Tensor, "*shape"], parameters: Mapping[str, Parameter]
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = formula(x, **parameters)
        total = y.sum()
    return y.detach(), torch.autograd.grad(total, x)[0]


# ---------------------------------------------------------------- the formulas
# Those with two branches add them up: a `torch.where` takes thirty times as long as a `relu`.
# Comparisons are turned so that a number that is none (NaN) stays one.


def _sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`."""
    return x.sigmoid()


def _tanh(x: Tensor) -> Tensor:
    """`2 sigmoid(2x) - 1`."""
    return x.tanh()


def _relu(x: Tensor) -> Tensor:
    """`max(0, x)`; Nair and Hinton, 2010."""
    return x.relu()


def _relu6(x: Tensor) -> Tensor:
    """`min(max(0, x), 6)`; Krizhevsky, 2010."""
    return torch.where(x >= 6, 6, _relu(x))


def _leaky_relu(x: Tensor, negative_slope: Parameter = 0.01) -> Tensor:
    """`x`, or `negative_slope x` where x is negative; Maas et al., 2013."""
    positive = x.relu()
    return positive + negative_slope * (x - positive)


def _prelu(x: Tensor, weight: Parameter = 0.25) -> Tensor:
    """Leaky ReLU with a slope that is learned, from 0.25 on; He et al., 2015, section 2.1."""
    if isinstance(weight, Tensor) and weight.numel() > 1:
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
    return _leaky_relu(x, weight)


def _elu(x: Tensor, alpha: Parameter = 1.0) -> Tensor:
    """`x`, or `alpha (exp(x) - 1)` where x is negative; Clevert et al., 2016."""
    positive = x.relu()
    return positive + alpha * (x - positive).expm1()


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _selu(x: Tensor) -> Tensor:
    """Scaled ELU that draws mean and variance to 0 and 1; Klambauer et al., 2017, equation 2."""
    return _SELU_SCALE * _elu(x, _SELU_ALPHA)


def _swish(x: Tensor, beta: Parameter = 1.0) -> Tensor:
    """`x sigmoid(beta x)`, SiLU for beta = 1; Ramachandran et al., 2017."""
    return x * (beta * x).sigmoid()


def _hard_swish(x: Tensor) -> Tensor:
    """`x relu6(x + 3) / 6`; Howard et al., 2019."""
    return x * _relu6(x + 3) / 6


def _mish(x: Tensor) -> Tensor:
    """`x tanh(log(1 + exp(x)))`; Misra, 2020."""
    return x * _softplus(x).tanh()


def _gelu(x: Tensor) -> Tensor:
    """`x Φ(x) = x (1 + erf(x / √2)) / 2`; Hendrycks and Gimpel, 2016."""
    return x * (x * -math.sqrt(0.5)).erfc() / 2


def _gelu_tanh(x: Tensor) -> Tensor:
    """GELU approximated by tanh, off by less than 0.0005; Hendrycks and Gimpel, 2016."""
    near = x.clamp(-10, 10)  # beyond it the tanh is ±1, and the cube might overflow
    inner = math.sqrt(2 / math.pi) * (near + 0.044715 * near**3)
    return x * (2 * inner).sigmoid()  # (1 + tanh z) / 2 = σ(2z), which is never rounded to 0 here


def _softplus(x: Tensor, beta: Parameter = 1.0) -> Tensor:
    """`log(1 + exp(beta x)) / beta`; Dugas et al., 2001."""
    return torch.logaddexp(beta * x, x.new_zeros(())) / beta


_SLOPE_AT_VALUE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.sign,
    "tanh": lambda value: 1 - value * value,
    "sigmoid": lambda value: value * (1 - value),
}
"""Slopes that follow from the value alone, in a fifth of the time that autograd takes."""

# ---------------------------------------------------------------- their ranges and steepest slopes

_EVERYTHING = Interval(-math.inf, math.inf)
_NOT_NEGATIVE = Interval(0, math.inf, low_taken=True)


def _rectified_range(slope: Number) -> Interval:
    return _EVERYTHING if slope > 0 else _NOT_NEGATIVE


def _elu_range(alpha: Number) -> Interval:
    return Interval(-alpha, math.inf) if alpha > 0 else _NOT_NEGATIVE


def _swish_range(beta: Number) -> Interval:
    if beta == 0:
        return _EVERYTHING
    dip = 0.2784645428 / abs(beta)
    return _from(-dip) if beta > 0 else Interval(-math.inf, dip, high_taken=True)


def _from(low: float) -> Interval:
    return Interval(low, math.inf, low_taken=True)


def _steepest_piece(negative: Number) -> float:
    return float(max(1, abs(negative)))


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("sigmoid", _sigmoid, Cost(3, ("exp",)), lambda: Interval(0, 1), lambda: 0.25),
        Activation("tanh", _tanh, Cost(0, ("tanh",)), lambda: Interval(-1, 1), lambda: 1.0),
        Activation("relu", _relu, Cost(1), lambda: _NOT_NEGATIVE, lambda: 1.0),
        Activation("relu6", _relu6, Cost(2), lambda: Interval(0, 6, True, True), lambda: 1.0),
        Activation("leaky_relu", _leaky_relu, Cost(2), _rectified_range, _steepest_piece),
        Activation("prelu", _prelu, Cost(2), _rectified_range, _steepest_piece),
        Activation("elu", _elu, Cost(3, ("exp",)), _elu_range, _steepest_piece),
        Activation(
            "selu",
            _selu,
            Cost(4, ("exp",)),
            lambda: Interval(-_SELU_SCALE * _SELU_ALPHA, math.inf),
            lambda: _SELU_SCALE * _SELU_ALPHA,
        ),
        Activation(
            "swish",
            _swish,
            Cost(5, ("exp",)),
            _swish_range,
            lambda beta: 1.0998393201 if beta else 0.5,
        ),
        Activation("hard_swish", _hard_swish, Cost(5), lambda: _from(-0.375), lambda: 1.5),
        Activation(
            "mish",
            _mish,
            Cost(2, ("exp", "log", "tanh")),
            lambda: _from(-0.3088434130),
            lambda: 1.0884981613,
        ),
        Activation(
            "gelu", _gelu, Cost(4, ("erf",)), lambda: _from(-0.1699712075), lambda: 1.1289041452
        ),
        Activation(
            "gelu_tanh",
            _gelu_tanh,
            Cost(8, ("tanh",)),
            lambda: _from(-0.1700407506),
            lambda: 1.1289930687,
        ),
        Activation(
            "softplus",
            _softplus,
            Cost(3, ("exp", "log")),
            lambda beta: Interval(0, math.inf),
            lambda beta: 1.0,
            _positive=True,
        ),
    )
}
"""All activations by their names; each equals torch's function of that name."""


def activate(
    activation: str, x: Float[Tensor, "*shape"], **parameters: Number
) -> Float[Tensor, "*shape"]:
    """The activation of that name of every value.

    Raises:
        ValueError: if there is no such activation, and as the activation does.

    >>> activate("leaky_relu", torch.tensor([-2.0, 3.0]), negative_slope=0.1)
    tensor([-0.2000,  3.0000])
    """
    return _named(activation)(x, **parameters)


@dataclass(frozen=True)
class Curve:
    """An activation and its slope at n points.

    Attributes:
        x: the points, evenly spaced.
        value: the activation there.
        slope: its derivative there.
    """

    x: Float[Tensor, "n"]
    value: Float[Tensor, "n"]
    slope: Float[Tensor, "n"]


def curve(
    activation: str,
    low: Number,
    high: Number,
    points: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    **parameters: Number,
) -> Curve:
    """An activation and its derivative from `low` to `high`.

    Args:
        activation: its name.
        low, high: finite, `low` below `high`.
        points: how many, both ends among them; at least 2.
        device, dtype: of the result.
        parameters: of the activation.

    Raises:
        ValueError: if an argument is out of its range.

    >>> curve("sigmoid", -1, 1, 3).slope
    tensor([0.1966, 0.2500, 0.1966])
    """
    chosen = _named(activation)
    _check_span(low, high)
    _check_count(points, "points", least=2)
    place = torch.arange(points, device=device, dtype=dtype)
    x = low + place * (high - low) / (points - 1)  # hits 0 where linspace may miss it by rounding
    return Curve(x, chosen(x, **parameters), chosen.derivative(x, **parameters))


def curve_of_bins(
    activation: str,
    *,
    low: Number,
    high: Number,
    bins: int,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    **parameters: Number,
) -> Curve:
    """An activation and its derivative at the centres of the bins between `low` and `high`.

    Args, raises: as for `curve`; at least 2 bins.

    >>> curve_of_bins("relu", low=-1, high=1, bins=2).x
    tensor([-0.5000,  0.5000])
    """
    _check_span(low, high)
    _check_count(bins, "bins", least=2)
    half = (high - low) / bins / 2
    return curve(
        activation, low + half, high - half, bins, device=device, dtype=dtype, **parameters
    )


@dataclass(frozen=True)
class Profile:
    """What can be said of an activation in a line: see `Activation`, of which these are texts."""

    range: str
    steepest: float
    cost: str


def profile(activation: str, **parameters: Number) -> Profile:
    """Range, steepest slope and cost of an activation.

    Raises:
        ValueError: if the activation or a parameter is unknown, or a parameter out of its range.

    >>> profile("elu", alpha=0.5)
    Profile(range='(-0.5, ∞)', steepest=1.0, cost='3 + exp')
    """
    chosen = _named(activation)
    return Profile(str(chosen.range(**parameters)), chosen.steepest(**parameters), str(chosen.cost))


# ---------------------------------------------------------------- what it does to a signal


@dataclass(frozen=True)
class Signal:
    """A normal signal after an activation; `...` are the dimensions of its means and spreads.

    Attributes:
        share: of the outputs that fall into each of the bins, which divide the range asked for
            evenly. Outputs beyond it are in no bin.
        mean, variance: of the outputs.
        zero: share of outputs that are exactly 0.
        saturated: share of inputs where the slope is below 0.01 in size.
    """

    share: Float[Tensor, "... bins"]
    mean: Float[Tensor, "..."]
    variance: Float[Tensor, "..."]
    zero: Float[Tensor, "..."]
    saturated: Float[Tensor, "..."]


def signal_statistics(
    activation: str,
    mean: Float[Tensor, "*batch"],
    spread: Float[Tensor, "*batch"],
    *,
    low: Number = -3,
    high: Number = 3,
    bins: int = 60,
    points: int = 16_384,
    **parameters: Number,
) -> Signal:
    """A normally distributed signal pushed through an activation.

    Nothing is drawn by chance: the signal is `points` quantiles of the normal, each as likely as
    the next. With 16,384 of them its own variance is 0.01 % too small.

    Args:
        activation: its name.
        mean, spread: mean and standard deviation of the input, any shape, so that a sweep is one
            call; a spread of 0 is a constant.
        low, high: the range of the outputs' histogram.
        bins: of the histogram.
        points: quantiles of the normal.
        parameters: of the activation.

    Raises:
        ValueError: if an argument is out of its range.

    >>> signal = signal_statistics("relu", torch.tensor(0.0), torch.tensor(1.0))
    >>> signal.mean, signal.variance, signal.zero, signal.saturated
    (tensor(0.3989), tensor(0.3408), tensor(0.5000), tensor(0.5000))
    """
    chosen = _named(activation)
    for name, tensor in (("mean", mean), ("spread", spread)):
        _check_finite(tensor, name)
    if mean.shape != spread.shape:
        raise ValueError(f"spread has shape {list(spread.shape)}, mean has {list(mean.shape)}")
    if (spread < 0).any():
        raise ValueError(f"spread has {spread.min():g}: none may be negative")
    _check_count(points, "points", least=1)
    rank = torch.arange(points, device=mean.device, dtype=mean.dtype)
    normal = torch.special.ndtri((rank + 0.5) / points)
    x = mean[..., None] + spread[..., None] * normal
    y = chosen(x, **parameters)
    slope = chosen.derivative(x, **parameters)
    return Signal(
        share=_histogram(y, low, high, bins),
        mean=y.mean(dim=-1),
        variance=(y - y.mean(dim=-1, keepdim=True)).square().mean(dim=-1),
        zero=_share(y == 0),
        saturated=_share(slope.abs() < SATURATED),
    )


def normal_shares(
    mean: Float[Tensor, ""], spread: Float[Tensor, ""], *, low: Number, high: Number, bins: int
) -> Float[Tensor, "bins"]:
    """How much of a normally distributed signal falls into each of the bins from `low` to `high`.

    Args:
        mean, spread: of the signal; the spread is positive.
        low, high, bins: as for `signal_statistics`.

    Raises:
        ValueError: if an argument is out of its range.

    >>> normal_shares(torch.tensor(0.0), torch.tensor(1.0), low=-1, high=1, bins=2)
    tensor([0.3413, 0.3413])
    """
    for name, value in (("mean", mean), ("spread", spread)):
        _check_finite(value, name)
    if not spread > 0:
        raise ValueError(f"spread is {spread:g}: a positive number is needed")
    _check_bins(low, high, bins)
    edges = torch.linspace(low, high, bins + 1, device=mean.device, dtype=mean.dtype)
    shares: Tensor = torch.special.ndtr((edges - mean) / spread).diff()
    return shares


def all_signals(
    mean: Float[Tensor, ""],
    spread: Float[Tensor, ""],
    *,
    low: Number = -3,
    high: Number = 3,
    bins: int = 60,
    points: int = 4096,
) -> Signal:
    """The same signal after every one of `ACTIVATIONS`, in their order and with their defaults.

    Args:
        mean, spread, low, high, bins, points: as for `signal_statistics`.

    Raises:
        ValueError: as `signal_statistics` does.

    >>> all_signals(torch.tensor(0.0), torch.tensor(1.0)).zero[:4]
    tensor([0.0000, 0.0000, 0.5000, 0.5000])
    """
    signals = [
        signal_statistics(name, mean, spread, low=low, high=high, bins=bins, points=points)
        for name in ACTIVATIONS
    ]
    parts = zip(*(vars(signal).values() for signal in signals), strict=True)
    return Signal(*map(torch.stack, parts))


@dataclass(frozen=True)
class SignalNumbers:
    """The numbers of one signal: see `Signal`; `zero` and `saturated` are percentages here."""

    output_mean: float
    output_variance: float
    zero: float
    saturated: float


def signal_numbers(signal: Signal) -> SignalNumbers:
    """What `signal_statistics` found of one signal, as plain numbers.

    Raises:
        ValueError: if there is more than one.

    >>> signal_numbers(signal_statistics("relu", torch.tensor(9.0), torch.tensor(0.0)))
    SignalNumbers(output_mean=9.0, output_variance=0.0, zero=0.0, saturated=0.0)
    """
    if signal.mean.ndim > 0:
        raise ValueError(f"signal has shape {list(signal.mean.shape)}: a single one is needed")
    return SignalNumbers(
        float(signal.mean),
        float(signal.variance),
        100 * float(signal.zero),
        100 * float(signal.saturated),
    )


def _share(true: Bool[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    return true.float().mean(dim=-1)


def _histogram(
    values: Float[Tensor, "*batch n"], low: Number, high: Number, bins: int
) -> Float[Tensor, "*batch bins"]:
    """Share of the values in each bin; `high` itself belongs to the last."""
    _check_bins(low, high, bins)
    place = ((values - low) / (high - low) * bins).floor().clamp(-1, bins + 1).long()
    place[values == high] = bins - 1
    inside = (place >= 0) & (place < bins)
    counts = values.new_zeros(*values.shape[:-1], bins)
    counts.scatter_add_(-1, place.clamp(0, bins - 1), inside.to(values))
    return counts / values.shape[-1]


# ---------------------------------------------------------------- what it does to a picture

_LUMA = (0.299, 0.587, 0.114)
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def edge_response(
    image: UInt8[Tensor, "height width 3"], direction: str, gain: Number = 1.0, side: int = 160
) -> Float[Tensor, "rows columns"]:
    """What a convolution that looks for edges says of a photo, before any activation.

    Sobel's kernel on the photo's grey levels: where it gets brighter to the right (or downwards)
    by d, the response is gain · d; where it gets darker, it is negative.

    Args:
        image: RGB, 0 to 255.
        direction: "vertical" for edges between left and right, "horizontal" for those between
            above and below.
        gain: of the kernel; positive. At 1 responses lie within -1 to 1.
        side: a photo that is longer in pixels is shrunk to it first.

    Raises:
        ValueError: if an argument is out of its range.

    Source: Sobel and Feldman, 1968; grey levels as in ITU-R BT.601.

    >>> step = torch.tensor([0, 0, 255, 255], dtype=torch.uint8)[None, :, None].expand(3, 4, 3)
    >>> edge_response(step, "vertical")[1]
    tensor([0., 1., 1., 0.])
    """
    if direction not in ("vertical", "horizontal"):
        raise ValueError(f"direction is {direction!r}: 'vertical' or 'horizontal' is needed")
    _check_parameter(gain, "gain", positive=True)
    small = _shrunk(image, side) / 255
    grey = (small * small.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    kernel = small.new_tensor(_SOBEL) * gain / 4
    if direction == "horizontal":
        kernel = kernel.T
    padded = functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel[None, None])[0, 0]


def first_layer_response(
    network: MobileNetV2, image: UInt8[Tensor, "height width 3"], channel: int, side: int = 256
) -> Float[Tensor, "rows columns"]:
    """What one filter of MobileNetV2's first layer says of a photo, before its ReLU6.

    Args:
        network: what `mobilenet_v2` returned.
        image: RGB, 0 to 255; the whole of it is read.
        channel: of the 32 filters, from 0.
        side: a photo that is longer in pixels is shrunk to it first. The layer has stride 2.

    Raises:
        ValueError: if an argument is out of its range.

    >>> from explainers.models import mobilenet_v2
    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> first_layer_response(mobilenet_v2(), grey, channel=5).shape
    torch.Size([10, 15])
    """
    convolution, batch_norm, _relu6 = cast(nn.Sequential, network.features[0])
    responses: Tensor = batch_norm(convolution(normalize(_shrunk(image, side))))[0]
    if not 0 <= channel < len(responses):
        raise ValueError(f"channel is {channel}: 0 to {len(responses) - 1} is needed")
    return responses[channel]


def percent_zero(values: Float[Tensor, "*shape"]) -> float:
    """How many percent of the values are exactly 0.

    Raises:
        ValueError: if there are none.

    >>> percent_zero(torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    25.0
    """
    if values.numel() == 0:
        raise ValueError(f"values has shape {list(values.shape)}: at least one is needed")
    return 100 * float((values == 0).float().mean())


def _shrunk(image: UInt8[Tensor, "height width 3"], side: int) -> Float[Tensor, "1 3 rows columns"]:
    """The photo as a batch, 0 to 255, its longest side at most `side`."""
    _check_count(side, "side", least=1)
    batch = as_batch(image)
    longest = max(batch.shape[2:])
    if longest <= side:
        return batch
    size = [max(1, round(pixels * side / longest)) for pixels in batch.shape[2:]]
    return functional.interpolate(batch, size, mode="bilinear", antialias=True)


# ---------------------------------------------------------------- vanishing and dead


@dataclass(frozen=True)
class Chain:
    """n signals on their way through a chain of units; row k is after k of them.

    Attributes:
        value: the signal.
        gradient: size of the derivative of the signal by its start.
    """

    value: Float[Tensor, "depth_and_start n"]
    gradient: Float[Tensor, "depth_and_start n"]


def gradient_chain(
    activation: str, depth: int, start: Float[Tensor, "n"], gain: Number = 1.0, **parameters: Number
) -> Chain:
    """Signals and gradients through a chain of single units: x, f(gain · x), and so on.

    By the chain rule a gradient is multiplied by gain · f' at every unit. A sigmoid's slope is at
    most ¼, so n of them let through at most (gain / 4)ⁿ.

    Args:
        activation: the name of f.
        depth: units in the chain, at least 1.
        start: the signals before the first unit.
        gain: the weight of every unit.
        parameters: of the activation.

    Raises:
        ValueError: if an argument is out of its range, or a signal or gradient leaves that of its
            floating-point numbers.

    Source: Hochreiter, 1991; Bengio et al., 1994.

    >>> gradient_chain("sigmoid", 2, torch.tensor([0.0])).gradient[:, 0]
    tensor([1.0000, 0.2500, 0.0588])
    """
    chosen = _named(activation)
    _check_count(depth, "depth", least=1)
    _check_parameter(gain, "gain")
    _check_finite(start, "start")
    checked = chosen.checked(parameters)
    values = [start.detach()]
    for _unit in range(depth):
        values.append(chosen.formula(gain * values[-1], **checked))
    value = torch.stack(values)
    _value, slope = _with_slope(chosen.formula, gain * value[:-1], checked)
    factors = torch.cat([torch.ones_like(value[:1]), (gain * slope).abs()])
    chain = Chain(value, factors.cumprod(dim=0))
    if not (chain.value.isfinite().all() and chain.gradient.isfinite().all()):
        raise ValueError(f"gain is {gain}, depth is {depth}: the signal grows beyond all numbers")
    return chain


LAYERS, WIDTH, BATCH = 3, 16, 32
"""Hidden layers of the network that is trained, units in each, inputs in a mini-batch."""


@dataclass(frozen=True)
class Wave:
    """A curve to be learned: y = sin(1.5 π x)."""

    x: Float[Tensor, "n"]
    y: Float[Tensor, "n"]


def wave(
    points: int = 128,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Wave:
    """One and a half swings between -1 and 1.

    Raises:
        ValueError: if `points` is below 2.

    >>> wave(3).x, wave(3).y
    (tensor([-1.,  0.,  1.]), tensor([ 1.,  0., -1.]))
    """
    _check_count(points, "points", least=2)
    x = torch.linspace(-1, 1, points, device=device, dtype=dtype)
    return Wave(x, (1.5 * math.pi * x).sin())


@dataclass(frozen=True)
class DyingState:
    """Two networks at one moment of their training; index 0 has ReLU, 1 leaky ReLU.

    Attributes:
        step: updates so far.
        loss: mean squared error over all inputs.
        output: for every input.
        active: share of the inputs for which the input of each hidden unit's activation is
            positive.
        dead: hidden units of each layer whose output is 0 for every input. No gradient reaches
            their weights; only a change in the layers below can bring them back.
    """

    step: int
    loss: Float[Tensor, "2"]
    output: Float[Tensor, "2 n"]
    active: Float[Tensor, "2 layers width"]
    dead: Int[Tensor, "2 layers"]


def observed_steps(steps: int) -> list[int]:
    """When a training of that many updates is looked at: often at first, when units die.

    The start, every update up to 30, then each about a twentieth later than the last, and the end.

    Raises:
        ValueError: if `steps` is below 1.

    >>> observed_steps(40)[-7:]
    [29, 30, 32, 34, 36, 38, 40]
    """
    _check_count(steps, "steps", least=1)
    observed, step = [0], 1
    while step < steps:
        observed.append(step)
        step = max(step + 1, round(step * 1.05))
    return [*observed, steps]


def train_dying_relu(
    x: Float[Tensor, "n"],
    y: Float[Tensor, "n"],
    generator: torch.Generator,
    learning_rate: Number = 0.5,
    negative_slope: Number = 0.1,
    steps: int = 1000,
) -> Iterator[DyingState]:
    """Train a small ReLU network by Adam, and beside it the same one with leaky ReLU.

    Both begin with the same weights (Kaiming normal) and see the same mini-batches. A rate that is
    too high throws units so far that no input makes them positive. With ReLU no gradient reaches
    their weights from there on; with leaky ReLU some still does.

    Args:
        x, y: the inputs and what the network should make of them.
        generator: draws weights and mini-batches; on any device.
        learning_rate: of Adam, above 0, at most 1; 0.01 would do.
        negative_slope: of leaky ReLU, from 0 to 1; at 0 both networks are the same.
        steps: updates, at least 1.

    Yields:
        The states at `observed_steps`.

    Raises:
        ValueError: if an argument is out of its range.

    Source: Maas et al., 2013, section 2 (units that never activate); Kingma and Ba, 2015 (Adam).

    >>> target = wave()
    >>> states = train_dying_relu(target.x, target.y, torch.Generator().manual_seed(0), steps=4)
    >>> [(state.step, tuple(state.dead.shape)) for state in states][-2:]
    [(3, (2, 3)), (4, (2, 3))]
    """
    _check_training(x, y, learning_rate, negative_slope, steps)
    observed = set(observed_steps(steps))
    slopes = x.new_tensor([0, negative_slope])[:, None, None]
    parameters = _initial_parameters(x, generator)
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    yield _observe(0, parameters, slopes, x, y)
    for step in range(1, steps + 1):
        batch = torch.randint(len(x), (BATCH,), generator=generator, device=generator.device)
        batch = batch.to(x.device)
        gradients = _gradients(parameters, slopes, x[batch], y[batch])
        _update(parameters, gradients, moments, step, learning_rate)
        if step in observed:
            yield _observe(step, parameters, slopes, x, y)


def _initial_parameters(x: Tensor, generator: torch.Generator) -> list[Tensor]:
    """Weights and biases of all layers in turn, twice the same.

    The first biases are spread over the inputs, so that the kinks are.
    """
    sizes = [1, *[WIDTH] * LAYERS, 1]
    parameters = []
    for fan_in, fan_out in pairwise(sizes):
        weight = torch.randn(fan_in, fan_out, generator=generator, device=generator.device)
        bias = torch.rand(1, fan_out, generator=generator, device=generator.device) * 2 - 1
        parameters += [weight * math.sqrt(2 / fan_in), bias if fan_in == 1 else 0 * bias]
    return [p.to(x).expand(2, -1, -1).clone().requires_grad_() for p in parameters]


def _forward(
    parameters: list[Tensor], slopes: Tensor, x: Float[Tensor, "n"]
) -> tuple[Float[Tensor, "2 n"], list[Float[Tensor, "2 n width"]]]:
    """Output, and what goes into the activations of each hidden layer."""
    hidden, before = x[:, None].expand(2, -1, -1), []
    *inner, (last_weight, last_bias) = zip(parameters[::2], parameters[1::2], strict=True)
    for weight, bias in inner:
        before.append(torch.baddbmm(bias, hidden, weight))
        hidden = _leaky_relu(before[-1], slopes)
    return torch.baddbmm(last_bias, hidden, last_weight)[..., 0], before


def _gradients(
    parameters: list[Tensor], slopes: Tensor, x: Float[Tensor, "batch"], y: Float[Tensor, "batch"]
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        output, _before = _forward(parameters, slopes, x)
        loss = (output - y).square().mean(dim=1).sum()
    return torch.autograd.grad(loss, parameters)


@torch.no_grad()
def _update(
    parameters: list[Tensor],
    gradients: tuple[Tensor, ...],
    moments: list[tuple[Tensor, Tensor]],
    step: int,
    learning_rate: Number,
) -> None:
    """One step of Adam with its usual decays, 0.9 and 0.999."""
    for parameter, gradient, (first, second) in zip(parameters, gradients, moments, strict=True):
        first.lerp_(gradient, 0.1)
        second.lerp_(gradient.square(), 0.001)
        size = (second / (1 - 0.999**step)).sqrt() + 1e-8
        parameter -= learning_rate / (1 - 0.9**step) * first / size


@torch.no_grad()
def _observe(
    step: int, parameters: list[Tensor], slopes: Tensor, x: Tensor, y: Tensor
) -> DyingState:
    output, before = _forward(parameters, slopes, x)
    inputs = torch.stack(before, dim=1)
    return DyingState(
        step=step,
        loss=(output - y).square().mean(dim=1),
        output=output,
        active=(inputs > 0).to(x).mean(dim=2),
        dead=(_leaky_relu(inputs, slopes[:, None]) == 0).all(dim=2).sum(dim=2),
    )


# ---------------------------------------------------------------- checks


def _named(activation: str) -> Activation:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}: one of {', '.join(ACTIVATIONS)} is needed")
    return ACTIVATIONS[activation]


def _check_finite(values: Tensor, name: str) -> None:
    if not values.is_floating_point():
        raise ValueError(f"{name} has dtype {values.dtype}: floating-point numbers are needed")
    wrong = values[~values.isfinite()]
    if len(wrong) > 0:
        raise ValueError(f"{name} has {wrong[0]:g}: finite numbers are needed")


def _check_parameter(value: Parameter, name: str, positive: bool = False) -> None:
    if isinstance(value, Tensor):
        _check_finite(value, name)
        good = not positive or bool((value > 0).all())
    else:
        good = math.isfinite(value) and (value > 0 or not positive)
    if not good:
        needed = "a positive, finite" if positive else "a finite"
        raise ValueError(f"{name} is {value}: {needed} number is needed")


def _check_span(low: Number, high: Number) -> None:
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low is {low}, high is {high}: finite numbers, low < high, are needed")


def _check_bins(low: Number, high: Number, bins: int) -> None:
    _check_span(low, high)
    _check_count(bins, "bins", least=1)


def _check_count(count: int, name: str, least: int) -> None:
    if count < least:
        raise ValueError(f"{name} is {count}: at least {least} is needed")


def _check_training(
    x: Tensor, y: Tensor, learning_rate: Number, negative_slope: Number, steps: int
) -> None:
    for name, values in (("x", x), ("y", y)):
        _check_finite(values, name)
        if values.ndim != 1 or len(values) == 0 or values.shape != x.shape:
            raise ValueError(f"{name} has shape {list(values.shape)}: [n] is needed, as x has it")
    if not 0 < learning_rate <= 1:
        raise ValueError(f"learning_rate is {learning_rate}: a number in (0, 1] is needed")
    if not 0 <= negative_slope <= 1:
        raise ValueError(f"negative_slope is {negative_slope}: a number in [0, 1] is needed")
