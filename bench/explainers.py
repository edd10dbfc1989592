"""How long the explainers take that have to keep up with a slider, run as the pages run them."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench import plain
from bench.measure import Measure
from explainers.anchors_nms import make_anchors, match_anchors, nms, sweep_nms
from explainers.attention_maps import scaled_dot_product_attention
from explainers.boxes import box_iou
from explainers.descents import rate_grid, sweep_rates
from explainers.initialization import (
    Propagation,
    compare_schemes,
    propagate,
    random_inputs,
)
from explainers.models.mobilenet_v2 import classify
from explainers.models.ssd_mobilenet_v2 import preprocess
from explainers.models.vit_s14 import attend
from explainers.optimizers import OPTIMIZERS, StepDetails, step_details, trajectories
from explainers.races import race
from explainers.surfaces import SURFACES, Quadratic, lattice
from ui.run import current_calls, network, run
from ui.samples import DEFAULT, sample

HEIGHT, WIDTH = 640, 800
STRIDE, SCALES, RATIOS = 16, (32, 64, 128, 256, 512), (0.5, 2.0)
ANCHORS, OBJECTS, CANDIDATES, THRESHOLDS = 20_000, 10, 500, 101


def measures(repetitions: int) -> list[Measure]:
    """What each explainer takes by itself, then beside the same in plain torch."""
    return [*by_themselves(repetitions), *beside_plain_torch(repetitions)]


def by_themselves(repetitions: int) -> Iterator[Measure]:
    generator = torch.Generator().manual_seed(0)
    objects, boxes = random_boxes(OBJECTS, generator), random_boxes(CANDIDATES, generator)
    scores = torch.rand(CANDIDATES, generator=generator)
    thresholds = torch.linspace(0, 1, THRESHOLDS)
    image = torch.from_numpy(sample(DEFAULT).array())
    detector, classifier = network("ssd_mobilenet_v2"), network("mobilenet_v2")
    transformer = network("vit_s14")
    starts = lattice(SURFACES["beale"].window, 100, 100).reshape(-1, 2)
    rates, start = rate_grid(1e-4, 1e3, 200), starts[:1].double()
    inputs = random_inputs(64, 256, generator)
    timed = {
        f"{ANCHORS:,} anchors laid out, matched against {OBJECTS} objects": (
            lambda: run(lay_out_and_match, objects),
            "≤ 50",
        ),
        f"{THRESHOLDS} thresholds swept over {CANDIDATES} candidates": (
            lambda: run(sweep_nms, boxes, scores, thresholds),
            "≤ 50",
        ),
        "SSD forward": (lambda: run(forward, detector, image), "≤ 250"),
        "MobileNetV2 forward": (lambda: run(classify, classifier, image), "≤ 100"),
        "ViT forward": (lambda: run(attend, transformer, image), "≤ 400"),
        f"{len(starts):,} starts, 200 steps of Adam": (
            lambda: run(trajectories, "beale", "adam", starts, 200, 0.05),
            "≤ 1000",
        ),
        f"{len(rates)} rates, {len(OPTIMIZERS)} optimizers, 200 steps": (
            lambda: run(sweep_rates, Quadratic(10), list(OPTIMIZERS), start, 200, rates),
            "≤ 1000",
        ),
        "Every initialization, 50 layers of 256 units": (
            lambda: run(compare_schemes, inputs, 50, "relu", generator, width=256),
            "≤ 1000",
        ),
        f"{len(OPTIMIZERS)} optimizers race, 200 steps": (race_all, "≤ 100"),
        "All quantities of one descent, 200 steps": (follow_one, "≤ 100"),
        "A signal through 50 layers of 128 units and back": (send_signal, "≤ 100"),
    }
    for name, (call, wanted) in timed.items():
        yield Measure.of(name, times(call, repetitions), "ms", wanted)


def beside_plain_torch(repetitions: int) -> Iterator[Measure]:
    """Ours, in turn with the plainest torch, and with torchvision's where it is installed."""
    generator = torch.Generator().manual_seed(0)
    boxes = random_boxes(CANDIDATES, generator)
    scores = torch.rand(CANDIDATES, generator=generator)
    thresholds = torch.linspace(0, 1, THRESHOLDS)
    heads = torch.randn(3, 6, 257, 64, generator=generator)
    starts = lattice(SURFACES["beale"].window, 100, 100).reshape(-1, 2)
    pairs: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
        "box_iou": (box_iou, plain.box_iou, (boxes, boxes)),
        "nms": (nms, plain.nms, (boxes, scores, 0.5)),
        "sweep_nms": (sweep_nms, plain.sweep_nms, (boxes, scores, thresholds)),
        "attention": (scaled_dot_product_attention, plain.attention, tuple(heads)),
        "trajectories": (adam, plain.trajectories, ("beale", starts, 200, 0.05)),
    }
    for name, (ours, others, arguments) in pairs.items():
        yield from ratio(name, "plain torch", ours, others, arguments, repetitions)
    try:
        from torchvision import ops
    except ImportError:
        return
    yield from ratio("box_iou", "torchvision", box_iou, ops.box_iou, (boxes, boxes), repetitions)
    yield from ratio("nms", "torchvision", nms, ops.nms, (boxes, scores, 0.5), repetitions)


def ratio(
    name: str,
    beside: str,
    ours: Callable[..., Any],
    others: Callable[..., Any],
    arguments: tuple[Any, ...],
    repetitions: int,
) -> Iterator[Measure]:
    taken: dict[Callable[..., Any], list[float]] = {ours: [], others: []}
    for _ in range(repetitions):
        for call, found in taken.items():
            found += times(lambda call=call: run(call, *arguments), 1, warm_up=1)
    mine = Measure.of(name, taken[ours], "ms")
    yield mine
    share = mine.value / Measure.of("", taken[others], "ms").value
    yield Measure(f"{name}, ours : {beside}, medians", share, "")


def adam(surface: str, starts: torch.Tensor, steps: int, lr: float) -> torch.Tensor:
    return trajectories(surface, "adam", starts, steps, lr)


def race_all() -> torch.Tensor:
    """What a new start asks for on the page of the optimizers."""
    rates = torch.full((len(OPTIMIZERS), 1), 0.01, dtype=torch.float64)
    start = torch.tensor([SURFACES["beale"].start], dtype=torch.float64)
    return run(race, "beale", list(OPTIMIZERS), start, 200, rates)


def follow_one() -> StepDetails:
    """What follows from it."""
    start = torch.tensor(SURFACES["beale"].start, dtype=torch.float64)
    return run(step_details, "beale", "adam", start, 200, 0.01)


def send_signal() -> Propagation:
    """What another number of layers asks for first on the page of initialization."""
    generator = torch.Generator().manual_seed(0)
    inputs = random_inputs(32, 64, generator)
    return run(propagate, inputs, 50, "xavier_normal", "relu", generator, width=128)


def lay_out_and_match(objects: torch.Tensor) -> torch.Tensor:
    anchors = make_anchors((HEIGHT, WIDTH), STRIDE, SCALES, RATIOS, device=objects.device)
    assert len(anchors) == ANCHORS
    return match_anchors(anchors, objects).label


def forward(detector: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
    return detector(preprocess(image)).logits


def random_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    places = torch.rand(count, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT]) * 0.7
    sizes = 30 + torch.rand(count, 2, generator=generator) * 200
    return torch.cat([places, places + sizes], dim=1)


def times(call: Callable[[], Any], repetitions: int, warm_up: int = 2) -> list[float]:
    """Milliseconds; the first calls, which load and allocate, do not count."""
    for _ in range(warm_up):
        call()
    calls = current_calls.set([])
    try:
        for _ in range(repetitions):
            call()
        return [c.milliseconds for c in current_calls.get()]
    finally:
        current_calls.reset(calls)
