"""How long it took until a run's messages began and were complete, and how long its tools took."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from threadmill.events.event import Event
from threadmill.ids import number

AI = ("ai", "AIMessageChunk")
SAYS = ("content", "tool_calls", "tool_call_chunks")


def timings(events: Iterable[Event]) -> dict[str, Any]:
    """Of all events of one run: when it `began` and `ended`, in ms since 1970; for each message of the model the ms
    from the beginning to its first token and to its last; the ms of each tool call."""
    began = ended = 0
    messages: dict[str, tuple[int, int]] = {}
    tools: dict[str, int] = {}
    for event in events:
        began, ended = began or event.at, event.at
        if event.method == "messages":
            said, took = orjson.loads(event.data)[0], event.at - began
            if said["type"] in AI and (said["id"] in messages or any(said.get(name) for name in SAYS)):
                messages[said["id"]] = (messages.get(said["id"], (took,))[0], took)
        elif event.method == "tools":
            told = orjson.loads(event.data)
            if told["event"] in ("tool-finished", "tool-error"):
                tools[told["tool_call_id"]] = told["duration_ms"]
    return {"began": began, "ended": ended, "messages": messages, "tools": tools}


def carried(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Those that a file holds. Raises ValueError or what else shows that they are none."""
    began, ended = number(stored["began"]), number(stored["ended"])
    messages = {str(one): (number(first), number(last)) for one, (first, last) in stored["messages"].items()}
    tools = {str(one): number(took) for one, took in stored["tools"].items()}
    return {"began": began, "ended": ended, "messages": messages, "tools": tools}
