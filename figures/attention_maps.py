"""Figures of the Attention maps page. `translate` gives each label in the page's language."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from explainers.attended_photo import Compared
from explainers.attention_maps import CbamParts, Cost
from explainers.models.selfie_segmentation import Gate
from explainers.models.vit_s14 import VisionAttention
from explainers.patch_attention import HeadMaps, PatchMaps, PatchScores
from figures.maps import percent, tiles
from figures.plain import Figure
from figures.stage import Boxes, HeatMap, Layer
from figures.stage import PatchMaps as PatchLayer
from figures.style import CATEGORIES, CHOSEN, IGNORED, NEGATIVE, TEMPLATE, figure

Translate = Callable[[str], str]
Extent = tuple[float, float, float, float]
Axes = Mapping[str, PatchScores]
"""For each slider, or what is pointed at, the scores along it; all go through one present state."""

# ---------------------------------------------------------------- channels


def mask_layers(masks: Tensor, slider: str, translate: Translate) -> list[Layer]:
    """What the segmenter takes for a person, at every strength of a gate.

    Args:
        masks: `[t, h, w]` in [0, 1].
    """
    _ = translate
    levels = _bytes(thinned(masks, 64))
    options = {"slider": slider, "smooth": True, "opacity": 0.65, "label": _("person")}
    return [HeatMap("mask", levels, 0.0, 1.0, "viridis", **options)]


def channel_layers(gate: Gate, slider: str, translate: Translate) -> list[Layer]:
    """Every channel's map before its gate, each from its least to its largest value."""
    _ = translate
    options = {"slider": slider, "smooth": True, "opacity": 0.7, "label": _("channel, 0 to 1")}
    return [HeatMap("channel", _bytes(spread(gate.features)), 0.0, 1.0, "magma", **options)]


def spread(features: Tensor) -> Tensor:
    """Maps `[c, h, w]` of at most 32 x 32, each from its least (0) to its largest value (1)."""
    maps = thinned(features, 32)
    least = maps.amin(dim=(-2, -1), keepdim=True)
    range_ = maps.amax(dim=(-2, -1), keepdim=True) - least
    return (maps - least) / range_.clamp(min=1e-12)


def thinned(maps: Tensor, most: int) -> Tensor:
    """Maps `[n, h, w]` averaged down to at most `most` rows and columns."""
    rows, columns = (min(side, most) for side in maps.shape[-2:])
    return functional.adaptive_avg_pool2d(maps[None], (rows, columns))[0]


def block_names(blocks: Sequence[str], translate: Translate) -> dict[str, str]:
    """The blocks by what they are, counted from 1.

    >>> block_names(["enc.3", "context", "up.0"], str)
    {'enc.3': 'Encoder 4', 'context': 'Context', 'up.0': 'Decoder 1'}
    """
    _ = translate
    kinds = {"enc": _("Encoder {n}"), "context": _("Context"), "up": _("Decoder {n}")}
    parted = {block: block.partition(".") for block in blocks}
    return {b: kinds[kind].format(n=int(n or 0) + 1) for b, (kind, _dot, n) in parted.items()}


def gate_widths(gate: Gate) -> str:
    """How many numbers go into each layer of a gate, and how many come out."""
    widths = len(gate.pooled), len(gate.squeezed), len(gate.gate)
    return " → ".join(str(width) for width in widths if width)


def gate_flow(gate: Gate, translate: Translate) -> Figure:
    """Squeeze, excite, scale, with this photo's numbers; trace 2 holds the gates."""
    _ = translate
    panels = [
        (_("means"), gate.pooled, IGNORED),
        (_("ReLU"), gate.squeezed, CATEGORIES[1]),
        (_("gates"), gate.gate, CHOSEN),
    ]
    domains = [(0.0, 0.3), (0.4, 0.61), (0.7, 1.0)]
    traces, layout, notes = [], {}, []
    for place, ((title, values, colour), domain) in enumerate(zip(panels, domains, strict=True)):
        number = "" if place == 0 else str(place + 1)
        traces.append(
            {
                "type": "bar",
                "x": list(range(len(values))),
                "y": values.numpy(),
                "marker": {"color": colour, "line": {"width": 0}},
                "xaxis": f"x{number}",
                "yaxis": f"y{number}",
                "showlegend": False,
                "hovertemplate": "%{x}: %{y:.3f}<extra></extra>",
            }
        )
        title = f"{title} ({len(values)})" if len(values) else _("no bottleneck here")
        arrow = "→ " if place else ""
        layout[f"xaxis{number}"] = {"domain": domain, "showgrid": False, "ticks": "", "nticks": 4}
        layout[f"yaxis{number}"] = {"anchor": f"x{number}", "nticks": 4}
        where = {"xref": "paper", "yref": "paper", "showarrow": False}
        above = {"xanchor": "left", "yanchor": "bottom"}
        notes.append({"text": arrow + title, "x": domain[0], "y": 1.02, **above, **where})
    layout["yaxis3"]["range"] = [0, 1]
    layout |= {"template": TEMPLATE, "height": 230, "annotations": notes, "bargap": 0}
    layout["margin"] = {"l": 8, "r": 8, "t": 34, "b": 8}
    return Figure(traces, layout)


def channel_tiles(gate: Gate, translate: Translate) -> Figure:
    """The maps of the three channels opened most and the three closed most."""
    _ = translate
    order = gate.gate.argsort(descending=True, stable=True).tolist()
    chosen = [*order[:3], *order[-3:]]
    titles = [
        _("channel {number}: {gate:.2f}").format(number=c, gate=float(gate.gate[c])) for c in chosen
    ]
    return tiles(spread(gate.features)[chosen], titles)


# ---------------------------------------------------------------- places


def place_layers(
    gate: Tensor, extent: Extent, translate: Translate, box: Sequence[float] | None = None
) -> list[Layer]:
    """CBAM's spatial gate `[rows, columns]` over what the network sees, and a frame at `box`."""
    _ = translate
    options = {"label": _("spatial gate"), "opacity": 0.55, "smooth": True, "extent": extent}
    layers: list[Layer] = [HeatMap("spatial", gate, 0.0, 1.0, "viridis", **options)]
    if box is not None:
        layers.append(Boxes("frame", [list(box)], ("#FFFFFF",), width=2, hover=False))
    return layers


def channel_paths(parts: CbamParts, translate: Translate) -> Figure:
    """The channel gate, sorted, and what its two paths would say alone."""
    _ = translate
    order = parts.channel[0].argsort(descending=True, stable=True)
    paths = [
        (_("from the average alone"), parts.channel_average, CATEGORIES[4]),
        (_("from the maximum alone"), parts.channel_maximum, CATEGORIES[1]),
        (_("together"), parts.channel, CHOSEN),
    ]
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": list(range(len(order))),
            "y": values[0, order].numpy(),
            "line": {"color": colour, "width": 3 if values is parts.channel else 1},
            "hovertemplate": f"{name}: %{{y:.2f}}<extra></extra>",
        }
        for name, values, colour in paths
    ]
    y = {"range": [0, 1.02]}
    return figure(_("Channels, the most open first"), _("Gate"), traces, height=260, yaxis=y)


def place_tiles(parts: CbamParts, translate: Translate) -> Figure:
    """What the 7×7 convolution reads, and the gate that it gives."""
    _ = translate
    maps = torch.cat([parts.spatial_average[0], parts.spatial_maximum[0], parts.spatial[0]])
    titles = [_("channel mean"), _("channel maximum"), _("→ 7×7, sigmoid")]
    return tiles(torch.cat([spread(maps[:2]), maps[2:]]), titles)


# ---------------------------------------------------------------- three mechanisms


MECHANISMS = ("se", "cbam", "non_local", "embedded_non_local")
"""Kinds of attention whose costs `cost_table` compares."""


def mechanism_layers(
    found: Compared, extent: Extent, translate: Translate
) -> dict[str, list[Layer]]:
    """The features before, after SE and after CBAM, on one scale; what non-local attention mixes.

    Returns:
        The layers of each by its title.
    """
    _ = translate
    high = float(found.strength[:3].max())
    titles = _("Before"), "SE", "CBAM"
    shown = {
        title: strength_layers(strength, high, extent, _)
        for title, strength in zip(titles, found.strength, strict=False)
    }
    return shown | {_("Non-local"): gathered_layers(found.weights, extent, _)}


def strength_layers(
    strength: Tensor, high: float, extent: Extent, translate: Translate
) -> list[Layer]:
    """How strong the features are at each place, on a scale from 0 to `high`."""
    _ = translate
    options = {"label": _("strength of the features"), "opacity": 0.65, "smooth": True}
    return [HeatMap("strength", strength, 0.0, high or 1.0, "viridis", extent=extent, **options)]


def gathered_layers(weights: Tensor, extent: Extent, translate: Translate) -> list[Layer]:
    """What non-local attention mixes into the place pointed at: `[places, rows, columns]`."""
    _ = translate
    places, rows, columns = weights.shape
    layer = PatchLayer(
        "gathered",
        rows,
        columns,
        weights,
        low=0.0,
        high=float(weights.max()) or 1.0,
        label=_("weight"),
        extent=extent,
        cell=places // 2,
        hint=_("Point at a place to see what is mixed into it."),
    )
    return [layer]


def cost_table(costs: Mapping[str, Cost], translate: Translate) -> dict[str, list[str]]:
    """What each of `MECHANISMS` can re-weight, and what it costs."""
    _ = translate
    pairs = _("each place by all others")
    told = {
        "se": ("SE", _("channels")),
        "cbam": ("CBAM", _("channels, then places")),
        "non_local": (_("Non-local"), pairs),
        "embedded_non_local": (_("Non-local, with weights"), pairs),
    }
    return {
        _("mechanism"): [told[kind][0] for kind in costs],
        _("re-weights"): [told[kind][1] for kind in costs],
        _("parameters"): [f"{cost.parameters:,}" for cost in costs.values()],
        _("multiply-adds"): [f"{cost.multiply_adds:,}" for cost in costs.values()],
    }


# ---------------------------------------------------------------- patches


def patch_layers(
    maps: PatchMaps, extent: Extent, cell: int, slider: str, translate: Translate
) -> list[Layer]:
    """What the patch pointed at looks at, layer by layer."""
    _ = translate
    hint = _("Point at a patch to see what it looks at. Click to pin it.")
    return [_attention(maps.patches, extent, cell, hint, _, slider=slider)]


def weight_layers(
    axes: Axes, points_at: str, attended: VisionAttention, cell: int, translate: Translate
) -> list[Layer]:
    """What the patch pointed at looks at in one head of one layer, and along other axes.

    Args:
        points_at: the axis along the patches; the others are those of patch `cell`.
    """
    _ = translate
    grid = attended.rows, attended.columns
    maps = {key: relative(found.weights[:, 1:].unflatten(1, grid)) for key, found in axes.items()}
    patches = maps.pop(points_at)
    along = {key: _bytes(values) for key, values in maps.items()}
    hint = _("Point at a patch to see its scores. Click to pin it.")
    more = {"points_at": points_at, "along": along}
    return [_attention(patches, attended.extent, cell, hint, _, **more)]


def _attention(
    maps: Tensor, extent: Extent, cell: int, hint: str, translate: Translate, **more: Any
) -> PatchLayer:
    """Maps of each patch `[..., patches, rows, columns]` in [0, 1]."""
    _ = translate
    rows, columns = maps.shape[-2:]
    return PatchLayer(
        "attention",
        rows,
        columns,
        _bytes(maps),
        low=0.0,
        high=1.0,
        colours="magma",
        label=_("of the strongest patch's attention"),
        opacity=0.72,
        extent=extent,
        cell=cell,
        hint=hint,
        **more,
    )


def class_layers(maps: PatchMaps, extent: Extent, slider: str, translate: Translate) -> list[Layer]:
    """What the class token looks at, layer by layer."""
    _ = translate
    heat = HeatMap(
        "attention",
        _bytes(maps.class_token),
        low=0.0,
        high=1.0,
        colours="magma",
        label=_("of the strongest patch's attention"),
        opacity=0.72,
        slider=slider,
        smooth=True,
        extent=extent,
    )
    return [heat]


def _bytes(values: Tensor) -> np.ndarray:
    return np.rint(values.numpy() * 255).astype(np.uint8)


def shared_out(look: str, patch: int, columns: int, translate: Translate) -> str:
    """What is shared out among the patches in step 3: whose attention, as part of a sentence."""
    _ = translate
    if look == "class":
        return _("the class token's attention")
    if look == "rollout":
        told = _("the rollout of the patch in row {row}, column {column}")
    else:
        told = _("the attention of the patch in row {row}, column {column} (itself included)")
    return told.format(row=patch // columns + 1, column=patch % columns + 1)


def head_figure(maps: HeadMaps, layer: int, translate: Translate) -> Figure:
    """All heads of one layer for one patch, each on its own scale; trace h may follow in `z`."""
    _ = translate
    titles = [_("Head {number}").format(number=h + 1) for h in range(maps.patches.shape[1])]
    return tiles(relative(maps.patches)[layer], titles)


def drawn_heads(maps: HeadMaps) -> np.ndarray:
    """What `head_figure` shows, `[layers, heads, rows, columns]`."""
    return percent(relative(maps.patches))


def relative(maps: Tensor) -> Tensor:
    """Each map's weights `[..., rows, columns]` over the largest of them."""
    return maps / maps.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-12)


# ---------------------------------------------------------------- scores

_FAR_BELOW = 40.0  # so far below the largest score nothing has any weight


def score_figure(scores: PatchScores, index: int, translate: Translate) -> Figure:
    """The largest scores above, their weights below; both with the factor 1/√d and without it.

    Trace t may follow in `y`, from `ranked(...)[t]`.

    Args:
        index: of the query shown.
    """
    _ = translate
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "legendgroup": name,
            "showlegend": place < 2,
            "x": list(range(1, values.shape[1] + 1)),
            "y": values[index].numpy(),
            "yaxis": "y" if place < 2 else "y2",
            "line": {"color": (CHOSEN, NEGATIVE)[place % 2], "width": 2},
            "marker": {"size": 5},
            "hovertemplate": "%{y:.3~f}<extra></extra>",
        }
        for place, (name, values) in enumerate(
            zip(("q·k / √d", "q·k") * 2, ranked(scores), strict=True)
        )
    ]
    layout = {
        "template": TEMPLATE,
        "height": 380,
        "xaxis": {
            "title": {"text": _("Tokens, the strongest first")},
            "anchor": "y2",
            "range": [0.4, len(traces[0]["x"]) + 0.6],
        },
        "yaxis": {
            "title": {"text": _("Score − the largest")},
            "domain": [0.54, 1],
            "range": [-_FAR_BELOW, 0.05 * _FAR_BELOW],
        },
        "yaxis2": {"title": {"text": _("Weight")}, "domain": [0, 0.46], "range": [-0.03, 1.05]},
    }
    return Figure(traces, layout)


def ranked(scores: PatchScores) -> tuple[Tensor, ...]:
    """Of the strongest tokens scores, products, weights and unscaled weights, `[n, few]` each.

    Scores and products are counted from the largest: the softmax sees their differences alone.
    """
    every = scores.scores, scores.products, scores.weights, scores.unscaled_weights
    first, second, *weights = (values.gather(1, scores.strongest) for values in every)
    return first - first[:, :1], second - second[:, :1], *weights


def score_words(scores: PatchScores, columns: int) -> dict[str, list[str]]:
    """For each query whose it is, counted as on screen, and what its scores are like."""
    counted = {
        "row": scores.patch // columns + 1,
        "column": scores.patch % columns + 1,
        "layer": scores.layer + 1,
        "head": scores.head + 1,
    }
    measured = {
        "spread": scores.spread,
        "after": scores.scores.std(dim=-1, correction=0),
        "entropy": scores.entropy,
        "unscaled": scores.unscaled_entropy,
    }
    words = {name: [str(n) for n in numbers.tolist()] for name, numbers in counted.items()}
    return words | {
        name: [f"{v:.2f}" for v in values.tolist()] for name, values in measured.items()
    }


def score_table(
    scores: PatchScores, columns: int, translate: Translate
) -> dict[str, list[list[str]]]:
    """For each query its five strongest tokens with their products, scores and weights."""
    _ = translate
    chosen = scores.strongest[:, :5]

    def named(token: int) -> str:
        if token == 0:
            return _("class token")
        return f"{(token - 1) // columns + 1}, {(token - 1) % columns + 1}"

    def listed(values: Tensor, form: str) -> list[list[str]]:
        return [[format(v, form) for v in row] for row in values.gather(1, chosen).tolist()]

    return {
        _("patch (row, column)"): [[named(token) for token in row] for row in chosen.tolist()],
        "q·k": listed(scores.products, ".1f"),
        "q·k / √d": listed(scores.scores, ".2f"),
        _("weight"): listed(scores.weights, ".3f"),
        _("without √d"): listed(scores.unscaled_weights, ".3f"),
    }


# ---------------------------------------------------------------- depth


def distance_figure(distances: Tensor, layer: int, translate: Translate) -> Figure:
    """Mean attention distance of every head against the layer; trace 1 marks a layer.

    Args:
        distances: `[layers, heads]` in patches.
    """
    _ = translate
    layers, heads = distances.shape
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": np.repeat(np.arange(1, layers + 1), heads),
        "y": distances.flatten().numpy(),
        "marker": {"color": CHOSEN, "size": 8, "opacity": 0.75},
        "customdata": np.tile(np.arange(1, heads + 1), layers),
        "hovertemplate": "%{x} · %{customdata}: %{y:.2f}<extra></extra>",
        "showlegend": False,
    }
    here = {
        "type": "scatter",
        "mode": "markers",
        "x": [layer + 1] * heads,
        "y": distances[layer].numpy(),
        "marker": {"color": CATEGORIES[1], "size": 12},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return figure(
        _("Layer"),
        _("Mean attention distance (patches)"),
        [dots, here],
        height=340,
        xaxis={"dtick": 1, "range": [0.5, layers + 0.5]},
        yaxis={"rangemode": "tozero"},
    )
