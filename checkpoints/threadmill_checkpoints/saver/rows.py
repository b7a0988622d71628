"""The SQL of the `checkpoints` and `writes` tables."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ormsgpack
from langgraph.checkpoint.base import writes_sort_key

from threadmill_checkpoints.database import Row, Tx

COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
WRITE_COLUMNS = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value, run_id"


def put_checkpoint(tx: Tx, row: Mapping[str, Any]) -> None:
    tx.run(
        f"INSERT OR REPLACE INTO checkpoints ({COLUMNS}) VALUES "
        "(:thread_id, :checkpoint_ns, :checkpoint_id, :parent, :type, :checkpoint, :metadata)",
        **row,
    )


def put_writes(tx: Tx, values: Sequence[Sequence[Any]]) -> None:
    """A regular write is stored once; the special ones (error, interrupt, resume: negative `idx`) replace what was
    there, also those that come with regular ones: a task that asks several things ends with all its answers.

    A write stays its first run's, so that a rollback leaves the question; but a task's answers are the run's that gave
    the last of them: undone with it, they are asked for again and none is used that was taken back.
    """
    tx.many(
        f"INSERT INTO writes ({WRITE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx) DO UPDATE SET "
        "task_path = excluded.task_path, channel = excluded.channel, type = excluded.type, "
        "value = excluded.value, "
        "run_id = CASE WHEN excluded.channel = '__resume__' THEN excluded.run_id ELSE writes.run_id END "
        "WHERE excluded.idx < 0",
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


def head_writes(tx: Tx, thread_id: str, ns: str = "") -> list[Row]:
    """What was written since the newest checkpoint, in the order of its tasks."""
    found = tx.all(
        f"SELECT {WRITE_COLUMNS} FROM writes WHERE thread_id = :thread_id AND checkpoint_ns = :ns AND checkpoint_id = "
        "(SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = :ns)",
        thread_id=thread_id,
        ns=ns,
    )
    return sorted(found, key=lambda row: writes_sort_key(row["task_path"], row["task_id"], row["idx"]))


def interrupts_below(tx: Tx, thread_id: str, task_id: str) -> list[Row]:
    """What the subgraphs of a task asked, at any time and depth."""
    return tx.all(
        "SELECT checkpoint_ns, type, value FROM writes WHERE thread_id = :thread_id AND checkpoint_ns > '' "
        "AND instr(checkpoint_ns, :task_id) AND channel = '__interrupt__'",
        thread_id=thread_id,
        task_id=task_id,
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


# What a thread keeps, and how much it is


def keep_latest(tx: Tx, thread_id: str, decode: Callable[[tuple[str, bytes]], Any]) -> int:
    """Remove all but the newest checkpoint and what it needs, with the writes; returns how many went.

    Needed are the newest checkpoint of each subgraph that keeps its own memory or that the newest step has begun, and
    the ancestors from which a DeltaChannel is rebuilt. `decode` is a serializer's `loads_typed`.
    """
    # Keys first, from the index: metadata lies behind the state, so reading it reads that.
    there = tx.all(
        "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :thread_id "
        "ORDER BY checkpoint_ns, checkpoint_id",
        thread_id=thread_id,
    )
    heads = {row["checkpoint_ns"]: row["checkpoint_id"] for row in there}
    kept = {
        (ns, checkpoint_id)
        for ns, head in heads.items()
        if not _belongs_to_the_past(get_checkpoint(tx, thread_id, ns, head), heads.get(""))
        for checkpoint_id in _rebuilt_from(tx, thread_id, ns, head, decode)
    }
    doomed = [(thread_id, *row) for row in there if tuple(row) not in kept]
    tx.many("DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?", doomed)
    tx.many("DELETE FROM writes WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?", doomed)
    tx.run(  # the oldest that is left begins the history
        "UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = :thread_id AND NOT EXISTS "
        "(SELECT 1 FROM checkpoints p WHERE p.thread_id = checkpoints.thread_id "
        "AND p.checkpoint_ns = checkpoints.checkpoint_ns AND p.checkpoint_id = checkpoints.parent_checkpoint_id)",
        thread_id=thread_id,
    )
    return len(doomed)


def _belongs_to_the_past(row: Row | None, root: str | None) -> bool:
    """A call of a subgraph (its namespace names a task) that an earlier checkpoint of the root graph made."""
    if row is None:
        return True
    parents = json.loads(row["metadata"] or b"{}").get("parents") or {}
    return ":" in row["checkpoint_ns"] and parents.get("", root) != root


def _rebuilt_from(
    tx: Tx, thread_id: str, ns: str, head: str, decode: Callable[[tuple[str, bytes]], Any]
) -> Sequence[str]:
    """The checkpoint, and its ancestors back to where each of its delta channels has a snapshot."""
    # Other channels, too, may have no value; only these have counters somewhere in the metadata.
    deltas = tx.all(
        "SELECT DISTINCT counter.key AS channel FROM checkpoints, "
        "json_each(CAST(metadata AS TEXT), '$.counters_since_delta_snapshot') AS counter "
        "WHERE thread_id = :thread_id AND checkpoint_ns = :ns",
        thread_id=thread_id,
        ns=ns,
    )
    missing, kept, at = {row["channel"] for row in deltas}, [head], head
    while missing and (row := get_checkpoint(tx, thread_id, ns, at)):
        checkpoint = decode((row["type"], row["checkpoint"]))
        if at == head:
            missing &= checkpoint["channel_versions"].keys()
        missing -= checkpoint["channel_values"].keys()
        at = row["parent_checkpoint_id"]
        if not missing or not at or at in kept:
            break
        kept.append(at)
    return kept


@dataclass(slots=True)
class Size:
    """`count` of a channel is that of its versions; a version is stored with every checkpoint that has it."""

    count: int = 0
    bytes: int = 0


def sizes(tx: Tx, thread_id: str) -> tuple[Size, dict[str, Size], Size]:
    """Checkpoints without the values in them, values by channel, pending writes."""
    keys = tx.all(
        "SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = :thread_id", thread_id=thread_id
    )
    checkpoints, channels = Size(len(keys)), defaultdict[str, Size](Size)
    versions = set[tuple[str, str, Any]]()
    for ns, checkpoint_id in keys:  # one at a time: together they may be more than the memory
        row = get_checkpoint(tx, thread_id, ns, checkpoint_id)
        assert row is not None
        checkpoints.bytes += len(row["checkpoint"] or b"") + len(row["metadata"] or b"")
        if row["type"] != "msgpack":
            continue
        # What it holds is measured, not built: extensions stay bytes.
        checkpoint = ormsgpack.unpackb(row["checkpoint"], ext_hook=ormsgpack.Ext, option=ormsgpack.OPT_NON_STR_KEYS)
        versions |= {(ns, channel, version) for channel, version in checkpoint["channel_versions"].items()}
        for channel, value in checkpoint["channel_values"].items():
            size = len(ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))
            channels[channel].bytes += size
            checkpoints.bytes -= size
    for _, channel, _ in versions:
        channels[channel].count += 1
    pending = tx.one(
        "SELECT count(*) AS count, coalesce(sum(length(value)), 0) AS bytes FROM writes WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    assert pending is not None
    return checkpoints, dict(channels), Size(pending["count"], pending["bytes"])
