"""Many descents at once: learning rates swept, basins mapped, noise averaged.

Rates, starts and draws are rows of one batch; the rules of `explainers.optimizers` move them all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from explainers.optimizers import heights, since, trajectories
from explainers.races import race
from explainers.surfaces import (
    WINDOW,
    AnySurface,
    Number,
    Window,
    find_surface,
    inside,
    lattice,
)

_ARRIVED = 1e-6
_EQUAL = 1e-6  # rounding, where paths end in a minimum that is not the lowest

# ---------------------------------------------------------------- learning rates


@dataclass(frozen=True)
class RateSweep:
    """How descents go with each of many learning rates.

    Attributes:
        rates: the learning rates.
        height: at the end of the descent, the mean over the starts; inf where one is not finite.
        remaining: the common logarithm of the share that remains of the way down from a start to
            the lowest height that is known, the mean over the starts. Taken as
            the mean over the second half of the steps, it tells a descent that has come down from
            one that jumps about and happens to be low at its last step. Less than a millionth
            counts as a millionth. A start whose path leaves the surface's window, or ends at no
            finite height, has its whole way before it.
        arrived: the step from which on a descent stays as high as it ends, to a millionth of its
            way down, the mean over the starts; one more than there are steps for a start that
            ends higher than it began or outside the window.
        best_rate: for each optimizer the rate with the least remaining; of equal ones the one that
            arrived first.
        ends_lowest: for each optimizer the rate with the least height, chosen alike.
    """

    rates: Float[Tensor, "rates"]
    height: Float[Tensor, "optimizers rates"]
    remaining: Float[Tensor, "optimizers rates"]
    arrived: Float[Tensor, "optimizers rates"]

    @property
    def best_rate(self) -> Float[Tensor, "optimizers"]:
        """See above.

        >>> rates, start = torch.tensor([0.05, 0.15]), torch.tensor([[1.0, 1.0]])
        >>> sweep = sweep_rates("quadratic", ["sgd"], start, 900, rates)
        >>> sweep.remaining, sweep.arrived, sweep.best_rate
        (tensor([[-6., -6.]]), tensor([[112.,  36.]]), tensor([0.1500]))
        """
        return self._soonest_of_least(self.remaining, _EQUAL)

    @property
    def ends_lowest(self) -> Float[Tensor, "optimizers"]:
        """See above.

        >>> start = torch.tensor([[1.0, 1.0]])
        >>> sweep_rates("quadratic", ["sgd"], start, 50, rate_grid(0.01, 1, 9)).ends_lowest
        tensor([0.1778], dtype=torch.float64)
        """
        return self._soonest_of_least(self.height, 0.0)

    def _soonest_of_least(self, values: Tensor, tolerance: float) -> Tensor:
        equal = values <= values.min(dim=1, keepdim=True).values + tolerance
        return self.rates[self.arrived.where(equal, math.inf).argmin(dim=1)]


def rate_grid(
    lowest: Number,
    highest: Number,
    count: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "count"]:
    """Learning rates from the lowest to the highest, each larger by the same factor.

    Raises:
        ValueError: if `lowest` is not positive or not below `highest`, or `count` is below 2.

    >>> rate_grid(0.01, 1, 5)
    tensor([0.0100, 0.0316, 0.1000, 0.3162, 1.0000], dtype=torch.float64)
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(
            f"lowest, highest is {lowest}, {highest}: positive rising numbers are needed"
        )
    if count < 2:
        raise ValueError(f"count is {count}: at least 2 are needed")
    ends = math.log10(lowest), math.log10(highest)
    return torch.logspace(*ends, count, device=device, dtype=dtype)


def sweep_rates(
    surface: AnySurface,
    optimizers: Sequence[str],
    starts: Float[Tensor, "n 2"],
    steps: int,
    rates: Float[Tensor, "rates"],
    lowest: Number | None = None,
) -> RateSweep:
    """Descend with every rate from every start, all at once, for each optimizer.

    Args:
        surface, starts, steps: as in `trajectories`; at least one start.
        optimizers: names in `OPTIMIZERS`.
        rates: finite, from 0 on, at least one.
        lowest: the lowest height known; what the descents see, if it is not given or they see
            less.

    Raises:
        ValueError: as `trajectories` does.

    >>> rates = torch.tensor([0.01, 0.1, 0.3])
    >>> sweep = sweep_rates("quadratic", ["sgd"], torch.tensor([[1.0, 1.0]]), 50, rates)
    >>> sweep.best_rate, sweep.remaining[:, -1]
    (tensor([0.1000]), tensor([0.]))
    """
    if len(starts) == 0 or rates.ndim != 1 or len(rates) == 0:
        raise ValueError(
            f"starts has {len(starts)} rows, rates has shape {list(rates.shape)}: "
            "at least one start and one rate are needed"
        )
    parts = _each_descent(surface, optimizers, starts, steps, rates, lowest)
    return RateSweep(rates, *(part.mean(dim=2) for part in parts))


def _each_descent(
    surface: AnySurface,
    optimizers: Sequence[str],
    starts: Tensor,
    steps: int,
    rates: Tensor,
    lowest: Number | None,
) -> tuple[Float[Tensor, "optimizers rates starts"], ...]:
    """What `RateSweep` averages over the starts: height, remaining and arrived."""
    function = find_surface(surface)
    each_start = starts.repeat(len(rates), 1)
    each_rate = rates.repeat_interleave(len(starts)).expand(len(optimizers), -1)
    paths = race(function, optimizers, each_start, steps, each_rate)
    # One optimizer after the other: for so much memory at once the system would be asked each time.
    height = [heights(function, path).nan_to_num(math.inf, math.inf, math.inf) for path in paths]
    known = torch.stack([seen.min() for seen in height]).min()
    known = known if lowest is None else known.clamp(max=lowest)
    window: Window | None = getattr(function, "window", None)
    parts = [_way_down(*one, known, window) for one in zip(paths, height, strict=True)]
    shape = (len(optimizers), len(rates), len(starts))
    return tuple(torch.stack(part).reshape(shape) for part in zip(*parts, strict=True))


def _way_down(
    paths: Float[Tensor, "points n 2"],
    height: Float[Tensor, "points n"],
    known: Float[Tensor, ""],
    window: Window | None,
) -> tuple[Float[Tensor, "n"], ...]:
    """The height at the end of each path, what remains of its way down and when it arrived."""
    steps = len(paths) - 1
    began, last, late = height[0], height[-1], height[(steps + 1) // 2 :].mean(dim=0)
    kept = inside(paths, window) if window else paths.isfinite().all(dim=-1)
    stays = last.isfinite() & kept.all(dim=0)
    way = (began - known).clamp(min=torch.finfo(late.dtype).tiny)
    share = ((late - known) / way).where(stays, 1.0).nan_to_num(1.0).clamp(min=_ARRIVED)
    near = (height - last).abs() <= _ARRIVED * (began - last)
    arrived = since(near & kept[-1])
    return last, share.log10(), arrived.where(arrived >= 0, steps + 1).to(last)


def fair_rates(
    surface: AnySurface,
    optimizers: Sequence[str],
    steps: int,
    lowest: Number | None = None,
    *,
    device: torch.device | str | None = None,
) -> Float[Tensor, "optimizers"]:
    """The rate that serves each optimizer best, found by the same sweep for all of them.

    The sweep tries 43 rates from 10⁻⁴ to 10³ from 16 starts, drawn once for all in the middle of
    the surface's window, three fifths of each side. The best has least of the way down before it
    in the second half of the steps, by the mean of the logarithm over the starts; what leaves the
    map has gained nothing. Of equal ones that is best which arrives first from 4 by 4 starts all
    over the window, its corners included: so none is taken that does well in the middle alone. See
    `RateSweep`.

    Args:
        surface, steps: as in `trajectories`.
        optimizers: names in `OPTIMIZERS`.
        lowest: the lowest height known, such as `survey` finds; then the company makes no
            difference.
        device: where to compute.

    Raises:
        ValueError: as `sweep_rates` does.

    >>> fair_rates("quadratic", ["sgd", "momentum", "adam"], 200)
    tensor([0.1468, 0.0032, 0.2154], dtype=torch.float64)
    """
    window = getattr(find_surface(surface), "window", WINDOW)
    low, high = torch.tensor(window, dtype=torch.float64, device=device).unbind(1)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(16, 2, generator=generator, device=generator.device)
    starts = low + (0.2 + 0.6 * drawn.to(low)) * (high - low)
    rates = rate_grid(1e-4, 1e3, 43, device=device)
    everywhere = lattice(window, 4, 4, device=device, dtype=low.dtype).reshape(-1, 2)
    both = torch.cat([starts, everywhere])
    height, remaining, arrived = _each_descent(surface, optimizers, both, steps, rates, lowest)
    middle, whole = slice(None, len(starts)), slice(len(starts), None)
    parts = height[..., middle], remaining[..., middle], arrived[..., whole]
    return RateSweep(rates, *(part.mean(dim=2) for part in parts)).best_rate


def largest_stable_rate(curvature: Number, momentum: Number = 0.0, nesterov: bool = False) -> float:
    """The learning rate beyond which gradient descent diverges along an axis of a bowl.

    Without momentum a step multiplies the distance by 1 − lr · curvature, whose size stays below 1
    up to 2 / curvature. With momentum μ the edge is 2 (1 + μ) / curvature, and Nesterov's is that
    divided by 1 + 2μ.

    Args:
        curvature: the largest one of the bowl, positive.
        momentum: in [0, 1).

    Raises:
        ValueError: if a number is out of its range.

    Source: Polyak, 1964; the roots of z² − (1 + μ − lr·λ) z + μ, and for Nesterov's rule of
    z² − (1 + μ)(1 − lr·λ) z + μ (1 − lr·λ), lie inside the unit circle.

    >>> largest_stable_rate(10), largest_stable_rate(10, momentum=0.9)
    (0.2, 0.38)
    """
    if not 0 < curvature < math.inf:
        raise ValueError(f"curvature is {curvature}: a positive number is needed")
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}: a number in [0, 1) is needed")
    edge = 2 * (1 + momentum) / curvature
    return edge / (1 + 2 * momentum) if nesterov else edge


# ---------------------------------------------------------------- where every start ends


@dataclass(frozen=True)
class Basins:
    """Where descents from many starts end.

    Attributes:
        minimum: index of the minimum that each start reaches; -1 if it reaches none.
        settled: the step from which on it stays there; -1 if it reaches none.
        left: whether it ends outside the window.
        height: of the surface at the end.
    """

    minimum: Int[Tensor, "n"]
    settled: Int[Tensor, "n"]
    left: Bool[Tensor, "n"]
    height: Float[Tensor, "n"]


def basins(
    surface: AnySurface,
    optimizer: str,
    starts: Float[Tensor, "n 2"],
    steps: int,
    lr: Number,
    minima: Float[Tensor, "minima 2"],
    window: Window,
    tolerance: Number = 0.1,
) -> Basins:
    """Which minimum each start reaches, and after how many steps.

    A start reaches the minimum nearest to where it ends if that is no farther than `tolerance`.

    Args:
        surface, optimizer, starts, steps, lr: as in `trajectories`.
        minima: points (x, y), such as `local_minima` finds; there may be none.
        window: the map.
        tolerance: a distance, positive.

    Raises:
        ValueError: as `trajectories` does, or if `tolerance` is not positive.

    >>> starts, minima = torch.tensor([[1.0, 0.4], [1.0, -0.4]]), torch.tensor([[0.0, 1], [0, -1]])
    >>> basins("saddle", "sgd", starts, 50, 0.1, minima, window=((-2, 2), (-2, 2)))
    Basins(minimum=tensor([0, 1]), settled=tensor([11, 11]), left=tensor([False, False]), \
height=tensor([...]))
    """
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance is {tolerance}: a positive number is needed")
    paths = trajectories(surface, optimizer, starts, steps, lr)
    end = paths[-1]
    nobody = torch.full_like(end[:, 0], -1, dtype=torch.int64)
    minimum, settled = nobody, nobody
    if len(minima) and len(starts):
        minima = minima.to(starts)
        exactly = "donot_use_mm_for_euclid_dist"
        distance = torch.cdist(end, minima, compute_mode=exactly).nan_to_num(math.inf)
        nearest = distance.argmin(dim=1)
        goals = minima[nearest]
        settled = since(torch.stack([_near(points, goals, tolerance) for points in paths]))
        minimum = nearest.where(settled >= 0, -1)
    return Basins(minimum, settled, ~inside(end, window), heights(surface, end))


def _near(points: Tensor, others: Tensor, distance: Number) -> Bool[Tensor, "n"]:
    x, y = (points - others).square().unbind(1)
    return x + y <= distance**2


@dataclass(frozen=True)
class BasinCounts:
    """How descents from many starts end.

    Attributes:
        starts: how many there are.
        reached: how many reach a minimum.
        lowest: how many reach a minimum as low as the lowest, within a millionth.
        left: how many end outside the map.
        median_steps: the median number of steps until those that reach a minimum have settled;
            NaN if none does.
    """

    starts: int
    reached: int
    lowest: int
    left: int
    median_steps: float


def count_basins(
    found: Basins, minimum_heights: Float[Tensor, "minima"], lowest: Number | None = None
) -> BasinCounts:
    """Count what `basins` finds.

    Args:
        minimum_heights: of the minima that `basins` was given.
        lowest: the lowest height known, such as `survey` finds: on the border of the map a surface
            may lie lower than in all its minima. By default that of the lowest minimum.

    >>> starts, minima = torch.tensor([[1.0, 0.4], [1.0, 0.0]]), torch.tensor([[0.0, 1], [0, -1]])
    >>> found = basins("saddle", "sgd", starts, 50, 0.1, minima, window=((-2, 2), (-2, 2)))
    >>> count_basins(found, heights("saddle", minima))
    BasinCounts(starts=2, reached=1, lowest=1, left=0, median_steps=11.0)
    """
    reached = found.minimum >= 0
    low = torch.zeros_like(reached)
    if len(minimum_heights):
        least = minimum_heights.min() if lowest is None else lowest
        low = minimum_heights <= least + 1e-6
        low = reached & low[found.minimum]
    median = found.settled[reached].double().quantile(0.5) if reached.any() else math.nan
    return BasinCounts(
        starts=len(reached),
        reached=int(reached.sum()),
        lowest=int(low.sum()),
        left=int(found.left.sum()),
        median_steps=float(median),
    )


# ---------------------------------------------------------------- noise


@dataclass(frozen=True)
class NoisyDescents:
    """Heights along descents with noisy slopes, over many draws.

    Attributes:
        mean: over the draws, by level of noise, optimizer and step; inf where one is not finite.
        low, high: a tenth of the draws lies below, a tenth above.
        ends: the last points.
    """

    mean: Float[Tensor, "levels optimizers points"]
    low: Float[Tensor, "levels optimizers points"]
    high: Float[Tensor, "levels optimizers points"]
    ends: Float[Tensor, "levels optimizers draws 2"]


def noisy_descents(
    surface: AnySurface,
    optimizers: Sequence[str],
    start: Float[Tensor, "2"],
    steps: int,
    rates: Float[Tensor, "optimizers"],
    levels: Float[Tensor, "levels"],
    draws: int,
    generator: torch.Generator,
) -> NoisyDescents:
    """Descend many times with normal noise on the slope, at every level of noise at once.

    All levels and optimizers meet the same draws, which are only scaled.

    Args:
        surface, steps: as in `trajectories`.
        optimizers, rates: names in `OPTIMIZERS`, and the learning rate of each.
        start: the point (x, y).
        levels: standard deviations of the noise on each coordinate of the slope, from 0 on.
        draws: how many, at least 1.
        generator: on any device.

    Raises:
        ValueError: as `trajectories` does, or if a level or `draws` is out of its range.

    >>> noisy = noisy_descents(
    ...     "quadratic", ["sgd"], torch.tensor([1.0, 1.0]), 100, torch.tensor([0.1]),
    ...     torch.tensor([0.0, 1.0]), draws=50, generator=torch.Generator().manual_seed(0),
    ... )
    >>> noisy.mean[:, 0, -1]
    tensor([3.5275e-10, 8.1400e-02])
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}: at least 1 is needed")
    if levels.ndim != 1 or not ((levels >= 0) & (levels < math.inf)).all():
        raise ValueError("levels has another number: finite ones from 0 on are needed")
    shape = (steps, draws, 2)
    normal = torch.randn(shape, generator=generator, device=generator.device, dtype=start.dtype)
    noise = (levels[:, None, None] * normal.to(start)[:, None]).flatten(1, 2)
    starts = start.expand(len(levels) * draws, 2)
    each_rate = rates[:, None].expand(-1, len(starts))
    paths = race(surface, optimizers, starts, steps, each_rate, noise)
    height = heights(surface, paths).reshape(len(optimizers), steps + 1, len(levels), draws)
    height = height.permute(2, 0, 1, 3)
    height = height.where(height.isfinite(), math.inf)
    ordered = height.sort(dim=-1).values
    tenth = (draws - 1) // 10
    # Copies: who keeps them must not keep every step of every draw.
    low, high = ordered[..., tenth].clone(), ordered[..., draws - 1 - tenth].clone()
    ends = paths[:, -1].reshape(len(optimizers), len(levels), draws, 2).transpose(0, 1).clone()
    return NoisyDescents(height.mean(dim=-1), low, high, ends)


def noise_floor(
    curvatures: Float[Tensor, "axes"], lr: Number, noise: Float[Tensor, "levels"]
) -> Float[Tensor, "levels"]:
    """How far above a bowl's minimum gradient descent with noisy slopes stays, on average.

    Along an axis of curvature λ the variance of the distance settles where a step adds as much as
    it takes away, at lr · noise² / (λ (2 − lr · λ)); half of λ times that is the height.

    Args:
        curvatures: of the bowl, positive.
        lr: the learning rate, not negative.
        noise: standard deviations on each coordinate of the slope, from 0 on.

    Returns:
        For each level the height, summed over the axes; inf from lr = 2 / λ on.

    Raises:
        ValueError: if a number is out of its range.

    Source: the fixed point of the variance under x ← (1 − lr · λ) x − lr · noise.

    >>> noise_floor(torch.tensor([1.0, 10.0]), lr=0.1, noise=torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.0763])
    """
    _check_bowl(curvatures, lr, noise)
    left = 2 - lr * curvatures
    heights = torch.where(left > 0, lr * noise[:, None] ** 2 / (2 * left), math.inf)
    return heights.sum(dim=1)


def expected_heights(
    distances: Float[Tensor, "axes"],
    curvatures: Float[Tensor, "axes"],
    lr: Number,
    noise: Float[Tensor, "levels"],
    steps: int,
) -> Float[Tensor, "levels points"]:
    """The mean height of gradient descent with noisy slopes on a bowl, at each step.

    Along an axis of curvature λ a step multiplies the mean square of the distance by
    (1 − lr · λ)² and adds (lr · noise)²; half of λ times it is the height. With the steps it goes
    to `noise_floor`.

    Args:
        distances: of the start from the minimum, along each axis.
        curvatures, lr, noise: as in `noise_floor`.
        steps: how many, at least 0; the result has one more point.

    Raises:
        ValueError: if a number is out of its range.

    Source: the mean and the variance under x ← (1 − lr · λ) x − lr · noise.

    >>> at, curved, noise = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 10.0]), torch.tensor([1.0])
    >>> expected_heights(at, curved, lr=0.1, noise=noise, steps=2)
    tensor([[5.5000, 0.4600, 0.3871]])
    """
    _check_bowl(curvatures, lr, noise)
    if steps < 0:
        raise ValueError(f"steps is {steps}: at least 0 are needed")
    shrink, gain = (1 - lr * curvatures) ** 2, (lr * noise[:, None]) ** 2
    square = distances.square().expand(len(noise), -1)
    heights = [square @ curvatures / 2]
    for _step in range(steps):
        square = shrink * square + gain
        heights.append(square @ curvatures / 2)
    return torch.stack(heights, dim=1)


def _check_bowl(curvatures: Tensor, lr: Number, noise: Tensor) -> None:
    if not (curvatures > 0).all():
        raise ValueError("curvatures has another number: positive ones are needed")
    if not 0 <= lr < math.inf:
        raise ValueError(f"lr is {lr}: a finite number from 0 on is needed")
    if not ((noise >= 0) & (noise < math.inf)).all():
        raise ValueError("noise has another number: finite ones from 0 on are needed")
