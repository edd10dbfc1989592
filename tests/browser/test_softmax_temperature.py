"""Softmax temperature as a visitor uses it: drag bars, train, stop, leave."""

import re

from playwright.sync_api import Page, expect

PAGE = "softmax_temperature"


def keyed(page: Page, key: str):
    return page.locator(f".st-key-{PAGE}-{key}")


def test_temperatures_are_played_without_the_server(open_page, settled):
    page = settled(open_page(PAGE))
    said = keyed(page, "soften-says").locator("p").first
    expect(said).to_contain_text("At T = 1 ")
    keyed(page, "T").get_by_role("slider").evaluate(
        "node => { node.value = 0; node.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    expect(said).to_contain_text("At T = 0.05 ")
    assert "T=" not in page.url  # not let go yet


def test_a_bar_that_is_dragged_changes_the_probabilities(open_page, settled):
    page = settled(open_page(f"{PAGE}?source=own"))
    said = keyed(page, "soften-says").locator("p").first
    expect(said).to_contain_text("class 1 gets")
    keyed(page, "logits").get_by_role("slider", name="10", exact=True).press("End")
    expect(said).to_contain_text("class 10 gets")


def test_students_learn_in_front_of_the_visitor(open_page, settled):
    page = settled(open_page(f"{PAGE}?labelled=100&width=16"))
    keyed(page, "distil-says").scroll_into_view_if_needed()
    page.get_by_role("button", name="Train both").click()
    progress = page.locator(".live-progress")
    expect(progress).not_to_have_text("Step 0 of 400", timeout=20_000)
    page.get_by_role("button", name="Pause").click()
    settled(page)
    stopped = progress.inner_text()
    page.wait_for_timeout(600)
    assert progress.inner_text() == stopped
    page.get_by_role("button", name="Train both").click()
    expect(progress).to_have_text("Step 400 of 400", timeout=100_000)
    settled(page)
    said = keyed(page, "distil-says").locator("p").first.text_content()
    taught, alone = map(float, re.findall(r"([\d.]+)%", said))
    assert taught > alone > 30
