"""Runs of steps that are over soon are not told to the browser, all others are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.app_session import AppSession

from ui.running import SHORT, tell_long_runs_only


def started(fragments: list[str]) -> ForwardMsg:
    message = ForwardMsg()
    message.new_session.name = "app.py"
    message.metadata.run.fragment_ids.extend(fragments)
    return message


def status(running: bool) -> ForwardMsg:
    message = ForwardMsg()
    message.session_status_changed.script_is_running = running
    return message


FINISHED = ForwardMsg(script_finished=ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY)
STEP = [started(["step"]), status(True), FINISHED, status(False)]
PAGE = [started([]), status(True), FINISHED, status(False)]
KINDS = {"new_session": "run", "script_finished": "end"}


@dataclass
class Timer:
    """A call to be made at a time."""

    when: float
    call: Callable[[], None]

    def cancel(self) -> None:
        self.when = math.inf


class Session:
    """What is needed of Streamlit's; its loop makes calls as time is told to pass."""

    def __init__(self) -> None:
        self._event_loop = self
        self._now = 0.0
        self._timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[..., None], *given: Any) -> Timer:
        self._timers.append(Timer(self._now + delay, partial(call, *given)))
        return self._timers[-1]

    def wait(self, seconds: float) -> None:
        self._now += seconds
        due = [timer for timer in self._timers if timer.when <= self._now]
        for timer in due:
            timer.cancel()
            timer.call()


@pytest.fixture
def hear(monkeypatch):
    """What arrives of messages that are sent, where a number stands for a pause in seconds."""
    heard: list[str] = []

    def enqueue(_session: AppSession, message: ForwardMsg) -> None:
        running = message.session_status_changed.script_is_running
        kind = message.WhichOneof("type")
        heard.append(KINDS.get(kind) or ("running" if running else "not running"))

    monkeypatch.setattr(AppSession, "_enqueue_forward_msg", enqueue)
    tell_long_runs_only.__wrapped__()

    def listen(*sent: ForwardMsg | float) -> list[str]:
        heard.clear()
        session = Session()
        for what in [*sent, 2 * SHORT]:
            if isinstance(what, ForwardMsg):
                AppSession._enqueue_forward_msg(session, what)
            else:
                session.wait(what)
        return heard

    return listen


def test_of_a_short_run_of_a_step_only_its_results_are_told(hear) -> None:
    assert hear(*STEP) == ["run", "end"]
    assert hear(*STEP, *STEP) == ["run", "end", "run", "end"]


def test_a_long_run_of_a_step_is_told_while_it_runs(hear) -> None:
    run, running, finished, not_running = STEP
    told = ["run", "running", "end", "not running"]
    assert hear(run, running, 2 * SHORT, finished, not_running) == told


def test_a_run_that_is_begun_anew_counts_from_its_start(hear) -> None:
    halves = [*STEP[:2], 0.6 * SHORT, *STEP[2:], *STEP[:2], 0.6 * SHORT, *STEP[2:]]
    assert hear(*halves) == ["run", "end", "run", "end"]


def test_every_run_of_the_page_is_told(hear) -> None:
    told = ["run", "running", "end", "not running"]
    assert hear(*PAGE) == told
    assert hear(*STEP, *PAGE) == ["run", "end", *told]
    run, running, *_end = PAGE
    assert hear(run, running, status(False), *STEP) == [*told[:2], "not running", "run", "end"]
