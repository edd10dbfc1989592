"""Slow calls are not repeated with equal arguments, and nobody gets another visitor's result."""

import contextlib
import functools
import gc
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import streamlit as st
import torch
from torch import Tensor, nn

from explainers import descents, surfaces
from ui import kept
from ui.kept import Kept, Results, content, cost, keep, measured


@dataclass(frozen=True)
class Pair:
    left: Tensor
    right: tuple[float, ...] = ()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A visitor's session; nothing has been kept for anybody."""
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(kept, "_for_all", Results(kept.PUBLIC_BYTES))
    monkeypatch.setattr(kept, "_costs", {})
    return state


calls: list[tuple[Any, ...]] = []


def slow(*arguments: Any, **options: Any) -> Pair:
    """An explainer that takes its time and may draw random numbers."""
    until = time.thread_time() + 2 * kept.SLOW
    while time.thread_time() < until:
        pass
    calls.append((*arguments, *options.values()))
    drawn = [torch.rand(2, generator=a) for a in arguments if isinstance(a, torch.Generator)]
    return Pair(torch.cat([torch.zeros(1), *drawn]))


def fast(*arguments: Any) -> Pair:
    calls.append(arguments)
    return Pair(torch.zeros(1))


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    def compute() -> Any:
        with measured(function):
            return function(*arguments, **options)

    return keep(function, arguments, options, compute)


def computed(function: Callable[..., Any], *many: tuple[Any, ...]) -> int:
    """How many of these calls are computed once the function is known to be slow."""
    call(function, "the first one shows how slow it is")
    calls.clear()
    for arguments in many:
        call(function, *arguments)
    return len(calls)


def test_a_slow_call_is_not_repeated(session) -> None:
    first = call(slow, 1, depth=2)
    assert call(slow, 1, depth=2) is first


def test_a_call_costs_the_most_that_a_computation_has_taken(session, monkeypatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(kept.time, "thread_time", lambda: clock[0])

    def take(seconds: float) -> float:
        with measured(slow):
            clock[0] += seconds
        return cost(slow)

    assert cost(slow) == 0
    assert take(0.01) == pytest.approx(0.01)
    assert take(0.4) == pytest.approx(0.4)
    for _ in range(10):  # a visitor with cheap arguments
        take(0.001)
    assert cost(slow) > kept.HEAVY
    for _ in range(100):
        take(0.001)
    assert cost(slow) < kept.SLOW


def test_fast_calls_are_repeated(session) -> None:
    assert computed(fast, (1,), (1,)) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("a", b"a"),
        ((1, 2), (12,)),
        (("a", ("b",)), (("a", "b"),)),
        ([1], (1,)),
        ({"a": 1}, {"a": 2}),
        (torch.zeros(2), torch.zeros(2, 1)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.float64)),
        (torch.zeros(2), torch.tensor([0.0, 1e-30])),
        (Pair(torch.zeros(2)), Pair(torch.ones(2))),
        (Pair(torch.zeros(2), (1.0,)), Pair(torch.zeros(2), (1.5,))),
        (torch.add, torch.sub),
    ],
)
def test_arguments_are_told_apart(session, one, other) -> None:
    assert computed(slow, (one,), (other,), (one,), (other,)) == 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(6.0).reshape(2, 3).T,
        lambda: Pair(torch.ones(3), (1.0, 2.0)),
        lambda: {"a": [None, 0.5]},
        lambda: range(4),
        lambda: torch.zeros(0, 4),
        lambda: torch.tensor(3),
    ],
)
def test_equal_arguments_are_one_whoever_made_them(session, make) -> None:
    assert computed(slow, (make(),), (make(),)) == 1


def test_networks_are_told_apart(session) -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    assert computed(slow, (one,), (other,), (one,)) == 2


def test_what_cannot_be_told_apart_is_computed(session) -> None:
    assert computed(slow, (lambda: 1,), (lambda: 1,)) == 2
    assert computed(slow, (object(),), (object(),)) == 2


class Holder:
    """Not a dataclass: nobody can tell what it holds."""

    def __init__(self, held: Tensor) -> None:
        self.held = held

    def method(self) -> Tensor:
        return self.held


@pytest.mark.parametrize(
    "wrap",
    [
        lambda photo: functools.partial(torch.add, photo),
        lambda photo: Holder(photo).method,
        lambda photo: photo.add,
        lambda photo: surfaces.Surface(lambda x, y: photo.sum(), surfaces.WINDOW, (0, 0)),
    ],
    ids=["partial", "method", "tensor's method", "closure"],
)
def test_what_may_hold_a_photo_unseen_is_computed(session, wrap) -> None:
    photo = torch.ones(2)
    held = weakref.ref(wrapped := wrap(photo))
    assert computed(slow, (wrapped,), (wrapped,)) == 2
    calls.clear()
    assert kept._for_all.get(kept._Key(slow, ((wrapped,), {})).digest) is None
    del wrapped
    gc.collect()
    assert held() is None


@pytest.fixture
def everything_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SLOW", 0.0)


def test_a_photo_as_a_surface_stays_in_its_session(session, everything_is_slow) -> None:
    picture = torch.arange(3 * 40 * 50, dtype=torch.int32).reshape(40, 50, 3).remainder(251)
    photo = surfaces.align(picture.byte(), reach=3)
    gone = weakref.ref(photo)
    ground = call(surfaces.survey, photo)
    rates = call(descents.fair_rates, photo, ["sgd"], 5, ground.lowest)
    again = surfaces.align(picture.byte(), reach=3)
    assert call(surfaces.survey, again) is ground
    assert call(descents.fair_rates, again, ["sgd"], 5, ground.lowest) is rates
    assert len(kept._for_all._kept) == 0
    del photo
    gc.collect()
    assert gone() is None


def test_a_surface_of_plain_numbers_is_known_again(session) -> None:
    one, same, other = (surfaces.Quadratic(condition, 30) for condition in (9, 9, 10))
    assert computed(slow, (one,), (same,), (other,)) == 2
    assert len(kept._for_all._kept) == 3


def test_contents_are_told_apart() -> None:
    def made(photo: Tensor, seed: int = 0, width: int = 3) -> Any:
        return content((photo, torch.Generator().manual_seed(seed)), {"width": width})

    assert made(torch.ones(2)) == made(torch.ones(2))
    others = [made(torch.zeros(2)), made(torch.ones(2), 1), made(torch.ones(2), 0, 4)]
    assert len({made(torch.ones(2)), *others}) == 4


def test_random_numbers_go_on_as_if_the_call_had_been_made(session) -> None:
    def draw() -> list[float]:
        generator = torch.Generator().manual_seed(7)
        first = call(slow, generator).left.tolist()
        return first + torch.rand(2, generator=generator).tolist()

    call(slow, 0)
    assert draw() == draw()
    assert len(calls) == len({tuple(map(id, c)) for c in calls})


def test_what_follows_from_a_photo_stays_in_its_session(session, monkeypatch) -> None:
    photo = torch.ones(8, 8, 3)
    assert computed(slow, (photo,), (3,)) == 2
    monkeypatch.setattr(st, "session_state", {})  # another visitor
    assert computed(slow, (photo,), (3,)) == 1
    assert calls[0][0] is photo


def numbers(_seed: int) -> Tensor:
    return torch.rand(200)


@pytest.mark.parametrize(
    ("derive", "shared"),
    [
        (lambda found: found, True),
        (lambda found: Pair(found, (1.0,)), True),
        (lambda found: found.reshape(10, 20), True),
        (lambda found: found[None, 5:].mT, True),
        (lambda found: found[:3] * 2, True),
        (lambda found: found * 2, False),
    ],
    ids=["itself", "in a dataclass", "reshaped", "part", "few numbers", "made by nobody known"],
)
def test_what_follows_from_plain_values_is_shared(session, monkeypatch, derive, shared) -> None:
    given = derive(call(numbers, 1))
    assert computed(slow, (given,)) == 1
    monkeypatch.setattr(st, "session_state", {})  # another visitor
    assert computed(slow, (given,)) == 1 - shared


def test_what_follows_from_a_photo_and_plain_values_is_not(session) -> None:
    found = call(lookup, torch.ones(8, 8, 3))
    assert not kept.is_public(found)
    assert not kept.is_public(call(first_three, found))
    assert kept.is_public(call(lookup, call(numbers, 1)))


def lookup(photo: Tensor) -> Tensor:
    return photo.flatten().cumsum(0)


def first_three(found: Tensor) -> Tensor:
    return found[:3].clone()


def test_shipped_networks_and_their_parts_are_public(session) -> None:
    shipped, own = (nn.Sequential(nn.Linear(20, 20), nn.ReLU()) for _ in "ab")
    kept.publish(shipped)
    assert not kept.is_public(shipped[0].weight.detach().clone())
    assert kept.is_public([shipped, shipped[0]])
    assert not any(map(kept.is_public, own.modules()))


def test_who_waited_for_the_same_takes_what_is_found_meanwhile(session) -> None:
    call(slow, 0)
    calls.clear()

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        call(slow, 7)  # another visitor has been before
        yield

    def unneeded() -> None:
        raise AssertionError("computed again")

    assert keep(slow, (7,), {}, unneeded, turn) is call(slow, 7)
    assert calls == [(7,)]


@pytest.fixture
def room(session, monkeypatch) -> Callable[..., None]:
    """Make room for so many bytes; a result itself takes `each`."""

    def make(most: int, each: int = 0) -> None:
        monkeypatch.setattr(kept, "ENTRY_BYTES", each)
        monkeypatch.setattr(kept, "MOST_BYTES", most)
        monkeypatch.setattr(kept, "_for_all", Results(most))

    return make


def test_the_oldest_results_go_first(room) -> None:
    room(8)  # for two
    for number in (0, 1, 2, 1, 3):  # the first shows how slow it is, the last one drives out 2
        call(slow, number)
    calls.clear()
    for number in (1, 3, 2):
        call(slow, number)
    assert calls == [(2,)]


def test_a_result_that_is_too_large_is_not_kept(room) -> None:
    room(3)
    assert computed(slow, (1,), (1,)) == 2


def slow_network(*arguments: Any) -> nn.Module:
    slow(*arguments)
    return nn.Linear(1, 1)


@pytest.mark.parametrize(("bytes_", "times"), [(8, 1), (7, 2)])
def test_a_network_takes_the_room_of_its_weights(room, bytes_, times) -> None:
    room(bytes_)
    assert computed(slow_network, (1,), (1,)) == times


def slow_number(*arguments: Any) -> float:
    slow(*arguments)
    return 0.5


def test_results_without_tensors_take_room_too(room) -> None:
    room(30, each=10)
    assert computed(slow_number, (1,), (2,), (3,), (1,), (4,), (2,)) == 5


def test_the_states_of_random_numbers_take_room_too(room) -> None:
    taken = 4 + torch.Generator().get_state().nbytes
    for most, times in ((taken, 1), (taken - 1, 2)):
        room(most)
        seeded = [(torch.Generator().manual_seed(7),) for _ in "ab"]
        assert computed(slow_silent, *seeded) == times


def slow_silent(_generator: Any) -> Pair:
    return slow()


def slow_view(size: int) -> Tensor:
    slow()
    return torch.zeros(size)[:1]


def slow_twice(size: int) -> list[Tensor]:
    slow()
    tensor = torch.zeros(size)
    return [tensor, tensor[None], tensor[1:]]


@pytest.mark.parametrize("function", [slow_view, slow_twice])
@pytest.mark.parametrize(("bytes_", "times"), [(400, 1), (399, 2)])
def test_tensors_take_the_memory_that_they_hold(room, function, bytes_, times) -> None:
    room(bytes_)
    call(function, 1)
    calls.clear()
    for _ in range(2):
        call(function, 100)
    assert len(calls) == times


def test_results_are_counted_right_whatever_comes_and_goes() -> None:
    results = Results(5 * kept.ENTRY_BYTES)
    for number in [*range(100), *[7] * 100, *range(100)]:
        results.put(number, Kept(number))
    assert [number for number in range(100) if results.get(number)] == [95, 96, 97, 98, 99]


def test_the_newest_result_is_kept_however_large_it_is() -> None:
    results = Results(100)
    for name in "ab":
        results.put(name, Kept(torch.zeros(1000)))
    assert results.get("a") is None
    assert results.get("b").result.shape == (1000,)


def test_networks_and_functions_are_not_kept_alive(session) -> None:
    network = nn.Linear(2, 2)
    gone = weakref.ref(network)
    assert computed(slow, (network, torch.add)) == 1
    calls.clear()
    del network
    gc.collect()
    assert gone() is None


def test_a_number_is_never_used_again(session) -> None:
    call(slow, 0)
    calls.clear()
    for _ in range(20):  # each at the place in memory of the one before, most likely
        call(slow, nn.Linear(1, 1))
        calls[-1] = ()
    assert len(calls) == 20


def test_an_error_is_not_kept(session) -> None:
    def failing() -> None:
        raise ZeroDivisionError

    call(slow, 1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            keep(slow, (2,), {}, failing)
    assert call(slow, 2)


def test_a_tensor_that_was_written_into_is_another(session) -> None:
    tensor = torch.zeros(3)
    part = tensor[:2]
    assert computed(slow, (tensor,), (tensor,)) == 1
    part[0] = 1
    assert computed(slow, (tensor,), (tensor,)) == 1
    part[0] = 0
    assert computed(slow, (tensor,)) == 0


def test_a_tensor_is_read_once(session, monkeypatch) -> None:
    tensor = torch.zeros(3)
    assert computed(slow, (tensor,)) == 1

    def unread(_tensor: Tensor) -> Tensor:
        raise AssertionError("read again")

    monkeypatch.setattr(Tensor, "detach", unread)
    assert computed(slow, (tensor, 1), (Pair(tensor),)) == 2


def test_a_tensor_is_recognised_by_its_name_until_somebody_writes_into_it(session) -> None:
    one, other = torch.zeros(3), torch.ones(3)
    for tensor in (one, other):
        kept.recognise(tensor, "0123456789abcdef")
    assert content(one) == content(other)
    other += 0
    kept.recognise(other, "0123456789abcdef")
    assert content(other) == content(torch.ones(3)) != content(one)
