"""The row of a thread whose history came from elsewhere: what lists show of it, as its newest checkpoint has it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from threadmill import interrupts, threads
from threadmill.ids import stamp
from threadmill.jsonable import dumps
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import put_together
from threadmill_checkpoints.serde import Serializer

INTERNAL = ("__", "branch:", "start:", "join:")  # how channels begin that are LangGraph's own


def adopt(tx: Tx, serde: Serializer, thread_id: str, metadata: Mapping[str, Any]) -> None:
    """Give the thread a row, or bring the one it has up to its checkpoints. `metadata` are those of a new one."""
    threads.create(tx, thread_id, metadata=metadata, if_exists="do_nothing")
    head = View(tx, thread_id).get("", None)
    if head is None:
        return
    values = values_of(serde, tx, head)
    pending = interrupts.of_head(tx, thread_id, serde.loads_typed)
    threads.set_state(
        tx,
        thread_id,
        outcome="interrupted" if pending else "idle",
        values=dumps(values),
        pending=pending,
        summary=threads.summarise(values.get("messages")),
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
