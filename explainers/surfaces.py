"""Surfaces to descend: functions of two numbers with known minima, or typed by hand.

A surface takes points `[..., 2]` and returns their heights `[...]`; autograd gives its slope. Most
know it without, and autograd takes it from there: a descent computes hundreds of slopes one after
the other, and following a height back costs three times as much.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from explainers.expressions import ExpressionError, Reason, parse

Number = int | float
Window = tuple[tuple[Number, Number], tuple[Number, Number]]
AnySurface = str | Callable[[Tensor], Tensor]
Height = Callable[[Tensor, Tensor], Tensor]
Slope = Callable[[Tensor], Tensor]
_Length = TypeVar("_Length", Tensor, Number)

WINDOW: Window = ((-5, 5), (-5, 5))
"""Of a surface that has none of its own."""

_MIDDLE = 50  # hundredths of the photo's sides
_NEWTON_STEPS = 60
_SHORTEST_STEP = 1e-12
_MOST_MINIMA = 400


@dataclass(frozen=True)
class Surface:
    """A height above every point (x, y).

    Attributes:
        height: of x and y, elementwise.
        window: the part of the plane worth seeing: (lowest x, highest x), (lowest y, highest y).
        start: a point (x, y) from which the descent is worth seeing.
        minima: the points (x, y) of least height in the window, as far as they are known.
        slope: of points `[..., 2]`, the derivatives of `height` with respect to x and y
            `[..., 2]`, if they are known.
    """

    height: Height
    window: Window
    start: tuple[Number, Number]
    minima: tuple[tuple[Number, Number], ...] = ()
    slope: Slope | None = None

    def __call__(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """The heights of points.

        >>> SURFACES["rosenbrock"](torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        tensor([  0., 101.])
        """
        if self.slope is None:
            return self.height(*points.unbind(-1))
        return _with_slope(self.height, self.slope, points)


@dataclass(frozen=True)
class Quadratic:
    """A bowl, ½ (u² + condition_number · v²), its axes u and v turned against x and y.

    Its curvatures are 1 and `condition_number`; its minimum lies at the origin.

    Attributes:
        condition_number: at least 1.
        degrees: from the x axis to the u axis, counter-clockwise.
        window, minima: as in `Surface`.
        start_on_axes: the start's (u, v): it turns with the bowl.

    Raises:
        ValueError: if `condition_number` is below 1 or a number is not finite.
    """

    condition_number: Number
    degrees: Number = 0
    window: Window = ((-4, 4), (-4, 4))
    start_on_axes: tuple[Number, Number] = (-3.2, 2.4)
    minima: tuple[tuple[Number, Number], ...] = ((0, 0),)

    def __post_init__(self) -> None:
        if not 1 <= self.condition_number < math.inf:
            raise ValueError(
                f"condition_number is {self.condition_number}: a number from 1 on is needed"
            )
        if not math.isfinite(self.degrees):
            raise ValueError(f"degrees is {self.degrees}: a finite number is needed")

    def __call__(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """The heights of points.

        >>> Quadratic(10)(torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([ 2., 20.])
        """
        return _with_slope(self.height, self.slope, points)

    @property
    def start(self) -> tuple[Number, Number]:
        """As in `Surface`.

        >>> Quadratic(10).start, [round(at, 3) for at in Quadratic(10, degrees=30).start]
        ((-3.2, 2.4), [-3.971, 0.478])
        """
        return self._turned(*self.start_on_axes, -1)

    def height(self, x: Tensor, y: Tensor) -> Tensor:
        """Of x and y, elementwise."""
        u, v = self._turned(x, y, 1)
        return (u**2 + self.condition_number * v**2) / 2

    def slope(self, points: Tensor) -> Tensor:
        """The derivatives of `height` with respect to x and y."""
        if self.degrees:
            return points @ points.new_tensor(self._hessian)
        return points * points.new_tensor([1, self.condition_number])

    @cached_property
    def _hessian(self) -> list[list[float]]:
        (a, b), (c, d) = self._turned(1, 0, 1), self._turned(0, 1, 1)
        number = self.condition_number
        mixed = a * c + number * b * d
        return [[a * a + number * b * b, mixed], [mixed, c * c + number * d * d]]

    def _turned(self, x: _Length, y: _Length, sign: int) -> tuple[_Length, _Length]:
        """From x and y to u and v; with `sign` -1 from u and v to x and y."""
        if not self.degrees:
            return x, y
        angle = sign * math.radians(self.degrees)
        cosine, sine = math.cos(angle), math.sin(angle)
        return cosine * x + sine * y, cosine * y - sine * x


class _WithSlope(torch.autograd.Function):
    """Heights of points whose slope is known."""

    generate_vmap_rule = True

    @staticmethod
    def forward(height: Height, slope: Slope, points: Tensor) -> Tensor:
        return height(*points.unbind(-1))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Height, Slope, Tensor], output: Tensor) -> None:
        _height, ctx.slope, points = inputs
        ctx.save_for_backward(points)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[None, None, Tensor]:
        return None, None, change[..., None] * ctx.slope(*ctx.saved_tensors)


def _with_slope(height: Height, slope: Slope, points: Tensor) -> Tensor:
    heights: Tensor = _WithSlope.apply(height, slope, points)  # type: ignore[no-untyped-call]
    return heights


def _rosenbrock(x: Tensor, y: Tensor) -> Tensor:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _rosenbrock_slope(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    bend = 200 * (y - x * x)
    return torch.stack((2 * (x - 1) - 2 * x * bend, bend), dim=-1)


def _beale(x: Tensor, y: Tensor) -> Tensor:
    """(1.5 - x + xy)² + (2.25 - x + xy²)² + (2.625 - x + xy³)²."""
    (a, _), (b, _), (c, _) = _beale_terms(x, y, y * y)
    return a * a + b * b + c * c


def _beale_slope(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    square = y * y
    (a, by_a), (b, by_b), (c, by_c) = _beale_terms(x, y, square)
    along_x = torch.addcmul(torch.addcmul(a * by_a, b, by_b), c, by_c)
    along_y = torch.addcmul(torch.addcmul(a, y, b, value=2), square, c, value=3)
    return 2 * torch.stack((along_x, x * along_y), dim=-1)


def _beale_terms(x: Tensor, y: Tensor, square: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What is squared, and its derivative with respect to x, for each power of y."""
    factors = y - 1, square - 1, square * y - 1
    constants = 1.5, 2.25, 2.625
    return [
        (x * factor + constant, factor) for factor, constant in zip(factors, constants, strict=True)
    ]


def _himmelblau(x: Tensor, y: Tensor) -> Tensor:
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def _himmelblau_slope(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    a, b = x * x + y - 11, x + y * y - 7
    return torch.stack((4 * x * a + 2 * b, 2 * a + 4 * y * b), dim=-1)


def _saddle(x: Tensor, y: Tensor) -> Tensor:
    return x**2 + (y**2 - 1) ** 2


def _saddle_slope(points: Tensor) -> Tensor:
    x, y = points.unbind(-1)
    return torch.stack((2 * x, 4 * y * (y * y - 1)), dim=-1)


def _rastrigin(x: Tensor, y: Tensor) -> Tensor:
    waves = torch.cos(2 * math.pi * x) + torch.cos(2 * math.pi * y)
    return 20 + x**2 + y**2 - 10 * waves


def _rastrigin_slope(points: Tensor) -> Tensor:
    return 2 * points + 20 * math.pi * torch.sin(2 * math.pi * points)


def _ackley(x: Tensor, y: Tensor) -> Tensor:
    distance = torch.complex(x, y).abs() / math.sqrt(2)
    waves = (torch.cos(2 * math.pi * x) + torch.cos(2 * math.pi * y)) / 2
    return 20 - 20 * torch.exp(-0.2 * distance) + (math.e - torch.exp(waves))


def _ackley_slope(points: Tensor) -> Tensor:
    point = torch.view_as_complex(points.contiguous())
    outwards = torch.view_as_real(point.sgn())  # 0 at the origin
    steepness = math.sqrt(8) * torch.exp(-0.2 / math.sqrt(2) * point.abs())
    turns = 2 * math.pi * points
    x, y = torch.cos(turns).tensor_split(2, -1)
    swing = math.pi * torch.exp((x + y) / 2)
    return torch.addcmul(steepness[..., None] * outwards, swing, torch.sin(turns))


_HIMMELBLAU_MINIMA = (
    (3.0, 2.0),
    (-2.805118086952745, 3.131312518250573),
    (-3.779310253377747, -3.283185991286170),
    (3.584428340330492, -1.848126526964404),
)

SURFACES: dict[str, Surface | Quadratic] = {
    "quadratic": Quadratic(10),
    "ravine": Quadratic(100, degrees=30, start_on_axes=(-1.6, 3.7)),
    "rosenbrock": Surface(
        _rosenbrock,
        ((-2.0, 2.0), (-1.0, 3.0)),
        start=(-1.2, 1.0),
        minima=((1.0, 1.0),),
        slope=_rosenbrock_slope,
    ),
    "beale": Surface(
        _beale,
        ((-1.0, 4.5), (-2.0, 2.0)),
        start=(0.6, 1.4),
        minima=((3.0, 0.5),),
        slope=_beale_slope,
    ),
    "himmelblau": Surface(
        _himmelblau,
        ((-5.0, 5.0), (-5.0, 5.0)),
        start=(0.0, -1.0),
        minima=_HIMMELBLAU_MINIMA,
        slope=_himmelblau_slope,
    ),
    "saddle": Surface(
        _saddle,
        ((-2.0, 2.0), (-2.0, 2.0)),
        start=(-1.6, 0.04),
        minima=((0.0, 1.0), (0.0, -1.0)),
        slope=_saddle_slope,
    ),
    "rastrigin": Surface(
        _rastrigin,
        ((-4.5, 4.5), (-4.5, 4.5)),
        start=(-3.4, 2.7),
        minima=((0.0, 0.0),),
        slope=_rastrigin_slope,
    ),
    "ackley": Surface(
        _ackley,
        ((-5.0, 5.0), (-5.0, 5.0)),
        start=(-3.4, 2.7),
        minima=((0.0, 0.0),),
        slope=_ackley_slope,
    ),
}
"""Surfaces by name.

`quadratic` is `Quadratic(10)`, and `ravine` is `Quadratic(100)` turned by 30°. `saddle` is
x² + (y² − 1)²: a saddle of height 1 at the origin between two minima. The others are the usual
test functions (Rosenbrock, 1960; Beale, 1958; Himmelblau, 1972; Rastrigin, 1974; Ackley, 1987);
all have least height 0.
"""


def find_surface(surface: AnySurface) -> Callable[[Tensor], Tensor]:
    """What is meant by a surface: a name, an expression in x and y, or the surface itself.

    Raises:
        ValueError: if a text is neither a name in `SURFACES` nor an expression; see
            `parse_expression`.

    >>> find_surface("x**2 + y")(torch.tensor([[2.0, 1.0]]))
    tensor([5.])
    """
    if isinstance(surface, str):
        return SURFACES[surface] if surface in SURFACES else parse_expression(surface)
    return surface


def parse_expression(text: str, window: Window = WINDOW) -> Surface:
    """The surface that an expression in x and y describes; see `explainers.expressions.parse`.

    Args:
        text: such as `"x**2 + sin(3*y)"`, at most 200 characters.
        window: of the surface; its start lies a fifth from the left and from the top.

    Raises:
        ExpressionError: a ValueError that names what is wrong.

    >>> parse_expression("(x - 1)^2 + abs(y)")(torch.tensor([[3.0, -0.5]]))
    tensor([4.5000])
    """
    _check_window(window)
    expression = parse(text)

    def slope(points: Tensor) -> Tensor:
        return torch.stack(expression.slope(*points.unbind(-1)), dim=-1)

    return Surface(expression, window, _corner(window), slope=slope)


def gradient(surface: AnySurface, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """The slope of a surface at each point, in closed form or by automatic differentiation.

    >>> gradient("quadratic", torch.tensor([[1.0, 1.0]]))
    tensor([[ 1., 10.]])
    """
    return _gradient(find_surface(surface), points.detach())


def _gradient(
    function: Callable[[Tensor], Tensor], points: Tensor, create_graph: bool = False
) -> Tensor:
    if isinstance(function, Surface | Quadratic | Alignment) and function.slope:
        return function.slope(points)
    with torch.inference_mode(False), torch.enable_grad():
        points = points.clone().requires_grad_()
        total = function(points).sum()
    slope: Tensor = torch.autograd.grad(total, points, create_graph=create_graph)[0]
    return slope


def curvatures(surface: AnySurface, points: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
    """The least and the largest curvature at each point: the eigenvalues of the Hessian.

    >>> curvatures("quadratic", torch.tensor([[0.0, 0.0]]))
    tensor([[ 1., 10.]])
    """
    hessian = _slope_and_hessian(find_surface(surface), points)[1]
    eigenvalues: Tensor = torch.linalg.eigvalsh(hessian)
    return eigenvalues


def _slope_and_hessian(
    function: Callable[[Tensor], Tensor], points: Tensor
) -> tuple[Tensor, Tensor]:
    points = points.detach().requires_grad_()
    with torch.enable_grad():
        slope = _gradient(function, points, create_graph=True)
        slope = slope + 0 * points  # or a constant slope would have no derivative
        rows = [
            torch.autograd.grad(part.sum(), points, retain_graph=True)[0]
            for part in slope.unbind(1)
        ]
    return slope.detach(), torch.stack(rows, dim=1)


def lattice(
    window: Window,
    columns: int,
    rows: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "rows columns 2"]:
    """Points that fill a window evenly, its border included, by rising y and then by rising x.

    Raises:
        ValueError: if there are fewer than two columns or rows, or the window is empty.

    >>> lattice(((0, 2), (0, 1)), columns=3, rows=2).tolist()
    [[[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]]
    """
    if columns < 2 or rows < 2:
        raise ValueError(f"columns, rows is {columns}, {rows}: at least 2 of each are needed")
    _check_window(window)
    x = torch.linspace(*window[0], columns, device=device, dtype=dtype)
    y = torch.linspace(*window[1], rows, device=device, dtype=dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def local_minima(
    surface: AnySurface,
    window: Window,
    resolution: int = 201,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "minima 2"]:
    """Every local minimum inside a window, by rising height; equal ones by rising y, then x.

    From each point of a lattice that lies below its neighbours a damped Newton's method descends;
    of ends nearer to each other than the lattice's spacing the lowest stays. Minima as near as
    that may be missed, a flat floor gives one point at most, and no more than 400 are returned.

    Args:
        surface: a name, an expression, or a function of points.
        window: where to look; a point on its border is no minimum.
        resolution: columns and rows of the lattice, at least 4.
        device, dtype: of the result.

    Source: Levenberg, 1944; Marquardt, 1963 (the damping).

    >>> local_minima("x**2 + (y**2 - 1)**2 - y", ((-2, 2), (-2, 2)))[:, 1]
    tensor([ 1.1072, -0.8376], dtype=torch.float64)
    """
    if resolution < 4:
        raise ValueError(f"resolution is {resolution}: at least 4 is needed")
    function = find_surface(surface)
    points = lattice(window, resolution, resolution, device=device, dtype=dtype)
    with torch.no_grad():
        height = function(points.reshape(-1, 2)).reshape(resolution, resolution)
    ends = _descend(function, points[1:-1, 1:-1][_below_neighbours(height)][:_MOST_MINIMA])
    ends = ends[inside(ends, window)]
    ends = ends[function(ends).round(decimals=9).argsort(stable=True)]
    spacing = points[1, 1] - points[0, 0]
    near = ((ends[:, None] - ends).abs() < spacing).all(dim=2)
    return ends[~near.tril(diagonal=-1).any(dim=1)]


def _descend(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Newton's method, damped more after each step that would lead up and less after others.

    It ends when all steps are short: at a minimum, or where damping has grown because nothing is
    lower.
    """
    damping = torch.ones_like(points[:, :1])
    height = function(points)
    for _count in range(_NEWTON_STEPS):
        slope, hessian = _slope_and_hessian(function, points)
        bent, axes = torch.linalg.eigh(hessian.nan_to_num(0.0, 0.0, 0.0))
        along = (axes.mT @ slope[:, :, None])[:, :, 0] / (bent.abs() + damping)
        step = (axes @ along[:, :, None])[:, :, 0]
        if not (step.abs() > _SHORTEST_STEP).any():
            break
        tried = points - step
        tried_height = function(tried)
        down = (tried_height < height)[:, None]
        points = tried.where(down, points)
        height = tried_height.where(down[:, 0], height)
        damping = torch.where(down, damping / 4, damping * 4)
    return points


def inside(points: Float[Tensor, "*batch 2"], window: Window) -> Bool[Tensor, "*batch"]:
    """Whether each point lies inside a window, border included; NaN lies nowhere.

    >>> inside(torch.tensor([[0.0, 1.0], [2.0, 0.0], [math.nan, 0.0]]), ((0, 1), (0, 1)))
    tensor([ True, False, False])
    """
    _check_window(window)
    (left, right), (bottom, top) = window
    x, y = points.unbind(-1)
    return (x >= left) & (x <= right) & (y >= bottom) & (y <= top)


def _below_neighbours(height: Tensor) -> Tensor:
    """Which inner points lie below their eight neighbours; of equal ones the first counts."""
    rows, columns = height.shape
    inner = height[1:-1, 1:-1]
    below = torch.ones_like(inner, dtype=torch.bool)
    for row in range(3):
        for column in range(3):
            other = height[row : rows - 2 + row, column : columns - 2 + column]
            if (row, column) < (1, 1):
                below &= inner < other
            elif (row, column) > (1, 1):
                below &= inner <= other
    return below


@dataclass(frozen=True)
class Survey:
    """What there is to know of a surface before one descends.

    Attributes:
        window, start: the surface's own, or `WINDOW` and a point a fifth from its left and top,
            where that has no height the nearest one of the lattice that has one and a slope.
        height: on a lattice over the window.
        minima: every local minimum inside, by rising height; see `local_minima`.
        minimum_heights: of them.
        lowest: the least height known, of a minimum or on the lattice.
    """

    window: Window
    start: tuple[Number, Number]
    height: Float[Tensor, "rows columns"]
    minima: Float[Tensor, "minima 2"]
    minimum_heights: Float[Tensor, "minima"]
    lowest: float

    @cached_property
    def rank(self) -> Float[Tensor, "rows columns"]:
        """The share of the lattice that lies lower than each point; no height is the highest.

        >>> survey("quadratic", resolution=5).rank[2]
        tensor([0.1200, 0.0400, 0.0000, 0.0400, 0.1200])
        """
        known = self.height.nan_to_num(math.inf).flatten()
        lower = torch.searchsorted(known.sort().values, known)
        return (lower / len(known)).reshape(self.height.shape)

    @property
    def deepest(self) -> Float[Tensor, "deepest 2"]:
        """The minima as low as the lowest, within a millionth.

        >>> survey("saddle").deepest.abs().round().tolist()
        [[0.0, 1.0], [0.0, 1.0]]
        """
        return self.minima[
            self.minimum_heights <= self.minimum_heights.new_tensor(self.lowest) + 1e-6
        ]


def survey(
    surface: AnySurface, resolution: int = 101, *, device: torch.device | str | None = None
) -> Survey:
    """Look at a surface from above.

    Args:
        surface: a name, an expression, or a function of points.
        resolution: columns and rows of the lattice, at least 4.
        device: of the result.

    Raises:
        ValueError: as `find_surface` does, or if the surface has no finite height in its window.

    >>> survey("beale").minima.round(decimals=3).tolist()
    [[3.0, 0.5]]
    """
    function = find_surface(surface)
    window: Window = getattr(function, "window", WINDOW)
    start = getattr(function, "start", _corner(window))
    points = lattice(window, resolution, resolution, device=device, dtype=torch.float64)
    with torch.no_grad():
        height = function(points.reshape(-1, 2)).reshape(resolution, resolution)
    if not height.isfinite().any():
        raise ExpressionError(Reason.NOWHERE, str(surface), "a height on the map is needed")
    start = _with_height(function, start, points, height)
    minima = local_minima(function, window, resolution, device=device)
    heights = function(minima)
    lowest = torch.cat([heights, height[height.isfinite()]]).min()
    return Survey(window, start, height, minima, heights, float(lowest))


def _corner(window: Window) -> tuple[float, float]:
    """A fifth from the left and from the top."""
    (left, right), (bottom, top) = window
    return left + (right - left) / 5, top - (top - bottom) / 5


def _with_height(
    function: Callable[[Tensor], Tensor],
    start: tuple[Number, Number],
    points: Float[Tensor, "rows columns 2"],
    height: Float[Tensor, "rows columns"],
) -> tuple[Number, Number]:
    """The start, or if it has no height the nearest point of the lattice with one and a slope."""
    if function(points.new_tensor([start])).isfinite():
        return start
    flat = points.reshape(-1, 2)
    known = height.flatten().isfinite()
    leads_on = known & _gradient(function, flat).isfinite().all(dim=1)
    distance = torch.linalg.vector_norm(flat - flat.new_tensor(start), dim=1)
    nearest = distance.where(leads_on if leads_on.any() else known, math.inf).argmin()
    x, y = flat[nearest].tolist()
    return x, y


def _check_window(window: Window) -> None:
    for low, high in window:
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"window is {window}: two finite rising pairs are needed")


# ---------------------------------------------------------------- a photo on itself


@dataclass(frozen=True)
class Alignment:
    """How much a photo differs from its own middle, moved: a surface over the two shifts.

    Attributes:
        cells: the factors of 1, t, t², t³ of a cubic in y (first) and in x (second), between whole
            shifts by rising y and rising x.
        window, start, minima: as in `Surface`.
    """

    cells: Float[Tensor, "4 4 down across"]

    def __call__(self, points: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """The difference at shifts (x, y) in hundredths of a side; constant beyond the window."""
        return _with_slope(self.height, self.slope, points)

    @property
    def window(self) -> Window:
        """As in `Surface`."""
        return (-self._reach, self._reach), (-self._reach, self._reach)

    @property
    def start(self) -> tuple[Number, Number]:
        """As in `Surface`."""
        return -0.6 * self._reach, 0.4 * self._reach

    @property
    def minima(self) -> tuple[tuple[Number, Number], ...]:
        """As in `Surface`."""
        return ((0, 0),)

    def height(self, x: Tensor, y: Tensor) -> Tensor:
        """Of x and y, elementwise."""
        cell, within, _inside = self._locate(torch.stack((x, y)))
        return _bicubic(self._heights, cell, within)[0]

    def slope(self, points: Tensor) -> Tensor:
        """The derivatives of `height` with respect to x and y."""
        cell, within, inside = self._locate(torch.stack(points.unbind(-1)))
        slopes = _bicubic(self._slopes, cell, within) * inside
        return torch.stack(slopes.unbind(), dim=-1)

    @property
    def _reach(self) -> int:
        return self.cells.shape[-1] // 2

    @cached_property
    def _heights(self) -> Float[Tensor, "16 cells"]:
        """The factors by power of x, then of y, for each cell."""
        return self.cells.transpose(0, 1).reshape(16, -1)

    @cached_property
    def _slopes(self) -> Float[Tensor, "32 cells"]:
        """The factors of both derivatives by power of x, axis, and power of y, for each cell."""
        power = torch.arange(4, device=self.cells.device, dtype=self.cells.dtype)
        along_x = (self.cells * power[:, None, None]).roll(-1, dims=1)
        along_y = (self.cells * power[:, None, None, None]).roll(-1, dims=0)
        return torch.stack((along_x, along_y)).permute(2, 0, 1, 3, 4).reshape(32, -1)

    def _locate(
        self, points: Float[Tensor, "2 *batch"]
    ) -> tuple[Int[Tensor, "*batch"], Float[Tensor, "2 *batch"], Bool[Tensor, "2 *batch"]]:
        """The cells that points lie in, where in them, and which of x and y the window holds."""
        held = points.clamp(-self._reach, self._reach)
        shifts = held + self._reach
        whole = shifts.nan_to_num().floor().clamp(max=2 * self._reach - 1)
        column, row = whole
        return (row * (2 * self._reach) + column).long(), shifts - whole, points == held


def _bicubic(
    table: Float[Tensor, "factors cells"],
    cell: Int[Tensor, "*batch"],
    within: Float[Tensor, "2 *batch"],
) -> Float[Tensor, "polynomials *batch"]:
    """The polynomials of some cells, at a place in each of them."""
    x, y = within
    factors = table.index_select(1, cell.flatten()).to(within)
    factors = factors.reshape(4, len(table) // 16, 4, *cell.shape)
    return _cubic(_cubic(factors, x).transpose(0, 1), y)


def _cubic(factors: Float[Tensor, "4 ..."], t: Tensor) -> Tensor:
    constant, linear, square, cube = factors
    return torch.addcmul(constant, t, torch.addcmul(linear, t, torch.addcmul(square, t, cube)))


def _cubic_cells(table: Float[Tensor, "n n"]) -> Float[Tensor, "4 4 m m"]:
    """Cubic convolution as a polynomial in each cell: without jumps in height or slope.

    Source: Keys, 1981, equation 15, of which the matrix holds the four samples' parts by power.
    """
    samples = table.new_tensor([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2
    wide = functional.pad(table[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    near = wide.unfold(0, 4, 1).unfold(1, 4, 1)
    return (samples @ near @ samples.mT).permute(2, 3, 0, 1).contiguous()


def align(image: UInt8[Tensor, "height width 3"], reach: int = 25) -> Alignment:
    """The surface on which a photo is aligned with itself.

    The middle half of the photo is laid over the photo, moved by x hundredths of the width to the
    right and y hundredths of the height up. The height of the surface is the mean squared
    difference of brightness, in units of the largest; it is 0 where nothing is moved. A photo of
    one colour gives a plane of height 0.

    Args:
        image: at least one pixel; it is looked at in 100 x 100 cells.
        reach: the largest shift, from 1 to 25 hundredths.

    Raises:
        ValueError: if `image` is no photo or `reach` is out of its range.

    Source: Lucas and Kanade, 1981, section 2 (the measures of match).

    >>> align(torch.zeros(4, 4, 3, dtype=torch.uint8))(torch.tensor([[0.0, 0.0], [7.5, -2.0]]))
    tensor([0., 0.])
    """
    if image.dtype != torch.uint8 or image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image is {image.dtype} of shape {list(image.shape)}: "
            "uint8 [height, width, 3] with at least one pixel is needed"
        )
    if not 1 <= reach <= _MIDDLE // 2:
        raise ValueError(f"reach is {reach}: a shift from 1 to {_MIDDLE // 2} is needed")
    grey = image.float().mean(dim=2) / 255
    cells = functional.interpolate(grey[None, None], (2 * _MIDDLE, 2 * _MIDDLE), mode="area")[0, 0]
    middle = cells[_MIDDLE // 2 : -_MIDDLE // 2, _MIDDLE // 2 : -_MIDDLE // 2]
    around = slice(_MIDDLE // 2 - reach, _MIDDLE // 2 + reach + 1)
    moved = cells.unfold(0, _MIDDLE, 1).unfold(1, _MIDDLE, 1)[around, around]
    table = (moved - middle).square().mean(dim=(2, 3)).flip(0)  # rows by rising y
    table = table / table.max().clamp(min=torch.finfo(table.dtype).tiny)
    return Alignment(_cubic_cells(table))
