"""The teacher: a small convolutional network that tells clothes apart, 28x28 pixels, ten classes.

It was trained by `tools/train_teacher.py`; `assets/weights/README.md` tells how and how good it is.
Its shape follows Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
Recognition", 2015: 3x3 convolutions, more channels after each pooling.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn

from explainers.fashion_mnist import CLASSES, standardize
from explainers.models.shipped import FOLDER, load_weights

LOGITS = FOLDER.parent / "data" / "fashion_teacher_logits.safetensors"


def _convolution(c_in: int, c_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(c_in, c_out, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(c_out), nn.ReLU())


class FashionTeacher(nn.Module):
    """0.28 million parameters; `fashion_teacher` loads the trained ones.

    | stage | out |
    |---|---|
    | convolution, max pooling | 32 x 14 x 14 |
    | two convolutions, max pooling | 64 x 7 x 7 |
    | two convolutions, mean over all places | 128 |
    | linear | 10 |

    All convolutions are 3 x 3, each with batch normalization and ReLU behind it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _convolution(1, 32),
            nn.MaxPool2d(2),
            _convolution(32, 64),
            _convolution(64, 64),
            nn.MaxPool2d(2),
            _convolution(64, 128),
            _convolution(128, 128),
        )
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(128, len(CLASSES))

    def forward(self, images: UInt8[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        """Logits of the classes.

        Args:
            images: grey, 0 to 255, as in `explainers.fashion_mnist`.

        Raises:
            ValueError: if `images` have another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
            raise ValueError(f"images has shape {list(images.shape)}: [n, 1, 28, 28] is needed")
        features = self.features(standardize(images)).mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def fashion_teacher() -> FashionTeacher:
    """The teacher with its trained weights, ready to run.

    It takes images of `explainers.fashion_mnist`, UInt8[n, 1, 28, 28], and returns the logits of
    its `CLASSES`, Float[n, 10]. Its parameters need no gradient.

    >>> fashion_teacher()(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
    torch.Size([2, 10])
    """
    with torch.device("meta"):  # names and shapes only: every value comes from the file
        network = FashionTeacher()
    network.load_state_dict(load_weights("fashion_teacher"), assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class TeacherLogits:
    """What the teacher answers for the images of `explainers.fashion_mnist`, in their order."""

    train: Float[Tensor, "train 10"]
    test: Float[Tensor, "test 10"]


def teacher_logits() -> TeacherLogits:
    """The teacher's logits, computed beforehand and kept in half precision.

    >>> teacher_logits().train.shape, teacher_logits().test.shape
    (torch.Size([12000, 10]), torch.Size([2000, 10]))
    """
    logits = load_file(LOGITS)
    return TeacherLogits(train=logits["train"].float(), test=logits["test"].float())
