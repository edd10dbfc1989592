"""How long the server takes to answer each control of a page, without a browser.

First the step whose control it is, then all steps that follow from it.
"""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.client import Client
from bench.load import FED, SWEPT
from bench.measure import Measure
from tools.browser import running_app
from ui.catalogue import CONCEPTS

REST = 0.05  # seconds between two changes

LARGE = {
    "initialization": [*SWEPT["initialization"], "activation"],
    "optimizers": [*SWEPT["optimizers"], "surface", "where", "left", "right"],
}
"""Sliders and choices that ask for a sweep: it may take a second.

Everything else may take a tenth until its step is answered. What networks are given is not looked
at here.
"""

Times = Mapping[str, Sequence[tuple[float, float]]]
"""By key, the milliseconds until the step itself and until all was answered, again and again."""


def measures(logs: Path, repetitions: int) -> Iterator[Measure]:
    """For each page its slowest control, and the slowest of those that ask for a large run."""
    with running_app(logs / "answers.log") as server:
        for page in (concept.id for concept in CONCEPTS):
            times = asyncio.run(answered(server, page, repetitions))
            large = {key: took for key, took in times.items() if key in LARGE.get(page, [])}
            light = {key: took for key, took in times.items() if key not in large}
            yield from slowest(f"{page}, slowest of {len(light)} controls", light, "≤ 100")
            if large:
                name = f"{page}, slowest of {len(large)} controls that ask for a large run"
                yield from slowest(name, large, "≤ 1000")


def slowest(name: str, times: Times, wanted: str) -> Iterator[Measure]:
    for number, (part, bound) in enumerate({"its step": wanted, "all that follows": ""}.items()):
        taken = {key: [both[number] for both in answers] for key, answers in times.items()}
        key = max(taken, key=lambda key: median(taken[key]))
        print(f"{name}: {key}", file=sys.stderr)
        yield Measure.of(f"{name}: {part} answered", taken[key], "ms", bound)


async def answered(server: str, page: str, repetitions: int) -> Times:
    """Change every control in turn, so often."""
    taken = defaultdict(list)
    async with Client(server, page, 0) as client:
        await client.open(patience=60)
        for turn in range(-1, repetitions):  # the first one warms up
            for topic in sorted(client.controls):
                key = topic.removeprefix(f"{page}.")
                if topic not in client.controls or key in FED.get(page, []):
                    continue
                await asyncio.sleep(REST)
                begun = time.perf_counter()
                await client.change(topic)
                ended = time.perf_counter()
                both = min(client.first_step, ended) - begun, ended - begun
                if turn >= 0:
                    taken[key].append(tuple(1000 * seconds for seconds in both))
    return taken
