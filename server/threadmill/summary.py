"""What a list shows of a conversation, made from its messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, ToolMessage

TITLE, PREVIEW = 80, 160  # characters


@dataclass(frozen=True, slots=True)
class Summary:
    title: str | None
    preview: str | None
    message_count: int
    open_calls: bool = False  # a tool call has no answer


def summarise(messages: Any) -> Summary:
    """Title from the first thing a human said, preview from the last thing said. Takes message objects or JSON."""
    listed = messages if isinstance(messages, list) else [messages] if messages else []
    said = [(kind, text) for kind, text in map(_said, listed) if text]
    title = next((text for kind, text in said if kind in ("human", "user")), None)
    preview = said[-1][1] if said else None
    shown = (title and shorten(title, TITLE), preview and shorten(preview, PREVIEW))
    return Summary(*shown, len(listed), _open_calls(listed))


def of_state(values: Any) -> Summary | None:
    return summarise(values.get("messages")) if isinstance(values, dict) else None


def _open_calls(messages: Sequence[Any]) -> bool:
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    return any(
        call.get("id") and call["id"] not in answered
        for message in messages
        if isinstance(message, AIMessage)
        for call in (*message.tool_calls, *message.invalid_tool_calls)
    )


def shorten(text: str, width: int) -> str:
    line = " ".join(text[: width * 4].split()).encode("utf-8", "replace").decode()  # no database takes half a pair
    return line if len(line) <= width else line[: width - 1] + "…"


def _said(message: Any) -> tuple[str, str]:
    """(who, text)"""
    try:
        return _read(message)
    except Exception:  # of the user's classes, whatever they raise: a list must not fail a run
        return "", ""


def _read(message: Any) -> tuple[str, str]:
    if isinstance(message, str):
        return "human", message
    if isinstance(message, list | tuple) and len(message) == 2:
        return str(message[0]), _text(message[1])
    if isinstance(message, Mapping):
        return str(message.get("role") or message.get("type") or ""), _text(message.get("content"))
    return str(getattr(message, "type", "")), _text(getattr(message, "content", None))


def _text(content: Any) -> str:
    """The readable part of a message's content: a string, or the text blocks of a list."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        part if isinstance(part, str) else str(part.get("text", ""))
        for part in parts
        if isinstance(part, str | Mapping)
    ).strip()
