import math

import pytest
import torch
from torch.testing import assert_close

from explainers.optimizers import OPTIMIZERS, SURFACES, trajectories
from explainers.races import race

ALL = list(OPTIMIZERS)
POLYNOMIALS = [name for name in SURFACES if name not in {"rastrigin", "ackley"}]


def starts_on(name, count=3, dtype=torch.float64, device=None):
    points = [SURFACES[name].start, (0.3, 0.7), (-1.5, -0.5)]
    return torch.tensor(points, dtype=dtype, device=device)[:count]


def rates_for(names, starts, lr):
    return torch.full((len(names), len(starts)), lr, dtype=starts.dtype, device=starts.device)


def one_by_one(surface, names, starts, steps, rates, noise=None):
    """The paths of optimizers that equal torch's, as their own tests show."""
    given = zip(names, rates, strict=True)
    paths = [trajectories(surface, name, starts, steps, lr, noise=noise) for name, lr in given]
    return torch.stack(paths)


def assert_same(found, wanted):
    assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


class TestAgainstTrajectories:
    """Bit by bit, but where cosines of many numbers round unlike those of few."""

    @pytest.mark.parametrize("count", [1, 3])
    @pytest.mark.parametrize("lr", [0.01, 0.1, 10.0])
    @pytest.mark.parametrize("surface", POLYNOMIALS)
    def test_every_step_of_all_optimizers(self, surface, lr, count):
        starts = starts_on(surface, count)
        given = surface, ALL, starts, 100, rates_for(ALL, starts, lr)
        assert_same(race(*given), one_by_one(*given))

    @pytest.mark.parametrize("surface", ["rastrigin", "ackley"])
    def test_where_cosines_come_in(self, surface):
        starts = starts_on(surface)
        given = surface, ALL, starts, 20, rates_for(ALL, starts, 0.01)
        assert_close(race(*given), one_by_one(*given), rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("name", ALL)
    def test_each_optimizer_alone(self, name):
        starts = starts_on("beale")
        given = "beale", [name], starts, 50, rates_for([name], starts, 0.01)
        assert_same(race(*given), one_by_one(*given))

    @pytest.mark.parametrize(
        "names",
        [ALL[::-1], ["nadam", "sgd", "nadam"], ["adadelta", "amsgrad", "nesterov", "adagrad"]],
        ids=str,
    )
    def test_in_any_order(self, names):
        starts = starts_on("beale")
        given = "beale", names, starts, 50, rates_for(names, starts, 0.01)
        assert_same(race(*given), one_by_one(*given))

    def test_a_rate_for_each_racer_and_start_and_noise_for_all(self):
        starts = starts_on("himmelblau")
        generator = torch.Generator().manual_seed(0)
        rates = torch.rand(10, 3, dtype=torch.float64, generator=generator) / 100
        noise = torch.randn(30, 3, 2, dtype=torch.float64, generator=generator)
        given = "himmelblau", ALL, starts, 30, rates, noise
        assert_same(race(*given), one_by_one(*given))

    def test_where_the_default_dtype_is_double(self):
        """NAdam keeps its product of momenta in the default dtype."""
        starts = starts_on("beale")
        given = "beale", ["nadam"], starts, 100, rates_for(["nadam"], starts, 0.01)
        torch.set_default_dtype(torch.float64)
        try:
            found, wanted = race(*given), one_by_one(*given)
        finally:
            torch.set_default_dtype(torch.float32)
        assert_same(found, wanted)

    def test_in_either_dtype_and_on_every_device(self, dtype, device):
        starts = starts_on("himmelblau", 3, dtype, device)
        given = "himmelblau", ALL, starts, 50, rates_for(ALL, starts, 0.01)
        found = race(*given)
        assert (found.dtype, found.device.type) == (dtype, device.type)
        assert_close(found, one_by_one(*given), rtol=1e-3, atol=1e-3)


class TestRace:
    @pytest.mark.parametrize(
        ("names", "count", "steps"), [([], 3, 5), (ALL, 0, 5), (ALL, 3, 0)], ids=str
    )
    def test_nobody_nowhere_and_no_steps(self, names, count, steps):
        starts = starts_on("beale", count)
        found = race("beale", names, starts, steps, rates_for(names, starts, 0.1))
        assert found.shape == (len(names), steps + 1, count, 2)
        assert_close(found[:, 0], starts.expand(len(names), -1, -1))

    def test_what_diverges_harms_nobody(self):
        starts = torch.tensor([[1e3, 1e3], [1.0, 1.0]], dtype=torch.float64)
        paths = race("rosenbrock", ALL, starts, 60, rates_for(ALL, starts, 1e-3))
        assert paths[:, :, 1].isfinite().all()
        assert not paths[ALL.index("sgd"), -1, 0].isfinite().any()

    def test_starts_that_want_a_gradient_get_none(self):
        starts = starts_on("beale").requires_grad_()
        found = race("beale", ALL, starts, 3, rates_for(ALL, starts, 0.1).requires_grad_())
        assert not found.requires_grad
        assert not found.is_inference()

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"rates": torch.full((1, 3), 0.1)}, r"rates has shape \[1, 3\]: \[2, 3\] is needed"),
            ({"rates": torch.tensor([[0.1, 0.2, 0.3], [0.1, math.nan, 0.3]])}, "lr is nan: finite"),
            ({"rates": torch.tensor([[0.1, 0.2, -0.3], [0.1, 0.2, 0.3]])}, r"lr is -0\.3: finite"),
            ({"optimizers": ["sgd", "lion"]}, "optimizer is 'lion': one of sgd, momentum"),
            ({"steps": -1}, "steps is -1"),
            ({"noise": torch.zeros(4, 3, 2)}, r"noise has shape \[4, 3, 2\]: \[5, 3, 2\]"),
            ({"starts": torch.full((3, 2), math.inf)}, "starts has inf or NaN"),
            ({"surface": "plane"}, "expression has 'plane'"),
        ],
        ids=str,
    )
    def test_bad_arguments(self, changed, said, unchecked):
        given = {
            "surface": "beale",
            "optimizers": ["sgd", "adam"],
            "starts": starts_on("beale"),
            "steps": 5,
            "rates": torch.full((2, 3), 0.1),
        }
        with pytest.raises(ValueError, match=said):
            race(**{**given, **changed})
