"""Optimizers: numbers on screen, where to start, the visitor's own surface, questions."""

import math

import numpy as np
import pytest
import torch

from explainers.optimizers import OPTIMIZERS, trajectories
from explainers.surfaces import SURFACES, align
from figures import optimizers as figures
from tests.pages.conftest import complaints, facts, pieces
from ui.language import LANGUAGES
from ui.samples import sample
from ui.text import load

PAGE = "optimizers"
LEVELS = [0.5 * number for number in range(11)]


@pytest.fixture
def open_concept(open_page):
    def open_one(lang: str = "en", **query):
        app = open_page(PAGE, lang, **query)
        assert complaints(app) == []
        return app

    return open_one


def sentences(app) -> list[str]:
    """What is said at each step of the race, the longest list that a sentence holds."""
    return pieces(app, "sentence")[0]["places"]["told"][0]["values"]


# ---------------------------------------------------------------- the numbers on screen


@pytest.mark.parametrize(("condition", "axes"), [("1", "0"), ("10", "30"), ("1000", "30")])
def test_the_edges_of_stability(open_concept, condition, axes):
    shown = facts(open_concept(condition=condition, axes=axes), PAGE)
    steepest = float(condition)
    assert shown["edge_sgd"] == pytest.approx(2 / steepest)
    assert shown["edge_momentum"] == pytest.approx(3.8 / steepest)
    assert shown["edge_nesterov"] == pytest.approx(3.8 / 2.8 / steepest)


@pytest.mark.parametrize(
    "query", [{}, {"surface": "himmelblau", "t": "3", "beta1": "0.5"}], ids=str
)
def test_the_step_worked_out_is_torchs(open_concept, query):
    app = open_concept(**query)
    shown, surface = facts(app, PAGE), SURFACES[query.get("surface", "beale")]
    betas = float(query.get("beta1", 0.9)), 0.999
    assert shown["correction"] == pytest.approx(1 - betas[0] ** shown["t"])
    point = torch.tensor(start_of(app), dtype=torch.float64).requires_grad_()
    rule = torch.optim.Adam([point], lr=shown["lr"], betas=betas)
    for _step in range(int(shown["t"])):
        before = point.detach().clone()
        rule.zero_grad()
        surface(point).backward()
        rule.step()
    assert shown["slope"] == pytest.approx(point.grad[0].item())
    assert shown["update"] == pytest.approx((point.detach() - before)[0].item())


def start_of(app) -> tuple[float, float]:
    """Where the race's sliders stand."""
    sliders = {piece["topic"]: piece for piece in pieces(app, "slider")}
    at = (sliders[f"{PAGE}.{axis}"] for axis in "xy")
    return tuple(float(slider["texts"][slider["index"]].replace("−", "-")) for slider in at)


def test_the_shares_of_the_basins(open_concept):
    """Starts of plain gradient descent on the saddle end on their own side of the ridge."""
    shown = facts(open_concept(where="saddle", left="sgd", right="momentum"), PAGE)
    assert (shown["starts"], shown["minima"]) == (10_000, 2)
    assert shown["left_percent"] > 95
    none = facts(open_concept(where="saddle", times="0.01"), PAGE)
    assert none["left_percent"] < 5


def test_the_photos_surface_is_the_visitors(open_concept):
    shown = facts(open_concept(), PAGE)
    other = facts(open_concept(uploaded=sample("china")), PAGE)
    assert shown["minima"] != other["minima"]
    surface = align(torch.from_numpy(sample("china").array()))
    assert float(surface(torch.zeros(2))) == pytest.approx(0, abs=1e-6)


def test_the_floor_of_noise(open_concept):
    for level in ("0.0", "0.5", "2.0"):
        shown = facts(open_concept(noise=level), PAGE)
        rate, noise = shown["lr_sgd"], float(level)
        wanted = sum(rate * noise**2 / (2 * (2 - rate * curved)) for curved in (1, 10))
        assert shown["floor"] == pytest.approx(wanted)


@pytest.mark.parametrize("scale", ["0.1", "1.0"])
def test_the_theory_of_noise_is_of_the_steps_shown(open_concept, drawn, scale):
    """½ Σ λ (q^t x² + η² σ² (1 − q^t) / (1 − q)) with q = (1 − η λ)², from (−3.2, 2.4)."""
    shown = facts(open_concept(noise="2.0", scale=scale), PAGE)
    curved, start = np.array([1, 10]), np.array([-3.2, 2.4])
    shrink = (1 - shown["lr_sgd"] * curved) ** 2
    late = shrink**200 * start**2
    late += (2 * shown["lr_sgd"]) ** 2 * (1 - shrink**200) / (1 - shrink)
    (noise,) = (step for step in drawn.steps if step.id == f"{PAGE}.noise")
    theory, seen = (noise._tables[name][LEVELS.index(2.0)] for name in ("theory", "sgd"))
    assert theory == pytest.approx((curved * late).sum() / 2)
    assert seen == pytest.approx(theory, rel=0.6)  # 40 draws of about two squares


@pytest.mark.parametrize(
    ("lang", "words"), [("en", ["Left: SGD", "Right: Adam"]), ("zh", ["左图：SGD", "右图：Adam"])]
)
def test_the_maps_say_on_which_side_they_are(open_concept, monkeypatch, lang, words):
    titles = []
    draw = figures.basin_map
    monkeypatch.setattr(
        figures, "basin_map", lambda *given: titles.append(given[5]) or draw(*given)
    )
    open_concept(lang)
    assert [title.split(", η")[0].split("，η")[0] for title in titles] == words


def test_at_the_start_all_are_level(open_concept):
    told = sentences(open_concept())
    assert told[0].startswith("At step 0 all are level, at height **")
    assert "level" not in told[40]
    flat = sentences(open_concept(surface="typed", formula="0*x"))
    assert all(" all are level, at height **0**" in sentence for sentence in flat)


def test_each_rate_can_be_set_by_hand(open_concept, drawn):
    """One bar at a hundred times the fair rate: that optimizer alone takes another path."""

    def heights(**query):
        open_concept(surface="quadratic", **query)
        (race,) = (step for step in drawn.steps if step.id == f"{PAGE}.race")
        return {name: race._tables[name] for name in OPTIMIZERS}

    fair, own = heights(), heights(rates="each", factors="2,0,0,0,0,0,0,0,0,0")
    assert [name for name in OPTIMIZERS if not np.array_equal(fair[name], own[name])] == ["sgd"]
    each = heights(rates="each", factors=",".join(["1"] * 10))
    together = heights(factor="10.0")
    for name in OPTIMIZERS:
        np.testing.assert_allclose(each[name], together[name])


def test_too_large_a_rate_is_a_sentence_and_no_error(open_concept):
    told = sentences(open_concept(factor="100.0"))
    assert "Left the map: **SGD** at step" in told[-1]
    assert "Left the map" not in told[0]
    told = sentences(open_concept("zh", factor="100.0"))
    assert "已离开地图" in told[-1]


# ---------------------------------------------------------------- where to start


def test_a_surface_brings_its_own_start(open_concept, drawn):
    app = open_concept()
    app.selectbox(key=f"{PAGE}.surface").set_value("himmelblau").run()
    assert complaints(app) == []
    assert (drawn.values["x"], drawn.values["y"]) == ("0.0", "-1.0")
    app.selectbox(key=f"{PAGE}.surface").set_value("saddle").run()
    assert (drawn.values["x"], drawn.values["y"]) == ("-1.6", "0.04")


@pytest.mark.parametrize("surface", ["rosenbrock", "photo", "typed"])
def test_a_link_may_start_anywhere(open_concept, drawn, surface):
    open_concept(surface=surface)
    x, y = (drawn.ends[axis] for axis in "xy")
    for at in zip(x, y, strict=True):
        open_concept(surface=surface, x=at[0], y=at[1])
        assert (drawn.values["x"], drawn.values["y"]) == at


def test_reset_brings_the_start_back(open_concept, drawn):
    app = open_concept(x="3.4", y="-1.2", factor="10.0")
    assert drawn.values["x"] == "3.4"
    app.button(key=f"{PAGE}.race.reset").click().run()
    assert complaints(app) == []
    assert (drawn.values["x"], drawn.values["y"], drawn.values["factor"]) == ("0.595", "1.4", "1.0")


# ---------------------------------------------------------------- the visitor's own surface


def test_a_typed_surface_is_raced_on(open_concept):
    app = open_concept(surface="typed", formula="x**2 + y**2 / 2", x="2.0", y="1.0")
    assert app.text_input(key=f"{PAGE}.formula").value == "x**2 + y**2 / 2"
    assert not app.info
    lr = facts(app, PAGE)["lr"]
    start = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    step = trajectories("x**2 + y**2 / 2", "adam", start, 10, lr)[-2:, 0].diff(dim=0)[0]
    assert facts(app, PAGE)["update"] == pytest.approx(step[0].item())
    assert app.query_params["formula"] == "x**2 + y**2 / 2"


def test_a_typed_surface_reaches_the_steps_below(open_concept):
    app = open_concept(surface="typed", where="typed", formula="x**2 + y**2")
    shown = dict(facts(app, PAGE))
    app.text_input(key=f"{PAGE}.formula").set_value("(x**2 - 4)**2 + y**2").run()
    assert complaints(app) == []
    assert (shown["minima"], facts(app, PAGE)["minima"]) == (1, 2)
    assert facts(app, PAGE)["slope"] != shown["slope"]


def test_the_basins_may_show_what_was_typed_though_the_race_runs_elsewhere(open_concept):
    assert facts(open_concept(where="typed"), PAGE)["minima"] > 1
    assert facts(open_concept(where="typed", formula="x**2 + y**2"), PAGE)["minima"] == 1


def test_the_example_stays_out_of_the_link(open_concept):
    app = open_concept(surface="typed")
    assert "formula" not in app.query_params
    app.text_input(key=f"{PAGE}.formula").set_value("x**4 + y**4").run()
    assert complaints(app) == []
    assert app.query_params["formula"] == "x**4 + y**4"


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    "formula",
    [
        *("", "x +", "2", "foo(x)", "x.real", "__import__('os')", "x**y", "9**9**9*x", "1e999*x"),
        *(
            "x" * 5000,
            "(" * 500,
            "-" * 150 + "x",
            "sqrt(-1 - x**2)",
            "x\0",
            "\ud7ff",
            "λ: x",
            "x;y",
        ),
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_what_cannot_be_used_is_one_sentence_in_each_step(open_concept, lang, formula):
    app = open_concept(lang, surface="typed", where="typed", formula=formula)
    said = {node.value for node in app.info}
    assert len(said) == 1
    assert len(app.info) == 3  # race, closeup, basins
    assert len(said.pop()) < 200


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    "formula", ["'[Your session has expired](//e.io)'", "'![](//e.io/a.png)'", "'`](//e.io)`'"]
)
def test_a_link_cannot_bring_its_own_words(open_concept, lang, formula):
    """What it says is inside a code span, whose fence is longer than any run of backticks in it."""
    app = open_concept(lang, surface="typed", formula=formula)
    fence = "``" if "`" in formula else "`"
    assert f"{fence} {formula[:40]} {fence}" in app.info[0].value


@pytest.mark.parametrize(
    "formula", ["log(x) + y", "sqrt(x) + y", "1/x", "x - y", "abs(x)", "0*x", "exp(x**4)"]
)
def test_odd_surfaces_are_shown_as_they_are(open_concept, formula):
    app = open_concept(surface="typed", where="typed", formula=formula)
    assert not app.info
    assert len(sentences(app)) == 201


def test_a_photo_of_one_colour_has_no_minimum(open_concept, tmp_path):
    from PIL import Image

    from ui.photo import Photo

    Image.new("RGB", (60, 40), "white").save(tmp_path / "white.png")
    white = Photo.from_bytes((tmp_path / "white.png").read_bytes(), "white.png")
    shown = facts(open_concept(uploaded=white, surface="photo"), PAGE)
    assert (shown["minima"], shown["left_percent"]) == (0, 0)


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
        wrong = shown[question.answer] * 1.1 + 0.01
        app.number_input(key=f"{PAGE}.question.{number}").set_value(wrong)
    app.run()
    assert (len(app.error), len(app.success)) == (len(NUMERIC), 0)
    for number, question in NUMERIC:
        rounded = float(f"{shown[question.answer]:.3g}")
        app.number_input(key=f"{PAGE}.question.{number}").set_value(rounded)
    app.run()
    assert (len(app.error), len(app.success)) == (0, len(NUMERIC))
    assert not any("[[" in node.value or "…" in node.value for node in app.success)


def test_of_an_optimizer_without_betas_no_correction_is_asked(open_concept):
    shown = facts(open_concept(one="sgd"), PAGE)
    assert "correction" not in shown
    assert math.isfinite(shown["update"])


@pytest.mark.parametrize("lang", LANGUAGES)
def test_of_the_choices_one_is_right(open_concept, lang):
    app = open_concept(lang)
    for number, question in CHOICES:
        app.radio(key=f"{PAGE}.question.{number}").set_value(question.right)
    app.run()
    assert (len(app.error), len(app.success)) == (0, len(CHOICES))


def test_both_languages_ask_the_same():
    en, zh = load(PAGE, "en").questions, load(PAGE, "zh").questions
    assert [(q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in en] == [
        (q.answer, q.tolerance, q.relative, q.right, len(q.choices)) for q in zh
    ]
