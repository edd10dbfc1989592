"""Optimizers: rules that turn slopes into steps, on surfaces of two numbers.

Every rule works element by element, so thousands of starts, rates and draws of noise run at once.
Each equals its namesake in `torch.optim` step by step, rounding included.
"""

import inspect
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from explainers.surfaces import SURFACES as SURFACES
from explainers.surfaces import (
    AnySurface,
    Number,
    Window,
    find_surface,
    gradient,
    inside,
)

Hyper = Number | bool | tuple[Number, Number]
Rate = float | Tensor
Quantities = Mapping[str, Tensor]

_AT_ONCE = 1 << 15
"""Points whose heights are computed together: what comes in between stays in the caches."""

# ---------------------------------------------------------------- the rules
#
# A rule takes a point, its slope, the learning rate (a number, or one for each point), the number
# of the step from 1 on, and the quantities of the step before, which are zeros before the first; it
# returns the quantities of this step, the new "point" among them. All are elementwise. Products and
# quotients are taken in torch.optim's own order: on a chaotic path another rounding soon leads
# elsewhere. A descent is hundreds of steps of a handful of numbers, where each operation costs the
# same: they are few. `explainers.races` has these rules again, ten at once.


def _sgd(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    momentum: Number = 0.0,
    dampening: Number = 0.0,
    weight_decay: Number = 0.0,
    nesterov: bool = False,
) -> dict[str, Tensor]:
    """Polyak, 1964 (momentum); Sutskever et al., 2013, section 2 (Nesterov's)."""
    g = _with_decay(slope, point, weight_decay)
    if momentum == 0:
        return {"g": g, "point": _minus(point, lr, g)}
    velocity = g if t == 1 else (momentum * past["velocity"]).add_(g, alpha=1 - dampening)
    direction = torch.add(g, velocity, alpha=momentum) if nesterov else velocity
    return {"g": g, "velocity": velocity, "point": _minus(point, lr, direction)}


def _adagrad(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    lr_decay: Number = 0.0,
    weight_decay: Number = 0.0,
    initial_accumulator_value: Number = 0.0,
    eps: Number = 1e-10,
) -> dict[str, Tensor]:
    """Duchi et al., 2011, figure 1, with diagonal matrices."""
    g = _with_decay(slope, point, weight_decay)
    sum_before = past["v"] + initial_accumulator_value if t == 1 else past["v"]
    v = torch.addcmul(sum_before, g, g)
    rate = lr / (1 + (t - 1) * lr_decay) if lr_decay else lr
    return {"g": g, "v": v, "point": _minus_quotient(point, rate, g, v.sqrt().add_(eps))}


def _adadelta(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    rho: Number = 0.9,
    eps: Number = 1e-6,
    weight_decay: Number = 0.0,
) -> dict[str, Tensor]:
    """Zeiler, 2012, algorithm 1, where `lr` is 1."""
    g = _with_decay(slope, point, weight_decay)
    v = _average_square(past["v"], g, rho)
    delta = (past["u"] + eps).sqrt_().div_((v + eps).sqrt_()).mul_(g)
    u = _average_square(past["u"], delta, rho)
    return {"g": g, "v": v, "delta": delta, "u": u, "point": _minus(point, lr, delta)}


def _rmsprop(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    alpha: Number = 0.99,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    momentum: Number = 0.0,
    centered: bool = False,
) -> dict[str, Tensor]:
    """Tieleman and Hinton, 2012, lecture 6.5; centred: Graves, 2013, equations 38 to 41."""
    g = _with_decay(slope, point, weight_decay)
    v = spread = _average_square(past["v"], g, alpha)
    now = {"g": g, "v": v}
    if centered:
        m = now["m"] = past["m"].lerp(g, 1 - alpha)
        spread = torch.addcmul(v, m, m, value=-1).clamp(min=0)  # rounding may bring it below
    size = spread.sqrt().add_(eps)
    if momentum == 0:
        return {**now, "point": _minus_quotient(point, lr, g, size)}
    velocity = (momentum * past["velocity"]).add_(g / size)
    return {**now, "velocity": velocity, "point": _minus(point, lr, velocity)}


def _adam(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    amsgrad: bool = False,
    decoupled_weight_decay: bool = False,
) -> dict[str, Tensor]:
    """Kingma and Ba, 2015, algorithm 1; Reddi et al., 2018, algorithm 2 (AMSGrad).

    Decoupled: Loshchilov and Hutter, 2019, algorithm 2 (AdamW).
    """
    beta1, beta2 = betas
    g = slope if decoupled_weight_decay else _with_decay(slope, point, weight_decay)
    m, v = past["m"].lerp(g, 1 - beta1), _average_square(past["v"], g, beta2)
    now = {"g": g, "m": m, "v": v}
    if amsgrad:
        v = now["v_max"] = torch.maximum(past["v_max"], v)
    correction1, correction2 = 1 - beta1**t, 1 - beta2**t
    if decoupled_weight_decay:
        point = point * (1 - lr * weight_decay)
    size = v.sqrt().div_(correction2**0.5).add_(eps)
    return {**now, "point": _minus_quotient(point, lr / correction1, m, size)}


def _nadam(
    point: Tensor,
    slope: Tensor,
    lr: Rate,
    t: int,
    past: Quantities,
    *,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    momentum_decay: Number = 4e-3,
    decoupled_weight_decay: bool = False,
) -> dict[str, Tensor]:
    """Dozat, 2016, with a momentum that grows towards β₁.

    As in torch the product of the momenta has torch's default dtype, whatever that of the points,
    and what follows from it is a number of Python's.
    """
    beta1, beta2 = betas
    g = slope if decoupled_weight_decay else _with_decay(slope, point, weight_decay)
    m, v = past["m"].lerp(g, 1 - beta1), _average_square(past["v"], g, beta2)
    mu, mu_next = (nadam_momentum(k, beta1, momentum_decay) for k in (t, t + 1))
    product = (_one(point) if t == 1 else past["product"]) * mu
    until_now = float(product)
    size = (v / (1 - beta2**t)).sqrt_().add_(eps)
    if decoupled_weight_decay:
        point = point * (1 - lr * weight_decay)
    point = _minus_quotient(point, lr * (1 - mu) / (1 - until_now), g, size)
    point = _minus_quotient(point, lr * mu_next / (1 - until_now * mu_next), m, size)
    return {"g": g, "m": m, "v": v, "product": product, "point": point}


def nadam_momentum(t: int, beta1: Number, momentum_decay: Number) -> float:
    """NAdam's momentum at step t, which grows from about β₁ / 2 towards β₁.

    >>> nadam_momentum(1, 0.9, 4e-3), nadam_momentum(10**6, 0.9, 4e-3)
    (0.45007347..., 0.9)
    """
    return beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))


def _with_decay(slope: Tensor, point: Tensor, weight_decay: Number) -> Tensor:
    return torch.add(slope, point, alpha=weight_decay) if weight_decay else slope


def _average_square(past: Tensor, values: Tensor, decay: Number) -> Tensor:
    """A running average of squares: decay · past + (1 − decay) · values²."""
    return (decay * past).addcmul_(values, values, value=1 - decay)


def _one(point: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.get_default_dtype(), device=point.device)


def _minus(point: Tensor, rate: Rate, direction: Tensor) -> Tensor:
    if isinstance(rate, Tensor):
        return torch.addcmul(point, rate, direction, value=-1)
    return torch.sub(point, direction, alpha=rate)


def _minus_quotient(point: Tensor, rate: Rate, above: Tensor, below: Tensor) -> Tensor:
    if isinstance(rate, Tensor):
        return torch.addcdiv(point, rate * above, below, value=-1)
    return torch.addcdiv(point, above, below, value=-rate)


# ---------------------------------------------------------------- what is only told
#
# Corrected moments follow from the other quantities; the rules do without them. `values` are those
# of every step [steps, 2].


def _adam_corrected(
    values: Quantities, *, betas: tuple[Number, Number], **_others: Hyper
) -> dict[str, Tensor]:
    beta1, beta2 = betas
    m, v = values["m"], values.get("v_max", values["v"])
    return {
        "m_hat": m / _each_step(m, lambda t: 1 - beta1**t),
        "v_hat": v / _each_step(v, lambda t: 1 - beta2**t),
    }


def _nadam_corrected(
    values: Quantities,
    *,
    betas: tuple[Number, Number],
    momentum_decay: Number,
    **_others: Hyper,
) -> dict[str, Tensor]:
    beta1, beta2 = betas
    g, m, v, now = (values[name] for name in ("g", "m", "v", "product"))
    mu = _each_step(m, lambda t: nadam_momentum(t, beta1, momentum_decay))
    mu_next = _each_step(m, lambda t: nadam_momentum(t + 1, beta1, momentum_decay))
    return {
        "m_hat": (1 - mu) / (1 - now) * g + mu_next / (1 - now * mu_next) * m,
        "v_hat": v / _each_step(v, lambda t: 1 - beta2**t),
    }


def _each_step(values: Tensor, number: Callable[[int], float]) -> Float[Tensor, "steps 1"]:
    """A number that depends on the step, for each of them from 1 on."""
    return values.new_tensor([number(t) for t in range(1, len(values) + 1)])[:, None]


@dataclass(frozen=True)
class Optimizer:
    """A rule and what sets it apart from others that share it.

    Attributes:
        rule: one of the rules above.
        own: hyper-parameters that differ from the rule's defaults.
        corrected: gives the corrected moments, for a rule that has them.
    """

    rule: Callable[..., dict[str, Tensor]]
    own: Mapping[str, Hyper]
    corrected: Callable[..., dict[str, Tensor]] = lambda *_values, **_hyper: {}

    @property
    def hyper(self) -> dict[str, Hyper]:
        """All hyper-parameters but the learning rate, as `torch.optim` names and sets them.

        >>> OPTIMIZERS["nesterov"].hyper
        {'momentum': 0.9, 'dampening': 0.0, 'weight_decay': 0.0, 'nesterov': True}
        """
        named = inspect.signature(self.rule).parameters.values()
        defaults = {p.name: p.default for p in named if p.kind is p.KEYWORD_ONLY}
        return {**defaults, **self.own}


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(_sgd, {}),
    "momentum": Optimizer(_sgd, {"momentum": 0.9}),
    "nesterov": Optimizer(_sgd, {"momentum": 0.9, "nesterov": True}),
    "adagrad": Optimizer(_adagrad, {}),
    "adadelta": Optimizer(_adadelta, {}),
    "rmsprop": Optimizer(_rmsprop, {}),
    "adam": Optimizer(_adam, {}, _adam_corrected),
    "adamw": Optimizer(
        _adam, {"weight_decay": 0.01, "decoupled_weight_decay": True}, _adam_corrected
    ),
    "nadam": Optimizer(_nadam, {}, _nadam_corrected),
    "amsgrad": Optimizer(_adam, {"amsgrad": True}, _adam_corrected),
}

# ---------------------------------------------------------------- descents


def trajectories(
    surface: AnySurface,
    optimizer: str,
    starts: Float[Tensor, "n 2"],
    steps: int,
    lr: Number | Float[Tensor, "n"],
    *,
    noise: Float[Tensor, "steps n 2"] | None = None,
    **hyper: Hyper,
) -> Float[Tensor, "points n 2"]:
    """The points that an optimizer visits from each start, the start first.

    A path that diverges ends in inf or NaN and stays there, as with `torch.optim`.

    Args:
        surface: a name in `SURFACES`, an expression in x and y, or a differentiable function of
            points `[n, 2]` that gives their heights `[n]`.
        optimizer: a name in `OPTIMIZERS`.
        starts: points (x, y), finite.
        steps: how many, at least 0; the result has one row more.
        lr: the learning rate, one for all or one for each start; not negative.
        noise: added to the slope at each step.
        hyper: hyper-parameters of the optimizer, named as in `torch.optim`.

    Raises:
        ValueError: if a name is unknown, a number out of its range, or a shape does not fit.

    >>> trajectories("quadratic", "sgd", torch.tensor([[1.0, 1.0]]), steps=2, lr=0.05)[:, 0]
    tensor([[1.0000, 1.0000],
            [0.9500, 0.5000],
            [0.9025, 0.2500]])
    """
    racer = _racer(optimizer, lr, starts, hyper)
    with torch.inference_mode():
        run = _run(surface, racer, starts, steps, noise)
        points = [starts.detach(), *(now["point"] for now in run)]
    return torch.stack(points)


@dataclass(frozen=True)
class _Racer:
    rule: Callable[..., dict[str, Tensor]]
    lr: Rate
    hyper: Mapping[str, Hyper]


def _run(
    surface: AnySurface, racer: _Racer, starts: Tensor, steps: int, noise: Tensor | None
) -> Iterator[dict[str, Tensor]]:
    """The quantities after each step."""
    check_descent(starts, steps, noise)
    function, points, zeros = find_surface(surface), starts.detach(), torch.zeros_like(starts)
    past: Quantities = defaultdict(lambda: zeros)
    for t in range(1, steps + 1):
        slopes = gradient(function, points)
        if noise is not None:
            slopes = slopes + noise[t - 1]
        now = racer.rule(points, slopes, racer.lr, t, past, **racer.hyper)
        points = now["point"]
        yield now
        past = now


def _racer(name: str, lr: Number | Tensor, starts: Tensor, hyper: Mapping[str, Hyper]) -> _Racer:
    check_name(name)
    optimizer = OPTIMIZERS[name]
    rates = torch.as_tensor(lr, dtype=starts.dtype, device=starts.device)
    if rates.ndim > 1 or (rates.ndim == 1 and len(rates) != len(starts)):
        raise ValueError(f"lr has shape {list(rates.shape)}: one rate, or one a start, is needed")
    check_rates(rates)
    _check_hyper(name, optimizer.hyper, hyper)
    rate = float(lr) if rates.numel() == 1 else rates[:, None]
    return _Racer(optimizer.rule, rate, {**optimizer.hyper, **hyper})


def _check_hyper(name: str, known: Mapping[str, Hyper], given: Mapping[str, Hyper]) -> None:
    unknown = given.keys() - known.keys()
    if unknown:
        raise ValueError(f"{name} has no {min(unknown)!r}: {', '.join(known)} are allowed")
    for key, value in given.items():
        numbers = value if isinstance(value, tuple | list) else (value,)
        below = 1 if key == "betas" else math.inf
        if len(numbers) != (2 if key == "betas" else 1) or not all(0 <= n < below for n in numbers):
            allowed = "two numbers in [0, 1)" if key == "betas" else "a finite number from 0 on"
            raise ValueError(f"{key} is {value}: {allowed} is needed")
        if key == "rho" and numbers[0] > 1:
            raise ValueError(f"rho is {value}: a number in [0, 1] is needed")
    hyper = {**known, **given}
    if hyper.get("nesterov") and (hyper["momentum"] == 0 or hyper["dampening"] != 0):
        raise ValueError(
            f"nesterov is True, momentum is {hyper['momentum']}, dampening is "
            f"{hyper['dampening']}: a momentum above 0 and no dampening are needed"
        )


def check_name(optimizer: str) -> None:
    """Refuse what is no name in `OPTIMIZERS`, with a ValueError."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}: one of {', '.join(OPTIMIZERS)} is needed")


def check_rates(lr: Float[Tensor, "*batch"]) -> None:
    """Refuse learning rates that are negative or not finite, with a ValueError."""
    wrong = lr[~((lr >= 0) & (lr < math.inf))]
    if len(wrong):
        raise ValueError(f"lr is {wrong[0].item():g}: finite rates from 0 on are needed")


def check_descent(starts: Tensor, steps: int, noise: Tensor | None) -> None:
    """Refuse what `trajectories` does not take for starts, steps and noise, with a ValueError."""
    if starts.ndim != 2 or starts.shape[1] != 2 or not starts.is_floating_point():
        raise ValueError(
            f"starts is {starts.dtype} of shape {list(starts.shape)}: floats [n, 2] are needed"
        )
    if not starts.isfinite().all():
        raise ValueError("starts has inf or NaN: finite points are needed")
    if steps < 0:
        raise ValueError(f"steps is {steps}: 0 or more are needed")
    if noise is not None and noise.shape != (steps, *starts.shape):
        raise ValueError(f"noise has shape {list(noise.shape)}: {[steps, *starts.shape]} is needed")


def heights(surface: AnySurface, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
    """The height of a surface at every point of a path, or of any other tensor of points.

    >>> heights("quadratic", torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))
    tensor([[0.5000, 5.0000]])
    """
    function, parts = find_surface(surface), torch.split(points.reshape(-1, 2), _AT_ONCE)
    with torch.no_grad():
        return torch.cat([function(part) for part in parts]).reshape(points.shape[:-1])


def left_at(paths: Float[Tensor, "*batch points n 2"], window: Window) -> Int[Tensor, "*batch n"]:
    """The step at which each path leaves a window for good; -1 if it ends inside.

    What is inf or NaN lies outside.

    >>> path = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.5, 0.0], [9.0, 0.0], [math.nan, 0.0]])
    >>> left_at(path[:, None], ((-1, 1), (-1, 1)))
    tensor([3])
    """
    return since(~inside(paths, window))


def since(true: Bool[Tensor, "*batch rows n"]) -> Int[Tensor, "*batch n"]:
    """From which row on each column is true to its end; -1 if it does not end so.

    >>> since(torch.tensor([[True, False], [False, True], [True, False]]))
    tensor([ 2, -1])
    """
    rows = true.shape[-2]
    if not rows:
        return torch.full_like(true.any(dim=-2), -1, dtype=torch.int64)
    numbers = torch.arange(1, rows + 1, dtype=torch.int32, device=true.device)
    begins = (numbers[:, None] * ~true).amax(dim=-2)  # after the last row that is false
    return begins.where(begins < rows, -1).long()


# ---------------------------------------------------------------- one descent, step by step


@dataclass(frozen=True)
class StepDetails:
    """Every quantity of every step of one descent.

    Attributes:
        optimizer, lr, hyper: the rule, its learning rate and all its hyper-parameters.
        points: the start and the point after each step.
        height: of the surface at each of them.
        names: of the quantities: `g` the slope (with weight decay), `velocity`, `m` and `v` the
            running first and second moments, `m_hat` and `v_hat` the same corrected, `v_max`
            AMSGrad's largest `v`, `delta` and `u` AdaDelta's step and its running square,
            `product` NAdam's product of momenta, `point` the new point.
        values: of them, by step and coordinate.
    """

    optimizer: str
    lr: float
    hyper: Mapping[str, Hyper]
    points: Float[Tensor, "points 2"]
    height: Float[Tensor, "points"]
    names: tuple[str, ...]
    values: Float[Tensor, "names steps 2"]

    def at(self, step: int) -> dict[str, Float[Tensor, "2"]]:
        """The quantities of one step, the first being step 1, with what was before and changed.

        Raises:
            ValueError: if there is no such step.
        """
        steps = self.values.shape[1]
        if not 1 <= step <= steps:
            raise ValueError(f"step is {step}: a step from 1 to {steps} is needed")
        before, after = self.points[step - 1], self.points[step]
        now = dict(zip(self.names, self.values[:, step - 1], strict=True))
        return {"before": before, **now, "update": after - before}


def step_details(
    surface: AnySurface,
    optimizer: str,
    start: Float[Tensor, "2"],
    steps: int,
    lr: Number,
    **hyper: Hyper,
) -> StepDetails:
    """Follow one descent and keep what each step computes on its way.

    Args:
        surface, optimizer, steps, lr, hyper: as in `trajectories`; at least one step.
        start: the point (x, y).

    Raises:
        ValueError: as `trajectories` does.

    >>> details = step_details("quadratic", "adam", torch.tensor([1.0, 1.0]), steps=3, lr=0.1)
    >>> details.at(1)["m"], details.at(1)["m_hat"]
    (tensor([0.1000, 1.0000]), tensor([ 1., 10.]))
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}: at least 1 is needed")
    starts = start[None]
    racer = _racer(optimizer, lr, starts, hyper)
    with torch.inference_mode():
        rows = list(_run(surface, racer, starts, steps, noise=None))
    stacked = {name: torch.stack([row[name] for row in rows]).to(start) for name in rows[0]}
    values = {name: rows.reshape(steps, -1).expand(-1, 2) for name, rows in stacked.items()}
    values |= OPTIMIZERS[optimizer].corrected(values, **racer.hyper)
    points = torch.cat([starts.detach(), values["point"]])
    told = tuple(values), torch.stack(list(values.values()))
    return StepDetails(optimizer, float(lr), racer.hyper, points, heights(surface, points), *told)
