"""What the browser hears of a step's run: what it does not know yet, and no word of the run."""

from asyncio import TimerHandle
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

from google.protobuf.message import Message
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.RootContainer_pb2 import RootContainer
from streamlit.runtime.app_session import AppSession

SHORT = 0.1
"""Seconds after which the browser is told that a step runs."""

MOST_SILENT = 8
"""Runs in a row of which the browser hears nothing: only at a word does it forget old figures."""


class Seen(NamedTuple):
    """What stands somewhere on the page.

    Attributes:
        content: its hash; `_LOST` if it may not have arrived.
        widget: its id; "" if it has none.
    """

    content: str
    widget: str


Send = Callable[[AppSession, ForwardMsg], None]
Place = tuple[int, ...]

_LOST = ""


@cache
def tell_only_news() -> None:
    """Send of a step's run only what has changed, and a word of the run only where it is needed.

    At each word, that a run begins or has ended, React goes through the whole page, which takes it
    longer than the server takes for a light change. It is needed if the run takes a while, or has
    left out something, or drawn another widget in its place, that the browser must forget. Runs of
    the whole page are told and sent as ever.
    """
    # There is no public way.
    enqueue, clear = AppSession._enqueue_forward_msg, AppSession._clear_queue
    all_news: WeakKeyDictionary[AppSession, News] = WeakKeyDictionary()

    def tell(session: AppSession, message: ForwardMsg) -> None:
        all_news.setdefault(session, News(enqueue)).tell(session, message)

    def clear_queue(session: AppSession, fragment_ids_this_run: list[str] | None = None) -> None:
        queue = session._browser_queue
        if fragment_ids_this_run and any(map(_ends_page, queue._queue)):
            # Told of the end without all that was drawn, the browser would take the rest away.
            queue._delta_index_map = {}  # what the step draws is to come after that end
            return
        if session in all_news:
            all_news[session].lose(queue._queue)
        clear(session, fragment_ids_this_run)

    AppSession._enqueue_forward_msg, AppSession._clear_queue = tell, clear_queue


class News:
    """What one browser knows, and what is held back until it is clear whether it has to know it.

    It holds no session: who has left is to be forgotten at once.

    Args:
        send: sends a message to a session's browser.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun: ForwardMsg | None = None  # begins a step's run, not sent yet
        self._running: TimerHandle | None = None  # will tell that it runs
        self._silent = 0  # runs since the last one that was told
        self._shown: dict[Place, Seen] = {}
        self._drawn: set[Place] = set()  # by the latest run
        self._results: list[ForwardMsg] = []  # of a step's run that is not told

    def tell(self, session: AppSession, message: ForwardMsg) -> None:
        """Send a message if it is news, now or when that is clear."""
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._begin(session, message)
        elif kind == "script_finished":
            self._finish(session, message)
        elif kind == "session_status_changed":
            self._change_status(session, message)
        elif message.metadata.delta_path:
            self._draw(session, message)
        else:
            self._send(session, message)

    def lose(self, messages: Iterable[ForwardMsg]) -> None:
        """These may not arrive."""
        for place in {tuple(message.metadata.delta_path) for message in messages}:
            if place in self._shown:
                self._shown[place] = Seen(_LOST, self._shown[place].widget)

    def _begin(self, session: AppSession, message: ForwardMsg) -> None:
        self._drawn, self._results = set(), []
        if message.metadata.run.fragment_ids:
            self._begun = message
        else:
            self._begun, self._silent, self._shown = None, 0, {}
            self._send(session, message)

    def _draw(self, session: AppSession, message: ForwardMsg) -> None:
        place, content = tuple(message.metadata.delta_path), message.ref_hash or message.hash
        before = self._shown.get(place, Seen(_LOST, ""))
        widget = before.widget if message.ref_hash else _widget(message)
        if before.widget not in ("", widget):
            self._tell_begin(session)  # the browser must forget the widget that stood here
        self._drawn.add(place)
        self._shown[place] = Seen(content, widget)
        if self._begun:
            self._results.append(message)
        if not self._begun or content != before.content or content == _LOST or _acts(message):
            self._send(session, message)

    def _change_status(self, session: AppSession, message: ForwardMsg) -> None:
        waiting, self._running = self._running, None
        if waiting:
            waiting.cancel()
        if message.session_status_changed.script_is_running and self._begun:
            later = session._event_loop.call_later
            self._running = later(SHORT, self._tell_late, session, message)
        elif not waiting:
            self._send(session, message)

    def _tell_late(self, session: AppSession, message: ForwardMsg) -> None:
        self._running = None
        self._tell_begin(session)
        self._send(session, message)

    def _finish(self, session: AppSession, message: ForwardMsg) -> None:
        early = message.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN
        gone = set() if early else self._gone()
        if self._begun and not gone and self._silent < MOST_SILENT:
            self._silent += 1
            self._begun, self._results = None, []
            message.metadata.ClearField("run")  # without it the browser does nothing
        self._tell_begin(session)
        self._send(session, message)
        for place in gone:
            del self._shown[place]

    def _tell_begin(self, session: AppSession) -> None:
        """Tell that a step's run has begun, then all it has drawn: what is older will go."""
        if self._begun:
            session._clear_queue(list(self._begun.metadata.run.fragment_ids))
            self._send(session, self._begun)
            results = self._results
            self._begun, self._results, self._silent = None, [], 0
            for message in results:
                self._draw(session, message)

    def _gone(self) -> set[Place]:
        """What is shown inside of something that the run has drawn, and was not drawn itself."""
        outermost: list[Place] = []
        for place in sorted(self._drawn):
            if not outermost or not _lies_in(place, outermost[-1]):
                outermost.append(place)
        left_out = self._shown.keys() - self._drawn
        return {place for place in left_out for outer in outermost if _lies_in(place, outer)}


def _ends_page(message: ForwardMsg) -> bool:
    """Whether a run of the whole page is over, to its last line."""
    kind, how = message.WhichOneof("type"), message.script_finished
    return kind == "script_finished" and how == ForwardMsg.FINISHED_SUCCESSFULLY


def _lies_in(place: Place, outer: Place) -> bool:
    return place[: len(outer)] == outer


def _widget(message: ForwardMsg) -> str:
    """The id of a widget or container; "" if it has none."""
    return getattr(_element(message), "id", "") or message.delta.add_block.id


def _acts(message: ForwardMsg) -> bool:
    """Whether it does something even if the browser has it.

    A dialog opens once more, a widget goes back to where the visitor has moved it from.
    """
    sets = getattr(_element(message), "set_value", False)
    return sets or message.metadata.delta_path[0] == RootContainer.EVENT


def _element(message: ForwardMsg) -> Message | None:
    """What is drawn, if it is no container."""
    kind = message.delta.new_element.WhichOneof("type")
    return getattr(message.delta.new_element, kind) if kind else None
