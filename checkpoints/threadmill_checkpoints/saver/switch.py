"""Going on from another checkpoint of the same thread."""

import json
from datetime import UTC, datetime

from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.saver import heads, rows
from threadmill_checkpoints.saver.forks import Unknown, View


def switch(tx: Tx, serde: SerializerProtocol, thread_id: str, checkpoint_id: str) -> str:
    """The thread goes on from there; returns its head.

    That is the checkpoint itself if nothing follows it, with the questions and the answers it has. Otherwise it is a
    copy of it, in one row: what was done from the checkpoint on belongs to what follows, and is not to be mixed with
    what will be done now.
    """
    found = View(tx, thread_id).get("", checkpoint_id)
    if found is None:
        raise Unknown(f"Checkpoint {checkpoint_id} not found")
    if found["thread_id"] == thread_id and not followed(tx, thread_id, checkpoint_id):
        heads.put(tx, thread_id, checkpoint_id)
        return checkpoint_id
    made = {**serde.loads_typed((found["type"], found["checkpoint"])), "id": str(uuid6())}
    kind, data = serde.dumps_typed({**made, "ts": datetime.now(UTC).isoformat()})
    about = json.loads(found["metadata"] or b"{}")
    about.pop("run_id", None)
    if "thread_id" in about:
        about["thread_id"] = thread_id
    rows.put_checkpoint(
        tx,
        {
            "thread_id": thread_id,
            "checkpoint_ns": "",
            "checkpoint_id": made["id"],
            "parent": found["parent_checkpoint_id"],
            "type": kind,
            "checkpoint": data,
            "metadata": json.dumps(about, ensure_ascii=False).encode(),
            "channels": found["channels"],
            "run_id": None,
            "root_id": None,
        },
    )
    return str(made["id"])


def followed(tx: Tx, thread_id: str, checkpoint_id: str) -> bool:
    """Whether a checkpoint of the thread comes after it."""
    sql = "SELECT 1 FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' AND parent_checkpoint_id = :at"
    return tx.one(sql, thread_id=thread_id, at=checkpoint_id) is not None
