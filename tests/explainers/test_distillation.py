import math
import threading
from itertools import islice

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from explainers.distillation import (
    BIASES,
    _Lesson,
    _Students,
    confusions,
    distil,
    mean_soft_labels,
    sweep_bias,
    sweep_mean_soft_labels,
    telling_images,
)
from explainers.fashion_mnist import FashionMNIST, fashion_mnist, standardize
from explainers.models.fashion_teacher import teacher_logits
from explainers.softmax_temperature import distillation_loss


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def numbers(values, dtype=torch.float64, device=None):
    return torch.tensor(values, dtype=dtype, device=device)


def noise(*shape, scale=1.0, seed=0, dtype=torch.float64, device=None):
    drawn = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    return (drawn * scale).to(device, dtype)


@pytest.fixture
def tiny(device):
    """Five classes of 8 and 4 images; the first pixel is the label, the others are noise."""

    def part(each, seed):
        labels = torch.arange(5).repeat(each)
        images = torch.randint(256, (5 * each, 1, 28, 28), generator=generator(seed))
        images[:, 0, 0, 0] = labels
        return images.byte().to(device), labels.to(device)

    return FashionMNIST(*part(8, seed=0), *part(4, seed=1))


@pytest.fixture
def teacher(tiny, dtype):
    """Right about its images, and not quite sure."""
    one_hot = nn.functional.one_hot(tiny.train_labels, 5)
    return one_hot * 4.0 + noise(40, 5, dtype=dtype, device=tiny.train_labels.device)


def run(tiny, teacher, seed=0, **options):
    options = {"width": 4, "labelled": 20, "steps": 10, "every": 5, "batch": 6} | options
    return list(
        distil(tiny, teacher.to(options.pop("dtype", teacher.dtype)), generator(seed), **options)
    )


def same(first, second):
    """Whether two states hold equal numbers."""
    return all(
        getattr(one, name).equal(getattr(other, name))
        for one, other in ((first.taught, second.taught), (first.alone, second.alone))
        for name in ("loss", "test_loss", "accuracy", "confusion")
    )


class TestMeanSoftLabels:
    def test_worked_by_hand(self, device, dtype):
        """Odds of 3 : 1, 1 : 1 and 1 : 4 at T = 2; no image of the third class."""
        logits = numbers([[9, 1, 0], [1, 1, 0], [1, 16, 0]], dtype, device)
        logits = logits.clamp(min=1e-30).log()
        labels = torch.tensor([0, 0, 1], device=device)
        expected = [[(0.75 + 0.5) / 2, (0.25 + 0.5) / 2, 0], [0.2, 0.8, 0], [0, 0, 0]]
        assert_close(mean_soft_labels(logits, labels, 2), numbers(expected, dtype, device))

    def test_sweep_is_one_by_one(self, device, dtype):
        logits = noise(50, 10, scale=4, dtype=dtype, device=device)
        labels = torch.arange(50, device=device) % 10
        temperatures = numbers([1e-6, 0.05, 1, 8, 50], dtype, device)
        swept = sweep_mean_soft_labels(logits, labels, temperatures)
        for i, temperature in enumerate(temperatures.tolist()):
            assert_close(swept[i], mean_soft_labels(logits, labels, temperature))
        assert_close(swept.sum(dim=-1), torch.ones_like(swept[..., 0]))

    def test_cold_it_counts_the_first_choices(self):
        logits, labels = noise(200, 4), torch.arange(200) % 4
        rows = [logits[labels == k].argmax(dim=1).bincount(minlength=4) / 50.0 for k in range(4)]
        assert_close(mean_soft_labels(logits, labels, 1e-6), torch.stack(rows).double())


class TestConfusions:
    def test_worked_by_hand(self, device, dtype):
        """Rows miss 0.3, 0.2 and 0.4; the largest single share is 0.25, of row 2 and column 0."""
        hot = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.15, 0.6]]
        found = confusions(numbers([hot, torch.eye(3).tolist()], dtype, device))
        assert_close(found.wrong, numbers([0.3, 0], dtype, device))
        assert found.row[0] == 2
        assert found.column[0] == 0
        assert_close(found.share, numbers([0.25, 0], dtype, device))


class TestTellingImages:
    def test_worked_by_hand(self, device, dtype):
        """At T = 1 the second choices hold 1/4, 2/5, 1/2 and 1/9; the third image is missed."""
        odds = [[3, 1e-9, 1], [2, 3, 1e-9], [1, 1, 1e-9], [1, 1e-9, 8]]
        logits = numbers(odds, dtype, device).log()
        labels = torch.tensor([0, 1, 1, 2], device=device)
        telling = telling_images(logits, labels, temperature=1, k=9)
        assert telling.images.tolist() == [1, 0, 3]
        assert telling.first.tolist() == [1, 0, 2]
        assert telling.second.tolist() == [0, 2, 0]
        assert_close(telling.share, numbers([2 / 5, 1 / 4, 1 / 9], dtype, device))
        assert_close(telling.probabilities[1], numbers([3 / 4, 0, 1 / 4], dtype, device))
        assert telling_images(logits, labels, temperature=1, k=2).images.tolist() == [1, 0]

    def test_none_right(self):
        telling = telling_images(noise(5, 3), noise(5, 3).argmin(dim=1), temperature=1, k=3)
        assert telling.images.shape == (0,)
        assert telling.probabilities.shape == (0, 3)


class TestSweepBias:
    @pytest.mark.parametrize("left_out", [0, 3])
    def test_is_adding_and_choosing_again(self, left_out, device, dtype):
        logits = noise(3, 60, 4, scale=2, dtype=dtype, device=device)
        labels = torch.arange(60, device=device) % 4
        biases = numbers([-20, -1, 0, 0.7, 20], dtype, device)
        sweep = sweep_bias(logits, labels, left_out, biases)
        for i, bias in enumerate(biases.tolist()):
            raised = logits.clone()
            raised[..., left_out] += bias
            right = (raised.argmax(dim=-1) == labels).to(dtype)
            assert_close(sweep.accuracy[:, i], right.mean(dim=1))
            assert_close(sweep.left_out_accuracy[:, i], right[:, labels == left_out].mean(dim=1))
        assert (sweep.left_out_accuracy[:, 0] == 0).all()
        assert (sweep.left_out_accuracy[:, -1] == 1).all()


class TestDistil:
    def test_steps_of_the_states(self, tiny, teacher):
        assert [s.step for s in run(tiny, teacher)] == [0, 5, 10]
        assert [s.step for s in run(tiny, teacher, steps=7)] == [0, 5, 7]
        assert [s.step for s in run(tiny, teacher, steps=0)] == [0]

    def test_both_start_equal_and_part(self, tiny, teacher):
        first, *_, last = run(tiny, teacher)
        for name in ("test_loss", "accuracy", "confusion"):
            assert getattr(first.taught, name).equal(getattr(first.alone, name))
        assert not last.taught.test_loss.equal(last.alone.test_loss)

    def test_without_the_teacher_both_are_one(self, tiny, teacher):
        """Equal weights, batches and rule: at α = 0 nothing sets the students apart."""
        for state in run(tiny, teacher, alpha=0, left_out=2):
            for name in ("loss", "test_loss", "accuracy", "confusion"):
                assert_close(getattr(state.taught, name), getattr(state.alone, name))

    def test_the_teacher_does_not_touch_the_student_alone(self, tiny, teacher):
        calm, hot = (run(tiny, teacher, temperature=t, alpha=a) for t, a in ((1, 0.2), (20, 1)))
        for one, other in zip(calm, hot, strict=True):
            assert one.alone.test_loss.equal(other.alone.test_loss)

    def test_the_seed_decides(self, tiny, teacher):
        once, again = run(tiny, teacher), run(tiny, teacher)
        assert all(same(one, other) for one, other in zip(once, again, strict=True))
        assert not same(once[0], run(tiny, teacher, seed=1)[0])
        losses = once[0].taught.test_loss
        assert len(losses.unique()) == len(losses) == 3

    @pytest.mark.parametrize("unlabelled", [True, False])
    @pytest.mark.parametrize("seed", [0, 1])
    def test_is_torchs_own_training(self, tiny, teacher, unlabelled, seed):
        """The same weights and batches through torch's layers, losses and optimizer."""
        tail = {"temperature": 3.0, "alpha": 0.6}
        states = run(tiny, teacher, seeds=2, unlabelled=unlabelled, **tail)
        source = generator()
        lesson = _Lesson(tiny, teacher, source, 20, unlabelled, None, 2)
        students = _Students(4, 2, teacher, source)
        weights = [parameter[:, seed].detach().clone() for parameter in students.parameters]
        batches = [lesson.draw(6) for _ in range(11)]
        for which, alpha in enumerate((tail["alpha"], 0)):
            student = nn.Sequential(nn.Flatten(), nn.Linear(784, 4), nn.ReLU(), nn.Linear(4, 5))
            values = [weight[which] for weight in weights]
            with torch.no_grad():
                for layer, (weight, bias) in zip(
                    (student[1], student[3]), (values[:2], values[2:]), strict=True
                ):
                    layer.weight, layer.bias = nn.Parameter(weight.T), nn.Parameter(bias[0])
            optimizer = torch.optim.SGD(student.parameters(), lr=0.005, momentum=0.9)
            losses = []
            for batch in batches[:10]:
                answers, soft_answers = (
                    student(standardize(images[seed]).to(teacher))
                    for images in (batch.hard, batch.soft)
                )
                soft = distillation_loss(
                    soft_answers, batch.teacher_logits[seed], batch.labels[seed], 3.0, alpha=1
                )
                hard = nn.functional.cross_entropy(answers, batch.labels[seed])
                loss = alpha * soft + (1 - alpha) * hard
                losses.append(loss.detach())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            tested = student(standardize(tiny.test_images).to(teacher)).detach()
            found = (states[-1].taught, states[-1].alone)[which]
            expected = nn.functional.cross_entropy(tested, tiny.test_labels)
            assert_close(found.test_loss[seed], expected, atol=1e-4, rtol=1e-3)
            assert (
                found.accuracy[seed] == (tested.argmax(dim=1) == tiny.test_labels).to(tested).mean()
            )
            earlier = (states[1].taught, states[1].alone)[which]
            assert_close(earlier.loss[seed], torch.stack(losses[1:6]).mean(), atol=1e-4, rtol=1e-3)

    def test_what_a_state_says_fits_together(self, tiny, teacher):
        state = run(tiny, teacher, left_out=2)[-1]
        for student in (state.taught, state.alone):
            counts = student.confusion
            assert counts.shape == (3, 5, 5)
            assert (counts.sum(dim=2) == 4).all()
            diagonal = counts.diagonal(dim1=1, dim2=2)
            assert_close(student.accuracy, diagonal.sum(dim=1).to(student.accuracy) / 20)
            assert_close(student.bias.accuracy[:, 0], student.accuracy)
            assert_close(
                student.bias.left_out_accuracy[:, 0], diagonal[:, 2].to(student.accuracy) / 4
            )
            assert student.bias.biases.tolist() == list(BIASES)
        assert run(tiny, teacher)[-1].taught.bias is None

    def test_the_states_have_the_dtype_of_the_teacher(self, tiny, teacher):
        state = run(tiny, teacher, left_out=0)[0]
        for student in (state.taught, state.alone):
            assert student.loss.dtype == student.accuracy.dtype == teacher.dtype
            assert student.confusion.dtype == torch.int64

    def test_it_can_be_stopped_between_two_states(self, tiny, teacher):
        threads = threading.active_count()
        states = distil(tiny, teacher, generator(), width=4, steps=10**9, every=2, batch=4)
        assert [state.step for state in islice(states, 3)] == [0, 2, 4]
        states.close()
        assert next(states, None) is None
        assert threading.active_count() == threads

    def test_it_neither_needs_nor_changes_the_mode_of_gradients(self, tiny, teacher):
        states = distil(tiny, teacher, generator(), width=4, steps=10, batch=4)
        with torch.no_grad():
            first = next(states)
            assert not torch.is_grad_enabled()
            last = next(states)
        assert torch.is_grad_enabled()
        assert not last.taught.test_loss.equal(first.taught.test_loss)
        assert not last.taught.loss.requires_grad

    def test_a_single_image(self, tiny, teacher, device):
        one = FashionMNIST(
            tiny.train_images[:1], tiny.train_labels[:1], tiny.test_images[:1], tiny.test_labels[:1]
        )
        states = list(distil(one, teacher[:1], generator(), width=1, seeds=1, batch=1, steps=1))
        assert [state.step for state in states] == [0, 1]


class TestLesson:
    def lesson(self, tiny, teacher, labelled, unlabelled=True, left_out=None, seeds=3):
        return _Lesson(tiny, teacher, generator(), labelled, unlabelled, left_out, seeds)

    def drawn(self, lesson, count=50):
        batches = [lesson.draw(8) for _ in range(count)]
        return [
            {
                int(label)
                for batch in batches
                for label in getattr(batch, name)[..., 0, 0, 0].flatten()
            }
            for name in ("hard", "soft")
        ]

    def test_as_many_labels_of_each_class(self, tiny, teacher):
        lesson = self.lesson(tiny, teacher, labelled=12)
        assert lesson.labelled.shape == (3, 12)
        for chosen in lesson.labelled:
            assert len(chosen.unique()) == 12
            assert sorted(tiny.train_labels[chosen].bincount(minlength=5).tolist()) == [
                2,
                2,
                2,
                3,
                3,
            ]
        assert not lesson.labelled[0].equal(lesson.labelled[1])

    def test_a_class_that_is_left_out_is_never_seen(self, tiny, teacher):
        lesson = self.lesson(tiny, teacher, labelled=8, left_out=3)
        assert self.drawn(lesson) == [{0, 1, 2, 4}, {0, 1, 2, 4}]
        assert tiny.train_labels[lesson.labelled[0]].bincount().tolist() == [2, 2, 2, 0, 2]

    def test_images_come_with_their_own_labels_and_soft_targets(self, tiny, teacher):
        batch = self.lesson(tiny, teacher, labelled=20).draw(8)
        assert batch.hard[..., 0, 0, 0].equal(batch.labels.byte())
        for images, logits in zip(batch.soft[0], batch.teacher_logits[0], strict=True):
            index = (tiny.train_images == images).flatten(1).all(dim=1).nonzero()
            assert logits.equal(teacher[index[0, 0]])

    def test_fewer_images_than_labels(self, tiny, teacher):
        lesson = self.lesson(tiny, teacher, labelled=1000)
        assert lesson.labelled.shape == (3, 40)
        batch = lesson.draw(8)
        assert batch.hard.equal(batch.soft)

    def test_the_teacher_can_be_kept_to_the_labelled_images(self, tiny, teacher):
        batch = self.lesson(tiny, teacher, labelled=5, unlabelled=False).draw(8)
        assert batch.hard.equal(batch.soft)
        batch = self.lesson(tiny, teacher, labelled=5).draw(8)
        assert not batch.hard.equal(batch.soft)


class TestOnFashionMnist:
    def test_the_teacher_helps(self):
        """The claims of the page, on a short run: every seed gains from the teacher."""
        logits = teacher_logits().train
        *_, last = distil(fashion_mnist(), logits, generator(), width=16, steps=200, every=200)
        assert (last.taught.accuracy - last.alone.accuracy > 0.02).all()

    def test_a_class_never_seen_is_known_once_its_bias_is_raised(self):
        """Hinton et al., section 3, with sneakers in the place of threes."""
        data, logits = fashion_mnist(), teacher_logits().train
        *_, last = distil(
            data, logits, generator(), width=16, steps=200, every=200, left_out=7, temperature=2
        )
        best = last.taught.bias.accuracy.mean(dim=0).argmax()
        assert last.taught.bias.left_out_accuracy[:, best].mean() > 0.5
        best = last.alone.bias.accuracy.mean(dim=0).argmax()
        assert last.alone.bias.left_out_accuracy[:, best].mean() < 0.2


LOGITS, LABELS = torch.zeros(3, 2), torch.tensor([0, 1, 1])
HOT = torch.tensor([1.0, 2.0])


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temperature": 0}, "temperature is 0"),
            ({"alpha": 1.5}, "alpha is 1.5"),
            ({"alpha": math.nan}, "alpha is nan"),
            ({"learning_rate": 0}, "learning_rate is 0"),
            ({"learning_rate": math.inf}, "learning_rate is inf"),
            ({"width": 0}, "width is 0: at least 1"),
            ({"labelled": 0}, "labelled is 0: at least 1"),
            ({"steps": -1}, "steps is -1: at least 0"),
            ({"every": 0}, "every is 0: at least 1"),
            ({"seeds": 0}, "seeds is 0: at least 1"),
            ({"batch": 0}, "batch is 0: at least 1"),
            ({"left_out": 5}, "left_out is 5: None or 0 to 4"),
            ({"left_out": -1}, "left_out is -1: None or 0 to 4"),
        ],
    )
    def test_distil(self, tiny, teacher, options, message):
        with pytest.raises(ValueError, match=message):
            run(tiny, teacher, **options)

    def test_distil_needs_a_teacher_for_each_image(self, tiny, teacher):
        with pytest.raises(ValueError, match=r"labels has shape \[40\], the logits \[39, 5\]"):
            run(tiny, teacher[:39])
        with pytest.raises(ValueError, match="teacher_logits has nan"):
            run(tiny, teacher * math.nan)

    def test_no_image_is_left(self, tiny, teacher):
        alike = FashionMNIST(
            tiny.train_images, tiny.train_labels * 0, tiny.test_images, tiny.test_labels
        )
        with pytest.raises(ValueError, match="left_out is 0: no image of another class"):
            run(alike, teacher, left_out=0)

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: mean_soft_labels(LOGITS, LABELS[:2], 1), r"labels has shape \[2\]"),
            (lambda: mean_soft_labels(LOGITS, LABELS + 1, 1), "labels has 2: 0 to 1"),
            (lambda: mean_soft_labels(LOGITS, LABELS, 0), "temperature is 0"),
            (lambda: mean_soft_labels(LOGITS[:0], LABELS[:0], 1), "at least one image"),
            (lambda: sweep_mean_soft_labels(LOGITS, LABELS, HOT - 1), "temperatures has 0"),
            (lambda: telling_images(LOGITS, LABELS, 1, 0), "k is 0: at least 1"),
            (lambda: telling_images(LOGITS[:, :1], LABELS * 0, 1, 1), "two classes"),
            (lambda: telling_images(LOGITS * math.nan, LABELS, 1, 1), "logits has nan"),
            (lambda: sweep_bias(LOGITS, LABELS, 2, HOT), "left_out is 2"),
            (lambda: sweep_bias(LOGITS, LABELS * 0, 1, HOT), "left_out is 1: no image"),
            (lambda: sweep_bias(LOGITS[0], LABELS, 1, HOT), r"logits has shape \[2\]"),
            (lambda: sweep_bias(LOGITS, LABELS, 1, HOT * math.nan), "biases is"),
            (lambda: sweep_bias(LOGITS, LABELS, 1, HOT[0]), "biases is"),
        ],
    )
    def test_message(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()
