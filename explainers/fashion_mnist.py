"""Fashion-MNIST: small grey pictures of clothes in ten classes, a part of it that ships.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
Learning Algorithms", 2017. `assets/data/README.md` tells which pictures these are.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Float, Int, UInt8
from safetensors.torch import load
from torch import Tensor

DATA = Path(__file__).parents[1] / "assets" / "data" / "fashion_mnist.safetensors.gz"

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""Names of the classes, by label."""

MEAN, SPREAD = 0.286, 0.353
"""Mean and standard deviation of the original's grey values, on a scale from 0 to 1."""


@dataclass(frozen=True)
class FashionMNIST:
    """Pictures to learn from and pictures to be tested on.

    Attributes:
        train_images, test_images: grey, 0 (the ground) to 255.
        train_labels, test_labels: index into `CLASSES`.
    """

    train_images: UInt8[Tensor, "train 1 28 28"]
    train_labels: Int[Tensor, "train"]
    test_images: UInt8[Tensor, "test 1 28 28"]
    test_labels: Int[Tensor, "test"]


def standardize(images: UInt8[Tensor, "*batch 28 28"]) -> Float[Tensor, "*batch 28 28"]:
    """Grey values with a mean of 0 and a standard deviation of 1, as networks read them.

    >>> standardize(fashion_mnist().train_images).amin()
    tensor(-0.8102)
    """
    return (images.float() / 255 - MEAN) / SPREAD


def fashion_mnist() -> FashionMNIST:
    """The part that ships: 1,200 pictures of each class to learn from, 200 of each to test on.

    They are the first ones of the original's training and test part, in its order. 11 MB, read
    from the disk at every call.

    >>> data = fashion_mnist()
    >>> data.train_images.shape, data.test_images.shape, CLASSES[data.train_labels[0]]
    (torch.Size([12000, 1, 28, 28]), torch.Size([2000, 1, 28, 28]), 'Ankle boot')
    """
    parts = load(gzip.decompress(DATA.read_bytes()))
    return FashionMNIST(
        train_images=parts["train_images"],
        train_labels=parts["train_labels"].long(),
        test_images=parts["test_images"],
        test_labels=parts["test_labels"].long(),
    )
