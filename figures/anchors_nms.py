"""Figures of the Anchors & NMS page. All words come from the caller, in the page's language."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from figures.style import CATEGORIES, CHOSEN, IGNORED, NEGATIVE, POSITIVE, figure

METHODS = {"hard": IGNORED, "linear": CATEGORIES[1], "gaussian": CHOSEN}


def iou_histogram(
    counts: np.ndarray, positive: float, negative: float, words: Mapping[str, str]
) -> go.Figure:
    """How many anchors reach which best IoU, on a log scale, coloured by what the thresholds say.

    Args:
        counts: anchors per bin; the bins divide [0, 1] evenly.
        positive, negative: the two thresholds.
        words: `iou`, `anchors`, `positive`, `ignored`, `negative`.

    >>> iou_histogram(np.array([5, 0]), 0.7, 0.3, WORDS).data[0].y.tolist()
    [5, 0]
    """
    centres = (np.arange(len(counts)) + 0.5) / len(counts)
    colours = np.where(
        centres > positive, POSITIVE, np.where(centres < negative, NEGATIVE, IGNORED)
    )
    drawn = figure(words["iou"], words["anchors"], height=230)
    drawn.add_bar(
        x=centres,
        y=counts,
        width=1 / len(counts),
        marker={"color": colours, "line": {"width": 0}},
        hovertemplate="IoU %{x:.2f}: %{y}<extra></extra>",
    )
    for name, value, colour in (
        ("negative", negative, NEGATIVE),
        ("positive", positive, POSITIVE),
    ):
        drawn.add_vline(
            x=value,
            line={"color": colour, "width": 2, "dash": "dot"},
            annotation={"text": words[name], "font": {"size": 12}, "yanchor": "bottom", "y": 1},
            annotation_position="top left" if name == "negative" else "top right",
        )
    drawn.update_yaxes(type="log", dtick=1, rangemode="tozero")
    drawn.update_xaxes(range=[0, 1])
    return drawn


def survivor_curve(
    thresholds: np.ndarray, survivors: np.ndarray, candidates: int, words: Mapping[str, str]
) -> go.Figure:
    """Boxes left against the IoU threshold; trace 1 marks the threshold in use.

    Args:
        thresholds: IoU thresholds `[t]`.
        survivors: boxes left at each of them `[t]`, at one score threshold.
        candidates: boxes before suppression, the height of the figure.
        words: `threshold`, `survivors`, `in_use`.
    """
    drawn = figure(words["threshold"], words["survivors"], height=230)
    drawn.add_scatter(
        x=thresholds,
        y=survivors,
        mode="lines",
        line={"color": CHOSEN, "width": 3, "shape": "hv"},
        name=words["survivors"],
        hovertemplate="IoU %{x:.2f}: %{y}<extra></extra>",
    )
    middle = thresholds[len(thresholds) // 2]
    drawn.add_scatter(
        x=[middle, middle],
        y=[0, candidates],
        mode="lines",
        line={"color": NEGATIVE, "width": 2, "dash": "dot"},
        name=words["in_use"],
        hoverinfo="skip",
    )
    drawn.update_xaxes(range=[0, 1])
    drawn.update_yaxes(rangemode="tozero")
    return drawn


def score_decay(
    scores: np.ndarray,
    decayed: Mapping[str, np.ndarray],
    labels: Sequence[str],
    score_threshold: float,
    words: Mapping[str, str],
) -> go.Figure:
    """Each candidate's score before and after: hard NMS to zero, soft NMS part of the way.

    Args:
        scores: before, falling `[n]`.
        decayed: for each of `METHODS`, the score after, 0 where a box is dropped `[n]`.
        labels: class of each candidate.
        score_threshold: boxes below it are not shown in the end.
        words: `rank`, `score`, `before`, `hard`, `linear`, `gaussian`, `kept_from`.
    """
    drawn = figure(words["rank"], words["score"], height=300)
    rank = np.arange(1, len(scores) + 1)
    drawn.add_bar(
        x=rank,
        y=scores,
        name=words["before"],
        marker={"color": "rgba(128, 128, 128, 0.3)"},
        customdata=labels,
        hovertemplate="%{customdata} %{y:.3f}<extra></extra>",
    )
    marks = {"hard": "x-thin", "linear": "diamond", "gaussian": "circle"}
    for method, colour in METHODS.items():
        drawn.add_scatter(
            x=rank,
            y=decayed[method],
            mode="markers",
            name=words[method],
            marker={
                "color": colour,
                "symbol": marks[method],
                "size": 8,
                "line": {"width": 2 if method == "hard" else 0, "color": colour},
            },
            hovertemplate="%{y:.3f}<extra>" + words[method] + "</extra>",
        )
    drawn.add_hline(
        y=score_threshold,
        line={"color": NEGATIVE, "width": 1.5, "dash": "dot"},
        annotation={"text": words["kept_from"], "font": {"size": 12}},
        annotation_position="top right",
    )
    drawn.update_yaxes(range=[0, max(0.05, float(scores.max(initial=0)) * 1.12)])
    drawn.update_xaxes(dtick=max(1, len(scores) // 10))
    return drawn


WORDS = {name: name for name in ("iou", "anchors", "positive", "ignored", "negative")}
