"""Live slider, figure and sentence in a real browser: pointer, keys, sweeps, lost connections."""

import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Route, WebSocket, WebSocketRoute, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tools.browser import running_app

SHARED = "document.querySelector('link[href*=\"live.css\"]').href.replace('live.css', 'shared.js')"
PLOT = "document.querySelector('.live-plot')"
MAP = "[...document.querySelectorAll('.live-plot')[1].data[0].z].map((row) => [...row])"
PLACE = """([plot, x, y]) => {
    const { xaxis, yaxis } = plot._fullLayout;
    const frame = plot.getBoundingClientRect();
    return [frame.left + xaxis._offset + xaxis.d2p(x), frame.top + yaxis._offset + yaxis.d2p(y)];
}"""
HOLD_REACT = """() => {  // one call of Plotly.react, until it is let go
    const react = Plotly.react;
    window.after = [];
    Plotly.react = async (plot, ...rest) => {
        window.after.push(plot.isConnected);
        const done = await react(plot, ...rest);
        if (!window.letGo) await new Promise((resolve) => { window.letGo = resolve; });
        return done;
    };
}"""
REJECT_ONCE = """() => {
    const react = Plotly.react;
    Plotly.react = () => {
        Plotly.react = react;
        return Promise.reject(new Error("provoked"));
    };
}"""
LEVELS = "[...document.querySelectorAll('.live-plot')].map((plot) => plot.data?.[0].y[0])"
WATCH_SPOKEN = """() => {
    window.spoken = [];
    new MutationObserver((changes) => {
        const now = performance.now();
        for (const { target } of changes) window.spoken.push([now, target.textContent]);
    }).observe(document.querySelector('.live-spoken'), { subtree: true, childList: true });
}"""
WATCH_FRAMES = """() => {
    const svg = document.querySelector('.live-plot .main-svg');
    window.seen = [];
    const look = () => {
        const bars = document.querySelectorAll('.live-plot .bars .point path').length;
        const same = svg === document.querySelector('.live-plot .main-svg') && svg.isConnected;
        window.seen.push(same ? bars : -1);
        window.watching = requestAnimationFrame(look);
    };
    look();
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The pieces of `apps/live_app.py` in place of the app."""
    log = tmp_path_factory.mktemp("live") / "server.log"
    with running_app(log, "tests/browser/apps/live_app.py") as address:
        yield address


class Wire:
    """What goes to the server and comes back."""

    def __init__(self, page: Page) -> None:
        self.sent = 0
        self.reports: list[dict[str, Any]] = []
        self.most_unanswered = 0
        self._unanswered: set[int] = set()
        page.on("websocket", self._listen)

    def _listen(self, connection: WebSocket) -> None:
        connection.on("framesent", self._sent)
        connection.on("framereceived", self._received)

    def _sent(self, payload: bytes) -> None:
        self.sent += 1
        message = BackMsg()
        message.ParseFromString(payload)
        for widget in message.rerun_script.widget_states.widgets:
            report = json.loads(widget.json_value or "{}").get("sent")
            if report and report not in self.reports:
                self.reports.append(report)
                self._unanswered.add(report["serial"])
        self.most_unanswered = max(self.most_unanswered, len(self._unanswered))

    def _received(self, payload: bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(payload)
        piece = message.delta.new_element.bidi_component
        if piece.component_name == "live.slider":
            self._unanswered.discard(json.loads(piece.bytes)["ack"])


class Live:
    """What a visitor does with the pieces of a page."""

    def __init__(self, page: Page, wire: Wire) -> None:
        self.page = page
        self.wire = wire

    def slider(self, name: str = "Level") -> Locator:
        return self.page.get_by_role("slider", name=name)

    def output(self) -> str:
        return self.page.locator(".live-slider output").first.inner_text()

    def place(self, share: float, name: str = "Level") -> tuple[float, float]:
        """Where on the screen the thumb stands at a share of the range."""
        box = self.slider(name).bounding_box()
        thumb = 18.4
        left, width = box["x"] + thumb / 2, box["width"] - thumb
        return left + share * width, box["y"] + box["height"] / 2

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def says(self, text: str | re.Pattern[str], **options: Any) -> None:
        expect(self.page.get_by_text(text, exact=True)).to_be_visible(**options)

    def count(self, name: str) -> int:
        found = self.page.get_by_text(re.compile(rf"^{name} \d+$")).inner_text()
        return int(found.split()[1])

    def plot(self, expression: str) -> Any:
        return self.page.evaluate(f"{PLOT}.{expression}")

    def plotted(self, condition: str) -> None:
        """Wait until something holds of the plot, called `plot`."""
        self.page.wait_for_function(f"(() => {{ const plot = {PLOT}; return {condition}; }})()")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a point of the first plot is."""
        return tuple(self.page.evaluate(f"(xy) => ({PLACE})([{PLOT}, ...xy])", [x, y]))

    def announce(self, topic: str, value: Any) -> None:
        """What the toolbar does in the browser."""
        call = f"([topic, value]) => import({SHARED}).then((bus) => bus.announce(topic, value))"
        self.page.evaluate(call, [topic, value])


@pytest.fixture
def open_live(open_page) -> Callable[..., Live]:
    def open_one(case: str, query: str = "", **options: Any) -> Live:
        wires: list[Wire] = []
        page = open_page(
            f"?case={case}{query}", before=lambda page: wires.append(Wire(page)), **options
        )
        live = Live(page, wires[0])
        expect(page.locator(".live").first).to_be_attached()
        if case in ("figure", "heat", "select", "sweep"):
            live.plotted("plot?.querySelector('.main-svg') && plot._fullLayout.xaxis._length")
        return live

    return open_one


# ---------------------------------------------------------------- slider: mouse and touch


def test_a_slider_reports_while_it_is_dragged_one_report_at_a_time(open_live):
    live = open_live("slider", "&slow=60")
    live.page.mouse.move(*live.place(0.5))
    live.page.mouse.down()
    live.page.mouse.move(*live.place(0.7), steps=30)
    live.says("level 70")  # still held
    assert "level=" not in live.page.url
    live.page.mouse.move(*live.place(0.2), steps=30)
    live.says("level 20")
    assert "level=" not in live.page.url
    live.page.mouse.up()
    expect(live.page).to_have_url(re.compile(r"[?&]level=20$"))
    assert live.wire.most_unanswered == 1
    assert not any(report["done"] for report in live.wire.reports[:-1])
    assert live.wire.reports[-1]["done"]
    assert 3 <= len(live.wire.reports) < 50  # some of the 60 moves, never all of them


def test_the_last_position_always_arrives(open_live):
    live = open_live("slider", "&slow=150")
    here = 0.5
    for target in (0.9, 0.11, 1.0, 0.34, 0.0):
        live.page.mouse.move(*live.place(here))
        live.page.mouse.down()
        live.page.mouse.move(*live.place(target), steps=9)
        live.page.mouse.up()
        here = target
    assert live.output() == "0 px"
    live.says("level 0")
    expect(live.page).to_have_url(re.compile(r"[?&]level=0$"))
    assert live.wire.most_unanswered == 1
    assert (live.wire.reports[-1]["index"], live.wire.reports[-1]["done"]) == (0, True)


def test_a_slider_moves_by_touch(open_live):
    live = open_live("slider", has_touch=True, width=390, height=700)
    client = live.page.context.new_cdp_session(live.page)

    def touch(kind: str, share: float | None = None) -> None:
        points = [] if share is None else [dict(zip("xy", live.place(share), strict=True))]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.5)
    for share in (0.6, 0.7, 0.8):
        touch("touchMove", share)
    live.says("level 80")  # still held
    assert "level=" not in live.page.url
    touch("touchEnd")
    expect(live.page).to_have_url(re.compile(r"[?&]level=80$"))


# ---------------------------------------------------------------- slider: keys, names, links


def test_a_slider_moves_by_keys_and_says_what_it_is(open_live):
    live = open_live("slider")
    expect(live.slider()).to_have_accessible_name("Level")
    expect(live.page.locator(".live-slider label")).to_have_attribute("title", "How high")
    live.slider().focus()
    moves = {
        "ArrowRight": 51, "ArrowUp": 52, "ArrowLeft": 51, "ArrowDown": 50,
        "PageUp": 60, "PageDown": 50, "End": 100, "Home": 0,
    }  # fmt: skip
    for key, level in moves.items():
        live.press(key)
        assert live.output() == f"{level} px"
        expect(live.slider()).to_have_attribute("aria-valuetext", f"{level} px")
        live.says(f"level {level}")
    live.press("ArrowLeft")  # stays at the end
    live.says("level 0")
    expect(live.page).to_have_url(re.compile(r"[?&]level=0$"))
    assert live.wire.most_unanswered == 1


def test_a_held_key_ends_where_the_slider_shows(open_live):
    live = open_live("slider", "&slow=60")
    live.slider().focus()
    live.press(*["ArrowRight"] * 30)
    assert live.output() == "80 px"
    live.says("level 80")
    expect(live.page).to_have_url(re.compile(r"[?&]level=80$"))
    assert live.wire.most_unanswered == 1
    assert len(live.wire.reports) < 30


def test_names_and_decades_are_stops_too_and_not_every_slider_is_live(open_live):
    live = open_live("named")
    live.says("mode same rate 0.01")
    live.slider("Mode").focus()
    live.press("ArrowRight")
    live.says("mode valid rate 0.01")
    expect(live.slider("Mode")).to_have_attribute("aria-valuetext", "valid")
    before = len(live.wire.reports)
    live.page.mouse.move(*live.place(0.5, "Rate"))
    live.page.mouse.down()
    live.page.mouse.move(*live.place(0.75, "Rate"), steps=9)
    live.page.wait_for_timeout(200)
    assert len(live.wire.reports) == before  # reports on release only
    live.page.mouse.up()
    live.says("mode valid rate 0.1")
    expect(live.page).to_have_url(re.compile(r"&mode=valid&rate=0\.1$"))
    assert len(live.wire.reports) == before + 1


def test_a_link_opens_the_same_state(open_live):
    live = open_live("slider", "&level=61")
    assert live.output() == "61 px"
    live.says("level 61")
    live.slider().focus()
    live.press("PageUp", "ArrowRight")
    expect(live.page).to_have_url(re.compile(r"[?&]level=72$"))
    live.page.reload()
    live.says("level 72")
    assert live.output() == "72 px"


def test_python_moves_a_slider(open_live):
    live = open_live("slider")
    live.page.get_by_role("button", name="Ten").click()
    live.says("level 10")
    expect(live.page.locator(".live-slider output")).to_have_text("10 px")
    expect(live.page).to_have_url(re.compile(r"[?&]level=10$"))
    live.slider().focus()
    live.press("ArrowRight")
    live.says("level 11")
    ticks = live.page.locator(".live-ticks span")
    expect(ticks).to_have_text(["0 px", "100 px"])
    column = live.page.locator(".live-slider").bounding_box()
    for tick in ticks.all():
        box = tick.bounding_box()
        assert column["x"] <= box["x"]
        assert box["x"] + box["width"] <= column["x"] + column["width"]
    ticks.last.click()  # so does a click on a tick
    live.says("level 100")


def test_python_wins_over_a_report_that_is_still_on_its_way(open_live):
    live = open_live("slider", "&slow=300")
    live.page.mouse.move(*live.place(0.5))
    live.page.mouse.down()
    live.page.mouse.move(*live.place(0.7), steps=5)
    live.page.mouse.up()
    live.page.get_by_role("button", name="Ninety").click()
    live.says("level 90")
    live.page.wait_for_timeout(700)
    live.says("level 90")
    expect(live.page.locator(".live-slider output")).to_have_text("90 px")
    expect(live.page).to_have_url(re.compile(r"[?&]level=90$"))


# ---------------------------------------------------------------- slider: played


def test_a_slider_plays_to_its_end_and_tells_python_once(open_live):
    live = open_live("play")
    runs = live.count("runs")
    live.page.get_by_role("button", name="Play").click()
    pause = live.page.get_by_role("button", name="Pause")
    expect(pause).to_be_visible()
    expect(live.page.locator(".live-slider output")).to_have_text("3")
    assert live.count("runs") == runs
    live.says("step 5")
    expect(live.page.get_by_role("button", name="Play")).to_be_visible()
    assert live.count("runs") == runs + 1
    expect(live.page).to_have_url(re.compile(r"[?&]step=5$"))
    live.page.get_by_role("button", name="Play").click()  # from the start again
    expect(live.page.locator(".live-slider output")).to_have_text("0")
    pause.click()
    live.says(re.compile(r"step [01]"))


def test_pause_and_the_thumb_stop_playing(open_live):
    live = open_live("play")
    output = live.page.locator(".live-slider output")
    live.page.get_by_role("button", name="Play").click()
    expect(output).to_have_text("2")
    live.page.get_by_role("button", name="Pause").click()
    live.says("step 2")
    live.page.wait_for_timeout(900)
    assert live.output() == "2"
    live.page.get_by_role("button", name="Play").click()
    expect(output).to_have_text("3")
    live.slider("Step").focus()
    live.press("Home")
    expect(live.page.get_by_role("button", name="Play")).to_be_visible()
    live.says("step 0")


def test_under_reduced_motion_nothing_plays_but_back_and_forward_go(open_live):
    live = open_live("play", "&step=4", reduced_motion="reduce")
    expect(live.page.get_by_role("button", name="Play")).to_be_hidden()
    forward = live.page.get_by_role("button", name="Forward")
    back = live.page.get_by_role("button", name="Back")
    for button, steps in ((forward, (5, 5)), (back, (4, 3, 2, 1, 0, 0))):
        for step in steps:
            button.click()
            live.says(f"step {step}")


# ---------------------------------------------------------------- figure: in place


def test_a_figure_keeps_its_zoom_and_its_node(open_live):
    live = open_live("figure")
    live.plot("querySelector('.main-svg').dataset.kept = 'yes'")
    left, right = live.at(2, 400), live.at(6, 100)
    live.page.mouse.move(*left)
    live.page.mouse.down()
    live.page.mouse.move(*right, steps=5)
    live.page.mouse.up()
    live.plotted("plot.layout.xaxis.range && plot.layout.xaxis.range[0] > 1.5")
    zoomed = [live.plot(f"layout.{axis}.range") for axis in ("xaxis", "yaxis")]
    live.slider().focus()
    live.press("End")
    live.plotted("plot.data[0].y[0] === 100")
    assert [live.plot(f"layout.{axis}.range") for axis in ("xaxis", "yaxis")] == zoomed
    assert live.plot("querySelector('.main-svg').dataset.kept") == "yes"
    assert live.plot("querySelector('.gtitle').textContent") == "Level 100"


def test_a_figure_never_flickers_while_the_slider_is_dragged(open_live):
    live = open_live("figure")
    live.page.evaluate(WATCH_FRAMES)
    live.page.mouse.move(*live.place(0.5))
    live.page.mouse.down()
    for share in (0.9, 0.2, 0.7, 0.4):
        live.page.mouse.move(*live.place(share), steps=12)
        live.page.wait_for_timeout(120)
    live.page.mouse.up()
    live.says("level 40")
    live.plotted("plot.data[0].y[0] === 40")
    live.page.evaluate("cancelAnimationFrame(window.watching)")
    seen = live.page.evaluate("window.seen")
    assert len(seen) > 10
    assert set(seen) == {10}  # all ten bars in every frame, in the same picture
    assert live.wire.most_unanswered == 1


def test_a_figure_follows_the_theme_and_its_column(open_live):
    live = open_live("figure")
    expect(live.page.get_by_role("img", name="Bars")).to_be_visible()
    for width in (1440, 390):
        live.page.set_viewport_size({"width": width, "height": 800})
        live.plotted(f"plot.clientWidth < {width} && plot._fullLayout.width === plot.clientWidth")
    live.plot("querySelector('.main-svg').dataset.kept = 'yes'")
    light = live.plot("_fullLayout.font.color")
    live.page.emulate_media(color_scheme="dark")
    live.plotted(f"plot._fullLayout.font.color !== '{light}'")
    text = live.page.evaluate("getComputedStyle(document.querySelector('.live')).color")
    channels = [int(part) for part in re.findall(r"\d+", text)[:3]]
    assert live.plot("_fullLayout.font.color").lower() == "#{:02x}{:02x}{:02x}".format(*channels)
    assert min(channels) > 200
    assert live.plot("querySelector('.main-svg').dataset.kept") == "yes"


# ---------------------------------------------------------------- figure: several, and gone


@pytest.fixture
def open_several(open_page) -> Callable[..., Live]:
    """Three figures in sight, all drawn."""

    def open_one(**options: Any) -> Live:
        page = open_page("?case=several", **options)
        shows(page, [50, 50, 50])
        return Live(page, Wire(page))

    return open_one


def shows(page: Page, levels: list[int]) -> None:
    """Wait until the figures stand at these levels."""
    wanted = json.dumps(levels)
    page.wait_for_function(f"JSON.stringify({LEVELS}) === JSON.stringify({wanted})")


def test_a_figure_that_leaves_while_it_stands_in_line_holds_up_no_other(open_several):
    live = open_several()
    second = live.page.locator(".live-plot").nth(1)
    live.page.evaluate(HOLD_REACT)
    live.slider().press("End")
    live.page.wait_for_function("Boolean(window.letGo)")
    second.evaluate("plot => { plot.style.transform = 'translateY(5000px)'; }")
    live.page.wait_for_timeout(300)  # the browser notices
    live.page.evaluate("window.letGo()")
    shows(live.page, [100, 50, 100])
    expect(second).to_have_attribute("data-far", "")
    live.slider().press("Home")
    shows(live.page, [0, 50, 0])
    second.evaluate("plot => { plot.style.transform = ''; }")
    shows(live.page, [0, 0, 0])
    expect(second).not_to_have_attribute("data-far", "")


def test_a_figure_that_is_gone_draws_no_more(open_several, settled):
    live = open_several()
    live.page.evaluate(HOLD_REACT)
    live.slider().press("End")
    live.page.wait_for_function("Boolean(window.letGo)")
    live.says("level 100")
    live.page.get_by_text("Figures").click()
    expect(live.page.locator(".live-plot")).to_have_count(0)
    live.page.evaluate("window.letGo()")
    live.page.get_by_text("More").click()
    shows(live.page, [100])
    live.page.wait_for_timeout(300)
    assert all(live.page.evaluate("window.after"))


def test_a_figure_that_could_not_be_drawn_once_is_drawn_again(open_live, problems):
    live = open_live("figure")
    live.page.evaluate(REJECT_ONCE)
    live.slider().press("End")
    live.page.wait_for_timeout(500)
    live.slider().press("Home")
    live.plotted("plot.data[0].y[0] === 0 && plot.data[0].y[1] === 0")
    assert [*map(str, problems)] == ["page error: provoked"]
    problems.clear()


# ---------------------------------------------------------------- figure: events


def test_a_click_on_a_marker_is_reported_each_time_and_once(open_live):
    live = open_live("figure")
    live.page.mouse.click(*live.at(3, 5))
    event = "event FigureEvent(kind='click', points=[{'trace': 1, 'index': 3, 'x': 3, 'y': 5}])"
    live.says(event)
    live.slider().focus()
    live.press("ArrowRight", "ArrowRight", "ArrowRight")  # updates do not multiply reports
    live.plotted("plot.data[0].y[0] === 53")
    live.says("level 53")
    runs = live.count("runs")
    live.page.mouse.click(*live.at(3, 5))
    live.says(f"runs {runs + 1}")
    live.says(event)
    live.page.wait_for_timeout(300)
    assert live.count("runs") == runs + 1


def test_pointing_is_reported_where_it_is_asked_for(open_live):
    live = open_live("figure", "&hover=1")
    live.page.mouse.move(*live.at(4, 20))
    live.page.mouse.move(*live.at(4, 5), steps=3)
    live.says(re.compile(r"event FigureEvent\(kind='hover'.*'index': 4.*"))


def test_a_click_on_a_cell_of_a_heat_map_is_reported(open_live):
    live = open_live("heat")
    live.page.mouse.click(*live.at(2, 1))
    points = "[{'trace': 0, 'index': [1, 2], 'x': 2, 'y': 1}]"
    live.says(f"event FigureEvent(kind='click', points={points})")


def test_a_selection_is_reported(open_live):
    live = open_live("select")
    live.page.mouse.move(*live.at(0.5, 2.5))
    live.page.mouse.down()
    live.page.mouse.move(*live.at(2.5, 0.5), steps=6)
    live.page.mouse.up()
    live.says(re.compile(r"event FigureEvent\(kind='select'.*'index': 1.*'index': 2.*"))


# ---------------------------------------------------------------- figure: sweeps, pin, export


def test_sweeps_are_played_without_the_server(open_live):
    live = open_live("sweep")
    live.plotted("plot.data[0].y[9] === 450")
    before = live.wire.sent
    live.page.mouse.move(*live.place(0.5))
    live.page.mouse.down()
    for level in (70, 20, 33):
        live.page.mouse.move(*live.place(level / 100), steps=6)
        live.plotted(f"plot.data[0].y[9] === {9 * level}")
        sizes = [level * n % 7 + 3 for n in range(10)]
        assert live.plot("data[1].marker.size") == sizes
        maps = [[level + row * 16 + column for column in range(16)] for row in range(4)]
        assert live.page.evaluate(MAP) == maps
    assert live.wire.sent == before
    runs = live.count("runs")
    live.page.mouse.up()
    live.says(f"runs {runs + 1}")
    live.plotted("plot.data[0].y[9] === 297")  # the server's answer does not undo the position
    reports = len(live.wire.reports)
    live.page.get_by_role("button", name="Play").click()
    live.plotted("plot.data[0].y[9] === 900")
    live.says(f"runs {runs + 2}")
    assert len(live.wire.reports) == reports + 1


def test_a_pinned_figure_stays_as_a_ghost(open_live):
    live = open_live("figure")
    live.announce("pin:page.bars", {"pinned": True})
    live.plotted("plot.data.length === 4")
    live.slider().focus()
    live.press("End")
    live.plotted("plot.data[0].y[0] === 100")
    assert live.plot("data.map((trace) => trace.opacity ?? 1)") == [1, 1, 0.35, 0.35]
    assert live.plot("data[2].y[0]") == 50
    assert live.plot("data[2].hoverinfo") == "skip"
    assert live.plot("data[2].marker.color") == live.plot("_fullData[0].marker.color")
    live.page.mouse.click(*live.at(3, 5))
    live.says(re.compile(r"event FigureEvent.*'trace': 1, 'index': 3,.*"))
    live.announce("pin:page.bars", {"pinned": False})
    live.plotted("plot.data.length === 2")


def test_a_figure_is_pinned_before_plotlys_script_has_arrived(open_page):
    held: list[Route] = []

    def hold(page: Page) -> None:
        page.route("**/plotly.min.js", lambda route: held.append(route))

    page = open_page("?case=figure", before=hold)
    live = Live(page, Wire(page))
    page.wait_for_function(f"{PLOT}?.getAttribute('role') === 'img'")
    live.announce("pin:page.bars", {"pinned": True})
    held[0].continue_()
    live.plotted("plot.data?.length === 4 && plot.data[3].opacity === 0.35")


def test_a_figure_saves_itself_as_png(open_live):
    live = open_live("figure")
    with live.page.expect_download() as download:
        live.announce("png:page.bars", {"name": "picture"})
    assert download.value.suggested_filename == "picture.png"
    saved = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert saved.format == "PNG"
    assert saved.size == (2 * live.plot("clientWidth"), 600)
    colours = saved.convert("RGB").getcolors(1 << 24)
    assert max(colours)[1] == (255, 255, 255)  # on the page's ground, not on nothing
    assert len(colours) > 10


# ---------------------------------------------------------------- figure: without its script


def test_streamlits_chart_stands_in_where_plotlys_script_is_lost(open_page, server, problems):
    page = open_page("?case=slider")
    page.route("**/plotly.min.js", lambda route: route.abort())
    page.goto(f"{server}/?case=figure")
    expect(page.get_by_test_id("stPlotlyChart")).to_be_visible(timeout=20_000)
    expect(page.locator(".live-figure")).to_have_count(0)
    page.get_by_role("slider", name="Level").focus()
    page.keyboard.press("End")
    expect(page.get_by_text("level 100", exact=True)).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart").get_by_text("Level 100")).to_be_visible()
    assert all("plotly.min.js" in problem for problem in problems)
    problems.clear()


def test_a_lost_request_for_plotlys_script_does_not_count_for_the_next_figure(open_page, problems):
    script = "**/plotly.min.js"
    page = open_page(
        "?case=several", before=lambda page: page.route(script, lambda route: route.abort())
    )
    expect(page.get_by_test_id("stPlotlyChart")).to_have_count(3, timeout=20_000)
    page.unroute(script)
    page.get_by_text("More").click()
    expect(page.locator(".live-plot[aria-label=four] .main-svg").first).to_be_visible()
    assert all("plotly.min.js" in problem for problem in problems)
    problems.clear()


# ---------------------------------------------------------------- sentence


def test_a_sentence_follows_two_sliders_without_the_server(open_live):
    live = open_live("sentence")
    told = live.page.locator(".live-sentence p").first
    expect(told).to_have_text("At zero and 2 stands 2, not {unknown}.")
    expect(told.locator("strong")).to_have_text("2")
    expect(told).not_to_have_attribute("aria-live", re.compile(""))
    before = live.wire.sent
    live.page.mouse.move(*live.place(0, "Rows"))
    live.page.mouse.down()
    live.page.mouse.move(*live.place(1, "Rows"), steps=5)
    expect(told).to_have_text("At three and 2 stands 32, not {unknown}.")
    assert live.wire.sent == before
    live.page.mouse.up()
    live.slider("Columns").focus()
    live.press("End")
    expect(told).to_have_text("At three and 4 stands 34, not {unknown}.")
    live.says(re.compile(r"runs [2-9]"))
    expect(told).to_have_text("At three and 4 stands 34, not {unknown}.")


def test_floats_are_told_as_python_tells_them(open_live):
    live = open_live("sizes")
    sentence, seen = live.page.locator(".live-sentence p").first, []
    expect(sentence).to_have_text("0 is 0")
    live.slider("Size").focus()
    for _position in range(12):
        before = sentence.text_content()
        live.press("ArrowRight")
        expect(sentence).not_to_have_text(before)
        seen.append(sentence.text_content().split(" is "))
    assert seen[0] == ["2·10⁻¹⁷"] * 2
    assert seen[-1] == ["∞"] * 2
    assert all(browsers == pythons for browsers, pythons in seen)


def test_a_pinned_sentence_stays_below_the_living_one(open_live):
    live = open_live("sentence")
    pinned = live.page.locator(".live-pinned")
    expect(pinned).to_be_hidden()
    live.announce("pin:page.told", {"pinned": True})
    live.slider("Rows").focus()
    live.press("End")
    expect(live.page.locator(".live-sentence strong").first).to_have_text("32")
    expect(pinned).to_have_text("Kept: At zero and 2 stands 2, not {unknown}.")
    live.announce("pin:page.told", {"pinned": False})
    expect(pinned).to_be_hidden()


# ---------------------------------------------------------------- screen readers


@pytest.mark.parametrize(
    ("case", "name", "end"),
    [("sentence", "Rows", "At three and 2 stands 32, not {unknown}."),
     ("table", "Level", "once 100, twice 200")],
)  # fmt: skip
def test_what_follows_a_slider_is_told_once_it_has_rested(open_live, case, name, end):
    live = open_live(case)
    expect(live.page.locator(".live-spoken")).to_have_attribute("aria-live", "polite")
    live.page.wait_for_timeout(700)
    live.page.evaluate(WATCH_SPOKEN)
    live.slider(name).focus()
    live.page.evaluate("window.moved = null")
    for key in ["ArrowRight", "ArrowRight", "ArrowLeft", "ArrowRight", "End"]:
        live.press(key)
        live.page.evaluate("window.moved = performance.now()")
        live.page.wait_for_timeout(120)
    live.page.wait_for_function("window.spoken.length")
    live.page.wait_for_timeout(700)
    [[at, text]] = live.page.evaluate("window.spoken")
    assert text == end
    assert at - live.page.evaluate("window.moved") > 400


@pytest.mark.parametrize("case", ["slider", "upright"])
def test_the_value_of_a_slider_is_told_by_the_slider_alone(open_live, case):
    live = open_live(case)
    outputs = live.page.locator("output")
    expect(outputs).not_to_have_count(0)
    for output in outputs.all():
        expect(output).to_have_attribute("aria-live", "off")


# ---------------------------------------------------------------- lost connections


@pytest.fixture
def cuttable(browser: Browser, server: str, settled) -> Iterator[Callable[[str], Any]]:
    """Open a page whose connection can be cut and restored."""
    contexts = []

    def open_one(path: str) -> tuple[Page, Callable[[], None], Callable[[], None]]:
        connections: list[WebSocketRoute] = []
        offline: list[bool] = []

        def relay(connection: WebSocketRoute) -> None:
            if offline:
                connection.close()
                return
            connections.append(connection)
            connection.connect_to_server()

        context = browser.new_context(viewport={"width": 1000, "height": 800})
        contexts.append(context)
        page = context.new_page()
        page.route_web_socket(re.compile("stream"), relay)
        page.goto(f"{server}/{path}")

        def cut() -> None:
            offline.append(True)
            context.set_offline(True)  # the browser leaves open web sockets alone
            connections[-1].close()
            page.wait_for_selector(
                "[data-test-connection-state]:not([data-test-connection-state=CONNECTED])"
            )

        def restore() -> None:
            offline.clear()
            context.set_offline(False)

        return settled(page), cut, restore

    yield open_one
    for context in contexts:
        context.close()


def test_a_slider_moved_while_the_connection_was_lost_arrives(cuttable):
    page, cut, restore = cuttable("?case=slider")
    slider = page.get_by_role("slider", name="Level")
    slider.focus()
    page.keyboard.press("PageUp")
    expect(page.get_by_text("level 60", exact=True)).to_be_visible()
    cut()
    slider.focus()
    page.keyboard.press("PageUp")
    expect(page.locator(".live-slider output")).to_have_text("70 px")
    expect(page.get_by_text("level 60", exact=True)).to_be_visible()
    restore()
    expect(page.get_by_text("level 70", exact=True)).to_be_visible(timeout=30_000)
    slider.focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("level 0", exact=True)).to_be_visible(timeout=15_000)


def test_sweeps_play_on_while_the_connection_is_lost(cuttable):
    page, cut, restore = cuttable("?case=sweep")
    page.wait_for_function(f"{PLOT}?.data?.[0].y[9] === 450")
    cut()
    page.get_by_role("slider", name="Level").focus()
    page.keyboard.press("PageUp")
    page.wait_for_function(f"{PLOT}.data[0].y[9] === 540")
    restore()
    expect(page.get_by_text("runs 2", exact=True)).to_be_visible(timeout=30_000)
    page.wait_for_function(f"{PLOT}.data[0].y[9] === 540")


# ---------------------------------------------------------------- training


def at_step(page: Page) -> int:
    return int(re.search(r"Step (\d+) of", page.locator(".live-progress").inner_text())[1])


def test_a_training_runs_to_its_end_and_can_be_repeated(open_page) -> None:
    page = open_page("?case=training")
    assert at_step(page) == 0  # the first state is there without a click
    page.get_by_role("button", name="Train").click()
    expect(page.locator(".live-progress")).to_have_text("Step 300 of 300", timeout=20_000)
    expect(page.get_by_role("button", name="Train")).to_be_disabled()
    expect(page.get_by_text("states 31")).to_be_visible()
    page.get_by_role("button", name="From the start").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".live-progress")).to_have_text("Step 300 of 300", timeout=20_000)


def test_a_training_stops_at_once_and_goes_on_where_it_was(open_page, settled) -> None:
    page = open_page("?case=training")
    page.get_by_text("2000").click()
    settled(page)
    page.get_by_role("button", name="Train").click()
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Pause").click()
    settled(page)
    paused = at_step(page)
    assert 0 < paused < 2000
    page.wait_for_timeout(700)
    assert at_step(page) == paused
    page.get_by_role("button", name="Train").click()
    page.wait_for_timeout(1000)
    assert at_step(page) > paused


def test_other_settings_begin_a_training_anew_and_wait(open_page, settled) -> None:
    page = open_page("?case=training")
    page.get_by_role("button", name="Train").click()
    page.wait_for_timeout(500)
    page.get_by_text("2000").click()
    settled(page)
    expect(page.locator(".live-progress")).to_have_text("Step 0 of 2000")
    expect(page.get_by_role("button", name="Train")).to_be_enabled()


# ---------------------------------------------------------------- bars


def test_bars_report_while_they_are_dragged_and_stand_in_the_link(open_page, settled) -> None:
    page = settled(open_page("?case=upright"))
    expect(page.get_by_text("values [1.0, 0.0, -1.0]")).to_be_visible()
    box = page.get_by_role("slider", name="b", exact=True).bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 2, steps=4)
    expect(page.get_by_text("values [1.0, 2.0, -1.0]")).to_be_visible()  # still held
    page.mouse.up()
    settled(page)
    assert "logits=1,2,-1" in page.url.replace("%2C", ",")


def test_stacked_bars_are_dragged_to_the_right_and_tell_powers_of_ten(open_page, settled) -> None:
    page = settled(open_page("?case=stacked"))
    told = page.locator(".live-bars output")
    expect(told).to_have_text(["1", "1"])
    box = page.get_by_role("slider", name="Momentum").bounding_box()
    assert box["width"] > 3 * box["height"]
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    expect(page.get_by_text("values [0.0, 2.0]")).to_be_visible()
    expect(told).to_have_text(["1", "100"])
    page.get_by_role("slider", name="AdaDelta").press("Home")
    expect(told).to_have_text(["0.01", "100"])


def test_bars_take_keys_links_and_what_python_sets(open_page, settled) -> None:
    page = open_page("?case=upright&logits=0.5,0.5,0.5")
    page.get_by_role("slider", name="c", exact=True).press("ArrowUp")
    expect(page.get_by_text("values [0.5, 0.5, 1.0]")).to_be_visible()
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_text("values [2.0, 2.0, 2.0]")).to_be_visible()
    settled(page)
    heights = page.eval_on_selector_all(".live-bars input", "bars => bars.map((bar) => bar.value)")
    assert heights == ["2", "2", "2"]


@pytest.mark.parametrize("asked", ["", "1,2", "9,0,0", "nan,0,0", "x" * 900])
def test_bars_ignore_a_link_that_makes_no_sense(open_page, asked) -> None:
    page = open_page(f"?case=upright&logits={asked}")
    expect(page.get_by_text("values [1.0, 0.0, -1.0]")).to_be_visible()
