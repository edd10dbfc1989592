"""Heavy work waits in line, so that many visitors can share one machine.

Heavy is what a network computes, a slice of a live training, and a call that has proved slow (see
`ui.kept`). All of it together gets at most half of the processors: `PLACES` computations at once,
each with `THREADS` threads of torch. Everything else is light and never waits here.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE = 0.3
"""Seconds in line after which a visitor is told, and between two tellings."""


def cores() -> int:
    """Processors that this server may count on: what VISION_CORES says, else those it may use.

    Raises:
        ValueError: if VISION_CORES is no whole number from 1 on.
    """
    given = os.environ.get("VISION_CORES")
    if given is None:
        allowed = getattr(os, "sched_getaffinity", None)  # not every system has it
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"VISION_CORES must be a whole number from 1 on, got {given!r}")
    return int(given)


_HALF = max(1, cores() // 2)

THREADS = min(4, _HALF)
"""Threads that torch uses for one computation: a small network gains little from more."""

PLACES = _HALF // THREADS
"""Heavy computations at once, at least one."""


class Turnstile:
    """Lets `places` threads through at once; the others wait, first come, first served.

    >>> turnstile = Turnstile(places=1)
    >>> with turnstile.turn():
    ...     turnstile.length
    1
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._line: list[object] = []  # the first `places` of it have been let through
        self._moved = threading.Condition()

    @property
    def length(self) -> int:
        """How many are in line or have been let through."""
        return len(self._line)

    @contextmanager
    def turn(self, tell: Callable[[int], None] = lambda before: None) -> Iterator[None]:
        """Wait for one's turn and keep it inside the `with` block.

        Args:
            tell: called every `PATIENCE` seconds of waiting with the number of those who have to
                leave first. If it raises, the place in line is given up.
        """
        ticket = object()
        with self._moved:
            self._line.append(ticket)
        try:
            while before := self._wait(ticket):
                tell(before)
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def _wait(self, ticket: object) -> int:
        """How many still have to leave before `ticket`'s turn after `PATIENCE` seconds at most."""

        def before() -> int:
            return max(0, self._line.index(ticket) - self._places + 1)

        with self._moved:
            self._moved.wait_for(lambda: not before(), PATIENCE)
            return before()


HEAVY = Turnstile(PLACES)
"""What all visitors' heavy work passes."""


class GaveWayError(Exception):
    """Heavy work that can be asked for again has left the line for something else."""
