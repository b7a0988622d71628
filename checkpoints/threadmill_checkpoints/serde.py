"""How state becomes bytes: msgpack with an allow-list, never pickle; an odd value never fails a run."""

import copy
import dataclasses
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import ormsgpack
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer, _msgpack_default, _option
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from pydantic import BaseModel

from threadmill_checkpoints.sealing import CONTEXT, About, Vault, opened_blob, sealed_blob

SEALED, BOUND = "+sealed", "+bound"  # the latter with its encryption context
ABOUT = ("checkpoint", "checkpoint")
DEPTH = 200  # what JSON can show
KINDS = ("null", "bytes", "bytearray", "msgpack")  # LangGraph's `json` makes objects that the allow-list does not know
READ = ormsgpack.OPT_NON_STR_KEYS

# A message as its class and the fields that are not at their defaults: fewer bytes and less time than
# LangGraph's way takes, which names the module and validates each field again. Only of exactly these classes.
MESSAGE = 64  # the msgpack extension; LangGraph's are 0 to 7
CLASSES: tuple[type[BaseMessage], ...] = (HumanMessage, AIMessage, SystemMessage, ToolMessage)
NUMBERS = {cls: number for number, cls in enumerate(CLASSES)}
UNSET = tuple(dict(vars(cls(content="", **({"tool_call_id": ""} if cls is ToolMessage else {})))) for cls in CLASSES)


class Unreadable(ValueError):
    """Stored bytes that are no value."""


class Serializer(JsonPlusSerializer):
    """LangGraph's serializer, strict whatever the environment says; what msgpack cannot hold is stored as text.

    `allowed_types` may be rebuilt besides LangGraph's own safe list: (module, name) of each. CVE-2026-28277.
    """

    def __init__(self, allowed_types: Iterable[tuple[str, ...]] = ()) -> None:
        super().__init__(allowed_msgpack_modules=tuple(allowed_types) or None)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return self.closed(*self.pack(obj))

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """Raises Unreadable for anything else than this class has written."""
        return self.unpack(*self.opened(*data))

    @property
    def sealing(self) -> bool:
        """Whether what is stored must not tell what it was."""
        return False

    def closed(self, kind: str, data: bytes) -> tuple[str, bytes]:
        """What was packed, as it is stored."""
        return kind, data

    def opened(self, kind: str, data: bytes) -> tuple[str, bytes]:
        return kind, data

    def pack(self, obj: Any) -> tuple[str, bytes]:
        try:
            return self._pack(obj)
        except Exception:  # of the user's classes, whatever they raise
            return self._pack(self._storable(obj, ()))

    def unpack(self, kind: str, data: bytes) -> Any:
        if kind not in KINDS:
            raise Unreadable(f"Stored values of type {kind!r} are not read.")
        try:
            if kind == "msgpack":
                return ormsgpack.unpackb(data, ext_hook=self._extension, option=READ)
            return super().loads_typed((kind, data))
        except Exception as error:
            raise Unreadable(f"A stored value of type {kind!r} is damaged: {error}") from error

    def _pack(self, obj: Any) -> tuple[str, bytes]:
        if obj is None or isinstance(obj, bytes | bytearray):
            return super().dumps_typed(obj)
        return "msgpack", ormsgpack.packb(obj, default=_packed, option=_option)

    def _extension(self, code: int, data: bytes) -> Any:
        if code != MESSAGE:
            return self._unpack_ext_hook(code, data)
        number, fields = ormsgpack.unpackb(data, ext_hook=self._extension, option=READ)
        return _message(number, fields)

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
        if isinstance(value, _DeltaSnapshot):
            return _DeltaSnapshot(self._storable(value.value, within))
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
            self._pack(value)
        except Exception:
            return False
        return True


def _packed(value: Any) -> Any:
    number = NUMBERS.get(type(value))
    if number is None or value.__pydantic_extra__ or value.__pydantic_private__:
        return _msgpack_default(value)
    unset = UNSET[number]
    fields = {name: part for name, part in vars(value).items() if name not in unset or part != unset[name]}
    return ormsgpack.Ext(MESSAGE, ormsgpack.packb((number, fields), default=_packed, option=_option))


def _message(number: int, fields: dict[str, Any]) -> BaseMessage:
    """Built as pydantic builds it, without asking it: the fields were validated before they were stored."""
    cls = CLASSES[number]
    message = cls.__new__(cls)
    whole = {name: type(part)() if type(part) in (dict, list) else part for name, part in UNSET[number].items()}
    whole.update(fields)
    object.__setattr__(message, "__dict__", whole)
    object.__setattr__(message, "__pydantic_fields_set__", set(whole))
    object.__setattr__(message, "__pydantic_extra__", {})
    object.__setattr__(message, "__pydantic_private__", None)
    return message


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

    @property
    def sealing(self) -> bool:
        return self._vault.blobs

    def closed(self, kind: str, data: bytes) -> tuple[str, bytes]:
        if not self._vault.blobs:
            return kind, data
        context = CONTEXT.get() or {}
        if context:
            return kind + BOUND, sealed_blob(self._vault, data, About(*ABOUT, context))
        return kind + SEALED, self._vault.seal(data, About(*ABOUT, context))

    def opened(self, kind: str, data: bytes) -> tuple[str, bytes]:
        if kind.endswith(BOUND):
            return kind.removesuffix(BOUND), opened_blob(self._vault, data, *ABOUT)
        if kind.endswith(SEALED):
            return kind.removesuffix(SEALED), self._vault.open(data, About(*ABOUT, {}))
        return kind, data
