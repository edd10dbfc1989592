"""What a live figure sends, what it believes of a browser, and what stands in for it."""

import base64
import json
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from ui.live import figure
from ui.live.figure import FigureEvent, Sweep, live_figure


def drawing() -> go.Figure:
    return go.Figure(go.Heatmap(z=np.arange(6, dtype=np.float32).reshape(2, 3)))


@pytest.fixture
def draw(monkeypatch):
    """Draw a figure and give back what it returned and what was sent."""
    session: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", session)

    def one(state: Any = None, chart: go.Figure | None = None, **options: Any):
        sent: dict[str, Any] = {}

        def mount(name, meta, arrays, *, key, **events):
            sent.update(name=name, meta=meta, arrays=arrays, key=key, events=events)

        monkeypatch.setattr(figure, "mount", mount)
        session["chart"] = state
        found = live_figure(chart or drawing(), key="chart", label="A chart", **options)
        return found, sent

    return one


def test_the_figure_travels_as_plotly_json(draw):
    _found, sent = draw(step="page.step")
    received = json.loads(sent["arrays"]["figure"])
    assert received["data"][0]["type"] == "heatmap"
    content = received["data"][0]["z"]
    sent_as = np.frombuffer(base64.b64decode(content["bdata"]), "<f4")  # not a list of numbers
    assert sent_as.reshape(2, 3).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert sent["name"] == "figure"
    assert sent["meta"]["step"] == "page.step"
    assert sent["meta"]["label"] == "A chart"
    assert sent["meta"]["plotly"].endswith("/plotly.min.js")


def test_the_height_is_the_layouts(draw):
    assert draw()[1]["meta"]["height"] == 360
    assert draw(chart=go.Figure(layout={"height": 220}))[1]["meta"]["height"] == 220


def test_sweeps_travel_as_arrays_beside_the_figure(draw):
    rows = np.arange(4.0).reshape(2, 2)
    sweeps = [Sweep("page.iou", 0, "y", rows), Sweep("page.k", 1, "marker.color", rows.T)]
    _found, sent = draw(sweeps=sweeps)
    assert [sent["arrays"][place["array"]] for place in sent["meta"]["sweeps"]] == [
        rows,
        pytest.approx(rows.T),
    ]
    assert [place["topic"] for place in sent["meta"]["sweeps"]] == ["page.iou", "page.k"]
    assert [place["trace"] for place in sent["meta"]["sweeps"]] == [0, 1]
    assert [place["attribute"] for place in sent["meta"]["sweeps"]] == ["y", "marker.color"]


def test_unknown_events_are_refused_by_name(draw):
    with pytest.raises(ValueError, match=r"events must be among .*\['tap'\]"):
        draw(events=["click", "tap"])


def clicked(points: Any = None, kind: Any = "click") -> dict[str, Any]:
    given = [{"trace": 0, "index": [1, 2], "x": 2, "y": 1}] if points is None else points
    return {"event": {"kind": kind, "points": given, "serial": 1}}


def test_an_event_is_returned(draw):
    found, sent = draw(clicked(), events=["click", "hover"])
    assert found == FigureEvent("click", [{"trace": 0, "index": [1, 2], "x": 2, "y": 1}])
    assert sent["meta"]["events"] == ["click", "hover"]
    assert draw({}, events=["click"])[0] is None


@pytest.mark.parametrize(
    "state",
    [
        None, 7, [], "click", {"event": None}, {"event": "click"}, {"event": {"kind": "click"}},
        clicked(kind="hover"), clicked(kind="tap"), clicked(kind=None), clicked(kind=["click"]),
        clicked(kind={}), clicked(points=7), clicked(points="x"), clicked(points={}),
    ],
    ids=str,
)  # fmt: skip
def test_odd_events_are_ignored(draw, state):
    assert draw(state, events=["click"])[0] is None


def test_odd_points_are_left_out_and_their_number_is_bounded(draw):
    found, _sent = draw(clicked([None, 7, "x", [], {"x": 1}]), events=["click"])
    assert found.points == [{"x": 1}]
    found, _sent = draw(clicked([{"x": 1}] * 100_000), events=["click"])
    assert len(found.points) == 1000


def fallback() -> None:
    """Two figures; the browser half of one says in the first run that its script cannot load."""
    import plotly.graph_objects as go
    import streamlit as st

    from ui.live import figure

    class Session(dict):
        """What Streamlit keeps, with the state of a piece in it for as long as it is drawn."""

    kept = st.session_state
    session = kept.setdefault("session", Session(chart={"failed": True}))
    figure.st.session_state = session
    try:
        for key in ("chart", "other"):
            chart = go.Figure(go.Scatter(y=[1, 2]))
            assert figure.live_figure(chart, key=key, label="A chart") is None
    finally:
        figure.st.session_state = kept
    session.pop("chart", None)


def test_streamlits_own_chart_stands_in_where_the_script_cannot_load_and_stays():
    app = AppTest.from_function(fallback).run()
    for _ in range(2):
        assert not app.exception
        assert len(app.get("plotly_chart")) == 1
        assert len(app.get("bidi_component")) == 1
        app.run()
