"""Initialization: numbers on screen, presets, extremes, what is trained."""

import math

import pytest
import torch
from torch import nn

from explainers.initialization import SCHEMES, compare_schemes, fates, photo_maps, random_inputs
from tests.pages.conftest import complaints, facts, pieces
from ui.language import LANGUAGES
from ui.text import load

PAGE = "initialization"
STEPS = ["layer_by_layer", "all_at_once", "gain", "on_photo", "training"]
CONTROLS = ["scheme", "mode", "depth", "width", "activation", "seed"]


@pytest.fixture
def open_concept(open_page):
    def open_one(lang: str = "en", **options):
        app = open_page(PAGE, lang, **options)
        assert complaints(app) == []
        return app

    return open_one


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def sentences(app):
    return [piece["text"] for piece in pieces(app, "sentence")]


def test_a_change_reruns_the_steps_that_use_it_and_no_others(open_concept):
    followers = open_concept().session_state["controls.followers"]
    using = {key: set(followers.get(f"{PAGE}.{key}", ())) - {"layer_by_layer"} for key in CONTROLS}
    assert using == {
        "scheme": {"gain"},
        "mode": set(STEPS[1:]),
        "depth": {"all_at_once", "gain"},
        "width": {"all_at_once", "gain"},
        "activation": set(STEPS[1:]),
        "seed": set(STEPS[1:]),
    }


@pytest.mark.parametrize(("scheme", "activation"), [("xavier_normal", "relu"), ("normal", "tanh")])
def test_what_arrives_at_both_ends(open_concept, scheme, activation):
    options = {"depth": "9", "width": "32", "seed": "5"}
    shown = facts(open_concept(scheme=scheme, activation=activation, **options), PAGE)
    x, seed = random_inputs(128, 64, seeded(1005)), seeded(5)
    top = torch.randn(128, 32, generator=seeded(int(torch.randint(2**62, (), generator=seed))))
    x.requires_grad_()
    outputs = []
    for layer in range(9):
        weight = torch.empty(32, 64 if layer == 0 else 32)
        if scheme == "normal":
            nn.init.normal_(weight, generator=seed)
        else:
            nn.init.xavier_normal_(weight, generator=seed)
        x = getattr(torch, activation)(x @ weight.T)
        x.retain_grad()
        outputs.append(x)
    (x * top).sum().backward()
    assert shown["last_activation"] == pytest.approx(float(x.detach().std(correction=0)), rel=1e-3)
    assert shown["first_gradient"] == pytest.approx(
        float(outputs[0].grad.std(correction=0)), rel=1e-3
    )
    assert shown["zero_share"] == pytest.approx(float((x == 0).float().mean()), abs=1e-3)


def test_the_default_shows_a_signal_that_dies(open_concept):
    shown = facts(open_concept(), PAGE)
    assert shown["last_activation"] < 1e-6
    assert shown["first_gradient"] < 1e-6


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_how_many_schemes_keep_signal_and_gradient(open_concept, activation):
    shown = facts(open_concept(activation=activation), PAGE)
    inputs = random_inputs(32, 64, seeded(1000))
    spread = compare_schemes(inputs, 50, activation, seeded(0), 128)
    forward, backward = fates(spread.activation_std), fates(spread.gradient_std, backward=True)
    lost = [forward.died, forward.exploded, backward.died, backward.exploded]
    assert shown["kept"] == sum(
        not any(event[row] for event in lost) for row in range(len(SCHEMES))
    )


@pytest.mark.parametrize("gain", ["0.05", "1.0", "5.0"])
def test_the_law_with_its_numbers(open_concept, gain):
    shown = facts(open_concept(gain=gain, layer="3", depth="5", width="256"), PAGE)
    assert shown["fan_in"] == 256
    assert shown["weight_variance"] == pytest.approx(float(gain) ** 2 / 256)
    product = shown["fan_in"] * shown["weight_variance"] * shown["input_square"]
    assert shown["predicted"] == pytest.approx(product)
    assert shown["measured"] == pytest.approx(product, rel=0.5)


def test_the_first_layer_reads_64_features(open_concept):
    shown = facts(open_concept(layer="1", scheme="kaiming_normal", mode="fan_out"), PAGE)
    assert shown["fan_in"] == 64


def test_fewer_layers_than_the_chosen_one(open_concept, drawn):
    open_concept(layer="50", depth="1")
    assert drawn.values["layer"] == "1"


def test_numbers_of_an_exploded_network_are_no_facts(open_concept):
    app = open_concept(scheme="normal", depth="100", layer="100")
    shown = facts(app, PAGE)
    assert all(math.isfinite(number) for number in shown.values())
    assert "last_activation" not in shown
    assert "∞" in sentences(app)[0]


@pytest.mark.parametrize(("mode", "fan"), [("fan_in", 64), ("fan_out", 256)])
def test_every_step_takes_kaimings_mode(open_concept, mode, fan):
    options = {"scheme": "kaiming_normal", "mode": mode, "width": "256", "depth": "4"}
    app = open_concept(**options, layer="1")
    shown = facts(app, PAGE)
    assert shown["weight_variance"] == pytest.approx(2 / fan)
    spread = compare_schemes(
        random_inputs(16, 64, seeded(1000)), 4, "relu", seeded(0), 256, mode=mode
    )
    last = spread.activation_std[list(SCHEMES).index("kaiming_normal"), -1]
    assert shown["last_activation"] == pytest.approx(float(last), rel=1e-4)


def test_even_kaimings_maps_fade_the_more_the_narrower_the_layers():
    photo = torch.randint(0, 256, (12, 12, 3), generator=seeded(0), dtype=torch.uint8)
    left = {}
    for channels in (8, 16, 64):
        sizes = [
            photo_maps(photo, ["kaiming_normal"], [1, 20], seeded(seed), channels=channels).std[0]
            for seed in range(15)
        ]
        left[channels] = float(torch.stack([last / first for first, last in sizes]).median())
    assert left[8] < left[16] < left[64] < 1


def test_networks_start_untrained(open_concept):
    app = open_concept()
    (training,) = pieces(app, "training")
    assert (training["share"], training["finished"]) == (0, False)
    assert facts(app, PAGE)["different"] == 1
    assert sentences(app)[-1].startswith("At step 0 ")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_sentences_have_all_their_numbers(open_concept, lang):
    for text in sentences(open_concept(lang)):
        assert "nan" not in text.lower()
        assert "inf" not in text.replace("infinit", "")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_questions_ask_for_numbers_on_screen(open_concept, lang):
    questions = load(PAGE, lang).questions
    assert len(questions) >= 8
    asked = [question.answer for question in questions if question.answer]
    assert len(asked) >= 4
    assert set(asked) <= facts(open_concept(lang), PAGE).keys()


def test_both_languages_ask_the_same():
    english, chinese = (load(PAGE, lang).questions for lang in ("en", "zh"))
    assert [(q.answer, q.right, q.tolerance) for q in english] == [
        (q.answer, q.right, q.tolerance) for q in chinese
    ]
    assert [name for name in load(PAGE, "en").sections if name != "sources"] == STEPS
