"""Painting: the same network learns the same photo from the weights of every scheme.

What `explainers.initialization` predicts from variances shows here as learning: where the gradient
dies nothing is learned, where signals explode training ends at once, and where all units of a layer
are equal they stay equal for ever.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from explainers.activations import ACTIVATIONS
from explainers.boxes import Number
from explainers.initialization import (
    SCHEMES,
    check_choice,
    check_count,
    fitting_nonlinearity,
    initialize,
    shrunk,
)


@dataclass(frozen=True)
class TrainingState:
    """Networks of the same shape at one moment of the same training, one for each scheme.

    Attributes:
        step: updates so far.
        steps: updates at which the losses were measured, up to `step`.
        losses: mean squared error over the whole picture, in units of its range from -1 to 1; inf
            from where a network has exploded.
        photo: what they are to paint.
        pictures: what they paint; mid-grey if exploded.
        first_weights: weights of the first layer; the last finite ones if exploded.
        distinct_units: units of the first layer whose weights differ from those of all before.
        exploded: whether a number beyond all limits ended the network's training.
    """

    step: int
    steps: Int[Tensor, "measured"]
    losses: Float[Tensor, "schemes measured"]
    photo: UInt8[Tensor, "height width 3"]
    pictures: UInt8[Tensor, "schemes height width 3"]
    first_weights: Float[Tensor, "schemes units inputs"]
    distinct_units: Int[Tensor, "schemes"]
    exploded: Bool[Tensor, "schemes"]


def train_schemes(
    photo: UInt8[Tensor, "height width 3"],
    schemes: Sequence[str],
    generator: torch.Generator,
    activation: str = "relu",
    *,
    depth: int = 12,
    width: int = 48,
    steps: int = 300,
    every: int = 10,
    lr: Number = 0.02,
    momentum: Number = 0.9,
    batch: int = 256,
    side: int = 40,
    mode: str = "fan_in",
) -> Iterator[TrainingState]:
    """Train the same network from each scheme's weights to paint a photo, all at once.

    The network takes a place in the photo, as sines and cosines of three octaves in x and y, and
    returns its colour. Every scheme starts from the same state of the generator, biases are 0, and
    all see the same random pixels. Plain gradient descent with momentum keeps what Adam would
    hide: the size of the gradient.

    From zeros or a constant all units of a hidden layer are equal, and so are their gradients. In
    floating point they are so but for rounding, which training would amplify, so there the mean of
    equal gradients is taken.

    Args:
        photo: RGB, 0 to 255, at least one pixel.
        schemes: keys of `SCHEMES`, at least one.
        generator: draws the pixels of all updates, then the weights.
        activation: a key of `explainers.activations.ACTIVATIONS`; Kaiming takes its fitting gain.
        depth: layers, at least 1; the last one is linear.
        width: units of the others.
        steps: updates.
        every: updates between two states.
        lr: learning rate, positive.
        momentum: in [0, 1).
        batch: pixels in each update.
        side: longest side of the picture in pixels.
        mode: "fan_in" or "fan_out", for Kaiming.

    Yields:
        The state before the first update, after each `every` updates, and after the last.

    Raises:
        ValueError: if an argument is not among what is allowed.

    >>> photo = torch.tensor([[[0, 0, 0], [255, 255, 255]]], dtype=torch.uint8)
    >>> schemes, seed = ["constant", "kaiming_normal"], torch.Generator().manual_seed(0)
    >>> last = list(train_schemes(photo, schemes, seed, depth=3, steps=40, width=16))[-1]
    >>> last.distinct_units, last.losses[:, -1] < 0.1
    (tensor([ 1, 16]), tensor([False,  True]))
    """
    check_choice(activation, "activation", ACTIVATIONS)
    counts = {"depth": depth, "width": width, "steps": steps, "every": every, "batch": batch}
    for name, count in (*counts.items(), ("side", side)):
        check_count(count, name)
    if not schemes:
        raise ValueError("schemes is empty: at least one is needed")
    if not (math.isfinite(lr) and lr > 0):
        raise ValueError(f"lr is {lr}: a positive number is needed")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: a number in [0, 1) is needed")
    picture = shrunk(photo, side)[0] * 2 - 1
    colours, places = picture.flatten(1).T, _places(picture)
    drawn = torch.randint(len(places), (steps, batch), generator=generator, device=generator.device)
    pixels = drawn.to(picture.device)
    layers = [places.shape[1], *[width] * (depth - 1), 3]
    weights = _first_weights(schemes, layers, generator, fitting_nonlinearity(activation), mode)
    weights = [weight.to(picture.device) for weight in weights]
    parameters = weights + [weight.new_zeros(len(weight), 1, weight.shape[1]) for weight in weights]
    velocity = [torch.zeros_like(parameter) for parameter in parameters]
    exploded = torch.zeros(len(schemes), dtype=torch.bool, device=picture.device)
    constant = [SCHEMES[scheme].distribution == "constant" for scheme in schemes]
    alike = torch.tensor(constant, device=picture.device)
    measured: list[tuple[int, Tensor]] = []
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            painted = _paint(places, parameters, activation)
            loss = (painted - colours).square().mean(dim=(1, 2))
            exploded = exploded | ~loss.isfinite()
            measured.append((step, loss.masked_fill(exploded, math.inf)))
            yield TrainingState(
                step=step,
                steps=torch.tensor([at for at, _ in measured], device=picture.device),
                losses=torch.stack([loss for _, loss in measured], dim=1),
                photo=_as_pictures(colours[None], picture)[0],
                pictures=_as_pictures(painted.masked_fill(exploded[:, None, None], 0), picture),
                first_weights=parameters[0],
                distinct_units=_distinct_rows(parameters[0]),
                exploded=exploded,
            )
        if step == steps:
            return
        seen = pixels[step]
        slopes = _gradients(places[seen], colours[seen], parameters, activation)
        gradients = _evened(slopes, alike)
        velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
        moved = [p - lr * v for p, v in zip(parameters, velocity, strict=True)]
        exploded = exploded | torch.stack([~m.isfinite().flatten(1).all(1) for m in moved]).any(0)
        stay = exploded[:, None, None]
        parameters = [p.where(stay, m) for p, m in zip(parameters, moved, strict=True)]


def _places(picture: Float[Tensor, "3 height width"]) -> Float[Tensor, "places 12"]:
    """Every pixel's place as sines and cosines of three octaves, mean square about 1."""
    y, x = (torch.linspace(-1, 1, side, device=picture.device) for side in picture.shape[1:])
    octaves = picture.new_tensor([0.5, 1, 2]) * math.pi
    angles = (torch.cartesian_prod(y, x)[..., None] * octaves).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1) * math.sqrt(2)


def _first_weights(
    schemes: Sequence[str],
    layers: Sequence[int],
    generator: torch.Generator,
    nonlinearity: str,
    mode: str,
) -> list[Float[Tensor, "schemes _ _"]]:
    """The weights of each layer, under all schemes, each from the same state of the generator."""
    state, drawn = generator.get_state(), []
    for scheme in schemes:
        generator.set_state(state)
        shapes = zip(layers[1:], layers[:-1], strict=True)
        drawn.append([initialize(shape, scheme, generator, nonlinearity, mode) for shape in shapes])
    return [torch.stack(weights) for weights in zip(*drawn, strict=True)]


def _paint(
    places: Float[Tensor, "n inputs"], parameters: Sequence[Tensor], activation: str
) -> Float[Tensor, "schemes n 3"]:
    chosen, depth = ACTIVATIONS[activation], len(parameters) // 2
    x = places.expand(len(parameters[0]), *places.shape)
    for layer, (weight, bias) in enumerate(
        zip(parameters[:depth], parameters[depth:], strict=True)
    ):
        x = torch.baddbmm(bias, x, weight.mT)
        if layer < depth - 1:
            x = chosen.formula(x, **chosen.parameters)
    return x


def _gradients(
    places: Float[Tensor, "n inputs"],
    colours: Float[Tensor, "n 3"],
    parameters: Sequence[Tensor],
    activation: str,
) -> tuple[Tensor, ...]:
    """Of the sum of all networks' losses: each parameter takes part in its own network's alone."""
    with torch.enable_grad():
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        loss = (_paint(places, leaves, activation) - colours).square().mean(dim=(1, 2)).sum()
    return torch.autograd.grad(loss, leaves)


def _evened(
    gradients: Sequence[Float[Tensor, "schemes _ _"]], alike: Bool[Tensor, "schemes"]
) -> list[Float[Tensor, "schemes _ _"]]:
    """The gradients; those of equal units, in networks that are `alike`, by their mean."""
    last = len(gradients) // 2 - 1
    evened = []
    for layer, weight in enumerate(gradients[: last + 1]):
        units = [dim for dim, hidden in ((1, layer < last), (2, layer > 0)) if hidden]
        evened.append(weight.mean(units, keepdim=True).expand_as(weight) if units else weight)
    evened += [bias.mean(2, keepdim=True).expand_as(bias) for bias in gradients[last + 1 : -1]]
    evened.append(gradients[-1])
    chosen = alike[:, None, None]
    return [even.where(chosen, g) for even, g in zip(evened, gradients, strict=True)]


def _as_pictures(
    painted: Float[Tensor, "pictures n 3"], like: Float[Tensor, "3 height width"]
) -> UInt8[Tensor, "pictures height width 3"]:
    levels = ((painted.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.reshape(len(painted), *like.shape[1:], 3)


def _distinct_rows(weights: Float[Tensor, "schemes units inputs"]) -> Int[Tensor, "schemes"]:
    """Rows that differ from all rows before them by more than rounding."""
    apart = (weights[:, :, None] - weights[:, None]).abs().amax(dim=-1)
    same = apart <= 1e-5 * weights.abs().amax(dim=(1, 2), keepdim=True)
    return (~same.tril(diagonal=-1).any(dim=-1)).sum(dim=-1)
