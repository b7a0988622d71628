"""Any value a graph may hold, as JSON bytes.

The common path is one orjson call. What orjson refuses (a lone surrogate, an integer of more than 64 bits, a
key that is no string) goes through `_plain`, and what has no JSON form at all becomes a visible placeholder:
an odd value must never fail a run.
"""

import base64
import dataclasses
import math
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson
from langchain_core.messages import BaseMessage
from langgraph.types import Interrupt
from pydantic import BaseModel

OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
DEPTH = 200  # orjson's own limit is 254

_unset: dict[type, dict[str, None]] = {}  # by class of message: its fields in their order


def dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, _default, OPTIONS)
    except TypeError:
        return orjson.dumps(_plain(value, ()), _default, OPTIONS)


def dumps_text(value: Any) -> str:
    return dumps(value).decode()


def loads(data: bytes | str) -> Any:
    return orjson.loads(data)


def plain(value: Any) -> Any:
    """`value` in terms of dict, list, str, number, bool and None."""
    return orjson.loads(dumps(value))


def message_fields(message: BaseMessage) -> dict[str, Any]:
    """A message as the wire shows it: declared fields in their order, then whatever was added to it."""
    kind = type(message)
    unset = _unset.get(kind)
    if unset is None:
        unset = _unset[kind] = {name: None for name in kind.model_fields if name != "example"}
    fields: dict[str, Any] = unset | message.__dict__
    if len(fields) > len(unset):  # what is no field, such as a cached property
        fields = {name: fields[name] for name in unset}
    if message.__pydantic_extra__:
        fields.update(message.__pydantic_extra__)
    return fields


def error_fields(error: BaseException) -> dict[str, str]:
    """An exception as the wire shows it."""
    try:
        message = str(error)
    except Exception:
        message = "<its message cannot be read>"
    return {"error": type(error).__name__, "message": message}


def _interrupt(interrupt: Interrupt) -> dict[str, Any]:
    return {
        "value": interrupt.value,
        "id": interrupt.id,
        "response_schema": getattr(interrupt, "response_schema", None),
    }


def _model(model: BaseModel) -> Any:
    return {name: getattr(model, name, None) for name in type(model).model_fields} | (model.model_extra or {})


def _dataclass(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(value).decode()


KINDS: tuple[tuple[type | tuple[type, ...], Callable[[Any], Any]], ...] = (
    (BaseMessage, message_fields),
    (Interrupt, _interrupt),
    (BaseModel, _model),
    ((set, frozenset, deque), list),
    (tuple, lambda value: value._asdict() if hasattr(value, "_asdict") else list(value)),
    ((bytes, bytearray, memoryview), _base64),
    (BaseException, error_fields),
    (Decimal, str),
    (Mapping, dict),
    (type, lambda kind: f"<class '{kind.__module__}.{kind.__qualname__}'>"),
)


def _default(value: Any) -> Any:
    if type(value) in _unset:  # a long conversation is thousands of them
        return message_fields(value)
    for kind, convert in KINDS:
        if isinstance(value, kind):
            return convert(value)
    if dataclasses.is_dataclass(value):
        return _dataclass(value)
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "__fspath__") or hasattr(value, "packed") or hasattr(value, "pattern"):
        return value.pattern if hasattr(value, "pattern") else str(value)
    if hasattr(value, "key") and type(value).__name__ == "ZoneInfo":
        return str(value)
    return _placeholder(value)


def _plain(value: Any, within: tuple[int, ...]) -> Any:
    """The slow path: rebuilds `value` with every part that orjson would refuse made harmless.

    `within` holds the ids of what it is a part of.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if _lone_surrogate(value) else value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else _digits(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if id(value) in within:
        return "<contains itself>"
    if len(within) > DEPTH:
        return "<nested too deeply>"
    within = (*within, id(value))
    try:
        if isinstance(value, dict):
            return {str(_plain(key, within)): _plain(item, within) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset | deque) and not hasattr(value, "_asdict"):
            return [_plain(item, within) for item in value]
        try:
            return orjson.loads(orjson.dumps(value, option=OPTIONS))  # dates, UUIDs, enums
        except TypeError:
            return _plain(_default(value), within)
    except Exception:  # of the user's classes, whatever they raise
        return _placeholder(value)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # more than Python writes out
        return f"<an integer of {number.bit_length()} bits>"


def _placeholder(value: Any) -> str:
    return f"<{type(value).__module__}.{type(value).__qualname__} has no JSON form>"


def _lone_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
