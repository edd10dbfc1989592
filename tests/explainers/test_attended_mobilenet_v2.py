"""MobileNetV2 with trained attention: the shipped weights, and what they reach on hidden photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from explainers.attention_maps import CBAM, SqueezeExcitation, cbam_parts, se_parts
from explainers.clutter import hide
from explainers.models.attended_mobilenet_v2 import attended_mobilenet_v2
from explainers.models.imagenet import imagenet_input, normalize
from explainers.models.mobilenet_v2 import mobilenet_v2

PHOTOS = Path(__file__).parents[2] / "assets" / "photos"
UNSEEN = ("astronaut", "chelsea", "china", "coffee", "flower", "night_cafe")
TIMES = 4
KINDS = ("none", "se", "cbam")


@pytest.fixture(scope="module")
def networks():
    return {kind: attended_mobilenet_v2(kind) for kind in KINDS}


def pixels(name):
    return torch.from_numpy(np.array(Image.open(PHOTOS / f"{name}.jpg").convert("RGB")))


@pytest.fixture(scope="module")
def hidden():
    """Each photo hidden a few times in clutter made from the next one."""
    generator = torch.Generator().manual_seed(0)
    photos = [pixels(name) for name in UNSEEN]
    others = photos[1:] + photos[:1]
    return [
        hide(photo, other, generator)
        for photo, other in zip(photos, others, strict=True)
        for _ in range(TIMES)
    ]


def as_input(images):
    return normalize(torch.stack(images).movedim(-1, 1).float())


@pytest.fixture(scope="module")
def divergence(networks, hidden):
    """KL(network on the photo alone ‖ network on the hidden photo), mean over photos."""
    target = networks["none"](as_input([one.clean for one in hidden])).log_softmax(1)
    pictures = as_input([one.picture for one in hidden])
    return {
        kind: functional.kl_div(
            network(pictures).log_softmax(1), target, log_target=True, reduction="batchmean"
        ).item()
        for kind, network in networks.items()
    }


def test_attention_helps_on_photos_that_it_never_saw(divergence):
    assert divergence["cbam"] < divergence["se"] < divergence["none"]


@pytest.mark.parametrize(("kind", "expected"), [("none", 3.81), ("se", 2.90), ("cbam", 2.82)])
def test_what_it_reaches_is_what_was_measured(divergence, kind, expected):
    assert divergence[kind] == pytest.approx(expected, abs=0.03)


def test_cbam_opens_its_gates_where_the_photo_is(networks, hidden):
    network = networks["cbam"]
    features = network.features_before(as_input([one.picture for one in hidden]))
    gates = network.attention.maps(features).spatial[:, 0]
    centres = (torch.arange(7) + 0.5) * 32
    better = []
    for gate, one in zip(gates, hidden, strict=True):
        x1, y1, x2, y2 = one.box
        inside = ((centres > y1) & (centres < y2))[:, None] & ((centres > x1) & (centres < x2))
        better.append((gate[inside].mean() > gate[~inside].mean()).item())
    assert sum(better) >= 0.9 * len(better)


def test_none_is_the_network_itself(networks):
    x = imagenet_input(pixels("coffee"))
    assert torch.equal(networks["none"](x), mobilenet_v2()(x))


@pytest.mark.parametrize(("kind", "module"), [("se", SqueezeExcitation), ("cbam", CBAM)])
def test_the_module_is_trained(networks, kind, module):
    attention = networks[kind].attention
    assert isinstance(attention, module)
    gates = vars(attention.maps(networks[kind].features_before(imagenet_input(pixels("chelsea")))))
    for gate in gates.values():
        assert gate.min() > 0
        assert gate.max() < 1
        assert gate.std() > 0.02


@pytest.mark.parametrize(("kind", "parameters"), [("none", 0), ("se", 12_800), ("cbam", 12_898)])
def test_parameters(networks, kind, parameters):
    network = networks[kind]
    assert sum(p.numel() for p in network.attention.parameters()) == parameters
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


def test_halves_leave_the_network_as_it_was():
    plain = mobilenet_v2()
    x = imagenet_input(pixels("coffee"))
    for kind in ("se", "cbam"):
        network = attended_mobilenet_v2(kind)
        for parameter in network.attention.parameters():
            parameter.zero_()
        torch.testing.assert_close(network(x), plain(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(224, 224, 7, 7), (65, 130, 3, 5)]
)
def test_shapes(networks, kind, height, width, rows, columns):
    x = torch.zeros(2, 3, height, width)
    assert networks[kind].features_before(x).shape == (2, 320, rows, columns)
    assert networks[kind](x).shape == (2, 1000)


def test_forward_is_the_sum_of_its_parts(networks):
    x = imagenet_input(pixels("coffee"))
    for kind, parts in (("se", se_parts), ("cbam", cbam_parts)):
        network = networks[kind]
        attended = parts(network.attention, network.features_before(x)).output
        torch.testing.assert_close(network.logits_of(attended), network(x))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 1, 224, 224), (1, 3, 0, 224)])
def test_what_it_refuses(networks, shape):
    with pytest.raises(ValueError, match="x must have the shape"):
        networks["cbam"](torch.zeros(shape))


@pytest.mark.usefixtures("unchecked")
def test_kinds_are_three():
    with pytest.raises(ValueError, match="kind must be cbam, se or none, got 'sk'"):
        attended_mobilenet_v2("sk")
