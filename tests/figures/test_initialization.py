"""Figures of the Initialization page: what is drawn follows from the results handed in."""

import base64
import dataclasses
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from explainers.initialization import (
    DEAD,
    EXPLODED,
    SCHEMES,
    Fate,
    PhotoMaps,
    VarianceLaw,
    compare_schemes,
    fates,
    predicted_variance,
    propagate,
    random_inputs,
    sweep_gains,
)
from explainers.painting import train_schemes
from figures.initialization import (
    HIGHEST,
    LOOKS,
    LOWEST,
    RIDGES,
    activation_ridges,
    by_layer,
    fate_sentences,
    fate_table,
    gain_ends,
    gain_layers,
    gain_rows,
    gradient_ridges,
    law_formula,
    law_numbers,
    loss_curves,
    painted_tiles,
    photo_tiles,
    scheme_names,
    shown_layers,
    spread_curves,
    told,
    weight_tiles,
)
from figures.style import CHOSEN, IGNORED, NEGATIVE

ALL = list(SCHEMES)
GAINS = [0.5, 1.0, 2.0]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sent(scheme, depth=40, width=48, activation="relu"):
    return propagate(random_inputs(16, width, generator()), depth, scheme, activation, generator())


def finite(figure):
    """No number that Plotly draws is missing or infinite."""
    for trace in figure.data:
        for axis in ("x", "y", "z"):
            values = getattr(trace, axis, None)
            if values is not None:
                assert np.isfinite(np.asarray(values, dtype=float)).all(), trace.name
    return figure


def test_the_sentences_tell_where_each_is_lost():
    forward = Fate(torch.tensor([3, 0, 1, 3]), torch.tensor([0, 7, 0, 0]))
    backward = Fate(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 2, 0]))
    schemes = ["zeros", "normal", "orthogonal", "constant"]
    assert fate_sentences(forward, backward, schemes, str) == (
        "The signal dies at layer 1 (Orthogonal), 3 (Zeros, Constant 0.01). "
        "The signal explodes at layer 7 (Normal N(0, 1)). "
        "The gradient explodes at layer 2 (Orthogonal)."
    )


def test_gradients_are_lost_where_the_curves_show_it():
    inputs = random_inputs(8, 16, generator())
    spread = compare_schemes(inputs, 60, "relu", generator())
    died = by_layer(fates(spread.gradient_std, backward=True), 60).died
    for std, layer in zip(spread.gradient_std.tolist(), died.tolist(), strict=True):
        below = [number for number, size in enumerate(std, start=1) if size < DEAD]
        assert layer == max(below, default=0)
    assert 0 < int(died[ALL.index("xavier_normal")]) < 40


def test_every_scheme_has_a_name_and_a_look():
    assert set(scheme_names(str)) == set(LOOKS) == set(SCHEMES)
    assert len(set(LOOKS.values())) == len(LOOKS)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"), (math.inf, "∞"), (1.0, "1"), (0.001, "0.001"), (0.00099, "9.9·10⁻⁴"),
        (99.4, "99"), (99.7, "100"), (128.0, "128"), (9999.0, "9999"),
        (1e4, "1·10⁴"), (2.5e11, "2.5·10¹¹"),
    ],
)  # fmt: skip
def test_sizes_are_told_in_two_or_three_digits(number, text):
    assert told(number) == text


class TestRidges:
    @pytest.mark.parametrize("depth", [1, 2, RIDGES, RIDGES + 1, 100])
    def test_the_first_and_the_last_layer_are_shown(self, depth):
        layers = shown_layers(depth)
        assert (layers[0], layers[-1]) == (0, depth - 1)
        assert len(set(layers.tolist())) == len(layers) == min(depth, RIDGES)

    def test_a_ridge_is_as_high_as_its_fullest_bin(self):
        drawn = finite(activation_ridges(sent("kaiming_normal", depth=3), str))
        for row, trace in enumerate(drawn.data):
            assert max(trace.y) == pytest.approx(1.9 - row)
            assert min(trace.y) == -row

    def test_colours_tell_dead_and_exploded_layers(self):
        for scheme, colour in (
            ("uniform_fan_in", IGNORED),
            ("kaiming_normal", CHOSEN),
            ("normal", NEGATIVE),
        ):
            assert activation_ridges(sent(scheme), str).data[-1].line.color == colour
            assert gradient_ridges(sent(scheme), str).data[0].line.color == colour

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_the_spread_stands_beside_each_ridge(self, scheme):
        found = sent(scheme)
        drawn = finite(activation_ridges(found, str))
        notes = [note.text for note in drawn.layout.annotations]
        sizes = [told(size) for size in found.activation_std[shown_layers(40)].tolist()]
        assert notes == [*sizes, "σ"]


class TestCurves:
    INPUTS = random_inputs(8, 16, generator())

    @pytest.mark.parametrize("depth", [1, 2, 9, 100])
    def test_layers_have_whole_numbers_and_room(self, depth):
        spread = compare_schemes(self.INPUTS, depth, "relu", generator())
        axis = spread_curves(spread, ALL, str).layout.xaxis
        assert axis.range[0] <= 1 <= depth <= axis.range[1]
        assert axis.range[1] - axis.range[0] >= 1
        assert depth > 9 or axis.dtick == 1

    @pytest.mark.parametrize("depth", [1, 30])
    def test_every_scheme_has_a_line_forward_and_one_backward(self, depth):
        spread = compare_schemes(self.INPUTS, depth, "relu", generator())
        drawn = finite(spread_curves(spread, ALL, str))
        assert len(drawn.data) == 2 * len(ALL)
        assert [trace.yaxis for trace in drawn.data[:2]] == ["y", "y2"]
        for row, trace in enumerate(drawn.data[::2]):
            wanted = spread.activation_std[row].double().clamp(LOWEST, HIGHEST)
            assert np.allclose(trace.y, wanted)
            assert list(trace.customdata) == [told(v) for v in spread.activation_std[row].tolist()]

    def test_the_thresholds_are_marked_in_both(self):
        drawn = spread_curves(compare_schemes(self.INPUTS, 3, "relu", generator()), ALL, str)
        marked = {(shape.yref, shape.y0) for shape in drawn.layout.shapes}
        assert marked == {(axis, edge) for axis in ("y", "y2") for edge in (DEAD, EXPLODED)}

    def test_what_follows_the_gain_starts_where_it_stands(self):
        inputs, gains = self.INPUTS, torch.tensor(GAINS)
        sweep = sweep_gains(inputs, 30, "xavier_normal", "relu", generator(), gains)
        forward, backward = gain_rows(sweep)
        assert forward.shape == backward.shape == (3, 30)
        drawn = finite(gain_layers(sweep, 1, 7, str))
        assert np.array_equal(drawn.data[0].y, forward[1])
        assert np.array_equal(drawn.data[1].y, backward[1])
        assert list(drawn.data[2].x) == [7, 7]
        ends = finite(gain_ends(sweep, GAINS, 1, str))
        assert np.array_equal(ends.data[0].y, forward[:, -1])
        assert np.array_equal(ends.data[1].y, backward[:, 0])
        assert list(ends.data[2].x) == [1.0, 1.0]

    def test_the_numbers_of_the_law(self):
        gains = torch.tensor(GAINS)
        sweep = sweep_gains(self.INPUTS, 4, "normal", "relu", generator(), gains)
        numbers = law_numbers(sweep, predicted_variance(sweep))
        assert set(numbers) == {"fan_in", "variance", "square", "predicted", "measured"}
        for rows in numbers.values():
            assert rows.shape == (3, 4)
        assert numbers["fan_in"][0].tolist() == [16] * 4
        assert numbers["variance"][:, 0].tolist() == [0.25, 1, 4]


def test_the_table_tells_what_comes_first():
    forward = Fate(torch.tensor([3, 0, 0]), torch.tensor([0, 7, 0]))
    backward = Fate(torch.tensor([0, 0, 0]), torch.tensor([0, 0, 2]))
    table = fate_table(forward, backward, ["zeros", "normal", "orthogonal"], str)
    assert list(table.values()) == [
        ["Zeros", "Normal N(0, 1)", "Orthogonal"],
        ["† 3", "∞ 7", "✓"],
        ["✓", "✓", "∞ 2"],
    ]


@pytest.mark.parametrize(
    ("law", "worked"),
    [
        (VarianceLaw(128, 0.015625, 0.5, 1.0, 0.9), r"128 \cdot 0.0156 \cdot 0.5 = \mathbf{1}"),
        (VarianceLaw(64, 0.0104, 1.02, 0.679, 0.7), r"64 \cdot 0.0104 \cdot 1.02 = \mathbf{0.679}"),
        (VarianceLaw(64, 1.0, 2e-9, 1.28e-7, 0.0), r"\cdot 2 \cdot 10^{-9} = \mathbf{1.28 \cdot"),
        (VarianceLaw(64, 1.0, math.inf, math.inf, math.inf), r"\mathbf{\infty}"),
        (VarianceLaw(64, 0.0, 0.0, 0.0, 0.0), r"64 \cdot 0 \cdot 0 = \mathbf{0}"),
    ],
)  # fmt: skip
def test_the_formula_holds_the_worked_numbers(law, worked):
    assert worked in law_formula(law)


class TestPhotoTiles:
    def maps(self, low):
        maps = torch.linspace(low, 6, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
        return PhotoMaps(maps, torch.tensor([[1.0, 0.5, 0.1], [1.0, 1e9, math.inf]]))

    @pytest.mark.parametrize("alike", [True, False])
    @pytest.mark.parametrize("low", [0.0, -6.0])
    def test_one_tile_for_each_scheme_and_depth(self, alike, low):
        drawn = finite(photo_tiles(self.maps(low), [1, 0], ["B", "A"], [1, 5, 10], alike, str))
        assert len(drawn.data) == 6
        texts = [note.text for note in drawn.layout.annotations]
        assert texts[:2] == ["1: σ 1", "<b>B</b>"]
        assert "10: σ ∞" in texts
        assert all(trace.z.dtype == np.uint8 for trace in drawn.data)

    def test_zero_is_the_middle_of_signed_colours_and_the_end_of_others(self):
        values = torch.zeros(1, 1, 2, 2)
        values[0, 0, 0] = torch.tensor([3.0, -3.0])
        for maps, zero in ((values, 127), (values.abs(), 0)):
            found = PhotoMaps(maps, torch.ones(1, 1))
            drawn = photo_tiles(found, [0], ["A"], [1], True, str)
            assert (drawn.data[0].z[1] == zero).all()

    @pytest.mark.parametrize(("low", "ends"), [(0.0, ["0", "≥ 3"]), (-6.0, ["≤ −3", "≥ 3"])])
    def test_the_one_scale_is_told_below_the_maps(self, low, ends):
        told_bar = photo_tiles(self.maps(low), [0, 1], ["A", "B"], [1, 5, 10], True, str, bar=True)
        bars = [trace.colorbar for trace in told_bar.data if trace.showscale]
        assert [[bar.ticktext[0], bar.ticktext[-1]] for bar in bars] == [ends]
        lowest = min(told_bar.layout[f"yaxis{n}"].domain[0] for n in range(2, 7))
        assert 0 < bars[0].y < lowest
        untold = photo_tiles(self.maps(low), [0, 1], ["A", "B"], [1, 5, 10], True, str)
        assert not any(trace.showscale for trace in untold.data)

    def test_a_map_of_zeros_has_a_scale_too(self):
        found = PhotoMaps(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1))
        finite(photo_tiles(found, [0], ["A"], [1], False, str))


@pytest.fixture(scope="module")
def states():
    photo = torch.randint(0, 256, (6, 8, 3), generator=generator(), dtype=torch.uint8)
    small = {"depth": 12, "width": 8, "steps": 4, "every": 2, "batch": 8}
    return list(train_schemes(photo, ALL, generator(), **small))


class TestTraining:
    def test_losses_that_exploded_end(self, states):
        for state in states:
            drawn = finite(loss_curves(state, ALL, 4, str))
            assert len(drawn.data) == len(ALL)
            for row, trace in enumerate(drawn.data):
                assert len(trace.y) == int(state.losses[row].isfinite().sum())
                assert trace.name.endswith(" ∞") == bool(state.exploded[row])

    def test_losses_beyond_the_scale_are_drawn_at_its_edge(self, states):
        huge = dataclasses.replace(states[0], losses=torch.full((len(ALL), 1), 3e15))
        drawn = loss_curves(huge, ALL, 4, str)
        low, high = drawn.layout.yaxis.range
        for trace in drawn.data:
            assert low < math.log10(trace.y[0]) < high
            assert trace.customdata[0] == "3·10¹⁵"

    def test_pictures_arrive_as_they_are(self, states):
        state = states[-1]
        drawn = painted_tiles(state, ALL, str)
        assert len(drawn.data) == len(ALL) + 1
        wanted = [*state.pictures, state.photo]
        for trace, picture in zip(drawn.data, wanted, strict=True):
            png = base64.b64decode(trace.source.split(",")[1])
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), picture.numpy())

    def test_weights_tell_how_many_units_differ(self, states):
        state = states[-1]
        drawn = finite(weight_tiles(state, ALL, ["zeros", "kaiming_normal"], str))
        texts = [note.text for note in drawn.layout.annotations]
        assert texts[0] == "<b>Zeros</b><br>±0<br>kinds of unit: 1"
        assert texts[1].endswith("<br>kinds of unit: 8")
        assert drawn.data[1].z.shape == (8, 12)


def test_labels_are_translated():
    drawn = activation_ridges(sent("zeros", depth=2), lambda text: f"<{text}>")
    assert drawn.layout.xaxis.title.text == "<Activation value>"
    assert drawn.layout.yaxis.title.text == "<Layer>"
