"""Following the feed of threads: for a list that is always as the server has it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from threadmill import feed
from threadmill.events.log import EventLog
from threadmill.feed import Entry
from threadmill.jsonable import dumps
from threadmill.scope import Scope
from threadmill.signals import Signals
from threadmill.streaming import sse
from threadmill_checkpoints.database import Database

TOPIC = "feed"
GATHER_S = 0.05  # between two looks: what changes often is told less often, and only as it is then
LOOK_S = 2.0  # where nobody woke us


@dataclass(slots=True)
class _Look:
    """What one reader saw when it looked, for all of them."""

    at: float = float("-inf")
    newest: int = 0


@dataclass(frozen=True, slots=True)
class FeedReader:
    """One for the whole server."""

    database: Database
    log: EventLog
    signals: Signals
    heartbeat_s: float
    _look: _Look = field(default_factory=_Look)

    async def follow(self, scope: Scope, reader: str, after: int | None) -> AsyncIterator[list[Entry]]:
        """What changed after the cursor, then what changes; None begins now. An empty list says that nothing did for
        a while. Ends when the server stops.
        """
        with self.signals.subscribe(TOPIC) as waiter:
            cursor = await self.database.read(feed.newest) if after is None else after
            known = 0
            silent, woken, found = 0.0, True, list[Entry]()
            while not self.log.closing:
                if woken or await self._newest() > cursor:
                    found, cursor, known = await self.database.read(feed.since, scope, reader, cursor, known)
                if found:
                    silent = 0.0
                    yield found
                    if len(found) >= feed.PAGE:
                        continue
                    await asyncio.sleep(GATHER_S)
                elif silent >= self.heartbeat_s:
                    silent = 0.0
                    yield []
                found, wait = [], min(LOOK_S, self.heartbeat_s)
                woken = await waiter.wait(wait)
                if not woken:
                    silent += wait

    async def _newest(self) -> int:
        now = time.monotonic()
        if now - self._look.at >= LOOK_S:
            self._look.at = now
            self._look.newest = await self.database.read(feed.newest)
        return self._look.newest


def frames(entries: list[Entry]) -> bytes:
    """As server-sent events: `thread` as it is now, `deleted`, or `resync` before all there is."""
    return b"".join(sse.frame(*named(one), one.number) for one in entries)


def named(entry: Entry) -> tuple[str, bytes]:
    """(event, data)"""
    if entry is feed.RESYNC:
        return "resync", b"{}"
    if entry.thread is None:
        return "deleted", dumps({"thread_id": entry.thread_id})
    return "thread", dumps(entry.thread)
