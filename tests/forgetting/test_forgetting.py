"""A message that is forgotten is nowhere any more, and the conversation goes on."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver as Official
from langgraph.graph import START, MessagesState, StateGraph
from langgraph_sdk.client import LangGraphClient
from serving import Server, status_is, until

from threadmill.events.event import unpack
from threadmill_checkpoints.vacuum import vacuum

pytestmark = pytest.mark.anyio
SECRET = "the-cat-is-called-Montgomery"
LARGE = SECRET + " and " * 2000 + SECRET
PROJECT = Path(__file__).parent / "project" / "langgraph.json"
OLD = str(uuid4())  # a thread in the layout of LangGraph's own saver, and a copy of it
OLD_SECRET, DELTA_SECRET, QUOTED = (
    "the-dog-is-called-Wellington",
    "the-fox-is-called-Blücher",
    "the owl's name is Nelson",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keeping")


@pytest.fixture(scope="module")
def keeping(folder: Path) -> Iterator[Server]:
    (folder / "data").mkdir()
    with Official.from_conn_string(str(folder / "data" / "threadmill.sqlite")) as saver:
        said = StateGraph(MessagesState).add_node("say", answer).add_edge(START, "say").compile(checkpointer=saver)
        for text in (OLD_SECRET, "something harmless"):
            said.invoke({"messages": [HumanMessage(text)]}, {"configurable": {"thread_id": OLD}})
    own = Server(folder / "data", PROJECT, {"GATE": str(folder / "gate")}).start()
    yield own
    own.kill()


def answer(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{len(state['messages'])}: {state['messages'][-1].content}")]}


@pytest.fixture
def client(keeping: Server) -> LangGraphClient:
    return keeping.client()


@pytest.fixture
async def http(keeping: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with keeping.http as raw:
        yield raw


async def messages(client: LangGraphClient, thread_id: str, **at: Any) -> list[dict[str, Any]]:
    state: Any = await client.threads.get_state(thread_id, **at)
    return list(state["values"]["messages"])


async def forget(http: httpx.AsyncClient, thread_id: str | None, message_id: str) -> Any:
    place = f"/threads/{thread_id}" if thread_id else ""
    answer = await http.post(f"{place}/messages/{message_id}/forget")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def hits(http: httpx.AsyncClient, query: str, *thread_ids: str) -> list[Any]:
    wanted = {"query": query} | ({"thread_ids": thread_ids} if thread_ids else {})
    return list((await http.post("/search", json=wanted)).json()["hits"])


def planted(folder: Path, secret: str = SECRET) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and secret.encode() in file.read_bytes()]


def vacuumed(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "threadmill.sqlite", timeout=10)) as connection:
        connection.isolation_level = None
        vacuum(connection)


async def test_tool_calls_keep_their_answers(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = (await client.threads.create())["thread_id"]
    await client.runs.wait(place, "tools", input={"messages": [{"role": "user", "content": "add 41770 5"}]})
    human, asked, answered, last = await messages(client, place)
    told = await forget(http, place, asked["id"])
    assert set(told["message_ids"]) == {asked["id"], answered["id"]} and told["threads"] == [place]
    assert told["erased"]["messages"] == 2 and told["erased"]["events"] > 0
    now = await messages(client, place)
    assert [one["id"] for one in now] == [human["id"], asked["id"], answered["id"], last["id"]]
    (call,) = now[1]["tool_calls"]
    assert call["args"] == {} and (call["id"], call["name"]) == (now[2]["tool_call_id"], "add")
    assert [now[1]["content"], now[2]["content"]] == ["[forgotten]", "[forgotten]"]
    hits = (await http.post("/search", json={"query": "41775", "thread_ids": [place]})).json()["hits"]
    assert {hit["message_id"] for hit in hits} == {last["id"]}
    await client.runs.wait(place, "tools", input={"messages": [{"role": "user", "content": "add 1 2"}]})
    assert len(await messages(client, place)) == 8


async def test_what_is_not_there_and_what_is_busy(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    place = (await client.threads.create())["thread_id"]
    await client.runs.wait(place, "echo", input={"messages": [{"role": "user", "content": "hello there"}]})
    (said, _) = await messages(client, place)
    other = (await client.threads.create())["thread_id"]
    for path in (f"/threads/{place}/messages/nothing", f"/threads/{other}/messages/{said['id']}", "/messages/nothing"):
        answer = await http.post(f"{path}/forget")
        assert answer.status_code == 404 and answer.json()["detail"].endswith("not found")
    run = await client.runs.create(place, "slow", input={"steps": 200, "delay": 0.05})
    await status_is(client, place, run["run_id"], "running")
    answer = await http.post(f"/threads/{place}/messages/{said['id']}/forget")
    assert answer.status_code == 409 and "is running" in answer.json()["detail"]
    await client.runs.cancel(place, run["run_id"], wait=True)


async def test_another_thread_keeps_the_same_words(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    """Their inputs are one part in the database."""
    text = "the same words in two threads. " * 200
    mine, other = [(await client.threads.create())["thread_id"] for _ in range(2)]
    for place in (mine, other):
        await client.runs.wait(place, "echo", input={"messages": text})
        await client.runs.wait(place, "echo", input={"messages": [{"role": "user", "content": "short"}]})
    kept = await client.threads.get_history(other, limit=50)
    for one in (await messages(client, mine))[:2]:
        await forget(http, mine, one["id"])
    assert await client.threads.get_history(other, limit=50) == kept
    assert "the same words" not in str(await client.threads.get_history(mine, limit=50))
    assert "the same words" not in str(await client.runs.list(mine))
    again = (await messages(client, mine))[2]
    await forget(http, mine, again["id"])
    assert [one["input"] for one in [run["kwargs"] for run in await client.runs.list(mine)]] == [
        {"messages": [{"role": "user", "content": "[forgotten]"}]},
        {"messages": "[forgotten]"},
    ]


async def test_nothing_of_it_is_left_and_the_thread_goes_on(keeping: Server) -> None:
    client, data = keeping.client(), keeping.data_dir
    place = (await client.threads.create())["thread_id"]
    modes: Any = ["values", "messages", "updates", "tasks", "debug", "events"]
    for text in (SECRET, "something harmless", LARGE):
        async for _ in client.runs.stream(place, "echo", input={"messages": text}, stream_mode=modes):
            pass
    async with keeping.http as http:
        fork = (await http.post(f"/threads/{place}/fork", json={})).json()["thread_id"]
    copy: Any = (await client.threads.copy(place))["thread_id"]
    for one in (fork, copy):
        await client.runs.wait(one, "echo", input={"messages": "and on"})
    before = await messages(client, place)
    found = [one for one in before if SECRET in one["content"]]
    assert len(found) == 4 and planted(data)
    async with keeping.http as http:
        for number, one in enumerate(found):
            told = await forget(http, place if number % 2 else None, one["id"])
            assert set(told["threads"]) == {place, fork, copy}
        assert await hits(http, f'"{SECRET}"') == []
        assert SECRET not in (await http.get(f"/threads/{place}")).text
    await as_before(client, place, before)
    assert keeping.term() == 0
    vacuumed(data)
    assert planted(data) == []
    keeping.start()
    for one in (place, fork, copy):
        now = await messages(client, one)
        assert [message["id"] for message in now[:6]] == [message["id"] for message in before]
        async for _ in client.runs.stream(one, "echo", input={"messages": "still here"}, stream_mode="messages"):
            pass
        assert (await messages(client, one))[-1]["content"] == f"{len(now) + 1}: still here"


async def as_before(client: LangGraphClient, place: str, before: list[dict[str, Any]]) -> None:
    """Every checkpoint of the past has the messages that it had, in their order, without their words."""
    ids = [message["id"] for message in before]
    for state in await client.threads.get_history(place, limit=100):
        said: Any = state["values"].get("messages", [])
        assert [one["id"] for one in said] == ids[: len(said)]
        assert SECRET not in str(state)


async def test_states_of_other_layouts_lose_it_too(keeping: Server) -> None:
    """Where messages are no parts of their own: whole states, as LangGraph's saver writes them, and writes that a state
    is rebuilt from."""
    client, data = keeping.client(), keeping.data_dir
    await client.threads.create(thread_id=OLD, graph_id="echo")
    copy: Any = (await client.threads.copy(OLD))["thread_id"]
    delta = (await client.threads.create())["thread_id"]
    for text in (DELTA_SECRET, "something harmless"):
        await client.runs.wait(delta, "deltas", input={"messages": [{"role": "user", "content": text}]})
    async with keeping.http as http:
        for place, secret, among in ((OLD, OLD_SECRET, {OLD, copy}), (delta, DELTA_SECRET, {delta})):
            before = await messages(client, place)
            found = [one for one in before if secret in one["content"]]
            assert len(found) == 2 and planted(data, secret)
            for number, one in enumerate(found):
                assert set((await forget(http, place if number else None, one["id"]))["threads"]) == among
            await as_before(client, place, before)
            assert await hits(http, f'"{secret}"') == []
        await until(lambda: hits(http, "harmless", OLD))
    vacuumed(data)
    assert [planted(data, one) for one in (OLD_SECRET, DELTA_SECRET)] == [[], []]
    for place, graph in ((OLD, "echo"), (copy, "echo"), (delta, "deltas")):
        said: Any = await client.runs.wait(
            place, graph, input={"messages": [{"role": "user", "content": "still here"}]}
        )
        assert [one["content"] for one in said["messages"]] == [
            *("[forgotten]", "[forgotten]", "something harmless", "3: something harmless"),
            *("still here", "5: still here"),
        ]


PLACES = (
    *("threads.title", "threads.error", "runs.kwargs", "runs.error", "injections.message", "receipts.output"),
    *("webhook_deliveries.body", "interrupts.value", "search_index.text", "blobs.data", "writes.value"),
)


def quoted(data: Path) -> set[str]:
    """The places that have it; in most, its apostrophe is written in another way."""
    with closing(sqlite3.connect(data / "threadmill.sqlite")) as there:
        said = {
            place: [*there.execute("SELECT {1} FROM {0}".format(*place.split(".")))]
            for place in PLACES  # from no outside
        }
        events = [*there.execute("SELECT run_id, data FROM events")]
    found = {place for place, rows in said.items() if any(b"name is Nelson" in _bytes(text) for (text,) in rows)}
    return found | {"events" for row in events for event in unpack(*row) if b"name is Nelson" in event.data}


def _bytes(stored: Any) -> bytes:
    return stored if isinstance(stored, bytes) else str(stored).encode()


async def test_what_quotes_it_does_so_no_longer(keeping: Server, folder: Path) -> None:
    """Errors, questions, receipts and titles tell in other words what somebody said; what waits to be run or sent is
    changed where it waits."""
    client, data = keeping.client(), keeping.data_dir
    place, asking = [(await client.threads.create())["thread_id"] for _ in range(2)]
    said = {"messages": [{"role": "user", "content": QUOTED}]}
    await client.runs.wait(asking, "quoting", input=said, config={"configurable": {"how": "ask"}})
    run = await client.runs.create(place, "quoting", input=said, config={"configurable": {"how": "wait"}})
    await status_is(client, place, run["run_id"], "running")
    async with keeping.http as http:
        told = {"id": 1, "method": "input.inject", "params": {"message": said["messages"][0]}}
        assert (await http.post(f"/threads/{place}/commands", json=told)).json()["type"] == "success"
        (folder / "gate").touch()
        await client.runs.join(place, run["run_id"])
        hook = "http://127.0.0.1:9/nobody"
        failing: Any = {"config": {"configurable": {"how": "fail"}}, "webhook": hook, "raise_error": False}
        await client.runs.wait(place, "quoting", input=said, **failing)
        titled = await http.patch(f"/threads/{place}", json={"title": f"How {QUOTED}, or not"})
        assert titled.status_code == 200
        later = await client.runs.create(place, "quoting", input=said, after_seconds=3600)

        async def indexed() -> bool:
            return quoted(data) == {*PLACES, "events"}

        await until(indexed)
        for one in (place, asking):
            for message in await messages(client, one):
                if message["content"] == QUOTED or message.get("tool_calls"):
                    await forget(http, one, message["id"])
        assert "Nelson" not in str([await client.threads.get(one) for one in (place, asking)])
        assert "Nelson" not in str([await client.runs.list(one) for one in (place, asking)])
        thread: Any = await client.threads.get(place)
        assert thread["title"] == "How [forgotten], or not"
        assert thread["error"]["message"] == 'no use for "[forgotten]" here'
        (waiting,) = [one for one in await client.runs.list(place) if one["status"] == "pending"]
        assert waiting["kwargs"]["input"]["messages"][0]["content"] == "[forgotten]"
        assert await hits(http, "Nelson") == []
        assert [one["kind"] for one in await until(lambda: hits(http, "use here", place))] == ["status"]
    vacuumed(data)
    assert quoted(data) == set()
    assert planted(data, "Nelson") == []
    await client.runs.cancel(place, later["run_id"], wait=True)
    done: Any = await client.runs.wait(asking, "quoting", command={"resume": "yes"})
    assert done["messages"][-1]["content"] == "done"
    done = await client.runs.wait(place, "quoting", input={"messages": [{"role": "user", "content": "and on"}]})
    assert [one["content"] for one in done["messages"]][-4:] == ["and on", "", "sent", "done"]
