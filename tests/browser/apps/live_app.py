"""Sliders, figures and sentences, for the browser tests. `?case=` chooses one."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from figures.initialization import told
from ui.live.bars import bars_serial, live_bars, set_bars
from ui.live.channel import component
from ui.live.figure import Sweep, live_figure
from ui.live.sentence import Follow, live_sentence
from ui.live.slider import live_slider, move, positions
from ui.live.table import live_table
from ui.live.training import live_training, training_serial
from ui.news import tell_only_news
from ui.toolbar import toolbar

COUNT = 101
STRINGS = {"back": "Back", "play": "Play", "pause": "Pause", "forward": "Forward"}
st.set_page_config(layout="wide")
tell_only_news()
component("language")(data={"language": "en"}, key="language_of_page")


def count_runs() -> None:
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.text(f"runs {st.session_state.runs}")


def slider() -> None:
    """A slider that Python can move; `?slow=` makes each run take so many milliseconds."""
    for label, value in {"Ten": 10, "Ninety": 90}.items():
        st.button(label, on_click=move, args=("level", value, "level"))
    level = live_slider(
        "Level", range(COUNT), 50, key="level", query="level", unit="px", help="How high"
    )
    time.sleep(float(st.query_params.get("slow", 0)) / 1000)
    st.text(f"level {level}")
    count_runs()


def named() -> None:
    """Stops with names, a logarithmic scale, and a slider that reports on release only."""
    mode = live_slider("Mode", ["same", "valid", "full"], "same", key="mode", query="mode")
    rate = live_slider(
        "Rate", positions(1e-4, 1.0, 1, "log"), 0.01, key="rate", query="rate", live=False
    )
    st.text(f"mode {mode} rate {rate}")


def play() -> None:
    step = live_slider(
        "Step", range(6), 1, key="step", query="step", play=True, live=False, strings=STRINGS
    )
    st.text(f"step {step}")
    count_runs()


def bars(level: int) -> go.Figure:
    made = go.Figure(go.Bar(x=list(range(10)), y=[level * (n + 1) for n in range(10)]))
    made.add_scatter(x=list(range(10)), y=[5] * 10, mode="markers", marker={"size": 16})
    return made.update_layout(height=300, title={"text": f"Level {level}"}, showlegend=False)


def figure() -> None:
    """A figure that the server draws anew for each position."""
    level = live_slider("Level", range(COUNT), 50, key="level")
    event = live_figure(
        bars(level),
        key="bars",
        label="Bars",
        step="page.bars",
        events=["click", "hover"] if "hover" in st.query_params else ["click"],
    )
    st.text(f"level {level}")
    st.text(f"event {event}")
    count_runs()


def several() -> None:
    """Three figures, one below the other, and one more on demand; a box takes them away."""
    level = live_slider("Level", range(COUNT), 50, key="level")
    keys = ["one", "two", "three"] if st.checkbox("Figures", value=True) else []
    for key in keys + ["four"] * st.checkbox("More"):
        live_figure(bars(level).update_layout(height=150), key=key, label=key)
    st.text(f"level {level}")


def heat() -> None:
    """A heat map whose cells can be clicked."""
    made = go.Figure(go.Heatmap(z=np.arange(12).reshape(3, 4)))
    event = live_figure(
        made.update_layout(height=300, dragmode="select"),
        key="heat",
        label="Heat map",
        events=["click"],
    )
    st.text(f"event {event}")


def select() -> None:
    made = go.Figure(go.Scatter(x=[0, 1, 2, 3], y=[0, 1, 2, 3], mode="markers"))
    event = live_figure(
        made.update_layout(height=300, dragmode="select"),
        key="select",
        label="Points",
        events=["select"],
    )
    st.text(f"event {event}")


def sweep() -> None:
    """Small and large sweeps that a slider plays in the browser."""
    live_slider("Level", range(COUNT), 50, key="level", live=False, play=True, strings=STRINGS)
    levels = np.arange(COUNT)[:, None]
    curves = levels * np.arange(10)
    wide = levels[:, :, None] + np.arange(64).reshape(1, 4, 16)
    made = go.Figure(go.Scatter(x=list(range(10)), y=curves[50]))
    made.add_scatter(x=[0] * 10, y=list(range(10)), mode="markers")
    both = [Sweep("level", 0, "y", curves), Sweep("level", 1, "marker.size", curves % 7 + 3)]
    live_figure(made.update_layout(height=300), key="curve", label="Curve", sweeps=both)
    maps = go.Figure(go.Heatmap(z=wide[50]))
    live_figure(
        maps.update_layout(height=200),
        key="maps",
        label="Maps",
        sweeps=[Sweep("level", 0, "z", wide)],
    )
    count_runs()


def table() -> None:
    """A table that follows a slider."""
    live_slider("Level", range(COUNT), 50, key="level", live=False)
    numbers = [[level, 2 * level] for level in range(COUNT)]
    once = Follow(["level"], numbers)
    twice = Follow(["level"], [[2 * number for number in row] for row in numbers])
    live_table({"once": once, "twice": twice}, key="table")


def sentence() -> None:
    """A sentence that follows two sliders; its numbers are a table of both."""
    live_slider("Rows", range(4), 0, key="rows", live=False)
    live_slider("Columns", range(5), 2, key="columns", live=False)
    table = [[row * 10 + column for column in range(5)] for row in range(4)]
    live_sentence(
        "At {row} and {column} stands **{number}**, not {unknown}.",
        key="told",
        step="page.told",
        pinned="Kept",
        numbers={
            "row": Follow(["rows"], ["zero", "one", "two", "three"]),
            "column": Follow(["columns"], range(5)),
            "number": Follow(["rows", "columns"], table),
        },
    )
    count_runs()


SIZES = [0.0, 2e-17, 9.99e-4, 0.001, 0.0123, 1.5, 10.0, 99.4, 99.7, 9999.0, 10300.0, 3e38, np.inf]


def sizes() -> None:
    """A sentence with the same number twice: told by the browser, and by Python."""
    live_slider("Size", range(len(SIZES)), 0, key="size", live=False)
    ours, pythons = Follow(["size"], np.array(SIZES)), Follow(["size"], [*map(told, SIZES)])
    numbers = {"number": ours, "text": pythons}
    live_sentence("{number} is {text}", key="told", step="page.told", numbers=numbers)
    count_runs()


@dataclass(frozen=True)
class Counted:
    step: int


def count_up(length: int) -> Iterator[Counted]:
    for step in range(0, length + 1, 10):
        time.sleep(0.05)
        yield Counted(step)


def training() -> None:
    """A long computation whose length Python can change."""
    length = st.radio("Length", [300, 2000])
    strings = {"start": "Train", "pause": "Pause", "again": "From the start"}
    states = live_training(
        lambda: count_up(length),
        length,
        key="count",
        length=length,
        strings={**strings, "progress": "Step {step} of {length}"},
    )
    st.text(f"states {len(states)}")
    count_runs()
    answered = {"count": training_serial("count")}
    toolbar("step", "page", offers=[], tables={}, acknowledgements=answered, calls=[])


def upright() -> None:
    """Three numbers dragged up and down."""
    values = live_bars(
        "Logits",
        ["a", "b", "c"],
        [1.0, 0.0, -1.0],
        low=-2.0,
        high=2.0,
        step=0.5,
        key="logits",
        query="logits",
    )
    st.text(f"values {values}")
    st.button("Set", on_click=set_bars, args=("logits", [2.0, 2.0, 2.0]))
    answered = {"logits": bars_serial("logits")}
    toolbar("step", "page", offers=[], tables={}, acknowledgements=answered, calls=[])


def stacked() -> None:
    """Two factors, told as powers of ten and dragged to the right."""
    span = {"low": -2.0, "high": 2.0, "step": 1.0}
    options = {"key": "factors", "query": "factors", "stacked": True, "power": True}
    values = live_bars("Factors", ["AdaDelta", "Momentum"], [0.0, 0.0], **span, **options)
    st.text(f"values {values}")
    answered = {"factors": bars_serial("factors")}
    toolbar("step", "page", offers=[], tables={}, acknowledgements=answered, calls=[])


PIECES = (
    slider,
    named,
    play,
    figure,
    several,
    heat,
    select,
    sweep,
    table,
    sentence,
    sizes,
    training,
    upright,
    stacked,
)
CASES = {case.__name__: case for case in (*PIECES, upright, stacked)}
st.fragment(CASES[st.query_params.get("case", "slider")])()
