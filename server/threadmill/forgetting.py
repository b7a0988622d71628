"""A message that is forgotten everywhere: in states, forks, writes, the log, inputs, lists and what waits to be sent.

It walks every table that holds what people said; the store and crons are their owner's own to clear. What was erased
lies in free pages of the file until `vacuum`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from threadmill import drafts, interrupts, threads
from threadmill.errors import Conflict, NotFound
from threadmill.events.event import ERROR, INPUT, Event, pack, unpack
from threadmill.events.log import EventLog
from threadmill.scope import ALL, Scope
from threadmill_checkpoints import sealing
from threadmill_checkpoints.database import Database, Row, Tx
from threadmill_checkpoints.saver import forgetting
from threadmill_checkpoints.saver.erasing import Erasure
from threadmill_checkpoints.saver.forks import View
from threadmill_checkpoints.saver.states import Memory
from threadmill_checkpoints.serde import Serializer

NOT_FOUND = "Message {} not found"
BUSY = "A run of thread {} is running: wait for it, or cancel it."
FOREIGN = "Message {} is also in threads that are not the caller's: nothing was erased."
# JSON: table, key, column, and how its rows are those of a thread
JSON = (
    ("runs", "run_id", "kwargs", "thread_id = :thread_id"),
    ("runs", "run_id", "metadata", "thread_id = :thread_id"),
    ("runs", "run_id", "error", "thread_id = :thread_id AND error IS NOT NULL"),
    ("threads", "thread_id", "error", "thread_id = :thread_id AND error IS NOT NULL"),
    ("webhook_deliveries", "run_id", "body", "thread_id = :thread_id AND body IS NOT NULL"),
)
NAMES = {"kwargs": "inputs", "metadata": "metadata", "body": "webhooks", "error": "errors"}


@dataclass(frozen=True, slots=True)
class Forgotten:
    """`counts`: how many of what were changed, over all threads."""

    message_ids: Sequence[str]
    threads: Sequence[str]
    counts: Counter[str]


@dataclass(frozen=True, slots=True)
class Forgetting:
    database: Database
    log: EventLog
    serde: Serializer
    memory: Memory

    async def forget(self, scope: Scope, message_id: str, thread_id: str | None) -> Forgotten:
        """Of a thread and all that share the message with it; without one, of all the caller's threads. Raises
        NotFound, and Conflict if one of them is busy or not the caller's."""
        return await self.database.write(self._forget, scope, message_id, thread_id)

    def _forget(self, tx: Tx, scope: Scope, message_id: str, thread_id: str | None) -> Forgotten:
        found = forgetting.having(tx, self.serde, message_id)
        if thread_id is None:  # a caller finds only what is theirs
            if not any(threads.exists(tx, scope, one) for one in found):
                raise NotFound(NOT_FOUND.format(message_id))
        else:
            threads.get(tx, scope, thread_id, shown=True)
            above = [source for source, _ in View(tx, thread_id).inherited]
            if not {thread_id, *above} & set(found):
                raise NotFound(NOT_FOUND.format(message_id))
        among = forgetting.with_forks(tx, found)
        for one in among:
            if not threads.exists(tx, scope, one) and threads.exists(tx, ALL, one):
                raise Conflict(FOREIGN.format(message_id))
            if tx.one("SELECT 1 FROM runs WHERE thread_id = :id AND status = 'running'", id=one):
                raise Conflict(BUSY.format(one))
        erasure = forgetting.wanted(tx, self.serde, message_id, among)
        with sealing.under(sealing.CONTEXT.get() or tx.context_of(thread_id=among[0])):  # parts are shared under one
            counts = forgetting.erase(tx, self.serde, among, erasure)
        for one in among:
            with sealing.under(tx.context_of(thread_id=one)):
                self._of_thread(tx, one, erasure, counts)
            tx.on_commit(partial(self.log.reread, one))
            tx.on_commit(partial(self.memory.forget, one))
        return Forgotten(sorted(erasure.ids), among, counts)

    def _of_thread(self, tx: Tx, thread_id: str, erasure: Erasure, counts: Counter[str]) -> None:
        counts["events"] += _events(tx, thread_id, erasure)
        for table, key, column, where in JSON:
            for row in tx.all(f"SELECT {key}, {column} FROM {table} WHERE {where}", thread_id=thread_id):
                if (data := _erased(row[column], erasure, erasure.quotes if column == "error" else ())) is not None:
                    counts[NAMES[column]] += 1
                    tx.run(
                        f"UPDATE {table} SET {column} = :{column} WHERE {key} = :{key}", **{column: data, key: row[key]}
                    )
        counts["injections"] += _injections(tx, thread_id, erasure)
        counts["drafts"] += drafts.erase(tx, thread_id, lambda content: _erased(content, erasure) is not None)
        counts["receipts"] += _receipts(tx, self.serde, thread_id, erasure)
        if threads.exists(tx, ALL, thread_id):
            before = erasure.count
            threads.forget_words(tx, thread_id, lambda title: str(erasure.value(title, erasure.said)))
            counts["titles"] += erasure.count - before
            interrupts.put(tx, thread_id, interrupts.of_head(tx, thread_id, self.serde))


def _erased(data: Any, erasure: Erasure, quotes: Sequence[str] = ()) -> Any:
    """None if nothing of it was there."""
    raw = data if isinstance(data, bytes) else str(data).encode()
    if not erasure.touches(raw):
        return None
    before, made = erasure.count, erasure.json(raw, quotes)
    if erasure.count == before:
        return None
    return made if isinstance(data, bytes) else made.decode()


def _events(tx: Tx, thread_id: str, erasure: Erasure) -> int:
    """Tokens of the message become one placeholder; what its tools reported goes."""
    count, told = 0, set[str]()
    for row in tx.all(
        "SELECT first_seq, last_seq, run_id, at, data FROM events WHERE thread_id = :thread_id ORDER BY first_seq",
        thread_id=thread_id,
    ):
        events = list(unpack(row["run_id"], row["data"]))
        kept = [one for event in events for one in _event(event, erasure, told)]
        if kept == events:
            continue
        count += sum(one not in kept for one in events)
        tx.run(
            "DELETE FROM events WHERE thread_id = :thread_id AND first_seq = :first_seq",
            thread_id=thread_id,
            first_seq=row["first_seq"],
        )
        if kept:
            _put(tx, thread_id, row, kept)
    return count


def _put(tx: Tx, thread_id: str, row: Row, events: list[Event]) -> None:
    tx.many(
        "INSERT INTO events (thread_id, first_seq, last_seq, run_id, at, data) VALUES (?, ?, ?, ?, ?, ?)",
        [(thread_id, row["first_seq"], row["last_seq"], row["run_id"], row["at"], pack(events))],
    )


def _event(event: Event, erasure: Erasure, told: set[str]) -> Iterator[Event]:
    if not erasure.touches(event.data):
        yield event
        return
    data = orjson.loads(event.data)
    if event.method == "messages" and isinstance(data, list) and data[0].get("id") in erasure.ids:
        if data[0]["id"] not in told:
            told.add(data[0]["id"])
            yield event._replace(data=erasure.json(event.data))
    elif event.method != "tools" or data.get("tool_call_id") not in erasure.calls:
        yield event._replace(data=erasure.json(event.data, erasure.quotes if event.method in (ERROR, INPUT) else ()))


def _injections(tx: Tx, thread_id: str, erasure: Erasure) -> int:
    count = 0
    for row in tx.all(
        "SELECT run_id, message_id, message FROM injections WHERE run_id IN "
        "(SELECT run_id FROM runs WHERE thread_id = :thread_id)",
        thread_id=thread_id,
    ):
        if (message := _erased(row["message"], erasure)) is not None:
            count += tx.run(
                "UPDATE injections SET message = :message WHERE run_id = :run_id AND message_id = :message_id",
                message=message,
                run_id=row["run_id"],
                message_id=row["message_id"],
            )
    return count


def _receipts(tx: Tx, serde: Serializer, thread_id: str, erasure: Erasure) -> int:
    """What tools with effects have answered: the effect stays done."""
    count = 0
    for row in tx.all(
        "SELECT rowid AS number, call, type, output FROM receipts WHERE thread_id = :thread_id AND output IS NOT NULL",
        thread_id=thread_id,
    ):
        kind, data = serde.opened(row["type"], row["output"])
        if kind == "msgpack" and erasure.touches(data):
            own = row["call"].endswith(tuple(f":{call}" for call in erasure.calls))
            before, made = erasure.count, erasure.packed(data, erasure.quotes if own else erasure.said)
            if erasure.count > before:
                kind, made = serde.closed(kind, made)
                count += tx.run(
                    "UPDATE receipts SET type = :kind, output = :made WHERE rowid = :number",
                    kind=kind,
                    made=made,
                    number=row["number"],
                )
    return count
