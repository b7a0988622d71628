"""States that the log tells of finished runs: not kept a second time, but read from the checkpoint that has them.

A state grows with its conversation. If each run's last one stayed in the log, the log would grow with the square.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from langgraph.checkpoint.serde.base import SerializerProtocol

from threadmill.events.event import Event
from threadmill.jsonable import dumps
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import put_together

RECALLED = "recalled"  # in storage only, for `values`: where they are
KEPT_BYTES = 2048  # what is smaller stays in the log


@dataclass(frozen=True, slots=True)
class Recall:
    serde: SerializerProtocol

    def leave_out(self, tx: Tx, thread_id: str, run_id: str, events: list[Event]) -> list[Event]:
        """Of a finished run: its last state is left out if the run's last checkpoint gives the same bytes."""
        last = next((event for event in reversed(events) if event.method == "values" and not event.namespace), None)
        if last is None or len(last.data) < KEPT_BYTES:
            return events
        row = tx.one(
            "SELECT checkpoint_id FROM checkpoints WHERE thread_id = :thread_id AND checkpoint_ns = '' "
            "AND run_id = :run_id ORDER BY checkpoint_id DESC LIMIT 1",
            thread_id=thread_id,
            run_id=run_id,
        )
        told = orjson.loads(last.data)
        if row is None or not isinstance(told, dict):
            return events
        where = orjson.dumps({"checkpoint_id": row["checkpoint_id"], "keys": list(told)})
        if self._values(tx, thread_id, where) != last.data:
            return events
        return [event._replace(method=RECALLED, data=where) if event is last else event for event in events]

    def restore(self, tx: Tx, thread_id: str, events: list[Event]) -> list[Event]:
        """A state whose checkpoint was pruned is not told any more: nobody knows the method."""
        return [event if event.method != RECALLED else self._told(tx, thread_id, event) for event in events]

    def _told(self, tx: Tx, thread_id: str, event: Event) -> Event:
        data = self._values(tx, thread_id, event.data)
        return event if data is None else event._replace(method="values", data=data)

    def _values(self, tx: Tx, thread_id: str, where: bytes) -> bytes | None:
        wanted = orjson.loads(where)
        row: Row | None = View(tx, thread_id).get("", wanted["checkpoint_id"])
        if row is None:
            return None
        values: dict[str, Any] = put_together(self.serde, row, Reader(tx, self.serde))["channel_values"]
        return dumps({key: values[key] for key in wanted["keys"]}) if set(wanted["keys"]) <= values.keys() else None
