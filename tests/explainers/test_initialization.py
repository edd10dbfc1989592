import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from explainers.activations import ACTIVATIONS
from explainers.initialization import (
    DEAD,
    EXPLODED,
    SCHEMES,
    Spread,
    compare_schemes,
    fans,
    fates,
    fitting_nonlinearity,
    gain,
    initialize,
    photo_maps,
    predicted_variance,
    propagate,
    random_inputs,
    shrunk,
    signal_limits,
    single,
    sweep_gains,
    variance_law,
    weight_size,
)

NUMBERS = ["activation_std", "activation_mean", "gradient_std", "sum_variance", "input_square"]
SHAPES = [(1, 1), (8, 3), (3, 8), (64, 64), (16, 8, 3, 3), (4, 32, 5)]
FUNCTIONS = {
    "relu": nn.ReLU(),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "gelu": nn.GELU(),
    "leaky_relu": nn.LeakyReLU(),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_torch(weight, scheme, seeded, nonlinearity="relu", mode="fan_in", gain=1.0):
    """Fill a tensor as torch.nn.init does."""
    init, kaiming = nn.init, {"mode": mode, "nonlinearity": nonlinearity, "generator": seeded}
    fill = {
        "zeros": lambda: init.zeros_(weight),
        "constant": lambda: init.constant_(weight, 0.01),
        "normal": lambda: init.normal_(weight, 0.0, 1.0, generator=seeded),
        # What nn.Linear and nn.Conv2d do in reset_parameters: ±1/√fan_in.
        "uniform_fan_in": lambda: init.kaiming_uniform_(weight, math.sqrt(5), generator=seeded),
        "xavier_uniform": lambda: init.xavier_uniform_(weight, gain, generator=seeded),
        "xavier_normal": lambda: init.xavier_normal_(weight, gain, generator=seeded),
        "kaiming_uniform": lambda: init.kaiming_uniform_(weight, **kaiming),
        "kaiming_normal": lambda: init.kaiming_normal_(weight, **kaiming),
        "orthogonal": lambda: init.orthogonal_(weight, gain, generator=seeded),
    }
    return fill[scheme]()


# ---------------------------------------------------------------- weights


class TestWeights:
    def test_every_scheme_of_the_interface_is_there(self):
        assert set(SCHEMES) == {
            *("zeros", "constant", "normal", "uniform_fan_in", "orthogonal"),
            *("xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"),
        }

    @pytest.mark.parametrize("scheme", SCHEMES)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_equal_to_torch_from_the_same_generator(self, scheme, shape):
        wanted = by_torch(torch.empty(shape), scheme, generator(3))
        assert_close(initialize(shape, scheme, generator(3)), wanted)

    @pytest.mark.parametrize("scheme", ["xavier_uniform", "xavier_normal", "orthogonal"])
    def test_gain_belongs_to_xavier_and_orthogonal(self, scheme):
        wanted = by_torch(torch.empty(8, 6), scheme, generator(), gain=2.5)
        assert_close(initialize((8, 6), scheme, generator(), gain=2.5), wanted)
        kaiming = initialize((8, 6), "kaiming_normal", generator())
        assert_close(initialize((8, 6), "kaiming_normal", generator(), gain=2.5), kaiming)

    @pytest.mark.parametrize("scheme", ["kaiming_uniform", "kaiming_normal"])
    @pytest.mark.parametrize("nonlinearity", ["linear", "tanh", "relu", "leaky_relu", "selu"])
    @pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
    def test_nonlinearity_and_mode_belong_to_kaiming(self, scheme, nonlinearity, mode):
        options = {"nonlinearity": nonlinearity, "mode": mode}
        wanted = by_torch(torch.empty(5, 9, 3, 3), scheme, generator(), **options)
        assert_close(initialize((5, 9, 3, 3), scheme, generator(), **options), wanted)

    def test_parameters_of_single_schemes(self):
        slope = {"nonlinearity": "leaky_relu", "a": 0.3}
        wanted = nn.init.kaiming_normal_(torch.empty(7, 5), generator=generator(), **slope)
        assert_close(initialize((7, 5), "kaiming_normal", generator(), **slope), wanted)
        wanted = nn.init.normal_(torch.empty(7, 5), 0.0, 0.02, generator=generator())
        assert_close(initialize((7, 5), "normal", generator(), std=0.02), wanted)
        assert (initialize((2, 2), "constant", generator(), val=-3.0) == -3).all()

    def test_double_precision(self):
        wanted = by_torch(torch.empty(9, 9, dtype=torch.float64), "orthogonal", generator())
        found = initialize((9, 9), "orthogonal", generator(), dtype=torch.float64)
        assert found.dtype == torch.float64
        assert_close(found, wanted)

    @pytest.mark.parametrize("scheme", ["orthogonal", "xavier_normal", "kaiming_uniform"])
    def test_weights_are_torchs_when_they_are_drawn_again(self, scheme):
        for _again in range(2):
            ours, torchs = generator(5), generator(5)
            for shape in ((4, 6), (6, 4), (6, 4)):
                wanted = by_torch(torch.empty(shape), scheme, torchs)
                found = initialize(shape, scheme, ours)
                assert_close(found, wanted)
                found.zero_()  # what is kept stays as it is
            assert torch.equal(torch.randn(3, generator=ours), torch.randn(3, generator=torchs))

    @pytest.mark.parametrize("fan_in", [8, 64, 512, 4096])
    @pytest.mark.parametrize(
        ("scheme", "variance", "kurtosis", "bound"),
        [
            ("normal", lambda i, o: 1.0, 3, None),
            ("uniform_fan_in", lambda i, o: 1 / (3 * i), 1.8, lambda i, o: 1 / i**0.5),
            ("xavier_uniform", lambda i, o: 2 / (i + o), 1.8, lambda i, o: (6 / (i + o)) ** 0.5),
            ("xavier_normal", lambda i, o: 2 / (i + o), 3, None),
            ("kaiming_uniform", lambda i, o: 2 / i, 1.8, lambda i, o: (6 / i) ** 0.5),
            ("kaiming_normal", lambda i, o: 2 / i, 3, None),
            ("orthogonal", lambda i, o: 1 / max(i, o), 3, None),
        ],
    )
    def test_moments_within_sampling_error(self, fan_in, scheme, variance, kurtosis, bound):
        fan_out = 256
        weights = initialize((fan_out, fan_in), scheme, generator(5), dtype=torch.float64)
        wanted, count = variance(fan_in, fan_out), weights.numel()
        assert abs(weights.mean()) < 5 * math.sqrt(wanted / count)
        error = math.sqrt((kurtosis - 1) / count) * wanted
        assert abs(weights.square().mean() - wanted) < 5 * error
        assert weight_size(weights.shape, scheme) == pytest.approx(math.sqrt(wanted))
        if bound:
            assert 0.98 * bound(fan_in, fan_out) < weights.abs().max() <= bound(fan_in, fan_out)

    @pytest.mark.parametrize("shape", [(16, 64), (64, 16), (8, 2, 3, 3)], ids=str)
    def test_orthogonal_rows_or_columns(self, shape):
        weights = initialize(shape, "orthogonal", generator(), gain=2, dtype=torch.float64)
        matrix = weights.flatten(1)
        matrix = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        assert_close(matrix @ matrix.T, 4 * torch.eye(len(matrix), dtype=torch.float64))


@pytest.mark.parametrize(
    ("name", "parameter"),
    [
        *((name, None) for name in ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d")),
        *((name, None) for name in ("sigmoid", "tanh", "relu", "leaky_relu", "selu")),
        *(("leaky_relu", slope) for slope in (0, 0.2, 1, -3.0)),
    ],
)
def test_gain_is_torchs(name, parameter):
    assert gain(name, parameter) == pytest.approx(nn.init.calculate_gain(name, parameter))


def test_every_activation_has_a_fitting_nonlinearity():
    found = {name: gain(fitting_nonlinearity(name)) for name in ACTIVATIONS}
    assert found["tanh"] == 5 / 3
    assert found["relu"] == found["gelu"] == found["mish"] == math.sqrt(2)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((10, 20), (20, 10)), ((64, 3, 7, 7), (147, 3136)), ((4, 5, 3), (15, 12)), ((1, 1), (1, 1))],
)
def test_fans(shape, wanted):
    assert fans(shape) == wanted


# ---------------------------------------------------------------- signals


def step_by_step(inputs, depth, scheme, activation, seed, width):
    """The numbers of `propagate` from torch's own layers, filled by torch.nn.init."""
    seeded = generator(seed)
    top_seed = int(torch.randint(2**62, (), generator=seeded))
    top = torch.randn(len(inputs), width, dtype=inputs.dtype, generator=generator(top_seed))
    x, found, outputs = inputs.clone().requires_grad_(), {name: [] for name in NUMBERS}, []
    for _layer in range(depth):
        layer = nn.Linear(x.shape[1], width, bias=False, dtype=inputs.dtype)
        by_torch(layer.weight.data, scheme, seeded, fitting_nonlinearity(activation))
        y = layer(x)
        found["input_square"].append(x.square().mean())
        found["sum_variance"].append(y.square().mean())
        x = FUNCTIONS[activation](y)
        x.retain_grad()
        found["activation_std"].append(x.std(correction=0))
        found["activation_mean"].append(x.mean())
        outputs.append(x)
    (x * top).sum().backward()
    found["gradient_std"] = [output.grad.std(correction=0) for output in outputs]
    return {name: torch.stack(numbers).detach() for name, numbers in found.items()}, outputs


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_signals_are_those_of_torchs_layers(scheme, activation, dtype):
    inputs = random_inputs(16, 24, generator(), dtype)
    found = propagate(inputs, 6, scheme, activation, generator(4), width=32)
    wanted, _outputs = step_by_step(inputs, 6, scheme, activation, 4, width=32)
    close = {"rtol": 1e-3, "atol": 1e-6} if dtype == torch.float32 else {}
    for name in NUMBERS:
        assert_close(getattr(found, name), wanted[name], msg=lambda m, name=name: name + m, **close)
    assert found.fan_in.tolist() == [24, *[32] * 5]


def test_histograms_are_torchs():
    inputs = random_inputs(32, 40, generator())
    found = propagate(inputs, 4, "normal", "relu", generator(4), bins=9)
    _numbers, outputs = step_by_step(inputs, 4, "normal", "relu", 4, width=40)
    for layer, output in enumerate(outputs):
        for histogram, values in (
            (found.activation_histogram, output.detach()),
            (found.gradient_histogram, output.grad),
        ):
            shown = values[values != 0].clamp(-3, 3)
            wanted = torch.histogram(shown, 9, range=(-3, 3)).hist
            assert (histogram[layer] - wanted).abs().sum() <= 2  # a value on an edge may go over
        assert found.zero_share[layer] == (output == 0).float().mean()


def test_saturated_units_have_almost_no_slope(dtype):
    found = propagate(random_inputs(64, 128, generator(), dtype), 3, "normal", "tanh", generator())
    # tanh' < 0.01 where |y| > 2.993; y is normal with the standard deviation that was measured.
    std = found.sum_variance.sqrt()
    wanted = 1 - torch.special.erf(2.993 / std / math.sqrt(2))
    assert_close(found.saturated, wanted, atol=0.02, rtol=0)


def test_the_device_of_the_inputs(device, dtype):
    inputs = random_inputs(4, 8, generator(), dtype).to(device)
    found = compare_schemes(inputs, 3, "relu", generator())
    sent = propagate(inputs, 3, "orthogonal", "tanh", generator())
    for result in (found, sent):
        assert {value.device.type for value in vars(result).values()} == {device.type}
        assert result.activation_std.dtype == dtype


def test_the_network_is_the_same_for_any_number_of_inputs(dtype):
    inputs = random_inputs(16, 24, generator(), dtype)
    few, many = inputs[:1], inputs[:1].expand(40, -1)
    one, other = (propagate(x, 5, "orthogonal", "tanh", generator(3), 32) for x in (few, many))
    for name in ("activation_std", "activation_mean", "sum_variance"):
        assert_close(getattr(one, name), getattr(other, name))


class TestFacts:
    """What the papers say."""

    INPUTS = random_inputs(64, 256, generator())

    def spread(self, scheme, activation, depth=30, **options):
        return propagate(self.INPUTS, depth, scheme, activation, generator(1), **options)

    def test_xavier_with_relu_halves_the_mean_square_in_every_layer(self):
        # He et al., 2015, section 2.2: the factor is n Var(w) / 2 = 1/2.
        # One network of this width strays by 2.4 %, the mean of twenty by 0.5 %.
        factors = []
        for seed in range(20):
            found = propagate(self.INPUTS, 30, "xavier_normal", "relu", generator(seed))
            factors.append(float(found.input_square[-1] / found.input_square[0]) ** (1 / 29))
        assert sum(factors) / len(factors) == pytest.approx(0.5, rel=0.02)

    def test_kaiming_keeps_relu_forward_and_backward(self):
        found = self.spread("kaiming_normal", "relu", 50)
        assert 0.3 < found.activation_std[-1] / found.activation_std[0] < 1.5
        assert 0.3 < found.gradient_std[0] < 3

    def test_xavier_keeps_tanh_alive(self):
        found = self.spread("xavier_normal", "tanh", 50)
        assert found.activation_std[-1] > 0.05
        assert found.gradient_std[0] > 0.05

    def test_normal_saturates_tanh(self):
        assert (self.spread("normal", "tanh").saturated > 0.8).all()

    def test_uniform_fan_in_divides_the_mean_square_by_six_with_relu(self):
        squares = self.spread("uniform_fan_in", "relu", 20).input_square
        assert (squares[-1] / squares[0]) ** (1 / 19) == pytest.approx(1 / 6, rel=0.06)

    def test_zeros_pass_nothing_on_but_sigmoid_still_gives_a_half(self):
        for activation, mean in (("relu", 0), ("tanh", 0), ("sigmoid", 0.5)):
            found = self.spread("zeros", activation, 5)
            assert (found.activation_mean == mean).all()
            assert (found.activation_std == 0).all()
            assert (found.gradient_std[:-1] == 0).all()

    def test_fan_out_keeps_the_gradient_where_the_width_changes(self):
        wide = random_inputs(64, 1024, generator())
        kept = propagate(wide, 1, "kaiming_normal", "relu", generator(), 128, mode="fan_out")
        law = variance_law(kept, 1)
        assert law.weight_variance == pytest.approx(2 / 128)
        assert law.predicted == pytest.approx(16 * law.input_square)

    def test_an_orthogonal_network_keeps_lengths_exactly_up_to_its_activations(self):
        found = propagate(self.INPUTS, 1, "orthogonal", "tanh", generator())
        assert found.sum_variance[0] == pytest.approx(float(found.input_square[0]), rel=1e-4)


# ---------------------------------------------------------------- batches


class TestBatches:
    INPUTS = random_inputs(16, 32, generator())

    @pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
    def test_comparing_is_propagating_each(self, activation):
        together = compare_schemes(self.INPUTS, 8, activation, generator(2), 24)
        for row, scheme in enumerate(SCHEMES):
            alone = propagate(self.INPUTS, 8, scheme, activation, generator(2), 24)
            for name in Spread.__dataclass_fields__:
                assert_close(getattr(together, name)[row], getattr(alone, name))

    def test_rows_are_in_the_order_that_was_asked_for(self):
        schemes = ["xavier_normal", "zeros", "xavier_uniform", "normal", "zeros"]
        found = compare_schemes(self.INPUTS, 3, "relu", generator(), schemes=schemes)
        variances = [weight_size((32, 32), scheme) ** 2 for scheme in schemes]
        assert found.weight_variance[:, 0].tolist() == pytest.approx(variances)

    @pytest.mark.parametrize("scheme", ["xavier_uniform", "xavier_normal", "orthogonal"])
    def test_sweeping_is_propagating_with_each_gain(self, scheme):
        gains = torch.tensor([0.0, 0.5, 1.4, 2.5])
        together = sweep_gains(self.INPUTS, 8, scheme, "tanh", generator(2), gains)
        for row, value in enumerate(gains.tolist()):
            alone = propagate(self.INPUTS, 8, scheme, "tanh", generator(2), gain=value)
            for name in Spread.__dataclass_fields__:
                assert_close(getattr(together, name)[row], getattr(alone, name))

    @pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu"])
    def test_sizes_alone_tell_apart_what_explodes_and_what_fades(self, activation, dtype):
        """Larger weights only enlarge these signals, so that one network is sent for all."""
        inputs = random_inputs(4, 16, generator(), dtype)
        together = compare_schemes(inputs, 90, activation, generator(2), 20)
        for row, scheme in enumerate(SCHEMES):
            alone = propagate(inputs, 90, scheme, activation, generator(2), 20)
            for name in Spread.__dataclass_fields__:
                assert_close(getattr(together, name)[row], getattr(alone, name), rtol=1e-4, atol=0)
        assert together.activation_std[0].sum() == 0
        assert together.activation_std.isinf().any() == (dtype == torch.float32)

    @pytest.mark.parametrize("val", [0.1, -0.1])
    def test_constant_weights_of_either_sign(self, val):
        gains = torch.tensor([0.5, 1.0])
        swept = sweep_gains(self.INPUTS, 5, "constant", "leaky_relu", generator(2), gains, val=val)
        for row, times in enumerate(gains.tolist()):
            seed = generator(2)
            alone = propagate(self.INPUTS, 5, "constant", "leaky_relu", seed, val=val * times)
            for name in ("activation_std", "activation_mean", "sum_variance", "gradient_std"):
                assert_close(getattr(swept, name)[row], getattr(alone, name), rtol=1e-5, atol=0)

    def test_a_gain_multiplies_the_weights_of_any_scheme(self):
        gains = torch.tensor([0.02])
        swept = sweep_gains(self.INPUTS, 4, "normal", "relu", generator(2), gains)
        alone = propagate(self.INPUTS, 4, "normal", "relu", generator(2), std=0.02)
        assert_close(swept.activation_std[0], alone.activation_std)

    def test_a_single_row_is_a_network(self):
        together = compare_schemes(self.INPUTS, 3, "relu", generator())
        alone = single(together, list(SCHEMES).index("orthogonal"))
        sent = propagate(self.INPUTS, 3, "orthogonal", "relu", generator())
        assert_close(variance_law(alone, 2).measured, variance_law(sent, 2).measured)

    def test_the_same_seed_gives_the_same_numbers(self):
        found = [compare_schemes(self.INPUTS, 5, "relu", generator(7)) for _ in range(2)]
        assert torch.equal(found[0].activation_std, found[1].activation_std)
        assert torch.equal(found[0].gradient_std, found[1].gradient_std)


# ---------------------------------------------------------------- extremes


def assert_told(spread):
    for name, values in vars(spread).items():
        assert not values.isnan().any(), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_never_nan(activation):
    inputs = random_inputs(4, 12, generator())
    assert_told(compare_schemes(inputs, 100, activation, generator()))


@pytest.mark.parametrize("activation", ["relu", "gelu_tanh", "softplus"])
@pytest.mark.parametrize("scheme", ["orthogonal", "normal", "constant"])
def test_no_gain_gives_nan(scheme, activation, dtype):
    inputs, gains = random_inputs(4, 12, generator(), dtype), torch.tensor([0, 1e-9, 0.1, 10, 1e9])
    assert_told(sweep_gains(inputs, 40, scheme, activation, generator(), gains))


def test_an_exploded_signal_is_infinite_from_there_on():
    found = propagate(random_inputs(8, 512, generator()), 100, "normal", "relu", generator())
    assert_told(found)
    infinite = found.activation_std.isinf()
    first = int(infinite.int().argmax())
    assert 5 < first < 20
    assert infinite[first:].all()
    assert (found.activation_histogram[infinite] == 0).all()
    assert found.gradient_std[0].isinf()
    assert found.gradient_histogram[0].sum() == 0


def test_a_signal_that_is_rounded_to_0_is_0():
    inputs = random_inputs(8, 16, generator()) / 100
    found = propagate(inputs, 3, "normal", "tanh", generator(1), std=1.5e-45)
    assert found.activation_std.tolist() == [0, 0, 0]
    assert found.zero_share.tolist() == [1, 1, 1]


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_a_faded_signal_is_told_as_0_and_its_slopes_remain(activation):
    inputs, seed = random_inputs(64, 64, generator()), generator(3)
    found = propagate(inputs, 100, "uniform_fan_in", activation, generator(3))
    top = torch.randint(2**62, (), generator=seed)
    gradient = torch.randn(64, 64, generator=generator(int(top))).double()
    x, outputs = inputs.double(), []
    for _layer in range(100):
        weight = initialize((64, 64), "uniform_fan_in", seed).double()
        x = FUNCTIONS[activation]((x @ weight.T).requires_grad_())
        x.retain_grad()
        outputs.append(x)
    (x * gradient).sum().backward()
    smallest = signal_limits(torch.float32)[0]
    for seen, exact in (
        (found.activation_std, [x.detach().std(correction=0) for x in outputs]),
        (found.gradient_std, [x.grad.std(correction=0) for x in outputs]),
    ):
        wanted, kept = torch.stack(exact), seen > 0
        assert 20 < kept.sum() < 95
        torch.testing.assert_close(seen[kept].double(), wanted[kept], rtol=1e-3, atol=0)
        assert (wanted[~kept] < smallest).all()  # so fading is a matter of the dtype alone


def test_the_law_holds_at_every_layer_and_gain_or_tells_of_nothing():
    inputs, gains = random_inputs(64, 64, generator()), torch.tensor([0.05, 0.3, 1.0, 2.0])
    found = sweep_gains(inputs, 60, "xavier_normal", "relu", generator(), gains, width=128)
    predicted, measured = predicted_variance(found), found.sum_variance
    finite = predicted.isfinite() & measured.isfinite()
    assert ((predicted > 0) == (measured > 0))[finite].float().mean() > 0.98
    both = finite & (predicted > 0) & (measured > 0)
    assert both.any(dim=1).all()
    assert (measured[both] / predicted[both]).log().abs().max() < 0.4


def test_one_sample_of_one_unit():
    found = propagate(torch.ones(1, 1), 3, "constant", "relu", generator(), val=1.0, bins=1)
    assert found.activation_std.tolist() == [0, 0, 0]
    assert found.activation_mean.tolist() == [1, 1, 1]
    assert found.activation_histogram.tolist() == [[1]] * 3


def test_fates_table():
    inf = math.inf
    found = fates(
        torch.tensor([
            [1.0, 1.0, 1.0],
            [1.0, DEAD / 2, 1.0],
            [DEAD, EXPLODED, EXPLODED],
            [0.0, 0.0, 0.0],
            [1.0, 2 * EXPLODED, inf],
        ])
    )  # fmt: skip
    assert found.died.tolist() == [0, 2, 0, 1, 0]
    assert found.exploded.tolist() == [0, 0, 0, 0, 2]


def test_fates_of_gradients_are_counted_from_the_top():
    found = fates(torch.tensor([0.0, DEAD / 2, 1.0, 2 * EXPLODED]), backward=True)
    assert (found.died, found.exploded) == (3, 1)


class TestVarianceLaw:
    @pytest.mark.parametrize("scheme", ["normal", "uniform_fan_in", "xavier_uniform", "orthogonal"])
    @pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
    def test_holds_within_sampling_error(self, scheme, activation):
        inputs = random_inputs(64, 512, generator())
        sent = propagate(inputs, 4, scheme, activation, generator(1))
        for layer in range(1, 5):
            law = variance_law(sent, layer)
            assert law.fan_in == 512
            # 512 units share the same inputs: the error of a variance is about √(2/512) = 6 %.
            assert law.measured == pytest.approx(law.predicted, rel=0.25)

    def test_is_the_product_of_its_numbers(self):
        sent = propagate(random_inputs(8, 50, generator()), 2, "xavier_normal", "relu", generator())
        law = variance_law(sent, 2)
        assert law.weight_variance == pytest.approx(0.02)
        assert law.predicted == pytest.approx(50 * 0.02 * law.input_square)

    def test_says_nothing_of_constants(self):
        inputs = random_inputs(8, 50, generator())
        law = variance_law(propagate(inputs, 2, "constant", "relu", generator()), 2)
        assert law.predicted == 0
        assert law.measured > 0

    def test_is_infinite_after_an_explosion(self):
        inputs = random_inputs(8, 256, generator())
        law = variance_law(propagate(inputs, 30, "normal", "relu", generator()), 30)
        assert law.predicted == law.measured == math.inf


# ---------------------------------------------------------------- photos


def picture(height=20, width=30, seed=0):
    return torch.randint(0, 256, (height, width, 3), generator=generator(seed), dtype=torch.uint8)


class TestPhotoMaps:
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_equal_to_torchs_convolutions(self, scheme):
        found = photo_maps(picture(), [scheme], [1, 3], generator(2), channels=6)
        seeded, channels = generator(2), [3, 6, 6, 6]
        image = picture().permute(2, 0, 1)[None].float()
        x = (image - image.mean()) / image.std(correction=0)
        for layer in range(3):
            options = {"padding": 1, "padding_mode": "replicate", "bias": False}
            conv = nn.Conv2d(channels[layer], channels[layer + 1], 3, **options)
            by_torch(conv.weight.data, scheme, seeded)
            x = conv(x).relu().detach()
            if layer in (0, 2):
                shown = int(layer == 2)
                strongest = x[0].flatten(1).std(dim=1, correction=0).argmax()
                close = {"rtol": 1e-3, "atol": 1e-5}
                assert_close(found.maps[0, shown], x[0, strongest], **close)
                assert_close(found.std[0, shown], x.std(correction=0), **close)

    def test_all_schemes_at_once_are_each_by_itself(self):
        together = photo_maps(picture(), list(SCHEMES), [5, 1, 5], generator(), "tanh", channels=4)
        assert together.maps.shape == (len(SCHEMES), 3, 20, 30)
        assert torch.equal(together.maps[:, 0], together.maps[:, 2])
        for row, scheme in enumerate(SCHEMES):
            alone = photo_maps(picture(), [scheme], [5, 1, 5], generator(), "tanh", channels=4)
            assert_close(together.std[row], alone.std[0])

    def test_schemes_of_one_distribution_differ_in_size_alone_with_relu(self):
        schemes = ["xavier_normal", "kaiming_normal"]
        maps = photo_maps(picture(), schemes, [4], generator()).maps[:, 0]
        scaled = maps / maps.amax(dim=(1, 2), keepdim=True)
        assert_close(scaled[0], scaled[1])
        assert maps[0].amax() < 0.5 * maps[1].amax()

    @pytest.mark.parametrize("size", [(1, 1), (1, 1000), (1000, 1), (96, 96), (300, 400)], ids=str)
    def test_any_size_of_photo(self, size):
        found = photo_maps(
            picture(*size), ["normal", "orthogonal"], [1, 20], generator(), channels=4
        )
        assert max(found.maps.shape[2:]) <= 96
        assert not found.maps.isnan().any()
        assert not found.std.isnan().any()

    def test_a_photo_without_contrast_gives_zeros(self):
        grey = torch.full((8, 8, 3), 90, dtype=torch.uint8)
        found = photo_maps(grey, list(SCHEMES), [1, 20], generator())
        assert (found.maps == 0).all()

    def test_an_exploded_map_is_finite_and_its_spread_infinite(self):
        found = photo_maps(picture(), ["normal"], [20, 40], generator())
        assert found.maps.isfinite().all()
        assert found.std[0, 1].isinf()

    def test_on_the_device_of_the_photo(self, device):
        found = photo_maps(picture().to(device), ["orthogonal"], [2], generator())
        assert found.maps.device.type == device.type

    def test_shrunk_keeps_the_shape(self):
        small = shrunk(picture(200, 400), 96)
        assert small.shape == (1, 3, 48, 96)
        assert 0 <= small.min() <= small.max() <= 1


# ---------------------------------------------------------------- errors

X = torch.zeros(2, 3)
SENT = propagate(X, 2, "zeros", "relu", generator())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fans((3,)), r"shape is \(3,\): at least two"),
        (lambda: fans((3, 0)), r"shape is \(3, 0\)"),
        (lambda: gain("gelu"), "nonlinearity is 'gelu', allowed are linear"),
        (lambda: gain("leaky_relu", math.nan), "parameter is nan"),
        (lambda: fitting_nonlinearity("abs"), "activation is 'abs'"),
        (lambda: initialize((2, 2), "he", generator()), "scheme is 'he', allowed are zeros"),
        (lambda: initialize((2,), "zeros", generator()), r"shape is \(2,\)"),
        (lambda: weight_size((2, 2), "zeros", mode="fan"), "mode is 'fan', allowed are fan_in"),
        (lambda: weight_size((2, 2), "zeros", val=1), "val is no parameter of zeros"),
        (lambda: weight_size((2, 2), "normal", a=1), "a is no parameter of normal, allowed: std"),
        (lambda: weight_size((2, 2), "normal", std=-1), "std is -1"),
        (lambda: weight_size((2, 2), "constant", val=math.inf), "val is inf"),
        (lambda: weight_size((2, 2), "xavier_normal", gain=-0.1), "gain is -0.1"),
        (lambda: weight_size((2, 2), "kaiming_normal", "swish"), "nonlinearity is 'swish'"),
        (lambda: random_inputs(0, 2, generator()), "samples is 0"),
        (lambda: random_inputs(2, 0, generator()), "features is 0"),
        (lambda: propagate(X[0], 1, "zeros", "relu", generator()), r"inputs has shape \[3\]"),
        (lambda: propagate(X[:0], 1, "zeros", "relu", generator()), r"inputs has shape \[0, 3\]"),
        (lambda: propagate(X.int(), 1, "zeros", "relu", generator()), "inputs has dtype"),
        (lambda: propagate(X / 0, 1, "zeros", "relu", generator()), "inputs has numbers"),
        (lambda: propagate(X + 1e30, 1, "zeros", "relu", generator()), "beyond 4e"),
        (lambda: propagate(X, 0, "zeros", "relu", generator()), "depth is 0"),
        (lambda: propagate(X, 1, "zeros", "relu", generator(), 0), "width is 0"),
        (lambda: propagate(X, 1, "zeros", "relu", generator(), bins=0), "bins is 0"),
        (lambda: propagate(X, 1, "none", "relu", generator()), "scheme is 'none'"),
        (lambda: propagate(X, 1, "zeros", "none", generator()), "activation is 'none'"),
        (lambda: propagate(X, 1, "normal", "relu", generator(), std=1e13), "weights of size 1e"),
        (lambda: compare_schemes(X, 1, "relu", generator(), schemes=[]), "at least one is needed"),
        (lambda: sweep_gains(X, 1, "zeros", "relu", generator(), X), "gains has shape"),
        (lambda: sweep_gains(X, 1, "zeros", "relu", generator(), X[0, :0]), "at least one"),
        (lambda: sweep_gains(X, 1, "zeros", "relu", generator(), X[0] - 1), "gains is .-1.0"),
        (lambda: fates(X[0, 0]), r"std has shape \[\]"),
        (lambda: fates(X[:, :0]), r"std has shape \[2, 0\]"),
        (lambda: fates(X - 1), "std has a minimum of -1.0"),
        (lambda: fates(X / 0), "std has a minimum of nan"),
        (lambda: single(SENT, 0), r"row is 0, spread has rows of shape \[\]"),
        (lambda: single(compare_schemes(X, 1, "relu", generator()), 9), "row is 9"),
        (lambda: single(compare_schemes(X, 1, "relu", generator()), -1), "row is -1"),
        (lambda: variance_law(SENT, 0), "layer is 0, allowed are 1 to 2"),
        (lambda: variance_law(SENT, 3), "layer is 3"),
        (lambda: variance_law(compare_schemes(X, 1, "relu", generator()), 1), "one network"),
        (lambda: photo_maps(X, ["zeros"], [1], generator()), "image must have the shape"),
        (lambda: photo_maps(picture(), [], [1], generator()), r"schemes is \[\]"),
        (lambda: photo_maps(picture(), ["zeros"], [], generator()), r"depths is \[\]"),
        (lambda: photo_maps(picture(), ["zeros"], [0], generator()), "depths is 0"),
        (lambda: photo_maps(picture(), ["zeros"], [1], generator(), channels=0), "channels is 0"),
        (lambda: photo_maps(picture(), ["zeros"], [1], generator(), side=0), "side is 0"),
        (lambda: photo_maps(picture(), ["zeros"], [1], generator(), "?"), "activation is '\\?'"),
    ],
)  # fmt: skip
def test_errors_name_argument_value_and_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
