"""Anchors & NMS: numbers on screen, presets, steps with nothing to show, questions."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.pages.conftest import complaints, facts
from ui.language import LANGUAGES
from ui.photo import Photo
from ui.samples import objects, sample
from ui.text import load

PAGE = "anchors_nms"
STEPS = ["layout", "matching", "target", "suppression", "replay", "soft", "worked"]
NIGHT_CAFE = sample("night_cafe")


def plain(width: int = 320, height: int = 240) -> Photo:
    """A photo without any object."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (120, 120, 120)).save(file, "PNG")
    return Photo.from_bytes(file.getvalue(), "plain.png")


@pytest.fixture
def open_concept(open_page):
    def open_one(lang: str = "en", **options):
        app = open_page(PAGE, lang, **options)
        assert complaints(app) == []
        return app

    return open_one


# ---------------------------------------------------------------- the numbers on screen


@pytest.mark.parametrize(
    ("query", "anchors", "per_cell"),
    [
        ({}, (500 // 16) * (634 // 16) * 9, 9),
        ({"stride": "64", "sizes": "1", "ratios": "one"}, (500 // 64) * (634 // 64), 1),
        ({"stride": "8", "sizes": "4"}, (500 // 8) * (634 // 8) * 12, 12),
        ({"layout": "ssd"}, 1917, 6),
        ({"layout": "ssd", "level": "0"}, 1917, 3),
    ],
    ids=str,
)
def test_cells_times_anchors_per_cell(open_concept, query, anchors, per_cell):
    shown = facts(open_concept(**query), PAGE)
    assert (shown["anchors"], shown["per_cell"]) == (anchors, per_cell)
    assert shown["positive"] + shown["ignored"] + shown["negative"] == anchors


def test_how_many_anchors_lie_inside(open_concept):
    shown = facts(open_concept(stride="32", sizes="1", ratios="one", size="64"), PAGE)
    inside = []
    for side in (500, 634):
        centres = 32 * np.arange(side // 32) + 16
        inside.append(((centres >= 32) & (centres + 32 <= side)).sum())
    assert shown["inside"] == inside[0] * inside[1]


def test_the_samples_own_objects_are_matched(open_concept, drawn):
    shown = facts(open_concept(), PAGE)
    assert shown["objects"] == len(objects(NIGHT_CAFE)) == 7
    assert drawn.boxes["objects"] == objects(NIGHT_CAFE)


@pytest.mark.parametrize(
    ("positive", "negative"), [("0.0", "0.0"), ("0.5", "0.5"), ("1.0", "1.0"), ("0.3", "0.9")]
)
def test_every_object_keeps_an_anchor_whatever_the_thresholds(open_concept, positive, negative):
    shown = facts(open_concept(positive=positive, negative=negative), PAGE)
    assert shown["positive"] >= 1
    assert shown["rescued"] <= shown["objects"]
    if float(negative) >= float(positive):
        assert shown["ignored"] <= shown["anchors"] - shown["positive"]


def test_thresholds_move_the_numbers_the_right_way(open_concept):
    counts = [facts(open_concept(iou=iou), PAGE)["survivors"] for iou in ("0.0", "0.5", "1.0")]
    assert counts[0] < counts[1] < counts[2]
    assert counts[2] == facts(open_concept(), PAGE)["candidates"]
    counts = [facts(open_concept(score=s), PAGE)["survivors"] for s in ("0.1", "0.25", "0.95")]
    assert counts[0] > counts[1] > counts[2]
    together = facts(open_concept(per_class="0"), PAGE)["survivors"]
    assert together <= facts(open_concept(), PAGE)["survivors"]


def test_the_replay_ends_with_the_survivors_of_the_step_before(open_concept):
    for query in ({}, {"iou": "0.3"}, {"per_class": "0"}, {"source": "simulated"}):
        shown = facts(open_concept(**query), PAGE)
        assert shown["rounds"] == shown["survivors"]


def test_the_iou_of_the_two_boxes(open_concept, drawn):
    shown = facts(open_concept(), PAGE)
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = drawn.boxes["pair"]
    across = max(0, min(ax2, bx2) - max(ax1, bx1))
    down = max(0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - across * down
    assert shown["intersection"] == across * down
    assert shown["union"] == union
    assert shown["iou"] == pytest.approx(across * down / union)


# ---------------------------------------------------------------- links, presets, resets


def test_a_link_with_drawn_objects(open_concept, drawn):
    boxes = "10.20.110.220_300.100.400.300"
    app = open_concept(objects=f"{NIGHT_CAFE.digest[:6]}-{boxes}")
    assert drawn.boxes["objects"] == [(10, 20, 110, 220), (300, 100, 400, 300)]
    assert facts(app, PAGE)["objects"] == 2
    app = open_concept(objects=f"{NIGHT_CAFE.digest[:6]}-")
    assert facts(app, PAGE)["objects"] == facts(app, PAGE)["positive"] == 0


def test_every_preset_works_and_its_link_opens_the_same(open_concept, drawn):
    names = [b.key for b in open_concept().button if ".preset." in (b.key or "")]
    assert len(names) >= 4
    seen = set()
    for name in names:
        app = open_concept()
        drawn.forget()
        app.button(key=name).click().run()
        assert complaints(app) == []
        values, shown, link = dict(drawn.values), dict(facts(app, PAGE)), dict(app.query_params)
        opened = open_concept(**{k: v for k, v in link.items() if k != "lang"})
        assert drawn.values | values == drawn.values
        assert facts(opened, PAGE) == shown
        seen.add(shown["anchors"])
    assert len(seen) >= 3


def test_reset_brings_back_each_steps_defaults(open_concept, drawn):
    open_concept()
    defaults = dict(drawn.values)
    ends = {key: found[-1] for key, found in drawn.ends.items() if key not in ("layout", "decay")}
    app = open_concept(**ends)
    assert drawn.values != defaults
    for button in [b.key for b in app.button if (b.key or "").endswith(".reset")]:
        app.button(key=button).click().run()
        assert complaints(app) == []
        app.run()  # AppTest forgets what a rerun of single steps leaves as it is
    untouched = {"round": drawn.values["round"]}  # a position in the replay, no setting
    assert {key: drawn.values[key] for key in defaults} == defaults | untouched


# ---------------------------------------------------------------- nothing to show


@pytest.mark.parametrize("lang", LANGUAGES)
def test_where_the_detector_sees_nothing_the_page_says_so_and_the_simulation_helps(
    open_concept, drawn, lang
):
    app = open_concept(lang, uploaded=plain())
    silent = {step.id.split(".")[1] for step in drawn.steps}
    assert silent == set(STEPS)
    assert len(app.info) >= 3  # suppression, replay, soft
    assert "survivors" not in facts(app, PAGE)
    app = open_concept(lang, uploaded=plain(), source="simulated")
    assert facts(app, PAGE)["survivors"] > 0


def test_a_photo_smaller_than_a_cell_is_said_so(open_concept):
    app = open_concept(uploaded=plain(40, 40), stride="64")
    assert app.info
    assert facts(app, PAGE)["anchors"] == 0
    assert facts(app, PAGE)["positive"] == 0


def test_numbers_of_the_photo_before_are_forgotten(open_concept):
    app = open_concept()
    assert "survivors" in facts(app, PAGE)
    app.session_state["photo"] = plain()
    app.run()
    assert complaints(app) == []
    assert "survivors" not in facts(app, PAGE)
    assert "rounds" not in facts(app, PAGE)


# ---------------------------------------------------------------- questions


NUMERIC = [(n, q) for n, q in enumerate(load(PAGE, "en").questions) if q.answer]
CHOICES = [(n, q) for n, q in enumerate(load(PAGE, "en").questions) if q.choices]


def test_there_are_enough_questions():
    assert len(NUMERIC) >= 4
    assert len(NUMERIC) + len(CHOICES) >= 8


@pytest.mark.parametrize("lang", LANGUAGES)
def test_numeric_questions_take_the_number_on_screen_and_no_other(open_concept, lang):
    app = open_concept(lang)
    shown = facts(app, PAGE)
    for number, question in NUMERIC:
        wanted = shown[question.answer]
        wrong = wanted + 0.02 if question.answer == "iou" else wanted + 1
        app.number_input(key=f"{PAGE}.question.{number}").set_value(wrong)
    app.run()
    assert (len(app.error), len(app.success)) == (len(NUMERIC), 0)
    for number, question in NUMERIC:
        app.number_input(key=f"{PAGE}.question.{number}").set_value(shown[question.answer])
    app.run()
    assert (len(app.error), len(app.success)) == (0, len(NUMERIC))
    assert not any("[[" in node.value or "…" in node.value for node in app.success)


@pytest.mark.parametrize("lang", LANGUAGES)
def test_of_the_choices_one_is_right(open_concept, lang):
    app = open_concept(lang)
    for turn in range(1, 4):
        right = 0
        for number, question in CHOICES:
            choice = (question.right + turn) % len(question.choices)
            right += choice == question.right
            app.radio(key=f"{PAGE}.question.{number}").set_value(choice)
        app.run()
        assert (len(app.error), len(app.success)) == (len(CHOICES) - right, right)


def test_a_question_for_a_number_that_is_not_on_screen_says_so(open_concept):
    app = open_concept(uploaded=plain())
    number = next(n for n, question in NUMERIC if question.answer == "survivors")
    before = len(app.info)
    app.number_input(key=f"{PAGE}.question.{number}").set_value(0).run()
    assert len(app.info) == before + 1
    assert not app.success
    assert not app.error


def test_both_languages_ask_the_same(open_concept):
    en, zh = load(PAGE, "en").questions, load(PAGE, "zh").questions
    assert [(q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in en] == [
        (q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in zh
    ]
