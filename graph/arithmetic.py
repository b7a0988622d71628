"""A calculator that reads the syntax tree instead of running code, with a bound on every number it makes."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

MAX_LENGTH = 200
MAX_BITS = 4096

Number = int | float


class ArithmeticRefused(ValueError):
    """The expression is not arithmetic, or its result is too large or undefined."""


def _power(base: Number, exponent: Number) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and abs(exponent) * max(base.bit_length(), 1) > MAX_BITS:
        raise ArithmeticRefused("the power is too large")
    return base**exponent


def _round(value: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > 15:
        raise ArithmeticRefused("round takes 0 to 15 digits")
    return round(value, digits) if digits else round(value)


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "max": max,
    "min": min,
    "round": _round,
    "sqrt": math.sqrt,
}
CONSTANTS = {"pi": math.pi, "e": math.e}
SPELLINGS = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**", "\uff08": "(", "\uff09": ")", "\uff0c": ","}
)


def evaluate(expression: str) -> Number:
    """The value of `expression`; raises ArithmeticRefused with the reason for everything that is not arithmetic."""
    text = expression.translate(SPELLINGS).strip()
    if not text or len(text) > MAX_LENGTH:
        raise ArithmeticRefused(f"an expression has 1 to {MAX_LENGTH} characters")
    try:
        return _value(ast.parse(text, mode="eval").body)
    except ArithmeticRefused:
        raise
    except ZeroDivisionError as error:
        raise ArithmeticRefused("division by zero") from error
    except OverflowError as error:
        raise ArithmeticRefused("the result is too large") from error
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError) as error:
        raise ArithmeticRefused("this is not arithmetic") from error


def written(value: Number) -> str:
    """Twelve significant digits, so 0.1 + 0.2 reads 0.3; whole numbers in full."""
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _value(node: ast.AST) -> Number:
    match node:
        case ast.Constant(value=number) if type(number) in (int, float):
            result: Any = number
        case ast.Name(id=name) if name in CONSTANTS:
            result = CONSTANTS[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            result = OPERATORS[type(op)](_value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            result = OPERATORS[type(op)](_value(left), _value(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            result = FUNCTIONS[name](*[_value(argument) for argument in args])
        case _:
            raise ArithmeticRefused(
                "only numbers, + - * / // % **, brackets and abs, max, min, round, sqrt are allowed"
            )
    return _bounded(result)


def _bounded(value: Any) -> Number:
    if isinstance(value, int) and value.bit_length() <= MAX_BITS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ArithmeticRefused("the result is too large or not a real number")
