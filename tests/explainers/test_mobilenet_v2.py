"""The classifier against the outputs of the network that its weights come from."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from explainers.models.imagenet import CLASSES, imagenet_input
from explainers.models.mobilenet_v2 import MobileNetV2, classify, mobilenet_v2
from explainers.models.shipped import load_weights

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "mobilenet_v2.json").read_text())


@pytest.fixture(scope="module")
def network() -> MobileNetV2:
    return mobilenet_v2()


def pixels(photo: str) -> Tensor:
    return torch.from_numpy(np.array(Image.open(PHOTOS / photo).convert("RGB")))


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_best_five_classes_are_the_golden_ones(network: MobileNetV2, photo: str) -> None:
    expected = GOLDEN["photos"][photo]
    probabilities = classify(network, pixels(photo)).softmax(dim=0)
    classes = [best["class"] for best in expected]
    assert probabilities.argmax() == classes[0]
    assert [CLASSES[index] for index in classes] == [best["name"] for best in expected]
    assert probabilities[classes].tolist() == pytest.approx(
        [best["probability"] for best in expected], abs=GOLDEN["probability_tolerance"]
    )
    assert probabilities.topk(5).values.tolist() == pytest.approx(
        [best["probability"] for best in expected], abs=GOLDEN["probability_tolerance"]
    )


def test_shapes_of_all_stages(network: MobileNetV2) -> None:
    x = torch.zeros(1, 3, 224, 224)
    sides_and_channels = []
    for block in network.features:
        x = block(x)
        sides_and_channels.append((x.shape[1], x.shape[2], x.shape[3]))
    assert sides_and_channels == (
        [(32, 112, 112), (16, 112, 112)]
        + 2 * [(24, 56, 56)]
        + 3 * [(32, 28, 28)]
        + 4 * [(64, 14, 14)]
        + 3 * [(96, 14, 14)]
        + 3 * [(160, 7, 7)]
        + [(320, 7, 7), (1280, 7, 7)]
    )


def test_parts_run_alone(network: MobileNetV2) -> None:
    x = imagenet_input(pixels("chelsea.jpg"))
    halves = network.features[14:](network.features[:14](x))
    torch.testing.assert_close(network.classifier(halves.mean(dim=(2, 3))), network(x))


def test_names_and_sizes_are_those_of_the_file(network: MobileNetV2) -> None:
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    weights = load_weights("mobilenet_v2")
    assert state.keys() == weights.keys()
    assert len(weights) == 262
    assert sum(p.numel() for p in network.parameters()) == 3_504_872
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert all(p.dtype == torch.float32 for p in network.parameters())


@pytest.mark.parametrize("shape", [(1, 1), (30, 1000), (1024, 3)])
def test_any_photo_is_classified(network: MobileNetV2, shape: tuple[int, int]) -> None:
    logits = classify(network, torch.full((*shape, 3), 90, dtype=torch.uint8))
    assert logits.shape == (1000,)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


def test_a_batch_is_its_pictures_one_by_one(network: MobileNetV2) -> None:
    pictures = [imagenet_input(pixels(photo)) for photo in ("chelsea.jpg", "pisa.jpg")]
    alone = torch.cat([network(picture) for picture in pictures])
    torch.testing.assert_close(network(torch.cat(pictures)), alone, atol=1e-4, rtol=1e-4)


def test_other_sizes_are_read(network: MobileNetV2) -> None:
    assert network(torch.zeros(1, 3, 96, 160)).shape == (1, 1000)
    assert network(torch.zeros(2, 3, 1, 1)).shape == (2, 1000)


def test_runs_the_same_on_every_device(network: MobileNetV2, device: torch.device) -> None:
    image = pixels("coffee.jpg")
    logits = classify(copy.deepcopy(network).to(device), image.to(device))
    assert logits.device.type == device.type
    torch.testing.assert_close(logits.cpu(), classify(network, image), atol=0.1, rtol=0)


def test_double_precision_agrees() -> None:
    x = imagenet_input(pixels("coffee.jpg"))
    torch.testing.assert_close(
        mobilenet_v2().double()(x.double()), mobilenet_v2()(x).double(), atol=1e-3, rtol=1e-3
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 1, 224, 224), (1, 3, 0, 224)])
def test_other_shapes_are_refused(network: MobileNetV2, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="x must have the shape"):
        network(torch.zeros(shape))


def test_threads_share_one_network(network: MobileNetV2) -> None:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    pictures = [pixels(photo) for photo in ("chelsea.jpg", "coffee.jpg")] * 3
    alone = [classify(network, picture) for picture in pictures[:2]] * 3
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda picture: classify(network, picture), pictures))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
