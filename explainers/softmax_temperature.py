"""Softmax with a temperature, and what a teacher's soft targets are made of.

A temperature T divides the logits before the softmax: below 1 it sharpens the probabilities, above
1 it softens them. Hinton et al. train a small network on the softened probabilities of a large one;
why their loss carries T² shows in its gradient.

Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from explainers.boxes import Number

NOTICEABLE = 0.01
"""The probability above which a class is counted as noticeable."""


def softmax(logits: Float[Tensor, "*batch k"], temperature: Number) -> Float[Tensor, "*batch k"]:
    """Probabilities exp(z_i / T) / Σ_j exp(z_j / T).

    Finite for any finite logits and any positive temperature: the largest logit is subtracted
    before the division, so no exponent is above 0 and close logits keep their difference. As T
    falls to 0 the largest logit takes all; logits that tie for it share equally at every T.

    Args:
        logits: any finite numbers, at least one for each distribution.
        temperature: positive; 1 is the ordinary softmax.

    Raises:
        ValueError: if `logits` are not finite, or `temperature` is not positive and finite.

    Source: Hinton et al., 2015, equation 1.

    >>> softmax(torch.tensor([2.0, 1.0, 0.0]), temperature=1)
    tensor([0.6652, 0.2447, 0.0900])
    >>> softmax(torch.tensor([2.0, 2.0, 0.0]), temperature=1e-6)
    tensor([0.5000, 0.5000, 0.0000])
    """
    check_logits(logits, "logits")
    check_temperature(temperature, logits)
    return _scaled(logits, temperature).softmax(dim=-1)


def sweep_softmax(
    logits: Float[Tensor, "*batch k"], temperatures: Float[Tensor, "t"]
) -> Float[Tensor, "t *batch k"]:
    """`softmax` at every temperature at once: row i holds the probabilities at `temperatures[i]`.

    Args:
        logits: as for `softmax`.
        temperatures: positive, in any order, rounded to the dtype of `logits`.

    Raises:
        ValueError: as `softmax` does.

    >>> sweep_softmax(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.5, 1.0, 1000.0]))
    tensor([[0.8668, 0.1173, 0.0159],
            [0.6652, 0.2447, 0.0900],
            [0.3337, 0.3333, 0.3330]])
    """
    check_logits(logits, "logits")
    temperatures = check_temperatures(temperatures, logits)
    return _scaled(logits, temperatures.view(-1, *[1] * logits.ndim)).softmax(dim=-1)


def log_temperatures(
    low: Number,
    high: Number,
    count: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "count"]:
    """Temperatures from `low` to `high`, each the same multiple of the one before.

    Raises:
        ValueError: unless 0 < low <= high and there are at least two.

    >>> log_temperatures(0.1, 10, count=3)
    tensor([ 0.1000,  1.0000, 10.0000])
    """
    if not 0 < low <= high < math.inf:
        raise ValueError(f"low is {low}, high is {high}: 0 < low <= high is needed")
    if count < 2:
        raise ValueError(f"count is {count}: at least 2 is needed")
    return torch.logspace(math.log10(low), math.log10(high), count, device=device, dtype=dtype)


def entropy(probabilities: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch"]:
    """How spread out each distribution is: -Σ p ln p in nats, from 0 to ln k; 0 · ln 0 counts as 0.

    Raises:
        ValueError: if a probability lies outside [0, 1] or they do not add up to 1 (within 0.001).

    Source: Shannon, 1948, section 6.

    >>> entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
    tensor([0.0000, 0.6931])
    """
    if probabilities.ndim < 1 or not probabilities.is_floating_point():
        raise ValueError(
            f"probabilities has shape {list(probabilities.shape)} and dtype "
            f"{probabilities.dtype}: floating numbers of shape [..., k] are needed"
        )
    outside = probabilities[~((probabilities >= 0) & (probabilities <= 1 + 1e-3))]
    if len(outside) > 0:
        raise ValueError(f"probabilities has {outside[0]:g}: numbers in [0, 1] are needed")
    sums = probabilities.sum(dim=-1)
    if not ((sums - 1).abs() <= 1e-3).all():
        raise ValueError("probabilities must add up to 1 in each distribution")
    terms: Tensor = torch.special.entr(probabilities)
    return terms.sum(dim=-1)


@dataclass(frozen=True)
class Softened:
    """One set of logits at t temperatures.

    Attributes:
        temperatures: as given.
        probabilities: of every class, in the order of the logits.
        top: the m classes of the largest logits, by falling logit, the lower index first on ties.
            A temperature never changes this order.
        top_probabilities: theirs, in the order of `top`.
        rest: the probability of all other classes together.
        largest: the largest probability.
        entropy: in nats.
        noticeable: how many classes have more than 1 %.
        gap: distance of the two largest logits after the division by T; the probabilities of the
            two have the ratio exp(gap). Infinity if there is one class only.
    """

    temperatures: Float[Tensor, "t"]
    probabilities: Float[Tensor, "t k"]
    top: Int[Tensor, "m"]
    top_probabilities: Float[Tensor, "t m"]
    rest: Float[Tensor, "t"]
    largest: Float[Tensor, "t"]
    entropy: Float[Tensor, "t"]
    noticeable: Int[Tensor, "t"]
    gap: Float[Tensor, "t"]


def soften(logits: Float[Tensor, "k"], temperatures: Float[Tensor, "t"], top: int = 10) -> Softened:
    """`sweep_softmax` and what there is to say about each of its rows.

    Args:
        logits, temperatures: as for `sweep_softmax`.
        top: how many classes to list, at least 1; all if there are fewer.

    Raises:
        ValueError: as `sweep_softmax` does, or if `top` is not positive.

    >>> softened = soften(torch.tensor([0.0, 2.0, 1.0]), torch.tensor([0.1, 1.0]), top=2)
    >>> softened.top, softened.rest, softened.noticeable
    (tensor([1, 2]), tensor([2.0611e-09, 9.0031e-02]), tensor([1, 3]))
    """
    check_logits(logits, "logits", ndim=1)
    if top < 1:
        raise ValueError(f"top is {top}: at least 1 is needed")
    probabilities = sweep_softmax(logits, temperatures)
    order = logits.argsort(descending=True, stable=True)
    first = logits[order[0]]
    second = logits[order[1]] if len(order) > 1 else first - torch.inf
    return Softened(
        temperatures=temperatures,
        probabilities=probabilities,
        top=order[:top],
        top_probabilities=probabilities[:, order[:top]],
        rest=probabilities[:, order[top:]].sum(dim=-1),
        largest=probabilities[:, order[0]],
        entropy=entropy(probabilities),
        noticeable=(probabilities > NOTICEABLE).sum(dim=-1),
        gap=(first - second) / temperatures.to(logits),
    )


@dataclass(frozen=True)
class AtTemperature:
    """One row of `Softened`, in plain numbers; see there."""

    temperature: float
    largest: float
    entropy: float
    noticeable: int
    gap: float


def at_temperature(softened: Softened, index: int) -> AtTemperature:
    """What there is to say at one temperature.

    Args:
        index: of the temperature.

    Raises:
        ValueError: if there is no such temperature.

    >>> at_temperature(soften(torch.tensor([1.0, 1.0]), torch.tensor([2.0])), 0)
    AtTemperature(temperature=2.0, largest=0.5, entropy=0.6931471824645996, noticeable=2, gap=0.0)
    """
    if not 0 <= index < len(softened.temperatures):
        raise ValueError(f"index is {index}: 0 to {len(softened.temperatures) - 1} is needed")
    return AtTemperature(
        temperature=float(softened.temperatures[index]),
        largest=float(softened.largest[index]),
        entropy=float(softened.entropy[index]),
        noticeable=int(softened.noticeable[index]),
        gap=float(softened.gap[index]),
    )


@dataclass(frozen=True)
class Limits:
    """What the softmax tends to.

    Attributes:
        cold: as T falls to 0: the largest logit takes all; those that tie for it share equally.
        hot: as T grows without bound: every class has the same.
    """

    cold: Float[Tensor, "*batch k"]
    hot: Float[Tensor, "*batch k"]


def limits(logits: Float[Tensor, "*batch k"]) -> Limits:
    """The softmax at T → 0 and T → ∞.

    Raises:
        ValueError: if `logits` are not finite.

    >>> limits(torch.tensor([1.0, 3.0, 3.0, 0.0])).cold
    tensor([0.0000, 0.5000, 0.5000, 0.0000])
    """
    check_logits(logits, "logits")
    largest = (logits == logits.amax(dim=-1, keepdim=True)).to(logits)
    return Limits(
        cold=largest / largest.sum(dim=-1, keepdim=True),
        hot=torch.full_like(logits, 1 / logits.shape[-1]),
    )


def distillation_loss(
    student_logits: Float[Tensor, "n k"],
    teacher_logits: Float[Tensor, "n k"],
    labels: Int[Tensor, "n"],
    temperature: Number,
    alpha: Number,
) -> Float[Tensor, ""]:
    """α · T² · KL(teacher_T ‖ student_T) + (1 - α) · cross-entropy, averaged over the batch.

    Teacher and student are both softened by T in the first term. The second compares the student
    at T = 1 with the labels. The divergence has the gradient of the paper's cross-entropy with
    soft targets, and is 0 where student and teacher agree.

    Args:
        student_logits, teacher_logits: any finite numbers, for at least one image.
        labels: the right class of each image, from 0 to k - 1.
        temperature: positive.
        alpha: the soft targets' share, in [0, 1].

    Raises:
        ValueError: if shapes differ, a logit is not finite, or an argument is out of its range.

    Source: Hinton et al., 2015, section 2.

    >>> teacher = torch.tensor([[4.0, 2.0, 0.0]])
    >>> distillation_loss(teacher, teacher, torch.tensor([0]), temperature=4, alpha=1)
    tensor(0.)
    >>> student = torch.zeros(1, 3)  # ln 3 from the label
    >>> distillation_loss(student, teacher, torch.tensor([0]), temperature=4, alpha=0)
    tensor(1.0986)
    """
    _check_pair(student_logits, teacher_logits)
    check_labels(labels, student_logits)
    check_temperature(temperature, student_logits)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}: a number in [0, 1] is needed")
    soft = soft_losses(student_logits, teacher_logits, temperature).mean()
    hard = functional.cross_entropy(student_logits, labels.long())
    return alpha * soft + (1 - alpha) * hard


def soft_losses(
    student_logits: Float[Tensor, "*batch k"],
    teacher_logits: Float[Tensor, "*batch k"],
    temperature: Number,
) -> Float[Tensor, "*batch"]:
    """T² · KL(teacher_T ‖ student_T) of each image. It is for loops: nothing is checked.

    >>> soft_losses(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), temperature=1)
    tensor([0.1109])
    """
    log_p = _scaled(teacher_logits, temperature).log_softmax(dim=-1)
    log_q = _scaled(student_logits, temperature).log_softmax(dim=-1)
    p, q = log_p.exp(), log_q.exp()
    # KL = Σ p ln(p / q), written as Σ p (q / p - 1 - ln(q / p)). Each of these terms is at least 0,
    # so at a high temperature, where p and q are nearly equal, none cancels another.
    log_ratio = log_q - log_p
    small = log_ratio.clamp(-1, 1)
    terms = torch.where(log_ratio == small, p * (small.expm1() - small), q - p - p * log_ratio)
    return temperature * (temperature * terms.sum(dim=-1))


def soft_target_gradient(
    student_logits: Float[Tensor, "*batch k"],
    teacher_logits: Float[Tensor, "*batch k"],
    temperature: Number,
) -> Float[Tensor, "*batch k"]:
    """How the divergence from the soft targets, without T², changes with each student's logit.

    ∂KL / ∂z = (softmax(z / T) - softmax(v / T)) / T, for each image by itself.

    Args:
        student_logits, teacher_logits: z and v, any finite numbers.
        temperature: positive.

    Raises:
        ValueError: if shapes differ, a logit is not finite, or `temperature` is not positive.

    Source: Hinton et al., 2015, equation 2.

    >>> student, teacher = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
    >>> soft_target_gradient(student, teacher, temperature=1)
    tensor([-0.2311,  0.2311])
    """
    _check_pair(student_logits, teacher_logits)
    difference = softmax(student_logits, temperature) - softmax(teacher_logits, temperature)
    return difference / temperature


def high_temperature_gradient(
    student_logits: Float[Tensor, "*batch k"],
    teacher_logits: Float[Tensor, "*batch k"],
    temperature: Number,
) -> Float[Tensor, "*batch k"]:
    """What `soft_target_gradient` tends to when T is large beside the logits: (z - v) / (k T²).

    The logits of each image are centred first: the paper takes them to have zero mean. Matching
    soft targets then is matching logits.

    Args:
        student_logits, teacher_logits, temperature: as for `soft_target_gradient`.

    Raises:
        ValueError: as `soft_target_gradient` does.

    Source: Hinton et al., 2015, equation 4.

    >>> student, teacher = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
    >>> high_temperature_gradient(student, teacher, temperature=1)
    tensor([-0.2500,  0.2500])
    """
    _check_pair(student_logits, teacher_logits)
    check_temperature(temperature, student_logits)
    return _centred_difference(student_logits, teacher_logits) / temperature / temperature


def hard_target_gradient(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, "n"]
) -> Float[Tensor, "n k"]:
    """How the cross-entropy with the labels changes with each logit: softmax(z) - one-hot.

    Args:
        logits: any finite numbers.
        labels: the right class of each image, from 0 to k - 1.

    Raises:
        ValueError: if a logit is not finite or a label is not a class.

    >>> hard_target_gradient(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
    tensor([[-0.5000,  0.5000]])
    """
    check_labels(labels, logits)
    one_hot = functional.one_hot(labels.long(), logits.shape[-1])
    return softmax(logits, temperature=1) - one_hot.to(logits)


@dataclass(frozen=True)
class GradientSweep:
    """Length of the gradients that reach the student's logits, at t temperatures.

    Attributes:
        temperatures: as given.
        soft: of the divergence from the soft targets: `soft_target_gradient`'s.
        limit: of what it tends to as T grows: `high_temperature_gradient`'s; it falls as 1 / T².
        scaled: `soft` · T²: what the loss uses. It tends to a length that T does not change.
        hard: of the cross-entropy with the labels, at T = 1, whatever the temperature.
    """

    temperatures: Float[Tensor, "t"]
    soft: Float[Tensor, "t"]
    limit: Float[Tensor, "t"]
    scaled: Float[Tensor, "t"]
    hard: Float[Tensor, ""]


def sweep_gradients(
    student_logits: Float[Tensor, "n k"],
    teacher_logits: Float[Tensor, "n k"],
    labels: Int[Tensor, "n"],
    temperatures: Float[Tensor, "t"],
) -> GradientSweep:
    """Euclidean lengths of the gradients at every temperature at once, averaged over the images.

    Args:
        student_logits, teacher_logits: any finite numbers, for at least one image.
        labels: the right class of each image, from 0 to k - 1.
        temperatures: positive, in any order.

    Raises:
        ValueError: if shapes differ, a logit is not finite, or an argument is out of its range.

    Source: Hinton et al., 2015, section 2 and 2.1.

    >>> student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> sweep = sweep_gradients(student, teacher, torch.tensor([0]), torch.tensor([1.0, 10.0]))
    >>> sweep.soft, sweep.scaled, sweep.hard
    (tensor([0.3268, 0.0035]), tensor([0.3268, 0.3533]), tensor(0.7071))
    """
    _check_pair(student_logits, teacher_logits)
    check_labels(labels, student_logits)
    temperature = check_temperatures(temperatures, student_logits)
    difference = sweep_softmax(student_logits, temperature) - sweep_softmax(
        teacher_logits, temperature
    )
    soft = difference.norm(dim=-1).mean(dim=-1) / temperature
    limit = _centred_difference(student_logits, teacher_logits).norm(dim=-1).mean()
    return GradientSweep(
        temperatures=temperatures,
        soft=soft,
        limit=limit / temperature / temperature,
        scaled=soft * temperature * temperature,
        hard=hard_target_gradient(student_logits, labels).norm(dim=-1).mean(),
    )


def first_gradients(
    teacher_logits: Float[Tensor, "k"], temperatures: Float[Tensor, "t"]
) -> GradientSweep:
    """`sweep_gradients` for a student that knows nothing yet: all of its logits are 0.

    Args:
        teacher_logits: of one picture; its label is the class that the teacher holds for likeliest.
        temperatures: positive, in any order.

    Raises:
        ValueError: as `sweep_gradients` does.

    >>> first_gradients(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 10.0])).soft
    tensor([0.3268, 0.0035])
    """
    check_logits(teacher_logits, "teacher_logits", ndim=1)
    teacher = teacher_logits[None]
    label = teacher.argmax(dim=-1)
    return sweep_gradients(torch.zeros_like(teacher), teacher, label, temperatures)


def _scaled(
    logits: Float[Tensor, "*batch k"], temperature: Number | Tensor
) -> Float[Tensor, "*more k"]:
    """Logits divided by the temperature, shifted so that the largest is 0, and finite."""
    gaps = logits - logits.amax(dim=-1, keepdim=True).detach()
    return (gaps / temperature).clamp(min=torch.finfo(logits.dtype).min / 2)


def _centred_difference(
    student_logits: Float[Tensor, "*batch k"], teacher_logits: Float[Tensor, "*batch k"]
) -> Float[Tensor, "*batch k"]:
    difference = student_logits - teacher_logits
    return (difference - difference.mean(dim=-1, keepdim=True)) / difference.shape[-1]


def check_logits(logits: Tensor, name: str, ndim: int | None = None) -> None:
    """Raise ValueError unless `logits` are finite numbers of at least one class."""
    if logits.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"{name} has dtype {logits.dtype}: float32 or float64 is needed")
    if logits.ndim < 1 or logits.shape[-1] < 1 or ndim not in (None, logits.ndim):
        wanted = "[k]" if ndim == 1 else "[..., k]"
        raise ValueError(
            f"{name} has shape {list(logits.shape)}: {wanted} with at least one class is needed"
        )
    infinite = logits[~logits.isfinite()]
    if len(infinite) > 0:
        raise ValueError(f"{name} has {infinite[0]:g}: finite numbers are needed")


def _check_pair(student_logits: Tensor, teacher_logits: Tensor) -> None:
    check_logits(student_logits, "student_logits")
    check_logits(teacher_logits, "teacher_logits")
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"teacher_logits has shape {list(teacher_logits.shape)}: that of student_logits, "
            f"{list(student_logits.shape)}, is needed"
        )


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise ValueError unless there is one class for each row of `logits`, and there are rows."""
    if logits.ndim != 2 or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels has shape {list(labels.shape)}, the logits {list(logits.shape)}: "
            "[n], [n, k] with at least one image is needed"
        )
    if labels.is_floating_point():
        raise ValueError(f"labels has dtype {labels.dtype}: integers are needed")
    wrong = labels[(labels < 0) | (labels >= logits.shape[-1])]
    if len(wrong) > 0:
        raise ValueError(f"labels has {wrong[0]}: 0 to {logits.shape[-1] - 1} is needed")


def check_temperature(temperature: Number, logits: Tensor) -> None:
    """Raise ValueError unless it is positive and finite, also in the dtype of `logits`."""
    rounded = logits.new_tensor(temperature)
    if not 0 < rounded < torch.inf:
        raise ValueError(f"temperature is {temperature}: a positive, finite number is needed")


def check_temperatures(temperatures: Tensor, logits: Tensor) -> Float[Tensor, "t"]:
    """The temperatures in the dtype of `logits`, once they are known to be usable."""
    if temperatures.ndim != 1:
        raise ValueError(
            f"temperatures has shape {list(temperatures.shape)}: one dimension is needed"
        )
    rounded = temperatures.to(logits)
    outside = temperatures[~((rounded > 0) & (rounded < torch.inf))]
    if len(outside) > 0:
        raise ValueError(f"temperatures has {outside[0]:g}: positive, finite numbers are needed")
    return rounded
