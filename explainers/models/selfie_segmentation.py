"""A segmenter for selfies: 256x256 pixels in, a mask of the person out, with ten gates inside.

A gate weighs channels by their means over all places (squeeze and excitation): six in the encoder,
one between encoder and decoder, three where the decoder takes up the encoder's maps again.

Sources: Hu et al., "Squeeze-and-Excitation Networks", 2018, section 3; Howard et al., "Searching
for MobileNetV3", 2019, section 5 (the encoder's blocks and its activation). Where the weights come
from is told in `assets/weights/README.md`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from explainers.models.same_conv import SameConv
from explainers.models.shipped import as_batch, load_weights, resize

INPUT_SIZE = 256
"""Height and width of the picture that the network reads, and of its mask, in pixels."""


class _Stage(NamedTuple):
    """What one block of the encoder is made of."""

    c_in: int
    hidden: int
    c_out: int
    kernel_size: int
    stride: int
    squeezed: int = 0  # values between the layers of the gate; 0: the block has none


# The first three use ReLU, the others hard swish.
_ENCODER = (
    _Stage(16, 16, 16, 3, 2, squeezed=8),
    _Stage(16, 72, 24, 3, 2),
    _Stage(24, 88, 24, 3, 1),
    _Stage(24, 96, 32, 5, 2, squeezed=24),
    _Stage(32, 128, 32, 5, 1, squeezed=32),
    _Stage(32, 128, 32, 5, 1, squeezed=32),
    _Stage(32, 96, 32, 5, 1, squeezed=24),
    _Stage(32, 96, 32, 5, 1, squeezed=24),
)
_WITH_RELU = 3
_CONTEXT = (32, 128)
_DECODER = ((128, 24), (24, 16), (16, 16))

_GATES = (
    *(f"enc.{index}" for index, stage in enumerate(_ENCODER) if stage.squeezed),
    "context",
    *(f"up.{index}" for index in range(len(_DECODER))),
)


@dataclass(frozen=True)
class Gate:
    """What one gate did to a photo.

    Attributes:
        name: of its block, one of `gate_names`.
        pooled: the mean over all places of each channel that the gate looks at.
        squeezed: between its two layers, 0 or more; empty for "context", which has one layer.
        gate: the factor of each channel, between 0 and 1.
        features: the channels before they are multiplied.
    """

    name: str
    pooled: Float[Tensor, " seen"]
    squeezed: Float[Tensor, " squeezed"]
    gate: Float[Tensor, " channels"]
    features: Float[Tensor, "channels height width"]


class _Run:
    """One run of the network: what its gates did, and how strongly one of them shall work."""

    def __init__(self, block: str | None = None, strengths: Tensor | None = None) -> None:
        self.block, self.strengths = block, strengths
        self.passed: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def scale(
        self, name: str, features: Tensor, pooled: Tensor, squeezed: Tensor, gate: Tensor
    ) -> Tensor:
        """[n, c, h, w] times the gate's factors, [n, c, 1, 1].

        At the block that has t strengths, a run on one picture becomes a run on t.
        """
        self.passed[name] = (pooled.flatten(1), squeezed.flatten(1), gate.flatten(1), features)
        if self.strengths is not None and name == self.block:
            strengths = self.strengths.to(gate)[:, None, None, None]
            gate = torch.lerp(torch.ones_like(gate), gate, strengths).clamp(min=0)
        return features * gate


class _Excitation(nn.Module):
    """Mean over all places, two layers, sigmoid: [n, c, h, w] -> [n, c, 1, 1]."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Means [n, c, 1, 1], values between the layers [n, r, 1, 1], gate [n, c, 1, 1]."""
        pooled = x.mean(dim=(2, 3), keepdim=True)
        squeezed = functional.relu(self.reduce(pooled))
        return pooled, squeezed, self.expand(squeezed).sigmoid()


class _EncoderBlock(nn.Module):
    """Widen, filter each channel, weigh the channels, narrow; add the input if alike.

    [n, c_in, h, w] -> [n, hidden, h, w] -> [n, hidden, h/stride, w/stride]
    -> [n, c_out, h/stride, w/stride]. (MobileNetV3, figure 4.)
    """

    def __init__(self, name: str, stage: _Stage, activation: nn.Module) -> None:
        super().__init__()
        self.name, self.activation = name, activation
        self.expand = nn.Conv2d(stage.c_in, stage.hidden, 1)
        self.dw = SameConv(
            stage.hidden, stage.hidden, stage.kernel_size, stage.stride, groups=stage.hidden
        )
        self.se = _Excitation(stage.hidden, stage.squeezed) if stage.squeezed else None
        self.project = nn.Conv2d(stage.hidden, stage.c_out, 1)
        self.adds = stage.stride == 1 and stage.c_in == stage.c_out

    def forward(self, x: Tensor, run: _Run) -> Tensor:
        y: Tensor = self.activation(self.dw(self.activation(self.expand(x))))
        if self.se is not None:
            y = run.scale(self.name, y, *self.se(y))
        y = self.project(y)
        return x + y if self.adds else y


class _Context(nn.Module):
    """Channels of the whole picture: [n, 32, h, w] -> [n, 128, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(*_CONTEXT, 1), nn.Conv2d(*_CONTEXT, 1)

    def forward(self, x: Tensor, run: _Run) -> Tensor:
        pooled = x.mean(dim=(2, 3), keepdim=True)
        features, gate = functional.relu(self.conv(x)), self.gate(pooled).sigmoid()
        return run.scale("context", features, pooled, pooled[:, :0], gate)


class _DecoderBlock(nn.Module):
    """Double the sides, add the encoder's map of that size, its channels weighed, and filter.

    [n, c_in, h, w] and the encoder's [n, c_out, 2h, 2w] -> [n, c_out, 2h, 2w].
    """

    def __init__(self, name: str, c_in: int, c_out: int) -> None:
        super().__init__()
        self.name = name
        self.reduce = nn.Conv2d(c_in, c_out, 1)
        self.se = _Excitation(c_out, c_out)
        self.fuse = nn.Conv2d(c_out, c_out, 1)
        self.dw = SameConv(c_out, c_out, 3, groups=c_out)

    def forward(self, x: Tensor, skipped: Tensor, run: _Run) -> Tensor:
        up = self.reduce(functional.interpolate(x, scale_factor=2, mode="bilinear"))
        weighed = run.scale(self.name, skipped, *self.se(skipped + up))
        y = functional.relu(self.fuse(weighed + up))
        return y + functional.relu(self.dw(y))


class SelfieSegmentation(nn.Module):
    """The segmenter.

    | stage           | output         | gate                                   |
    |-----------------|----------------|----------------------------------------|
    | picture         | 3 x 256 x 256  |                                        |
    | stem            | 16 x 128 x 128 |                                        |
    | enc 0           | 16 x 64 x 64   | 16 -> 8 -> 16, on 64 x 64              |
    | enc 1, 2        | 24 x 32 x 32   |                                        |
    | enc 3           | 32 x 16 x 16   | 96 -> 24 -> 96, on 16 x 16             |
    | enc 4, 5        | 32 x 16 x 16   | 128 -> 32 -> 128, on 16 x 16           |
    | enc 6, 7        | 32 x 16 x 16   | 96 -> 24 -> 96, on 16 x 16             |
    | context         | 128 x 16 x 16  | 32 -> 128, on 16 x 16                  |
    | up 0, and enc 2 | 24 x 32 x 32   | 24 -> 24 -> 24, on enc 2, 32 x 32      |
    | up 1, and enc 0 | 16 x 64 x 64   | 16 -> 16 -> 16, on enc 0, 64 x 64      |
    | up 2, and stem  | 16 x 128 x 128 | 16 -> 16 -> 16, on the stem, 128 x 128 |
    | head            | 1 x 256 x 256  |                                        |

    `forward` keeps nothing, so threads can share one network.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 16, 3, stride=2)
        self.enc = nn.ModuleList(
            _EncoderBlock(
                f"enc.{index}", stage, nn.ReLU() if index < _WITH_RELU else nn.Hardswish()
            )
            for index, stage in enumerate(_ENCODER)
        )
        self.context = _Context()
        self.up = nn.ModuleList(
            _DecoderBlock(f"up.{index}", *channels) for index, channels in enumerate(_DECODER)
        )
        self.head = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, x: Float[Tensor, "n 3 256 256"]) -> Float[Tensor, "n 1 256 256"]:
        """How likely each pixel shows the person, 0 to 1.

        Args:
            x: what `preprocess` returns: RGB, 0 (black) to 1 (white).

        Raises:
            ValueError: if `x` has another shape.
        """
        if x.shape[1:] != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(
                f"x must have the shape (n, 3, {INPUT_SIZE}, {INPUT_SIZE}), got {tuple(x.shape)}"
            )
        return self.run(x, _Run())

    def run(self, x: Tensor, run: _Run) -> Tensor:
        """As `forward`, with each gate's work going through `run`."""
        x = stem = functional.hardswish(self.stem(x))
        outputs = []
        for block in self.enc:
            x = block(x, run)
            outputs.append(x)
        x = self.context(x, run)
        for block, skipped in zip(self.up, (outputs[2], outputs[0], stem), strict=True):
            x = block(x, skipped, run)
        mask: Tensor = self.head(x).sigmoid()
        return mask


def selfie_segmentation() -> SelfieSegmentation:
    """The segmenter with its trained weights, ready to run.

    It takes what `preprocess` returns, Float[n, 3, 256, 256] in 0 to 1 (RGB), and returns masks,
    Float[n, 1, 256, 256] in 0 to 1. 0.106 million parameters, which need no gradient.

    >>> selfie_segmentation()(torch.zeros(2, 3, 256, 256)).shape
    torch.Size([2, 1, 256, 256])
    """
    with torch.device("meta"):  # names and shapes only: every value comes from the file
        network = SelfieSegmentation()
    network.load_state_dict(load_weights("selfie_segmentation"), assign=True)
    return network.eval().requires_grad_(False)


def preprocess(image: UInt8[Tensor, "height width 3"]) -> Float[Tensor, "1 3 256 256"]:
    """A picture as the network reads it: 256x256, the aspect ratio not kept, 0 to 1.

    Args:
        image: RGB, 0 to 255, any size.

    Raises:
        ValueError: if `image` is no picture of at least one pixel with three channels.

    >>> preprocess(torch.full((2, 4, 3), 255, dtype=torch.uint8)).unique()
    tensor([1.])
    """
    return resize(as_batch(image), INPUT_SIZE, INPUT_SIZE, "bilinear") / 255


def segment(
    network: SelfieSegmentation, image: UInt8[Tensor, "height width 3"]
) -> Float[Tensor, "256 256"]:
    """How likely each part of a photo shows a person, 0 to 1; the mask covers the whole photo.

    Args:
        network: what `selfie_segmentation` returned.
        image: RGB, 0 to 255, any size.

    Raises:
        ValueError: as `preprocess` does.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> bool((segment(selfie_segmentation(), grey) < 0.5).all())
    True
    """
    mask: Tensor = network(preprocess(image))[0, 0]
    return mask


def gate_names() -> tuple[str, ...]:
    """The blocks that have a gate, in the order in which they run.

    >>> gate_names()
    ('enc.0', 'enc.3', 'enc.4', 'enc.5', 'enc.6', 'enc.7', 'context', 'up.0', 'up.1', 'up.2')
    """
    return _GATES


def trace_gates(
    network: SelfieSegmentation, image: UInt8[Tensor, "height width 3"]
) -> tuple[Gate, ...]:
    """What each gate does to a photo, in the order of `gate_names`.

    Args:
        network: what `selfie_segmentation` returned.
        image: RGB, 0 to 255, any size.

    Raises:
        ValueError: as `preprocess` does.

    Source: Hu et al., 2018, equations 2 to 4.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> [len(gate.gate) for gate in trace_gates(selfie_segmentation(), grey)]
    [16, 96, 128, 128, 96, 96, 128, 24, 16, 16]
    """
    run = _Run()
    network.run(preprocess(image), run)
    return tuple(Gate(name, *(part[0] for part in parts)) for name, parts in run.passed.items())


def sweep_gate(
    network: SelfieSegmentation,
    image: UInt8[Tensor, "height width 3"],
    block: str,
    strengths: Float[Tensor, " t"],
) -> Float[Tensor, "t 256 256"]:
    """The masks that come out when one gate works less or more than it was trained to.

    Strength s replaces each factor g by 1 + s (g - 1), or by 0 if that is negative: 0 switches the
    gate off, 1 leaves it as trained, more exaggerates it. All that comes before the gate is
    computed once, all that comes after it for all strengths together.

    Args:
        network: what `selfie_segmentation` returned.
        image: RGB, 0 to 255, any size.
        block: one of `gate_names`.
        strengths: 0 or more, finite.

    Raises:
        ValueError: if there is no such block, a strength is negative or not finite, or as
            `preprocess` does.

    >>> grey = torch.full((20, 30, 3), 128, dtype=torch.uint8)
    >>> sweep_gate(selfie_segmentation(), grey, "enc.4", torch.tensor([0.0, 1, 2])).shape
    torch.Size([3, 256, 256])
    """
    if block not in _GATES:
        raise ValueError(f"block must be one of {', '.join(_GATES)}, got {block!r}")
    if not bool(((strengths >= 0) & strengths.isfinite()).all()):
        raise ValueError(f"strengths must be finite and 0 or more, got {strengths.tolist()}")
    return network.run(preprocess(image), _Run(block, strengths))[:, 0]
