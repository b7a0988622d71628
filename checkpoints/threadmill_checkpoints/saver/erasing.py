"""Taking a message's words out of values, however they are stored: packed, or as JSON.

The message stays as a placeholder: its id, who said it, and which tools it called. So the places of a conversation keep
their order, and every tool call keeps its answer, as providers demand.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import ormsgpack

from threadmill_checkpoints.saver.parts import Extension
from threadmill_checkpoints.serde import MESSAGE, READ

FORGOTTEN = "[forgotten]"
KEPT = ("id", "type", "role", "tool_call_id", "status", "chunk_position")
SPEAKERS = frozenset({"human", "user", "ai", "assistant", "system", "tool"})
COPY = 6  # characters: what is shorter and merely equal is no copy of the message


@dataclass(slots=True)
class Erasure:
    """What to take out: messages by id, tool calls by id, and copies of what they said. `count` goes up with each."""

    ids: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    contents: list[Any] = field(default_factory=list)
    count: int = 0

    def add(self, message: Mapping[str, Any]) -> None:
        """A message in plain terms."""
        self.ids.add(str(message["id"]))
        content = message.get("content")
        if isinstance(content, str) and content:
            self.texts.add(content)
        elif isinstance(content, list) and content:
            self.contents.append(content)
            self.texts |= {one for part in content if (one := part.get("text") if isinstance(part, dict) else part)}
        for name in ("tool_calls", "invalid_tool_calls"):
            self.calls |= {call["id"] for call in message.get(name) or () if call.get("id")}

    def touches(self, data: bytes) -> bool:
        """Whether there may be anything of it; quick."""
        return any(needle in data for needle in self._needles())

    def _needles(self) -> list[bytes]:
        plain = [*self.ids, *self.calls, *self.texts]
        written = [orjson.dumps(one.encode("utf-8", "replace").decode())[1:-1] for one in self.texts]
        escaped = [json.dumps(one)[1:-1].encode() for one in self.texts]
        return [*(one.encode("utf-8", "replace") for one in plain), *written, *escaped]

    def packed(self, data: bytes) -> bytes:
        """Of msgpack."""
        read = ormsgpack.unpackb(data, ext_hook=Extension, option=READ)
        return ormsgpack.packb(self.value(read), default=lambda one: ormsgpack.Ext(one.code, one.data), option=READ)

    def json(self, data: bytes) -> bytes:
        before = self.count
        found = self.value(orjson.loads(data))
        return data if self.count == before else orjson.dumps(found)

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self._mapping(value)
        if isinstance(value, list):
            if len(value) == 2 and all(isinstance(one, str) for one in value):
                return self._pair(value)
            return [self.value(one) for one in value]
        if isinstance(value, Extension):
            return self._extension(value)
        if isinstance(value, str) and len(value) >= COPY and value in self.texts:
            return self._done(FORGOTTEN)
        return value

    def _pair(self, value: list[str]) -> list[Any]:
        """Who said it, and what; or any two texts."""
        if value[0] in SPEAKERS and value[1] in self.texts:
            return self._done([value[0], FORGOTTEN])  # type: ignore[no-any-return]
        return [self.value(one) for one in value]

    def _mapping(self, value: dict[Any, Any]) -> Any:
        id, content = value.get("id"), value.get("content")
        if "content" in value:
            said = (isinstance(content, str) and content in self.texts) or (content and content in self.contents)
            copied = said and not id and (value.get("role") or value.get("type"))
            if (isinstance(id, str) and id in self.ids) or copied:
                return self._done(placeholder(value))
        if "args" in value and isinstance(id, str) and id in self.calls:
            return self._done({**value, "args": "" if isinstance(value["args"], str) else {}})
        return {key: self.value(one) for key, one in value.items()}

    def _extension(self, value: Extension) -> Any:
        try:
            inner = ormsgpack.unpackb(value.data, ext_hook=Extension, option=READ)
        except Exception:  # not msgpack: an array
            return value
        before = self.count
        if value.code == MESSAGE and inner[1].get("id") in self.ids:
            inner = self._done([inner[0], placeholder(inner[1])])
        else:
            inner = self.value(inner)
        if self.count == before:
            return value
        repacked = ormsgpack.packb(inner, default=lambda one: ormsgpack.Ext(one.code, one.data), option=READ)
        return Extension(value.code, repacked)

    def _done(self, value: Any) -> Any:
        self.count += 1
        return value


def placeholder(message: Mapping[str, Any]) -> dict[str, Any]:
    """Of a message's fields."""
    kept = {name: message[name] for name in KEPT if name in message} | {"content": FORGOTTEN}
    for name, nothing in (("tool_calls", {}), ("invalid_tool_calls", "")):
        if calls := message.get(name):
            kept[name] = [
                {**{key: call[key] for key in ("name", "id", "type", "error") if key in call}, "args": nothing}
                for call in calls
            ]
    return kept
