"""What a visitor feels: how fast figures follow a slider, and how much is loaded at first."""

import base64
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, Locator, Page

from tools.browser import settle

VIEW = {"width": 1440, "height": 900}
PERIOD = 3.0  # seconds that a drag takes there and back
PLAYED = 2  # seconds of a sweep that is played, which none is shorter than
REST = 250  # milliseconds

# The time from the next key to the first frame that shows another title and another curve.
ARM = """() => {
    const title = () => document.querySelector(".gtitle")?.textContent;
    const curve = () => document.querySelector(".scatterlayer .js-line")?.getAttribute("d");
    const before = [title(), curve()];
    window.took = new Promise((done) => {
        addEventListener("keydown", ({ timeStamp }) => {
            const watcher = new MutationObserver(() => {
                if (title() === before[0] || curve() === before[1] || !curve()) return;
                watcher.disconnect();
                requestAnimationFrame(() => {
                    const { port1, port2 } = new MessageChannel();
                    port1.onmessage = () => done(performance.now() - timeStamp);
                    port2.postMessage(null);
                });
            });
            const everything = { attributes: true, characterData: true, childList: true };
            watcher.observe(document.body, { ...everything, subtree: true });
        }, { capture: true, once: true });
    });
}"""
# Each counts what is redrawn in each of some seconds, while something moves at every frame as under
# a hand: a slider there and back, a pointer that is somewhere else each time, or nothing. Moves
# sent from outside wait for one another: 15 a second, fewer than the page takes from a hand.
DRAG = """async (slider, [seconds, period]) => {
    const counts = await COUNT(seconds, (moment) => {
        const share = 0.5 + 0.45 * Math.sin((moment * 2 * Math.PI) / period);
        slider.value = Math.round(share * slider.max);
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    });
    slider.dispatchEvent(new Event("change", { bubbles: true }));
    return counts;
}"""
HOVER = """async (stage, seconds) => {
    const { left, top, width, height } = stage.getBoundingClientRect();
    let move = 0;
    return await COUNT(seconds, () => {
        move += 1;
        const clientX = left + width * ((move * 0.618) % 1);
        const clientY = top + height * ((move * 0.414) % 1);
        const pointer = { clientX, clientY, isPrimary: true, pointerType: "mouse", bubbles: true };
        stage.dispatchEvent(new PointerEvent("pointermove", pointer));
    });
}"""
WATCH = """async (_slider, seconds) => await COUNT(seconds, () => {})"""
COUNT = """(async (seconds, act) => {
    window.__figureFrames = [];
    window.__stageFrames = [];
    const start = performance.now();
    const moment = () => (performance.now() - start) / 1000;
    while (moment() < seconds) {
        act(moment());
        await new Promise(requestAnimationFrame);
    }
    const counted = (frames) => {
        const counts = new Array(seconds).fill(0);
        for (const frame of frames) {
            const second = Math.floor((frame - start) / 1000);
            if (second < seconds) counts[second] += 1;
        }
        return counts;
    };
    return { figures: counted(window.__figureFrames), stages: counted(window.__stageFrames) };
})"""
DRAWN = """() => [...document.querySelectorAll(".live-plot:not([data-far])")]
    .every((plot) => plot.querySelector(".main-svg"))"""


@dataclass(frozen=True)
class Redrawn:
    """How often figures and stages were redrawn in each of some seconds."""

    figures: list[int]
    stages: list[int]


def open_page(browser: Browser, address: str) -> Page:
    """A new visitor's page, with all that it loads."""
    page = browser.new_context(viewport=VIEW, locale="en").new_page()
    page.goto(address)
    return loaded(page)


def loaded(page: Page) -> Page:
    settle(page)
    page.wait_for_load_state("networkidle")
    page.wait_for_function(DRAWN)
    return page


# ---------------------------------------------------------------- while something moves


def dragged(page: Page, label: str, seconds: int) -> Redrawn:
    """Drag a slider there and back for so long."""
    slider = in_view(page.get_by_role("slider", name=label))
    found = slider.evaluate(DRAG.replace("COUNT", COUNT), [seconds, PERIOD])
    settle(page)
    return Redrawn(**found)


def hovered(page: Page, stage: str, seconds: int) -> Redrawn:
    """Point at another place of a stage at every frame."""
    top = in_view(page.locator(f".st-key-{stage} .stage-top"))
    return Redrawn(**top.evaluate(HOVER.replace("COUNT", COUNT), seconds))


def played(page: Page, label: str, seconds: int) -> Redrawn:
    """Let a slider play its sweep from the start, again and again."""
    slider = page.locator(".live-slider").filter(has=page.get_by_role("slider", name=label))
    found = Redrawn([], [])
    while len(found.stages) < seconds:
        in_view(slider.get_by_role("slider")).press("Home")
        settle(page)
        slider.get_by_role("button", name="Play").click()
        more = slider.evaluate(WATCH.replace("COUNT", COUNT), PLAYED)
        slider.get_by_role("button", name="Pause").click()
        settle(page)
        found = Redrawn(found.figures + more["figures"], found.stages + more["stages"])
    return found


def in_view(node: Locator) -> Locator:
    node.evaluate("node => node.scrollIntoView({ block: 'center' })")
    return node


# ---------------------------------------------------------------- one change


def single_changes(pages: dict[str, Page], repetitions: int) -> dict[str, list[float]]:
    """Milliseconds from an arrow key on a slider to the new pixels, page by page in turn."""
    times: dict[str, list[float]] = {name: [] for name in pages}
    for repetition in range(-3, repetitions):  # the first ones warm up
        key = "ArrowRight" if repetition % 40 < 20 else "ArrowLeft"
        turn = list(pages) if repetition % 2 else list(pages)[::-1]
        for name in turn:
            took = single_change(pages[name], key)
            if repetition >= 0:
                times[name].append(took)
    return times


def single_change(page: Page, key: str) -> float:
    page.wait_for_timeout(REST)
    page.get_by_role("slider").focus()
    page.evaluate(ARM)
    page.keyboard.press(key)
    return page.evaluate("window.took")


# ---------------------------------------------------------------- the first view


def first_view(browser: Browser, address: str) -> Counter[str]:
    """Bytes on the wire until a new visitor's page is quiet, by what they are for."""
    with browser.new_context(viewport=VIEW, locale="en") as context:
        page = context.new_page()
        received = listen(context.new_cdp_session(page))
        page.goto(address)
        loaded(page)
        return received


def listen(client: CDPSession) -> Counter[str]:
    """Count the bytes that arrive from now on, compressed as they come, headers included."""
    received: Counter[str] = Counter()
    addresses: dict[str, str] = {}

    def on_response(event: dict) -> None:
        addresses[event["requestId"]] = event["response"]["url"]

    def on_finished(event: dict) -> None:
        address = urlsplit(addresses.get(event["requestId"], ""))
        if address.scheme == "http":  # what the page made itself does not travel
            received[kind(address.path)] += int(event["encodedDataLength"])

    def on_frame(event: dict) -> None:
        payload = event["response"]["payloadData"]
        binary = event["response"]["opcode"] == 2
        received["messages"] += len(base64.b64decode(payload) if binary else payload.encode())

    client.on("Network.responseReceived", on_response)
    client.on("Network.loadingFinished", on_finished)
    client.on("Network.webSocketFrameReceived", on_frame)
    client.send("Network.enable")
    return received


def kind(path: str) -> str:
    if path.endswith("plotly.min.js"):
        return "Plotly"
    return "Streamlit" if path.startswith("/static/") or path == "/" else "the app's own"
