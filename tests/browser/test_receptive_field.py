"""Receptive fields as a visitor uses it: edit the table, point, pin, drag through the layers."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from explainers.receptive_field import PRESETS, concentric_boxes, receptive_fields
from ui.text import load

PAGE = "receptive_field"
HEADER, ROW = 37, 35  # css pixels
COLUMNS = {"kernel": 110, "stride": 190, "up": -50, "drop": -18}
"""Where to click in a row of the table, from its left edge or its right one."""
SETTLED = 700  # ms that the table's editor needs to open
FIELDS = receptive_fields(PRESETS["vgg16"])


class Concept:
    """The page and what a visitor does on it."""

    def __init__(self, page: Page, settled: Callable[[Page], Page]) -> None:
        self.page = page
        self.settle = lambda: settled(page)

    def step(self, name: str) -> Locator:
        return self.page.locator(f".st-key-step-{PAGE}-{name}")

    def click(self, column: str, row: int) -> None:
        table = self.step("stack").get_by_test_id("stDataFrame").first
        table.scroll_into_view_if_needed()
        box, across = table.bounding_box(), COLUMNS[column]
        x = box["x"] + across + (box["width"] if across < 0 else 0)
        self.page.mouse.click(x, box["y"] + HEADER + ROW * (row + 0.5))
        self.page.wait_for_timeout(SETTLED)

    def write(self, column: str, row: int, number: int) -> None:
        self.click(column, row)
        self.page.keyboard.type(str(number))
        self.page.wait_for_timeout(SETTLED)
        self.page.keyboard.press("Enter")

    def says(self, text: str) -> None:
        """Wait until the first step's sentence holds `text`."""
        expect(self.page.locator(f".st-key-{PAGE}-stack-says")).to_contain_text(text)

    def stack(self) -> str | None:
        self.settle()
        found = re.search(r"[?&]stack=([^&]+)", self.page.url)
        return found and found[1]


@pytest.fixture
def concept(open_page, settled) -> Concept:
    return Concept(open_page(f"{PAGE}?lang=en"), settled)


def test_cells_are_edited_one_after_the_other(concept):
    concept.says("212 × 212")
    concept.write("kernel", 0, 7)
    concept.says("216 × 216")
    assert concept.stack().startswith("7p1_3p1_2s2_")
    concept.write("stride", 1, 2)
    concept.says("423 × 423")  # 9 after two layers, then twice the other 207
    assert concept.stack().startswith("7p1_3s2p1_2s2_")
    concept.write("kernel", 0, 3)
    concept.write("stride", 1, 1)
    concept.says("212 × 212")
    assert concept.stack() is None


def test_rows_are_moved_removed_and_added(concept):
    concept.click("up", 2)
    concept.says("214 × 214")  # the second convolution now reads units 2 pixels apart
    assert concept.stack().startswith("3p1_2s2_3p1_3p1_")
    concept.click("drop", 1)
    concept.says("After layer 17")
    concept.page.get_by_role("button", name="Add a layer").click()
    concept.says("After layer 18")
    assert concept.stack().endswith("_2s2_2s2")


def test_a_pinned_place_stays_while_the_layers_are_played(concept):
    step = concept.step("on_photo")
    top = step.locator(".stage-top")
    top.scroll_into_view_if_needed()
    concept.settle()
    x, y = top.evaluate("node => node.__stage.client(300, 200)")
    concept.page.mouse.move(x, y)
    concept.page.mouse.down()
    concept.page.mouse.up()

    def shown(layer: int) -> None:
        wanted = list(concentric_boxes(FIELDS, 9 * 32 + 16, 6 * 32 + 16)[layer])
        told = f"{FIELDS[layer].size} × {FIELDS[layer].size}"
        expect(concept.page.locator(f".st-key-{PAGE}-on_photo-says")).to_contain_text(told)
        concept.page.wait_for_function(
            "([node, wanted]) => String(node.__stage.cellBoxes.at(-1)) === wanted",
            arg=[top.element_handle(), ",".join(map(str, wanted))],
        )

    shown(17)
    slider = step.get_by_role("slider").first
    for layer in range(16, 11, -1):
        slider.press("ArrowLeft")
        shown(layer)


def test_one_points_at_units_of_the_chosen_layer(open_page, settled):
    concept = Concept(open_page(f"{PAGE}?lang=en&layer=0"), settled)
    top = concept.step("on_photo").locator(".stage-top")
    top.scroll_into_view_if_needed()
    concept.settle()
    concept.page.mouse.move(*top.evaluate("node => node.__stage.client(100.5, 60.5)"))
    concept.page.wait_for_function(
        "node => String(node.__stage.cellBoxes.at(-1)) === '99,59,102,62'",
        arg=top.element_handle(),
    )


def test_the_step_is_told_in_the_language_of_the_page(open_page):
    page = open_page(f"{PAGE}?lang=zh")
    expect(page.get_by_role("heading", name=load(PAGE, "zh").title, exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="添加一层")).to_be_visible()


def test_a_figure_of_squares_ends_with_them(open_page, settled):
    concept = Concept(open_page(f"{PAGE}?lang=en", width=390, height=800), settled)
    concept.settle()
    figure = concept.page.locator(f".st-key-{PAGE}-touch-touches .live-plot")
    figure.scroll_into_view_if_needed()
    drawn = """plot => new Promise((done) => {
        const look = () => {
            const layout = plot._fullLayout;
            if (layout?.yaxis?.domain[0] < 0.02) done([plot.clientHeight, layout.height]);
            else requestAnimationFrame(look);
        };
        look();
    })"""
    narrow = figure.evaluate(drawn)
    assert narrow[0] == narrow[1] < 340
    concept.page.set_viewport_size({"width": 1440, "height": 800})
    figure.scroll_into_view_if_needed()
    concept.page.wait_for_function(
        "(plot) => plot.clientHeight === plot._fullLayout.height && plot.clientHeight > 400",
        arg=figure.element_handle(),
    )
