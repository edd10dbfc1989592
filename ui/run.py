"""Explainers on the best device: moved there, timed, and moved back.

torch takes seconds to import, so nothing here imports it before it is needed: the first page is
painted without it.
"""

from __future__ import annotations

import copy
import dataclasses
import gc
import importlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ui.queue import THREADS

if TYPE_CHECKING:
    import torch

P = ParamSpec("P")
R = TypeVar("R")

GARBAGE = 10_000, 20, 1000
"""New objects until the youngest are searched for garbage, and searches until the older ones are.

With Python's own numbers a fifth of the time went into that under twenty visitors, two tenths of a
second at a stretch. All objects together are searched once a minute: see `ui.tidy`.
"""


@dataclasses.dataclass(frozen=True)
class Call:
    """One computation.

    Args:
        function: what ran.
        device: where, such as "cpu".
        milliseconds: how long, without the transfers.
        fell_back: whether the CPU had to step in because the device's memory ran out.
    """

    function: Callable[..., object]
    device: str
    milliseconds: float
    fell_back: bool


current_calls: ContextVar[list[Call] | None] = ContextVar("current_calls", default=None)
"""A list that is put here receives a `Call` from every `run` in the same thread."""


def run(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call `function` on the chosen device and return its result on the CPU.

    Tensors and networks are moved to the device, also those inside lists, tuples, dicts and
    dataclasses; a `torch.Generator` stays where it is. If the device's memory runs out, the CPU
    repeats the computation, with the same random numbers.

    >>> import torch
    >>> run(torch.add, torch.ones(2), 1)
    tensor([2., 2.])
    """
    torch = _torch()
    chosen = device()
    fell_back = False
    generators = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Generator)]
    states = [generator.get_state() for generator in generators]
    try:
        result, milliseconds = _timed(function, args, kwargs, chosen, chosen.type != "cpu")
    except torch.OutOfMemoryError:
        if chosen.type == "cpu":
            raise
        fell_back = True
    if fell_back:  # outside of the handler, which would keep the device's tensors alive
        chosen = torch.device("cpu")
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        result, milliseconds = _timed(function, args, kwargs, chosen, True)
    _note(Call(function, str(chosen), milliseconds, fell_back))
    return result


@cache
def shared(function: Callable[[], R]) -> R:
    """What `function` gives, such as a data set: computed once and shared by all visitors."""
    return run(function)


def stream(function: Callable[P, Iterator[R]], *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
    """Like `run`, for a generator: every state is moved to the CPU and timed by itself.

    Generators of random numbers are taken at their seed. So a repeat gives the same states, also
    where the CPU has to step in for a device without memory.

    >>> list(stream(iter, [1, 2]))
    [1, 2]
    """
    torch = _torch()
    chosen = device()
    fell_back = False
    given = 0
    while True:
        try:
            states = function(*_fresh(args, chosen), **_fresh(kwargs, chosen))
            for number in itertools.count():
                state, milliseconds = _timed(next, (states, None), {}, chosen, True)
                if state is None:
                    return
                if number < given:
                    continue
                _note(Call(function, str(chosen), milliseconds, fell_back))
                given += 1
                yield state
        except torch.OutOfMemoryError:
            if chosen.type == "cpu":
                raise
        chosen, fell_back = torch.device("cpu"), True


def _fresh(arguments: Any, place: torch.device) -> Any:
    """The arguments on `place`, with every generator of random numbers at its seed again."""
    torch = _torch()
    if isinstance(arguments, dict):
        return dict(zip(arguments, _fresh(tuple(arguments.values()), place), strict=True))
    return tuple(
        torch.Generator().manual_seed(argument.initial_seed())
        if isinstance(argument, torch.Generator)
        else _moved(argument, place)
        for argument in arguments
    )


def _note(call: Call) -> None:
    calls = current_calls.get()
    if calls is not None:
        calls.append(call)


def device() -> torch.device:
    """Where explainers run: CUDA, else MPS, else the CPU, or what VISION_DEVICE names.

    Raises:
        ValueError: if VISION_DEVICE names a device that this machine does not have.
    """
    torch = _torch()
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    available = [*(name for name in present if present[name]), "cpu"]
    name = os.environ.get("VISION_DEVICE", available[0])
    if name.partition(":")[0] not in available:
        raise ValueError(f"VISION_DEVICE must be one of {', '.join(available)}, got {name!r}")
    return torch.device(name)


def network(name: str, *options: str) -> torch.nn.Module:
    """A network of `explainers.models` by the name of its function, on the device.

    It is loaded once and shared by all visitors.
    """
    asked = (name, *options)
    with _loading:
        if asked not in _networks:
            models = importlib.import_module("explainers.models")
            _networks[asked] = getattr(models, name)(*options).to(device())
        return _networks[asked]


_networks: dict[tuple[str, ...], torch.nn.Module] = {}
_loading = threading.Lock()


@cache
def warm_up() -> threading.Thread:
    """Import torch in the background, once, so that the first concept does not wait for it."""
    thread = threading.Thread(target=_warm_up, name="warm-up", daemon=True)
    thread.start()
    return thread


def _warm_up() -> None:
    _torch()
    importlib.import_module("explainers.models")
    gc.collect()
    gc.freeze()  # or every rerun would search torch's thousand modules for garbage
    gc.set_threshold(*GARBAGE)


@cache
def _torch() -> Any:
    """The library, set to a few threads.

    Visitors share the machine, and a thread that waits for a busy core costs far more than it
    gains: on two busy cores the detector needs 50 ms with one thread and 200 to 700 with two.
    """
    import torch

    torch.set_num_threads(THREADS)
    return torch


def _timed(
    function: Callable[..., R],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    place: torch.device,
    moving: bool,
) -> tuple[R, float]:
    """The result, on the CPU, and the milliseconds that `function` took on the device `place`.

    Args:
        moving: whether anything may lie elsewhere: looking through all arguments takes longer than
            a small function.
    """
    if moving:
        function, args, kwargs = _moved((function, args, kwargs), place)
    _synchronize(place)
    started = time.perf_counter()
    result = function(*args, **kwargs)
    _synchronize(place)
    milliseconds = (time.perf_counter() - started) * 1000
    return _moved(result, _torch().device("cpu")) if moving else result, milliseconds


def _synchronize(place: torch.device) -> None:
    """Wait until `place` has done what was asked of it."""
    if place.type == "cuda":
        _torch().cuda.synchronize(place)
    elif place.type == "mps":
        _torch().mps.synchronize()


def _moved(value: Any, place: torch.device) -> Any:
    """`value` with every tensor and network in it on `place`."""
    torch = _torch()
    if isinstance(value, torch.Tensor):
        single = place.type == "mps" and value.dtype == torch.float64  # MPS knows no float64
        return value.to(place, torch.float32 if single else value.dtype)
    if isinstance(value, torch.nn.Module):
        here = all(parameter.device.type == place.type for parameter in value.parameters())
        return value if here else copy.deepcopy(value).to(place)  # others may be using it
    if isinstance(value, dict):
        return {key: _moved(item, place) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, place) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, place) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _moved_fields(value, place)
    return value


def _moved_fields(value: Any, place: torch.device) -> Any:
    """A dataclass with its fields on `place`; the same object if there is nothing to move."""
    old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    new = {name: _moved(item, place) for name, item in old.items()}
    changed = {name: item for name, item in new.items() if item is not old[name]}
    return dataclasses.replace(value, **changed) if changed else value
