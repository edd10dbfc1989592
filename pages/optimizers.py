"""Optimizers: ten rules race down one slope, and what start, rate and noise do to them."""

import streamlit as st
import torch

from explainers import descents, races, surfaces
from explainers import optimizers as explain
from explainers.expressions import ExpressionError
from figures import optimizers as figures
from figures.words import readable
from ui import chooser
from ui.address import say, unless_default
from ui.language import translate as _
from ui.live.figure import Grip, Sweep
from ui.live.sentence import Follow
from ui.live.slider import move, positions
from ui.page import Page

ALL, NOISY = list(explain.OPTIMIZERS), ["sgd", "momentum", "rmsprop", "adam"]
STEPS, SWEPT, SIDE, DRAWS = 200, 100, 100, 40
FACTORS = positions(0.01, 100.0, 20, "log")
MEMORIES = positions(0.05, 0.99, 0.01)
LONG_MEMORIES = [0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999]
CONDITIONS = sorted({round(c) for c in positions(1.0, 1000.0, 10, "log")})
LEVELS = positions(0.0, 5.0, 0.5)
EXAMPLE = "sin(3*x) * cos(3*y) + (x**2 + y**2) / 4"

page = Page("optimizers")
photo = chooser.current()


def formula(step):
    """What the visitor has typed, kept in the session and in the address."""
    page.follow("formula")
    asked = st.query_params.get("formula", EXAMPLE)[:500]
    return st.session_state.setdefault(step.topic("formula"), asked)


def formula_field(step):
    formula(step)
    label, key = _("Height, as an expression in x and y"), step.topic("formula")
    options = {"on_change": step.rerun, "args": ("formula",), "persist_state": "session"}
    with step.canvas:
        st.text_input(label, key=key, **options)
    say({"formula": unless_default(formula(step), EXAMPLE)})


def survey(step, name):
    """What explainers take for a surface, and its survey: none if the surface cannot be used."""
    surface = step.run(surfaces.align, step.image(photo)) if name == "photo" else name
    surface = formula(step) if name == "typed" else surface
    try:
        return surface, step.run(surfaces.survey, surface)
    except ExpressionError as error:
        step.empty(figures.refusal(error, _))
        return surface, None


def factor_slider(step, key, label=None):
    return step.live_slider(label or _("Learning rates, × fair rate"), FACTORS, 1.0, key=key)


def own_factors(step):
    """How many times the fair rate each optimizer takes: one number for all, or one for each."""
    kinds = {"all": _("Together"), "each": _("One by one")}
    if step.choice(_("Learning rates"), kinds, "all", key="rates") == "all":
        return factor_slider(step, "factor")
    label, names = _("Learning rates, × fair rate"), list(figures.names(_).values())
    span = {"low": -2.0, "high": 2.0, "step": 0.05}
    options = {"key": "factors", "stacked": True, "power": True, **span}
    powers = step.live_bars(label, names, [0.0] * len(ALL), **options)
    return 10 ** torch.tensor(powers, dtype=torch.float64)


def start_point(step, name, ground):
    """Where to start, dragged on the map or set by two sliders: a new surface brings its own."""
    axes = [positions(float(low), float(high), (high - low) / 100) for low, high in ground.window]
    default = figures.nearest(axes, ground.start)
    if st.session_state.setdefault("optimizers.start_on", name) != name:
        st.session_state["optimizers.start_on"] = name
        for key, value in zip("xy", default, strict=True):
            move(step.topic(key), value, key)
    labels = _("Start, x"), _("Start, y")
    given = zip(labels, axes, default, "xy", strict=True)
    start = [step.live_slider(label, axis, value, key=key) for label, axis, value, key in given]
    return start, Grip(step.topic("x"), step.topic("y"), *axes)


def memory_sliders(step, known):
    """How long an optimizer remembers."""
    if "betas" in known:
        beta1 = step.live_slider("β₁", MEMORIES, 0.9, key="beta1")
        return {"betas": (beta1, step.live_slider("β₂", LONG_MEMORIES, 0.999, key="beta2"))}
    signs = {"momentum": "μ", "rho": "ρ", "alpha": "α"}
    own = {name: sign for name, sign in signs.items() if known.get(name)}
    return {n: step.live_slider(sign, MEMORIES, known[n], key=n) for n, sign in own.items()}


def follow(topic, trace, points):
    """Let a trace follow a slider to points `[positions, n, 2]`."""
    x, y = figures.drawable(points)
    return [Sweep(topic, trace, "x", x), Sweep(topic, trace, "y", y)]


@page.step
def race(step):
    name = step.choice(_("Surface"), figures.surface_names(_), "beale", key="surface", wide=True)
    if name == "typed":
        formula_field(step)
    surface, ground = survey(step, name)
    if ground is None:
        return
    start, grip = start_point(step, name, ground)
    start = torch.tensor([start], dtype=torch.float64)
    factors, steps = own_factors(step), range(STEPS + 1)
    at = step.live_slider(_("Step"), steps, 40, key="step", live=False, play=True)
    step.reset()
    rates = step.run(descents.fair_rates, surface, ALL, STEPS, ground.lowest) * factors
    paths = step.run(races.race, surface, ALL, start, STEPS, rates[:, None])
    heights = step.run(explain.heights, surface, paths)[:, :, 0]
    left = step.run(explain.left_at, paths, ground.window)[:, 0]
    paths, topic, sides = paths[:, :, 0], step.topic("step"), step.sides(2)
    dots = follow(topic, len(ALL) + 2, paths.transpose(0, 1))
    chart = figures.race_map(ground, paths, ALL, rates, at, _)
    step.figure(chart, key="map", sweeps=dots, grip=grip, place=sides[0])
    chart = figures.height_curves(figures.above_lowest(heights, ground.lowest), ALL, at, _)
    line = [Sweep(topic, len(ALL), "x", figures.upright(steps))]
    step.figure(chart, key="curves", sweeps=line, place=sides[1])
    step.says(told=Follow([topic], figures.race_sentences(heights, left, ALL, _)))
    step.data(step=steps, **dict(zip(ALL, heights, strict=True)))


@page.step
def closeup(step):
    surface, ground = survey(step, page.value("surface"))
    if ground is None:
        return
    optimizer = step.choice(_("Optimizer"), figures.names(_), "adam", key="one", wide=True)
    factor = factor_slider(step, "rate", _("Learning rate, × fair rate"))
    steps = range(1, STEPS + 1)
    hyper = memory_sliders(step, explain.OPTIMIZERS[optimizer].hyper)
    at = step.live_slider(_("Step"), steps, 10, key="t", live=False, play=True)
    step.reset()
    rates = step.run(descents.fair_rates, surface, ALL, STEPS, ground.lowest) * factor
    lr = float(rates[ALL.index(optimizer)])
    start = torch.tensor([page.value("x"), page.value("y")], dtype=torch.float64)
    details = step.run(explain.step_details, surface, optimizer, start, STEPS, lr, **hyper)
    left = explain.left_at(details.points[:, None], ground.window)
    topic, sides = step.topic("t"), step.sides(2)
    dot = follow(topic, 3, details.points[1:, None])
    chart = figures.closeup_map(ground, details, at, _)
    step.figure(chart, key="path", sweeps=dot, place=sides[0])
    chart = figures.update_curves(details, at, _)
    line = [Sweep(topic, 2, "x", figures.upright(steps))]
    step.figure(chart, key="updates", sweeps=line, place=sides[1])
    step.says(told=Follow([topic], figures.step_sentences(details, left, _)))
    step.formula(figures.arithmetic(details, at))
    step.fact(**figures.step_facts(details, at))
    step.data(x=details.points[:, 0], y=details.points[:, 1], height=details.height)


@page.step
def basins(step):
    grounds = {**figures.surface_names(_), "typed": _("Typed in step 1")}
    name = step.choice(_("Surface"), grounds, "photo", key="where", wide=True)
    names = figures.names(_)
    titles = [_("Left: {name}, η = {rate}"), _("Right: {name}, η = {rate}")]
    one = step.choice(_("Left"), names, "sgd", key="left", wide=True)
    other = step.choice(_("Right"), names, "adam", key="right", wide=True)
    factor = factor_slider(step, "times")
    kinds = {"minimum": _("Minimum"), "steps": _("Steps")}
    kind = step.choice(_("Colour"), kinds, "minimum", key="colour")
    step.reset()
    surface, ground = survey(step, name)
    if ground is None:
        return
    grid = step.run(surfaces.lattice, ground.window, SIDE, SIDE)
    starts = grid.reshape(-1, 2)
    step.recipe.alias(starts, grid, "{}.reshape(-1, 2)")
    reach = (ground.window[0][1] - ground.window[0][0]) / 50
    numbers = {"starts": len(starts), "minima": len(ground.minima), "steps": SWEPT}
    pairs = zip(("left", "right"), (one, other), titles, step.sides(2), strict=True)
    for side, optimizer, title, place in pairs:
        fair = step.run(descents.fair_rates, surface, [optimizer], SWEPT, ground.lowest)
        lr = float(fair) * factor
        given = surface, optimizer, starts, SWEPT, lr, ground.minima, ground.window, reach
        ends = step.run(descents.basins, *given)
        heights = ground.minimum_heights
        counts = step.run(descents.count_basins, ends, heights, ground.lowest)
        title = title.format(name=names[optimizer], rate=readable(lr))
        chart = figures.basin_map(ends, ground, SIDE, SWEPT, kind, title, _)
        step.figure(chart, key=f"{side}_map", place=place)
        numbers |= {side: names[optimizer], f"{side}_share": counts.lowest / len(starts)}
        step.fact(**{f"{side}_percent": 100 * counts.lowest / len(starts)})
        step.data(**{f"{side}_minimum": ends.minimum, f"{side}_steps": ends.settled})
    step.fact(starts=len(starts), minima=len(ground.minima))
    step.says(**numbers)


@page.step
def rates(step):
    condition = step.live_slider(_("Condition number"), CONDITIONS, 10, key="condition")
    degrees = {"0": _("along x and y"), "30": _("turned by 30°")}
    turned = step.choice(_("Axes of the bowl"), degrees, "0", key="axes")
    step.reset()
    bowl = surfaces.Quadratic(condition, int(turned))
    start = torch.tensor([bowl.start], dtype=torch.float64)
    grid = step.run(descents.rate_grid, 1e-4, 1e3, 211)
    sweep = step.run(descents.sweep_rates, bowl, ALL, start, STEPS, grid)
    began = float(step.run(explain.heights, bowl, start))
    steepest = float(step.run(surfaces.curvatures, bowl, start)[0, 1])
    momenta = {"sgd": (0.0, False), "momentum": (0.9, False), "nesterov": (0.9, True)}
    edge = descents.largest_stable_rate
    edges = {name: step.run(edge, steepest, *given) for name, given in momenta.items()}
    step.figure(figures.rate_curves(sweep, ALL, edges, _), key="sweep")
    step.says(**figures.rate_numbers(sweep, ALL, edges, began), condition=condition)
    step.formula(figures.edge_formula(steepest, 0.9, edges))
    step.fact(**{f"edge_{name}": at for name, at in edges.items()})
    step.data(rate=sweep.rates, **dict(zip(ALL, sweep.height, strict=True)))


@page.step
def noise(step):
    factor, played = factor_slider(step, "scale"), {"live": False, "play": True}
    level = step.live_slider(_("Noise on the gradient"), LEVELS, 1.0, key="noise", **played)
    generator = torch.Generator().manual_seed(step.number(_("Seed"), 0, 0, 999, key="seed"))
    step.reset()
    near = surfaces.Quadratic(10, window=figures.CLOUD_WINDOW)
    ground = step.run(surfaces.survey, near)
    start, levels = (torch.tensor(n, dtype=torch.float64) for n in (ground.start, LEVELS))
    own = step.run(descents.fair_rates, "quadratic", NOISY, STEPS, 0.0) * factor
    given = "quadratic", NOISY, start, STEPS, own, levels, DRAWS, generator
    noisy = step.run(descents.noisy_descents, *given)
    curved = step.run(surfaces.curvatures, "quadratic", start[None])[0]
    sgd = curved, float(own[0]), levels
    theory = step.run(descents.expected_heights, start, *sgd, STEPS)
    floor = step.run(descents.noise_floor, *sgd)
    at, topic, sides = LEVELS.index(level), step.topic("noise"), step.sides(2)
    clouds = [s for k in range(len(NOISY)) for s in follow(topic, k + 1, noisy.ends[:, k])]
    chart = figures.noise_clouds(noisy, ground, NOISY, at)
    step.figure(chart, key="clouds", sweeps=clouds, place=sides[0])
    bands = [Sweep(topic, k, "y", rows) for k, rows in enumerate(figures.noise_rows(noisy, theory))]
    chart = figures.noise_curves(noisy, theory, NOISY, at, _)
    step.figure(chart, key="bands", sweeps=bands, place=sides[1])
    last = {"level": levels, "theory": theory[:, -1]}
    shown = {**last, **figures.last_heights(noisy, NOISY)}
    step.says(draws=DRAWS, **{n: Follow([topic], figures.told(v, _)) for n, v in shown.items()})
    step.fact(floor=floor[at], lr_sgd=own[0], level=level)
    step.data(**shown)


page.close()
