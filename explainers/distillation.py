"""Distillation: a small network learns from the soft targets of a large one.

What the large network, the teacher, knows beyond the label shows in its softened probabilities:
which classes it takes for alike. Two equal students learn side by side, one with the teacher and
one without.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional

from explainers.boxes import Number
from explainers.fashion_mnist import FashionMNIST, standardize
from explainers.softmax_temperature import (
    check_labels,
    check_logits,
    check_temperature,
    soft_losses,
    softmax,
    sweep_softmax,
)

MOMENTUM = 0.9
"""Of the gradient descent by which the students learn."""


def mean_soft_labels(
    teacher_logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"], temperature: Number
) -> Float[Tensor, "k k"]:
    """The teacher's mean probabilities for the images of each class.

    Row i is the mean soft target of the images that are labelled i; it adds up to 1. A class
    without images has a row of zeros.

    Args:
        teacher_logits: any finite numbers, for at least one image.
        labels: the right class of each image, from 0 to k - 1.
        temperature: positive.

    Raises:
        ValueError: if shapes differ, a logit is not finite, or an argument is out of its range.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    >>> mean_soft_labels(logits, torch.tensor([0, 0, 1]), temperature=1)
    tensor([[0.6904, 0.3096],
            [0.1192, 0.8808]])
    """
    check_labels(labels, teacher_logits)
    return _class_means(softmax(teacher_logits, temperature), labels)


def sweep_mean_soft_labels(
    teacher_logits: Float[Tensor, "n k"],
    labels: Int[Tensor, "n"],
    temperatures: Float[Tensor, "t"],
) -> Float[Tensor, "t k k"]:
    """`mean_soft_labels` at every temperature at once.

    Args:
        teacher_logits, labels: as for `mean_soft_labels`.
        temperatures: positive, in any order, rounded to the dtype of `teacher_logits`.

    Raises:
        ValueError: as `mean_soft_labels` does.

    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    >>> temperatures = torch.tensor([1.0, 8.0])
    >>> sweep_mean_soft_labels(logits, torch.tensor([0, 0, 1]), temperatures)[1]
    tensor([[0.5311, 0.4689],
            [0.4378, 0.5622]])
    """
    check_labels(labels, teacher_logits)
    return _class_means(sweep_softmax(teacher_logits, temperatures), labels)


def _class_means(
    probabilities: Float[Tensor, "*t n k"], labels: Int[Tensor, "n"]
) -> Float[Tensor, "*t k k"]:
    one_hot = functional.one_hot(labels.long(), probabilities.shape[-1]).to(probabilities)
    return (one_hot / one_hot.sum(dim=0).clamp(min=1)).T @ probabilities


@dataclass(frozen=True)
class Confusions:
    """What soft labels give to wrong classes, at t temperatures.

    Attributes:
        wrong: their share of the probability, averaged over the classes.
        row, column: the right class and the wrong one that gets most of it.
        share: how much it gets.
    """

    wrong: Float[Tensor, "t"]
    row: Int[Tensor, "t"]
    column: Int[Tensor, "t"]
    share: Float[Tensor, "t"]


def confusions(soft_labels: Float[Tensor, "t k k"]) -> Confusions:
    """Read off the matrices of `sweep_mean_soft_labels` which classes the teacher takes for alike.

    Raises:
        ValueError: if there is no class.

    >>> confusions(torch.tensor([[[0.7, 0.3], [0.1, 0.9]]]))
    Confusions(wrong=tensor([0.2000]), row=tensor([0]), column=tensor([1]), share=tensor([0.3000]))
    """
    classes = soft_labels.shape[-1]
    if classes < 1:
        raise ValueError(f"soft_labels has shape {list(soft_labels.shape)}: a class is needed")
    right = torch.eye(classes, dtype=torch.bool, device=soft_labels.device)
    wrong = soft_labels.masked_fill(right, 0)
    share, place = wrong.flatten(1).max(dim=-1)
    return Confusions(
        wrong=wrong.sum(dim=(-2, -1)) / classes,
        row=place // classes,
        column=place % classes,
        share=share,
    )


@dataclass(frozen=True)
class Telling:
    """Images whose soft targets say most beyond the label, by falling share of the second choice.

    Attributes:
        images: their indices.
        first: the teacher's first choice, which is the label.
        second: its second choice.
        probabilities: of all classes.
        share: the second choice's probability.
    """

    images: Int[Tensor, "m"]
    first: Int[Tensor, "m"]
    second: Int[Tensor, "m"]
    probabilities: Float[Tensor, "m k"]
    share: Float[Tensor, "m"]


def telling_images(
    teacher_logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"], temperature: Number, k: int
) -> Telling:
    """The images that the teacher gets right and whose second choice holds most.

    Args:
        teacher_logits: any finite numbers, for at least one image of two classes or more.
        labels: the right class of each image.
        temperature: positive.
        k: how many images, at least 1; all that the teacher gets right if there are fewer.

    Raises:
        ValueError: if shapes differ, a logit is not finite, or an argument is out of its range.

    >>> logits = torch.tensor([[4.0, 1.0, 0.0], [0.0, 2.0, 1.9], [3.0, 0.0, 2.0]])
    >>> telling = telling_images(logits, torch.tensor([0, 1, 1]), temperature=1, k=2)
    >>> telling.images, telling.second, telling.share
    (tensor([1, 0]), tensor([2, 1]), tensor([0.4435, 0.0466]))
    """
    check_labels(labels, teacher_logits)
    if teacher_logits.shape[1] < 2:
        raise ValueError(
            f"teacher_logits has shape {list(teacher_logits.shape)}: two classes are needed"
        )
    if k < 1:
        raise ValueError(f"k is {k}: at least 1 is needed")
    probabilities = softmax(teacher_logits, temperature)
    choices = teacher_logits.argsort(dim=1, descending=True, stable=True)
    first, second = choices[:, 0], choices[:, 1]
    share = probabilities.gather(1, second[:, None])[:, 0]
    ranked = share.argsort(descending=True, stable=True)
    best = ranked[(first == labels)[ranked]][:k]
    return Telling(best, first[best], second[best], probabilities[best], share[best])


@dataclass(frozen=True)
class BiasSweep:
    """What becomes of the accuracies when one class's logit is raised.

    Attributes:
        biases: what is added to the logit.
        accuracy: share of all images that are classed right.
        left_out_accuracy: the same among the images of that class.
    """

    biases: Float[Tensor, "b"]
    accuracy: Float[Tensor, "*seeds b"]
    left_out_accuracy: Float[Tensor, "*seeds b"]


def sweep_bias(
    logits: Float[Tensor, "*seeds n k"],
    labels: Int[Tensor, "n"],
    left_out: int,
    biases: Float[Tensor, "b"],
) -> BiasSweep:
    """Raise the logit of a class that was left out of the training, by every bias at once.

    Most errors on a class that a student has never seen come from its bias, which is much too low.

    Args:
        logits: any finite numbers, for at least one image of two classes or more.
        labels: the right class of each image.
        left_out: the class whose logit is raised.
        biases: what is added, in any order. The raised logit wins only if it is above all others.

    Raises:
        ValueError: if shapes differ, a number is not finite, or `left_out` is no class or has no
            image.

    Source: Hinton et al., 2015, section 3.

    >>> logits = torch.tensor([[1.0, 0.0], [3.0, 0.0], [4.0, 0.0]])
    >>> sweep_bias(logits, torch.tensor([1, 1, 0]), left_out=1, biases=torch.tensor([0.0, 3.5, 5]))
    BiasSweep(biases=tensor([0.0000, 3.5000, 5.0000]), accuracy=tensor([0.3333, 1.0000, 0.6667]), \
left_out_accuracy=tensor([0., 1., 1.]))
    """
    check_logits(logits, "logits")
    _check_images(logits, labels)
    _check_class(left_out, logits.shape[-1])
    if biases.ndim != 1 or not biases.isfinite().all():
        raise ValueError(f"biases is {biases}: finite numbers in one dimension are needed")
    left_out_image = labels == left_out
    if not left_out_image.any():
        raise ValueError(f"left_out is {left_out}: no image has this label")
    others, choice = logits.index_fill(-1, labels.new_tensor([left_out]), -torch.inf).max(dim=-1)
    missing = others - logits[..., left_out]
    wins = missing[..., None] < biases.to(logits)
    right = wins.where(left_out_image[:, None], (choice == labels)[..., None] & ~wins).to(logits)
    return BiasSweep(
        biases=biases,
        accuracy=right.mean(dim=-2),
        left_out_accuracy=right[..., left_out_image, :].mean(dim=-2),
    )


@dataclass(frozen=True)
class StudentState:
    """What one of the two students can do, in every seed.

    Attributes:
        loss: what it minimises, averaged over the batches since the state before.
        test_loss: cross-entropy with the labels of the test images, at T = 1.
        accuracy: share of the test images that it classes right.
        confusion: test images by label (row) and by the student's choice (column).
        bias: `sweep_bias` on the test images; None if no class was left out.
    """

    loss: Float[Tensor, "seeds"]
    test_loss: Float[Tensor, "seeds"]
    accuracy: Float[Tensor, "seeds"]
    confusion: Int[Tensor, "seeds k k"]
    bias: BiasSweep | None


@dataclass(frozen=True)
class DistilState:
    """Two students after `step` updates, which differ in the teacher only.

    Attributes:
        step: updates so far.
        taught: the student that learns from the teacher's soft targets and from the labels.
        alone: the student that learns from the labels only.
    """

    step: int
    taught: StudentState
    alone: StudentState


def distil(
    data: FashionMNIST,
    teacher_logits: Float[Tensor, "n k"],
    generator: torch.Generator,
    *,
    width: int = 32,
    temperature: Number = 4.0,
    alpha: Number = 0.9,
    labelled: int = 500,
    unlabelled: bool = True,
    left_out: int | None = None,
    steps: int = 800,
    every: int = 20,
    seeds: int = 3,
    batch: int = 64,
    learning_rate: Number = 0.005,
) -> Iterator[DistilState]:
    """Train two equal students, one with the teacher and one without, and show them as they learn.

    Few images have a label. The teacher needs none and gives soft targets to all images. Each step
    draws a batch of labelled images and a batch of any images. Both students minimise
    α · T² · KL(teacher_T ‖ student_T) on the second + (1 - α) · cross-entropy on the first; the
    one without the teacher has α = 0. They start from the same weights, get the same batches and
    follow the same rule (gradient descent with momentum): the soft targets are all that sets them
    apart. How much of the difference comes from the images without label shows when `unlabelled`
    is switched off: both losses are then taken on the same labelled images. So it is, too, if all
    images are labelled.

    A class may be left out: neither student then ever sees an image of it, labelled or not. What
    the taught one knows about it, it knows from the soft targets of other classes' images.

    Every seed draws its own weights, labelled images and batches. All seeds run in one batch.

    Args:
        data: images to learn from and to be tested on; the students' pixels are standardised.
        teacher_logits: of the training images, float32 or float64, which the students get too.
        generator: the same seed gives the same states.
        width: hidden units of a student, which is a perceptron of one hidden layer with ReLU.
        temperature: positive; softens both sides of the divergence.
        alpha: the soft targets' share, in [0, 1].
        labelled: number of images with a label, as many of each class as of any other (give or
            take one) as long as there are enough; all of them if there are fewer.
        unlabelled: whether the teacher also speaks about the images without label.
        left_out: a class, or None.
        steps: updates; 0 shows the start only.
        every: updates between two states, the first of which is the start; the last is shown too.
        seeds: how many times it is repeated with other random numbers.
        batch: images in a batch.
        learning_rate: of the gradient descent, positive.

    Raises:
        ValueError: on the first state, if an argument is out of its range.

    Source: Hinton et al., 2015, section 2 (loss; images without label) and 3 (a class left out).

    >>> labels = torch.tensor([0, 0, 1, 1])
    >>> black_and_white = (labels * 255).byte().view(4, 1, 1, 1).expand(4, 1, 28, 28)
    >>> data = FashionMNIST(black_and_white, labels, black_and_white, labels)
    >>> teacher_logits = torch.tensor([[4.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, 4.0]])
    >>> states = list(distil(data, teacher_logits, torch.Generator().manual_seed(0), steps=40))
    >>> [state.step for state in states], states[-1].taught.accuracy
    ([0, 20, 40], tensor([1., 1., 1.]))
    """
    check_labels(data.train_labels, teacher_logits)
    check_logits(teacher_logits, "teacher_logits")
    check_temperature(temperature, teacher_logits)
    classes = teacher_logits.shape[1]
    if left_out is not None:
        _check_class(left_out, classes)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}: a number in [0, 1] is needed")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate is {learning_rate}: a positive, finite number is needed")
    for name, count, least in (
        ("width", width, 1),
        ("labelled", labelled, 1),
        ("steps", steps, 0),
        ("every", every, 1),
        ("seeds", seeds, 1),
        ("batch", batch, 1),
    ):
        if count < least:
            raise ValueError(f"{name} is {count}: at least {least} is needed")

    lesson = _Lesson(data, teacher_logits, generator, labelled, unlabelled, left_out, seeds)
    students = _Students(width, seeds, teacher_logits, generator)
    share = teacher_logits.new_tensor([[alpha], [0]])
    losses = []
    for step in range(steps + 1):
        shown = step % every == 0 or step == steps
        logits = students.answer(data.test_images) if shown else None
        losses.append(students.learn(lesson.draw(batch), temperature, share, learning_rate))
        if logits is not None:
            taught, alone = (
                _examine(loss, answers, data.test_labels, left_out)
                for loss, answers in zip(torch.stack(losses).mean(dim=0), logits, strict=True)
            )
            losses.clear()
            yield DistilState(step, taught, alone)


@dataclass(frozen=True)
class _Batch:
    """Images with labels, and images with a teacher's logits."""

    hard: UInt8[Tensor, "seeds b 1 28 28"]
    labels: Int[Tensor, "seeds b"]
    soft: UInt8[Tensor, "seeds b 1 28 28"]
    teacher_logits: Float[Tensor, "seeds b k"]


class _Lesson:
    """What the students may see, and the batches drawn from it, with replacement."""

    def __init__(
        self,
        data: FashionMNIST,
        teacher_logits: Tensor,
        generator: torch.Generator,
        labelled: int,
        unlabelled: bool,
        left_out: int | None,
        seeds: int,
    ) -> None:
        self.images, self.labels = data.train_images, data.train_labels
        self.teacher_logits = teacher_logits
        self.generator = generator
        seen: Tensor = self.labels != (-1 if left_out is None else left_out)
        self.transfer = seen.nonzero()[:, 0]
        if len(self.transfer) == 0:
            raise ValueError(f"left_out is {left_out}: no image of another class is there")
        self.labelled = torch.stack([self._choose(labelled) for _ in range(seeds)])
        self.apart = unlabelled and self.labelled.shape[1] < len(self.transfer)

    def _choose(self, count: int) -> Int[Tensor, "labelled"]:
        """As many images of each class as of any other, at random."""
        place = self.generator.device
        order = torch.randperm(len(self.transfer), generator=self.generator, device=place)
        shuffled = self.transfer[order.to(self.transfer.device)]
        one_hot = functional.one_hot(self.labels[shuffled].long())
        place_in_class = (one_hot.cumsum(dim=0) * one_hot).sum(dim=1)
        chosen: Tensor = shuffled[place_in_class.argsort(stable=True)[:count]]
        return chosen

    def draw(self, size: int) -> _Batch:
        """As many images with labels as with a teacher's logits, for every seed."""
        hard = self.labelled.gather(1, self._random(size, self.labelled.shape[1]))
        soft = self.transfer[self._random(size, len(self.transfer))] if self.apart else hard
        labels, teacher_logits = self.labels[hard].long(), self.teacher_logits[soft]
        return _Batch(self.images[hard], labels, self.images[soft], teacher_logits)

    def _random(self, size: int, below: int) -> Int[Tensor, "seeds b"]:
        place, shape = self.generator.device, (len(self.labelled), size)
        drawn = torch.randint(below, shape, generator=self.generator, device=place)
        return drawn.to(self.images.device)


class _Students:
    """Perceptrons of one hidden layer: two for each seed, which start with the same weights."""

    def __init__(
        self, width: int, seeds: int, teacher_logits: Tensor, generator: torch.Generator
    ) -> None:
        sizes = ((28 * 28, width), (width, teacher_logits.shape[1]))
        self.parameters = []
        for fan_in, fan_out in sizes:
            shape = (seeds, fan_in, fan_out)
            drawn = torch.randn(shape, generator=generator, device=generator.device)
            weight = (drawn * math.sqrt(2 / fan_in)).to(teacher_logits)
            for value in (weight, weight.new_zeros(seeds, 1, fan_out)):
                self.parameters.append(torch.stack([value, value]).requires_grad_())
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]

    def __call__(self, images: UInt8[Tensor, "#seeds b 1 28 28"]) -> Float[Tensor, "2 seeds b k"]:
        weight, bias, last_weight, last_bias = self.parameters
        pixels = standardize(images).flatten(2).to(weight)
        hidden = (pixels @ weight + bias).relu()
        return hidden @ last_weight + last_bias

    @torch.no_grad()
    def answer(self, images: UInt8[Tensor, "n 1 28 28"]) -> Float[Tensor, "2 seeds n k"]:
        return self(images[None])

    def learn(
        self,
        batch: _Batch,
        temperature: Number,
        share: Float[Tensor, "2 1"],
        learning_rate: Number,
    ) -> Float[Tensor, "2 seeds"]:
        """Update all students; their losses before it."""
        with torch.enable_grad():
            losses = self._losses(batch, temperature, share)
            gradients = torch.autograd.grad(losses.sum(), self.parameters)
        with torch.no_grad():
            for values in zip(self.parameters, self.velocities, gradients, strict=True):
                parameter, velocity, gradient = values
                velocity.mul_(MOMENTUM).add_(gradient)
                parameter.sub_(learning_rate * velocity)
        return losses.detach()

    def _losses(
        self, batch: _Batch, temperature: Number, share: Float[Tensor, "2 1"]
    ) -> Float[Tensor, "2 seeds"]:
        answers = self(batch.soft)
        soft = soft_losses(answers, batch.teacher_logits.expand_as(answers), temperature)
        log_probabilities = self(batch.hard).log_softmax(dim=-1)
        labels = batch.labels[..., None].expand(2, *batch.labels.shape, 1)
        hard = -log_probabilities.gather(-1, labels)
        return share * soft.mean(dim=-1) + (1 - share) * hard.mean(dim=(-2, -1))


BIASES = tuple(i / 4 for i in range(41))
"""How much a left-out class's logit is raised."""


def _examine(
    loss: Float[Tensor, "seeds"],
    logits: Float[Tensor, "seeds n k"],
    labels: Int[Tensor, "n"],
    left_out: int | None,
) -> StudentState:
    seeds, _, classes = logits.shape
    choice = logits.argmax(dim=-1)
    seed = torch.arange(seeds, device=logits.device)[:, None]
    cell = (seed * classes + labels) * classes + choice
    counts = cell.flatten().bincount(minlength=seeds * classes * classes)
    return StudentState(
        loss=loss,
        test_loss=functional.cross_entropy(
            logits.movedim(2, 1), labels.long().expand(seeds, -1), reduction="none"
        ).mean(dim=1),
        accuracy=(choice == labels).to(logits).mean(dim=1),
        confusion=counts.view(seeds, classes, classes),
        bias=None
        if left_out is None
        else sweep_bias(logits, labels, left_out, logits.new_tensor(BIASES)),
    )


def _check_images(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim < 2 or logits.shape[-1] < 2:
        raise ValueError(
            f"logits has shape {list(logits.shape)}: [..., n, k] with two classes is needed"
        )
    check_labels(labels, logits.flatten(0, -3)[0] if logits.ndim > 2 else logits)


def _check_class(left_out: int, classes: int) -> None:
    if not 0 <= left_out < classes:
        raise ValueError(f"left_out is {left_out}: None or 0 to {classes - 1} is needed")
