"""Initialization: how large first weights make or break a deep network."""

import math

import torch

from explainers import initialization as explain
from explainers.initialization import SCHEMES
from explainers.painting import train_schemes
from figures import initialization as figures
from ui import chooser
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page

ACTIVATIONS = {
    "relu": "ReLU",
    "leaky_relu": "Leaky ReLU",
    "gelu": "GELU",
    "swish": "Swish",
    "selu": "SELU",
    "tanh": "tanh",
    "sigmoid": "Sigmoid",
}
WIDTHS = [16, 32, 64, 128, 256]
FEATURES = 64
SENT = 4096  # activations of a layer: enough for the histograms
SWEPT = 768  # of them at each gain: the weights' own chance is larger
GAINS = positions(0.05, 5.0, 20, "log")
DEPTHS = [1, 5, 10, 20]
TRAINED = [2, 4, 6, 8, 12, 16, 24]
RATES = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
STEPS = 300
ALL = list(SCHEMES)
CONSTANT = ALL.index("constant")

page = Page("initialization")
photo = chooser.current()


def seeded(offset=0):
    """The visitor's seed, which starts every computation anew."""
    return torch.Generator().manual_seed(page.value("seed") + offset)


def fact(step, **numbers):
    """Numbers that questions may ask for: those of an exploded network are infinite."""
    step.fact(**{name: n for name, n in numbers.items() if math.isfinite(n)})


def inputs(step, width, activations=SENT):
    return step.run(explain.random_inputs, activations // width, FEATURES, seeded(1000))


@page.step
def layer_by_layer(step):
    relu, tanh = {"activation": "relu"}, {"activation": "tanh"}
    fades = {_("Fades"): {"scheme": "xavier_normal", **relu}}
    stays = {_("Stays"): {"scheme": "kaiming_normal", **relu}}
    explodes = {_("Explodes"): {"scheme": "normal", **relu}}
    step.presets({**fades, **stays, **explodes, _("Saturates"): {"scheme": "normal", **tanh}})
    names = figures.scheme_names(_)
    scheme = step.choice(_("Scheme"), names, "xavier_normal", key="scheme", wide=True)
    modes = {"fan_in": "fan_in", "fan_out": "fan_out"}
    mode = step.choice(_("Kaiming mode"), modes, "fan_in", key="mode")
    activation = step.choice(_("Activation"), ACTIVATIONS, "relu", key="activation", wide=True)
    depth = step.live_slider(_("Number of layers"), positions(1, 100), 50, key="depth")
    width = step.live_slider(_("Units in each layer"), WIDTHS, 128, key="width")
    step.number(_("Seed"), 0, 0, 999, key="seed")
    step.reset()
    options = {"width": width, "mode": mode}
    x = inputs(step, width)
    sent = step.run(explain.propagate, x, depth, scheme, activation, seeded(), **options)
    left, right = step.sides(2)
    step.figure(figures.activation_ridges(sent, _), key="activations", place=left)
    step.figure(figures.gradient_ridges(sent, _), key="gradients", place=right)
    found = step.run(explain.ends, sent)
    last, first = figures.told(found.last_activation), figures.told(found.first_gradient)
    shares = {"zero": found.zero_share, "saturated": found.saturated}
    step.says(depth=depth, last=last, first=first, **shares)
    fact(step, **vars(found), saturated_percent=100 * found.saturated)
    spreads = {"activation_std": sent.activation_std, "gradient_std": sent.gradient_std}
    step.data(layer=range(1, depth + 1), **spreads, saturated=sent.saturated)


def network():
    """What the steps below share with the first one."""
    shared = {name: page.value(name) for name in ("width", "mode")}
    return page.value("depth"), page.value("activation"), shared


@page.step
def all_at_once(step):
    depth, activation, shared = network()
    arguments = inputs(step, shared["width"]), depth, activation, seeded()
    spread = step.run(explain.compare_schemes, *arguments, **shared)
    forward = step.run(explain.fates, spread.activation_std)
    backward = step.run(explain.fates, spread.gradient_std, backward=True)
    ways = forward, figures.by_layer(backward, depth)
    step.table(figures.fate_table(*ways, ALL, _))
    step.figure(figures.spread_curves(spread, ALL, _), key="curves")
    kept = step.run(explain.count_kept, forward, backward)
    lost = figures.fate_sentences(*ways, ALL, _)
    step.says(kept=kept, all=len(ALL), depth=depth, activation=ACTIVATIONS[activation], lost=lost)
    step.fact(kept=kept)
    activations = dict(zip(ALL, spread.activation_std, strict=True))
    gradients = {f"gradient_{k}": v for k, v in zip(ALL, spread.gradient_std, strict=True)}
    step.data(layer=range(1, depth + 1), **activations, **gradients)


@page.step
def gain(step):
    depth, activation, shared = network()
    layers, played = range(1, depth + 1), {"live": False, "play": True}
    factor = step.live_slider(_("Gain (weights ×)"), GAINS, 1.0, key="gain", **played)
    layer = step.live_slider(_("Layer"), layers, min(2, depth), key="layer", **played)
    step.reset()
    x, gains = inputs(step, shared["width"], SWEPT), torch.tensor(GAINS)
    scheme, at = page.value("scheme"), GAINS.index(factor)
    arguments = x, depth, scheme, activation, seeded(), gains
    sweep = step.run(explain.sweep_gains, *arguments, **shared)
    topics = step.topic("gain"), step.topic("layer")
    left, right = step.sides(2)
    moves = [Sweep(topics[0], i, "y", rows) for i, rows in enumerate(figures.gain_rows(sweep))]
    moves.append(Sweep(topics[1], 2, "x", torch.tensor(layers)[:, None].expand(-1, 2).float()))
    step.figure(figures.gain_layers(sweep, at, layer, _), key="layers", sweeps=moves, place=left)
    here = [Sweep(topics[0], 2, "x", gains[:, None].expand(-1, 2))]
    step.figure(figures.gain_ends(sweep, GAINS, at, _), key="ends", sweeps=here, place=right)
    law = step.run(explain.variance_law, step.run(explain.single, sweep, at), layer)
    step.formula(figures.law_formula(law))
    numbers = figures.law_numbers(sweep, step.run(explain.predicted_variance, sweep))
    told = {name: Follow(topics, values) for name, values in numbers.items()}
    told["gain"] = Follow(topics[:1], [f"{value:g}" for value in GAINS])
    step.says(layer=Follow(topics[1:], layers), **told)
    fact(step, **vars(law))
    ends = {"activation": sweep.activation_std[:, -1], "gradient": sweep.gradient_std[:, 0]}
    step.data(gain=GAINS, **ends)


@page.step
def on_photo(step):
    kinds = {"alike": _("One for all"), "own": _("Each its own")}
    alike = step.choice(_("Colour scale"), kinds, "alike", key="scale") == "alike"
    step.reset()
    arguments = step.image(photo), ALL, DEPTHS, seeded(), page.value("activation")
    options = {"channels": 16, "side": 64, "mode": page.value("mode")}
    found = step.once(photo, explain.photo_maps, *arguments, **options)
    names = list(figures.scheme_names(_).values())
    left, right = step.sides(2)
    for key, place, rows in (("first", left, range(5)), ("second", right, range(5, 9))):
        shown, bar = [names[row] for row in rows], alike and place is right
        chart = figures.photo_tiles(found, rows, shown, DEPTHS, alike, _, bar)
        step.figure(chart, key=key, place=place)
    sizes = map(figures.told, found.std[:, -1].tolist())
    step.says(depth=DEPTHS[-1], **dict(zip(ALL, sizes, strict=True)))
    step.data(depth=DEPTHS, **dict(zip(ALL, found.std, strict=True)))


@page.step
def training(step):
    depth = step.live_slider(_("Number of layers"), TRAINED, 12, key="layers", live=False)
    rate = step.live_slider(_("Learning rate"), RATES, 0.02, key="lr", live=False)
    names = figures.scheme_names(_)
    looked = step.choice(_("Weights of"), names, "kaiming_normal", key="looked", wide=True)
    step.reset()
    arguments = step.image(photo), ALL, seeded(), page.value("activation")
    options = {"depth": depth, "lr": rate, "steps": STEPS, "mode": page.value("mode")}
    run = {"key": "train", "length": STEPS, "label": _("Train all nine")}
    last = step.train(train_schemes, *arguments, **run, **options)[-1]
    step.figure(figures.painted_tiles(last, ALL, _), key="painted")
    step.figure(figures.loss_curves(last, ALL, STEPS, _), key="loss")
    shown = list(dict.fromkeys(["zeros", "constant", looked]))
    step.figure(figures.weight_tiles(last, ALL, shown, _), key="weights")
    best = int(last.losses[:, -1].argmin())
    loss, different = last.losses[best, -1].item(), int(last.distinct_units[CONSTANT])
    step.says(
        step=last.step,
        best=names[ALL[best]],
        loss=figures.told(loss),
        exploded=int(last.exploded.sum()),
        different=different,
        units=last.first_weights.shape[1],
    )
    step.fact(different=different)
    step.data(step=last.steps, **dict(zip(ALL, last.losses, strict=True)))


page.close()
