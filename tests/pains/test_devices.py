"""Conversations are on the server: any device finds them, and a new one can be shown at once."""

import uuid
from typing import Any

import anyio
import httpx
import pytest
from langgraph_sdk.client import LangGraphClient
from serving import Remote, Server

pytestmark = pytest.mark.anyio


def human(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


async def test_another_device_finds_every_conversation_after_a_restart(own_server: Server) -> None:
    """P13: the history is in the browser that had it, or gone with the process."""
    laptop = own_server.client()
    for topic in ("tea", "trains"):
        place = (await laptop.threads.create(metadata={"user": "ada"}))["thread_id"]
        for turn in ("one", "two"):
            await laptop.runs.wait(place, "echo", input=human(f"{topic} {turn}"))
    own_server.restart()
    phone = own_server.client()
    found = await phone.threads.search(metadata={"user": "ada"}, select=["thread_id"])  # type: ignore[list-item]
    read = []
    for thread in reversed(found):
        values: Any = (await phone.threads.get_state(thread["thread_id"]))["values"]
        read.append([message["content"] for message in values["messages"]])
    assert read == [
        [f"{topic} one", f"1: {topic} one", f"{topic} two", f"3: {topic} two"] for topic in ("tea", "trains")
    ]
    answer: Any = await phone.runs.wait(found[0]["thread_id"], "echo", input=human("on"))
    assert answer["messages"][-1]["content"] == "5: on"


async def test_a_new_thread_is_there_before_its_first_word(server: Remote, http: httpx.AsyncClient) -> None:
    """S7: the page goes to the new thread while it is made, and finds nothing, or loses the stream."""
    mine = str(uuid.uuid4())
    body = {"assistant_id": "chat", "input": {**human("hi"), "n_tokens": 3}, "if_not_exists": "create"}
    async with http.stream("POST", f"/threads/{mine}/runs/stream", json={**body, "stream_mode": "values"}) as answer:
        place = answer.headers["content-location"]
        assert place.startswith(f"/threads/{mine}/runs/")
        async with server.http as other_tab:  # nothing of the stream is read yet
            assert (await other_tab.get(f"/threads/{mine}")).json()["thread_id"] == mine
            joined = await other_tab.get(f"{place}/stream", headers={"Last-Event-ID": "-1"})
        assert "t0 t1 t2" in joined.text
        assert "t0 t1 t2" in (await answer.aread()).decode()


async def test_two_tabs_make_the_same_thread_once(client: LangGraphClient) -> None:
    """S7, with both tabs first."""
    mine, made = str(uuid.uuid4()), list[Any]()

    async def make() -> None:
        made.append(await client.threads.create(thread_id=mine, if_exists="do_nothing"))

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(make)
    assert all(thread == made[0] for thread in made)
