"""The detector against the outputs of the network that its weights come from."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from explainers.boxes import box_iou
from explainers.models.ssd_mobilenet_v2 import (
    INPUT_SIZE,
    LABELS,
    Candidates,
    SsdMobileNetV2,
    SsdOutput,
    candidates,
    detect,
    preprocess,
    ssd_anchors,
    ssd_maps,
    ssd_mobilenet_v2,
)

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
GOLDEN = json.loads((Path(__file__).parent / "golden" / "ssd_mobilenet_v2.json").read_text())


@pytest.fixture(scope="module")
def network() -> SsdMobileNetV2:
    return ssd_mobilenet_v2()


def pixels(photo: str) -> Tensor:
    return torch.from_numpy(np.array(Image.open(PHOTOS / photo).convert("RGB")))


def suppressed(found: Candidates) -> list[int]:
    """Greedy suppression within each class, as the golden outputs were made."""
    queue = found.scores.argsort(descending=True).tolist()
    overlaps = box_iou(found.boxes, found.boxes) > 0.5
    overlaps &= found.classes[:, None] == found.classes[None, :]
    kept: list[int] = []
    for index in queue:
        if not overlaps[index, kept].any():
            kept.append(index)
    return kept


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_detections_are_the_golden_ones(network: SsdMobileNetV2, photo: str) -> None:
    expected = GOLDEN["photos"][photo]
    found = detect(network, pixels(photo), 0.25)
    by_anchor = {int(found.anchors[i]): i for i in suppressed(found)}

    sure = {d["anchor"] for d in expected["detections"] if d["score"] >= GOLDEN["uncertain_below"]}
    surely_found = {a for a, i in by_anchor.items() if found.scores[i] >= GOLDEN["uncertain_below"]}
    assert sure <= by_anchor.keys()
    assert surely_found <= {d["anchor"] for d in expected["detections"]}
    for detection in expected["detections"]:
        if (i := by_anchor.get(detection["anchor"])) is not None:
            assert LABELS[found.classes[i]] == detection["label"]
            assert found.scores[i].item() == pytest.approx(
                detection["score"], abs=GOLDEN["score_tolerance"]
            )
            assert found.boxes[i].tolist() == pytest.approx(
                detection["box"], abs=GOLDEN["box_tolerance"]
            )


@pytest.mark.parametrize("photo", GOLDEN["photos"])
def test_best_anchor_is_the_golden_one(network: SsdMobileNetV2, photo: str) -> None:
    expected = GOLDEN["photos"][photo]
    found = detect(network, pixels(photo), 0.0)
    best = found.scores.argmax()
    assert found.scores[best].item() == pytest.approx(
        expected["best_score"], abs=GOLDEN["score_tolerance"]
    )
    assert LABELS[found.classes[best]] == expected["best_label"]
    assert abs(int((found.scores > 0.25).sum()) - expected["over_quarter"]) <= 2


def test_default_sample_shows_people_tables_and_chairs(network: SsdMobileNetV2) -> None:
    found = detect(network, pixels("night_cafe.jpg"), 0.25)
    kept = suppressed(found)
    assert len(kept) == 22
    assert {"Table", "Person", "Chair"} <= {LABELS[found.classes[i]] for i in kept}
    assert LABELS[found.classes[kept[0]]] == "Table"
    assert found.scores[kept[0]].item() == pytest.approx(0.585, abs=0.02)
    assert found.boxes[kept[0]].tolist() == pytest.approx([234, 202, 460, 403], abs=3)


def test_resizing_is_pillows_within_one_grey_level() -> None:
    for photo in GOLDEN["photos"]:
        size = (INPUT_SIZE, INPUT_SIZE)
        theirs = Image.open(PHOTOS / photo).resize(size, Image.Resampling.BILINEAR)
        ours = (preprocess(pixels(photo))[0].permute(1, 2, 0) + 1) * 127.5
        assert (ours - torch.from_numpy(np.array(theirs))).abs().max() <= 1.001


@pytest.mark.parametrize(("size", "grey"), [((1, 1), 0), ((1, 900), 255), ((2000, 3), 128)])
def test_any_size_is_resized(size: tuple[int, int], grey: int) -> None:
    picture = preprocess(torch.full((*size, 3), grey, dtype=torch.uint8))
    assert picture.shape == (1, 3, 300, 300)
    torch.testing.assert_close(picture, torch.full_like(picture, grey / 127.5 - 1))


def test_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="image"):
        preprocess(torch.zeros(0, 4, 3, dtype=torch.uint8))


def test_maps_are_laid_out_in_the_order_of_the_heads() -> None:
    maps = ssd_maps((300, 600))
    assert [grid.count for grid in maps] == [1083, 600, 150, 54, 24, 6]
    assert [grid.first for grid in maps] == [0, 1083, 1683, 1833, 1887, 1911]
    assert (maps[1].stride_y, maps[1].stride_x) == (30, 60)


def test_anchors_are_the_trained_ones() -> None:
    height, width = 200, 400
    anchors = ssd_anchors((height, width))
    assert anchors.shape == (1917, 4)
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    sides = anchors[:, 2:] - anchors[:, :2]
    # Map 0, row 1, column 2, second shape: scale 0.2, twice as wide as high.
    index = (1 * 19 + 2) * 3 + 1
    torch.testing.assert_close(centres[index], torch.tensor([2.5 / 19 * width, 1.5 / 19 * height]))
    torch.testing.assert_close(
        sides[index], torch.tensor([0.2 * 2**0.5 * width, 0.2 / 2**0.5 * height])
    )
    # The last of all: the geometric mean of scales 0.95 and 1, square, in the middle.
    torch.testing.assert_close(centres[-1], torch.tensor([200.0, 100.0]))
    torch.testing.assert_close(sides[-1], torch.tensor([width, height]) * (0.95**0.5))


@pytest.mark.parametrize("image_size", [(0, 10), (10, -1)])
def test_anchors_need_a_picture(image_size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="image_size"):
        ssd_anchors(image_size)


def test_zero_deltas_give_the_anchors_themselves() -> None:
    output = SsdOutput(torch.zeros(1917, 4), torch.zeros(1917, 24))
    found = candidates(output, (300, 500), 0.4)
    torch.testing.assert_close(found.boxes, ssd_anchors((300, 500)), atol=1e-3, rtol=0)
    assert found.anchors.tolist() == list(range(1917))


def test_background_is_never_a_class() -> None:
    logits = torch.full((1917, 24), -20.0)
    logits[:, 0] = 20.0
    assert len(candidates(SsdOutput(torch.zeros(1917, 4), logits), (10, 10), 0.5).boxes) == 0


def test_threshold_leaves_out_equal_scores() -> None:
    output = SsdOutput(torch.zeros(1917, 4), torch.zeros(1917, 24))
    assert len(candidates(output, (10, 10), 0.5).boxes) == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    output = SsdOutput(torch.zeros(1917, 4), torch.zeros(1917, 24))
    with pytest.raises(ValueError, match="score_threshold"):
        candidates(output, (10, 10), threshold)


def test_weights_are_the_published_number_and_need_no_gradient(network: SsdMobileNetV2) -> None:
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 4.95
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_threads_share_one_network(network: SsdMobileNetV2) -> None:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    pictures = [preprocess(pixels(photo)) for photo in ("chelsea.jpg", "coffee.jpg")] * 3
    alone = [network(picture) for picture in pictures[:2]] * 3
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(network, pictures))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.logits, other.logits)
        torch.testing.assert_close(one.deltas, other.deltas)
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())


def test_labels_are_distinct() -> None:
    assert len(LABELS) == 23
    assert max(Counter(LABELS).values()) == 1
