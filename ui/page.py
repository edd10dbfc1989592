"""The frame of a concept page: header, steps, questions, sources."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui import chooser, controls, drawn, language, shell, text
from ui.language import translate as _
from ui.live.channel import component, forget_shared, share
from ui.live.stage import stage_event
from ui.photo import Photo
from ui.questions import ask
from ui.run import current_calls
from ui.step import Step

_FACTS = "page.facts"


class Page:
    """One concept's page: `step` draws a step, `close` what every page ends with."""

    def __init__(self, concept: str) -> None:
        shell.enter()
        self.id = concept
        self.text = text.load(concept, language.current())
        self._steps = 0
        self._drawing = ""
        forget_shared()
        self._header()

    @property
    def _facts(self) -> dict[str, dict[str, float]]:
        return st.session_state.setdefault(_FACTS, {}).setdefault(self.id, {})

    def step(self, body: Callable[[Step], None]) -> None:
        """Draw the decorated function as the next step: a fragment that reruns by itself.

        It also reruns when what it takes from an earlier step changes, by `value`, `drawn`,
        `pinned` or `fact`.
        """
        self._steps += 1
        name = body.__name__
        section = self.text.sections[name]
        st.subheader(f"{self._steps}  {section.title}", anchor=name.replace("_", "-"))
        st.markdown(section.body)

        @st.fragment(key=f"{self.id}.{name}.step")
        def fragment() -> None:
            self._drawing = name
            facts = self._facts[name] = {}
            step = Step(self.id, name, section, facts)
            calls = current_calls.set([])
            try:
                with language.settled():
                    body(step)
                step.finish(current_calls.get() or [])
            finally:
                current_calls.reset(calls)
                self._drawing = ""

        fragment()

    def value(self, key: str) -> Any:
        """What a control of another step stands at; that step must come first."""
        self.follow(key)
        return controls.value(f"{self.id}.{key}")

    def drawn(self, step: str, key: str) -> list[drawn.Box]:
        """The boxes that another step lets the visitor draw; that step must come first."""
        self.follow(key)
        return drawn.corners(f"{self.id}.{step}.{key}")

    def pinned(self, step: str, photo: Photo, cells: int) -> int | None:
        """The cell pinned on the stage of a step, this one or an earlier one; None for none.

        Args:
            cells: how many there are now.
        """
        self.follow(f"{step}.stage")
        event = stage_event(f"{self.id}.{step}.stage", (photo.width, photo.height))
        return event.cell if event.cell is not None and event.cell < cells else None

    def fact(self, step: str, name: str) -> float:
        """A number that another step has found; that step must come first."""
        self.follow(f"{step}.facts")
        return self._facts[step][name]

    def follow(self, key: str) -> None:
        """Let the step that is being drawn rerun when the control `key` is let go."""
        if self._drawing:
            controls.follow(f"{self.id}.{key}", self._drawing)

    def close(self) -> None:
        """Draw the questions and the sources."""
        if self.text.questions:
            st.divider()
            ask(self.id, self.text.questions, self._facts)
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
