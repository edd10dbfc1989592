"""Of a step's run the browser hears what it does not know, and a word only where it must."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue

from ui.news import MOST_SILENT, SHORT, tell_only_news

SUCCESS, EARLY = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY, ForwardMsg.FINISHED_EARLY_FOR_RERUN


def started(step: str = "") -> ForwardMsg:
    """A run of a step, or of the page."""
    message = ForwardMsg()
    message.new_session.name = "app.py"
    message.metadata.run.script_run_id = "number"
    message.metadata.run.fragment_ids.extend(filter(None, [step]))
    return message


def drawn(*place: int, text: str = "") -> ForwardMsg:
    message = ForwardMsg()
    message.delta.new_element.markdown.body = text
    message.metadata.delta_path.extend(place)
    message.hash = text or "nothing"
    return message


def status(running: bool) -> ForwardMsg:
    message = ForwardMsg()
    message.session_status_changed.script_is_running = running
    return message


def finished(how: int = SUCCESS) -> ForwardMsg:
    message = ForwardMsg(script_finished=how)
    message.metadata.run.script_run_id = "number"
    return message


def run(step: str, *places: tuple[int, ...], text: str = "") -> list[ForwardMsg]:
    """All messages of one run that draws the text in these places."""
    results = [drawn(*place, text=text) for place in places]
    return [started(step), status(True), *results, finished(), status(False)]


STEP, INSIDE, OTHER = (0, 1), (0, 1, 0), (0, 1, 1)
PAGE = run("", STEP, INSIDE, OTHER, (0, 2))
TOLD_PAGE = ["run", "running", STEP, INSIDE, OTHER, (0, 2), "end", "not running"]


@dataclass
class Timer:
    """A call to be made at a time."""

    when: float
    call: Callable[[], None]

    def cancel(self) -> None:
        self.when = math.inf


class Loop:
    """Makes calls as time is told to pass."""

    def __init__(self) -> None:
        self._now = 0.0
        self._timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[..., None], *given: Any) -> Timer:
        self._timers.append(Timer(self._now + delay, partial(call, *given)))
        return self._timers[-1]

    def wait(self, seconds: float) -> None:
        self._now += seconds
        due = [timer for timer in self._timers if timer.when <= self._now]
        self._timers = [timer for timer in self._timers if self._now < timer.when < math.inf]
        for timer in due:
            timer.call()


class Session:
    """What is needed of Streamlit's."""

    def __init__(self) -> None:
        self._event_loop = Loop()
        self._browser_queue = ForwardMsgQueue()
        self.cleared: list[str] = []

    def _clear_queue(self, fragments: list[str]) -> None:
        AppSession._clear_queue(self, fragments)


def what(message: ForwardMsg) -> str | tuple[int, ...]:
    """What a browser hears in a message."""
    kind = message.WhichOneof("type")
    if kind == "delta":
        return tuple(message.metadata.delta_path)
    if kind == "session_status_changed":
        return "running" if message.session_status_changed.script_is_running else "not running"
    if kind == "script_finished":
        return "end" if message.metadata.HasField("run") else "silent end"
    return "run"


@pytest.fixture
def told(monkeypatch):
    """All that a session's browser hears."""
    heard = weakref.WeakKeyDictionary()

    def enqueue(session: AppSession, message: ForwardMsg) -> None:
        heard.setdefault(session, []).append(what(message))

    def clear(session: AppSession, fragments: list[str]) -> None:
        session.cleared += fragments
        session._browser_queue.clear(True, fragments)

    monkeypatch.setattr(AppSession, "_enqueue_forward_msg", enqueue)
    monkeypatch.setattr(AppSession, "_clear_queue", clear)
    tell_only_news.__wrapped__()
    return heard


@pytest.fixture
def hear(told):
    """What arrives of messages that are sent, where a number stands for a pause in seconds."""

    def listen(*sent: ForwardMsg | float) -> list[str | tuple[int, ...]]:
        session = Session()
        for message in [*sent, 2 * SHORT]:
            if isinstance(message, ForwardMsg):
                AppSession._enqueue_forward_msg(session, message)
            else:
                session._event_loop.wait(message)
        return told[session]

    return listen


def test_of_a_short_run_of_a_step_only_its_results_are_told(hear) -> None:
    step = run("step", STEP, INSIDE, OTHER, text="new")
    assert hear(*PAGE, *step)[len(TOLD_PAGE) :] == [STEP, INSIDE, OTHER, "silent end"]


def test_what_the_browser_has_is_not_sent_again(hear) -> None:
    step = run("step", STEP, INSIDE, OTHER, text="new")
    step[3] = drawn(*INSIDE)
    assert hear(*PAGE, *step, *step)[len(TOLD_PAGE) :] == [STEP, OTHER, "silent end", "silent end"]


def test_the_page_is_always_sent_as_a_whole(hear) -> None:
    assert hear(*PAGE, *PAGE) == [*TOLD_PAGE, *TOLD_PAGE]


def test_what_acts_is_sent_again(hear) -> None:
    """The visitor may have closed the dialog, or moved the widget, since."""
    dialog, widget = drawn(2, 0), drawn(*INSIDE)
    widget.delta.new_element.selectbox.set_value = True
    step = [started("step"), drawn(*STEP), widget, dialog, finished()]
    assert hear(*step, *step) == [STEP, INSIDE, (2, 0), "silent end", INSIDE, (2, 0), "silent end"]


def test_what_may_not_have_arrived_is_sent_again(told) -> None:
    session = Session()
    for message in [*PAGE, *run("step", STEP, INSIDE, OTHER)]:
        AppSession._enqueue_forward_msg(session, message)
    assert told[session] == [*TOLD_PAGE, "silent end"]
    for message in (finished(EARLY), drawn(*INSIDE)):
        session._browser_queue.enqueue(message)
    session._clear_queue(["step"])
    for message in run("step", STEP, INSIDE, OTHER):
        AppSession._enqueue_forward_msg(session, message)
    assert told[session][len(TOLD_PAGE) + 1 :] == [INSIDE, "silent end"]


def test_what_a_run_adds_needs_no_word(hear) -> None:
    more = run("step", STEP, INSIDE, OTHER, (*OTHER, 0))
    assert hear(*PAGE, *more)[len(TOLD_PAGE) :] == [(*OTHER, 0), "silent end"]


def test_what_a_run_leaves_out_is_removed(hear) -> None:
    """The browser removes what is older than the run of which it is told: all is sent again."""
    less, again = run("step", STEP, INSIDE), run("step", STEP, INSIDE)
    more = run("step", STEP, INSIDE, OTHER)
    told = ["run", STEP, INSIDE, "end", "silent end", OTHER, "silent end"]
    assert hear(*PAGE, *less, *again, *more)[len(TOLD_PAGE) :] == told


def test_what_stood_in_a_container_is_removed_with_it(hear) -> None:
    instead = run("step", STEP, text="instead of a container")
    assert hear(*PAGE, *instead)[len(TOLD_PAGE) :] == [STEP, "run", STEP, "end"]


def test_a_widget_in_the_place_of_another_needs_a_word(hear) -> None:
    """Or the browser would keep what the visitor had set the first one to."""

    def choose(name: str) -> list[ForwardMsg]:
        slider = drawn(*INSIDE, text=name)
        slider.delta.new_element.bidi_component.id = name
        return [started("step"), drawn(*STEP), slider, finished()]

    told = [STEP, INSIDE, "silent end", "run", STEP, INSIDE, "end", "silent end"]
    assert hear(*choose("one"), *choose("other"), *choose("other")) == told


def test_what_stands_elsewhere_is_left_alone(hear) -> None:
    assert hear(*PAGE, *run("other", (0, 2)))[len(TOLD_PAGE) :] == ["silent end"]


def test_what_waits_to_be_sent_is_not_sent_before_the_word(told) -> None:
    """Or Streamlit would put the new message into the old one's place, before the word."""
    session = Session()
    for message in [*PAGE, *run("step", STEP, INSIDE)]:
        AppSession._enqueue_forward_msg(session, message)
    assert session.cleared == ["step"]


def test_what_the_page_has_drawn_arrives_even_if_a_step_runs_at_once(told) -> None:
    """Streamlit drops what the step will draw again, and the browser, told of the page's end, takes
    away what it was not sent: the step would vanish for a moment."""
    session = Session()
    results = [drawn(*STEP), drawn(*INSIDE)]
    for result in results:
        result.delta.fragment_id = "step"
    page_end = finished(ForwardMsg.FINISHED_SUCCESSFULLY)
    for message in [started(), *results, page_end]:
        session._browser_queue.enqueue(message)
    session._clear_queue(["step"])
    session._browser_queue.enqueue(drawn(*INSIDE, text="by the step"))
    left = [what(message) for message in session._browser_queue.flush()]
    assert left == ["run", STEP, INSIDE, "end", INSIDE]


def test_an_interrupted_run_has_left_out_nothing(hear) -> None:
    interrupted = [started("step"), status(True), drawn(*STEP), finished(EARLY), status(False)]
    whole = run("step", STEP, INSIDE, OTHER)
    assert hear(*PAGE, *interrupted, *whole)[len(TOLD_PAGE) :] == ["silent end", "silent end"]
    assert "run" in hear(*PAGE, *interrupted, *run("step", STEP, INSIDE))[len(TOLD_PAGE) :]


def test_a_long_run_of_a_step_is_told_while_it_runs(hear) -> None:
    begin, running, one, two, finish, not_running = run("step", STEP, INSIDE)
    heard = hear(begin, running, one, 2 * SHORT, two, finish, not_running)
    assert heard == [STEP, "run", STEP, "running", INSIDE, "end", "not running"]


def test_a_run_that_is_begun_anew_counts_from_its_start(hear) -> None:
    begin, running, *rest = run("step", STEP)
    halves = [begin, running, 0.6 * SHORT, *rest]
    again = [started("step"), status(True), 0.6 * SHORT, *run("step", STEP)[2:]]
    assert hear(*halves, *again) == [STEP, "silent end", "silent end"]


def test_every_few_runs_one_is_told_so_that_the_browser_forgets(hear) -> None:
    runs = [message for _count in range(MOST_SILENT + 2) for message in run("step", STEP)]
    ends = [told for told in hear(*runs) if told in ("end", "silent end")]
    assert ends == [*["silent end"] * MOST_SILENT, "end", "silent end"]


def test_every_run_of_the_page_is_told(hear) -> None:
    assert hear(*PAGE) == TOLD_PAGE
    assert hear(*run("step", STEP), *PAGE) == [STEP, "silent end", *TOLD_PAGE]
    begin, running, *_rest = PAGE
    heard = hear(begin, running, status(False), *run("step", STEP))
    assert heard == ["run", "running", "not running", STEP, "silent end"]


def test_a_session_that_has_ended_is_forgotten(told) -> None:
    session = Session()
    for message in [*PAGE, *run("step", STEP, INSIDE)]:
        AppSession._enqueue_forward_msg(session, message)
    session._event_loop.wait(2 * SHORT)
    left = weakref.ref(session)
    del session
    assert left() is None
