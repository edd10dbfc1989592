"""Slow calls are not repeated with equal arguments, and nobody gets another visitor's result."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import streamlit as st
import torch
from torch import Tensor, nn

from ui import kept
from ui.kept import Results, cost, keep, measured


@dataclass(frozen=True)
class Pair:
    left: Tensor
    right: tuple[float, ...] = ()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A visitor's session; nothing has been kept for anybody."""
    state: dict[str, Any] = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(kept, "_for_all", Results())
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


def test_a_call_costs_what_its_last_computation_took(session) -> None:
    assert cost(slow) == 0
    call(slow, 1)
    assert kept.SLOW < cost(slow) < 10 * kept.SLOW
    with measured(slow):
        pass
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


def test_random_numbers_go_on_as_if_the_call_had_been_made(session) -> None:
    def draw() -> list[float]:
        generator = torch.Generator().manual_seed(7)
        first = call(slow, generator).left.tolist()
        return first + torch.rand(2, generator=generator).tolist()

    call(slow, 0)
    assert draw() == draw()
    assert len(calls) == len({tuple(map(id, c)) for c in calls})


def test_what_follows_from_a_photo_stays_in_its_session(session, monkeypatch) -> None:
    photo = torch.ones(4, 4, 3)
    assert computed(slow, (photo,), (3,)) == 2
    monkeypatch.setattr(st, "session_state", {})  # another visitor
    assert computed(slow, (photo,), (3,)) == 1
    assert calls[0][0] is photo


def test_the_oldest_results_go_first(session, monkeypatch) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 8)  # room for two
    for number in (0, 1, 2, 1, 3):  # the first shows how slow it is, the last one drives out 2
        call(slow, number)
    calls.clear()
    for number in (1, 3, 2):
        call(slow, number)
    assert calls == [(2,)]


def test_a_result_that_is_too_large_is_not_kept(session, monkeypatch) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 3)
    assert computed(slow, (1,), (1,)) == 2


def slow_network(*arguments: Any) -> nn.Module:
    slow(*arguments)
    return nn.Linear(1, 1)


@pytest.mark.parametrize(("room", "times"), [(8, 1), (7, 2)])
def test_a_network_takes_the_room_of_its_weights(session, monkeypatch, room, times) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", room)
    assert computed(slow_network, (1,), (1,)) == times


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
