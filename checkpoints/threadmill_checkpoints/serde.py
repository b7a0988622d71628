"""How state becomes bytes: msgpack with an allow-list, never pickle; an odd value never fails a run."""

import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer


class Serializer(JsonPlusSerializer):
    """LangGraph's serializer, strict whatever the environment says; what msgpack cannot hold is stored as text.

    `allowed_types` may be rebuilt besides LangGraph's own safe list: (module, name) of each. CVE-2026-28277.
    """

    def __init__(self, allowed_types: Iterable[tuple[str, ...]] = ()) -> None:
        super().__init__(allowed_msgpack_modules=tuple(allowed_types) or None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        try:
            return super().dumps_typed(obj)
        except (TypeError, ValueError, OverflowError, ormsgpack.MsgpackEncodeError):
            return super().dumps_typed(self._storable(obj, 0))

    def _storable(self, value: Any, depth: int) -> Any:
        """`value` with every part that cannot be stored replaced: large integers and broken text by text."""
        if depth > 400:
            return "<nested too deeply>"
        if isinstance(value, bool) or value is None or isinstance(value, float | bytes):
            return value
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**64 else str(value)
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, Mapping):
            return {self._storable(key, depth + 1): self._storable(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | deque | set | frozenset):
            return type(value)(self._storable(item, depth + 1) for item in value)
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(self._storable(item, depth + 1) for item in value)
        return self._object(value, depth)

    def _object(self, value: Any, depth: int) -> Any:
        try:
            super().dumps_typed(value)
            return value
        except (TypeError, ValueError, OverflowError, ormsgpack.MsgpackEncodeError):
            pass
        if isinstance(value, BaseMessage) or hasattr(value, "model_copy"):
            fields = {name: self._storable(part, depth + 1) for name, part in vars(value).items()}
            return value.model_copy(update=fields)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: self._storable(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **fields)
        return f"<{type(value).__module__}.{type(value).__qualname__} cannot be stored>"
