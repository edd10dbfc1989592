"""The frame of a concept page: header, steps, questions, sources."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from ui import chooser, controls, drawn, language, shell, text
from ui.language import translate as _
from ui.live.channel import component, forget_shared, share
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
        forget_shared()
        self._header()

    @property
    def facts(self) -> dict[str, dict[str, float]]:
        """Numbers on screen, by step and name: the questions are checked against them."""
        return st.session_state.setdefault(_FACTS, {}).setdefault(self.id, {})

    def step(self, *, feeds: Sequence[str] = ()) -> Callable[[Callable[[Step], None]], None]:
        """Draw the decorated function as the next step: a fragment that reruns by itself.

        Args:
            feeds: names of later steps that use this one's controls; they rerun on release.
        """
        self._steps += 1
        number = self._steps

        def draw(body: Callable[[Step], None]) -> None:
            name = body.__name__
            section = self.text.sections[name]
            st.subheader(f"{number}  {section.title}", anchor=name.replace("_", "-"))
            st.markdown(section.body)

            @st.fragment(key=f"{self.id}.{name}.step")
            def fragment() -> None:
                facts = self.facts[name] = {}
                step = Step(self.id, name, section, facts, feeds)
                calls = current_calls.set([])
                try:
                    with language.settled():
                        body(step)
                    step.finish(current_calls.get() or [])
                finally:
                    current_calls.reset(calls)

            fragment()

        return draw

    def value(self, key: str) -> Any:
        """What a control of another step stands at; that step must come first."""
        return controls.value(f"{self.id}.{key}")

    def drawn(self, step: str, key: str) -> list[drawn.Box]:
        """The boxes that another step lets the visitor draw; that step must come first."""
        return drawn.corners(f"{self.id}.{step}.{key}")

    def close(self) -> None:
        """Draw the questions and the sources."""
        if self.text.questions:
            st.divider()
            ask(self.id, self.text.questions, self.facts)
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
