"""Activations: equal to torch's own, slopes by hand and by finite differences, exact statistics."""

import math
from collections.abc import Iterator
from itertools import pairwise
from statistics import NormalDist

import pytest
import torch
from jaxtyping import TypeCheckError
from torch.nn import functional
from torch.testing import assert_close

from explainers import activations as module
from explainers.activations import (
    ACTIVATIONS,
    BATCH,
    LAYERS,
    WIDTH,
    Cost,
    Interval,
    activate,
    all_signals,
    curve,
    edge_response,
    first_layer_response,
    gradient_chain,
    normal_shares,
    observed_steps,
    percent_zero,
    profile,
    signal_numbers,
    signal_statistics,
    train_dying_relu,
    wave,
)
from explainers.models import mobilenet_v2
from explainers.models.imagenet import MEAN, STD

TORCH = {
    "sigmoid": functional.sigmoid,
    "tanh": functional.tanh,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "leaky_relu": functional.leaky_relu,
    "prelu": lambda x, weight=0.25: functional.prelu(x, x.new_tensor([weight])),
    "elu": functional.elu,
    "selu": functional.selu,
    "swish": lambda x, beta=1.0: functional.silu(beta * x) / beta,
    "hard_swish": functional.hardswish,
    "mish": functional.mish,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "softplus": functional.softplus,
}
PARAMETERS = [
    *((name, {}) for name in TORCH),
    *(("leaky_relu", {"negative_slope": slope}) for slope in (0.0, 0.3, 1.0, -0.5)),
    *(("prelu", {"weight": weight}) for weight in (0.0, 2.0, -1.0)),
    *(("elu", {"alpha": alpha}) for alpha in (0.0, 0.3, 3.0)),
    *(("swish", {"beta": beta}) for beta in (0.1, 3.0, 50.0)),
    *(("softplus", {"beta": beta}) for beta in (0.1, 5.0, 50.0)),
]
KINKS = {
    "relu": {0.0: 0.0},
    "relu6": {0.0: 0.0, 6.0: 0.0},
    "leaky_relu": {0.0: 0.01},
    "prelu": {0.0: 0.25},
    "elu": {0.0: 1.0},
    "selu": {0.0: 1.0507009873554805 * 1.6732632423543772},
    "hard_swish": {-3.0: 0.0, 3.0: 1.0},
}
NORMAL = NormalDist()


def numbers(values, dtype=torch.float64, device=None):
    return torch.tensor(values, dtype=dtype, device=device)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def points(dtype=torch.float64, device=None):
    """Dense near 0, kinks and zero itself among them, then far out."""
    near = torch.arange(-800, 801, dtype=dtype, device=device) / 100
    far = numbers([-1e4, -300.0, -88.0, -20.5, -0.0, 20.5, 88.0, 300.0, 1e4], dtype, device)
    return torch.cat([near, far])


def slope_of(function, x, **parameters):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x, **parameters).sum(), x)[0]


def test_the_keys_are_those_that_others_rely_on():
    assert list(ACTIVATIONS) == list(TORCH)
    assert all(activation.name == name for name, activation in ACTIVATIONS.items())
    assert {name: a.parameters for name, a in ACTIVATIONS.items() if a.parameters} == {
        "leaky_relu": {"negative_slope": 0.01},
        "prelu": {"weight": 0.25},
        "elu": {"alpha": 1.0},
        "swish": {"beta": 1.0},
        "softplus": {"beta": 1.0},
    }


class TestEqualToTorch:
    @pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)
    def test_values(self, name, parameters, device, dtype):
        x = points(dtype, device)
        y = ACTIVATIONS[name](x, **parameters)
        assert_close(y, TORCH[name](x, **parameters))
        assert (y.dtype, y.device.type) == (dtype, device.type)

    @pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)
    def test_derivatives_kinks_included(self, name, parameters, device, dtype):
        x = points(dtype, device)
        slope = ACTIVATIONS[name].derivative(x, **parameters)
        assert_close(slope, slope_of(TORCH[name], x, **parameters))
        assert (slope.dtype, slope.device.type) == (dtype, device.type)

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_values_with_slopes(self, name, device, dtype):
        x = points(dtype, device)
        value, slope = ACTIVATIONS[name].with_slope(x)
        assert_close(value, TORCH[name](x, **ACTIVATIONS[name].parameters))
        assert_close(slope, slope_of(TORCH[name], x, **ACTIVATIONS[name].parameters))

    def test_prelu_takes_a_weight_for_each_channel(self):
        weight = numbers([0.1, -0.5, 2.0])
        for shape in ((4, 3), (2, 3, 5), (2, 3, 4, 5)):
            x = torch.linspace(-2, 2, math.prod(shape), dtype=torch.float64).reshape(shape)
            expected = functional.prelu(x, weight)
            assert_close(ACTIVATIONS["prelu"](x, weight=weight), expected)
            slope = ACTIVATIONS["prelu"].derivative(x, weight=weight)
            assert_close(slope, slope_of(lambda x: functional.prelu(x, weight), x))

    def test_a_learned_weight_gets_a_gradient(self):
        weight = numbers([0.25]).requires_grad_()
        ACTIVATIONS["prelu"](numbers([-3.0, 5.0]), weight=weight).sum().backward()
        assert weight.grad.tolist() == [-3.0]

    def test_swish_with_beta_one_is_silu(self):
        assert_close(activate("swish", points()), functional.silu(points()))

    @pytest.mark.parametrize("name", TORCH)
    def test_empty_and_any_shape(self, name, dtype, device):
        nothing = torch.zeros(0, 3, dtype=dtype, device=device)
        assert ACTIVATIONS[name](nothing).shape == (0, 3)
        assert ACTIVATIONS[name].derivative(nothing).shape == (0, 3)
        one = torch.ones((), dtype=dtype, device=device)
        assert ACTIVATIONS[name](one).shape == ACTIVATIONS[name].derivative(one).shape == ()

    def test_the_input_is_left_alone(self):
        x = numbers([-1.0, 2.0]).requires_grad_()
        with torch.no_grad():
            slope = ACTIVATIONS["tanh"].derivative(x)
        assert x.grad is None
        assert not slope.requires_grad


class TestByHand:
    @pytest.mark.parametrize(
        ("name", "parameters", "x", "value", "slope"),
        [
            ("sigmoid", {}, 0.0, 0.5, 0.25),
            ("sigmoid", {}, math.log(3), 3 / 4, 3 / 16),
            ("tanh", {}, math.log(2), 3 / 5, 16 / 25),
            ("relu6", {}, 7.0, 6.0, 0.0),
            ("leaky_relu", {}, -2.0, -0.02, 0.01),
            ("prelu", {"weight": 0.25}, -4.0, -1.0, 0.25),
            ("elu", {"alpha": 2.0}, -math.log(2), -1.0, 1.0),
            ("selu", {}, 1.0, 1.0507009873554805, 1.0507009873554805),
            ("swish", {}, 0.0, 0.0, 0.5),
            ("swish", {"beta": 2.0}, 1.0, 1 / (1 + math.exp(-2)), 1.090784),
            ("hard_swish", {}, 1.0, 4 / 6, 5 / 6),
            ("hard_swish", {}, -1.5, -0.375, 0.0),
            ("mish", {}, 0.0, 0.0, 0.6),
            ("gelu", {}, 1.0, NORMAL.cdf(1), NORMAL.cdf(1) + NORMAL.pdf(1)),
            ("gelu", {}, -1.0, -NORMAL.cdf(-1), NORMAL.cdf(-1) - NORMAL.pdf(1)),
            ("softplus", {}, 0.0, math.log(2), 0.5),
            ("softplus", {"beta": 2.0}, 0.0, math.log(2) / 2, 0.5),
        ],
    )
    def test_value_and_slope(self, name, parameters, x, value, slope):
        x = numbers(x)
        assert_close(activate(name, x, **parameters), numbers(value))
        found = ACTIVATIONS[name].derivative(x, **parameters)
        assert_close(found, numbers(slope), rtol=1e-5, atol=1e-12)

    @pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)
    def test_slopes_are_finite_differences(self, name, parameters):
        h = 1e-6
        x = torch.arange(-6, 6, 0.037, dtype=torch.float64)
        activation = ACTIVATIONS[name]
        difference = (activation(x + h, **parameters) - activation(x - h, **parameters)) / (2 * h)
        assert_close(activation.derivative(x, **parameters), difference, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("name", KINKS)
    def test_kinks_have_the_slope_that_is_told(self, name):
        for x, slope in KINKS[name].items():
            assert ACTIVATIONS[name].derivative(numbers(x)).item() == pytest.approx(slope)

    @pytest.mark.parametrize("name", TORCH)
    def test_kinks_are_where_it_is_told_and_nowhere_else(self, name):
        h = 1e-7
        x = torch.arange(-800, 801, dtype=torch.float64) / 100
        left, right = (ACTIVATIONS[name].derivative(x + side) for side in (-h, h))
        alpha = {"elu"}  # at its default it has no kink
        kinks = [] if name in alpha else sorted(KINKS.get(name, {}))
        assert x[(left - right).abs() > 1e-3].tolist() == kinks

    @pytest.mark.parametrize(("name", "parameters"), PARAMETERS, ids=str)
    def test_finite_far_out(self, name, parameters, dtype):
        x = numbers([-1e4, 1e4], dtype)
        assert ACTIVATIONS[name](x, **parameters).isfinite().all()
        assert ACTIVATIONS[name].derivative(x, **parameters).isfinite().all()

    @pytest.mark.parametrize("name", TORCH)
    def test_finite_very_far_out(self, name):
        x = numbers([-1e30, 1e30], torch.float32)
        assert ACTIVATIONS[name](x).isfinite().all()
        assert ACTIVATIONS[name].derivative(x).isfinite().all()

    @pytest.mark.parametrize("name", TORCH)
    def test_inside_a_network_what_is_no_number_stays_none(self, name):
        assert ACTIVATIONS[name].formula(numbers([math.nan])).isnan().all()


class TestFacts:
    def test_tanh_is_a_stretched_sigmoid(self):
        x = points()
        assert_close(activate("tanh", x), 2 * activate("sigmoid", 2 * x) - 1)

    def test_swish_goes_from_half_of_x_to_relu(self):
        x = torch.linspace(-3, 3, 60_001, dtype=torch.float64)
        assert_close(activate("swish", x, beta=0), x / 2)
        distance = [
            (activate("swish", x, beta=beta) - activate("relu", x)).abs().max().item()
            for beta in (1, 5, 50)
        ]
        assert distance == pytest.approx([0.27846454, 0.27846454 / 5, 0.27846454 / 50], rel=1e-4)

    def test_swish_falls_below_its_dip(self):
        """Non-monotonic: the slope is negative left of -1.278 and positive right of it."""
        slope = ACTIVATIONS["swish"].derivative(numbers([-5.0, -1.279, -1.278, 0.0]))
        assert (slope < 0).tolist() == [True, True, False, False]

    def test_the_tanh_formula_of_gelu_is_near(self):
        x = torch.linspace(-10, 10, 100_001, dtype=torch.float64)
        distance = (activate("gelu", x) - activate("gelu_tanh", x)).abs().max()
        assert 4e-4 < distance < 5e-4

    def test_sigmoid_is_never_zero_or_centred(self):
        assert activate("sigmoid", numbers(-1.0)).item() == pytest.approx(0.2689, abs=1e-4)
        assert activate("tanh", numbers(0.0)) == 0
        sides = ACTIVATIONS["sigmoid"].derivative(numbers([-6.0, 6.0]))
        assert (sides > 0).all()


# ---------------------------------------------------------------- ranges, slopes, costs


@pytest.mark.parametrize(
    ("name", "parameters"),
    [*PARAMETERS, ("swish", {"beta": 0}), ("swish", {"beta": -2.0}), ("elu", {"alpha": -1.0})],
    ids=str,
)
def test_ranges_and_steepest_slopes_hold_and_are_reached(name, parameters):
    activation = ACTIVATIONS[name]
    x = torch.linspace(-200, 200, 4_000_001, dtype=torch.float64)
    y = activation(x, **parameters)
    told, steepest = activation.range(**parameters), activation.steepest(**parameters)
    for end, taken, most in (
        (told.low, told.low_taken, y.min()),
        (told.high, told.high_taken, y.max()),
    ):
        if math.isinf(end):
            assert most.abs() > 1.0
        else:
            assert most.item() == pytest.approx(end, abs=1e-4)
            assert taken or name in ("sigmoid", "tanh", "elu", "selu", "softplus")
    assert told.low - 1e-9 <= y.min()
    assert y.max() <= told.high + 1e-9
    slope = activation.derivative(x, **parameters).abs().max()
    assert slope.item() == pytest.approx(steepest, rel=1e-5)
    assert slope <= steepest + 1e-8


@pytest.mark.parametrize(
    ("name", "parameters", "text"),
    [
        ("sigmoid", {}, "(0, 1)"),
        ("tanh", {}, "(-1, 1)"),
        ("relu6", {}, "[0, 6]"),
        ("leaky_relu", {}, "(-∞, ∞)"),
        ("leaky_relu", {"negative_slope": 0}, "[0, ∞)"),
        ("selu", {}, "(-1.76, ∞)"),
        ("swish", {"beta": 0}, "(-∞, ∞)"),
        ("swish", {"beta": 50}, "[-0.00557, ∞)"),
        ("hard_swish", {}, "[-0.375, ∞)"),
    ],
)
def test_ranges_in_words(name, parameters, text):
    assert profile(name, **parameters).range == text


class Counted:
    """A number that counts what is done with it."""

    def __init__(self, value, log):
        self.value, self.log = value, log

    def _with(self, other, result):
        self.log.append("+")
        return Counted(result, self.log)

    def __add__(self, other):
        return self._with(other, self.value + plain(other))

    __radd__ = __add__

    def __sub__(self, other):
        return self._with(other, self.value - plain(other))

    def __mul__(self, other):
        return self._with(other, self.value * plain(other))

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._with(other, self.value / plain(other))

    def __rtruediv__(self, other):
        return self._with(other, plain(other) / self.value)

    def __neg__(self):
        return self._with(None, -self.value)

    def __gt__(self, other):
        return self._with(other, self.value > plain(other)).value

    def __lt__(self, other):
        return self._with(other, self.value < plain(other)).value


def plain(number):
    return number.value if isinstance(number, Counted) else number


def counted(name):
    def apply(x):
        x.log.append(name)
        return Counted(getattr(math, name)(x.value), x.log)

    return apply


exp, log, tanh, erf = map(counted, ("exp", "log", "tanh", "erf"))
WRITTEN = {
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "tanh": lambda x: tanh(x),
    "relu": lambda x: x if x > 0 else 0.0,
    "relu6": lambda x: (x if x < 6 else 6.0) if x > 0 else 0.0,
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "elu": lambda x: x if x > 0 else 1.0 * (exp(x) - 1),
    "selu": lambda x: 1.0507 * (x if x > 0 else 1.67326 * (exp(x) - 1)),
    "swish": lambda x: x * (1 / (1 + exp(-(1.0 * x)))),
    "hard_swish": lambda x: x * ((y if y < 6 else 6.0) if (y := x + 3) > 0 else 0.0) / 6,
    "mish": lambda x: x * tanh(log(1 + exp(x))),
    "gelu": lambda x: x * (1 + erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: 0.5 * x * (1 + tanh(0.7978845608 * (x + 0.044715 * (x * x * x)))),
    "softplus": lambda x: log(1 + exp(1.0 * x)) / 1.0,
}


@pytest.mark.parametrize("name", TORCH)
def test_costs_are_those_of_the_formulas_as_written(name):
    """The dearer branch counts, and the formula is that of the activation."""
    costs = []
    for x in (-1.0, 1.0):
        log = []
        value = WRITTEN[name](Counted(x, log))
        expected = ACTIVATIONS[name](numbers(x)).item()
        assert plain(value) == pytest.approx(expected, rel=1e-4)
        functions = tuple(sorted(done for done in log if done != "+"))
        costs.append((log.count("+"), functions))
    told = ACTIVATIONS[name].cost
    assert max(costs) == (told.arithmetic, tuple(sorted(told.functions)))


def test_costs_in_words():
    assert str(Cost(0, ("tanh",))) == "tanh"
    assert str(Cost(2)) == "2"
    assert str(Cost(3, ("exp", "log"))) == "3 + exp + log"
    assert str(Interval(-math.inf, 1, high_taken=True)) == "(-∞, 1]"


# ---------------------------------------------------------------- curves


def test_a_curve_holds_values_and_slopes(device, dtype):
    found = curve("swish", -2, 2, 5, device=device, dtype=dtype, beta=2.0)
    x = numbers([-2.0, -1.0, 0.0, 1.0, 2.0], dtype, device)
    assert_close(found.x, x)
    assert_close(found.value, ACTIVATIONS["swish"](x, beta=2.0))
    assert_close(found.slope, ACTIVATIONS["swish"].derivative(x, beta=2.0))


def test_a_curve_reaches_both_ends_and_hits_zero(dtype, device):
    x = curve("tanh", -5, 5, 401, device=device, dtype=dtype).x
    assert x[[0, 200, 400]].tolist() == [-5, 0, 5]
    assert x.diff().min() > 0


# ---------------------------------------------------------------- signals


class TestSignal:
    @pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1, 2), (-2, 0.5), (-3, 1), (3, 3)])
    def test_relu_has_the_moments_of_a_cut_normal(self, mean, spread):
        share, density = NORMAL.cdf(mean / spread), NORMAL.pdf(mean / spread)
        first = mean * share + spread * density
        second = (mean**2 + spread**2) * share + mean * spread * density
        found = signal_statistics("relu", numbers(float(mean)), numbers(float(spread)))
        assert found.mean.item() == pytest.approx(first, abs=2e-4 * spread)
        assert found.variance.item() == pytest.approx(second - first**2, abs=2e-4 * spread**2)
        assert found.zero.item() == pytest.approx(1 - share, abs=1e-4)
        assert found.saturated.item() == found.zero.item()

    def test_gelu_of_a_standard_normal(self):
        """E[x Φ(x)] = E[φ(x)] = 1 / (2 √π), by Stein's lemma."""
        found = signal_statistics("gelu", numbers(0.0), numbers(1.0))
        assert found.mean.item() == pytest.approx(1 / (2 * math.sqrt(math.pi)), abs=1e-4)
        assert found.zero == 0

    @pytest.mark.parametrize("spread", [0.5, 2.0, 5.0])
    def test_sigmoid_saturates_where_its_slope_is_small(self, spread):
        """σ(1 - σ) = 0.01 where σ = (1 - √0.96) / 2, at x = ±4.585."""
        sigmoid = (1 - math.sqrt(0.96)) / 2
        edge = math.log((1 - sigmoid) / sigmoid)
        found = signal_statistics("sigmoid", numbers(0.0), numbers(spread))
        assert found.saturated.item() == pytest.approx(2 * NORMAL.cdf(-edge / spread), abs=2e-4)
        assert found.mean.item() == pytest.approx(0.5)
        assert found.zero == 0

    def test_a_kink_at_its_place_in_the_normal(self):
        """A normal of mean 0.5 and spread 1: half of it lies below 0.5, 31 % below 0."""
        found = signal_statistics("relu6", numbers(0.5), numbers(1.0))
        assert found.zero.item() == pytest.approx(NORMAL.cdf(-0.5), abs=1e-4)

    def test_drawn_by_chance_it_is_the_same(self, device, dtype):
        drawn = torch.randn(200_000, generator=generator()).to(device, dtype) * 1.5 - 0.5
        for name in TORCH:
            found = signal_statistics(
                name, numbers(-0.5, dtype, device), numbers(1.5, dtype, device)
            )
            y = TORCH[name](drawn)
            error = 5 * y.std().item() / math.sqrt(len(drawn))
            assert found.mean.item() == pytest.approx(y.mean().item(), abs=error)
            assert found.variance.item() == pytest.approx(y.var().item(), rel=0.03)
            assert (found.mean.dtype, found.share.dtype) == (dtype, dtype)
            counts = torch.histc(y, bins=60, min=-3, max=3) / len(drawn)
            assert_close(found.share, counts, atol=0.005, rtol=0)

    def test_a_constant(self):
        found = signal_statistics("tanh", numbers(0.3), numbers(0.0), low=-1, high=1, bins=10)
        assert found.variance.item() == pytest.approx(0.0, abs=1e-12)
        assert found.mean.item() == pytest.approx(math.tanh(0.3))
        assert found.share.tolist() == [0] * 6 + [1] + [0] * 3

    def test_bins_hold_their_lower_edge_and_the_last_its_upper(self):
        found = signal_statistics("relu6", numbers(50.0), numbers(1.0), low=0, high=6, bins=3)
        assert found.share.tolist() == [0, 0, 1]
        found = signal_statistics("relu", numbers(-50.0), numbers(1.0), low=0, high=6, bins=3)
        assert found.share.tolist() == [1, 0, 0]

    def test_what_lies_beyond_is_in_no_bin(self):
        found = signal_statistics("relu", numbers(0.0), numbers(1.0), low=1, high=2, bins=4)
        assert found.share.sum().item() == pytest.approx(NORMAL.cdf(2) - NORMAL.cdf(1), abs=2e-4)

    @pytest.mark.parametrize("name", TORCH)
    def test_a_sweep_is_its_single_signals(self, name):
        mean, spread = torch.meshgrid(
            numbers([-4.0, -0.3, 0.0, 4.0]), numbers([0.0, 0.7, 5.0]), indexing="ij"
        )
        swept = signal_statistics(name, mean, spread, points=500)
        assert swept.share.shape == (4, 3, 60)
        for i in range(4):
            for j in range(3):
                single = signal_statistics(name, mean[i, j], spread[i, j], points=500)
                for field, value in vars(single).items():
                    assert_close(getattr(swept, field)[i, j], value)

    def test_all_signals_are_those_of_each(self, dtype, device):
        mean, spread = numbers(0.5, dtype, device), numbers(2.0, dtype, device)
        found = all_signals(mean, spread, low=-1, high=4, bins=7, points=300)
        for i, name in enumerate(TORCH):
            options = {"low": -1, "high": 4, "bins": 7, "points": 300}
            single = signal_statistics(name, mean, spread, **options)
            for field, value in vars(single).items():
                assert_close(getattr(found, field)[i], value)

    @pytest.mark.parametrize(("mean", "spread"), [(0.0, 1.0), (-2.0, 0.1), (3.0, 4.0)])
    def test_shares_of_the_normal_itself(self, mean, spread, dtype, device):
        given = numbers(mean, dtype, device), numbers(spread, dtype, device)
        found = normal_shares(*given, low=-4, high=4, bins=8)
        normal = NormalDist(mean, spread)
        expected = [normal.cdf(edge + 1) - normal.cdf(edge) for edge in range(-4, 4)]
        assert_close(found, numbers(expected, dtype, device), atol=1e-6, rtol=1e-5)

    def test_numbers_are_plain(self):
        signal = signal_statistics("relu6", numbers(3.0), numbers(3.0))
        found = signal_numbers(signal)
        assert found.output_mean == pytest.approx(3.0)  # symmetric between 0 and 6
        assert found.zero == pytest.approx(100 * NORMAL.cdf(-1), abs=0.01)
        assert found.saturated == pytest.approx(200 * NORMAL.cdf(-1), abs=0.02)
        assert found.output_variance == signal.variance.item()

    def test_an_empty_sweep(self):
        found = signal_statistics("relu", torch.zeros(0), torch.zeros(0))
        assert (found.mean.shape, found.share.shape) == ((0,), (0, 60))


# ---------------------------------------------------------------- pictures


def picture(rows, device=None):
    grey = torch.tensor(rows, dtype=torch.uint8, device=device)
    return grey[..., None].expand(-1, -1, 3)


class TestEdges:
    def test_worked_by_hand(self, device):
        """The kernel [-1 0 1; -2 0 2; -1 0 1] / 4 on a step of 51 / 255 = 0.2 in every row."""
        found = edge_response(picture([[0, 0, 51, 51]] * 3, device), "vertical")
        assert_close(found, numbers([[0, 0.2, 0.2, 0]] * 3, torch.float32, device))
        turned = edge_response(picture([[51], [0], [0]], device), "horizontal", gain=2.0)
        assert_close(turned, numbers([[-0.4], [-0.4], [0]], torch.float32, device))

    def test_the_sign_tells_which_side_is_brighter(self):
        image = torch.randint(256, (20, 30, 3), generator=generator(), dtype=torch.uint8)
        found = edge_response(image, "vertical")
        assert_close(edge_response(image.flip(1), "vertical"), -found.flip(1))
        assert_close(edge_response(image.transpose(0, 1), "horizontal"), found.T)
        assert found.abs().max() <= 1

    def test_grey_is_luma(self):
        colours = torch.tensor([[[0, 0, 0], [0, 0, 0], [255, 0, 0]]], dtype=torch.uint8)
        assert edge_response(colours, "vertical")[0, 1].item() == pytest.approx(0.299)

    def test_an_even_photo_has_no_edges(self):
        for shape in ((1, 1), (1, 7), (400, 3)):
            image = torch.full((*shape, 3), 130, dtype=torch.uint8)
            assert edge_response(image, "horizontal").abs().max() < 1e-6

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [((500, 634), (126, 160)), ((160, 20), (160, 20)), ((1024, 2), (160, 1)), ((1, 1), (1, 1))],
    )
    def test_long_photos_are_shrunk(self, shape, expected):
        image = torch.zeros((*shape, 3), dtype=torch.uint8)
        assert edge_response(image, "vertical").shape == expected


class TestFirstLayer:
    def test_what_comes_before_the_first_relu6(self):
        network = mobilenet_v2()
        image = torch.randint(256, (40, 60, 3), generator=generator(), dtype=torch.uint8)
        found = torch.stack([first_layer_response(network, image, k) for k in range(32)])
        assert found.shape == (32, 20, 30)
        x = (image.double() / 255 - numbers(MEAN)) / numbers(STD)
        state = {name: value.double() for name, value in network.state_dict().items()}
        y = functional.conv2d(
            x.permute(2, 0, 1)[None], state["features.0.0.weight"], stride=2, padding=1
        )
        y = functional.batch_norm(
            y,
            *(state[f"features.0.1.running_{name}"] for name in ("mean", "var")),
            state["features.0.1.weight"],
            state["features.0.1.bias"],
        )
        assert_close(found.double(), y[0], atol=1e-4, rtol=1e-4)
        shown = network.features[0]((x.float().permute(2, 0, 1))[None])[0]
        assert_close(activate("relu6", found), shown, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize(
        ("shape", "expected"), [((500, 634), (101, 128)), ((1, 1), (1, 1)), ((1024, 3), (128, 1))]
    )
    def test_the_whole_photo_is_read(self, shape, expected):
        image = torch.zeros((*shape, 3), dtype=torch.uint8)
        assert first_layer_response(mobilenet_v2(), image, 31).shape == expected


def test_only_what_is_flat_gives_exact_zeros():
    mean, spread = torch.tensor([-4.0, 4.0], dtype=torch.float64)
    found = all_signals(mean, spread).zero
    borders = {"relu": 1.0, "relu6": 1.0, "hard_swish": 0.25}  # (0 + 4) / 4, (−3 + 4) / 4
    for name, share in zip(ACTIVATIONS, found.tolist(), strict=True):
        wanted = NORMAL.cdf(borders[name]) if name in borders else 0
        assert share == pytest.approx(wanted, abs=1e-3), name


def test_percent_zero(device, dtype):
    assert percent_zero(numbers([[0.0, -0.0, 1e-30], [-1.0, 5.0, 0.0]], dtype, device)) == 50
    assert percent_zero(numbers(1.0, dtype, device)) == 0


# ---------------------------------------------------------------- vanishing


class TestChain:
    @pytest.mark.parametrize("name", TORCH)
    def test_equals_back_propagation(self, name):
        start = numbers([-1.5, -0.2, 0.4, 2.0])
        chain = gradient_chain(name, 12, start, gain=1.3)
        x = start.clone().requires_grad_()
        y = x
        for depth in range(13):
            assert_close(chain.value[depth], y.detach())
            expected = torch.autograd.grad(y.sum(), x, retain_graph=True)[0]
            assert_close(chain.gradient[depth], expected.abs())
            y = TORCH[name](1.3 * y)

    def test_sigmoid_by_hand(self):
        """σ'(0) = 1/4; then σ(0) = 1/2 and σ'(1/2) = 0.2350."""
        chain = gradient_chain("sigmoid", 2, numbers([0.0]))
        assert chain.value[:, 0].tolist() == pytest.approx([0, 0.5, 0.62245933])
        assert chain.gradient[:, 0].tolist() == pytest.approx([1, 0.25, 0.25 * 0.23500371])

    @pytest.mark.parametrize("name", TORCH)
    @pytest.mark.parametrize("gain", [-4.0, 0.0, 0.5, 4.0])
    def test_no_more_than_the_steepest_slope_allows(self, name, gain):
        start = torch.linspace(-3, 3, 61, dtype=torch.float64)
        chain = gradient_chain(name, 50, start, gain)
        limit = numbers(abs(gain) * ACTIVATIONS[name].steepest()) ** torch.arange(51)
        assert (chain.gradient <= limit[:, None] * (1 + 1e-6)).all()
        assert chain.gradient.isfinite().all()

    def test_relu_lets_everything_through_or_nothing(self):
        chain = gradient_chain("relu", 50, numbers([-1.0, 2.0]))
        assert chain.gradient[-1].tolist() == [0, 1]

    def test_a_chain_in_float32_at_the_ends_of_the_sliders(self, device):
        for name in TORCH:
            for gain in (0.1, 3.0):
                start = numbers([-3.0, 0.0, 3.0], torch.float32, device)
                assert gradient_chain(name, 50, start, gain).gradient.shape == (51, 3)


# ---------------------------------------------------------------- dying


def plain_networks(x, y, seed, learning_rate, negative_slope, steps):
    """The same two networks as modules of torch, each trained by itself."""
    draw = generator(seed)
    first = []
    sizes = [1, *[WIDTH] * LAYERS, 1]
    for fan_in, fan_out in pairwise(sizes):
        weight = torch.randn(fan_in, fan_out, generator=draw) * math.sqrt(2 / fan_in)
        bias = torch.rand(1, fan_out, generator=draw) * 2 - 1
        first.append((weight, bias[0] if fan_in == 1 else torch.zeros(fan_out)))
    batches = [torch.randint(len(x), (BATCH,), generator=draw) for _ in range(steps)]
    losses = []
    for slope in (0.0, negative_slope):
        layers = []
        for weight, bias in first:
            linear = torch.nn.Linear(*weight.shape, dtype=x.dtype)
            linear.weight.data, linear.bias.data = weight.T.to(x).clone(), bias.to(x).clone()
            layers += [linear, torch.nn.LeakyReLU(slope)]
        network = torch.nn.Sequential(*layers[:-1])
        adam = torch.optim.Adam(network.parameters(), lr=learning_rate)
        for batch in batches:
            adam.zero_grad()
            functional.mse_loss(network(x[batch, None])[:, 0], y[batch]).backward()
            adam.step()
        losses.append(functional.mse_loss(network(x[:, None])[:, 0], y).item())
    return losses


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the app: on busy cores threads wait for one another longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
class TestDying:
    def states(self, seed=0, **options):
        target = wave(64, dtype=torch.float64)
        return list(train_dying_relu(target.x, target.y, generator(seed), **options))

    def test_equals_two_networks_trained_apart(self):
        options = {"learning_rate": 0.05, "negative_slope": 0.2, "steps": 15}
        target = wave(64, dtype=torch.float64)
        expected = plain_networks(target.x, target.y, 3, **options)
        found = self.states(3, **options)[-1]
        assert found.loss.tolist() == pytest.approx(expected, rel=1e-9)

    def test_both_begin_the_same(self):
        start = self.states(steps=1, negative_slope=0.0)[0]
        assert start.step == 0
        assert start.output[0].equal(start.output[1])
        assert start.active[0].equal(start.active[1])

    def test_without_a_leak_both_stay_the_same(self):
        for state in self.states(steps=20, negative_slope=0.0):
            assert state.output[0].equal(state.output[1])
            assert state.dead[0].equal(state.dead[1])

    def test_what_a_state_tells(self):
        target = wave(64, dtype=torch.float64)
        for state in self.states(steps=30):
            assert_close(state.loss, (state.output - target.y).square().mean(dim=1))
            assert state.active.shape == (2, LAYERS, WIDTH)
            assert ((state.active >= 0) & (state.active <= 1)).all()
            assert state.dead[0].equal((state.active[0] == 0).sum(dim=1))
            assert state.dead[1].tolist() == [0] * LAYERS

    def test_a_rate_too_high_kills_units(self):
        """Over five starts, so that none of them is picked."""
        died, lost = [], []
        for rate in (0.01, 0.5):
            ends = [self.states(seed, learning_rate=rate, steps=300)[-1] for seed in range(5)]
            died.append(sum(int(end.dead[0].sum()) for end in ends) / 5)
            lost.append(torch.stack([end.loss for end in ends]).median(dim=0).values)
        assert died[0] < LAYERS * WIDTH / 3
        assert died[1] > LAYERS * WIDTH * 3 / 4
        assert lost[0][0] < 0.05
        assert lost[1][0] > 0.4
        assert lost[1][1] < lost[1][0] / 2

    def test_a_dead_unit_in_the_first_layer_stays_dead(self):
        """Its inputs never change, and no gradient reaches its weights: momentum apart."""
        states = [state for state in self.states(steps=600) if state.step >= 300]
        dead = torch.stack([state.active[0, 0] == 0 for state in states])
        assert dead.any()
        assert dead[0].equal(dead[-1])

    def test_the_seed_decides(self):
        once, again, other = (self.states(seed, steps=5)[-1] for seed in (0, 0, 1))
        assert once.output.equal(again.output)
        assert not once.output.equal(other.output)

    @pytest.mark.parametrize("steps", [1, 2, 21, 200])
    def test_states_come_when_they_are_announced(self, steps):
        assert [state.step for state in self.states(steps=steps)] == observed_steps(steps)

    def test_observed_steps_grow_apart_and_the_last_is_there(self):
        steps = observed_steps(500)
        assert steps[:20] == list(range(20))
        assert steps[-1] == 500
        assert len(steps) < 100
        assert all(a < b <= max(a + 1, 1.07 * a) for a, b in pairwise(steps))
        assert observed_steps(1) == [0, 1]

    @pytest.mark.parametrize("learning_rate", [1e-4, 1.0])
    @pytest.mark.parametrize("negative_slope", [0.0, 1.0])
    def test_finite_at_the_ends_of_the_sliders(self, learning_rate, negative_slope, device):
        target = wave(device=device)
        options = {"learning_rate": learning_rate, "negative_slope": negative_slope}
        *_, last = train_dying_relu(target.x, target.y, generator(), **options)
        assert last.loss.isfinite().all()
        assert last.output.device.type == device.type

    def test_a_stopped_training_can_go_on_beside_others(self):
        """Each generator has its own networks."""
        target = wave(64, dtype=torch.float64)
        one = train_dying_relu(target.x, target.y, generator(), steps=6)
        other = train_dying_relu(target.x, target.y, generator(), steps=6)
        pairs = list(zip(one, other, strict=True))
        assert all(a.output.equal(b.output) for a, b in pairs)

    def test_inside_no_grad(self):
        with torch.no_grad():
            states = self.states(steps=3)
        assert not states[0].loss.equal(states[-1].loss)


# ---------------------------------------------------------------- errors

ZERO, ONE = torch.tensor(0.0), torch.tensor(1.0)
NOT_A_NUMBER = torch.tensor([1.0, torch.nan])
LINE = torch.linspace(-1, 1, 8)
GREY = torch.zeros((2, 2, 3), dtype=torch.uint8)


def train(**changes):
    arguments = {"x": LINE, "y": LINE, "generator": generator()}
    return next(train_dying_relu(**arguments | changes))


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: activate("silu", ONE), r"activation is 'silu': one of sigmoid, tanh, .*gelu"),
            (lambda: ACTIVATIONS["relu"](NOT_A_NUMBER), r"x has nan: finite numbers"),
            (lambda: ACTIVATIONS["mish"].derivative(ONE * torch.inf), r"x has inf: finite"),
            (lambda: ACTIVATIONS["relu"](torch.tensor([1])), r"x has dtype torch.int64: floating"),
            (lambda: ACTIVATIONS["relu"](ONE, beta=1), r"beta is no parameter of relu: .* none"),
            (lambda: ACTIVATIONS["elu"](ONE, beta=1), r"beta is no parameter of elu: .* alpha"),
            (lambda: ACTIVATIONS["elu"](ONE, alpha=torch.nan), r"alpha is nan: a finite number"),
            (lambda: ACTIVATIONS["prelu"](ONE, weight=NOT_A_NUMBER), r"weight has nan: finite"),
            (lambda: ACTIVATIONS["softplus"](ONE, beta=0), r"beta is 0: a positive, finite"),
            (lambda: ACTIVATIONS["softplus"](ONE, beta=ZERO), r"beta is 0.*: a positive, finite"),
            (lambda: ACTIVATIONS["swish"].range(beta=torch.inf), r"beta is inf: a finite number"),
            (lambda: ACTIVATIONS["tanh"].steepest(alpha=1), r"alpha is no parameter of tanh"),
            (lambda: profile("relu", alpha=1), r"alpha is no parameter of relu"),
            (lambda: curve("relu", 1, 1, 9), r"low is 1, high is 1: .*low < high"),
            (lambda: curve("relu", -torch.inf, 1, 9), r"low is -inf"),
            (lambda: curve("relu", 0, 1, 1), r"points is 1: at least 2"),
            (lambda: signal_statistics("step", ZERO, ONE), r"activation is 'step'"),
            (lambda: signal_statistics("relu", ZERO / 0, ONE), r"mean has nan"),
            (lambda: signal_statistics("relu", ZERO, ONE / 0), r"spread has inf"),
            (lambda: signal_statistics("relu", ZERO, -ONE), r"spread has -1: none may be negative"),
            (lambda: signal_statistics("relu", ZERO, LINE), r"spread has shape \[8\], mean has"),
            (lambda: signal_statistics("relu", ZERO, ONE, low=2, high=1), r"low is 2, high is 1"),
            (lambda: signal_statistics("relu", ZERO, ONE, bins=0), r"bins is 0: at least 1"),
            (lambda: signal_statistics("relu", ZERO, ONE, points=0), r"points is 0: at least 1"),
            (
                lambda: signal_numbers(signal_statistics("relu", LINE, LINE * 0)),
                r"signal has shape \[8\]: a single one",
            ),
            (lambda: normal_shares(ZERO, ZERO, low=0, high=1, bins=1), r"spread is 0: a positive"),
            (lambda: normal_shares(ZERO, ONE, low=1, high=0, bins=1), r"low is 1, high is 0"),
            (lambda: normal_shares(ZERO, ONE, low=0, high=1, bins=0), r"bins is 0: at least 1"),
            (lambda: observed_steps(0), r"steps is 0: at least 1"),
            (lambda: edge_response(GREY, "diagonal"), r"direction is 'diagonal': 'vertical' or"),
            (lambda: edge_response(GREY, "vertical", gain=0), r"gain is 0: a positive, finite"),
            (lambda: edge_response(GREY, "vertical", side=0), r"side is 0: at least 1"),
            (lambda: edge_response(GREY[:0], "vertical"), r"image must have the shape"),
            (lambda: first_layer_response(mobilenet_v2(), GREY, 32), r"channel is 32: 0 to 31"),
            (lambda: first_layer_response(mobilenet_v2(), GREY, -1), r"channel is -1: 0 to 31"),
            (lambda: first_layer_response(mobilenet_v2(), GREY, 0, side=0), r"side is 0"),
            (lambda: percent_zero(LINE[:0]), r"values has shape \[0\]: at least one"),
            (lambda: gradient_chain("relu", 0, LINE), r"depth is 0: at least 1"),
            (lambda: gradient_chain("relu", 1, NOT_A_NUMBER), r"start has nan"),
            (lambda: gradient_chain("relu", 1, LINE, gain=torch.nan), r"gain is nan: a finite"),
            (lambda: gradient_chain("relu", 50, LINE, gain=1e3), r"gain is 1000.0, depth is 50"),
            (lambda: wave(1), r"points is 1: at least 2"),
            (lambda: train(x=LINE[:3]), r"y has shape \[8\]: \[n\] is needed, as x has it"),
            (lambda: train(x=LINE[None]), r"x has shape \[1, 8\]"),
            (lambda: train(x=LINE[:0], y=LINE[:0]), r"x has shape \[0\]"),
            (lambda: train(y=LINE / 0), r"y has (-inf|nan)"),
            (lambda: train(learning_rate=0), r"learning_rate is 0: a number in \(0, 1\]"),
            (lambda: train(learning_rate=torch.nan), r"learning_rate is nan"),
            (lambda: train(negative_slope=1.5), r"negative_slope is 1.5: a number in \[0, 1\]"),
            (lambda: train(steps=0), r"steps is 0: at least 1"),
        ],
    )
    def test_message(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


def test_shapes_are_checked_in_tests():
    with pytest.raises(TypeCheckError):
        gradient_chain("relu", 1, ONE)


def test_the_kinks_are_told_where_the_module_begins():
    assert all(name in module.__doc__ for name in KINKS)
