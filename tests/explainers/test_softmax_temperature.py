import math
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from explainers.softmax_temperature import (
    distillation_loss,
    entropy,
    first_gradients,
    hard_target_gradient,
    high_temperature_gradient,
    limits,
    log_temperatures,
    soft_target_gradient,
    soften,
    softmax,
    sweep_gradients,
    sweep_softmax,
)

TEMPERATURES = [1e-6, 1e-3, 0.05, 0.5, 1, 4, 50, 1e4]


def numbers(values, dtype=torch.float64, device=None):
    return torch.tensor(values, dtype=dtype, device=device)


def draw(*shape, scale=1.0, seed=0, dtype=torch.float64, device=None):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (drawn * scale).to(device, dtype)


def exact_softmax(logits, temperature):
    """The definition in 60 decimal digits, of the very numbers that the tensors hold."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 60, MAX_EMAX, MIN_EMIN
        powers = [(Decimal(z) / Decimal(temperature)).exp() for z in logits]
        return [power / sum(powers) for power in powers]


def defined_loss(student, teacher, labels, temperature, alpha):
    """The definition, one image and one class at a time."""
    total = []
    for z, v, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = exact_softmax(v, temperature), exact_softmax(z, temperature)
        with localcontext() as context:
            context.Emax, context.Emin = MAX_EMAX, MIN_EMIN
            divergence = math.fsum(float(a * (a / b).ln()) for a, b in zip(p, q, strict=True))
            cross_entropy = -float(exact_softmax(z, 1)[label].ln())
        total.append(alpha * temperature**2 * divergence + (1 - alpha) * cross_entropy)
    return math.fsum(total) / len(total)


class TestSoftmax:
    @pytest.mark.parametrize("temperature", TEMPERATURES)
    @pytest.mark.parametrize("scale", [1, 100])
    def test_is_the_definition(self, temperature, scale, device, dtype):
        logits = draw(12, scale=scale, dtype=dtype, device=device)
        expected = [float(p) for p in exact_softmax(logits.tolist(), temperature)]
        assert_close(softmax(logits, temperature), numbers(expected, dtype, device))

    @pytest.mark.parametrize("temperature", TEMPERATURES)
    def test_logits_as_large_as_ten_thousand(self, temperature, device, dtype):
        logits = numbers([1e4, 1e4 - 1e-2, 0, -1e4], dtype, device)
        expected = [float(p) for p in exact_softmax(logits.tolist(), temperature)]
        found = softmax(logits, temperature)
        assert_close(found, numbers(expected, dtype, device))
        assert found.sum().item() == pytest.approx(1, abs=1e-6)

    def test_close_logits_keep_their_difference_when_cold(self, device):
        """A difference of 2^-10 at T = 2^-10 is one unit; 10^4 / T alone could not hold it."""
        logits = numbers([1e4 - 2**-10, 1e4], torch.float32, device)
        found = softmax(logits, 2.0**-10)
        assert_close(found, torch.tensor([-1.0, 0.0], device=device).softmax(dim=0))

    @given(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6),
        st.floats(1e-6, 1e6),
        st.sampled_from([torch.float32, torch.float64]),
    )
    def test_always_a_distribution(self, logits, temperature, dtype):
        found = softmax(numbers(logits, dtype), temperature)
        assert found.dtype == dtype
        assert (found >= 0).all()
        assert found.sum().item() == pytest.approx(1, abs=1e-5)
        spread = entropy(found).item()
        assert -1e-6 <= spread <= math.log(len(logits)) + 1e-5

    def test_at_one_it_is_torchs(self, device, dtype):
        logits = draw(2, 3, 5, scale=8, dtype=dtype, device=device)
        assert_close(softmax(logits, 1), logits.softmax(dim=-1))

    def test_ties_share(self, device, dtype):
        for temperature in TEMPERATURES:
            found = softmax(numbers([7, -1e4, 7], dtype, device), temperature)
            assert found[0] == found[2]
        cold = softmax(numbers([7, -1e4, 7], dtype, device), 1e-6)
        assert cold.tolist() == [0.5, 0, 0.5]

    def test_the_extremes_of_the_dtypes(self, device, dtype):
        largest = torch.finfo(dtype).max
        logits = numbers([largest, 0, -largest], dtype, device)
        for temperature in (1e-30, 1e-6, 1, 1e30):
            assert softmax(logits, temperature).tolist() == [1, 0, 0]
        assert softmax(numbers([1, 0], dtype, device), 1e-37).tolist() == [1, 0]
        assert_close(softmax(numbers([1, 0], dtype, device), 1e37), numbers([0.5, 0.5], dtype))

    def test_one_class_and_no_rows(self, device, dtype):
        assert softmax(numbers([-3], dtype, device), 0.1).tolist() == [1]
        assert softmax(numbers([[]], dtype, device).reshape(0, 4), 0.1).shape == (0, 4)

    def test_gradient(self):
        logits = draw(3, 4).requires_grad_()
        torch.autograd.gradcheck(lambda z: softmax(z, 0.7), logits)


class TestSweep:
    def test_is_softmax_row_by_row(self, device, dtype):
        logits = draw(1000, scale=5, dtype=dtype, device=device)
        temperatures = log_temperatures(1e-6, 1e4, 31, device=device, dtype=dtype)
        swept = sweep_softmax(logits, temperatures)
        assert swept.dtype == dtype
        for row, temperature in zip(swept, temperatures.tolist(), strict=True):
            assert_close(row, softmax(logits, temperature))

    def test_several_rows_of_logits(self, device, dtype):
        logits = draw(2, 3, 10, scale=5, dtype=dtype, device=device)
        swept = sweep_softmax(logits, log_temperatures(0.05, 50, 4, device=device, dtype=dtype))
        assert swept.shape == (4, 2, 3, 10)
        alone = sweep_softmax(logits[1, 2], log_temperatures(0.05, 50, 4, device=device))
        assert_close(swept[:, 1, 2], alone)

    def test_no_temperatures(self):
        assert sweep_softmax(numbers([1, 2]), numbers([])).shape == (0, 2)

    def test_temperatures_are_rounded_to_the_dtype_of_the_logits(self):
        swept = sweep_softmax(numbers([1, 2], torch.float32), numbers([0.3]))
        assert swept.dtype == torch.float32

    def test_log_temperatures(self, device, dtype):
        found = log_temperatures(0.05, 50, 4, device=device, dtype=dtype)
        assert_close(found, numbers([0.05, 0.5, 5, 50], dtype, device))


class TestEntropy:
    def test_worked_by_hand(self, device, dtype):
        rows = [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.25] * 4, [0.5, 0.25, 0.125, 0.125]]
        expected = numbers([0, 1, 2, 1.75], dtype, device) * math.log(2)
        assert_close(entropy(numbers(rows, dtype, device)), expected)

    def test_is_torchs(self):
        probabilities = draw(7, 5, scale=3).softmax(dim=-1)
        expected = torch.distributions.Categorical(probs=probabilities).entropy()
        assert_close(entropy(probabilities), expected)

    def test_grows_with_the_temperature(self):
        swept = entropy(sweep_softmax(draw(1000, scale=4), log_temperatures(0.05, 50, 99)))
        assert (swept.diff() > 0).all()
        assert swept[-1] < math.log(1000)


class TestSoften:
    def test_worked_by_hand(self, device, dtype):
        """Odds of 8 : 4 : 1 at T = 1 and of 64 : 16 : 1 at T = 1/2."""
        logits = numbers([4, 1, 8], dtype, device).log()
        softened = soften(logits, numbers([1, 0.5], dtype, device), top=2)
        assert softened.top.tolist() == [2, 0]
        assert_close(
            softened.top_probabilities,
            numbers([[8 / 13, 4 / 13], [64 / 81, 16 / 81]], dtype, device),
        )
        assert_close(softened.rest, numbers([1 / 13, 1 / 81], dtype, device))
        assert softened.largest.equal(softened.top_probabilities[:, 0])
        assert softened.noticeable.tolist() == [3, 3]
        assert_close(softened.gap.exp(), numbers([2, 4], dtype, device))
        assert_close(softened.probabilities, sweep_softmax(logits, softened.temperatures))
        assert_close(softened.entropy, entropy(softened.probabilities))

    def test_noticeable_counts_what_is_above_one_percent(self):
        softened = soften(numbers([0] * 100), numbers([1]))
        assert softened.noticeable.tolist() == [0]
        assert soften(numbers([0] * 99), numbers([1])).noticeable.tolist() == [99]

    def test_ties_list_the_lower_index_first(self):
        assert soften(numbers([1, 3, 3]), numbers([1])).top.tolist() == [1, 2, 0]

    def test_fewer_classes_than_are_listed(self):
        softened = soften(numbers([5]), numbers([0.1, 1]))
        assert softened.top.tolist() == [0]
        assert softened.rest.tolist() == [0, 0]
        assert softened.gap.tolist() == [math.inf, math.inf]


class TestLimits:
    def test_worked_by_hand(self, device, dtype):
        ends = limits(numbers([[0, 5, 5, -1], [1e4, -1e4, 0, 0]], dtype, device))
        assert ends.cold.tolist() == [[0, 0.5, 0.5, 0], [1, 0, 0, 0]]
        assert ends.hot.tolist() == [[0.25] * 4] * 2

    def test_softmax_tends_to_them(self):
        logits = draw(4, 10, scale=5)
        ends = limits(logits)
        assert_close(softmax(logits, 1e-6), ends.cold)
        assert_close(softmax(logits, 1e9), ends.hot, atol=1e-7, rtol=0)


class TestDistillationLoss:
    @pytest.mark.parametrize("temperature", [0.05, 1, 4, 50, 1000])
    @pytest.mark.parametrize("alpha", [0, 0.3, 1])
    def test_is_the_definition(self, temperature, alpha, device, dtype):
        student, teacher = (
            draw(5, 10, scale=4, seed=seed, dtype=dtype, device=device) for seed in (0, 1)
        )
        labels = torch.tensor([0, 9, 3, 3, 5], device=device)
        found = distillation_loss(student, teacher, labels, temperature, alpha)
        expected = defined_loss(student, teacher, labels, temperature, alpha)
        assert found.dtype == dtype
        assert found.item() == pytest.approx(expected, rel=2e-5 if dtype == torch.float32 else 1e-9)

    @pytest.mark.parametrize("temperature", [1e-6, 0.05, 1, 50])
    def test_logits_as_large_as_ten_thousand(self, temperature, device, dtype):
        student = numbers([[1e4, -1e4, 0], [-1e4, 9e3, 1e4]], dtype, device)
        teacher = numbers([[-1e4, 1e4, 5], [-1e4, 1e4, 9e3]], dtype, device)
        labels = torch.tensor([1, 0], device=device)
        found = distillation_loss(student, teacher, labels, temperature, 0.5)
        expected = defined_loss(student, teacher, labels, temperature, 0.5)
        assert found.item() == pytest.approx(expected, rel=1e-5)

    def test_without_the_teacher_it_is_the_cross_entropy(self, device, dtype):
        student, teacher = draw(2, 6, 10, scale=3, dtype=dtype, device=device)
        labels = torch.arange(6, device=device)
        found = distillation_loss(student, teacher, labels, 4, alpha=0)
        assert_close(found, torch.nn.functional.cross_entropy(student, labels))

    def test_nothing_to_learn_from_a_teacher_who_agrees(self, device, dtype):
        logits = draw(6, 10, scale=3, dtype=dtype, device=device)
        labels = torch.arange(6, device=device)
        for temperature in TEMPERATURES:
            shifted = logits + 1000
            assert distillation_loss(logits, logits, labels, temperature, 1) == 0
            assert distillation_loss(shifted, logits, labels, temperature, 1) < 1e-4

    def test_never_negative(self, dtype):
        teacher = draw(20, 10, dtype=dtype)
        labels = torch.zeros(20, dtype=torch.long)
        for temperature in TEMPERATURES:
            student = teacher + draw(20, 10, scale=1e-4, seed=1, dtype=dtype)
            assert distillation_loss(student, teacher, labels, temperature, 1) >= 0

    @pytest.mark.parametrize("temperature", [0.3, 2, 20])
    def test_gradient_by_finite_differences(self, temperature):
        student = draw(3, 4, scale=2).requires_grad_()
        teacher, labels = draw(3, 4, scale=2, seed=1), torch.tensor([0, 3, 1])
        torch.autograd.gradcheck(
            lambda z: distillation_loss(z, teacher, labels, temperature, 0.7), student
        )


class TestGradients:
    @pytest.mark.parametrize("temperature", [0.05, 1, 4, 50])
    def test_soft_is_the_derivative_of_the_loss(self, temperature, device, dtype):
        student, teacher = (
            draw(8, 10, scale=3, seed=seed, dtype=dtype, device=device) for seed in (0, 1)
        )
        labels = torch.zeros(8, dtype=torch.long, device=device)
        student.requires_grad_()
        distillation_loss(student, teacher, labels, temperature, alpha=1).backward()
        found = soft_target_gradient(student.detach(), teacher, temperature)
        assert_close(
            found * temperature**2 / 8,
            student.grad,
            atol=1e-5 if dtype == torch.float32 else 1e-12,
            rtol=1e-4,
        )

    def test_hard_is_the_derivative_of_the_cross_entropy(self):
        logits = draw(8, 10, scale=3).requires_grad_()
        labels = torch.arange(8)
        torch.nn.functional.cross_entropy(logits, labels, reduction="sum").backward()
        assert_close(hard_target_gradient(logits.detach(), labels), logits.grad)

    def test_the_limit_worked_by_hand(self, device, dtype):
        """Centred, z is (1, 0, -1) and v is (-2, 1, 1); N T² is 3 · 4."""
        student, teacher = numbers([[5, 4, 3], [7, 10, 10]], dtype, device)
        found = high_temperature_gradient(student, teacher, 2)
        assert_close(found, numbers([3, -1, -2], dtype, device) / 12)

    def test_the_limit_is_met_when_hot(self):
        """The error falls as 1 / T."""
        student, teacher = draw(2, 10, scale=3)
        errors = []
        for temperature in (10, 100, 1000, 10000):
            exact = soft_target_gradient(student, teacher, temperature)
            limit = high_temperature_gradient(student, teacher, temperature)
            errors.append(((exact - limit).norm() / limit.norm()).item())
        assert errors[0] < 1
        for hotter, hot in zip(errors[1:], errors, strict=False):
            assert hotter == pytest.approx(hot / 10, rel=0.25)

    def test_sweep_is_the_gradients_one_by_one(self, device, dtype):
        student, teacher = (
            draw(6, 10, scale=3, seed=seed, dtype=dtype, device=device) for seed in (0, 1)
        )
        labels = torch.arange(6, device=device)
        temperatures = log_temperatures(0.05, 50, 9, device=device, dtype=dtype)
        sweep = sweep_gradients(student, teacher, labels, temperatures)
        assert sweep.soft.dtype == dtype
        for i, temperature in enumerate(temperatures.tolist()):
            soft = soft_target_gradient(student, teacher, temperature).norm(dim=-1).mean()
            limit = high_temperature_gradient(student, teacher, temperature).norm(dim=-1).mean()
            assert_close(sweep.soft[i], soft)
            assert_close(sweep.limit[i], limit)
            assert_close(sweep.scaled[i], soft * temperature**2)
        assert_close(sweep.hard, hard_target_gradient(student, labels).norm(dim=-1).mean())

    def test_first_gradients_are_those_of_a_student_of_zeros(self):
        """Hot, softmax(0) is uniform; the soft gradient's length is |v - mean v| / (N T²)."""
        sweep = first_gradients(numbers([3, 0, 0]), numbers([1e4]))
        assert_close(sweep.soft, numbers([6**0.5 / 3 / 1e8]), rtol=1e-3, atol=0)
        assert_close(sweep.hard, numbers(((2 / 3) ** 2 + 2 / 9) ** 0.5))

    def test_hot_gradients_fall_as_the_square_of_the_temperature(self):
        student, teacher, labels = draw(6, 10), draw(6, 10, seed=1), torch.arange(6)
        sweep = sweep_gradients(student, teacher, labels, numbers([100, 200, 400]))
        assert_close(sweep.soft[:-1] / sweep.soft[1:], numbers([4, 4]), rtol=0.02, atol=0)
        assert_close(sweep.scaled[:-1] / sweep.scaled[1:], numbers([1, 1]), rtol=0.02, atol=0)


Z, V, LABELS = torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 2])
HOT = torch.tensor([1.0, 2.0])


@pytest.mark.usefixtures("unchecked")
class TestErrors:
    @pytest.mark.parametrize("temperature", [0, -1, 0.0, math.inf, math.nan, 1e-60])
    def test_temperature(self, temperature):
        for call in (
            lambda: softmax(Z, temperature),
            lambda: distillation_loss(Z, V, LABELS, temperature, 0.5),
            lambda: soft_target_gradient(Z, V, temperature),
            lambda: high_temperature_gradient(Z, V, temperature),
        ):
            with pytest.raises(ValueError, match=f"temperature is {temperature}: a positive"):
                call()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: softmax(Z + math.nan, 1), "logits has nan: finite"),
            (lambda: softmax(Z - math.inf, 1), "logits has -inf: finite"),
            (lambda: softmax(Z.half(), 1), "logits has dtype torch.float16"),
            (lambda: softmax(LABELS, 1), "logits has dtype torch.int64"),
            (lambda: softmax(Z[:, :0], 1), r"logits has shape \[2, 0\]: .*at least one class"),
            (lambda: softmax(Z[0, 0], 1), r"logits has shape \[\]: \[..., k\]"),
            (lambda: limits(Z + math.inf), "logits has inf"),
            (lambda: soften(Z, HOT), r"logits has shape \[2, 3\]: \[k\]"),
            (lambda: sweep_softmax(Z[0], HOT[0]), r"temperatures has shape \[\]"),
            (lambda: sweep_softmax(Z[0], HOT - 1), "temperatures has 0: positive"),
            (lambda: sweep_softmax(Z[0], HOT * math.nan), "temperatures has nan"),
            (lambda: sweep_softmax(Z[0], HOT.double() * 1e300), r"temperatures has 1e\+300"),
            (lambda: soften(Z[0], HOT, top=0), "top is 0: at least 1"),
            (lambda: log_temperatures(0, 1, 3), "low is 0, high is 1"),
            (lambda: log_temperatures(2, 1, 3), "low is 2, high is 1"),
            (lambda: log_temperatures(1, math.inf, 3), "high is inf"),
            (lambda: log_temperatures(1, 2, 1), "count is 1"),
            (lambda: entropy(V), r"probabilities must add up to 1"),
            (lambda: entropy(Z - 1), "probabilities has -1"),
            (lambda: entropy(V * 2), "probabilities has 2"),
            (lambda: entropy(V * math.nan), "probabilities has nan"),
            (lambda: entropy(LABELS), "probabilities has .*dtype torch.int64"),
            (lambda: entropy(V[0, 0]), r"probabilities has shape \[\]"),
            (lambda: entropy(Z[:, :0]), "probabilities must add up"),
            (lambda: distillation_loss(Z, V[:1], LABELS, 1, 0.5), r"teacher_logits has shape"),
            (lambda: distillation_loss(Z * math.nan, V, LABELS, 1, 0.5), "student_logits has nan"),
            (lambda: distillation_loss(Z, V * math.inf, LABELS, 1, 0.5), "teacher_logits has inf"),
            (lambda: distillation_loss(Z, V, LABELS[:1], 1, 0.5), r"labels has shape \[1\]"),
            (lambda: distillation_loss(Z, V, LABELS - 1, 1, 0.5), "labels has -1: 0 to 2"),
            (lambda: distillation_loss(Z, V, LABELS + 1, 1, 0.5), "labels has 3: 0 to 2"),
            (lambda: distillation_loss(Z, V, LABELS * 1.0, 1, 0.5), "labels has dtype"),
            (lambda: distillation_loss(Z[:0], V[:0], LABELS[:0], 1, 0.5), "at least one image"),
            (lambda: distillation_loss(Z, V, LABELS, 1, 1.1), r"alpha is 1.1: .*\[0, 1\]"),
            (lambda: distillation_loss(Z, V, LABELS, 1, math.nan), "alpha is nan"),
            (lambda: hard_target_gradient(Z, LABELS + 1), "labels has 3"),
            (lambda: sweep_gradients(Z, V, LABELS, HOT - 2), "temperatures has -1"),
        ],
    )
    def test_message(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_first_gradients_are_those_of_a_student_with_equal_logits():
    teacher = torch.tensor([3.0, -1.0, 0.5], dtype=torch.float64)
    student = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    log_q = torch.log_softmax(student / 2.0, dim=-1)
    p = torch.softmax(teacher / 2.0, dim=-1)
    (expected,) = torch.autograd.grad(-(p * log_q).sum(), student)
    found = first_gradients(teacher, torch.tensor([2.0], dtype=torch.float64))
    assert found.soft.item() == pytest.approx(expected.norm().item(), rel=1e-9)
    assert found.hard.item() == pytest.approx(math.sqrt(2 / 3), rel=1e-9)  # (1/3, 1/3, -2/3)
