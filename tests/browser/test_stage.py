"""The stage in a real browser: pointer, touch, keyboard, sweeps, export, lost connections."""

import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from tools.browser import running_app, settle

CELL_3_OF_ROW_1 = 1 * 6 + 3
TOP = "document.querySelector('.stage-top').__stage"
TWO_FRAMES = """() => new Promise((done) => {
    requestAnimationFrame(() => requestAnimationFrame(done));
})"""
PIXEL = """([name, x, y]) => {
    const { view } = document.querySelector('.stage-top').__stage;
    const column = Math.round((view.left + x * view.sx) * view.ratio);
    const row = Math.round((view.top + y * view.sy) * view.ratio);
    const ctx = document.querySelector(`.stage-${name}`).getContext('2d');
    return [...ctx.getImageData(column, row, 1, 1).data];
}"""
IS_EMPTY = """(name) => {
    const canvas = document.querySelector(`.stage-${name}`);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return !data.some(Boolean);
}"""
STRONGEST = """(name) => {
    const canvas = document.querySelector(`.stage-${name}`);
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((most, value, at) => (at % 4 === 3 ? Math.max(most, value) : most), 0);
}"""
COUNT_MESSAGES = """() => {
    window.messages = 0;
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        window.messages++;
        send.call(this, data);
    };
}"""
HOLD_PHOTO = """() => {  // decoded, but not handed out until it is let go
    const decode = createImageBitmap;
    window.freed = 0;
    window.createImageBitmap = async (blob) => {
        const picture = await decode(blob);
        const close = picture.close.bind(picture);
        picture.close = () => { window.freed++; close(); };
        await new Promise((resolve) => { window.letGo = resolve; });
        return picture;
    };
}"""
SHARED = (
    "document.querySelector('link[href*=\"stage.css\"]').href.replace('stage.css', 'shared.js')"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The stages of `apps/stage_app.py` in place of the app."""
    log = tmp_path_factory.mktemp("stage") / "server.log"
    with running_app(log, "tests/browser/apps/stage_app.py") as address:
        yield address


class Stage:
    """What a visitor does with the one stage of a page, in photo pixels."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.wait_for_function("document.querySelector('.stage-top')?.__stage.view")
        settle(page)

    def frame(self) -> None:
        self.page.evaluate(TWO_FRAMES)

    def state(self, name: str) -> Any:
        self.frame()
        return self.page.evaluate(f"{TOP}.{name}")

    def client(self, x: float, y: float) -> tuple[float, float]:
        return tuple(self.page.evaluate(f"{TOP}.client({x}, {y})"))

    def point(self, x: float, y: float) -> None:
        self.page.mouse.move(*self.client(x, y))

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.client(x, y))

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 4) -> None:
        self.page.mouse.move(*self.client(*start))
        self.page.mouse.down()
        self.page.mouse.move(*self.client(*end), steps=steps)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def publish(self, topic: str, value: Any) -> None:
        """What a slider does in the browser."""
        self.tell("publish", topic, value)

    def announce(self, topic: str, value: Any) -> None:
        """What the toolbar does in the browser."""
        self.tell("announce", topic, value)

    def tell(self, function: str, topic: str, value: Any) -> None:
        call = f"([topic, value]) => import({SHARED}).then((bus) => bus.{function}(topic, value))"
        self.page.evaluate(call, [topic, value])
        self.frame()

    def pixel(self, canvas: str, x: float, y: float) -> list[int]:
        self.frame()
        return self.page.evaluate(PIXEL, [canvas, x, y])

    def is_empty(self, canvas: str) -> bool:
        self.frame()
        return self.page.evaluate(IS_EMPTY, canvas)

    def tip(self) -> Locator:
        return self.page.locator(".stage-tip")

    def says(self, text: str) -> None:
        expect(self.page.get_by_text(text, exact=True)).to_be_visible()


@pytest.fixture
def open_stage(open_page) -> Callable[..., Stage]:
    return lambda case, query="", **options: Stage(open_page(f"?case={case}{query}", **options))


# ---------------------------------------------------------------- boxes


def test_pointing_at_a_box_shows_its_tip(open_stage):
    stage = open_stage("boxes")
    stage.point(150, 150)
    assert stage.state("hovered") == ["found", 0]
    expect(stage.tip()).to_have_text("person · IoU 0.53")
    stage.point(90, 90)  # the smaller box inside the larger one
    assert stage.state("hovered") == ["found", 1]
    expect(stage.tip()).to_have_text("cup · IoU 0.123")
    stage.point(400, 250)
    expect(stage.tip()).to_have_text("chair · IoU 1,230")
    stage.point(330, 60)  # neither label nor value: a highlight without a tip
    assert stage.state("hovered") == ["found", 3]
    expect(stage.tip()).to_be_hidden()
    stage.point(250, 250)
    assert stage.state("hovered") is None


@pytest.mark.parametrize("width", [1440, 390])
def test_a_tip_never_leaves_the_stage(open_stage, width):
    stage = open_stage("boxes", width=width)
    for place in [(42, 42), (198, 198), (458, 298), (458, 102)]:
        stage.point(*place)
        stage.frame()
        frame = stage.page.locator(".stage-frame").bounding_box()
        tip = stage.tip().bounding_box()
        assert tip["x"] >= frame["x"]
        assert tip["y"] >= frame["y"]
        assert tip["x"] + tip["width"] <= frame["x"] + frame["width"]
        assert tip["y"] + tip["height"] <= frame["y"] + frame["height"]


def test_a_click_picks_a_box_and_another_lets_it_go(open_stage):
    stage = open_stage("boxes")
    stage.click(90, 90)
    stage.says("picked ('found', 1)")
    assert stage.state("picked") == ["found", 1]
    stage.click(90, 90)
    stage.says("picked None")


def test_the_keyboard_goes_from_box_to_box(open_stage):
    stage = open_stage("boxes")
    stage.page.locator(".stage-top").focus()
    stage.press("ArrowRight", "ArrowRight")
    assert stage.state("hovered") == ["found", 1]
    expect(stage.page.locator(".stage [role=status]")).to_have_text("cup · IoU 0.123")
    stage.press("Enter")
    stage.says("picked ('found', 1)")
    stage.press("Escape")
    assert stage.state("hovered") is None


def test_sliders_play_a_stack_without_the_server(open_stage):
    stage = open_stage("boxes")
    stage.page.evaluate(COUNT_MESSAGES)
    visible = [stage.state("visible")["found"]]
    for index in (1, 2, 1, 99):
        stage.publish("iou", index)
        visible.append(stage.state("visible")["found"])
    assert visible == [4, 3, 1, 3, 1]
    stage.publish("iou", 0)
    for index, count in ((1, 3), (2, 2), (0, 4)):
        stage.publish("score", index)
        assert stage.state("visible")["found"] == count
    stage.publish("score", 2)
    stage.publish("least", 1)  # of two lower bounds the lower one holds
    assert stage.state("visible")["found"] == 3
    for index, count in ((1, 2), (2, 0), (0, 3)):
        stage.publish("most", index)  # a score at the upper bound is out, at the lower one in
        assert stage.state("visible")["found"] == count
    assert stage.page.evaluate("window.messages") == 0


def test_a_box_that_a_slider_hides_is_no_longer_pointed_at(open_stage):
    stage = open_stage("boxes")
    stage.point(90, 90)
    assert stage.state("hovered") == ["found", 1]
    stage.publish("iou", 1)
    assert stage.state("hovered") == ["found", 0]


def test_a_crowd_is_paler_than_a_few(open_stage):
    stage = open_stage("crowd")
    assert stage.page.evaluate(STRONGEST, "scene") == round(0.6 * 255)
    stage.publish("iou", 5)
    assert stage.state("visible") == {"anchors": 300}
    assert stage.page.evaluate(STRONGEST, "scene") == 255


def test_20000_boxes_are_drawn_and_pointed_at(open_stage):
    stage = open_stage("crowd")
    assert stage.state("visible") == {"anchors": 20_000}
    stage.point(240, 160)
    assert stage.state("hovered") is not None


# ---------------------------------------------------------------- cells and patches


def test_pointing_at_a_cell_draws_its_boxes_also_outside_the_photo(open_stage):
    stage = open_stage("cells")
    stage.point(280, 120)
    assert stage.state("cell") == CELL_3_OF_ROW_1
    assert stage.state("cellBoxes") == [
        [250, 60, 310, 180],
        [220, 90, 340, 150],
        [220, 60, 340, 180],
    ]
    expect(stage.tip()).to_have_text("Cell 2, 4")
    stage.point(10, 10)
    assert stage.state("cellBoxes")[2] == [-20, -20, 100, 100]
    assert stage.pixel("top", -20, 40)[3] == 255  # the left edge of that box, beside the photo
    stage.point(-20, 10)  # the margin holds no cell
    assert stage.state("cell") is None


def test_a_click_pins_a_cell(open_stage):
    stage = open_stage("cells")
    stage.click(280, 120)
    stage.says(f"cell {CELL_3_OF_ROW_1}")
    stage.point(10, 10)
    assert stage.state("cellBoxes")[0] == [250, 60, 310, 180]
    stage.click(280, 120)
    stage.says("cell None")


def test_the_keyboard_moves_and_pins_a_cell(open_stage):
    stage = open_stage("cells")
    stage.page.locator(".stage-top").focus()
    stage.press("ArrowRight")
    assert stage.state("cell") == 2 * 6 + 3  # the middle
    stage.press("ArrowLeft", "ArrowUp", "ArrowUp", "ArrowUp")
    assert stage.state("cell") == 2
    expect(stage.page.locator(".stage [role=status]")).to_have_text("Cell 1, 3")
    stage.press("Enter")
    stage.says("cell 2")


def test_a_tap_pins_a_cell_and_a_swipe_scrolls_the_page(open_stage):
    stage = open_stage("cells", has_touch=True, width=390, height=700)
    stage.page.touchscreen.tap(*stage.client(280, 120))
    stage.says(f"cell {CELL_3_OF_ROW_1}")
    assert "pan-y" in stage.page.locator(".stage-top").evaluate("node => node.style.touchAction")


def test_pointing_at_a_patch_shows_its_map(open_stage):
    stage = open_stage("patches")
    assert stage.is_empty("top")
    stage.point(15 * 3 + 5, 10 * 2 + 5)
    expect(stage.tip()).to_have_text(re.compile(r"Cell 2, 2\nattention 3"))
    assert not stage.is_empty("top")


# ---------------------------------------------------------------- heat maps, pin, export


def test_a_heat_map_shows_the_value_under_the_pointer(open_stage):
    stage = open_stage("heat")
    stage.point(2, 2)
    expect(stage.tip()).to_have_text("gate (a.u.) −1")
    stage.publish("layer", 1)
    expect(stage.tip()).to_have_text("gate (a.u.) 1")
    expect(stage.page.locator(".stage-bar")).to_have_text("gate (a.u.)−11")


def test_pinning_keeps_a_ghost_until_it_is_dropped(open_stage):
    stage = open_stage("boxes")
    assert stage.is_empty("ghost")
    stage.announce("pin:nms", {"pinned": True})
    stage.publish("iou", 2)
    assert stage.state("visible") == {"found": 1}
    assert stage.state("ghost") is True
    assert not stage.is_empty("ghost")
    opacity = stage.page.locator(".stage-ghost").evaluate("node => getComputedStyle(node).opacity")
    assert float(opacity) == 0.35
    stage.announce("pin:nms", {"pinned": False})
    assert stage.is_empty("ghost")


def test_a_ghost_holds_the_state_that_was_pinned(open_stage):
    stage = open_stage("heat")
    before = stage.pixel("scene", 2, 2)
    stage.announce("pin:heat", {"pinned": True})
    stage.publish("layer", 1)
    assert stage.pixel("ghost", 2, 2) == before
    assert stage.pixel("scene", 2, 2) != before


@pytest.mark.parametrize(("case", "step", "size"), [("boxes", "nms", 0), ("heat", "heat", 34)])
def test_the_stage_saves_itself_as_png(open_stage, case, step, size, tmp_path):
    stage = open_stage(case)
    view = stage.state("view")
    with stage.page.expect_download() as download:
        stage.announce(f"png:{step}", {"name": "picture"})
    assert download.value.suggested_filename == "picture.png"
    saved = Image.open(io.BytesIO(download.value.path().read_bytes()))
    assert saved.format == "PNG"
    assert saved.size == (2 * view["width"], 2 * (view["height"] + size))
    assert len(saved.convert("RGB").resize((40, 40)).getcolors(1600)) > 50


# ---------------------------------------------------------------- drawing


def test_boxes_are_drawn_moved_resized_and_deleted_by_mouse(open_stage):
    stage = open_stage("drawn")
    stage.drag((100, 80), (220, 200))
    stage.says("boxes [(100, 80, 220, 200)]")
    stage.drag((160, 140), (190, 150))
    stage.says("boxes [(130, 90, 250, 210)]")
    stage.drag((250, 210), (300, 260))  # the lower right handle
    stage.says("boxes [(130, 90, 300, 260)]")
    stage.drag((130, 175), (150, 300))  # the left handle moves one edge alone
    stage.says("boxes [(150, 90, 300, 260)]")
    stage.drag((220, 150), (900, 150))  # stays on the photo
    stage.says("boxes [(330, 90, 480, 260)]")
    stage.drag((20, 20), (60, 60))
    stage.says("boxes [(330, 90, 480, 260), (20, 20, 60, 60)]")
    stage.click(400, 150)
    assert stage.state("selected") == 0
    view = stage.state("view")
    x, y = stage.client(480, 90)
    stage.page.mouse.move(x - 10, y - 15)  # the small x, kept on the stage
    expect(stage.tip()).to_have_text("Delete")
    assert view["width"] > 400
    stage.page.mouse.click(x - 10, y - 15)
    stage.says("boxes [(20, 20, 60, 60)]")


def test_a_box_below_the_least_size_is_not_kept(open_stage):
    stage = open_stage("drawn", width=1440)
    stage.drag((100, 80), (103, 200))
    stage.drag((100, 80), (160, 120))
    stage.says("boxes [(100, 80, 160, 120)]")


def test_a_handle_stops_at_the_least_size(open_stage):
    stage = open_stage("drawn")
    stage.drag((100, 80), (220, 200))
    stage.drag((220, 200), (0, 0))
    stage.says("boxes [(100, 80, 104, 84)]")


def test_boxes_are_drawn_moved_resized_and_deleted_by_keyboard(open_stage):
    stage = open_stage("drawn")
    stage.page.locator(".stage-top").focus()
    stage.press("Enter")
    stage.says("boxes [(160, 107, 320, 213)]")
    expect(stage.page.locator(".stage [role=status]")).to_contain_text(
        "box 1 of 1: 160, 107 to 320, 213"
    )
    stage.press("ArrowLeft", "Shift+ArrowUp", "Alt+ArrowRight")
    stage.says("boxes [(159, 97, 320, 203)]")
    stage.press("+")
    assert stage.state("selected") == 1
    stage.press("Shift+Tab")
    assert stage.state("selected") == 0
    stage.press("Delete")
    stage.says("boxes [(160, 107, 320, 213)]")
    stage.press("Tab", "Tab")  # past the last box the focus goes on
    expect(stage.page.locator(".stage-top")).not_to_be_focused()


def test_boxes_are_drawn_moved_and_deleted_by_touch(open_stage):
    stage = open_stage("drawn", has_touch=True, width=390, height=700)
    client = stage.page.context.new_cdp_session(stage.page)

    def swipe(start, end):
        for kind, place in (("touchStart", start), ("touchMove", end), ("touchEnd", None)):
            points = [dict(zip("xy", stage.client(*place), strict=True))] if place else []
            client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    top = stage.page.evaluate("scrollY")
    swipe((100, 80), (300, 220))
    stage.says("boxes [(100, 80, 300, 220)]")
    swipe((200, 150), (220, 180))
    stage.says("boxes [(120, 110, 320, 250)]")
    swipe((320, 250), (400, 300))
    stage.says("boxes [(120, 110, 400, 300)]")
    assert stage.page.evaluate("scrollY") == top
    x, y = stage.client(400, 110)
    stage.page.touchscreen.tap(x + 15, y - 15)
    stage.says("boxes []")


def test_a_live_stage_reports_one_value_at_a_time_while_dragging(open_stage):
    stage = open_stage("drawn", "&live=1")
    stage.page.mouse.move(*stage.client(50, 50))
    stage.page.mouse.down()
    for place in range(60, 300, 4):
        stage.page.mouse.move(*stage.client(place, place))
    expect(stage.page.get_by_text("boxes [(50, 50, 296, 296)]")).to_be_visible()  # still held
    stage.page.mouse.up()
    runs = int(stage.page.get_by_text(re.compile(r"^runs \d+$")).inner_text().split()[1])
    assert 3 <= runs <= 62
    print(f"60 moves made {runs} runs")


def test_a_new_revision_brings_pythons_boxes(open_stage):
    stage = open_stage("drawn")
    stage.drag((100, 80), (220, 200))
    stage.says("boxes [(100, 80, 220, 200)]")
    stage.page.get_by_role("spinbutton").fill("1")
    stage.page.get_by_role("spinbutton").press("Enter")
    stage.says("boxes [(20, 20, 100, 100)]")
    stage.page.wait_for_function("document.querySelector('.stage-top').__stage.boxes[0][0] === 20")
    stage.drag((60, 60), (80, 70))
    stage.says("boxes [(40, 30, 120, 110)]")


def test_a_photo_that_comes_after_its_stage_has_gone_is_let_go(open_page):
    page = open_page("?case=leaving", before=lambda page: page.add_init_script(f"({HOLD_PHOTO})()"))
    page.wait_for_function("Boolean(window.letGo)")
    page.get_by_text("Stage").click()
    expect(page.locator(".stage")).to_have_count(0)
    page.evaluate("window.letGo()")
    page.wait_for_function("window.freed === 1")


# ---------------------------------------------------------------- the page around it


def test_lines_are_crisp_on_a_dense_screen(open_stage):
    stage = open_stage("boxes", device_scale_factor=2)
    for name in ("photo", "scene", "top"):
        canvas = stage.page.locator(f".stage-{name}")
        assert canvas.evaluate("node => node.width / node.getBoundingClientRect().width") == 2
    assert stage.pixel("scene", 40, 120)[:3] == [0, 158, 115]  # the full colour, not a blend


@pytest.mark.parametrize("width", [1440, 390])
def test_the_stage_follows_its_column(open_stage, width):
    stage = open_stage("boxes", width=width)
    frame = stage.page.locator(".stage-frame").bounding_box()
    assert 0 < frame["width"] <= width
    assert frame["x"] >= 0
    assert frame["x"] + frame["width"] <= width
    assert frame["width"] / frame["height"] == pytest.approx(1.5, rel=0.01)
    stage.page.set_viewport_size({"width": 600, "height": 800})
    stage.page.wait_for_function(
        """(width) => {
            const { width: drawn, clientWidth } = document.querySelector('.stage-scene');
            return clientWidth !== width && drawn === clientWidth;
        }""",
        arg=frame["width"],
    )
    assert not stage.is_empty("scene")


def test_the_margin_follows_the_theme(open_stage):
    light = open_stage("cells").pixel("photo", -20, 40)
    dark = open_stage("cells", color_scheme="dark").pixel("photo", -20, 40)
    assert light == [244, 245, 247, 255]
    assert dark == [30, 35, 42, 255]


def test_screen_readers_are_told(open_stage):
    stage = open_stage("drawn")
    top = stage.page.get_by_role("application", name="Objects")
    expect(top).to_have_accessible_description(re.compile("Plus: new box"))
    heat = open_stage("heat")
    expect(heat.page.get_by_role("img", name="A map")).to_be_visible()


@pytest.mark.parametrize("fresh", [True, False])
def test_what_was_drawn_while_the_connection_was_lost_arrives(
    browser: Browser, server: str, settled: Callable[[Page], Page], fresh: bool
):
    connections: list[WebSocketRoute] = []
    blocked: list[bool] = []

    def relay(connection: WebSocketRoute) -> None:
        if blocked:
            connection.close()
            return
        connections.append(connection)
        connection.connect_to_server()

    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    page.route_web_socket(re.compile("stream"), relay)
    page.goto(f"{server}/?case=drawn")
    stage = Stage(settled(page))
    if not fresh:
        stage.drag((300, 100), (400, 200))
        stage.says("boxes [(300, 100, 400, 200)]")
    before = page.get_by_text(re.compile(r"^boxes \[")).inner_text()
    blocked.append(True)
    connections[-1].close()
    page.wait_for_selector(
        "[data-test-connection-state]:not([data-test-connection-state=CONNECTED])"
    )
    stage.drag((100, 80), (220, 200))
    assert stage.state("boxes.at(-1)[0]") == pytest.approx(100, abs=1)
    stage.says(before)  # Python has not heard of it
    blocked.clear()
    after = re.compile(r"^boxes \[.*\(100, 80, 220, 200\)\]$")
    expect(page.get_by_text(after)).to_be_visible(timeout=30_000)
    stage.drag((160, 140), (190, 150))
    after = re.compile(r"^boxes \[.*\(130, 90, 250, 210\)\]$")
    expect(page.get_by_text(after)).to_be_visible(timeout=15_000)
    context.close()
