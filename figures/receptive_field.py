"""Figures of the receptive field page: charts, layers of the stage, formulas.

`translate` gives each label in the page's language.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.colors
from torch import Tensor

from explainers.receptive_field import (
    TWO_SIGMA,
    Box,
    DepthSweep,
    Field,
    HdcCheck,
    Layer,
    concentric_boxes,
    output_sizes,
    receptive_fields,
    tap_boxes,
)
from figures.plain import Figure
from figures.stage import Boxes, CellHover, Encoded, HeatMap
from figures.style import (
    CATEGORIES,
    CHOSEN,
    IGNORED,
    MAGNITUDE,
    SEEN_ON_PAGE,
    TEMPLATE,
    figure,
    vertical,
)

THEORETICAL, EFFECTIVE = CATEGORIES[1], CHOSEN
BRANCHES = (CATEGORIES[1], CATEGORIES[4], CATEGORIES[2], CATEGORIES[3])
_ABOVE = 84  # pixels for what stands above two panels
PRESETS = {
    "vgg16": "VGG-16",
    "alexnet": "AlexNet",
    "resnet50": "ResNet-50",
    "resnet50_torchvision": "ResNet-50 (torchvision)",
    "mobilenet_v2": "MobileNetV2",
    "deeplab_os8": "DeepLab /8",
    "aspp": "ASPP 6-12-18-24",
    "dense_aspp": "DenseASPP",
    "dilated_1_2_4": "1-2-4",
    "gridding_2_2_2": "2-2-2",
    "hdc_1_2_5": "HDC 1-2-5",
}
"""How the explainer's stacks are called."""

Translate = Callable[[str], str]

# ---------------------------------------------------------------- charts


def growth(layers: Sequence[Layer], fields: Sequence[Field], translate: Translate) -> Figure:
    """The field after each layer as a bar around its middle, coloured by the units' distance.

    >>> from explainers.receptive_field import receptive_fields
    >>> stack = [Layer(3), Layer(3, stride=2)]
    >>> growth(stack, receptive_fields(stack), str).data[0].y.tolist()
    [3, 5]
    """
    _ = translate
    sizes = np.array([field.size for field in fields])
    strides = np.array([field.stride for field in fields])
    doublings = math.ceil(math.log2(strides.max()))
    steps = [2**n for n in range(0, doublings + 1, 1 + doublings // 8)]
    bars = {
        "type": "bar",
        "x": np.arange(1, len(layers) + 1),
        "y": sizes,
        "base": -sizes / 2,
        "customdata": np.stack([strides, [f.padding for f in fields]], axis=1),
        "text": [layer.name for layer in layers],
        "textposition": "none",
        "marker": {
            "color": np.log2(strides),
            "cmin": 0,
            "cmax": doublings or 1,
            "colorscale": SEEN_ON_PAGE,
            "line": {"width": 0},
            "colorbar": _bar(_("Pixels from unit to unit"))
            | {"tickvals": np.log2(steps), "ticktext": list(map(str, steps))},
        },
        "hovertemplate": _("%{text}: %{y} px, units %{customdata[0]} px apart") + "<extra></extra>",
    }
    half = float(sizes.max()) / 2 * 1.05
    ticks = {"tick0": 1, "dtick": 1} if len(layers) <= 10 else {}
    return figure(
        _("Layer"),
        _("Pixels from the middle of the field"),
        [bars],
        height=330,
        xaxis=_titled(_("Layer")) | ticks | {"range": [0.4, len(layers) + 0.6], "showgrid": False},
        yaxis={"range": [-half, half]},
    )


def touches(panels: Sequence[tuple[str, Tensor]], translate: Translate) -> Figure:
    """How often each pixel is used, one panel for each stack; what is never used stays empty.

    Args:
        panels: titles and touch counts `[size, size]`; one scale for all.

    >>> import torch
    >>> len(touches([("a", torch.ones(3, 3)), ("b", torch.ones(5, 5))], str).data)
    2
    """
    _ = translate
    reach = max(len(counts) for _title, counts in panels) / 2 + 0.5
    most = max(float(counts.max()) for _title, counts in panels)
    steps = [step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if step < 0.8 * most]
    steps.append(round(most))
    traces, notes, axes = [], [], {}
    for place, (title, counts) in enumerate(panels):
        number = str(place + 1) if place else ""
        half, values = (len(counts) - 1) / 2, counts.double().numpy()
        traces.append(
            {
                "type": "heatmap",
                "z": np.log(np.where(values > 0, values, np.nan)),
                "customdata": values,
                "x0": -half,
                "y0": -half,
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "coloraxis": "coloraxis",
                "xgap": 1,
                "ygap": 1,
                "hovertemplate": _("used on %{customdata} paths") + "<extra></extra>",
                "hoverongaps": False,
            }
        )
        shared = _around(reach)
        axes[f"xaxis{number}"] = shared | {
            "domain": [place / len(panels), (place + 0.92) / len(panels)],
            "anchor": f"y{number}",
            **_titled(_("Pixels from the middle"), font={"size": 12}),  # two fit into 390 pixels
        }
        upright = _below_the_bar(reach) | {"scaleanchor": f"x{number}"}
        axes[f"yaxis{number}"] = upright | {"anchor": f"x{number}"}
        at = {"x": 0, "y": reach, "xref": f"x{number}", "yref": f"y{number}"}
        notes.append({"text": title, **at, "yanchor": "bottom", "showarrow": False})
    # In pixels from the upper edge, however high the figure is: the bar, its title, the panels'.
    high = {"y": 1, "yref": "container", "yanchor": "top", "ypad": 18}
    bar = _bar("") | high | {"tickvals": np.log(steps), "ticktext": list(map(str, steps))}
    corner = {"x": 0, "y": 1, "xref": "paper", "yref": "paper", "xanchor": "left"}
    shift = {"yanchor": "bottom", "yshift": _ABOVE - 18, "font": {"size": 12}, "showarrow": False}
    notes.append({"text": _("Paths"), **corner, **shift})
    colours = {
        "colorscale": SEEN_ON_PAGE,
        "cmin": 0,
        "cmax": math.log(max(most, 2)),
        "colorbar": bar,
    }
    layout = {"height": 430, "margin": {"t": _ABOVE}, "annotations": notes, "coloraxis": colours}
    return Figure(traces, {"template": TEMPLATE, **layout, **axes})


def gradient_map(gradient: Tensor, effective: float, widest: int, translate: Translate) -> Figure:
    """The gradient's size around the unit, in the theoretical field, with the effective one.

    The last mark is a circle around the effective field; a white one behind it sets it off.

    Args:
        gradient: `[size, size]`.
        effective: size of the effective field in pixels, drawn as a disc of the same area.
        widest: size of the largest field that is to fit in.

    >>> import torch
    >>> len(gradient_map(torch.ones(3, 3), 2.0, 9, str).layout.shapes)
    3
    """
    _ = translate
    half, reach = len(gradient) / 2, widest / 2 + 1
    radius = effective / math.sqrt(math.pi)
    largest = float(gradient.max()) or 1.0
    heat = {
        "type": "heatmap",
        "z": (gradient / largest).numpy(),
        "x0": 0.5 - half,
        "y0": 0.5 - half,
        "zmin": 0,
        "zmax": 1,
        "colorscale": MAGNITUDE,
        "colorbar": _bar(_("Gradient, share of the largest")),
        "hovertemplate": "%{z:.3f}<extra></extra>",
    }
    marks = [
        _outline("rect", half, THEORETICAL),
        _outline("circle", radius, "#FFFFFF", width=5),
        _outline("circle", radius, EFFECTIVE),
    ]
    return figure(
        _("Pixels from the middle"),
        "",
        [heat],
        height=520,
        xaxis=_titled(_("Pixels from the middle")) | _around(reach),
        yaxis=_below_the_bar(reach) | {"scaleanchor": "x"},
        marks=marks,
    )


def depth_law(sweep: DepthSweep, depth: int, translate: Translate) -> Figure:
    """Theoretical and effective size against depth, beside the law of the square root.

    Args:
        sweep: of stacks of several depths.
        depth: marked.

    >>> import torch
    >>> one = torch.tensor([1.0])
    >>> len(depth_law(DepthSweep(one.long(), one.long(), one, one), 1, str).data)
    3
    """
    _ = translate
    x = sweep.depth.numpy()

    def line(values: Tensor, name: str, **look: Any) -> dict[str, Any]:
        hover = "%{x}: %{y:.1f} px<extra>" + name + "</extra>"
        return {
            "type": "scatter",
            "x": x,
            "y": values.numpy(),
            "name": name,
            "hovertemplate": hover,
            **look,
        }

    traces = [
        line(sweep.theoretical, _("theoretical"), mode="lines", line=_line(THEORETICAL)),
        line(sweep.expected, "∝ √n", mode="lines", line=_line(IGNORED) | {"dash": "dot"}),
        line(
            sweep.effective,
            _("effective"),
            mode="markers",
            marker={"color": EFFECTIVE, "size": 8},
        ),
    ]
    return figure(
        _("Number of layers"),
        _("Size, px"),
        traces,
        height=260,
        yaxis={"rangemode": "tozero"},
        marks=[vertical(depth, IGNORED)],
    )


def _titled(title: str, **look: Any) -> dict[str, Any]:
    """An axis whose title keeps clear of its labels: a bar above lets Plotly misplace it."""
    return {"title": {"text": title, "standoff": 26, **look}}


def _around(reach: float) -> dict[str, Any]:
    """A square axis around the middle."""
    shown = {"range": [-reach, reach], "constrain": "domain"}
    return shown | {"zeroline": False, "showgrid": False}


def _below_the_bar(reach: float) -> dict[str, Any]:
    """The same for the upright axis: on a narrow screen the room that is left stays below."""
    return _around(reach) | {"constraintoward": "top"}


def _bar(title: str) -> dict[str, Any]:
    """A colour bar above the figure, where it takes no width."""
    place = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.04, "yanchor": "bottom"}
    look = {"len": 0.6, "thickness": 8, "outlinewidth": 0, "ypad": 0}
    return {"title": {"text": title, "side": "top", "font": {"size": 12}}, **place, **look}


def _line(colour: str) -> dict[str, Any]:
    return {"color": colour, "width": 3}


def _outline(kind: str, half: float, colour: str, width: float = 2) -> dict[str, Any]:
    ends = {"x0": -half, "x1": half, "y0": -half, "y1": half}
    return {"type": kind, **ends, "line": {"color": colour, "width": width}}


# ---------------------------------------------------------------- layers of the stage


@dataclass(frozen=True, eq=False)
class UnitHover(CellHover):
    """Cells around the middles of the units' fields, which need not begin at the photo's corner.

    Args:
        left: photo pixels from the left edge to the first cell.
        top: photo pixels from the upper edge to it.
    """

    left: float = 0.0
    top: float = 0.0

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        header, arrays = super().encode(size)
        extent = (self.left, self.top, self.left + self.width, self.top + self.height)
        return header | {"extent": extent}, arrays


def unit_layers(fields: Sequence[Field], rows: int, columns: int, hint: str) -> list[CellHover]:
    """Pointing at a unit of the last layer shows its field, nested in it those of earlier layers.

    Args:
        fields: of all layers.
        rows, columns: of the last layer's map.
    """
    centre, side = fields[-1].first_centre, fields[-1].stride
    boxes = list(dict.fromkeys(concentric_boxes(fields, centre, centre)))
    depths = np.linspace(0.25, 1, len(boxes))[:-1] if len(boxes) > 1 else []
    inner = plotly.colors.sample_colorscale(MAGNITUDE, depths, colortype="tuple")
    return [
        UnitHover(
            "units",
            rows,
            columns,
            columns * side,
            rows * side,
            boxes,
            palette=(*map(_hex, inner), THEORETICAL),
            cell=rows // 6 * columns + columns // 6,  # near a corner, so that padding is seen
            hint=hint,
            left=centre - side / 2,
            top=centre - side / 2,
        )
    ]


def network_layers(
    gradient: Tensor,
    crop: tuple[float, float, float, float],
    field: Box,
    effective: float,
    translate: Translate,
) -> list[Boxes | HeatMap]:
    """A network's gradient where it counts, the part of the photo that it reads, both fields.

    Args:
        gradient: `[side, side]` pixels of the network's picture, an even number.
        crop: that picture in photo pixels.
        field: theoretical, in pixels of that picture.
        effective: size of the effective field there, drawn as a square around the same middle.
    """
    _ = translate
    x, y, scale = crop[0], crop[1], (crop[2] - crop[0]) / len(gradient)
    middle = (field[0] + field[2]) / 2, (field[1] + field[3]) / 2
    square = [at + side * effective / 2 for side in (-1, 1) for at in middle]
    theoretical, disc = (
        [start + at * scale for start, at in zip((x, y, x, y), box, strict=True)]
        for box in (field, square)
    )
    share = (gradient / (gradient.max() or 1)).numpy()
    half = len(share) // 2
    coarse = share.reshape(half, 2, half, 2).max(axis=(1, 3))
    shown = np.where(coarse > TWO_SIGMA, coarse, np.nan)
    label, look = _("Gradient, share of the largest"), {"hover": False}
    edge = (crop[0], crop[3], *crop[2:])  # has its label at the bottom, far from the other one
    read = {"labels": ["", _("read by the network")], "dashed": True}
    # In one layer, where a label that would lie on another one is left out.
    fields = {"category": [0, 1], "labels": [_("theoretical"), _("effective")], "width": 2.5}
    return [
        HeatMap("gradient", shown, 0, 1, "magma", label, opacity=0.9, extent=crop),
        Boxes("read", [crop, edge], ("#FFFFFF",), **read, **look),
        Boxes("fields", [theoretical, disc], (THEORETICAL, EFFECTIVE), **fields, **look),
    ]


def branch_layers(
    branches: Sequence[Layer], stride: int, rows: int, columns: int, hint: str
) -> list[CellHover]:
    """Pointing at a cell shows which cells the branches tap and span, one colour a branch."""
    boxes, colours = [], []
    for branch, colour in zip(branches, BRANCHES, strict=False):
        taps = tap_boxes(branch, stride)
        boxes += [(*taps[0][:2], *taps[-1][2:]), *taps]
        colours += [colour] * (len(taps) + 1)
    middle = rows // 2 * columns + columns // 2
    size = columns * stride, rows * stride
    return [CellHover("taps", rows, columns, *size, boxes, tuple(colours), middle, hint)]


def _hex(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * part):02X}" for part in colour)


# ---------------------------------------------------------------- table and formulas


def layer_rows(layers: Sequence[Layer], image_size: tuple[int, int]) -> list[dict[str, Any]]:
    """For each layer its numbers, and the map and the field that follow from them.

    >>> layer_rows([Layer(3, name="1")], (10, 20))[0]["output"]
    '8 × 18'
    """
    rows, columns = (output_sizes(layers, side) for side in image_size)
    return [
        vars(layer) | {"output": f"{r} × {c}", "field": field.size, "jump": field.stride}
        for layer, field, r, c in zip(layers, receptive_fields(layers), rows, columns, strict=True)
    ]


def growth_formula(layers: Sequence[Layer], fields: Sequence[Field]) -> str:
    """How the last layer widens the field, as LaTeX with its numbers.

    >>> stack = [Layer(3)]
    >>> "3" in growth_formula(stack, [Field(3, 1, 0)])
    True
    """
    layer, field, n = layers[-1], fields[-1], len(layers)
    before = fields[-2] if n > 1 else Field(1, 1, 0)
    return rf"""r_{{{n}}} = r_{{{n - 1}}} + d\,(k - 1)\, j_{{{n - 1}}}
    = {before.size} + {layer.dilation} \cdot ({layer.kernel_size} - 1) \cdot {before.stride}
    = \mathbf{{{field.size}}}"""


def gaps_formula(dilations: Sequence[int]) -> str:
    r"""The rule of hybrid dilated convolution for three 3 x 3 layers, as LaTeX with its numbers.

    It takes the dilations in ascending order, as `hdc_check` does.

    >>> r"\mathbf{2}" in gaps_formula([5, 1, 2])
    True
    """
    _, rate, last = sorted(dilations)
    parts = last - 2 * rate, 2 * rate - last, rate
    sign = r"\le" if max(parts) <= 3 else ">"
    return rf"""M_2 = \max(r_3 - 2 r_2,\; 2 r_2 - r_3,\; r_2)
    = \max({", ".join(map(str, parts))}) = \mathbf{{{max(parts)}}} {sign} k = 3"""


def verdict(rule: HdcCheck, translate: Translate) -> str:
    """What the rule of hybrid dilated convolution says, in words that end a sentence.

    >>> verdict(HdcCheck(gaps=(2, 5), common_factor=1, passes=True), str)
    'it passes'
    """
    _ = translate
    if rule.common_factor > 1:
        said = _("it does not pass: {factor} divides all dilations")
        return said.format(factor=rule.common_factor)
    return _("it passes") if rule.passes else _("it does not pass: M₂ exceeds the kernel size")
