"""Our checkpointer beside the official one, operation by operation; and what only ours promises."""

import asyncio
import gc
import math
import operator
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import IntegrityError
from tempfile import TemporaryDirectory
from typing import Annotated, Any, cast

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import WRITES_IDX_MAP, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from serving import until
from storage.test_database import Held, result
from typing_extensions import TypedDict

from threadmill_checkpoints.database import DatabaseError, Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import SqliteSaver, forks
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase, SqliteTx

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[SqliteSaver]:
    database = SqliteDatabase(folder / "ours.sqlite", synchronous="NORMAL", readers=2, prepare=migrate_sqlite)
    try:
        yield SqliteSaver(database, **options)
    finally:
        await database.close()


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[SqliteSaver]:
    async with opened(tmp_path) as ours:
        yield ours


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[SqliteSaver]:
    """With the serializer of the server."""
    async with opened(tmp_path, serde=Serializer()) as ours:
        yield ours


def place(thread: str, ns: str = "", checkpoint_id: str | None = None) -> Any:
    at = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns, **at}}


def checkpoint(values: dict[str, Any] | None = None) -> Any:
    return {**empty_checkpoint(), "id": str(uuid6()), "channel_values": values or {}}


async def listed(saver: Any, config: Any = None, **how: Any) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(config, **how)]


# The same as the official one

names = st.sampled_from(("a", "b"))
spaces = st.sampled_from(("", "child:1"))
which = st.integers(0, 20)
plain = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=5), st.lists(st.integers(-5, 5), max_size=2))
metadata = st.fixed_dictionaries(
    {"step": st.integers(-1, 3), "source": st.sampled_from(("input", "loop"))},
    optional={"odd": st.text("'\"$.[]%_ü", max_size=4), "ratio": st.sampled_from((0.5, 2.0))},
)
filters = st.fixed_dictionaries(
    {}, optional={"step": st.integers(-1, 3), "source": st.sampled_from(("input", "x'; --")), "odd": st.text("'\"$%ü")}
)
channels = st.sampled_from(("log", "other", "__error__", "__interrupt__", "__resume__"))
operations = st.one_of(
    *[st.tuples(st.just("put"), names, spaces, st.dictionaries(st.text(max_size=4), plain, max_size=3), metadata)] * 3,
    *[
        st.tuples(
            st.just("put_writes"),
            which,
            st.lists(st.tuples(channels, plain), min_size=1, max_size=3),
            st.sampled_from(("task 1", "task 2")),
            st.sampled_from(("", "~path, 1", "~path, 2")),
        )
    ]
    * 3,
    st.tuples(st.just("get"), names, spaces),
    st.tuples(st.just("get_one"), which),
    st.tuples(
        st.just("list"), st.one_of(st.none(), names), spaces, filters, which, st.sampled_from((None, 0, 1, 3, 100))
    ),
    st.tuples(st.just("delete"), names),
)


class Both:
    """Each operation is done on both; what they answer must be equal."""

    def __init__(self, ours: SqliteSaver, official: AsyncSqliteSaver) -> None:
        self.savers: tuple[Any, Any] = (ours, official)
        self.made: list[Any] = []
        self.heads: dict[tuple[str, str], str] = {}

    async def _same(self, ask: Callable[[Any], Any]) -> None:
        ours, official = [await ask(saver) for saver in self.savers]
        assert ours == official

    async def put(self, thread: str, ns: str, values: dict[str, Any], about: dict[str, Any]) -> None:
        new = checkpoint(values)
        config = place(thread, ns, self.heads.get((thread, ns)))
        await self._same(lambda saver: saver.aput(config, new, about, {}))
        self.heads[thread, ns] = new["id"]
        self.made.append(place(thread, ns, new["id"]))

    async def put_writes(self, which: int, writes: list[tuple[str, Any]], task: str, path: str) -> None:
        if self.made:
            config = self.made[which % len(self.made)]
            special = [write for write in writes if write[0] in WRITES_IDX_MAP]
            if special:  # LangGraph's saver in memory keeps the newest always, the official one not beside regular ones
                await self.savers[1].aput_writes(config, special, task, path)
            await self._same(lambda saver: saver.aput_writes(config, writes, task, path))
            await self._same(lambda saver: saver.aget_tuple(config))

    async def get(self, thread: str, ns: str) -> None:
        await self._same(lambda saver: saver.aget_tuple(place(thread, ns)))

    async def get_one(self, which: int) -> None:
        if self.made:
            await self._same(lambda saver: saver.aget_tuple(self.made[which % len(self.made)]))

    async def list(self, thread: str | None, ns: str, filter: Any, before: int, limit: int | None) -> None:
        how = {"filter": filter, "limit": limit, "before": self.made[before] if before < len(self.made) else None}
        await self._same(lambda saver: listed(saver, place(thread, ns) if thread else None, **how))
        if thread:
            await self._same(lambda saver: listed(saver, {"configurable": {"thread_id": thread}}, **how))

    async def delete(self, thread: str) -> None:
        await self._same(lambda saver: saver.adelete_thread(thread))
        self.heads = {at: head for at, head in self.heads.items() if at[0] != thread}


@settings(max_examples=60, deadline=None)
@given(st.lists(operations, min_size=4, max_size=30), st.booleans())
def test_it_answers_like_the_official_saver(story: list[tuple[Any, ...]], wait: bool) -> None:
    async def run() -> None:
        async with AsyncExitStack() as open_files:
            folder = Path(open_files.enter_context(TemporaryDirectory()))
            ours = await open_files.enter_async_context(opened(folder, wait=wait))
            path = str(folder / "official.sqlite")
            official = await open_files.enter_async_context(AsyncSqliteSaver.from_conn_string(path))
            await official.setup()
            both = Both(ours, official)
            for what, *how in story:
                await getattr(both, what)(*how)
            await both.list(None, "", {}, 1000, None)

    asyncio.run(run())


class Counted(TypedDict, total=False):
    log: Annotated[list[Any], DeltaChannel(lambda old, new: [*(old or []), *[item for one in new for item in one]])]


async def test_a_delta_channel_has_the_official_history(saver: SqliteSaver, tmp_path: Path) -> None:
    def say(state: Counted) -> dict[str, Any]:
        return {"log": [len(state.get("log") or [])]}

    graph = StateGraph(Counted).add_node("say", say).add_edge(START, "say")
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "official.sqlite")) as official:
        found: list[Any] = []
        for one in (saver, official):
            compiled = graph.compile(checkpointer=one)
            for turn in "xyz":
                values = await compiled.ainvoke({"log": [turn]}, place("t"))
            history = await one.aget_delta_channel_history(config=place("t"), channels=["log"])
            writes = [(channel, value) for _, channel, value in history["log"]["writes"]]
            found.append((values["log"], writes, history["log"].get("seed"), history.keys()))
        assert found[0] == found[1]
        assert found[0][0] == ["x", 1, "y", 3, "z", 5]
        assert found[0][1], "there is a history"


# Only ours


async def test_a_list_over_all_threads_leaves_nothing_out(saver: SqliteSaver) -> None:
    """Copies have the ids of their originals, also where a page of the list ends."""
    for n in range(40):
        await saver.aput(place("t0"), checkpoint(), {"step": n}, {})
    for copy in ("t1", "t2"):
        await saver.acopy_thread("t0", copy)
    everything = await listed(saver)
    assert len({(found.config["configurable"]["thread_id"], found.checkpoint["id"]) for found in everything}) == 120
    assert len(everything) == 120
    assert len(await listed(saver, limit=70)) == 70


async def test_a_copy_has_the_whole_history_and_is_apart(saver: SqliteSaver) -> None:
    config: Any = place("source")
    for n in range(3):
        about: Any = {"step": n, "thread_id": "source"}
        config = await saver.aput(config, checkpoint({"n": n}), about, {})
        await saver.aput_writes(config, [("log", n)], "task")
    await saver.aput(place("source", "child"), checkpoint({"in": "child"}), {}, {})
    await saver.acopy_thread("source", "copy")
    source, copy = [await listed(saver, {"configurable": {"thread_id": t}}) for t in ("source", "copy")]
    assert len(copy) == 4
    for one, other in zip(source, copy, strict=True):
        assert (one.checkpoint, one.pending_writes) == (other.checkpoint, other.pending_writes)
        assert other.config["configurable"]["thread_id"] == "copy"
    assert [found.metadata.get("thread_id") for found in copy] == [None, "copy", "copy", "copy"]
    await saver.adelete_thread("source")
    assert await listed(saver, {"configurable": {"thread_id": "source"}}) == []
    assert len(await listed(saver, {"configurable": {"thread_id": "copy"}})) == 4


async def test_what_runs_wrote_is_deleted_and_nothing_else(saver: SqliteSaver) -> None:
    config: Any = place("t")
    for run in ("r1", "r2", "r2", "r3"):
        about: Any = {"run_id": run}
        config = await saver.aput(config, checkpoint(), about, {})
        await saver.aput_writes(config, [("log", run)], "task")
    await saver.adelete_for_runs(["r2", "r3"])
    left = await listed(saver)
    assert [found.metadata["run_id"] for found in left] == ["r1"]
    assert [value for _, _, value in left[0].pending_writes or []] == ["r1"]
    assert len(result(saver.database.query(lambda tx: tx.all("SELECT * FROM writes")))) == 1


async def test_of_a_thread_without_a_root_graph_the_newest_of_each_namespace_is_kept(saver: SqliteSaver) -> None:
    newest = set[str]()
    for ns in ("one", "two"):
        first = await saver.aput(place("t", ns), checkpoint({"n": 1}), {}, {})
        newest.add((await saver.aput(first, checkpoint({"n": 2}), {}, {}))["configurable"]["checkpoint_id"])
    await saver.aprune(["t"])
    assert {found.checkpoint["id"] for found in await listed(saver)} == newest


async def test_metadata_of_a_run_may_hold_what_json_does_not(saver: SqliteSaver) -> None:
    held = {(1, 2): "pair", b"key": 1, "one": Path("a"), "none": [math.nan, math.inf], "words": "NaN"}
    config: Any = {**place("t"), "metadata": {"held": held, "ratio": -math.inf}}
    put = await saver.aput(config, checkpoint(), {}, {})
    read = {"held": {"one": "a", "none": [None, None], "words": "NaN"}, "ratio": None}
    assert [one.metadata for one in await listed(saver)] == [read]
    await saver.database.write(forks.fork, "t", put["configurable"]["checkpoint_id"], "fork")
    assert [one.metadata for one in await listed(saver, place("fork"))] == [read]


@pytest.mark.parametrize("key", ["it's", 'quo"te', "a.b", "$", "x') OR 1=1 --", "", "[0]", "ü", "a\x00b"])
async def test_a_filter_finds_any_key_and_runs_none(saver: SqliteSaver, key: str) -> None:
    """See CVE-2025-67644: keys are data."""
    for value in ("wanted", "other"):
        about: Any = {key: value}
        await saver.aput(place("t"), checkpoint(), about, {})
    found = await listed(saver, filter={key: "wanted"})
    assert [one.metadata for one in found] == [{key: "wanted"}]
    assert await listed(saver, filter={key + "x": "wanted"}) == []


class Refused(Exception):
    pass


@pytest.mark.parametrize("wait", [True, False])
async def test_a_guard_refuses_every_write(saver: SqliteSaver, wait: bool) -> None:
    def guard(tx: Tx) -> None:
        raise Refused

    kept = await saver.aput(place("t"), checkpoint({"n": 1}), {}, {})
    guarded = SqliteSaver(saver.database, guard=guard, wait=wait)
    with pytest.raises(Refused):
        await guarded.aput(place("t"), checkpoint({"n": 2}), {}, {})
        await guarded.settled()
    with pytest.raises(Refused):
        await guarded.aput_writes(kept, [("log", 1)], "task")
        await guarded.settled()
    (left,) = await listed(saver)
    assert (left.checkpoint["channel_values"], left.pending_writes) == ({"n": 1}, [])


async def test_what_is_not_waited_for_is_settled_in_order(saver: SqliteSaver) -> None:
    ahead = SqliteSaver(saver.database, wait=False)
    held, config = Held(saver.database), place("t")
    made = [checkpoint({"n": n}) for n in range(5)]
    for one in made:
        config = await ahead.aput(config, one, {}, {})  # the writer is busy: this would wait for ever
    end = saver.database.submit(lambda tx: tx.one("SELECT count(*) AS n FROM checkpoints"))
    held.release()
    assert result(end)["n"] == 5, "what is submitted later sees them"
    await ahead.settled()
    assert [found.checkpoint["id"] for found in await listed(saver)] == [one["id"] for one in reversed(made)]


async def test_what_tasks_wrote_commits_with_the_checkpoint_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One commit for a superstep, also for who waits for each of its puts. The clock is asked once for a commit."""
    commits: list[datetime] = []

    def clock() -> datetime:
        commits.append(datetime.now(UTC))
        return commits[-1]

    monkeypatch.setattr("threadmill_checkpoints.saver.sqlite.JOINED_S", 60)
    database = SqliteDatabase(tmp_path / "ours.sqlite", readers=1, clock=clock, prepare=migrate_sqlite)
    try:
        saver, first = SqliteSaver(database), checkpoint()
        await saver.aput(place("t"), first, {}, {})
        at = place("t", "", first["id"])
        written = asyncio.create_task(saver.aput_writes(at, [("x", 1)], "task"))
        await asyncio.wait({written}, timeout=0.05)  # by itself it does not commit yet
        await saver.aput(at, checkpoint(), {}, {})
        await written
        assert len(commits) == 2
    finally:
        await database.close()


async def test_a_run_sees_what_it_has_not_waited_for(saver: SqliteSaver) -> None:
    ahead = SqliteSaver(saver.database, wait=False)
    config = await ahead.aput(place("t"), checkpoint({"n": 1}), {}, {})
    await ahead.aput_writes(config, [("log", "x")], "task")
    found = await ahead.aget_tuple(place("t"))
    assert found is not None and found.pending_writes == [("task", "log", "x")]


async def test_a_message_keeps_its_id_while_others_are_at_work(saver: SqliteSaver) -> None:
    """LangGraph gives it one at the end of the superstep, and another to whoever reads the state before."""
    over = asyncio.Event()

    async def quick(_: Any) -> Any:
        return {"messages": [AIMessage("quick")]}

    async def slow(_: Any) -> Any:
        await over.wait()
        return {"messages": AIMessage("slow")}

    builder = StateGraph(MessagesState).add_node(quick).add_node(slow)
    graph = builder.add_edge(START, "quick").add_edge(START, "slow").compile(saver)

    async def ids() -> list[Any]:
        return [one.id for one in (await graph.aget_state(place("t"))).values.get("messages", ())]

    async def two() -> list[Any]:
        return found if len(found := await ids()) == 2 else []

    running = asyncio.create_task(graph.ainvoke({"messages": [HumanMessage("go")]}, place("t")))
    seen = await until(two)
    assert await ids() == seen
    over.set()
    await running
    assert (await ids())[:2] == seen


class Words(TypedDict):
    words: Annotated[list[str], operator.add]


class Rounds(TypedDict):
    round: int


def rounds(saver: SqliteSaver, seen: list[int], meanwhile: Callable[[Any], object] = lambda _: None) -> Any:
    """Its subgraph speaks three times in a run, and is `seen` to remember so many words; `meanwhile` gets the graph."""

    def speak(memory: Words) -> Any:
        seen.append(len(memory["words"]))
        return {"words": ["w"]}

    def count(state: Rounds) -> Any:
        meanwhile(graph)
        return {"round": state["round"] + 1}

    speaker = StateGraph(Words).add_node(speak).add_edge(START, "speak").compile(checkpointer=True)
    builder = StateGraph(Rounds).add_node(count).add_node("speaker", speaker).add_edge(START, "count")
    builder.add_edge("count", "speaker")
    builder.add_conditional_edges("speaker", lambda state: "count" if state["round"] < 3 else END, ["count", END])
    graph = builder.compile(checkpointer=saver)
    return graph


async def test_a_subgraph_remembers_what_the_same_run_just_did(saver: SqliteSaver) -> None:
    """Also when the run was sent back to an earlier checkpoint, and the disk does not know yet how far it has come."""
    seen: list[int] = []

    graph, at = rounds(saver, seen), place("t")

    def story() -> None:
        for _ in range(2):
            graph.invoke({"round": 0}, at)
        begin = next(one for one in graph.get_state_history(at) if one.next == ("count",) and one.values["round"] == 0)
        graph.invoke(None, begin.config)

    await asyncio.to_thread(story)
    assert seen == [0, 1, 2, 3, 4, 5, 3, 4, 5]


@pytest.mark.parametrize("where", ["the newest", "an earlier one"])
async def test_who_reads_the_state_meanwhile_does_not_change_what_a_run_remembers(
    saver: SqliteSaver, where: str
) -> None:
    seen: list[int] = []
    read: list[Any] = [place("t")]
    graph = rounds(saver, seen, lambda graph: graph.get_state(read[-1]))

    def story() -> None:
        graph.invoke({"round": 0}, place("t"))
        if where == "an earlier one":
            read.append(next(one.config for one in graph.get_state_history(place("t")) if one.next == ("count",)))
        graph.invoke({"round": 0}, place("t"), durability="exit")

    await asyncio.to_thread(story)
    assert seen == [0, 1, 2, 3, 4, 5]


async def test_a_run_cannot_be_far_ahead_of_the_disk(saver: SqliteSaver) -> None:
    ahead, held = SqliteSaver(saver.database, wait=False), Held(saver.database)
    done: list[int] = []

    async def hurry() -> None:
        for n in range(1000):
            await ahead.aput(place("t"), checkpoint(), {}, {})
            done.append(n)

    running = asyncio.ensure_future(hurry())
    for _ in range(2000):  # turns of the event loop, more than it could use
        await asyncio.sleep(0)
    assert 0 < len(done) < 500
    held.release()
    await running
    await ahead.settled()
    assert len(await listed(saver)) == 1000


async def test_how_far_a_run_may_be_ahead_is_not_shared_with_others(saver: SqliteSaver) -> None:
    """A crowd on one saver need not wait for the disk because all of them together are far ahead."""
    ahead, held = SqliteSaver(saver.database, wait=False), Held(saver.database)
    made = [(f"t{n % 16}", checkpoint()) for n in range(16 * 30)]
    for thread, one in made:
        await ahead.aput(place(thread), one, {}, {})
    assert not held.done.done(), "one of them waited for the disk"
    held.release()
    await ahead.settled()
    assert len([one async for one in saver.alist(None)]) == len(made)


async def test_what_waits_for_the_disk_is_few_objects(saver: SqliteSaver) -> None:
    """The garbage collector walks over all of them again and again, which costs a crowd more than its rows do."""
    ahead, held, steps = SqliteSaver(saver.database, wait=False), Held(saver.database), 30
    config = await ahead.aput(place("t"), checkpoint({"n": 0}), {}, {})
    gc.collect()
    before = len(gc.get_objects())
    for n in range(steps):
        await ahead.aput_writes(config, [("n", n), ("log", "x")], f"task{n}")
        config = await ahead.aput(config, checkpoint({"n": n}), {}, {})
    gc.collect()
    assert (len(gc.get_objects()) - before) / steps < 10
    held.release()
    await ahead.settled()


async def test_a_thread_that_has_no_parts_is_not_asked_what_it_holds(saver: SqliteSaver) -> None:
    """Small values stand in the checkpoint itself."""
    said: list[str] = []
    saver.database.submit(lambda tx: cast("SqliteTx", tx).connection.set_trace_callback(said.append)).result()
    await saver.aput(place("t"), checkpoint({"n": 1}), {}, {})
    assert [one.split()[4] for one in said if "INTO" in one] == ["checkpoints"]
    assert not [one for one in said if "blob" in one]


async def test_a_commit_that_fails_is_not_mistaken_for_a_checkpoint(saver: SqliteSaver) -> None:
    """The checkpoint itself was fine; another transaction of the same group broke the commit."""
    ahead, held = SqliteSaver(saver.database, wait=False), Held(saver.database)
    await ahead.aput(place("t"), checkpoint({"n": 1}), {}, {})

    def give_up(tx: Any) -> None:
        tx.connection.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise OSError("disk full")

    broken = saver.database.submit(give_up)
    held.release()
    with pytest.raises(OSError, match="disk full"):
        result(broken)
    with pytest.raises(DatabaseError, match="could not be written"):
        await ahead.settled()
    assert await listed(saver) == [], "the commit did not fail: the test shows nothing"


async def test_what_was_rolled_back_is_not_read_in_the_place_of_what_came_then(saver: SqliteSaver) -> None:
    one, other = HumanMessage("one", id="1"), HumanMessage("other", id="2")

    def stop(tx: Tx) -> None:
        tx.run("CREATE TRIGGER stop AFTER INSERT ON checkpoints BEGIN SELECT RAISE(ABORT, 'no more'); END")

    await saver.database.write(stop)
    with pytest.raises(IntegrityError):
        await saver.aput(place("t"), checkpoint({"messages": [one]}), {}, {})
    await saver.database.write(lambda tx: tx.run("DROP TRIGGER stop"))
    await saver.aput(place("t"), checkpoint({"messages": [other]}), {}, {})
    at = await saver.aput(place("t"), checkpoint({"messages": [other, one]}), {}, {})
    found = await saver.aget_tuple(at)
    assert found is not None and found.checkpoint["channel_values"]["messages"] == [other, one]


@pytest.mark.parametrize("which", ["the step after it", "a later one"])
async def test_a_fork_lists_what_is_remembered_of_a_step_that_is_gone(saver: SqliteSaver, which: str) -> None:
    """With its source, and without."""
    gone = await saver.aput(place("source"), checkpoint(), {"run_id": "r1"}, {})
    under: Any = {"run_id": "r2", "parents": {"": gone["configurable"]["checkpoint_id"]}}
    kept = await saver.aput(place("source", "child"), checkpoint({"n": 1}), under, {})
    config: Any = gone
    for _ in range(1 if which == "the step after it" else 2):
        config = await saver.aput(config, checkpoint(), {"run_id": "r2"}, {})
    await saver.adelete_for_runs(["r1"])
    await saver.database.write(forks.fork, "source", config["configurable"]["checkpoint_id"], "fork")
    for _ in range(2):
        found = await listed(saver, place("fork", "child"))
        assert [one.checkpoint["id"] for one in found] == [kept["configurable"]["checkpoint_id"]]
        assert await saver.aget_tuple({"configurable": found[0].config["configurable"]}) is not None
        await saver.adelete_thread("source")


async def test_a_fork_does_not_remember_what_its_source_was_told_since(saver: SqliteSaver) -> None:
    """Not when the source is deleted either, and the fork gets what it has of it."""
    first = await saver.aput(place("t"), checkpoint(), {}, {})
    tip = await saver.aput(first, checkpoint(), {}, {})
    at = tip["configurable"]["checkpoint_id"]
    await saver.database.write(forks.fork, "t", at, "fork")
    told: Any = {"parents": {"": at}}
    await saver.aput(place("t", "memory"), checkpoint({"messages": [HumanMessage("secret")]}), told, {})
    await saver.adelete_thread("t")
    assert len(await listed(saver, place("fork"))) == 2
    assert await listed(saver, place("fork", "memory")) == []


def test_the_synchronous_methods_work_from_a_worker_thread(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as saver:

            def node() -> list[CheckpointTuple]:
                config = saver.put(place("t"), checkpoint({"n": 1}), {"step": 1}, {})
                saver.put_writes(config, [("log", "x")], "task")
                assert saver.get_tuple(place("t")) == saver.get_tuple(config)
                saver.copy_thread("t", "copy")
                saver.delete_thread("t")
                assert saver.get_tuple(place("t")) is None
                return list(saver.list({"configurable": {"thread_id": "copy"}}, filter={"step": 1}))

            (found,) = await asyncio.get_running_loop().run_in_executor(None, node)
            assert [found] == await listed(saver)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda n: saver.put(place(f"t{n}"), checkpoint(), {}, {}), range(40)))
            assert len(await listed(saver)) == 41

    asyncio.run(main())


# What is stored


async def test_a_crafted_blob_is_neither_run_nor_imported(strict: SqliteSaver, tmp_path: Path) -> None:
    """The msgpack extensions by which LangGraph names a class or function to call (CVE-2026-28277)."""
    saver, proof = strict, tmp_path / "proof"
    await saver.aput(place("t"), checkpoint({"n": 1}), {}, {})
    calls = [
        (0, ("os", "system", [f"touch {proof}"])),
        (1, ("os", "system", f"touch {proof}")),
        (2, ("os", "system", [f"touch {proof}"], {}, None)),
        (3, ("subprocess", "getoutput", {"cmd": f"touch {proof}"}, "getoutput")),
        (0, ("antigravity", "fly", [])),
        (5, ("os", "system", {"command": f"touch {proof}"}, "system")),
    ]
    for code, payload in calls:
        blob = ormsgpack.packb({"v": 1, "bad": ormsgpack.Ext(code, ormsgpack.packb(payload))})

        def plant(tx: Tx, blob: bytes = blob) -> None:
            tx.run("UPDATE checkpoints SET type = 'msgpack', checkpoint = :blob", blob=blob)

        result(saver.database.submit(plant))
        try:
            await saver.aget_tuple(place("t"))
        except Exception as refused:
            assert "touch" not in str(refused)
        assert not proof.exists()
        assert "antigravity" not in sys.modules


@pytest.mark.parametrize("kind", ["pickle", "json", "unheard of"])
async def test_no_other_form_of_storage_is_read(strict: SqliteSaver, kind: str, tmp_path: Path) -> None:
    saver, proof = strict, tmp_path / "proof"
    await saver.aput(place("t"), checkpoint(), {}, {})
    pickled = b"cos\nsystem\n(S'touch " + str(proof).encode() + b"'\ntR."
    constructed = (
        b'{"lc": 2, "type": "constructor", "id": ["os", "system"], "args": ["touch %s"]}' % str(proof).encode()
    )
    blob = pickled if kind == "pickle" else constructed

    def plant(tx: Tx) -> None:
        tx.run("UPDATE checkpoints SET type = :kind, checkpoint = :blob", kind=kind, blob=blob)

    result(saver.database.submit(plant))
    try:
        await saver.aget_tuple(place("t"))
    except Exception as refused:
        assert not isinstance(refused, AssertionError)
    assert not proof.exists()


class Opaque:
    pass


ODD: dict[str, tuple[Any, Any]] = {
    "huge integer": (2**80, str(2**80)),
    "lone surrogate": ("half \ud83e", "half ?"),
    "nested": ({"a": [2**80, {"b": "\ud83e"}]}, {"a": [str(2**80), {"b": "?"}]}),
    "set": ({1, 2}, {1, 2}),
    "bytes": (b"\x00\xff", b"\x00\xff"),
    "messages": ([HumanMessage("hi", id="1"), AIMessage("yes", id="2")],) * 2,
    "tuple keys": ({(1, 2): 3}, {(1, 2): 3}),
    "unicode": ("你好 🧵 \u2028", "你好 🧵 \u2028"),
}


@pytest.mark.parametrize("name", ODD)
async def test_odd_values_come_back(tmp_path: Path, name: str) -> None:
    given, expected = ODD[name]
    async with opened(tmp_path, serde=Serializer()) as saver:
        config = await saver.aput(place("t"), checkpoint({"v": given}), {}, {})
        await saver.aput_writes(config, [("log", given)], "task")
        found = await saver.aget_tuple(config)
    assert found is not None and found.pending_writes is not None
    assert found.checkpoint["channel_values"]["v"] == expected
    assert found.pending_writes[0][2] == expected


async def test_values_of_the_same_bytes_are_told_apart(strict: SqliteSaver) -> None:
    """Parts are shared by what they are, not by how they are packed."""
    long, many = "x" * 5000, set(range(300))
    values = {
        "text": long,
        "bytes": long.encode(),
        "marked": b"t" + long.encode(),
        "listed": [long, long.encode()],
        "set": many,
        "packed": Serializer().dumps_typed(many)[1],
    }
    config = await strict.aput(place("t"), checkpoint(values), {}, {})
    found = await strict.aget_tuple(config)
    assert found is not None and found.checkpoint["channel_values"] == values
    assert {name: type(value) for name, value in found.checkpoint["channel_values"].items()} == {
        name: type(value) for name, value in values.items()
    }


@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_thread_that_was_deleted_can_come_again(tmp_path: Path, goes_on: bool) -> None:
    """With what it said before, of which nothing is there any more; also by a graph that has not heard of it."""
    said = checkpoint({"messages": [HumanMessage("a long message " * 50, id="1")]})
    said["channel_versions"] = {"messages": "1"}
    then = {**said, "id": checkpoint()["id"]} if goes_on else said
    async with opened(tmp_path, serde=Serializer()) as ours:
        await ours.aput(place("t"), said, {}, {})
        await ours.adelete_thread("t")
        await ours.aput(place("t", "", said["id"] if goes_on else None), then, {}, {})
    async with opened(tmp_path, serde=Serializer()) as ours:
        found = await ours.aget_tuple(place("t"))
        assert found is not None and found.checkpoint["channel_values"] == said["channel_values"]


async def test_what_cannot_be_stored_says_so_and_fails_nothing(tmp_path: Path) -> None:
    values = {"v": [1, Opaque(), lambda: 1], "snapshot": _DeltaSnapshot([1, Opaque()])}
    async with opened(tmp_path, serde=Serializer()) as saver:
        config = await saver.aput(place("t"), checkpoint(values), {}, {})
        found = await saver.aget_tuple(config)
    assert found is not None
    stored = found.checkpoint["channel_values"]
    assert isinstance(stored["snapshot"], _DeltaSnapshot)
    for kept, *odd in (stored["v"], stored["snapshot"].value):
        assert kept == 1
        assert all("cannot be stored" in text for text in odd)
