"""The log of a run as the stream that LangGraph SDKs read (v1).

`Projection` translates events into (name, data); it holds no connection and knows no framework. `follow` is the reader:
it replays a run's events from the log, goes on live, and ends with the run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
from langchain_core.messages import AIMessageChunk, BaseMessageChunk, message_chunk_to_message

from threadmill import threads
from threadmill.events.event import END, ERROR, METADATA, POSTED, ROOM, Event
from threadmill.events.log import EventLog
from threadmill.jsonable import dumps
from threadmill.metrics import Metrics
from threadmill.runs import run as runs
from threadmill.runs.run import Run
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill.streaming import sse
from threadmill_checkpoints.database import Database

FROM_THE_START = (None, "", "-1", "-")  # ids of readers that do not come back: SDKs send them


@dataclass(slots=True)
class Projection:
    """`recorded`: the stream modes that the run was asked for; the log may hold more. `modes`: those wanted, None for
    all of them.

    A filter names modes only, so it also leaves out `metadata`; what tells of a failure always passes.
    """

    recorded: frozenset[str]
    modes: frozenset[str] | None = None
    subgraphs: bool = True
    _partial: dict[str, BaseMessageChunk] = field(default_factory=dict)
    _announced: set[str] = field(default_factory=set)

    def __call__(self, event: Event) -> Iterator[tuple[str, bytes]]:
        method = event.method
        if method == METADATA:
            self._partial.clear()
            if self.modes is None:
                yield METADATA, event.data
        elif method == ERROR:
            yield ERROR, event.data
        elif method == "messages":
            yield from self._messages(event)
        elif method in (self.recorded if self.modes is None else self.modes) and (
            self.subgraphs or not event.namespace
        ):
            yield _named(event), event.data

    def _messages(self, event: Event) -> Iterator[tuple[str, bytes]]:
        wanted = self.recorded if self.modes is None else self.modes
        if "messages-tuple" in wanted or ("messages" in wanted and "messages" not in self.recorded):
            yield _named(event), event.data
        if "messages" in wanted and "messages" in self.recorded:
            message, metadata = orjson.loads(event.data)
            key = message["id"]
            if key not in self._announced:
                self._announced.add(key)
                yield "messages/metadata", dumps({key: {"metadata": metadata}})
            if message["type"] == "AIMessageChunk":
                yield "messages/partial", dumps([self._accumulate(key, message)])
            else:
                yield "messages/complete", dumps([message])

    def _accumulate(self, key: str, message: dict[str, Any]) -> Any:
        """The message as far as it is known, from one more chunk of it."""
        chunk: BaseMessageChunk = AIMessageChunk(**{name: v for name, v in message.items() if v is not None})
        if key in self._partial:
            chunk = self._partial[key] + chunk
        self._partial[key] = chunk
        return message_chunk_to_message(chunk)


def _of(run: Run, modes: frozenset[str] | None = None) -> Projection:
    return Projection(frozenset(run.kwargs["stream_mode"]), modes, run.kwargs["subgraphs"])


def _named(event: Event) -> str:
    return "|".join((event.method, *event.namespace))


@dataclass(frozen=True, slots=True)
class Reader:
    """Follows runs; one for the whole server."""

    log: EventLog
    database: Database
    signals: Signals
    heartbeat_s: float = 5.0
    metrics: Metrics = field(default_factory=Metrics)

    async def follow(
        self, run: Run, *, modes: frozenset[str] | None = None, last_event_id: str | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a run's stream: what was recorded after `last_event_id`, then what comes, until the run ends.

        An id that is not one of this run's (absent, -1, garbage, another run's, the future) starts from the
        beginning, so that every reader ends with the whole. Events carry ids if the run was asked to be resumable.
        """
        with self.signals.subscribe(f"started:{run.run_id}", f"run:{run.run_id}") as waiter:
            # The row may be older than our subscription: look again before waiting for a change.
            now = run if run.first_seq is not None else await self.database.read(runs.find, ALL, run.run_id)
            while now is not None and now.active and now.first_seq is None:  # its turn has not come
                if self.log.closing:
                    yield sse.DRAINING
                    return
                if not await waiter.wait(self.heartbeat_s):
                    yield sse.HEARTBEAT
                now = await self.database.read(runs.find, ALL, run.run_id)
        if now is None or now.first_seq is None:  # cancelled before it began
            return
        over = False
        projection = _of(now, modes)
        async for frames, ended in self._replay(now, projection, last_event_id):
            over = ended
            if frames:
                yield frames
        if not over:
            yield sse.DRAINING

    async def follow_thread(
        self,
        thread_id: str,
        after: int,
        *,
        modes: frozenset[str],
        state: Callable[[], Awaitable[bytes]],
    ) -> AsyncIterator[bytes]:
        """Everything that happens on a thread, over its runs; does not end by itself, but when the thread is deleted.

        `modes` are `run_modes` (what the runs recorded), `lifecycle` (their start and end only) and `state_update`
        (the state a run left, which `state` reads). `after` comes from `place`.
        """
        projections: dict[str, Projection] = {}
        start = await self._start(thread_id, after) if "run_modes" in modes else after - ROOM
        async for batch in self.log.tail(thread_id, start, self.heartbeat_s, f"gone:{thread_id}"):
            out: list[bytes] = []
            for event in batch:
                told: list[tuple[str, bytes | None]] = []  # None: the state
                if event.method == POSTED:
                    told += [(POSTED, event.data)] if "run_modes" in modes else []
                else:
                    if event.method == METADATA or event.run_id not in projections:
                        projections = {event.run_id: await self._projection(event.run_id)}
                    shown = list(projections[event.run_id](event))
                    if "run_modes" in modes or ("lifecycle" in modes and event.method == METADATA):
                        told += shown
                if event.method == END:
                    told.append((METADATA, dumps({"status": "run_done", "run_id": event.run_id})))
                if event.method in (POSTED, END) and "state_update" in modes:
                    told.append(("state_update", None))
                for number, (name, data) in enumerate(told, event.seq):
                    if number > after:
                        out.append(sse.frame(name, await state() if data is None else data, number))
            if out:
                yield b"".join(out)
            elif not batch:
                if not await self.database.read(threads.exists, ALL, thread_id):
                    return
                yield sse.HEARTBEAT
        yield sse.DRAINING

    async def _start(self, thread_id: str, after: int) -> int:
        """A partial message is built from its run's first event on, though the reader has that already; of any other
        event it may have the first frame only.
        """
        run = await self.database.read(runs.at, thread_id, after)
        if run is None or run.first_seq is None or "messages" not in run.kwargs["stream_mode"]:
            return after - ROOM
        return run.first_seq - 1

    async def _projection(self, run_id: str) -> Projection:
        run = await self.database.read(runs.find, ALL, run_id)
        return _of(run) if run is not None else Projection(frozenset({"messages-tuple"}))

    async def place(self, thread_id: str, last_event_id: str | None) -> int:
        """Where a reader of the thread begins: without an id now, with one of the thread's after it, with any other at
        the first event. Ask before the response begins, or what happens in between is missed.
        """
        highest = await self.log.highest(thread_id)
        if last_event_id is None:
            return highest
        try:
            seq = int(last_event_id)
        except ValueError:
            seq = 0
        after = seq if 0 <= seq <= highest else 0
        if last_event_id not in FROM_THE_START:
            self.metrics.reconnected(resumed=after > 0)
        return after

    async def _replay(
        self, run: Run, projection: Projection, last_event_id: str | None
    ) -> AsyncIterator[tuple[bytes, bool]]:
        """(frames, whether the run has ended)"""
        before = (run.first_seq or 1) - 1
        known = await self._seen(run, last_event_id)
        if last_event_id not in FROM_THE_START:
            self.metrics.reconnected(resumed=known > 0)
        seen = max(before, known)
        # A partial message is built from the run's first event on, even if it is sent from a later one on.
        start = before if "messages" in projection.recorded else max(before, seen - ROOM)
        async for batch in self.log.tail(run.thread_id, start, self.heartbeat_s, f"run:{run.run_id}"):
            out: list[bytes] = []
            for event in batch:
                if event.run_id != run.run_id:
                    continue
                # Each frame has a number of its own: a cut between two of one event would lose the second.
                for number, (name, data) in enumerate(projection(event), event.seq):
                    if number > seen:
                        out.append(sse.frame(name, data, number if run.kwargs["resumable"] else None))
                if event.method == END:
                    yield b"".join(out), True
                    return
            if batch:
                start = batch[-1].seq
            if not batch or batch[-1].run_id != run.run_id:
                # Nothing comes, or the thread went on without an end of this run: it was given up, or put back behind
                # another. If it has an end that we have not come to yet, that is still to come, and what is before it.
                now = await self.database.read(runs.find, ALL, run.run_id)
                if now is None or (not now.active and (now.last_seq or 0) < start + ROOM):
                    yield b"".join(out) + await self._epitaph(run), True
                    return
            yield b"".join(out) if batch else sse.HEARTBEAT, False

    async def _seen(self, run: Run, last_event_id: str | None) -> int:
        """The number of the last event that the reader has of this run, 0 if none."""
        try:
            seq = int(last_event_id or "")
        except ValueError:
            return 0
        if seq < (run.first_seq or 0):
            return 0
        last = run.last_seq if run.last_seq is not None else await self.log.highest(run.thread_id)
        return seq if seq <= last else 0

    async def _epitaph(self, run: Run) -> bytes:
        """What is to be said of a run that is over but whose log has no end: it crashed too often, or is gone."""
        now = await self.database.read(runs.find, ALL, run.run_id)
        return sse.frame(ERROR, dumps(now.error)) if now is not None and now.status == "error" else b""
