"""MobileNetV2, a small classifier: 224x224 pixels in, the logits of ImageNet's 1,000 classes out.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, table 2.
Where the weights come from is told in `assets/weights/README.md`.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from explainers.models.imagenet import CLASSES, imagenet_input
from explainers.models.shipped import load_weights

# Expansion, channels, repeats and stride of the inverted residuals: table 2.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class _ConvBlock(nn.Sequential):
    """Convolution, batch normalization, ReLU6: [n, c_in, h, w] -> [n, c_out, h/stride, w/stride].

    Sides are rounded up.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel_size: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                c_in, c_out, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(c_out),
            nn.ReLU6(),
        )


class _InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow again without an activation; add the input if alike.

    [n, c_in, h, w] -> [n, hidden, h, w] -> [n, hidden, h/stride, w/stride]
    -> [n, c_out, h/stride, w/stride], sides rounded up. (Figure 4 and table 1 of the paper.)
    """

    def __init__(self, c_in: int, c_out: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        widen = [_ConvBlock(c_in, hidden, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *widen,
            _ConvBlock(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, c_out, 1, bias=False),
            nn.BatchNorm2d(c_out),
        )
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return x + y if self.adds else y


def _features() -> nn.Sequential:
    """All but the classifier: 19 blocks, [n, 3, h, w] -> [n, 1280, h/32, w/32]."""
    blocks: list[nn.Module] = [_ConvBlock(3, 32, 3, stride=2)]
    channels = 32
    for expansion, c_out, repeats, first_stride in _BOTTLENECKS:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            blocks.append(_InvertedResidual(channels, c_out, expansion, stride))
            channels = c_out
    return nn.Sequential(*blocks, _ConvBlock(channels, 1280, 1))


class MobileNetV2(nn.Module):
    """The classifier. Its parts carry torchvision's names.

    | stage                | output        | stride |
    |----------------------|---------------|--------|
    | picture              | 3 x 224 x 224 | 1      |
    | features 0           | 32 x 112 x 112 | 2     |
    | features 1           | 16 x 112 x 112 | 2     |
    | features 2, 3        | 24 x 56 x 56  | 4      |
    | features 4 to 6      | 32 x 28 x 28  | 8      |
    | features 7 to 10     | 64 x 14 x 14  | 16     |
    | features 11 to 13    | 96 x 14 x 14  | 16     |
    | features 14 to 16    | 160 x 7 x 7   | 32     |
    | features 17          | 320 x 7 x 7   | 32     |
    | features 18          | 1280 x 7 x 7  | 32     |
    | mean over places     | 1280          |        |
    | classifier           | 1000          |        |

    `features` is a sequence: `network.features[:14]` runs the first 14 blocks alone. Pictures of
    other sizes are read as well. `forward` keeps nothing, so threads can share one network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = _features()
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, len(CLASSES)))

    def forward(self, x: Float[Tensor, "n 3 height width"]) -> Float[Tensor, "n 1000"]:
        """Logits of the classes.

        Args:
            x: pictures as `imagenet_input` returns them.

        Raises:
            ValueError: if `x` has another number of dimensions or channels, or no pixels.
        """
        if x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape[2:]:
            raise ValueError(f"x must have the shape (n, 3, height, width), got {tuple(x.shape)}")
        logits: Tensor = self.classifier(self.features(x).mean(dim=(2, 3)))
        return logits


def mobilenet_v2() -> MobileNetV2:
    """The classifier with its trained weights, ready to run.

    It takes what `imagenet_input` returns, Float[n, 3, 224, 224], RGB normalized by ImageNet's
    mean and deviation, and returns the logits of the 1,000 `CLASSES`, Float[n, 1000]. 3.5 million
    parameters, which need no gradient.

    >>> network = mobilenet_v2()
    >>> network.features[:14](torch.zeros(1, 3, 224, 224)).shape
    torch.Size([1, 96, 14, 14])
    """
    with torch.device("meta"):  # names and shapes only: every value comes from the file
        network = MobileNetV2()
    network.load_state_dict(load_weights("mobilenet_v2"), assign=True)
    return network.eval().requires_grad_(False)


def classify(
    network: MobileNetV2, image: UInt8[Tensor, "height width 3"]
) -> Float[Tensor, " 1000"]:
    """Logits of the `CLASSES` for a photo.

    Args:
        network: what `mobilenet_v2` returned.
        image: RGB, 0 to 255, any size; the middle of it is read, see `crop_box`.

    Raises:
        ValueError: as `imagenet_input` does.

    >>> logits = classify(mobilenet_v2(), torch.full((20, 30, 3), 128, dtype=torch.uint8))
    >>> logits.shape
    torch.Size([1000])
    """
    logits: Tensor = network(imagenet_input(image))[0]
    return logits
