"""The runs of a thread, and the receipts of its tools, as they leave a database and come into another."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from threadmill.errors import Conflict
from threadmill.events import timings
from threadmill.ids import number, stamp
from threadmill.jsonable import dumps_text
from threadmill.runs.run import ACTIVE, CRASHED, STATUSES
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.serde import Serializer

Record = dict[str, Any]
JSON = ("metadata", "kwargs", "error", "recovery")
PLAIN = ("run_id", "assistant_id", "status", "multitask_strategy", "created_at", "updated_at", "position", "attempt")
SEQS = ("first_seq", "last_seq")
SECRET = "langgraph_auth"  # how keys begin that say who asked


def leave(tx: Tx, thread_id: str) -> list[Record]:
    """In their order. One that is under way leaves as interrupted: where it comes to, nobody executes it."""
    rows = tx.all("SELECT * FROM runs WHERE thread_id = :thread_id ORDER BY position", thread_id=thread_id)
    records = []
    for row in rows:
        record = {name: row[name] for name in (*PLAIN, *SEQS)}
        record |= {name: json.loads(row[name]) if row[name] is not None else None for name in JSON}
        if row["timings"] is not None:
            record["timings"] = json.loads(row["timings"])
        if row["status"] in ACTIVE:
            record["status"] = "interrupted"
        records.append(record | {"kwargs": discreet(record["kwargs"])})
    return records


def arrive(tx: Tx, thread_id: str, records: list[Record], name: Callable[[str | None], str | None]) -> None:
    """None of them is ever executed: their statuses are those of runs that have ended."""
    for place, record in enumerate(records, 1):
        kwargs = discreet(record["kwargs"]) | {"webhook": None}
        place_of = kwargs["config"]["configurable"]
        if not isinstance(place_of["graph_id"], str) or record["status"] not in STATUSES or record["status"] in ACTIVE:
            raise ValueError(f"run {record['run_id']} is none")
        if tx.one("SELECT 1 FROM runs WHERE run_id = :run_id", run_id=name(record["run_id"])):
            raise Conflict(f"Run {record['run_id']} already exists, in another thread.")
        place_of |= {"thread_id": thread_id, "run_id": name(record["run_id"])}
        tx.run(
            "INSERT INTO runs (run_id, thread_id, assistant_id, status, metadata, kwargs, multitask_strategy, "
            "created_at, updated_at, start_at, position, attempt, error, crashed, first_seq, last_seq, recovery, "
            "timings) VALUES (:run_id, :thread_id, :assistant_id, :status, :metadata, :kwargs, :multitask_strategy, "
            ":created_at, :updated_at, :created_at, :position, :attempt, :error, :crashed, :first_seq, :last_seq, "
            ":recovery, :timings)",
            run_id=name(str(record["run_id"])),
            thread_id=thread_id,
            assistant_id=str(record["assistant_id"]),
            status=record["status"],
            metadata=dumps_text(dict(record["metadata"])),
            kwargs=dumps_text(kwargs),
            multitask_strategy=str(record["multitask_strategy"]),
            created_at=str(record["created_at"]),
            updated_at=str(record["updated_at"]),
            position=place,
            attempt=number(record["attempt"]),
            error=_packed(record["error"]),
            crashed=(record["error"] or {}).get("error") == CRASHED,
            recovery=_packed(record["recovery"]),
            timings=_packed(timings.carried(record["timings"]) if "timings" in record else None),
            **{one: None if record[one] is None else number(record[one]) for one in SEQS},
        )


def discreet(value: Any) -> Any:
    """Without what says who asked: nobody's business elsewhere, and never to be believed of a file."""
    if isinstance(value, Mapping):
        return {key: discreet(one) for key, one in value.items() if not (one and str(key).startswith(SECRET))}
    return [discreet(one) for one in value] if isinstance(value, list) else value


def leave_receipts(tx: Tx, serde: Serializer, thread_id: str, change: Callable[[Any], Any] | None) -> list[Record]:
    rows = tx.all("SELECT * FROM receipts WHERE thread_id = :thread_id ORDER BY started_at", thread_id=thread_id)
    records = []
    for row in rows:
        record = {name: row[name] for name in ("call", "step", "run_id", "started_at", "finished_at")}
        if row["type"] is not None:
            kind, data = serde.opened(row["type"], row["output"])
            kind, data = (kind, data) if change is None else serde.pack(change(serde.unpack(kind, data)))
            record |= {"kind": kind, "data": base64.b64encode(data).decode()}
        records.append(record)
    return records


def arrive_receipts(
    tx: Tx, serde: Serializer, thread_id: str, records: list[Record], name: Callable[[str | None], str | None]
) -> None:
    if len({(record["call"], record["step"]) for record in records}) < len(records):
        raise ValueError("a receipt is there twice")
    for record in records:
        kind = data = None
        if "kind" in record:
            kind, data = str(record["kind"]), base64.b64decode(record["data"], validate=True)
            serde.unpack(kind, data)
            kind, data = serde.closed(kind, data)
        tx.run(
            "INSERT INTO receipts (thread_id, call, step, run_id, started_at, finished_at, type, output) VALUES "
            "(:thread_id, :call, :step, :run_id, :started_at, :finished_at, :kind, :data)",
            thread_id=thread_id,
            call=str(record["call"]),
            step=str(record["step"]),
            run_id=name(str(record["run_id"])),
            started_at=str(record["started_at"] or stamp(tx.now)),
            finished_at=record["finished_at"],
            kind=kind,
            data=data,
        )


def _packed(value: Any) -> str | None:
    return None if value is None else dumps_text(value)
