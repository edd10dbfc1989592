"""One family of figures: palette, template, units. Readable in light and dark, at 390 px."""

from collections.abc import Sequence
from typing import Any

from plotly.colors import get_colorscale, make_colorscale, sample_colorscale

from figures.plain import Figure

POSITIVE = "#009E73"
NEGATIVE = "#D55E00"
IGNORED = "#999999"
CHOSEN = "#0072B2"
# Okabe and Ito, Color Universal Design, 2008; black is left out, it is invisible in the dark.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MAGNITUDE = get_colorscale("Viridis")
# For bars and cells with gaps: without the darkest quarter, which on a dark page looks like a gap.
SEEN_ON_PAGE = make_colorscale(sample_colorscale(MAGNITUDE, [0.25 + n / 8 for n in range(7)]))
MAPS = get_colorscale("Magma")
PICTURE = get_colorscale("Greys_r")
SIGNED = get_colorscale("RdBu")

_GRID = "rgba(128, 128, 128, 0.22)"
_LINE = "rgba(128, 128, 128, 0.55)"
_AXIS = {
    "gridcolor": _GRID,
    "linecolor": _LINE,
    "zerolinecolor": _LINE,
    "zerolinewidth": 1,
    "ticks": "outside",
    "ticklen": 4,
    "tickcolor": _LINE,
    "automargin": True,
    "title": {"standoff": 8},
}

TEMPLATE = {
    "layout": {
        "colorway": CATEGORIES,
        "font": {"size": 13},
        "margin": {"l": 8, "r": 20, "t": 28, "b": 8},  # right: for half of the last label
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "title": {"text": ""},
        },
        "bargap": 0.06,
        "colorscale": {"sequential": MAGNITUDE, "diverging": SIGNED},
    }
}


def figure(
    x: str,
    y: str,
    traces: Sequence[dict[str, Any]],
    *,
    height: int = 360,
    xaxis: dict[str, Any] | None = None,
    yaxis: dict[str, Any] | None = None,
    marks: Sequence[dict[str, Any]] = (),
    notes: Sequence[dict[str, Any]] = (),
    **layout: Any,
) -> Figure:
    """A figure of the family.

    Args:
        x, y: what the axes show, in words, with the unit.
        traces: as Plotly takes them.
        height: in pixels; the width is the column's.
        xaxis, yaxis: further properties of the axes.
        marks: lines made by `vertical` and `horizontal`.
        notes: annotations.
        layout: further properties of the layout.

    >>> figure("IoU threshold", "survivors", []).layout.xaxis.title.text
    'IoU threshold'
    """
    plan = {
        "template": TEMPLATE,
        "height": height,
        "xaxis": {"title": {"text": x}, **(xaxis or {})},
        "yaxis": {"title": {"text": y}, **(yaxis or {})},
        "shapes": list(marks),
        "annotations": list(notes),
        **layout,
    }
    return Figure(list(traces), plan)


def vertical(x: float, colour: str) -> dict[str, Any]:
    """A dotted line from bottom to top.

    >>> vertical(0.5, POSITIVE)["x1"]
    0.5
    """
    line = {"color": colour, "width": 2, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def horizontal(y: float, colour: str) -> dict[str, Any]:
    """A dotted line from left to right.

    >>> horizontal(0.5, POSITIVE)["y1"]
    0.5
    """
    line = {"color": colour, "width": 2, "dash": "dot"}
    return {"type": "line", "y0": y, "y1": y, "x0": 0, "x1": 1, "xref": "paper", "line": line}


def above(x: float, text: str, side: str) -> dict[str, Any]:
    """A note at the top edge, on the "left" or "right" of `x`.

    >>> above(0.5, "here", "left")["xanchor"]
    'right'
    """
    anchors = {"xanchor": {"left": "right", "right": "left"}[side], "yanchor": "bottom"}
    place = {"x": x, "y": 1, "yref": "paper", "showarrow": False}
    return {"text": text, "font": {"size": 12}, **place, **anchors}
