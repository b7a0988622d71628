"""The timings of a thread's runs, the newest first."""

from typing import Any

import orjson

from threadmill import threads
from threadmill.errors import NotFound
from threadmill.events import rows
from threadmill.events.event import ROOM, unpack
from threadmill.events.timings import timings
from threadmill.scope import Scope
from threadmill_checkpoints.database import Row, Tx

READ_BYTES = 4 << 20  # of runs that are not folded yet, as they are stored: more than that is another page


def page(tx: Tx, scope: Scope, thread_id: str, limit: int, before: str | None) -> dict[str, Any]:
    """Of at most `limit` runs that have ended, and begun before the run `before`. Raises NotFound."""
    threads.require(tx, scope, thread_id)
    rows = tx.all(
        "SELECT run_id, first_seq, last_seq, timings FROM runs WHERE thread_id = :thread_id AND last_seq IS NOT NULL "
        "AND (:position IS NULL OR position < :position) ORDER BY position DESC LIMIT :more",
        thread_id=thread_id,
        position=None if before is None else _position(tx, thread_id, before),
        more=limit + 1,
    )
    shown: list[dict[str, Any]] = []
    size = 0
    for row in rows[:limit]:
        if size > READ_BYTES:
            break
        packed = [] if row["timings"] else _packed(tx, thread_id, row)
        size += sum(map(len, packed))
        shown.append(_shown(row, packed))
    return {"runs": shown, "next_before": shown[-1]["run_id"] if len(shown) < len(rows) else None}


def _position(tx: Tx, thread_id: str, run_id: str) -> int:
    row = tx.one(
        "SELECT position FROM runs WHERE run_id = :run_id AND thread_id = :thread_id",
        run_id=run_id,
        thread_id=thread_id,
    )
    if row is None:
        raise NotFound("Run not found")
    position: int = row["position"]
    return position


def _packed(tx: Tx, thread_id: str, row: Row) -> list[bytes]:
    first = row["last_seq"] if row["first_seq"] is None else row["first_seq"]  # one that never began has its end only
    return rows.within(tx, thread_id, row["run_id"], first - ROOM, row["last_seq"])


def _shown(row: Row, packed: list[bytes]) -> dict[str, Any]:
    run_id = row["run_id"]
    told = (event for one in packed for event in unpack(run_id, one))
    found = orjson.loads(row["timings"]) if row["timings"] else timings(told)
    return {
        "run_id": run_id,
        "started_at": found["began"],
        "ended_at": found["ended"],
        "messages": {
            one: {"first_token_ms": first, "finished_ms": last} for one, (first, last) in found["messages"].items()
        },
        "tools": found["tools"],
    }
