"""The log of a thread in the event protocol (v2): envelopes over SSE and WebSocket.

`Projection` turns each event of the log into envelopes, the same ones for every reader and at every replay: what an
envelope is called and numbered depends on the log alone, and filters come after it. `Wanted` is such a filter.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from threadmill.errors import BadRequest
from threadmill.events.event import END, ERROR, INPUT, METADATA, PAUSED, POSTED, ROOM, STOPPED, Event
from threadmill.events.log import EventLog
from threadmill.jsonable import dumps
from threadmill.metrics import Metrics
from threadmill.runs import run as runs
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill.streaming.blocks import Message, compact
from threadmill_checkpoints.database import Database

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
ENDINGS = {"success": "completed", "error": "failed", "timeout": "failed"}  # all others: stopped
ENDS = frozenset({*ENDINGS.values(), "interrupted"})
SETTLE_S = 0.1  # so old is a stream, or the end of a run, or a question, before the stream tells it
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


def cursor(value: Any) -> int | None:
    """What a client gave as `since`, None for nothing; anything that is no number of an event means the beginning."""
    if value is None:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader subscribed to. `namespaces` are prefixes, and `depth` how many levels below one count."""

    channels: frozenset[str]
    namespaces: tuple[Namespace, ...] = ((),)
    depth: int | None = None

    @classmethod
    def from_params(cls, params: dict[str, Any]) -> "Wanted":
        """Raises BadRequest."""
        channels = params.get("channels")
        if not (isinstance(channels, list) and channels and all(isinstance(one, str) for one in channels)):
            raise BadRequest("channels is required and must be a non-empty array")
        if unknown := [one for one in channels if one not in CHANNELS and not one.startswith("custom:")]:
            raise BadRequest(
                f"channels contains unsupported entries: {', '.join(unknown)[:200]}. "
                f"Allowed: {', '.join(CHANNELS)}, or any `custom:<name>`."
            )
        namespaces = params.get("namespaces")
        if namespaces is not None and not (
            isinstance(namespaces, list)
            and all(isinstance(path, list) and all(isinstance(part, str) for part in path) for path in namespaces)
        ):
            raise BadRequest("namespaces must be an array of arrays of strings")
        depth = params.get("depth")
        if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
            raise BadRequest("depth must be a whole number of at least 0")
        return cls(frozenset(channels), tuple(tuple(path) for path in namespaces or [[]]), depth)

    def takes(self, envelope: Envelope) -> bool:
        return self._channel(envelope) and any(self._below(envelope.namespace, prefix) for prefix in self.namespaces)

    def _channel(self, envelope: Envelope) -> bool:
        method = "input" if envelope.method == "input.requested" else envelope.method
        if method in self.channels:
            return True
        if method != "custom" or not any(one.startswith("custom:") for one in self.channels):
            return False
        payload = orjson.loads(envelope.data)
        return isinstance(payload, dict) and f"custom:{payload.get('name')}" in self.channels

    def _below(self, namespace: Namespace, prefix: Namespace) -> bool:
        levels = len(namespace) - len(prefix)
        if levels < 0 or (self.depth is not None and levels > self.depth):
            return False
        return all(
            part == whole or part == whole.partition(":")[0] for part, whole in zip(prefix, namespace, strict=False)
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


@dataclass(frozen=True, slots=True)
class Reader:
    """Follows threads; one for the whole server."""

    log: EventLog
    database: Database
    signals: Signals
    heartbeat_s: float = 5.0
    metrics: Metrics = field(default_factory=Metrics)

    async def follow(
        self, thread_id: str, since: int | None = 0, heartbeat_s: float | None = None
    ) -> AsyncIterator[list[Envelope]]:
        """Everything numbered above `since`: what is stored, then what comes. An empty list says that nothing came for
        a while. Ends when the thread is deleted or the server stops. A `since` that the log cannot have given, as that
        of a thread that had the same id, starts from the beginning; so does None, which holds back an end or a question
        that comes at once (docs/decisions/0011).
        """
        settled = time.time() + (SETTLE_S if since is None else 0)
        since = since or 0
        with self.signals.subscribe(f"gone:{thread_id}") as gone:
            if since > 0:
                resumed = since <= await self.log.highest(thread_id)
                self.metrics.reconnected(resumed=resumed)
                since = since if resumed else 0
            start = await self._start(thread_id, since)
            async for batch in self._envelopes(thread_id, since, start, heartbeat_s or self.heartbeat_s):
                if not batch and gone.take():
                    return
                # A client has a subscription for each kind of thing, and with the first end or question it hears
                # it closes them all, also those that are on their way. It gives no `since`.
                if time.time() < settled and (end := _first_end(batch)) is not None:
                    if batch[:end]:
                        yield batch[:end]
                    await asyncio.sleep(min(settled, batch[end].at / 1000 + SETTLE_S) - time.time())
                    batch = batch[end:]
                yield batch

    async def read(self, thread_id: str, since: int, *, start: int | None = None) -> list[Envelope]:
        """What there is now, numbered above `since`. `start`: where a run's events begin before it, if known."""
        return [one async for batch in self._now(thread_id, since, start) for one in batch]

    async def count(self, thread_id: str, since: int, until: int, wanted: Wanted) -> int:
        """How many envelopes between the two numbers are wanted."""
        if until <= since:
            return 0
        found = 0
        async for batch in self._now(thread_id, since, None):
            found += sum(one.seq <= until and wanted.takes(one) for one in batch)
        return found

    async def tree(self, run: runs.Run) -> dict[str, Any]:
        """An active run and the subgraphs that are under way in it."""
        projection = Projection(run.run_id, run.graph_id)
        if run.first_seq is None:
            return projection.tree("started")
        for event in await self.log.read(run.thread_id, run.first_seq - 1):
            if event.run_id == run.run_id:
                projection(event)
        return projection.tree("running")

    async def _now(self, thread_id: str, since: int, start: int | None) -> AsyncIterator[list[Envelope]]:
        highest = await self.log.highest(thread_id)
        if highest <= since:
            return
        begin = await self._start(thread_id, since) if start is None else start
        # After a crash no event has the highest number: nothing more at once is the end, too.
        async for batch in self._envelopes(thread_id, since, begin, 0.0):
            if not batch:
                return
            yield batch
            if batch[-1].seq + ROOM > highest:
                return

    async def _start(self, thread_id: str, since: int) -> int:
        return await self.database.read(runs.first_seq_before, thread_id, since) - 1 if since > 0 else 0

    async def _envelopes(
        self, thread_id: str, since: int, start: int, heartbeat_s: float
    ) -> AsyncIterator[list[Envelope]]:
        projections: dict[str, Projection] = {}
        async for batch in self.log.tail(thread_id, start, heartbeat_s, f"gone:{thread_id}"):
            out: list[Envelope] = []
            for event in batch:
                # Others than the one that runs may say something between: a queued run is cancelled, the host posts.
                projection = projections.get(event.run_id)
                if projection is None:
                    projection = projections[event.run_id] = await self._projection(event.run_id)
                made = projection(event)
                # Those that share a number come again: the reader may have been cut off between them.
                above = since if len(made) <= ROOM else since - 1
                out += [one for one in made if one.seq > above]
                if event.method == END:
                    del projections[event.run_id]
            if out or not batch:
                yield out

    async def _projection(self, run_id: str) -> Projection:
        run = await self.database.read(runs.find, ALL, run_id)
        return Projection(run_id, run.graph_id if run is not None else "")


def ends(one: Envelope) -> bool:
    """An end of a run or of a subgraph, or a question, with which clients leave off as well."""
    if one.method == "lifecycle":
        return orjson.loads(one.data)["event"] in ENDS
    return one.method == "input.requested"


def _first_end(envelopes: Sequence[Envelope]) -> int | None:
    """Where the first end of a run or question is."""
    return next(
        (n for n, one in enumerate(envelopes) if ends(one) and not (one.namespace and one.method == "lifecycle")), None
    )


def frames(envelopes: Sequence[Envelope]) -> bytes:
    """As server-sent events."""
    return b"".join(
        b"event: %s\ndata: %s\nid: %d\n\n" % (one.method.encode(), one.json(), one.seq) for one in envelopes
    )
