"""Expressions in x and y, typed by a visitor, turned into functions without running them."""

import ast
import math
from collections.abc import Callable
from enum import StrEnum

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


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "tanh": torch.tanh,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_OPERATIONS: dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
}
_WRITTEN_OTHERWISE = str.maketrans(
    {"^": "**", "²": "**2", "³": "**3", "−": "-", "×": "*", "·": "*", "π": "pi"}
    | dict(zip("（）＋－＊／", "()+-*/", strict=True))
)


def parse(text: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The function of x and y that an expression describes, elementwise.

    Allowed are numbers, x, y, pi, e, + - * / **, parentheses, and sin cos tan exp log sqrt abs
    tanh; ^ means ** here. An exponent is a number of at most 20 in size. Outside of its domain an
    expression is NaN or inf, as in torch. Nothing of the text is ever executed.

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
    return lambda x, y: _value(tree, {"x": x, "y": y})


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
    """Let nothing through that `_value` does not know."""
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
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            _check(base, depth + 1)
            _exponent(exponent)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATIONS:
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


def _value(node: ast.expr, at: dict[str, Tensor]) -> Tensor:
    """What a checked expression comes to."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return at["x"].new_tensor(float(number))
        case ast.Name(id=name):
            return at[name] if name in at else at["x"].new_tensor(_CONSTANTS[name])
        case ast.UnaryOp(op=operator, operand=operand):
            value = _value(operand, at)
            return -value if isinstance(operator, ast.USub) else value
        case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
            return _value(base, at) ** _exponent(exponent)
        case ast.BinOp(left=left, op=operator, right=right):
            return _OPERATIONS[type(operator)](_value(left, at), _value(right, at))
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return _FUNCTIONS[name](_value(argument, at))
    raise _unknown(node)
