"""A message that is forgotten is nowhere any more, and the conversation goes on."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Server

from threadmill_checkpoints.vacuum import vacuum

pytestmark = pytest.mark.anyio
SECRET = "the-cat-is-called-Montgomery"
LARGE = SECRET + " and " * 2000 + SECRET


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(tmp_path_factory.mktemp("keeping") / "data").start()
    yield own
    own.kill()


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


def planted(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


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
    answer = await http.post(f"/threads/{place}/messages/{said['id']}/forget")
    assert answer.status_code == 409 and "in-flight" in answer.json()["detail"]
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
        assert (await http.post("/search", json={"query": f'"{SECRET}"'})).json()["hits"] == []
        assert SECRET not in (await http.get(f"/threads/{place}")).text
    await as_before(client, place, before)
    assert keeping.term() == 0
    with sqlite3.connect(data / "threadmill.sqlite") as connection:
        connection.isolation_level = None
        vacuum(connection)
    connection.close()
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
