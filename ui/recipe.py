"""What a step computed, as source to read and as a script to run."""

import dataclasses
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

_LITERAL_ELEMENTS = 400


@dataclass(frozen=True)
class _Line:
    name: str
    code: str
    summary: bool


class Recipe:
    """Records the explainer calls of a step, each with the origin of its arguments.

    Calls are only noted; their script is written when somebody wants to read it.
    """

    def __init__(self) -> None:
        self._functions: dict[Callable[..., Any], None] = {}
        self._notes: list[Callable[[], None]] = []
        self._known: dict[int, tuple[Any, str]] = {}
        self._lines: list[_Line] = []
        self._imports: set[str] = set()
        self._setup: list[str] = []

    def define(self, name: str, value: Any, code: str, *imports: str) -> None:
        """Declare that `value` is what the statement `name = code` makes."""
        self._notes.append(partial(self._define, name, value, code, imports))

    def _define(self, name: str, value: Any, code: str, imports: Sequence[str]) -> None:
        self._know(name, value)
        self._setup.append(f"{name} = {code}")
        self._imports.update(imports)

    def alias(self, value: Any, original: Any, code: str) -> None:
        """Declare `value` as an expression on a known value, written `{}` in `code`."""
        self._notes.append(partial(self._alias, value, original, code))

    def _alias(self, value: Any, original: Any, code: str) -> None:
        self._known[id(value)] = (value, code.format(self._expression(original)))

    def record(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        result: Any,
    ) -> None:
        """Record one call and its result."""
        self._note(function, arguments, options, result, "{}")

    def _note(self, function: Callable[..., Any], *call: Any) -> None:
        self._functions[function] = None
        self._notes.append(partial(self._add, function, *call))

    def _add(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        result: Any,
        within: str,
    ) -> None:
        parts = [self._expression(a) for a in arguments]
        parts += [f"{k}={self._expression(v)}" for k, v in options.items()]
        name = self._fresh(result, function)
        self._imports.add(f"from {function.__module__} import {function.__name__}")
        call = f"{function.__name__}({', '.join(parts)})"
        self._lines.append(_Line(name, within.replace("{}", call), _is_summary(result)))
        self._know(name, result)

    def record_states(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        states: Sequence[Any],
    ) -> None:
        """Record a generator and the states that it has yielded so far; the last is a result."""
        within = f"list(islice({{}}, {len(states)}))[-1]"
        self._note(function, arguments, options, states[-1], within)
        self._notes.append(partial(self._imports.add, "from itertools import islice"))

    def functions(self) -> list[Callable[..., Any]]:
        """The functions that ran, each once, in order."""
        return list(self._functions)

    def source(self) -> str:
        """Source of the functions that ran."""
        return "\n\n".join(inspect.getsource(f).rstrip() for f in self.functions())

    def script(self) -> str:
        """A script that repeats the calls and prints their scalar results."""
        notes, self._notes = self._notes, []
        for note in notes:
            note()
        body = [*self._setup, *(f"{line.name} = {line.code}" for line in self._lines)]
        printed = [line.name for line in self._lines if line.summary]
        body += [f"print({name})" for name in printed or [self._lines[-1].name]]
        imports = _gathered(self._imports, torch="torch." in "".join(body))
        return "\n".join([*imports, "", *body])

    def _know(self, name: str, value: Any) -> None:
        """Remember a value by its name, and what it holds, part by part."""
        if isinstance(value, bool | int | float | str | type(None)):
            return
        self._known[id(value)] = (value, name)
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                self._know(f"{name}.{field.name}", getattr(value, field.name))
        elif isinstance(value, tuple | list):
            for index, part in enumerate(value):
                self._know(f"{name}[{index}]", part)

    def _fresh(self, result: Any, function: Callable[..., Any]) -> str:
        named = dataclasses.is_dataclass(result)
        words = type(result).__name__ if named else re.sub(r"^make_", "", function.__name__)
        base = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()
        if base == function.__name__:
            base = {"nms": "kept", "soft_nms": "soft"}.get(base, f"{base}_result")
        taken = {line.name for line in self._lines} | {line.split(" = ")[0] for line in self._setup}
        number, name = 2, base
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        return name

    def _expression(self, value: Any) -> str:
        if id(value) in self._known:
            return self._known[id(value)][1]
        if isinstance(value, bool | int | float | str | type(None)):
            return _literal(value)
        if isinstance(value, tuple | list):
            inner = ", ".join(map(self._expression, value))
            if isinstance(value, list):
                return f"[{inner}]"
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if type(value).__name__ == "Tensor" and value.numel() <= _LITERAL_ELEMENTS:
            return _tensor(value)
        if type(value).__name__ == "Generator":
            return f"torch.Generator().manual_seed({value.initial_seed()})"
        if dataclasses.is_dataclass(value):
            self._imports.add(f"from {type(value).__module__} import {type(value).__name__}")
            fields = dataclasses.fields(value)
            inner = ", ".join(
                f"{f.name}={self._expression(getattr(value, f.name))}" for f in fields
            )
            return f"{type(value).__name__}({inner})"
        raise ValueError(f"no expression is known for a value of type {type(value).__name__}")


def _gathered(imports: set[str], torch: bool) -> list[str]:
    """One line a module; torch comes first."""
    names: dict[str, list[str]] = {}
    for line in sorted(imports):
        module, _import, name = line.removeprefix("from ").partition(" import ")
        names.setdefault(module, []).append(name)
    lines = [f"from {module} import {', '.join(listed)}" for module, listed in names.items()]
    return ["import torch", *lines] if torch else lines


def _tensor(value: Any) -> str:
    kind = str(value.dtype)
    plain = kind in ("torch.float32", "torch.int64", "torch.bool") and value.numel() > 0
    shaped = f".reshape{tuple(value.shape)}" if value.numel() == 0 else ""
    dtype = "" if plain else f", dtype={kind}"
    number = np.float64 if kind == "torch.float64" else np.float32
    return f"torch.tensor({_literal(value.tolist(), number)}{dtype}){shaped}"


def _literal(value: Any, number: type[np.floating] = np.float64) -> str:
    """The shortest literal that means the same in the precision of `number`."""
    if isinstance(value, list):
        return f"[{', '.join(_literal(v, number) for v in value)}]"
    if not isinstance(value, float):
        return repr(value)
    return str(number(value)) if math.isfinite(value) else f'float("{value}")'


def _is_summary(result: Any) -> bool:
    if isinstance(result, bool | int | float):
        return True
    if not dataclasses.is_dataclass(result):
        return False
    values = [getattr(result, f.name) for f in dataclasses.fields(result)]
    return all(isinstance(v, bool | int | float | str) for v in values)
