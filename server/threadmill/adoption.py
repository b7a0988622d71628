"""The row of a thread whose history came from elsewhere: what lists show of it, as its newest checkpoint has it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from threadmill import interrupts, threads
from threadmill.ids import number, stamp
from threadmill.jsonable import dumps, dumps_text
from threadmill.summary import summarise
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import heads, rows
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import Memory, put_together, take_apart
from threadmill_checkpoints.serde import Serializer

MESSAGES = "messages"
INTERNAL = ("__", "branch:", "start:", "join:")  # how channels begin that are LangGraph's own


def adopt(tx: Tx, serde: Serializer, thread_id: str, metadata: Mapping[str, Any]) -> None:
    """Give the thread a row, or bring the one it has up to its checkpoints. `metadata` are those of a new one."""
    threads.create(tx, thread_id, metadata=metadata, if_exists="do_nothing")
    head = View(tx, thread_id).get("", None)
    if head is None:
        return
    values = values_of(serde, tx, head)
    pending = interrupts.of_head(tx, thread_id, serde)
    threads.set_state(
        tx,
        thread_id,
        outcome="interrupted" if pending else "idle",
        values=dumps(values),
        pending=pending,
        summary=summarise(values.get("messages")),
    )
    first = tx.one(
        "SELECT type, checkpoint FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' "
        "ORDER BY checkpoint_id LIMIT 1",
        thread_id=thread_id,
    )
    began, ended = (_time(serde, row) or stamp(tx.now) for row in (first or head, head))
    tx.run(
        "UPDATE threads SET created_at = min(created_at, :began), updated_at = :ended, state_updated_at = :ended, "
        "last_activity_at = :ended WHERE thread_id = :thread_id",
        thread_id=thread_id,
        began=began,
        ended=ended,
    )


TIMES = ("created_at", "updated_at", "state_updated_at", "last_activity_at")
SHOWN = ("title", "title_source", "preview", "message_count", "open_calls", "has_state", "outcome", "seq", "said_seq")


def leave(tx: Tx, thread_id: str) -> dict[str, Any]:
    """What the row says beside what a client may set."""
    row = tx.one("SELECT * FROM threads WHERE thread_id = :thread_id", thread_id=thread_id)
    assert row is not None
    named = tx.all("SELECT name, checkpoint_id, pinned, created_at FROM branches WHERE thread_id = :id", id=thread_id)
    above = tx.one("SELECT source, checkpoint_id, created_at FROM lineage WHERE thread_id = :id", id=thread_id)
    more = {"head": heads.head(tx, thread_id), "branches": [dict(one) for one in named]}
    return {name: row[name] for name in (*TIMES, *SHOWN)} | more | {"lineage": dict(above) if above else None}


def arrive(tx: Tx, serde: Serializer, thread_id: str, record: Mapping[str, Any]) -> None:
    """Of a thread whose states are there. Raises ValueError and its like for a record that is none."""
    _arrive_branches(tx, thread_id, record)
    interrupts.put(tx, thread_id, interrupts.of_head(tx, thread_id, serde))
    if record["values"] is not None:
        tx.run(
            "INSERT INTO thread_values (thread_id, data) VALUES (:thread_id, :data)",
            thread_id=thread_id,
            data=dumps(record["values"]),
        )
    if record["outcome"] not in get_args(threads.Outcome) or record["title_source"] not in (None, "auto", "user"):
        raise ValueError("its row says what none does")
    times = {name: stamp(datetime.fromisoformat(record[name])) for name in TIMES}
    numbers = {name: number(record[name] or 0) for name in ("message_count", "has_state", "seq", "said_seq")}
    texts = {name: record[name] and str(record[name])[:1000] for name in ("title", "preview")}
    highest = tx.one("SELECT max(last_seq) AS seq FROM events WHERE thread_id = :thread_id", thread_id=thread_id)
    numbers["seq"] = max(numbers["seq"], (highest and highest["seq"]) or 0)
    tx.run(
        "UPDATE threads SET created_at = :created_at, updated_at = :updated_at, state_updated_at = :state_updated_at, "
        "last_activity_at = :last_activity_at, config = :config, error = :error, title = :title, preview = :preview, "
        "title_source = :title_source, message_count = :message_count, open_calls = :open_calls, "
        "has_state = :has_state, outcome = :outcome, seq = :seq, said_seq = :said_seq WHERE thread_id = :thread_id",
        thread_id=thread_id,
        config=dumps_text(dict(record["config"])),
        error=None if record["error"] is None else dumps_text(dict(record["error"])),
        title_source=record["title_source"],
        open_calls=record["open_calls"] if record["open_calls"] in (0, 1) else None,
        outcome=record["outcome"],
        **times,
        **numbers,
        **texts,
    )


def _arrive_branches(tx: Tx, thread_id: str, record: Mapping[str, Any]) -> None:
    ids = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = ''"
    there = {row["checkpoint_id"] for row in tx.all(ids, thread_id=thread_id)}
    if (head := record["head"]) is not None and head != heads.head(tx, thread_id):
        if head not in there:
            raise ValueError("its head is not there")
        heads.put(tx, thread_id, head)
    for one in record["branches"]:
        tx.run(
            "INSERT INTO branches (thread_id, name, checkpoint_id, pinned, created_at) "
            "SELECT :thread_id, :name, :checkpoint_id, :pinned, :created_at WHERE NOT EXISTS "
            "(SELECT 1 FROM branches WHERE thread_id = :thread_id AND name = :name)",
            thread_id=thread_id,
            name=str(one["name"])[:200],
            checkpoint_id=str(one["checkpoint_id"]),
            pinned=bool(one["pinned"]),
            created_at=str(one["created_at"]),
        )
    if (above := record["lineage"]) is not None:
        tx.run(
            "INSERT OR REPLACE INTO lineage (thread_id, source, checkpoint_id, created_at) "
            "VALUES (:thread_id, :source, :checkpoint_id, :created_at)",
            thread_id=thread_id,
            **{name: str(above[name]) for name in ("source", "checkpoint_id", "created_at")},
        )


def values_of(serde: Serializer, tx: Tx, row: Row) -> dict[str, Any]:
    """The state without its graph: every channel that has a value and is not LangGraph's own. What a DeltaChannel
    holds is not among them, unless the checkpoint has its snapshot."""
    found = put_together(serde, row, Reader(tx, serde))["channel_values"]
    return {
        name: getattr(value, "value", value) if type(value).__name__ == "_DeltaSnapshot" else value
        for name, value in found.items()
        if not name.startswith(INTERNAL)
    }


def _time(serde: Serializer, row: Row) -> str | None:
    found = serde.loads_typed((row["type"], row["checkpoint"]))
    at = found.get("ts") if isinstance(found, dict) else None
    try:
        return stamp(datetime.fromisoformat(str(at)))
    except ValueError:
        return None


def say(tx: Tx, serde: Serializer, thread_id: str, before: Checkpoint | None, messages: list[BaseMessage]) -> None:
    """A checkpoint after which nothing is next: only the messages are newer than in the one before."""
    checkpoint = before or empty_checkpoint()
    versions = dict(checkpoint["channel_versions"])
    highest = max((int(str(one).split(".")[0]) for one in versions.values()), default=0)
    versions[MESSAGES] = f"{highest + 1:032}.0"
    made: Checkpoint = {
        **checkpoint,
        "id": str(uuid6(clock_seq=-2)),
        "ts": stamp(tx.now),
        "channel_values": {**checkpoint["channel_values"], MESSAGES: messages},
        "channel_versions": versions,
        "updated_channels": [MESSAGES],
    }
    parent = before["id"] if before is not None else None
    skeleton, apart = take_apart(Memory(), serde, (thread_id, ""), parent, made, {})
    kind, data = serde.dumps_typed(skeleton)
    step = -1
    if parent is not None and (row := rows.get_checkpoint(tx, thread_id, "", parent)) is not None:
        step = int(json.loads(row["metadata"] or b"{}").get("step") or 0)
    about = {"source": "update", "step": step + 1, "parents": {}, "thread_id": thread_id}
    rows.put_checkpoint(
        tx,
        {
            "thread_id": thread_id,
            "checkpoint_ns": "",
            "checkpoint_id": made["id"],
            "parent": parent,
            "type": kind,
            "checkpoint": data,
            "metadata": json.dumps(about).encode(),
            "channels": apart.store(tx),
            "run_id": None,
            "root_id": None,
        },
    )
