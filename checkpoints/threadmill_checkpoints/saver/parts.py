"""Values in parts: the messages of a list, the entries of a mapping, and what is large inside them.

A part is stored once, however many states it stands in (`blobs.py`). Here a value becomes its parts, and parts become
the value again; nothing here knows the database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

import ormsgpack
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from threadmill_checkpoints.search.texts import plain, texts
from threadmill_checkpoints.serde import READ, Serializer

INLINE = 256  # bytes: what is smaller stands in the checkpoint itself
LARGE = 4096  # bytes of one text or binary inside a part: from here on it is a part of its own
OUTSIDE = 65  # the msgpack extension for such a text or binary: its place among the part's own parts
OUTSIDE_MARK = bytes([0xD6, OUTSIDE])  # how it begins

RUN = 16  # items of a list that are a part together, if each is SMALL bytes or less
SMALL = 32

# How a channel's value is put together: from one part, the items of a list, runs of its items, or the pairs of a
# mapping; "s…": the snapshot of a DeltaChannel.
Kind = Literal["one", "list", "runs", "map", "slist", "sruns", "smap"]


@dataclass(slots=True, eq=False)
class Part:
    """`key` says what it is, content and all; it is empty if only the blob is known, which was read. `message_id` if it
    is a message. `at`: the blob, and who knows that."""

    key: bytes
    kind: str
    data: bytes = b""
    inside: tuple["Part", ...] = ()
    message_id: str | None = None
    at: tuple[object, int] | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = len(self.data) + (sum([one.size for one in self.inside]) if self.inside else 0)

    @property
    def digest(self) -> bytes:
        return blake2b(self.kind.encode() + b":" + self.key, digest_size=16).digest()


def split(
    serde: SerializerProtocol, value: Any, items: Callable[[list[Any]], list[Part]] | None = None
) -> tuple[Kind, list[Part]] | None:
    """None if the value is small, or of a kind that only its serializer understands. `items` makes parts of a list."""
    if not isinstance(serde, Serializer) or value is None or type(value) in (bool, int, float):
        return None
    prefix, inner = ("s", value.value) if isinstance(value, _DeltaSnapshot) else ("", value)
    kind, found = "one", None
    if type(inner) is list and inner:
        kind, found = "list", items(inner) if items else [part(serde, item) for item in inner]
        if sum([one.size for one in found]) <= SMALL * len(found) and not any(one.message_id for one in found):
            kind, found = "runs", [part(serde, inner[at : at + RUN]) for at in range(0, len(inner), RUN)]
    elif type(inner) is dict and inner:
        kind, found = "map", [part(serde, pair) for pair in inner.items()]
    if found is None:
        prefix, found = "", [part(serde, value)]
    worth_it = sum([one.size for one in found]) >= INLINE or any(one.message_id for one in found)
    return (f"{prefix}{kind}", found) if worth_it else None  # type: ignore[return-value]


def join(kind: Kind, values: Sequence[Any]) -> Any:
    if kind == "one":
        return values[0]
    if kind.endswith("map"):
        whole: Any = dict(values)
    else:
        whole = list(values) if kind.endswith("list") else [item for run in values for item in run]
    return _DeltaSnapshot(whole) if kind.startswith("s") else whole


def part(serde: Serializer, value: Any) -> Part:
    return repacked(*serde.pack(value), getattr(value, "id", None) if isinstance(value, BaseMessage) else None)


def packed(serde: SerializerProtocol, value: Any) -> Part:
    """A value that is stored where it stands, but for what is large inside it."""
    if isinstance(serde, Serializer):
        return part(serde, value)
    kind, data = serde.dumps_typed(value)
    return Part(data, kind, data)


def repacked(kind: str, data: bytes, message_id: str | None = None) -> Part:
    """Of packed data, as `part` makes it of a value."""
    return _with_parts(kind, data, message_id) if len(data) >= LARGE else Part(data, kind, data, (), message_id)


def _with_parts(kind: str, data: bytes, message_id: str | None) -> Part:
    inside: list[Part] = []
    if kind == "msgpack":
        try:
            data = _outsourced(data, inside)
        except Exception:  # bytes that this packer cannot read back stay whole
            inside = []
    key = data + b"".join(one.digest for one in inside)
    return Part(key, kind, data, tuple(inside), message_id)


class Extension:
    """One of msgpack's, unread."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code, self.data = code, data


def listed(data: bytes) -> Part:
    """Of messages in a list, or of one: each is a part. Anything else stays where it is."""
    inside: list[Part] = []

    def out(item: Any) -> Any:
        packed = _repacked(item)
        message = plain(packed)
        if not any(texts(message)):
            return item
        inside.append(repacked("msgpack", packed, message.get("id") if isinstance(item, Extension) else None))
        return Extension(OUTSIDE, (len(inside) - 1).to_bytes(4, "big"))

    read = ormsgpack.unpackb(data, ext_hook=Extension, option=READ)
    made = _repacked([out(one) for one in read] if isinstance(read, list) else out(read))
    return Part(made, "msgpack", made, tuple(inside))


def opened(kind: str, data: bytes) -> Any:
    """A part as it stands inside another."""
    if kind == "text":
        return data.decode()
    return ormsgpack.unpackb(data, ext_hook=Extension, option=READ) if kind == "msgpack" else data


def _outsourced(data: bytes, inside: list[Part]) -> bytes:
    def walk(value: Any) -> Any:
        if isinstance(value, str | bytes) and len(value) >= LARGE:
            kind, content = ("text", value.encode()) if isinstance(value, str) else ("bytes", value)
            inside.append(Part(content, kind, content))
            return Extension(OUTSIDE, (len(inside) - 1).to_bytes(4, "big"))
        if isinstance(value, Extension) and len(value.data) >= LARGE:
            return Extension(value.code, _outsourced(value.data, inside))
        return _each(value, walk)

    return _walked(data, walk)


def filled(data: bytes, inside: Sequence[Any]) -> bytes:
    """The data of a part as its serializer packed it; `inside` are `opened`."""

    def walk(value: Any) -> Any:
        if isinstance(value, Extension):
            if value.code == OUTSIDE:
                return inside[int.from_bytes(value.data, "big")]
            return Extension(value.code, filled(value.data, inside)) if OUTSIDE_MARK in value.data else value
        return _each(value, walk)

    return _walked(data, walk)


def _each(value: Any, walk: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        return [walk(item) for item in value]
    if isinstance(value, dict):
        return {key: walk(item) for key, item in value.items()}
    return value


def _walked(data: bytes, walk: Callable[[Any], Any]) -> bytes:
    return _repacked(walk(ormsgpack.unpackb(data, ext_hook=Extension, option=READ)))


def _repacked(read: Any) -> bytes:
    return ormsgpack.packb(read, default=lambda one: ormsgpack.Ext(one.code, one.data), option=READ)
