"""What trained attention modules make of one photo, on the same features of MobileNetV2.

Sources: Hu et al., "Squeeze-and-Excitation Networks", 2018; Woo et al., "CBAM: Convolutional Block
Attention Module", 2018; Wang et al., "Non-local Neural Networks", 2018.
"""

from dataclasses import dataclass, replace
from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from explainers.attention_maps import (
    CBAM,
    CbamParts,
    Order,
    SqueezeExcitation,
    cbam_parts,
    non_local,
    se_parts,
)
from explainers.models.attended_mobilenet_v2 import AttendedMobileNetV2
from explainers.models.imagenet import imagenet_input, normalize
from explainers.models.shipped import as_batch, resize


@dataclass(frozen=True)
class CbamLook:
    """A photo seen with CBAM and without.

    Attributes:
        parts: all that the module computed, see `CbamParts`; a gate that is left out is ½.
        probabilities: of the 1,000 classes.
        plain_probabilities: the same without the module.
    """

    parts: CbamParts
    probabilities: Float[Tensor, "1000"]
    plain_probabilities: Float[Tensor, "1000"]


def look_with_cbam(
    network: AttendedMobileNetV2,
    image: UInt8[Tensor, "height width 3"],
    order: Order = "channel_first",
    channel: bool = True,
    spatial: bool = True,
    whole: bool = False,
) -> CbamLook:
    """Run the network on a photo, with the module's parts in either order or left out.

    A part that is left out counts as a gate of ½ everywhere, which this network takes for "leave
    it as it is".

    Args:
        network: `attended_mobilenet_v2("cbam")`.
        image: RGB, 0 to 255, any size.
        order, channel, spatial: as for `cbam_parts`.
        whole: whether all of the image is read, resized to 224 x 224; else its middle is, see
            `imagenet.crop_box`.

    Raises:
        ValueError: as `imagenet_input` and `cbam_parts` do.

    >>> from explainers.models.attended_mobilenet_v2 import attended_mobilenet_v2
    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> look_with_cbam(attended_mobilenet_v2("cbam"), grey).parts.spatial.shape
    torch.Size([1, 1, 7, 7])
    """
    read = _all_of(image) if whole else imagenet_input(image)
    features = network.features_before(read)
    parts = cbam_parts(cast(CBAM, network.attention), features, order, channel, spatial)
    if not channel:
        half = parts.channel / 2
        paths = {"channel_average": half, "channel_maximum": half}
        parts = replace(parts, channel=half, **paths, output=parts.output / 2)
    if not spatial:
        parts = replace(parts, spatial=parts.spatial / 2, output=parts.output / 2)
    attended = network.logits_of(parts.output)
    plain = network.logits_of(features / network.scale)
    return CbamLook(parts, attended[0].softmax(dim=0), plain[0].softmax(dim=0))


def _all_of(image: Tensor) -> Float[Tensor, "1 3 224 224"]:
    return normalize(resize(as_batch(image), 224, 224, "bicubic"))


@dataclass(frozen=True)
class GateMeans:
    """The mean gate over the places in a box, and over all others."""

    inside: float
    outside: float


def mean_gates(
    gate: Float[Tensor, "rows columns"], box: tuple[int, int, int, int], side: int
) -> GateMeans:
    """How open a spatial gate is where something lies, and elsewhere.

    Args:
        gate: over a square picture.
        box: corners (x1, y1, x2, y2) in pixels, neither empty nor the whole picture.
        side: of the picture in pixels.

    Raises:
        ValueError: if `box` does not lie in the picture as said.

    >>> mean_gates(torch.tensor([[0.0, 1.0], [0.0, 0.5]]), box=(1, 0, 2, 2), side=2)
    GateMeans(inside=0.75, outside=0.0)
    """
    x1, y1, x2, y2 = box
    area = (x2 - x1) * (y2 - y1)
    if not (0 <= x1 < x2 <= side and 0 <= y1 < y2 <= side and area < side * side):
        raise ValueError(f"box is {box}: a part of {side} x {side} pixels is needed")
    pixels = functional.interpolate(gate[None, None], size=(side, side), mode="nearest")[0, 0]
    total, inside = pixels.sum(), pixels[y1:y2, x1:x2].sum()
    return GateMeans(float(inside / area), float((total - inside) / (side * side - area)))


@dataclass(frozen=True)
class Compared:
    """One feature map before and after three mechanisms.

    Attributes:
        strength: root mean square over the channels at each place: before, after SE, after CBAM,
            after non-local attention. SE's and CBAM's results carry the network's scale.
        se_gate, cbam_gate: of each channel.
        spatial_gate: CBAM's, of each place.
        weights: what non-local attention mixes into each place.
    """

    strength: Float[Tensor, "4 rows columns"]
    se_gate: Float[Tensor, "channels"]
    cbam_gate: Float[Tensor, "channels"]
    spatial_gate: Float[Tensor, "rows columns"]
    weights: Float[Tensor, "places rows columns"]


def compare_mechanisms(
    se: AttendedMobileNetV2, cbam: AttendedMobileNetV2, image: UInt8[Tensor, "height width 3"]
) -> Compared:
    """Give the same features of a photo to SE, CBAM and non-local attention.

    Non-local attention is the version without weights, its dot products over √c.

    Args:
        se, cbam: `attended_mobilenet_v2` of that kind.
        image: RGB, 0 to 255, any size; the middle of it is read.

    Raises:
        ValueError: as `imagenet_input` does.

    >>> from explainers.models.attended_mobilenet_v2 import attended_mobilenet_v2
    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> networks = attended_mobilenet_v2("se"), attended_mobilenet_v2("cbam")
    >>> compare_mechanisms(*networks, grey).strength.shape
    torch.Size([4, 7, 7])
    """
    features = se.features_before(imagenet_input(image))
    squeezed = se_parts(cast(SqueezeExcitation, se.attention), features)
    parts = cbam_parts(cast(CBAM, cbam.attention), features)
    gathered, weights = non_local(features, scaled=True)
    results = [features, squeezed.output * se.scale, parts.output * cbam.scale, gathered]
    rows, columns = features.shape[-2:]
    return Compared(
        strength=torch.cat(results).square().mean(dim=1).sqrt(),
        se_gate=squeezed.gate[0],
        cbam_gate=parts.channel[0],
        spatial_gate=parts.spatial[0, 0],
        weights=weights[0].reshape(-1, rows, columns),
    )
