"""Measure what the README states, print it as a table, write it to build/bench.json.

All of it, or the parts that are named: `python -m bench.run compute memory`. With `--readme` what
was measured takes its place in the README's table.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser

from bench import answers, explainers, memory, pages
from bench import browser as visitor
from bench.measure import Measure, digits, renewed, row, rows_of, table
from tools.browser import ROOT, running_app, running_browser
from ui.catalogue import CONCEPTS

PARTS = ["compute", "light", "crowd", "pages", "starts", "answers", "memory"]
RESULTS = ROOT / "build" / "bench.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
AS_STREAMLIT_COMES = {"STREAMLIT_RUNNER_POST_SCRIPT_GC": "true"}
BARE, TUNED, LIVE = "bare Streamlit page", "the same without its garbage collection", "live pieces"


def light_app(browser: Browser, logs: Path, repetitions: int) -> Iterator[Measure]:
    """A live slider and figure beside Streamlit's own, in the same browser."""
    plain = "bench/apps/plain.py"
    scripts = {
        BARE: (plain, AS_STREAMLIT_COMES),
        TUNED: (plain, {}),  # as .streamlit/config.toml sets it
        LIVE: ("bench/apps/live.py", {}),
    }
    with ExitStack() as servers:
        pages = {}
        for number, (name, (script, options)) in enumerate(scripts.items()):
            server = running_app(logs / f"{number}.log", script, **options)
            pages[name] = visitor.open_page(browser, servers.enter_context(server))
        found = visitor.dragged(pages[LIVE], "Frequency", repetitions)
        name = "Live slider dragged: figures computed and drawn"
        yield Measure.of(name, found.figures, "/s", "≥ 10")
        times = visitor.single_changes(pages, repetitions)
    for name, taken in times.items():
        yield Measure.of(f"Slider to pixels, {name}", taken, "ms")
    ours, bare, tuned = (median(times[name]) for name in (LIVE, BARE, TUNED))
    yield Measure(f"Slider to pixels, {LIVE} : {BARE}, medians", ours / bare, "", "≤ 0.75")
    yield Measure(f"Slider to pixels, {LIVE} : {TUNED}, medians", ours / tuned, "")


def crowd(browser: Browser, logs: Path, repetitions: int) -> Iterator[Measure]:
    """How often a stage with 20,000 boxes is redrawn while all of them change."""
    with running_app(logs / "crowd.log", "bench/apps/crowd.py") as server:
        page = visitor.open_page(browser, server)
        redrawn = visitor.dragged(page, "Position", repetitions).stages
    yield Measure.of("20,000 boxes, slider dragged: stages redrawn", redrawn, "/s", "≥ 30")


def real_app(browser: Browser, logs: Path, repetitions: int) -> Iterator[Measure]:
    """The app itself: what is loaded at first, then its pages at work beside a bare one."""
    with (
        running_app(logs / "app.log") as server,
        running_app(logs / "bare.log", "bench/apps/plain.py", **AS_STREAMLIT_COMES) as bare,
    ):
        yield from first_view("home", visitor.first_view(browser, f"{server}/"))
        for concept in CONCEPTS:
            received = visitor.first_view(browser, f"{server}/{concept.id}")
            yield from first_view(concept.id, received)
        page = visitor.open_page(browser, f"{server}/anchors_nms")
        redrawn = {
            "Matching threshold dragged": visitor.dragged(page, "Positive above IoU", repetitions),
            "NMS sweep dragged": visitor.dragged(page, "IoU threshold", repetitions),
            "NMS sweep played": visitor.played(page, "IoU threshold", repetitions),
            "Anchors pointed at": visitor.hovered(page, "anchors_nms-layout-stage", repetitions),
        }
        page.context.close()
        page = visitor.open_page(browser, f"{server}/attention_maps")
        pointed = visitor.hovered(page, "attention_maps-patches-stage", repetitions)
        redrawn["Patches pointed at"] = pointed
        page.context.close()
        for name, found in redrawn.items():
            yield Measure.of(f"{name}: stages redrawn", found.stages, "/s", "≥ 30")
        yield from pages.measures(browser, server, bare, repetitions)


def first_view(page: str, received: dict[str, int]) -> Iterator[Measure]:
    """What is ours, and beside it what Streamlit and Plotly bring to any page."""
    beside = sum(received.pop(name, 0) for name in ("Streamlit", "Plotly"))
    yield Measure(f"{page}, received at first view", sum(received.values()) / 1e6, "MB", "≤ 1.5")
    yield Measure(f"{page}, Streamlit's and Plotly's scripts beside it", beside / 1e6, "MB")


def told(measure: Measure) -> Measure:
    """Say what has been measured so far: all of it takes about an hour."""
    print(f"{measure.name}: {digits(measure.value)} {measure.unit}", file=sys.stderr)
    return measure


def machine(chromium: str) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "streamlit", "plotly"))
    python = platform.python_version()
    return (
        f"{processor()}, {os.cpu_count()} cores; Python {python}, {packages}, Chromium {chromium}"
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def fill_in(where: str, measures: Iterable[Measure]) -> None:
    """Renew the README's table, between its two marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    old, _, after = rest.partition(END)
    told = f"{where}\n\n{table(renewed(rows_of(old), map(row, measures)))}"
    README.write_text(f"{before}{BEGIN}\n{told}\n{END}{after}", encoding="utf-8")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="repeat less, to see that it runs")
    parser.add_argument("--readme", action="store_true", help="renew the README's table")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    chosen = options.parts or PARTS
    repetitions = 3 if options.quick else 30
    with TemporaryDirectory() as folder:
        logs = Path(folder)
        with running_browser() as browser:
            where = machine(browser.version)
            parts = {
                "compute": lambda: explainers.measures(repetitions),
                "light": lambda: light_app(browser, logs, repetitions),
                "crowd": lambda: crowd(browser, logs, repetitions),
                "pages": lambda: real_app(browser, logs, repetitions),
                "starts": lambda: pages.starts(browser, logs, repetitions),
            }
            found = (parts[name]() for name in PARTS if name in chosen and name in parts)
            measures = [told(measure) for part in found for measure in part]
        # Only now: Playwright runs an event loop in this thread, and these need one of their own.
        if "answers" in chosen:
            measures += map(told, answers.measures(logs, repetitions))
        if "memory" in chosen:
            reruns = 200 if options.quick else 1000
            measures += map(told, memory.measures(logs, reruns, sessions=50))
    print(f"{where}\n\n{table(map(row, measures))}")
    RESULTS.parent.mkdir(exist_ok=True)
    results = {"machine": where, "quick": options.quick, "measures": [asdict(m) for m in measures]}
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if options.readme:
        fill_in(where, measures)


if __name__ == "__main__":
    main(sys.argv[1:])
