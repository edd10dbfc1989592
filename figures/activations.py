"""Figures of the Activations page. `translate` gives each label in the page's language."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explainers.activations import (
    LAYERS,
    SATURATED,
    WIDTH,
    Chain,
    Curve,
    DyingState,
    Interval,
    Profile,
    Signal,
    Wave,
)
from figures.plain import Figure
from figures.stage import HeatMap, Layer
from figures.style import CATEGORIES, CHOSEN, IGNORED, MAGNITUDE, NEGATIVE, TEMPLATE, figure
from figures.words import readable

Translate = Callable[[str], str]

NAMES = {
    "sigmoid": "Sigmoid",
    "tanh": "tanh",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "Leaky ReLU",
    "prelu": "PReLU",
    "elu": "ELU",
    "selu": "SELU",
    "swish": "Swish",
    "hard_swish": "h-swish",
    "mish": "Mish",
    "gelu": "GELU",
    "gelu_tanh": "GELU (tanh)",
    "softplus": "Softplus",
}
FORMULAS = {
    "sigmoid": r"\frac{1}{1 + e^{-x}}",
    "tanh": r"\tanh x",
    "relu": r"\max(0, x)",
    "relu6": r"\min(\max(0, x), 6)",
    "leaky_relu": r"x > 0:\; x,\quad x \le 0:\; {negative_slope}x",
    "prelu": r"x > 0:\; x,\quad x \le 0:\; {weight}x",
    "elu": r"x > 0:\; x,\quad x \le 0:\; {alpha}(e^x - 1)",
    "selu": r"1.0507 \cdot \text{ELU}_{1.6733}(x)",
    "swish": r"x\,\sigma({beta}x)",
    "hard_swish": r"x \cdot \text{ReLU6}(x + 3) / 6",
    "mish": r"x \tanh(\ln(1 + e^x))",
    "gelu": r"x\,\Phi(x)",
    "gelu_tanh": r"\tfrac{x}{2}(1 + \tanh(\sqrt{2/\pi}\,(x + 0.0447 x^3)))",
    "softplus": r"{1/beta}\ln(1 + e^{{beta}x})",
}
"""As LaTeX; a place `{p}` is for the factor p, `{1/p}` for the factor 1/p."""
BLUE, ORANGE, GREEN, PINK, SKY, RED, _YELLOW = CATEGORIES
# Relatives share a colour; the second of them is dashed.
_LOOKS = {
    "sigmoid": (RED, "solid"),
    "tanh": (RED, "dash"),
    "relu": (BLUE, "solid"),
    "relu6": (BLUE, "dash"),
    "leaky_relu": (ORANGE, "solid"),
    "prelu": (ORANGE, "dash"),
    "elu": (PINK, "solid"),
    "selu": (PINK, "dash"),
    "swish": (SKY, "solid"),
    "hard_swish": (SKY, "dash"),
    "gelu": (GREEN, "solid"),
    "gelu_tanh": (GREEN, "dash"),
    "mish": (IGNORED, "solid"),
    "softplus": (IGNORED, "dash"),
}
NETWORKS = {"ReLU": BLUE, "Leaky ReLU": ORANGE}
_QUIET = {"showlegend": False, "hoverinfo": "skip"}
_ROUND = {"simplify": False}  # Plotly leaves out points until a curve looks like a polygon


def _line(name: str, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    colour, dash = _LOOKS[name]
    line = {"color": colour, "dash": dash, "width": 2.5, **_ROUND}
    return {
        "type": "scatter",
        "mode": "lines",
        "name": NAMES[name],
        "legendgroup": name,
        "x": x,
        "y": y,
        "line": line,
        **more,
    }


def _panels(traces: Sequence[dict[str, Any]], height: int, **layout: Any) -> Figure:
    """A figure of several panels, whose axes `layout` names."""
    return Figure(traces, {"template": TEMPLATE, "height": height, **layout})


# ---------------------------------------------------------------- curves


def curves(found: Mapping[str, Curve], translate: Translate) -> Figure:
    """Activations above their slopes; pointing at an input reads all of them.

    >>> from explainers.activations import curve
    >>> len(curves({"relu": curve("relu", -5, 5, 11)}, str).data)
    2
    """
    _ = translate
    reads = "%{y:.3g}, f′ = %{customdata:.3g}"
    turned = "f = %{customdata:.3g}, f′ = %{y:.3g}"
    above = [
        _line(name, c.x.numpy(), c.value.numpy(), customdata=c.slope.numpy(), hovertemplate=reads)
        for name, c in found.items()
    ]
    below = [
        _line(
            name,
            c.x.numpy(),
            c.slope.numpy(),
            customdata=c.value.numpy(),
            hovertemplate=turned,
            yaxis="y2",
            showlegend=False,
        )
        for name, c in found.items()
    ]
    heights = np.concatenate([c.value.numpy() for c in found.values()])
    slopes = np.concatenate([c.slope.numpy() for c in found.values()])
    spike = {"showspikes": True, "spikemode": "across", "spikethickness": 1, "spikedash": "dot"}
    return _panels(
        [*above, *below],
        560,
        hovermode="x unified",
        xaxis={
            "title": {"text": _("Input x")},
            "range": [-5, 5],
            "anchor": "y2",
            "hoverformat": ".2f",
            **spike,
        },
        yaxis={
            "title": {"text": _("Output f(x)")},
            "domain": [0.42, 1],
            "range": [min(-2.6, heights.min() - 0.2), max(5, heights.max())],
        },
        yaxis2={
            "title": {"text": _("Slope f′(x)")},
            "domain": [0, 0.36],
            "range": [min(-0.35, slopes.min() - 0.1), max(1.65, slopes.max() + 0.1)],
        },
    )


def profile_table(
    profiles: Mapping[str, Profile], parameters: Mapping[str, Mapping[str, float]], _: Translate
) -> dict[str, list[str]]:
    """Formula, range, steepest slope and cost of the activations that are shown."""
    return {
        _("Activation"): [NAMES[name] for name in profiles],
        _("Formula"): [f"${formula(name, parameters[name])}$" for name in profiles],
        _("Range"): [p.range.replace("-", "−") for p in profiles.values()],
        _("Steepest slope"): [readable(p.steepest) for p in profiles.values()],
        _("Cost"): [p.cost for p in profiles.values()],
    }


def formula(name: str, parameters: Mapping[str, float]) -> str:
    r"""The formula of an activation with its parameters' numbers, as LaTeX.

    >>> formula("swish", {"beta": 2.0}), formula("swish", {"beta": 1.0})
    ('x\\,\\sigma(2\\,x)', 'x\\,\\sigma(x)')
    """
    text = FORMULAS[name]
    for parameter, value in parameters.items():
        factor = "" if value == 1 else rf"{value:.3g}\,"
        inverse = "" if value == 1 else rf"\tfrac{{1}}{{{value:.3g}}}\,"
        text = text.replace(f"{{1/{parameter}}}", inverse).replace(f"{{{parameter}}}", factor)
    return text


def steepest(profiles: Mapping[str, Profile], translate: Translate) -> str:
    """The names of the steepest activations.

    >>> from explainers.activations import profile
    >>> steepest({name: profile(name) for name in ("sigmoid", "tanh", "relu")}, str)
    'tanh, ReLU'
    """
    most = max(profile.steepest for profile in profiles.values())
    return translate(", ").join(
        NAMES[name] for name, profile in profiles.items() if profile.steepest == most
    )


# ---------------------------------------------------------------- a signal

IN_LOW, IN_HIGH, IN_BINS = -8.0, 8.0, 160


def window(reach: Interval) -> tuple[float, float]:
    """The outputs that are shown: all that a bounded activation gives, else a part.

    >>> window(Interval(-1, 1))
    (-1.16, 1.16)
    """
    low, high = max(reach.low, -3.0), min(reach.high, 5.0)
    room = 0.08 * (high - low)
    return low - room, high + room


def signal(
    curve: Curve, into: Tensor, out: Signal, low: float, high: float, _: Translate
) -> Figure:
    """The input's histogram below the curve, the output's to the right of it.

    Args:
        curve: at the centres of the input's bins.
        into: share of the inputs in each of these bins.
        out: of the outputs, its bins from `low` to `high`.
    """
    x, share = curve.x.numpy(), out.share.numpy()
    flat = np.abs(curve.slope.numpy()) < SATURATED
    centres = low + (np.arange(len(share)) + 0.5) * (high - low) / len(share)
    in_use = {"type": "scatter", "mode": "lines", "line": {"color": CHOSEN, "width": 3, **_ROUND}}
    thick = {"color": NEGATIVE, "width": 5, **_ROUND}
    saturated = {**in_use, "line": thick, "name": _("saturated")}
    value = curve.value.numpy()
    traces = [
        {
            **in_use,
            "x": x,
            "y": value,
            "hovertemplate": "f(%{x:.2f}) = %{y:.3g}<extra></extra>",
            "showlegend": False,
        },
        {
            **saturated,
            "x": np.where(flat, x, np.nan),
            "y": np.where(flat, value, np.nan),
            "hoverinfo": "skip",
        },
        {
            "type": "bar",
            "x": x,
            "y": into.numpy(),
            "xaxis": "x",
            "yaxis": "y2",
            "marker": {"color": np.where(flat, NEGATIVE, CHOSEN), "line": {"width": 0}},
            "hovertemplate": "x = %{x:.2f}: %{y:.1%}<extra></extra>",
            "showlegend": False,
        },
        {
            "type": "bar",
            "orientation": "h",
            "x": share,
            "y": centres,
            "xaxis": "x2",
            "yaxis": "y",
            "marker": {"color": CHOSEN, "line": {"width": 0}},
            "hovertemplate": "f = %{y:.2f}: %{x:.1%}<extra></extra>",
            "showlegend": False,
        },
    ]
    most = _cap(share)
    zero = int((0 - low) / (high - low) * len(share))
    told = {i: f"{share[i]:.0%}" for i in np.flatnonzero(share > most)}
    if zero in told and out.zero > 0:
        told[zero] = _("{share} exactly 0").format(share=f"{float(out.zero):.0%}")
    at_end = {"xref": "x2", "x": most, "xanchor": "right", "yref": "y", "showarrow": False}
    spikes = [
        {
            **at_end,
            "y": centres[i],
            "yanchor": "top" if i < len(share) / 2 else "bottom",
            "yshift": -3 if i < len(share) / 2 else 3,
            "text": text,
            "font": {"size": 12},
        }
        for i, text in told.items()
    ]
    hidden = {"showticklabels": False, "ticks": "", "showgrid": False}
    return _panels(
        traces,
        520,
        bargap=0,
        annotations=spikes,
        xaxis={
            "title": {"text": _("Input x")},
            "range": [IN_LOW, IN_HIGH],
            "domain": [0, 0.78],
            "anchor": "y2",
        },
        yaxis={"title": {"text": _("Output f(x)")}, "range": [low, high], "domain": [0.3, 1]},
        xaxis2={"range": [0, most], "domain": [0.8, 1], "anchor": "y", **hidden},
        yaxis2={"range": [0, 1.05 * float(into.max())], "domain": [0, 0.26], **hidden},
    )


def _cap(share: np.ndarray) -> float:
    """Where the histogram's axis ends: a bar that stands out is cut and told in words."""
    first, second = np.sort(share)[[-1, -2]]
    return float(min(1.1 * first, 2 * second) if second > 0 else 1.1 * first) or 1.0


def moments(signals: Signal, mean: float, spread: float, _: Translate) -> Figure:
    """Mean and spread of the output for every activation, coloured by how much is saturated."""
    names = list(NAMES.values())
    centre, deviation = signals.mean.numpy(), signals.variance.sqrt().numpy()
    band = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "line": {"width": 0}}
    band |= {"x0": mean - spread, "x1": mean + spread, "fillcolor": "rgba(128, 128, 128, 0.15)"}
    shares = np.stack([signals.zero.numpy(), signals.saturated.numpy()], axis=1)
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": centre,
        "y": names,
        "error_x": {
            "type": "data",
            "array": deviation,
            "thickness": 3,
            "width": 0,
            "color": IGNORED,
        },
        "marker": {
            "size": 12,
            "line": {"color": IGNORED, "width": 1.5},
            "color": shares[:, 1],
            "cmin": 0,
            "cmax": 1,
            "colorscale": MAGNITUDE,
            "showscale": True,
            "colorbar": {
                "title": {"text": _("saturated"), "side": "right"},
                "tickformat": ".0%",
                "thickness": 12,
            },
        },
        "customdata": np.column_stack([deviation**2, shares]),
        "hovertemplate": "%{y}: "
        + _("mean {mean}, variance {variance}, {zero} exactly 0, {saturated} saturated").format(
            mean="%{x:.3g}",
            variance="%{customdata[0]:.3g}",
            zero="%{customdata[1]:.1%}",
            saturated="%{customdata[2]:.1%}",
        )
        + "<extra></extra>",
    }
    return figure(
        _("Output: mean ± deviation (band: input)"),
        "",
        [dots],
        height=440,
        yaxis={"autorange": "reversed", "showgrid": False, "ticks": ""},
        marks=[band],
    )


# ---------------------------------------------------------------- a picture


def shared_limit(before: Tensor) -> float:
    """The end of the colours for a response and all that activations make of it.

    All but one in a hundred of its values lie within.

    >>> shared_limit(torch.tensor([[0.0, -2.0]]))
    2.0
    """
    return float(np.quantile(np.abs(before.numpy()), 0.99, method="higher")) or 1.0


def response_layers(
    before: Tensor, after: Tensor | None, limit: float, _: Translate
) -> list[Layer]:
    """A response, or what an activation makes of it; pointing at it tells both."""
    colours = {"low": -limit, "high": limit, "colours": "diverging"}
    shown = HeatMap("before", before, label=_("Before"), opacity=1.0, **colours)
    if after is None:
        return [shown]
    hidden = HeatMap("before", before, label=_("Before"), opacity=0.0, **colours)
    return [hidden, HeatMap("after", after, label=_("After"), opacity=1.0, **colours)]


# ---------------------------------------------------------------- vanishing


def chains(found: Mapping[str, Chain], at: int, limit: float, _: Translate) -> Figure:
    """Size of the gradient against depth, on a log scale.

    Args:
        at: the depth that is marked. Trace 0, the mark, has attribute `x` to follow a slider.
        limit: what one sigmoid lets through at most.
    """
    depth = np.arange(next(iter(found.values())).gradient.shape[0])
    sizes = {name: _positive(chain.gradient[:, 0].numpy()) for name, chain in found.items()}
    bound = _positive(limit**depth)
    lowest = min(1e-3, *(np.nanmin(size) for size in (*sizes.values(), bound)))
    highest = max(10.0, *(np.nanmax(size) for size in sizes.values()))
    ends = [np.log10(lowest) - 0.5, np.log10(highest) + 0.5]
    mark = {
        "type": "scatter",
        "mode": "lines",
        "x": [at, at],
        "y": [10 ** ends[0], 10 ** ends[1]],
        "line": {"color": IGNORED, "width": 1.5, "dash": "dot"},
        **_QUIET,
    }
    most = {
        "type": "scatter",
        "mode": "lines",
        "name": _("sigmoids at most"),
        "x": depth,
        "y": bound,
        "line": {"color": RED, "width": 1, "dash": "dot"},
        "hovertemplate": "%{y:.3g}",
    }
    lines = [_line(name, depth, size, hovertemplate="%{y:.3g}") for name, size in sizes.items()]
    return figure(
        _("Units in the chain"),
        _("Gradient that gets through"),
        [mark, *lines, most],
        height=420,
        xaxis={"range": [0, len(depth) - 1]},
        yaxis={"type": "log", "range": ends, "exponentformat": "power", "nticks": 9},
        hovermode="x unified",
    )


def _positive(sizes: np.ndarray) -> np.ndarray:
    return np.where(sizes > 0, sizes, np.nan)


def passed_on(found: Mapping[str, Chain], translate: Translate) -> list[str]:
    """What gets through at each depth, in words."""
    return [
        translate(", ").join(
            f"{NAMES[name]} **{readable(float(chain.gradient[depth, 0]))}**"
            for name, chain in found.items()
        )
        for depth in range(next(iter(found.values())).gradient.shape[0])
    ]


# ---------------------------------------------------------------- dead

_DEAD = [[0, RED], [1e-6, "#440154"], [0.25, "#3b528b"], [0.5, "#21918c"], [0.75, "#5ec962"]]
_UNIT_COLOURS = {
    "ReLU": [*_DEAD, [1, "#fde725"]],
    "Leaky ReLU": [[0, IGNORED], *_DEAD[1:], [1, "#fde725"]],
}


def fits(target: Wave, state: DyingState, _: Translate) -> Figure:
    """What both networks make of their inputs. Traces 1 and 2 have `y` to follow a slider."""
    x = target.x.numpy()
    goal = {
        "type": "scatter",
        "mode": "lines",
        "name": _("to be learned"),
        "x": x,
        "y": target.y.numpy(),
        "line": {"color": IGNORED, "width": 5},
        "opacity": 0.5,
        "hoverinfo": "skip",
    }
    outputs = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": x,
            "y": output.numpy(),
            "line": {"color": colour, "width": 2.5},
            "hovertemplate": "%{y:.3g}<extra>" + name + "</extra>",
        }
        for (name, colour), output in zip(NETWORKS.items(), state.output, strict=True)
    ]
    axes = {"xaxis": {"range": [x[0], x[-1]]}, "yaxis": {"range": [-1.9, 1.9]}}
    return figure(_("Input"), _("Output"), [goal, *outputs], height=330, **axes)


def units(state: DyingState, _: Translate) -> Figure:
    """How many inputs switch each hidden unit on. Both traces have `z` to follow a slider."""
    traces = [
        {
            "type": "heatmap",
            "name": name,
            "z": active.numpy(),
            "x": list(range(1, WIDTH + 1)),
            "y": list(range(1, LAYERS + 1)),
            "yaxis": axis,
            "zmin": 0,
            "zmax": 1,
            "colorscale": _UNIT_COLOURS[name],
            "xgap": 2,
            "ygap": 2,
            "showscale": axis == "y",  # one for both
            "colorbar": {"thickness": 8, "tickformat": ".0%", "nticks": 3, "outlinewidth": 0},
            "hovertemplate": _("layer {layer}, unit {unit}: on for {share} of the inputs").format(
                layer="%{y}", unit="%{x}", share="%{z:.0%}"
            )
            + f"<extra>{name}</extra>",
        }
        for name, active, axis in zip(NETWORKS, state.active, ("y", "y2"), strict=True)
    ]
    layers = {"dtick": 1, "showgrid": False, "zeroline": False, "autorange": "reversed"}
    heading = {"x": 0, "xref": "paper", "yref": "paper", "showarrow": False, "yanchor": "bottom"}
    return _panels(
        traces,
        330,
        xaxis={"title": {"text": _("Unit")}, "anchor": "y2", "dtick": 5, "showgrid": False},
        yaxis={"title": {"text": _("Layer")}, "domain": [0.57, 1], **layers},
        yaxis2={"title": {"text": _("Layer")}, "domain": [0, 0.43], **layers},
        annotations=[
            {**heading, "y": 1, "text": _("ReLU – orange: dead")},
            {**heading, "y": 0.43, "text": _("Leaky ReLU – grey: never on, but leaks")},
        ],
    )


def history(states: Sequence[DyingState], at: int, _: Translate) -> Figure:
    """Loss and dead units as the training goes on.

    Args:
        at: index of the state that is marked. Traces 0 and 1, the marks, have `x` to follow a
            slider.
    """
    steps = update_axis([state.step for state in states])
    loss = torch.stack([state.loss for state in states]).clamp(min=1e-6)
    dead = torch.stack([state.dead.sum(dim=1) for state in states])
    quiet = {"type": "scatter", "mode": "lines", "x": [steps[at]] * 2, **_QUIET}
    dotted = {"line": {"color": IGNORED, "width": 1.5, "dash": "dot"}}
    traces = [
        {**quiet, **dotted, "y": [1e-7, 1e7]},
        {**quiet, **dotted, "y": [0, LAYERS * WIDTH], "yaxis": "y2"},
    ]
    for k, (name, colour) in enumerate(NETWORKS.items()):
        shared = {"type": "scatter", "x": steps, "line": {"color": colour, "width": 2.5}}
        shared |= {"name": name, "mode": "lines+markers" if len(states) == 1 else "lines"}
        traces.append({**shared, "y": loss[:, k].numpy(), "hovertemplate": "%{y:.3g}"})
        below = {"yaxis": "y2", "showlegend": False, "hovertemplate": "%{y}"}
        traces.append({**shared, **below, "y": dead[:, k].numpy()})
    worst = max(1.0, float(loss.max()))
    least = min(1e-3, float(loss.min()))
    ticks = {"tickvals": [0.5, 1, 10, 100, 1000], "ticktext": ["0", "1", "10", "100", "1000"]}
    return _panels(
        traces,
        400,
        xaxis={
            "title": {"text": _("Updates")},
            "type": "log",
            "range": [np.log10(0.45), 3.1],
            "anchor": "y2",
            **ticks,
        },
        yaxis={
            "title": {"text": _("Loss")},
            "type": "log",
            "range": [np.log10(least) - 0.2, np.log10(worst) + 0.2],
            "domain": [0.55, 1],
            "exponentformat": "power",
            "dtick": 1 if worst / least < 1e5 else 2,
        },
        yaxis2={
            "title": {"text": _("Dead units")},
            "range": [-1, LAYERS * WIDTH + 1],
            "domain": [0, 0.45],
        },
    )


def training_numbers(states: Sequence[DyingState]) -> dict[str, list[str]]:
    """What a sentence tells of every state."""
    losses = [state.loss.tolist() for state in states]
    return {
        "step": [str(state.step) for state in states],
        "dead": [str(int(state.dead[0].sum())) for state in states],
        "relu": [readable(relu, digits=2) for relu, _leaky in losses],
        "leaky": [readable(leaky, digits=2) for _relu, leaky in losses],
    }


def update_axis(steps: Sequence[int]) -> list[float]:
    """Updates on a log scale, where the start, update 0, stands at 0.5.

    >>> update_axis([0, 1, 10])
    [0.5, 1, 10]
    """
    return [step or 0.5 for step in steps]
