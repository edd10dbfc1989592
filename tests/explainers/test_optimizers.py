import math

import pytest
import torch
from torch.testing import assert_close

from explainers.optimizers import (
    OPTIMIZERS,
    SURFACES,
    heights,
    left_at,
    since,
    step_details,
    trajectories,
)

SGD, ADAGRAD, ADADELTA = torch.optim.SGD, torch.optim.Adagrad, torch.optim.Adadelta
RMSPROP, ADAM, ADAMW, NADAM = (
    torch.optim.RMSprop,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
)
STEPS = 100

TORCHS = {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "adagrad": (ADAGRAD, {}),
    "adadelta": (ADADELTA, {}),
    "rmsprop": (RMSPROP, {}),
    "adam": (ADAM, {}),
    "adamw": (ADAMW, {}),
    "nadam": (NADAM, {}),
    "amsgrad": (ADAM, {"amsgrad": True}),
}
HYPER = [
    ("sgd", {"weight_decay": 0.1}),
    ("sgd", {"momentum": 0.5, "dampening": 0.5, "weight_decay": 0.02}),
    ("momentum", {"momentum": 0.99}),
    ("momentum", {"dampening": 0.9}),
    ("nesterov", {"momentum": 0.5, "weight_decay": 0.1}),
    ("adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "weight_decay": 0.1}),
    ("adagrad", {"eps": 0.1}),
    ("adadelta", {"rho": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    ("adadelta", {"rho": 1.0}),
    ("adadelta", {"rho": 0.0}),
    ("rmsprop", {"alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", {"momentum": 0.9}),
    ("rmsprop", {"centered": True}),
    ("rmsprop", {"centered": True, "momentum": 0.5, "alpha": 0.9}),
    ("adam", {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("adam", {"betas": (0.0, 0.0)}),
    ("adam", {"amsgrad": True, "betas": (0.9, 0.5)}),
    ("adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("adamw", {"weight_decay": 0.5, "amsgrad": True}),
    ("adamw", {"weight_decay": 0.0}),
    ("nadam", {"betas": (0.5, 0.9), "momentum_decay": 0.1, "weight_decay": 0.1}),
    ("nadam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("amsgrad", {"betas": (0.5, 0.5), "weight_decay": 0.1}),
]


def starts_on(name, dtype=torch.float64, device=None):
    points = [SURFACES[name].start, (0.3, 0.7), (-1.5, -0.5)]
    return torch.tensor(points, dtype=dtype, device=device)


def numbers(values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def torchs_path(function, optimizer, starts, steps, lr, **hyper):
    """The points that an optimizer of torch visits."""
    kind, own = TORCHS[optimizer]
    points = starts.clone().requires_grad_()
    rule = kind([points], lr=lr, **{**own, **hyper})
    path = [points.detach().clone()]
    for _step in range(steps):
        rule.zero_grad()
        function(points).sum().backward()
        rule.step()
        path.append(points.detach().clone())
    return torch.stack(path)


class TestAgainstTorch:
    """Bit by bit: many of these paths are chaotic or diverge, and any rounding would show."""

    @pytest.mark.parametrize("lr", [0.01, 0.1, 10.0])
    @pytest.mark.parametrize("surface", SURFACES)
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_every_step_of_every_optimizer_on_every_surface(self, optimizer, surface, lr):
        starts = starts_on(surface)
        wanted = torchs_path(SURFACES[surface], optimizer, starts, STEPS, lr)
        found = trajectories(surface, optimizer, starts, STEPS, lr)
        assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)

    @pytest.mark.parametrize("surface", ["rosenbrock", "ackley"])
    @pytest.mark.parametrize(("optimizer", "hyper"), HYPER, ids=str)
    def test_every_hyper_parameter(self, optimizer, hyper, surface):
        starts = starts_on(surface)
        wanted = torchs_path(SURFACES[surface], optimizer, starts, STEPS, 0.01, **hyper)
        found = trajectories(surface, optimizer, starts, STEPS, 0.01, **hyper)
        assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_the_names_and_defaults_are_torchs(self, optimizer):
        kind, own = TORCHS[optimizer]
        defaults = kind([torch.zeros(1)], lr=1.0, **own).defaults
        hyper = OPTIMIZERS[optimizer].hyper
        assert {name: defaults[name] for name in hyper} == hyper
        implementation = {"foreach", "maximize", "capturable", "differentiable", "fused"}
        assert defaults.keys() - hyper.keys() - implementation == {"lr"}

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_in_either_dtype_and_on_every_device(self, optimizer, dtype, device):
        starts = starts_on("himmelblau", dtype, device)
        found = trajectories("himmelblau", optimizer, starts, 50, 0.01)
        wanted = torchs_path(SURFACES["himmelblau"], optimizer, starts, 50, 0.01)
        assert (found.dtype, found.device.type) == (dtype, device.type)
        assert_close(found, wanted, rtol=1e-3, atol=1e-3)

    def test_where_the_default_dtype_is_double(self):
        """NAdam keeps its product of momenta in the default dtype."""
        starts = starts_on("beale")
        torch.set_default_dtype(torch.float64)
        try:
            wanted = torchs_path(SURFACES["beale"], "nadam", starts, STEPS, 0.01)
            found = trajectories("beale", "nadam", starts, STEPS, 0.01)
        finally:
            torch.set_default_dtype(torch.float32)
        assert_close(found, wanted, rtol=0, atol=0)


class TestTrajectories:
    def test_worked_by_hand(self):
        """½ (x² + 10 y²) from (1, 1) with rate 0.05: momentum 0.9 remembers the slope before."""
        start = numbers([[1.0, 1.0]])
        plain = trajectories("quadratic", "sgd", start, 2, 0.05)[:, 0]
        assert_close(plain, numbers([[1, 1], [0.95, 0.5], [0.9025, 0.25]]))
        heavy = trajectories("quadratic", "momentum", start, 2, 0.05)[:, 0]
        # velocities (1, 10), then 0.9 · (1, 10) + (0.95, 5) = (1.85, 14)
        assert_close(heavy, numbers([[1, 1], [0.95, 0.5], [0.95 - 0.0925, 0.5 - 0.7]]))

    @pytest.mark.parametrize("optimizer", ["adam", "amsgrad", "adagrad"])
    def test_the_first_step_is_the_rate_whatever_the_slope(self, optimizer):
        first = trajectories("x/1000 + 1000*y", optimizer, numbers([[0.0, 0.0]]), 1, 0.1)[1]
        assert_close(first, numbers([[-0.1, -0.1]]), rtol=1e-4, atol=0)

    def test_rmsprops_first_step_is_ten_times_the_rate(self):
        """1 / √(1 − 0.99): nothing corrects the average that starts at zero."""
        first = trajectories("x", "rmsprop", numbers([[0.0, 0.0]]), 1, 0.1)[1, 0, 0]
        assert_close(first, numbers(-1.0))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_starts_do_not_touch_each_other(self, optimizer):
        starts = starts_on("rosenbrock")
        together = trajectories("rosenbrock", optimizer, starts, 20, 0.001)
        for number in range(len(starts)):
            alone = trajectories("rosenbrock", optimizer, starts[number, None], 20, 0.001)
            assert_close(together[:, number], alone[:, 0])

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_a_rate_for_each_start(self, optimizer):
        starts = starts_on("himmelblau")
        rates = numbers([0.001, 0.01, 0.0])
        together = trajectories("himmelblau", optimizer, starts, 20, rates)
        for number, rate in enumerate(rates.tolist()):
            alone = trajectories("himmelblau", optimizer, starts, 20, rate)
            assert_close(together[:, number], alone[:, number])
        assert_close(together[:, 2], starts[2].expand(21, 2))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_no_starts_and_no_steps(self, optimizer):
        starts = starts_on("beale")
        assert trajectories("beale", optimizer, starts[:0], 5, 0.1).shape == (6, 0, 2)
        assert_close(trajectories("beale", optimizer, starts, 0, 0.1), starts[None])

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_at_a_minimum_nothing_moves(self, optimizer):
        start = numbers([[0.0, 0.0]])
        hyper = {"weight_decay": 0.0}
        path = trajectories("quadratic", optimizer, start, 10, 0.1, **hyper)
        assert_close(path, torch.zeros_like(path))

    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_every_optimizer_descends(self, optimizer):
        starts = starts_on("quadratic")
        path = trajectories("quadratic", optimizer, starts, 100, 0.02)
        assert (heights("quadratic", path[-1]) < heights("quadratic", starts)).all()

    def test_any_function_will_do(self):
        wanted = trajectories("quadratic", "adam", starts_on("quadratic"), 10, 0.1)
        for same in (lambda p: p[:, 0] ** 2 / 2 + 5 * p[:, 1] ** 2, "x**2/2 + 5*y**2"):
            assert_close(trajectories(same, "adam", starts_on("quadratic"), 10, 0.1), wanted)

    def test_what_diverges_stays_so_and_harms_nobody(self):
        starts = numbers([[1e3, 1e3], [1.0, 1.0]])
        path = trajectories("rosenbrock", "sgd", starts, 60, 1e-3)
        assert path[-1, 1].isfinite().all()
        assert not path[-1, 0].isfinite().any()
        gone = ~path[:, 0].isfinite().all(dim=1)
        assert (gone.long().diff() >= 0).all()

    def test_a_slope_that_is_none_is_kept_as_nan(self):
        path = trajectories("sqrt(x) + y", "adam", numbers([[-1.0, 0.0]]), 3, 0.1)
        assert path[0].isfinite().all()
        assert not path[1:].isfinite().all(dim=-1).any()

    def test_noise_is_added_to_the_slope(self):
        start = numbers([[1.0, 1.0]])
        noise = numbers([[[0.5, -10.0]]])
        assert_close(
            trajectories("quadratic", "sgd", start, 1, 0.1, noise=noise)[1],
            numbers([[1 - 0.15, 1.0]]),
        )

    def test_starts_that_want_a_gradient_get_none(self):
        starts = starts_on("quadratic").requires_grad_()
        assert not trajectories("quadratic", "adam", starts, 3, 0.1).requires_grad

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"surface": "plane"}, "expression has 'plane'"),
            ({"optimizer": "lion"}, "optimizer is 'lion': one of sgd, momentum"),
            ({"steps": -1}, "steps is -1"),
            ({"lr": -0.1}, "lr is -0.1"),
            ({"lr": math.nan}, "lr is nan"),
            ({"lr": math.inf}, "lr is inf"),
            ({"lr": numbers([0.1, 0.2])}, "lr has shape"),
            ({"starts": numbers([[math.nan, 0.0]])}, "starts has inf or NaN"),
            ({"noise": torch.zeros(4, 2, 2)}, r"noise has shape \[4, 2, 2\]: \[5, 1, 2\]"),
            ({"beta": 0.9}, "adam has no 'beta': betas, eps"),
            ({"momentum": 0.9}, "adam has no 'momentum'"),
            ({"betas": (0.9, 1.0)}, "betas is .* two numbers in"),
            ({"betas": (-0.1, 0.9)}, "betas is"),
            ({"betas": 0.9}, "betas is"),
            ({"eps": -1e-8}, "eps is -1e-08"),
            ({"weight_decay": math.nan}, "weight_decay is nan"),
            ({"optimizer": "adadelta", "rho": 1.1}, "rho is 1.1"),
            ({"optimizer": "nesterov", "momentum": 0.0}, "nesterov is True, momentum is 0.0"),
            ({"optimizer": "nesterov", "dampening": 0.1}, "dampening is 0.1"),
        ],
        ids=str,
    )
    def test_bad_arguments(self, changed, said, unchecked):
        given = {
            "surface": "quadratic",
            "optimizer": "adam",
            "starts": numbers([[1.0, 1.0]]),
            "steps": 5,
            "lr": 0.1,
        }
        with pytest.raises(ValueError, match=said):
            trajectories(**{**given, **changed})

    @pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 1, 2)])
    def test_starts_of_another_shape(self, shape, unchecked):
        with pytest.raises(ValueError, match=r"starts is torch\.float64 of shape"):
            trajectories("quadratic", "sgd", torch.zeros(shape, dtype=torch.float64), 1, 0.1)
        with pytest.raises(ValueError, match=r"starts is torch\.int64"):
            trajectories("quadratic", "sgd", torch.zeros(1, 2, dtype=torch.int64), 1, 0.1)


class TestHeights:
    def test_along_paths(self):
        paths = torch.stack([starts_on("beale"), starts_on("beale") + 1])
        found = heights("beale", paths)
        assert found.shape == (2, 3)
        assert_close(found[1], SURFACES["beale"](paths[1]))

    def test_of_points_that_are_gone(self):
        found = heights("quadratic", numbers([[math.nan, 0.0], [math.inf, 0.0]]))
        assert_close(found, numbers([math.nan, math.inf]), equal_nan=True)


class TestLeaving:
    WINDOW = ((-1, 1), (-2, 2))

    @pytest.mark.parametrize(
        ("xs", "step"),
        [
            ([0, 0, 0], -1),
            ([0, 3, 3], 1),
            ([3, 3, 3], 0),
            ([3, 3, 0], -1),
            ([0, 3, 0], -1),
            ([3, 0, math.nan], 2),
            ([0, math.inf, math.nan], 1),
            ([1, 1, 1.0001], 2),
        ],
    )
    def test_the_step_after_which_a_path_stays_away(self, xs, step):
        path = torch.stack([numbers(xs) * 1.0, torch.zeros(3, dtype=torch.float64)], dim=1)
        assert left_at(path[:, None], self.WINDOW).tolist() == [step]
        assert left_at(path.flip(1)[None, :, None] * 2, self.WINDOW).tolist() == [[step]]

    def test_since(self):
        rows = torch.tensor([[True, False, True], [True, True, False]])
        assert since(rows).tolist() == [0, 1, -1]
        assert since(rows[:0]).tolist() == [-1, -1, -1]


class TestStepDetails:
    @pytest.mark.parametrize("optimizer", OPTIMIZERS)
    def test_they_tell_of_the_same_path(self, optimizer):
        start = starts_on("beale")[0]
        details = step_details("beale", optimizer, start, 30, 0.01)
        path = trajectories("beale", optimizer, start[None], 30, 0.01)[:, 0]
        assert_close(details.points, path, rtol=0, atol=0)
        assert_close(details.height, SURFACES["beale"](path))
        assert details.values.shape == (len(details.names), 30, 2)
        at = details.at(30)
        assert_close(at["before"], path[29])
        assert_close(at["update"], path[30] - path[29])

    def test_adams_arithmetic_by_hand(self):
        """Slopes (1, 10) at the start; the first correction undoes the start at zero wholly."""
        details = step_details("quadratic", "adam", numbers([1.0, 1.0]), 2, 0.1)
        one, two = details.at(1), details.at(2)
        assert_close(one["g"], numbers([1.0, 10.0]))
        assert_close(one["m"], numbers([0.1, 1.0]))
        assert_close(one["v"], numbers([0.001, 0.1]))
        assert_close(one["m_hat"], one["g"])
        assert_close(one["v_hat"], one["g"] ** 2)
        assert_close(one["update"], numbers([-0.1, -0.1]), rtol=1e-6, atol=0)
        g = numbers([0.9, 9.0])
        assert_close(two["g"], g, rtol=1e-6, atol=0)
        assert_close(two["m"], 0.9 * one["m"] + 0.1 * g, rtol=1e-6, atol=0)
        assert_close(two["m_hat"], two["m"] / 0.19)
        assert_close(two["v_hat"], two["v"] / (1 - 0.999**2))
        assert_close(two["update"], -0.1 * two["m_hat"] / two["v_hat"].sqrt(), rtol=1e-6, atol=0)

    @pytest.mark.parametrize(
        ("optimizer", "direction"),
        [
            ("sgd", lambda q: q["g"]),
            ("momentum", lambda q: q["velocity"]),
            ("nesterov", lambda q: q["g"] + 0.9 * q["velocity"]),
            ("adagrad", lambda q: q["g"] / q["v"].sqrt()),
            ("adadelta", lambda q: q["delta"]),
            ("rmsprop", lambda q: q["g"] / q["v"].sqrt()),
            ("adam", lambda q: q["m_hat"] / q["v_hat"].sqrt()),
            ("nadam", lambda q: q["m_hat"] / q["v_hat"].sqrt()),
            ("amsgrad", lambda q: q["m_hat"] / q["v_hat"].sqrt()),
        ],
    )
    def test_the_update_follows_from_what_is_told(self, optimizer, direction):
        details = step_details("rosenbrock", optimizer, starts_on("rosenbrock")[0], 20, 0.001)
        for step in (1, 2, 20):
            at = details.at(step)
            assert_close(at["update"], -0.001 * direction(at), rtol=1e-5, atol=0)

    def test_adamw_also_shrinks_the_point(self):
        at = step_details("rosenbrock", "adamw", starts_on("rosenbrock")[0], 3, 0.1).at(3)
        shrunk = 0.1 * 0.01 * at["before"]
        assert_close(
            at["update"], -0.1 * at["m_hat"] / at["v_hat"].sqrt() - shrunk, rtol=1e-5, atol=0
        )

    def test_amsgrad_never_forgets_the_largest(self):
        details = step_details("beale", "amsgrad", starts_on("beale")[0], 50, 0.1)
        largest = details.values[details.names.index("v_max")]
        v = details.values[details.names.index("v")]
        assert_close(largest, v.cummax(dim=0).values)

    @pytest.mark.parametrize("step", [0, 4, -1])
    def test_a_step_that_was_not_taken(self, step):
        details = step_details("beale", "adam", starts_on("beale")[0], 3, 0.1)
        with pytest.raises(ValueError, match=f"step is {step}: a step from 1 to 3"):
            details.at(step)

    def test_no_steps(self):
        with pytest.raises(ValueError, match="steps is 0: at least 1"):
            step_details("beale", "adam", starts_on("beale")[0], 0, 0.1)
