"""Every page as a visitor feels it: how long until it is seen, how long until a change shows."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Locator, Page

from bench import browser as visitor
from bench import explainers
from bench.measure import Measure
from tools.browser import running_app, settle
from ui.catalogue import CONCEPTS

BARE = "bare Streamlit page"
REST = 250  # milliseconds between two changes

# The time from the visitor's next move to the first frame that a figure or a stage draws after it.
ARM = """(kind) => {
    window.took = new Promise((done, fail) => {
        setTimeout(() => fail(new Error("nothing was drawn within 20 s")), 20_000);
        addEventListener(kind, ({ timeStamp }) => {
            const seen = () => requestAnimationFrame(() => {
                const { port1, port2 } = new MessageChannel();
                port1.onmessage = () => done(performance.now() - timeStamp);
                port2.postMessage(null);
            });
            for (const name of ["__figureFrames", "__stageFrames"]) {
                const frames = (window[name] = []);
                frames.push = (moment) => { delete frames.push; seen(); return moment; };
            }
        }, { capture: true, once: true });
    });
}"""
# The key that moves a slider one step away from where it stood at first, or back.
AWAY_OR_HOME = """(slider) => {
    slider.dataset.home ??= slider.value;
    const [at, home, last] = [slider.value, slider.dataset.home, slider.max].map(Number);
    return at < home || (at === home && at < last) ? "ArrowRight" : "ArrowLeft";
}"""
# When the page was quiet and its last picture drawn, in milliseconds since it was opened.
SEEN = """() => Math.max(window.idleSince, ...["__figureFrames", "__stageFrames"]
    .map((name) => window[name]?.at(-1) ?? 0))"""


@dataclass(frozen=True)
class Change:
    """Something that a visitor does on a page.

    Attributes:
        page: the concept's id.
        kind: of widget.
        name: of the slider, or the key of the choice or stage.
        computation: what is computed until the first new figure, if that takes more than 30 ms.
    """

    page: str
    kind: str
    name: str
    computation: Callable[[], object] | None = None


ASKS, PLAYS, CHOICE, HOVER = "live slider", "slider played in the browser", "choice", "hover"
CHANGES = [
    Change("receptive_field", ASKS, "Dilation of layer 1"),
    Change("activations", ASKS, "Mean of the input"),
    Change("activations", PLAYS, "Update"),
    Change("activations", CHOICE, "kernel"),
    Change("initialization", ASKS, "Number of layers", explainers.send_signal),
    Change("initialization", PLAYS, "Gain (weights ×)"),
    Change("optimizers", ASKS, "Start, x", explainers.race_all),
    Change("optimizers", PLAYS, "Step"),
    Change("softmax_temperature", PLAYS, "Temperature T"),
    Change("attention_maps", PLAYS, "Head"),
    Change("attention_maps", PLAYS, "Strength of the gates"),
    Change("attention_maps", HOVER, "patches-stage"),
    Change("attention_maps", HOVER, "scores-stage"),
    Change("anchors_nms", PLAYS, "Lowest final score"),
    Change("anchors_nms", PLAYS, "IoU threshold"),
    Change("anchors_nms", HOVER, "layout-stage"),
]


def measures(browser: Browser, server: str, bare: str, repetitions: int) -> Iterator[Measure]:
    """All pages of the app in turn, beside a bare Streamlit page, so often."""
    views: dict[str, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        for page in ["", *(concept.id for concept in CONCEPTS)]:
            for when, taken in zip(
                ("cold", "warm"), first_views(browser, f"{server}/{page}"), strict=True
            ):
                views[f"{page or 'home'}, seen whole, {when}"].append(taken)
        for when, taken in zip(("cold", "warm"), first_views(browser, bare), strict=True):
            views[f"{BARE}, seen whole, {when}"].append(taken)
    for name, times in views.items():
        yield Measure.of(name, times, "ms")
    yield from changes(browser, server, bare, repetitions)


def first_views(browser: Browser, address: str) -> tuple[float, float]:
    """Milliseconds until a page is seen whole: by a new visitor, and when it is loaded again."""
    with browser.new_context(viewport=visitor.VIEW, locale="en") as context:
        page = context.new_page()
        page.goto(address)
        cold = visitor.loaded(page).evaluate(SEEN)
        page.reload()
        return cold, visitor.loaded(page).evaluate(SEEN)


# ---------------------------------------------------------------- changes


def changes(browser: Browser, server: str, bare: str, repetitions: int) -> Iterator[Measure]:
    """Milliseconds from what the visitor does to what is seen, and bytes that it takes."""
    plain = visitor.open_page(browser, bare)
    pages = {c.id: visitor.open_page(browser, f"{server}/{c.id}") for c in CONCEPTS}
    received = {
        name: visitor.listen(page.context.new_cdp_session(page)) for name, page in pages.items()
    }
    times: dict[Change, list[float]] = defaultdict(list)
    sizes: dict[Change, list[float]] = defaultdict(list)
    bare_times = []
    for turn in range(-2, repetitions):  # the first ones warm up
        taken = visitor.single_change(plain, "ArrowRight" if turn % 2 else "ArrowLeft")
        if turn >= 0:
            bare_times.append(taken)
        for change in CHANGES:
            page, counter = pages[change.page], received[change.page]
            before = counter["messages"]
            taken = timed(page, change, turn)
            if turn >= 0:
                times[change].append(taken)
                sizes[change].append((counter["messages"] - before) / 1000)
    limit = Measure.of(f"{BARE}, its slider", bare_times, "ms")
    yield limit
    for change in CHANGES:
        name = f"{change.page}, {change.kind} “{change.name}”"
        computed = explainers.times(change.computation, repetitions) if change.computation else [0]
        wanted = f"≤ {0.75 * limit.value + median(computed):.0f}"
        yield Measure.of(name, times[change], "ms", wanted)
        yield Measure.of(f"{name}, received", sizes[change], "kB")


def timed(page: Page, change: Change, turn: int) -> float:
    """Do it once, when the page is at rest, and wait until it is at rest again."""
    target = visitor.in_view(found(page, change))
    page.wait_for_timeout(REST)
    event, act = doings(page, target, change, turn)
    page.evaluate(ARM, event)
    act()
    taken: float = page.evaluate("window.took")
    settle(page)
    return taken


def found(page: Page, change: Change) -> Locator:
    if change.kind == CHOICE:
        return page.locator(f".st-key-{change.page}-{change.name}").get_by_role("radio").first
    if change.kind == HOVER:
        return page.locator(f".st-key-{change.page}-{change.name} .stage-top")
    return page.get_by_role("slider", name=change.name).first


def doings(
    page: Page, target: Locator, change: Change, turn: int
) -> tuple[str, Callable[[], object]]:
    """The event that starts the clock, and what makes it."""
    if change.kind == CHOICE:
        options = target.locator("xpath=..").get_by_role("radio")
        return "click", options.nth(turn % 2 ^ 1).click
    if change.kind == HOVER:
        box = target.bounding_box()
        x, y = (
            box[side] + box[size] * (0.3 + 0.2 * (turn % 3))
            for side, size in (("x", "width"), ("y", "height"))
        )
        return "pointermove", lambda: page.mouse.move(x, y)
    target.focus()
    key = target.evaluate(AWAY_OR_HOME)
    return "keydown", lambda: page.keyboard.press(key)


# ---------------------------------------------------------------- the start


def starts(browser: Browser, logs: Path, repetitions: int) -> Iterator[Measure]:
    """Seconds from the start of the server to its painted page, ours and a bare one in turn."""
    scripts = {"app.py": "[data-testid=stMain] h1", "bench/apps/plain.py": "[data-testid=stSlider]"}
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(repetitions):
        for script, sign in scripts.items():
            times[script].append(started(browser, logs, script, sign))
    ours, bare = (
        Measure.of(name, times[script], "s")
        for name, script in (
            ("Server's start to the painted home page", "app.py"),
            (f"Server's start to the painted {BARE}", "bench/apps/plain.py"),
        )
    )
    yield from (ours, bare)
    yield Measure("Start, ours : bare, medians", ours.value / bare.value, "", "≤ 1.3")


def started(browser: Browser, logs: Path, script: str, sign: str) -> float:
    begun = time.perf_counter()
    with running_app(logs / "start.log", script) as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(server)
        page.locator(sign).first.wait_for()
        return time.perf_counter() - begun
