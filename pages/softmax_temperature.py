"""Softmax temperature: from a hard decision to soft targets, and what a student learns."""

import torch

from explainers import distillation
from explainers import softmax_temperature as explain
from explainers.fashion_mnist import CLASSES as FASHION
from explainers.fashion_mnist import fashion_mnist
from explainers.models.fashion_teacher import teacher_logits
from explainers.models.imagenet import CLASSES, crop_box
from explainers.models.mobilenet_v2 import classify
from figures import softmax_temperature as figures
from figures.words import readable
from ui import chooser
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page

TEMPERATURES = sorted({float(f"{t:.2g}") for t in positions(0.05, 50.0, 20, "log")})
TICKS = {t: f"{t:g}" for t in (0.05, 1.0, 50.0)}
TAUGHT = [1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0]
SHARES = positions(0.0, 1.0, 0.05)
LABELLED = [50, 100, 200, 500, 1000, 2000, 5000, 12_000]
WIDTHS = [4, 8, 16, 32, 64, 128]
STEPS = 400
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


@page.step
def soften(step):
    cold, plain, soft = {"T": 0.05}, {"T": 1.0}, {"T": 4.0}
    step.presets({_("Hard decision"): cold, _("As trained"): plain, _("Soft targets"): soft})
    kinds = {"photo": _("Your photo"), "own": _("Set by hand")}
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
        "gap": [readable(g) for g in found.gap.tolist()],
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


@page.step
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
    told = {name: [readable(v) for v in values.tolist()] for name, values in lengths.items()}
    told["T"] = [f"{t:g}" for t in TEMPERATURES]
    moving = {name: Follow([topic], values) for name, values in told.items()}
    step.says(hard=readable(float(sweep.hard)), **moving)
    step.fact(ratio=sweep.soft[at] / sweep.soft[TEMPERATURES.index(1.0)])
    step.data(T=TEMPERATURES, soft=sweep.soft, limit=sweep.limit, scaled=sweep.scaled)


@page.step
def dark_knowledge(step):
    at = TEMPERATURES.index(temperature_slider(step, 4.0, "Td"))
    step.reset()
    data, teacher = step.shared(fashion_mnist), step.shared(teacher_logits)
    names, topic = [_(name) for name in FASHION], step.topic("Td")
    sweep = step.run(
        distillation.sweep_mean_soft_labels, teacher.test, data.test_labels, temperatures()
    )
    confused = step.run(distillation.confusions, sweep)
    chart = figures.soft_label_matrix(sweep[at], names, _)
    step.figure(chart, key="matrix", sweeps=[Sweep(topic, 0, "z", sweep)])
    told = {
        "T": [f"{t:g}" for t in TEMPERATURES],
        "wrong": [f"{w:.1%}" for w in confused.wrong.tolist()],
        "row": [names[row] for row in confused.row.tolist()],
        "column": [names[column] for column in confused.column.tolist()],
        "share": [f"{s:.1%}" for s in confused.share.tolist()],
    }
    step.says(**{name: Follow([topic], values) for name, values in told.items()})
    telling = step.run(
        distillation.telling_images, teacher.test, data.test_labels, TEMPERATURES[at], 6
    )
    step.figure(figures.telling_tiles(data.test_images, telling, names), key="telling")
    step.fact(wrong=100 * confused.wrong[at])
    step.data(**dict(zip(FASHION, sweep[at].T, strict=True)))


@page.step
def distil(step):
    step.presets(
        {
            _("Few labels"): {"labelled": 500, "left_out": "none"},
            _("All labels"): {"labelled": 12_000, "left_out": "none"},
            _("A class left out"): {"labelled": 12_000, "left_out": "7"},
        }
    )
    options = {"live": False}
    temperature = step.live_slider(_("Temperature T"), TAUGHT, 4.0, key="Ts", **options)
    alpha = step.live_slider(_("Share of the soft targets α"), SHARES, 0.9, key="alpha", **options)
    labelled = step.live_slider(_("Labelled pictures"), LABELLED, 500, key="labelled", **options)
    width = step.live_slider(_("Hidden units of a student"), WIDTHS, 32, key="width", **options)
    names = {"none": _("none"), **{str(c): _(name) for c, name in enumerate(FASHION)}}
    left_out = step.choice(_("Class left out"), names, "none", key="left_out", wide=True)
    step.reset()
    data, teacher = step.shared(fashion_mnist), step.shared(teacher_logits)
    states = step.train(
        distillation.distil,
        data,
        teacher.train,
        torch.Generator().manual_seed(0),
        key="distil",
        length=STEPS,
        label=_("Train both"),
        width=width,
        temperature=temperature,
        alpha=alpha,
        labelled=labelled,
        left_out=None if left_out == "none" else int(left_out),
        steps=STEPS,
    )
    last = states[-1]
    taught, alone = (float(100 * s.accuracy.mean()) for s in (last.taught, last.alone))
    left, right = step.sides(2)
    step.figure(figures.accuracy_curves(states, STEPS, _), key="accuracy", place=left)
    step.figure(figures.loss_curves(states, STEPS, _), key="loss", place=right)
    told = _("After {step} steps: **{taught:.1f}%** with the teacher, **{alone:.1f}%** without.")
    told = told.format(step=last.step, taught=taught, alone=alone)
    if left_out != "none":
        step.figure(figures.bias_curves(last, _), key="bias")
        told += " " + figures.left_out_sentence(last, names[left_out], _)
    step.says(told=told)
    step.fact(taught=taught, alone=alone)
    step.data(
        step=[s.step for s in states],
        taught=[float(s.taught.accuracy.mean()) for s in states],
        alone=[float(s.alone.accuracy.mean()) for s in states],
    )


page.close()
