"""The frame of a concept page: header, steps with their toolbar, questions, sources."""

import base64
import io
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from ui import chooser, language, text
from ui.language import translate as _
from ui.live import stage as stages
from ui.live.channel import component, forget_shared, share
from ui.live.figure import FigureEvent, Sweep, live_figure
from ui.live.sentence import Follow, live_sentence
from ui.live.slider import live_slider, move, serial, slider_value
from ui.live.stage import StageEvent
from ui.photo import Photo
from ui.recipe import Recipe
from ui.run import current_calls, network, run

_FACTS = "page.facts"
_CHOICES = "page.choices"
_RESULTS = "page.results"
_DRAWN = "page.drawn"
_KEPT_RESULTS = 8

Box = Sequence[float]


class Page:
    """One concept's page. `page.step` draws a step; `page.close()` draws what all pages end with."""

    def __init__(self, concept: str) -> None:
        self.id = concept
        self.text = text.load(concept, language.current())
        self._steps = 0
        forget_shared()
        self._header()

    @property
    def facts(self) -> dict[str, float]:
        """Numbers on screen, by name: the questions are checked against them."""
        return st.session_state.setdefault(_FACTS, {}).setdefault(self.id, {})

    def step(self, *, feeds: Sequence[str] = ()) -> Callable[[Callable[["Step"], None]], None]:
        """Draw the decorated function as the next step: a fragment that reruns by itself.

        Args:
            feeds: names of later steps that use this one's controls; they rerun on release.
        """
        self._steps += 1
        number = self._steps

        def draw(body: Callable[["Step"], None]) -> None:
            name = body.__name__
            keys = [f"{self.id}.{fed}.step" for fed in (name, *feeds)]

            @st.fragment(key=keys[0])
            def fragment() -> None:
                step = Step(self, name, number, keys if feeds else [])
                calls = current_calls.set([])
                try:
                    body(step)
                    step.finish(current_calls.get() or [])
                finally:
                    current_calls.reset(calls)

            fragment()

        return draw

    def value(self, key: str) -> Any:
        """What a control of another step stands at; that step must come first."""
        topic = f"{self.id}.{key}"
        kept = st.session_state.get(_CHOICES, {})
        return kept[topic] if topic in kept else slider_value(topic)

    def drawn(self, step: str, key: str) -> list[Box]:
        """The boxes that another step lets the visitor draw; that step must come first."""
        return st.session_state[_DRAWN][f"{self.id}.{step}.{key}"]

    def close(self) -> None:
        """Draw the questions and the sources."""
        if self.text.questions:
            st.divider()
            _questions(self)
        sources = self.text.sections.get("sources")
        if sources:
            st.divider()
            st.subheader(sources.title or _("Sources"), anchor="sources")
            st.markdown(sources.body)

    def _header(self) -> None:
        title, side = st.columns([4, 1.5], vertical_alignment="bottom", gap="large")
        with title:
            st.title(self.text.title, anchor=False)
            st.markdown(self.text.claim)
        with side:
            photo = chooser.current()
            with st.container(
                horizontal=True, horizontal_alignment="right", vertical_alignment="center"
            ):
                component("status")(
                    data={"topic": f"status:{self.id}"}, key=f"{self.id}.status", width="content"
                )
                chooser.button(f"{self.id}.photo")
        chooser.notice()
        share(photo.jpeg(), key=f"{self.id}.photo.jpeg")


class Step:
    """One step: widgets in `controls`, figures in `canvas`, and what follows from them."""

    def __init__(self, page: Page, name: str, number: int, reruns: Sequence[str]) -> None:
        self.page = page
        self._reruns = list(reruns)
        self.name = name
        self.id = f"{page.id}.{name}"
        self.recipe = Recipe()
        self._sliders: list[str] = []
        self._tables: dict[str, np.ndarray] = {}
        self._offers = ["link"]
        self._defaults: dict[str, Any] = {}
        section = page.text.sections[name]
        st.subheader(f"{number}  {section.title}", anchor=name.replace("_", "-"), divider=False)
        if section.body:
            st.markdown(section.body)
        self.controls, self.canvas = st.columns([1, 2.4], gap="large")

    # ------------------------------------------------------------------ widgets

    def live_slider(
        self, label: str, values: Sequence[Any], value: Any, *, key: str, **options: Any
    ) -> Any:
        """A live slider in the controls, bound to `?key=` in the URL. See `ui.live.slider`."""
        topic = self.topic(key)
        self._sliders.append(topic)
        self._defaults[key] = value
        strings = {
            "back": _("Back"),
            "play": _("Play"),
            "pause": _("Pause"),
            "forward": _("Forward"),
        }
        with self.controls:
            return live_slider(
                label,
                values,
                value,
                key=topic,
                query=key,
                acknowledge=False,
                strings=strings,
                on_release=self._rerun,
                **options,
            )

    def choice(
        self, label: str, options: Mapping[str, str], default: str, *, key: str, wide: bool = False
    ) -> str:
        """One of a few named options, by their stable names in the URL and labels on the page."""
        widget = st.selectbox if wide else st.segmented_control
        chosen = self._kept(key, default, lambda asked: asked if asked in options else default)
        name = self.topic(key)
        self._defaults[key] = default
        if st.session_state.get(name) not in options:
            st.session_state[name] = chosen
        with self.controls:
            picked = widget(
                label,
                list(options),
                format_func=options.__getitem__,
                key=name,
                persist_state="session",
                on_change=self._choose,
                args=(key, default),
            )
        return picked or chosen

    def number(
        self, label: str, value: int, low: int, high: int, *, key: str, help: str = ""
    ) -> int:
        """A whole number that matters little enough not to be live, such as a seed."""

        def read(asked: str) -> int:
            return (
                int(asked) if asked.lstrip("-").isdigit() and low <= int(asked) <= high else value
            )

        chosen = self._kept(key, value, read)
        name = self.topic(key)
        self._defaults[key] = value
        st.session_state.setdefault(name, chosen)
        with self.controls:
            return st.number_input(
                label,
                low,
                high,
                key=name,
                help=help or None,
                persist_state="session",
                on_change=self._choose,
                args=(key, value),
            )

    def switch(self, label: str, default: bool, *, key: str, help: str = "") -> bool:
        """An on/off switch, `?key=1` or `?key=0` in the URL."""
        chosen = self._kept(key, default, lambda asked: asked == "1" if asked in "01" else default)
        name = self.topic(key)
        self._defaults[key] = default
        st.session_state.setdefault(name, chosen)
        with self.controls:
            return st.toggle(
                label,
                key=name,
                help=help or None,
                persist_state="session",
                on_change=self._choose,
                args=(key, default),
            )

    def presets(self, presets: Mapping[str, Mapping[str, Any]]) -> None:
        """Buttons that set several controls at once. Call it before the controls are drawn."""
        with self.controls, st.container(horizontal=True, gap="xsmall"):
            for label, values in presets.items():
                st.button(
                    label,
                    key=f"{self.id}.preset.{label}",
                    on_click=self._apply,
                    args=(values,),
                    type="secondary",
                )

    def replace(self, boxes: "DrawnBoxes", sets: Mapping[str, Sequence[Box]]) -> None:
        """Buttons that replace the drawn boxes by a set."""
        with self.controls, st.container(horizontal=True, gap="xsmall"):
            for label, replacement in sets.items():
                st.button(
                    label,
                    key=f"{self.id}.replace.{label}",
                    on_click=self._replace,
                    args=(boxes, replacement),
                )

    def _replace(self, boxes: "DrawnBoxes", replacement: Sequence[Box]) -> None:
        boxes.set(replacement)
        self._rerun()

    def reset(self) -> None:
        """A button that sets every control of the step back. Call it after the controls."""
        with self.controls:
            st.button(
                _("Reset"),
                key=f"{self.id}.reset",
                type="tertiary",
                icon=":material/restart_alt:",
                on_click=self._apply,
                args=(dict(self._defaults),),
            )

    def topic(self, key: str) -> str:
        """The full key of a control: the name under which live pieces follow a slider."""
        return f"{self.page.id}.{key}"

    def _kept(self, key: str, default: Any, read: Callable[[str], Any]) -> Any:
        kept = st.session_state.setdefault(_CHOICES, {})
        name = self.topic(key)
        if name not in kept:
            asked = st.query_params.get(key)
            kept[name] = default if asked is None else read(asked[:64])
        return kept[name]

    def _choose(self, key: str, default: Any) -> None:
        self._set_choice(key, st.session_state[self.topic(key)], default)
        self._rerun()

    def _rerun(self) -> None:
        """In a callback: rerun this step and those that it feeds."""
        if self._reruns:
            st.rerun(self._reruns)

    def _set_choice(self, key: str, value: Any, default: Any) -> None:
        if value is None:
            return
        st.session_state.setdefault(_CHOICES, {})[self.topic(key)] = value
        if value == default:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = str(int(value)) if isinstance(value, bool) else str(value)

    def _apply(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            name = self.topic(key)
            if name in st.session_state.get(_CHOICES, {}):
                st.session_state[name] = value
                self._set_choice(key, value, object())
            else:
                move(name, value, key)
        self._rerun()

    # ------------------------------------------------------------------ computation

    def run(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run an explainer on the device; its source and call appear under "Code"."""
        result = run(function, *arguments, **options)
        self.recipe.record(function, arguments, options, result)
        return result

    def once(
        self, photo: Photo, function: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Like `run`, but once for a photo: the result is kept for this session."""
        results = st.session_state.setdefault(_RESULTS, {})
        plain = [
            a for a in (*arguments, *options.values()) if isinstance(a, bool | int | float | str)
        ]
        place = (photo.digest, function.__module__, function.__name__, *plain)
        if place not in results:
            results[place] = run(function, *arguments, **options)
            while len(results) > _KEPT_RESULTS:
                results.pop(next(iter(results)))
        self.recipe.record(function, arguments, options, results[place])
        return results[place]

    def network(self, name: str) -> Any:
        """A trained network of `explainers.models`, loaded once per server."""
        loaded = network(name)
        self.recipe.define("network", loaded, f"{name}()", f"from explainers.models import {name}")
        return loaded

    def image(self, photo: Photo) -> Any:
        """The photo as a uint8 tensor `[height, width, 3]`."""
        import torch

        tensor = torch.from_numpy(photo.array().copy())
        if photo.source == "sample":
            code, needed = (
                f'torch.from_numpy(sample("{photo.name}").array())',
                "from ui.samples import sample",
            )
        else:
            code = 'torch.from_numpy(Photo.from_bytes(Path("photo.jpg").read_bytes(), "photo").array())'
            needed = "from pathlib import Path\nfrom ui.photo import Photo"
        self.recipe.define("image", tensor, code, *needed.split("\n"))
        return tensor

    # ------------------------------------------------------------------ what is seen

    def figure(
        self,
        figure: go.Figure,
        *,
        key: str,
        label: str,
        sweeps: Sequence[Sweep] = (),
        events: Sequence[str] = (),
    ) -> FigureEvent | None:
        """Draw a figure in the canvas."""
        self._offer("png", "pin")
        with self.canvas:
            return live_figure(
                figure,
                key=f"{self.id}.{key}",
                label=label,
                sweeps=sweeps,
                events=events,
                step=self.id,
            )

    def stage(
        self,
        photo: Photo,
        layers: Sequence[Any],
        *,
        key: str,
        label: str,
        place: Any = None,
        **options: Any,
    ) -> StageEvent:
        """Show the photo under layers in the canvas, or in `place`. See `ui.live.stage`."""
        self._offer("png", "pin")
        with place or self.canvas:
            return stages.stage(
                photo,
                layers,
                key=f"{self.id}.{key}",
                label=label,
                step=self.id,
                strings=_stage_strings(),
                on_event=self._rerun,
                **options,
            )

    def boxes(self, photo: Photo, default: Sequence[Box], *, key: str, stage: str) -> "DrawnBoxes":
        """The boxes that the visitor draws on a stage of this step, kept in the URL.

        Args:
            default: corners to begin with.
            key: name in the URL.
            stage: key of the stage whose `Drawn` layer they are.
        """
        return DrawnBoxes(f"{self.id}.{key}", key, f"{self.id}.{stage}", photo, default)

    def says(self, text: str, *, key: str = "says", **numbers: Follow) -> None:
        """One sentence with live numbers, below the figure."""
        with self.canvas:
            live_sentence(
                text, key=f"{self.id}.{key}", numbers=numbers, step=self.id, pinned=_("Pinned")
            )

    def sides(self, count: int) -> list[Any]:
        """Places side by side in the canvas."""
        with self.canvas:
            return st.columns(count)

    def formula(self, latex: str) -> None:
        """A formula with its numbers filled in."""
        with self.canvas:
            st.latex(latex)

    def empty(self, sentence: str) -> None:
        """Say why there is nothing to see and what to do."""
        with self.canvas:
            st.info(sentence, icon=":material/info:")

    def fact(self, **numbers: float) -> None:
        """Numbers on screen that questions ask for."""
        self.page.facts.update({name: float(number) for name, number in numbers.items()})

    def data(self, **columns: Any) -> None:
        """The numbers behind the figure, for the "Data" button: equal lengths make a CSV."""
        self._offer("data")
        self._tables.update({name: np.asarray(values) for name, values in columns.items()})

    def _offer(self, *names: str) -> None:
        self._offers += [name for name in names if name not in self._offers]

    # ------------------------------------------------------------------ the step's end

    def finish(self, calls: Sequence[Any]) -> None:
        """Toolbar, code and notices; answers the sliders now that everything has been sent."""
        if any(call.fell_back for call in calls):
            st.warning(
                _("The GPU ran out of memory, so this was computed on the CPU."),
                icon=":material/memory:",
            )
        if self.recipe.functions():
            self._offer("code")
        with self.canvas:
            asked = self._toolbar(calls)
        if asked == "code":
            opened = st.session_state.setdefault("page.code", set())
            opened.symmetric_difference_update({self.id})
            st.rerun(scope="fragment")
        if self.id in st.session_state.get("page.code", ()):
            self._code()

    def _toolbar(self, calls: Sequence[Any]) -> str | None:
        state = st.session_state.get(f"{self.id}.toolbar")
        asked = state.get("asked") if isinstance(state, Mapping) else None
        data = {
            "step": self.id,
            "acks": {topic: serial(topic) for topic in self._sliders},
            "offers": self._offers,
            "code": self.id in st.session_state.get("page.code", ()),
            "link": {"lang": language.current(), "photo": chooser.link_name()},
            "file": self._file() if asked == "data" else None,
            "status": _status(calls),
            "page": self.page.id,
            "strings": {
                "link": _("Copy link"),
                "copied": _("Copied"),
                "png": _("PNG"),
                "data": _("Data"),
                "pin": _("Pin"),
                "unpin": _("Unpin"),
                "code": _("Code"),
            },
        }
        component("toolbar")(data=data, key=f"{self.id}.toolbar", on_asked_change=lambda: None)
        return asked

    def _file(self) -> dict[str, str]:
        name = self.id.replace(".", "-")
        lengths = {len(a) if a.ndim == 1 else -1 for a in self._tables.values()}
        if lengths and len(lengths) == 1 and -1 not in lengths:
            header = ",".join(self._tables)
            rows = zip(*(a.tolist() for a in self._tables.values()), strict=True)
            lines = [header, *(",".join(map(str, row)) for row in rows)]
            content, name, kind = "\n".join(lines).encode(), f"{name}.csv", "text/csv"
        else:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **self._tables)
            content, name, kind = buffer.getvalue(), f"{name}.npz", "application/octet-stream"
        encoded = base64.b64encode(content).decode()
        return {"serial": str(time.time_ns()), "name": name, "type": kind, "content": encoded}

    def _code(self) -> None:
        with st.container(border=True):
            source, script = st.tabs(
                [_("The functions that ran"), _("A script with these numbers")]
            )
            source.code(self.recipe.source(), language="python", height=420)
            with script:
                st.caption(_("Save it in the repository's root and run it with Python."))
                st.code(self.recipe.script(), language="python")


class DrawnBoxes:
    """Boxes drawn by the visitor on one photo: in the session, in the URL, reset by a preset."""

    def __init__(
        self, name: str, query: str, stage: str, photo: Photo, default: Sequence[Box]
    ) -> None:
        self._query = query
        self._photo = photo
        self._default = _whole(default)
        kept = st.session_state.setdefault(_CHOICES, {})
        self._state = kept.setdefault(f"{name}@{photo.digest}", {"base": None, "count": 0})
        if self._state["base"] is None:
            self._state["base"] = self._asked() or self._default
        event = stages.stage_event(
            stage, (photo.width, photo.height), boxes=self._state["base"], revision=self.revision
        )
        self.corners = _whole(event.boxes or [])
        self._write()
        st.session_state.setdefault(_DRAWN, {})[name] = self.corners

    @property
    def revision(self) -> int:
        """Changes when Python sets the boxes; for `stage`."""
        return int(self._photo.digest[:8], 16) * 1000 + self._state["count"]

    def set(self, boxes: Sequence[Box]) -> None:
        """Replace the boxes, in the callback of a button."""
        self._state["base"] = _whole(boxes)
        self._state["count"] += 1

    def _asked(self) -> list[Box]:
        digest, _colon, text = st.query_params.get(self._query, "")[:4000].partition("-")
        if digest != self._photo.digest[:6]:
            return []
        numbers = [[int(n) for n in part.split(".") if n.isdigit()] for part in text.split("_")]
        side = max(self._photo.width, self._photo.height)
        return [tuple(n) for n in numbers if len(n) == 4 and max(n) <= side][: stages.MOST_BOXES]

    def _write(self) -> None:
        if self.corners == self._default:
            if self._query in st.query_params:
                del st.query_params[self._query]
            return
        text = "_".join(".".join(map(str, box)) for box in self.corners)
        asked = f"{self._photo.digest[:6]}-{text}"
        if st.query_params.get(self._query) != asked:
            st.query_params[self._query] = asked


def _whole(boxes: Sequence[Box]) -> list[Box]:
    return [tuple(round(float(n)) for n in box) for box in boxes]


def _status(calls: Sequence[Any]) -> str:
    if not calls:
        return ""
    milliseconds = sum(call.milliseconds for call in calls)
    shown = f"{milliseconds:.0f}" if milliseconds >= 10 else f"{milliseconds:.1f}"
    return f"{calls[-1].device.upper()} · {shown} ms"


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


@st.fragment
def _questions(page: Page) -> None:
    st.subheader(_("Check yourself"), anchor="questions")
    st.caption(
        _("Questions with a number ask for the one on screen right now: read it or work it out.")
    )
    for number, question in enumerate(page.text.questions):
        key = f"{page.id}.question.{number}"
        with st.container(gap="small"):
            st.markdown(f"**{number + 1}.** {question.text}")
            if question.choices:
                _choice_question(key, question)
            else:
                _number_question(page, key, question)


def _choice_question(key: str, question: text.Question) -> None:
    picked = st.radio(
        question.text,
        range(len(question.choices)),
        format_func=question.choices.__getitem__,
        index=None,
        key=key,
        label_visibility="collapsed",
        persist_state="session",
    )
    if picked is not None:
        _verdict(picked == question.right, question.explanation)


def _number_question(page: Page, key: str, question: text.Question) -> None:
    given = st.number_input(
        question.text,
        value=None,
        key=key,
        label_visibility="collapsed",
        width=220,
        placeholder=_("Your answer"),
        persist_state="session",
    )
    if given is None:
        return
    wanted = page.facts.get(question.answer)
    if wanted is None:
        st.info(_("This number is not on screen now: look at the step above first."))
        return
    numbers = {name: _plain(value) for name, value in page.facts.items()}
    _verdict(question.accepts(given, wanted), text.fill(question.explanation, numbers))


def _verdict(right: bool, explanation: str) -> None:
    if right:
        st.success(f"{_('Right.')} {explanation}", icon=":material/check_circle:")
    else:
        st.error(_("Not yet. Try again, or look at the figure."), icon=":material/cancel:")
        with st.popover(_("Show the answer")):
            st.markdown(explanation)


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1 else f"{value:.3g}"
