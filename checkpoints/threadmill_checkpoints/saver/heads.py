"""The `heads` table: from which checkpoint a thread goes on, when that is not its newest.

What is chosen holds until a newer checkpoint comes; when that one is undone, it holds again.
"""

from threadmill_checkpoints.database import Tx

NEWEST = "(SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = :ns)"
# The id of the checkpoint that a thread (`:thread_id`), or a subgraph of it (`:ns`), goes on from.
HEAD = (
    "coalesce((SELECT checkpoint_id FROM heads WHERE thread_id = :thread_id AND :ns = '' "
    f"AND newest = {NEWEST}), {NEWEST})"
)


def head(tx: Tx, thread_id: str) -> str | None:
    row = tx.one(f"SELECT {HEAD} AS head", thread_id=thread_id, ns="")
    return row["head"] if row else None


def chosen(tx: Tx, thread_id: str) -> bool:
    """Whether it is another than the newest."""
    row = tx.one(f"SELECT {HEAD} <> {NEWEST} AS other", thread_id=thread_id, ns="")
    return bool(row and row["other"])


def put(tx: Tx, thread_id: str, checkpoint_id: str) -> None:
    """One of the thread's own, which nothing follows."""
    tx.run(
        "INSERT INTO heads (thread_id, checkpoint_id, newest) "
        f"VALUES (:thread_id, :checkpoint_id, {NEWEST}) ON CONFLICT (thread_id) DO UPDATE SET "
        "checkpoint_id = excluded.checkpoint_id, newest = excluded.newest",
        thread_id=thread_id,
        ns="",
        checkpoint_id=checkpoint_id,
    )


def settle(tx: Tx, thread_id: str, before: str | None) -> None:
    """After the thread lost checkpoints: the head that it had `before`, if it is still there."""
    there = "(SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '')"
    if tx.one(f"SELECT 1 WHERE :before IN {there}", thread_id=thread_id, before=before):
        put(tx, thread_id, str(before))
        return
    tx.run(
        f"DELETE FROM heads WHERE thread_id = :thread_id AND (checkpoint_id NOT IN {there} OR newest NOT IN {there})",
        thread_id=thread_id,
    )


def copy(tx: Tx, source: str, target: str) -> None:
    tx.run(
        "INSERT INTO heads (thread_id, checkpoint_id, newest) "
        "SELECT :target, checkpoint_id, newest FROM heads WHERE thread_id = :source",
        source=source,
        target=target,
    )
