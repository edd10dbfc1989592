"""Anchors & NMS as a visitor uses it: point, pin, drag, draw, play, answer."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from explainers import anchors_nms as explain
from explainers.boxes import box_iou
from explainers.models import ssd_mobilenet_v2
from explainers.models.ssd_mobilenet_v2 import detect, ssd_anchors
from ui.samples import objects, sample
from ui.text import load

PAGE = "anchors_nms"
PHOTO = sample("night_cafe")
SIZE = (PHOTO.height, PHOTO.width)
OBJECTS = torch.tensor(objects(PHOTO), dtype=torch.float32)


STILL = """(node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    const place = String([x, y, width, height]);
    const still = place === node.lastPlace;
    node.lastPlace = place;
    return still;
}"""
"""Whether an element stands where it stood when last asked; steps grow as they come into sight."""


class Concept:
    """The page and what a visitor does on it. Places on a stage are photo pixels."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def keyed(self, key: str) -> Locator:
        return self.page.locator(f".st-key-{PAGE}-{key}")

    def slider(self, key: str) -> Locator:
        return self.keyed(key).get_by_role("slider")

    def said(self, step: str) -> str:
        return self.keyed(f"{step}-says").locator("p").first.text_content()

    def numbers(self, step: str) -> list[int]:
        """The numbers in bold in a step's sentence."""
        bold = self.keyed(f"{step}-says").locator("p").first.locator("strong").all_text_contents()
        return [int(text.replace(",", "")) for text in bold]

    def tells(self, step: str, numbers: list[int]) -> None:
        """Wait until a step's sentence says these numbers."""
        bold = self.keyed(f"{step}-says").locator("p").first.locator("strong")
        expect(bold).to_have_text([f"{number:,}" for number in numbers])

    def formula(self, step: str) -> str:
        """What is worked out below a step, as LaTeX."""
        return self.page.locator(f".st-key-step-{PAGE}-{step} annotation").text_content()

    def stage(self, step: str, name: str = "stage") -> Locator:
        top = self.shown(self.keyed(f"{step}-{name}").locator(".stage-top"))
        self.page.wait_for_function("node => node.__stage.view", arg=top.element_handle())
        return top

    def shown(self, piece: Locator) -> Locator:
        """Scroll to a piece and wait until it stands still."""
        piece.scroll_into_view_if_needed()
        self.page.wait_for_function(STILL, arg=piece.element_handle(), polling=60)
        return piece

    def state(self, step: str, field: str, name: str = "stage") -> Any:
        return self.stage(step, name).evaluate("""(node, field) => new Promise((done) => {
            requestAnimationFrame(() => requestAnimationFrame(() => done(node.__stage[field])));
        })""", field)  # fmt: skip

    def at(self, step: str, x: float, y: float) -> tuple[float, float]:
        return tuple(self.stage(step).evaluate("(node, at) => node.__stage.client(...at)", [x, y]))

    def drag(self, step: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.page.mouse.move(*self.at(step, *start))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(step, *end), steps=5)
        self.page.mouse.up()

    def thumb(self, key: str, share: float) -> tuple[float, float]:
        """Where on the screen the thumb of a slider stands at a share of the range."""
        box = self.shown(self.slider(key)).bounding_box()
        return box["x"] + 9.2 + share * (box["width"] - 18.4), box["y"] + box["height"] / 2


@pytest.fixture
def open_concept(open_page) -> Callable[..., Concept]:
    def open_one(query: str = "", **options: Any) -> Concept:
        page = open_page(f"{PAGE}{query}", **options)
        steps = len(load(PAGE, "en").sections) - 1  # without the sources
        expect(page.locator(".live-toolbar")).to_have_count(steps)
        return Concept(page)

    return open_one


@pytest.fixture(scope="module")
def anchors() -> torch.Tensor:
    return explain.make_anchors(SIZE, 16, [64, 128, 256], [0.5, 1.0, 2.0])


def labels(anchors: torch.Tensor, boxes: Any, positive: float, negative: float) -> list[int]:
    """How many anchors are positive, ignored and negative; objects that the rule saves."""
    truth = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    counts = explain.count_labels(explain.match_anchors(anchors, truth, positive, negative))
    return [counts.positive, counts.ignored, counts.negative, counts.rescued]


@pytest.fixture(scope="module")
def candidates() -> Any:
    """What the detector proposes on the sample."""
    return detect(ssd_mobilenet_v2(), torch.from_numpy(PHOTO.array()), 0.1)


def survivors(found: Any, iou: float, score: float) -> int:
    kept = explain.nms(found.boxes, found.scores, iou, found.classes)
    return int((found.scores[kept] >= score).sum())


# ---------------------------------------------------------------- 1: a box at every place


def test_a_cell_shows_its_anchors_a_click_pins_it_and_a_preset_changes_them(open_concept):
    concept = open_concept()
    cell = 12 * 39 + 21
    x, y = 21.5 * 16, 12.5 * 16
    concept.page.mouse.move(*concept.at("layout", x + 3, y - 5))
    assert concept.state("layout", "cell") == cell
    boxes = torch.tensor(concept.state("layout", "cellBoxes"))
    assert boxes.shape == (9, 4)
    torch.testing.assert_close((boxes[:, :2] + boxes[:, 2:]) / 2, torch.tensor([[x, y]] * 9))
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (width * height).sqrt().round().unique().tolist() == [64, 128, 256]
    ratios = (width / height).log2().round().unique()
    assert ratios.tolist() == [-1, 0, 1]
    concept.page.mouse.click(*concept.at("layout", x, y))
    assert concept.state("layout", "pinned") == cell
    concept.page.mouse.move(*concept.at("layout", 100, 100))
    assert concept.state("layout", "cellBoxes") == boxes.tolist()
    concept.page.mouse.click(*concept.at("layout", x, y))
    assert concept.state("layout", "pinned") is None
    concept.keyed("layout-preset-SSD").get_by_role("button").click()
    inside = explain.count_layout(ssd_anchors(SIZE), SIZE).inside
    concept.tells("layout", [1917, inside])
    expect(concept.slider("stride")).to_have_count(0)
    concept.slider("level").focus()
    concept.page.keyboard.press("Home")
    expect(concept.page).to_have_url(re.compile(r"(?=.*layout=ssd)(?=.*level=0)"))
    concept.page.mouse.move(*concept.at("layout", 300, 200))
    assert len(concept.state("layout", "cellBoxes")) == 3


# ---------------------------------------------------------------- 2: which anchors count


def test_thresholds_are_played_without_the_server(open_concept, anchors):
    sent = []
    concept = open_concept(
        before=lambda page: page.on(
            "websocket", lambda connection: connection.on("framesent", lambda _: sent.append(1))
        )
    )

    def shows(positive: float, negative: float) -> None:
        wanted = labels(anchors, OBJECTS, positive, min(negative, positive))
        concept.tells("matching", wanted)
        visible = concept.state("matching", "visible")
        assert visible == {"positive": wanted[0], "ignored": wanted[1]}

    shows(0.7, 0.3)
    concept.page.mouse.move(*concept.thumb("positive", 0.7))
    concept.page.mouse.down()
    before = len(sent)
    for positive in (0.5, 0.2, 0.0, 0.4):
        concept.page.mouse.move(*concept.thumb("positive", positive), steps=8)
        shows(positive, 0.3)
    assert len(sent) == before
    assert "positive=" not in concept.page.url
    concept.page.mouse.up()
    expect(concept.page).to_have_url(re.compile(r"positive=0\.4"))
    shows(0.4, 0.3)
    concept.page.mouse.move(*concept.thumb("negative", 0.3))
    concept.page.mouse.down()
    before = len(sent)
    for negative in (0.1, 0.0, 0.9):
        concept.page.mouse.move(*concept.thumb("negative", negative), steps=8)
        shows(0.4, negative)
    assert len(sent) == before
    concept.page.mouse.up()
    expect(concept.page).to_have_url(re.compile(r"negative=0\.9"))
    shows(0.4, 0.9)


def test_all_anchors_are_shown_or_a_mini_batch_of_them(open_concept, anchors):
    positive, ignored, negative, _ = labels(anchors, OBJECTS, 0.4, 0.3)
    concept = open_concept("?positive=0.4&show=all")
    every = {"positive": positive, "ignored": ignored, "negative": negative}
    concept.tells("matching", labels(anchors, OBJECTS, 0.4, 0.3))
    assert concept.state("matching", "visible") == every
    concept = open_concept("?positive=0.4&show=batch")
    assert concept.state("matching", "visible") == {"positive": 128, "negative": 128}
    concept.slider("positive").focus()
    concept.page.keyboard.press("End")
    expect(concept.page).to_have_url(re.compile(r"positive=1\.0"))
    best = labels(anchors, OBJECTS, 1.0, 0.3)[0]
    wanted = {"positive": best, "negative": 256 - best}
    concept.page.wait_for_function(
        "([node, best]) => node.__stage.visible.positive === best",
        arg=[concept.stage("matching").element_handle(), best],
    )
    assert concept.state("matching", "visible") == wanted


def test_an_object_is_drawn_moved_and_deleted(open_concept, anchors):
    concept = open_concept()
    concept.drag("matching", (470, 380), (600, 470))
    drawn = [*objects(PHOTO), (470, 380, 600, 470)]
    concept.tells("matching", labels(anchors, drawn, 0.7, 0.3))
    expect(concept.page).to_have_url(re.compile(r"objects=\w{6}-[\d._]*_470\.380\.600\.470(&|$)"))
    link = concept.page.url.split(PAGE)[1]
    concept.drag("matching", (540, 430), (520, 420))
    moved = [*objects(PHOTO), (450, 370, 580, 460)]
    concept.tells("matching", labels(anchors, moved, 0.7, 0.3))
    concept.page.keyboard.press("Delete")
    concept.tells("matching", labels(anchors, OBJECTS, 0.7, 0.3))
    expect(concept.page).not_to_have_url(re.compile("objects="))
    alert = concept.page.locator(f".st-key-step-{PAGE}-target").get_by_test_id("stAlert")
    concept.keyed("matching-replace-Clear").get_by_role("button").click()
    expect(alert).to_be_visible()
    assert concept.state("matching", "boxes") == []
    expect(concept.page).to_have_url(re.compile(r"objects=\w{6}-(&|$)"))
    concept.keyed("matching-replace-By-hand").get_by_role("button").click()
    expect(alert).to_have_count(0)
    assert concept.state("matching", "boxes") == [list(box) for box in objects(PHOTO)]
    other = open_concept(link)
    other.tells("matching", labels(anchors, drawn, 0.7, 0.3))
    assert other.state("matching", "boxes") == [list(box) for box in drawn]


def test_a_picked_anchor_has_its_target_worked_out(open_concept, anchors):
    concept = open_concept()
    match = explain.match_anchors(anchors, OBJECTS, 0.7, 0.3)
    shown = anchors[match.label != 0]
    points = shown[:, :2] + 2  # in the upper left corner of each, and beside every object
    beside = (points[:, None] < OBJECTS[:, :2] - 9) | (points[:, None] > OBJECTS[:, 2:] + 9)
    point = points[beside.any(-1).all(-1) & (points > 9).all(-1)][0]
    before = concept.formula("target")
    concept.page.mouse.click(*concept.at("matching", *point.tolist()))
    picked = concept.state("matching", "picked")
    assert picked is not None
    expect(concept.page.locator(f".st-key-step-{PAGE}-target annotation")).not_to_have_text(before)
    numbers = map(float, re.findall(r"-?\d+\.\d+", concept.formula("target")))
    x, xa, wa, tx, y, ya, ha, ty, w, wa2, tw, h, ha2, th = numbers
    assert (wa, ha) == (wa2, ha2)
    worked = [(x - xa) / wa, (y - ya) / ha, math.log(w / wa), math.log(h / ha)]
    assert worked == pytest.approx([tx, ty, tw, th], abs=0.01)
    assert [w, h] in [[x2 - x1, y2 - y1] for x1, y1, x2, y2 in objects(PHOTO)]


# ---------------------------------------------------------------- 3: score and suppress


def test_suppression_is_played_without_the_server(open_concept, candidates):
    sent = []
    concept = open_concept(
        before=lambda page: page.on(
            "websocket", lambda connection: connection.on("framesent", lambda _: sent.append(1))
        )
    )
    total = int((candidates.scores >= 0.25).sum())
    concept.tells("suppression", [survivors(candidates, 0.5, 0.25), total])
    concept.page.mouse.move(*concept.thumb("iou", 0.5))
    concept.page.mouse.down()
    before = len(sent)
    for iou in (0.8, 0.2, 0.65):
        concept.page.mouse.move(*concept.thumb("iou", iou), steps=8)
        left = survivors(candidates, iou, 0.25)
        concept.tells("suppression", [left, total])
        assert left in concept.state("suppression", "visible").values()
    assert len(sent) == before
    concept.page.mouse.up()
    expect(concept.page).to_have_url(re.compile(r"iou=0\.65"))
    concept.keyed("iou").get_by_role("button").nth(1).click()  # play
    concept.tells("suppression", [total, total])
    expect(concept.page).to_have_url(re.compile(r"iou=1\.0"))
    concept.slider("score").focus()
    concept.page.keyboard.press("End")
    sure = int((candidates.scores >= 0.95).sum())
    concept.tells("suppression", [sure, sure])


# ---------------------------------------------------------------- 4, 5: step by step, soft


def test_suppression_is_replayed_forward_and_back(open_concept, candidates):
    concept = open_concept()
    rounds = survivors(candidates, 0.5, 0.25)
    back, _play, forward = concept.keyed("round").get_by_role("button").all()
    expect(concept.slider("round")).to_have_attribute("max", str(rounds))
    told = [concept.said("replay")]
    for _ in range(3):
        forward.click()
        expect(concept.keyed("replay-says").locator("p").first).not_to_have_text(told[-1])
        told.append(concept.said("replay"))
    assert len(set(told)) == 4
    expect(concept.page).to_have_url(re.compile("round=4"))
    for wanted in told[-2::-1]:
        back.click()
        expect(concept.keyed("replay-says").locator("p").first).to_have_text(wanted)
    back.click()
    waiting = concept.state("replay", "visible")
    assert sum(waiting.values()) == int((candidates.scores >= 0.25).sum())
    concept.slider("round").focus()
    concept.page.keyboard.press("End")
    ended = concept.state("replay", "visible")
    assert ended["kept"] + ended["chosen"] == rounds
    assert ended["waiting"] == 0


def test_hard_and_soft_stand_side_by_side(open_concept):
    concept = open_concept()
    stages = ("stage_hard", "stage_gaussian")
    hard, soft = (concept.state("soft", "visible", stage)["left"] for stage in stages)
    concept.tells("soft", [hard, soft])
    concept.slider("least").focus()
    concept.page.keyboard.press("Home")
    expect(concept.page).to_have_url(re.compile(r"least=0\.01"))
    all_hard, all_soft = (concept.state("soft", "visible", stage)["left"] for stage in stages)
    concept.tells("soft", [all_hard, all_soft])
    assert all_hard >= hard
    assert all_soft > soft
    concept.keyed("decay").get_by_role("radio").nth(1).click()
    expect(concept.slider("sigma")).to_have_count(0)
    expect(concept.keyed("soft-stage_linear")).to_be_visible()


# ---------------------------------------------------------------- 6: one IoU


def test_the_formula_follows_the_boxes(open_concept):
    concept = open_concept()

    def worked_out() -> float:
        first, second = torch.tensor(concept.state("worked", "boxes")).float().round()[:, None]
        return float(box_iou(first, second))

    def shows(iou: float) -> None:
        annotation = concept.page.locator(f".st-key-step-{PAGE}-worked annotation")
        expect(annotation).to_contain_text(f"{iou:.3f}")

    shows(worked_out())
    (ax1, ay1, ax2, ay2), (_bx1, _by1, bx2, by2) = concept.state("worked", "boxes")
    concept.page.mouse.move(*concept.at("worked", ax1 + 20, ay1 + 20))
    concept.page.mouse.down()
    concept.page.mouse.move(*concept.at("worked", ax1 + 70, ay1 + 45), steps=6)
    moved = worked_out()
    shows(moved)  # still held
    concept.page.mouse.up()
    assert concept.state("worked", "boxes")[0] == pytest.approx(
        [ax1 + 50, ay1 + 25, ax2 + 50, ay2 + 25], abs=1
    )
    concept.drag("worked", (bx2 - 15, by2 - 15), (bx2 - 40, by2 - 40))
    assert worked_out() != moved
    shows(worked_out())
    concept.page.keyboard.press("Delete")
    alert = concept.page.locator(f".st-key-step-{PAGE}-worked").get_by_test_id("stAlert")
    expect(alert).to_be_visible()
    concept.keyed("worked-replace-Reset").get_by_role("button").click()
    expect(alert).to_have_count(0)
    shows(worked_out())


# ---------------------------------------------------------------- questions, languages


def test_questions_take_the_number_on_screen_and_no_other(open_concept):
    concept = open_concept("?iou=0.3")
    survivors_question = next(
        number
        for number, question in enumerate(load(PAGE, "en").questions)
        if question.answer == "survivors"
    )
    box = concept.keyed(f"question-{survivors_question}").get_by_role("spinbutton")
    left = concept.numbers("suppression")[0]
    for answer, kind in ((left + 1, "Error"), (left, "Success")):
        box.fill(str(answer))
        box.press("Enter")
        expect(concept.page.get_by_test_id(f"stAlertContent{kind}")).to_be_visible()
    concept.keyed("source").get_by_role("radio").nth(1).click()  # simulated candidates
    expect(concept.page).to_have_url(re.compile("source=simulated"))
    concept.slider("iou").focus()
    concept.page.keyboard.press("End")
    expect(concept.page).to_have_url(re.compile(r"iou=1\.0"))
    now, total = concept.numbers("suppression")
    assert now == total != left
    box.fill("")
    box.press("Enter")
    expect(concept.page.get_by_test_id("stAlertContentSuccess")).to_have_count(0)
    box.fill(str(now))
    box.press("Enter")
    expect(concept.page.get_by_test_id("stAlertContentSuccess")).to_be_visible()


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_is_whole_in_both_languages(open_concept, lang):
    concept = open_concept(lang=lang, color_scheme="dark" if lang == "zh" else "light")
    text = load(PAGE, lang)
    headings = concept.page.get_by_role("heading", level=3)
    titles = [section.title for name, section in text.sections.items() if name != "sources"]
    for number, title in enumerate(titles, start=1):
        expect(headings.nth(number - 1)).to_contain_text(f"{number}")
        expect(headings.nth(number - 1)).to_contain_text(title)
    for step in ("layout", "matching", "suppression", "replay", "worked"):
        view = concept.stage(step).evaluate("node => node.__stage.view")
        assert view["width"] > 300
        name = concept.stage(step).get_attribute("aria-label")
        assert bool(re.search("[\u4e00-\u9fff]", name)) is (lang == "zh")
    for figure in concept.page.locator(".live-figure .live-plot").all():
        figure.scroll_into_view_if_needed()
        expect(figure.locator(".main-svg").first).to_be_visible()
    questions = concept.page.locator("[class*='-question-']")
    expect(questions).to_have_count(len(text.questions))
