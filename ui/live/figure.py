"""The live figure: any Plotly figure, updated in place, played from sweeps in the browser."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from figures.plain import Figure
from ui.live.channel import mount, plotly_url

_EVENTS = ("click", "hover", "select")
_MOST_POINTS = 1000
_FAILED = "live.figures_failed"


@dataclass(frozen=True)
class Sweep:
    """One attribute of one trace over all positions of a slider.

    Of several for the same attribute the one counts whose slider moved last. So a state may lie
    on several sweeps that cross in it, without one for every combination of their sliders.

    Attributes:
        topic: key of the slider that plays it, or of what is pointed at: see `points_at`.
        trace: index of the trace.
        attribute: path inside the trace, such as `"y"` or `"marker.color"`.
        values: array `[positions, ...]`; row i is the attribute at position i.
    """

    topic: str
    trace: int
    attribute: str
    values: np.ndarray


@dataclass(frozen=True)
class Grip:
    """A point that is dragged over a figure, or put anywhere on it by a click.

    Attributes:
        x, y: keys of the sliders that it moves, and that move it.
        xs, ys: the sliders' values, in units of the figure's axes.
    """

    x: str
    y: str
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(frozen=True)
class FigureEvent:
    """What the visitor last did to a figure: `kind` and the points concerned.

    Each point is a dict with `trace`, `index` (an int, or row and column on a heat map), `x`, `y`.
    """

    kind: str
    points: list[dict[str, Any]]


def live_figure(
    figure: Figure | go.Figure,
    *,
    key: str,
    label: str,
    sweeps: Sequence[Sweep] = (),
    events: Sequence[str] = (),
    points_at: Mapping[int, str] | None = None,
    grip: Grip | None = None,
    step: str = "",
) -> FigureEvent | None:
    """Draw a Plotly figure in place; zoom, hover and pinned ghosts survive a change.

    Args:
        figure: its height is taken from the layout, 360 px by default; its width is the column's.
        label: what a screen reader says of it.
        sweeps: attributes that follow sliders in the browser, without the server.
        events: which of `click`, `hover` and `select` are reported.
        points_at: for a trace the key of a slider that moves, in the browser, to the index of the
            point under the pointer.
        grip: a point to drag, in place of zooming.
        step: the page step whose toolbar exports and pins it.

    Returns:
        The last event reported, or None.
    """
    unknown = set(events) - set(_EVENTS)
    if unknown:
        raise ValueError(f"events must be among {_EVENTS}, got {sorted(unknown)}")
    figure = figure if isinstance(figure, Figure) else Figure.of(figure)
    state = st.session_state.get(key)
    state = state if isinstance(state, Mapping) else {}
    failed = st.session_state.setdefault(_FAILED, set())
    if state.get("failed"):
        failed.add(key)
    if key in failed:  # Streamlit forgets the state of a piece that is not drawn
        st.plotly_chart(figure.checked, key=f"{key}.plain", config={"displaylogo": False})
        return None
    arrays: dict[str, np.ndarray | bytes] = {"figure": figure.to_json()}
    places = []
    for number, sweep in enumerate(sweeps):
        name = f"sweep{number}"
        arrays[name] = sweep.values
        place = {"topic": sweep.topic, "trace": sweep.trace, "attribute": sweep.attribute}
        places.append({**place, "array": name})
    meta = {
        "plotly": plotly_url(),
        "label": label,
        "height": figure.plan.get("height", 360),
        "sweeps": places,
        "events": list(events),
        "points_at": {str(trace): topic for trace, topic in (points_at or {}).items()},
        "grip": grip and _axes(grip),
        "step": step,
    }
    mount("figure", meta, arrays, key=key, on_event_change=_nothing, on_failed_change=_nothing)
    return _event(state.get("event"), events)


def _axes(grip: Grip) -> dict[str, dict[str, Any]]:
    return {
        "x": {"topic": grip.x, "values": list(grip.xs)},
        "y": {"topic": grip.y, "values": list(grip.ys)},
    }


def _nothing() -> None:
    """Streamlit reports a component's state only if it has a callback."""


def _event(event: Any, events: Sequence[str]) -> FigureEvent | None:
    if not isinstance(event, Mapping) or event.get("kind") not in events:
        return None
    points = event.get("points")
    if not isinstance(points, list):
        return None
    keep = [dict(p) for p in points[:_MOST_POINTS] if isinstance(p, Mapping)]
    return FigureEvent(event["kind"], keep)
