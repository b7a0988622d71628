"""What the event protocol (v2) makes of the log.

`Projection` turns each event of the log into envelopes, the same ones for every reader and at every replay: what an
envelope is called and numbered depends on the log alone, and filters come after it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from threadmill.events.event import END, ERROR, INPUT, METADATA, PAUSED, POSTED, ROOM, STOPPED, Event
from threadmill.jsonable import dumps
from threadmill.streaming.blocks import Message, compact

ENDINGS = {"success": "completed", "error": "failed", "timeout": "failed"}  # all others: stopped
ENDS = frozenset({*ENDINGS.values(), "interrupted"})
Namespace = tuple[str, ...]
Told = tuple[str, Namespace, bytes, str | None]  # method, namespace, data, event id unless it is the number


class Envelope(NamedTuple):
    """`data` is JSON. `seq` grows over the thread; several envelopes of one logged event lie between its number and
    the next one's."""

    seq: int
    method: str
    namespace: Namespace
    data: bytes
    at: int
    event_id: str

    def json(self) -> bytes:
        return (
            b'{"type":"event","event_id":"%s","seq":%d,"method":"%s","params":{"namespace":%s,"timestamp":%d,"data":%s}}'
            % (
                self.event_id.encode(),
                self.seq,
                self.method.encode(),
                orjson.dumps(self.namespace),
                self.at,
                self.data,
            )
        )


@dataclass(slots=True)
class Projection:
    """One run's events, in order, as envelopes. Begin it at the run's first event."""

    run_id: str
    graph_id: str
    _messages: dict[tuple[Namespace, str], Message] = field(default_factory=dict)  # begun and not finished
    _told: set[str] = field(default_factory=set)  # ids of finished messages
    _open: dict[Namespace, None] = field(default_factory=dict)  # subgraphs that have begun
    _error: str | None = None
    _attempt: int = 1
    _over: bool = False

    def __call__(self, event: Event) -> list[Envelope]:
        made: list[Envelope] = []
        for method, namespace, data, name in self._translate(event):
            # More than there is room for share the last number. It is that of the run's end, whatever comes before it:
            # of a run that was undone nothing else is told again.
            seq = event.seq + (ROOM - 1 if self._over else min(len(made), ROOM - 1))
            made.append(Envelope(seq, method, namespace, data, event.at, name or f"{seq}-{len(made)}"))
        return made

    def tree(self, status: str) -> dict[str, Any]:
        """The run and its open subgraphs, each with those below it."""

        def node(namespace: Namespace, name: str) -> dict[str, Any]:
            below = [one for one in self._open if one[:-1] == namespace]
            children = [node(one, one[-1].partition(":")[0]) for one in below]
            shown = {"namespace": list(namespace), "status": status, "graph_name": name}
            return shown | ({"children": children} if children else {})

        return node((), self.graph_id)

    def _translate(self, event: Event) -> Iterator[Told]:
        namespace = event.namespace
        if event.method == METADATA:
            yield from self._begin(event)
            return
        for depth in range(1, len(namespace) + 1):
            yield from self._enter(namespace[:depth])
        if event.method == "messages":
            yield from self._message(event)
        elif event.method in ("values", "updates"):
            state = orjson.loads(event.data)
            if isinstance(state, dict):
                state.pop("__interrupt__", None)  # questions have events of their own
            yield event.method, namespace, dumps(compact(state)), None
            if event.method == "updates":
                yield from self._left(namespace, state)
        elif event.method == "tools":
            yield "tools", namespace, event.data, None
            yield from self._result(namespace, orjson.loads(event.data))
        elif event.method == "tasks":
            task = orjson.loads(event.data)
            yield "tasks", namespace, dumps(compact(task)), None
            if "result" in task:
                yield from self._done(namespace, task)
        elif event.method == INPUT:
            asked = orjson.loads(event.data)
            name = f"synth:{self.run_id}:input|{'|'.join(namespace)}|{asked['interrupt_id']}"
            yield "input.requested", namespace, event.data, name
        elif event.method in ("custom", "checkpoint"):
            yield "custom" if event.method == "custom" else "checkpoints", namespace, event.data, None
        elif event.method == POSTED:
            said = orjson.loads(event.data)["message"]
            speaking = Message(str(said["id"]))
            whole = {"type": said.get("role") or said.get("type"), "content": said["content"]}
            for data in [*speaking.feed(whole), *speaking.finish()]:
                yield "messages", namespace, dumps(data), None
        elif event.method == STOPPED:
            yield from self._break_off("stopped", orjson.loads(event.data)["reason"])
        elif event.method == PAUSED:
            yield self._lifecycle((), "paused", {"graph_name": self.graph_id})
        elif event.method == ERROR:
            error = orjson.loads(event.data)
            self._error = f"{error['error']}: {error['message']}"
        elif event.method == END:
            yield from self._end(orjson.loads(event.data))

    # A run and its subgraphs

    def _begin(self, event: Event) -> Iterator[Told]:
        self._attempt = orjson.loads(event.data).get("attempt", 1)
        yield from self._break_off("superseded", "The run began again; this attempt's text is not part of the answer.")
        self._open.clear()
        self._error = None
        more = {"attempt": self._attempt} if self._attempt > 1 else {}
        yield self._lifecycle((), "running", {"graph_name": self.graph_id, **more})

    def _enter(self, namespace: Namespace) -> Iterator[Told]:
        if namespace not in self._open and not namespace[-1].startswith("tools:"):
            self._open[namespace] = None
            name, _, task = namespace[-1].partition(":")
            path = {"namespace": list(namespace)}
            yield self._lifecycle(namespace, "started", {**path, "graph_name": name, "trigger_call_id": task})

    def _left(self, above: Namespace, update: Any) -> Iterator[Told]:
        """A node's update ends the subgraph that the node was, unless its task has told so already."""
        for name in update if isinstance(update, dict) else ():
            for namespace in [one for one in self._open if one[:-1] == above and one[-1].partition(":")[0] == name]:
                yield from self._close(namespace, "completed")

    def _done(self, above: Namespace, task: dict[str, Any]) -> Iterator[Told]:
        namespace = (*above, f"{task['name']}:{task['id']}")
        if namespace in self._open:
            error = task.get("error")
            stopped = isinstance(error, dict) and error.get("error") == "CancelledError"
            waits = task.get("interrupts") or stopped
            state = "interrupted" if waits else "failed" if error else "completed"
            yield from self._close(namespace, state)

    def _close(self, namespace: Namespace, state: str) -> Iterator[Told]:
        inner = [one for one in self._open if one[: len(namespace)] == namespace]
        for one in sorted(inner, key=len, reverse=True):
            del self._open[one]
            yield self._lifecycle(one, state, {"graph_name": one[-1].partition(":")[0]})

    def _end(self, end: dict[str, Any]) -> Iterator[Told]:
        self.graph_id, self._attempt = end.get("graph_id", self.graph_id), end.get("attempt", self._attempt)
        state = "interrupted" if end.get("paused") else ENDINGS.get(end["status"], "interrupted")
        yield from self._break_off(
            "failed" if state == "failed" or self._error else "stopped",
            self._error or ("The run was stopped." if state == "interrupted" else f"The run {state}."),
        )
        for namespace in [one for one in self._open if len(one) == 1]:
            yield from self._close(namespace, state)
        wrong = self._error or ("The run failed." if state == "failed" else None)
        more: dict[str, Any] = {"error": wrong} if wrong else {}
        more |= {"interrupts": end["interrupts"]} if end.get("interrupts") else {}
        more |= {"undone": True} if end["status"] == "rollback" else {}
        more |= {} if end.get("began", True) else {"began": False}
        if state == "interrupted" and not end.get("paused") and not self._error:
            # Nobody is waited for: LangGraph's Python SDK goes on reading after any other word for it.
            state, more = "completed", {**more, "stopped": True}
        self._over = True
        yield self._lifecycle((), state, {"graph_name": self.graph_id, **more})

    def _lifecycle(self, namespace: Namespace, state: str, data: dict[str, Any]) -> Told:
        again = f":{self._attempt}" if self._attempt > 1 else ""
        name = f"synth:{self.run_id}:lc|{'|'.join(namespace)}|{state}{again}"
        return "lifecycle", namespace, dumps({"event": state, **data}), name

    # Messages

    def _message(self, event: Event) -> Iterator[Told]:
        message, _ = orjson.loads(event.data)
        if message["type"] not in ("ai", "AIMessageChunk"):  # a tool's result is told by its call, others by the state
            return
        key = (event.namespace, str(message["id"]))
        whole = message["type"] != "AIMessageChunk"
        silent = whole and not message["content"] and key not in self._messages  # its calls are told by the state
        if silent or key[1] in self._told:
            return
        speaking = self._messages.setdefault(key, Message(key[1]))
        for data in speaking.feed(message):
            yield "messages", event.namespace, dumps(data), None
        if whole or message.get("chunk_position") == "last":
            del self._messages[key]
            self._told.add(key[1])
            for data in speaking.finish():
                yield "messages", event.namespace, dumps(data), None

    def _result(self, above: Namespace, tool: dict[str, Any]) -> Iterator[Told]:
        """What a tool answers is a message too, in a namespace of its own."""
        output = tool.get("output")
        if tool["event"] != "tool-finished" or not isinstance(output, dict) or output.get("type") != "tool":
            return
        call = tool["tool_call_id"]
        speaking = Message(str(output.get("id") or f"tool-{call}"))
        for data in [*speaking.feed({**output, "tool_call_id": call}), *speaking.finish()]:
            if "delta" in data:  # of a tool's result, clients read the block itself
                data = {**data, "content": {"type": "text", "text": data["delta"].get("text", "")}}
                del data["delta"]
            yield "messages", (*above, f"tools:{call}"), dumps(data), None

    def _break_off(self, code: str, reason: str) -> Iterator[Told]:
        for (namespace, _), message in self._messages.items():
            yield "messages", namespace, dumps(message.fail(code, reason)), None
        self._messages.clear()
