"""Read markers: up to which event of a thread somebody has seen it.

A thread is unread for them when something was said above the marker: a run ended, with an answer, a failure or a
question.
"""

from threadmill.scope import Scope
from threadmill.threads import require
from threadmill_checkpoints.database import Tx

# In a SELECT from threads; its parameter is `reader`. Who never read a thread has read none of it.
UNREAD = (
    "said_seq > coalesce((SELECT seq FROM read_markers AS m "
    "WHERE m.thread_id = threads.thread_id AND m.user_id = :reader), 0) AS unread"
)


def put(tx: Tx, scope: Scope, thread_id: str, reader: str, seq: int) -> None:
    """`reader` is the user's identity, empty where nobody logs in. A lower number than before makes it unread again."""
    require(tx, scope, thread_id)
    tx.run(
        "INSERT INTO read_markers (thread_id, user_id, seq) VALUES (:thread_id, :reader, :seq) "
        "ON CONFLICT (thread_id, user_id) DO UPDATE SET seq = excluded.seq",
        thread_id=thread_id,
        reader=reader,
        seq=seq,
    )


def get(tx: Tx, thread_id: str, reader: str) -> int:
    row = tx.one(
        "SELECT seq FROM read_markers WHERE thread_id = :thread_id AND user_id = :reader",
        thread_id=thread_id,
        reader=reader,
    )
    return row["seq"] if row else 0


def unread(tx: Tx, thread_ids: list[str], reader: str) -> set[str]:
    """Those of these threads that have something new."""
    return {one for one in thread_ids if is_unread(tx, one, reader)}


def is_unread(tx: Tx, thread_id: str, reader: str) -> bool:
    row = tx.one(f"SELECT {UNREAD} FROM threads WHERE thread_id = :thread_id", thread_id=thread_id, reader=reader)
    return row is not None and bool(row["unread"])
