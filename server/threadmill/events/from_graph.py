"""From what LangGraph emits while it runs to events of the log.

LangGraph lends a parent graph's stream to its subgraphs: every chunk goes to it at the moment it is made. We take that
place (`Tap.config`), so each token reaches the log from the model's own callback, in order with everything else,
instead of waiting for its turn in the loop of `astream`. docs/decisions/0003 has the figures.
"""

from collections.abc import Callable, Sequence
from typing import Any

from langgraph._internal._constants import CONFIG_KEY_RUNTIME, CONFIG_KEY_STREAM, INTERRUPT, NS_SEP
from langgraph.config import get_config
from langgraph.pregel._messages import StreamMessagesHandler, graph_namespace
from langgraph.pregel.protocol import StreamProtocol
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Interrupt

from threadmill.events.event import CHECKPOINT, INPUT, STOPPED
from threadmill.events.questions import COPIED, Questions
from threadmill.events.shown import Shown
from threadmill.events.tools import ToolCalls
from threadmill.jsonable import dumps
from threadmill_checkpoints.saver.named import give_ids

Namespace = tuple[str, ...]
MODES = (
    "values",
    "updates",
    "messages",
    "messages-tuple",
    "custom",
    "tasks",
    "checkpoints",
    "debug",
    "events",
    "tools",
)
MESSAGE_MODES = ("messages", "messages-tuple")
PROTOCOL = "lifecycle"  # the mode that runs of the event protocol have, and no others
ALWAYS = frozenset({"custom", "tools"})  # recorded for whoever looks at the thread, in subgraphs too
OURS = frozenset({"messages", "custom", "tools", "events", PROTOCOL})  # not taken from LangGraph's stream


class Tap:
    """Listens to one attempt of a run: records what was asked for, and remembers how the run ended.

    `record(method, namespace, data)` stores an event. `values` is the newest state of the root graph, `interrupts`
    what it waits for; `paused` is also true at a breakpoint, which has no interrupt. `begun` is called when a state is
    known: the input is part of it.
    """

    def __init__(
        self,
        record: Callable[[str, Namespace, bytes], None],
        stream_mode: list[str],
        begun: Callable[[], None] = lambda: None,
        *,
        subgraphs: bool,
    ) -> None:
        self._record, self._begun = record, begun
        self._modes = {"messages" if mode in MESSAGE_MODES else mode for mode in stream_mode}
        self._subgraphs = subgraphs
        self._closed = False
        self._asked: set[str] = set()  # interrupts that were told
        self._held: tuple[Namespace, bytes] | None = None  # values, which the protocol tells after their checkpoint
        self.tools = ToolCalls(self._tool)
        self._metadata: tuple[Any, bytes] = (None, b"")
        self.values: Any = None
        self.encoded: bytes | None = None  # `values` as JSON, when it had to be made anyway
        self.interrupts: list[Interrupt] = []
        self.paused = False
        self._output: Shown | None = None
        self._shown: Shown | None = None

    def config(self, store: BaseStore | None) -> dict[str, Any]:
        """Entries of `configurable` that connect this tap."""
        modes: set[Any] = self._modes - OURS | {"values", "updates"}
        return {
            CONFIG_KEY_STREAM: StreamProtocol(self, modes),
            CONFIG_KEY_RUNTIME: Runtime(store=store, stream_writer=self._write_custom),
        }

    def show(self, channels: frozenset[str] | None) -> None:
        """Which of the root graph's channels its clients see, if not all. The event protocol shows the whole state."""
        self._output = None if channels is None else Shown(channels)
        self._shown = None if PROTOCOL in self._modes else self._output

    def given(self, given: Any) -> None:
        if self._shown is not None:
            self._shown.begin(given)

    def callbacks(self) -> list[Any]:
        handlers: list[Any] = [self.tools]
        if self._modes & COPIED:
            handlers.append(Questions())
        if "messages" in self._modes:
            handlers.append(StreamMessagesHandler(self, True) if self._subgraphs else _RootMessages(self))
        return handlers

    def close(self) -> None:
        """What a task that outlived its run still says is not part of it."""
        self.tools.stop("The run ended before the tool.")
        self._release()
        self._closed = True

    def __call__(self, chunk: tuple[Namespace, str, Any]) -> None:
        namespace, mode, payload = chunk
        if self._closed:
            return
        data: bytes | None = None
        if not namespace:
            if mode == "values":
                data = self._remember(payload)
            elif mode == "updates" and isinstance(payload, dict) and INTERRUPT in payload:
                self.paused = True
                self.interrupts.extend(payload[INTERRUPT])
        if mode == "updates" and isinstance(payload, dict):
            if INTERRUPT in payload:
                self._ask(namespace, payload[INTERRUPT])
            else:
                _name(payload)
        if self._shown is not None and not namespace and mode in ("values", "updates") and isinstance(payload, dict):
            payload, data = self._shown.values(payload) if mode == "values" else self._shown.updates(payload), None
            if payload is None:
                return
        if mode in ALWAYS or (mode in self._modes and (self._subgraphs or not namespace)):
            self._tell(mode, namespace, data or self._encode(mode, payload))

    def _tell(self, mode: str, namespace: Namespace, data: bytes) -> None:
        if PROTOCOL not in self._modes:
            self._record(mode, namespace, data)
        elif mode == "checkpoints":
            self._record(CHECKPOINT, namespace, data)
            self._release()
        else:
            self._release()
            if mode == "values":
                self._held = namespace, data
            else:
                self._record(mode, namespace, data)

    def _release(self) -> None:
        if self._held is not None:
            (namespace, data), self._held = self._held, None
            self._record("values", namespace, data)

    def _ask(self, namespace: Namespace, interrupts: Sequence[Interrupt]) -> None:
        """A subgraph's question is told where it is asked, and not again by the graphs above."""
        self._release()
        for one in interrupts:
            if one.id not in self._asked:
                self._asked.add(one.id)
                asked = {"interrupt_id": one.id, "payload": one.value, "value": one.value}
                self._record(INPUT, namespace, dumps(asked))

    def _tool(self, namespace: Namespace, payload: dict[str, Any]) -> None:
        self((namespace, "tools", payload))

    def event(self, event: Any) -> None:
        """An item of `astream_events`."""
        if not self._closed:
            self._record("events", (), dumps(event))

    def stopped(self, reason: str) -> None:
        """What is not finished will not be."""
        self._record(STOPPED, (), dumps({"reason": reason}))

    def last(self, values: Any) -> None:
        """The state that a stop left, which no graph told."""
        if "values" in self._modes:
            self._record("values", (), dumps(values if self._shown is None else self.output(values)))

    def output(self, values: Any) -> Any:
        """Of a state; the same object where that has nothing else."""
        return values if self._output is None or not isinstance(values, dict) else self._output.part(values)

    def _remember(self, payload: Any) -> bytes | None:
        data = dumps(payload) if "values" in self._modes else None
        if isinstance(payload, dict) and INTERRUPT in payload:
            self.values, self.encoded = {key: value for key, value in payload.items() if key != INTERRUPT}, None
        else:
            self.values, self.encoded = payload, data
        self._begun()
        return data

    def _encode(self, mode: str, payload: Any) -> bytes:
        if mode == "checkpoints" and PROTOCOL in self._modes:
            return dumps(_checkpoint(payload))
        if mode == "debug" and payload.get("type") == "checkpoint":
            inner = payload["payload"]
            places = {
                "checkpoint": _place(inner.get("config")),
                "parent_checkpoint": _place(inner.get("parent_config")),
            }
            return dumps({**payload, "payload": {**inner, **places}})
        if mode != "messages":
            return dumps(payload)
        message, metadata = payload
        if self._metadata[0] is not metadata:  # one dict for all tokens of a model call
            self._metadata = (metadata, dumps(metadata))
        return b"[%s,%s]" % (dumps(message), self._metadata[1])

    def _write_custom(self, payload: Any) -> None:
        namespace = get_config()["configurable"].get("checkpoint_ns", "").split(NS_SEP)[:-1]
        self((tuple(namespace), "custom", payload))
        self.tools.progress(payload)


def _name(updates: dict[str, Any]) -> None:
    """What a task returned is told first as `updates`, before it is part of the state: with the ids it keeps there."""
    for update in updates.values():
        for part in update if isinstance(update, list) else [update]:
            for value in part.values() if isinstance(part, dict) else [part]:
                give_ids(value)


def _checkpoint(payload: Any) -> dict[str, Any]:
    """What names a checkpoint: its state is in `values`."""
    parent, metadata = payload.get("parent_config"), payload.get("metadata") or {}
    named = {"id": payload["config"]["configurable"]["checkpoint_id"]}
    if parent:
        named["parent_id"] = parent["configurable"]["checkpoint_id"]
    return {**named, "step": metadata.get("step"), "source": metadata.get("source"), "next": payload.get("next")}


def _place(config: Any) -> dict[str, Any] | None:
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns")
    return {key: config["configurable"].get(key) for key in keys} if config else None


class _RootMessages(StreamMessagesHandler):
    """Messages of the root graph only: tokens inside a subgraph are not announced, what it returns is."""

    def __init__(self, stream: Tap) -> None:
        super().__init__(stream, True)

    def on_chat_model_start(self, *args: Any, metadata: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        if metadata and not graph_namespace(metadata):
            super().on_chat_model_start(*args, metadata=metadata, **kwargs)

    def on_chain_start(self, *args: Any, metadata: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        if metadata and "langgraph_checkpoint_ns" in metadata and not graph_namespace(metadata):
            super().on_chain_start(*args, metadata=metadata, **kwargs)
