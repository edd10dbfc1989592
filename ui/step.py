"""One step of a page: controls beside a figure, and what follows from them."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import streamlit as st

from figures.plain import Figure
from figures.stage import Layer
from ui.controls import Controls
from ui.drawn import Box, DrawnBoxes
from ui.kept import (
    HEAVY,
    Kept,
    Results,
    content,
    cost,
    handed_on,
    keep,
    measured,
    publish,
    recognise,
    room_for,
)
from ui.language import translate as _
from ui.live import stage as stages
from ui.live.figure import FigureEvent, Grip, Sweep, live_figure
from ui.live.sentence import Follow, Moving, live_sentence
from ui.live.stage import StageEvent
from ui.live.table import live_table
from ui.live.training import live_training, training_serial
from ui.photo import Photo
from ui.queue import Perform, at_once
from ui.recipe import Recipe
from ui.run import Call, network, run, shared, stream
from ui.samples import pixels
from ui.text import Section
from ui.toolbar import code, toolbar
from ui.waiting import Waiting

ONCE_BYTES = 32 * 2**20
"""Room for what networks found in a session's photos; the oldest goes first.

All pages take 17 MB for one photo at first sight, 27 with both ways to crop it for the transformer,
and 5 for each further block of the segmenter.
"""

_RESULTS = "step.results"
_SAMPLE = "from ui.samples import sample"
_PATH = "from pathlib import Path"
_PHOTO = "from ui.photo import Photo"


class Step(Controls):
    """One step: widgets in `controls`, figures in `canvas`, and what follows from them.

    Args:
        page: the page's id.
        name: the step's name.
        section: its prose.
        facts: where the numbers on screen are collected.
    """

    def __init__(
        self,
        page: str,
        name: str,
        section: Section,
        facts: dict[str, float],
    ) -> None:
        self.recipe = Recipe()
        self._facts = facts
        self._section = section
        self._tables: dict[str, np.ndarray] = {}
        self._offers = ["link"]
        with st.container(key=f"step-{page}.{name}"):
            self._waiting = Waiting()
            controls, self.canvas = st.columns([1, 2.4], gap="large")
        super().__init__(page, name, controls)

    # ------------------------------------------------------------------ computation

    def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run an explainer on the device; its source and call appear under "Code".

        A slow one is not repeated while its arguments stay the same. See `ui.kept`.
        """

        def compute() -> Any:
            with measured(function):
                return run(function, *arguments, **options)

        def turn() -> AbstractContextManager[Perform]:
            return self._turn(function, *arguments, *options.values())

        result = keep(function, arguments, options, compute, turn)
        self.recipe.record(function, arguments, options, result)
        return result

    def once(
        self, photo: Photo, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Like `run`, but once for a photo: its other arguments are told apart by plain values."""
        given = (*arguments, *options.values())
        place = (photo.digest, function.__module__, function.__name__, *map(_plain, given))
        own = st.session_state.setdefault(_RESULTS, Results(ONCE_BYTES))

        def compute() -> Kept:
            with measured(function):
                return Kept(handed_on(run(function, *arguments, **options), given))

        kept = room_for(given, own).take(place, compute, lambda: self._turn(function, *given))
        self.recipe.record(function, arguments, options, kept.result)
        return kept.result

    def shared(self, function: Callable[[], Any]) -> Any:
        """Like `run` without arguments, but once for all visitors: for data sets."""
        result = shared(function)
        publish(result)
        self.recipe.record(function, (), {}, result)
        return result

    def train(
        self,
        function: Callable[..., Iterator[Any]],
        *arguments: Any,
        key: str,
        length: int,
        label: str = "",
        **options: Any,
    ) -> list[Any]:
        """The states so far of a long computation that the visitor starts, stops and repeats.

        The first state is there at once. Other settings begin it anew.

        Args:
            function: a generator of an explainer; its states are frozen and have a `step`.
            arguments: for it; told apart by their content, see `ui.kept.content`.
            key: unique in the page.
            length: the `step` of the last state.
            label: on the button that starts it.
        """
        name = self.topic(key)
        settings = content(arguments, options)
        strings = {
            "start": label or _("Train"),
            "pause": _("Pause"),
            "again": _("From the start"),
            "progress": _("Step {step} of {length}"),
        }
        with self._place:
            states = live_training(
                lambda: stream(function, *arguments, **options),
                settings,
                key=name,
                length=length,
                strings=strings,
                turn=lambda: self._waiting.turn(gives_way=True),
            )
        self._answered[name] = training_serial(name)
        self.recipe.record_states(function, arguments, options, states)
        return list(states)

    def _turn(
        self, function: Callable[..., Any], *arguments: Any
    ) -> AbstractContextManager[Perform]:
        """A place among the heavy computations, if this is one.

        It is if a network is among the arguments, or if the last such call was slow.
        """
        from torch.nn import Module

        heavy = cost(function) > HEAVY or any(isinstance(a, Module) for a in arguments)
        return self._waiting.turn() if heavy else nullcontext(at_once)

    def network(self, name: str, *options: str) -> Any:
        """A trained network of `explainers.models`, loaded once per server."""
        loaded = network(name, *options)
        publish(loaded)
        made = f"{name}({', '.join(map(repr, options))})"
        short = "_".join(["network", *options])
        self.recipe.define(short, loaded, made, f"from explainers.models import {name}")
        return loaded

    def image(self, photo: Photo) -> Any:
        """The photo as a uint8 tensor `[height, width, 3]`."""
        import torch

        if photo.source == "sample":
            tensor = pixels(photo.name)
            publish(tensor)
            self.recipe.define("photo", photo, f'sample("{photo.name}")', _SAMPLE)
        else:
            tensor = torch.from_numpy(photo.array())
            opened = 'Photo.from_bytes(Path("photo.jpg").read_bytes(), "photo.jpg")'
            self.recipe.define("photo", photo, opened, _PATH, _PHOTO)
        recognise(tensor, photo.digest)
        self.recipe.define("image", tensor, "torch.from_numpy(photo.array())")
        return tensor

    # ------------------------------------------------------------------ what is seen

    def figure(
        self,
        figure: Figure,
        *,
        key: str,
        sweeps: Sequence[Sweep] = (),
        events: Sequence[str] = (),
        points_at: Mapping[int, str] | None = None,
        grip: Grip | None = None,
        place: Any = None,
    ) -> FigureEvent | None:
        """Draw a figure in the canvas, or in `place`. See `ui.live.figure`."""
        self._offer("png", "pin")
        name = f"{self.id}.{key}"
        with place or self.canvas:
            return live_figure(
                figure,
                key=name,
                label=" · ".join(filter(None, map(figure.title, "yx"))),
                sweeps=sweeps,
                events=events,
                points_at=points_at,
                grip=grip,
                step=self.id,
            )

    def stage(
        self,
        photo: Photo,
        layers: Sequence[Layer],
        *,
        key: str = "stage",
        drawn: DrawnBoxes | None = None,
        margin: float = 0.0,
        place: Any = None,
    ) -> StageEvent:
        """Show the photo under layers in the canvas, or in `place`. See `ui.live.stage`.

        Args:
            drawn: the boxes of its `Drawn` layer.
        """
        self._offer("png", "pin")
        with place or self.canvas:
            return stages.stage(
                photo,
                layers,
                key=f"{self.id}.{key}",
                label=self._section.title,
                margin=margin,
                step=self.id,
                revision=drawn.revision if drawn else 0,
                strings=_stage_strings(),
                on_event=lambda: self.rerun(drawn.key if drawn else f"{self._name}.{key}"),
            )

    def boxes(
        self,
        photo: Photo,
        default: Sequence[Box],
        *,
        key: str,
    ) -> DrawnBoxes:
        """The boxes that the visitor draws on the stage of this step, kept in the URL.

        Args:
            photo: what they are drawn on.
            default: corners to begin with.
            key: name in the URL.
        """
        name = f"{self.id}.{key}"
        boxes = DrawnBoxes(name, key, f"{self.id}.stage", photo, default)
        self._said[key] = boxes.address
        return boxes

    def says(self, text: str = "", **numbers: Any) -> None:
        """The step's sentence with its live numbers, below the figure.

        Args:
            text: in place of the one in the step's prose.
            numbers: for its places; a `Follow`, or a list of them, changes with sliders in the
                browser. See `ui.live.sentence`.
        """
        moving = {name: n for name, n in numbers.items() if isinstance(n, Follow | list)}
        kept = {name: f"{{{name}}}" for name in moving}
        text = (text or self._section.says).format(**{**numbers, **kept})
        with self.canvas:
            live_sentence(
                text, key=f"{self.id}.says", numbers=moving, step=self.id, pinned=_("Pinned")
            )

    def sides(self, count: int) -> list[Any]:
        """Places side by side in the canvas."""
        with self.canvas:
            return st.columns(count)

    def table(self, columns: Mapping[str, Sequence[Any]], place: Any = None) -> None:
        """A small table below the controls, or in `place`."""
        rows = [columns, ["---:"] * len(columns), *zip(*columns.values(), strict=True)]
        lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
        with place or self._place:
            st.markdown("\n".join(lines))

    def live_table(self, columns: Mapping[str, Moving], *, key: str) -> None:
        """A small table in the canvas that follows sliders. See `ui.live.table`."""
        with self.canvas:
            live_table(columns, key=f"{self.id}.{key}")

    def formula(self, latex: str, caption: str = "") -> None:
        """A formula with its numbers filled in, and what it is about."""
        with self.canvas:
            if caption:
                st.caption(caption)
            st.latex(latex)

    def empty(self, sentence: str) -> None:
        """Say why there is nothing to see and what to do."""
        with self.canvas:
            st.info(sentence, icon=":material/info:")

    def fact(self, **numbers: float) -> None:
        """Numbers on screen that questions ask for; nobody is asked for one that is not finite."""
        known = {name: float(number) for name, number in numbers.items()}
        self._facts.update({name: n for name, n in known.items() if math.isfinite(n)})

    def data(self, **columns: Any) -> None:
        """The numbers behind the figure, for the "Data" button: equal lengths make a CSV."""
        self._offer("data")
        self._tables.update({name: np.asarray(values) for name, values in columns.items()})

    def _offer(self, *names: str) -> None:
        self._offers += [name for name in names if name not in self._offers]

    def finish(self, calls: Sequence[Call]) -> None:
        """Draw the toolbar and what it opens; answer the sliders, now that all has been sent."""
        self.keep_address()
        if any(call.fell_back for call in calls):
            notice = _("The GPU ran out of memory, so this was computed on the CPU.")
            st.warning(notice, icon=":material/memory:")
        if self.recipe.functions():
            self._offer("code")
        with self.canvas:
            opened = toolbar(
                self.id,
                self._page,
                offers=self._offers,
                tables=self._tables,
                acknowledgements=self.acknowledgements(),
                calls=calls,
            )
        if opened and self.recipe.functions():
            code(self.recipe)


def _plain(argument: Any) -> Any:
    """What an argument adds to the settings of a computation, if it is a plain value."""
    if isinstance(argument, bool | int | float | str):
        return argument
    if isinstance(argument, tuple | list):
        return tuple(map(_plain, argument))
    return argument.initial_seed() if hasattr(argument, "initial_seed") else None


def _stage_strings() -> dict[str, str]:
    return {
        "cell": _("Cell {row}, {column}"),
        "box": _("{name} box {index} of {count}: {x1}, {y1} to {x2}, {y2}"),
        "delete": _("Delete"),
        "deleted": _("Box deleted"),
        "keys_boxes": _("Arrow keys: from box to box. Enter: pick."),
        "keys_cells": _("Arrow keys: from cell to cell. Enter: pin."),
        "keys_drawn": _(
            "Plus: new box. Tab: next box. Arrow keys: move, with Shift ten times as far, "
            "with Alt resize. Delete: remove."
        ),
    }
