"""Closing a turn that was broken off: what was said stays, and no tool call is left without an answer.

A model refuses a history in which a tool call has no answer right behind it, so one stop or crash would end the
conversation for good. Works on LangChain messages and on what the log holds; knows neither graphs nor storage.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    message_chunk_to_message,
)

from threadmill.events.event import Event

STOPPED = "This tool call was stopped before it had a result."
LOST = "This tool call has no result: it was broken off."
TASKS = Callable[[str], bool]


@dataclass(slots=True)
class Told:
    """What one attempt of a run said, as its readers saw it: messages in their order, and results by tool call."""

    said: list[AnyMessage] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)


def told(events: Iterable[Event], known: Iterable[str | None], counts: TASKS) -> Told:
    """From the events of one attempt. `known` are ids of messages that are in the state; `counts` says of a task of
    the root graph whether what it said is wanted: the state has what a finished one made of it."""
    there, found = set(known), Told()
    pieces: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        if event.method == "tools":
            tool = orjson.loads(event.data)
            if tool["event"] == "tool-finished":
                found.results[tool["tool_call_id"]] = tool.get("output")
        elif event.method == "messages":
            message, metadata = orjson.loads(event.data)
            for call in message.get("tool_calls") or ():  # asked anew under an old id
                found.results.pop(call["id"], None)
            if message["type"] == "tool":
                found.results.setdefault(message["tool_call_id"], message)
            elif message["id"] not in there and counts(_root_task(metadata)):
                pieces.setdefault(message["id"], []).append(message)
    found.said = [message for one in pieces.values() if (message := _said(one)) is not None]
    return found


def complete(messages: Sequence[BaseMessage], results: Mapping[str, Any], reason: str) -> list[AnyMessage]:
    """The same messages with an answer to each tool call right behind it: one that is there, though elsewhere; its
    result; or the `reason` why there is none."""
    answers = defaultdict[str, list[int]](list)
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            answers[message.tool_call_id].append(place)
    whole, moved = list[Any](), set[int]()
    place = 0
    while place < len(messages):
        message = messages[place]
        if place not in moved:
            whole.append(message)
        place += 1
        calls = {call["id"]: call for call in _calls(message)}
        if not calls:
            continue
        while place < len(messages) and isinstance(answer := messages[place], ToolMessage):
            if place not in moved:
                whole.append(answer)
            calls.pop(answer.tool_call_id, None)
            place += 1
        for call_id, call in calls.items():
            later = next((one for one in answers[call_id] if one >= place and one not in moved), None)
            if later is None:
                whole.append(_answer(call, results.get(call_id), reason))
            else:
                moved.add(later)
                whole.append(messages[later])
    return whole


def _root_task(metadata: Mapping[str, Any]) -> str:
    return str(metadata.get("langgraph_checkpoint_ns") or "").partition("|")[0].rpartition(":")[2]


def _calls(message: BaseMessage) -> list[dict[str, Any]]:
    """Also those that could not be read: a model gets them back, and wants an answer."""
    if not isinstance(message, AIMessage):
        return []
    return [dict(call) for call in (*message.tool_calls, *message.invalid_tool_calls) if call.get("id")]


def _answer(call: dict[str, Any], result: Any, reason: str) -> ToolMessage:
    if isinstance(result, ToolMessage):
        return result
    named: dict[str, Any] = {"tool_call_id": call["id"], "name": call.get("name")}
    if result is None:
        known = {"response_metadata": {"finish_reason": "stopped"}} if reason == STOPPED else {}
        return ToolMessage(reason, status="error", **known, **named)
    if isinstance(result, dict) and result.get("type") == "tool":
        status = "error" if result.get("status") == "error" else "success"
        more = {name: result[name] for name in ("id", "artifact") if result.get(name) is not None}
        return ToolMessage(result["content"], status=status, **more, **named)
    return ToolMessage(result if isinstance(result, str) else orjson.dumps(result).decode(), **named)


def _said(pieces: list[dict[str, Any]]) -> AnyMessage | None:
    """As much of a message as came; None when that is nothing to be kept. Tool calls of an unfinished one were never
    made, so they are left out."""
    first, last = pieces[0], pieces[-1]
    if first["type"] == "human":
        return HumanMessage(first["content"], id=first["id"])
    if first["type"] not in ("AIMessageChunk", "ai"):
        return None
    if last["type"] == "ai":
        return AIMessage(**_given(last))
    whole = AIMessageChunk(**_given(first))
    whole += [AIMessageChunk(**_given(one)) for one in pieces[1:]]
    if last.get("chunk_position") == "last":
        return message_chunk_to_message(whole)  # type: ignore[return-value]
    content: Any = whole.content
    if isinstance(content, list):
        content = [block for block in content if isinstance(block, str) or _whole(block)]
    return AIMessage(content, id=first["id"], response_metadata={"finish_reason": "stopped"}) if content else None


def _given(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value is not None}


def _whole(block: dict[str, Any]) -> bool:
    """Whether a model takes it back: not a call that was never made, nor thoughts without their signature."""
    kind = str(block.get("type"))
    if "think" in kind or "reason" in kind:
        return bool(block.get("signature"))
    return not ("tool" in kind or "function" in kind)
