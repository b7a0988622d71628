"""Semantic search: what is embedded, where that runs, and how vectors are compared."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlite_vec
from langgraph.store.base import PutOp, SearchOp
from storage.test_database import Held

from threadmill_checkpoints import store, vectors
from threadmill_checkpoints.sqlite import SqliteDatabase
from threadmill_checkpoints.store import Store
from threadmill_checkpoints.vectors import EmbeddingError, Index

pytestmark = pytest.mark.anyio
DOCS = ("docs",)
WORDS = ["cat", "dog"]


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(text.count(word)) for word in WORDS] for text in texts]


class Recorder:
    """The embedding function, which keeps what it was asked and on which thread."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.threads: set[str] = set()

    def __call__(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(texts)
        self.threads.add(threading.current_thread().name)
        return embed(texts)


Open = Callable[..., Store]


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Open]:
    opened: list[Store] = []

    def start(function: Any, **more: Any) -> Store:
        index = Index(2, function, **more)

        def prepare(connection: sqlite3.Connection) -> None:
            store.prepare(connection, index=index)

        database = SqliteDatabase(tmp_path / f"{len(opened)}.sqlite", readers=2, prepare=prepare)
        opened.append(Store(database, index=index))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
        asyncio.run(one.database.close())


async def test_one_batch_is_one_call(open_store: Open) -> None:
    recorder = Recorder()
    memory = open_store(recorder, fields=("text", "list[*]"))
    ops: list[Any] = [
        PutOp(DOCS, "a", {"text": "cat", "list": ["dog", "dog cat"]}),
        PutOp(DOCS, "b", {"other": "cat"}),
        PutOp(DOCS, "c", {"text": "cat"}, index=False),
        PutOp(DOCS, "d", {"title": "dog"}, index=["title"]),
        SearchOp(DOCS, query="cat"),
    ]
    await memory.abatch(ops)
    assert recorder.calls == [["cat", "dog", "dog cat", "dog", "cat"]]
    found = await memory.asearch(DOCS, query="cat")
    assert [(item.key, item.score) for item in found] == [("a", pytest.approx(1.0)), ("d", pytest.approx(0.0))]


async def test_embedding_holds_up_neither_loop_nor_writer(open_store: Open) -> None:
    began, go = threading.Event(), threading.Event()

    def slow(texts: list[str]) -> list[list[float]]:
        began.set()
        assert go.wait(10)
        return embed(texts)

    memory = open_store(slow)
    waiting = asyncio.create_task(memory.aput(DOCS, "slow", {"text": "cat"}))
    assert await asyncio.to_thread(began.wait, 10)
    await memory.aput(DOCS, "quick", {"n": 1}, index=False)  # our loop runs, and the writer writes
    assert [item.key for item in await memory.asearch(DOCS)] == ["quick"]
    go.set()
    await waiting
    assert {item.key for item in await memory.asearch(DOCS)} == {"quick", "slow"}


async def test_user_code_never_runs_on_a_thread_of_the_database(open_store: Open) -> None:
    recorder = Recorder()
    memory = open_store(recorder)
    held = Held(memory.database)  # type: ignore[arg-type]
    put = asyncio.create_task(memory.aput(DOCS, "k", {"text": "cat"}))
    await asyncio.sleep(0)
    held.release()
    await put
    await asyncio.to_thread(memory.search, DOCS, query="cat")
    assert len(recorder.calls) == 2
    assert not [name for name in recorder.threads if name.startswith(("sqlite", "Main"))]


def test_a_coroutine_function_always_runs_on_one_loop(open_store: Open) -> None:
    """Whoever calls: a client of a model belongs to the loop it was first used on."""
    loops: set[Any] = set()

    async def aembed(texts: list[str]) -> list[list[float]]:
        loops.add(asyncio.get_running_loop())
        return embed(texts)

    memory = open_store(aembed)
    memory.put(DOCS, "a", {"text": "cat"})
    for _ in range(2):
        asyncio.run(memory.aput(DOCS, "b", {"text": "dog"}))
    assert [item.key for item in memory.search(DOCS, query="dog")] == ["b", "a"]
    assert len(loops) == 1


@pytest.mark.parametrize(
    "function",
    [
        lambda texts: 1 / 0,
        lambda texts: [[1.0, 2.0, 3.0] for _ in texts],
        lambda texts: [],
        lambda texts: [[1.0, 2.0]] * (len(texts) + 1),
        lambda texts: ["ab"],
        lambda texts: None,
    ],
    ids=["raises", "too long", "none", "too many", "no numbers", "nothing"],
)
async def test_what_is_no_vector_changes_nothing(open_store: Open, function: Any) -> None:
    memory = open_store(function)
    with pytest.raises(EmbeddingError, match="embedding function"):
        await memory.aput(DOCS, "k", {"text": "cat"})
    with pytest.raises(EmbeddingError):
        await asyncio.to_thread(memory.search, DOCS, query="cat")
    assert await memory.aget(DOCS, "k") is None


async def test_an_item_counts_by_its_best_field_and_once(open_store: Open) -> None:
    memory = open_store(embed, fields=("list[*]",))
    await memory.aput(DOCS, "both", {"list": ["cat", "dog", "dog dog"]})
    await memory.aput(DOCS, "mixed", {"list": ["cat dog"]})
    await memory.aput(DOCS, "zero", {"list": ["neither"]})
    found = await memory.asearch(DOCS, query="dog")
    assert [item.key for item in found] == ["both", "mixed", "zero"]
    assert [item.score for item in found] == [pytest.approx(1.0), pytest.approx(0.7071, abs=1e-3), None]


def test_vectors_are_compared_as_sqlite_vec_does() -> None:
    """Where extensions cannot be loaded, the function is ours; where they can, both must agree."""
    ours, theirs = sqlite3.connect(":memory:"), sqlite3.connect(":memory:")
    ours.create_function("vec_distance_cosine", 2, vectors._cosine_distance, deterministic=True)
    extension = vectors.add_distance(theirs)
    assert extension is hasattr(theirs, "enable_load_extension")
    pairs = [
        ([1, 0], [1, 0], 0),
        ([1, 0], [0, 2], 1),
        ([1, 0], [-3, 0], 2),
        ([1, 2], [2, 1], 0.2),
        ([0, 0], [1, 1], None),
    ]
    for one, other, expected in pairs:
        params = (sqlite_vec.serialize_float32(one), sqlite_vec.serialize_float32(other))
        for connection in (ours, theirs):
            got = connection.execute("SELECT vec_distance_cosine(?, ?)", params).fetchone()[0]
            assert got == (expected if expected is None else pytest.approx(expected, abs=1e-6))
