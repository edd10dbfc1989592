"""Figures of the Softmax temperature page. `translate` gives each label in the page's language."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from explainers.distillation import BiasSweep, DistilState, Telling
from explainers.softmax_temperature import GradientSweep, Softened
from figures.maps import tiles
from figures.plain import Figure
from figures.stage import Boxes, Layer
from figures.style import (
    CATEGORIES,
    CHOSEN,
    IGNORED,
    MAGNITUDE,
    NEGATIVE,
    PICTURE,
    POSITIVE,
    figure,
)

Translate = Callable[[str], str]

STUDENTS = {"taught": CHOSEN, "alone": CATEGORIES[1]}
_LONGEST = 22


def crop_layers(box: Sequence[float], tip: str) -> list[Layer]:
    """The part of the photo that the network sees."""
    return [Boxes("crop", [list(box)], (CHOSEN,), labels=[tip], width=2)]


def probabilities(
    softened: Softened, names: Sequence[str], at: int, translate: Translate
) -> Figure:
    """The likeliest classes and all others together, at one temperature.

    Args:
        names: of all classes.
        at: the temperature's index. Trace 0 has attribute `x` to follow a slider.
    """
    _ = translate
    told = [shortened(names[index]) for index in softened.top.tolist()]
    colours = [CHOSEN] * len(told)
    values = bars(softened)[at]
    if len(values) > len(told):
        told.append(_("all others"))
        colours.append(IGNORED)
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": values.numpy(),
        "y": list(range(len(told))),
        "marker": {"color": colours},
        "texttemplate": "%{x:.1%}",
        "textposition": "outside",
        "cliponaxis": False,
        "customdata": told,
        "hovertemplate": "%{customdata}: %{x:.3%}<extra></extra>",
    }
    ticks = {"tickvals": list(range(len(told))), "ticktext": told, "autorange": "reversed"}
    return figure(
        _("Probability"),
        "",
        [trace],
        height=360,
        xaxis={"range": [0, 1.12], "tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        yaxis={**ticks, "ticks": "", "showgrid": False},
    )


def bars(softened: Softened) -> Tensor:
    """What `probabilities` shows at every temperature: `[t, m]`, or `[t, m + 1]` with the rest."""
    shown = softened.top_probabilities
    if len(softened.top) == softened.probabilities.shape[1]:
        return shown
    return _joined(shown, softened.rest)


def _joined(shown: Tensor, rest: Tensor) -> Tensor:
    joined = shown.new_empty(len(shown), shown.shape[1] + 1)
    joined[:, :-1], joined[:, -1] = shown, rest
    return joined


def entropy_curve(softened: Softened, at: int, translate: Translate) -> Figure:
    """Entropy against temperature, between its two limits.

    Args:
        at: the temperature's index. Trace 1, the point there, has attributes `x` and `y` to follow
            a slider.
    """
    _ = translate
    temperatures = softened.temperatures.numpy()
    most = math.log(softened.probabilities.shape[1])
    curve = {
        "type": "scatter",
        "mode": "lines",
        "x": temperatures,
        "y": softened.entropy.numpy(),
        "line": {"color": CHOSEN, "width": 3},
        "hovertemplate": "T = %{x:.2g}: %{y:.2f}<extra></extra>",
        "showlegend": False,
    }
    here = {
        "type": "scatter",
        "mode": "markers",
        "x": [temperatures[at]],
        "y": [float(softened.entropy[at])],
        "marker": {"color": CHOSEN, "size": 13, "line": {"color": "white", "width": 2}},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    place = {"xref": "paper", "showarrow": False, "font": {"size": 12}}
    cold = _("T → 0: the largest<br>takes all, entropy 0")
    hot = _("T → ∞: all alike, entropy ln {count} = {most:.2f}")
    notes = [
        {
            "text": cold,
            "x": 0.01,
            "y": 0.45 * most,
            "xanchor": "left",
            "yanchor": "bottom",
            **place,
        },
        {
            "text": hot.format(count=softened.probabilities.shape[1], most=most),
            "x": 0.99,
            "y": most,
            "xanchor": "right",
            "yanchor": "bottom",
            **place,
        },
    ]
    line = {"color": IGNORED, "width": 1, "dash": "dash"}
    limit = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": most, "y1": most}
    return figure(
        _("Temperature T"),
        _("Entropy (nats)"),
        [curve, here],
        height=240,
        xaxis=temperature_axis(softened.temperatures),
        yaxis={"range": [-0.06 * most, 1.16 * most]},
        marks=[{**limit, "line": line}],
        notes=notes,
    )


def temperature_axis(temperatures: Tensor) -> dict:
    """A logarithmic axis with ticks that are read at a glance."""
    ticks = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
    ends = [math.log10(float(temperatures[end])) for end in (0, -1)]
    return {"type": "log", "range": ends, "tickvals": ticks, "ticktext": [f"{t:g}" for t in ticks]}


def gradient_curves(sweep: GradientSweep, at: int, translate: Translate) -> Figure:
    """Length of the gradient against temperature, both on log scales.

    Args:
        at: the temperature's index. Trace 4, the points there, has attributes `x` and `y` to follow
            a slider.
    """
    _ = translate
    temperatures = sweep.temperatures.numpy()

    def line(name: str, values: Tensor, colour: str, dash: str = "solid") -> dict:
        return {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": temperatures,
            "y": values.numpy(),
            "line": {"color": colour, "width": 3 if dash == "solid" else 2, "dash": dash},
            "hovertemplate": f"{name}<br>T = %{{x:.2g}}: %{{y:.2e}}<extra></extra>",
        }

    hard = sweep.hard.expand(len(temperatures))
    here = {
        "type": "scatter",
        "mode": "markers",
        "x": gradient_marks(sweep)[0][at].tolist(),
        "y": gradient_marks(sweep)[1][at].tolist(),
        "marker": {
            "color": [NEGATIVE, POSITIVE],
            "size": 13,
            "line": {"color": "white", "width": 2},
        },
        "hoverinfo": "skip",
        "showlegend": False,
    }
    traces = [
        line(_("soft targets"), sweep.soft, NEGATIVE),
        line(_("what it tends to: ∝ 1/T²"), sweep.limit, NEGATIVE, "dot"),
        line(_("soft targets · T²"), sweep.scaled, POSITIVE),
        line(_("label"), hard, IGNORED, "dash"),
        here,
    ]
    shown = np.concatenate([v.numpy() for v in (sweep.soft, sweep.scaled, hard)])
    shown = shown[shown > 1e-9]
    low, high = (math.log10(shown.min()), math.log10(shown.max())) if len(shown) else (-3, 0)
    return figure(
        _("Temperature T"),
        _("Length of the gradient"),
        traces,
        height=400,
        xaxis=temperature_axis(sweep.temperatures),
        yaxis={
            "type": "log",
            "range": [low - 0.2, high + 0.2],
            "dtick": 1,
            "exponentformat": "power",
        },
    )


def gradient_marks(sweep: GradientSweep) -> tuple[Tensor, Tensor]:
    """Places `[t, 2]` of the two points of `gradient_curves`: across and up."""
    x = sweep.temperatures[:, None].expand(-1, 2)
    y = x.new_empty(x.shape)
    y[:, 0], y[:, 1] = sweep.soft, sweep.scaled
    return x, y


def soft_label_matrix(matrix: Tensor, names: Sequence[str], translate: Translate) -> Figure:
    """What the teacher says on average of each class's pictures; trace 0 may follow in `z`.

    Args:
        matrix: `[k, k]`, row: the right class, column: the class that gets the probability.
        names: of the classes.
    """
    _ = translate
    trace = {
        "type": "heatmap",
        "z": matrix.numpy(),
        "x": list(names),
        "y": list(names),
        "zmin": 0,
        "zmax": 1,
        "colorscale": MAGNITUDE,
        "xgap": 1,
        "ygap": 1,
        "texttemplate": "%{z:.0%}",
        "textfont": {"size": 11, "color": "white", "shadow": "0 0 2px black, 0 0 2px black"},
        "colorbar": {"thickness": 10, "tickformat": ".0%", "outlinewidth": 0},
        "hovertemplate": "%{y} → %{x}: %{z:.1%}<extra></extra>",
    }
    return figure(
        _("Probability that the teacher gives to"),
        _("Right class"),
        [trace],
        height=480,
        xaxis={"showgrid": False, "ticks": "", "tickangle": -40},
        yaxis={"showgrid": False, "ticks": "", "autorange": "reversed"},
    )


def telling_tiles(images: Tensor, telling: Telling, names: Sequence[str]) -> Figure:
    """Pictures whose second choice says most, three in a row, with both choices above each.

    Args:
        images: `[n, 1, h, w]` uint8.
        names: of the classes.
    """
    shares = telling.probabilities.gather(1, telling.first[:, None])[:, 0]
    titles = [
        f"{names[first]} {p:.0%}<br>{names[second]} {q:.0%}"
        for first, second, p, q in zip(
            telling.first.tolist(),
            telling.second.tolist(),
            shares.tolist(),
            telling.share.tolist(),
            strict=True,
        )
    ]
    return tiles(images[telling.images, 0] / 255, titles, colours=PICTURE, smooth=False)


def accuracy_curves(states: Sequence[DistilState], length: int, translate: Translate) -> Figure:
    """Test accuracy of both students against the step: mean over the seeds and their range."""
    _ = translate
    pairs = [(s.taught.accuracy, s.alone.accuracy) for s in states]
    return _both(
        states, pairs, length, _("Test accuracy"), {"tickformat": ".0%", "range": [0, 1]}, _
    )


def loss_curves(states: Sequence[DistilState], length: int, translate: Translate) -> Figure:
    """Cross-entropy of both students with the test labels against the step."""
    _ = translate
    pairs = [(s.taught.test_loss, s.alone.test_loss) for s in states]
    return _both(states, pairs, length, _("Cross-entropy on test pictures"), {}, _)


def _both(
    states: Sequence[DistilState],
    pairs: Sequence[tuple[Tensor, Tensor]],
    length: int,
    y: str,
    yaxis: dict,
    translate: Translate,
) -> Figure:
    _ = translate
    names = {"taught": _("with the teacher"), "alone": _("labels alone")}
    steps = [state.step for state in states]
    traces = []
    for side, (who, name) in enumerate(names.items()):
        values = np.stack([pair[side].numpy() for pair in pairs])
        traces += _range(steps, values, STUDENTS[who], name)
    return figure(
        _("Step"),
        y,
        traces,
        height=300,
        xaxis={"range": [0, length]},
        yaxis={"rangemode": "tozero", **yaxis},
    )


def _range(x: Sequence[float], values: np.ndarray, colour: str, name: str) -> list[dict]:
    """The mean of `values` [x, seeds] as a line, over the band from the least to the largest."""
    band = {
        "type": "scatter",
        "mode": "lines",
        "x": [*x, *reversed(x)],
        "y": [*values.max(axis=1), *values.min(axis=1)[::-1]],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.2,
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    line = {
        "type": "scatter",
        "mode": "lines+markers" if len(x) == 1 else "lines",
        "x": list(x),
        "y": values.mean(axis=1),
        "name": name,
        "line": {"color": colour, "width": 3},
        "hovertemplate": f"{name}: %{{y:.3f}}<extra></extra>",
    }
    return [band, line]


def bias_curves(state: DistilState, translate: Translate) -> Figure:
    """Accuracy on the class that was left out against what is added to its logit."""
    _ = translate
    names = {"taught": _("with the teacher"), "alone": _("labels alone")}
    traces = []
    for who, name in names.items():
        bias = getattr(state, who).bias
        values = bias.left_out_accuracy.T.numpy()
        traces += _range(bias.biases.tolist(), values, STUDENTS[who], name)
    return figure(
        _("Added to the logit of the class left out"),
        _("Its pictures classed right"),
        traces,
        height=280,
        yaxis={"range": [0, 1.02], "tickformat": ".0%"},
    )


def left_out_sentence(state: DistilState, name: str, translate: Translate) -> str:
    """How well the class that was left out is known once its logit is raised."""
    _ = translate
    best = [100 * float(_balanced(student.bias)) for student in (state.taught, state.alone)]
    told = _(
        "“{name}” was never seen. With its logit raised to where all classes together do best, "
        "the taught student gets **{taught:.0f}%** of its pictures right, the other "
        "**{alone:.0f}%**."
    )
    return told.format(name=name, taught=best[0], alone=best[1])


def _balanced(bias: BiasSweep) -> Tensor:
    """Accuracy on the class where the accuracy on all classes is best, mean over the seeds."""
    best = bias.accuracy.argmax(dim=-1, keepdim=True)
    return bias.left_out_accuracy.gather(-1, best).mean()


def shortened(name: str) -> str:
    """A name that fits beside a bar on a phone.

    >>> shortened("mug"), shortened("a class with a name that is too long")
    ('mug', 'a class with a name t…')
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
