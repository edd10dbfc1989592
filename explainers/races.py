"""A race: many optimizers down one surface, as rows of one batch.

On a handful of numbers an operation of torch costs the same whatever it computes, and the rules of
`explainers.optimizers` have most of theirs in common: averages of slopes and of their squares, and
a step of rate · direction, divided by a size or not. Here each is done once for all rows that need
it. Every racer goes the way of `trajectories`, rounding included.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from explainers.optimizers import OPTIMIZERS, check_descent, check_name, check_rates, nadam_momentum
from explainers.surfaces import AnySurface, find_surface, gradient


def race(
    surface: AnySurface,
    optimizers: Sequence[str],
    starts: Float[Tensor, "n 2"],
    steps: int,
    rates: Float[Tensor, "optimizers n"],
    noise: Float[Tensor, "steps n 2"] | None = None,
) -> Float[Tensor, "optimizers points n 2"]:
    """`trajectories` of several optimizers at once, each with a rate for every start.

    Raises:
        ValueError: as `trajectories` does.

    >>> start, rates = torch.tensor([[1.0, 1.0]]), torch.tensor([[0.05], [0.1]])
    >>> race("quadratic", ["sgd", "adam"], start, steps=1, rates=rates)[:, -1, 0]
    tensor([[0.9500, 0.5000],
            [0.9000, 0.9000]])
    """
    for name in optimizers:
        check_name(name)
    if rates.shape != (len(optimizers), len(starts)):
        raise ValueError(
            f"rates has shape {list(rates.shape)}: "
            f"[{len(optimizers)}, {len(starts)}] is needed, a rate for each optimizer and start"
        )
    check_rates(rates)
    check_descent(starts, steps, noise)
    function = find_surface(surface)
    order = sorted(range(len(optimizers)), key=lambda k: _ORDER.index(optimizers[k]))
    places = sorted(range(len(order)), key=order.__getitem__)
    with torch.inference_mode():
        field = _Field([optimizers[k] for k in order], rates[order].to(starts), starts.detach())
        paths = [field.points.all.clone()]
        for t in range(1, steps + 1):
            slopes = gradient(function, field.points.all.flatten(0, 1)).reshape(paths[0].shape)
            field.advance(slopes if noise is None else slopes + noise[t - 1], t)
            paths.append(field.points.all.clone())
    return torch.stack(paths, dim=1)[places]


_HYPER: dict[str, dict[str, Any]] = {name: known.hyper for name, known in OPTIMIZERS.items()}
_BETA1, _BETA2 = _HYPER["adam"]["betas"]  # of all that have any

_DIRECT = "sgd", "momentum", "nesterov", "adadelta"
_CORRECTED = "adam", "adamw", "amsgrad"
_ADAMS = *_CORRECTED, "nadam"
_DIVIDED = "adagrad", "rmsprop", *_ADAMS
_ORDER = *_DIRECT, *_DIVIDED
"""Of the rows: the members of each family follow each other."""
_FAMILIES = {
    "all": _ORDER,
    "heavy": ("momentum", "nesterov"),
    "direct": _DIRECT,
    "divided": _DIVIDED,
    "corrected": _CORRECTED,
    "means": _ADAMS,
    "squares": ("adadelta", *_DIVIDED),
}


class _Rows(NamedTuple):
    """Views of values [racers, ...]: all, the rows of families and those of single optimizers."""

    all: Tensor
    heavy: Tensor
    direct: Tensor
    divided: Tensor
    corrected: Tensor
    means: Tensor
    squares: Tensor
    momentum: Tensor
    nesterov: Tensor
    adadelta: Tensor
    adamw: Tensor
    amsgrad: Tensor
    nadam: Tensor


def _rows(names: Sequence[str], values: Tensor) -> _Rows:
    def view(field: str) -> Tensor:
        members = _FAMILIES.get(field, (field,))
        mine = [row for row, name in enumerate(names) if name in members]
        return values[mine[0] : mine[-1] + 1] if mine else values[:0]

    return _Rows(*map(view, _Rows._fields))


class _Field:
    """Where the racers are and what they remember.

    Args:
        names: of the optimizers, in the order of the rows.
        rates: of each racer and start [racers, n].
        starts: [n, 2].
    """

    def __init__(self, names: Sequence[str], rates: Tensor, starts: Tensor) -> None:
        def zeros() -> _Rows:
            return _rows(names, starts.new_zeros(len(names), *starts.shape))

        def numbers(number: Callable[[dict[str, Any]], float]) -> _Rows:
            each = starts.new_tensor([number(_HYPER[name]) for name in names])
            return _rows(names, each.reshape(-1, 1, 1))

        self.points, self.g, self.direction, self.size = (zeros() for _name in range(4))
        self.velocity, self.m, self.v, self.v_max, self.u = (zeros() for _name in range(5))
        self.rates, self.pace = (_rows(names, rates[..., None].clone()) for _name in range(2))
        self.points.all.copy_(starts)
        self.momentum = numbers(lambda hyper: hyper.get("momentum", 0.0))
        self.eps = numbers(lambda hyper: hyper.get("eps", 0.0))
        self.kept = numbers(_kept)
        self.added = numbers(lambda hyper: 1 - _kept(hyper) or 1.0)
        self.shrink = 1 - self.rates.adamw * _HYPER["adamw"]["weight_decay"]
        self.product = torch.ones((), dtype=torch.get_default_dtype(), device=starts.device)

    def advance(self, slopes: Tensor, t: int) -> None:
        """Take step t, the first being 1."""
        self.g.all.copy_(slopes)
        self._remember()
        self._turn()
        self._measure(t)
        self._move(t)

    def _remember(self) -> None:
        g, v = self.g, self.v
        self.velocity.heavy.mul_(self.momentum.heavy).add_(g.heavy)
        self.m.means.lerp_(g.means, 1 - _BETA1)
        v.squares.mul_(self.kept.squares).addcmul_(self.added.squares * g.squares, g.squares)
        torch.maximum(self.v_max.amsgrad, v.amsgrad, out=self.v_max.amsgrad)

    def _turn(self) -> None:
        direction, velocity = self.direction, self.velocity
        direction.all.copy_(self.g.all)
        direction.corrected.copy_(self.m.corrected)
        direction.momentum.copy_(velocity.momentum)
        direction.nesterov.addcmul_(self.momentum.nesterov, velocity.nesterov)
        v, u, delta, eps = self.v.adadelta, self.u.adadelta, direction.adadelta, self.eps.adadelta
        delta.mul_((u + eps).sqrt_().div_((v + eps).sqrt_()))
        u.mul_(self.kept.adadelta).addcmul_(self.added.adadelta * delta, delta)

    def _measure(self, t: int) -> None:
        size = self.size
        size.divided.copy_(self.v.divided)
        size.amsgrad.copy_(self.v_max.amsgrad)
        size.nadam.div_(1 - _BETA2**t)
        size.divided.sqrt_()
        size.corrected.div_((1 - _BETA2**t) ** 0.5)
        size.divided.add_(self.eps.divided)

    def _move(self, t: int) -> None:
        points, rates, pace, size = self.points, self.rates, self.pace, self.size
        torch.div(rates.corrected, 1 - _BETA1**t, out=pace.corrected)
        grows = _HYPER["nadam"]["momentum_decay"]
        mu, mu_next = (nadam_momentum(k, _BETA1, grows) for k in (t, t + 1))
        self.product *= mu
        until_now = float(self.product)
        torch.mul(rates.nadam, 1 - mu, out=pace.nadam).div_(1 - until_now)
        points.adamw.mul_(self.shrink)
        points.direct.addcmul_(pace.direct, self.direction.direct, value=-1)
        points.divided.addcdiv_(pace.divided * self.direction.divided, size.divided, value=-1)
        pace_next = rates.nadam * mu_next / (1 - until_now * mu_next)
        points.nadam.addcdiv_(pace_next * self.m.nadam, size.nadam, value=-1)


def _kept(hyper: dict[str, Any]) -> float:
    """How much of a running average of squares stays at each step; Adagrad's sum keeps all."""
    beta2: float = hyper.get("betas", (0.0, 1.0))[1]
    return hyper.get("rho") or hyper.get("alpha") or beta2
