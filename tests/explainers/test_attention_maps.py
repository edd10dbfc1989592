import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from explainers.attention_maps import (
    CBAM,
    SqueezeExcitation,
    attention_cost,
    attention_scores,
    cbam_parts,
    mean_attention_distance,
    non_local,
    principal_colours,
    rollout,
    rollout_by_layer,
    scaled_dot_product_attention,
    se_parts,
)


@pytest.fixture
def draw(dtype, device):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)

    return normal


@pytest.fixture
def close(dtype):
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    return partial(assert_close, atol=tolerance, rtol=tolerance)


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


# Self-attention


@pytest.mark.parametrize(("queries", "keys", "size", "values"), [(5, 7, 4, 3), (1, 1, 1, 1)])
@pytest.mark.parametrize("scale", [None, 1, 0.2])
def test_attention_is_that_of_torch(draw, close, queries, keys, size, values, scale):
    query, key, value = draw(2, 3, queries, size), draw(2, 3, keys, size), draw(2, 3, keys, values)
    output, weights = scaled_dot_product_attention(query, key, value, scale=scale)
    close(output, functional.scaled_dot_product_attention(query, key, value, scale=scale))
    close(weights.sum(dim=-1), torch.ones_like(weights[..., 0]))


@pytest.mark.parametrize("shape", [(5, 7), (2, 1, 5, 7), (1, 7)])
def test_masked_attention_is_that_of_torch(draw, close, shape):
    query, key, value = draw(2, 3, 5, 4), draw(2, 3, 7, 4), draw(2, 3, 7, 3)
    mask = draw(*shape) > 0
    mask[..., 0] = True
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    close(output, functional.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert (weights[~mask.expand_as(weights)] == 0).all()


def test_the_weights_are_what_torch_sums_the_values_with(draw, close):
    query, key = draw(5, 4), draw(7, 4)
    one_each = torch.eye(7, dtype=query.dtype, device=query.device)
    _, weights = scaled_dot_product_attention(query, key, one_each)
    close(weights, functional.scaled_dot_product_attention(query, key, one_each))


def test_a_query_that_may_attend_to_nothing_gets_zeros(draw):
    mask = torch.tensor([[True, False], [False, False]], device=draw(1).device)
    output, weights = scaled_dot_product_attention(draw(2, 4), draw(2, 4), draw(2, 3), mask)
    assert weights.tolist() == [[1, 0], [0, 0]]
    assert (output[1] == 0).all()


def test_its_gradient_is_finite_too(draw):
    query = draw(2, 4).requires_grad_()
    mask = torch.tensor([[True, False], [False, False]], device=query.device)
    output, _ = scaled_dot_product_attention(query, draw(2, 4), draw(2, 3), mask)
    output.sum().backward()
    assert query.grad.isfinite().all()


@pytest.mark.parametrize("mask", [None, torch.ones(3, 0, dtype=torch.bool)])
def test_without_keys_the_output_is_zero(draw, mask):
    mask = None if mask is None else mask.to(draw(1).device)
    output, weights = scaled_dot_product_attention(draw(3, 4), draw(0, 4), draw(0, 2), mask)
    assert weights.shape == (3, 0)
    assert output.tolist() == [[0, 0]] * 3


def test_without_queries_there_is_no_output(draw):
    output, weights = scaled_dot_product_attention(draw(0, 4), draw(3, 4), draw(3, 2))
    assert output.shape == (0, 2)
    assert weights.shape == (0, 3)


def test_equal_keys_share_alike(draw, close):
    _, weights = scaled_dot_product_attention(draw(3, 4), draw(1, 4).expand(5, 4), draw(5, 2))
    close(weights, torch.full_like(weights, 0.2))


def test_large_scores_choose_one(draw):
    query, key = draw(1, 2) * 0 + 1, draw(2, 2) * 0 + 1
    key[1] *= 1e15
    output, weights = scaled_dot_product_attention(query, key, draw(2, 1) * 0 + key[:, :1])
    assert weights.tolist() == [[0, 1]]
    assert output.isfinite().all()


def test_scores_by_hand(draw, close):
    query, key = draw(1, 4) * 0, draw(1, 4) * 0
    query += query.new_tensor([1, 2, 3, 4])
    key += key.new_tensor([1, -1, 2, 0.5])
    close(attention_scores(query, key), query.new_tensor([[7 / 2]]))
    close(attention_scores(query, key, scale=1.0), query.new_tensor([[7]]))


def test_the_scale_keeps_the_scores_variance_at_one(draw):
    for size in (16, 256):
        scores = attention_scores(draw(300, size), draw(300, size))
        assert scores.var().item() == pytest.approx(1, rel=0.1)
        unscaled = attention_scores(draw(300, size), draw(300, size), scale=1.0)
        assert unscaled.var().item() == pytest.approx(size, rel=0.1)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"key": torch.ones(3, 5)}, "query"),
        ({"query": torch.ones(4), "key": torch.ones(4)}, "query"),
        ({"query": torch.ones(2, 0), "key": torch.ones(3, 0)}, "query"),
        ({"query": torch.ones(2, 2, 4), "key": torch.ones(3, 3, 4)}, "key"),
        ({"query": torch.full((2, 4), math.nan)}, "query"),
        ({"query": torch.full((2, 4), 1e30), "key": torch.full((3, 4), 1e30)}, "query"),
        ({"scale": math.inf}, "scale"),
        ({"value": torch.ones(2, 2)}, "value"),
        ({"value": torch.ones(3)}, "value"),
        ({"value": torch.tensor([[0.0], [math.inf], [0.0]])}, "value"),
        ({"query": torch.ones(2, 2, 4), "value": torch.ones(3, 3, 1)}, "value"),
        ({"mask": torch.ones(2, 3)}, "mask"),
        ({"mask": torch.ones(2, 2, dtype=torch.bool)}, "mask"),
    ],
)
def test_what_attention_refuses(change, name):
    arguments = {"query": torch.ones(2, 4), "key": torch.ones(3, 4), "value": torch.ones(3, 2)}
    with pytest.raises(ValueError, match=name):
        scaled_dot_product_attention(**arguments | change)


# Squeeze-and-excitation


def layers_of(module, kind):
    return [layer for layer in module.modules() if isinstance(layer, kind)]


def plain_mlp(pooled, first, second):
    """W2 δ(W1 z), product by product."""
    hidden = [max(sum(w * z for w, z in zip(row, pooled, strict=True)), 0.0) for row in first]
    return hidden, [sum(w * h for w, h in zip(row, hidden, strict=True)) for row in second]


def plain_squeeze_excitation(features, first, second):
    """Hu et al., 2018, equations 2 to 4, on one [c][h][w] map of plain numbers."""
    pooled = [sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in features]
    hidden, scores = plain_mlp(pooled, first, second)
    gate = [sigmoid(score) for score in scores]
    output = [
        [[g * v for v in row] for row in plane] for g, plane in zip(gate, features, strict=True)
    ]
    return pooled, hidden, gate, output


def test_squeeze_and_excitation_is_that_of_the_paper(draw, close, dtype, device):
    module = SqueezeExcitation(channels=6, reduction=3).to(device, dtype)
    x = draw(2, 6, 3, 4)
    weights = [layer.weight.tolist() for layer in layers_of(module, nn.Linear)]
    parts = se_parts(module, x)
    for i, features in enumerate(x.tolist()):
        steps = plain_squeeze_excitation(features, *weights)
        found = parts.pooled[i], parts.hidden[i], parts.gate[i], parts.output[i]
        for part, step in zip(found, steps, strict=True):
            close(part.detach(), x.new_tensor(step))
    assert_close(module(x), parts.output)
    assert_close(module.maps(x).channel, parts.gate)


def test_squeeze_and_excitation_by_hand():
    module = SqueezeExcitation(channels=2, reduction=2)
    module.load_state_dict(
        {
            "reduce.weight": torch.tensor([[1.0, -1.0]]),
            "expand.weight": torch.tensor([[math.log(3)], [-math.log(3)]]),
        }
    )
    x = torch.tensor([[[[2.0, 4.0]], [[1.0, 3.0]]]])  # means 3 and 2, hidden 1, gates 3/4 and 1/4
    assert_close(module(x), torch.tensor([[[[1.5, 3.0]], [[0.25, 0.75]]]]))


def test_the_order_of_places_does_not_matter_to_squeeze_and_excitation(draw, dtype, device):
    module = SqueezeExcitation(channels=4, reduction=2).to(device, dtype)
    x = draw(1, 4, 3, 3)
    assert_close(module(x.flip(2)), module(x).flip(2))


# CBAM


def plain_cbam_channel(features, first, second):
    """Woo et al., 2018, equation 2: the gate, and σ of either path."""
    average = [sum(map(sum, plane)) / (len(plane) * len(plane[0])) for plane in features]
    maximum = [max(map(max, plane)) for plane in features]
    of_average = plain_mlp(average, first, second)[1]
    of_maximum = plain_mlp(maximum, first, second)[1]
    gate = [sigmoid(a + m) for a, m in zip(of_average, of_maximum, strict=True)]
    return gate, [sigmoid(a) for a in of_average], [sigmoid(m) for m in of_maximum]


def plain_cbam_spatial(features, kernel):
    """Woo et al., 2018, equation 3, zeros beyond the border: the gate, average and maximum."""
    height, width = len(features[0]), len(features[0][0])
    at = [[[plane[y][x] for plane in features] for x in range(width)] for y in range(height)]
    average = [[sum(values) / len(values) for values in row] for row in at]
    maximum = [[max(values) for values in row] for row in at]
    reach = len(kernel[0]) // 2
    gate = [[0.0] * width for _ in range(height)]
    for y in range(height):
        for x in range(width):
            score = 0.0
            for plane, weights in zip((average, maximum), kernel, strict=True):
                for dy in range(-reach, reach + 1):
                    for dx in range(-reach, reach + 1):
                        if 0 <= y + dy < height and 0 <= x + dx < width:
                            score += weights[dy + reach][dx + reach] * plane[y + dy][x + dx]
            gate[y][x] = sigmoid(score)
    return gate, average, maximum


def scaled_channels(features, gate):
    return [
        [[g * v for v in row] for row in plane] for g, plane in zip(gate, features, strict=True)
    ]


def scaled_places(features, gate):
    return [
        [
            [g * v for g, v in zip(gates, row, strict=True)]
            for gates, row in zip(gate, plane, strict=True)
        ]
        for plane in features
    ]


def plain_cbam(features, first, second, kernel, order, channel, spatial):
    """Woo et al., 2018, equation 1, in either order; a part left out has gates of one."""
    ones_by_channel = [[1.0] * len(features)] * 3
    ones_by_place = [[1.0] * len(features[0][0])] * len(features[0])
    for part in ("channel", "spatial") if order == "channel_first" else ("spatial", "channel"):
        if part == "channel":
            by_channel = ones_by_channel
            if channel:
                by_channel = plain_cbam_channel(features, first, second)
            features = scaled_channels(features, by_channel[0])
        else:
            by_place = plain_cbam_spatial(features, kernel)
            if not spatial:
                by_place = (ones_by_place, *by_place[1:])
            features = scaled_places(features, by_place[0])
    return *by_channel, *([plane] for plane in by_place), features


@pytest.mark.parametrize("order", ["channel_first", "spatial_first"])
@pytest.mark.parametrize("channel", [True, False])
@pytest.mark.parametrize("spatial", [True, False])
def test_cbam_is_that_of_the_paper(draw, close, dtype, device, order, channel, spatial):
    module = CBAM(channels=4, reduction=2, kernel_size=3).to(device, dtype)
    x = draw(2, 4, 4, 5)
    first, second = (layer.weight.tolist() for layer in layers_of(module, nn.Linear))
    (kernel,) = layers_of(module, nn.Conv2d)[0].weight.tolist()
    parts = cbam_parts(module, x, order, channel, spatial)
    for i, features in enumerate(x.tolist()):
        steps = plain_cbam(features, first, second, kernel, order, channel, spatial)
        found = (
            parts.channel[i],
            parts.channel_average[i],
            parts.channel_maximum[i],
            parts.spatial[i],
            parts.spatial_average[i],
            parts.spatial_maximum[i],
            parts.output[i],
        )
        for part, step in zip(found, steps, strict=True):
            close(part.detach(), x.new_tensor(step))


def test_cbam_is_channels_first_with_a_7x7_kernel(draw, dtype, device):
    module = CBAM(channels=32).to(device, dtype)
    x = draw(2, 32, 7, 9)
    parts = cbam_parts(module, x)
    assert_close(module(x), parts.output)
    assert_close(module.maps(x).channel, parts.channel)
    assert_close(module.maps(x).spatial, parts.spatial)
    assert sum(p.numel() for p in module.parameters()) == 2 * 32 * 2 + 2 * 49


def test_cbam_without_its_parts_is_the_identity(draw, dtype, device):
    module = CBAM(channels=4).to(device, dtype)
    x = draw(1, 4, 3, 3)
    assert torch.equal(cbam_parts(module, x, channel=False, spatial=False).output, x)


@pytest.mark.parametrize("kind", [SqueezeExcitation, CBAM])
class TestBothModules:
    def test_zero_weights_open_every_gate_by_half(self, draw, dtype, device, kind):
        module = kind(channels=4).to(device, dtype)
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        gates = vars(module.maps(draw(1, 4, 3, 3)))
        assert all((gate == 0.5).all() for gate in gates.values())

    def test_smallest_input(self, draw, dtype, device, kind):
        module = kind(channels=1).to(device, dtype)
        assert module(draw(1, 1, 1, 1)).shape == (1, 1, 1, 1)
        assert module(draw(0, 1, 2, 2)).shape == (0, 1, 2, 2)

    def test_gradient_is_that_of_finite_differences(self, kind, device):
        if device.type == "mps":
            pytest.skip("MPS has no float64")
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(1, 3, 2, 3, generator=generator, dtype=torch.float64).to(device)
        module = kind(channels=3, reduction=1).to(device, torch.float64)
        assert torch.autograd.gradcheck(module, x.requires_grad_())

    @pytest.mark.parametrize("arguments", [{"channels": 0}, {"channels": 4, "reduction": 0}])
    def test_sizes_below_one_are_refused(self, kind, arguments):
        with pytest.raises(ValueError, match="is 0: at least 1"):
            kind(**arguments)

    @pytest.mark.usefixtures("unchecked")
    @pytest.mark.parametrize(
        "x",
        [
            torch.zeros(4, 3, 3),
            torch.zeros(1, 5, 3, 3),
            torch.zeros(1, 4, 0, 3),
            torch.full((1, 4, 1, 1), math.nan),
            torch.full((1, 4, 1, 1), math.inf),
        ],
    )
    def test_what_it_refuses(self, kind, x):
        with pytest.raises(ValueError, match="x has"):
            kind(channels=4)(x)


@pytest.mark.parametrize("kernel_size", [0, -1, 2])
def test_cbam_needs_an_odd_kernel(kernel_size):
    with pytest.raises(ValueError, match="kernel_size"):
        CBAM(channels=4, kernel_size=kernel_size)


@pytest.mark.usefixtures("unchecked")
def test_cbam_knows_two_orders():
    with pytest.raises(ValueError, match="order is 'parallel'"):
        cbam_parts(CBAM(channels=4), torch.zeros(1, 4, 2, 2), order="parallel")


# Non-local


@pytest.mark.parametrize("scaled", [False, True])
def test_non_local_is_that_of_the_paper(draw, close, scaled):
    x = draw(2, 3, 2, 4)
    output, weights = non_local(x, scaled)
    for i, features in enumerate(x.flatten(2).tolist()):
        places = list(zip(*features, strict=True))
        for here, place in enumerate(places):
            dots = [sum(a * b for a, b in zip(place, other, strict=True)) for other in places]
            similar = [math.exp(dot / math.sqrt(3) if scaled else dot) for dot in dots]
            shares = [s / sum(similar) for s in similar]
            gathered = [
                sum(s * other[c] for s, other in zip(shares, places, strict=True)) for c in range(3)
            ]
            close(weights[i, here], x.new_tensor(shares))
            expected = [a + b for a, b in zip(place, gathered, strict=True)]
            close(output[i, :, here // 4, here % 4], x.new_tensor(expected))


def test_one_place_doubles(draw):
    x = draw(1, 3, 1, 1)
    output, weights = non_local(x)
    assert weights.tolist() == [[[1.0]]]
    assert_close(output, 2 * x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("features", [torch.zeros(3, 2, 2), torch.zeros(1, 0, 2, 2)])
def test_non_local_needs_features(features):
    with pytest.raises(ValueError, match="features has shape"):
        non_local(features)


# Rollout


def test_rollout_by_hand(dtype, device):
    first = [[0.0, 1.0], [0.0, 1.0]]
    second = [[0.5, 0.5], [1.0, 0.0]]
    attention = torch.tensor([[first], [second]], dtype=dtype, device=device)
    # Layer 1 mixed: [[1/2, 1/2], [0, 1]]; layer 2 mixed: [[3/4, 1/4], [1/2, 1/2]].
    expected = torch.tensor([[0.375, 0.625], [0.25, 0.75]], dtype=dtype, device=device)
    assert_close(rollout(attention), expected)


def test_rollout_is_a_product_of_mixed_layers(draw, close):
    attention = draw(4, 3, 6, 6).softmax(dim=-1)
    eye = torch.eye(6, dtype=attention.dtype, device=attention.device)
    layers = [0.5 * layer.mean(dim=0) + 0.5 * eye for layer in attention]
    by_layer = rollout_by_layer(attention)
    for depth in range(4):
        expected = torch.linalg.multi_dot([*layers[depth::-1], eye])
        close(by_layer[depth], expected)
    assert torch.equal(rollout(attention), by_layer[-1])
    close(by_layer.sum(dim=-1), torch.ones_like(by_layer[..., 0]))


def test_rollout_brings_rows_back_to_one(dtype, device):
    attention = torch.full((1, 1, 2, 2), 1.5, dtype=dtype, device=device)
    expected = torch.tensor([[0.625, 0.375], [0.375, 0.625]], dtype=dtype, device=device)
    assert_close(rollout(attention), expected)
    assert_close(rollout(attention * 0), torch.eye(2, dtype=dtype, device=device))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "attention",
    [
        torch.zeros(2, 3, 3),
        torch.zeros(0, 1, 3, 3),
        torch.zeros(1, 0, 3, 3),
        torch.zeros(1, 1, 0, 0),
        torch.zeros(1, 1, 3, 2),
        torch.full((1, 1, 2, 2), -0.5),
        torch.full((1, 1, 2, 2), math.nan),
    ],
)
def test_what_rollout_refuses(attention):
    with pytest.raises(ValueError, match="attention has"):
        rollout(attention)


# Mean attention distance


@pytest.mark.parametrize("class_token", [False, True])
def test_distance_is_the_mean_of_plain_sums(draw, close, class_token):
    rows, columns = 2, 3
    attention = draw(2, 4, 6 + class_token, 6 + class_token).softmax(dim=-1)
    found = mean_attention_distance(attention, rows, columns, class_token)
    assert found.shape == (2, 4)
    for layer in range(2):
        for head in range(4):
            weights = attention[layer, head].tolist()
            if class_token:
                weights = [row[1:] for row in weights[1:]]
            distances = [
                sum(
                    w
                    / sum(row)
                    * math.hypot(q // columns - k // columns, q % columns - k % columns)
                    for k, w in enumerate(row)
                )
                for q, row in enumerate(weights)
            ]
            close(found[layer, head], attention.new_tensor(sum(distances) / 6))


def test_looking_at_itself_is_no_distance(dtype, device):
    itself = torch.eye(5, dtype=dtype, device=device)[None]
    assert mean_attention_distance(itself, 2, 2).tolist() == [0]


def test_looking_at_the_class_token_alone_is_no_distance(dtype, device):
    attention = torch.zeros(1, 5, 5, dtype=dtype, device=device)
    attention[..., 0] = 1
    assert mean_attention_distance(attention, 2, 2).tolist() == [0]


def test_one_patch(dtype, device):
    attention = torch.ones(1, 1, 1, dtype=dtype, device=device)
    assert mean_attention_distance(attention, 1, 1, class_token=False).tolist() == [0]


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (0, 4), (-2, -2)])
def test_the_grid_has_to_fit(rows, columns):
    with pytest.raises(ValueError, match=f"rows, columns is {rows}, {columns}"):
        mean_attention_distance(torch.ones(1, 5, 5), rows, columns)


# Colours


def test_colours_are_the_principal_components(draw, dtype):
    tokens = draw(50, 8) * torch.arange(8, 0, -1, dtype=dtype, device=draw(1).device)
    colours = principal_colours(tokens)
    centred = tokens - tokens.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    for i in range(3):
        component = centred @ directions[:, -1 - i]
        scaled = (component - component.min()) / (component.max() - component.min())
        same, opposite = (colours[:, i] - scaled).abs(), (colours[:, i] - 1 + scaled).abs()
        assert min(same.max(), opposite.max()) < 1e-3
    assert colours.min() == 0
    assert colours.max() == 1


def test_signs_do_not_depend_on_the_order_of_tokens(draw, dtype):
    tokens = draw(50, 8)
    assert_close(
        principal_colours(tokens.flip(0)), principal_colours(tokens).flip(0), atol=1e-3, rtol=0
    )


def test_colours_by_hand(dtype, device):
    tokens = torch.tensor([[9.0, 3], [9, 4], [9, 7]], dtype=dtype, device=device)
    expected = torch.tensor([[0, 0.5, 0.5], [0.25, 0.5, 0.5], [1, 0.5, 0.5]], device=device)
    assert_close(principal_colours(tokens), expected.to(dtype))


@pytest.mark.parametrize("shape", [(1, 8), (4, 1), (2, 2), (300, 20)])
@pytest.mark.parametrize("value", [0.0, 0.1, -12345.678])
def test_tokens_that_do_not_differ_are_grey(dtype, device, shape, value):
    tokens = torch.full(shape, value, dtype=dtype, device=device)
    assert (principal_colours(tokens) == 0.5).all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_is_grey(dtype, device, shape):
    colours = principal_colours(torch.zeros(shape, dtype=dtype, device=device))
    assert colours.shape == (shape[0], 3)
    assert (colours == 0.5).all()


def test_colours_need_finite_features():
    with pytest.raises(ValueError, match="tokens has infinite"):
        principal_colours(torch.tensor([[1.0, math.inf]]))


# Cost


class EmbeddedNonLocal(nn.Module):
    """Wang et al., 2018, figure 2, on one map and without normalization."""

    def __init__(self, channels):
        super().__init__()
        self.theta, self.phi, self.g = (
            nn.Conv2d(channels, channels // 2, 1, bias=False) for _ in range(3)
        )
        self.back = nn.Conv2d(channels // 2, channels, 1, bias=False)

    def forward(self, x):
        theta, phi, g = (layer(x).flatten(2).mT for layer in (self.theta, self.phi, self.g))
        gathered = (theta @ phi.mT).softmax(dim=-1) @ g
        return x + self.back(gathered.mT.reshape(-1, g.shape[-1], *x.shape[2:]))


class PlainNonLocal(nn.Module):
    def forward(self, x):
        return non_local(x)[0]


@pytest.mark.parametrize(
    ("mechanism", "make", "gatings"),
    [
        ("se", lambda: SqueezeExcitation(32, 4), 1),
        ("cbam", lambda: CBAM(32, 4, 5), 2),
        ("non_local", PlainNonLocal, 0),
        ("embedded_non_local", lambda: EmbeddedNonLocal(32), 0),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (6, 8)])
def test_cost_is_what_torch_counts(mechanism, make, gatings, height, width):
    module = make()
    x = torch.randn(1, 32, height, width)
    with FlopCounterMode(display=False) as counter:
        module(x)
    products = counter.get_total_flops() // 2 + gatings * x.numel()
    cost = attention_cost(mechanism, 32, height, width, reduction=4, kernel_size=5)
    assert cost.parameters == sum(p.numel() for p in module.parameters())
    assert cost.multiply_adds == products


def test_a_hidden_layer_keeps_one_unit():
    parameters = sum(p.numel() for p in SqueezeExcitation(4, 16).parameters())
    assert attention_cost("se", 4, 1, 1).parameters == parameters == 8


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mechanism": "sk"}, "mechanism is 'sk'"),
        ({"channels": 0}, "channels is 0"),
        ({"height": 0}, "height is 0"),
        ({"width": -1}, "width is -1"),
        ({"reduction": 0}, "reduction is 0"),
        ({"kernel_size": 4}, "kernel_size is 4"),
    ],
)
def test_what_the_cost_refuses(change, message):
    arguments = {"mechanism": "se", "channels": 8, "height": 7, "width": 7}
    with pytest.raises(ValueError, match=message):
        attention_cost(**arguments | change)
