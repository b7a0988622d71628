"""Any interleaving of writers, readers, commits that fail and crashes converges to one log.

A crash is a database whose clock ends its writer: what was queued is never committed, as after kill -9.
"""

import asyncio
import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threadmill import threads
from threadmill.events import log as module
from threadmill.events.event import Event, pack, unpack
from threadmill.events.log import EventLog
from threadmill.scope import ALL
from threadmill.signals import Signals
from threadmill_checkpoints.database import NoRoom, Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a crash is one

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

    def __init__(self, process: Process, thread: str, after: int, *, slow: bool) -> None:
        self.thread, self.after, self.slow = thread, after, slow
        self.got: list[Event] = []
        self.more = asyncio.Semaphore(0)
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self._follow(process.log))

    async def _follow(self, log: EventLog) -> None:
        async for batch in log.tail(self.thread, self.after, 60):
            self.got += batch
            self.news.set()
            if self.slow:
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


class World:
    """A file, the process that has it, and what must be true of them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "log.sqlite"
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
            await self.process.database.write(self.process.log.close_run, thread, self.run[thread], _last(last))
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
            self.process.log.close_run(tx, thread, self.run[thread], _last((9, -1)))
            raise ZeroDivisionError

        with suppress(ZeroDivisionError, NoRoom):
            await self.process.database.write(close)

    async def flush(self) -> None:
        self.process.database.hurry()
        await self.process.database.write(lambda _: None)
        if not self.full:
            for thread in THREADS:
                self._saved(thread)

    async def join(self, thread: str, cursor: int, slow: bool) -> None:
        self.followers.append(Follower(self.process, thread, cursor, slow=slow))
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


def _last(what: tuple[int, int]) -> list[tuple[str, bytes]]:
    return [("end", orjson.dumps([*what, ""]))]


in_thread = st.sampled_from(THREADS)
which = st.integers(0, 5)
append = st.tuples(
    st.just("append"), in_thread, st.integers(1, 12), st.integers(1, 3), st.sampled_from([0, 30, 30, FILL])
)
join = st.tuples(st.just("join"), in_thread, st.sampled_from([0, 0, 0, 5, 20, 60]), st.booleans())
happenings = st.one_of(
    st.tuples(st.just("open"), in_thread),
    *[append] * 5,
    *[join] * 3,
    st.tuples(st.just("append_under_commit"), in_thread, st.integers(1, 9), st.sampled_from([30, 100])),
    st.tuples(st.just("close"), in_thread),
    st.tuples(st.just("fail_to_close"), in_thread),
    st.tuples(st.just("flush")),
    st.tuples(st.just("read"), which),
    st.tuples(st.just("leave"), which),
    st.tuples(st.just("fill"), st.integers(0, 3)),
    st.tuples(st.just("free")),
    *[st.tuples(st.just("crash"))] * 2,
    st.tuples(st.just("settle")),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(happenings, min_size=12, max_size=40))
def test_any_interleaving_converges(story: list[tuple[Any, ...]]) -> None:
    async def live(world: World) -> None:
        await world.start()
        for thread in THREADS:
            await world.open(thread)
        for what, *how in story:
            await getattr(world, what)(*how)
        await world.settle()
        await world.crash()
        for thread in THREADS:
            await world.join(thread, 0, slow=False)
        await world.settle()

    in_world(live)


def in_world(live: Any) -> None:
    """Small blocks and pages, so that a few events already cross their borders."""

    async def run(folder: Path) -> None:
        world = World(folder)
        try:
            await live(world)
        finally:
            await world.end()

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 8 * module.ROOM)
        patch.setattr(module, "PAGE_ROWS", 2)
        asyncio.run(run(Path(folder)))


def test_the_end_of_a_run_is_seen_after_its_commit_only() -> None:
    async def live(world: World) -> None:
        await world.open("a")
        follower = Follower(world.process, "a", 0, slow=False)
        await world.append("a", 3, 1, 0)
        loop = asyncio.get_running_loop()
        early: list[Event] = []

        async def look() -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            early.extend(follower.got)

        def close(tx: Tx) -> None:
            world.process.log.close_run(tx, "a", "run 1", _last((0, 99)))
            asyncio.run_coroutine_threadsafe(look(), loop).result(WITHIN)

        await world.process.database.write(close)
        await follower.has(await world._on_disk("a"))
        assert len(early) == 3
        assert [event.method for event in follower.got] == ["custom"] * 3 + ["end"]
        await follower.leave()

    in_world(started(live))


def started(live: Any) -> Any:
    async def run(world: World) -> None:
        await world.start()
        await live(world)

    return run


def test_a_reader_that_is_reading_while_the_log_moves_on_misses_nothing() -> None:
    """It asks the disk across a gap in the numbers and gets nothing; before it hears so, events come and go."""

    async def live(world: World) -> None:
        await world.open("a")
        await world.append("a", 2, 1, 0)
        await world.flush()
        await world.crash()
        await world.open("a")
        database, gone = world.process.database, asyncio.Event()
        read = database.read

        async def late(fn: Any, *args: Any) -> Any:
            answer = await read(fn, *args)
            if not gone.is_set():
                await world.append("a", 9, 1, 100)
                await world.flush()
                gone.set()
            return answer

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "read", late)
            follower = Follower(world.process, "a", 2 * module.ROOM, slow=False)
            await gone.wait()
        await follower.has([event for event in await world._on_disk("a") if event.seq > 2 * module.ROOM])
        assert len(follower.got) == 9
        await follower.leave()

    in_world(started(live))


def test_a_full_disk_loses_nothing() -> None:
    async def live(world: World) -> None:
        for thread in THREADS:
            await world.open(thread)
        await world.join("a", 0, slow=False)
        await world.fill(0)
        for thread in THREADS:
            await world.append(thread, 20, 1, FILL)
        with pytest.raises(NoRoom, match="full"):
            await world.process.database.write(world.process.log.close_run, "a", "run 1", _last((0, 99)))
        await world.flush()
        assert not await world._on_disk("a"), "the disk was not full: the test shows nothing"
        await world.settle()
        assert len(await world._on_disk("a")) == 20

    in_world(started(live))


def test_the_log_ends_its_readers_when_it_is_closed() -> None:
    async def live(world: World) -> None:
        await world.open("a")
        follower = Follower(world.process, "a", 0, slow=False)
        await world.append("a", 3, 1, 0)
        await world.close("a")
        world.process.log.close()
        async with asyncio.timeout(WITHIN):
            await follower.task
        assert len(follower.got) == 4, "they still get what there is"

    in_world(started(live))


def test_a_deleted_thread_takes_its_log_along() -> None:
    async def live(world: World) -> None:
        await world.open("a")
        await world.append("a", 3, 1, 0)
        await world.process.database.write(threads.delete, ALL, "a")
        await world.append("a", 3, 1, 0)
        await world.process.database.write(lambda _: None)
        world.process.log.forget("a")
        assert not await world._on_disk("a")
        await world.process.database.write(threads.create, "a")
        assert await world.process.log.highest("a") == 0

    in_world(started(live))


@pytest.mark.anyio
async def test_a_heartbeat_is_no_reason_to_read_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand readers that wait would read it hundreds of times a second."""
    world, looks = World(tmp_path), 0
    page = module._page

    def counted(*given: Any) -> list[Event]:
        nonlocal looks
        looks += 1
        return page(*given)

    monkeypatch.setattr(module, "_page", counted)
    await world.start()
    log, database = world.process.log, world.process.database
    tail = log.tail("a", 0, 0.005)
    assert [await anext(tail) for _ in range(5)] == [[]] * 5
    assert looks == 1
    await database.write(log.record, "a", "r", [("custom", b"1")])
    while not (found := await anext(tail)):
        pass
    assert [event.data for event in found] == [b"1"]
    looks = 0
    assert [await anext(tail) for _ in range(5)] == [[]] * 5
    assert looks == 1, "for what follows the event"
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    await anext(tail)
    assert looks >= 2, "nobody depends on being woken"
    await database.close()


@given(
    st.lists(
        st.tuples(st.sampled_from(["values", "custom", "messages"]), st.lists(st.text(), max_size=3), st.text()),
        min_size=1,
        max_size=30,
    )
)
def test_events_are_unpacked_as_they_were_packed(made: list[tuple[str, list[str], str]]) -> None:
    """Whatever the text: tabs, newlines, what looks like the compressed form."""
    events = [
        Event(seq + 1, "run", method, tuple(namespace), orjson.dumps(text))
        for seq, (method, namespace, text) in enumerate(made)
    ]
    assert list(unpack("run", pack(events))) == events


@pytest.mark.anyio
async def test_what_is_announced_with_the_end_of_a_run_comes_behind_it(tmp_path: Path) -> None:
    """In one commit: a reader must not get the later number first, nor the next run the same number."""
    world = World(tmp_path)
    await world.start()
    log, database = world.process.log, world.process.database
    for number in range(10):
        await database.write(log.open_run, "a")
        log.append("a", "r", "custom", (), b"%d" % number)
        await asyncio.gather(
            database.write(log.close_run, "a", "r", [("end", b"{}")]),
            database.write(log.announce, "a", "posted", b"{}"),
        )
        if number == 0:
            await world.join("a", 0, slow=False)
    follower = world.followers[0]
    await follower.has(await world._on_disk("a"))
    assert [event.method for event in follower.got] == ["custom", "end", "posted"] * 10
    seqs = [event.seq for event in follower.got]
    assert seqs == sorted(set(seqs))
    await follower.leave()
    await world.process.database.close()
