"""What a bundle or transcript leaves out: all that was said, the results of tools, or what matches a pattern."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, FunctionMessage, ToolMessage
from langgraph.types import Interrupt

from threadmill.errors import Invalid
from threadmill.events.event import CHECKPOINT, END, METADATA, PAUSED, STOPPED

GONE = "[redacted]"
KINDS = ("messages", "tool-results")
PATTERN = "pattern:"
SPEAKERS = frozenset(("human", "ai", "system", "tool", "user", "assistant", "function", "developer", "AIMessageChunk"))
KEPT = frozenset(("id", "type", "role", "name", "tool_call_id", "status", "tool_calls"))  # of a message
SILENT = frozenset((METADATA, CHECKPOINT, END, PAUSED, STOPPED))  # events in which nothing is said
PIECES = frozenset(("messages", "events", "tools", "custom"))  # in which a text may come in pieces, that match nothing


@dataclass(frozen=True, slots=True)
class Redaction:
    """`names` as they were asked for."""

    names: tuple[str, ...] = ()
    patterns: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, names: Sequence[str]) -> "Redaction":
        """Raises Invalid."""
        patterns = []
        for name in names:
            if name.startswith(PATTERN) and len(name) <= 1000:
                try:
                    patterns.append(re.compile(name.removeprefix(PATTERN)))
                except re.error as error:
                    raise Invalid(f"redact: {name!r} is no regular expression: {error}.") from None
            elif name not in KINDS:
                raise Invalid(f"redact: {name!r} is not one of {', '.join(KINDS)} or {PATTERN}<regular expression>.")
        return cls(tuple(names), tuple(patterns))

    def __bool__(self) -> bool:
        return bool(self.names)

    @property
    def said(self) -> bool:
        return "messages" in self.names

    @property
    def results(self) -> bool:
        return self.said or "tool-results" in self.names

    def event(self, method: str) -> bool:
        """Whether events of this kind are kept."""
        if self.said:
            return method in SILENT
        return not (self.results and method == "tools") and not (self.patterns and method in PIECES)

    def text(self, text: str | None) -> str | None:
        """One that tells of messages."""
        return GONE if self.said and text else self.value(text)

    def value(self, value: Any) -> Any:
        """The same object, if nothing of it has to go."""
        if isinstance(value, str):
            for pattern in self.patterns:
                value = pattern.sub(GONE, value)
            return value
        if isinstance(value, BaseMessage):
            return self._message(value)
        if isinstance(value, Interrupt):
            inner = GONE if self.said else self.value(value.value)
            return value if inner is value.value else Interrupt(value=inner, id=value.id)
        if isinstance(value, Mapping) and type(value) is dict:
            if value.get("type", value.get("role")) in SPEAKERS and "content" in value:
                value = self._json_message(value)
            return self._same(value, {key: self._entry(key, one) for key, one in value.items()})
        if type(value) in (list, tuple):
            return self._same(value, type(value)(self.value(one) for one in value))
        return value

    def _entry(self, key: Any, value: Any) -> Any:
        if self.said and key == "messages" and isinstance(value, str):  # an input may be no more than the text
            return GONE
        return self.value(value)

    def _same(self, value: Any, made: Any) -> Any:
        before, after = (one.values() if isinstance(one, dict) else one for one in (value, made))
        return value if all(a is b for a, b in zip(before, after, strict=True)) else made

    def _json_message(self, message: Mapping[str, Any]) -> dict[str, Any]:
        tool = message.get("type", message.get("role")) in ("tool", "function")
        if not (self.said or (tool and self.results)):
            return dict(message) if type(message) is not dict else message
        kept = {key: one for key, one in message.items() if key in KEPT} | {"content": GONE}
        if isinstance(kept.get("tool_calls"), list):
            kept["tool_calls"] = [_call(one) for one in kept["tool_calls"] if isinstance(one, Mapping)]
        return kept

    def _message(self, message: BaseMessage) -> BaseMessage:
        if self.said or (self.results and isinstance(message, ToolMessage | FunctionMessage)):
            kept = {
                name: getattr(message, name)
                for name in ("id", "name", "tool_call_id", "status")
                if hasattr(message, name)
            }
            if calls := getattr(message, "tool_calls", None):
                kept["tool_calls"] = [_call(one) for one in calls]
            return type(message)(content=GONE, **kept)
        changed = {name: self.value(one) for name, one in vars(message).items()}
        if all(changed[name] is one for name, one in vars(message).items()):
            return message
        return message.model_copy(update=changed)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: call.get(key) for key in ("id", "name", "type") if key in call}, "args": {}}
