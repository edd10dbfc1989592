import math

import pytest
import torch
from torch.testing import assert_close

from explainers.expressions import ExpressionError, Reason
from explainers.surfaces import (
    SURFACES,
    WINDOW,
    Quadratic,
    align,
    curvatures,
    find_surface,
    gradient,
    inside,
    lattice,
    local_minima,
    parse_expression,
    survey,
)

SQUARE = ((-2, 2), (-2, 2))


def points_in(window, count=50, dtype=torch.float64, device=None):
    corners = torch.tensor(window, dtype=torch.float64)
    drawn = torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (corners[:, 0] + drawn * (corners[:, 1] - corners[:, 0])).to(device, dtype)


def numbers(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


class TestNamed:
    @pytest.mark.parametrize("name", SURFACES)
    def test_minima_are_the_lowest_points_of_the_window(self, name):
        surface = SURFACES[name]
        minima = numbers(surface.minima)
        assert inside(minima, surface.window).all()
        assert_close(surface(minima), torch.zeros(len(minima), dtype=torch.float64))
        assert (surface(points_in(surface.window, 5000)) > 0).all()
        assert_close(gradient(name, minima), torch.zeros_like(minima), atol=1e-12, rtol=0)

    @pytest.mark.parametrize("name", SURFACES)
    def test_every_global_minimum_is_listed_and_no_other(self, name):
        surface = SURFACES[name]
        found = local_minima(name, surface.window)
        lowest = found[surface(found) < 1e-8]
        distance = (lowest[:, None] - numbers(surface.minima)).norm(dim=2)
        assert (distance.min(dim=1).values < 1e-6).all()
        assert (distance.min(dim=0).values < 1e-6).all()

    @pytest.mark.parametrize("name", SURFACES)
    def test_the_start_lies_inside_and_is_no_minimum(self, name):
        surface = SURFACES[name]
        start = numbers([surface.start])
        assert inside(start, surface.window).all()
        assert (surface(start) > 0.1).all()

    @pytest.mark.parametrize(
        ("name", "point", "height"),
        [
            ("quadratic", (2, 2), 22),
            ("rosenbrock", (-1.2, 1), 24.2),  # the customary start, Rosenbrock 1960
            ("beale", (1, 1), 14.203125),  # More, Garbow and Hillstrom 1981, problem 5
            ("himmelblau", (0, 0), 170),
            ("himmelblau", (-0.270845, -0.923039), 181.617),  # its highest point between
            ("saddle", (0, 0), 1),
            ("rastrigin", (0.5, 0), 20.25),
            ("ackley", (1, 0), 20 + math.e - 20 * math.exp(-0.2 * 0.5**0.5) - math.e),
        ],
    )
    def test_heights(self, name, point, height):
        assert_close(SURFACES[name](numbers(point)), numbers(height * 1.0), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("name", SURFACES)
    def test_any_shape_dtype_and_device(self, name, dtype, device):
        points = points_in(SURFACES[name].window, 12, dtype, device)
        flat = SURFACES[name](points)
        assert (flat.shape, flat.dtype, flat.device.type) == ((12,), dtype, device.type)
        assert_close(SURFACES[name](points.reshape(3, 4, 2)), flat.reshape(3, 4))
        assert SURFACES[name](points[0]).shape == ()
        assert SURFACES[name](points[:0]).shape == (0,)

    def test_the_ravine_is_a_turned_quadratic(self):
        """Along its axes a turned bowl has the heights of a straight one."""
        angle = math.radians(30)
        along = numbers([[math.cos(angle), math.sin(angle)]])
        across = numbers([[-math.sin(angle), math.cos(angle)]])
        assert_close(SURFACES["ravine"](along), numbers([0.5]))
        assert_close(SURFACES["ravine"](across), numbers([50.0]))

    @pytest.mark.parametrize("condition_number", [1, 7.5, 1e4])
    @pytest.mark.parametrize("degrees", [0, 45, -120])
    def test_the_condition_number_is_the_ratio_of_curvatures(self, condition_number, degrees):
        found = curvatures(Quadratic(condition_number, degrees), points_in(SQUARE, 3))
        assert_close(found, numbers([[1.0, condition_number]] * 3))

    @pytest.mark.parametrize("degrees", [0, 30, 90, -120])
    def test_the_start_turns_with_the_bowl(self, degrees):
        """It stands as high on a turned bowl, and as far out on it."""
        x, y = Quadratic(100, degrees).start
        height = Quadratic(100, degrees)(numbers([x, y]))
        assert_close(height, numbers((3.2**2 + 100 * 2.4**2) / 2))
        assert math.hypot(x, y) == pytest.approx(4)

    @pytest.mark.parametrize("condition_number", [0.5, 0, -1, math.inf, math.nan])
    def test_a_condition_number_out_of_range(self, condition_number):
        with pytest.raises(ValueError, match=r"condition_number is .*from 1 on"):
            Quadratic(condition_number)
        with pytest.raises(ValueError, match="degrees is nan"):
            Quadratic(1, math.nan)


class TestSlopes:
    @pytest.mark.parametrize("name", [*SURFACES, "x**3 - sin(x*y) / 2 + exp(-y)"])
    def test_gradient_by_finite_differences(self, name):
        function = find_surface(name)
        points = points_in(SQUARE)
        for axis, slope in enumerate(gradient(name, points).T):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = 1e-6
            difference = (function(points + shift) - function(points - shift)) / 2e-6
            assert_close(slope, difference, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", SURFACES)
    def test_gradient_in_closed_form_is_autograds(self, name, dtype):
        surface = SURFACES[name]
        points = points_in(SQUARE).to(dtype).requires_grad_()
        heights = surface.height(*points.unbind(-1))  # which knows nothing of the closed form
        wanted = torch.autograd.grad(heights.sum(), points)[0]
        tight = {"rtol": 1e-12, "atol": 1e-11} if dtype == torch.float64 else {}
        assert_close(gradient(name, points), wanted, **tight)
        assert torch.equal(
            torch.autograd.grad(surface(points).sum(), points)[0], gradient(name, points)
        )

    @pytest.mark.parametrize("name", SURFACES)
    def test_torchs_own_transforms_work(self, name):
        points = points_in(SQUARE, 5)
        slopes = torch.func.vmap(torch.func.grad(SURFACES[name]))(points)
        assert_close(slopes, gradient(name, points))

    @pytest.mark.parametrize("name", [*SURFACES, "x**3 - sin(x*y) / 2 + exp(-y)"])
    def test_curvatures_by_finite_differences(self, name):
        points = points_in(SQUARE, 20)
        columns = []
        for shift in numbers([[1e-6, 0], [0, 1e-6]]):
            change = gradient(name, points + shift) - gradient(name, points - shift)
            columns.append(change / 2e-6)
        hessian = torch.stack(columns, dim=2)
        trace, determinant = hessian.diagonal(dim1=1, dim2=2).sum(1), torch.linalg.det(hessian)
        found = curvatures(name, points)
        assert (found[:, 0] <= found[:, 1]).all()
        assert_close(found.sum(1), trace, rtol=1e-4, atol=1e-3)
        assert_close(found.prod(1), determinant, rtol=1e-3, atol=1e-1)

    def test_a_plane_is_not_curved(self):
        assert_close(curvatures("x + 2*y", points_in(SQUARE, 2)), numbers([[0.0, 0.0]] * 2))
        assert_close(gradient("x + 2*y", points_in(SQUARE, 1)), numbers([[1.0, 2.0]]))

    def test_ackleys_tip_has_slope_zero(self):
        assert_close(gradient("ackley", numbers([[0.0, 0.0]])), numbers([[0.0, 0.0]]))

    def test_points_that_want_a_gradient_get_none(self):
        points = points_in(SQUARE, 2).requires_grad_()
        assert not gradient("quadratic", points).requires_grad
        assert points.grad is None


class TestLattice:
    def test_rows_rise_and_columns_rise(self, dtype, device):
        points = lattice(((0, 3), (10, 11)), columns=4, rows=2, device=device, dtype=dtype)
        assert points[:, :, 0].tolist() == [[0, 1, 2, 3]] * 2
        assert points[:, :, 1].tolist() == [[10] * 4, [11] * 4]
        assert (points.dtype, points.device.type) == (dtype, device.type)

    @pytest.mark.parametrize(
        "window",
        [((1, 0), (0, 1)), ((0, 1), (1, 1)), ((0, math.inf), (0, 1)), ((math.nan, 1),) * 2],
    )
    def test_an_empty_window(self, window):
        with pytest.raises(ValueError, match=r"window is .*rising pairs"):
            lattice(window, 3, 3)
        with pytest.raises(ValueError, match=r"window is .*rising pairs"):
            inside(numbers([[0.0, 0.0]]), window)
        with pytest.raises(ValueError, match=r"window is .*rising pairs"):
            parse_expression("x", window)

    def test_too_few_columns(self):
        with pytest.raises(ValueError, match="at least 2"):
            lattice(SQUARE, 1, 5)


class TestLocalMinima:
    def test_rastrigins_are_near_the_whole_numbers(self):
        """x² − 10 cos 2πx falls where x + 10π sin 2πx = 0: one valley a whole number."""
        found = local_minima("rastrigin", ((-3.5, 3.5), (-2.5, 2.5)))
        assert len(found) == 7 * 5
        cells = {tuple(cell) for cell in found.round().long().tolist()}
        assert cells == {(x, y) for x in range(-3, 4) for y in range(-2, 3)}
        assert_close(found + 10 * math.pi * (2 * math.pi * found).sin(), torch.zeros_like(found))

    def test_they_come_by_rising_height(self):
        found = local_minima("rastrigin", SQUARE)
        assert (SURFACES["rastrigin"](found).diff() >= 0).all()
        assert_close(found[0], numbers([0.0, 0.0]))

    @pytest.mark.parametrize(
        ("expression", "minima"),
        [
            ("(x - 1)**2 + (y + 0.5)**2", [(1.0, -0.5)]),
            ("abs(x - 0.3) + abs(y)", [(0.3, 0.0)]),
            ("sqrt(x**2 + y**2)", [(0.0, 0.0)]),
            ("x + y", []),
            ("x**2 - y**2", []),
            ("log(x) + y**2", []),
            ("0*x", []),
            ("1/x", []),
        ],
    )
    def test_of_expressions(self, expression, minima):
        found = local_minima(expression, SQUARE)
        assert_close(found, numbers(minima).reshape(-1, 2), atol=1e-6, rtol=0)

    def test_dtype_and_device(self, dtype, device):
        found = local_minima("himmelblau", ((-5, 5), (-5, 5)), device=device, dtype=dtype)
        assert (found.shape, found.dtype, found.device.type) == ((4, 2), dtype, device.type)

    def test_too_coarse_a_lattice(self):
        with pytest.raises(ValueError, match="resolution is 3"):
            local_minima("quadratic", SQUARE, resolution=3)


class TestAlignment:
    def picture(self, height=100, width=100, device=None):
        drawn = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(0))
        return (255 * drawn).to(torch.uint8).to(device)

    def test_whole_shifts_compare_pixel_with_pixel(self):
        """A photo of 100 x 100 pixels is looked at pixel by pixel."""
        image = self.picture()
        grey = image.double().mean(dim=2)
        middle = grey[25:75, 25:75]
        largest = max(
            (grey[25 - y : 75 - y, 25 + x : 75 + x] - middle).square().mean().item()
            for x in range(-25, 26)
            for y in range(-25, 26)
        )
        for x, y in [(0, 0), (3, 0), (0, 3), (-7, 12), (25, -25), (-25, 25)]:
            moved = grey[25 - y : 75 - y, 25 + x : 75 + x]
            wanted = (moved - middle).square().mean() / largest
            assert_close(align(image)(numbers([x * 1.0, y * 1.0])), wanted, rtol=1e-4, atol=1e-6)

    def test_between_them_it_is_smooth(self):
        """Heights and slopes on both sides of a cell's border agree."""
        surface = align(self.picture())
        border = numbers([[3.0, 1.5], [-4.0, 0.25], [0.5, 2.0]])
        for shift in numbers([[1e-9, 1e-9], [1e-9, -1e-9]]):
            assert_close(surface(border + shift), surface(border - shift), rtol=0, atol=1e-6)
            assert_close(
                gradient(surface, border + shift),
                gradient(surface, border - shift),
                rtol=0,
                atol=1e-6,
            )

    def test_between_them_lies_a_cubic(self):
        """Keys's weights half-way are -1/16, 9/16, 9/16, -1/16."""
        surface = align(self.picture())
        row = surface(numbers([[x, 5.0] for x in (2.0, 3.0, 4.0, 5.0)]))
        half = surface(numbers([[3.5, 5.0]]))[0]
        assert_close(half, (row * numbers([-1, 9, 9, -1])).sum() / 16)

    def test_slope_by_finite_differences(self):
        surface, points = align(self.picture()), points_in(((-24, 24), (-24, 24)))
        for axis, slope in enumerate(gradient(surface, points).T):
            shift = torch.zeros(2, dtype=torch.float64)
            shift[axis] = 1e-6
            difference = (surface(points + shift) - surface(points - shift)) / 2e-6
            assert_close(slope, difference, rtol=1e-4, atol=1e-6)

    def test_slope_is_autograds(self, dtype):
        """Up to the window's border and beyond it."""
        surface = align(self.picture(), reach=10)
        points = (1.3 * points_in(surface.window)).to(dtype)
        points[0] = points.new_tensor([10.0, -10.0])
        points.requires_grad_()
        heights = surface.height(*points.unbind(-1))  # which knows nothing of the closed form
        wanted = torch.autograd.grad(heights.sum(), points)[0]
        assert_close(gradient(surface, points), wanted)
        assert torch.equal(
            torch.autograd.grad(surface(points).sum(), points)[0], gradient(surface, points)
        )

    def test_beyond_the_window_nothing_changes(self):
        surface = align(self.picture(), reach=10)
        beyond = numbers([[50.0, 0.0], [-99.0, 99.0]])
        assert_close(surface(beyond), surface(numbers([[10.0, 0.0], [-10.0, 10.0]])))
        slope = gradient(surface, beyond)
        assert slope[0, 0] == 0
        assert_close(slope[1], numbers([0.0, 0.0]))

    def test_points_that_are_gone(self):
        height = align(self.picture())(numbers([[math.nan, 0.0], [math.inf, 0.0]]))
        assert height.isnan().tolist() == [True, False]

    @pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (7, 33), (300, 200)])
    def test_a_photo_of_any_shape(self, size, dtype, device):
        surface = align(self.picture(*size, device=device))
        points = points_in(surface.window, 20, dtype, device)
        height = surface(points)
        assert (height.shape, height.dtype, height.device.type) == ((20,), dtype, device.type)
        assert height.isfinite().all()
        assert_close(surface(points[:1] * 0), points[:1, 0] * 0, atol=1e-6, rtol=0)
        assert inside(numbers([surface.start]), surface.window).all()

    def test_a_photo_of_one_colour_is_flat(self):
        surface = align(torch.full((10, 10, 3), 77, dtype=torch.uint8))
        assert_close(surface(points_in(surface.window)), torch.zeros(50).double())
        assert len(local_minima(surface, surface.window)) == 0

    def test_its_minima_are_found(self):
        surface = align(self.picture())
        assert_close(
            local_minima(surface, surface.window)[0], numbers([0.0, 0.0]), atol=0.01, rtol=0
        )

    def test_what_is_no_photo(self, unchecked):
        for image in (torch.zeros(3, 3, 3), torch.zeros(3, 3).byte(), torch.zeros(0, 3, 3).byte()):
            with pytest.raises(ValueError, match="image is"):
                align(image)
        for reach in (0, 26):
            with pytest.raises(ValueError, match=f"reach is {reach}"):
                align(self.picture(), reach)


class TestTyped:
    def test_its_window_and_its_start(self):
        surface = parse_expression("x", window=((0, 10), (0, 5)))
        assert (surface.window, surface.start) == (((0, 10), (0, 5)), (2, 4))
        assert surface.minima == ()

    def test_a_name_is_no_expression_and_a_function_is_itself(self):
        assert find_surface("quadratic") is SURFACES["quadratic"]
        assert find_surface(torch.sum) is torch.sum

    def test_a_text_that_is_neither(self):
        with pytest.raises(ExpressionError, match="expression has 'plane'"):
            find_surface("plane")


class TestSurvey:
    def test_of_a_named_surface(self):
        seen, surface = survey("himmelblau", 51), SURFACES["himmelblau"]
        assert (seen.window, seen.start) == (surface.window, surface.start)
        grid = lattice(surface.window, 51, 51, dtype=torch.float64)
        assert_close(seen.height, surface(grid))
        assert_close(seen.minimum_heights, torch.zeros(4).double(), atol=1e-12, rtol=0)
        assert seen.deepest.shape == (4, 2)

    def test_the_deepest_of_many(self):
        seen = survey("rastrigin")
        assert len(seen.minima) == 9 * 9
        assert_close(seen.deepest, numbers([[0.0, 0.0]]), atol=1e-6, rtol=0)

    def test_of_a_function_without_window(self):
        seen = survey(lambda points: (points - 1).square().sum(-1))
        assert (seen.window, seen.start) == (WINDOW, (-3, 3))
        assert_close(seen.deepest, numbers([[1.0, 1.0]]))
        assert seen.lowest == pytest.approx(0, abs=1e-12)

    def test_where_there_is_no_minimum_the_lattice_knows_the_lowest(self):
        seen = survey("x - y")
        assert seen.lowest == -10
        assert seen.minima.shape == seen.deepest.shape == (0, 2)

    @pytest.mark.parametrize(
        ("text", "start"),
        [
            ("x**2 + y", (-3, 3)),
            ("sqrt(x) + y", (0.1, 3)),  # at x = 0 its slope is inf
            ("log(-x - 4) + y**2", (-4.1, 3)),
            ("sqrt(x - 4.9) * sqrt(-y - 4.9)", (5, -5)),
        ],
    )
    def test_the_start_has_a_height_and_a_slope(self, text, start):
        seen = survey(text)
        assert seen.start == pytest.approx(start)
        point = torch.tensor([seen.start], dtype=torch.float64)
        assert find_surface(text)(point).isfinite()
        assert gradient(text, point).isfinite().all()

    def test_a_start_without_a_slope_is_better_than_none(self):
        assert survey("sqrt(x - 5) * y").start == pytest.approx((5, 3))

    def test_of_a_surface_with_holes(self):
        seen = survey("log(x) + y**2")
        assert seen.height[:, :50].isnan().all()
        assert seen.lowest == pytest.approx(math.log(0.1))

    def test_points_of_one_height_have_one_rank(self):
        (plain,) = survey("0*x + 3", 11).rank.unique()
        assert plain == 0
        seen = survey("sqrt(x) + y*0", 21)  # no height left of the middle
        assert seen.rank[0, 10:].tolist() == pytest.approx([k / 21 for k in range(11)])
        assert (seen.rank[:, :10] == seen.rank[0, 0]).all()
        assert seen.rank[0, 0] == pytest.approx(11 / 21)

    @pytest.mark.parametrize("text", ["sqrt(-1 - x**2)", "log(-exp(x))", "x/0 - x/0"])
    def test_of_a_surface_that_is_nowhere(self, text):
        with pytest.raises(ExpressionError) as refused:
            survey(text)
        assert (refused.value.reason, refused.value.part) == (Reason.NOWHERE, text)
