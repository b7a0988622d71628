"""The feed of threads: what a list of conversations shows of them, and what changed since a reader looked last.

Triggers number the changes (see migrations/sqlite/0008_feed.sql), so that no code can forget one. The feed is made of
states: a thread that changed several times since the cursor is told once, as it is now. Of deleted threads only the
newest are kept; who has a cursor from before them is told to begin anew.
"""

import json
from dataclasses import dataclass
from typing import Any, Self

from threadmill.markers import UNREAD
from threadmill.scope import Scope
from threadmill_checkpoints.database import Row, Tx

PAGE = 200

# Finer than the status of the wire: a person is only waited for where there is a question, a breakpoint, or a run that
# ended with a crash and was the last.
STATUS = """CASE
    WHEN EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'running') THEN 'running'
    WHEN (SELECT paused FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending'
        ORDER BY position LIMIT 1) = 1 THEN 'paused'
    WHEN EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending') THEN 'queued'
    WHEN outcome = 'error' THEN 'failed'
    WHEN outcome = 'interrupted' AND (error IS NULL
        OR EXISTS (SELECT 1 FROM interrupts AS i WHERE i.thread_id = threads.thread_id)
        OR (SELECT crashed FROM runs WHERE runs.thread_id = threads.thread_id ORDER BY position DESC LIMIT 1))
        THEN 'waiting'
    ELSE 'idle' END AS status"""
SHOWN = f"title, preview, message_count, created_at, updated_at, last_activity_at, {STATUS}, {UNREAD}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thread as a list shows it; `thread` is None when it was deleted. `number` is the cursor behind it."""

    number: int
    thread_id: str
    thread: dict[str, Any] | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        if row["deleted"]:
            return cls(row["number"], row["thread_id"], None)
        shown = {name: row[name] for name in ("thread_id", "status", "title", "preview", "message_count")}
        shown |= {name: row[name] for name in ("created_at", "updated_at", "last_activity_at")}
        shown |= {"unread": bool(row["unread"]), "metadata": json.loads(row["own"])}
        return cls(row["number"], row["thread_id"], shown)


RESYNC = Entry(0, "", None)  # forget what you show: all there is follows


def newest(tx: Tx) -> int:
    """The cursor of somebody who begins now."""
    row = tx.one("SELECT max(number) AS number FROM changes")
    return max((row["number"] if row else None) or 0, _floor(tx))


def since(
    tx: Tx, scope: Scope, reader: str, after: int, known: int = 0, limit: int = PAGE
) -> tuple[list[Entry], int, int]:
    """What changed after that number, oldest change first; the number up to which this is all there is; and `known` for
    the next time: a reader that began with nothing needs no word of what had been deleted by then.
    """
    until, lowest = newest(tx), _floor(tx)
    anew = 0 < max(after, known) < lowest
    if anew or not after:
        after, known = 0, lowest
    rows = tx.all(
        f"SELECT number, changes.thread_id, deleted, threads.metadata AS own, {SHOWN} FROM changes "
        "LEFT JOIN threads ON threads.thread_id = changes.thread_id "
        f"WHERE number > :after AND {scope.condition(tx, 'coalesce(threads.metadata, changes.metadata)')} "
        "ORDER BY number LIMIT :limit",
        after=after,
        reader=reader,
        limit=limit,
        **scope.params,
    )
    found = [Entry.from_row(row) for row in rows]
    cursor = found[-1].number if len(found) == limit else max(after, until)
    return [RESYNC, *found] if anew else found, cursor, known


def _floor(tx: Tx) -> int:
    """Up to here, deleted threads are told of no longer."""
    row = tx.one("SELECT number FROM feed_floor")
    return row["number"] if row else 0


def prune(tx: Tx, kept: int) -> int:
    """Forget all deleted threads but the `kept` newest; returns how many those were."""
    row = tx.one("SELECT number FROM changes WHERE deleted = 1 ORDER BY number DESC LIMIT 1 OFFSET :kept", kept=kept)
    if row is None:
        return 0
    tx.run("UPDATE feed_floor SET number = max(number, :number)", number=row["number"])
    return tx.run("DELETE FROM changes WHERE deleted = 1 AND number <= :number", number=row["number"])


def of_thread(tx: Tx, thread_id: str) -> int:
    """The number of the thread's last change."""
    row = tx.one("SELECT number FROM changes WHERE thread_id = :thread_id", thread_id=thread_id)
    return row["number"] if row else 0


def get(tx: Tx, reader: str, thread_id: str) -> dict[str, Any] | None:
    """One thread as the feed has it."""
    row = tx.one(
        f"SELECT 0 AS number, thread_id, 0 AS deleted, metadata AS own, {SHOWN} FROM threads "
        "WHERE thread_id = :thread_id",
        thread_id=thread_id,
        reader=reader,
    )
    return Entry.from_row(row).thread if row else None
