"""Links by which whoever has one reads a conversation as it was at a checkpoint.

Nothing of what was said is kept with a link: it is read from the checkpoint each time, which pruning leaves alone.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill import threads
from threadmill.branches import NO_CHECKPOINT
from threadmill.errors import Conflict, Invalid, NotFound
from threadmill.ids import stamp
from threadmill.scope import ALL, Scope
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import heads
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.steps import Steps

COLUMNS = "share_id, shares.thread_id, checkpoint_id, redact, shares.created_at, expires_at"
LIVING = "(expires_at IS NULL OR expires_at > :now)"


@dataclass(frozen=True, slots=True)
class Share:
    share_id: str
    thread_id: str
    checkpoint_id: str
    redact: list[str]
    created_at: str
    expires_at: str | None

    @classmethod
    def from_row(cls, row: Row) -> Self:
        fields = {name: row[name] for name in cls.__slots__}
        return cls(**{**fields, "redact": json.loads(fields["redact"])})


@dataclass(frozen=True, slots=True)
class Shared:
    """What a link shows: `messages` as they are stored, `title` as a person gave it to the thread."""

    share: Share
    title: str | None
    created_at: str
    messages: list[Any]


def create(
    tx: Tx,
    scope: Scope,
    thread_id: str,
    *,
    share_id: str,
    token: bytes,
    checkpoint_id: str | None,
    redact: Sequence[str],
    expires_at: datetime | None,
    minutes: float | None,
) -> Share:
    """At a checkpoint (None: the thread's head). `token` is a hash."""
    threads.get(tx, scope, thread_id, shown=True)
    at = checkpoint_id or heads.head(tx, thread_id)
    if at is None:
        raise Conflict(f"Thread {thread_id} has no checkpoint to share.")
    if not View(tx, thread_id).has(at):
        raise NotFound(NO_CHECKPOINT.format(at))
    until = tx.now + timedelta(minutes=minutes) if minutes is not None else expires_at
    if until is not None and until <= tx.now:
        raise Invalid("expires_at: this time is over.")
    made = Share(share_id, thread_id, at, list(redact), stamp(tx.now), stamp(until) if until else None)
    tx.run("DELETE FROM shares WHERE expires_at <= :now", now=made.created_at)
    tx.run(
        "INSERT INTO shares (share_id, token, thread_id, checkpoint_id, redact, created_at, expires_at) "
        "VALUES (:share_id, :token, :thread_id, :at, :redact, :now, :until)",
        share_id=share_id,
        token=token,
        thread_id=thread_id,
        at=at,
        redact=json.dumps(made.redact),
        now=made.created_at,
        until=made.expires_at,
    )
    return made


def of_thread(tx: Tx, scope: Scope, thread_id: str) -> list[Share]:
    """Those that still show something, the newest first."""
    threads.require(tx, scope, thread_id)
    rows = tx.all(
        f"SELECT {COLUMNS} FROM shares WHERE thread_id = :thread_id AND {LIVING} "
        "ORDER BY created_at DESC, share_id DESC",
        thread_id=thread_id,
        now=stamp(tx.now),
    )
    view = View(tx, thread_id)
    return [Share.from_row(row) for row in rows if view.has(row["checkpoint_id"])]


def revoke(tx: Tx, scope: Scope, thread_id: str, share_id: str) -> None:
    threads.require(tx, scope, thread_id)
    found = "DELETE FROM shares WHERE thread_id = :thread_id AND share_id = :share_id"
    if not tx.run(found, thread_id=thread_id, share_id=share_id):
        raise NotFound(f"Thread {thread_id} has no share {share_id}")


def read(tx: Tx, serde: SerializerProtocol, token: bytes) -> Shared | None:
    """None: no link has it, or none any more."""
    row = tx.one(
        f"SELECT {COLUMNS}, threads.created_at AS began, CASE title_source WHEN 'user' THEN title END AS title "
        f"FROM threads JOIN shares USING (thread_id) WHERE token = :token AND {LIVING}",
        token=token,
        now=stamp(tx.now),
    )
    if row is None:
        return None
    share = Share.from_row(row)
    messages = Steps(tx, serde, share.thread_id).messages_at(share.checkpoint_id)
    return None if messages is None else Shared(share, row["title"], row["began"], messages)


def kept(tx: Tx, thread_id: str) -> set[str]:
    """The checkpoints that links show, which must not be pruned."""
    return {one.checkpoint_id for one in of_thread(tx, ALL, thread_id)}
