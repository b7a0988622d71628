"""The SQL of the `checkpoints` and `writes` tables."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import writes_sort_key

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver.heads import HEAD

COLUMNS = (
    "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, "  # where it is
    "type, checkpoint, metadata, channels, run_id, root_id"
)
WRITE_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value, run_id, parts"


def stored_at(root: str) -> str:
    """The checkpoint of the root graph of `:source` at which lies what a subgraph wrote at `root`, as SQL. What was
    pruned, or never stored by a run that stores its end, was on the way to the next."""
    return (
        "(SELECT min(next.checkpoint_id) FROM checkpoints AS next WHERE next.thread_id = :source "
        f"AND next.checkpoint_ns = '' AND next.checkpoint_id >= {root})"
    )


# What belongs to checkpoints of the root graph: they themselves, and what the subgraphs of their steps stored.
THEIRS = (
    "((checkpoint_ns = '' AND checkpoint_id IN (SELECT value FROM json_each(:ids))) "
    "OR root_id IN (SELECT value FROM json_each(:ids)))"
)
# What subgraphs remember of the steps before checkpoints of `:source`, where the one they belong to is not there; not
# of the steps from them on. The newest id comes first: a long thread that was forked early has much that is newer.
REMEMBERED = (
    "(root_id < (SELECT max(value) FROM json_each(:ids)) AND checkpoint_ns > '' AND instr(checkpoint_ns, ':') = 0 "
    f"AND {stored_at('checkpoints.root_id')} IN (SELECT value FROM json_each(:ids)) "
    "AND root_id NOT IN (SELECT value FROM json_each(:ids)))"
)
WITH_THEM = f"({THEIRS} OR {REMEMBERED})"


def put_checkpoint(tx: Tx, row: Mapping[str, Any]) -> None:
    tx.run(
        f"INSERT OR REPLACE INTO checkpoints ({COLUMNS}) VALUES "
        "(:thread_id, :checkpoint_ns, :checkpoint_id, :parent, "
        ":type, :checkpoint, :metadata, :channels, :run_id, :root_id)",
        **row,
    )


def put_writes(tx: Tx, values: Sequence[Sequence[Any]]) -> None:
    """A regular write is stored once; the special ones (error, interrupt, resume: negative `idx`) replace what was
    there, also those that come with regular ones: a task that asks several things ends with all its answers.

    A write stays its first run's, so that a rollback leaves the question; but a task's answers are the run's that gave
    the last of them: undone with it, they are asked for again and none is used that was taken back.
    """
    tx.many(
        f"INSERT INTO writes ({WRITE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET "
        "task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, "
        "value = excluded.value, parts = excluded.parts, "
        "run_id = CASE WHEN excluded.channel = '__resume__' THEN excluded.run_id ELSE writes.run_id END "
        "WHERE excluded.idx < 0",
        values,
    )


def set_parent(tx: Tx, thread_id: str, checkpoint_id: str, parent: str | None) -> None:
    tx.run(
        "UPDATE checkpoints SET parent_checkpoint_id = :parent "
        "WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :checkpoint_id",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
        parent=parent,
    )


def delete_writes(tx: Tx, thread_id: str, checkpoint_id: str) -> None:
    tx.run(
        "DELETE FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = '' AND checkpoint_id = :checkpoint_id",
        thread_id=thread_id,
        checkpoint_id=checkpoint_id,
    )


def get_checkpoint(tx: Tx, thread_id: str, ns: str, checkpoint_id: str | None) -> Row | None:
    """The named checkpoint, or the head."""
    if checkpoint_id:
        return tx.one(
            f"SELECT {COLUMNS} FROM checkpoints "
            "WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = :checkpoint_id",
            thread_id=thread_id,
            ns=ns,
            checkpoint_id=checkpoint_id,
        )
    return tx.one(
        f"SELECT {COLUMNS} FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        f"AND checkpoint_id = {HEAD}",
        thread_id=thread_id,
        ns=ns,
    )


def head_run(tx: Tx, thread_id: str) -> tuple[str, str | None] | None:
    """(checkpoint id, run id) of the head, without reading its state."""
    row = tx.one(
        "SELECT checkpoint_id, run_id FROM checkpoints "
        f"WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = {HEAD}",
        thread_id=thread_id,
        ns="",
    )
    return (row["checkpoint_id"], row["run_id"]) if row else None


def list_checkpoints(
    tx: Tx,
    *,
    thread_id: str | None,
    checkpoint_ns: str | None,
    checkpoint_id: str | None,
    metadata: Mapping[str, Any],
    before: str | None,
    limit: int,
    within: Sequence[str] | None = None,
) -> list[Row]:
    """Newest first; `limit` -1 is all. `within`: only these of the root graph, and what belongs to them. Metadata keys
    are bound, never part of the SQL (CVE-2025-67644)."""
    conditions = ["1 = 1"]
    params: dict[str, Any] = {"limit": limit}
    exact = {"thread_id": thread_id, "checkpoint_ns": checkpoint_ns, "checkpoint_id": checkpoint_id}
    for column, value in exact.items():
        if value is not None:
            conditions.append(f"{column} = :{column}")
            params[column] = str(value)
    if before is not None:
        conditions.append("checkpoint_id < :before")
        params["before"] = before
    if within is not None:
        conditions.append(WITH_THEM)
        params |= {"ids": json.dumps(within), "source": thread_id}
    if metadata:
        conditions.append(tx.dialect.contains("CAST(metadata AS TEXT)", "metadata"))
        params["metadata"] = json.dumps(metadata)
    return tx.all(
        f"SELECT {COLUMNS} FROM checkpoints WHERE {' AND '.join(conditions)} ORDER BY checkpoint_id DESC LIMIT :limit",
        **params,
    )


def keys_of(tx: Tx, thread_id: str, ids: Collection[str]) -> list[tuple[str, str]]:
    """(namespace, id) of these of the root graph, and of what belongs to them."""
    found = tx.all(
        f"SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND {THEIRS}",
        thread_id=thread_id,
        ids=json.dumps(list(ids)),
    )
    return [(row["checkpoint_ns"], row["checkpoint_id"]) for row in found]


def writes_of(tx: Tx, thread_id: str, ns: str, checkpoint_ids: Sequence[str]) -> list[Row]:
    return tx.all(
        f"SELECT {WRITE_COLUMNS} FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        "AND checkpoint_id IN (SELECT value FROM json_each(:ids))",
        thread_id=thread_id,
        ns=ns,
        ids=json.dumps(checkpoint_ids),
    )


def head_writes(tx: Tx, thread_id: str, ns: str = "") -> list[Row]:
    """What was written since the head, in the order of its tasks."""
    found = tx.all(
        f"SELECT {WRITE_COLUMNS} FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        f"AND checkpoint_id = {HEAD}",
        thread_id=thread_id,
        ns=ns,
    )
    return sorted(found, key=lambda row: writes_sort_key(row["task_path"], row["task_id"], row["idx"]))


def begun_below(tx: Tx, thread_id: str, root_id: str) -> list[tuple[str, str]]:
    """(namespace, newest checkpoint) of each subgraph that the step after a root checkpoint has begun."""
    found = tx.all(
        "SELECT checkpoint_ns, max(checkpoint_id) AS checkpoint_id FROM checkpoints "
        "WHERE thread_id = :thread_id AND root_id = :root_id GROUP BY checkpoint_ns",
        thread_id=thread_id,
        root_id=root_id,
    )
    return [(row["checkpoint_ns"], row["checkpoint_id"]) for row in found]


def interrupts_below(tx: Tx, thread_id: str, task_id: str) -> list[Row]:
    """What the subgraphs of a task asked, at any time and depth."""
    return tx.all(
        "SELECT checkpoint_ns, type, value, parts FROM writes WHERE thread_id = :thread_id AND checkpoint_ns > '' "
        "AND instr(checkpoint_ns, :task_id) AND channel = '__interrupt__'",
        thread_id=thread_id,
        task_id=task_id,
    )
