"""What of a stored part can be found.

Read as it lies in the database, no class of anybody's is made of it: what is a message shows by its fields.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import ormsgpack

from threadmill_checkpoints.serde import MESSAGE, READ

LONGEST = 100_000  # characters of one text
TYPES = ("human", "ai", "system", "tool")  # in the order of `serde.CLASSES`
ROLES = {"user": "human", "assistant": "ai", "developer": "system", "function": "tool"}


class Text(NamedTuple):
    kind: str
    role: str | None
    message_id: str | None
    text: str


def plain(data: bytes) -> Any:
    """Packed data in terms of dict, list, str, number, bool and None; objects are the mappings of their fields."""
    return ormsgpack.unpackb(data, ext_hook=_extension, option=READ)


def _extension(code: int, data: bytes) -> Any:
    try:
        found = ormsgpack.unpackb(data, ext_hook=_extension, option=READ)
    except Exception:  # an array, or what somebody else's version has written
        return None
    if code == MESSAGE:
        number, fields = found
        return {"type": TYPES[number], **fields}
    if isinstance(found, list) and len(found) > 2:  # LangGraph's: module, name, fields, …
        return found[2]
    return found


def texts(value: Any) -> Iterator[Text]:
    """Of a message, in plain terms; of anything else nothing."""
    if not isinstance(value, Mapping) or "content" not in value:
        return
    role = str(value.get("type") or value.get("role") or "").removesuffix("MessageChunk").lower()
    role = ROLES.get(role, role)
    if not role:
        return
    message_id = value.get("id") if isinstance(value.get("id"), str) else None
    kind = "tool_result" if role == "tool" else "message"
    if said := _said(value["content"]):
        yield Text(kind, role, message_id, said[:LONGEST])
    calls = value.get("tool_calls")
    if asked := "\n".join(_call(one) for one in calls if isinstance(one, Mapping)) if isinstance(calls, list) else "":
        yield Text("tool_args", role, message_id, asked[:LONGEST])


def messages(value: Any) -> Iterator[Text]:
    """Of all the messages in the lists of a state."""
    for channel in value.values() if isinstance(value, Mapping) else ():
        for one in channel if isinstance(channel, list) else ():
            yield from texts(one)


def messages_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """Those with an id, at any depth, in plain terms."""
    if isinstance(value, Mapping):
        if "content" in value and isinstance(value.get("id"), str):
            yield value
        else:
            yield from (found for one in value.values() for found in messages_in(one))
    elif isinstance(value, list):
        yield from (found for one in value for found in messages_in(one))


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    found = (one if isinstance(one, str) else one.get("text") for one in parts if isinstance(one, str | Mapping))
    return "\n".join(one for one in found if isinstance(one, str))


def _call(call: Mapping[str, Any]) -> str:
    return f"{call.get('name')} {json.dumps(call.get('args'), ensure_ascii=False, default=str)}"
