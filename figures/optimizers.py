"""Figures of the Optimizers page. `translate` gives each label in the page's language."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explainers.descents import Basins, NoisyDescents, RateSweep
from explainers.expressions import (
    LARGEST_EXPONENT,
    LONGEST_EXPRESSION,
    ExpressionError,
    Reason,
)
from explainers.optimizers import StepDetails
from explainers.surfaces import Survey, Window
from figures.plain import Figure
from figures.style import CATEGORIES, IGNORED, SEEN_ON_PAGE, figure, vertical
from figures.words import in_a_row, latex, readable, verbatim

BLUE, ORANGE, GREEN, PINK, SKY, RED, _yellow = CATEGORIES
LOOKS = {
    "sgd": (SKY, "solid"),
    "momentum": (BLUE, "solid"),
    "nesterov": (BLUE, "dot"),
    "adagrad": (ORANGE, "solid"),
    "adadelta": (ORANGE, "dot"),
    "rmsprop": (RED, "solid"),
    "adam": (GREEN, "solid"),
    "adamw": (GREEN, "dot"),
    "nadam": (PINK, "solid"),
    "amsgrad": (GREEN, "dash"),
}
"""Colour and dash of each optimizer, the same in every figure; relatives share a colour."""
LEVELS, FINEST = 18, 60_000
CLOUD_WINDOW = ((-2.5, 2.5), (-2.5, 2.5))
SHADES = 8
HIGHEST = 1e6  # of a noisy descent that has not diverged

Translate = Callable[[str], str]


def names(translate: Translate) -> dict[str, str]:
    """What the optimizers are called."""
    return {
        "sgd": "SGD",
        "momentum": translate("Momentum"),
        "nesterov": "Nesterov",
        "adagrad": "AdaGrad",
        "adadelta": "AdaDelta",
        "rmsprop": "RMSProp",
        "adam": "Adam",
        "adamw": "AdamW",
        "nadam": "NAdam",
        "amsgrad": "AMSGrad",
    }


# ---------------------------------------------------------------- the map


def contours(ground: Survey) -> dict[str, Any]:
    """Lines of equal height, closer to each other near the lowest point.

    Between two lines lies about as much of the map's area as between any other two, less near the
    lowest point. Where the surface has no height it counts as highest.
    """
    shown = ground.rank.sqrt()
    x, y = _axes(ground.window, len(shown))
    return {
        "type": "contour",
        "x": x,
        "y": y,
        "z": (shown * FINEST).numpy().astype(np.uint16),
        "contours": {"coloring": "lines", "start": 0, "end": FINEST, "size": FINEST / LEVELS},
        "line": {"width": 1.2, "smoothing": 1},
        "colorscale": SEEN_ON_PAGE,
        "showscale": False,
        "opacity": 0.75,
        "hovertemplate": "%{x:.3g}, %{y:.3g}<extra></extra>",
    }


def _axes(window: Window, side: int) -> list[np.ndarray]:
    return [np.linspace(*ends, side, dtype=np.float32) for ends in window]


def map_of(
    traces: Sequence[dict[str, Any]], window: Window, height: int = 440, title: str = ""
) -> Figure:
    """A map of the plane that shows exactly the window."""
    (left, right), (bottom, top) = window
    words = {"title": {"text": title, "x": 0, "font": {"size": 14}}} if title else {}
    return figure(
        "x",
        "y",
        traces,
        height=height,
        xaxis={"range": [left, right], "showgrid": False, "zeroline": False},
        yaxis={"range": [bottom, top], "showgrid": False, "zeroline": False},
        **words,
    )


def race_map(
    ground: Survey,
    paths: Tensor,
    optimizers: Sequence[str],
    rates: Tensor,
    at: int,
    translate: Translate,
) -> Figure:
    """Where every optimizer goes on the contour map, and where each is at one step.

    The traces: the contours, the minima, a path for each optimizer, and last a dot for each, whose
    `x` and `y` follow a slider.

    Args:
        paths: `[optimizers, steps + 1, 2]`.
        rates: the learning rate of each, told where a dot is pointed at.
        at: the step.
    """
    lines = [_path(name, path) for name, path in zip(optimizers, paths, strict=True)]
    dots = _dots(paths[:, at], optimizers, rates, translate)
    return map_of([contours(ground), _stars(ground, translate), *lines, dots], ground.window)


def _path(name: str, path: Tensor, **more: Any) -> dict[str, Any]:
    colour, dash = LOOKS[name]
    x, y = drawable(path)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"color": colour, "width": 2, "dash": dash},
        "hoverinfo": "skip",
        "showlegend": False,
        **more,
    }


def _dots(
    points: Tensor, optimizers: Sequence[str], rates: Tensor, translate: Translate
) -> dict[str, Any]:
    x, y = drawable(points)
    known = zip(optimizers, rates.tolist(), strict=True)
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "marker": {
            "color": [LOOKS[name][0] for name in optimizers],
            "size": 12,
            "line": {"color": "white", "width": 1.5},
        },
        "customdata": [f"{names(translate)[name]}, η = {readable(rate)}" for name, rate in known],
        "hovertemplate": "%{customdata}<extra></extra>",
        "showlegend": False,
    }


def _stars(ground: Survey, translate: Translate) -> dict[str, Any]:
    """The lowest minima."""
    x, y = drawable(ground.deepest)
    line = {"color": "black", "width": 1}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "marker": {"symbol": "star", "size": 13, "color": "white", "line": line},
        "hovertemplate": translate("minimum") + " %{x:.3g}, %{y:.3g}<extra></extra>",
        "showlegend": False,
    }


def upright(steps: Sequence[int]) -> np.ndarray:
    """The `x` of an upright line at each of some steps `[steps, 2]`."""
    return np.repeat(np.array(steps, dtype=np.float32)[:, None], 2, axis=1)


def drawable(points: Tensor) -> np.ndarray:
    """Points `[..., 2]` as x and y `[2, ...]`; what is gone or far from any map leaves a gap."""
    kept = points.where(points.abs() < 1e6, math.nan)
    return kept.movedim(-1, 0).float().numpy()


def height_curves(
    above: Tensor, optimizers: Sequence[str], at: int, translate: Translate
) -> Figure:
    """Height above the lowest point against the step.

    The traces: a curve for each optimizer, and last a line at one step, whose `x` follows a slider.

    Args:
        above: `[optimizers, steps + 1]`, as `above_lowest` gives it.
        at: the step.
    """
    _ = translate
    steps = np.arange(above.shape[1])
    known = above[above.isfinite()].tolist() or [1.0]
    low, high = min(known), min(max(known), 1e3 * float(above[:, 0].max()))
    traces = [
        _curve(name, steps, row, hover="%{x}: %{y:.2g}", translate=translate)
        for name, row in zip(optimizers, above, strict=True)
    ]
    traces.append(_marker_line([at, at], [low, high]))
    axes = {"xaxis": {"range": [0, steps[-1]]}, "yaxis": _log_axis(low, high)}
    return figure(_("Step"), _("Height above the lowest point"), traces, height=440, **axes)


def above_lowest(heights: Tensor, lowest: float) -> Tensor:
    """Heights above the lowest point known, no less than a billionth of where they begin.

    What is NaN, or too large for a figure, becomes NaN: a gap in a curve.

    >>> above_lowest(torch.tensor([[3.0, 1.0, 1e35]]), lowest=1.0)
    tensor([[2.0000e+00, 2.0000e-09,        nan]])
    """
    above = heights - lowest
    first = above[..., 0]
    span = float(first.where(first.isfinite(), 0.0).max().clamp(min=1e-30))
    return above.clamp(min=span * 1e-9).where(above.abs() < 1e30, math.nan)


def _curve(name: str, x: np.ndarray, y: Tensor, hover: str, translate: Translate) -> dict[str, Any]:
    colour, dash = LOOKS[name]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y.float().numpy(),
        "name": names(translate)[name],
        "line": {"color": colour, "width": 2, "dash": dash},
        "hovertemplate": f"{names(translate)[name]} {hover}<extra></extra>",
    }


def _marker_line(x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "line": {"color": IGNORED, "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _log_axis(low: float, high: float) -> dict[str, Any]:
    bottom, top = math.log10(low), math.log10(max(low, high))
    margin = max(0.1, 0.04 * (top - bottom))
    # Over few decades Plotly finds the ticks: whole powers of ten would be one or none.
    ticks = {"dtick": math.ceil((top - bottom) / 8)} if top - bottom >= 2 else {}
    shown = {"range": [bottom - margin, top + margin], "exponentformat": "power"}
    return {"type": "log", **shown, **ticks}


def race_sentences(
    heights: Tensor, left: Tensor, optimizers: Sequence[str], translate: Translate
) -> list[str]:
    """Who is lowest on the map at each step, alone or level with others, and who has left by then.

    Args:
        heights: `[optimizers, steps + 1]`.
        left: the step at which each has left the map, -1 if it has not `[optimizers]`.
    """
    _ = translate
    if not heights[:, 0].isfinite().any():
        return [_nowhere(_)] * heights.shape[1]
    known = heights.nan_to_num(math.inf, math.inf, math.inf)
    gone = (left[:, None] >= 0) & (left[:, None] <= torch.arange(known.shape[1]))
    ranked = known.where(~gone, math.inf)
    best = ranked.min(dim=0).values
    leads = (ranked == best) & (best < math.inf)
    all_gone = gone.all(dim=0) & (known < math.inf).any(dim=0)

    @cache
    def standing(leading: tuple[bool, ...]) -> str:
        own = names(_)
        leaders = [own[name] for name, leads in zip(optimizers, leading, strict=True) if leads]
        who = _(", ").join(f"**{leader}**" for leader in leaders)
        return _standing(leaders, len(optimizers), _).replace("{who}", who)

    told, departed, when = [], departures(left, optimizers, 0, _), set(left.tolist())
    rows = zip(best.tolist(), leads.T.tolist(), all_gone.tolist(), strict=True)
    for step, (height, leading, nobody_stays) in enumerate(rows):
        if step in when:
            departed = departures(left, optimizers, step, _)
        sentence = standing(tuple(leading)).format(step=step, height=readable(height))
        told.append(in_a_row(departed if nobody_stays else [sentence, *departed], _))
    return told


def _nowhere(translate: Translate) -> str:
    return translate("The surface has no height at the start. Drag it elsewhere.")


def _standing(leaders: Sequence[str], count: int, translate: Translate) -> str:
    """What to say of those that are lowest among so many."""
    _ = translate
    if not leaders:
        return _("At step {step} the surface has no height where they stand.")
    if len(leaders) == 1:
        return _("At step {step} {who} is lowest, at height **{height}**.")
    if len(leaders) == count:
        return _("At step {step} all are level, at height **{height}**.")
    return _("At step {step} {who} are lowest and level, at height **{height}**.")


def departures(
    left: Tensor, optimizers: Sequence[str], step: int, translate: Translate
) -> list[str]:
    """A sentence about those that have left the map for good by a step, if there are any.

    >>> departures(torch.tensor([12, -1, 20]), ["sgd", "adam", "rmsprop"], 20, str)
    ['Left the map: **SGD** at step 12, **RMSProp** at step 20.']
    """
    _ = translate
    gone = [
        _("**{name}** at step {step}").format(name=names(_)[name], step=when)
        for name, when in zip(optimizers, left.tolist(), strict=True)
        if 0 <= when <= step
    ]
    return [_("Left the map: {who}.").format(who=_(", ").join(gone))] if gone else []


# ---------------------------------------------------------------- one optimizer up close


def closeup_map(ground: Survey, details: StepDetails, at: int, translate: Translate) -> Figure:
    """One path with a mark for each step; trace 3, a dot, has `x` and `y` to follow a slider.

    Args:
        at: the step.
    """
    path, optimizer = details.points, details.optimizer
    marks = {"mode": "lines+markers", "marker": {"size": 5, "color": LOOKS[optimizer][0]}}
    rate = torch.tensor([details.lr])
    line = _path(optimizer, path, **marks)
    dot = _dots(path[at][None], [optimizer], rate, translate)
    return map_of([contours(ground), _stars(ground, translate), line, dot], ground.window)


def update_curves(details: StepDetails, at: int, translate: Translate) -> Figure:
    """How far each step goes along x and along y; the last trace marks a step.

    Args:
        at: the step, from 1 on. Trace 2 has attribute `x` to follow a slider.
    """
    _ = translate
    moved = drawable(details.points.diff(dim=0))
    steps = np.arange(1, moved.shape[1] + 1)
    known = moved[np.isfinite(moved)]
    ends = [float(known.min(initial=0)), float(known.max(initial=0))]
    lines = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": steps,
            "y": values,
            "name": name,
            "line": {"color": colour, "width": 2},
            "hovertemplate": f"{name} %{{x}}: %{{y:.3g}}<extra></extra>",
        }
        for name, values, colour in zip("xy", moved, (BLUE, ORANGE), strict=True)
    ]
    here = _marker_line([at, at], ends)
    margin = 0.05 * (ends[1] - ends[0]) or 1.0
    axes = {
        "xaxis": {"range": [1, steps[-1]]},
        "yaxis": {"range": [ends[0] - margin, ends[1] + margin]},
    }
    return figure(_("Step"), _("Change per step"), [*lines, here], height=440, **axes)


def arithmetic(details: StepDetails, step: int) -> str:
    """One step worked out with its numbers, as LaTeX; pairs are along x and along y.

    Args:
        step: from 1 on.
    """
    now = details.at(step)
    rows = [
        ("g_t", r"\nabla f(x_{t-1})", "g"),
        *_moments(details.optimizer, details.hyper, step),
        (r"\Delta_t", _update(details.optimizer, details.hyper), "update"),
    ]
    lines = [rf"{name} &= {rule} = {_pair(now[key])}" for name, rule, key in rows]
    point = rf"x_t &= x_{{t-1}} + \Delta_t = {_pair(now['point'])}"
    head = [rf"t &= {step}, \quad \eta = {latex(details.lr)}"]
    if details.optimizer == "nadam":
        head.append(_momenta(details.hyper, step, float(now["product"][0])))
    return r"\begin{aligned}" + r" \\ ".join([*head, *lines, point]) + r"\end{aligned}"


def _momenta(hyper: Mapping[str, Any], step: int, product: float) -> str:
    """NAdam's momentum at a step and at the next, and the product of all until now."""
    beta1, decay = hyper["betas"][0], hyper["momentum_decay"]
    now, ahead = (latex(beta1 * (1 - 0.5 * 0.96 ** (t * decay))) for t in (step, step + 1))
    until_now = rf"\Pi_t = \mu_1 \cdots \mu_t = {latex(product)}"
    return rf"\mu_t &= {now}, \quad \mu_{{t+1}} = {ahead}, \quad {until_now}"


def _moments(optimizer: str, hyper: Mapping[str, Any], step: int) -> list[tuple[str, str, str]]:
    """Name, rule and quantity of what an optimizer remembers."""
    if optimizer in ("momentum", "nesterov"):
        return [("u_t", rf"{hyper['momentum']:g}\,u_{{t-1}} + g_t", "velocity")]
    if optimizer == "adagrad":
        return [("v_t", r"v_{t-1} + g_t^2", "v")]
    if optimizer == "rmsprop":
        return [("v_t", _mean("v", "g_t^2", hyper["alpha"]), "v")]
    if optimizer == "adadelta":
        ratio = r"\sqrt{u_{t-1} + \epsilon} \,/ \sqrt{v_t + \epsilon} \; g_t"
        return [
            ("v_t", _mean("v", "g_t^2", hyper["rho"]), "v"),
            (r"\delta_t", ratio, "delta"),
            ("u_t", _mean("u", r"\delta_t^2", hyper["rho"]), "u"),
        ]
    if optimizer == "sgd":
        return []
    beta1, beta2 = hyper["betas"]
    mean, square = _mean("m", "g_t", beta1), _mean("v", "g_t^2", beta2)
    largest = r"\textstyle\max_{s \le t} v_s" if optimizer == "amsgrad" else "v_t"
    second = rf"{largest} / (1 - {beta2:g}^{{{step}}}) = {largest} / {latex(1 - beta2**step)}"
    rows = [("m_t", mean, "m"), ("v_t", square, "v")]
    first = rf"m_t / (1 - {beta1:g}^{{{step}}}) = m_t / {latex(1 - beta1**step)}"
    if optimizer == "nadam":
        ahead, now = r"\mu_{t+1}\,m_t / (1 - \Pi_{t+1})", r"(1 - \mu_t)\,g_t / (1 - \Pi_t)"
        first = f"{ahead} + {now}"
    rows.append((r"\hat m_t", first, "m_hat"))
    return [*rows, (r"\hat v_t", second, "v_hat")]


def _update(optimizer: str, hyper: Mapping[str, Any]) -> str:
    if optimizer == "sgd":
        return r"-\eta\,g_t"
    if optimizer == "momentum":
        return r"-\eta\,u_t"
    if optimizer == "nesterov":
        return rf"-\eta\,(g_t + {hyper['momentum']:g}\,u_t)"
    if optimizer == "adadelta":
        return r"-\eta\,\delta_t"
    if optimizer in ("adagrad", "rmsprop"):
        return r"-\eta\,g_t / (\sqrt{v_t} + \epsilon)"
    step = r"-\eta\,\hat m_t / (\sqrt{\hat v_t} + \epsilon)"
    return step + (
        rf" - \eta\,{hyper['weight_decay']:g}\,x_{{t-1}}" if optimizer == "adamw" else ""
    )


def _mean(name: str, value: str, decay: float) -> str:
    return rf"{decay:g}\,{name}_{{t-1}} + {round(1 - decay, 6):g}\,{value}"


def _pair(values: Tensor) -> str:
    x, y = values.tolist()
    return rf"({latex(x)},\; {latex(y)})"


def step_facts(details: StepDetails, step: int) -> dict[str, float]:
    """What questions ask of a step: its number, slope and update along x, and Adam's correction."""
    now = details.at(step)
    told = {
        "t": step,
        "lr": details.lr,
        "slope": float(now["g"][0]),
        "update": float(now["update"][0]),
    }
    if details.optimizer not in ("adam", "adamw", "amsgrad"):  # NAdam corrects otherwise
        return told
    return {**told, "correction": 1 - details.hyper["betas"][0] ** step}


def step_sentences(details: StepDetails, left: Tensor, translate: Translate) -> list[str]:
    """What each step does, the first being step 1, and when the path has left the map.

    Args:
        left: the step at which it has, -1 if it has not `[1]`.
    """
    _ = translate
    if not details.height[0].isfinite():
        return [_nowhere(_)] * (len(details.height) - 1)
    sentence = _(
        "Step {step}: gradient **({gx}, {gy})**, update **({dx}, {dy})**, height **{height}**."
    )
    nowhere = _("Step {step}: the surface has no height where it stands.")
    slopes = details.values[details.names.index("g")]
    rows = torch.cat([slopes, details.points.diff(dim=0), details.height[1:, None]], dim=1)
    told, gone, when = [], departures(left, [details.optimizer], 0, _), left.tolist()
    for step, row in enumerate(rows.tolist(), start=1):
        numbers = dict(zip(("gx", "gy", "dx", "dy", "height"), map(readable, row), strict=True))
        if step in when:
            gone = departures(left, [details.optimizer], step, _)
        chosen = nowhere if any(map(math.isnan, row)) else sentence
        told.append(in_a_row([chosen.format(step=step, **numbers), *gone], _))
    return told


# ---------------------------------------------------------------- where every start ends


def basin_map(
    found: Basins,
    ground: Survey,
    side: int,
    steps: int,
    kind: str,
    title: str,
    translate: Translate,
) -> Figure:
    """Every start on a lattice, coloured by the minimum that it reaches or by the steps it takes.

    A colour is a minimum, pale where the way there is long; there are six, of which the first is
    the lowest minimum's alone. Grey starts reach none, black ones leave the map.

    Args:
        found: of `side * side` starts by rising y and then by rising x.
        steps: the most that there are.
        kind: "minimum" or "steps".
    """
    x, y = _axes(ground.window, side)
    settled = found.settled.reshape(side, side)
    cells = {
        "type": "heatmap",
        "x": x,
        "y": y,
        "customdata": [[at if at >= 0 else "–" for at in row] for row in settled.tolist()],
        "hovertemplate": f"%{{x:.3g}}, %{{y:.3g}}: %{{customdata}} / {steps}<extra></extra>",
    }
    if kind == "steps":
        reached = settled.float().where(settled >= 0, math.nan)
        bar = {"thickness": 10, "outlinewidth": 0}
        cells |= {"z": reached.numpy(), "zmin": 0, "zmax": steps, "colorbar": bar}
        cells |= {"colorscale": SEEN_ON_PAGE, "reversescale": True}
    else:
        palette = _palette(len(ground.minima))
        cells |= {"z": _shades(found, steps).reshape(side, side).numpy(), "showscale": False}
        cells |= {"zmin": -0.5, "zmax": len(palette) - 0.5, "colorscale": _stepped(palette)}
    return map_of([cells, _stars(ground, translate)], ground.window, height=400, title=title)


def _shades(found: Basins, steps: int) -> Tensor:
    """Index into `_palette`: 0 reaches none, 1 leaves, then the shades of each minimum."""
    shade = (found.settled * SHADES // max(1, steps)).clamp(0, SHADES - 1)
    others = 1 + (found.minimum - 1) % (len(MINIMA) - 1)
    index = 2 + others.where(found.minimum > 0, 0) * SHADES + shade
    return index.where(found.minimum >= 0, found.left.long()).to(torch.uint8)


MINIMA = (GREEN, SKY, ORANGE, PINK, BLUE, RED)


def _palette(count: int) -> list[str]:
    reached = [
        _mixed(colour, 0.75 * shade / (SHADES - 1))
        for colour in MINIMA[: max(1, count)]
        for shade in range(SHADES)
    ]
    return ["#c8c8c8", "#202020", *reached]


def _mixed(colour: str, white: float) -> str:
    """A colour mixed with white.

    >>> _mixed("#000000", 0.5)
    '#808080'
    """
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return "#" + "".join(f"{round(part + (255 - part) * white):02x}" for part in parts)


def _stepped(palette: Sequence[str]) -> list[tuple[float, str]]:
    """A colour scale of equal steps."""
    count = len(palette)
    return [
        (place / count, colour)
        for number, colour in enumerate(palette)
        for place in (number, number + 1)
    ]


# ---------------------------------------------------------------- learning rates


def rate_curves(
    sweep: RateSweep, optimizers: Sequence[str], edges: Mapping[str, float], translate: Translate
) -> Figure:
    """Height at the end against the learning rate, and where each of `edges` begins to diverge."""
    _ = translate
    most, least = 1e5, 1e-33
    heights = sweep.height.clamp(min=least).where(sweep.height <= most * 10, math.nan)
    rates = sweep.rates.numpy()
    traces = [
        _curve(name, rates, row, hover=f"{_('rate')} %{{x:.3g}}: %{{y:.2g}}", translate=_)
        for name, row in zip(optimizers, heights, strict=True)
    ]
    lines = [{**vertical(edge, LOOKS[name][0]), "opacity": 0.8} for name, edge in edges.items()]
    # Above the lines, which may be close: the outer ones turn away, the middle one stands higher.
    sides = [("right", 0), ("center", 14), ("left", 0)]
    place = {"yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False, "font": {"size": 11}}
    notes = [
        {"text": names(_)[name], "x": math.log10(edges[name]), "xanchor": side, "yshift": up}
        | place
        for name, (side, up) in zip(sorted(edges, key=edges.__getitem__), sides, strict=False)
    ]
    ends = [math.log10(float(sweep.rates[0])), math.log10(float(sweep.rates[-1]))]
    return figure(
        _("Learning rate"),
        _("Height at the end"),
        traces,
        height=460,
        xaxis={"type": "log", "range": ends, "exponentformat": "power", "dtick": 1},
        yaxis=_log_axis(least, most),
        marks=lines,
        notes=notes,
        legend={"y": 1.13},
    )


def rate_numbers(
    sweep: RateSweep, optimizers: Sequence[str], edges: Mapping[str, float], began: float
) -> dict[str, str]:
    """The edge of SGD, where the sweep meets it, and with which rate each optimizer ends lowest.

    Args:
        began: the height of the start.

    Returns:
        Also `met`: the least rate with which SGD ends higher than it began.
    """
    lowest = dict(zip(optimizers, map(readable, sweep.ends_lowest.tolist()), strict=True))
    higher = sweep.rates[sweep.height[optimizers.index("sgd")] > began]
    met = float(higher[0]) if len(higher) else math.nan
    return {**lowest, "edge": readable(edges["sgd"]), "met": readable(met)}


def edge_formula(curvature: float, momentum: float, edges: Mapping[str, float]) -> str:
    """The three largest stable rates with their numbers, as LaTeX."""
    top, mu = latex(curvature), f"{momentum:g}"
    sgd, heavy, nesterov = (rf"\mathbf{{{latex(edges[n])}}}" for n in edges)
    return (
        r"\begin{aligned}"
        rf"\text{{SGD}}&: & \frac{{2}}{{\lambda_{{\max}}}} &= \frac{{2}}{{{top}}} = {sgd} \\[0.5em]"
        rf"\text{{Momentum}}&: & \frac{{2(1+\mu)}}{{\lambda_{{\max}}}} "
        rf"&= \frac{{2 \cdot (1 + {mu})}}{{{top}}} = {heavy} \\[0.5em]"
        rf"\text{{Nesterov}}&: & \frac{{2(1+\mu)}}{{(1+2\mu)\,\lambda_{{\max}}}} "
        rf"&= \frac{{2 \cdot (1 + {mu})}}{{(1 + 2 \cdot {mu}) \cdot {top}}} = {nesterov}"
        r"\end{aligned}"
    )


# ---------------------------------------------------------------- noise


def noise_curves(
    noisy: NoisyDescents,
    theory: Tensor,
    optimizers: Sequence[str],
    at: int,
    translate: Translate,
) -> Figure:
    """Mean height against the step, and between which heights eight of ten draws lie.

    For each optimizer the low edge, the high edge and the mean, and last what theory says of SGD:
    the `y` of all traces follow a slider through `noise_rows`.

    Args:
        theory: SGD's mean height by level of noise and step.
        at: the level.
    """
    rows = [part[at] for part in noise_rows(noisy, theory)]
    steps = np.arange(rows[0].shape[-1])
    edge = {"type": "scatter", "mode": "lines", "x": steps, "line": {"width": 0}}
    edge |= {"hoverinfo": "skip", "showlegend": False}
    traces = []
    for number, name in enumerate(optimizers):
        low, high, mean = rows[3 * number : 3 * number + 3]
        fill = {"fill": "tonexty", "fillcolor": _clear(LOOKS[name][0])}
        traces += [{**edge, "y": low.numpy()}, {**edge, "y": high.numpy(), **fill}]
        traces.append(_curve(name, steps, mean, hover="%{x}: %{y:.2g}", translate=translate))
    known = torch.cat(rows)
    known = known[known.isfinite()]
    traces.append(_marker_line(steps, rows[-1].numpy()))
    axis = _log_axis(float(known.min()), float(known.max()))
    return figure(
        translate("Step"),
        translate("Mean height"),
        traces,
        height=400,
        xaxis={"range": [0, steps[-1]]},
        yaxis=axis,
        legend={"traceorder": "normal"},  # filled traces would turn it round
    )


def noise_rows(noisy: NoisyDescents, theory: Tensor) -> list[Tensor]:
    """What `noise_curves` shows at every level: `[levels, points]` for each trace."""
    parts = [part.transpose(0, 1) for part in (noisy.low, noisy.high, noisy.mean)]
    rows = [part[number] for number in range(len(parts[0])) for part in parts]
    rows.append(theory)
    return [row.clamp(min=1e-6).where(row < HIGHEST, math.nan).float() for row in rows]


def _clear(colour: str) -> str:
    """A colour that lets most of what lies behind through."""
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return f"rgba({', '.join(map(str, parts))}, 0.16)"


def last_heights(noisy: NoisyDescents, optimizers: Sequence[str]) -> dict[str, Tensor]:
    """The mean height at the last step by level of noise, for each optimizer."""
    return dict(zip(optimizers, noisy.mean[:, :, -1].T, strict=True))


def told(numbers: Tensor, translate: Translate) -> list[str]:
    """Numbers for a sentence; of what `noise_rows` leaves out, that it has diverged.

    >>> told(torch.tensor([0.5, 1234.0, 1e7]), str)
    ['0.5', '1234', 'diverged']
    """
    _ = translate
    gone = _("diverged")
    return [readable(number) if number < HIGHEST else gone for number in numbers.tolist()]


def noise_clouds(
    noisy: NoisyDescents, ground: Survey, optimizers: Sequence[str], at: int
) -> Figure:
    """Where the draws end on the map; trace k + 1 is optimizer k, its `x` and `y` follow a slider.

    Args:
        at: the level of noise.
    """
    clouds = []
    for name, ends in zip(optimizers, noisy.ends[at], strict=True):
        x, y = drawable(ends)
        marker = {"color": LOOKS[name][0], "size": 5, "opacity": 0.75}
        cloud = {"type": "scatter", "mode": "markers", "x": x, "y": y, "marker": marker}
        clouds.append({**cloud, "hoverinfo": "skip", "showlegend": False})
    return map_of([contours(ground), *clouds], CLOUD_WINDOW, height=400)


# ---------------------------------------------------------------- words


def surface_names(translate: Translate) -> dict[str, str]:
    """What the surfaces are called, and two that are no names: the photo's and the visitor's."""
    _ = translate
    people = {name: name.title() for name in ("rosenbrock", "beale", "himmelblau")}
    waves = {"rastrigin": "Rastrigin", "ackley": "Ackley"}
    plain = {"quadratic": _("Bowl"), "ravine": _("Ravine"), "saddle": _("Saddle")}
    own = {"photo": _("Your photo on itself"), "typed": _("Typed by hand")}
    return {**plain, **people, **waves, **own}


def nearest(axes: Sequence[Sequence[float]], point: Sequence[float]) -> list[float]:
    """On each axis the position nearest to a point (x, y).

    >>> nearest([[0.0, 0.5, 1.0], [0.0, 2.0]], [0.6, 1.5])
    [0.5, 2.0]
    """
    return [min(axis, key=lambda v: abs(v - at)) for axis, at in zip(axes, point, strict=True)]


def refusal(error: ExpressionError, translate: Translate) -> str:
    """Why an expression cannot be used, in one sentence."""
    _ = translate
    told = {
        Reason.LENGTH: _("The expression is longer than {longest} characters."),
        Reason.DEPTH: _("The expression is nested too deeply. Split it or shorten it."),
        Reason.SYNTAX: _("This is no expression. Write it like `x**2 + 3*y**2`."),
        Reason.OPERATION: _(
            "{part} cannot be used. Allowed are numbers, x, y, `+ - * / **` and sin, cos, tan, "
            "exp, log, sqrt, abs, tanh of one argument."
        ),
        Reason.NAME: _(
            "{part} is not known. Allowed are x, y, pi, e, sin, cos, tan, exp, log, sqrt, abs, "
            "tanh."
        ),
        Reason.NUMBER: _("A number in it is too large."),
        Reason.EXPONENT: _("{part} cannot be an exponent: a number up to {exponent} can."),
        Reason.CONSTANT: _("The expression needs x or y, or the surface is flat."),
        Reason.NOWHERE: _("This surface has no height anywhere on the map."),
    }
    return told[error.reason].format(
        part=verbatim(error.part[:40]), longest=LONGEST_EXPRESSION, exponent=f"{LARGEST_EXPONENT:g}"
    )
