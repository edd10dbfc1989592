"""Figures of the Anchors & NMS page: charts, layers of the stage, formulas.

`translate` gives each label in the page's language.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from explainers.anchors_nms import (
    CHOSEN as CHOSEN_NOW,
)
from explainers.anchors_nms import (
    KEPT,
    REMOVED,
    WAITING,
    AnchorMap,
    Matching,
    MiniBatch,
    Suppression,
)
from explainers.boxes import IouParts, box_area, encode_boxes
from figures.plain import Figure
from figures.stage import HIDDEN, MOST_BOXES, Boxes, CellHover, Drawn, Grid, Layer
from figures.style import (
    CATEGORIES,
    CHOSEN,
    IGNORED,
    NEGATIVE,
    POSITIVE,
    above,
    figure,
)

SCALES = (CATEGORIES[1], CATEGORIES[4], CATEGORIES[3], CATEGORIES[2])
LABELS = {"positive": POSITIVE, "ignored": IGNORED, "negative": NEGATIVE}
METHODS = {"hard": POSITIVE, "linear": CATEGORIES[1], "gaussian": CHOSEN}

Translate = Callable[[str], str]

_FOOT, _NO_BAR = 0.6, 0.01  # where the log scale of counts begins; what stands for a count of 0

# ---------------------------------------------------------------- charts


def iou_histogram(counts: Tensor, positive: float, negative: float, translate: Translate) -> Figure:
    """How many anchors reach which best IoU, on a log scale, coloured by what the thresholds say.

    All bars are ignored at first, negative ones are drawn over them, positive ones over both. Each
    colour is one area, which the browser redraws faster than bars while `histogram_sweeps` play.

    Args:
        counts: anchors per bin; the bins divide [0, 1] evenly.
        positive, negative: the two thresholds.

    >>> iou_histogram(torch.tensor([5, 0]), 0.7, 0.3, str).data[1].y.round().tolist()
    [5.0, 5.0, 0.0, 0.0]
    """
    _ = translate
    bars = _area(_heights(counts), IGNORED)
    hover = {"hoverinfo": None, "hovertemplate": "IoU %{x:.2f}: %{y:.0f}<extra></extra>"}
    top = 2 * max(1, int(counts.max()))
    names = {"negative": _("negative"), "ignored": _("ignored"), "positive": _("positive")}
    key = (f'<span style="color:{LABELS[k]}">■</span> {name}' for k, name in names.items())
    return figure(
        _("Best IoU with an object"),
        _("Anchors"),
        [
            {**bars, **hover},
            _area(_sides(counts, [negative])[0][0], NEGATIVE),
            _area(_sides(counts, [positive])[1][0], POSITIVE),
            _mark(negative, NEGATIVE, top),
            _mark(positive, POSITIVE, top),
        ],
        height=220,
        xaxis={"range": [0, 1], "showgrid": False},
        yaxis={"type": "log", "dtick": 1, "range": [math.log10(_FOOT), math.log10(top)]},
        notes=[above(0, "   ".join(key), "right")],
        showlegend=False,
        hovermode="x",
    )


def histogram_sweeps(
    counts: Tensor, thresholds: Sequence[float], of_positive: str, of_negative: str
) -> list[tuple[str, int, str, np.ndarray]]:
    """What two sliders over `thresholds` change in `iou_histogram`: the parts of its sweeps."""
    negative, positive = _sides(counts, thresholds)
    marks = np.repeat(np.array(thresholds, np.float32)[:, None], 2, axis=1)
    return [
        (of_negative, 1, "y", negative),
        (of_positive, 2, "y", positive),
        (of_negative, 3, "x", marks),
        (of_positive, 4, "x", marks),
    ]


def _sides(counts: Tensor, thresholds: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the bars below and of those above each threshold `[t, bars + 2]`."""
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    limits = np.array(thresholds)[:, None]
    return _heights(counts, centres < limits), _heights(counts, centres > limits)


def _heights(counts: Tensor, kept: np.ndarray | bool = True) -> np.ndarray:
    """Heights of the bars that are kept, the first and the last one twice `[..., bars + 2]`."""
    heights = np.where(kept, np.maximum(counts.numpy(), _NO_BAR), _NO_BAR).astype(np.float32)
    return np.concatenate([heights[..., :1], heights, heights[..., -1:]], axis=-1)


def _area(heights: np.ndarray, colour: str) -> dict[str, Any]:
    """Bars side by side as one area; steps lie midway between places, so both ends have one."""
    count = len(heights) - 2
    return {
        "type": "scatter",
        "mode": "lines",
        "x": np.r_[0, (np.arange(count) + 0.5) / count, 1],
        "y": heights,
        "line": {"shape": "hvh", "width": 0},
        "fill": "tozeroy",
        "fillcolor": colour,
        "hoverinfo": "skip",
    }


def _mark(x: float, colour: str, top: float) -> dict[str, Any]:
    """A dotted line like `vertical`'s, but one that a slider can move."""
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x, x],
        "y": [_FOOT, top],
        "line": {"color": colour, "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
    }


def grouped(numbers: Tensor) -> np.ndarray:
    """Whole numbers as they stand in a sentence.

    >>> grouped(torch.tensor([7, 10881])).tolist()
    ['7', '10,881']
    """
    return np.vectorize("{:,}".format)(numbers.numpy())


def survivor_curve(thresholds: Sequence[float], survivors: Tensor, translate: Translate) -> Figure:
    """Boxes left against the IoU threshold; trace 1 marks the threshold in use.

    Args:
        thresholds: IoU thresholds `[t]`.
        survivors: boxes left at each of them `[t]`, at one score threshold.

    >>> survivor_curve([0.0, 1.0], torch.tensor([1, 3]), str).data[0].y.tolist()
    [1, 3]
    """
    _ = translate
    curve = {
        "type": "scatter",
        "mode": "lines",
        "x": list(thresholds),
        "y": survivors.numpy(),
        "line": {"color": POSITIVE, "width": 3, "shape": "hv"},
        "showlegend": False,
        "hovertemplate": "IoU %{x:.2f}: %{y}<extra></extra>",
    }
    here = {
        "type": "scatter",
        "mode": "lines",
        "x": [0.5, 0.5],
        "y": [0, int(survivors.max())],
        "line": {"color": CHOSEN, "width": 2, "dash": "dot"},
        "showlegend": False,
        "hoverinfo": "skip",
    }
    axes = {"xaxis": {"range": [0, 1]}, "yaxis": {"rangemode": "tozero"}}
    return figure(_("IoU threshold"), _("Survivors"), [curve, here], height=220, **axes)


def score_decay(
    scores: Tensor,
    after: Mapping[str, Tensor],
    labels: Sequence[str],
    least: float,
    translate: Translate,
) -> Figure:
    """Each candidate's score before and after: hard NMS to zero, soft NMS part of the way.

    The last trace, 4, is the border of what is shown.

    Args:
        scores: before, falling `[n]`.
        after: for each of `METHODS` the score after, 0 where a box is dropped `[n]`.
        labels: class of each candidate.
        least: boxes below it are not shown in the end.

    >>> two = torch.tensor([0.9, 0.5])
    >>> len(score_decay(two, dict.fromkeys(METHODS, two), ["Cat", "Cat"], 0.2, str).data)
    5
    """
    _ = translate
    names = {"hard": _("hard"), "linear": _("linear"), "gaussian": _("Gaussian")}
    symbols = {"hard": "x-thin", "linear": "diamond", "gaussian": "circle"}
    rank = np.arange(1, len(scores) + 1)
    before = {
        "type": "bar",
        "x": rank,
        "y": scores.numpy(),
        "name": _("before"),
        "marker": {"color": "rgba(128, 128, 128, 0.3)", "line": {"width": 0}},
        "customdata": list(labels),
        "hovertemplate": "%{customdata} %{y:.3f}<extra></extra>",
    }
    dots = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": rank,
            "y": after[method].numpy(),
            "name": names[method],
            "marker": {
                "color": colour,
                "symbol": symbols[method],
                "size": 7,
                "line": {"width": 2 if method == "hard" else 0, "color": colour},
            },
            "hovertemplate": "%{y:.3f}<extra>" + names[method] + "</extra>",
        }
        for method, colour in METHODS.items()
    ]
    ends = [0, len(scores) + 1]
    border = {
        "type": "scatter",
        "mode": "lines",
        "x": ends,
        "y": [least, least],
        "line": {"color": NEGATIVE, "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return figure(
        _("Candidate, by score"),
        _("Score"),
        [before, *dots, border],
        height=300,
        xaxis={"range": ends},
        yaxis={"range": [-0.02, float(scores.max()) * 1.1]},
    )


# ---------------------------------------------------------------- layers of the stage


def grid_layers(anchors: Tensor, grid: AnchorMap, hint: str) -> list[Layer]:
    """A grid whose cells show their anchors, one colour a scale; the middle cell at first."""
    width, height = grid.columns * grid.stride_x, grid.rows * grid.stride_y
    shown = anchors[grid.first : grid.first + grid.per_cell]
    scales = box_area(shown).sqrt().round(decimals=1).unique(return_inverse=True)[1]
    cell = CellHover(
        "cells",
        grid.rows,
        grid.columns,
        width,
        height,
        shown,
        palette=tuple(SCALES[scale % len(SCALES)] for scale in scales.tolist()),
        cell=grid.rows // 2 * grid.columns + grid.columns // 2,
        hint=hint,
    )
    return [Grid(grid.rows, grid.columns, width, height), cell]


def divided(
    level: Tensor,
    thresholds: Sequence[float],
    of_positive: str,
    of_negative: str,
    *,
    negative: bool = True,
) -> dict[str, dict[str, Any]]:
    """Parts of `Boxes` by which two sliders label anchors as `match_anchors` does.

    Args:
        level: of the anchors `[k]`, from their matching.
        thresholds: at which both sliders stop.
        negative: whether negative anchors are shown too.
    """
    at = np.array(thresholds, np.float32)
    low = {of_positive: at, of_negative: at}
    high = {of_positive: np.nextafter(at, np.float32(2))}  # an IoU at the threshold is not above it
    bounds = {
        "positive": {"score_from": high},
        "ignored": {"score_from": low, "score_below": high},
        **({"negative": {"score_below": low}} if negative else {}),
    }
    return {name: {"scores": level, **bound} for name, bound in bounds.items()}


def sampled(batch: MiniBatch, sent: Tensor) -> dict[str, dict[str, Any]]:
    """Parts of `Boxes` by which only a mini-batch is shown; `sent` are the boxes' indices `[k]`."""
    return {
        name: {"category": torch.where(torch.isin(sent, mine), 0, HIDDEN)}
        for name, mine in vars(batch).items()
    }


def matching_layers(
    anchors: Tensor,
    match: Matching,
    sent: Tensor,
    shown: Mapping[str, Mapping[str, Any]],
    objects: Tensor,
    hint: str,
) -> list[Layer]:
    """Anchors in the colours of their labels, under the objects that the visitor edits.

    Args:
        anchors, match: the anchors and their matching `[n]`.
        sent: indices of the anchors that are sent `[k]`.
        shown: the labels that are shown, each with what `divided` or `sampled` gives for it.
        objects: the objects' boxes `[m, 4]`.
    """
    boxes, targets = anchors[sent], torch.zeros_like(anchors[sent])
    if len(objects):
        targets = encode_boxes(objects[match.matched[sent]], boxes)
    shared = {
        "columns": torch.cat([match.iou[sent, None], targets], dim=1),
        "tip": "IoU {0}   tx {1}   ty {2}   tw {3}   th {4}",
        "pickable": True,
        "opacity": 0.9,
    }
    pale = {"width": 1, "crowd_opacity": 0.3}
    looks = {"negative": pale, "ignored": pale, "positive": {"width": 2}}
    numbers = [str(number + 1) for number in range(MOST_BOXES)]
    return [
        *(
            Boxes(name, boxes, (LABELS[name],), **shown[name], **look, **shared)
            for name, look in looks.items()
            if name in shown
        ),
        Drawn("drawn", objects, labels=numbers, colour=CATEGORIES[6], hint=hint),
    ]


def target_layers(anchor: Tensor, box: Tensor, number: str, translate: Translate) -> list[Layer]:
    """An anchor, and the object that it is to become."""
    _ = translate
    return [
        Boxes("anchor", anchor[None], (POSITIVE,), labels=[_("anchor")], dashed=True, width=2),
        Boxes("object", box[None], (CATEGORIES[6],), labels=[number], width=2.5),
    ]


def sweep_layers(
    boxes: Tensor,
    scores: Tensor,
    kept: Tensor,
    labels: Sequence[str],
    iou_topic: str,
    score_topic: str,
    score_thresholds: Sequence[float],
) -> list[Layer]:
    """Candidates that two sliders suppress in the browser: survivors strong, dropped ones pale.

    Args:
        kept: rows as `sweep_nms` gives them `[t, n]`.
    """
    shared = {
        "scores": scores,
        "score_from": {score_topic: score_thresholds},
        "slider": iou_topic,
    }
    state = torch.where(kept, 0, HIDDEN)
    dropped = Boxes(
        "dropped",
        boxes,
        palette=(IGNORED,),
        category=torch.where(kept, HIDDEN, 0),
        opacity=0.45,
        width=1,
        hover=False,
        **shared,
    )
    stay = Boxes(
        "kept", boxes, palette=(POSITIVE,), category=state, labels=labels, width=2.5, **shared
    )
    return [dropped, stay]


def replay_layers(
    boxes: Tensor, scores: Tensor, states: Tensor, labels: Sequence[str], topic: str
) -> list[Layer]:
    """Candidates in the colours of their states, played by a slider over the steps."""

    def only(state: int) -> Tensor:
        return torch.where(states == state, 0, HIDDEN)

    played = {"scores": scores, "slider": topic}
    return [
        Boxes("waiting", boxes, (IGNORED,), only(WAITING), width=1, opacity=0.5, **played),
        Boxes("removed", boxes, (NEGATIVE,), only(REMOVED), width=1, opacity=0.8, **played),
        Boxes("kept", boxes, (POSITIVE,), only(KEPT), width=2, labels=labels, **played),
        Boxes("chosen", boxes, (CHOSEN,), only(CHOSEN_NOW), width=3.5, labels=labels, **played),
    ]


def labelled(names: Sequence[str], scores: Tensor) -> list[str]:
    """Names with their scores, as they stand on boxes.

    >>> labelled(["Cat"], torch.tensor([0.847]))
    ['Cat 0.85']
    """
    return [f"{name} {score:.2f}" for name, score in zip(names, scores.tolist(), strict=True)]


def soft_layers(
    boxes: Tensor,
    scores: Tensor,
    names: Sequence[str],
    method: str,
    topic: str,
    leasts: Sequence[float],
) -> list[Layer]:
    """The boxes that one of `METHODS` leaves, with their scores after it.

    Args:
        leasts: at each position of the slider `topic` the least score of what is shown.
    """
    labels, shown = labelled(names, scores), {topic: leasts}
    colour = (METHODS[method],)
    return [Boxes("left", boxes, colour, scores=scores, score_from=shown, labels=labels, width=2)]


def worked_layers(boxes: Tensor, parts: IouParts | None, hint: str) -> list[Layer]:
    """Two boxes to drag, and the box that they share."""
    shared = [] if parts is None or not parts.intersection else [parts.intersection_box.tolist()]
    return [
        Boxes("shared", shared, (POSITIVE,), fill_opacity=0.45, hover=False),
        Drawn("drawn", boxes, labels=["A", "B"], colour=CATEGORIES[1], live=True, hint=hint),
    ]


# ---------------------------------------------------------------- formulas and sentences


def object_table(
    match: Matching, positives: Tensor, translate: Translate
) -> dict[str, list[str | int]]:
    """For each object its best IoU, its positive anchors, and whether only the rule gives any."""
    _ = translate
    return {
        _("Object"): list(range(1, len(positives) + 1)),
        _("Best IoU"): [f"{iou:.2f}" for iou in match.best_iou.tolist()],
        _("Positive"): positives.tolist(),
        _("By rule"): ["✓" if saved else "" for saved in match.rescued.tolist()],
    }


def iou_formula(parts: IouParts) -> str:
    """The IoU of two boxes worked out with its numbers, as LaTeX."""
    x1, y1, x2, y2 = parts.intersection_box.tolist()
    shared, union = f"{parts.intersection:.0f}", f"{parts.union:.0f}"
    return rf"""\begin{{aligned}}
    |A \cap B| &= {x2 - x1:.0f} \cdot {y2 - y1:.0f} = {shared} \\
    |A \cup B| &= {parts.area1:.0f} + {parts.area2:.0f} - {shared} = {union} \\[0.4em]
    \text{{IoU}} &= \frac{{|A \cap B|}}{{|A \cup B|}}
    = \frac{{{shared}}}{{{union}}} = \mathbf{{{parts.iou:.3f}}}
    \end{{aligned}}"""


def target_formula(anchor: Tensor, box: Tensor) -> str:
    """The regression targets of one anchor worked out with their numbers, as LaTeX."""
    tx, ty, tw, th = encode_boxes(box[None], anchor[None])[0].tolist()
    (xa, ya, wa, ha), (x, y, w, h) = _centre_size(anchor), _centre_size(box)
    return rf"""\begin{{aligned}}
    t_x &= (x - x_a) / w_a = ({x:.1f} - {xa:.1f}) / {wa:.1f} = \mathbf{{{tx:.3f}}} \\
    t_y &= (y - y_a) / h_a = ({y:.1f} - {ya:.1f}) / {ha:.1f} = \mathbf{{{ty:.3f}}} \\
    t_w &= \ln(w / w_a) = \ln({w:.1f} / {wa:.1f}) = \mathbf{{{tw:.3f}}} \\
    t_h &= \ln(h / h_a) = \ln({h:.1f} / {ha:.1f}) = \mathbf{{{th:.3f}}}
    \end{{aligned}}"""


def _centre_size(box: Tensor) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box.tolist()
    return (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1


def replay_sentences(
    suppression: Suppression, labels: Sequence[str], translate: Translate
) -> list[str]:
    """What happens at each step of the replay, the start first."""
    _ = translate
    told = [_("**{count}** candidates wait, the best score first.").format(count=len(labels))]
    for step, box in enumerate(suppression.kept.tolist(), start=1):
        overlaps = (
            suppression.removed_iou[suppression.removed_by == box].sort(descending=True).values
        )
        listed = _(", ").join(f"{iou:.2f}" for iou in overlaps[:5].tolist()) + (
            "…" if len(overlaps) > 5 else ""
        )
        sentence = (
            _("Step {step}: **{box}** stays and drops **{count}**, IoU {listed}.")
            if len(overlaps)
            else _("Step {step}: **{box}** stays and drops none.")
        )
        told.append(sentence.format(step=step, box=labels[box], count=len(overlaps), listed=listed))
    return told
