"""Layers of the stage: what is drawn on a photo, as plain data.

A layer checks its parts and encodes them for the browser; `ui.live.stage` shows it. Arrays may be
numpy's or CPU tensors.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
import plotly.colors
from numpy.typing import ArrayLike

HIDDEN = 255
MOST_BOXES = 100

_SCALES = {
    "viridis": plotly.colors.sequential.Viridis,
    "magma": plotly.colors.sequential.Magma,
    "diverging": plotly.colors.diverging.RdBu,
}
_NOTHING = 65_535
_HEX = re.compile(r"#[0-9A-Fa-f]{6}")

Encoded = tuple[dict[str, Any], dict[str, np.ndarray]]
Extent = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes in the colours of their categories, up to tens of thousands.

    Above 200 visible boxes lines have no halo; above 1,500 they are one pixel wide, whatever
    `width`, `dashed` and `fill_opacity` say.

    Args:
        name: names the layer in what is picked; a letter, then letters, digits, - and _.
        boxes: [n, 4] corners (x1, y1, x2, y2) in photo pixels; they may reach outside the photo.
        palette: colours "#rrggbb"; of two boxes on one pixel the earlier colour wins.
        category: [n], or [t, n] for a stack of states: index into `palette`, 255 hides the box.
        slider: key of the slider whose position picks the row of `category`.
        scores: [n]; labels are placed in the order of falling score.
        score_from: for each slider its value at every position; a box is shown if its score is no
            lower than the lowest value at which one of these sliders stands.
        score_below: likewise; a box is shown if its score is below the lowest value.
        labels: [n] texts on the boxes, "" for none.
        columns: [n] or [n, c] numbers of the hover tip, NaN where a box has none.
        tip: hover text behind the label; {0} stands for the first column, {1} for the second, with
            three significant digits.
        opacity: of the layer, in [0, 1].
        crowd_opacity: likewise, above 300 visible boxes; `opacity` if None.
        width: of the lines, in CSS pixels.
        fill_opacity: of the boxes' insides, in [0, 1].
        dashed: whether lines are dashed.
        hover: whether pointing at a box highlights it and shows its tip.
        pickable: whether a click picks a box; asks for `hover`.

    >>> Boxes("anchors", [[0, 0, 8, 8], [4, 4, 20, 20]], columns=[0.5, 0.25], tip="IoU {0}").hover
    True
    """

    kind: ClassVar[str] = "boxes"
    name: str
    boxes: ArrayLike
    palette: tuple[str, ...] = ("#0072B2",)
    category: ArrayLike | None = None
    slider: str = ""
    scores: ArrayLike | None = None
    score_from: Mapping[str, ArrayLike] = field(default_factory=dict)
    score_below: Mapping[str, ArrayLike] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    columns: ArrayLike | None = None
    tip: str = ""
    opacity: float = 1.0
    crowd_opacity: float | None = None
    width: float = 1.5
    fill_opacity: float = 0.0
    dashed: bool = False
    hover: bool = True
    pickable: bool = False

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        boxes = _corners("boxes", self.boxes)
        count = len(boxes)
        _colours("palette", self.palette)
        _fractions(opacity=self.opacity, fill_opacity=self.fill_opacity)
        _fractions(crowd_opacity=self.crowd_opacity or 0)
        if self.labels is not None:
            _length("labels", self.labels, count)
        if self.pickable and not self.hover:
            raise ValueError("pickable is True, it asks for hover=True")
        if bool(self.tip) != (self.columns is not None):
            raise ValueError("columns and tip go together, one of them is missing")
        if (self.score_from or self.score_below) and self.scores is None:
            raise ValueError("scores is None, score_from and score_below ask for one score a box")
        arrays = {"boxes": boxes}
        if self.category is not None:
            arrays["category"] = self._categories(count)
        if self.scores is not None:
            arrays["scores"] = np.asarray(self.scores, np.float32)
            _length("scores", arrays["scores"], count)
        if self.columns is not None:
            columns = np.asarray(self.columns, np.float32)
            arrays["columns"] = columns[:, None] if columns.ndim == 1 else columns
            _length("columns", columns, count)
        bounds = {"score_from": self.score_from, "score_below": self.score_below}
        for name, sliders in bounds.items():
            arrays |= {f"{name}.{key}": np.asarray(v, np.float32) for key, v in sliders.items()}
        names = (
            "palette slider labels tip opacity crowd_opacity width fill_opacity dashed hover "
            "pickable"
        )
        return _header(self, names) | {name: list(keys) for name, keys in bounds.items()}, arrays

    def _categories(self, count: int) -> np.ndarray:
        category = np.asarray(self.category)
        states = len(category) if category.ndim == 2 else category.ndim
        if not states or category.ndim > 2 or category.shape[-1] != count:
            raise ValueError(
                f"category has shape {category.shape}, allowed are [{count}] and [t, {count}]"
            )
        if not np.all((category == HIDDEN) | ((category >= 0) & (category < len(self.palette)))):
            raise ValueError(
                f"category holds {np.unique(category)[:8]}, allowed are 0 to "
                f"{len(self.palette) - 1} (the palette's length) and 255"
            )
        return category.astype(np.uint8)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A map of numbers over the photo, with a colour bar and the value under the pointer.

    Args:
        name: see `Boxes`.
        values: [h, w], or [t, h, w] for a stack of states; NaN is not drawn.
        low: value of the first colour.
        high: value of the last colour, above `low`.
        colours: "viridis", "magma", or "diverging", which asks for `low == -high`.
        label: what the values are, with their unit.
        opacity: of the layer, in [0, 1]; at 0 it only tells its values to the pointer.
        slider: key of the slider whose position picks the state.
        smooth: whether neighbouring values blend.
        extent: (x1, y1, x2, y2) in photo pixels that the map covers; the whole photo if None.

    >>> HeatMap("gate", [[0.0, 0.5], [0.5, 1.0]], 0.0, 1.0, label="gate").colours
    'viridis'
    """

    kind: ClassVar[str] = "heat"
    name: str
    values: ArrayLike
    low: float
    high: float
    colours: str = "viridis"
    label: str = ""
    opacity: float = 0.6
    slider: str = ""
    smooth: bool = False
    extent: Extent | None = None

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        values = np.asarray(self.values)
        if values.ndim not in (2, 3):
            raise ValueError(f"values has shape {values.shape}, allowed are [h, w] and [t, h, w]")
        header, arrays = _heat(self, values, size)
        return header | {"slider": self.slider}, arrays


@dataclass(frozen=True, eq=False)
class Grid:
    """Lines between the cells of a grid.

    Args:
        rows: number of rows.
        columns: number of columns.
        width: extent in photo pixels from the left edge.
        height: extent in photo pixels from the upper edge.
        colour: of the lines, "#rrggbb".
        opacity: of the lines, in [0, 1].
        name: see `Boxes`.

    >>> Grid(20, 24, width=384, height=320).rows
    20
    """

    kind: ClassVar[str] = "grid"
    rows: int
    columns: int
    width: float
    height: float
    colour: str = "#FFFFFF"
    opacity: float = 0.35
    name: str = "grid"

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        _colours("colour", (self.colour,))
        _fractions(opacity=self.opacity)
        _cells(self)
        header = _header(self, "rows columns colour opacity")
        return header | {"extent": (0, 0, self.width, self.height)}, {}


@dataclass(frozen=True, eq=False)
class Points:
    """Dots on the photo.

    Args:
        name: see `Boxes`.
        xy: [n, 2] places in photo pixels.
        colour: "#rrggbb".
        radius: in CSS pixels.
        labels: [n] texts beside the dots.

    >>> Points("centres", [[8, 8], [24, 8]], colour="#E69F00").radius
    4
    """

    kind: ClassVar[str] = "points"
    name: str
    xy: ArrayLike
    colour: str = "#0072B2"
    radius: float = 4
    labels: Sequence[str] | None = None

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        _colours("colour", (self.colour,))
        xy = _table("xy", self.xy, 2)
        if self.labels is not None:
            _length("labels", self.labels, len(xy))
        return _header(self, "colour radius labels"), {"xy": xy}


@dataclass(frozen=True, eq=False)
class CellHover:
    """Pointing at a cell of a grid shows the cell's boxes; a click pins it, a second one unpins.

    Args:
        name: see `Boxes`.
        rows: number of rows.
        columns: number of columns.
        width: extent of the grid in photo pixels from the left edge.
        height: extent of the grid in photo pixels from the upper edge.
        boxes: [k, 4] the first cell's boxes, corners in photo pixels; every cell has the same,
            moved to its place.
        palette: one colour for all boxes of a cell, or one for each.
        cell: index of the cell shown while none is pointed at or pinned.
        hint: line below the stage.

    >>> CellHover("cells", 1, 2, 32, 16, [[-8, -8, 24, 24], [4, 4, 12, 12]], cell=0).columns
    2
    """

    kind: ClassVar[str] = "cells"
    name: str
    rows: int
    columns: int
    width: float
    height: float
    boxes: ArrayLike
    palette: tuple[str, ...] = ("#0072B2",)
    cell: int | None = None
    hint: str = ""

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        _cells(self)
        _colours("palette", self.palette)
        boxes = _corners("boxes", self.boxes)
        if len(self.palette) not in (1, len(boxes)):
            raise ValueError(
                f"palette has {len(self.palette)} colours, allowed are 1 and {len(boxes)}"
            )
        header = _header(self, "rows columns palette cell hint")
        return header | {"extent": (0, 0, self.width, self.height)}, {"boxes": boxes}


@dataclass(frozen=True, eq=False)
class PatchMaps:
    """Pointing at a patch of the photo shows the map that belongs to it; a click pins it.

    Args:
        name: see `Boxes`.
        rows: number of rows of patches.
        columns: number of columns of patches.
        maps: [rows·columns, h, w] one map for each patch, row by row, or a stack of states
            [t, rows·columns, h, w]; as uint8, which halves what is sent, 255 stands for `high`.
        low: value of the first colour.
        high: value of the last colour, above `low`.
        colours: see `HeatMap`.
        label: what the values are, with their unit.
        opacity: of the map, in [0, 1].
        smooth: whether neighbouring values blend.
        extent: part of the photo that patches and maps cover; the whole photo if None.
        cell: index of the patch whose map is shown while none is pointed at or pinned.
        slider: key of the slider whose position picks the state.
        points_at: key under which the browser publishes the index of the patch whose map is shown,
            like the position of a slider, for figures and sentences to follow. The patch pointed
            at then counts before the pinned one.
        along: for other sliders the maps of the patch that is pinned, or else of `cell`,
            [positions, h, w]; they are shown from when such a slider moves until another patch is
            pointed at.
        hint: line below the stage.

    >>> import numpy as np
    >>> PatchMaps("attention", 16, 16, np.zeros((256, 16, 16)), 0.0, 0.1).smooth
    True
    """

    kind: ClassVar[str] = "patches"
    name: str
    rows: int
    columns: int
    maps: ArrayLike
    low: float
    high: float
    colours: str = "viridis"
    label: str = ""
    opacity: float = 0.7
    smooth: bool = True
    extent: Extent | None = None
    cell: int | None = None
    slider: str = ""
    points_at: str = ""
    along: Mapping[str, ArrayLike] = field(default_factory=dict)
    hint: str = ""

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        _counts(self)
        maps = np.asarray(self.maps)
        cells = self.rows * self.columns
        if maps.ndim not in (3, 4) or maps.shape[-3] != cells:
            raise ValueError(
                f"maps has shape {maps.shape}, allowed are [{cells}, h, w] and [t, {cells}, h, w]"
            )
        stack = [maps.reshape(-1, *maps.shape[-2:])]
        along = {}
        for key, values in self.along.items():
            others = np.asarray(values)
            if others.ndim != 3 or others.shape[1:] != stack[0].shape[1:]:
                raise ValueError(
                    f"along[{key!r}] has shape {others.shape}, allowed is "
                    f"[positions, {', '.join(map(str, stack[0].shape[1:]))}]"
                )
            along[key] = [sum(map(len, stack)), len(others)]
            stack.append(others)
        header, arrays = _heat(self, np.concatenate(stack), size)
        names = "rows columns cell slider points_at hint"
        return header | _header(self, names) | {"along": along, "states": len(stack[0])}, arrays


@dataclass(frozen=True, eq=False)
class Drawn:
    """Boxes that the visitor draws, moves, resizes and deletes.

    Args:
        name: see `Boxes`.
        boxes: [m, 4] the boxes at first, corners in photo pixels, m <= 100.
        labels: texts on the boxes in their order, "" for none.
        colour: "#rrggbb".
        editable: whether the visitor may change them.
        live: whether changes are reported while dragging, not on release alone.
        hint: line below the stage.

    >>> Drawn("objects", [(10, 10, 60, 80)], labels=["cup"]).editable
    True
    """

    kind: ClassVar[str] = "drawn"
    name: str
    boxes: ArrayLike = ()
    labels: Sequence[str] | None = None
    colour: str = "#E69F00"
    editable: bool = True
    live: bool = False
    hint: str = ""

    def encode(self, size: tuple[int, int]) -> Encoded:
        """The layer as the browser takes it; `ValueError` if its parts do not fit together."""
        _colours("colour", (self.colour,))
        boxes = _corners("boxes", self.boxes)
        if len(boxes) > MOST_BOXES:
            raise ValueError(f"boxes has {len(boxes)} rows, allowed are at most {MOST_BOXES}")
        return _header(self, "labels colour editable live hint"), {}


Layer = Boxes | HeatMap | Grid | Points | CellHover | PatchMaps | Drawn


# ---------------------------------------------------------------- what the browser is sent


def _header(layer: Layer, names: str) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in ("kind", "name", *names.split())}


def _heat(layer: HeatMap | PatchMaps, values: np.ndarray, size: tuple[int, int]) -> Encoded:
    if layer.colours not in _SCALES:
        raise ValueError(f"colours is {layer.colours!r}, allowed are {', '.join(_SCALES)}")
    if not (math.isfinite(layer.low) and math.isfinite(layer.high) and layer.low < layer.high):
        raise ValueError(f"low is {layer.low}, allowed are numbers below high, {layer.high}")
    if layer.colours == "diverging" and layer.low != -layer.high:
        raise ValueError(f"low is {layer.low}, diverging colours ask for {-layer.high}")
    if not values.size:
        raise ValueError(f"the map has shape {values.shape}, none of its sides may be 0")
    _fractions(opacity=layer.opacity)
    levels, first, step = _levels(values, layer)
    header = _header(layer, "low high label opacity smooth")
    header |= {"extent": layer.extent or (0, 0, *size), "first": first, "step": step}
    return header, {"values": levels, "lut": _lut(layer.colours)}


def _levels(values: np.ndarray, layer: HeatMap | PatchMaps) -> tuple[np.ndarray, float, float]:
    """Values as uint16: `first + level * step`, fine enough for colours and for the hover tip."""
    if values.dtype == np.uint8:
        return values, layer.low, (layer.high - layer.low) / 255
    known = np.isfinite(values)
    first = float(values.min(initial=np.inf, where=known)) if known.any() else 0.0
    last = float(values.max(initial=-np.inf, where=known)) if known.any() else 0.0
    step = (last - first) / (_NOTHING - 1) or 1.0
    levels = np.rint((np.where(known, values, first) - first) / step)
    return np.where(known, levels, _NOTHING).astype(np.uint16), first, step


@cache
def _lut(colours: str) -> np.ndarray:
    """The 256 colours of a scale, as red, green and blue."""
    scale = plotly.colors.sample_colorscale(_SCALES[colours], 256, colortype="tuple")
    return np.rint(np.array(scale) * 255).astype(np.uint8)


def _table(name: str, values: ArrayLike, columns: int) -> np.ndarray:
    array = np.asarray(values, np.float32)
    if not array.size:
        return np.zeros((0, columns), np.float32)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"{name} has shape {array.shape}, allowed is [n, {columns}]")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite")
    return array


def _corners(name: str, values: ArrayLike) -> np.ndarray:
    return _table(name, values, 4)


def _length(name: str, values: Sequence[Any] | np.ndarray, count: int) -> None:
    if len(values) != count:
        raise ValueError(f"{name} has {len(values)} entries, allowed are {count}")


def _colours(name: str, colours: Sequence[str]) -> None:
    if not 0 < len(colours) < HIDDEN:
        raise ValueError(f"{name} has {len(colours)} colours, allowed are 1 to {HIDDEN - 1}")
    for colour in colours:
        if not _HEX.fullmatch(colour):
            raise ValueError(f"{name} holds {colour!r}, allowed is #rrggbb")


def _fractions(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}, allowed is [0, 1]")


def _counts(layer: Grid | CellHover | PatchMaps) -> None:
    for name in ("rows", "columns"):
        if getattr(layer, name) < 1:
            raise ValueError(f"{name} is {getattr(layer, name)}, allowed is 1 and above")
    cell, cells = getattr(layer, "cell", None), layer.rows * layer.columns
    if cell is not None and not 0 <= cell < cells:
        raise ValueError(f"cell is {cell}, allowed are 0 to {cells - 1}")


def _cells(layer: Grid | CellHover) -> None:
    _counts(layer)
    for name in ("width", "height"):
        if not 0 < getattr(layer, name) < math.inf:
            raise ValueError(f"{name} is {getattr(layer, name)}, allowed is above 0")
