"""Initialization as a visitor uses it: drag gain and layer, train and stop."""

import re

from playwright.sync_api import Locator, Page, expect

PAGE = "initialization"


def keyed(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{PAGE}-{key}")


def drag(slider: Locator, position: int) -> None:
    """Move the handle without letting go."""
    slider.evaluate(
        """(node, position) => {
          node.value = position;
          node.dispatchEvent(new Event('input', { bubbles: true }));
        }""",
        position,
    )


def test_gain_and_layer_are_played_without_the_server(open_page, settled):
    page = settled(open_page(f"{PAGE}?depth=9"))
    said = keyed(page, "gain-says").locator("p").first
    said.scroll_into_view_if_needed()
    expect(said).to_contain_text("Weights times 1, layer 2: fan_in 128")
    curves = keyed(page, "gain-layers").locator(".live-plot")
    curves.locator("path.js-line").first.wait_for()
    mark, last = "node => node.data[2].x[1]", "node => node.data[0].y[8]"
    before = curves.evaluate(last)
    drag(page.get_by_role("slider", name="Layer", exact=True), 0)
    expect(said).to_contain_text("layer 1: fan_in 64")
    assert curves.evaluate(mark) == 1
    drag(page.get_by_role("slider", name="Gain (weights ×)"), 0)
    expect(said).to_contain_text("Weights times 0.05, layer 1")
    assert curves.evaluate(last) < before / 1000
    assert "gain=" not in page.url  # not let go yet


def test_training_shows_its_progress_and_stops(open_page, settled):
    page = settled(open_page(f"{PAGE}?layers=24"))
    said = keyed(page, "training-says").locator("p").first
    said.scroll_into_view_if_needed()
    expect(said).to_contain_text("At step 0 ")
    page.get_by_role("button", name="Train all nine").click()
    expect(page.locator(".live-progress")).to_have_text(
        re.compile(r"Step [1-9]\d* of 300"), timeout=60_000
    )
    page.get_by_role("button", name="Pause").click()
    settled(page)
    steps = int(re.search(r"Step (\d+)", page.locator(".live-progress").inner_text())[1])
    assert steps < 300
    expect(said).to_contain_text(f"At step {steps} ")
    expect(said).to_contain_text("1 of 48")


def test_rows_of_tiles_keep_their_distance_in_a_narrow_column(open_page, settled):
    page = settled(open_page("initialization?lang=en", width=390, height=800))
    figure = page.locator(".st-key-initialization-on_photo-first .live-plot")
    figure.scroll_into_view_if_needed()
    heights = []
    for scheme in ("light", "dark", "light"):
        page.emulate_media(color_scheme=scheme)
        settled(page)
        page.wait_for_function("plot => plot._fullLayout", arg=figure.element_handle())
        page.wait_for_timeout(500)
        heights.append(figure.evaluate("plot => plot.clientHeight"))
    assert heights == [530] * 3
