"""Long-term memory through `Store`: from coroutines, from threads, from two event loops, beside other writers."""

import asyncio
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.store.sqlite import SqliteStore
from storage.test_database import Held, result

from threadmill_checkpoints import store
from threadmill_checkpoints.sqlite import SqliteDatabase
from threadmill_checkpoints.store import Store

pytestmark = pytest.mark.anyio
FACTS = ("users", "ann")


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Store]:
    database = SqliteDatabase(tmp_path / "store.sqlite", readers=2, prepare=store.prepare)
    yield Store(database)
    asyncio.run(database.close())


async def test_put_get_change_delete(memory: Store) -> None:
    await memory.aput(FACTS, "tea", {"likes": "green", "n": 1})
    first = await memory.aget(FACTS, "tea")
    assert first is not None and first.value == {"likes": "green", "n": 1}
    assert (first.namespace, first.key) == (FACTS, "tea")
    await memory.aput(FACTS, "tea", {"likes": "black"})
    second = await memory.aget(FACTS, "tea")
    assert second is not None and second.value == {"likes": "black"}
    assert second.created_at == first.created_at
    assert second.updated_at >= first.updated_at
    await memory.adelete(FACTS, "tea")
    assert await memory.aget(FACTS, "tea") is None
    assert await memory.aget(("nobody",), "tea") is None


def test_the_same_from_a_synchronous_node(memory: Store) -> None:
    memory.put(FACTS, "tea", {"likes": "green"})
    found = memory.get(FACTS, "tea")
    assert found is not None and found.value == {"likes": "green"}
    assert [item.key for item in memory.search(("users",))] == ["tea"]
    assert memory.list_namespaces() == [FACTS]
    memory.delete(FACTS, "tea")
    assert memory.get(FACTS, "tea") is None


async def test_search_by_prefix_filter_and_page(memory: Store) -> None:
    for who in ("ann", "bob"):
        for n in range(5):
            await memory.aput(("users", who), f"k{n}", {"n": n, "even": n % 2 == 0})
    assert len(await memory.asearch(("users",), limit=100)) == 10
    assert {item.value["n"] for item in await memory.asearch(FACTS, filter={"even": True})} == {0, 2, 4}
    assert {item.value["n"] for item in await memory.asearch(FACTS, filter={"n": {"$gte": 3}})} == {3, 4}
    pages = [await memory.asearch(FACTS, limit=2, offset=offset) for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert len({item.key for page in pages for item in page}) == 5
    assert await memory.asearch(("user",)) == [], "a prefix is of whole names"


@pytest.mark.parametrize(
    ("bound", "below"), [(math.inf, 2), (-math.inf, 0), (2**70, 2), (-(2**70), 0)], ids=["inf", "-inf", "big", "-big"]
)
async def test_a_filter_compares_with_any_number(memory: Store, bound: float, below: int) -> None:
    for n in range(2):
        await memory.aput(FACTS, f"k{n}", {"n": n})
    found = [len(await memory.asearch(FACTS, filter={"n": {how: bound}})) for how in ("$lt", "$gt")]
    assert found == [below, 2 - below]


async def test_namespaces_by_prefix_suffix_and_depth(memory: Store) -> None:
    for namespace in (("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("z",)):
        await memory.aput(namespace, "k", {})
    assert await memory.alist_namespaces(prefix=("a", "b")) == [("a", "b", "c"), ("a", "b", "d")]
    assert await memory.alist_namespaces(suffix=("x",)) == [("a", "x")]
    assert await memory.alist_namespaces(max_depth=1) == [("a",), ("z",)]
    assert len(await memory.alist_namespaces(limit=2)) == 2


@pytest.mark.parametrize("key", ["it's", "a.b", 'quo"te', "x') OR 1=1 --", "[0]", "ü"])
async def test_a_filter_runs_no_key(memory: Store, key: str) -> None:
    """Whether such a key is found or refused is the official store's affair; other items do not show."""
    await memory.aput(FACTS, "mine", {key: "wanted"})
    await memory.aput(FACTS, "other", {"plain": "other"})
    try:
        found = [item.key for item in await memory.asearch(FACTS, filter={key: "wanted"})]
    except ValueError:
        found = []
    assert "other" not in found


async def test_a_batch_is_one_transaction(memory: Store) -> None:
    ops: list[Any] = [PutOp(FACTS, "a", {"n": 1}), PutOp(FACTS, "b", {"n": 2}), PutOp(("z",), "c", {"n": 3})]
    await memory.abatch(ops)
    got, found, spaces = await memory.abatch([GetOp(FACTS, "a"), SearchOp(FACTS), ListNamespacesOp()])
    assert got.value == {"n": 1}
    assert len(found) == 2
    assert spaces == [FACTS, ("z",)]
    broken: list[Any] = [PutOp(FACTS, "d", {"n": 4}), PutOp(FACTS, "e", {"n": object()})]
    with pytest.raises(TypeError):
        await memory.abatch(broken)
    assert await memory.aget(FACTS, "d") is None, "all or nothing"


async def test_reading_does_not_wait_for_the_writer(memory: Store) -> None:
    await memory.aput(FACTS, "k", {"n": 1})
    held = Held(memory.database)  # type: ignore[arg-type]
    found = await memory.aget(FACTS, "k")
    held.release()
    assert found is not None


def test_two_event_loops_and_a_thread_share_it(memory: Store) -> None:
    """As the graphs' loop, the API's loop and a synchronous node do."""
    start = threading.Barrier(3)
    problems: list[BaseException] = []

    async def many(who: str) -> None:
        start.wait(10)
        await asyncio.gather(*(memory.aput(("who", who), str(n), {"n": n}) for n in range(50)))
        assert len(await memory.asearch(("who", who), limit=100)) == 50

    def plain(who: str) -> None:
        start.wait(10)
        for n in range(50):
            memory.put(("who", who), str(n), {"n": n})

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            problems.append(error)

    works = [lambda: asyncio.run(many("one")), lambda: asyncio.run(many("two")), lambda: plain("three")]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert problems == []
    assert len(memory.search(("who",), limit=1000)) == 150


def test_what_is_put_is_there_after_a_restart(tmp_path: Path) -> None:
    for life in range(2):
        database = SqliteDatabase(tmp_path / "s.sqlite", prepare=store.prepare)
        memory = Store(database)
        if life == 0:
            memory.put(FACTS, "k", {"n": 1})
        else:
            assert [item.value for item in memory.search(())] == [{"n": 1}]
        asyncio.run(database.close())


def test_the_tables_are_the_official_ones(tmp_path: Path) -> None:
    """The official store can read what we wrote."""
    database = SqliteDatabase(tmp_path / "s.sqlite", prepare=store.prepare)
    Store(database).put(FACTS, "k", {"text": "grüß Gott 你好"})
    assert result(database.query(lambda tx: tx.one("SELECT count(*) AS n FROM store")))["n"] == 1
    asyncio.run(database.close())
    with SqliteStore.from_conn_string(str(tmp_path / "s.sqlite")) as official:
        official.setup()
        found = official.get(FACTS, "k")
    assert found is not None and found.value == {"text": "grüß Gott 你好"}
