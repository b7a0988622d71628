"""One durable, append-only event log per thread.

Writers append from the graphs' threads; readers tail from the HTTP loop; they meet only here. A new event gets the
thread's next number and is visible at once, from a ring in memory; within one flush window it is on disk, in one row
with its neighbours. Between two numbers there is room for what a protocol makes of one event. Numbers are reserved in
blocks before they are used, so that after a crash they go on above any that a reader may have seen. What ends a run
becomes visible only after its commit (`close_run`).
"""

import threading
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial

from threadmill.events import rows
from threadmill.events.event import ROOM, Event
from threadmill.events.recall import Recall
from threadmill.events.tail import Tail
from threadmill.signals import Signals
from threadmill_checkpoints.database import Database, Tx

BLOCK = 2048 * ROOM  # numbers reserved at a time
Told = tuple[str, bytes] | tuple[str, bytes, tuple[str, ...]]  # method, data, and its namespace unless it is the root
LOOK_S = 60.0  # between two looks at the disk by a reader that nobody wakes


class EventLog:
    """`flush_s`: longest time an event stays off the disk; `ring_bytes`: memory per thread for recent events."""

    def __init__(
        self,
        database: Database,
        signals: Signals,
        *,
        flush_s: float = 0.02,
        ring_bytes: int = 4 << 20,
        recall: Recall | None = None,
    ) -> None:
        self._recall = recall
        self._database = database
        self._signals = signals
        self._flush_s = flush_s
        self._ring_bytes = ring_bytes
        self._tails: dict[str, Tail] = {}
        self._dirty: set[str] = set()
        self._opening: dict[str, int] = {}  # first number of a run whose start is being committed
        self._lock = threading.Lock()  # guards which tails there are; taken before a tail's own
        self._closing = False

    # Writing

    def open_run(self, tx: Tx, thread_id: str, owner: tuple[str, int] | None = None) -> int:
        """In the transaction that starts a run: reserve numbers for it. Returns the first one. Events of the `owner`
        (run, attempt) are refused once another attempt has taken over."""
        row = tx.one(
            "UPDATE threads SET seq = seq + :block WHERE thread_id = :thread_id RETURNING seq",
            block=BLOCK,
            thread_id=thread_id,
        )
        if row is None:
            raise LookupError(f"thread {thread_id} is gone")
        limit: int = row["seq"]
        first = limit - BLOCK + 1
        self._opening[thread_id] = first

        def ready() -> None:
            with self._lock:
                tail = self._tails.setdefault(thread_id, Tail())
                with tail.lock:
                    tail.next_seq, tail.limit, tail.owner = first, limit, owner
                    if tail.floor is None:
                        tail.floor = tail.durable = first - 1
                    tail.writing = True  # last: `highest` looks without a lock
            settled()

        def settled() -> None:
            self._opening.pop(thread_id, None)

        tx.on_rollback(settled)
        tx.on_commit(ready)
        return first

    def append(self, thread_id: str, run_id: str, method: str, namespace: tuple[str, ...], data: bytes) -> None:
        """From any thread. Order of calls is order in the log. A node's thread may outlive its run: what it says when
        that has ended is dropped, as the next run gets the numbers."""
        tail = self._tails.get(thread_id)
        if tail is None:
            return
        with tail.lock:
            if not tail.writing or (tail.owner is not None and run_id not in ("", tail.owner[0])):
                return
            event = Event(tail.next_seq, run_id, method, namespace, data, _now())
            tail.next_seq += ROOM
            if tail.closing:
                tail.late.append(event)
                return
            tail.add(event)
            first = len(tail.pending) == 1
        if first:
            self._flush_soon(thread_id)
        self._signals.notify(f"thread:{thread_id}")

    def _flush_soon(self, thread_id: str) -> None:
        self._dirty.add(thread_id)
        self._database.soon(self._flush, self._flush_s)

    def close_run(self, tx: Tx, thread_id: str, run_id: str, last: Sequence[tuple[str, bytes]]) -> int:
        """In the transaction that ends or puts back a run: everything pending, then the `last` (method, data),
        which nobody sees before the commit. Returns the log's highest number; unused ones are given back.
        """
        tail = self._tails[thread_id]
        with tail.lock:
            final = _numbered(tail.next_seq, run_id, last)
            tail.next_seq += len(final) * ROOM
            highest = tail.next_seq - 1
            tail.closing = True
        tx.run("UPDATE threads SET seq = :seq WHERE thread_id = :thread_id", seq=highest, thread_id=thread_id)

        def closed() -> None:
            with self._lock, tail.lock:
                tail.writing = tail.closing = False
                tail.late = []
                self._forget_if_idle(thread_id, tail)

        def stays_open() -> None:
            with tail.lock:
                tail.closing = False
                for event in tail.late:
                    tail.add(event)
                tail.late = []
            self._flush_soon(thread_id)
            self._signals.notify(f"thread:{thread_id}")

        tx.on_rollback(stays_open)
        self._write(tx, thread_id, tail, final, highest)
        tx.on_commit(closed)
        return highest

    def give_up(self, tx: Tx, thread_id: str, owner: tuple[str, int]) -> None:
        """The owner lost its run, and goes without a word; another may have its place already, or in this commit."""
        tail = self._tails.get(thread_id)
        if tail is not None and tail.writing and tail.owner == owner and thread_id not in self._opening:
            self.close_run(tx, thread_id, owner[0], [])

    def record(self, tx: Tx, thread_id: str, run_id: str, last: Sequence[Told]) -> int:
        """The `last` events of a run or attempt that no worker has. Returns their highest number."""
        row = tx.one(
            "UPDATE threads SET seq = seq + :count WHERE thread_id = :thread_id RETURNING seq",
            count=len(last) * ROOM,
            thread_id=thread_id,
        )
        highest: int = row["seq"] if row else 0
        events = _numbered(highest - len(last) * ROOM + 1, run_id, last)
        rows.insert(tx, thread_id, events)

        def committed() -> None:
            tail = self._tails.get(thread_id)
            if tail is not None:
                with tail.lock:
                    if tail.floor is not None:
                        tail.show(events)
                        tail.durable = max(tail.durable, highest)
            self._signals.notify(f"thread:{thread_id}")

        tx.on_commit(committed)
        return highest

    def announce(self, tx: Tx, thread_id: str, method: str, data: bytes) -> None:
        """An event of no run, whether one is under way or not."""
        tail = self._tails.get(thread_id)
        if tail is not None and tail.writing and not tail.closing:
            self.append(thread_id, "", method, (), data)
        elif tx.one("SELECT 1 FROM runs WHERE thread_id = :id AND status = 'running'", id=thread_id):
            # It begins in this very commit, with numbers that are reserved but not ours to give before that.
            tx.on_commit(partial(self.append, thread_id, "", method, (), data))
        else:
            self.record(tx, thread_id, "", [(method, data)])

    def _flush(self, tx: Tx) -> None:
        """With some commit of the database: write what any thread has pending."""
        while self._dirty:
            thread_id = self._dirty.pop()
            tail = self._tails.get(thread_id)
            if tail is None or not tail.pending:
                continue
            limit = tail.limit
            if limit - tail.next_seq < BLOCK // 2:
                row = tx.one(
                    "UPDATE threads SET seq = seq + :block WHERE thread_id = :thread_id RETURNING seq",
                    block=max(BLOCK, tail.next_seq - limit + BLOCK),
                    thread_id=thread_id,
                )
                limit = row["seq"] if row else limit
            self._write(tx, thread_id, tail, [], limit)

    def _write(self, tx: Tx, thread_id: str, tail: Tail, final: list[Event], limit: int) -> None:
        with tail.lock:
            events, tail.pending = tail.pending + final, []

        def failed() -> None:
            with tail.lock:
                # Of several writes in one failed commit, the newest may come here last.
                tail.pending = sorted(events[: len(events) - len(final)] + tail.pending, key=_number)
            self._dirty.add(thread_id)
            self._database.soon(self._flush, self._flush_s * 10)

        def committed() -> None:
            with tail.lock:
                tail.limit = max(tail.limit, limit)
                if events:
                    tail.durable = events[-1].seq
                if tail.pending:  # of a write before this one that failed alone
                    tail.durable = min(tail.durable, tail.pending[0].seq - 1)
                visible = [event for event in tail.hidden if event.seq + ROOM - 1 <= tail.limit]
                tail.hidden = tail.hidden[len(visible) :]
                tail.show([*visible, *final])
                tail.trim(self._ring_bytes)
            if visible or final:
                self._signals.notify(f"thread:{thread_id}")

        tx.on_rollback(failed)  # before the insert: a full disk fails it
        tx.on_commit(committed)
        rows.insert(tx, thread_id, _not_refused(tx, tail.owner, events))

    # Reading

    async def tail(self, thread_id: str, after: int, heartbeat_s: float, also: str = "") -> AsyncIterator[list[Event]]:
        """Batches of the events numbered above `after`: what is stored, then what comes, live.

        An empty batch says that nothing came for `heartbeat_s`, or that the topic `also` was notified. Ends when the
        log is closed. Holds no connection while the consumer is busy, and never slows a writer.
        """
        topic = f"thread:{thread_id}"
        with self._signals.subscribe(topic, also) as waiter, self._signals.subscribe(also) as changed:
            tail = self._enter(thread_id)
            quiet, looked = False, 0.0
            try:
                while True:
                    with tail.lock:
                        events, floor = tail.after(after), tail.floor
                    # What gets to the disk wakes us: a heartbeat is no reason to read it again.
                    if events is None and (not quiet or time.monotonic() - looked > LOOK_S):
                        looked = time.monotonic()
                        events = await self._database.read(self._stored, thread_id, after)
                        if not events and floor is not None:  # up to there are only numbers that nobody used
                            after = floor
                            continue
                    if events:
                        after = events[-1].seq
                        quiet = False
                        yield events
                        continue
                    if self._closing:
                        return
                    if quiet or changed.take():
                        quiet = False
                        yield []
                    quiet = not await waiter.wait(heartbeat_s)
            finally:
                self._leave(thread_id, tail)

    async def read(self, thread_id: str, after: int) -> list[Event]:
        """What there is now, numbered above `after`."""
        highest, found = await self.highest(thread_id), list[Event]()
        if highest <= after:
            return found
        async for batch in self.tail(thread_id, after, 0.0):
            found += batch
            if not batch or batch[-1].seq + ROOM > highest:
                break
        return found

    def _stored(self, tx: Tx, thread_id: str, after: int) -> list[Event]:
        found = rows.page(tx, thread_id, after)
        return found if self._recall is None else self._recall.restore(tx, thread_id, found)

    async def highest(self, thread_id: str) -> int:
        """The highest number that a reader can have seen."""
        tail = self._tails.get(thread_id)
        if tail is not None and tail.writing:
            return tail.next_seq - 1
        reserved = await self._database.read(_reserved, thread_id)
        # A run that began meanwhile has reserved numbers that nobody has seen: a cursor there would skip them.
        opening, tail = self._opening.get(thread_id), self._tails.get(thread_id)
        if opening is not None:
            return opening - 1
        return tail.next_seq - 1 if tail is not None and tail.writing else reserved

    def erase_run(self, tx: Tx, thread_id: str, run_id: str, *, kept: str | None = None) -> None:
        """The run is deleted or rolled back, but for its last event of method `kept`; a reader that is at it has it
        from memory."""
        ends = [one for one in rows.of_run(tx, thread_id, run_id) if one.method == kept] if kept else []
        tx.run(
            "DELETE FROM events WHERE thread_id = :thread_id AND run_id = :run_id", thread_id=thread_id, run_id=run_id
        )
        rows.insert(tx, thread_id, ends[-1:])

    def reread(self, thread_id: str) -> None:
        """What is on disk has changed: who reads on from here reads it there."""
        tail = self._tails.get(thread_id)
        if tail is not None:
            with tail.lock:
                if tail.ring and tail.floor is not None:
                    tail.floor = max(tail.floor, tail.ring[-1].seq)
                tail.ring.clear()
                tail.ring_bytes = 0

    def forget(self, thread_id: str) -> None:
        """The thread was deleted; who reads a run of it learns that from the run."""
        with self._lock:
            tail = self._tails.pop(thread_id, None)
        if tail is not None:
            with tail.lock:
                tail.pending, tail.writing = [], False
        self._signals.notify(f"gone:{thread_id}")

    def close(self) -> None:
        """Let readers finish what there is, then end them: the server stops."""
        self._closing = True
        self._signals.notify_all()

    @property
    def closing(self) -> bool:
        """The server stops: nothing more will come."""
        return self._closing

    def _enter(self, thread_id: str) -> Tail:
        with self._lock:
            tail = self._tails.setdefault(thread_id, Tail())
            tail.readers += 1
            return tail

    def _leave(self, thread_id: str, tail: Tail) -> None:
        with self._lock, tail.lock:
            tail.readers -= 1
            self._forget_if_idle(thread_id, tail)

    def _forget_if_idle(self, thread_id: str, tail: Tail) -> None:
        if not tail.writing and not tail.readers and not tail.pending and self._tails.get(thread_id) is tail:
            del self._tails[thread_id]


def _number(event: Event) -> int:
    return event.seq


def _now() -> int:
    return time.time_ns() // 1_000_000


def _numbered(first: int, run_id: str, told: Sequence[Told]) -> list[Event]:
    at = _now()
    return [
        Event(first + place * ROOM, run_id, method, where[0] if where else (), data, at)
        for place, (method, data, *where) in enumerate(told)
    ]


def _not_refused(tx: Tx, owner: tuple[str, int] | None, events: list[Event]) -> list[Event]:
    if owner is None or tx.one(
        "SELECT 1 FROM runs WHERE run_id = :run_id AND attempt = :attempt AND status = 'running'",
        run_id=owner[0],
        attempt=owner[1],
    ):
        return events
    return [event for event in events if event.run_id != owner[0]]


def _reserved(tx: Tx, thread_id: str) -> int:
    row = tx.one("SELECT seq FROM threads WHERE thread_id = :thread_id", thread_id=thread_id)
    return row["seq"] if row else 0
