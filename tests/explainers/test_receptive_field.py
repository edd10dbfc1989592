import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from explainers.models import mobilenet_v2
from explainers.models.imagenet import imagenet_input
from explainers.receptive_field import (
    ACTIVATIONS,
    ASPP_RATES,
    DENSE_ASPP_RATES,
    MOST_TOUCHED,
    PRESETS,
    TWO_SIGMA,
    Field,
    HdcCheck,
    Layer,
    Stack,
    Touched,
    concentric_boxes,
    count_inside,
    count_touched,
    cycle_layers,
    describe_stack,
    dilate,
    effective_receptive_field,
    effective_size,
    expected_size,
    hdc_check,
    middle_box,
    network_receptive_field,
    output_sizes,
    outside_share,
    path_std,
    read_stack,
    receptive_fields,
    sweep_depth,
    tap_boxes,
    touch_counts,
    touch_map,
    touch_spacing,
    untrained,
    write_stack,
)

STACKS = st.lists(
    st.builds(
        Layer,
        kernel_size=st.integers(1, 4),
        stride=st.integers(1, 3),
        padding=st.integers(0, 3),
        dilation=st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def through_torch(layers, x, padded=True):
    """The picture through torch's own convolutions with all weights 1."""
    for layer in layers:
        ones = torch.ones(1, 1, layer.kernel_size, layer.kernel_size, dtype=x.dtype)
        padding = layer.padding if padded else 0
        x = functional.conv2d(x, ones, None, layer.stride, padding, layer.dilation)
    return x


def gradient_of_unit(layers, height, width, row, column):
    picture = torch.zeros(1, 1, height, width, dtype=torch.float64, requires_grad=True)
    unit = through_torch(layers, picture)[0, 0, row, column]
    return torch.autograd.grad(unit, picture)[0][0, 0]


def extent_of(support):
    """Corners of the smallest box around all that is True."""
    rows, columns = support.nonzero(as_tuple=True)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


# ---------------------------------------------------------------- theoretical fields


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [
        # Araujo et al., 2019, table of modern networks.
        ("alexnet", 195, 32),
        ("vgg16", 212, 32),
        ("resnet50", 483, 32),
        # The stride moves into the 3 x 3 convolutions: three of them see 8, 16, 32 pixels less.
        ("resnet50_torchvision", 483 - 8 - 16 - 32, 32),
        # The same field, units four times as close (Chen et al., 2017, section 3.1).
        ("deeplab_os8", 483, 8),
        ("aspp", 483 + 2 * 24 * 8, 8),
        ("dense_aspp", 483 + 2 * (3 + 6 + 12 + 18 + 24) * 8, 8),
        # Yu and Koltun, 2016, figure 1.
        ("dilated_1_2_4", 15, 1),
        # Wang et al., 2018, figure 2.
        ("gridding_2_2_2", 13, 1),
        ("hdc_1_2_5", 17, 1),
    ],
)
def test_published_fields(name, size, stride):
    field = receptive_fields(PRESETS[name])[-1]
    assert (field.size, field.stride) == (size, stride)


def test_vgg16_layer_by_layer():
    named = {
        layer.name: (field.size, field.stride)
        for layer, field in zip(PRESETS["vgg16"], receptive_fields(PRESETS["vgg16"]), strict=True)
    }
    # Worked by hand; conv5_3 sees 196 and the 3 x 3 convolution of an RPN on it 228 pixels.
    assert named["conv1_1"] == (3, 1)
    assert named["pool1"] == (6, 2)
    assert named["conv2_2"] == (14, 2)
    assert named["conv3_3"] == (40, 4)
    assert named["conv4_3"] == (92, 8)
    assert named["conv5_3"] == (196, 16)
    rpn = [*PRESETS["vgg16"][:-1], Layer(3, padding=1)]
    assert receptive_fields(rpn)[-1].size == 228


def test_dilations_1_2_4_grow_twofold():
    assert [f.size for f in receptive_fields(PRESETS["dilated_1_2_4"])] == [3, 7, 15]


def test_three_3x3_layers_see_as_much_as_one_7x7():
    assert receptive_fields([Layer(3)] * 3)[-1] == receptive_fields([Layer(7)])[-1]


def test_a_stem_of_three_3x3_layers_sees_more_than_7x7_at_stride_2():
    stem = [Layer(3, stride=2), Layer(3), Layer(3)]
    assert [f.size for f in receptive_fields(stem)] == [3, 7, 11]


def test_no_layers_no_fields():
    assert receptive_fields([]) == []
    assert output_sizes([], 10) == []


@given(STACKS)
def test_fields_agree_with_the_recursion_from_the_top(layers):
    size = 1
    for layer in reversed(layers):
        size = (size - 1) * layer.stride + layer.dilation * (layer.kernel_size - 1) + 1
    assert receptive_fields(layers)[-1].size == size


@given(STACKS, st.integers(1, 40))
def test_output_sizes_are_torchs(layers, size):
    sizes = output_sizes(layers, size)
    for count in range(1, len(layers) + 1):
        try:
            shape = through_torch(layers[:count], torch.zeros(1, 1, size, size)).shape
        except RuntimeError:
            assert sizes[count - 1 :] == [0] * (len(layers) - count + 1)
            return
        assert sizes[count - 1] == shape[2]


@given(STACKS, st.data())
def test_inside_the_picture_the_gradient_is_the_touch_map_in_its_box(layers, data):
    height, width = 43, 37
    rows, columns = output_sizes(layers, height)[-1], output_sizes(layers, width)[-1]
    if not rows or not columns:
        return
    row = data.draw(st.integers(0, rows - 1))
    column = data.draw(st.integers(0, columns - 1))
    x1, y1, x2, y2 = receptive_fields(layers)[-1].box(row, column)
    gradient = gradient_of_unit(layers, height, width, row, column)
    inside = gradient[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
    assert inside.sum() == gradient.sum()  # nothing beside the box
    counts = touch_map(touch_counts(layers)).double()
    seen = counts[max(-y1, 0) : height - y1, max(-x1, 0) : width - x1]
    if outside_share((x1, y1, x2, y2), (height, width)) == 0:
        assert torch.equal(inside, seen)
    else:  # paths through the padding of a later layer are lost, too
        assert (inside <= seen).all()


def test_padding_of_later_layers_cuts_paths_inside_the_picture():
    layers = [Layer(3, padding=1), Layer(3, padding=1)]
    assert receptive_fields(layers)[-1].box(0, 0) == (-2, -2, 3, 3)
    assert touch_counts(layers).tolist() == [1, 2, 3, 2, 1]
    # Of the three paths to the first pixel one leads through the first map's padding.
    assert gradient_of_unit(layers, 9, 9, 0, 0)[0, :4].tolist() == [2 * 2, 2 * 2, 2 * 1, 0]


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "resnet50", "mobilenet_v2"])
def test_presets_reach_as_far_as_the_gradient(name):
    layers = PRESETS[name]
    field = receptive_fields(layers)[-1]
    row, column = 9, 8  # far enough from the border
    x1, y1, x2, y2 = field.box(row, column)
    assert x1 > 0 < y1
    gradient = gradient_of_unit(layers, y2 + 200, x2 + 200, row, column)
    assert extent_of(gradient > 0) == (x1, y1, x2, y2)


def test_padding_is_what_the_first_field_begins_before():
    layers = [Layer(7, stride=2, padding=3), Layer(3, stride=2, padding=1)]
    fields = receptive_fields(layers)
    assert fields == [Field(7, 2, 3), Field(11, 4, 5)]
    assert fields[1].box(0, 0) == (-5, -5, 6, 6)
    assert fields[1].box(row=1, column=3) == (7, -1, 18, 10)


@given(STACKS, st.floats(-50, 50))
def test_the_nearest_unit_is_no_further_than_its_neighbours(layers, place):
    field = receptive_fields(layers)[-1]

    def distance(unit):
        x1, _, x2, _ = field.box(0, unit)
        return abs((x1 + x2) / 2 - place)

    unit = field.nearest(place)
    assert distance(unit) <= distance(unit + 1) + 1e-9
    assert distance(unit) <= distance(unit - 1) + 1e-9


def test_concentric_boxes_lie_in_one_another():
    fields = receptive_fields(PRESETS["vgg16"])
    boxes = concentric_boxes(fields, 320.0, 240.0)
    for (x1, y1, x2, y2), (X1, Y1, X2, Y2) in itertools.pairwise(boxes):  # noqa: N806
        assert x1 >= X1
        assert y1 >= Y1
        assert x2 <= X2
        assert y2 <= Y2


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((0, 0, 10, 10), 0.0),
        ((-10, 2, 0, 12), 1.0),
        ((-5, -5, 5, 5), 0.75),
        ((-10, -10, 30, 50), 1 - 20 * 30 / 2400),
        ((25, 35, 30, 40), 1.0),
    ],
)
def test_outside_share(box, share):
    assert outside_share(box, image_size=(30, 20)) == pytest.approx(share)


def test_a_stack_in_numbers():
    assert describe_stack(PRESETS["resnet50"], (500, 634)) == Stack(50, 483, 32, 16, 20)
    assert describe_stack([Layer(9)], (5, 20)) == Stack(1, 9, 1, 0, 12)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_dilated_layers_keep_their_maps(factor):
    layers = PRESETS["dilated_1_2_4"]
    wider = dilate(layers, factor)
    assert output_sizes(wider, 300) == output_sizes(layers, 300) == [300, 300, 300]
    assert receptive_fields(wider)[-1].size == 1 + factor * 14
    assert dilate([Layer(1, stride=2)], factor) == [Layer(1, stride=2)]


# ---------------------------------------------------------------- text


@given(STACKS)
def test_what_is_written_reads_the_same(layers):
    read = read_stack(write_stack(layers))
    assert [replace(layer, name="") for layer in read] == layers
    assert [layer.name for layer in read] == [str(n) for n in range(1, len(layers) + 1)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_written_by_their_names(name):
    layers = PRESETS[name]
    assert write_stack(layers) == write_stack([replace(at, name="") for at in layers]) == name
    assert read_stack(name) == layers
    assert write_stack(layers[1:]) != name


def test_defaults_are_left_out_of_the_text():
    assert write_stack([Layer(3), Layer(2, stride=2, name="pool")]) == "3_2s2"
    assert read_stack("") == []


@pytest.mark.parametrize(
    "text", ["0", "x", "3s0", "3_", "_3", "3p-1", "3d2s2", "3s", "99999", "3 ", "³", "٣", "3s1s1"]
)
def test_text_that_is_no_stack(text):
    with pytest.raises(ValueError, match="needed"):
        read_stack(text)


# ---------------------------------------------------------------- touch counts


@given(STACKS)
def test_counts_are_the_number_of_paths(layers):
    counts = [0] * receptive_fields(layers)[-1].size
    for taps in itertools.product(*(range(layer.kernel_size) for layer in layers)):
        place, distance = 0, 1
        for tap, layer in zip(taps, layers, strict=True):
            place += tap * layer.dilation * distance
            distance *= layer.stride
        counts[place] += 1
    assert touch_counts(layers).tolist() == counts


def test_counts_of_the_dilated_stacks():
    gridding = touch_counts(PRESETS["gridding_2_2_2"])
    assert gridding.tolist() == [1, 0, 3, 0, 6, 0, 7, 0, 6, 0, 3, 0, 1]
    for filled in ("hdc_1_2_5", "dilated_1_2_4"):
        assert count_touched(touch_counts(PRESETS[filled])).untouched == 0
    # 3 dense layers have as many weights as 3 dilated ones and see 49 pixels instead of 169.
    dense = touch_counts([Layer(3)] * 3)
    assert dense.tolist() == [1, 3, 6, 7, 6, 3, 1]
    assert dense.sum() == gridding.sum() == 27
    assert count_touched(gridding) == Touched(49, 120, 1 - 49 / 169, 49)
    assert count_touched(dense) == Touched(49, 0, 0.0, 49)


def test_a_stride_wider_than_the_kernel_leaves_holes():
    assert touch_counts([Layer(1, stride=3), Layer(2)]).tolist() == [1, 0, 0, 1]


def test_counts_of_deep_stacks_are_exact_or_refused():
    deep = [Layer(3)] * 19
    counts = touch_counts(deep)
    assert counts.sum() == 3**19
    assert touch_map(counts).sum() == 3**38
    with pytest.raises(ValueError, match="paths"):
        touch_counts([Layer(3)] * 20)
    assert_close(touch_counts([Layer(3)] * 64, dtype=torch.float64).sum().item(), 3.0**64)
    for layers in PRESETS.values():
        assert touch_counts(layers, dtype=torch.float64).isfinite().all()


def test_counts_lie_where_they_are_asked_for(device, dtype):
    counts = touch_counts([Layer(3), Layer(2, stride=2)], device=device, dtype=dtype)
    assert counts.device.type == device.type
    assert touch_map(counts).dtype == dtype


@given(STACKS)
def test_touched_pixels_lie_on_no_coarser_grid(layers):
    touched = touch_counts(layers).nonzero().flatten().tolist()
    assert touch_spacing(layers) == (math.gcd(*touched) or 1)


def test_one_pixel():
    counts = touch_counts([Layer(1)])
    assert counts.tolist() == [1]
    assert count_touched(counts) == Touched(1, 0, 0.0, 1)


@pytest.mark.parametrize(
    ("dilations", "kernel_size", "check"),
    [
        # Wang et al., 2018, section 3.2: for K = 3 [1, 2, 5] works, [1, 2, 9] does not, M_2 = 5.
        ([1, 2, 5], 3, HdcCheck((2, 5), 1, True)),
        ([1, 2, 9], 3, HdcCheck((5, 9), 1, False)),
        ([1, 2, 9], 5, HdcCheck((5, 9), 1, True)),
        # "such as [2, 4, 8]": a common factor.
        ([2, 4, 8], 3, HdcCheck((4, 8), 2, False)),
        ([2, 2], 3, HdcCheck((2,), 2, False)),
        ([1, 1, 1, 1], 3, HdcCheck((1, 1, 1), 1, True)),
    ],
)
def test_hdc_rule(dilations, kernel_size, check):
    assert hdc_check(dilations, kernel_size) == check


def test_the_rule_and_the_counts_agree_on_the_papers_examples():
    def holes(dilations):
        return count_touched(touch_counts([Layer(3, dilation=d) for d in dilations])).share

    assert holes([1, 2, 5]) == 0
    assert holes([1, 2, 9]) > 0
    assert holes([2, 4, 8]) > 0
    assert hdc_check([2, 3, 5]).passes  # the rule is no proof: 2 of 21 places stay untouched
    assert holes([2, 3, 5]) == pytest.approx(1 - (19 / 21) ** 2)
    assert hdc_check([3, 3, 8]).passes
    assert holes([3, 3, 8]) == pytest.approx(1 - (15 / 29) ** 2)


TRIPLES = list(itertools.combinations_with_replacement(range(1, 10), 3))


@pytest.mark.parametrize("rates", TRIPLES, ids=str)
def test_the_verdict_depends_on_the_order_as_little_as_the_holes(rates):
    orders = [list(order) for order in itertools.permutations(rates)]
    counts = [touch_counts([Layer(3, dilation=rate) for rate in order]) for order in orders]
    assert all(torch.equal(one, counts[0]) for one in counts)
    assert len({hdc_check(order) for order in orders}) == 1
    if rates[0] == 1:  # beginning with 1, dilations pass if and only if they leave no holes
        assert hdc_check(orders[0]).passes == bool((counts[0] > 0).all())


def test_taps_of_aspp():
    centre = (0, 0, 8, 8)
    for rate in ASPP_RATES:
        boxes = tap_boxes(Layer(3, dilation=rate), stride=8)
        assert len(set(boxes)) == 9
        assert boxes[4] == centre
        assert boxes[0] == (-8 * rate, -8 * rate, 8 - 8 * rate, 8 - 8 * rate)
    assert tap_boxes(Layer(1), stride=1) == [(0, 0, 1, 1)]
    assert len(DENSE_ASPP_RATES) == 5


def test_at_a_large_rate_only_the_middle_tap_is_left():
    # Chen et al., 2017, "Rethinking", figure 4: on a 65 x 65 map a rate near 65 leaves 1 of 9.
    def valid(rate, row, column):
        return count_inside(Layer(3, dilation=rate), (65, 65), row, column)

    assert valid(1, 32, 32) == valid(32, 32, 32) == 9
    assert valid(33, 32, 32) == valid(65, 0, 0) == 1
    assert valid(1, 0, 0) == 4
    assert valid(1, 0, 5) == 6


@pytest.mark.parametrize("dilation", [1, 3, 6])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_taps_on_the_map_are_those_that_torchs_padding_leaves(kernel_size, dilation):
    # 500 x 634 pixels at output stride 32: the last row and column are cut by the photo's edge.
    size = rows, columns = math.ceil(500 / 32), math.ceil(634 / 32)
    layer = Layer(kernel_size, padding=dilation * (kernel_size // 2), dilation=dilation)
    wanted = through_torch([layer], torch.ones(1, 1, *size))[0, 0]
    found = [[count_inside(layer, size, row, at) for at in range(columns)] for row in range(rows)]
    assert found == wanted.long().tolist()


# ---------------------------------------------------------------- the effective field


@pytest.mark.parametrize("name", ["dilated_1_2_4", "gridding_2_2_2", "hdc_1_2_5"])
def test_with_uniform_weights_a_linear_network_counts_touches(name, dtype, device):
    layers = PRESETS[name]
    found = effective_receptive_field(
        layers, weights="uniform", draws=2, dtype=dtype, device=device
    )
    counts = touch_map(touch_counts(layers, device=device)).to(dtype)
    assert_close(found, counts / counts.sum())


def test_a_layer_of_one_tap_fills_no_hole():
    layers = [Layer(1), Layer(3, dilation=2)]
    found = effective_receptive_field(layers, weights="uniform", draws=1)
    assert_close(found * 9, touch_map(touch_counts(layers)).float())


def test_with_uniform_weights_strides_count_too():
    layers = [Layer(3, stride=2), Layer(2), Layer(3, dilation=2)]
    found = effective_receptive_field(layers, weights="uniform", draws=1, dtype=torch.float64)
    counts = touch_map(touch_counts(layers)).double()
    assert_close(found, counts / counts.sum())


def test_with_normal_weights_the_gradient_is_as_large_as_the_root_of_the_touches():
    # With many channels the gradient is normal, its variance touches / paths: E|g| = σ √(2 / π).
    layers = [Layer(3), Layer(3, dilation=2)]
    found = effective_receptive_field(layers, generator(1), draws=4000, channels=32)
    counts = touch_map(touch_counts(layers)).float()
    wanted = (counts / counts.sum()).sqrt() * math.sqrt(2 / math.pi)
    assert_close(found, wanted, rtol=0.06, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_gradient_is_that_of_finite_differences(activation):
    layers = [Layer(3, stride=2), Layer(2, dilation=2)]
    found = effective_receptive_field(
        layers, generator(3), draws=1, channels=4, activation=activation, dtype=torch.float64
    )
    size = receptive_fields(layers)[-1].size
    drawn = generator(3)
    picture = torch.randn(1, size, size, generator=drawn, dtype=torch.float64)
    gain = nn.init.calculate_gain(activation)
    first = torch.randn(4, 1, 3, 3, generator=drawn, dtype=torch.float64) * gain / 3
    second = torch.randn(1, 4, 2, 2, generator=drawn, dtype=torch.float64) * gain / 4
    function = {"relu": torch.relu, "tanh": torch.tanh}[activation]

    def unit(x):
        hidden = function(functional.conv2d(x[None], first, stride=2))
        return functional.conv2d(hidden, second, dilation=2).item()

    slopes = torch.zeros(size, size, dtype=torch.float64)
    for row, column in itertools.product(range(size), repeat=2):
        nudge = torch.zeros_like(picture)
        nudge[0, row, column] = 1e-6
        slopes[row, column] = abs(unit(picture + nudge) - unit(picture - nudge)) / 2e-6
    turned = [slopes.rot90(turns) for turns in range(4)]
    wanted = torch.stack([*turned, *(one.flip(0) for one in turned)]).mean(dim=0)
    assert_close(found, wanted, atol=1e-7, rtol=0)


def test_gains_are_torchs():
    for name, (_, gain) in ACTIVATIONS.items():
        assert gain == pytest.approx(nn.init.calculate_gain(name))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_touched_pixels_have_a_gradient(activation):
    layers = PRESETS["gridding_2_2_2"]
    found = effective_receptive_field(layers, draws=32, activation=activation)
    assert torch.equal(found > 0, touch_map(touch_counts(layers)) > 0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_common_factor_of_the_dilations_spreads_the_same_gradient(activation):
    dense, spread = (
        effective_receptive_field([Layer(3, dilation=d)] * 5, activation=activation) for d in (1, 3)
    )
    assert torch.equal(spread[::3, ::3], dense)
    assert spread.count_nonzero() == dense.count_nonzero()


def test_three_draws_in_all_directions_are_near_the_mean_of_many():
    layers = [Layer(3)] * 12
    wanted = effective_size(effective_receptive_field(layers, generator(1), 96, activation="relu"))
    found = [
        effective_size(effective_receptive_field(layers, generator(seed), activation="relu"))
        for seed in range(8)
    ]
    assert sum(found) / len(found) == pytest.approx(wanted, rel=0.08)
    assert max(abs(size / wanted - 1) for size in found) < 0.2


def test_the_same_seed_draws_the_same():
    layers = [Layer(3)] * 3
    first, second = (effective_receptive_field(layers, generator(7), draws=2) for _ in range(2))
    other = effective_receptive_field(layers, generator(8), draws=2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_network_may_be_called_without_gradients():
    with torch.no_grad():
        assert (effective_receptive_field([Layer(3)], draws=1) > 0).all()


def test_effective_size_counts_pixels():
    gradient = torch.tensor([[0.04, 0.05], [1.0, 0.0]])
    assert effective_size(gradient) == math.sqrt(2)
    assert effective_size(gradient, threshold=0) == math.sqrt(3)
    assert effective_size(torch.zeros(3, 3)) == 0
    assert effective_size(torch.ones(5, 5)) == 5
    assert effective_size(torch.zeros(3, 3), spacing=2) == 0


@pytest.mark.parametrize("factor", [2, 3])
def test_spread_pixels_have_the_area_of_the_holes_between_them(factor):
    # One value for each hole, that of its pixel: the same picture, enlarged.
    sharp = torch.exp(-((torch.arange(25) - 12.0) ** 2) / 30)
    sharp = sharp[:, None] * sharp
    spread = torch.zeros(24 * factor + 1, 24 * factor + 1)
    spread[::factor, ::factor] = sharp
    enlarged = sharp.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    assert effective_size(spread, spacing=factor) == effective_size(enlarged)
    full = (spread > 0).float()  # never beyond the field
    assert effective_size(full, spacing=factor) == len(full)


def test_effective_size_of_a_normal_distribution():
    # exp(-r² / 2σ²) > t within a circle of radius σ √(-2 ln t).
    places = torch.arange(401, dtype=torch.float64) - 200
    normal = torch.exp(-(places[:, None] ** 2 + places**2) / (2 * 30**2))
    wanted = 30 * math.sqrt(-2 * math.log(TWO_SIGMA)) * math.sqrt(math.pi)
    assert effective_size(normal) == pytest.approx(wanted, rel=0.005)


@given(STACKS)
def test_path_std_is_that_of_the_counts(layers):
    counts = touch_counts(layers).double()
    places = torch.arange(len(counts), dtype=torch.float64)
    mean = (counts * places).sum() / counts.sum()
    variance = (counts * (places - mean) ** 2).sum() / counts.sum()
    assert path_std(layers) == pytest.approx(variance.sqrt().item(), abs=1e-9)


@pytest.mark.parametrize(
    ("weights", "draws", "widening"), [("uniform", 1, 1), ("normal", 48, math.sqrt(2))]
)
def test_the_law_of_the_square_root(weights, draws, widening):
    sweep = sweep_depth([10, 40], draws=draws, weights=weights)
    assert sweep.theoretical.tolist() == [21, 81]
    assert sweep.expected[1] / sweep.expected[0] == 2
    ratio = (sweep.effective[1] / sweep.effective[0]).item()
    assert ratio == pytest.approx(2, rel=0.12)
    # The touch map of 40 layers, or its root, above the threshold: counted.
    counts = touch_map(touch_counts([Layer(3)] * 40, dtype=torch.float64))
    counted = effective_size(counts ** (1 / widening**2))
    assert sweep.expected[1].item() == pytest.approx(counted, rel=0.03)
    assert sweep.effective[1].item() == pytest.approx(counted, rel=0.12)


def test_a_common_factor_of_the_dilations_spreads_the_same_pixels():
    dense, spread = (sweep_depth([12], [d], weights="uniform", draws=1) for d in (1, 2))
    assert spread.theoretical.item() == 2 * dense.theoretical.item() - 1
    assert spread.effective == 2 * dense.effective
    assert spread.expected == 2 * dense.expected


@pytest.mark.parametrize("weights", ["normal", "uniform"])
@pytest.mark.parametrize("dilations", [[1], [2], [1, 2, 5]], ids=str)
def test_the_law_stays_within_the_field(dilations, weights):
    for depth in range(1, 31):
        layers = cycle_layers(depth, dilations)
        size = receptive_fields(layers)[-1].size
        root = 1 if weights == "uniform" else 2
        law = math.sqrt(root * 2 * math.pi * -math.log(TWO_SIGMA)) * path_std(layers)
        assert expected_size(layers, weights) == pytest.approx(min(law, size))
    assert expected_size(cycle_layers(4, [1, 2, 5])) == 19  # the law alone would have 28.3
    assert expected_size([Layer(1)]) == 1  # no path strays: the pixel itself


@pytest.mark.parametrize("weights", ["normal", "uniform"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dilations", [[1], [2], [1, 2, 5]], ids=str)
def test_twice_the_layers_widen_the_effective_field_by_the_root_of_two(
    dilations, activation, weights
):
    sweep = sweep_depth([12, 24], dilations, activation=activation, weights=weights, draws=6)
    assert (sweep.effective < 0.9 * sweep.theoretical).all()
    assert (sweep.effective[1] / sweep.effective[0]).item() == pytest.approx(2**0.5, rel=0.1)
    assert (sweep.expected[1] / sweep.expected[0]).item() == pytest.approx(2**0.5)


def test_dilations_without_a_common_factor_widen_the_effective_field():
    layers = cycle_layers(12, [1, 2, 5])
    assert [layer.dilation for layer in layers] == [1, 2, 5] * 4
    counted = effective_size(touch_map(touch_counts(layers)).double())
    assert expected_size(layers, "uniform") == pytest.approx(counted, rel=0.05)


def test_a_sweep_is_the_single_calls():
    sweep = sweep_depth([3, 1], [3, 1], kernel_size=2, seed=5, activation="relu", draws=3)
    for place, depth in enumerate([3, 1]):
        layers = [Layer(2, dilation=3), Layer(2), Layer(2, dilation=3)][:depth]
        single = effective_receptive_field(layers, generator(5), draws=3, activation="relu")
        spacing = [1, 3][place]  # a layer with dilation 3 alone leaves holes
        wanted = effective_size(single, spacing=spacing)
        assert sweep.effective[place].item() == pytest.approx(wanted)
        assert sweep.theoretical[place] == receptive_fields(layers)[-1].size
    assert sweep_depth([]).effective.shape == (0,)
    assert cycle_layers(0) == []


# ---------------------------------------------------------------- a trained network


@pytest.fixture(scope="module")
def features():
    return mobilenet_v2().features


@pytest.fixture(scope="module")
def photo():
    return torch.randint(0, 256, (240, 320, 3), generator=generator(), dtype=torch.uint8)


@pytest.mark.parametrize("block", [0, 1, 3, 6])
def test_mobilenets_blocks_see_what_the_preset_says(features, photo, block):
    gradient = network_receptive_field(features, photo, block, draws=2)
    assert extent_of(gradient > 0) == middle_box(PRESETS["mobilenet_v2"][: block + 1], 224)


def test_mobilenets_maps_are_as_large_as_the_preset_says(features):
    x = torch.zeros(1, 3, 224, 224)
    for block, size in zip(features, output_sizes(PRESETS["mobilenet_v2"], 224), strict=True):
        x = block(x)
        assert x.shape[2] == size


def test_a_trained_layers_gradient_is_its_kernel():
    layer = nn.Conv2d(3, 1, 5, padding=2, bias=False)
    photo = torch.full((64, 64, 3), 100, dtype=torch.uint8)
    found = network_receptive_field(nn.Sequential(layer), photo, 0, generator(2), draws=3)
    mixes = torch.randn(3, 1, generator=generator(2))
    wanted = layer.weight[0].abs().sum(dim=0) * mixes.abs().mean()
    assert_close(found[110:115, 110:115], wanted.detach())
    assert found.count_nonzero() == 25


@pytest.mark.parametrize("block", [0, 1, 5, 13])
def test_the_gradient_is_that_of_the_network_as_it_stands(features, photo, block):
    picture = imagenet_input(photo).double().requires_grad_()
    maps = copy.deepcopy(features).double()[: block + 1](picture)
    unit = maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2]
    (mix,) = torch.randn(1, len(unit), generator=generator())
    (mix.double() @ unit).backward()
    found = network_receptive_field(features, photo, block, generator(), draws=1)
    wanted = picture.grad[0].abs().sum(dim=0)
    assert_close(found.double(), wanted, rtol=0, atol=1e-3 * float(wanted.max()))


def test_random_weights_are_kaimings_and_the_network_is_left_alone(features, photo):
    before = {name: value.clone() for name, value in features.state_dict().items()}
    drawn = untrained(features, photo, generator(4))
    for name, value in features.state_dict().items():
        assert torch.equal(before[name], value)
    for old, new in zip(features.modules(), drawn.modules(), strict=True):
        if isinstance(new, nn.Conv2d) and new.weight.numel() > 10_000:
            fan_in = new.weight[0].numel()
            assert new.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
            assert not torch.equal(old.weight, new.weight)
    assert not any(module.training for module in drawn.modules())


def test_random_weights_normalize_the_photo(features, photo):
    drawn = untrained(features, photo)
    convolution, normalization, _ = drawn[0]
    first = normalization(convolution(imagenet_input(photo)))
    assert_close(first.mean(dim=(0, 2, 3)), torch.zeros(32), atol=1e-3, rtol=0)
    assert_close(first.var(dim=(0, 2, 3)), torch.ones(32), atol=1e-2, rtol=0)


@pytest.mark.parametrize("block", [1, 6])
def test_random_weights_see_the_same_box(features, photo, block):
    drawn = untrained(features, photo)
    gradient = network_receptive_field(drawn, photo, block, draws=2)
    assert extent_of(gradient > 0) == middle_box(PRESETS["mobilenet_v2"][: block + 1], 224)


def test_the_trained_networks_own_weights_stay_as_they_are(features, photo):
    before = {name: value.clone() for name, value in features.state_dict().items()}
    network_receptive_field(features, photo, 2, draws=1)
    assert all(torch.equal(before[name], value) for name, value in features.state_dict().items())
    assert all(parameter.grad is None for parameter in features.parameters())


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel_size is 0"),
        ({"kernel_size": 3.0}, "kernel_size is 3.0"),
        ({"kernel_size": True}, "kernel_size is True"),
        ({"kernel_size": 3, "stride": 0}, "stride is 0"),
        ({"kernel_size": 3, "padding": -1}, "padding is -1"),
        ({"kernel_size": 3, "dilation": 0}, "dilation is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_layer_of_nonsense(options, message):
    with pytest.raises(ValueError, match=message):
        Layer(**options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_sizes([Layer(3)], 0), "input_size"),
        (lambda: outside_share((0, 0, 1, 1), (0, 5)), "image_size"),
        (lambda: touch_counts([]), "layers has no entry"),
        (lambda: touch_counts([Layer(2, dilation=MOST_TOUCHED)]), "at most 65536"),
        (lambda: hdc_check([2]), "dilations has 1"),
        (lambda: hdc_check([1, 0]), "dilations has 0"),
        (lambda: hdc_check([1, 2], kernel_size=0), "kernel_size"),
        (lambda: tap_boxes(Layer(2), 8), "kernel_size is 2"),
        (lambda: tap_boxes(Layer(3), 0), "stride"),
        (lambda: count_inside(Layer(2), (5, 5)), "kernel_size is 2"),
        (lambda: count_inside(Layer(3), (5, 0)), "map_size"),
        (lambda: touch_spacing([]), "layers has no entry"),
        (lambda: effective_receptive_field([]), "layers has no entry"),
        (lambda: effective_receptive_field([Layer(1025)]), "at most 1024"),
        (lambda: effective_receptive_field([Layer(3)], draws=0), "draws"),
        (lambda: effective_receptive_field([Layer(3)], channels=0), "channels"),
        (lambda: effective_receptive_field([Layer(3)], activation="gelu"), "activation is 'gelu'"),
        (lambda: effective_receptive_field([Layer(3)], weights="zeros"), "weights is 'zeros'"),
        (lambda: effective_size(torch.zeros(0, 3)), "gradient has shape"),
        (lambda: effective_size(torch.ones(2, 2), threshold=1), "threshold is 1"),
        (lambda: effective_size(torch.ones(2, 2), spacing=0), "spacing"),
        (lambda: sweep_depth([0]), "layers has no entry"),
        (lambda: cycle_layers(-1), "depth is -1"),
        (lambda: cycle_layers(2, []), "dilations has no entry"),
        (lambda: expected_size([]), "layers has no entry"),
        (lambda: expected_size([Layer(3)], "zeros"), "weights is 'zeros'"),
        (lambda: describe_stack([], (5, 5)), "layers has no entry"),
        (lambda: describe_stack([Layer(3)], (0, 5)), "input_size"),
        (lambda: dilate([Layer(3)], 0), "factor"),
        (lambda: middle_box([], 9), "layers has no entry"),
        (lambda: middle_box([Layer(3)], 0), "input_size"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_block_that_is_not_there(features, photo):
    for block in (-1, 19):
        with pytest.raises(ValueError, match=f"block is {block}"):
            network_receptive_field(features, photo, block)
    with pytest.raises(ValueError, match="draws"):
        network_receptive_field(features, photo, 0, draws=0)
