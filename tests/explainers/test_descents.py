import math

import pytest
import torch
from torch.testing import assert_close

from explainers.descents import (
    Basins,
    basins,
    count_basins,
    expected_heights,
    fair_rates,
    largest_stable_rate,
    noise_floor,
    noisy_descents,
    rate_grid,
    sweep_rates,
)
from explainers.optimizers import OPTIMIZERS, SURFACES, heights, left_at, trajectories
from explainers.surfaces import (
    WINDOW,
    Quadratic,
    align,
    find_surface,
    lattice,
    local_minima,
    survey,
)

ALL = list(OPTIMIZERS)
SQUARE = ((-2, 2), (-2, 2))


def numbers(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestRates:
    RATES = torch.logspace(-4, 1, 26, dtype=torch.float64)
    STARTS = numbers([[1.0, 1.5], [-1.0, 0.5]])

    def test_each_rate_equals_its_own_descent(self):
        sweep = sweep_rates("himmelblau", ALL, self.STARTS, 40, self.RATES)
        assert sweep.height.shape == sweep.remaining.shape == (10, 26)
        paths = [
            trajectories("himmelblau", optimizer, self.STARTS, 40, rate)
            for optimizer in ALL
            for rate in self.RATES.tolist()
        ]
        height = heights("himmelblau", torch.stack(paths)).unflatten(0, (10, 26))
        last = height[:, :, -1].mean(dim=2)
        assert_close(sweep.height, last.where(last.isfinite(), math.inf), rtol=1e-6, atol=1e-9)
        lowest = height.nan_to_num(math.inf).min()
        stays = torch.stack([(path.abs() <= 5).all(dim=2).all(dim=0) for path in paths])
        share = (height[:, :, 20:].mean(dim=2) - lowest) / (height[:, :, 0] - lowest)
        share = share.where(stays.reshape(10, 26, 2), 1.0).clamp(min=1e-6)
        assert_close(sweep.remaining, share.log10().mean(dim=2), rtol=1e-6, atol=1e-9)

    def test_the_best_rate_has_least_before_it(self):
        sweep = sweep_rates("rosenbrock", ALL, self.STARTS, 61, self.RATES)
        for remaining, best in zip(sweep.remaining.tolist(), sweep.best_rate.tolist(), strict=True):
            assert best == min(zip(remaining, self.RATES.tolist(), strict=True))[1]

    def test_of_equals_the_one_that_arrives_first_is_best(self):
        rates = numbers([0.03, 0.17, 0.1])
        sweep = sweep_rates("quadratic", ["sgd"], self.STARTS, 900, rates)
        assert sweep.remaining.tolist() == [[-6.0, -6.0, -6.0]]
        for rate, arrived in zip(rates.tolist(), sweep.arrived[0].tolist(), strict=True):
            height = heights("quadratic", trajectories("quadratic", "sgd", self.STARTS, 900, rate))
            assert arrived == (height > 1e-6 * height[0]).sum(dim=0).double().mean()
        assert sweep.best_rate.tolist() == [0.17]

    def test_what_is_on_its_way_arrives_last_and_what_leaves_never(self):
        sweep = sweep_rates("quadratic", ["sgd"], self.STARTS, 20, numbers([1e-3, 9.0]))
        assert sweep.arrived.tolist() == [[20.0, 21.0]]

    def test_what_starts_at_the_lowest_point_is_there(self):
        sweep = sweep_rates("quadratic", ["sgd"], numbers([[0.0, 0.0]]), 5, numbers([0.1]))
        assert sweep.arrived.tolist() == [[0.0]]

    def test_where_minima_are_not_the_lowest_rounding_decides_nothing(self):
        """Both rates end at the same place to the last bits; the second is there sooner."""
        start = numbers([[1.2, 1.3], [-0.1, 0.02]])
        sweep = sweep_rates("rastrigin", ["sgd"], start, 200, numbers([7e-4, 2.4e-3]), lowest=0.0)
        assert sweep.best_rate.item() == 2.4e-3

    @pytest.mark.parametrize("condition_number", [1, 3, 10, 32, 100, 1000])
    @pytest.mark.parametrize("degrees", [0, 30])
    def test_gradient_descent_ends_lowest_where_theory_says(self, condition_number, degrees):
        """½ Σ λ (1 − η λ)^2t x², least near 2 / (λmin + λmax)."""
        bowl, grid = Quadratic(condition_number, degrees), rate_grid(1e-4, 1e3, 211)
        sweep = sweep_rates(bowl, ["sgd"], numbers([bowl.start]), 200, grid)
        x, y = bowl.start_on_axes
        known = x**2 * (1 - grid) ** 400
        known += condition_number * y**2 * (1 - grid * condition_number) ** 400
        found = sweep.ends_lowest.item()
        assert known[grid == found] == known.min()
        assert 1.08**-2 < found * (1 + condition_number) / 2 < 1.08**2

    def test_each_ends_lowest_where_its_curve_is_lowest(self):
        sweep = sweep_rates("beale", ALL, self.STARTS, 61, self.RATES)
        for height, found in zip(sweep.height.tolist(), sweep.ends_lowest.tolist(), strict=True):
            assert found == min(zip(height, self.RATES.tolist(), strict=True))[1]

    def test_only_those_that_scale_x_and_y_mind_where_the_axes_of_a_bowl_point(self):
        straight, turned = (
            sweep_rates(bowl, ALL, numbers([bowl.start]), 200, rate_grid(1e-4, 1e3, 211)).height
            for bowl in (Quadratic(1000), Quadratic(1000, 30))
        )
        for optimizer, before, after in zip(ALL, straight, turned, strict=True):
            even = optimizer in ("sgd", "momentum", "nesterov")
            assert torch.allclose(before, after, rtol=1e-9, atol=0) == even, optimizer
        lowest = {name: turned[ALL.index(name)].min().item() for name in ALL}
        assert lowest["adagrad"] == pytest.approx(1.7, abs=0.05)
        assert lowest["rmsprop"] == pytest.approx(1.2, abs=0.05)
        assert lowest["adam"] == pytest.approx(0.04, abs=0.005)
        losers = [ALL.index(name) for name in ("adagrad", "rmsprop", "adam")]
        assert (straight[losers].min(dim=1).values < 1e-8).all()

    def test_luck_at_the_last_step_does_not_win(self):
        """With rate 2 a point swings from side to side for ever; one of 0.1 comes down."""
        function, start = lambda p: (p[:, 0] - 1).abs(), numbers([[0.0, 0.0]])
        sweep = sweep_rates(function, ["sgd"], start, 10, numbers([2.0, 0.099]))
        assert sweep.best_rate.tolist() == [0.099]

    def test_a_fall_without_end_is_not_the_best(self):
        """x² − y² has no minimum: of those that stay on the map the lowest wins."""
        start = numbers([[1.0, 0.1]])
        best = sweep_rates("x**2 - y**2", ["sgd"], start, 100, self.RATES).best_rate.item()
        assert (trajectories("x**2 - y**2", "sgd", start, 100, best)[-1].abs() <= 5).all()

    def test_what_leaves_has_gained_nothing(self):
        sweep = sweep_rates("x", ["sgd"], numbers([[-4.0, 0.0]]), 5, numbers([1.0, 2.0]))
        assert sweep.height.tolist() == [[-9.0, -14.0]]
        assert sweep.remaining.tolist() == [[0.0, 0.0]]
        assert sweep.best_rate.tolist() == [1.0]

    def test_what_comes_back_has_left(self):
        start = numbers([[0.0, 3.0]])
        sweep = sweep_rates("(x**2 + 10*y**2) / 2", ["momentum"], start, 300, numbers([0.3, 0.01]))
        path = trajectories("(x**2 + 10*y**2) / 2", "momentum", start, 300, 0.3)
        assert (path.abs() > 5).any()
        assert path[-1].abs().max() < 1
        assert sweep.remaining[0, 0] == 0
        assert sweep.remaining[0, 1] < -5

    def test_the_lowest_may_be_known_before(self):
        start = numbers([[4.0, 0.0]])
        sweep = sweep_rates("x**2", ["sgd"], start, 20, numbers([0.01]), lowest=-84.0)
        height = heights("x**2", trajectories("x**2", "sgd", start, 20, 0.01))[10:].mean()
        assert sweep.remaining.item() == pytest.approx(math.log10((height + 84) / 100))
        seen = sweep_rates("x**2", ["sgd"], start, 20, numbers([0.01]), lowest=99.0)
        assert torch.equal(
            seen.remaining, sweep_rates("x**2", ["sgd"], start, 20, numbers([0.01])).remaining
        )

    def test_a_start_at_the_lowest_point_has_no_way_before_it(self):
        sweep = sweep_rates("quadratic", ["sgd"], numbers([[0.0, 0.0]]), 5, numbers([0.1, 1.0]))
        assert sweep.remaining.tolist() == [[-6.0, -6.0]]

    def test_a_function_without_window_counts_finite_ends(self):
        sweep = sweep_rates(lambda p: p[:, 0] ** 4, ["sgd"], self.STARTS, 40, numbers([0.1, 1e3]))
        assert sweep.height[0, 1] == math.inf
        assert sweep.remaining[0, 1] == 0
        assert sweep.remaining[0, 0] < -1

    def test_no_rates_or_starts(self):
        with pytest.raises(ValueError, match="at least one start and one rate"):
            sweep_rates("beale", ["sgd"], self.STARTS[:0], 3, self.RATES)
        with pytest.raises(ValueError, match="at least one start and one rate"):
            sweep_rates("beale", ["sgd"], self.STARTS, 3, self.RATES[:0])

    def test_a_grid_grows_by_one_factor(self, dtype, device):
        grid = rate_grid(1e-4, 1e3, 71, dtype=dtype, device=device)
        assert (len(grid), grid.dtype, grid.device.type) == (71, dtype, device.type)
        assert_close(grid[[0, 10, -1]], numbers([1e-4, 1e-3, 1e3], dtype).to(device))
        assert_close(grid[1:] / grid[:-1], torch.full_like(grid[1:], 10**0.1))

    @pytest.mark.parametrize(
        "ends", [(0, 1), (-1, 1), (1, 1), (2, 1), (1, math.inf), (math.nan, 1)]
    )
    def test_a_grid_that_is_none(self, ends):
        with pytest.raises(ValueError, match="positive rising numbers"):
            rate_grid(*ends, 5)
        with pytest.raises(ValueError, match="count is 1"):
            rate_grid(1, 2, 1)

    def test_dtype_and_device(self, dtype, device):
        starts, rates = self.STARTS.to(device, dtype), self.RATES.to(device, dtype)
        sweep = sweep_rates("beale", ["sgd", "adam"], starts, 5, rates)
        assert (sweep.height.dtype, sweep.height.device.type) == (dtype, device.type)
        assert sweep.best_rate.dtype == dtype


class TestFairRates:
    def test_they_come_from_one_sweep_over_the_map(self):
        """From 16 starts in the middle three fifths of the window, the same for all."""
        starts = -3 + 6 * torch.rand(16, 2, generator=generator()).double()
        sweep = sweep_rates("himmelblau", ALL, starts, 60, rate_grid(1e-4, 1e3, 43), 0.0)
        least = sweep.remaining.min(dim=1).values
        alone = (sweep.remaining <= least[:, None] + 1e-6).sum(dim=1) == 1
        assert alone.sum() > 5
        found = fair_rates("himmelblau", ALL, 60, 0.0)
        assert torch.equal(found[alone], sweep.best_rate[alone])

    @pytest.mark.parametrize("optimizer", ["sgd", "nesterov"])
    @pytest.mark.parametrize("surface", ["quadratic", "saddle", "himmelblau"])
    def test_of_equals_none_is_best_that_leaves_from_elsewhere(self, surface, optimizer):
        """On the saddle y⁴ is steep at the border: rates that suit the middle are too high."""
        window = SURFACES[surface].window
        starts = lattice(window, 41, 40, dtype=torch.float64).reshape(-1, 2)
        rate = fair_rates(surface, [optimizer], 100, 0.0).item()
        paths = trajectories(surface, optimizer, starts, 100, rate)
        assert (left_at(paths, window) == -1).all()

    def test_where_the_lowest_is_known_the_company_makes_no_difference(self):
        together = fair_rates("beale", ALL, 60, lowest=0.0)
        alone = [fair_rates("beale", [name], 60, lowest=0.0) for name in ALL]
        assert torch.equal(together, torch.cat(alone))

    @pytest.mark.parametrize("steps", [100, 200])
    def test_on_a_bowl_gradient_descents_is_near_the_best_that_theory_knows(self, steps):
        """2 / (1 + 10), at which both axes shrink alike, to within the grid's factor of 1.5."""
        (rate,) = fair_rates("quadratic", ["sgd"], steps).tolist()
        assert 2 / 11 / 1.5 < rate < largest_stable_rate(10)

    def test_momentums_is_near_critical_damping_of_the_flat_axis(self):
        """(1 − √μ)² / λmin: from there on up to the edge every rate shrinks by √μ a step."""
        (rate,) = fair_rates("quadratic", ["momentum"], 200).tolist()
        assert (1 - 0.9**0.5) ** 2 / 1.5 < rate < (1 - 0.9**0.5) ** 2 * 1.5

    @pytest.mark.parametrize("lift", [-70, 3])
    def test_how_high_a_surface_lies_makes_no_difference(self, lift):
        text = "(x**2 + 10*y**2) / 2"
        lifted = fair_rates(f"{text} + {lift}", ALL, 200, lowest=lift)
        assert torch.equal(lifted, fair_rates(text, ALL, 200, lowest=0))

    @pytest.mark.parametrize("steps", [100, 200])
    @pytest.mark.parametrize(
        "surface", [*SURFACES, "sin(3*x) * cos(3*y) + (x**2 + y**2) / 4", "abs(x) + y**4", "photo"]
    )
    def test_with_them_nobody_leaves_and_everybody_descends(self, surface, steps):
        if surface == "photo":
            ramp = torch.linspace(0, 255, 60).expand(60, 60)
            surface = align(torch.stack([ramp, ramp.mT, ramp * ramp.mT / 255], dim=2).byte())
        ground = survey(surface)
        rates = fair_rates(surface, ALL, steps, ground.lowest)
        window = getattr(find_surface(surface), "window", WINDOW)
        for optimizer, rate in zip(ALL, rates.tolist(), strict=True):
            path = trajectories(surface, optimizer, numbers([ground.start]), steps, rate)
            height = heights(surface, path)
            assert height[steps // 2 :].mean() < height[0]
            assert left_at(path, window).tolist() == [-1]

    def test_a_function_without_window(self):
        assert fair_rates(lambda p: p.square().sum(1), ["sgd"], 20).item() < 1


class TestEdge:
    @pytest.mark.parametrize("condition_number", [1, 333])
    @pytest.mark.parametrize(
        ("optimizer", "momentum"), [("sgd", 0.0), ("momentum", 0.9), ("nesterov", 0.9)]
    )
    def test_below_it_converges_and_above_it_diverges(self, condition_number, optimizer, momentum):
        edge = largest_stable_rate(condition_number, momentum, nesterov=optimizer == "nesterov")
        start = numbers([[0.0, 1.0]])
        rates = numbers([0.98 * edge, 1.02 * edge])
        path = trajectories(
            Quadratic(condition_number), optimizer, start.expand(2, 2), 1000, rates
        )[:, :, 1].abs()
        assert path[-1, 0] < 1e-3
        assert path[-1, 1] > 1e3

    def test_on_the_edge_gradient_descent_swings_for_ever(self):
        path = trajectories("quadratic", "sgd", numbers([[0.0, 1.0]]), 9, largest_stable_rate(10))
        assert_close(path[:, 0, 1], numbers([1.0, -1] * 5))

    @pytest.mark.parametrize("curvature", [0, -1, math.inf, math.nan])
    def test_a_bowl_must_be_curved_upwards(self, curvature):
        with pytest.raises(ValueError, match="curvature is"):
            largest_stable_rate(curvature)

    @pytest.mark.parametrize("momentum", [-0.1, 1.0, math.nan])
    def test_momentum_out_of_range(self, momentum):
        with pytest.raises(ValueError, match="momentum is"):
            largest_stable_rate(1, momentum)


class TestBasins:
    def saddle(self, starts, steps=60, lr=0.05, **options):
        minima = numbers([[0.0, 1.0], [0.0, -1.0]])
        return basins("saddle", "sgd", starts, steps, lr, minima, SQUARE, **options)

    def test_the_saddle_divides_the_plane_in_two(self):
        starts = lattice(SQUARE, 41, 40, dtype=torch.float64).reshape(-1, 2)
        found = self.saddle(starts)
        assert (found.minimum == (starts[:, 1] < 0)).all()
        assert not found.left.any()
        assert_close(found.height, torch.zeros_like(found.height), atol=1e-3, rtol=0)

    def test_settled_is_the_first_step_within_reach_for_good(self):
        starts = numbers([[1.5, 0.3], [0.0, 1.0], [0.0, 1.05]])
        found = self.saddle(starts, tolerance=0.1)
        path = trajectories("saddle", "sgd", starts, 60, 0.05)
        near = (path - numbers([0.0, 1.0])).norm(dim=2) <= 0.1
        step = int(found.settled[0])
        assert near[step:, 0].all()
        assert not near[step - 1, 0]
        assert found.settled[1:].tolist() == [0, 0]

    def test_what_reaches_none(self):
        starts = numbers([[0.0, 0.0], [1.0, 0.0]])
        found = self.saddle(starts)
        assert found.minimum.tolist() == found.settled.tolist() == [-1, -1]
        assert not found.left.any()
        assert_close(found.height, numbers([1.0, 1.0]), atol=1e-3, rtol=0)

    def test_what_leaves_the_map(self):
        found = self.saddle(numbers([[0.5, 0.5]]), lr=1.5)
        assert (found.left.tolist(), found.minimum.tolist()) == ([True], [-1])

    def test_no_minima_and_no_starts(self):
        found = basins("x", "sgd", numbers([[0.0, 0.0]]), 3, 0.1, torch.zeros(0, 2), SQUARE)
        assert found.minimum.tolist() == [-1]
        assert self.saddle(torch.zeros(0, 2, dtype=torch.float64)).minimum.shape == (0,)

    def test_himmelblaus_four(self):
        window = SURFACES["himmelblau"].window
        starts = lattice(window, 30, 30).reshape(-1, 2)
        minima = local_minima("himmelblau", window)
        found = basins("himmelblau", "sgd", starts, 200, 0.01, minima, window)
        assert found.minimum.unique().tolist() == [0, 1, 2, 3]
        for number in range(4):
            at_home = (starts - minima[number]).norm(dim=1) < 0.5
            assert (found.minimum[at_home] == number).all()

    @pytest.mark.parametrize("tolerance", [0, -1, math.inf, math.nan])
    def test_a_tolerance_that_is_none(self, tolerance):
        with pytest.raises(ValueError, match="tolerance is"):
            self.saddle(numbers([[0.0, 0.0]]), tolerance=tolerance)

    def test_counts(self):
        found = Basins(
            minimum=torch.tensor([0, 1, 1, -1, -1, 2]),
            settled=torch.tensor([4, 2, 9, -1, -1, 8]),
            left=torch.tensor([False, False, False, True, False, False]),
            height=torch.zeros(6),
        )
        counts = count_basins(found, numbers([0.0, 0.5, 1e-9]))
        assert (counts.starts, counts.reached, counts.lowest, counts.left) == (6, 4, 2, 1)
        assert counts.median_steps == 6

    def test_no_minimum_is_the_lowest_where_the_map_ends_lower(self):
        """The only minimum of x³ − 3x + y² is (1, 0), of height −2; at x = −5 it is −110."""
        ground = survey("x**3 - 3*x + y**2")
        starts = numbers([[1.2, 0.1], [0.8, 0.0]])
        found = basins("x**3 - 3*x + y**2", "sgd", starts, 100, 0.1, ground.minima, ground.window)
        assert ground.lowest == -110
        assert count_basins(found, ground.minimum_heights).lowest == 2
        counts = count_basins(found, ground.minimum_heights, ground.lowest)
        assert (counts.reached, counts.lowest, len(ground.deepest)) == (2, 0, 0)

    def test_counts_of_nothing(self):
        starts = torch.zeros(0, 2, dtype=torch.float64)
        counts = count_basins(self.saddle(starts), numbers([0.0, 0.0]))
        assert (counts.starts, counts.reached, counts.left) == (0, 0, 0)
        assert math.isnan(counts.median_steps)
        found = basins("x", "sgd", numbers([[0.0, 0.0]]), 3, 0.1, torch.zeros(0, 2), SQUARE)
        assert count_basins(found, torch.zeros(0)).lowest == 0


class TestNoise:
    def descend(self, levels=(0.0, 1.0), seed=0, **options):
        given = {
            "surface": "quadratic",
            "optimizers": ["sgd", "adam"],
            "start": numbers([1.0, 1.0]),
            "steps": 30,
            "rates": numbers([0.05, 0.1]),
            "levels": numbers(levels),
            "draws": 20,
        }
        return noisy_descents(**{**given, **options}, generator=generator(seed))

    def test_without_noise_every_draw_is_the_plain_descent(self):
        noisy = self.descend()
        for row, (optimizer, rate) in enumerate([("sgd", 0.05), ("adam", 0.1)]):
            path = trajectories("quadratic", optimizer, numbers([[1.0, 1.0]]), 30, rate)
            plain = heights("quadratic", path)[:, 0]
            assert_close(noisy.ends[0, row], path[-1].expand(20, 2))
            for part in (noisy.mean, noisy.low, noisy.high):
                assert part.shape == (2, 2, 31)
                assert_close(part[0, row], plain)

    def test_the_result_holds_no_more_memory_than_its_numbers(self):
        for part in vars(self.descend()).values():
            assert part.untyped_storage().nbytes() == part.numel() * part.element_size()

    def test_the_same_seed_gives_the_same_and_another_another(self):
        once, again, other = self.descend(), self.descend(), self.descend(seed=1)
        assert torch.equal(once.mean, again.mean)
        assert not torch.equal(once.mean[1], other.mean[1])

    def test_levels_share_their_draws(self):
        alone = self.descend(levels=(1.0,))
        assert_close(alone.mean[0], self.descend(levels=(0.0, 0.5, 1.0)).mean[2])

    def test_mean_and_tenths_of_draws_seen_one_by_one(self):
        noisy = self.descend(levels=(2.0,), draws=25)
        draws = torch.randn(30, 25, 2, dtype=torch.float64, generator=generator())
        paths = [
            trajectories("quadratic", "sgd", numbers([[1.0, 1.0]]), 30, 0.05, noise=2 * one)
            for one in draws[:, :, None].unbind(1)
        ]
        seen = torch.stack([heights("quadratic", path)[:, 0] for path in paths])
        assert_close(noisy.mean[0, 0], seen.mean(dim=0))
        assert_close(noisy.ends[0, 0], torch.stack([path[-1, 0] for path in paths]))
        assert ((seen < noisy.low[0, 0]).sum(dim=0) <= 2).all()
        assert ((seen <= noisy.low[0, 0]).sum(dim=0) >= 3).all()
        assert ((seen > noisy.high[0, 0]).sum(dim=0) <= 2).all()
        assert ((seen >= noisy.high[0, 0]).sum(dim=0) >= 3).all()

    def test_one_draw_has_no_spread(self):
        noisy = self.descend(draws=1)
        assert torch.equal(noisy.low, noisy.mean)
        assert torch.equal(noisy.high, noisy.mean)

    def test_what_diverges_is_infinite(self):
        noisy = self.descend(steps=600, rates=numbers([5.0, 0.1]))
        assert noisy.mean[0, 0, -1] == math.inf
        assert noisy.mean[0, 1, -1].isfinite()

    @pytest.mark.parametrize("levels", [(-1.0,), (math.nan,), (math.inf,)])
    def test_bad_levels(self, levels):
        with pytest.raises(ValueError, match="levels has"):
            self.descend(levels=levels)

    def test_no_draws(self):
        with pytest.raises(ValueError, match="draws is 0"):
            self.descend(draws=0)

    @pytest.mark.parametrize("lr", [0.01, 0.19])
    def test_the_floor_is_where_noisy_descents_end(self, lr):
        """Averaged over many draws and late steps the height meets the formula within 5 %."""
        start, rates = numbers([0.0, 0.0]), numbers([lr])
        noisy = noisy_descents(
            "quadratic", ["sgd"], start, 1500, rates, numbers([0.7]), 400, generator()
        )
        floor = noise_floor(numbers([1.0, 10.0]), lr, numbers([0.7])).item()
        late = noisy.mean[0, 0, 800:].mean().item()
        assert late == pytest.approx(floor, rel=0.05)

    def test_floors(self):
        levels = numbers([0.0, 1.0, 2.0])
        one, two = numbers([1.0]), numbers([1.0, 10.0])
        # 1 · σ² / (2 · (2 − 1))
        assert_close(noise_floor(one, lr=1.0, noise=levels), numbers([0.0, 0.5, 2.0]))
        assert noise_floor(two, lr=0.2, noise=levels).tolist() == [math.inf] * 3
        assert noise_floor(two, lr=0.0, noise=levels).tolist() == [0.0] * 3
        assert noise_floor(two, lr=0.1, noise=levels[:0]).shape == (0,)

    def test_bad_floors(self):
        levels = numbers([1.0])
        with pytest.raises(ValueError, match="curvatures has"):
            noise_floor(numbers([0.0, 1.0]), 0.1, levels)
        with pytest.raises(ValueError, match=r"lr is -0\.1"):
            noise_floor(levels, -0.1, levels)
        for level in (math.inf, math.nan, -1.0):
            with pytest.raises(ValueError, match="noise has"):
                noise_floor(levels, 0.1, numbers([level]))


class TestExpectedHeights:
    START, CURVED = numbers([-3.2, 2.4]), numbers([1.0, 10.0])

    @pytest.mark.parametrize("lr", [0.002, 0.15, 0.19])
    def test_it_is_the_mean_over_many_draws(self, lr):
        """Within five standard errors, at every step."""
        steps, draws, sigma = 200, 4000, 2.0
        noise = sigma * torch.randn(steps, draws, 2, dtype=torch.float64, generator=generator())
        starts = self.START.expand(draws, 2)
        seen = heights(
            "quadratic", trajectories("quadratic", "sgd", starts, steps, lr, noise=noise)
        )
        (known,) = expected_heights(self.START, self.CURVED, lr, numbers([sigma]), steps)
        error = seen.std(dim=1) / draws**0.5
        assert ((seen.mean(dim=1) - known).abs() <= 5 * error + 1e-9).all()

    def test_closed_form(self):
        """(1 − η λ)^2t x² + η² σ² (1 − (1 − η λ)^2t) / (1 − (1 − η λ)²) along each axis."""
        lr, sigma, t = 0.03, 1.5, torch.arange(51)[:, None]
        shrink = (1 - lr * self.CURVED) ** 2
        square = shrink**t * self.START**2 + (lr * sigma) ** 2 * (1 - shrink**t) / (1 - shrink)
        found = expected_heights(self.START, self.CURVED, lr, numbers([sigma]), 50)
        assert_close(found[0], (self.CURVED * square).sum(dim=1) / 2)

    @pytest.mark.parametrize("lr", [0.05, 0.1, 0.19])
    def test_in_the_long_run_it_is_the_floor(self, lr):
        levels = numbers([0.0, 0.5, 3.0])
        late = expected_heights(self.START, self.CURVED, lr, levels, 2000)[:, -1]
        assert_close(late, noise_floor(self.CURVED, lr, levels))

    def test_without_noise_it_is_the_plain_descent(self):
        path = trajectories("quadratic", "sgd", self.START[None], 30, 0.07)
        found = expected_heights(self.START, self.CURVED, 0.07, numbers([0.0]), 30)
        assert_close(found[0], heights("quadratic", path)[:, 0])

    def test_corners(self):
        levels = numbers([0.0, 1.0])
        beyond = expected_heights(numbers([0.0, 0.0]), self.CURVED, 1e3, levels, 200)
        assert (beyond[0] == 0).all()
        assert beyond[1, -1] == math.inf
        still = expected_heights(self.START, self.CURVED, 0, levels, 3)
        assert_close(still, torch.full_like(still, (3.2**2 + 10 * 2.4**2) / 2))
        assert expected_heights(self.START, self.CURVED, 0.1, levels, 0).shape == (2, 1)
        assert expected_heights(self.START, self.CURVED, 0.1, levels[:0], 4).shape == (0, 5)

    def test_bad_numbers(self):
        one = numbers([1.0])
        with pytest.raises(ValueError, match="curvatures has"):
            expected_heights(one, -one, 0.1, one, 3)
        with pytest.raises(ValueError, match="lr is nan"):
            expected_heights(one, one, math.nan, one, 3)
        with pytest.raises(ValueError, match="noise has"):
            expected_heights(one, one, 0.1, -one, 3)
        with pytest.raises(ValueError, match="steps is -1"):
            expected_heights(one, one, 0.1, one, -1)

    def test_dtype_and_device(self, dtype, device):
        start, curved = self.START.to(device, dtype), self.CURVED.to(device, dtype)
        found = expected_heights(start, curved, 0.1, start.abs(), 5)
        assert (found.dtype, found.device.type) == (dtype, device.type)
