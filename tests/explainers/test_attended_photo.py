"""Attention modules on a photo, against the networks run as a whole."""

import pytest
import torch
from torch.testing import assert_close

from explainers.attended_photo import compare_mechanisms, look_with_cbam, mean_gates
from explainers.models import attended_mobilenet_v2, mobilenet_v2
from explainers.models.imagenet import imagenet_input, normalize
from explainers.models.mobilenet_v2 import classify


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (60, 90, 3), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module")
def cbam():
    return attended_mobilenet_v2("cbam")


def test_both_parts_are_the_network_itself(cbam, image):
    found = look_with_cbam(cbam, image)
    whole = cbam(imagenet_input(image))[0].softmax(dim=0)
    assert_close(found.probabilities, whole, atol=1e-5, rtol=1e-3)


def test_without_the_module_it_is_mobilenet(cbam, image):
    plain = classify(mobilenet_v2(), image).softmax(dim=0)
    assert_close(look_with_cbam(cbam, image).plain_probabilities, plain, atol=1e-5, rtol=1e-3)
    neither = look_with_cbam(cbam, image, channel=False, spatial=False)
    assert_close(neither.probabilities, plain, atol=1e-5, rtol=1e-3)


def test_all_of_a_picture_is_read(cbam):
    """A picture of the network's own size goes in as it is, not its middle."""
    picture = torch.randint(0, 256, (224, 224, 3), dtype=torch.uint8, generator=torch.Generator())
    found = look_with_cbam(cbam, picture, whole=True)
    given = normalize(picture.movedim(-1, 0)[None].float())
    assert_close(found.probabilities, cbam(given)[0].softmax(dim=0), atol=1e-5, rtol=1e-3)
    middle = look_with_cbam(cbam, picture)
    assert not torch.allclose(found.parts.spatial, middle.parts.spatial, atol=1e-3)


@pytest.mark.parametrize("left_out", ["channel", "spatial"])
def test_a_gate_that_is_left_out_is_a_half(cbam, image, left_out):
    parts = look_with_cbam(cbam, image, **{left_out: False}).parts
    assert (getattr(parts, left_out) == 0.5).all()
    other = {"channel": parts.spatial, "spatial": parts.channel}[left_out]
    assert other.std() > 0.01
    features = cbam.features_before(imagenet_input(image))
    gated = features * parts.channel[:, :, None, None] * parts.spatial
    assert_close(parts.output, gated)


def test_the_order_changes_what_the_second_gate_sees(cbam, image):
    first, second = (
        look_with_cbam(cbam, image, order=order).parts
        for order in ("channel_first", "spatial_first")
    )
    features = cbam.features_before(imagenet_input(image))
    assert_close(second.spatial_average, features.mean(dim=1, keepdim=True))
    gated = features * first.channel[:, :, None, None]
    assert_close(first.spatial_average, gated.mean(dim=1, keepdim=True))


def test_mechanisms_see_the_same_features(cbam, image):
    se = attended_mobilenet_v2("se")
    found = compare_mechanisms(se, cbam, image)
    features = cbam.features_before(imagenet_input(image))[0]
    assert_close(found.strength[0], features.pow(2).mean(dim=0).sqrt())
    gated = features * 2 * found.se_gate[:, None, None]
    assert_close(found.strength[1], gated.pow(2).mean(dim=0).sqrt())
    gated = features * 4 * found.cbam_gate[:, None, None] * found.spatial_gate
    assert_close(found.strength[2], gated.pow(2).mean(dim=0).sqrt())
    assert_close(found.weights.sum(dim=(1, 2)), torch.ones(49))


@pytest.mark.parametrize("shape", [(1, 1), (3, 300)])
def test_any_shape_of_photo_works(cbam, shape):
    found = look_with_cbam(cbam, torch.zeros(*shape, 3, dtype=torch.uint8))
    assert found.probabilities.isfinite().all()


def test_mean_gates_weigh_places_by_their_share_of_the_box():
    gate = torch.tensor([[0.2, 0.6], [0.2, 0.6]])
    found = mean_gates(gate, (1, 0, 3, 4), side=4)  # half of either column
    assert found.inside == pytest.approx(0.4)
    assert found.outside == pytest.approx(0.4)


@pytest.mark.parametrize("box", [(0, 0, 4, 4), (1, 1, 1, 3), (-1, 0, 2, 2), (0, 0, 5, 1)])
def test_a_box_outside_the_picture_is_refused(box):
    with pytest.raises(ValueError, match="box is"):
        mean_gates(torch.zeros(2, 2), box, side=4)
