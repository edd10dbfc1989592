"""Stages with every layer, for the browser tests. `?case=` chooses one."""

import io
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from figures.stage import Boxes, CellHover, Drawn, Grid, HeatMap, PatchMaps, Points
from ui.live.channel import component
from ui.live.stage import stage, stage_event
from ui.news import tell_only_news


class Sample:
    def __init__(self, width: int = 480, height: int = 320) -> None:
        self.width, self.height = width, height

    def jpeg(self) -> bytes:
        down, across = np.mgrid[0 : self.height, 0 : self.width]
        ramp = [across % 256, down % 256, (across // 40 + down // 40) % 2 * 200]
        file = io.BytesIO()
        picture = np.stack(ramp, -1).astype(np.uint8)
        Image.fromarray(picture).save(file, "JPEG", quality=85)
        return file.getvalue()


GREEN, RED, GREY = "#009E73", "#D55E00", "#999999"
SIZE = (480, 320)
photo = Sample(*SIZE)
st.set_page_config(layout="wide")
tell_only_news()
component("language")(data={"language": "en"}, key="language_of_page")


def many(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    centre = random.uniform((0, 0), SIZE, (count, 2))
    half = random.choice([8, 16, 32, 64, 128], (count, 1)) * random.uniform(0.4, 0.6, (count, 2))
    return np.concatenate([centre - half, centre + half], 1)


def boxes() -> None:
    """Two sliders of the browser play a sweep; one box is picked."""
    corners = [[40, 40, 200, 200], [60, 60, 120, 120], [300, 100, 460, 300], [310, 20, 400, 80]]
    state = np.array([[0, 1, 2, 0], [0, 255, 2, 0], [0, 255, 255, 255]], np.uint8)
    layer = Boxes(
        "found",
        corners,
        palette=(GREEN, RED, GREY),
        category=state,
        slider="iou",
        scores=[0.9, 0.8, 0.4, 0.2],
        score_from={"score": [0.0, 0.3, 0.5], "least": [1.0, 0.4]},
        score_below={"most": [1.0, 0.9, 0.2]},
        labels=["person", "cup", "chair", ""],
        columns=[0.53, 0.12345, 1234.5, np.nan],
        tip="IoU {0}",
        pickable=True,
    )
    event = stage(photo, [layer], key="stage", label="Boxes on a test picture", step="nms")
    st.text(f"picked {event.picked}")


def cells() -> None:
    rows, columns = 4, 6
    half = np.array([[30, 60], [60, 30], [60, 60]])
    corners = np.concatenate([40 - half, 40 + half], axis=1)
    layers = [
        Grid(rows, columns, 480, 320),
        CellHover(
            "cells",
            rows,
            columns,
            480,
            320,
            corners,
            (GREEN, RED, "#0072B2"),
            hint="Point at a cell.",
        ),
    ]
    event = stage(photo, layers, key="stage", label="Anchors of a cell", margin=0.1)
    st.text(f"cell {event.cell}")


def drawn() -> None:
    revision = st.number_input("revision", 0, 9, 0)
    given = [(20, 20, 100, 100)] if revision else []
    event = stage_event("stage", SIZE, boxes=given, revision=revision)
    layer = Drawn(
        "objects",
        given,
        labels=[f"object {index}" for index in range(len(event.boxes))],
        live="live" in st.query_params,
        hint="Drag on the photo to draw a box.",
    )
    event = stage(photo, [layer], key="stage", label="Objects", revision=revision)
    st.text(f"boxes {[tuple(round(place) for place in box) for box in event.boxes]}")
    st.session_state.runs = st.session_state.get("runs", 0) + 1
    st.text(f"runs {st.session_state.runs}")


def heat() -> None:
    ramp = np.linspace(-1, 1, 12 * 8).reshape(8, 12)
    states = np.stack([ramp, -ramp])
    layers = [
        HeatMap("map", states, -1, 1, "diverging", "gate (a.u.)", slider="layer"),
        Points("peaks", [[60, 60], [400, 200]], labels=["first", "second"]),
    ]
    stage(photo, layers, key="stage", label="A map", step="heat")


def leaving() -> None:
    """A stage that can be taken away."""
    if st.checkbox("Stage", value=True):
        heat()


def patches() -> None:
    random = np.random.default_rng(0)
    maps = random.random((256, 16, 16)).astype(np.float32)
    maps[np.arange(256), np.arange(256) // 16, np.arange(256) % 16] = 3
    layer = PatchMaps("attention", 16, 16, maps, 0, 3, "magma", "attention")
    event = stage(photo, [layer], key="stage", label="Attention of a patch")
    st.text(f"cell {event.cell}")


def crowd() -> None:
    category = np.random.default_rng(1).choice(3, (6, 20_000), p=[0.1, 0.1, 0.8])
    category[5, 300:] = 255
    layer = Boxes(
        "anchors",
        many(20_000),
        palette=(GREEN, RED, GREY),
        category=category,
        slider="iou",
        columns=np.linspace(0, 1, 20_000),
        tip="IoU {0}",
        crowd_opacity=0.6,
    )
    stage(photo, [layer], key="stage", label="20,000 boxes")


def look() -> None:
    """Everything at once, to be looked at."""
    path = Path("assets/photos/night_cafe.jpg")
    st.subheader("The stage")

    class Painting:
        width, height = 634, 500

        def jpeg(self) -> bytes:
            return path.read_bytes()

    found = [[404, 152, 458, 262], [520, 213, 604, 345], [76, 154, 138, 252], [185, 27, 229, 92]]
    near = [[398, 148, 470, 270], [380, 140, 450, 250], [230, 202, 456, 400], [134, 362, 211, 500]]
    layers = [
        Boxes(
            "found",
            found + near,
            palette=(GREEN, RED, GREY, "#0072B2"),
            category=[0, 0, 0, 3, 2, 1, 0, 3],
            labels=[
                "person 0.91",
                "person 0.88",
                "人 0.62",
                "clock 0.41",
                "",
                "person 0.35",
                "",
                "chair",
            ],
            scores=[0.91, 0.88, 0.62, 0.41, 0.2, 0.35, 0.5, 0.45],
            columns=np.array([0.91, 0.88, 0.62, 0.41, 0.2, 0.35, 0.5, 0.45, *range(8)])
            .reshape(2, 8)
            .T,
            tip="score {0}   class {1}",
            pickable=True,
        ),
        Drawn("objects", [(230, 202, 456, 400)], labels=["billiard table"], hint="Drag to draw."),
    ]
    stage(Painting(), layers, key="stage", label="The Night Café", height=560, step="look")


CASES = {case.__name__: case for case in (boxes, cells, drawn, heat, leaving, patches, crowd, look)}
st.fragment(CASES[st.query_params.get("case", "boxes")])()
