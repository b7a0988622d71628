"""What a checkpoint waited for, also when it was answered since."""

import ormsgpack
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import blobs, rows
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.switch import followed


def ask_again(tx: Tx, serde: SerializerProtocol, source: str, checkpoint_id: str, target: str) -> None:
    """Where a fork begins at a checkpoint whose tasks have gone on since, it asks what they asked.

    Not what a subgraph asked, which begins anew under another name, nor what a task asked that asked several things:
    only its last question is known. They are asked when the fork runs.
    """
    found = View(tx, source).get("", checkpoint_id)
    if found is None or not followed(tx, found["thread_id"], checkpoint_id):
        return  # what waits there waits in the fork, too
    written = rows.writes_of(tx, found["thread_id"], "", [checkpoint_id])
    answers = {row["task_id"]: _count(serde, row) for row in written if row["channel"] == "__resume__"}
    asked = [
        row
        for row in written
        if row["channel"] == "__interrupt__"
        and answers.get(row["task_id"], 0) <= 1
        and not rows.interrupts_below(tx, found["thread_id"], row["task_id"])
    ]
    rows.put_writes(tx, [[target, *tuple(row)[1:]] for row in asked])
    inside = [one for row in asked if row["parts"] for one in ormsgpack.unpackb(row["parts"])]
    blobs.hold(tx, blobs.holder(tx, target).owner, blobs.used(tx, inside), checkpoint_id)


def _count(serde: SerializerProtocol, row: Row) -> int:
    """Of answers. What has parts is a long one, or several."""
    if row["parts"]:
        return 2
    value = serde.loads_typed((row["type"], row["value"]))
    return len(value) if isinstance(value, list) else 1
