"""Initialization: how large the first weights are, and what that does to a deep network.

A layer sums fan_in products, so the variance of its outputs is fan_in · Var(w) times the mean
square of its inputs. Layer after layer that factor is applied again: below 1 the signal dies, above
1 it explodes, and the gradient does the same on its way back. Schemes differ in what they make of
this one factor.

Signals are followed over many orders of magnitude, as far as the dtype's `signal_limits`: what
grows beyond them counts as infinite. What fades below them counts as 0; it is kept at the lower one
on its way, so that the slopes of its activations remain. No number here is ever NaN.
"""

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

from explainers.activations import ACTIVATIONS, SATURATED, Activation
from explainers.boxes import Number
from explainers.models.shipped import as_batch

DEAD, EXPLODED = 1e-6, 1e6
"""A signal whose standard deviation lies below the first is called dead, above the second exploded.

Both are for signals that start at 1.
"""

HISTOGRAM_LIMIT = 3.0
"""Histograms reach from minus this to this; what lies beyond is counted in the outermost bins."""

# ---------------------------------------------------------------- schemes


@dataclass(frozen=True)
class Scheme:
    """One way of choosing the first weights.

    Attributes:
        distribution: "constant", "normal", "uniform" or "orthogonal".
        size: the value of a constant, the standard deviation of random weights; takes the shape
            and everything that `initialize` takes behind it.
        parameters: names and defaults of what belongs to this scheme alone.
    """

    distribution: str
    size: Callable[..., float]
    parameters: Mapping[str, float] = field(default_factory=dict)


def _uniform_fan_in(shape: Sequence[int], **_: Number | str) -> float:
    return 1 / math.sqrt(3 * fans(shape)[0])


def _xavier(shape: Sequence[int], gain: Number, **_: Number | str) -> float:
    return gain * math.sqrt(2 / sum(fans(shape)))


def _kaiming(
    shape: Sequence[int], nonlinearity: str, mode: str, a: Number, **_: Number | str
) -> float:
    fan_in, fan_out = fans(shape)
    return gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _orthogonal(shape: Sequence[int], gain: Number, **_: Number | str) -> float:
    return gain / math.sqrt(max(shape[0], math.prod(shape[1:])))


SCHEMES: dict[str, Scheme] = {
    "zeros": Scheme("constant", lambda shape, **_: 0.0),
    "constant": Scheme("constant", lambda shape, val, **_: val, {"val": 0.01}),
    "normal": Scheme("normal", lambda shape, std, **_: std, {"std": 1.0}),
    "uniform_fan_in": Scheme("uniform", _uniform_fan_in),
    "xavier_uniform": Scheme("uniform", _xavier),
    "xavier_normal": Scheme("normal", _xavier),
    "kaiming_uniform": Scheme("uniform", _kaiming, {"a": 0.0}),
    "kaiming_normal": Scheme("normal", _kaiming, {"a": 0.0}),
    "orthogonal": Scheme("orthogonal", _orthogonal),
}
"""All schemes by their names; each equals the function of torch.nn.init.

| scheme | distribution | standard deviation | source |
|---|---|---|---|
| zeros, constant | one value, 0 or `val` | 0 | |
| normal | normal | `std` | |
| uniform_fan_in | uniform in ±1/√fan_in | 1/√(3 fan_in) | torch.nn.Linear's default |
| xavier_* | uniform, normal | gain · √(2/(fan_in + fan_out)) | Glorot, Bengio, 2010, eq. 16 |
| kaiming_* | uniform, normal | gain(nonlinearity)/√fan | He et al., 2015, eq. 10, 14 |
| orthogonal | rows or columns orthogonal | gain/√max(rows, columns) | Saxe et al., 2014 |

A uniform distribution of standard deviation s lies in ±√3 s.
"""

_LINEAR = ("linear", *(f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)))


def gain(nonlinearity: str, parameter: Number | None = None) -> float:
    """What a nonlinearity takes from a signal, to be given back by the weights.

    | nonlinearity | gain |
    |---|---|
    | linear, a convolution, sigmoid | 1 |
    | tanh | 5/3 |
    | relu | √2 |
    | leaky_relu | √(2/(1 + slope²)) |
    | selu | 3/4 |

    √2 is exact: ReLU halves the mean square of a symmetric signal. 5/3 and 3/4 are torch's
    empirical values.

    Args:
        nonlinearity: a name above.
        parameter: the slope of leaky_relu for negative input, 0.01 by default.

    Raises:
        ValueError: if there is no gain for `nonlinearity`, or `parameter` is not finite.

    Source: torch.nn.init.calculate_gain; He et al., 2015, equation 15 for leaky_relu.

    >>> gain("relu"), gain("leaky_relu", 1.0)
    (1.4142135623730951, 1.0)
    """
    slope = 0.01 if parameter is None else parameter
    if not math.isfinite(slope):
        raise ValueError(f"parameter is {slope}: a finite number is needed")
    gains = {
        **dict.fromkeys((*_LINEAR, "sigmoid"), 1.0),
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    check_choice(nonlinearity, "nonlinearity", gains)
    return gains[nonlinearity]


def fitting_nonlinearity(activation: str) -> str:
    """The nonlinearity whose `gain` a network with this activation gets: its own, or else ReLU's.

    >>> fitting_nonlinearity("tanh"), fitting_nonlinearity("gelu")
    ('tanh', 'relu')
    """
    check_choice(activation, "activation", ACTIVATIONS)
    return activation if activation in ("sigmoid", "tanh", "leaky_relu", "selu") else "relu"


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out): how many inputs one output sums, and how many outputs one input reaches.

    Args:
        shape: [outputs, inputs], or [outputs, inputs, *kernel] of a convolution, whose kernel
            counts in both. At least 1 everywhere.

    Raises:
        ValueError: if `shape` has fewer than two numbers or one below 1.

    Source: torch.nn.init; He et al., 2015, section 2.2.

    >>> fans((64, 3, 7, 7))
    (147, 3136)
    """
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(
            f"shape is {tuple(shape)}: at least two numbers, all of them 1 or more, are needed"
        )
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def weight_size(
    shape: Sequence[int],
    scheme: str,
    nonlinearity: str = "relu",
    mode: str = "fan_in",
    gain: Number = 1.0,
    **parameters: Number,
) -> float:
    """How large a scheme's weights are: the standard deviation, or the value of a constant.

    Args:
        shape: as for `fans`.
        scheme: a key of `SCHEMES`.
        nonlinearity: whose `gain` Kaiming takes.
        mode: "fan_in" or "fan_out", for Kaiming: what keeps its variance, signal or gradient.
        gain: of Xavier and orthogonal.
        parameters: `val` of constant, `std` of normal (not negative), `a` of Kaiming: the slope of
            leaky_relu.

    Raises:
        ValueError: if an argument is not among what is allowed.

    >>> weight_size((256, 100), "kaiming_normal") == (2 / 100) ** 0.5
    True
    """
    check_choice(scheme, "scheme", SCHEMES)
    check_choice(mode, "mode", ("fan_in", "fan_out"))
    chosen = SCHEMES[scheme]
    for name, number in {"gain": gain, **parameters}.items():
        if name != "gain" and name not in chosen.parameters:
            allowed = ", ".join(chosen.parameters) or "none"
            raise ValueError(f"{name} is no parameter of {scheme}, allowed: {allowed}")
        if not math.isfinite(number) or (name in ("gain", "std") and number < 0):
            needed = "finite, and not negative for gain and std"
            raise ValueError(f"{name} is {number}: a number is needed that is {needed}")
    fans(shape)
    settings = {**chosen.parameters, **parameters}
    return chosen.size(shape, nonlinearity=nonlinearity, mode=mode, gain=gain, **settings)


def initialize(
    shape: Sequence[int],
    scheme: str,
    generator: torch.Generator,
    nonlinearity: str = "relu",
    mode: str = "fan_in",
    gain: Number = 1.0,
    *,
    dtype: torch.dtype = torch.float32,
    **parameters: Number,
) -> Float[Tensor, "..."]:
    """First weights, as torch.nn.init fills them from the same generator.

    Args:
        shape, scheme, nonlinearity, mode, gain, parameters: as for `weight_size`.
        generator: the weights are made on its device.
        dtype: of the weights.

    Raises:
        ValueError: as `weight_size` does.

    >>> initialize((2, 3), "constant", torch.Generator(), val=0.5)
    tensor([[0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000]])
    >>> weights = initialize((64, 64), "orthogonal", torch.Generator().manual_seed(0))
    >>> torch.allclose(weights @ weights.T, torch.eye(64), atol=1e-5)
    True
    """
    size = weight_size(shape, scheme, nonlinearity, mode, gain, **parameters)
    return size * _drawn(shape, SCHEMES[scheme].distribution, generator, dtype)


def _drawn(
    shape: Sequence[int], distribution: str, generator: torch.Generator, dtype: torch.dtype
) -> Float[Tensor, "..."]:
    """Random weights of mean 0 and standard deviation 1; ones if they are constant.

    Others get the same tensor for the same state of the generator: it must not be changed.
    """
    if distribution == "constant":
        return torch.ones(tuple(shape), dtype=dtype, device=generator.device)
    state = tuple(generator.get_state().view(torch.int64).tolist())
    weights, after = _random(tuple(shape), distribution, dtype, generator.device, state)
    generator.set_state(after)
    return weights


@lru_cache(maxsize=300)
def _random(
    shape: tuple[int, ...],
    distribution: str,
    dtype: torch.dtype,
    device: torch.device,
    state: tuple[int, ...],
) -> tuple[Float[Tensor, "..."], UInt8[Tensor, "n"]]:
    """Random weights from a generator in this state, and its state after that.

    The last layers are kept: a network is drawn for several figures and again at each other depth,
    and an orthogonal layer takes ten times as long as all else. It is about 85 MB, keys included,
    if all are 256 wide and in float32.
    """
    generator = torch.Generator(device)
    words = generator.get_state().view(torch.int64).new_tensor(state)
    generator.set_state(words.view(torch.uint8))
    empty = torch.empty(shape, dtype=dtype, device=device)
    if distribution == "uniform":
        weights = empty.uniform_(-math.sqrt(3), math.sqrt(3), generator=generator)
    else:
        weights = empty.normal_(generator=generator)
    if distribution == "orthogonal":
        weights = _orthogonalized(weights)
    return weights, generator.get_state()


def _orthogonalized(normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Orthogonal rows, or columns where there are fewer of them, uniform over all such matrices."""
    flat = normal.flatten(1)
    wide = len(flat) < flat.shape[1]
    q, r = torch.linalg.qr(flat.T if wide else flat)
    q = q * r.diagonal().sign()
    rows: Tensor = q.T if wide else q
    return rows.reshape(normal.shape) * math.sqrt(max(flat.shape))


# ---------------------------------------------------------------- signals through a network


def signal_limits(dtype: torch.dtype) -> tuple[float, float]:
    """The smallest and the largest signal that is followed: squares and cubes stay in the dtype.

    >>> [f"{limit:.0e}" for limit in signal_limits(torch.float32)]
    ['9e-18', '4e+11']
    """
    numbers = torch.finfo(dtype)
    return float(numbers.tiny**0.45), float(numbers.max**0.3)


@dataclass(frozen=True)
class Spread:
    """Signals in a network without biases, layer by layer; one row for each network that ran.

    A layer takes x, sums y = W x, and hands on the activation of y. Backwards, a gradient of
    independent standard normal numbers is put in at the top.

    Attributes:
        activation_std: standard deviation over samples and units of what a layer hands on; inf
            from the layer on where the signal has exploded, 0 from where it has faded.
        activation_mean: its mean, inf and 0 alike.
        gradient_std: standard deviation of the gradient with respect to what a layer hands on, 1
            but for chance at the last layer; inf and 0 alike, from the top down.
        sum_variance: mean square of y, which is its variance if weights have mean 0; inf and 0
            alike.
        input_square: mean square of x; inf and 0 alike.
        weight_variance: variance that the scheme gives its weights, 0 for a constant.
        fan_in: products that one unit sums.
    """

    activation_std: Float[Tensor, "*rows depth"]
    activation_mean: Float[Tensor, "*rows depth"]
    gradient_std: Float[Tensor, "*rows depth"]
    sum_variance: Float[Tensor, "*rows depth"]
    input_square: Float[Tensor, "*rows depth"]
    weight_variance: Float[Tensor, "*rows depth"]
    fan_in: Int[Tensor, "*rows depth"]


@dataclass(frozen=True)
class Propagation(Spread):
    """The signals of one network, with their histograms.

    Attributes:
        activation_histogram: how many of a layer's activations lie in each of equal bins from
            -`HISTOGRAM_LIMIT` to `HISTOGRAM_LIMIT`, those beyond in the outermost. Exact zeros are
            left out: `zero_share` tells them. Of an exploded layer all bins are 0.
        gradient_histogram: the same of its gradients.
        zero_share: share of a layer's activations that are exactly 0.
        saturated: share of a layer's units with a slope below 0.01 in size.
    """

    activation_histogram: Int[Tensor, "depth bins"]
    gradient_histogram: Int[Tensor, "depth bins"]
    zero_share: Float[Tensor, "depth"]
    saturated: Float[Tensor, "depth"]


def random_inputs(
    samples: int, features: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Float[Tensor, "samples features"]:
    """Independent standard normal numbers, on the generator's device.

    Raises:
        ValueError: if there is no sample or no feature.

    >>> random_inputs(2, 3, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    check_count(samples, "samples")
    check_count(features, "features")
    device = generator.device
    return torch.randn(samples, features, generator=generator, dtype=dtype, device=device)


def propagate(
    inputs: Float[Tensor, "n d"],
    depth: int,
    scheme: str,
    activation: str,
    generator: torch.Generator,
    width: int | None = None,
    *,
    bins: int = 61,
    nonlinearity: str | None = None,
    mode: str = "fan_in",
    gain: Number = 1.0,
    **parameters: Number,
) -> Propagation:
    """Send inputs forward through a random fully connected network, and a gradient back.

    Every layer's weights are drawn anew as `initialize` does; there are no biases.

    Args:
        inputs: any finite numbers; samples of variance 1 are what the schemes are made for.
        depth: layers, at least 1.
        scheme: a key of `SCHEMES`.
        activation: a key of `explainers.activations.ACTIVATIONS`, at its defaults.
        generator: draws a seed for the gradient put in at the top, then the weights, the first
            layer's first. So weights do not depend on how many inputs there are.
        width: units in each layer, those of the inputs by default.
        bins: of the histograms.
        nonlinearity: whose gain Kaiming takes; by default `fitting_nonlinearity` of `activation`.
        mode, gain, parameters: as for `weight_size`.

    Raises:
        ValueError: if an argument is not among what is allowed.

    Source: He et al., 2015, section 2.2; Glorot and Bengio, 2010, section 4.2.

    >>> inputs = random_inputs(64, 128, torch.Generator().manual_seed(0))
    >>> seed = torch.Generator().manual_seed(1)
    >>> kept = propagate(inputs, 20, "kaiming_normal", "relu", seed)
    >>> lost = propagate(inputs, 20, "xavier_normal", "relu", seed)
    >>> 0.3 < kept.activation_std[-1] < 1.5, lost.activation_std[-1] < 0.002
    (tensor(True), tensor(True))
    """
    check_count(bins, "bins")
    options = {"nonlinearity": nonlinearity, "mode": mode, "gain": gain, **parameters}
    found = _follow(inputs, depth, activation, generator, width, [(scheme, 1.0)], options, bins)
    return Propagation(**{name: row[0] for name, row in found.items()})


def compare_schemes(
    inputs: Float[Tensor, "n d"],
    depth: int,
    activation: str,
    generator: torch.Generator,
    width: int | None = None,
    schemes: Sequence[str] = tuple(SCHEMES),
    *,
    nonlinearity: str | None = None,
    mode: str = "fan_in",
    gain: Number = 1.0,
) -> Spread:
    """`propagate` under every scheme at once: row i is that of `schemes[i]`.

    All start from the same state of the generator. So schemes of one distribution draw the same
    numbers, run as one batch, and differ in the size of their weights alone.

    Args:
        schemes: keys of `SCHEMES`, at least one.
        inputs, depth, activation, generator, width, nonlinearity, mode, gain: as for `propagate`.

    Raises:
        ValueError: as `propagate` does.

    >>> inputs = random_inputs(32, 64, torch.Generator().manual_seed(0))
    >>> seed = torch.Generator().manual_seed(1)
    >>> spread = compare_schemes(inputs, 50, "relu", seed, schemes=["normal", "xavier_normal"])
    >>> fates(spread.activation_std)
    Fate(died=tensor([ 0, 37]), exploded=tensor([9, 0]))
    """
    options = {"nonlinearity": nonlinearity, "mode": mode, "gain": gain}
    networks = [(scheme, 1.0) for scheme in schemes]
    return Spread(**_follow(inputs, depth, activation, generator, width, networks, options))


def sweep_gains(
    inputs: Float[Tensor, "n d"],
    depth: int,
    scheme: str,
    activation: str,
    generator: torch.Generator,
    gains: Float[Tensor, "t"],
    width: int | None = None,
    *,
    nonlinearity: str | None = None,
    mode: str = "fan_in",
    **parameters: Number,
) -> Spread:
    """`propagate` with the scheme's weights times every gain at once: row i is that of `gains[i]`.

    For Xavier and orthogonal weights this is the `gain` of `propagate`.

    Few inputs will do: with n · width = 768 chance in them moves the standard deviation of the
    fiftieth layer of 128 units by about 15 %, and that of the gradient at the first one by about
    30 %, where chance in the weights changes either by a factor of 2.

    Args:
        gains: not negative, at least one.
        inputs, depth, scheme, activation, generator, width, nonlinearity, mode, parameters: as for
            `propagate`.

    Raises:
        ValueError: as `propagate` does, or if a gain is negative or not finite.

    >>> inputs = random_inputs(32, 64, torch.Generator().manual_seed(0))
    >>> gains = torch.tensor([1.0, 2.0**0.5, 2.0])
    >>> seed = torch.Generator().manual_seed(1)
    >>> fates(sweep_gains(inputs, 50, "xavier_normal", "relu", seed, gains).activation_std)
    Fate(died=tensor([37,  0,  0]), exploded=tensor([ 0,  0, 44]))
    """
    if gains.ndim != 1:
        raise ValueError(f"gains has shape {list(gains.shape)}: [t] is needed")
    if not (gains.isfinite() & (gains >= 0)).all():
        raise ValueError(f"gains is {gains.tolist()}: finite numbers, not negative, are needed")
    options = {"nonlinearity": nonlinearity, "mode": mode, "gain": 1.0, **parameters}
    networks = [(scheme, factor) for factor in gains.tolist()]
    return Spread(**_follow(inputs, depth, activation, generator, width, networks, options))


def single(spread: Spread, row: int) -> Spread:
    """One network out of several.

    Args:
        spread: as `compare_schemes` or `sweep_gains` give it.
        row: index of the network.

    Raises:
        ValueError: if there is no such row.

    >>> seed = torch.Generator().manual_seed(0)
    >>> spread = compare_schemes(torch.ones(2, 3), 4, "relu", seed)
    >>> single(spread, 0).activation_std
    tensor([0., 0., 0., 0.])
    """
    rows = spread.fan_in.shape[:-1]
    if len(rows) != 1 or not 0 <= row < rows[0]:
        raise ValueError(f"row is {row}, spread has rows of shape {list(rows)}: no such row")
    return Spread(**{f.name: getattr(spread, f.name)[row] for f in fields(Spread)})


def _follow(
    inputs: Float[Tensor, "n d"],
    depth: int,
    activation: str,
    generator: torch.Generator,
    width: int | None,
    networks: Sequence[tuple[str, float]],
    options: Mapping[str, Any],
    bins: int = 0,
) -> dict[str, Tensor]:
    """What the fields of `Spread`, or with bins of `Propagation`, hold for each network.

    A network is a scheme and a factor on its weights.
    """
    _check_inputs(inputs)
    check_count(depth, "depth")
    check_count(inputs.shape[1] if width is None else width, "width")
    check_choice(activation, "activation", ACTIVATIONS)
    if not networks:
        raise ValueError("no network is asked for: at least one is needed")
    samples, features = inputs.shape
    width = features if width is None else width
    shapes = [(width, features), *[(width, width)] * (depth - 1)]
    options = _fitted(options, activation)
    one = {(k, s): weight_size(s, k, **options) for k, _ in set(networks) for s in set(shapes)}
    sizes = [[factor * one[scheme, shape] for shape in shapes] for scheme, factor in networks]
    _check_sizes(sizes)
    top = random_inputs(samples, width, _fork(generator), inputs.dtype).to(inputs.device)
    groups = _by_distribution([scheme for scheme, _ in networks])
    order = [member for members in groups.values() for member in members]
    size = inputs.new_tensor([sizes[member] for member in order])
    random = [SCHEMES[networks[member][0]].distribution != "constant" for member in order]
    layers = _draw_layers(shapes, groups, generator, inputs)
    # Weights of one distribution differ in size alone: one network then tells of all.
    alike = activation in _HOMOGENEOUS and not bins and bool((size >= 0).all())
    sent = [[(1, weight) for _count, weight in layer] for layer in layers] if alike else layers
    sent_size = None if alike else size
    forward, slopes = _forward(inputs, sent, sent_size, ACTIVATIONS[activation], bins)
    back = _back(top, sent, sent_size, slopes, bins)
    if alike:
        counts = [count for count, _weight in layers[0]]
        forward = _sized(forward, counts, size)
        upper = torch.cat([torch.ones_like(size[:, :1]), size.flip(1)[:, :-1]], dim=1)
        back = _sized(back, counts, upper)
    rows = _forward_told(forward, inputs) | _back_told(back)
    rows["weight_variance"] = size.square() * size.new_tensor(random)[:, None]
    fan_in = torch.tensor([fans(shape)[0] for shape in shapes], device=inputs.device)
    found = {name: _sorted(row, order) for name, row in rows.items()}
    return found | {"fan_in": fan_in.expand(len(networks), depth)}


def _fork(generator: torch.Generator) -> torch.Generator:
    """A generator of its own for numbers of any count: the other moves on by one draw."""
    device = generator.device
    seed = torch.randint(2**62, (), generator=generator, device=device)
    return torch.Generator(device).manual_seed(int(seed))


def _fitted(options: Mapping[str, Any], activation: str) -> dict[str, Any]:
    chosen = options["nonlinearity"]
    return {
        **options,
        "nonlinearity": fitting_nonlinearity(activation) if chosen is None else chosen,
    }


Layer = Sequence[tuple[int, Float[Tensor, "width _"]]]
"""The weights of one layer, each with the number of networks in a row that share it."""


def _draw_layers(
    shapes: Sequence[tuple[int, int]],
    groups: Mapping[str, Sequence[int]],
    generator: torch.Generator,
    like: Tensor,
) -> list[Layer]:
    """Weights of every layer; the generator is in the same state for each distribution."""
    state, drawn = generator.get_state(), []
    for distribution, members in groups.items():
        generator.set_state(state)
        weights = (_drawn(shape, distribution, generator, like.dtype) for shape in shapes)
        drawn.append([(len(members), weight.to(like.device)) for weight in weights])
    return list(zip(*drawn, strict=True))


def _by_distribution(schemes: Sequence[str]) -> dict[str, list[int]]:
    """Indices of schemes that draw the same numbers."""
    members: dict[str, list[int]] = {}
    for index, scheme in enumerate(schemes):
        members.setdefault(SCHEMES[scheme].distribution, []).append(index)
    return members


def _in_batches(
    schemes: Sequence[str],
    generator: torch.Generator,
    batch: Callable[[str, Sequence[int]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """One row for each scheme; those of one distribution run as one batch.

    Args:
        batch: takes a distribution and the indices of its schemes, and returns their rows. The
            generator is in the same state each time.
    """
    groups, state, found = _by_distribution(schemes), generator.get_state(), []
    for distribution, members in groups.items():
        generator.set_state(state)
        found.append(batch(distribution, members))
    order = [member for members in groups.values() for member in members]
    return {name: _sorted(torch.cat([rows[name] for rows in found]), order) for name in found[0]}


def _sorted(
    rows: Shaped[Tensor, "rows *rest"], order: Sequence[int]
) -> Shaped[Tensor, "rows *rest"]:
    """Rows put where `order` says that they belong."""
    return rows[sorted(range(len(order)), key=order.__getitem__)]


def _forward(
    inputs: Float[Tensor, "n d"],
    layers: Sequence[Layer],
    sizes: Float[Tensor, "rows depth"] | None,
    activation: Activation,
    bins: int,
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """What is seen of every layer on the way forward, and the slopes for the way back."""
    found, slopes = [], []
    for piece in _pieces(_activated(inputs, layers, sizes, activation)):
        slopes += [slope for *_others, slope in piece]
        seen = piece if bins else [layer[:3] for layer in piece]
        found.append(_forward_numbers(*_together(seen), bins=bins))
    return _joined(found), slopes


def _activated(
    inputs: Float[Tensor, "n d"],
    layers: Sequence[Layer],
    sizes: Float[Tensor, "rows depth"] | None,
    activation: Activation,
) -> Iterator[tuple[Tensor, ...]]:
    """Of each layer the sums, the activations, how large the sums should be, and the slopes."""
    x = _rows_of(inputs, layers)
    for layer, size in zip(layers, _by_layer(sizes, layers), strict=True):
        y, peak = _held(_products(x, layer), size)
        x, slope = activation.with_slope(y)
        yield y, x, peak, slope


def _forward_numbers(
    y: Tensor, x: Tensor, peak: Tensor, slope: Tensor | None = None, *, bins: int
) -> dict[str, Tensor]:
    mean, std = _moments(x.flatten(2))
    numbers = {
        "peak": peak,
        "sum": _root_mean_square(y.flatten(2)),
        "activation_std": std,
        "activation_mean": mean,
    }
    if slope is not None:
        numbers["saturated"] = _mean(slope.abs().lt_(SATURATED))
        zeros = (x == 0).sum(dim=(2, 3))
        numbers["activation_histogram"] = _histogram(x, zeros, bins)
        numbers["zero_share"] = zeros / x[0, 0].numel()
    return numbers


def _forward_told(seen: Mapping[str, Tensor], inputs: Float[Tensor, "n d"]) -> dict[str, Tensor]:
    """What has exploded and what has faded told as such."""
    numbers = dict(seen)
    lost, faded = _gone(numbers.pop("peak"))
    small = faded & (numbers["activation_mean"].abs() < signal_limits(inputs.dtype)[0])
    numbers["sum_variance"] = _told(numbers.pop("sum").square(), lost, faded)
    numbers["activation_std"] = _told(numbers["activation_std"], lost, faded)
    numbers["activation_mean"] = _told(numbers["activation_mean"], lost, small)
    if "activation_histogram" in numbers:
        numbers["activation_histogram"].masked_fill_(lost[..., None], 0)
    handed_on = numbers["activation_mean"].square() + numbers["activation_std"].square()
    first = _mean(inputs.square()).expand(len(lost), 1)
    return numbers | {"input_square": torch.cat([first, handed_on[:, :-1]], dim=1)}


def _back(
    top: Float[Tensor, "n width"],
    layers: Sequence[Layer],
    sizes: Float[Tensor, "rows depth"] | None,
    slopes: Sequence[Float[Tensor, "rows n width"]],
    bins: int,
) -> dict[str, Tensor]:
    """What is seen of every layer on the gradient's way down; the last layer comes first."""
    pieces = _pieces(_gradients(top, layers, sizes, slopes))
    return _joined([_gradient_numbers(*_together(piece), bins=bins) for piece in pieces])


def _gradients(
    top: Float[Tensor, "n width"],
    layers: Sequence[Layer],
    sizes: Float[Tensor, "rows depth"] | None,
    slopes: Sequence[Float[Tensor, "rows n width"]],
) -> Iterator[tuple[Tensor, ...]]:
    """From the top down what each layer is given, and how large it should be."""
    gradient = _rows_of(top, layers)
    peak = torch.ones_like(gradient[:, 0, 0])
    steps = zip(layers, _by_layer(sizes, layers), slopes, strict=True)
    for layer, size, slope in reversed(list(steps)):
        yield gradient, peak
        transposed = [(count, weight.T) for count, weight in layer]
        gradient, peak = _held(_products(gradient * slope, transposed), size)


def _gradient_numbers(gradient: Tensor, peak: Tensor, *, bins: int) -> dict[str, Tensor]:
    numbers = {"peak": peak, "gradient_std": _moments(gradient.flatten(2))[1]}
    if bins:
        zeros = (gradient == 0).sum(dim=(2, 3))
        numbers["gradient_histogram"] = _histogram(gradient, zeros, bins)
    return numbers


def _back_told(seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What has exploded and what has faded told as such; the lowest layer comes first."""
    numbers = dict(seen)
    lost, faded = _gone(numbers.pop("peak"))
    numbers["gradient_std"] = _told(numbers["gradient_std"], lost, faded)
    if "gradient_histogram" in numbers:
        numbers["gradient_histogram"].masked_fill_(lost[..., None], 0)
    return {name: values.flip(1) for name, values in numbers.items()}


_HOMOGENEOUS = ("relu", "leaky_relu", "prelu")
"""Activations with f(c x) = c f(x) for c ≥ 0.

Larger weights make all that a layer hands on larger by the same factor, and nothing else.
"""


def _sized(
    seen: Mapping[str, Float[Tensor, "groups depth"]],
    counts: Sequence[int],
    sizes: Float[Tensor, "rows depth"],
) -> dict[str, Float[Tensor, "rows depth"]]:
    """What networks with weights of these sizes show, by one for each group at a peak of 1."""
    times = torch.tensor(counts, device=sizes.device)
    rows = {name: values.repeat_interleave(times, dim=0) for name, values in seen.items()}
    largest = 0.9 * math.log(torch.finfo(sizes.dtype).max)
    peak = (sizes.log() + rows["peak"].log()).cumsum(dim=1).clamp(max=largest).exp()
    return {name: values * peak for name, values in rows.items()} | {"peak": peak}


_AT_ONCE = 1 << 17
"""Numbers that are looked at together: as many as stay in the caches."""


def _pieces(layers: Iterator[tuple[Tensor, ...]]) -> Iterator[list[tuple[Tensor, ...]]]:
    """Several layers at a time: a call for each one would take longer than its numbers."""
    for first in layers:
        more = max(0, _AT_ONCE // first[0].numel() - 1)
        yield [first, *itertools.islice(layers, more)]


def _together(layers: Sequence[tuple[Tensor, ...]]) -> list[Shaped[Tensor, "rows depth *rest"]]:
    return [torch.stack(tensors, dim=1) for tensors in zip(*layers, strict=True)]


def _joined(pieces: Sequence[Mapping[str, Tensor]]) -> dict[str, Shaped[Tensor, "rows depth *_"]]:
    return {name: torch.cat([piece[name] for piece in pieces], dim=1) for name in pieces[0]}


def _products(x: Float[Tensor, "rows n _"], layer: Layer) -> Float[Tensor, "rows n width"]:
    """Each row times the weights of its group."""
    if len(layer) == 1:
        return x @ layer[0][1].T
    parts = torch.split(x, [count for count, _weight in layer])
    return torch.cat([p @ weight.T for p, (_n, weight) in zip(parts, layer, strict=True)])


def _told(values: Tensor, lost: Tensor, faded: Tensor) -> Tensor:
    return values.masked_fill(faded, 0).masked_fill(lost, math.inf)


def _rows_of(x: Float[Tensor, "n _"], layers: Sequence[Layer]) -> Float[Tensor, "rows n _"]:
    """The same for every row."""
    return x.expand(sum(count for count, _weight in layers[0]), *x.shape)


def _by_layer(
    sizes: Float[Tensor, "rows depth"] | None, layers: Sequence[Layer]
) -> Sequence[Float[Tensor, "rows"] | None]:
    return [None] * len(layers) if sizes is None else list(sizes.T)


def _held(
    x: Float[Tensor, "rows *rest"], size: Float[Tensor, "rows"] | None
) -> tuple[Float[Tensor, "rows *rest"], Float[Tensor, "rows"]]:
    """Rows times their sizes, held within the limits of a signal; the peaks they should have.

    Without sizes rows are brought to a peak of 1, and their own peaks returned. It is one factor
    for a row: what it takes to get from its peak to that of the result. The rows are overwritten.
    """
    smallest, largest = signal_limits(x.dtype)
    peak = x.abs().flatten(1).amax(dim=1)
    if size is None:
        wanted, held = peak, torch.ones_like(peak)
    else:
        wanted = peak * size.abs()
        held = wanted.clamp(smallest, largest) * (wanted.sign() * size.sign())
    factor = held / peak.clamp(min=torch.finfo(x.dtype).tiny)  # where the peak is 0, all is
    return x.mul_(factor.reshape(-1, *[1] * (x.ndim - 1))), wanted


def _gone(
    peak: Float[Tensor, "rows depth"],
) -> tuple[Bool[Tensor, "rows depth"], Bool[Tensor, "rows depth"]]:
    """From where on rows have exploded, and from where on they have faded."""
    smallest, largest = signal_limits(peak.dtype)
    beyond = torch.stack([peak > largest, (peak > 0) & (peak < smallest)])
    lost, faded = beyond.int().cumsum(dim=2) > 0
    return lost, faded


def _mean(x: Float[Tensor, "*rows n width"]) -> Float[Tensor, "*rows"]:
    return x.flatten(-2).mean(dim=-1)


def _moments(x: Float[Tensor, "*rows n"]) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
    """Mean and standard deviation; torch's own `var_mean` takes ten times as long."""
    mean = x.mean(dim=-1, keepdim=True)
    return mean[..., 0], _root_mean_square(x - mean)


def _root_mean_square(x: Float[Tensor, "*rows n"]) -> Float[Tensor, "*rows"]:
    length: Tensor = torch.linalg.vector_norm(x, dim=-1)
    return length / math.sqrt(x.shape[-1])


def _stacked(layers: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([layer[name] for layer in layers], dim=1) for name in layers[0]}


def _histogram(
    x: Float[Tensor, "rows depth n width"],
    zeros: Int[Tensor, "rows depth"],
    bins: int,
) -> Int[Tensor, "rows depth bins"]:
    """Counts of what is not 0; what lies beyond the limit is put into the outermost bins."""
    limit = HISTOGRAM_LIMIT
    layers = x.clamp(-limit, limit).flatten(0, 1)
    counts = torch.stack([layer.histc(bins, -limit, limit) for layer in layers])
    counts = counts.long().reshape(*zeros.shape, bins)
    counts[..., bins // 2] -= zeros
    return counts


@dataclass(frozen=True)
class Fate:
    """Where signals are lost, counted in layers from 1 on along their way; 0 if nowhere.

    Attributes:
        died: the first layer with a standard deviation below `DEAD`.
        exploded: the first layer with one above `EXPLODED`.
    """

    died: Int[Tensor, "*rows"]
    exploded: Int[Tensor, "*rows"]


def fates(std: Float[Tensor, "*rows depth"], backward: bool = False) -> Fate:
    """Where signals die or explode.

    Args:
        std: standard deviations, those of the first layer first.
        backward: whether the signal comes from the last layer, as gradients do.

    Raises:
        ValueError: if there is no layer, or a standard deviation is negative or NaN.

    >>> fates(torch.tensor([[1.0, 1e-5, 1e-7], [1.0, 1e9, float("inf")], [1.0, 0.9, 0.8]]))
    Fate(died=tensor([3, 0, 0]), exploded=tensor([0, 2, 0]))
    """
    if std.ndim == 0 or not std.shape[-1]:
        raise ValueError(f"std has shape {list(std.shape)}: at least one layer is needed")
    if not (std >= 0).all():
        raise ValueError(f"std has a minimum of {std.min().item()}: 0 or more is needed")
    std = std.flip(-1) if backward else std
    return Fate(_first(std < DEAD), _first(std > EXPLODED))


def _first(found: Bool[Tensor, "*rows depth"]) -> Int[Tensor, "*rows"]:
    return (found.int().argmax(dim=-1) + 1).where(found.any(dim=-1), 0)


def count_kept(forward: Fate, backward: Fate) -> int:
    """How many networks lose neither their signal nor their gradient.

    >>> lost, kept = fates(torch.tensor([[1.0, 0.0], [1.0, 1.0]])), fates(torch.ones(2, 2))
    >>> count_kept(lost, kept)
    1
    """
    events = (forward.died, forward.exploded, backward.died, backward.exploded)
    return int(torch.stack([event == 0 for event in events]).all(dim=0).sum())


@dataclass(frozen=True)
class Ends:
    """What arrives at both ends of a network.

    Attributes:
        last_activation, first_gradient: standard deviations.
        zero_share: share of the last layer's activations that are exactly 0.
        saturated: share of the last layer's units with a slope below 0.01 in size.
    """

    last_activation: float
    first_gradient: float
    zero_share: float
    saturated: float


def ends(sent: Propagation) -> Ends:
    """What arrives at both ends.

    >>> ends(propagate(torch.ones(2, 3), 4, "zeros", "tanh", torch.Generator()))
    Ends(last_activation=0.0, first_gradient=0.0, zero_share=1.0, saturated=0.0)
    """
    last, first = sent.activation_std[-1], sent.gradient_std[0]
    return Ends(float(last), float(first), float(sent.zero_share[-1]), float(sent.saturated[-1]))


@dataclass(frozen=True)
class VarianceLaw:
    """The law Var(y) = fan_in · Var(w) · E[x²] at one layer, with its numbers.

    Attributes:
        fan_in: products that one unit sums.
        weight_variance: Var(w), of the scheme.
        input_square: E[x²], measured.
        predicted: their product.
        measured: Var(y), measured; inf if the signal has exploded.
    """

    fan_in: int
    weight_variance: float
    input_square: float
    predicted: float
    measured: float


def predicted_variance(spread: Spread) -> Float[Tensor, "*rows depth"]:
    """Var(y) of every layer by the law fan_in · Var(w) · E[x²]; 0 where weights are constant.

    >>> seed = torch.Generator().manual_seed(0)
    >>> predicted_variance(propagate(torch.ones(2, 8), 1, "normal", "relu", seed))
    tensor([8.])
    """
    predicted = spread.fan_in * spread.weight_variance * spread.input_square
    return predicted.where(spread.weight_variance > 0, 0)


def variance_law(spread: Spread, layer: int) -> VarianceLaw:
    """The law at one layer of one network.

    It holds for independent weights of mean 0, whatever the inputs are. Constant weights break it.

    Args:
        spread: of a single network, such as `propagate` gives it.
        layer: from 1 on.

    Raises:
        ValueError: if `spread` has rows, or no such layer.

    Source: He et al., 2015, section 2.2, equation 7.

    >>> inputs = random_inputs(64, 256, torch.Generator().manual_seed(0))
    >>> sent = propagate(inputs, 3, "kaiming_normal", "relu", torch.Generator().manual_seed(1))
    >>> law = variance_law(sent, layer=1)
    >>> law.fan_in, round(law.predicted, 2), round(law.measured, 2)
    (256, 2.02, 2.0)
    """
    if spread.fan_in.ndim != 1:
        raise ValueError(f"spread has shape {list(spread.fan_in.shape)}: one network is needed")
    if not 1 <= layer <= len(spread.fan_in):
        raise ValueError(f"layer is {layer}, allowed are 1 to {len(spread.fan_in)}")
    columns = (spread.weight_variance, spread.input_square, predicted_variance(spread))
    variance, square, predicted = (float(column[layer - 1]) for column in columns)
    measured = float(spread.sum_variance[layer - 1])
    return VarianceLaw(int(spread.fan_in[layer - 1]), variance, square, predicted, measured)


# ---------------------------------------------------------------- a photo through a network


@dataclass(frozen=True)
class PhotoMaps:
    """What random convolutional networks make of a photo.

    Attributes:
        maps: at each depth the channel that varies most over the photo.
        std: standard deviation over all channels and places; inf from where it has exploded, 0 from
            where it has faded.
    """

    maps: Float[Tensor, "schemes depths height width"]
    std: Float[Tensor, "schemes depths"]


def photo_maps(
    photo: UInt8[Tensor, "height width 3"],
    schemes: Sequence[str],
    depths: Sequence[int],
    generator: torch.Generator,
    activation: str = "relu",
    *,
    channels: int = 16,
    side: int = 96,
    nonlinearity: str | None = None,
    mode: str = "fan_in",
    gain: Number = 1.0,
) -> PhotoMaps:
    """Send a photo through a random network of 3 x 3 convolutions, under each scheme.

    The photo is shrunk, and brought to mean 0 and variance 1. Its border is repeated around it, so
    that maps keep their size. As in `compare_schemes` all schemes start from the same state of the
    generator.

    Args:
        photo: RGB, 0 to 255, at least one pixel; one without any contrast gives zeros.
        schemes: keys of `SCHEMES`, at least one.
        depths: layers whose maps are wanted, from 1 on, at least one.
        generator: draws the weights, the first layer's first.
        activation: a key of `explainers.activations.ACTIVATIONS`.
        channels: of every layer.
        side: longest side of the maps in pixels.
        nonlinearity, mode, gain: as for `propagate`.

    Raises:
        ValueError: if an argument is not among what is allowed.

    >>> photo = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    >>> seed = torch.Generator().manual_seed(0)
    >>> photo_maps(photo, ["zeros", "orthogonal"], [1, 5], seed).maps.shape
    torch.Size([2, 2, 1, 2])
    """
    check_choice(activation, "activation", ACTIVATIONS)
    for name, numbers in (("channels", [channels]), ("side", [side]), ("depths", depths)):
        for number in numbers:
            check_count(number, name)
    if not schemes or not depths:
        raise ValueError(f"schemes is {list(schemes)}, depths is {list(depths)}: none is too few")
    options = _fitted({"nonlinearity": nonlinearity, "mode": mode, "gain": gain}, activation)
    shapes = [(channels, 3, 3, 3), *[(channels, channels, 3, 3)] * (max(depths) - 1)]
    sizes = [[weight_size(shape, scheme, **options) for shape in shapes] for scheme in schemes]
    _check_sizes(sizes)
    image, chosen = _standardized(shrunk(photo, side)), ACTIVATIONS[activation]

    def batch(distribution: str, members: Sequence[int]) -> dict[str, Tensor]:
        factors = image.new_tensor([sizes[member] for member in members])
        alike = activation in _HOMOGENEOUS
        x = image.expand(1 if alike else len(members), *image.shape[1:])
        peaks, seen = [], {}
        for depth, (shape, size) in enumerate(zip(shapes, factors.T, strict=True), start=1):
            weight = _drawn(shape, distribution, generator, x.dtype).to(x.device)
            framed = functional.pad(x, (1, 1, 1, 1), mode="replicate")
            y, peak = _held(functional.conv2d(framed, weight), None if alike else size)
            x = chosen.formula(y, **chosen.parameters)
            peaks.append(peak)
            if depth in depths:
                seen[depth] = {"maps": _most_varied(x), "std": _moments(x.flatten(1))[1]}
        peak, shown = torch.stack(peaks, dim=1), _stacked([seen[depth] for depth in depths])
        wanted = [depth - 1 for depth in depths]
        if alike:
            peak = _sized({"peak": peak}, [len(members)], factors)["peak"]
            reach = peak[:, wanted].clamp(max=signal_limits(x.dtype)[1])
            shown = {"maps": shown["maps"] * reach[..., None, None], "std": shown["std"] * reach}
        lost, faded = (gone[:, wanted] for gone in _gone(peak))
        return shown | {"std": _told(shown["std"], lost, faded)}

    return PhotoMaps(**_in_batches(schemes, generator, batch))


def shrunk(photo: UInt8[Tensor, "height width 3"], side: int) -> Float[Tensor, "1 3 rows columns"]:
    """The photo as a batch, 0 to 1, its longest side at most `side`.

    Raises:
        ValueError: if `photo` is no RGB picture of at least one pixel, or `side` is below 1.

    >>> shrunk(torch.full((4, 8, 3), 255, dtype=torch.uint8), side=4).shape
    torch.Size([1, 3, 2, 4])
    """
    check_count(side, "side")
    batch = as_batch(photo) / 255
    longest = max(batch.shape[2:])
    if longest <= side:
        return batch
    size = [max(1, round(pixels * side / longest)) for pixels in batch.shape[2:]]
    return functional.interpolate(batch, size, mode="bilinear", antialias=True)


def _standardized(image: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 3 h w"]:
    """Mean 0 and variance 1 over all values; zeros if there is no contrast."""
    centred = image - image.mean()
    return centred / centred.square().mean().sqrt().clamp(min=1e-6)


def _most_varied(x: Float[Tensor, "rows c h w"]) -> Float[Tensor, "rows h w"]:
    """Of each row the channel of the largest spread over its places."""
    channel = x.flatten(2).std(dim=2, correction=0).argmax(dim=1)
    return x[torch.arange(len(x), device=x.device), channel]


# ---------------------------------------------------------------- checks


def check_choice(value: str, name: str, allowed: Collection[str]) -> None:
    """Raise `ValueError` if `value` is not among the names `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, allowed are {', '.join(allowed)}")


def check_count(value: int, name: str) -> None:
    """Raise `ValueError` if `value` is below 1."""
    if value < 1:
        raise ValueError(f"{name} is {value}: at least 1 is needed")


def _check_inputs(inputs: Tensor) -> None:
    if inputs.ndim != 2 or not inputs.numel():
        raise ValueError(f"inputs has shape {list(inputs.shape)}: [n, d] is needed, none of them 0")
    if inputs.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"inputs has dtype {inputs.dtype}: float32 or float64 is needed")
    largest = signal_limits(inputs.dtype)[1]
    if not (inputs.abs() <= largest).all():
        raise ValueError(f"inputs has numbers that are not finite or beyond {largest:.1g}")


def _check_sizes(sizes: Sequence[Sequence[float]]) -> None:
    """Beyond this a sum could leave float32 before it is scaled back."""
    for size in (size for row in sizes for size in row):
        if abs(size) > 1e12:
            raise ValueError(f"weights of size {size:g} are asked for: at most 1e12 is allowed")
