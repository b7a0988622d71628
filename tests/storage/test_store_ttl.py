"""Items that expire, with a clock that the test moves."""

import asyncio
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, PutOp, SearchOp, TTLConfig
from langgraph.store.sqlite import SqliteStore
from storage.test_database import Held

from threadmill_checkpoints import store
from threadmill_checkpoints.sqlite import SqliteDatabase
from threadmill_checkpoints.store import SWEEP, Store

pytestmark = pytest.mark.anyio
SPACE = ("a",)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path, clock: Clock) -> Iterator[SqliteDatabase]:
    opened = SqliteDatabase(tmp_path / "s.sqlite", readers=2, prepare=store.prepare, clock=clock)
    yield opened
    asyncio.run(opened.close())


@pytest.fixture
def memory(database: SqliteDatabase) -> Store:
    return Store(database)


async def count(memory: Store) -> int:
    return await memory.database.read(lambda tx: int(tx.all("SELECT count(*) AS n FROM store")[0]["n"]))


async def test_nothing_shows_what_has_expired(memory: Store, clock: Clock) -> None:
    await memory.aput(SPACE, "k", {"n": 1}, ttl=1.5)
    await memory.aput(("b",), "k", {"n": 2})
    clock.forward(seconds=89)
    assert await memory.aget(SPACE, "k", refresh_ttl=False) is not None
    clock.forward(seconds=1)
    assert await memory.aget(SPACE, "k") is None
    assert [item.namespace for item in await memory.asearch(())] == [("b",)]
    assert await memory.alist_namespaces() == [("b",)]
    assert await count(memory) == 2, "it is still there, only not shown"


async def test_a_sweep_removes_only_what_has_expired(memory: Store, clock: Clock) -> None:
    puts: list[Any] = [PutOp(SPACE, str(n), {"n": n}, ttl=1) for n in range(SWEEP + 7)]
    await memory.abatch([*puts, PutOp(SPACE, "later", {}, ttl=10), PutOp(SPACE, "never", {})])
    assert await memory.sweep() == 0
    clock.forward(minutes=1)
    assert await memory.sweep() == SWEEP + 7
    assert await memory.sweep() == 0
    assert sorted(item.key for item in await memory.asearch(())) == ["later", "never"]


@pytest.mark.parametrize("read", ["get", "search", "together with a write", "in a thread"])
async def test_a_read_starts_the_time_again(memory: Store, clock: Clock, read: str) -> None:
    await memory.aput(SPACE, "k", {"n": 1}, ttl=10)
    for _ in range(3):
        clock.forward(minutes=9)
        if read == "get":
            assert await memory.aget(SPACE, "k", refresh_ttl=True) is not None
        elif read == "search":
            assert len(await memory.asearch(SPACE, refresh_ttl=True)) == 1
        elif read == "in a thread":
            assert await asyncio.to_thread(memory.get, SPACE, "k") is not None
        else:
            assert (await memory.abatch([GetOp(SPACE, "k"), PutOp(("b",), "x", {})]))[0] is not None
    clock.forward(minutes=10)
    assert await memory.aget(SPACE, "k") is None, "nor does a read bring it back"


@pytest.mark.parametrize("config", [{"refresh_on_read": False}, None])
async def test_a_read_may_leave_the_time_alone(database: SqliteDatabase, clock: Clock, config: Any) -> None:
    memory = Store(database, ttl=config)
    refresh = None if config else False
    await memory.aput(SPACE, "k", {"n": 1}, ttl=10)
    clock.forward(minutes=9)
    assert await memory.aget(SPACE, "k", refresh_ttl=refresh) is not None
    assert len(await memory.asearch(SPACE, refresh_ttl=refresh)) == 1
    clock.forward(minutes=1)
    assert await memory.aget(SPACE, "k") is None


async def test_the_default_holds_unless_a_put_says_otherwise(database: SqliteDatabase, clock: Clock) -> None:
    ttl: TTLConfig = {"default_ttl": 5, "refresh_on_read": False}
    memory = Store(database, ttl=ttl)
    await memory.aput(SPACE, "default", {})
    await memory.aput(SPACE, "longer", {}, ttl=20)
    await memory.aput(SPACE, "forever", {}, ttl=None)
    clock.forward(minutes=5)
    assert sorted(item.key for item in await memory.asearch(SPACE)) == ["forever", "longer"]
    clock.forward(days=400)
    assert [item.key for item in await memory.asearch(SPACE)] == ["forever"]


async def test_a_put_decides_the_time_anew(memory: Store, clock: Clock) -> None:
    await memory.aput(SPACE, "k", {"n": 1}, ttl=1)
    await memory.aput(SPACE, "k", {"n": 2})
    clock.forward(days=1)
    item = await memory.aget(SPACE, "k")
    assert item is not None and item.value == {"n": 2}


async def test_created_at_is_of_the_first_put_that_still_lived(memory: Store, clock: Clock) -> None:
    first = clock.now
    await memory.aput(SPACE, "k", {"n": 1}, ttl=10)
    clock.forward(minutes=1)
    await memory.aput(SPACE, "k", {"n": 2}, ttl=10)
    item = await memory.aget(SPACE, "k")
    assert item is not None
    assert (item.created_at, item.updated_at) == (first, clock.now)
    clock.forward(minutes=10)
    await memory.aput(SPACE, "k", {"n": 3})
    item = await memory.aget(SPACE, "k")
    assert item is not None
    assert item.created_at == item.updated_at == clock.now, "what had expired was gone; this one is new"


async def test_only_a_read_of_what_expires_needs_the_writer(memory: Store) -> None:
    await memory.aput(SPACE, "plain", {})
    await memory.aput(("b",), "expires", {}, ttl=10)
    held = Held(memory.database)  # type: ignore[arg-type]
    assert await memory.aget(SPACE, "plain") is not None
    assert len(await memory.asearch((), refresh_ttl=False)) == 2
    waiting = asyncio.create_task(memory.abatch([SearchOp(("b",))]))
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    held.release()
    assert len((await waiting)[0]) == 1


def test_items_of_the_official_store_are_read_as_they_are(tmp_path: Path, clock: Clock) -> None:
    """Its times have no zone and no parts of a second, its values are bytes."""
    with SqliteStore.from_conn_string(str(tmp_path / "s.sqlite")) as official:
        official.setup()
        official.put(SPACE, "plain", {"n": 1})
        official.put(SPACE, "expires", {"n": 2}, ttl=60)
    clock.now = datetime.now(UTC)
    database = SqliteDatabase(tmp_path / "s.sqlite", prepare=store.prepare, clock=clock)
    memory = Store(database)
    assert {item.key: item.value for item in memory.search(SPACE, filter={"n": {"$lte": 2}})} == {
        "plain": {"n": 1},
        "expires": {"n": 2},
    }
    plain = memory.get(SPACE, "plain")
    assert plain is not None
    assert timedelta(0) <= datetime.now(UTC) - plain.created_at < timedelta(minutes=1)
    clock.forward(minutes=62)
    assert [item.key for item in memory.search(SPACE)] == ["plain"]
    asyncio.run(database.close())


def test_a_store_table_from_before_gets_a_place_for_vectors(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "s.sqlite", isolation_level=None)
    SqliteStore(connection).setup()
    for _ in range(2):
        store.prepare(connection)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"store", "store_vectors", "store_migrations", "vector_migrations"} <= names
    connection.close()
