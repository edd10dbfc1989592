"""Many visitors at once on the real server: each on one page, each moving something every second.

They come one after the other, look at the page and upload a photo of their own. When all are
there they stay for a while: mostly they move a slider, and on pages with networks they sometimes
change what a network is given. Printed as a table, written to build/load.json.

For comparison the same visitors can be sent to a bare Streamlit page, where all move its slider.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from websockets.exceptions import ConnectionClosed

from bench.client import Client
from bench.measure import Measure, row, table
from tools.browser import ROOT, running_app
from ui.catalogue import CONCEPTS

RESULTS = ROOT / "build" / "load.json"
BARE = "bench/apps/plain.py"
FIRST, WHOLE = "First views", "Whole pages"
LIGHT, SWEEP, NETWORK = "Light changes", "Changes of a sweep", "Changes of a network's input"
NETWORK_SHARE = 0.1
PAUSE = 0.4  # seconds between two visitors who arrive

FED = {
    "anchors_nms": ["photo"],
    "attention_maps": ["photo", "block", "cbam", "picture"],
    "receptive_field": ["block"],
    "softmax_temperature": ["photo"],
}
"""What networks are given: by page the photo, or the keys of controls."""

SWEPT = {"initialization": ["depth", "width"], "optimizers": ["condition", "times"]}
"""Keys of controls that ask for all schemes, for 10,000 starts or for all rates anew.

Each of these may take a second by itself, as a network may. They are not light.
"""


@dataclass(frozen=True)
class Answer:
    """How long a visitor waited, in milliseconds; None if no answer came."""

    page: str
    kind: str
    milliseconds: float | None


class Visitor:
    """Moves one control every second and notes how long each answer took."""

    def __init__(self, client: Client, number: int) -> None:
        self.client = client
        self.answers: list[Answer] = []
        self._random = random.Random(number)
        fed = FED.get(client.page, [])
        self._shows_photo = "photo" in fed
        self._fed = {f"{client.page}.{key}" for key in fed}
        self._swept = {f"{client.page}.{key}" for key in SWEPT.get(client.page, [])}

    async def arrive(self) -> None:
        await self._timed(FIRST, self.client.open())
        if self.client.page and self.client.controls:
            await self._change_photo()

    async def stay(self, seconds: float) -> None:
        """A move that is due while the one before is unanswered waits; the next ones are left out.

        Waiting counts: the time of an answer begins when the visitor moves the control.
        """
        start = due = time.perf_counter() + self._random.random()
        while self.client.controls and due < start + seconds:
            await asyncio.sleep(due - time.perf_counter())
            await self._move(due)
            due = max(due + 1, start + int(time.perf_counter() - start))

    async def _move(self, due: float) -> None:
        controls = self.client.controls
        feeding = self._fed & controls.keys()
        sliders = [topic for topic in controls.keys() - feeding if controls[topic].slides]
        if self._fed and self._random.random() < NETWORK_SHARE:
            choice = self._random.randrange(len(feeding) + self._shows_photo)
            if choice == len(feeding):
                await self._change_photo()
            else:
                await self._timed(NETWORK, self.client.change(sorted(feeding)[choice]), due)
        else:
            topic = self._random.choice(sorted(sliders))
            kind = SWEEP if topic in self._swept else LIGHT
            await self._timed(kind, self.client.change(topic), due)

    async def _change_photo(self) -> None:
        if await self._timed(WHOLE, self.client.open_chooser()):
            await self._timed(NETWORK if self._shows_photo else WHOLE, self.client.upload())

    async def _timed(self, kind: str, doing: Coroutine, due: float | None = None) -> bool:
        """Note how long an answer took; returns whether it came."""
        begun = due or time.perf_counter()
        try:
            await doing
            milliseconds = (time.perf_counter() - begun) * 1000
        except (TimeoutError, OSError, ConnectionClosed):
            milliseconds = None
        self.answers.append(Answer(self.client.page, kind, milliseconds))
        return milliseconds is not None


async def visit(
    addresses: Sequence[str], pages: Sequence[str], count: int, seconds: float
) -> list[Visitor]:
    """Let `count` visitors come, stay together for `seconds`, and go.

    Args:
        addresses: of the replicas: who has come to one stays there.
        pages: where they go, in turn.
        count: of visitors, at most 64.
        seconds: how long all of them are there.
    """
    visitors: list[Visitor] = []

    async def come(number: int) -> None:
        await asyncio.sleep(number * PAUSE)
        page, address = pages[number % len(pages)], addresses[number % len(addresses)]
        client = Client(address, page, number)
        visitor = Visitor(await opened.enter_async_context(client), number)
        visitors.append(visitor)
        await visitor.arrive()

    # Before the first visitors torch and the networks are loaded.
    for address, page in product(addresses, pages):
        async with Client(address, page, 0) as first:
            await first.open(patience=60)
    async with AsyncExitStack() as opened:
        await asyncio.gather(*map(come, range(count)))
        await asyncio.gather(*(visitor.stay(seconds) for visitor in visitors))
    return visitors


def measures(visitors: Sequence[Visitor]) -> Iterator[Measure]:
    """What all of them saw together, then each page's light changes."""
    answers = [answer for visitor in visitors for answer in visitor.answers]
    clients = [visitor.client for visitor in visitors]
    bounds = {LIGHT: "≤ 500", SWEEP: "≤ 2000", NETWORK: "≤ 2000", WHOLE: "", FIRST: ""}
    for kind, bound in bounds.items():
        yield from told(kind, [a for a in answers if a.kind == kind], bound)
    yield Measure("Lost", sum(answer.milliseconds is None for answer in answers), "", "≤ 0")
    yield Measure("Errors", sum(len(client.errors) for client in clients), "", "≤ 0")
    yield Measure("Photos that came back", sum(client.photos for client in clients), "")
    seen = sum(client.foreign_photos for client in clients)
    yield Measure("Photos of somebody else", seen, "", "≤ 0")
    light = [answer for answer in answers if answer.kind == LIGHT]
    for page in sorted({answer.page for answer in light if answer.page}):
        yield from told(f"{LIGHT}, {page}", [a for a in light if a.page == page])


def told(name: str, answers: Sequence[Answer], bound: str = "") -> Iterator[Measure]:
    """How many were answered and how fast; `bound` is for 95 % of them."""
    taken = [a.milliseconds for a in answers if a.milliseconds is not None]
    if not taken:
        return
    measure = Measure.of(f"{name}, {len(taken):,} answered", taken, "ms")
    yield measure
    if bound and measure.p95 is not None:
        yield Measure(f"{name}: 95 % within", measure.p95, "ms", bound)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("--visitors", type=int, default=50, help="how many (50, at most 64)")
    parser.add_argument("--seconds", type=float, default=300, help="how long they stay (300)")
    parser.add_argument("--replicas", type=int, default=1, help="processes that serve them (1)")
    parser.add_argument("--bare", action="store_true", help="send them to a bare Streamlit page")
    options = parser.parse_args(arguments)
    script, pages = (BARE, [""]) if options.bare else ("app.py", [c.id for c in CONCEPTS])
    with TemporaryDirectory() as folder:
        begun, busy = time.perf_counter(), os.getloadavg()
        with ExitStack() as servers:
            logs = [Path(folder) / f"{number}.log" for number in range(options.replicas)]
            addresses = [servers.enter_context(running_app(log, script)) for log in logs]
            visitors = asyncio.run(visit(addresses, pages, options.visitors, options.seconds))
        took = time.perf_counter() - begun
    server = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = [
        *measures(visitors),
        Measure("Processors that the servers used", (server.ru_utime + server.ru_stime) / took, ""),
        Measure("Processors that the visitors used", time.process_time() / took, ""),
        Measure("Most memory of a server", server.ru_maxrss / 1024, "MB"),
    ]
    print(table(map(row, found)))
    for error in {error for visitor in visitors for error in visitor.client.errors}:
        print(error)
    load = ", ".join(f"{value:.2f}" for value in busy)
    print(
        f"{script}: {options.visitors} visitors, {options.seconds:g} s, {options.replicas} replicas"
    )
    print(f"load before: {load}")
    RESULTS.parent.mkdir(exist_ok=True)
    results = {**vars(options), "load_before": busy, "measures": [asdict(m) for m in found]}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
