"""The SQL of the `checkpoints` and `writes` tables."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from threadmill_checkpoints.database import Row, Tx

COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
WRITE_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value, run_id"


def put_checkpoint(tx: Tx, row: Mapping[str, Any]) -> None:
    tx.run(
        f"INSERT OR REPLACE INTO checkpoints ({COLUMNS}) VALUES "
        "(:thread_id, :checkpoint_ns, :checkpoint_id, :parent, :type, :checkpoint, :metadata)",
        **row,
    )


def put_writes(tx: Tx, values: Sequence[Sequence[Any]], replace: bool) -> None:
    """A regular write is stored once; the special ones (error, interrupt, resume) replace what was there."""
    conflict = (
        "UPDATE SET task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, "
        "value = excluded.value"  # the write stays its first run's
        if replace
        else "NOTHING"
    )
    tx.many(
        f"INSERT INTO writes ({WRITE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        f"ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO {conflict}",
        values,
    )


def get_checkpoint(tx: Tx, thread_id: str, ns: str, checkpoint_id: str | None) -> Row | None:
    """The named checkpoint, or the newest."""
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
        "ORDER BY checkpoint_id DESC LIMIT 1",
        thread_id=thread_id,
        ns=ns,
    )


def head_run(tx: Tx, thread_id: str) -> tuple[str, str | None] | None:
    """(checkpoint id, run id) of the newest checkpoint, without reading its state."""
    row = tx.one(
        "SELECT checkpoint_id, json_extract(CAST(metadata AS TEXT), '$.run_id') AS run_id FROM checkpoints "
        "WHERE thread_id = :thread_id AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1",
        thread_id=thread_id,
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
) -> list[Row]:
    """Newest first; `limit` -1 is all. Metadata keys are bound, never part of the SQL (CVE-2025-67644)."""
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
    if metadata:
        conditions.append(tx.dialect.contains("CAST(metadata AS TEXT)", "metadata"))
        params["metadata"] = json.dumps(metadata)
    return tx.all(
        f"SELECT {COLUMNS} FROM checkpoints WHERE {' AND '.join(conditions)} ORDER BY checkpoint_id DESC LIMIT :limit",
        **params,
    )


def writes_of(tx: Tx, thread_id: str, ns: str, checkpoint_ids: Sequence[str]) -> list[Row]:
    return tx.all(
        f"SELECT {WRITE_COLUMNS} FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = :ns "
        "AND checkpoint_id IN (SELECT value FROM json_each(:ids))",
        thread_id=thread_id,
        ns=ns,
        ids=json.dumps(checkpoint_ids),
    )


def delete_thread(tx: Tx, thread_id: str) -> None:
    tx.run("DELETE FROM checkpoints WHERE thread_id = :thread_id", thread_id=thread_id)
    tx.run("DELETE FROM writes WHERE thread_id = :thread_id", thread_id=thread_id)


def copy_thread(tx: Tx, source: str, target: str) -> None:
    """The whole history, same checkpoint ids; the thread id inside the metadata is rewritten."""
    tx.run(
        f"INSERT INTO checkpoints ({COLUMNS}) "
        "SELECT :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, "
        "CAST(CASE WHEN json_extract(CAST(metadata AS TEXT), '$.thread_id') IS NULL THEN CAST(metadata AS TEXT) "
        "ELSE json_set(CAST(metadata AS TEXT), '$.thread_id', :target) END AS BLOB) "
        "FROM checkpoints WHERE thread_id = :source",
        source=source,
        target=target,
    )
    tx.run(
        f"INSERT INTO writes ({WRITE_COLUMNS}) "
        "SELECT :target, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value, run_id "
        "FROM writes WHERE thread_id = :source",
        source=source,
        target=target,
    )


def delete_for_runs(tx: Tx, run_ids: Sequence[str], thread_id: str | None = None) -> None:
    """What these runs wrote: their checkpoints, the writes on them, and their writes on earlier checkpoints."""
    scope = "thread_id = :thread_id AND " if thread_id else ""
    doomed = tx.all(
        f"SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints WHERE {scope}"
        "json_extract(CAST(metadata AS TEXT), '$.run_id') IN (SELECT value FROM json_each(:ids))",
        ids=json.dumps(list(run_ids)),
        **({"thread_id": thread_id} if thread_id else {}),
    )
    tx.run(
        f"DELETE FROM writes WHERE {scope}run_id IN (SELECT value FROM json_each(:ids))",
        ids=json.dumps(list(run_ids)),
        **({"thread_id": thread_id} if thread_id else {}),
    )
    keys = [tuple(row) for row in doomed]
    for table in ("checkpoints", "writes"):
        tx.many(f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?", keys)
