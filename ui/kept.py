"""What calls cost, and the results of slow ones, so that a change repeats only what depends on it.

A step runs from its first line at every change. A call that has proved slow is not repeated while
its arguments are equal, whoever made them: they are told apart by their content. What follows from
plain values, sample photos and shipped networks alone is public and kept for all visitors; what
follows from anything else, such as an upload, is kept in the visitor's session and no longer than
that.
"""

import dataclasses
import hashlib
import itertools
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import Enum
from functools import cache
from types import ModuleType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import streamlit as st

from ui.queue import Perform, at_once

R = TypeVar("R")

SLOW = 0.005
"""Seconds of a processor's time; faster calls are repeated."""

HEAVY = 0.1
"""Seconds of a processor's time; slower calls wait in line with the networks. See `ui.queue`.

It is what a light change may take: a visitor who waits behind networks for less would wait longer
than it takes.
"""

MOST_BYTES = 12 * 2**20
"""Room for one session's results of slow calls, a small network among them; the oldest go first."""

PUBLIC_BYTES = 128 * 2**20
"""Room for what all visitors share: all pages take some 20 MB for one sample photo."""

SMALL = 128
"""A tensor of at most so many numbers that no call has given is public: it is no picture."""

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

    def take(
        self,
        key: Hashable,
        compute: Callable[[], Kept],
        turn: Callable[[], AbstractContextManager[Perform]],
        largest: float = math.inf,
    ) -> Kept:
        """What is kept under `key`, or else is computed and, up to `largest` bytes, kept."""
        kept = self.get(key)
        if kept is None:
            with turn() as perform:
                kept = self.get(key)  # the run before, or another visitor, may have got it
                if kept is None:
                    kept = perform(compute)
                    if kept.size <= largest:
                        self.put(key, kept)
        return kept

    def _drop(self, key: Hashable) -> None:
        if key in self._kept:
            self._size -= self._kept.pop(key).size


_for_all = Results(PUBLIC_BYTES)


def keep(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    compute: Callable[[], Any],
    turn: Callable[[], AbstractContextManager[Perform]] = lambda: nullcontext(at_once),
) -> Any:
    """The result of a call: the one kept for equal arguments, else what `compute` gives.

    Args:
        function, arguments, options: the call.
        compute: makes it.
        turn: where to wait before that, and who makes it; somebody else may have made the same
            call meanwhile.
    """
    given = (arguments, dict(options))
    may_be_slow = _costs.get(_name(function), SLOW) >= SLOW
    key = _Key(function, given) if may_be_slow else None
    if key is None or not key.known:
        with turn() as perform:
            return handed_on(perform(compute), given)
    results = room_for(given, _session())

    def computed() -> Kept:
        result = handed_on(compute(), given)
        return Kept(result, [generator.get_state() for generator in key.generators])

    kept = results.take(key.digest, computed, turn, largest=MOST_BYTES)
    for generator, state in zip(key.generators, kept.states, strict=True):
        generator.set_state(state)
    return kept.result


# ---------------------------------------------------------------- public


def publish(value: Any, public: bool = True) -> None:
    """Say whether the tensors and networks in `value` tell nothing of a visitor."""
    import torch

    if isinstance(value, torch.nn.Module):
        if public and value not in _public_networks:
            _public_networks.update(value.modules())
    elif isinstance(value, torch.Tensor):
        _public_tensors()[_whole(value)] = public
    else:
        for part in _parts(value) or ():
            publish(part, public)


def is_public(value: Any) -> bool:
    """Whether it follows from plain values and what has been published alone.

    >>> is_public((1, "relu", range(3)))
    True
    """
    import torch

    if isinstance(value, (*_PLAIN, range, torch.Generator)):
        return True
    if isinstance(value, torch.Tensor):
        return _public_tensors().get(_whole(value), value.numel() <= SMALL)
    if isinstance(value, torch.nn.Module):
        return value in _public_networks
    if callable(value) and not _is_record(value):
        return _is_defined(value)
    parts = _parts(value)
    return parts is not None and all(map(is_public, parts))


def room_for(given: Any, own: Results) -> Results:
    """Where a result of what is `given` may be kept: for all visitors, or in `own`."""
    return _for_all if is_public(given) else own


def handed_on(result: R, given: Any) -> R:
    """The result, public if all that it follows from is."""
    publish(result, is_public(given))
    return result


def _whole(tensor: Any) -> Any:
    """What a view looks at; any other tensor itself."""
    return tensor if tensor._base is None else tensor._base


_public_networks: WeakSet[Any] = WeakSet()


@cache
def _public_tensors() -> Any:
    """Whether a tensor is public, for those that it has been said of."""
    from torch.utils.weak import WeakTensorKeyDictionary

    return WeakTensorKeyDictionary()


# ---------------------------------------------------------------- contents and costs


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

    `known` is whether all of it could be told.
    """

    def __init__(self, *values: Any) -> None:
        self.known = True
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
            self._hash.update(_digest(value))
        elif isinstance(value, torch.Generator):
            self.generators.append(value)
            self._hash.update(value.get_state().numpy().tobytes())
        elif isinstance(value, torch.nn.Module):
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


def recognise(tensor: Any, name: str) -> None:
    """Let a tensor be told apart by a name of its content, such as a photo's digest, unread."""
    _digests().setdefault(tensor, (tensor._version, f"name:{name}".encode()))


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
