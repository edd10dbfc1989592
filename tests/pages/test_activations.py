"""Activations: numbers on screen, presets, training, questions."""

import math
from statistics import NormalDist

import pytest
import torch

from explainers.activations import ACTIVATIONS, first_layer_response
from explainers.models import mobilenet_v2
from figures.words import readable
from tests.pages.conftest import complaints, facts, pieces
from ui.language import LANGUAGES
from ui.live.training import _RUNS, live_training
from ui.samples import SAMPLES, sample
from ui.text import load

PAGE = "activations"
NORMAL = NormalDist()


@pytest.fixture
def open_concept(open_page):
    def open_one(lang: str = "en", **options):
        app = open_page(PAGE, lang, **options)
        assert complaints(app) == []
        return app

    return open_one


# ---------------------------------------------------------------- the numbers on screen


@pytest.mark.parametrize(
    ("query", "steepest"),
    [
        ({}, 1.0998393),
        ({"curves": "sigmoid"}, 0.25),
        ({"curves": "sigmoid,hard_swish,gelu"}, 1.5),
        ({"curves": "elu", "elu_alpha": "3.0"}, 3),
        ({"curves": "swish", "swish_beta": "0.0"}, 0.5),
    ],
    ids=str,
)
def test_the_steepest_curve(open_concept, query, steepest):
    shown = facts(open_concept(**query), PAGE)
    assert shown["steepest_shown"] == pytest.approx(steepest)


@pytest.mark.parametrize(
    ("mean", "spread"), [("0.0", "1.0"), ("-2.0", "1.0"), ("4.0", "4.0"), ("1.0", "0.1")]
)
def test_a_normal_through_relu(open_concept, mean, spread):
    shown = facts(open_concept(mean=mean, spread=spread), PAGE)
    z = float(mean) / float(spread)
    expected = float(mean) * NORMAL.cdf(z) + float(spread) * NORMAL.pdf(z)
    assert shown["zero"] == shown["saturated"] == pytest.approx(100 * NORMAL.cdf(-z), abs=0.05)
    assert shown["output_mean"] == pytest.approx(expected, abs=1e-3)


def test_a_bounded_activation_saturates_on_both_sides(open_concept):
    narrow, wide = (
        facts(open_concept(signal="tanh", spread=spread), PAGE) for spread in ("0.5", "4.0")
    )
    assert narrow["saturated"] < 1 < 40 < wide["saturated"]
    assert narrow["zero"] == wide["zero"] == 0


@pytest.mark.parametrize("query", [{}, {"convolution": "network"}, {"kernel": "horizontal"}])
def test_relu_blackens_what_is_not_positive(open_concept, query):
    shown = facts(open_concept(**query), PAGE)["picture_zero"]
    assert 20 < shown < 90
    assert facts(open_concept(pictures="tanh,gelu", **query), PAGE)["picture_zero"] < 10


def test_four_filters_of_mobilenet_are_dead_on_every_sample():
    network, dead = mobilenet_v2(), set(range(32))
    for name in SAMPLES:
        image = torch.from_numpy(sample(name).array())
        responses = {k: first_layer_response(network, image, k) for k in dead}
        dead = {k for k, response in responses.items() if (response <= 0).all()}
    assert dead == {0, 16, 17, 23}


def test_how_many_let_the_gradient_through(open_concept):
    for depth, passing in (("0", 4), ("1", 4), ("10", 3), ("50", 1)):
        assert facts(open_concept(depth=depth), PAGE)["passing"] == passing
    blocked = facts(open_concept(depth="1", start="-1.0", chains="relu"), PAGE)
    assert blocked["passing"] == 0


def test_a_gradient_is_told_however_small_it_gets(open_concept):
    app = open_concept(chains="tanh", start="3.0", weight="3.0")
    x, gradient = 3.0, 1.0
    for _unit in range(50):
        x, gradient = math.tanh(3 * x), gradient * 3 / math.cosh(3 * x) ** 2
    (through,) = pieces(app, "sentence")[3]["places"]["through"]
    assert through["values"][50] == f"tanh **{readable(gradient)}**"
    assert 0 < gradient < 1e-70


# ---------------------------------------------------------------- training


@pytest.fixture
def trained(monkeypatch):
    """Train as if the visitor had let it run to its end."""

    def to_the_end(begin, settings, **options):
        live_training(begin, settings, **options)
        return list(begin())

    monkeypatch.setattr("ui.step.live_training", to_the_end)


def test_before_training_the_start_is_shown(open_concept):
    app = open_concept()
    assert 0 <= facts(app, PAGE)["dead_units"] < 24
    assert [run.states[-1].step for run in app.session_state[_RUNS].values()] == [0]


def test_a_rate_too_high_kills_and_a_good_one_does_not(open_concept, trained):
    high = facts(open_concept(rate="0.5"), PAGE)["dead_units"]
    good = facts(open_concept(rate="0.01"), PAGE)["dead_units"]
    start = facts(open_concept(rate="0.5", update="0"), PAGE)["dead_units"]
    assert high > 36 > 24 > good
    assert start < 24


# ---------------------------------------------------------------- links, presets, resets


def test_every_preset_works_and_its_link_opens_the_same(open_concept, drawn):
    names = [b.key for b in open_concept().button if ".preset." in (b.key or "")]
    assert len(names) >= 8
    for name in names:
        app = open_concept()
        drawn.forget()
        app.button(key=name).click().run()
        assert complaints(app) == []
        app.run()  # AppTest forgets what a rerun of single steps leaves as it is
        values, shown, link = dict(drawn.values), dict(facts(app, PAGE)), dict(app.query_params)
        opened = open_concept(**{k: v for k, v in link.items() if k != "lang"})
        assert drawn.values == values
        assert facts(opened, PAGE) == shown


def test_all_activations_at_once(open_concept, drawn):
    every = ",".join(ACTIVATIONS)
    open_concept(curves=every, pictures=every, chains=every)
    assert drawn.values["curves"] == drawn.values["chains"] == every


def test_parameters_come_with_their_activations(open_concept, drawn):
    open_concept(curves="relu")
    assert not [key for key in drawn.values if key.startswith(("leaky", "swish", "elu"))]
    open_concept(curves="leaky_relu,prelu,elu,swish,softplus")
    tuned = {"leaky_relu_negative_slope", "prelu_weight", "elu_alpha", "swish_beta"}
    assert tuned | {"softplus_beta"} <= drawn.values.keys()
    assert drawn.ends["swish_beta"] == ["0.0", "50.0"]


def test_reset_brings_back_each_steps_defaults(open_concept, drawn):
    open_concept()
    defaults = dict(drawn.values)
    choices = ("convolution", "curves", "pictures", "chains")
    ends = {key: found[-1] for key, found in drawn.ends.items() if key not in choices}
    app = open_concept(**ends, curves="swish,elu", chains="mish", pictures="selu")
    assert drawn.values != defaults
    for button in [b.key for b in app.button if (b.key or "").endswith(".reset")]:
        app.button(key=button).click().run()
        assert complaints(app) == []
        app.run()  # AppTest forgets what a rerun of single steps leaves as it is
    assert {key: drawn.values[key] for key in defaults} == defaults


def test_reset_reaches_parameters_that_are_not_shown(open_concept, drawn):
    app = open_concept(curves="elu,swish", swish_beta="3.0", elu_alpha="2.0")
    app.button_group(key=f"{PAGE}.curves").set_value(["elu"]).run()
    app.run()  # AppTest forgets what a rerun of single steps leaves as it is
    app.button(key=f"{PAGE}.curves.reset").click().run()
    app.run()
    assert "swish_beta" not in app.query_params
    app.button_group(key=f"{PAGE}.curves").set_value(["elu", "swish"]).run()
    assert drawn.values["curves"] == "elu,swish"
    assert (drawn.values["swish_beta"], drawn.values["elu_alpha"]) == ("1.0", "1.0")


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
        wrong = shown[question.answer] * 1.1 + (1.5 if not question.relative else 0)
        app.number_input(key=f"{PAGE}.question.{number}").set_value(wrong)
    app.run()
    assert (len(app.error), len(app.success)) == (len(NUMERIC), 0)
    for number, question in NUMERIC:
        read = float(f"{shown[question.answer]:.3g}")  # as it stands on the page
        app.number_input(key=f"{PAGE}.question.{number}").set_value(read)
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


def test_both_languages_ask_the_same():
    en, zh = load(PAGE, "en").questions, load(PAGE, "zh").questions
    assert [(q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in en] == [
        (q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in zh
    ]


def test_what_the_questions_claim_is_true():
    swish, gelu = ACTIVATIONS["swish"], ACTIVATIONS["gelu"]
    assert round(swish.range().low, 3) == -0.278
    assert ACTIVATIONS["sigmoid"].steepest() ** 10 == pytest.approx(1e-6, rel=0.05)
    assert gelu.cost.functions == ("erf",)
    assert 1 / (1 + math.exp(1)) == pytest.approx(0.27, abs=0.002)
