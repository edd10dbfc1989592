"""Attention maps as a visitor uses it: pointing and dragging ask no server."""

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

PAGE = "attention_maps"


@pytest.fixture
def concept(open_page) -> "Concept":
    return Concept(open_page)


class Concept:
    """The page, and how many messages it has sent to the server."""

    def __init__(self, open_page: Any) -> None:
        self.sent = 0
        self.page: Page = open_page(PAGE, before=self._watch)
        expect(self.page.locator(".live-toolbar").last).to_be_attached()

    def _watch(self, page: Page) -> None:
        page.on("websocket", lambda wire: wire.on("framesent", self._count))

    def _count(self, _payload: bytes) -> None:
        self.sent += 1

    def keyed(self, key: str) -> Locator:
        return self.page.locator(f".st-key-{PAGE}-{key}")

    def stage(self, key: str) -> Locator:
        top = self.keyed(key).locator(".stage-top")
        top.scroll_into_view_if_needed()
        self.page.wait_for_function("node => node.__stage.view", arg=top.element_handle())
        return top

    def pixels(self, top: Locator, canvas: str) -> str:
        """What a canvas of a stage shows, after the next two frames."""
        return top.evaluate(
            """(node, name) => new Promise((done) => {
                const shown = node.closest(".stage-frame").querySelector(name);
                const read = () => done(shown.toDataURL());
                requestAnimationFrame(() => requestAnimationFrame(read));
            })""",
            canvas,
        )


def test_pointing_at_a_patch_shows_what_it_looks_at_without_the_server(concept, settled):
    top = concept.stage("patches-stage")
    settled(concept.page)
    sent, seen = concept.sent, set()
    box = top.bounding_box()
    for share in (0.2, 0.5, 0.8):
        concept.page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        seen.add(concept.pixels(top, ".stage-top"))
    assert len(seen) == 3
    assert concept.sent == sent


def test_the_layer_is_played_without_the_server_until_it_is_let_go(concept, settled):
    top = concept.stage("patches-stage")
    settled(concept.page)
    sent, before = concept.sent, concept.pixels(top, ".stage-top")
    slider = concept.keyed("layer").get_by_role("slider")
    slider.evaluate(
        "node => { node.value = 1; node.dispatchEvent(new Event('input', { bubbles: true })); }"
    )
    assert concept.pixels(top, ".stage-top") != before
    expect(concept.keyed("patches-says").locator("p").first).to_contain_text("In layer 2 ")
    assert concept.sent == sent


def test_pointing_at_a_gate_shows_its_channel(concept, settled):
    top = concept.stage("gates-channel_map")
    settled(concept.page)
    sent, before = concept.sent, concept.pixels(top, ".stage-scene")
    slider = concept.keyed("channel").get_by_role("slider")
    bars = concept.keyed("gates-flow").locator(".bars").last.locator(".point")
    concept.keyed("gates-flow").scroll_into_view_if_needed()
    box = bars.nth(9).bounding_box()
    concept.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 2)
    expect(slider).to_have_value("9")
    assert concept.pixels(top, ".stage-scene") != before
    assert concept.sent == sent


def test_a_pinned_patch_is_the_one_that_is_worked_out_below(concept, settled):
    top = concept.stage("patches-stage")
    settled(concept.page)
    box = top.bounding_box()
    concept.page.mouse.click(box["x"] + 3, box["y"] + 3)
    said = concept.keyed("patches-says").locator("p").first
    expect(said).to_contain_text("the patch in row 0, column 0")
    settled(concept.page)
    expect(concept.keyed("scores-says").locator("p").first).to_contain_text("Layer 6, head 1")
