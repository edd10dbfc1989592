"""Figures of the Activations page: what is drawn follows from the results handed in."""

import math

import numpy as np
import pytest
import torch

from explainers.activations import (
    ACTIVATIONS,
    LAYERS,
    WIDTH,
    Interval,
    all_signals,
    curve,
    curve_of_bins,
    gradient_chain,
    normal_shares,
    profile,
    signal_statistics,
    train_dying_relu,
    wave,
)
from figures.activations import (
    FORMULAS,
    IN_BINS,
    IN_HIGH,
    IN_LOW,
    NAMES,
    NETWORKS,
    chains,
    curves,
    fits,
    formula,
    history,
    moments,
    passed_on,
    profile_table,
    response_layers,
    shared_limit,
    signal,
    steepest,
    training_numbers,
    units,
    update_axis,
    window,
)
from figures.style import CHOSEN, NEGATIVE

SIZE = (8, 6)


def translated(label):
    return f"<{label}>"


def named(traces, name):
    return [trace for trace in traces if trace.name == name]


def test_every_activation_has_a_name_a_formula_and_a_look_of_its_own():
    assert list(NAMES) == list(ACTIVATIONS)
    assert FORMULAS.keys() == NAMES.keys()
    every = {name: curve(name, -1, 1, 3) for name in NAMES}
    drawn = curves(every, str).data[: len(NAMES)]
    assert len({(trace.line.color, trace.line.dash) for trace in drawn}) == len(NAMES)


# ---------------------------------------------------------------- curves


def test_curves_stand_above_their_slopes_and_tell_both():
    found = {name: curve(name, -5, 5, 11) for name in ("tanh", "gelu")}
    drawn = curves(found, str)
    for name, (above, below) in zip(found, [drawn.data[::2], drawn.data[1::2]], strict=True):
        assert above.name == below.name == NAMES[name]
        assert np.array_equal(above.y, below.customdata)
        assert np.array_equal(below.y, above.customdata)
        assert np.array_equal(above.y, found[name].value)
        assert np.array_equal(below.y, found[name].slope)
        assert (above.yaxis, below.yaxis) == (None, "y2")
    assert drawn.layout.hovermode == "x unified"


@pytest.mark.parametrize(
    ("name", "parameters", "latex"),
    [
        ("relu", {}, r"\max(0, x)"),
        ("swish", {"beta": 0.5}, r"x\,\sigma(0.5\,x)"),
        ("softplus", {"beta": 2.0}, r"\tfrac{1}{2}\,\ln(1 + e^{2\,x})"),
        ("softplus", {"beta": 1.0}, r"\ln(1 + e^{x})"),
        ("elu", {"alpha": 1.0}, r"x > 0:\; x,\quad x \le 0:\; (e^x - 1)"),
        ("leaky_relu", {"negative_slope": 0.01}, r"x > 0:\; x,\quad x \le 0:\; 0.01\,x"),
        ("prelu", {"weight": -0.5}, r"x > 0:\; x,\quad x \le 0:\; -0.5\,x"),
    ],
)
def test_formulas_hold_their_numbers(name, parameters, latex):
    assert formula(name, parameters) == latex


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("selu", {}), ("elu", {"alpha": 3.0}), ("prelu", {"weight": -0.5}), ("relu", {})],
)
def test_curves_lie_within_their_axes(name, parameters):
    layout = curves({name: curve(name, -5, 5, 101, **parameters)}, str).layout
    found = curve(name, -5, 5, 101, **parameters)
    for values, axis in ((found.value, layout.yaxis), (found.slope, layout.yaxis2)):
        low, high = axis.range
        assert low <= values.min() <= values.max() <= high


def test_no_formula_keeps_a_place_without_a_number():
    for name, activation in ACTIVATIONS.items():
        written = formula(name, activation.parameters)
        assert not any(f"{parameter}}}" in written for parameter in activation.parameters)


def test_of_equally_steep_ones_all_are_named():
    profiles = {name: profile(name) for name in ("sigmoid", "tanh", "relu", "leaky_relu")}
    assert steepest(profiles, str) == "tanh, ReLU, Leaky ReLU"
    profiles["prelu"] = profile("prelu", weight=1.5)
    assert steepest(profiles, str) == "PReLU"


def test_the_table_has_a_row_for_each_activation():
    profiles = {"relu": profile("relu"), "elu": profile("elu", alpha=2.0)}
    table = profile_table(profiles, {"relu": {}, "elu": {"alpha": 2.0}}, translated)
    assert table["<Range>"] == ["[0, ∞)", "(−2, ∞)"]
    assert table["<Steepest slope>"] == ["1", "2"]
    assert table["<Cost>"] == ["1", "3 + exp"]
    assert table["<Activation>"] == ["ReLU", "ELU"]


# ---------------------------------------------------------------- signals


def drawn_signal(name, mean=0.0, spread=1.0):
    seen = {"low": IN_LOW, "high": IN_HIGH, "bins": IN_BINS}
    given = torch.tensor(mean), torch.tensor(spread)
    low, high = window(ACTIVATIONS[name].range())
    out = signal_statistics(name, *given, low=low, high=high, bins=70)
    line, into = curve_of_bins(name, **seen), normal_shares(*given, **seen)
    return signal(line, into, out, low, high, str), line, into, out


def test_a_signal_shows_input_curve_and_output():
    drawn, line, into, out = drawn_signal("tanh", 0.5, 2.0)
    whole, saturated, below, beside = drawn.data
    assert np.array_equal(whole.y, line.value)
    assert np.array_equal(below.y, into)
    assert np.array_equal(beside.x, out.share)
    flat = line.slope.abs().numpy() < 0.01
    assert np.array_equal(np.isnan(saturated.y), ~flat)
    assert (np.array(below.marker.color) == NEGATIVE).tolist() == flat.tolist()
    low, high = drawn.layout.yaxis.range
    assert low < beside.y[0] < beside.y[-1] < high


def test_a_bar_that_stands_out_is_cut_and_told():
    drawn, _line, _into, out = drawn_signal("relu")
    assert drawn.layout.xaxis2.range[1] < out.share.max() / 2
    assert [note.text for note in drawn.layout.annotations] == ["50% exactly 0"]
    drawn, _line, _into, out = drawn_signal("gelu_tanh", 3.0, 0.1)
    assert drawn.layout.xaxis2.range[1] > out.share.max()
    assert not drawn.layout.annotations


def test_a_signal_at_every_end_of_its_sliders():
    for name in NAMES:
        for mean in (-4.0, 4.0):
            for spread in (0.1, 4.0):
                drawn, *_ = drawn_signal(name, mean, spread)
                assert all(math.isfinite(end) for end in drawn.layout.xaxis2.range)
                assert drawn.layout.xaxis2.range[1] > 0


@pytest.mark.parametrize(
    ("reach", "shown"),
    [
        (Interval(0, 1), (-0.08, 1.08)),
        (Interval(-math.inf, math.inf), (-3.64, 5.64)),
        (Interval(0, math.inf), (-0.4, 5.4)),
    ],
)
def test_the_window_holds_what_is_bounded_and_a_part_of_what_is_not(reach, shown):
    assert window(reach) == pytest.approx(shown)


def test_moments_of_all_activations():
    signals = all_signals(torch.tensor(-1.0), torch.tensor(2.0))
    drawn = moments(signals, -1.0, 2.0, str)
    dots = drawn.data[0]
    assert list(dots.y) == list(NAMES.values())
    assert np.array_equal(dots.x, signals.mean)
    assert np.allclose(np.square(dots.error_x.array), signals.variance)
    assert np.array_equal(dots.marker.color, signals.saturated)
    band = drawn.layout.shapes[0]
    assert (band.x0, band.x1) == (-3, 1)


# ---------------------------------------------------------------- pictures


def test_a_response_is_shown_and_what_an_activation_makes_of_it_hides_it():
    before = torch.tensor([[-2.0, 1.0, 0.0]])
    (alone,) = response_layers(before, None, 2.0, str)
    hidden, after = response_layers(before, before.relu(), 2.0, str)
    for layer in (alone, hidden, after):
        layer.encode(SIZE)
        assert (layer.low, layer.high, layer.colours) == (-2.0, 2.0, "diverging")
    assert (alone.opacity, hidden.opacity, after.opacity) == (1, 0, 1)
    assert np.array_equal(hidden.values, before)


def test_the_limit_leaves_out_the_strongest_hundredth():
    assert shared_limit(torch.arange(-1000.0, 1001)) == pytest.approx(990)
    assert shared_limit(torch.zeros(3, 4)) == 1
    assert shared_limit(torch.tensor([[-0.5]])) == 0.5


# ---------------------------------------------------------------- vanishing


def found_chains(start=1.0, gain=1.0, names=("sigmoid", "relu")):
    return {name: gradient_chain(name, 50, torch.tensor([start]), gain) for name in names}


def test_chains_mark_the_depth_and_the_most_that_sigmoids_let_through():
    found = found_chains()
    drawn = chains(found, 7, 0.25, str)
    mark, *lines, most = drawn.data
    assert list(mark.x) == [7, 7]
    assert [line.name for line in lines] == ["Sigmoid", "ReLU"]
    assert np.allclose(lines[0].y, found["sigmoid"].gradient[:, 0])
    assert most.y[10] == pytest.approx(0.25**10)
    low, high = drawn.layout.yaxis.range
    assert low < math.log10(lines[0].y[-1]) < high


def test_a_gradient_of_nothing_leaves_a_gap_on_the_log_scale():
    drawn = chains(found_chains(start=-1.0), 7, 0.25, str)
    relu = named(drawn.data, "ReLU")[0]
    assert relu.y[0] == 1
    assert np.isnan(relu.y[1:]).all()


@pytest.mark.parametrize("start", [-3.0, 0.0, 3.0])
@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_chains_at_every_end_of_their_sliders(start, gain):
    drawn = chains(found_chains(start, gain, NAMES), 0, 0.25 * gain, str)
    assert all(math.isfinite(end) for end in drawn.layout.yaxis.range)


def test_what_is_passed_on_in_words():
    told = passed_on(found_chains(start=-1.0), str)
    assert len(told) == 51
    assert told[0] == "Sigmoid **1**, ReLU **1**"
    assert told[1] == "Sigmoid **0.197**, ReLU **0**"


# ---------------------------------------------------------------- dead


@pytest.fixture(scope="module")
def states():
    target = wave(20)
    generator = torch.Generator().manual_seed(1)
    return list(train_dying_relu(target.x, target.y, generator, 0.5, 0.1, 12))


def test_fits_show_the_goal_and_both_networks(states):
    goal, *outputs = fits(wave(20), states[-1], str).data
    assert np.array_equal(goal.y, wave(20).y)
    assert [trace.name for trace in outputs] == list(NETWORKS)
    for trace, output in zip(outputs, states[-1].output, strict=True):
        assert np.array_equal(trace.y, output)


def test_units_show_how_many_inputs_switch_them_on(states):
    relu, leaky = units(states[-1], str).data
    assert np.array_equal(relu.z, states[-1].active[0])
    assert np.array_equal(leaky.z, states[-1].active[1])
    assert relu.z.shape == (LAYERS, WIDTH)
    assert relu.colorscale[0][1] == NEGATIVE
    assert leaky.colorscale[0][1] != NEGATIVE
    assert (relu.showscale, leaky.showscale) == (True, False)


def test_history_counts_the_dead_and_marks_the_update(states):
    drawn = history(states, 3, str)
    marks, lines = drawn.data[:2], drawn.data[2:]
    assert [list(mark.x) for mark in marks] == [[3, 3], [3, 3]]
    loss, dead = lines[0], lines[1]
    assert (loss.yaxis, dead.yaxis) == (None, "y2")
    assert list(dead.y) == [int(state.dead[0].sum()) for state in states]
    assert np.allclose(loss.y, [state.loss[0] for state in states])
    assert loss.x[0] == 0.5
    assert lines[0].line.color == CHOSEN


def test_history_of_the_start_alone_is_seen(states):
    drawn = history(states[:1], 0, str)
    assert all("markers" in trace.mode for trace in drawn.data[2:])


def test_numbers_of_a_training(states):
    told = training_numbers(states)
    assert all(len(values) == len(states) for values in told.values())
    assert told["step"][:3] == ["0", "1", "2"]
    assert told["dead"][-1] == str(int(states[-1].dead[0].sum()))
    assert float(told["relu"][-1]) == pytest.approx(states[-1].loss[0].item(), rel=0.05)


def test_update_zero_has_a_place_on_the_log_scale():
    assert update_axis([0, 1, 2]) == [0.5, 1, 2]


def test_labels_are_translated(states):
    drawn = units(states[0], translated)
    assert drawn.layout.xaxis.title.text == "<Unit>"
    assert drawn.layout.annotations[0].text.startswith("<ReLU")
    drawn = curves({"relu": curve("relu", -1, 1, 3)}, translated)
    assert drawn.layout.xaxis.title.text == "<Input x>"
