"""Following the feed of threads: for a list that is always as the server has it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class FeedReader:
    """One for the whole server."""

    database: Database
    log: EventLog
    signals: Signals
    heartbeat_s: float

    async def follow(self, scope: Scope, reader: str, after: int | None) -> AsyncIterator[list[Entry]]:
        """What changed after the cursor, then what changes; None begins now. An empty list says that nothing did for
        a while. Ends when the server stops.
        """
        with self.signals.subscribe(TOPIC) as waiter:
            cursor = await self.database.read(feed.newest) if after is None else after
            silent = 0.0
            while not self.log.closing:
                found, cursor = await self.database.read(feed.since, scope, reader, cursor)
                if found:
                    silent = 0.0
                    yield found
                    if len(found) == feed.PAGE:
                        continue
                    await asyncio.sleep(GATHER_S)
                elif silent >= self.heartbeat_s:
                    silent = 0.0
                    yield []
                wait = min(LOOK_S, self.heartbeat_s)
                if not await waiter.wait(wait):
                    silent += wait


def frames(entries: list[Entry]) -> bytes:
    """As server-sent events: `thread` as it is now, or `deleted`."""
    return b"".join(sse.frame(*named(one), one.number) for one in entries)


def named(entry: Entry) -> tuple[str, bytes]:
    """(event, data)"""
    if entry.thread is None:
        return "deleted", dumps({"thread_id": entry.thread_id})
    return "thread", dumps(entry.thread)
