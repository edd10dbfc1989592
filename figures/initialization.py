"""Figures of the Initialization page. `translate` gives each label in the page's language."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from explainers.initialization import (
    DEAD,
    EXPLODED,
    HISTOGRAM_LIMIT,
    Fate,
    PhotoMaps,
    Propagation,
    Spread,
    VarianceLaw,
)
from explainers.painting import TrainingState
from figures.plain import Figure
from figures.style import (
    CATEGORIES,
    CHOSEN,
    IGNORED,
    MAGNITUDE,
    NEGATIVE,
    POSITIVE,
    SIGNED,
    TEMPLATE,
    figure,
    horizontal,
)
from figures.words import in_a_row, latex, readable

Translate = Callable[[str], str]

LOOKS = {
    "zeros": (IGNORED, "solid"),
    "constant": (IGNORED, "dash"),
    "normal": (CATEGORIES[5], "solid"),
    "uniform_fan_in": (CATEGORIES[3], "dash"),
    "xavier_uniform": (CATEGORIES[1], "dash"),
    "xavier_normal": (CATEGORIES[1], "solid"),
    "kaiming_uniform": (CATEGORIES[0], "dash"),
    "kaiming_normal": (CATEGORIES[0], "solid"),
    "orthogonal": (CATEGORIES[2], "solid"),
}
"""Colour and line of each scheme; uniform ones are dashed."""

LOWEST, HIGHEST = 1e-9, 1e9
"""What lies beyond is drawn at the edge."""

RIDGES = 16


def scheme_names(translate: Translate) -> dict[str, str]:
    """How the schemes are called.

    >>> scheme_names(str)["xavier_normal"]
    'Xavier normal'
    """
    _ = translate
    return {
        "zeros": _("Zeros"),
        "constant": _("Constant 0.01"),
        "normal": _("Normal N(0, 1)"),
        "uniform_fan_in": _("Uniform ±1/√fan_in"),
        "xavier_uniform": _("Xavier uniform"),
        "xavier_normal": _("Xavier normal"),
        "kaiming_uniform": _("Kaiming uniform"),
        "kaiming_normal": _("Kaiming normal"),
        "orthogonal": _("Orthogonal"),
    }


def told(number: float) -> str:
    """A size over many orders of magnitude, in two or three digits.

    >>> told(0.0123), told(123456.0)
    ('0.012', '1.2·10⁵')
    """
    return readable(number, digits=2)


# ---------------------------------------------------------------- layer by layer


def activation_ridges(sent: Propagation, translate: Translate) -> Figure:
    """Histograms of what layers hand on, the first layer at the top."""
    _ = translate
    return _ridges(sent.activation_histogram, sent.activation_std, _("Activation value"), _)


def gradient_ridges(sent: Propagation, translate: Translate) -> Figure:
    """Histograms of the gradient at the same layers; it comes in at the bottom."""
    _ = translate
    return _ridges(sent.gradient_histogram, sent.gradient_std, _("Gradient"), _)


def shown_layers(depth: int) -> np.ndarray:
    """Indices of the layers that have a ridge: all of few, evenly spaced ones of many.

    >>> shown_layers(3).tolist(), shown_layers(100)[[0, 1, -1]].tolist()
    ([0, 1, 2], [0, 7, 99])
    """
    return np.linspace(0, depth - 1, min(depth, RIDGES)).round().astype(int)


def _ridges(histogram: Tensor, std: Tensor, label: str, translate: Translate) -> Figure:
    """One outline for each layer, as high as its fullest bin; grey if dead, orange if exploded."""
    _ = translate
    layers = shown_layers(len(std))
    counts, sizes = histogram.numpy()[layers], std.numpy()[layers]
    edge = HISTOGRAM_LIMIT * (1 - 1 / counts.shape[1])
    x = np.linspace(-edge, edge, counts.shape[1])
    traces, notes = [], []
    for row, (layer, bins, size) in enumerate(zip(layers, counts, sizes, strict=True)):
        height = 1.9 * bins / max(1, bins.max())
        colour = NEGATIVE if size > EXPLODED else IGNORED if size < DEAD else CHOSEN
        trace = {
            "type": "scatter",
            "mode": "lines",
            "x": np.concatenate([[x[0]], x, [x[-1]]]),
            "y": np.concatenate([[-row], height - row, [-row]]),
            "fill": "toself",
            "fillcolor": _pale(colour),
            "line": {"color": colour, "width": 1.5},
            "name": f"{_('Layer')} {layer + 1}: σ = {told(size)}",
            "hoverinfo": "name",
            "hoveron": "fills",
            "showlegend": False,
        }
        traces.append(trace)
        note = {"x": 1, "xref": "paper", "y": -row, "text": told(size), "font": {"size": 11}}
        notes.append({**note, "xanchor": "left", "yanchor": "middle", "showarrow": False})
    notes.append({**notes[0], "y": 1, "yref": "paper", "text": "σ", "yanchor": "bottom"})
    ticks = {"tickvals": list(range(0, -len(layers), -1)), "ticktext": (layers + 1).tolist()}
    limit = HISTOGRAM_LIMIT
    return figure(
        label,
        _("Layer"),
        traces,
        height=480,
        xaxis={
            "range": [-limit, limit],
            "tickvals": [-limit, -1, 0, 1, limit],
            "ticktext": [f"≤ −{limit:g}", "−1", "0", "1", f"≥ {limit:g}"],
        },
        yaxis={**ticks, "range": [0.6 - len(layers), 2.1], "showgrid": False, "zeroline": False},
        notes=notes,
        margin={"r": 52},
    )


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.28)"


# ---------------------------------------------------------------- all at once


def spread_curves(spread: Spread, schemes: Sequence[str], translate: Translate) -> Figure:
    """Spread against layer on a log scale, activations above, gradients below."""
    _ = translate
    names = scheme_names(_)
    layers = np.arange(1, spread.activation_std.shape[1] + 1)
    traces = []
    for row, scheme in enumerate(schemes):
        colour, dash = LOOKS[scheme]
        for axis, std in (("y", spread.activation_std[row]), ("y2", spread.gradient_std[row])):
            traces.append({
                "type": "scatter",
                "mode": "lines+markers" if len(layers) == 1 else "lines",
                "name": names[scheme],
                "legendgroup": scheme,
                "showlegend": axis == "y",
                "yaxis": axis,
                "x": layers,
                "y": drawable(std),
                "customdata": [told(size) for size in std.tolist()],
                "line": {"color": colour, "width": 2.5, "dash": dash},
                "hovertemplate": f"{names[scheme]}, %{{x}}: %{{customdata}}<extra></extra>",
            })  # fmt: skip
    marks = [
        {**horizontal(edge, IGNORED), "yref": axis}
        for axis in ("y", "y2")
        for edge in (DEAD, EXPLODED)
    ]
    lower = {**_SIZES, "domain": [0, 0.47], "anchor": "x", "title": {"text": _("Gradients, σ")}}
    return figure(
        _("Layer"),
        _("Activations, σ"),
        traces,
        height=560,
        xaxis={"anchor": "y2", **_layer_axis(len(layers))},
        yaxis={**_SIZES, "domain": [0.53, 1]},
        marks=marks,
        yaxis2=lower,
    )


def _layer_axis(depth: int) -> dict[str, Any]:
    """From the first layer to the last, with room around a single one."""
    whole = {"dtick": 1} if depth < 10 else {}
    return {"range": [1, depth] if depth > 1 else [0.5, 1.5], **whole}


_SIZES: dict[str, Any] = {
    "type": "log",
    "range": [np.log10(LOWEST) - 0.4, np.log10(HIGHEST) + 0.4],
    "tickvals": [LOWEST, DEAD, 1e-3, 1, 1e3, EXPLODED, HIGHEST],
    "ticktext": ["≤ 10⁻⁹", "10⁻⁶", "10⁻³", "1", "10³", "10⁶", "≥ 10⁹"],
}


def drawable(std: Tensor) -> np.ndarray:
    """Sizes with what lies beyond the scale at its edges.

    >>> import torch
    >>> drawable(torch.tensor([0.0, 1.0, float("inf")])).tolist()
    [1e-09, 1.0, 1000000000.0]
    """
    return np.clip(std.double().numpy(), LOWEST, HIGHEST)


def by_layer(backward: Fate, depth: int) -> Fate:
    """Where gradients are lost, by the numbers of the layers: `Fate` counts along their way.

    >>> from torch import tensor
    >>> by_layer(Fate(tensor([1, 0]), tensor([0, 3])), depth=50)
    Fate(died=tensor([50,  0]), exploded=tensor([ 0, 48]))
    """
    died, exploded = (
        (depth + 1 - way).where(way > 0, 0) for way in (backward.died, backward.exploded)
    )
    return Fate(died, exploded)


def fate_table(
    forward: Fate, backward: Fate, schemes: Sequence[str], translate: Translate
) -> dict[str, list[str]]:
    """What becomes of the signal and of the gradient under each scheme, and at which layer."""
    _ = translate
    names = scheme_names(_)

    def words(fate: Fate) -> list[str]:
        pairs = zip(fate.died.tolist(), fate.exploded.tolist(), strict=True)
        return [
            f"† {died}" if died else f"∞ {exploded}" if exploded else "✓"
            for died, exploded in pairs
        ]

    return {
        _("Scheme"): [names[scheme] for scheme in schemes],
        _("Signal"): words(forward),
        _("Gradient"): words(backward),
    }


def fate_sentences(
    forward: Fate, backward: Fate, schemes: Sequence[str], translate: Translate
) -> str:
    """At which layers signal and gradient are lost, and under which schemes.

    >>> from torch import tensor
    >>> signal, gradient = Fate(tensor([3, 3]), tensor([0, 0])), Fate(*[tensor([0, 0])] * 2)
    >>> fate_sentences(signal, gradient, ["zeros", "orthogonal"], str)
    'The signal dies at layer 3 (Zeros, Orthogonal).'
    """
    _ = translate
    told = {
        _("The signal dies at layer {where}."): forward.died,
        _("The signal explodes at layer {where}."): forward.exploded,
        _("The gradient dies at layer {where}."): backward.died,
        _("The gradient explodes at layer {where}."): backward.exploded,
    }
    places = {text: _where(layers, schemes, _) for text, layers in told.items()}
    said = [text.format(where=where) for text, where in places.items() if where]
    return in_a_row(said, _) if said else ""


def _where(layers: Tensor, schemes: Sequence[str], _: Translate) -> str:
    """The layers other than 0, each with the schemes that it stands for."""
    names: dict[int, list[str]] = {}
    for scheme, layer in zip(schemes, layers.tolist(), strict=True):
        names.setdefault(layer, []).append(scheme_names(_)[scheme])
    found = (
        _("{layer} ({names})").format(layer=layer, names=_(", ").join(names[layer]))
        for layer in sorted(names)
        if layer
    )
    return _(", ").join(found)


# ---------------------------------------------------------------- the gain


def gain_layers(spread: Spread, at: int, layer: int, translate: Translate) -> Figure:
    """Spread against layer at one gain; traces 0 and 1 have `y` to follow a slider.

    Args:
        at: index of the gain.
        layer: the one that is marked. Trace 2, the mark, has `x` to follow a slider.
    """
    _ = translate
    forward, backward = gain_rows(spread)
    layers = np.arange(1, forward.shape[1] + 1)
    pairs = ((_("activations"), forward, CHOSEN), (_("gradients"), backward, CATEGORIES[1]))
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers" if len(layers) == 1 else "lines",
            "name": name,
            "x": layers,
            "y": rows[at],
            "line": {"color": colour, "width": 3},
            "hovertemplate": f"{name}, %{{x}}: %{{y:.2e}}<extra></extra>",
        }
        for name, rows, colour in pairs
    ]
    traces.append(_here(layer))
    marks = [horizontal(edge, IGNORED) for edge in (DEAD, EXPLODED)]
    return figure(
        _("Layer"),
        _("Standard deviation σ"),
        traces,
        height=340,
        xaxis=_layer_axis(len(layers)),
        yaxis=_SIZES,
        marks=marks,
    )


def gain_rows(spread: Spread) -> tuple[np.ndarray, np.ndarray]:
    """What `gain_layers` shows at every gain: activations and gradients, each `[t, depth]`."""
    return drawable(spread.activation_std), drawable(spread.gradient_std)


def gain_ends(spread: Spread, gains: Sequence[float], at: int, translate: Translate) -> Figure:
    """What arrives at each end of the network against the gain; trace 2, a line, follows in `x`."""
    _ = translate
    forward, backward = gain_rows(spread)
    ends = (
        (_("activations, last layer"), forward[:, -1], CHOSEN),
        (_("gradients, first layer"), backward[:, 0], CATEGORIES[1]),
    )
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": list(gains),
            "y": y,
            "line": {"color": colour, "width": 3},
            "hovertemplate": f"{name}<br>× %{{x:.2f}}: %{{y:.2e}}<extra></extra>",
        }
        for name, y, colour in ends
    ]
    ticks = [0.1, 0.2, 0.5, 1, 2, 5]
    across = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
    traces.append(_here(gains[at]))
    return figure(
        _("Gain (weights ×)"),
        _("Standard deviation σ"),
        traces,
        height=340,
        xaxis={**across, "range": np.log10([min(gains), max(gains)]).tolist()},
        yaxis=_SIZES,
    )


def _here(x: float) -> dict[str, Any]:
    """A line from bottom to top, where a slider stands."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x, x],
        "y": [LOWEST, HIGHEST],
        "line": {"color": POSITIVE, "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def law_numbers(spread: Spread, predicted: Tensor) -> dict[str, np.ndarray]:
    """The numbers of the law for every network and layer."""
    numbers = {
        "fan_in": spread.fan_in,
        "variance": spread.weight_variance,
        "square": spread.input_square,
        "predicted": predicted,
        "measured": spread.sum_variance,
    }
    return {name: values.float().numpy() for name, values in numbers.items()}


def law_formula(law: VarianceLaw) -> str:
    """The law of variances with its numbers, as LaTeX."""
    numbers = (float(law.fan_in), law.weight_variance, law.input_square, law.predicted)
    n, w, x, y = (latex(number) for number in numbers)
    return (
        r"\begin{aligned}\mathrm{Var}(y) &= \text{fan\_in} \cdot \mathrm{Var}(w) \cdot E[x^2] \\"
        rf"&= {n} \cdot {w} \cdot {x} = \mathbf{{{y}}}\end{{aligned}}"
    )


# ---------------------------------------------------------------- on the photo


def photo_tiles(
    found: PhotoMaps,
    rows: Sequence[int],
    names: Sequence[str],
    depths: Sequence[int],
    alike: bool,
    translate: Translate,
    bar: bool = False,
) -> Figure:
    """Maps in a grid: one row for each scheme, one column for each depth, the spread above each.

    Args:
        rows: indices of the schemes that are shown.
        names: of those schemes.
        alike: one scale for all maps, up to 3; otherwise each map has its own.
        bar: whether the colours of the one scale are told in a row of their own.
    """
    _ = translate
    signed = bool((found.maps < 0).any())
    grid = _Grid(len(rows) + bar, len(depths), height=84, heading=22)
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        for column, depth in enumerate(depths):
            values, size = found.maps[row, column].numpy(), float(found.std[row, column])
            high = 3.0 if alike else float(np.abs(values).max()) or 1.0
            look = _heat(values, high, signed)
            tip = f"{name}, {_('depth')} {depth}: σ = {told(size)}<extra></extra>"
            heading = f"<b>{name}</b>" if column == 0 else ""
            if bar and place == column == 0:
                look |= {"showscale": True, "colorbar": _bar(len(rows), signed)}
            grid.add(
                {**look, "hovertemplate": tip}, place, column, f"{depth}: σ {told(size)}", heading
            )
    return grid.figure()


def _bar(above: int, signed: bool) -> dict[str, Any]:
    """The colours from `_heat`'s lowest to its highest level, below so many rows of maps."""
    return {
        "orientation": "h",
        "x": 0.5,
        "xpad": 0,
        "len": 0.85,
        "y": 1 - (above + 0.3) / (above + 1),
        "yanchor": "top",
        "ypad": 0,
        "thickness": 10,
        "outlinewidth": 0,
        "tickvals": [0, 127, 254],
        "ticktext": ["≤ −3", "0", "≥ 3"] if signed else ["0", "1.5", "≥ 3"],
    }


def _heat(values: np.ndarray, high: float, signed: bool) -> dict[str, Any]:
    """A heat map up to `high` in 255 steps: enough for the eye, and small."""
    low = -high if signed else 0.0
    levels = np.rint((values.clip(low, high) - low) / (high - low) * 254).astype(np.uint8)
    return {
        "type": "heatmap",
        "z": levels,
        "zmin": 0,
        "zmax": 254,
        "colorscale": SIGNED if signed else MAGNITUDE,
        "showscale": False,
    }


# ---------------------------------------------------------------- training


def loss_curves(
    state: TrainingState, schemes: Sequence[str], length: int, translate: Translate
) -> Figure:
    """Loss against step on a log scale; an exploded network's curve ends.

    Losses above 10 are drawn there.
    """
    _ = translate
    names = scheme_names(_)
    traces = []
    for row, scheme in enumerate(schemes):
        colour, dash = LOOKS[scheme]
        losses = state.losses[row]
        seen = losses.isfinite()
        ending = " ∞" if state.exploded[row] else ""
        traces.append({
            "type": "scatter",
            "mode": "lines+markers",
            "marker": {"size": 4},
            "name": names[scheme] + ending,
            "legendgroup": scheme,
            "x": state.steps[seen].numpy(),
            "y": losses[seen].clamp(max=10).numpy(),
            "customdata": [readable(loss) for loss in losses[seen].tolist()],
            "line": {"color": colour, "width": 2.5, "dash": dash},
            "hovertemplate": f"{names[scheme]}, %{{x}}: %{{customdata}}<extra></extra>",
        })  # fmt: skip
    return figure(
        _("Training step"),
        _("Mean squared error"),
        traces,
        height=400,
        xaxis={"range": [-0.01 * length, 1.01 * length]},
        yaxis={
            "type": "log",
            "range": [-2.5, 1.1],
            "tickvals": [0.01, 0.1, 1, 10],
            "ticktext": ["0.01", "0.1", "1", "≥ 10"],
        },
    )


def painted_tiles(state: TrainingState, schemes: Sequence[str], translate: Translate) -> Figure:
    """What each network paints, and last the photo itself."""
    _ = translate
    names = scheme_names(_)
    pictures = [*state.pictures.numpy(), state.photo.numpy()]
    grid = _Grid(2, 5, height=132)
    for index, picture in enumerate(pictures):
        last = index == len(schemes)
        title = _("Your photo") if last else names[schemes[index]]
        if not last and state.exploded[index]:
            title += " ∞"
        title = title.replace(" ", "<br>", 1) if " " in title else f"{title}<br>"
        trace = {"type": "image", "source": _png(picture), "zsmooth": "fast", "hoverinfo": "skip"}
        grid.add(trace, index // 5, index % 5, title)
    return grid.figure()


def _png(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def weight_tiles(
    state: TrainingState, schemes: Sequence[str], shown: Sequence[str], translate: Translate
) -> Figure:
    """Weights of the first layer, one row for each unit, centred on zero; each on its own scale."""
    _ = translate
    names = scheme_names(_)
    grid = _Grid(1, len(shown), height=240)
    for column, scheme in enumerate(shown):
        row = list(schemes).index(scheme)
        weights = state.first_weights[row].numpy()
        high = float(np.abs(weights).max())
        units = _("kinds of unit: {n}").format(n=int(state.distinct_units[row]))
        title = f"<b>{names[scheme]}</b><br>±{told(high)}<br>{units}"
        tip = {"hovertemplate": _("unit") + " %{y}, " + _("input") + " %{x}<extra></extra>"}
        grid.add({**_heat(weights, high or 1.0, True), **tip}, 0, column, title, fill=True)
    return grid.figure()


# ---------------------------------------------------------------- tiles


class _Grid:
    """Pictures in rows and columns, a line of text above each.

    Args:
        height: of a row in pixels.
        heading: room above each row in pixels.
    """

    def __init__(self, rows: int, columns: int, height: int, heading: int = 0) -> None:
        self._rows, self._columns, self._heading = rows, columns, heading
        self._row_height = height + heading
        self._traces: list[dict[str, Any]] = []
        self._layout: dict[str, Any] = {"annotations": []}

    def add(
        self,
        trace: dict[str, Any],
        row: int,
        column: int,
        title: str,
        heading: str = "",
        fill: bool = False,
    ) -> None:
        """Place a picture; `fill` stretches it."""
        number = str(len(self._traces) + 1) if self._traces else ""
        x, top = column / self._columns, 1 - row / self._rows
        share = 1 / (self._rows * self._row_height)
        lines = 17 * (1 + title.count("<br>"))
        upper = top - (self._heading + lines) * share
        bare = {"visible": False, "fixedrange": True}
        kept = {} if fill else {"constrain": "domain"}
        self._layout[f"xaxis{number}"] = {
            **bare,
            **kept,
            "domain": [x, x + 0.97 / self._columns],
            "anchor": f"y{number}",
            "constraintoward": "left",
        }
        self._layout[f"yaxis{number}"] = {
            **bare,
            **kept,
            "domain": [top - 1 / self._rows + 8 * share, upper],
            "anchor": f"x{number}",
            "autorange": "reversed",
            "constraintoward": "top",
        }
        if not fill:
            self._layout[f"yaxis{number}"]["scaleanchor"] = f"x{number}"
        self._traces.append({**trace, "xaxis": f"x{number}", "yaxis": f"y{number}"})
        self._write(title, x, upper)
        if heading:
            self._write(heading, x, upper + 17 * share)

    def _write(self, text: str, x: float, y: float) -> None:
        place = {"text": text, "x": x, "y": y, "xref": "paper", "yref": "paper"}
        look = {"xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False}
        self._layout["annotations"].append({**place, **look, "font": {"size": 11}})

    def figure(self) -> Figure:
        layout = {"template": TEMPLATE, "height": self._rows * self._row_height, **self._layout}
        layout["margin"] = dict.fromkeys("lrtb", 0)
        return Figure(self._traces, layout)
