"""Train the teacher on Fashion-MNIST: `python -m tools.train_teacher`, about six minutes.

Stochastic gradient descent with Nesterov momentum on the cross-entropy, with the rate rising and
falling once; every picture is shifted by up to two pixels and mirrored half of the time. One
thread and one seed: the same library on the same kind of processor gives the same weights. The
last weights are kept, whatever they reach on the test images.
"""

import time
from collections.abc import Iterator

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from explainers.fashion_mnist import FashionMNIST, fashion_mnist
from explainers.models.fashion_teacher import LOGITS, FashionTeacher, fashion_teacher
from explainers.models.shipped import FOLDER

SEED = 0
EPOCHS = 30
BATCH = 128
RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
RISING = 0.25  # share of the training in which the rate rises
SHIFT = 2  # pixels
SIDE = 28


def train(data: FashionMNIST) -> FashionTeacher:
    torch.manual_seed(SEED)  # also for the network's first weights and its dropout
    network = FashionTeacher().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        network.parameters(), RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )
    steps = EPOCHS * (len(data.train_labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=RISING)
    for epoch in range(EPOCHS):
        total = 0.0
        for chosen in batches(len(data.train_labels)):
            logits = network(varied(data.train_images[chosen]))
            loss = functional.cross_entropy(logits, data.train_labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(data.train_labels) // BATCH)
        print(f"epoch {epoch + 1}: loss {mean:.3f}, {time.process_time():.0f} s", flush=True)
    return network


def batches(count: int) -> Iterator[Tensor]:
    """Indices in random order, without the last ones that fill no batch."""
    order = torch.randperm(count)
    return iter(order[: count - count % BATCH].split(BATCH))


def varied(images: Tensor) -> Tensor:
    """Every image shifted by itself, the ground moving in, and mirrored or not."""
    count = len(images)
    mirrored = torch.rand(count) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    padded = functional.pad(images, (SHIFT,) * 4)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, count, 1))
    places = torch.arange(SIDE)
    rows, columns = (down + places)[:, :, None], (right + places)[:, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns][:, None]


def save(network: FashionTeacher) -> None:
    """Half precision, without the counters of the batch normalizations."""
    weights = {
        name: value.half().contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(weights, FOLDER / "fashion_teacher.safetensors")


@torch.no_grad()
def answers(network: FashionTeacher, images: Tensor) -> Tensor:
    return torch.cat([network(part) for part in images.split(500)])


def main() -> None:
    torch.set_num_threads(1)
    data = fashion_mnist()
    save(train(data))
    teacher = fashion_teacher()
    logits = {
        "train": answers(teacher, data.train_images),
        "test": answers(teacher, data.test_images),
    }
    save_file({name: value.half() for name, value in logits.items()}, LOGITS)
    for name, labels in (("train", data.train_labels), ("test", data.test_labels)):
        right = (logits[name].argmax(dim=1) == labels).float().mean()
        print(f"{name}: {right:.2%} right")


if __name__ == "__main__":
    main()
