"""What the server holds in memory: at the start, per page and session, after many reruns.

Resident memory is read from Linux's /proc, so elsewhere this cannot be measured.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

from bench.client import Client
from bench.measure import Measure
from tools.browser import process_behind, running_app
from ui.catalogue import CONCEPTS

SETTLE = 3.0  # seconds that the server is left alone before it is looked at
FORGET = 200.0  # a session is kept for two minutes, and the server tidies up once a minute
RERUN = ("activations", "activations.mean")


def measures(logs: Path, reruns: int, sessions: int) -> Iterator[Measure]:
    with running_app(logs / "memory.log") as server:
        yield from asyncio.run(looked_at(server, process_behind(server), reruns, sessions))


async def looked_at(server: str, process: int, reruns: int, sessions: int) -> list[Measure]:
    async def now() -> float:
        await asyncio.sleep(SETTLE)
        return resident(process)

    found = [Measure("Server at its start", before := await now(), "MB")]
    for page in (concept.id for concept in CONCEPTS):
        async with Client(server, page, 0) as client:
            await client.open(patience=60)
            after = await now()
        found.append(Measure(f"{page}, opened first: more by", after - before, "MB"))
        before = after
    page, topic = RERUN
    async with Client(server, page, 0) as client:
        await client.open()
        for number in range(1, reruns + 1):
            await client.change(topic)
            if number == 100:
                early = await now()
    late = await now()
    found.append(Measure("After 100 reruns", early, "MB"))
    growth = 100 * (late - early) / early
    found.append(Measure(f"After {reruns:,} reruns: grown by", growth, "%", "≤ 2"))
    async with AsyncExitStack() as opened:
        for number in range(sessions):
            visit = Client(server, CONCEPTS[number % len(CONCEPTS)].id, number)
            await (await opened.enter_async_context(visit)).open(patience=60)
        full = await now()
    found.append(Measure(f"With {sessions} sessions: each", (full - late) / sessions, "MB"))
    await asyncio.sleep(FORGET)
    left = await now()
    share = 100 * (left - late) / late
    found.append(Measure(f"After {sessions} sessions have left: grown by", share, "%", "≤ 2"))
    return found


def resident(process: int) -> float:
    """Megabytes of a process that lie in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (size,) = (line.split()[1] for line in lines if line.startswith("VmRSS"))
    return int(size) / 1000
