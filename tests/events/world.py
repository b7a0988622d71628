"""A file, lives of a server on it, its readers, and what may happen to them; for the tests of the log.

A crash is a database whose clock ends its writer: what was queued is never committed, as after kill -9.
"""

import asyncio
import random
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import tables

from threadmill import threads
from threadmill.events import log as module
from threadmill.events import rows
from threadmill.events.event import ROOM, Event, unpack
from threadmill.events.log import EventLog
from threadmill.signals import Signals
from threadmill_checkpoints.database import NoRoom, Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

THREADS = ("a", "b")
WITHIN = 10.0
RING = 200  # bytes: three or four events, so that readers have to go to the disk
FILL = 3_000  # bytes of an event that is to fill the disk


class Process:
    """One life of the server, as far as the log knows it."""

    def __init__(self, file: Path) -> None:
        self.alive = True
        self.database = SqliteDatabase(file, synchronous="NORMAL", readers=2, clock=self._now, prepare=migrate_sqlite)
        self.log = EventLog(self.database, Signals(), ring_bytes=RING)

    def _now(self) -> datetime:
        if not self.alive:
            raise SystemExit  # ends the writer before it commits; threads end quietly on it
        return datetime.now(UTC)

    async def crash(self) -> None:
        self.alive = False
        await self.database.close()

    async def pages(self, more: int | None) -> None:
        """Let the file grow by so many pages and no further; None lifts the limit."""

        def limit(tx: Any) -> None:
            count = tx.one("PRAGMA page_count")["page_count"]
            tx.one(f"PRAGMA max_page_count = {count + more if more is not None else 1 << 30}")

        await self.database.write(limit)


class Follower:
    """A reader; a slow one takes a batch only when told."""

    def __init__(self, process: Process, thread: str, after: int, *, slow: bool, heartbeat: float = 60) -> None:
        self.thread, self.after, self.slow, self.heartbeat = thread, after, slow, heartbeat
        self.got: list[Event] = []
        self.more = asyncio.Semaphore(0)
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._follow(process.log))

    async def _follow(self, log: EventLog) -> None:
        async for batch in log.tail(self.thread, self.after, self.heartbeat):
            self.got += batch
            self.news.set()
            if self.slow and batch:
                await self.more.acquire()

    async def has(self, wanted: list[Event]) -> None:
        """Wait for it to have read exactly that."""
        self.slow = False
        self.more.release()
        with suppress(TimeoutError):
            async with asyncio.timeout(WITHIN):
                while len(self.got) < len(wanted):
                    self.news.clear()
                    await self.news.wait()
        assert self.got == wanted

    async def leave(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Interrupted:
    """A transaction in which something else happens before each of its statements."""

    def __init__(self, tx: Tx, happening: Callable[[], None]) -> None:
        self._tx, self._happening = tx, happening

    def __getattr__(self, name: str) -> Any:
        if name in ("one", "all", "run", "many"):
            self._happening()
        return getattr(self._tx, name)


class World:
    """A file, the process that has it, and what must be true of them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "log.sqlite"
        tables.begin(self.file)
        self.process = Process(self.file)
        self.followers: list[Follower] = []
        self.run: dict[str, str] = {}
        self.said: dict[str, list[tuple[int, int]]] = {thread: [] for thread in THREADS}  # not known to be on disk
        self.safe: dict[str, set[tuple[int, int]]] = {thread: set() for thread in THREADS}
        self.meaning: dict[tuple[str, int], Event] = {}  # what a number meant to whoever saw it
        self.highest = dict.fromkeys(THREADS, 0)  # seen before the last crash
        self.count = 0
        self.said_before = 0  # the last crash
        self.full = False

    async def start(self) -> None:
        for thread in THREADS:
            await self.process.database.write(threads.create, thread)

    # What can happen

    async def open(self, thread: str) -> None:
        if thread in self.run:
            return
        self.count += 1
        with suppress(NoRoom):
            await self.process.database.write(self.process.log.open_run, thread)
            self.run[thread] = f"run {self.count}"

    async def append(self, thread: str, events: int, writers: int, size: int) -> None:
        """From several threads at once; each keeps its own order."""
        await self.open(thread)
        if thread in self.run:
            batches = [[self._said(thread, writer) for _ in range(events)] for writer in range(writers)]
            with ThreadPoolExecutor(writers) as pool:
                list(pool.map(lambda batch: self._append(thread, batch, size), batches))
            await self._turns()

    async def append_under_commit(self, thread: str, events: int, size: int) -> None:
        """While what was appended before is on its way to the disk."""
        await self.append(thread, 1, 1, 0)
        if thread in self.run:
            batch = [self._said(thread, 0) for _ in range(events)]
            await self.process.database.write(lambda _: self._append(thread, batch, size))
            await self._turns()

    def _append(self, thread: str, batch: list[tuple[int, int]], size: int) -> None:
        for what in batch:
            data = orjson.dumps([*what, random.Random(what[1]).randbytes(size).hex()])  # cannot be compressed
            self.process.log.append(thread, self.run[thread], "custom", ("ns",), data)

    async def _turns(self) -> None:
        """Of the event loop, so that readers get to see things before the disk does."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def close(self, thread: str) -> None:
        if thread not in self.run:
            return
        last = self._said(thread, 0)
        try:
            await self.process.database.write(self.process.log.close_run, thread, self.run[thread], ending(last))
        except NoRoom:
            self.said[thread].remove(last)
        else:
            del self.run[thread]
            self._saved(thread)

    async def fail_to_close(self, thread: str) -> None:
        """The transaction that would end the run is rolled back: nobody ever hears of its last event."""
        if thread not in self.run:
            return

        def close(tx: Tx) -> None:
            self.process.log.close_run(tx, thread, self.run[thread], ending((9, -1)))
            raise ZeroDivisionError

        with suppress(ZeroDivisionError, NoRoom):
            await self.process.database.write(close)

    async def close_beside_a_writer(self, thread: str, fails: bool) -> None:
        """A node's thread outlives its run, and still says something while the end is being written, and after it.
        If the run ended, that is not part of it; if it did not, nothing of it is lost."""
        if thread not in self.run or self.full:
            return
        log, run, stray, last = self.process.log, self.run[thread], [], self._said(thread, 0)

        def say() -> None:
            stray.append(self._said(thread, 1))
            self._append(thread, stray[-1:], 30)

        def close(tx: Tx) -> None:
            log.close_run(cast("Tx", Interrupted(tx, say)), thread, run, ending(last))
            say()
            if fails:
                raise ZeroDivisionError

        with suppress(ZeroDivisionError):
            await self.process.database.write(close)
        if fails:
            self.said[thread].remove(last)
        else:
            with suppress(KeyError):  # nobody has the thread's log open
                say()
            for what in stray:
                self.said[thread].remove(what)
            del self.run[thread]
            self._saved(thread)
        await self._turns()

    async def hand_over(self, thread: str) -> None:
        """A run ends, and the next one begins in the same commit."""
        if thread not in self.run or self.full:
            return
        log, run, last = self.process.log, self.run[thread], self._said(thread, 0)

        def close(tx: Tx) -> None:
            log.close_run(tx, thread, run, ending(last))
            log.open_run(tx, thread)

        await self.process.database.write(close)
        self.count += 1
        self.run[thread] = f"run {self.count}"
        self._saved(thread)

    async def record(self, thread: str) -> None:
        """Of a run that no worker has."""
        if thread in self.run or self.full:
            return
        what = self._said(thread, 2)
        told = [("custom", orjson.dumps([*what, ""]))]
        await self.process.database.write(self.process.log.record, thread, "nobody's", told)
        self._saved(thread)

    async def resume(self, thread: str) -> None:
        """Whoever saw something comes back with that as the cursor."""
        seen = max((seq for place, seq in self.meaning if place == thread), default=0)
        for follower in self.followers:
            if follower.thread == thread and follower.got:
                seen = max(seen, follower.got[-1].seq)
        assert seen <= await self.process.log.highest(thread), "a cursor that was given is known"
        await self.join(thread, seen, slow=False)

    async def join_with_commit(self, thread: str) -> None:
        """After a commit, before anybody is woken for it."""
        if thread not in self.run or self.full:
            return
        loop, what = asyncio.get_running_loop(), self._said(thread, 1)

        def commit(tx: Tx) -> None:
            tx.on_commit(
                lambda: asyncio.run_coroutine_threadsafe(self.join(thread, 0, slow=False), loop).result(WITHIN)
            )
            self._append(thread, [what], 30)

        await self.process.database.write(commit)

    async def flush(self) -> None:
        self.process.database.hurry()
        await self.process.database.write(lambda _: None)
        if not self.full:
            for thread in THREADS:
                self._saved(thread)

    async def join(self, thread: str, cursor: int, slow: bool) -> None:
        heartbeat = 60 if len(self.followers) % 2 else 0.001
        self.followers.append(Follower(self.process, thread, cursor, slow=slow, heartbeat=heartbeat))
        await asyncio.sleep(0)

    async def leave(self, which: int) -> None:
        if self.followers:
            await self._leave(self.followers.pop(which % len(self.followers)))

    async def read(self, which: int) -> None:
        if self.followers:
            self.followers[which % len(self.followers)].more.release()
            await asyncio.sleep(0)

    async def fill(self, more: int) -> None:
        if not self.full:
            self.full = True
            await self.process.pages(more)

    async def free(self) -> None:
        if self.full:
            await self.process.pages(None)
            self.full = False

    async def crash(self) -> None:
        while self.followers:
            await self._leave(self.followers.pop())
        await self.process.crash()
        self.highest = {
            thread: max((seq for place, seq in self.meaning if place == thread), default=0) for thread in THREADS
        }
        self.said_before = self.count
        self.process, self.run, self.full = Process(self.file), {}, False
        for thread in THREADS:
            kept = {_said(event) for event in await self._on_disk(thread)}
            lost = [what for what in self.said[thread] if what not in kept]
            self.said[thread] = [what for what in self.said[thread] if what in kept]
            for writer, number in lost:
                later = {what for what in kept if what[0] == writer and what[1] > number}
                assert not later, "a crash takes the newest events only"
            self._saved(thread)

    async def settle(self) -> None:
        """Everything written, every reader up to date: now all of them must agree."""
        await self.free()
        await self.flush()
        for thread in THREADS:
            stored = await self._on_disk(thread)
            assert [event.seq for event in stored] == sorted({event.seq for event in stored}), "numbers grow"
            said = [_said(event) for event in stored]
            assert len(said) == len(set(said)) and set(said) == self.safe[thread], "each once, none lost"
            for writer in range(3):
                numbers = [number for who, number in said if who == writer]
                assert numbers == sorted(numbers), "in the order of the calls"
            for follower in self.followers:
                if follower.thread == thread:
                    await follower.has([event for event in stored if event.seq > follower.after])
                    self._remember(follower)
        for (thread, seq), event in self.meaning.items():
            if seq > self.highest[thread]:
                assert _said(event) in self.safe[thread]

    async def end(self) -> None:
        while self.followers:
            await self._leave(self.followers.pop())
        await self.process.database.close()

    # What must be true

    def _said(self, thread: str, writer: int) -> tuple[int, int]:
        self.count += 1
        self.said[thread].append((writer, self.count))
        return writer, self.count

    def _saved(self, thread: str) -> None:
        self.safe[thread] |= set(self.said[thread])
        self.said[thread] = []

    async def _on_disk(self, thread: str) -> list[Event]:
        def rows(tx: Tx) -> list[Event]:
            sql = "SELECT run_id, data FROM events WHERE thread_id = :thread ORDER BY first_seq"
            return [event for row in tx.all(sql, thread=thread) for event in unpack(row["run_id"], row["data"])]

        return await self.process.database.read(rows)

    async def _leave(self, follower: Follower) -> None:
        await follower.leave()
        self._remember(follower)

    def _remember(self, follower: Follower) -> None:
        seqs = [event.seq for event in follower.got]
        assert seqs == sorted(set(seqs)), "exactly once, in order"
        assert all(seq > follower.after for seq in seqs)
        known = self.safe[follower.thread] | set(self.said[follower.thread])
        for event in follower.got:
            assert self.meaning.setdefault((follower.thread, event.seq), event) == event, "a number means one thing"
            if _said(event)[1] > self.said_before:
                assert event.seq > self.highest[follower.thread], "above all that anybody saw before the crash"
            assert _said(event) in known, "nobody sees what was never said"


def _said(event: Event) -> tuple[int, int]:
    writer, number, _ = orjson.loads(event.data)
    return writer, number


def ending(what: tuple[int, int]) -> list[tuple[str, bytes]]:
    return [("end", orjson.dumps([*what, ""]))]


def in_world(live: Any) -> None:
    """Small blocks and pages, so that a few events already cross their borders."""

    async def run(folder: Path) -> None:
        world = World(folder)
        try:
            await live(world)
        finally:
            await world.end()

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 8 * ROOM)
        patch.setattr(rows, "PAGE_ROWS", 2)
        patch.setattr(module, "LOOK_S", 1e9)  # whoever is not woken stays behind, and is found
        asyncio.run(run(Path(folder)))


def started(live: Any) -> Any:
    async def run(world: World) -> None:
        await world.start()
        await live(world)

    return run
