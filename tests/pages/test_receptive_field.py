"""Receptive fields: numbers on screen, the table in links, presets, nothing to show, questions."""

import io
import itertools
import json
import math
import re
from collections import Counter

import pytest
from PIL import Image

from explainers.receptive_field import PRESETS, write_stack
from tests.pages.conftest import complaints, facts, pieces
from ui.language import LANGUAGES
from ui.photo import Photo
from ui.step import Step
from ui.text import load

PAGE = "receptive_field"
STEPS = ["stack", "on_photo", "touch", "effective", "law", "trained", "aspp"]


def plain(width=320, height=240):
    file = io.BytesIO()
    Image.new("RGB", (width, height), (120, 120, 120)).save(file, "PNG")
    return Photo.from_bytes(file.getvalue(), "plain.png")


@pytest.fixture
def open_concept(open_page):
    def open_one(lang="en", **options):
        app = open_page(PAGE, lang, **options)
        assert complaints(app) == []
        return app

    return open_one


def said(app):
    return " ".join(sentence["text"] for sentence in pieces(app, "sentence"))


# ---------------------------------------------------------------- the numbers on screen


@pytest.mark.parametrize(
    ("stack", "field", "jump"),
    [("vgg16", 212, 32), ("alexnet", 195, 32), ("resnet50", 483, 32), ("deeplab_os8", 483, 8)],
)
def test_published_fields(open_concept, stack, field, jump):
    app = open_concept(stack=stack)
    shown = facts(app, PAGE)
    assert (shown["field"], shown["jump"]) == (field, jump)
    assert f"**{field} × {field}**" in said(app)


def test_a_stack_in_a_link(open_concept):
    shown = facts(open_concept(stack="7s2p3_3p1_3d2p2"), PAGE)
    assert (shown["layers"], shown["field"], shown["jump"]) == (3, 7 + 4 + 8, 2)
    assert (shown["rows"], shown["columns"]) == (250, 317)


@pytest.mark.parametrize(
    "stack",
    [
        *("", "vgg", "0", "3s0", "32", "3s9", "3d65", "3p100", "3_", "3,3", "_".join(["3"] * 65)),
        "_".join(["31s8d64"] * 9),  # sees more than the page allows
        *("nan", "3e1", "../../x", "²", "\0", "9" * 100_000, "3_" * 10_000 + "3"),
    ],
    ids=lambda text: ascii(text[:12]),
)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_nonsense_for_a_stack_opens_the_default(open_concept, stack, lang):
    assert facts(open_concept(lang, stack=stack), PAGE)["field"] == 212


def test_the_longest_stack_that_the_table_allows_fits_into_a_link(open_concept):
    stack = "_".join(["31s1d4p99"] * 64)
    assert facts(open_concept(stack=stack), PAGE)["layers"] == 64


def edited(app, **cells):
    """The page after the visitor has typed numbers into the first row."""
    states = app._tree.get_widget_states()
    report = {"edited_rows": {0: cells}, "added_rows": [], "deleted_rows": []}
    states.widgets.add(id=app.data_editor[0].proto.id, string_value=json.dumps(report))
    app._run(states)
    return app.run()  # AppTest forgets what a rerun of single steps leaves as it is


def test_an_edit_changes_numbers_and_link(open_concept):
    app = edited(open_concept(), kernel_size=5)
    assert complaints(app) == []
    assert facts(app, PAGE)["field"] == 214
    assert app.query_params["stack"] == f"5p1_{write_stack(PRESETS['vgg16'][1:])}"
    app = edited(app, kernel_size=3)
    assert facts(app, PAGE)["field"] == 212
    assert "stack" not in app.query_params  # the preset again


@pytest.mark.parametrize(
    ("lang", "word"), [("en", "whole number from 1 to 31"), ("zh", "1 到 31 的整数")]
)
def test_an_edit_that_is_refused_is_told_in_the_visitors_language(open_concept, lang, word):
    app = edited(open_concept(lang), kernel_size=99)
    assert word in app.warning[0].value
    assert facts(app, PAGE)["field"] == 212


def test_a_field_that_grows_too_large_is_told(open_concept):
    stack = "_".join(["31d64"] * 5)
    app = edited(open_concept(stack=stack), stride=8)
    assert "9,999" in app.warning[0].value
    assert facts(app, PAGE)["field"] == 1 + 5 * 30 * 64


def test_the_layer_follows_the_preset(open_concept, drawn):
    app = open_concept()
    assert drawn.values["layer"] == "17"
    button = next(b for b in app.button if (b.key or "").endswith("preset.AlexNet"))
    button.click().run()
    app.run()
    assert drawn.values["layer"] == "7"
    assert facts(app, PAGE)["field"] == 195


@pytest.mark.parametrize(
    ("layer", "dilate", "side"), [("0", "1", 3), ("1", "2", 9), ("17", "1", 212)]
)
def test_the_field_on_the_photo(open_concept, layer, dilate, side):
    assert f"**{side} × {side}**" in said(open_concept(layer=layer, dilate=dilate))


def test_a_field_far_larger_than_the_photo_lies_mostly_outside(open_concept):
    shown = facts(open_concept(stack="dense_aspp", uploaded=plain()), PAGE)
    inside = 320 * 240 / 1491**2
    assert shown["outside_percent"] == pytest.approx(100 * (1 - inside))


@pytest.mark.parametrize(
    ("rates", "untouched", "gap"),
    [((2, 2, 2), 120, 2), ((1, 2, 5), 0, 2), ((1, 1, 1), 0, 1), ((1, 2, 9), 25 * 25 - 21 * 21, 5)],
)
def test_holes(open_concept, rates, untouched, gap):
    query = {f"r{n}": str(rate) for n, rate in enumerate(rates, 1)}
    shown = facts(open_concept(**query), PAGE)
    assert (shown["untouched"], shown["gap"]) == (untouched, gap)


@pytest.mark.parametrize("rates", [(1, 2, 5), (2, 4, 8), (2, 2, 2)])
@pytest.mark.parametrize(("lang", "word"), [("en", "busiest"), ("zh", "最常用")])
def test_the_paths_told_are_those_of_the_pixel_told(open_concept, rates, lang, word):
    """1-2-5 and 2-4-8 lead to the pixel in the middle on one path, to others on more."""
    ends = (a + b + c for a, b, c in itertools.product(*((-r, 0, r) for r in rates)))
    most = max(Counter(ends).values()) ** 2
    query = {f"r{n}": str(rate) for n, rate in enumerate(rates, 1)}
    assert re.search(rf"{word}\D*\*\*{most}\*\*", said(open_concept(lang, **query)))


def test_the_effective_field_is_smaller_and_grows_more_slowly(open_concept):
    few, many = (facts(open_concept(depth=depth), PAGE) for depth in ("6", "24"))
    assert (few["theoretical_side"], many["theoretical_side"]) == (13, 49)
    assert few["effective_side"] < 13
    assert many["effective_side"] / few["effective_side"] == pytest.approx(2, rel=0.2)


@pytest.fixture
def charts(drawn, monkeypatch):
    """The figures of the page by their keys."""
    kept, draw = {}, Step.figure

    def keeping(self, chart, *, key, **options):
        kept[key] = chart
        return draw(self, chart, key=key, **options)

    monkeypatch.setattr(Step, "figure", keeping)
    return kept


@pytest.mark.parametrize("turn", ["1", "2", "1-2-5"])
def test_sentence_circle_and_law_have_one_size_for_one_network(open_concept, charts, turn):
    app = open_concept(depth="18", turn=turn)
    size = facts(app, PAGE)["effective_side"]
    assert f"**{size:.1f} × {size:.1f}**" in said(app)
    circle = charts["gradient"].layout.shapes[-1]
    assert math.pi * circle.x1**2 == pytest.approx(size**2)
    _, _, points = charts["law"].data
    assert points.y[list(points.x).index(18)] == pytest.approx(size)


def test_twice_the_dilation_widens_the_effective_field_to_twice_its_size(open_concept):
    dense, spread = (facts(open_concept(turn=turn), PAGE) for turn in ("1", "2"))
    assert spread["effective_side"] == pytest.approx(2 * dense["effective_side"])


def test_random_weights_see_the_same_field_but_not_the_same_pixels(open_concept):
    after, before = (facts(open_concept(net=net), PAGE) for net in ("trained", "random"))
    assert 0 < after["network_side"] < before["network_side"] < 224


def test_a_large_rate_leaves_one_tap_a_branch(open_concept):
    shown = facts(open_concept(os="32", uploaded=plain()), PAGE)
    assert shown["inside_taps"] == 4
    cut = plain(40, 40)  # 2 x 2 cells, of which the middle one is the last, cut by the edge
    assert facts(open_concept(os="32", uploaded=cut), PAGE)["inside_taps"] == 4
    assert facts(open_concept(), PAGE)["inside_taps"] == 36


# ---------------------------------------------------------------- presets, nothing to show


def test_every_preset_works_and_its_link_opens_the_same(open_concept, drawn):
    names = [b.key for b in open_concept().button if ".preset." in (b.key or "")]
    assert len(names) == len(PRESETS) + 4
    seen = set()
    for name in names:
        app = open_concept()
        drawn.forget()
        app.button(key=name).click().run()
        assert complaints(app) == []
        link = dict(app.query_params)
        shown = dict(facts(app, PAGE))
        opened = open_concept(**{k: v for k, v in link.items() if k != "lang"})
        assert facts(opened, PAGE) == pytest.approx(shown)
        seen.add(shown["field"])
    assert len(seen) >= 9


def test_a_photo_too_small_for_the_stack_is_said_so(open_concept, drawn):
    app = open_concept(uploaded=plain(20, 20))
    assert len(app.info) == 1
    assert {step.id.split(".")[1] for step in drawn.steps} == set(STEPS)
    assert "outside_percent" not in facts(app, PAGE)


# ---------------------------------------------------------------- questions


QUESTIONS = load(PAGE, "en").questions
NUMERIC = [(n, q) for n, q in enumerate(QUESTIONS) if q.answer]
CHOICES = [(n, q) for n, q in enumerate(QUESTIONS) if q.choices]


def test_there_are_enough_questions():
    assert len(NUMERIC) >= 4
    assert len(QUESTIONS) >= 8


@pytest.mark.parametrize("lang", LANGUAGES)
def test_numeric_questions_take_the_number_on_screen_and_no_other(open_concept, lang):
    app = open_concept(lang)
    shown = facts(app, PAGE)
    for number, question in NUMERIC:
        app.number_input(key=f"{PAGE}.question.{number}").set_value(shown[question.answer] + 1)
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
    for number, question in CHOICES:
        app.radio(key=f"{PAGE}.question.{number}").set_value(question.right)
    app.run()
    assert (len(app.error), len(app.success)) == (0, len(CHOICES))


def test_both_languages_ask_the_same():
    kept = ("answer", "tolerance", "relative", "right")
    en, zh = (load(PAGE, lang).questions for lang in ("en", "zh"))
    assert [[getattr(q, k) for k in kept] + [len(q.choices)] for q in en] == [
        [getattr(q, k) for k in kept] + [len(q.choices)] for q in zh
    ]
