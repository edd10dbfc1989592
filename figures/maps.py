"""Small maps beside one another."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from figures.plain import Figure
from figures.style import MAPS, TEMPLATE


def tiles(
    maps: Tensor,
    titles: Sequence[str],
    *,
    colours: Sequence[tuple[float, str]] = MAPS,
    smooth: bool = True,
) -> Figure:
    """Maps `[n, h, w]` in [0, 1] beside one another, three in a row; trace i is map i.

    Args:
        titles: one above each map.
        colours: positions in [0, 1] and their colours.
        smooth: whether neighbouring values blend.

    >>> import torch
    >>> len(tiles(torch.zeros(4, 2, 2), ["a", "b", "c", "d"]).data)
    4
    """
    wide, tall = 3, -(-len(maps) // 3)
    traces, layout = [], {"annotations": []}
    for index, title in enumerate(titles):
        number = "" if index == 0 else str(index + 1)
        x0, y1 = index % wide / wide, 1 - index // wide / tall
        trace = {"type": "heatmap", "zmin": 0, "zmax": 100, "colorscale": colours}
        trace |= {
            "showscale": False,
            "zsmooth": "best" if smooth else False,
            "hovertemplate": "%{z}%<extra></extra>",
        }
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        traces.append({**trace, **axes, "z": percent(maps[index])})
        bare = {"visible": False, "fixedrange": True, "constrain": "domain"}
        layout[f"xaxis{number}"] = {
            **bare,
            "domain": [x0 + 0.01, x0 + 1 / wide - 0.01],
            "constraintoward": "left",
        }
        layout[f"yaxis{number}"] = {
            **bare,
            "domain": [y1 - 1 / tall + 0.02, y1 - 0.1],
            "autorange": "reversed",
            "anchor": f"x{number}",
            "scaleanchor": f"x{number}",
            "constraintoward": "top",
        }
        note = {"text": title, "x": x0 + 0.01, "y": y1 - 0.1, "xref": "paper", "yref": "paper"}
        look = {"xanchor": "left", "yanchor": "bottom", "align": "left", "showarrow": False}
        layout["annotations"].append({**note, **look, "font": {"size": 12}})
    layout |= {"template": TEMPLATE, "height": 165 * tall, "margin": dict.fromkeys("lrtb", 0)}
    return Figure(traces, layout)


def percent(maps: Tensor) -> np.ndarray:
    """Numbers in [0, 1] as whole percent: as fine as `tiles` shows them, a quarter of the bytes.

    >>> percent(torch.tensor([0.0, 0.254, 1.0])).tolist()
    [0, 25, 100]
    """
    return (100 * maps).round().to(torch.uint8).numpy()
