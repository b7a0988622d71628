"""Forks and branches: a new thread from a checkpoint, another head of the same thread, and names for branches."""

from collections.abc import Mapping
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill import interrupts, threads, tree
from threadmill.errors import Conflict, NotFound
from threadmill.ids import stamp
from threadmill.scope import ALL, Scope
from threadmill_checkpoints import sealing
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import forks, heads
from threadmill_checkpoints.saver.switch import switch

BUSY = "Thread {} has in-flight runs: wait for them, or cancel them."
NO_CHECKPOINT = "Checkpoint {} not found"


def fork(
    tx: Tx,
    scope: Scope,
    source: str,
    checkpoint_id: str | None,
    target: str,
    *,
    serde: SerializerProtocol,
    metadata: Mapping[str, Any],
    title: str | None,
) -> str:
    """A new thread that has all of `source` up to a checkpoint (None: its head). A few rows, however long that is.
    Returns the checkpoint."""
    thread = threads.get(tx, scope, source, shown=True)
    at = checkpoint_id or heads.head(tx, source)
    if at is None:
        raise Conflict(f"Thread {source} has no checkpoint to fork from.")
    with sealing.under(sealing.CONTEXT.get() or tx.context_of(thread_id=source)):
        threads.create(tx, target, metadata={**thread.metadata, **metadata})
    threads.inherit(tx, source, target)
    if title:
        threads.patch(tx, ALL, target, metadata=None, title=title)
    try:
        forks.fork(tx, source, at, target)
    except forks.Unknown:
        raise NotFound(NO_CHECKPOINT.format(at)) from None
    tx.run(
        "INSERT OR REPLACE INTO lineage (thread_id, source, checkpoint_id, created_at) "
        "VALUES (:target, :source, :at, :now)",
        target=target,
        source=source,
        at=at,
        now=stamp(tx.now),
    )
    _moved(tx, target, serde)
    return at


def lineage(tx: Tx, scope: Scope, thread_id: str) -> dict[str, Any]:
    """Where a thread was forked from, and what was forked from it; deleted ones too, not those that are hidden."""
    threads.require(tx, scope, thread_id)
    above = tx.one(
        "SELECT source AS thread_id, checkpoint_id, created_at FROM lineage WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    below = tx.all(
        "SELECT thread_id, checkpoint_id, created_at FROM lineage WHERE source = :thread_id "
        "ORDER BY created_at, thread_id",
        thread_id=thread_id,
    )
    hidden = {
        row["thread_id"]
        for row in below
        if not threads.exists(tx, scope, row["thread_id"]) and threads.exists(tx, ALL, row["thread_id"])
    }
    return {
        "forked_from": dict(above) if above else None,
        "forks": [dict(row) for row in below if row["thread_id"] not in hidden],
    }


def go_to(tx: Tx, scope: Scope, thread_id: str, checkpoint_id: str, serde: SerializerProtocol) -> str:
    """The thread goes on from there; returns its head, which is a copy if something follows the checkpoint."""
    require_idle(tx, scope, thread_id)
    if checkpoint_id == heads.head(tx, thread_id):
        return checkpoint_id
    try:
        head = switch(tx, serde, thread_id, checkpoint_id)
    except forks.Unknown:
        raise NotFound(NO_CHECKPOINT.format(checkpoint_id)) from None
    _moved(tx, thread_id, serde)
    return head


def page(
    tx: Tx, scope: Scope, thread_id: str, serde: SerializerProtocol, limit: int, before: str | None
) -> dict[str, Any]:
    threads.get(tx, scope, thread_id, shown=True)
    return tree.read(tx, thread_id, serde).page(limit, before)


def messages(
    tx: Tx, scope: Scope, thread_id: str, serde: SerializerProtocol, at: str | None, ids: bool
) -> dict[str, Any]:
    threads.get(tx, scope, thread_id, shown=True)
    source = tx.one("SELECT source AS thread_id, checkpoint_id FROM lineage WHERE thread_id = :id", id=thread_id)
    return {"forked_from": dict(source) if source else None, **tree.messages(tx, thread_id, serde, at, ids)}


def require_idle(tx: Tx, scope: Scope, thread_id: str) -> None:
    if threads.get(tx, scope, thread_id).status == "busy":
        raise Conflict(BUSY.format(thread_id))


def _moved(tx: Tx, thread_id: str, serde: SerializerProtocol) -> None:
    """What the thread shows is that of its new head; `States.refresh` reads the rest."""
    pending = interrupts.of_head(tx, thread_id, serde.loads_typed)
    threads.forget_run(tx, thread_id, pending, newest=True)
    threads.forget_open_calls(tx, thread_id)
