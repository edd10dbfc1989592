"""A training that waits in line, and who else uses the machine, for the browser tests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import streamlit as st

from ui.live.slider import live_slider
from ui.live.training import live_training, training_serial
from ui.queue import HEAVY
from ui.toolbar import toolbar
from ui.waiting import Waiting

LENGTH = 3000


@dataclass(frozen=True)
class Counted:
    step: int


@st.cache_resource
def computed() -> list[int]:
    """Every state that was computed for any visitor."""
    return []


def count_up() -> Iterator[Counted]:
    for step in range(LENGTH + 1):
        time.sleep(0.02)
        computed().append(step)
        yield Counted(step)


def train() -> None:
    waiting = Waiting()
    level = live_slider("Level", range(101), 50, key="level", acknowledge=False)
    strings = {"start": "Train", "pause": "Pause", "again": "From the start"}
    states = live_training(
        count_up,
        0,
        key="count",
        length=LENGTH,
        strings={**strings, "progress": "Step {step} of {length}"},
        turn=lambda: waiting.turn(gives_way=True),
    )
    st.text(f"level {level}, states {len(states)}")
    answered = {"count": training_serial("count")}
    toolbar("step", "page", offers=[], tables={}, acknowledgements=answered, calls=[])


def occupy() -> None:
    """Hold a place until the tab is closed."""
    if st.button("Occupy"):
        with HEAVY.turn():
            place = st.empty()
            while True:
                place.text("occupied")
                time.sleep(0.05)


def look() -> None:
    st.button("Look")
    st.text(f"computed {len(computed())}, in line {HEAVY.length}")


CASES = {"train": train, "occupy": occupy, "look": look}
st.fragment(CASES[st.query_params.get("case", "train")])()
