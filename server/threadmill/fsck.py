"""Looking for what is wrong in a database, and mending it. Says what it found and what it did."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import orjson
from langchain_core.messages import AIMessageChunk, BaseMessage, message_chunk_to_message

from threadmill import adoption
from threadmill.events.event import END, ROOM, STOPPED, Event
from threadmill.events.rows import insert
from threadmill.ids import stamp
from threadmill.interrupts import of_head
from threadmill.jsonable import dumps
from threadmill.runs import repair as closing
from threadmill.runs.run import ACTIVE
from threadmill_checkpoints.database import Row, Tx
from threadmill_checkpoints.saver import checks
from threadmill_checkpoints.saver.blobs import Reader
from threadmill_checkpoints.saver.checks import Fault
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import put_together
from threadmill_checkpoints.serde import Serializer, Unreadable

# By table: what a row of it belongs to.
OWNED = {
    "runs": "thread_id NOT IN (SELECT thread_id FROM threads)",
    "events": "thread_id NOT IN (SELECT thread_id FROM threads)",
    "thread_values": "thread_id NOT IN (SELECT thread_id FROM threads)",
    "interrupts": "thread_id NOT IN (SELECT thread_id FROM threads)",
    "receipts": "thread_id NOT IN (SELECT thread_id FROM threads)",
    "injections": "run_id NOT IN (SELECT run_id FROM runs)",
}
DAMAGED = "damaged file"
NAMES = {"runs": "orphan run", "events": "orphan event"}


def check(tx: Tx, serde: Serializer, advance: Callable[[int], None], *, repair: bool) -> Iterator[Fault]:
    yield from _file(tx)
    yield from _orphans(tx, repair)
    yield from checks.check(tx, serde, repair=repair)
    yield from _strangers(tx, serde, repair)
    for row in tx.all("SELECT thread_id FROM threads ORDER BY thread_id"):
        yield from _logs(tx, row["thread_id"], repair)
        yield from _messages(tx, serde, row["thread_id"], repair)
        advance(1)


def _file(tx: Tx) -> Iterator[Fault]:
    for row in tx.all("PRAGMA integrity_check(20)"):
        if (said := row["integrity_check"]) != "ok":
            yield Fault(DAMAGED, None, str(said), None)


def _orphans(tx: Tx, repair: bool) -> Iterator[Fault]:
    for table, orphaned in OWNED.items():
        row = tx.one(f"SELECT count(*) AS count FROM {table} WHERE {orphaned}")
        if row and row["count"]:
            if repair:
                tx.run(f"DELETE FROM {table} WHERE {orphaned}")
            yield Fault(NAMES.get(table, "orphan row"), None, f"{row['count']} in {table}, of nothing", "deleted")


def _strangers(tx: Tx, serde: Serializer, repair: bool) -> Iterator[Fault]:
    for row in tx.all(
        "SELECT DISTINCT thread_id FROM checkpoints WHERE checkpoint_ns = '' "
        "AND thread_id NOT IN (SELECT thread_id FROM threads)"
    ):
        if repair:
            adoption.adopt(tx, serde, row["thread_id"], {})
        yield Fault("states of no thread", row["thread_id"], "it has checkpoints, and is in no list", "made a thread")


def _logs(tx: Tx, thread_id: str, repair: bool) -> Iterator[Fault]:
    """A run that has ended tells of its end; without that its readers wait, and its last message stays half."""
    for run in tx.all(
        "SELECT run_id, status, last_seq FROM runs WHERE thread_id = :thread_id AND first_seq IS NOT NULL AND "
        "status NOT IN (SELECT value FROM json_each(:active)) AND NOT EXISTS (SELECT 1 FROM events WHERE "
        "events.thread_id = runs.thread_id AND events.run_id = runs.run_id AND events.last_seq >= "
        "coalesce(runs.last_seq, 9e18) - :room)",
        thread_id=thread_id,
        active=orjson.dumps(ACTIVE).decode(),
        room=ROOM,
    ):
        if repair:
            _end(tx, thread_id, run)
        what = f"the log of run {run['run_id']} breaks off before its end"
        yield Fault("half message", thread_id, what, "its end is told, and what is unfinished is said to stay so")


def _end(tx: Tx, thread_id: str, run: Row) -> None:
    told = [(STOPPED, dumps({})), (END, dumps({"run_id": run["run_id"], "status": run["status"]}))]
    row = tx.one(
        "UPDATE threads SET seq = seq + :count WHERE thread_id = :thread_id RETURNING seq",
        thread_id=thread_id,
        count=len(told) * ROOM,
    )
    assert row is not None
    first, at = row["seq"] - len(told) * ROOM + 1, int(tx.now.timestamp() * 1000)
    events = [
        Event(first + place * ROOM, run["run_id"], method, (), data, at) for place, (method, data) in enumerate(told)
    ]
    insert(tx, thread_id, events)
    tx.run(
        "UPDATE runs SET last_seq = :seq, updated_at = :now WHERE run_id = :run_id",
        seq=row["seq"],
        run_id=run["run_id"],
        now=stamp(tx.now),
    )


def _messages(tx: Tx, serde: Serializer, thread_id: str, repair: bool) -> Iterator[Fault]:
    row = tx.one(
        "SELECT open_calls, EXISTS (SELECT 1 FROM runs WHERE runs.thread_id = threads.thread_id "
        "AND status IN ('pending', 'running')) AS busy FROM threads WHERE thread_id = :thread_id",
        thread_id=thread_id,
    )
    head = View(tx, thread_id).get("", None)
    if row is None or row["busy"] or head is None:
        return
    try:
        checkpoint = put_together(serde, head, Reader(tx, serde))
    except Unreadable as error:
        if "missing" not in str(error):  # that is told of already
            yield Fault("unreadable state", thread_id, str(error), None)
        return
    held: Any = checkpoint["channel_values"].get(adoption.MESSAGES)
    if not isinstance(held, list) or not all(isinstance(one, BaseMessage) for one in held):
        return
    whole = [message_chunk_to_message(one) if isinstance(one, AIMessageChunk) else one for one in held]
    faults = []
    if halves := sum(isinstance(one, AIMessageChunk) for one in held):
        faults.append(Fault("half message", thread_id, f"{halves} are stored as pieces", "made whole"))
    waits = bool(of_head(tx, thread_id, serde))
    complete = whole if waits else closing.complete(cast("list[BaseMessage]", whole), {}, closing.LOST)
    if len(complete) > len(whole):
        what = f"{len(complete) - len(whole)} tool calls have no answer: a model refuses that"
        faults.append(Fault("tool call without an answer", thread_id, what, "each has one that says so"))
    if faults and repair:
        adoption.say(tx, serde, thread_id, checkpoint, list(complete))
        adoption.adopt(tx, serde, thread_id, {})
    yield from faults
