"""How state becomes bytes: msgpack with an allow-list, never pickle; an odd value never fails a run."""

import copy
import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from pydantic import BaseModel

from threadmill_checkpoints.sealing import CONTEXT, About, Vault, opened_blob, sealed_blob

SEALED, BOUND = "+sealed", "+bound"  # the latter with its encryption context
ABOUT = ("checkpoint", "checkpoint")
DEPTH = 200  # what JSON can show
KINDS = ("null", "bytes", "bytearray", "msgpack")  # LangGraph's `json` makes objects that the allow-list does not know


class Unreadable(ValueError):
    """Stored bytes that are no value."""


class Serializer(JsonPlusSerializer):
    """LangGraph's serializer, strict whatever the environment says; what msgpack cannot hold is stored as text.

    `allowed_types` may be rebuilt besides LangGraph's own safe list: (module, name) of each. CVE-2026-28277.
    """

    def __init__(self, allowed_types: Iterable[tuple[str, ...]] = ()) -> None:
        super().__init__(allowed_msgpack_modules=tuple(allowed_types) or None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        try:
            return super().dumps_typed(obj)
        except Exception:  # of the user's classes, whatever they raise
            return super().dumps_typed(self._storable(obj, ()))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises Unreadable for anything else than this class has written."""
        kind = data[0]
        if kind not in KINDS:
            raise Unreadable(f"Stored values of type {kind!r} are not read.")
        try:
            return super().loads_typed(data)
        except Exception as error:
            raise Unreadable(f"A stored value of type {kind!r} is damaged: {error}") from error

    def _storable(self, value: Any, within: tuple[int, ...]) -> Any:
        """`value` with every part that cannot be stored replaced by text. `within`: the ids of what it is a part of."""
        if value is None or isinstance(value, bool | float | bytes):
            return value
        if isinstance(value, int):
            return value if -(2**63) <= value < 2**64 else _digits(value)
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if id(value) in within:
            return "<contains itself>"
        if len(within) > DEPTH:
            return "<nested too deeply>"
        try:
            return self._parts(value, (*within, id(value)))
        except Exception:
            return _placeholder(value)

    def _parts(self, value: Any, within: tuple[int, ...]) -> Any:
        if isinstance(value, Mapping):
            return {self._storable(key, within): self._storable(item, within) for key, item in value.items()}
        if isinstance(value, list | deque | set | frozenset):
            return type(value)(self._storable(item, within) for item in value)
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            return tuple(self._storable(item, within) for item in value)
        if self._holds(value):
            return value
        rebuilt = self._rebuilt(value, within)
        return rebuilt if self._holds(rebuilt) else _placeholder(value)

    def _rebuilt(self, value: Any, within: tuple[int, ...]) -> Any:
        """A model or dataclass with storable fields."""
        if isinstance(value, BaseModel):
            return value.model_copy(update={name: self._storable(part, within) for name, part in vars(value).items()})
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            rebuilt = copy.copy(value)
            for field in dataclasses.fields(value):
                object.__setattr__(rebuilt, field.name, self._storable(getattr(value, field.name), within))
            return rebuilt
        return value

    def _holds(self, value: Any) -> bool:
        try:
            super().dumps_typed(value)
        except Exception:
            return False
        return True


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # more than Python writes out
        return f"<an integer of {number.bit_length()} bits>"


def _placeholder(value: Any) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"<{kind.__module__}.{kind.__qualname__} cannot be stored>"


class SealedSerializer(Serializer):
    """Encrypts what it makes; the type says so, so that what was stored before can be read."""

    def __init__(self, allowed_types: Iterable[tuple[str, ...]], vault: Vault) -> None:
        super().__init__(allowed_types)
        self._vault = vault

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        kind, data = super().dumps_typed(obj)
        if not self._vault.blobs:
            return kind, data
        context = CONTEXT.get() or {}
        if context:
            return kind + BOUND, sealed_blob(self._vault, data, About(*ABOUT, context))
        return kind + SEALED, self._vault.seal(data, About(*ABOUT, context))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, blob = data
        if kind.endswith(BOUND):
            return super().loads_typed((kind.removesuffix(BOUND), opened_blob(self._vault, blob, *ABOUT)))
        if kind.endswith(SEALED):
            return super().loads_typed((kind.removesuffix(SEALED), self._vault.open(blob, About(*ABOUT, {}))))
        return super().loads_typed(data)
