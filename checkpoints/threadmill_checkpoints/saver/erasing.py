"""Taking a message's words out of values, however they are stored: packed, or as JSON.

The message stays as a placeholder: its id, who said it, and which tools it called. So the places of a conversation keep
their order, and every tool call keeps its answer, as providers demand.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import orjson
import ormsgpack

from threadmill_checkpoints.saver.parts import Extension
from threadmill_checkpoints.serde import MESSAGE, READ

FORGOTTEN = "[forgotten]"
KEPT = ("id", "type", "role", "tool_call_id", "status", "chunk_position")
SPEAKERS = frozenset({"human", "user", "ai", "assistant", "system", "tool"})
COPY = 6  # characters: what is shorter and merely equal is no copy of the message
TELLING = frozenset({"error", "__error__", "interrupts", "__interrupt__"})  # keys and channels of what may quote it
ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
ESCAPING = [str.maketrans(ESCAPES | more) for more in ({}, {"'": r"\'"}, {'"': r"\""})]


@dataclass
class Erasure:
    """What to take out: messages by id, tool calls by id, and copies of what they said. `count` goes up with each.

    What people and models say is only taken out whole: what quotes a message among other words is another message.
    Errors and questions are nobody's own words, and lose what they quote, as does whatever is given with `quotes`.
    """

    ids: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    contents: list[Any] = field(default_factory=list)
    count: int = 0
    _args: set[str] = field(default_factory=set)  # of the calls, texts

    def add(self, message: Mapping[str, Any]) -> None:
        """A message in plain terms. All of them come before the first question."""
        self.ids.add(str(message["id"]))
        content = message.get("content")
        if isinstance(content, str) and content:
            self.texts.add(content)
        elif isinstance(content, list) and content:
            self.contents.append(content)
            self.texts |= {one for part in content if (one := part.get("text") if isinstance(part, dict) else part)}
        for name in ("tool_calls", "invalid_tool_calls"):
            for call in message.get(name) or ():
                self.calls |= {call["id"]} if call.get("id") else set()
                self._args |= set(_texts(call.get("args")))

    @cached_property
    def said(self) -> list[str]:
        """What the messages said, in each way to quote it, the longest first."""
        return _quotes(self.texts)

    @cached_property
    def quotes(self) -> list[str]:
        """That, and what tools were called with."""
        return _quotes(self.texts | self._args)

    @cached_property
    def _needles(self) -> list[bytes]:
        wanted = {*self.ids, *self.calls, *self.texts, *self.quotes}
        return [needle for one in wanted for needle in _written(one)]

    def touches(self, data: bytes) -> bool:
        """Whether there may be anything of it; quick."""
        return any(needle in data for needle in self._needles)

    def packed(self, data: bytes, quotes: Sequence[str] = ()) -> bytes:
        """Of msgpack."""
        read = ormsgpack.unpackb(data, ext_hook=Extension, option=READ)
        made = self.value(read, quotes)
        return ormsgpack.packb(made, default=lambda one: ormsgpack.Ext(one.code, one.data), option=READ)

    def json(self, data: bytes, quotes: Sequence[str] = ()) -> bytes:
        before = self.count
        found = self.value(orjson.loads(data), quotes)
        return data if self.count == before else orjson.dumps(found)

    def value(self, value: Any, quotes: Sequence[str] = ()) -> Any:
        if isinstance(value, dict):
            return self._mapping(value, quotes)
        if isinstance(value, list):
            if len(value) == 2 and all(isinstance(one, str) for one in value):
                return self._pair(value, quotes)
            return [self.value(one, quotes) for one in value]
        if isinstance(value, Extension):
            return self._extension(value, quotes)
        return self._text(value, quotes) if isinstance(value, str) else value

    def _text(self, value: str, quotes: Sequence[str]) -> str:
        if len(value) >= COPY and value in self.texts:
            return self._done(FORGOTTEN)  # type: ignore[no-any-return]
        found = value
        for quote in quotes:
            found = found.replace(quote, FORGOTTEN)
        return value if found == value else self._done(found)

    def _pair(self, value: list[str], quotes: Sequence[str]) -> list[Any]:
        """Who said it, and what; or any two texts."""
        if value[0] in SPEAKERS and value[1] in self.texts:
            return self._done([value[0], FORGOTTEN])  # type: ignore[no-any-return]
        return [self._text(one, quotes) for one in value]

    def _mapping(self, value: dict[Any, Any], quotes: Sequence[str]) -> Any:
        id, content = value.get("id"), value.get("content")
        if "content" in value:
            said = (isinstance(content, str) and content in self.texts) or (content and content in self.contents)
            copied = said and not id and (value.get("role") or value.get("type"))
            if (isinstance(id, str) and id in self.ids) or copied:
                return self._done(placeholder(value))
        if "args" in value and isinstance(id, str) and id in self.calls:
            return self._done({**value, "args": "" if isinstance(value["args"], str) else {}})
        return {key: self.value(one, self.quotes if key in TELLING else quotes) for key, one in value.items()}

    def _extension(self, value: Extension, quotes: Sequence[str]) -> Any:
        try:
            inner = ormsgpack.unpackb(value.data, ext_hook=Extension, option=READ)
        except Exception:  # not msgpack: an array
            return value
        before = self.count
        if value.code == MESSAGE and inner[1].get("id") in self.ids:
            inner = self._done([inner[0], placeholder(inner[1])])
        else:
            inner = self.value(inner, quotes)
        if self.count == before:
            return value
        repacked = ormsgpack.packb(inner, default=lambda one: ormsgpack.Ext(one.code, one.data), option=READ)
        return Extension(value.code, repacked)

    def _done(self, value: Any) -> Any:
        self.count += 1
        return value


def _texts(value: Any) -> Iterator[str]:
    """All that stand in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _quotes(texts: Iterable[str]) -> list[str]:
    """As they are, on one line, and as `repr` and JSON write them, also one inside the other."""
    found = {one for text in texts for one in (text, " ".join(text.split()))}
    for _ in range(2):
        found |= {one.translate(escaping) for one in found for escaping in ESCAPING}
    found |= {_json(one) for one in found}
    return sorted((one for one in found if len(one) >= COPY), key=len, reverse=True)


def _written(text: str) -> set[bytes]:
    """As it may stand in msgpack or JSON; no JSON holds half of a surrogate pair."""
    whole = text.encode("utf-8", "replace")
    return {whole, orjson.dumps(whole.decode())[1:-1], _json(text).encode()}


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


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
