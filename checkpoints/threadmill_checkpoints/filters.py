"""What a search of the store asks of values and namespaces; SQLite calls it."""

import json
from collections.abc import Callable, Set
from functools import lru_cache
from operator import ge, gt, le, lt
from typing import Any

import orjson

ORDER: dict[str, Callable[[Any, Any], bool]] = {"$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
OPERATORS = {*ORDER, "$eq", "$ne"}


class UnknownOperator(ValueError):
    """A filter compares in a way that is not known."""


def check(wanted: Any, known: Set[str] = frozenset()) -> None:
    """Raises UnknownOperator. At the top there are only fields."""
    if isinstance(wanted, list):
        for value in wanted:
            check(value, OPERATORS)
    elif isinstance(wanted, dict):
        comparing = _compares(wanted)
        for name, value in wanted.items():
            if comparing and name not in known:
                raise UnknownOperator(f"Unsupported operator: {name}")
            if not comparing:
                check(value, OPERATORS)


def _compares(wanted: Any) -> bool:
    return isinstance(wanted, dict) and any(name.startswith("$") for name in wanted)


def written(wanted: Any) -> str:
    """A filter as `matches` gets it. Numbers may be infinite, or of any size, which orjson does not write."""
    return json.dumps(wanted, default=lambda value: orjson.loads(orjson.dumps(value)))


@lru_cache(maxsize=64)
def _parsed(wanted: str) -> Any:
    return json.loads(wanted)


def matches(value: str | bytes, wanted: str) -> bool:
    """What a filter means in LangGraph's stores: a key that is missing is null, an object matches by its keys."""
    return _holds(orjson.loads(value), _parsed(wanted))


def _holds(there: Any, wanted: Any) -> bool:
    if _compares(wanted):
        return all(_satisfies(there, operator, operand) for operator, operand in wanted.items())
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_holds(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(there, list) and len(there) == len(wanted) and all(map(_holds, there, wanted))
    return _equal(there, wanted)


def _satisfies(there: Any, operator: str, operand: Any) -> bool:
    if operator in ORDER:
        return _comparable(there, operand) and ORDER[operator](there, operand)
    return _equal(there, operand) is (operator == "$eq")


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _comparable(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return numbers or (isinstance(one, str) and isinstance(other, str))


def fits(prefix: str, end: str, path: str) -> bool:
    labels, wanted = prefix.split("."), path.split(".")
    there = labels[: len(wanted)] if end == "prefix" else labels[-len(wanted) :]
    return len(there) == len(wanted) and all(want in ("*", label) for want, label in zip(wanted, there, strict=True))


def head(prefix: str, depth: int) -> str:
    return ".".join(prefix.split(".")[:depth])
