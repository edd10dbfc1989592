"""Attention maps: which channels, which places, and which patches belong together."""

import math

import torch

from explainers import attention_maps as explain
from explainers import patch_attention
from explainers.attended_photo import compare_mechanisms, look_with_cbam, mean_gates
from explainers.clutter import hide
from explainers.models.imagenet import CLASSES, crop_box
from explainers.models.selfie_segmentation import gate_names, sweep_gate, trace_gates
from explainers.models.vit_s14 import LAYERS, attend
from figures import attention_maps as figures
from ui import chooser
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page
from ui.painting import Painting

STRENGTHS = positions(0.0, 2.0, 0.1)
NOBODY = 0.005  # share of the photo below which a mask is nothing

page = Page("attention_maps")
photo = chooser.current()


def looked_at(step):
    """The transformer's queries and keys; it runs once a photo."""
    whole = page.value("picture") == "whole"
    return step.once(photo, attend, step.network("vit_s14"), step.image(photo), whole)


@page.step
def gates(step):
    names = figures.block_names(gate_names(), _)
    block = step.choice(_("Block"), names, "enc.0", key="block", wide=True)
    options = {"live": False, "play": True, "ticks": {0.0: _("off"), 1.0: _("trained"), 2.0: "2"}}
    strength = step.live_slider(
        _("Strength of the gates"), STRENGTHS, 1.0, key="strength", **options
    )
    network, image = step.network("selfie_segmentation"), step.image(photo)
    every = step.once(photo, trace_gates, network, image)
    gate = every[gate_names().index(block)]
    channels, first = range(len(gate.gate)), int(gate.gate.argmax())
    step.live_slider(_("Channel shown"), channels, first, key="channel", live=False)
    step.reset()
    masks = step.once(photo, sweep_gate, network, image, block, torch.tensor(STRENGTHS))
    strengths, channel = step.topic("strength"), step.topic("channel")
    left, right = step.sides(2)
    step.stage(photo, figures.mask_layers(masks, strengths, _), key="mask", place=left)
    step.stage(photo, figures.channel_layers(gate, channel, _), key="channel_map", place=right)
    covered = masks.mean(dim=(1, 2))
    found = covered[STRENGTHS.index(1.0)] > NOBODY
    nobody = _("It was made for selfies and finds nobody here: change the photo above.")
    step.says(
        block=names[block],
        widths=figures.gate_widths(gate),
        least=float(gate.gate.min()),
        most=float(gate.gate.max()),
        strength=Follow([strengths], [f"{s:g}" for s in STRENGTHS]),
        covered=Follow([strengths], [f"{c:.1%}" for c in covered.tolist()]),
        note="" if found else nobody,
    )
    if not found:
        with step.canvas:
            chooser.offer("astronaut", key="attention_maps.gates.offer")
    step.figure(figures.gate_flow(gate, _), key="flow", points_at={2: channel})
    step.figure(figures.channel_tiles(gate, _), key="tiles")
    step.fact(covered=100 * covered[STRENGTHS.index(strength)], gate_channels=len(gate.gate))
    step.data(gate=gate.gate)


@page.step
def places(step):
    parts_of = {
        "both": _("Channels, then places"),
        "swapped": _("Places, then channels"),
        "channel": _("Channels alone"),
        "spatial": _("Places alone"),
    }
    shown = step.choice(_("Gates"), parts_of, "both", key="cbam", wide=True)
    seed = step.number(_("Clutter"), 122, 0, 999, key="clutter")
    step.reset()
    network, image = step.network("attended_mobilenet_v2", "cbam"), step.image(photo)
    options = {
        "order": "spatial_first" if shown == "swapped" else "channel_first",
        "channel": shown != "spatial",
        "spatial": shown != "channel",
    }
    alone = step.run(look_with_cbam, network, image, **options)
    hidden = step.run(hide, image, image, torch.Generator().manual_seed(seed))
    found = step.run(look_with_cbam, network, hidden.picture, **options, whole=True)
    cut = step.run(look_with_cbam, network, hidden.clean, whole=True)
    side = hidden.picture.shape[0]
    gate = found.parts.spatial[0, 0]
    step.recipe.alias(gate, found.parts.spatial, "{}[0, 0]")
    means = step.run(mean_gates, gate, hidden.box, side)
    left, right = step.sides(2)
    extent = crop_box(photo.height, photo.width)
    layers = figures.place_layers(alone.parts.spatial[0, 0], extent, _)
    step.stage(photo, layers, key="photo", place=left)
    painting = Painting(hidden.picture.numpy() / 255, 2 * side, 2 * side)
    whole = (0.0, 0.0, 2.0 * side, 2.0 * side)
    frame = [2 * corner for corner in hidden.box]
    layers = figures.place_layers(gate, whole, _, frame)
    step.stage(painting, layers, key="hidden", place=right)
    step.says(
        **vars(means),
        alone=CLASSES[cut.plain_probabilities.argmax()],
        plain=CLASSES[found.plain_probabilities.argmax()],
        attended=CLASSES[found.probabilities.argmax()],
    )
    step.figure(figures.channel_paths(alone.parts, _), key="channels")
    step.figure(figures.place_tiles(alone.parts, _), key="maps")
    step.fact(**vars(means))
    step.data(spatial=alone.parts.spatial[0, 0])


def middle_patch(attended):
    return attended.rows // 2 * attended.columns + attended.columns // 2


@page.step
def patches(step):
    step.presets(
        {
            _("Nearby"): {"layer": 1, "head": "0", "look": "patch"},
            _("Same object"): {"layer": 11, "head": "mean", "look": "patch"},
            _("Class token"): {"layer": 12, "head": "mean", "look": "class"},
        }
    )
    kinds = {"patch": _("A patch"), "class": _("Class token"), "rollout": _("Rollout")}
    look = step.choice(_("Look from"), kinds, "patch", key="look", wide=True)
    heads = {"mean": _("mean"), **{str(h): str(h + 1) for h in range(6)}}
    head = step.choice(_("Head"), heads, "mean", key="head", wide=True)
    numbers = range(1, LAYERS + 1)
    layer = step.live_slider(_("Layer"), numbers, 11, key="layer", live=False, play=True) - 1
    framing = {"whole": _("Whole photo"), "crop": _("Square from its middle")}
    step.choice(_("The network sees"), framing, "whole", key="picture", wide=True)
    step.reset()
    attended = looked_at(step)
    topic, middle = step.topic("layer"), middle_patch(attended)
    if look == "rollout":
        maps = step.run(patch_attention.rollout_maps, attended)
    else:
        maps = step.run(patch_attention.patch_maps, attended, None if head == "mean" else int(head))
    if look == "class":
        layers = figures.class_layers(maps, attended.extent, topic, _)
    else:
        layers = figures.patch_layers(maps, attended.extent, middle, topic, _)
    seen = step.stage(photo, layers)
    patch = seen.cell if seen.cell is not None else middle
    largest = maps.class_largest if look == "class" else maps.largest[:, patch]
    step.fact(patches=attended.rows * attended.columns, patch=patch, largest=100 * largest[layer])
    step.says(
        rows=attended.rows,
        columns=attended.columns,
        layer=Follow([topic], [str(n) for n in numbers]),
        largest=Follow([topic], [f"{v:.1%}" for v in largest.tolist()]),
        whose=figures.shared_out(look, patch, attended.columns, _),
    )
    every = step.run(patch_attention.head_maps, attended, patch)
    shown = figures.drawn_heads(every)
    sweeps = [Sweep(topic, h, "z", shown[:, h]) for h in range(6)]
    step.figure(figures.head_figure(every, layer, _), key="heads", sweeps=sweeps)
    step.data(attention=maps.patches[layer].flatten(1))


def along(told):
    """What is told along several sliders, each name by itself."""
    names = next(iter(told.values()))
    return {n: [Follow([topic], values[n]) for topic, values in told.items()] for n in names}


@page.step
def scores(step):
    options = {"live": False, "play": True}
    head = step.live_slider(_("Head"), range(1, 7), 1, key="score_head", **options) - 1
    numbers = range(1, LAYERS + 1)
    layer = step.live_slider(_("Layer"), numbers, 6, key="score_layer", **options) - 1
    step.reset()
    attended = looked_at(step)
    grid = attended.rows, attended.columns
    pinned = [page.pinned(name, photo, math.prod(grid)) for name in ("scores", "patches")]
    patch = next((p for p in pinned if p is not None), middle_patch(attended))
    pointed, by_layer, by_head = map(step.topic, ("score_patch", "score_layer", "score_head"))
    axes = {
        pointed: step.run(patch_attention.patch_scores, attended, None, layer, head),
        by_layer: step.run(patch_attention.patch_scores, attended, patch, None, head),
        by_head: step.run(patch_attention.patch_scores, attended, patch, layer, None),
    }
    left, right = step.sides(2)
    step.stage(photo, figures.weight_layers(axes, pointed, attended, patch, _), place=left)
    sweeps = [
        Sweep(topic, trace, "y", values)
        for topic, found in axes.items()
        for trace, values in enumerate(figures.ranked(found))
    ]
    found = axes[by_layer]
    chart = figures.score_figure(found, layer, _)
    step.figure(chart, key="weights", sweeps=sweeps, place=right)
    step.says(**along({t: figures.score_words(f, grid[1]) for t, f in axes.items()}))
    tables = {t: figures.score_table(f, grid[1], _) for t, f in axes.items()}
    step.live_table(along(tables), key="table")
    step.fact(**vars(step.run(patch_attention.summarize_scores, found, layer)))
    step.data(product=found.products[layer], score=found.scores[layer], weight=found.weights[layer])


@page.step
def depth(step):
    attended = looked_at(step)
    distances = step.run(patch_attention.head_distances, attended)
    colours = step.run(patch_attention.patch_colours, attended)
    left, right = step.sides(2)
    step.figure(
        figures.distance_figure(distances, page.value("layer") - 1, _), key="distance", place=left
    )
    x1, y1, x2, y2 = attended.extent
    painting = Painting(colours.numpy(), round(x2 - x1), round(y2 - y1))
    step.stage(painting, [], key="colours", place=right)
    (near, far), (later_near, later_far) = distances[:4].aminmax(), distances[-4:].aminmax()
    step.says(near=near, far=far, later_near=later_near, later_far=later_far)
    step.fact(nearest=near)
    step.data(distance=distances)


@page.step
def compare(step):
    networks = [step.network("attended_mobilenet_v2", kind) for kind in ("se", "cbam")]
    found = step.run(compare_mechanisms, *networks, step.image(photo))
    extent = crop_box(photo.height, photo.width)
    sides = [*step.sides(2), *step.sides(2)]
    shown = figures.mechanism_layers(found, extent, _).items()
    for number, (title, layers) in enumerate(shown):
        side = sides[number]
        side.markdown(f"**{title}**")
        step.stage(photo, layers, key=f"stage_{number}", place=side)
    channels, (rows, columns) = len(found.se_gate), found.spatial_gate.shape
    costs = {
        kind: step.run(explain.attention_cost, kind, channels, rows, columns)
        for kind in figures.MECHANISMS
    }
    step.says(channels=channels, rows=rows, columns=columns, parameters=costs["cbam"].parameters)
    step.table(figures.cost_table(costs, _), place=step.canvas)
    step.fact(cbam_parameters=costs["cbam"].parameters)
    step.data(spatial_gate=found.spatial_gate)


page.close()
