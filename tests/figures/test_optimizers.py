"""Figures of the Optimizers page hold what the explainers found."""

import itertools
import math
import re

import numpy as np
import pytest
import torch

from explainers.descents import (
    Basins,
    basins,
    largest_stable_rate,
    noisy_descents,
    rate_grid,
    sweep_rates,
)
from explainers.expressions import ExpressionError, Reason, parse
from explainers.optimizers import OPTIMIZERS, heights, step_details
from explainers.races import race
from explainers.surfaces import Quadratic, lattice, survey
from figures import optimizers as figures

ALL = list(OPTIMIZERS)
START = torch.tensor([[0.6, 1.4]], dtype=torch.float64)


@pytest.fixture(scope="module")
def ground():
    return survey("beale", 41)


@pytest.fixture(scope="module")
def paths():
    rates = torch.full((len(ALL), 1), 0.01, dtype=torch.float64)
    return race("beale", ALL, START, 30, rates)[:, :, 0]


def floats(values):
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def details_of(optimizer, step_count=12):
    return step_details("beale", optimizer, START[0], step_count, 0.01)


class TestMap:
    def test_every_path_and_the_dots_of_one_step(self, ground, paths):
        rates = torch.logspace(-2, 1, len(ALL))
        made = figures.race_map(ground, paths, ALL, rates, 7, str)
        kinds = [trace.type for trace in made.data]
        assert kinds == ["contour", *["scatter"] * (len(ALL) + 2)]
        for trace, path in zip(made.data[2:], paths, strict=False):
            torch.testing.assert_close(floats(trace.x), path[:, 0], rtol=1e-6, atol=1e-6)
        dots = made.data[len(ALL) + 2]
        torch.testing.assert_close(floats(dots.y), paths[:, 7, 1], rtol=1e-6, atol=1e-6)
        told = [text.split(", η = ") for text in dots.customdata]
        assert [name for name, _rate in told] == list(figures.names(str).values())
        assert [float(rate) for _name, rate in told] == pytest.approx(rates.tolist(), rel=0.01)
        assert list(made.layout.xaxis.range) == [-1.0, 4.5]

    def test_the_star_stands_on_the_minimum(self, ground, paths):
        star = figures.race_map(ground, paths, ALL, torch.ones(len(ALL)), 0, str).data[1]
        assert (star.x[0], star.y[0]) == pytest.approx((3, 0.5), abs=1e-4)

    def test_contours_rise_with_the_height(self, ground):
        z = floats(figures.contours(ground)["z"]).flatten()
        order = ground.height.flatten().argsort()
        assert (z[order].diff() >= 0).all()
        assert z.min() == 0
        assert z.max() <= figures.FINEST

    def test_where_there_is_no_height_it_counts_as_highest(self):
        z = figures.contours(survey("log(x)", 21))["z"]
        assert z[:, :10].min() > z[:, 11:].max()
        assert len(set(z[:, :10].flatten())) == 1  # and no line is drawn there

    def test_what_is_gone_leaves_a_gap(self):
        x, y = figures.drawable(torch.tensor([[1.0, 2.0], [math.inf, 1e9], [math.nan, 3.0]]))
        assert np.isnan(x).tolist() == [False, True, True]
        assert np.isnan(y).tolist() == [False, True, False]

    @pytest.mark.parametrize("optimizer", ALL)
    def test_colour_and_dash_tell_optimizers_apart(self, optimizer):
        looks = [figures.LOOKS[name] for name in ALL]
        assert looks.count(figures.LOOKS[optimizer]) == 1


class TestCurves:
    def test_heights_and_a_line_at_the_step(self, paths):
        above = figures.above_lowest(heights("beale", paths), 0.0)
        made = figures.height_curves(above, ALL, 9, str)
        assert [trace.name for trace in made.data[:-1]] == list(figures.names(str).values())
        assert list(made.data[-1].x) == [9, 9]
        torch.testing.assert_close(floats(made.data[0].y), above[0], rtol=1e-6, atol=0)
        low, high = (10**end for end in made.layout.yaxis.range)
        assert low < above.min()
        assert above.max() < high

    def test_the_lowest_point_is_not_lost_on_a_log_axis(self):
        above = figures.above_lowest(torch.tensor([[2.0, 0.0], [2.0, math.nan]]), 0.0)
        assert above[0, 1] > 0
        assert above[1, 1].isnan()
        made = figures.height_curves(above, ["sgd", "adam"], 0, str)
        assert all(map(math.isfinite, made.layout.yaxis.range))

    def test_what_diverges_runs_out_of_the_picture(self):
        above = figures.above_lowest(torch.tensor([[2.0, 1e30], [2.0, 1.0]]).double(), 0.0)
        made = figures.height_curves(above, ["sgd", "adam"], 0, str)
        assert made.layout.yaxis.range[1] < 4

    def test_where_nobody_has_a_height_the_figure_is_empty(self):
        made = figures.height_curves(torch.full((1, 3), math.nan), ["sgd"], 0, str)
        assert all(map(math.isfinite, made.layout.yaxis.range))

    @pytest.mark.parametrize(("low", "high"), [(18.0, 33.0), (11.0, 90.0), (3.0, 101.0)])
    def test_a_short_axis_leaves_its_ticks_to_plotly(self, low, high):
        """Whole powers of ten alone would leave it without a number, or with one."""
        made = figures.height_curves(torch.tensor([[high, low]]), ["sgd"], 0, str)
        assert made.layout.yaxis.dtick is None
        made = figures.height_curves(torch.tensor([[high, low / 1e4]]), ["sgd"], 0, str)
        assert made.layout.yaxis.dtick == 1

    def test_a_start_at_the_lowest_point(self):
        made = figures.height_curves(figures.above_lowest(torch.zeros(1, 3), 0.0), ["sgd"], 0, str)
        assert all(map(math.isfinite, made.layout.yaxis.range))


class TestSentences:
    def test_the_lowest_leads_and_who_has_left_is_named_from_then_on(self):
        height = torch.tensor([[5.0, 1.0, math.nan], [5.0, 2.0, 0.5]])
        told = figures.race_sentences(height, torch.tensor([2, -1]), ["sgd", "adam"], str)
        assert told[1] == "At step 1 **SGD** is lowest, at height **1**."
        assert told[2] == (
            "At step 2 **Adam** is lowest, at height **0.5**. Left the map: **SGD** at step 2."
        )

    def test_those_that_are_level_are_named_together(self):
        height = torch.tensor([[5.0, 2.0, math.nan], [5.0, 1.0, 0.5], [5.0, 1.0, 0.5]])
        three = ["sgd", "adam", "amsgrad"]
        told = figures.race_sentences(height, torch.tensor([-1, -1, -1]), three, str)
        assert told == [
            "At step 0 all are level, at height **5**.",
            "At step 1 **Adam**, **AMSGrad** are lowest and level, at height **1**.",
            "At step 2 **Adam**, **AMSGrad** are lowest and level, at height **0.5**.",
        ]

    def test_who_has_left_the_map_leads_no_more(self):
        height = torch.tensor([[5.0, 1.0, 0.1], [5.0, 2.0, 1.5]])
        pair = ["sgd", "adam"]
        told = figures.race_sentences(height, torch.tensor([2, -1]), pair, str)
        assert told[1] == "At step 1 **SGD** is lowest, at height **1**."
        assert told[2].startswith("At step 2 **Adam** is lowest, at height **1.5**. Left the map:")
        told = figures.race_sentences(height, torch.tensor([2, 1]), pair, str)
        assert told[2] == "Left the map: **SGD** at step 2, **Adam** at step 1."

    def test_where_nobody_has_a_height(self):
        height = torch.tensor([[1.0, math.nan]])
        told = figures.race_sentences(height, torch.tensor([-1]), ["sgd"], str)
        assert told[1] == "At step 1 the surface has no height where they stand."
        told = figures.race_sentences(height * math.nan, torch.tensor([1]), ["sgd"], str)
        assert told == ["The surface has no height at the start. Drag it elsewhere."] * 2

    def test_one_sentence_a_step(self):
        details = details_of("adam")
        told = figures.step_sentences(details, torch.tensor([5]), str)
        assert len(told) == 12
        gradient = details.at(1)["g"].tolist()
        assert f"gradient **({gradient[0]:.3g}, {gradient[1]:.3g})**" in told[0]
        assert "Left the map" not in told[3]
        assert told[4].endswith("Left the map: **Adam** at step 5.")

    def test_where_there_is_no_height(self):
        start = torch.tensor([0.5, 1.0], dtype=torch.float64)
        details = step_details("log(x) + y", "sgd", start, steps=2, lr=1.0)
        told = figures.step_sentences(details, torch.tensor([1]), str)
        gone = "Left the map: **SGD** at step 1."
        assert told[0] == f"Step 1: the surface has no height where it stands. {gone}"
        details = step_details("log(x) + y", "sgd", -start, steps=2, lr=1.0)
        told = figures.step_sentences(details, torch.tensor([1]), str)
        assert told == ["The surface has no height at the start. Drag it elsewhere."] * 2


class TestArithmetic:
    @pytest.mark.parametrize("optimizer", ALL)
    def test_it_ends_where_the_step_ends(self, optimizer):
        details = details_of(optimizer)
        latex = figures.arithmetic(details, 12)
        x, y = details.points[12].tolist()
        assert latex.endswith(rf"({x:.3g},\; {y:.3g})\end{{aligned}}")
        assert latex.count("{") == latex.count("}")
        assert latex.startswith(r"\begin{aligned}t &= 12, \quad \eta = 0.01")

    def test_adams_correction_is_written_out(self):
        latex = figures.arithmetic(details_of("adam"), 2)
        assert r"m_t / (1 - 0.9^{2}) = m_t / 0.19" in latex
        assert r"v_t / (1 - 0.999^{2}) = v_t / 0.002" in latex

    @pytest.mark.parametrize(
        ("optimizer", "rule"),
        [
            ("momentum", r"0.9\,u_{t-1} + g_t"),
            ("nesterov", r"-\eta\,(g_t + 0.9\,u_t)"),
            ("adagrad", r"v_{t-1} + g_t^2"),
            ("adadelta", r"0.9\,u_{t-1} + 0.1\,\delta_t^2"),
            ("rmsprop", r"0.99\,v_{t-1} + 0.01\,g_t^2"),
            ("adamw", r"- \eta\,0.01\,x_{t-1}"),
            ("amsgrad", r"\max_{s \le t} v_s"),
            ("nadam", r"\mu_{t+1}\,m_t"),
        ],
    )
    def test_every_rule_in_its_own_words(self, optimizer, rule):
        assert rule in figures.arithmetic(details_of(optimizer), 3)

    @pytest.mark.parametrize("step", [1, 3, 6])
    def test_nadams_momenta_are_torchs(self, step):
        point = START[0].clone().requires_grad_()
        rule, products = torch.optim.NAdam([point], lr=0.01), [1.0]
        for _step in range(step + 1):
            point.grad = torch.ones_like(point)
            rule.step()
            products.append(rule.state[point]["mu_product"].item())
        wanted = [products[at] / products[at - 1] for at in (step, step + 1)] + [products[step]]
        told = figures.arithmetic(details_of("nadam"), step).split(r"\\")[1]
        found = [float(number) for number in re.findall(r"= (\d[\d.]*)", told)]
        assert found == pytest.approx(wanted, rel=5e-3)

    def test_what_diverged_is_written_as_such(self):
        details = step_details("rosenbrock", "sgd", torch.tensor([1e3, 1e3]), 9, 1.0)
        assert r"\text{NaN}" in figures.arithmetic(details, 9)

    def test_facts_of_a_step(self):
        assert figures.step_facts(details_of("adam"), 2)["correction"] == pytest.approx(0.19)
        assert "correction" not in figures.step_facts(details_of("sgd"), 2)
        assert "correction" not in figures.step_facts(details_of("nadam"), 2)

    def test_updates_along_both_axes(self):
        details = details_of("momentum")
        made = figures.update_curves(details, 4, str)
        moved = details.points.diff(dim=0)
        torch.testing.assert_close(floats(made.data[1].y), moved[:, 1], rtol=1e-6, atol=1e-9)
        assert list(made.data[0].x) == list(range(1, 13))
        assert list(made.data[2].x) == [4, 4]

    def test_the_dot_stands_on_the_path(self, ground):
        details = details_of("adam")
        dot = figures.closeup_map(ground, details, 6, str).data[3]
        assert dot.x[0] == pytest.approx(details.points[6, 0].item(), rel=1e-6)


class TestBasins:
    def found(self, side=20, lr=0.05):
        ground = survey("saddle", 41)
        starts = lattice(ground.window, side, side, dtype=torch.float64).reshape(-1, 2)
        ends = basins("saddle", "sgd", starts, 40, lr, ground.minima, ground.window)
        return ends, ground

    def test_a_colour_is_a_minimum(self):
        ends, ground = self.found()
        cells = figures.basin_map(ends, ground, 20, 40, "minimum", "SGD", str).data[0]
        z = floats(cells.z)
        colours = [colour for _place, colour in cells.colorscale]
        count = len(colours) // 2
        assert count == 2 + 2 * figures.SHADES
        reached = ends.minimum.reshape(20, 20)
        shade = (z - 2) // figures.SHADES
        assert (shade[reached >= 0] == reached[reached >= 0]).all()
        assert (z[reached < 0] < 2).all()
        assert cells.zmin == -0.5
        assert cells.zmax == count - 0.5

    def test_no_other_minimum_has_the_colour_of_the_lowest(self):
        minimum = torch.arange(20)
        nothing, never = torch.zeros(20), torch.zeros(20, dtype=torch.bool)
        shades = figures._shades(Basins(minimum, torch.zeros_like(minimum), never, nothing), 40)
        drawn = [(shade - 2) // figures.SHADES for shade in shades.tolist()]
        assert drawn[:6] == [0, 1, 2, 3, 4, 5]
        assert 0 not in drawn[1:]
        assert all(one != other for one, other in itertools.pairwise(drawn[1:]))

    def test_what_leaves_and_what_is_still_on_its_way(self):
        ends, ground = self.found(lr=2.0)
        z = floats(figures.basin_map(ends, ground, 20, 40, "minimum", "", str).data[0].z)
        assert (z[ends.left.reshape(20, 20)] == 1).all()
        ends, ground = self.found(lr=1e-6)
        z = floats(figures.basin_map(ends, ground, 20, 40, "minimum", "", str).data[0].z)
        assert (z == 0).float().mean() > 0.9

    def test_steps_have_gaps_where_none_is_reached(self):
        ends, ground = self.found()
        made = figures.basin_map(ends, ground, 20, 40, "steps", "SGD", str)
        z, settled = floats(made.data[0].z).flatten(), ends.settled
        assert (z.isnan() == (settled < 0)).all()
        assert (z[settled >= 0] == settled[settled >= 0]).all()
        assert made.layout.title.text == "SGD"

    def test_where_none_is_reached_no_step_is_told(self):
        ends, ground = self.found(lr=0.02)
        told = figures.basin_map(ends, ground, 20, 40, "minimum", "", str).data[0].customdata
        settled = ends.settled.reshape(20, 20).tolist()
        assert {at < 0 for row in settled for at in row} == {True, False}
        for row, steps in zip(told, settled, strict=True):
            assert list(row) == ["–" if at < 0 else at for at in steps]

    def test_far_minima_are_paler(self):
        assert figures._mixed("#009E73", 0) == "#009e73"
        assert figures._mixed("#009E73", 1) == "#ffffff"


class TestRates:
    def test_curves_edges_and_numbers(self):
        bowl, grid = Quadratic(10), rate_grid(1e-4, 1e3, 50)
        sweep = sweep_rates(bowl, ALL, torch.tensor([[1.0, 1.0]]).double(), 50, grid)
        edges = {"sgd": 0.2, "momentum": 0.38, "nesterov": 0.136}
        made = figures.rate_curves(sweep, ALL, edges, str)
        assert [line.x0 for line in made.layout.shapes] == [0.2, 0.38, 0.136]
        notes = made.layout.annotations
        assert [note.text for note in notes] == ["Nesterov", "SGD", "Momentum"]
        assert [10**note.x for note in notes] == pytest.approx([0.136, 0.2, 0.38])
        assert [note.xanchor for note in notes] == ["right", "center", "left"]
        y = floats(made.data[0].y)
        shown = sweep.height[0] <= 1e6
        assert (y.isnan() == ~shown).all()
        assert figures.rate_numbers(sweep, ALL, edges, 5.5)["edge"] == "0.2"

    @pytest.mark.parametrize("condition_number", [1, 10, 300])
    def test_the_rates_told_are_where_the_curves_are_lowest(self, condition_number):
        bowl, grid = Quadratic(condition_number), rate_grid(1e-4, 1e3, 211)
        sweep = sweep_rates(bowl, ALL, torch.tensor([bowl.start]).double(), 200, grid)
        made = figures.rate_curves(sweep, ALL, {}, str)
        began = float(bowl(torch.tensor(bowl.start)))
        told = figures.rate_numbers(sweep, ALL, {"sgd": 2 / condition_number}, began)
        step = 10 ** (7 / 210)
        assert 2 / condition_number < float(told["met"]) < 2 / condition_number * step * 1.01
        for name, curve in zip(ALL, made.data, strict=True):
            at = np.argmin(np.abs(np.log(curve.x) - math.log(float(told[name]))))
            assert curve.y[at] == np.nanmin(curve.y)

    def test_the_edges_worked_out(self):
        edges = {
            "sgd": largest_stable_rate(50),
            "momentum": largest_stable_rate(50, 0.9),
            "nesterov": largest_stable_rate(50, 0.9, nesterov=True),
        }
        latex = figures.edge_formula(50, 0.9, edges)
        assert re.findall(r"mathbf\{([\d.]+)\}", latex) == ["0.04", "0.076", "0.0271"]


class TestNoise:
    NOISY = ("sgd", "adam")

    def noisy(self):
        rates, levels = torch.tensor([0.05, 0.1]).double(), torch.tensor([0.0, 1.0]).double()
        start, generator = torch.tensor([1.0, 1.0]).double(), torch.Generator().manual_seed(0)
        return noisy_descents("quadratic", self.NOISY, start, 20, rates, levels, 11, generator)

    def test_rows_in_the_order_of_the_traces(self):
        noisy, theory = self.noisy(), torch.stack([torch.zeros(21), torch.rand(21)]).double()
        rows = figures.noise_rows(noisy, theory)
        made = figures.noise_curves(noisy, theory, self.NOISY, 1, str)
        assert len(rows) == len(made.data) == 7
        for trace, row in zip(made.data, rows, strict=True):
            assert floats(trace.y).float().equal(row[1])
        torch.testing.assert_close(rows[3].double(), noisy.low[:, 1], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(rows[5].double(), noisy.mean[:, 1], rtol=1e-6, atol=1e-6)
        assert rows[6][0].tolist() == pytest.approx([1e-6] * 21)
        assert list(made.data[6].x) == list(range(21))
        assert made.data[2].name == "SGD"

    def test_clouds_of_ends(self):
        noisy, ground = self.noisy(), survey("quadratic", 21)
        made = figures.noise_clouds(noisy, ground, self.NOISY, 1)
        torch.testing.assert_close(
            floats(made.data[2].y), noisy.ends[1, 1, :, 1], rtol=1e-6, atol=1e-6
        )

    def test_heights_at_the_end(self):
        noisy = self.noisy()
        last = figures.last_heights(noisy, self.NOISY)
        assert last["adam"].tolist() == noisy.mean[:, 1, -1].tolist()


class TestWords:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("x" * 300, Reason.LENGTH),
            ("-" * 100 + "x", Reason.DEPTH),
            ("x +", Reason.SYNTAX),
            ("x[0]", Reason.OPERATION),
            ("foo", Reason.NAME),
            ("1e999*x", Reason.NUMBER),
            ("x**y", Reason.EXPONENT),
            ("3", Reason.CONSTANT),
        ],
    )
    def test_every_refusal_is_a_sentence(self, text, reason):
        with pytest.raises(ExpressionError) as refused:
            parse(text)
        assert refused.value.reason == reason
        sentence = figures.refusal(refused.value, str)
        assert sentence.endswith(".")
        assert "{" not in sentence
        assert len(sentence) < 200

    @pytest.mark.parametrize(
        "text",
        [
            "'[Sign in](//e.io)'",
            "'![](//e.io/a.png)'",
            "'`[a](//e.io)`'",
            "'``' + '**a**'",
            "'$a$'",
        ],
    )
    def test_what_was_typed_is_shown_as_code(self, text):
        """A code span ends at the next run of as many backticks (CommonMark 0.31, section 6.1)."""
        with pytest.raises(ExpressionError) as refused:
            parse(text)
        sentence = figures.refusal(refused.value, str)
        runs = re.split("(`+)", sentence)
        end = runs.index(runs[1], 2)
        assert "".join(runs[2:end]) == f" {refused.value.part[:40]} "
        assert runs[end + 1].startswith(" cannot be used.")

    def test_a_surface_that_is_nowhere(self):
        with pytest.raises(ExpressionError) as refused:
            survey("sqrt(-1 - x**2)")
        assert "no height" in figures.refusal(refused.value, str)

    def test_the_nearest_positions(self):
        axes = [[0.0, 0.1, 0.2], [5.0, 6.0]]
        assert figures.nearest(axes, (0.14, 9.0)) == [0.1, 6.0]
        assert figures.nearest(axes, (-3, 5.4)) == [0.0, 5.0]
