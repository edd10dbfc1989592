"""The turnstile before heavy work: how many at once, in which order, and who leaves it."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path

import pytest

from ui import queue
from ui.queue import HEAVY, NICENESS, PLACES, THREADS, Turnstile, at_once, cores

ROOT = Path(__file__).parents[2]
SECONDS = 20


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as threads:
        yield threads


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "PATIENCE", 0.01)


class Visitor:
    """Passes a turnstile in a thread of its own and stays inside until told to leave."""

    def __init__(self, turnstile: Turnstile, pool: ThreadPoolExecutor, **options: Callable) -> None:
        self.inside, self.may_leave = threading.Event(), threading.Event()
        joined = turnstile.length + 1
        self.done: Future[None] = pool.submit(self._pass, turnstile, options)
        until(lambda: turnstile.length == joined)

    def _pass(self, turnstile: Turnstile, options: dict[str, Callable]) -> None:
        with turnstile.turn(**options):
            self.inside.set()
            assert self.may_leave.wait(SECONDS)

    def leave(self) -> None:
        self.may_leave.set()
        self.done.result(SECONDS)


def until(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(SECONDS * 1000):
        if holds():
            return
        pause.wait(0.001)
    raise TimeoutError


def test_heavy_work_holds_at_most_half_of_the_processors() -> None:
    assert PLACES >= 1
    assert THREADS >= 1
    at_once = PLACES * THREADS
    assert at_once <= max(1, cores() // 2)
    assert HEAVY.length == 0


@pytest.mark.parametrize(
    ("allowed", "given", "expected"), [({0, 5, 7}, None, 3), ({0}, "16", 16), ({0, 1}, "1", 1)]
)
def test_the_cores_are_those_that_are_allowed_or_named(monkeypatch, allowed, given, expected):
    monkeypatch.delenv("VISION_CORES", raising=False)
    if given is not None:
        monkeypatch.setenv("VISION_CORES", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: allowed, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cores() == expected


def test_a_system_that_restricts_no_process_gives_all_cores(monkeypatch):
    monkeypatch.delenv("VISION_CORES", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores() == 6


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "many", ""])
def test_a_number_of_cores_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("VISION_CORES", given)
    with pytest.raises(ValueError, match=f"VISION_CORES must be .* got '{given}'"):
        cores()


@pytest.mark.parametrize(
    ("given", "places", "threads"), [("1", 1, 1), ("2", 1, 1), ("8", 1, 4), ("16", 2, 4)]
)
def test_the_line_follows_from_the_cores(given, places, threads):
    script = "from ui.queue import PLACES, THREADS; print(PLACES, THREADS)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"VISION_CORES": given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(places), str(threads)]


def test_the_examples_name_the_cores_of_a_replica():
    manifest = (ROOT / "deploy" / "kubernetes.yaml").read_text()
    requested = re.search(r'requests: \{cpu: "(\d+)"', manifest)
    named = re.search(r'name: VISION_CORES, value: "(\d+)"', manifest)
    in_image = re.search(r"VISION_CORES=(\d+)", (ROOT / "deploy" / "Dockerfile").read_text())
    assert requested[1] == named[1] == in_image[1] == "1"


def test_no_more_than_the_places_are_inside(pool) -> None:
    turnstile = Turnstile(places=3)
    lock, inside, most = threading.Lock(), 0, 0

    def visit() -> None:
        nonlocal inside, most
        for _ in range(30):
            with turnstile.turn():
                with lock:
                    inside += 1
                    most = max(most, inside)
                threading.Event().wait(0.0005)
                with lock:
                    inside -= 1

    visits = [pool.submit(visit) for _ in range(12)]
    assert [visit.result(SECONDS) for visit in visits] == [None] * 12
    assert most == 3
    assert turnstile.length == 0


def test_first_come_first_served(pool) -> None:
    turnstile = Turnstile(places=2)
    visitors = [Visitor(turnstile, pool) for _ in range(6)]
    assert [v.inside.is_set() for v in visitors[2:]] == [False] * 4
    for gone, following in zip(visitors, visitors[2:], strict=False):
        assert not following.inside.is_set()
        gone.leave()
        assert following.inside.wait(SECONDS)
    for visitor in visitors[-2:]:
        visitor.leave()


def test_whoever_comes_back_goes_to_the_end_of_the_line(pool) -> None:
    turnstile = Turnstile(places=1)
    order = []
    holder = Visitor(turnstile, pool)

    def train(name: str) -> None:
        for _ in range(3):
            with turnstile.turn():
                order.append(name)
                until(lambda: turnstile.length == 3 or len(order) > 6)

    trainings = []
    for number, name in enumerate("abc"):
        trainings.append(pool.submit(train, name))
        until(lambda joined=number + 2: turnstile.length == joined)
    holder.leave()
    for training in trainings:
        training.result(SECONDS)
    assert "".join(order) == "abcabcabc"


def test_who_waits_is_told_how_many_come_first(pool, soon) -> None:
    turnstile = Turnstile(places=1)
    first, told = Visitor(turnstile, pool), []
    second = Visitor(turnstile, pool)
    third = Visitor(turnstile, pool, tell=told.append)
    until(lambda: 2 in told)
    first.leave()
    until(lambda: 1 in told)
    second.leave()
    third.leave()
    assert sorted(set(told)) == [1, 2]
    assert told == sorted(told, reverse=True)


def test_who_does_not_wait_is_told_nothing(soon) -> None:
    told = []
    with Turnstile(places=1).turn(tell=told.append):
        pass
    assert told == []


class Interrupted(BaseException):
    """Like what Streamlit raises to end a run."""


def test_an_interrupted_wait_gives_up_its_place(pool, soon) -> None:
    turnstile = Turnstile(places=1)
    holder, impatient = Visitor(turnstile, pool), threading.Event()

    def tell(_before: int) -> None:
        if impatient.is_set():
            raise Interrupted

    leaving, staying = Visitor(turnstile, pool, tell=tell), Visitor(turnstile, pool)
    impatient.set()
    with pytest.raises(Interrupted):
        leaving.done.result(SECONDS)
    assert not leaving.inside.is_set()
    assert turnstile.length == 2
    holder.leave()
    assert staying.inside.wait(SECONDS)
    staying.leave()
    assert turnstile.length == 0


@pytest.mark.parametrize("error", [ValueError, Interrupted])
def test_an_error_inside_frees_the_place(pool, error) -> None:
    turnstile = Turnstile(places=1)

    def fail() -> None:
        with turnstile.turn():
            raise error

    with pytest.raises(error):
        pool.submit(fail).result(SECONDS)
    with turnstile.turn():
        assert turnstile.length == 1


def test_a_turn_lasts_for_the_calls_of_one_run(pool, monkeypatch) -> None:
    """The run is first in line again until it has used up its turn, then last."""
    clock, order = [0.0], []
    monkeypatch.setattr(queue.time, "perf_counter", lambda: clock[0])
    turnstile = Turnstile(places=1)
    holder = Visitor(turnstile, pool)

    def run() -> None:
        for _call in range(3):
            with turnstile.turn(lasts=True):
                order.append("run")
                clock[0] += queue.TURN / 2

    def other(name: str, in_line: int) -> None:
        with turnstile.turn(lasts=True):
            until(lambda: turnstile.length == in_line)  # the run is back
            order.append(name)

    calls = [(run,), (other, "a", 4), (other, "b", 3), (other, "c", 2)]
    for number, call in enumerate(calls, start=2):
        pool.submit(*call)
        until(lambda joined=number: turnstile.length == joined)
    holder.leave()
    until(lambda: turnstile.length == 0)
    assert order == ["run", "a", "run", "b", "c", "run"]


# ---------------------------------------------------------------- who does the work

VISITOR: ContextVar[str] = ContextVar("VISITOR")


def test_work_is_done_in_the_context_of_its_visitor() -> None:
    VISITOR.set("the one who asked")
    with Turnstile(places=1).turn() as perform:
        where, who = perform(lambda: (threading.current_thread(), VISITOR.get()))
    assert where is not threading.current_thread()
    assert who == "the one who asked"
    assert at_once(threading.current_thread) is threading.current_thread()


def test_an_error_of_the_work_reaches_its_visitor() -> None:
    def fail() -> None:
        raise Interrupted

    turnstile = Turnstile(places=1)
    with pytest.raises(Interrupted), turnstile.turn() as perform:
        perform(fail)
    assert turnstile.length == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
def test_light_work_goes_first() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    mine = niceness()
    with Turnstile(places=1).turn() as perform:
        assert perform(niceness) == min(19, mine + NICENESS)
    assert niceness() == mine
