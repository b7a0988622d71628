"""Any interleaving of writers, readers, commits that fail and crashes converges to one log."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from events.world import FILL, THREADS, WITHIN, Follower, World, ending, in_world, started
from hypothesis import given, settings
from hypothesis import strategies as st

from threadmill import threads
from threadmill.events import log as module
from threadmill.events import rows
from threadmill.events.event import ROOM, Event, pack, unpack
from threadmill.scope import ALL
from threadmill_checkpoints.database import NoRoom, Tx

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a crash is one

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
    *[st.tuples(st.just("close_beside_a_writer"), in_thread, st.booleans())] * 2,
    st.tuples(st.just("hand_over"), in_thread),
    st.tuples(st.just("record"), in_thread),
    *[st.tuples(st.just("resume"), in_thread)] * 2,
    st.tuples(st.just("join_with_commit"), in_thread),
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
            world.process.log.close_run(tx, "a", "run 1", ending((0, 99)))
            asyncio.run_coroutine_threadsafe(look(), loop).result(WITHIN)

        await world.process.database.write(close)
        await follower.has(await world._on_disk("a"))
        assert len(early) == 3
        assert [event.method for event in follower.got] == ["custom"] * 3 + ["end"]
        await follower.leave()

    in_world(started(live))


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
            follower = Follower(world.process, "a", 2 * ROOM, slow=False)
            await gone.wait()
        await follower.has([event for event in await world._on_disk("a") if event.seq > 2 * ROOM])
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
            await world.process.database.write(world.process.log.close_run, "a", "run 1", ending((0, 99)))
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
    page = rows.page

    def counted(*given: Any) -> list[Event]:
        nonlocal looks
        looks += 1
        return page(*given)

    monkeypatch.setattr(rows, "page", counted)
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


def test_what_a_node_says_after_the_end_takes_no_number_of_the_next_run() -> None:
    """Its thread goes on while the end is committed. Who saw it would go on behind the next run's beginning."""

    async def live(world: World) -> None:
        await world.append("a", 2, 1, 0)
        await world.join("a", 0, slow=False)
        await world.close_beside_a_writer("a", fails=False)
        await world.append("a", 5, 1, 0)
        await world.settle()
        assert len(await world._on_disk("a")) == 2 + 1 + 5

    in_world(started(live))


def test_what_a_node_says_while_a_run_fails_to_end_is_kept() -> None:
    async def live(world: World) -> None:
        await world.append("a", 2, 1, 0)
        await world.join("a", 0, slow=False)
        await world.close_beside_a_writer("a", fails=True)
        await world.close("a")
        await world.settle()
        assert len(await world._on_disk("a")) > 2 + 1

    in_world(started(live))


def test_a_cursor_is_known_while_the_next_run_begins() -> None:
    """Else a reader that comes back in this very moment is told everything again."""

    async def live(world: World) -> None:
        await world.append("a", 3, 1, 0)
        await world.close("a")
        log, database = world.process.log, world.process.database
        seen = await log.highest("a")
        tail = log._enter("a")
        with tail.lock:
            begins = asyncio.create_task(database.write(log.open_run, "a"))
            while "a" not in log._opening:
                await asyncio.sleep(0)
            await database.read(lambda _: None)
            for _ in range(200):
                assert await log.highest("a") == seen
        await begins
        log._leave("a", tail)
        assert await log.highest("a") == seen

    in_world(started(live))


@pytest.mark.parametrize("together", [True, False])
def test_who_lost_a_run_does_not_close_the_log_under_the_next(together: bool) -> None:
    async def live(world: World) -> None:
        log, database = world.process.log, world.process.database
        await database.write(log.open_run, "a", ("lost", 1))
        log.append("a", "lost", "custom", (), b"[1]")
        if together:
            await asyncio.gather(
                database.write(log.open_run, "a", ("next", 1)), database.write(log.give_up, "a", ("lost", 1))
            )
        else:
            await database.write(log.open_run, "a", ("next", 1))
            await database.write(log.give_up, "a", ("lost", 1))
        log.append("a", "lost", "custom", (), b"[2]")
        log.append("a", "next", "custom", (), b"[3]")
        known = await log.highest("a")
        reader = Follower(world.process, "a", 0, slow=False)
        async with asyncio.timeout(WITHIN):
            while len(reader.got) < 2:
                await asyncio.sleep(0)
        assert [event.data for event in reader.got] == [b"[1]", b"[3]"]
        assert known >= reader.got[-1].seq
        await reader.leave()
        await world.crash()
        first = await world.process.database.write(world.process.log.open_run, "a")
        assert first > known, "numbers that somebody saw are not given again"

    in_world(started(live))
