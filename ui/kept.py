"""What calls cost, and the results of slow ones, so that a change repeats only what depends on it.

A step runs from its first line at every change. A call that has proved slow is not repeated while
its arguments are equal, whoever made them: they are told apart by their content. What follows
from plain values alone is kept for all visitors, what follows from tensors, such as a photo, in
the visitor's session and no longer than that.
"""

import dataclasses
import hashlib
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import streamlit as st

SLOW = 0.005
"""Seconds of a processor's time; faster calls are repeated."""

HEAVY = 0.05
"""Seconds of a processor's time; slower calls wait in line with the networks. See `ui.queue`."""

MOST_BYTES = 8 * 2**20
"""Room for one session's results, and for those of all visitors; the oldest go first."""

ENTRY_BYTES = 4 * 2**10
"""What a result takes beside its tensors, on a generous estimate."""

_FADING = 0.95  # what a cost counts at the next computation
_STATE = "kept.results"
_PLAIN = (bool, int, float, str, bytes, type(None), Enum)
_costs: dict[str, float] = {}  # of each function's computations, in seconds


@dataclasses.dataclass
class Kept:
    """A result, and how the call left its generators of random numbers.

    Attributes:
        size: bytes that both take.
    """

    result: Any
    states: Sequence[Any] = ()

    def __post_init__(self) -> None:
        self.size = _size([self.result, *self.states])


class Results:
    """The newest results, by what asks for them, that take at most `most` bytes.

    The very newest is kept whatever its size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Kept | None:
        """What is kept under `key`; it becomes the newest."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, kept: Kept) -> None:
        """Keep a result; the oldest make room for it."""
        with self._lock:
            self._drop(key)
            self._kept[key] = kept
            self._size += kept.size
            while self._size > self._most and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        if key in self._kept:
            self._size -= self._kept.pop(key).size


_for_all = Results(MOST_BYTES)


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
    results = _for_all if key.plain else _session()
    kept = results.get(key.digest)
    if kept is None:
        result = compute()
        new = Kept(result, [generator.get_state() for generator in key.generators])
        if new.size <= MOST_BYTES:
            results.put(key.digest, new)
        return result
    for generator, state in zip(key.generators, kept.states, strict=True):
        generator.set_state(state)
    return kept.result


def content(*values: Any) -> Hashable:
    """What two calls with equal arguments have in common, and others have not.

    Functions made inside of others, and objects that are neither dataclasses nor containers, are
    taken for equal if they are of one kind.

    >>> content((1, 2)) == content((1, 2)), content((1, 2)) == content((1, 3))
    (True, False)
    """
    return _Key(*values).digest


def cost(function: Callable[..., Any]) -> float:
    """Seconds of a processor's time that the function's computations take; 0 before the first.

    It is the most that one has taken, and fades slowly: what is cheap for one visitor is dear for
    the next one, with other arguments.
    """
    return _costs.get(_name(function), 0.0)


@contextmanager
def measured(function: Callable[..., Any]) -> Iterator[None]:
    """Take the time of the function's computation inside the `with` block."""
    started = time.thread_time()
    yield
    taken = time.thread_time() - started
    _costs[_name(function)] = max(taken, _FADING * cost(function))


def _session() -> Results:
    return st.session_state.setdefault(_STATE, Results(MOST_BYTES))


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
        elif isinstance(value, torch.nn.Module):
            self.plain = False
            self._hash.update(_number(value))
        elif callable(value) and not _is_record(value):
            defined = _is_defined(value)
            self.known = self.known and defined
            self._hash.update(_number(value) if defined else b"")
        else:
            parts = _parts(value)
            self.known = self.known and parts is not None
            for part in parts or ():
                self._add(part)
            self._hash.update(b";")


def _is_record(value: Any) -> bool:
    """Whether it is an instance of a dataclass."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _is_defined(value: Any) -> bool:
    """Whether a function or class is there once and for all, made by no call and bound to nothing.

    What others hold, such as a method its object, may follow from a photo.
    """
    bound = getattr(value, "__self__", None)
    nested = "<" in getattr(value, "__qualname__", "<")
    return not nested and (bound is None or isinstance(bound, ModuleType))


def _number(value: Any) -> bytes:
    """A number of its own for each network and function; unlike an `id` it is never used again."""
    return str(_numbers.setdefault(value, next(_counter))).encode()


_numbers: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_counter = itertools.count()


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
    if _is_record(value):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return None


def _size(value: Any) -> int:
    """Bytes that a value takes: tensors' memory, shared memory once, and `ENTRY_BYTES`."""
    memory = [tensor.untyped_storage() for tensor in _tensors(value)]
    return ENTRY_BYTES + sum({part.data_ptr(): part.nbytes() for part in memory}.values())


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from value.state_dict().values()
    else:
        for part in _parts(value) or ():
            yield from _tensors(part)
