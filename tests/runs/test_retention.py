"""What a sweep and a prune keep, with a clock that the test moves and real graphs on the real saver."""

import asyncio
import operator
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from threadmill import assistants, threads
from threadmill.errors import NotFound
from threadmill.events.log import EventLog
from threadmill.langgraph_json.checkpointer import RetentionConfig
from threadmill.retention import Generations, Retention, Ttl, clear_ttl, find, set_default, set_ttl
from threadmill.runs import queue
from threadmill.runs.submit import Request, submit
from threadmill.scope import ALL, Scope
from threadmill.signals import Signals
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio
PLACE = "01a1fc2b-5f4e-7575-b684-250167de9400"
OTHER = "01a1fc2b-5f4e-7575-b684-250167de9401"
HERE: RunnableConfig = {"configurable": {"thread_id": PLACE}}


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
    opened = SqliteDatabase(tmp_path / "t.sqlite", synchronous="NORMAL", clock=clock, prepare=migrate_sqlite)
    opened.submit(lambda tx: assistants.ensure_defaults(tx, [("g", None)])).result()
    yield opened
    asyncio.run(opened.close())


@pytest.fixture
def saver(database: SqliteDatabase) -> SqliteSaver:
    return SqliteSaver(database)


@pytest.fixture
def retention(database: SqliteDatabase, saver: SqliteSaver) -> Retention:
    return retaining(database, saver)


def retaining(database: SqliteDatabase, saver: SqliteSaver, **wanted: Any) -> Retention:
    log = EventLog(database, Signals())
    return Retention(database, log, saver.serde.loads_typed, RetentionConfig(**wanted), 1000)


async def there(database: SqliteDatabase, thread_id: str = PLACE) -> bool:
    return await database.read(threads.exists, ALL, thread_id)


# When


async def test_a_thread_goes_when_its_time_is_over(
    database: SqliteDatabase, retention: Retention, clock: Clock
) -> None:
    await database.write(threads.create, PLACE)
    await database.write(threads.create, OTHER)
    await database.write(set_ttl, ALL, PLACE, "delete", 10)
    expected = Ttl("delete", 10, "2026-01-01T00:10:00.000000+00:00")
    assert await database.read(find, ALL, PLACE) == expected
    clock.forward(minutes=9, seconds=59)
    assert (await retention.sweep(), await there(database)) == (0, True)
    clock.forward(seconds=1)
    assert (await retention.sweep(), await there(database)) == (1, False)
    assert await there(database, OTHER), "it has no time to live"
    assert await database.read(lambda tx: tx.all("SELECT * FROM thread_ttls")) == []


async def test_time_counts_from_the_last_activity(database: SqliteDatabase, retention: Retention, clock: Clock) -> None:
    await database.write(threads.create, PLACE)
    await database.write(set_ttl, ALL, PLACE, "delete", 10)
    for _ in range(3):
        clock.forward(minutes=9)
        await database.write(threads.set_state, PLACE, outcome="idle", values=b"{}")
        assert await retention.sweep() == 0
    clock.forward(minutes=9)
    assert await retention.sweep() == 0
    clock.forward(minutes=1)
    assert await retention.sweep() == 1


async def test_time_set_late_begins_when_it_is_set(
    database: SqliteDatabase, retention: Retention, clock: Clock
) -> None:
    await database.write(threads.create, PLACE)
    clock.forward(days=365)
    await database.write(set_ttl, ALL, PLACE, "delete", 10)
    assert await retention.sweep() == 0
    clock.forward(minutes=5)
    await database.write(set_ttl, ALL, PLACE, "delete", 6)
    clock.forward(minutes=5)
    assert await retention.sweep() == 0
    await database.write(clear_ttl, ALL, PLACE)
    clock.forward(days=365)
    assert await retention.sweep() == 0
    assert await database.read(find, ALL, PLACE) is None


async def test_a_pending_or_running_thread_is_never_touched(
    database: SqliteDatabase, retention: Retention, clock: Clock
) -> None:
    await database.write(threads.create, PLACE)
    await database.write(set_ttl, ALL, PLACE, "delete", 1)
    request = Request(assistant_id="g")
    await database.write(submit, ALL, request, run_id=OTHER, thread_id=PLACE, request_id="", new_thread="")
    clock.forward(hours=1)
    assert await retention.sweep() == 0, "pending"
    assert not await retention.prune(ALL, PLACE, "delete")
    run = await database.write(queue.claim, "w", 7200.0)
    assert run is not None
    clock.forward(hours=1)
    assert await retention.sweep() == 0, "running"
    assert not await retention.prune(ALL, PLACE, "keep_latest")
    await database.write(queue.finish, run, "success", last_seq=1)
    await database.write(threads.set_state, PLACE, outcome="idle", values=None)
    clock.forward(seconds=59)
    assert await retention.sweep() == 0
    clock.forward(seconds=1)
    assert await retention.sweep() == 1


async def test_a_sweep_takes_no_more_than_its_limit(database: SqliteDatabase, saver: SqliteSaver, clock: Clock) -> None:
    for number in range(5):
        await database.write(threads.create, f"{PLACE[:-1]}{number}")
        await database.write(set_ttl, ALL, f"{PLACE[:-1]}{number}", "delete", 1)
    clock.forward(minutes=1)
    retention = retaining(database, saver, sweep_limit=2)
    assert [await retention.sweep() for _ in range(4)] == [2, 2, 1, 0]


async def test_the_default_is_for_new_threads_that_say_nothing(
    database: SqliteDatabase, retention: Retention, clock: Clock
) -> None:
    await database.write(threads.create, PLACE)
    await database.write(set_default, RetentionConfig(strategy="delete", default_ttl=10))
    await database.write(threads.create, OTHER)
    stateless = f"{PLACE[:-1]}7"
    await database.write(threads.create, stateless, ephemeral=True)
    assert await database.read(find, ALL, PLACE) is None
    assert await database.read(find, ALL, stateless) is None
    found = await database.read(find, ALL, OTHER)
    assert found is not None and (found.strategy, found.ttl_minutes) == ("delete", 10)
    assert await retention.sweep() == 0
    clock.forward(minutes=10)
    assert await retention.sweep() == 1
    await database.write(set_default, RetentionConfig())
    await database.write(threads.create, OTHER)
    assert await database.read(find, ALL, OTHER) is None


async def test_another_ones_thread_has_no_time_to_see_or_set(database: SqliteDatabase, retention: Retention) -> None:
    bob = Scope({"owner": "bob"})
    await database.write(threads.create, PLACE, metadata={"owner": "alice"})
    await database.write(set_ttl, ALL, PLACE, "delete", 10)
    assert await database.read(find, bob, PLACE) is None
    with pytest.raises(NotFound):
        await database.write(set_ttl, bob, PLACE, "delete", 1)
    with pytest.raises(NotFound):
        await database.write(clear_ttl, bob, PLACE)
    assert not await retention.prune(bob, PLACE, "delete")
    assert await there(database)


# What


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]


def say(word: str) -> Any:
    return lambda state: {"log": [word]}


def ask(state: Log) -> dict[str, Any]:
    return {"log": [interrupt("sure?")]}


def inner(**compiled: Any) -> Any:
    graph = StateGraph(Log).add_node("before", say("before")).add_node("ask", ask)
    return graph.add_edge(START, "before").add_edge("before", "ask").add_edge("ask", END).compile(**compiled)


def outer(saver: SqliteSaver, **compiled: Any) -> Any:
    graph = StateGraph(Log).add_node("first", say("first")).add_node("sub", inner(**compiled))
    return graph.add_edge(START, "first").add_edge("first", "sub").add_edge("sub", END).compile(checkpointer=saver)


async def stored(database: SqliteDatabase) -> list[str]:
    """Namespaces of the checkpoints, without the ids of tasks; and that no write hangs in the air."""
    adrift = await database.read(
        lambda tx: tx.all(
            "SELECT 1 FROM writes w WHERE NOT EXISTS (SELECT 1 FROM checkpoints c WHERE c.thread_id = w.thread_id "
            "AND c.checkpoint_ns = w.checkpoint_ns AND c.checkpoint_id = w.checkpoint_id)"
        )
    )
    assert adrift == []
    rows = await database.read(lambda tx: tx.all("SELECT checkpoint_ns AS ns FROM checkpoints ORDER BY ns"))
    return [row["ns"].split(":")[0] for row in rows]


async def test_keep_latest_leaves_the_state_and_one_entry(
    database: SqliteDatabase, saver: SqliteSaver, clock: Clock
) -> None:
    graph = StateGraph(Log).add_node("say", say("hi")).add_edge(START, "say").compile(checkpointer=saver)
    await database.write(threads.create, PLACE)
    await database.write(set_ttl, ALL, PLACE, "keep_latest", 1)
    for _ in range(3):
        await graph.ainvoke({"log": ["?"]}, HERE)
    before = await graph.aget_state(HERE)
    clock.forward(minutes=1)
    assert await retaining(database, saver).sweep() == 1
    after = await graph.aget_state(HERE)
    assert (after.values, after.next, after.config) == (before.values, (), before.config)
    assert after.parent_config is None, "nothing points to what is gone"
    assert len([one async for one in graph.aget_state_history(HERE)]) == 1
    assert await there(database)
    assert (await graph.ainvoke({"log": ["?"]}, HERE))["log"] == ["?", "hi"] * 4


async def test_what_was_pruned_and_rests_is_not_pruned_at_every_sweep(
    database: SqliteDatabase, retention: Retention, clock: Clock
) -> None:
    await database.write(threads.create, PLACE)
    await database.write(set_ttl, ALL, PLACE, "keep_latest", 10)
    clock.forward(minutes=10)
    assert [await retention.sweep(), await retention.sweep()] == [1, 0]


@pytest.mark.parametrize("durability", ["async", "exit"])
@pytest.mark.parametrize("compiled", [{}, {"checkpointer": True}], ids=["per call", "own memory"])
async def test_an_interrupt_in_a_subgraph_survives(
    database: SqliteDatabase, saver: SqliteSaver, retention: Retention, compiled: dict[str, Any], durability: Any
) -> None:
    graph = outer(saver, **compiled)
    await database.write(threads.create, PLACE)
    await graph.ainvoke({"log": ["1"]}, HERE, durability=durability)
    await graph.ainvoke(Command(resume="yes"), HERE, durability=durability)
    await graph.ainvoke({"log": ["2"]}, HERE, durability=durability)
    before = await graph.aget_state(HERE, subgraphs=True)
    assert await retention.prune(ALL, PLACE, "keep_latest")
    assert await stored(database) == ["", "sub"], "of the first call nothing is left"
    after = await graph.aget_state(HERE, subgraphs=True)
    assert after.interrupts == before.interrupts != ()
    assert after.tasks[0].state.values == before.tasks[0].state.values
    whole = await graph.ainvoke(Command(resume="sure"), HERE, durability=durability)
    assert whole["log"][-1] == "sure"
    await retention.prune(ALL, PLACE, "keep_latest")
    assert await stored(database) == (["", "sub"] if compiled else [""])


async def test_parallel_interrupts_keep_the_answer_that_was_given(
    database: SqliteDatabase, saver: SqliteSaver, retention: Retention
) -> None:
    graph = StateGraph(Log).add_node("a", ask).add_node("b", ask).add_edge(START, "a").add_edge(START, "b")
    compiled = graph.compile(checkpointer=saver)
    await database.write(threads.create, PLACE)
    first, _ = (await compiled.ainvoke({"log": []}, HERE))["__interrupt__"]
    await compiled.ainvoke(Command(resume={first.id: "one"}), HERE)
    assert await retention.prune(ALL, PLACE, "keep_latest")
    (left,) = (await compiled.aget_state(HERE)).interrupts
    assert (await compiled.ainvoke(Command(resume={left.id: "two"}), HERE))["log"] == ["one", "two"]


def add_all(state: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


@pytest.mark.parametrize("frequency", [1, 3, 100])
@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_delta_channel_keeps_what_rebuilds_it(
    database: SqliteDatabase, saver: SqliteSaver, retention: Retention, frequency: int, durability: Any
) -> None:
    class Delta(TypedDict, total=False):
        log: Annotated[list[Any], DeltaChannel(add_all, snapshot_frequency=frequency)]
        n: int

    graph = StateGraph(Delta).add_node("say", lambda state: {"log": ["hi"], "n": len(state["log"])})
    compiled = graph.add_edge(START, "say").compile(checkpointer=saver)
    await database.write(threads.create, PLACE)
    expected: list[str] = []
    for turn in range(7):
        await compiled.ainvoke({"log": [str(turn)]}, HERE, durability=durability)
        expected += [str(turn), "hi"]
        if turn % 2:
            assert await retention.prune(ALL, PLACE, "keep_latest")
        assert (await compiled.aget_state(HERE)).values == {"log": expected, "n": 2 * turn + 1}
    before = await stored(database)
    await retention.prune(ALL, PLACE, "keep_latest")
    after = await stored(database)
    assert len(after) == {1: 1, 100: len(before)}.get(frequency, len(after)) and len(after) <= len(before)
    assert (await compiled.aget_state(HERE)).values["log"] == expected


async def test_the_saver_prunes_as_its_base_class_says(saver: SqliteSaver, database: SqliteDatabase) -> None:
    graph = StateGraph(Log).add_node("say", say("hi")).add_edge(START, "say").compile(checkpointer=saver)
    await graph.ainvoke({"log": ["?"]}, HERE)
    await saver.aprune([PLACE])
    assert await stored(database) == [""]
    saver.prune([PLACE, OTHER], strategy="delete")
    assert await stored(database) == []
    with pytest.raises(ValueError, match="strategy"):
        await saver.aprune([PLACE], strategy="some")


async def test_the_sweep_thins_out_what_is_old(database: SqliteDatabase, saver: SqliteSaver, clock: Clock) -> None:
    """All threads in turn, a few at a time; what is young, and the ends of turns, stay."""
    graph = StateGraph(Log).add_node("say", say("x")).add_edge(START, "say").compile(checkpointer=saver)
    for place in (PLACE, OTHER):
        await database.write(threads.create, place)
        for _ in range(3):
            await graph.ainvoke({"log": []}, {"configurable": {"thread_id": place}})
    keeping = Retention(
        database, EventLog(database, Signals()), saver.serde.loads_typed, RetentionConfig(sweep_limit=1), 1000,
        Generations(timedelta(days=1), timedelta(days=300)),
    )  # fmt: skip
    clock.now = datetime.now(UTC)
    assert await keeping.thin() == 0
    clock.forward(days=2)
    before = (await graph.aget_state(HERE)).values
    gone = [await keeping.thin() for _ in range(6)]
    assert sorted(gone) == [0, 0, 0, 0, 6, 6], "each thread once, one at a time"
    left = [one async for one in graph.aget_state_history(HERE)]
    assert len(left) == 3 and left[0].values == before
    clock.forward(days=400)
    for _ in range(3):
        await keeping.thin()
    assert [one.values async for one in graph.aget_state_history(HERE)] == [before]
