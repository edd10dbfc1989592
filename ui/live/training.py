"""The live training: a long computation that the browser keeps going, slice by slice.

The browser asks for the next slice when the one before has been drawn. So the figures move while
it runs, every other control still answers, and a visitor who stops or leaves frees the machine
at once: nothing runs that nobody asked for. With every slice it goes to the end of the line.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import streamlit as st

from ui.live.channel import component
from ui.queue import GaveWayError, Perform, at_once

SLICE = 0.25
"""Seconds of computation between two redraws."""

_RUNS = "live.trainings"


@dataclass
class _Run:
    """What the session remembers of one training; `revision` grows when it begins anew."""

    settings: Hashable
    source: Iterator[Any]
    states: list[Any] = field(default_factory=list)
    serial: int = -1
    revision: int = 0
    finished: bool = False

    def advance(self, seconds: float) -> None:
        """Compute at least one more state, and as many as fit into `seconds`."""
        until = time.perf_counter() + seconds
        while not self.finished:
            state = next(self.source, None)
            if state is None:
                self.finished = True
            else:
                self.states.append(state)
            if time.perf_counter() >= until:
                return


def live_training(
    begin: Callable[[], Iterator[Any]],
    settings: Hashable,
    *,
    key: str,
    length: int,
    strings: Mapping[str, str],
    turn: Callable[[], AbstractContextManager[Perform]] = lambda: nullcontext(at_once),
) -> list[Any]:
    """Start, pause and repeat a long computation; returns its states so far, at least the first.

    Args:
        begin: starts it; its states have an attribute `step`.
        settings: what it depends on; when they change it begins anew and waits to be started.
        key: unique in the app.
        length: the `step` of its last state.
        strings: `start`, `pause`, `again` and `progress`, the latter with `{step}` and `{length}`.
        turn: entered for every slice but the first state, gives who computes it; if it raises
            `GaveWayError`, the slice is left out and the browser asks again.
    """
    runs = st.session_state.setdefault(_RUNS, {})
    run = runs.get(key)
    asked = _asked(key)
    fresh = isinstance(asked.get("serial"), int) and asked["serial"] != getattr(run, "serial", -1)
    again = fresh and asked.get("again") is True
    if run is None or run.settings != settings or again:
        runs[key] = run = _Run(settings, begin(), revision=run.revision + 1 if run else 0)
        run.advance(0)
        going = again
    else:
        going = fresh and asked.get("revision") == run.revision and not asked.get("pause")
    if fresh:
        run.serial = asked["serial"]
    if going:
        with suppress(GaveWayError), turn() as perform:
            perform(lambda: run.advance(SLICE))
    step = run.states[-1].step
    component("training")(
        data={
            "topic": key,
            "share": 1.0 if run.finished else min(1.0, step / length),
            "progress": strings["progress"].format(step=step, length=length),
            "finished": run.finished,
            "revision": run.revision,
            "strings": dict(strings),
        },
        key=key,
        on_asked_change=_nothing,
    )
    return run.states


def training_serial(key: str) -> int:
    """Number of the last request of this training that Python has seen."""
    return st.session_state[_RUNS][key].serial


def _nothing() -> None:
    """A component's state is kept only where a callback is registered for it."""


def _asked(key: str) -> Mapping[str, Any]:
    state = st.session_state.get(key)
    asked = state.get("asked") if isinstance(state, Mapping) else None
    return asked if isinstance(asked, Mapping) else {}
