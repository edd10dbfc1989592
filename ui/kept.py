"""What calls cost, and the results of slow ones, so that a change repeats only what depends on it.

A step runs from its first line at every change. A call that has proved slow is not repeated while
its arguments are equal, whoever made them: they are told apart by their content. What follows
from plain values alone is kept for all visitors, what follows from tensors, such as a photo, in
the visitor's session and no longer than that.
"""

import dataclasses
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any

import streamlit as st

SLOW = 0.005
"""Seconds of a processor's time; faster calls are repeated."""

HEAVY = 0.05
"""Seconds of a processor's time; slower calls wait in line with the networks. See `ui.queue`."""

MOST_BYTES = 8 * 2**20
"""Room for one session's results, and for those of all visitors; the oldest go first."""

_STATE = "kept.results"
_PLAIN = (bool, int, float, str, bytes, type(None), Enum)
_costs: dict[str, float] = {}  # of each function's last computation, in seconds


@dataclasses.dataclass(frozen=True)
class _Kept:
    """A result, its size, and how the call left its generators of random numbers."""

    result: Any
    size: int
    states: list[Any]
    alive: list[Any]  # whose identity is part of the key


class Results:
    """The newest results, at most `MOST_BYTES` of them."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: bytes) -> _Kept | None:
        """What is kept under `key`; it becomes the newest."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: bytes, kept: _Kept) -> None:
        """Keep a result, unless it is too large."""
        if kept.size > MOST_BYTES:
            return
        with self._lock:
            self._kept[key] = kept
            while sum(other.size for other in self._kept.values()) > MOST_BYTES:
                self._kept.popitem(last=False)


_for_all = Results()


def keep(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    compute: Callable[[], Any],
) -> Any:
    """The result of a call: the one kept for equal arguments, else what `compute` gives."""
    given = (arguments, dict(options))
    may_be_slow = _costs.get(_name(function), SLOW) >= SLOW
    key = _Key(function, given) if may_be_slow else None
    if key is None or not key.known:
        return compute()
    results = _for_all if key.plain else st.session_state.setdefault(_STATE, Results())
    kept = results.get(key.digest)
    if kept is None:
        result = compute()
        size = sum(tensor.nbytes for tensor in _tensors(result))
        states = [generator.get_state() for generator in key.generators]
        results.put(key.digest, _Kept(result, size, states, key.alive))
        return result
    for generator, state in zip(key.generators, kept.states, strict=True):
        generator.set_state(state)
    return kept.result


def cost(function: Callable[..., Any]) -> float:
    """Seconds of a processor's time that the function's last computation took; 0 before."""
    return _costs.get(_name(function), 0.0)


@contextmanager
def measured(function: Callable[..., Any]) -> Iterator[None]:
    """Take the time of the function's computation inside the `with` block."""
    started = time.thread_time()
    yield
    _costs[_name(function)] = time.thread_time() - started


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', '')}"


class _Key:
    """What tells two calls apart.

    `known` is whether all of it could be told, `plain` whether neither tensors nor networks are
    among it.
    """

    def __init__(self, *values: Any) -> None:
        self.known = self.plain = True
        self.generators: list[Any] = []
        self.alive: list[Any] = []
        self._hash = hashlib.blake2b(digest_size=16)
        for value in values:
            self._add(value)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()

    def _add(self, value: Any) -> None:
        import torch

        self._hash.update(f"|{type(value).__qualname__}:".encode())
        if isinstance(value, _PLAIN):
            self._hash.update(repr(value).encode())
        elif isinstance(value, torch.Tensor):
            self.plain = False
            self._hash.update(_digest(value))
        elif isinstance(value, torch.Generator):
            self.generators.append(value)
            self._hash.update(value.get_state().numpy().tobytes())
        elif isinstance(value, torch.nn.Module) or callable(value):
            self.plain = self.plain and not isinstance(value, torch.nn.Module)
            self.known = self.known and "<" not in getattr(value, "__qualname__", "")
            self.alive.append(value)
            self._hash.update(str(id(value)).encode())
        else:
            parts = _parts(value)
            self.known = self.known and parts is not None
            for part in parts or ():
                self._add(part)
            self._hash.update(b";")


def _digest(tensor: Any) -> bytes:
    """A tensor's type, shape and content, read once as long as nobody writes into it.

    A transformer's queries and keys are 10 MB: reading them anew cost more than what used them.
    """
    known = _digests().get(tensor)
    if known is None or known[0] != tensor._version:
        head = f"{tensor.dtype}{tuple(tensor.shape)}".encode()
        content = tensor.detach().cpu().contiguous().numpy()
        digest = hashlib.blake2b(content, digest_size=16)
        digest.update(head)
        known = _digests()[tensor] = (tensor._version, digest.digest())
    return known[1]


@cache
def _digests() -> Any:
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


def _parts(value: Any) -> list[Any] | None:
    """What a container holds; None for anything else."""
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    if isinstance(value, list | tuple | range):
        return list(value)
    if dataclasses.is_dataclass(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return None


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if hasattr(value, "nbytes"):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from value.state_dict().values()
    else:
        for part in _parts(value) or ():
            yield from _tensors(part)
