"""One family of figures: palette, template, units. Readable in light and dark, at 390 px."""

import plotly.graph_objects as go

POSITIVE = "#009E73"
NEGATIVE = "#D55E00"
IGNORED = "#999999"
CHOSEN = "#0072B2"
# Okabe and Ito, Color Universal Design, 2008; black is left out, it is invisible in the dark.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MAGNITUDE = "Viridis"
SIGNED = "RdBu"

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

TEMPLATE = go.layout.Template(
    layout={
        "colorway": CATEGORIES,
        "font": {"size": 13},
        "margin": {"l": 8, "r": 8, "t": 28, "b": 8},
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
)


def figure(x: str, y: str, height: int = 360) -> go.Figure:
    """An empty figure of the family with its axes named.

    >>> figure("IoU threshold", "survivors").layout.xaxis.title.text
    'IoU threshold'
    """
    layout = {"template": TEMPLATE, "height": height}
    return go.Figure(
        layout={**layout, "xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    )
