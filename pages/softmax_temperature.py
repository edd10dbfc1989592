"""Softmax temperature: from a hard decision to soft targets, and what a student learns."""

import torch

from explainers import softmax_temperature as explain
from explainers.models.imagenet import CLASSES, crop_box
from explainers.models.mobilenet_v2 import classify
from figures import softmax_temperature as figures
from ui import chooser
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page

TEMPERATURES = sorted({float(f"{t:.2g}") for t in positions(0.05, 50.0, 20, "log")})
TICKS = {t: f"{t:g}" for t in (0.05, 1.0, 50.0)}
OWN = [4.0, 2.5, 2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5, -2.0]

page = Page("softmax_temperature")
photo = chooser.current()


def temperature_slider(step, default, key):
    """A temperature that moves in the browser: all of them have been computed."""
    options = {"key": key, "ticks": TICKS, "live": False, "play": True}
    return step.live_slider(_("Temperature T"), TEMPERATURES, default, **options)


def temperatures():
    return torch.tensor(TEMPERATURES)


def logits_of(step, source):
    """The network's logits for the photo, or those that the visitor has set, and their names."""
    if source == "own":
        return torch.tensor(page.value("logits")), [
            _("class {n}").format(n=n + 1) for n in range(10)
        ]
    found = step.once(photo, classify, step.network("mobilenet_v2"), step.image(photo))
    return found, CLASSES


@page.step(feeds=["gradient"])
def soften(step):
    cold, plain, soft = {"T": 0.05}, {"T": 1.0}, {"T": 4.0}
    step.presets({_("Hard decision"): cold, _("As trained"): plain, _("Soft targets"): soft})
    kinds = {"photo": _("My photo"), "own": _("Set by hand")}
    source = step.choice(_("Logits"), kinds, "photo", key="source")
    if source == "own":
        names = [str(n + 1) for n in range(10)]
        step.live_bars(_("Logits"), names, OWN, key="logits", low=-5.0, high=5.0, step=0.1)
    at = TEMPERATURES.index(temperature_slider(step, 1.0, "T"))
    step.reset()
    logits, names = logits_of(step, source)
    found = step.run(explain.soften, logits, temperatures(), 10)
    topic = step.topic("T")
    chart = figures.probabilities(found, names, at, _)
    sweep = [Sweep(topic, 0, "x", figures.bars(found))]
    if source == "photo":
        left, right = step.sides(2)
        crop = crop_box(photo.height, photo.width)
        step.stage(
            photo, figures.crop_layers(crop, _("This is what the network sees.")), place=left
        )
        step.figure(chart, key="probabilities", sweeps=sweep, place=right)
    else:
        step.figure(chart, key="probabilities", sweeps=sweep)
    told = {
        "T": [f"{t:g}" for t in TEMPERATURES],
        "share": [f"{p:.1%}" for p in found.largest.tolist()],
        "entropy": [f"{e:.2f}" for e in found.entropy.tolist()],
        "noticeable": found.noticeable.tolist(),
        "gap": [f"{g:.3g}" for g in found.gap.tolist()],
    }
    step.says(top=names[found.top[0]], **{name: Follow([topic], v) for name, v in told.items()})
    curve = figures.entropy_curve(found, at, _)
    moves = [Sweep(topic, 1, "x", found.temperatures[:, None])]
    moves += [Sweep(topic, 1, "y", found.entropy[:, None])]
    step.figure(curve, key="entropy", sweeps=moves)
    here = step.run(explain.at_temperature, found, at)
    step.fact(**vars(here), percent=100 * here.largest)
    step.data(
        class_index=found.top,
        **{f"p_at_{T:g}": found.top_probabilities[i] for i, T in enumerate(TEMPERATURES)},
    )


@page.step()
def gradient(step):
    at = TEMPERATURES.index(temperature_slider(step, 4.0, "Tg"))
    step.reset()
    teacher, _names = logits_of(step, page.value("source"))
    sweep = step.run(explain.first_gradients, teacher, temperatures())
    topic = step.topic("Tg")
    x, y = figures.gradient_marks(sweep)
    moves = [Sweep(topic, 4, "x", x), Sweep(topic, 4, "y", y)]
    step.figure(figures.gradient_curves(sweep, at, _), key="gradients", sweeps=moves)
    lengths = {"soft": sweep.soft, "scaled": sweep.scaled}
    told = {name: [f"{v:.3g}" for v in values.tolist()] for name, values in lengths.items()}
    told["T"] = [f"{t:g}" for t in TEMPERATURES]
    moving = {name: Follow([topic], values) for name, values in told.items()}
    step.says(hard=f"{float(sweep.hard):.3g}", **moving)
    step.fact(ratio=sweep.soft[at] / sweep.soft[TEMPERATURES.index(1.0)])
    step.data(T=TEMPERATURES, soft=sweep.soft, limit=sweep.limit, scaled=sweep.scaled)


page.close()
