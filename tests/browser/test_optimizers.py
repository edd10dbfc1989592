"""Optimizers as a visitor uses it: click the map, play the race, drag, type a surface."""

import re

import pytest
from playwright.sync_api import Page, expect

PAGE = "optimizers"
DOTS = "plot => Array.from(plot._fullData.at(-1).x)"
DRAWN = "plot => plot.querySelectorAll('.main-svg').length > 0 && plot.data?.length > 0"


def keyed(page: Page, key: str):
    return page.locator(f".st-key-{PAGE}-{key}")


def plots(page: Page, step: str):
    found = page.locator(f".st-key-step-{PAGE}-{step} .live-plot")
    for number in range(2):
        page.wait_for_function(DRAWN, arg=found.nth(number).element_handle())
    return found


def slide(page: Page, key: str, index: int) -> None:
    """Drag a slider without letting it go."""
    keyed(page, key).get_by_role("slider").evaluate(
        """(node, at) => {
            node.value = at;
            node.dispatchEvent(new Event("input", { bubbles: true }));
        }""",
        index,
    )


def test_the_race_is_played_without_the_server(open_page, settled):
    page = settled(open_page(PAGE))
    said = keyed(page, "race-says").locator("p").first
    expect(said).to_contain_text("At step 40 ")
    race = plots(page, "race")
    before = race.first.evaluate(DOTS)
    slide(page, "step", 3)
    expect(said).to_contain_text("At step 3 ")
    page.wait_for_function(
        "([plot, x]) => plot._fullData.at(-1).x[0] !== x",
        arg=[race.first.element_handle(), before[0]],
    )
    assert len(race.first.evaluate(DOTS)) == 10
    assert "step=" not in page.url  # not let go yet


@pytest.mark.parametrize("key", ["step", "x"])
def test_dots_move_over_a_surface_that_is_not_drawn_again(open_page, settled, key):
    page = settled(open_page(PAGE))
    race = plots(page, "race").first
    before = race.evaluate(DOTS)
    race.evaluate("""plot => {
        plot.drawnAgain = 0;
        new MutationObserver((changes) => { plot.drawnAgain += changes.length; })
            .observe(plot.querySelector(".contourlayer"), { attributes: true, subtree: true });
    }""")
    for index in (3, 30, 60):
        slide(page, key, index)
        page.wait_for_function(
            f"([plot, x]) => ({DOTS})(plot).join() !== x.join()",
            arg=[race.element_handle(), before],
        )
        before = race.evaluate(DOTS)
    places = """plot => Array.from(plot.querySelectorAll(".scatterlayer path"),
        (path) => [path.getAttribute("d"), path.getAttribute("transform")])"""
    settled(page)
    assert race.evaluate("plot => plot.drawnAgain") == 0
    moved = race.evaluate(places)
    race.evaluate("plot => Plotly.redraw(plot)")
    assert race.evaluate(places) == moved


def test_a_figure_far_below_is_drawn_when_it_comes_near_as_things_stand_then(open_page, settled):
    page = settled(open_page(PAGE))
    far = page.locator(f".st-key-step-{PAGE}-noise .live-plot").first
    expect(far).to_have_attribute("data-far", "")
    assert far.locator(".main-svg").count() == 0
    keyed(page, "noise").get_by_role("slider").evaluate(
        """(node) => {
            node.value = node.max;
            node.dispatchEvent(new Event("input", { bubbles: true }));
        }"""
    )
    far.scroll_into_view_if_needed()
    plot = plots(page, "noise").first
    expect(far).not_to_have_attribute("data-far", "")
    spread = "plot => Math.max(...plot.data[1].x) - Math.min(...plot.data[1].x)"
    noisy = plot.evaluate(spread)
    keyed(page, "noise").get_by_role("slider").press("Home")
    page.wait_for_function(
        f"([plot, before]) => ({spread})(plot) < before / 10", arg=[plot.element_handle(), noisy]
    )


def test_of_two_figures_the_first_is_seen_before_the_next_is_drawn(open_page, settled):
    page = settled(open_page("initialization"))
    figures = page.locator(".st-key-step-initialization-layer_by_layer .live-plot")
    for number in range(2):
        page.wait_for_function(DRAWN, arg=figures.nth(number).element_handle())
    figures.evaluate_all(
        """(plots) => {
            window.noted = [];
            const note = (what) => window.noted.push(what);
            const watch = () => { note("frame"); requestAnimationFrame(watch); };
            requestAnimationFrame(watch);
            plots.forEach((plot, at) => plot.on("plotly_afterplot", () => note(at)));
        }"""
    )
    slider = page.locator(".st-key-initialization-depth").get_by_role("slider")
    slider.press("ArrowRight")
    page.wait_for_function("window.noted.includes(0) && window.noted.includes(1)")
    noted = page.evaluate("window.noted")
    first, second = sorted((noted.index(0), noted.index(1)))
    assert "frame" in noted[first:second]


def test_what_is_printed_has_every_figure(open_page, settled):
    page = settled(open_page(PAGE))
    far = page.locator(".live-plot[data-far]")
    expect(far).not_to_have_count(0)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(far).to_have_count(0)
    expect(page.locator(".live-plot:not(:has(.main-svg))")).to_have_count(0)


def test_a_click_on_the_map_is_a_new_start(open_page, settled):
    page = settled(open_page(PAGE))
    plot = plots(page, "race").first
    area = plot.locator(".nsewdrag").first.bounding_box()
    for share in (0.75, 0.25):
        page.mouse.move(area["x"] + area["width"] * share, area["y"] + area["height"] * 0.5)
        page.wait_for_timeout(200)
        page.mouse.click(area["x"] + area["width"] * share, area["y"] + area["height"] * 0.5)
        wanted = -1 + 5.5 * share
        expect(page).to_have_url(re.compile(rf"x={wanted:.1f}"[:-1]))
        settled(page)
    for step in ("race", "closeup"):
        started = "plot => [plot._fullData[2].x[0], plot._fullData[2].y[0]]"
        x, y = plots(page, step).first.evaluate(started)
        assert abs(x - 0.375) < 0.1
        assert abs(y) < 0.1


def test_the_start_can_be_set_with_the_keyboard(open_page, settled):
    page = settled(open_page(PAGE))
    slider = keyed(page, "x").get_by_role("slider")
    slider.press("Home")
    expect(page).to_have_url(re.compile(r"x=-1\.0"))
    settled(page)
    plot = plots(page, "race").first
    page.wait_for_function("plot => plot._fullData[2].x[0] === -1", arg=plot.element_handle())


def test_a_surface_can_be_typed_and_a_bad_one_is_a_sentence(open_page, settled):
    page = settled(open_page(f"{PAGE}?surface=typed"))
    field = page.get_by_label("Height, as an expression in x and y")
    field.fill("x**2 + y**2")
    field.press("Enter")
    expect(page).to_have_url(re.compile("formula=x"))
    settled(page)
    expect(keyed(page, "race-says").locator("p").first).to_contain_text("At step 40 ")
    field.fill("import os")
    field.press("Enter")
    expect(page.get_by_text("This is no expression.").first).to_be_visible()


def test_noise_is_played_without_the_server(open_page, settled):
    page = settled(open_page(PAGE))
    keyed(page, "noise-says").scroll_into_view_if_needed()
    said = keyed(page, "noise-says").locator("p").first
    expect(said).to_contain_text("At noise 1,")
    slide(page, "noise", 0)
    expect(said).to_contain_text("At noise 0,")
    expect(said).to_contain_text(re.compile(r"SGD (\S+) \(theory \1\)"))


def test_what_leaves_the_map_is_said_so(open_page, settled):
    page = settled(open_page(f"{PAGE}?factor=100.0&step=200"))
    expect(keyed(page, "race-says").locator("p").first).to_contain_text("Left the map: SGD")


def test_the_start_is_dragged_on_the_map(open_page, settled):
    page = settled(open_page(PAGE))
    plot = plots(page, "race").first
    grip = keyed(page, "race-map").locator(".live-grip")
    ring, area = grip.bounding_box(), plot.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    page.mouse.down()
    place = [area["x"] + area["width"] / 4, area["y"] + area["height"] / 2]
    page.mouse.move(*place, steps=5)
    started = "plot => Math.abs(plot._fullData[2].x[0] - 0.375) < 0.1"
    page.wait_for_function(started, arg=plot.element_handle())  # still held
    assert "x=" not in page.url
    ring = grip.bounding_box()
    assert abs(ring["x"] + ring["width"] / 2 - place[0]) < 8
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"x=0\.3"))
    settled(page)
    x = plots(page, "closeup").first.evaluate("plot => plot._fullData[2].x[0]")
    assert abs(x - 0.375) < 0.1
