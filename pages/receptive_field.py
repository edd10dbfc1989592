"""Receptive fields: what one unit sees of the photo, which pixels count, and how much."""

from explainers import receptive_field as explain
from explainers.models.imagenet import crop_box
from explainers.receptive_field import PRESETS, Layer
from figures import receptive_field as figures
from ui import chooser
from ui.language import translate as _
from ui.page import Page
from ui.table import Column, Format

NUMBERS = ("kernel_size", "stride", "padding", "dilation")
MOST_LAYERS, WIDEST = 64, 9_999
TRIPLES = {"2-2-2": [2, 2, 2], "1-2-5": [1, 2, 5], "1-2-9": [1, 2, 9], "2-4-8": [2, 4, 8]}
OTHERS = {"hdc": TRIPLES["1-2-5"], "dense": [1, 1, 1]}
TURNS = {"1": [1], "2": [2], "1-2-5": [1, 2, 5]}
DEPTHS = [1, 2, 3, 6, 9, 12, 18, 24]
FEW, MANY = 12, 24  # whole turns of the dilations, past the depth to which all counts
DRAWS = 6
RATES = {"l": [6, 12, 18, 24], "s": [2, 4, 8, 12], "v3": [6, 12, 18]}

page = Page("receptive_field")
photo = chooser.current()
size = (photo.height, photo.width)


def joined(numbers):
    return "-".join(map(str, numbers))


def read(text):
    """The rows of the layers' table."""
    layers = explain.read_stack(text)
    if layers and explain.receptive_fields(layers)[-1].size > WIDEST:
        sentence = _("The last layer would see more than {most:,} pixels: use smaller numbers.")
        raise ValueError(sentence.format(most=WIDEST))
    return figures.layer_rows(layers, size)


def write(rows):
    """The text of the layers' table."""
    return explain.write_stack([Layer(*(row[name] for name in NUMBERS)) for row in rows])


def random_network():
    """Dilations, activation and weights as the step on the effective field says."""
    options = {name: page.value(name) for name in ("activation", "weights")}
    return TURNS[page.value("turn")], options


@page.step
def stack(step):
    last = {name: {"stack": name, "layer": len(PRESETS[name]) - 1} for name in PRESETS}
    step.presets({label: last[name] for name, label in figures.PRESETS.items()})
    columns = {
        "name": Column(_("Layer"), 70),
        "kernel_size": Column(_("Kernel"), 78, 1, 31),
        "stride": Column(_("Stride"), 78, 1, 8),
        "dilation": Column(_("Dilation"), 88, 1, 64),
        "padding": Column(_("Padding"), 88, 0, 99),
        "output": Column(_("Map"), 76),
        "field": Column(_("Field"), 56),
        "jump": Column(_("Spacing"), 56),
    }
    form = Format(columns, read, write, most=MOST_LAYERS)
    options = {"key": "stack", "add": _("Add a layer"), "place": step.canvas}
    text = step.editor(_("Layers; the first reads the photo"), "vgg16", form, **options)
    step.reset()
    layers = step.run(explain.read_stack, text)
    fields = step.run(explain.receptive_fields, layers)
    found = step.run(explain.describe_stack, layers, size)
    step.figure(figures.growth(layers, fields, _), key="growth")
    step.formula(figures.growth_formula(layers, fields))
    step.says(**vars(found))
    step.fact(**vars(found))
    step.data(size=[field.size for field in fields], stride=[field.stride for field in fields])


@page.step
def on_photo(step):
    layers = step.run(explain.read_stack, page.value("stack"))
    names = [layer.name for layer in layers]
    options = {"key": "layer", "format_value": names.__getitem__, "play": True}
    chosen = step.live_slider(_("Layer"), range(len(layers)), len(layers) - 1, **options)
    factor = step.live_slider(_("All dilations times"), [1, 2, 3, 4], 1, key="dilate")
    step.reset()
    layers = step.run(explain.dilate, layers, factor)
    margin = max(step.run(explain.receptive_fields, layers)[-1].padding / side for side in size)
    layers = layers[: chosen + 1]
    fields = step.run(explain.receptive_fields, layers)
    found = step.run(explain.describe_stack, layers, size)
    if not found.rows * found.columns:
        step.empty(_("The photo is too small for these layers: nothing is left of the map."))
        return
    hint = _("Point at a unit of the layer to see its field. Click to pin it.")
    (units,) = shown = figures.unit_layers(fields, found.rows, found.columns, hint)
    seen = step.stage(photo, shown, margin=min(margin + 0.02, 1))
    row, column = divmod(units.cell if seen.cell is None else seen.cell, found.columns)
    y, x = (fields[-1].first_centre + place * found.jump for place in (row, column))
    box = step.run(explain.concentric_boxes, fields, x, y)[-1]
    outside = step.run(explain.outside_share, box, size)
    step.says(layer=names[chosen], side=found.field, x=x, y=y, outside=outside)
    step.fact(outside_percent=100 * outside)


@page.step
def touch(step):
    sets = {label: {f"r{n}": r for n, r in enumerate(t, 1)} for label, t in TRIPLES.items()}
    step.presets(sets)
    label = _("Dilation of layer {n}")
    rates = [step.live_slider(label.format(n=n), range(1, 10), 2, key=f"r{n}") for n in (1, 2, 3)]
    kinds = {"hdc": "HDC 1-2-5", "dense": _("no dilation")}
    others = OTHERS[step.choice(_("Compare with"), kinds, "hdc", key="other")]
    step.reset()
    counts, compared = (
        step.run(explain.touch_counts, [Layer(3, dilation=rate) for rate in some])
        for some in (rates, others)
    )
    pairs = ((rates, counts), (others, compared))
    panels = [(joined(some), step.run(explain.touch_map, paths)) for some, paths in pairs]
    step.figure(figures.touches(panels, _), key="touches")
    found = step.run(explain.count_touched, counts)
    rule = step.run(explain.hdc_check, rates)
    told = figures.verdict(rule, _)
    step.says(rates=joined(rates), side=len(counts), told=told, **vars(found))
    step.formula(figures.gaps_formula(rates))
    step.fact(**vars(found), gap=rule.gaps[0])
    step.data(paths=counts)


@page.step
def effective(step):
    depth = step.live_slider(_("Depth"), range(1, DEPTHS[-1] + 1), 18, key="depth", play=True)
    step.choice(_("Dilations in turn"), {name: name for name in TURNS}, "1", key="turn")
    kinds = {"linear": _("none"), "relu": "ReLU", "tanh": "tanh"}
    step.choice(_("Activation"), kinds, "relu", key="activation")
    kinds = {"normal": _("random"), "uniform": _("all equal")}
    step.choice(_("Weights"), kinds, "normal", key="weights")
    step.reset()
    dilations, options = random_network()
    layers = step.run(explain.cycle_layers, depth, dilations)
    gradient = step.run(explain.effective_receptive_field, layers, draws=DRAWS, **options)
    spacing = step.run(explain.touch_spacing, layers)
    found = step.run(explain.effective_size, gradient, spacing=spacing)
    widest = explain.receptive_fields(explain.cycle_layers(DEPTHS[-1], dilations))[-1].size
    chart = figures.gradient_map(gradient, found, widest, _)
    step.figure(chart, key="gradient")
    side = len(gradient)
    step.says(depth=depth, side=side, effective=found, share=(found / side) ** 2)
    step.fact(theoretical_side=side, effective_side=found)


@page.step
def law(step):
    dilations, options = random_network()
    sweep = step.run(explain.sweep_depth, DEPTHS, dilations, draws=DRAWS, **options)
    step.figure(figures.depth_law(sweep, page.value("depth"), _), key="law")
    few, many = DEPTHS.index(FEW), DEPTHS.index(MANY)
    growth, theory = (x[many] / x[few] for x in (sweep.effective, sweep.theoretical))
    sizes = {"few": sweep.effective[few], "many": sweep.effective[many]}
    step.says(few_layers=FEW, many_layers=MANY, **sizes, ratio=growth, theoretical=theory)
    step.data(**vars(sweep))


@page.step
def trained(step):
    kinds = {"trained": _("after training"), "random": _("random")}
    kind = step.choice(_("Weights of MobileNetV2"), kinds, "trained", key="net")
    layers = PRESETS["mobilenet_v2"]
    block = step.live_slider(_("Block"), range(len(layers)), 13, key="block", live=False)
    step.reset()
    network, image = step.network("mobilenet_v2"), step.image(photo)
    step.recipe.alias(features := network.features, network, "{}.features")
    if kind == "random":
        features = step.run(explain.untrained, features, image)
    gradient = step.run(explain.network_receptive_field, features, image, block)
    found = step.run(explain.effective_size, gradient)
    box = step.run(explain.middle_box, layers[: block + 1], len(gradient))
    shown = figures.network_layers(gradient, crop_box(*size), box, found, _)
    step.stage(photo, shown, margin=0.1)
    step.says(block=block, side=box[2] - box[0], effective=found)
    step.fact(network_side=found)


@page.step
def aspp(step):
    kinds = {name: joined(rates) for name, rates in RATES.items()}
    rates = RATES[step.choice(_("Dilations"), kinds, "l", key="rates", wide=True)]
    stride = step.live_slider(_("Output stride"), [4, 8, 16, 32], 8, key="os", unit="px")
    step.reset()
    rows, columns = (-(-side // stride) for side in size)
    branches = [Layer(3, dilation=rate) for rate in rates]
    hint = _("Point at a cell to see which cells the branches read. Click to pin it.")
    (taps,) = shown = figures.branch_layers(branches, stride, rows, columns, hint)
    beyond = max(rates[-1] * stride / side - 0.5 for side in size)  # around the middle cell
    seen = step.stage(photo, shown, margin=min(max(beyond + 0.1, 0.3), 1))
    row, column = divmod(taps.cell if seen.cell is None else seen.cell, columns)
    cells = (rows, columns)
    inside = sum(step.run(explain.count_inside, one, cells, row, column) for one in branches)
    step.says(taps=9 * len(branches), inside=inside, pixels=branches[-1].extent * stride)
    step.fact(inside_taps=inside)


page.close()
