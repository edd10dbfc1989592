"""The stage: the visitor's photo under layers that answer to pointer and keyboard in the browser.

Python sends arrays once; hovering, drawing and the sliders that play a stack of states need no
server. What Python learns is small: the box picked, the cell pinned, the boxes drawn.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike

from figures.stage import MOST_BOXES, Encoded, Layer
from ui.live.channel import mount

STRINGS = {
    "cell": "Cell {row}, {column}",
    "box": "{name} box {index} of {count}: {x1}, {y1} to {x2}, {y2}",
    "delete": "Delete",
    "deleted": "Box deleted",
    "keys_boxes": "Arrow keys: from box to box. Enter: pick.",
    "keys_cells": "Arrow keys: from cell to cell. Enter: pin.",
    "keys_drawn": "Plus: new box. Tab: next box. Arrow keys: move, with Shift ten times as far, "
    "with Alt resize. Delete: remove.",
}
"""Every word of the stage; a page in another language passes its own."""

_COLOURS = {
    "chosen": "#0072B2",
    "dark": "rgba(10, 14, 20, 0.55)",
    "light": "rgba(255, 255, 255, 0.65)",
    "plate": "rgba(16, 20, 26, 0.84)",
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


class Picture(Protocol):
    """What the stage wants of a photo: its size in pixels and itself as a JPEG."""

    width: int
    height: int

    def jpeg(self) -> bytes:
        """The photo as JPEG bytes."""
        ...


# ---------------------------------------------------------------- the stage


@dataclass(frozen=True)
class StageEvent:
    """What the visitor has done on a stage.

    Attributes:
        picked: layer and index of the picked box.
        cell: index of the pinned cell or patch, row by row.
        at: middle of the pinned cell or patch in photo pixels, (x, y): in another grid of a
            `CellHover` the cell is pinned that lies there.
        boxes: the drawn boxes, corners in photo pixels within the photo; None without `Drawn`.
    """

    picked: tuple[str, int] | None = None
    cell: int | None = None
    boxes: list[tuple[float, float, float, float]] | None = None
    at: tuple[float, float] | None = None


def stage(
    photo: Picture | None,
    layers: Sequence[Layer],
    *,
    key: str,
    label: str,
    size: tuple[int, int] | None = None,
    height: int | None = None,
    margin: float = 0.0,
    step: str = "",
    revision: int = 0,
    strings: Mapping[str, str] | None = None,
    on_event: Callable[[], None] | None = None,
) -> StageEvent:
    """Show `photo` under `layers`; returns what the visitor has done so far.

    The browser keeps picks and drawn boxes as they are until `revision` changes; then it
    forgets them and takes the boxes of `Drawn` anew, for a preset or a reset.

    Args:
        photo: None shows a plain panel of `size`.
        layers: drawn in this order, names all different; at most one `CellHover` or `PatchMaps`
            and one `Drawn`.
        key: of the component in the session.
        label: what is seen, for screen readers.
        size: (width, height) in photo pixels, where there is no photo.
        height: most height in CSS pixels; by default what fits the window.
        margin: room around the photo, as a fraction of its sides, in [0, 2].
        step: whose toolbar exports and pins this stage.
        revision: any integer; see above.
        strings: replacements for `STRINGS`.
        on_event: called when the visitor has picked, pinned or drawn, before the script runs.

    Raises:
        ValueError: if an argument does not fit, naming it.
    """
    if photo is None and size is None:
        raise ValueError("size is None, without a photo it is (width, height)")
    size = (photo.width, photo.height) if photo is not None else size
    _check(layers, label, margin, strings)
    encoded = [layer.encode(size) for layer in layers]
    drawn = next((layer.boxes for layer in layers if layer.kind == "drawn"), None)
    event = _within(stage_event(key, size, boxes=drawn, revision=revision), encoded)
    arrays: dict[str, np.ndarray | bytes] = {
        f"{header['name']}.{part}": values
        for header, parts in encoded
        for part, values in parts.items()
    }
    jpeg = photo.jpeg() if photo is not None else b""
    if jpeg:
        arrays["photo"] = jpeg
    meta = {
        "photo": blake2b(jpeg, digest_size=8).hexdigest() if jpeg else "",
        "size": size,
        "height": height,
        "margin": margin,
        "label": label,
        "step": step,
        "layers": [header for header, _ in encoded],
        "strings": STRINGS | dict(strings or {}),
        "colours": _COLOURS,
        "most_boxes": MOST_BOXES,
        "revision": revision,
        "ack": _serial(key),
        "state": {"picked": event.picked, "cell": event.cell, "boxes": event.boxes or []},
    }
    mount("stage", meta, arrays, key=key, on_stage_change=on_event or _nothing)
    return event


def stage_event(
    key: str, size: tuple[int, int], *, boxes: ArrayLike | None = None, revision: int = 0
) -> StageEvent:
    """What the visitor did on the stage `key`, readable before that stage is drawn in this run.

    A page needs it where the layers depend on the boxes that the visitor drew. The index in
    `picked` and the cell may lie outside the layers of this run; `stage` returns them checked.

    Args:
        key: of the stage.
        size: (width, height) of the photo in pixels; drawn boxes are clipped to it.
        boxes: those of `Drawn`, which hold as long as the visitor has changed none.
        revision: the one given to `stage`.

    >>> stage_event("nowhere", (640, 480), boxes=[(0, 0, 900, 60)]).boxes
    [(0.0, 0.0, 640.0, 60.0)]
    """
    state = _state(key)
    given = None if boxes is None else _drawn(np.asarray(boxes, float).tolist(), size)
    if state.get("revision") != revision:
        return StageEvent(boxes=given)
    return StageEvent(
        picked=_picked(state.get("picked")),
        cell=_index(state.get("cell")),
        boxes=given if given is None else _drawn(state.get("boxes"), size),
        at=_numbers(state.get("at"), 2),
    )


# ---------------------------------------------------------------- what the browser says


def _nothing() -> None:
    """A component's state is kept only where a callback is registered for it."""


def _state(key: str) -> Mapping[str, Any]:
    held = st.session_state.get(key)
    state = held.get("stage") if isinstance(held, Mapping) else None
    return state if isinstance(state, Mapping) else {}


def _serial(key: str) -> int:
    return _index(_state(key).get("serial")) or 0


def _index(value: Any) -> int | None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < 2**53 else None


def _picked(value: Any) -> tuple[str, int] | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    name, index = value[0], _index(value[1])
    return (name, index) if isinstance(name, str) and index is not None else None


def _drawn(value: Any, size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    rows = value[:MOST_BOXES] if isinstance(value, list | tuple) else []
    boxes = (_drawn_box(row, size) for row in rows)
    return [box for box in boxes if box is not None]


def _drawn_box(row: Any, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    places = _numbers(row, 4)
    if places is None:
        return None
    x1, y1, x2, y2 = (
        min(max(place, 0.0), float(side)) for place, side in zip(places, size * 2, strict=True)
    )
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple) or len(value) != count:
        return None
    if not all(isinstance(number, int | float) and -1e9 < number < 1e9 for number in value):
        return None
    return tuple(map(float, value))


def _within(event: StageEvent, encoded: Sequence[Encoded]) -> StageEvent:
    """The event without what the layers of this run do not hold."""
    cells, boxes = 0, {}
    picked, cell = event.picked, event.cell
    for header, arrays in encoded:
        if header.get("pickable"):
            boxes[header["name"]] = len(arrays["boxes"])
        if header["kind"] in ("cells", "patches"):
            cells = header["rows"] * header["columns"]
        if header["kind"] == "cells" and cell is not None and event.at:
            cell = _nearest_cell(header, event.at)
    return replace(
        event,
        picked=picked if picked and picked[1] < boxes.get(picked[0], 0) else None,
        cell=cell if cell is not None and cell < cells else None,
    )


def _nearest_cell(grid: Mapping[str, Any], at: tuple[float, float]) -> int:
    """The cell whose middle is nearest, of equal ones the first, as `stage_shape.js` finds it."""
    left, top, right, bottom = grid["extent"]
    ways = ((at[1], top, bottom, grid["rows"]), (at[0], left, right, grid["columns"]))
    row, column = (
        min(max(math.ceil((place - low) / (high - low) * count) - 1, 0), count - 1)
        for place, low, high, count in ways
    )
    return row * grid["columns"] + column


# ---------------------------------------------------------------- checks


def _check(
    layers: Sequence[Layer], label: str, margin: float, strings: Mapping[str, str] | None
) -> None:
    if not label:
        raise ValueError("label is empty, it says to screen readers what is seen")
    if not 0 <= margin <= 2:
        raise ValueError(f"margin is {margin}, allowed is [0, 2]")
    unknown = set(strings or {}) - set(STRINGS)
    if unknown:
        raise ValueError(f"strings has {sorted(unknown)}, allowed are {', '.join(STRINGS)}")
    names = [layer.name for layer in layers]
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"name is {name!r}, allowed are a letter, then letters, digits, -, _")
        if names.count(name) > 1:
            raise ValueError(f"name {name!r} is used twice among layers")
    for kinds in (("drawn",), ("cells", "patches")):
        several = [type(layer).__name__ for layer in layers if layer.kind in kinds]
        if len(several) > 1:
            raise ValueError(f"layers has {' and '.join(several)}, allowed is one of them")
