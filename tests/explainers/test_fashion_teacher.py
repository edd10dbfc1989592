"""The teacher that ships: how good it is, and that its logits are its own."""

import pytest
import torch
from torch.testing import assert_close

from explainers.fashion_mnist import fashion_mnist
from explainers.models.fashion_teacher import (
    LOGITS,
    FashionTeacher,
    fashion_teacher,
    teacher_logits,
)
from explainers.models.shipped import FOLDER


@pytest.fixture(scope="module")
def network() -> FashionTeacher:
    return fashion_teacher()


def test_accuracy_is_the_one_stated() -> None:
    data, logits = fashion_mnist(), teacher_logits()
    assert (logits.test.argmax(dim=1) == data.test_labels).sum() == 1842  # 92.1 %
    assert (logits.train.argmax(dim=1) == data.train_labels).float().mean() == pytest.approx(
        0.961, abs=5e-4
    )


def test_logits_are_the_networks_own(network: FashionTeacher) -> None:
    data, logits = fashion_mnist(), teacher_logits()
    for images, kept in ((data.train_images, logits.train), (data.test_images, logits.test)):
        chosen = torch.arange(0, len(images), 20)
        assert_close(network(images[chosen]), kept[chosen], atol=0.02, rtol=1e-3)


def test_it_is_ready_to_run(network: FashionTeacher) -> None:
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all(value.isfinite().all() for value in network.parameters())
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == 0.28


def test_any_number_of_images(network: FashionTeacher) -> None:
    images = fashion_mnist().test_images[:3]
    assert network(images[:0]).shape == (0, 10)
    assert_close(network(images)[1:2], network(images[1:2]), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(1, 28, 28), (2, 3, 28, 28), (1, 1, 27, 28)])
def test_another_shape_is_refused(network: FashionTeacher, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="images has shape"):
        network(torch.zeros(shape, dtype=torch.uint8))


def test_the_files_stay_small() -> None:
    assert (FOLDER / "fashion_teacher.safetensors").stat().st_size <= 1e6
    assert LOGITS.stat().st_size <= 0.3e6
