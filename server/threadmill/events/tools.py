"""What tools do while they run, told by LangChain's callbacks and LangGraph's stream writer; graphs need nothing more.

Not LangGraph's own handler for the `tools` mode: that one makes every chat model of the graph stream. The place where
`ToolRuntime.emit_output_delta` looks for its writer is theirs.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.constants import TAG_NOSTREAM
from langgraph.errors import GraphDrained, GraphInterrupt
from langgraph.pregel._messages import graph_namespace
from langgraph.pregel._tools import _tool_call_writer

from threadmill.events.event import Event
from threadmill.jsonable import dumps

Namespace = tuple[str, ...]
Say = Callable[[Namespace, dict[str, Any]], None]
TEXTS = ("text", "message", "status", "progress", "content")  # where a progress report may have its words
SILENCE_S = 1.0  # after that a tool is reported to be still at work, and again each time it has taken twice as long


@dataclass(slots=True, eq=False)
class Call:
    """One tool call that is under way."""

    namespace: Namespace
    id: str
    name: str
    began: float
    heard: float
    outer: "Call | None" = None  # one tool may call another
    asked: bool = True  # by a model, which gave it the id
    steps: dict[str, int] = field(default_factory=dict)  # calls of functions that are done once
    token: Token[Any] | None = None
    silence: float = SILENCE_S


_current: ContextVar[Call | None] = ContextVar("threadmill_tool_call", default=None)


def broken_off(events: Iterable[Event], now: int) -> list[tuple[str, bytes, Namespace]]:
    """The ends of the calls that had none when their server died: as (method, data, namespace). `events` are those of
    one attempt, `now` is in ms."""
    begun: dict[tuple[Namespace, str], int] = {}
    for event in events:
        if event.method == "tools":
            told = orjson.loads(event.data)
            call = event.namespace, told["tool_call_id"]
            if told["event"] == "tool-started":
                begun[call] = event.at
            elif told["event"] in ("tool-finished", "tool-error"):
                begun.pop(call, None)
    lost = {"event": "tool-error", "message": "The server died before the tool had ended.", "code": "crashed"}
    return [
        ("tools", dumps({**lost, "tool_call_id": call, "duration_ms": now - at}), namespace)
        for (namespace, call), at in begun.items()
    ]


def current() -> Call | None:
    """The tool call that the caller is part of."""
    return _current.get()


class ToolCalls(BaseCallbackHandler):
    """Says each call's start, progress, output, and its one end."""

    run_inline = True  # in order with everything else, and in the tool's own context
    ignore_llm = ignore_chain = ignore_retriever = ignore_chat_model = ignore_retry = ignore_custom_event = True

    def __init__(self, say: Say) -> None:
        self._say = say
        self._open: dict[UUID, Call] = {}
        self._loop = asyncio.get_running_loop()
        self._reminding = False

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not metadata or (tags and TAG_NOSTREAM in tags):
            return
        namespace = graph_namespace(metadata) if metadata.get("langgraph_checkpoint_ns") else ()
        now = time.monotonic()
        name = (serialized or {}).get("name") or kwargs.get("name") or ""
        call = Call(namespace, str(kwargs.get("tool_call_id") or run_id), name, now, now, _current.get())
        call.asked = bool(kwargs.get("tool_call_id"))
        call.token = _tool_call_writer.set(lambda delta: self._tell(call, "tool-output-delta", delta=delta))
        _current.set(call)
        self._open[run_id] = call
        if not self._reminding:
            self._reminding = True
            self._loop.call_soon_threadsafe(self._loop.call_later, SILENCE_S / 2, self._remind)
        known = {"tool_name": name} | ({} if inputs is None else {"input": inputs})
        self._tell(call, "tool-started", **known)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        if call := self._close(run_id):
            self._tell(call, "tool-finished", output=output, duration_ms=_since(call))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        # One that waits for a person, or that the server's stop put back, runs again and reports its end then.
        if (call := self._close(run_id)) and not isinstance(error, GraphInterrupt | GraphDrained):
            self._tell(call, "tool-error", message=str(error), duration_ms=_since(call))

    def progress(self, payload: Any) -> None:
        """Something was sent with the stream writer, perhaps by a tool."""
        call = _current.get()
        if call is not None and call in self._open.values():
            self._tell(call, "tool-progress", data=payload, **_named(payload))

    def _remind(self) -> None:
        """As long as tools are under way: those that have been silent for long are reported to be still at work."""
        now = time.monotonic()
        for call in list(self._open.values()):
            if now - call.heard >= call.silence:
                call.silence *= 2
                self._say(call.namespace, _event("tool-progress", call, still_working=True, duration_ms=_since(call)))
        self._reminding = bool(self._open)
        if self._reminding:
            self._loop.call_later(SILENCE_S / 2, self._remind)

    def stop(self, reason: str) -> None:
        """The run ends before them."""
        for run_id in list(self._open):
            if call := self._open.pop(run_id, None):
                self._tell(call, "tool-error", message=reason, code="stopped", duration_ms=_since(call))

    def _tell(self, call: Call, event: str, **data: Any) -> None:
        call.heard, call.silence = time.monotonic(), SILENCE_S
        self._say(call.namespace, _event(event, call, **data))

    def _close(self, run_id: UUID) -> Call | None:
        call = self._open.pop(run_id, None)
        if call is not None and call.token is not None:
            if _current.get() is call:
                _current.set(call.outer)
            try:
                _tool_call_writer.reset(call.token)
            except ValueError:  # its end came in another context, which ends with the task
                pass
        return call


def _event(event: str, call: Call, **data: Any) -> dict[str, Any]:
    return {"event": event, "tool_call_id": call.id, **data}


def _since(call: Call) -> int:
    return round((time.monotonic() - call.began) * 1000)


def _named(payload: Any) -> dict[str, Any]:
    """Words, phase and n of m, where a report has them under one of the usual names."""
    if isinstance(payload, str):
        return {"text": payload}
    if not isinstance(payload, dict):
        return {}
    found: dict[str, Any] = {}
    for name in TEXTS:
        if isinstance(payload.get(name), str):
            found["text"] = payload[name]
            break
    if isinstance(payload.get("phase"), str):
        found["phase"] = payload["phase"]
    for ours, theirs in (("current", ("current", "done", "n")), ("total", ("total", "of", "m"))):
        for name in theirs:
            value = payload.get(name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[ours] = value
                break
    return found
