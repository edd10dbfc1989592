"""Heavy work waits in line, so that many visitors can share one machine.

Heavy is what a network computes, a slice of a live training, and a call that has proved slow (see
`ui.kept`). All of it together gets at most half of the processors: `PLACES` computations at once,
each with `THREADS` threads of torch. Everything else is light, never waits here, and goes first
where there is no free processor: on Linux heavy work runs in threads of low priority.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

Perform = Callable[[Callable[[], Any]], Any]
"""Does some work and returns its result."""

TURN = 0.5
"""Seconds that the calls of one run may take together before it goes to the end of the line.

A page with a new photo makes ten heavy calls: if it waited before each, the last would come late.
"""

NICENESS = 6
"""Of heavy work: where both want a processor, a light thread gets four times as much of it."""

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
    >>> with turnstile.turn() as perform:
    ...     perform(lambda: turnstile.length)
    1
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._threads = ThreadPoolExecutor(places, "heavy", _become_nice)
        self._run = threading.local()  # `left`: seconds of its turn
        self._line: list[object] = []  # the first `places` of it have been let through
        self._moved = threading.Condition()

    @property
    def length(self) -> int:
        """How many are in line or have been let through."""
        return len(self._line)

    @contextmanager
    def turn(
        self, tell: Callable[[int], None] = lambda before: None, lasts: bool = False
    ) -> Iterator[Perform]:
        """Wait for one's turn and keep it inside the `with` block, which gets who does the work.

        Args:
            tell: called every `PATIENCE` seconds of waiting with the number of those who have to
                leave first. If it raises, the place in line is given up.
            lasts: whether the turn is to last for more that this thread will do: up to `TURN`
                seconds of work it is the first in line again.
        """
        ticket, left = object(), getattr(self._run, "left", 0.0) if lasts else 0.0
        with self._moved:
            self._line.insert(self._places if left > 0 else len(self._line), ticket)
        try:
            while before := self._wait(ticket):
                tell(before)
            begun = time.perf_counter()
            yield self._perform
            if lasts:
                self._run.left = (left if left > 0 else TURN) - (time.perf_counter() - begun)
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()

    def _perform(self, work: Callable[[], Any]) -> Any:
        return self._threads.submit(copy_context().run, work).result()

    def _wait(self, ticket: object) -> int:
        """How many still have to leave before `ticket`'s turn after `PATIENCE` seconds at most."""

        def before() -> int:
            return max(0, self._line.index(ticket) - self._places + 1)

        with self._moved:
            self._moved.wait_for(lambda: not before(), PATIENCE)
            return before()


def at_once(work: Callable[[], Any]) -> Any:
    """Do light work."""
    return work()


def _become_nice() -> None:
    if sys.platform == "linux":  # elsewhere this would concern the whole process
        os.nice(NICENESS)


HEAVY = Turnstile(PLACES)
"""What all visitors' heavy work passes."""


class GaveWayError(Exception):
    """Heavy work that can be asked for again has left the line for something else."""
