"""Expressions in x and y, typed by a visitor, turned into functions without running them.

A function and its slope are computed together, part by part: forward accumulation (Wengert, 1964).
A descent asks for hundreds of slopes one after the other, each of a few points, and autograd takes
four times as long for them.
"""

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import torch
from torch import Tensor

LONGEST_EXPRESSION = 200
DEEPEST_EXPRESSION = 60
LARGEST_EXPONENT = 20.0


class Reason(StrEnum):
    """Why a text is no surface."""

    LENGTH = "length"
    DEPTH = "depth"
    SYNTAX = "syntax"
    OPERATION = "operation"
    NAME = "name"
    NUMBER = "number"
    EXPONENT = "exponent"
    CONSTANT = "constant"
    NOWHERE = "nowhere"


class ExpressionError(ValueError):
    """A text that is no surface.

    Attributes:
        reason: what is wrong.
        part: the part of the text that is.
    """

    def __init__(self, reason: Reason, part: str, allowed: str) -> None:
        super().__init__(f"expression has {part!r}: {allowed}")
        self.reason = reason
        self.part = part


_Value = Tensor | float
_Rate = Tensor | float | None


class _Part(NamedTuple):
    """What a part of an expression comes to, and its derivatives with respect to x and y.

    A derivative is None where the part does not depend on that number, or nobody asks.
    """

    value: Any  # a float if it depends on neither
    along: tuple[_Rate, _Rate] = (None, None)


_Node = Callable[[_Part, _Part], _Part]
_Derivative = Callable[[Tensor, Tensor], _Value]

_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], _Derivative]] = {
    "sin": (torch.sin, lambda argument, _value: argument.cos()),
    "cos": (torch.cos, lambda argument, _value: -argument.sin()),
    "tan": (torch.tan, lambda _argument, value: 1 + value * value),
    "exp": (torch.exp, lambda _argument, value: value),
    "log": (torch.log, lambda argument, _value: 1 / argument),
    "sqrt": (torch.sqrt, lambda _argument, value: 0.5 / value),
    "abs": (torch.abs, lambda argument, _value: argument.sgn()),
    "tanh": (torch.tanh, lambda _argument, value: 1 - value * value),
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATIONS: dict[type[ast.operator], tuple[Callable[..., Any], Callable[..., _Rate]]] = {
    ast.Add: (operator.add, lambda _a, _b, _value, da, db: _sum(da, db)),
    ast.Sub: (operator.sub, lambda _a, _b, _value, da, db: _sum(da, _times(db, -1.0))),
    ast.Mult: (operator.mul, lambda a, b, _value, da, db: _sum(_times(da, b), _times(db, a))),
    ast.Div: (
        operator.truediv,
        lambda _a, b, value, da, db: _over(_sum(da, _times(_times(db, value), -1.0)), b),
    ),
}
_WRITTEN_OTHERWISE = str.maketrans(
    {"^": "**", "²": "**2", "³": "**3", "−": "-", "×": "*", "·": "*", "π": "pi"}
    | dict(zip("（）＋－＊／", "()+-*/", strict=True))
)


@dataclass(frozen=True)
class Expression:
    """A function of x and y, elementwise, and its slope; `parse` makes one."""

    _node: _Node

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The values.

        >>> parse("x * y**2")(torch.tensor([3.0]), torch.tensor([2.0]))
        tensor([12.])
        """
        return _tensor(self._node(_Part(x), _Part(y)).value, x)

    def slope(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives with respect to x and y; 0 at the kink of abs, as autograd has it.

        >>> parse("x * y**2").slope(torch.tensor([3.0]), torch.tensor([2.0]))
        (tensor([4.]), tensor([12.]))
        """
        along_x, along_y = self._node(_Part(x, (1.0, None)), _Part(y, (None, 1.0))).along
        return _filled(along_x, x), _filled(along_y, x)


def parse(text: str) -> Expression:
    """The function of x and y that an expression describes.

    Allowed are numbers, x, y, pi, e, + - * / **, parentheses, and sin cos tan exp log sqrt abs
    tanh; ^ means ** here. An exponent is a number of at most 20 in size, or anything if the base is
    e. Outside of its domain an expression is NaN or inf, as in torch. Nothing of the text is ever
    executed.

    Args:
        text: at most 200 characters.

    Raises:
        ExpressionError: a ValueError that names what is wrong; see `Reason`.

    >>> parse("(x - 1)^2 + abs(y)")(torch.tensor([3.0]), torch.tensor([-0.5]))
    tensor([4.5000])
    """
    tree = _parsed(text)
    _check(tree)
    if not any(isinstance(node, ast.Name) and node.id in "xy" for node in ast.walk(tree)):
        raise ExpressionError(Reason.CONSTANT, text, "x or y is needed")
    return Expression(_compiled(tree))


def _parsed(text: str) -> ast.expr:
    if len(text) > LONGEST_EXPRESSION:
        allowed = f"at most {LONGEST_EXPRESSION} characters are allowed"
        raise ExpressionError(Reason.LENGTH, f"{text[:20]}…", allowed)
    written = text.translate(_WRITTEN_OTHERWISE).strip()
    try:
        return ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        allowed = "an expression such as x**2 + 3*y**2 is needed"
        raise ExpressionError(Reason.SYNTAX, text, allowed) from None


def _check(node: ast.expr, depth: int = 1) -> None:
    """Let nothing through that `_compiled` does not know."""
    if depth > DEEPEST_EXPRESSION:
        allowed = f"at most {DEEPEST_EXPRESSION} operations inside each other are allowed"
        raise ExpressionError(Reason.DEPTH, "…", allowed)
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=complex() | str() | bytes()):
            raise _unknown(node)
        case ast.Constant(value=int() | float() as number):
            if not math.isfinite(number):
                raise ExpressionError(Reason.NUMBER, str(number), "finite numbers are needed")
        case ast.Name(id=name):
            if name not in {"x", "y", *_CONSTANTS}:
                allowed = "x, y, pi, e and functions followed by ( are allowed"
                raise ExpressionError(Reason.NAME, name, allowed)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            _check(operand, depth + 1)
        case ast.BinOp(left=ast.Name(id="e"), op=ast.Pow(), right=exponent):
            _check(exponent, depth + 1)
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            _check(base, depth + 1)
            _exponent(exponent)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATIONS:
            _check(left, depth + 1)
            _check(right, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            if name not in _FUNCTIONS:
                allowed = f"{', '.join(_FUNCTIONS)} are allowed"
                raise ExpressionError(Reason.NAME, name, allowed)
            _check(argument, depth + 1)
        case _:
            raise _unknown(node)


def _unknown(node: ast.expr) -> ExpressionError:
    part = ast.unparse(node)
    allowed = "numbers, x, y, + - * / ** and functions of one number are allowed"
    return ExpressionError(Reason.OPERATION, part, allowed)


def _exponent(node: ast.expr) -> float:
    """The number that an exponent is."""
    sign = 1.0
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        sign, node = -1.0, node.operand
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value > LARGEST_EXPONENT:
        allowed = f"an exponent is a number of at most {LARGEST_EXPONENT:g} in size"
        raise ExpressionError(Reason.EXPONENT, ast.unparse(node), allowed)
    return sign * value


def _compiled(node: ast.expr) -> _Node:
    """What a checked expression computes."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return _constant(float(number))
        case ast.Name(id="x"):
            return lambda x, _y: x
        case ast.Name(id="y"):
            return lambda _x, y: y
        case ast.Name(id=name):
            return _constant(_CONSTANTS[name])
        case ast.UnaryOp(op=sign, operand=operand):
            inner = _compiled(operand)
            return _call(torch.neg, _minus_one, inner) if isinstance(sign, ast.USub) else inner
        case ast.BinOp(left=ast.Name(id="e"), op=ast.Pow(), right=exponent):
            return _call(*_FUNCTIONS["exp"], _compiled(exponent))
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            return _power(_compiled(base), _exponent(exponent))
        case ast.BinOp(left=left, op=sign, right=right):
            return _operation(*_OPERATIONS[type(sign)], _compiled(left), _compiled(right))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _call(*_FUNCTIONS[name], _compiled(argument))
    raise _unknown(node)


def _constant(number: float) -> _Node:
    return lambda _x, _y: _Part(number)


def _minus_one(_argument: Tensor, _value: Tensor) -> float:
    return -1.0


def _power(base: _Node, exponent: float) -> _Node:
    def power(argument: Tensor) -> Tensor:
        return torch.pow(argument, exponent)

    def derivative(argument: Tensor, _value: Tensor) -> Tensor:
        if exponent == 0:  # where 0 times a power of 0 would be NaN
            return torch.zeros_like(argument)
        below = argument if exponent == 2 else torch.pow(argument, exponent - 1)
        return exponent * below

    return _call(power, derivative, base)


def _call(function: Callable[[Tensor], Tensor], derivative: _Derivative, inner: _Node) -> _Node:
    """A function of one number, by the chain rule."""

    def part(x: _Part, y: _Part) -> _Part:
        given, (along_x, along_y) = inner(x, y)
        argument = _tensor(given, x.value)
        value = function(argument)
        if along_x is None and along_y is None:
            return _Part(value)
        outer = derivative(argument, value)
        return _Part(value, (_times(along_x, outer), _times(along_y, outer)))

    return part


def _operation(
    of_values: Callable[..., _Value], of_rates: Callable[..., _Rate], left: _Node, right: _Node
) -> _Node:
    def part(x: _Part, y: _Part) -> _Part:
        (a, (a_along_x, a_along_y)), (b, (b_along_x, b_along_y)) = left(x, y), right(x, y)
        if isinstance(b, float) and b == 0:
            b = _tensor(b, x.value)  # Python's own division refuses a 0
        value = of_values(a, b)
        along_x = of_rates(a, b, value, a_along_x, b_along_x)
        return _Part(value, (along_x, of_rates(a, b, value, a_along_y, b_along_y)))

    return part


def _tensor(value: _Value, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else like.new_tensor(value)


def _filled(rate: _Rate, like: Tensor) -> Tensor:
    return _tensor(0.0 if rate is None else rate, like).expand_as(like)


def _sum(a: _Rate, b: _Rate) -> _Rate:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _times(rate: _Rate, factor: _Value) -> _Rate:
    if rate is None:
        return None
    return factor if isinstance(rate, float) and rate == 1 else factor * rate


def _over(rate: _Rate, divisor: _Value) -> _Rate:
    return None if rate is None else rate / divisor
