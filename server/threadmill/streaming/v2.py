"""Readers of a thread in the event protocol (v2), and what of it each takes."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from threadmill.errors import BadRequest
from threadmill.events.event import END, ROOM
from threadmill.events.log import EventLog
from threadmill.metrics import Metrics
from threadmill.runs import run as runs
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill.streaming.projection import ENDS, Envelope, Namespace, Projection
from threadmill_checkpoints.database import Database

CHANNELS = ("values", "updates", "messages", "tools", "custom", "lifecycle", "input", "tasks", "checkpoints")
SETTLE_S = 0.1  # so old is a stream, or the end of a run, or a question, before the stream tells it


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
        if unknown := [one for one in channels if one not in CHANNELS and one.removeprefix("custom:") in ("", one)]:
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
        if not namespaces:  # all of them, however deep: so the SDKs read it, which put several filters into one
            return cls(frozenset(channels))
        return cls(frozenset(channels), tuple(tuple(path) for path in namespaces), depth)

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
