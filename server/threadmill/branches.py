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
from threadmill_checkpoints.saver import forks, heads, lines, rows
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.questions import ask_again
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
        ask_again(tx, serde, source, at, target)
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
    moved(tx, target, serde)
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


def go_to(
    tx: Tx,
    scope: Scope,
    thread_id: str,
    checkpoint_id: str | None,
    serde: SerializerProtocol,
    *,
    branch: str | None = None,
) -> str:
    """The thread goes on from there, or from the end of a named branch; returns its head, which is a copy if something
    follows the checkpoint."""
    require_idle(tx, scope, thread_id)
    at = checkpoint_id or find(tx, scope, thread_id, branch or "")["head"]
    if at == heads.head(tx, thread_id):
        return at
    try:
        with sealing.under(sealing.CONTEXT.get() or tx.context_of(thread_id=thread_id)):
            head = switch(tx, serde, thread_id, at)
    except forks.Unknown:
        raise NotFound(NO_CHECKPOINT.format(at)) from None
    moved(tx, thread_id, serde)
    return head


def page(
    tx: Tx, scope: Scope, thread_id: str, serde: SerializerProtocol, limit: int, before: str | None
) -> dict[str, Any]:
    threads.get(tx, scope, thread_id, shown=True)
    return {**tree.read(tx, thread_id, serde).page(limit, before), "branches": named(tx, scope, thread_id)}


def messages(
    tx: Tx, scope: Scope, thread_id: str, serde: SerializerProtocol, at: str | None, ids: bool
) -> dict[str, Any]:
    threads.get(tx, scope, thread_id, shown=True)
    source = tx.one("SELECT source AS thread_id, checkpoint_id FROM lineage WHERE thread_id = :id", id=thread_id)
    return {"forked_from": dict(source) if source else None, **tree.messages(tx, thread_id, serde, at, ids)}


def outline(tx: Tx, scope: Scope, thread_id: str, serde: SerializerProtocol, limit: int) -> dict[str, Any]:
    threads.get(tx, scope, thread_id, shown=True)
    return tree.outline(tx, thread_id, serde, named(tx, scope, thread_id), limit)


# Names


def named(tx: Tx, scope: Scope, thread_id: str) -> list[dict[str, Any]]:
    """The branches that have a name, each with its head: a name goes on with its branch."""
    threads.require(tx, scope, thread_id)
    there = tx.all(
        "SELECT name, checkpoint_id, pinned, created_at FROM branches WHERE thread_id = :thread_id ORDER BY name",
        thread_id=thread_id,
    )
    parents = View(tx, thread_id).parents() if there else {}
    return [
        {
            "name": row["name"],
            "pinned": bool(row["pinned"]),
            "head": lines.tip(parents, row["checkpoint_id"]),
            "created_at": row["created_at"],
        }
        for row in there
        if row["checkpoint_id"] in parents
    ]


def find(tx: Tx, scope: Scope, thread_id: str, name: str) -> dict[str, Any]:
    found = next((one for one in named(tx, scope, thread_id) if one["name"] == name), None)
    if found is None:
        raise NotFound(f"Thread {thread_id} has no branch {name}")
    return found


def put(tx: Tx, scope: Scope, thread_id: str, name: str, checkpoint_id: str | None, pinned: bool) -> dict[str, Any]:
    """Name the branch that a checkpoint (None: the head) is on; a name that is in use moves there."""
    threads.require(tx, scope, thread_id)
    at = checkpoint_id or heads.head(tx, thread_id)
    if at is None or View(tx, thread_id).get("", at) is None:
        raise NotFound(NO_CHECKPOINT.format(at))
    tx.run(
        "INSERT INTO branches (thread_id, name, checkpoint_id, pinned, created_at) "
        "VALUES (:thread_id, :name, :at, :pinned, :now) ON CONFLICT (thread_id, name) DO UPDATE SET "
        "checkpoint_id = excluded.checkpoint_id, pinned = excluded.pinned",
        thread_id=thread_id,
        name=name,
        at=at,
        pinned=pinned,
        now=stamp(tx.now),
    )
    return find(tx, scope, thread_id, name)


def change(
    tx: Tx, scope: Scope, thread_id: str, name: str, *, new_name: str | None, pinned: bool | None
) -> dict[str, Any]:
    find(tx, scope, thread_id, name)
    to = new_name or name
    if to != name and any(one["name"] == to for one in named(tx, scope, thread_id)):
        raise Conflict(f"Thread {thread_id} has a branch {to} already.")
    tx.run(
        "UPDATE branches SET name = :to, pinned = coalesce(:pinned, pinned) "
        "WHERE thread_id = :thread_id AND name = :name",
        thread_id=thread_id,
        name=name,
        to=to,
        pinned=pinned,
    )
    return find(tx, scope, thread_id, to)


def delete(tx: Tx, scope: Scope, thread_id: str, name: str, serde: SerializerProtocol) -> list[str]:
    """Delete what only this branch has (by its name, or the checkpoint that it ends with), and its name. Returns those
    checkpoints. What other branches have, or are named for, stays; so does what a fork has of it."""
    require_idle(tx, scope, thread_id)
    known, parents = named(tx, scope, thread_id), View(tx, thread_id).parents()
    end = next((one["head"] for one in known if one["name"] == name), name)
    if end not in parents:
        raise NotFound(f"Thread {thread_id} has no branch {name}")
    if end in parents.values():
        raise Conflict(f"Checkpoint {end} does not end a branch: others follow it.")
    pinned = next((one["name"] for one in known if one["head"] == end and one["pinned"]), None)
    if pinned is not None:
        raise Conflict(f"Branch {pinned} is pinned: unpin it first.")
    others = {one["head"] for one in known if one["name"] != name}
    own = {at for ns, at in rows.keys_of(tx, thread_id, parents) if not ns}
    mine = [one for one in lines.alone(parents, end, others) if one in own]
    if len(mine) == len(own):
        raise Conflict(f"It is the only branch of thread {thread_id}: delete the thread.")
    lines.cut(tx, thread_id, mine)
    tx.run("DELETE FROM branches WHERE thread_id = :thread_id AND name = :name", thread_id=thread_id, name=name)
    moved(tx, thread_id, serde)
    return mine


def kept(tx: Tx, thread_id: str) -> set[str]:
    """The checkpoints of the root graph that must not be pruned: the head, those of named branches, and those at which
    forks left."""
    forked = tx.all("SELECT checkpoint_id FROM lineage WHERE source = :thread_id", thread_id=thread_id)
    found = {one["head"] for one in named(tx, ALL, thread_id)} | {row["checkpoint_id"] for row in forked}
    return found | {one for one in [heads.head(tx, thread_id)] if one is not None}


def require_idle(tx: Tx, scope: Scope, thread_id: str) -> None:
    if threads.get(tx, scope, thread_id).status == "busy":
        raise Conflict(BUSY.format(thread_id))


def moved(tx: Tx, thread_id: str, serde: SerializerProtocol) -> None:
    """What the thread shows is that of its new head; `States.refresh` reads the rest."""
    pending = interrupts.of_head(tx, thread_id, serde)
    threads.forget_run(tx, thread_id, pending, newest=True)
    threads.forget_open_calls(tx, thread_id)
