"""Attention maps as a visitor uses it: pointing and dragging ask no server."""

from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from explainers.models import vit_s14
from explainers.models.vit_s14 import VisionAttention, attend
from tools.browser import settle
from ui.samples import DEFAULT, sample

PAGE = "attention_maps"


@pytest.fixture
def concept(open_page) -> "Concept":
    return Concept(open_page)


class Concept:
    """The page, and how many messages it has sent to the server."""

    def __init__(self, open_page: Any, **options: Any) -> None:
        self.sent = 0
        self.page: Page = open_page(PAGE, before=self._watch, **options)
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
    expect(concept.keyed("patches-says").locator("p").first).to_contain_text("Layer 2:")
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


# ---------------------------------------------------------------- scores

DRAG = (
    "(node, to) => { node.value = to; node.dispatchEvent(new Event('input', { bubbles: true })); }"
)
LET_GO = "node => node.dispatchEvent(new Event('change', { bubbles: true }))"
DRAWN = """([plot, wanted]) => wanted.every((values, trace) =>
    values.every((value, i) => Math.abs(plot.data[trace].y[i] - value) < 1e-3))"""
LAYER, HEAD = 5, 0  # as the page opens


@pytest.fixture(scope="module")
def attended() -> VisionAttention:
    return attend(vit_s14(), torch.from_numpy(sample(DEFAULT).array()))


class Scores:
    """The step, and what torch finds for the patch, layer and head that it shows."""

    def __init__(self, concept: Concept, attended: VisionAttention) -> None:
        self.concept = concept
        self.page = concept.page
        self.attended = attended
        self.columns = attended.columns
        self.middle = attended.rows // 2 * self.columns + self.columns // 2
        self.top = concept.stage("scores-stage")
        self.rows = concept.keyed("scores-table").locator("tbody tr")
        for _turn in range(2):  # the first time the steps around it get their heights
            self.top.evaluate("node => node.scrollIntoView({ block: 'center' })")
            settle(self.page)
        self.sent = concept.sent

    def at(self, patch: int) -> tuple[float, float]:
        x1, y1, x2, y2 = self.attended.extent
        row, column = divmod(patch, self.columns)
        x = x1 + (column + 0.5) * (x2 - x1) / self.columns
        y = y1 + (row + 0.5) * (y2 - y1) / self.attended.rows
        return tuple(self.top.evaluate("(node, [x, y]) => node.__stage.client(x, y)", [x, y]))

    def point(self, patch: int) -> None:
        self.page.mouse.move(*self.at(patch))

    def leave(self) -> None:
        self.page.mouse.move(2, 2)

    def slider(self, key: str) -> Locator:
        return self.concept.keyed(key).get_by_role("slider")

    def asked_nobody(self) -> None:
        assert self.concept.sent == self.sent

    def map(self) -> str:
        return self.concept.pixels(self.top, ".stage-top")

    def shows(self, patch: int, layer: int = LAYER, head: int = HEAD) -> None:
        """Sentence, table and figure hold torch's numbers."""
        query = self.attended.queries[layer, head, 1 + patch]
        products = self.attended.keys[layer, head] @ query
        scores, logs = products / 8, (products / 8).log_softmax(dim=0)
        row, column = divmod(patch, self.columns)
        said = self.concept.keyed("scores-says").locator("p").first
        expect(said).to_contain_text(
            f"row {row + 1}, column {column + 1}, layer {layer + 1}, head {head + 1}:"
        )
        numbers = [float(text) for text in said.locator("strong").all_inner_texts()]
        without = products.log_softmax(dim=0)
        entropies = [-float((some.exp() * some).sum()) for some in (logs, without)]
        assert numbers == pytest.approx([float(products.std(correction=0)), *entropies], abs=0.0051)
        ranked = products.sort(descending=True).indices[:16]
        best = ranked[:5].tolist()
        # The table is drawn a frame after the sentence.
        expect(self.rows.locator("td:first-child")).to_have_text(list(map(self.name, best)))
        for line, token in zip(self.table(), best, strict=True):
            wanted = [products[token], scores[token], logs[token].exp(), without[token].exp()]
            for cell, value in zip(line[1:], wanted, strict=True):
                digits = len(cell.partition(".")[2])
                assert float(cell) == pytest.approx(float(value), abs=0.51 * 10**-digits)
        below = products - products.max()
        traces = [below / 8, below, logs.exp(), without.exp()]
        plot = self.concept.keyed("scores-weights").locator(".live-plot").element_handle()
        wanted = [values[ranked].tolist() for values in traces]
        self.page.wait_for_function(DRAWN, arg=[plot, wanted])

    def name(self, token: int) -> str:
        row, column = divmod(token - 1, self.columns)
        return "class token" if token == 0 else f"{row + 1}, {column + 1}"

    def table(self) -> list[list[str]]:
        cells = "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
        return self.rows.evaluate_all(cells)


@pytest.fixture
def scores(concept, attended) -> Scores:
    return Scores(concept, attended)


def test_pointing_shows_the_scores_of_that_patch_without_the_server(scores):
    scores.shows(scores.middle)
    seen = {scores.map()}
    for patch in (0, 37, 130, 14 * 18 - 1):
        scores.point(patch)
        scores.shows(patch)
        seen.add(scores.map())
    assert len(seen) == 5
    scores.leave()
    scores.shows(scores.middle)
    scores.asked_nobody()


def test_layer_and_head_are_dragged_without_the_server(scores):
    seen = {scores.map()}
    for layer in (0, 11, 8):
        scores.slider("score_layer").evaluate(DRAG, layer)
        scores.shows(scores.middle, layer=layer)
        seen.add(scores.map())
    scores.slider("score_layer").evaluate(DRAG, LAYER)
    for head in (5, 2):
        scores.slider("score_head").evaluate(DRAG, head)
        scores.shows(scores.middle, head=head)
        seen.add(scores.map())
    assert len(seen) == 6
    scores.asked_nobody()


def test_what_moved_last_counts(scores):
    scores.slider("score_layer").evaluate(DRAG, 9)
    scores.shows(scores.middle, layer=9)
    scores.point(20)
    scores.shows(20)
    scores.slider("score_layer").evaluate(DRAG, 10)
    scores.shows(scores.middle, layer=10)
    scores.asked_nobody()


def test_after_a_slider_is_let_go_all_goes_through_the_new_state(scores):
    for key, to in (("score_layer", 2), ("score_head", 4)):
        scores.slider(key).evaluate(DRAG, to)
        scores.slider(key).evaluate(LET_GO)
        settle(scores.page)
    scores.sent = scores.concept.sent
    scores.shows(scores.middle, 2, 4)
    scores.point(61)
    scores.shows(61, 2, 4)
    scores.leave()
    scores.slider("score_head").evaluate(DRAG, 1)
    scores.shows(scores.middle, 2, 1)
    scores.asked_nobody()
    assert "score_layer=3" in scores.page.url


def test_a_click_pins_a_patch_for_the_sliders(scores):
    scores.page.mouse.click(*scores.at(200))
    settle(scores.page)
    scores.leave()
    scores.shows(200)
    scores.sent = scores.concept.sent
    scores.point(7)  # pointing shows another one for a moment
    scores.shows(7)
    scores.leave()
    scores.shows(200)
    scores.slider("score_layer").evaluate(DRAG, 0)
    scores.shows(200, layer=0)
    scores.asked_nobody()


def test_arrow_keys_go_from_patch_to_patch(scores):
    scores.top.focus()
    for key, patch in (
        ("ArrowRight", scores.middle),
        ("ArrowRight", scores.middle + 1),
        ("ArrowUp", scores.middle + 1 - scores.columns),
    ):
        scores.page.keyboard.press(key)
        scores.shows(patch)
    scores.asked_nobody()
    scores.page.keyboard.press("Enter")
    settle(scores.page)
    scores.slider("score_head").focus()
    scores.shows(scores.middle + 1 - scores.columns)


def test_a_tap_pins_a_patch(open_page, attended):
    concept = Concept(open_page, has_touch=True, width=390)
    scores = Scores(concept, attended)
    scores.page.touchscreen.tap(*scores.at(70))
    scores.shows(70)
    settle(scores.page)
    scores.slider("score_layer").evaluate(DRAG, 3)
    scores.shows(70, layer=3)
    scores.page.touchscreen.tap(*scores.at(70))  # a second one lets it go
    settle(scores.page)
    scores.slider("score_layer").evaluate(DRAG, 4)
    scores.shows(scores.middle, layer=4)


def test_a_patch_pinned_above_is_the_one_that_scores_begin_with(concept, attended):
    top = concept.stage("patches-stage")
    settle(concept.page)
    box = top.bounding_box()
    concept.page.mouse.click(box["x"] + 3, box["y"] + 3)
    said = concept.keyed("patches-says").locator("p").first
    expect(said).to_contain_text("the patch in row 1, column 1")
    settle(concept.page)
    Scores(concept, attended).shows(0)
