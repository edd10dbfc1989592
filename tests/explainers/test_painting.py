import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from explainers.initialization import SCHEMES, initialize
from explainers.painting import train_schemes

SMALL = {"depth": 4, "width": 12, "batch": 32, "side": 12, "steps": 20, "every": 5}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(height=9, width=12, seed=0):
    return torch.randint(0, 256, (height, width, 3), generator=generator(seed), dtype=torch.uint8)


def train(schemes, seed=1, photo=None, **options):
    photo = picture() if photo is None else photo
    return list(train_schemes(photo, schemes, generator(seed), **{**SMALL, **options}))


def by_torch(scheme, seed, lr, momentum, steps):
    """The losses of one network, trained by torch.optim.SGD on torch's own layers."""
    photo = picture().float() / 127.5 - 1
    height, width, _three = photo.shape
    y, x = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).reshape(-1, 2)
    waves = [grid[:, [k]] * math.pi * octave for k in (0, 1) for octave in (0.5, 1, 2)]
    inputs = math.sqrt(2) * torch.cat([*(w.sin() for w in waves), *(w.cos() for w in waves)], dim=1)
    colours, seeded = photo.reshape(-1, 3), generator(seed)
    pixels = torch.randint(len(inputs), (steps, 32), generator=seeded)
    layers = [nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)]
    for layer in layers:
        layer.weight.data = initialize(tuple(layer.weight.shape), scheme, seeded)
        layer.bias.data.zero_()
    network = nn.Sequential(
        layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2], nn.ReLU(), layers[3]
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=momentum)
    losses = []
    for step in range(steps + 1):
        if step % 5 == 0:
            losses.append(nn.functional.mse_loss(network(inputs), colours).detach())
        if step == steps:
            break
        seen = pixels[step]
        optimizer.zero_grad()
        nn.functional.mse_loss(network(inputs[seen]), colours[seen]).backward()
        optimizer.step()
    return torch.stack(losses)


TRAINABLE = ["uniform_fan_in", "xavier_normal", "kaiming_uniform", "orthogonal"]


def test_losses_are_those_of_torchs_own_training():
    schemes = [*TRAINABLE, "zeros", "constant"]
    states = train(schemes, lr=0.03, momentum=0.8)
    for row, scheme in enumerate(schemes):
        wanted = by_torch(scheme, 1, lr=0.03, momentum=0.8, steps=20)
        assert_close(states[-1].losses[row], wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("steps", "every", "wanted"),
    [(20, 5, [0, 5, 10, 15, 20]), (7, 3, [0, 3, 6, 7]), (1, 10, [0, 1])],
)
def test_states_come_at_the_start_in_steps_and_at_the_end(steps, every, wanted):
    states = train(["orthogonal"], steps=steps, every=every)
    assert [state.step for state in states] == wanted
    for number, state in enumerate(states):
        assert state.steps.tolist() == wanted[: number + 1]
        assert torch.equal(state.losses, states[-1].losses[:, : number + 1])


def test_a_network_trains_as_if_it_were_alone():
    together = train(TRAINABLE)[-1]
    for row, scheme in enumerate(TRAINABLE):
        alone = train([scheme])[-1]
        assert_close(together.losses[row], alone.losses[0], rtol=1e-3, atol=1e-5)


def test_the_same_seed_gives_the_same_pictures():
    first, second = train(["kaiming_normal"])[-1], train(["kaiming_normal"])[-1]
    assert torch.equal(first.losses, second.losses)
    assert torch.equal(first.pictures, second.pictures)
    assert not torch.equal(first.losses, train(["kaiming_normal"], seed=2)[-1].losses)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu"])
def test_equal_units_stay_equal(activation):
    last = train(["zeros", "constant", "xavier_normal"], activation=activation)[-1]
    assert last.distinct_units.tolist() == [1, 1, 12]


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", "sigmoid"])
def test_equal_units_stay_equal_however_long_and_fast_the_training(activation):
    photo = picture(30, 40)
    options = {"depth": 2, "width": 48, "batch": 256, "side": 40, "steps": 300, "every": 300}
    last = train(["zeros", "constant"], photo=photo, activation=activation, lr=0.1, **options)[-1]
    assert (last.first_weights == last.first_weights[:, :1]).all()
    assert last.distinct_units.tolist() == [1, 1]


def test_kaimings_mode_is_taken():
    first = {mode: train(["kaiming_normal"], mode=mode)[0] for mode in ("fan_in", "fan_out")}
    for mode, state in first.items():
        seed = generator(1)
        torch.randint(108, (20, 32), generator=seed)
        wanted = torch.empty(12, 12)
        nn.init.kaiming_normal_(wanted, mode=mode, nonlinearity="relu", generator=seed)
        assert_close(state.first_weights[0], wanted)


def test_zeros_with_relu_learn_a_single_colour():
    first, *_between, last = train(["zeros"])
    assert (last.first_weights == 0).all()
    assert last.losses[0, -1] < first.losses[0, 0]
    assert (last.pictures[0] == last.pictures[0, 0, 0]).all()


def test_zeros_with_sigmoid_learn_weights_but_only_one_unit():
    last = train(["zeros"], activation="sigmoid", depth=2, lr=0.5)[-1]
    assert last.first_weights.abs().max() > 0
    assert last.distinct_units.tolist() == [1]


def test_an_exploded_network_is_told_and_leaves_the_others_alone():
    states = train(["normal", "orthogonal"], depth=12, width=32)
    assert states[0].losses[0, 0] > 1e6
    assert [state.exploded.tolist() for state in states] == [[False, False]] + [[True, False]] * 4
    last = states[-1]
    assert last.losses[0, 1:].isinf().all()
    assert last.first_weights.isfinite().all()
    assert (last.pictures[0] == 128).all()
    assert_close(last.losses[1], train(["orthogonal"], depth=12, width=32)[-1].losses[0])


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_never_nan_however_deep_and_however_fast(activation):
    schemes = list(SCHEMES)
    for state in train(schemes, activation=activation, depth=40, lr=100.0, steps=6, every=1):
        assert not state.losses.isnan().any()
        assert state.first_weights.isfinite().all()


def test_the_deep_network_learns_from_kaiming_but_not_from_the_default():
    options = {"depth": 12, "width": 48, "steps": 100, "batch": 64, "every": 100}
    photo = torch.linspace(0, 255, 12)[None, :, None].expand(9, 12, 3).to(torch.uint8)
    last = train(["uniform_fan_in", "kaiming_normal"], photo=photo, **options)[-1]
    stuck, learned = last.losses[:, -1]
    assert stuck > 0.3  # about the variance of the photo
    assert learned < 0.1


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 2)], ids=str)
def test_any_size_of_photo(size):
    last = train(["xavier_uniform"], photo=picture(*size))[-1]
    assert max(last.pictures.shape[1:3]) <= 12
    assert last.losses.isfinite().all()


def test_on_the_device_of_the_photo(device):
    last = train(["orthogonal", "zeros"], photo=picture().to(device))[-1]
    tensors = [value for value in vars(last).values() if isinstance(value, torch.Tensor)]
    assert {tensor.device.type for tensor in tensors} == {device.type}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "none"}, "activation is 'none', allowed are sigmoid"),
        ({"schemes": []}, "schemes is empty"),
        ({"schemes": ["none"]}, "scheme is 'none', allowed are zeros"),
        ({"photo": torch.zeros(2, 2)}, "image must have the shape"),
        *(({name: 0}, f"{name} is 0: at least 1") for name in SMALL),
        ({"lr": 0}, "lr is 0: a positive"),
        ({"lr": math.inf}, "lr is inf"),
        ({"momentum": 1}, r"momentum is 1: a number in \[0, 1\)"),
        ({"momentum": -0.1}, "momentum is -0.1"),
    ],
    ids=str,
)
def test_errors_name_argument_value_and_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=message):
        train(**{"schemes": ["zeros"], **options})
