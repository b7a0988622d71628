"""How long threads are kept, what is pruned, and how much room they take.

A thread's time counts from its last activity (a run that was accepted or ended, a changed state), or from when the time
was set, if that is later. A thread that has a pending or running run is never touched.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, Self

import structlog

from threadmill import branches, feed, shares, threads
from threadmill.events.log import EventLog
from threadmill.ids import stamp
from threadmill.langgraph_json.checkpointer import RetentionConfig
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.database import Database, Row, Tx
from threadmill_checkpoints.saver import generations, pruning
from threadmill_checkpoints.saver.generations import Since, Thinned
from threadmill_checkpoints.saver.sizes import sizes

logger = structlog.get_logger("threadmill.retention")

Strategy = Literal["delete", "keep_latest"]
Thin = Callable[[Tx, str, Since, Callable[[tuple[str, bytes]], Any], set[str]], Thinned]
MONTH = timedelta(days=365.25 / 12)


@dataclass(frozen=True, slots=True)
class Ttl:
    strategy: Strategy
    ttl_minutes: float
    expires_at: str

    @classmethod
    def from_row(cls, row: Row) -> Self:
        since = datetime.fromisoformat(max(row["set_at"], row["last_activity_at"]))
        return cls(row["strategy"], row["ttl_minutes"], stamp(since + timedelta(minutes=row["ttl_minutes"])))


def find(tx: Tx, scope: Scope, thread_id: str) -> Ttl | None:
    row = tx.one(
        "SELECT strategy, ttl_minutes, set_at, last_activity_at FROM threads JOIN thread_ttls USING (thread_id) "
        f"WHERE threads.thread_id = :thread_id AND {scope.condition(tx)}",
        thread_id=thread_id,
        **scope.params,
    )
    return Ttl.from_row(row) if row else None


def set_ttl(tx: Tx, scope: Scope, thread_id: str, strategy: Strategy, minutes: float) -> None:
    threads.require(tx, scope, thread_id)
    tx.run(
        "INSERT INTO thread_ttls (thread_id, strategy, ttl_minutes, set_at, due_at) "
        "VALUES (:thread_id, :strategy, :minutes, :now, :due) ON CONFLICT (thread_id) DO UPDATE SET "
        "strategy = excluded.strategy, ttl_minutes = excluded.ttl_minutes, set_at = excluded.set_at, "
        "due_at = excluded.due_at",
        thread_id=thread_id,
        strategy=strategy,
        minutes=minutes,
        now=stamp(tx.now),
        due=stamp(tx.now + timedelta(minutes=minutes)),
    )


def clear_ttl(tx: Tx, scope: Scope, thread_id: str) -> None:
    threads.require(tx, scope, thread_id)
    tx.run("DELETE FROM thread_ttls WHERE thread_id = :thread_id", thread_id=thread_id)


def set_default(tx: Tx, wanted: RetentionConfig) -> None:
    """What threads get that are made from now on; None is nothing. Those that are there keep what they have."""
    tx.run("DELETE FROM default_ttl")
    if wanted.default_ttl is not None:
        tx.run(
            "INSERT INTO default_ttl (strategy, ttl_minutes) VALUES (:strategy, :minutes)",
            strategy=wanted.strategy,
            minutes=wanted.default_ttl,
        )


def storage(tx: Tx, scope: Scope, thread_id: str) -> dict[str, Any]:
    """`total_bytes` is all but the events, as on the platform."""
    threads.require(tx, scope, thread_id)
    states, channels, writes = sizes(tx, thread_id)
    events = tx.one(
        "SELECT coalesce(sum(last_seq - first_seq + 1), 0) AS count, coalesce(sum(length(data)), 0) AS bytes "
        "FROM events WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    values = sum(size.bytes for size in channels.values())
    return {
        "thread_id": thread_id,
        "total_bytes": states.bytes + values + writes.bytes,
        "checkpoints": {"count": states.count, "bytes": states.bytes},
        "channel_values": {
            "count": sum(size.count for size in channels.values()),
            "bytes": values,
            "by_channel": {name: {"versions": size.count, "bytes": size.bytes} for name, size in channels.items()},
        },
        "pending_writes": {"count": writes.count, "bytes": writes.bytes},
        "events": dict(events or {}),
    }


@dataclass(frozen=True, slots=True)
class Generations:
    """How long every checkpoint is kept, and how long the ends of turns are."""

    everything: timedelta
    turns: timedelta

    def since(self, now: datetime) -> Since:
        return Since(now - self.everything, now - max(self.turns, self.everything))


class Retention:
    """Prunes when asked, and sweeps until `run` is cancelled. `decode` is the saver's `serde.loads_typed`."""

    def __init__(
        self,
        database: Database,
        log: EventLog,
        decode: Callable[[tuple[str, bytes]], Any],
        wanted: RetentionConfig,
        feed_deletions: int,
        by_age: Generations | None = None,
    ) -> None:
        self._database = database
        self._log = log
        self._decode = decode
        self._wanted = wanted
        self._feed_deletions = feed_deletions
        self._by_age = by_age
        self._thinned = ""  # the thread that was looked at last

    async def prune(self, scope: Scope, thread_id: str, strategy: Strategy) -> bool:
        """False when there is no such thread or it is busy."""
        return await self._database.write(self._prune, scope, thread_id, strategy)

    def _prune(self, tx: Tx, scope: Scope, thread_id: str, strategy: Strategy) -> bool:
        if not _idle(tx, scope, thread_id):
            return False
        if strategy == "delete":
            threads.delete(tx, scope, thread_id)
            tx.on_commit(partial(self._log.forget, thread_id))
        else:
            pruning.keep_latest(tx, thread_id, self._decode, _kept(tx, thread_id))
        return True

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._wanted.sweep_interval * 60)
            try:
                if swept := await self.sweep():
                    logger.info("expired threads swept", threads=swept)
                if gone := await self.thin():
                    logger.info("old checkpoints pruned", checkpoints=gone)
            except Exception:  # the next one may succeed: a full disk, a lock
                logger.exception("expired threads could not be swept")

    async def sweep(self) -> int:
        """Do what is due, at most `sweep_limit` threads, each in a transaction of its own; returns how many it were."""
        swept = 0
        while swept < self._wanted.sweep_limit:
            due = await self._database.read(_due, min(100, self._wanted.sweep_limit - swept))
            for thread_id in due:
                swept += await self._database.write(self._expire, thread_id)
            if not due:
                break
        await self._database.write(feed.prune, self._feed_deletions)
        return swept

    async def thin(self) -> int:
        """Prune old checkpoints of the next `sweep_limit` threads, in turn; returns how many went."""
        if self._by_age is None:
            return 0
        found, gone = await self._database.read(_next, self._thinned, self._wanted.sweep_limit), 0
        for thread_id in found:
            if (await self.report(ALL, thread_id, self._by_age)).checkpoints:
                gone += (await self.thin_one(ALL, thread_id, self._by_age)).checkpoints
        self._thinned = found[-1] if len(found) == self._wanted.sweep_limit else ""
        return gone

    async def report(self, scope: Scope, thread_id: str, wanted: Generations) -> Thinned:
        """What would go; nothing of a busy thread, or one that there is not."""
        return await self._database.read(self._thin, generations.report, scope, thread_id, wanted)

    async def thin_one(self, scope: Scope, thread_id: str, wanted: Generations) -> Thinned:
        return await self._database.write(self._thin, generations.thin, scope, thread_id, wanted)

    def _thin(self, tx: Tx, how: Thin, scope: Scope, thread_id: str, wanted: Generations) -> Thinned:
        if not _idle(tx, scope, thread_id):
            return Thinned(0, 0)
        return how(tx, thread_id, wanted.since(tx.now), self._decode, _kept(tx, thread_id))

    def _expire(self, tx: Tx, thread_id: str) -> bool:
        """Looked at again here: it may have come to life since it was found."""
        ttl, now = find(tx, ALL, thread_id), stamp(tx.now)
        if ttl is None:
            return False
        done = ttl.expires_at <= now and self._prune(tx, ALL, thread_id, ttl.strategy)
        # A busy one, and one that was pruned and rests, is looked at again after its time.
        again = stamp(tx.now + timedelta(minutes=ttl.ttl_minutes))
        tx.run(
            "UPDATE thread_ttls SET due_at = :due WHERE thread_id = :thread_id",
            due=ttl.expires_at if ttl.expires_at > now else again,
            thread_id=thread_id,
        )
        return done


def _kept(tx: Tx, thread_id: str) -> set[str]:
    return branches.kept(tx, thread_id) | shares.kept(tx, thread_id)


def _due(tx: Tx, limit: int) -> list[str]:
    rows = tx.all(
        "SELECT thread_id FROM thread_ttls WHERE due_at <= :now ORDER BY due_at LIMIT :limit",
        now=stamp(tx.now),
        limit=limit,
    )
    return [row["thread_id"] for row in rows]


def _idle(tx: Tx, scope: Scope, thread_id: str) -> bool:
    """There is such a thread, and it is not busy."""
    found = tx.one(
        f"SELECT 1 FROM threads WHERE thread_id = :thread_id AND NOT {threads.BUSY} AND {scope.condition(tx)}",
        thread_id=thread_id,
        **scope.params,
    )
    return found is not None


def _next(tx: Tx, after: str, limit: int) -> list[str]:
    rows = tx.all(
        "SELECT thread_id FROM threads WHERE thread_id > :after ORDER BY thread_id LIMIT :limit",
        after=after,
        limit=limit,
    )
    return [row["thread_id"] for row in rows]
