"""The segmenter against the outputs of the network that its weights come from."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from explainers.models.selfie_segmentation import (
    Gate,
    SelfieSegmentation,
    gate_names,
    preprocess,
    segment,
    selfie_segmentation,
    sweep_gate,
    trace_gates,
)

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "selfie_segmentation.json").read_text())

# Channels that the gate looks at, between its layers, and weighed; side of the map.
SHAPES = {
    "enc.0": (16, 8, 16, 64),
    "enc.3": (96, 24, 96, 16),
    "enc.4": (128, 32, 128, 16),
    "enc.5": (128, 32, 128, 16),
    "enc.6": (96, 24, 96, 16),
    "enc.7": (96, 24, 96, 16),
    "context": (32, 0, 128, 16),
    "up.0": (24, 24, 24, 32),
    "up.1": (16, 16, 16, 64),
    "up.2": (16, 16, 16, 128),
}


@pytest.fixture(scope="module")
def network() -> SelfieSegmentation:
    return selfie_segmentation()


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return pixels("astronaut.jpg")


@pytest.fixture(scope="module")
def gates(network: SelfieSegmentation, photo: Tensor) -> dict[str, Gate]:
    return {gate.name: gate for gate in trace_gates(network, photo)}


def pixels(photo: str) -> Tensor:
    return torch.from_numpy(np.array(Image.open(PHOTOS / photo).convert("RGB")))


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_masks_are_the_golden_ones(network: SelfieSegmentation, photo: str) -> None:
    expected, tolerance = GOLDEN["photos"][photo], GOLDEN["mean_tolerance"]
    mask = segment(network, pixels(photo))
    assert mask.shape == (256, 256)
    assert mask.dtype == torch.float32
    assert ((mask >= 0) & (mask <= 1)).all()
    assert mask.mean().item() == pytest.approx(expected["mean"], abs=tolerance)
    assert (mask > 0.5).float().mean().item() == pytest.approx(expected["over_half"], abs=tolerance)


def test_gates_have_the_shapes_of_their_blocks(gates: dict[str, Gate]) -> None:
    assert tuple(gates) == gate_names() == tuple(SHAPES)
    for name, (seen, squeezed, channels, side) in SHAPES.items():
        gate = gates[name]
        assert gate.pooled.shape == (seen,)
        assert gate.squeezed.shape == (squeezed,)
        assert gate.gate.shape == (channels,)
        assert gate.features.shape == (channels, side, side)
        assert ((gate.gate >= 0) & (gate.gate <= 1)).all()
        assert (gate.squeezed >= 0).all()


@pytest.mark.parametrize("name", [name for name in SHAPES if name.startswith("enc")])
def test_gates_follow_from_the_means(
    network: SelfieSegmentation, gates: dict[str, Gate], name: str
) -> None:
    gate, se = gates[name], network.get_submodule(f"{name}.se")
    assert_close(gate.pooled, functional.adaptive_avg_pool2d(gate.features, 1).flatten())
    squeezed = functional.linear(gate.pooled, se.reduce.weight[:, :, 0, 0], se.reduce.bias)
    assert_close(gate.squeezed, squeezed.clamp(min=0), atol=1e-5, rtol=1e-4)
    logits = functional.linear(gate.squeezed, se.expand.weight[:, :, 0, 0], se.expand.bias)
    assert_close(gate.gate, 1 / (1 + (-logits).exp()), atol=1e-5, rtol=1e-4)


def test_masks_follow_from_the_last_gate(
    network: SelfieSegmentation, photo: Tensor, gates: dict[str, Gate]
) -> None:
    """The end of the network once more, as the table in the source of the weights has it."""
    inputs: list[Tensor] = []
    reduced = network.up[2].reduce.register_forward_hook(lambda *call: inputs.append(call[-1]))
    mask = segment(network, photo)
    reduced.remove()
    last, weights = gates["up.2"], dict(network.up[2].named_parameters())
    skipped = nn.functional.conv2d(
        functional.pad(preprocess(photo), (0, 1, 0, 1)),
        network.stem.weight,
        network.stem.bias,
        stride=2,
    )
    skipped = skipped * (skipped + 3).clamp(0, 6) / 6
    assert_close(last.features, skipped[0], atol=1e-4, rtol=1e-4)
    y = skipped * last.gate[:, None, None] + inputs[0]
    y = functional.conv2d(y, weights["fuse.weight"], weights["fuse.bias"]).relu()
    filtered = functional.conv2d(y, weights["dw.weight"], weights["dw.bias"], padding=1, groups=16)
    y = y + filtered.relu()
    logits = functional.conv_transpose2d(y, network.head.weight, network.head.bias, stride=2)
    assert_close(mask, logits[0, 0].sigmoid(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("block", SHAPES)
def test_sweep_passes_through_the_trained_network(
    network: SelfieSegmentation, photo: Tensor, block: str
) -> None:
    masks = sweep_gate(network, photo, block, torch.tensor([0.0, 1.0, 2.5]))
    assert masks.shape == (3, 256, 256)
    assert_close(masks[1], segment(network, photo), atol=1e-3, rtol=0)
    assert (masks[0] - masks[1]).abs().max() > 0.01
    assert (masks[2] - masks[1]).abs().max() > 0.01
    one_by_one = [
        sweep_gate(network, photo, block, torch.tensor([strength]))[0] for strength in (0.0, 2.5)
    ]
    assert_close(masks[[0, 2]], torch.stack(one_by_one), atol=1e-3, rtol=0)


@pytest.mark.parametrize("block", ["enc.4", "up.1"])
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_strengths_are_changes_of_the_gates_bias(
    photo: Tensor, gates: dict[str, Gate], block: str, strength: float
) -> None:
    """A network whose gate ignores the photo and always gives the wanted factors, below 1."""
    factors = (1 + strength * (gates[block].gate - 1)).clamp(1e-6, 1 - 1e-6)
    fixed = selfie_segmentation()
    last = fixed.get_submodule(f"{block}.se.expand")
    last.weight.zero_()
    last.bias.copy_(factors.logit())
    swept = sweep_gate(selfie_segmentation(), photo, block, torch.tensor([strength]))
    assert_close(swept[0], segment(fixed, photo), atol=2e-3, rtol=0)


def test_sweep_of_nothing_is_empty(network: SelfieSegmentation, photo: Tensor) -> None:
    assert sweep_gate(network, photo, "enc.4", torch.zeros(0)).shape == (0, 256, 256)


def test_sweep_takes_double_precision(network: SelfieSegmentation, photo: Tensor) -> None:
    strengths = torch.tensor([0.3, 40.0], dtype=torch.float64)
    masks = sweep_gate(network, photo, "context", strengths)
    assert masks.isfinite().all()
    assert_close(masks, sweep_gate(network, photo, "context", strengths.float()))


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_strengths_out_of_range_are_refused(
    network: SelfieSegmentation, photo: Tensor, strength: float
) -> None:
    with pytest.raises(ValueError, match="strengths must be"):
        sweep_gate(network, photo, "enc.0", torch.tensor([1.0, strength]))


@pytest.mark.parametrize("block", ["enc.1", "stem", ""])
def test_blocks_without_a_gate_are_refused(
    network: SelfieSegmentation, photo: Tensor, block: str
) -> None:
    with pytest.raises(ValueError, match=r"block must be one of enc\.0, enc\.3"):
        sweep_gate(network, photo, block, torch.ones(1))


@pytest.mark.parametrize("shape", [(1, 1), (30, 1000), (1000, 1)])
def test_any_photo_is_read(network: SelfieSegmentation, shape: tuple[int, int]) -> None:
    image = torch.full((*shape, 3), 128, dtype=torch.uint8)
    assert_close(preprocess(image), torch.full((1, 3, 256, 256), 128 / 255))
    assert segment(network, image).isfinite().all()
    assert len(trace_gates(network, image)) == 10


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_photo_is_refused(network: SelfieSegmentation) -> None:
    with pytest.raises(ValueError, match="image"):
        segment(network, torch.zeros(0, 4, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="x must have the shape"):
        network(torch.zeros(1, 3, 224, 224))


def test_weights_are_the_published_number_and_need_no_gradient(network: SelfieSegmentation) -> None:
    assert sum(p.numel() for p in network.parameters()) == 106_401
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_a_batch_is_its_pictures_one_by_one(network: SelfieSegmentation) -> None:
    pictures = [preprocess(pixels(photo)) for photo in ("chelsea.jpg", "pisa.jpg")]
    alone = torch.cat([network(picture) for picture in pictures])
    assert_close(network(torch.cat(pictures)), alone, atol=1e-4, rtol=0)


def test_runs_the_same_on_every_device(
    network: SelfieSegmentation, photo: Tensor, device: torch.device
) -> None:
    there = copy.deepcopy(network).to(device)
    strengths = torch.tensor([0.0, 1.0, 2.0])
    for block in ("enc.4", "up.1"):
        here = sweep_gate(network, photo, block, strengths)
        swept = sweep_gate(there, photo.to(device), block, strengths.to(device))
        assert swept.device.type == device.type
        assert_close(swept.cpu(), here, atol=0.02, rtol=0)


def test_double_precision_agrees(photo: Tensor) -> None:
    x = preprocess(photo)
    expected = selfie_segmentation()(x).double()
    assert_close(selfie_segmentation().double()(x.double()), expected, atol=1e-3, rtol=0)


def test_threads_share_one_network(network: SelfieSegmentation) -> None:
    images = [pixels(photo) for photo in ("chelsea.jpg", "coffee.jpg")] * 3
    alone = [segment(network, image) for image in images[:2]] * 3
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda image: segment(network, image), images))
    for one, other in zip(alone, together, strict=True):
        assert_close(one, other)
