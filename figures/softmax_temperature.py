"""Figures of the Softmax temperature page. `translate` gives each label in the page's language."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from explainers.softmax_temperature import GradientSweep, Softened
from figures.stage import Boxes, Layer
from figures.style import CATEGORIES, CHOSEN, IGNORED, MAGNITUDE, NEGATIVE, POSITIVE, figure

Translate = Callable[[str], str]

STUDENTS = {"taught": CHOSEN, "alone": CATEGORIES[1]}
_LONGEST = 22


def crop_layers(box: Sequence[float], tip: str) -> list[Layer]:
    """The part of the photo that the network sees."""
    return [Boxes("crop", [list(box)], (CHOSEN,), labels=[tip], width=2)]


def probabilities(
    softened: Softened, names: Sequence[str], at: int, translate: Translate
) -> go.Figure:
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


def entropy_curve(softened: Softened, at: int, translate: Translate) -> go.Figure:
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
    cold = _("T → 0: the largest takes all, entropy 0")
    hot = _("T → ∞: all alike, entropy ln {count} = {most:.2f}")
    notes = [
        {
            "text": cold,
            "x": 0.01,
            "y": 0.22 * most,
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


def gradient_curves(sweep: GradientSweep, at: int, translate: Translate) -> go.Figure:
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


def soft_label_matrix(matrix: Tensor, names: Sequence[str], translate: Translate) -> go.Figure:
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
        "textfont": {"size": 11},
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


def shortened(name: str) -> str:
    """A name that fits beside a bar on a phone.

    >>> shortened("mug"), shortened("a class with a name that is too long")
    ('mug', 'a class with a name t…')
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
