"""MobileNetV2 with an attention module that was trained to find a photo in clutter.

The network itself is frozen; the module stands before its last convolution. How it was trained is
told in `assets/weights/README.md`; `tools/train_attention.py` does it again.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from explainers.attention_maps import CBAM, SqueezeExcitation
from explainers.models.mobilenet_v2 import MobileNetV2, mobilenet_v2
from explainers.models.shipped import load_weights

Kind = Literal["cbam", "se", "none"]

CHANNELS = 320
"""Of the map that the module sees."""

_PLACE = 18  # the module sees what this many of the 19 blocks make


class AttendedMobileNetV2(nn.Module):
    """MobileNetV2 with attention between its blocks 17 and 18.

    | stage                | output        |
    |----------------------|---------------|
    | picture              | 3 x 224 x 224 |
    | features 0 to 17     | 320 x 7 x 7, `features_before` |
    | attention, scaled    | 320 x 7 x 7   |
    | features 18          | 1280 x 7 x 7  |
    | mean over places     | 1280          |
    | classifier           | 1000          |

    A gate lies between 0 and 1, and untrained ones are ½. So the features are doubled for every
    gate that they pass (`scale` is 2 after SE, 4 after CBAM): a gate of ½ leaves them as they were,
    less damps and more strengthens them.

    Attributes:
        network: the frozen classifier.
        attention: the module: a `CBAM`, a `SqueezeExcitation`, or, for "none", the identity.
        scale: factor of what the module returns.
    """

    def __init__(self, network: MobileNetV2, kind: Kind) -> None:
        super().__init__()
        self.network = network
        self.attention: nn.Module
        match kind:
            case "cbam":
                self.attention, self.scale = CBAM(CHANNELS), 4.0
            case "se":
                self.attention, self.scale = SqueezeExcitation(CHANNELS), 2.0
            case "none":
                self.attention, self.scale = nn.Identity(), 1.0
            case _:
                raise ValueError(f"kind must be cbam, se or none, got {kind!r}")

    def forward(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 1000"]:
        """Logits of the classes, as `MobileNetV2.forward` with attention on the way.

        Raises:
            ValueError: if `x` has another number of dimensions or channels, or no pixels.
        """
        return self.logits_after(self.features_before(x))

    def features_before(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 320 h w"]:
        """The map that the module sees: 7 x 7 places for 224 x 224 pixels.

        Raises:
            ValueError: if `x` has another number of dimensions or channels, or no pixels.
        """
        if x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape[2:]:
            raise ValueError(f"x must have the shape (n, 3, height, width), got {tuple(x.shape)}")
        features: Tensor = self.network.features[:_PLACE](x)
        return features

    def logits_after(self, features: Float[Tensor, "n 320 h w"]) -> Float[Tensor, "n 1000"]:
        """Logits from the map that the module sees."""
        return self.logits_of(self.attention(features))

    def logits_of(self, attended: Float[Tensor, "n 320 h w"]) -> Float[Tensor, "n 1000"]:
        """Logits from what a module returned, such as one with a part left out."""
        last = self.network.features[_PLACE:](attended * self.scale)
        logits: Tensor = self.network.classifier(last.mean(dim=(2, 3)))
        return logits


def attended_mobilenet_v2(kind: Kind) -> AttendedMobileNetV2:
    """The network with its trained module, ready to run.

    It takes what `imagenet_input` returns, Float[n, 3, 224, 224], and returns the logits of the
    1,000 classes, Float[n, 1000]. Nothing in it needs a gradient. "none" is MobileNetV2 itself.

    Args:
        kind: of attention; "cbam" has 12,898 parameters of its own, "se" 12,800.

    Raises:
        ValueError: if `kind` is none of the three.

    >>> import torch
    >>> network = attended_mobilenet_v2("cbam")
    >>> features = network.features_before(torch.zeros(1, 3, 224, 224))
    >>> network.attention.maps(features).spatial.shape
    torch.Size([1, 1, 7, 7])
    """
    network = AttendedMobileNetV2(mobilenet_v2(), kind)
    weights = load_weights("attention_mobilenet_v2")
    start = f"{kind}."
    network.attention.load_state_dict(
        {name.removeprefix(start): w for name, w in weights.items() if name.startswith(start)}
    )
    return network.eval().requires_grad_(False)
