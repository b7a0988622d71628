"""What was said in a thread, as JSON or Markdown; and a thread made of what was said elsewhere."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid5

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from threadmill import adoption, threads
from threadmill.adoption import MESSAGES
from threadmill.bundles.redaction import Redaction
from threadmill.errors import Conflict, Invalid
from threadmill.jsonable import plain
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import put_together
from threadmill_checkpoints.serde import Serializer

FORMAT, VERSION = "threadmill-transcript", 1
ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
NAMES = {"user": "User", "assistant": "Assistant", "system": "System", "tool": "Tool"}
CALL = ("id", "name", "args")


class Call(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str
    name: str
    args: dict[str, Any] = {}


class Said(BaseModel):
    """One message. `at` is a time in ISO 8601, `author` whoever it was by name."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["user", "assistant", "system", "tool"]
    content: str | list[Any]
    id: str | None = Field(None, min_length=1, max_length=200)
    name: str | None = None
    author: str | None = None
    at: datetime | None = None
    tool_calls: list[Call] = []
    tool_call_id: str | None = None
    status: Literal["success", "error"] | None = None


class Transcript(BaseModel):
    model_config = ConfigDict(extra="ignore")
    format: Literal["threadmill-transcript"]
    version: Literal[1] = 1
    thread_id: UUID | None = None
    title: str | None = Field(None, max_length=1000)
    graph_id: str | None = None
    metadata: dict[str, Any] = {}
    messages: list[Said]


# Out


def transcript(tx: Tx, serde: Serializer, scope: Scope, thread_id: str, redaction: Redaction) -> dict[str, Any]:
    """Raises NotFound."""
    thread = threads.get(tx, scope, thread_id, values=True)
    held: Any = json.loads(thread.values).get(MESSAGES) if thread.values and thread.values[:1] == b"{" else None
    if held is None:
        head = View(tx, thread_id).get("", None)
        held = plain(adoption.values_of(serde, tx, head)).get(MESSAGES) if head is not None else None
    listed = [_said(one) for one in held or () if isinstance(one, Mapping)]
    return {
        "format": FORMAT,
        "version": VERSION,
        "thread_id": thread_id,
        "title": redaction.text(thread.title) if redaction else thread.title,
        "graph_id": thread.metadata.get("graph_id"),
        "created_at": thread.created_at,
        "messages": redaction.value(listed) if redaction else listed,
    }


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(message.get("type") or message.get("role") or "")
    more = message.get("additional_kwargs") or {}
    found = {
        "id": message.get("id"),
        "role": ROLES.get(kind, kind),
        "name": message.get("name"),
        "author": more.get("author"),
        "at": more.get("at"),
        "content": message.get("content"),
        "tool_calls": [
            {key: one.get(key) for key in ("id", "name", "args")} for one in message.get("tool_calls") or ()
        ],
        "tool_call_id": message.get("tool_call_id"),
        "status": message.get("status") if kind == "tool" else None,
    }
    return {name: one for name, one in found.items() if one not in (None, [])}


def markdown(found: Mapping[str, Any]) -> str:
    parts = [f"# {' '.join(str(found['title'] or found['thread_id']).split())}"]
    for one in found["messages"]:
        who = one.get("author") or one.get("name") or NAMES.get(one["role"], one["role"])
        parts.append(f"## {who}" + (f" · {one['at']}" if one.get("at") else ""))
        if text := _text(one.get("content")):
            parts.append(text)
        for call in one.get("tool_calls", ()):
            asked = json.dumps(call["args"], ensure_ascii=False, indent=2)
            parts.append(f"Calls `{call['name']}`:\n\n{_fenced(asked, 'json')}")
    return "\n\n".join(parts) + "\n"


def _fenced(text: str, language: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    shown = [
        one if isinstance(one, str) else one["text"] if isinstance(one.get("text"), str) else f"[{one.get('type')}]"
        for one in blocks
        if isinstance(one, str | dict)
    ]
    return "\n\n".join(shown)


# In


def parsed(found: Any) -> Transcript:
    """Raises Invalid."""
    try:
        return Transcript.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise Invalid(f"This is no transcript: {place}: {first['msg']}") from None


def store(
    tx: Tx, serde: Serializer, scope: Scope, told: Transcript, thread_id: str, metadata: Mapping[str, Any]
) -> bool:
    """Bring the thread to what was said, and make it if it is not there. True when anything was new.

    What it has already, by the ids of the messages, stays as it is; a message without one gets one from its place.
    Raises Conflict when it has gone on otherwise: its messages are not a beginning of these.
    """
    wanted = [_message(one, UUID(thread_id), place) for place, one in enumerate(told.messages)]
    if len({one.id for one in wanted}) < len(wanted):
        raise Invalid("This is no transcript: two messages have the same id.")
    new = not threads.exists(tx, scope, thread_id)
    if new:
        threads.create(tx, thread_id, metadata=metadata)
    elif threads.get(tx, scope, thread_id).status == "busy":
        raise Conflict(f"Thread {thread_id} has in-flight runs: wait for them, or cancel them.")
    head = View(tx, thread_id).get("", None)
    before = put_together(serde, head, Reader(tx, serde)) if head is not None else None
    if before is not None and MESSAGES in before["channel_versions"] and MESSAGES not in before["channel_values"]:
        raise Conflict(
            f"Thread {thread_id} keeps its messages in a DeltaChannel: nothing can be added without its graph."
        )
    held = adoption.values_of(serde, tx, head).get(MESSAGES, []) if head is not None else []
    known = [getattr(one, "id", None) for one in held]
    if {one.id for one in wanted} <= set(known) and not new:
        return False
    if known != [one.id for one in wanted][: len(known)]:
        raise Conflict(f"Thread {thread_id} has gone on otherwise: its messages are not the beginning of these.")
    adoption.say(tx, serde, thread_id, before, [*held, *wanted[len(held) :]])
    adoption.adopt(tx, serde, thread_id, {})
    if new and told.title:
        threads.patch(tx, ALL, thread_id, metadata=None, title=told.title)
    return True


def _message(said: Said, thread_id: UUID, place: int) -> BaseMessage:
    more = {"author": said.author, "at": said.at.isoformat() if said.at else None}
    given: dict[str, Any] = {
        "content": said.content,
        "id": said.id or str(uuid5(thread_id, f"{place}:{said.role}:{json.dumps(said.content)}")),
        "name": said.name,
        "additional_kwargs": {name: one for name, one in more.items() if one is not None},
    }
    try:
        if said.role == "user":
            return HumanMessage(**given)
        if said.role == "system":
            return SystemMessage(**given)
        if said.role == "assistant":
            return AIMessage(**given, tool_calls=[one.model_dump() for one in said.tool_calls])
        if said.tool_call_id is None:
            raise Invalid("This is no transcript: an answer of a tool needs its tool_call_id.")
        return ToolMessage(**given, tool_call_id=said.tool_call_id, status=said.status or "success")
    except ValidationError as error:
        raise Invalid(f"This is no transcript: message {place}: {error.errors()[0]['msg']}") from None
