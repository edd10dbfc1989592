"""What the browser hears of runs: of a step's that is over soon, nothing but its results."""

from asyncio import TimerHandle
from functools import cache
from weakref import WeakKeyDictionary, WeakSet

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.app_session import AppSession

SHORT = 0.1
"""Seconds after which the browser is told that a step runs."""

_steps: WeakSet[AppSession] = WeakSet()  # sessions whose latest run is a step's, not the page's
_waiting: WeakKeyDictionary[AppSession, TimerHandle] = WeakKeyDictionary()


@cache
def tell_long_runs_only() -> None:
    """Tell the browser that a step runs, and later that it has ended, only if that takes a while.

    At each such word React goes through the whole page, which takes it as long as the server takes
    for a light change: a sixth of the time until the visitor sees one. Runs of the whole page are
    always told, for a browser that connects takes the page to be running.
    """
    # There is no public way.
    enqueue = AppSession._enqueue_forward_msg

    def tell(session: AppSession, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            is_step = len(message.metadata.run.fragment_ids) > 0
            (_steps.add if is_step else _steps.discard)(session)
        if kind == "session_status_changed":
            hold(session, message)
        else:
            enqueue(session, message)

    def hold(session: AppSession, message: ForwardMsg) -> None:
        waiting = _waiting.pop(session, None)
        if waiting:
            waiting.cancel()
        if message.session_status_changed.script_is_running and session in _steps:
            later = session._event_loop.call_later(SHORT, tell_late, session, message)
            _waiting[session] = later
        elif not waiting:
            enqueue(session, message)

    def tell_late(session: AppSession, message: ForwardMsg) -> None:
        del _waiting[session]
        enqueue(session, message)

    AppSession._enqueue_forward_msg = tell
