"""What a visitor sees of the line before heavy work, and what ends the wait."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_requests import ScriptRequestType

from ui.language import translate as _
from ui.queue import HEAVY, GaveWayError, Perform


class Waiting:
    """A line of text, empty unless this step waits for its turn.

    Telling it anew is also where Streamlit ends a run that nobody needs any more: the tab is
    closed, another page is open. The place in line is given up then.
    """

    def __init__(self) -> None:
        self._place = st.empty()
        self._shown = False

    @contextmanager
    def turn(self, gives_way: bool = False) -> Iterator[Perform]:
        """A place among the heavy computations inside the `with` block, which gets who does them.

        Args:
            gives_way: leave the line as soon as the visitor does something else, which Streamlit
                would keep until this run is over.

        Raises:
            GaveWayError: in that case.
        """

        def tell(before: int) -> None:
            text = _("Waiting for a free processor: {before} before you")
            self._shown = True
            self._place.info(text.format(before=before), icon=":material/hourglass_top:")
            if gives_way and _asked_for_more():
                raise GaveWayError

        try:
            with HEAVY.turn(tell, lasts=not gives_way) as perform:
                self._clear()
                yield perform
        except GaveWayError:
            self._clear()
            raise

    def _clear(self) -> None:
        if self._shown:
            self._place.empty()
            self._shown = False


def _asked_for_more() -> bool:
    """Whether another run of this session has been asked for since this one began."""
    context = get_script_run_ctx()
    requests = context.script_requests if context else None
    return requests is not None and requests._state is ScriptRequestType.RERUN
