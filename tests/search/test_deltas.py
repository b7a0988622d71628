"""What lies in a DeltaChannel, whose messages stand in no checkpoint but in what was written since one."""

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import IntegrityError
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver as Official
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer, add_messages
from langgraph_sdk.client import LangGraphClient
from search.test_search import indexed, said, search, talk
from serving import Server
from typing_extensions import TypedDict

from threadmill import threads
from threadmill_checkpoints import official
from threadmill_checkpoints.database import Tx
from threadmill_checkpoints.migrate import migrate_sqlite
from threadmill_checkpoints.saver import carried, deltas, forks
from threadmill_checkpoints.saver.sqlite import SqliteSaver
from threadmill_checkpoints.search import find
from threadmill_checkpoints.search.find import Hit
from threadmill_checkpoints.serde import Serializer
from threadmill_checkpoints.sqlite import SqliteDatabase

pytestmark = pytest.mark.anyio
LARGE = "long " * 1000


async def test_a_hit_names_the_first_checkpoint_that_has_it_on_every_branch(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    place = await talk(client, "a bandicoot first", graph="deltas")
    parted: Any = (await client.threads.get_state(place))["checkpoint"]
    await client.runs.wait(place, "deltas", input=said("a bandicoot second"))
    await client.runs.wait(place, "deltas", input=said("a bandicoot beside"), checkpoint=parted)
    found = await search(http, "bandicoot", kinds=["message"])
    told = [(hit["role"], hit["snippet"].replace("[[", "").replace("]]", "")) for hit in found]
    assert sorted(told) == sorted(
        [("human", f"a bandicoot {which}") for which in ("first", "second", "beside")]
        + [("ai", f"{number}: a bandicoot {which}") for number, which in ((1, "first"), (3, "second"), (3, "beside"))]
    )
    history = await client.threads.get_history(place, limit=50)
    for hit in found:
        having = [one["checkpoint"]["checkpoint_id"] for one in history if hit["message_id"] in str(one["values"])]
        assert hit["thread_id"] == place and hit["checkpoint_id"] == min(map(str, having))


async def test_what_is_deleted_is_not_found_and_a_copy_keeps_it(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    source = await talk(client, "a bilby first", graph="deltas")
    run = await client.runs.create(source, "deltas", input=said("a bilby second"))
    await client.runs.join(source, run["run_id"])
    copy: Any = (await client.threads.copy(source))["thread_id"]
    assert [hit["thread_id"] for hit in await search(http, "bilby", roles=["human"])] == [source, source]
    await client.runs.delete(source, run["run_id"])
    (hit,) = await search(http, '"bilby second"', roles=["human"])
    assert hit["thread_id"] == copy
    await client.threads.delete(source)
    assert [hit["thread_id"] for hit in await search(http, "bilby", roles=["human"])] == [copy, copy]
    await client.threads.delete(copy)
    assert await search(http, "bilby") == []


async def test_what_is_forgotten_is_not_found_and_what_was_said_with_it_is(
    client: LangGraphClient, http: httpx.AsyncClient
) -> None:
    place = await talk(client, "to begin", graph="deltas")
    both = [{"role": "user", "content": f"the potoroo {which}"} for which in ("stays", "goes")]
    await client.runs.wait(place, "deltas", input={"messages": both})
    await client.runs.wait(place, "deltas", input=said("later"))
    (goes,) = await search(http, '"potoroo goes"', roles=["human"])
    done = await http.post(f"/threads/{place}/messages/{goes['message_id']}/forget")
    assert done.status_code == 200, done.text
    (hit,) = await search(http, "potoroo", roles=["human"])
    assert hit["snippet"] == "the [[potoroo]] stays" and hit["checkpoint_id"] == goes["checkpoint_id"]
    values: Any = (await client.threads.get_state(place))["values"]
    assert [one["content"] for one in values["messages"]][2:4] == ["the potoroo stays", "[forgotten]"]


# In one database, without a server


def fold(state: list[AnyMessage], writes: Any) -> list[AnyMessage]:
    for write in writes:
        state = add_messages(state, write)  # type: ignore[assignment, arg-type]
    return state


def answering(saver: Any, frequency: int = 100, reducer: Any = fold) -> Any:
    class Deltas(TypedDict):
        messages: Annotated[list[AnyMessage], DeltaChannel(reducer, snapshot_frequency=frequency)]

    def answer(state: Deltas) -> dict[str, Any]:
        return {"messages": [AIMessage(f"{len(state['messages'])}: {state['messages'][-1].content}")]}

    return StateGraph(Deltas).add_node("say", answer).add_edge(START, "say").compile(checkpointer=saver)


def at(thread_id: str) -> Any:
    return {"configurable": {"thread_id": thread_id}}


def tell(graph: Any, thread_id: str, *texts: str) -> None:
    for text in texts:
        graph.invoke({"messages": [HumanMessage(text)]}, at(thread_id))


@pytest.fixture
async def open_file(tmp_path: Path) -> AsyncIterator[Callable[[str], SqliteDatabase]]:
    opened = list[SqliteDatabase]()

    def open(name: str) -> SqliteDatabase:
        opened.append(SqliteDatabase(tmp_path / name, prepare=migrate_sqlite))
        return opened[-1]

    yield open
    for one in opened:
        await one.close()


@pytest.fixture
async def saver(open_file: Callable[[str], SqliteDatabase]) -> SqliteSaver:
    database = open_file("threadmill.sqlite")
    await database.write(threads.create, "t")
    return SqliteSaver(database, serde=Serializer())


async def found(database: SqliteDatabase, query: str) -> list[Hit]:
    """Oldest first."""
    await indexed(database)
    hits = await database.read(find.find, find.Wanted(query), ("TRUE", {}), everything=True, limit=999)
    return hits[::-1]


def firsts(graph: Any, thread_id: str, hits: list[Hit]) -> list[bool]:
    """Whether each names the first checkpoint that has its message."""
    having: dict[str, list[str]] = {}
    for one in graph.get_state_history(at(thread_id)):
        for message in one.values.get("messages", []):
            having.setdefault(message.id, []).append(one.config["configurable"]["checkpoint_id"])
    return [hit.checkpoint_id == min(having[str(hit.message_id)]) for hit in hits]


@pytest.mark.parametrize("frequency", [1, 2, 3, 100])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_each_message_is_one_hit_whatever_snapshots_have_it(
    saver: SqliteSaver, frequency: int, durability: Any
) -> None:
    graph = answering(saver, frequency)
    texts = [f"quoll {number}" for number in range(5)] + [f"quoll {LARGE}"]
    for text in texts:
        graph.invoke({"messages": [HumanMessage(text)]}, at("t"), durability=durability)
    hits = await found(saver.database, "quoll")  # type: ignore[arg-type]
    assert len(hits) == 12 and all(firsts(graph, "t", hits))
    assert [one.content for one in graph.get_state(at("t")).values["messages"][::2]] == texts


async def test_what_is_given_in_short_is_found_with_the_reducer_of_langgraph(saver: SqliteSaver) -> None:
    graph = answering(saver, reducer=_messages_delta_reducer)
    for given in ("quokka one", ["quokka two"], [("user", "quokka three")], {"role": "user", "content": "quokka four"}):
        graph.invoke({"messages": given}, at("t"))
    hits = await found(saver.database, "quokka")  # type: ignore[arg-type]
    assert len(hits) == 8 and all(firsts(graph, "t", hits))


@pytest.mark.parametrize("counted", [5, "messages", ["messages"]])
async def test_only_counters_of_langgraph_name_such_channels(saver: SqliteSaver, counted: Any) -> None:
    def reply(state: Any) -> dict[str, Any]:
        return {"messages": [AIMessage("a whole bettong")]}

    whole = StateGraph(MessagesState).add_node("say", reply).add_edge(START, "say").compile(checkpointer=saver)
    whole.invoke({"messages": [HumanMessage("a bettong")]}, at("t") | {"metadata": {deltas.COUNTERS: counted}})
    await saver.database.write(lambda tx: tx.run("UPDATE search_marks SET number = 999 WHERE name = 'deltas'"))
    while (earlier := await saver.database.read(deltas.waiting)) is not None:
        await saver.database.write(deltas.put, Serializer(), earlier)
    assert [one.content for one in whole.get_state(at("t")).values["messages"]] == ["a bettong", "a whole bettong"]


@pytest.mark.parametrize("frequency", [2, 3, 5, 100])
async def test_what_later_runs_are_rebuilt_from_outlives_the_run_that_wrote_it(
    saver: SqliteSaver, frequency: int
) -> None:
    graph = answering(saver, frequency)
    for run in ("r1", "r2", "r3"):
        graph.invoke({"messages": [HumanMessage(f"by {run}")]}, at("t") | {"metadata": {"run_id": run}})
    before = {str(one.config): one.values for one in graph.get_state_history(at("t"))}
    saver.delete_for_runs(["r2"])
    left = {str(one.config): one.values for one in graph.get_state_history(at("t"))}
    assert left.items() <= before.items()
    told = ["by r1", "1: by r1", "by r2", "3: by r2", "by r3", "5: by r3"]
    assert [one.content for one in graph.get_state(at("t")).values["messages"]] == told
    saver.prune(["t"])
    assert [one.content for one in graph.get_state(at("t")).values["messages"]] == told
    saver.delete_for_runs(["r3"])
    assert await found(saver.database, '"by r3"') == []  # type: ignore[arg-type]


async def test_what_is_rolled_back_is_no_part_any_more(saver: SqliteSaver) -> None:
    graph, database = answering(saver), saver.database
    tell(graph, "t", "one")
    stop = "CREATE TRIGGER stop AFTER UPDATE ON writes BEGIN SELECT RAISE(ABORT, 'no more'); END"
    await database.write(lambda tx: tx.run(stop))
    said = {"messages": [HumanMessage("two", id="second")]}
    with pytest.raises(IntegrityError):
        graph.invoke(said, at("t"))
    await database.write(lambda tx: tx.run("DROP TRIGGER stop"))
    graph.invoke(said, at("t"))
    told = [one.content for one in graph.get_state(at("t")).values["messages"]]
    assert told == ["one", "1: one", "two", "3: two"]


async def test_what_is_pruned_is_found_at_a_checkpoint_that_is_left(saver: SqliteSaver) -> None:
    graph = answering(saver, 3)
    tell(graph, "t", *(f"numbat {number}" for number in range(5)))
    saver.prune(["t"])
    left = {one.config["configurable"]["checkpoint_id"] for one in graph.get_state_history(at("t"))}
    hits = await found(saver.database, "numbat")  # type: ignore[arg-type]
    assert len(hits) == 10 and {hit.checkpoint_id for hit in hits} <= left
    assert len(graph.get_state(at("t")).values["messages"]) == 10


async def test_a_fork_is_found_when_its_source_is_gone(saver: SqliteSaver) -> None:
    graph, database = answering(saver), saver.database
    tell(graph, "t", "dunnart one", "dunnart two")
    head = graph.get_state(at("t")).config["configurable"]["checkpoint_id"]
    await database.write(threads.create, "fork")
    await database.write(forks.fork, "t", head, "fork")
    tell(graph, "fork", "dunnart three")
    assert len(await found(database, "dunnart")) == 6  # type: ignore[arg-type]
    saver.delete_thread("t")
    await database.write(threads.delete, threads.ALL, "t")
    hits = await found(database, "dunnart")  # type: ignore[arg-type]
    assert len(hits) == 6 and all(firsts(graph, "fork", hits))


async def test_a_thread_that_is_carried_elsewhere_is_found_there(
    saver: SqliteSaver, open_file: Callable[[str], SqliteDatabase]
) -> None:
    tell(answering(saver), "t", "kowari one", f"kowari {LARGE}")
    leaving = await saver.database.read(carried.leave, Serializer(), "t")
    database = open_file("other.sqlite")
    await database.write(threads.create, "t")
    await database.write(carried.arrive, Serializer(), "t", leaving)
    graph, hits = answering(SqliteSaver(database, serde=Serializer())), await found(database, "kowari")
    assert len(hits) == 4 and all(firsts(graph, "t", hits))


@pytest.fixture(params=[60, 61], ids=["snapshot last", "writes last"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of LangGraph's own saver; an old one of ours has such messages as it has."""
    with Official.from_conn_string(str(tmp_path / "old.sqlite")) as saver:
        tell(answering(saver, 5), "t", f"mulgara {LARGE}", *(f"mulgara {number}" for number in range(1, request.param)))
    return tmp_path / "old.sqlite"


async def test_an_old_database_is_indexed(old: Path, open_file: Callable[[str], SqliteDatabase]) -> None:
    database = open_file("old.sqlite")
    await database.write(threads.create, "t")
    while (earlier := await database.read(deltas.waiting)) is not None:
        await database.write(deltas.put, Serializer(), earlier)
    graph = answering(SqliteSaver(database, serde=Serializer()), 5)
    before = [one.content for one in graph.get_state(at("t")).values["messages"]]
    hits = await found(database, "mulgara")
    assert len(hits) == len(before) and all(firsts(graph, "t", hits))
    tell(graph, "t", "mulgara again")
    assert await database.read(deltas.waiting) is None
    assert len(await found(database, "mulgara")) == len(before) + 2


async def test_a_thread_of_an_old_file_is_found_where_it_is_imported(
    old: Path, open_file: Callable[[str], SqliteDatabase]
) -> None:
    database = open_file("threadmill.sqlite")

    def copy(tx: Tx) -> None:
        with closing(official.OfficialFile(old)) as file:
            official.copy_thread(tx, file, Serializer(), "t", "t", lambda _: None)

    await database.write(threads.create, "t")
    await database.write(copy)
    graph, hits = answering(SqliteSaver(database, serde=Serializer()), 5), await found(database, "mulgara")
    assert len(hits) == len(graph.get_state(at("t")).values["messages"]) > 100 and all(firsts(graph, "t", hits))


async def test_the_server_indexes_what_was_there_before(tmp_path: Path) -> None:
    place = str(uuid4())
    (tmp_path / "data").mkdir()
    with Official.from_conn_string(str(tmp_path / "data" / "threadmill.sqlite")) as saver:
        tell(answering(saver), place, "an old wallaroo", "another")
    server = Server(tmp_path / "data").start()
    try:
        client = server.client()
        await client.threads.create(thread_id=place, graph_id="deltas")
        async with server.http as http:
            (hit,) = await search(http, "wallaroo", roles=["human"])
            done: Any = await client.runs.wait(place, "deltas", input=said("a new wallaroo"))
            assert done["messages"][-1]["content"] == "5: a new wallaroo"
            assert hit["thread_id"] == place
            assert len(await search(http, "wallaroo", kinds=["message"])) == 4
    finally:
        server.kill()
