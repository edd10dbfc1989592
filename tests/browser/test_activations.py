"""Activations as a visitor uses it: point, drag, train, play."""

import math
import re
from itertools import pairwise

import pytest
from playwright.sync_api import Locator, Page, expect

PAGE = "activations"


def keyed(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-{PAGE}-{key}")


def point(page: Page, place: Locator, x: float, y: float) -> None:
    """Put the pointer on a place, in fractions of its sides, as a hand would: it moves there."""
    place.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    box = place.bounding_box()
    for shift in (3, 0):
        page.mouse.move(box["x"] + x * box["width"] + shift, box["y"] + y * box["height"])


def test_pointing_at_an_input_reads_every_curve(open_page, settled):
    page = settled(open_page(PAGE))
    plot = keyed(page, "curves-curves_figure").locator(".live-plot")
    point(page, plot.locator(".nsewdrag").first, 0.5, 0.5)
    told = plot.locator(".hoverlayer")
    for name, value, slope in (
        ("Sigmoid", "0.5", "0.25"),
        ("tanh", "0.0", "1.0"),
        ("ReLU", "0.0", "0.0"),
        ("Swish", "0.0", "0.5"),
    ):
        expect(told).to_contain_text(re.compile(f"{name} : {value}0*, f′ = {slope}0*"))


def test_curves_are_drawn_as_round_as_they_are(open_page, settled):
    page = settled(open_page(f"{PAGE}?curves=sigmoid"))
    plot = keyed(page, "curves-curves_figure").locator(".live-plot")
    path = plot.locator("path.js-line").first.get_attribute("d")
    (low, high), (left, right), (width, height) = plot.evaluate(
        """({_fullLayout: {xaxis, yaxis}}) =>
          [yaxis.range, xaxis.range, [xaxis._length, yaxis._length]]"""
    )
    points = [tuple(map(float, point.split(","))) for point in path.lstrip("M").split("L")]
    for (x0, y0), (x1, y1) in pairwise(points):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        sigmoid = 1 / (1 + math.exp(-(left + x / width * (right - left))))
        assert y == pytest.approx((high - sigmoid) / (high - low) * height, abs=0.1)


def test_a_parameter_that_is_dragged_moves_its_curve_and_its_range(open_page, settled):
    page = settled(open_page(PAGE))
    row = page.get_by_role("row").filter(has_text="Swish")
    expect(row).to_contain_text("[−0.278, ∞)")
    keyed(page, "swish_beta").get_by_role("slider").press("End")
    expect(row).to_contain_text("[−0.00557, ∞)")
    assert "swish_beta=50.0" in settled(page).url


def test_a_signal_follows_the_slider(open_page, settled):
    page = settled(open_page(PAGE))
    said = keyed(page, "signal-says").locator("p").first
    expect(said).to_contain_text("50% of the outputs are exactly 0")
    keyed(page, "mean").get_by_role("slider").press("Home")
    expect(said).to_contain_text("100% of the outputs are exactly 0")


def test_pointing_at_the_picture_tells_before_and_after(open_page, settled):
    page = settled(open_page(f"{PAGE}?pictures=relu"))
    stage = keyed(page, "picture-stage_relu").locator(".stage")
    point(page, stage.locator(".stage-frame"), 0.31, 0.42)
    tip = stage.locator(".stage-tip")
    expect(tip).to_contain_text("Before")
    before, after = re.findall(r"[−-]?\d[\d.e−-]*", tip.inner_text())
    before, after = (float(text.replace("−", "-")) for text in (before, after))
    assert after == pytest.approx(max(before, 0))
    assert stage.locator(".stage-bar").count() == 1


def test_the_depth_is_played_without_the_server(open_page, settled):
    page = settled(open_page(PAGE))
    said = keyed(page, "vanishing-says").locator("p").first
    said.scroll_into_view_if_needed()
    expect(said).to_contain_text("At depth 10 ")
    keyed(page, "depth").get_by_role("slider").evaluate(
        "node => { node.value = 50; node.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(said).to_contain_text("At depth 50 ")
    expect(said).to_contain_text("ReLU 1,")
    assert "depth=" not in page.url  # not let go yet


def test_units_die_in_front_of_the_visitor_and_again_when_played(open_page, settled):
    page = settled(open_page(PAGE))
    said = keyed(page, "dead-says").locator("p").first
    said.scroll_into_view_if_needed()
    expect(said).to_contain_text("Updates: 0.")
    page.get_by_role("button", name="Train both").click()
    expect(page.locator(".live-progress")).to_have_text("Step 1000 of 1000", timeout=60_000)
    settled(page)
    expect(said).to_contain_text("Updates: 1000.")
    dead = int(said.locator("strong").nth(1).inner_text())
    assert dead > 36
    keyed(page, "update").get_by_role("slider").press("Home")
    expect(said).to_contain_text("Updates: 0.")
    assert int(said.locator("strong").nth(1).inner_text()) < 24
