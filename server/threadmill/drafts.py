"""What somebody has begun to write in a thread: a draft for each user, who takes it up on another device.

It is no part of the thread: no event tells of it, no list shows it, and forks, copies and files are without it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from threadmill.errors import Conflict
from threadmill.ids import new_id, stamp
from threadmill.scope import Scope
from threadmill.threads import require
from threadmill_checkpoints.database import Row, Tx

WHOSE = "thread_id = :thread_id AND user_id = :writer"
CHANGED = "The draft has changed: read it again."


@dataclass(frozen=True, slots=True)
class Draft:
    """`revision` is another one with each change, and never comes twice."""

    content: Any
    revision: str
    updated_at: str

    @classmethod
    def from_row(cls, row: Row) -> "Draft":
        return cls(orjson.loads(row["content"]), row["revision"], row["updated_at"])


def get(tx: Tx, scope: Scope, thread_id: str, writer: str) -> Draft | None:
    """`writer` is the user's identity, empty where nobody logs in."""
    require(tx, scope, thread_id)
    row = tx.one(f"SELECT content, revision, updated_at FROM drafts WHERE {WHOSE}", thread_id=thread_id, writer=writer)
    return Draft.from_row(row) if row else None


def put(
    tx: Tx, scope: Scope, thread_id: str, writer: str, content: Any, follows: str | None, device: str | None = None
) -> Draft:
    """As `delete`. The revision begins with the `device`, which knows its own by that if it heard no answer."""
    _follow(tx, scope, thread_id, writer, follows)
    made = Draft(content, f"{device}.{new_id()}" if device else new_id(), stamp(tx.now))
    tx.run(
        "INSERT INTO drafts (thread_id, user_id, content, revision, updated_at) "
        "VALUES (:thread_id, :writer, :content, :revision, :updated_at) ON CONFLICT (thread_id, user_id) DO UPDATE "
        "SET content = excluded.content, revision = excluded.revision, updated_at = excluded.updated_at",
        thread_id=thread_id,
        writer=writer,
        content=orjson.dumps(content).decode(),
        revision=made.revision,
        updated_at=made.updated_at,
    )
    return made


def delete(tx: Tx, scope: Scope, thread_id: str, writer: str, follows: str | None) -> None:
    """`follows`: the revision that the writer knows, "" if they know of none, None if they do not care. Raises Conflict
    when it is another one."""
    _follow(tx, scope, thread_id, writer, follows)
    tx.run(f"DELETE FROM drafts WHERE {WHOSE}", thread_id=thread_id, writer=writer)


def _follow(tx: Tx, scope: Scope, thread_id: str, writer: str, follows: str | None) -> None:
    require(tx, scope, thread_id)
    row = tx.one(f"SELECT revision FROM drafts WHERE {WHOSE}", thread_id=thread_id, writer=writer)
    if follows is not None and follows != (row["revision"] if row else ""):
        raise Conflict(CHANGED)


def erase(tx: Tx, thread_id: str, said: Callable[[str], bool]) -> int:
    """Whoever's they are; how many."""
    rows = tx.all("SELECT user_id, content FROM drafts WHERE thread_id = :thread_id", thread_id=thread_id)
    writers = [row["user_id"] for row in rows if said(row["content"])]
    for writer in writers:
        tx.run(f"DELETE FROM drafts WHERE {WHOSE}", thread_id=thread_id, writer=writer)
    return len(writers)
