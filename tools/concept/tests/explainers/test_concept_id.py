import pytest
import torch

from explainers.concept_id import LEVELS, measure_brightness


def picture(*levels, device=None):
    """One row of grey pixels."""
    return torch.tensor([[[level] * 3 for level in levels]], dtype=torch.uint8, device=device)


def test_counts_every_pixel(device):
    found = measure_brightness(picture(0, 255, 255, 7, device=device), threshold=7)
    assert found.counts.shape == (LEVELS,)
    assert found.counts[[0, 7, 255]].tolist() == [1, 1, 2]
    assert found.counts.sum() == 4


@pytest.mark.parametrize(("threshold", "share"), [(0, 0.75), (7, 0.5), (254, 0.5), (255, 0.0)])
def test_share_is_above_the_threshold(device, threshold, share):
    assert measure_brightness(picture(0, 255, 255, 7, device=device), threshold).share == share


def test_channels_count_alike():
    image = torch.tensor([[[30, 0, 0], [0, 30, 0], [0, 0, 32]]], dtype=torch.uint8)
    assert measure_brightness(image, threshold=9).counts[10] == 3


@pytest.mark.parametrize("threshold", [-1, 256])
def test_a_threshold_that_is_no_level_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold is {threshold}"):
        measure_brightness(picture(0), threshold)


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(ValueError, match="at least one pixel"):
        measure_brightness(torch.zeros(0, 4, 3, dtype=torch.uint8), threshold=0)
