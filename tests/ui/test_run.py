"""Explainers run where they should, are timed, and survive a device without memory."""

import subprocess
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import explainers.models
from ui import run as run_module
from ui.run import Call, current_calls, device, network, run

ROOT = Path(__file__).parents[2]
Pair = namedtuple("Pair", "left right")


@dataclass(frozen=True)
class Result:
    values: Tensor
    parts: tuple[Tensor, ...]
    name: str = "result"


@pytest.fixture
def calls():
    recorded: list[Call] = []
    token = current_calls.set(recorded)
    yield recorded
    current_calls.reset(token)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A first device that is not the CPU: tensors there have a shape and no values."""
    monkeypatch.setattr(run_module, "device", lambda: torch.device("meta"))
    return torch.device("meta")


def in_fresh_python(script: str) -> str:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_does_not_import_torch() -> None:
    assert in_fresh_python("import sys, ui.run; print('torch' in sys.modules)") == "False"


def test_warming_up_imports_torch_once_and_freezes_it() -> None:
    script = """
import gc, sys, threading
from ui.queue import THREADS
from ui.run import GARBAGE, warm_up
first = warm_up()
assert first.daemon and warm_up() is first
first.join()
import torch
counts = []
counter = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
counter.start(); counter.join()
print(counts == [THREADS], gc.get_freeze_count() > 10_000, "explainers.models" in sys.modules)
print(gc.get_threshold() == GARBAGE)
"""
    assert in_fresh_python(script).split() == ["True"] * 4


def test_the_plain_result_comes_back_and_the_call_is_recorded(calls: list[Call]) -> None:
    result = run(torch.add, torch.ones(2), other=torch.ones(2))
    assert result.tolist() == [2, 2]
    (call,) = calls
    assert call.function is torch.add
    assert call.device == str(device())
    assert 0 < call.milliseconds < 10_000
    assert not call.fell_back


def test_nobody_needs_to_observe() -> None:
    assert run(len, [1, 2]) == 2


def test_another_thread_observes_nothing(calls: list[Call]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(run, len, []).result()
    assert calls == []


def test_the_time_is_the_functions(calls: list[Call]) -> None:
    waited = threading.Event()
    run(waited.wait, 0.05)
    assert 45 < calls[0].milliseconds < 1000


def test_errors_pass_through(calls: list[Call]) -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: 1 / 0)
    assert calls == []


def test_tensors_are_moved_wherever_they_are(elsewhere: torch.device) -> None:
    seen = []

    def explainer(*args: object, **kwargs: object) -> None:
        seen.append((args, kwargs))

    one = torch.ones(3)
    result = Result(one, (one, one))
    run(explainer, one, [one, (one, 2)], {"a": {"b": one}}, Pair(one, 1), result, key=one, n="n")
    ((tensor, (first, (second, two)), nested, pair, moved), kwargs) = seen[0]
    tensors = [tensor, first, second, nested["a"]["b"], pair.left, moved.values, *moved.parts]
    assert {t.device for t in [*tensors, kwargs["key"]]} == {elsewhere}
    assert (two, pair.right, moved.name, kwargs["n"]) == (2, 1, "result", "n")
    assert isinstance(pair, Pair)
    assert isinstance(moved, Result)
    assert result.values is one


def test_what_needs_no_move_stays_the_same_object() -> None:
    result = Result(torch.ones(3), ())
    assert run(lambda value: value, result) is result
    assert run(lambda value: value, Result) is Result


def test_networks_are_copied_for_another_device(elsewhere: torch.device) -> None:
    linear = nn.Linear(2, 3)
    seen = []

    def explainer(layer: nn.Module, image: Tensor) -> None:
        seen.append(layer(image))

    run(explainer, linear, torch.ones(1, 2))
    assert seen[0].device == elsewhere
    assert linear.weight.device.type == "cpu"


def test_out_of_memory_repeats_on_the_cpu(elsewhere: torch.device, calls: list[Call]) -> None:
    def hungry(values: Tensor, layer: nn.Module) -> Result:
        if values.device == elsewhere:
            raise torch.OutOfMemoryError("stand-in")
        return Result(layer(values), ())

    result = run(hungry, torch.ones(1, 2), nn.Linear(2, 3))
    assert result.values.device.type == "cpu"
    (call,) = calls
    assert (call.function, call.device, call.fell_back) == (hungry, "cpu", True)


@pytest.mark.parametrize("named", [False, True])
def test_the_repeat_on_the_cpu_draws_the_same_random_numbers(
    elsewhere: torch.device, named: bool
) -> None:
    def hungry(values: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(3, generator=generator)
        if values.device == elsewhere:
            raise torch.OutOfMemoryError("stand-in")
        return drawn

    generator = torch.Generator().manual_seed(3)
    torch.rand(1, generator=generator)  # not at its seed any more
    expected = torch.rand(3, generator=generator.clone_state())
    given = {"generator": generator} if named else {}
    drawn = run(hungry, torch.ones(1), *([] if named else [generator]), **given)
    assert drawn.tolist() == expected.tolist()


def test_out_of_memory_on_the_cpu_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISION_DEVICE", "cpu")

    def hungry() -> None:
        raise torch.OutOfMemoryError("stand-in")

    with pytest.raises(torch.OutOfMemoryError):
        run(hungry)


def drawn(generator: torch.Generator, count: int) -> Iterator[Result]:
    for _number in range(count):
        yield Result(torch.rand(2, generator=generator), ())


def test_a_stream_yields_every_state_and_times_it(calls: list[Call]) -> None:
    generator = torch.Generator().manual_seed(3)
    states = [state.values for state in run_module.stream(drawn, generator, 3)]
    again = torch.Generator().manual_seed(3)
    assert [s.tolist() for s in states] == [torch.rand(2, generator=again).tolist() for _ in "abc"]
    assert [call.function for call in calls] == [drawn] * 3


def test_a_stream_leaves_the_generator_that_it_was_given_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    first = [s.values.tolist() for s in run_module.stream(drawn, generator, 2)]
    assert [s.values.tolist() for s in run_module.stream(drawn, generator, 2)] == first


def test_a_stream_out_of_memory_goes_on_on_the_cpu(
    elsewhere: torch.device, calls: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "_synchronize", lambda _place: None)

    def hungry(values: Tensor, count: int) -> Iterator[int]:
        for number in range(count):
            if values.device == elsewhere and number == 2:
                raise torch.OutOfMemoryError("stand-in")
            yield number + 1

    assert list(run_module.stream(hungry, torch.ones(1), 4)) == [1, 2, 3, 4]
    assert [(call.device, call.fell_back) for call in calls] == [
        *[("meta", False)] * 2,
        *[("cpu", True)] * 2,
    ]


def test_mps_gets_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def to(tensor: Tensor, place: torch.device, dtype: torch.dtype) -> Tensor:
        asked.append((place.type, dtype))
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    run_module._moved([torch.ones(1, dtype=torch.float64), torch.ones(1)], torch.device("mps"))
    run_module._moved(torch.ones(1, dtype=torch.float64), torch.device("cuda"))
    assert asked == [("mps", torch.float32), ("mps", torch.float32), ("cuda", torch.float64)]


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_the_best_device_is_chosen(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str
) -> None:
    monkeypatch.delenv("VISION_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device() == torch.device(expected)
    monkeypatch.setenv("VISION_DEVICE", "cpu")
    assert device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "abacus", ""])
def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("VISION_DEVICE", name)
    with pytest.raises(ValueError, match="VISION_DEVICE must be one of"):
        device()


def test_two_threads_load_a_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    both = threading.Barrier(2)

    def small() -> nn.Module:
        made.append(nn.Linear(1, 1))
        return made[-1]

    def ask() -> nn.Module:
        both.wait()
        return network("small")

    monkeypatch.setattr(explainers.models, "small", small, raising=False)
    monkeypatch.setattr(run_module, "_networks", {})
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(ask), pool.submit(ask))
    assert first.result() is second.result() is made[0]
    assert len(made) == 1


def test_the_detector_runs_from_its_name(calls: list[Call]) -> None:
    output = run(network("ssd_mobilenet_v2"), torch.zeros(1, 3, 300, 300))
    assert output.logits.shape == (1917, 24)
    assert output.logits.device.type == "cpu"
    assert calls[0].function is network("ssd_mobilenet_v2")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_results_come_back_from_a_gpu(monkeypatch: pytest.MonkeyPatch, calls: list[Call]) -> None:
    monkeypatch.setenv("VISION_DEVICE", "cuda")
    result = run(lambda values: Result(values * 2, (values,)), torch.ones(3))
    assert result.values.tolist() == [2, 2, 2]
    assert result.parts[0].device.type == "cpu"
    assert calls[0].device == "cuda"
