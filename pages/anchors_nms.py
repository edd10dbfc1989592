"""Anchors & NMS: boxes at every place, which of them count, and which of them stay."""

import torch

from explainers import anchors_nms as explain
from explainers.boxes import iou_parts
from explainers.models.ssd_mobilenet_v2 import LABELS, detect, ssd_anchors, ssd_maps
from figures import anchors_nms as figures
from ui import chooser, samples
from ui.language import translate as _
from ui.live.figure import Sweep
from ui.live.sentence import Follow
from ui.live.slider import positions
from ui.page import Page

RATIOS = {"one": [1.0], "three": [0.5, 1.0, 2.0], "tall": [1.0, 2.0, 3.0]}
SHAPES = {"one": "1:1", "three": "2:1, 1:1, 1:2", "tall": "1:1, 1:2, 1:3"}
SCALES = [16, 24, 32, 48, 64, 96, 128, 192, 256]
SHARES = positions(0.0, 1.0, 0.01)
LIMITS = positions(0.0, 1.0, 0.02)  # each between two bars of the histogram
SCORES = positions(0.1, 0.95, 0.01)
LEASTS = positions(0.01, 0.6, 0.01)
MOST_DRAWN = 20_000
PAIR = [(0.2, 0.25, 0.6, 0.7), (0.4, 0.4, 0.8, 0.85)]

page = Page("anchors_nms")
photo = chooser.current()
size = (photo.height, photo.width)


def lay_out(step):
    """Anchors as the first step's controls say, and the grids that they stand on."""
    if page.value("layout") == "ssd":
        return step.run(ssd_anchors, size), step.run(ssd_maps, size)
    stride, ratios = page.value("stride"), RATIOS[page.value("ratios")]
    scales = [page.value("size") * 2**octave for octave in range(page.value("sizes"))]
    anchors = step.run(explain.make_anchors, size, stride, scales, ratios)
    return anchors, (step.run(explain.anchor_map, size, stride, len(scales) * len(ratios)),)


def detected(step):
    """The SSD's candidates on the photo; the network runs once a photo."""
    return step.once(photo, detect, step.network("ssd_mobilenet_v2"), step.image(photo), SCORES[0])


def answers(step):
    """What the detector answers on this photo after suppression."""
    found = detected(step)
    kept = explain.nms(found.boxes, found.scores, 0.5, found.classes)
    return found.boxes[kept[found.scores[kept] > 0.25]].tolist()


def candidates(step, least=0.0):
    """Boxes, scores and names of the chosen source, best first, and the classes if NMS minds."""
    if page.value("source") == "simulated":
        middle = [photo.width / 4, photo.height / 4, photo.width * 3 / 4, photo.height * 3 / 4]
        objects = torch.tensor(page.drawn("matching", "objects") or [middle], dtype=torch.float32)
        generator = torch.Generator().manual_seed(0)
        found = step.run(explain.simulate_candidates, objects, size, generator)
        names = [_("simulated")]
    else:
        all_found = detected(step)
        found = all_found.boxes, all_found.scores, all_found.classes
        names = [_(label) for label in LABELS]
    best = step.run(explain.rank_candidates, *found, score_threshold=least)
    if not len(best.scores):
        step.empty(_("No candidate reaches the score threshold above."))
    told = [names[k] for k in best.classes.tolist()]
    return best.boxes, best.scores, told, best.classes if page.value("per_class") else None


@page.step
def layout(step):
    one = {"layout": "grid", "stride": 16, "sizes": 3, "ratios": "three"}
    small, tall = {**one, "stride": 8, "size": 16}, {**one, "size": 32, "ratios": "tall"}
    presets = {"Faster R-CNN": {**one, "size": 128}, _("Small objects"): small}
    step.presets({**presets, _("Tall objects"): tall, "SSD": {"layout": "ssd"}})
    kinds = {"grid": _("One grid"), "ssd": _("The SSD's six maps")}
    level = 0
    if step.choice(_("Anchors"), kinds, "grid", key="layout") == "ssd":
        names = [f"{m.rows} × {m.columns}" for m in ssd_maps(size)]
        options = {"key": "level", "format_value": names.__getitem__}
        level = step.live_slider(_("Feature map"), range(len(names)), 1, **options)
    else:
        step.live_slider(_("Stride"), [8, 16, 32, 64], 16, key="stride", unit="px")
        step.live_slider(_("Smallest scale"), SCALES, 64, key="size", unit="px")
        step.live_slider(_("Scales, each twice the one before"), [1, 2, 3, 4], 3, key="sizes")
        step.choice(_("Width : height"), SHAPES, "three", key="ratios", wide=True)
    step.reset()
    anchors, grids = lay_out(step)
    counts = step.run(explain.count_layout, anchors, size)
    step.fact(anchors=counts.anchors, inside=counts.inside, per_cell=grids[level].per_cell)
    if not counts.anchors:
        step.empty(_("The photo is smaller than one cell. Choose a smaller stride."))
        return
    hint = _("Point at a cell to see its anchors, one colour a scale. Click to pin it.")
    layers = figures.grid_layers(anchors, grids[level], hint)
    step.stage(photo, layers, margin=0.15)
    cells = " + ".join(f"{g.rows} × {g.columns} × {g.per_cell}" for g in grids)
    step.says(cells=cells, share=counts.inside / counts.anchors, **vars(counts))
    step.data(**dict(zip(("x1", "y1", "x2", "y2"), anchors.T, strict=True)))


@page.step
def matching(step):
    own = samples.objects(photo)
    objects = step.boxes(photo, own or answers(step), key="objects")
    sets = {_("By hand"): lambda: own} if own else {}
    detector = {_("Detector's boxes"): lambda: answers(step), _("Clear"): list}
    step.replace(objects, {**sets, **detector})
    above = step.live_slider(_("Positive above IoU"), LIMITS, 0.7, key="positive", live=False)
    below = step.live_slider(_("Negative below IoU"), LIMITS, 0.3, key="negative", live=False)
    kinds = {"matched": _("Positive, ignored"), "all": _("All"), "batch": _("Mini-batch of 256")}
    kind = step.choice(_("Show"), kinds, "matched", key="show", wide=True)
    seed = step.number(_("Seed"), 0, 0, 999, key="seed") if kind == "batch" else 0
    step.reset()
    anchors, _grids = lay_out(step)
    truth = torch.tensor(objects.corners, dtype=torch.float32).reshape(-1, 4)
    match = step.run(explain.match_anchors, anchors, truth, above, min(below, above))
    counts = step.run(explain.count_labels, match)
    sweep = step.run(explain.sweep_labels, match, torch.tensor(LIMITS), torch.tensor(LIMITS))
    topics = step.topic("positive"), step.topic("negative")
    sent = match.level.topk(min(len(anchors), MOST_DRAWN)).indices
    shown = figures.divided(match.level[sent], LIMITS, *topics, negative=kind == "all")
    if kind == "batch":
        generator = torch.Generator().manual_seed(seed)
        batch = step.run(explain.sample_minibatch, match.label, generator)
        shown = figures.sampled(batch, sent)
    hint = _("Drag on the photo to draw an object. Drag a box to move it, its edges to resize it.")
    layers = figures.matching_layers(anchors, match, sent, shown, truth, hint)
    seen = step.stage(photo, layers, drawn=objects, margin=0.1)
    picked = sent[seen.picked[1]] if seen.picked else match.best_anchor[:1].clamp(min=0).sum()
    step.fact(**vars(counts), objects=len(truth), picked=picked)
    none = _("There is no object yet. Drag a box around one on the photo.")
    told = {k: Follow(topics[: n.ndim], figures.grouped(n)) for k, n in vars(sweep).items()}
    step.says("" if len(truth) else none, objects=len(truth), **told)
    bars = step.run(explain.iou_histogram, match.iou, len(LIMITS) - 1)
    sweeps = [Sweep(*moved) for moved in figures.histogram_sweeps(bars, LIMITS, *topics)]
    step.figure(figures.iou_histogram(bars, above, below, _), key="histogram", sweeps=sweeps)
    step.data(label=match.label, matched=match.matched, iou=match.iou)


@page.step
def target(step):
    truth = torch.tensor(page.drawn("matching", "objects"), dtype=torch.float32).reshape(-1, 4)
    anchors, _grids = lay_out(step)
    if not len(truth) or not len(anchors):
        step.empty(_("There is no object yet. Draw one in the step above."))
        return
    above, below = page.value("positive"), page.value("negative")
    match = step.run(explain.match_anchors, anchors, truth, above, min(below, above))
    picked = min(int(page.fact("matching", "picked")), len(anchors) - 1)
    number = int(match.matched[picked])
    anchor, box = anchors[picked], truth[number]
    step.stage(photo, figures.target_layers(anchor, box, str(number + 1), _), margin=0.1)
    step.says(object=number + 1, iou=match.iou[picked])
    step.formula(figures.target_formula(anchor, box))
    step.table(figures.object_table(match, step.run(explain.positives_per_object, match), _))


@page.step
def suppression(step):
    kinds = {"detector": _("SSD's boxes"), "simulated": _("Simulated")}
    step.choice(_("Candidates"), kinds, "detector", key="source")
    iou = step.live_slider(_("IoU threshold"), SHARES, 0.5, key="iou", live=False, play=True)
    score = step.live_slider(_("Score threshold"), SCORES, 0.25, key="score", live=False)
    step.switch(_("Each class by itself"), True, key="per_class")
    step.reset()
    boxes, scores, names, classes = candidates(step)
    if not (scores >= 0.25).any():
        step.empty(
            _("The detector is sure of nothing here: it knows 23 classes.")
            + " "
            + _("Choose the simulated candidates, or another photo.")
        )
        return
    kept = step.run(explain.sweep_nms, boxes, scores, torch.tensor(SHARES), classes)
    left = step.run(explain.survivors, kept, scores, torch.tensor(SCORES))
    of_iou, of_score = topics = step.topic("iou"), step.topic("score")
    labels = figures.labelled(names, scores)
    layers = figures.sweep_layers(boxes, scores, kept, labels, of_iou, of_score, SCORES)
    step.stage(photo, layers)
    at = SCORES.index(score)
    step.fact(survivors=left[SHARES.index(iou), at], candidates=left[-1, at])
    step.says(
        iou=Follow([of_iou], [f"{v:.2f}" for v in SHARES]),
        score=Follow([of_score], [f"{v:.2f}" for v in SCORES]),
        left=Follow(topics, left),
        all=Follow([of_score], left[-1]),
    )
    here = torch.tensor(SHARES)[:, None].expand(-1, 2)
    sweeps = [Sweep(of_score, 0, "y", left.T.short()), Sweep(of_iou, 1, "x", here)]
    step.figure(figures.survivor_curve(SHARES, left[:, at], _), key="curve", sweeps=sweeps)
    step.data(iou_threshold=SHARES, survivors=left[:, at])


@page.step
def replay(step):
    boxes, scores, names, classes = candidates(step, page.value("score"))
    if not len(boxes):
        return
    steps = step.run(explain.nms_steps, boxes, scores, page.value("iou"), classes)
    states = step.run(explain.suppression_states, steps)
    step.live_slider(_("Step"), range(len(states)), 1, key="round", live=False, play=True)
    topic, labels = step.topic("round"), figures.labelled(names, scores)
    layers = figures.replay_layers(boxes, scores, states, labels, topic)
    step.stage(photo, layers)
    step.says(told=Follow([topic], figures.replay_sentences(steps, labels, _)))
    step.fact(rounds=len(steps.kept), dropped_first=(steps.removed_at == 0).sum() - 1)
    step.data(score=scores, removed_by=steps.removed_by, removed_iou=steps.removed_iou)


@page.step
def soft(step):
    kinds = {"gaussian": _("Gaussian"), "linear": _("Linear")}
    method = step.choice(_("Decay"), kinds, "gaussian", key="decay")
    sigma = 0.5
    if method == "gaussian":
        sigma = step.live_slider("σ", positions(0.1, 1.0, 0.05), sigma, key="sigma")
    least = step.live_slider(_("Lowest final score"), LEASTS, 0.2, key="least", live=False)
    step.reset()
    boxes, scores, names, classes = candidates(step, page.value("score"))
    if not len(boxes):
        return
    options = {"iou_threshold": page.value("iou"), "sigma": sigma, "classes": classes}
    every = ("hard", "linear", "gaussian")
    after = {m: step.run(explain.scores_after, boxes, scores, m, **options) for m in every}
    topic, borders = step.topic("least"), torch.tensor(LEASTS)
    left = {"least": [f"{border:.2f}" for border in LEASTS]}
    titles = {"hard": _("Hard NMS"), method: f"Soft-NMS · {kinds[method]}"}
    for side, kind, name in zip(step.sides(2), ("hard", "soft"), titles, strict=True):
        side.markdown(f"**{titles[name]}**")
        layers = figures.soft_layers(boxes, after[name], names, name, topic, LEASTS)
        step.stage(photo, layers, key=f"stage_{name}", place=side)
        left[kind] = step.run(explain.count_at_least, after[name], borders)
    step.says(method=kinds[method], **{k: Follow([topic], told) for k, told in left.items()})
    line = [Sweep(topic, 4, "y", borders[:, None].expand(-1, 2))]
    chart = figures.score_decay(scores, after, names, least, _)
    step.figure(chart, key="decay_chart", sweeps=line)
    step.data(score=scores, **after)


@page.step
def worked(step):
    scale = (photo.width, photo.height) * 2
    default = [[n * side for n, side in zip(box, scale, strict=True)] for box in PAIR]
    pair = step.boxes(photo, default, key="pair")
    step.replace(pair, {_("Reset"): lambda: default})
    boxes = torch.tensor(pair.corners, dtype=torch.float32).reshape(-1, 4)
    parts = step.run(iou_parts, boxes[0], boxes[1]) if len(boxes) == 2 else None
    layers = figures.worked_layers(boxes, parts, _("Drag the boxes A and B."))
    step.stage(photo, layers, drawn=pair)
    if parts is None:
        step.empty(_("Two boxes are needed. Draw or delete until there are two."))
        return
    step.formula(figures.iou_formula(parts))
    step.fact(iou=parts.iou, intersection=parts.intersection, union=parts.union)


page.close()
