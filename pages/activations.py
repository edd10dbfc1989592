"""Activations: what they make of a number, a signal, a picture, a gradient, and of whole units."""

import torch

from explainers import activations as explain
from figures import activations as figures
from figures.words import readable
from ui import chooser
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page

BETAS = [*positions(0.0, 2.0, 0.1), *positions(2.5, 10.0, 0.5), *positions(12.0, 50.0, 2.0)]
RATES = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]
DEPTHS = range(51)
UPDATES = 1000

page = Page("activations")
photo = chooser.current()


def tuned(step, names):
    """The parameters of the activations that have one, each by a slider."""
    sliders = {
        "leaky_relu": ("negative_slope", _("Leaky ReLU: slope"), positions(0.0, 1.0, 0.01)),
        "prelu": ("weight", _("PReLU: weight"), positions(-0.5, 1.5, 0.05)),
        "elu": ("alpha", "ELU: α", positions(0.0, 3.0, 0.05)),
        "swish": ("beta", "Swish: β", BETAS),
        "softplus": ("beta", "Softplus: β", BETAS[5:]),
    }
    found = {name: {} for name in names}
    for name in names:
        if name in sliders:
            parameter, label, values = sliders[name]
            default = explain.ACTIVATIONS[name].parameters[parameter]
            chosen = step.live_slider(label, values, default, key=f"{name}_{parameter}")
            found[name][parameter] = chosen
    return found


@page.step
def curves(step):
    classics = ["sigmoid", "tanh", "softplus"]
    smooth = ["relu", "swish", "gelu", "mish", "hard_swish"]
    step.presets(
        {
            _("Saturating"): {"curves": classics},
            _("Smooth ReLUs"): {"curves": smooth},
            _("Swish to ReLU"): {"curves": ["relu", "swish"], "swish_beta": 10.0},
            _("All"): {"curves": list(figures.NAMES)},
        }
    )
    default = ["sigmoid", "tanh", "relu", "swish"]
    shown = step.several(_("Activations"), figures.NAMES, default, key="curves")
    parameters = tuned(step, shown)
    step.reset()
    found = {name: step.run(explain.curve, name, -5, 5, 401, **parameters[name]) for name in shown}
    told = {name: step.run(explain.profile, name, **parameters[name]) for name in shown}
    step.figure(figures.curves(found, _), key="curves_figure")
    steepest = max(profile.steepest for profile in told.values())
    step.says(names=figures.steepest(told, _), slope=readable(steepest))
    step.table(figures.profile_table(told, parameters, _), place=step.canvas)
    step.fact(steepest_shown=steepest)
    values = {name: curve.value for name, curve in found.items()}
    slopes = {f"{name}_slope": curve.slope for name, curve in found.items()}
    step.data(x=found[shown[0]].x, **values, **slopes)


@page.step
def signal(step):
    unit = {"mean": 0.0, "spread": 1.0}
    presets = {_("Standard normal"): unit, _("Pushed to the left"): {"mean": -2.0, "spread": 1.0}}
    step.presets({**presets, _("Far too wide"): {"mean": 0.0, "spread": 4.0}})
    name = step.choice(_("Activation"), figures.NAMES, "relu", key="signal", wide=True)
    mean = step.live_slider(_("Mean of the input"), positions(-4.0, 4.0, 0.1), 0.0, key="mean")
    spreads = positions(0.1, 4.0, 0.1)
    spread = step.live_slider(_("Standard deviation"), spreads, 1.0, key="spread")
    step.reset()
    given = [torch.tensor(number, dtype=torch.float64) for number in (mean, spread)]
    low, high = figures.window(explain.ACTIVATIONS[name].range())
    seen = {"low": figures.IN_LOW, "high": figures.IN_HIGH, "bins": figures.IN_BINS}
    into = step.run(explain.normal_shares, *given, **seen)
    out = step.run(explain.signal_statistics, name, *given, low=low, high=high, bins=70)
    curve = step.run(explain.curve_of_bins, name, **seen)
    numbers = step.run(explain.signal_numbers, out)
    step.figure(figures.signal(curve, into, out, low, high, _), key="signal_figure")
    moments = {n: readable(getattr(numbers, n)) for n in ("output_mean", "output_variance")}
    step.says(name=figures.NAMES[name], **vars(numbers) | moments)
    every = step.run(explain.all_signals, *given)
    step.figure(figures.moments(every, mean, spread, _), key="moments")
    step.fact(**vars(numbers))
    columns = {"mean": every.mean, "variance": every.variance}
    step.data(**columns, zero=every.zero, saturated=every.saturated)


@page.step
def picture(step):
    kinds = {"edges": _("Edges"), "network": _("MobileNetV2's first layer")}
    if step.choice(_("Convolution"), kinds, "edges", key="convolution") == "edges":
        directions = {"vertical": _("Vertical edges"), "horizontal": _("Horizontal edges")}
        direction = step.choice(_("Kernel"), directions, "vertical", key="kernel")
        gains = positions(0.5, 20.0, 0.5)
        gain = step.live_slider(_("Strength of the kernel"), gains, 4.0, key="strength")
        before = step.run(explain.edge_response, step.image(photo), direction, gain)
    else:
        channel = step.live_slider(_("Filter"), range(32), 29, key="filter")
        network = step.network("mobilenet_v2")
        before = step.run(explain.first_layer_response, network, step.image(photo), channel)
    default = ["relu", "tanh", "gelu"]
    shown = step.several(_("Activations"), figures.NAMES, default, key="pictures")
    step.reset()
    limit = figures.shared_limit(before)
    afters = {name: step.run(explain.activate, name, before) for name in shown}
    zeros = {name: step.run(explain.percent_zero, after) for name, after in afters.items()}
    titles = {"before": _("Before"), **{name: figures.NAMES[name] for name in shown}}
    told = {name: _("{share} exactly 0").format(share=f"{zeros[name]:.0f}%") for name in shown}
    for first in range(0, len(titles), 2):
        row = list(titles.items())[first : first + 2]
        for side, (name, title) in zip(step.sides(2), row, strict=False):
            side.markdown(f"**{title}** {told.get(name, '')}")
            layers = figures.response_layers(before, afters.get(name), limit, _)
            step.stage(photo, layers, key=f"stage_{name}", place=side)
    step.says(limit=readable(limit))
    step.fact(picture_zero=max(zeros.values()))
    step.data(before=before, **afters)


@page.step
def vanishing(step):
    default = ["sigmoid", "tanh", "relu", "gelu"]
    shown = step.several(_("Activations"), figures.NAMES, default, key="chains")
    played = {"live": False, "play": True}
    depth = step.live_slider(_("Units in the chain"), DEPTHS, 10, key="depth", **played)
    starts, gains = positions(-3.0, 3.0, 0.1), positions(0.1, 3.0, 0.1)
    start = step.live_slider(_("Signal at the start"), starts, 1.0, key="start")
    gain = step.live_slider(_("Weight of every unit"), gains, 1.0, key="weight")
    step.reset()
    begin = torch.tensor([start], dtype=torch.float64)  # in float32 50 slopes may come to 0
    found = {
        name: step.run(explain.gradient_chain, name, DEPTHS[-1], begin, gain) for name in shown
    }
    topic = step.topic("depth")
    limit = explain.ACTIVATIONS["sigmoid"].steepest() * gain
    moves = [Sweep(topic, 0, "x", torch.tensor(DEPTHS)[:, None].expand(-1, 2).float())]
    step.figure(figures.chains(found, depth, limit, _), key="chains_figure", sweeps=moves)
    told = {"depth": [str(n) for n in DEPTHS], "through": figures.passed_on(found, _)}
    step.says(**{name: Follow([topic], values) for name, values in told.items()})
    passing = [chain.gradient[depth, 0] >= 0.01 for chain in found.values()]
    step.fact(passing=sum(map(bool, passing)))
    step.data(depth=DEPTHS, **{name: chain.gradient[:, 0] for name, chain in found.items()})


@page.step
def dead(step):
    step.presets({_("A good rate"): {"rate": 0.01}, _("Far too high"): {"rate": 0.5}})
    rate = step.live_slider(_("Learning rate"), RATES, 0.5, key="rate")
    slopes = positions(0.01, 0.5, 0.01)
    slope = step.live_slider(_("Slope of leaky ReLU"), slopes, 0.1, key="leak")
    seed = step.number(_("Seed"), 1, 0, 999, key="seed")
    target = step.run(explain.wave)
    states = step.train(
        explain.train_dying_relu,
        *(target.x, target.y, torch.Generator().manual_seed(seed), rate, slope, UPDATES),
        key="training",
        length=UPDATES,
        label=_("Train both"),
    )
    schedule = explain.observed_steps(UPDATES)
    played = {"live": False, "play": True}
    update = step.live_slider(_("Update"), schedule, UPDATES, key="update", **played)
    step.reset()
    at = min(schedule.index(update), len(states) - 1)
    topic = step.topic("update")
    left, right = step.sides(2)
    outputs = torch.stack([state.output for state in states])
    active = torch.stack([state.active for state in states])
    fits = [Sweep(topic, k + 1, "y", outputs[:, k]) for k in range(2)]
    step.figure(figures.fits(target, states[at], _), key="fits", sweeps=fits, place=left)
    units = [Sweep(topic, k, "z", active[:, k]) for k in range(2)]
    step.figure(figures.units(states[at], _), key="units", sweeps=units, place=right)
    steps = torch.tensor(figures.update_axis([state.step for state in states]))
    marks = [Sweep(topic, k, "x", steps[:, None].expand(-1, 2)) for k in range(2)]
    step.figure(figures.history(states, at, _), key="history", sweeps=marks)
    padded = [*states, *states[-1:] * (len(schedule) - len(states))]
    told = figures.training_numbers(padded)
    step.says(**{name: Follow([topic], values) for name, values in told.items()})
    step.fact(dead_units=states[at].dead[0].sum())
    step.data(
        step=[state.step for state in states],
        loss=torch.stack([state.loss for state in states]),
        dead=torch.stack([state.dead for state in states]),
    )


page.close()
